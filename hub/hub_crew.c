#include "hub/hub_crew.h"

#include <pthread.h>
#include <time.h>

#define MAX_THREADS 16
#define TICK_NS     100000000L

typedef struct shift {
    const cp_hub_crew *crew;
    cp_hub_file *files;
    size_t n;
    atomic_bool stop;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    size_t next, n_working;
    cp_status failed; /* the first failure, */
    cp_error why;     /* and its sentence */
} shift;

static void keep_failure(shift *s, cp_status status, const cp_error *why) {
    pthread_mutex_lock(&s->lock);
    if (s->failed == CP_OK) {
        s->failed = status;
        s->why = *why;
    }
    atomic_store(&s->stop, true);
    pthread_mutex_unlock(&s->lock);
}

/* NULL when there is none left. */
static cp_hub_file *take_file(shift *s) {
    pthread_mutex_lock(&s->lock);
    bool none = s->next == s->n || atomic_load(&s->stop);
    cp_hub_file *file = none ? NULL : &s->files[s->next++];
    pthread_mutex_unlock(&s->lock);
    return file;
}

static void *work(void *arg) {
    shift *s = arg;
    const cp_hub_crew *crew = s->crew;
    cp_hub_client client = {.http = NULL};
    cp_error err = {0};
    cp_status status = cp_hub_client_init(crew->settings, crew->limits, &s->stop, &client, &err);
    for (cp_hub_file *file; status == CP_OK && (file = take_file(s));)
        status = cp_hub_file_fetch(&client, crew->cache, crew->repo, crew->commit, file, &err);
    if (status != CP_OK)
        keep_failure(s, status, &err);
    cp_hub_client_deinit(&client);
    pthread_mutex_lock(&s->lock);
    s->n_working--;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void tell(shift *s) {
    uint64_t done = 0;
    static const cp_error stopped = {CP_ERR_CANCELLED, "the pull was stopped"};
    for (size_t i = 0; i < s->n; i++)
        done += atomic_load(&s->files[i].done);
    if (s->crew->on_progress && !s->crew->on_progress(s->crew->user, done))
        keep_failure(s, CP_ERR_CANCELLED, &stopped);
}

/* Until all threads have ended. */
static void watch(shift *s) {
    bool working = true;
    while (working) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += TICK_NS;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_mutex_lock(&s->lock);
        if (s->n_working > 0)
            (void)pthread_cond_timedwait(&s->changed, &s->lock, &until);
        working = s->n_working > 0;
        pthread_mutex_unlock(&s->lock);
        tell(s);
    }
}

static void init(shift *s) {
    pthread_condattr_t attributes;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

cp_status cp_hub_crew_fetch(const cp_hub_crew *crew, cp_hub_file *files, size_t n, cp_error *err) {
    pthread_t threads[MAX_THREADS];
    shift s = {.crew = crew, .files = files, .n = n};
    size_t wanted = crew->n_threads < n ? crew->n_threads : n, n_threads = 0;
    init(&s);
    for (; n_threads < wanted && n_threads < MAX_THREADS; n_threads++) {
        pthread_mutex_lock(&s.lock);
        s.n_working++;
        pthread_mutex_unlock(&s.lock);
        if (pthread_create(&threads[n_threads], NULL, work, &s) != 0) {
            pthread_mutex_lock(&s.lock);
            s.n_working--; /* fewer do it, too */
            pthread_mutex_unlock(&s.lock);
            break;
        }
    }
    if (n_threads > 0)
        watch(&s);
    else if (n > 0)
        s.failed = cp_error_set(&s.why, CP_ERR_IO, "no thread can be started for the pull");
    for (size_t i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    pthread_cond_destroy(&s.changed);
    pthread_mutex_destroy(&s.lock);
    if (s.failed != CP_OK && err)
        *err = s.why;
    return s.failed;
}
