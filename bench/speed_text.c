/* A speed report as JSON and as a table. */
#include "bench/speed_report.h"

#include <stdio.h>

#define DIGITS 5

static void put_tok_s(cp_json_writer *w, const cp_spread *s) {
    cp_json_member_number(w, "tok_s", s->median, DIGITS);
    cp_json_member_number(w, "tok_s_min", s->min, DIGITS);
    cp_json_member_number(w, "tok_s_max", s->max, DIGITS);
}

static void put_prefill(cp_json_writer *w, const cp_speed_result *m) {
    cp_json_key(w, "prefill");
    cp_json_open_array(w);
    for (size_t i = 0; i < m->n_prefill; i++) {
        const cp_prefill_row *row = &m->prefill[i];
        cp_json_open_object(w);
        cp_json_member_int(w, "n", (int64_t)row->n);
        put_tok_s(w, &row->tok_s);
        cp_json_member_number(w, "gop_s", row->gop_s, DIGITS);
        cp_json_member_number(w, "share_of_peak", row->share_of_peak, DIGITS);
        cp_json_close_object(w);
    }
    cp_json_close_array(w);
}

static void put_decode(cp_json_writer *w, const cp_speed_result *m) {
    cp_json_key(w, "decode");
    cp_json_open_array(w);
    for (size_t i = 0; i < m->n_decode; i++) {
        const cp_decode_row *row = &m->decode[i];
        if (row->missing_bytes)
            continue;
        cp_json_open_object(w);
        cp_json_member_int(w, "depth", (int64_t)row->depth);
        cp_json_member_int(w, "batch", (int64_t)row->batch);
        put_tok_s(w, &row->tok_s);
        cp_json_member_number(w, "bytes_per_token", row->bytes_per_token, 12);
        cp_json_member_number(w, "physical_bytes_per_token", row->physical_bytes_per_token, 12);
        cp_json_member_number(w, "read_gb_s", row->read_gb_s, DIGITS);
        cp_json_member_number(w, "share_of_bandwidth", row->share_of_bandwidth, DIGITS);
        cp_json_member_number(w, "share_of_plain_read", row->share_of_plain_read, DIGITS);
        cp_json_close_object(w);
    }
    cp_json_close_array(w);
}

static void put_skipped(cp_json_writer *w, const cp_speed_result *m) {
    cp_json_key(w, "skipped");
    cp_json_open_array(w);
    for (size_t i = 0; i < m->n_decode; i++) {
        const cp_decode_row *row = &m->decode[i];
        if (!row->missing_bytes)
            continue;
        cp_json_open_object(w);
        cp_json_member_int(w, "depth", (int64_t)row->depth);
        cp_json_member_int(w, "batch", (int64_t)row->batch);
        cp_json_member_int(w, "missing_bytes", (int64_t)row->missing_bytes);
        cp_json_close_object(w);
    }
    cp_json_close_array(w);
}

static void put_model(cp_json_writer *w, const cp_speed_report *r, const cp_speed_result *m) {
    cp_json_open_object(w);
    cp_json_member_text(w, "model", m->model);
    cp_json_member_text(w, "quant", m->quant);
    cp_json_member_text(w, "kv", m->kv);
    cp_json_member_text(w, "isa", m->isa);
    cp_json_member_int(w, "threads", (int64_t)m->n_threads);
    cp_json_member_text(w, "cpu", r->cpu);
    cp_json_member_text(w, "version", CP_VERSION);
    cp_json_member_text(w, "date", r->stamp);
    cp_json_member_int(w, "seed", (int64_t)r->plan->seed);
    cp_json_member_int(w, "gen", (int64_t)r->plan->gen);
    cp_json_member_int(w, "repeat", (int64_t)r->plan->repeat);
    cp_json_member_number(w, "read_gb_s", m->read_gb_s, DIGITS);
    cp_json_member_number(w, "load_s", m->load_s, DIGITS);
    cp_json_member_number(w, "first_token_cold_s", m->first_token_cold_s, DIGITS);
    cp_json_member_number(w, "first_token_warm_s", m->first_token_warm_s, DIGITS);
    cp_json_member_int(w, "rss_bytes", (int64_t)m->rss_bytes);
    cp_json_member_int(w, "weight_bytes", (int64_t)m->weight_bytes);
    cp_json_member_int(w, "session_bytes", (int64_t)m->session_bytes);
    cp_json_member_int(w, "kv_bytes_per_token", (int64_t)m->kv_bytes_per_token);
    put_prefill(w, m);
    put_decode(w, m);
    put_skipped(w, m);
    cp_json_close_object(w);
}

void cp_speed_write_json(const cp_speed_report *r, cp_json_writer *w) {
    if (r->n != 1)
        cp_json_open_array(w);
    for (size_t i = 0; i < r->n; i++)
        put_model(w, r, &r->models[i]);
    if (r->n != 1)
        cp_json_close_array(w);
}

/* ---- the table ------------------------------------------------------------------------------- */

static double mib(double bytes) {
    return bytes / (1 << 20);
}

static void put_head(cp_strbuf *out, const cp_speed_result *m) {
    cp_strbuf_printf(out, "\n%s (%s, KV %s, %s, %zu threads)\n", m->model, m->quant, m->kv, m->isa,
                     m->n_threads);
    cp_strbuf_printf(out, "  load %.2f s; first token %.2f s cold, %.3f s warm\n", m->load_s,
                     m->first_token_cold_s, m->first_token_warm_s);
    cp_strbuf_printf(out, "  peak memory %.0f MiB (weights %.0f, KV cache %.0f)\n",
                     mib((double)m->rss_bytes), mib((double)m->weight_bytes),
                     mib((double)m->session_bytes));
}

static void put_rows(cp_strbuf *out, const cp_speed_result *m) {
    cp_strbuf_printf(out, "  %-28s %9s  %-19s %9s %9s  %s\n", "", "tokens/s", "range", "MB/token",
                     "in pages", "share of the limit");
    for (size_t i = 0; i < m->n_prefill; i++) {
        const cp_prefill_row *p = &m->prefill[i];
        char what[64];
        snprintf(what, sizeof what, "prefill %zu", p->n);
        cp_strbuf_printf(out, "  %-28s %9.1f  %8.1f to %-8.1f %9s %9s  ", what, p->tok_s.median,
                         p->tok_s.min, p->tok_s.max, "", "");
        cp_strbuf_printf(out, "%3.0f%% of peak (%.0f GOP/s)\n", 100 * p->share_of_peak, p->gop_s);
    }
    for (size_t i = 0; i < m->n_decode; i++) {
        const cp_decode_row *d = &m->decode[i];
        char what[64];
        snprintf(what, sizeof what, "decode at %zu, batch %zu", d->depth, d->batch);
        if (d->missing_bytes) {
            cp_strbuf_printf(out, "  %-28s not measured: %.0f MiB of memory are lacking\n", what,
                             mib((double)d->missing_bytes));
            continue;
        }
        cp_strbuf_printf(out, "  %-28s %9.1f  %8.1f to %-8.1f %9.1f %9.1f  ", what, d->tok_s.median,
                         d->tok_s.min, d->tok_s.max, d->bytes_per_token / 1e6,
                         d->physical_bytes_per_token / 1e6);
        cp_strbuf_printf(out, "%3.0f%% of %.1f GB/s", 100 * d->share_of_bandwidth, d->read_gb_s);
        if (d->share_of_plain_read > 0)
            cp_strbuf_printf(out, ", %.0f%% of a plain read of the file",
                             100 * d->share_of_plain_read);
        cp_strbuf_putc(out, '\n');
    }
}

void cp_speed_write_table(const cp_speed_report *r, cp_strbuf *out) {
    cp_strbuf_printf(out, "%s, carepath %s, seed %llu, medians of %zu runs\n", r->cpu, CP_VERSION,
                     (unsigned long long)r->plan->seed, r->plan->repeat);
    for (size_t i = 0; i < r->n; i++) {
        put_head(out, &r->models[i]);
        put_rows(out, &r->models[i]);
    }
    if (out->n > 0 && out->data[out->n - 1] == '\n')
        cp_strbuf_truncate(out, out->n - 1); /* who prints it ends the line */
}
