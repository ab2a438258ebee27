/* Load on a running server: requests by a schedule (open loop) or by clients that wait for their
 * answers (closed loop), and what became of each.
 *
 * Open loop: requests are due by bench/arrivals, whatever the server does, and every time counts
 * from when the request was due. So a stall hurts all that came due in it, as it would hurt
 * patients (no "coordinated omission"). When max_in_flight are under way the next waits, and its
 * waiting counts too. Closed loop: each client sends, waits for the whole answer, thinks, sends
 * again; after a refusal it waits as long as Retry-After says (at most 10 s), after another failure
 * 0.1 s, so that a broken server is not asked in a tight loop.
 *
 * A sample is kept of every request, warm-up included (at_s below 0). One thread does all. */
#ifndef CP_BENCH_LOAD_H
#define CP_BENCH_LOAD_H

#include "base/http_client.h"
#include "bench/load_answer.h"
#include "bench/load_requests.h"
#include "bench/process_watch.h"
#include "bench/slow_clients.h"

#define CP_LOAD_MAX_SAMPLES ((size_t)4 << 20)
#define CP_LOAD_MAX_CODES   32

typedef struct cp_load_plan {
    cp_http_url server;
    const char *url; /* where the requests go: base and path */
    cp_load_target target;
    const cp_load_requests *requests;
    const char *bearer; /* or NULL */
    bool open, poisson, stream, check;
    double rate;          /* open: requests a second */
    size_t clients;       /* closed */
    double think_s;       /* closed */
    size_t max_in_flight; /* open */
    size_t max_requests;  /* after so many none is sent; 0: no limit */
    double warmup_s, duration_s, timeout_s;
    cp_slow_plan slow;
    double vanish_share;    /* of clients that leave before the answer is whole */
    double vanish_within_s; /* when: at the first content of a stream, or within this time */
    uint64_t seed;
    int64_t server_pid;                                /* watched; 0: none */
    void (*on_progress)(void *user, const char *line); /* or NULL */
    void *user;
} cp_load_plan;

typedef enum cp_load_outcome {
    CP_LOAD_ANSWERED,
    CP_LOAD_REFUSED, /* 503 */
    CP_LOAD_FAILED,  /* anything else that is no answer */
    CP_LOAD_LEFT,    /* the client left, as planned */
    CP_LOAD_N_OUTCOMES,
} cp_load_outcome;

typedef struct cp_load_sample {
    double at_s;      /* when it was due, from the start of what is measured */
    float late_s;     /* sent so long after */
    float first_s;    /* from due to the first content; negative: there was none */
    float pause_s;    /* longest between two events with content; negative: there were not two */
    float total_s;    /* from due to the end */
    uint32_t tokens;  /* of the answer */
    uint8_t outcome;  /* cp_load_outcome */
    bool retry_after; /* a refusal that said when to come again */
} cp_load_sample;

/* How often something happened to requests of the measured time, by status and code. */
typedef struct cp_load_code {
    int status; /* 0: no answer at all */
    char code[CP_LOAD_CODE_CAP];
    size_t n;
} cp_load_code;
typedef struct cp_load_codes {
    cp_load_code rows[CP_LOAD_MAX_CODES]; /* the last takes what is too various */
    size_t n;
} cp_load_codes;

typedef struct cp_load_result {
    cp_load_sample *samples; /* [n] in the order in which they ended */
    size_t n, cap;
    double measured_s;      /* the plan's duration, or until the last of max_requests was done */
    cp_load_codes errors;   /* failed or refused */
    cp_load_codes degraded; /* answered by /triage without its model, by reason */
    int64_t prompt_tokens, completion_tokens; /* of measured answers */
    size_t max_in_flight;                     /* most at a time */
    size_t n_waited; /* requests due while as many as allowed were under way */
    bool full;       /* stopped at CP_LOAD_MAX_SAMPLES */
    /* check: answers compared, those unlike the single request's, those unlike the first under
     * load; an answer degraded otherwise than the single one is not compared */
    size_t n_compared, n_unlike_single, n_unlike_first;
    size_t slow_opened, slow_refused, slow_closed;
    cp_process_watch watch;
} cp_load_result;

/* Runs the plan. Trouble with single requests is a result; an error is what keeps the load from
 * being made (memory, descriptors, no such process, with `check` no answer to a single request).
 * *out is released with cp_load_result_deinit, also after failure. */
cp_status cp_load_run(const cp_load_plan *plan, cp_load_result *out, cp_error *err) CP_MUST_CHECK;
void cp_load_result_deinit(cp_load_result *result);

#endif
