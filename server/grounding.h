/* What an answer is grounded in: for each question the passages of the patient's record and of the
 * knowledge base that it needs.
 *
 *     the record as documents ─► (vector of the question ─► vector store) ─► retriever ─► passages
 *
 * The part in brackets is there with an embedding model and vectors: the question's vector is made
 * in the engine's thread between steps, a remote store is asked in a thread that may wait.
 * Whatever of it fails or comes too late, the lexical order answers: a triage never waits for
 * retrieval longer than half of its time, and never fails for it. */
#ifndef CP_SERVER_GROUNDING_H
#define CP_SERVER_GROUNDING_H

#include "retrieval/claims.h"
#include "retrieval/record_docs.h"
#include "retrieval/retriever.h"
#include "server/inference.h"
#include "server/metrics.h"
#include "server/patients.h"

typedef struct cp_grounding cp_grounding;

/* All borrowed. */
typedef struct cp_grounding_parts {
    const cp_settings *settings;
    cp_patients *patients;
    cp_metrics *metrics;
} cp_grounding_parts;
/* Reads the knowledge base (DATA_DIR/knowledge) and opens the index in INDEX_DIR, or makes one in
 * memory. */
cp_status cp_grounding_open(const cp_grounding_parts *parts, cp_grounding **out,
                            cp_error *err) CP_MUST_CHECK;
void cp_grounding_close(cp_grounding *grounding); /* NULL is allowed; no job may be unfinished */
/* Some times a second: takes in what was ingested since. */
void cp_grounding_tick(cp_grounding *grounding);

const cp_knowledge *cp_grounding_knowledge(const cp_grounding *grounding);
const cp_claim_terms *cp_grounding_terms(const cp_grounding *grounding);
cp_index_gauges cp_grounding_gauges(cp_grounding *grounding);

/* One question. Lies in what the caller owns; zeroed, then filled down to `on_done`. */
typedef struct cp_grounding_job {
    const cp_patient_record *record; /* stays as long as what was found is used */
    const char *mrn, *query;
    void (*on_done)(void *user); /* exactly once, at once or from another thread */
    void *user;
    /* What was found. */
    cp_record_docs docs;
    cp_retrieved found;
    cp_claim_names names; /* of the record */
    const char *mode;     /* "off", "lexical", "hybrid", "reranked" */
    /* The service's. */
    const char **texts; /* of names */
} cp_grounding_job;
void cp_grounding_find(cp_grounding *grounding, cp_grounding_job *job);
void cp_grounding_release(cp_grounding_job *job); /* also of one that is all zeros */

#endif
