/* What metrics are made of, and how they are written: Prometheus text format 0.0.4, or OpenMetrics
 * 1.0 with exemplars. For metrics*.c. */
#ifndef CP_SERVER_METRICS_PARTS_H
#define CP_SERVER_METRICS_PARTS_H

#include "base/strbuf.h"
#include "base/trace_context.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef atomic_uint_fast64_t cp_counter;

#define CP_N_BUCKETS 18

/* The last traced observation of a bucket. One at a time has it; who finds it taken goes on
 * without.
 */
typedef struct cp_exemplar {
    atomic_bool taken;
    bool is_set;
    unsigned char trace_id[CP_TRACE_ID_BYTES];
    double seconds, unix_s;
} cp_exemplar;

typedef struct cp_histogram {
    cp_counter in_bucket[CP_N_BUCKETS + 1]; /* the last: above all; not cumulative */
    cp_counter sum_us;
    cp_exemplar *exemplars; /* [CP_N_BUCKETS + 1], or NULL: none are kept */
} cp_histogram;

static inline void cp_counter_add(cp_counter *c, uint64_t n) {
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}
static inline uint64_t cp_counter_get(const cp_counter *c) {
    return atomic_load_explicit((cp_counter *)(uintptr_t)c, memory_order_relaxed);
}
void cp_histogram_observe(cp_histogram *histogram, double seconds);
/* The same, with the trace that it was observed in; NULL: none. */
void cp_histogram_observe_traced(cp_histogram *histogram, double seconds,
                                 const unsigned char *trace_id);

typedef struct cp_metric_text {
    cp_strbuf *body;
    bool is_openmetrics;
} cp_metric_text;

/* HELP and TYPE. A counter's name ends with _total. */
void cp_metric_head(cp_metric_text *out, const char *name, const char *type, const char *help);
/* A metric of one value. */
void cp_metric_one(cp_metric_text *out, const char *name, const char *type, const char *help,
                   uint64_t value);
/* The same for a value that is no whole number. */
void cp_metric_number(cp_metric_text *out, const char *name, const char *type, const char *help,
                      double value);
/* The samples of one histogram; `label` is "route=\"/triage\"," or "". */
void cp_metric_histogram(cp_metric_text *out, const char *name, const char *label,
                         const cp_histogram *histogram);

#endif
