/* The index when its files are cut, damaged or exchanged, the disk is full, or memory runs out. */
#include "tests/index_fixture.h"
#include "tests/test.h"

#include "base/clock.h"
#include "base/file.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- damage -----------------------------------------------------------------------------------
 */

/* A commit that was cut anywhere: the state before it is there, for readers and writers, and the
 * next commit is kept. */
static void a_torn_commit_is_the_state_before_it(void **state) {
    index_sample s;
    uint64_t random = 5;
    (void)state;
    index_make_sample(&s);
    for (size_t n = s.last_frame; n <= s.tail.n; n++) {
        uint64_t expected = n == s.tail.n ? s.after : s.before;
        index_write_private(s.tail_path, s.tail.data, n);
        cp_index *index = index_open(false);
        assert_true(index_digest(index) == expected);
        cp_index_close(index);
        if (n % 16 != 0 && n != s.tail.n)
            continue;
        index = index_open(true);
        assert_true(index_digest(index) == expected);
        index_commit_some(index, 1, &random);
        expected = index_digest(index);
        cp_index_close(index);
        index = index_open(false);
        assert_true(index_digest(index) == expected);
        cp_index_close(index);
    }
    index_free_sample(&s);
}

/* As a file system may leave it: its length is there, its bytes are not. */
static void a_commit_of_zeros_is_cut_off(void **state) {
    index_sample s;
    (void)state;
    index_make_sample(&s);
    for (size_t from = s.last_frame; from < s.tail.n; from += 64) {
        cp_strbuf zeroed;
        cp_strbuf_init(&zeroed, s.tail.n + 1);
        cp_strbuf_append(&zeroed, s.tail.data, s.tail.n);
        memset(zeroed.data + from, 0, s.tail.n - from);
        index_write_private(s.tail_path, zeroed.data, zeroed.n);
        cp_index *index = index_open(true);
        assert_true(index_digest(index) == s.before ||
                    memcmp(zeroed.data, s.tail.data, s.tail.n) == 0);
        cp_index_close(index);
        cp_strbuf_deinit(&zeroed);
    }
    index_free_sample(&s);
}

/* A whole commit behind a damaged one was acknowledged after it: nobody may cut both off. */
static void damage_before_a_whole_commit_is_an_error(void **state) {
    index_sample s;
    cp_error err;
    cp_index *index;
    (void)state;
    index_make_sample(&s);
    for (size_t at = 64; at < s.last_frame; at += 37) {
        s.tail.data[at] ^= 0x10;
        index_write_private(s.tail_path, s.tail.data, s.tail.n);
        for (int write = 0; write < 2; write++) {
            cp_status status = index_try_open(write, 0, &index, &err);
            if (status == CP_OK) { /* padding, whose checksum alone could have told */
                fail_msg("byte %zu", at);
            }
            assert_int_equal(status, CP_ERR_FORMAT);
            assert_non_null(strstr(err.message, "damaged"));
            assert_non_null(strstr(err.message, "ingest anew"));
        }
        s.tail.data[at] ^= 0x10;
    }
    index_write_private(s.tail_path, s.tail.data, s.tail.n);
    index = index_open(true);
    assert_true(index_digest(index) == s.after);
    cp_index_close(index);
    index_free_sample(&s);
}

/* Asks everything; false when the index says that it is damaged. */
static bool answers(const cp_index_view *view, const index_sample *s) {
    cp_error err;
    cp_hit hits[40];
    size_t n;
    uint64_t random = 6;
    bool whole = true;
    for (size_t i = 0; i < 60; i++) {
        twin_query q = twin_make_query(&random);
        q.k = q.k < 40 ? q.k : 40;
        cp_status status =
            cp_index_view_lexical(view, &q.filter, q.terms, q.n_terms, q.k, hits, &n, &err);
        if (status == CP_OK)
            status = cp_index_view_nearest(view, &q.filter, (cp_vector){q.values, 1}, 1, q.k, hits,
                                           &n, &err);
        assert_true(status == CP_OK || status == CP_ERR_FORMAT);
        for (size_t h = 0; status == CP_OK && h < n; h++)
            assert_true(strlen(cp_index_view_item(view, hits[h].number).mrn) < 64);
        whole = whole && status == CP_OK;
    }
    cp_status status = cp_index_view_verify(view, &err);
    assert_true(status == CP_OK || status == CP_ERR_FORMAT);
    assert_true(status == CP_OK ? whole : err.message[0] != '\0');
    if (status == CP_OK) {
        uint64_t digest = twin_digest(view);
        assert_true(digest == s->before || digest == s->after);
    }
    return whole && status == CP_OK;
}

/* One file with a flipped bit; returns 0 refused at opening, 1 refused later, 2 as if nothing were.
 */
static int open_flipped(const index_sample *s, const char *path, cp_strbuf *bytes, size_t at,
                        char bit) {
    cp_error err;
    cp_index *index;
    int result = 0;
    bytes->data[at] ^= bit;
    index_write_private(path, bytes->data, bytes->n);
    cp_status status = index_try_open(false, 0, &index, &err);
    if (status == CP_OK) {
        cp_index_view *view = cp_index_view_take(index);
        result = 1 + answers(view, s);
        cp_index_view_release(view);
        cp_index_close(index);
    } else {
        assert_true(status == CP_ERR_FORMAT || status == CP_ERR_UNSUPPORTED);
        assert_true(strncmp(err.message, index_dir, strlen(index_dir)) == 0);
    }
    bytes->data[at] ^= bit;
    return result;
}

static void a_flipped_bit_is_an_error_or_the_state_before(void **state) {
    index_sample s;
    size_t n[3][3] = {{0}};
    uint64_t seed = cp_clock_ns(), random = seed;
    (void)state;
    index_make_sample(&s);
    printf("seed %llu\n", (unsigned long long)seed);
    const char *paths[] = {s.segment_path, s.tail_path, s.current_path};
    cp_strbuf *files[] = {&s.segment, &s.tail, &s.current};
    for (size_t f = 0; f < 3; f++) {
        size_t step = 1 + files[f]->n / 1000;
        for (size_t at = 0; at < files[f]->n; at += 1 + test_random(&random) % (2 * step - 1)) {
            char bit = (char)(1 << test_random(&random) % 8);
            n[f][open_flipped(&s, paths[f], files[f], at, bit)]++;
        }
        index_write_private(paths[f], files[f]->data, files[f]->n);
        printf("%s: %zu refused at opening, %zu when used, %zu harmless\n",
               f == 0   ? "segment"
               : f == 1 ? "tail"
                        : "current",
               n[f][0], n[f][1], n[f][2]);
    }
    assert_true(n[0][0] > 100 && n[0][1] > 50); /* the directory; postings and vectors */
    assert_true(n[1][0] > 100);
    assert_int_equal(n[2][1] + n[2][2], 0);
    cp_index *index = index_open(false);
    assert_true(index_digest(index) == s.after);
    cp_index_close(index);
    index_free_sample(&s);
}

/* Files that were shortened or exchanged. */
static void files_that_do_not_fit_are_refused(void **state) {
    index_sample s;
    cp_error err;
    cp_index *index;
    (void)state;
    index_make_sample(&s);
    for (size_t n = 0; n < s.segment.n; n += 1 + s.segment.n / 200) {
        index_write_private(s.segment_path, s.segment.data, n);
        assert_int_equal(index_try_open(false, 0, &index, &err), CP_ERR_FORMAT);
    }
    index_write_private(s.segment_path, s.segment.data, s.segment.n);
    for (size_t n = 0; n < 64; n++) {
        index_write_private(s.tail_path, s.tail.data, n);
        assert_int_equal(index_try_open(true, 0, &index, &err), CP_ERR_FORMAT);
    }
    assert_int_equal(unlink(s.tail_path), 0);
    assert_int_equal(index_try_open(true, 0, &index, &err), CP_ERR_FORMAT);
    assert_non_null(strstr(err.message, "is missing"));
    index_write_private(s.tail_path, s.tail.data, s.tail.n);
    assert_int_equal(unlink(s.current_path), 0);
    assert_int_equal(index_try_open(true, 0, &index, &err), CP_ERR_FORMAT);
    assert_non_null(strstr(err.message, "\"current\" is missing"));
    index_write_private(s.current_path, s.current.data, s.current.n);
    index_sample other;
    char first[512];
    snprintf(first, sizeof first, "%s", index_dir);
    index_make_sample(&other);
    snprintf(index_dir, sizeof index_dir, "%s", first);
    index_write_private(s.tail_path, other.tail.data, other.tail.n);
    assert_int_equal(index_try_open(true, 0, &index, &err), CP_ERR_FORMAT);
    assert_non_null(strstr(err.message, "another index"));
    index_free_sample(&s);
    index_free_sample(&other);
}

static void a_segment_that_is_cut_while_it_is_used_is_an_error(void **state) {
    index_sample s;
    cp_error err;
    cp_hit hits[40];
    size_t n;
    (void)state;
    index_make_sample(&s);
    cp_index *index = index_open(false);
    cp_index_view *view = cp_index_view_take(index);
    assert_int_equal(truncate(s.segment_path, 0), 0);
    twin_query q = {.filter = {CP_ANY_MRN, true, CP_ALL_KINDS}, .k = 40};
    cp_query_term term = {twin_word(0), 1, 0};
    assert_int_equal(
        cp_index_view_nearest(view, &q.filter, (cp_vector){q.values, 1}, 1, 40, hits, &n, &err),
        CP_ERR_IO);
    assert_int_equal(n, 0);
    assert_int_equal(cp_index_view_lexical(view, &q.filter, &term, 1, 40, hits, &n, &err),
                     CP_ERR_IO);
    assert_int_equal(cp_index_view_verify(view, &err), CP_ERR_IO);
    cp_index_view_release(view);
    cp_index_close(index);
    index_free_sample(&s);
}

/* What a killed compaction leaves is removed, what is not ours stays. */
static void left_over_files_are_removed(void **state) {
    index_sample s;
    (void)state;
    index_make_sample(&s);
    index_write_private(test_path(index_dir, "segment-99"), "x", 1);
    index_write_private(test_path(index_dir, "tail-99"), "x", 1);
    index_write_private(test_path(index_dir, "segment-1"), "x", 1);
    index_write_private(test_path(index_dir, "current.77.tmp"), "x", 1);
    index_write_private(test_path(index_dir, "segment-notes"), "x", 1);
    assert_int_equal(index_check_folder(), 9);
    cp_index *index = index_open(false);
    assert_true(index_digest(index) == s.after);
    cp_index_close(index);
    assert_int_equal(index_check_folder(), 9);
    index = index_open(true);
    assert_true(index_digest(index) == s.after);
    cp_index_close(index);
    assert_int_equal(index_check_folder(), 5);
    assert_true(cp_file_exists(test_path(index_dir, "segment-notes")));
    index_free_sample(&s);
}

/* ---- failures ---------------------------------------------------------------------------------
 */

/* In a process of its own: a limit on the size of files stands for a full disk. */
static _Noreturn void write_until_full(void) {
    cp_error err;
    cp_index *index;
    uint32_t number = 0;
    struct rlimit limit, small = {.rlim_cur = 20000};
    signal(SIGXFSZ, SIG_IGN);
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0)
        _exit(2);
    small.rlim_max = limit.rlim_max;
    if (index_try_open(true, 1 << 20, &index, &err) != CP_OK ||
        setrlimit(RLIMIT_FSIZE, &small) != 0)
        _exit(3);
    for (;; number++) {
        twin_doc doc;
        cp_chunk chunks[TWIN_MAX_CHUNKS];
        index_make_numbered(&doc, number);
        cp_index_doc put = twin_index_doc(&doc, chunks);
        if (cp_index_put(index, &put, &err) != CP_OK)
            _exit(4);
        if (cp_index_commit(index, &err) != CP_OK)
            break;
    }
    if (err.status != CP_ERR_IO || number < 3 || index_n_docs(index) != number)
        _exit(5);
    if (cp_index_commit(index, &err) != CP_ERR_IO || cp_index_compact(index, &err) != CP_OK)
        _exit(6);
    if (index_n_docs(index) != number || setrlimit(RLIMIT_FSIZE, &limit) != 0)
        _exit(7);
    /* What could not be committed waited, and is now. */
    if (cp_index_commit(index, &err) != CP_OK || index_n_docs(index) != number + 1)
        _exit(8);
    cp_index_close(index);
    if (index_try_open(false, 0, &index, &err) != CP_OK || index_n_docs(index) != number + 1)
        _exit(9);
    cp_index_close(index);
    _exit(0);
}

static void a_full_disk_fails_the_commit_and_nothing_else(void **state) {
    int status;
    (void)state;
    index_new_dir();
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        write_until_full();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* A compaction that cannot be written: the old pair goes on. */
static _Noreturn void compact_when_full(void) {
    cp_error err;
    cp_index *index;
    uint64_t random = 8;
    signal(SIGXFSZ, SIG_IGN);
    if (index_try_open(true, 1 << 20, &index, &err) != CP_OK)
        _exit(2);
    index_commit_some(index, 5, &random);
    uint64_t digest = index_digest(index);
    struct rlimit limit, small = {.rlim_cur = 1000};
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0)
        _exit(3);
    small.rlim_max = limit.rlim_max;
    if (setrlimit(RLIMIT_FSIZE, &small) != 0 || cp_index_compact(index, &err) != CP_ERR_IO ||
        index_digest(index) != digest || index_check_folder() != 4)
        _exit(4);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || cp_index_compact(index, &err) != CP_OK ||
        index_digest(index) != digest)
        _exit(5);
    cp_index_close(index);
    _exit(0);
}

static void a_compaction_that_fails_changes_nothing(void **state) {
    int status;
    (void)state;
    index_new_dir();
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        compact_when_full();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* The new pair is written but cannot be named: the old one is still there, and goes on. */
static void a_compaction_that_cannot_be_named_changes_nothing(void **state) {
    uint64_t random = 11;
    cp_error err;
    char name[64], obstacle[600];
    (void)state;
    index_new_dir();
    cp_index *index = index_open(true);
    index_commit_some(index, 5, &random);
    uint64_t digest = index_digest(index);
    snprintf(name, sizeof name, "current.%ld.tmp", (long)getpid());
    snprintf(obstacle, sizeof obstacle, "%s", test_path(index_dir, name));
    assert_int_equal(mkdir(obstacle, 0600), 0);
    assert_int_equal(cp_index_compact(index, &err), CP_ERR_IO);
    assert_int_equal(index_check_folder(), 5);
    assert_true(index_digest(index) == digest);
    cp_index *reader = index_open(false);
    assert_true(index_digest(reader) == digest);
    index_commit_some(index, 1, &random);
    digest = index_digest(index);
    assert_cp_ok(cp_index_refresh(reader, &err));
    assert_true(index_digest(reader) == digest);
    assert_int_equal(rmdir(obstacle), 0);
    assert_cp_ok(cp_index_compact(index, &err));
    assert_cp_ok(cp_index_refresh(reader, &err));
    assert_true(index_digest(reader) == digest);
    cp_index_close(reader);
    cp_index_close(index);
}

/* The folder as it was when the sample was made. */
static void restore(const index_sample *s) {
    DIR *list = opendir(index_dir);
    assert_non_null(list);
    for (struct dirent *entry; (entry = readdir(list));)
        if (entry->d_name[0] != '.')
            assert_int_equal(unlink(test_path(index_dir, entry->d_name)), 0);
    closedir(list);
    index_write_private(s->segment_path, s->segment.data, s->segment.n);
    index_write_private(s->tail_path, s->tail.data, s->tail.n);
    index_write_private(s->current_path, s->current.data, s->current.n);
}

/* What a process does with an index, one after another until something fails. */
static cp_status use_index(const twin_doc *doc, cp_index **index, cp_index **reader,
                           cp_error *err) {
    cp_hit hits[10];
    size_t n_hits;
    cp_chunk chunks[TWIN_MAX_CHUNKS];
    cp_index_doc put = twin_index_doc(doc, chunks);
    cp_entry_filter all = {CP_ANY_MRN, true, CP_ALL_KINDS};
    cp_query_term term = {twin_word(0), 1, 0};
    cp_status status = index_try_open(true, 0, index, err);
    if (status == CP_OK)
        status = cp_index_put(*index, &put, err);
    if (status == CP_OK)
        status = cp_index_remove(*index, twin_mrns[3], "doc-3", err);
    if (status == CP_OK)
        status = cp_index_commit(*index, err);
    if (status == CP_OK)
        status = index_try_open(false, 0, reader, err);
    if (status == CP_OK)
        status = cp_index_compact(*index, err);
    if (status == CP_OK)
        status = cp_index_refresh(*reader, err);
    if (status == CP_OK)
        status = cp_index_put(*index, &put, err);
    if (status == CP_OK)
        status = cp_index_commit(*index, err);
    if (status == CP_OK)
        status = cp_index_refresh(*reader, err);
    if (status != CP_OK)
        return status;
    cp_index_view *view = cp_index_view_take(*reader);
    status = cp_index_view_lexical(view, &all, &term, 1, 10, hits, &n_hits, err);
    if (status == CP_OK)
        status = cp_index_view_nearest(view, &all, (cp_vector){doc->chunks[0].values, 1}, 1, 10,
                                       hits, &n_hits, err);
    cp_index_view_release(view);
    return status;
}

static void no_failed_allocation_hurts(void **state) {
    uint64_t random = 10;
    index_sample s;
    twin_doc doc;
    cp_error err;
    bool failed = true;
    long n;
    (void)state;
    index_make_sample(&s);
    twin_make_doc(&doc, 1, 1, &random);
    for (n = 1; failed; n++) {
        cp_index *index = NULL, *reader = NULL;
        restore(&s);
        test_alloc_reset();
        test_alloc_fail_at(n, 0);
        err.message[0] = '\0';
        cp_status status = use_index(&doc, &index, &reader, &err);
        failed = test_alloc_count() >= n;
        test_alloc_fail_at(0, 0);
        if (status != CP_OK) {
            assert_true(failed);
            assert_int_equal(status, CP_ERR_NO_MEMORY);
            assert_true(err.message[0] != '\0');
        }
        if (index) { /* it goes on: nothing was lost, and what waits can be committed */
            assert_cp_ok(cp_index_commit(index, &err));
            assert_true(index_digest(index) != 0);
        }
        cp_index_close(reader);
        cp_index_close(index);
        reader = index_open(false); /* whatever failed, what is there is whole */
        cp_index_view *view = cp_index_view_take(reader);
        assert_cp_ok(cp_index_view_verify(view, &err));
        if (status == CP_OK)
            assert_int_equal(cp_index_view_has(view, doc.mrn, doc.id, &doc.hash), CP_INDEXED_FRESH);
        else
            assert_true(cp_index_view_stats(view).n_docs >= 5);
        cp_index_view_release(view);
        cp_index_close(reader);
    }
    printf("%ld allocations failed in turn\n", n - 2);
    assert_true(n > 100);
    index_free_sample(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_torn_commit_is_the_state_before_it),
    cmocka_unit_test(a_commit_of_zeros_is_cut_off),
    cmocka_unit_test(damage_before_a_whole_commit_is_an_error),
    cmocka_unit_test(a_flipped_bit_is_an_error_or_the_state_before),
    cmocka_unit_test(files_that_do_not_fit_are_refused),
    cmocka_unit_test(a_segment_that_is_cut_while_it_is_used_is_an_error),
    cmocka_unit_test(left_over_files_are_removed),
    cmocka_unit_test(a_full_disk_fails_the_commit_and_nothing_else),
    cmocka_unit_test(a_compaction_that_fails_changes_nothing),
    cmocka_unit_test(a_compaction_that_cannot_be_named_changes_nothing),
    cmocka_unit_test(no_failed_allocation_hurts),
};
CP_TEST_GROUP(index_faults, tests)
