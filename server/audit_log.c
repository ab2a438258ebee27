#include "server/audit_log.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "server/audit_model.h"
#include "server/audit_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_GROUP_BYTES (2 * CP_AUDIT_MAX_LINE) /* lines of one write */
#define ANCHOR_MS       3.6e6                   /* how often the head is told in the log */

typedef struct waiting {
    struct waiting *next;
    cp_strbuf body;
    cp_audit_done *done;
    void *user;
} waiting;

struct cp_audit {
    char path[CP_PATH_CAP], dir[CP_PATH_CAP], model_dir[CP_PATH_CAP];
    size_t rotate_bytes;
    cp_audit_keys keys;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* over the next nine */
    pthread_cond_t changed, settled;
    waiting *first, **last;
    size_t n_unfinished; /* submitted, and done has not returned */
    bool stopping;
    bool has_new_model; /* model_dir is to be hashed */
    uint64_t n_failed;  /* records that were not written */
    cp_audit_place acknowledged;

    /* The audit thread's, once it runs. */
    int log_fd, head_fd; /* -1: not open */
    cp_audit_place next;
    uint64_t part_seq;  /* of the first record in PATH */
    size_t part_bytes;  /* of PATH, all acknowledged */
    unsigned head_slot; /* the one to write next */
    char weights[CP_AUDIT_HEX_CAP];
    cp_strbuf lines;
    uint64_t anchored_ns;
};

/* ---- the disk ---------------------------------------------------------------------------------
 */

static cp_status failed_to(const cp_audit *audit, const char *doing, cp_error *err) {
    return cp_error_set(err, CP_ERR_IO, "%s: cannot %s: %s", audit->path, doing, strerror(errno));
}

/* Names in the log's folder: files made and renamed there. */
static cp_status sync_folder(const cp_audit *audit, cp_error *err) {
    int fd = open(audit->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    cp_status status = synced ? CP_OK : failed_to(audit, "sync the folder", err);
    if (fd >= 0)
        close(fd);
    return status;
}

static cp_status open_part(cp_audit *audit, cp_error *err) {
    audit->log_fd = open(audit->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (audit->log_fd < 0)
        return failed_to(audit, "open", err);
    return sync_folder(audit, err);
}

/* PATH becomes PATH.<first seq> and a new PATH begins. Killed in between, the next start makes it.
 * What an earlier failure or a killed writer left behind the acknowledged bytes is cut before. */
static cp_status rotate(cp_audit *audit, cp_error *err) {
    char older[CP_PATH_CAP];
    int n = snprintf(older, sizeof older, "%s.%012" PRIu64, audit->path, audit->part_seq);
    if (n < 0 || (size_t)n >= sizeof older)
        return cp_error_set(err, CP_ERR_LIMIT, "%s: path is too long", audit->path);
    if (cp_file_exists(older))
        return cp_error_set(err, CP_ERR_IO, "%s: is there already", older);
    if (ftruncate(audit->log_fd, (off_t)audit->part_bytes) != 0 || fdatasync(audit->log_fd) != 0)
        return failed_to(audit, "cut", err);
    if (rename(audit->path, older) != 0)
        return failed_to(audit, "rename", err);
    close(audit->log_fd);
    audit->log_fd = -1;
    audit->part_bytes = 0;
    audit->part_seq = audit->next.seq;
    return open_part(audit, err);
}

/* Also undoes what an earlier failure left behind the acknowledged bytes. */
static cp_status write_lines(cp_audit *audit, cp_error *err) {
    if (audit->log_fd < 0) {
        cp_status status = open_part(audit, err);
        if (status != CP_OK)
            return status;
    }
    if (ftruncate(audit->log_fd, (off_t)audit->part_bytes) != 0)
        return failed_to(audit, "cut", err);
    for (size_t at = 0; at < audit->lines.n;) {
        ssize_t put = pwrite(audit->log_fd, audit->lines.data + at, audit->lines.n - at,
                             (off_t)(audit->part_bytes + at));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return failed_to(audit, "write", err);
        at += (size_t)put;
    }
    return fdatasync(audit->log_fd) == 0 ? CP_OK : failed_to(audit, "sync", err);
}

/* audit->lines, which end at `next`, onto the disk; then they count. */
static cp_status commit(cp_audit *audit, const cp_audit_place *next, cp_error *err) {
    cp_status status = CP_OK;
    if (audit->log_fd >= 0 && audit->part_bytes >= audit->rotate_bytes)
        status = rotate(audit, err);
    if (status == CP_OK)
        status = write_lines(audit, err);
    if (status == CP_OK) {
        status = cp_audit_head_write(audit->head_fd, audit->head_slot, &audit->keys, next, err);
        if (status != CP_OK && cp_audit_head_write(audit->head_fd, audit->head_slot, &audit->keys,
                                                   &audit->next, NULL) != CP_OK)
            cp_log(CP_LOG_ERROR, "audit: the head could not be taken back");
    }
    if (status != CP_OK) {
        if (audit->log_fd >= 0 && ftruncate(audit->log_fd, (off_t)audit->part_bytes) != 0)
            cp_log(CP_LOG_ERROR, "audit: an unacknowledged record could not be taken back");
        return status;
    }
    audit->part_bytes += audit->lines.n;
    audit->head_slot = !audit->head_slot;
    audit->next = *next;
    pthread_mutex_lock(&audit->lock);
    audit->acknowledged = *next;
    pthread_mutex_unlock(&audit->lock);
    return CP_OK;
}

/* ---- the audit thread -------------------------------------------------------------------------
 */

static cp_status add_line(cp_audit *audit, const waiting *record, cp_audit_place *next,
                          cp_error *err) {
    cp_strbuf body;
    cp_strbuf_init(&body, CP_AUDIT_MAX_LINE);
    if (audit->weights[0])
        cp_strbuf_printf(&body, "\"weights\":\"%s\",", audit->weights);
    else
        cp_strbuf_puts(&body, "\"weights\":null,");
    cp_strbuf_append(&body, record->body.data, record->body.n);
    cp_status status = cp_strbuf_check(&body, "audit record", err);
    if (status == CP_OK)
        status = cp_audit_line_append(&audit->keys, next, cp_strbuf_str(&body), &audit->lines, err);
    cp_strbuf_deinit(&body);
    return status;
}

static void finish(cp_audit *audit, waiting *record, cp_status status, const cp_error *err) {
    pthread_mutex_lock(&audit->lock);
    audit->n_failed += status != CP_OK;
    pthread_mutex_unlock(&audit->lock);
    record->done(record->user, status, err);
    pthread_mutex_lock(&audit->lock);
    if (--audit->n_unfinished == 0)
        pthread_cond_broadcast(&audit->settled);
    pthread_mutex_unlock(&audit->lock);
    cp_strbuf_deinit(&record->body);
    free(record);
}

/* As many of `list` as one write takes; returns those that are left. */
static waiting *commit_group(cp_audit *audit, waiting *list) {
    cp_error err = {0};
    cp_audit_place next = audit->next;
    waiting *rest = list;
    cp_status status = CP_OK;
    cp_strbuf_clear(&audit->lines);
    do {
        status = add_line(audit, rest, &next, &err);
        rest = rest->next;
    } while (status == CP_OK && rest && audit->lines.n + rest->body.n < CP_AUDIT_MAX_LINE);
    if (status == CP_OK)
        status = commit(audit, &next, &err);
    if (status != CP_OK)
        cp_log(CP_LOG_ERROR, "audit: records could not be written",
               CP_LOG_S("reason", err.message));
    while (list != rest) {
        waiting *record = list;
        list = record->next;
        finish(audit, record, status, &err);
    }
    return rest;
}

/* Everything that waits, in order; NULL when the log is being closed and nothing waits, or there is
 * a model to be hashed. */
static waiting *take(cp_audit *audit, bool *new_model) {
    pthread_mutex_lock(&audit->lock);
    while (!audit->first && !audit->stopping && !audit->has_new_model)
        pthread_cond_wait(&audit->changed, &audit->lock);
    waiting *list = audit->first;
    *new_model = audit->has_new_model;
    audit->has_new_model = false;
    audit->first = NULL;
    audit->last = &audit->first;
    pthread_mutex_unlock(&audit->lock);
    return list;
}

/* The head, in the server's own log: whoever keeps that elsewhere sees an audit log put back. */
static void tell_head(cp_audit *audit) {
    audit->anchored_ns = cp_clock_ns();
    cp_log(CP_LOG_INFO, "audit head", CP_LOG_I("records", audit->next.seq - 1),
           CP_LOG_S("last", audit->next.prev));
}

static void hash_model(cp_audit *audit) {
    char cache[CP_PATH_CAP];
    cp_error err;
    uint64_t start = cp_clock_ns();
    int n = snprintf(cache, sizeof cache, "%s.model", audit->path);
    bool fits = n > 0 && (size_t)n < sizeof cache;
    if (cp_audit_model_hash(audit->model_dir, fits ? cache : NULL, &audit->keys, audit->weights,
                            &err) == CP_OK)
        cp_log(CP_LOG_INFO, "audit: the model's hash is known", CP_LOG_S("sha256", audit->weights),
               CP_LOG_N("ms", cp_clock_ms_since(start)));
    else
        cp_log(CP_LOG_ERROR, "audit: the model cannot be hashed; records will not name it",
               CP_LOG_S("reason", err.message));
}

static void *audit_main(void *arg) {
    cp_audit *audit = arg;
    waiting *list;
    bool new_model;
    tell_head(audit);
    while ((list = take(audit, &new_model)) || new_model) {
        if (new_model)
            hash_model(audit);
        while (list)
            list = commit_group(audit, list);
        if (cp_clock_ms_since(audit->anchored_ns) > ANCHOR_MS)
            tell_head(audit);
    }
    tell_head(audit);
    return NULL;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static void keep_first_fault(void *user, const char *sentence) {
    cp_error *first = user;
    if (first->status == CP_OK)
        cp_error_set(first, CP_ERR_FORMAT, "%s", sentence);
}

/* What the log and its head say, before anything is written. A new log: CP_ERR_NOT_FOUND. */
static cp_status examine(cp_audit *audit, cp_audit_scan *scan, cp_error *err) {
    cp_error first = {0};
    *scan = (cp_audit_scan){.keys = &audit->keys,
                            .on_fault = keep_first_fault,
                            .user = &first,
                            .last_parts_only = true};
    cp_status status = cp_audit_scan_run(audit->path, scan, err);
    if (status == CP_OK && scan->n_faults == 0 && strcmp(scan->head.key_id, audit->keys.id) != 0)
        keep_first_fault(&first, "the log was made with a SECRET_KEY, and now there is none");
    if (status == CP_OK && first.status != CP_OK)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: the audit log cannot be continued: %s; see \"carepath audit "
                            "verify\", then move the log and its head away to begin a new one",
                            audit->path, first.message);
    return status;
}

/* Both slots, before the log itself: a log is never without a head. */
static cp_status begin_head(cp_audit *audit, cp_error *err) {
    cp_status status = CP_OK;
    for (unsigned slot = 0; slot < 2 && status == CP_OK; slot++)
        status = cp_audit_head_write(audit->head_fd, slot, &audit->keys, &audit->next, err);
    return status == CP_OK ? sync_folder(audit, err) : status;
}

/* One writer a log. The head's file is never renamed, so it carries the lock. */
static cp_status lock_head(cp_audit *audit, cp_error *err) {
    char path[CP_PATH_CAP];
    int n = snprintf(path, sizeof path, "%s.head", audit->path);
    if (n < 0 || (size_t)n >= sizeof path)
        return cp_error_set(err, CP_ERR_LIMIT, "%s: path is too long", audit->path);
    audit->head_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (audit->head_fd < 0)
        return failed_to(audit, "open the head of", err);
    if (flock(audit->head_fd, LOCK_EX | LOCK_NB) != 0)
        return cp_error_set(err, CP_ERR_BUSY, "%s: another process writes this audit log",
                            audit->path);
    return CP_OK;
}

/* Records whose writer was killed before it wrote the head are good, and counted from now on: the
 * head is never more than one write behind. */
static cp_status catch_up(cp_audit *audit, const cp_audit_scan *scan, cp_error *err) {
    if (scan->head.slots[scan->head.newest].next.seq == audit->next.seq)
        return CP_OK;
    if (fdatasync(audit->log_fd) != 0)
        return failed_to(audit, "sync", err);
    cp_status status =
        cp_audit_head_write(audit->head_fd, audit->head_slot, &audit->keys, &audit->next, err);
    audit->head_slot = !audit->head_slot;
    return status;
}

/* Cuts what was never acknowledged and says so in the log. */
static cp_status note_cut(cp_audit *audit, size_t bytes, cp_error *err) {
    waiting note = {0};
    cp_audit_place next = audit->next;
    cp_strbuf_init(&note.body, 1024);
    cp_status status = cp_audit_note_append("unfinished_record_cut", bytes, &note.body, err);
    if (status == CP_OK)
        status = add_line(audit, &note, &next, err);
    if (status == CP_OK)
        status = commit(audit, &next, err);
    cp_strbuf_deinit(&note.body);
    cp_log(CP_LOG_WARN, "audit: an unfinished record was cut off", CP_LOG_I("bytes", bytes));
    return status;
}

/* An empty head file: its maker was killed before it wrote the slots. The log is made after them,
 * so there is none that could have lost anything. */
static bool is_unborn(const cp_audit *audit) {
    struct stat head;
    cp_audit_part *parts = NULL;
    size_t n = 1;
    bool empty = fstat(audit->head_fd, &head) == 0 &&
                 (size_t)head.st_size < 2 * CP_AUDIT_SLOT_BYTES &&
                 cp_audit_parts(audit->path, &parts, &n, NULL) == CP_OK && n == 0;
    free(parts);
    return empty;
}

static cp_status open_log(cp_audit *audit, cp_error *err) {
    cp_audit_scan scan = {0};
    cp_audit_place_init(&audit->next);
    cp_status status = lock_head(audit, err);
    if (status != CP_OK)
        return status;
    bool unborn = is_unborn(audit);
    status = unborn ? begin_head(audit, err) : examine(audit, &scan, err);
    if (status == CP_OK && !unborn) {
        audit->next = scan.next;
        audit->part_bytes = scan.last_part_bytes;
        audit->head_slot = !scan.head.newest;
    }
    audit->part_seq = unborn ? 1 : scan.part_seq;
    if (status == CP_OK)
        status = open_part(audit, err);
    if (status == CP_OK && !unborn)
        status = catch_up(audit, &scan, err);
    if (status == CP_OK && scan.torn_bytes > 0)
        status = note_cut(audit, scan.torn_bytes, err);
    audit->acknowledged = audit->next;
    return status;
}

/* The folder of PATH, made when it is missing; the one above it must be there. */
static cp_status make_folder(cp_audit *audit, cp_error *err) {
    const char *slash = strrchr(audit->path, '/');
    if (!slash)
        snprintf(audit->dir, sizeof audit->dir, ".");
    else
        snprintf(audit->dir, sizeof audit->dir, "%.*s", (int)(slash - audit->path + 1),
                 audit->path);
    if (mkdir(audit->dir, 0700) != 0 && errno != EEXIST)
        return cp_error_set(err, CP_ERR_IO, "%s: cannot make this folder for the audit log: %s",
                            audit->dir, strerror(errno));
    return CP_OK;
}

static cp_status prepare(cp_audit *audit, const cp_audit_options *options, cp_error *err) {
    audit->rotate_bytes = options->rotate_bytes ? options->rotate_bytes : CP_AUDIT_ROTATE_BYTES;
    audit->log_fd = audit->head_fd = -1;
    audit->last = &audit->first;
    cp_strbuf_init(&audit->lines, MAX_GROUP_BYTES);
    pthread_mutex_init(&audit->lock, NULL);
    pthread_cond_init(&audit->changed, NULL);
    pthread_cond_init(&audit->settled, NULL);
    audit->has_new_model = options->model_dir && *options->model_dir;
    int n = snprintf(audit->path, sizeof audit->path, "%s", options->path);
    int m = snprintf(audit->model_dir, sizeof audit->model_dir, "%s",
                     options->model_dir ? options->model_dir : "");
    if (n < 0 || (size_t)n >= sizeof audit->path || m < 0 || (size_t)m >= sizeof audit->model_dir)
        return cp_error_set(err, CP_ERR_LIMIT, "the audit log's path is too long");
    return cp_audit_keys_derive(options->secret, &audit->keys, err);
}

cp_status cp_audit_open(const cp_audit_options *options, cp_audit **out, cp_error *err) {
    *out = NULL;
    cp_audit *audit = calloc(1, sizeof *audit);
    if (!audit)
        return cp_error_no_memory(err, "the audit log");
    cp_status status = prepare(audit, options, err);
    if (status == CP_OK)
        status = make_folder(audit, err);
    if (status == CP_OK)
        status = open_log(audit, err);
    if (status == CP_OK) {
        int failed = pthread_create(&audit->thread, NULL, audit_main, audit);
        audit->started = failed == 0;
        if (failed)
            status = cp_error_set(err, CP_ERR_IO, "cannot start a thread: %s", strerror(failed));
    }
    if (status == CP_OK)
        *out = audit;
    else
        cp_audit_close(audit);
    return status;
}

void cp_audit_set_model(cp_audit *audit, const char *model_dir) {
    pthread_mutex_lock(&audit->lock);
    snprintf(audit->model_dir, sizeof audit->model_dir, "%s", model_dir);
    audit->has_new_model = true;
    pthread_cond_signal(&audit->changed);
    pthread_mutex_unlock(&audit->lock);
}

void cp_audit_close(cp_audit *audit) {
    if (!audit)
        return;
    pthread_mutex_lock(&audit->lock);
    audit->stopping = true;
    pthread_cond_signal(&audit->changed);
    pthread_mutex_unlock(&audit->lock);
    if (audit->started)
        pthread_join(audit->thread, NULL);
    if (audit->log_fd >= 0)
        close(audit->log_fd);
    if (audit->head_fd >= 0)
        close(audit->head_fd);
    cp_strbuf_deinit(&audit->lines);
    pthread_cond_destroy(&audit->changed);
    pthread_cond_destroy(&audit->settled);
    pthread_mutex_destroy(&audit->lock);
    cp_audit_keys_wipe(&audit->keys);
    free(audit);
}

/* ---- any thread -------------------------------------------------------------------------------
 */

/* What a record is made of: one of both. */
typedef struct matter {
    const cp_audit_entry *entry;
    const cp_audit_access *access;
} matter;

static cp_status submit(cp_audit *audit, matter of, cp_audit_done *done, void *user,
                        cp_error *err) {
    waiting *record = calloc(1, sizeof *record);
    if (!record)
        return cp_error_no_memory(err, "audit record");
    record->done = done;
    record->user = user;
    cp_strbuf_init(&record->body, CP_AUDIT_MAX_LINE);
    cp_status status = of.entry
                           ? cp_audit_record_append(&audit->keys, of.entry, &record->body, err)
                           : cp_audit_access_append(&audit->keys, of.access, &record->body, err);
    if (status != CP_OK) {
        cp_strbuf_deinit(&record->body);
        free(record);
        return status;
    }
    pthread_mutex_lock(&audit->lock);
    *audit->last = record;
    audit->last = &record->next;
    audit->n_unfinished++;
    pthread_cond_signal(&audit->changed);
    pthread_mutex_unlock(&audit->lock);
    return CP_OK;
}

typedef struct arrival {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    cp_status status;
    cp_error *err;
} arrival;

static void arrived(void *user, cp_status status, const cp_error *err) {
    arrival *a = user;
    pthread_mutex_lock(&a->lock);
    a->done = true;
    a->status = status;
    if (status != CP_OK && a->err)
        *a->err = *err;
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

static cp_status append(cp_audit *audit, matter of, cp_error *err) {
    arrival a = {.err = err};
    pthread_mutex_init(&a.lock, NULL);
    pthread_cond_init(&a.changed, NULL);
    cp_status status = submit(audit, of, arrived, &a, err);
    if (status == CP_OK) {
        pthread_mutex_lock(&a.lock);
        while (!a.done)
            pthread_cond_wait(&a.changed, &a.lock);
        pthread_mutex_unlock(&a.lock);
        status = a.status;
    }
    pthread_cond_destroy(&a.changed);
    pthread_mutex_destroy(&a.lock);
    return status;
}

cp_status cp_audit_submit(cp_audit *audit, const cp_audit_entry *entry, cp_audit_done *done,
                          void *user, cp_error *err) {
    return submit(audit, (matter){.entry = entry}, done, user, err);
}

cp_status cp_audit_append(cp_audit *audit, const cp_audit_entry *entry, cp_error *err) {
    return append(audit, (matter){.entry = entry}, err);
}

cp_status cp_audit_submit_access(cp_audit *audit, const cp_audit_access *access,
                                 cp_audit_done *done, void *user, cp_error *err) {
    return submit(audit, (matter){.access = access}, done, user, err);
}

cp_status cp_audit_append_access(cp_audit *audit, const cp_audit_access *access, cp_error *err) {
    return append(audit, (matter){.access = access}, err);
}

void cp_audit_settle(cp_audit *audit) {
    if (!audit)
        return;
    pthread_mutex_lock(&audit->lock);
    while (audit->n_unfinished > 0)
        pthread_cond_wait(&audit->settled, &audit->lock);
    pthread_mutex_unlock(&audit->lock);
}

uint64_t cp_audit_n_records(cp_audit *audit, char last[CP_AUDIT_HEX_CAP]) {
    pthread_mutex_lock(&audit->lock);
    uint64_t n = audit->acknowledged.seq - 1;
    memcpy(last, audit->acknowledged.prev, CP_AUDIT_HEX_CAP);
    pthread_mutex_unlock(&audit->lock);
    return n;
}

uint64_t cp_audit_n_failed(cp_audit *audit) {
    pthread_mutex_lock(&audit->lock);
    uint64_t n = audit->n_failed;
    pthread_mutex_unlock(&audit->lock);
    return n;
}
