/* CPU and memory of another process over time, from /proc. Linux only; sees processes of the same
 * user (open files need that). */
#ifndef CP_BENCH_PROCESS_WATCH_H
#define CP_BENCH_PROCESS_WATCH_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cp_process_sample {
    double at_s;        /* since some start that the caller gave */
    double cpu_percent; /* since the sample before; 100 is one processor */
    double rss_bytes;
    size_t n_threads, n_files; /* n_files 0: not allowed to look */
} cp_process_sample;

typedef struct cp_process_watch {
    int64_t pid;                /* 0: nobody is watched */
    cp_process_sample *samples; /* [n] */
    size_t n, cap;
    size_t n_before; /* of the samples: taken before the load */
    uint64_t start_ns, last_ns;
    double last_cpu_s;
    bool gone; /* the process ended while it was watched */
} cp_process_watch;

/* Times count from start_ns (cp_clock_ns). An error when there is no such process. */
cp_status cp_process_watch_init(cp_process_watch *w, int64_t pid, uint64_t start_ns,
                                cp_error *err) CP_MUST_CHECK;
void cp_process_watch_deinit(cp_process_watch *w);
/* Takes a sample; the end of the process is no error. */
cp_status cp_process_watch_take(cp_process_watch *w, cp_error *err) CP_MUST_CHECK;

#endif
