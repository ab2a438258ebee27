/* A few threads that start one function at the same moment.
 *
 * For measurements: nothing stays behind between calls, so an engine in the same process has the
 * processors to itself again. */
#ifndef CP_BENCH_TEAM_H
#define CP_BENCH_TEAM_H

#include "base/error.h"

#include <stddef.h>

#define CP_TEAM_MAX 256

/* Calls fn(arg, i) for i in 0..n_threads-1, 0 on the caller; none begins before all exist. Returns
 * when all are done. When a thread cannot be made none runs. n_threads is 1 to CP_TEAM_MAX. */
cp_status cp_team_run(size_t n_threads, void (*fn)(void *arg, size_t thread), void *arg,
                      cp_error *err) CP_MUST_CHECK;

#endif
