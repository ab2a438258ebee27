#include "bench/divergence.h"

#include <math.h>

static size_t top_of(const float *logits, size_t n) {
    size_t top = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[top])
            top = i;
    return top;
}

/* With shifted logits a = ln p + ln P and b = ln q + ln Q (P, Q the sums of their exponentials):
 * D = sum(e^a (a - b)) / P - ln P + ln Q. One pass, no array of probabilities. */
cp_divergence cp_divergence_at(const float *reference, const float *model, size_t n, int32_t next) {
    size_t top_reference = top_of(reference, n), top_model = top_of(model, n);
    double shift_a = reference[top_reference], shift_b = model[top_model];
    double sum_a = 0, sum_b = 0, weighted = 0;
    size_t i = 0;
    do { /* at least once: there is no empty vocabulary */
        double a = reference[i] - shift_a, b = model[i] - shift_b, p = exp(a);
        sum_a += p;
        sum_b += exp(b);
        weighted += p * (a - b);
    } while (++i < n);
    return (cp_divergence){
        .kl = weighted / sum_a - log(sum_a) + log(sum_b),
        .model_nll = log(sum_b) - (model[next] - shift_b),
        .reference_nll = log(sum_a) - (reference[next] - shift_a),
        .same_top = top_reference == top_model,
    };
}
