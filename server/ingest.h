/* Documents into the index: one record or the knowledge base is compared with what the index has,
 * and only the differences are chunked, embedded and written. What the record no longer has is
 * removed.
 *
 * Where there is a remote vector store it gets vectors first, the index after it: what the index
 * says is there, is there; what a crash left out is put again. Nothing is committed here, and what
 * is compared is what was committed: ingest a patient once between commits. No output, no settings;
 * sentences name no patient. One thread at a time. */
#ifndef CP_SERVER_INGEST_H
#define CP_SERVER_INGEST_H

#include "llm/embedder.h"
#include "retrieval/knowledge.h"
#include "retrieval/record_docs.h"
#include "retrieval/vector_store.h"
#include "server/patient_record.h"

/* How texts become vectors: any embedder in any thread, for a server whose engine thread owns its.
 */
typedef struct cp_ingest_vectors {
    size_t width;
    /* texts [n] to out [n, width], of length 1 each. */
    cp_status (*embed)(void *user, const char *const *texts, size_t n, float *out, cp_error *err);
    void *user;
} cp_ingest_vectors;
/* With an embedder that nobody else works with now; borrowed. */
cp_ingest_vectors cp_ingest_embedder(cp_embedder *embedder);

/* All borrowed. */
typedef struct cp_ingest_target {
    cp_index *index;                  /* opened for writing */
    cp_vector_store *remote;          /* NULL: none */
    const cp_ingest_vectors *vectors; /* NULL: words alone; needed for an index with a width, and
                                         for a remote store */
} cp_ingest_target;

typedef struct cp_ingest_counts {
    size_t seen; /* documents; added + replaced + unchanged + left_out of them */
    size_t added, replaced, unchanged, removed;
    size_t left_out; /* no id or one that is too long, no text, an id twice in one record */
    size_t chunks;   /* written */
} cp_ingest_counts;

/* Adds to *counts. `record` NULL: there is no such patient, all is removed. A failure leaves some
 * of it put; commit or close as you like, and do it again. */
cp_status cp_ingest_patient(const cp_ingest_target *target, const char *mrn,
                            const cp_patient_record *record, cp_ingest_counts *counts,
                            cp_error *err) CP_MUST_CHECK;
cp_status cp_ingest_knowledge(const cp_ingest_target *target, const cp_knowledge *knowledge,
                              cp_ingest_counts *counts, cp_error *err) CP_MUST_CHECK;

/* Pointers to docs [n] into out [n], ascending by id, of those with one id the first; returns how
 * many. The rest would take each other's place for ever. */
size_t cp_ingest_unique(const cp_source_doc *docs, size_t n, const cp_source_doc **out);

/* What both stand on. docs [n] are all that `mrn` ("": nobody) has. */
cp_status cp_ingest_docs(const cp_ingest_target *target, const char *mrn, const cp_source_doc *docs,
                         size_t n, cp_ingest_counts *counts, cp_error *err) CP_MUST_CHECK;
/* Chunks, embeds and writes these, whatever is there. */
cp_status cp_ingest_put(const cp_ingest_target *target, const cp_source_doc *const *docs, size_t n,
                        cp_ingest_counts *counts, cp_error *err) CP_MUST_CHECK;
cp_status cp_ingest_remove(const cp_ingest_target *target, const char *mrn, const char *const *ids,
                           size_t n, cp_ingest_counts *counts, cp_error *err) CP_MUST_CHECK;

#endif
