/* `carepath tokenize` as a program: answers, errors by line, exit statuses. */
#include "tests/test.h"

#include "base/mem.h"

#define REAL "models/qwen3-tokenizer"

static test_run tokenize(const char *model, const char *option, const char *input) {
    return test_run_program((const char *[]){NULL, "tokenize", "--model", model, option, NULL},
                            NULL, input);
}

typedef struct exchange {
    const char *model, *option, *input, *output;
} exchange;

static const exchange answers[] = {
    {REAL, NULL, "{\"text\": \"\"}\n{\"text\":\"hello world\"}\n",
     "{\"ids\":[]}\n{\"ids\":[14990,1879]}\n"},
    {REAL, NULL, "{\"text_b64\": \"AP8A\"}", "{\"ids\":[188,5691,188]}\n"},
    {REAL, NULL, "{\"text\":\"\"}\r\n\n", "{\"ids\":[]}\n"},
    {REAL, "--parse-special", "{\"text\":\"<|im_end|>\"}\n", "{\"ids\":[151645]}\n"},
    {REAL, "--decode", "{\"ids\":[188,151645]}\n", "{\"text\":\"\\u0000<|im_end|>\"}\n"},
    {REAL, "--chat",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],\"enable_thinking\":false}\n",
     "{\"prompt\":\"<|im_start|>user\\nhello<|im_end|>\\n<|im_start|>assistant\\n<think>\\n\\n</"
     "think>\\n\\n\","
     "\"ids\":[151644,872,198,14990,151645,198,151644,77091,198,151667,271,151668,271]}\n"},
    {REAL, "--chat",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],\"add_generation_prompt\":false}\n",
     "{\"prompt\":\"<|im_start|>user\\nhello<|im_end|>\\n\",\"ids\":[151644,872,198,14990,151645,"
     "198]}\n"},
};

static void each_line_has_its_answer(void **state) {
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(answers); i++) {
        test_run run = tokenize(answers[i].model, answers[i].option, answers[i].input);
        assert_string_equal(cp_strbuf_text(&run.err), "");
        assert_string_equal(cp_strbuf_text(&run.out), answers[i].output);
        assert_int_equal(run.exit_code, 0);
        test_run_free(&run);
    }
}

static void no_special_leaves_special_tokens_out(void **state) {
    (void)state;
    test_run run = test_run_program(
        (const char *[]){NULL, "tokenize", "--model", REAL, "--decode", "--no-special", NULL}, NULL,
        "{\"ids\":[151644,14990,151645,151667]}\n");
    assert_string_equal(cp_strbuf_text(&run.out), "{\"text\":\"hello<think>\"}\n");
    assert_int_equal(run.exit_code, 0);
    test_run_free(&run);
}

/* The second line is bad: the first is answered, the error names line 2. */
static void a_bad_line_is_named(void **state) {
    (void)state;
    static const exchange bad[] = {
        {REAL, NULL, "{\"text\":\"\"}\n{\"text\":7}\n", "line 2"},
        {REAL, NULL, "{\"text\":\"\"}\n{\"text\":\"a\",\"text_b64\":\"\"}\n", "line 2"},
        {REAL, NULL, "{\"text\":\"\"}\n{\"text_b64\":\"A\"}\n", "base64"},
        {REAL, NULL, "{\"text\":\"\"}\n{\"text_b64\":\"A=AA\"}\n", "base64"},
        {REAL, NULL, "{\"text\":\"\"}\n[]\n", "line 2"},
        {REAL, NULL, "{\"text\":\"\"}\n{\n", "line 2"},
        {REAL, NULL, "{\"text\":\"\"}\n{\"text\":\"\\u0000\"}\n", "line 2"},
        {REAL, "--decode", "{\"ids\":[]}\n{\"ids\":[151669]}\n", "151669"},
        {REAL, "--decode", "{\"ids\":[]}\n{\"ids\":[-1]}\n", "line 2"},
        {REAL, "--decode", "{\"ids\":[]}\n{\"ids\":[1.5]}\n", "line 2"},
        {REAL, "--decode", "{\"ids\":[]}\n{\"ids\":[1e300]}\n", "line 2"},
        {REAL, "--decode", "{\"ids\":[]}\n{\"ids\":\"1\"}\n", "line 2"},
    };
    for (size_t i = 0; i < CP_COUNT_OF(bad); i++) {
        test_run run = tokenize(bad[i].model, bad[i].option, bad[i].input);
        assert_int_equal(run.exit_code, 1);
        assert_non_null(strstr(cp_strbuf_text(&run.err), bad[i].output));
        assert_non_null(strstr(cp_strbuf_text(&run.err), "line 2"));
        assert_non_null(strchr(cp_strbuf_text(&run.out), '\n'));
        test_run_free(&run);
    }
    static const char *const chats[] = {
        "{\"messages\":[]}", "{}", "{\"messages\":[{\"role\":\"user\"}]}",
        "{\"messages\":[{\"role\":\"tool\",\"content\":\"\"}]}", "{\"messages\":[7]}"};
    for (size_t i = 0; i < CP_COUNT_OF(chats); i++) {
        test_run run = tokenize(REAL, "--chat", chats[i]);
        assert_int_equal(run.exit_code, 1);
        assert_non_null(strstr(cp_strbuf_text(&run.err), "line 1"));
        test_run_free(&run);
    }
}

static void a_malformed_folder_is_refused(void **state) {
    (void)state;
    cJSON *cases = test_read_jsonl(GOLDEN "/malformed/manifest.jsonl"), *c;
    int n_cases = 0;
    cJSON_ArrayForEach(c, cases) {
        const char *name = cJSON_GetObjectItem(c, "case")->valuestring;
        if (strncmp(name, "tok-", 4) != 0)
            continue;
        test_run run = tokenize(test_path(GOLDEN "/malformed", name), NULL, "{\"text\":\"a\"}\n");
        bool mentioned = false;
        const cJSON *word;
        cJSON_ArrayForEach(word, cJSON_GetObjectItem(c, "error_mentions_one_of")) mentioned |=
            strstr(cp_strbuf_text(&run.err), word->valuestring) != NULL;
        assert_int_equal(run.exit_code, 1);
        assert_true(mentioned);
        assert_int_equal(run.out.n, 0);
        test_run_free(&run);
        n_cases++;
    }
    assert_int_equal(n_cases, 4);
    cJSON_Delete(cases);
}

static void mistakes_on_the_command_line_exit_2(void **state) {
    (void)state;
    static const char *const lines[][6] = {
        {NULL, "tokenize", NULL},
        {NULL, "tokenize", "--model", NULL},
        {NULL, "tokenize", "--model", REAL, "--nonsense", NULL},
        {NULL, "tokenize", "--decode", "--chat", "--model=" REAL, NULL},
    };
    for (size_t i = 0; i < CP_COUNT_OF(lines); i++) {
        test_run run = test_run_program(lines[i], NULL, "");
        assert_int_equal(run.exit_code, 2);
        assert_true(run.err.n > 0);
        test_run_free(&run);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_line_has_its_answer),
    cmocka_unit_test(no_special_leaves_special_tokens_out),
    cmocka_unit_test(a_bad_line_is_named),
    cmocka_unit_test(a_malformed_folder_is_refused),
    cmocka_unit_test(mistakes_on_the_command_line_exit_2),
};
CP_TEST_GROUP(cmd_tokenize, tests)
