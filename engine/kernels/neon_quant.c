/* NEON's baseline on quantized weights: activations to int8, and products without SDOT.
 *
 * SMLAL multiplies bytes into 16-bit lanes. There int8 products fit two at a time (2 * 128 * 127 <
 * 2^15) and a whole group's int5 and int4 products, as stored (8 * 31 * 127 = 31496). */
#include "engine/kernels/neon.h"

#include "engine/kernels/lanes.h"

#define BLOCK_TOKENS 4
#include "engine/kernels/neon_generic.h"

/* ---- activations ------------------------------------------------------------------------------
 */

#define GROUP_QUADS   (CP_GROUP / 4)
#define TINY_BITS     0x0d800000u /* 2^-100 */
#define INFINITY_BITS 0x7f800000u /* and NaNs above */

/* The largest |x| of a group as its bits, which compare like the values, NaN above all. */
static inline uint32_t largest_bits(const float32x4_t x[GROUP_QUADS]) {
    uint32x4_t largest = vdupq_n_u32(0);
    for (size_t q = 0; q < GROUP_QUADS; q++)
        largest = vmaxq_u32(largest, vreinterpretq_u32_f32(vabsq_f32(x[q])));
    return vmaxvq_u32(largest);
}

static void quantize_group(const float x[CP_GROUP], int8_t values[CP_GROUP], float *scale,
                           int32_t *sum) {
    float32x4_t quads[GROUP_QUADS];
    for (size_t q = 0; q < GROUP_QUADS; q++)
        quads[q] = vld1q_f32(x + 4 * q);
    uint32_t bits = largest_bits(quads);
    if (bits < TINY_BITS || bits >= INFINITY_BITS) {
        memset(values, 0, CP_GROUP);
        *scale = bits < TINY_BITS ? 0 : cp_float_of_bits(0x7fc00000);
        *sum = 0;
        return;
    }
    float largest = cp_float_of_bits(bits), inverse = 127.0f / largest;
    int32x4_t sums = vdupq_n_s32(0);
    for (size_t q = 0; q < GROUP_QUADS; q += 2) {
        int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(quads[q], inverse));
        int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(quads[q + 1], inverse));
        sums = vaddq_s32(sums, vaddq_s32(low, high));
        vst1_s8(values + 4 * q, vmovn_s16(vcombine_s16(vmovn_s32(low), vmovn_s32(high))));
    }
    *scale = largest / 127.0f;
    *sum = vaddvq_s32(sums);
}

void cp_neon_quantize(const float *x, size_t n, const cp_activations *out) {
    for (size_t g = 0; g < out->n_super * CP_GROUPS_A_SUPER; g++) {
        size_t at = g * CP_GROUP, left = at < n ? n - at : 0;
        float last[CP_GROUP] = {0};
        if (left < CP_GROUP)
            memcpy(last, x + (left ? at : 0), left * sizeof *x);
        quantize_group(left < CP_GROUP ? last : x + at, out->values + at, &out->scales[g],
                       &out->sums[g]);
    }
}

/* ---- products ---------------------------------------------------------------------------------
 */

/* A quad's sums before lanes of a row are added: rows 0 and 1 in `low`, rows 2 and 3 in `high`. */
typedef struct wide_sums {
    int32x4_t low, high;
} wide_sums;
typedef struct narrow_sums {
    int16x8_t low, high;
} narrow_sums;

/* Four inputs, in every lane. */
INLINE int8x16_t broadcast4(const int8_t *from) {
    int32_t four;
    memcpy(&four, from, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

INLINE void group_sums(cp_quant quant, const char *lines, size_t tokens, const int8_t *x,
                       size_t x_stride, int32x4_t isum[]) {
    const size_t step = quant == CP_INT8 ? 2 : GROUP_LINES; /* lines that fit 16 bits */
    wide_sums wide[BLOCK_TOKENS];
    UNROLL for (size_t t = 0; t < tokens; t++) wide[t] =
        (wide_sums){vdupq_n_s32(0), vdupq_n_s32(0)};
    UNROLL for (size_t l = 0; l < GROUP_LINES; l += step) {
        narrow_sums narrow[BLOCK_TOKENS];
        UNROLL for (size_t t = 0; t < tokens; t++) narrow[t] =
            (narrow_sums){vdupq_n_s16(0), vdupq_n_s16(0)};
        UNROLL for (size_t i = l; i < l + step; i++) {
            int8x16_t w = line_weights(quant, lines, i);
            UNROLL for (size_t t = 0; t < tokens; t++) {
                int8x16_t four = broadcast4(x + t * x_stride + i * 4);
                narrow[t].low = vmlal_s8(narrow[t].low, vget_low_s8(w), vget_low_s8(four));
                narrow[t].high = vmlal_high_s8(narrow[t].high, w, four);
            }
        }
        UNROLL for (size_t t = 0; t < tokens; t++) {
            wide[t].low = vpadalq_s16(wide[t].low, narrow[t].low);
            wide[t].high = vpadalq_s16(wide[t].high, narrow[t].high);
        }
    }
    UNROLL for (size_t t = 0; t < tokens; t++) isum[t] = vpaddq_s32(wide[t].low, wide[t].high);
}

void cp_neon_product_int8(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                          float *out, size_t stride) {
    product(CP_INT8, w, rows, x, n_tokens, out, stride);
}

void cp_neon_product_int5(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                          float *out, size_t stride) {
    product(CP_INT5, w, rows, x, n_tokens, out, stride);
}

void cp_neon_product_int4(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                          float *out, size_t stride) {
    product(CP_INT4, w, rows, x, n_tokens, out, stride);
}
