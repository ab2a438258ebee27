/* AVX2: quantized weights times int8 activations, without VNNI.
 *
 * A line of a tile is two vectors of 8 outputs ("halves").
 *
 * int4: stored nibbles are unsigned. vpmaddubsw with the activations gives at most 2 * 15 * 127 =
 * 3810 a 16-bit lane, so a group's eight products add up in 16 bits (30480) before one vpmaddwd;
 * then 8 * the sum of the activations is taken off.
 *
 * int5: 2 * 31 * 127 = 7874, so only four products add up in 16 bits; a group is two halves.
 *
 * int8, few tokens: |w| times the activations with w's signs (vpsignb), which fits vpmaddubsw
 * exactly (2 * 127 * 127 < 2^15). Many tokens: both sides widened to 16 bits once, then vpmaddwd
 * alone, which leaves the third vector port to the additions.
 *
 * Few tokens stream the tiles through registers, up to eight in two halves. More share a panel of
 * one tile x 512 inputs, unpacked into the first cache; the outputs hold the partial sums between
 * panels.
 */
#include "engine/kernels/avx2_quant.h"

#include "engine/kernels/ahead.h"
#include "engine/kernels/lanes.h"

#include <immintrin.h>
#include <stdbool.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
/* Additions stay where they are written: summing all products at the end, which GCC prefers, spills
 * every one of them. */
#define KEEP_ORDER(v) __asm__("" : "+x"(v))
/* Large scratch arrays are not worth zeroing at every call. */
#if defined(__has_attribute) && __has_attribute(uninitialized)
#define SCRATCH __attribute__((uninitialized))
#else
#define SCRATCH
#endif

#define HALVES       2 /* vectors of 8 outputs in a tile */
#define GROUP_LINES  8 /* of 4 inputs */
#define SUPER_LINES  16
#define FEW_TILES    4
#define FEW_TOKENS   4 /* up to here weights are used from registers */
#define BLOCK_TOKENS 4 /* 4 tokens x 2 halves: 8 of 16 registers are sums */
#define CHUNK_SUPERS 8
#define CHUNK_GROUPS (CHUNK_SUPERS * CP_GROUPS_A_SUPER)
#define CHUNK_INPUTS (CHUNK_SUPERS * CP_SUPER)
#define CHUNK_LINES  (CHUNK_SUPERS * SUPER_LINES)
#define CALL_TOKENS  32 /* tokens that share an unpacked panel */

/* ---- pieces ------------------------------------------------------------------------------------
 */

INLINE __m256i load(const void *from) {
    return _mm256_loadu_si256((const __m256i *)from);
}

/* Four bytes at any alignment, in every lane. */
INLINE __m256i broadcast4(const void *from) {
    int32_t four;
    memcpy(&four, from, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Low four bits and, from bit `l` (0..7) of each byte of `plane`, the fifth. */
INLINE __m256i with_fifth_bits(__m256i low, __m256i plane, size_t l) {
    __m256i moved =
        l < 4 ? _mm256_slli_epi16(plane, 4 - (int)l) : _mm256_srli_epi16(plane, (int)l - 4);
    return _mm256_or_si256(low, _mm256_and_si256(moved, _mm256_set1_epi8(16)));
}

/* Line `l` (0..15) of a superblock: half `h`, as bytes 4 inputs a row; int5 and int4 still biased.
 */
INLINE __m256i weights(cp_quant quant, const char *super, size_t l, size_t h) {
    if (quant == CP_INT8)
        return load(super + l * 64 + h * 32);
    const char *group = super + l / GROUP_LINES * cp_quant_group_bytes(quant) + h * 32;
    size_t in_group = l % GROUP_LINES;
    __m256i both = load(group + in_group / 2 * 64);
    __m256i low = _mm256_and_si256(l % 2 ? _mm256_srli_epi16(both, 4) : both, _mm256_set1_epi8(15));
    if (quant == CP_INT4)
        return low;
    return with_fifth_bits(low, load(group + CP_INT4_LINES * 64), in_group);
}

INLINE __m256 weight_scales(cp_quant quant, const char *super, size_t group, size_t h) {
    const char *at =
        super + cp_quant_super_bytes(quant) - CP_SCALE_BYTES + (group * CP_TILE_ROWS + h * 8) * 2;
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)at));
}

INLINE __m256 add_group(__m256 acc, __m256i isum, __m256 w_scale, float x_scale) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(isum),
                           _mm256_mul_ps(w_scale, _mm256_set1_ps(x_scale)), acc);
}

INLINE __m256i add_pairs(__m256i pairs) {
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

/* The lanes of half h that are rows of a tile of `rows`, which may be more than 16. */
INLINE __m256i half_mask(size_t rows, size_t h) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    int in_tile = rows < CP_TILE_ROWS ? (int)rows : CP_TILE_ROWS;
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(in_tile - (int)h * 8), lanes);
}

/* ---- few tokens --------------------------------------------------------------------------------
 */

/* One line of half h added to the sums of n tokens: 32-bit sums for int8, else 16-bit ones. */
INLINE void few_line(cp_quant quant, const char *super, size_t l, size_t h, const int8_t *x,
                     size_t x_stride, size_t n, __m256i sum[FEW_TOKENS]) {
    __m256i w = weights(quant, super, l, h), size = _mm256_abs_epi8(w);
    UNROLL for (size_t t = 0; t < n; t++) {
        __m256i four = broadcast4(x + t * x_stride);
        if (quant == CP_INT8)
            sum[t] = _mm256_add_epi32(
                sum[t], add_pairs(_mm256_maddubs_epi16(size, _mm256_sign_epi8(four, w))));
        else
            sum[t] = _mm256_add_epi16(sum[t], _mm256_maddubs_epi16(w, four));
        KEEP_ORDER(sum[t]);
    }
}

/* Half a group's 16-bit sums, before they overflow: to 32 bits, and from zero again. */
INLINE void set_aside(size_t n, __m256i sum[HALVES][FEW_TOKENS], __m256i to[HALVES][FEW_TOKENS]) {
    UNROLL for (size_t h = 0; h < HALVES; h++) UNROLL for (size_t t = 0; t < n; t++) {
        to[h][t] = add_pairs(sum[h][t]);
        sum[h][t] = _mm256_setzero_si256();
    }
}

/* Superblock `s` of one tile times n tokens. */
INLINE void few_super(cp_quant quant, const char *super, const char *ahead, const cp_activations *x,
                      size_t s, size_t n, __m256 acc[FEW_TOKENS][HALVES]) {
    size_t n_groups = x->n_super * CP_GROUPS_A_SUPER;
    UNROLL for (size_t g = 0; g < CP_GROUPS_A_SUPER; g++) {
        size_t group = s * CP_GROUPS_A_SUPER + g;
        __m256i sum[HALVES][FEW_TOKENS], first[HALVES][FEW_TOKENS];
        UNROLL for (size_t h = 0; h < HALVES; h++) UNROLL for (size_t t = 0; t < n; t++) sum[h][t] =
            _mm256_setzero_si256();
        UNROLL for (size_t l = 0; l < GROUP_LINES; l++) {
            if (quant == CP_INT5 && l == GROUP_LINES / 2)
                set_aside(n, sum, first);
            cp_ask_ahead(quant, ahead, g * GROUP_LINES + l);
            UNROLL for (size_t h = 0; h < HALVES; h++)
                few_line(quant, super, g * GROUP_LINES + l, h, x->values + group * CP_GROUP + l * 4,
                         n_groups * CP_GROUP, n, sum[h]);
        }
        UNROLL for (size_t h = 0; h < HALVES; h++) {
            __m256 w_scale = weight_scales(quant, super, g, h);
            UNROLL for (size_t t = 0; t < n; t++) {
                size_t at = t * n_groups + group;
                __m256i isum = sum[h][t];
                if (quant != CP_INT8)
                    isum = _mm256_sub_epi32(add_pairs(isum),
                                            _mm256_set1_epi32(cp_quant_bias(quant) * x->sums[at]));
                if (quant == CP_INT5)
                    isum = _mm256_add_epi32(isum, first[h][t]);
                acc[t][h] = add_group(acc[t][h], isum, w_scale, x->scales[at]);
            }
        }
    }
}

/* Neighbouring tiles side by side: the memory serves several streams faster than one. */
INLINE void few_tiles(cp_quant quant, const char *tile, size_t tiles, size_t rows,
                      const cp_activations *x, size_t n, float *out, size_t stride) {
    size_t super_bytes = cp_quant_super_bytes(quant), tile_bytes = x->n_super * super_bytes;
    __m256 acc[FEW_TILES][FEW_TOKENS][HALVES];
    UNROLL for (size_t i = 0; i < tiles; i++) UNROLL for (size_t t = 0; t < n; t++) acc[i][t][0] =
        acc[i][t][1] = _mm256_setzero_ps();
    for (size_t s = 0; s < x->n_super; s++) {
        const char *ahead = cp_ahead(quant, tile, s, x->n_super, tiles);
        UNROLL for (size_t i = 0; i < tiles; i++)
            few_super(quant, tile + i * tile_bytes + s * super_bytes, ahead + i * tile_bytes, x, s,
                      n, acc[i]);
    }
    UNROLL for (size_t i = 0; i < tiles; i++) UNROLL for (size_t t = 0; t < n; t++)
        UNROLL for (size_t h = 0; h < HALVES; h++)
            _mm256_maskstore_ps(out + t * stride + i * CP_TILE_ROWS + h * 8,
                                half_mask(rows - i * CP_TILE_ROWS, h), acc[i][t][h]);
}

INLINE void few(cp_quant quant, const char *w, size_t rows, const cp_activations *x, size_t n,
                float *out, size_t stride) {
    const size_t tile_bytes = x->n_super * cp_quant_super_bytes(quant);
    const size_t tiles = n == 1 ? FEW_TILES : FEW_TILES / 2;
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

/* ---- several tokens ----------------------------------------------------------------------------
 */

/* Part of a tile, ready to multiply, and what the tokens need beside it. int8 is widened to 16 bits
 * on both sides: each group has inputs 0 and 2 of its 8 lines, then inputs 1 and 3. */
typedef struct panel {
    _Alignas(64) unsigned char lines[CHUNK_LINES * 2][HALVES][32]; /* int5, int4: the first half */
    float scales[CHUNK_GROUPS][HALVES][8];
    int16_t wide[CALL_TOKENS][CHUNK_INPUTS];    /* int8 */
    int32_t offsets[CALL_TOKENS][CHUNK_GROUPS]; /* int5, int4: bias * sum */
} panel;

/* A block's tokens: the first one's activations, from the chunk's first group on. */
typedef struct block {
    const char *values;  /* int8_t, or int16_t from the panel */
    size_t value_stride; /* in bytes */
    const float *scales;
    size_t n_groups; /* of a token: the stride of scales */
    const int32_t *offsets;
    float *out;
    size_t stride;
    bool first_chunk;   /* sums start at zero */
    size_t rows;        /* from the panel's first one to the last */
    const char *ahead;  /* the next panel's weights: asked for along the way */
    size_t ahead_lines; /* a group */
} block;

/* Bytes 0 and 2 of each lane as 16 bits, and bytes 1 and 3. */
INLINE __m256i even_bytes(__m256i bytes) {
    return _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8);
}
INLINE __m256i odd_bytes(__m256i bytes) {
    return _mm256_srai_epi16(bytes, 8);
}

INLINE void store(void *to, __m256i v) {
    _mm256_storeu_si256((__m256i *)to, v);
}

INLINE void unpack_group(cp_quant quant, const char *super, size_t g, size_t at, panel *p) {
    for (size_t h = 0; h < HALVES; h++) {
        UNROLL for (size_t l = 0; l < GROUP_LINES; l++) {
            __m256i w = weights(quant, super, g * GROUP_LINES + l, h);
            if (quant != CP_INT8) {
                store(p->lines[at * GROUP_LINES + l][h], w);
            } else {
                store(p->lines[2 * at * GROUP_LINES + l][h], even_bytes(w));
                store(p->lines[(2 * at + 1) * GROUP_LINES + l][h], odd_bytes(w));
            }
        }
        _mm256_storeu_ps(p->scales[at][h], weight_scales(quant, super, g, h));
    }
}

INLINE void unpack(cp_quant quant, const char *tile, size_t n_groups, panel *p) {
    for (size_t g = 0; g < n_groups; g++)
        unpack_group(quant, tile + g / CP_GROUPS_A_SUPER * cp_quant_super_bytes(quant),
                     g % CP_GROUPS_A_SUPER, g, p);
}

/* What `multiply` wants of n_tokens tokens, from group `first` on, beside their values and scales.
 */
INLINE void prepare(cp_quant quant, const cp_activations *x, size_t first, size_t n_tokens,
                    size_t n_groups, panel *p) {
    for (size_t t = 0; t < n_tokens; t++, first += x->n_super * CP_GROUPS_A_SUPER)
        for (size_t g = 0; g < n_groups; g++) {
            if (quant != CP_INT8) {
                p->offsets[t][g] = cp_quant_bias(quant) * x->sums[first + g];
                continue;
            }
            __m256i bytes = load(x->values + (first + g) * CP_GROUP);
            store(p->wide[t] + g * CP_GROUP, even_bytes(bytes));
            store(p->wide[t] + g * CP_GROUP + CP_GROUP / 2, odd_bytes(bytes));
        }
}

/* A group's sums of 4-byte lines times 4 inputs: 16-bit ones for int4, 32-bit ones for int8. */
INLINE void sum_lines(cp_quant quant, const unsigned char (*lines)[HALVES][32], const char *x,
                      size_t x_stride, size_t tokens, __m256i sum[BLOCK_TOKENS][HALVES]) {
    const size_t steps = quant == CP_INT8 ? 2 * GROUP_LINES : GROUP_LINES;
    UNROLL for (size_t l = 0; l < steps; l++) {
        __m256i w[HALVES] = {load(lines[l][0]), load(lines[l][1])};
        UNROLL for (size_t t = 0; t < tokens; t++) {
            __m256i four = broadcast4(x + t * x_stride + l * 4);
            UNROLL for (size_t h = 0; h < HALVES; h++) {
                sum[t][h] = quant == CP_INT4
                                ? _mm256_add_epi16(sum[t][h], _mm256_maddubs_epi16(w[h], four))
                                : _mm256_add_epi32(sum[t][h], _mm256_madd_epi16(w[h], four));
                KEEP_ORDER(sum[t][h]);
            }
        }
    }
}

/* The same for int5, four lines of one half at a time: their products' sum goes to 32 bits before
 * the next token's are begun, so that no more registers are needed than for int4. */
INLINE void sum_fours(const unsigned char (*lines)[HALVES][32], const char *x, size_t x_stride,
                      size_t tokens, __m256i sum[BLOCK_TOKENS][HALVES]) {
    UNROLL for (size_t l = 0; l < GROUP_LINES; l += 4) UNROLL for (size_t h = 0; h < HALVES; h++) {
        __m256i w[4];
        UNROLL for (size_t i = 0; i < 4; i++) w[i] = load(lines[l + i][h]);
        UNROLL for (size_t t = 0; t < tokens; t++) {
            const char *from = x + t * x_stride + l * 4;
            __m256i pairs = _mm256_maddubs_epi16(w[0], broadcast4(from));
            UNROLL for (size_t i = 1; i < 4; i++) {
                pairs =
                    _mm256_add_epi16(pairs, _mm256_maddubs_epi16(w[i], broadcast4(from + 4 * i)));
                KEEP_ORDER(pairs);
            }
            sum[t][h] = _mm256_add_epi32(sum[t][h], add_pairs(pairs));
            KEEP_ORDER(sum[t][h]);
        }
    }
}

/* The panel's first n_groups groups times one block. */
INLINE void multiply(cp_quant quant, const panel *p, size_t tokens, size_t n_groups,
                     const block *b) {
    const size_t steps = quant == CP_INT8 ? 2 * GROUP_LINES : GROUP_LINES; /* a group */
    __m256 acc[BLOCK_TOKENS][HALVES];
    UNROLL for (size_t t = 0; t < tokens; t++) UNROLL for (size_t h = 0; h < HALVES; h++)
        acc[t][h] = b->first_chunk
                        ? _mm256_setzero_ps()
                        : _mm256_maskload_ps(b->out + t * b->stride + h * 8, half_mask(b->rows, h));
    /* The next block's outputs lie a stride apart, where no hardware prefetcher looks. */
    UNROLL for (size_t t = 0; t < tokens; t++)
        __builtin_prefetch(b->out + (t + tokens) * b->stride, 1);
    for (size_t g = 0; g < n_groups; g++) {
        __m256i sum[BLOCK_TOKENS][HALVES];
        for (size_t a = g * b->ahead_lines; a < (g + 1) * b->ahead_lines; a++)
            _mm_prefetch(b->ahead + a * 64, _MM_HINT_T1);
        UNROLL for (size_t t = 0; t < tokens; t++) UNROLL for (size_t h = 0; h < HALVES; h++)
            sum[t][h] = _mm256_setzero_si256();
        if (quant == CP_INT5)
            sum_fours(p->lines + g * steps, b->values + g * steps * 4, b->value_stride, tokens,
                      sum);
        else
            sum_lines(quant, p->lines + g * steps, b->values + g * steps * 4, b->value_stride,
                      tokens, sum);
        UNROLL for (size_t h = 0; h < HALVES; h++) {
            __m256 w_scale = _mm256_load_ps(p->scales[g][h]);
            UNROLL for (size_t t = 0; t < tokens; t++) {
                __m256i isum = sum[t][h];
                if (quant == CP_INT4)
                    isum = add_pairs(isum);
                if (quant != CP_INT8)
                    isum =
                        _mm256_sub_epi32(isum, _mm256_set1_epi32(b->offsets[t * CHUNK_GROUPS + g]));
                acc[t][h] = add_group(acc[t][h], isum, w_scale, b->scales[t * b->n_groups + g]);
            }
        }
    }
    UNROLL for (size_t t = 0; t < tokens; t++) UNROLL for (size_t h = 0; h < HALVES; h++)
        _mm256_maskstore_ps(b->out + t * b->stride + h * 8, half_mask(b->rows, h), acc[t][h]);
}

/* One copy for every size of block. */
#define MULTIPLY(NAME, QUANT, TOKENS)                                                              \
    static __attribute__((noinline)) void multiply_##NAME##_##TOKENS(                              \
        const panel *p, size_t n_groups, const block *b) {                                         \
        multiply(QUANT, p, TOKENS, n_groups, b);                                                   \
    }
MULTIPLY(int8, CP_INT8, 1)
MULTIPLY(int8, CP_INT8, 2)
MULTIPLY(int8, CP_INT8, 3)
MULTIPLY(int8, CP_INT8, 4)
MULTIPLY(int5, CP_INT5, 1)
MULTIPLY(int5, CP_INT5, 2)
MULTIPLY(int5, CP_INT5, 3)
MULTIPLY(int5, CP_INT5, 4)
MULTIPLY(int4, CP_INT4, 1)
MULTIPLY(int4, CP_INT4, 2)
MULTIPLY(int4, CP_INT4, 3)
MULTIPLY(int4, CP_INT4, 4)

static void (*const multiplies[CP_N_QUANTS][BLOCK_TOKENS])(const panel *, size_t, const block *) = {
    [CP_INT8] = {multiply_int8_1, multiply_int8_2, multiply_int8_3, multiply_int8_4},
    [CP_INT5] = {multiply_int5_1, multiply_int5_2, multiply_int5_3, multiply_int5_4},
    [CP_INT4] = {multiply_int4_1, multiply_int4_2, multiply_int4_3, multiply_int4_4},
};

/* One panel times n_tokens tokens, in blocks as even as they come. `ahead_bytes` of the next panel
 * are asked for meanwhile. */
INLINE void multiply_panel(cp_quant quant, const panel *p, size_t n_groups, size_t n_tokens,
                           block b, size_t ahead_bytes) {
    size_t n_blocks = (n_tokens + BLOCK_TOKENS - 1) / BLOCK_TOKENS, asked = 0;
    size_t lines = (ahead_bytes / 64 + n_blocks * n_groups - 1) / (n_blocks * n_groups);
    for (size_t i = 0, done = 0; i < n_blocks; i++) {
        size_t tokens = (n_tokens - done) / (n_blocks - i);
        b.ahead_lines = asked < ahead_bytes ? lines : 0;
        multiplies[quant][tokens - 1](p, n_groups, &b);
        b.ahead += n_groups * b.ahead_lines * 64;
        asked += n_groups * b.ahead_lines * 64;
        b.values += tokens * b.value_stride;
        b.scales += tokens * b.n_groups;
        b.offsets += tokens * CHUNK_GROUPS;
        b.out += tokens * b.stride;
        done += tokens;
    }
}

/* All rows times superblocks s.. of at most CALL_TOKENS tokens from `token` on. */
INLINE void chunk(cp_quant quant, const char *w, size_t rows, const cp_activations *x, size_t s,
                  size_t token, size_t n_tokens, float *out, size_t stride, panel *p) {
    size_t supers = x->n_super - s < CHUNK_SUPERS ? x->n_super - s : CHUNK_SUPERS;
    size_t all_groups = x->n_super * CP_GROUPS_A_SUPER, n_groups = supers * CP_GROUPS_A_SUPER;
    size_t super_bytes = cp_quant_super_bytes(quant), tile_bytes = x->n_super * super_bytes;
    size_t first = token * all_groups + s * CP_GROUPS_A_SUPER; /* group */
    const char *narrow = (const char *)(x->values + first * CP_GROUP);
    prepare(quant, x, first, n_tokens, n_groups, p);
    for (size_t row = 0; row < rows; row += CP_TILE_ROWS) {
        const char *tile = w + row / CP_TILE_ROWS * tile_bytes + s * super_bytes;
        unpack(quant, tile, n_groups, p);
        multiply_panel(
            quant, p, n_groups, n_tokens,
            (block){.values = quant == CP_INT8 ? (const char *)p->wide : narrow,
                    .value_stride = quant == CP_INT8 ? sizeof p->wide[0] : x->n_super * CP_SUPER,
                    .scales = x->scales + first,
                    .n_groups = all_groups,
                    .offsets = p->offsets[0],
                    .out = out + token * stride + row,
                    .stride = stride,
                    .first_chunk = s == 0,
                    .rows = rows - row,
                    .ahead = tile + tile_bytes},
            supers * super_bytes);
    }
}

/* Chunks outermost: their weights stay in the second cache while all tokens pass. */
INLINE void many(cp_quant quant, const char *w, size_t rows, const cp_activations *x,
                 size_t n_tokens, float *out, size_t stride) {
    SCRATCH panel p;
    for (size_t s = 0; s < x->n_super; s += CHUNK_SUPERS)
        for (size_t t = 0; t < n_tokens; t += CALL_TOKENS)
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
            FEW(QUANT, FEW_TOKENS);                                                                \
        }                                                                                          \
    }                                                                                              \
    /* Half the tokens, then the rest with the tile still in the first cache. */                   \
    static void halves_##NAME(const char *w, size_t rows, const cp_activations *x,                 \
                              size_t n_tokens, float *out, size_t stride) {                        \
        size_t half = n_tokens / 2, groups = half * x->n_super * CP_GROUPS_A_SUPER;                \
        cp_activations rest = {x->values + groups * CP_GROUP, x->scales + groups,                  \
                               x->sums + groups, x->n_super};                                      \
        for (size_t row = 0; row < rows; row += CP_TILE_ROWS) {                                    \
            size_t n = rows - row < CP_TILE_ROWS ? rows - row : CP_TILE_ROWS;                      \
            few_##NAME(w, n, x, half, out + row, stride);                                          \
            few_##NAME(w, n, &rest, n_tokens - half, out + half * stride + row, stride);           \
            w += x->n_super * cp_quant_super_bytes(QUANT);                                         \
        }                                                                                          \
    }                                                                                              \
    void cp_avx2_product_##NAME(const void *w, size_t rows, const cp_activations *x,               \
                                size_t n_tokens, float *out, size_t stride) {                      \
        if (n_tokens <= FEW_TOKENS)                                                                \
            few_##NAME(w, rows, x, n_tokens, out, stride);                                         \
        else if (n_tokens <= 2 * FEW_TOKENS)                                                       \
            halves_##NAME(w, rows, x, n_tokens, out, stride);                                      \
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

/* The largest |x| of a group as its bits: for non-negative floats integers compare alike, with NaN
 * above all. */
INLINE int32_t largest_bits(const __m256 x[4]) {
    const __m256i size = _mm256_set1_epi32(0x7fffffff);
    __m256i max = _mm256_and_si256(_mm256_castps_si256(x[0]), size);
    UNROLL for (int i = 1; i < 4; i++) max =
        _mm256_max_epi32(max, _mm256_and_si256(_mm256_castps_si256(x[i]), size));
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
    __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

INLINE int32_t sum_lanes(__m256i x) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

/* 32 inputs of a group, zero where there are none. */
static void quantize_group(const float *from, int8_t *values, float *scale, int32_t *sum) {
    __m256 x[4];
    UNROLL for (int i = 0; i < 4; i++) x[i] = _mm256_loadu_ps(from + 8 * i);
    int32_t bits = largest_bits(x);
    *sum = 0;
    *scale = bits >= INFINITY_BITS ? cp_float_of_bits(0x7fc00000) : 0;
    if (bits < TINY_BITS || bits >= INFINITY_BITS) {
        store(values, _mm256_setzero_si256());
        return;
    }
    float largest = cp_float_of_bits((uint32_t)bits);
    __m256 inverse = _mm256_set1_ps(127.0f / largest);
    __m256i q[4]; /* rounds to nearest even: the mode that nobody changes */
    UNROLL for (int i = 0; i < 4; i++) q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(x[i], inverse));
    *scale = largest / 127.0f;
    *sum = sum_lanes(_mm256_add_epi32(_mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3])));
    /* Packing works within 128 bits: afterwards the lanes of 4 values are put in order. */
    __m256i bytes =
        _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    store(values, _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
}

void cp_avx2_quantize(const float *x, size_t n, const cp_activations *out) {
    for (size_t g = 0; g < out->n_super * CP_GROUPS_A_SUPER; g++) {
        size_t at = g * CP_GROUP, left = at < n ? n - at : 0;
        float last[CP_GROUP] = {0};
        if (left > 0 && left < CP_GROUP)
            memcpy(last, x + at, left * sizeof *x);
        quantize_group(left >= CP_GROUP ? x + at : last, out->values + at, &out->scales[g],
                       &out->sums[g]);
    }
}
