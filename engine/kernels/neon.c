/* NEON, the baseline of every 64-bit ARM: 16 lanes are four registers; tails keep the scalar order.
 */
#include "engine/kernels/neon.h"

#include "engine/kernels/ahead.h"
#include "engine/kernels/lanes.h"

#include <arm_neon.h>
#include <stdbool.h>
#include <sys/auxv.h>

#define QUADS 4 /* registers of 4 floats that make CP_LANES */

/* The 16 partial sums of a reduction. */
typedef struct sums16 {
    float32x4_t quad[QUADS];
} sums16;

static inline sums16 zero_sums(void) {
    float32x4_t zero = vdupq_n_f32(0);
    return (sums16){{zero, zero, zero, zero}};
}

static inline void store16(float lanes[CP_LANES], sums16 s) {
    for (size_t q = 0; q < QUADS; q++)
        vst1q_f32(lanes + 4 * q, s.quad[q]);
}

/* The fixed tree. */
static inline float tree_sum(sums16 s) {
    float32x4_t low = vaddq_f32(s.quad[0], s.quad[2]), high = vaddq_f32(s.quad[1], s.quad[3]);
    float32x4_t four = vaddq_f32(low, high);
    float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

/* Adds the tail values (fewer than 16) lane by lane, then the tree. */
static float finish(sums16 s, const float *a, const float *b, size_t n_tail) {
    if (n_tail == 0)
        return tree_sum(s);
    float lanes[CP_LANES];
    store16(lanes, s);
    for (size_t i = 0; i < n_tail; i++)
        lanes[i] = fmaf(a[i], b[i], lanes[i]);
    return cp_tree_sum(lanes);
}

static float dot(const float *a, const float *b, size_t n) {
    sums16 s = zero_sums();
    size_t i = 0;
    for (; i + CP_LANES <= n; i += CP_LANES)
        for (size_t q = 0; q < QUADS; q++)
            s.quad[q] = vfmaq_f32(s.quad[q], vld1q_f32(a + i + 4 * q), vld1q_f32(b + i + 4 * q));
    return finish(s, a + i, b + i, n - i);
}

static void axpy(float a, const float *x, float *y, size_t n) {
    float32x4_t factor = vdupq_n_f32(a);
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vfmaq_f32(vld1q_f32(y + i), factor, vld1q_f32(x + i)));
    for (; i < n; i++)
        y[i] = fmaf(a, x[i], y[i]);
}

/* Four stored values at `from`, at any alignment, as float32. */
static inline float32x4_t load4_f32(const char *from) {
    return vreinterpretq_f32_u8(vld1q_u8((const uint8_t *)from));
}

static inline float32x4_t load4_f16(const char *from) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8((const uint8_t *)from)));
}

static inline float32x4_t load4_bf16(const char *from) {
    uint16x4_t halves = vreinterpret_u16_u8(vld1_u8((const uint8_t *)from));
    return vreinterpretq_f32_u32(vshll_n_u16(halves, 16));
}

/* One function a stored type. Two rows at a time: each value of x is loaded once for both, and
 * eight independent sums hide the latency of the multiply-add. */
#define GEMV_AND_WIDEN(TYPE, BYTES)                                                                \
    static float tail_dot_##TYPE(sums16 s, const char *row, const float *x, size_t n) {            \
        float values[CP_LANES];                                                                    \
        for (size_t i = 0; i < n; i++)                                                             \
            values[i] = cp_load_##TYPE(row, i);                                                    \
        return finish(s, values, x, n);                                                            \
    }                                                                                              \
    static inline void rows_##TYPE(const char *w, size_t n_rows, size_t cols, const float *x,      \
                                   float *out) {                                                   \
        sums16 s[2] = {zero_sums(), zero_sums()};                                                  \
        size_t i = 0, stride = cols * (BYTES);                                                     \
        for (; i + CP_LANES <= cols; i += CP_LANES)                                                \
            for (size_t q = 0; q < QUADS; q++) {                                                   \
                float32x4_t four = vld1q_f32(x + i + 4 * q);                                       \
                for (size_t r = 0; r < n_rows; r++) {                                              \
                    const char *at = w + r * stride + (i + 4 * q) * (BYTES);                       \
                    s[r].quad[q] = vfmaq_f32(s[r].quad[q], load4_##TYPE(at), four);                \
                }                                                                                  \
            }                                                                                      \
        for (size_t r = 0; r < n_rows; r++)                                                        \
            out[r] = tail_dot_##TYPE(s[r], w + r * stride + i * (BYTES), x + i, cols - i);         \
    }                                                                                              \
    static void gemv_##TYPE(const void *w, size_t rows, size_t cols, const float *x, float *out) { \
        const char *at = w;                                                                        \
        size_t r = 0;                                                                              \
        for (; r + 2 <= rows; r += 2)                                                              \
            rows_##TYPE(at + r * cols * (BYTES), 2, cols, x, out + r);                             \
        if (r < rows)                                                                              \
            rows_##TYPE(at + r * cols * (BYTES), 1, cols, x, out + r);                             \
    }                                                                                              \
    static void widen_##TYPE(const void *from, size_t n, float *out) {                             \
        size_t i = 0;                                                                              \
        for (; i + 4 <= n; i += 4)                                                                 \
            vst1q_f32(out + i, load4_##TYPE((const char *)from + i * (BYTES)));                    \
        for (; i < n; i++)                                                                         \
            out[i] = cp_load_##TYPE(from, i);                                                      \
    }

GEMV_AND_WIDEN(f32, 4)
GEMV_AND_WIDEN(f16, 2)
GEMV_AND_WIDEN(bf16, 2)

static void rms_norm(const float *x, const float *weight, float eps, size_t n, float *out) {
    float scale = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
    float32x4_t factor = vdupq_n_f32(scale);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t scaled = vmulq_f32(vld1q_f32(x + i), factor);
        vst1q_f32(out + i, vmulq_f32(scaled, vld1q_f32(weight + i)));
    }
    cp_rms_scale_from(i, x, weight, scale, n, out);
}

static void rope(float *x, const float *cosine, const float *sine, size_t half) {
    size_t i = 0;
    for (; i + 4 <= half; i += 4) {
        float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + i + half);
        float32x4_t c = vld1q_f32(cosine + i), s = vld1q_f32(sine + i);
        vst1q_f32(x + i, vfmaq_f32(vnegq_f32(vmulq_f32(b, s)), a, c));
        vst1q_f32(x + i + half, vfmaq_f32(vmulq_f32(a, s), b, c));
    }
    cp_rope_from(i, x, cosine, sine, half);
}

/* cp_expf, four at a time. FMAX and FMIN give NaN for NaN. */
static inline float32x4_t exp4(float32x4_t x) {
    x = vminq_f32(vmaxq_f32(x, vdupq_n_f32(CP_EXP_LOW)), vdupq_n_f32(CP_EXP_HIGH));
    float32x4_t n = vrndnq_f32(vmulq_f32(x, vdupq_n_f32(CP_EXP_LOG2E)));
    float32x4_t r = vfmsq_f32(x, n, vdupq_n_f32(CP_EXP_LN2_HIGH));
    r = vfmsq_f32(r, n, vdupq_n_f32(CP_EXP_LN2_LOW));
    float32x4_t p = vdupq_n_f32(CP_EXP_C5);
    p = vfmaq_f32(vdupq_n_f32(CP_EXP_C4), p, r);
    p = vfmaq_f32(vdupq_n_f32(CP_EXP_C3), p, r);
    p = vfmaq_f32(vdupq_n_f32(CP_EXP_C2), p, r);
    p = vfmaq_f32(vdupq_n_f32(CP_EXP_C1), p, r);
    p = vfmaq_f32(vdupq_n_f32(CP_EXP_C0), p, r);
    p = vfmaq_f32(vaddq_f32(r, vdupq_n_f32(1.0f)), p, vmulq_f32(r, r));
    int32x4_t power = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
    return vmulq_f32(p, vreinterpretq_f32_s32(power));
}

/* The largest value. The scalar loop skips a NaN unless it comes first; either way a NaN makes
 * every output NaN, so here any order will do. */
static float largest(const float *x, size_t n) {
    float max = x[0];
    size_t i = 0;
    if (n >= 4) {
        float32x4_t four = vld1q_f32(x);
        for (i = 4; i + 4 <= n; i += 4)
            four = vmaxnmq_f32(four, vld1q_f32(x + i));
        max = vmaxnmvq_f32(four);
    }
    return cp_max_from(i, x, n, max);
}

static void softmax(float *x, size_t n) {
    float max = largest(x, n), lanes[CP_LANES];
    float32x4_t shift = vdupq_n_f32(max);
    sums16 s = zero_sums();
    size_t i = 0;
    for (; i + CP_LANES <= n; i += CP_LANES)
        for (size_t q = 0; q < QUADS; q++) {
            float32x4_t e = exp4(vsubq_f32(vld1q_f32(x + i + 4 * q), shift));
            vst1q_f32(x + i + 4 * q, e);
            s.quad[q] = vaddq_f32(s.quad[q], e);
        }
    store16(lanes, s);
    cp_softmax_from(i, x, n, max, lanes);
}

static void swiglu(const float *gate, const float *up, size_t n, float *out) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t g = vld1q_f32(gate + i);
        float32x4_t silu = vdivq_f32(g, vaddq_f32(vdupq_n_f32(1.0f), exp4(vnegq_f32(g))));
        vst1q_f32(out + i, vmulq_f32(silu, vld1q_f32(up + i)));
    }
    cp_swiglu_from(i, gate, up, n, out);
}

/* Products of bytes fit 16 bits, also (-128)^2, but not two of them: each is widened at once. */
static int32_t int8_dot(const int8_t *row, size_t width, const int8_t *query) {
    int32x4_t low = vdupq_n_s32(0), high = vdupq_n_s32(0);
    size_t i = 0;
    for (; i + 16 <= width; i += 16) {
        int8x16_t a = vld1q_s8(row + i), b = vld1q_s8(query + i);
        if (i % CP_CACHE_LINE == 0)
            __builtin_prefetch(row + i + CP_DOTS_AHEAD);
        low = vpadalq_s16(low, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
        high = vpadalq_s16(high, vmull_high_s8(a, b));
    }
    int32_t sum = vaddvq_s32(vaddq_s32(low, high));
    for (; i < width; i++)
        sum += row[i] * query[i];
    return sum;
}

static void int8_dots(const int8_t *rows, size_t n, size_t width, const int8_t *query,
                      int32_t *out) {
    for (size_t r = 0; r < n; r++)
        out[r] = int8_dot(rows + r * width, width, query);
}

#define TABLE(PRODUCT)                                                                             \
    {                                                                                              \
        .name = "neon",                                                                            \
        .dot = dot,                                                                                \
        .axpy = axpy,                                                                              \
        .gemv = {[CP_F32] = gemv_f32, [CP_F16] = gemv_f16, [CP_BF16] = gemv_bf16},                 \
        .widen = {[CP_F32] = widen_f32, [CP_F16] = widen_f16, [CP_BF16] = widen_bf16},             \
        .rms_norm = rms_norm,                                                                      \
        .rope = rope,                                                                              \
        .softmax = softmax,                                                                        \
        .swiglu = swiglu,                                                                          \
        .quantize = cp_neon_quantize,                                                              \
        .quant_product =                                                                           \
            {[CP_INT8] = PRODUCT##_int8, [CP_INT5] = PRODUCT##_int5, [CP_INT4] = PRODUCT##_int4},  \
        .int8_dots = int8_dots,                                                                    \
    }

const cp_kernels *cp_kernels_neon(void) {
    static const cp_kernels baseline = TABLE(cp_neon_product);
    static const cp_kernels dot_product = TABLE(cp_neon_dot);
    bool has_dot_product = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
    return has_dot_product ? &dot_product : &baseline;
}
