#include "bench/rates.h"

#include "base/clock.h"
#include "base/mem.h"
#include "bench/team.h"

#include <stdint.h>

#define MAX_WINDOWS 64
#define N_SUMS      8
#define LANES       16

/* What a plain C compiler makes of the inner loop for the baseline instruction set. */
static void portable_int8(size_t n_rounds) {
    int8_t a[LANES], b[LANES];
    int32_t sum[LANES] = {0};
    for (int i = 0; i < LANES; i++) {
        a[i] = (int8_t)(i + 1);
        b[i] = (int8_t)(3 - i);
    }
    for (size_t r = 0; r < n_rounds; r++) {
        __asm__ volatile("" : : "r"(a), "r"(b) : "memory"); /* a and b may have changed */
        for (int i = 0; i < LANES; i++)
            sum[i] += a[i] * b[i];
    }
    __asm__ volatile("" : : "r"(sum) : "memory");
}

typedef float quad __attribute__((vector_size(16)));

static void portable_f32(size_t n_rounds) {
    quad sum[N_SUMS] = {{0}}, a = {1, 1, 1, 1}, b = {0.5f, 0.25f, 0.125f, 0.75f};
    for (size_t r = 0; r < n_rounds; r++) {
        __asm__ volatile("" : : "r"(&a), "r"(&b) : "memory");
        for (int i = 0; i < N_SUMS; i++)
            sum[i] += a * b;
    }
    __asm__ volatile("" : : "r"(sum) : "memory");
}

const char *cp_rate_kind_name(cp_rate_kind kind) {
    return kind == CP_RATE_INT8 ? "int8" : "f32";
}

size_t cp_rate_loops(cp_rate_loop out[CP_MAX_RATE_LOOPS]) {
    size_t n = 0;
    out[n++] = (cp_rate_loop){CP_RATE_INT8, "scalar", "portable C", portable_int8, 2 * LANES};
    out[n++] = (cp_rate_loop){CP_RATE_F32, "scalar", "portable C", portable_f32, 2 * N_SUMS * 4};
#if defined(__x86_64__)
    n += cp_rate_loops_avx2(out + n);
    n += cp_rate_loops_avx512(out + n);
#endif
    n += cp_rate_loops_neon(out + n);
    return n;
}

typedef struct rate_window {
    const cp_rate_loop *loop;
    uint64_t limit_ns;
    double gop_s[CP_TEAM_MAX];
} rate_window;

static void run_part(void *arg, size_t thread) {
    rate_window *w = arg;
    const size_t rounds = 20000;
    uint64_t start = cp_clock_ns(), elapsed;
    size_t done = 0;
    do {
        w->loop->run(rounds);
        done += rounds;
        elapsed = cp_clock_ns() - start;
    } while (elapsed < w->limit_ns);
    w->gop_s[thread] = (double)done * (double)w->loop->ops_per_round / (double)elapsed;
}

cp_status cp_rate_run(const cp_rate_loop *loop, size_t n_threads, size_t n_windows, double seconds,
                      cp_spread *gop_s, cp_error *err) {
    double values[MAX_WINDOWS];
    rate_window w = {.loop = loop, .limit_ns = (uint64_t)(seconds * 1e9)};
    size_t n = n_windows < MAX_WINDOWS ? n_windows : MAX_WINDOWS;
    for (size_t i = 0; i < n; i++) {
        cp_status status = cp_team_run(n_threads, run_part, &w, err);
        if (status != CP_OK)
            return status;
        values[i] = 0;
        for (size_t t = 0; t < n_threads; t++)
            values[i] += w.gop_s[t];
    }
    *gop_s = cp_stats_spread(values, n);
    return CP_OK;
}
