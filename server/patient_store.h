/* Where patients come from: one interface, three stores behind it (docs/stores.md).
 *
 *     jsonl   files in memory and a journal of imports    answers in well under a millisecond
 *     mongo   a MongoDB server                            waits for the network
 *     http    a db-api                                    waits for the network
 *
 * A store answers with a record that the caller owns (server/patient_record.h); nothing is cached
 * above it. An MRN is only ever a string of the allow-listed pattern (cp_mrn_is_valid). Stores may
 * be asked from several threads at once. The HTTP thread never asks one that is_remote, nor
 * changes any: that is work for server/store_pool.h. */
#ifndef CP_SERVER_PATIENT_STORE_H
#define CP_SERVER_PATIENT_STORE_H

#include "server/patient_record.h"
#include "server/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CP_COUNT_UNKNOWN SIZE_MAX

typedef struct cp_patient_store cp_patient_store;
struct cp_patient_store {
    const char *kind; /* "jsonl", "mongo", "http" */
    bool is_remote;   /* calls may take as long as STORE_TIMEOUT_MS */
    /* A fresh copy of the record; CP_ERR_NOT_FOUND when there is no such patient (the sentence does
     * not repeat the MRN). CP_ERR_BUSY: the store failed lately and is not asked. Any other status
     * but CP_ERR_NO_MEMORY: it does not answer, or not with a record. */
    cp_status (*get)(cp_patient_store *store, const char *mrn, cp_patient_record **out,
                     cp_error *err);
    /* Once it returns CP_OK the change is kept. Doing it twice is as good as once. */
    cp_status (*put)(cp_patient_store *store, const cp_patient_change *change, cp_error *err);
    size_t (*count)(cp_patient_store *store); /* CP_COUNT_UNKNOWN where it would be a question */
    /* Each patient object in turn, borrowed; NULL where it would be many questions. */
    void (*each)(cp_patient_store *store, void (*visit)(void *user, const cJSON *patient),
                 void *user);
    /* The MRN of each patient, perhaps more than once; false from `visit` ends it. NULL where the
     * store cannot tell. */
    cp_status (*each_mrn)(cp_patient_store *store, bool (*visit)(void *user, const char *mrn),
                          void *user, cp_error *err);
    void (*close)(cp_patient_store *store);
};

/* The store that PATIENT_STORE names; a remote one behind a circuit breaker, and not yet asked
 * anything: it need not be there. */
cp_status cp_patient_store_open(const cp_settings *settings, cp_patient_store **out,
                                cp_error *err) CP_MUST_CHECK;

/* Reads DIR/patients.jsonl, encounters.jsonl, claims.jsonl, documents.jsonl and chat_logs.jsonl
 * into memory, indexed by MRN, then what DIR/imports.jsonl changes. A malformed line, a duplicate
 * MRN or a line about an unknown patient refuses the whole store and names file and line. */
cp_status cp_patient_store_open_jsonl(const char *dir, cp_patient_store **out,
                                      cp_error *err) CP_MUST_CHECK;

typedef struct cp_remote_config {
    const char *url;      /* MONGO_URI, or the db-api's base URL; never logged */
    const char *database; /* mongo */
    const char *key;      /* http: sent as a bearer token; NULL for none */
    int64_t timeout_ms;   /* of a whole call, tries included */
    size_t n_connections; /* most at once */
    bool strict;          /* outside development: TLS that trusts anybody is refused */
} cp_remote_config;
/* Both without a circuit breaker. */
cp_status cp_patient_store_open_mongo(const cp_remote_config *config, cp_patient_store **out,
                                      cp_error *err) CP_MUST_CHECK;
cp_status cp_patient_store_open_http(const cp_remote_config *config, cp_patient_store **out,
                                     cp_error *err) CP_MUST_CHECK;
/* Owns `inner` from here on, also after failure. */
cp_status cp_patient_store_guard(cp_patient_store *inner, cp_patient_store **out,
                                 cp_error *err) CP_MUST_CHECK;

#endif
