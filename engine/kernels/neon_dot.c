/* NEON with the dot product extension: SDOT adds four products to each 32-bit lane. */
#include "engine/kernels/neon.h"

#define BLOCK_TOKENS 8
#include "engine/kernels/neon_generic.h"

/* Half a group is 16 inputs: one vector of activations, whose lane l meets line l of the half. */
#define ADD_LINE(l)                                                                                \
    do {                                                                                           \
        int8x16_t w = line_weights(quant, lines, half * 4 + (l));                                  \
        UNROLL for (size_t t = 0; t < tokens; t++) isum[t] =                                       \
            vdotq_laneq_s32(isum[t], w, inputs[t], l);                                             \
    } while (0)

INLINE void group_sums(cp_quant quant, const char *lines, size_t tokens, const int8_t *x,
                       size_t x_stride, int32x4_t isum[]) {
    UNROLL for (size_t t = 0; t < tokens; t++) isum[t] = vdupq_n_s32(0);
    UNROLL for (size_t half = 0; half < 2; half++) {
        int8x16_t inputs[BLOCK_TOKENS];
        UNROLL for (size_t t = 0; t < tokens; t++) inputs[t] =
            vld1q_s8(x + t * x_stride + half * 16);
        ADD_LINE(0);
        ADD_LINE(1);
        ADD_LINE(2);
        ADD_LINE(3);
    }
}

void cp_neon_dot_int8(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                      float *out, size_t stride) {
    product(CP_INT8, w, rows, x, n_tokens, out, stride);
}

void cp_neon_dot_int5(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                      float *out, size_t stride) {
    product(CP_INT5, w, rows, x, n_tokens, out, stride);
}

void cp_neon_dot_int4(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                      float *out, size_t stride) {
    product(CP_INT4, w, rows, x, n_tokens, out, stride);
}
