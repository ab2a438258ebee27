/* GGUF files that are wrong: each single fault is refused with a sentence that names the file and
 * the thing; no truncation opens; random damage never crashes. */
#include "tests/gguf_image.h"

#include "base/clock.h"
#include "base/mem.h"
#include "convert/gguf.h"
#include "convert/gguf_blocks.h"
#include "convert/gguf_source.h"

#define MUTANTS 2000

/* Opens these bytes as a model; on success writes its files and reads all rows. The buffer of a row
 * is exactly as long as it must be, so that ASan sees a write past it. */
static cp_status use(const char *path, const char *dir, cp_str bytes, cp_error *err) {
    cp_source source;
    test_write_file(path, bytes.data, bytes.n);
    cp_status status = cp_source_open_gguf(path, &source, err);
    if (status != CP_OK) {
        assert_null(source.ops);
        return status;
    }
    status = source.ops->write_files(&source, dir, err);
    for (size_t i = 0; i < source.n_tensors && status == CP_OK; i++) {
        const cp_source_tensor *t = &source.tensors[i];
        float *rows = malloc(t->rows * t->cols * sizeof *rows);
        assert_non_null(rows);
        status = source.ops->read_rows(&source, i, 0, t->rows, rows, err);
        source.ops->release(&source, i, 0, t->rows);
        free(rows);
    }
    cp_source_close(&source);
    return status;
}

static void check_refused(const char *what, bool llama, const gguf_change *change,
                          const char *sentence) {
    cp_error err;
    const char *dir = test_tmp_dir();
    char path[512];
    snprintf(path, sizeof path, "%s/hostile.gguf", dir);
    cp_strbuf image = gguf_image(llama, change);
    cp_status status = use(path, dir, cp_strbuf_str(&image), &err);
    cp_strbuf_deinit(&image);
    if (status == CP_OK)
        fail_msg("%s: accepted", what);
    if (status == CP_ERR_NOT_FOUND || strncmp(err.message, path, strlen(path)) != 0 ||
        !strstr(err.message, sentence) || strchr(err.message, '\n'))
        fail_msg("%s: status %d, \"%s\" lacks \"%s\"", what, status, err.message, sentence);
}

static void the_image_itself_is_right(void **state) {
    (void)state;
    cp_error err;
    const char *dir = test_tmp_dir();
    for (int llama = 0; llama < 2; llama++) {
        cp_strbuf image = gguf_image(llama, NULL);
        assert_cp_ok(use(test_path(dir, "good.gguf"), dir, cp_strbuf_str(&image), &err));
        cp_strbuf_deinit(&image);
    }
}

/* ---- faults at fixed places ---------------------------------------------------------------- */

#define HUGE_COUNT "\xff\xff\xff\xff\xff\xff\xff\x0f"

static void faults_of_the_header_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *what;
        size_t at;
        const char *bytes;
        size_t n;
        const char *sentence;
    } cases[] = {
        {"magic", 0, "GGML", 4, "does not begin with"},
        {"version 2", 4, "\2\0\0\0", 4, "version 2"},
        {"version 1", 4, "\1\0\0\0", 4, "version 1"},
        {"version 4", 4, "\4\0\0\0", 4, "version 4"},
        {"big-endian", 4, "\0\0\0\3", 4, "big-endian"},
        {"tensor count", 8, HUGE_COUNT, 8, "cannot be in"},
        {"tensor count, negative", 8, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "cannot be in"},
        {"tensor count, one too many", 8, "\x0e", 1, "tensor 13"},
        {"metadata count", 16, HUGE_COUNT, 8, "cannot be in"},
        {"metadata count, one too few", 16, "\x10", 1, "tensor tokenizer.ggml.eos_token_id"},
        {"length of the first key", 24, HUGE_COUNT, 8, "past the file's end"},
        {"first key empty", 24, "\0\0\0\0\0\0\0\0", 8, "expected 1 to"},
        {"first key not UTF-8", 32, "\xc3(", 2, "not UTF-8"},
        {"kind of the first value", 52, "\x0d\0\0\0", 4, "value type 13"},
        {"length of the first value", 56, HUGE_COUNT, 8, "past the file's end"},
    };
    for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
        gguf_change change = {.at = cases[i].at, .bytes = cases[i].bytes, .n_bytes = cases[i].n};
        check_refused(cases[i].what, false, &change, cases[i].sentence);
    }
}

/* ---- faults of metadata -------------------------------------------------------------------- */

static void put_array(cp_strbuf *out, const char *key, uint32_t element, uint64_t n) {
    gguf_put_str(out, key);
    gguf_put_u32(out, CP_GGUF_ARRAY);
    gguf_put_u32(out, element);
    gguf_put_u64(out, n);
}

static void put_scalar(cp_strbuf *out, const char *key, uint32_t kind, uint64_t value, size_t n) {
    gguf_put_str(out, key);
    gguf_put_u32(out, kind);
    for (size_t i = 0; i < n; i++)
        cp_strbuf_putc(out, (char)(value >> 8 * i));
}

#define VALUES(name, ...)                                                                          \
    static void name(cp_strbuf *out, size_t *n) {                                                  \
        __VA_ARGS__;                                                                               \
        (*n)++;                                                                                    \
    }
VALUES(key_twice, gguf_put_key_u32(out, "qwen3.block_count", 1))
VALUES(nested_array, put_array(out, "x", CP_GGUF_ARRAY, 1))
VALUES(huge_array, put_array(out, "x", CP_GGUF_FLOAT64, UINT64_MAX / 8 + 2))
VALUES(huge_strings, put_array(out, "x", CP_GGUF_STRING, UINT64_MAX))
VALUES(unknown_element, put_array(out, "x", 13, 0))
VALUES(bool_of_two, put_scalar(out, "x", CP_GGUF_BOOL, 2, 1))
VALUES(alignment_0, put_scalar(out, "general.alignment", CP_GGUF_UINT32, 0, 4))
VALUES(alignment_24, put_scalar(out, "general.alignment", CP_GGUF_UINT32, 24, 4))
VALUES(alignment_huge, put_scalar(out, "general.alignment", CP_GGUF_UINT64, UINT64_MAX, 8))
VALUES(alignment_text, gguf_put_key_str(out, "general.alignment", "32"))
VALUES(no_layers, gguf_put_key_u32(out, "qwen3.block_count", 0))
VALUES(negative_layers, put_scalar(out, "qwen3.block_count", CP_GGUF_INT32, UINT32_MAX, 4))
VALUES(real_layers, gguf_put_key_f32(out, "qwen3.block_count", 1))
VALUES(many_layers, gguf_put_key_u32(out, "qwen3.block_count", 1000000))
VALUES(two_layers, gguf_put_key_u32(out, "qwen3.block_count", 2))
VALUES(odd_heads, gguf_put_key_u32(out, "qwen3.attention.head_count_kv", 3))
VALUES(odd_dim, gguf_put_key_u32(out, "qwen3.attention.key_length", 15))
VALUES(other_values, gguf_put_key_u32(out, "qwen3.attention.value_length", 32))
VALUES(part_rope, gguf_put_key_u32(out, "qwen3.rope.dimension_count", 8))
VALUES(eps_nan,
       put_scalar(out, "qwen3.attention.layer_norm_rms_epsilon", CP_GGUF_FLOAT32, 0x7fc00000, 4))
VALUES(theta_0, gguf_put_key_f32(out, "qwen3.rope.freq_base", 0))
VALUES(rope_scaled, gguf_put_key_str(out, "qwen3.rope.scaling.type", "yarn"))
VALUES(experts, gguf_put_key_u32(out, "qwen3.expert_count", 8))
VALUES(window, gguf_put_key_u32(out, "qwen3.attention.sliding_window", 4096))
VALUES(parts, gguf_put_key_u32(out, "split.count", 3))
VALUES(old_blocks, gguf_put_key_u32(out, "general.quantization_version", 1))
VALUES(family, gguf_put_key_str(out, "general.architecture", "gemma3"))
VALUES(more_ids, gguf_put_key_u32(out, "qwen3.vocab_size", 1000))
VALUES(spm, gguf_put_key_str(out, "tokenizer.ggml.model", "llama"))
VALUES(other_pre, gguf_put_key_str(out, "tokenizer.ggml.pre", "gpt-4o"))
VALUES(far_eos, gguf_put_key_u32(out, "tokenizer.ggml.eos_token_id", IMAGE_VOCAB))
VALUES(bos_wanted, put_scalar(out, "tokenizer.ggml.add_bos_token", CP_GGUF_BOOL, 1, 1))
VALUES(one_token, put_array(out, "tokenizer.ggml.tokens", CP_GGUF_STRING, 1),
       gguf_put_str(out, "a"))
VALUES(no_tokens, put_array(out, "tokenizer.ggml.tokens", CP_GGUF_STRING, 0))
VALUES(tokens_as_ints, put_array(out, "tokenizer.ggml.tokens", CP_GGUF_INT32, 0))
VALUES(one_type, put_array(out, "tokenizer.ggml.token_type", CP_GGUF_INT32, 1),
       gguf_put_u32(out, 1))
VALUES(bad_types, put_array(out, "tokenizer.ggml.token_type", CP_GGUF_INT32, IMAGE_VOCAB);
       for (size_t i = 0; i < IMAGE_VOCAB; i++) gguf_put_u32(out, 9))
VALUES(all_unused, put_array(out, "tokenizer.ggml.token_type", CP_GGUF_INT32, IMAGE_VOCAB);
       for (size_t i = 0; i < IMAGE_VOCAB; i++) gguf_put_u32(out, 5))
VALUES(unknown_merge, put_array(out, "tokenizer.ggml.merges", CP_GGUF_STRING, 1),
       gguf_put_str(out, "zz yy"))
VALUES(merge_of_one, put_array(out, "tokenizer.ggml.merges", CP_GGUF_STRING, 1),
       gguf_put_str(out, "he"))
VALUES(merge_not_utf8, put_array(out, "tokenizer.ggml.merges", CP_GGUF_STRING, 1),
       gguf_put_str(out, "\xff h"))
VALUES(tokens_not_utf8, put_array(out, "tokenizer.ggml.tokens", CP_GGUF_STRING, IMAGE_VOCAB);
       for (size_t i = 0; i < IMAGE_VOCAB; i++) gguf_put_str(out, "\xff"))
VALUES(tokens_alike, put_array(out, "tokenizer.ggml.tokens", CP_GGUF_STRING, IMAGE_VOCAB);
       for (size_t i = 0; i < IMAGE_VOCAB; i++) gguf_put_str(out, "a"))

static void faults_of_metadata_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *what, *without;
        void (*values)(cp_strbuf *, size_t *);
        const char *sentence;
    } cases[] = {
        {"a key twice", NULL, key_twice, "qwen3.block_count appears twice"},
        {"an array of arrays", NULL, nested_array, "array of arrays"},
        {"a huge array", NULL, huge_array, "past the file's end"},
        {"a huge array of strings", NULL, huge_strings, "past the file's end"},
        {"an array of unknown kind", NULL, unknown_element, "value type 13"},
        {"a bool of 2", NULL, bool_of_two, "bool of value 2"},
        {"alignment 0", NULL, alignment_0, "general.alignment"},
        {"alignment 24", NULL, alignment_24, "power of two"},
        {"alignment 2^64 - 1", NULL, alignment_huge, "general.alignment"},
        {"alignment as text", NULL, alignment_text, "general.alignment"},
        {"no architecture", "general.architecture", NULL, "general.architecture is missing"},
        {"another architecture", "general.architecture", family, "gemma3"},
        {"no layer count", "qwen3.block_count", NULL, "qwen3.block_count is missing"},
        {"0 layers", "qwen3.block_count", no_layers, "qwen3.block_count is 0"},
        {"-1 layers", "qwen3.block_count", negative_layers, "qwen3.block_count is -1"},
        {"1.0 layers", "qwen3.block_count", real_layers, "expected an integer"},
        {"a million layers", "qwen3.block_count", many_layers, "1000000"},
        {"a layer too many", "qwen3.block_count", two_layers, "blk.1.attn_norm.weight is missing"},
        {"no width", "qwen3.embedding_length", NULL, "embedding_length is missing"},
        {"no inner width", "qwen3.feed_forward_length", NULL, "feed_forward_length is missing"},
        {"no context", "qwen3.context_length", NULL, "context_length is missing"},
        {"no heads", "qwen3.attention.head_count", NULL, "head_count is missing"},
        {"no eps", "qwen3.attention.layer_norm_rms_epsilon", NULL, "epsilon is missing"},
        {"eps not a number", "qwen3.attention.layer_norm_rms_epsilon", eps_nan, "is nan"},
        {"theta 0", "qwen3.rope.freq_base", theta_0, "freq_base is 0"},
        {"3 key heads for 4", "qwen3.attention.head_count_kv", odd_heads, "not a multiple"},
        {"odd head", "qwen3.attention.key_length", odd_dim, "even number"},
        {"longer values", NULL, other_values, "only equal numbers"},
        {"RoPE on a part", NULL, part_rope, "only equal numbers"},
        {"RoPE scaling", NULL, rope_scaled, "yarn"},
        {"experts", NULL, experts, "qwen3.expert_count is 8"},
        {"a window", NULL, window, "sliding_window is 4096"},
        {"a file in parts", NULL, parts, "split.count is 3"},
        {"blocks of before", NULL, old_blocks, "quantization_version is 1"},
        {"another vocab_size", NULL, more_ids, "vocab_size is 1000"},
        {"no tokenizer", "tokenizer.ggml.model", NULL, "tokenizer.ggml.model is missing"},
        {"another tokenizer", "tokenizer.ggml.model", spm, "only \"gpt2\""},
        {"no splitting", "tokenizer.ggml.pre", NULL, "tokenizer.ggml.pre is missing"},
        {"another splitting", "tokenizer.ggml.pre", other_pre, "gpt-4o"},
        {"no tokens", "tokenizer.ggml.tokens", NULL, "tokenizer.ggml.tokens is missing"},
        {"one token", "tokenizer.ggml.tokens", one_token, "the tokens are 1"},
        {"zero tokens", "tokenizer.ggml.tokens", no_tokens, "has 0 tokens"},
        {"tokens of numbers", "tokenizer.ggml.tokens", tokens_as_ints, "array of int32"},
        {"tokens not UTF-8", "tokenizer.ggml.tokens", tokens_not_utf8, "token 0"},
        {"tokens alike", "tokenizer.ggml.tokens", tokens_alike, "tokenizer"},
        {"no token types", "tokenizer.ggml.token_type", NULL, "token_type is missing"},
        {"one token type", "tokenizer.ggml.token_type", one_type, "token_type has 1"},
        {"token types of 9", "tokenizer.ggml.token_type", bad_types, "token 0"},
        {"all unused", "tokenizer.ggml.token_type", all_unused, "tokenizer"},
        {"no merges", "tokenizer.ggml.merges", NULL, "tokenizer.ggml.merges is missing"},
        {"a merge of nothing known", "tokenizer.ggml.merges", unknown_merge, "merge 0"},
        {"a merge of one", "tokenizer.ggml.merges", merge_of_one, "merge 0"},
        {"a merge not UTF-8", "tokenizer.ggml.merges", merge_not_utf8, "merge 0"},
        {"eos beyond the tokens", "tokenizer.ggml.eos_token_id", far_eos, "eos_token_id is 263"},
        {"a bos that is not there", "tokenizer.ggml.bos_token_id", bos_wanted, "id is missing"},
    };
    for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
        gguf_change change = {.without = cases[i].without, .values = cases[i].values};
        check_refused(cases[i].what, false, &change, cases[i].sentence);
    }
}

/* ---- faults of tensors --------------------------------------------------------------------- */

#define EDIT(name, ...)                                                                            \
    static void name(gguf_info *t) {                                                               \
        __VA_ARGS__;                                                                               \
    }
EDIT(dims_0, t->n_dims = 0)
EDIT(dims_5, t->n_dims = 5)
EDIT(dims_many, t->n_dims = UINT32_MAX)
EDIT(dim_0, t->dims[1] = 0)
EDIT(dim_negative, t->dims[1] = UINT64_MAX)
EDIT(dim_overflow, t->dims[0] = (uint64_t)1 << 40; t->dims[1] = (uint64_t)1 << 40)
EDIT(dim_wraps, t->dims[0] = (uint64_t)1 << 62; t->dims[1] = 32)
EDIT(dim_part, t->dims[0] = 48)
EDIT(dim_beyond, t->dims[1] = 1 << 20)
EDIT(type_q5_k, t->type = 13)
EDIT(type_removed, t->type = 4)
EDIT(type_999, t->type = 999)
EDIT(offset_odd, t->offset += 8)
EDIT(offset_far, t->offset = (uint64_t)1 << 40)
EDIT(offset_end, t->offset = UINT64_MAX / 32 * 32)
EDIT(offset_shared, t->offset -= 32)
EDIT(offset_first, t->offset = 0)
EDIT(name_taken, t->name = "blk.0.attn_k.weight")
EDIT(name_other, t->name = "blk.0.attn_q.bias")
EDIT(name_empty, t->name = "")
EDIT(name_long,
     t->name = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")
EDIT(turned, t->dims[0] = IMAGE_FFN; t->dims[1] = IMAGE_HIDDEN)
EDIT(as_vector, t->n_dims = 1)

static void faults_of_tensors_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *what, *tensor;
        void (*edit)(gguf_info *);
        const char *sentence;
    } cases[] = {
        {"no dimensions", "blk.0.attn_q.weight", dims_0, "0 dimensions"},
        {"five dimensions", "blk.0.attn_q.weight", dims_5, "5 dimensions"},
        {"2^32 - 1 dimensions", "blk.0.attn_q.weight", dims_many, "4294967295 dimensions"},
        {"a dimension of 0", "blk.0.attn_q.weight", dim_0, "a dimension of 0"},
        {"a negative dimension", "blk.0.attn_q.weight", dim_negative, "a dimension of"},
        {"2^40 x 2^40", "blk.0.attn_q.weight", dim_overflow, "overflow"},
        {"2^62 x 32", "blk.0.attn_q.weight", dim_wraps, "overflow"},
        {"a block and a half", "blk.0.attn_q.weight", dim_part, "whole number of blocks"},
        {"more rows than the file", "token_embd.weight", dim_beyond, "run past the file's end"},
        {"Q5_K", "blk.0.attn_q.weight", type_q5_k, "type 13 (Q5_K) is not supported"},
        {"a type that is gone", "blk.0.attn_q.weight", type_removed, "type 4 "},
        {"type 999", "blk.0.attn_q.weight", type_999, "type 999 "},
        {"not aligned", "blk.0.attn_q.weight", offset_odd, "not aligned"},
        {"offset beyond the end", "blk.0.attn_q.weight", offset_far, "past the file's end"},
        {"offset at the end of memory", "blk.0.attn_q.weight", offset_end, "past the file's end"},
        {"32 bytes shared", "blk.0.attn_q.weight", offset_shared, "overlaps"},
        {"all at one place", "blk.0.attn_v.weight", offset_first, "overlaps"},
        {"a name twice", "blk.0.attn_q.weight", name_taken, "appears twice"},
        {"another name", "blk.0.attn_q.weight", name_other, "attn_q.weight is missing"},
        {"no name", "blk.0.attn_q.weight", name_empty, "expected 1 to 64"},
        {"a long name", "blk.0.attn_q.weight", name_long, "expected 1 to 64"},
        {"rows for columns", "blk.0.ffn_up.weight", turned, "the metadata wants 2 [96, 64]"},
        {"a vector", "blk.0.ffn_up.weight", as_vector, "1 dimensions"},
    };
    for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
        gguf_change change = {.tensor = cases[i].tensor, .edit = cases[i].edit};
        check_refused(cases[i].what, false, &change, cases[i].sentence);
    }
    gguf_change missing = {.without = "output_norm.weight"};
    check_refused("a missing tensor", true, &missing, "output_norm.weight is missing");
}

/* A qwen3 file in the clothes of a llama: its norms of q and k have no place. */
static void a_tensor_without_a_place_is_refused(void **state) {
    (void)state;
    cp_error err;
    const char *dir = test_tmp_dir();
    cp_strbuf image = gguf_image(false, NULL);
    for (char *at = image.data; (at = memmem(at, image.n - (size_t)(at - image.data), "qwen3", 5));)
        memcpy(at, "llama", 5);
    assert_int_equal(use(test_path(dir, "x.gguf"), dir, cp_strbuf_str(&image), &err),
                     CP_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "attn_k_norm.weight has no place"));
    cp_strbuf_deinit(&image);
}

static void weights_that_are_not_finite_are_refused(void **state) {
    (void)state;
    cp_error err;
    const char *dir = test_tmp_dir();
    cp_strbuf image = gguf_image(false, NULL);
    size_t last_data = 64 + 64 + 256; /* k norm, q norm, output_norm: float32 at the end */
    memcpy(image.data + image.n - last_data, "\0\0\xc0\x7f", 4);
    assert_int_equal(use(test_path(dir, "x.gguf"), dir, cp_strbuf_str(&image), &err),
                     CP_ERR_FORMAT);
    assert_non_null(strstr(err.message, "output_norm.weight: value 0 of row 0 is not finite"));
    cp_strbuf_deinit(&image);
}

/* ---- damage at random ---------------------------------------------------------------------- */

static void no_truncated_file_opens(void **state) {
    (void)state;
    cp_error err;
    cp_gguf file;
    const char *path = test_path(test_tmp_dir(), "cut.gguf");
    cp_strbuf image = gguf_image(true, NULL);
    for (size_t n = 0; n < image.n; n += n < 1024 ? 1 : 61) {
        test_write_file(path, image.data, n);
        if (cp_gguf_open(path, &file, &err) == CP_OK)
            fail_msg("%zu of %zu bytes: opened", n, image.n);
        assert_int_equal(strncmp(err.message, path, strlen(path)), 0);
    }
    cp_strbuf_deinit(&image);
}

/* Nine of ten changes hit the metadata and tensor infos, where they do most. */
static void mutate(cp_strbuf *image, uint64_t *seed) {
    static const uint64_t extremes[] = {
        0, 1, 0x7f, 0x80, 0xff, 0x7fffffff, 0xffffffff, INT64_MAX, UINT64_MAX, (uint64_t)1 << 63};
    size_t header = 8000 < image->n ? 8000 : image->n;
    for (size_t k = 1 + test_random(seed) % 4; k-- > 0;) {
        size_t range = test_random(seed) % 10 ? header : image->n,
               at = test_random(seed) % (range - 8);
        switch (test_random(seed) % 4) {
        case 0:
            image->data[at] = (char)test_random(seed);
            break;
        case 1:
            image->data[at] ^= (char)(1 << test_random(seed) % 8);
            break;
        case 2:
            memcpy(image->data + at, &extremes[test_random(seed) % CP_COUNT_OF(extremes)],
                   test_random(seed) % 2 ? 8 : 4);
            break;
        default: /* what stands elsewhere */
            memmove(image->data + at, image->data + test_random(seed) % (range - 8),
                    1 + test_random(seed) % 8);
        }
    }
}

static void mutants_never_crash(void **state) {
    (void)state;
    uint64_t seed = cp_clock_ns(), start = cp_clock_ns();
    const char *dir = test_tmp_dir();
    char path[512];
    size_t n_accepted = 0;
    print_message("seed %llu\n", (unsigned long long)seed);
    snprintf(path, sizeof path, "%s/mutant.gguf", dir);
    cp_strbuf good[2] = {gguf_image(false, NULL), gguf_image(true, NULL)};
    test_peak_begin();
    for (size_t i = 0; i < MUTANTS; i++) {
        cp_error err = {.message = ""};
        cp_strbuf image;
        cp_strbuf_init(&image, 1 << 20);
        cp_strbuf_append(&image, good[i % 2].data, good[i % 2].n);
        mutate(&image, &seed);
        if (use(path, dir, cp_strbuf_str(&image), &err) == CP_OK)
            n_accepted++;
        else if (strncmp(err.message, path, strlen(path)) != 0 || strchr(err.message, '\n'))
            fail_msg("mutant %zu: \"%s\"", i, err.message);
        cp_strbuf_deinit(&image);
    }
    print_message("%zu of %d mutants accepted, %.0f ms\n", n_accepted, MUTANTS,
                  cp_clock_ms_since(start));
    test_peak_within(64);
    assert_true(n_accepted < MUTANTS); /* some damage is seen, or nothing was tested */
    cp_strbuf_deinit(&good[0]);
    cp_strbuf_deinit(&good[1]);
}

/* Each allocation in turn fails: the sentence says so, nothing leaks, nothing crashes. */
static void no_memory_is_an_error(void **state) {
    (void)state;
    cp_error err;
    const char *dir = test_tmp_dir();
    char path[512];
    snprintf(path, sizeof path, "%s/model.gguf", dir);
    cp_strbuf image = gguf_image(false, NULL);
    test_write_file(path, image.data, image.n);
    cp_strbuf_deinit(&image);
    cp_status status = CP_ERR_NO_MEMORY;
    long n = 0;
    while (status == CP_ERR_NO_MEMORY && n < 5000) {
        cp_source source;
        test_alloc_fail_at(++n, 0);
        status = cp_source_open_gguf(path, &source, &err);
        if (status == CP_OK)
            status = source.ops->write_files(&source, dir, &err);
        test_alloc_fail_at(0, 0);
        cp_source_close(&source);
    }
    if (status != CP_OK)
        fail_msg("allocation %ld: status %d, %s", n, status, err.message);
    assert_true(n > 20);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_image_itself_is_right),
    cmocka_unit_test(faults_of_the_header_are_refused),
    cmocka_unit_test(faults_of_metadata_are_refused),
    cmocka_unit_test(faults_of_tensors_are_refused),
    cmocka_unit_test(a_tensor_without_a_place_is_refused),
    cmocka_unit_test(weights_that_are_not_finite_are_refused),
    cmocka_unit_test(no_truncated_file_opens),
    cmocka_unit_test(mutants_never_crash),
    cmocka_unit_test(no_memory_is_an_error),
};
CP_TEST_GROUP(gguf, tests)
