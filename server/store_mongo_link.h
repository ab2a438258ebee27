/* What the files of the MongoDB store share: store_mongo.c, mongo_changes.c. Not for others. */
#ifndef CP_SERVER_STORE_MONGO_LINK_H
#define CP_SERVER_STORE_MONGO_LINK_H

#include "server/mongoc_library.h"
#include "server/patient_store.h"

typedef struct cp_mongo_store {
    cp_patient_store base; /* first: the interface is the store */
    mongoc_client_pool_t *pool;
    char *database;
    int64_t timeout_ms;
} cp_mongo_store;

/* The sentence for what the driver says: nothing that could quote a record. */
cp_status cp_mongo_fault(const bson_error_t *error, cp_error *err);
/* A client of the pool; given back with mongoc_client_pool_push. */
cp_status cp_mongo_borrow(cp_mongo_store *store, mongoc_client_t **out,
                          cp_error *err) CP_MUST_CHECK;
/* A document as our JSON: dates as texts. */
cp_status cp_mongo_to_json(const bson_t *document, cJSON **out, cp_error *err) CP_MUST_CHECK;

/* Of mongo_changes.c: an entry in the outbox, and the interface's each_mrn. */
cp_status cp_mongo_tell_change(cp_mongo_store *store, mongoc_client_t *client, const char *mrn,
                               cp_error *err) CP_MUST_CHECK;
cp_status cp_mongo_each_mrn(cp_patient_store *store, bool (*visit)(void *user, const char *mrn),
                            void *user, cp_error *err);

#endif
