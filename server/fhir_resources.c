#include "server/fhir_resources.h"

#include "base/json.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ICD10           "http://hl7.org/fhir/sid/icd-10"
#define LOINC           "http://loinc.org"
#define PREGNANCY_LOINC "82810-3"
#define DATE_BYTES      10
#define MAX_REPORT      20000 /* bytes of a conclusion */
#define MAX_COMPONENTS  20

static const char *const list_names[CP_FHIR_N_LISTS] = {"conditions", "medications", "allergies",
                                                        "observations"};

const char *cp_fhir_list_name(unsigned list) {
    return list_names[list];
}

/* ---- reading ---------------------------------------------------------------------------- */

const char *cp_fhir_text(const cJSON *object, const char *key) {
    const cJSON *member = cp_json_member(object, key);
    return cJSON_IsString(member) && member->valuestring[0] ? member->valuestring : NULL;
}

static const cJSON *first(const cJSON *list) {
    return cJSON_IsArray(list) ? list->child : NULL;
}

/* What a CodeableConcept says: its text, else its first display, else its first code. */
static const char *concept_text(const cJSON *concept) {
    const char *text = cp_fhir_text(concept, "text");
    const cJSON *coding;
    cJSON_ArrayForEach(coding, cp_json_member(concept, "coding")) {
        if (!text)
            text = cp_fhir_text(coding, "display");
    }
    return text ? text : cp_fhir_text(first(cp_json_member(concept, "coding")), "code");
}

/* The concept's code in a system whose name begins so; NULL when it has none. */
static const char *code_in(const cJSON *concept, const char *system) {
    const cJSON *coding;
    cJSON_ArrayForEach(coding, cp_json_member(concept, "coding")) {
        const char *name = cp_fhir_text(coding, "system");
        if (name && strncmp(name, system, strlen(system)) == 0)
            return cp_fhir_text(coding, "code");
    }
    return NULL;
}

/* Whether any code of the concept, of whatever system, is one of words[n]. */
static bool has_code(const cJSON *concept, const char *const *words, size_t n) {
    const cJSON *coding;
    cJSON_ArrayForEach(coding, cp_json_member(concept, "coding")) {
        const char *code = cp_fhir_text(coding, "code");
        for (size_t i = 0; code && i < n; i++)
            if (strcmp(code, words[i]) == 0)
                return true;
    }
    return false;
}

static bool is_word(const char *text, const char *const *words, size_t n) {
    for (size_t i = 0; text && i < n; i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

/* The day of a FHIR date or dateTime that has one. */
static bool read_day(const char *text, char out[DATE_BYTES + 1]) {
    static const char shape[] = "dddd-dd-dd";
    out[0] = '\0';
    for (size_t i = 0; i < DATE_BYTES; i++) {
        bool digit = text && text[i] >= '0' && text[i] <= '9';
        if (!text || (shape[i] == 'd' ? !digit : text[i] != '-'))
            return false;
    }
    memcpy(out, text, DATE_BYTES);
    out[DATE_BYTES] = '\0';
    return true;
}

/* The first of these members that has a day. */
static bool find_day(const cJSON *resource, const char *const *keys, size_t n,
                     char out[DATE_BYTES + 1]) {
    for (size_t i = 0; i < n; i++) {
        const cJSON *member = cp_json_member(resource, keys[i]);
        if (cJSON_IsObject(member)) /* a Period */
            member = cp_json_member(member, "start");
        if (cJSON_IsString(member) && read_day(member->valuestring, out))
            return true;
    }
    return false;
}

/* ---- writing ---------------------------------------------------------------------------- */

/* Appends an object to the patient's list, which is made when it is the first. */
static cp_status add_entry(cp_fhir_patient *p, unsigned list, cJSON **out, cp_error *err) {
    *out = NULL;
    if (!p->lists[list])
        p->lists[list] = cJSON_AddArrayToObject(p->patient, list_names[list]);
    cJSON *entry = p->lists[list] ? cJSON_CreateObject() : NULL;
    if (!entry || !cJSON_AddItemToArray(p->lists[list], entry)) {
        cJSON_Delete(entry);
        return cp_error_no_memory(err, "import");
    }
    *out = entry;
    return CP_OK;
}

/* The list is there, so that it takes the stored one's place, even when nothing is put in. */
static cp_status leave_out(cp_fhir_patient *p, unsigned list, cp_error *err) {
    if (!p->lists[list])
        p->lists[list] = cJSON_AddArrayToObject(p->patient, list_names[list]);
    return p->lists[list] ? CP_ERR_CANCELLED : cp_error_no_memory(err, "import");
}

/* NULL writes nothing. A text that is too long is refused: cut, it could say something else. */
static cp_status put_limited(const char *place, cJSON *object, const char *key, const char *text,
                             size_t max, cp_error *err) {
    if (!text)
        return CP_OK;
    if (strlen(text) > max)
        return cp_error_set(err, CP_ERR_LIMIT, "%s: the text for %s has over %zu bytes", place, key,
                            max);
    return cJSON_AddStringToObject(object, key, text) ? CP_OK : cp_error_no_memory(err, "import");
}

static cp_status put(const char *place, cJSON *object, const char *key, const char *text,
                     cp_error *err) {
    return put_limited(place, object, key, text, CP_FHIR_MAX_TEXT, err);
}

static cp_status missing(const char *place, const char *what, cp_error *err) {
    return cp_error_set(err, CP_ERR_FORMAT, "%s: %s is missing", place, what);
}

/* In place of what was there. */
static cp_status set_item(cJSON *object, const char *key, cJSON *value, cp_error *err) {
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    if (value && cJSON_AddItemToObject(object, key, value))
        return CP_OK;
    cJSON_Delete(value);
    return cp_error_no_memory(err, "import");
}

/* ---- Patient ---------------------------------------------------------------------------- */

/* The identifier of type MR; else the only identifier; else the id. */
static const char *find_mrn(const cJSON *resource) {
    static const char *const types[] = {"MR"};
    const cJSON *list = cp_json_member(resource, "identifier"), *identifier;
    cJSON_ArrayForEach(identifier, list) {
        if (has_code(cp_json_member(identifier, "type"), types, 1))
            return cp_fhir_text(identifier, "value");
    }
    const cJSON *only = first(list);
    if (only)
        return only->next ? NULL : cp_fhir_text(only, "value");
    return cp_fhir_text(resource, "id");
}

/* Given names with blanks between them. */
static cp_status put_name(const char *place, const cJSON *resource, cJSON *patient, cp_error *err) {
    const cJSON *name = first(cp_json_member(resource, "name")), *part;
    if (!name)
        return CP_OK;
    cp_strbuf given;
    cp_strbuf_init(&given, CP_FHIR_MAX_TEXT + 1);
    cJSON_ArrayForEach(part, cp_json_member(name, "given")) {
        if (cJSON_IsString(part)) {
            cp_strbuf_puts(&given, given.n > 0 ? " " : "");
            cp_strbuf_puts(&given, part->valuestring);
        }
    }
    const char *family = cp_fhir_text(name, "family");
    cJSON *object = cJSON_AddObjectToObject(patient, "name");
    cp_status status =
        object ? cp_strbuf_check(&given, place, err) : cp_error_no_memory(err, "import");
    if (status == CP_OK)
        status = put(place, object, "given", given.n > 0 ? cp_strbuf_text(&given) : NULL, err);
    if (status == CP_OK)
        status = put(place, object, "family", family ? family : cp_fhir_text(name, "text"), err);
    cp_strbuf_deinit(&given);
    return status;
}

cp_status cp_fhir_patient_read(const char *place, const cJSON *resource, cp_fhir_patient *out,
                               cp_error *err) {
    const char *mrn = find_mrn(resource);
    if (!mrn)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: no record number, expected one identifier, or one of type MR",
                            place);
    if (!cp_mrn_is_valid(mrn))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: the record number is not " CP_MRN_RULE, place);
    memcpy(out->mrn, mrn, strlen(mrn) + 1);
    out->id = cp_fhir_text(resource, "id");
    out->patient = cJSON_CreateObject();
    out->documents = cJSON_CreateArray();
    if (!out->patient || !out->documents)
        return cp_error_no_memory(err, "import");
    cp_status status = put(place, out->patient, "mrn", mrn, err);
    if (status == CP_OK)
        status = put_name(place, resource, out->patient, err);
    if (status == CP_OK)
        status =
            put(place, out->patient, "date_of_birth", cp_fhir_text(resource, "birthDate"), err);
    if (status == CP_OK)
        status = put(place, out->patient, "sex", cp_fhir_text(resource, "gender"), err);
    return status;
}

/* ---- pregnancy -------------------------------------------------------------------------- */

/* The newest word on it counts. */
static cp_status note_pregnancy(cp_fhir_patient *p, bool pregnant, const char *date,
                                cp_error *err) {
    if (strcmp(date, p->pregnancy_date) < 0)
        return CP_OK;
    snprintf(p->pregnancy_date, sizeof p->pregnancy_date, "%s", date);
    return set_item(p->patient, "pregnant", cJSON_CreateBool(pregnant), err);
}

/* ICD-10 Z33.1, Z34 and O09 to O48; SNOMED CT pregnant. */
static bool means_pregnant(const cJSON *concept) {
    static const char *const pregnant[] = {"77386006"};
    const char *icd = code_in(concept, ICD10);
    int chapter = icd && icd[0] == 'O' ? atoi(icd + 1) : 0;
    return has_code(concept, pregnant, 1) || (chapter >= 9 && chapter <= 48) ||
           (icd && (strncmp(icd, "Z33.1", 5) == 0 || strncmp(icd, "Z34", 3) == 0));
}

/* An Observation of pregnancy status or of the estimated date of delivery. */
static cp_status read_pregnancy(const cJSON *resource, const char *date, cp_fhir_patient *p,
                                cp_error *err) {
    static const char *const yes[] = {"77386006", "LA15173-0"};
    static const char *const no[] = {"60001007", "LA26683-5"};
    static const char *const due_codes[] = {"11778-8", "11779-6", "11780-4", "11781-2"};
    const char *code = code_in(cp_json_member(resource, "code"), LOINC);
    const cJSON *value = cp_json_member(resource, "valueCodeableConcept");
    char due[DATE_BYTES + 1];
    if (is_word(code, due_codes, CP_COUNT_OF(due_codes)) &&
        read_day(cp_fhir_text(resource, "valueDateTime"), due))
        return set_item(p->patient, "due_date", cJSON_CreateString(due), err);
    if (!code || strcmp(code, PREGNANCY_LOINC) != 0)
        return CP_OK;
    if (has_code(value, yes, CP_COUNT_OF(yes)))
        return note_pregnancy(p, true, date, err);
    return has_code(value, no, CP_COUNT_OF(no)) ? note_pregnancy(p, false, date, err) : CP_OK;
}

/* ---- Condition, AllergyIntolerance ------------------------------------------------------ */

/* No longer so, or never. */
static bool is_over(const cJSON *resource) {
    static const char *const clinical[] = {"inactive", "remission", "resolved"};
    static const char *const verification[] = {"refuted", "entered-in-error"};
    return has_code(cp_json_member(resource, "clinicalStatus"), clinical, CP_COUNT_OF(clinical)) ||
           has_code(cp_json_member(resource, "verificationStatus"), verification,
                    CP_COUNT_OF(verification));
}

cp_status cp_fhir_condition(const char *place, const cJSON *resource, cp_fhir_patient *p,
                            cp_error *err) {
    const cJSON *code = cp_json_member(resource, "code");
    const char *name = concept_text(code), *onset = cp_fhir_text(resource, "onsetDateTime");
    const char *recorded = cp_fhir_text(resource, "recordedDate");
    char since[DATE_BYTES + 1] = "", day[DATE_BYTES + 1];
    cJSON *entry;
    if (is_over(resource))
        return leave_out(p, CP_FHIR_CONDITIONS, err);
    if (!name)
        return missing(place, "code", err);
    snprintf(since, sizeof since, "%.10s",
             onset ? onset : ""); /* "2011", "2011-05", "2011-05-02" */
    cp_status status = add_entry(p, CP_FHIR_CONDITIONS, &entry, err);
    if (status == CP_OK)
        status = put(place, entry, "name", name, err);
    if (status == CP_OK)
        status = put(place, entry, "icd10", code_in(code, ICD10), err);
    if (status == CP_OK)
        status = put(place, entry, "since", since[0] ? since : NULL, err);
    if (status != CP_OK || !means_pregnant(code))
        return status;
    return note_pregnancy(p, true, read_day(recorded ? recorded : onset, day) ? day : "", err);
}

cp_status cp_fhir_allergy(const char *place, const cJSON *resource, cp_fhir_patient *p,
                          cp_error *err) {
    const cJSON *reaction = first(cp_json_member(resource, "reaction"));
    const char *substance = concept_text(cp_json_member(resource, "code"));
    const char *severity = cp_fhir_text(reaction, "severity");
    cJSON *entry;
    if (is_over(resource))
        return leave_out(p, CP_FHIR_ALLERGIES, err);
    if (!substance)
        substance = concept_text(cp_json_member(reaction, "substance"));
    if (!substance)
        return missing(place, "code", err);
    cp_status status = add_entry(p, CP_FHIR_ALLERGIES, &entry, err);
    if (status == CP_OK)
        status = put(place, entry, "substance", substance, err);
    if (status == CP_OK)
        status = put(place, entry, "reaction",
                     concept_text(first(cp_json_member(reaction, "manifestation"))), err);
    return status == CP_OK ? put(place, entry, "severity", severity, err) : status;
}

/* ---- MedicationStatement, MedicationRequest --------------------------------------------- */

cp_status cp_fhir_medication(const char *place, const cJSON *resource, const cJSON *medication,
                             cp_fhir_patient *p, cp_error *err) {
    static const char *const current[] = {"active", "intended", "on-hold", "unknown"};
    const char *state = cp_fhir_text(resource, "status");
    const char *name = concept_text(cp_json_member(resource, "medicationCodeableConcept"));
    const cJSON *dosage = first(cp_json_member(resource, "dosage"));
    const char *held = state && strcmp(state, "on-hold") == 0 ? "on hold" : NULL;
    cJSON *entry;
    if (!state)
        return missing(place, "status", err);
    if (!is_word(state, current, CP_COUNT_OF(current)))
        return leave_out(p, CP_FHIR_MEDICATIONS, err);
    if (!name)
        name = concept_text(cp_json_member(medication, "code"));
    if (!name)
        name = cp_fhir_text(cp_json_member(resource, "medicationReference"), "display");
    if (!name)
        return missing(place, "medication", err);
    if (!dosage)
        dosage = first(cp_json_member(resource, "dosageInstruction"));
    cp_status status = add_entry(p, CP_FHIR_MEDICATIONS, &entry, err);
    if (status == CP_OK)
        status = put(place, entry, "name", name, err);
    if (status == CP_OK)
        status = put(place, entry, "dose", held ? held : cp_fhir_text(dosage, "text"), err);
    if (status == CP_OK)
        status = put(place, entry, "reason",
                     concept_text(first(cp_json_member(resource, "reasonCode"))), err);
    return status;
}

/* ---- Observation, DiagnosticReport ------------------------------------------------------ */

/* 1e999 is a number to JSON, and none that anybody measured. */
static bool is_measured(const cJSON *number) {
    return cJSON_IsNumber(number) && isfinite(number->valuedouble);
}

/* The value of an Observation or a component of one; nothing where it has none. */
static void append_value(const cJSON *object, cp_strbuf *out) {
    const cJSON *quantity = cp_json_member(object, "valueQuantity");
    const cJSON *number = cp_json_member(quantity, "value");
    const char *comparator = cp_fhir_text(quantity, "comparator");
    const char *unit = cp_fhir_text(quantity, "unit"), *text = cp_fhir_text(object, "valueString");
    if (!text)
        text = concept_text(cp_json_member(object, "valueCodeableConcept"));
    if (!text)
        text = cp_fhir_text(object, "valueDateTime");
    if (is_measured(number))
        cp_strbuf_printf(out, "%s%.10g%s%s", comparator ? comparator : "", number->valuedouble,
                         unit ? " " : "", unit ? unit : "");
    else if (is_measured(cp_json_member(object, "valueInteger")))
        cp_strbuf_printf(out, "%.0f", cp_json_member(object, "valueInteger")->valuedouble);
    else if (cJSON_IsBool(cp_json_member(object, "valueBoolean")))
        cp_strbuf_puts(out, cJSON_IsTrue(cp_json_member(object, "valueBoolean")) ? "yes" : "no");
    else if (text)
        cp_strbuf_puts(out, text);
}

/* "10.4 g/dL", or "Systolic 148 mmHg, Diastolic 86 mmHg", and what it was judged to be. */
static void append_values(const cJSON *resource, cp_strbuf *out) {
    const cJSON *component;
    unsigned n = 0;
    append_value(resource, out);
    cJSON_ArrayForEach(component, cp_json_member(resource, "component")) {
        const char *name = concept_text(cp_json_member(component, "code"));
        if (!name || n++ == MAX_COMPONENTS)
            continue;
        cp_strbuf_puts(out, out->n > 0 ? ", " : "");
        cp_strbuf_puts(out, name);
        cp_strbuf_putc(out, ' ');
        append_value(component, out);
    }
    const char *judged = concept_text(first(cp_json_member(resource, "interpretation")));
    if (judged && out->n > 0)
        cp_strbuf_printf(out, " (%s)", judged);
}

static bool is_final(const cJSON *resource) {
    static const char *const states[] = {"final", "amended", "corrected", "preliminary"};
    return is_word(cp_fhir_text(resource, "status"), states, CP_COUNT_OF(states));
}

static cp_status put_observation(const char *place, const cJSON *resource, const char *date,
                                 cp_fhir_patient *p, cp_error *err) {
    const char *name = concept_text(cp_json_member(resource, "code"));
    cp_strbuf value;
    cJSON *entry;
    if (!name)
        return missing(place, "code", err);
    cp_strbuf_init(&value, CP_FHIR_MAX_TEXT + 1);
    append_values(resource, &value);
    cp_status status = value.failed == CP_ERR_LIMIT
                           ? cp_error_set(err, CP_ERR_LIMIT, "%s: its value has over %d bytes",
                                          place, CP_FHIR_MAX_TEXT)
                           : cp_strbuf_check(&value, place, err);
    if (status == CP_OK && value.n == 0)
        status = leave_out(p, CP_FHIR_OBSERVATIONS, err);
    else if (status == CP_OK)
        status = add_entry(p, CP_FHIR_OBSERVATIONS, &entry, err);
    if (status == CP_OK)
        status = put(place, entry, "name", name, err);
    if (status == CP_OK)
        status = put(place, entry, "value", cp_strbuf_text(&value), err);
    if (status == CP_OK)
        status = put(place, entry, "date", date, err);
    cp_strbuf_deinit(&value);
    return status;
}

static const char *const day_keys[] = {"effectiveDateTime", "effectivePeriod", "effectiveInstant",
                                       "issued"};

cp_status cp_fhir_observation(const char *place, const cJSON *resource, cp_fhir_patient *p,
                              cp_error *err) {
    char date[DATE_BYTES + 1];
    if (!is_final(resource) || !find_day(resource, day_keys, CP_COUNT_OF(day_keys), date))
        return leave_out(p, CP_FHIR_OBSERVATIONS, err);
    cp_status status = read_pregnancy(resource, date, p, err);
    return status == CP_OK ? put_observation(place, resource, date, p, err) : status;
}

/* A document that can be found and cited. */
cp_status cp_fhir_report(const char *place, const cJSON *resource, cp_fhir_patient *p,
                         cp_error *err) {
    const char *text = cp_fhir_text(resource, "conclusion"), *id = cp_fhir_text(resource, "id");
    const char *title = concept_text(cp_json_member(resource, "code"));
    char date[DATE_BYTES + 1];
    if (!text || !id || !title || !is_final(resource) ||
        !find_day(resource, day_keys, CP_COUNT_OF(day_keys), date))
        return CP_ERR_CANCELLED;
    cJSON *document = cJSON_CreateObject();
    if (!document || !cJSON_AddItemToArray(p->documents, document)) {
        cJSON_Delete(document);
        return cp_error_no_memory(err, "import");
    }
    cp_status status = put(place, document, "id", id, err);
    if (status == CP_OK)
        status = put(place, document, "mrn", p->mrn, err);
    if (status == CP_OK)
        status = put(place, document, "kind", "lab_report", err);
    if (status == CP_OK)
        status = put(place, document, "title", title, err);
    if (status == CP_OK)
        status = put(place, document, "date", date, err);
    return status == CP_OK ? put_limited(place, document, "text", text, MAX_REPORT, err) : status;
}
