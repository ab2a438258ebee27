#include "convert/gguf_blocks.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

/* ---- numbers ------------------------------------------------------------------------------- */

static uint32_t load16(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16 at p: subnormals, infinities and NaN included. */
static float half(const unsigned char *p) {
    uint32_t bits = load16(p), sign = (bits & 0x8000) << 16, exponent = bits >> 10 & 31,
             fraction = bits & 1023;
    if (exponent == 31)
        return float_of_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) {
        float value = (float)fraction * 0x1p-24f; /* exact */
        return sign ? -value : value;
    }
    return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

/* ---- one block each ------------------------------------------------------------------------ */

static void widen_f32(const unsigned char *b, float *out) {
    out[0] = float_of_bits(load16(b) | load16(b + 2) << 16);
}

static void widen_f16(const unsigned char *b, float *out) {
    out[0] = half(b);
}

static void widen_bf16(const unsigned char *b, float *out) {
    out[0] = float_of_bits(load16(b) << 16);
}

static void widen_q8_0(const unsigned char *b, float *out) {
    float d = half(b);
    for (size_t i = 0; i < 32; i++)
        out[i] = d * (float)(int8_t)b[2 + i];
}

static void widen_q4_0(const unsigned char *b, float *out) {
    float d = half(b);
    for (size_t i = 0; i < 16; i++) {
        out[i] = d * (float)((b[2 + i] & 15) - 8);
        out[i + 16] = d * (float)((b[2 + i] >> 4) - 8);
    }
}

static void widen_q4_1(const unsigned char *b, float *out) {
    float d = half(b), m = half(b + 2);
    for (size_t i = 0; i < 16; i++) {
        out[i] = d * (float)(b[4 + i] & 15) + m;
        out[i + 16] = d * (float)(b[4 + i] >> 4) + m;
    }
}

/* The 6-bit pair of sub-block j out of 12 bytes: bytes 0-3 and 4-7 hold scales and minima 0-3 in
 * their low six bits; 8-11 the low nibbles of scales and minima 4-7, whose high bit pairs are on
 * top of bytes 0-7. */
static void q4_k_pair(const unsigned char *s, size_t j, unsigned *scale, unsigned *minimum) {
    if (j < 4) {
        *scale = s[j] & 63;
        *minimum = s[j + 4] & 63;
        return;
    }
    *scale = (unsigned)(s[j + 4] & 15) | (unsigned)(s[j - 4] >> 6) << 4;
    *minimum = (unsigned)(s[j + 4] >> 4) | (unsigned)(s[j] >> 6) << 4;
}

/* 8 sub-blocks of 32: each run of 32 bytes holds one in its low and the next in its high nibbles.
 */
static void widen_q4_k(const unsigned char *b, float *out) {
    float d = half(b), m = half(b + 2);
    const unsigned char *nibbles = b + 16;
    for (size_t j = 0; j < 8; j++) {
        unsigned scale, minimum;
        q4_k_pair(b + 4, j, &scale, &minimum);
        float step = d * (float)scale, base = m * (float)minimum;
        const unsigned char *run = nibbles + j / 2 * 32;
        for (size_t i = 0; i < 32; i++)
            out[32 * j + i] = step * (float)(run[i] >> 4 * (j % 2) & 15) - base;
    }
}

/* Two halves of 128 values; in a half, value 32k + i has its low nibble in byte i + 32 (k % 2), on
 * the side k / 2, its high bits in pair k of byte i, and the scale 2k + i / 16. */
static void widen_q6_k(const unsigned char *b, float *out) {
    float d = half(b + 208);
    for (size_t h = 0; h < 2; h++) {
        const unsigned char *low = b + 64 * h, *high = b + 128 + 32 * h, *scales = b + 192 + 8 * h;
        for (size_t k = 0; k < 4; k++)
            for (size_t i = 0; i < 32; i++) {
                int q = (low[i + 32 * (k % 2)] >> 4 * (k / 2) & 15) | (high[i] >> 2 * k & 3) << 4;
                float step = d * (float)(int8_t)scales[2 * k + i / 16];
                out[128 * h + 32 * k + i] = step * (float)(q - 32);
            }
    }
}

/* ---- the types ----------------------------------------------------------------------------- */

typedef struct stored_type {
    const char *name;
    size_t values, bytes; /* of a block; 0 where the type is only known by name */
    void (*widen)(const unsigned char *block, float *out);
} stored_type;

static const stored_type types[] = {
    [CP_GGUF_F32] = {"F32", 1, 4, widen_f32},
    [CP_GGUF_F16] = {"F16", 1, 2, widen_f16},
    [CP_GGUF_Q4_0] = {"Q4_0", 32, 18, widen_q4_0},
    [CP_GGUF_Q4_1] = {"Q4_1", 32, 20, widen_q4_1},
    [6] = {.name = "Q5_0"},
    [7] = {.name = "Q5_1"},
    [CP_GGUF_Q8_0] = {"Q8_0", 32, 34, widen_q8_0},
    [9] = {.name = "Q8_1"},
    [10] = {.name = "Q2_K"},
    [11] = {.name = "Q3_K"},
    [CP_GGUF_Q4_K] = {"Q4_K", 256, 144, widen_q4_k},
    [13] = {.name = "Q5_K"},
    [CP_GGUF_Q6_K] = {"Q6_K", 256, 210, widen_q6_k},
    [15] = {.name = "Q8_K"},
    [16] = {.name = "IQ2_XXS"},
    [17] = {.name = "IQ2_XS"},
    [18] = {.name = "IQ3_XXS"},
    [19] = {.name = "IQ1_S"},
    [20] = {.name = "IQ4_NL"},
    [21] = {.name = "IQ3_S"},
    [22] = {.name = "IQ2_S"},
    [23] = {.name = "IQ4_XS"},
    [24] = {.name = "I8"},
    [25] = {.name = "I16"},
    [26] = {.name = "I32"},
    [27] = {.name = "I64"},
    [28] = {.name = "F64"},
    [29] = {.name = "IQ1_M"},
    [CP_GGUF_BF16] = {"BF16", 1, 2, widen_bf16},
    [34] = {.name = "TQ1_0"},
    [35] = {.name = "TQ2_0"},
    [39] = {.name = "MXFP4"},
    [40] = {.name = "NVFP4"},
};

const char *cp_gguf_type_name(uint32_t type) {
    return type < CP_COUNT_OF(types) && types[type].name ? types[type].name : "of unknown number";
}

bool cp_gguf_type_block(uint32_t type, size_t *values, size_t *bytes) {
    if (type >= CP_COUNT_OF(types) || !types[type].widen)
        return false;
    *values = types[type].values;
    *bytes = types[type].bytes;
    return true;
}

void cp_gguf_widen(uint32_t type, const unsigned char *blocks, size_t n, float *out) {
    assert(type < CP_COUNT_OF(types) && types[type].widen && n % types[type].values == 0);
    const stored_type *t = &types[type];
    for (size_t i = 0; i < n; i += t->values, blocks += t->bytes)
        t->widen(blocks, out + i);
}
