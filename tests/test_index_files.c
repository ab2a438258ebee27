/* The index in files: opened again, read by some while one writes, written by processes that are
 * killed. */
#include "tests/index_fixture.h"
#include "tests/test.h"

#include "base/clock.h"
#include "base/mem.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- what is there after opening again --------------------------------------------------------
 */

static void commits_and_compactions_survive_opening_again(void **state) {
    uint64_t random = 1;
    cp_error err;
    (void)state;
    index_new_dir();
    for (size_t i = 0; i < 20; i++) {
        cp_index *index = index_open(true);
        index_commit_some(index, 3, &random);
        if (i % 6 == 5)
            assert_cp_ok(cp_index_compact(index, &err));
        uint64_t digest = index_digest(index), salt = cp_index_salt(index);
        cp_index_close(index);
        index = index_open(false);
        assert_true(index_digest(index) == digest);
        assert_true(cp_index_salt(index) == salt);
        assert_int_equal(cp_index_width(index), TWIN_WIDTH);
        assert_string_equal(cp_index_model(index), "twin");
        cp_index_close(index);
        assert_int_equal(index_check_folder(), 4);
    }
}

static void a_reader_finds_no_index_where_there_is_none(void **state) {
    cp_error err;
    cp_index *index;
    (void)state;
    index_new_dir();
    assert_int_equal(index_try_open(false, 0, &index, &err), CP_ERR_NOT_FOUND);
    assert_null(index);
    assert_int_equal(mkdir(index_dir, 0700), 0);
    assert_int_equal(index_try_open(false, 0, &index, &err), CP_ERR_NOT_FOUND);
    assert_int_equal(index_check_folder(), 0);
}

static void one_writes_at_a_time(void **state) {
    cp_error err;
    cp_index *second;
    twin_doc doc;
    uint64_t random = 1;
    (void)state;
    index_new_dir();
    cp_index *index = index_open(true), *reader = index_open(false);
    assert_int_equal(index_try_open(true, 0, &second, &err), CP_ERR_BUSY);
    assert_null(second);
    cp_index_close(index);
    assert_cp_ok(index_try_open(true, 0, &second, &err));
    cp_index_close(second);
    twin_make_doc(&doc, 1, 1, &random);
    cp_chunk chunks[TWIN_MAX_CHUNKS];
    cp_index_doc put = twin_index_doc(&doc, chunks);
    assert_int_equal(cp_index_put(reader, &put, &err), CP_ERR_USAGE);
    assert_int_equal(cp_index_remove(reader, doc.mrn, doc.id, &err), CP_ERR_USAGE);
    assert_int_equal(cp_index_commit(reader, &err), CP_ERR_USAGE);
    assert_int_equal(cp_index_compact(reader, &err), CP_ERR_USAGE);
    cp_index_close(reader);
}

static void another_model_is_told_to_ingest_anew(void **state) {
    cp_error err;
    cp_index *index;
    (void)state;
    index_new_dir();
    cp_index_close(index_open(true));
    const cp_index_options others[] = {
        {.dir = index_dir, .write = true, .width = TWIN_WIDTH, .model = "another"},
        {.dir = index_dir, .write = true, .width = TWIN_WIDTH / 2, .model = "twin"},
        {.dir = index_dir, .write = true, .width = 0, .model = NULL},
        {.dir = index_dir, .write = false, .width = TWIN_WIDTH, .model = "another"},
        {.dir = index_dir, .write = false, .width = TWIN_WIDTH * 2, .model = "twin"},
    };
    for (size_t i = 0; i < CP_COUNT_OF(others); i++) {
        assert_int_equal(cp_index_open(&others[i], &index, &err), CP_ERR_UNSUPPORTED);
        assert_non_null(strstr(err.message, "ingest anew"));
        assert_null(index);
    }
}

/* ---- readers and a writer ---------------------------------------------------------------------
 */

static void readers_take_in_commits_and_compactions(void **state) {
    uint64_t random = 2;
    cp_error err;
    (void)state;
    index_new_dir();
    cp_index *writer = index_open(true), *often = index_open(false), *seldom = index_open(false);
    for (size_t i = 0; i < 30; i++) {
        index_commit_some(writer, 2, &random);
        if (i % 7 == 3)
            assert_cp_ok(cp_index_compact(writer, &err));
        uint64_t before = index_digest(often);
        assert_cp_ok(cp_index_refresh(often, &err));
        assert_true(index_digest(often) == index_digest(writer));
        assert_true(index_digest(often) != before);
        if (i % 10 == 9) {
            assert_cp_ok(cp_index_refresh(seldom, &err));
            assert_true(index_digest(seldom) == index_digest(writer));
        }
    }
    cp_index_close(writer);
    assert_cp_ok(cp_index_refresh(often, &err));
    cp_index_close(often);
    cp_index_close(seldom);
}

static bool remember(void *user, const cp_indexed_doc *doc) {
    uint32_t *rounds = user;
    memcpy(&rounds[doc->id[4] - '0'], doc->hash.bytes, sizeof *rounds);
    return true;
}

/* Two documents that are always committed together, again and again, with compactions. */
static _Noreturn void write_pairs(void) {
    cp_error err;
    cp_index *index;
    uint64_t random = 3;
    if (index_try_open(true, 50000, &index, &err) != CP_OK)
        _exit(2);
    for (uint32_t round = 1;; round++) {
        for (size_t d = 1; d <= 2; d++) {
            twin_doc doc;
            cp_chunk chunks[TWIN_MAX_CHUNKS];
            twin_make_doc(&doc, 1 + d, d, &random);
            memcpy(doc.hash.bytes, &round, sizeof round);
            cp_index_doc put = twin_index_doc(&doc, chunks);
            if (cp_index_put(index, &put, &err) != CP_OK)
                _exit(3);
        }
        if (cp_index_commit(index, &err) != CP_OK)
            _exit(4);
    }
}

static void a_reading_process_sees_whole_commits_in_order(void **state) {
    cp_error err;
    uint32_t last = 0, n_changes = 0;
    uint64_t end = cp_clock_ns() + 20000000000ull;
    (void)state;
    index_new_dir();
    cp_index_close(index_open(true));
    cp_index *reader = index_open(false);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        write_pairs();
    while (n_changes < 200 && cp_clock_ns() < end) {
        uint32_t rounds[10] = {0};
        assert_cp_ok(cp_index_refresh(reader, &err));
        cp_index_view *view = cp_index_view_take(reader);
        cp_index_view_each(view, NULL, remember, rounds);
        cp_index_view_release(view);
        assert_int_equal(rounds[1], rounds[2]);
        assert_true(rounds[1] >= last);
        n_changes += rounds[1] > last;
        last = rounds[1];
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    printf("%u states of %u seen\n", n_changes, last);
    assert_true(n_changes > 10);
    cp_index_close(reader);
}

/* ---- kill -9 ----------------------------------------------------------------------------------
 */

#define MAX_SEEN 65536

/* Commits documents, three at a time, and tells the numbers once they are acknowledged. The tail is
 * small, so that many a kill falls into a compaction. */
static _Noreturn void write_numbers(int out, uint32_t first) {
    cp_error err;
    cp_index *index;
    if (index_try_open(true, 30000, &index, &err) != CP_OK) {
        fprintf(stderr, "%s\n", err.message);
        _exit(2);
    }
    for (uint32_t number = first;; number += 3) {
        uint32_t numbers[] = {number, number + 1, number + 2};
        for (size_t i = 0; i < 3; i++) {
            twin_doc doc;
            cp_chunk chunks[TWIN_MAX_CHUNKS];
            index_make_numbered(&doc, numbers[i]);
            cp_index_doc put = twin_index_doc(&doc, chunks);
            if (cp_index_put(index, &put, &err) != CP_OK)
                _exit(3);
        }
        if (cp_index_commit(index, &err) != CP_OK ||
            write(out, numbers, sizeof numbers) != sizeof numbers)
            _exit(4);
    }
}

/* Kills a writer after `wait_us`; returns the first number that nobody wrote. */
static uint32_t kill_writer(uint32_t first, long wait_us, unsigned char *acked) {
    int out[2], status;
    uint32_t numbers[1024], end = first;
    ssize_t got;
    assert_int_equal(pipe(out), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(out[0]);
        write_numbers(out[1], first);
    }
    close(out[1]);
    nanosleep(&(struct timespec){wait_us / 1000000, wait_us % 1000000 * 1000}, NULL);
    assert_int_equal(kill(pid, SIGKILL), 0);
    while ((got = read(out[0], numbers, sizeof numbers)) > 0)
        for (size_t i = 0; i < (size_t)got / sizeof *numbers; i++) {
            assert_true(numbers[i] + 6 < MAX_SEEN);
            acked[numbers[i]] = 1;
            end = numbers[i] + 1;
        }
    close(out[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return end + 3; /* it may have been killed between the commit and its word */
}

static bool mark_seen(void *user, const cp_indexed_doc *doc) {
    uint32_t number;
    unsigned char *seen = user;
    memcpy(&number, doc->hash.bytes, sizeof number);
    assert_true(number < MAX_SEEN);
    seen[number]++;
    return true;
}

/* Opens what a kill left, as a reader or as a writer, and counts what is there. A writer that was
 * killed while it made the index leaves none. */
static void look(unsigned char *seen, bool write) {
    cp_error err;
    cp_index *index;
    memset(seen, 0, MAX_SEEN);
    cp_status status = index_try_open(write, 0, &index, &err);
    if (status == CP_ERR_NOT_FOUND && !write)
        return;
    assert_cp_ok(status);
    cp_index_view *view = cp_index_view_take(index);
    assert_cp_ok(cp_index_view_verify(view, &err));
    cp_index_view_each(view, NULL, mark_seen, seen);
    cp_index_view_release(view);
    cp_index_close(index);
}

static void kill_loses_nothing_acknowledged(void **state) {
    const char *wish = getenv("CP_INDEX_KILLS");
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    long kills = wish ? atol(wish) : 40;
#else
    long kills = wish ? atol(wish) : 200;
#endif
    uint64_t seed = cp_clock_ns(), random = seed, total = 0, unacked = 0, n_pairs = 0;
    unsigned char *acked = calloc(MAX_SEEN, 1), *seen = calloc(MAX_SEEN, 1);
    uint32_t first = 0;
    (void)state;
    assert_true(acked && seen);
    printf("seed %llu\n", (unsigned long long)seed);
    index_new_dir();
    for (long k = 0; k < kills; k++) {
        first = kill_writer(first, (long)(test_random(&random) % 30000), acked);
        look(seen, false);
        look(seen, true);
        assert_int_equal(index_check_folder(), 4);
        for (uint32_t i = 0; i < first; i++) {
            if (acked[i] && !seen[i])
                fail_msg("kill %ld: document %u was acknowledged and is lost", k, i);
            assert_true(seen[i] <= 1);
            if (i % 3 == 0) /* commits are whole */
                assert_true(seen[i] == seen[i + 1] && seen[i] == seen[i + 2]);
            unacked += k == kills - 1 && seen[i] && !acked[i];
            total += k == kills - 1 && acked[i];
        }
        if (k == kills - 1)
            sscanf(strrchr(index_only_file("segment-"), '-'), "-%llu",
                   (unsigned long long *)&n_pairs);
        if (first > MAX_SEEN / 2 ||
            k % 50 == 49) { /* a new one now and then: opening stays short */
            if (k < kills - 1) {
                index_new_dir();
                memset(acked, 0, MAX_SEEN);
                first = 0;
            }
        }
    }
    printf(
        "%ld kills; in the last index %llu documents acknowledged, %llu more there, %llu pairs\n",
        kills, (unsigned long long)total, (unsigned long long)unacked, (unsigned long long)n_pairs);
    assert_true(total > 0 && n_pairs > 1);
    free(acked);
    free(seen);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(commits_and_compactions_survive_opening_again),
    cmocka_unit_test(a_reader_finds_no_index_where_there_is_none),
    cmocka_unit_test(one_writes_at_a_time),
    cmocka_unit_test(another_model_is_told_to_ingest_anew),
    cmocka_unit_test(readers_take_in_commits_and_compactions),
    cmocka_unit_test(a_reading_process_sees_whole_commits_in_order),
    cmocka_unit_test(kill_loses_nothing_acknowledged),
};
CP_TEST_GROUP(index_files, tests)
