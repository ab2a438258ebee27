/* What every patient store promises, asked of each: the files, a db-api over HTTP (one of the
 * test's own, with a jsonl store behind it), and MongoDB where MONGO_URI names a server
 * (tests/tools/mongo.sh starts one). */
#include "tests/test.h"

#include "base/file.h"
#include "server/mongo_load.h"
#include "tests/db_api.h"

#include <mongoc/mongoc.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYNTHETIC "data/synthetic"

/* A store filled with the synthetic patients, and what is behind it. */
typedef struct subject {
    cp_patient_store *store;
    cp_patient_store *behind; /* the db-api's, or NULL */
    test_db_api *api;
    char dir[400], database[64];
} subject;

/* ---- three ways to make one ------------------------------------------------------------- */

static void copy_file(const char *from, const char *to) {
    cp_strbuf text;
    cp_error err;
    assert_cp_ok(cp_file_read(from, (size_t)16 << 20, &text, &err));
    test_write_file(to, cp_strbuf_text(&text), text.n);
    cp_strbuf_deinit(&text);
}

/* Imports must not go into the repository's own data. */
static const char *copy_synthetic(void) {
    static const char *const names[] = {"patients.jsonl", "encounters.jsonl", "claims.jsonl",
                                        "documents.jsonl", "chat_logs.jsonl"};
    const char *dir = test_tmp_dir();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char from[64];
        snprintf(from, sizeof from, SYNTHETIC "/%s", names[i]);
        copy_file(from, test_path(dir, names[i]));
    }
    return dir;
}

static int set_up_jsonl(void **state) {
    cp_error err;
    subject *s = calloc(1, sizeof *s);
    snprintf(s->dir, sizeof s->dir, "%s", copy_synthetic());
    assert_cp_ok(cp_patient_store_open_jsonl(s->dir, &s->store, &err));
    *state = s;
    return 0;
}

static int set_up_http(void **state) {
    cp_error err;
    subject *s = calloc(1, sizeof *s);
    snprintf(s->dir, sizeof s->dir, "%s", copy_synthetic());
    assert_cp_ok(cp_patient_store_open_jsonl(s->dir, &s->behind, &err));
    s->api = test_db_api_start(s->behind);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", test_db_api_port(s->api));
    const cp_remote_config config = {
        .url = url, .key = "db-key", .timeout_ms = 60000, .n_connections = 4};
    assert_cp_ok(cp_patient_store_open_http(&config, &s->store, &err));
    *state = s;
    return 0;
}

/* Every test has a database of its own; NULL state: there is no server. */
static int set_up_mongo(void **state) {
    static int number;
    const char *uri = getenv("MONGO_URI");
    cp_error err;
    *state = NULL;
    if (!uri || !*uri)
        return 0;
    subject *s = calloc(1, sizeof *s);
    snprintf(s->database, sizeof s->database, "contract_%d_%d", (int)getpid(), number++);
    const cp_remote_config config = {
        .url = uri, .database = s->database, .timeout_ms = 60000, .n_connections = 4};
    assert_cp_ok(cp_patient_store_open_mongo(&config, &s->store, &err));
    assert_cp_ok(cp_load_folder(s->store, SYNTHETIC, NULL, &err));
    *state = s;
    return 0;
}

static void drop_database(const char *name) {
    mongoc_client_t *client = mongoc_client_new(getenv("MONGO_URI"));
    mongoc_database_t *database = mongoc_client_get_database(client, name);
    bson_error_t error;
    bool dropped = mongoc_database_drop(database, &error);
    mongoc_database_destroy(database);
    mongoc_client_destroy(client);
    assert_true(dropped);
}

static int tear_down(void **state) {
    subject *s = *state;
    if (!s)
        return 0;
    if (s->database[0])
        drop_database(s->database);
    s->store->close(s->store);
    if (s->api)
        test_db_api_stop(s->api);
    if (s->behind)
        s->behind->close(s->behind);
    free(s);
    return 0;
}

static cp_patient_store *store_of(void **state) {
    if (!*state)
        skip();
    return ((subject *)*state)->store;
}

static cp_patient_record *get(cp_patient_store *store, const char *mrn) {
    cp_error err;
    cp_patient_record *record = NULL;
    assert_cp_ok(store->get(store, mrn, &record, &err));
    return record;
}

/* ---- reading ---------------------------------------------------------------------------- */

/* The rows of a file about one patient, in the file's order. */
static cJSON *rows_of(const cJSON *file, const char *mrn) {
    cJSON *rows = cJSON_CreateArray();
    const cJSON *row;
    cJSON_ArrayForEach(row, file) {
        if (strcmp(cp_json_member(row, "mrn")->valuestring, mrn) == 0)
            cJSON_AddItemToArray(rows, cJSON_Duplicate(row, true));
    }
    return rows;
}

static void assert_same(const cJSON *a, const cJSON *b) {
    if (!cJSON_Compare(a, b, true))
        fail_msg("%s\nis not\n%s", cJSON_Print(a), cJSON_Print(b));
}

static void every_synthetic_record_comes_back_as_it_was(void **state) {
    cp_patient_store *store = store_of(state);
    cJSON *patients = test_read_jsonl(SYNTHETIC "/patients.jsonl");
    cJSON *files[CP_N_LISTS];
    for (unsigned i = 0; i < CP_N_LISTS; i++) {
        char path[64];
        snprintf(path, sizeof path, SYNTHETIC "/%s.jsonl", cp_record_list_name(i));
        files[i] = test_read_jsonl(path);
    }
    const cJSON *patient;
    cJSON_ArrayForEach(patient, patients) {
        const char *mrn = cp_json_member(patient, "mrn")->valuestring;
        cp_patient_record *record = get(store, mrn);
        assert_same(record->patient, patient);
        for (unsigned i = 0; i < CP_N_LISTS; i++) {
            cJSON *rows = rows_of(files[i], mrn);
            assert_same(*cp_record_list(record, i), rows);
            cJSON_Delete(rows);
        }
        cp_patient_record_free(record);
    }
    for (unsigned i = 0; i < CP_N_LISTS; i++)
        cJSON_Delete(files[i]);
    cJSON_Delete(patients);
}

/* Unknown, or what no store may ever take for a patient's number. */
static void other_mrns_are_not_found_and_not_repeated(void **state) {
    static const char *const mrns[] = {
        "MRN-999",    "mrn-001",    "MRN-001 ",       " MRN-001",
        "",           "MRN-0011",   "{\"$ne\":null}", "{\"$gt\":\"\"}",
        "$where",     "$ne",        "MRN.001",        "MRN-001.",
        "..",         "../MRN-001", "MRN-001/import", "MRN-001?x=1",
        "MRN-001%00", "MRN-001\n",  "MRN-00\xc3\xa9", ".*",
        "MRN-001\x01"};
    cp_patient_store *store = store_of(state);
    for (size_t i = 0; i < sizeof mrns / sizeof mrns[0]; i++) {
        cp_error err = {0};
        cp_patient_record *record = (cp_patient_record *)&err;
        assert_int_equal(store->get(store, mrns[i], &record, &err), CP_ERR_NOT_FOUND);
        assert_null(record);
        assert_true(!mrns[i][0] || !strstr(err.message, mrns[i]));
    }
}

static void *look_up_often(void *arg) {
    cp_patient_store *store = arg;
    for (int i = 0; i < 40; i++) {
        char mrn[16];
        cp_error err;
        cp_patient_record *record = NULL;
        snprintf(mrn, sizeof mrn, "MRN-%03d", 1 + i % 12);
        if (store->get(store, mrn, &record, &err) != CP_OK)
            return arg;
        bool right = strcmp(cp_json_member(record->patient, "mrn")->valuestring, mrn) == 0;
        cp_patient_record_free(record);
        if (!right)
            return arg;
    }
    return NULL;
}

static void threads_get_the_patients_they_ask_for(void **state) {
    cp_patient_store *store = store_of(state);
    pthread_t threads[6];
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look_up_often, store), 0);
    for (size_t i = 0; i < 6; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
}

/* ---- changing --------------------------------------------------------------------------- */

static cp_status put(cp_patient_store *store, const char *mrn, const char *patient,
                     const char *documents, cp_error *err) {
    cJSON *p = cJSON_Parse(patient), *d = documents ? cJSON_Parse(documents) : NULL;
    assert_non_null(p);
    const cp_patient_change change = {.mrn = mrn, .patient = p, .documents = d};
    cp_status status = store->put(store, &change, err);
    cJSON_Delete(p);
    cJSON_Delete(d);
    return status;
}

#define DOCUMENT(id, date, text)                                                                   \
    "{\"id\":\"" id "\",\"mrn\":\"NEW-1\",\"date\":\"" date "\",\"title\":\"T\",\"text\":\"" text  \
    "\"}"

static void a_new_patient_is_there_after_put(void **state) {
    cp_patient_store *store = store_of(state);
    cp_error err;
    assert_cp_ok(put(store, "NEW-1",
                     "{\"mrn\":\"NEW-1\",\"sex\":\"female\",\"conditions\":[{\"name\":\"Gout\"}],"
                     "\"height_cm\":171.5,\"pregnant\":false}",
                     "[" DOCUMENT("N-2", "2026-02-01", "later") "," DOCUMENT(
                         "N-1", "2025-02-01", "earlier \\u00e9\\\\ \\\"quoted\\\"") "]",
                     &err));
    cp_patient_record *record = get(store, "NEW-1");
    cJSON *wanted = cJSON_Parse("{\"mrn\":\"NEW-1\",\"sex\":\"female\",\"conditions\":[{\"name\":"
                                "\"Gout\"}],\"height_cm\":171.5,\"pregnant\":false}");
    assert_same(record->patient, wanted);
    cJSON_Delete(wanted);
    assert_int_equal(cJSON_GetArraySize(record->documents), 2);
    const cJSON *first = cJSON_GetArrayItem(record->documents, 0);
    assert_string_equal(cp_json_member(first, "id")->valuestring, "N-1");
    assert_string_equal(cp_json_member(first, "text")->valuestring,
                        "earlier \xc3\xa9\\ \"quoted\"");
    assert_int_equal(cJSON_GetArraySize(record->encounters), 0);
    cp_patient_record_free(record);
}

static void put_changes_what_it_names_and_nothing_else(void **state) {
    cp_patient_store *store = store_of(state);
    cp_error err;
    cp_patient_record *before = get(store, "MRN-001"), *other = get(store, "MRN-002");
    const char *change = "{\"mrn\":\"MRN-001\",\"allergies\":[{\"substance\":\"latex\"}]}";
    const char *documents = "[{\"id\":\"DOC-001-1\",\"mrn\":\"MRN-001\",\"date\":\"2026-11-01\","
                            "\"title\":\"Rewritten\",\"text\":\"New.\"}]";
    for (int i = 0; i < 2; i++) { /* twice is as good as once */
        assert_cp_ok(put(store, "MRN-001", change, documents, &err));
        cp_patient_record *after = get(store, "MRN-001");
        const cJSON *allergies = cp_json_member(after->patient, "allergies");
        assert_int_equal(cJSON_GetArraySize(allergies), 1);
        cJSON_ReplaceItemInObjectCaseSensitive(
            after->patient, "allergies",
            cJSON_Duplicate(cp_json_member(before->patient, "allergies"), true));
        assert_same(after->patient, before->patient);
        assert_same(after->encounters, before->encounters);
        assert_same(after->claims, before->claims);
        assert_same(after->chat_logs, before->chat_logs);
        assert_int_equal(cJSON_GetArraySize(after->documents),
                         cJSON_GetArraySize(before->documents));
        const cJSON *last =
            cJSON_GetArrayItem(after->documents, cJSON_GetArraySize(after->documents) - 1);
        assert_string_equal(cp_json_member(last, "title")->valuestring, "Rewritten");
        cp_patient_record_free(after);
    }
    cp_patient_record *same = get(store, "MRN-002");
    assert_same(same->patient, other->patient);
    assert_same(same->documents, other->documents);
    cp_patient_record_free(same);
    cp_patient_record_free(other);
    cp_patient_record_free(before);
}

static void wrong_changes_are_refused_and_leave_nothing(void **state) {
    cp_patient_store *store = store_of(state);
    static const struct {
        const char *mrn, *patient, *documents;
    } wrong[] = {
        {"NEW-2", "{\"mrn\":\"NEW-3\"}", NULL},
        {"NEW-2", "{\"sex\":\"male\"}", NULL},
        {"NEW-2", "{\"mrn\":{\"$ne\":null}}", NULL},
        {"NEW-2", "[]", NULL},
        {"NEW.2", "{\"mrn\":\"NEW.2\"}", NULL},
        {"NEW-2", "{\"mrn\":\"NEW-2\"}", "[{\"id\":\"X\",\"mrn\":\"NEW-2\"}]"},
        {"NEW-2", "{\"mrn\":\"NEW-2\"}", "[" DOCUMENT("X", "2026-01-01", "another's") "]"},
        {"NEW-2", "{\"mrn\":\"NEW-2\"}",
         "[{\"id\":\"X\",\"mrn\":\"NEW-2\",\"date\":\"soon\",\"title\":\"T\",\"text\":\"t\"}]"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cp_error err = {0};
        cp_patient_record *record;
        assert_int_not_equal(put(store, wrong[i].mrn, wrong[i].patient, wrong[i].documents, &err),
                             CP_OK);
        assert_int_equal(store->get(store, "NEW-2", &record, &err), CP_ERR_NOT_FOUND);
    }
}

typedef struct importer {
    cp_patient_store *store;
    int number;
    bool failed;
} importer;

static void *import_some(void *arg) {
    importer *i = arg;
    for (int n = 0; n < 5; n++) {
        char patient[128];
        cp_error err;
        snprintf(patient, sizeof patient, "{\"mrn\":\"T-%d-%d\",\"sex\":\"male\",\"of_%d\":%d}",
                 i->number, n, i->number, n);
        cJSON *tree = cJSON_Parse(patient);
        char mrn[32];
        snprintf(mrn, sizeof mrn, "T-%d-%d", i->number, n);
        const cp_patient_change change = {.mrn = mrn, .patient = tree};
        i->failed |= i->store->put(i->store, &change, &err) != CP_OK;
        cJSON_Delete(tree);
        char all[64];
        snprintf(all, sizeof all, "{\"mrn\":\"MRN-003\",\"of_%d\":%d}", i->number, n);
        tree = cJSON_Parse(all);
        const cp_patient_change shared = {.mrn = "MRN-003", .patient = tree};
        i->failed |= i->store->put(i->store, &shared, &err) != CP_OK;
        cJSON_Delete(tree);
    }
    return NULL;
}

/* FerretDB 1 reads, changes and writes in steps of which others see the middle: of updates of one
 * document at the same moment it loses some. MongoDB does not. */
static bool is_ferretdb(const subject *s) {
    bson_t command = BSON_INITIALIZER, reply;
    bson_iter_t at;
    if (!s->database[0])
        return false;
    mongoc_client_t *client = mongoc_client_new(getenv("MONGO_URI"));
    BSON_APPEND_INT32(&command, "buildInfo", 1);
    bool asked = mongoc_client_command_simple(client, "admin", &command, NULL, &reply, NULL);
    bool found = asked && (bson_iter_init_find(&at, &reply, "ferretdbVersion") ||
                           bson_iter_init_find(&at, &reply, "ferretdb"));
    bson_destroy(&reply);
    bson_destroy(&command);
    mongoc_client_destroy(client);
    assert_true(asked);
    return found;
}

/* Of changes to one patient at the same moment none is lost. */
static void changes_at_the_same_time_are_all_kept(void **state) {
    cp_patient_store *store = store_of(state);
    pthread_t threads[4];
    importer importers[4];
    for (int i = 0; i < 4; i++) {
        importers[i] = (importer){store, i, false};
        assert_int_equal(pthread_create(&threads[i], NULL, import_some, &importers[i]), 0);
    }
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    bool atomic_updates = !is_ferretdb(*state);
    cp_patient_record *shared = get(store, "MRN-003");
    for (int i = 0; i < 4; i++) {
        char key[16];
        assert_false(importers[i].failed);
        for (int n = 0; n < 5; n++) {
            char mrn[32];
            snprintf(mrn, sizeof mrn, "T-%d-%d", i, n);
            cp_patient_record_free(get(store, mrn));
        }
        snprintf(key, sizeof key, "of_%d", i);
        const cJSON *last = cp_json_member(shared->patient, key);
        if (!atomic_updates)
            continue;
        if (!last)
            fail_msg("%s is lost", key);
        assert_int_equal(last->valueint, 4);
    }
    cp_patient_record_free(shared);
}

/* ---- the groups ------------------------------------------------------------------------- */

#define CONTRACT(set_up)                                                                           \
    {                                                                                              \
        cmocka_unit_test_setup_teardown(every_synthetic_record_comes_back_as_it_was, set_up,       \
                                        tear_down),                                                \
        cmocka_unit_test_setup_teardown(other_mrns_are_not_found_and_not_repeated, set_up,         \
                                        tear_down),                                                \
        cmocka_unit_test_setup_teardown(threads_get_the_patients_they_ask_for, set_up, tear_down), \
        cmocka_unit_test_setup_teardown(a_new_patient_is_there_after_put, set_up, tear_down),      \
        cmocka_unit_test_setup_teardown(put_changes_what_it_names_and_nothing_else, set_up,        \
                                        tear_down),                                                \
        cmocka_unit_test_setup_teardown(wrong_changes_are_refused_and_leave_nothing, set_up,       \
                                        tear_down),                                                \
        cmocka_unit_test_setup_teardown(changes_at_the_same_time_are_all_kept, set_up, tear_down), \
    }

static const struct CMUnitTest jsonl_tests[] = CONTRACT(set_up_jsonl);
CP_TEST_GROUP(store_contract_jsonl, jsonl_tests)
static const struct CMUnitTest http_tests[] = CONTRACT(set_up_http);
CP_TEST_GROUP(store_contract_http, http_tests)
static const struct CMUnitTest mongo_tests[] = CONTRACT(set_up_mongo);
CP_TEST_GROUP(store_contract_mongo, mongo_tests)
