/* The embedded patient store: the synthetic data as it is, and every way a folder can be wrong. */
#include "tests/test.h"

#include "server/patient_store.h"

#include <sys/stat.h>
#include <unistd.h>

#define SYNTHETIC "data/synthetic"

static cp_patient_store *open_synthetic(void) {
    cp_error err;
    cp_patient_store *store = NULL;
    assert_cp_ok(cp_patient_store_open_jsonl(SYNTHETIC, &store, &err));
    return store;
}

/* A folder with one good patient, P1, and empty files; `file` gets `text` instead. */
static const char *folder_with(const char *file, const char *text) {
    static const char *const names[] = {"patients.jsonl", "encounters.jsonl", "claims.jsonl",
                                        "documents.jsonl", "chat_logs.jsonl"};
    const char *dir = test_tmp_dir();
    for (size_t i = 0; i < 5; i++) {
        const char *content = i == 0 ? "{\"mrn\":\"P1\"}\n" : "";
        if (strcmp(names[i], file) == 0)
            content = text;
        test_write_file(test_path(dir, names[i]), content, strlen(content));
    }
    return dir;
}

static void assert_refused(const char *file, const char *text, const char *place,
                           const char *problem) {
    cp_error err = {0};
    cp_patient_store *store = (cp_patient_store *)&err;
    assert_int_not_equal(cp_patient_store_open_jsonl(folder_with(file, text), &store, &err), CP_OK);
    assert_null(store);
    if (!strstr(err.message, file) || !strstr(err.message, place) || !strstr(err.message, problem))
        fail_msg("expected %s, %s and %s in: %s", file, place, problem, err.message);
    if (strstr(err.message, "SECRET"))
        fail_msg("quotes the record: %s", err.message);
}

/* ---- the synthetic data ----------------------------------------------------------------- */

static void every_synthetic_patient_loads_with_linked_records(void **state) {
    (void)state;
    cp_patient_store *store = open_synthetic();
    cJSON *patients = test_read_jsonl(SYNTHETIC "/patients.jsonl");
    assert_int_equal(store->count(store), 12);
    assert_string_equal(store->kind, "jsonl");
    const cJSON *patient;
    cJSON_ArrayForEach(patient, patients) {
        cp_error err;
        cp_patient_record *record = NULL;
        const char *mrn = cp_json_member(patient, "mrn")->valuestring;
        assert_cp_ok(store->get(store, mrn, &record, &err));
        assert_true(cJSON_Compare(record->patient, patient, true));
        const cJSON *lists[] = {record->encounters, record->claims, record->documents,
                                record->chat_logs};
        for (size_t i = 0; i < 4; i++) {
            const cJSON *item, *before = NULL;
            assert_true(cJSON_GetArraySize(lists[i]) > 0);
            cJSON_ArrayForEach(item, lists[i]) {
                assert_string_equal(cp_json_member(item, "mrn")->valuestring, mrn);
                if (before)
                    assert_true(strcmp(cp_json_member(before, "date")->valuestring,
                                       cp_json_member(item, "date")->valuestring) <= 0);
                before = item;
            }
        }
        cp_patient_record_free(record);
    }
    cJSON_Delete(patients);
    store->close(store);
}

static bool has_id(const cJSON *list, const char *id) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        if (strcmp(cp_json_member(item, "id")->valuestring, id) == 0)
            return true;
    }
    return false;
}

enum { FILES = 7, ENCOUNTERS_AT = 1, PROVIDERS_AT = 5 };

static void assert_linked(const cJSON *item, cJSON *const *lists) {
    const cJSON *encounter = cp_json_member(item, "encounter_id");
    const cJSON *provider = cp_json_member(item, "provider_id");
    assert_true(cJSON_IsTrue(cp_json_member(item, "synthetic")));
    assert_true(!encounter || has_id(lists[ENCOUNTERS_AT], encounter->valuestring));
    assert_true(!provider || has_id(lists[PROVIDERS_AT], provider->valuestring));
}

static void claims_documents_and_providers_are_linked(void **state) {
    (void)state;
    static const char *const files[FILES] = {"patients",  "encounters", "claims",    "documents",
                                             "chat_logs", "providers",  "audit_logs"};
    cJSON *lists[FILES];
    for (size_t i = 0; i < FILES; i++) {
        char path[64];
        snprintf(path, sizeof path, SYNTHETIC "/%s.jsonl", files[i]);
        lists[i] = test_read_jsonl(path);
        assert_true(cJSON_GetArraySize(lists[i]) >= 10);
    }
    for (size_t i = 0; i < FILES; i++) {
        const cJSON *item;
        cJSON_ArrayForEach(item, lists[i]) assert_linked(item, lists);
    }
    for (size_t i = 0; i < FILES; i++)
        cJSON_Delete(lists[i]);
}

static void generator_writes_what_is_on_disk(void **state) {
    (void)state;
    const char *version[] = {"python3", "--version", NULL};
    test_run run = test_run_program(version, NULL, NULL);
    bool missing = run.exit_code != 0;
    test_run_free(&run);
    if (missing)
        skip();
    const char *check[] = {"python3", "data/generate.py", "--check", NULL};
    run = test_run_program(check, NULL, NULL);
    if (run.exit_code != 0)
        fail_msg("%s", cp_strbuf_text(&run.err));
    test_run_free(&run);
    const char *other[] = {"python3", "data/generate.py", "--check", "--seed", "1", NULL};
    run = test_run_program(other, NULL, NULL);
    assert_int_equal(run.exit_code, 1);
    test_run_free(&run);
}

/* ---- get -------------------------------------------------------------------------------- */

static void unknown_patient_is_not_found_and_not_repeated(void **state) {
    (void)state;
    cp_patient_store *store = open_synthetic();
    static const char *const mrns[] = {"MRN-999", "mrn-001",  "MRN-001 ", "",
                                       "$ne",     "MRN-0011", "MRN.001"};
    for (size_t i = 0; i < sizeof mrns / sizeof mrns[0]; i++) {
        cp_error err = {0};
        cp_patient_record *record = (cp_patient_record *)&err;
        assert_int_equal(store->get(store, mrns[i], &record, &err), CP_ERR_NOT_FOUND);
        assert_null(record);
        assert_true(!mrns[i][0] || !strstr(err.message, mrns[i]));
    }
    store->close(store);
}

static void mrn_pattern_is_an_allow_list(void **state) {
    (void)state;
    assert_true(cp_mrn_is_valid("MRN-001"));
    assert_true(cp_mrn_is_valid("a"));
    assert_true(cp_mrn_is_valid("0_-9"));
    assert_true(cp_mrn_is_valid("12345678901234567890123456789012"));
    static const char *const bad[] = {"",
                                      "-1",
                                      ".a",
                                      "_a",
                                      "a b",
                                      "a/b",
                                      "a\n",
                                      "a$",
                                      "a.b",
                                      "$ne",
                                      "\xc3\xa9",
                                      "{\"$ne\":1}",
                                      "123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(cp_mrn_is_valid(bad[i]));
    assert_false(cp_mrn_is_valid(NULL));
}

static void rows_come_oldest_first_and_belong_to_the_caller(void **state) {
    (void)state;
    cp_error err;
    cp_patient_store *store = NULL;
    cp_patient_record *record = NULL, *again = NULL;
    assert_cp_ok(cp_patient_store_open_jsonl(
        folder_with("encounters.jsonl", "{\"mrn\":\"P1\",\"date\":\"2025-02-01\",\"n\":3}\n"
                                        "{\"mrn\":\"P1\",\"date\":\"2024-12-31\",\"n\":1}\r\n"
                                        "{\"mrn\":\"P1\",\"date\":\"2024-12-31\",\"n\":2}"),
        &store, &err));
    assert_cp_ok(store->get(store, "P1", &record, &err));
    assert_cp_ok(store->get(store, "P1", &again, &err));
    store->close(store);
    assert_int_equal(cJSON_GetArraySize(record->encounters), 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(cp_json_member(cJSON_GetArrayItem(record->encounters, i), "n")->valueint,
                         i + 1);
    assert_int_equal(cJSON_GetArraySize(record->documents), 0);
    cp_patient_record_free(record);
    assert_int_equal(cJSON_GetArraySize(again->encounters), 3);
    cp_patient_record_free(again);
    cp_patient_record_free(NULL);
}

/* ---- refusals --------------------------------------------------------------------------- */

static void malformed_lines_are_refused_with_file_and_line(void **state) {
    (void)state;
    const char *file = "patients.jsonl";
    assert_refused(file, "{\"mrn\":\"P1\"}\n{\"mrn\":\"P2\"", "line 2", "");
    assert_refused(file, "{\"mrn\":\"P1\"}\n\n{\"mrn\":\"P2\"}\n", "line 2", "empty line");
    assert_refused(file, "[\"SECRET\"]\n", "line 1", "not a JSON object");
    assert_refused(file, "\"SECRET\"\n", "line 1", "not a JSON object");
    assert_refused(file, "{\"mrn\":\"P1\",\"SECRET\":1,}\n", "line 1", "");
    assert_refused(file, "{\"mrn\":\"P1\"} {\"mrn\":\"SECRET\"}\n", "line 1", "");
    assert_refused(file, "{\"mrn\":\"P1\",\"mrn\":\"SECRET\"}\n", "line 1", "twice");
    assert_refused(file, "{\"mrn\":\"P1\\u0000SECRET\"}\n", "line 1", "U+0000");
    assert_refused(file, "{\"mrn\":\"P1\",\"a\":\"\xff SECRET\"}\n", "line 1", "UTF-8");
}

static void fields_relied_on_have_their_types(void **state) {
    (void)state;
    assert_refused("patients.jsonl", "{\"name\":\"SECRET\"}\n", "line 1", "mrn is missing");
    assert_refused("patients.jsonl", "{\"mrn\":17}\n", "line 1", "mrn");
    assert_refused("patients.jsonl", "{\"mrn\":null}\n", "line 1", "mrn");
    assert_refused("patients.jsonl", "{\"mrn\":\"SECRET $ne\"}\n", "line 1", "mrn is not");
    assert_refused("claims.jsonl", "{\"mrn\":\"P1\"}\n", "line 1", "date is missing");
    assert_refused("claims.jsonl", "{\"mrn\":\"P1\",\"date\":\"SECRET\"}\n", "line 1",
                   "YYYY-MM-DD");
    assert_refused("claims.jsonl", "{\"mrn\":\"P1\",\"date\":20250101}\n", "line 1", "date");
    assert_refused("documents.jsonl",
                   "{\"mrn\":\"P1\",\"date\":\"2025-01-01\",\"id\":\"D1\",\"title\":\"SECRET\"}\n",
                   "line 1", "text is missing");
    assert_refused("documents.jsonl",
                   "{\"mrn\":\"P1\",\"date\":\"2025-01-01\",\"id\":\"\",\"title\":\"SECRET\","
                   "\"text\":\"SECRET\"}\n",
                   "line 1", "id is empty");
}

static void duplicate_and_unknown_patients_are_refused(void **state) {
    (void)state;
    assert_refused("patients.jsonl",
                   "{\"mrn\":\"SECRET1\"}\n{\"mrn\":\"P2\"}\n{\"mrn\":\"SECRET1\"}\n",
                   "lines 1 and 3", "same mrn");
    assert_refused("encounters.jsonl",
                   "{\"mrn\":\"P1\",\"date\":\"2025-01-01\"}\n"
                   "{\"mrn\":\"SECRET2\",\"date\":\"2025-01-01\"}\n",
                   "line 2", "names no patient");
    assert_refused("chat_logs.jsonl", "{\"mrn\":\"SECRET\",\"date\":\"2025-01-01\"}\n", "line 1",
                   "names no patient");
}

static void missing_files_and_overlong_lines_are_refused(void **state) {
    (void)state;
    cp_error err;
    cp_patient_store *store = NULL;
    const char *dir = folder_with("", "");
    assert_int_equal(unlink(test_path(dir, "claims.jsonl")), 0);
    assert_int_equal(cp_patient_store_open_jsonl(dir, &store, &err), CP_ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "claims.jsonl"));
    size_t n = ((size_t)1 << 20) + 64;
    char *line = malloc(n + 1);
    memset(line, ' ', n);
    memcpy(line, "{\"mrn\":\"P1\"}", 12);
    line[n] = '\0';
    assert_refused("patients.jsonl", line, "line 1", "at most");
    free(line);
}

/* ---- faults ----------------------------------------------------------------------------- */

static void *hooked_malloc(size_t n) {
    return malloc(n); /* ours, so that cJSON's allocations fail too */
}

static void allocation_faults_neither_crash_nor_leak(void **state) {
    (void)state;
    cJSON_Hooks hooks = {hooked_malloc, free};
    long failed = 0;
    cJSON_InitHooks(&hooks);
    for (long n = 1;; n += n < 400 ? 1 : 97) {
        cp_error err;
        cp_patient_store *store = NULL;
        cp_patient_record *record = NULL;
        test_alloc_fail_at(n, 0);
        cp_status status = cp_patient_store_open_jsonl(SYNTHETIC, &store, &err);
        if (status == CP_OK)
            status = store->get(store, "MRN-002", &record, &err);
        test_alloc_reset();
        test_alloc_fail_at(0, 0);
        if (store)
            assert_int_equal(store->count(store), 12);
        assert_true((status == CP_OK) == (record != NULL));
        if (status != CP_OK)
            assert_int_equal(status, CP_ERR_NO_MEMORY);
        failed += status != CP_OK;
        cp_patient_record_free(record);
        if (store)
            store->close(store);
        if (status == CP_OK)
            break;
    }
    cJSON_InitHooks(NULL);
    assert_true(failed > 100);
}

static void every_allocation_of_a_get_may_fail(void **state) {
    (void)state;
    cp_patient_store *store = open_synthetic();
    cJSON_Hooks hooks = {hooked_malloc, free};
    cJSON_InitHooks(&hooks);
    for (long n = 1;; n++) {
        cp_error err;
        cp_patient_record *record = NULL;
        test_alloc_fail_at(n, 0);
        cp_status status = store->get(store, "MRN-012", &record, &err);
        test_alloc_fail_at(0, 0);
        assert_true((status == CP_OK) == (record != NULL));
        cp_patient_record_free(record);
        if (status == CP_OK)
            break;
        assert_int_equal(status, CP_ERR_NO_MEMORY);
        assert_true(n < 100000);
    }
    cJSON_InitHooks(NULL);
    store->close(store);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_synthetic_patient_loads_with_linked_records),
    cmocka_unit_test(claims_documents_and_providers_are_linked),
    cmocka_unit_test(generator_writes_what_is_on_disk),
    cmocka_unit_test(unknown_patient_is_not_found_and_not_repeated),
    cmocka_unit_test(mrn_pattern_is_an_allow_list),
    cmocka_unit_test(rows_come_oldest_first_and_belong_to_the_caller),
    cmocka_unit_test(malformed_lines_are_refused_with_file_and_line),
    cmocka_unit_test(fields_relied_on_have_their_types),
    cmocka_unit_test(duplicate_and_unknown_patients_are_refused),
    cmocka_unit_test(missing_files_and_overlong_lines_are_refused),
    cmocka_unit_test(allocation_faults_neither_crash_nor_leak),
    cmocka_unit_test(every_allocation_of_a_get_may_fail),
};
CP_TEST_GROUP(patients, tests)
