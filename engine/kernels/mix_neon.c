#if defined(__aarch64__)
#include <arm_neon.h>

#define CP_VECTOR_FLOATS 4
#define BLOCK_VECTORS    4
#define VECTOR           float32x4_t
#define ZERO()           vdupq_n_f32(0)
#define SET1(x)          vdupq_n_f32(x)
#define FMA(a, b, c)     vfmaq_f32(c, a, b)
#define STORE(to, x)     vst1q_f32(to, x)
#define STORE_F16(to, x) vst1_u8((unsigned char *)(to), vreinterpret_u8_f16(vcvt_f16_f32(x)))
#define LOAD_F32(from)   vreinterpretq_f32_u8(vld1q_u8((const unsigned char *)(from)))
#define LOAD_F16(from)   vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8((const unsigned char *)(from))))
#define LOAD_INT8(from)  load_int8((const signed char *)(from))

/* Four int8 as floats. */
static inline float32x4_t load_int8(const signed char *from) {
    int32_t four;
    __builtin_memcpy(&four, from, sizeof four);
    int8x8_t bytes = vreinterpret_s8_s32(vdup_n_s32(four));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
}

#include "engine/kernels/lanes.h"

/* The fixed tree, one set after the other. */
static inline void tree4(VECTOR acc[4][CP_LANES / CP_VECTOR_FLOATS], float out[4]) {
    for (size_t q = 0; q < 4; q++) {
        float sums[CP_LANES];
        for (size_t v = 0; v < CP_LANES / CP_VECTOR_FLOATS; v++)
            STORE(sums + v * CP_VECTOR_FLOATS, acc[q][v]);
        out[q] = cp_tree_sum(sums);
    }
}

#include "engine/kernels/mix_generic.h"

#include "engine/kernels/mix_tables.h"

const cp_mix_kernels *cp_mix_neon(void) {
    return &table;
}
#else
typedef int cp_mix_neon_is_for_arm_only; /* ISO C wants something in a translation unit */
#endif
