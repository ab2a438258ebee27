#include "bench/load_summary.h"

#include "bench/statistics.h"

#include <math.h>
#include <stdlib.h>

static bool is_measured(const cp_load_sample *s) {
    return s->at_s >= 0;
}

/* When it ended, from the start of what is measured. */
static double end_of(const cp_load_sample *s) {
    return s->at_s + s->total_s;
}

/* ---- percentiles ----------------------------------------------------------------------------- */

/* The time of this kind, or negative when the sample has none. */
static double first_of(const cp_load_sample *s) {
    return s->outcome == CP_LOAD_ANSWERED ? s->first_s : -1;
}
static double whole_of(const cp_load_sample *s) {
    return s->outcome == CP_LOAD_ANSWERED ? s->total_s : -1;
}
static double pause_of(const cp_load_sample *s) {
    return s->outcome == CP_LOAD_ANSWERED ? s->pause_s : -1;
}
static double refusal_of(const cp_load_sample *s) {
    return s->outcome == CP_LOAD_REFUSED ? s->total_s : -1;
}
static double late_of(const cp_load_sample *s) {
    return s->late_s;
}

static void read_percentiles(cp_load_times *t) {
    cp_stats_sort(t->sorted, t->n);
    if (t->n == 0)
        return;
    t->p50 = cp_stats_percentile(t->sorted, t->n, 0.50);
    t->p90 = cp_stats_percentile(t->sorted, t->n, 0.90);
    t->p95 = cp_stats_percentile(t->sorted, t->n, 0.95);
    t->p99 = cp_stats_percentile(t->sorted, t->n, 0.99);
    t->max = t->sorted[t->n - 1];
}

static cp_status gather(const cp_load_result *r, double (*time_of)(const cp_load_sample *),
                        cp_load_times *out, cp_error *err) {
    out->sorted = calloc(r->n + 1, sizeof *out->sorted);
    if (!out->sorted)
        return cp_error_no_memory(err, "times");
    for (size_t i = 0; i < r->n; i++) {
        double time = time_of(&r->samples[i]);
        if (is_measured(&r->samples[i]) && time >= 0)
            out->sorted[out->n++] = time;
    }
    read_percentiles(out);
    return CP_OK;
}

/* ---- counts and rates ------------------------------------------------------------------------ */

static void count(const cp_load_result *r, cp_load_summary *out) {
    double tokens = 0, answers = 0;
    for (size_t i = 0; i < r->n; i++) {
        const cp_load_sample *s = &r->samples[i];
        double end = end_of(s);
        if (s->outcome == CP_LOAD_ANSWERED && end >= 0 && end <= r->measured_s) {
            answers++;
            tokens += s->tokens;
        }
        if (!is_measured(s))
            continue;
        out->n_sent++;
        out->counts[s->outcome]++;
        out->n_retry_after += s->retry_after;
    }
    if (r->measured_s > 0) {
        out->offered_per_s = (double)out->n_sent / r->measured_s;
        out->answered_per_s = answers / r->measured_s;
        out->tokens_per_s = tokens / r->measured_s;
    }
}

/* ---- slices ---------------------------------------------------------------------------------- */

static cp_load_slice *slice_at(cp_load_summary *out, double at_s) {
    if (at_s < 0 || out->n_slices == 0)
        return NULL;
    double i = at_s / out->slice_s;
    return i < (double)out->n_slices ? &out->slices[(size_t)i] : NULL;
}

/* Sorts the times[n] of the answers to what was due in the slice. */
static void describe(cp_load_slice *slice, double *times, size_t n) {
    slice->p50_s = slice->p95_s = slice->max_s = NAN;
    if (n == 0)
        return;
    cp_stats_sort(times, n);
    slice->p50_s = cp_stats_percentile(times, n, 0.50);
    slice->p95_s = cp_stats_percentile(times, n, 0.95);
    slice->max_s = times[n - 1];
}

static void divide(const cp_load_result *r, cp_load_summary *out) {
    out->slice_s = fmax(1, r->measured_s / CP_LOAD_MAX_SLICES);
    out->n_slices = (size_t)ceil(r->measured_s / out->slice_s);
    if (out->n_slices > CP_LOAD_MAX_SLICES)
        out->n_slices = CP_LOAD_MAX_SLICES;
    for (size_t i = 0; i < out->n_slices; i++)
        out->slices[i].at_s = ((double)i + 0.5) * out->slice_s;
    for (size_t i = 0; i < r->n; i++) {
        const cp_load_sample *s = &r->samples[i];
        cp_load_slice *due = slice_at(out, s->at_s), *ended = slice_at(out, end_of(s));
        if (due)
            due->due++;
        if (ended)
            ended->ended[s->outcome]++;
    }
}

static cp_status fill_slices(const cp_load_result *r, cp_load_summary *out, cp_error *err) {
    /* The answers' times grouped by slice: slice k has times[from[k]..from[k + 1]). */
    size_t from[CP_LOAD_MAX_SLICES + 1] = {0}, filled[CP_LOAD_MAX_SLICES] = {0};
    double *times = calloc(r->n + 1, sizeof *times);
    if (!times)
        return cp_error_no_memory(err, "times");
    divide(r, out);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < r->n; i++) {
            const cp_load_sample *s = &r->samples[i];
            const cp_load_slice *slice = slice_at(out, s->at_s);
            if (!slice || s->outcome != CP_LOAD_ANSWERED)
                continue;
            size_t k = (size_t)(slice - out->slices);
            if (pass == 0)
                from[k + 1]++;
            else
                times[from[k] + filled[k]++] = s->total_s;
        }
        for (size_t k = 0; pass == 0 && k < out->n_slices; k++)
            from[k + 1] += from[k];
    }
    for (size_t k = 0; k < out->n_slices; k++)
        describe(&out->slices[k], times + from[k], from[k + 1] - from[k]);
    free(times);
    return CP_OK;
}

/* ---- the server ------------------------------------------------------------------------------ */

static void describe_before(const cp_load_result *r, cp_load_server *out) {
    double n = 0;
    for (size_t i = 0; i < r->watch.n_before; i++) {
        out->cpu_before += r->watch.samples[i].cpu_percent;
        out->rss_before += r->watch.samples[i].rss_bytes;
        n++;
    }
    if (n > 0) {
        out->cpu_before /= n;
        out->rss_before /= n;
    }
}

static cp_status describe_server(const cp_load_result *r, cp_load_server *out, cp_error *err) {
    const cp_process_watch *w = &r->watch;
    double *x = calloc(2 * w->n + 1, sizeof *x), *y = x ? x + w->n : NULL;
    if (!x)
        return cp_error_no_memory(err, "process samples");
    describe_before(r, out);
    for (size_t i = w->n_before; i < w->n; i++) {
        const cp_process_sample *s = &w->samples[i];
        if (s->at_s < 0 || s->at_s > r->measured_s)
            continue;
        x[out->n] = s->at_s / 60;
        y[out->n++] = s->rss_bytes;
        out->cpu_mean += s->cpu_percent;
        out->cpu_max = fmax(out->cpu_max, s->cpu_percent);
        out->rss_max = fmax(out->rss_max, s->rss_bytes);
        out->threads_max = s->n_threads > out->threads_max ? s->n_threads : out->threads_max;
        out->files_max = s->n_files > out->files_max ? s->n_files : out->files_max;
    }
    if (out->n > 0) {
        out->cpu_mean /= (double)out->n;
        out->rss_first = y[0];
        out->rss_last = y[out->n - 1];
        out->rss_slope = cp_stats_slope(x, y, out->n);
    }
    free(x);
    return CP_OK;
}

cp_status cp_load_summarize(const cp_load_result *result, cp_load_summary *out, cp_error *err) {
    *out = (cp_load_summary){.n_sent = 0};
    count(result, out);
    cp_status status = gather(result, first_of, &out->first, err);
    if (status == CP_OK)
        status = gather(result, whole_of, &out->whole, err);
    if (status == CP_OK)
        status = gather(result, pause_of, &out->pause, err);
    if (status == CP_OK)
        status = gather(result, refusal_of, &out->refusal, err);
    if (status == CP_OK)
        status = gather(result, late_of, &out->late, err);
    if (status == CP_OK)
        status = fill_slices(result, out, err);
    if (status == CP_OK)
        status = describe_server(result, &out->server, err);
    return status;
}

void cp_load_summary_deinit(cp_load_summary *s) {
    free(s->first.sorted);
    free(s->whole.sorted);
    free(s->pause.sorted);
    free(s->refusal.sorted);
    free(s->late.sorted);
    *s = (cp_load_summary){.n_sent = 0};
}
