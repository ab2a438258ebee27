#include "server/store_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct cp_store_pool {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    cp_store_task *first, **last;
    size_t n_queued, n_running, max_queued;
    bool stopping;
    size_t n_threads; /* started */
    pthread_t threads[];
};

/* Waits for a task; NULL when the pool is being freed. */
static cp_store_task *take(cp_store_pool *pool) {
    while (!pool->first && !pool->stopping)
        pthread_cond_wait(&pool->changed, &pool->lock);
    cp_store_task *task = pool->stopping ? NULL : pool->first;
    if (task) {
        pool->first = task->next;
        if (!pool->first)
            pool->last = &pool->first;
        pool->n_queued--;
        pool->n_running++;
    }
    return task;
}

static void *thread_main(void *arg) {
    cp_store_pool *pool = arg;
    cp_store_task *task;
    pthread_mutex_lock(&pool->lock);
    while ((task = take(pool))) {
        pthread_mutex_unlock(&pool->lock);
        task->run(task);
        pthread_mutex_lock(&pool->lock);
        pool->n_running--;
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

cp_status cp_store_pool_create(size_t n_threads, size_t max_queued, cp_store_pool **out,
                               cp_error *err) {
    *out = NULL;
    cp_store_pool *pool = calloc(1, sizeof *pool + n_threads * sizeof pool->threads[0]);
    if (!pool)
        return cp_error_no_memory(err, "the store's threads");
    pool->max_queued = max_queued;
    pool->last = &pool->first;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, NULL);
    for (; pool->n_threads < n_threads; pool->n_threads++) {
        int failed = pthread_create(&pool->threads[pool->n_threads], NULL, thread_main, pool);
        if (failed) {
            cp_store_pool_free(pool);
            return cp_error_set(err, CP_ERR_IO, "cannot start a thread: %s", strerror(failed));
        }
    }
    *out = pool;
    return CP_OK;
}

static void drop_all(cp_store_task *task) {
    while (task) {
        cp_store_task *next = task->next;
        task->drop(task);
        task = next;
    }
}

void cp_store_pool_stop(cp_store_pool *pool) {
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->n_threads; i++)
        pthread_join(pool->threads[i], NULL);
    pool->n_threads = 0;
    pthread_mutex_lock(&pool->lock);
    cp_store_task *left = pool->first;
    pool->first = NULL;
    pool->last = &pool->first;
    pool->n_queued = 0;
    pthread_mutex_unlock(&pool->lock);
    drop_all(left);
}

void cp_store_pool_free(cp_store_pool *pool) {
    if (!pool)
        return;
    cp_store_pool_stop(pool);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

cp_status cp_store_pool_submit(cp_store_pool *pool, cp_store_task *task) {
    pthread_mutex_lock(&pool->lock);
    bool fits = pool->n_queued < pool->max_queued && !pool->stopping;
    if (fits) {
        task->next = NULL;
        *pool->last = task;
        pool->last = &task->next;
        pool->n_queued++;
        pthread_cond_signal(&pool->changed);
    }
    pthread_mutex_unlock(&pool->lock);
    return fits ? CP_OK : CP_ERR_BUSY;
}

void cp_store_pool_sweep(cp_store_pool *pool) {
    cp_store_task *dropped = NULL, **end = &dropped;
    pthread_mutex_lock(&pool->lock);
    cp_store_task **at = &pool->first;
    while (*at) {
        cp_store_task *task = *at;
        if (!task->is_unwanted || !task->is_unwanted(task)) {
            at = &task->next;
            continue;
        }
        *at = task->next;
        task->next = NULL;
        *end = task;
        end = &task->next;
        pool->n_queued--;
    }
    pool->last = at;
    pthread_mutex_unlock(&pool->lock);
    drop_all(dropped);
}

size_t cp_store_pool_n_queued(cp_store_pool *pool) {
    pthread_mutex_lock(&pool->lock);
    size_t n = pool->n_queued;
    pthread_mutex_unlock(&pool->lock);
    return n;
}

size_t cp_store_pool_n_unfinished(cp_store_pool *pool) {
    pthread_mutex_lock(&pool->lock);
    size_t n = pool->n_queued + pool->n_running;
    pthread_mutex_unlock(&pool->lock);
    return n;
}
