/* Where vectors are: one interface, VECTOR_MODE=local (retrieval/index.h) or pinecone behind it.
 *
 * Calls of a remote store wait for the network and belong to a thread that may wait. No text goes
 * to a store: ids, MRN, kind, content hash, offsets and the vector. Errors name the server, never
 * an MRN, an id or a key. */
#ifndef CP_RETRIEVAL_VECTOR_STORE_H
#define CP_RETRIEVAL_VECTOR_STORE_H

#include "retrieval/index.h"

typedef struct cp_vector_match {
    char mrn[64], id[CP_DOC_ID_BYTES + 1];
    cp_entry_kind kind;
    cp_content_hash hash;
    uint32_t chunk, begin, n;
    float score; /* cosine */
} cp_vector_match;

typedef struct cp_vector_store cp_vector_store;
struct cp_vector_store {
    const char *name; /* "local", "pinecone" */
    bool is_remote;
    size_t width; /* of its vectors */
    /* Documents with the vectors of all their chunks, each in the place of the one with its (MRN,
     * id); kept once it returns CP_OK. Doing it twice is as good as once. */
    cp_status (*put)(cp_vector_store *store, const cp_index_doc *docs, size_t n, cp_error *err);
    cp_status (*remove)(cp_vector_store *store, const char *mrn, const char *const *ids, size_t n,
                        cp_error *err);
    /* The best k that the filter lets through, best first. What does not fit the filter is dropped
     * here, too, whatever the store answers, and counted in *n_foreign. */
    cp_status (*nearest)(cp_vector_store *store, const cp_entry_filter *filter, cp_vector query,
                         size_t k, cp_vector_match *out, size_t *n, size_t *n_foreign,
                         cp_error *err);
    /* Each document once (of one patient, or NULL: of all), for comparing with a patient store. */
    cp_status (*each)(cp_vector_store *store, const char *mrn,
                      bool (*visit)(void *user, const cp_indexed_doc *doc), void *user,
                      cp_error *err);
    void (*close)(cp_vector_store *store);
};

/* Borrows an index with vectors. */
cp_status cp_vector_store_open_local(cp_index *index, size_t n_threads, cp_vector_store **out,
                                     cp_error *err) CP_MUST_CHECK;

#define CP_PINECONE_MODEL_CAP 96
typedef struct cp_pinecone_config {
    const char *host;       /* the index's own URL, https://...; http:// on loopback only */
    const char *api_key;    /* sent as Api-Key; never shown */
    const char *namespace_; /* "" for the default */
    const char *model; /* what makes the vectors; those of another are never returned. NULL: "" */
    size_t width;
    int64_t timeout_ms; /* of a request, tries included; put, remove and each may need many */
} cp_pinecone_config;
/* What leaves this machine and is kept: hashes as ids, vectors, and as metadata MRN, id, kind,
 * content hash, offsets, model. The first put looks whether the index is as wide as the vectors
 * and compares by cosine. */
cp_status cp_vector_store_open_pinecone(const cp_pinecone_config *config, cp_vector_store **out,
                                        cp_error *err) CP_MUST_CHECK;

#endif
