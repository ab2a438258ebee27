/* One Pinecone index as a server that is asked: what pinecone.c stands on. Not for others. */
#ifndef CP_RETRIEVAL_PINECONE_LINK_H
#define CP_RETRIEVAL_PINECONE_LINK_H

#include "base/http_pool.h"
#include "base/json.h"
#include "retrieval/pinecone.h"

struct cp_pinecone {
    cp_http_url url;
    char *prefix; /* the URL without a slash at its end */
    char *key, *namespace_;
    char model[CP_PINECONE_MODEL_CAP];
    size_t width;
    cp_http_pool *pool;
};

/* "name=value" behind what stands in a URL's query. */
void cp_pinecone_add_parameter(cp_strbuf *query, const char *name, const char *value);

/* A request; `body` NULL: a GET. *tree is the answer's object; NULL with CP_OK where there is no
 * such namespace. */
cp_status cp_pinecone_ask(cp_pinecone *p, const char *path, const cp_strbuf *query,
                          const cp_strbuf *body, cJSON **tree, cp_error *err) CP_MUST_CHECK;

/* The sentences for an answer's status, and for what is wrong with its body. */
cp_status cp_pinecone_refused(const cp_pinecone *p, int status, cp_error *err);
cp_status cp_pinecone_bad(const cp_pinecone *p, const char *what, cp_error *err);

#endif
