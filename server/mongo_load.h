/* A folder of JSON Lines files, as data/synthetic/ is, into a MongoDB store. */
#ifndef CP_SERVER_MONGO_LOAD_H
#define CP_SERVER_MONGO_LOAD_H

#include "server/patient_store.h"

/* Of one collection. */
typedef struct cp_load_count {
    const char *collection;
    size_t n, n_new; /* rows of the file; those that were not there before */
} cp_load_count;

#define CP_LOAD_COLLECTIONS 7

/* Checks the whole folder as the jsonl store would, makes the indexes, and puts every row in its
 * place: doing it twice is as good as once, rows that are not in the folder stay. providers.jsonl
 * and audit_logs.jsonl may be missing. `counts` may be NULL. */
cp_status cp_load_folder(cp_patient_store *mongo, const char *dir,
                         cp_load_count counts[CP_LOAD_COLLECTIONS], cp_error *err) CP_MUST_CHECK;

#endif
