#include "server/fhir_import.h"

#include "base/json.h"
#include "base/mem.h"
#include "server/fhir_resources.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLACE_CAP 96

typedef struct reading {
    const cJSON *entries;
    cp_fhir_import *out;
    char place[PLACE_CAP]; /* "entry 3: Condition" */
} reading;

/* ---- references ------------------------------------------------------------------------- */

/* "urn:uuid:..." or a URL as the target's fullUrl; or TYPE/ID, alone or at a URL's end. */
static bool refers_to(const char *reference, const char *full_url, const char *type,
                      const char *id) {
    if (full_url && strcmp(reference, full_url) == 0)
        return true;
    size_t n = strlen(reference), n_type = strlen(type), n_id = id ? strlen(id) : 0;
    if (!id || n < n_type + 1 + n_id || strcmp(reference + n - n_id, id) != 0)
        return false;
    const char *at = reference + n - n_id - 1 - n_type;
    return at[n_type] == '/' && strncmp(at, type, n_type) == 0 &&
           (at == reference || (at[-1] == '/' && !full_url));
}

static cp_fhir_patient *find_subject(const reading *r, const cJSON *resource) {
    const cJSON *subject = cp_json_member(resource, "subject");
    const char *reference =
        cp_fhir_text(subject ? subject : cp_json_member(resource, "patient"), "reference");
    for (size_t i = 0; reference && i < r->out->n; i++) {
        cp_fhir_patient *p = &r->out->patients[i];
        if (refers_to(reference, p->full_url, "Patient", p->id))
            return p;
    }
    return NULL;
}

static bool is_type(const cJSON *resource, const char *type) {
    const char *found = cp_fhir_text(resource, "resourceType");
    return found && strcmp(found, type) == 0;
}

/* The Medication that a statement refers to: contained, or an entry of the Bundle. */
static const cJSON *find_medication(const reading *r, const cJSON *resource) {
    const char *reference =
        cp_fhir_text(cp_json_member(resource, "medicationReference"), "reference");
    const cJSON *item;
    if (!reference)
        return NULL;
    cJSON_ArrayForEach(item, cp_json_member(resource, "contained")) {
        const char *id = cp_fhir_text(item, "id");
        if (reference[0] == '#' && id && strcmp(reference + 1, id) == 0)
            return item;
    }
    cJSON_ArrayForEach(item, r->entries) {
        const cJSON *candidate = cp_json_member(item, "resource");
        if (is_type(candidate, "Medication") &&
            refers_to(reference, cp_fhir_text(item, "fullUrl"), "Medication",
                      cp_fhir_text(candidate, "id")))
            return candidate;
    }
    return NULL;
}

/* ---- entries ---------------------------------------------------------------------------- */

static cp_status add_patient(reading *r, const cJSON *entry, const cJSON *resource, cp_error *err) {
    cp_fhir_import *out = r->out;
    if (out->n == CP_FHIR_MAX_PATIENTS)
        return cp_error_set(err, CP_ERR_LIMIT, "the Bundle has over %d patients",
                            CP_FHIR_MAX_PATIENTS);
    if (!cp_grow((void **)&out->patients, &out->cap, out->n + 1, sizeof *out->patients))
        return cp_error_no_memory(err, "import");
    cp_fhir_patient *p = &out->patients[out->n++];
    *p = (cp_fhir_patient){.full_url = cp_fhir_text(entry, "fullUrl")};
    cp_status status = cp_fhir_patient_read(r->place, resource, p, err);
    for (size_t i = 0; i + 1 < out->n && status == CP_OK; i++)
        if (strcmp(out->patients[i].mrn, p->mrn) == 0)
            status = cp_error_set(err, CP_ERR_FORMAT,
                                  "%s: another Patient of the Bundle has the same record number",
                                  r->place);
    return status;
}

static cp_status read_patient(reading *r, const cJSON *entry, const cJSON *resource,
                              cp_error *err) {
    return is_type(resource, "Patient") ? add_patient(r, entry, resource, err) : CP_OK;
}

typedef cp_status resource_reader(const char *place, const cJSON *resource, cp_fhir_patient *p,
                                  cp_error *err);

static const struct {
    const char *type;
    resource_reader *read; /* NULL: a medication */
} readers[] = {
    {"Condition", cp_fhir_condition},     {"AllergyIntolerance", cp_fhir_allergy},
    {"Observation", cp_fhir_observation}, {"DiagnosticReport", cp_fhir_report},
    {"MedicationStatement", NULL},        {"MedicationRequest", NULL},
};

static cp_status read_other(reading *r, const cJSON *entry, const cJSON *resource, cp_error *err) {
    (void)entry;
    if (is_type(resource, "Patient"))
        return CP_OK;
    size_t kind = 0;
    while (kind < CP_COUNT_OF(readers) && !is_type(resource, readers[kind].type))
        kind++;
    if (kind == CP_COUNT_OF(readers)) {
        r->out->n_other++;
        return CP_OK;
    }
    cp_fhir_patient *p = find_subject(r, resource);
    if (!p)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: it refers to no Patient of the Bundle",
                            r->place);
    cp_status status =
        readers[kind].read
            ? readers[kind].read(r->place, resource, p, err)
            : cp_fhir_medication(r->place, resource, find_medication(r, resource), p, err);
    r->out->n_left_out += status == CP_ERR_CANCELLED;
    return status == CP_ERR_CANCELLED ? CP_OK : status;
}

/* A modifier extension can turn a resource into its opposite, and must not be passed over. */
static cp_status check_entry(reading *r, size_t number, const cJSON *resource, cp_error *err) {
    static const char *const known[] = {
        "Patient",    "Condition",           "AllergyIntolerance", "Observation",
        "Medication", "MedicationStatement", "MedicationRequest",  "DiagnosticReport"};
    const char *type = "resource"; /* only names that are ours go into a sentence */
    for (size_t i = 0; i < CP_COUNT_OF(known); i++)
        if (is_type(resource, known[i]))
            type = known[i];
    snprintf(r->place, sizeof r->place, "entry %zu: %s", number, type);
    if (!cJSON_IsObject(resource) || !cp_fhir_text(resource, "resourceType"))
        return cp_error_set(err, CP_ERR_FORMAT, "entry %zu: its resource has no resourceType",
                            number);
    if (cp_json_member(resource, "modifierExtension"))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: its modifierExtension is not understood",
                            r->place);
    return CP_OK;
}

typedef cp_status entry_reader(reading *r, const cJSON *entry, const cJSON *resource,
                               cp_error *err);

static cp_status each_entry(reading *r, entry_reader *read, cp_error *err) {
    size_t number = 0;
    const cJSON *entry;
    cp_status status = CP_OK;
    cJSON_ArrayForEach(entry, r->entries) {
        const cJSON *resource = cp_json_member(entry, "resource");
        if (++number > CP_FHIR_MAX_ENTRIES)
            return cp_error_set(err, CP_ERR_LIMIT, "the Bundle has over %d entries",
                                CP_FHIR_MAX_ENTRIES);
        if (!resource) /* the request to delete something, say */
            continue;
        status = check_entry(r, number, resource, err);
        if (status == CP_OK)
            status = read(r, entry, resource, err);
        if (status != CP_OK)
            break;
    }
    return status;
}

static cp_status sort_lists(cp_fhir_import *out, cp_error *err) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < out->n && status == CP_OK; i++) {
        cp_fhir_patient *p = &out->patients[i];
        if (p->lists[CP_FHIR_OBSERVATIONS])
            status = cp_record_sort(p->lists[CP_FHIR_OBSERVATIONS], err);
        p->full_url = p->id = NULL; /* they point into the Bundle */
    }
    return status;
}

cp_status cp_fhir_read(const cJSON *bundle, cp_fhir_import *out, cp_error *err) {
    *out = (cp_fhir_import){.n = 0};
    reading r = {.entries = cp_json_member(bundle, "entry"), .out = out};
    if (!is_type(bundle, "Bundle"))
        return cp_error_set(err, CP_ERR_FORMAT, "the body's resourceType is not Bundle");
    if (r.entries && !cJSON_IsArray(r.entries))
        return cp_error_set(err, CP_ERR_FORMAT, "the Bundle's entry is not an array");
    cp_status status = each_entry(&r, read_patient, err);
    if (status == CP_OK && out->n == 0)
        status = cp_error_set(err, CP_ERR_FORMAT, "the Bundle has no Patient");
    if (status == CP_OK)
        status = each_entry(&r, read_other, err);
    return status == CP_OK ? sort_lists(out, err) : status;
}

void cp_fhir_import_deinit(cp_fhir_import *import) {
    for (size_t i = 0; i < import->n; i++) {
        cJSON_Delete(import->patients[i].patient);
        cJSON_Delete(import->patients[i].documents);
    }
    free(import->patients);
    *import = (cp_fhir_import){.n = 0};
}
