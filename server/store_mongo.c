/* A MongoDB server as a store, through mongo-c-driver. Collections as data/synthetic/ has files:
 * patients, encounters, claims, documents, chat_logs, joined by the string "mrn".
 *
 * Filters are built from typed appends, never from JSON: whatever an MRN looks like, to the server
 * it is a string to compare with. Documents come back as JSON text and pass the same checks as any
 * other store's. Members that begin with '$' or hold a dot are not written. The driver's pool makes
 * a thread of its own and aborts without memory; everything else here follows our rules. Sentences
 * of the server can quote records, so only those about connections are passed on. */
#include "server/store_mongo.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/store_mongo_link.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_ROWS       2000 /* of one list: the newest */
#define MAX_CONNECT_MS 1000
#define BATCH          500
#define ERR_DUPLICATE  11000
#define URI_FORM       "mongodb://[user:password@]host[:port][,...][/?option=value&...]"

typedef cp_mongo_store mongo_store;

/* ---- faults ------------------------------------------------------------------------------- */

cp_status cp_mongo_fault(const bson_error_t *error, cp_error *err) {
    switch (error->domain) {
    case MONGOC_ERROR_SERVER_SELECTION:
    case MONGOC_ERROR_STREAM:
        return cp_error_set(err, CP_ERR_IO, "MongoDB: %s", error->message);
    case MONGOC_ERROR_CLIENT:
        if (error->code == MONGOC_ERROR_CLIENT_AUTHENTICATE)
            return cp_error_set(err, CP_ERR_IO, "MongoDB: the server refuses user or password");
        break;
    default:
        break;
    }
    return cp_error_set(err, CP_ERR_IO, "MongoDB: error %u.%u", error->domain, error->code);
}

/* ---- cJSON to BSON ---------------------------------------------------------------------- */

static cp_status append_children(bson_t *out, const cJSON *tree, cp_error *err);

static bool is_plain_key(const char *key) {
    return key && key[0] && key[0] != '$' && !strchr(key, '.');
}

static bool append_number(bson_t *out, const char *key, int n, double value) {
    bool whole = value >= -9007199254740992.0 && value <= 9007199254740992.0 &&
                 value == (double)(int64_t)value;
    if (!whole)
        return bson_append_double(out, key, n, value);
    if (value >= INT32_MIN && value <= INT32_MAX)
        return bson_append_int32(out, key, n, (int32_t)value);
    return bson_append_int64(out, key, n, (int64_t)value);
}

static cp_status append_item(bson_t *out, const char *key, const cJSON *item, cp_error *err) {
    bson_t child;
    int n = (int)strlen(key);
    bool fits = false;
    cp_status status = CP_OK;
    if (cJSON_IsString(item))
        fits = bson_append_utf8(out, key, n, item->valuestring, -1);
    else if (cJSON_IsNumber(item))
        fits = append_number(out, key, n, item->valuedouble);
    else if (cJSON_IsBool(item))
        fits = bson_append_bool(out, key, n, cJSON_IsTrue(item));
    else if (cJSON_IsNull(item))
        fits = bson_append_null(out, key, n);
    else if (cJSON_IsArray(item))
        fits = bson_append_array_begin(out, key, n, &child);
    else if (cJSON_IsObject(item))
        fits = bson_append_document_begin(out, key, n, &child);
    if (fits && (cJSON_IsArray(item) || cJSON_IsObject(item))) {
        status = append_children(&child, item, err);
        fits = cJSON_IsArray(item) ? bson_append_array_end(out, &child)
                                   : bson_append_document_end(out, &child);
    }
    if (status == CP_OK && !fits)
        status = cp_error_set(err, CP_ERR_LIMIT, "MongoDB: a record is too large");
    return status;
}

static cp_status append_children(bson_t *out, const cJSON *tree, cp_error *err) {
    cp_status status = CP_OK;
    size_t place = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, tree) {
        char number[24];
        snprintf(number, sizeof number, "%zu", place++);
        const char *key = cJSON_IsArray(tree) ? number : item->string;
        if (!is_plain_key(key))
            return cp_error_set(err, CP_ERR_USAGE,
                                "MongoDB: a member's name is empty, begins with '$' or holds a "
                                "dot");
        status = append_item(out, key, item, err);
        if (status != CP_OK)
            return status;
    }
    return status;
}

/* ---- BSON to cJSON ---------------------------------------------------------------------- */

/* The string that {"$date": ...} holds as a text of ours, or NULL when `item` is no such object.
 * Relaxed extended JSON writes days before 1970 as {"$date": {"$numberLong": "milliseconds"}}. */
static cJSON *date_text(cJSON *item, cp_status *status, cp_error *err) {
    cJSON *date = item->child;
    char text[32];
    struct tm day;
    if (!cJSON_IsObject(item) || !date || date->next || strcmp(date->string, "$date") != 0)
        return NULL;
    if (cJSON_IsString(date))
        return date;
    cJSON *number = date->child;
    if (!cJSON_IsObject(date) || !number || strcmp(number->string, "$numberLong") != 0 ||
        !cJSON_IsString(number))
        return NULL;
    int64_t ms = strtoll(number->valuestring, NULL, 10);
    time_t s = (time_t)(ms / 1000 - (ms % 1000 < 0));
    if (!gmtime_r(&s, &day) || strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &day) == 0 ||
        !cJSON_SetValuestring(number, text)) {
        *status = cp_error_no_memory(err, "patient record");
        return NULL;
    }
    return number;
}

/* {"$date": "2026-07-18T00:00:00Z"} becomes "2026-07-18", or with its time when it has one: dates
 * are strings here, and other programs may have stored them as BSON's. */
static cp_status plain_dates(cJSON *tree, cp_error *err) {
    static const char midnight[] = "T00:00:00Z";
    cp_status status = CP_OK;
    for (cJSON *item = tree->child, *next; item && status == CP_OK; item = next) {
        next = item->next;
        cJSON *text = date_text(item, &status, err);
        if (!text) {
            if (status == CP_OK)
                status = plain_dates(item, err);
            continue;
        }
        char *behind = strstr(text->valuestring, midnight), *key = item->string;
        if (behind)
            *behind = '\0';
        cJSON_DetachItemViaPointer(text == item->child ? item : item->child, text);
        item->string = text->string; /* so that the key goes with the value */
        text->string = key;
        cJSON_ReplaceItemViaPointer(tree, item, text);
    }
    return status;
}

cp_status cp_mongo_to_json(const bson_t *document, cJSON **out, cp_error *err) {
    size_t n = 0;
    *out = NULL;
    char *text = bson_as_relaxed_extended_json(document, &n);
    if (!text)
        return cp_error_set(err, CP_ERR_FORMAT, "MongoDB: a document has no form as JSON");
    cp_status status = cp_json_parse("MongoDB's answer", text, n, out, err);
    bson_free(text);
    if (status == CP_OK)
        status = plain_dates(*out, err);
    if (status != CP_OK) {
        cJSON_Delete(*out);
        *out = NULL;
    }
    return status;
}

/* ---- looking up ------------------------------------------------------------------------- */

typedef struct lookup {
    mongo_store *store;
    mongoc_client_t *client;
    const char *mrn;
    uint64_t begun_ns;
    size_t n_bytes; /* of documents so far */
} lookup;

cp_status cp_mongo_borrow(mongo_store *store, mongoc_client_t **out, cp_error *err) {
    *out = mongoc_client_pool_pop(store->pool); /* waits as long as the URI's waitQueueTimeoutMS */
    return *out ? CP_OK : cp_error_set(err, CP_ERR_IO, "MongoDB: all connections are in use");
}

/* {"projection": {"_id": 0}, "limit": N, "maxTimeMS": what is left, "sort": newest first} */
static cp_status make_options(const lookup *l, int64_t limit, bson_t *out, cp_error *err) {
    bson_t child;
    int64_t left = l->store->timeout_ms - (int64_t)cp_clock_ms_since(l->begun_ns);
    if (left <= 0)
        return cp_error_set(err, CP_ERR_CANCELLED, "MongoDB: no answer within %lld ms",
                            (long long)l->store->timeout_ms);
    BSON_APPEND_DOCUMENT_BEGIN(out, "projection", &child);
    BSON_APPEND_INT32(&child, "_id", 0);
    bson_append_document_end(out, &child);
    BSON_APPEND_INT64(out, "limit", limit);
    BSON_APPEND_INT64(out, "maxTimeMS", left);
    if (limit == 1)
        return CP_OK;
    BSON_APPEND_DOCUMENT_BEGIN(out, "sort", &child);
    BSON_APPEND_INT32(&child, "date", -1);
    BSON_APPEND_INT32(&child, "id", -1);
    bson_append_document_end(out, &child);
    return CP_OK;
}

/* Puts documents in front of `list`: they come newest first. */
static cp_status read_cursor(lookup *l, mongoc_cursor_t *cursor, cJSON *list, cp_error *err) {
    const bson_t *document;
    bson_error_t error;
    while (mongoc_cursor_next(cursor, &document)) {
        cJSON *row;
        l->n_bytes += document->len;
        if (l->n_bytes > CP_RECORD_MAX_BYTES)
            return cp_error_set(err, CP_ERR_LIMIT, "MongoDB: a record has over %zu bytes",
                                CP_RECORD_MAX_BYTES);
        cp_status status = cp_mongo_to_json(document, &row, err);
        if (status != CP_OK)
            return status;
        if (!cJSON_InsertItemInArray(list, 0, row)) {
            cJSON_Delete(row);
            return cp_error_no_memory(err, "patient record");
        }
    }
    return mongoc_cursor_error(cursor, &error) ? cp_mongo_fault(&error, err) : CP_OK;
}

static cp_status find(lookup *l, const char *name, int64_t limit, cJSON *list, cp_error *err) {
    bson_t filter = BSON_INITIALIZER, options = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "mrn", l->mrn);
    cp_status status = make_options(l, limit, &options, err);
    if (status == CP_OK) {
        mongoc_collection_t *collection =
            mongoc_client_get_collection(l->client, l->store->database, name);
        mongoc_cursor_t *cursor =
            mongoc_collection_find_with_opts(collection, &filter, &options, NULL);
        status = read_cursor(l, cursor, list, err);
        mongoc_cursor_destroy(cursor);
        mongoc_collection_destroy(collection);
    }
    bson_destroy(&options);
    bson_destroy(&filter);
    return status;
}

static cp_status find_patient(lookup *l, cp_patient_record *record, cp_error *err) {
    cJSON *found = cJSON_CreateArray();
    if (!found)
        return cp_error_no_memory(err, "patient record");
    cp_status status = find(l, "patients", 1, found, err);
    if (status == CP_OK && !found->child)
        status = cp_error_set(err, CP_ERR_NOT_FOUND, "no patient has this mrn");
    if (status == CP_OK)
        status = cp_record_check_patient("MongoDB: patient", found->child, l->mrn, err);
    if (status == CP_OK) {
        cJSON_Delete(record->patient);
        record->patient = cJSON_DetachItemViaPointer(found, found->child);
    }
    cJSON_Delete(found);
    return status;
}

static cp_status find_list(lookup *l, unsigned list, cJSON *rows, cp_error *err) {
    char place[64];
    size_t number = 0;
    cp_status status = find(l, cp_record_list_name(list), MAX_ROWS, rows, err);
    cJSON *row;
    cJSON_ArrayForEach(row, rows) {
        snprintf(place, sizeof place, "MongoDB: %s %zu", cp_record_list_name(list), ++number);
        if (status == CP_OK)
            status = cp_record_check_row(place, list, row, l->mrn, err);
    }
    return status == CP_OK ? cp_record_sort(rows, err) : status;
}

static cp_status mongo_get(cp_patient_store *base, const char *mrn, cp_patient_record **out,
                           cp_error *err) {
    lookup l = {.store = (mongo_store *)base, .mrn = mrn, .begun_ns = cp_clock_ns()};
    *out = NULL;
    if (!cp_mrn_is_valid(mrn))
        return cp_error_set(err, CP_ERR_NOT_FOUND, "no patient has this mrn");
    cp_patient_record *record = cp_patient_record_create(mrn);
    if (!record)
        return cp_error_no_memory(err, "patient record");
    cp_status status = cp_mongo_borrow(l.store, &l.client, err);
    if (status == CP_OK) {
        status = find_patient(&l, record, err);
        for (unsigned list = 0; list < CP_N_LISTS && status == CP_OK; list++)
            status = find_list(&l, list, *cp_record_list(record, list), err);
        mongoc_client_pool_push(l.store->pool, l.client);
    }
    if (status == CP_OK)
        *out = record;
    else
        cp_patient_record_free(record);
    return status;
}

/* ---- changes ---------------------------------------------------------------------------- */

/* One update with upsert: the document that has all of filter's members gets `change` ($set of the
 * members, or what takes its place). */
static cp_status add_upsert(mongoc_bulk_operation_t *bulk, const bson_t *filter, const cJSON *row,
                            bool replace, cp_error *err) {
    bson_t document = BSON_INITIALIZER, update = BSON_INITIALIZER, options = BSON_INITIALIZER;
    bson_error_t error;
    BSON_APPEND_BOOL(&options, "upsert", true);
    cp_status status = append_children(&document, row, err);
    BSON_APPEND_DOCUMENT(&update, "$set", &document);
    bool added = status == CP_OK && (replace ? mongoc_bulk_operation_replace_one_with_opts(
                                                   bulk, filter, &document, &options, &error)
                                             : mongoc_bulk_operation_update_one_with_opts(
                                                   bulk, filter, &update, &options, &error));
    if (status == CP_OK && !added)
        status = cp_mongo_fault(&error, err);
    bson_destroy(&options);
    bson_destroy(&update);
    bson_destroy(&document);
    return status;
}

/* {key: row[key], ...}: strings only. */
static cp_status make_filter(const cJSON *row, const char *const *keys, size_t n, bson_t *out,
                             cp_error *err) {
    for (size_t i = 0; i < n; i++) {
        const cJSON *value = cp_json_member(row, keys[i]);
        if (!cJSON_IsString(value))
            return cp_error_set(err, CP_ERR_USAGE, "MongoDB: a record has no string \"%s\"",
                                keys[i]);
        bson_append_utf8(out, keys[i], -1, value->valuestring, -1);
    }
    return CP_OK;
}

/* `done` may be NULL. */
static cp_status execute(mongoc_bulk_operation_t *bulk, size_t *n_new, cp_error *err) {
    bson_t reply;
    bson_error_t error;
    bson_iter_t at;
    bool worked = mongoc_bulk_operation_execute(bulk, &reply, &error) != 0;
    if (worked && n_new && bson_iter_init_find(&at, &reply, "nUpserted"))
        *n_new += (size_t)bson_iter_as_int64(&at);
    bson_destroy(&reply);
    if (worked)
        return CP_OK;
    if (error.code == ERR_DUPLICATE)
        return cp_error_set(err, CP_ERR_USAGE,
                            "MongoDB: an id belongs to another patient's record");
    return cp_mongo_fault(&error, err);
}

/* rows[n], found again by keys[n_keys]. */
static cp_status upsert(mongo_store *store, mongoc_client_t *client, const char *name,
                        const char *const *keys, size_t n_keys, const cJSON *const *rows, size_t n,
                        bool replace, size_t *n_new, cp_error *err) {
    mongoc_collection_t *collection = mongoc_client_get_collection(client, store->database, name);
    mongoc_bulk_operation_t *bulk =
        mongoc_collection_create_bulk_operation_with_opts(collection, NULL);
    cp_status status = CP_OK;
    for (size_t i = 0; i < n && status == CP_OK; i++) {
        bson_t filter = BSON_INITIALIZER;
        status = make_filter(rows[i], keys, n_keys, &filter, err);
        if (status == CP_OK)
            status = add_upsert(bulk, &filter, rows[i], replace, err);
        bson_destroy(&filter);
    }
    if (status == CP_OK && n > 0)
        status = execute(bulk, n_new, err);
    mongoc_bulk_operation_destroy(bulk);
    mongoc_collection_destroy(collection);
    return status;
}

/* Documents first: a patient whose documents are missing would look complete. */
static cp_status mongo_put(cp_patient_store *base, const cp_patient_change *change, cp_error *err) {
    static const char *const keys[] = {"mrn", "id"};
    mongo_store *store = (mongo_store *)base;
    mongoc_client_t *client;
    cp_status status = cp_patient_change_check(change, err);
    if (status == CP_OK)
        status = cp_mongo_borrow(store, &client, err);
    if (status != CP_OK)
        return status;
    const cJSON *document;
    cJSON_ArrayForEach(document, change->documents) {
        if (status == CP_OK)
            status = upsert(store, client, cp_record_list_name(CP_LIST_DOCUMENTS), keys, 2,
                            &document, 1, true, NULL, err);
    }
    if (status == CP_OK)
        status = upsert(store, client, "patients", keys, 1, &change->patient, 1, false, NULL, err);
    /* Last: who reads that it changed finds it changed. It counts as kept only with this. */
    if (status == CP_OK)
        status = cp_mongo_tell_change(store, client, change->mrn, err);
    mongoc_client_pool_push(store->pool, client);
    return status;
}

/* ---- filling ---------------------------------------------------------------------------- */

cp_status cp_mongo_upsert(cp_patient_store *base, const char *collection, const char *key,
                          cJSON *const *rows, size_t n, size_t *n_new, cp_error *err) {
    mongo_store *store = (mongo_store *)base;
    mongoc_client_t *client;
    *n_new = 0;
    cp_status status = cp_mongo_borrow(store, &client, err);
    if (status != CP_OK)
        return status;
    for (size_t at = 0; at < n && status == CP_OK; at += BATCH) {
        size_t n_batch = n - at < BATCH ? n - at : BATCH;
        status = upsert(store, client, collection, &key, 1, (const cJSON *const *)rows + at,
                        n_batch, true, n_new, err);
    }
    mongoc_client_pool_push(store->pool, client);
    return status;
}

typedef struct index_spec {
    const char *collection, *name, *first, *second; /* second may be NULL */
    bool unique;
} index_spec;

static const index_spec indexes[] = {
    {"patients", "mrn", "mrn", NULL, true}, {"encounters", "mrn_date", "mrn", "date", false},
    {"encounters", "id", "id", NULL, true}, {"claims", "mrn_date", "mrn", "date", false},
    {"claims", "id", "id", NULL, true},     {"documents", "mrn_date", "mrn", "date", false},
    {"documents", "id", "id", NULL, true},  {"chat_logs", "mrn_date", "mrn", "date", false},
    {"chat_logs", "id", "id", NULL, true},
};

/* By the command, which all versions of the driver send alike. */
static cp_status make_index(mongo_store *store, mongoc_client_t *client, const index_spec *spec,
                            cp_error *err) {
    bson_t command = BSON_INITIALIZER, list, index, key;
    bson_error_t error;
    BSON_APPEND_UTF8(&command, "createIndexes", spec->collection);
    BSON_APPEND_ARRAY_BEGIN(&command, "indexes", &list);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &index);
    BSON_APPEND_DOCUMENT_BEGIN(&index, "key", &key);
    BSON_APPEND_INT32(&key, spec->first, 1);
    if (spec->second)
        BSON_APPEND_INT32(&key, spec->second, 1);
    bson_append_document_end(&index, &key);
    BSON_APPEND_UTF8(&index, "name", spec->name);
    if (spec->unique)
        BSON_APPEND_BOOL(&index, "unique", true);
    bson_append_document_end(&list, &index);
    bson_append_array_end(&command, &list);
    bool made = mongoc_client_command_simple(client, store->database, &command, NULL, NULL, &error);
    bson_destroy(&command);
    if (made)
        return CP_OK;
    cp_status status = cp_mongo_fault(&error, err);
    cp_error_prefix(err, "index %s of %s", spec->name, spec->collection);
    return status;
}

cp_status cp_mongo_make_indexes(cp_patient_store *base, cp_error *err) {
    mongo_store *store = (mongo_store *)base;
    mongoc_client_t *client;
    cp_status status = cp_mongo_borrow(store, &client, err);
    if (status != CP_OK)
        return status;
    for (size_t i = 0; i < CP_COUNT_OF(indexes) && status == CP_OK; i++)
        status = make_index(store, client, &indexes[i], err);
    mongoc_client_pool_push(store->pool, client);
    return status;
}

/* ---- opening ---------------------------------------------------------------------------- */

static size_t mongo_count(cp_patient_store *base) {
    (void)base;
    return CP_COUNT_UNKNOWN;
}

static void mongo_close(cp_patient_store *base) {
    mongo_store *store = (mongo_store *)base;
    if (store->pool)
        mongoc_client_pool_destroy(store->pool);
    free(store->database);
    free(store);
}

/* What the connection string leaves open. */
static void set_defaults(mongoc_uri_t *uri, const cp_remote_config *config) {
    int32_t timeout = (int32_t)config->timeout_ms;
    const struct {
        const char *name;
        int32_t value;
    } defaults[] = {
        {MONGOC_URI_SERVERSELECTIONTIMEOUTMS, timeout},
        {MONGOC_URI_SOCKETTIMEOUTMS, timeout},
        {MONGOC_URI_WAITQUEUETIMEOUTMS, timeout},
        {MONGOC_URI_CONNECTTIMEOUTMS, timeout < MAX_CONNECT_MS ? timeout : MAX_CONNECT_MS},
        {MONGOC_URI_MAXPOOLSIZE, (int32_t)config->n_connections},
    };
    for (size_t i = 0; i < CP_COUNT_OF(defaults); i++)
        if (!mongoc_uri_has_option(uri, defaults[i].name))
            mongoc_uri_set_option_as_int32(uri, defaults[i].name, defaults[i].value);
    if (!mongoc_uri_get_appname(uri))
        mongoc_uri_set_appname(uri, "carepath");
}

static cp_status check_security(const mongoc_uri_t *uri, cp_error *err) {
    static const char *const trusting[] = {MONGOC_URI_TLSINSECURE,
                                           MONGOC_URI_TLSALLOWINVALIDCERTIFICATES,
                                           MONGOC_URI_TLSALLOWINVALIDHOSTNAMES};
    for (size_t i = 0; i < CP_COUNT_OF(trusting); i++)
        if (mongoc_uri_get_option_as_bool(uri, trusting[i], false))
            return cp_error_set(err, CP_ERR_USAGE,
                                "MONGO_URI has %s=true, which only APP_ENV=development allows",
                                trusting[i]);
    if (!mongoc_uri_get_tls(uri))
        cp_log(CP_LOG_WARN, "records come over the network unencrypted: MONGO_URI has no tls=true");
    return CP_OK;
}

/* The driver's own sentence could quote the password. */
static cp_status open_pool(mongo_store *store, const cp_remote_config *config, cp_error *err) {
    bson_error_t error;
    mongoc_uri_t *uri = mongoc_uri_new_with_error(config->url, &error);
    if (!uri)
        return cp_error_set(err, CP_ERR_USAGE,
                            "MONGO_URI is no connection string, expected " URI_FORM);
    set_defaults(uri, config);
    cp_status status = config->strict ? check_security(uri, err) : CP_OK;
    if (status == CP_OK) {
        store->pool = mongoc_client_pool_new_with_error(uri, &error);
        if (!store->pool)
            status = cp_error_set(err, CP_ERR_USAGE,
                                  "MONGO_URI has options that do not go "
                                  "together, or files that cannot be read");
    }
    mongoc_uri_destroy(uri);
    if (status == CP_OK)
        mongoc_client_pool_set_error_api(store->pool, MONGOC_ERROR_API_VERSION_2);
    return status;
}

cp_status cp_patient_store_open_mongo(const cp_remote_config *config, cp_patient_store **out,
                                      cp_error *err) {
    *out = NULL;
    if (!config->url[0])
        return cp_error_set(err, CP_ERR_USAGE,
                            "MONGO_URI is not set, expected " URI_FORM " in the environment");
    cp_status loaded = cp_mongoc_need(err);
    if (loaded != CP_OK)
        return loaded;
    mongo_store *store = calloc(1, sizeof *store);
    if (!store)
        return cp_error_no_memory(err, "patient store");
    store->base = (cp_patient_store){.kind = "mongo",
                                     .is_remote = true,
                                     .get = mongo_get,
                                     .put = mongo_put,
                                     .count = mongo_count,
                                     .each_mrn = cp_mongo_each_mrn,
                                     .close = mongo_close};
    store->timeout_ms = config->timeout_ms;
    store->database = strdup(config->database);
    cp_status status =
        store->database ? open_pool(store, config, err) : cp_error_no_memory(err, "patient store");
    if (status == CP_OK)
        *out = &store->base;
    else
        mongo_close(&store->base);
    return status;
}
