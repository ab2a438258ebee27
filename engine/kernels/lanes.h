/* Pieces that every instruction set's kernels share: the stored types, the fixed tree, e^x in
 * float.
 *
 * Static inline, so that each translation unit compiles them with its own flags. */
#ifndef CP_ENGINE_KERNELS_LANES_H
#define CP_ENGINE_KERNELS_LANES_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CP_LANES 16

static inline float cp_float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float cp_float_of_bf16(uint16_t half) {
    return cp_float_of_bits((uint32_t)half << 16);
}

/* IEEE 754 binary16, subnormals and infinities included. */
static inline float cp_float_of_f16(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31,
             fraction = half & 1023;
    if (exponent == 31)
        return cp_float_of_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) {
        float value = (float)fraction * 5.9604644775390625e-8f; /* 2^-24, exact */
        return sign ? -value : value;
    }
    return cp_float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

/* To binary16, rounded to nearest even; too large becomes infinity, NaN stays NaN. */
static inline uint16_t cp_f16_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (size >= 0x477ff000) /* 65520 and above */
        return (uint16_t)(sign | 0x7c00);
    if (size < 0x38800000) {                                 /* below 2^-14: a multiple of 2^-24 */
        float scaled = cp_float_of_bits(size) * 16777216.0f; /* exact */
        return (uint16_t)(sign | (uint32_t)rintf(scaled));
    }
    uint32_t rounded = size + 0xfff + (size >> 13 & 1);
    return (uint16_t)(sign | (rounded - (112u << 23)) >> 13);
}

/* The i-th stored value, at any alignment. */
static inline float cp_load_f32(const void *from, size_t i) {
    float value;
    memcpy(&value, (const char *)from + i * sizeof value, sizeof value);
    return value;
}

static inline float cp_load_bf16(const void *from, size_t i) {
    uint16_t half;
    memcpy(&half, (const char *)from + i * sizeof half, sizeof half);
    return cp_float_of_bf16(half);
}

static inline float cp_load_f16(const void *from, size_t i) {
    uint16_t half;
    memcpy(&half, (const char *)from + i * sizeof half, sizeof half);
    return cp_float_of_f16(half);
}

static inline float cp_tree_sum(float s[CP_LANES]) {
    for (size_t step = CP_LANES / 2; step > 0; step /= 2)
        for (size_t i = 0; i < step; i++)
            s[i] += s[i + step];
    return s[0];
}

/* e^x in float: x = n ln 2 + r, a degree-6 polynomial in r (Cephes' coefficients), times 2^n.
 * Relative error about 2e-7. Arguments are clamped to [-87, 88], so the result is always finite and
 * normal. The vector forms do the same operations in the same order. */
#define CP_EXP_LOW      -87.0f
#define CP_EXP_HIGH     88.0f
#define CP_EXP_LOG2E    1.44269504088896341f
#define CP_EXP_LN2_HIGH 0.693359375f
#define CP_EXP_LN2_LOW  -2.12194440e-4f
#define CP_EXP_C5       1.9875691500e-4f
#define CP_EXP_C4       1.3981999507e-3f
#define CP_EXP_C3       8.3334519073e-3f
#define CP_EXP_C2       4.1665795894e-2f
#define CP_EXP_C1       1.6666665459e-1f
#define CP_EXP_C0       5.0000001201e-1f

static inline float cp_expf(float x) {
    x = x < CP_EXP_LOW ? CP_EXP_LOW : x; /* NaN passes both */
    x = x > CP_EXP_HIGH ? CP_EXP_HIGH : x;
    if (x != x)
        return x;
    float n = rintf(x * CP_EXP_LOG2E);
    float r = fmaf(-n, CP_EXP_LN2_HIGH, x);
    r = fmaf(-n, CP_EXP_LN2_LOW, r);
    float p = CP_EXP_C5;
    p = fmaf(p, r, CP_EXP_C4);
    p = fmaf(p, r, CP_EXP_C3);
    p = fmaf(p, r, CP_EXP_C2);
    p = fmaf(p, r, CP_EXP_C1);
    p = fmaf(p, r, CP_EXP_C0);
    p = fmaf(p, r * r, r + 1.0f);
    return p * cp_float_of_bits((uint32_t)((int32_t)n + 127) << 23);
}

/* ---- what defines the element-wise kernels, from element i on: all of it for the scalar ones,
 * what is left after whole vectors for the others */

static inline void cp_rms_scale_from(size_t i, const float *x, const float *weight, float scale,
                                     size_t n, float *out) {
    for (; i < n; i++)
        out[i] = x[i] * scale * weight[i];
}

static inline void cp_rope_from(size_t i, float *x, const float *cosine, const float *sine,
                                size_t half) {
    for (; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = fmaf(a, cosine[i], -(b * sine[i]));
        x[i + half] = fmaf(b, cosine[i], a * sine[i]);
    }
}

static inline float cp_max_from(size_t i, const float *x, size_t n, float max) {
    for (; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

/* Exponentials from i on, added to the lanes' sums of those before; then all of x over their sum.
 */
static inline void cp_softmax_from(size_t i, float *x, size_t n, float max, float sums[CP_LANES]) {
    for (; i < n; i++) {
        x[i] = cp_expf(x[i] - max);
        sums[i % CP_LANES] += x[i];
    }
    float scale = 1.0f / cp_tree_sum(sums);
    for (i = 0; i < n; i++)
        x[i] *= scale;
}

static inline void cp_swiglu_from(size_t i, const float *gate, const float *up, size_t n,
                                  float *out) {
    for (; i < n; i++)
        out[i] = gate[i] / (1.0f + cp_expf(-gate[i])) * up[i];
}

#endif
