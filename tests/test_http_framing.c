/* Requests that are wrong or slow at the level of bytes. */
#include "tests/http_client.h"

#include "base/clock.h"

#include <signal.h>
#include <unistd.h>

#define COUGH  "{\"patient_mrn\":\"MRN-001\",\"query\":\"I have a cough\"}"
#define LINE   "POST /triage HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
#define SECOND "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"

static test_server start_ready(const char *const *env) {
    test_server server = test_server_start(env);
    test_server_await_ready(&server);
    return server;
}

static void stop(test_server *server) {
    assert_int_equal(test_server_stop(server, SIGTERM), 0);
}

/* One answer, an error, and then the end: never a second answer. */
static void check_refused(const test_server *server, const char *bytes, size_t n, int status) {
    int fd = test_connect(server);
    (void)test_send(fd, bytes, n);
    test_reply reply = test_receive(fd, false);
    /* Newer libraries answer 400 themselves where the guard would say 501. */
    if (reply.status != status && !(status == 501 && reply.status == 400 && !reply.json))
        fail_msg("expected %d, got %d for:\n%s", status, reply.status, bytes);
    if (reply.json)
        assert_true(strlen(test_reply_text(&reply, "error.code")) > 0);
    test_reply_free(&reply);
    reply = test_receive(fd, false);
    if (reply.status != 0)
        fail_msg("a second answer, %d, to:\n%s", reply.status, bytes);
    test_reply_free(&reply);
    test_disconnect(fd);
}

static void ambiguous_framing_gets_one_refusal_and_the_end(void **state) {
    static const struct {
        const char *bytes;
        int status;
    } cases[] = {
        {LINE "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SECOND, 400},
        {LINE "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" SECOND, 400},
        {LINE "Content-Length : 40\r\n\r\n" SECOND, 400},
        {LINE "Content-Length\t: 40\r\n\r\n" SECOND, 400},
        {LINE "Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}" SECOND, 400},
        {LINE "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" SECOND, 400},
        {LINE "Content-Length: +2\r\n\r\n{}" SECOND, 400},
        {LINE "Content-Length: -2\r\n\r\n{}" SECOND, 400},
        {LINE "Content-Length: 2,2\r\n\r\n{}" SECOND, 400},
        {LINE "Content-Length: 0x2\r\n\r\n{}" SECOND, 400},
        {LINE "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SECOND,
         400},
        {LINE "Transfer-Encoding: gzip\r\n\r\n" SECOND, 501},
        {LINE "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" SECOND, 501},
        {LINE "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" SECOND, 501},
        {LINE "Bad Name: x\r\nContent-Length: 2\r\n\r\n{}" SECOND, 400},
        {LINE "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}" SECOND, 400},
        {"GET /health HTTP/1.1\r\n\r\n" SECOND, 400},
        /* Refused before its body has come: the body is not the next request. */
        {"GET /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 34\r\n\r\n" SECOND, 404},
        {"DELETE /health HTTP/1.1\r\nHost: a\r\nContent-Length: 34\r\n\r\n" SECOND, 405},
        {"DELETE /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" SECOND, 405},
        {"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" SECOND, 400},
        {"POST /triage HTTP/1.0\r\nContent-Type: application/json\r\n"
         "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SECOND,
         400},
        {"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\nTransfer-Encoding: "
         "chunked\r\n\r\n"
         "0\r\n\r\n" SECOND,
         400},
    };
    test_server server = start_ready(NULL);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_refused(&server, cases[i].bytes, strlen(cases[i].bytes), cases[i].status);
    stop(&server);
}

/* Whatever it makes of them, the server goes on, and no byte of NUL-cut text reaches a route. */
static void bytes_that_are_no_http_do_no_harm(void **state) {
    static const char nul[] = "GET /health\0/x HTTP/1.1\r\nHost: a\r\n\r\n";
    static const char *const texts[] = {
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET /health\r\n\r\n",
        "GET /health HTTP/9.9\r\nHost: a\r\n\r\n",
        "\x16\x03\x01\x02\x01\x01\xfc\x03\x03",
        "GET /health HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n",
        "GET /health HTTP/1.1\r\nno-colon\r\n\r\n",
        LINE "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        LINE "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        LINE "Content-Length: 99999999999999999999\r\n\r\n{}",
    };
    test_server server = start_ready(NULL);
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int fd = test_connect(&server);
        (void)test_send_text(fd, texts[i]);
        usleep(20000);
        test_disconnect(fd);
    }
    int fd = test_connect(&server);
    assert_true(test_send(fd, nul, sizeof nul - 1));
    usleep(20000);
    test_disconnect(fd);
    test_server_await_ready(&server);
    stop(&server);
}

static void chunked_bodies_are_read_and_capped(void **state) {
    test_server server = start_ready(NULL);
    char chunk[8300];
    (void)state;
    int fd = test_connect(&server);
    snprintf(chunk, sizeof chunk,
             LINE "Transfer-Encoding: chunked\r\n\r\n10\r\n%.16s\r\n%zx\r\n%s\r\n0\r\n\r\n", COUGH,
             strlen(COUGH) - 16, &COUGH[16]);
    assert_true(test_send_text(fd, chunk));
    test_reply reply = test_receive(fd, false);
    assert_int_equal(reply.status, 200);
    test_reply_free(&reply);
    /* A little too much is read to its end; far too much is cut off. */
    static const int n_chunks[] = {10, 400};
    for (int k = 0; k < 2; k++) {
        if (k)
            fd = test_connect(&server);
        assert_true(test_send_text(fd, LINE "Transfer-Encoding: chunked\r\n\r\n"));
        memcpy(chunk, "2000\r\n", 6);
        memset(chunk + 6, ' ', 8192);
        memcpy(chunk + 6 + 8192, "\r\n", 2);
        for (int i = 0; i < n_chunks[k]; i++)
            if (!test_send(fd, chunk, 6 + 8192 + 2))
                break;
        (void)test_send_text(fd, "0\r\n\r\n");
        reply = test_receive(fd, false);
        assert_reply(&reply, 413, "body_too_large");
        test_reply_free(&reply);
        test_disconnect(fd);
    }
    stop(&server);
}

static void pipelined_requests_are_answered_in_order(void **state) {
    test_server server = start_ready(NULL);
    cp_strbuf bytes;
    (void)state;
    cp_strbuf_init(&bytes, 100000);
    for (int i = 0; i < 5; i++) {
        cp_strbuf_puts(&bytes, SECOND);
        cp_strbuf_puts(&bytes, test_triage_bytes(COUGH));
        cp_strbuf_puts(&bytes, "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
        cp_strbuf_puts(&bytes, test_triage_bytes("{}"));
    }
    int fd = test_connect(&server);
    assert_true(test_send(fd, bytes.data, bytes.n));
    static const int expected[] = {200, 200, 404, 422};
    for (int i = 0; i < 20; i++) {
        test_reply reply = test_receive(fd, false);
        assert_int_equal(reply.status, expected[i % 4]);
        if (i % 4 == 1)
            assert_string_equal(test_reply_text(&reply, "patient_mrn"), "MRN-001");
        test_reply_free(&reply);
    }
    test_disconnect(fd);
    cp_strbuf_deinit(&bytes);
    stop(&server);
}

static void a_request_may_come_byte_by_byte(void **state) {
    test_server server = start_ready(NULL);
    (void)state;
    int fd = test_connect(&server);
    for (const char *at = test_triage_bytes(COUGH); *at; at++)
        assert_true(test_send(fd, at, 1));
    test_reply reply = test_receive(fd, false);
    assert_int_equal(reply.status, 200);
    test_reply_free(&reply);
    test_disconnect(fd);
    stop(&server);
}

/* ---- slow ------------------------------------------------------------------------------------ */

static const char *const short_limits[] = {"HEADER_TIMEOUT_S=1", "BODY_TIMEOUT_S=1",
                                           "IDLE_TIMEOUT_S=1", NULL};

/* Sends `bytes` one each 50 ms until the server ends it; returns the answer. */
static test_reply drip(int fd, const char *bytes, double *seconds) {
    uint64_t start = cp_clock_ns();
    for (const char *at = bytes; cp_clock_ms_since(start) < WAIT_S * 1e3; at += at[1] != '\0') {
        if (!test_send(fd, at, 1) || cp_clock_ms_since(start) > 3000)
            break;
        usleep(50000);
    }
    test_reply reply = test_receive(fd, false);
    *seconds = cp_clock_ms_since(start) / 1e3;
    return reply;
}

static void a_dripping_client_has_no_more_time_than_a_silent_one(void **state) {
    test_server server = start_ready(short_limits);
    char header[400], body[400];
    double seconds;
    (void)state;
    snprintf(header, sizeof header, "GET /health HTTP/1.1\r\nHost: a\r\nX-Slow: %0300d", 0);
    int fd = test_connect(&server);
    test_reply reply = drip(fd, header, &seconds);
    assert_reply(&reply, 408, "slow_headers");
    assert_true(seconds < WAIT_S);
    test_reply_free(&reply);
    test_disconnect(fd);

    snprintf(body, sizeof body, "%0300d", 0);
    fd = test_connect(&server);
    assert_true(test_send_text(fd, LINE "Content-Length: 300\r\n\r\n"));
    reply = drip(fd, body, &seconds);
    assert_reply(&reply, 408, "slow_body");
    test_reply_free(&reply);
    test_disconnect(fd);

    fd = test_connect(&server); /* silent */
    assert_true(test_closed_within(fd, WAIT_S));
    test_disconnect(fd);
    test_server_await_metric(
        &server, "carepath_http_requests_total{route=\"/triage\",method=\"POST\",status=\"408\"}",
        1);
    stop(&server);
}

static void an_idle_connection_is_closed_without_a_word(void **state) {
    test_server server = start_ready(short_limits);
    (void)state;
    int fd = test_connect(&server);
    assert_true(test_send_text(fd, SECOND));
    test_reply reply = test_receive(fd, false);
    assert_int_equal(reply.status, 200);
    test_reply_free(&reply);
    reply = test_receive(fd, false);
    assert_int_equal(reply.status, 0);
    test_reply_free(&reply);
    test_disconnect(fd);
    stop(&server);
}

#define N_SLOW 60

static void slow_clients_do_not_keep_others_out(void **state) {
    static const char *const env[] = {"MAX_CONNECTIONS=40", NULL};
    test_server server = start_ready(env);
    int fds[N_SLOW];
    (void)state;
    for (int i = 0; i < N_SLOW; i++) { /* more than there are places */
        fds[i] = test_connect(&server);
        (void)test_send_text(fds[i], i % 2 ? "GET /hea" : LINE "Content-Length: 10\r\n\r\n{");
    }
    for (int i = 0; i < 20; i++) {
        uint64_t start = cp_clock_ns();
        test_reply reply = test_request(&server, "GET", "/health", NULL, NULL);
        assert_int_equal(reply.status, 200);
        assert_true(cp_clock_ms_since(start) < 5000);
        test_reply_free(&reply);
    }
    test_reply reply = test_triage(&server, COUGH);
    assert_int_equal(reply.status, 200);
    test_reply_free(&reply);
    for (int i = 0; i < N_SLOW; i++)
        test_disconnect(fds[i]);
    stop(&server);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(ambiguous_framing_gets_one_refusal_and_the_end),
    cmocka_unit_test(bytes_that_are_no_http_do_no_harm),
    cmocka_unit_test(chunked_bodies_are_read_and_capped),
    cmocka_unit_test(pipelined_requests_are_answered_in_order),
    cmocka_unit_test(a_request_may_come_byte_by_byte),
    cmocka_unit_test(a_dripping_client_has_no_more_time_than_a_silent_one),
    cmocka_unit_test(an_idle_connection_is_closed_without_a_word),
    cmocka_unit_test(slow_clients_do_not_keep_others_out),
};
CP_TEST_GROUP(http_framing, tests)
