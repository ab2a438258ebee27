/* What the documents promise about the program: the settings table, the commands and their help. */
#include "tests/test.h"

#include "base/file.h"

static cp_strbuf readme(void) {
    cp_strbuf text;
    cp_error err;
    assert_cp_ok(cp_file_read("README.md", 1 << 20, &text, &err));
    return text;
}

static void the_settings_table_is_the_programs(void **state) {
    (void)state;
    cp_strbuf text = readme();
    test_run run =
        test_run_program((const char *[]){NULL, "serve", "--settings-markdown", NULL}, NULL, NULL);
    assert_int_equal(run.exit_code, 0);
    assert_true(run.out.n > 500);
    if (!strstr(text.data, run.out.data))
        fail_msg("README.md's settings differ; replace them by `carepath serve "
                 "--settings-markdown`:\n%s",
                 run.out.data);
    test_run_free(&run);
    cp_strbuf_deinit(&text);
}

/* Each command of `carepath --help` is in the README, and helps. */
static void every_command_is_documented_and_helps(void **state) {
    (void)state;
    cp_strbuf text = readme();
    test_run all = test_run_program((const char *[]){NULL, "--help", NULL}, NULL, NULL);
    assert_int_equal(all.exit_code, 0);
    int n = 0;
    for (char *line = strstr(all.out.data, "Commands:\n") + 10; strncmp(line, "  ", 2) == 0; n++) {
        char name[32], row[64];
        assert_int_equal(sscanf(line, " %31s", name), 1);
        snprintf(row, sizeof row, "| `%s` |", name);
        if (!strstr(text.data, row))
            fail_msg("README.md has no row for %s", name);
        test_run help = test_run_program((const char *[]){NULL, name, "--help", NULL}, NULL, NULL);
        assert_int_equal(help.exit_code, 0);
        assert_non_null(strstr(cp_strbuf_text(&help.out), "Usage: carepath"));
        assert_int_equal(help.err.n, 0);
        test_run_free(&help);
        test_run wrong =
            test_run_program((const char *[]){NULL, name, "--no-such-option", NULL}, NULL, NULL);
        assert_int_equal(wrong.exit_code, 2);
        assert_int_equal(wrong.out.n, 0);
        assert_non_null(strstr(cp_strbuf_text(&wrong.err), "--no-such-option"));
        test_run_free(&wrong);
        line = strchr(line, '\n') + 1;
    }
    assert_true(n >= 11);
    test_run_free(&all);
    cp_strbuf_deinit(&text);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_settings_table_is_the_programs),
    cmocka_unit_test(every_command_is_documented_and_helps),
};
CP_TEST_GROUP(docs, tests)
