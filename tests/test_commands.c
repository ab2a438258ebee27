/* The commands as a script would use them: formats, exit statuses, one clear line on bad input. */
#include "tests/test.h"

#include <math.h>

#define MODEL GOLDEN "/models/tied-gqa2"

static test_run carepath(const char *const *argv, const char *input) {
    return test_run_program(argv, NULL, input);
}

static void logits_survive_the_text_form(void **state) {
    (void)state;
    test_run run = carepath((const char *[]){NULL, "logits", "--model", MODEL, NULL},
                            "{\"ids\": [2]}\n\n{\"ids\": [3, 4], \"note\": {}}\n");
    cJSON *first = test_run_json(&run);
    const cJSON *logits = cJSON_GetObjectItem(first, "logits");
    assert_int_equal(cJSON_GetArraySize(logits), 1024);
    assert_true(fabs(cJSON_GetArrayItem(logits, 23)->valuedouble - 10.18564) <
                1e-4); /* golden.json, len1 */
    const char *second = strchr(run.out.data, '\n');
    assert_non_null(second);
    assert_int_equal(strncmp(second + 1, "{\"logits\":[", 11), 0);
    cJSON_Delete(first);
    test_run_free(&run);

    run = carepath((const char *[]){NULL, "logits", "--model", MODEL, "--all", NULL},
                   "{\"ids\": [2, 3, 4]}");
    cJSON *all = test_run_json(&run);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(all, "logits")), 3);
    cJSON_Delete(all);
    test_run_free(&run);

    run = carepath((const char *[]){NULL, "logits", "--model", GOLDEN "/models/embedding-gqa1",
                                    "--embed", NULL},
                   "{\"ids\": [2, 3, 4]}");
    cJSON *embedded = test_run_json(&run);
    double square = 0;
    const cJSON *value;
    cJSON_ArrayForEach(value, cJSON_GetObjectItem(embedded, "embedding")) square +=
        value->valuedouble * value->valuedouble;
    assert_true(fabs(square - 1) < 1e-6);
    cJSON_Delete(embedded);
    test_run_free(&run);
}

static void bad_lines_name_the_line(void **state) {
    (void)state;
    static const char *const bad[] = {
        "{\"ids\": []}",
        "{\"ids\": [1, -1]}",
        "{\"ids\": [1024, 1]}",
        "{\"ids\": [1.5]}",
        "{\"ids\": [1], }",
        "{}",
        "{\"ids\": [1], \"ids\": [2]}",
        "[1]",
        "{\"ids\": [99999999999999999999]}",
        "{\"ids\": \"1\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char input[256];
        snprintf(input, sizeof input, "{\"ids\": [1, 2]}\n%s\n", bad[i]);
        test_run run =
            carepath((const char *[]){NULL, "perplexity", "--model", MODEL, NULL}, input);
        if (run.exit_code != 1 || !strstr(cp_strbuf_text(&run.err), "line 2"))
            fail_msg("%s: exit %d, %s", bad[i], run.exit_code, cp_strbuf_text(&run.err));
        assert_non_null(
            strstr(cp_strbuf_text(&run.out), "\"ppl\"")); /* the good line before it was answered */
        test_run_free(&run);
    }
}

static void generate_json_has_what_scripts_need(void **state) {
    (void)state;
    static const char *const keys[] = {"ids",   "text",    "finish_reason", "seed",
                                       "usage", "timings", "model"};
    test_run run =
        carepath((const char *[]){NULL, "generate", "--model", MODEL, "--ids", "[2]", "--max-new",
                                  "6", "--temperature", "0", "--json", NULL},
                 NULL);
    cJSON *tree = test_run_json(&run);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (!cJSON_GetObjectItem(tree, keys[i]))
            fail_msg("no \"%s\" in %s", keys[i], run.out.data);
    static const int expected[] = {23, 342, 115, 115, 115, 115}; /* golden.json, len1 */
    for (int i = 0; i < 6; i++)
        assert_int_equal(cJSON_GetArrayItem(cJSON_GetObjectItem(tree, "ids"), i)->valueint,
                         expected[i]);
    assert_string_equal(cJSON_GetObjectItem(tree, "finish_reason")->valuestring, "length");
    cJSON_Delete(tree);
    test_run_free(&run);
}

static void chat_input_reaches_the_template(void **state) {
    (void)state;
    const char *argv[] = {NULL, "generate", "--model", MODEL,    "--chat", "--max-new",
                          "4",  "--seed",   "5",       "--json", NULL};
    test_run run = carepath(argv, "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}");
    cJSON *tree = test_run_json(&run);
    assert_true(cJSON_GetObjectItem(cJSON_GetObjectItem(tree, "usage"), "prompt_tokens")->valueint >
                5);
    assert_int_equal(cJSON_GetObjectItem(tree, "seed")->valueint, 5);
    cJSON_Delete(tree);
    test_run_free(&run);
    run = carepath(argv, "{\"messages\": [{\"role\": \"doctor\", \"content\": \"hi\"}]}");
    assert_int_equal(run.exit_code, 1);
    test_run_free(&run);
}

static void a_conversation_ends_with_its_input(void **state) {
    (void)state;
    test_run run = carepath(
        (const char *[]){NULL, "chat", "--model", MODEL, "--max-new", "8", "--seed", "1", NULL},
        "hello\nand again\n/reset\nhello\n");
    assert_int_equal(run.exit_code, 0);
    assert_true(run.out.n > 3);
    test_run_free(&run);
}

static void wrong_use_exits_with_2(void **state) {
    (void)state;
    const char *const cases[][8] = {
        {NULL, "generate", "--model", MODEL, NULL},
        {NULL, "generate", "--prompt", "x", NULL},
        {NULL, "generate", "--model", MODEL, "--prompt", "x", "--temperature=hot", NULL},
        {NULL, "generate", "--model", MODEL, "--prompt", "x", "--top-p=1.5", NULL},
        {NULL, "logits", "--model", MODEL, "--all", "--embed", NULL},
        {NULL, "convert", "--synthetic", "qwen9", "build/never", NULL},
        {NULL, "convert", "--synthetic", "qwen3-0.6b", NULL},
        {NULL, "frobnicate", NULL},
        {NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_run run = carepath(cases[i], NULL);
        if (run.exit_code != 2 || run.err.n == 0 || run.out.n != 0)
            fail_msg("case %zu: exit %d, %s", i, run.exit_code, cp_strbuf_text(&run.err));
        test_run_free(&run);
    }
}

static void a_forced_isa_is_used_or_refused(void **state) {
    (void)state;
    const char *argv[] = {NULL,  "generate",  "--model", MODEL,    "--ids",
                          "[2]", "--max-new", "2",       "--json", NULL};
    test_run run = test_run_program(argv, (const char *[]){"CAREPATH_ISA=scalar", NULL}, NULL);
    cJSON *tree = test_run_json(&run);
    assert_string_equal(cJSON_GetObjectItem(tree, "isa")->valuestring, "scalar");
    cJSON_Delete(tree);
    test_run_free(&run);
    run = test_run_program(argv, (const char *[]){"CAREPATH_ISA=altivec", NULL}, NULL);
    assert_true(run.exit_code != 0);
    assert_non_null(strstr(run.err.data, "CAREPATH_ISA"));
    test_run_free(&run);
}

static void doctor_adds_up(void **state) {
    (void)state;
    test_run run = carepath(
        (const char *[]){NULL, "doctor", "--model", MODEL, "--context", "100", "--json", NULL},
        NULL);
    cJSON *tree = test_run_json(&run);
    const cJSON *model = cJSON_GetObjectItem(tree, "model");
    assert_int_equal(cJSON_GetObjectItem(model, "kv_bytes_per_token")->valueint,
                     2 * 3 * 2 * 32 * 4);
    static const char *const parts[] = {"weight_bytes", "session_bytes", "workspace_bytes",
                                        "process_bytes"};
    double sum = 0;
    for (size_t i = 0; i < 4; i++)
        sum += cJSON_GetObjectItem(model, parts[i])->valuedouble;
    assert_true(sum == cJSON_GetObjectItem(model, "needed_bytes")->valuedouble);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(model, "fits")));
    cJSON_Delete(tree);
    test_run_free(&run);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(logits_survive_the_text_form),
    cmocka_unit_test(bad_lines_name_the_line),
    cmocka_unit_test(generate_json_has_what_scripts_need),
    cmocka_unit_test(chat_input_reaches_the_template),
    cmocka_unit_test(a_conversation_ends_with_its_input),
    cmocka_unit_test(wrong_use_exits_with_2),
    cmocka_unit_test(a_forced_isa_is_used_or_refused),
    cmocka_unit_test(doctor_adds_up),
};
CP_TEST_GROUP(commands, tests)
