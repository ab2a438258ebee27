#include "convert/quantize.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* Everything between here and the two instances at the end is compiled twice, for the baseline and
 * for AVX2: loops over lanes that the compiler makes vectors of. No lane's arithmetic depends on
 * the width, so the bits do not either. */
#define INSTANCE static inline __attribute__((always_inline))

#define LANES   16
#define BATCHES 3 /* of LANES candidates, at most */
#define ROUNDER                                                                                    \
    0x1.8p23f /* added and subtracted: rounds |x| < 2^22 to the nearest even integer               \
               */

#define INFINITY_BITS 0x7f800000u
#define HALF_MAX      65504.0f

/* ---- number formats ---------------------------------------------------------------------------
 */

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint16_t cp_half_of_float(float value) {
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > INFINITY_BITS)
        return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 0x47800000) /* 65536 and above */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) { /* below 2^-14: adding 0.5 leaves units of 2^-24 at the end */
        uint32_t units = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000;
        return (uint16_t)(sign | units);
    }
    uint32_t odd = magnitude >> 13 & 1;
    return (uint16_t)(sign | (magnitude - 0x38000000 + 0xfff + odd) >> 13);
}

float cp_float_of_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31,
             fraction = half & 1023;
    if (exponent == 0) {
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    return float_of(sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13);
}

uint16_t cp_bfloat_of_float(float value) {
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffff) > INFINITY_BITS)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* ---- the levels -------------------------------------------------------------------------------
 */

/* What is tried: multiples of the integer steps a group's largest weight, made +1, is put on. */
typedef struct level {
    float lo, hi; /* integers */
    float plain;  /* the step of the plain scale: the largest weight is the largest integer */
    size_t n_batches;
    float steps[BATCHES * LANES];
} level;

/* int4: 16 steps each on the side of -8 (-6 to -10) and of 7 (5 to 9). */
#define INT4_STEP(i) ((float)(i) * 0.25f + 0.125f)
#define INT4_DOWN(i) (-6.0f - INT4_STEP(i))
#define INT4_UP(i)   (5.0f + INT4_STEP(i))
/* int5: 16 steps each on the side of -16 (-13.5 to -18.5) and of 15 (12.5 to 17.5). */
#define INT5_STEP(i) ((float)(i) * 0.3125f + 0.15625f)
#define INT5_DOWN(i) (-13.5f - INT5_STEP(i))
#define INT5_UP(i)   (12.5f + INT5_STEP(i))
/* int8: 48 steps from 112 to 129. */
#define INT8_STEP(i)  (129.0f - (float)(i) * 0.34375f)
#define FOUR(f, i)    f(i), f((i) + 1), f((i) + 2), f((i) + 3)
#define SIXTEEN(f, i) FOUR(f, i), FOUR(f, (i) + 4), FOUR(f, (i) + 8), FOUR(f, (i) + 12)

static const level levels[CP_N_QUANTS] = {
    [CP_INT8] = {-127,
                 127,
                 127,
                 3,
                 {SIXTEEN(INT8_STEP, 0), SIXTEEN(INT8_STEP, 16), SIXTEEN(INT8_STEP, 32)}},
    [CP_INT5] = {-16, 15, -16, 2, {SIXTEEN(INT5_DOWN, 0), SIXTEEN(INT5_UP, 0)}},
    [CP_INT4] = {-8, 7, -8, 2, {SIXTEEN(INT4_DOWN, 0), SIXTEEN(INT4_UP, 0)}},
};

/* ---- one group --------------------------------------------------------------------------------
 */

INSTANCE float rounded(float x, float lo, float hi) {
    x = x < lo ? lo : x;
    x = x > hi ? hi : x;
    return (x + ROUNDER) - ROUNDER;
}

/* The weight of largest magnitude, sign kept. */
INSTANCE float largest(const float w[CP_GROUP]) {
    float top[CP_GROUP];
    memcpy(top, w, sizeof top);
    for (size_t step = CP_GROUP / 2; step > 0; step /= 2)
        for (size_t i = 0; i < step; i++)
            top[i] = fabsf(top[i + step]) > fabsf(top[i]) ? top[i + step] : top[i];
    return top[0];
}

/* The sum, by a fixed tree; destroys x. */
INSTANCE float tree_sum(float x[CP_GROUP]) {
    for (size_t step = CP_GROUP / 2; step > 0; step /= 2)
        for (size_t i = 0; i < step; i++)
            x[i] += x[i + step];
    return x[0];
}

INSTANCE bool finite_all(const float w[CP_GROUP]) {
    uint32_t above = 0;
    for (size_t i = 0; i < CP_GROUP; i++)
        above |= (bits_of(w[i]) & INFINITY_BITS) == INFINITY_BITS;
    return !above;
}

/* What each weight's squared error counts: the root of the group's mean square, plus its size. */
INSTANCE void count(const float u[CP_GROUP], float counts[CP_GROUP]) {
    float squares[CP_GROUP];
    for (size_t i = 0; i < CP_GROUP; i++)
        squares[i] = u[i] * u[i];
    float middle = sqrtf(tree_sum(squares) / CP_GROUP);
    for (size_t i = 0; i < CP_GROUP; i++)
        counts[i] = middle + fabsf(u[i]);
}

/* The best of the level's candidates for u (largest weight +1): the scale that fits its integers.
 */
INSTANCE float search(const level *l, const float u[CP_GROUP], const float counts[CP_GROUP]) {
    float best = 0, scale = 1 / l->plain;
    for (size_t batch = 0; batch < l->n_batches; batch++) {
        const float *step = l->steps + batch * LANES;
        float uq[LANES] = {0}, qq[LANES] = {0}, gain[LANES];
        for (size_t i = 0; i < CP_GROUP; i++)
            for (size_t k = 0; k < LANES; k++) {
                float q = rounded(u[i] * step[k], l->lo, l->hi);
                uq[k] += counts[i] * (u[i] * q);
                qq[k] += counts[i] * (q * q);
            }
        for (size_t k = 0; k < LANES; k++)
            gain[k] = uq[k] * uq[k] / qq[k]; /* qq is above 25: the largest weight's own step */
        for (size_t k = 0; k < LANES; k++)
            if (gain[k] > best) {
                best = gain[k];
                scale = uq[k] / qq[k];
            }
    }
    return scale;
}

/* Integers for a scale as it will be used, what they cost, and the scale that would fit them. */
typedef struct fit {
    uint16_t half;
    float q[CP_GROUP];
    float cost, better; /* squared errors as they count */
    float error;        /* squared errors */
} fit;

INSTANCE void settle(const level *l, const float w[CP_GROUP], const float counts[CP_GROUP],
                     float scale, fit *out) {
    scale = scale > HALF_MAX ? HALF_MAX : scale < -HALF_MAX ? -HALF_MAX : scale;
    out->half = cp_half_of_float(scale);
    float s = cp_float_of_half(out->half), inverse = s != 0 ? 1 / s : 0;
    float error[CP_GROUP], cost[CP_GROUP], wq[CP_GROUP], qq[CP_GROUP];
    for (size_t i = 0; i < CP_GROUP; i++) {
        float q = rounded(w[i] * inverse, l->lo, l->hi), e = w[i] - s * q;
        out->q[i] = q;
        error[i] = e * e;
        cost[i] = counts[i] * (e * e);
        wq[i] = counts[i] * (w[i] * q);
        qq[i] = counts[i] * (q * q);
    }
    float squares = tree_sum(qq);
    out->error = tree_sum(error);
    out->cost = tree_sum(cost);
    out->better = squares > 0 ? tree_sum(wq) / squares : 0;
}

/* False when the group has no quantized form. */
INSTANCE bool quantize_group(const level *l, const float w[CP_GROUP], int8_t values[CP_GROUP],
                             uint16_t *half, double *error) {
    float top = largest(w), u[CP_GROUP], counts[CP_GROUP];
    memset(values, 0, CP_GROUP);
    *half = 0;
    *error = 0;
    if (!finite_all(w) || fabsf(top) > HALF_MAX * l->hi)
        return false;
    if (top == 0)
        return true;
    for (size_t i = 0; i < CP_GROUP; i++)
        u[i] = w[i] / top;
    count(u, counts);
    fit best, other;
    settle(l, w, counts, top / l->plain, &best);
    settle(l, w, counts, top * search(l, u, counts), &other);
    if (other.cost <= best.cost)
        best = other;
    settle(l, w, counts, best.better, &other);
    if (other.cost < best.cost)
        best = other;
    for (size_t i = 0; i < CP_GROUP; i++)
        values[i] = (int8_t)(int)best.q[i];
    *half = best.half & 0x7fff ? best.half : 0; /* no negative zero */
    *error = (double)best.error;
    return true;
}

/* ---- a tile -----------------------------------------------------------------------------------
 */

INSTANCE double energy_of(const float w[CP_GROUP]) {
    float squares[CP_GROUP];
    for (size_t i = 0; i < CP_GROUP; i++)
        squares[i] = w[i] * w[i];
    return (double)tree_sum(squares);
}

INSTANCE cp_quantized_tile tile(cp_quant quant, const float *rows, size_t n_rows, size_t cols,
                                unsigned char *out) {
    cp_quantized_tile result = {.bad_row = n_rows};
    size_t super_bytes = cp_quant_super_bytes(quant);
    for (size_t s = 0; s < cp_quant_supers(cols); s++)
        cp_quant_clear(quant, out + s * super_bytes);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t at = 0; at < cols; at += CP_GROUP) {
            float w[CP_GROUP] = {0};
            int8_t values[CP_GROUP];
            uint16_t half;
            double error;
            size_t n = cols - at < CP_GROUP ? cols - at : CP_GROUP;
            memcpy(w, rows + r * cols + at, n * sizeof *w);
            if (!quantize_group(&levels[quant], w, values, &half, &error)) {
                result.bad_row = r;
                return result;
            }
            cp_quant_pack(quant, out + at / CP_SUPER * super_bytes, r,
                          at / CP_GROUP % CP_GROUPS_A_SUPER, values, half);
            result.error += error;
            result.energy += energy_of(w);
        }
    return result;
}

cp_quantized_tile cp_quantize_tile_baseline(cp_quant quant, const float *rows, size_t n_rows,
                                            size_t cols, void *out) {
    return tile(quant, rows, n_rows, cols, out);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static cp_quantized_tile tile_avx2(cp_quant quant,
                                                                   const float *rows, size_t n_rows,
                                                                   size_t cols, void *out) {
    return tile(quant, rows, n_rows, cols, out);
}
#endif

cp_quantized_tile cp_quantize_tile(cp_quant quant, const float *rows, size_t n_rows, size_t cols,
                                   void *out) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        return tile_avx2(quant, rows, n_rows, cols, out);
#endif
    return cp_quantize_tile_baseline(quant, rows, n_rows, cols, out);
}
