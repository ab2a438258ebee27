/* Settings: what is read, what is refused, and that table, help and Markdown agree. */
#include "tests/test.h"

#include "base/log.h"
#include "server/settings.h"

/* The environment of the test at hand. */
static const char *const *fake_env;

static char *fake_getenv(const char *name) {
    size_t n = strlen(name);
    for (const char *const *at = fake_env; at && *at; at++)
        if (strncmp(*at, name, n) == 0 && (*at)[n] == '=')
            return (char *)(uintptr_t)(*at + n + 1);
    return NULL;
}

static cp_args_result read_settings(cp_settings *out, const char *const *env,
                                    const char *const *flags, cp_error *err) {
    char *argv[16] = {(char *)"serve"};
    int argc = 1;
    bool markdown;
    for (; flags && *flags; flags++)
        argv[argc++] = (char *)(uintptr_t)*flags;
    fake_env = env;
    return cp_settings_read(out, argc, argv, fake_getenv, &markdown, err);
}

static void defaults_are_the_documented_ones(void **state) {
    cp_settings s;
    cp_error err;
    (void)state;
    assert_int_equal(read_settings(&s, NULL, NULL, &err), CP_ARGS_RUN);
    assert_string_equal(s.llm_mode, "mock");
    assert_string_equal(s.host, "127.0.0.1");
    assert_string_equal(s.data_dir, "data");
    assert_int_equal(s.port, 8002);
    assert_int_equal(s.app_env, CP_ENV_DEVELOPMENT);
    assert_int_equal(s.log_level, CP_LOG_INFO);
    assert_int_equal(s.log_format, CP_LOG_TEXT);
    assert_int_equal(s.shutdown_grace_s, 30);
    assert_int_equal(s.request_timeout_s, 300);
}

static void a_flag_wins_over_the_environment(void **state) {
    cp_settings s;
    cp_error err;
    (void)state;
    const char *const env[] = {"PORT=9000", "APP_ENV=Production", "LOG_FORMAT=json", "HOST=", NULL};
    const char *const flags[] = {"--port", "9001", "--log-level=off", NULL};
    assert_int_equal(read_settings(&s, env, flags, &err), CP_ARGS_RUN);
    assert_int_equal(s.port, 9001);
    assert_int_equal(s.app_env, CP_ENV_PRODUCTION);
    assert_string_equal(cp_settings_word(&s, "APP_ENV"), "production");
    assert_int_equal(s.log_format, CP_LOG_JSON);
    assert_int_equal(s.log_level, CP_LOG_OFF);
    assert_string_equal(s.host, "127.0.0.1"); /* empty counts as unset */
}

static void a_wrong_value_is_named_with_what_was_expected(void **state) {
    static const struct {
        const char *variable, *name, *expected;
    } cases[] = {
        {"PORT=65536", "PORT is \"65536\"", "from 0 to 65535"},
        {"PORT=80x", "PORT is \"80x\"", "an integer"},
        {"PORT=-1", "PORT is \"-1\"", "an integer"},
        {"QUEUE_MAX=0", "QUEUE_MAX is \"0\"", "from 1 to"},
        {"THREADS=99999999999999999999", "THREADS is", "an integer"},
        {"LOG_LEVEL=loud", "LOG_LEVEL is \"loud\"", "debug|info|warn|error|off"},
        {"APP_ENV=prod", "APP_ENV is \"prod\"", "development|staging|production"},
        {"LOG_FORMAT=text|json", "LOG_FORMAT is", "text|json"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cp_settings s;
        cp_error err;
        const char *const env[] = {cases[i].variable, NULL};
        assert_int_equal(read_settings(&s, env, NULL, &err), CP_ARGS_BAD);
        assert_int_equal(err.status, CP_ERR_USAGE);
        assert_non_null(strstr(err.message, cases[i].name));
        assert_non_null(strstr(err.message, cases[i].expected));
    }
    cp_settings s;
    cp_error err;
    const char *const flags[] = {"--llm-mode", "", NULL};
    assert_int_equal(read_settings(&s, NULL, flags, &err), CP_ARGS_BAD);
    assert_non_null(strstr(err.message, "--llm-mode is empty"));
}

static void every_row_is_complete_and_its_default_is_allowed(void **state) {
    size_t n;
    const cp_setting *table = cp_settings_table(&n);
    (void)state;
    for (size_t i = 0; i < n; i++) {
        /* --request-timeout-s is REQUEST_TIMEOUT_S */
        assert_int_equal(!table[i].flag, table[i].kind == CP_SETTING_SECRET);
        for (size_t k = 0; table[i].flag && k <= strlen(table[i].env); k++) {
            char c = table[i].flag[k];
            assert_int_equal(table[i].env[k], c == '-' ? '_' : (c >= 'a' && c <= 'z') ? c - 32 : c);
        }
        assert_true(table[i].offset < sizeof(cp_settings));
        assert_true(strlen(table[i].help) > 10);
        for (size_t k = 0; k < i; k++)
            assert_true(table[k].offset != table[i].offset);
    }
}

static void the_program_prints_the_table(void **state) {
    size_t n;
    const cp_setting *table = cp_settings_table(&n);
    const char *const markdown[] = {NULL, "serve", "--settings-markdown", NULL};
    const char *const help[] = {NULL, "serve", "--help", NULL};
    (void)state;
    test_run shown = test_run_program(markdown, NULL, NULL);
    test_run helped = test_run_program(help, NULL, NULL);
    assert_int_equal(shown.exit_code, 0);
    assert_int_equal(helped.exit_code, 0);
    for (size_t i = 0; i < n; i++) {
        char cell[128];
        const char *flag = table[i].flag;
        snprintf(cell, sizeof cell, "| `%s` | %s%s%s |", table[i].env, flag ? "`--" : "",
                 flag ? flag : "none", flag ? "`" : "");
        assert_non_null(strstr(cp_strbuf_text(&shown.out), cell));
        assert_non_null(strstr(cp_strbuf_text(&helped.out), flag ? table[i].help : table[i].env));
    }
    test_run_free(&shown);
    test_run_free(&helped);
}

static void run_serve(const char *variable, int exit_code, const char *sentence) {
    const char *const args[] = {NULL, "serve", NULL};
    const char *const env[] = {"PORT=0", "HF_HUB_OFFLINE=1", variable, NULL};
    test_run run = test_run_program(args, env, NULL);
    assert_int_equal(run.exit_code, exit_code);
    if (!strstr(cp_strbuf_text(&run.err), sentence))
        fail_msg("expected \"%s\", got: %s", sentence, cp_strbuf_text(&run.err));
    assert_int_equal(strcspn(cp_strbuf_text(&run.err), "\n") + 1, run.err.n); /* one line */
    test_run_free(&run);
}

static void a_server_that_cannot_start_says_why_in_one_line(void **state) {
    (void)state;
    run_serve("LOG_LEVEL=loud", 2, "LOG_LEVEL");
    run_serve("LLM_MODE=no-such-model", 1, "no model folder at models/no-such-model");
    run_serve("LLM_MODE=qwen", 1, "models/Qwen3-4B-Thinking-2507");
    run_serve("LLM_MODE=qwen", 1, "\"carepath pull Qwen/Qwen3-4B-Thinking-2507\"");
    run_serve("LLM_MODE=Qwen3-0.6B-int4", 1, "\"carepath pull Qwen/Qwen3-0.6B --quant int4\"");
    run_serve("LLM_MODE=./no/folder", 1, "no such folder");
    run_serve("DATA_DIR=no-data", 1, "no-data/synthetic");
    run_serve("HOST=999.1.1.1", 2, "HOST is \"999.1.1.1\"");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(defaults_are_the_documented_ones),
    cmocka_unit_test(a_flag_wins_over_the_environment),
    cmocka_unit_test(a_wrong_value_is_named_with_what_was_expected),
    cmocka_unit_test(every_row_is_complete_and_its_default_is_allowed),
    cmocka_unit_test(the_program_prints_the_table),
    cmocka_unit_test(a_server_that_cannot_start_says_why_in_one_line),
};
CP_TEST_GROUP(settings, tests)
