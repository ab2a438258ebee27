#include "convert/gguf_config.h"

#include "base/json_writer.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CONFIG_BYTES 16384

static const cp_gguf_family families[] = {
    {"qwen3", "Qwen3ForCausalLM", "qwen3", true, false},
    {"llama", "LlamaForCausalLM", "llama", false, true},
};

/* ---- reading ------------------------------------------------------------------------------- */

typedef struct reading {
    const cp_gguf *file;
    const cp_gguf_family *family;
    char key[96];
    cp_error *err;
} reading;

/* "qwen3.block_count" */
static const char *key_of(reading *r, const char *name) {
    snprintf(r->key, sizeof r->key, "%s.%s", r->family->name, name);
    return r->key;
}

/* Absent is fine when *out has a value. */
static cp_status read_int(reading *r, const char *name, int64_t lo, int64_t hi, size_t *out) {
    int64_t value = 0;
    cp_status status = cp_gguf_get_int(r->file, key_of(r, name), lo, hi, &value, r->err);
    if (status == CP_OK)
        *out = (size_t)value;
    return *out > 0 ? cp_gguf_optional(status) : status;
}

static cp_status find_family(reading *r) {
    cp_str name;
    cp_status status = cp_gguf_get_string(r->file, "general.architecture", &name, r->err);
    if (status != CP_OK)
        return status;
    for (size_t i = 0; i < CP_COUNT_OF(families); i++)
        if (cp_str_is(name, families[i].name)) {
            r->family = &families[i];
            return CP_OK;
        }
    return cp_error_set(r->err, CP_ERR_UNSUPPORTED,
                        "%s: general.architecture is \"%.*s\", expected qwen3 or llama",
                        r->file->path, (int)(name.n < 40 ? name.n : 40), name.data);
}

/* Settings that change the arithmetic must be absent or have the one value that does not. */
static cp_status check_variant(reading *r) {
    static const struct {
        const char *name;
        int64_t only;
        bool of_family;
    } settings[] = {
        {"expert_count", 0, true},
        {"attention.sliding_window", 0, true},
        {"split.count", 1, false},
        {"general.quantization_version", 2, false},
    };
    for (size_t i = 0; i < CP_COUNT_OF(settings); i++) {
        const char *key = settings[i].of_family ? key_of(r, settings[i].name) : settings[i].name;
        int64_t value = settings[i].only;
        cp_status status =
            cp_gguf_optional(cp_gguf_get_int(r->file, key, INT64_MIN, INT64_MAX, &value, r->err));
        if (status != CP_OK)
            return status;
        if (value != settings[i].only && !(i == 2 && value == 0))
            return cp_error_set(r->err, CP_ERR_UNSUPPORTED,
                                "%s: %s is %lld, only %lld is supported", r->file->path, key,
                                (long long)value, (long long)settings[i].only);
    }
    cp_str scaling = CP_STR("none");
    cp_status status = cp_gguf_optional(
        cp_gguf_get_string(r->file, key_of(r, "rope.scaling.type"), &scaling, r->err));
    if (status == CP_OK && !cp_str_is(scaling, "none"))
        return cp_error_set(r->err, CP_ERR_UNSUPPORTED,
                            "%s: %s is \"%.*s\", RoPE scaling is not supported", r->file->path,
                            r->key, (int)(scaling.n < 40 ? scaling.n : 40), scaling.data);
    double linear = 1;
    if (status == CP_OK)
        status = cp_gguf_optional(
            cp_gguf_get_number(r->file, key_of(r, "rope.scale_linear"), 1, 1, &linear, r->err));
    return status;
}

static cp_status read_heads(reading *r, cp_model_config *c) {
    cp_status status = read_int(r, "attention.head_count", 1, 1024, &c->n_heads);
    c->n_kv_heads = c->n_heads;
    if (status == CP_OK)
        status = read_int(r, "attention.head_count_kv", 1, 1024, &c->n_kv_heads);
    if (status != CP_OK)
        return status;
    if (c->n_heads % c->n_kv_heads != 0)
        return cp_error_set(r->err, CP_ERR_FORMAT,
                            "%s: %zu attention heads are not a multiple of %zu for keys",
                            r->file->path, c->n_heads, c->n_kv_heads);
    c->head_dim = c->hidden_size / c->n_heads;
    status = read_int(r, "attention.key_length", 2, 1024, &c->head_dim);
    size_t others[2] = {c->head_dim, c->head_dim}; /* all the same here */
    if (status == CP_OK)
        status = read_int(r, "attention.value_length", 1, 1 << 20, &others[0]);
    if (status == CP_OK)
        status = read_int(r, "rope.dimension_count", 1, 1 << 20, &others[1]);
    if (status != CP_OK)
        return status;
    if (c->head_dim < 2 || c->head_dim > 1024 || c->head_dim % 2 != 0)
        return cp_error_set(r->err, CP_ERR_FORMAT,
                            "%s: a head of %zu values, expected an even number to 1024",
                            r->file->path, c->head_dim);
    if (others[0] != c->head_dim || others[1] != c->head_dim)
        return cp_error_set(r->err, CP_ERR_UNSUPPORTED,
                            "%s: heads have %zu values for keys, %zu for values, %zu with RoPE; "
                            "only equal numbers are supported",
                            r->file->path, c->head_dim, others[0], others[1]);
    if (cp_config_q_dim(c) > CP_MAX_WIDTH)
        return cp_error_set(r->err, CP_ERR_LIMIT, "%s: %zu heads of %zu values are over %d",
                            r->file->path, c->n_heads, c->head_dim, CP_MAX_WIDTH);
    return CP_OK;
}

/* The rows of the embedding matrix; llama.vocab_size, where given, says the same. */
static cp_status read_vocab_size(reading *r, cp_model_config *c) {
    const cp_gguf_tensor *t = cp_gguf_tensor_find(r->file, "token_embd.weight");
    if (!t)
        return cp_error_set(r->err, CP_ERR_FORMAT, "%s: tensor token_embd.weight is missing",
                            r->file->path);
    if (t->n_dims != 2 || t->shape[0] > 1 << 22)
        return cp_error_set(r->err, CP_ERR_FORMAT,
                            "%s: tensor token_embd.weight has %zu dimensions and %zu rows, "
                            "expected 2 and at most %d",
                            r->file->path, t->n_dims, t->shape[0], 1 << 22);
    c->vocab_size = t->shape[0];
    size_t said = c->vocab_size;
    cp_status status = read_int(r, "vocab_size", 1, 1 << 22, &said);
    if (status == CP_OK && said != c->vocab_size)
        return cp_error_set(r->err, CP_ERR_FORMAT, "%s: %s is %zu, token_embd.weight has %zu rows",
                            r->file->path, r->key, said, c->vocab_size);
    return status;
}

static cp_status read_numbers(reading *r, cp_model_config *c) {
    double eps = 0;
    c->rope_theta = 10000;
    cp_status status = cp_gguf_get_number(r->file, key_of(r, "attention.layer_norm_rms_epsilon"),
                                          1e-12, 0.1, &eps, r->err);
    c->norm_eps = (float)eps;
    if (status == CP_OK)
        status = cp_gguf_optional(cp_gguf_get_number(r->file, key_of(r, "rope.freq_base"), 1, 1e12,
                                                     &c->rope_theta, r->err));
    return status;
}

static cp_status read_all(reading *r, cp_model_config *c) {
    cp_status status = find_family(r);
    if (status == CP_OK)
        status = check_variant(r);
    if (status == CP_OK)
        status = read_int(r, "block_count", 1, 1024, &c->n_layers);
    if (status == CP_OK)
        status = read_int(r, "embedding_length", 1, CP_MAX_WIDTH, &c->hidden_size);
    if (status == CP_OK)
        status = read_int(r, "feed_forward_length", 1, CP_MAX_WIDTH, &c->ffn_size);
    if (status == CP_OK)
        status = read_int(r, "context_length", 1, 1 << 24, &c->max_positions);
    if (status == CP_OK)
        status = read_heads(r, c);
    if (status == CP_OK)
        status = read_vocab_size(r, c);
    if (status == CP_OK)
        status = read_numbers(r, c);
    return status == CP_ERR_NOT_FOUND ? CP_ERR_FORMAT : status; /* a key, not the file */
}

cp_status cp_gguf_config_read(const cp_gguf *file, const cp_gguf_family **family,
                              cp_model_config *out, cp_error *err) {
    reading r = {.file = file, .err = err};
    *out = (cp_model_config){0};
    cp_status status = read_all(&r, out);
    if (status != CP_OK)
        return status;
    *family = r.family;
    snprintf(out->architecture, sizeof out->architecture, "%s", r.family->architecture);
    out->qk_norm = r.family->qk_norm;
    out->tied = !cp_gguf_tensor_find(file, "output.weight");
    return CP_OK;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* Fewest digits that give the float back: 1e-05, not 9.99999975e-06. */
static int digits_of(float value) {
    char text[40];
    for (int digits = 1; digits < 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            return digits;
    }
    return 9;
}

static void put_config(const cp_gguf_family *family, const cp_model_config *c, int32_t bos,
                       cp_json_writer *w) {
    const struct {
        const char *key;
        size_t value;
    } sizes[] = {
        {"vocab_size", c->vocab_size},       {"hidden_size", c->hidden_size},
        {"intermediate_size", c->ffn_size},  {"num_hidden_layers", c->n_layers},
        {"num_attention_heads", c->n_heads}, {"num_key_value_heads", c->n_kv_heads},
        {"head_dim", c->head_dim},           {"max_position_embeddings", c->max_positions},
    };
    cp_json_open_object(w);
    cp_json_key(w, "architectures");
    cp_json_open_array(w);
    cp_json_put_text(w, c->architecture);
    cp_json_close_array(w);
    cp_json_member_text(w, "model_type", family->model_type);
    for (size_t i = 0; i < CP_COUNT_OF(sizes); i++)
        cp_json_member_int(w, sizes[i].key, (int64_t)sizes[i].value);
    cp_json_member_text(w, "hidden_act", "silu");
    cp_json_member_number(w, "rms_norm_eps", (double)c->norm_eps, digits_of(c->norm_eps));
    cp_json_member_number(w, "rope_theta", c->rope_theta, 17);
    cp_json_member_text(w, "rope_scaling", NULL);
    cp_json_member_bool(w, "tie_word_embeddings", c->tied);
    cp_json_member_bool(w, "attention_bias", false);
    cp_json_member_text(w, "torch_dtype", "bfloat16");
    if (bos >= 0)
        cp_json_member_int(w, "bos_token_id", bos);
    if (c->n_eos > 0) {
        cp_json_key(w, "eos_token_id");
        cp_json_put_ids(w, c->eos_ids, c->n_eos);
    }
    cp_json_close_object(w);
}

cp_status cp_gguf_config_write(const cp_gguf_family *family, const cp_model_config *config,
                               int32_t bos, const char *dir, cp_error *err) {
    char path[CP_PATH_CAP];
    cp_strbuf text;
    cp_json_writer w;
    cp_strbuf_init(&text, MAX_CONFIG_BYTES);
    cp_json_writer_init(&w, &text);
    put_config(family, config, bos, &w);
    cp_strbuf_putc(&text, '\n');
    cp_status status = cp_strbuf_check(&text, "config.json", err);
    if (status == CP_OK)
        status = cp_path_join(dir, "config.json", path, sizeof path, err);
    if (status == CP_OK)
        status = cp_file_write(path, cp_strbuf_str(&text), err);
    cp_strbuf_deinit(&text);
    return status;
}
