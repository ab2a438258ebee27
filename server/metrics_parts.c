#include "server/metrics_parts.h"

#include "base/crypto.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* CPU inference is slow: buckets up to ten minutes; a token takes milliseconds. */
static const double buckets[CP_N_BUCKETS] = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                             2.5,   5,     10,   20,    30,   60,  120,  300, 600};

void cp_histogram_observe(cp_histogram *h, double seconds) {
    cp_histogram_observe_traced(h, seconds, NULL);
}

static void keep_exemplar(cp_exemplar *e, double seconds, const unsigned char *trace_id) {
    struct timespec now;
    if (atomic_exchange_explicit(&e->taken, true, memory_order_acquire))
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    e->is_set = true;
    e->seconds = seconds;
    e->unix_s = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    memcpy(e->trace_id, trace_id, CP_TRACE_ID_BYTES);
    atomic_store_explicit(&e->taken, false, memory_order_release);
}

void cp_histogram_observe_traced(cp_histogram *h, double seconds, const unsigned char *trace_id) {
    size_t i = 0;
    while (i < CP_N_BUCKETS && seconds > buckets[i])
        i++;
    cp_counter_add(&h->in_bucket[i], 1);
    cp_counter_add(&h->sum_us, seconds > 0 ? (uint64_t)(seconds * 1e6) : 0);
    if (h->exemplars && trace_id)
        keep_exemplar(&h->exemplars[i], seconds, trace_id);
}

/* OpenMetrics names a counter without the _total that its samples have. */
void cp_metric_head(cp_metric_text *out, const char *name, const char *type, const char *help) {
    static const char total[] = "_total";
    size_t n = strlen(name), tail = sizeof total - 1;
    if (out->is_openmetrics && strcmp(type, "counter") == 0 && n > tail &&
        strcmp(name + n - tail, total) == 0)
        n -= tail;
    cp_strbuf_printf(out->body, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)n, name, help, (int)n,
                     name, type);
}

void cp_metric_one(cp_metric_text *out, const char *name, const char *type, const char *help,
                   uint64_t value) {
    cp_metric_head(out, name, type, help);
    cp_strbuf_printf(out->body, "%s %llu\n", name, (unsigned long long)value);
}

void cp_metric_number(cp_metric_text *out, const char *name, const char *type, const char *help,
                      double value) {
    cp_metric_head(out, name, type, help);
    cp_strbuf_printf(out->body, "%s %.6f\n", name, value);
}

static void put_exemplar(cp_metric_text *out, cp_exemplar *e) {
    char trace_id[2 * CP_TRACE_ID_BYTES + 1];
    if (atomic_exchange_explicit(&e->taken, true, memory_order_acquire))
        return;
    if (e->is_set) {
        cp_hex(e->trace_id, CP_TRACE_ID_BYTES, trace_id);
        cp_strbuf_printf(out->body, " # {trace_id=\"%s\"} %.6f %.3f", trace_id, e->seconds,
                         e->unix_s);
    }
    atomic_store_explicit(&e->taken, false, memory_order_release);
}

static void put_bucket(cp_metric_text *out, const char *name, const char *label,
                       const cp_histogram *h, size_t i, unsigned long long total) {
    if (i < CP_N_BUCKETS)
        cp_strbuf_printf(out->body, "%s_bucket{%sle=\"%g\"} %llu", name, label, buckets[i], total);
    else
        cp_strbuf_printf(out->body, "%s_bucket{%sle=\"+Inf\"} %llu", name, label, total);
    if (out->is_openmetrics && h->exemplars)
        put_exemplar(out, &h->exemplars[i]);
    cp_strbuf_putc(out->body, '\n');
}

void cp_metric_histogram(cp_metric_text *out, const char *name, const char *label,
                         const cp_histogram *h) {
    unsigned long long total = 0;
    for (size_t i = 0; i <= CP_N_BUCKETS; i++) {
        total += cp_counter_get(&h->in_bucket[i]);
        put_bucket(out, name, label, h, i, total);
    }
    char braces[80] = "";
    if (*label)
        snprintf(braces, sizeof braces, "{%.*s}", (int)strlen(label) - 1, label);
    cp_strbuf_printf(out->body, "%s_sum%s %.6f\n", name, braces,
                     (double)cp_counter_get(&h->sum_us) / 1e6);
    cp_strbuf_printf(out->body, "%s_count%s %llu\n", name, braces, total);
}
