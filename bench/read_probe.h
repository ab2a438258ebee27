/* How fast this machine's memory is read, now.
 *
 * A buffer well above the caches (four times the last level, within limits) is read in sequential
 * streams, as a reader of weights would: each thread its own part, two streams a thread, software
 * prefetch ahead. A window is short and goes on where the last one ended, so nothing is read twice
 * soon. The rate of a shared machine changes by the minute: probe beside what is compared with it.
 * Large pages are asked for; so the figure is the memory's, not the page tables'. */
#ifndef CP_BENCH_READ_PROBE_H
#define CP_BENCH_READ_PROBE_H

#include "base/error.h"
#include "bench/statistics.h"

#include <stddef.h>

typedef struct cp_read_probe cp_read_probe;

/* Allocates the buffer and touches all of it; buffer_bytes 0 chooses. max_threads is 1 to
 * CP_TEAM_MAX. */
cp_status cp_read_probe_create(size_t max_threads, size_t buffer_bytes, cp_read_probe **out,
                               cp_error *err) CP_MUST_CHECK;
/* Over n bytes that are there already and outlive the probe, a mapped file's for one; NULL in *out
 * when they are less than the streams take between two looks at the clock. */
cp_status cp_read_probe_over(size_t max_threads, const char *bytes, size_t n, cp_read_probe **out,
                             cp_error *err) CP_MUST_CHECK;
void cp_read_probe_free(cp_read_probe *probe);
size_t cp_read_probe_bytes(const cp_read_probe *probe);

/* Reads for about `seconds` on n_threads (at most max_threads); the sum of the threads' rates in
 * GB/s (1e9). */
cp_status cp_read_probe_window(cp_read_probe *probe, size_t n_threads, double seconds, double *gb_s,
                               cp_error *err) CP_MUST_CHECK;
/* The spread of n_windows windows (at most 64). */
cp_status cp_read_probe_run(cp_read_probe *probe, size_t n_threads, size_t n_windows,
                            double seconds, cp_spread *gb_s, cp_error *err) CP_MUST_CHECK;

#endif
