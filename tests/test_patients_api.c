/* Patients over HTTP from a real server: reading, importing FHIR, and stores that are elsewhere,
 * slow or down. */
#include "tests/http_client.h"

#include "tests/db_api.h"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define FHIR_JSON "Content-Type: application/fhir+json\r\n"
#define JSON      "Content-Type: application/json\r\n"

/* A DATA_DIR of the test's own, which it may change: "DATA_DIR=..." */
static const char *data_dir(void) {
    static char setting[500];
    char dir[TEST_DATA_CAP];
    test_data_copy(dir);
    snprintf(setting, sizeof setting, "DATA_DIR=%s", dir);
    return setting;
}

static test_server start(const char *a, const char *b, const char *c) {
    const char *env[] = {data_dir(), a, b, a && b ? c : NULL, NULL};
    if (!a)
        env[1] = NULL;
    test_server server = test_server_start(env);
    test_server_await_ready(&server);
    return server;
}

static test_reply get(const test_server *server, const char *path) {
    return test_request(server, "GET", path, NULL, NULL);
}

static void assert_get(const test_server *server, const char *path, int status, const char *code) {
    test_reply reply = get(server, path);
    assert_reply(&reply, status, code);
    test_reply_free(&reply);
}

/* ---- reading ---------------------------------------------------------------------------- */

static void records_are_read_whole_and_in_parts(void **state) {
    (void)state;
    test_server server = start(NULL, NULL, NULL);
    test_reply reply = get(&server, "/patients/MRN-003/summary");
    assert_reply(&reply, 200, "");
    assert_string_equal(test_reply_text(&reply, "mrn"), "MRN-003");
    assert_string_equal(test_reply_text(&reply, "sex"), "female");
    assert_true(cJSON_IsTrue(cp_json_member(reply.json, "pregnant")));
    assert_non_null(strstr(test_reply_text(&reply, "summary"), "Conditions: Pregnancy, second"));
    assert_int_equal(cp_json_member(cp_json_member(reply.json, "counts"), "documents")->valueint,
                     2);
    test_reply_free(&reply);
    reply = get(&server, "/patients/MRN-003/encounters");
    assert_reply(&reply, 200, "");
    assert_int_equal(cJSON_GetArraySize(cp_json_member(reply.json, "encounters")), 2);
    test_reply_free(&reply);
    reply = get(&server, "/patients/MRN-003/documents");
    assert_reply(&reply, 200, "");
    assert_int_equal(cJSON_GetArraySize(cp_json_member(reply.json, "documents")), 2);
    test_reply_free(&reply);
    reply = get(&server, "/patients/MRN-003");
    assert_reply(&reply, 200, "");
    assert_int_equal(cJSON_GetArraySize(cp_json_member(reply.json, "chat_logs")), 1);
    test_reply_free(&reply);
    reply = test_request(&server, "HEAD", "/patients/MRN-003/summary", NULL, NULL);
    assert_int_equal(reply.status, 200);
    test_reply_free(&reply);
    cp_strbuf log = test_server_log(&server);
    assert_null(strstr(cp_strbuf_text(&log), "MRN-003"));
    assert_non_null(strstr(cp_strbuf_text(&log), "/patients/{}/summary"));
    cp_strbuf_deinit(&log);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
}

static void numbers_that_are_nobodys_or_none_are_told_apart(void **state) {
    (void)state;
    test_server server = start(NULL, NULL, NULL);
    assert_get(&server, "/patients/MRN-999/summary", 404, "patient_not_found");
    assert_get(&server, "/patients/MRN-999", 404, "patient_not_found");
    static const char *const none[] = {"%24ne",     "MRN.001", "%7B%22%24ne%22%3Anull%7D",
                                       "MRN%20001", "-1",      "123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "/patients/%s/documents", none[i]);
        assert_get(&server, path, 422, "invalid");
    }
    assert_get(&server, "/patients/MRN-001%00/documents", 400, "bad_path");
    assert_get(&server, "/patients//documents", 404, "not_found");
    assert_get(&server, "/patients/$import", 405, "method_not_allowed");
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
}

/* ---- importing -------------------------------------------------------------------------- */

#define BUNDLE(mrn, more)                                                                          \
    "{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[{\"fullUrl\":\"urn:uuid:1\"," \
    "\"resource\":{\"resourceType\":\"Patient\",\"identifier\":[{\"value\":\"" mrn                 \
    "\"}],\"gender\":\"female\",\"birthDate\":\"1990-02-03\"}},{\"resource\":{\"resourceType\":"   \
    "\"Condition\",\"subject\":{\"reference\":\"urn:uuid:1\"},\"code\":{\"text\":"                 \
    "\"xylophonitis\"}}}" more "]}"

static test_reply import(const test_server *server, const char *body) {
    return test_request(server, "POST", "/patients/$import", FHIR_JSON, body);
}

static void an_import_is_kept_over_a_restart(void **state) {
    (void)state;
    const char *env[] = {data_dir(), NULL};
    test_server server = test_server_start(env);
    test_server_await_ready(&server);
    assert_get(&server, "/patients/FHIR-1/summary", 404, "patient_not_found");
    test_reply reply = import(&server, BUNDLE("FHIR-1", ",{\"resource\":{\"resourceType\":"
                                                        "\"Immunization\"}}"));
    assert_reply(&reply, 200, "");
    const cJSON *patient = cp_json_member(reply.json, "patients")->child;
    assert_string_equal(cp_json_member(patient, "mrn")->valuestring, "FHIR-1");
    assert_int_equal(cp_json_member(patient, "conditions")->valueint, 1);
    assert_null(cp_json_member(patient, "allergies"));
    assert_int_equal(cp_json_member(reply.json, "other_resources")->valueint, 1);
    test_reply_free(&reply);
    reply = import(&server, BUNDLE("MRN-002", ""));
    assert_reply(&reply, 200, "");
    test_reply_free(&reply);
    cp_strbuf log = test_server_log(&server);
    assert_null(strstr(cp_strbuf_text(&log), "FHIR-1"));
    assert_null(strstr(cp_strbuf_text(&log), "xylophonitis"));
    cp_strbuf_deinit(&log);
    assert_int_equal(test_server_stop(&server, SIGKILL), 128 + SIGKILL);
    server = test_server_start(env);
    test_server_await_ready(&server);
    reply = get(&server, "/patients/FHIR-1/summary");
    assert_reply(&reply, 200, "");
    assert_non_null(strstr(test_reply_text(&reply, "summary"), "Conditions: xylophonitis"));
    test_reply_free(&reply);
    reply = get(&server, "/patients/MRN-002/summary"); /* what the Bundle lacked has stayed */
    assert_non_null(strstr(test_reply_text(&reply, "summary"), "Conditions: xylophonitis"));
    assert_non_null(strstr(test_reply_text(&reply, "summary"), "warfarin"));
    test_reply_free(&reply);
    reply = test_triage(&server, "{\"patient_mrn\":\"FHIR-1\",\"query\":\"cough\"}");
    assert_int_equal(reply.status, 200);
    assert_true(cJSON_IsTrue(cp_json_member(reply.json, "record_available")));
    test_reply_free(&reply);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
}

static void wrong_imports_are_refused_without_their_words(void **state) {
    (void)state;
    static const struct {
        const char *type, *body;
        int status;
        const char *code;
    } wrong[] = {
        {FHIR_JSON, "{\"resourceType\":\"Bundle\",", 400, "bad_json"},
        {JSON, "[\"CANARY\"]", 400, "bad_json"},
        {JSON, "{\"resourceType\":\"CANARY\"}", 422, "invalid"},
        {JSON, BUNDLE("CANARY.1", ""), 422, "invalid"},
        {JSON,
         BUNDLE("A", ",{\"resource\":{\"resourceType\":\"Condition\",\"subject\":{"
                     "\"reference\":\"Patient/CANARY\"}}}"),
         422, "invalid"},
        {"Content-Type: application/xml\r\n", "<Bundle/>", 415, "media_type"},
    };
    test_server server = start(NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        test_reply reply =
            test_request(&server, "POST", "/patients/$import", wrong[i].type, wrong[i].body);
        assert_reply(&reply, wrong[i].status, wrong[i].code);
        assert_null(strstr(cp_strbuf_text(&reply.body), "CANARY"));
        test_reply_free(&reply);
    }
    assert_get(&server, "/patients/A", 404, "patient_not_found");
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
}

/* ---- stores elsewhere ------------------------------------------------------------------- */

#define CHEST_PAIN                                                                                 \
    "{\"patient_mrn\":\"MRN-001\",\"query\":\"I have crushing chest pain and I am sweating\"}"

/* 503 with what the rules find in the question, and the word that the record is missing. */
static void assert_rules_alone(const test_server *server) {
    test_reply reply = test_triage(server, CHEST_PAIN);
    assert_reply(&reply, 503, "dependency");
    assert_string_equal(test_reply_text(&reply, "degraded_reason"), "no_record");
    assert_true(cJSON_IsFalse(cp_json_member(reply.json, "record_available")));
    assert_true(cp_json_member(reply.json, "acuity")->valueint <= 2);
    assert_string_equal(test_reply_text(&reply, "acuity_source"), "rules");
    assert_int_equal(cJSON_GetArraySize(cp_json_member(reply.json, "red_flags")) > 0, 1);
    assert_non_null(strstr(test_reply_text(&reply, "response"), "record was not available"));
    assert_string_equal(test_reply_text(&reply, "error.request_id"),
                        test_reply_header(&reply, "X-Request-Id"));
    assert_non_null(test_reply_header(&reply, "Retry-After"));
    test_reply_free(&reply);
}

static void a_store_that_is_down_leaves_the_rules(void **state) {
    (void)state;
    static const char *const stores[][2] = {
        {"PATIENT_STORE=http", "DB_API_BASE_URL=http://127.0.0.1:1"},
        {"PATIENT_STORE=mongo", "MONGO_URI=mongodb://user:pass-word@127.0.0.1:1/"},
    };
    for (size_t i = 0; i < 2; i++) {
        test_server server = start(stores[i][0], stores[i][1], "STORE_TIMEOUT_MS=200");
        for (int n = 0; n < 6; n++) /* more than it takes to open the circuit breaker */
            assert_rules_alone(&server);
        test_reply reply = test_triage(&server, "{\"patient_mrn\":\"MRN-001\",\"query\":\"hello\","
                                                "\"stream\":true}");
        assert_reply(&reply, 503, "dependency");
        assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(reply.json, "acuity")));
        test_reply_free(&reply);
        assert_get(&server, "/patients/MRN-001/summary", 503, "dependency");
        reply = import(&server, BUNDLE("FHIR-1", ""));
        assert_reply(&reply, 503, "dependency");
        test_reply_free(&reply);
        assert_get(&server, "/health", 200, "");
        cp_strbuf log = test_server_log(&server);
        assert_non_null(strstr(cp_strbuf_text(&log), "the patient store fails"));
        assert_null(strstr(cp_strbuf_text(&log), "pass-word"));
        assert_null(strstr(cp_strbuf_text(&log), "MRN-001"));
        cp_strbuf_deinit(&log);
        assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    }
}

typedef struct remote {
    cp_patient_store *behind;
    test_db_api *api;
    test_server server;
} remote;

static remote start_remote(const char *timeout) {
    remote r;
    cp_error err;
    char url[80];
    assert_cp_ok(cp_patient_store_open_jsonl("data/synthetic", &r.behind, &err));
    r.api = test_db_api_start(r.behind);
    snprintf(url, sizeof url, "DB_API_BASE_URL=http://127.0.0.1:%d", test_db_api_port(r.api));
    char audit[450];
    snprintf(audit, sizeof audit, "AUDIT_FILE=%s", test_path(test_tmp_dir(), "audit.jsonl"));
    const char *env[] = {data_dir(), "PATIENT_STORE=http", url, "DB_API_KEY=db-key", timeout, audit,
                         NULL};
    r.server = test_server_start(env);
    test_server_await_ready(&r.server);
    return r;
}

static void stop_remote(remote *r) {
    assert_int_equal(test_server_stop(&r->server, SIGTERM), 0);
    test_db_api_stop(r->api);
    r->behind->close(r->behind);
}

static void records_come_from_a_db_api(void **state) {
    (void)state;
    remote r = start_remote("STORE_TIMEOUT_MS=60000");
    test_reply reply = test_triage(&r.server, CHEST_PAIN);
    assert_int_equal(reply.status, 200);
    assert_true(cJSON_IsTrue(cp_json_member(reply.json, "record_available")));
    test_reply_free(&reply);
    reply = test_triage(&r.server, "{\"patient_mrn\":\"MRN-999\",\"query\":\"cough\"}");
    assert_reply(&reply, 404, "patient_not_found");
    test_reply_free(&reply);
    reply = get(&r.server, "/patients/MRN-001/documents");
    assert_int_equal(cJSON_GetArraySize(cp_json_member(reply.json, "documents")), 2);
    test_reply_free(&reply);
    stop_remote(&r);
}

/* A server can be another's db-api. */
static void carepath_is_a_db_api(void **state) {
    (void)state;
    test_server behind = start(NULL, NULL, NULL);
    char url[80];
    snprintf(url, sizeof url, "DB_API_BASE_URL=http://127.0.0.1:%d/", behind.port);
    test_server front = start("PATIENT_STORE=http", url, "STORE_TIMEOUT_MS=60000");
    test_reply a = get(&behind, "/patients/MRN-007"), b = get(&front, "/patients/MRN-007");
    assert_int_equal(b.status, 200);
    assert_true(cJSON_Compare(a.json, b.json, true));
    test_reply_free(&a);
    test_reply_free(&b);
    assert_get(&front, "/patients/MRN-999", 404, "patient_not_found");
    assert_int_equal(test_server_stop(&front, SIGTERM), 0);
    assert_int_equal(test_server_stop(&behind, SIGTERM), 0);
}

static bool is_readable(int fd) {
    struct pollfd look = {.fd = fd, .events = POLLIN};
    return poll(&look, 1, 0) > 0;
}

/* While questions wait for a silent store others are answered, and a stop does not hang. */
static void a_slow_store_delays_nobody_else(void **state) {
    (void)state;
    remote r = start_remote("STORE_TIMEOUT_MS=3000");
    test_api_act acts[4] = {API_SILENT, API_SILENT, API_SILENT, API_SILENT};
    test_db_api_script(r.api, acts, 4);
    int fds[4];
    for (size_t i = 0; i < 4; i++) {
        fds[i] = test_connect(&r.server);
        assert_true(test_send_text(fds[i], test_triage_bytes(CHEST_PAIN)));
    }
    while (test_db_api_n_requests(r.api) < 4)
        assert_get(&r.server, "/health", 200, "");
    bool waiting = !is_readable(fds[0]);
    assert_get(&r.server, "/health", 200, "");
    for (size_t i = 0; i < 4; i++) {
        test_reply reply = test_receive(fds[i], false);
        assert_reply(&reply, 503, "dependency");
        test_reply_free(&reply);
        test_disconnect(fds[i]);
    }
    assert_true(waiting);
    stop_remote(&r);
}

static void a_stop_ends_lookups_in_order(void **state) {
    (void)state;
    remote r = start_remote("STORE_TIMEOUT_MS=2000");
    test_api_act acts[12];
    int fds[12];
    for (size_t i = 0; i < 12; i++)
        acts[i] = API_SILENT;
    test_db_api_script(r.api, acts, 12);
    for (size_t i = 0; i < 12; i++) {
        fds[i] = test_connect(&r.server);
        assert_true(test_send_text(fds[i], i % 2 ? test_triage_bytes(CHEST_PAIN)
                                                 : "GET /patients/MRN-001 HTTP/1.1\r\n"
                                                   "Host: 127.0.0.1\r\n\r\n"));
    }
    while (test_db_api_n_requests(r.api) < 4)
        assert_get(&r.server, "/health", 200, "");
    stop_remote(&r); /* asserts that it ends with 0 */
    for (size_t i = 0; i < 12; i++) {
        test_reply reply = test_receive(fds[i], false);
        assert_int_equal(reply.status, 503);
        test_reply_free(&reply);
        test_disconnect(fds[i]);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(records_are_read_whole_and_in_parts),
    cmocka_unit_test(numbers_that_are_nobodys_or_none_are_told_apart),
    cmocka_unit_test(an_import_is_kept_over_a_restart),
    cmocka_unit_test(wrong_imports_are_refused_without_their_words),
    cmocka_unit_test(a_store_that_is_down_leaves_the_rules),
    cmocka_unit_test(records_come_from_a_db_api),
    cmocka_unit_test(carepath_is_a_db_api),
    cmocka_unit_test(a_slow_store_delays_nobody_else),
    cmocka_unit_test(a_stop_ends_lookups_in_order),
};
CP_TEST_GROUP(patients_api, tests)
