/* The embedded store: five JSON Lines files, read and checked once, then only read.
 *
 * Each file stays in memory as its text; an index entry points at one line, and get() parses the
 * few lines of one patient. Trees would take about ten times the memory of the text and would have
 * to be copied on every get anyway, because the caller owns the record. The index is sorted
 * (patients by MRN; other rows by patient, date and place in the file), so a lookup is a binary
 * search and "oldest first" costs nothing. After open nothing changes: any number of threads may
 * call get. */
#include "server/patient_store.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define MAX_LINE_BYTES ((size_t)1 << 20)
#define MAX_FILE_BYTES ((size_t)1 << 30)
#define MRN_CAP        33
#define DATE_CAP       11 /* "YYYY-MM-DD" and a NUL */
#define SOURCE_CAP     (CP_PATH_CAP + 32)

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
    char mrn[MRN_CAP];
    uint32_t offset, n_bytes, line;
} patient_row;

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

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_date(const char *text) {
    static const char shape[] = "dddd-dd-dd";
    if (strlen(text) != sizeof shape - 1)
        return false;
    for (size_t i = 0; shape[i]; i++)
        if (shape[i] == 'd' ? !is_digit(text[i]) : text[i] != '-')
            return false;
    return true;
}

/* A required string; the sentence of a failure never shows its value. */
static cp_status required_string(const line_at *at, const cJSON *tree, const char *key,
                                 const char **out, cp_error *err) {
    cp_status status = cp_json_get_string(tree, at->source, key, out, err);
    return status == CP_ERR_NOT_FOUND
               ? cp_error_set(err, CP_ERR_FORMAT, "%s: %s is missing", at->source, key)
               : status;
}

static cp_status read_mrn(const line_at *at, const cJSON *tree, const char **out, cp_error *err) {
    cp_status status = required_string(at, tree, "mrn", out, err);
    if (status == CP_OK && !cp_mrn_is_valid(*out))
        status =
            cp_error_set(err, CP_ERR_FORMAT,
                         "%s: mrn is not 1 to 32 letters, digits, '.', '_' or '-'", at->source);
    return status;
}

static cp_status add_patient(const line_at *at, const cJSON *tree, cp_error *err) {
    jsonl_store *store = at->store;
    const char *mrn;
    cp_status status = read_mrn(at, tree, &mrn, err);
    if (status != CP_OK)
        return status;
    if (!cp_grow((void **)&store->patients, &store->patients_cap, store->n_patients + 1,
                 sizeof *store->patients))
        return cp_error_no_memory(err, "index of patients");
    patient_row *added = &store->patients[store->n_patients++];
    *added = (patient_row){.offset = at->offset, .n_bytes = at->n_bytes, .line = at->line};
    memcpy(added->mrn, mrn, strlen(mrn) + 1);
    return CP_OK;
}

/* A document can be cited, so it needs something to be cited by and something to cite. */
static cp_status check_document(const line_at *at, const cJSON *tree, cp_error *err) {
    static const char *const keys[] = {"id", "title", "text"};
    for (size_t i = 0; i < CP_COUNT_OF(keys); i++) {
        const char *value;
        cp_status status = required_string(at, tree, keys[i], &value, err);
        if (status != CP_OK)
            return status;
        if (!value[0])
            return cp_error_set(err, CP_ERR_FORMAT, "%s: %s is empty", at->source, keys[i]);
    }
    return CP_OK;
}

static cp_status add_row(const line_at *at, const cJSON *tree, cp_error *err) {
    table *t = &at->store->tables[at->file];
    const char *mrn, *date;
    cp_status status = read_mrn(at, tree, &mrn, err);
    if (status == CP_OK)
        status = required_string(at, tree, "date", &date, err);
    if (status == CP_OK && at->file == DOCUMENTS)
        status = check_document(at, tree, err);
    if (status != CP_OK)
        return status;
    if (!is_date(date))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: date is not YYYY-MM-DD", at->source);
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
    if (status == CP_OK && !cJSON_IsObject(tree))
        status = cp_error_set(err, CP_ERR_FORMAT, "%s: not a JSON object", at->source);
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

/* ---- the interface ---------------------------------------------------------------------- */

static cp_status parse_rows(const table *t, uint32_t patient, cJSON **out, cp_error *err) {
    cJSON *list = cJSON_CreateArray();
    cp_status status = list ? CP_OK : cp_error_no_memory(err, "patient record");
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
    *out = list;
    return status;
}

static cp_status build_record(const jsonl_store *store, const patient_row *found,
                              cp_patient_record *record, cp_error *err) {
    uint32_t patient = (uint32_t)(found - store->patients);
    cJSON **lists[N_FILES] = {NULL, &record->encounters, &record->claims, &record->documents,
                              &record->chat_logs};
    cp_status status = cp_json_parse("patient record",
                                     cp_strbuf_text(&store->tables[PATIENTS].text) + found->offset,
                                     found->n_bytes, &record->patient, err);
    for (unsigned file = ENCOUNTERS; file < N_FILES && status == CP_OK; file++)
        status = parse_rows(&store->tables[file], patient, lists[file], err);
    return status;
}

static cp_status jsonl_get(cp_patient_store *base, const char *mrn, cp_patient_record **out,
                           cp_error *err) {
    const jsonl_store *store = (const jsonl_store *)base;
    *out = NULL;
    const patient_row *found = find_patient(store, mrn);
    if (!found)
        return cp_error_set(err, CP_ERR_NOT_FOUND, "no patient has this mrn");
    cp_patient_record *record = calloc(1, sizeof *record);
    if (!record)
        return cp_error_no_memory(err, "patient record");
    cp_status status = build_record(store, found, record, err);
    if (status == CP_OK)
        *out = record;
    else
        cp_patient_record_free(record);
    return status;
}

static size_t jsonl_count(cp_patient_store *base) {
    return ((const jsonl_store *)base)->n_patients;
}

static void jsonl_close(cp_patient_store *base) {
    jsonl_store *store = (jsonl_store *)base;
    if (!store)
        return;
    for (unsigned file = 0; file < N_FILES; file++) {
        cp_strbuf_deinit(&store->tables[file].text);
        free(store->tables[file].rows);
    }
    free(store->patients);
    free(store);
}

cp_status cp_patient_store_open_jsonl(const char *dir, cp_patient_store **out, cp_error *err) {
    *out = NULL;
    jsonl_store *store = calloc(1, sizeof *store);
    if (!store)
        return cp_error_no_memory(err, "patient store");
    store->base = (cp_patient_store){
        .kind = "jsonl", .get = jsonl_get, .count = jsonl_count, .close = jsonl_close};
    cp_status status = CP_OK;
    for (unsigned file = PATIENTS; file < N_FILES && status == CP_OK; file++)
        status = read_table(store, dir, file, err);
    if (status == CP_OK)
        *out = &store->base;
    else
        jsonl_close(&store->base);
    return status;
}
