/* The loop: begin what is due, wait until the next thing is, note what has ended. */
#include "bench/load.h"

#include "base/clock.h"
#include "base/http_multi.h"
#include "base/mem.h"
#include "bench/arrivals.h"
#include "bench/load_check.h"
#include "bench/random.h"
#include "bench/slow_clients.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define NEVER          UINT64_MAX
#define SECOND         1e9
#define TICK_NS        200000000u
#define TICKS_BEFORE   5 /* of watching before the load */
#define PROGRESS_TICKS 5
#define RETRY_MAX_S    10.0
#define FAILED_PAUSE_S 0.1
#define SPARE_FILES    64
#define ARRIVALS_SEED  0x6c6f6164u /* so that schedule and chances draw apart */

/* One client of a closed loop, or a place for a request of an open one. */
typedef struct slot {
    struct run *run;
    cp_load_answer answer;
    cp_http_flight *flight; /* NULL: idle */
    size_t request;
    uint64_t due_ns, sent_ns, first_ns; /* first_ns 0: nothing yet */
    uint64_t content_ns, pause_ns;      /* the last event with content; the longest wait for one */
    uint64_t leave_ns;                  /* NEVER: stays */
    uint64_t ready_ns;                  /* idle clients: when they ask again */
    bool leaves, has_left;
} slot;

typedef struct run {
    const cp_load_plan *plan;
    cp_load_result *out;
    cp_http_multi *multi;
    slot *slots;        /* [n_slots] */
    size_t *free_slots; /* [n_free], open loop */
    size_t n_slots, n_free;
    cp_arrivals arrivals;
    uint64_t random, start_ns, measure_ns, end_ns, last_done_ns, next_due_ns, next_tick_ns;
    size_t n_started, n_ticks, counts[CP_LOAD_N_OUTCOMES];
    bool waiting; /* the next arrival found no place */
    cp_load_check check;
    cp_slow_clients slow;
    cp_status status; /* of what happens in callbacks */
    cp_error *err;
} run;

static uint64_t after(uint64_t ns, double seconds) {
    return ns + (uint64_t)(seconds * SECOND);
}

static double between(uint64_t from, uint64_t to) {
    return ((double)to - (double)from) / SECOND;
}

/* ---- what has ended -------------------------------------------------------------------------- */

static void count_code(cp_load_codes *codes, int status, const char *code) {
    size_t i = 0;
    while (i < codes->n && (codes->rows[i].status != status || strcmp(codes->rows[i].code, code)))
        i++;
    if (i == CP_LOAD_MAX_CODES)
        i--;
    cp_load_code *row = &codes->rows[i];
    if (i == codes->n) {
        bool last = i == CP_LOAD_MAX_CODES - 1;
        row->status = last ? 0 : status;
        snprintf(row->code, sizeof row->code, "%s", last ? "others" : code);
        codes->n++;
    }
    row->n++;
}

static void keep_sample(run *r, const cp_load_sample *sample) {
    cp_load_result *out = r->out;
    if (out->n == CP_LOAD_MAX_SAMPLES) {
        out->full = true;
        return;
    }
    if (!cp_grow((void **)&out->samples, &out->cap, out->n + 1, sizeof *out->samples))
        r->status = cp_error_no_memory(r->err, "samples");
    else
        out->samples[out->n++] = *sample;
}

/* Notes the end of the slot's request; `http` is NULL when the client left by itself. */
static void record(run *r, slot *s, cp_load_outcome outcome, const cp_http_answer *http) {
    uint64_t now = cp_clock_ns();
    if (outcome == CP_LOAD_ANSWERED && !s->first_ns && s->answer.n_content > 0)
        s->first_ns = now; /* a whole answer is its own first content */
    cp_str value;
    cp_load_sample sample = {.at_s = between(r->measure_ns, s->due_ns),
                             .late_s = (float)between(s->due_ns, s->sent_ns),
                             .first_s = s->first_ns ? (float)between(s->due_ns, s->first_ns) : -1,
                             .pause_s = s->pause_ns ? (float)between(0, s->pause_ns) : -1,
                             .total_s = (float)between(s->due_ns, now),
                             .tokens = (uint32_t)s->answer.completion_tokens,
                             .outcome = (uint8_t)outcome,
                             .retry_after = outcome == CP_LOAD_REFUSED && http &&
                                            cp_http_answer_field(http, "Retry-After", &value)};
    r->last_done_ns = now;
    r->counts[outcome]++;
    keep_sample(r, &sample);
    if (sample.at_s < 0)
        return;
    if (outcome == CP_LOAD_REFUSED || outcome == CP_LOAD_FAILED)
        count_code(&r->out->errors, http ? http->status : 0, s->answer.code);
    if (outcome == CP_LOAD_ANSWERED && s->answer.degraded[0])
        count_code(&r->out->degraded, 200, s->answer.degraded);
    if (outcome == CP_LOAD_ANSWERED) {
        r->out->prompt_tokens += s->answer.prompt_tokens;
        r->out->completion_tokens += s->answer.completion_tokens;
    }
}

/* How long a client of a closed loop rests before it asks again. */
static double rest_s(const run *r, cp_load_outcome outcome, const cp_http_answer *http) {
    cp_str value;
    char digits[16];
    if (outcome == CP_LOAD_FAILED)
        return r->plan->think_s > FAILED_PAUSE_S ? r->plan->think_s : FAILED_PAUSE_S;
    if (outcome != CP_LOAD_REFUSED)
        return r->plan->think_s;
    if (!cp_http_answer_field(http, "Retry-After", &value))
        return FAILED_PAUSE_S;
    snprintf(digits, sizeof digits, "%.*s", (int)(value.n < 15 ? value.n : 15), value.data);
    double seconds = strtod(digits, NULL); /* a date, too, becomes 0 or a year: then the most */
    return seconds >= 0 && seconds < RETRY_MAX_S ? seconds : RETRY_MAX_S;
}

static void end_request(slot *s, cp_load_outcome outcome, const cp_http_answer *http) {
    run *r = s->run;
    record(r, s, outcome, http);
    if (outcome == CP_LOAD_ANSWERED && r->status == CP_OK)
        r->status = cp_load_check_answer(&r->check, s->request, &s->answer, r->out, r->err);
    s->flight = NULL;
    if (r->plan->open)
        r->free_slots[r->n_free++] = (size_t)(s - r->slots);
    else
        s->ready_ns = after(r->last_done_ns, rest_s(r, outcome, http));
}

static void on_done(void *user, const cp_http_answer *http) {
    slot *s = user;
    bool answered = cp_load_answer_end(&s->answer, http->end, http->status);
    end_request(s,
                s->has_left           ? CP_LOAD_LEFT
                : answered            ? CP_LOAD_ANSWERED
                : http->status == 503 ? CP_LOAD_REFUSED
                                      : CP_LOAD_FAILED,
                http);
}

static bool on_body(void *user, int status, cp_str bytes) {
    slot *s = user;
    size_t n_before = s->answer.n_content;
    bool more = cp_load_answer_feed(&s->answer, status, bytes);
    if (s->answer.n_content > n_before) {
        uint64_t now = cp_clock_ns();
        if (s->first_ns && now - s->content_ns > s->pause_ns)
            s->pause_ns = now - s->content_ns;
        s->content_ns = now;
    }
    if (!s->first_ns && s->answer.n_content > 0) {
        s->first_ns = s->content_ns;
        s->has_left = s->leaves;
    }
    return more && !s->has_left;
}

/* ---- what begins ----------------------------------------------------------------------------- */

static cp_status start(run *r, slot *s, uint64_t due_ns) {
    const cp_load_plan *plan = r->plan;
    s->request = r->n_started++ % plan->requests->n;
    s->due_ns = due_ns;
    s->sent_ns = cp_clock_ns();
    s->first_ns = s->content_ns = s->pause_ns = 0;
    s->has_left = false;
    s->leaves = cp_random_unit(&r->random) < plan->vanish_share;
    s->leave_ns = NEVER;
    if (s->leaves && !plan->stream)
        s->leave_ns = after(s->sent_ns, cp_random_unit(&r->random) * plan->vanish_within_s);
    cp_load_answer_begin(&s->answer);
    cp_http_call call = cp_load_call(plan, s->request);
    call.on_body = on_body;
    call.user = s;
    cp_status status = cp_http_multi_start(r->multi, &call, on_done, s, &s->flight, r->err);
    size_t n = cp_http_multi_n_flights(r->multi);
    r->out->max_in_flight = n > r->out->max_in_flight ? n : r->out->max_in_flight;
    return status;
}

static bool may_start(const run *r, uint64_t due_ns) {
    return due_ns < r->end_ns && !r->out->full &&
           (r->plan->max_requests == 0 || r->n_started < r->plan->max_requests);
}

static cp_status start_arrivals(run *r, uint64_t now) {
    cp_status status = CP_OK;
    while (status == CP_OK && r->next_due_ns <= now && may_start(r, r->next_due_ns)) {
        if (r->n_free == 0) {
            r->waiting = true;
            break;
        }
        r->out->n_waited += r->waiting;
        r->waiting = false;
        status = start(r, &r->slots[r->free_slots[--r->n_free]], r->next_due_ns);
        r->next_due_ns = after(r->start_ns, cp_arrivals_next(&r->arrivals));
    }
    return status;
}

static cp_status start_clients(run *r, uint64_t now) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < r->n_slots && status == CP_OK; i++) {
        slot *s = &r->slots[i];
        if (!s->flight && s->ready_ns <= now && may_start(r, s->ready_ns))
            status = start(r, s, s->ready_ns);
    }
    return status;
}

static void leave(run *r, uint64_t now) {
    for (size_t i = 0; i < r->n_slots; i++) {
        slot *s = &r->slots[i];
        if (!s->flight || s->leave_ns > now)
            continue;
        cp_http_multi_cancel(r->multi, s->flight);
        end_request(s, CP_LOAD_LEFT, NULL);
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void show_progress(const run *r) {
    char line[160];
    if (!r->plan->on_progress)
        return;
    snprintf(line, sizeof line,
             "%6.0f s: %zu sent, %zu answered, %zu refused, %zu failed, %zu under way",
             between(r->start_ns, cp_clock_ns()), r->n_started, r->counts[CP_LOAD_ANSWERED],
             r->counts[CP_LOAD_REFUSED], r->counts[CP_LOAD_FAILED],
             cp_http_multi_n_flights(r->multi));
    r->plan->on_progress(r->plan->user, line);
}

static cp_status tick(run *r, uint64_t now) {
    if (now < r->next_tick_ns)
        return CP_OK;
    r->next_tick_ns = now + TICK_NS;
    cp_slow_clients_tend(&r->slow);
    if (++r->n_ticks % PROGRESS_TICKS == 0)
        show_progress(r);
    return cp_process_watch_take(&r->out->watch, r->err);
}

/* When the loop has to look again by itself; NEVER when nothing more will be sent. */
static uint64_t next_start(const run *r) {
    uint64_t next = NEVER;
    if (r->plan->open)
        return may_start(r, r->next_due_ns) ? r->next_due_ns : NEVER;
    for (size_t i = 0; i < r->n_slots; i++) {
        const slot *s = &r->slots[i];
        if (!s->flight && may_start(r, s->ready_ns) && s->ready_ns < next)
            next = s->ready_ns;
    }
    return next;
}

static uint64_t next_leave(const run *r) {
    uint64_t next = NEVER;
    if (r->plan->vanish_share > 0 && !r->plan->stream)
        for (size_t i = 0; i < r->n_slots; i++)
            if (r->slots[i].flight && r->slots[i].leave_ns < next)
                next = r->slots[i].leave_ns;
    return next;
}

static uint64_t sooner(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static cp_status loop(run *r) {
    cp_status status = CP_OK;
    while (status == CP_OK) {
        uint64_t now = cp_clock_ns();
        status = tick(r, now);
        if (status == CP_OK)
            status = r->plan->open ? start_arrivals(r, now) : start_clients(r, now);
        if (status != CP_OK)
            break;
        uint64_t starts = next_start(r);
        if (starts == NEVER && cp_http_multi_n_flights(r->multi) == 0)
            break;
        uint64_t wake = sooner(r->next_tick_ns, next_leave(r));
        if (!r->waiting)
            wake = sooner(wake, starts);
        status = cp_http_multi_wait(r->multi, wake, r->err);
        if (status == CP_OK)
            status = r->status;
        if (status == CP_OK && r->plan->vanish_share > 0 && !r->plan->stream)
            leave(r, cp_clock_ns());
    }
    return status;
}

/* ---- before and after ------------------------------------------------------------------------ */

static cp_status allow_files(size_t need, cp_error *err) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
        return CP_OK;
    if (limit.rlim_max < need)
        return cp_error_set(err, CP_ERR_LIMIT,
                            "%zu connections need as many open files; at most %llu are allowed",
                            need, (unsigned long long)limit.rlim_max);
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0
               ? CP_OK
               : cp_error_set(err, CP_ERR_IO, "open files: %s", strerror(errno));
}

static cp_status prepare(run *r) {
    const cp_load_plan *plan = r->plan;
    r->n_slots = plan->open ? plan->max_in_flight : plan->clients;
    cp_status status = allow_files(r->n_slots + plan->slow.n + SPARE_FILES, r->err);
    if (status == CP_OK)
        status = cp_http_multi_create(r->n_slots, &r->multi, r->err);
    if (status != CP_OK)
        return status;
    r->slots = calloc(r->n_slots, sizeof *r->slots);
    r->free_slots = calloc(r->n_slots, sizeof *r->free_slots);
    if (!r->slots || !r->free_slots)
        return cp_error_no_memory(r->err, "clients");
    for (size_t i = 0; i < r->n_slots; i++) {
        r->slots[i].run = r;
        cp_load_answer_init(&r->slots[i].answer, plan->target, plan->stream);
        r->free_slots[r->n_free++] = r->n_slots - 1 - i;
    }
    cp_http_call call = cp_load_call(plan, 0);
    return cp_slow_clients_init(&r->slow, &plan->slow, &plan->server, &call, r->err);
}

/* The server at rest, so that its memory and processor time under load have something to stand
 * beside. */
static cp_status watch_before(run *r) {
    cp_process_watch *watch = &r->out->watch;
    const struct timespec pause = {.tv_nsec = TICK_NS};
    cp_status status = cp_process_watch_init(watch, r->plan->server_pid, cp_clock_ns(), r->err);
    for (size_t i = 0; i < TICKS_BEFORE && watch->pid && status == CP_OK; i++) {
        nanosleep(&pause, NULL);
        status = cp_process_watch_take(watch, r->err);
    }
    return status;
}

static void set_clock(run *r) {
    cp_process_watch *watch = &r->out->watch;
    r->start_ns = r->next_tick_ns = r->last_done_ns = cp_clock_ns();
    r->measure_ns = after(r->start_ns, r->plan->warmup_s);
    r->end_ns = after(r->measure_ns, r->plan->duration_s);
    double shift = between(watch->start_ns, r->measure_ns);
    for (size_t i = 0; i < watch->n; i++)
        watch->samples[i].at_s -= shift;
    watch->start_ns = r->measure_ns;
    watch->n_before = watch->n;
    r->random = r->plan->seed;
    cp_arrivals_init(&r->arrivals, r->plan->rate, r->plan->poisson, r->plan->seed ^ ARRIVALS_SEED);
    if (r->plan->open)
        r->next_due_ns = after(r->start_ns, cp_arrivals_next(&r->arrivals));
    for (size_t i = 0; i < r->n_slots; i++)
        r->slots[i].ready_ns = r->start_ns;
}

static void finish(run *r) {
    cp_load_result *out = r->out;
    double until_last = 0;
    for (size_t i = 0; i < out->n; i++)
        until_last = fmax(until_last, out->samples[i].at_s + out->samples[i].total_s);
    bool cut = (r->plan->max_requests && r->n_started == r->plan->max_requests) || out->full;
    out->measured_s = r->plan->duration_s;
    if (cut && until_last < out->measured_s)
        out->measured_s = fmax(until_last, 1e-6);
    out->slow_opened = r->slow.n_opened;
    out->slow_refused = r->slow.n_refused;
    out->slow_closed = r->slow.n_closed;
}

static void release(run *r) {
    cp_http_multi_free(r->multi);
    for (size_t i = 0; r->slots && i < r->n_slots; i++)
        if (r->slots[i].run)
            cp_load_answer_deinit(&r->slots[i].answer);
    free(r->slots);
    free(r->free_slots);
    cp_load_check_deinit(&r->check);
    cp_slow_clients_deinit(&r->slow);
}

cp_status cp_load_run(const cp_load_plan *plan, cp_load_result *out, cp_error *err) {
    run r = {.plan = plan, .out = out, .err = err};
    *out = (cp_load_result){.n = 0};
    cp_status status = prepare(&r);
    if (status == CP_OK)
        status = cp_load_check_init(&r.check, plan, err);
    if (status == CP_OK)
        status = watch_before(&r);
    if (status == CP_OK) {
        set_clock(&r);
        status = loop(&r);
        finish(&r);
    }
    release(&r);
    return status;
}

void cp_load_result_deinit(cp_load_result *result) {
    free(result->samples);
    cp_process_watch_deinit(&result->watch);
    *result = (cp_load_result){.n = 0};
}
