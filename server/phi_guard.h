/* The one scrubber of the process: what leaves it other than an answer goes through here.
 *
 * Once started, every text field of the log does so by itself, but for those whose values are ours
 * (trace ids, codes, routes); a session id, and a request id that is no UUID, becomes a hash that
 * only this process makes. Who sends text elsewhere (traces, alerts) calls cp_phi_guard_append. It
 * knows the names and numbers of all patients of an embedded store, and of every patient whose
 * record was asked for since the start. Any thread; before the start everything becomes "[TEXT]".
 */
#ifndef CP_SERVER_PHI_GUARD_H
#define CP_SERVER_PHI_GUARD_H

#include "server/patient_store.h"

/* Reads the store's patients when it is embedded, and filters the log from now on. */
cp_status cp_phi_guard_start(cp_patient_store *store, cp_error *err) CP_MUST_CHECK;
/* After the last thread that might log; then the log is unfiltered again. */
void cp_phi_guard_stop(void);

/* Names and numbers of a patient; nothing before the start. */
void cp_phi_guard_learn(const cJSON *patient);
/* Appends the text, masked. */
void cp_phi_guard_append(cp_str text, cp_strbuf *out);

#endif
