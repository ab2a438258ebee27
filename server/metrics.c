#include "server/metrics.h"

#include "base/mem.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef atomic_uint_fast64_t counter;

/* CPU inference is slow: buckets up to ten minutes. */
static const double buckets[] = {0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1,
                                 2.5,   5,     10,   30,   60,  120,  300, 600};
#define N_BUCKETS CP_COUNT_OF(buckets)

typedef struct histogram {
    counter in_bucket[N_BUCKETS + 1]; /* the last: above all; not cumulative */
    counter sum_us;
} histogram;

static const char *const routes[] = {"/triage", "/health", "/ready", "/metrics", "other"};
static const char *const methods[] = {"GET", "HEAD", "POST", "other"};
static const int statuses[] = {200, 204, 400, 401, 403, 404, 405, 408, 413, 414, 415,
                               417, 422, 429, 431, 499, 500, 501, 503, 504, 505, 0 /* other */};
static const char *const refusals[] = {"missing_key",   "invalid_key",  "expired_key",
                                       "missing_scope", "rate_limited", "quota_exceeded",
                                       "local_only",    "other"};
#define N_REFUSALS CP_COUNT_OF(refusals)
#define N_ROUTES   CP_COUNT_OF(routes)
#define N_METHODS  CP_COUNT_OF(methods)
#define N_STATUSES CP_COUNT_OF(statuses)
#define N_ACUITIES 6 /* none, 1..5 */
#define N_SOURCES  3

struct cp_metrics {
    counter http[N_ROUTES][N_METHODS][N_STATUSES];
    histogram http_seconds[N_ROUTES];
    counter refused[N_REFUSALS];
    counter triage[N_ACUITIES][N_SOURCES];
    counter red_flags, prompt_tokens, completion_tokens;
    histogram queue_seconds, prompt_seconds, generate_seconds;
    time_t started;
};

cp_status cp_metrics_create(cp_metrics **out, cp_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return cp_error_no_memory(err, "the metrics");
    (*out)->started = time(NULL);
    return CP_OK;
}

void cp_metrics_free(cp_metrics *metrics) {
    free(metrics);
}

static void add(counter *c, uint64_t n) {
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

static uint64_t get(const counter *c) {
    return atomic_load_explicit((counter *)(uintptr_t)c, memory_order_relaxed);
}

static void observe(histogram *h, double seconds) {
    size_t i = 0;
    while (i < N_BUCKETS && seconds > buckets[i])
        i++;
    add(&h->in_bucket[i], 1);
    add(&h->sum_us, seconds > 0 ? (uint64_t)(seconds * 1e6) : 0);
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
                     double seconds) {
    size_t r = find_word(routes, N_ROUTES, route), m = find_word(methods, N_METHODS, method);
    add(&metrics->http[r][m][find_status(status)], 1);
    observe(&metrics->http_seconds[r], seconds);
}

void cp_metrics_refused(cp_metrics *metrics, const char *reason) {
    add(&metrics->refused[find_word(refusals, N_REFUSALS, reason)], 1);
}

const char *cp_acuity_source_name(cp_acuity_source source) {
    if (source == CP_SOURCE_RULES)
        return "rules";
    return source == CP_SOURCE_MODEL ? "model" : NULL;
}

void cp_metrics_triage(cp_metrics *metrics, int acuity, cp_acuity_source source,
                       uint64_t red_flags) {
    if (acuity >= 0 && acuity < N_ACUITIES)
        add(&metrics->triage[acuity][source], 1);
    add(&metrics->red_flags, red_flags);
}

void cp_metrics_generation(cp_metrics *metrics, uint64_t prompt_tokens, uint64_t completion_tokens,
                           double prompt_seconds, double generate_seconds) {
    add(&metrics->prompt_tokens, prompt_tokens);
    add(&metrics->completion_tokens, completion_tokens);
    observe(&metrics->prompt_seconds, prompt_seconds);
    observe(&metrics->generate_seconds, generate_seconds);
}

void cp_metrics_queue_wait(cp_metrics *metrics, double seconds) {
    observe(&metrics->queue_seconds, seconds);
}

/* ---- the text -------------------------------------------------------------------------------- */

static void put_head(cp_strbuf *out, const char *name, const char *type, const char *help) {
    cp_strbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_one(cp_strbuf *out, const char *name, const char *type, const char *help,
                    uint64_t value) {
    put_head(out, name, type, help);
    cp_strbuf_printf(out, "%s %llu\n", name, (unsigned long long)value);
}

/* `label` is "route=\"/triage\"," or "". */
static void put_histogram(cp_strbuf *out, const char *name, const char *label, const histogram *h) {
    unsigned long long total = 0;
    for (size_t i = 0; i < N_BUCKETS; i++) {
        total += get(&h->in_bucket[i]);
        cp_strbuf_printf(out, "%s_bucket{%sle=\"%g\"} %llu\n", name, label, buckets[i], total);
    }
    total += get(&h->in_bucket[N_BUCKETS]);
    cp_strbuf_printf(out, "%s_bucket{%sle=\"+Inf\"} %llu\n", name, label, total);
    char braces[64] = "";
    if (*label)
        snprintf(braces, sizeof braces, "{%.*s}", (int)strlen(label) - 1, label);
    cp_strbuf_printf(out, "%s_sum%s %.6f\n", name, braces, (double)get(&h->sum_us) / 1e6);
    cp_strbuf_printf(out, "%s_count%s %llu\n", name, braces, total);
}

static void put_http(cp_strbuf *out, const cp_metrics *metrics) {
    const char *name = "carepath_http_requests_total";
    put_head(out, name, "counter", "Requests answered; 499 is a client that left.");
    for (size_t i = 0; i < N_ROUTES * N_METHODS * N_STATUSES; i++) {
        size_t r = i / (N_METHODS * N_STATUSES), m = i / N_STATUSES % N_METHODS, s = i % N_STATUSES;
        unsigned long long n = get(&metrics->http[r][m][s]);
        char status[16] = "other";
        if (statuses[s])
            snprintf(status, sizeof status, "%d", statuses[s]);
        if (n)
            cp_strbuf_printf(out, "%s{route=\"%s\",method=\"%s\",status=\"%s\"} %llu\n", name,
                             routes[r], methods[m], status, n);
    }
    name = "carepath_http_request_duration_seconds";
    put_head(out, name, "histogram", "From a request's headers to the end of its answer.");
    for (size_t r = 0; r < N_ROUTES; r++) {
        char label[48];
        snprintf(label, sizeof label, "route=\"%s\",", routes[r]);
        put_histogram(out, name, label, &metrics->http_seconds[r]);
    }
}

static void put_access(cp_strbuf *out, const cp_metrics *metrics, const cp_metrics_gauges *gauges) {
    const char *name = "carepath_access_refused_total";
    put_head(out, name, "counter", "Requests refused for who asked, by reason.");
    for (size_t i = 0; i < N_REFUSALS; i++)
        cp_strbuf_printf(out, "%s{reason=\"%s\"} %llu\n", name, refusals[i],
                         (unsigned long long)get(&metrics->refused[i]));
    put_one(out, "carepath_api_keys", "gauge", "API keys in force.", gauges->api_keys);
    put_one(out, "carepath_api_key_reload_failures_total", "counter",
            "Changed key files that were not taken over.", gauges->api_key_failures);
}

static void put_triage(cp_strbuf *out, const cp_metrics *metrics) {
    static const char *const acuities[N_ACUITIES] = {"none", "1", "2", "3", "4", "5"};
    const char *name = "carepath_triage_total";
    put_head(out, name, "counter", "Triage answers by acuity and what decided it.");
    for (int a = 0; a < N_ACUITIES; a++)
        for (int s = 0; s < N_SOURCES; s++) {
            unsigned long long n = get(&metrics->triage[a][s]);
            const char *source = cp_acuity_source_name((cp_acuity_source)s);
            if (n)
                cp_strbuf_printf(out, "%s{acuity=\"%s\",source=\"%s\"} %llu\n", name, acuities[a],
                                 source ? source : "none", n);
        }
    put_one(out, "carepath_red_flags_total", "counter", "Safety rules that fired.",
            get(&metrics->red_flags));
    put_one(out, "carepath_prompt_tokens_total", "counter", "Tokens read by the model.",
            get(&metrics->prompt_tokens));
    put_one(out, "carepath_completion_tokens_total", "counter", "Tokens written by the model.",
            get(&metrics->completion_tokens));
}

static void put_phases(cp_strbuf *out, const cp_metrics *metrics) {
    put_head(out, "carepath_queue_wait_seconds", "histogram", "Waiting for the model.");
    put_histogram(out, "carepath_queue_wait_seconds", "", &metrics->queue_seconds);
    put_head(out, "carepath_prompt_seconds", "histogram", "Reading the prompt (prefill).");
    put_histogram(out, "carepath_prompt_seconds", "", &metrics->prompt_seconds);
    put_head(out, "carepath_generate_seconds", "histogram", "Writing the answer (decode).");
    put_histogram(out, "carepath_generate_seconds", "", &metrics->generate_seconds);
}

static uint64_t resident_bytes(void) {
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A label's value: quotes, backslashes and line ends escaped. */
static void put_label(cp_strbuf *out, const char *text) {
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            cp_strbuf_putc(out, '\\');
        cp_strbuf_putc(out, *text == '\n' ? ' ' : *text);
    }
}

void cp_metrics_append(const cp_metrics *metrics, const cp_metrics_gauges *gauges, cp_strbuf *out) {
    put_http(out, metrics);
    put_access(out, metrics, gauges);
    put_triage(out, metrics);
    put_phases(out, metrics);
    put_one(out, "carepath_requests_running", "gauge", "Triages the model works on.",
            gauges->running);
    put_one(out, "carepath_requests_queued", "gauge", "Triages that wait.", gauges->queued);
    put_one(out, "carepath_model_loaded", "gauge", "1 when the model can answer.",
            gauges->model_loaded);
    put_one(out, "process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes());
    put_one(out, "process_start_time_seconds", "gauge", "Start, in Unix time.",
            (uint64_t)metrics->started);
    put_head(out, "carepath_build_info", "gauge", "What runs here; always 1.");
    cp_strbuf_puts(out, "carepath_build_info{version=\"" CP_VERSION "\",llm_mode=\"");
    put_label(out, gauges->llm_mode);
    cp_strbuf_puts(out, "\",model=\"");
    put_label(out, gauges->model);
    cp_strbuf_puts(out, "\"} 1\n");
}
