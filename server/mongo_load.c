#include "server/mongo_load.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "server/store_mongo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE_BYTES ((size_t)1 << 20)
#define BATCH          500
#define SOURCE_CAP     (CP_PATH_CAP + 32)

typedef struct part {
    const char *collection, *key;
    bool optional;
} part;

static const part parts[CP_LOAD_COLLECTIONS] = {
    {"patients", "mrn", false}, {"encounters", "id", false}, {"claims", "id", false},
    {"documents", "id", false}, {"chat_logs", "id", false},  {"providers", "id", true},
    {"audit_logs", "id", true},
};

typedef struct batch {
    cp_patient_store *store;
    const part *what;
    cJSON *rows[BATCH];
    size_t n;
    cp_load_count count;
} batch;

static cp_status flush(batch *b, cp_error *err) {
    size_t n_new = 0;
    cp_status status =
        cp_mongo_upsert(b->store, b->what->collection, b->what->key, b->rows, b->n, &n_new, err);
    b->count.n += b->n;
    b->count.n_new += n_new;
    for (size_t i = 0; i < b->n; i++)
        cJSON_Delete(b->rows[i]);
    b->n = 0;
    return status;
}

static cp_status add_line(batch *b, const char *path, unsigned number, const cp_strbuf *line,
                          cp_error *err) {
    char source[SOURCE_CAP];
    cJSON *tree;
    snprintf(source, sizeof source, "%s: line %u", path, number);
    cp_status status = cp_json_parse(source, cp_strbuf_text(line), line->n, &tree, err);
    if (status != CP_OK)
        return status;
    if (!cJSON_IsString(cp_json_member(tree, b->what->key))) {
        cJSON_Delete(tree);
        return cp_error_set(err, CP_ERR_FORMAT, "%s: no string \"%s\"", source, b->what->key);
    }
    b->rows[b->n++] = tree;
    return b->n == BATCH ? flush(b, err) : CP_OK;
}

static cp_status load_lines(batch *b, const char *path, FILE *in, cp_error *err) {
    cp_strbuf line;
    cp_strbuf_init(&line, MAX_LINE_BYTES);
    cp_status status = CP_OK;
    bool more = true;
    for (unsigned number = 1; status == CP_OK; number++) {
        status = cp_file_next_line(in, &line, &more, err);
        if (status != CP_OK || !more)
            break;
        status = add_line(b, path, number, &line, err);
    }
    cp_strbuf_deinit(&line);
    cp_error ignored;
    cp_status last = flush(b, status == CP_OK ? err : &ignored);
    return status == CP_OK ? last : status;
}

static cp_status load_part(batch *b, const char *dir, cp_error *err) {
    char name[64], path[CP_PATH_CAP];
    snprintf(name, sizeof name, "%s.jsonl", b->what->collection);
    cp_status status = cp_path_join(dir, name, path, sizeof path, err);
    if (status != CP_OK || (b->what->optional && !cp_file_exists(path)))
        return status;
    FILE *in = fopen(path, "re");
    if (!in)
        return cp_error_set(err, CP_ERR_IO, "%s: cannot be read", path);
    status = load_lines(b, path, in, err);
    fclose(in);
    return status;
}

static cp_status check_folder(const char *dir, cp_error *err) {
    cp_patient_store *whole;
    cp_status status = cp_patient_store_open_jsonl(dir, &whole, err);
    if (status == CP_OK)
        whole->close(whole);
    return status;
}

cp_status cp_load_folder(cp_patient_store *mongo, const char *dir,
                         cp_load_count counts[CP_LOAD_COLLECTIONS], cp_error *err) {
    cp_status status = check_folder(dir, err);
    if (status == CP_OK)
        status = cp_mongo_make_indexes(mongo, err);
    batch *b = status == CP_OK ? calloc(1, sizeof *b) : NULL;
    if (status == CP_OK && !b)
        status = cp_error_no_memory(err, "rows");
    for (size_t i = 0; i < CP_LOAD_COLLECTIONS && status == CP_OK; i++) {
        *b = (batch){.store = mongo, .what = &parts[i], .count = {parts[i].collection, 0, 0}};
        status = load_part(b, dir, err);
        if (counts)
            counts[i] = b->count;
    }
    free(b);
    return status;
}
