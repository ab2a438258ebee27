/* The HTTP contract over a real server: statuses, error bodies, headers, ids, strict JSON. */
#include "tests/http_client.h"

#include <signal.h>
#include <unistd.h>

#define COUGH "{\"patient_mrn\":\"MRN-001\",\"query\":\"I have a cough\"}"

/* Every error has the whole body, and nothing of what was sent. */
static void check_error(test_reply *reply, int status, const char *code) {
    assert_reply(reply, status, code);
    assert_true(strlen(test_reply_text(reply, "error.type")) > 0);
    assert_true(strlen(test_reply_text(reply, "error.message")) > 0);
    assert_int_equal(strlen(test_reply_text(reply, "trace_id")), 32);
    assert_string_equal(test_reply_text(reply, "trace_id"), test_reply_header(reply, "X-Trace-Id"));
    assert_string_equal(test_reply_text(reply, "error.request_id"),
                        test_reply_header(reply, "X-Request-Id"));
    assert_string_equal(test_reply_header(reply, "Content-Type"), "application/json");
    assert_string_equal(test_reply_header(reply, "X-Content-Type-Options"), "nosniff");
    assert_string_equal(test_reply_header(reply, "Cache-Control"), "no-store");
    assert_null(strstr(cp_strbuf_text(&reply->body), "canary"));
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(reply->json, "error");
    assert_non_null(cJSON_GetObjectItemCaseSensitive(error, "param"));
}

static test_server start_ready(void) {
    test_server server = test_server_start(NULL);
    test_server_await_ready(&server);
    return server;
}

static void stop(test_server *server) {
    assert_int_equal(test_server_stop(server, SIGTERM), 0);
}

static void a_triage_has_every_field(void **state) {
    static const char *const texts[] = {"trace_id",      "patient_mrn", "llm_mode",    "model",
                                        "response",      "thinking",    "disposition", "disclaimer",
                                        "finish_reason", "session_id"};
    test_server server = start_ready();
    (void)state;
    test_reply reply = test_triage(
        &server, "{\"patient_mrn\":\"MRN-001\",\"query\":\"crushing chest pain and sweating\","
                 "\"enable_thinking\":true,\"seed\":42,\"session_id\":\"s-1\"}");
    assert_int_equal(reply.status, 200);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (!*test_reply_text(&reply, texts[i]))
            fail_msg("%s is missing in %s", texts[i], cp_strbuf_text(&reply.body));
    assert_string_equal(test_reply_text(&reply, "acuity_source"), "rules");
    assert_non_null(strstr(test_reply_text(&reply, "response"), "mock"));
    assert_non_null(strstr(test_reply_text(&reply, "response"), "no model read"));
    assert_null(strstr(test_reply_text(&reply, "response"), "ACUITY"));
    const cJSON *acuity = cJSON_GetObjectItem(reply.json, "acuity");
    assert_true(acuity->valueint <= 2);
    assert_true(cJSON_GetArraySize(cJSON_GetObjectItem(reply.json, "red_flags")) > 0);
    assert_int_equal(cJSON_GetObjectItem(reply.json, "seed")->valueint, 42);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(reply.json, "usage")), 6);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(reply.json, "timings")), 9);
    test_reply_free(&reply);

    reply = test_triage(&server, COUGH); /* no rule fires: the mock's level */
    assert_int_equal(reply.status, 200);
    assert_string_equal(test_reply_text(&reply, "acuity_source"), "model");
    assert_int_equal(cJSON_GetObjectItem(reply.json, "acuity")->valueint, 3);
    assert_null(cJSON_GetObjectItem(reply.json, "thinking"));
    assert_null(cJSON_GetObjectItem(reply.json, "session_id"));
    test_reply_free(&reply);
    stop(&server);
}

static void each_refusal_has_its_status_and_body(void **state) {
    static const char json[] = "Content-Type: application/json\r\n";
    static const struct {
        const char *method, *path, *headers, *body;
        int status;
        const char *code, *allow;
    } cases[] = {
        {"GET", "/nothing", NULL, NULL, 404, "not_found", NULL},
        {"GET", "/", NULL, NULL, 404, "not_found", NULL},
        {"GET", "/health/", NULL, NULL, 404, "not_found", NULL},
        {"GET", "/%68ealth", NULL, NULL, 404, "not_found", NULL},
        {"GET", "/health%00", NULL, NULL, 404, "not_found", NULL},
        {"GET", "/health%00x", NULL, NULL, 404, "not_found", NULL},
        {"GET", "/health%0d%0aX-Canary:%20canary", NULL, NULL, 404, "not_found", NULL},
        {"GET", "//health", NULL, NULL, 404, "not_found", NULL},
        {"GET", "/../health", NULL, NULL, 404, "not_found", NULL},
        {"POST", "/canary", json, "{}", 404, "not_found", NULL},
        {"GET", "/triage", NULL, NULL, 405, "method_not_allowed", "POST"},
        {"PUT", "/triage", json, COUGH, 405, "method_not_allowed", "POST"},
        {"DELETE", "/health", NULL, NULL, 405, "method_not_allowed", "GET, HEAD"},
        {"POST", "/metrics", json, "{}", 405, "method_not_allowed", "GET, HEAD"},
        {"OPTIONS", "/triage", NULL, NULL, 405, "method_not_allowed", "POST"},
        {"POST", "/triage", NULL, COUGH, 415, "media_type", NULL},
        {"POST", "/triage", "Content-Type: text/plain\r\n", COUGH, 415, "media_type", NULL},
        {"POST", "/triage", json, NULL, 400, "bad_json", NULL},
        {"POST", "/triage", json, "", 400, "bad_json", NULL},
        {"POST", "/triage", json, "{\"canary\"", 400, "bad_json", NULL},
        {"POST", "/triage", json, "{\"canary\":1}", 422, "unknown_field", NULL},
        {"POST", "/triage", json, "{\"patient_mrn\":\"MRN-001\",\"query\":\"\"}", 422, "invalid",
         NULL},
        {"POST", "/triage", json, "{\"patient_mrn\":\"canary-9\",\"query\":\"canary\"}", 404,
         "patient_not_found", NULL},
        {"GET", "/health", "Expect: canary\r\n", NULL, 417, "expectation", NULL},
    };
    test_server server = start_ready();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_reply reply =
            test_request(&server, cases[i].method, cases[i].path, cases[i].headers, cases[i].body);
        check_error(&reply, cases[i].status, cases[i].code);
        const char *allow = test_reply_header(&reply, "Allow");
        assert_string_equal(allow ? allow : "", cases[i].allow ? cases[i].allow : "");
        test_reply_free(&reply);
    }
    stop(&server);
}

static void a_wrong_field_is_named(void **state) {
    static const struct {
        const char *fields, *param;
    } cases[] = {
        {"\"query\":\"canary\"", "patient_mrn"},
        {"\"patient_mrn\":5,\"query\":\"canary\"", "patient_mrn"},
        {"\"patient_mrn\":\"MRN-001\"", "query"},
        {"\"patient_mrn\":\"MRN-001\",\"query\":\"canary\",\"seed\":1e999", "seed"},
        {"\"patient_mrn\":\"MRN-001\",\"query\":\"canary\",\"temperature\":3", "temperature"},
        {"\"patient_mrn\":\"MRN-001\",\"query\":\"canary\",\"max_new_tokens\":0", "max_new_tokens"},
        {"\"patient_mrn\":\"MRN-001\",\"query\":\"c\",\"enable_thinking\":\"canary\"",
         "enable_thinking"},
        {"\"patient_mrn\":\"MRN-001\",\"query\":\"c\",\"session_id\":\"canary!\"", "session_id"},
    };
    test_server server = start_ready();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[512];
        snprintf(body, sizeof body, "{%s}", cases[i].fields);
        test_reply reply = test_triage(&server, body);
        assert_int_equal(reply.status, 422);
        assert_string_equal(test_reply_text(&reply, "error.param"), cases[i].param);
        assert_null(strstr(cp_strbuf_text(&reply.body), "canary"));
        test_reply_free(&reply);
    }
    stop(&server);
}

static void json_is_read_strictly(void **state) {
    static const char *const bodies[] = {
        "{\"patient_mrn\":\"MRN-002\",\"patient_mrn\":\"MRN-001\",\"query\":\"canary\"}",
        "{\"patient_mrn\":\"MRN-001\\u0000canary\",\"query\":\"canary\"}",
        "{\"patient_mrn\":\"MRN-001\",\"query\":\"canary \xc3\x28\"}",
        "{\"patient_mrn\":\"MRN-001\",\"query\":\"canary\\ud800\"}",
        "{\"patient_mrn\":\"MRN-001\",\"query\":\"canary\"} canary",
        "\xef\xbb\xbf{\"patient_mrn\":\"MRN-001\",\"query\":\"canary\"}",
        "{'patient_mrn':'MRN-001','query':'canary'}",
        "{\"patient_mrn\":\"MRN-001\",\"query\":\"canary\ncanary\"}",
        "{\"patient_mrn\":\"MRN-001\",\"query\":\"canary\",\"seed\":NaN}",
        "{\"patient_mrn\":\"MRN-001\",\"query\":\"canary\",\"seed\":01}",
        "[1]",
        "null",
    };
    test_server server = start_ready();
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        test_reply reply = test_triage(&server, bodies[i]);
        check_error(&reply, 400, "bad_json");
        test_reply_free(&reply);
    }
    char deep[40000];
    memset(deep, '[', sizeof deep);
    deep[sizeof deep - 1] = '\0';
    test_reply reply = test_triage(&server, deep);
    check_error(&reply, 400, "bad_json");
    test_reply_free(&reply);
    stop(&server);
}

static void bodies_over_64_kib_are_refused(void **state) {
    static const size_t sizes[] = {65537, 200000, 3000000};
    test_server server = start_ready();
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *body = malloc(sizes[i] + 1);
        assert_non_null(body);
        memset(body, ' ', sizes[i]);
        body[sizes[i]] = '\0';
        test_reply reply = test_triage(&server, body);
        check_error(&reply, 413, "body_too_large");
        test_reply_free(&reply);
        free(body);
    }
    /* A client that goes on sending is not reset, or it might never read why it was refused. */
    static const char head[] = "POST /triage HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n"
                               "Content-Type: application/json\r\n\r\n";
    static const char filler[50000];
    int fd = test_connect(&server);
    assert_true(test_send_text(fd, head));
    assert_true(test_send(fd, filler, sizeof filler));
    test_reply reply = test_receive(fd, false);
    check_error(&reply, 413, "body_too_large");
    test_reply_free(&reply);
    assert_true(test_ends_cleanly(fd));
    for (int i = 0; i < 20; i++) {
        assert_true(test_send(fd, filler, 5000));
        usleep(5000);
    }
    test_disconnect(fd);
    char fits[65537];
    memset(fits, ' ', sizeof fits);
    memcpy(fits, COUGH, strlen(COUGH));
    fits[65536] = '\0';
    reply = test_triage(&server, fits);
    assert_int_equal(reply.status, 200);
    test_reply_free(&reply);
    /* A client that asks first is told before it sends. */
    fd = test_connect(&server);
    assert_true(test_send_text(fd,
                               "POST /triage HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n"
                               "Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n"));
    reply = test_receive(fd, false);
    check_error(&reply, 413, "body_too_large");
    test_reply_free(&reply);
    test_disconnect(fd);
    stop(&server);
}

static void large_headers_are_refused(void **state) {
    test_server server = start_ready();
    char text[20000];
    (void)state;
    memset(text, 'a', sizeof text);
    text[0] = '/';
    text[5000] = '\0';
    test_reply reply = test_request(&server, "GET", text, NULL, NULL);
    check_error(&reply, 414, "uri_too_long");
    test_reply_free(&reply);
    memcpy(text, "X-Long: ", 8);
    text[5000] = 'a';
    memcpy(text + 17000, "\r\n", 3);
    reply = test_request(&server, "GET", "/health", text, NULL);
    check_error(&reply, 431, "headers_too_large");
    test_reply_free(&reply);
    text[0] = '\0';
    for (int i = 0; i < 70; i++)
        snprintf(text + strlen(text), 32, "X-%d: y\r\n", i);
    reply = test_request(&server, "GET", "/health", text, NULL);
    check_error(&reply, 431, "headers_too_large");
    test_reply_free(&reply);
    stop(&server);
}

static void probes_answer_and_head_has_no_body(void **state) {
    static const char *const paths[] = {"/health", "/ready", "/metrics"};
    test_server server = start_ready();
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        test_reply get = test_request(&server, "GET", paths[i], NULL, NULL);
        test_reply head = test_request(&server, "HEAD", paths[i], NULL, NULL);
        assert_int_equal(get.status, 200);
        assert_int_equal(head.status, 200);
        assert_true(get.body.n > 0);
        assert_true(atoi(test_reply_header(&head, "Content-Length")) > 0);
        test_reply_free(&get);
        test_reply_free(&head);
    }
    int fd = test_connect(&server); /* after a HEAD's answer the next one begins at once */
    assert_true(test_send_text(fd, "HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n"
                                   "HEAD /nothing HTTP/1.1\r\nHost: a\r\n\r\n"
                                   "GET /ready HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_reply reply = test_receive(fd, true);
    assert_int_equal(reply.status, 200);
    test_reply_free(&reply);
    reply = test_receive(fd, true);
    assert_int_equal(reply.status, 404);
    test_reply_free(&reply);
    reply = test_receive(fd, false);
    assert_int_equal(reply.status, 200);
    assert_string_equal(test_reply_text(&reply, "status"), "ready");
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(reply.json, "rules_reviewed")));
    test_reply_free(&reply);
    test_disconnect(fd);

    test_reply health =
        test_request(&server, "GET", "http://localhost/health?verbose=1", NULL, NULL);
    assert_int_equal(health.status, 200);
    assert_string_equal(test_reply_text(&health, "status"), "ok");
    assert_string_equal(test_reply_text(&health, "env"), "development");
    assert_string_equal(test_reply_text(&health, "llm_mode"), "mock");
    assert_string_equal(test_reply_text(&health, "model"), "mock");
    assert_true(strlen(test_reply_text(&health, "version")) > 0);
    test_reply_free(&health);
    stop(&server);
}

static void ids_are_theirs_when_well_formed(void **state) {
    test_server server = start_ready();
    (void)state;
    test_reply reply = test_request(&server, "GET", "/nothing",
                                    "X-Request-Id: ab-12\r\ntraceparent: "
                                    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
                                    NULL);
    check_error(&reply, 404, "not_found");
    assert_string_equal(test_reply_text(&reply, "error.request_id"), "ab-12");
    assert_string_equal(test_reply_text(&reply, "trace_id"), "0af7651916cd43dd8448eb211c80319c");
    test_reply_free(&reply);
    reply = test_request(&server, "GET", "/nothing",
                         "X-Request-Id: canary <script>\r\ntraceparent: canary\r\n", NULL);
    check_error(&reply, 404, "not_found");
    test_reply_free(&reply);
    stop(&server);
}

static void metrics_count_and_keep_their_labels_bounded(void **state) {
    test_server server = start_ready();
    (void)state;
    for (int i = 0; i < 3; i++) {
        test_reply reply = test_triage(&server, COUGH);
        assert_int_equal(reply.status, 200);
        test_reply_free(&reply);
        char path[32];
        snprintf(path, sizeof path, "/canary-%d", i);
        reply = test_request(&server, i ? "GET" : "CANARY", path, NULL, NULL);
        assert_int_equal(reply.status, 404);
        test_reply_free(&reply);
    }
    test_server_await_metric(
        &server, "carepath_http_requests_total{route=\"/triage\",method=\"POST\",status=\"200\"}",
        3);
    test_server_await_metric(
        &server, "carepath_http_requests_total{route=\"other\",method=\"GET\",status=\"404\"}", 2);
    test_server_await_metric(
        &server, "carepath_http_requests_total{route=\"other\",method=\"other\",status=\"404\"}",
        1);
    assert_true(
        test_server_metric(&server, "carepath_triage_total{acuity=\"3\",source=\"model\"}") == 3);
    assert_true(test_server_metric(&server, "carepath_queue_wait_seconds_count") == 3);
    assert_true(test_server_metric(&server, "carepath_model_loaded") == 1);
    assert_true(test_server_metric(&server, "process_resident_memory_bytes") > 1e6);
    test_reply reply = test_request(&server, "GET", "/metrics", NULL, NULL);
    const char *text = cp_strbuf_text(&reply.body);
    assert_null(strstr(text, "anary"));
    assert_non_null(strstr(text, "carepath_http_request_duration_seconds_bucket{route=\"/triage\","
                                 "le=\"600\"} 3\n"));
    assert_non_null(strstr(text, "# TYPE carepath_requests_running gauge\n"));
    test_reply_free(&reply);
    stop(&server);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_triage_has_every_field),
    cmocka_unit_test(each_refusal_has_its_status_and_body),
    cmocka_unit_test(a_wrong_field_is_named),
    cmocka_unit_test(json_is_read_strictly),
    cmocka_unit_test(bodies_over_64_kib_are_refused),
    cmocka_unit_test(large_headers_are_refused),
    cmocka_unit_test(probes_answer_and_head_has_no_body),
    cmocka_unit_test(ids_are_theirs_when_well_formed),
    cmocka_unit_test(metrics_count_and_keep_their_labels_bounded),
};
CP_TEST_GROUP(http_contract, tests)
