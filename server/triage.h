/* POST /triage: from the checked request to the answer, and the states of the service around it.
 *
 *     HTTP thread: check body -> record -> rules -> prompt -> queue (refused at once when full)
 *     worker:      model -> parse -> rules again -> reply
 *     reaper tick: drop what waits in the queue after its deadline or without its client
 *
 * A job is owned by whoever holds it, never by two: the HTTP thread, then the queue, then the
 * worker or the tick, which answers and frees it. The one deadline of a request counts from its
 * headers. Everything that is opened here (store, rules, backend) is immutable afterwards or used
 * by the worker only. */
#ifndef CP_SERVER_TRIAGE_H
#define CP_SERVER_TRIAGE_H

#include "server/backend.h"
#include "server/http_server.h"
#include "server/metrics.h"
#include "server/settings.h"

typedef struct cp_triage cp_triage;

typedef enum cp_triage_state {
    CP_TRIAGE_LOADING,
    CP_TRIAGE_READY,
    CP_TRIAGE_FAILED, /* the model could not be loaded; it was logged */
} cp_triage_state;

/* Opens patients, rules and the backend (not yet loaded). Borrows settings and metrics. */
cp_status cp_triage_create(const cp_settings *settings, cp_metrics *metrics, cp_triage **out,
                           cp_error *err) CP_MUST_CHECK;
/* Starts the worker, which first loads the model. */
cp_status cp_triage_start(cp_triage *triage, cp_error *err) CP_MUST_CHECK;
/* After the last request; waits for the worker. NULL is allowed. */
void cp_triage_free(cp_triage *triage);

cp_triage_state cp_triage_get_state(const cp_triage *triage);
const cp_backend *cp_triage_backend(const cp_triage *triage);
size_t cp_triage_n_patients(const cp_triage *triage);
size_t cp_triage_n_rules(const cp_triage *triage);
size_t cp_triage_n_queued(const cp_triage *triage);
size_t cp_triage_n_running(const cp_triage *triage);

/* Answers or defers. */
void cp_triage_handle(cp_triage *triage, cp_http_request *request);
/* Ten times a second. */
void cp_triage_tick(cp_triage *triage);

/* No new work; what was accepted goes on. */
void cp_triage_drain(cp_triage *triage);
bool cp_triage_is_draining(const cp_triage *triage);
/* Ends what is queued and running with 503. */
void cp_triage_cancel_all(cp_triage *triage);
/* Accepted and not answered yet. */
size_t cp_triage_n_unfinished(const cp_triage *triage);

#endif
