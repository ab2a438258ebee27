/* carepath bench limits: what this machine allows. */
#include "bench/subcommands.h"

#include "base/args.h"
#include "base/clock.h"
#include "base/json_writer.h"
#include "base/mem.h"
#include "bench/rates.h"
#include "bench/read_probe.h"
#include "bench/team.h"
#include "engine/sysinfo.h"

#include <stdio.h>

#define N_WINDOWS 9

typedef struct limits_report {
    char cpu[128];
    size_t n_threads, buffer_bytes;
    cp_spread read[2]; /* 1 thread, n threads */
    cp_rate_loop loops[CP_MAX_RATE_LOOPS];
    cp_spread rates[CP_MAX_RATE_LOOPS][2];
    size_t n_loops;
} limits_report;

static cp_status measure(limits_report *r, size_t buffer_bytes, double seconds, cp_error *err) {
    cp_read_probe *probe;
    cp_sysinfo_cpu_name(r->cpu, sizeof r->cpu);
    r->n_loops = cp_rate_loops(r->loops);
    cp_status status = cp_read_probe_create(r->n_threads, buffer_bytes, &probe, err);
    if (status != CP_OK)
        return status;
    r->buffer_bytes = cp_read_probe_bytes(probe);
    for (size_t i = 0; i < 2 && status == CP_OK; i++) {
        size_t threads = i ? r->n_threads : 1;
        status = cp_read_probe_run(probe, threads, N_WINDOWS, seconds, &r->read[i], err);
        for (size_t l = 0; l < r->n_loops && status == CP_OK; l++)
            status =
                cp_rate_run(&r->loops[l], threads, N_WINDOWS, seconds / 4, &r->rates[l][i], err);
    }
    cp_read_probe_free(probe);
    return status;
}

/* The fastest loop of a kind on all threads; there is always the portable one. */
static size_t best(const limits_report *r, cp_rate_kind kind) {
    size_t found = SIZE_MAX;
    for (size_t l = 0; l < r->n_loops; l++)
        if (r->loops[l].kind == kind &&
            (found == SIZE_MAX || r->rates[l][1].median > r->rates[found][1].median))
            found = l;
    return found;
}

static void put_spread(cp_json_writer *w, const char *key, const cp_spread *s) {
    cp_json_key(w, key);
    cp_json_open_object(w);
    cp_json_member_number(w, "median", s->median, 5);
    cp_json_member_number(w, "min", s->min, 5);
    cp_json_member_number(w, "max", s->max, 5);
    cp_json_close_object(w);
}

static void write_json(const limits_report *r, cp_json_writer *w) {
    char stamp[CP_CLOCK_STAMP_CAP];
    cp_clock_stamp(stamp);
    cp_json_open_object(w);
    cp_json_member_text(w, "cpu", r->cpu);
    cp_json_member_text(w, "version", CP_VERSION);
    cp_json_member_text(w, "date", stamp);
    cp_json_member_int(w, "threads", (int64_t)r->n_threads);
    cp_json_member_int(w, "buffer_bytes", (int64_t)r->buffer_bytes);
    put_spread(w, "read_gb_s_1_thread", &r->read[0]);
    put_spread(w, "read_gb_s", &r->read[1]);
    cp_json_member_number(w, "int8_gop_s", r->rates[best(r, CP_RATE_INT8)][1].median, 5);
    cp_json_member_number(w, "f32_gflop_s", r->rates[best(r, CP_RATE_F32)][1].median, 5);
    cp_json_key(w, "rates");
    cp_json_open_array(w);
    for (size_t l = 0; l < r->n_loops; l++) {
        cp_json_open_object(w);
        cp_json_member_text(w, "kind", cp_rate_kind_name(r->loops[l].kind));
        cp_json_member_text(w, "loop", r->loops[l].name);
        put_spread(w, "gop_s_1_thread", &r->rates[l][0]);
        put_spread(w, "gop_s", &r->rates[l][1]);
        cp_json_close_object(w);
    }
    cp_json_close_array(w);
    cp_json_close_object(w);
}

static void put_row(cp_strbuf *out, const char *what, const char *unit, const cp_spread s[2]) {
    cp_strbuf_printf(out, "%-26s %-8s", what, unit);
    for (size_t i = 0; i < 2; i++)
        cp_strbuf_printf(out, " %9.1f  %7.1f to %-7.1f", s[i].median, s[i].min, s[i].max);
    cp_strbuf_puts(out, "\n");
}

static void write_text(const limits_report *r, cp_strbuf *out) {
    cp_strbuf_printf(out, "%s, carepath %s\n\n", r->cpu, CP_VERSION);
    cp_strbuf_printf(out, "%-26s %-8s  1 thread  %-18s %2zu threads  range\n", "", "", "range",
                     r->n_threads);
    put_row(out, "read from memory", "GB/s", r->read);
    for (size_t l = 0; l < r->n_loops; l++) {
        char what[64];
        snprintf(what, sizeof what, "%s, %s", cp_rate_kind_name(r->loops[l].kind),
                 r->loops[l].name);
        put_row(out, what, r->loops[l].kind == CP_RATE_INT8 ? "GOP/s" : "GFLOP/s", r->rates[l]);
    }
    cp_strbuf_printf(out,
                     "\nMedian and range of %d windows; buffer %.0f MiB; a multiply-add is two "
                     "operations.",
                     N_WINDOWS, (double)r->buffer_bytes / (1 << 20));
}

static cp_status run(limits_report *r, size_t buffer_bytes, double seconds, bool json,
                     cp_error *err) {
    cp_strbuf text;
    cp_json_writer writer;
    cp_status status = measure(r, buffer_bytes, seconds, err);
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

int cmd_bench_limits(int argc, char **argv) {
    int64_t threads = 0, buffer = 0, window = 80;
    bool json = false;
    const cp_arg args[] = {
        {"threads", CP_ARG_INT, &threads, "N", "Threads (default: one a processor)", 0, CP_TEAM_MAX,
         false},
        {"buffer", CP_ARG_INT, &buffer, "MIB",
         "Buffer that is read (default 0: four times the last cache, 256 to 2048)", 0, 1 << 20,
         false},
        {"window", CP_ARG_INT, &window, "MS", "Length of a window (default 80)", 1, 10000, false},
        {"json", CP_ARG_FLAG, &json, NULL, "JSON instead of text", 0, 0, false},
    };
    const cp_command_line line = {
        .usage = "carepath bench limits [--threads N] [--json]",
        .summary = "Read bandwidth of the memory (sequential streams over a buffer well above the "
                   "caches) and peak\nrates of multiply-adds, int8 into int32 and float32, with "
                   "each instruction set that the processor\nhas; on one thread and on N. Decoding "
                   "is bounded by the first, prefill by the others.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    cp_error err;
    limits_report report = {.n_threads = cp_bench_threads(threads)};
    cp_status status = run(&report, (size_t)buffer << 20, (double)window / 1e3, json, &err);
    return status == CP_OK ? CP_EXIT_OK : cp_command_failed("bench limits", &err);
}
