/* The OpenAI-compatible API: chat and text completions, models, embeddings.
 *
 *     HTTP thread:    body checked -> model checked -> submitted (refused at once when full)
 *     engine thread:  callbacks: text becomes chunks, the end becomes the reply
 *
 * A stream's headers go out with its first text, or after a second of waiting, so that what is
 * wrong with a request is told by its status. A job is owned by its HTTP thread until it is
 * submitted, then by the callbacks; the last one frees it. Any thread may ask for the numbers. */
#ifndef CP_SERVER_OPENAI_API_H
#define CP_SERVER_OPENAI_API_H

#include "server/audit_log.h"
#include "server/http_server.h"
#include "server/inference.h"
#include "server/text_models.h"

typedef struct cp_openai cp_openai;

/* Opens the embedding and the reranking model, if there are any. Borrows all; the inference need
 * not be started yet. `audit` (NULL: none) records what the model writes before it leaves; of a
 * stream, before its end. */
cp_status cp_openai_create(const cp_settings *settings, cp_inference *inference, cp_audit *audit,
                           cp_openai **out, cp_error *err) CP_MUST_CHECK;
/* After the last request, and after the inference service, which may run its errands. NULL is
 * allowed. */
void cp_openai_free(cp_openai *openai);

/* For other errands in the engine's thread; NULL where there is none. */
cp_embedder *cp_openai_embedder(const cp_openai *openai);
cp_reranker *cp_openai_reranker(const cp_openai *openai);

/* Each answers or defers. */
void cp_openai_handle_chat(cp_openai *openai, cp_http_request *request);
void cp_openai_handle_completion(cp_openai *openai, cp_http_request *request);
void cp_openai_handle_embeddings(cp_openai *openai, cp_http_request *request);
void cp_openai_handle_models(cp_openai *openai, cp_http_request *request);
void cp_openai_handle_model(cp_openai *openai, cp_http_request *request); /* params[0] */

/* No new work; what was accepted goes on. */
void cp_openai_drain(cp_openai *openai);
/* Ends what is queued and running with 503. */
void cp_openai_cancel_all(cp_openai *openai);
/* Accepted and not answered yet. */
size_t cp_openai_n_unfinished(const cp_openai *openai);

#endif
