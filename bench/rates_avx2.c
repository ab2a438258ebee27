/* Peak rates with AVX2: 32 unsigned x signed int8 products summed in pairs (maddubs), the pairs in
 * pairs (madd), added to 8 int32; and 8 float32 fused multiply-adds. */
#include "bench/rates.h"

#include "base/mem.h"

#include <immintrin.h>

#define N_SUMS                                                                                     \
    12 /* independent sums: more than latency x throughput, and they fit in registers              \
        */

/* The compiler must not know a value, so that it neither moves the product out nor folds it. */
#define HIDE(vector) __asm__ volatile("" : "+x"(vector))

static void int8_maddubs(size_t n_rounds) {
    __m256i sum[N_SUMS], a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(-5);
    const __m256i ones = _mm256_set1_epi16(1);
    for (int i = 0; i < N_SUMS; i++)
        sum[i] = _mm256_setzero_si256();
    for (size_t r = 0; r < n_rounds; r++)
#pragma GCC unroll 12
        for (int i = 0; i < N_SUMS; i++) {
            HIDE(a);
            __m256i pairs = _mm256_maddubs_epi16(a, b);
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(pairs, ones));
        }
    for (int i = 0; i < N_SUMS; i++)
        HIDE(sum[i]);
}

static void f32_fma(size_t n_rounds) {
    __m256 sum[N_SUMS], a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f);
    for (int i = 0; i < N_SUMS; i++)
        sum[i] = _mm256_setzero_ps();
    for (size_t r = 0; r < n_rounds; r++)
#pragma GCC unroll 12
        for (int i = 0; i < N_SUMS; i++) {
            HIDE(a);
            sum[i] = _mm256_fmadd_ps(a, b, sum[i]);
        }
    for (int i = 0; i < N_SUMS; i++)
        HIDE(sum[i]);
}

size_t cp_rate_loops_avx2(cp_rate_loop *out) {
    const cp_rate_loop all[] = {
        {CP_RATE_INT8, "avx2", "AVX2 maddubs+madd", int8_maddubs, 2 * 32 * N_SUMS},
        {CP_RATE_F32, "avx2", "AVX2 FMA", f32_fma, 2 * 8 * N_SUMS},
    };
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return 0;
    for (size_t i = 0; i < CP_COUNT_OF(all); i++)
        out[i] = all[i];
    return CP_COUNT_OF(all);
}
