/* All patients and the knowledge base into the index: a pass over a store.
 *
 * Commits every few hundred documents or few seconds, so that a kill loses little; a pass that is
 * started again finds what is done unchanged. A record that cannot be read is counted and passed
 * over, and stays in the index as it was; a store that does not answer ends the pass. Patients who
 * are in the index and not in the store are removed, each after one more look; but not all of them,
 * when the store has nobody: that is a wrong setting. One thread. */
#ifndef CP_SERVER_INGEST_RUN_H
#define CP_SERVER_INGEST_RUN_H

#include "server/ingest.h"
#include "server/mrn_list.h"

/* All borrowed. */
typedef struct cp_ingest_run {
    cp_ingest_target target;
    cp_patient_store *store;
    const cp_knowledge *knowledge; /* NULL: none */
    /* May be NULL. After each patient; false ends the pass, CP_ERR_CANCELLED. */
    bool (*on_progress)(void *user, size_t n_done, size_t n_total);
    /* May be NULL. A record that was passed over. */
    void (*on_failed)(void *user, const char *mrn, const cp_error *why);
    void *user;
    /* What was done, also after failure. */
    cp_ingest_counts counts;
    size_t patients, failed, gone; /* gone: patients who were removed */
    /* Since the last commit. */
    size_t written_then;
    uint64_t committed_ns;
} cp_ingest_run;

/* A pass over these patients, or with NULL over all that the store tells of. Committed at its end,
 * also after failure. */
cp_status cp_ingest_run_all(cp_ingest_run *run, const cp_mrn_list *mrns,
                            cp_error *err) CP_MUST_CHECK;
/* One patient, as the store has it now, or no longer; not committed. CP_OK also where the record is
 * passed over. */
cp_status cp_ingest_run_one(cp_ingest_run *run, const char *mrn, cp_error *err) CP_MUST_CHECK;

#endif
