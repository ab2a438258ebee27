/* Many generations on one engine: each step takes tokens of all that run.
 *
 * A generation waits until there is a place and memory for all that it may come to need, so that
 * what runs can always end. A step holds the next token of every sequence that is writing (with a
 * draft, where one pays) and a chunk of the prompts that are still being read, as large as the
 * measured speed allows without making the others wait for longer than pause_ms. Between owners the
 * places are shared evenly, then first come, first served; prompts that are being read share the
 * chunk. What a generation writes does not depend on its company (quantized weights): only the time
 * does. One thread uses a scheduler; generations are made by any. */
#ifndef CP_LLM_SCHEDULER_H
#define CP_LLM_SCHEDULER_H

#include "engine/kv_pool.h"
#include "llm/llm.h"

typedef struct cp_generation cp_generation;

/* Encodes the prompt and checks everything that can be checked beforehand. The request is copied;
 * what it points to must outlive the generation. Any thread. */
cp_status cp_generation_create(const cp_llm *llm, const cp_llm_request *request,
                               cp_generation **out, cp_error *err) CP_MUST_CHECK;
void cp_generation_free(cp_generation *generation);
/* Once it is done. The result is the generation's. */
cp_llm_result *cp_generation_result(cp_generation *generation);
cp_status cp_generation_status(const cp_generation *generation, cp_error *err);
void *cp_generation_user(const cp_generation *generation); /* the request's */

typedef struct cp_scheduler cp_scheduler;

typedef struct cp_scheduler_options {
    size_t max_running; /* 0: 1 */
    size_t kv_tokens;   /* of all sequences together; 0: as many as one context holds */
    double pause_ms;    /* longest step beside running sequences; 0: 170 */
    bool no_speculation;
    uint64_t kv_ttl_s;        /* what nobody used for so long is cleared; 0: never for its age */
    uint64_t (*now_ns)(void); /* NULL: cp_clock_ns. For tests */
} cp_scheduler_options;

/* Borrows llm, whose engine it alone uses. */
cp_status cp_scheduler_create(cp_llm *llm, const cp_scheduler_options *options, cp_scheduler **out,
                              cp_error *err) CP_MUST_CHECK;
/* Nothing may be unfinished. NULL is allowed. */
void cp_scheduler_free(cp_scheduler *scheduler);

/* Takes it over until cp_scheduler_take_done gives it back. Never fails. */
void cp_scheduler_add(cp_scheduler *scheduler, cp_generation *generation);
/* One step; false when there was nothing to do. */
bool cp_scheduler_step(cp_scheduler *scheduler);
/* Forgets keys and values that are past kv_ttl_s; true while some are left that will be. For
 * between steps, as often as one likes, and once a second when there is nothing to do. */
bool cp_scheduler_expire(cp_scheduler *scheduler);
/* A generation that has ended since; NULL when there is none. */
cp_generation *cp_scheduler_take_done(cp_scheduler *scheduler);

typedef struct cp_scheduler_stats {
    size_t n_waiting, n_running;
    cp_kv_pool_stats kv;
    uint64_t n_steps, n_rows; /* rows: tokens that went through, drafts included */
    double token_ms;          /* of a step that only writes */
    double prompt_token_ms;   /* of a token that is read */
    double backlog_ms;        /* until all that waits and runs is expected to be done */
} cp_scheduler_stats;
cp_scheduler_stats cp_scheduler_get_stats(const cp_scheduler *scheduler);

#endif
