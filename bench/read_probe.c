#include "bench/read_probe.h"

#include "base/clock.h"
#include "base/mem.h"
#include "bench/team.h"
#include "engine/sysinfo.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB         ((size_t)1 << 20)
#define LEAST_BYTES (256 * MIB)
#define MOST_BYTES  (2048 * MIB)
#define N_STREAMS   4
#define PREFETCH    2048         /* bytes ahead: the fastest of 512, 1024, 2048 */
#define RUN_BYTES   (256 * 1024) /* of each stream between two looks at the clock */
#define MAX_WINDOWS 64

/* One thread's part of the buffer: N_STREAMS streams of stream_bytes each. */
typedef struct part {
    const char *begin;
    size_t stream_bytes, at; /* at: place in each stream, a multiple of RUN_BYTES */
    double gb_s;
    char apart[CP_CACHE_LINE];
} part;

struct cp_read_probe {
    const char *buffer;
    char *own; /* the same, or NULL where it is another's */
    size_t bytes, max_threads;
    part parts[CP_TEAM_MAX];
};

typedef struct window {
    cp_read_probe *probe;
    uint64_t limit_ns;
} window;

typedef uint64_t lane __attribute__((vector_size(16), may_alias));

/* The loops are unrolled and the sums live in registers: a probe that waits for its own arithmetic
 * would flatter everything that is measured against it. */
static void read_run(const char *begin, size_t stream_bytes, size_t at) {
    lane sum[N_STREAMS] = {{0}};
    for (size_t i = at; i < at + RUN_BYTES; i += CP_CACHE_LINE) {
#pragma GCC unroll 8
        for (size_t stream = 0; stream < N_STREAMS; stream++) {
            const char *line = begin + stream * stream_bytes + i;
            __builtin_prefetch(line + PREFETCH);
            lane a = *(const lane *)(const void *)line,
                 b = *(const lane *)(const void *)(line + 16);
            lane c = *(const lane *)(const void *)(line + 32),
                 d = *(const lane *)(const void *)(line + 48);
            sum[stream] ^= (a ^ b) ^ (c ^ d);
        }
    }
    uint64_t folded = 0;
#pragma GCC unroll 8
    for (size_t stream = 0; stream < N_STREAMS; stream++)
        folded ^= sum[stream][0] ^ sum[stream][1];
    __asm__ volatile("" : : "r"(folded)); /* the sum is "used", so the reads stay */
}

static void read_part(void *arg, size_t thread) {
    window *w = arg;
    part *p = &w->probe->parts[thread];
    uint64_t start = cp_clock_ns(), elapsed;
    size_t bytes = 0;
    do {
        read_run(p->begin, p->stream_bytes, p->at);
        p->at += RUN_BYTES;
        if (p->at + RUN_BYTES > p->stream_bytes)
            p->at = 0;
        bytes += N_STREAMS * RUN_BYTES;
        elapsed = cp_clock_ns() - start;
    } while (elapsed < w->limit_ns);
    p->gb_s = (double)bytes / (double)elapsed;
}

/* The last level's size as the C library tells it; 32 MiB where it does not. */
static size_t cache_bytes(void) {
#ifdef _SC_LEVEL3_CACHE_SIZE
    long l3 = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (l3 > 0)
        return (size_t)l3;
#endif
    return 32 * MIB;
}

/* Four times the cache, within limits and never more than a third of what is free. */
static size_t choose_bytes(void) {
    size_t bytes = 4 * cache_bytes(), most = cp_sysinfo_memory_available() / 3;
    bytes = bytes < LEAST_BYTES ? LEAST_BYTES : bytes;
    bytes = bytes > MOST_BYTES ? MOST_BYTES : bytes;
    return bytes < most ? bytes : most;
}

/* The bytes between two looks at the clock. */
static size_t round_bytes(size_t max_threads) {
    return max_threads * N_STREAMS * RUN_BYTES;
}

cp_status cp_read_probe_over(size_t max_threads, const char *bytes, size_t n, cp_read_probe **out,
                             cp_error *err) {
    *out = NULL;
    if (n < round_bytes(max_threads))
        return CP_OK;
    *out = calloc(1, sizeof **out);
    if (!*out)
        return cp_error_no_memory(err, "bandwidth probe");
    **out = (cp_read_probe){.buffer = bytes, .bytes = n, .max_threads = max_threads};
    return CP_OK;
}

cp_status cp_read_probe_create(size_t max_threads, size_t buffer_bytes, cp_read_probe **out,
                               cp_error *err) {
    *out = NULL;
    size_t unit = round_bytes(max_threads);
    size_t bytes = (buffer_bytes ? buffer_bytes : choose_bytes()) / unit * unit;
    bytes = bytes > 0 ? bytes : unit;
    char *buffer = cp_pages_alloc(bytes);
    if (!buffer)
        return cp_error_no_memory(err, "the bandwidth probe's buffer");
    cp_pages_want_large(buffer, bytes);
    memset(buffer, 1, bytes); /* untouched pages would all be the one zero page */
    cp_status status = cp_read_probe_over(max_threads, buffer, bytes, out, err);
    if (status == CP_OK)
        (*out)->own = buffer;
    else
        cp_pages_free(buffer, bytes);
    return status;
}

void cp_read_probe_free(cp_read_probe *probe) {
    if (!probe)
        return;
    cp_pages_free(probe->own, probe->bytes);
    free(probe);
}

size_t cp_read_probe_bytes(const cp_read_probe *probe) {
    return probe->bytes;
}

/* Divides the buffer anew when the number of threads changes. */
static void divide(cp_read_probe *probe, size_t n_threads) {
    size_t stream_bytes = probe->bytes / (n_threads * N_STREAMS) / RUN_BYTES * RUN_BYTES;
    for (size_t i = 0; i < n_threads; i++) {
        part *p = &probe->parts[i];
        if (p->stream_bytes == stream_bytes)
            continue;
        *p = (part){.begin = probe->buffer + i * N_STREAMS * stream_bytes,
                    .stream_bytes = stream_bytes};
    }
}

cp_status cp_read_probe_window(cp_read_probe *probe, size_t n_threads, double seconds, double *gb_s,
                               cp_error *err) {
    window w = {probe, (uint64_t)(seconds * 1e9)};
    *gb_s = 0;
    if (n_threads > probe->max_threads)
        return cp_error_set(err, CP_ERR_USAGE, "%zu threads, the probe has %zu", n_threads,
                            probe->max_threads);
    divide(probe, n_threads);
    cp_status status = cp_team_run(n_threads, read_part, &w, err);
    for (size_t i = 0; i < n_threads && status == CP_OK; i++)
        *gb_s += probe->parts[i].gb_s;
    return status;
}

cp_status cp_read_probe_run(cp_read_probe *probe, size_t n_threads, size_t n_windows,
                            double seconds, cp_spread *gb_s, cp_error *err) {
    double values[MAX_WINDOWS];
    cp_status status = CP_OK;
    size_t n = n_windows < MAX_WINDOWS ? n_windows : MAX_WINDOWS;
    for (size_t i = 0; i < n && status == CP_OK; i++)
        status = cp_read_probe_window(probe, n_threads, seconds, &values[i], err);
    if (status == CP_OK)
        *gb_s = cp_stats_spread(values, n);
    return status;
}
