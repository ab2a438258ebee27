/* The journal of imports beside the files: what a crash, a full disk or missing memory leaves of
 * it; and the command that asks a store. */
#include "tests/test.h"

#include "base/file.h"
#include "server/patient_store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder with one patient, P1. */
static const char *make_folder(void) {
    static char dir[400];
    static const char *const names[] = {"encounters.jsonl", "claims.jsonl", "documents.jsonl",
                                        "chat_logs.jsonl"};
    static const char patient[] = "{\"mrn\":\"P1\",\"sex\":\"male\"}\n";
    snprintf(dir, sizeof dir, "%s", test_tmp_dir());
    test_write_file(test_path(dir, "patients.jsonl"), patient, strlen(patient));
    for (size_t i = 0; i < 4; i++)
        test_write_file(test_path(dir, names[i]), "", 0);
    return dir;
}

static cp_patient_store *open_folder(const char *dir) {
    cp_error err;
    cp_patient_store *store = NULL;
    assert_cp_ok(cp_patient_store_open_jsonl(dir, &store, &err));
    return store;
}

static cp_status put(cp_patient_store *store, const char *mrn, const char *member, cp_error *err) {
    char text[200];
    snprintf(text, sizeof text, "{\"mrn\":\"%s\",%s}", mrn, member);
    cJSON *tree = cJSON_Parse(text);
    assert_non_null(tree);
    const cp_patient_change change = {.mrn = mrn, .patient = tree};
    cp_status status = store->put(store, &change, err);
    cJSON_Delete(tree);
    return status;
}

/* A member of the patient, or "" when there is none. */
static const char *member_of(cp_patient_store *store, const char *mrn, const char *key) {
    static char value[64];
    cp_error err;
    cp_patient_record *record;
    value[0] = '\0';
    if (store->get(store, mrn, &record, &err) != CP_OK)
        return value;
    const cJSON *member = cp_json_member(record->patient, key);
    if (cJSON_IsString(member))
        snprintf(value, sizeof value, "%s", member->valuestring);
    cp_patient_record_free(record);
    return value;
}

static size_t journal_bytes(const char *dir) {
    struct stat info;
    return stat(test_path(dir, "imports.jsonl"), &info) == 0 ? (size_t)info.st_size : 0;
}

static void imports_are_there_after_a_restart_in_their_order(void **state) {
    (void)state;
    cp_error err;
    const char *dir = make_folder();
    cp_patient_store *store = open_folder(dir);
    assert_int_equal(journal_bytes(dir), 0);
    assert_cp_ok(put(store, "P1", "\"a\":\"1\"", &err));
    assert_cp_ok(put(store, "NEW", "\"a\":\"2\"", &err));
    assert_cp_ok(put(store, "P1", "\"a\":\"3\",\"b\":\"4\"", &err));
    assert_int_equal(store->count(store), 2);
    for (int restart = 0; restart < 2; restart++) {
        assert_string_equal(member_of(store, "P1", "a"), "3");
        assert_string_equal(member_of(store, "P1", "b"), "4");
        assert_string_equal(member_of(store, "P1", "sex"), "male");
        assert_string_equal(member_of(store, "NEW", "a"), "2");
        store->close(store);
        store = open_folder(dir);
    }
    assert_int_equal(store->count(store), 2);
    store->close(store);
}

/* Cut at every byte: the whole lines count, the rest is cut off, and the next import is whole. */
static void a_torn_last_line_is_cut_off(void **state) {
    (void)state;
    cp_error err;
    const char *dir = make_folder();
    cp_patient_store *store = open_folder(dir);
    assert_cp_ok(put(store, "P1", "\"a\":\"1\"", &err));
    size_t first = journal_bytes(dir);
    assert_cp_ok(put(store, "P1", "\"a\":\"2\"", &err));
    size_t both = journal_bytes(dir);
    store->close(store);
    cp_strbuf whole;
    assert_cp_ok(cp_file_read(test_path(dir, "imports.jsonl"), 4096, &whole, &err));
    for (size_t n = 0; n <= both; n++) {
        test_write_file(test_path(dir, "imports.jsonl"), whole.data, n);
        store = open_folder(dir);
        assert_int_equal(journal_bytes(dir), n); /* somebody may be writing that line */
        const char *wanted = n == both ? "2" : n >= first ? "1" : "";
        assert_string_equal(member_of(store, "P1", "a"), wanted);
        assert_cp_ok(put(store, "P1", "\"b\":\"x\"", &err));
        store->close(store);
        store = open_folder(dir);
        assert_string_equal(member_of(store, "P1", "a"), wanted);
        assert_string_equal(member_of(store, "P1", "b"), "x");
        store->close(store);
    }
    cp_strbuf_deinit(&whole);
}

/* A whole line that is wrong is no torn one: it is named, and nothing is guessed. */
static void a_damaged_journal_refuses_the_start(void **state) {
    (void)state;
    static const char *const lines[] = {
        "{\"patient\":{\"mrn\":\"P1\"},\n",
        "{\"patient\":{\"mrn\":\"SECRET 1\"},\"documents\":[]}\n",
        "{\"documents\":[]}\n",
        "[]\n",
        "\n",
        "{\"patient\":{\"mrn\":\"P1\"},\"documents\":[{\"mrn\":\"SECRET\"}]}\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        cp_error err = {0};
        cp_patient_store *store;
        const char *dir = make_folder();
        char text[200];
        int n = snprintf(text, sizeof text, "{\"patient\":{\"mrn\":\"P1\"}}\n%s", lines[i]);
        test_write_file(test_path(dir, "imports.jsonl"), text, (size_t)n);
        if (cp_patient_store_open_jsonl(dir, &store, &err) == CP_OK)
            fail_msg("accepted: %s", lines[i]);
        if (!strstr(err.message, "imports.jsonl: line 2"))
            fail_msg("%s: %s", lines[i], err.message);
        assert_null(strstr(err.message, "SECRET"));
    }
}

/* A journal that cannot be written: the import is refused and nothing of it is seen. */
static void an_import_that_cannot_be_kept_is_refused(void **state) {
    (void)state;
    cp_error err = {0};
    const char *dir = make_folder();
    cp_patient_store *store = open_folder(dir);
    assert_int_equal(symlink("/dev/full", test_path(dir, "imports.jsonl")), 0);
    assert_int_equal(put(store, "P1", "\"a\":\"1\"", &err), CP_ERR_IO);
    assert_non_null(strstr(err.message, "imports.jsonl"));
    assert_string_equal(member_of(store, "P1", "a"), "");
    assert_int_equal(put(store, "NEW", "\"a\":\"1\"", &err), CP_ERR_IO);
    assert_int_equal(store->count(store), 1);
    store->close(store);
}

static void *hooked_malloc(size_t n) {
    return malloc(n); /* ours, so that cJSON's allocations fail too */
}

/* Either the import is there, now and after a restart, or it is not. */
static void every_allocation_of_an_import_may_fail(void **state) {
    (void)state;
    cJSON_Hooks hooks = {hooked_malloc, free};
    const char *dir = make_folder();
    cp_patient_store *store = open_folder(dir);
    cJSON *tree = cJSON_Parse("{\"mrn\":\"P1\",\"a\":\"1\",\"list\":[{\"x\":\"y\"}]}");
    cJSON *documents = cJSON_Parse("[{\"id\":\"D\",\"mrn\":\"P1\",\"date\":\"2026-01-01\","
                                   "\"title\":\"T\",\"text\":\"t\"}]");
    const cp_patient_change change = {.mrn = "P1", .patient = tree, .documents = documents};
    for (long n = 1;; n++) {
        cp_error err;
        cJSON_InitHooks(&hooks);
        test_alloc_fail_at(n, 0);
        cp_status status = store->put(store, &change, &err);
        test_alloc_fail_at(0, 0);
        cJSON_InitHooks(NULL);
        assert_string_equal(member_of(store, "P1", "a"), status == CP_OK ? "1" : "");
        if (status == CP_OK)
            break;
        assert_int_equal(status, CP_ERR_NO_MEMORY);
        assert_int_equal(journal_bytes(dir), 0);
        assert_true(n < 10000);
    }
    store->close(store);
    cJSON_Delete(tree);
    cJSON_Delete(documents);
}

typedef struct reader {
    cp_patient_store *store;
    atomic_bool stop, torn;
} reader;

static void *read_on(void *arg) {
    reader *r = arg;
    while (!atomic_load(&r->stop)) {
        cp_error err;
        cp_patient_record *record;
        if (r->store->get(r->store, "P1", &record, &err) != CP_OK) {
            atomic_store(&r->torn, true);
            continue;
        }
        const cJSON *a = cp_json_member(record->patient, "a");
        const cJSON *b = cp_json_member(record->patient, "b");
        if ((a != NULL) != (b != NULL) || (a && a->valueint != b->valueint))
            atomic_store(&r->torn, true);
        cp_patient_record_free(record);
    }
    return NULL;
}

/* Who reads while others import sees the record before or after, never between. */
static void readers_see_whole_imports(void **state) {
    (void)state;
    cp_error err;
    reader r = {.store = open_folder(make_folder())};
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &r), 0);
    for (int i = 0; i < 40; i++) {
        char member[40], other[16];
        snprintf(member, sizeof member, "\"a\":%d,\"b\":%d", i, i);
        snprintf(other, sizeof other, "N%d", (i * 7919) % 100); /* moves the index about */
        assert_cp_ok(put(r.store, "P1", member, &err));
        assert_cp_ok(put(r.store, other, "\"a\":\"1\"", &err));
    }
    atomic_store(&r.stop, true);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_false(atomic_load(&r.torn));
    r.store->close(r.store);
}

/* ---- carepath lookup -------------------------------------------------------------------- */

static void the_command_shows_a_record_or_how_long_it_takes(void **state) {
    (void)state;
    const char *env[] = {"PATIENT_STORE=jsonl", "DATA_DIR=data", NULL};
    test_run run = test_run_program((const char *[]){NULL, "lookup", "MRN-002", NULL}, env, NULL);
    cJSON *record = test_run_json(&run);
    assert_string_equal(cp_json_member(cp_json_member(record, "patient"), "mrn")->valuestring,
                        "MRN-002");
    cJSON_Delete(record);
    test_run_free(&run);
    run = test_run_program((const char *[]){NULL, "lookup", "--measure", "100", NULL}, env,
                           "MRN-001\nMRN-002\n");
    cJSON *times = test_run_json(&run);
    assert_int_equal(cp_json_member(times, "lookups")->valueint, 100);
    assert_int_equal(cp_json_member(times, "patients")->valueint, 12);
    assert_true(cp_json_member(times, "p99_ms")->valuedouble >=
                cp_json_member(times, "p50_ms")->valuedouble);
    cJSON_Delete(times);
    test_run_free(&run);
}

static void the_command_refuses_what_it_cannot_do(void **state) {
    (void)state;
    static const struct {
        const char *arg, *more, *input;
        int exit_code;
        const char *word;
    } wrong[] = {
        {"MRN-999", NULL, NULL, 1, "no patient"},
        {"$ne", NULL, NULL, 1, "no patient"},
        {NULL, NULL, NULL, 2, "record number"},
        {"MRN-001", "--measure=3", "MRN-001\n", 2, "record number"},
        {"--measure=3", NULL, "", 2, "no record numbers"},
        {"--measure=3", NULL, "MRN-001\nSECRET 2\n", 1, "line 2"},
        {"--measure=3", NULL, "MRN-999\n", 1, "no patient"},
    };
    const char *env[] = {"PATIENT_STORE=jsonl", "DATA_DIR=data", NULL};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *argv[] = {NULL, "lookup", wrong[i].arg, wrong[i].more, NULL};
        test_run run = test_run_program(argv, env, wrong[i].input ? wrong[i].input : "");
        if (run.exit_code != wrong[i].exit_code || !strstr(run.err.data, wrong[i].word))
            fail_msg("%zu: %d, %s", i, run.exit_code, run.err.data);
        assert_null(strstr(run.err.data, "SECRET"));
        assert_int_equal(run.out.n, 0);
        test_run_free(&run);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(imports_are_there_after_a_restart_in_their_order),
    cmocka_unit_test(a_torn_last_line_is_cut_off),
    cmocka_unit_test(a_damaged_journal_refuses_the_start),
    cmocka_unit_test(an_import_that_cannot_be_kept_is_refused),
    cmocka_unit_test(every_allocation_of_an_import_may_fail),
    cmocka_unit_test(readers_see_whole_imports),
    cmocka_unit_test(the_command_shows_a_record_or_how_long_it_takes),
    cmocka_unit_test(the_command_refuses_what_it_cannot_do),
};
CP_TEST_GROUP(store_jsonl, tests)
