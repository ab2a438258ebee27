/* carepath health, as a container's health check runs it. */
#include "tests/http_client.h"

#include <signal.h>

/* Runs it with these settings; `url`: --url, else NULL. */
static test_run health(const char *const *env, const char *option, const char *value) {
    return test_run_program((const char *[]){NULL, "health", option, value, NULL}, env, NULL);
}

static void it_asks_the_server_of_its_environment(void **state) {
    char port[32], url[64];
    (void)state;
    test_server server = test_server_start(NULL);
    test_server_await_ready(&server);
    snprintf(port, sizeof port, "PORT=%d", server.port);
    const char *const hosts[] = {"HOST=127.0.0.1", "HOST=0.0.0.0"};
    for (size_t i = 0; i < 2; i++) {
        const char *const env[] = {port, hosts[i], NULL};
        test_run run = health(env, NULL, NULL);
        assert_int_equal(run.exit_code, 0);
        assert_non_null(strstr(cp_strbuf_text(&run.out), "\"status\":\"ok\""));
        assert_int_equal(run.err.n, 0);
        test_run_free(&run);
        run = health(env, "--ready", NULL);
        assert_int_equal(run.exit_code, 0);
        test_run_free(&run);
    }
    snprintf(url, sizeof url, "http://127.0.0.1:%d/no-such-path", server.port);
    test_run run = health(NULL, "--url", url);
    assert_int_equal(run.exit_code, 1);
    assert_non_null(strstr(cp_strbuf_text(&run.err), "expected 200"));
    test_run_free(&run);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    /* the same question when nobody listens */
    const char *const env[] = {port, NULL};
    run = health(env, NULL, NULL);
    assert_int_equal(run.exit_code, 1);
    assert_int_equal(run.out.n, 0);
    assert_true(run.err.n > 0);
    test_run_free(&run);
}

static void wrong_use_is_no_illness(void **state) {
    (void)state;
    test_run run = test_run_program(
        (const char *[]){NULL, "health", "--ready", "--url", "http://127.0.0.1:1/", NULL}, NULL,
        NULL);
    assert_int_equal(run.exit_code, 2);
    test_run_free(&run);
    run = health(NULL, "--url", "file:///etc/passwd");
    assert_int_equal(run.exit_code, 2);
    assert_int_equal(run.out.n, 0);
    test_run_free(&run);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(it_asks_the_server_of_its_environment),
    cmocka_unit_test(wrong_use_is_no_illness),
};
CP_TEST_GROUP(health, tests)
