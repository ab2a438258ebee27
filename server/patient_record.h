/* One patient's record as a value: read from JSON that somebody else wrote, checked, changed,
 * written.
 *
 * What every store hands out has passed the same checks, wherever it came from: the patient and
 * each row carry the MRN that was asked for, rows have a date and are sorted by it, documents have
 * what a citation needs. Errors name places ("documents 3: date"), never values. */
#ifndef CP_SERVER_PATIENT_RECORD_H
#define CP_SERVER_PATIENT_RECORD_H

#include "base/strbuf.h"

#include <cJSON.h>

/* Longest record as JSON text. */
#define CP_RECORD_MAX_BYTES ((size_t)8 << 20)
/* Letters, digits, '_' and '-', starting with a letter or digit, 1 to 32 of them: no dot, dollar
 * sign, blank or NUL, whatever a database might see in them. */
bool cp_mrn_is_valid(const char *mrn);
#define CP_MRN_CAP  33
#define CP_MRN_RULE "1 to 32 letters, digits, '_' or '-', starting with a letter or digit"

/* Everything known about one patient: the patient object, and arrays linked to it by MRN (never
 * NULL from a store, perhaps empty), oldest first. */
typedef struct cp_patient_record {
    cJSON *patient;
    cJSON *encounters, *claims, *documents, *chat_logs;
} cp_patient_record;
void cp_patient_record_free(cp_patient_record *record);

/* The arrays, in the order of the struct. */
enum { CP_LIST_ENCOUNTERS, CP_LIST_CLAIMS, CP_LIST_DOCUMENTS, CP_LIST_CHAT_LOGS, CP_N_LISTS };
const char *cp_record_list_name(unsigned list); /* "encounters" */
cJSON **cp_record_list(cp_patient_record *record, unsigned list);

/* The patient of `mrn` with nothing else known; NULL without memory. */
cp_patient_record *cp_patient_record_create(const char *mrn) CP_MUST_CHECK;
/* {"patient": {...}, "encounters": [...], ...}; a list that is absent is empty, other members are
 * passed over. `source` names the text in errors. */
cp_status cp_patient_record_parse(const char *source, cp_str text, const char *mrn,
                                  cp_patient_record **out, cp_error *err) CP_MUST_CHECK;
/* The same object, for reading by the above. */
cp_status cp_patient_record_append(const cp_patient_record *record, cp_strbuf *out,
                                   cp_error *err) CP_MUST_CHECK;
/* Any tree as text without blanks. CP_ERR_NO_MEMORY. */
cp_status cp_record_append_tree(const cJSON *tree, cp_strbuf *out, cp_error *err) CP_MUST_CHECK;

/* The parts of that check, for stores that get patient and rows apart. */
cp_status cp_record_check_patient(const char *source, const cJSON *patient, const char *mrn,
                                  cp_error *err) CP_MUST_CHECK;
/* `mrn` may be NULL: any valid one will do. A time behind the date is cut off. */
cp_status cp_record_check_row(const char *source, unsigned list, cJSON *row, const char *mrn,
                              cp_error *err) CP_MUST_CHECK;
/* Oldest first; rows of one day stay in their order. */
cp_status cp_record_sort(cJSON *list, cp_error *err) CP_MUST_CHECK;

/* What an import says about one patient. Members of `patient` take the place of the stored ones,
 * others stay; a patient that is not there is made. A document takes the place of the one with its
 * id. All is borrowed. */
typedef struct cp_patient_change {
    const char *mrn;
    const cJSON *patient;   /* an object with "mrn" */
    const cJSON *documents; /* an array, or NULL */
} cp_patient_change;
cp_status cp_patient_change_check(const cp_patient_change *change, cp_error *err) CP_MUST_CHECK;
/* On failure the record is changed in part and should be dropped. */
cp_status cp_patient_record_apply(cp_patient_record *record, const cp_patient_change *change,
                                  cp_error *err) CP_MUST_CHECK;
/* {"patient": {...}, "documents": [...]} */
cp_status cp_patient_change_append(const cp_patient_change *change, cp_strbuf *out,
                                   cp_error *err) CP_MUST_CHECK;

#endif
