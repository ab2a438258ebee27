/* How far one model's next-token distribution is from another's, a position at a time.
 *
 * p is the reference's softmax, q the model's; D(p || q) = sum p (ln p - ln q), in nats, in double
 * precision. Equal logits give exactly 0; rounding may make a tiny divergence negative. */
#ifndef CP_BENCH_DIVERGENCE_H
#define CP_BENCH_DIVERGENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cp_divergence {
    double kl;                       /* D(reference || model) */
    double model_nll, reference_nll; /* -ln of the probability of the token that came */
    bool same_top;                   /* both find the same token most likely */
} cp_divergence;

/* logits [n] of both, n at least 1; `next` is the token that came. */
cp_divergence cp_divergence_at(const float *reference, const float *model, size_t n, int32_t next);

#endif
