/* A bounded first-in first-out queue with one worker thread.
 *
 * The worker first runs `start` (loading the model), then one piece of work after the other; it is
 * the only thread that touches what `run` uses. Work is intrusive: the caller embeds a cp_work and
 * owns its memory until run or drop is called with it, exactly one of the two, after which it
 * belongs to that callback. Full means refused at once: the queue never waits for room. */
#ifndef CP_SERVER_WORK_QUEUE_H
#define CP_SERVER_WORK_QUEUE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct cp_work {
    struct cp_work *next;
} cp_work;

typedef struct cp_work_queue cp_work_queue;

typedef struct cp_work_queue_config {
    size_t max_queued; /* waiting; the one that runs is not counted */
    void *user;
    /* In the worker's thread. False: the worker ends and runs nothing. */
    bool (*start)(void *user);
    void (*run)(void *user, cp_work *work);
    /* From sweep's thread: this work will not run. */
    void (*drop)(void *user, cp_work *work);
} cp_work_queue_config;

cp_status cp_work_queue_create(const cp_work_queue_config *config, cp_work_queue **out,
                               cp_error *err) CP_MUST_CHECK;
/* Starts the worker. Work may be pushed before; it waits. */
cp_status cp_work_queue_start(cp_work_queue *queue, cp_error *err) CP_MUST_CHECK;
/* The queue must be empty and the worker idle or about to be: waits for it. NULL is allowed. */
void cp_work_queue_free(cp_work_queue *queue);

/* CP_ERR_BUSY when it is full. */
cp_status cp_work_queue_push(cp_work_queue *queue, cp_work *work) CP_MUST_CHECK;
/* Takes out and drops what `unwanted` says. It is called under the queue's lock: no calls back. */
void cp_work_queue_sweep(cp_work_queue *queue, bool (*unwanted)(void *user, const cp_work *work));
size_t cp_work_queue_n_queued(cp_work_queue *queue);
size_t cp_work_queue_n_running(cp_work_queue *queue);

#endif
