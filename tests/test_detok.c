/* Decoding: the reference's texts, and that a stream gives exactly what decoding at once gives. */
#include "tests/test.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer.h"

static cp_tokenizer *real;

static int open_real(void **state) {
    (void)state;
    cp_error err;
    if (!real)
        assert_cp_ok(cp_tokenizer_open("models/qwen3-tokenizer", &real, &err));
    return 0;
}

static int close_real(void **state) {
    (void)state;
    cp_tokenizer_close(real);
    real = NULL;
    return 0;
}

static void check_decode(const cJSON *ids, bool skip_special, const char *expected) {
    cp_error err;
    cp_ids list = {NULL, 0, 0};
    cp_strbuf out;
    const cJSON *id;
    cJSON_ArrayForEach(id, ids) assert_cp_ok(cp_ids_push(&list, id->valueint, &err));
    cp_strbuf_init(&out, (size_t)1 << 20);
    assert_cp_ok(cp_tokenizer_decode(real, list.ids, list.n, skip_special, &out, &err));
    assert_string_equal(cp_strbuf_text(&out), expected);
    cp_strbuf_deinit(&out);
    cp_ids_deinit(&list);
}

static void decode_gives_the_reference_texts(void **state) {
    (void)state;
    cJSON *cases = test_read_jsonl(GOLDEN "/tokenizer/decode.jsonl"), *c;
    int n_cases = 0;
    cJSON_ArrayForEach(c, cases) {
        const cJSON *ids = cJSON_GetObjectItem(c, "ids"), *id;
        check_decode(ids, false, cJSON_GetObjectItem(c, "decoded")->valuestring);
        check_decode(ids, true, cJSON_GetObjectItem(c, "decoded_no_special")->valuestring);
        cp_strbuf hex;
        cp_strbuf_init(&hex, (size_t)1 << 20);
        cJSON_ArrayForEach(id, ids) {
            cp_str bytes = cp_tokenizer_id_bytes(real, id->valueint);
            for (size_t i = 0; i < bytes.n; i++)
                cp_strbuf_printf(&hex, "%02x", (unsigned char)bytes.data[i]);
        }
        assert_string_equal(cp_strbuf_text(&hex), cJSON_GetObjectItem(c, "bytes_hex")->valuestring);
        cp_strbuf_deinit(&hex);
        n_cases++;
    }
    assert_int_equal(n_cases, 60);
    cJSON_Delete(cases);
}

/* Ids near the byte tokens are drawn often, so that broken and split sequences abound. */
static int32_t draw_id(uint64_t *seed) {
    uint64_t r = test_random(seed);
    return (int32_t)(r % 3 ? r / 3 % 256 : r / 3 % cp_tokenizer_n_ids(real));
}

static void a_stream_gives_what_decoding_at_once_gives(void **state) {
    (void)state;
    uint64_t seed = 1;
    for (int round = 0; round < 2000; round++) {
        bool skip = round % 2;
        cp_detokenizer d;
        cp_strbuf bytes, repaired, streamed, whole;
        cp_error err;
        int32_t ids[40];
        size_t n = test_random(&seed) % CP_COUNT_OF(ids);
        cp_strbuf_init(&bytes, (size_t)1 << 20);
        cp_strbuf_init(&repaired, (size_t)1 << 20);
        cp_strbuf_init(&streamed, (size_t)1 << 20);
        cp_strbuf_init(&whole, (size_t)1 << 20);
        cp_detokenizer_init(&d, real, skip);
        for (size_t i = 0; i < n; i++) {
            ids[i] = draw_id(&seed);
            if (!skip || !cp_tokenizer_is_special(real, ids[i])) {
                cp_str own = cp_tokenizer_id_bytes(real, ids[i]);
                cp_strbuf_append(&bytes, own.data, own.n);
            }
            cp_detokenizer_push(&d, ids[i], &streamed);
            assert_true(cp_utf8_is_valid(cp_strbuf_text(&streamed), streamed.n));
        }
        cp_detokenizer_finish(&d, &streamed);
        cp_strbuf_append_repaired(&repaired, cp_strbuf_text(&bytes), bytes.n);
        assert_cp_ok(cp_tokenizer_decode(real, ids, n, skip, &whole, &err));
        assert_true(cp_str_equal(cp_strbuf_str(&streamed), cp_strbuf_str(&repaired)));
        assert_true(cp_str_equal(cp_strbuf_str(&whole), cp_strbuf_str(&repaired)));
        cp_strbuf_deinit(&whole);
        cp_strbuf_deinit(&streamed);
        cp_strbuf_deinit(&repaired);
        cp_strbuf_deinit(&bytes);
    }
}

/* An emoji of one token a byte comes out whole, with its last byte. */
static void half_a_sequence_is_kept_back(void **state) {
    (void)state;
    static const char bytes[] = "\xf0\x9f\xa9\xba";
    cp_detokenizer d;
    cp_strbuf out;
    cp_strbuf_init(&out, 64);
    cp_detokenizer_init(&d, real, true);
    for (int i = 0; i < 4; i++) {
        int32_t id = -1;
        for (int32_t k = 0; k < 256; k++)
            if (cp_str_equal(cp_tokenizer_id_bytes(real, k), (cp_str){bytes + i, 1}))
                id = k;
        assert_int_equal(out.n, 0);
        cp_detokenizer_push(&d, id, &out);
        cp_detokenizer_push(&d, 151644, &out); /* skipped: does not break the sequence */
        cp_detokenizer_push(&d, 151900, &out); /* without text */
    }
    cp_detokenizer_finish(&d, &out);
    assert_string_equal(cp_strbuf_text(&out), bytes);
    cp_strbuf_deinit(&out);
}

static void ids_out_of_range_are_refused(void **state) {
    (void)state;
    static const int32_t bad[] = {-1, 151669, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < CP_COUNT_OF(bad); i++) {
        cp_error err;
        cp_strbuf out;
        cp_strbuf_init(&out, 64);
        assert_int_equal(cp_tokenizer_decode(real, &bad[i], 1, false, &out, &err), CP_ERR_USAGE);
        cp_strbuf_deinit(&out);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(decode_gives_the_reference_texts, open_real),
    cmocka_unit_test_setup(a_stream_gives_what_decoding_at_once_gives, open_real),
    cmocka_unit_test_setup(half_a_sequence_is_kept_back, open_real),
    cmocka_unit_test_setup_teardown(ids_out_of_range_are_refused, open_real, close_real),
};
CP_TEST_GROUP(detok, tests)
