/* A real server process and raw sockets to it, for the HTTP tests.
 *
 * A server is `carepath serve` on a free loopback port, with patients of its own (MRN-001, full of
 * canaries, and MRN-002) and LLM_MODE=mock unless the test says otherwise; its log goes to a file.
 * What a test forgets to stop is killed at exit, by its pid. Clients write bytes as they are told,
 * however wrong, and every wait has a limit. */
#ifndef CP_TESTS_HTTP_CLIENT_H
#define CP_TESTS_HTTP_CLIENT_H

#include "tests/test.h"

#include <sys/types.h>

#define WAIT_S 60.0 /* for what should take milliseconds; sanitizers and busy machines are slow */

/* Planted in MRN-001's record and in questions; must never leave the process but in answers. */
#define CANARY_NAME  "Zebediah Quillfeather"
#define CANARY_PHONE "555-0147-733"
#define CANARY_NOTE  "xylophonitis"

typedef struct test_server {
    pid_t pid;
    int port;
    int out; /* its stdout */
    char log_path[400];
} test_server;

/* Makes a DATA_DIR with the real rules, two documents of the knowledge base and these files of
 * data/synthetic/ (JSON Lines); the others are empty. */
#define TEST_DATA_CAP 400
void test_data_folder(const char *patients, const char *encounters, const char *documents,
                      char out[TEST_DATA_CAP]);

/* `env` overrides ("NAME=value", NULL-terminated, may be NULL). Waits until it listens, not until
 * it is ready. */
test_server test_server_start(const char *const *env);
/* Waits for its end after a signal (0: none) and returns the exit code, 128 + n when killed. */
int test_server_stop(test_server *server, int signal);
cp_strbuf test_server_log(const test_server *server);
/* Polls /ready until it is 200. */
void test_server_await_ready(const test_server *server);
/* The value of a line of /metrics that starts with `name` and a blank; 0 when there is none. */
double test_server_metric(const test_server *server, const char *name);
/* Waits until it is `value`; fails after WAIT_S. */
void test_server_await_metric(const test_server *server, const char *name, double value);
/* A DATA_DIR with the embedded data, which a server may change; a new one with each call. */
void test_data_copy(char out[TEST_DATA_CAP]);

typedef struct test_reply {
    int status; /* 0: the connection ended without an answer */
    cp_strbuf head, body;
    cJSON *json; /* of the body; NULL when it is none */
    bool cut;    /* the connection ended within the body */
} test_reply;
void test_reply_free(test_reply *reply);
/* A header's value in a rotating buffer, NULL when absent. Name in any case. */
const char *test_reply_header(const test_reply *reply, const char *name);
/* Members of the body by path: "error.code"; "" when absent. */
const char *test_reply_text(const test_reply *reply, const char *path);
/* Status and error.code, shown when they differ. */
void assert_reply(const test_reply *reply, int status, const char *code);

int test_connect(const test_server *server);
/* False when the peer no longer takes bytes. */
bool test_send(int fd, const void *bytes, size_t n);
bool test_send_text(int fd, const char *text);
/* The next answer on this connection; `is_head`: without body. Bytes beyond it stay for the next
 * call on the same fd. A body without a length ends with its last chunk or the connection. */
test_reply test_receive(int fd, bool is_head);
/* Its head alone, for a body that is read in pieces. */
test_reply test_receive_head(int fd);
/* Appends the next chunk of a chunked body. False at its end (then *whole), or the connection's. */
bool test_receive_chunk(int fd, cp_strbuf *out, bool *whole);
/* Appends what comes next; false at the connection's end. */
bool test_receive_some(int fd, cp_strbuf *out);
/* True when the peer closes within `seconds`; what it sends until then is dropped. */
bool test_closed_within(int fd, double seconds);
/* After an answer: true when the connection ends in order, false when it is reset or stays open. */
bool test_ends_cleanly(int fd);
void test_disconnect(int fd);

/* One request on a connection of its own. `headers` are whole lines ("A: b\r\n") or NULL. */
test_reply test_request(const test_server *server, const char *method, const char *path,
                        const char *headers, const char *body);
/* POST /triage with JSON's media type. */
test_reply test_triage(const test_server *server, const char *body);
/* Its bytes, to be sent by hand. */
const char *test_triage_bytes(const char *body);

#endif
