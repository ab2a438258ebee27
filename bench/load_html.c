/* A load report as one HTML file: what happened over time, how long answers took, every number. */
#include "bench/load_report.h"

#include "base/mem.h"
#include "bench/report_page.h"
#include "bench/svg_chart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define CDF_POINTS     400
#define PROCESS_POINTS 400

static double mib(double bytes) {
    return bytes / (1 << 20);
}

/* ---- charts ---------------------------------------------------------------------------------- */

static void chart_latency(const cp_load_summary *s, cp_strbuf *out) {
    double x[CP_LOAD_MAX_SLICES], p50[CP_LOAD_MAX_SLICES], p95[CP_LOAD_MAX_SLICES],
        most[CP_LOAD_MAX_SLICES];
    for (size_t i = 0; i < s->n_slices; i++) {
        x[i] = s->slices[i].at_s;
        p50[i] = 1e3 * s->slices[i].p50_s;
        p95[i] = 1e3 * s->slices[i].p95_s;
        most[i] = 1e3 * s->slices[i].max_s;
    }
    const cp_chart_curve curves[] = {{"median", 0, s->n_slices, x, p50},
                                     {"95th percentile", 2, s->n_slices, x, p95},
                                     {"longest", 4, s->n_slices, x, most}};
    cp_page_open_card(out, "Time to the whole answer",
                      "Of answered requests, by the moment they were due. Less is better.");
    cp_svg_curves(out, "Latency over time", "seconds", "milliseconds", false, curves,
                  CP_COUNT_OF(curves));
    cp_page_close_card(out);
}

/* At most CDF_POINTS of the distribution, the first and last among them; returns their number. */
static size_t thin_times(const cp_load_times *t, double *x, double *y) {
    size_t n = t->n < CDF_POINTS ? t->n : CDF_POINTS;
    for (size_t i = 0; i < n; i++) {
        size_t at = n > 1 ? i * (t->n - 1) / (n - 1) : 0;
        x[i] = 1e3 * t->sorted[at];
        y[i] = 100.0 * (double)(at + 1) / (double)t->n;
    }
    return n;
}

static void chart_distribution(const cp_load_report *r, cp_strbuf *out) {
    const cp_load_summary *s = r->summary;
    double x[3][CDF_POINTS], y[3][CDF_POINTS];
    const cp_load_times *const times[3] = {&s->first, &s->whole, &s->refusal};
    static const char *const labels[3] = {"first token", "whole answer", "refusal (503)"};
    static const size_t series[3] = {1, 0, 4};
    cp_chart_curve curves[3];
    size_t n = 0;
    for (size_t i = r->plan->stream ? 0 : 1; i < 3; i++) /* a whole answer is its first token */
        if (times[i]->n > 0) {
            curves[n] = (cp_chart_curve){labels[i], series[i], thin_times(times[i], x[n], y[n]),
                                         x[n], y[n]};
            n++;
        }
    if (n == 0)
        return;
    cp_page_open_card(out, "How many were faster",
                      "Share of requests that took at most so long; the scale is logarithmic.");
    cp_svg_curves(out, "Distribution of latencies", "milliseconds", "percent", true, curves, n);
    cp_page_close_card(out);
}

static void chart_rates(const cp_load_summary *s, cp_strbuf *out) {
    double x[CP_LOAD_MAX_SLICES], y[1 + CP_LOAD_N_OUTCOMES][CP_LOAD_MAX_SLICES];
    static const char *const labels[] = {"due", "answered", "refused (503)", "failed", "left"};
    static const size_t series[] = {7, 1, 2, 4, 3};
    cp_chart_curve curves[1 + CP_LOAD_N_OUTCOMES];
    size_t n = 0;
    for (size_t k = 0; k <= CP_LOAD_N_OUTCOMES; k++) {
        size_t total = 0;
        for (size_t i = 0; i < s->n_slices; i++) {
            const cp_load_slice *slice = &s->slices[i];
            size_t count = k == 0 ? slice->due : slice->ended[k - 1];
            x[i] = slice->at_s;
            y[k][i] = (double)count / s->slice_s;
            total += count;
        }
        if (total > 0 || k <= 1)
            curves[n++] = (cp_chart_curve){labels[k], series[k], s->n_slices, x, y[k]};
    }
    cp_page_open_card(out, "Requests in and out",
                      "Due by the schedule or the clients, and what became of them, a second.");
    cp_svg_curves(out, "Rates over time", "seconds", "requests/s", false, curves, n);
    cp_page_close_card(out);
}

/* Memory and processor time while the load ran; times from its start. */
static void chart_process(const cp_load_report *r, cp_strbuf *out) {
    const cp_process_watch *w = &r->result->watch;
    double x[PROCESS_POINTS], rss[PROCESS_POINTS], cpu[PROCESS_POINTS];
    size_t all = w->n - w->n_before, n = all < PROCESS_POINTS ? all : PROCESS_POINTS;
    if (n == 0)
        return;
    for (size_t i = 0; i < n; i++) {
        const cp_process_sample *s =
            &w->samples[w->n_before + (n > 1 ? i * (all - 1) / (n - 1) : 0)];
        x[i] = s->at_s + r->plan->warmup_s;
        rss[i] = mib(s->rss_bytes);
        cpu[i] = s->cpu_percent;
    }
    const cp_chart_curve memory = {"resident set", 0, n, x, rss};
    const cp_chart_curve busy = {"processor time", 5, n, x, cpu};
    cp_page_open_card(out, "The server's memory", "Resident set, warm-up included.");
    cp_svg_curves(out, "Memory over time", "seconds", "MiB", false, &memory, 1);
    cp_page_close_card(out);
    cp_page_open_card(out, "The server's processor time",
                      "100% is one processor busy, warm-up included.");
    cp_svg_curves(out, "Processor time over time", "seconds", "percent", false, &busy, 1);
    cp_page_close_card(out);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void put_times(cp_strbuf *out, const char *name, const cp_load_times *t) {
    if (t->n == 0)
        return;
    cp_page_escaped(out, "<tr><td>", name, "</td>");
    cp_strbuf_printf(out, "<td>%zu</td><td>%.2f</td><td>%.2f</td><td>%.2f</td>", t->n, 1e3 * t->p50,
                     1e3 * t->p90, 1e3 * t->p95);
    cp_strbuf_printf(out, "<td>%.2f</td><td>%.2f</td></tr>\n", 1e3 * t->p99, 1e3 * t->max);
}

static void table_times(const cp_load_summary *s, cp_strbuf *out) {
    static const char *const heads[] = {"milliseconds", "n", "p50", "p90", "p95", "p99", "longest"};
    cp_page_open_table(out, "Times", heads, CP_COUNT_OF(heads));
    put_times(out, "first token", &s->first);
    put_times(out, "whole answer", &s->whole);
    put_times(out, "refusal (503)", &s->refusal);
    put_times(out, "sent late by the client", &s->late);
    cp_page_close_table(out);
}

static void put_code(cp_strbuf *out, const char *what, const cp_load_code *code, double all) {
    cp_strbuf_printf(out, "<tr><td>%sstatus %d, ", what, code->status);
    cp_page_escaped(out, "", code->code, "</td>");
    cp_strbuf_printf(out, "<td>%zu</td><td>%.2f%%</td></tr>\n", code->n,
                     100 * (double)code->n / all);
}

static void table_counts(const cp_load_report *r, cp_strbuf *out) {
    static const char *const heads[] = {"what became of the requests", "n", "share"};
    static const char *const names[] = {"answered", "refused (503)", "failed",
                                        "left by the client"};
    const cp_load_summary *s = r->summary;
    double all = s->n_sent ? (double)s->n_sent : 1;
    cp_page_open_table(out, "Outcomes", heads, CP_COUNT_OF(heads));
    for (size_t k = 0; k < CP_LOAD_N_OUTCOMES; k++)
        cp_strbuf_printf(out, "<tr><td>%s</td><td>%zu</td><td>%.2f%%</td></tr>\n", names[k],
                         s->counts[k], 100 * (double)s->counts[k] / all);
    for (size_t i = 0; i < r->result->errors.n; i++)
        put_code(out, "of these: ", &r->result->errors.rows[i], all);
    for (size_t i = 0; i < r->result->degraded.n; i++)
        put_code(out, "answered without the model: ", &r->result->degraded.rows[i], all);
    cp_strbuf_printf(out, "<tr><td>refusals with Retry-After</td><td>%zu</td><td></td></tr>\n",
                     s->n_retry_after);
    cp_page_close_table(out);
}

static void put_pair(cp_strbuf *out, const char *name, const char *value) {
    cp_page_escaped(out, "<tr><td>", name, "</td>");
    cp_page_escaped(out, "<td>", value, "</td></tr>\n");
}

static void table_process(const cp_load_report *r, cp_strbuf *out) {
    static const char *const heads[] = {"server process", ""};
    const cp_load_server *s = &r->summary->server;
    char text[160];
    if (r->plan->server_pid == 0)
        return;
    cp_page_open_table(out, "The server's process", heads, CP_COUNT_OF(heads));
    snprintf(text, sizeof text, "%.0f%% before, %.0f%% mean, %.0f%% most", s->cpu_before,
             s->cpu_mean, s->cpu_max);
    put_pair(out, "processor time", text);
    snprintf(text, sizeof text, "%.1f MiB before, %.1f first, %.1f last, %.1f most",
             mib(s->rss_before), mib(s->rss_first), mib(s->rss_last), mib(s->rss_max));
    put_pair(out, "resident set", text);
    snprintf(text, sizeof text, "%+.2f MiB a minute", mib(s->rss_slope));
    put_pair(out, "slope (least squares)", text);
    snprintf(text, sizeof text, "%zu threads, %zu open files", s->threads_max, s->files_max);
    put_pair(out, "at most", text);
    cp_page_close_table(out);
}

/* ---- the page -------------------------------------------------------------------------------- */

static void put_facts(const cp_load_report *r, cp_strbuf *out) {
    const cp_load_summary *s = r->summary;
    char text[96];
    cp_page_open_facts(out);
    snprintf(text, sizeof text, "%s%s", cp_load_target_path(r->plan->target),
             r->plan->stream ? ", stream" : "");
    cp_page_fact(out, text, r->plan->server.origin);
    snprintf(text, sizeof text, "%.1f/s", s->offered_per_s);
    cp_page_fact(out, text, "requests due");
    snprintf(text, sizeof text, "%.1f/s", s->answered_per_s);
    cp_page_fact(out, text, "answered");
    snprintf(text, sizeof text, "%.1f/s", s->tokens_per_s);
    cp_page_fact(out, text, "tokens of answers");
    snprintf(text, sizeof text, "%zu", s->counts[CP_LOAD_REFUSED]);
    cp_page_fact(out, text, "refused");
    snprintf(text, sizeof text, "%zu", s->counts[CP_LOAD_FAILED]);
    cp_page_fact(out, text, "failed");
    cp_page_close_facts(out);
}

static void put_footer(const cp_load_report *r, cp_strbuf *out) {
    const cp_load_plan *p = r->plan;
    cp_strbuf loop;
    cp_strbuf_init(&loop, 256);
    cp_load_describe(p, &loop);
    cp_page_open_footer(out);
    cp_page_escaped(out, "<p>", cp_strbuf_text(&loop), "");
    cp_strbuf_printf(out,
                     ", seed %llu; %.1f s measured after %.1f s of warm-up; %zu different "
                     "requests in turn; a request is given up after %g s. ",
                     (unsigned long long)p->seed, r->result->measured_s, p->warmup_s,
                     p->requests->n, p->timeout_s);
    cp_strbuf_puts(out, p->open
                            ? "Every time counts from the moment the request was due, so waiting "
                              "behind a stalled server counts, too. "
                            : "Each client waits for its answer before it asks again, so a slow "
                              "server is asked less often. ");
    cp_strbuf_printf(out,
                     "At most %zu requests were under way; %zu waited for a place. The first "
                     "token is the first content event of a stream, or the whole answer.</p>\n",
                     r->result->max_in_flight, r->result->n_waited);
    if (p->check)
        cp_strbuf_printf(out,
                         "<p>%zu answers were compared with those to the same requests alone: "
                         "%zu differ from them, %zu from the first under load.</p>\n",
                         r->result->n_compared, r->result->n_unlike_single,
                         r->result->n_unlike_first);
    if (p->slow.n)
        cp_strbuf_printf(out,
                         "<p>Beside it %zu slow clients: %zu connections, %zu "
                         "closed by the server, %zu refused.</p>\n",
                         p->slow.n, r->result->slow_opened, r->result->slow_closed,
                         r->result->slow_refused);
    cp_page_escaped(out, "<p>Load from: ", r->cpu, ", CarePath " CP_VERSION "</p>\n");
    cp_page_close_footer(out, r->command);
    cp_strbuf_deinit(&loop);
}

void cp_load_write_html(const cp_load_report *r, cp_strbuf *out) {
    cp_page_open(out, "CarePath: a server under load", r->stamp, r->note);
    put_facts(r, out);
    cp_strbuf_puts(out, "<div class=\"grid\">\n");
    chart_latency(r->summary, out);
    chart_distribution(r, out);
    chart_rates(r->summary, out);
    chart_process(r, out);
    cp_strbuf_puts(out, "</div>\n");
    table_times(r->summary, out);
    table_counts(r, out);
    table_process(r, out);
    put_footer(r, out);
    cp_page_close(out);
}
