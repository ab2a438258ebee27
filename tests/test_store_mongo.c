/* The MongoDB store beside the common contract: loading, indexes, data of other programs, servers
 * that are not there. Those that need a server run where MONGO_URI names one. */
#include "tests/test.h"

#include "server/mongo_load.h"
#include "server/store_mongo.h"

#include <mongoc/mongoc.h>
#include <unistd.h>

#define SYNTHETIC "data/synthetic"

typedef struct fixture {
    cp_patient_store *store;
    mongoc_client_t *client;
    char database[64];
} fixture;

static int set_up(void **state) {
    static int number;
    const char *uri = getenv("MONGO_URI");
    cp_error err;
    *state = NULL;
    if (!uri || !*uri)
        return 0;
    fixture *f = calloc(1, sizeof *f);
    snprintf(f->database, sizeof f->database, "store_%d_%d", (int)getpid(), number++);
    const cp_remote_config config = {
        .url = uri, .database = f->database, .timeout_ms = 60000, .n_connections = 2};
    assert_cp_ok(cp_patient_store_open_mongo(&config, &f->store, &err));
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

/* Puts a document as another program would have. */
static void insert(fixture *f, const char *collection, const char *json) {
    bson_error_t error;
    bson_t *document = bson_new_from_json((const uint8_t *)json, -1, &error);
    assert_non_null(document);
    mongoc_collection_t *c = mongoc_client_get_collection(f->client, f->database, collection);
    bool inserted = mongoc_collection_insert_one(c, document, NULL, NULL, &error);
    mongoc_collection_destroy(c);
    bson_destroy(document);
    if (!inserted)
        fail_msg("%s", error.message);
}

static cp_status get(fixture *f, const char *mrn, cp_patient_record **out, cp_error *err) {
    return f->store->get(f->store, mrn, out, err);
}

/* ---- with a server ---------------------------------------------------------------------- */

static void loading_twice_adds_nothing(void **state) {
    fixture *f = fixture_of(state);
    cp_error err;
    cp_load_count first[CP_LOAD_COLLECTIONS], second[CP_LOAD_COLLECTIONS];
    assert_cp_ok(cp_load_folder(f->store, SYNTHETIC, first, &err));
    assert_cp_ok(cp_load_folder(f->store, SYNTHETIC, second, &err));
    for (size_t i = 0; i < CP_LOAD_COLLECTIONS; i++) {
        assert_true(first[i].n >= 10);
        assert_int_equal(first[i].n_new, first[i].n);
        assert_int_equal(second[i].n, first[i].n);
        assert_int_equal(second[i].n_new, 0);
    }
}

static void the_command_loads_and_tells(void **state) {
    fixture *f = fixture_of(state);
    const char *argv[] = {NULL, "load-data", SYNTHETIC, "--database", f->database, NULL};
    test_run run = test_run_program(argv, NULL, NULL);
    if (run.exit_code != 0)
        fail_msg("%s", cp_strbuf_text(&run.err));
    assert_non_null(strstr(cp_strbuf_text(&run.out), "patients        12 rows, 12 of them new"));
    test_run_free(&run);
    cp_error err;
    cp_patient_record *record = NULL;
    assert_cp_ok(get(f, "MRN-012", &record, &err));
    cp_patient_record_free(record);
}

/* The names of a collection's indexes, with commas. */
static void index_names(fixture *f, const char *collection, char *out, size_t cap) {
    mongoc_collection_t *c = mongoc_client_get_collection(f->client, f->database, collection);
    mongoc_cursor_t *cursor = mongoc_collection_find_indexes_with_opts(c, NULL);
    const bson_t *index;
    bson_iter_t at;
    out[0] = '\0';
    while (mongoc_cursor_next(cursor, &index))
        if (bson_iter_init_find(&at, index, "name"))
            snprintf(out + strlen(out), cap - strlen(out), "%s,", bson_iter_utf8(&at, NULL));
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(c);
}

static void lookups_have_indexes(void **state) {
    fixture *f = fixture_of(state);
    static const char *const rows[] = {"encounters", "claims", "documents", "chat_logs"};
    cp_error err;
    char names[200];
    assert_cp_ok(cp_mongo_make_indexes(f->store, &err));
    assert_cp_ok(cp_mongo_make_indexes(f->store, &err));
    index_names(f, "patients", names, sizeof names);
    assert_non_null(strstr(names, "mrn,"));
    for (size_t i = 0; i < 4; i++) {
        index_names(f, rows[i], names, sizeof names);
        assert_non_null(strstr(names, "mrn_date,"));
        assert_non_null(strstr(names, "id,"));
    }
}

static void dates_of_other_programs_become_texts(void **state) {
    fixture *f = fixture_of(state);
    cp_error err;
    cp_patient_record *record = NULL;
    insert(f, "patients",
           "{\"mrn\":\"D-1\",\"date_of_birth\":{\"$date\":\"1960-05-06T00:00:00Z\"},"
           "\"seen\":[{\"$date\":\"2026-05-06T07:08:09Z\"}]}");
    insert(f, "encounters",
           "{\"mrn\":\"D-1\",\"id\":\"E2\",\"date\":{\"$date\":\"2026-01-02T10:00:00Z\"}}");
    insert(f, "encounters", "{\"mrn\":\"D-1\",\"id\":\"E1\",\"date\":\"2025-01-02T08:00\"}");
    assert_cp_ok(get(f, "D-1", &record, &err));
    assert_string_equal(cp_json_member(record->patient, "date_of_birth")->valuestring,
                        "1960-05-06");
    assert_string_equal(cp_json_member(record->patient, "seen")->child->valuestring,
                        "2026-05-06T07:08:09Z");
    assert_null(cp_json_member(record->patient, "_id"));
    const cJSON *first = record->encounters->child;
    assert_string_equal(cp_json_member(first, "date")->valuestring, "2025-01-02");
    assert_string_equal(cp_json_member(first->next, "date")->valuestring, "2026-01-02");
    cp_patient_record_free(record);
}

/* Nothing is left of a record that cannot be read whole, and nothing of it is in the sentence. */
static void documents_that_are_no_record_are_refused(void **state) {
    fixture *f = fixture_of(state);
    cp_error err = {0};
    cp_patient_record *record;
    insert(f, "patients", "{\"mrn\":\"B-1\"}");
    insert(f, "documents",
           "{\"mrn\":\"B-1\",\"id\":\"1\",\"date\":\"SECRET\",\"title\":\"T\","
           "\"text\":\"SECRET\"}");
    assert_int_equal(get(f, "B-1", &record, &err), CP_ERR_FORMAT);
    assert_null(record);
    assert_non_null(strstr(err.message, "documents 1: date"));
    assert_null(strstr(err.message, "SECRET"));
    insert(f, "patients", "{\"mrn\":\"B-2\",\"note\":\"SECRET\\u0000hidden\"}");
    assert_int_equal(get(f, "B-2", &record, &err), CP_ERR_FORMAT);
    assert_null(strstr(err.message, "SECRET"));
}

/* Stored as an operator, an array or a number, it is nobody's MRN. */
static void mrns_that_are_no_strings_are_never_found(void **state) {
    fixture *f = fixture_of(state);
    cp_error err;
    cp_patient_record *record;
    insert(f, "patients", "{\"mrn\":17}");
    insert(f, "patients", "{\"mrn\":{\"$oid\":\"0123456789abcdef01234567\"}}");
    assert_int_equal(get(f, "17", &record, &err), CP_ERR_NOT_FOUND);
    assert_int_equal(get(f, "0123456789abcdef01234567", &record, &err), CP_ERR_NOT_FOUND);
}

static cp_status put(fixture *f, const char *mrn, const char *patient, const char *documents,
                     cp_error *err) {
    cJSON *p = cJSON_Parse(patient), *d = documents ? cJSON_Parse(documents) : NULL;
    const cp_patient_change change = {.mrn = mrn, .patient = p, .documents = d};
    cp_status status = f->store->put(f->store, &change, err);
    cJSON_Delete(p);
    cJSON_Delete(d);
    return status;
}

static void names_with_dollars_and_dots_are_not_written(void **state) {
    fixture *f = fixture_of(state);
    static const char *const members[] = {"\"$set\":1", "\"a.b\":1", "\"\":1",
                                          "\"x\":{\"$where\":\"SECRET\"}",
                                          "\"x\":[{\"y\":{\"a.b\":1}}]"};
    for (size_t i = 0; i < 5; i++) {
        char patient[100];
        cp_error err = {0};
        cp_patient_record *record;
        snprintf(patient, sizeof patient, "{\"mrn\":\"K-1\",%s}", members[i]);
        assert_int_equal(put(f, "K-1", patient, NULL, &err), CP_ERR_USAGE);
        assert_null(strstr(err.message, "SECRET"));
        assert_int_equal(get(f, "K-1", &record, &err), CP_ERR_NOT_FOUND);
    }
}

/* Ids are unique: a document cannot be taken from one patient by importing another. */
static void an_id_of_another_patient_is_refused(void **state) {
    fixture *f = fixture_of(state);
    cp_error err = {0};
    cp_patient_record *record = NULL;
    assert_cp_ok(cp_load_folder(f->store, SYNTHETIC, NULL, &err));
    assert_int_equal(put(f, "THIEF", "{\"mrn\":\"THIEF\"}",
                         "[{\"id\":\"DOC-001-1\",\"mrn\":\"THIEF\",\"date\":\"2026-01-01\","
                         "\"title\":\"T\",\"text\":\"t\"}]",
                         &err),
                     CP_ERR_USAGE);
    assert_null(strstr(err.message, "DOC-001"));
    assert_cp_ok(get(f, "MRN-001", &record, &err));
    assert_string_equal(cp_json_member(record->documents->child, "id")->valuestring, "DOC-001-1");
    cp_patient_record_free(record);
    assert_int_equal(get(f, "THIEF", &record, &err), CP_ERR_NOT_FOUND);
}

/* ---- without ---------------------------------------------------------------------------- */

static cp_status open_uri(const char *uri, bool strict, cp_patient_store **out, cp_error *err) {
    const cp_remote_config config = {.url = uri,
                                     .database = "carepath",
                                     .timeout_ms = 100,
                                     .n_connections = 1,
                                     .strict = strict};
    return cp_patient_store_open_mongo(&config, out, err);
}

static void a_server_that_is_not_there_is_an_error_within_the_limit(void **state) {
    (void)state;
    cp_error err = {0};
    cp_patient_store *store;
    cp_patient_record *record;
    assert_cp_ok(open_uri("mongodb://user:SECRET@127.0.0.1:1/", false, &store, &err));
    assert_int_equal(store->count(store), CP_COUNT_UNKNOWN);
    assert_int_equal(store->get(store, "MRN-001", &record, &err), CP_ERR_IO);
    assert_null(record);
    assert_null(strstr(err.message, "SECRET"));
    assert_null(strstr(err.message, "MRN-001"));
    assert_int_equal(put(&(fixture){.store = store}, "P1", "{\"mrn\":\"P1\"}", NULL, &err),
                     CP_ERR_IO);
    store->close(store);
}

static void wrong_uris_are_refused_without_their_password(void **state) {
    (void)state;
    static const char *const uris[] = {"",
                                       "127.0.0.1",
                                       "http://127.0.0.1/",
                                       "mongodb://",
                                       "mongodb://user:SECRET@",
                                       "mongodb://user:SEC:RET@/SECRET@127.0.0.1/",
                                       "mongodb://user:%SECRET@127.0.0.1/"};
    for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++) {
        cp_error err = {0};
        cp_patient_store *store;
        if (open_uri(uris[i], false, &store, &err) != CP_ERR_USAGE)
            fail_msg("%s: %s", uris[i], err.message);
        assert_null(store);
        assert_non_null(strstr(err.message, "MONGO_URI"));
        assert_null(strstr(err.message, "SECRET"));
    }
}

static void tls_that_trusts_anybody_is_for_development(void **state) {
    (void)state;
    static const char *const options[] = {"tlsInsecure", "tlsAllowInvalidCertificates",
                                          "tlsAllowInvalidHostnames"};
    for (size_t i = 0; i < 3; i++) {
        char uri[128];
        cp_error err = {0};
        cp_patient_store *store;
        snprintf(uri, sizeof uri, "mongodb://127.0.0.1:1/?tls=true&%s=true", options[i]);
        assert_int_equal(open_uri(uri, true, &store, &err), CP_ERR_USAGE);
        assert_non_null(strcasestr(err.message, options[i]));
        assert_cp_ok(open_uri(uri, false, &store, &err));
        store->close(store);
    }
}

static void a_missing_certificate_file_is_told_at_start(void **state) {
    (void)state;
    cp_error err = {0};
    cp_patient_store *store;
    cp_patient_record *record;
    cp_status status =
        open_uri("mongodb://127.0.0.1:1/?tls=true&tlsCAFile=/nonexistent", true, &store, &err);
    if (status == CP_OK) { /* or when the first connection is made */
        status = store->get(store, "MRN-001", &record, &err);
        store->close(store);
    }
    assert_int_not_equal(status, CP_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
static const struct CMUnitTest tests[] = {
    TEST(loading_twice_adds_nothing),
    TEST(the_command_loads_and_tells),
    TEST(lookups_have_indexes),
    TEST(dates_of_other_programs_become_texts),
    TEST(documents_that_are_no_record_are_refused),
    TEST(mrns_that_are_no_strings_are_never_found),
    TEST(names_with_dollars_and_dots_are_not_written),
    TEST(an_id_of_another_patient_is_refused),
    cmocka_unit_test(a_server_that_is_not_there_is_an_error_within_the_limit),
    cmocka_unit_test(wrong_uris_are_refused_without_their_password),
    cmocka_unit_test(tls_that_trusts_anybody_is_for_development),
    cmocka_unit_test(a_missing_certificate_file_is_told_at_start),
};
CP_TEST_GROUP(store_mongo, tests)
