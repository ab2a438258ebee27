/* carepath bench search: nearest vectors, beside the plain reading of the same memory. */
#include "bench/subcommands.h"

#include "base/args.h"
#include "base/clock.h"
#include "base/json_writer.h"
#include "base/mem.h"
#include "bench/random.h"
#include "bench/read_probe.h"
#include "bench/team.h"
#include "engine/sysinfo.h"
#include "engine/vector_search.h"

#include <stdlib.h>
#include <string.h>

#define MAX_SIZES   3
#define MAX_REPEAT  10000
#define WINDOW_S    0.02 /* of plain reading, before each search in turn */
#define MOST_PROBES 64

typedef struct size_report {
    size_t n;
    double ms_p50, ms_p99, ms_min;
    double gb_s, read_gb_s; /* medians; read_gb_s 0: too few bytes to tell */
} size_report;

typedef struct search_report {
    char cpu[128];
    size_t width, n_threads, k, n_repeat, n_sizes;
    size_report sizes[MAX_SIZES];
} search_report;

/* Random vectors in memory, with large pages where there are any. */
typedef struct store {
    int8_t *values;
    float *scales;
    size_t bytes;
} store;

static cp_status make_store(size_t n, size_t width, store *out, cp_error *err) {
    *out = (store){0};
    uint64_t seed = 1;
    if (!cp_size_mul(n, width, &out->bytes) || !cp_size_add(out->bytes, sizeof seed, &out->bytes))
        return cp_error_set(err, CP_ERR_LIMIT, "%zu vectors of %zu do not fit", n, width);
    out->values = cp_pages_alloc(out->bytes);
    out->scales = malloc(n * sizeof *out->scales);
    if (!out->values || !out->scales)
        return cp_error_no_memory(err, "the vectors");
    cp_pages_want_large(out->values, out->bytes);
    for (size_t i = 0; i + sizeof seed <= out->bytes; i += sizeof seed) {
        uint64_t bytes = cp_random_next(&seed);
        memcpy(out->values + i, &bytes, sizeof bytes);
    }
    for (size_t i = 0; i < n; i++)
        out->scales[i] = (float)(0.5 + cp_random_unit(&seed));
    return CP_OK;
}

static void free_store(store *s) {
    if (s->values)
        cp_pages_free(s->values, s->bytes);
    free(s->scales);
}

/* One search for a random vector. */
static cp_status time_search(const search_report *r, const store *s, size_t n, uint64_t *seed,
                             cp_vector_hit *hits, double *ms, cp_error *err) {
    int8_t query[CP_VECTOR_MAX_WIDTH];
    size_t n_hits;
    for (size_t i = 0; i < r->width; i++)
        query[i] = (int8_t)(cp_random_next(seed) % 255 - 127);
    const cp_vector_scan scan = {
        .values = s->values, .scales = s->scales, .width = r->width, .end = n};
    uint64_t start = cp_clock_ns();
    cp_status status =
        cp_vector_search(&scan, query, 0.01f, r->n_threads, r->k, hits, &n_hits, err);
    *ms = (double)(cp_clock_ns() - start) / 1e6;
    return status;
}

/* Searches, and before some of them a window of plain reading: the memory's rate changes by the
 * minute. The first search is not counted. */
static cp_status measure_with(const search_report *r, const store *s, cp_read_probe *probe,
                              cp_vector_hit *hits, double *ms, size_report *out, cp_error *err) {
    double rates[MOST_PROBES] = {0};
    size_t every = r->n_repeat / MOST_PROBES + 1, n_rates = 0;
    uint64_t seed = 2;
    cp_status status = time_search(r, s, out->n, &seed, hits, &ms[0], err);
    for (size_t i = 0; i < r->n_repeat && status == CP_OK; i++) {
        if (probe && i % every == 0)
            status = cp_read_probe_window(probe, r->n_threads, WINDOW_S, &rates[n_rates++], err);
        if (status == CP_OK)
            status = time_search(r, s, out->n, &seed, hits, &ms[i], err);
    }
    if (status != CP_OK)
        return status;
    cp_stats_sort(ms, r->n_repeat);
    out->ms_min = ms[0];
    out->ms_p50 = cp_stats_percentile(ms, r->n_repeat, 0.5);
    out->ms_p99 = cp_stats_percentile(ms, r->n_repeat, 0.99);
    out->gb_s = (double)out->n * (double)r->width / out->ms_p50 / 1e6;
    out->read_gb_s = cp_stats_spread(rates, n_rates).median;
    return CP_OK;
}

static cp_status measure_size(const search_report *r, size_report *out, cp_error *err) {
    store s;
    cp_read_probe *probe = NULL;
    cp_vector_hit *hits = calloc(r->k, sizeof *hits);
    double *ms = calloc(r->n_repeat, sizeof *ms);
    cp_status status = make_store(out->n, r->width, &s, err);
    if (status == CP_OK && (!hits || !ms))
        status = cp_error_no_memory(err, "the measurements");
    if (status == CP_OK)
        status = cp_read_probe_over(r->n_threads, (const char *)s.values, s.bytes, &probe, err);
    if (status == CP_OK)
        status = measure_with(r, &s, probe, hits, ms, out, err);
    cp_read_probe_free(probe);
    free_store(&s);
    free(hits);
    free(ms);
    return status;
}

static cp_status measure(search_report *r, cp_error *err) {
    cp_status status = CP_OK;
    cp_sysinfo_cpu_name(r->cpu, sizeof r->cpu);
    for (size_t i = 0; i < r->n_sizes && status == CP_OK; i++)
        status = measure_size(r, &r->sizes[i], err);
    return status;
}

/* ---- the report ------------------------------------------------------------------------------ */

static void write_json(const search_report *r, cp_json_writer *w) {
    char stamp[CP_CLOCK_STAMP_CAP];
    cp_clock_stamp(stamp);
    cp_json_open_object(w);
    cp_json_member_text(w, "cpu", r->cpu);
    cp_json_member_text(w, "version", CP_VERSION);
    cp_json_member_text(w, "date", stamp);
    cp_json_member_int(w, "threads", (int64_t)r->n_threads);
    cp_json_member_int(w, "width", (int64_t)r->width);
    cp_json_member_int(w, "k", (int64_t)r->k);
    cp_json_member_int(w, "searches", (int64_t)r->n_repeat);
    cp_json_key(w, "sizes");
    cp_json_open_array(w);
    for (size_t i = 0; i < r->n_sizes; i++) {
        const size_report *s = &r->sizes[i];
        cp_json_open_object(w);
        cp_json_member_int(w, "vectors", (int64_t)s->n);
        cp_json_member_number(w, "ms_p50", s->ms_p50, 5);
        cp_json_member_number(w, "ms_p99", s->ms_p99, 5);
        cp_json_member_number(w, "ms_min", s->ms_min, 5);
        cp_json_member_number(w, "gb_s", s->gb_s, 5);
        if (s->read_gb_s > 0) {
            cp_json_member_number(w, "read_gb_s", s->read_gb_s, 5);
            cp_json_member_number(w, "share_of_read", s->gb_s / s->read_gb_s, 4);
        }
        cp_json_close_object(w);
    }
    cp_json_close_array(w);
    cp_json_close_object(w);
}

static void write_text(const search_report *r, cp_strbuf *out) {
    cp_strbuf_printf(out, "%s, carepath %s\n\n", r->cpu, CP_VERSION);
    cp_strbuf_puts(out, "   vectors    p50 ms    p99 ms    min ms     GB/s   plain read   share\n");
    for (size_t i = 0; i < r->n_sizes; i++) {
        const size_report *s = &r->sizes[i];
        cp_strbuf_printf(out, "%10zu %9.3f %9.3f %9.3f %8.1f", s->n, s->ms_p50, s->ms_p99,
                         s->ms_min, s->gb_s);
        if (s->read_gb_s > 0)
            cp_strbuf_printf(out, " %12.1f %6.0f%%", s->read_gb_s, 100 * s->gb_s / s->read_gb_s);
        cp_strbuf_puts(out, "\n");
    }
    cp_strbuf_printf(out,
                     "\nint8 vectors of %zu values, the best %zu of all, %zu threads, %zu searches "
                     "each. GB/s: at the\nmedian. Plain read: the same bytes read in streams and "
                     "nothing else, windows between the searches,\nmedian.",
                     r->width, r->k, r->n_threads, r->n_repeat);
}

static cp_status run(search_report *r, bool json, cp_error *err) {
    cp_strbuf text;
    cp_json_writer writer;
    cp_status status = measure(r, err);
    if (status != CP_OK)
        return status;
    cp_strbuf_init(&text, CP_BENCH_TEXT_MAX);
    cp_json_writer_init(&writer, &text);
    if (json)
        write_json(r, &writer);
    else
        write_text(r, &text);
    status = cp_bench_print(&text, err);
    cp_strbuf_deinit(&text);
    return status;
}

int cmd_bench_search(int argc, char **argv) {
    static const size_t usual[MAX_SIZES] = {10000, 100000, 1000000};
    int64_t n = 0, width = 1024, threads = 0, k = 10, repeat = 100;
    bool json = false;
    const cp_arg args[] = {
        {"n", CP_ARG_INT, &n, "N", "Vectors (default 0: 10,000, then 100,000, then 1,000,000)", 0,
         100000000, false},
        {"width", CP_ARG_INT, &width, "N", "Values of a vector (default 1024)", 1,
         CP_VECTOR_MAX_WIDTH, false},
        {"threads", CP_ARG_INT, &threads, "N", "Threads (default: one a processor)", 0, CP_TEAM_MAX,
         false},
        {"k", CP_ARG_INT, &k, "N", "Hits wanted (default 10)", 1, 1000, false},
        {"repeat", CP_ARG_INT, &repeat, "N", "Searches (default 100)", 1, MAX_REPEAT, false},
        {"json", CP_ARG_FLAG, &json, NULL, "JSON instead of text", 0, 0, false},
    };
    const cp_command_line line = {
        .usage = "carepath bench search [--n N] [--width N] [--threads N] [--json]",
        .summary =
            "Exact search among stored int8 vectors: milliseconds, and bytes a second beside "
            "what the\nmachine's memory gives to a plain reader in the same minute. Random "
            "vectors, made in memory.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    cp_error err;
    search_report report = {.width = (size_t)width,
                            .n_threads = cp_bench_threads(threads),
                            .k = (size_t)k,
                            .n_repeat = (size_t)repeat,
                            .n_sizes = n ? 1 : MAX_SIZES};
    for (size_t i = 0; i < report.n_sizes; i++)
        report.sizes[i].n = n ? (size_t)n : usual[i];
    cp_status status = run(&report, json, &err);
    return status == CP_OK ? CP_EXIT_OK : cp_command_failed("bench search", &err);
}
