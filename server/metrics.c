#include "server/metrics.h"

#include "base/mem.h"
#include "server/metrics_model.h"
#include "server/metrics_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const routes[] = {"/triage",
                                     "/v1/chat/completions",
                                     "/v1/completions",
                                     "/v1/embeddings",
                                     "/v1/rerank",
                                     "/v1/models",
                                     "/v1/models/{}",
                                     "/patients/{}",
                                     "/patients/{}/summary",
                                     "/patients/{}/encounters",
                                     "/patients/{}/documents",
                                     "/patients/{}/documents/{}",
                                     "/patients/$import",
                                     "/health",
                                     "/ready",
                                     "/metrics",
                                     "other"};
static const char *const methods[] = {"GET", "HEAD", "POST", "other"};
static const int statuses[] = {200, 204, 400, 401, 403, 404, 405, 408, 409, 413, 414, 415,
                               417, 422, 429, 431, 499, 500, 501, 503, 504, 505, 0 /* other */};
static const char *const refusals[] = {"missing_key",   "invalid_key",       "expired_key",
                                       "missing_scope", "rate_limited",      "quota_exceeded",
                                       "local_only",    "too_many_attempts", "other"};
static const char *const degraded[] = {"loading",           "queue_full", "deadline", "cut_off",
                                       "too_long",          "shutdown",   "broken",   "no_record",
                                       "audit_unavailable", "other"};
#define N_DEGRADED CP_COUNT_OF(degraded)
#define N_REFUSALS CP_COUNT_OF(refusals)
#define N_ROUTES   CP_COUNT_OF(routes)
#define N_METHODS  CP_COUNT_OF(methods)
#define N_STATUSES CP_COUNT_OF(statuses)
#define N_ACUITIES 6 /* none, 1..5 */
#define N_SOURCES  3

struct cp_metrics {
    cp_counter http[N_ROUTES][N_METHODS][N_STATUSES];
    cp_histogram http_seconds[N_ROUTES];
    cp_exemplar http_exemplars[N_ROUTES][CP_N_BUCKETS + 1];
    cp_exemplar store_exemplars[CP_N_BUCKETS + 1];
    cp_counter refused[N_REFUSALS];
    cp_counter triage[N_ACUITIES][N_SOURCES];
    cp_counter red_flags;
    cp_counter degraded[N_DEGRADED];
    cp_model_metrics model;
    cp_source_metrics sources;
    cp_store_metrics store;
    time_t started;
};

cp_status cp_metrics_create(cp_metrics **out, cp_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return cp_error_no_memory(err, "the metrics");
    (*out)->started = time(NULL);
    for (size_t r = 0; r < N_ROUTES; r++)
        (*out)->http_seconds[r].exemplars = (*out)->http_exemplars[r];
    (*out)->store.answer.exemplars = (*out)->store_exemplars;
    return CP_OK;
}

void cp_metrics_free(cp_metrics *metrics) {
    free(metrics);
}

/* The place of a word; the last one, "other", for words that are not there. */
static size_t find_word(const char *const *words, size_t n, const char *word) {
    for (size_t i = 0; word && i + 1 < n; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return n - 1;
}

static size_t find_status(int status) {
    size_t i = 0;
    while (i + 1 < N_STATUSES && statuses[i] != status)
        i++;
    return i;
}

void cp_metrics_http(cp_metrics *metrics, const char *route, const char *method, int status,
                     double seconds, const unsigned char *trace_id) {
    size_t r = find_word(routes, N_ROUTES, route), m = find_word(methods, N_METHODS, method);
    cp_counter_add(&metrics->http[r][m][find_status(status)], 1);
    cp_histogram_observe_traced(&metrics->http_seconds[r], seconds, trace_id);
}

void cp_metrics_lookup(cp_metrics *metrics, const cp_lookup_times *times, cp_lookup_outcome outcome,
                       const unsigned char *trace_id) {
    cp_store_metrics_note(&metrics->store, times, outcome, trace_id);
}

void cp_metrics_refused(cp_metrics *metrics, const char *reason) {
    cp_counter_add(&metrics->refused[find_word(refusals, N_REFUSALS, reason)], 1);
}

const char *cp_acuity_source_name(cp_acuity_source source) {
    if (source == CP_SOURCE_RULES)
        return "rules";
    return source == CP_SOURCE_MODEL ? "model" : NULL;
}

void cp_metrics_triage(cp_metrics *metrics, int acuity, cp_acuity_source source,
                       uint64_t red_flags) {
    if (acuity >= 0 && acuity < N_ACUITIES)
        cp_counter_add(&metrics->triage[acuity][source], 1);
    cp_counter_add(&metrics->red_flags, red_flags);
}

void cp_metrics_degraded(cp_metrics *metrics, const char *reason) {
    cp_counter_add(&metrics->degraded[find_word(degraded, N_DEGRADED, reason)], 1);
}

void cp_metrics_generation(cp_metrics *metrics, const cp_llm_result *result) {
    cp_model_metrics_note(&metrics->model, result);
}

void cp_metrics_retrieval(cp_metrics *metrics, cp_retrieval_stage stage, double seconds) {
    cp_histogram_observe(&metrics->sources.stages[stage], seconds);
}

void cp_metrics_retrieval_failed(cp_metrics *metrics, cp_retrieval_stage stage) {
    cp_counter_add(&metrics->sources.failed[stage], 1);
}

void cp_metrics_found(cp_metrics *metrics, const cp_retrieved *found) {
    cp_counter_add(&metrics->sources.stale, found->n_stale);
    cp_counter_add(&metrics->sources.foreign, found->n_foreign);
    cp_counter_add(&metrics->sources.unindexed, found->n_unindexed);
}

void cp_metrics_foreign(cp_metrics *metrics, size_t n) {
    cp_counter_add(&metrics->sources.foreign, n);
}

void cp_metrics_support(cp_metrics *metrics, size_t n_sources, const cp_support_counts *counts) {
    cp_source_metrics *sources = &metrics->sources;
    size_t n = 0;
    cp_counter_add(&sources->passages, n_sources);
    for (size_t i = 0; i < CP_N_CITATION_VERDICTS; i++) {
        cp_counter_add(&sources->citations[i], counts->citations[i]);
        n += counts->citations[i];
    }
    for (size_t i = 0; i < CP_N_CLAIM_KINDS; i++)
        cp_counter_add(&sources->claims[i], counts->claims[i]);
    cp_counter_add(&sources->removed, n - counts->kept);
}

/* ---- the text -------------------------------------------------------------------------------- */

static void put_http(cp_metric_text *out, const cp_metrics *metrics) {
    const char *name = "carepath_http_requests_total";
    cp_metric_head(out, name, "counter", "Requests answered; 499 is a client that left.");
    for (size_t i = 0; i < N_ROUTES * N_METHODS * N_STATUSES; i++) {
        size_t r = i / (N_METHODS * N_STATUSES), m = i / N_STATUSES % N_METHODS, s = i % N_STATUSES;
        unsigned long long n = cp_counter_get(&metrics->http[r][m][s]);
        char status[16] = "other";
        if (statuses[s])
            snprintf(status, sizeof status, "%d", statuses[s]);
        if (n)
            cp_strbuf_printf(out->body, "%s{route=\"%s\",method=\"%s\",status=\"%s\"} %llu\n", name,
                             routes[r], methods[m], status, n);
    }
    name = "carepath_http_request_duration_seconds";
    cp_metric_head(out, name, "histogram", "From a request's headers to the end of its answer.");
    for (size_t r = 0; r < N_ROUTES; r++) {
        char label[48];
        snprintf(label, sizeof label, "route=\"%s\",", routes[r]);
        cp_metric_histogram(out, name, label, &metrics->http_seconds[r]);
    }
}

static void put_access(cp_metric_text *out, const cp_metrics *metrics,
                       const cp_metrics_gauges *gauges) {
    const char *name = "carepath_access_refused_total";
    cp_metric_head(out, name, "counter", "Requests refused for who asked, by reason.");
    for (size_t i = 0; i < N_REFUSALS; i++)
        cp_strbuf_printf(out->body, "%s{reason=\"%s\"} %llu\n", name, refusals[i],
                         (unsigned long long)cp_counter_get(&metrics->refused[i]));
    cp_metric_one(out, "carepath_api_keys", "gauge", "API keys in force.", gauges->api_keys);
    cp_metric_one(out, "carepath_api_key_reload_failures_total", "counter",
                  "Changed key files that were not taken over.", gauges->api_key_failures);
}

static void put_triage(cp_metric_text *out, const cp_metrics *metrics) {
    static const char *const acuities[N_ACUITIES] = {"none", "1", "2", "3", "4", "5"};
    const char *name = "carepath_triage_total";
    cp_metric_head(out, name, "counter", "Triage answers by acuity and what decided it.");
    for (int a = 0; a < N_ACUITIES; a++)
        for (int s = 0; s < N_SOURCES; s++) {
            unsigned long long n = cp_counter_get(&metrics->triage[a][s]);
            const char *source = cp_acuity_source_name((cp_acuity_source)s);
            if (n)
                cp_strbuf_printf(out->body, "%s{acuity=\"%s\",source=\"%s\"} %llu\n", name,
                                 acuities[a], source ? source : "none", n);
        }
    cp_metric_one(out, "carepath_red_flags_total", "counter", "Safety rules that fired.",
                  cp_counter_get(&metrics->red_flags));
    name = "carepath_triage_degraded_total";
    cp_metric_head(out, name, "counter",
                   "Triage answers without the model's whole answer, by reason.");
    for (size_t i = 0; i < N_DEGRADED; i++)
        cp_strbuf_printf(out->body, "%s{reason=\"%s\"} %llu\n", name, degraded[i],
                         (unsigned long long)cp_counter_get(&metrics->degraded[i]));
}

static void put_conversations(cp_metric_text *out, const cp_conversations_stats *c) {
    cp_metric_one(out, "carepath_conversations", "gauge", "Conversations that are kept.",
                  c->n_conversations);
    cp_metric_one(out, "carepath_conversation_bytes", "gauge",
                  "Memory of conversations and of notes on patients.", c->n_bytes);
    cp_metric_one(out, "carepath_conversations_expired_total", "counter",
                  "Conversations and patients' notes that ended by their age.", c->n_expired);
    cp_metric_one(out, "carepath_conversations_evicted_total", "counter",
                  "Conversations and patients' notes whose memory was needed.", c->n_evicted);
}

/* A label's value: quotes, backslashes and line ends escaped. */
static void put_label(cp_metric_text *out, const char *text) {
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            cp_strbuf_putc(out->body, '\\');
        cp_strbuf_putc(out->body, *text == '\n' ? ' ' : *text);
    }
}

static void put_model_state(cp_metric_text *out, const cp_metrics_gauges *gauges) {
    cp_metric_one(out, "carepath_rejections_total", "counter",
                  "Requests for which no place was free.", gauges->rejected);
    cp_metric_one(out, "carepath_requests_running", "gauge", "Requests the model works on.",
                  gauges->running);
    cp_metric_one(out, "carepath_requests_queued", "gauge", "Requests that wait.", gauges->queued);
    cp_metric_one(out, "carepath_requests_running_max", "gauge",
                  "Most of the former (MAX_RUNNING).", gauges->running_max);
    cp_metric_one(out, "carepath_requests_queued_max", "gauge", "Most that may wait (QUEUE_MAX).",
                  gauges->queue_max);
    cp_metric_one(out, "carepath_model_loaded", "gauge", "1 when the model can answer.",
                  gauges->model_loaded);
    cp_metric_one(out, "carepath_model_stuck", "gauge",
                  "1 when there is work and the model has done nothing for a minute.",
                  gauges->model_stuck);
    cp_metric_one(out, "carepath_rules_reviewed", "gauge",
                  "1 when a clinician has signed the triage rules.", gauges->rules_reviewed);
}

static void put_audit(cp_metric_text *out, const cp_metrics_gauges *gauges) {
    if (!gauges->has_audit)
        return;
    cp_metric_one(out, "carepath_audit_records", "gauge", "Records in the audit log.",
                  gauges->audit_records);
    cp_metric_one(out, "carepath_audit_failures_total", "counter",
                  "Records that could not be written; the answer did not leave as it was.",
                  gauges->audit_failures);
}

static void put_traces(cp_metric_text *out, const cp_metrics_gauges *gauges) {
    const cp_tracer_stats *traces = &gauges->traces;
    const char *name = "carepath_trace_spans_total";
    if (!gauges->has_tracer)
        return;
    cp_metric_head(out, name, "counter", "Spans by what became of them.");
    cp_strbuf_printf(out->body,
                     "%s{outcome=\"exported\"} %llu\n%s{outcome=\"dropped\"} %llu\n"
                     "%s{outcome=\"failed\"} %llu\n",
                     name, (unsigned long long)traces->exported, name,
                     (unsigned long long)traces->dropped, name, (unsigned long long)traces->failed);
    cp_metric_one(out, "carepath_trace_spans_waiting", "gauge", "Spans that are not sent yet.",
                  traces->waiting);
    cp_metric_one(out, "carepath_trace_requests_total", "counter",
                  "Requests to the receiver of traces, tries included.", traces->requests);
}

static void put_build(cp_metric_text *out, const cp_metrics *metrics,
                      const cp_metrics_gauges *gauges) {
    cp_metric_one(out, "process_start_time_seconds", "gauge", "Start, in Unix time.",
                  (uint64_t)metrics->started);
    cp_metric_head(out, "carepath_build_info", "gauge", "What runs here; always 1.");
    cp_strbuf_puts(out->body, "carepath_build_info{version=\"" CP_VERSION "\",llm_mode=\"");
    put_label(out, gauges->llm_mode);
    cp_strbuf_puts(out->body, "\",model=\"");
    put_label(out, gauges->model);
    cp_strbuf_puts(out->body, "\"} 1\n");
}

const char cp_metrics_text_type[] = "text/plain; version=0.0.4; charset=utf-8";
const char cp_metrics_openmetrics_type[] =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

void cp_metrics_append(const cp_metrics *metrics, const cp_metrics_gauges *gauges, bool openmetrics,
                       cp_strbuf *body) {
    cp_metric_text text = {.body = body, .is_openmetrics = openmetrics}, *out = &text;
    put_http(out, metrics);
    put_access(out, metrics, gauges);
    put_triage(out, metrics);
    put_conversations(out, &gauges->conversations);
    put_model_state(out, gauges);
    cp_model_metrics_append(&metrics->model, &gauges->scheduler, out);
    cp_source_metrics_append(&metrics->sources, &gauges->sources, out);
    cp_store_metrics_append(&metrics->store, gauges->store, out);
    put_audit(out, gauges);
    put_traces(out, gauges);
    cp_process_metrics_append(out);
    put_build(out, metrics, gauges);
    if (openmetrics)
        cp_strbuf_puts(body, "# EOF\n");
}
