#include "server/trace_export.h"

#include "base/clock.h"
#include "base/http_multi.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/http_ids.h"
#include "server/trace_otlp.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MAX_BATCH        ((size_t)512)
#define MAX_ANSWER_BYTES ((size_t)65536)
#define MAX_CONNECT_S    5.0
#define MAX_BATCH_NS     (60 * SECOND) /* then a batch is given up */
#define FIRST_PAUSE_NS   (SECOND / 2)  /* doubles */
#define MAX_PAUSE_NS     (30 * SECOND)
#define CLOCK_SET_NS     (SECOND / 100) /* a jump of the calendar that counts */
#define LOOK_NS          (SECOND / 20)  /* how often a request looks whether to stop */
#define SECOND           UINT64_C(1000000000)

typedef enum outcome { TAKEN, REFUSED, TRY_AGAIN } outcome;

struct cp_tracer {
    cp_trace_options options;
    char instance[2 * CP_TRACE_ID_BYTES + 1];
    uint64_t threshold; /* trace ids whose right half is below are sampled by ratio */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    cp_trace_span *filling; /* [options.queue_cap]; exchanged with `sending` */
    size_t n_filling;
    bool stopping;
    uint64_t stop_ns; /* when flushing must have ended */
    pthread_t thread;
    bool has_thread;
    /* The thread's. */
    cp_trace_span *sending; /* [options.queue_cap] */
    cp_strbuf body;
    cp_http_multi *http;
    cp_http_field fields[CP_TRACE_MAX_PAIRS + 1];
    size_t n_fields;
    bool fails;         /* it was logged */
    uint64_t offset_ns; /* from cp_clock_ns to nanoseconds since 1970 */
    /* The answer at hand. */
    bool has_answer;
    cp_http_end end;
    int status;
    double pause_s; /* the receiver's; -1: none */
    size_t n_rejected;
    atomic_uint_fast64_t exported, dropped, failed, requests;
};

/* ---- any thread ------------------------------------------------------------------------------ */

static bool by_ratio(const cp_tracer *tracer, const cp_trace_context *context) {
    uint64_t right = 0;
    for (size_t i = CP_TRACE_ID_BYTES / 2; i < CP_TRACE_ID_BYTES; i++)
        right = right << 8 | context->trace_id[i];
    return right >> 1 < tracer->threshold;
}

bool cp_tracer_samples(const cp_tracer *tracer, const cp_trace_context *context, bool has_parent) {
    if (!tracer)
        return false;
    bool parents = (context->flags & CP_TRACE_SAMPLED) != 0;
    switch (tracer->options.sampler) {
    case CP_TRACE_SAMPLER_PARENT_RATIO:
        return has_parent ? parents : by_ratio(tracer, context);
    case CP_TRACE_SAMPLER_PARENT_ON:
        return has_parent ? parents : true;
    case CP_TRACE_SAMPLER_PARENT_OFF:
        return has_parent ? parents : false;
    case CP_TRACE_SAMPLER_RATIO:
        return by_ratio(tracer, context);
    case CP_TRACE_SAMPLER_ON:
        return true;
    case CP_TRACE_SAMPLER_OFF:
        break;
    }
    return false;
}

void cp_tracer_take(cp_tracer *tracer, const cp_trace_span *span) {
    pthread_mutex_lock(&tracer->lock);
    bool fits = tracer->n_filling < tracer->options.queue_cap;
    if (fits)
        tracer->filling[tracer->n_filling++] = *span;
    bool wake = tracer->n_filling == 1 || tracer->n_filling == MAX_BATCH ||
                tracer->n_filling == tracer->options.queue_cap;
    if (fits && wake)
        pthread_cond_signal(&tracer->changed);
    pthread_mutex_unlock(&tracer->lock);
    if (!fits)
        atomic_fetch_add_explicit(&tracer->dropped, 1, memory_order_relaxed);
}

cp_tracer_stats cp_tracer_get_stats(cp_tracer *tracer) {
    cp_tracer_stats stats = {0};
    if (!tracer)
        return stats;
    pthread_mutex_lock(&tracer->lock);
    stats.waiting = tracer->n_filling;
    pthread_mutex_unlock(&tracer->lock);
    stats.exported = atomic_load_explicit(&tracer->exported, memory_order_relaxed);
    stats.dropped = atomic_load_explicit(&tracer->dropped, memory_order_relaxed);
    stats.failed = atomic_load_explicit(&tracer->failed, memory_order_relaxed);
    stats.requests = atomic_load_explicit(&tracer->requests, memory_order_relaxed);
    return stats;
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Until then, or a change. The lock is held. */
static void wait_until(cp_tracer *tracer, uint64_t ns) {
    const struct timespec when = {.tv_sec = (time_t)(ns / SECOND), .tv_nsec = (long)(ns % SECOND)};
    (void)pthread_cond_timedwait(&tracer->changed, &tracer->lock, &when);
}

/* Waits for a full batch, or for the first span's time to be over, or for the end; then takes all
 * there is. False when there is none and none will come. */
static bool collect(cp_tracer *tracer, size_t *n) {
    pthread_mutex_lock(&tracer->lock);
    while (tracer->n_filling == 0 && !tracer->stopping)
        pthread_cond_wait(&tracer->changed, &tracer->lock);
    uint64_t due = cp_clock_ns() + (uint64_t)tracer->options.delay_ms * 1000000u;
    while (tracer->n_filling < MAX_BATCH && tracer->n_filling < tracer->options.queue_cap &&
           !tracer->stopping && cp_clock_ns() < due)
        wait_until(tracer, due);
    cp_trace_span *full = tracer->filling;
    tracer->filling = tracer->sending;
    tracer->sending = full;
    *n = tracer->n_filling;
    tracer->n_filling = 0;
    pthread_mutex_unlock(&tracer->lock);
    return *n > 0;
}

/* When the work at hand must end: UINT64_MAX before the server stops. */
static uint64_t last_ns(cp_tracer *tracer) {
    pthread_mutex_lock(&tracer->lock);
    uint64_t ns = tracer->stopping ? tracer->stop_ns : UINT64_MAX;
    pthread_mutex_unlock(&tracer->lock);
    return ns;
}

/* False when there is no time for it. */
static bool pause_until(cp_tracer *tracer, uint64_t ns) {
    pthread_mutex_lock(&tracer->lock);
    while (cp_clock_ns() < ns && !(tracer->stopping && tracer->stop_ns < ns))
        wait_until(tracer, ns);
    bool fits = !(tracer->stopping && tracer->stop_ns < ns);
    pthread_mutex_unlock(&tracer->lock);
    return fits;
}

/* ---- one request ----------------------------------------------------------------------------- */

static void on_answer(void *user, const cp_http_answer *answer) {
    cp_tracer *tracer = user;
    tracer->has_answer = true;
    tracer->end = answer->end;
    tracer->status = answer->status;
    tracer->pause_s = cp_http_answer_retry_after_s(answer);
    tracer->n_rejected = 0;
    if (answer->end == CP_HTTP_WHOLE && answer->status / 100 == 2 && answer->body.n > 0)
        tracer->n_rejected = cp_otlp_n_rejected(cp_strbuf_str(&answer->body));
}

/* What the protocol says of an answer: these statuses ask for another try, others are final. */
static outcome judge(const cp_tracer *tracer) {
    switch (tracer->end) {
    case CP_HTTP_WHOLE:
        break;
    case CP_HTTP_NO_CONNECTION:
    case CP_HTTP_TIMED_OUT:
    case CP_HTTP_CUT:
        return TRY_AGAIN;
    default:
        return REFUSED;
    }
    switch (tracer->status) {
    case 429:
    case 502:
    case 503:
    case 504:
        return TRY_AGAIN;
    default:
        return tracer->status / 100 == 2 ? TAKEN : REFUSED;
    }
}

static outcome post(cp_tracer *tracer) {
    cp_error err;
    cp_http_flight *flight;
    double total_s = (double)tracer->options.timeout_ms / 1e3;
    const cp_http_call call = {
        .method = "POST",
        .url = tracer->options.url,
        .fields = tracer->fields,
        .n_fields = tracer->n_fields,
        .body = cp_strbuf_str(&tracer->body),
        .connect_s = total_s < MAX_CONNECT_S ? total_s : MAX_CONNECT_S,
        .total_s = total_s,
        .max_bytes = MAX_ANSWER_BYTES,
    };
    tracer->has_answer = false;
    tracer->end = CP_HTTP_BROKEN;
    tracer->status = 0;
    tracer->pause_s = -1;
    atomic_fetch_add_explicit(&tracer->requests, 1, memory_order_relaxed);
    cp_status status = cp_http_multi_start(tracer->http, &call, on_answer, tracer, &flight, &err);
    bool started = status == CP_OK;
    while (status == CP_OK && !tracer->has_answer && cp_clock_ns() < last_ns(tracer))
        status = cp_http_multi_wait(tracer->http, cp_clock_ns() + LOOK_NS, &err);
    if (started && !tracer->has_answer) {
        cp_http_multi_cancel(tracer->http, flight);
        return REFUSED;
    }
    return judge(tracer);
}

/* ---- batches --------------------------------------------------------------------------------- */

/* The log tells when it begins and when it ends, not every time. */
static void note(cp_tracer *tracer, bool ok) {
    if (ok == !tracer->fails)
        return;
    tracer->fails = !ok;
    if (ok)
        cp_log(CP_LOG_INFO, "traces are exported again");
    else
        cp_log(CP_LOG_WARN, "traces cannot be exported",
               CP_LOG_S("reason", cp_http_end_name(tracer->end)),
               CP_LOG_I("status", tracer->status));
}

/* A random half of it, so that many servers do not come back together. */
static uint64_t jittered(uint64_t ns) {
    return ns / 2 + (uint64_t)((double)(ns / 2) * ((double)cp_http_random_seed() / 0x1p53));
}

/* Tries until the batch is taken or refused, or there is no time left. */
static outcome deliver(cp_tracer *tracer) {
    uint64_t give_up = cp_clock_ns() + MAX_BATCH_NS, pause = FIRST_PAUSE_NS;
    for (;;) {
        outcome result = post(tracer);
        note(tracer, result == TAKEN);
        if (result != TRY_AGAIN)
            return result;
        uint64_t wait = jittered(pause);
        if (tracer->pause_s >= 0)
            wait = (uint64_t)(tracer->pause_s * 1e9);
        uint64_t next = cp_clock_ns() + wait;
        if (next > give_up || !pause_until(tracer, next))
            return REFUSED;
        pause = pause * 2 < MAX_PAUSE_NS ? pause * 2 : MAX_PAUSE_NS;
    }
}

/* Nanoseconds from the monotonic clock to the calendar's, by the best of a few looks at both. */
static uint64_t look_at_clocks(void) {
    uint64_t best = UINT64_MAX, offset = 0;
    for (int i = 0; i < 3; i++) {
        struct timespec now;
        uint64_t before = cp_clock_ns();
        clock_gettime(CLOCK_REALTIME, &now);
        uint64_t width = cp_clock_ns() - before;
        if (width >= best)
            continue;
        best = width;
        offset = (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec - before - width / 2;
    }
    return offset;
}

/* The same from batch to batch, so that spans keep their order, until somebody sets the clock. */
static uint64_t unix_offset_ns(cp_tracer *tracer) {
    uint64_t now = look_at_clocks(), was = tracer->offset_ns;
    uint64_t apart = now > was ? now - was : was - now;
    if (apart > CLOCK_SET_NS)
        tracer->offset_ns = now;
    return tracer->offset_ns;
}

static void send_batch(cp_tracer *tracer, const cp_trace_span *spans, size_t n) {
    const cp_otlp_resource resource = {&tracer->options, tracer->instance};
    size_t n_taken = 0;
    cp_strbuf_clear(&tracer->body);
    cp_otlp_append(&resource, spans, n, unix_offset_ns(tracer), &tracer->body);
    if (tracer->body.failed == CP_OK && deliver(tracer) == TAKEN)
        n_taken = tracer->n_rejected < n ? n - tracer->n_rejected : 0;
    atomic_fetch_add_explicit(&tracer->exported, n_taken, memory_order_relaxed);
    atomic_fetch_add_explicit(&tracer->failed, n - n_taken, memory_order_relaxed);
}

static void *thread_main(void *arg) {
    cp_tracer *tracer = arg;
    for (size_t n; collect(tracer, &n);)
        for (size_t at = 0; at < n; at += MAX_BATCH)
            send_batch(tracer, tracer->sending + at, n - at < MAX_BATCH ? n - at : MAX_BATCH);
    return NULL;
}

/* ---- its life -------------------------------------------------------------------------------- */

static void set_fields(cp_tracer *tracer) {
    const cp_pairs *headers = &tracer->options.headers;
    tracer->fields[tracer->n_fields++] = (cp_http_field){"Content-Type", "application/json"};
    for (size_t i = 0; i < headers->n; i++)
        tracer->fields[tracer->n_fields++] = headers->pairs[i];
}

static cp_status prepare(cp_tracer *tracer, cp_error *err) {
    size_t cap = tracer->options.queue_cap;
    size_t batch = cap < MAX_BATCH ? cap : MAX_BATCH;
    tracer->filling = calloc(cap, sizeof *tracer->filling);
    tracer->sending = calloc(cap, sizeof *tracer->sending);
    cp_strbuf_init(&tracer->body, CP_OTLP_HEAD_BYTES + MAX_BATCH * CP_OTLP_SPAN_BYTES);
    cp_strbuf_reserve(&tracer->body, CP_OTLP_HEAD_BYTES + batch * CP_OTLP_SPAN_BYTES / 2);
    if (!tracer->filling || !tracer->sending || tracer->body.failed != CP_OK)
        return cp_error_no_memory(err, "the tracer");
    set_fields(tracer);
    cp_status status = cp_http_multi_create(1, &tracer->http, err);
    if (status != CP_OK)
        return status;
    int failed = pthread_create(&tracer->thread, NULL, thread_main, tracer);
    tracer->has_thread = failed == 0;
    return failed ? cp_error_set(err, CP_ERR_IO, "cannot start a thread: %s", strerror(failed))
                  : CP_OK;
}

static void warn_of_plain_keys(const cp_trace_options *options) {
    if (options->headers.n > 0 && strncasecmp(options->url, "https:", 6) != 0)
        cp_log(CP_LOG_WARN, "OTEL_EXPORTER_OTLP_HEADERS go over the network unencrypted: the "
                            "endpoint is not https");
}

cp_status cp_tracer_open(cp_trace_options *options, cp_tracer **out, cp_error *err) {
    pthread_condattr_t monotonic;
    *out = NULL;
    if (!*options->url) {
        cp_trace_options_deinit(options);
        return CP_OK;
    }
    cp_tracer *tracer = calloc(1, sizeof *tracer);
    if (!tracer) {
        cp_trace_options_deinit(options);
        return cp_error_no_memory(err, "the tracer");
    }
    tracer->options = *options;
    *options = (cp_trace_options){.url = ""};
    tracer->threshold = (uint64_t)(tracer->options.ratio * 0x1p63);
    cp_http_id_random(tracer->instance, CP_TRACE_ID_BYTES);
    pthread_mutex_init(&tracer->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&tracer->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    warn_of_plain_keys(&tracer->options);
    cp_status status = prepare(tracer, err);
    if (status == CP_OK)
        *out = tracer;
    else
        cp_tracer_close(tracer);
    return status;
}

void cp_tracer_close(cp_tracer *tracer) {
    if (!tracer)
        return;
    pthread_mutex_lock(&tracer->lock);
    tracer->stopping = true;
    tracer->stop_ns = cp_clock_ns() + (uint64_t)(CP_TRACER_FLUSH_S * 1e9);
    pthread_cond_signal(&tracer->changed);
    pthread_mutex_unlock(&tracer->lock);
    if (tracer->has_thread)
        pthread_join(tracer->thread, NULL);
    cp_http_multi_free(tracer->http);
    cp_strbuf_deinit(&tracer->body);
    free(tracer->filling);
    free(tracer->sending);
    pthread_cond_destroy(&tracer->changed);
    pthread_mutex_destroy(&tracer->lock);
    cp_trace_options_deinit(&tracer->options);
    free(tracer);
}
