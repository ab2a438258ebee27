/* The embedded store: five JSON Lines files, read and checked once, then only read; and beside them
 * a journal of what was imported.
 *
 * Each file stays in memory as its text; an index entry points at one line, and get() parses the
 * few lines of one patient. Trees would take about ten times the memory of the text and would have
 * to be copied on every get anyway, because the caller owns the record. The index is sorted
 * (patients by MRN; other rows by patient, date and place in the file), so a lookup is a binary
 * search and "oldest first" costs nothing.
 *
 * A change is appended to imports.jsonl and synced before it counts; the record that it makes is
 * kept whole, as text, in `changed`, which goes before the files. Opening the store applies the
 * journal again. A last line without its line end was never acknowledged: it is passed over, and
 * cut off before the next change. Any number of threads: the files need no lock; `changed` has one
 * that nobody holds while the disk works; changes take turns. */
#include "server/patient_store.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_LINE_BYTES ((size_t)1 << 20)
#define MAX_FILE_BYTES ((size_t)1 << 30)
#define DATE_CAP       11 /* "YYYY-MM-DD" and a NUL */
#define SOURCE_CAP     (CP_PATH_CAP + 32)
#define JOURNAL_NAME   "imports.jsonl"

enum { PATIENTS, ENCOUNTERS, CLAIMS, DOCUMENTS, CHAT_LOGS, N_FILES };
static const char *const file_names[N_FILES] = {
    "patients.jsonl", "encounters.jsonl", "claims.jsonl", "documents.jsonl", "chat_logs.jsonl"};

/* One line of a file. `offset` fits because a file is at most 1 GiB. */
typedef struct row {
    uint32_t patient; /* index into the sorted patients */
    uint32_t offset, n_bytes;
    uint32_t line; /* counted from 1 */
    char date[DATE_CAP];
} row;

typedef struct patient_row {
    char mrn[CP_MRN_CAP];
    uint32_t offset, n_bytes, line;
} patient_row;

typedef struct changed_row {
    char mrn[CP_MRN_CAP];
    char *text; /* the whole record as JSON */
    size_t n_bytes;
} changed_row;

typedef struct table {
    cp_strbuf text;
    row *rows;
    size_t n, cap;
} table;

typedef struct jsonl_store {
    cp_patient_store base; /* first: the interface is the store */
    table tables[N_FILES]; /* tables[PATIENTS] has text only */
    patient_row *patients;
    size_t n_patients, patients_cap;
    pthread_mutex_t turn;  /* of who changes; the only one to write what follows */
    pthread_rwlock_t lock; /* of `changed` and its numbers */
    changed_row *changed;  /* [n_changed], sorted by mrn */
    size_t n_changed, changed_cap;
    size_t n_new;            /* of them in no file */
    int journal;             /* -1 until the first change */
    off_t torn_at, torn_end; /* the unfinished line that the journal ended with; equal: none */
    char dir[CP_PATH_CAP], journal_path[CP_PATH_CAP];
} jsonl_store;

/* ---- looking up ------------------------------------------------------------------------- */

static int compare_patients(const void *a, const void *b) {
    return strcmp(((const patient_row *)a)->mrn, ((const patient_row *)b)->mrn);
}

static int compare_rows(const void *left, const void *right) {
    const row *a = left, *b = right;
    if (a->patient != b->patient)
        return a->patient < b->patient ? -1 : 1;
    int by_date = strcmp(a->date, b->date);
    if (by_date != 0)
        return by_date;
    return (a->line > b->line) - (a->line < b->line);
}

static const patient_row *find_patient(const jsonl_store *store, const char *mrn) {
    patient_row key = {0};
    if (!cp_mrn_is_valid(mrn) || store->n_patients == 0)
        return NULL;
    memcpy(key.mrn, mrn, strlen(mrn) + 1);
    return bsearch(&key, store->patients, store->n_patients, sizeof key, compare_patients);
}

/* The first row of `patient`, or where it would stand. */
static size_t first_row(const table *t, uint32_t patient) {
    size_t lo = 0, hi = t->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (t->rows[mid].patient < patient)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* ---- reading ---------------------------------------------------------------------------- */

/* What a check of one line is told: names for errors, and the line itself. */
typedef struct line_at {
    jsonl_store *store;
    unsigned file;
    const char *source; /* "DIR/FILE: line N" */
    uint32_t offset, n_bytes, line;
} line_at;

static cp_status add_patient(const line_at *at, const cJSON *tree, cp_error *err) {
    jsonl_store *store = at->store;
    cp_status status = cp_record_check_patient(at->source, tree, NULL, err);
    if (status != CP_OK)
        return status;
    const char *mrn = cp_json_member(tree, "mrn")->valuestring;
    if (!cp_grow((void **)&store->patients, &store->patients_cap, store->n_patients + 1,
                 sizeof *store->patients))
        return cp_error_no_memory(err, "index of patients");
    patient_row *added = &store->patients[store->n_patients++];
    *added = (patient_row){.offset = at->offset, .n_bytes = at->n_bytes, .line = at->line};
    memcpy(added->mrn, mrn, strlen(mrn) + 1);
    return CP_OK;
}

static cp_status add_row(const line_at *at, cJSON *tree, cp_error *err) {
    table *t = &at->store->tables[at->file];
    cp_status status = cp_record_check_row(at->source, at->file - ENCOUNTERS, tree, NULL, err);
    if (status != CP_OK)
        return status;
    const char *mrn = cp_json_member(tree, "mrn")->valuestring;
    const char *date = cp_json_member(tree, "date")->valuestring;
    const patient_row *patient = find_patient(at->store, mrn);
    if (!patient)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: mrn names no patient of %s", at->source,
                            file_names[PATIENTS]);
    if (!cp_grow((void **)&t->rows, &t->cap, t->n + 1, sizeof *t->rows))
        return cp_error_no_memory(err, "index of records");
    row *added = &t->rows[t->n++];
    *added = (row){.patient = (uint32_t)(patient - at->store->patients),
                   .offset = at->offset,
                   .n_bytes = at->n_bytes,
                   .line = at->line};
    memcpy(added->date, date, DATE_CAP);
    return CP_OK;
}

static cp_status add_line(const line_at *at, const char *text, cp_error *err) {
    if (at->n_bytes > MAX_LINE_BYTES)
        return cp_error_set(err, CP_ERR_LIMIT, "%s: %u bytes, at most %zu are read", at->source,
                            at->n_bytes, MAX_LINE_BYTES);
    if (at->n_bytes == 0)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: empty line", at->source);
    cJSON *tree = NULL;
    cp_status status = cp_json_parse(at->source, text, at->n_bytes, &tree, err);
    if (status == CP_OK)
        status = at->file == PATIENTS ? add_patient(at, tree, err) : add_row(at, tree, err);
    cJSON_Delete(tree);
    return status;
}

static cp_status add_lines(jsonl_store *store, unsigned file, const char *path, cp_error *err) {
    const cp_strbuf *text = &store->tables[file].text;
    const char *start = cp_strbuf_text(text), *end = start + text->n;
    char source[SOURCE_CAP];
    cp_status status = CP_OK;
    uint32_t line = 0;
    for (const char *at = start, *next; at < end && status == CP_OK; at = next) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        next = newline ? newline + 1 : end;
        snprintf(source, sizeof source, "%s: line %u", path, ++line);
        line_at here = {.store = store,
                        .file = file,
                        .source = source,
                        .offset = (uint32_t)(at - start),
                        .n_bytes = (uint32_t)((newline ? newline : end) - at),
                        .line = line};
        status = add_line(&here, at, err);
    }
    return status;
}

static cp_status index_patients(jsonl_store *store, const char *path, cp_error *err) {
    if (store->n_patients > 0)
        qsort(store->patients, store->n_patients, sizeof *store->patients, compare_patients);
    for (size_t i = 1; i < store->n_patients; i++) {
        const patient_row *a = &store->patients[i - 1], *b = &store->patients[i];
        if (strcmp(a->mrn, b->mrn) == 0)
            return cp_error_set(err, CP_ERR_FORMAT, "%s: lines %u and %u have the same mrn", path,
                                a->line < b->line ? a->line : b->line,
                                a->line < b->line ? b->line : a->line);
    }
    return CP_OK;
}

static cp_status read_table(jsonl_store *store, const char *dir, unsigned file, cp_error *err) {
    table *t = &store->tables[file];
    char path[CP_PATH_CAP];
    cp_status status = cp_path_join(dir, file_names[file], path, sizeof path, err);
    if (status == CP_OK)
        status = cp_file_read(path, MAX_FILE_BYTES, &t->text, err);
    if (status == CP_OK)
        status = add_lines(store, file, path, err);
    if (status == CP_OK && file == PATIENTS)
        status = index_patients(store, path, err);
    if (t->n > 0)
        qsort(t->rows, t->n, sizeof *t->rows, compare_rows);
    return status;
}

/* ---- building a record ------------------------------------------------------------------ */

static cp_status parse_rows(const table *t, uint32_t patient, cJSON *list, cp_error *err) {
    cp_status status = CP_OK;
    for (size_t i = first_row(t, patient);
         status == CP_OK && i < t->n && t->rows[i].patient == patient; i++) {
        cJSON *tree = NULL;
        status = cp_json_parse("patient record", cp_strbuf_text(&t->text) + t->rows[i].offset,
                               t->rows[i].n_bytes, &tree, err);
        if (status == CP_OK && !cJSON_AddItemToArray(list, tree)) {
            cJSON_Delete(tree);
            status = cp_error_no_memory(err, "patient record");
        }
    }
    return status;
}

/* From the files. */
static cp_status build_record(const jsonl_store *store, const patient_row *found,
                              cp_patient_record **out, cp_error *err) {
    uint32_t patient = (uint32_t)(found - store->patients);
    cp_patient_record *record = cp_patient_record_create(found->mrn);
    if (!record)
        return cp_error_no_memory(err, "patient record");
    cJSON_Delete(record->patient);
    cp_status status = cp_json_parse("patient record",
                                     cp_strbuf_text(&store->tables[PATIENTS].text) + found->offset,
                                     found->n_bytes, &record->patient, err);
    for (unsigned file = ENCOUNTERS; file < N_FILES && status == CP_OK; file++)
        status = parse_rows(&store->tables[file], patient,
                            *cp_record_list(record, file - ENCOUNTERS), err);
    if (status == CP_OK)
        *out = record;
    else
        cp_patient_record_free(record);
    return status;
}

/* Where in `changed` this patient is, or would be. */
static size_t changed_place(const jsonl_store *store, const char *mrn) {
    size_t lo = 0, hi = store->n_changed;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (strcmp(store->changed[mid].mrn, mrn) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static changed_row *find_changed(const jsonl_store *store, const char *mrn) {
    size_t at = changed_place(store, mrn);
    bool found = at < store->n_changed && strcmp(store->changed[at].mrn, mrn) == 0;
    return found ? &store->changed[at] : NULL;
}

/* Under the lock, or by who has the turn. */
static cp_status current_record(const jsonl_store *store, const char *mrn, cp_patient_record **out,
                                cp_error *err) {
    const patient_row *found = find_patient(store, mrn);
    const changed_row *changed = cp_mrn_is_valid(mrn) ? find_changed(store, mrn) : NULL;
    if (changed)
        return cp_patient_record_parse("patient record", (cp_str){changed->text, changed->n_bytes},
                                       mrn, out, err);
    if (found)
        return build_record(store, found, out, err);
    return cp_error_set(err, CP_ERR_NOT_FOUND, "no patient has this mrn");
}

/* ---- changes ---------------------------------------------------------------------------- */

/* The record as it will be after the change. */
static cp_status changed_text(const jsonl_store *store, const cp_patient_change *change,
                              cp_strbuf *out, cp_error *err) {
    cp_patient_record *record = NULL;
    cp_status status = current_record(store, change->mrn, &record, err);
    if (status == CP_ERR_NOT_FOUND) {
        record = cp_patient_record_create(change->mrn);
        status = record ? CP_OK : cp_error_no_memory(err, "patient record");
    }
    if (status == CP_OK)
        status = cp_patient_record_apply(record, change, err);
    if (status == CP_OK)
        status = cp_patient_record_append(record, out, err);
    cp_patient_record_free(record);
    return status;
}

/* Makes room for one more row; nothing is visible yet. */
static cp_status reserve_changed(jsonl_store *store, cp_error *err) {
    pthread_rwlock_wrlock(&store->lock);
    bool fits = cp_grow((void **)&store->changed, &store->changed_cap, store->n_changed + 1,
                        sizeof *store->changed);
    pthread_rwlock_unlock(&store->lock);
    return fits ? CP_OK : cp_error_no_memory(err, "index of changes");
}

/* Cannot fail: the row was reserved. Takes the text. */
static void set_changed(jsonl_store *store, const char *mrn, cp_strbuf *text) {
    pthread_rwlock_wrlock(&store->lock);
    changed_row *slot = find_changed(store, mrn);
    if (!slot) {
        size_t at = changed_place(store, mrn);
        slot = &store->changed[at];
        memmove(slot + 1, slot, (store->n_changed - at) * sizeof *slot);
        *slot = (changed_row){.text = NULL};
        memcpy(slot->mrn, mrn, strlen(mrn) + 1);
        store->n_changed++;
        store->n_new += !find_patient(store, mrn);
    }
    free(slot->text);
    slot->n_bytes = text->n;
    slot->text = cp_strbuf_take(text);
    pthread_rwlock_unlock(&store->lock);
}

static cp_status journal_fault(const jsonl_store *store, cp_error *err) {
    return cp_error_set(err, CP_ERR_IO, "%s: %s", store->journal_path, strerror(errno));
}

static cp_status write_all(int fd, const char *bytes, size_t n) {
    while (n > 0) {
        ssize_t written = write(fd, bytes, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return CP_ERR_IO;
        bytes += written;
        n -= (size_t)written;
    }
    return CP_OK;
}

/* Before the first change and not when the store is opened: who only reads could take a line that
 * another process is writing for a torn one. */
static cp_status cut_torn_line(jsonl_store *store, cp_error *err) {
    if (store->torn_at == store->torn_end ||
        lseek(store->journal, 0, SEEK_END) != store->torn_end) /* it was finished */
        return CP_OK;
    cp_log(CP_LOG_WARN, "the journal of imports ends within a line, which is cut off");
    return ftruncate(store->journal, store->torn_at) == 0 ? CP_OK : journal_fault(store, err);
}

/* The file's name is on the disk, too. */
static cp_status open_journal(jsonl_store *store, cp_error *err) {
    store->journal = open(store->journal_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int dir = store->journal < 0 ? -1 : open(store->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = dir >= 0 && fsync(dir) == 0;
    cp_status status = synced ? CP_OK : journal_fault(store, err);
    if (status == CP_OK)
        status = cut_torn_line(store, err);
    if (dir >= 0)
        close(dir);
    return status;
}

/* Whole and on the disk, or not there. */
static cp_status append_journal(jsonl_store *store, const cp_strbuf *line, cp_error *err) {
    if (store->journal < 0 && open_journal(store, err) != CP_OK)
        return err->status;
    off_t before = lseek(store->journal, 0, SEEK_END);
    if (before < 0)
        return journal_fault(store, err);
    if (write_all(store->journal, line->data, line->n) == CP_OK && fdatasync(store->journal) == 0)
        return CP_OK;
    cp_status status = journal_fault(store, err);
    if (ftruncate(store->journal, before) != 0)
        cp_log(CP_LOG_ERROR, "the journal of imports cannot be repaired");
    return status;
}

/* By who has the turn. `line` is what the journal gets; NULL when it is there already. */
static cp_status change_record(jsonl_store *store, const cp_patient_change *change,
                               const cp_strbuf *line, cp_error *err) {
    cp_strbuf text;
    cp_strbuf_init(&text, CP_RECORD_MAX_BYTES);
    cp_status status = changed_text(store, change, &text, err);
    if (status == CP_OK)
        status = reserve_changed(store, err);
    if (status == CP_OK && line)
        status = append_journal(store, line, err);
    if (status == CP_OK)
        set_changed(store, change->mrn, &text);
    cp_strbuf_deinit(&text);
    return status;
}

static cp_status jsonl_put(cp_patient_store *base, const cp_patient_change *change, cp_error *err) {
    jsonl_store *store = (jsonl_store *)base;
    cp_strbuf line;
    cp_strbuf_init(&line, CP_RECORD_MAX_BYTES);
    cp_status status = cp_patient_change_check(change, err);
    if (status == CP_OK)
        status = cp_patient_change_append(change, &line, err);
    cp_strbuf_putc(&line, '\n');
    if (status == CP_OK)
        status = cp_strbuf_check(&line, "change", err);
    if (status == CP_OK) {
        pthread_mutex_lock(&store->turn);
        status = change_record(store, change, &line, err);
        pthread_mutex_unlock(&store->turn);
    }
    cp_strbuf_deinit(&line);
    return status;
}

static cp_status replay_line(jsonl_store *store, const char *source, cp_str line, cp_error *err) {
    cJSON *tree;
    cp_status status = cp_json_parse(source, line.data, line.n, &tree, err);
    if (status != CP_OK)
        return status;
    cp_patient_change change = {.patient = cp_json_member(tree, "patient"),
                                .documents = cp_json_member(tree, "documents")};
    change.mrn = cp_json_text(change.patient, "mrn", NULL);
    status = cp_patient_change_check(&change, err);
    if (status == CP_OK)
        status = change_record(store, &change, NULL, err);
    else
        status = cp_error_prefix(err, "%s", source);
    cJSON_Delete(tree);
    return status;
}

/* Applies what was imported before. */
static cp_status replay_journal(jsonl_store *store, cp_error *err) {
    cp_strbuf text;
    char source[SOURCE_CAP];
    cp_status status = cp_file_read(store->journal_path, MAX_FILE_BYTES, &text, err);
    bool missing = status == CP_ERR_NOT_FOUND;
    const char *at = cp_strbuf_text(&text), *end = at + text.n, *newline = NULL;
    for (unsigned line = 1; status == CP_OK && at < end; line++, at = newline + 1) {
        newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline)
            break;
        snprintf(source, sizeof source, "%s: line %u", store->journal_path, line);
        status = replay_line(store, source, (cp_str){at, (size_t)(newline - at)}, err);
    }
    store->torn_at = (off_t)(text.n - (size_t)(end - at));
    store->torn_end = (off_t)text.n;
    cp_strbuf_deinit(&text);
    return missing ? CP_OK : status;
}

/* ---- the interface ---------------------------------------------------------------------- */

static cp_status jsonl_get(cp_patient_store *base, const char *mrn, cp_patient_record **out,
                           cp_error *err) {
    jsonl_store *store = (jsonl_store *)base;
    *out = NULL;
    pthread_rwlock_rdlock(&store->lock);
    cp_status status = current_record(store, mrn, out, err);
    pthread_rwlock_unlock(&store->lock);
    return status;
}

static size_t jsonl_count(cp_patient_store *base) {
    jsonl_store *store = (jsonl_store *)base;
    pthread_rwlock_rdlock(&store->lock);
    size_t n = store->n_patients + store->n_new;
    pthread_rwlock_unlock(&store->lock);
    return n;
}

/* A changed patient comes twice, as in the files and as now: old names are names. */
static void jsonl_each(cp_patient_store *base, void (*visit)(void *user, const cJSON *patient),
                       void *user) {
    jsonl_store *store = (jsonl_store *)base;
    const char *text = cp_strbuf_text(&store->tables[PATIENTS].text);
    cJSON *patient;
    for (size_t i = 0; i < store->n_patients; i++) {
        const patient_row *p = &store->patients[i];
        if (cp_json_parse("patient", text + p->offset, p->n_bytes, &patient, NULL) != CP_OK)
            continue;
        visit(user, patient);
        cJSON_Delete(patient);
    }
    pthread_rwlock_rdlock(&store->lock);
    for (size_t i = 0; i < store->n_changed; i++) {
        const changed_row *c = &store->changed[i];
        cp_patient_record *record;
        if (cp_patient_record_parse("patient", (cp_str){c->text, c->n_bytes}, c->mrn, &record,
                                    NULL) != CP_OK)
            continue;
        visit(user, record->patient);
        cp_patient_record_free(record);
    }
    pthread_rwlock_unlock(&store->lock);
}

static cp_status jsonl_each_mrn(cp_patient_store *base, bool (*visit)(void *user, const char *mrn),
                                void *user, cp_error *err) {
    jsonl_store *store = (jsonl_store *)base;
    bool goes_on = true;
    (void)err;
    for (size_t i = 0; i < store->n_patients && goes_on; i++)
        goes_on = visit(user, store->patients[i].mrn);
    pthread_rwlock_rdlock(&store->lock);
    for (size_t i = 0; i < store->n_changed && goes_on; i++)
        goes_on = visit(user, store->changed[i].mrn);
    pthread_rwlock_unlock(&store->lock);
    return CP_OK;
}

static void jsonl_close(cp_patient_store *base) {
    jsonl_store *store = (jsonl_store *)base;
    if (!store)
        return;
    for (unsigned file = 0; file < N_FILES; file++) {
        cp_strbuf_deinit(&store->tables[file].text);
        free(store->tables[file].rows);
    }
    for (size_t i = 0; i < store->n_changed; i++)
        free(store->changed[i].text);
    free(store->changed);
    free(store->patients);
    if (store->journal >= 0)
        close(store->journal);
    pthread_rwlock_destroy(&store->lock);
    pthread_mutex_destroy(&store->turn);
    free(store);
}

cp_status cp_patient_store_open_jsonl(const char *dir, cp_patient_store **out, cp_error *err) {
    *out = NULL;
    jsonl_store *store = calloc(1, sizeof *store);
    if (!store)
        return cp_error_no_memory(err, "patient store");
    store->base = (cp_patient_store){.kind = "jsonl",
                                     .get = jsonl_get,
                                     .put = jsonl_put,
                                     .count = jsonl_count,
                                     .each = jsonl_each,
                                     .each_mrn = jsonl_each_mrn,
                                     .close = jsonl_close};
    store->journal = -1;
    pthread_rwlock_init(&store->lock, NULL);
    pthread_mutex_init(&store->turn, NULL);
    snprintf(store->dir, sizeof store->dir, "%s", dir);
    cp_status status =
        cp_path_join(dir, JOURNAL_NAME, store->journal_path, sizeof store->journal_path, err);
    for (unsigned file = PATIENTS; file < N_FILES && status == CP_OK; file++)
        status = read_table(store, dir, file, err);
    if (status == CP_OK)
        status = replay_journal(store, err);
    if (status == CP_OK)
        *out = &store->base;
    else
        jsonl_close(&store->base);
    return status;
}
