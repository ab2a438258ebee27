/* AVX2: quantized weights times int8 activations, without VNNI.
 *
 * A line of a tile is two vectors of 8 outputs ("halves").
 *
 *   int4   stored nibbles are unsigned: vpmaddubsw with the activations gives at most 2 * 15 * 127
 * = 3810 a 16-bit lane, so a group's eight products add up in 16 bits (30480) before one vpmaddwd;
 * then 8 * the sum of the activations is taken off int8   a single token: |w| times the activations
 * with w's signs (vpsignb), which fits vpmaddubsw exactly (2 * 127 * 127 < 2^15); many tokens: both
 * sides widened to 16 bits once, then vpmaddwd alone, which leaves the third vector port the
 * additions
 *
 * One token streams the tiles. More share a panel of one tile x CHUNK inputs, unpacked into the L1
 * cache; the outputs hold the partial sums between chunks.
 */
#include "engine/kernels/avx2_quant.h"

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

#define HALVES       2 /* vectors of 8 outputs in a tile */
#define GROUP_LINES  8 /* of 4 inputs */
#define SUPER_LINES  16
#define AHEAD_BYTES  4096 /* how far ahead weights are asked for */
#define BLOCK_TOKENS 4    /* 4 tokens x 2 halves: 8 of 16 registers are sums */
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

/* Line `l` (0..15) of a superblock: half `h`, as bytes 4 inputs a row; int4 still biased by 8. */
INLINE __m256i weights(cp_quant quant, const char *super, size_t l, size_t h) {
    if (quant == CP_INT8)
        return load(super + l * 64 + h * 32);
    __m256i both = load(super + l / 2 * 64 + h * 32);
    return _mm256_and_si256(l % 2 ? _mm256_srli_epi16(both, 4) : both, _mm256_set1_epi8(15));
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

/* ---- one token ---------------------------------------------------------------------------------
 */

/* The integer sums of one group of half h. */
INLINE __m256i group_sum(cp_quant quant, const char *super, size_t g, size_t h, const int8_t *x,
                         int32_t x_sum) {
    __m256i sum = _mm256_setzero_si256();
    UNROLL for (size_t l = 0; l < GROUP_LINES; l++) {
        __m256i w = weights(quant, super, g * GROUP_LINES + l, h), four = broadcast4(x + l * 4);
        if (quant == CP_INT4)
            sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, four));
        else
            sum = _mm256_add_epi32(sum, add_pairs(_mm256_maddubs_epi16(_mm256_abs_epi8(w),
                                                                       _mm256_sign_epi8(four, w))));
    }
    if (quant == CP_INT4)
        sum = _mm256_sub_epi32(add_pairs(sum), _mm256_set1_epi32(8 * x_sum));
    return sum;
}

/* The 16 outputs of a tile. */
INLINE void one_tile(cp_quant quant, const char *tile, const cp_activations *x, float out[16]) {
    __m256 acc[HALVES] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    size_t super_bytes = cp_quant_super_bytes(quant);
    for (size_t s = 0; s < x->n_super; s++, tile += super_bytes) {
        for (size_t i = 0; i < super_bytes; i += 64)
            _mm_prefetch(tile + AHEAD_BYTES + i, _MM_HINT_T0);
        for (size_t g = 0; g < CP_GROUPS_A_SUPER; g++) {
            size_t group = s * CP_GROUPS_A_SUPER + g;
            UNROLL for (size_t h = 0; h < HALVES; h++) {
                __m256i isum =
                    group_sum(quant, tile, g, h, x->values + group * CP_GROUP, x->sums[group]);
                acc[h] =
                    add_group(acc[h], isum, weight_scales(quant, tile, g, h), x->scales[group]);
            }
        }
    }
    _mm256_storeu_ps(out, acc[0]);
    _mm256_storeu_ps(out + 8, acc[1]);
}

INLINE void one(cp_quant quant, const char *w, size_t rows, const cp_activations *x, float *out) {
    size_t tile_bytes = x->n_super * cp_quant_super_bytes(quant), row = 0;
    for (; row + CP_TILE_ROWS <= rows; row += CP_TILE_ROWS, w += tile_bytes)
        one_tile(quant, w, x, out + row);
    if (row < rows) {
        float last[CP_TILE_ROWS];
        one_tile(quant, w, x, last);
        memcpy(out + row, last, (rows - row) * sizeof *out);
    }
}

/* ---- several tokens ----------------------------------------------------------------------------
 */

/* Part of a tile, ready to multiply, and the activations of up to CALL_TOKENS tokens beside it.
 * int8 is widened to 16 bits in pairs (inputs 0 and 2, then 1 and 3, of each line), on both sides.
 */
typedef struct panel {
    _Alignas(64) unsigned char lines[CHUNK_LINES * 2][HALVES][32]; /* int4: the first half */
    float scales[CHUNK_GROUPS][HALVES][8];
    int16_t wide[CALL_TOKENS][CHUNK_INPUTS];    /* int8 */
    int32_t offsets[CALL_TOKENS][CHUNK_GROUPS]; /* int4: 8 * sum */
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
    bool first_chunk;
    size_t rows; /* of the panel's tile: 1..16 */
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

INLINE void unpack(cp_quant quant, const char *tile, size_t n_super, panel *p) {
    for (size_t s = 0; s < n_super; s++) {
        const char *super = tile + s * cp_quant_super_bytes(quant);
        for (size_t l = 0; l < SUPER_LINES; l++)
            for (size_t h = 0; h < HALVES; h++) {
                __m256i w = weights(quant, super, l, h);
                size_t at = s * SUPER_LINES + l;
                if (quant == CP_INT4) {
                    store(p->lines[at][h], w);
                } else {
                    store(p->lines[2 * at][h], even_bytes(w));
                    store(p->lines[2 * at + 1][h], odd_bytes(w));
                }
            }
        for (size_t g = 0; g < CP_GROUPS_A_SUPER; g++)
            for (size_t h = 0; h < HALVES; h++)
                _mm256_store_ps(p->scales[s * CP_GROUPS_A_SUPER + g][h],
                                weight_scales(quant, super, g, h));
    }
}

/* The activations of n_tokens tokens from group `group` on, as `multiply` wants them. */
INLINE void prepare(cp_quant quant, const cp_activations *x, size_t token, size_t n_tokens,
                    size_t group, size_t n, panel *p) {
    for (size_t t = 0; t < n_tokens; t++) {
        size_t at = (token + t) * x->n_super * CP_GROUPS_A_SUPER + group;
        if (quant == CP_INT4) {
            for (size_t g = 0; g < n; g++)
                p->offsets[t][g] = 8 * x->sums[at + g];
            continue;
        }
        for (size_t g = 0; g < n; g++) {
            __m256i bytes = load(x->values + (at + g) * CP_GROUP);
            __m256i even = even_bytes(bytes), odd = odd_bytes(bytes);
            /* Lane by lane next to each other; unpack works within 128 bits, so put in order. */
            __m256i first = _mm256_unpacklo_epi32(even, odd),
                    second = _mm256_unpackhi_epi32(even, odd);
            store(p->wide[t] + g * CP_GROUP, _mm256_permute2x128_si256(first, second, 0x20));
            store(p->wide[t] + g * CP_GROUP + 16, _mm256_permute2x128_si256(first, second, 0x31));
        }
    }
}

/* Lanes below `rows` of half h. */
INLINE __m256i half_mask(size_t rows, size_t h) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)rows - (int)h * 8), lanes);
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
    for (size_t g = 0; g < n_groups; g++) {
        __m256i sum[BLOCK_TOKENS][HALVES];
        UNROLL for (size_t t = 0; t < tokens; t++) UNROLL for (size_t h = 0; h < HALVES; h++)
            sum[t][h] = _mm256_setzero_si256();
        const char *x = b->values + g * steps * 4;
        UNROLL for (size_t l = 0; l < steps; l++) {
            __m256i w[HALVES] = {load(p->lines[g * steps + l][0]),
                                 load(p->lines[g * steps + l][1])};
            UNROLL for (size_t t = 0; t < tokens; t++) {
                __m256i four = broadcast4(x + t * b->value_stride + l * 4);
                UNROLL for (size_t h = 0; h < HALVES; h++) sum[t][h] =
                    quant == CP_INT4 ? _mm256_add_epi16(sum[t][h], _mm256_maddubs_epi16(w[h], four))
                                     : _mm256_add_epi32(sum[t][h], _mm256_madd_epi16(w[h], four));
            }
        }
        UNROLL for (size_t h = 0; h < HALVES; h++) {
            __m256 w_scale = _mm256_load_ps(p->scales[g][h]);
            UNROLL for (size_t t = 0; t < tokens; t++) {
                __m256i isum = sum[t][h];
                if (quant == CP_INT4)
                    isum = _mm256_sub_epi32(add_pairs(isum),
                                            _mm256_set1_epi32(b->offsets[t * CHUNK_GROUPS + g]));
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
MULTIPLY(int4, CP_INT4, 1)
MULTIPLY(int4, CP_INT4, 2)
MULTIPLY(int4, CP_INT4, 3)
MULTIPLY(int4, CP_INT4, 4)

static void (*const multiplies[CP_N_QUANTS][BLOCK_TOKENS])(const panel *, size_t, const block *) = {
    [CP_INT8] = {multiply_int8_1, multiply_int8_2, multiply_int8_3, multiply_int8_4},
    [CP_INT4] = {multiply_int4_1, multiply_int4_2, multiply_int4_3, multiply_int4_4},
};

/* One panel times n_tokens tokens, in blocks as even as they come. */
INLINE void multiply_all(cp_quant quant, const panel *p, size_t n_groups, size_t n_tokens,
                         block b) {
    size_t n_blocks = (n_tokens + BLOCK_TOKENS - 1) / BLOCK_TOKENS;
    for (size_t i = 0, done = 0; i < n_blocks; i++) {
        size_t tokens = (n_tokens - done) / (n_blocks - i);
        multiplies[quant][tokens - 1](p, n_groups, &b);
        b.values += tokens * b.value_stride;
        b.scales += tokens * b.n_groups;
        b.offsets += tokens * CHUNK_GROUPS;
        b.out += tokens * b.stride;
        done += tokens;
    }
}

/* One chunk of inputs, of groups `group`.., for up to CALL_TOKENS tokens from `token` on. */
INLINE void chunk(cp_quant quant, const char *w, size_t rows, const cp_activations *x, size_t super,
                  size_t n_super, size_t token, size_t n_tokens, float *out, size_t stride,
                  panel *p) {
    size_t n_groups = x->n_super * CP_GROUPS_A_SUPER, group = super * CP_GROUPS_A_SUPER;
    size_t super_bytes = cp_quant_super_bytes(quant);
    bool wide = quant == CP_INT8;
    prepare(quant, x, token, n_tokens, group, n_super * CP_GROUPS_A_SUPER, p);
    for (size_t row = 0; row < rows; row += CP_TILE_ROWS) {
        unpack(quant, w + (row / CP_TILE_ROWS * x->n_super + super) * super_bytes, n_super, p);
        const int8_t *values = x->values + (token * n_groups + group) * CP_GROUP;
        multiply_all(quant, p, n_super * CP_GROUPS_A_SUPER, n_tokens,
                     (block){.values = wide ? (const char *)p->wide : (const char *)values,
                             .value_stride = wide ? sizeof p->wide[0] : x->n_super * CP_SUPER,
                             .scales = x->scales + token * n_groups + group,
                             .n_groups = n_groups,
                             .offsets = p->offsets[0],
                             .out = out + token * stride + row,
                             .stride = stride,
                             .first_chunk = super == 0,
                             .rows = rows - row < CP_TILE_ROWS ? rows - row : CP_TILE_ROWS});
    }
}

/* Chunks outermost: their weights stay in the L2 cache while all tokens pass. */
INLINE void several(cp_quant quant, const char *w, size_t rows, const cp_activations *x,
                    size_t n_tokens, float *out, size_t stride) {
    SCRATCH panel p;
    for (size_t s = 0; s < x->n_super; s += CHUNK_SUPERS)
        for (size_t t = 0; t < n_tokens; t += CALL_TOKENS)
            chunk(quant, w, rows, x, s,
                  x->n_super - s < CHUNK_SUPERS ? x->n_super - s : CHUNK_SUPERS, t,
                  n_tokens - t < CALL_TOKENS ? n_tokens - t : CALL_TOKENS, out, stride, &p);
}

#define PRODUCT(NAME, QUANT)                                                                       \
    void cp_avx2_product_##NAME(const void *w, size_t rows, const cp_activations *x,               \
                                size_t n_tokens, float *out, size_t stride) {                      \
        if (n_tokens == 1)                                                                         \
            one(QUANT, w, rows, x, out);                                                           \
        else                                                                                       \
            several(QUANT, w, rows, x, n_tokens, out, stride);                                     \
    }

PRODUCT(int8, CP_INT8)
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
