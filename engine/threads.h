/* The engine's threads: one job at a time, every thread takes its share.
 *
 * cp_threads_run calls fn on the caller and on each worker, and returns when all are done. Workers
 * spin briefly for the next job (the stages of a layer follow within microseconds), then sleep: an
 * idle engine costs no CPU. Only one thread may call cp_threads_run at a time. */
#ifndef CP_ENGINE_THREADS_H
#define CP_ENGINE_THREADS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct cp_threads cp_threads;
typedef void (*cp_task_fn)(void *arg, size_t thread, size_t n_threads);

/* n_threads counts the caller; 1 creates no thread. */
cp_status cp_threads_create(size_t n_threads, cp_threads **out, cp_error *err) CP_MUST_CHECK;
void cp_threads_free(cp_threads *threads);
size_t cp_threads_count(const cp_threads *threads);
void cp_threads_run(cp_threads *threads, cp_task_fn fn, void *arg);

/* Work whose parts take unequal time (memory and neighbours on the machine are not fair): before
 * the job, n items are cut into one range a thread; within it every thread takes pieces of `piece`
 * items in order, its own range first and then what others have left. Which pieces there are
 * depends on n, piece and the number of threads alone; who takes them does not matter. */
void cp_threads_divide(cp_threads *threads, size_t n, size_t piece);
/* The next piece, false when none is left. Called by the threads of the job. */
bool cp_threads_take(cp_threads *threads, size_t thread, size_t *begin, size_t *end);

/* The part of [0, n) that thread `index` takes, in whole multiples of `unit` (but the last). */
static inline void cp_threads_share(size_t n, size_t unit, size_t index, size_t n_threads,
                                    size_t *begin, size_t *end) {
    size_t units = (n + unit - 1) / unit;
    size_t first = units * index / n_threads * unit, last = units * (index + 1) / n_threads * unit;
    *begin = first < n ? first : n;
    *end = last < n ? last : n;
}

#endif
