/* FHIR Bundles: what is kept of each resource, what is left out, and what is refused whole. */
#include "tests/test.h"

#include "base/mem.h"
#include "server/fhir_import.h"
#include "server/patient_store.h"
#include "server/patient_summary.h"

#define PATIENT                                                                                    \
    "{\"fullUrl\":\"urn:uuid:p1\",\"resource\":{\"resourceType\":\"Patient\",\"id\":\"p1\","       \
    "\"identifier\":[{\"value\":\"ABC\"},{\"type\":{\"coding\":[{\"code\":\"MR\"}]},\"value\":"    \
    "\"FHIR-1\"}],\"name\":[{\"given\":[\"Ada\",\"May\"],\"family\":\"Example\"}],"                \
    "\"gender\":\"female\",\"birthDate\":\"1990-02-03\",\"telecom\":[{\"value\":\"555-0100\"}]}}"
#define SUBJECT "\"subject\":{\"reference\":\"urn:uuid:p1\"}"

static cp_strbuf bundle_text;

/* A Bundle of PATIENT and these resources (JSON objects with commas between them). */
static cp_str bundle(const char *resources) {
    cp_strbuf_deinit(&bundle_text);
    cp_strbuf_init(&bundle_text, (size_t)16 << 20);
    cp_strbuf_puts(&bundle_text,
                   "{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[" PATIENT);
    cJSON *list = NULL;
    if (resources) {
        cp_strbuf wrapped;
        cp_strbuf_init(&wrapped, (size_t)16 << 20);
        cp_strbuf_printf(&wrapped, "[%s]", resources);
        list = cJSON_Parse(cp_strbuf_text(&wrapped));
        cp_strbuf_deinit(&wrapped);
        assert_non_null(list);
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        char *text = cJSON_PrintUnformatted(item);
        cp_strbuf_printf(&bundle_text, ",{\"resource\":%s}", text);
        free(text);
    }
    cJSON_Delete(list);
    cp_strbuf_puts(&bundle_text, "]}");
    return cp_strbuf_str(&bundle_text);
}

static cp_status read_text(cp_str text, cp_fhir_import *out, cp_error *err) {
    cJSON *tree;
    *out = (cp_fhir_import){.n = 0};
    cp_status status = cp_json_parse("the body", text.data, text.n, &tree, err);
    if (status == CP_OK)
        status = cp_fhir_read(tree, out, err);
    cJSON_Delete(tree);
    return status;
}

/* The same for one resource whose text must not pass through a tree of cJSON. */
static cp_status read_raw(const char *resource, cp_fhir_import *out, cp_error *err) {
    cp_strbuf text;
    cp_strbuf_init(&text, 1 << 16);
    cp_strbuf_printf(&text,
                     "{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[%s,"
                     "{\"resource\":%s}]}",
                     PATIENT, resource);
    cp_status status = read_text(cp_strbuf_str(&text), out, err);
    cp_strbuf_deinit(&text);
    return status;
}

/* The one patient of a Bundle, as JSON that must equal `wanted`; returns what was left out. */
static size_t assert_patient(const char *resources, const char *wanted) {
    cp_fhir_import import;
    cp_error err;
    assert_cp_ok(read_text(bundle(resources), &import, &err));
    assert_int_equal(import.n, 1);
    assert_string_equal(import.patients[0].mrn, "FHIR-1");
    cJSON *tree = cJSON_Parse(wanted);
    assert_non_null(tree);
    if (!cJSON_Compare(import.patients[0].patient, tree, true))
        fail_msg("%s\nis not\n%s", cJSON_Print(import.patients[0].patient), wanted);
    cJSON_Delete(tree);
    size_t n = import.n_left_out;
    cp_fhir_import_deinit(&import);
    return n;
}

#define BASE                                                                                       \
    "\"mrn\":\"FHIR-1\",\"name\":{\"given\":\"Ada May\",\"family\":\"Example\"},"                  \
    "\"date_of_birth\":\"1990-02-03\",\"sex\":\"female\""

static void a_patient_alone_has_no_lists_that_would_wipe_others(void **state) {
    (void)state;
    assert_int_equal(assert_patient(NULL, "{" BASE "}"), 0);
}

static void conditions_keep_name_code_and_onset(void **state) {
    (void)state;
    size_t left_out = assert_patient(
        "{\"resourceType\":\"Condition\"," SUBJECT ",\"clinicalStatus\":{\"coding\":[{\"code\":"
        "\"active\"}]},\"code\":{\"text\":\"Type 2 diabetes\",\"coding\":[{\"system\":"
        "\"http://hl7.org/fhir/sid/icd-10-cm\",\"code\":\"E11.9\"}]},\"onsetDateTime\":\"2011-05-"
        "02T10:00:00Z\"},"
        "{\"resourceType\":\"Condition\",\"subject\":{\"reference\":\"Patient/p1\"},\"code\":{"
        "\"coding\":[{\"display\":\"Gout\"}]},\"onsetDateTime\":\"2019\"},"
        "{\"resourceType\":\"Condition\"," SUBJECT ",\"clinicalStatus\":{\"coding\":[{\"code\":"
        "\"resolved\"}]},\"code\":{\"text\":\"Measles\"}},"
        "{\"resourceType\":\"Condition\"," SUBJECT ",\"verificationStatus\":{\"coding\":[{\"code\":"
        "\"refuted\"}]},\"code\":{\"text\":\"Cancer\"}}",
        "{" BASE ",\"conditions\":[{\"name\":\"Type 2 diabetes\",\"icd10\":\"E11.9\",\"since\":"
        "\"2011-05-02\"},{\"name\":\"Gout\",\"since\":\"2019\"}]}");
    assert_int_equal(left_out, 2);
}

static void medicines_come_from_statements_requests_and_references(void **state) {
    (void)state;
    size_t left_out = assert_patient(
        "{\"resourceType\":\"MedicationStatement\"," SUBJECT ",\"status\":\"active\","
        "\"medicationCodeableConcept\":{\"text\":\"metformin\"},\"dosage\":[{\"text\":\"500 mg "
        "twice daily\"}],\"reasonCode\":[{\"text\":\"Diabetes\"}]},"
        "{\"resourceType\":\"Medication\",\"id\":\"m7\",\"code\":{\"text\":\"warfarin\"}},"
        "{\"resourceType\":\"MedicationRequest\"," SUBJECT ",\"status\":\"on-hold\","
        "\"medicationReference\":{\"reference\":\"Medication/"
        "m7\"},\"dosageInstruction\":[{\"text\":\"5 mg\"}]},"
        "{\"resourceType\":\"MedicationRequest\"," SUBJECT ",\"status\":\"active\","
        "\"contained\":[{\"resourceType\":\"Medication\",\"id\":\"in\",\"code\":{\"text\":"
        "\"aspirin\"}}],\"medicationReference\":{\"reference\":\"#in\"}},"
        "{\"resourceType\":\"MedicationRequest\"," SUBJECT ",\"status\":\"stopped\","
        "\"medicationCodeableConcept\":{\"text\":\"ibuprofen\"}}",
        "{" BASE ",\"medications\":[{\"name\":\"metformin\",\"dose\":\"500 mg twice daily\","
        "\"reason\":\"Diabetes\"},{\"name\":\"warfarin\",\"dose\":\"on hold\"},{\"name\":"
        "\"aspirin\"}]}");
    assert_int_equal(left_out, 1);
}

static void allergies_keep_substance_reaction_and_severity(void **state) {
    (void)state;
    size_t left_out = assert_patient(
        "{\"resourceType\":\"AllergyIntolerance\",\"patient\":{\"reference\":\"Patient/p1\"},"
        "\"code\":{\"coding\":[{\"display\":\"Penicillin\"}]},\"reaction\":[{\"manifestation\":[{"
        "\"text\":\"hives\"}],\"severity\":\"moderate\"}]},"
        "{\"resourceType\":\"AllergyIntolerance\",\"patient\":{\"reference\":\"Patient/p1\"},"
        "\"reaction\":[{\"substance\":{\"text\":\"latex\"}}]},"
        "{\"resourceType\":\"AllergyIntolerance\",\"patient\":{\"reference\":\"Patient/p1\"},"
        "\"verificationStatus\":{\"coding\":[{\"code\":\"entered-in-error\"}]},"
        "\"code\":{\"text\":\"nuts\"}}",
        "{" BASE ",\"allergies\":[{\"substance\":\"Penicillin\",\"reaction\":\"hives\","
        "\"severity\":\"moderate\"},{\"substance\":\"latex\"}]}");
    assert_int_equal(left_out, 1);
}

static void observations_keep_values_of_every_kind_oldest_first(void **state) {
    (void)state;
    size_t left_out = assert_patient(
        "{\"resourceType\":\"Observation\"," SUBJECT ",\"status\":\"final\",\"code\":{\"text\":"
        "\"Hemoglobin\"},\"effectiveDateTime\":\"2026-10-28T08:00:00+01:00\",\"valueQuantity\":{"
        "\"value\":10.4,\"unit\":\"g/dL\"},\"interpretation\":[{\"text\":\"low\"}]},"
        "{\"resourceType\":\"Observation\"," SUBJECT ",\"status\":\"final\",\"code\":{\"text\":"
        "\"Blood pressure\"},\"effectivePeriod\":{\"start\":\"2026-09-01\"},\"component\":[{"
        "\"code\":{\"text\":\"Systolic\"},\"valueQuantity\":{\"value\":148,\"unit\":\"mmHg\"}},{"
        "\"code\":{\"text\":\"Diastolic\"},\"valueQuantity\":{\"value\":86,\"unit\":\"mmHg\"}}]},"
        "{\"resourceType\":\"Observation\"," SUBJECT ",\"status\":\"amended\",\"code\":{\"text\":"
        "\"Smoker\"},\"issued\":\"2026-09-02T00:00:00Z\",\"valueBoolean\":true},"
        "{\"resourceType\":\"Observation\"," SUBJECT ",\"status\":\"final\",\"code\":{\"text\":"
        "\"CRP\"},\"effectiveDateTime\":\"2026-09-03\",\"valueQuantity\":{\"value\":5,"
        "\"comparator\":\"<\",\"unit\":\"mg/L\"}},"
        "{\"resourceType\":\"Observation\"," SUBJECT ",\"status\":\"cancelled\",\"code\":{\"text\":"
        "\"X\"},\"effectiveDateTime\":\"2026-09-03\",\"valueString\":\"y\"},"
        "{\"resourceType\":\"Observation\"," SUBJECT ",\"status\":\"final\",\"code\":{\"text\":"
        "\"No date\"},\"valueString\":\"y\"},"
        "{\"resourceType\":\"Observation\"," SUBJECT ",\"status\":\"final\",\"code\":{\"text\":"
        "\"No value\"},\"effectiveDateTime\":\"2026-09-03\"}",
        "{" BASE ",\"observations\":["
        "{\"name\":\"Blood pressure\",\"value\":\"Systolic 148 mmHg, Diastolic 86 mmHg\",\"date\":"
        "\"2026-09-01\"},"
        "{\"name\":\"Smoker\",\"value\":\"yes\",\"date\":\"2026-09-02\"},"
        "{\"name\":\"CRP\",\"value\":\"<5 mg/L\",\"date\":\"2026-09-03\"},"
        "{\"name\":\"Hemoglobin\",\"value\":\"10.4 g/dL (low)\",\"date\":\"2026-10-28\"}]}");
    assert_int_equal(left_out, 3);
}

/* The kind was in the Bundle, so the stored list goes, though nothing of it stays. */
static void a_list_of_nothing_current_is_empty_and_not_absent(void **state) {
    (void)state;
    assert_patient("{\"resourceType\":\"MedicationRequest\"," SUBJECT ",\"status\":\"stopped\","
                   "\"medicationCodeableConcept\":{\"text\":\"ibuprofen\"}}",
                   "{" BASE ",\"medications\":[]}");
}

#define STATUS(code, date)                                                                         \
    "{\"resourceType\":\"Observation\"," SUBJECT ",\"status\":\"final\",\"code\":{\"coding\":[{"   \
    "\"system\":\"http://loinc.org\",\"code\":\"82810-3\"}]},\"effectiveDateTime\":\"" date        \
    "\",\"valueCodeableConcept\":{\"coding\":[{\"system\":\"http://snomed.info/"                   \
    "sct\",\"code\":\"" code "\"}]}}"

/* "pregnant" of the patient that these resources make: 1, 0, or -1 when nothing is said. */
static int pregnancy_of(const char *resources) {
    cp_fhir_import import;
    cp_error err;
    assert_cp_ok(read_text(bundle(resources), &import, &err));
    const cJSON *said = cp_json_member(import.patients[0].patient, "pregnant");
    int pregnant = said ? cJSON_IsTrue(said) : -1;
    cp_fhir_import_deinit(&import);
    return pregnant;
}

static void pregnancy_is_what_was_said_last(void **state) {
    (void)state;
    assert_int_equal(pregnancy_of(NULL), -1);
    assert_int_equal(pregnancy_of(STATUS("77386006", "2026-01-01")), 1);
    assert_int_equal(
        pregnancy_of(STATUS("77386006", "2026-01-01") "," STATUS("60001007", "2026-09-01")), 0);
    assert_int_equal(
        pregnancy_of(STATUS("60001007", "2026-09-01") "," STATUS("77386006", "2026-01-01")), 0);
    assert_int_equal(pregnancy_of(STATUS("261665006", "2026-01-01")), -1);
    static const struct {
        const char *icd10;
        int pregnant;
    } codes[] = {{"Z34.82", 1}, {"Z33.1", 1}, {"O09.5", 1},  {"O26.8", 1},
                 {"Z39.0", -1}, {"O85", -1},  {"Z33.2", -1}, {"E11.9", -1}};
    for (size_t i = 0; i < CP_COUNT_OF(codes); i++) {
        char text[400];
        snprintf(text, sizeof text,
                 "{\"resourceType\":\"Condition\"," SUBJECT ",\"code\":{\"text\":\"C\",\"coding\":"
                 "[{\"system\":\"http://hl7.org/fhir/sid/icd-10-cm\",\"code\":\"%s\"}]}}",
                 codes[i].icd10);
        assert_int_equal(pregnancy_of(text), codes[i].pregnant);
    }
}

static void a_conclusion_becomes_a_document_that_stores_take(void **state) {
    (void)state;
    cp_fhir_import import;
    cp_error err;
    assert_cp_ok(read_text(
        bundle("{\"resourceType\":\"DiagnosticReport\",\"id\":\"r1\",\"status\":\"final\"," SUBJECT
               ",\"code\":{\"text\":\"Chest X-ray\"},\"effectiveDateTime\":\"2026-02-03\","
               "\"conclusion\":\"No pneumonia.\"},"
               "{\"resourceType\":\"DiagnosticReport\",\"status\":\"final\"," SUBJECT "},"
               "{\"resourceType\":\"Immunization\"},{\"resourceType\":\"Coverage\"}"),
        &import, &err));
    const cp_fhir_patient *p = &import.patients[0];
    assert_int_equal(import.n_other, 2);
    assert_int_equal(import.n_left_out, 1);
    assert_int_equal(cJSON_GetArraySize(p->documents), 1);
    const cp_patient_change change = {
        .mrn = p->mrn, .patient = p->patient, .documents = p->documents};
    assert_cp_ok(cp_patient_change_check(&change, &err));
    assert_string_equal(cp_json_member(p->documents->child, "text")->valuestring, "No pneumonia.");
    cp_fhir_import_deinit(&import);
}

/* No "inf mg/dL" in a record (found by fuzzing). */
static void a_value_that_is_no_finite_number_is_left_out(void **state) {
    (void)state;
    cp_fhir_import import;
    cp_error err;
    assert_cp_ok(read_raw("{\"resourceType\":\"Observation\"," SUBJECT
                          ",\"status\":\"final\",\"code\":{\"text\":\"Urate\"},"
                          "\"effectiveDateTime\":\"2026-09-01\",\"valueQuantity\":{"
                          "\"value\":1e999,\"unit\":\"mg/dL\"}}",
                          &import, &err));
    assert_int_equal(import.n_left_out, 1);
    assert_int_equal(cJSON_GetArraySize(import.patients[0].lists[CP_FHIR_OBSERVATIONS]), 0);
    cp_fhir_import_deinit(&import);
}

/* What was imported is what the model is told. */
static void the_summary_tells_what_was_imported(void **state) {
    (void)state;
    cp_fhir_import import;
    cp_error err;
    cp_strbuf out;
    assert_cp_ok(read_text(
        bundle("{\"resourceType\":\"Condition\"," SUBJECT ",\"code\":{\"text\":\"Gout\"}},"
               "{\"resourceType\":\"AllergyIntolerance\",\"patient\":{\"reference\":\"Patient/p1\"}"
               ",\"code\":{\"text\":\"latex\"}},"
               "{\"resourceType\":\"Observation\"," SUBJECT ",\"status\":\"final\",\"code\":{"
               "\"text\":\"Urate\"},\"effectiveDateTime\":\"2026-09-01\",\"valueQuantity\":{"
               "\"value\":9.1,\"unit\":\"mg/dL\"}}"),
        &import, &err));
    cp_patient_record *record = cp_patient_record_create("FHIR-1");
    const cp_patient_change change = {.mrn = "FHIR-1", .patient = import.patients[0].patient};
    assert_cp_ok(cp_patient_record_apply(record, &change, &err));
    cp_strbuf_init(&out, 10000);
    cp_patient_summary_append(record, NULL, "2026-11-21", 5000, &out);
    assert_string_equal(cp_strbuf_text(&out), "Patient: 36-year-old female\n"
                                              "Conditions: Gout\n"
                                              "Allergies: latex\n"
                                              "Observations: Urate 9.1 mg/dL (2026-09-01)\n");
    cp_strbuf_deinit(&out);
    cp_patient_record_free(record);
    cp_fhir_import_deinit(&import);
}

/* ---- refusals --------------------------------------------------------------------------- */

static void assert_refused_text(cp_str text, const char *word) {
    cp_fhir_import import;
    cp_error err = {0};
    cp_status status = read_text(text, &import, &err);
    cp_fhir_import_deinit(&import);
    if (status == CP_OK || !strstr(err.message, word))
        fail_msg("status %d, expected %s in: %s", status, word, err.message);
    if (strstr(err.message, "SECRET"))
        fail_msg("quotes: %s", err.message);
}

static void assert_refused(const char *resources, const char *word) {
    assert_refused_text(bundle(resources), word);
}

static void what_is_no_bundle_is_refused(void **state) {
    (void)state;
    assert_refused_text(CP_STR("[]"), "not Bundle");
    assert_refused_text(CP_STR("{\"resourceType\":\"SECRET\"}"), "not Bundle");
    assert_refused_text(CP_STR("{\"resourceType\":\"Bundle\"}"), "no Patient");
    assert_refused_text(CP_STR("{\"resourceType\":\"Bundle\",\"entry\":{}}"), "not an array");
    assert_refused_text(CP_STR("{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":5}]}"),
                        "entry 1");
    assert_refused_text(CP_STR("{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":{\"x\":"
                               "\"SECRET\"}}]}"),
                        "resourceType");
}

static void record_numbers_that_are_none_are_refused(void **state) {
    (void)state;
    static const char *const identifiers[] = {"[{\"value\":\"SECRET 1\"}]",
                                              "[{\"value\":\"SECRET.1\"}]",
                                              "[{\"value\":\"$SECRET\"}]",
                                              "[{\"value\":{\"$ne\":null}}]",
                                              "[{\"value\":\"A\"},{\"value\":\"B\"}]",
                                              "[{}]",
                                              "[{\"value\":\"\"}]"};
    for (size_t i = 0; i < CP_COUNT_OF(identifiers); i++) {
        char text[300];
        int n = snprintf(text, sizeof text,
                         "{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":{\"resourceType\":"
                         "\"Patient\",\"identifier\":%s}}]}",
                         identifiers[i]);
        assert_refused_text((cp_str){text, (size_t)n}, "record number");
    }
    assert_refused("{\"resourceType\":\"Patient\",\"id\":\"FHIR-1\"}", "same record number");
}

static void references_to_others_are_refused(void **state) {
    (void)state;
    static const char *const references[] = {"Patient/SECRET",
                                             "urn:uuid:SECRET",
                                             "xPatient/p1",
                                             "http://x/fhir/Patient/p1",
                                             "Practitioner/p1",
                                             "p1",
                                             ""};
    for (size_t i = 0; i < CP_COUNT_OF(references); i++) {
        char text[300];
        snprintf(text, sizeof text,
                 "{\"resourceType\":\"Condition\",\"subject\":{\"reference\":\"%s\"},\"code\":{"
                 "\"text\":\"SECRET\"}}",
                 references[i]);
        assert_refused(text, "entry 2: Condition: it refers to no Patient");
    }
    assert_refused("{\"resourceType\":\"Observation\"}", "refers to no Patient");
}

static void what_must_not_be_passed_over_is_refused(void **state) {
    (void)state;
    assert_refused("{\"resourceType\":\"Condition\"," SUBJECT ",\"modifierExtension\":[{\"url\":"
                   "\"SECRET\"}],\"code\":{\"text\":\"x\"}}",
                   "modifierExtension");
    assert_refused("{\"resourceType\":\"Condition\"," SUBJECT "}", "code is missing");
    assert_refused("{\"resourceType\":\"AllergyIntolerance\",\"patient\":{\"reference\":"
                   "\"Patient/p1\"}}",
                   "code is missing");
    assert_refused("{\"resourceType\":\"MedicationStatement\"," SUBJECT ",\"status\":\"active\"}",
                   "medication is missing");
    assert_refused("{\"resourceType\":\"MedicationStatement\"," SUBJECT "}", "status is missing");
}

static void texts_and_numbers_have_limits(void **state) {
    (void)state;
    cp_strbuf text;
    cp_strbuf_init(&text, (size_t)4 << 20);
    cp_strbuf_puts(&text, "{\"resourceType\":\"Condition\"," SUBJECT ",\"code\":{\"text\":\"");
    test_append_times(&text, "x", CP_FHIR_MAX_TEXT + 1);
    cp_strbuf_puts(&text, "\"}}");
    assert_refused(cp_strbuf_text(&text), "over 500 bytes");
    cp_strbuf_clear(&text);
    cp_strbuf_puts(&text, "{\"resourceType\":\"Bundle\",\"entry\":[{}");
    test_append_times(&text, ",{}", CP_FHIR_MAX_ENTRIES);
    cp_strbuf_puts(&text, "]}");
    assert_refused_text(cp_strbuf_str(&text), "over 10000 entries");
    cp_strbuf_clear(&text);
    cp_strbuf_puts(&text, "{\"resourceType\":\"Bundle\",\"entry\":[{}");
    for (int i = 0; i <= CP_FHIR_MAX_PATIENTS; i++)
        cp_strbuf_printf(&text, ",{\"resource\":{\"resourceType\":\"Patient\",\"id\":\"P%d\"}}", i);
    cp_strbuf_puts(&text, "]}");
    assert_refused_text(cp_strbuf_str(&text), "over 200 patients");
    cp_strbuf_deinit(&text);
}

/* Every member of a good Bundle in turn is a value of another type: read or refused, never a crash.
 */
static void members_of_any_type_do_no_harm(void **state) {
    (void)state;
    static const char *const values[] = {"null", "0",      "\"x\"", "[]",
                                         "{}",   "[null]", "true",  "[[{}]]"};
    static const char good[] =
        "{\"resourceType\":\"Observation\"," SUBJECT ",\"status\":\"final\",\"code\":{\"text\":"
        "\"A\",\"coding\":[{\"system\":\"http://loinc.org\",\"code\":\"82810-3\"}]},"
        "\"effectiveDateTime\":\"2026-09-01\",\"valueQuantity\":{\"value\":1,\"unit\":\"u\"},"
        "\"component\":[{\"code\":{\"text\":\"c\"},\"valueString\":\"v\"}]},"
        "{\"resourceType\":\"MedicationRequest\"," SUBJECT ",\"status\":\"active\","
        "\"medicationReference\":{\"reference\":\"Medication/m\",\"display\":\"d\"},"
        "\"dosageInstruction\":[{\"text\":\"t\"}],\"reasonCode\":[{\"text\":\"r\"}]},"
        "{\"resourceType\":\"AllergyIntolerance\"," SUBJECT ",\"code\":{\"text\":\"a\"},"
        "\"reaction\":[{\"manifestation\":[{\"text\":\"m\"}],\"severity\":\"mild\"}]},"
        "{\"resourceType\":\"Condition\"," SUBJECT ",\"clinicalStatus\":{\"coding\":[{\"code\":"
        "\"active\"}]},\"code\":{\"text\":\"c\"},\"onsetDateTime\":\"2011\"}";
    cp_str whole = bundle(good);
    size_t n_read = 0, n_refused = 0;
    for (size_t at = 0; at + 1 < whole.n; at++) {
        if (whole.data[at] != ':' || whole.data[at - 1] != '"')
            continue;
        const char *rest = NULL;
        cJSON *value = cJSON_ParseWithOpts(whole.data + at + 1, &rest, false);
        assert_non_null(value);
        cJSON_Delete(value);
        for (size_t i = 0; i < CP_COUNT_OF(values); i++) {
            cp_fhir_import import;
            cp_error err;
            cp_strbuf changed;
            cp_strbuf_init(&changed, whole.n + 64);
            cp_strbuf_append(&changed, whole.data, at + 1);
            cp_strbuf_puts(&changed, values[i]);
            cp_strbuf_puts(&changed, rest);
            if (read_text(cp_strbuf_str(&changed), &import, &err) == CP_OK)
                n_read++;
            else
                n_refused++;
            cp_fhir_import_deinit(&import);
            cp_strbuf_deinit(&changed);
        }
    }
    assert_true(n_read > 100 && n_refused > 100);
}

static void *hooked_malloc(size_t n) {
    return malloc(n);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    cJSON_Hooks hooks = {hooked_malloc, free};
    cp_str text = bundle(
        "{\"resourceType\":\"Observation\"," SUBJECT ",\"status\":\"final\",\"code\":{\"text\":"
        "\"A\"},\"effectiveDateTime\":\"2026-09-01\",\"valueString\":\"v\"},"
        "{\"resourceType\":\"Observation\"," SUBJECT ",\"status\":\"final\",\"code\":{\"text\":"
        "\"B\"},\"effectiveDateTime\":\"2026-08-01\",\"valueString\":\"w\"},"
        "{\"resourceType\":\"Condition\"," SUBJECT ",\"code\":{\"text\":\"c\",\"coding\":[{"
        "\"system\":\"http://hl7.org/fhir/sid/icd-10\",\"code\":\"O26.8\"}]}}");
    cJSON_InitHooks(&hooks);
    for (long n = 1;; n++) {
        cp_fhir_import import;
        cp_error err;
        test_alloc_fail_at(n, 0);
        cp_status status = read_text(text, &import, &err);
        test_alloc_fail_at(0, 0);
        cp_fhir_import_deinit(&import);
        if (status == CP_OK)
            break;
        assert_int_equal(status, CP_ERR_NO_MEMORY);
        assert_true(n < 100000);
    }
    cJSON_InitHooks(NULL);
}

static int forget_text(void **state) {
    (void)state;
    cp_strbuf_deinit(&bundle_text);
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, forget_text)
static const struct CMUnitTest tests[] = {
    TEST(a_patient_alone_has_no_lists_that_would_wipe_others),
    TEST(conditions_keep_name_code_and_onset),
    TEST(medicines_come_from_statements_requests_and_references),
    TEST(allergies_keep_substance_reaction_and_severity),
    TEST(observations_keep_values_of_every_kind_oldest_first),
    TEST(a_list_of_nothing_current_is_empty_and_not_absent),
    TEST(pregnancy_is_what_was_said_last),
    TEST(a_conclusion_becomes_a_document_that_stores_take),
    TEST(a_value_that_is_no_finite_number_is_left_out),
    TEST(the_summary_tells_what_was_imported),
    TEST(what_is_no_bundle_is_refused),
    TEST(record_numbers_that_are_none_are_refused),
    TEST(references_to_others_are_refused),
    TEST(what_must_not_be_passed_over_is_refused),
    TEST(texts_and_numbers_have_limits),
    TEST(members_of_any_type_do_no_harm),
    TEST(every_allocation_may_fail),
};
CP_TEST_GROUP(fhir, tests)
