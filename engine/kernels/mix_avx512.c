#include <immintrin.h>

#define CP_VECTOR_FLOATS 16
#define BLOCK_VECTORS    4
#define VECTOR           __m512
#define ZERO()           _mm512_setzero_ps()
#define SET1(x)          _mm512_set1_ps(x)
#define FMA(a, b, c)     _mm512_fmadd_ps(a, b, c)
#define STORE(to, x)     _mm512_storeu_ps(to, x)
#define STORE_F16(to, x)                                                                           \
    _mm256_storeu_si256((__m256i *)(void *)(to), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT))
#define LOAD_F32(from) _mm512_loadu_ps((const float *)(const void *)(from))
#define LOAD_F16(from) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(from)))
#define LOAD_INT8(from)                                                                            \
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(from))))

/* The fixed tree of four sets at once: each step adds parts of two sets in one register. */
static inline void tree4(__m512 acc[4][1], float out[4]) {
    __m512 a = acc[0][0], b = acc[1][0], c = acc[2][0], d = acc[3][0];
    /* Quarters of four lanes: a0+a2, a1+a3, b0+b2, b1+b3. */
    __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
    /* One quarter for each of a, b, c, d. */
    __m512 four =
        _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    __m512 two = _mm512_add_ps(four, _mm512_permute_ps(four, 0xee));
    __m512 one = _mm512_add_ps(two, _mm512_permute_ps(two, 0x55));
    const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    _mm_storeu_ps(out, _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, one)));
}

#include "engine/kernels/mix_template.inc"

#include "engine/kernels/mix_tables.h"

const cp_mix_kernels *cp_mix_avx512(void) {
    return &table;
}
