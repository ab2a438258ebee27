/* AVX-512 VNNI: quantized weights times int8 activations.
 *
 * vpdpbusd multiplies unsigned with signed bytes, so weights are biased to unsigned (int8 by XOR
 * 0x80, int4 as stored) and every group's sum starts at -bias * sum of the activations. A vector is
 * one line of a tile: 16 outputs.
 *
 *   few tokens   weights stream from memory to registers, each line used for all tokens at once
 *   many tokens  a panel of TILES tiles x CHUNK inputs is unpacked into the L1 cache and multiplied
 *                with all tokens, a block of registers at a time; the outputs hold the partial sums
 *                between chunks
 */
#include "engine/kernels/avx512_quant.h"

#include "engine/kernels/lanes.h"

#include <immintrin.h>
#include <stdbool.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
/* Large scratch arrays are not worth zeroing at every call. */
#if defined(__has_attribute) && __has_attribute(uninitialized)
#define SCRATCH __attribute__((uninitialized))
#else
#define SCRATCH
#endif

#define GROUP_LINES  8 /* int8 lines of a group */
#define SUPER_LINES  16
#define FEW_TOKENS   4    /* up to here weights go through registers only */
#define AHEAD_BYTES  4096 /* how far ahead weights are asked for */
#define TILES        2
#define BLOCK_TOKENS 6 /* 2 tiles x 6 tokens: 12 integer and 12 float sums, 32 registers in all */
#define CHUNK_SUPERS 8
#define CHUNK_GROUPS (CHUNK_SUPERS * CP_GROUPS_A_SUPER)
#define CHUNK_LINES  (CHUNK_SUPERS * SUPER_LINES)
#define CALL_TOKENS  256

/* ---- pieces ------------------------------------------------------------------------------------
 */

/* Four activations at any alignment, as every lane's multiplicand. */
INLINE __m512i broadcast4(const int8_t *from) {
    int32_t four;
    memcpy(&four, from, sizeof four);
    return _mm512_set1_epi32(four);
}

INLINE int32_t bias(cp_quant quant) {
    return quant == CP_INT8 ? 128 : 8;
}

/* Unsigned weights of line `l` (0..15) of a superblock, 4 inputs a row. */
INLINE __m512i weights(cp_quant quant, const char *super, size_t l) {
    if (quant == CP_INT8)
        return _mm512_xor_si512(_mm512_loadu_si512(super + l * 64), _mm512_set1_epi8(-128));
    __m512i both = _mm512_loadu_si512(super + l / 2 * 64);
    return _mm512_and_si512(l % 2 ? _mm512_srli_epi16(both, 4) : both, _mm512_set1_epi8(15));
}

/* The 16 rows' scales of a superblock's group, widened. */
INLINE __m512 weight_scales(cp_quant quant, const char *super, size_t group) {
    const char *at =
        super + cp_quant_super_bytes(quant) - CP_SCALE_BYTES + group * CP_TILE_ROWS * 2;
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)at));
}

INLINE __m512 add_group(__m512 acc, __m512i isum, __m512 w_scale, float x_scale) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(isum),
                           _mm512_mul_ps(w_scale, _mm512_set1_ps(x_scale)), acc);
}

INLINE __mmask16 row_mask(size_t rows) {
    return rows >= CP_TILE_ROWS ? 0xffff : (__mmask16)((1u << rows) - 1);
}

INLINE void prefetch(const char *from, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i += 64)
        _mm_prefetch(from + i, _MM_HINT_T0);
}

/* ---- few tokens --------------------------------------------------------------------------------
 */

/* One superblock of one tile times n tokens. */
INLINE void few_super(cp_quant quant, const char *super, const cp_activations *x, size_t s,
                      size_t n, __m512 *acc) {
    for (size_t g = 0; g < CP_GROUPS_A_SUPER; g++) {
        __m512i isum[FEW_TOKENS];
        size_t group = s * CP_GROUPS_A_SUPER + g, n_groups = x->n_super * CP_GROUPS_A_SUPER;
        UNROLL for (size_t t = 0; t < n; t++) isum[t] =
            _mm512_set1_epi32(-bias(quant) * x->sums[t * n_groups + group]);
        UNROLL for (size_t l = 0; l < GROUP_LINES; l++) {
            __m512i w = weights(quant, super, g * GROUP_LINES + l);
            UNROLL for (size_t t = 0; t < n; t++) isum[t] = _mm512_dpbusd_epi32(
                isum[t], w, broadcast4(x->values + (t * n_groups + group) * CP_GROUP + l * 4));
        }
        __m512 w_scale = weight_scales(quant, super, g);
        UNROLL for (size_t t = 0; t < n; t++) acc[t] =
            add_group(acc[t], isum[t], w_scale, x->scales[t * n_groups + group]);
    }
}

INLINE void few(cp_quant quant, const char *w, size_t rows, const cp_activations *x, size_t n,
                float *out, size_t stride) {
    const char *super = w;
    for (size_t row = 0; row < rows; row += CP_TILE_ROWS) {
        __m512 acc[FEW_TOKENS];
        UNROLL for (size_t t = 0; t < n; t++) acc[t] = _mm512_setzero_ps();
        for (size_t s = 0; s < x->n_super; s++) {
            prefetch(super + AHEAD_BYTES, cp_quant_super_bytes(quant));
            few_super(quant, super, x, s, n, acc);
            super += cp_quant_super_bytes(quant);
        }
        UNROLL for (size_t t = 0; t < n; t++)
            _mm512_mask_storeu_ps(out + t * stride + row, row_mask(rows - row), acc[t]);
    }
}

/* ---- many tokens -------------------------------------------------------------------------------
 */

/* Part of TILES tiles, ready to multiply, and what the group sums start from. */
typedef struct panel {
    _Alignas(64) unsigned char lines[CHUNK_LINES][TILES][64];
    float scales[CHUNK_GROUPS][TILES][CP_TILE_ROWS];
    int32_t starts[CALL_TOKENS][CHUNK_GROUPS];
} panel;

/* A block's tokens: the first one's activations, from the chunk's first group on. */
typedef struct block {
    const int8_t *values;
    const float *scales;
    const int32_t *starts;
    size_t n_groups; /* of a token: its stride */
    float *out;
    size_t stride;
    bool first_chunk;
    size_t rows; /* of the panel's tiles */
} block;

INLINE void unpack(cp_quant quant, const char *tile, size_t n_super, size_t t, panel *p) {
    for (size_t s = 0; s < n_super; s++) {
        const char *super = tile + s * cp_quant_super_bytes(quant);
        UNROLL for (size_t l = 0; l < SUPER_LINES; l++)
            _mm512_store_si512(p->lines[s * SUPER_LINES + l][t], weights(quant, super, l));
        for (size_t g = 0; g < CP_GROUPS_A_SUPER; g++)
            _mm512_store_ps(p->scales[s * CP_GROUPS_A_SUPER + g][t],
                            weight_scales(quant, super, g));
    }
}

static void set_starts(cp_quant quant, const cp_activations *x, size_t first_token, size_t n_tokens,
                       size_t first_group, size_t n, panel *p) {
    size_t n_groups = x->n_super * CP_GROUPS_A_SUPER;
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t g = 0; g < n; g++)
            p->starts[t][g] =
                -bias(quant) * x->sums[(first_token + t) * n_groups + first_group + g];
}

/* The panel's first n_groups groups times one block: all sums live in registers. */
INLINE void multiply(const panel *p, size_t tiles, size_t tokens, size_t n_groups, const block *b) {
    __m512 acc[BLOCK_TOKENS][TILES];
    UNROLL for (size_t t = 0; t < tokens; t++) UNROLL for (size_t i = 0; i < tiles; i++) {
        size_t row = i * CP_TILE_ROWS;
        acc[t][i] = b->first_chunk ? _mm512_setzero_ps()
                                   : _mm512_maskz_loadu_ps(row_mask(b->rows - row),
                                                           b->out + t * b->stride + row);
    }
    for (size_t g = 0; g < n_groups; g++) {
        __m512i isum[BLOCK_TOKENS][TILES];
        UNROLL for (size_t t = 0; t < tokens; t++) UNROLL for (size_t i = 0; i < tiles; i++)
            isum[t][i] = _mm512_set1_epi32(b->starts[t * CHUNK_GROUPS + g]);
        UNROLL for (size_t l = 0; l < GROUP_LINES; l++) {
            __m512i w[TILES];
            UNROLL for (size_t i = 0; i < tiles; i++) w[i] =
                _mm512_load_si512(p->lines[g * GROUP_LINES + l][i]);
            UNROLL for (size_t t = 0; t < tokens; t++) {
                __m512i x = broadcast4(b->values + (t * b->n_groups + g) * CP_GROUP + l * 4);
                UNROLL for (size_t i = 0; i < tiles; i++) isum[t][i] =
                    _mm512_dpbusd_epi32(isum[t][i], w[i], x);
            }
        }
        UNROLL for (size_t i = 0; i < tiles; i++) {
            __m512 w_scale = _mm512_load_ps(p->scales[g][i]);
            UNROLL for (size_t t = 0; t < tokens; t++) acc[t][i] =
                add_group(acc[t][i], isum[t][i], w_scale, b->scales[t * b->n_groups + g]);
        }
    }
    UNROLL for (size_t t = 0; t < tokens; t++) UNROLL for (size_t i = 0; i < tiles; i++)
        _mm512_mask_storeu_ps(b->out + t * b->stride + i * CP_TILE_ROWS,
                              row_mask(b->rows - i * CP_TILE_ROWS), acc[t][i]);
}

/* One copy for every shape of block. */
#define MULTIPLY(TILES_N, TOKENS)                                                                  \
    static __attribute__((noinline)) void multiply_##TILES_N##x##TOKENS(                           \
        const panel *p, size_t n_groups, const block *b) {                                         \
        multiply(p, TILES_N, TOKENS, n_groups, b);                                                 \
    }
MULTIPLY(1, 1)
MULTIPLY(1, 2)
MULTIPLY(1, 3)
MULTIPLY(1, 4)
MULTIPLY(1, 5)
MULTIPLY(1, 6)
MULTIPLY(2, 1)
MULTIPLY(2, 2)
MULTIPLY(2, 3)
MULTIPLY(2, 4)
MULTIPLY(2, 5)
MULTIPLY(2, 6)

static void (*const multiplies[TILES][BLOCK_TOKENS])(const panel *, size_t, const block *) = {
    {multiply_1x1, multiply_1x2, multiply_1x3, multiply_1x4, multiply_1x5, multiply_1x6},
    {multiply_2x1, multiply_2x2, multiply_2x3, multiply_2x4, multiply_2x5, multiply_2x6}};

/* One panel times all tokens, in blocks as even as they come. */
static void multiply_all(const panel *p, size_t tiles, size_t n_groups, size_t n_tokens, block b) {
    size_t n_blocks = (n_tokens + BLOCK_TOKENS - 1) / BLOCK_TOKENS;
    for (size_t i = 0, done = 0; i < n_blocks; i++) {
        size_t tokens = (n_tokens - done) / (n_blocks - i);
        multiplies[tiles - 1][tokens - 1](p, n_groups, &b);
        b.values += tokens * b.n_groups * CP_GROUP;
        b.scales += tokens * b.n_groups;
        b.starts += tokens * CHUNK_GROUPS;
        b.out += tokens * b.stride;
        done += tokens;
    }
}

/* At most CALL_TOKENS tokens from `token` on. Chunks outermost: their activations stay in the L2
 * cache while all tiles pass. */
INLINE void many(cp_quant quant, const char *w, size_t rows, const cp_activations *x, size_t token,
                 size_t n_tokens, float *out, size_t stride) {
    size_t n_groups = x->n_super * CP_GROUPS_A_SUPER, super_bytes = cp_quant_super_bytes(quant);
    size_t tile_bytes = x->n_super * super_bytes;
    SCRATCH panel p;
    for (size_t s = 0; s < x->n_super; s += CHUNK_SUPERS) {
        size_t supers = x->n_super - s < CHUNK_SUPERS ? x->n_super - s : CHUNK_SUPERS;
        size_t group = s * CP_GROUPS_A_SUPER, groups = supers * CP_GROUPS_A_SUPER;
        set_starts(quant, x, token, n_tokens, group, groups, &p);
        for (size_t row = 0; row < rows; row += TILES * CP_TILE_ROWS) {
            size_t tiles = rows - row > CP_TILE_ROWS ? TILES : 1;
            for (size_t i = 0; i < tiles; i++)
                unpack(quant, w + (row / CP_TILE_ROWS + i) * tile_bytes + s * super_bytes, supers,
                       i, &p);
            multiply_all(&p, tiles, groups, n_tokens,
                         (block){.values = x->values + (token * n_groups + group) * CP_GROUP,
                                 .scales = x->scales + token * n_groups + group,
                                 .starts = p.starts[0],
                                 .n_groups = n_groups,
                                 .out = out + token * stride + row,
                                 .stride = stride,
                                 .first_chunk = s == 0,
                                 .rows = rows - row});
        }
    }
}

#define PRODUCT(NAME, QUANT)                                                                       \
    void cp_avx512_product_##NAME(const void *w, size_t rows, const cp_activations *x,             \
                                  size_t n_tokens, float *out, size_t stride) {                    \
        switch (n_tokens) {                                                                        \
        case 0:                                                                                    \
            return;                                                                                \
        case 1:                                                                                    \
            few(QUANT, w, rows, x, 1, out, stride);                                                \
            return;                                                                                \
        case 2:                                                                                    \
            few(QUANT, w, rows, x, 2, out, stride);                                                \
            return;                                                                                \
        case 3:                                                                                    \
            few(QUANT, w, rows, x, 3, out, stride);                                                \
            return;                                                                                \
        case 4:                                                                                    \
            few(QUANT, w, rows, x, 4, out, stride);                                                \
            return;                                                                                \
        default:                                                                                   \
            for (size_t t = 0; t < n_tokens; t += CALL_TOKENS)                                     \
                many(QUANT, w, rows, x, t,                                                         \
                     n_tokens - t < CALL_TOKENS ? n_tokens - t : CALL_TOKENS, out, stride);        \
        }                                                                                          \
    }

PRODUCT(int8, CP_INT8)
PRODUCT(int4, CP_INT4)

/* ---- activations -------------------------------------------------------------------------------
 */

#define TINY_BITS     0x0d800000 /* 2^-100 */
#define INFINITY_BITS 0x7f800000 /* and NaNs above */

/* One group; inputs that are not there are zero in low and high. */
INLINE void quantize_group(__m512 low, __m512 high, int8_t *values, float *scale, int32_t *sum) {
    /* For non-negative floats integers compare alike, with NaN above all. */
    const __m512i size = _mm512_set1_epi32(0x7fffffff);
    int32_t bits = _mm512_reduce_max_epi32(
        _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(low), size),
                         _mm512_and_si512(_mm512_castps_si512(high), size)));
    __m128i quants[2] = {_mm_setzero_si128(), _mm_setzero_si128()};
    *sum = 0;
    *scale = bits >= INFINITY_BITS ? cp_float_of_bits(0x7fc00000) : 0;
    if (bits >= TINY_BITS && bits < INFINITY_BITS) {
        float largest = cp_float_of_bits((uint32_t)bits);
        __m512 inverse = _mm512_set1_ps(127.0f / largest);
        /* Rounds to nearest even: the mode that nobody changes. */
        __m512i a = _mm512_cvtps_epi32(_mm512_mul_ps(low, inverse));
        __m512i b = _mm512_cvtps_epi32(_mm512_mul_ps(high, inverse));
        quants[0] = _mm512_cvtepi32_epi8(a);
        quants[1] = _mm512_cvtepi32_epi8(b);
        *scale = largest / 127.0f;
        *sum = _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
    }
    _mm_storeu_si128((__m128i *)(void *)values, quants[0]);
    _mm_storeu_si128((__m128i *)(void *)(values + 16), quants[1]);
}

void cp_avx512_quantize(const float *x, size_t n, const cp_activations *out) {
    for (size_t g = 0; g < out->n_super * CP_GROUPS_A_SUPER; g++) {
        size_t at = g * CP_GROUP, left = at < n ? n - at : 0;
        size_t left_high = left > 16 ? left - 16 : 0;
        __m512 low = _mm512_maskz_loadu_ps(row_mask(left), left ? x + at : x);
        __m512 high = _mm512_maskz_loadu_ps(row_mask(left_high), left_high ? x + at + 16 : x);
        quantize_group(low, high, out->values + at, &out->scales[g], &out->sums[g]);
    }
}
