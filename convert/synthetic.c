#include "convert/synthetic.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/progress.h"
#include "convert/safetensors_writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

/* splitmix64 (Steele, Lea & Flood 2014). */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

#define CHUNK_VALUES ((size_t)1 << 19)

/* BF16 values near normal with standard deviation 0.02: the sum of four 16-bit uniforms
 * (Irwin-Hall), rounded down to BF16 by dropping bits. */
static void fill_normal(uint16_t *out, size_t n, uint64_t *state) {
    for (size_t i = 0; i < n; i++) {
        uint64_t r = next_random(state);
        int32_t sum =
            (int32_t)((r & 0xffff) + (r >> 16 & 0xffff) + (r >> 32 & 0xffff) + (r >> 48)) - 131070;
        float value = (float)sum * (0.02f / 37837.0f); /* 65536 / sqrt(3) is the sum's deviation */
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        out[i] = (uint16_t)(bits >> 16);
    }
}

static void fill_ones(uint16_t *out, size_t n) {
    for (size_t i = 0; i < n; i++)
        out[i] = 0x3f80;
}

/* ---- the tensors, in the order of the forward pass
 * ------------------------------------------------ */

/* cols 0: a norm vector. */
typedef cp_status (*tensor_fn)(void *user, const char *name, size_t rows, size_t cols,
                               cp_error *err);

static cp_status each_tensor(const shape *s, tensor_fn fn, void *user, cp_error *err) {
    size_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    const struct {
        const char *name;
        size_t rows, cols;
    } layer[] = {
        {"input_layernorm", s->hidden, 0},    {"self_attn.q_proj", q, s->hidden},
        {"self_attn.k_proj", kv, s->hidden},  {"self_attn.v_proj", kv, s->hidden},
        {"self_attn.q_norm", s->head_dim, 0}, {"self_attn.k_norm", s->head_dim, 0},
        {"self_attn.o_proj", s->hidden, q},   {"post_attention_layernorm", s->hidden, 0},
        {"mlp.gate_proj", s->ffn, s->hidden}, {"mlp.up_proj", s->ffn, s->hidden},
        {"mlp.down_proj", s->hidden, s->ffn},
    };
    cp_status status = fn(user, "model.embed_tokens.weight", s->vocab, s->hidden, err);
    for (size_t l = 0; l < s->layers; l++)
        for (size_t i = 0; i < CP_COUNT_OF(layer) && status == CP_OK; i++) {
            char name[128];
            snprintf(name, sizeof name, "model.layers.%zu.%s.weight", l, layer[i].name);
            status = fn(user, name, layer[i].rows, layer[i].cols, err);
        }
    return status == CP_OK ? fn(user, "model.norm.weight", s->hidden, 0, err) : status;
}

typedef struct writing {
    cp_safetensors_writer file;
    cp_progress progress;
    uint64_t random;
    uint16_t *chunk; /* [CHUNK_VALUES] */
} writing;

static cp_status announce(void *user, const char *name, size_t rows, size_t cols, cp_error *err) {
    writing *w = user;
    (void)err;
    cp_safetensors_writer_announce(&w->file, name, CP_BF16, rows, cols);
    return CP_OK;
}

static cp_status write_tensor(void *user, const char *name, size_t rows, size_t cols,
                              cp_error *err) {
    writing *w = user;
    (void)name;
    for (size_t left = rows * (cols ? cols : 1); left > 0;) {
        size_t n = left < CHUNK_VALUES ? left : CHUNK_VALUES;
        if (cols)
            fill_normal(w->chunk, n, &w->random);
        else
            fill_ones(w->chunk, n);
        cp_status status =
            cp_safetensors_writer_write(&w->file, w->chunk, n * sizeof *w->chunk, err);
        if (status != CP_OK)
            return status;
        left -= n;
        cp_progress_update(&w->progress, w->file.written_bytes);
    }
    return CP_OK;
}

static cp_status write_weights(const shape *s, const char *path, uint64_t seed, cp_error *err) {
    writing w = {.random = seed, .chunk = malloc(CHUNK_VALUES * sizeof(uint16_t))};
    char seed_text[32];
    cp_status status = CP_OK;
    cp_safetensors_writer_init(&w.file);
    if (!w.chunk) {
        status = cp_error_no_memory(err, "weights");
        goto done;
    }
    snprintf(seed_text, sizeof seed_text, "%llu", (unsigned long long)seed);
    cp_safetensors_writer_metadata(&w.file, "carepath_synthetic", s->name);
    cp_safetensors_writer_metadata(&w.file, "carepath_seed", seed_text);
    status = each_tensor(s, announce, &w, err);
    if (status == CP_OK)
        status = cp_safetensors_writer_begin(&w.file, path, err);
    if (status != CP_OK)
        goto done;
    cp_progress_start(&w.progress, s->name, w.file.announced_bytes);
    status = each_tensor(s, write_tensor, &w, err);
    if (status == CP_OK)
        status = cp_safetensors_writer_finish(&w.file, err);
    if (status == CP_OK)
        cp_progress_finish(&w.progress, w.file.written_bytes);
done:
    cp_safetensors_writer_deinit(&w.file);
    free(w.chunk);
    return status;
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

static cp_status copy_file(const char *from_dir, const char *from_name, const char *to_dir,
                           const char *to_name, cp_error *err) {
    char from[CP_PATH_CAP], to[CP_PATH_CAP];
    cp_strbuf bytes;
    cp_status status = cp_path_join(from_dir, from_name, from, sizeof from, err);
    if (status == CP_OK)
        status = cp_path_join(to_dir, to_name, to, sizeof to, err);
    if (status != CP_OK)
        return status;
    status = cp_file_read(from, (size_t)64 << 20, &bytes, err);
    if (status == CP_OK)
        status = cp_file_write(to, cp_strbuf_str(&bytes), err);
    cp_strbuf_deinit(&bytes);
    return status;
}

static cp_status write_small_files(const shape *s, const char *dst, const char *tokenizer_dir,
                                   cp_error *err) {
    char path[CP_PATH_CAP];
    cp_status status = copy_file(tokenizer_dir, "tokenizer.json", dst, "tokenizer.json", err);
    if (status == CP_OK)
        status =
            copy_file(tokenizer_dir, "tokenizer_config.json", dst, "tokenizer_config.json", err);
    if (status == CP_OK && s->thinking) /* the file wins over tokenizer_config.json's template */
        status = copy_file(tokenizer_dir, "chat_template_thinking_2507.jinja", dst,
                           "chat_template.jinja", err);
    if (status == CP_OK)
        status = cp_path_join(dst, "generation_config.json", path, sizeof path, err);
    if (status == CP_OK)
        status = cp_file_write(path, CP_STR(generation_config), err);
    if (status == CP_OK)
        status = cp_path_join(dst, "config.json", path, sizeof path, err);
    return status == CP_OK ? write_config(s, path, err) : status;
}

static const shape *find_shape(const char *name) {
    for (size_t i = 0; i < CP_COUNT_OF(shapes); i++)
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
    return NULL;
}

cp_status cp_synthetic_write(const char *name, const char *dst, const char *tokenizer_dir,
                             uint64_t seed, cp_error *err) {
    char weights[CP_PATH_CAP];
    const shape *s = find_shape(name);
    if (!s)
        return cp_error_set(err, CP_ERR_USAGE, "--synthetic is \"%.64s\", expected %s", name,
                            cp_synthetic_names());
    if (mkdir(dst, 0755) != 0 && errno != EEXIST)
        return cp_error_set(err, CP_ERR_IO, "%s: cannot create the folder: %s", dst,
                            strerror(errno));
    cp_status status = cp_path_join(dst, "model.safetensors", weights, sizeof weights, err);
    if (status != CP_OK)
        return status;
    if (cp_file_exists(weights))
        return cp_error_set(err, CP_ERR_USAGE,
                            "%s exists already; remove it or choose another folder", weights);
    /* Without model.safetensors no folder opens, so that file comes last. */
    status = write_small_files(s, dst, tokenizer_dir, err);
    return status == CP_OK ? write_weights(s, weights, seed, err) : status;
}
