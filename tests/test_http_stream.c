/* Streamed answers over real sockets: order, slow clients, clients that leave, pings, shutdown. */
#include "tests/http_app.h"

#include "base/clock.h"

#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS    "text/event-stream"
#define GET_HOLD  "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"
#define HEAD_HOLD "HEAD /hold HTTP/1.1\r\nHost: a\r\n\r\n"
#define N_WRITES  1000

static void answer_ok(void *user, cp_http_request *request) {
    (void)user;
    cp_strbuf_puts(&request->reply.body, "{\"status\":\"ok\"}\n");
    request->reply.status = 200;
}

static const cp_http_route routes[] = {
    {.path = "/hold", .handle = test_app_hold},
    {.path = "/hold/{}", .is_post = true, .handle = test_app_hold, .max_body_bytes = 1 << 20},
    {.path = "/ok", .handle = answer_ok},
};

static void start(test_app *app, int64_t body_timeout_s, int64_t ping_interval_s) {
    const cp_http_config config = {
        .routes = routes,
        .n_routes = sizeof routes / sizeof routes[0],
        .body_timeout_s = body_timeout_s,
        .ping_interval_s = ping_interval_s,
    };
    signal(SIGPIPE, SIG_IGN);
    test_app_start(app, &config);
}

static int send_request(const test_app *app, const char *text) {
    int fd = test_connect(&app->client);
    assert_true(test_send_text(fd, text));
    return fd;
}

static bool write_text(cp_http_request *request, const char *text) {
    return cp_http_stream_write(request, text, strlen(text));
}

/* The next chunk is exactly this text: it was not kept until more came. */
static void check_chunk(int fd, const char *text) {
    cp_strbuf chunk;
    bool whole;
    cp_strbuf_init(&chunk, 65536);
    assert_true(test_receive_chunk(fd, &chunk, &whole));
    assert_string_equal(cp_strbuf_text(&chunk), text);
    cp_strbuf_deinit(&chunk);
}

static void check_ok_on(int fd) {
    assert_true(test_send_text(fd, "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_reply reply = test_receive(fd, false);
    assert_int_equal(reply.status, 200);
    assert_string_equal(test_reply_text(&reply, "status"), "ok");
    test_reply_free(&reply);
}

/* Writes until the backlog is full, with a rest of `us` after every 64 KiB, so that a client is not
 * taken for slow where this machine is; returns what was taken. */
static size_t fill(cp_http_request *request, useconds_t us) {
    static const char piece[4096];
    size_t n = 0;
    while (cp_http_stream_write(request, piece, sizeof piece)) {
        n += sizeof piece;
        assert_true(n < ((size_t)512 << 20));
        if (n % 65536 == 0)
            usleep(us);
    }
    return n;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static void *write_numbers(void *arg) {
    cp_http_request *request = arg;
    char text[64];
    cp_http_stream_begin(request, EVENTS);
    for (int i = 0; i < N_WRITES; i++) {
        int n = snprintf(text, sizeof text, "data: %d\n\n", i);
        if (!cp_http_stream_write(request, text, (size_t)n))
            break;
        memset(text, 'x', sizeof text); /* the bytes were copied */
        if (i % 7 == 0)
            sched_yield();
        if (i % 100 == 0)
            usleep(500); /* now and then the reader is the one that waits */
    }
    cp_http_stream_end(request);
    return NULL;
}

static void pieces_arrive_in_order_and_the_connection_lives_on(void **state) {
    test_app app;
    cp_strbuf expected;
    (void)state;
    start(&app, 0, 0);
    cp_strbuf_init(&expected, 65536);
    for (int i = 0; i < N_WRITES; i++)
        cp_strbuf_printf(&expected, "data: %d\n\n", i);
    int fd = test_connect(&app.client);
    for (int round = 1; round <= 5; round++) {
        pthread_t thread;
        assert_true(test_send_text(fd, GET_HOLD));
        assert_int_equal(pthread_create(&thread, NULL, write_numbers, test_app_take(&app)), 0);
        test_reply reply = test_receive(fd, false);
        pthread_join(thread, NULL);
        assert_int_equal(reply.status, 200);
        assert_string_equal(test_reply_header(&reply, "Content-Type"), EVENTS);
        assert_string_equal(test_reply_header(&reply, "X-Accel-Buffering"), "no");
        assert_string_equal(test_reply_header(&reply, "Cache-Control"), "no-store");
        assert_int_equal(strlen(test_reply_header(&reply, "X-Trace-Id")), 32);
        assert_null(test_reply_header(&reply, "Content-Length"));
        assert_null(test_reply_header(&reply, "Connection"));
        assert_false(reply.cut);
        assert_string_equal(cp_strbuf_text(&reply.body), cp_strbuf_text(&expected));
        test_reply_free(&reply);
        test_app_await_done(&app, 2 * round - 1, 200);
        check_ok_on(fd);
        test_app_await_done(&app, 2 * round, 200);
    }
    test_disconnect(fd);
    cp_strbuf_deinit(&expected);
    test_app_stop(&app);
}

static void nothing_waits_for_what_comes_later(void **state) {
    test_app app;
    (void)state;
    start(&app, 0, 0);
    int fd = send_request(&app, GET_HOLD);
    cp_http_request *request = test_app_take(&app);
    cp_http_stream_begin(request, "application/x-ndjson");
    test_reply reply = test_receive_head(fd);
    assert_int_equal(reply.status, 200);
    assert_string_equal(test_reply_header(&reply, "Transfer-Encoding"), "chunked");
    assert_string_equal(test_reply_header(&reply, "Content-Type"), "application/x-ndjson");
    assert_null(test_reply_header(&reply, "X-Accel-Buffering"));
    for (int i = 0; i < 20; i++) {
        char text[32];
        snprintf(text, sizeof text, "{\"n\":%d}\n", i);
        assert_true(write_text(request, text));
        assert_true(write_text(request, ""));
        check_chunk(fd, text);
        assert_false(cp_http_client_gone(request));
    }
    cp_http_stream_end(request);
    bool whole;
    assert_false(test_receive_chunk(fd, &reply.body, &whole));
    assert_true(whole);
    test_reply_free(&reply);
    check_ok_on(fd);
    test_disconnect(fd);
    test_app_stop(&app);
}

static void a_stream_may_end_at_once(void **state) {
    test_app app;
    (void)state;
    start(&app, 0, 1);
    int fd = test_connect(&app.client);
    for (int i = 1; i <= 50; i++) {
        assert_true(test_send_text(fd, GET_HOLD));
        cp_http_request *request = test_app_take(&app);
        cp_http_stream_begin(request, EVENTS);
        if (i % 2)
            assert_true(write_text(request, "data: [DONE]\n\n"));
        cp_http_stream_end(request);
        test_reply reply = test_receive(fd, false);
        assert_int_equal(reply.status, 200);
        assert_false(reply.cut);
        assert_string_equal(cp_strbuf_text(&reply.body), i % 2 ? "data: [DONE]\n\n" : "");
        test_reply_free(&reply);
        test_app_await_done(&app, i, 200);
    }
    check_ok_on(fd);
    test_disconnect(fd);
    test_app_stop(&app);
}

/* The library has one pool a connection for the request's rest and the answer's blocks. */
static void a_large_body_and_a_next_request_leave_room_for_a_stream(void **state) {
    test_app app;
    cp_strbuf bytes;
    (void)state;
    start(&app, 0, 0);
    cp_strbuf_init(&bytes, (size_t)2 << 20);
    cp_strbuf_printf(&bytes,
                     "POST /hold/large HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                     "Content-Length: %d\r\n\r\n",
                     1 << 20);
    test_append_times(&bytes, "0123456789abcdef", (1 << 20) / 16);
    cp_strbuf_puts(&bytes, GET_HOLD);
    int fd = test_connect(&app.client);
    assert_true(test_send(fd, bytes.data, bytes.n));
    cp_http_request *request = test_app_take(&app);
    assert_int_equal(request->body.n, 1 << 20);
    for (int i = 0; i < 2; i++) {
        cp_http_stream_begin(request, EVENTS);
        assert_true(write_text(request, i ? "data: two\n\n" : "data: one\n\n"));
        assert_false(cp_http_client_gone(request));
        cp_http_stream_end(request);
        test_reply reply = test_receive(fd, false);
        assert_int_equal(reply.status, 200);
        assert_string_equal(cp_strbuf_text(&reply.body), i ? "data: two\n\n" : "data: one\n\n");
        assert_false(reply.cut);
        test_reply_free(&reply);
        if (i == 0)
            request = test_app_take(&app);
    }
    test_disconnect(fd);
    cp_strbuf_deinit(&bytes);
    test_app_stop(&app);
}

/* ---- other clients --------------------------------------------------------------------------- */

static void an_old_client_gets_the_bytes_and_the_end(void **state) {
    test_app app;
    cp_strbuf got;
    (void)state;
    start(&app, 0, 0);
    int fd = send_request(&app, "GET /hold HTTP/1.0\r\n\r\n");
    cp_http_request *request = test_app_take(&app);
    cp_http_stream_begin(request, EVENTS);
    test_reply reply = test_receive_head(fd);
    assert_int_equal(reply.status, 200);
    assert_null(test_reply_header(&reply, "Transfer-Encoding"));
    assert_null(test_reply_header(&reply, "Content-Length"));
    cp_strbuf_init(&got, 65536);
    for (int i = 0; i < 5; i++) {
        assert_true(write_text(request, "data: x\n\n"));
        cp_strbuf_clear(&got);
        while (got.n < 9)
            assert_true(test_receive_some(fd, &got));
        assert_string_equal(cp_strbuf_text(&got), "data: x\n\n");
    }
    assert_true(write_text(request, "data: [DONE]\n\n"));
    cp_http_stream_end(request);
    cp_strbuf_clear(&got);
    while (test_receive_some(fd, &got))
        continue;
    assert_string_equal(cp_strbuf_text(&got), "data: [DONE]\n\n");
    test_app_await_done(&app, 1, 200);
    cp_strbuf_deinit(&got);
    test_reply_free(&reply);
    test_disconnect(fd);
    test_app_stop(&app);
}

static void head_has_no_body_and_its_writer_stops(void **state) {
    test_app app;
    (void)state;
    start(&app, 0, 0);
    int fd = send_request(&app, HEAD_HOLD);
    cp_http_request *request = test_app_take(&app);
    cp_http_stream_begin(request, EVENTS);
    test_reply reply = test_receive(fd, true);
    assert_int_equal(reply.status, 200);
    assert_string_equal(test_reply_header(&reply, "Content-Type"), EVENTS);
    test_reply_free(&reply);
    assert_true(test_ends_cleanly(fd)); /* without a byte of a body, not even a last chunk */
    assert_false(write_text(request, "data: x\n\n"));
    assert_true(cp_http_client_gone(request));
    cp_http_stream_end(request);
    test_app_await_done(&app, 1, 200);
    assert_string_equal(app.route, "/hold");
    test_disconnect(fd);
    test_app_stop(&app);
}

/* ---- slow ------------------------------------------------------------------------------------ */

static void a_slow_client_fills_its_backlog_and_is_cut_off(void **state) {
    test_app app;
    (void)state;
    start(&app, 0, 0);
    int fd = send_request(&app, GET_HOLD);
    cp_http_request *request = test_app_take(&app);
    cp_http_stream_begin(request, "application/octet-stream");
    size_t n = fill(request, 100);
    assert_true(n >= CP_HTTP_STREAM_BACKLOG);
    assert_false(cp_http_client_gone(request)); /* it is slow, but there */
    test_reply reply = test_receive_head(fd);
    bool whole;
    for (int i = 0; i < 20; i++)
        assert_true(test_receive_chunk(fd, &reply.body, &whole));
    assert_false(write_text(request, "x")); /* there is room again, but a gap before it */
    cp_http_stream_end(request);
    while (test_receive_chunk(fd, &reply.body, &whole))
        if (reply.body.n > (size_t)8 << 20) {
            n -= reply.body.n;
            cp_strbuf_clear(&reply.body);
        }
    assert_false(whole);
    assert_int_equal(reply.body.n, n); /* all that was taken, and not the last chunk */
    test_reply_free(&reply);
    test_app_await_done(&app, 1, CP_HTTP_CLIENT_GONE);
    test_disconnect(fd);
    test_app_stop(&app);
}

/* Begins a stream whose client takes nothing; true when it is shut down. False when there was room
 * after all in the sockets for what was written. */
static bool is_shut_down(test_app *app, int n_before, useconds_t us) {
    int fd = send_request(app, GET_HOLD);
    cp_http_request *request = test_app_take(app);
    cp_http_stream_begin(request, "application/octet-stream");
    (void)fill(request, us);
    uint64_t start = cp_clock_ns();
    while (!cp_http_client_gone(request) && cp_clock_ms_since(start) < 5000)
        usleep(1000);
    bool gone = cp_http_client_gone(request);
    cp_http_stream_end(request);
    test_app_await_done(app, n_before + 1, CP_HTTP_CLIENT_GONE);
    test_disconnect(fd);
    return gone;
}

static void a_client_that_takes_nothing_is_shut_down(void **state) {
    test_app app;
    int n = 0;
    (void)state;
    start(&app, 1, 0);
    while (!is_shut_down(&app, n, 200u << n)) /* nobody else ends it */
        assert_true(++n < 8);
    int fd = send_request(&app, GET_HOLD); /* the same after the end */
    cp_http_request *request = test_app_take(&app);
    cp_http_stream_begin(request, "application/octet-stream");
    (void)fill(request, 200u << n);
    cp_http_stream_end(request);
    test_app_await_done(&app, n + 2, CP_HTTP_CLIENT_GONE);
    test_disconnect(fd);
    test_app_stop(&app);
}

static void a_client_that_waits_for_us_has_all_the_time(void **state) {
    test_app app;
    (void)state;
    start(&app, 2, 0);
    int fd = send_request(&app, GET_HOLD);
    cp_http_request *request = test_app_take(&app);
    cp_http_stream_begin(request, EVENTS);
    test_reply reply = test_receive_head(fd);
    for (int i = 0; i < 2; i++) { /* also after it had to be given something */
        usleep(2500000);
        assert_true(write_text(request, "data: x\n\n"));
        check_chunk(fd, "data: x\n\n");
    }
    cp_http_stream_end(request);
    test_app_await_done(&app, 1, 200);
    test_reply_free(&reply);
    test_disconnect(fd);
    test_app_stop(&app);
}

/* ---- gone ------------------------------------------------------------------------------------ */

static void leave(int fd, bool by_reset) {
    const struct linger none = {.l_onoff = 1};
    if (by_reset)
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
    test_disconnect(fd);
}

static void a_client_that_leaves_is_noticed_in_every_state(void **state) {
    test_app app;
    (void)state;
    start(&app, 0, 0);
    for (int i = 0; i < 8; i++) {
        int when = i / 2; /* before begin, before a byte, after some, with some on their way */
        int fd = send_request(&app, GET_HOLD);
        cp_http_request *request = test_app_take(&app);
        assert_false(cp_http_client_gone(request));
        if (when > 0)
            cp_http_stream_begin(request, EVENTS);
        if (when > 1)
            assert_true(write_text(request, "data: x\n\n"));
        if (when == 2) {
            test_reply reply = test_receive_head(fd);
            check_chunk(fd, "data: x\n\n");
            test_reply_free(&reply);
        }
        leave(fd, i % 2);
        test_app_await_gone(request);
        if (when == 0)
            cp_http_stream_begin(request, EVENTS);
        test_app_await_gone(request);
        assert_false(write_text(request, "data: y\n\n"));
        assert_true(cp_http_client_gone(request));
        assert_int_equal(app.n_done, i); /* the request is the writer's until it ends it */
        cp_http_stream_end(request);
        test_app_await_done(&app, i + 1, CP_HTTP_CLIENT_GONE);
    }
    test_app_stop(&app);
}

/* The writer learns it even if it never asks. */
static void *write_until_refused(void *arg) {
    cp_http_request *request = arg;
    cp_http_stream_begin(request, EVENTS);
    while (write_text(request, "data: x\n\n"))
        usleep(50);
    cp_http_stream_end(request);
    return NULL;
}

static void clients_that_leave_at_any_moment_free_everything(void **state) {
    enum { n_rounds = 60 };
    test_app app;
    (void)state;
    start(&app, 0, 0);
    for (int i = 1; i <= n_rounds; i++) {
        pthread_t thread;
        int fd = send_request(&app, GET_HOLD);
        assert_int_equal(pthread_create(&thread, NULL, write_until_refused, test_app_take(&app)),
                         0);
        if (i % 4) {
            test_reply reply = test_receive_head(fd);
            usleep((useconds_t)(i % 7) * 100);
            test_reply_free(&reply);
        }
        leave(fd, i % 3 == 0);
        pthread_join(thread, NULL);
        test_app_await_done(&app, i, CP_HTTP_CLIENT_GONE);
    }
    test_app_stop(&app);
}

/* It still reads, but has said that nothing more will come; as with other answers it is not waited
 * for, and the writer learns it without asking. */
static void a_half_closed_client_counts_as_gone(void **state) {
    test_app app;
    pthread_t thread;
    (void)state;
    start(&app, 0, 0);
    int fd = send_request(&app, GET_HOLD);
    assert_int_equal(pthread_create(&thread, NULL, write_until_refused, test_app_take(&app)), 0);
    test_reply reply = test_receive_head(fd);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    bool whole;
    while (test_receive_chunk(fd, &reply.body, &whole))
        cp_strbuf_clear(&reply.body);
    assert_false(whole);
    pthread_join(thread, NULL);
    test_app_await_done(&app, 1, CP_HTTP_CLIENT_GONE);
    test_reply_free(&reply);
    test_disconnect(fd);
    test_app_stop(&app);
}

static void a_write_without_memory_cuts_the_stream(void **state) {
    test_app app;
    (void)state;
    start(&app, 0, 0);
    int fd = send_request(&app, GET_HOLD);
    cp_http_request *request = test_app_take(&app);
    cp_http_stream_begin(request, EVENTS);
    test_alloc_fail_at(1, 1);
    bool taken = write_text(request, "data: x\n\n");
    cp_http_stream_fail(request, &(cp_api_error){500, "internal", "broken", NULL, 0});
    test_alloc_fail_at(0, 0);
    assert_false(taken);
    cp_http_stream_end(request);
    test_reply reply = test_receive(fd, false);
    assert_int_equal(reply.status, 200);
    assert_true(reply.cut);
    assert_int_equal(reply.body.n, 0);
    test_reply_free(&reply);
    test_disconnect(fd);
    test_app_stop(&app);
}

/* ---- pings, errors, shutdown ----------------------------------------------------------------- */

static void only_silent_event_streams_are_pinged(void **state) {
    test_app app;
    (void)state;
    start(&app, 0, 1);
    int fds[2];
    cp_http_request *requests[2];
    test_reply replies[2];
    for (int i = 0; i < 2; i++) {
        fds[i] = send_request(&app, GET_HOLD);
        requests[i] = test_app_take(&app);
        cp_http_stream_begin(requests[i], i ? "text/event-stream; charset=utf-8" : "text/plain");
        replies[i] = test_receive_head(fds[i]);
    }
    check_chunk(fds[1], ": ping\n\n"); /* before the first event */
    assert_true(write_text(requests[1], "data: x\n\n"));
    check_chunk(fds[1], "data: x\n\n");
    check_chunk(fds[1], ": ping\n\n");
    check_chunk(fds[1], ": ping\n\n");
    for (int i = 0; i < 2; i++) {
        assert_true(write_text(requests[i], "data: y\n\n"));
        cp_http_stream_end(requests[i]);
        check_chunk(fds[i], "data: y\n\n"); /* the first of the other */
        test_reply_free(&replies[i]);
        test_disconnect(fds[i]);
        test_app_await_done(&app, i + 1, 200);
    }
    test_app_stop(&app);
}

static void an_error_in_a_stream_is_an_event(void **state) {
    test_app app;
    (void)state;
    start(&app, 0, 0);
    int fd = send_request(&app, GET_HOLD);
    cp_http_request *request = test_app_take(&app);
    char request_id[CP_REQUEST_ID_CAP];
    snprintf(request_id, sizeof request_id, "%s", request->request_id);
    cp_http_stream_begin(request, EVENTS);
    assert_true(write_text(request, "data: x\n\n"));
    cp_http_stream_fail(request, &(cp_api_error){504, "deadline", "too late", NULL, 0});
    cp_http_stream_end(request);
    test_reply reply = test_receive(fd, false);
    const char *text = cp_strbuf_text(&reply.body);
    assert_false(reply.cut);
    assert_int_equal(strncmp(text, "data: x\n\ndata: {\"error\":{", 25), 0);
    assert_string_equal(text + reply.body.n - 3, "}\n\n");
    assert_null(memchr(text + 9, '\n', reply.body.n - 11)); /* one line, one event */
    reply.json = cJSON_Parse(text + 15);
    assert_reply(&reply, 200, "deadline");
    assert_string_equal(test_reply_text(&reply, "error.type"), "timeout_error");
    assert_string_equal(test_reply_text(&reply, "error.message"), "too late");
    assert_string_equal(test_reply_text(&reply, "error.request_id"), request_id);
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(reply.json, "error");
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(error, "param")));
    test_reply_free(&reply);
    test_disconnect(fd);
    test_app_stop(&app);
}

static void a_shutdown_lets_streams_go_on(void **state) {
    test_app app;
    (void)state;
    start(&app, 0, 0);
    int fd = send_request(&app, GET_HOLD), late = send_request(&app, "GET /ok HTTP/1.1\r\n");
    cp_http_request *request = test_app_take(&app);
    cp_http_stream_begin(request, EVENTS);
    test_reply reply = test_receive_head(fd);
    assert_null(test_reply_header(&reply, "Connection"));
    test_reply_free(&reply);
    cp_http_server_drain(app.http);
    assert_true(write_text(request, "data: x\n\n"));
    check_chunk(fd, "data: x\n\n");
    assert_true(test_send_text(late, "Host: a\r\n\r\n"));
    reply = test_receive(late, false);
    assert_string_equal(test_reply_header(&reply, "Connection"), "close");
    test_reply_free(&reply);
    test_disconnect(late);
    late = send_request(&app, GET_HOLD); /* accepted before, begun after */
    cp_http_request *second = test_app_take(&app);
    cp_http_stream_begin(second, EVENTS);
    assert_true(write_text(second, "data: y\n\n"));
    cp_http_stream_end(second);
    reply = test_receive(late, false);
    assert_string_equal(test_reply_header(&reply, "Connection"), "close");
    assert_false(reply.cut);
    test_reply_free(&reply);
    assert_true(test_ends_cleanly(late));
    test_disconnect(late);
    assert_true(write_text(request, "data: z\n\n"));
    check_chunk(fd, "data: z\n\n");
    cp_http_stream_end(request);
    test_app_stop(&app); /* waits for what is still to be sent */
    bool whole;
    assert_false(test_receive_chunk(fd, &reply.body, &whole));
    assert_true(whole);
    test_disconnect(fd);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(pieces_arrive_in_order_and_the_connection_lives_on),
    cmocka_unit_test(nothing_waits_for_what_comes_later),
    cmocka_unit_test(a_stream_may_end_at_once),
    cmocka_unit_test(a_large_body_and_a_next_request_leave_room_for_a_stream),
    cmocka_unit_test(an_old_client_gets_the_bytes_and_the_end),
    cmocka_unit_test(head_has_no_body_and_its_writer_stops),
    cmocka_unit_test(a_slow_client_fills_its_backlog_and_is_cut_off),
    cmocka_unit_test(a_client_that_takes_nothing_is_shut_down),
    cmocka_unit_test(a_client_that_waits_for_us_has_all_the_time),
    cmocka_unit_test(a_client_that_leaves_is_noticed_in_every_state),
    cmocka_unit_test(clients_that_leave_at_any_moment_free_everything),
    cmocka_unit_test(a_half_closed_client_counts_as_gone),
    cmocka_unit_test(a_write_without_memory_cuts_the_stream),
    cmocka_unit_test(only_silent_event_streams_are_pinged),
    cmocka_unit_test(an_error_in_a_stream_is_an_event),
    cmocka_unit_test(a_shutdown_lets_streams_go_on),
};
CP_TEST_GROUP(http_stream, tests)
