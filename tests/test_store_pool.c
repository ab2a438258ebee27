/* The store's threads: each task is run or dropped, once, and never more wait than may. */
#include "tests/test.h"

#include "server/store_pool.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct task {
    cp_store_task base;
    atomic_int n_run, n_dropped;
    atomic_bool *gate; /* run waits for it */
    atomic_int *n_begun;
    atomic_bool unwanted;
} task;

static void run(cp_store_task *base) {
    task *t = (task *)base;
    if (t->n_begun)
        atomic_fetch_add(t->n_begun, 1);
    while (t->gate && !atomic_load(t->gate))
        ;
    atomic_fetch_add(&t->n_run, 1);
}

static void drop(cp_store_task *base) {
    atomic_fetch_add(&((task *)base)->n_dropped, 1);
}

static bool is_unwanted(const cp_store_task *base) {
    return atomic_load(&((task *)(uintptr_t)base)->unwanted);
}

static task make_task(atomic_bool *gate, atomic_int *n_begun) {
    return (task){.base = {.run = run, .drop = drop, .is_unwanted = is_unwanted},
                  .gate = gate,
                  .n_begun = n_begun};
}

static void await(atomic_int *number, int wanted) {
    while (atomic_load(number) < wanted)
        ;
}

static void tasks_beyond_the_queue_are_refused(void **state) {
    (void)state;
    cp_error err;
    cp_store_pool *pool;
    atomic_bool gate = false;
    atomic_int n_begun = 0;
    task tasks[7];
    assert_cp_ok(cp_store_pool_create(2, 3, &pool, &err));
    for (size_t i = 0; i < 7; i++)
        tasks[i] = make_task(&gate, &n_begun);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(cp_store_pool_submit(pool, &tasks[i].base), CP_OK);
        await(&n_begun, (int)i + 1);
    }
    for (size_t i = 2; i < 5; i++)
        assert_int_equal(cp_store_pool_submit(pool, &tasks[i].base), CP_OK);
    for (size_t i = 5; i < 7; i++)
        assert_int_equal(cp_store_pool_submit(pool, &tasks[i].base), CP_ERR_BUSY);
    assert_int_equal(cp_store_pool_n_queued(pool), 3);
    assert_int_equal(cp_store_pool_n_unfinished(pool), 5);
    atomic_store(&gate, true);
    for (size_t i = 0; i < 5; i++)
        await(&tasks[i].n_run, 1);
    cp_store_pool_free(pool);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(tasks[i].n_run, i < 5);
        assert_int_equal(tasks[i].n_dropped, 0);
    }
}

static void a_sweep_drops_what_is_unwanted_only(void **state) {
    (void)state;
    cp_error err;
    cp_store_pool *pool;
    atomic_bool gate = false;
    atomic_int n_begun = 0;
    task tasks[6];
    assert_cp_ok(cp_store_pool_create(1, 8, &pool, &err));
    for (size_t i = 0; i < 6; i++) {
        tasks[i] = make_task(&gate, &n_begun);
        assert_int_equal(cp_store_pool_submit(pool, &tasks[i].base), CP_OK);
    }
    await(&n_begun, 1);
    atomic_store(&tasks[0].unwanted, true); /* it runs: too late */
    atomic_store(&tasks[1].unwanted, true);
    atomic_store(&tasks[5].unwanted, true);
    cp_store_pool_sweep(pool);
    assert_int_equal(cp_store_pool_n_queued(pool), 3);
    atomic_store(&gate, true);
    for (size_t i = 2; i < 5; i++)
        await(&tasks[i].n_run, 1);
    task last = make_task(NULL, NULL); /* the list's end is right after the sweep */
    assert_int_equal(cp_store_pool_submit(pool, &last.base), CP_OK);
    await(&last.n_run, 1);
    cp_store_pool_free(pool);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(tasks[i].n_dropped, i == 1 || i == 5);
        assert_int_equal(tasks[i].n_run, i != 1 && i != 5);
    }
}

typedef struct freeing {
    cp_store_pool *pool;
    atomic_bool *gate;
} freeing;

static void *open_gate(void *arg) {
    freeing *f = arg;
    const struct timespec moment = {.tv_sec = 0, .tv_nsec = 20000000};
    nanosleep(&moment, NULL);
    atomic_store(f->gate, true);
    return NULL;
}

static void freeing_waits_for_what_runs_and_drops_the_rest(void **state) {
    (void)state;
    cp_error err;
    cp_store_pool *pool;
    atomic_bool gate = false;
    atomic_int n_begun = 0;
    task tasks[4];
    pthread_t opener;
    assert_cp_ok(cp_store_pool_create(1, 8, &pool, &err));
    for (size_t i = 0; i < 4; i++) {
        tasks[i] = make_task(&gate, &n_begun);
        assert_int_equal(cp_store_pool_submit(pool, &tasks[i].base), CP_OK);
    }
    await(&n_begun, 1);
    freeing f = {pool, &gate};
    assert_int_equal(pthread_create(&opener, NULL, open_gate, &f), 0);
    cp_store_pool_free(pool);
    pthread_join(opener, NULL);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(tasks[i].n_run + tasks[i].n_dropped, 1);
    assert_int_equal(tasks[0].n_run, 1);
    cp_store_pool_free(NULL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(tasks_beyond_the_queue_are_refused),
    cmocka_unit_test(a_sweep_drops_what_is_unwanted_only),
    cmocka_unit_test(freeing_waits_for_what_runs_and_drops_the_rest),
};
CP_TEST_GROUP(store_pool, tests)
