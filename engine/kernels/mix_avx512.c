#include <immintrin.h>

#define CP_VECTOR_FLOATS 16
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

#include "engine/kernels/mix_generic.h"

#include "engine/kernels/mix_tables.h"

const cp_mix_kernels *cp_mix_avx512(void) {
    return &table;
}
