/* Scores and weighted sums, written once over vectors and compiled for each instruction set.
 *
 * A file defines VECTOR and CP_VECTOR_FLOATS (floats in one), BLOCK_VECTORS (registers of
 * dimensions that QUERIES = 4 queries' sums are kept in), LOAD_F32, LOAD_F16 and LOAD_INT8 (that
 * many stored values as a vector), STORE, STORE_F16, FMA(a, b, c) and tree4 (the fixed tree of four
 * sets of 16 partial sums), then includes this. Keys and values are loaded and widened once for
 * four queries: the heads that share a kv head, and neighbouring tokens of a prefill. */
#include "engine/kernels/lanes.h"
#include "engine/kernels/mix_kernels.h"

#define QUERIES 4
#define BLOCK   (BLOCK_VECTORS * CP_VECTOR_FLOATS)

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
                                    size_t stride, size_t n_queries, bool go_on, float *out) {     \
        VECTOR acc[QUERIES][BLOCK_VECTORS];                                                        \
        for (size_t q = 0; q < n_queries; q++)                                                     \
            for (size_t v = 0; v < BLOCK_VECTORS; v++)                                             \
                acc[q][v] =                                                                        \
                    go_on                                                                          \
                        ? LOAD_F32((const char *)(out + q * s->width + d + v * CP_VECTOR_FLOATS))  \
                        : ZERO();                                                                  \
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
    static float one_sum_##TYPE(const mix_source *s, size_t d, size_t n, const float *weights,     \
                                float acc) {                                                       \
        for (size_t p = 0; p < n; p++)                                                             \
            acc = fmaf(SCALE(s, weights[p], p, d), ONE(s->values, p * s->row + d), acc);           \
        return acc;                                                                                \
    }                                                                                              \
    static void mix_##TYPE(const mix_source *s, size_t n, const float *weights, size_t stride,     \
                           size_t n_queries, bool go_on, float *out) {                             \
        for (size_t q = 0; q < n_queries;) {                                                       \
            size_t together = n_queries - q >= QUERIES ? QUERIES : n_queries - q >= 2 ? 2 : 1;     \
            const float *w = weights + q * stride;                                                 \
            float *to = out + q * s->width;                                                        \
            size_t d = 0;                                                                          \
            for (; d + BLOCK <= s->width; d += BLOCK) {                                            \
                if (together == QUERIES)                                                           \
                    block_##TYPE(s, d, n, w, stride, QUERIES, go_on, to);                          \
                else if (together == 2)                                                            \
                    block_##TYPE(s, d, n, w, stride, 2, go_on, to);                                \
                else                                                                               \
                    block_##TYPE(s, d, n, w, stride, 1, go_on, to);                                \
            }                                                                                      \
            for (; d < s->width; d++)                                                              \
                for (size_t k = 0; k < together; k++)                                              \
                    to[k * s->width + d] =                                                         \
                        one_sum_##TYPE(s, d, n, w + k * stride, go_on ? to[k * s->width + d] : 0); \
            q += together;                                                                         \
        }                                                                                          \
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
                      size_t stride, size_t n_queries, bool go_on, float *out) {
    mix_f32(&(mix_source){values, NULL, width, width}, n, weights, stride, n_queries, go_on, out);
}

static void entry_f16(const void *values, size_t n, size_t width, const float *weights,
                      size_t stride, size_t n_queries, bool go_on, float *out) {
    mix_f16(&(mix_source){values, NULL, width, width}, n, weights, stride, n_queries, go_on, out);
}

static void entry_int8(const int8_t *values, const float *scales, size_t n, size_t width,
                       size_t row, const float *weights, size_t stride, size_t n_queries,
                       bool go_on, float *out) {
    mix_int8(&(mix_source){(const char *)values, scales, width, row}, n, weights, stride, n_queries,
             go_on, out);
}

/* ---- scores -------------------------------------------------------------------------------------
 */

#define SUM_VECTORS (CP_LANES / CP_VECTOR_FLOATS) /* that hold one set of 16 partial sums */

/* Adds the products of the last width % 16 values to the partial sums, lane by lane. */
#define SCORE(TYPE, BYTES, LOAD, ONE)                                                              \
    static inline void tail_##TYPE(VECTOR acc[SUM_VECTORS], const char *key, const float *query,   \
                                   size_t n) {                                                     \
        float sums[CP_LANES];                                                                      \
        for (size_t v = 0; v < SUM_VECTORS; v++)                                                   \
            STORE(sums + v * CP_VECTOR_FLOATS, acc[v]);                                            \
        for (size_t i = 0; i < n; i++)                                                             \
            sums[i] = fmaf(ONE(key, i), query[i], sums[i]);                                        \
        for (size_t v = 0; v < SUM_VECTORS; v++)                                                   \
            acc[v] = LOAD_F32((const char *)(sums + v * CP_VECTOR_FLOATS));                        \
    }                                                                                              \
    /* Four queries (the last repeated when there are fewer) against one key. */                   \
    static inline void score4_##TYPE(const char *key, size_t width, const float *const query[4],   \
                                     float out[4]) {                                               \
        VECTOR acc[4][SUM_VECTORS];                                                                \
        for (size_t q = 0; q < 4; q++)                                                             \
            for (size_t v = 0; v < SUM_VECTORS; v++)                                               \
                acc[q][v] = ZERO();                                                                \
        size_t i = 0;                                                                              \
        for (; i + CP_LANES <= width; i += CP_LANES)                                               \
            for (size_t v = 0; v < SUM_VECTORS; v++) {                                             \
                VECTOR k = LOAD(key + (i + v * CP_VECTOR_FLOATS) * (BYTES));                       \
                for (size_t q = 0; q < 4; q++)                                                     \
                    acc[q][v] =                                                                    \
                        FMA(k, LOAD_F32((const char *)(query[q] + i + v * CP_VECTOR_FLOATS)),      \
                            acc[q][v]);                                                            \
            }                                                                                      \
        if (i < width)                                                                             \
            for (size_t q = 0; q < 4; q++)                                                         \
                tail_##TYPE(acc[q], key + i * (BYTES), query[q] + i, width - i);                   \
        tree4(acc, out);                                                                           \
    }                                                                                              \
    static void score_##TYPE(const void *keys, size_t n, size_t width, const float *queries,       \
                             size_t n_queries, float *scores, size_t stride) {                     \
        for (size_t q = 0; q < n_queries; q += 4) {                                                \
            size_t together = n_queries - q < 4 ? n_queries - q : 4;                               \
            const float *query[4];                                                                 \
            for (size_t k = 0; k < 4; k++)                                                         \
                query[k] = queries + (q + (k < together ? k : together - 1)) * width;              \
            for (size_t p = 0; p < n; p++) {                                                       \
                float four[4];                                                                     \
                score4_##TYPE((const char *)keys + p * width * (BYTES), width, query, four);       \
                for (size_t k = 0; k < together; k++)                                              \
                    scores[(q + k) * stride + p] = four[k];                                        \
            }                                                                                      \
        }                                                                                          \
    }

SCORE(f32, 4, LOAD_F32, cp_load_f32)
SCORE(f16, 2, LOAD_F16, cp_load_f16)

static void to_f16(const float *x, size_t n, uint16_t *out) {
    size_t i = 0;
    for (; i + CP_VECTOR_FLOATS <= n; i += CP_VECTOR_FLOATS)
        STORE_F16(out + i, LOAD_F32((const char *)(x + i)));
    for (; i < n; i++)
        out[i] = cp_f16_of_float(x[i]);
}

static const cp_mix_kernels table = {
    .score_f32 = score_f32,
    .score_f16 = score_f16,
    .f32 = entry_f32,
    .f16 = entry_f16,
    .int8 = entry_int8,
    .to_f16 = to_f16,
};
