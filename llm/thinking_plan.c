#include "llm/thinking_plan.h"

#include "llm/llm.h"

/* Measured speed is the past's: a fifth is kept for surprises. */
#define SURPRISE 1.2

const char cp_thinking_farewell[] =
    "Considering the limited time by the user, I have to give the solution based on the thinking "
    "directly now.\n";

/* A quarter, and at least one token, but no more than an answer needs. */
size_t cp_answer_reserve(size_t max_new) {
    size_t quarter = max_new / 4 > 1 ? max_new / 4 : 1;
    return quarter < CP_ANSWER_RESERVE ? quarter : CP_ANSWER_RESERVE;
}

size_t cp_thinking_plan(const cp_thinking_limits *l) {
    size_t plan = CP_LLM_NO_LIMIT;
    if (l->max_new != CP_LLM_NO_LIMIT)
        plan = l->max_new > 0 ? l->max_new - cp_answer_reserve(l->max_new) : 0;
    if (l->budget < plan)
        plan = l->budget;
    if (!l->has_deadline || l->token_ms <= 0)
        return plan;
    double left = l->left_ms - l->ahead_ms;
    double tokens = left > 0 ? left / (l->token_ms * SURPRISE) : 0;
    size_t in_time = tokens < (double)l->max_new ? (size_t)tokens : l->max_new;
    size_t thinking = in_time > 0 ? in_time - cp_answer_reserve(in_time) : 0;
    return thinking < plan ? thinking : plan;
}

bool cp_thinking_is_late(double left_ms, double token_ms, size_t reserve) {
    return left_ms < (double)reserve * token_ms * SURPRISE;
}
