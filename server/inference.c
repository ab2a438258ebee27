#include "server/inference.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/sysinfo.h"
#include "server/inference_mock.h"
#include "server/model_path.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_ERRANDS 256
#define MAX_RETRY_S 600
#define POOL_SHARE  2 /* of the memory that is left beside the weights: one half */
#define STUCK_NS    ((uint64_t)60 * 1000000000u)

typedef struct job {
    cp_inference *inference;
    cp_llm_request request; /* as it was submitted */
    cp_inference_done *on_done;
    cp_generation *generation; /* from the desk on */
    struct job *next;
} job;

typedef struct errand {
    bool (*piece)(void *user);
    void *user;
    struct errand *next;
} errand;

struct cp_inference {
    const cp_settings *settings;
    char llm_mode[128], model[128]; /* never a path */
    bool is_mock;
    char *dir;
    cp_model_pull *pull; /* NULL: the model is at `dir` */
    void (*tell_fetched)(void *user, const char *dir);
    void *fetched_user;
    const cp_schema *mock_schema;
    const char *mock_answer;
    cp_inference_observer *observe;
    void *observer;

    cp_llm *llm; /* set before READY; then the engine thread's, but for what is constant in it */
    cp_scheduler *scheduler; /* the engine thread's */
    size_t max_running;

    pthread_t desk, engine;
    bool started;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t for_desk, for_engine;
    job *submitted, **last_submitted, *encoded, **last_encoded;
    errand *errands, **last_errand;
    size_t n_errands;
    bool stopping;
    cp_scheduler_stats stats;

    atomic_int state; /* cp_inference_state */
    atomic_size_t n_unfinished, n_running, n_rejected;
    atomic_uint_least64_t last_step_ns;
};

/* ---- a job's callbacks ----------------------------------------------------------------------- */

static void on_text(void *user, cp_text_part part, const char *text, size_t n) {
    const job *j = user;
    j->request.on_text(j->request.user, part, text, n);
}

static void on_token(void *user, const cp_token_logprobs *token) {
    const job *j = user;
    j->request.on_token(j->request.user, token);
}

static bool is_cancelled(void *user) {
    const job *j = user;
    return j->request.is_cancelled(j->request.user);
}

/* The request as the scheduler gets it: its user is the job. */
static cp_llm_request inner_request(job *j) {
    cp_llm_request r = j->request;
    r.user = j;
    r.on_text = r.on_text ? on_text : NULL;
    r.on_token = r.on_token ? on_token : NULL;
    r.is_cancelled = r.is_cancelled ? is_cancelled : NULL;
    return r;
}

/* Tells its owner, who may be gone afterwards. */
static void finish(job *j, cp_status status, const cp_llm_result *result, const cp_error *err) {
    cp_inference *f = j->inference;
    cp_llm_result none;
    cp_llm_result_init(&none);
    if (status == CP_OK && f->observe)
        f->observe(f->observer, result);
    j->on_done(j->request.user, status, result ? result : &none, err);
    cp_llm_result_deinit(&none);
    cp_generation_free(j->generation);
    free(j);
    atomic_fetch_sub(&f->n_unfinished, 1);
}

static void finish_generation(cp_generation *g) {
    cp_error err = {0};
    cp_status status = cp_generation_status(g, &err);
    if (status != CP_OK)
        cp_log(CP_LOG_ERROR, "generation failed", CP_LOG_S("reason", err.message));
    finish(cp_generation_user(g), status, cp_generation_result(g), &err);
}

/* ---- the desk -------------------------------------------------------------------------------- */

static void answer_mock(job *j) {
    cp_llm_result result;
    cp_error err = {0};
    cp_inference *f = j->inference;
    const char *known =
        j->request.schema && j->request.schema == f->mock_schema ? f->mock_answer : NULL;
    cp_llm_result_init(&result);
    cp_status status = cp_mock_generate(&j->request, known, &result, &err);
    finish(j, status, &result, &err);
    cp_llm_result_deinit(&result);
}

static void encode(job *j) {
    cp_inference *f = j->inference;
    cp_error err = {0};
    cp_llm_request inner = inner_request(j);
    cp_status status = cp_generation_create(f->llm, &inner, &j->generation, &err);
    if (status != CP_OK) {
        finish(j, status, NULL, &err);
        return;
    }
    pthread_mutex_lock(&f->lock);
    j->next = NULL;
    *f->last_encoded = j;
    f->last_encoded = &j->next;
    pthread_cond_signal(&f->for_engine);
    pthread_mutex_unlock(&f->lock);
}

static void *desk_main(void *arg) {
    cp_inference *f = arg;
    for (;;) {
        pthread_mutex_lock(&f->lock);
        while (!f->submitted && !f->stopping)
            pthread_cond_wait(&f->for_desk, &f->lock);
        job *j = f->submitted;
        if (j) {
            f->submitted = j->next;
            if (!f->submitted)
                f->last_submitted = &f->submitted;
        }
        pthread_mutex_unlock(&f->lock);
        if (!j)
            return NULL;
        if (f->is_mock)
            answer_mock(j);
        else
            encode(j);
    }
}

/* ---- the engine ------------------------------------------------------------------------------ */

/* Tokens of keys and values for all sequences together: as many contexts as may run, or what half
 * of the memory beside the weights holds. */
static size_t pool_tokens(const cp_inference *f) {
    const cp_engine *engine = cp_llm_engine(f->llm);
    size_t context = cp_llm_context(f->llm), wanted = context * f->max_running;
    if (f->settings->kv_cache_mib > 0)
        return ((size_t)f->settings->kv_cache_mib << 20) / cp_engine_kv_bytes(engine);
    size_t available = cp_sysinfo_memory_available(), weights = cp_engine_weight_bytes(engine);
    size_t left = available > weights ? available - weights : 0;
    size_t most = left / POOL_SHARE / cp_engine_kv_bytes(engine);
    return wanted < most ? wanted : most;
}

/* Fetches the model where it is not here yet. */
static cp_status fetch(cp_inference *f, cp_error *err) {
    char dir[CP_PATH_CAP];
    if (!f->pull)
        return CP_OK;
    cp_status status = cp_model_pull_run(f->pull, dir, err);
    if (status != CP_OK)
        return status;
    f->dir = cp_copy_bytes(dir, strlen(dir));
    if (!f->dir)
        return cp_error_no_memory(err, "the model");
    if (f->tell_fetched)
        f->tell_fetched(f->fetched_user, f->dir);
    return CP_OK;
}

static cp_status load(cp_inference *f, cp_error *err) {
    const cp_settings *s = f->settings;
    const cp_llm_options options = {.n_threads = (size_t)s->threads,
                                    .context_cap = (size_t)s->context_tokens,
                                    .kv = (cp_kv)s->kv_cache};
    if (f->is_mock)
        return CP_OK;
    cp_status status = fetch(f, err);
    if (status == CP_OK)
        status = cp_llm_open(f->dir, &options, &f->llm, err);
    if (status == CP_OK)
        status = cp_llm_prepare_structured(f->llm, err);
    if (status != CP_OK)
        return status;
    const cp_scheduler_options plan = {
        .max_running = f->max_running,
        .kv_tokens = pool_tokens(f),
        .no_speculation = !s->speculation,
        .kv_ttl_s = (uint64_t)s->kv_cache_ttl_s,
    };
    return cp_scheduler_create(f->llm, &plan, &f->scheduler, err);
}

static bool start_engine(cp_inference *f) {
    cp_error err;
    uint64_t start = cp_clock_ns();
    if (load(f, &err) != CP_OK) {
        cp_log(CP_LOG_ERROR, "the model cannot be loaded", CP_LOG_S("reason", err.message));
        atomic_store(&f->state, CP_INFERENCE_FAILED);
        return false;
    }
    cp_log(CP_LOG_INFO, "model loaded", CP_LOG_S("model", f->model),
           CP_LOG_N("ms", cp_clock_ms_since(start)));
    atomic_store(&f->state, CP_INFERENCE_READY);
    return true;
}

/* The first errand's next piece; true while there is more. Errands take turns. */
static bool run_errand(cp_inference *f) {
    pthread_mutex_lock(&f->lock);
    errand *e = f->errands;
    if (e) {
        f->errands = e->next;
        if (!f->errands)
            f->last_errand = &f->errands;
    }
    pthread_mutex_unlock(&f->lock);
    if (!e)
        return false;
    bool more = e->piece(e->user);
    pthread_mutex_lock(&f->lock);
    if (more) {
        e->next = NULL;
        *f->last_errand = e;
        f->last_errand = &e->next;
    } else {
        f->n_errands--;
    }
    pthread_mutex_unlock(&f->lock);
    if (!more)
        free(e);
    return true;
}

static void take_encoded(cp_inference *f) {
    while (f->encoded) {
        job *j = f->encoded;
        f->encoded = j->next;
        cp_scheduler_add(f->scheduler, j->generation);
    }
    f->last_encoded = &f->encoded;
}

/* Where something will expire, no longer than a second. */
static void rest(cp_inference *f, bool expires) {
    struct timespec until;
    if (!expires) {
        pthread_cond_wait(&f->for_engine, &f->lock);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    pthread_cond_timedwait(&f->for_engine, &f->lock, &until);
}

/* Waits until there is something to do; false when the service ends. */
static bool wait_for_work(cp_inference *f, bool idle) {
    bool expires = f->scheduler && cp_scheduler_expire(f->scheduler);
    pthread_mutex_lock(&f->lock);
    if (f->scheduler) {
        f->stats = cp_scheduler_get_stats(f->scheduler);
        atomic_store(&f->n_running, f->stats.n_running);
    }
    while (idle && !f->encoded && !f->errands && !f->stopping) {
        rest(f, expires);
        if (expires)
            break; /* to look again what is too old */
    }
    bool goes_on = !f->stopping;
    if (f->scheduler)
        take_encoded(f);
    pthread_mutex_unlock(&f->lock);
    atomic_store(&f->last_step_ns, cp_clock_ns());
    return goes_on;
}

static void *engine_main(void *arg) {
    cp_inference *f = arg;
    if (!start_engine(f))
        return NULL;
    bool idle = true;
    while (wait_for_work(f, idle)) {
        idle = !f->scheduler || !cp_scheduler_step(f->scheduler);
        for (cp_generation *g; f->scheduler && (g = cp_scheduler_take_done(f->scheduler));)
            finish_generation(g);
        if (run_errand(f))
            idle = false;
    }
    return NULL;
}

/* ---- submitting ------------------------------------------------------------------------------ */

static size_t capacity(const cp_inference *f) {
    return (size_t)f->settings->queue_max + f->max_running;
}

/* A place, counted before it is taken: the limit holds whatever the threads do. */
static bool take_place(cp_inference *f) {
    if (atomic_fetch_add(&f->n_unfinished, 1) < capacity(f))
        return true;
    atomic_fetch_sub(&f->n_unfinished, 1);
    atomic_fetch_add(&f->n_rejected, 1);
    return false;
}

cp_status cp_inference_submit(cp_inference *f, const cp_llm_request *request,
                              cp_inference_done *on_done, cp_error *err) {
    if (!take_place(f))
        return cp_error_set(err, CP_ERR_BUSY, "all %zu places are taken", capacity(f));
    job *j = calloc(1, sizeof *j);
    if (!j) {
        atomic_fetch_sub(&f->n_unfinished, 1);
        return cp_error_no_memory(err, "request");
    }
    j->inference = f;
    j->request = *request;
    j->on_done = on_done;
    pthread_mutex_lock(&f->lock);
    *f->last_submitted = j;
    f->last_submitted = &j->next;
    pthread_cond_signal(&f->for_desk);
    pthread_mutex_unlock(&f->lock);
    return CP_OK;
}

/* False when there are too many. */
static bool add_errand(cp_inference *f, errand *e) {
    pthread_mutex_lock(&f->lock);
    bool full = f->n_errands >= MAX_ERRANDS;
    if (!full) {
        f->n_errands++;
        *f->last_errand = e;
        f->last_errand = &e->next;
        pthread_cond_signal(&f->for_engine);
    }
    pthread_mutex_unlock(&f->lock);
    return !full;
}

cp_status cp_inference_errand(cp_inference *f, bool (*piece)(void *user), void *user,
                              cp_error *err) {
    errand *e = calloc(1, sizeof *e);
    if (!e)
        return cp_error_no_memory(err, "request");
    *e = (errand){.piece = piece, .user = user};
    if (add_errand(f, e))
        return CP_OK;
    free(e);
    return cp_error_set(err, CP_ERR_BUSY, "all %d places are taken", MAX_ERRANDS);
}

int cp_inference_retry_after_s(const cp_inference *f) {
    cp_scheduler_stats stats = cp_inference_stats(f);
    size_t n = stats.n_running + stats.n_waiting;
    double each = n > 0 ? stats.backlog_ms / (double)n : 0; /* between one end and the next */
    double seconds = each * (double)(stats.n_waiting / 2 + 1) / 1e3 + 1;
    return seconds < MAX_RETRY_S ? (int)seconds : MAX_RETRY_S;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void name_parts(cp_inference *f, const char *mode) {
    cp_str word = cp_path_last(mode), name = cp_model_path_name(mode);
    snprintf(f->llm_mode, sizeof f->llm_mode, "%.*s", (int)word.n, word.data);
    snprintf(f->model, sizeof f->model, "%.*s", (int)name.n, name.data);
}

/* Where the model is, or that it is to be fetched. */
static cp_status find_model(cp_inference *f, const cp_settings *settings, cp_error *err) {
    char dir[CP_PATH_CAP];
    const char *repo = cp_model_path_repo(settings->llm_mode);
    cp_status status = cp_model_path_find("LLM_MODE", settings->llm_mode, settings->model_cache_dir,
                                          ", or LLM_MODE=mock", dir, err);
    if (status == CP_OK) {
        f->dir = cp_copy_bytes(dir, strlen(dir));
        return f->dir ? CP_OK : cp_error_no_memory(err, "the model");
    }
    if (status != CP_ERR_NOT_FOUND || !repo)
        return status;
    cp_error why;
    cp_status fetched = cp_model_pull_create(repo, &f->pull, &why);
    if (fetched == CP_ERR_NOT_FOUND)
        return status; /* offline: the sentence about the folder says what to do */
    if (fetched != CP_OK && err)
        *err = why;
    return fetched;
}

cp_status cp_inference_create(const cp_settings *settings, cp_inference **out, cp_error *err) {
    *out = NULL;
    bool is_mock = strcmp(settings->llm_mode, "mock") == 0;
    cp_inference *f = calloc(1, sizeof *f);
    if (!f)
        return cp_error_no_memory(err, "the model");
    cp_status status = is_mock ? CP_OK : find_model(f, settings, err);
    if (status != CP_OK) {
        free(f);
        return status;
    }
    f->settings = settings;
    f->is_mock = is_mock;
    f->max_running = (size_t)settings->max_running;
    f->last_submitted = &f->submitted;
    f->last_encoded = &f->encoded;
    f->last_errand = &f->errands;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->for_desk, NULL);
    pthread_cond_init(&f->for_engine, NULL);
    name_parts(f, settings->llm_mode);
    *out = f;
    return CP_OK;
}

static void stop(cp_inference *f) {
    if (f->pull)
        cp_model_pull_stop(f->pull);
    pthread_mutex_lock(&f->lock);
    f->stopping = true;
    pthread_cond_broadcast(&f->for_desk);
    pthread_cond_broadcast(&f->for_engine);
    pthread_mutex_unlock(&f->lock);
}

cp_status cp_inference_start(cp_inference *f, cp_error *err) {
    if (pthread_create(&f->engine, NULL, engine_main, f) != 0)
        return cp_error_set(err, CP_ERR_IO, "the engine's thread cannot be started");
    if (pthread_create(&f->desk, NULL, desk_main, f) != 0) {
        stop(f);
        pthread_join(f->engine, NULL);
        return cp_error_set(err, CP_ERR_IO, "the desk's thread cannot be started");
    }
    f->started = true;
    return CP_OK;
}

void cp_inference_free(cp_inference *f) {
    if (!f)
        return;
    if (f->started) {
        stop(f);
        pthread_join(f->desk, NULL);
        pthread_join(f->engine, NULL);
    }
    cp_scheduler_free(f->scheduler);
    cp_llm_close(f->llm);
    pthread_cond_destroy(&f->for_desk);
    pthread_cond_destroy(&f->for_engine);
    pthread_mutex_destroy(&f->lock);
    cp_model_pull_free(f->pull);
    free(f->dir);
    free(f);
}

void cp_inference_observe(cp_inference *f, cp_inference_observer *observe, void *user) {
    f->observe = observe;
    f->observer = user;
}

void cp_inference_mock_answer(cp_inference *f, const cp_schema *schema, const char *answer) {
    f->mock_schema = schema;
    f->mock_answer = answer;
}

/* ---- looking --------------------------------------------------------------------------------- */

cp_inference_state cp_inference_get_state(const cp_inference *f) {
    return (cp_inference_state)atomic_load(&f->state);
}

const char *cp_inference_llm_mode(const cp_inference *f) {
    return f->llm_mode;
}

const char *cp_inference_model(const cp_inference *f) {
    return f->model;
}

bool cp_inference_is_mock(const cp_inference *f) {
    return f->is_mock;
}

const char *cp_inference_dir(const cp_inference *f) {
    return f->dir;
}

void cp_inference_when_fetched(cp_inference *f, void (*tell)(void *user, const char *dir),
                               void *user) {
    f->tell_fetched = tell;
    f->fetched_user = user;
}

bool cp_inference_is_here(const cp_inference *f) {
    return !f->pull;
}

bool cp_inference_is_fetching(const cp_inference *f, cp_model_pull_progress *progress) {
    return f->pull && cp_model_pull_is_running(f->pull, progress);
}

const cp_llm *cp_inference_llm(const cp_inference *f) {
    return f->llm;
}

cp_sampling cp_inference_default_sampling(const cp_inference *f, cp_thinking thinking) {
    return f->llm ? cp_llm_default_sampling(f->llm, thinking) : (cp_sampling){0};
}

size_t cp_inference_n_running(const cp_inference *f) {
    return atomic_load(&f->n_running);
}

size_t cp_inference_n_unfinished(const cp_inference *f) {
    return atomic_load(&f->n_unfinished);
}

size_t cp_inference_n_rejected(const cp_inference *f) {
    return atomic_load(&f->n_rejected);
}

size_t cp_inference_n_queued(const cp_inference *f) {
    size_t all = cp_inference_n_unfinished(f), running = cp_inference_n_running(f);
    return all > running ? all - running : 0;
}

bool cp_inference_is_stuck(const cp_inference *f) {
    uint64_t last = atomic_load(&f->last_step_ns);
    return cp_inference_get_state(f) == CP_INFERENCE_READY && cp_inference_n_running(f) > 0 &&
           last > 0 && cp_clock_ns() > last + STUCK_NS;
}

cp_scheduler_stats cp_inference_stats(const cp_inference *constant) {
    cp_inference *f = (cp_inference *)(uintptr_t)constant; /* for its lock */
    pthread_mutex_lock(&f->lock);
    cp_scheduler_stats stats = f->stats;
    pthread_mutex_unlock(&f->lock);
    return stats;
}
