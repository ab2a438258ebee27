/* What the HTTP layer makes of paths, bodies and headers before a handler sees them. */
#include "tests/http_app.h"

#include "base/json_writer.h"

/* Answers with what it was given. */
static void echo(void *user, cp_http_request *request) {
    cp_json_writer w;
    (void)user;
    cp_json_writer_init(&w, &request->reply.body);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "route", request->route->path);
    cp_json_member_text(&w, "first", request->params[0]);
    cp_json_member_text(&w, "second", request->params[1]);
    cp_json_member_text(&w, "authorization", request->authorization);
    cp_json_member_int(&w, "deadline_ms", request->deadline_ms);
    cp_json_member_int(&w, "n_body", (int64_t)request->body.n);
    cp_json_close_object(&w);
    request->reply.status = 200;
}

static const cp_http_route routes[] = {
    {.path = "/patients/{}/summary", .handle = echo},
    {.path = "/patients/{}/documents/{}", .handle = echo},
    {.path = "/patients/{}", .handle = echo},
    {.path = "/patients/all", .handle = echo},
    {.path = "/notes/{}", .is_post = true, .handle = echo, .max_body_bytes = 100},
    {.path = "/large", .is_post = true, .handle = echo, .max_body_bytes = 1 << 20},
    {.path = "/plain", .is_post = true, .handle = echo},
};

#define JSON "Content-Type: application/json\r\n"

static void start(test_app *app) {
    const cp_http_config config = {.routes = routes, .n_routes = sizeof routes / sizeof routes[0]};
    test_app_start(app, &config);
}

/* Every error has all members, and nothing of what was sent. */
static void check_error(const test_reply *reply, int status, const char *code, const char *param) {
    assert_reply(reply, status, code);
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(reply->json, "error");
    assert_int_equal(cJSON_GetArraySize(error), 5);
    assert_true(*test_reply_text(reply, "error.type") && *test_reply_text(reply, "error.message"));
    assert_string_equal(test_reply_text(reply, "error.request_id"),
                        test_reply_header(reply, "X-Request-Id"));
    assert_non_null(cJSON_GetObjectItemCaseSensitive(error, "param"));
    assert_string_equal(test_reply_text(reply, "error.param"), param);
    assert_null(strstr(cp_strbuf_text(&reply->body), "canary"));
}

static double number(const test_reply *reply, const char *name) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(reply->json, name);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

/* ---- paths ----------------------------------------------------------------------------------- */

static void parameters_are_decoded_and_literal_paths_win(void **state) {
    static const struct {
        const char *path, *route, *first, *second;
    } cases[] = {
        {"/patients/MRN-001/summary", "/patients/{}/summary", "MRN-001", ""},
        {"/patients/MRN-001/summary?a=/b/c", "/patients/{}/summary", "MRN-001", ""},
        {"http://localhost/patients/x/summary", "/patients/{}/summary", "x", ""},
        {"/patients/a/documents/b", "/patients/{}/documents/{}", "a", "b"},
        {"/patients/summary/documents/summary", "/patients/{}/documents/{}", "summary", "summary"},
        {"/patients/all", "/patients/all", "", ""},
        {"/patients/al%6c", "/patients/{}", "all", ""},
        {"/patients/all/summary", "/patients/{}/summary", "all", ""},
        {"/patients/{}/summary", "/patients/{}/summary", "{}", ""},
        {"/patients/%4d%52N%20+%2B%25", "/patients/{}", "MRN ++%", ""},
        {"/patients/%25%32%66", "/patients/{}", "%2f", ""}, /* decoded once */
        {"/patients/%C3%A9\xc3\xa9", "/patients/{}", "\xc3\xa9\xc3\xa9", ""},
        {"/patients/...", "/patients/{}", "...", ""},
        {"/patients/%22%5c%3cscript%3e", "/patients/{}", "\"\\<script>", ""},
    };
    test_app app;
    (void)state;
    start(&app);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_reply reply = test_request(&app.client, "GET", cases[i].path, NULL, NULL);
        if (reply.status != 200)
            fail_msg("%s: %d", cases[i].path, reply.status);
        assert_string_equal(test_reply_text(&reply, "route"), cases[i].route);
        assert_string_equal(test_reply_text(&reply, "first"), cases[i].first);
        assert_string_equal(test_reply_text(&reply, "second"), cases[i].second);
        test_reply_free(&reply);
        test_app_await_done(&app, (int)i + 1, 200);
        assert_string_equal(app.route, cases[i].route); /* never what was sent */
    }
    test_app_stop(&app);
}

static void hostile_paths_reach_no_handler(void **state) {
    static const struct {
        const char *path;
        int status;
    } cases[] = {
        {"/patients/canary%", 400},
        {"/patients/canary%4", 400},
        {"/patients/%zzcanary", 400},
        {"/patients/%4gcanary", 400},
        {"/patients/%-1canary", 400},
        {"/patients/canary%00", 400},
        {"/patients/%00", 400},
        {"/patients/canary%0d%0aX-Canary:%20canary", 400},
        {"/patients/canary%09", 400},
        {"/patients/canary%7f", 400},
        {"/patients/canary%ff", 400},
        {"/patients/canary%c3%28", 400},
        {"/patients/canary%ed%a0%80", 400}, /* a surrogate */
        {"/patients/%c0%af", 400},          /* an overlong slash */
        {"/patients/canary%2fsummary", 404},
        {"/patients/%2F", 404},
        {"/patients/..%2f..%2fcanary", 404},
        {"/patients/..", 404},
        {"/patients/.", 404},
        {"/patients/%2e%2E", 404},
        {"/patients/../documents/%2e", 404},
        {"/patients/", 404},
        {"/patients//summary", 404},
        {"/patients//documents/canary", 404},
        {"/patients/canary/documents/", 404},
        {"/patients/canary/documents", 404},
        {"/patients/canary/", 404},
        {"/patients/canary/summary/", 404},
        {"/patients/canary/documents/a/b", 404},
        {"/patients/canary%2fdocuments%2fa", 404},
        {"/Patients/canary", 404},
        {"//patients/canary", 404},
        {"/patients", 404},
        {"/patient{}", 404},
        {"/notes/a/b", 404},
    };
    test_app app;
    (void)state;
    start(&app);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_reply reply = test_request(&app.client, "GET", cases[i].path, NULL, NULL);
        if (reply.status != cases[i].status)
            fail_msg("%s: %d", cases[i].path, reply.status);
        check_error(&reply, cases[i].status, cases[i].status == 400 ? "bad_path" : "not_found", "");
        test_reply_free(&reply);
    }
    test_app_stop(&app);
}

static void a_parameter_has_at_most_128_bytes(void **state) {
    test_app app;
    char path[1000], long_name[130];
    (void)state;
    start(&app);
    memset(long_name, 'a', sizeof long_name);
    for (int n = 128; n <= 129; n++) { /* as they are, and each escaped */
        snprintf(path, sizeof path, "/patients/x/documents/%.*s", n, long_name);
        test_reply reply = test_request(&app.client, "GET", path, NULL, NULL);
        assert_int_equal(reply.status, n == 128 ? 200 : 404);
        assert_int_equal(strlen(test_reply_text(&reply, "second")), n == 128 ? 128 : 0);
        test_reply_free(&reply);
        path[0] = '\0';
        for (int i = 0; i < n; i++)
            memcpy(path + 3 * i, "%61", 4);
        memmove(path + 10, path, strlen(path) + 1);
        memcpy(path, "/patients/", 10);
        reply = test_request(&app.client, "GET", path, NULL, NULL);
        assert_int_equal(reply.status, n == 128 ? 200 : 404);
        assert_int_equal(strlen(test_reply_text(&reply, "first")), n == 128 ? 128 : 0);
        test_reply_free(&reply);
    }
    test_app_stop(&app);
}

static void a_wrong_method_at_a_pattern_is_405(void **state) {
    test_app app;
    (void)state;
    start(&app);
    test_reply reply = test_request(&app.client, "POST", "/patients/canary", JSON, "{}");
    check_error(&reply, 405, "method_not_allowed", "");
    assert_string_equal(test_reply_header(&reply, "Allow"), "GET, HEAD");
    test_reply_free(&reply);
    test_app_await_done(&app, 1, 405);
    assert_string_equal(app.route, "/patients/{}");
    reply = test_request(&app.client, "GET", "/notes/canary", NULL, NULL);
    check_error(&reply, 405, "method_not_allowed", "");
    assert_string_equal(test_reply_header(&reply, "Allow"), "POST");
    test_reply_free(&reply);
    test_app_stop(&app);
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static void each_route_has_its_own_body_limit(void **state) {
    static const struct {
        const char *path;
        size_t limit;
    } cases[] = {{"/notes/a", 100}, {"/plain", 65536}, {"/large", 1 << 20}};
    test_app app;
    char sentence[100];
    (void)state;
    start(&app);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t limit = cases[i].limit;
        char *body = malloc(4 * limit + 2000000);
        assert_non_null(body);
        snprintf(sentence, sizeof sentence, "the body is larger than %zu bytes", limit);
        const size_t sizes[] = {limit, limit + 1, 4 * limit, 2 * limit + 1500000};
        for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
            memset(body, ' ', sizes[k]);
            body[sizes[k]] = '\0';
            test_reply reply = test_request(&app.client, "POST", cases[i].path, JSON, body);
            if (k == 0) {
                assert_int_equal(reply.status, 200);
                assert_true(number(&reply, "n_body") == (double)limit);
            } else {
                check_error(&reply, 413, "body_too_large", "");
                assert_string_equal(test_reply_text(&reply, "error.message"), sentence);
            }
            test_reply_free(&reply);
        }
        free(body);
    }
    test_app_stop(&app);
}

static void chunked_bodies_have_the_same_limits(void **state) {
    static const struct {
        const char *path, *message; /* of the refusal; NULL: fits */
        int n_chunks;               /* of 64 bytes */
    } cases[] = {
        {"/notes/a", NULL, 1},
        {"/notes/a", "the body is larger than 100 bytes", 2},
        {"/notes/a", "the body is larger than 100 bytes", 40000}, /* more than is read away */
        {"/large", NULL, 16384},
        {"/large", "the body is larger than 1048576 bytes", 16385},
    };
    test_app app;
    cp_strbuf bytes;
    (void)state;
    start(&app);
    cp_strbuf_init(&bytes, (size_t)16 << 20);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cp_strbuf_clear(&bytes);
        cp_strbuf_printf(
            &bytes, "POST %s HTTP/1.1\r\nHost: a\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n",
            cases[i].path);
        for (int k = 0; k < cases[i].n_chunks; k++)
            cp_strbuf_printf(&bytes, "40\r\n%64s\r\n", "");
        cp_strbuf_puts(&bytes, "0\r\n\r\n");
        int fd = test_connect(&app.client);
        (void)test_send(fd, bytes.data, bytes.n); /* it may answer before it has read all */
        test_reply reply = test_receive(fd, false);
        assert_int_equal(reply.status, cases[i].message ? 413 : 200);
        if (cases[i].message)
            assert_string_equal(test_reply_text(&reply, "error.message"), cases[i].message);
        else
            assert_true(number(&reply, "n_body") == 64.0 * cases[i].n_chunks);
        test_reply_free(&reply);
        test_disconnect(fd);
    }
    cp_strbuf_deinit(&bytes);
    test_app_stop(&app);
}

/* ---- headers --------------------------------------------------------------------------------- */

static test_reply get(const test_app *app, const char *headers) {
    return test_request(&app->client, "GET", "/patients/x", headers, NULL);
}

static void headers_reach_handlers(void **state) {
    static const struct {
        const char *headers, *authorization;
        double deadline_ms;
    } cases[] = {
        {NULL, "", -1},
        {"Authorization: Bearer abc.def\r\nX-Deadline-Ms: 1\r\n", "Bearer abc.def", 1},
        {"aUTHORIZATION:Bearer  two\r\nx-deadline-ms:   3600000\r\n", "Bearer  two", 3600000},
        {"Authorization:\r\nX-Deadline-Ms: 0002500\r\n", "", 2500},
    };
    test_app app;
    (void)state;
    start(&app);
    int fd = test_connect(&app.client); /* one connection: nothing stays for the next request */
    for (size_t k = 0; k < 2 * sizeof cases / sizeof cases[0]; k++) {
        size_t i = k % (sizeof cases / sizeof cases[0]);
        char text[500];
        snprintf(text, sizeof text, "GET /patients/x HTTP/1.1\r\nHost: a\r\n%s\r\n",
                 cases[i].headers ? cases[i].headers : "");
        assert_true(test_send_text(fd, text));
        test_reply reply = test_receive(fd, false);
        assert_int_equal(reply.status, 200);
        assert_string_equal(test_reply_text(&reply, "authorization"), cases[i].authorization);
        assert_true(number(&reply, "deadline_ms") == cases[i].deadline_ms);
        test_reply_free(&reply);
    }
    test_disconnect(fd);
    test_app_stop(&app);
}

static void wrong_headers_are_refused_by_name(void **state) {
    static const struct {
        const char *headers;
        int status;
        const char *code, *param;
    } cases[] = {
        {"X-Deadline-Ms: 0\r\n", 422, "invalid", "X-Deadline-Ms"},
        {"X-Deadline-Ms: 3600001\r\n", 422, "invalid", "X-Deadline-Ms"},
        {"X-Deadline-Ms: -1\r\n", 422, "invalid", "X-Deadline-Ms"},
        {"X-Deadline-Ms: +5\r\n", 422, "invalid", "X-Deadline-Ms"},
        {"X-Deadline-Ms: 5.0\r\n", 422, "invalid", "X-Deadline-Ms"},
        {"X-Deadline-Ms: 1e3\r\n", 422, "invalid", "X-Deadline-Ms"},
        {"X-Deadline-Ms: 0x10\r\n", 422, "invalid", "X-Deadline-Ms"},
        {"X-Deadline-Ms: 5 5\r\n", 422, "invalid", "X-Deadline-Ms"},
        {"X-Deadline-Ms: 5, 6\r\n", 422, "invalid", "X-Deadline-Ms"},
        {"X-Deadline-Ms: canary\r\n", 422, "invalid", "X-Deadline-Ms"},
        {"X-Deadline-Ms:\r\n", 422, "invalid", "X-Deadline-Ms"},
        {"X-Deadline-Ms: 99999999999999999999\r\n", 422, "invalid", "X-Deadline-Ms"},
        {"X-Deadline-Ms: 18446744073709551617\r\n", 422, "invalid", "X-Deadline-Ms"},
        {"X-Deadline-Ms: 5\r\nX-Deadline-Ms: 5\r\n", 400, "duplicate_header", "X-Deadline-Ms"},
        {"Authorization: Bearer canary\r\nauthorization: Bearer canary\r\n", 400,
         "duplicate_header", "Authorization"},
        {"Authorization:\r\nAuthorization: Bearer canary\r\n", 400, "duplicate_header",
         "Authorization"},
        {"Authorization: Bearer \x01\r\n", 400, "bad_framing", ""},
        {"Authorization : Bearer canary\r\n", 400, "bad_framing", ""},
    };
    test_app app;
    (void)state;
    start(&app);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_reply reply = get(&app, cases[i].headers);
        if (reply.status != cases[i].status)
            fail_msg("%d for %s", reply.status, cases[i].headers);
        if (reply.json) /* a name with a blank may be the library's to refuse */
            check_error(&reply, cases[i].status, cases[i].code, cases[i].param);
        test_reply_free(&reply);
    }
    test_app_stop(&app);
}

static void a_long_authorization_is_refused(void **state) {
    test_app app;
    char header[700], value[600];
    (void)state;
    start(&app);
    memset(value, 'k', sizeof value);
    for (int n = 511; n <= 512; n++) {
        snprintf(header, sizeof header, "Authorization: %.*s\r\n", n, value);
        test_reply reply = get(&app, header);
        if (n == 511) {
            assert_int_equal(reply.status, 200);
            assert_int_equal(strlen(test_reply_text(&reply, "authorization")), 511);
        } else {
            check_error(&reply, 431, "headers_too_large", "Authorization");
        }
        test_reply_free(&reply);
    }
    test_app_stop(&app);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(parameters_are_decoded_and_literal_paths_win),
    cmocka_unit_test(hostile_paths_reach_no_handler),
    cmocka_unit_test(a_parameter_has_at_most_128_bytes),
    cmocka_unit_test(a_wrong_method_at_a_pattern_is_405),
    cmocka_unit_test(each_route_has_its_own_body_limit),
    cmocka_unit_test(chunked_bodies_have_the_same_limits),
    cmocka_unit_test(headers_reach_handlers),
    cmocka_unit_test(wrong_headers_are_refused_by_name),
    cmocka_unit_test(a_long_authorization_is_refused),
};
CP_TEST_GROUP(http_routes, tests)
