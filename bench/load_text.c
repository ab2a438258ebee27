/* A load report as JSON and as a table. */
#include "bench/load_report.h"

#include "base/mem.h"

#include <math.h>

#define DIGITS 6

static const char *const outcome_names[CP_LOAD_N_OUTCOMES] = {"answered", "refused", "failed",
                                                              "left"};

void cp_load_describe(const cp_load_plan *plan, cp_strbuf *out) {
    if (plan->open)
        cp_strbuf_printf(out, "open loop, %g/s %s", plan->rate,
                         plan->poisson ? "Poisson" : "evenly");
    else
        cp_strbuf_printf(out, "closed loop, %zu clients, think %g s", plan->clients, plan->think_s);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_count(cp_json_writer *w, const char *key, size_t n) {
    cp_json_member_int(w, key, (int64_t)n);
}

/* null where the mode has no such number. */
static void put_if(cp_json_writer *w, const char *key, bool has, double value) {
    cp_json_member_number(w, key, has ? value : NAN, 15);
}

static void put_plan(cp_json_writer *w, const cp_load_report *r) {
    const cp_load_plan *p = r->plan;
    cp_json_member_text(w, "server", p->server.origin);
    cp_json_member_text(w, "target", cp_load_target_name(p->target));
    cp_json_member_bool(w, "stream", p->stream);
    cp_json_member_text(w, "mode", p->open ? "open" : "closed");
    cp_json_member_text(w, "arrivals", !p->open ? NULL : p->poisson ? "poisson" : "uniform");
    put_if(w, "rate", p->open, p->rate);
    put_if(w, "clients", !p->open, (double)p->clients);
    put_if(w, "think_s", !p->open, p->think_s);
    cp_json_member_number(w, "warmup_s", p->warmup_s, 15);
    cp_json_member_number(w, "duration_s", p->duration_s, 15);
    cp_json_member_number(w, "timeout_s", p->timeout_s, 15);
    put_count(w, "different_requests", p->requests->n);
    cp_json_member_number(w, "vanish_share", p->vanish_share, 15);
    cp_json_member_int(w, "seed", (int64_t)p->seed);
    cp_json_member_text(w, "cpu", r->cpu);
    cp_json_member_text(w, "version", CP_VERSION);
    cp_json_member_text(w, "date", r->stamp);
}

static void put_ms(cp_json_writer *w, const char *key, double seconds) {
    cp_json_member_number(w, key, 1e3 * seconds, DIGITS);
}

static void put_times(cp_json_writer *w, const char *key, const cp_load_times *t) {
    double nothing = t->n ? 0 : NAN; /* null, not 0 ms, where there are none */
    cp_json_key(w, key);
    cp_json_open_object(w);
    put_count(w, "n", t->n);
    put_ms(w, "p50", t->p50 + nothing);
    put_ms(w, "p90", t->p90 + nothing);
    put_ms(w, "p95", t->p95 + nothing);
    put_ms(w, "p99", t->p99 + nothing);
    put_ms(w, "max", t->max + nothing);
    cp_json_close_object(w);
}

static void put_codes(cp_json_writer *w, const char *key, const cp_load_codes *codes) {
    cp_json_key(w, key);
    cp_json_open_array(w);
    for (size_t i = 0; i < codes->n; i++) {
        cp_json_open_object(w);
        cp_json_member_int(w, "status", codes->rows[i].status);
        cp_json_member_text(w, "code", codes->rows[i].code);
        put_count(w, "n", codes->rows[i].n);
        cp_json_close_object(w);
    }
    cp_json_close_array(w);
}

static void put_server(cp_json_writer *w, const cp_load_report *r) {
    const cp_load_server *s = &r->summary->server;
    cp_json_key(w, "process");
    if (r->plan->server_pid == 0) {
        cp_json_put_null(w);
        return;
    }
    cp_json_open_object(w);
    cp_json_member_int(w, "pid", r->plan->server_pid);
    cp_json_member_bool(w, "ended", r->result->watch.gone);
    put_count(w, "samples", s->n);
    cp_json_member_number(w, "cpu_percent_before", s->cpu_before, DIGITS);
    cp_json_member_number(w, "cpu_percent_mean", s->cpu_mean, DIGITS);
    cp_json_member_number(w, "cpu_percent_max", s->cpu_max, DIGITS);
    cp_json_member_number(w, "rss_bytes_before", s->rss_before, 15);
    cp_json_member_number(w, "rss_bytes_first", s->rss_first, 15);
    cp_json_member_number(w, "rss_bytes_last", s->rss_last, 15);
    cp_json_member_number(w, "rss_bytes_max", s->rss_max, 15);
    cp_json_member_number(w, "rss_bytes_per_minute", s->rss_slope, DIGITS);
    put_count(w, "threads_max", s->threads_max);
    put_count(w, "files_max", s->files_max);
    cp_json_close_object(w);
}

static void put_check(cp_json_writer *w, const cp_load_report *r) {
    const cp_load_result *result = r->result;
    cp_json_key(w, "check");
    if (!r->plan->check) {
        cp_json_put_null(w);
        return;
    }
    cp_json_open_object(w);
    put_count(w, "compared", result->n_compared);
    put_count(w, "unlike_single", result->n_unlike_single);
    put_count(w, "unlike_first", result->n_unlike_first);
    cp_json_close_object(w);
}

static void put_slow_kinds(cp_json_writer *w, const cp_slow_plan *plan) {
    cp_json_key(w, "kinds");
    cp_json_open_array(w);
    for (cp_slow_kind k = 0; k < CP_SLOW_N_KINDS; k++)
        if (plan->n > 0 && plan->kinds[k])
            cp_json_put_text(w, cp_slow_kind_name(k));
    cp_json_close_array(w);
}

static void put_slow(cp_json_writer *w, const cp_load_report *r) {
    cp_json_key(w, "slow_clients");
    cp_json_open_object(w);
    put_count(w, "n", r->plan->slow.n);
    put_slow_kinds(w, &r->plan->slow);
    put_count(w, "opened", r->result->slow_opened);
    put_count(w, "refused", r->result->slow_refused);
    put_count(w, "closed_by_server", r->result->slow_closed);
    cp_json_close_object(w);
}

static void put_slices(cp_json_writer *w, const cp_load_summary *s) {
    cp_json_key(w, "slices");
    cp_json_open_array(w);
    for (size_t i = 0; i < s->n_slices; i++) {
        const cp_load_slice *slice = &s->slices[i];
        cp_json_open_object(w);
        cp_json_member_number(w, "at_s", slice->at_s, DIGITS);
        put_count(w, "due", slice->due);
        for (size_t k = 0; k < CP_LOAD_N_OUTCOMES; k++)
            put_count(w, outcome_names[k], slice->ended[k]);
        put_ms(w, "p50_ms", slice->p50_s);
        put_ms(w, "p95_ms", slice->p95_s);
        put_ms(w, "max_ms", slice->max_s);
        cp_json_close_object(w);
    }
    cp_json_close_array(w);
}

void cp_load_write_json(const cp_load_report *r, cp_json_writer *w) {
    const cp_load_summary *s = r->summary;
    cp_json_open_object(w);
    put_plan(w, r);
    cp_json_member_number(w, "measured_s", r->result->measured_s, DIGITS);
    put_count(w, "sent", s->n_sent);
    for (size_t k = 0; k < CP_LOAD_N_OUTCOMES; k++)
        put_count(w, outcome_names[k], s->counts[k]);
    put_count(w, "refused_with_retry_after", s->n_retry_after);
    cp_json_member_number(w, "offered_per_s", s->offered_per_s, DIGITS);
    cp_json_member_number(w, "answered_per_s", s->answered_per_s, DIGITS);
    cp_json_member_number(w, "tokens_per_s", s->tokens_per_s, DIGITS);
    cp_json_member_int(w, "prompt_tokens", r->result->prompt_tokens);
    cp_json_member_int(w, "completion_tokens", r->result->completion_tokens);
    put_count(w, "in_flight_max", r->result->max_in_flight);
    put_count(w, "waited_for_a_place", r->result->n_waited);
    cp_json_member_bool(w, "stopped_full", r->result->full);
    put_times(w, "first_token_ms", &s->first);
    put_times(w, "answer_ms", &s->whole);
    put_times(w, "longest_pause_ms", &s->pause);
    put_times(w, "refusal_ms", &s->refusal);
    put_times(w, "sent_late_ms", &s->late);
    put_codes(w, "errors", &r->result->errors);
    put_codes(w, "degraded", &r->result->degraded);
    put_check(w, r);
    put_slow(w, r);
    put_server(w, r);
    put_slices(w, s);
    cp_json_close_object(w);
}

/* ---- the table ------------------------------------------------------------------------------- */

static double mib(double bytes) {
    return bytes / (1 << 20);
}

static void put_head(const cp_load_report *r, cp_strbuf *out) {
    const cp_load_plan *p = r->plan;
    const cp_load_summary *s = r->summary;
    cp_strbuf_printf(out, "%s %s%s, ", p->server.origin, cp_load_target_name(p->target),
                     p->stream ? " (stream)" : "");
    cp_load_describe(p, out);
    cp_strbuf_printf(out, ", seed %llu, %.1f s after %.1f s of warm-up\n",
                     (unsigned long long)p->seed, r->result->measured_s, p->warmup_s);
    cp_strbuf_printf(out, "  sent %zu (%.1f/s); answered %zu (%.1f/s, %.1f tokens/s), ", s->n_sent,
                     s->offered_per_s, s->counts[CP_LOAD_ANSWERED], s->answered_per_s,
                     s->tokens_per_s);
    cp_strbuf_printf(out, "refused %zu (503; %zu with Retry-After), failed %zu, left %zu\n",
                     s->counts[CP_LOAD_REFUSED], s->n_retry_after, s->counts[CP_LOAD_FAILED],
                     s->counts[CP_LOAD_LEFT]);
    cp_strbuf_printf(out, "  at most %zu under way, %zu waited for a place\n",
                     r->result->max_in_flight, r->result->n_waited);
}

static void put_row(cp_strbuf *out, const char *name, const cp_load_times *t) {
    if (t->n > 0)
        cp_strbuf_printf(out, "  %-14s %9zu %10.2f %10.2f %10.2f %10.2f %10.2f\n", name, t->n,
                         1e3 * t->p50, 1e3 * t->p90, 1e3 * t->p95, 1e3 * t->p99, 1e3 * t->max);
}

static void put_rows(const cp_load_summary *s, cp_strbuf *out) {
    cp_strbuf_printf(out, "\n  %-14s %9s %10s %10s %10s %10s %10s\n", "milliseconds", "n", "p50",
                     "p90", "p95", "p99", "max");
    put_row(out, "first token", &s->first);
    put_row(out, "whole answer", &s->whole);
    put_row(out, "longest pause", &s->pause);
    put_row(out, "refusal", &s->refusal);
    put_row(out, "sent late", &s->late);
}

static void put_process(const cp_load_report *r, cp_strbuf *out) {
    const cp_load_server *s = &r->summary->server;
    if (r->plan->server_pid == 0)
        return;
    cp_strbuf_printf(out, "\n  process %lld%s: CPU %.0f%% before, %.0f%% mean, %.0f%% most\n",
                     (long long)r->plan->server_pid, r->result->watch.gone ? " (ended)" : "",
                     s->cpu_before, s->cpu_mean, s->cpu_max);
    cp_strbuf_printf(out,
                     "  memory %.1f MiB before, %.1f to %.1f MiB, most %.1f MiB, %+.2f MiB a "
                     "minute; at most %zu threads, %zu open files\n",
                     mib(s->rss_before), mib(s->rss_first), mib(s->rss_last), mib(s->rss_max),
                     mib(s->rss_slope), s->threads_max, s->files_max);
}

void cp_load_write_table(const cp_load_report *r, cp_strbuf *out) {
    const cp_load_result *result = r->result;
    put_head(r, out);
    put_rows(r->summary, out);
    for (size_t i = 0; i < result->errors.n; i++)
        cp_strbuf_printf(out, "%s  status %d %s: %zu\n", i ? "" : "\n",
                         result->errors.rows[i].status, result->errors.rows[i].code,
                         result->errors.rows[i].n);
    for (size_t i = 0; i < result->degraded.n; i++)
        cp_strbuf_printf(out, "%s  answered without the model, %s: %zu\n", i ? "" : "\n",
                         result->degraded.rows[i].code, result->degraded.rows[i].n);
    if (r->plan->check)
        cp_strbuf_printf(out,
                         "\n  check: %zu answers compared; %zu unlike the single request's, %zu "
                         "unlike the first\n",
                         result->n_compared, result->n_unlike_single, result->n_unlike_first);
    if (r->plan->slow.n)
        cp_strbuf_printf(out,
                         "\n  slow clients: %zu; %zu connections, %zu closed by the server, %zu "
                         "refused\n",
                         r->plan->slow.n, result->slow_opened, result->slow_closed,
                         result->slow_refused);
    put_process(r, out);
    cp_strbuf_truncate(out, out->n - (out->n > 0)); /* who prints it ends the line */
}
