/* The patient store's part of /metrics: how lookups end, how long they wait and take. */
#ifndef CP_SERVER_METRICS_STORE_H
#define CP_SERVER_METRICS_STORE_H

#include "server/metrics_parts.h"
#include "server/patients.h"

typedef struct cp_store_metrics {
    cp_counter lookups[CP_N_LOOKUP_OUTCOMES];
    cp_histogram wait, answer;
} cp_store_metrics;

void cp_store_metrics_note(cp_store_metrics *metrics, const cp_lookup_times *times,
                           cp_lookup_outcome outcome, const unsigned char *trace_id);
/* `kind` is the store's: "jsonl", ... */
void cp_store_metrics_append(const cp_store_metrics *metrics, const char *kind,
                             cp_metric_text *out);

#endif
