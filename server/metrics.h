/* What /metrics shows: a fixed registry of atomic counters, gauges and histograms.
 *
 * Every label's values are bounded and known here: an unknown route or status is "other", so
 * nothing a client sends can grow the registry or appear in it. Any thread may observe; reading
 * takes no lock, so a scrape sees each number whole but not all of the same instant. One registry a
 * server. */
#ifndef CP_SERVER_METRICS_H
#define CP_SERVER_METRICS_H

#include "base/strbuf.h"
#include "llm/scheduler.h"
#include "server/conversations.h"
#include "server/metrics_sources.h"
#include "server/metrics_store.h"
#include "server/trace_export.h"

#include <stdint.h>

typedef struct cp_metrics cp_metrics;

cp_status cp_metrics_create(cp_metrics **out, cp_error *err) CP_MUST_CHECK;
void cp_metrics_free(cp_metrics *metrics);

/* A request is over. `route` NULL: other. `trace_id` of its trace; NULL: none that is kept. */
void cp_metrics_http(cp_metrics *metrics, const char *route, const char *method, int status,
                     double seconds, const unsigned char *trace_id);
/* A store has answered. */
void cp_metrics_lookup(cp_metrics *metrics, const cp_lookup_times *times, cp_lookup_outcome outcome,
                       const unsigned char *trace_id);

typedef enum cp_acuity_source { CP_SOURCE_NONE, CP_SOURCE_RULES, CP_SOURCE_MODEL } cp_acuity_source;
const char *cp_acuity_source_name(cp_acuity_source source); /* NULL for none */

/* A triage was answered. */
void cp_metrics_triage(cp_metrics *metrics, int acuity, cp_acuity_source source,
                       uint64_t red_flags);
/* Without the model's whole answer. */
void cp_metrics_degraded(cp_metrics *metrics, const char *reason);
/* The model has ended a generation. */
void cp_metrics_generation(cp_metrics *metrics, const cp_llm_result *result);

/* A stage of retrieval is over, or failed. */
void cp_metrics_retrieval(cp_metrics *metrics, cp_retrieval_stage stage, double seconds);
void cp_metrics_retrieval_failed(cp_metrics *metrics, cp_retrieval_stage stage);
/* Of what was found for a question: hits that were dropped, and documents that no index had. */
void cp_metrics_found(cp_metrics *metrics, const cp_retrieved *found);
/* A store returned documents of somebody else. */
void cp_metrics_foreign(cp_metrics *metrics, size_t n);
/* The sources that a model was given, and what became of its citations and claims. */
void cp_metrics_support(cp_metrics *metrics, size_t n_sources, const cp_support_counts *counts);

/* A request was refused for who asks; `reason` is the error's code. */
void cp_metrics_refused(cp_metrics *metrics, const char *reason);

/* What is known only when asked. */
typedef struct cp_metrics_gauges {
    uint64_t queued, running, rejected;
    uint64_t queue_max, running_max; /* places */
    cp_scheduler_stats scheduler;
    cp_conversations_stats conversations;
    cp_index_gauges sources;
    uint64_t api_keys, api_key_failures; /* keys in force; changed files that had a fault */
    uint64_t audit_records, audit_failures;
    cp_tracer_stats traces;
    bool model_loaded, model_stuck, rules_reviewed, has_tracer, has_audit;
    const char *llm_mode, *model, *store; /* store: its kind */
} cp_metrics_gauges;

/* The types of the two formats. */
extern const char cp_metrics_text_type[], cp_metrics_openmetrics_type[];
/* Prometheus text format 0.0.4, or OpenMetrics 1.0 with exemplars. */
void cp_metrics_append(const cp_metrics *metrics, const cp_metrics_gauges *gauges, bool openmetrics,
                       cp_strbuf *out);

#endif
