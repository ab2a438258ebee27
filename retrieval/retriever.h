/* Finds the passages that a question needs: of one patient's record and of the knowledge base.
 *
 *     question ─► terms (folded, stemmed, spelling mended, everyday names) ─► lexical list
 *             └─► vector, where there is a model ─────────────────────────► nearest list
 *                  both fused by reciprocal rank ─► checked against the record ─► passages
 *
 * The record's own documents come with each question, as the store has them now. A hit counts only
 * where it names one of them, or one of the knowledge base, with the same content; so what is
 * returned belongs to that patient or to nobody by construction, and is checked once more.
 * Documents of the record that the index lacks or has in an older form are scored on the spot, with
 * the index's frequencies: what was written a second ago is found. Any thread; nothing here waits.
 */
#ifndef CP_RETRIEVAL_RETRIEVER_H
#define CP_RETRIEVAL_RETRIEVER_H

#include "retrieval/vector_store.h"

typedef struct cp_knowledge cp_knowledge; /* retrieval/knowledge.h */

typedef struct cp_retriever cp_retriever;
typedef struct cp_retriever_options {
    cp_index *index;               /* borrowed */
    const cp_knowledge *knowledge; /* borrowed; may be empty */
    const char *words_path;        /* everyday names (data/knowledge/words.json); NULL: none */
} cp_retriever_options;
cp_status cp_retriever_create(const cp_retriever_options *options, cp_retriever **out,
                              cp_error *err) CP_MUST_CHECK;
void cp_retriever_free(cp_retriever *retriever); /* NULL is allowed */

typedef struct cp_retrieve_query {
    const char *text;          /* the question */
    const char *mrn;           /* whose; NULL: nobody's, the knowledge base alone */
    const cp_source_doc *docs; /* [n_docs] that patient's, from the record */
    size_t n_docs;
    /* What the record says, for weighing the knowledge base: names without doses. */
    const char *const *medicines, *const *conditions;
    size_t n_medicines, n_conditions;
    unsigned kinds; /* bits; CP_ALL_KINDS */
    size_t k;       /* most passages */
    /* Nearest chunks, where a vector store was asked; NULL, 0: lexical alone. */
    const cp_vector_match *nearest;
    size_t n_nearest;
} cp_retrieve_query;

/* A chunk of a document, with the reasons for it. `doc` points into the query's docs or into the
 * knowledge base. */
typedef struct cp_passage {
    const cp_source_doc *doc;
    uint32_t begin, n;           /* bytes of doc->text */
    uint32_t best_begin, best_n; /* its sentence that has most of the question's words */
    float score;                 /* of the fused order; for comparing within one answer only */
    unsigned lexical_rank, vector_rank; /* from 1; 0: not in that list */
} cp_passage;

typedef struct cp_retrieved {
    cp_passage *passages; /* [n], best first; free() */
    size_t n;
    size_t n_stale, n_foreign, n_unindexed; /* hits whose content changed; hits that belong to
                                               somebody else (0, or a bug); documents scored here */
    bool index_failed; /* the index is damaged: all was scored here, as if it were empty */
} cp_retrieved;
cp_status cp_retrieve(cp_retriever *retriever, const cp_retrieve_query *query, cp_retrieved *out,
                      cp_error *err) CP_MUST_CHECK;

/* ---- documents as an index takes them -------------------------------------------------------- */

/* Chunks of a document: whole sentences, about CP_CHUNK_BYTES, with the last sentence of one
 * repeated in the next. Terms hashed with `salt`. Without vectors. Free with cp_chunked_deinit. */
#define CP_CHUNK_BYTES 700
typedef struct cp_chunked {
    cp_chunk *chunks;
    size_t n;
    cp_term *terms; /* of all */
} cp_chunked;
cp_status cp_chunk_document(const cp_source_doc *doc, uint64_t salt, cp_chunked *out,
                            cp_error *err) CP_MUST_CHECK;
void cp_chunked_deinit(cp_chunked *chunked);
/* What an embedding model is given for a chunk: title, then the chunk. */
void cp_chunk_embedding_text(const cp_source_doc *doc, const cp_chunk *chunk, cp_strbuf *out);

#endif
