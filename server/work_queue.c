#include "server/work_queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct cp_work_queue {
    cp_work_queue_config config;
    pthread_t worker;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    cp_work *first, **last;
    size_t n_queued;
    bool running, stopping;
    bool started; /* by the thread that creates, starts and frees */
};

/* Waits for work; NULL when the queue is being freed. */
static cp_work *take(cp_work_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->running = false;
    while (!queue->first && !queue->stopping)
        pthread_cond_wait(&queue->changed, &queue->lock);
    cp_work *work = queue->first;
    if (work) {
        queue->first = work->next;
        if (!queue->first)
            queue->last = &queue->first;
        queue->n_queued--;
        queue->running = true;
    }
    pthread_mutex_unlock(&queue->lock);
    return work;
}

static void *worker_main(void *arg) {
    cp_work_queue *queue = arg;
    cp_work *work;
    if (!queue->config.start(queue->config.user))
        return NULL;
    while ((work = take(queue)))
        queue->config.run(queue->config.user, work);
    return NULL;
}

cp_status cp_work_queue_create(const cp_work_queue_config *config, cp_work_queue **out,
                               cp_error *err) {
    *out = NULL;
    cp_work_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return cp_error_no_memory(err, "the queue");
    queue->config = *config;
    queue->last = &queue->first;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->changed, NULL);
    *out = queue;
    return CP_OK;
}

cp_status cp_work_queue_start(cp_work_queue *queue, cp_error *err) {
    int failed = pthread_create(&queue->worker, NULL, worker_main, queue);
    if (failed)
        return cp_error_set(err, CP_ERR_IO, "cannot start a thread: %s", strerror(failed));
    queue->started = true;
    return CP_OK;
}

void cp_work_queue_free(cp_work_queue *queue) {
    if (!queue)
        return;
    pthread_mutex_lock(&queue->lock);
    queue->stopping = true;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    if (queue->started)
        pthread_join(queue->worker, NULL);
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

cp_status cp_work_queue_push(cp_work_queue *queue, cp_work *work) {
    pthread_mutex_lock(&queue->lock);
    bool fits = queue->n_queued < queue->config.max_queued;
    if (fits) {
        work->next = NULL;
        *queue->last = work;
        queue->last = &work->next;
        queue->n_queued++;
        pthread_cond_signal(&queue->changed);
    }
    pthread_mutex_unlock(&queue->lock);
    return fits ? CP_OK : CP_ERR_BUSY;
}

void cp_work_queue_sweep(cp_work_queue *queue, bool (*unwanted)(void *user, const cp_work *work)) {
    cp_work *dropped = NULL, **end = &dropped;
    pthread_mutex_lock(&queue->lock);
    cp_work **at = &queue->first;
    while (*at) {
        cp_work *work = *at;
        if (!unwanted(queue->config.user, work)) {
            at = &work->next;
            continue;
        }
        *at = work->next;
        work->next = NULL;
        *end = work;
        end = &work->next;
        queue->n_queued--;
    }
    queue->last = at;
    pthread_mutex_unlock(&queue->lock);
    while (dropped) {
        cp_work *work = dropped;
        dropped = work->next;
        queue->config.drop(queue->config.user, work);
    }
}

size_t cp_work_queue_n_queued(cp_work_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    size_t n = queue->n_queued;
    pthread_mutex_unlock(&queue->lock);
    return n;
}

size_t cp_work_queue_n_running(cp_work_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    size_t n = queue->running;
    pthread_mutex_unlock(&queue->lock);
    return n;
}
