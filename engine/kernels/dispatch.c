/* Picks the kernels once, at start. */
#include "engine/kernels/kernels.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
/* The compiler's run-time support also asks XGETBV whether the system saves the wide registers. */
static bool has_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c");
}

static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif

typedef struct choice {
    const char *name;
    const cp_kernels *(*table)(void); /* NULL: not in this build */
    bool (*supported)(void);          /* NULL: always */
} choice;

static const choice choices[] = {
/* fastest first */
#if defined(__x86_64__)
    {"avx512", cp_kernels_avx512, has_avx512},
    {"avx2", cp_kernels_avx2, has_avx2},
#else
    {"avx512", NULL, NULL},
    {"avx2", NULL, NULL},
#endif
#if defined(__aarch64__)
    {"neon", cp_kernels_neon, NULL},
#else
    {"neon", NULL, NULL},
#endif
    {"scalar", cp_kernels_scalar, NULL},
};
#define N_CHOICES (sizeof choices / sizeof choices[0])

static bool usable(const choice *c) {
    return c->table && (!c->supported || c->supported());
}

cp_status cp_kernels_choose(const char *forced, const cp_kernels **out, cp_error *err) {
    for (size_t i = 0; i < N_CHOICES; i++) {
        if (forced && strcmp(forced, choices[i].name) != 0)
            continue;
        if (usable(&choices[i])) {
            *out = choices[i].table();
            return CP_OK;
        }
        if (forced)
            return cp_error_set(err, CP_ERR_UNSUPPORTED,
                                "CAREPATH_ISA is \"%s\", which this machine does not have", forced);
    }
    return cp_error_set(err, CP_ERR_USAGE,
                        "CAREPATH_ISA is \"%.32s\", expected avx512, avx2, neon or scalar",
                        forced ? forced : "");
}
