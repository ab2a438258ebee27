/* Patients as a service: the store that PATIENT_STORE names, and threads that wait for it.
 *
 * Everything in the server that needs a record asks here. An embedded store is asked in the
 * caller's thread, at once; a remote one in a thread of the pool, of which STORE_CONNECTIONS run.
 * Either way the answer comes by on_done, exactly once. */
#ifndef CP_SERVER_PATIENTS_H
#define CP_SERVER_PATIENTS_H

#include "server/patient_store.h"
#include "server/store_pool.h"
#include "server/trace.h"

typedef struct cp_patients cp_patients;
cp_status cp_patients_open(const cp_settings *settings, cp_patients **out,
                           cp_error *err) CP_MUST_CHECK;
/* What waits is told CP_ERR_CANCELLED, what runs is waited for (STORE_TIMEOUT_MS at most), and
 * nothing more is taken. */
void cp_patients_stop(cp_patients *patients);
/* NULL is allowed. */
void cp_patients_close(cp_patients *patients);
/* Ten times a second: ends what nobody wants any more. */
void cp_patients_tick(cp_patients *patients);

cp_patient_store *cp_patients_store(cp_patients *patients);
/* For other work that may wait on the store: imports. */
cp_store_pool *cp_patients_pool(cp_patients *patients);

/* One question. Embedded in what the caller owns, and the service's from cp_patients_look_up until
 * on_done. */
typedef struct cp_patient_lookup cp_patient_lookup;
struct cp_patient_lookup {
    cp_store_task task; /* first; the service's */
    cp_patients *patients;
    char mrn[CP_MRN_CAP];
    /* `record` is the callee's on CP_OK, else NULL. Other statuses: those of a store's get;
     * CP_ERR_BUSY also when too many wait; CP_ERR_CANCELLED also when it was unwanted. From the
     * thread of look_up or tick or stop, or one of the pool. */
    void (*on_done)(cp_patient_lookup *lookup, cp_status status, cp_patient_record *record,
                    const cp_error *err);
    bool (*is_unwanted)(const cp_patient_lookup *lookup); /* NULL: never */
    const cp_trace *trace; /* whose work this is, until on_done; NULL: nobody's */
    /* The service's. */
    unsigned char span_id[CP_SPAN_ID_BYTES];
    uint64_t begun_ns;
};
/* How lookups end, for those who count them. */
typedef enum cp_lookup_outcome {
    CP_LOOKUP_FOUND,
    CP_LOOKUP_NOT_FOUND,
    CP_LOOKUP_REFUSED, /* too many wait, or the store failed lately */
    CP_LOOKUP_CANCELLED,
    CP_LOOKUP_FAILED, /* no answer, or none that is a record */
    CP_N_LOOKUP_OUTCOMES
} cp_lookup_outcome;
cp_lookup_outcome cp_lookup_outcome_of(cp_status status);
const char *cp_lookup_outcome_name(cp_lookup_outcome outcome);

typedef struct cp_lookup_times {
    uint64_t begun_ns, asked_ns, ended_ns; /* asked_ns 0: the store was not asked */
} cp_lookup_times;
/* Told of each lookup before its on_done, from the same thread; set before the first. */
typedef void cp_lookup_observer(void *user, const cp_patient_lookup *lookup,
                                const cp_lookup_times *times, cp_status status);
void cp_patients_observe(cp_patients *patients, cp_lookup_observer *observe, void *user);

/* True when the answer may come after this has returned. */
bool cp_patients_waits(const cp_patients *patients);
void cp_patients_look_up(cp_patients *patients, cp_patient_lookup *lookup);

#endif
