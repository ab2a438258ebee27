#include "server/patients.h"

#include "base/clock.h"
#include "server/phi_guard.h"

#include <stdlib.h>

#define QUEUED_PER_THREAD 16

struct cp_patients {
    cp_patient_store *store;
    cp_store_pool *pool;
    cp_lookup_observer *observe; /* NULL: nobody */
    void *observer;
};

cp_status cp_patients_open(const cp_settings *settings, cp_patients **out, cp_error *err) {
    *out = NULL;
    cp_patients *patients = calloc(1, sizeof *patients);
    if (!patients)
        return cp_error_no_memory(err, "the patients");
    cp_status status = cp_patient_store_open(settings, &patients->store, err);
    size_t n = (size_t)settings->store_connections;
    if (status == CP_OK)
        status = cp_store_pool_create(n, n * QUEUED_PER_THREAD, &patients->pool, err);
    if (status == CP_OK)
        *out = patients;
    else
        cp_patients_close(patients);
    return status;
}

void cp_patients_stop(cp_patients *patients) {
    cp_store_pool_stop(patients->pool);
}

void cp_patients_close(cp_patients *patients) {
    if (!patients)
        return;
    cp_store_pool_free(patients->pool);
    if (patients->store)
        patients->store->close(patients->store);
    free(patients);
}

void cp_patients_tick(cp_patients *patients) {
    cp_store_pool_sweep(patients->pool);
}

cp_patient_store *cp_patients_store(cp_patients *patients) {
    return patients->store;
}

cp_store_pool *cp_patients_pool(cp_patients *patients) {
    return patients->pool;
}

bool cp_patients_waits(const cp_patients *patients) {
    return patients->store->is_remote;
}

/* ---- looking up ------------------------------------------------------------------------- */

cp_lookup_outcome cp_lookup_outcome_of(cp_status status) {
    switch (status) {
    case CP_OK:
        return CP_LOOKUP_FOUND;
    case CP_ERR_NOT_FOUND:
        return CP_LOOKUP_NOT_FOUND;
    case CP_ERR_BUSY:
        return CP_LOOKUP_REFUSED;
    case CP_ERR_CANCELLED:
        return CP_LOOKUP_CANCELLED;
    default:
        return CP_LOOKUP_FAILED;
    }
}

const char *cp_lookup_outcome_name(cp_lookup_outcome outcome) {
    static const char *const names[CP_N_LOOKUP_OUTCOMES] = {
        [CP_LOOKUP_FOUND] = "found",     [CP_LOOKUP_NOT_FOUND] = "not_found",
        [CP_LOOKUP_REFUSED] = "refused", [CP_LOOKUP_CANCELLED] = "cancelled",
        [CP_LOOKUP_FAILED] = "failed",
    };
    return names[outcome];
}

void cp_patients_observe(cp_patients *patients, cp_lookup_observer *observe, void *user) {
    patients->observe = observe;
    patients->observer = user;
}

/* `asked_ns` 0: the store was not asked. */
static void tell(cp_patient_lookup *lookup, uint64_t asked_ns, cp_status status,
                 cp_patient_record *record, const cp_error *err) {
    const cp_patients *patients = lookup->patients;
    const cp_lookup_times times = {lookup->begun_ns, asked_ns, cp_clock_ns()};
    if (patients->observe)
        patients->observe(patients->observer, lookup, &times, status);
    lookup->on_done(lookup, status, record, err);
}

static void look_up_now(cp_store_task *task) {
    cp_patient_lookup *lookup = (cp_patient_lookup *)task;
    cp_patient_store *store = lookup->patients->store;
    cp_patient_record *record;
    cp_trace_carrier carrier;
    cp_error err = {0};
    uint64_t asked = cp_clock_ns();
    if (lookup->trace && store->is_remote) {
        const unsigned char *id = lookup->trace->tracer ? lookup->span_id : NULL;
        carrier = cp_trace_carrier_of(lookup->trace, id);
        cp_trace_carry(&carrier);
    }
    cp_status status = store->get(store, lookup->mrn, &record, &err);
    cp_trace_carry(NULL);
    if (status == CP_OK && store->is_remote) /* an embedded store's names are known */
        cp_phi_guard_learn(record->patient);
    tell(lookup, asked, status, record, &err);
}

static void refuse(cp_patient_lookup *lookup, cp_status status, const char *why) {
    cp_error err;
    cp_error_set(&err, status, "%s", why);
    tell(lookup, 0, status, NULL, &err);
}

static void drop(cp_store_task *task) {
    refuse((cp_patient_lookup *)task, CP_ERR_CANCELLED, "nobody waits for the record any more");
}

static bool is_unwanted(const cp_store_task *task) {
    const cp_patient_lookup *lookup = (const cp_patient_lookup *)task;
    return lookup->is_unwanted && lookup->is_unwanted(lookup);
}

void cp_patients_look_up(cp_patients *patients, cp_patient_lookup *lookup) {
    lookup->patients = patients;
    lookup->task = (cp_store_task){.run = look_up_now, .drop = drop, .is_unwanted = is_unwanted};
    lookup->begun_ns = cp_clock_ns();
    if (lookup->trace && lookup->trace->tracer)
        cp_trace_new_span_id(lookup->span_id);
    if (!cp_patients_waits(patients))
        look_up_now(&lookup->task);
    else if (cp_store_pool_submit(patients->pool, &lookup->task) != CP_OK)
        refuse(lookup, CP_ERR_BUSY, "too many wait for the patient store");
}
