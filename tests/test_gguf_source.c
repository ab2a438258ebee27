/* GGUF files as sources: weights, config and tokenizer against the Hugging Face folders that they
 * were made from. */
#include "tests/gguf_image.h"

#include "base/file.h"
#include "base/mem.h"
#include "convert/checkpoint_source.h"
#include "convert/gguf.h"
#include "convert/gguf_blocks.h"
#include "convert/gguf_source.h"
#include "tokenizer/tokenizer.h"

#include <math.h>

#define FILES "tests/golden-gguf"

static float *read_all(const cp_source *s, size_t i, size_t chunk) {
    const cp_source_tensor *t = &s->tensors[i];
    float *out = malloc(t->rows * t->cols * sizeof *out);
    cp_error err;
    assert_non_null(out);
    for (size_t row = 0; row < t->rows; row += chunk) {
        size_t n = t->rows - row < chunk ? t->rows - row : chunk;
        assert_cp_ok(s->ops->read_rows(s, i, row, n, out + row * t->cols, &err));
        s->ops->release(s, i, row, n);
    }
    return out;
}

/* Largest |a - b| and |b|. */
static void compare(const float *a, const float *b, size_t n, double *difference, double *largest) {
    *difference = *largest = 0;
    for (size_t i = 0; i < n; i++) {
        *difference = fmax(*difference, fabs((double)a[i] - (double)b[i]));
        *largest = fmax(*largest, fabs((double)b[i]));
    }
}

static void check_same_config(const cp_model_config *a, const cp_model_config *b) {
    assert_string_equal(a->architecture, b->architecture);
    assert_int_equal(a->n_layers, b->n_layers);
    assert_int_equal(a->hidden_size, b->hidden_size);
    assert_int_equal(a->ffn_size, b->ffn_size);
    assert_int_equal(a->n_heads, b->n_heads);
    assert_int_equal(a->n_kv_heads, b->n_kv_heads);
    assert_int_equal(a->head_dim, b->head_dim);
    assert_int_equal(a->vocab_size, b->vocab_size);
    assert_int_equal(a->max_positions, b->max_positions);
    assert_int_equal(a->qk_norm, b->qk_norm);
    assert_int_equal(a->tied, b->tied);
    assert_true(a->norm_eps == b->norm_eps);
    assert_true(a->rope_theta == b->rope_theta);
    assert_true(cp_config_is_eos(a, b->eos_ids[0]));
}

/* The rows of q and k, which the file has in pairs, in particular. */
static void unquantized_weights_are_the_folders(void **state) {
    (void)state;
    cp_error err;
    cp_source file, folder;
    assert_cp_ok(cp_source_open_gguf(FILES "/llama-bf16.gguf", &file, &err));
    assert_cp_ok(cp_checkpoint_source_open(GOLDEN "/models/llama", &folder, &err));
    check_same_config(&file.config, &folder.config);
    assert_int_equal(file.n_tensors, folder.n_tensors);
    for (size_t i = 0; i < file.n_tensors; i++) {
        const cp_source_tensor *t = &file.tensors[i];
        float *expected = read_all(&folder, i, t->rows);
        assert_string_equal(t->name, folder.tensors[i].name);
        for (size_t chunk = 1; chunk < 40; chunk += 12) {
            float *got = read_all(&file, i, chunk);
            if (memcmp(got, expected, t->rows * t->cols * sizeof *got) != 0)
                fail_msg("%s differs, read by %zu rows", t->name, chunk);
            free(got);
        }
        free(expected);
    }
    cp_source_close(&file);
    cp_source_close(&folder);
}

/* Quantized by another implementation: off by at most what the type's steps allow. */
static void quantized_weights_are_near_the_folders(void **state) {
    (void)state;
    cp_error err;
    cp_source file, folder;
    double difference, largest;
    assert_cp_ok(cp_source_open_gguf(FILES "/tied-gqa2-mixed.gguf", &file, &err));
    assert_cp_ok(cp_checkpoint_source_open(GOLDEN "/models/tied-gqa2", &folder, &err));
    check_same_config(&file.config, &folder.config);
    for (size_t i = 0; i < file.n_tensors; i++) {
        const cp_source_tensor *t = &file.tensors[i];
        float *expected = read_all(&folder, i, t->rows), *got = read_all(&file, i, 5);
        compare(got, expected, t->rows * t->cols, &difference, &largest);
        double allowed = !cp_kind_is_matrix(t->kind)    ? 0
                         : t->kind == CP_KIND_EMBEDDING ? 0.5 / 127 * 1.01 /* Q8_0 */
                         : t->kind == CP_KIND_DOWN      ? 1e-3             /* F16 */
                                                        : 0.126;                /* Q4_0, Q4_1 */
        if (!(difference <= allowed * largest))
            fail_msg("%s: off by %g of %g", t->name, difference, largest);
        free(expected);
        free(got);
    }
    cp_source_close(&file);
    cp_source_close(&folder);
}

static void encode(const cp_tokenizer *tok, const char *text, bool post_process, cp_ids *out) {
    cp_error err;
    cp_encode_options options = {.parse_special = true, .post_process = post_process};
    *out = (cp_ids){NULL, 0, 0};
    assert_cp_ok(cp_tokenizer_encode(tok, text, strlen(text), &options, out, &err));
}

static void check_same_tokenizer(const cp_tokenizer *a, const cp_tokenizer *b) {
    cJSON *cases = test_read_jsonl(GOLDEN "/tokenizer/encode.jsonl"), *c;
    cJSON_ArrayForEach(c, cases) {
        const char *text = cJSON_GetObjectItem(c, "text")->valuestring;
        cp_ids x, y;
        encode(a, text, true, &x);
        encode(b, text, true, &y);
        if (x.n != y.n || (x.n && memcmp(x.ids, y.ids, x.n * sizeof *x.ids) != 0))
            fail_msg("%s: other ids", cJSON_GetObjectItem(c, "name")->valuestring);
        cp_ids_deinit(&x);
        cp_ids_deinit(&y);
    }
    cJSON_Delete(cases);
    assert_int_equal(cp_tokenizer_n_ids(a), cp_tokenizer_n_ids(b)); /* padding has no text */
    for (int32_t id = 0; (size_t)id < cp_tokenizer_n_ids(a); id++) {
        assert_true(cp_str_equal(cp_tokenizer_id_bytes(a, id), cp_tokenizer_id_bytes(b, id)));
        assert_int_equal(cp_tokenizer_is_special(a, id), cp_tokenizer_is_special(b, id));
    }
}

static void written_files_say_what_the_folders_say(void **state) {
    (void)state;
    static const struct {
        const char *file, *folder;
    } cases[] = {{FILES "/llama-bf16.gguf", GOLDEN "/models/llama"},
                 {FILES "/tied-gqa2-mixed.gguf", GOLDEN "/models/tied-gqa2"}};
    for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
        cp_error err;
        cp_source source;
        cp_model_config config, expected;
        cp_tokenizer *ours, *theirs;
        const char *dir = test_tmp_dir();
        assert_cp_ok(cp_source_open_gguf(cases[i].file, &source, &err));
        assert_cp_ok(source.ops->write_files(&source, dir, &err));
        assert_cp_ok(cp_config_read(dir, &config, &err));
        check_same_config(&config, &source.config);
        assert_int_equal(config.n_eos, source.config.n_eos);
        assert_cp_ok(cp_config_read(cases[i].folder, &expected, &err));
        check_same_config(&config, &expected);
        assert_cp_ok(cp_tokenizer_open(dir, &ours, &err));
        assert_cp_ok(cp_tokenizer_open(cases[i].folder, &theirs, &err));
        check_same_tokenizer(ours, theirs);
        cp_tokenizer_close(ours);
        cp_tokenizer_close(theirs);
        cp_source_close(&source);
    }
}

/* ---- tokenizers ---------------------------------------------------------------------------- */

static cp_tokenizer *tokenizer_of(bool llama, const gguf_change *change) {
    cp_error err;
    cp_source source;
    cp_tokenizer *tok;
    const char *dir = test_tmp_dir(), *path = test_path(dir, "model.gguf");
    cp_strbuf image = gguf_image(llama, change);
    test_write_file(path, image.data, image.n);
    cp_strbuf_deinit(&image);
    assert_cp_ok(cp_source_open_gguf(path, &source, &err));
    assert_cp_ok(source.ops->write_files(&source, dir, &err));
    cp_source_close(&source);
    assert_cp_ok(cp_tokenizer_open(dir, &tok, &err));
    return tok;
}

static void check_ids(const cp_tokenizer *tok, const char *text, const int32_t *expected,
                      size_t n) {
    cp_ids ids;
    encode(tok, text, true, &ids);
    if (ids.n != n || (n && memcmp(ids.ids, expected, n * sizeof *expected) != 0))
        fail_msg("\"%s\": %zu ids, the first %d", text, ids.n, ids.n ? (int)ids.ids[0] : -1);
    cp_ids_deinit(&ids);
}
#define CHECK_IDS(tok, text, ...)                                                                  \
    check_ids(tok, text, (const int32_t[]){__VA_ARGS__},                                           \
              sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static void control_and_user_tokens_are_told_apart(void **state) {
    (void)state;
    for (int llama = 0; llama < 2; llama++) {
        cp_tokenizer *tok = tokenizer_of(llama, NULL);
        CHECK_IDS(tok, "hell<|im_end|>he<think>", 258, 261, 256, 262);
        assert_true(cp_tokenizer_is_special(tok, 261));
        assert_false(cp_tokenizer_is_special(tok, 262));
        cp_tokenizer_close(tok);
    }
}

static void add_both_ends(cp_strbuf *out, size_t *n) {
    static const char *const keys[] = {"tokenizer.ggml.add_bos_token",
                                       "tokenizer.ggml.add_eos_token"};
    for (size_t i = 0; i < 2; i++) {
        gguf_put_str(out, keys[i]);
        gguf_put_u32(out, CP_GGUF_BOOL);
        cp_strbuf_putc(out, 1);
    }
    *n += 2;
}

static void wanted_ends_become_the_post_processor(void **state) {
    (void)state;
    const gguf_change change = {.values = add_both_ends};
    cp_tokenizer *tok = tokenizer_of(true, &change);
    CHECK_IDS(tok, "hell", 259, 258, 261);
    cp_tokenizer_close(tok);
}

static void llama_bpe(cp_strbuf *out, size_t *n) {
    gguf_put_key_str(out, "tokenizer.ggml.pre", "llama-bpe");
    (*n)++;
}

/* llama-bpe adds the first token unless the file says otherwise, smollm does not. */
static void splitting_goes_by_its_name(void **state) {
    (void)state;
    const gguf_change change = {.values = llama_bpe, .without = "tokenizer.ggml.pre"};
    cp_tokenizer *tok = tokenizer_of(true, &change);
    CHECK_IDS(tok, "hell", 259, 258);
    cp_tokenizer_close(tok);
    tok = tokenizer_of(true, NULL);
    CHECK_IDS(tok, "hell", 258);
    cp_tokenizer_close(tok);
}

/* Tokens whose letters are control characters and 0xf1 are unused; merges go across them. */
static void lacks_bytes(cp_strbuf *out, size_t *n) {
    gguf_put_str(out, "tokenizer.ggml.token_type");
    gguf_put_u32(out, CP_GGUF_ARRAY);
    gguf_put_u32(out, CP_GGUF_INT32);
    gguf_put_u64(out, IMAGE_VOCAB);
    for (unsigned i = 0; i < IMAGE_VOCAB; i++)
        gguf_put_u32(out, i == 4 || i == 6 || i == 0xf1 ? 5 : i >= 259 ? 3 : 1);
    (*n)++;
}

static void bytes_without_a_token_are_left_out(void **state) {
    (void)state;
    const gguf_change change = {.values = lacks_bytes, .without = "tokenizer.ggml.token_type"};
    cp_tokenizer *tok = tokenizer_of(true, &change);
    char text[400] = "";
    int32_t expected[100];
    /* GPT-2's pattern takes a run of control characters as one piece. */
    CHECK_IDS(tok, "he\x04\x06he", 256, 256);
    CHECK_IDS(tok, "\x01\x04\x02", 1, 2);
    cp_ids none;
    encode(tok, "\x04\x06\x04", true, &none);
    assert_int_equal(none.n, 0);
    cp_ids_deinit(&none);
    for (size_t i = 0; i < 60; i++) { /* a piece that is long enough for the heap */
        strcat(text, i % 2 ? "\x01\x04" : "\x02");
        expected[i] = i % 2 ? 1 : 2;
    }
    check_ids(tok, text, expected, 60);
    memset(text, 4, 200);
    text[200] = '\0';
    encode(tok, text, true, &none);
    assert_int_equal(none.n, 0);
    cp_ids_deinit(&none);
    cp_tokenizer_close(tok);
}

/* A letter that text cannot do without is still required. */
static void lacks_a_letter(cp_strbuf *out, size_t *n) {
    size_t begin = out->n;
    lacks_bytes(out, n);
    memcpy(out->data + begin + 8 + strlen("tokenizer.ggml.token_type") + 16 + 4 * 'e', "\5", 1);
}

static void a_missing_letter_is_refused(void **state) {
    (void)state;
    const gguf_change change = {.values = lacks_a_letter, .without = "tokenizer.ggml.token_type"};
    cp_error err;
    cp_source source;
    const char *dir = test_tmp_dir(), *path = test_path(dir, "model.gguf");
    cp_strbuf image = gguf_image(true, &change);
    test_write_file(path, image.data, image.n);
    cp_strbuf_deinit(&image);
    assert_cp_ok(cp_source_open_gguf(path, &source, &err));
    assert_int_equal(source.ops->write_files(&source, dir, &err), CP_ERR_FORMAT);
    assert_non_null(strstr(err.message, "not in the vocabulary"));
    cp_source_close(&source);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(unquantized_weights_are_the_folders),
    cmocka_unit_test(quantized_weights_are_near_the_folders),
    cmocka_unit_test(written_files_say_what_the_folders_say),
    cmocka_unit_test(control_and_user_tokens_are_told_apart),
    cmocka_unit_test(wanted_ends_become_the_post_processor),
    cmocka_unit_test(splitting_goes_by_its_name),
    cmocka_unit_test(bytes_without_a_token_are_left_out),
    cmocka_unit_test(a_missing_letter_is_refused),
};
CP_TEST_GROUP(gguf_source, tests)
