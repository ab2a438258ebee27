#include "llm/generation_args.h"

#include "llm/model_folder.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/random.h>

void cp_generation_args_init(cp_generation_args *args, int64_t max_new) {
    *args = (cp_generation_args){.max_new = max_new,
                                 .top_k = -1,
                                 .seed = -1,
                                 .temperature = NAN,
                                 .top_p = NAN,
                                 .min_p = NAN,
                                 .presence_penalty = NAN,
                                 .frequency_penalty = NAN};
}

cp_status cp_generation_args_open(const cp_generation_args *args, cp_llm **out, cp_error *err) {
    cp_llm_options options = {.n_threads = (size_t)args->threads,
                              .context_cap = (size_t)args->context};
    cp_status status = cp_model_parse_kv(args->kv, &options.kv, err);
    if (status != CP_OK)
        return status;
    return cp_llm_open(args->model, &options, out, err);
}

static void set_if_given(double given, double *out) {
    if (!isnan(given))
        *out = given;
}

cp_status cp_generation_args_apply(const cp_generation_args *args, const cp_llm *llm,
                                   cp_llm_request *request, cp_error *err) {
    request->thinking = args->no_thinking ? CP_THINKING_OFF : CP_THINKING_DEFAULT;
    request->max_new_tokens = (size_t)args->max_new;
    cp_sampling *s = &request->sampling;
    *s = cp_llm_default_sampling(llm, request->thinking);
    set_if_given(args->temperature, &s->temperature);
    set_if_given(args->top_p, &s->top_p);
    set_if_given(args->min_p, &s->min_p);
    set_if_given(args->presence_penalty, &s->presence_penalty);
    set_if_given(args->frequency_penalty, &s->frequency_penalty);
    if (args->top_k >= 0)
        s->top_k = args->top_k;
    s->seed = (uint64_t)args->seed;
    if (args->seed >= 0)
        return CP_OK;
    if (getrandom(&s->seed, sizeof s->seed, 0) != (ssize_t)sizeof s->seed)
        return cp_error_set(err, CP_ERR_IO, "cannot draw a seed: %s", strerror(errno));
    s->seed >>= 11; /* 53 bits: exact in JSON */
    return CP_OK;
}
