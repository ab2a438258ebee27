/* Where patients come from: one interface, so far one store behind it (JSONL files).
 *
 * A store answers with a record that the caller owns; nothing is cached above it. An MRN is only
 * ever a string of the allow-listed pattern (cp_mrn_is_valid), checked before a store sees it.
 * Stores may be asked from several threads at once. */
#ifndef CP_SERVER_PATIENT_STORE_H
#define CP_SERVER_PATIENT_STORE_H

#include "base/error.h"

#include <cJSON.h>
#include <stdbool.h>
#include <stddef.h>

/* Everything known about one patient: the patient object, and arrays linked to it by MRN (never
 * NULL, perhaps empty), oldest first. */
typedef struct cp_patient_record {
    cJSON *patient;
    cJSON *encounters, *claims, *documents, *chat_logs;
} cp_patient_record;
void cp_patient_record_free(cp_patient_record *record);

typedef struct cp_patient_store cp_patient_store;
struct cp_patient_store {
    const char *kind; /* "jsonl" */
    /* A fresh copy of the record; CP_ERR_NOT_FOUND when there is no such patient (the sentence does
     * not repeat the MRN). */
    cp_status (*get)(cp_patient_store *store, const char *mrn, cp_patient_record **out,
                     cp_error *err);
    size_t (*count)(cp_patient_store *store);
    void (*close)(cp_patient_store *store);
};

/* Letters, digits, '.', '_' and '-', starting with a letter or digit, 1 to 32 of them. */
bool cp_mrn_is_valid(const char *mrn);

/* Reads DIR/patients.jsonl, encounters.jsonl, claims.jsonl, documents.jsonl and chat_logs.jsonl
 * into memory, indexed by MRN. A malformed line, a duplicate MRN or a line about an unknown patient
 * refuses the whole store and names file and line. */
cp_status cp_patient_store_open_jsonl(const char *dir, cp_patient_store **out,
                                      cp_error *err) CP_MUST_CHECK;

#endif
