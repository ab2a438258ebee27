/* The definition of the kernels on quantized weights. */
#include "engine/kernels/scalar_quant.h"

#include "engine/kernels/lanes.h"

#define TINY_BITS     0x0d800000u /* 2^-100 */
#define INFINITY_BITS 0x7f800000u /* and NaNs above */

/* The largest |x| of a group as its bits: for non-negative floats integers compare alike, NaN is
 * above all. */
static uint32_t largest_bits(const float *x, size_t n) {
    uint32_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

/* n <= 32 inputs of one group. */
static void quantize_group(const float *x, size_t n, int8_t values[CP_GROUP], float *scale,
                           int32_t *sum) {
    uint32_t bits = largest_bits(x, n);
    memset(values, 0, CP_GROUP);
    *sum = 0;
    *scale = bits >= INFINITY_BITS ? cp_float_of_bits(0x7fc00000) : 0;
    if (bits < TINY_BITS || bits >= INFINITY_BITS)
        return;
    float largest = cp_float_of_bits(bits), inverse = 127.0f / largest;
    *scale = largest / 127.0f;
    for (size_t i = 0; i < n; i++) {
        values[i] = (int8_t)rintf(x[i] * inverse);
        *sum += values[i];
    }
}

void cp_scalar_quantize(const float *x, size_t n, const cp_activations *out) {
    for (size_t g = 0; g < out->n_super * CP_GROUPS_A_SUPER; g++) {
        size_t at = g * CP_GROUP, left = at < n ? n - at : 0;
        quantize_group(x + (left ? at : 0), left < CP_GROUP ? left : CP_GROUP, out->values + at,
                       &out->scales[g], &out->sums[g]);
    }
}

/* One output: row `row` of the tile against one token. */
static float row_product(cp_quant quant, const char *tile, size_t row, const cp_activations *x,
                         size_t token) {
    size_t n_groups = x->n_super * CP_GROUPS_A_SUPER;
    const int8_t *values = x->values + token * x->n_super * CP_SUPER;
    const float *scales = x->scales + token * n_groups;
    float acc = 0;
    for (size_t g = 0; g < n_groups; g++) {
        int8_t w[CP_GROUP];
        uint16_t w_scale;
        int32_t isum = 0;
        cp_quant_unpack(quant, tile + g / CP_GROUPS_A_SUPER * cp_quant_super_bytes(quant), row,
                        g % CP_GROUPS_A_SUPER, w, &w_scale);
        for (size_t i = 0; i < CP_GROUP; i++)
            isum += w[i] * values[g * CP_GROUP + i];
        acc = fmaf((float)isum, cp_float_of_f16(w_scale) * scales[g], acc);
    }
    return acc;
}

static void product(cp_quant quant, const void *w, size_t rows, const cp_activations *x,
                    size_t n_tokens, float *out, size_t stride) {
    size_t tile_bytes = x->n_super * cp_quant_super_bytes(quant);
    for (size_t r = 0; r < rows; r++) {
        const char *tile = (const char *)w + r / CP_TILE_ROWS * tile_bytes;
        for (size_t t = 0; t < n_tokens; t++)
            out[t * stride + r] = row_product(quant, tile, r % CP_TILE_ROWS, x, t);
    }
}

void cp_scalar_product_int8(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                            float *out, size_t stride) {
    product(CP_INT8, w, rows, x, n_tokens, out, stride);
}

void cp_scalar_product_int5(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                            float *out, size_t stride) {
    product(CP_INT5, w, rows, x, n_tokens, out, stride);
}

void cp_scalar_product_int4(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                            float *out, size_t stride) {
    product(CP_INT4, w, rows, x, n_tokens, out, stride);
}

void cp_quant_widen_row(cp_quant quant, const void *w, size_t row, size_t n, float *out) {
    const char *tile = (const char *)w + row / CP_TILE_ROWS * cp_quant_tile_bytes(quant, n);
    for (size_t at = 0; at < n; at += CP_GROUP) {
        int8_t values[CP_GROUP];
        uint16_t scale;
        cp_quant_unpack(quant, tile + at / CP_SUPER * cp_quant_super_bytes(quant),
                        row % CP_TILE_ROWS, at / CP_GROUP % CP_GROUPS_A_SUPER, values, &scale);
        for (size_t i = 0; i < CP_GROUP && at + i < n; i++)
            out[at + i] = (float)values[i] * cp_float_of_f16(scale);
    }
}
