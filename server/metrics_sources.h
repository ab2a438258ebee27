/* The part of /metrics on what answers rest on: retrieval, the index, citations and claims. */
#ifndef CP_SERVER_METRICS_SOURCES_H
#define CP_SERVER_METRICS_SOURCES_H

#include "retrieval/citations.h"
#include "retrieval/index.h"
#include "server/metrics_parts.h"

/* The stages of finding passages, in order. */
typedef enum cp_retrieval_stage {
    CP_STAGE_LEXICAL, /* the record made into documents, both lists fused, checked */
    CP_STAGE_EMBED,   /* the question's vector, waiting for the engine included */
    CP_STAGE_NEAREST, /* asking the vector store */
    CP_STAGE_RERANK,
    CP_N_STAGES
} cp_retrieval_stage;

typedef struct cp_source_metrics {
    cp_histogram stages[CP_N_STAGES];
    cp_counter failed[CP_N_STAGES];
    cp_counter passages, stale, foreign, unindexed;
    cp_counter citations[CP_N_CITATION_VERDICTS], removed;
    cp_counter claims[CP_N_CLAIM_KINDS];
} cp_source_metrics;

/* What is known of the index when asked. */
typedef struct cp_index_gauges {
    bool is_on;
    cp_index_stats index;
    size_t knowledge; /* documents */
} cp_index_gauges;

void cp_source_metrics_append(const cp_source_metrics *metrics, const cp_index_gauges *gauges,
                              cp_metric_text *out);

#endif
