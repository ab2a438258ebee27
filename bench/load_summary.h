/* What the samples of a load say: counts, rates, percentiles, the run in slices of time, the
 * server's processor time and memory. Plain arithmetic on the result. */
#ifndef CP_BENCH_LOAD_SUMMARY_H
#define CP_BENCH_LOAD_SUMMARY_H

#include "bench/load.h"

#define CP_LOAD_MAX_SLICES 120

/* Times in seconds; n 0: there are none, and the numbers are 0. */
typedef struct cp_load_times {
    double *sorted; /* [n] ascending */
    size_t n;
    double p50, p90, p95, p99, max;
} cp_load_times;

typedef struct cp_load_slice {
    double at_s; /* its middle */
    size_t due;
    size_t ended[CP_LOAD_N_OUTCOMES];
    double p50_s, p95_s, max_s; /* of answers to what was due in it; NaN: none */
} cp_load_slice;

/* Of the measured time, but "before": at rest before the load. Without samples all is 0. */
typedef struct cp_load_server {
    size_t n;
    double cpu_before, cpu_mean, cpu_max;                       /* percent of one processor */
    double rss_before, rss_first, rss_last, rss_max, rss_slope; /* bytes; bytes a minute */
    size_t threads_max, files_max;
} cp_load_server;

typedef struct cp_load_summary {
    size_t n_sent;                       /* due in the measured time */
    size_t counts[CP_LOAD_N_OUTCOMES];   /* of those */
    size_t n_retry_after;                /* refusals that had it */
    double offered_per_s;                /* due, a second */
    double answered_per_s, tokens_per_s; /* answers that ended within the measured time */
    cp_load_times first, whole;          /* of answers; first: those with content */
    cp_load_times pause;                 /* the longest of each stream */
    cp_load_times refusal, late;         /* of refusals; how late the client sent, of all */
    cp_load_slice slices[CP_LOAD_MAX_SLICES];
    size_t n_slices;
    double slice_s;
    cp_load_server server;
} cp_load_summary;

/* *out is released with cp_load_summary_deinit, also after failure. */
cp_status cp_load_summarize(const cp_load_result *result, cp_load_summary *out,
                            cp_error *err) CP_MUST_CHECK;
void cp_load_summary_deinit(cp_load_summary *summary);

#endif
