/* A retrieval report as a table, as JSON and as one HTML file. */
#include "bench/retrieval_report.h"

#include "base/mem.h"
#include "bench/report_page.h"
#include "bench/svg_chart.h"

#include <stdio.h>
#include <string.h>

/* ---- table --------------------------------------------------------------------------------- */

static void put_mode(const cp_retrieval_report *r, cp_retrieval_mode mode, cp_strbuf *out) {
    const cp_retrieval_result *m = &r->modes[mode];
    for (unsigned group = 0; group < CP_N_GROUPS; group++) {
        const cp_retrieval_measures *g = &m->groups[group];
        cp_strbuf_printf(out, "%-10s %-11s %9zu %9.3f %9.3f %10.3f %8.3f\n",
                         group == 0 ? cp_retrieval_mode_name(mode) : "",
                         cp_retrieval_group_name(group), g->n, g->recall_1, g->recall_5,
                         g->recall_10, g->ndcg_10);
    }
}

static void put_times(const cp_retrieval_report *r, cp_strbuf *out) {
    cp_strbuf_printf(out, "\n%-10s %9s %9s %18s %10s\n", "mode", "p50 ms", "p99 ms",
                     "foreign documents", "never list");
    for (cp_retrieval_mode mode = 0; mode < CP_N_RETRIEVAL_MODES; mode++)
        if (r->modes[mode].measured)
            cp_strbuf_printf(out, "%-10s %9.3f %9.3f %18zu %10zu\n", cp_retrieval_mode_name(mode),
                             r->modes[mode].ms_p50, r->modes[mode].ms_p99, r->modes[mode].n_foreign,
                             r->modes[mode].n_never);
}

static void put_scales(const cp_retrieval_report *r, cp_strbuf *out) {
    if (r->n_scales == 0)
        return;
    cp_strbuf_printf(out, "\n%9s %9s %10s %16s %16s %13s %13s\n", "chunks", "patients", "index MiB",
                     "one patient p50", "one patient p99", "everybody p50", "everybody p99");
    for (size_t i = 0; i < r->n_scales; i++) {
        const cp_scale_row *s = &r->scales[i];
        cp_strbuf_printf(out, "%9zu %9zu %10.1f %13.3f ms %13.3f ms %10.3f ms %10.3f ms\n",
                         s->n_chunks, s->n_patients, (double)s->index_bytes / (1 << 20),
                         s->patient_ms_p50, s->patient_ms_p99, s->all_ms_p50, s->all_ms_p99);
    }
}

void cp_retrieval_write_table(const cp_retrieval_report *r, cp_strbuf *out) {
    cp_strbuf_printf(out,
                     "%zu questions, %zu patients, %zu documents of the knowledge base; index of "
                     "%zu documents, %zu chunks\nembedding model: %s\nreranking model: %s\n\n",
                     r->n_questions, r->n_patients, r->n_knowledge, r->n_documents, r->n_chunks,
                     *r->embedder ? r->embedder : "none", *r->reranker ? r->reranker : "none");
    cp_strbuf_printf(out, "%-10s %-11s %9s %9s %9s %10s %8s\n", "mode", "questions", "n",
                     "recall@1", "recall@5", "recall@10", "nDCG@10");
    for (cp_retrieval_mode mode = 0; mode < CP_N_RETRIEVAL_MODES; mode++)
        if (r->modes[mode].measured)
            put_mode(r, mode, out);
    put_times(r, out);
    put_scales(r, out);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void put_measures(const cp_retrieval_measures *m, cp_json_writer *w) {
    cp_json_open_object(w);
    cp_json_member_int(w, "questions", (int64_t)m->n);
    cp_json_member_number(w, "recall_at_1", m->recall_1, 6);
    cp_json_member_number(w, "recall_at_5", m->recall_5, 6);
    cp_json_member_number(w, "recall_at_10", m->recall_10, 6);
    cp_json_member_number(w, "ndcg_at_10", m->ndcg_10, 6);
    cp_json_close_object(w);
}

static void put_result(const cp_retrieval_result *r, cp_json_writer *w) {
    cp_json_open_object(w);
    for (unsigned group = 0; group < CP_N_GROUPS; group++) {
        cp_json_key(w, cp_retrieval_group_name(group));
        put_measures(&r->groups[group], w);
    }
    cp_json_member_int(w, "foreign_documents", (int64_t)r->n_foreign);
    cp_json_member_int(w, "never_documents", (int64_t)r->n_never);
    cp_json_member_number(w, "p50_ms", r->ms_p50, 6);
    cp_json_member_number(w, "p99_ms", r->ms_p99, 6);
    cp_json_close_object(w);
}

static void put_scale(const cp_scale_row *s, cp_json_writer *w) {
    cp_json_open_object(w);
    cp_json_member_int(w, "chunks", (int64_t)s->n_chunks);
    cp_json_member_int(w, "patients", (int64_t)s->n_patients);
    cp_json_member_int(w, "index_bytes", (int64_t)s->index_bytes);
    cp_json_member_number(w, "patient_p50_ms", s->patient_ms_p50, 6);
    cp_json_member_number(w, "patient_p99_ms", s->patient_ms_p99, 6);
    cp_json_member_number(w, "everybody_p50_ms", s->all_ms_p50, 6);
    cp_json_member_number(w, "everybody_p99_ms", s->all_ms_p99, 6);
    cp_json_close_object(w);
}

void cp_retrieval_write_json(const cp_retrieval_report *r, cp_json_writer *w) {
    cp_json_open_object(w);
    cp_json_member_text(w, "version", CP_VERSION);
    cp_json_member_text(w, "time", r->stamp);
    cp_json_member_text(w, "cpu", r->cpu);
    cp_json_member_text(w, "command", r->command);
    cp_json_member_text(w, "note", r->note);
    cp_json_member_int(w, "patients", (int64_t)r->n_patients);
    cp_json_member_int(w, "knowledge_documents", (int64_t)r->n_knowledge);
    cp_json_member_int(w, "documents", (int64_t)r->n_documents);
    cp_json_member_int(w, "chunks", (int64_t)r->n_chunks);
    cp_json_member_text(w, "embedding_model", *r->embedder ? r->embedder : NULL);
    cp_json_member_text(w, "reranker_model", *r->reranker ? r->reranker : NULL);
    cp_json_key(w, "modes");
    cp_json_open_object(w);
    for (cp_retrieval_mode mode = 0; mode < CP_N_RETRIEVAL_MODES; mode++)
        if (r->modes[mode].measured) {
            cp_json_key(w, cp_retrieval_mode_name(mode));
            put_result(&r->modes[mode], w);
        }
    cp_json_close_object(w);
    cp_json_key(w, "scales");
    cp_json_open_array(w);
    for (size_t i = 0; i < r->n_scales; i++)
        put_scale(&r->scales[i], w);
    cp_json_close_array(w);
    cp_json_close_object(w);
}

/* ---- HTML ---------------------------------------------------------------------------------- */

static void chart_recall(const cp_retrieval_report *r, cp_strbuf *out) {
    cp_chart_bar bars[CP_N_RETRIEVAL_MODES * CP_N_GROUPS];
    size_t n = 0;
    for (unsigned group = 0; group < CP_N_GROUPS; group++)
        for (cp_retrieval_mode mode = 0; mode < CP_N_RETRIEVAL_MODES; mode++) {
            const double value = r->modes[mode].groups[group].recall_5;
            if (r->modes[mode].measured)
                bars[n++] = (cp_chart_bar){.group = cp_retrieval_group_name(group),
                                           .label = cp_retrieval_mode_name(mode),
                                           .series = mode,
                                           .value = {value, value, value}};
        }
    cp_page_open_card(out, "Recall at 5",
                      "Share of the documents that answer a question among the first five "
                      "passages. \"held\" was not tuned on.");
    cp_svg_bars(out, "Recall at 5 by mode and questions", "share", bars, n);
    cp_page_close_card(out);
}

static void chart_scales(const cp_retrieval_report *r, cp_strbuf *out) {
    cp_chart_line lines[2] = {{.label = "one patient, p50", .series = 0},
                              {.label = "everybody, p50", .series = 1}};
    double ticks[CP_MAX_SCALES];
    for (size_t i = 0; i < r->n_scales; i++) {
        const cp_scale_row *s = &r->scales[i];
        ticks[i] = (double)s->n_chunks;
        lines[0].x[i] = lines[1].x[i] = ticks[i];
        lines[0].y[i] = (cp_spread){s->patient_ms_p50, s->patient_ms_p50, s->patient_ms_p99};
        lines[1].y[i] = (cp_spread){s->all_ms_p50, s->all_ms_p50, s->all_ms_p99};
    }
    lines[0].n = lines[1].n = r->n_scales;
    if (r->n_scales < 2)
        return;
    cp_page_open_card(out, "Latency against size",
                      "Copies of the set's patients; whiskers reach up to p99.");
    cp_svg_lines(out, "Latency of the lexical search against size", "chunks in the index",
                 "milliseconds", ticks, r->n_scales, true, lines, 2);
    cp_page_close_card(out);
}

static void table_quality(const cp_retrieval_report *r, cp_strbuf *out) {
    static const char *const heads[] = {"mode",     "questions", "n",      "recall@1",
                                        "recall@5", "recall@10", "nDCG@10"};
    cp_page_open_table(out, "Quality", heads, CP_COUNT_OF(heads));
    for (cp_retrieval_mode mode = 0; mode < CP_N_RETRIEVAL_MODES; mode++)
        for (unsigned group = 0; group < CP_N_GROUPS && r->modes[mode].measured; group++) {
            const cp_retrieval_measures *m = &r->modes[mode].groups[group];
            cp_strbuf_printf(out,
                             "<tr><td>%s</td><td>%s</td><td>%zu</td><td>%.3f</td><td>%.3f</td>"
                             "<td>%.3f</td><td>%.3f</td></tr>\n",
                             cp_retrieval_mode_name(mode), cp_retrieval_group_name(group), m->n,
                             m->recall_1, m->recall_5, m->recall_10, m->ndcg_10);
        }
    cp_page_close_table(out);
}

static void table_times(const cp_retrieval_report *r, cp_strbuf *out) {
    static const char *const heads[] = {"mode", "p50 ms", "p99 ms", "foreign documents",
                                        "on a never list"};
    cp_page_open_table(out, "Latency and faults", heads, CP_COUNT_OF(heads));
    for (cp_retrieval_mode mode = 0; mode < CP_N_RETRIEVAL_MODES; mode++) {
        const cp_retrieval_result *m = &r->modes[mode];
        if (m->measured)
            cp_strbuf_printf(out,
                             "<tr><td>%s</td><td>%.3f</td><td>%.3f</td><td>%zu</td>"
                             "<td>%zu</td></tr>\n",
                             cp_retrieval_mode_name(mode), m->ms_p50, m->ms_p99, m->n_foreign,
                             m->n_never);
    }
    cp_page_close_table(out);
}

static void table_scales(const cp_retrieval_report *r, cp_strbuf *out) {
    static const char *const heads[] = {"chunks", "patients",      "index MiB", "one patient p50",
                                        "p99",    "everybody p50", "p99"};
    if (r->n_scales == 0)
        return;
    cp_page_open_table(out, "Latency by size, milliseconds", heads, CP_COUNT_OF(heads));
    for (size_t i = 0; i < r->n_scales; i++) {
        const cp_scale_row *s = &r->scales[i];
        cp_strbuf_printf(out,
                         "<tr><td>%zu</td><td>%zu</td><td>%.1f</td><td>%.3f</td><td>%.3f</td>"
                         "<td>%.3f</td><td>%.3f</td></tr>\n",
                         s->n_chunks, s->n_patients, (double)s->index_bytes / (1 << 20),
                         s->patient_ms_p50, s->patient_ms_p99, s->all_ms_p50, s->all_ms_p99);
    }
    cp_page_close_table(out);
}

static void put_facts(const cp_retrieval_report *r, cp_strbuf *out) {
    char text[64];
    cp_page_open_facts(out);
    cp_page_fact(out, r->cpu, "processor");
    snprintf(text, sizeof text, "%zu", r->n_questions);
    cp_page_fact(out, text, "questions");
    snprintf(text, sizeof text, "%zu", r->n_chunks);
    cp_page_fact(out, text, "chunks");
    cp_page_fact(out, *r->embedder ? r->embedder : "none", "embedding model");
    cp_page_fact(out, *r->reranker ? r->reranker : "none", "reranking model");
    cp_page_fact(out, CP_VERSION, "CarePath version");
    cp_page_close_facts(out);
}

void cp_retrieval_write_html(const cp_retrieval_report *r, cp_strbuf *out) {
    cp_page_open(out, "CarePath: finding what answers", r->stamp, r->note);
    put_facts(r, out);
    cp_strbuf_puts(out, "<div class=\"grid\">\n");
    chart_recall(r, out);
    chart_scales(r, out);
    cp_strbuf_puts(out, "</div>\n");
    table_quality(r, out);
    table_times(r, out);
    table_scales(r, out);
    cp_page_open_footer(out);
    cp_strbuf_puts(out,
                   "<p>Recall counts documents of grade 2, nDCG both grades with gains 3 and 1; a "
                   "document's second passage takes a place and gains nothing. Records are "
                   "synthetic and questions were written by the engineers who wrote the documents. "
                   "Times are those of a whole retrieval without the models.</p>\n");
    cp_page_close_footer(out, r->command);
    cp_page_close(out);
}
