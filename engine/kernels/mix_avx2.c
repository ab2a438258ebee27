#include <immintrin.h>

#define CP_VECTOR_FLOATS 8
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

#include "engine/kernels/mix_generic.h"

#include "engine/kernels/mix_tables.h"

const cp_mix_kernels *cp_mix_avx2(void) {
    return &table;
}
