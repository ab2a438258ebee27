/* Quantized weights times int8 activations on NEON, written once for the ways to sum a group.
 *
 * A file defines BLOCK_TOKENS (4 or 8: the most tokens whose sums its registers hold), includes
 * this, and defines group_sums. int5 and int4 weights are taken as stored, 16 and 8 too large;
 * as many times the sum of the activations comes off at the end of a group. A block is 8 tokens x 1
 * "quad" (four rows: 16 bytes of each line), 4 x 2, or 2 or 1 x 4: weights are unpacked once for
 * all its tokens, and one token reads whole lines. */
#ifdef BLOCK_TOKENS /* empty for whoever compiles it alone */

#include "engine/quant.h"

#include <arm_neon.h>
#include <string.h>

#define INLINE      static inline __attribute__((always_inline))
#define UNROLL      _Pragma("GCC unroll 16")
#define QUADS       4 /* of a tile */
#define GROUP_LINES 8 /* of four inputs a row; two of them share a line of nibbles */

/* isum[t] = the integer sums of one group for a quad (its first line's 16 bytes at `lines`) and
 * token t (its 32 activations at x + t * x_stride). */
INLINE void group_sums(cp_quant quant, const char *lines, size_t tokens, const int8_t *x,
                       size_t x_stride, int32x4_t isum[]);

/* A quad's four rows x inputs 4l..4l+3 of a group. */
INLINE int8x16_t line_weights(cp_quant quant, const char *lines, size_t l) {
    size_t at = quant == CP_INT8 ? l : l / 2;
    uint8x16_t bytes = vld1q_u8((const uint8_t *)lines + at * 64);
    if (quant != CP_INT8)
        bytes = l % 2 ? vshrq_n_u8(bytes, 4) : vandq_u8(bytes, vdupq_n_u8(15));
    if (quant == CP_INT5) { /* the fifth bit: bit l of the group's fifth line */
        uint8x16_t plane = vld1q_u8((const uint8_t *)lines + CP_INT4_LINES * 64);
        uint8x16_t moved = vshlq_u8(plane, vdupq_n_s8((int8_t)(4 - (int)l))); /* or to the right */
        bytes = vorrq_u8(bytes, vandq_u8(moved, vdupq_n_u8(16)));
    }
    return vreinterpretq_s8_u8(bytes);
}

/* Where a block's tokens begin, and where its outputs go. */
typedef struct block {
    const char *tile;
    size_t rows;             /* of the tile: 1..16 */
    const cp_activations *x; /* whole step */
    size_t token;
    float *out; /* the tile's first row of the block's first token */
    size_t stride;
} block;

INLINE float32x4_t weight_scales(cp_quant quant, const char *super, size_t group, size_t quad) {
    const char *scales = super + CP_GROUPS_A_SUPER * cp_quant_group_bytes(quant);
    const char *at = scales + (group * CP_TILE_ROWS + quad * 4) * 2;
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8((const uint8_t *)at)));
}

/* The first n values of a quad, at most four. (No memcpy: a call in its callers would push the sums
 * out of the registers.) */
INLINE void store_rows(float *out, float32x4_t values, size_t n) {
    if (n >= 4)
        vst1q_f32(out, values);
    else if (n >= 2)
        vst1_f32(out, vget_low_f32(values));
    if (n == 1)
        vst1q_lane_f32(out, values, 0);
    if (n == 3)
        vst1q_lane_f32(out + 2, values, 2);
}

/* Quads [first, first + quads) of a tile for `tokens` tokens. */
INLINE void multiply_quads(cp_quant quant, const block *b, size_t tokens, size_t first,
                           size_t quads) {
    size_t n_groups = b->x->n_super * CP_GROUPS_A_SUPER;
    const int8_t *values = b->x->values + b->token * n_groups * CP_GROUP;
    const float *scales = b->x->scales + b->token * n_groups;
    const int32_t *sums = b->x->sums + b->token * n_groups;
    float32x4_t acc[BLOCK_TOKENS][QUADS];
    UNROLL for (size_t t = 0; t < tokens; t++) UNROLL for (size_t q = 0; q < quads; q++) acc[t][q] =
        vdupq_n_f32(0);
    for (size_t g = 0; g < n_groups; g++) {
        size_t half = g % CP_GROUPS_A_SUPER;
        const char *super = b->tile + g / CP_GROUPS_A_SUPER * cp_quant_super_bytes(quant);
        const char *lines = super + half * cp_quant_group_bytes(quant) + first * 16;
        UNROLL for (size_t q = 0; q < quads; q++) {
            int32x4_t isum[BLOCK_TOKENS];
            group_sums(quant, lines + q * 16, tokens, values + g * CP_GROUP, n_groups * CP_GROUP,
                       isum);
            float32x4_t w_scale = weight_scales(quant, super, half, first + q);
            UNROLL for (size_t t = 0; t < tokens; t++) {
                size_t at = t * n_groups + g;
                if (quant != CP_INT8)
                    isum[t] = vsubq_s32(isum[t], vdupq_n_s32(cp_quant_bias(quant) * sums[at]));
                acc[t][q] =
                    vfmaq_f32(acc[t][q], vcvtq_f32_s32(isum[t]), vmulq_n_f32(w_scale, scales[at]));
            }
        }
    }
    UNROLL for (size_t q = 0; q < quads; q++) {
        size_t row = (first + q) * 4;
        if (row < b->rows)
            UNROLL for (size_t t = 0; t < tokens; t++)
                store_rows(b->out + t * b->stride + row, acc[t][q], b->rows - row);
    }
}

INLINE void multiply(cp_quant quant, const block *b, size_t tokens) {
    size_t quads = tokens == 8 ? 1 : tokens == 4 ? 2 : 4;
    for (size_t first = 0; first < QUADS && first * 4 < b->rows; first += quads)
        multiply_quads(quant, b, tokens, first, quads);
}

/* As many tokens as fit a block; returns how many. */
INLINE size_t next_block(cp_quant quant, const block *b, size_t n_tokens) {
    if (BLOCK_TOKENS == 8 && n_tokens >= 8)
        return multiply(quant, b, 8), 8;
    if (n_tokens >= 4)
        return multiply(quant, b, 4), 4;
    if (n_tokens >= 2)
        return multiply(quant, b, 2), 2;
    return multiply(quant, b, 1), 1;
}

INLINE void product(cp_quant quant, const void *w, size_t rows, const cp_activations *x,
                    size_t n_tokens, float *out, size_t stride) {
    size_t tile_bytes = x->n_super * cp_quant_super_bytes(quant);
    block b = {.tile = w, .x = x, .stride = stride};
    for (size_t row = 0; row < rows; row += CP_TILE_ROWS, b.tile += tile_bytes) {
        b.rows = rows - row < CP_TILE_ROWS ? rows - row : CP_TILE_ROWS;
        for (b.token = 0; b.token < n_tokens;) {
            b.out = out + b.token * stride + row;
            b.token += next_block(quant, &b, n_tokens - b.token);
        }
    }
}

#endif
