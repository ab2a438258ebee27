/* The bodies of POST /v1/chat/completions and /v1/completions, checked as a whole and turned into a
 * cp_llm_request.
 *
 * Known fields have a type and a range. What we do not do (tools, several choices, images) is
 * refused by name with 400; fields that are about something else (user, metadata) are ignored; a
 * field that is not known is ignored with a warning, which the reply repeats. Sentences never
 * repeat values; only a JSON schema's keywords and places are named. Pure functions: no model is
 * needed. */
#ifndef CP_SERVER_OPENAI_REQUEST_H
#define CP_SERVER_OPENAI_REQUEST_H

#include "llm/llm.h"
#include "server/body_reader.h"
#include "server/openai_warnings.h"

#define CP_OPENAI_MAX_MESSAGES   256
#define CP_OPENAI_MAX_STOP_BYTES 256
#define CP_OPENAI_NO_DEADLINE    (-1)

typedef enum cp_openai_kind { CP_OPENAI_CHAT, CP_OPENAI_TEXT } cp_openai_kind;

typedef struct cp_openai_request {
    cp_openai_kind kind;
    const char *model;   /* NULL: whichever is served */
    cp_llm_request llm;  /* without callbacks and deadline; its sampling is not set */
    cp_sampling wishes;  /* where given[] says so */
    unsigned given;      /* bits CP_OPENAI_HAS_... */
    int64_t deadline_ms; /* CP_OPENAI_NO_DEADLINE: none */
    bool stream, include_usage, logprobs;
    const char *budget_field; /* the name under which the thinking budget came, or NULL */
    cp_openai_warnings warnings;
    /* Owned; what llm points to. */
    cJSON *tree;
    cp_chat_message *messages;
    char **joined; /* [n_messages]: contents that came in parts; NULL where borrowed */
    cp_schema *schema;
    char *schema_text; /* "" for any JSON object; NULL without a schema */
} cp_openai_request;

/* False: `fault` says what to answer. The request is released with deinit in either case. It must
 * not be moved after parsing (llm points into it). */
bool cp_openai_request_parse(cp_str body, cp_openai_kind kind, int64_t max_new_tokens,
                             cp_openai_request *out, cp_body_fault *fault) CP_MUST_CHECK;
void cp_openai_request_deinit(cp_openai_request *request);

/* `defaults` with the request's wishes over them. */
cp_sampling cp_openai_request_sampling(const cp_openai_request *request, cp_sampling defaults);
bool cp_openai_request_has_seed(const cp_openai_request *request);

#endif
