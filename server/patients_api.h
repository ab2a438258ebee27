/* The endpoints about patients: reading a record, whole or in parts, and importing FHIR.
 *
 *     GET  /patients/{mrn}             the record, as a db-api gives it (docs/stores.md)
 *     GET  /patients/{mrn}/summary     what the model is told, and what of it can be counted
 *     GET  /patients/{mrn}/encounters
 *     GET  /patients/{mrn}/documents
 *     GET  /patients/{mrn}/documents/{id}   one that an answer cites (patient_document.h)
 *     POST /patients/$import           a FHIR R4 Bundle
 *
 * Handlers are called in the HTTP thread and answer there or defer. Each is over within
 * STORE_TIMEOUT_MS for each patient once it runs; cp_patients_stop and then cp_audit_settle end
 * them all.
 *
 * With an audit log nothing of a record leaves, and nothing is imported, before the log has on the
 * disk which key asked for which patient. Where that fails the answer is 503. */
#ifndef CP_SERVER_PATIENTS_API_H
#define CP_SERVER_PATIENTS_API_H

#include "retrieval/knowledge.h"
#include "server/audit_log.h"
#include "server/http_server.h"
#include "server/patient_notes.h"
#include "server/patients.h"

#include <stdatomic.h>

#define CP_IMPORT_MAX_BYTES ((size_t)8 << 20)

typedef struct cp_patients_api {
    cp_patients *patients;
    cp_audit *audit;               /* NULL: none */
    cp_memory memory;              /* what summaries tell of earlier conversations */
    const cp_knowledge *knowledge; /* documents that are nobody's */
    const atomic_bool *draining;   /* then nothing new is accepted */
    atomic_size_t *n_unfinished;   /* accepted and not answered yet */
} cp_patients_api;

void cp_patients_handle_record(const cp_patients_api *api, cp_http_request *request);
/* With what was noted in earlier conversations of the key that asks. */
void cp_patients_handle_summary(const cp_patients_api *api, cp_http_request *request);
void cp_patients_handle_encounters(const cp_patients_api *api, cp_http_request *request);
void cp_patients_handle_documents(const cp_patients_api *api, cp_http_request *request);
/* One document, with the span that the query asks for. */
void cp_patients_handle_document(const cp_patients_api *api, cp_http_request *request);
void cp_patients_handle_import(const cp_patients_api *api, cp_http_request *request);

/* What a lookup's status means to a client; `param` names the field that had the MRN. */
cp_api_error cp_patients_error(cp_status status, const char *param);

#endif
