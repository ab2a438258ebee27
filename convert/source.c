#include "convert/source.h"

#include "base/mem.h"
#include "convert/checkpoint_source.h"
#include "convert/gguf_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SMALL_FILE ((size_t)64 << 20)

static const char *const names[CP_N_KINDS] = {
    [CP_KIND_EMBEDDING] = "embed_tokens",
    [CP_KIND_Q] = "self_attn.q_proj",
    [CP_KIND_K] = "self_attn.k_proj",
    [CP_KIND_V] = "self_attn.v_proj",
    [CP_KIND_O] = "self_attn.o_proj",
    [CP_KIND_GATE] = "mlp.gate_proj",
    [CP_KIND_UP] = "mlp.up_proj",
    [CP_KIND_DOWN] = "mlp.down_proj",
    [CP_KIND_HEAD] = "lm_head",
    [CP_KIND_ATTN_NORM] = "input_layernorm",
    [CP_KIND_MLP_NORM] = "post_attention_layernorm",
    [CP_KIND_Q_NORM] = "self_attn.q_norm",
    [CP_KIND_K_NORM] = "self_attn.k_norm",
    [CP_KIND_FINAL_NORM] = "norm",
};

const char *cp_kind_name(cp_tensor_kind kind) {
    const char *dot = strchr(names[kind], '.');
    return dot ? dot + 1 : names[kind];
}

static void add(cp_source *s, cp_tensor_kind kind, size_t layer, size_t rows, size_t cols,
                const char *prefix) {
    cp_source_tensor *t = &s->tensors[s->n_tensors++];
    *t = (cp_source_tensor){.kind = kind, .layer = layer, .rows = rows, .cols = cols};
    snprintf(t->name, sizeof t->name, "%s%s.weight", prefix, names[kind]);
}

static void add_layer(cp_source *s, size_t layer, const char *prefix) {
    const cp_model_config *c = &s->config;
    size_t q_dim = cp_config_q_dim(c), kv_dim = cp_config_kv_dim(c);
    add(s, CP_KIND_ATTN_NORM, layer, 1, c->hidden_size, prefix);
    add(s, CP_KIND_Q, layer, q_dim, c->hidden_size, prefix);
    add(s, CP_KIND_K, layer, kv_dim, c->hidden_size, prefix);
    add(s, CP_KIND_V, layer, kv_dim, c->hidden_size, prefix);
    if (c->qk_norm) {
        add(s, CP_KIND_Q_NORM, layer, 1, c->head_dim, prefix);
        add(s, CP_KIND_K_NORM, layer, 1, c->head_dim, prefix);
    }
    add(s, CP_KIND_O, layer, c->hidden_size, q_dim, prefix);
    add(s, CP_KIND_MLP_NORM, layer, 1, c->hidden_size, prefix);
    add(s, CP_KIND_GATE, layer, c->ffn_size, c->hidden_size, prefix);
    add(s, CP_KIND_UP, layer, c->ffn_size, c->hidden_size, prefix);
    add(s, CP_KIND_DOWN, layer, c->hidden_size, c->ffn_size, prefix);
}

cp_status cp_source_plan(cp_source *s, const char *prefix, cp_error *err) {
    const cp_model_config *c = &s->config;
    char in_layer[64];
    s->tensors = calloc(c->n_layers * 11 + 3, sizeof *s->tensors); /* at most 2^10 layers */
    s->n_tensors = 0;
    if (!s->tensors)
        return cp_error_no_memory(err, s->label);
    add(s, CP_KIND_EMBEDDING, 0, c->vocab_size, c->hidden_size, prefix);
    for (size_t layer = 0; layer < c->n_layers; layer++) {
        snprintf(in_layer, sizeof in_layer, "%slayers.%zu.", prefix, layer);
        add_layer(s, layer, in_layer);
    }
    add(s, CP_KIND_FINAL_NORM, 0, 1, c->hidden_size, prefix);
    if (!c->tied)
        add(s, CP_KIND_HEAD, 0, c->vocab_size, c->hidden_size, "");
    return CP_OK;
}

cp_status cp_source_open(const char *path, cp_source *out, cp_error *err) {
    *out = (cp_source){0};
    if (cp_file_is_folder(path))
        return cp_checkpoint_source_open(path, out, err);
    if (!cp_file_exists(path))
        return cp_error_set(err, CP_ERR_NOT_FOUND, "%s: there is no such model folder or file",
                            path);
    if (cp_source_is_gguf(path))
        return cp_source_open_gguf(path, out, err);
    return cp_error_set(err, CP_ERR_UNSUPPORTED, "%s: is neither a model folder nor a .gguf file",
                        path);
}

void cp_source_close(cp_source *s) {
    if (s->ops)
        s->ops->close(s->self);
    free(s->tensors);
    *s = (cp_source){0};
}

const char *cp_source_base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

cp_status cp_source_copy_file(const char *from_dir, const char *from_name, const char *to_dir,
                              const char *to_name, bool optional, cp_error *err) {
    char from[CP_PATH_CAP], to[CP_PATH_CAP];
    cp_strbuf bytes;
    cp_status status = cp_path_join(from_dir, from_name, from, sizeof from, err);
    if (status == CP_OK)
        status = cp_path_join(to_dir, to_name, to, sizeof to, err);
    if (status != CP_OK || (optional && !cp_file_exists(from)))
        return status;
    status = cp_file_read(from, MAX_SMALL_FILE, &bytes, err);
    if (status == CP_OK)
        status = cp_file_write(to, cp_strbuf_str(&bytes), err);
    cp_strbuf_deinit(&bytes);
    return status;
}
