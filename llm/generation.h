/* One generation from its prompt to its end, as a machine that is fed logits.
 *
 * tokens holds the prompt and everything after it; what lies behind the session's position has yet
 * to go through the model. For the scheduler:
 *
 *     start (a place and a session were found)
 *     each step: look (cancelled? late?), next (what to evaluate), then for the logits asked for:
 *                take_logits, which draws and appends; after the step: settle
 *     until is_done. */
#ifndef CP_LLM_GENERATION_H
#define CP_LLM_GENERATION_H

#include "llm/llm_internal.h"
#include "llm/lookup.h"
#include "llm/scheduler.h"
#include "llm/text_splitter.h"

struct cp_generation {
    const cp_llm *llm;
    cp_llm_request request;
    cp_llm_result result;
    cp_ids tokens;  /* the prompt, then what was drawn or appended */
    size_t max_new; /* sampled tokens */
    size_t room;    /* tokens after the prompt that the context holds, the last not evaluated */
    cp_text_splitter splitter;
    cp_constraint constraint; /* with request.schema */
    cp_masks *masks;

    cp_session *session; /* from start on */
    cp_sampler *sampler;
    cp_lookup lookup;
    int32_t part_ids[CP_STEP_MAX_TOKENS]; /* what the running step evaluates */
    size_t n_part, n_draft;
    bool speculates;

    uint64_t created_ns, started_ns, read_ns; /* read: the prompt went through */
    uint64_t now_ns;                          /* of the running step */
    double token_ms;                          /* the scheduler's estimate */
    bool is_done;
    cp_status status;
    cp_error err;
    cp_generation *next; /* in one of the scheduler's lists */
};

/* What the scheduler lends, and when it is. */
typedef struct cp_generation_start {
    cp_session *session;
    cp_sampler *sampler;
    cp_masks *masks; /* with a schema */
    bool speculates;
    uint64_t now_ns;
    double token_ms, prompt_token_ms;
} cp_generation_start;
void cp_generation_begin(cp_generation *g, const cp_generation_start *start);

/* Ends it when its client has left or its deadline has passed. Also before it has begun. */
void cp_generation_look(cp_generation *g, uint64_t now_ns, double token_ms);
/* Tokens that have yet to be evaluated before the next can be drawn. */
size_t cp_generation_n_pending(const cp_generation *g);
/* Still reading its prompt, rather than writing. */
bool cp_generation_is_reading(const cp_generation *g);
/* Fills part with the next tokens, at most `most`, and up to n_draft guessed ones behind them. */
void cp_generation_next(cp_generation *g, size_t most, size_t n_draft, cp_step_part *part);
/* The logits after token `token` of the part. */
void cp_generation_take_logits(cp_generation *g, size_t token, const float *logits);
/* After the step: guesses that were wrong leave the session. */
void cp_generation_settle(cp_generation *g, uint64_t now_ns);
/* Ends it with an error. */
void cp_generation_fail(cp_generation *g, cp_status status, const cp_error *err);

#endif
