#include "bench/team.h"

#include <pthread.h>
#include <string.h>

typedef enum signal_word { WAIT, GO, GIVE_UP } signal_word;

typedef struct team {
    void (*fn)(void *arg, size_t thread);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    signal_word word;
} team;

typedef struct member {
    team *team;
    size_t index;
    pthread_t handle;
} member;

static void *member_main(void *arg) {
    member *m = arg;
    team *t = m->team;
    pthread_mutex_lock(&t->lock);
    while (t->word == WAIT)
        pthread_cond_wait(&t->changed, &t->lock);
    signal_word word = t->word;
    pthread_mutex_unlock(&t->lock);
    if (word == GO)
        t->fn(t->arg, m->index);
    return NULL;
}

static void say(team *t, signal_word word) {
    pthread_mutex_lock(&t->lock);
    t->word = word;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

cp_status cp_team_run(size_t n_threads, void (*fn)(void *arg, size_t thread), void *arg,
                      cp_error *err) {
    member members[CP_TEAM_MAX];
    team t = {.fn = fn,
              .arg = arg,
              .lock = PTHREAD_MUTEX_INITIALIZER,
              .changed = PTHREAD_COND_INITIALIZER,
              .word = WAIT};
    int failed = 0;
    size_t n = 1;
    for (; n < n_threads && !failed; n++) {
        members[n] = (member){.team = &t, .index = n};
        failed = pthread_create(&members[n].handle, NULL, member_main, &members[n]);
        if (failed)
            break;
    }
    say(&t, failed ? GIVE_UP : GO);
    if (!failed)
        fn(arg, 0);
    for (size_t i = 1; i < n; i++)
        pthread_join(members[i].handle, NULL);
    if (failed)
        return cp_error_set(err, CP_ERR_IO, "cannot start thread %zu of %zu: %s", n + 1, n_threads,
                            strerror(failed));
    return CP_OK;
}
