/* What is done with a question before a model sees it: facts of the record, rules, prompt.
 *
 * One function for the server and for `carepath eval`, so that what is scored is what answers. Pure
 * but for memory; any thread. */
#ifndef CP_SERVER_TRIAGE_LANE_H
#define CP_SERVER_TRIAGE_LANE_H

#include "server/patient_store.h"
#include "server/safety.h"

/* Longest summary of a record that a model is told. */
#define CP_TRIAGE_SUMMARY_BYTES 6000

/* Checks `query` against the rules with what `record` says on the day `today` ("YYYY-MM-DD"), and
 * appends the model's user message to `prompt` unless that is NULL. Without a record (NULL) there
 * is no prompt either. CP_ERR_NO_MEMORY, or what the
 * prompt failed with; the finding is complete in any case. */
cp_status cp_triage_prepare(const cp_safety *safety, const cp_patient_record *record,
                            const char *query, const char *today, cp_safety_finding *finding,
                            cp_strbuf *prompt) CP_MUST_CHECK;

#endif
