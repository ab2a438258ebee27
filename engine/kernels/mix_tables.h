/* The weighted sums' tables, one an instruction set; only those that the build's machine has exist.
 */
#ifndef CP_ENGINE_KERNELS_MIX_TABLES_H
#define CP_ENGINE_KERNELS_MIX_TABLES_H

#include "engine/kernels/mix_kernels.h"

const cp_mix_kernels *cp_mix_scalar(void);
#if defined(__x86_64__)
const cp_mix_kernels *cp_mix_avx2(void);
const cp_mix_kernels *cp_mix_avx512(void);
#elif defined(__aarch64__)
const cp_mix_kernels *cp_mix_neon(void);
#endif

#endif
