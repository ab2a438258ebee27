/* Pinecone's data plane: one index, one namespace, over HTTPS (http:// on loopback only).
 *
 * API version CP_PINECONE_API. Operations of a serverless index: upsert, query, fetch, list,
 * delete, namespaces, describe_index_stats; retried as base/http_pool.h says (429 with Retry-After,
 * 5xx, broken connections), since each may be sent twice. What comes back is checked (form, number,
 * sizes, ranges) before anybody sees it. Metadata has no text: whose, which document, where. Errors
 * name the server and the status, never an id, an MRN, the key or what the server said. Any thread;
 * every call waits for the network. */
#ifndef CP_RETRIEVAL_PINECONE_H
#define CP_RETRIEVAL_PINECONE_H

#include "retrieval/vector_store.h"

#define CP_PINECONE_API        "2025-10"
#define CP_PINECONE_ID_CAP     128               /* with its NUL; Pinecone allows 512 */
#define CP_PINECONE_BATCH      100               /* vectors of an upsert, ids of a page */
#define CP_PINECONE_BODY_BYTES ((size_t)2 << 20) /* of a request, less than */
#define CP_PINECONE_MAX_TOP_K  10000

typedef struct cp_pinecone cp_pinecone;
/* Asks nothing yet. */
cp_status cp_pinecone_open(const cp_pinecone_config *config, cp_pinecone **out,
                           cp_error *err) CP_MUST_CHECK;
void cp_pinecone_close(cp_pinecone *pinecone); /* NULL is allowed */
const char *cp_pinecone_origin(const cp_pinecone *pinecone);

typedef struct cp_pinecone_meta {
    char mrn[64], doc[CP_DOC_ID_BYTES + 1], model[CP_PINECONE_MODEL_CAP];
    cp_entry_kind kind;
    cp_content_hash hash;
    uint32_t chunk, n_chunks, begin, n;
} cp_pinecone_meta;

typedef struct cp_pinecone_vector {
    char id[CP_PINECONE_ID_CAP];
    cp_vector vector; /* [config.width] */
    cp_pinecone_meta meta;
} cp_pinecone_vector;

/* In as many requests as it takes; kept once it returns CP_OK. */
cp_status cp_pinecone_upsert(cp_pinecone *pinecone, const cp_pinecone_vector *vectors, size_t n,
                             cp_error *err) CP_MUST_CHECK;

typedef struct cp_pinecone_match {
    char id[CP_PINECONE_ID_CAP];
    float score;
    cp_pinecone_meta meta;
} cp_pinecone_match;
/* The nearest k that the filter and the model allow, as the server says: the caller filters again.
 * `out` holds k. */
cp_status cp_pinecone_query(cp_pinecone *pinecone, const cp_entry_filter *filter, cp_vector query,
                            size_t k, cp_pinecone_match *out, size_t *n,
                            cp_error *err) CP_MUST_CHECK;

/* Metadata by id, in the order of the ids; those that are not there are left out. */
cp_status cp_pinecone_fetch(cp_pinecone *pinecone, const char *const *ids, size_t n,
                            void (*visit)(void *user, const char *id, const cp_pinecone_meta *meta),
                            void *user, cp_error *err) CP_MUST_CHECK;

/* Ids that begin with `prefix` ("": all), ascending, page by page. A status of `visit` ends it. */
cp_status cp_pinecone_list(cp_pinecone *pinecone, const char *prefix,
                           cp_status (*visit)(void *user, const char *id, cp_error *err),
                           void *user, cp_error *err) CP_MUST_CHECK;

/* CP_OK also for ids that are not there. */
cp_status cp_pinecone_delete(cp_pinecone *pinecone, const char *const *ids, size_t n,
                             cp_error *err) CP_MUST_CHECK;

/* Each namespace of the index and how many records it has (-1: not told). */
cp_status cp_pinecone_namespaces(cp_pinecone *pinecone,
                                 void (*visit)(void *user, const char *name, int64_t n_records),
                                 void *user, cp_error *err) CP_MUST_CHECK;

typedef struct cp_pinecone_stats {
    int64_t width;        /* 0: not told */
    char metric[16];      /* "cosine", ...; "": not told */
    int64_t n, n_records; /* of the whole index, of this namespace */
} cp_pinecone_stats;
cp_status cp_pinecone_describe(cp_pinecone *pinecone, cp_pinecone_stats *out,
                               cp_error *err) CP_MUST_CHECK;

#endif
