#include "server/metrics_parts.h"

#include <stdio.h>
#include <string.h>

/* CPU inference is slow: buckets up to ten minutes; a token takes milliseconds. */
static const double buckets[CP_N_BUCKETS] = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                             2.5,   5,     10,   20,    30,   60,  120,  300, 600};

void cp_histogram_observe(cp_histogram *h, double seconds) {
    size_t i = 0;
    while (i < CP_N_BUCKETS && seconds > buckets[i])
        i++;
    cp_counter_add(&h->in_bucket[i], 1);
    cp_counter_add(&h->sum_us, seconds > 0 ? (uint64_t)(seconds * 1e6) : 0);
}

void cp_metric_head(cp_strbuf *out, const char *name, const char *type, const char *help) {
    cp_strbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void cp_metric_one(cp_strbuf *out, const char *name, const char *type, const char *help,
                   uint64_t value) {
    cp_metric_head(out, name, type, help);
    cp_strbuf_printf(out, "%s %llu\n", name, (unsigned long long)value);
}

void cp_metric_histogram(cp_strbuf *out, const char *name, const char *label,
                         const cp_histogram *h) {
    unsigned long long total = 0;
    for (size_t i = 0; i < CP_N_BUCKETS; i++) {
        total += cp_counter_get(&h->in_bucket[i]);
        cp_strbuf_printf(out, "%s_bucket{%sle=\"%g\"} %llu\n", name, label, buckets[i], total);
    }
    total += cp_counter_get(&h->in_bucket[CP_N_BUCKETS]);
    cp_strbuf_printf(out, "%s_bucket{%sle=\"+Inf\"} %llu\n", name, label, total);
    char braces[80] = "";
    if (*label)
        snprintf(braces, sizeof braces, "{%.*s}", (int)strlen(label) - 1, label);
    cp_strbuf_printf(out, "%s_sum%s %.6f\n", name, braces,
                     (double)cp_counter_get(&h->sum_us) / 1e6);
    cp_strbuf_printf(out, "%s_count%s %llu\n", name, braces, total);
}
