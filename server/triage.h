/* POST /triage: from the checked request to the answer, and the parts behind it.
 *
 *     HTTP thread:    check body -> look up the record
 *     then (in a thread of the store's where it is remote): rules -> sources (grounding.h)
 *     then, there or in the engine's: prompt -> submit
 *     engine thread:  the model's words as they come (to a stream), then parse -> rules again,
 *                     citations checked -> reply
 *
 * The rules always answer. Where the model does not (loading, all places taken, late, broken, cut
 * off, shutting down) the reply is theirs alone, with status 200 and degraded: true. Where the
 * record cannot be had it is a 503 with what they find in the question. With a session_id the
 * earlier turns of its conversation count, and this one is kept once it is answered; its warnings
 * are kept as soon as the rules have found them. A job belongs to the HTTP
 * thread until the record is asked for, then to whoever has it, then to the engine's thread, which
 * answers and frees it. The one deadline of a request counts from its headers. */
#ifndef CP_SERVER_TRIAGE_H
#define CP_SERVER_TRIAGE_H

#include "server/audit_log.h"
#include "server/grounding.h"
#include "server/http_server.h"
#include "server/inference.h"
#include "server/metrics.h"
#include "server/patient_notes.h"
#include "server/patients.h"
#include "server/settings.h"

typedef struct cp_triage cp_triage;

/* All borrowed; the inference is not started yet. */
typedef struct cp_triage_parts {
    const cp_settings *settings;
    cp_metrics *metrics;
    cp_inference *inference;
    cp_patients *patients;
    cp_grounding *grounding;
    cp_audit *audit; /* NULL: no log */
} cp_triage_parts;
/* Opens the rules. */
cp_status cp_triage_create(const cp_triage_parts *parts, cp_triage **out,
                           cp_error *err) CP_MUST_CHECK;
/* After the last request. NULL is allowed. */
void cp_triage_free(cp_triage *triage);

size_t cp_triage_n_rules(const cp_triage *triage);
/* Who has signed the rules; NULL: nobody has. */
const char *cp_triage_rules_reviewed_by(const cp_triage *triage);
/* Rules and conversations, for what is noted on a patient. Valid as long as the triage. */
cp_memory cp_triage_memory(const cp_triage *triage);
/* Ten times a second, always from the same thread: ends conversations that have expired. */
void cp_triage_tick(cp_triage *triage);

/* Answers or defers. */
void cp_triage_handle(cp_triage *triage, cp_http_request *request);

/* No new work; what was accepted goes on. */
void cp_triage_drain(cp_triage *triage);
/* What is under way ends with what the rules say. */
void cp_triage_cancel_all(cp_triage *triage);
/* Accepted and not answered yet. */
size_t cp_triage_n_unfinished(const cp_triage *triage);

#endif
