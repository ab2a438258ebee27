/* The summary for the prompt: exact text, nothing that identifies, whole entries within the limit.
 */
#include "tests/test.h"

#include "server/patient_store.h"
#include "server/patient_summary.h"

#define SYNTHETIC "data/synthetic"
#define TODAY     "2026-11-21"

static char *summary_of(const cp_patient_record *record, size_t max_bytes) {
    cp_strbuf out;
    cp_strbuf_init(&out, 1 << 20);
    cp_patient_summary_append(record, NULL, TODAY, max_bytes, &out);
    assert_int_equal(out.failed, CP_OK);
    assert_true(out.n <= max_bytes);
    return cp_strbuf_take(&out);
}

static cp_patient_record *synthetic(cp_patient_store *store, const char *mrn) {
    cp_error err;
    cp_patient_record *record = NULL;
    assert_cp_ok(store->get(store, mrn, &record, &err));
    return record;
}

static cp_patient_store *open_store(void) {
    cp_error err;
    cp_patient_store *store = NULL;
    assert_cp_ok(cp_patient_store_open_jsonl(SYNTHETIC, &store, &err));
    return store;
}

/* A record from JSON texts; lists are empty. */
static cp_patient_record *record_of(const char *patient, const char *encounters) {
    cp_patient_record *record = calloc(1, sizeof *record);
    record->patient = cJSON_Parse(patient);
    record->encounters = encounters ? cJSON_Parse(encounters) : cJSON_CreateArray();
    record->claims = cJSON_CreateArray();
    record->documents = cJSON_CreateArray();
    record->chat_logs = cJSON_CreateArray();
    assert_non_null(record->patient);
    assert_non_null(record->encounters);
    return record;
}

static void golden_text_of_one_patient(void **state) {
    (void)state;
    cp_patient_store *store = open_store();
    cp_patient_record *record = synthetic(store, "MRN-002");
    char *text = summary_of(record, 8192);
    assert_string_equal(
        text,
        "Patient: 81-year-old male\n"
        "Conditions: Atrial fibrillation since 2018; Osteoarthritis of the knee since 2010; Falls "
        "since 2025\n"
        "Medications: warfarin 5 mg once daily, adjusted to INR; metoprolol succinate 50 mg once "
        "daily; acetaminophen 500 mg up to four times daily as needed\n"
        "Allergies: codeine (nausea and confusion)\n"
        "Recent encounters:\n"
        "- 2026-10-18: INR check and review of falls. Assessment: Atrial fibrillation, rate "
        "controlled; INR 2.4, in range\n"
        "- 2026-04-19: fall at home with a bruised hip. Assessment: Bruised left hip after a trip "
        "over a rug; no fracture, no head injury, INR 2.6\n"
        "Documents:\n"
        "- [DOC-002-2] Warfarin and fall prevention plan (2026-10-18)\n"
        "- [DOC-002-1] Emergency visit after a fall (2026-04-19)\n");
    free(text);
    cp_patient_record_free(record);
    store->close(store);
}

static void summary_names_nobody(void **state) {
    (void)state;
    cp_patient_store *store = open_store();
    for (int i = 1; i <= 12; i++) {
        char mrn[16];
        snprintf(mrn, sizeof mrn, "MRN-%03d", i);
        cp_patient_record *record = synthetic(store, mrn);
        char *text = summary_of(record, 8192);
        const cJSON *name = cp_json_member(record->patient, "name"),
                    *address = cp_json_member(record->patient, "address");
        const cJSON *secrets[] = {cp_json_member(name, "given"),
                                  cp_json_member(name, "family"),
                                  cp_json_member(address, "line"),
                                  cp_json_member(address, "city"),
                                  cp_json_member(address, "postal_code"),
                                  cp_json_member(record->patient, "phone"),
                                  cp_json_member(record->patient, "date_of_birth"),
                                  cp_json_member(record->patient, "mrn")};
        for (size_t k = 0; k < sizeof secrets / sizeof secrets[0]; k++) {
            assert_true(cJSON_IsString(secrets[k]));
            if (strstr(text, secrets[k]->valuestring))
                fail_msg("%s in the summary of %s", secrets[k]->valuestring, mrn);
        }
        free(text);
        cp_patient_record_free(record);
    }
    store->close(store);
}

static cp_patient_facts facts_of(const char *patient) {
    cp_patient_record *record = record_of(patient, NULL);
    cp_patient_facts facts = cp_patient_facts_of(record, TODAY);
    cp_patient_record_free(record);
    return facts;
}

static void facts_are_known_or_said_to_be_unknown(void **state) {
    (void)state;
    cp_patient_facts facts = facts_of("{}");
    assert_int_equal(facts.age_years, -1);
    assert_int_equal(facts.sex, CP_SEX_UNKNOWN);
    assert_false(facts.pregnant);
    facts = facts_of("{\"date_of_birth\":\"1990-11-21\",\"sex\":\"female\",\"pregnant\":true}");
    assert_int_equal(facts.age_years, 36);
    assert_int_equal(facts.sex, CP_SEX_FEMALE);
    assert_true(facts.pregnant);
    assert_int_equal(facts_of("{\"date_of_birth\":\"1990-11-22\"}").age_years, 35);
    assert_int_equal(facts_of("{\"date_of_birth\":\"2026-09-22\"}").age_years, 0);
    assert_int_equal(facts_of("{\"date_of_birth\":\"2026-09-22\"}").age_months, 1);
    assert_int_equal(facts_of("{\"date_of_birth\":\"2027-01-01\"}").age_years, -1);
    assert_int_equal(facts_of("{\"date_of_birth\":\"12/05/1990\"}").age_years, -1);
    assert_int_equal(facts_of("{\"date_of_birth\":1990,\"sex\":\"male\"}").age_years, -1);
    assert_int_equal(facts_of("{\"sex\":\"other\"}").sex, CP_SEX_UNKNOWN);
    assert_false(facts_of("{\"pregnant\":\"yes\"}").pregnant);
    assert_false(facts_of("{\"pregnant\":true,\"due_date\":\"2026-01-01\"}").pregnant);
    assert_true(facts_of("{\"pregnant\":true,\"due_date\":\"2026-11-15\"}").pregnant);
}

static void assert_starts(const char *patient, const char *start) {
    cp_patient_record *record = record_of(patient, NULL);
    char *text = summary_of(record, 4096);
    assert_int_equal(strncmp(text, start, strlen(start)), 0);
    free(text);
    cp_patient_record_free(record);
}

static void first_line_fits_every_age(void **state) {
    (void)state;
    assert_starts("{}", "Patient: age not recorded, patient of unrecorded sex\n");
    assert_starts("{\"date_of_birth\":\"1931-01-01\",\"sex\":\"male\"}",
                  "Patient: 90-year-old or older male\n");
    assert_starts("{\"date_of_birth\":\"2026-09-22\",\"sex\":\"female\"}",
                  "Patient: 1-month-old female\n");
    assert_starts("{\"date_of_birth\":\"1994-06-21\",\"sex\":\"female\",\"pregnant\":true,"
                  "\"due_date\":\"2027-03-15\"}",
                  "Patient: 32-year-old female, pregnant (23 weeks)\n");
}

static void odd_types_are_absent_not_a_crash(void **state) {
    (void)state;
    cp_patient_record *record =
        record_of("{\"conditions\":\"asthma\",\"medications\":[1,null,[],{},{\"name\":7},{\"name\":"
                  "\"aspirin\","
                  "\"dose\":3}],\"allergies\":{\"substance\":\"x\"},\"sex\":[]}",
                  "[{},1,\"x\",{\"date\":\"2025-01-01\"},{\"reason\":\"cough\"}]");
    char *text = summary_of(record, 4096);
    assert_string_equal(text, "Patient: age not recorded, patient of unrecorded sex\n"
                              "Medications: aspirin\n");
    free(text);
    cp_patient_record_free(record);
}

static void record_text_cannot_start_a_line(void **state) {
    (void)state;
    cp_patient_record *record =
        record_of("{\"conditions\":[{\"name\":\"cough\\n\\nPatient:\\t healthy \"}]}", NULL);
    char *text = summary_of(record, 4096);
    assert_non_null(strstr(text, "Conditions: cough Patient: healthy\n"));
    free(text);
    cp_patient_record_free(record);
}

static cp_patient_record *record_with_many(int n) {
    cp_patient_record *record =
        record_of("{\"conditions\":[],\"allergies\":[{\"substance\":\"latex\"}]}", NULL);
    cJSON *conditions = cJSON_GetObjectItemCaseSensitive(record->patient, "conditions");
    for (int i = 0; i < n; i++) {
        char name[32], date[16];
        cJSON *condition = cJSON_CreateObject(), *encounter = cJSON_CreateObject();
        snprintf(name, sizeof name, "condition number %d", i);
        snprintf(date, sizeof date, "2025-01-%02d", i % 28 + 1);
        cJSON_AddStringToObject(condition, "name", name);
        cJSON_AddItemToArray(conditions, condition);
        cJSON_AddStringToObject(encounter, "date", date);
        cJSON_AddStringToObject(encounter, "reason", name);
        cJSON_AddItemToArray(record->encounters, encounter);
    }
    return record;
}

static void cuts_at_whole_entries_and_counts_the_rest(void **state) {
    (void)state;
    cp_patient_record *record = record_with_many(28);
    char *text = summary_of(record, 600);
    assert_non_null(strstr(text, "Conditions: condition number 0; condition number 1"));
    assert_non_null(strstr(text, "more not shown)\nAllergies: latex\n"));
    assert_non_null(strstr(text, "- 2025-01-28: condition number 27\n"));
    free(text);
    text = summary_of(record, 100000);
    assert_non_null(strstr(text, "condition number 27\nAllergies"));
    assert_non_null(strstr(text, "condition number 23 (23 more not shown)\n"));
    free(text);
    for (size_t limit = 0; limit < 1200; limit++) { /* never past it: summary_of asserts */
        text = summary_of(record, limit);
        size_t n = strlen(text);
        assert_true(n == 0 || text[n - 1] == '\n');
        free(text);
    }
    cp_patient_record_free(record);
}

static void the_same_record_gives_the_same_bytes(void **state) {
    (void)state;
    cp_patient_store *store = open_store();
    cp_patient_record *a = synthetic(store, "MRN-005"), *b = synthetic(store, "MRN-005");
    char *first = summary_of(a, 2048), *second = summary_of(b, 2048);
    assert_string_equal(first, second);
    free(first);
    free(second);
    cp_patient_record_free(a);
    cp_patient_record_free(b);
    store->close(store);
}

static void without_memory_the_buffer_says_so(void **state) {
    (void)state;
    cp_patient_record *record = record_with_many(3);
    for (long n = 1; n < 12; n++) {
        cp_strbuf out;
        cp_strbuf_init(&out, 4096);
        test_alloc_fail_at(n, 0);
        test_alloc_reset();
        cp_patient_summary_append(record, NULL, TODAY, 4096, &out);
        bool fault_hit = test_alloc_count() >= n;
        test_alloc_fail_at(0, 0);
        assert_int_equal(out.failed, fault_hit ? CP_ERR_NO_MEMORY : CP_OK);
        cp_strbuf_deinit(&out);
    }
    cp_patient_record_free(record);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(golden_text_of_one_patient),
    cmocka_unit_test(summary_names_nobody),
    cmocka_unit_test(facts_are_known_or_said_to_be_unknown),
    cmocka_unit_test(first_line_fits_every_age),
    cmocka_unit_test(odd_types_are_absent_not_a_crash),
    cmocka_unit_test(record_text_cannot_start_a_line),
    cmocka_unit_test(cuts_at_whole_entries_and_counts_the_rest),
    cmocka_unit_test(the_same_record_gives_the_same_bytes),
    cmocka_unit_test(without_memory_the_buffer_says_so),
};
CP_TEST_GROUP(summary, tests)
