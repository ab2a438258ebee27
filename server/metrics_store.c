#include "server/metrics_store.h"

#include <stdio.h>

static double seconds_between(uint64_t begun_ns, uint64_t ended_ns) {
    return ended_ns > begun_ns ? (double)(ended_ns - begun_ns) / 1e9 : 0;
}

void cp_store_metrics_note(cp_store_metrics *metrics, const cp_lookup_times *times,
                           cp_lookup_outcome outcome, const unsigned char *trace_id) {
    uint64_t waited_until = times->asked_ns ? times->asked_ns : times->ended_ns;
    cp_counter_add(&metrics->lookups[outcome], 1);
    cp_histogram_observe(&metrics->wait, seconds_between(times->begun_ns, waited_until));
    if (times->asked_ns)
        cp_histogram_observe_traced(&metrics->answer,
                                    seconds_between(times->asked_ns, times->ended_ns), trace_id);
}

void cp_store_metrics_append(const cp_store_metrics *metrics, const char *kind,
                             cp_metric_text *out) {
    char label[32];
    const char *name = "carepath_store_lookups_total";
    cp_metric_head(out, name, "counter", "Records that were asked for, by how it ended.");
    for (cp_lookup_outcome o = 0; o < CP_N_LOOKUP_OUTCOMES; o++)
        cp_strbuf_printf(out->body, "%s{store=\"%s\",outcome=\"%s\"} %llu\n", name, kind,
                         cp_lookup_outcome_name(o),
                         (unsigned long long)cp_counter_get(&metrics->lookups[o]));
    snprintf(label, sizeof label, "store=\"%s\",", kind);
    name = "carepath_store_wait_seconds";
    cp_metric_head(out, name, "histogram", "Waiting for a connection to the store.");
    cp_metric_histogram(out, name, label, &metrics->wait);
    name = "carepath_store_duration_seconds";
    cp_metric_head(out, name, "histogram", "Of the store itself, tries included.");
    cp_metric_histogram(out, name, label, &metrics->answer);
}
