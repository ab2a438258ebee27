#include "base/http_pool.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/trace_context.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define MAX_CONNECT_S 1.0
#define MAX_FIELDS    16

struct cp_http_pool {
    cp_http_pool_options options;
    pthread_mutex_t lock;
    cp_http_client **idle; /* [options.max_idle]: connections to use again */
    size_t n_idle;
};

cp_status cp_http_pool_create(const cp_http_pool_options *options, cp_http_pool **out,
                              cp_error *err) {
    *out = NULL;
    cp_http_pool *pool = calloc(1, sizeof *pool);
    if (pool)
        pool->idle = calloc(options->max_idle + 1, sizeof(cp_http_client *));
    if (!pool || !pool->idle) {
        free(pool);
        return cp_error_no_memory(err, "HTTP connections");
    }
    pool->options = *options;
    pthread_mutex_init(&pool->lock, NULL);
    *out = pool;
    return CP_OK;
}

void cp_http_pool_free(cp_http_pool *pool) {
    if (!pool)
        return;
    while (pool->n_idle > 0)
        cp_http_client_free(pool->idle[--pool->n_idle]);
    pthread_mutex_destroy(&pool->lock);
    free(pool->idle);
    free(pool);
}

static cp_status take_client(cp_http_pool *pool, cp_http_client **out, cp_error *err) {
    pthread_mutex_lock(&pool->lock);
    *out = pool->n_idle > 0 ? pool->idle[--pool->n_idle] : NULL;
    pthread_mutex_unlock(&pool->lock);
    return *out ? CP_OK : cp_http_client_create(out, err);
}

static void give_client(cp_http_pool *pool, cp_http_client *client) {
    pthread_mutex_lock(&pool->lock);
    bool fits = pool->n_idle < pool->options.max_idle;
    if (fits)
        pool->idle[pool->n_idle++] = client;
    pthread_mutex_unlock(&pool->lock);
    if (!fits)
        cp_http_client_free(client);
}

static double left_s(const cp_http_pool *pool, uint64_t begun_ns) {
    return ((double)pool->options.timeout_ms - cp_clock_ms_since(begun_ns)) / 1e3;
}

/* The call's fields, and those of the trace that this thread works for. */
typedef struct carried_fields {
    cp_http_field fields[MAX_FIELDS + 2];
    size_t n;
} carried_fields;

static void carry(const cp_http_call *call, carried_fields *out) {
    const cp_trace_carrier *carrier = cp_trace_carried();
    out->n = call->n_fields;
    for (size_t i = 0; i < out->n; i++)
        out->fields[i] = call->fields[i];
    if (!carrier)
        return;
    out->fields[out->n++] = (cp_http_field){"traceparent", carrier->traceparent};
    if (*carrier->tracestate)
        out->fields[out->n++] = (cp_http_field){"tracestate", carrier->tracestate};
}

static cp_status send_once(cp_http_pool *pool, cp_http_client *client, const cp_http_call *what,
                           uint64_t begun_ns, cp_http_answer *answer, cp_error *err) {
    cp_http_call call = *what;
    double left = left_s(pool, begun_ns);
    call.total_s = left > 0.001 ? left : 0.001; /* 0 would be no limit */
    call.connect_s = call.total_s < MAX_CONNECT_S ? call.total_s : MAX_CONNECT_S;
    return cp_http_client_send(client, &call, answer, err);
}

/* Would another try help? */
static bool may_retry(cp_status status, const cp_http_answer *answer) {
    switch (answer->end) {
    case CP_HTTP_WHOLE:
        return status == CP_OK && (answer->status == 429 || answer->status >= 500);
    case CP_HTTP_NO_CONNECTION:
    case CP_HTTP_CUT:
        return true;
    default:
        return false;
    }
}

/* A random part, so that many clients do not come back at the same moment. */
static double own_pause_s(const cp_http_pool *pool, unsigned tries) {
    uint32_t random = 0;
    cp_error ignored;
    int64_t longest = pool->options.pause_ms;
    for (unsigned i = 1; i < tries && longest < pool->options.max_pause_ms; i++)
        longest *= 2;
    if (longest > pool->options.max_pause_ms)
        longest = pool->options.max_pause_ms;
    if (cp_random_bytes(&random, sizeof random, &ignored) != CP_OK)
        random = UINT32_MAX / 2;
    return (double)random / UINT32_MAX * (double)longest / 1e3;
}

/* False when the time would be over. */
static bool pause_before(const cp_http_pool *pool, const cp_http_answer *answer, unsigned tries,
                         uint64_t begun_ns) {
    double s = cp_http_answer_retry_after_s(answer);
    if (s < 0)
        s = own_pause_s(pool, tries);
    if (s >= left_s(pool, begun_ns))
        return false;
    const struct timespec wait = {.tv_sec = (time_t)s,
                                  .tv_nsec = (long)((s - (double)(time_t)s) * 1e9)};
    nanosleep(&wait, NULL);
    return true;
}

cp_status cp_http_pool_send(cp_http_pool *pool, const cp_http_call *call, cp_http_answer *answer,
                            cp_error *err) {
    cp_http_client *client;
    uint64_t begun = cp_clock_ns();
    *answer = (cp_http_answer){.status = 0};
    if (call->n_fields > MAX_FIELDS)
        return cp_error_set(err, CP_ERR_USAGE, "%zu header fields, expected at most %d",
                            call->n_fields, MAX_FIELDS);
    carried_fields all;
    cp_http_call traced = *call;
    carry(call, &all);
    traced.fields = all.fields;
    traced.n_fields = all.n;
    cp_status status = take_client(pool, &client, err);
    if (status != CP_OK)
        return status;
    for (unsigned tries = 1;; tries++) {
        status = send_once(pool, client, &traced, begun, answer, err);
        if (tries >= pool->options.max_tries || !may_retry(status, answer) ||
            !pause_before(pool, answer, tries, begun))
            break;
        cp_http_answer_deinit(answer);
    }
    give_client(pool, client);
    return status;
}
