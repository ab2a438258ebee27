/* Threads: every item of a divided job is taken once, whoever is late. */
#include "tests/test.h"

#include "engine/threads.h"

#include <stdatomic.h>

#include <stdlib.h>
#include <unistd.h>

#define MAX_ITEMS 1000

typedef struct count {
    cp_threads *threads;
    size_t n, piece, late; /* the thread that is slow */
    atomic_int taken[MAX_ITEMS], outside, uneven, jobs;
} count;

static void take_all(void *arg, size_t thread, size_t n_threads) {
    count *c = arg;
    size_t begin, end;
    (void)n_threads;
    atomic_fetch_add(&c->jobs, 1);
    while (cp_threads_take(c->threads, thread, &begin, &end)) {
        if (thread == c->late)
            usleep(50);
        if (begin >= end || end > c->n)
            atomic_fetch_add(&c->outside, 1);
        if (begin % c->piece != 0 || end - begin > c->piece)
            atomic_fetch_add(&c->uneven, 1);
        for (size_t i = begin; i < end && i < MAX_ITEMS; i++)
            atomic_fetch_add(&c->taken[i], 1);
    }
}

static void divide(cp_threads *threads, size_t n, size_t piece, size_t late) {
    count *c = calloc(1, sizeof *c);
    assert_non_null(c);
    *c = (count){.threads = threads, .n = n, .piece = piece, .late = late};
    cp_threads_divide(threads, n, piece);
    cp_threads_run(threads, take_all, c);
    assert_int_equal(c->jobs, cp_threads_count(threads));
    assert_int_equal(c->outside, 0);
    assert_int_equal(c->uneven, 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(c->taken[i], 1);
    free(c);
}

static void every_item_is_taken_once(void **state) {
    (void)state;
    cp_error err;
    for (size_t n_threads = 1; n_threads <= 5; n_threads++) {
        cp_threads *threads;
        assert_int_equal(cp_threads_create(n_threads, &threads, &err), CP_OK);
        for (size_t late = 0; late <= n_threads; late++) {
            divide(threads, 0, 16, late);
            divide(threads, 1, 16, late);
            divide(threads, 250, 64, late);
            divide(threads, MAX_ITEMS, 64, late);
            divide(threads, MAX_ITEMS, MAX_ITEMS, late);
        }
        cp_threads_free(threads);
    }
}

typedef struct stuck {
    cp_threads *threads;
    size_t late;
    atomic_size_t done;
    atomic_int left_alone;
} stuck;

#define PIECES      100
#define WAIT_US     1000
#define WAITS_LIMIT 30000 /* half a minute: only a fault takes so long */

/* The late thread does not end its first piece before all others are done. */
static void take_beside_late(void *arg, size_t thread, size_t n_threads) {
    stuck *s = arg;
    size_t begin, end;
    (void)n_threads;
    while (cp_threads_take(s->threads, thread, &begin, &end)) {
        int waits = 0;
        while (thread == s->late && atomic_load(&s->done) < PIECES - 1 && waits++ < WAITS_LIMIT)
            usleep(WAIT_US);
        if (waits >= WAITS_LIMIT) {
            atomic_fetch_add(&s->left_alone, 1);
            return;
        }
        atomic_fetch_add(&s->done, 1);
    }
}

/* With a thread held up in its first piece, the others take what is left of its range. */
static void the_late_are_helped(void **state) {
    (void)state;
    cp_error err;
    for (size_t n_threads = 2; n_threads <= 3; n_threads++)
        for (size_t late = 0; late < n_threads; late++) {
            stuck s = {.late = late};
            assert_int_equal(cp_threads_create(n_threads, &s.threads, &err), CP_OK);
            cp_threads_divide(s.threads, PIECES, 1);
            cp_threads_run(s.threads, take_beside_late, &s);
            assert_int_equal(s.left_alone, 0);
            assert_int_equal(s.done, PIECES);
            cp_threads_free(s.threads);
        }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_item_is_taken_once),
    cmocka_unit_test(the_late_are_helped),
};
CP_TEST_GROUP(threads, tests)
