/* A speed report as one HTML file: charts, then a table with every number, then how it was taken.
 */
#include "bench/speed_report.h"

#include "base/mem.h"
#include "bench/report_page.h"
#include "bench/svg_chart.h"

#include <stdio.h>
#include <string.h>

#define LABEL_CAP 320

/* "qwen3-0.6b-int8", or "qwen3-0.6b (int8)" where the folder's name does not say the level. */
static const char *model_label(const cp_speed_result *m, char out[LABEL_CAP]) {
    bool says = strstr(m->model, m->quant) != NULL;
    snprintf(out, LABEL_CAP, says ? "%s" : "%s (%s)", m->model, m->quant);
    return out;
}

static double mib(size_t bytes) {
    return (double)bytes / (1 << 20);
}

static const cp_decode_row *decode_row(const cp_speed_result *m, size_t depth, size_t batch) {
    for (size_t i = 0; i < m->n_decode; i++)
        if (m->decode[i].depth == depth && m->decode[i].batch == batch &&
            !m->decode[i].missing_bytes)
            return &m->decode[i];
    return NULL;
}

/* ---- charts ---------------------------------------------------------------------------------- */

/* The texts that bars borrow, for one chart. */
typedef struct bar_list {
    cp_chart_bar bars[CP_LIST_MAX * CP_LIST_MAX];
    char labels[CP_LIST_MAX][LABEL_CAP];
    char groups[CP_LIST_MAX][48], remarks[CP_LIST_MAX * CP_LIST_MAX][48];
    size_t n;
} bar_list;

static cp_chart_bar *add_bar(bar_list *list, const cp_speed_report *r, size_t model,
                             cp_spread value) {
    cp_chart_bar *bar = &list->bars[list->n++];
    *bar = (cp_chart_bar){.label = model_label(&r->models[model], list->labels[model]),
                          .series = model,
                          .value = value};
    return bar;
}

static cp_spread single(double value) {
    return (cp_spread){value, value, value};
}

static void chart_prefill(const cp_speed_report *r, cp_strbuf *out, bar_list *list) {
    list->n = 0;
    for (size_t p = 0; p < r->plan->prompts.n; p++) {
        snprintf(list->groups[p], sizeof list->groups[p], "%zu tokens", r->plan->prompts.values[p]);
        for (size_t i = 0; i < r->n; i++) {
            const cp_prefill_row *row = &r->models[i].prefill[p];
            add_bar(list, r, i, row->tok_s)->group = list->groups[p];
        }
    }
    cp_page_open_card(out, "Prefill", "Reading a prompt. Bound by arithmetic; more is better.");
    cp_svg_bars(out, "Prefill rate by model", "tokens/s", list->bars, list->n);
    cp_page_close_card(out);
}

static void chart_decode(const cp_speed_report *r, cp_strbuf *out, bar_list *list) {
    size_t depth = r->plan->depths.values[0], batch = r->plan->batches.values[0];
    char remark[200];
    list->n = 0;
    for (size_t i = 0; i < r->n; i++) {
        const cp_decode_row *row = decode_row(&r->models[i], depth, batch);
        if (!row)
            continue;
        cp_chart_bar *bar = add_bar(list, r, i, row->tok_s);
        snprintf(list->remarks[i], sizeof list->remarks[i], "%.0f%%",
                 100 * row->share_of_bandwidth);
        bar->remark = list->remarks[i];
        bar->limit = row->share_of_bandwidth > 0 ? row->tok_s.median / row->share_of_bandwidth : 0;
    }
    if (list->n == 0)
        return;
    snprintf(remark, sizeof remark,
             "%zu sequence%s at depth %zu. The dashed mark is what the memory bandwidth probed "
             "beside it allows, the percentage is the share reached.",
             batch, batch == 1 ? "" : "s", depth);
    cp_page_open_card(out, "Decode", remark);
    cp_svg_bars(out, "Decode rate by model", "tokens/s", list->bars, list->n);
    cp_page_close_card(out);
}

/* Lines of decode rates: over depth at the smallest batch, or over batch at the smallest depth. */
static void chart_decode_lines(const cp_speed_report *r, cp_strbuf *out, bool over_depth) {
    const cp_number_list *list = over_depth ? &r->plan->depths : &r->plan->batches;
    static const char total[] = "tokens/s, all sequences";
    cp_chart_line lines[CP_LIST_MAX];
    char labels[CP_LIST_MAX][LABEL_CAP], remark[200];
    double ticks[CP_LIST_MAX];
    size_t other = over_depth ? r->plan->batches.values[0] : r->plan->depths.values[0];
    if (list->n < 2)
        return;
    for (size_t k = 0; k < list->n; k++)
        ticks[k] = (double)list->values[k];
    for (size_t i = 0; i < r->n; i++) {
        lines[i] =
            (cp_chart_line){.label = model_label(&r->models[i], labels[i]), .series = i, .n = 0};
        for (size_t k = 0; k < list->n; k++) {
            const cp_decode_row *row = over_depth
                                           ? decode_row(&r->models[i], list->values[k], other)
                                           : decode_row(&r->models[i], other, list->values[k]);
            if (!row)
                continue;
            lines[i].x[lines[i].n] = ticks[k];
            lines[i].y[lines[i].n++] = row->tok_s;
        }
    }
    if (over_depth)
        snprintf(remark, sizeof remark,
                 "Every token reads all keys and values before it; %zu sequence%s.", other,
                 other == 1 ? "" : "s");
    else
        snprintf(remark, sizeof remark,
                 "Weights are read once for all sequences of a step; depth %zu.", other);
    cp_page_open_card(out, over_depth ? "Decode against depth" : "Decode against batch", remark);
    cp_svg_lines(out, over_depth ? "Decode rate against depth" : "Decode rate against batch",
                 over_depth ? "tokens already in the sequence" : "sequences decoded together",
                 over_depth ? "tokens/s" : total, ticks, list->n, !over_depth, lines, r->n);
    cp_page_close_card(out);
}

static void chart_memory(const cp_speed_report *r, cp_strbuf *out, bar_list *list) {
    list->n = 0;
    for (size_t i = 0; i < r->n; i++) {
        const cp_speed_result *m = &r->models[i];
        cp_chart_bar *bar = add_bar(list, r, i, single(mib(m->rss_bytes)));
        bar->limit = mib(m->weight_bytes + m->session_bytes);
    }
    cp_page_open_card(
        out, "Peak memory",
        "Largest resident set of a fresh process with one sequence of prompt and generation. "
        "The dashed mark is weights plus KV cache; less is better.");
    cp_svg_bars(out, "Peak memory by model", "MiB", list->bars, list->n);
    cp_page_close_card(out);
}

static void chart_first_token(const cp_speed_report *r, cp_strbuf *out, bar_list *list) {
    list->n = 0;
    for (int cold = 1; cold >= 0; cold--)
        for (size_t i = 0; i < r->n; i++) {
            const cp_speed_result *m = &r->models[i];
            double s = cold ? m->first_token_cold_s : m->first_token_warm_s;
            add_bar(list, r, i, single(1e3 * s))->group =
                cold ? "cold: from starting the process" : "warm: model open";
        }
    cp_page_open_card(
        out, "First token",
        "Time to the first token after an 8-token prompt; files in the page cache. Less is "
        "better.");
    cp_svg_bars(out, "Time to first token by model", "milliseconds", list->bars, list->n);
    cp_page_close_card(out);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void put_first_cell(cp_strbuf *out, const cp_speed_result *m) {
    char label[LABEL_CAP];
    cp_page_escaped(out, "<tr><td>", model_label(m, label), "</td>");
}

static void put_spread_cells(cp_strbuf *out, const cp_spread *s) {
    cp_strbuf_printf(out, "<td>%.2f</td><td>%.2f</td><td>%.2f</td>", s->median, s->min, s->max);
}

static void table_models(const cp_speed_report *r, cp_strbuf *out) {
    static const char *const heads[] = {"model",  "weights",  "KV",        "kernels",
                                        "load s", "cold s",   "warm s",    "weights MiB",
                                        "KV MiB", "peak MiB", "KiB/token", "read GB/s"};
    cp_page_open_table(out, "Models", heads, CP_COUNT_OF(heads));
    for (size_t i = 0; i < r->n; i++) {
        const cp_speed_result *m = &r->models[i];
        cp_page_escaped(out, "<tr><td>", m->model, "</td>");
        cp_strbuf_printf(out, "<td>%s</td><td>%s</td><td>%s</td>", m->quant, m->kv, m->isa);
        cp_strbuf_printf(out, "<td>%.3f</td><td>%.3f</td><td>%.3f</td>", m->load_s,
                         m->first_token_cold_s, m->first_token_warm_s);
        cp_strbuf_printf(out, "<td>%.1f</td><td>%.1f</td><td>%.1f</td><td>%.1f</td>",
                         mib(m->weight_bytes), mib(m->session_bytes), mib(m->rss_bytes),
                         (double)m->kv_bytes_per_token / 1024);
        cp_strbuf_printf(out, "<td>%.1f</td></tr>\n", m->read_gb_s);
    }
    cp_page_close_table(out);
}

static void table_prefill(const cp_speed_report *r, cp_strbuf *out) {
    static const char *const heads[] = {"prefill", "tokens", "tokens/s",     "min",
                                        "max",     "GOP/s",  "share of peak"};
    cp_page_open_table(out, "Prefill, all numbers", heads, CP_COUNT_OF(heads));
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < r->models[i].n_prefill; k++) {
            const cp_prefill_row *row = &r->models[i].prefill[k];
            put_first_cell(out, &r->models[i]);
            cp_strbuf_printf(out, "<td>%zu</td>", row->n);
            put_spread_cells(out, &row->tok_s);
            cp_strbuf_printf(out, "<td>%.0f</td><td>%.1f%%</td></tr>\n", row->gop_s,
                             100 * row->share_of_peak);
        }
    cp_page_close_table(out);
}

static void table_decode(const cp_speed_report *r, cp_strbuf *out) {
    static const char *const heads[] = {"decode",
                                        "depth",
                                        "batch",
                                        "tokens/s",
                                        "min",
                                        "max",
                                        "MB/token",
                                        "MB in pages",
                                        "bandwidth GB/s",
                                        "share",
                                        "of a plain read of the file"};
    cp_page_open_table(out, "Decode, all numbers", heads, CP_COUNT_OF(heads));
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < r->models[i].n_decode; k++) {
            const cp_decode_row *row = &r->models[i].decode[k];
            put_first_cell(out, &r->models[i]);
            cp_strbuf_printf(out, "<td>%zu</td><td>%zu</td>", row->depth, row->batch);
            if (row->missing_bytes) {
                cp_strbuf_printf(out,
                                 "<td colspan=\"8\">not measured: %.0f MiB lacking</td></tr>\n",
                                 mib(row->missing_bytes));
                continue;
            }
            put_spread_cells(out, &row->tok_s);
            cp_strbuf_printf(out, "<td>%.1f</td><td>%.1f</td><td>%.1f</td><td>%.1f%%</td>",
                             row->bytes_per_token / 1e6, row->physical_bytes_per_token / 1e6,
                             row->read_gb_s, 100 * row->share_of_bandwidth);
            if (row->share_of_plain_read > 0)
                cp_strbuf_printf(out, "<td>%.1f%%</td></tr>\n", 100 * row->share_of_plain_read);
            else
                cp_strbuf_puts(out, "<td></td></tr>\n");
        }
    cp_page_close_table(out);
}

/* ---- the page -------------------------------------------------------------------------------- */

static void put_facts(const cp_speed_report *r, cp_strbuf *out) {
    double reads[CP_LIST_MAX];
    char text[64];
    for (size_t i = 0; i < r->n; i++)
        reads[i] = r->models[i].read_gb_s;
    cp_page_open_facts(out);
    cp_page_fact(out, r->cpu, "processor");
    snprintf(text, sizeof text, "%zu", r->plan->n_threads);
    cp_page_fact(out, text, "threads");
    snprintf(text, sizeof text, "%.1f GiB", mib(r->memory_bytes) / 1024);
    cp_page_fact(out, text, "memory");
    snprintf(text, sizeof text, "%.1f GB/s", cp_stats_spread(reads, r->n).median);
    cp_page_fact(out, text, "read bandwidth, median");
    cp_page_fact(out, r->models[0].isa, "kernels");
    cp_page_fact(out, CP_VERSION, "CarePath version");
    cp_page_close_facts(out);
}

static void put_footer(const cp_speed_report *r, cp_strbuf *out) {
    cp_page_open_footer(out);
    cp_strbuf_printf(
        out,
        "<p>Rates are medians of %zu runs of %zu decoded tokens, whiskers and ranges "
        "are the least and the most. Tokens are random (seed %llu) and nothing is "
        "sampled. Beside every decode run the memory is read in sequential streams "
        "over a buffer of %.0f MiB; bytes a token are the weights that a step reads, "
        "divided by the batch, plus the keys and values of its sequence. A share above "
        "100%% means that caches held part of it. Peak of arithmetic is a loop of "
        "multiply-adds alone, in the kernels' instruction set; a multiply-add is two "
        "operations, attention is not counted.</p>\n",
        r->plan->repeat, r->plan->gen, (unsigned long long)r->plan->seed, mib(r->probe_bytes));
    cp_page_close_footer(out, r->command);
}

void cp_speed_write_html(const cp_speed_report *r, cp_strbuf *out) {
    bar_list list;
    cp_page_open(out, "CarePath: speed of models on this machine", r->stamp, r->note);
    put_facts(r, out);
    cp_strbuf_puts(out, "<div class=\"grid\">\n");
    chart_prefill(r, out, &list);
    chart_decode(r, out, &list);
    chart_decode_lines(r, out, true);
    chart_decode_lines(r, out, false);
    chart_memory(r, out, &list);
    chart_first_token(r, out, &list);
    cp_strbuf_puts(out, "</div>\n");
    table_models(r, out);
    table_prefill(r, out);
    table_decode(r, out);
    put_footer(r, out);
    cp_page_close(out);
}
