/* The harnesses compute with the scalar kernels, whatever the processor: the wide ones take minutes
 * to compile with sanitizers, and tests/test_quant_kernels.c shows that all give the same bits. */
#include "engine/kernels/kernels.h"
#include "engine/kernels/mix_tables.h"

#if defined(__x86_64__)
const cp_kernels *cp_kernels_avx2(void) {
    return cp_kernels_scalar();
}

const cp_kernels *cp_kernels_avx512(void) {
    return cp_kernels_scalar();
}

const cp_mix_kernels *cp_mix_avx2(void) {
    return cp_mix_scalar();
}

const cp_mix_kernels *cp_mix_avx512(void) {
    return cp_mix_scalar();
}
#elif defined(__aarch64__)
const cp_kernels *cp_kernels_neon(void) {
    return cp_kernels_scalar();
}

const cp_mix_kernels *cp_mix_neon(void) {
    return cp_mix_scalar();
}
#endif
