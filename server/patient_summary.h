/* The patient's record as a short text for the prompt: demographics, problems, medicines,
 * allergies, observations, what was noted in earlier conversations, recent encounters and
 * documents, in a fixed order, so that the same record always gives the same bytes. */
#ifndef CP_SERVER_PATIENT_SUMMARY_H
#define CP_SERVER_PATIENT_SUMMARY_H

#include "base/clock.h"
#include "base/strbuf.h"
#include "server/patient_store.h"

/* What the rules need to know about a patient. Unknown is said, not guessed. */
typedef struct cp_patient_facts {
    int age_years;  /* at the reference date; -1 unknown */
    int age_months; /* completed months beyond the years, 0 to 11: what matters in an infant */
    enum { CP_SEX_UNKNOWN, CP_SEX_FEMALE, CP_SEX_MALE } sex;
    bool pregnant; /* the record says so */
    /* The record's lists as they are, borrowed from it; NULL where there is none. Entries have
     * "name" (allergies: "substance"), or nothing that is used. */
    const cJSON *conditions, *medications, *allergies;
} cp_patient_facts;

/* `today` is "YYYY-MM-DD": ages are computed for that day. */
cp_patient_facts cp_patient_facts_of(const cp_patient_record *record, const char *today);

/* What was noted when the patient talked to us earlier and nobody has confirmed (patient_notes.h).
 */
#define CP_PATIENT_MAX_NOTES 8
typedef struct cp_patient_note {
    const char *id, *title; /* of the rule that noted it; borrowed */
    char date[CP_CLOCK_DATE_CAP];
} cp_patient_note;

typedef struct cp_patient_notes {
    cp_patient_note items[CP_PATIENT_MAX_NOTES]; /* newest first */
    size_t n, n_left_out;
} cp_patient_notes;

/* Appends at most max_bytes of summary; long lists are cut at whole entries and say how many are
 * left out. `notes` may be NULL. */
void cp_patient_summary_append(const cp_patient_record *record, const cp_patient_notes *notes,
                               const char *today, size_t max_bytes, cp_strbuf *out);

#endif
