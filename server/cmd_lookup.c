/* carepath lookup: asks the patient store as the server would, once or to measure it. */
#include "server/commands.h"

#include "base/args.h"
#include "base/clock.h"
#include "base/json_writer.h"
#include "base/mem.h"
#include "server/mrn_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_LOOKUPS 10000000

typedef struct measuring {
    cp_patient_store *store;
    cp_mrn_list mrns;
    float *us, *cpu_us; /* [n]: of each lookup, and of this thread's processor in it */
    size_t n;
} measuring;

/* ---- one record ------------------------------------------------------------------------- */

static cp_status show_record(cp_patient_store *store, const char *mrn, cp_error *err) {
    cp_patient_record *record;
    cp_strbuf text;
    cp_status status = store->get(store, mrn, &record, err);
    if (status != CP_OK)
        return status;
    cp_strbuf_init(&text, 2 * CP_RECORD_MAX_BYTES);
    status = cp_patient_record_append(record, &text, err);
    cp_patient_record_free(record);
    if (status == CP_OK)
        puts(cp_strbuf_text(&text));
    cp_strbuf_deinit(&text);
    return status;
}

/* ---- measuring -------------------------------------------------------------------------- */

static int compare_times(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Of sorted times. */
static double quantile_ms(const measuring *m, const float *us, double share) {
    size_t at = (size_t)((double)(m->n - 1) * share);
    return (double)us[at] / 1e3;
}

static double processor_us(void) {
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (double)used.tv_sec * 1e6 + (double)used.tv_nsec / 1e3;
}

/* In a scattered order: each number is a fixed step from the one before. */
static cp_status look_up_all(measuring *m, cp_error *err) {
    uint64_t at = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < m->n; i++) {
        cp_patient_record *record;
        at = at * 6364136223846793005u + 1442695040888963407u;
        uint64_t begun = cp_clock_ns();
        double cpu = processor_us();
        cp_status status =
            m->store->get(m->store, m->mrns.mrns[(at >> 33) % m->mrns.n], &record, err);
        m->cpu_us[i] = (float)(processor_us() - cpu);
        m->us[i] = (float)(cp_clock_ms_since(begun) * 1e3);
        if (status != CP_OK)
            return status;
        cp_patient_record_free(record);
    }
    return CP_OK;
}

static void show_times(measuring *m) {
    cp_strbuf text;
    cp_json_writer w;
    qsort(m->us, m->n, sizeof *m->us, compare_times);
    qsort(m->cpu_us, m->n, sizeof *m->cpu_us, compare_times);
    cp_strbuf_init(&text, 4096);
    cp_json_writer_init(&w, &text);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "store", m->store->kind);
    if (m->store->count(m->store) != CP_COUNT_UNKNOWN)
        cp_json_member_int(&w, "patients", (int64_t)m->store->count(m->store));
    cp_json_member_int(&w, "lookups", (int64_t)m->n);
    cp_json_member_number(&w, "p50_ms", quantile_ms(m, m->us, 0.50), 4);
    cp_json_member_number(&w, "p99_ms", quantile_ms(m, m->us, 0.99), 4);
    cp_json_member_number(&w, "p999_ms", quantile_ms(m, m->us, 0.999), 4);
    cp_json_member_number(&w, "max_ms", quantile_ms(m, m->us, 1), 4);
    cp_json_member_number(&w, "processor_p50_ms", quantile_ms(m, m->cpu_us, 0.50), 4);
    cp_json_member_number(&w, "processor_p99_ms", quantile_ms(m, m->cpu_us, 0.99), 4);
    cp_json_close_object(&w);
    puts(cp_strbuf_text(&text));
    cp_strbuf_deinit(&text);
}

static cp_status measure(cp_patient_store *store, size_t n, cp_error *err) {
    measuring m = {.store = store, .n = n};
    m.us = calloc(n, sizeof *m.us);
    m.cpu_us = calloc(n, sizeof *m.cpu_us);
    cp_status status = m.us && m.cpu_us ? cp_mrn_list_read(stdin, "stdin", &m.mrns, err)
                                        : cp_error_no_memory(err, "times");
    if (status == CP_OK)
        status = look_up_all(&m, err);
    if (status == CP_OK)
        show_times(&m);
    cp_mrn_list_deinit(&m.mrns);
    free(m.us);
    free(m.cpu_us);
    return status;
}

static cp_status run(const char *mrn, int64_t n, cp_error *err) {
    cp_settings settings;
    cp_patient_store *store;
    cp_status status = cp_settings_from_env(&settings, getenv, err);
    if (status == CP_OK)
        status = cp_patient_store_open(&settings, &store, err);
    if (status != CP_OK)
        return status;
    status = n > 0 ? measure(store, (size_t)n, err) : show_record(store, mrn, err);
    store->close(store);
    return status;
}

int cmd_lookup(int argc, char **argv) {
    const char *mrn = NULL;
    int64_t n = 0;
    cp_error err;
    const cp_arg args[] = {
        {"measure", CP_ARG_INT, &n, "N", "Look up N of the record numbers on stdin (one a line)", 1,
         MAX_LOOKUPS, false},
    };
    const cp_command_line line = {
        .usage = "carepath lookup MRN | carepath lookup --measure N < numbers",
        .summary = "Shows a patient's record as JSON, from the store that the environment names "
                   "(PATIENT_STORE, ...),\nor how long lookups take.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
        .positional = &mrn,
        .max_positional = 1,
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    if (!mrn == (n == 0)) {
        fprintf(stderr, "carepath lookup: expected either a record number or --measure N\n");
        return CP_EXIT_USAGE;
    }
    return run(mrn, n, &err) == CP_OK ? CP_EXIT_OK : cp_command_failed("lookup", &err);
}
