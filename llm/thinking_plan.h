/* How long a model may think, so that its answer is there in time and within its length.
 *
 * Part of the tokens and of the time is kept for the answer from the beginning; thinking gets the
 * rest, or less where the request says so. When it is spent the thought is closed with the text of
 * Qwen3's report (section 4.3) and the answer follows. Pure functions. */
#ifndef CP_LLM_THINKING_PLAN_H
#define CP_LLM_THINKING_PLAN_H

#include <stdbool.h>
#include <stddef.h>

/* What an answer is expected to need; it may get less where the whole is short. */
#define CP_ANSWER_RESERVE 256

/* The closing text, up to the </think> token. */
extern const char cp_thinking_farewell[];

typedef struct cp_thinking_limits {
    size_t max_new; /* sampled tokens, answer included */
    size_t budget;  /* the request's; CP_LLM_NO_LIMIT without one */
    bool has_deadline;
    double left_ms;  /* until the deadline */
    double ahead_ms; /* of that, for what is still to be read of the prompt */
    double token_ms; /* expected for one token; 0 while nothing was measured */
} cp_thinking_limits;

/* Most sampled tokens that the thought may take; CP_LLM_NO_LIMIT when max_new is. */
size_t cp_thinking_plan(const cp_thinking_limits *limits);
/* In a thought with `left_ms` to the deadline: is it time to close it, so that the answer still
 * gets what is kept for it, `reserve` tokens? */
bool cp_thinking_is_late(double left_ms, double token_ms, size_t reserve);
/* How much is kept for the answer of at most max_new tokens. */
size_t cp_answer_reserve(size_t max_new);

#endif
