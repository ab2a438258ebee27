/* A remote store behind a circuit breaker: while it fails, callers hear CP_ERR_BUSY at once instead
 * of waiting for one more timeout. The log gets a line when that begins and when it ends. */
#include "server/patient_store.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/circuit_breaker.h"

#include <stdlib.h>

static const cp_breaker_config breaker_config = {
    .max_failures = 3, .pause_ns = 1000000000u, .max_pause_ns = 30000000000u};

typedef struct guarded_store {
    cp_patient_store base; /* first: the interface is the store */
    cp_patient_store *inner;
    cp_breaker breaker;
} guarded_store;

/* Does this answer show that the store works? */
static bool is_answer(cp_status status) {
    return status == CP_OK || status == CP_ERR_NOT_FOUND || status == CP_ERR_NO_MEMORY ||
           status == CP_ERR_USAGE;
}

static cp_status begin(guarded_store *store, uint64_t *ticket, cp_error *err) {
    *ticket = cp_breaker_ask(&store->breaker, cp_clock_ns());
    return *ticket ? CP_OK
                   : cp_error_set(err, CP_ERR_BUSY,
                                  "the patient store failed lately, it is asked "
                                  "again in a moment");
}

/* `status` is that of the call, `err` its sentence: of ours, without a patient's data. */
static void end(guarded_store *store, uint64_t ticket, cp_status status, const cp_error *err) {
    uint64_t now = cp_clock_ns();
    if (!cp_breaker_report(&store->breaker, ticket, is_answer(status), now))
        return;
    if (is_answer(status))
        cp_log(CP_LOG_INFO, "the patient store answers again",
               CP_LOG_S("store", store->inner->kind));
    else
        cp_log(CP_LOG_WARN, "the patient store fails", CP_LOG_S("store", store->inner->kind),
               CP_LOG_S("reason", err->message),
               CP_LOG_I("pause_ms", cp_breaker_left_ns(&store->breaker, now) / 1000000));
}

static cp_status guarded_get(cp_patient_store *base, const char *mrn, cp_patient_record **out,
                             cp_error *err) {
    guarded_store *store = (guarded_store *)base;
    uint64_t ticket;
    *out = NULL;
    cp_status status = begin(store, &ticket, err);
    if (status != CP_OK)
        return status;
    status = store->inner->get(store->inner, mrn, out, err);
    end(store, ticket, status, err);
    return status;
}

static cp_status guarded_put(cp_patient_store *base, const cp_patient_change *change,
                             cp_error *err) {
    guarded_store *store = (guarded_store *)base;
    uint64_t ticket;
    cp_status status = begin(store, &ticket, err);
    if (status != CP_OK)
        return status;
    status = store->inner->put(store->inner, change, err);
    end(store, ticket, status, err);
    return status;
}

static size_t guarded_count(cp_patient_store *base) {
    cp_patient_store *inner = ((guarded_store *)base)->inner;
    return inner->count(inner);
}

static cp_status guarded_each_mrn(cp_patient_store *base,
                                  bool (*visit)(void *user, const char *mrn), void *user,
                                  cp_error *err) {
    cp_patient_store *inner = ((guarded_store *)base)->inner;
    return inner->each_mrn(inner, visit, user, err);
}

static void guarded_close(cp_patient_store *base) {
    guarded_store *store = (guarded_store *)base;
    store->inner->close(store->inner);
    cp_breaker_deinit(&store->breaker);
    free(store);
}

cp_status cp_patient_store_guard(cp_patient_store *inner, cp_patient_store **out, cp_error *err) {
    *out = NULL;
    guarded_store *store = calloc(1, sizeof *store);
    if (!store) {
        inner->close(inner);
        return cp_error_no_memory(err, "patient store");
    }
    store->base = (cp_patient_store){.kind = inner->kind,
                                     .is_remote = inner->is_remote,
                                     .get = guarded_get,
                                     .put = guarded_put,
                                     .count = guarded_count,
                                     .each_mrn = inner->each_mrn ? guarded_each_mrn : NULL,
                                     .close = guarded_close};
    store->inner = inner;
    cp_breaker_init(&store->breaker, &breaker_config);
    *out = &store->base;
    return CP_OK;
}
