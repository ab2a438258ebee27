/* Blocks of keys and values: who holds them, who finds them, who goes first. */
#include "tests/test.h"

#include "engine/kv_cache.h"
#include "engine/kv_pool.h"

#define N CP_KV_BLOCK

static cp_kv_pool *make(size_t n_blocks) {
    cp_kv_pool *pool;
    cp_error err;
    assert_cp_ok(cp_kv_pool_create(64, n_blocks, &pool, &err));
    return pool;
}

/* Tokens that differ from those of every other `what`. */
static void fill(int32_t ids[N], int what) {
    for (int i = 0; i < N; i++)
        ids[i] = what * 1000 + i;
}

static void blocks_are_taken_and_given_back(void **state) {
    cp_kv_pool *pool = make(3);
    cp_kv_block_id a = cp_kv_pool_take(pool), b = cp_kv_pool_take(pool), c = cp_kv_pool_take(pool);
    (void)state;
    assert_true(a != b && b != c && a != c && a < 3 && b < 3 && c < 3);
    assert_true(cp_kv_pool_memory(pool, a) != cp_kv_pool_memory(pool, b));
    assert_int_equal(cp_kv_pool_take(pool), CP_KV_NO_BLOCK);
    cp_kv_pool_hold(pool, b);
    cp_kv_pool_drop(pool, b);
    assert_int_equal(cp_kv_pool_take(pool), CP_KV_NO_BLOCK); /* one still holds it */
    cp_kv_pool_drop(pool, b);
    assert_int_equal(cp_kv_pool_take(pool), b);
    cp_kv_pool_free(pool);
    cp_error err;
    assert_int_equal(cp_kv_pool_create(64, 0, &pool, &err), CP_ERR_LIMIT);
    assert_int_equal(cp_kv_pool_create(SIZE_MAX / 2, 3, &pool, &err), CP_ERR_LIMIT);
}

static void published_tokens_are_found_in_their_chain_only(void **state) {
    cp_kv_pool *pool = make(8);
    int32_t one[N], two[N], other[N];
    size_t same;
    cp_kv_link next, root = cp_kv_pool_root(pool, "a");
    (void)state;
    fill(one, 1);
    fill(two, 2);
    fill(other, 1);
    other[20] = -1;
    cp_kv_block_id first = cp_kv_pool_take(pool), second = cp_kv_pool_take(pool);
    cp_kv_link behind = cp_kv_pool_publish(pool, root, one, N, first);
    cp_kv_pool_publish(pool, behind, two, N, second);
    assert_false(cp_kv_pool_is_private(pool, first));

    assert_int_equal(cp_kv_pool_find(pool, root, one, N, &same, &next), first);
    assert_int_equal(same, N);
    assert_true(next.serial == behind.serial && next.key == behind.key);
    assert_int_equal(cp_kv_pool_find(pool, next, two, N, &same, &next), second);
    assert_int_equal(cp_kv_pool_find(pool, root, other, N, &same, &next), first);
    assert_int_equal(same, 20); /* a part of it */
    assert_int_equal(cp_kv_pool_find(pool, root, two, N, &same, &next), CP_KV_NO_BLOCK);
    assert_int_equal(cp_kv_pool_find(pool, behind, one, N, &same, &next), CP_KV_NO_BLOCK);
    cp_kv_link stranger = cp_kv_pool_root(pool, "b");
    assert_int_equal(cp_kv_pool_find(pool, stranger, one, N, &same, &next), CP_KV_NO_BLOCK);
    assert_true(cp_kv_pool_root(pool, "a").serial == root.serial);

    /* The same tokens again: the place is the first one's, the block stays its holder's. */
    cp_kv_block_id again = cp_kv_pool_take(pool);
    assert_true(cp_kv_pool_publish(pool, root, one, N, again).serial == behind.serial);
    assert_true(cp_kv_pool_is_private(pool, again));
    cp_kv_pool_free(pool);
}

static void what_was_dropped_longest_ago_goes_first(void **state) {
    cp_kv_pool *pool = make(3);
    cp_kv_link root = cp_kv_pool_root(pool, ""), next;
    cp_kv_block_id blocks[3];
    size_t same;
    (void)state;
    for (int i = 0; i < 3; i++) {
        int32_t ids[N];
        fill(ids, i + 1);
        blocks[i] = cp_kv_pool_take(pool);
        cp_kv_pool_publish(pool, root, ids, N, blocks[i]);
    }
    cp_kv_pool_drop(pool, blocks[1]);
    cp_kv_pool_drop(pool, blocks[0]);
    cp_kv_pool_drop(pool, blocks[2]);
    assert_int_equal(cp_kv_pool_get_stats(pool).n_cached, 3);
    cp_kv_pool_hold(pool, blocks[1]); /* found again: now the newest */
    cp_kv_pool_drop(pool, blocks[1]);
    assert_int_equal(cp_kv_pool_take(pool), blocks[0]);
    assert_int_equal(cp_kv_pool_take(pool), blocks[2]);
    int32_t ids[N];
    fill(ids, 1);
    assert_int_equal(cp_kv_pool_find(pool, root, ids, N, &same, &next), CP_KV_NO_BLOCK);
    fill(ids, 2);
    assert_int_equal(cp_kv_pool_find(pool, root, ids, N, &same, &next), blocks[1]);
    cp_kv_pool_stats stats = cp_kv_pool_get_stats(pool);
    assert_true(stats.n_evicted == 2 && stats.n_held == 2 && stats.n_cached == 1);
    cp_kv_pool_free(pool);
}

/* A block that took the memory of another is not found in the other's chain. */
static void a_child_outlives_no_parent(void **state) {
    cp_kv_pool *pool = make(2);
    cp_kv_link root = cp_kv_pool_root(pool, ""), next;
    int32_t one[N], two[N], three[N];
    size_t same;
    (void)state;
    fill(one, 1);
    fill(two, 2);
    fill(three, 3);
    cp_kv_block_id parent = cp_kv_pool_take(pool), child = cp_kv_pool_take(pool);
    cp_kv_link behind = cp_kv_pool_publish(pool, root, one, N, parent);
    cp_kv_pool_publish(pool, behind, two, N, child);
    cp_kv_pool_drop(pool, parent);
    cp_kv_pool_drop(pool, child);
    assert_int_equal(cp_kv_pool_take(pool), parent);
    cp_kv_link fresh = cp_kv_pool_publish(pool, root, one, N, parent); /* the same tokens anew */
    assert_int_equal(cp_kv_pool_find(pool, root, one, N, &same, &next), parent);
    assert_int_equal(cp_kv_pool_find(pool, fresh, two, N, &same, &next), CP_KV_NO_BLOCK);
    cp_kv_pool_free(pool);
}

static bool is_zero(const cp_kv_pool *pool, cp_kv_block_id block) {
    const unsigned char *memory = cp_kv_pool_memory(pool, block);
    for (size_t i = 0; i < cp_kv_pool_get_stats(pool).block_bytes; i++)
        if (memory[i])
            return false;
    return true;
}

/* Found or not, nothing of it is left; what was used meanwhile stays. */
static void what_was_unused_too_long_is_forgotten_and_zero(void **state) {
    static const size_t sizes[] = {64, 4096, 10000, 20000}; /* with and without whole pages */
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        cp_kv_pool *pool;
        cp_error err;
        int32_t old[N], fresh[N];
        size_t same;
        cp_kv_link next;
        fill(old, 1);
        fill(fresh, 2);
        assert_cp_ok(cp_kv_pool_create(sizes[i], 5, &pool, &err));
        cp_kv_link root = cp_kv_pool_root(pool, "a");
        cp_kv_block_id ids[4]; /* forgotten, used again, never published, held */
        for (size_t k = 0; k < 4; k++) {
            ids[k] = cp_kv_pool_take(pool);
            memset(cp_kv_pool_memory(pool, ids[k]), 0x5a, sizes[i]);
        }
        cp_kv_pool_expire(pool, 100, 60);
        cp_kv_pool_publish(pool, root, old, N, ids[0]);
        cp_kv_pool_publish(pool, root, fresh, N, ids[1]);
        for (size_t k = 0; k < 3; k++)
            cp_kv_pool_drop(pool, ids[k]);
        assert_int_equal(cp_kv_pool_get_stats(pool).n_left, 3);
        cp_kv_pool_expire(pool, 130, 60);
        cp_kv_pool_hold(pool, ids[1]);
        cp_kv_pool_drop(pool, ids[1]);
        cp_kv_pool_expire(pool, 159, 60);
        assert_int_equal(cp_kv_pool_find(pool, root, old, N, &same, &next), ids[0]);
        assert_false(is_zero(pool, ids[2]));

        cp_kv_pool_expire(pool, 160, 60);
        assert_int_equal(cp_kv_pool_find(pool, root, old, N, &same, &next), CP_KV_NO_BLOCK);
        assert_int_equal(cp_kv_pool_find(pool, root, fresh, N, &same, &next), ids[1]);
        assert_true(is_zero(pool, ids[0]) && is_zero(pool, ids[2]));
        assert_false(is_zero(pool, ids[1]) || is_zero(pool, ids[3]));
        cp_kv_pool_stats stats = cp_kv_pool_get_stats(pool);
        assert_true(stats.n_expired == 1 && stats.n_evicted == 0 && stats.n_left == 1 &&
                    stats.n_cached == 1 && stats.n_held == 1);
        cp_kv_pool_expire(pool, 190, 60);
        assert_true(is_zero(pool, ids[1]));
        assert_int_equal(cp_kv_pool_get_stats(pool).n_left, 0);
        cp_kv_pool_expire(pool, 100000, 60); /* what is held never is */
        assert_false(is_zero(pool, ids[3]));
        for (size_t k = 0; k < 4; k++) /* all the others can be taken again, each once */
            assert_int_not_equal(cp_kv_pool_take(pool), CP_KV_NO_BLOCK);
        assert_int_equal(cp_kv_pool_take(pool), CP_KV_NO_BLOCK);
        cp_kv_pool_free(pool);
    }
}

/* One call clears a bounded number; the next go on. */
static void a_large_pool_expires_by_and_by(void **state) {
    enum { BLOCKS = 10000 };
    static cp_kv_block_id ids[BLOCKS];
    cp_kv_pool *pool = make(BLOCKS);
    size_t n_calls = 0;
    (void)state;
    for (size_t i = 0; i < BLOCKS; i++)
        ids[i] = cp_kv_pool_take(pool);
    for (size_t i = 0; i < BLOCKS; i++)
        cp_kv_pool_drop(pool, ids[i]);
    for (; cp_kv_pool_get_stats(pool).n_left > 0 && n_calls < BLOCKS; n_calls++)
        cp_kv_pool_expire(pool, 1000 + n_calls, 10);
    assert_in_range(n_calls, 10, 1000);
    cp_kv_pool_free(pool);
}

/* Random work against a plain model: what is found was published and never is another's. */
static void random_work_keeps_its_books(void **state) {
    enum { BLOCKS = 24, STEPS = 20000 };
    static const char *const owners[] = {"", "x", "y"};
    uint64_t seed = 7;
    cp_kv_pool *pool = make(BLOCKS);
    struct {
        cp_kv_block_id block;
        int owner, what;
    } held[BLOCKS];
    struct {
        int owner, what;
    } contents[BLOCKS] = {{0, 0}};
    size_t n_held = 0;
    (void)state;
    for (int step = 0; step < STEPS; step++) {
        int owner = (int)(test_random(&seed) % 3), what = 1 + (int)(test_random(&seed) % 12);
        int32_t ids[N];
        size_t same;
        cp_kv_link root = cp_kv_pool_root(pool, owners[owner]), next;
        fill(ids, what);
        if (step % 64 == 0)
            cp_kv_pool_expire(pool, (uint64_t)step, 100);
        cp_kv_block_id found = cp_kv_pool_find(pool, root, ids, N, &same, &next);
        if (found != CP_KV_NO_BLOCK) {
            assert_int_equal(same, N);
            assert_true(contents[found].owner == owner && contents[found].what == what);
        }
        if (n_held < BLOCKS && test_random(&seed) % 2) {
            cp_kv_block_id block = found;
            if (found != CP_KV_NO_BLOCK) {
                cp_kv_pool_hold(pool, found);
            } else if ((block = cp_kv_pool_take(pool)) != CP_KV_NO_BLOCK) {
                contents[block].owner = owner;
                contents[block].what = what;
                cp_kv_pool_publish(pool, root, ids, N, block);
            }
            if (block != CP_KV_NO_BLOCK) {
                held[n_held].block = block;
                held[n_held].owner = owner;
                held[n_held++].what = what;
            }
        } else if (n_held > 0) {
            size_t i = test_random(&seed) % n_held;
            cp_kv_block_id block = held[i].block;
            assert_true(contents[block].owner == held[i].owner &&
                        contents[block].what == held[i].what);
            cp_kv_pool_drop(pool, block);
            held[i] = held[--n_held];
        }
    }
    cp_kv_pool_stats stats = cp_kv_pool_get_stats(pool);
    assert_true(stats.n_evicted > 100 && stats.n_expired > 0 &&
                stats.n_held + stats.n_cached <= BLOCKS);
    cp_kv_pool_free(pool);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(blocks_are_taken_and_given_back),
    cmocka_unit_test(published_tokens_are_found_in_their_chain_only),
    cmocka_unit_test(what_was_dropped_longest_ago_goes_first),
    cmocka_unit_test(a_child_outlives_no_parent),
    cmocka_unit_test(what_was_unused_too_long_is_forgotten_and_zero),
    cmocka_unit_test(a_large_pool_expires_by_and_by),
    cmocka_unit_test(random_work_keeps_its_books),
};
CP_TEST_GROUP(kv_pool, tests)
