/* The HTTP layer alone, in this process: a server with routes of the test's own, whose requests the
 * test answers itself, as a scheduler would, from threads that are not the library's. */
#ifndef CP_TESTS_HTTP_APP_H
#define CP_TESTS_HTTP_APP_H

#include "tests/http_client.h"

#include "server/http_server.h"

#include <pthread.h>

typedef struct test_app {
    cp_http_server *http;
    test_server client; /* its port, for test_connect and test_request */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    cp_http_request *held; /* deferred, not taken yet; one at a time */
    int n_done;
    int status; /* of the last request that is over */
    char route[64];
} test_app;

/* `config` gives routes and what differs from a minute's limits. */
void test_app_start(test_app *app, const cp_http_config *config);
void test_app_stop(test_app *app);

/* A handler that defers its request for test_app_take. */
void test_app_hold(void *app, cp_http_request *request);
/* Waits for the request that a client has sent. */
cp_http_request *test_app_take(test_app *app);
/* Waits until n requests are over, and checks the last one's status. */
void test_app_await_done(test_app *app, int n, int status);
/* Waits until the client of a deferred request is known to be gone. */
void test_app_await_gone(const cp_http_request *request);

#endif
