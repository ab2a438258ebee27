/* The HTTP client and the reader of event streams, against a server that does as it is told. */
#include "tests/load_server.h"

#include "base/clock.h"
#include "base/http_client.h"
#include "base/http_multi.h"
#include "base/sse_reader.h"

/* ---- event streams --------------------------------------------------------------------------- */

static bool show_event(void *user, const cp_sse_event *event) {
    cp_strbuf *out = user;
    cp_strbuf_printf(out, "%.*s=%.*s;", (int)event->name.n, event->name.data, (int)event->data.n,
                     event->data.data);
    return event->data.n != 4 || memcmp(event->data.data, "stop", 4) != 0;
}

/* The examples of the standard among them; each stream is cut at every length of pieces. */
static void event_streams_are_read_as_the_standard_says(void **state) {
    (void)state;
    static const struct {
        const char *stream, *shown;
    } cases[] = {
        {"data: YHOO\ndata: +2\ndata: 10\n\n", "message=YHOO\n+2\n10;"},
        {": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third\n\n",
         "message=first event;message=second event;message= third;"},
        {"data\n\ndata\ndata\n\ndata:", "message=;message=\n;"},
        {"data:test\n\ndata: test\n\n", "message=test;message=test;"},
        {"event: a\ndata: 1\r\n\r\nevent: b\rdata: 2\r\rdata: 3\r\n\r\n", "a=1;b=2;message=3;"},
        {"data: 1\r\ndata: 2\r\n\r\ndata: 3\rdata: 4\r\r", "message=1\n2;message=3\n4;"},
        {"event: lost\n\ndata: x\n\n", "message=x;"},
        {"\xef\xbb\xbf"
         "data: bom\n\n",
         "message=bom;"},
        {"data: \xef\xbb\xbfkept\n\n\xef\xbb\xbf"
         "data: not a field\n\n",
         "message=\xef\xbb\xbfkept;"},
        {"Data: x\ndata : y\nretry: 10\nunknown\n\n", ""},
        {"data: cut off\n", ""},
        {"data: a:b: c\n\n:\n::\n\n", "message=a:b: c;"},
        {"\n\n\r\r\r\n\ndata: late\n\n", "message=late;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t step = 1; step <= strlen(cases[i].stream); step++) {
            cp_sse_reader r;
            cp_strbuf out;
            cp_error err;
            cp_strbuf_init(&out, 1 << 12);
            cp_sse_reader_init(&r, 64, show_event, &out);
            size_t n = strlen(cases[i].stream);
            for (size_t at = 0; at < n; at += step)
                assert_cp_ok(cp_sse_reader_feed(
                    &r, (cp_str){cases[i].stream + at, n - at < step ? n - at : step}, &err));
            if (strcmp(cp_strbuf_text(&out), cases[i].shown) != 0)
                fail_msg("case %zu, step %zu: %s", i, step, cp_strbuf_text(&out));
            cp_sse_reader_deinit(&r);
            cp_strbuf_deinit(&out);
        }
}

static cp_status feed(cp_sse_reader *r, const char *text, cp_error *err) {
    return cp_sse_reader_feed(r, (cp_str){text, strlen(text)}, err);
}

static void event_streams_are_bounded(void **state) {
    (void)state;
    cp_sse_reader r;
    cp_strbuf out;
    cp_error err;
    cp_strbuf_init(&out, 1 << 12);
    cp_sse_reader_init(&r, 16, show_event, &out);
    assert_cp_ok(feed(&r, "data: 0123456789\n\n", &err)); /* a line of 16 */
    assert_int_equal(feed(&r, "data: 0123456789X\n", &err), CP_ERR_LIMIT);
    assert_non_null(strstr(err.message, "16 bytes"));
    cp_sse_reader_begin(&r);
    assert_cp_ok(feed(&r, "data: 01234567\ndata: 0123456\n\n", &err)); /* data of 16 */
    assert_int_equal(feed(&r, "data: 01234567\ndata: 01234567\n\n", &err), CP_ERR_LIMIT);
    cp_sse_reader_begin(&r);
    assert_int_equal(feed(&r, "this line never ends....", &err), CP_ERR_LIMIT);
    cp_sse_reader_begin(&r);
    assert_int_equal(feed(&r, "data: stop\n\ndata: more\n\n", &err), CP_ERR_CANCELLED);
    assert_string_equal(cp_strbuf_text(&out), "message=0123456789;message=01234567\n0123456;"
                                              "message=stop;");
    cp_sse_reader_deinit(&r);
    cp_strbuf_deinit(&out);
}

/* ---- one request ----------------------------------------------------------------------------- */

static bool echo(const load_exchange *x) {
    char path[64] = "";
    sscanf(x->head, "%*s %63s", path);
    if (strcmp(path, "/redirect") == 0)
        return load_answer(x, 302, "Location: /secret\r\n", "moved");
    if (strcmp(path, "/cut") == 0) {
        load_send(x, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
        return false;
    }
    if (strcmp(path, "/nonsense") == 0) {
        load_send(x, "nonsense\r\n\r\n");
        return false;
    }
    if (strcmp(path, "/interim") == 0)
        load_send(x, "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n");
    if (strcmp(path, "/head") == 0)
        return load_send(x, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Size:\t77 \r\n\r\n");
    if (strcmp(path, "/wait") == 0) {
        load_wait_for_leaving(x);
        return false;
    }
    if (strcmp(path, "/fields") == 0)
        return load_answer(x, 200, "", x->head);
    return load_answer(x, 200, "X-Name:  value \r\nX-Empty:\r\n", x->body);
}

typedef struct client_test {
    load_server server;
    cp_http_client *client;
    cp_http_answer answer;
    char url[128];
} client_test;

static client_test *begin(void) {
    static client_test t;
    cp_error err;
    t = (client_test){.client = NULL};
    load_server_start(&t.server, echo);
    assert_cp_ok(cp_http_client_create(&t.client, &err));
    return &t;
}

static cp_http_call call_of(client_test *t, const char *method, const char *path) {
    snprintf(t->url, sizeof t->url, "%s%s", t->server.url, path);
    return (cp_http_call){
        .method = method, .url = t->url, .connect_s = 10, .total_s = 60, .max_bytes = 4096};
}

static cp_status send_call(client_test *t, const cp_http_call *call, cp_error *err) {
    cp_http_answer_deinit(&t->answer);
    return cp_http_client_send(t->client, call, &t->answer, err);
}

static void end(client_test *t) {
    cp_http_answer_deinit(&t->answer);
    cp_http_client_free(t->client);
    load_server_stop(&t->server);
}

static void requests_share_a_connection(void **state) {
    (void)state;
    client_test *t = begin();
    cp_error err;
    cp_str value;
    for (int i = 0; i < 3; i++) {
        cp_http_call call = call_of(t, i == 1 ? "PUT" : "POST", "/echo");
        call.body = (cp_str){"a\0b", 3}; /* the server shows it up to the NUL */
        assert_cp_ok(send_call(t, &call, &err));
        assert_int_equal(t->answer.status, 200);
        assert_int_equal(t->answer.end, CP_HTTP_WHOLE);
        assert_string_equal(cp_strbuf_text(&t->answer.body), "a");
    }
    assert_true(cp_http_answer_field(&t->answer, "x-nAmE", &value) && cp_str_is(value, "value"));
    assert_true(cp_http_answer_field(&t->answer, "X-Empty", &value) && value.n == 0);
    assert_false(cp_http_answer_field(&t->answer, "X-Nam", &value));
    cp_http_call call = call_of(t, "HEAD", "/head");
    assert_cp_ok(send_call(t, &call, &err));
    assert_true(cp_http_answer_field(&t->answer, "X-Size", &value) && cp_str_is(value, "77"));
    assert_int_equal(t->answer.body.n, 0);
    call = call_of(t, "GET", "/interim");
    assert_cp_ok(send_call(t, &call, &err));
    assert_false(cp_http_answer_field(&t->answer, "X-Early", &value));
    assert_int_equal(t->server.n_connections, 1);
    end(t);
}

static void fields_and_key_are_sent_as_given(void **state) {
    (void)state;
    client_test *t = begin();
    cp_error err;
    const cp_http_field fields[] = {{"Range", "bytes=5-"}, {"X-Empty", ""}};
    cp_http_call call = call_of(t, "GET", "/fields");
    call.fields = fields;
    call.n_fields = 2;
    call.bearer = "k3y";
    assert_cp_ok(send_call(t, &call, &err));
    const char *seen = cp_strbuf_text(&t->answer.body);
    assert_non_null(strstr(seen, "\r\nRange: bytes=5-\r\n"));
    assert_non_null(strstr(seen, "\r\nX-Empty:\r\n"));
    assert_non_null(strstr(seen, "\r\nAuthorization: Bearer k3y\r\n"));
    assert_non_null(strstr(seen, "\r\nUser-Agent: carepath/"));
    assert_null(strstr(seen, "Expect"));
    call = call_of(t, "GET", "/fields"); /* nothing stays for the next one */
    assert_cp_ok(send_call(t, &call, &err));
    assert_null(strstr(t->answer.body.data, "k3y"));
    assert_null(strstr(t->answer.body.data, "Range"));
    end(t);
}

/* A field cannot begin a second one, and what is wrong is never repeated. */
static void bad_calls_are_refused(void **state) {
    (void)state;
    client_test *t = begin();
    cp_error err;
    static const cp_http_field bad[] = {{"X", "a\r\nEvil: 1"},
                                        {"X: y\r\nEvil", "1"},
                                        {"", "1"},
                                        {"X", "a\nsecret"},
                                        {"X Y", "secret"}};
    cp_http_call call = call_of(t, "GET", "/fields");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        call.fields = &bad[i];
        call.n_fields = 1;
        assert_int_equal(send_call(t, &call, &err), CP_ERR_USAGE);
        assert_null(strstr(err.message, "secret"));
    }
    call = call_of(t, "GET", "/fields");
    call.bearer = "secret\nx";
    assert_int_equal(send_call(t, &call, &err), CP_ERR_USAGE);
    assert_null(strstr(err.message, "secret"));
    call = call_of(t, "TRACE", "/fields");
    assert_int_equal(send_call(t, &call, &err), CP_ERR_USAGE);
    static const char *const urls[] = {
        "file:///etc/passwd",  "ftp://h/x",        "",      "http://",
        "http://me:secret@h/", "http://secret@h/", "no url"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        call.method = "GET";
        call.url = urls[i];
        if (send_call(t, &call, &err) != CP_ERR_USAGE || strstr(err.message, "secret"))
            fail_msg("%s: %s", urls[i], err.message);
    }
    assert_int_equal(t->server.n_requests, 0);
    end(t);
}

static void urls_are_taken_apart(void **state) {
    (void)state;
    cp_http_url url;
    cp_error err;
    assert_cp_ok(cp_http_url_parse("u", "https://Example.org/a/b?q=1", &url, &err));
    assert_true(url.tls);
    assert_string_equal(url.port, "443");
    assert_string_equal(url.path, "/a/b");
    assert_cp_ok(cp_http_url_parse("u", "http://[::1]:8002", &url, &err));
    assert_false(url.tls);
    assert_string_equal(url.origin, "http://[::1]:8002");
    assert_string_equal(url.path, "/");
    char longest[4096] = "http://h/";
    memset(longest + 9, 'x', 2000);
    assert_int_equal(cp_http_url_parse("--url", longest, &url, &err), CP_ERR_USAGE);
    assert_non_null(strstr(err.message, "--url"));
}

static bool count_bytes(void *user, int status, cp_str bytes) {
    size_t *n = user;
    *n += bytes.n;
    return status == 200 && *n < 3;
}

/* Each trouble has its own end, and its sentence names the server, never the path. */
static void every_trouble_has_a_name(void **state) {
    (void)state;
    client_test *t = begin();
    cp_error err;
    size_t n = 0;
    static const struct {
        const char *path;
        size_t max_bytes;
        double total_s;
        bool counts;
        cp_status status;
        cp_http_end end;
    } cases[] = {
        {"/cut", 100, 60, false, CP_ERR_IO, CP_HTTP_CUT},
        {"/nonsense", 100, 60, false, CP_ERR_FORMAT, CP_HTTP_BROKEN},
        {"/fields", 10, 60, false, CP_ERR_LIMIT, CP_HTTP_TOO_LARGE},
        {"/fields", 10, 60, true, CP_ERR_LIMIT, CP_HTTP_TOO_LARGE},
        {"/fields", 1000, 60, true, CP_ERR_CANCELLED, CP_HTTP_STOPPED},
        {"/wait", 100, 0.05, false, CP_ERR_CANCELLED, CP_HTTP_TIMED_OUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cp_http_call call = call_of(t, "GET", cases[i].path);
        call.max_bytes = cases[i].max_bytes;
        call.total_s = cases[i].total_s;
        if (cases[i].counts) {
            call.on_body = count_bytes;
            call.user = &n;
            n = 0;
        }
        cp_status status = send_call(t, &call, &err);
        if (status != cases[i].status || t->answer.end != cases[i].end)
            fail_msg("%s: %d, %s: %s", cases[i].path, status, cp_http_end_name(t->answer.end),
                     err.message);
        assert_non_null(strstr(err.message, t->server.url));
        assert_null(strstr(err.message, cases[i].path));
    }
    cp_http_call call = call_of(t, "GET", "/redirect");
    assert_cp_ok(send_call(t, &call, &err)); /* is not followed */
    assert_int_equal(t->answer.status, 302);
    call.url = "http://127.0.0.1:1/patients/MRN-001";
    assert_int_equal(send_call(t, &call, &err), CP_ERR_IO);
    assert_int_equal(t->answer.end, CP_HTTP_NO_CONNECTION);
    assert_null(strstr(err.message, "MRN"));
    end(t);
}

/* A proxy in the environment gets nothing unless the call allows it. */
static void proxies_are_not_used_unasked(void **state) {
    (void)state;
    client_test *t = begin();
    cp_error err;
    setenv("http_proxy", t->server.url, 1);
    unsetenv("no_proxy");
    cp_http_call call = {.method = "GET", .url = "http://127.0.0.1:1/", .max_bytes = 100};
    assert_int_equal(send_call(t, &call, &err), CP_ERR_IO);
    assert_int_equal(t->server.n_requests, 0);
    call.use_proxy = true;
    assert_cp_ok(send_call(t, &call, &err));
    assert_int_equal(t->server.n_requests, 1);
    unsetenv("http_proxy");
    end(t);
}

/* ---- many requests --------------------------------------------------------------------------- */

static void count_done(void *user, const cp_http_answer *answer) {
    size_t *counts = user;
    counts[answer->end]++;
}

static void many_requests_end_once_each(void **state) {
    (void)state;
    client_test *t = begin();
    cp_error err;
    cp_http_multi *multi;
    cp_http_flight *flights[8], *extra;
    size_t counts[8] = {0};
    assert_cp_ok(cp_http_multi_create(8, &multi, &err));
    for (int i = 0; i < 8; i++) {
        cp_http_call call = call_of(t, "GET", i < 2 ? "/wait" : i < 4 ? "/cut" : "/echo");
        assert_cp_ok(cp_http_multi_start(multi, &call, count_done, counts, &flights[i], &err));
    }
    cp_http_call call = call_of(t, "GET", "/echo");
    assert_int_equal(cp_http_multi_start(multi, &call, count_done, counts, &extra, &err),
                     CP_ERR_BUSY);
    while (cp_http_multi_n_flights(multi) > 2)
        assert_cp_ok(cp_http_multi_wait(multi, cp_clock_ns() + 1000000000u, &err));
    assert_int_equal(counts[CP_HTTP_WHOLE], 4);
    assert_int_equal(counts[CP_HTTP_CUT], 2);
    cp_http_multi_cancel(multi, flights[0]); /* the server sees it leave */
    while (t->server.n_seen_leaving < 1)
        load_sleep_ms(1);
    call.url = "http://me:secret@h/";
    assert_int_equal(cp_http_multi_start(multi, &call, count_done, counts, &extra, &err),
                     CP_ERR_USAGE);
    assert_int_equal(cp_http_multi_n_flights(multi), 1);
    uint64_t start = cp_clock_ns(), until = start + 30000000u;
    while (cp_clock_ns() < until)
        assert_cp_ok(cp_http_multi_wait(multi, until, &err));
    cp_http_multi_free(multi); /* with one under way */
    while (t->server.n_seen_leaving < 2)
        load_sleep_ms(1);
    assert_int_equal(counts[CP_HTTP_WHOLE] + counts[CP_HTTP_CUT], 6);
    end(t);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(event_streams_are_read_as_the_standard_says),
    cmocka_unit_test(event_streams_are_bounded),
    cmocka_unit_test(requests_share_a_connection),
    cmocka_unit_test(fields_and_key_are_sent_as_given),
    cmocka_unit_test(bad_calls_are_refused),
    cmocka_unit_test(urls_are_taken_apart),
    cmocka_unit_test(every_trouble_has_a_name),
    cmocka_unit_test(proxies_are_not_used_unasked),
    cmocka_unit_test(many_requests_end_once_each),
};
CP_TEST_GROUP(http_client, tests)
