/* The block types of GGUF against the gguf Python package, bit for bit. */
#include "tests/test.h"

#include "convert/gguf_blocks.h"

#define VECTORS "tests/golden-gguf/blocks.jsonl"

static void check_type(const cJSON *c) {
    uint32_t type = (uint32_t)cJSON_GetObjectItem(c, "type")->valueint;
    const char *name = cJSON_GetObjectItem(c, "name")->valuestring;
    size_t n = (size_t)cJSON_GetObjectItem(c, "n")->valueint, block, bytes, n_blocks, n_expected;
    unsigned char *blocks =
        test_base64(cJSON_GetObjectItem(c, "blocks_b64")->valuestring, &n_blocks);
    unsigned char *expected =
        test_base64(cJSON_GetObjectItem(c, "values_b64")->valuestring, &n_expected);
    assert_string_equal(cp_gguf_type_name(type), name);
    assert_true(cp_gguf_type_block(type, &block, &bytes));
    assert_int_equal(n_blocks, n / block * bytes);
    assert_int_equal(n_expected, n * sizeof(float));
    /* Exactly as long as they are, at an odd address: ASan and UBSan see what is read beyond. */
    unsigned char *odd = malloc(n_blocks + 1);
    float *values = malloc(n * sizeof *values);
    assert_non_null(odd);
    assert_non_null(values);
    memcpy(odd + 1, blocks, n_blocks);
    cp_gguf_widen(type, odd + 1, n, values);
    for (size_t i = 0; i < n; i++) {
        float want;
        memcpy(&want, expected + i * sizeof want, sizeof want);
        if (memcmp(&values[i], &want, sizeof want) != 0 && !(values[i] == 0 && want == 0))
            fail_msg("%s: value %zu is %.9g, expected %.9g", name, i, (double)values[i],
                     (double)want);
    }
    free(blocks);
    free(expected);
    free(odd);
    free(values);
}

static void values_are_the_reference_ones(void **state) {
    (void)state;
    cJSON *cases = test_read_jsonl(VECTORS), *c;
    assert_int_equal(cJSON_GetArraySize(cases), 8);
    cJSON_ArrayForEach(c, cases) check_type(c);
    cJSON_Delete(cases);
}

static void other_types_have_a_name_and_no_block(void **state) {
    (void)state;
    size_t block = 7, bytes = 7;
    assert_string_equal(cp_gguf_type_name(13), "Q5_K");
    assert_string_equal(cp_gguf_type_name(6), "Q5_0");
    static const uint32_t others[] = {4, 5, 6, 13, 15, 31, 38, 41, 1000, UINT32_MAX};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(cp_gguf_type_block(others[i], &block, &bytes));
        assert_non_null(cp_gguf_type_name(others[i]));
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(values_are_the_reference_ones),
    cmocka_unit_test(other_types_have_a_name_and_no_block),
};
CP_TEST_GROUP(gguf_blocks, tests)
