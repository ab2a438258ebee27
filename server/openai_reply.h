/* What the OpenAI-compatible API answers: whole objects, chunks of a stream, lists of models and
 * embeddings. Pure functions that append JSON; a chunk is one event, "data: {...}" and a blank
 * line.
 *
 * completion_tokens counts tokens that were drawn. Tokens that were appended without drawing (a
 * thought's close, what a schema forces) stand apart in carepath.appended_tokens. */
#ifndef CP_SERVER_OPENAI_REPLY_H
#define CP_SERVER_OPENAI_REPLY_H

#include "server/openai_logprobs.h"
#include "server/openai_request.h"

/* What all objects of one answer share. */
typedef struct cp_openai_answer {
    const char *trace_id; /* makes the id */
    int64_t created;      /* seconds since 1970 */
    const char *model, *fingerprint;
    const cp_openai_request *request;
    cp_openai_logprobs *logprobs; /* NULL: none were asked for */
} cp_openai_answer;

/* chat.completion or text_completion. */
void cp_openai_reply_append(const cp_openai_answer *answer, const cp_llm_result *result,
                            cp_strbuf *out);

/* The first chunk of a chat, with the role; nothing for a text completion. */
void cp_openai_chunk_begin(const cp_openai_answer *answer, cp_strbuf *out);
/* A piece of text with the log probabilities that have come with it. */
void cp_openai_chunk_text(const cp_openai_answer *answer, cp_text_part part, cp_str text,
                          cp_strbuf *out);
/* The last ones: the finish reason with timings, the usage where it was asked for, [DONE]. */
void cp_openai_chunk_end(const cp_openai_answer *answer, const cp_llm_result *result,
                         cp_strbuf *out);

typedef struct cp_openai_model {
    const char *id, *quant, *use; /* quant may be NULL; use: "chat", "embedding", "rerank" */
    size_t context;               /* tokens; 0: not known yet */
    int64_t created;
} cp_openai_model;
void cp_openai_model_append(const cp_openai_model *model, cp_strbuf *out);
void cp_openai_models_append(const cp_openai_model *models, size_t n, cp_strbuf *out);

#endif
