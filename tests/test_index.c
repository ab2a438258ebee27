/* The local index against a naive twin: what is found, for whom, in which state. */
#include "tests/index_twin.h"
#include "tests/test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "retrieval/vector_store.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

static char dir[512];

static const char *new_dir(void) {
    static int n;
    snprintf(dir, sizeof dir, "%s/index-%d", test_tmp_dir(), n++);
    return dir;
}

static cp_index *open_index(const char *where, bool write, size_t tail_bytes) {
    cp_error err;
    cp_index *index;
    cp_index_options options = {.dir = where,
                                .write = write,
                                .width = write ? TWIN_WIDTH : 0,
                                .model = write ? "twin" : NULL,
                                .tail_bytes = tail_bytes};
    assert_cp_ok(cp_index_open(&options, &index, &err));
    return index;
}

/* ---- against the twin -------------------------------------------------------------------------
 */

/* Puts, replaces or removes one document in both. */
static void change(cp_index *index, twin *all, uint64_t *random) {
    cp_error err;
    size_t patient = test_random(random) % TWIN_PATIENTS, id = test_random(random) % TWIN_IDS;
    twin_doc *doc = &all->docs[patient][id];
    if (test_random(random) % 4 == 0) {
        char name[32];
        snprintf(name, sizeof name, "doc-%zu", id);
        assert_cp_ok(cp_index_remove(index, twin_mrns[patient], name, &err));
        doc->lives = false;
        return;
    }
    twin_make_doc(doc, patient, id, random);
    twin_put(index, doc);
}

static void compare(cp_index *index, const twin *all, size_t n_queries, uint64_t *random,
                    size_t *n_hits) {
    cp_index_view *view = cp_index_view_take(index);
    cp_error err;
    twin_compare_docs(all, view);
    for (size_t i = 0; i < n_queries; i++) {
        twin_query query = twin_make_query(random);
        *n_hits += twin_compare(all, view, &query);
    }
    assert_cp_ok(cp_index_view_verify(view, &err));
    cp_index_view_release(view);
}

/* Without dead entries frequencies are exact. */
static void compare_frequencies(cp_index *index, const twin *all) {
    cp_index_view *view = cp_index_view_take(index);
    const twin_doc *docs = &all->docs[0][0];
    for (size_t word = 0; word < TWIN_WORDS + 1; word++) {
        double df = 0, n = 0, words = 0;
        for (size_t d = 0; d < TWIN_PATIENTS * TWIN_IDS; d++)
            for (size_t c = 0; docs[d].lives && c < docs[d].n_chunks; c++, n++) {
                words += docs[d].chunks[c].n_words;
                for (size_t t = 0; t < docs[d].chunks[c].n_terms; t++)
                    df += docs[d].chunks[c].terms[t].hash == twin_word(word);
            }
        assert_true(cp_index_view_idf(view, twin_word(word)) ==
                    (float)log(1 + (n - df + 0.5) / (df + 0.5)));
        assert_true(cp_index_view_mean_words(view) == (words > 0 ? (float)(words / n) : 1));
    }
    cp_index_view_release(view);
}

static void finds_what_the_twin_finds(const char *where, size_t rounds, size_t n_queries) {
    uint64_t seed = cp_clock_ns(), random = seed;
    static twin all;
    size_t n_hits = 0, n_compactions = 0;
    cp_error err;
    printf("seed %llu\n", (unsigned long long)seed);
    memset(&all, 0, sizeof all);
    cp_index *index = open_index(where, true, 0);
    for (size_t round = 0; round < rounds; round++) {
        for (size_t n = test_random(&random) % 12; n > 0; n--)
            change(index, &all, &random);
        assert_cp_ok(cp_index_commit(index, &err));
        if (test_random(&random) % 8 == 0) {
            assert_cp_ok(cp_index_compact(index, &err));
            compare_frequencies(index, &all);
            n_compactions++;
        }
        if (where && test_random(&random) % 5 == 0) {
            cp_index_close(index);
            index = open_index(where, true, 0);
        }
        compare(index, &all, n_queries, &random, &n_hits);
    }
    printf("%zu lexical and as many nearest queries, %zu hits, %zu compactions\n",
           rounds * n_queries, n_hits, n_compactions);
    assert_true(n_hits > rounds * n_queries && n_compactions > 0);
    cp_index_close(index);
}

static void random_queries_find_what_a_naive_search_finds(void **state) {
    (void)state;
    finds_what_the_twin_finds(new_dir(), 100, 100);
}

static void memory_and_files_are_the_same_index(void **state) {
    (void)state;
    finds_what_the_twin_finds(NULL, 60, 10);
}

/* Thousands of entries: many blocks of postings, many windows. */
static void long_postings_are_found_by_all_and_by_one(void **state) {
    cp_error err;
    size_t n_docs = 9000, n_hits;
    cp_index *index = open_index(NULL, true, 0);
    (void)state;
    for (size_t d = 0; d < n_docs; d++) {
        char mrn[16], id[16];
        cp_term terms[] = {{10, (uint32_t)(1 + d % 3)}, {20, 1}, {1000 + d % 1000, 1}};
        cp_chunk chunks[2] = {{0, 10, 50, terms, d % 2 ? 3 : 1, {NULL, 0}},
                              {10, 10, 60, terms + 1, 1, {NULL, 0}}};
        snprintf(mrn, sizeof mrn, "%05zu", d / 3);
        snprintf(id, sizeof id, "%zu", d);
        cp_index_doc doc = {mrn, id, CP_ENTRY_DOCUMENT, {{0}}, chunks, 2};
        assert_cp_ok(cp_index_put(index, &doc, &err));
        if (d == 3000 || d == 8998)
            assert_cp_ok(cp_index_commit(index, &err));
    }
    assert_cp_ok(cp_index_commit(index, &err));
    cp_hit *hits = calloc(2 * n_docs, sizeof *hits);
    unsigned char *seen = calloc(2 * n_docs, 1);
    assert_true(hits && seen);
    for (int round = 0; round < 2; round++) {
        cp_index_view *view = cp_index_view_take(index);
        cp_entry_filter all = {CP_ANY_MRN, false, CP_ALL_KINDS};
        cp_query_term terms[] = {{10, 1, 0}, {20, 1, 1}};
        assert_cp_ok(cp_index_view_lexical(view, &all, terms, 2, 2 * n_docs, hits, &n_hits, &err));
        assert_int_equal(n_hits, 2 * n_docs);
        memset(seen, 0, 2 * n_docs);
        for (size_t i = 0; i < n_hits; i++)
            assert_int_equal(seen[hits[i].number]++, 0);
        for (size_t who = 0; who < n_docs / 3; who += 97) {
            char mrn[16];
            snprintf(mrn, sizeof mrn, "%05zu", who);
            cp_entry_filter one = {mrn, true, CP_ALL_KINDS};
            assert_cp_ok(cp_index_view_lexical(view, &one, terms, 2, 100, hits, &n_hits, &err));
            assert_int_equal(n_hits, 6);
            for (size_t i = 0; i < n_hits; i++)
                assert_string_equal(cp_index_view_item(view, hits[i].number).mrn, mrn);
        }
        cp_index_view_release(view);
        assert_cp_ok(cp_index_compact(index, &err));
    }
    free(hits);
    free(seen);
    cp_index_close(index);
}

/* ---- states -----------------------------------------------------------------------------------
 */

static void views_keep_their_state_whatever_is_written(void **state) {
    uint64_t random = 5;
    static twin all;
    cp_error err;
    cp_index_view *views[12];
    uint64_t digests[12];
    (void)state;
    memset(&all, 0, sizeof all);
    cp_index *index = open_index(new_dir(), true, 0);
    for (size_t i = 0; i < 12; i++) {
        for (size_t n = 0; n < 9; n++)
            change(index, &all, &random);
        assert_cp_ok(cp_index_commit(index, &err));
        views[i] = cp_index_view_take(index);
        digests[i] = twin_digest(views[i]);
        if (i % 4 == 3)
            assert_cp_ok(cp_index_compact(index, &err));
    }
    for (size_t i = 0; i < 12; i++) {
        assert_true(twin_digest(views[i]) == digests[i]);
        assert_true(i == 0 || digests[i] != digests[i - 1]);
        if (i > 0)
            assert_true(cp_index_view_stats(views[i]).generation >
                        cp_index_view_stats(views[i - 1]).generation);
    }
    for (size_t i = 0; i < 12; i++)
        cp_index_view_release(views[i]);
    cp_index_close(index);
}

static void the_last_word_on_a_document_counts(void **state) {
    uint64_t random = 6;
    twin_doc first, second;
    cp_error err;
    (void)state;
    cp_index *index = open_index(NULL, true, 0);
    twin_make_doc(&first, 1, 1, &random);
    twin_make_doc(&second, 1, 1, &random);
    twin_put(index, &first);
    assert_cp_ok(cp_index_remove(index, first.mrn, first.id, &err));
    twin_put(index, &second);
    cp_index_view *view = cp_index_view_take(index);
    assert_int_equal(cp_index_view_has(view, first.mrn, first.id, &second.hash), CP_INDEXED_NOT);
    cp_index_view_release(view);
    assert_cp_ok(cp_index_commit(index, &err));
    view = cp_index_view_take(index);
    assert_int_equal(cp_index_view_has(view, first.mrn, first.id, &second.hash), CP_INDEXED_FRESH);
    assert_int_equal(cp_index_view_stats(view).n_docs, 1);
    cp_index_view_release(view);
    twin_put(index, &first);
    assert_cp_ok(cp_index_remove(index, first.mrn, first.id, &err));
    assert_cp_ok(cp_index_commit(index, &err));
    view = cp_index_view_take(index);
    assert_int_equal(cp_index_view_has(view, first.mrn, first.id, &first.hash), CP_INDEXED_NOT);
    assert_int_equal(cp_index_view_stats(view).n_docs, 0);
    cp_index_view_release(view);
    cp_index_close(index);
}

static void what_was_not_committed_is_dropped(void **state) {
    uint64_t random = 7;
    twin_doc doc;
    cp_error err;
    (void)state;
    cp_index *index = open_index(new_dir(), true, 0);
    twin_make_doc(&doc, 1, 1, &random);
    twin_put(index, &doc);
    cp_index_close(index);
    index = open_index(dir, true, 0);
    assert_cp_ok(cp_index_commit(index, &err));
    cp_index_view *view = cp_index_view_take(index);
    assert_int_equal(cp_index_view_stats(view).n_docs, 0);
    cp_index_view_release(view);
    cp_index_close(index);
}

/* Replacing one document for ever must not make the index grow. */
static void dead_entries_and_long_tails_are_compacted_away(void **state) {
    uint64_t random = 8;
    twin_doc doc;
    cp_error err;
    size_t most = 0;
    (void)state;
    cp_index *index = open_index(new_dir(), true, 20000);
    for (size_t i = 0; i < 300; i++) {
        twin_make_doc(&doc, 1 + i % 3, i % 5, &random);
        twin_put(index, &doc);
        assert_cp_ok(cp_index_commit(index, &err));
        cp_index_view *view = cp_index_view_take(index);
        cp_index_stats stats = cp_index_view_stats(view);
        size_t bytes = stats.tail_bytes + stats.segment_bytes;
        most = bytes > most ? bytes : most;
        cp_index_view_release(view);
    }
    assert_in_range(most, 1000, 20000 + 30000);
    cp_index_close(index);
}

/* ---- refusals ---------------------------------------------------------------------------------
 */

static void documents_that_break_the_contract_are_refused(void **state) {
    cp_error err;
    cp_index *index = open_index(NULL, true, 0);
    int8_t values[TWIN_WIDTH] = {1};
    cp_term ascending[] = {{1, 1}, {2, 1}}, twice[] = {{2, 1}, {2, 1}}, none[] = {{1, 0}, {2, 1}};
    char id_128[129], id_129[130], mrn_63[64], mrn_64[65];
    (void)state;
    memset(id_129, 'x', sizeof id_129);
    id_129[129] = '\0';
    memcpy(id_128, id_129 + 1, sizeof id_128);
    memset(mrn_64, 'm', sizeof mrn_64);
    mrn_64[64] = '\0';
    memcpy(mrn_63, mrn_64 + 1, sizeof mrn_63);
    const struct {
        const char *mrn, *id;
        const cp_term *terms;
        float scale;
        size_t n_chunks;
        int kind;
        cp_status expected;
    } cases[] = {
        {"A", "a", ascending, 1, 1, 1, CP_OK},
        {mrn_63, id_128, ascending, 1, 1, 1, CP_OK},
        {"A", "", ascending, 1, 1, 1, CP_ERR_USAGE},
        {"A", id_129, ascending, 1, 1, 1, CP_ERR_USAGE},
        {mrn_64, "a", ascending, 1, 1, 1, CP_ERR_USAGE},
        {CP_ANY_MRN, "a", ascending, 1, 1, 1, CP_ERR_USAGE},
        {"A", "a", twice, 1, 1, 1, CP_ERR_USAGE},
        {"A", "a", none, 1, 1, 1, CP_ERR_USAGE},
        {"A", "a", ascending, 0, 1, 1, CP_ERR_USAGE},
        {"A", "a", ascending, NAN, 1, 1, CP_ERR_USAGE},
        {"A", "a", ascending, INFINITY, 1, 1, CP_ERR_USAGE},
        {"A", "a", ascending, 1, 0, 1, CP_ERR_USAGE},
        {"A", "a", ascending, 1, 1, CP_N_ENTRY_KINDS, CP_ERR_USAGE},
    };
    size_t n_kept = 0;
    for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
        cp_chunk chunk = {0, 1, 2, cases[i].terms, 2, {values, cases[i].scale}};
        cp_index_doc doc = {cases[i].mrn, cases[i].id, (cp_entry_kind)cases[i].kind,
                            {{0}},        &chunk,      cases[i].n_chunks};
        assert_int_equal(cp_index_put(index, &doc, &err), cases[i].expected);
        n_kept += cases[i].expected == CP_OK;
    }
    assert_cp_ok(cp_index_commit(index, &err));
    cp_index_view *view = cp_index_view_take(index);
    assert_int_equal(cp_index_view_stats(view).n_docs, n_kept);
    assert_cp_ok(cp_index_view_verify(view, &err));
    cp_index_view_release(view);
    cp_index_close(index);
}

/* Everything that no index can have, and a search in an empty one. */
static void an_empty_index_finds_nothing(void **state) {
    cp_error err;
    cp_index *index = open_index(NULL, true, 0);
    cp_index_view *view = cp_index_view_take(index);
    cp_entry_filter all = {CP_ANY_MRN, true, CP_ALL_KINDS};
    cp_query_term term = {1, 1, 0};
    int8_t values[TWIN_WIDTH] = {1};
    cp_hit hit;
    size_t n = 9;
    (void)state;
    assert_cp_ok(cp_index_view_lexical(view, &all, &term, 1, 1, &hit, &n, &err));
    assert_int_equal(n, 0);
    assert_cp_ok(cp_index_view_nearest(view, &all, (cp_vector){values, 1}, 1, 1, &hit, &n, &err));
    assert_int_equal(n, 0);
    assert_true(cp_index_view_mean_words(view) == 1);
    assert_true(isfinite(cp_index_view_idf(view, 1)));
    cp_index_view_release(view);
    cp_index_close(index);
}

/* ---- threads ----------------------------------------------------------------------------------
 */

typedef struct reading {
    cp_index *index;
    atomic_bool *done;
    size_t n_views;
    bool wrong;
} reading;

/* Documents 1 and 2 are always committed together, with the same hash. */
static bool remember(void *user, const cp_indexed_doc *doc) {
    unsigned char *hashes = user;
    hashes[doc->id[4] - '0'] = doc->hash.bytes[0];
    return true;
}

static void *read_views(void *arg) {
    reading *r = arg;
    cp_error err;
    cp_entry_filter one = {"A", false, CP_ALL_KINDS};
    while (!atomic_load(r->done) || r->n_views == 0) {
        unsigned char hashes[10] = {0};
        cp_hit hits[8];
        size_t n;
        cp_query_term term = {twin_word(0), 1, 0};
        cp_index_view *view = cp_index_view_take(r->index);
        cp_index_view_each(view, NULL, remember, hashes);
        r->wrong |= hashes[1] != hashes[2];
        r->wrong |= cp_index_view_lexical(view, &one, &term, 1, 8, hits, &n, &err) != CP_OK;
        int8_t values[TWIN_WIDTH] = {1};
        r->wrong |= cp_index_view_nearest(view, &one, (cp_vector){values, 1}, 1, 8, hits, &n,
                                          &err) != CP_OK;
        cp_index_view_release(view);
        r->n_views++;
    }
    return NULL;
}

static void threads_read_while_one_writes(void **state) {
    pthread_t threads[3];
    reading readings[3];
    atomic_bool done = false;
    cp_error err;
    uint64_t random = 9;
    (void)state;
    cp_index *index = open_index(new_dir(), true, 0);
    for (size_t i = 0; i < 3; i++) {
        readings[i] = (reading){.index = index, .done = &done};
        assert_int_equal(pthread_create(&threads[i], NULL, read_views, &readings[i]), 0);
    }
    for (size_t i = 0; i < 60; i++) {
        twin_doc doc;
        for (size_t d = 1; d <= 2; d++) {
            twin_make_doc(&doc, 1, d, &random);
            memset(&doc.hash, (int)i + 1, sizeof doc.hash);
            twin_put(index, &doc);
        }
        assert_cp_ok(cp_index_commit(index, &err));
        if (i % 10 == 9)
            assert_cp_ok(cp_index_compact(index, &err));
    }
    atomic_store(&done, true);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(readings[i].wrong);
    }
    cp_index_close(index);
}

/* ---- the local vector store -------------------------------------------------------------------
 */

static bool count_docs(void *user, const cp_indexed_doc *doc) {
    *(size_t *)user += doc->has_vectors;
    return true;
}

static void the_local_store_keeps_to_its_filter(void **state) {
    cp_error err;
    uint64_t random = 10;
    cp_vector_store *store;
    cp_vector_match matches[50];
    size_t n, n_foreign, n_docs = 0;
    (void)state;
    cp_index *index = open_index(NULL, true, 0);
    assert_cp_ok(cp_vector_store_open_local(index, 2, &store, &err));
    assert_int_equal(store->width, TWIN_WIDTH);
    for (size_t p = 0; p < 3; p++)
        for (size_t d = 0; d < 4; d++) {
            twin_doc doc;
            cp_chunk chunks[TWIN_MAX_CHUNKS];
            twin_make_doc(&doc, p, d, &random);
            for (size_t c = 0; c < doc.n_chunks; c++)
                doc.chunks[c].scale = 0.01f;
            cp_index_doc put = twin_index_doc(&doc, chunks);
            assert_cp_ok(store->put(store, &put, 1, &err));
        }
    int8_t values[TWIN_WIDTH] = {1, 2, 3};
    cp_entry_filter both = {"AB", true, CP_ALL_KINDS};
    assert_cp_ok(
        store->nearest(store, &both, (cp_vector){values, 1}, 50, matches, &n, &n_foreign, &err));
    assert_true(n >= 8 && n_foreign == 0);
    for (size_t i = 0; i < n; i++) {
        assert_true(strcmp(matches[i].mrn, "AB") == 0 || matches[i].mrn[0] == '\0');
        assert_true(i == 0 || matches[i].score <= matches[i - 1].score);
        assert_true(strncmp(matches[i].id, "doc-", 4) == 0);
    }
    const char *gone[] = {"doc-0", "doc-1", "doc-2", "doc-3"};
    assert_cp_ok(store->remove(store, "AB", gone, 4, &err));
    cp_entry_filter one = {"AB", false, CP_ALL_KINDS};
    assert_cp_ok(
        store->nearest(store, &one, (cp_vector){values, 1}, 50, matches, &n, &n_foreign, &err));
    assert_int_equal(n, 0);
    assert_cp_ok(store->each(store, NULL, count_docs, &n_docs, &err));
    assert_int_equal(n_docs, 8);
    store->close(store);
    cp_index_close(index);
}

static void an_index_without_vectors_is_no_vector_store(void **state) {
    cp_error err;
    cp_index *index;
    cp_vector_store *store;
    cp_index_options options = {.write = true};
    (void)state;
    assert_cp_ok(cp_index_open(&options, &index, &err));
    assert_int_equal(cp_vector_store_open_local(index, 1, &store, &err), CP_ERR_USAGE);
    assert_null(store);
    cp_index_close(index);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(random_queries_find_what_a_naive_search_finds),
    cmocka_unit_test(memory_and_files_are_the_same_index),
    cmocka_unit_test(long_postings_are_found_by_all_and_by_one),
    cmocka_unit_test(views_keep_their_state_whatever_is_written),
    cmocka_unit_test(the_last_word_on_a_document_counts),
    cmocka_unit_test(what_was_not_committed_is_dropped),
    cmocka_unit_test(dead_entries_and_long_tails_are_compacted_away),
    cmocka_unit_test(documents_that_break_the_contract_are_refused),
    cmocka_unit_test(an_empty_index_finds_nothing),
    cmocka_unit_test(threads_read_while_one_writes),
    cmocka_unit_test(the_local_store_keeps_to_its_filter),
    cmocka_unit_test(an_index_without_vectors_is_no_vector_store),
};
CP_TEST_GROUP(index, tests)
