/* What metrics are made of, and how they are written: Prometheus text format 0.0.4. For metrics*.c.
 */
#ifndef CP_SERVER_METRICS_PARTS_H
#define CP_SERVER_METRICS_PARTS_H

#include "base/strbuf.h"

#include <stdatomic.h>
#include <stdint.h>

typedef atomic_uint_fast64_t cp_counter;

#define CP_N_BUCKETS 18

typedef struct cp_histogram {
    cp_counter in_bucket[CP_N_BUCKETS + 1]; /* the last: above all; not cumulative */
    cp_counter sum_us;
} cp_histogram;

static inline void cp_counter_add(cp_counter *c, uint64_t n) {
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}
static inline uint64_t cp_counter_get(const cp_counter *c) {
    return atomic_load_explicit((cp_counter *)(uintptr_t)c, memory_order_relaxed);
}
void cp_histogram_observe(cp_histogram *histogram, double seconds);

/* HELP and TYPE. */
void cp_metric_head(cp_strbuf *out, const char *name, const char *type, const char *help);
/* A metric of one value. */
void cp_metric_one(cp_strbuf *out, const char *name, const char *type, const char *help,
                   uint64_t value);
/* The samples of one histogram; `label` is "route=\"/triage\"," or "". */
void cp_metric_histogram(cp_strbuf *out, const char *name, const char *label,
                         const cp_histogram *histogram);

#endif
