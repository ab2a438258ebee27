/* A small HTTP server on loopback that answers as a test tells it, for the tests of clients.
 *
 * A thread a connection; requests are numbered in the order in which they are read. The handler
 * writes bytes as it likes, right or wrong. What a test forgets is its own trouble: every server
 * that is started is stopped. */
#ifndef CP_TESTS_LOAD_SERVER_H
#define CP_TESTS_LOAD_SERVER_H

#include "tests/test.h"

#include <pthread.h>
#include <stdatomic.h>

#define LOAD_SERVER_CONNECTIONS 256

typedef struct load_server load_server;

typedef struct load_exchange {
    load_server *server;
    int fd;
    size_t k;         /* the request's number, from 0 */
    const char *head; /* request line and fields */
    const char *body;
} load_exchange;

struct load_server {
    char url[64];
    /* False closes the connection. */
    bool (*handle)(const load_exchange *x);
    atomic_size_t n_requests, n_connections, n_seen_leaving;
    /* for handlers that wait for others */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    atomic_bool stopping;
    int listener;
    pthread_t acceptor, threads[LOAD_SERVER_CONNECTIONS];
    int fds[LOAD_SERVER_CONNECTIONS];
    size_t n_threads;
};

void load_server_start(load_server *s, bool (*handle)(const load_exchange *x));
void load_server_stop(load_server *s);

/* Sends all bytes; false when the client has gone. */
bool load_send(const load_exchange *x, const char *bytes);
/* A whole answer; `fields` are lines ("A: b\r\n") or "". Always true: the connection stays. */
bool load_answer(const load_exchange *x, int status, const char *fields, const char *body);
void load_sleep_ms(long ms);
/* Waits until `n` requests were read; false when the server stops before. */
bool load_wait_for_requests(const load_exchange *x, size_t n);
/* Waits until the client closes its side, and counts it in n_seen_leaving. */
void load_wait_for_leaving(const load_exchange *x);

#endif
