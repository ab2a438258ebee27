#include "server/ingest_follow.h"

#include "base/file.h"
#include "base/log.h"
#include "server/change_feed.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECKPOINT     "follow-checkpoint"
#define MAX_CHECKPOINT ((size_t)64 << 10)
#define WAIT_MS        1000
#define PAUSE_MS       500
#define MAX_PAUSE_MS   30000
#define SLICE_MS       100

/* ---- the checkpoint --------------------------------------------------------------------- */

/* "SOURCE\nPOSITION\n": a checkpoint of another source counts for nothing. */
static void append_source(const cp_settings *settings, cp_strbuf *out) {
    if (settings->patient_store == CP_STORE_MONGO)
        cp_strbuf_printf(out, "mongo %s\n", settings->mongo_database);
    else
        cp_strbuf_puts(out, "jsonl\n");
}

static cp_status checkpoint_path(const cp_follow *f, char path[CP_PATH_CAP], cp_error *err) {
    return cp_path_join(f->settings->index_dir, CHECKPOINT, path, CP_PATH_CAP, err);
}

/* *position is "" where there is none. */
static cp_status read_checkpoint(const cp_follow *f, cp_strbuf *position, cp_error *err) {
    char path[CP_PATH_CAP];
    cp_strbuf text, source;
    cp_strbuf_clear(position);
    cp_status status = checkpoint_path(f, path, err);
    if (status != CP_OK)
        return status;
    cp_strbuf_init(&source, 4096);
    append_source(f->settings, &source);
    status = cp_file_read(path, MAX_CHECKPOINT, &text, err);
    if (status == CP_OK && strncmp(cp_strbuf_text(&text), cp_strbuf_text(&source), source.n) == 0) {
        const char *from = cp_strbuf_text(&text) + source.n;
        cp_strbuf_append(position, from, strcspn(from, "\n"));
    }
    cp_strbuf_deinit(&text);
    cp_strbuf_deinit(&source);
    return status == CP_ERR_NOT_FOUND ? CP_OK : status;
}

static cp_status write_checkpoint(const cp_follow *f, cp_change_feed *feed, cp_strbuf *last,
                                  cp_error *err) {
    char path[CP_PATH_CAP];
    cp_strbuf position, text;
    cp_strbuf_init(&position, MAX_CHECKPOINT);
    cp_strbuf_init(&text, MAX_CHECKPOINT);
    cp_status status = feed->position(feed, &position, err);
    if (status == CP_OK && !cp_str_equal(cp_strbuf_str(&position), cp_strbuf_str(last))) {
        append_source(f->settings, &text);
        cp_strbuf_printf(&text, "%s\n", cp_strbuf_text(&position));
        status = cp_strbuf_check(&text, "checkpoint", err);
        if (status == CP_OK)
            status = checkpoint_path(f, path, err);
        if (status == CP_OK)
            status = cp_file_write(path, cp_strbuf_str(&text), err);
        cp_strbuf_clear(last);
        cp_strbuf_append(last, cp_strbuf_text(&position), position.n);
    }
    cp_strbuf_deinit(&position);
    cp_strbuf_deinit(&text);
    return status;
}

/* ---- changes ---------------------------------------------------------------------------- */

static cp_status open_store_anew(cp_follow *f, cp_error *err) {
    cp_patient_store *store;
    cp_status status = cp_patient_store_open(f->settings, &store, err);
    if (status != CP_OK)
        return status;
    f->tools->store->close(f->tools->store);
    f->tools->store = f->run->store = store;
    return CP_OK;
}

static cp_status ingest_changed(cp_follow *f, cp_mrn_list *changed, cp_error *err) {
    cp_status status = CP_OK;
    cp_mrn_list_sort(changed);
    for (size_t i = 0; i < changed->n && status == CP_OK; i++)
        status = cp_ingest_run_one(f->run, changed->mrns[i], err);
    /* Also after a failure: what is put must not wait for a commit after which it is no longer so.
     */
    cp_error late;
    cp_status committed = cp_index_commit(f->run->target.index, status == CP_OK ? err : &late);
    return status == CP_OK ? committed : status;
}

static void log_changes(const cp_change_feed *feed, size_t n_patients, bool all,
                        const cp_ingest_counts *before, const cp_ingest_counts *now) {
    cp_log(CP_LOG_INFO, all ? "all records compared" : "changes ingested",
           CP_LOG_S("source", feed->kind), CP_LOG_I("patients", n_patients),
           CP_LOG_I("added", now->added - before->added),
           CP_LOG_I("replaced", now->replaced - before->replaced),
           CP_LOG_I("removed", now->removed - before->removed));
}

/* What the feed has told is in the index, committed. */
static cp_status take_in(cp_follow *f, cp_change_feed *feed, cp_mrn_list *changed, bool all,
                         cp_error *err) {
    cp_ingest_counts before = f->run->counts;
    size_t patients = f->run->patients;
    cp_status status = CP_OK;
    if (!all && changed->n == 0)
        return CP_OK;
    if (feed->must_read_anew)
        status = open_store_anew(f, err);
    if (status == CP_OK)
        status = all ? cp_ingest_run_all(f->run, NULL, err) : ingest_changed(f, changed, err);
    if (status == CP_OK)
        log_changes(feed, f->run->patients - patients, all, &before, &f->run->counts);
    return status;
}

/* From the checkpoint until something fails or it is stopped; *worked when something came in. */
static cp_status follow_feed(cp_follow *f, cp_strbuf *position, bool *worked, cp_error *err) {
    cp_change_feed *feed;
    bool all;
    cp_mrn_list changed = {.mrns = NULL};
    cp_status status = cp_change_feed_open(f->settings, cp_strbuf_text(position), &feed, &all, err);
    if (status != CP_OK)
        return status;
    cp_log(CP_LOG_INFO, "following changes", CP_LOG_S("source", feed->kind));
    while (status == CP_OK && !f->is_stopped()) {
        status = take_in(f, feed, &changed, all, err);
        if (status == CP_OK)
            status = write_checkpoint(f, feed, position, err);
        if (status != CP_OK)
            break;
        *worked = true;
        changed.n = 0;
        all = false;
        status = feed->next(feed, WAIT_MS, &changed, &all, err);
    }
    cp_mrn_list_deinit(&changed);
    feed->close(feed);
    return status;
}

/* ---- going on --------------------------------------------------------------------------- */

/* Of somebody else, who may come back. */
static bool may_pass(cp_status status) {
    return status == CP_ERR_IO || status == CP_ERR_BUSY || status == CP_ERR_CANCELLED;
}

static void pause_for(const cp_follow *f, int64_t ms) {
    const struct timespec slice = {.tv_nsec = SLICE_MS * 1000000L};
    for (; ms > 0 && !f->is_stopped(); ms -= SLICE_MS)
        nanosleep(&slice, NULL);
}

cp_status cp_follow_changes(cp_follow *f, cp_error *err) {
    cp_strbuf position;
    int64_t pause = PAUSE_MS;
    cp_strbuf_init(&position, MAX_CHECKPOINT);
    cp_status status = read_checkpoint(f, &position, err);
    while (status == CP_OK && !f->is_stopped()) {
        bool worked = false;
        status = follow_feed(f, &position, &worked, err);
        if (f->is_stopped() || !may_pass(status))
            break;
        cp_log(CP_LOG_WARN, "following changes fails, goes on in a moment",
               CP_LOG_S("reason", err->message));
        pause = worked ? PAUSE_MS : pause;
        pause_for(f, pause);
        pause = 2 * pause < MAX_PAUSE_MS ? 2 * pause : MAX_PAUSE_MS;
        status = read_checkpoint(f, &position, err);
    }
    cp_strbuf_deinit(&position);
    return f->is_stopped() && (status == CP_OK || may_pass(status)) ? CP_OK : status;
}
