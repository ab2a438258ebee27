/* The db-api store against a server that misbehaves: what is tried again, what is refused, that
 * nothing waits beyond its limit, and that nothing of an answer gets into an error. */
#include "tests/test.h"

#include "base/clock.h"
#include "tests/db_api.h"

typedef struct fixture {
    cp_patient_store *store, *behind;
    test_db_api *api;
} fixture;

static void open_store(fixture *f, int64_t timeout_ms, const char *key) {
    char url[64];
    cp_error err;
    snprintf(url, sizeof url, "http://127.0.0.1:%d", test_db_api_port(f->api));
    const cp_remote_config config = {
        .url = url, .key = key, .timeout_ms = timeout_ms, .n_connections = 2};
    assert_cp_ok(cp_patient_store_open_http(&config, &f->store, &err));
}

static int set_up(void **state) {
    cp_error err;
    fixture *f = calloc(1, sizeof *f);
    assert_cp_ok(cp_patient_store_open_jsonl("data/synthetic", &f->behind, &err));
    f->api = test_db_api_start(f->behind);
    open_store(f, 60000, "db-key");
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    f->store->close(f->store);
    test_db_api_stop(f->api);
    f->behind->close(f->behind);
    free(f);
    return 0;
}

static cp_status get(fixture *f, const char *mrn, cp_error *err) {
    cp_patient_record *record;
    cp_status status = f->store->get(f->store, mrn, &record, err);
    assert_true((status == CP_OK) == (record != NULL));
    cp_patient_record_free(record);
    if (strstr(err->message, "SECRET") || strstr(err->message, "MRN-"))
        fail_msg("quotes: %s", err->message);
    return status;
}

/* `act` once: is it tried again, and then answered? */
static void assert_retried(fixture *f, test_api_act act) {
    cp_error err = {0};
    size_t before = test_db_api_n_requests(f->api);
    test_db_api_script(f->api, &act, 1);
    assert_cp_ok(get(f, "MRN-001", &err));
    assert_int_equal(test_db_api_n_requests(f->api) - before, 2);
}

static void quick_failures_are_tried_again(void **state) {
    static const test_api_act acts[] = {API_500, API_503, API_DROP, API_RESET, API_CUT};
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
        assert_retried(*state, acts[i]);
}

static void tries_are_three_at_most(void **state) {
    fixture *f = *state;
    static const test_api_act acts[] = {API_500, API_503, API_500, API_500};
    cp_error err = {0};
    test_db_api_script(f->api, acts, 4);
    assert_int_equal(get(f, "MRN-001", &err), CP_ERR_IO);
    assert_int_equal(test_db_api_n_requests(f->api), 3);
    assert_non_null(strstr(err.message, "500"));
}

/* `act` for ever: one request, and this status and word in the sentence. */
static void assert_refused(fixture *f, test_api_act act, cp_status wanted, const char *word) {
    cp_error err = {0};
    size_t before = test_db_api_n_requests(f->api);
    test_db_api_script(f->api, (test_api_act[]){act, act, act}, 3);
    cp_status status = get(f, "MRN-001", &err);
    if (status != wanted || !strstr(err.message, word))
        fail_msg("act %d: status %d, %s", act, status, err.message);
    assert_int_equal(test_db_api_n_requests(f->api) - before, 1);
    test_db_api_script(f->api, NULL, 0);
    err = (cp_error){0};
    assert_cp_ok(get(f, "MRN-002", &err)); /* and the next question is answered */
}

static void answers_that_are_wrong_are_refused_at_once(void **state) {
    fixture *f = *state;
    assert_refused(f, API_401, CP_ERR_IO, "DB_API_KEY");
    assert_refused(f, API_REDIRECT, CP_ERR_IO, "redirect");
    assert_refused(f, API_PAGE_404, CP_ERR_IO, "DB_API_BASE_URL");
    assert_refused(f, API_NO_JSON, CP_ERR_FORMAT, "the db-api's answer");
    assert_refused(f, API_OTHER_SHAPE, CP_ERR_FORMAT, "patient is missing");
    assert_refused(f, API_OTHER_PATIENT, CP_ERR_FORMAT, "another patient's");
    assert_refused(f, API_FOREIGN_ROW, CP_ERR_FORMAT, "encounters 1: mrn is another patient's");
    assert_refused(f, API_HUGE, CP_ERR_LIMIT, "");
}

static void what_is_not_http_is_refused(void **state) {
    fixture *f = *state;
    cp_error err = {0};
    test_db_api_script(f->api, (test_api_act[]){API_GIBBERISH, API_GIBBERISH, API_GIBBERISH}, 3);
    assert_int_not_equal(get(f, "MRN-001", &err), CP_OK);
    err = (cp_error){0};
    test_db_api_script(f->api, NULL, 0);
    assert_cp_ok(get(f, "MRN-001", &err));
}

/* Only that it ends, long before the server would. */
static void slow_answers_end_at_the_limit(void **state) {
    fixture *f = *state;
    static const test_api_act acts[] = {API_SILENT, API_TRICKLE};
    f->store->close(f->store);
    open_store(f, 200, "db-key");
    for (size_t i = 0; i < 2; i++) {
        cp_error err = {0};
        size_t before = test_db_api_n_requests(f->api);
        test_db_api_script(f->api, &acts[i], 1);
        assert_int_equal(get(f, "MRN-001", &err), CP_ERR_CANCELLED);
        assert_int_equal(test_db_api_n_requests(f->api) - before, 1);
    }
}

static void connections_are_used_again(void **state) {
    fixture *f = *state;
    for (int i = 0; i < 20; i++) {
        cp_error err = {0};
        assert_cp_ok(get(f, "MRN-001", &err));
        assert_int_equal(get(f, "MRN-999", &err), CP_ERR_NOT_FOUND);
    }
    assert_int_equal(test_db_api_n_requests(f->api), 40);
    assert_int_equal(test_db_api_n_connections(f->api), 1);
}

static void a_key_is_sent_and_needed(void **state) {
    fixture *f = *state;
    cp_error err = {0};
    f->store->close(f->store);
    open_store(f, 60000, NULL);
    assert_int_equal(get(f, "MRN-001", &err), CP_ERR_IO);
    assert_non_null(strstr(err.message, "401"));
}

static void nobody_there_is_an_error_that_names_the_server(void **state) {
    (void)state;
    cp_error err = {0};
    cp_patient_store *store;
    cp_patient_record *record;
    /* Port 1 of the loopback: nothing listens there, and connecting is refused at once. */
    const cp_remote_config config = {
        .url = "http://127.0.0.1:1/base", .timeout_ms = 60000, .n_connections = 2};
    assert_cp_ok(cp_patient_store_open_http(&config, &store, &err));
    assert_int_equal(store->get(store, "MRN-001", &record, &err), CP_ERR_IO);
    assert_null(record);
    assert_non_null(strstr(err.message, "127.0.0.1:1"));
    assert_null(strstr(err.message, "MRN-001"));
    store->close(store);
}

static void wrong_base_urls_are_refused_at_start(void **state) {
    (void)state;
    static const char *const urls[] = {"",
                                       "ftp://127.0.0.1/",
                                       "file:///etc/passwd",
                                       "127.0.0.1:8001",
                                       "http://",
                                       "http://user:SECRET@127.0.0.1/",
                                       "http://127.0.0.1/?a=b",
                                       "http://127.0.0.1/#x",
                                       "http://127.0.0.1:99999/",
                                       "http://127.0.0.1/a b"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        cp_error err = {0};
        cp_patient_store *store;
        const cp_remote_config config = {.url = urls[i], .timeout_ms = 100, .n_connections = 1};
        if (cp_patient_store_open_http(&config, &store, &err) == CP_OK)
            fail_msg("accepted: %s", urls[i]);
        assert_null(store);
        assert_non_null(strstr(err.message, "DB_API_BASE_URL"));
        assert_null(strstr(err.message, "SECRET"));
    }
}

/* Three failures, and the fourth question is not put; the record comes back when the server does.
 */
static void a_guarded_store_stops_asking(void **state) {
    fixture *f = *state;
    cp_error err = {0};
    cp_patient_store *guarded;
    cp_patient_record *record;
    assert_cp_ok(cp_patient_store_guard(f->store, &guarded, &err));
    f->store = guarded;
    test_api_act acts[9];
    for (size_t i = 0; i < 9; i++)
        acts[i] = API_500;
    test_db_api_script(f->api, acts, 9);
    for (int i = 0; i < 3; i++)
        assert_int_equal(guarded->get(guarded, "MRN-001", &record, &err), CP_ERR_IO);
    assert_int_equal(test_db_api_n_requests(f->api), 9);
    assert_int_equal(guarded->get(guarded, "MRN-001", &record, &err), CP_ERR_BUSY);
    assert_null(record);
    assert_int_equal(test_db_api_n_requests(f->api), 9);
    uint64_t begun = cp_clock_ns();
    cp_status status = CP_ERR_BUSY;
    while (status == CP_ERR_BUSY && cp_clock_ms_since(begun) < 60000)
        status = guarded->get(guarded, "MRN-001", &record, &err);
    assert_int_equal(status, CP_OK);
    cp_patient_record_free(record);
}

/* Not found is an answer: it does not count against the store. */
static void a_guarded_store_that_knows_nobody_is_still_asked(void **state) {
    fixture *f = *state;
    cp_error err = {0};
    cp_patient_record *record;
    assert_cp_ok(cp_patient_store_guard(f->store, &f->store, &err));
    for (int i = 0; i < 10; i++)
        assert_int_equal(f->store->get(f->store, "MRN-999", &record, &err), CP_ERR_NOT_FOUND);
    assert_int_equal(test_db_api_n_requests(f->api), 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
static const struct CMUnitTest tests[] = {
    TEST(quick_failures_are_tried_again),
    TEST(tries_are_three_at_most),
    TEST(answers_that_are_wrong_are_refused_at_once),
    TEST(what_is_not_http_is_refused),
    TEST(slow_answers_end_at_the_limit),
    TEST(connections_are_used_again),
    TEST(a_key_is_sent_and_needed),
    cmocka_unit_test(nobody_there_is_an_error_that_names_the_server),
    cmocka_unit_test(wrong_base_urls_are_refused_at_start),
    TEST(a_guarded_store_stops_asking),
    TEST(a_guarded_store_that_knows_nobody_is_still_asked),
};
CP_TEST_GROUP(store_http, tests)
