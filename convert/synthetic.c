#include "convert/synthetic.h"

#include "base/file.h"
#include "base/json_writer.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct shape {
    const char *name;
    size_t hidden, ffn, layers, heads, kv_heads, head_dim, vocab, positions;
    double rope_theta;
    bool thinking; /* Thinking-2507's template */
} shape;

/* The published dimensions (docs/models.md). */
static const shape shapes[] = {
    {"qwen3-0.6b", 1024, 3072, 28, 16, 8, 128, 151936, 40960, 1e6, false},
    {"qwen3-1.7b", 2048, 6144, 28, 16, 8, 128, 151936, 40960, 1e6, false},
    {"qwen3-4b", 2560, 9728, 36, 32, 8, 128, 151936, 40960, 1e6, false},
    {"qwen3-4b-thinking-2507", 2560, 9728, 36, 32, 8, 128, 151936, 262144, 5e6, true},
};

const char *cp_synthetic_names(void) {
    return "qwen3-0.6b, qwen3-1.7b, qwen3-4b or qwen3-4b-thinking-2507";
}

/* ---- numbers ----------------------------------------------------------------------------------
 */

#define GAMMA 0x9e3779b97f4a7c15u

/* splitmix64 (Steele, Lea & Flood 2014) counts in steps of GAMMA, so any place of it can be reached
 * at once. */
static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Near normal with standard deviation 0.02: the sum of four 16-bit uniforms (Irwin-Hall), rounded
 * down to BF16 by dropping bits. Values `at`, `at` + 1, ... of the stream. */
static void fill_normal(uint64_t seed, uint64_t at, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) {
        uint64_t r = mix(seed + (at + i + 1) * GAMMA);
        int32_t sum =
            (int32_t)((r & 0xffff) + (r >> 16 & 0xffff) + (r >> 32 & 0xffff) + (r >> 48)) - 131070;
        float value = (float)sum * (0.02f / 37837.0f); /* 65536 / sqrt(3) is the sum's deviation */
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        bits &= 0xffff0000;
        memcpy(out + i, &bits, sizeof bits);
    }
}

/* ---- the source -------------------------------------------------------------------------------
 */

typedef struct synthetic {
    const shape *shape;
    uint64_t seed;
    uint64_t *starts; /* [n_tensors]: the stream's place of a matrix's first value */
    char tokenizer_dir[CP_PATH_CAP];
} synthetic;

static cp_status read_rows(const cp_source *source, size_t tensor, size_t first, size_t n,
                           float *out, cp_error *err) {
    const synthetic *y = source->self;
    const cp_source_tensor *t = &source->tensors[tensor];
    (void)err;
    if (cp_kind_is_matrix(t->kind))
        fill_normal(y->seed, y->starts[tensor] + (uint64_t)first * t->cols, n * t->cols, out);
    else
        for (size_t i = 0; i < t->cols; i++)
            out[i] = 1;
    return CP_OK;
}

/* ---- the small files ---------------------------------------------------------------------------
 */

static cp_status write_config(const shape *s, const char *path, cp_error *err) {
    cp_strbuf text;
    cp_json_writer w;
    cp_strbuf_init(&text, 1 << 16);
    cp_json_writer_init(&w, &text);
    cp_json_open_object(&w);
    cp_json_key(&w, "architectures");
    cp_json_open_array(&w);
    cp_json_put_text(&w, "Qwen3ForCausalLM");
    cp_json_close_array(&w);
    cp_json_member_text(&w, "model_type", "qwen3");
    cp_json_member_text(&w, "torch_dtype", "bfloat16");
    cp_json_member_text(&w, "hidden_act", "silu");
    cp_json_member_bool(&w, "attention_bias", false);
    cp_json_member_int(&w, "hidden_size", (int64_t)s->hidden);
    cp_json_member_int(&w, "intermediate_size", (int64_t)s->ffn);
    cp_json_member_int(&w, "num_hidden_layers", (int64_t)s->layers);
    cp_json_member_int(&w, "num_attention_heads", (int64_t)s->heads);
    cp_json_member_int(&w, "num_key_value_heads", (int64_t)s->kv_heads);
    cp_json_member_int(&w, "head_dim", (int64_t)s->head_dim);
    cp_json_member_int(&w, "vocab_size", (int64_t)s->vocab);
    cp_json_member_int(&w, "max_position_embeddings", (int64_t)s->positions);
    cp_json_member_number(&w, "rms_norm_eps", 1e-6, 6);
    cp_json_member_number(&w, "rope_theta", s->rope_theta, 9);
    cp_json_member_bool(&w, "tie_word_embeddings", true);
    cp_json_member_int(&w, "bos_token_id", 151643);
    cp_json_member_int(&w, "eos_token_id", 151645);
    cp_json_close_object(&w);
    cp_status status = cp_strbuf_check(&text, path, err);
    if (status == CP_OK)
        status = cp_file_write(path, cp_strbuf_str(&text), err);
    cp_strbuf_deinit(&text);
    return status;
}

static const char generation_config[] = "{\"do_sample\": true, \"eos_token_id\": [151645, 151643], "
                                        "\"temperature\": 0.6, \"top_k\": 20, \"top_p\": 0.95}\n";

static cp_status write_files(const cp_source *source, const char *dir, cp_error *err) {
    const synthetic *y = source->self;
    const char *from = y->tokenizer_dir;
    char path[CP_PATH_CAP];
    cp_status status =
        cp_source_copy_file(from, "tokenizer.json", dir, "tokenizer.json", false, err);
    if (status == CP_OK)
        status = cp_source_copy_file(from, "tokenizer_config.json", dir, "tokenizer_config.json",
                                     false, err);
    if (status == CP_OK &&
        y->shape->thinking) /* the file wins over tokenizer_config.json's template */
        status = cp_source_copy_file(from, "chat_template_thinking_2507.jinja", dir,
                                     "chat_template.jinja", false, err);
    if (status == CP_OK)
        status = cp_path_join(dir, "generation_config.json", path, sizeof path, err);
    if (status == CP_OK)
        status = cp_file_write(path, CP_STR(generation_config), err);
    if (status == CP_OK)
        status = cp_path_join(dir, "config.json", path, sizeof path, err);
    return status == CP_OK ? write_config(y->shape, path, err) : status;
}

static void close_synthetic(void *self) {
    synthetic *y = self;
    free(y->starts);
    free(y);
}

static const cp_source_ops ops = {read_rows, NULL, write_files, close_synthetic};

static const shape *find_shape(const char *name) {
    for (size_t i = 0; i < CP_COUNT_OF(shapes); i++)
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
    return NULL;
}

static cp_model_config config_of(const shape *s) {
    return (cp_model_config){
        .architecture = "Qwen3ForCausalLM",
        .n_layers = s->layers,
        .hidden_size = s->hidden,
        .ffn_size = s->ffn,
        .n_heads = s->heads,
        .n_kv_heads = s->kv_heads,
        .head_dim = s->head_dim,
        .vocab_size = s->vocab,
        .max_positions = s->positions,
        .qk_norm = true,
        .tied = true,
        .norm_eps = 1e-6f,
        .rope_theta = s->rope_theta,
    };
}

static cp_status set_up(synthetic *y, cp_source *out, cp_error *err) {
    out->config = config_of(y->shape);
    cp_status status = cp_source_plan(out, "model.", err);
    if (status != CP_OK)
        return status;
    y->starts = calloc(out->n_tensors, sizeof *y->starts);
    if (!y->starts)
        return cp_error_no_memory(err, y->shape->name);
    uint64_t at = 0;
    for (size_t i = 0; i < out->n_tensors; i++) {
        y->starts[i] = at;
        if (cp_kind_is_matrix(out->tensors[i].kind))
            at += (uint64_t)out->tensors[i].rows * out->tensors[i].cols;
    }
    return CP_OK;
}

cp_status cp_synthetic_open(const char *name, const char *tokenizer_dir, uint64_t seed,
                            cp_source *out, cp_error *err) {
    *out = (cp_source){0};
    const shape *s = find_shape(name);
    if (!s)
        return cp_error_set(err, CP_ERR_USAGE, "--synthetic is \"%.64s\", expected %s", name,
                            cp_synthetic_names());
    synthetic *y = calloc(1, sizeof *y);
    if (!y)
        return cp_error_no_memory(err, name);
    y->shape = s;
    y->seed = seed;
    snprintf(y->tokenizer_dir, sizeof y->tokenizer_dir, "%s", tokenizer_dir);
    snprintf(out->label, sizeof out->label, "%s", name);
    snprintf(out->origin, sizeof out->origin, "synthetic %s, seed %llu", name,
             (unsigned long long)seed);
    out->ops = &ops;
    out->self = y;
    cp_status status = set_up(y, out, err);
    if (status != CP_OK)
        cp_source_close(out);
    return status;
}
