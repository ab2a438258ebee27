/* A db-api as a store: one GET a record, one POST a change, over connections that stay open.
 *
 *     GET  BASE/patients/MRN          200 with the record, 404 with JSON when there is none
 *     POST BASE/patients/MRN/import   2xx when the change is kept
 *
 * Both may be sent again, and are when the server fails quickly: up to MAX_TRIES within the one
 * limit of time, after a random pause. A slow answer gets all the time there is. Nothing that comes
 * back is believed unchecked: size, JSON, and the MRN on every row. No redirect is followed: a
 * patient's MRN and our key go to the configured server only. */
#include "server/patient_store.h"

#include "base/http_pool.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TRIES 3
#define PAUSE_MS  50 /* longest pause before the second try; doubles */

typedef struct http_store {
    cp_patient_store base; /* first: the interface is the store */
    cp_http_url url;
    char *prefix; /* the base URL without a slash at its end */
    char *key;    /* or NULL */
    cp_http_pool *pool;
} http_store;

static cp_status ask(http_store *store, const char *method, const char *mrn, const char *tail,
                     cp_str body, cp_http_answer *answer, cp_error *err) {
    static const cp_http_field fields[] = {{"Accept", "application/json"},
                                           {"Content-Type", "application/json"}};
    char *url = NULL;
    *answer = (cp_http_answer){.status = 0};
    if (!cp_mrn_is_valid(mrn)) /* goes into the path as it is */
        return cp_error_set(err, CP_ERR_USAGE, "mrn is not " CP_MRN_RULE);
    if (asprintf(&url, "%s/patients/%s%s", store->prefix, mrn, tail) < 0)
        return cp_error_no_memory(err, "the db-api's URL");
    const cp_http_call call = {
        .method = method,
        .url = url,
        .fields = fields,
        .n_fields = body.n > 0 ? 2 : 1,
        .bearer = store->key,
        .body = body,
        .max_bytes = CP_RECORD_MAX_BYTES,
    };
    cp_status status = cp_http_pool_send(store->pool, &call, answer, err);
    free(url);
    return status;
}

/* ---- answers ---------------------------------------------------------------------------- */

static bool is_json(const cp_http_answer *answer) {
    static const char wanted[] = "application/json";
    cp_str type;
    return cp_http_answer_field(answer, "Content-Type", &type) && type.n >= sizeof wanted - 1 &&
           strncasecmp(type.data, wanted, sizeof wanted - 1) == 0;
}

static cp_status unexpected(const http_store *store, const cp_http_answer *answer, cp_error *err) {
    const char *hint = "";
    if (answer->status / 100 == 3)
        hint = " (a redirect, which is not followed)";
    else if (answer->status == 401 || answer->status == 403)
        hint = " (see DB_API_KEY)";
    else if (answer->status == 404)
        hint = " without JSON (see DB_API_BASE_URL)";
    return cp_error_set(err, CP_ERR_IO, "the db-api at %s answers %d%s", store->url.origin,
                        answer->status, hint);
}

static cp_status read_record(http_store *store, const cp_http_answer *answer, const char *mrn,
                             cp_patient_record **out, cp_error *err) {
    if (answer->status == 404 && is_json(answer))
        return cp_error_set(err, CP_ERR_NOT_FOUND, "no patient has this mrn");
    if (answer->status != 200)
        return unexpected(store, answer, err);
    return cp_patient_record_parse("the db-api's answer", cp_strbuf_str(&answer->body), mrn, out,
                                   err);
}

/* ---- the interface ---------------------------------------------------------------------- */

static cp_status http_get(cp_patient_store *base, const char *mrn, cp_patient_record **out,
                          cp_error *err) {
    http_store *store = (http_store *)base;
    cp_http_answer answer;
    *out = NULL;
    if (!cp_mrn_is_valid(mrn))
        return cp_error_set(err, CP_ERR_NOT_FOUND, "no patient has this mrn");
    cp_status status = ask(store, "GET", mrn, "", CP_STR(""), &answer, err);
    if (status == CP_OK)
        status = read_record(store, &answer, mrn, out, err);
    cp_http_answer_deinit(&answer);
    return status;
}

static cp_status http_put(cp_patient_store *base, const cp_patient_change *change, cp_error *err) {
    http_store *store = (http_store *)base;
    cp_http_answer answer = {.status = 0};
    cp_strbuf body;
    cp_strbuf_init(&body, CP_RECORD_MAX_BYTES);
    cp_status status = cp_patient_change_check(change, err);
    if (status == CP_OK)
        status = cp_patient_change_append(change, &body, err);
    if (status == CP_OK)
        status = ask(store, "POST", change->mrn, "/import", cp_strbuf_str(&body), &answer, err);
    if (status == CP_OK && answer.status / 100 != 2)
        status = unexpected(store, &answer, err);
    cp_http_answer_deinit(&answer);
    cp_strbuf_deinit(&body);
    return status;
}

static size_t http_count(cp_patient_store *base) {
    (void)base;
    return CP_COUNT_UNKNOWN;
}

static void http_close(cp_patient_store *base) {
    http_store *store = (http_store *)base;
    cp_http_pool_free(store->pool);
    free(store->prefix);
    if (store->key)
        explicit_bzero(store->key, strlen(store->key));
    free(store->key);
    free(store);
}

static cp_status check_url(const cp_remote_config *config, cp_http_url *url, cp_error *err) {
    cp_status status = cp_http_url_parse("DB_API_BASE_URL", config->url, url, err);
    if (status == CP_OK && strpbrk(config->url, "?#"))
        status = cp_error_set(err, CP_ERR_USAGE,
                              "DB_API_BASE_URL has a query or fragment, expected a path at most");
    return status;
}

static cp_status copy_config(http_store *store, const cp_remote_config *config, cp_error *err) {
    size_t n = strlen(config->url);
    while (n > 0 && config->url[n - 1] == '/')
        n--;
    store->prefix = cp_copy_bytes(config->url, n);
    store->key = config->key ? strdup(config->key) : NULL;
    bool whole = store->prefix && (store->key || !config->key);
    const cp_http_pool_options options = {.max_idle = config->n_connections,
                                          .timeout_ms = config->timeout_ms,
                                          .max_tries = MAX_TRIES,
                                          .pause_ms = PAUSE_MS,
                                          .max_pause_ms = PAUSE_MS << MAX_TRIES};
    return whole ? cp_http_pool_create(&options, &store->pool, err)
                 : cp_error_no_memory(err, "patient store");
}

cp_status cp_patient_store_open_http(const cp_remote_config *config, cp_patient_store **out,
                                     cp_error *err) {
    *out = NULL;
    http_store *store = calloc(1, sizeof *store);
    if (!store)
        return cp_error_no_memory(err, "patient store");
    store->base = (cp_patient_store){.kind = "http",
                                     .is_remote = true,
                                     .get = http_get,
                                     .put = http_put,
                                     .count = http_count,
                                     .close = http_close};
    cp_status status = check_url(config, &store->url, err);
    if (status == CP_OK)
        status = copy_config(store, config, err);
    if (status == CP_OK && config->strict && config->key && !store->url.tls)
        cp_log(CP_LOG_WARN, "DB_API_KEY goes over the network unencrypted: DB_API_BASE_URL is "
                            "not https");
    if (status == CP_OK)
        *out = &store->base;
    else
        http_close(&store->base);
    return status;
}
