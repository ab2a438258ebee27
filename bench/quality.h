/* What a model loses against a reference: perplexity of both on a text, and the divergence of their
 * next-token distributions.
 *
 * The conventions are those of llama.cpp's llama-perplexity --kl-divergence, so that figures can be
 * set beside each other: the text's tokens (no begin token is added) are cut into windows of
 * `context` tokens, a last shorter one is dropped; each window starts from an empty cache; its
 * first half is context only, and the tokens context/2 + 1 .. context - 1 are predicted and scored.
 * Percentiles go by straight line between neighbours; errors are standard errors of the mean, of a
 * perplexity to first order.
 *
 * Memory: both models are mapped, logits are kept for a few dozen positions at a time, and four
 * bytes for each scored token. */
#ifndef CP_BENCH_QUALITY_H
#define CP_BENCH_QUALITY_H

#include "base/error.h"
#include "engine/engine.h"

#include <stddef.h>
#include <stdint.h>

typedef struct cp_quality {
    size_t n_windows, n_scored;
    double model_ppl, model_ppl_error, reference_ppl, reference_ppl_error;
    double kl_mean, kl_mean_error, kl_median, kl_p99, kl_max; /* nats a token */
    double agreement, agreement_error;                        /* of the most likely token, 0..1 */
} cp_quality;

/* Runs both engines over at most max_windows windows (0: all) of ids [n]. `context` is even and at
 * least 4; on_window (may be NULL) hears of each window done. */
cp_status cp_quality_run(cp_engine *model, cp_engine *reference, const int32_t *ids, size_t n,
                         size_t context, size_t max_windows,
                         void (*on_window)(size_t done, size_t all), cp_quality *out,
                         cp_error *err) CP_MUST_CHECK;

#endif
