#include "tests/http_app.h"

#include "base/clock.h"

#include <unistd.h>

/* Waits a little for a change, under the lock; fails after WAIT_S. */
static void await_change(test_app *app, uint64_t since_ns, const char *what) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    pthread_cond_timedwait(&app->changed, &app->lock, &until);
    if (cp_clock_ms_since(since_ns) > WAIT_S * 1e3)
        fail_msg("waited in vain for %s", what);
}

void test_app_hold(void *user, cp_http_request *request) {
    test_app *app = user;
    cp_http_defer(request);
    pthread_mutex_lock(&app->lock);
    app->held = request;
    pthread_cond_broadcast(&app->changed);
    pthread_mutex_unlock(&app->lock);
}

cp_http_request *test_app_take(test_app *app) {
    uint64_t start = cp_clock_ns();
    pthread_mutex_lock(&app->lock);
    while (!app->held)
        await_change(app, start, "a request");
    cp_http_request *request = app->held;
    app->held = NULL;
    pthread_mutex_unlock(&app->lock);
    return request;
}

static void on_done(void *user, const cp_http_request *request, double ms) {
    test_app *app = user;
    pthread_mutex_lock(&app->lock);
    app->n_done += ms >= 0;
    app->status = request->reply.status;
    snprintf(app->route, sizeof app->route, "%s", request->route ? request->route->path : "other");
    pthread_cond_broadcast(&app->changed);
    pthread_mutex_unlock(&app->lock);
}

void test_app_await_done(test_app *app, int n, int status) {
    uint64_t start = cp_clock_ns();
    pthread_mutex_lock(&app->lock);
    while (app->n_done < n)
        await_change(app, start, "a request's end");
    int n_done = app->n_done, last = app->status;
    pthread_mutex_unlock(&app->lock);
    assert_int_equal(n_done, n);
    assert_int_equal(last, status);
}

void test_app_await_gone(const cp_http_request *request) {
    uint64_t start = cp_clock_ns();
    while (!cp_http_client_gone(request)) {
        if (cp_clock_ms_since(start) > WAIT_S * 1e3)
            fail_msg("the client's leaving was not noticed");
        usleep(1000);
    }
}

void test_app_start(test_app *app, const cp_http_config *config) {
    cp_error err;
    cp_http_config whole = *config;
    *app = (test_app){0};
    pthread_mutex_init(&app->lock, NULL);
    pthread_cond_init(&app->changed, NULL);
    whole.host = "127.0.0.1";
    whole.max_connections = 64;
    whole.header_timeout_s = whole.idle_timeout_s = 60;
    if (whole.body_timeout_s == 0)
        whole.body_timeout_s = 60;
    whole.app = app;
    whole.on_done = on_done;
    assert_cp_ok(cp_http_server_start(&whole, &app->http, &err));
    assert_int_equal(sscanf(cp_http_server_address(app->http), "127.0.0.1:%d", &app->client.port),
                     1);
}

void test_app_stop(test_app *app) {
    cp_http_server_stop(app->http);
    pthread_cond_destroy(&app->changed);
    pthread_mutex_destroy(&app->lock);
}
