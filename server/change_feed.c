#include "server/change_feed.h"

#include "base/file.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MAX_JOURNAL ((size_t)1 << 30)
#define IMPORTS     "imports "
#define LOOK_MS     200

/* ---- the journal of imports ------------------------------------------------------------- */

typedef struct imports_feed {
    cp_change_feed base;
    char path[CP_PATH_CAP];
    size_t at;     /* bytes of whole lines that were told */
    size_t looked; /* the size that was read last */
} imports_feed;

static size_t size_of(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && about.st_size > 0 ? (size_t)about.st_size : 0;
}

static cp_status tell_line(const char *line, size_t n, cp_mrn_list *changed, bool *all,
                           cp_error *err) {
    cJSON *tree = NULL;
    cp_status status = cp_json_parse("import", line, n, &tree, NULL);
    const char *mrn = cp_json_text(cp_json_member(tree, "patient"), "mrn", "");
    if (status == CP_ERR_NO_MEMORY || (cp_mrn_is_valid(mrn) && !cp_mrn_list_add(changed, mrn)))
        status = cp_error_no_memory(err, "record numbers");
    else {
        *all |= !cp_mrn_is_valid(mrn);
        status = CP_OK;
    }
    cJSON_Delete(tree);
    return status;
}

static cp_status tell_lines(imports_feed *feed, cp_mrn_list *changed, bool *all, cp_error *err) {
    cp_strbuf text;
    cp_status status = cp_file_read(feed->path, MAX_JOURNAL, &text, err);
    if (status == CP_ERR_NOT_FOUND)
        return CP_OK;
    if (status == CP_OK && text.n < feed->at) { /* another file */
        *all = true;
        feed->at = 0;
    }
    const char *at = cp_strbuf_text(&text) + feed->at, *end = cp_strbuf_text(&text) + text.n;
    const char *newline;
    for (; status == CP_OK && at < end; at = newline + 1) {
        newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline)
            break; /* it is being written */
        status = tell_line(at, (size_t)(newline - at), changed, all, err);
        feed->at += (size_t)(newline + 1 - at);
    }
    cp_strbuf_deinit(&text);
    return status;
}

static cp_status imports_next(cp_change_feed *base, int64_t ms, cp_mrn_list *changed, bool *all,
                              cp_error *err) {
    imports_feed *feed = (imports_feed *)base;
    const struct timespec wait = {.tv_nsec = LOOK_MS * 1000000L};
    /* A last line without its end is looked at once, until there is more. */
    for (; ms > 0 && (size_of(feed->path) == feed->at || size_of(feed->path) == feed->looked);
         ms -= LOOK_MS)
        if (nanosleep(&wait, NULL) != 0)
            break; /* a signal */
    size_t size = size_of(feed->path);
    if (size == feed->at || size == feed->looked)
        return CP_OK;
    feed->looked = size;
    return tell_lines(feed, changed, all, err);
}

static cp_status imports_position(cp_change_feed *base, cp_strbuf *out, cp_error *err) {
    cp_strbuf_printf(out, IMPORTS "%zu", ((imports_feed *)base)->at);
    return cp_strbuf_check(out, "checkpoint", err);
}

static void imports_close(cp_change_feed *base) {
    free(base);
}

cp_status cp_change_feed_open_imports(const char *path, const char *position, cp_change_feed **out,
                                      bool *all, cp_error *err) {
    *out = NULL;
    imports_feed *feed = calloc(1, sizeof *feed);
    if (!feed)
        return cp_error_no_memory(err, "imports");
    feed->base = (cp_change_feed){.kind = "imports",
                                  .must_read_anew = true,
                                  .next = imports_next,
                                  .position = imports_position,
                                  .close = imports_close};
    snprintf(feed->path, sizeof feed->path, "%s", path);
    size_t n = size_of(path);
    *all = sscanf(position, IMPORTS "%zu", &feed->at) != 1 || feed->at > n;
    if (*all)
        feed->at = n;
    *out = &feed->base;
    return CP_OK;
}

/* ---- which ------------------------------------------------------------------------------ */

static cp_status open_mongo(const cp_settings *settings, const char *position, cp_change_feed **out,
                            bool *all, cp_error *err) {
    cp_patient_store *store;
    const cp_remote_config config = {
        .url = settings->mongo_uri,
        .database = settings->mongo_database,
        .timeout_ms = settings->store_timeout_ms,
        .n_connections = 1,
        .strict = settings->app_env != CP_ENV_DEVELOPMENT,
    };
    cp_status status = cp_patient_store_open_mongo(&config, &store, err);
    return status == CP_OK ? cp_change_feed_open_mongo(store, position, out, all, err) : status;
}

cp_status cp_change_feed_open(const cp_settings *settings, const char *position,
                              cp_change_feed **out, bool *all, cp_error *err) {
    char dir[CP_PATH_CAP], path[CP_PATH_CAP];
    *out = NULL;
    *all = true;
    if (settings->patient_store == CP_STORE_HTTP)
        return cp_error_set(err, CP_ERR_UNSUPPORTED,
                            "--follow: a db-api (PATIENT_STORE=http) tells no changes; run "
                            "carepath ingest --mrns from time to time");
    if (settings->patient_store == CP_STORE_MONGO)
        return open_mongo(settings, position, out, all, err);
    cp_status status = cp_path_join(settings->data_dir, "synthetic", dir, sizeof dir, err);
    if (status == CP_OK)
        status = cp_path_join(dir, "imports.jsonl", path, sizeof path, err);
    return status == CP_OK ? cp_change_feed_open_imports(path, position, out, all, err) : status;
}
