#include "bench/quality.h"

#include "base/mem.h"
#include "bench/divergence.h"
#include "bench/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 32 /* positions whose reference logits are held at a time */

typedef struct comparison {
    cp_session *model, *reference;
    size_t vocab_size;
    const int32_t *window; /* [context] */
    float *logits;         /* [BLOCK, vocab_size] of the reference */
    size_t first;          /* position of the block's first row */
    float *kl;             /* [n_scored] */
    size_t n_scored;
    cp_running kl_mean, model_nll, reference_nll, agreement;
} comparison;

static void keep_reference(void *user, size_t position, const float *logits) {
    comparison *c = user;
    memcpy(c->logits + (position - c->first) * c->vocab_size, logits,
           c->vocab_size * sizeof *logits);
}

static void compare_model(void *user, size_t position, const float *logits) {
    comparison *c = user;
    const float *reference = c->logits + (position - c->first) * c->vocab_size;
    cp_divergence d = cp_divergence_at(reference, logits, c->vocab_size, c->window[position + 1]);
    c->kl[c->n_scored++] = (float)d.kl;
    cp_running_add(&c->kl_mean, d.kl);
    cp_running_add(&c->model_nll, d.model_nll);
    cp_running_add(&c->reference_nll, d.reference_nll);
    cp_running_add(&c->agreement, d.same_top);
}

static cp_status run_window(comparison *c, size_t context, cp_error *err) {
    const cp_eval_hooks keep = {.on_logits = keep_reference, .user = c};
    const cp_eval_hooks compare = {.on_logits = compare_model, .user = c};
    size_t half = context / 2;
    cp_session_rewind(c->model, 0);
    cp_session_rewind(c->reference, 0);
    cp_status status = cp_session_eval(c->reference, c->window, half, NULL, err);
    if (status == CP_OK)
        status = cp_session_eval(c->model, c->window, half, NULL, err);
    for (c->first = half; c->first < context - 1 && status == CP_OK; c->first += BLOCK) {
        size_t left = context - 1 - c->first, n = left < BLOCK ? left : BLOCK;
        status = cp_session_eval(c->reference, c->window + c->first, n, &keep, err);
        if (status == CP_OK)
            status = cp_session_eval(c->model, c->window + c->first, n, &compare, err);
    }
    return status;
}

static cp_status summarise(comparison *c, cp_quality *out, cp_error *err) {
    double *sorted = calloc(c->n_scored, sizeof *sorted);
    if (!sorted)
        return cp_error_no_memory(err, "divergences");
    for (size_t i = 0; i < c->n_scored; i++)
        sorted[i] = c->kl[i];
    cp_stats_sort(sorted, c->n_scored);
    out->n_scored = c->n_scored;
    out->model_ppl = exp(c->model_nll.mean);
    out->model_ppl_error = out->model_ppl * cp_running_error(&c->model_nll);
    out->reference_ppl = exp(c->reference_nll.mean);
    out->reference_ppl_error = out->reference_ppl * cp_running_error(&c->reference_nll);
    out->kl_mean = c->kl_mean.mean;
    out->kl_mean_error = cp_running_error(&c->kl_mean);
    out->kl_median = cp_stats_percentile(sorted, c->n_scored, 0.5);
    out->kl_p99 = cp_stats_percentile(sorted, c->n_scored, 0.99);
    out->kl_max = sorted[c->n_scored - 1];
    out->agreement = c->agreement.mean;
    out->agreement_error = cp_running_error(&c->agreement);
    free(sorted);
    return CP_OK;
}

static cp_status check(const cp_engine *model, const cp_engine *reference, const int32_t *ids,
                       size_t n, size_t context, cp_error *err) {
    size_t a = cp_engine_config(model)->vocab_size, b = cp_engine_config(reference)->vocab_size;
    if (a != b)
        return cp_error_set(err, CP_ERR_USAGE,
                            "the model has %zu tokens, the reference %zu: they cannot be compared",
                            a, b);
    if (n < context)
        return cp_error_set(err, CP_ERR_USAGE,
                            "the text has %zu tokens, less than one window of %zu", n, context);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= a)
            return cp_error_set(err, CP_ERR_FORMAT, "token id %d of the text, the models have %zu",
                                ids[i], a);
    return CP_OK;
}

static cp_status allocate(comparison *c, cp_engine *model, cp_engine *reference, size_t context,
                          size_t n_windows, cp_error *err) {
    size_t scored;
    c->vocab_size = cp_engine_config(model)->vocab_size;
    c->logits = cp_alloc_aligned(BLOCK * c->vocab_size, sizeof *c->logits);
    if (cp_size_mul(n_windows, context / 2 - 1, &scored))
        c->kl = calloc(scored, sizeof *c->kl);
    if (!c->logits || !c->kl)
        return cp_error_no_memory(err, "comparison");
    cp_status status = cp_session_create(model, context, &c->model, err);
    if (status == CP_OK)
        status = cp_session_create(reference, context, &c->reference, err);
    return status;
}

cp_status cp_quality_run(cp_engine *model, cp_engine *reference, const int32_t *ids, size_t n,
                         size_t context, size_t max_windows,
                         void (*on_window)(size_t done, size_t all), cp_quality *out,
                         cp_error *err) {
    comparison c = {0};
    size_t n_windows = n / context;
    *out = (cp_quality){0};
    cp_status status = check(model, reference, ids, n, context, err);
    if (status != CP_OK)
        return status;
    if (max_windows && max_windows < n_windows)
        n_windows = max_windows;
    status = allocate(&c, model, reference, context, n_windows, err);
    for (size_t w = 0; w < n_windows && status == CP_OK; w++) {
        c.window = ids + w * context;
        status = run_window(&c, context, err);
        if (status == CP_OK && on_window)
            on_window(w + 1, n_windows);
    }
    out->n_windows = n_windows;
    if (status == CP_OK)
        status = summarise(&c, out, err);
    cp_session_free(c.model);
    cp_session_free(c.reference);
    free(c.logits);
    free(c.kl);
    return status;
}
