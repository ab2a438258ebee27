/* The kernels that attention has beyond the general ones: scores of queries against cached keys,
 * and weighted sums of cached values.
 *
 * Scores: scores[q * stride + p] = dot (kernels.h: 16 partial sums, then the tree) of query q and
 * the key of position p, both `width` long, for queries in 0..n_queries and positions in 0..n.
 * Sums: out[q * width + d] = sum over positions p in ascending order, one fused multiply-add each,
 * of weights[q * stride + p] times value d of position p; from 0, or from what out holds (`go_on`).
 * Bit-identical on every instruction set, like the kernels of kernels.h. */
#ifndef CP_ENGINE_KERNELS_MIX_KERNELS_H
#define CP_ENGINE_KERNELS_MIX_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cp_mix_kernels {
    /* keys [n, width] as float32 or half precision, queries [n_queries, width]. */
    void (*score_f32)(const void *keys, size_t n, size_t width, const float *queries,
                      size_t n_queries, float *scores, size_t stride);
    void (*score_f16)(const void *keys, size_t n, size_t width, const float *queries,
                      size_t n_queries, float *scores, size_t stride);

    /* values [n, width] as float32 or half precision. */
    void (*f32)(const void *values, size_t n, size_t width, const float *weights, size_t stride,
                size_t n_queries, bool go_on, float *out);
    void (*f16)(const void *values, size_t n, size_t width, const float *weights, size_t stride,
                size_t n_queries, bool go_on, float *out);
    /* values [n, row] int8 and scales [n, row / 32], row a multiple of 32, of which width count:
     * the factor is weights x scale, rounded to float32, and the value an exact float. */
    void (*int8)(const int8_t *values, const float *scales, size_t n, size_t width, size_t row,
                 const float *weights, size_t stride, size_t n_queries, bool go_on, float *out);
    /* n floats to half precision, rounded to nearest even. */
    void (*to_f16)(const float *x, size_t n, uint16_t *out);
} cp_mix_kernels;

/* The table for the instruction set of this name ("scalar", "avx2", "avx512", "neon"). */
const cp_mix_kernels *cp_mix_kernels_for(const char *isa);

#endif
