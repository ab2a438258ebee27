#include "server/metrics_sources.h"

#include <stdio.h>

static const char *const stages[CP_N_STAGES] = {"lexical", "embed", "nearest", "rerank"};

static void put_labelled(cp_metric_text *out, const char *name, const char *label,
                         const char *value, const cp_counter *counter) {
    cp_strbuf_printf(out->body, "%s{%s=\"%s\"} %llu\n", name, label, value,
                     (unsigned long long)cp_counter_get(counter));
}

static void put_retrieval(const cp_source_metrics *metrics, cp_metric_text *out) {
    const char *name = "carepath_retrieval_duration_seconds";
    cp_metric_head(out, name, "histogram", "Stages of finding the passages of a question.");
    for (size_t i = 0; i < CP_N_STAGES; i++) {
        char label[32];
        snprintf(label, sizeof label, "stage=\"%s\",", stages[i]);
        cp_metric_histogram(out, name, label, &metrics->stages[i]);
    }
    name = "carepath_retrieval_failures_total";
    cp_metric_head(out, name, "counter", "Stages that failed; the answer went on without them.");
    for (size_t i = 0; i < CP_N_STAGES; i++)
        put_labelled(out, name, "stage", stages[i], &metrics->failed[i]);
    cp_metric_one(out, "carepath_retrieval_passages_total", "counter",
                  "Passages that models were given.", cp_counter_get(&metrics->passages));
    cp_metric_one(out, "carepath_retrieval_stale_total", "counter",
                  "Hits whose document has changed since it was indexed; dropped.",
                  cp_counter_get(&metrics->stale));
    cp_metric_one(out, "carepath_retrieval_foreign_total", "counter",
                  "Hits that belong to another patient; dropped. More than 0 is a fault.",
                  cp_counter_get(&metrics->foreign));
    cp_metric_one(out, "carepath_retrieval_unindexed_total", "counter",
                  "Documents of records that the index lacked; found all the same.",
                  cp_counter_get(&metrics->unindexed));
}

static void put_citations(const cp_source_metrics *metrics, cp_metric_text *out) {
    const char *name = "carepath_citations_total";
    cp_metric_head(out, name, "counter", "Citations of models by what the check found.");
    for (cp_citation_verdict v = 0; v < CP_N_CITATION_VERDICTS; v++)
        put_labelled(out, name, "check", cp_citation_verdict_name(v), &metrics->citations[v]);
    cp_metric_one(out, "carepath_citations_removed_total", "counter",
                  "Citations that did not leave.", cp_counter_get(&metrics->removed));
    name = "carepath_unsupported_claims_total";
    cp_metric_head(out, name, "counter",
                   "Claims that nothing given to the model names, by what they name.");
    for (cp_claim_kind k = 0; k < CP_N_CLAIM_KINDS; k++)
        put_labelled(out, name, "kind", cp_claim_kind_name(k), &metrics->claims[k]);
}

static void put_index(const cp_index_gauges *gauges, cp_metric_text *out) {
    const cp_index_stats *index = &gauges->index;
    cp_metric_one(out, "carepath_knowledge_documents", "gauge", "Documents of the knowledge base.",
                  gauges->knowledge);
    cp_metric_one(out, "carepath_index_documents", "gauge", "Documents in the index.",
                  index->n_docs);
    cp_metric_one(out, "carepath_index_chunks", "gauge", "Chunks in the index.", index->n_chunks);
    cp_metric_one(out, "carepath_index_dead_chunks", "gauge",
                  "Chunks that were replaced or removed and wait for compaction.", index->n_dead);
    cp_metric_one(out, "carepath_index_vectors", "gauge", "Chunks with a vector.",
                  index->n_vectors);
    cp_metric_one(out, "carepath_index_bytes", "gauge", "Size of the index.",
                  index->segment_bytes + index->tail_bytes);
    cp_metric_one(out, "carepath_index_generation", "gauge", "Changes of the index.",
                  index->generation);
}

void cp_source_metrics_append(const cp_source_metrics *metrics, const cp_index_gauges *gauges,
                              cp_metric_text *out) {
    if (!gauges->is_on)
        return;
    put_retrieval(metrics, out);
    put_citations(metrics, out);
    put_index(gauges, out);
}
