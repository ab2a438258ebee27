/* Text in, text out: a model folder with its engine, tokenizer and template behind one call.
 *
 * Generation is a prompt (chat messages, text or ids), sampling settings and a sink for the text as
 * it appears; thinking is split off the answer, stop strings act on the answer, and what the sink
 * receives is always whole UTF-8. cp_llm_generate serves one generation at a time; many together
 * are scheduler.h's. */
#ifndef CP_LLM_LLM_H
#define CP_LLM_LLM_H

#include "base/error.h"
#include "base/strbuf.h"
#include "engine/engine.h"
#include "llm/constraint.h"
#include "tokenizer/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cp_llm cp_llm;

typedef struct cp_llm_options {
    size_t n_threads; /* 0: one a processor this process may use */
    size_t
        context_cap; /* most tokens of prompt and answer together; 0: 4096, or the model's limit */
    cp_kv kv;
} cp_llm_options;

/* Opens `dir` (config.json, weights, tokenizer.json) and checks the parts against each other. */
cp_status cp_llm_open(const char *dir, const cp_llm_options *options, cp_llm **out,
                      cp_error *err) CP_MUST_CHECK;
void cp_llm_close(cp_llm *llm);

const cp_tokenizer *cp_llm_tokenizer(const cp_llm *llm);
cp_engine *cp_llm_engine(cp_llm *llm);
const cp_engine *cp_llm_engine_of(const cp_llm *llm); /* for what is constant in it; any thread */
const char *cp_llm_name(const cp_llm *llm);           /* the folder's last path component */
size_t cp_llm_context(const cp_llm *llm);             /* tokens of prompt and answer together */

typedef enum cp_text_part { CP_TEXT_THINKING, CP_TEXT_ANSWER } cp_text_part;
typedef enum cp_finish { CP_FINISH_STOP, CP_FINISH_LENGTH, CP_FINISH_CANCELLED } cp_finish;
const char *cp_finish_name(cp_finish finish); /* "stop", "length", "cancelled" */

#define CP_LLM_MAX_STOPS 4

#define CP_LLM_NO_LIMIT         SIZE_MAX
#define CP_LLM_MAX_TOP_LOGPROBS 20

typedef struct cp_token_logprob {
    int32_t id;
    float logprob; /* natural */
} cp_token_logprob;
typedef struct cp_token_logprobs {
    cp_token_logprob chosen;
    const cp_token_logprob *top; /* [n_top], best first */
    size_t n_top;
} cp_token_logprobs;

typedef struct cp_llm_request {
    /* The prompt: one of three. */
    const cp_chat_message *messages; /* [n_messages], through the folder's template */
    size_t n_messages;
    cp_thinking thinking;
    const char *text; /* raw, no template; special tokens in it are ordinary text */
    const int32_t *ids;
    size_t n_ids;

    cp_sampling sampling; /* cp_llm_default_sampling, then the caller's wishes */
    size_t max_new_tokens;
    const char *stops[CP_LLM_MAX_STOPS]; /* end the answer before any of these; NULL-terminated
                                            unless full */
    /* The answer is JSON of this schema (constraint.h); NULL: any text. Not with stop strings. */
    const cp_schema *schema;

    /* Thinking is closed after this many sampled tokens; also before it would take what
     * max_new_tokens and the deadline must leave for the answer. */
    bool has_thinking_budget;
    size_t thinking_budget;
    uint64_t deadline_ns;  /* cp_clock_ns() when the answer must be there; 0: no deadline */
    const char *owner;     /* whose request: fairness, and prefixes are shared within an owner only;
                              NULL is "" */
    size_t n_top_logprobs; /* for on_token: at most CP_LLM_MAX_TOP_LOGPROBS */

    /* Text as it appears; NULL for none. */
    void (*on_text)(void *user, cp_text_part part, const char *text, size_t n);
    /* Each sampled token of the answer with its log probability (before temperature and filters),
     * ahead of the text that it completes; NULL for none. */
    void (*on_token)(void *user, const cp_token_logprobs *token);
    /* Asked at least once a step, also during prefill; true ends the generation. NULL: never. */
    bool (*is_cancelled)(void *user);
    void *user;
} cp_llm_request;

/* How an answer under a schema came about; all 0 without one. */
typedef struct cp_structured_report {
    size_t forced_tokens; /* of ids: appended without drawing, the schema left no choice */
    size_t tail_tokens; /* of ids: appended at the end to close a text that was cut (finish is then
                           LENGTH). They are not the model's words, and may exceed max_new_tokens */
    size_t tail_bytes;  /* of the answer, that are the tail's */
    size_t n_turns;     /* times that the constraint was asked */
    double constraint_ms, worst_ms; /* all of it; the longest turn */
} cp_structured_report;

typedef struct cp_llm_result {
    cp_strbuf answer, thinking;
    bool has_thinking;
    cp_ids ids; /* all after the prompt, the end token included when it was drawn */
    size_t prompt_tokens, cached_tokens; /* cached: of the prompt, whose keys and values were there
                                            from earlier requests */
    size_t sampled_tokens;               /* of ids: drawn (max_new_tokens counts these) */
    size_t appended_tokens;  /* of ids: not drawn (a thought's close, forced and closing JSON) */
    size_t thinking_tokens;  /* of the sampled ones, inside the thought */
    size_t thinking_planned; /* most that the plan allowed; CP_LLM_NO_LIMIT without one */
    bool thinking_truncated;
    size_t drafted_tokens, accepted_tokens; /* by prompt lookup; accepted ones are sampled tokens */
    double queue_ms;                        /* from submission to the first step */
    cp_finish finish;
    uint64_t seed; /* the one used */
    double prompt_ms, generate_ms, first_token_ms;
    cp_structured_report structured;
} cp_llm_result;
void cp_llm_result_init(cp_llm_result *result);
void cp_llm_result_deinit(cp_llm_result *result);

/* The folder's generation_config.json over our defaults; with thinking off, the hybrid models' own
 * settings for that (FACTS: 0.7 / 0.8 / 20). */
cp_sampling cp_llm_default_sampling(const cp_llm *llm, cp_thinking thinking);

/* What answers under a schema need, made now and not with the first of them: some 100 ms. */
cp_status cp_llm_prepare_structured(cp_llm *llm, cp_error *err) CP_MUST_CHECK;

/* Runs to its end. CP_OK also when cancelled or cut by length (see finish). A prompt that leaves no
 * room for one new token is CP_ERR_LIMIT. */
cp_status cp_llm_generate(cp_llm *llm, const cp_llm_request *request, cp_llm_result *out,
                          cp_error *err) CP_MUST_CHECK;

#endif
