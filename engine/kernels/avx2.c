/* AVX2 with FMA and F16C: 16 lanes are two registers; the tails fall back to the scalar order. */
#include "engine/kernels/kernels.h"

#include "engine/kernels/avx2_quant.h"
#include "engine/kernels/ahead.h"
#include "engine/kernels/lanes.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

/* The 16 partial sums of a reduction. */
typedef struct sums16 {
    __m256 low, high;
} sums16;

/* Adds the tail values (fewer than 16) lane by lane, then the fixed tree. */
static float finish(sums16 s, const float *a, const float *b, size_t n_tail) {
    if (n_tail > 0) {
        float lanes[CP_LANES];
        _mm256_storeu_ps(lanes, s.low);
        _mm256_storeu_ps(lanes + 8, s.high);
        for (size_t i = 0; i < n_tail; i++)
            lanes[i] = fmaf(a[i], b[i], lanes[i]);
        return cp_tree_sum(lanes);
    }
    __m256 eight = _mm256_add_ps(s.low, s.high);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static float dot(const float *a, const float *b, size_t n) {
    sums16 s = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    size_t i = 0;
    for (; i + CP_LANES <= n; i += CP_LANES) {
        s.low = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s.low);
        s.high = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), s.high);
    }
    return finish(s, a + i, b + i, n - i);
}

static void axpy(float a, const float *x, float *y, size_t n) {
    __m256 factor = _mm256_set1_ps(a);
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i,
                         _mm256_fmadd_ps(factor, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
    for (; i < n; i++)
        y[i] = fmaf(a, x[i], y[i]);
}

/* Eight stored values at `from`, as float32. */
static inline __m256 load8_f32(const char *from) {
    return _mm256_loadu_ps((const float *)(const void *)from);
}

static inline __m256 load8_f16(const char *from) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from));
}

static inline __m256 load8_bf16(const char *from) {
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

/* One function a stored type. Four rows at a time: each value of x is loaded once for all of them,
 * and eight independent sums hide the latency of the multiply-add. The next four are asked for
 * meanwhile: short rows in turn give the hardware prefetcher no run to follow. */
#define GEMV_AND_WIDEN(TYPE, BYTES)                                                                \
    static inline float tail_dot_##TYPE(sums16 s, const char *row, const float *x, size_t n) {     \
        float values[CP_LANES];                                                                    \
        for (size_t i = 0; i < n; i++)                                                             \
            values[i] = cp_load_##TYPE(row, i);                                                    \
        return finish(s, values, x, n);                                                            \
    }                                                                                              \
    static inline void rows_##TYPE(const char *w, size_t n_rows, size_t cols, const float *x,      \
                                   float *out) {                                                   \
        sums16 s[4];                                                                               \
        size_t i = 0, stride = cols * (BYTES);                                                     \
        for (size_t r = 0; r < n_rows; r++)                                                        \
            s[r] = (sums16){_mm256_setzero_ps(), _mm256_setzero_ps()};                             \
        for (; i + CP_LANES <= cols; i += CP_LANES) {                                              \
            __m256 x_low = _mm256_loadu_ps(x + i), x_high = _mm256_loadu_ps(x + i + 8);            \
            for (size_t r = 0; r < n_rows; r++) {                                                  \
                const char *at = w + r * stride + i * (BYTES);                                     \
                _mm_prefetch(at + 4 * stride, _MM_HINT_T1);                                        \
                s[r].low = _mm256_fmadd_ps(load8_##TYPE(at), x_low, s[r].low);                     \
                s[r].high = _mm256_fmadd_ps(load8_##TYPE(at + 8 * (BYTES)), x_high, s[r].high);    \
            }                                                                                      \
        }                                                                                          \
        for (size_t r = 0; r < n_rows; r++)                                                        \
            out[r] = tail_dot_##TYPE(s[r], w + r * stride + i * (BYTES), x + i, cols - i);         \
    }                                                                                              \
    static void gemv_##TYPE(const void *w, size_t rows, size_t cols, const float *x, float *out) { \
        const char *at = w;                                                                        \
        size_t r = 0;                                                                              \
        for (; r + 4 <= rows; r += 4)                                                              \
            rows_##TYPE(at + r * cols * (BYTES), 4, cols, x, out + r);                             \
        for (; r < rows; r++)                                                                      \
            rows_##TYPE(at + r * cols * (BYTES), 1, cols, x, out + r);                             \
    }                                                                                              \
    static void widen_##TYPE(const void *from, size_t n, float *out) {                             \
        size_t i = 0;                                                                              \
        for (; i + 8 <= n; i += 8)                                                                 \
            _mm256_storeu_ps(out + i, load8_##TYPE((const char *)from + i * (BYTES)));             \
        for (; i < n; i++)                                                                         \
            out[i] = cp_load_##TYPE(from, i);                                                      \
    }

GEMV_AND_WIDEN(f32, 4)
GEMV_AND_WIDEN(f16, 2)
GEMV_AND_WIDEN(bf16, 2)

static void rms_norm(const float *x, const float *weight, float eps, size_t n, float *out) {
    float scale = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
    __m256 factor = _mm256_set1_ps(scale);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + i), factor);
        _mm256_storeu_ps(out + i, _mm256_mul_ps(scaled, _mm256_loadu_ps(weight + i)));
    }
    cp_rms_scale_from(i, x, weight, scale, n, out);
}

static void rope(float *x, const float *cosine, const float *sine, size_t half) {
    size_t i = 0;
    for (; i + 8 <= half; i += 8) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + half);
        __m256 c = _mm256_loadu_ps(cosine + i), s = _mm256_loadu_ps(sine + i);
        _mm256_storeu_ps(x + i, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
        _mm256_storeu_ps(x + i + half, _mm256_fmadd_ps(b, c, _mm256_mul_ps(a, s)));
    }
    cp_rope_from(i, x, cosine, sine, half);
}

/* cp_expf, eight at a time. max and min return their second operand for NaN: it comes first. */
static inline __m256 exp8(__m256 x) {
    __m256 clamped = _mm256_max_ps(_mm256_set1_ps(CP_EXP_LOW), x);
    clamped = _mm256_min_ps(_mm256_set1_ps(CP_EXP_HIGH), clamped);
    __m256 n = _mm256_round_ps(_mm256_mul_ps(clamped, _mm256_set1_ps(CP_EXP_LOG2E)),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(CP_EXP_LN2_HIGH), clamped);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(CP_EXP_LN2_LOW), r);
    __m256 p = _mm256_set1_ps(CP_EXP_C5);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(CP_EXP_C4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(CP_EXP_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(CP_EXP_C2));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(CP_EXP_C1));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(CP_EXP_C0));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), _mm256_add_ps(r, _mm256_set1_ps(1.0f)));
    __m256i power =
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(p, _mm256_castsi256_ps(power));
}

/* As the scalar loop: a NaN that comes first stays, a later one is passed over (max returns its
 * second operand for NaN). */
static float maximum(const float *x, size_t n) {
    __m256 max8 = _mm256_set1_ps(x[0]);
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        max8 = _mm256_max_ps(_mm256_loadu_ps(x + i), max8);
    float lanes[8], max = x[0];
    _mm256_storeu_ps(lanes, max8);
    for (size_t l = 0; l < 8; l++)
        max = lanes[l] > max ? lanes[l] : max;
    return cp_max_from(i, x, n, max);
}

static void softmax(float *x, size_t n) {
    float max = maximum(x, n);
    sums16 s = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    __m256 shift = _mm256_set1_ps(max);
    size_t i = 0;
    for (; i + CP_LANES <= n; i += CP_LANES) {
        __m256 low = exp8(_mm256_sub_ps(_mm256_loadu_ps(x + i), shift));
        __m256 high = exp8(_mm256_sub_ps(_mm256_loadu_ps(x + i + 8), shift));
        _mm256_storeu_ps(x + i, low);
        _mm256_storeu_ps(x + i + 8, high);
        s.low = _mm256_add_ps(s.low, low);
        s.high = _mm256_add_ps(s.high, high);
    }
    float sums[CP_LANES];
    _mm256_storeu_ps(sums, s.low);
    _mm256_storeu_ps(sums + 8, s.high);
    cp_softmax_from(i, x, n, max, sums);
}

static void swiglu(const float *gate, const float *up, size_t n, float *out) {
    const __m256 one = _mm256_set1_ps(1.0f), minus = _mm256_set1_ps(-0.0f);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 g = _mm256_loadu_ps(gate + i);
        __m256 silu = _mm256_div_ps(g, _mm256_add_ps(one, exp8(_mm256_xor_ps(g, minus))));
        _mm256_storeu_ps(out + i, _mm256_mul_ps(silu, _mm256_loadu_ps(up + i)));
    }
    cp_swiglu_from(i, gate, up, n, out);
}

INLINE int32_t sum8(__m256i s) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 1)));
}

INLINE __m256i load_wide(const int8_t *from) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)from));
}

/* n_rows rows, `apart` bytes from one to the next. Widened to 16 bits before they are multiplied:
 * the byte products saturate. */
INLINE void dots_of_rows(const int8_t *rows, size_t n_rows, size_t apart, size_t width,
                         const int8_t *query, int32_t *out, size_t stride) {
    __m256i s[CP_DOTS_STREAMS];
    size_t i = 0;
    UNROLL for (size_t r = 0; r < n_rows; r++) s[r] = _mm256_setzero_si256();
    for (; i + 16 <= width; i += 16) {
        __m256i q = load_wide(query + i);
        UNROLL for (size_t r = 0; r < n_rows; r++) {
            const int8_t *at = rows + r * apart + i;
            if (i % CP_CACHE_LINE == 0)
                __builtin_prefetch(at + CP_DOTS_AHEAD);
            s[r] = _mm256_add_epi32(s[r], _mm256_madd_epi16(load_wide(at), q));
        }
    }
    UNROLL for (size_t r = 0; r < n_rows; r++) {
        int32_t sum = sum8(s[r]);
        for (size_t k = i; k < width; k++)
            sum += rows[r * apart + k] * query[k];
        out[r * stride] = sum;
    }
}

static void int8_dots(const int8_t *rows, size_t n, size_t width, const int8_t *query,
                      int32_t *out) {
    size_t n_each = n / CP_DOTS_STREAMS;
    for (size_t r = 0; r < n_each; r++)
        dots_of_rows(rows + r * width, CP_DOTS_STREAMS, n_each * width, width, query, out + r,
                     n_each);
    for (size_t r = CP_DOTS_STREAMS * n_each; r < n; r++)
        dots_of_rows(rows + r * width, 1, 0, width, query, out + r, 1);
}

const cp_kernels *cp_kernels_avx2(void) {
    static const cp_kernels table = {
        .name = "avx2",
        .dot = dot,
        .axpy = axpy,
        .gemv = {[CP_F32] = gemv_f32, [CP_F16] = gemv_f16, [CP_BF16] = gemv_bf16},
        .widen = {[CP_F32] = widen_f32, [CP_F16] = widen_f16, [CP_BF16] = widen_bf16},
        .rms_norm = rms_norm,
        .rope = rope,
        .softmax = softmax,
        .swiglu = swiglu,
        .quantize = cp_avx2_quantize,
        .quant_product = {[CP_INT8] = cp_avx2_product_int8,
                          [CP_INT5] = cp_avx2_product_int5,
                          [CP_INT4] = cp_avx2_product_int4},
        .int8_dots = int8_dots,
    };
    return &table;
}
