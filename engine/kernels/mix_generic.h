/* The weighted sums, written once over the compiler's vector types and compiled for each
 * instruction set.
 *
 * A file defines CP_VECTOR_FLOATS (floats in a register), LOAD_F32, LOAD_F16 and LOAD_INT8 (that
 * many stored values as a vector), STORE, STORE_F16 and FMA(a, b, c), then includes this. Queries
 * are taken two at a time (the heads that share a kv head), each block of a few registers of
 * dimensions over all positions: a value is loaded and widened once for both. */
#include "engine/kernels/lanes.h"
#include "engine/kernels/mix_kernels.h"

#define BLOCK_VECTORS 4
#define BLOCK         (BLOCK_VECTORS * CP_VECTOR_FLOATS)

/* How to get value d of position p: the types differ only here. */
typedef struct mix_source {
    const char *values;
    const float *scales; /* [n, row / 32], int8 only */
    size_t width, row;   /* values of a position that count, and that are stored */
} mix_source;

/* One function for each stored type: LOAD is its vector load, BYTES its size, ONE its single load,
 * SCALE the factor of (weight, position, dimension). */
#define MIX(TYPE, BYTES, LOAD, ONE, SCALE)                                                         \
    static inline void block_##TYPE(const mix_source *s, size_t d, size_t n, const float *weights, \
                                    size_t stride, size_t n_queries, float *out) {                 \
        VECTOR acc[2][BLOCK_VECTORS];                                                              \
        for (size_t q = 0; q < n_queries; q++)                                                     \
            for (size_t v = 0; v < BLOCK_VECTORS; v++)                                             \
                acc[q][v] = ZERO();                                                                \
        for (size_t p = 0; p < n; p++) {                                                           \
            const char *at = s->values + (p * s->row + d) * (BYTES);                               \
            for (size_t v = 0; v < BLOCK_VECTORS; v++) {                                           \
                VECTOR value = LOAD(at + v * CP_VECTOR_FLOATS * (BYTES));                          \
                for (size_t q = 0; q < n_queries; q++)                                             \
                    acc[q][v] =                                                                    \
                        FMA(SET1(SCALE(s, weights[q * stride + p], p, d + v * CP_VECTOR_FLOATS)),  \
                            value, acc[q][v]);                                                     \
            }                                                                                      \
        }                                                                                          \
        for (size_t q = 0; q < n_queries; q++)                                                     \
            for (size_t v = 0; v < BLOCK_VECTORS; v++)                                             \
                STORE(out + q * s->width + d + v * CP_VECTOR_FLOATS, acc[q][v]);                   \
    }                                                                                              \
    static void mix_##TYPE(const mix_source *s, size_t n, const float *weights, size_t stride,     \
                           size_t n_queries, float *out) {                                         \
        size_t d = 0;                                                                              \
        for (; d + BLOCK <= s->width; d += BLOCK) {                                                \
            size_t q = 0;                                                                          \
            for (; q + 2 <= n_queries; q += 2)                                                     \
                block_##TYPE(s, d, n, weights + q * stride, stride, 2, out + q * s->width);        \
            if (q < n_queries)                                                                     \
                block_##TYPE(s, d, n, weights + q * stride, stride, 1, out + q * s->width);        \
        }                                                                                          \
        for (; d < s->width; d++)                                                                  \
            for (size_t q = 0; q < n_queries; q++) {                                               \
                float acc = 0;                                                                     \
                for (size_t p = 0; p < n; p++)                                                     \
                    acc = fmaf(SCALE(s, weights[q * stride + p], p, d),                            \
                               ONE(s->values, p * s->row + d), acc);                               \
                out[q * s->width + d] = acc;                                                       \
            }                                                                                      \
    }

#define NO_SCALE(s, weight, p, d)    (weight)
#define GROUP_SCALE(s, weight, p, d) ((weight) * (s)->scales[(p) * ((s)->row / 32) + (d) / 32])

static inline float one_int8(const void *values, size_t i) {
    return (float)((const int8_t *)values)[i];
}

MIX(f32, 4, LOAD_F32, cp_load_f32, NO_SCALE)
MIX(f16, 2, LOAD_F16, cp_load_f16, NO_SCALE)
MIX(int8, 1, LOAD_INT8, one_int8, GROUP_SCALE)

static void entry_f32(const void *values, size_t n, size_t width, const float *weights,
                      size_t stride, size_t n_queries, float *out) {
    mix_f32(&(mix_source){values, NULL, width, width}, n, weights, stride, n_queries, out);
}

static void entry_f16(const void *values, size_t n, size_t width, const float *weights,
                      size_t stride, size_t n_queries, float *out) {
    mix_f16(&(mix_source){values, NULL, width, width}, n, weights, stride, n_queries, out);
}

static void entry_int8(const int8_t *values, const float *scales, size_t n, size_t width,
                       size_t row, const float *weights, size_t stride, size_t n_queries,
                       float *out) {
    mix_int8(&(mix_source){(const char *)values, scales, width, row}, n, weights, stride, n_queries,
             out);
}

static void to_f16(const float *x, size_t n, uint16_t *out) {
    size_t i = 0;
    for (; i + CP_VECTOR_FLOATS <= n; i += CP_VECTOR_FLOATS)
        STORE_F16(out + i, LOAD_F32((const char *)(x + i)));
    for (; i < n; i++)
        out[i] = cp_f16_of_float(x[i]);
}

static const cp_mix_kernels table = {
    .f32 = entry_f32, .f16 = entry_f16, .int8 = entry_int8, .to_f16 = to_f16};
