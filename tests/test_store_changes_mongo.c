/* Changes of a MongoDB store: the outbox against the server that MONGO_URI names, change streams
 * against a scripted one that answers as a replica set does. */
#include "tests/mongo_stream.h"
#include "tests/test.h"

#include "base/mem.h"
#include "server/change_feed.h"
#include "server/mongo_load.h"

#include <mongoc/mongoc.h>
#include <time.h>
#include <unistd.h>

typedef struct fixture {
    cp_remote_config config;
    cp_patient_store *store;
    mongoc_client_t *client;
    char database[64];
} fixture;

static cp_patient_store *open_store(const fixture *f) {
    cp_error err;
    cp_patient_store *store;
    assert_cp_ok(cp_patient_store_open_mongo(&f->config, &store, &err));
    return store;
}

static int set_up(void **state) {
    static int number;
    const char *uri = getenv("MONGO_URI");
    *state = NULL;
    if (!uri || !*uri)
        return 0;
    fixture *f = calloc(1, sizeof *f);
    snprintf(f->database, sizeof f->database, "changes_%d_%d", (int)getpid(), number++);
    f->config = (cp_remote_config){
        .url = uri, .database = f->database, .timeout_ms = 60000, .n_connections = 2};
    f->store = open_store(f);
    f->client = mongoc_client_new(uri);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    if (!f)
        return 0;
    mongoc_database_t *database = mongoc_client_get_database(f->client, f->database);
    mongoc_database_drop(database, NULL);
    mongoc_database_destroy(database);
    mongoc_client_destroy(f->client);
    f->store->close(f->store);
    free(f);
    return 0;
}

static fixture *fixture_of(void **state) {
    if (!*state)
        skip();
    return *state;
}

static void put(fixture *f, const char *mrn) {
    char text[64];
    cp_error err;
    snprintf(text, sizeof text, "{\"mrn\":\"%s\"}", mrn);
    cJSON *patient = cJSON_Parse(text);
    const cp_patient_change change = {.mrn = mrn, .patient = patient};
    assert_cp_ok(f->store->put(f->store, &change, &err));
    cJSON_Delete(patient);
}

/* Puts an entry as another program would, with an id of its clock. */
static void tell(fixture *f, int64_t seconds, const char *json) {
    bson_error_t error;
    bson_t *rest = bson_new_from_json((const uint8_t *)json, -1, &error), entry = BSON_INITIALIZER;
    static uint8_t number;
    const uint8_t bytes[12] = {(uint8_t)(seconds >> 24),
                               (uint8_t)(seconds >> 16),
                               (uint8_t)(seconds >> 8),
                               (uint8_t)seconds,
                               7,
                               7,
                               7,
                               7,
                               7,
                               7,
                               7,
                               ++number};
    bson_oid_t oid;
    bson_oid_init_from_data(&oid, bytes);
    BSON_APPEND_OID(&entry, "_id", &oid);
    bson_concat(&entry, rest);
    mongoc_collection_t *outbox =
        mongoc_client_get_collection(f->client, f->database, CP_CHANGE_OUTBOX);
    if (!mongoc_collection_insert_one(outbox, &entry, NULL, NULL, &error))
        fail_msg("%s", error.message);
    mongoc_collection_destroy(outbox);
    bson_destroy(rest);
    bson_destroy(&entry);
}

static cp_change_feed *open_feed(cp_patient_store *store, const char *position, bool *all) {
    cp_error err;
    cp_change_feed *feed;
    assert_cp_ok(cp_change_feed_open_mongo(store, position, &feed, all, &err));
    return feed;
}

/* What the feed tells, sorted: "A-1 B-1 ". */
static char *told(cp_change_feed *feed) {
    cp_error err;
    cp_mrn_list changed = {.mrns = NULL};
    cp_strbuf out;
    bool all = false;
    assert_cp_ok(feed->next(feed, 0, &changed, &all, &err));
    cp_mrn_list_sort(&changed);
    cp_strbuf_init(&out, 1 << 20);
    for (size_t i = 0; i < changed.n; i++)
        cp_strbuf_printf(&out, "%s ", changed.mrns[i]);
    if (all)
        cp_strbuf_puts(&out, "(all)");
    cp_mrn_list_deinit(&changed);
    static char text[4096];
    snprintf(text, sizeof text, "%s", cp_strbuf_text(&out));
    cp_strbuf_deinit(&out);
    return text;
}

static char *position_of(cp_change_feed *feed) {
    cp_error err;
    cp_strbuf out;
    static char text[1024];
    cp_strbuf_init(&out, sizeof text - 1);
    assert_cp_ok(feed->position(feed, &out, &err));
    snprintf(text, sizeof text, "%s", cp_strbuf_text(&out));
    cp_strbuf_deinit(&out);
    return text;
}

/* A server with change streams has them; then the outbox is written all the same, and not read. */
static cp_change_feed *open_outbox(fixture *f, const char *position, bool *all) {
    cp_change_feed *feed = open_feed(open_store(f), position, all);
    if (strcmp(feed->kind, "outbox") != 0) {
        feed->close(feed);
        skip();
    }
    return feed;
}

/* ---- the outbox ------------------------------------------------------------------------- */

static void a_put_tells_that_the_patient_changed(void **state) {
    fixture *f = fixture_of(state);
    bool all;
    cp_change_feed *feed = open_outbox(f, "", &all);
    assert_true(all); /* before now nobody looked */
    assert_string_equal(told(feed), "");
    put(f, "A-1");
    put(f, "B-1");
    put(f, "A-1");
    assert_string_equal(told(feed), "A-1 B-1 ");
    assert_string_equal(told(feed), ""); /* once */
    put(f, "A-1");
    assert_string_equal(told(feed), "A-1 ");
    feed->close(feed);
}

static void a_position_tells_again_and_loses_nothing(void **state) {
    fixture *f = fixture_of(state);
    char position[1024];
    bool all;
    cp_change_feed *feed = open_outbox(f, "", &all);
    put(f, "A-1");
    assert_string_equal(told(feed), "A-1 ");
    strcpy(position, position_of(feed));
    feed->close(feed);
    put(f, "B-1"); /* while nobody follows */
    feed = open_outbox(f, position, &all);
    assert_false(all);
    assert_string_equal(told(feed), "A-1 B-1 "); /* at least once */
    feed->close(feed);
    static const char *const wrong[] = {
        "outbox",    "outbox x",           "outbox 7",
        "imports 7", "outbox 99999999999", "stream {\"_data\":\"x\"}"};
    for (size_t i = 0; i < CP_COUNT_OF(wrong); i++) {
        feed = open_outbox(f, wrong[i], &all);
        if (!all)
            fail_msg("%s was taken", wrong[i]);
        feed->close(feed);
    }
}

/* An entry of a writer whose clock is behind comes after newer ones. */
static void clocks_may_differ_by_minutes(void **state) {
    fixture *f = fixture_of(state);
    bool all;
    int64_t now = (int64_t)time(NULL);
    cp_change_feed *feed = open_outbox(f, "", &all);
    tell(f, now, "{\"mrn\":\"NOW\"}");
    assert_string_equal(told(feed), "NOW ");
    tell(f, now - CP_CHANGE_OVERLAP_S / 2, "{\"mrn\":\"BEHIND\"}");
    assert_string_equal(told(feed), "BEHIND ");
    tell(f, now + 3600, "{\"mrn\":\"AHEAD\"}");
    assert_string_equal(told(feed), "AHEAD ");
    tell(f, now, "{\"mrn\":\"STILL\"}"); /* the clock ahead has taken nobody along */
    assert_string_equal(told(feed), "STILL ");
    feed->close(feed);
}

static void entries_that_are_none_harm_nobody(void **state) {
    fixture *f = fixture_of(state);
    bool all;
    int64_t now = (int64_t)time(NULL);
    cp_change_feed *feed = open_outbox(f, "", &all);
    tell(f, now, "{\"mrn\":7}");
    tell(f, now, "{\"at\":1}");
    tell(f, now, "{\"mrn\":\"a b; drop\"}");
    tell(f, now, "{\"mrn\":{\"$oid\":\"0123456789abcdef01234567\"}}");
    tell(f, now, "{\"mrn\":\"GOOD\"}");
    assert_string_equal(told(feed), "GOOD ");
    feed->close(feed);
}

static void many_entries_come_over_pages(void **state) {
    fixture *f = fixture_of(state);
    bool all;
    cp_error err;
    cp_mrn_list changed = {.mrns = NULL};
    cp_change_feed *feed = open_outbox(f, "", &all);
    mongoc_collection_t *outbox =
        mongoc_client_get_collection(f->client, f->database, CP_CHANGE_OUTBOX);
    mongoc_bulk_operation_t *bulk = mongoc_collection_create_bulk_operation_with_opts(outbox, NULL);
    for (int i = 0; i < 2300; i++) {
        bson_t entry = BSON_INITIALIZER;
        char mrn[16];
        snprintf(mrn, sizeof mrn, "M-%d", i);
        BSON_APPEND_UTF8(&entry, "mrn", mrn);
        mongoc_bulk_operation_insert(bulk, &entry);
        bson_destroy(&entry);
    }
    bson_error_t error;
    if (!mongoc_bulk_operation_execute(bulk, NULL, &error))
        fail_msg("%s", error.message);
    mongoc_bulk_operation_destroy(bulk);
    mongoc_collection_destroy(outbox);
    assert_cp_ok(feed->next(feed, 0, &changed, &all, &err));
    cp_mrn_list_sort(&changed);
    assert_int_equal(changed.n, 2300);
    assert_cp_ok(feed->next(feed, 0, &changed, &all, &err));
    assert_int_equal(changed.n, 2300); /* none of them again */
    cp_mrn_list_deinit(&changed);
    feed->close(feed);
}

/* ---- all patients ----------------------------------------------------------------------- */

static void a_store_tells_its_patients(void **state) {
    fixture *f = fixture_of(state);
    cp_error err;
    cp_mrn_list list;
    assert_cp_ok(cp_load_folder(f->store, "data/synthetic", NULL, &err));
    assert_cp_ok(cp_mrn_list_of_store(f->store, &list, &err));
    assert_int_equal(list.n, 12);
    assert_true(cp_mrn_list_has(&list, "MRN-001"));
    assert_false(cp_mrn_list_has(&list, "MRN-999"));
    cp_mrn_list_deinit(&list);
}

static void the_commands_work_on_mongo(void **state) {
    fixture *f = fixture_of(state);
    char database[100], index[600];
    cp_error err;
    snprintf(database, sizeof database, "MONGO_DATABASE=%s", f->database);
    snprintf(index, sizeof index, "INDEX_DIR=%s", test_path(test_tmp_dir(), f->database));
    const char *env[] = {"PATIENT_STORE=mongo",    database,        index,
                         "STORE_TIMEOUT_MS=60000", "LOG_LEVEL=off", NULL};
    assert_cp_ok(cp_load_folder(f->store, "data/synthetic", NULL, &err));
    static const struct {
        const char *command;
        int exit_code;
    } runs[] = {{"ingest", 0}, {"freshness", 0}, {"freshness", 1}, {"ingest", 0}, {"freshness", 0}};
    for (size_t i = 0; i < CP_COUNT_OF(runs); i++) {
        if (i == 2) {
            cJSON *patient = cJSON_Parse("{\"mrn\":\"MRN-001\"}");
            cJSON *documents = cJSON_Parse("[{\"id\":\"NEW\",\"mrn\":\"MRN-001\",\"date\":"
                                           "\"2026-01-01\",\"title\":\"T\",\"text\":\"New.\"}]");
            const cp_patient_change change = {
                .mrn = "MRN-001", .patient = patient, .documents = documents};
            assert_cp_ok(f->store->put(f->store, &change, &err));
            cJSON_Delete(patient);
            cJSON_Delete(documents);
        }
        test_run run =
            test_run_program((const char *[]){NULL, runs[i].command, "--json", NULL}, env, NULL);
        if (run.exit_code != runs[i].exit_code)
            fail_msg("run %zu: %s%s", i, cp_strbuf_text(&run.out), cp_strbuf_text(&run.err));
        test_run_free(&run);
    }
}

/* ---- change streams --------------------------------------------------------------------- */

static cp_patient_store *open_scripted(void) {
    fixture f = {.config = {.url = test_mongo_stream_uri(),
                            .database = "clinic",
                            .timeout_ms = 5000,
                            .n_connections = 1}};
    return open_store(&f);
}

static void a_replica_set_is_followed_by_its_stream(void **state) {
    (void)state;
    char position[1024];
    bool all;
    test_mongo_stream_start(true);
    cp_change_feed *feed = open_feed(open_scripted(), "", &all);
    assert_string_equal(feed->kind, "change stream");
    assert_true(all);
    assert_string_equal(told(feed), "");
    test_mongo_stream_add("insert", "A-1");
    test_mongo_stream_add("update", "B-1");
    test_mongo_stream_add("replace", "A-1");
    assert_string_equal(told(feed), "A-1 B-1 ");
    strcpy(position, position_of(feed));
    assert_non_null(strstr(position, "stream {"));
    feed->close(feed);
    test_mongo_stream_add("insert", "C-1"); /* while nobody follows */
    feed = open_feed(open_scripted(), position, &all);
    assert_false(all);
    assert_string_equal(told(feed), "C-1 ");
    /* Whose it was that is deleted is not told: everything is compared. */
    test_mongo_stream_add("delete", NULL);
    assert_string_equal(told(feed), "(all)");
    feed->close(feed);
    /* The server has forgotten that far back. */
    test_mongo_stream_forget();
    feed = open_feed(open_scripted(), position, &all);
    assert_string_equal(feed->kind, "change stream");
    assert_true(all);
    test_mongo_stream_add("insert", "D-1");
    assert_string_equal(told(feed), "D-1 ");
    feed->close(feed);
    test_mongo_stream_stop();
}

static void a_single_server_is_followed_by_its_outbox(void **state) {
    (void)state;
    bool all;
    test_mongo_stream_start(false);
    cp_change_feed *feed = open_feed(open_scripted(), "stream {\"_data\":\"7\"}", &all);
    assert_string_equal(feed->kind, "outbox");
    assert_true(all);
    feed->close(feed);
    test_mongo_stream_stop();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
static const struct CMUnitTest tests[] = {
    TEST(a_put_tells_that_the_patient_changed),
    TEST(a_position_tells_again_and_loses_nothing),
    TEST(clocks_may_differ_by_minutes),
    TEST(entries_that_are_none_harm_nobody),
    TEST(many_entries_come_over_pages),
    TEST(a_store_tells_its_patients),
    TEST(the_commands_work_on_mongo),
    cmocka_unit_test(a_replica_set_is_followed_by_its_stream),
    cmocka_unit_test(a_single_server_is_followed_by_its_outbox),
};
CP_TEST_GROUP(store_changes_mongo, tests)
