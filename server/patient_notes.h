/* What was noted when the patient talked to us earlier: in conversations with this server, and in
 * the record's chat logs.
 *
 * What counts as noted is what the safety rules find in the patient's own words: a rule's title, of
 * levels 1 to CP_CONVERSATION_LEAST_NOTE. Nothing that a model wrote and nothing that no rule
 * knows, so nothing is invented; and nothing of it is a diagnosis or confirmed. */
#ifndef CP_SERVER_PATIENT_NOTES_H
#define CP_SERVER_PATIENT_NOTES_H

#include "server/conversations.h"
#include "server/patient_store.h"

/* Where notes come from. A plain value; borrowed. */
typedef struct cp_memory {
    const cp_safety *safety;
    cp_conversations *conversations;
} cp_memory;

/* Each rule once, at its latest date. `past` (NULL: none) holds the conversations' notes; rules
 * that are in `shown` (NULL: none) are left out, because whoever reads the notes is told them
 * anyway. The record's chat logs are read newest first, some 16 KiB of them. */
cp_status cp_patient_notes_find(const cp_safety *safety, const cp_patient_record *record,
                                const cp_conversation *past, const cp_safety_finding *shown,
                                cp_patient_notes *out) CP_MUST_CHECK;

#endif
