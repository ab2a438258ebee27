/* The options that `generate` and `chat` share: model, threads, lengths and sampling. */
#ifndef CP_LLM_GENERATION_ARGS_H
#define CP_LLM_GENERATION_ARGS_H

#include "base/args.h"
#include "llm/llm.h"

typedef struct cp_generation_args {
    const char *model, *kv;
    int64_t threads, context, max_new, top_k, seed; /* -1: not given (top_k, seed) */
    double temperature, top_p, min_p, presence_penalty, frequency_penalty; /* NaN: not given */
    bool no_thinking;
} cp_generation_args;

void cp_generation_args_init(cp_generation_args *args, int64_t max_new);

/* The table's rows for these options, for the command's own table. */
/* clang-format off */
#define CP_GENERATION_ARGS(a)                                                                         \
    {"model", CP_ARG_TEXT, &(a).model, "DIR", "Model folder", 0, 0, true},                            \
    {"max-new", CP_ARG_INT, &(a).max_new, "N", "Most tokens to generate", 1, 1 << 24, false},         \
    {"temperature", CP_ARG_NUMBER, &(a).temperature, "T", "0 is greedy (default: the model's)", 0, 100, false}, \
    {"top-k", CP_ARG_INT, &(a).top_k, "K", "Choose from the K best; 0 is all", 0, 1 << 22, false},    \
    {"top-p", CP_ARG_NUMBER, &(a).top_p, "P", "Choose from the best that hold share P", 0, 1, false}, \
    {"min-p", CP_ARG_NUMBER, &(a).min_p, "P", "Drop tokens below P x the best's probability", 0, 1, false}, \
    {"presence-penalty", CP_ARG_NUMBER, &(a).presence_penalty, "X", "Taken off tokens that occurred", -2, 2, false}, \
    {"frequency-penalty", CP_ARG_NUMBER, &(a).frequency_penalty, "X", "Taken off for each occurrence", -2, 2, false}, \
    {"seed", CP_ARG_INT, &(a).seed, "N", "The same seed gives the same answer (default: random)", 0, 9007199254740992.0, false}, \
    {"threads", CP_ARG_INT, &(a).threads, "N", "Threads (default: one a processor)", 0, 256, false},  \
    {"context", CP_ARG_INT, &(a).context, "N", "Prompt and answer together (default 4096)", 0, 1 << 24, false}, \
    {"kv", CP_ARG_TEXT, &(a).kv, "KIND", "KV cache: auto, f32, f16 or int8", 0, 0, false},            \
    {"no-thinking", CP_ARG_FLAG, &(a).no_thinking, NULL, "Answer without thinking (hybrid models)", 0, 0, false}
/* clang-format on */

cp_status cp_generation_args_open(const cp_generation_args *args, cp_llm **out,
                                  cp_error *err) CP_MUST_CHECK;
/* Fills the request's sampling, thinking and length; draws the seed if none was given. */
cp_status cp_generation_args_apply(const cp_generation_args *args, const cp_llm *llm,
                                   cp_llm_request *request, cp_error *err) CP_MUST_CHECK;

#endif
