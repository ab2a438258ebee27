#include "server/eval_report.h"

#include "base/html.h"
#include "base/json_writer.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static const char *const set_names[] = {"train", "held", "all"};
static const char *const lane_names[] = {"rules", "rules + model"};

static int n_lanes(const cp_eval_result *r) {
    return r->model ? CP_N_EVAL_LANES : 1;
}

static cp_variant_score sum_variants(const cp_eval_result *r) {
    cp_variant_score sum = {0};
    for (int k = 0; k < CP_N_VARIANT_KINDS; k++) {
        sum.n += r->variants[k].n;
        sum.lowered += r->variants[k].lowered;
        sum.raised += r->variants[k].raised;
        sum.emergencies_under += r->variants[k].emergencies_under;
    }
    return sum;
}

bool cp_eval_passes(const cp_eval_result *r) {
    cp_variant_score variants = sum_variants(r);
    return r->scores[CP_LANE_RULES][CP_EVAL_ALL].emergencies_under == 0 && variants.lowered == 0 &&
           variants.emergencies_under == 0;
}

/* The shares of one score that every form shows, in order. */
typedef struct measure {
    const char *key, *name;
    size_t k, n;
} measure;
#define N_MEASURES 6

static void measures_of(const cp_eval_score *s, measure out[N_MEASURES]) {
    out[0] = (measure){"accuracy", "accuracy", s->right, s->n};
    out[1] = (measure){"under_triage", "under-triage", s->under, s->n};
    out[2] = (measure){"over_triage", "over-triage", s->over, s->n};
    out[3] = (measure){"emergency_under_triage", "emergencies under-triaged", s->emergencies_under,
                       s->emergencies};
    out[4] = (measure){"red_flags_found", "expected rules that fired", s->flags_found, s->flags};
    out[5] = (measure){"unmatched", "nobody had an opinion", s->unmatched, s->n};
}

/* ---- the table -------------------------------------------------------------------------- */

static void put_share(cp_strbuf *out, cp_share share) {
    if (share.n == 0)
        cp_strbuf_puts(out, "-");
    else
        cp_strbuf_printf(out, "%5.1f%% (%zu/%zu, 95%% %.1f to %.1f)", 100 * share.value, share.k,
                         share.n, 100 * share.low, 100 * share.high);
}

static void put_row(cp_strbuf *out, const char *name, cp_share share) {
    cp_strbuf_printf(out, "  %-28s ", name);
    put_share(out, share);
    cp_strbuf_putc(out, '\n');
}

static void table_of_score(const cp_eval_score *s, const char *lane, const char *set,
                           cp_strbuf *out) {
    measure measures[N_MEASURES];
    cp_strbuf_printf(out, "%s, %s: %zu vignettes, %zu of them emergencies\n", lane, set, s->n,
                     s->emergencies);
    measures_of(s, measures);
    for (int i = 0; i < N_MEASURES; i++)
        put_row(out, measures[i].name, cp_share_of(measures[i].k, measures[i].n));
    for (int level = 1; level <= CP_ACUITY_LEAST_URGENT; level++) {
        char name[40];
        size_t n = cp_eval_score_n_level(s, level);
        snprintf(name, sizeof name, "recall of level %d", level);
        put_row(out, name, cp_share_of(s->confusion[level][level], n));
        snprintf(name, sizeof name, "  accepted at level %d", level);
        put_row(out, name, cp_share_of(s->accepted[level], n));
    }
    cp_strbuf_puts(out, "  best level \\ given     1    2    3    4    5\n");
    for (int level = 1; level <= CP_ACUITY_LEAST_URGENT; level++) {
        cp_strbuf_printf(out, "  %d                  ", level);
        for (int given = 1; given <= CP_ACUITY_LEAST_URGENT; given++)
            cp_strbuf_printf(out, " %4zu", s->confusion[level][given]);
        cp_strbuf_putc(out, '\n');
    }
    cp_strbuf_putc(out, '\n');
}

static void table_of_variants(const cp_eval_result *r, cp_strbuf *out) {
    cp_variant_score sum = sum_variants(r);
    cp_strbuf_printf(out, "variants, rules alone (seed %llu)\n  %-16s %7s %8s %7s %22s\n",
                     (unsigned long long)r->seed, "kind", "number", "lowered", "raised",
                     "emergencies lowered");
    for (int k = 0; k < CP_N_VARIANT_KINDS; k++)
        cp_strbuf_printf(out, "  %-16s %7zu %8zu %7zu %22zu\n",
                         cp_variant_kind_name((cp_variant_kind)k), r->variants[k].n,
                         r->variants[k].lowered, r->variants[k].raised,
                         r->variants[k].emergencies_under);
    cp_strbuf_printf(out, "  %-16s %7zu %8zu %7zu %22zu\n\n", "all", sum.n, sum.lowered, sum.raised,
                     sum.emergencies_under);
}

static void table_of_faults(const cp_eval_result *r, cp_strbuf *out) {
    for (size_t i = 0; i < r->n_faults; i++) {
        const cp_eval_fault *f = &r->faults[i];
        cp_strbuf_printf(out, "  %s: %s %s", lane_names[f->lane], f->id, f->what);
        if (f->given > 0)
            cp_strbuf_printf(out, ", expected %d, given %d", f->expected, f->given);
        if (f->number > 0)
            cp_strbuf_printf(out, " (variant %llu)", (unsigned long long)f->number);
        cp_strbuf_putc(out, '\n');
    }
    if (r->n_faults > 0)
        cp_strbuf_putc(out, '\n');
}

void cp_eval_append_table(const cp_eval_result *r, cp_strbuf *out) {
    cp_strbuf_printf(out, "%zu rules; where nobody has an opinion the level counts as %d\n",
                     r->n_rules, r->unmatched_level);
    if (r->model)
        cp_strbuf_printf(out, "model %s, %zu answers without a level\n", r->model, r->n_unreadable);
    cp_strbuf_putc(out, '\n');
    for (int lane = 0; lane < n_lanes(r); lane++)
        for (int set = 0; set < CP_N_EVAL_SETS; set++)
            if (r->scores[lane][set].n > 0)
                table_of_score(&r->scores[lane][set], lane_names[lane], set_names[set], out);
    table_of_variants(r, out);
    table_of_faults(r, out);
    cp_strbuf_printf(out, "rules lane: %zu readings, mean %.1f us, p99 %.1f us, slowest %.1f us\n",
                     r->n_checks, r->mean_us, r->p99_us, r->max_us);
    cp_strbuf_puts(out, cp_eval_passes(r)
                            ? "PASS: no emergency under-triaged, nothing lowered by a variant\n"
                            : "FAIL: an emergency under-triaged, or a variant lowered\n");
}

/* ---- JSON ------------------------------------------------------------------------------- */

static void json_share(cp_json_writer *w, const char *key, cp_share share) {
    cp_json_key(w, key);
    cp_json_open_object(w);
    cp_json_member_int(w, "count", (int64_t)share.k);
    cp_json_member_int(w, "of", (int64_t)share.n);
    cp_json_member_number(w, "share", share.value, 6);
    cp_json_member_number(w, "low", share.low, 6);
    cp_json_member_number(w, "high", share.high, 6);
    cp_json_close_object(w);
}

static void json_score(cp_json_writer *w, const cp_eval_score *s) {
    measure measures[N_MEASURES];
    measures_of(s, measures);
    cp_json_open_object(w);
    cp_json_member_int(w, "vignettes", (int64_t)s->n);
    cp_json_member_int(w, "emergencies", (int64_t)s->emergencies);
    for (int i = 0; i < N_MEASURES; i++)
        json_share(w, measures[i].key, cp_share_of(measures[i].k, measures[i].n));
    cp_json_key(w, "levels");
    cp_json_open_array(w);
    for (int level = 1; level <= CP_ACUITY_LEAST_URGENT; level++) {
        size_t n = cp_eval_score_n_level(s, level);
        cp_json_open_object(w);
        cp_json_member_int(w, "level", level);
        json_share(w, "recall", cp_share_of(s->confusion[level][level], n));
        json_share(w, "accepted", cp_share_of(s->accepted[level], n));
        cp_json_key(w, "given");
        cp_json_open_array(w);
        for (int given = 1; given <= CP_ACUITY_LEAST_URGENT; given++)
            cp_json_put_int(w, (int64_t)s->confusion[level][given]);
        cp_json_close_array(w);
        cp_json_close_object(w);
    }
    cp_json_close_array(w);
    cp_json_close_object(w);
}

static void json_variants(cp_json_writer *w, const cp_eval_result *r) {
    cp_json_key(w, "variants");
    cp_json_open_object(w);
    for (int k = 0; k < CP_N_VARIANT_KINDS; k++) {
        cp_json_key(w, cp_variant_kind_name((cp_variant_kind)k));
        cp_json_open_object(w);
        cp_json_member_int(w, "number", (int64_t)r->variants[k].n);
        cp_json_member_int(w, "lowered", (int64_t)r->variants[k].lowered);
        cp_json_member_int(w, "raised", (int64_t)r->variants[k].raised);
        cp_json_member_int(w, "emergencies_under", (int64_t)r->variants[k].emergencies_under);
        cp_json_close_object(w);
    }
    cp_json_close_object(w);
}

static void json_faults(cp_json_writer *w, const cp_eval_result *r) {
    cp_json_key(w, "faults");
    cp_json_open_array(w);
    for (size_t i = 0; i < r->n_faults; i++) {
        const cp_eval_fault *f = &r->faults[i];
        cp_json_open_object(w);
        cp_json_member_text(w, "lane", lane_names[f->lane]);
        cp_json_member_text(w, "id", f->id);
        cp_json_member_text(w, "what", f->what);
        cp_json_member_int(w, "expected", f->expected);
        cp_json_member_int(w, "given", f->given);
        cp_json_member_int(w, "variant", (int64_t)f->number);
        cp_json_close_object(w);
    }
    cp_json_close_array(w);
}

void cp_eval_append_json(const cp_eval_result *r, cp_strbuf *out) {
    cp_json_writer w;
    cp_json_writer_init(&w, out);
    cp_json_open_object(&w);
    cp_json_member_bool(&w, "passes", cp_eval_passes(r));
    cp_json_member_int(&w, "rules", (int64_t)r->n_rules);
    cp_json_member_int(&w, "unmatched_acuity", r->unmatched_level);
    cp_json_member_text(&w, "model", r->model);
    cp_json_member_int(&w, "seed", (int64_t)r->seed);
    cp_json_key(&w, "lanes");
    cp_json_open_object(&w);
    for (int lane = 0; lane < n_lanes(r); lane++) {
        cp_json_key(&w, lane_names[lane]);
        cp_json_open_object(&w);
        for (int set = 0; set < CP_N_EVAL_SETS; set++)
            if (r->scores[lane][set].n > 0) {
                cp_json_key(&w, set_names[set]);
                json_score(&w, &r->scores[lane][set]);
            }
        cp_json_close_object(&w);
    }
    cp_json_close_object(&w);
    if (r->model)
        cp_json_member_int(&w, "answers_without_level", (int64_t)r->n_unreadable);
    json_variants(&w, r);
    json_faults(&w, r);
    cp_json_key(&w, "rules_us");
    cp_json_open_object(&w);
    cp_json_member_int(&w, "readings", (int64_t)r->n_checks);
    cp_json_member_number(&w, "mean", r->mean_us, 6);
    cp_json_member_number(&w, "p99", r->p99_us, 6);
    cp_json_member_number(&w, "max", r->max_us, 6);
    cp_json_close_object(&w);
    cp_json_close_object(&w);
    cp_strbuf_putc(out, '\n');
}

/* ---- the page --------------------------------------------------------------------------- */

#define CELL 44 /* pixels */

/* A square for each (best, given) pair: right ones green, less urgent ones red, more urgent ones
 * amber, darker where there are more. */
static void svg_confusion(const cp_eval_score *s, cp_strbuf *out) {
    cp_strbuf_printf(out,
                     "<svg viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" "
                     "aria-label=\"confusion matrix\"><text x=\"%d\" y=\"14\">given level</text>"
                     "<text x=\"2\" y=\"%d\">best</text>\n",
                     6 * CELL, 6 * CELL + 6, 6 * CELL, 6 * CELL + 6, 3 * CELL - 20, CELL - 6);
    for (int i = 1; i <= 5; i++) {
        size_t n = cp_eval_score_n_level(s, i);
        cp_strbuf_printf(out, "<text x=\"%d\" y=\"%d\">%d</text><text x=\"14\" y=\"%d\">%d</text>",
                         i * CELL + 18, CELL - 6, i, i * CELL + 28, i);
        for (int k = 1; k <= 5; k++) {
            const char *colour = i == k ? "#2e7d32" : k > i ? "#c62828" : "#ef9a00";
            double weight = n ? (double)s->confusion[i][k] / (double)n : 0;
            cp_strbuf_printf(out,
                             "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\" "
                             "fill-opacity=\"%.2f\" stroke=\"#ccc\"/><text x=\"%d\" y=\"%d\">%zu"
                             "</text>\n",
                             k * CELL, i * CELL, CELL, CELL, colour, 0.06 + 0.7 * weight,
                             k * CELL + 14, i * CELL + 28, s->confusion[i][k]);
        }
    }
    cp_strbuf_puts(out, "</svg>\n");
}

static void html_row(cp_strbuf *out, const char *name, cp_share share) {
    cp_strbuf_printf(out, "<tr><td>%s</td><td>", name);
    put_share(out, share);
    cp_strbuf_puts(out, "</td></tr>\n");
}

static void html_score(const cp_eval_score *s, const char *lane, const char *set, cp_strbuf *out) {
    measure measures[N_MEASURES];
    measures_of(s, measures);
    cp_strbuf_printf(out,
                     "<h2>%s, %s</h2><p>%zu vignettes, %zu of them emergencies.</p>"
                     "<div class=\"pair\"><table>\n",
                     lane, set, s->n, s->emergencies);
    for (int i = 0; i < N_MEASURES; i++)
        html_row(out, measures[i].name, cp_share_of(measures[i].k, measures[i].n));
    for (int level = 1; level <= CP_ACUITY_LEAST_URGENT; level++) {
        char name[40];
        snprintf(name, sizeof name, "recall of level %d", level);
        html_row(out, name,
                 cp_share_of(s->confusion[level][level], cp_eval_score_n_level(s, level)));
    }
    cp_strbuf_puts(out, "</table>\n");
    svg_confusion(s, out);
    cp_strbuf_puts(out, "</div>\n");
}

static void html_variants(const cp_eval_result *r, cp_strbuf *out) {
    cp_strbuf_printf(out,
                     "<h2>variants, rules alone</h2><p>Seed %llu.</p><table><tr><th>kind</th>"
                     "<th>number</th><th>lowered</th><th>raised</th></tr>\n",
                     (unsigned long long)r->seed);
    for (int k = 0; k < CP_N_VARIANT_KINDS; k++)
        cp_strbuf_printf(out, "<tr><td>%s</td><td>%zu</td><td>%zu</td><td>%zu</td></tr>\n",
                         cp_variant_kind_name((cp_variant_kind)k), r->variants[k].n,
                         r->variants[k].lowered, r->variants[k].raised);
    cp_strbuf_puts(out, "</table>\n");
}

static void html_faults(const cp_eval_result *r, cp_strbuf *out) {
    cp_strbuf_puts(out, "<h2>To look at</h2><table><tr><th>lane</th><th>vignette</th><th>what</th>"
                        "<th>expected</th><th>given</th></tr>\n");
    for (size_t i = 0; i < r->n_faults; i++) {
        const cp_eval_fault *f = &r->faults[i];
        cp_strbuf_printf(out, "<tr><td>%s</td><td>", lane_names[f->lane]);
        cp_html_escape(out, f->id);
        cp_strbuf_puts(out, "</td><td>");
        cp_html_escape(out, f->what);
        cp_strbuf_printf(out, "</td><td>%d</td><td>%d</td></tr>\n", f->expected, f->given);
    }
    cp_strbuf_puts(out, "</table>\n");
}

void cp_eval_append_html(const cp_eval_result *r, cp_strbuf *out) {
    cp_strbuf_puts(out,
                   "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
                   "<title>CarePath triage score</title><style>"
                   "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;"
                   "padding:0 1em;color:#222}table{border-collapse:collapse}"
                   "td,th{border-bottom:1px solid #ddd;padding:.2em .8em .2em 0;text-align:left}"
                   ".pair{display:flex;gap:2em;flex-wrap:wrap}svg text{font:13px sans-serif}"
                   "</style></head><body><h1>CarePath triage score</h1>\n");
    cp_strbuf_printf(out,
                     "<p><strong>%s</strong></p><p>%zu rules, not signed by a clinician. Where "
                     "nobody has an opinion the level counts as %d. Invented vignettes; intervals "
                     "are 95%% Wilson score intervals.</p>\n",
                     cp_eval_passes(r) ? "PASS: no emergency under-triaged, nothing lowered"
                                       : "FAIL: an emergency under-triaged, or a variant lowered",
                     r->n_rules, r->unmatched_level);
    if (r->model) {
        cp_strbuf_puts(out, "<p>Model: ");
        cp_html_escape(out, r->model);
        cp_strbuf_printf(out, "; %zu answers without a level.</p>\n", r->n_unreadable);
    }
    for (int lane = 0; lane < n_lanes(r); lane++)
        for (int set = 0; set < CP_N_EVAL_SETS; set++)
            if (r->scores[lane][set].n > 0)
                html_score(&r->scores[lane][set], lane_names[lane], set_names[set], out);
    html_variants(r, out);
    html_faults(r, out);
    cp_strbuf_printf(out,
                     "<p>Rules lane: %zu readings, mean %.1f &micro;s, p99 %.1f &micro;s, slowest "
                     "%.1f &micro;s.</p></body></html>\n",
                     r->n_checks, r->mean_us, r->p99_us, r->max_us);
}
