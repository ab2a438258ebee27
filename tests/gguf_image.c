#include "tests/gguf_image.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "convert/gguf.h"
#include "convert/gguf_blocks.h"

#define ALIGNMENT 32

/* ---- pieces -------------------------------------------------------------------------------- */

static void put_le(cp_strbuf *out, uint64_t value, size_t n) {
    for (size_t i = 0; i < n; i++)
        cp_strbuf_putc(out, (char)(value >> 8 * i));
}

void gguf_put_u32(cp_strbuf *out, uint32_t value) {
    put_le(out, value, 4);
}

void gguf_put_u64(cp_strbuf *out, uint64_t value) {
    put_le(out, value, 8);
}

static void put_bytes(cp_strbuf *out, const char *text, size_t n) {
    gguf_put_u64(out, n);
    cp_strbuf_append(out, text, n);
}

void gguf_put_str(cp_strbuf *out, const char *text) {
    put_bytes(out, text, strlen(text));
}

static void put_key(cp_strbuf *out, const char *key, cp_gguf_kind kind) {
    gguf_put_str(out, key);
    gguf_put_u32(out, kind);
}

void gguf_put_key_u32(cp_strbuf *out, const char *key, uint32_t value) {
    put_key(out, key, CP_GGUF_UINT32);
    gguf_put_u32(out, value);
}

void gguf_put_key_f32(cp_strbuf *out, const char *key, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(out, key, CP_GGUF_FLOAT32);
    gguf_put_u32(out, bits);
}

void gguf_put_key_str(cp_strbuf *out, const char *key, const char *value) {
    put_key(out, key, CP_GGUF_STRING);
    gguf_put_str(out, value);
}

static void put_key_array(cp_strbuf *out, const char *key, cp_gguf_kind element, uint64_t n) {
    put_key(out, key, CP_GGUF_ARRAY);
    gguf_put_u32(out, element);
    gguf_put_u64(out, n);
}

/* ---- metadata ------------------------------------------------------------------------------ */

typedef struct values {
    cp_strbuf out;
    size_t n;
    const gguf_change *change;
    const char *family;
} values;

/* Takes back the last value when it is the one to be left out. */
static void end_value(values *v, size_t begin, const char *key) {
    if (v->change && v->change->without && strcmp(v->change->without, key) == 0)
        cp_strbuf_truncate(&v->out, begin);
    else
        v->n++;
}

static void text(values *v, const char *key, const char *value) {
    size_t begin = v->out.n;
    gguf_put_key_str(&v->out, key, value);
    end_value(v, begin, key);
}

static const char *of_family(const values *v, const char *name, char key[64]) {
    snprintf(key, 64, "%s.%s", v->family, name);
    return key;
}

static void number(values *v, const char *name, uint32_t value) {
    char key[64];
    size_t begin = v->out.n;
    gguf_put_key_u32(&v->out, of_family(v, name, key), value);
    end_value(v, begin, key);
}

static void real(values *v, const char *name, float value) {
    char key[64];
    size_t begin = v->out.n;
    gguf_put_key_f32(&v->out, of_family(v, name, key), value);
    end_value(v, begin, key);
}

static void token_id(values *v, const char *key, uint32_t value) {
    size_t begin = v->out.n;
    gguf_put_key_u32(&v->out, key, value);
    end_value(v, begin, key);
}

/* The byte's letter in the byte-level alphabet, as UTF-8. */
static size_t letter(unsigned byte, char out[4]) {
    unsigned code = byte, shift = 256;
    for (unsigned b = 0; b <= byte; b++) {
        bool printable = (b >= 33 && b <= 126) || (b >= 161 && b != 173);
        code = printable ? b : shift;
        shift += !printable;
    }
    return cp_utf8_encode(code, out);
}

static void put_tokenizer(values *v) {
    static const char *const merges[] = {"h e", "l l", "he ll"},
                             *const made[] = {"he", "ll", "hell"},
                             *const added[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>",
                                               "<think>"};
    const size_t n = 256 + CP_COUNT_OF(made) + CP_COUNT_OF(added);
    size_t begin = v->out.n;
    assert_int_equal(n, IMAGE_VOCAB);
    put_key_array(&v->out, "tokenizer.ggml.tokens", CP_GGUF_STRING, n);
    for (unsigned byte = 0; byte < 256; byte++) {
        char utf8[4];
        put_bytes(&v->out, utf8, letter(byte, utf8));
    }
    for (size_t i = 0; i < CP_COUNT_OF(made); i++)
        gguf_put_str(&v->out, made[i]);
    for (size_t i = 0; i < CP_COUNT_OF(added); i++)
        gguf_put_str(&v->out, added[i]);
    end_value(v, begin, "tokenizer.ggml.tokens");

    begin = v->out.n;
    put_key_array(&v->out, "tokenizer.ggml.token_type", CP_GGUF_INT32, n);
    for (size_t i = 0; i < n; i++)
        gguf_put_u32(&v->out, i < n - CP_COUNT_OF(added) ? 1 : i + 1 < n ? 3 : 4);
    end_value(v, begin, "tokenizer.ggml.token_type");

    begin = v->out.n;
    put_key_array(&v->out, "tokenizer.ggml.merges", CP_GGUF_STRING, CP_COUNT_OF(merges));
    for (size_t i = 0; i < CP_COUNT_OF(merges); i++)
        gguf_put_str(&v->out, merges[i]);
    end_value(v, begin, "tokenizer.ggml.merges");
}

static void put_values(values *v, bool llama) {
    text(v, "general.architecture", v->family);
    number(v, "block_count", IMAGE_LAYERS);
    number(v, "context_length", 512);
    number(v, "embedding_length", IMAGE_HIDDEN);
    number(v, "feed_forward_length", IMAGE_FFN);
    number(v, "attention.head_count", IMAGE_HEADS);
    number(v, "attention.head_count_kv", IMAGE_KV);
    real(v, "attention.layer_norm_rms_epsilon", 1e-5f);
    real(v, "rope.freq_base", 100000);
    if (llama)
        number(v, "vocab_size", IMAGE_VOCAB);
    else
        number(v, "attention.key_length", IMAGE_DIM);
    text(v, "tokenizer.ggml.model", "gpt2");
    text(v, "tokenizer.ggml.pre", llama ? "smollm" : "qwen2");
    put_tokenizer(v);
    token_id(v, "tokenizer.ggml.bos_token_id", 259);
    token_id(v, "tokenizer.ggml.eos_token_id", 261);
    if (v->change && v->change->values)
        v->change->values(&v->out, &v->n);
}

/* ---- tensors ------------------------------------------------------------------------------- */

static size_t n_values_of(const gguf_info *info) {
    return info->dims[0] * (info->n_dims > 1 ? info->dims[1] : 1);
}

/* Blocks of random bytes whose scales are small and finite. */
static void put_data(cp_strbuf *out, const gguf_info *info, uint64_t *seed) {
    size_t block = 0, bytes = 0;
    assert_true(cp_gguf_type_block(info->type, &block, &bytes));
    for (size_t i = 0; i < n_values_of(info) / block; i++) {
        size_t begin = out->n;
        for (size_t k = 0; k < bytes; k++)
            cp_strbuf_putc(out, (char)test_random(seed));
        char *b = out->data + begin;
        if (info->type == CP_GGUF_F32)
            memcpy(b, &(float){(float)(test_random(seed) % 2000) / 1000 - 1}, 4);
        else /* F16, and d of the others: 0x20 is about 2^-7 */
            b[1] = 0x20;
        if (info->type == CP_GGUF_Q4_1)
            b[3] = 0x20;
    }
    while (out->n % ALIGNMENT)
        cp_strbuf_putc(out, 0);
}

cp_strbuf gguf_image(bool llama, const gguf_change *change) {
    const uint64_t q_dim = IMAGE_HEADS * IMAGE_DIM, kv_dim = IMAGE_KV * IMAGE_DIM;
    gguf_info tensors[IMAGE_TENSORS] = {
        {"token_embd.weight", 2, CP_GGUF_Q8_0, {IMAGE_HIDDEN, IMAGE_VOCAB}, 0},
        {"blk.0.attn_norm.weight", 1, CP_GGUF_F32, {IMAGE_HIDDEN}, 0},
        {"blk.0.attn_q.weight", 2, CP_GGUF_Q4_0, {IMAGE_HIDDEN, q_dim}, 0},
        {"blk.0.attn_k.weight", 2, CP_GGUF_Q4_1, {IMAGE_HIDDEN, kv_dim}, 0},
        {"blk.0.attn_v.weight", 2, CP_GGUF_F16, {IMAGE_HIDDEN, kv_dim}, 0},
        {"blk.0.attn_output.weight", 2, CP_GGUF_Q4_0, {q_dim, IMAGE_HIDDEN}, 0},
        {"blk.0.ffn_norm.weight", 1, CP_GGUF_F32, {IMAGE_HIDDEN}, 0},
        {"blk.0.ffn_gate.weight", 2, CP_GGUF_Q4_0, {IMAGE_HIDDEN, IMAGE_FFN}, 0},
        {"blk.0.ffn_up.weight", 2, CP_GGUF_Q4_0, {IMAGE_HIDDEN, IMAGE_FFN}, 0},
        {"blk.0.ffn_down.weight", 2, CP_GGUF_Q8_0, {IMAGE_FFN, IMAGE_HIDDEN}, 0},
        {"output_norm.weight", 1, CP_GGUF_F32, {IMAGE_HIDDEN}, 0},
        {"blk.0.attn_q_norm.weight", 1, CP_GGUF_F32, {IMAGE_DIM}, 0},
        {"blk.0.attn_k_norm.weight", 1, CP_GGUF_F32, {IMAGE_DIM}, 0},
    };
    size_t n_tensors = llama ? IMAGE_TENSORS - 2 : IMAGE_TENSORS, n_written = 0;
    values v = {.change = change, .family = llama ? "llama" : "qwen3"};
    cp_strbuf out, infos, data;
    uint64_t seed = 5;
    cp_strbuf_init(&v.out, 1 << 20);
    cp_strbuf_init(&out, 1 << 20);
    cp_strbuf_init(&infos, 1 << 20);
    cp_strbuf_init(&data, 1 << 20);
    put_values(&v, llama);
    for (size_t i = 0; i < n_tensors; i++) {
        gguf_info *t = &tensors[i];
        if (change && change->without && strcmp(change->without, t->name) == 0)
            continue;
        t->offset = data.n;
        put_data(&data, t, &seed);
        if (change && change->tensor && strcmp(change->tensor, t->name) == 0)
            change->edit(t);
        gguf_put_str(&infos, t->name);
        gguf_put_u32(&infos, t->n_dims);
        for (size_t k = 0; k < t->n_dims && k < 4; k++)
            gguf_put_u64(&infos, t->dims[k]);
        gguf_put_u32(&infos, t->type);
        gguf_put_u64(&infos, t->offset);
        n_written++;
    }
    cp_strbuf_puts(&out, "GGUF");
    gguf_put_u32(&out, 3);
    gguf_put_u64(&out, n_written);
    gguf_put_u64(&out, v.n);
    cp_strbuf_append(&out, v.out.data, v.out.n);
    cp_strbuf_append(&out, infos.data, infos.n);
    while (out.n % ALIGNMENT)
        cp_strbuf_putc(&out, 0);
    cp_strbuf_append(&out, data.data, data.n);
    if (change && change->n_bytes)
        memcpy(out.data + change->at, change->bytes, change->n_bytes);
    if (change)
        cp_strbuf_truncate(&out, out.n - change->cut);
    cp_strbuf_deinit(&v.out);
    cp_strbuf_deinit(&infos);
    cp_strbuf_deinit(&data);
    return out;
}
