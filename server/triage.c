#include "server/triage.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "server/patient_store.h"
#include "server/safety.h"
#include "server/triage_lane.h"
#include "server/triage_prompt.h"
#include "server/triage_reply.h"
#include "server/triage_request.h"
#include "server/work_queue.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PROMPT_BYTES ((size_t)256 << 10)
#define LOADING_RETRY_S  5
#define DRAINING_RETRY_S 10
#define MAX_RETRY_S      600

struct cp_triage {
    const cp_settings *settings;
    cp_metrics *metrics;
    cp_patient_store *store;
    cp_safety *safety;
    cp_backend *backend;
    cp_work_queue *queue;
    atomic_int state; /* cp_triage_state */
    atomic_bool draining, cancel_all;
    atomic_size_t n_unfinished;
    atomic_int mean_ms; /* of recent generations, for Retry-After */
};

typedef struct job {
    cp_work work; /* first: the queue holds a pointer to it */
    cp_triage *triage;
    cp_http_request *http;
    cp_triage_request request;
    cp_safety_finding finding;
    cp_strbuf prompt;
    uint64_t seed;
    uint64_t queued_ns, deadline_ns;
} job;

/* ---- a job's end ----------------------------------------------------------------------------- */

static const cp_api_error no_memory = {503, "no_memory", "the server is short of memory", NULL, 1};
static const cp_api_error draining = {503, "draining", "the server is shutting down", NULL,
                                      DRAINING_RETRY_S};
static const cp_api_error late = {504, "deadline", "the answer was not ready in time", NULL, 0};
static const cp_api_error left = {CP_HTTP_CLIENT_GONE, "client_gone", "the client left", NULL, 0};

static void free_job(job *j) {
    cp_triage_request_deinit(&j->request);
    cp_strbuf_deinit(&j->prompt);
    free(j);
}

/* Hands the request back to the HTTP server. */
static void finish(job *j) {
    cp_http_request *http = j->http;
    cp_triage *triage = j->triage;
    free_job(j);
    cp_http_finish(http);
    atomic_fetch_sub(&triage->n_unfinished, 1);
}

static void finish_with(job *j, const cp_api_error *error) {
    cp_http_fail(j->http, error);
    finish(j);
}

/* Why this job should not go on, or NULL. */
static const cp_api_error *stop_reason(const job *j) {
    if (atomic_load(&j->triage->cancel_all))
        return &draining;
    if (cp_clock_ns() >= j->deadline_ns)
        return &late;
    return cp_http_client_gone(j->http) ? &left : NULL;
}

static bool is_unwanted(void *user, const cp_work *work) {
    (void)user;
    return stop_reason((const job *)work) != NULL;
}

static void drop(void *user, cp_work *work) {
    job *j = (job *)work;
    const cp_api_error *why = stop_reason(j);
    (void)user;
    finish_with(j, why ? why : &left); /* a client that was gone stays gone */
}

void cp_triage_tick(cp_triage *triage) {
    cp_work_queue_sweep(triage->queue, is_unwanted);
}

void cp_triage_cancel_all(cp_triage *triage) {
    atomic_store(&triage->cancel_all, true);
    cp_triage_tick(triage);
}

/* ---- the worker ------------------------------------------------------------------------------ */

static bool load_model(void *user) {
    cp_triage *triage = user;
    cp_error err;
    uint64_t start = cp_clock_ns();
    if (triage->backend->load(triage->backend, &err) != CP_OK) {
        cp_log(CP_LOG_ERROR, "the model cannot be loaded", CP_LOG_S("reason", err.message));
        atomic_store(&triage->state, CP_TRIAGE_FAILED);
        return false;
    }
    cp_log(CP_LOG_INFO, "model loaded", CP_LOG_S("model", triage->backend->model),
           CP_LOG_N("ms", cp_clock_ms_since(start)));
    atomic_store(&triage->state, CP_TRIAGE_READY);
    return true;
}

static bool is_cancelled(void *user) {
    return stop_reason(user) != NULL;
}

static cp_status generate(job *j, cp_backend_reply *reply, cp_error *err) {
    const cp_chat_message messages[] = {
        {.role = CP_ROLE_SYSTEM, .content = cp_triage_instructions},
        {.role = CP_ROLE_USER, .content = cp_strbuf_text(&j->prompt)},
    };
    cp_thinking thinking = CP_THINKING_DEFAULT;
    if (j->request.has_thinking)
        thinking = j->request.enable_thinking ? CP_THINKING_ON : CP_THINKING_OFF;
    const cp_backend_request asked = {
        .messages = messages,
        .n_messages = 2,
        .thinking = thinking,
        .max_new_tokens = (size_t)j->request.max_new_tokens,
        .has_temperature = j->request.has_temperature,
        .temperature = j->request.temperature,
        .seed = j->seed,
        .is_cancelled = is_cancelled,
        .user = j,
    };
    cp_backend *backend = j->triage->backend;
    return backend->generate(backend, &asked, reply, err);
}

/* The mean of recent generations, the last one counting a quarter. */
static void note_duration(cp_triage *triage, double ms) {
    int mean = atomic_load(&triage->mean_ms);
    int now = ms < 3.6e6 ? (int)ms : 3600000;
    atomic_store(&triage->mean_ms, mean ? (3 * mean + now) / 4 : now);
}

static void note_generation(job *j, const cp_backend_reply *reply, double queue_ms) {
    cp_triage *triage = j->triage;
    note_duration(triage, reply->prompt_ms + reply->generate_ms);
    cp_metrics_queue_wait(triage->metrics, queue_ms / 1e3);
    cp_metrics_generation(triage->metrics, reply->prompt_tokens, reply->completion_tokens,
                          reply->prompt_ms / 1e3, reply->generate_ms / 1e3);
    j->http->prompt_tokens = (int64_t)reply->prompt_tokens;
    j->http->completion_tokens = (int64_t)reply->completion_tokens;
}

static void answer(job *j, const cp_backend_reply *reply, double queue_ms) {
    cp_triage_verdict verdict;
    cp_http_reply *out = &j->http->reply;
    const cp_triage_outcome outcome = {
        .trace_id = j->http->trace_id,
        .mrn = j->request.mrn,
        .session_id = j->request.session_id,
        .llm_mode = j->triage->backend->llm_mode,
        .model = j->triage->backend->model,
        .finding = &j->finding,
        .reply = reply,
        .seed = j->seed,
        .queue_ms = queue_ms,
        .total_ms = cp_clock_ms_since(j->http->received_ns),
    };
    cp_triage_reply_append(&outcome, &out->body, &verdict);
    if (out->body.failed != CP_OK) {
        cp_http_fail(j->http, &no_memory);
        return;
    }
    out->status = 200;
    size_t n_flags = cp_safety_n_flags(&j->finding);
    cp_metrics_triage(j->triage->metrics, verdict.acuity, verdict.source, n_flags);
    cp_log(CP_LOG_INFO, "triage answered", CP_LOG_S("trace_id", j->http->trace_id),
           CP_LOG_S("session_id", j->request.session_id), CP_LOG_I("acuity", verdict.acuity),
           CP_LOG_S("source", cp_acuity_source_name(verdict.source)),
           CP_LOG_I("red_flags", n_flags), CP_LOG_S("finish_reason", cp_finish_name(reply->finish)),
           CP_LOG_N("queue_ms", queue_ms), CP_LOG_N("prompt_ms", reply->prompt_ms),
           CP_LOG_N("generate_ms", reply->generate_ms));
}

/* What a failed generation means to the client. */
static void answer_failure(job *j, cp_status status, const cp_error *err) {
    static const cp_api_error too_long = {
        422, "too_long", "query and record are too long for the model's context", "query", 0};
    static const cp_api_error broken = {500, "internal", "the model could not answer", NULL, 0};
    const cp_api_error *error = &broken;
    if (status == CP_ERR_LIMIT)
        error = &too_long;
    else if (status == CP_ERR_NO_MEMORY)
        error = &no_memory;
    cp_log(CP_LOG_ERROR, "generation failed", CP_LOG_S("trace_id", j->http->trace_id),
           CP_LOG_S("reason", err->message));
    cp_http_fail(j->http, error);
}

static void run(void *user, cp_work *work) {
    job *j = (job *)work;
    cp_error err;
    cp_backend_reply reply;
    (void)user;
    const cp_api_error *why = stop_reason(j);
    if (why) {
        finish_with(j, why);
        return;
    }
    double queue_ms = cp_clock_ms_since(j->queued_ns);
    cp_backend_reply_init(&reply);
    cp_status status = generate(j, &reply, &err);
    if (status == CP_OK)
        note_generation(j, &reply, queue_ms);
    if (status != CP_OK && status != CP_ERR_CANCELLED) {
        answer_failure(j, status, &err);
    } else if (status == CP_ERR_CANCELLED || reply.finish == CP_FINISH_CANCELLED) {
        why = stop_reason(j);
        cp_http_fail(j->http, why ? why : &left);
    } else {
        answer(j, &reply, queue_ms);
    }
    cp_backend_reply_deinit(&reply);
    finish(j);
}

/* ---- the HTTP thread ------------------------------------------------------------------------- */

/* False with an answer where there is no such patient, or no store to ask. */
static bool find_record(job *j, cp_patient_record **out) {
    static const cp_api_error unknown = {404, "patient_not_found", "there is no such patient",
                                         "patient_mrn", 0};
    static const cp_api_error down = {503, "dependency", "the patient store does not answer", NULL,
                                      5};
    cp_error err;
    cp_patient_store *store = j->triage->store;
    cp_status status = store->get(store, j->request.mrn, out, &err);
    if (status == CP_OK)
        return true;
    const cp_api_error *error = &down;
    if (status == CP_ERR_NOT_FOUND)
        error = &unknown;
    else if (status == CP_ERR_NO_MEMORY)
        error = &no_memory;
    cp_http_fail(j->http, error);
    return false;
}

/* Rules and prompt. */
static bool prepare(job *j) {
    char stamp[CP_CLOCK_STAMP_CAP];
    cp_patient_record *record;
    if (!find_record(j, &record))
        return false;
    cp_clock_stamp(stamp);
    stamp[10] = '\0'; /* the date */
    cp_status status = cp_triage_prepare(j->triage->safety, record, j->request.query, stamp,
                                         &j->finding, &j->prompt);
    cp_patient_record_free(record);
    if (status != CP_OK)
        cp_http_fail(j->http, &no_memory);
    return status == CP_OK;
}

static bool parse(job *j) {
    cp_body_fault fault;
    if (cp_triage_request_parse(cp_strbuf_str(&j->http->body), j->triage->settings->max_new_tokens,
                                &j->request, &fault))
        return true;
    cp_http_fail(j->http, &fault.error);
    return false;
}

static int retry_after_s(const cp_triage *triage) {
    double waiting_ms =
        (double)atomic_load(&triage->mean_ms) * (double)(cp_work_queue_n_queued(triage->queue) + 1);
    int seconds = (int)(waiting_ms / 1e3) + 1;
    return seconds < MAX_RETRY_S ? seconds : MAX_RETRY_S;
}

/* Counted before the last look at `draining`: either this sees the drain, or the drain sees the
 * job. Suspended before the push: the worker may finish the job before push returns. */
static void enqueue(job *j) {
    cp_triage *triage = j->triage;
    atomic_fetch_add(&triage->n_unfinished, 1);
    if (cp_triage_is_draining(triage)) {
        cp_http_fail(j->http, &draining);
        atomic_fetch_sub(&triage->n_unfinished, 1);
        free_job(j);
        return;
    }
    j->queued_ns = cp_clock_ns();
    cp_http_defer(j->http);
    if (cp_work_queue_push(triage->queue, &j->work) == CP_OK)
        return;
    const cp_api_error full = {503, "queue_full", "all places are taken; try again later", NULL,
                               retry_after_s(triage)};
    finish_with(j, &full);
}

/* False with an answer when no work is accepted at all. */
static bool is_open(const cp_triage *triage, cp_http_request *request) {
    static const cp_api_error loading = {503, "loading", "the model is being loaded", NULL,
                                         LOADING_RETRY_S};
    if (cp_triage_is_draining(triage))
        cp_http_fail(request, &draining);
    else if (cp_triage_get_state(triage) != CP_TRIAGE_READY)
        cp_http_fail(request, &loading);
    return request->reply.status == 0;
}

void cp_triage_handle(cp_triage *triage, cp_http_request *request) {
    if (!is_open(triage, request))
        return;
    job *j = calloc(1, sizeof *j);
    if (!j) {
        cp_http_fail(request, &no_memory);
        return;
    }
    j->triage = triage;
    j->http = request;
    j->deadline_ns =
        request->received_ns + (uint64_t)triage->settings->request_timeout_s * 1000000000u;
    cp_strbuf_init(&j->prompt, MAX_PROMPT_BYTES);
    if (!parse(j) || !prepare(j)) {
        free_job(j);
        return;
    }
    j->seed = j->request.has_seed ? (uint64_t)j->request.seed : cp_http_random_seed();
    enqueue(j);
}

/* ---- the service
 * --------------------------------------------------------------------------------- */

static cp_status open_parts(cp_triage *triage, cp_error *err) {
    const char *dir = triage->settings->data_dir;
    char patients[CP_PATH_CAP], rules[CP_PATH_CAP];
    cp_status status = cp_path_join(dir, "synthetic", patients, sizeof patients, err);
    if (status == CP_OK)
        status = cp_path_join(dir, "triage/rules.json", rules, sizeof rules, err);
    if (status == CP_OK)
        status = cp_patient_store_open_jsonl(patients, &triage->store, err);
    if (status == CP_OK)
        status = cp_safety_open(rules, &triage->safety, err);
    if (status == CP_OK)
        status = cp_backend_create(triage->settings, &triage->backend, err);
    const cp_work_queue_config config = {
        .max_queued = (size_t)triage->settings->queue_max,
        .user = triage,
        .start = load_model,
        .run = run,
        .drop = drop,
    };
    return status == CP_OK ? cp_work_queue_create(&config, &triage->queue, err) : status;
}

cp_status cp_triage_create(const cp_settings *settings, cp_metrics *metrics, cp_triage **out,
                           cp_error *err) {
    *out = NULL;
    cp_triage *triage = calloc(1, sizeof *triage);
    if (!triage)
        return cp_error_no_memory(err, "the triage service");
    triage->settings = settings;
    triage->metrics = metrics;
    cp_status status = open_parts(triage, err);
    if (status == CP_OK)
        *out = triage;
    else
        cp_triage_free(triage);
    return status;
}

cp_status cp_triage_start(cp_triage *triage, cp_error *err) {
    return cp_work_queue_start(triage->queue, err);
}

void cp_triage_free(cp_triage *triage) {
    if (!triage)
        return;
    cp_work_queue_free(triage->queue);
    if (triage->backend)
        triage->backend->close(triage->backend);
    if (triage->safety)
        cp_safety_close(triage->safety);
    if (triage->store)
        triage->store->close(triage->store);
    free(triage);
}

cp_triage_state cp_triage_get_state(const cp_triage *triage) {
    return (cp_triage_state)atomic_load(&triage->state);
}

const cp_backend *cp_triage_backend(const cp_triage *triage) {
    return triage->backend;
}

size_t cp_triage_n_patients(const cp_triage *triage) {
    return triage->store->count(triage->store);
}

size_t cp_triage_n_rules(const cp_triage *triage) {
    return cp_safety_n_rules(triage->safety);
}

size_t cp_triage_n_queued(const cp_triage *triage) {
    return cp_work_queue_n_queued(triage->queue);
}

size_t cp_triage_n_running(const cp_triage *triage) {
    return cp_work_queue_n_running(triage->queue);
}

size_t cp_triage_n_unfinished(const cp_triage *triage) {
    return atomic_load(&triage->n_unfinished);
}

void cp_triage_drain(cp_triage *triage) {
    atomic_store(&triage->draining, true);
}

bool cp_triage_is_draining(const cp_triage *triage) {
    return atomic_load(&triage->draining);
}
