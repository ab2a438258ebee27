/* A FHIR R4 Bundle becomes changes to patients (docs/stores.md has the mapping).
 *
 * Read are Patient, Condition, MedicationStatement, MedicationRequest (with Medication),
 * AllergyIntolerance, Observation, and the conclusion of a DiagnosticReport; other resources are
 * counted. A Bundle is a snapshot: of what it has about a patient, each kind takes the place of the
 * stored list of that kind, and kinds that it lacks stay. What is entered in error, refuted or no
 * longer so is left out and counted. A Bundle that contradicts itself is refused whole; sentences
 * name the entry's number and the field, never a value. Pure; any thread. */
#ifndef CP_SERVER_FHIR_IMPORT_H
#define CP_SERVER_FHIR_IMPORT_H

#include "server/patient_record.h"

#define CP_FHIR_MAX_ENTRIES  10000
#define CP_FHIR_MAX_PATIENTS 200
#define CP_FHIR_MAX_TEXT     500 /* bytes of a name, dose, value, ... */

enum { CP_FHIR_CONDITIONS, CP_FHIR_MEDICATIONS, CP_FHIR_ALLERGIES, CP_FHIR_OBSERVATIONS };
#define CP_FHIR_N_LISTS 4
const char *cp_fhir_list_name(unsigned list); /* "conditions" */

typedef struct cp_fhir_patient {
    char mrn[CP_MRN_CAP];
    cJSON *patient;                /* with the lists that the Bundle has, once read */
    cJSON *lists[CP_FHIR_N_LISTS]; /* borrowed from `patient`; NULL where the Bundle has none */
    cJSON *documents;
    const char *full_url, *id; /* of the Patient; NULL where absent; used while reading */
    char pregnancy_date[11];   /* of the newest word on it; likewise */
} cp_fhir_patient;

typedef struct cp_fhir_import {
    cp_fhir_patient *patients;
    size_t n, cap;
    size_t n_left_out; /* entered in error, refuted, over, or without a date */
    size_t n_other;    /* resources of other types */
} cp_fhir_import;

/* *out is initialised here, and released by the caller also after failure. CP_ERR_FORMAT: no such
 * Bundle; CP_ERR_LIMIT: too much of something. */
cp_status cp_fhir_read(const cJSON *bundle, cp_fhir_import *out, cp_error *err) CP_MUST_CHECK;
void cp_fhir_import_deinit(cp_fhir_import *import);

#endif
