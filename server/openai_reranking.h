/* The body of POST /v1/rerank, and its reply: the form that Cohere's, Jina's and llama.cpp's
 * servers share. Pure functions; the handler is in openai_rerank.c. */
#ifndef CP_SERVER_OPENAI_RERANKING_H
#define CP_SERVER_OPENAI_RERANKING_H

#include "server/openai_request.h"

#define CP_OPENAI_MAX_DOCUMENTS 256

typedef struct cp_openai_reranking {
    const char *model;       /* NULL: whichever is served */
    const char *instruction; /* NULL: the model's usual one */
    const char *query;
    cp_str docs[CP_OPENAI_MAX_DOCUMENTS];
    size_t n_docs;
    size_t top_n;   /* results that are wanted, at most n_docs */
    bool with_docs; /* the documents' texts in the results */
    cp_openai_warnings warnings;
    cJSON *tree; /* owned; what the texts point to */
} cp_openai_reranking;

/* False: `fault` says what to answer. The request is released with deinit in either case. */
bool cp_openai_reranking_parse(cp_str body, cp_openai_reranking *out,
                               cp_body_fault *fault) CP_MUST_CHECK;
void cp_openai_reranking_deinit(cp_openai_reranking *request);

/* The whole reply: the best top_n of scores [n_docs], best first, ties in the request's order. */
void cp_openai_reranking_append(const cp_openai_reranking *request, const char *model,
                                const float *scores, size_t n_tokens, cp_strbuf *out);

#endif
