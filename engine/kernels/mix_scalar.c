#include <math.h>

#define CP_VECTOR_FLOATS 1
#define BLOCK_VECTORS    4
#define VECTOR           float
#define ZERO()           0.0f
#define SET1(x)          (x)
#define FMA(a, b, c)     fmaf(a, b, c)
#define STORE(to, x)     (*(to) = (x))
#define STORE_F16(to, x) (*(to) = cp_f16_of_float(x))
#define LOAD_F32(from)   cp_load_f32(from, 0)
#define LOAD_F16(from)   cp_load_f16(from, 0)
#define LOAD_INT8(from)  ((float)*(const signed char *)(from))

#include "engine/kernels/lanes.h"

/* The fixed tree, one set after the other. */
static inline void tree4(VECTOR acc[4][CP_LANES / CP_VECTOR_FLOATS], float out[4]) {
    for (size_t q = 0; q < 4; q++) {
        float sums[CP_LANES];
        for (size_t v = 0; v < CP_LANES / CP_VECTOR_FLOATS; v++)
            STORE(sums + v * CP_VECTOR_FLOATS, acc[q][v]);
        out[q] = cp_tree_sum(sums);
    }
}

#include "engine/kernels/mix_template.inc"

#include "engine/kernels/mix_tables.h"

const cp_mix_kernels *cp_mix_scalar(void) {
    return &table;
}
