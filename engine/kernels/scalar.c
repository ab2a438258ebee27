/* The definition of every kernel: plain C, no instruction set beyond the baseline. */
#include "engine/kernels/kernels.h"

#include "engine/kernels/lanes.h"
#include "engine/kernels/scalar_quant.h"

static float dot(const float *a, const float *b, size_t n) {
    float sums[CP_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        sums[i % CP_LANES] = fmaf(a[i], b[i], sums[i % CP_LANES]);
    return cp_tree_sum(sums);
}

static void axpy(float a, const float *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = fmaf(a, x[i], y[i]);
}

/* One function a stored type; `LOAD` reads the i-th value. */
#define GEMV_AND_WIDEN(TYPE, LOAD, BYTES)                                                          \
    static void gemv_##TYPE(const void *w, size_t rows, size_t cols, const float *x, float *out) { \
        for (size_t r = 0; r < rows; r++) {                                                        \
            const char *row = (const char *)w + r * cols * (BYTES);                                \
            float sums[CP_LANES] = {0};                                                            \
            for (size_t i = 0; i < cols; i++)                                                      \
                sums[i % CP_LANES] = fmaf(LOAD(row, i), x[i], sums[i % CP_LANES]);                 \
            out[r] = cp_tree_sum(sums);                                                            \
        }                                                                                          \
    }                                                                                              \
    static void widen_##TYPE(const void *from, size_t n, float *out) {                             \
        for (size_t i = 0; i < n; i++)                                                             \
            out[i] = LOAD(from, i);                                                                \
    }

GEMV_AND_WIDEN(f32, cp_load_f32, 4)
GEMV_AND_WIDEN(f16, cp_load_f16, 2)
GEMV_AND_WIDEN(bf16, cp_load_bf16, 2)

static void rms_norm(const float *x, const float *weight, float eps, size_t n, float *out) {
    float scale = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
    cp_rms_scale_from(0, x, weight, scale, n, out);
}

static void rope(float *x, const float *cosine, const float *sine, size_t half) {
    cp_rope_from(0, x, cosine, sine, half);
}

static void softmax(float *x, size_t n) {
    float sums[CP_LANES] = {0};
    cp_softmax_from(0, x, n, cp_max_from(1, x, n, x[0]), sums);
}

static void swiglu(const float *gate, const float *up, size_t n, float *out) {
    cp_swiglu_from(0, gate, up, n, out);
}

static void int8_dots(const int8_t *rows, size_t n, size_t width, const int8_t *query,
                      int32_t *out) {
    for (size_t r = 0; r < n; r++) {
        int32_t sum = 0;
        for (size_t i = 0; i < width; i++)
            sum += rows[r * width + i] * query[i];
        out[r] = sum;
    }
}

const cp_kernels *cp_kernels_scalar(void) {
    static const cp_kernels table = {
        .name = "scalar",
        .dot = dot,
        .axpy = axpy,
        .gemv = {[CP_F32] = gemv_f32, [CP_F16] = gemv_f16, [CP_BF16] = gemv_bf16},
        .widen = {[CP_F32] = widen_f32, [CP_F16] = widen_f16, [CP_BF16] = widen_bf16},
        .rms_norm = rms_norm,
        .rope = rope,
        .softmax = softmax,
        .swiglu = swiglu,
        .quantize = cp_scalar_quantize,
        .quant_product = {[CP_INT8] = cp_scalar_product_int8,
                          [CP_INT5] = cp_scalar_product_int5,
                          [CP_INT4] = cp_scalar_product_int4},
        .int8_dots = int8_dots,
    };
    return &table;
}
