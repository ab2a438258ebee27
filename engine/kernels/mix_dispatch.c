#include "engine/kernels/mix_kernels.h"
#include "engine/kernels/mix_tables.h"

#include <string.h>

const cp_mix_kernels *cp_mix_kernels_for(const char *isa) {
#if defined(__x86_64__)
    if (strcmp(isa, "avx512") == 0)
        return cp_mix_avx512();
    if (strcmp(isa, "avx2") == 0)
        return cp_mix_avx2();
#elif defined(__aarch64__)
    if (strcmp(isa, "neon") == 0)
        return cp_mix_neon();
#endif
    return cp_mix_scalar();
}
