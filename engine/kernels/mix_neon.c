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

/* The fixed tree but for its last step. */
static inline float32x2_t tree_to_two(const float32x4_t s[4]) {
    float32x4_t four = vaddq_f32(vaddq_f32(s[0], s[2]), vaddq_f32(s[1], s[3]));
    return vadd_f32(vget_low_f32(four), vget_high_f32(four));
}

static inline void tree4(float32x4_t acc[4][4], float out[4]) {
    float32x4_t low = vcombine_f32(tree_to_two(acc[0]), tree_to_two(acc[1]));
    float32x4_t high = vcombine_f32(tree_to_two(acc[2]), tree_to_two(acc[3]));
    vst1q_f32(out, vpaddq_f32(low, high));
}

#include "engine/kernels/mix_template.inc"

#include "engine/kernels/mix_tables.h"

const cp_mix_kernels *cp_mix_neon(void) {
    return &table;
}
