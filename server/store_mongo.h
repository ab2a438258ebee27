/* What the MongoDB store can do beyond the interface of stores: being filled. The driver itself is
 * known in store_mongo.c only. */
#ifndef CP_SERVER_STORE_MONGO_H
#define CP_SERVER_STORE_MONGO_H

#include "server/patient_store.h"

/* All of these need a store of cp_patient_store_open_mongo, and wait for the network. */

/* Makes the indexes that lookups and loading rely on; what is there already stays. */
cp_status cp_mongo_make_indexes(cp_patient_store *store, cp_error *err) CP_MUST_CHECK;
/* Replaces, in `collection`, the documents with the same string member `key` as one of rows[n]
 * (objects that have it), and adds the others, which *n_new counts. */
cp_status cp_mongo_upsert(cp_patient_store *store, const char *collection, const char *key,
                          cJSON *const *rows, size_t n, size_t *n_new, cp_error *err) CP_MUST_CHECK;

#endif
