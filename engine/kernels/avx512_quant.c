/* AVX-512 VNNI: quantized weights times int8 activations.
 *
 * vpdpbusd multiplies unsigned with signed bytes, so weights are biased to unsigned (int8 by XOR
 * 0x80, int5 and int4 as stored) and every group's sum starts at -bias * sum of the activations. A
 * vector is one line of a tile: 16 outputs.
 *
 * Few tokens: weights stream from memory to registers, each line used for all tokens at once. Many
 * tokens: a panel of 2 tiles x 1024 inputs is unpacked into the caches and multiplied with all
 * tokens, a block of 14 sums in registers at a time; the outputs hold the partial sums between
 * panels.
 */
#include "engine/kernels/avx512_quant.h"

#include "engine/kernels/ahead.h"
#include "engine/kernels/lanes.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
/* Large scratch memory is not worth zeroing at every call. */
#if defined(__has_attribute) && __has_attribute(uninitialized)
#define SCRATCH __attribute__((uninitialized))
#else
#define SCRATCH
#endif

#define FEW_TOKENS   8 /* up to here unpacking to memory costs more than it saves */
#define FEW_TILES    4
#define GROUP_LINES  8 /* of 4 inputs */
#define SUPER_LINES  16
#define TILES        2
#define BLOCK_TOKENS 7  /* 2 tiles x 7 tokens: 14 integer and 14 float sums, of 32 registers */
#define CHUNK_SUPERS 16 /* larger: fewer passes over the outputs; smaller: the panel is nearer */
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
    return quant == CP_INT8 ? 128 : cp_quant_bias(quant);
}

/* Low four bits and, from bit `l` (0..7) of each byte of `plane`, the fifth. */
INLINE __m512i with_fifth_bits(__m512i low, __m512i plane, size_t l) {
    __m512i moved = l < 4 ? _mm512_slli_epi16(plane, 4 - (unsigned)l)
                          : _mm512_srli_epi16(plane, (unsigned)l - 4);
    return _mm512_ternarylogic_epi32(low, moved, _mm512_set1_epi8(16), 0xf8); /* a | (b & c) */
}

/* Unsigned weights of line `l` (0..15, 4 inputs a row) of a superblock. */
INLINE __m512i weights(cp_quant quant, const char *super, size_t l) {
    if (quant == CP_INT8)
        return _mm512_xor_si512(_mm512_loadu_si512(super + l * 64), _mm512_set1_epi8(-128));
    const char *group = super + l / GROUP_LINES * cp_quant_group_bytes(quant);
    size_t in_group = l % GROUP_LINES;
    __m512i both = _mm512_loadu_si512(group + in_group / 2 * 64);
    __m512i low = _mm512_and_si512(l % 2 ? _mm512_srli_epi16(both, 4) : both, _mm512_set1_epi8(15));
    if (quant == CP_INT4)
        return low;
    return with_fifth_bits(low, _mm512_loadu_si512(group + CP_INT4_LINES * 64), in_group);
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

/* ---- few tokens --------------------------------------------------------------------------------
 */

/* Superblock `s` of neighbouring tiles times n tokens: a line of each tile in turn, so that the
 * memory sees the tiles' streams side by side and activations are loaded once for all. */
INLINE void few_super(cp_quant quant, const char *super, size_t tile_bytes, size_t tiles,
                      const char *ahead, const cp_activations *x, size_t s, size_t n,
                      __m512 acc[FEW_TILES][FEW_TOKENS]) {
    size_t n_groups = x->n_super * CP_GROUPS_A_SUPER;
    UNROLL for (size_t g = 0; g < CP_GROUPS_A_SUPER; g++) {
        __m512i isum[FEW_TILES][FEW_TOKENS];
        size_t group = s * CP_GROUPS_A_SUPER + g;
        UNROLL for (size_t i = 0; i < tiles; i++) UNROLL for (size_t t = 0; t < n; t++) isum[i][t] =
            _mm512_set1_epi32(-bias(quant) * x->sums[t * n_groups + group]);
        UNROLL for (size_t l = 0; l < GROUP_LINES; l++) UNROLL for (size_t i = 0; i < tiles; i++) {
            __m512i w = weights(quant, super + i * tile_bytes, g * GROUP_LINES + l);
            cp_ask_ahead(quant, ahead + i * tile_bytes, g * GROUP_LINES + l);
            UNROLL for (size_t t = 0; t < n; t++) isum[i][t] = _mm512_dpbusd_epi32(
                isum[i][t], w, broadcast4(x->values + (t * n_groups + group) * CP_GROUP + l * 4));
        }
        UNROLL for (size_t i = 0; i < tiles; i++) {
            __m512 w_scale = weight_scales(quant, super + i * tile_bytes, g);
            UNROLL for (size_t t = 0; t < n; t++) acc[i][t] =
                add_group(acc[i][t], isum[i][t], w_scale, x->scales[t * n_groups + group]);
        }
    }
}

/* Neighbouring tiles side by side: the memory serves several streams faster than one. */
INLINE void few_tiles(cp_quant quant, const char *tile, size_t tiles, size_t rows,
                      const cp_activations *x, size_t n, float *out, size_t stride) {
    size_t super_bytes = cp_quant_super_bytes(quant), tile_bytes = x->n_super * super_bytes;
    __m512 acc[FEW_TILES][FEW_TOKENS];
    UNROLL for (size_t i = 0; i < tiles; i++) UNROLL for (size_t t = 0; t < n; t++) acc[i][t] =
        _mm512_setzero_ps();
    for (size_t s = 0; s < x->n_super; s++)
        few_super(quant, tile + s * super_bytes, tile_bytes, tiles,
                  cp_ahead(quant, tile, s, x->n_super, tiles), x, s, n, acc);
    UNROLL for (size_t i = 0; i < tiles; i++) UNROLL for (size_t t = 0; t < n; t++)
        _mm512_mask_storeu_ps(out + t * stride + i * CP_TILE_ROWS,
                              row_mask(rows - i * CP_TILE_ROWS), acc[i][t]);
}

INLINE void few(cp_quant quant, const char *w, size_t rows, const cp_activations *x, size_t n,
                float *out, size_t stride) {
    const size_t tile_bytes = x->n_super * cp_quant_super_bytes(quant);
    const size_t tiles = n <= 2 ? FEW_TILES : n <= 4 ? FEW_TILES / 2 : 1; /* at most 8 float sums */
    for (size_t row = 0; row < rows;) {
        const char *tile = w + row / CP_TILE_ROWS * tile_bytes;
        size_t now = rows - row > (tiles - 1) * CP_TILE_ROWS ? tiles : 1;
        if (now == tiles)
            few_tiles(quant, tile, tiles, rows - row, x, n, out + row, stride);
        else
            few_tiles(quant, tile, 1, rows - row, x, n, out + row, stride);
        row += now * CP_TILE_ROWS;
    }
}

/* ---- many tokens -------------------------------------------------------------------------------
 */

/* Part of two tiles, ready to multiply, and what the sums of its groups start from. */
typedef struct panel {
    _Alignas(64) unsigned char lines[CHUNK_LINES][TILES][64];
    float scales[CHUNK_GROUPS][TILES][CP_TILE_ROWS];
    int32_t starts[CALL_TOKENS][CHUNK_GROUPS];
} panel;

/* What a block multiplies a panel with: some tokens, from the panel's first group on. */
typedef struct block {
    const int8_t *values;
    const float *scales;
    const int32_t *starts;
    size_t n_groups; /* of a whole token: the stride of values and scales */
    float *out;
    size_t stride;
    __mmask16 load[TILES], store[TILES]; /* rows; the first chunk loads none and starts at zero */
    const char *ahead[TILES];            /* the next panel's weights: asked for along the way */
    size_t ahead_lines;                  /* of each tile, a group */
} block;

INLINE void unpack(cp_quant quant, const char *tile, size_t n_super, size_t i, panel *p) {
    for (size_t s = 0; s < n_super; s++) {
        const char *super = tile + s * cp_quant_super_bytes(quant);
        UNROLL for (size_t l = 0; l < SUPER_LINES; l++)
            _mm512_store_si512(p->lines[s * SUPER_LINES + l][i], weights(quant, super, l));
        for (size_t g = 0; g < CP_GROUPS_A_SUPER; g++)
            _mm512_store_ps(p->scales[s * CP_GROUPS_A_SUPER + g][i],
                            weight_scales(quant, super, g));
    }
}

/* The integer sums of one group: tiles x tokens of them. */
INLINE void sum_group(const panel *p, size_t tiles, size_t tokens, size_t g, const block *b,
                      __m512i isum[BLOCK_TOKENS][TILES]) {
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
}

/* The panel's first n_groups groups times one block: all sums live in registers. */
INLINE void multiply(const panel *p, size_t tiles, size_t tokens, size_t n_groups, const block *b) {
    __m512 acc[BLOCK_TOKENS][TILES];
    UNROLL for (size_t t = 0; t < tokens; t++) UNROLL for (size_t i = 0; i < tiles; i++) acc[t][i] =
        _mm512_maskz_loadu_ps(b->load[i], b->out + t * b->stride + i * CP_TILE_ROWS);
    /* The next block's outputs lie a stride apart, where no hardware prefetcher looks. */
    UNROLL for (size_t t = 0; t < tokens; t++) UNROLL for (size_t i = 0; i < tiles; i++)
        __builtin_prefetch(b->out + (t + tokens) * b->stride + i * CP_TILE_ROWS, 1);
    for (size_t g = 0; g < n_groups; g++) {
        __m512i isum[BLOCK_TOKENS][TILES];
        for (size_t a = g * b->ahead_lines; a < (g + 1) * b->ahead_lines; a++)
            UNROLL for (size_t i = 0; i < tiles; i++)
                _mm_prefetch(b->ahead[i] + a * 64, _MM_HINT_T1);
        sum_group(p, tiles, tokens, g, b, isum);
        UNROLL for (size_t i = 0; i < tiles; i++) {
            __m512 w_scale = _mm512_load_ps(p->scales[g][i]);
            UNROLL for (size_t t = 0; t < tokens; t++) acc[t][i] =
                add_group(acc[t][i], isum[t][i], w_scale, b->scales[t * b->n_groups + g]);
        }
    }
    UNROLL for (size_t t = 0; t < tokens; t++) UNROLL for (size_t i = 0; i < tiles; i++)
        _mm512_mask_storeu_ps(b->out + t * b->stride + i * CP_TILE_ROWS, b->store[i], acc[t][i]);
}

/* One copy for every shape of block. */
#define MULTIPLY(N_TILES, TOKENS)                                                                  \
    static void multiply_##N_TILES##x##TOKENS(const panel *p, size_t n_groups, const block *b) {   \
        multiply(p, N_TILES, TOKENS, n_groups, b);                                                 \
    }
#define MULTIPLY_ALL(N_TILES)                                                                      \
    MULTIPLY(N_TILES, 1)                                                                           \
    MULTIPLY(N_TILES, 2)                                                                           \
    MULTIPLY(N_TILES, 3)                                                                           \
    MULTIPLY(N_TILES, 4)                                                                           \
    MULTIPLY(N_TILES, 5)                                                                           \
    MULTIPLY(N_TILES, 6)                                                                           \
    MULTIPLY(N_TILES, 7)
MULTIPLY_ALL(1)
MULTIPLY_ALL(2)

static void (*const multiplies[TILES][BLOCK_TOKENS])(const panel *, size_t, const block *) = {
    {multiply_1x1, multiply_1x2, multiply_1x3, multiply_1x4, multiply_1x5, multiply_1x6,
     multiply_1x7},
    {multiply_2x1, multiply_2x2, multiply_2x3, multiply_2x4, multiply_2x5, multiply_2x6,
     multiply_2x7},
};

/* One panel times n_tokens tokens, in blocks as even as they come. `ahead_bytes` of each of the
 * next panel's tiles are asked for meanwhile. */
static void multiply_panel(const panel *p, size_t tiles, size_t n_groups, size_t n_tokens, block b,
                           size_t ahead_bytes) {
    size_t n_blocks = (n_tokens + BLOCK_TOKENS - 1) / BLOCK_TOKENS, asked = 0;
    size_t lines = (ahead_bytes / 64 + n_blocks * n_groups - 1) / (n_blocks * n_groups);
    for (size_t i = 0, done = 0; i < n_blocks; i++) {
        size_t tokens = (n_tokens - done) / (n_blocks - i);
        b.ahead_lines = asked < ahead_bytes ? lines : 0;
        multiplies[tiles - 1][tokens - 1](p, n_groups, &b);
        for (size_t j = 0; j < TILES; j++)
            b.ahead[j] += n_groups * b.ahead_lines * 64;
        asked += n_groups * b.ahead_lines * 64;
        b.values += tokens * b.n_groups * CP_GROUP;
        b.scales += tokens * b.n_groups;
        b.starts += tokens * CHUNK_GROUPS;
        b.out += tokens * b.stride;
        done += tokens;
    }
}

static void set_starts(cp_quant quant, const int32_t *sums, size_t n_tokens, size_t sums_stride,
                       size_t n_groups, panel *p) {
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t g = 0; g < n_groups; g++)
            p->starts[t][g] = -bias(quant) * sums[t * sums_stride + g];
}

/* All rows times superblocks s.. of at most CALL_TOKENS tokens from `token` on. */
INLINE void chunk(cp_quant quant, const char *w, size_t rows, const cp_activations *x, size_t s,
                  size_t token, size_t n_tokens, float *out, size_t stride, panel *p) {
    size_t supers = x->n_super - s < CHUNK_SUPERS ? x->n_super - s : CHUNK_SUPERS;
    size_t all_groups = x->n_super * CP_GROUPS_A_SUPER, n_groups = supers * CP_GROUPS_A_SUPER;
    size_t super_bytes = cp_quant_super_bytes(quant), tile_bytes = x->n_super * super_bytes;
    size_t first = token * all_groups + s * CP_GROUPS_A_SUPER; /* group */
    set_starts(quant, x->sums + first, n_tokens, all_groups, n_groups, p);
    for (size_t row = 0; row < rows; row += TILES * CP_TILE_ROWS) {
        size_t tiles = rows - row > CP_TILE_ROWS ? 2 : 1;
        const char *tile = w + row / CP_TILE_ROWS * tile_bytes + s * super_bytes;
        block b = {x->values + first * CP_GROUP,
                   x->scales + first,
                   p->starts[0],
                   all_groups,
                   out + token * stride + row,
                   stride,
                   {0},
                   {0},
                   {tile + TILES * tile_bytes},
                   0};
        b.ahead[1] = b.ahead[0] + tile_bytes;
        for (size_t i = 0; i < tiles; i++) {
            unpack(quant, tile + i * tile_bytes, supers, i, p);
            b.store[i] = row_mask(rows - row - i * CP_TILE_ROWS);
            b.load[i] = s == 0 ? 0 : b.store[i];
        }
        multiply_panel(p, tiles, n_groups, n_tokens, b, supers * super_bytes);
    }
}

/* Chunks outermost: their activations stay in the second cache while all tiles pass. */
INLINE void many(cp_quant quant, const char *w, size_t rows, const cp_activations *x,
                 size_t n_tokens, float *out, size_t stride) {
    SCRATCH panel p;
    for (size_t t = 0; t < n_tokens; t += CALL_TOKENS)
        for (size_t s = 0; s < x->n_super; s += CHUNK_SUPERS)
            chunk(quant, w, rows, x, s, t, n_tokens - t < CALL_TOKENS ? n_tokens - t : CALL_TOKENS,
                  out, stride, &p);
}

#define FEW(QUANT, N)                                                                              \
    case N:                                                                                        \
        few(QUANT, w, rows, x, N, out, stride);                                                    \
        break

#define PRODUCT(NAME, QUANT)                                                                       \
    static void few_##NAME(const char *w, size_t rows, const cp_activations *x, size_t n_tokens,   \
                           float *out, size_t stride) {                                            \
        switch (n_tokens) {                                                                        \
            FEW(QUANT, 1);                                                                         \
            FEW(QUANT, 2);                                                                         \
            FEW(QUANT, 3);                                                                         \
            FEW(QUANT, 4);                                                                         \
            FEW(QUANT, 5);                                                                         \
            FEW(QUANT, 6);                                                                         \
            FEW(QUANT, 7);                                                                         \
            FEW(QUANT, FEW_TOKENS);                                                                \
        }                                                                                          \
    }                                                                                              \
    void cp_avx512_product_##NAME(const void *w, size_t rows, const cp_activations *x,             \
                                  size_t n_tokens, float *out, size_t stride) {                    \
        if (n_tokens <= FEW_TOKENS)                                                                \
            few_##NAME(w, rows, x, n_tokens, out, stride);                                         \
        else                                                                                       \
            many(QUANT, w, rows, x, n_tokens, out, stride);                                        \
    }

PRODUCT(int8, CP_INT8)
PRODUCT(int5, CP_INT5)
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
