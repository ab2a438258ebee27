/* Changes of a MongoDB store.
 *
 * Change streams: of the database, the five collections alone, with the MRN of each document as it
 * is now. A deletion tells no MRN: everything is compared then. Position: the stream's resume
 * token.
 *
 * Outbox: entries {_id: ObjectId, mrn: string, at: date} that writers add after what they changed.
 * ObjectIds begin with their writer's clock, so entries of the last minutes are looked at again in
 * each poll, and those that were told are passed over. Position: since when. */
#include "server/change_feed.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "server/store_mongo_link.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OUTBOX        "outbox "
#define STREAM        "stream "
#define POLL_MS       500
#define PAGE          1000
#define MAX_EVENTS    1000 /* told in one call */
#define MAX_SEEN      1000000
#define PRUNE_EVERY_S 3600
#define OID_BYTES     12

/* ---- what the store calls --------------------------------------------------------------- */

cp_status cp_mongo_tell_change(cp_mongo_store *store, mongoc_client_t *client, const char *mrn,
                               cp_error *err) {
    bson_t entry = BSON_INITIALIZER;
    bson_error_t error;
    mongoc_collection_t *outbox =
        mongoc_client_get_collection(client, store->database, CP_CHANGE_OUTBOX);
    BSON_APPEND_UTF8(&entry, "mrn", mrn);
    BSON_APPEND_DATE_TIME(&entry, "at", cp_clock_unix_s() * 1000);
    bool told = mongoc_collection_insert_one(outbox, &entry, NULL, NULL, &error);
    bson_destroy(&entry);
    mongoc_collection_destroy(outbox);
    return told ? CP_OK : cp_mongo_fault(&error, err);
}

/* The string `key` of a document, or NULL. */
static const char *text_of(const bson_t *document, const char *key) {
    bson_iter_t at;
    return bson_iter_init_find(&at, document, key) && bson_iter_type(&at) == BSON_TYPE_UTF8
               ? bson_iter_utf8(&at, NULL)
               : NULL;
}

/* In the order of the MRN, which has an index. */
cp_status cp_mongo_each_mrn(cp_patient_store *base, bool (*visit)(void *user, const char *mrn),
                            void *user, cp_error *err) {
    cp_mongo_store *store = (cp_mongo_store *)base;
    mongoc_client_t *client;
    const bson_t *document;
    bson_error_t error;
    bson_t filter = BSON_INITIALIZER, options = BSON_INITIALIZER, child;
    cp_status status = cp_mongo_borrow(store, &client, err);
    if (status != CP_OK)
        return status;
    BSON_APPEND_DOCUMENT_BEGIN(&options, "projection", &child);
    BSON_APPEND_INT32(&child, "_id", 0);
    BSON_APPEND_INT32(&child, "mrn", 1);
    bson_append_document_end(&options, &child);
    mongoc_collection_t *patients =
        mongoc_client_get_collection(client, store->database, "patients");
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(patients, &filter, &options, NULL);
    for (bool goes_on = true; goes_on && mongoc_cursor_next(cursor, &document);) {
        const char *mrn = text_of(document, "mrn");
        goes_on = !mrn || !cp_mrn_is_valid(mrn) || visit(user, mrn);
    }
    if (mongoc_cursor_error(cursor, &error))
        status = cp_mongo_fault(&error, err);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(patients);
    mongoc_client_pool_push(store->pool, client);
    bson_destroy(&options);
    bson_destroy(&filter);
    return status;
}

/* ---- the feed --------------------------------------------------------------------------- */

typedef struct seen_entry {
    uint8_t oid[OID_BYTES];
} seen_entry;

typedef struct mongo_feed {
    cp_change_feed base;
    cp_mongo_store *store;
    mongoc_client_t *client;
    mongoc_change_stream_t *stream; /* NULL: the outbox */
    int64_t since, pruned;          /* of the outbox: seconds since 1970 */
    seen_entry *seen;               /* [n_seen], ascending: of the last minutes, told */
    size_t n_seen, seen_cap;
} mongo_feed;

static void mongo_close(cp_change_feed *base) {
    mongo_feed *feed = (mongo_feed *)base;
    if (feed->stream)
        mongoc_change_stream_destroy(feed->stream);
    if (feed->client)
        mongoc_client_pool_push(feed->store->pool, feed->client);
    feed->store->base.close(&feed->store->base);
    free(feed->seen);
    free(feed);
}

/* A good MRN into the list; whatever else is somebody's mistake, and nobody's record. */
static cp_status tell_mrn(const char *mrn, cp_mrn_list *changed, cp_error *err) {
    bool good = !mrn || !cp_mrn_is_valid(mrn) || cp_mrn_list_add(changed, mrn);
    return good ? CP_OK : cp_error_no_memory(err, "record numbers");
}

/* ---- change streams --------------------------------------------------------------------- */

/* [{"$match": {"ns.coll": {"$in": [...]}}}, {"$project": {...}}] */
static void append_pipeline(bson_t *out) {
    bson_t pipeline, stage, match, condition, names, project;
    BSON_APPEND_ARRAY_BEGIN(out, "pipeline", &pipeline);
    BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "0", &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$match", &match);
    BSON_APPEND_DOCUMENT_BEGIN(&match, "ns.coll", &condition);
    BSON_APPEND_ARRAY_BEGIN(&condition, "$in", &names);
    BSON_APPEND_UTF8(&names, "0", "patients");
    for (unsigned list = 0; list < CP_N_LISTS; list++) {
        const char place[2] = {(char)('1' + list), '\0'};
        BSON_APPEND_UTF8(&names, place, cp_record_list_name(list));
    }
    bson_append_array_end(&condition, &names);
    bson_append_document_end(&match, &condition);
    bson_append_document_end(&stage, &match);
    bson_append_document_end(&pipeline, &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "1", &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$project", &project);
    BSON_APPEND_INT32(&project, "operationType", 1);
    BSON_APPEND_INT32(&project, "fullDocument.mrn", 1);
    bson_append_document_end(&stage, &project);
    bson_append_document_end(&pipeline, &stage);
    bson_append_array_end(out, &pipeline);
}

/* Does this server have change streams, and can it go on behind `token` (NULL: now)? *stream is
 * NULL where not. CP_OK but for connections. */
static cp_status try_stream(mongo_feed *feed, const bson_t *token, mongoc_change_stream_t **out,
                            cp_error *err) {
    bson_t pipeline = BSON_INITIALIZER, options = BSON_INITIALIZER;
    const bson_t *reply = NULL;
    bson_error_t error;
    mongoc_database_t *database = mongoc_client_get_database(feed->client, feed->store->database);
    append_pipeline(&pipeline);
    BSON_APPEND_UTF8(&options, "fullDocument", "updateLookup");
    BSON_APPEND_INT64(&options, "maxAwaitTimeMS", POLL_MS);
    if (token)
        BSON_APPEND_DOCUMENT(&options, "resumeAfter", token);
    mongoc_change_stream_t *stream = mongoc_database_watch(database, &pipeline, &options);
    cp_status status = CP_OK;
    *out = stream;
    if (mongoc_change_stream_error_document(stream, &error, &reply)) {
        if (error.domain == MONGOC_ERROR_SERVER_SELECTION || error.domain == MONGOC_ERROR_STREAM)
            status = cp_mongo_fault(&error, err);
        mongoc_change_stream_destroy(stream);
        *out = NULL;
    }
    mongoc_database_destroy(database);
    bson_destroy(&options);
    bson_destroy(&pipeline);
    return status;
}

static cp_status tell_event(const bson_t *event, cp_mrn_list *changed, bool *all, cp_error *err) {
    cJSON *tree = NULL;
    cp_status status = cp_mongo_to_json(event, &tree, err);
    if (status == CP_ERR_FORMAT || status == CP_ERR_LIMIT) { /* somebody wrote what is no JSON */
        *all = true;
        return CP_OK;
    }
    if (status != CP_OK)
        return status;
    const char *type = cp_json_text(tree, "operationType", "");
    const char *mrn = cp_json_text(cp_json_member(tree, "fullDocument"), "mrn", NULL);
    /* Deleted since, or what was deleted: whose it was is not told. */
    *all |= !mrn;
    if (strcmp(type, "invalidate") == 0)
        status = cp_error_set(err, CP_ERR_IO, "MongoDB: the change stream was ended");
    else
        status = tell_mrn(mrn, changed, err);
    cJSON_Delete(tree);
    return status;
}

static cp_status stream_next(cp_change_feed *base, int64_t ms, cp_mrn_list *changed, bool *all,
                             cp_error *err) {
    mongo_feed *feed = (mongo_feed *)base;
    const bson_t *event, *reply;
    bson_error_t error;
    uint64_t begun = cp_clock_ns();
    cp_status status = CP_OK;
    for (size_t n = 0; n < MAX_EVENTS && status == CP_OK;) {
        if (mongoc_change_stream_next(feed->stream, &event)) {
            status = tell_event(event, changed, all, err);
            n++;
        } else if (mongoc_change_stream_error_document(feed->stream, &error, &reply)) {
            status = cp_mongo_fault(&error, err);
        } else if (n > 0 || cp_clock_ms_since(begun) >= (double)ms) {
            break; /* nothing more for now */
        }
    }
    return status;
}

static cp_status stream_position(cp_change_feed *base, cp_strbuf *out, cp_error *err) {
    const bson_t *token = mongoc_change_stream_get_resume_token(((mongo_feed *)base)->stream);
    char *text = token ? bson_as_canonical_extended_json(token, NULL) : NULL;
    if (text)
        cp_strbuf_printf(out, STREAM "%s", text);
    bson_free(text);
    return cp_strbuf_check(out, "checkpoint", err);
}

/* ---- the outbox ------------------------------------------------------------------------- */

/* The least ObjectId of a second. */
static bson_oid_t first_oid(int64_t seconds) {
    uint8_t bytes[OID_BYTES] = {(uint8_t)(seconds >> 24), (uint8_t)(seconds >> 16),
                                (uint8_t)(seconds >> 8), (uint8_t)seconds};
    bson_oid_t oid;
    bson_oid_init_from_data(&oid, bytes);
    return oid;
}

static int compare_seen(const void *a, const void *b) {
    return memcmp(a, b, OID_BYTES);
}

/* One page of entries behind `after` (or from it on). Told ones are in `old`; all that are read go
 * into feed->seen. */
static cp_status read_page(mongo_feed *feed, const seen_entry *old, size_t n_old, bson_oid_t *from,
                           bool inclusive, size_t *n, cp_mrn_list *changed, cp_error *err) {
    bson_t filter = BSON_INITIALIZER, options = BSON_INITIALIZER, child;
    const bson_t *entry;
    bson_error_t error;
    bson_iter_t at;
    cp_status status = CP_OK;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &child);
    BSON_APPEND_OID(&child, inclusive ? "$gte" : "$gt", from);
    bson_append_document_end(&filter, &child);
    BSON_APPEND_DOCUMENT_BEGIN(&options, "sort", &child);
    BSON_APPEND_INT32(&child, "_id", 1);
    bson_append_document_end(&options, &child);
    BSON_APPEND_INT64(&options, "limit", PAGE);
    mongoc_collection_t *outbox =
        mongoc_client_get_collection(feed->client, feed->store->database, CP_CHANGE_OUTBOX);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(outbox, &filter, &options, NULL);
    while (status == CP_OK && mongoc_cursor_next(cursor, &entry)) {
        seen_entry key;
        ++*n;
        if (!bson_iter_init_find(&at, entry, "_id") || bson_iter_type(&at) != BSON_TYPE_OID)
            continue;
        *from = *bson_iter_oid(&at);
        memcpy(key.oid, from->bytes, OID_BYTES);
        if (feed->n_seen < MAX_SEEN) { /* beyond that they are told again: no harm */
            if (!cp_grow((void **)&feed->seen, &feed->seen_cap, feed->n_seen + 1, sizeof key))
                status = cp_error_no_memory(err, "the outbox");
            else
                feed->seen[feed->n_seen++] = key;
        }
        if (status == CP_OK && (n_old == 0 || !bsearch(&key, old, n_old, sizeof key, compare_seen)))
            status = tell_mrn(text_of(entry, "mrn"), changed, err);
    }
    if (status == CP_OK && mongoc_cursor_error(cursor, &error))
        status = cp_mongo_fault(&error, err);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(outbox);
    bson_destroy(&options);
    bson_destroy(&filter);
    return status;
}

static cp_status poll_outbox(mongo_feed *feed, cp_mrn_list *changed, cp_error *err) {
    seen_entry *old = feed->seen;
    size_t n_old = feed->n_seen, n = PAGE;
    bson_oid_t from = first_oid(feed->since);
    cp_status status = CP_OK;
    feed->seen = NULL;
    feed->n_seen = feed->seen_cap = 0;
    for (bool first = true; n == PAGE && status == CP_OK; first = false) {
        n = 0;
        status = read_page(feed, old, n_old, &from, first, &n, changed, err);
    }
    free(old);
    if (status != CP_OK || feed->n_seen == 0)
        return status;
    const uint8_t *newest = feed->seen[feed->n_seen - 1].oid;
    int64_t at = (int64_t)newest[0] << 24 | newest[1] << 16 | newest[2] << 8 | newest[3];
    int64_t now = cp_clock_unix_s();
    if (at > now)
        at = now; /* a clock that is ahead must not make us skip what others write */
    if (at - CP_CHANGE_OVERLAP_S > feed->since)
        feed->since = at - CP_CHANGE_OVERLAP_S;
    return CP_OK;
}

/* Entries that every follower has had days to read. That it fails is no matter. */
static void prune_outbox(mongo_feed *feed) {
    int64_t now = cp_clock_unix_s();
    if (now - feed->pruned < PRUNE_EVERY_S)
        return;
    feed->pruned = now;
    bson_t filter = BSON_INITIALIZER, child;
    bson_error_t ignored;
    bson_oid_t before = first_oid(now - CP_CHANGE_KEEP_S);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &child);
    BSON_APPEND_OID(&child, "$lt", &before);
    bson_append_document_end(&filter, &child);
    mongoc_collection_t *outbox =
        mongoc_client_get_collection(feed->client, feed->store->database, CP_CHANGE_OUTBOX);
    (void)mongoc_collection_delete_many(outbox, &filter, NULL, NULL, &ignored);
    mongoc_collection_destroy(outbox);
    bson_destroy(&filter);
}

static cp_status outbox_next(cp_change_feed *base, int64_t ms, cp_mrn_list *changed, bool *all,
                             cp_error *err) {
    mongo_feed *feed = (mongo_feed *)base;
    const struct timespec wait = {.tv_nsec = POLL_MS * 1000000L};
    uint64_t begun = cp_clock_ns();
    size_t n = changed->n;
    (void)all;
    prune_outbox(feed);
    for (;;) {
        cp_status status = poll_outbox(feed, changed, err);
        if (status != CP_OK || changed->n > n || cp_clock_ms_since(begun) + POLL_MS > (double)ms)
            return status;
        if (nanosleep(&wait, NULL) != 0)
            return CP_OK; /* a signal */
    }
}

static cp_status outbox_position(cp_change_feed *base, cp_strbuf *out, cp_error *err) {
    cp_strbuf_printf(out, OUTBOX "%lld", (long long)((mongo_feed *)base)->since);
    return cp_strbuf_check(out, "checkpoint", err);
}

/* ---- opening ---------------------------------------------------------------------------- */

static cp_status open_stream(mongo_feed *feed, const char *position, bool *all, cp_error *err) {
    size_t n = strlen(STREAM);
    bson_error_t error;
    bson_t *token = NULL;
    if (strncmp(position, STREAM, n) == 0)
        token = bson_new_from_json((const uint8_t *)position + n, -1, &error);
    *all = !token;
    cp_status status = try_stream(feed, token, &feed->stream, err);
    if (status == CP_OK && token && !feed->stream) { /* the server no longer has what came then */
        *all = true;
        status = try_stream(feed, NULL, &feed->stream, err);
    }
    if (token)
        bson_destroy(token);
    if (feed->stream) {
        feed->base.kind = "change stream";
        feed->base.next = stream_next;
        feed->base.position = stream_position;
    }
    return status;
}

static void begin_outbox(mongo_feed *feed, const char *position, bool *all) {
    long long since, now = cp_clock_unix_s();
    *all = sscanf(position, OUTBOX "%lld", &since) != 1 || since < now - CP_CHANGE_KEEP_S ||
           since > now;
    feed->since = *all ? now - CP_CHANGE_OVERLAP_S : since;
    feed->base.kind = "outbox";
    feed->base.next = outbox_next;
    feed->base.position = outbox_position;
}

cp_status cp_change_feed_open_mongo(cp_patient_store *store, const char *position,
                                    cp_change_feed **out, bool *all, cp_error *err) {
    *out = NULL;
    *all = true;
    mongo_feed *feed = calloc(1, sizeof *feed);
    if (!feed) {
        store->close(store);
        return cp_error_no_memory(err, "changes");
    }
    feed->base.close = mongo_close;
    feed->store = (cp_mongo_store *)store;
    cp_status status = cp_mongo_borrow(feed->store, &feed->client, err);
    if (status == CP_OK)
        status = open_stream(feed, position, all, err);
    if (status == CP_OK && !feed->stream)
        begin_outbox(feed, position, all);
    if (status == CP_OK)
        *out = &feed->base;
    else
        mongo_close(&feed->base);
    return status;
}
