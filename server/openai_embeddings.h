/* The body of POST /v1/embeddings, and its reply. Pure functions; the handler is in
 * openai_embed.c. */
#ifndef CP_SERVER_OPENAI_EMBEDDINGS_H
#define CP_SERVER_OPENAI_EMBEDDINGS_H

#include "llm/embedder.h"
#include "server/openai_request.h"

#define CP_OPENAI_MAX_INPUTS 64

typedef struct cp_openai_embeddings {
    const char *model; /* NULL: whichever is served */
    cp_embedding_input inputs[CP_OPENAI_MAX_INPUTS];
    size_t n_inputs;
    size_t dimensions; /* values of a vector that are wanted */
    bool base64;
    cp_openai_warnings warnings;
    /* Owned; what inputs point to. */
    cJSON *tree;
    int32_t *ids;
} cp_openai_embeddings;

/* Of the model: values of a vector, ids it knows, tokens of a text. */
typedef struct cp_embedding_limits {
    size_t width, n_ids, context;
} cp_embedding_limits;

/* False: `fault` says what to answer. The request is released with deinit in either case. */
bool cp_openai_embeddings_parse(cp_str body, const cp_embedding_limits *limits,
                                cp_openai_embeddings *out, cp_body_fault *fault) CP_MUST_CHECK;
void cp_openai_embeddings_deinit(cp_openai_embeddings *request);

/* The whole reply. `vectors` [n_inputs, width] are cut to the dimensions wanted and made length 1
 * again, in place. */
void cp_openai_embeddings_append(const cp_openai_embeddings *request, const char *model,
                                 float *vectors, size_t width, size_t n_tokens, cp_strbuf *out);

#endif
