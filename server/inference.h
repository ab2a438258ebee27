/* The model as a service: one thread owns the engine and runs all requests together; any thread
 * submits.
 *
 *     any thread:     submit: a place in the bounded queue, or CP_ERR_BUSY at once
 *     desk thread:    the prompt becomes tokens
 *     engine thread:  steps of all running requests (llm/scheduler.h); callbacks
 *
 * Callbacks come from the engine's thread (on_done perhaps from the desk's) and must return at
 * once. Behind it is a model folder or the mock; both answer through the same calls. */
#ifndef CP_SERVER_INFERENCE_H
#define CP_SERVER_INFERENCE_H

#include "llm/llm.h"
#include "llm/scheduler.h"
#include "server/model_pull.h"
#include "server/settings.h"

typedef struct cp_inference cp_inference;

typedef enum cp_inference_state {
    CP_INFERENCE_LOADING, /* or being fetched from the hub */
    CP_INFERENCE_READY,
    CP_INFERENCE_FAILED, /* the model could not be loaded; it was logged */
} cp_inference_state;

/* Finds the model (not yet loaded). One that is not there is fetched after the start if the
 * catalogue knows its name (server/model_pull.h); else a sentence says where it was looked for and
 * what to do. */
cp_status cp_inference_create(const cp_settings *settings, cp_inference **out,
                              cp_error *err) CP_MUST_CHECK;
/* Starts the threads; the engine's first loads the model. */
cp_status cp_inference_start(cp_inference *inference, cp_error *err) CP_MUST_CHECK;
/* After the last on_done. NULL is allowed. */
void cp_inference_free(cp_inference *inference);

cp_inference_state cp_inference_get_state(const cp_inference *inference);
const char *cp_inference_llm_mode(const cp_inference *inference); /* "mock", or the model's name */
const char *cp_inference_model(const cp_inference *inference);    /* the folder's last component */
bool cp_inference_is_mock(const cp_inference *inference);
/* The model's folder; NULL for the mock, and while it is not known yet. Before start. */
const char *cp_inference_dir(const cp_inference *inference);
/* Called with the folder of a model that was fetched, before it is loaded, from the engine's
 * thread. Set before start. */
void cp_inference_when_fetched(cp_inference *inference, void (*tell)(void *user, const char *dir),
                               void *user);
/* Whether the model was here when it was looked for. */
bool cp_inference_is_here(const cp_inference *inference);
/* The model is being fetched from the hub. */
bool cp_inference_is_fetching(const cp_inference *inference, cp_model_pull_progress *progress);
/* The model, once READY; NULL for the mock. Its tokenizer and configuration may be read by any
 * thread, nothing else of it. */
const cp_llm *cp_inference_llm(const cp_inference *inference);
/* cp_llm_default_sampling, once READY (the mock: zeros). */
cp_sampling cp_inference_default_sampling(const cp_inference *inference, cp_thinking thinking);

/* Ends a job: the result is borrowed during the call. CP_ERR_LIMIT: the prompt leaves no room;
 * CP_ERR_CANCELLED never comes (finish says it). */
typedef void cp_inference_done(void *user, cp_status status, const cp_llm_result *result,
                               const cp_error *err);

/* Takes a copy of *request; what it points to stays valid until on_done, which comes exactly once
 * if this returns CP_OK and never otherwise. request->user goes to all callbacks. CP_ERR_BUSY: no
 * place is free; cp_inference_retry_after_s says when to come again. Only once READY. */
cp_status cp_inference_submit(cp_inference *inference, const cp_llm_request *request,
                              cp_inference_done *on_done, cp_error *err) CP_MUST_CHECK;
/* From the measured speed, the queue and what runs: 1 to 600. */
int cp_inference_retry_after_s(const cp_inference *inference);

/* Work of another kind in the engine's thread, between steps (an embedding model, for one): called
 * again and again, each time for a piece of some 100 ms at most, until it returns false.
 * CP_ERR_BUSY as for submit. */
cp_status cp_inference_errand(cp_inference *inference, bool (*piece)(void *user), void *user,
                              cp_error *err) CP_MUST_CHECK;

/* Told of each result that is no error, before its on_done, from the same threads; set before
 * start.
 */
typedef void cp_inference_observer(void *user, const cp_llm_result *result);
void cp_inference_observe(cp_inference *inference, cp_inference_observer *observe, void *user);
/* What the mock answers under this schema (borrowed); a shortest document under others. Set before
 * start. */
void cp_inference_mock_answer(cp_inference *inference, const cp_schema *schema, const char *answer);

cp_scheduler_stats cp_inference_stats(const cp_inference *inference);
/* There is work, and no step has ended for a minute. */
bool cp_inference_is_stuck(const cp_inference *inference);
size_t cp_inference_n_queued(const cp_inference *inference);
size_t cp_inference_n_running(const cp_inference *inference);
/* Refused since the start because no place was free. */
size_t cp_inference_n_rejected(const cp_inference *inference);
/* Accepted and not done yet. */
size_t cp_inference_n_unfinished(const cp_inference *inference);

#endif
