/* carepath ingest: patients' records and the knowledge base into the index. */
#include "server/commands.h"

#include "base/args.h"
#include "base/clock.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "server/ingest_follow.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct command {
    cp_settings settings;
    const char *mrns_path, *index_dir;
    bool json, show_mrns, follow;
    cp_progress progress;
    bool has_begun;
    size_t n_done;
} command;

static volatile sig_atomic_t stop_asked;

static void on_signal(int number) {
    (void)number;
    stop_asked = 1;
}

static bool is_stopped(void) {
    return stop_asked;
}

static bool on_progress(void *user, size_t n_done, size_t n_total) {
    command *c = user;
    if (c->follow)
        return !is_stopped();
    if (!c->has_begun)
        cp_progress_start_count(&c->progress, "ingesting", "patients", n_total);
    c->has_begun = true;
    c->n_done = n_done;
    cp_progress_update(&c->progress, n_done);
    return !is_stopped();
}

static void on_failed(void *user, const char *mrn, const cp_error *why) {
    const command *c = user;
    if (c->show_mrns)
        fprintf(stderr, "carepath ingest: %s: %s\n", mrn, why->message);
}

/* ---- summary ---------------------------------------------------------------------------- */

static void show_text(const cp_ingest_run *run, const cp_index_stats *stats, double seconds) {
    const cp_ingest_counts *n = &run->counts;
    printf("patients   %zu, %zu with a record that cannot be read, %zu gone\n", run->patients,
           run->failed, run->gone);
    printf(
        "documents  %zu seen: %zu added, %zu replaced, %zu unchanged, %zu left out; %zu removed\n",
        n->seen, n->added, n->replaced, n->unchanged, n->left_out, n->removed);
    printf("index      %zu documents in %zu chunks, %zu vectors, %.1f MiB; %zu chunks written\n",
           stats->n_docs, stats->n_chunks, stats->n_vectors,
           (double)(stats->segment_bytes + stats->tail_bytes) / (1 << 20), n->chunks);
    printf("%.1f s\n", seconds);
}

static void show_json(const cp_ingest_run *run, const cp_index_stats *stats, double seconds) {
    const cp_ingest_counts *n = &run->counts;
    cp_strbuf text;
    cp_json_writer w;
    cp_strbuf_init(&text, 4096);
    cp_json_writer_init(&w, &text);
    cp_json_open_object(&w);
    cp_json_member_int(&w, "patients", (int64_t)run->patients);
    cp_json_member_int(&w, "failed", (int64_t)run->failed);
    cp_json_member_int(&w, "gone", (int64_t)run->gone);
    cp_json_member_int(&w, "seen", (int64_t)n->seen);
    cp_json_member_int(&w, "added", (int64_t)n->added);
    cp_json_member_int(&w, "replaced", (int64_t)n->replaced);
    cp_json_member_int(&w, "unchanged", (int64_t)n->unchanged);
    cp_json_member_int(&w, "removed", (int64_t)n->removed);
    cp_json_member_int(&w, "left_out", (int64_t)n->left_out);
    cp_json_member_int(&w, "chunks", (int64_t)n->chunks);
    cp_json_key(&w, "index");
    cp_json_open_object(&w);
    cp_json_member_int(&w, "documents", (int64_t)stats->n_docs);
    cp_json_member_int(&w, "chunks", (int64_t)stats->n_chunks);
    cp_json_member_int(&w, "vectors", (int64_t)stats->n_vectors);
    cp_json_member_int(&w, "bytes", (int64_t)(stats->segment_bytes + stats->tail_bytes));
    cp_json_close_object(&w);
    cp_json_member_number(&w, "seconds", seconds, 4);
    cp_json_close_object(&w);
    puts(cp_strbuf_text(&text));
    cp_strbuf_deinit(&text);
}

static void show(const command *c, const cp_ingest_run *run, double seconds) {
    cp_index_view *view = cp_index_view_take(run->target.index);
    cp_index_stats stats = cp_index_view_stats(view);
    cp_index_view_release(view);
    (c->json ? show_json : show_text)(run, &stats, seconds);
    fflush(stdout);
}

/* ---- the command ------------------------------------------------------------------------ */

/* Without a bar: what it does is in the log. A signal ends waiting, hence no SA_RESTART. */
static cp_status follow(const command *c, cp_ingest_tools *tools, cp_ingest_run *run,
                        cp_error *err) {
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    cp_follow f = {.settings = &c->settings, .tools = tools, .run = run, .is_stopped = is_stopped};
    return cp_follow_changes(&f, err);
}

/* *complete: every record could be read. */
static cp_status ingest(command *c, cp_ingest_tools *tools, bool *complete, cp_error *err) {
    cp_mrn_list mrns = {.mrns = NULL};
    uint64_t begun = cp_clock_ns();
    cp_ingest_run run = {.target = cp_ingest_tools_target(tools),
                         .store = tools->store,
                         .knowledge = tools->knowledge,
                         .on_progress = on_progress,
                         .on_failed = on_failed,
                         .user = c};
    cp_status status = c->mrns_path ? cp_mrn_list_read_file(c->mrns_path, &mrns, err) : CP_OK;
    if (status == CP_OK)
        status = c->follow ? follow(c, tools, &run, err)
                           : cp_ingest_run_all(&run, c->mrns_path ? &mrns : NULL, err);
    if (c->has_begun)
        cp_progress_finish(&c->progress, c->n_done);
    if (status == CP_OK)
        show(c, &run, cp_clock_ms_since(begun) / 1e3);
    *complete = run.failed == 0 || c->follow;
    if (status == CP_OK && run.failed > 0 && !c->show_mrns)
        fprintf(stderr, "carepath ingest: %zu records cannot be read; --show-mrns tells whose\n",
                run.failed);
    cp_mrn_list_deinit(&mrns);
    return status;
}

static cp_status run_command(command *c, bool *complete, cp_error *err) {
    cp_ingest_tools tools = {.index = NULL};
    *complete = false;
    cp_status status = cp_settings_from_env(&c->settings, getenv, err);
    if (status == CP_OK && c->index_dir)
        c->settings.index_dir = c->index_dir;
    if (status == CP_OK) {
        cp_log_configure((cp_log_level)c->settings.log_level,
                         (cp_log_format)c->settings.log_format);
        status = cp_ingest_tools_open(&c->settings, true, &tools, err);
    }
    if (status == CP_OK)
        status = ingest(c, &tools, complete, err);
    cp_ingest_tools_close(&tools);
    return status;
}

int cmd_ingest(int argc, char **argv) {
    command c = {.mrns_path = NULL};
    cp_error err;
    bool complete;
    const cp_arg args[] = {
        {"index-dir", CP_ARG_TEXT, &c.index_dir, "DIR", "Folder of the index (INDEX_DIR)", 0, 0,
         false},
        {"mrns", CP_ARG_TEXT, &c.mrns_path, "FILE",
         "Only these patients: record numbers, one a line (- is stdin); a db-api needs it", 0, 0,
         false},
        {"follow", CP_ARG_FLAG, &c.follow, NULL,
         "Then wait for changes and ingest them, until SIGTERM (mongo, jsonl)", 0, 0, false},
        {"show-mrns", CP_ARG_FLAG, &c.show_mrns, NULL,
         "Name the patients whose records cannot be read, on stderr", 0, 0, false},
        {"json", CP_ARG_FLAG, &c.json, NULL, "Summary as JSON", 0, 0, false},
    };
    const cp_command_line line = {
        .usage = "carepath ingest [--index-dir DIR] [--mrns FILE | --follow] [--json]",
        .summary = "Puts the documents, encounters, claims and chat logs of all patients and the "
                   "knowledge base into the\nindex: the store, the model and the index are those "
                   "that the environment names (PATIENT_STORE,\nEMBEDDING_MODEL, INDEX_DIR, "
                   "VECTOR_MODE, ...). What is there and has not changed is left as it is, what\n"
                   "is gone is removed; a second run goes on where one was killed.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    if (c.follow && c.mrns_path) {
        fprintf(stderr, "carepath ingest: --follow is for all patients, --mrns for some\n");
        return CP_EXIT_USAGE;
    }
    if (run_command(&c, &complete, &err) != CP_OK)
        return cp_command_failed("ingest", &err);
    return complete ? CP_EXIT_OK : CP_EXIT_FAILED;
}
