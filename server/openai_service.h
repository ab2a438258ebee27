/* What the handlers of the OpenAI-compatible API share; included by server/openai_*.c only. */
#ifndef CP_SERVER_OPENAI_SERVICE_H
#define CP_SERVER_OPENAI_SERVICE_H

#include "server/openai_api.h"
#include "server/text_models.h"

#include <stdatomic.h>

struct cp_openai {
    const cp_settings *settings;
    cp_inference *inference;
    cp_audit *audit;       /* NULL: none */
    cp_embedder *embedder; /* NULL: no embedding model */
    int64_t created;       /* seconds since 1970 */
    atomic_bool draining, cancel_all;
    atomic_size_t n_unfinished;
    atomic_size_t n_embedding; /* of these: embeddings */
};

extern const cp_api_error cp_openai_late, cp_openai_broken;

/* False with an answer while no work is accepted. */
bool cp_openai_is_open(const cp_openai *openai, cp_http_request *request) CP_MUST_CHECK;
/* Counts a job and suspends its request; false, with nothing counted and 503 in the reply, when
 * draining began meanwhile. */
bool cp_openai_accept(cp_openai *openai, cp_http_request *request) CP_MUST_CHECK;
/* Hands the request back, answered, and uncounts the job. */
void cp_openai_finish(cp_openai *openai, cp_http_request *request);
/* 503 with the time to wait. */
cp_api_error cp_openai_queue_full(const cp_openai *openai);

/* Whether `asked` (NULL: any) names this model: its folder, the word of its setting, "default". */
bool cp_openai_names_model(const char *asked, const char *folder, const char *word);
void cp_openai_fail_unknown_model(cp_http_request *request);

/* Of the chat model: "Qwen3-0.6B int4", cut at cap. */
void cp_openai_fingerprint(const cp_openai *openai, char *out, size_t cap);
size_t cp_openai_context(const cp_openai *openai);

#endif
