#include "engine/threads.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* About 50 microseconds: longer than the gaps between the stages of a layer, shorter than anyone
 * notices. */
#define SPINS 4000

typedef struct worker {
    cp_threads *threads;
    size_t index;
    pthread_t handle;
} worker;

/* What is left of one thread's range: [next, end). next may pass end. Ranges lie on lines of their
 * own, so taking from one's own disturbs nobody. */
typedef struct range {
    _Alignas(CP_CACHE_LINE) atomic_size_t next;
    size_t end;
} range;

struct cp_threads {
    size_t n;        /* the caller included */
    worker *workers; /* [n - 1] */
    range *ranges;   /* [n] */
    size_t piece;
    cp_task_fn fn;
    void *arg;
    atomic_uint generation; /* a new value starts a job */
    atomic_size_t pending;  /* workers still busy with it */
    atomic_int n_sleeping;  /* workers on `wake` */
    atomic_int caller_waits;
    atomic_int stop;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Waits for a generation other than `seen`. A waker changes the generation first and looks for
 * sleepers second, a sleeper counts itself first and looks at the generation second: none is
 * missed. */
static unsigned wait_for_job(cp_threads *t, unsigned seen) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&t->generation) != seen)
            return atomic_load(&t->generation);
        relax();
    }
    pthread_mutex_lock(&t->lock);
    atomic_fetch_add(&t->n_sleeping, 1);
    while (atomic_load(&t->generation) == seen)
        pthread_cond_wait(&t->wake, &t->lock);
    atomic_fetch_sub(&t->n_sleeping, 1);
    pthread_mutex_unlock(&t->lock);
    return atomic_load(&t->generation);
}

static void start_job(cp_threads *t) {
    atomic_store(&t->pending, t->n - 1);
    atomic_fetch_add(&t->generation, 1);
    if (atomic_load(&t->n_sleeping) > 0) {
        pthread_mutex_lock(&t->lock);
        pthread_cond_broadcast(&t->wake);
        pthread_mutex_unlock(&t->lock);
    }
}

/* The same hand-shake in the other direction. */
static void finish_share(cp_threads *t) {
    if (atomic_fetch_sub(&t->pending, 1) != 1 || !atomic_load(&t->caller_waits))
        return;
    pthread_mutex_lock(&t->lock);
    pthread_cond_signal(&t->done);
    pthread_mutex_unlock(&t->lock);
}

static void wait_for_workers(cp_threads *t) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&t->pending) == 0)
            return;
        relax();
    }
    pthread_mutex_lock(&t->lock);
    atomic_store(&t->caller_waits, 1);
    while (atomic_load(&t->pending) > 0)
        pthread_cond_wait(&t->done, &t->lock);
    atomic_store(&t->caller_waits, 0);
    pthread_mutex_unlock(&t->lock);
}

static void *work(void *arg) {
    worker *self = arg;
    cp_threads *t = self->threads;
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_job(t, seen);
        if (atomic_load(&t->stop))
            return NULL;
        t->fn(t->arg, self->index, t->n);
        finish_share(t);
    }
}

cp_status cp_threads_create(size_t n_threads, cp_threads **out, cp_error *err) {
    *out = NULL;
    cp_threads *t = calloc(1, sizeof *t);
    worker *workers = calloc(n_threads, sizeof *workers);
    range *ranges = cp_alloc_aligned(n_threads, sizeof *ranges);
    if (!t || !workers || !ranges) {
        free(t);
        free(workers);
        free(ranges);
        return cp_error_no_memory(err, "threads");
    }
    t->workers = workers;
    t->ranges = ranges;
    t->n = 1;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    pthread_cond_init(&t->done, NULL);
    for (size_t i = 1; i < n_threads; i++) {
        workers[i - 1] = (worker){.threads = t, .index = i};
        int failed = pthread_create(&workers[i - 1].handle, NULL, work, &workers[i - 1]);
        if (failed) {
            cp_status status = cp_error_set(err, CP_ERR_IO, "cannot start thread %zu of %zu: %s",
                                            i + 1, n_threads, strerror(failed));
            cp_threads_free(t);
            return status;
        }
        t->n++; /* no job runs yet, so no worker looks */
    }
    *out = t;
    return CP_OK;
}

void cp_threads_free(cp_threads *t) {
    if (!t)
        return;
    atomic_store(&t->stop, 1);
    start_job(t);
    for (size_t i = 0; i + 1 < t->n; i++)
        pthread_join(t->workers[i].handle, NULL);
    pthread_cond_destroy(&t->done);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t->workers);
    free(t->ranges);
    free(t);
}

size_t cp_threads_count(const cp_threads *t) {
    return t->n;
}

void cp_threads_run(cp_threads *t, cp_task_fn fn, void *arg) {
    if (t->n > 1) {
        t->fn = fn;
        t->arg = arg;
        start_job(t);
    }
    fn(arg, 0, t->n);
    if (t->n > 1)
        wait_for_workers(t);
}

void cp_threads_divide(cp_threads *t, size_t n, size_t piece) {
    t->piece = piece;
    for (size_t i = 0; i < t->n; i++) {
        size_t begin;
        cp_threads_share(n, piece, i, t->n, &begin, &t->ranges[i].end);
        atomic_store_explicit(&t->ranges[i].next, begin, memory_order_relaxed);
    }
}

bool cp_threads_take(cp_threads *t, size_t thread, size_t *begin, size_t *end) {
    for (size_t i = 0; i < t->n; i++) {
        range *r = &t->ranges[(thread + i) % t->n];
        if (atomic_load_explicit(&r->next, memory_order_relaxed) >= r->end)
            continue;
        *begin = atomic_fetch_add_explicit(&r->next, t->piece, memory_order_relaxed);
        if (*begin < r->end) {
            *end = r->end - *begin < t->piece ? r->end : *begin + t->piece;
            return true;
        }
    }
    return false;
}
