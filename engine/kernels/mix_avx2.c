#include <immintrin.h>

#define CP_VECTOR_FLOATS 8
#define BLOCK_VECTORS    2 /* 4 queries x 2 sums, a value and its factors fit 16 registers */
#define VECTOR           __m256
#define ZERO()           _mm256_setzero_ps()
#define SET1(x)          _mm256_set1_ps(x)
#define FMA(a, b, c)     _mm256_fmadd_ps(a, b, c)
#define STORE(to, x)     _mm256_storeu_ps(to, x)
#define STORE_F16(to, x)                                                                           \
    _mm_storeu_si128((__m128i *)(void *)(to), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT))
#define LOAD_F32(from) _mm256_loadu_ps((const float *)(const void *)(from))
#define LOAD_F16(from) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(from)))
#define LOAD_INT8(from)                                                                            \
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(from))))

/* The fixed tree of four sets at once: each step adds halves of two sets in one register. */
static inline void tree4(__m256 acc[4][2], float out[4]) {
    __m256 a = _mm256_add_ps(acc[0][0], acc[0][1]), b = _mm256_add_ps(acc[1][0], acc[1][1]);
    __m256 c = _mm256_add_ps(acc[2][0], acc[2][1]), d = _mm256_add_ps(acc[3][0], acc[3][1]);
    __m256 ab =
        _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    __m256 cd =
        _mm256_add_ps(_mm256_permute2f128_ps(c, d, 0x20), _mm256_permute2f128_ps(c, d, 0x31));
    /* Lanes 0, 1 of each half: a's (b's) and c's (d's) sums of two. */
    __m256 two = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    __m256 one = _mm256_add_ps(two, _mm256_permute_ps(two, 0xb1));
    __m128 ac = _mm256_castps256_ps128(one), bd = _mm256_extractf128_ps(one, 1);
    _mm_storeu_ps(out, _mm_permute_ps(_mm_shuffle_ps(ac, bd, 0x88), 0xd8));
}

#include "engine/kernels/mix_template.inc"

#include "engine/kernels/mix_tables.h"

const cp_mix_kernels *cp_mix_avx2(void) {
    return &table;
}
