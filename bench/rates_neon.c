/* Peak rates with NEON: 16 int8 products summed by fours into 4 int32 (sdot, where the processor
 * has it), and 4 float32 fused multiply-adds. Nothing on other processors. */
#include "bench/rates.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>

#define N_SUMS 16

#define HIDE(vector) __asm__ volatile("" : "+w"(vector)) /* see rates_avx2.c */

__attribute__((target("arch=armv8.2-a+dotprod"))) static void int8_sdot(size_t n_rounds) {
    int32x4_t sum[N_SUMS];
    int8x16_t a = vdupq_n_s8(3), b = vdupq_n_s8(-5);
    for (int i = 0; i < N_SUMS; i++)
        sum[i] = vdupq_n_s32(0);
    for (size_t r = 0; r < n_rounds; r++)
#pragma GCC unroll 16
        for (int i = 0; i < N_SUMS; i++) {
            HIDE(a);
            sum[i] = vdotq_s32(sum[i], a, b);
        }
    for (int i = 0; i < N_SUMS; i++)
        HIDE(sum[i]);
}

static void f32_fma(size_t n_rounds) {
    float32x4_t sum[N_SUMS], a = vdupq_n_f32(0.5f), b = vdupq_n_f32(0.25f);
    for (int i = 0; i < N_SUMS; i++)
        sum[i] = vdupq_n_f32(0);
    for (size_t r = 0; r < n_rounds; r++)
#pragma GCC unroll 16
        for (int i = 0; i < N_SUMS; i++) {
            HIDE(a);
            sum[i] = vfmaq_f32(sum[i], a, b);
        }
    for (int i = 0; i < N_SUMS; i++)
        HIDE(sum[i]);
}

size_t cp_rate_loops_neon(cp_rate_loop *out) {
    size_t n = 0;
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP)
        out[n++] = (cp_rate_loop){CP_RATE_INT8, "neon", "NEON sdot", int8_sdot, 2 * 16 * N_SUMS};
    out[n++] = (cp_rate_loop){CP_RATE_F32, "neon", "NEON FMA", f32_fma, 2 * 4 * N_SUMS};
    return n;
}
#else
size_t cp_rate_loops_neon(cp_rate_loop *out) {
    (void)out;
    return 0;
}
#endif
