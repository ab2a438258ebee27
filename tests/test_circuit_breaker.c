/* The circuit breaker, with a clock of the test's own. */
#include "tests/test.h"

#include "server/circuit_breaker.h"

#include <pthread.h>

#define SECOND ((uint64_t)1000000000)

static const cp_breaker_config config = {
    .max_failures = 3, .pause_ns = SECOND, .max_pause_ns = 4 * SECOND};

static void fail_times(cp_breaker *b, int n, uint64_t now) {
    for (int i = 0; i < n; i++) {
        uint64_t ticket = cp_breaker_ask(b, now);
        assert_int_not_equal(ticket, 0);
        (void)cp_breaker_report(b, ticket, false, now);
    }
}

static void opens_after_failures_in_a_row_only(void **state) {
    (void)state;
    cp_breaker b;
    cp_breaker_init(&b, &config);
    for (int round = 0; round < 5; round++) {
        fail_times(&b, 2, 0);
        assert_false(cp_breaker_report(&b, cp_breaker_ask(&b, 0), true, 0));
    }
    assert_int_equal(cp_breaker_get_state(&b), CP_BREAKER_CLOSED);
    fail_times(&b, 2, 0);
    assert_true(cp_breaker_report(&b, cp_breaker_ask(&b, 0), false, 0));
    assert_int_equal(cp_breaker_get_state(&b), CP_BREAKER_OPEN);
    cp_breaker_deinit(&b);
}

static void refuses_while_open_then_lets_one_probe_through(void **state) {
    (void)state;
    cp_breaker b;
    cp_breaker_init(&b, &config);
    fail_times(&b, 3, 10 * SECOND);
    assert_int_equal(cp_breaker_ask(&b, 10 * SECOND), 0);
    assert_int_equal(cp_breaker_left_ns(&b, 10 * SECOND), SECOND);
    assert_int_equal(cp_breaker_ask(&b, 11 * SECOND - 1), 0);
    uint64_t probe = cp_breaker_ask(&b, 11 * SECOND);
    assert_int_not_equal(probe, 0);
    assert_int_equal(cp_breaker_get_state(&b), CP_BREAKER_HALF_OPEN);
    assert_int_equal(cp_breaker_ask(&b, 11 * SECOND), 0);
    assert_int_equal(cp_breaker_ask(&b, 99 * SECOND), 0);
    assert_true(cp_breaker_report(&b, probe, true, 11 * SECOND));
    assert_int_equal(cp_breaker_get_state(&b), CP_BREAKER_CLOSED);
    assert_int_not_equal(cp_breaker_ask(&b, 11 * SECOND), 0);
    cp_breaker_deinit(&b);
}

static void pauses_double_up_to_the_longest_and_start_anew(void **state) {
    (void)state;
    static const uint64_t pauses[] = {2, 4, 4, 4};
    cp_breaker b;
    cp_breaker_init(&b, &config);
    fail_times(&b, 3, 0);
    uint64_t now = SECOND;
    for (size_t i = 0; i < 4; i++) {
        fail_times(&b, 1, now);
        assert_int_equal(cp_breaker_left_ns(&b, now), pauses[i] * SECOND);
        now += pauses[i] * SECOND;
    }
    (void)cp_breaker_report(&b, cp_breaker_ask(&b, now), true, now);
    fail_times(&b, 3, now);
    assert_int_equal(cp_breaker_left_ns(&b, now), SECOND);
    cp_breaker_deinit(&b);
}

static void late_answers_change_nothing(void **state) {
    (void)state;
    cp_breaker b;
    cp_breaker_init(&b, &config);
    uint64_t slow_good = cp_breaker_ask(&b, 0), slow_bad = cp_breaker_ask(&b, 0);
    fail_times(&b, 3, 0);
    assert_false(cp_breaker_report(&b, slow_good, true, 0));
    assert_int_equal(cp_breaker_get_state(&b), CP_BREAKER_OPEN);
    uint64_t probe = cp_breaker_ask(&b, SECOND);
    assert_false(cp_breaker_report(&b, slow_bad, false, SECOND));
    assert_false(cp_breaker_report(&b, slow_good, true, SECOND));
    assert_int_equal(cp_breaker_get_state(&b), CP_BREAKER_HALF_OPEN);
    assert_true(cp_breaker_report(&b, probe, true, SECOND));
    assert_false(cp_breaker_report(&b, probe, false, SECOND));
    assert_int_equal(cp_breaker_get_state(&b), CP_BREAKER_CLOSED);
    cp_breaker_deinit(&b);
}

static void *ask_once(void *arg) {
    return cp_breaker_ask(arg, SECOND) ? arg : NULL;
}

static void one_of_many_threads_is_the_probe(void **state) {
    (void)state;
    for (int round = 0; round < 50; round++) {
        cp_breaker b;
        pthread_t threads[4];
        int probes = 0;
        cp_breaker_init(&b, &config);
        fail_times(&b, 3, 0);
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, ask_once, &b), 0);
        for (size_t i = 0; i < 4; i++) {
            void *got;
            pthread_join(threads[i], &got);
            probes += got != NULL;
        }
        assert_int_equal(probes, 1);
        cp_breaker_deinit(&b);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(opens_after_failures_in_a_row_only),
    cmocka_unit_test(refuses_while_open_then_lets_one_probe_through),
    cmocka_unit_test(pauses_double_up_to_the_longest_and_start_anew),
    cmocka_unit_test(late_answers_change_nothing),
    cmocka_unit_test(one_of_many_threads_is_the_probe),
};
CP_TEST_GROUP(circuit_breaker, tests)
