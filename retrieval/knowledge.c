#include "retrieval/knowledge.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE_BYTES ((size_t)256 * 1024)
#define MAX_DOCS       10000
#define EXTENSION      ".md"
#define ID_PREFIX      "KB-"
#define FIRST_KEY_LINE 2 /* the line after the first "---" */

enum { ID, TITLE, KIND, TOPICS, CONDITIONS, MEDICINES, SOURCE, DATE, REVIEWED_BY, LANG, N_KEYS };
static const char *const keys[N_KEYS] = {"id",        "title",  "kind", "topics",      "conditions",
                                         "medicines", "source", "date", "reviewed_by", "lang"};

/* What a key's value must be. */
typedef enum value_form { A_TEXT, A_LIST, A_TEXT_OR_NULL } value_form;
static const value_form forms[N_KEYS] = {
    [TOPICS] = A_LIST, [CONDITIONS] = A_LIST, [MEDICINES] = A_LIST, [REVIEWED_BY] = A_TEXT_OR_NULL};
static const char *const form_names[] = {"a text", "a list of texts", "a text or null"};

typedef struct entry {
    cp_strbuf file; /* whole; the document's text is its end */
    cJSON *values[N_KEYS];
    cp_strbuf also;
    const char **lists[2]; /* conditions, medicines */
} entry;

struct cp_knowledge {
    cp_source_doc *docs; /* [n], by id */
    entry *entries;      /* [n], in the same order */
    size_t n;
};

/* ---- one file ------------------------------------------------------------------------------ */

typedef struct reader {
    const char *path;
    cp_str text;
    size_t at, line; /* where the next line begins, its number */
    cp_error *err;
} reader;

static cp_status refuse(const reader *r, const char *expected) {
    return cp_error_set(r->err, CP_ERR_FORMAT, "%s: line %zu: expected %s", r->path, r->line,
                        expected);
}

/* The next line without its end; false where there is none that ends. */
static bool next_line(reader *r, cp_str *line) {
    const char *from = r->text.data + r->at,
               *end = r->at < r->text.n ? memchr(from, '\n', r->text.n - r->at) : NULL;
    r->line++;
    if (!end)
        return false;
    *line = (cp_str){from, (size_t)(end - from)};
    r->at += line->n + 1;
    return true;
}

static cp_status read_border(reader *r) {
    cp_str line;
    return next_line(r, &line) && cp_str_is(line, "---") ? CP_OK : refuse(r, "---");
}

static bool is_list_of_texts(const cJSON *value) {
    const cJSON *item;
    if (!cJSON_IsArray(value))
        return false;
    cJSON_ArrayForEach(item, value) {
        if (!cJSON_IsString(item) || !*item->valuestring)
            return false;
    }
    return true;
}

static bool has_form(const cJSON *value, value_form form) {
    if (form == A_LIST)
        return is_list_of_texts(value);
    return (form == A_TEXT_OR_NULL && cJSON_IsNull(value)) ||
           (cJSON_IsString(value) && *value->valuestring);
}

static cp_status read_key(reader *r, unsigned key, cJSON **value) {
    const size_t n = strlen(keys[key]);
    char expected[96];
    cp_str line;
    cp_error detail;
    snprintf(expected, sizeof expected, "%s: and %s in JSON", keys[key], form_names[forms[key]]);
    if (!next_line(r, &line) || line.n < n + 2 || memcmp(line.data, keys[key], n) != 0 ||
        memcmp(line.data + n, ": ", 2) != 0)
        return refuse(r, expected);
    cp_status status = cp_json_parse(r->path, line.data + n + 2, line.n - n - 2, value, &detail);
    if (status == CP_ERR_NO_MEMORY)
        return cp_error_no_memory(r->err, "knowledge base");
    return status == CP_OK && has_form(*value, forms[key]) ? CP_OK : refuse(r, expected);
}

static bool is_date(const char *text) {
    unsigned month, day;
    if (strlen(text) != 10 || strspn(text, "0123456789") != 4 || text[4] != '-' ||
        strspn(text + 5, "0123456789") != 2 || text[7] != '-' ||
        strspn(text + 8, "0123456789") != 2)
        return false;
    month = (unsigned)(10 * (text[5] - '0') + text[6] - '0');
    day = (unsigned)(10 * (text[8] - '0') + text[9] - '0');
    return month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

/* `name`: the file's, with its extension. */
static bool is_id_of(const char *id, const char *name) {
    const size_t n = strlen(name) - strlen(EXTENSION);
    return strlen(id) == n + strlen(ID_PREFIX) && n > 0 && strlen(id) <= CP_DOC_ID_BYTES &&
           strncmp(id, ID_PREFIX, strlen(ID_PREFIX)) == 0 &&
           strncmp(id + strlen(ID_PREFIX), name, n) == 0 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

static bool is_kind(const char *kind) {
    return strcmp(kind, "red_flags") == 0 || strcmp(kind, "medicine") == 0 ||
           strcmp(kind, "pathway") == 0 || strcmp(kind, "aftercare") == 0;
}

static cp_status check_values(reader *r, const char *name, cJSON *const *values) {
    r->line = FIRST_KEY_LINE + ID;
    if (!is_id_of(values[ID]->valuestring, name))
        return refuse(r, "the id " ID_PREFIX " and the file's name without .md, in lower-case "
                         "letters, digits and hyphens");
    r->line = FIRST_KEY_LINE + KIND;
    if (!is_kind(values[KIND]->valuestring))
        return refuse(r, "the kind red_flags, medicine, pathway or aftercare");
    r->line = FIRST_KEY_LINE + DATE;
    if (!is_date(values[DATE]->valuestring))
        return refuse(r, "a date, YYYY-MM-DD");
    r->line = FIRST_KEY_LINE + LANG;
    return strcmp(values[LANG]->valuestring, "en") == 0 ? CP_OK : refuse(r, "the language en");
}

static cp_status read_head(reader *r, const char *name, cJSON **values) {
    cp_status status = read_border(r);
    for (unsigned key = 0; key < N_KEYS && status == CP_OK; key++)
        status = read_key(r, key, &values[key]);
    if (status == CP_OK)
        status = read_border(r);
    const size_t line = r->line;
    if (status == CP_OK)
        status = check_values(r, name, values);
    if (status == CP_OK)
        r->line = line;
    return status;
}

/* NULL-terminated; borrowed texts. */
static const char **texts_of(const cJSON *list) {
    const char **texts = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *texts);
    const cJSON *item;
    size_t n = 0;
    cJSON_ArrayForEach(item, list) {
        if (texts)
            texts[n++] = item->valuestring;
    }
    return texts;
}

static void append_list(cp_strbuf *out, const cJSON *list) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        cp_strbuf_puts(out, out->n > 0 ? "; " : "");
        cp_strbuf_puts(out, item->valuestring);
    }
}

static cp_status make_doc(const reader *r, entry *e, cp_source_doc *doc) {
    cp_strbuf_init(&e->also, MAX_FILE_BYTES);
    append_list(&e->also, e->values[TOPICS]);
    append_list(&e->also, e->values[MEDICINES]);
    e->lists[0] = texts_of(e->values[CONDITIONS]);
    e->lists[1] = texts_of(e->values[MEDICINES]);
    if (!e->lists[0] || !e->lists[1])
        return cp_error_no_memory(r->err, "knowledge base");
    cp_status status = cp_strbuf_check(&e->also, "knowledge base", r->err);
    if (status != CP_OK)
        return status;
    *doc = (cp_source_doc){.mrn = "",
                           .id = e->values[ID]->valuestring,
                           .title = e->values[TITLE]->valuestring,
                           .type = e->values[KIND]->valuestring,
                           .date = e->values[DATE]->valuestring,
                           .kind = CP_ENTRY_KNOWLEDGE,
                           .text = {r->text.data + r->at, r->text.n - r->at},
                           .also = cp_strbuf_str(&e->also)};
    return cp_source_doc_seal(doc, r->err);
}

static cp_status read_file(const char *path, const char *name, entry *e, cp_source_doc *doc,
                           cp_error *err) {
    cp_status status = cp_file_read(path, MAX_FILE_BYTES, &e->file, err);
    if (status != CP_OK)
        return status;
    reader r = {.path = path, .text = cp_strbuf_str(&e->file), .err = err};
    if (!cp_utf8_is_valid(e->file.data, e->file.n) ||
        memchr(cp_strbuf_text(&e->file), 0, e->file.n))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: expected UTF-8 without U+0000", path);
    status = read_head(&r, name, e->values);
    if (status != CP_OK)
        return status;
    r.line++;
    if (strspn(r.text.data + r.at, " \n\r\t") == r.text.n - r.at)
        return refuse(&r, "the document's text");
    return make_doc(&r, e, doc);
}

/* ---- the folder ---------------------------------------------------------------------------- */

static int is_document(const struct dirent *item) {
    const size_t n = strlen(item->d_name), end = strlen(EXTENSION);
    return n > end && strcmp(item->d_name + n - end, EXTENSION) == 0 && item->d_name[0] != '.' &&
           strcmp(item->d_name, "README" EXTENSION) != 0;
}

/* In the order of their ids, which have no extension. */
static int by_name(const struct dirent **a, const struct dirent **b) {
    const size_t n_a = strlen((*a)->d_name) - strlen(EXTENSION),
                 n_b = strlen((*b)->d_name) - strlen(EXTENSION);
    int order = memcmp((*a)->d_name, (*b)->d_name, n_a < n_b ? n_a : n_b);
    return order != 0 ? order : (n_a > n_b) - (n_a < n_b);
}

static cp_status read_all(const char *dir, struct dirent **items, size_t n, cp_knowledge *k,
                          cp_error *err) {
    char path[CP_PATH_CAP];
    k->docs = calloc(n + 1, sizeof *k->docs);
    k->entries = calloc(n + 1, sizeof *k->entries);
    if (!k->docs || !k->entries)
        return cp_error_no_memory(err, "knowledge base");
    for (; k->n < n; k->n++) {
        const char *name = items[k->n]->d_name;
        cp_status status = cp_path_join(dir, name, path, sizeof path, err);
        if (status == CP_OK)
            status = read_file(path, name, &k->entries[k->n], &k->docs[k->n], err);
        if (status != CP_OK) {
            k->n++; /* what it has is freed */
            return status;
        }
    }
    return CP_OK;
}

cp_status cp_knowledge_open(const char *dir, cp_knowledge **out, cp_error *err) {
    struct dirent **items = NULL;
    *out = NULL;
    int n = scandir(dir, &items, is_document, by_name);
    if (n < 0)
        return cp_error_set(err, errno == ENOENT ? CP_ERR_NOT_FOUND : CP_ERR_IO,
                            "%s: expected a folder with the knowledge base: %s", dir,
                            strerror(errno));
    cp_knowledge *k = calloc(1, sizeof *k);
    cp_status status = k ? CP_OK : cp_error_no_memory(err, "knowledge base");
    if (status == CP_OK && n > MAX_DOCS)
        status = cp_error_set(err, CP_ERR_LIMIT, "%s: %d documents, expected at most %d", dir, n,
                              MAX_DOCS);
    if (status == CP_OK)
        status = read_all(dir, items, (size_t)n, k, err);
    for (int i = 0; i < n; i++)
        free(items[i]);
    free(items);
    if (status == CP_OK)
        *out = k;
    else
        cp_knowledge_close(k);
    return status;
}

cp_status cp_knowledge_make_empty(cp_knowledge **out, cp_error *err) {
    *out = calloc(1, sizeof **out);
    return *out ? CP_OK : cp_error_no_memory(err, "knowledge base");
}

void cp_knowledge_close(cp_knowledge *k) {
    if (!k)
        return;
    for (size_t i = 0; i < k->n && k->entries; i++) {
        entry *e = &k->entries[i];
        for (unsigned key = 0; key < N_KEYS; key++)
            cJSON_Delete(e->values[key]);
        cp_strbuf_deinit(&e->file);
        cp_strbuf_deinit(&e->also);
        free(e->lists[0]);
        free(e->lists[1]);
    }
    free(k->docs);
    free(k->entries);
    free(k);
}

size_t cp_knowledge_n(const cp_knowledge *k) {
    return k->n;
}

const cp_source_doc *cp_knowledge_doc(const cp_knowledge *k, size_t i) {
    return &k->docs[i];
}

static int compare_id(const void *key, const void *item) {
    return strcmp(key, ((const cp_source_doc *)item)->id);
}

const cp_source_doc *cp_knowledge_find(const cp_knowledge *k, const char *id) {
    return k->n > 0 ? bsearch(id, k->docs, k->n, sizeof *k->docs, compare_id) : NULL;
}

cp_knowledge_about cp_knowledge_about_doc(const cp_knowledge *k, size_t i) {
    const entry *e = &k->entries[i];
    const cJSON *reviewed = e->values[REVIEWED_BY];
    return (cp_knowledge_about){.source = e->values[SOURCE]->valuestring,
                                .reviewed_by =
                                    cJSON_IsString(reviewed) ? reviewed->valuestring : NULL,
                                .conditions = e->lists[0],
                                .medicines = e->lists[1]};
}
