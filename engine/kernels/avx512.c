/* AVX-512: the 16 partial sums of a reduction are one register; tails are masked lanes. */
#include "engine/kernels/kernels.h"

#include "engine/kernels/avx512_quant.h"
#include "engine/kernels/ahead.h"
#include "engine/kernels/lanes.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

/* The first n lanes, all from 16 on. */
INLINE __mmask16 first(size_t n) {
    return n >= CP_LANES ? 0xffff : (__mmask16)((1u << n) - 1);
}

/* The fixed tree. */
INLINE float tree_sum(__m512 s) {
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static float dot(const float *a, const float *b, size_t n) {
    __m512 s = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + CP_LANES <= n; i += CP_LANES)
        s = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), s);
    __mmask16 tail = first(n - i); /* lanes beyond keep their sum: adding 0 would turn -0 into 0 */
    s = _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(tail, a + i),
                              _mm512_maskz_loadu_ps(tail, b + i), s, tail);
    return tree_sum(s);
}

static void axpy(float a, const float *x, float *y, size_t n) {
    __m512 factor = _mm512_set1_ps(a);
    for (size_t i = 0; i < n; i += CP_LANES) {
        __mmask16 m = first(n - i);
        __m512 sum = _mm512_fmadd_ps(factor, _mm512_maskz_loadu_ps(m, x + i),
                                     _mm512_maskz_loadu_ps(m, y + i));
        _mm512_mask_storeu_ps(y + i, m, sum);
    }
}

/* Up to 16 stored values at `from`, as float32: the lanes of the mask. */
INLINE __m512 load_f32(const char *from, __mmask16 m) {
    return _mm512_maskz_loadu_ps(m, from);
}

INLINE __m512 load_f16(const char *from, __mmask16 m) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, from));
}

INLINE __m512 load_bf16(const char *from, __mmask16 m) {
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

#define ROWS 4 /* of a gemv at a time: each value of x is loaded once for all of them */

/* One function a stored type. The next rows are asked for meanwhile: short rows in turn
 * give the hardware prefetcher no run to follow. */
#define GEMV_AND_WIDEN(TYPE, BYTES)                                                                \
    INLINE void rows_##TYPE(const char *w, size_t n_rows, size_t cols, const float *x,             \
                            float *out) {                                                          \
        __m512 s[ROWS];                                                                            \
        size_t i = 0, stride = cols * (BYTES);                                                     \
        UNROLL for (size_t r = 0; r < n_rows; r++) s[r] = _mm512_setzero_ps();                     \
        for (; i + CP_LANES <= cols; i += CP_LANES) {                                              \
            __m512 values = _mm512_loadu_ps(x + i);                                                \
            UNROLL for (size_t r = 0; r < n_rows; r++) {                                           \
                const char *at = w + r * stride + i * (BYTES);                                     \
                _mm_prefetch(at + ROWS * stride, _MM_HINT_T1);                                     \
                s[r] = _mm512_fmadd_ps(load_##TYPE(at, 0xffff), values, s[r]);                     \
            }                                                                                      \
        }                                                                                          \
        __mmask16 tail = first(cols - i);                                                          \
        __m512 values = _mm512_maskz_loadu_ps(tail, x + i);                                        \
        UNROLL for (size_t r = 0; r < n_rows; r++) out[r] = tree_sum(_mm512_mask3_fmadd_ps(        \
            load_##TYPE(w + r * stride + i * (BYTES), tail), values, s[r], tail));                 \
    }                                                                                              \
    static void gemv_##TYPE(const void *w, size_t rows, size_t cols, const float *x, float *out) { \
        const char *at = w;                                                                        \
        size_t r = 0;                                                                              \
        for (; r + ROWS <= rows; r += ROWS)                                                        \
            rows_##TYPE(at + r * cols * (BYTES), ROWS, cols, x, out + r);                          \
        for (; r < rows; r++)                                                                      \
            rows_##TYPE(at + r * cols * (BYTES), 1, cols, x, out + r);                             \
    }                                                                                              \
    static void widen_##TYPE(const void *from, size_t n, float *out) {                             \
        for (size_t i = 0; i < n; i += CP_LANES) {                                                 \
            __mmask16 m = first(n - i);                                                            \
            _mm512_mask_storeu_ps(out + i, m, load_##TYPE((const char *)from + i * (BYTES), m));   \
        }                                                                                          \
    }

GEMV_AND_WIDEN(f32, 4)
GEMV_AND_WIDEN(f16, 2)
GEMV_AND_WIDEN(bf16, 2)

static void rms_norm(const float *x, const float *weight, float eps, size_t n, float *out) {
    __m512 factor = _mm512_set1_ps(1.0f / sqrtf(dot(x, x, n) / (float)n + eps));
    for (size_t i = 0; i < n; i += CP_LANES) {
        __mmask16 m = first(n - i);
        __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), factor);
        _mm512_mask_storeu_ps(out + i, m,
                              _mm512_mul_ps(scaled, _mm512_maskz_loadu_ps(m, weight + i)));
    }
}

static void rope(float *x, const float *cosine, const float *sine, size_t half) {
    for (size_t i = 0; i < half; i += CP_LANES) {
        __mmask16 m = first(half - i);
        __m512 a = _mm512_maskz_loadu_ps(m, x + i), b = _mm512_maskz_loadu_ps(m, x + i + half);
        __m512 c = _mm512_maskz_loadu_ps(m, cosine + i), s = _mm512_maskz_loadu_ps(m, sine + i);
        _mm512_mask_storeu_ps(x + i, m, _mm512_fmsub_ps(a, c, _mm512_mul_ps(b, s)));
        _mm512_mask_storeu_ps(x + i + half, m, _mm512_fmadd_ps(b, c, _mm512_mul_ps(a, s)));
    }
}

/* cp_expf, 16 at a time. max and min return their second operand for NaN: it comes first. */
INLINE __m512 exp16(__m512 x) {
    __m512 clamped = _mm512_max_ps(_mm512_set1_ps(CP_EXP_LOW), x);
    clamped = _mm512_min_ps(_mm512_set1_ps(CP_EXP_HIGH), clamped);
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(clamped, _mm512_set1_ps(CP_EXP_LOG2E)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(CP_EXP_LN2_HIGH), clamped);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(CP_EXP_LN2_LOW), r);
    __m512 p = _mm512_set1_ps(CP_EXP_C5);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(CP_EXP_C4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(CP_EXP_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(CP_EXP_C2));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(CP_EXP_C1));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(CP_EXP_C0));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
    __m512i power =
        _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23);
    return _mm512_mul_ps(p, _mm512_castsi512_ps(power));
}

/* As the scalar loop: a NaN first stays, one later is passed over. */
static float maximum(const float *x, size_t n) {
    __m512 max = _mm512_set1_ps(x[0]);
    for (size_t i = 0; i < n; i += CP_LANES)
        max =
            _mm512_mask_max_ps(max, first(n - i), _mm512_maskz_loadu_ps(first(n - i), x + i), max);
    return _mm512_reduce_max_ps(max);
}

static void softmax(float *x, size_t n) {
    __m512 sums = _mm512_setzero_ps(), shift = _mm512_set1_ps(maximum(x, n));
    for (size_t i = 0; i < n; i += CP_LANES) {
        __mmask16 m = first(n - i);
        __m512 e = exp16(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, x + i), shift));
        _mm512_mask_storeu_ps(x + i, m, e);
        sums = _mm512_mask_add_ps(sums, m, sums, e);
    }
    __m512 scale = _mm512_set1_ps(1.0f / tree_sum(sums));
    for (size_t i = 0; i < n; i += CP_LANES) {
        __mmask16 m = first(n - i);
        _mm512_mask_storeu_ps(x + i, m, _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), scale));
    }
}

static void swiglu(const float *gate, const float *up, size_t n, float *out) {
    const __m512 one = _mm512_set1_ps(1.0f), minus = _mm512_set1_ps(-0.0f);
    for (size_t i = 0; i < n; i += CP_LANES) {
        __mmask16 m = first(n - i);
        __m512 g = _mm512_maskz_loadu_ps(m, gate + i);
        __m512 silu = _mm512_div_ps(g, _mm512_add_ps(one, exp16(_mm512_xor_ps(g, minus))));
        _mm512_mask_storeu_ps(out + i, m, _mm512_mul_ps(silu, _mm512_maskz_loadu_ps(m, up + i)));
    }
}

/* n_rows rows, `apart` bytes from one to the next. The instruction multiplies unsigned with signed
 * bytes, without saturation: rows go in 128 higher, and 128 times the sum of the query is taken off
 * again (`surplus`). */
INLINE void dots_of_rows(const int8_t *rows, size_t n_rows, size_t apart, size_t width,
                         const int8_t *query, int32_t surplus, int32_t *out, size_t stride) {
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    __m512i s[CP_DOTS_STREAMS];
    size_t i = 0;
    UNROLL for (size_t r = 0; r < n_rows; r++) s[r] = _mm512_setzero_si512();
    for (; i + 64 <= width; i += 64) {
        __m512i q = _mm512_loadu_si512(query + i);
        UNROLL for (size_t r = 0; r < n_rows; r++) {
            const int8_t *at = rows + r * apart + i;
            __builtin_prefetch(at + CP_DOTS_AHEAD);
            s[r] = _mm512_dpbusd_epi32(s[r], _mm512_xor_si512(_mm512_loadu_si512(at), flip), q);
        }
    }
    __mmask64 tail = ((__mmask64)1 << (width - i)) - 1;
    __m512i q = _mm512_maskz_loadu_epi8(tail, query + i);
    UNROLL for (size_t r = 0; r < n_rows; r++) {
        __m512i row = _mm512_maskz_loadu_epi8(tail, rows + r * apart + i);
        __m512i sum = _mm512_dpbusd_epi32(s[r], _mm512_xor_si512(row, flip), q);
        out[r * stride] = _mm512_reduce_add_epi32(sum) - surplus;
    }
}

static void int8_dots(const int8_t *rows, size_t n, size_t width, const int8_t *query,
                      int32_t *out) {
    size_t n_each = n / CP_DOTS_STREAMS;
    int32_t surplus = 0;
    for (size_t i = 0; i < width; i++)
        surplus += 128 * query[i];
    for (size_t r = 0; r < n_each; r++)
        dots_of_rows(rows + r * width, CP_DOTS_STREAMS, n_each * width, width, query, surplus,
                     out + r, n_each);
    for (size_t r = CP_DOTS_STREAMS * n_each; r < n; r++)
        dots_of_rows(rows + r * width, 1, 0, width, query, surplus, out + r, 1);
}

const cp_kernels *cp_kernels_avx512(void) {
    static const cp_kernels table = {
        .name = "avx512",
        .dot = dot,
        .axpy = axpy,
        .gemv = {[CP_F32] = gemv_f32, [CP_F16] = gemv_f16, [CP_BF16] = gemv_bf16},
        .widen = {[CP_F32] = widen_f32, [CP_F16] = widen_f16, [CP_BF16] = widen_bf16},
        .rms_norm = rms_norm,
        .rope = rope,
        .softmax = softmax,
        .swiglu = swiglu,
        .quantize = cp_avx512_quantize,
        .quant_product = {[CP_INT8] = cp_avx512_product_int8,
                          [CP_INT5] = cp_avx512_product_int5,
                          [CP_INT4] = cp_avx512_product_int4},
        .int8_dots = int8_dots,
    };
    return &table;
}
