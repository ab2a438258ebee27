/* The peak arithmetic rates of this machine: loops of nothing but multiply-adds in registers.
 *
 * Each instruction set's loops are in a translation unit with its own flags and are offered only
 * where the processor has them. A multiply-add counts as two operations, as everywhere here. */
#ifndef CP_BENCH_RATES_H
#define CP_BENCH_RATES_H

#include "base/error.h"
#include "bench/statistics.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum cp_rate_kind { CP_RATE_INT8, CP_RATE_F32, CP_N_RATE_KINDS } cp_rate_kind;
const char *cp_rate_kind_name(cp_rate_kind kind); /* "int8", "f32" */

typedef struct cp_rate_loop {
    cp_rate_kind kind;
    const char *isa;  /* as the engine names it: "scalar", "avx2", "avx512", "neon" */
    const char *name; /* "AVX-512 VNNI" */
    void (*run)(size_t n_rounds);
    size_t ops_per_round;
} cp_rate_loop;

#define CP_MAX_RATE_LOOPS 8
/* The loops that this processor can run, the portable ones first; returns their number. */
size_t cp_rate_loops(cp_rate_loop out[CP_MAX_RATE_LOOPS]);

/* Runs the loop on n_threads in n_windows (at most 64) windows of `seconds`; 1e9 operations a
 * second, all threads together. */
cp_status cp_rate_run(const cp_rate_loop *loop, size_t n_threads, size_t n_windows, double seconds,
                      cp_spread *gop_s, cp_error *err) CP_MUST_CHECK;

/* One a translation unit: fills out[], returns how many; none when the processor lacks them. */
size_t cp_rate_loops_avx2(cp_rate_loop *out);
size_t cp_rate_loops_avx512(cp_rate_loop *out);
size_t cp_rate_loops_neon(cp_rate_loop *out);

#endif
