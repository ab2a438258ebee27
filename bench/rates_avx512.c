/* Peak rates with AVX-512: 64 int8 products summed by fours into 16 int32 (VNNI's dpbusd), and 16
 * float32 fused multiply-adds. */
#include "bench/rates.h"

#include <immintrin.h>

#define N_SUMS 16

#define HIDE(vector) __asm__ volatile("" : "+v"(vector)) /* see rates_avx2.c */

static void int8_vnni(size_t n_rounds) {
    __m512i sum[N_SUMS], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(-5);
    for (int i = 0; i < N_SUMS; i++)
        sum[i] = _mm512_setzero_si512();
    for (size_t r = 0; r < n_rounds; r++)
#pragma GCC unroll 16
        for (int i = 0; i < N_SUMS; i++) {
            HIDE(a);
            sum[i] = _mm512_dpbusd_epi32(sum[i], a, b);
        }
    for (int i = 0; i < N_SUMS; i++)
        HIDE(sum[i]);
}

static void f32_fma(size_t n_rounds) {
    __m512 sum[N_SUMS], a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f);
    for (int i = 0; i < N_SUMS; i++)
        sum[i] = _mm512_setzero_ps();
    for (size_t r = 0; r < n_rounds; r++)
#pragma GCC unroll 16
        for (int i = 0; i < N_SUMS; i++) {
            HIDE(a);
            sum[i] = _mm512_fmadd_ps(a, b, sum[i]);
        }
    for (int i = 0; i < N_SUMS; i++)
        HIDE(sum[i]);
}

size_t cp_rate_loops_avx512(cp_rate_loop *out) {
    size_t n = 0;
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx512f"))
        return 0;
    if (__builtin_cpu_supports("avx512vnni"))
        out[n++] =
            (cp_rate_loop){CP_RATE_INT8, "avx512", "AVX-512 VNNI", int8_vnni, 2 * 64 * N_SUMS};
    out[n++] = (cp_rate_loop){CP_RATE_F32, "avx512", "AVX-512 FMA", f32_fma, 2 * 16 * N_SUMS};
    return n;
}
