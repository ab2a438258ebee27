/* One FHIR resource at a time: what of it is kept, in our words. For fhir_import.c.
 *
 * Functions append to the lists of the patient that the resource is about. CP_ERR_CANCELLED: it is
 * well-formed, and left out. Errors begin with `place` ("entry 3: Condition"). */
#ifndef CP_SERVER_FHIR_RESOURCES_H
#define CP_SERVER_FHIR_RESOURCES_H

#include "server/fhir_import.h"

cp_status cp_fhir_patient_read(const char *place, const cJSON *resource, cp_fhir_patient *out,
                               cp_error *err) CP_MUST_CHECK;
cp_status cp_fhir_condition(const char *place, const cJSON *resource, cp_fhir_patient *p,
                            cp_error *err) CP_MUST_CHECK;
/* MedicationStatement or MedicationRequest; `medication` is what its reference names, or NULL. */
cp_status cp_fhir_medication(const char *place, const cJSON *resource, const cJSON *medication,
                             cp_fhir_patient *p, cp_error *err) CP_MUST_CHECK;
cp_status cp_fhir_allergy(const char *place, const cJSON *resource, cp_fhir_patient *p,
                          cp_error *err) CP_MUST_CHECK;
cp_status cp_fhir_observation(const char *place, const cJSON *resource, cp_fhir_patient *p,
                              cp_error *err) CP_MUST_CHECK;
cp_status cp_fhir_report(const char *place, const cJSON *resource, cp_fhir_patient *p,
                         cp_error *err) CP_MUST_CHECK;

/* A member that is a string and not empty, else NULL. */
const char *cp_fhir_text(const cJSON *object, const char *key);

#endif
