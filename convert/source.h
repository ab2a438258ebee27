/* Where weights come from: named tensors that are read row by row as float32.
 *
 * A source is opened by one of its implementations (a Hugging Face folder, a synthetic shape, a
 * GGUF file), which fills in the config, lists the tensors with cp_source_plan and sets the
 * operations. The list holds exactly the tensors that the engine wants, under their Hugging Face
 * names: a tied model's lm_head.weight and tensors of no use are not in it. Whatever is missing,
 * misshapen or of a type that cannot be read is refused at open. Immutable after open; it knows
 * nothing of what is written. */
#ifndef CP_CONVERT_SOURCE_H
#define CP_CONVERT_SOURCE_H

#include "base/error.h"
#include "base/file.h"
#include "engine/config.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum cp_tensor_kind {
    CP_KIND_EMBEDDING, /* [vocab_size, hidden_size]; the head, too, when tied */
    CP_KIND_Q,         /* [q_dim, hidden_size] */
    CP_KIND_K,         /* [kv_dim, hidden_size] */
    CP_KIND_V,         /* [kv_dim, hidden_size] */
    CP_KIND_O,         /* [hidden_size, q_dim] */
    CP_KIND_GATE,      /* [ffn_size, hidden_size] */
    CP_KIND_UP,        /* [ffn_size, hidden_size] */
    CP_KIND_DOWN,      /* [hidden_size, ffn_size] */
    CP_KIND_HEAD,      /* [vocab_size, hidden_size]; untied models only */
    CP_KIND_ATTN_NORM, /* from here on vectors: one row */
    CP_KIND_MLP_NORM,
    CP_KIND_Q_NORM,
    CP_KIND_K_NORM,
    CP_KIND_FINAL_NORM,
    CP_N_KINDS
} cp_tensor_kind;
#define CP_N_MATRIX_KINDS CP_KIND_ATTN_NORM

static inline bool cp_kind_is_matrix(cp_tensor_kind kind) {
    return kind < CP_N_MATRIX_KINDS;
}
/* "embed_tokens", "q_proj", "input_layernorm", ... */
const char *cp_kind_name(cp_tensor_kind kind);

#define CP_SOURCE_NAME_CAP 96

typedef struct cp_source_tensor {
    char name[CP_SOURCE_NAME_CAP]; /* "model.layers.0.self_attn.q_proj.weight" */
    cp_tensor_kind kind;
    size_t layer;      /* 0 for tensors of no layer */
    size_t rows, cols; /* a vector is one row */
} cp_source_tensor;

typedef struct cp_source cp_source;

typedef struct cp_source_ops {
    /* Rows first..first + n - 1 of tensors[tensor], [n, cols]; any number of threads at once. */
    cp_status (*read_rows)(const cp_source *source, size_t tensor, size_t first, size_t n,
                           float *out, cp_error *err);
    /* These rows are not read again soon: their pages may leave memory. May be NULL. */
    void (*release)(const cp_source *source, size_t tensor, size_t first, size_t n);
    /* Writes config.json (which cp_config_read accepts and which says what source->config says),
     * and where there are any generation_config.json, tokenizer.json, tokenizer_config.json and
     * chat_template.jinja, into the folder `dir`. */
    cp_status (*write_files)(const cp_source *source, const char *dir, cp_error *err);
    void (*close)(void *self);
} cp_source_ops;

struct cp_source {
    char label[CP_PATH_CAP]; /* the folder, file or shape; named in errors */
    char origin[128];        /* for the metadata, no path in it: "synthetic qwen3-4b, seed 1" */
    cp_model_config config;
    cp_source_tensor *tensors; /* [n_tensors], in the order of the forward pass */
    size_t n_tensors;
    const cp_source_ops *ops;
    void *self; /* the implementation's */
};

/* Lists the tensors of source->config; `prefix` stands before all names but lm_head.weight's:
 * "model.", or "" for Qwen3-Embedding. */
cp_status cp_source_plan(cp_source *source, const char *prefix, cp_error *err) CP_MUST_CHECK;

/* A folder or file, by what it is. *out is cleared on failure. */
cp_status cp_source_open(const char *path, cp_source *out, cp_error *err) CP_MUST_CHECK;
void cp_source_close(cp_source *source);

/* For implementations: the last component of a path, for `origin`. */
const char *cp_source_base_name(const char *path);
/* For implementations: copies from_dir/from_name to to_dir/to_name; one that does not exist is fine
 * when `optional`. */
cp_status cp_source_copy_file(const char *from_dir, const char *from_name, const char *to_dir,
                              const char *to_name, bool optional, cp_error *err) CP_MUST_CHECK;

#endif
