/* A naive twin of the index, and documents to put into both: what the tests of the index share. */
#ifndef CP_TESTS_INDEX_TWIN_H
#define CP_TESTS_INDEX_TWIN_H

#include "retrieval/index.h"

#define TWIN_WIDTH      16
#define TWIN_MAX_CHUNKS 4
#define TWIN_MAX_TERMS  24
#define TWIN_WORDS      60 /* of the vocabulary */
#define TWIN_PATIENTS   9  /* the first is nobody */
#define TWIN_IDS        12
extern const char *const twin_mrns[TWIN_PATIENTS];

typedef struct twin_chunk {
    cp_term terms[TWIN_MAX_TERMS];
    size_t n_terms;
    int8_t values[TWIN_WIDTH];
    float scale; /* 0: no vector */
    uint32_t begin, n, n_words;
} twin_chunk;

typedef struct twin_doc {
    bool lives;
    char mrn[64], id[32];
    cp_entry_kind kind;
    cp_content_hash hash;
    twin_chunk chunks[TWIN_MAX_CHUNKS];
    size_t n_chunks;
} twin_doc;

/* Every document that can be, by patient and id. */
typedef struct twin {
    twin_doc docs[TWIN_PATIENTS][TWIN_IDS];
} twin;

/* A random one in its place; the same `random` makes the same document. */
void twin_make_doc(twin_doc *doc, size_t patient, size_t id, uint64_t *random);
/* As the index takes it; `chunks` has room for TWIN_MAX_CHUNKS. */
cp_index_doc twin_index_doc(const twin_doc *doc, cp_chunk *chunks);
/* Puts it; asserts success. */
void twin_put(cp_index *index, const twin_doc *doc);
uint64_t twin_word(size_t i);

typedef struct twin_query {
    cp_entry_filter filter;
    cp_query_term terms[8];
    size_t n_terms;
    int8_t values[TWIN_WIDTH];
    size_t k;
} twin_query;
twin_query twin_make_query(uint64_t *random);

/* Asks the index both ways and compares with what the twin finds by looking at everything: same
 * scores in the same order, entries that the filter lets through, each once. Returns how many hits
 * there were. */
size_t twin_compare(const twin *all, const cp_index_view *view, const twin_query *query);
/* The documents of the view are those of the twin, with all that is known of them. */
void twin_compare_docs(const twin *all, const cp_index_view *view);
/* A number for all that a view holds, in whatever order it lies. */
uint64_t twin_digest(const cp_index_view *view);

#endif
