/* A few threads for work that may wait on a patient store, and a bounded queue in front of them.
 *
 * A task is embedded in what the caller owns. From cp_store_pool_submit on it belongs to the pool
 * until exactly one of run and drop has been called with it; after that to that callback. Any
 * thread submits; run comes from the pool's threads; drop from the one that sweeps or frees. */
#ifndef CP_SERVER_STORE_POOL_H
#define CP_SERVER_STORE_POOL_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct cp_store_task cp_store_task;
struct cp_store_task {
    cp_store_task *next; /* the pool's */
    void (*run)(cp_store_task *task);
    /* It was not run and will not be. */
    void (*drop)(cp_store_task *task);
    /* Need it be run at all? Asked by a sweep while it waits, under a lock: no calls back. NULL:
     * always. */
    bool (*is_unwanted)(const cp_store_task *task);
};

typedef struct cp_store_pool cp_store_pool;
/* Starts the threads. */
cp_status cp_store_pool_create(size_t n_threads, size_t max_queued, cp_store_pool **out,
                               cp_error *err) CP_MUST_CHECK;
/* Drops what waits, waits for what runs, takes nothing more. */
void cp_store_pool_stop(cp_store_pool *pool);
/* Stops it, too. NULL is allowed. */
void cp_store_pool_free(cp_store_pool *pool);

/* CP_ERR_BUSY when the queue is full, or the pool was stopped. */
cp_status cp_store_pool_submit(cp_store_pool *pool, cp_store_task *task) CP_MUST_CHECK;
/* Drops what is unwanted. */
void cp_store_pool_sweep(cp_store_pool *pool);
size_t cp_store_pool_n_queued(cp_store_pool *pool);
/* Waiting and running. */
size_t cp_store_pool_n_unfinished(cp_store_pool *pool);

#endif
