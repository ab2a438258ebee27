/* What an answer is grounded in: for each question the passages of the patient's record and of the
 * knowledge base that it needs.
 *
 *     the record as documents ─► question's vector ─► nearest ─► both lists fused ─► reranked ─►
 * passages engine thread        store's                       engine thread
 *
 * Without an embedding model or without vectors in the index the order is by words alone, at once,
 * in the caller's thread. Whatever of the rest fails or comes too late is left out: a triage waits
 * for retrieval at most half of its time, and never fails for it. */
#ifndef CP_SERVER_GROUNDING_H
#define CP_SERVER_GROUNDING_H

#include "retrieval/claims.h"
#include "retrieval/record_docs.h"
#include "server/inference.h"
#include "server/metrics.h"
#include "server/patients.h"
#include "server/text_models.h"

typedef struct cp_grounding cp_grounding;

/* All borrowed. */
typedef struct cp_grounding_parts {
    const cp_settings *settings;
    cp_metrics *metrics;
    /* For vectors; all NULL: by words alone. */
    cp_inference *inference;
    cp_patients *patients;
    cp_embedder *embedder; /* NULL: none */
    cp_reranker *reranker; /* NULL: none */
} cp_grounding_parts;
/* Reads the knowledge base (DATA_DIR/knowledge) and opens the index in INDEX_DIR, or makes one of
 * the knowledge base in memory. */
cp_status cp_grounding_open(const cp_grounding_parts *parts, cp_grounding **out,
                            cp_error *err) CP_MUST_CHECK;
void cp_grounding_close(cp_grounding *grounding); /* NULL is allowed; no job may be unfinished */
/* Some times a second: takes in what was ingested since. */
void cp_grounding_tick(cp_grounding *grounding);

const cp_knowledge *cp_grounding_knowledge(const cp_grounding *grounding);
const cp_claim_terms *cp_grounding_terms(const cp_grounding *grounding);
cp_index_gauges cp_grounding_gauges(cp_grounding *grounding);

/* One question. Lies in what the caller owns; zeroed, then filled down to `trace`. */
typedef struct cp_grounding_job {
    const cp_patient_record *record; /* stays as long as what was found is used */
    const char *mrn, *query;
    uint64_t deadline_ns; /* of the answer */
    bool (*is_unwanted)(void *user);
    void (*on_done)(void *user); /* exactly once, at once or from another thread */
    void *user;
    const cp_trace *trace; /* of what is done here, until on_done; NULL: none */
    /* What was found. */
    cp_record_docs docs;
    cp_retrieved found;
    cp_claim_names names;             /* of the record */
    const char *mode;                 /* "off", "lexical", "hybrid", "reranked" */
    struct cp_grounding_steps *steps; /* the service's */
} cp_grounding_job;
void cp_grounding_find(cp_grounding *grounding, cp_grounding_job *job);
void cp_grounding_release(cp_grounding_job *job); /* also of one that is all zeros */

#endif
