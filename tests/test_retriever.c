/* The retriever: everyday names and spelling, what may be returned and what never, and the recall
 * that is promised on the retrieval set. */
#include "tests/test.h"

#include "bench/retrieval_report.h"

#include <pthread.h>

#define WORDS "data/knowledge/words.json"
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define N_RANDOM 1000
#else
#define N_RANDOM 10000
#endif

static cp_index *open_index(void) {
    const cp_index_options options = {.write = true, .model = ""};
    cp_index *index;
    cp_error err;
    assert_cp_ok(cp_index_open(&options, &index, &err));
    return index;
}

static cp_retriever *open_retriever(cp_index *index, const cp_knowledge *knowledge,
                                    const char *words) {
    const cp_retriever_options options = {index, knowledge, words};
    cp_retriever *retriever;
    cp_error err;
    assert_cp_ok(cp_retriever_create(&options, &retriever, &err));
    return retriever;
}

/* The set with everything in an index, once for all tests. */
static cp_retrieval_set set;
static cp_index *all;
static cp_retriever *retriever;

static void put(cp_index *index, const cp_source_doc *doc, const char *mrn) {
    cp_chunked chunked;
    cp_error err;
    assert_cp_ok(cp_chunk_document(doc, cp_index_salt(index), &chunked, &err));
    assert_cp_ok(cp_retrieval_put(index, doc, mrn, &chunked, &err));
    cp_chunked_deinit(&chunked);
}

static void put_patient(cp_index *index, const cp_set_patient *p) {
    for (size_t i = 0; i < p->record.n; i++)
        put(index, &p->record.docs[i], p->mrn);
}

static void commit(cp_index *index) {
    cp_error err;
    assert_cp_ok(cp_index_commit(index, &err));
}

static void close_all(void) {
    cp_retriever_free(retriever);
    cp_index_close(all);
    cp_retrieval_set_close(&set);
}

/* Before each test, which may be picked alone. */
static int open_all(void **state) {
    cp_error err;
    (void)state;
    if (all)
        return 0;
    atexit(close_all);
    assert_cp_ok(cp_retrieval_set_open("data", &set, &err));
    all = open_index();
    for (size_t i = 0; i < cp_knowledge_n(set.knowledge); i++)
        put(all, cp_knowledge_doc(set.knowledge, i), "");
    for (size_t i = 0; i < set.n_patients; i++)
        put_patient(all, &set.patients[i]);
    commit(all);
    retriever = open_retriever(all, set.knowledge, WORDS);
    return 0;
}

static cp_retrieved ask(cp_retriever *r, const cp_retrieve_query *query) {
    cp_retrieved found;
    cp_error err;
    assert_cp_ok(cp_retrieve(r, query, &found, &err));
    for (size_t i = 0; i < found.n; i++) {
        const cp_passage *p = &found.passages[i];
        assert_true((size_t)p->begin + p->n <= p->doc->text.n);
        assert_true(p->best_begin >= p->begin && p->best_begin + p->best_n <= p->begin + p->n);
    }
    return found;
}

static size_t rank_of(const cp_retrieved *found, const char *id) {
    for (size_t i = 0; i < found->n; i++)
        if (strcmp(found->passages[i].doc->id, id) == 0)
            return i + 1;
    return 0;
}

/* The place of a document of the knowledge base for a question of nobody; 0: not among ten. */
static size_t knowledge_rank(const char *question, const char *id) {
    const cp_retrieve_query query = {.text = question, .kinds = CP_ALL_KINDS, .k = 10};
    cp_retrieved found = ask(retriever, &query);
    const size_t rank = rank_of(&found, id);
    free(found.passages);
    return rank;
}

static cp_retrieve_query own_query(const char *text, const cp_set_patient *p) {
    const cp_set_question question = {.text = text, .patient = p};
    return cp_retrieval_query(&question, 10);
}

/* ---- words --------------------------------------------------------------------------------- */

static void everyday_names_are_understood(void **state) {
    (void)state;
    assert_in_range(knowledge_rank("Coumadin", "KB-warfarin-antibiotics"), 1, 3);
    assert_in_range(knowledge_rank("my water pill", "KB-after-heart-failure"), 1, 5);
    assert_in_range(knowledge_rank("smoker's lung", "KB-copd-flare"), 1, 5);
    assert_in_range(knowledge_rank("he passed out", "KB-syncope"), 1, 3);
    /* Without the list none of these words is anywhere. */
    cp_retriever *plain = open_retriever(all, set.knowledge, NULL);
    const cp_retrieve_query query = {.text = "Coumadin", .kinds = CP_ALL_KINDS, .k = 10};
    cp_retrieved found = ask(plain, &query);
    assert_int_equal(found.n, 0);
    free(found.passages);
    cp_retriever_free(plain);
}

static void one_misspelling_is_forgiven(void **state) {
    (void)state;
    assert_in_range(knowledge_rank("warfrin", "KB-warfarin-antibiotics"), 1, 5);
    assert_in_range(knowledge_rank("metotrexate", "KB-methotrexate"), 1, 1);
    assert_in_range(knowledge_rank("Couamdin", "KB-warfarin-antibiotics"), 1, 3);
    assert_int_equal(knowledge_rank("wrfrn", "KB-warfarin-antibiotics"), 0);
    assert_int_equal(knowledge_rank("lth", "KB-lithium"), 0);
}

/* What a word is mended with comes from public texts and from this record: a word that only another
 * record has mends nothing. */
static void nobody_elses_words_mend_a_question(void **state) {
    const cp_source_doc docs[] = {{.mrn = "A",
                                   .id = "D",
                                   .title = "Xylophonitis",
                                   .type = "",
                                   .date = "",
                                   .kind = CP_ENTRY_DOCUMENT,
                                   .text = CP_STR("Xylophonitis again."),
                                   .also = CP_STR("")},
                                  {.mrn = "B",
                                   .id = "D",
                                   .title = "Note",
                                   .type = "",
                                   .date = "",
                                   .kind = CP_ENTRY_DOCUMENT,
                                   .text = CP_STR("Nothing of the kind."),
                                   .also = CP_STR("")}};
    cp_source_doc a = docs[0], b = docs[1];
    cp_error err;
    (void)state;
    assert_cp_ok(cp_source_doc_seal(&a, &err));
    assert_cp_ok(cp_source_doc_seal(&b, &err));
    cp_retrieve_query query = {
        .text = "xylophonitys", .mrn = "A", .docs = &a, .n_docs = 1, .kinds = CP_ALL_KINDS, .k = 5};
    cp_retrieved found = ask(retriever, &query);
    assert_int_equal(rank_of(&found, "D"), 1);
    free(found.passages);
    query.mrn = "B";
    query.docs = &b;
    found = ask(retriever, &query);
    assert_int_equal(found.n, 0);
    free(found.passages);
}

static void the_best_sentence_is_shown(void **state) {
    const cp_retrieve_query query = {.text = "How many hours after tadalafil may I take a nitrate?",
                                     .kinds = CP_KIND_BIT(CP_ENTRY_KNOWLEDGE),
                                     .k = 1};
    (void)state;
    cp_retrieved found = ask(retriever, &query);
    assert_int_equal(found.n, 1);
    const cp_passage *p = &found.passages[0];
    static const char expected[] = "No nitrate within 24 hours of sildenafil or vardenafil, and "
                                   "none within 48 hours of tadalafil.";
    assert_string_equal(p->doc->id, "KB-nitrates");
    assert_int_equal(p->best_n, sizeof expected - 1);
    assert_memory_equal(p->doc->text.data + p->best_begin, expected, p->best_n);
    free(found.passages);
}

static void wrong_word_lists_are_refused(void **state) {
    static const struct {
        const char *text, *said;
    } cases[] = {
        {"[]", "words"},
        {"{\"means\": []}", "expected a list \"same\""},
        {"{\"same\": [], \"means\": 1}", "expected a list \"means\""},
        {"{\"same\": [[\"a\"]], \"means\": []}", "expected a list of 2 or more"},
        {"{\"same\": [\"a\"], \"means\": []}", "expected a list of 2 or more"},
        {"{\"same\": [[\"a\", 1]], \"means\": []}", "each phrase to be a text"},
        {"{\"same\": [[\"a\", \"...\"]], \"means\": []}", "\"...\": expected 1 to 8 words"},
        {"{\"same\": [[\"a\", \"1 2 3 4 5 6 7 8 9\"]], \"means\": []}", "expected 1 to 8 words"},
        {"{\"same\": [], \"means\": [{\"said\": [\"a\"]}]}", "meant: expected a list"},
        {"{\"same\": [], \"means\": [{\"meant\": [\"a\"]}]}", "said: expected a list"},
        {"{\"same\": [], \"means\": [7]}", "said: expected a list"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = test_path(test_tmp_dir(), "words.json");
        const cp_retriever_options options = {all, set.knowledge, path};
        cp_retriever *wrong;
        cp_error err;
        test_write_file(path, cases[i].text, strlen(cases[i].text));
        if (cp_retriever_create(&options, &wrong, &err) != CP_ERR_FORMAT ||
            !strstr(err.message, cases[i].said))
            fail_msg("case %zu: %s", i, err.message);
        assert_null(wrong);
    }
}

/* ---- whose --------------------------------------------------------------------------------- */

/* Everything of this answer is this patient's or nobody's. */
static void check_owner(const cp_retrieved *found, const char *mrn) {
    for (size_t i = 0; i < found->n; i++) {
        const char *owner = found->passages[i].doc->mrn;
        assert_true(!*owner || (mrn && strcmp(owner, mrn) == 0));
    }
    assert_int_equal(found->n_foreign, 0);
}

static void ten_thousand_questions_bring_nobody_elses(void **state) {
    uint64_t seed = 11;
    (void)state;
    print_message("seed 11\n");
    for (unsigned turn = 0; turn < N_RANDOM; turn++) {
        /* Words of anybody's documents, asked for anybody. */
        const cp_set_patient *p = &set.patients[test_random(&seed) % set.n_patients];
        const cp_set_patient *other = &set.patients[test_random(&seed) % set.n_patients];
        const cp_source_doc *doc = &other->record.docs[test_random(&seed) % other->record.n];
        char text[128];
        const size_t n = doc->text.n < 100 ? doc->text.n : 100;
        const size_t from = test_random(&seed) % (doc->text.n - n + 1);
        snprintf(text, sizeof text, "%s %.*s", other->mrn, (int)n, doc->text.data + from);
        cp_retrieve_query query = own_query(text, turn % 5 == 0 ? NULL : p);
        query.k = 5;
        cp_retrieved found = ask(retriever, &query);
        check_owner(&found, query.mrn);
        assert_int_equal(found.n_stale, 0);
        assert_int_equal(found.n_unindexed, 0);
        free(found.passages);
    }
}

/* An index that has another patient's chunks under this MRN, by a fault or by somebody's hand: the
 * content does not fit the record, so nothing of it passes. */
static void what_the_index_says_is_not_believed(void **state) {
    const cp_set_patient *p = &set.patients[0], *other = &set.patients[1];
    cp_index *index = open_index();
    cp_error err;
    (void)state;
    for (size_t i = 0; i < other->record.n; i++) {
        cp_source_doc doc = other->record.docs[i];
        put(index, &doc, p->mrn); /* ids of the other one */
        doc.id = p->record.docs[i % p->record.n].id;
        put(index, &doc, p->mrn); /* ids that this record has, too */
    }
    commit(index);
    cp_retriever *r = open_retriever(index, set.knowledge, WORDS);
    /* Words of the other's record alone: what is found by them is the knowledge base's. */
    const cp_retrieve_query query = own_query("rug tripped knee brace", p);
    cp_retrieved found = ask(r, &query);
    check_owner(&found, NULL);
    assert_true(found.n > 0);
    assert_true(found.n_stale > 0);
    assert_true(found.n_unindexed > 0);
    for (size_t i = 0; i < found.n; i++)
        for (size_t j = 0; j < other->record.n; j++)
            assert_ptr_not_equal(found.passages[i].doc, &other->record.docs[j]);
    free(found.passages);
    /* A store of vectors that answers with somebody else's. */
    cp_vector_match match = {.kind = CP_ENTRY_DOCUMENT, .n = 10};
    snprintf(match.mrn, sizeof match.mrn, "%s", other->mrn);
    snprintf(match.id, sizeof match.id, "%s", other->record.docs[0].id);
    match.hash = other->record.docs[0].hash;
    cp_retrieve_query with_vectors = query;
    with_vectors.nearest = &match;
    with_vectors.n_nearest = 1;
    assert_cp_ok(cp_retrieve(r, &with_vectors, &found, &err));
    assert_int_equal(found.n_foreign, 1);
    for (size_t i = 0; i < found.n; i++)
        assert_true(strcmp(found.passages[i].doc->mrn, other->mrn) != 0);
    free(found.passages);
    cp_retriever_free(r);
    cp_index_close(index);
}

/* The caller's list has somebody else's document by mistake: it is not shown. */
static void a_list_with_anothers_document_does_not_show_it(void **state) {
    const cp_set_patient *p = &set.patients[0], *other = &set.patients[1];
    cp_source_doc docs[2] = {p->record.docs[0], other->record.docs[0]};
    (void)state;
    const cp_retrieve_query query = {.text = "fall hip rug INR",
                                     .mrn = p->mrn,
                                     .docs = docs,
                                     .n_docs = 2,
                                     .kinds = CP_ALL_KINDS,
                                     .k = 10};
    cp_retrieved found = ask(retriever, &query);
    assert_int_equal(rank_of(&found, docs[1].id), 0);
    free(found.passages);
}

/* ---- what the index has -------------------------------------------------------------------- */

static void what_is_not_indexed_is_found_all_the_same(void **state) {
    cp_index *empty = open_index();
    cp_retriever *r = open_retriever(empty, set.knowledge, WORDS);
    const cp_set_patient *p = &set.patients[1]; /* warfarin, falls */
    cp_retrieve_query query = own_query("What is the target of my INR?", p);
    (void)state;
    cp_retrieved found = ask(r, &query);
    assert_in_range(rank_of(&found, "DOC-002-2"), 1, 2);
    assert_int_not_equal(rank_of(&found, "KB-warfarin-antibiotics"), 0);
    assert_int_equal(found.n_unindexed, p->record.n);
    free(found.passages);
    cp_retriever_free(r);
    cp_index_close(empty);
}

static void a_changed_document_is_found_by_its_new_text(void **state) {
    const cp_set_patient *p = &set.patients[0];
    cp_source_doc docs[1] = {p->record.docs[0]};
    cp_error err;
    (void)state;
    docs[0].text = CP_STR("A zebrafish was seen.");
    assert_cp_ok(cp_source_doc_seal(&docs[0], &err));
    cp_retrieve_query query = {.text = "zebrafish",
                               .mrn = p->mrn,
                               .docs = docs,
                               .n_docs = 1,
                               .kinds = CP_ALL_KINDS,
                               .k = 5};
    cp_retrieved found = ask(retriever, &query);
    assert_int_equal(found.n, 1);
    assert_int_equal(found.n_unindexed, 1);
    assert_true(found.passages[0].doc == docs);
    free(found.passages);
    query.text = "stress test stairs";
    found = ask(retriever, &query); /* the old text's words */
    assert_int_equal(rank_of(&found, docs[0].id), 0);
    assert_true(found.n_stale > 0);
    free(found.passages);
}

static void kinds_and_numbers_are_kept(void **state) {
    const cp_set_patient *p = &set.patients[1];
    (void)state;
    for (unsigned kind = 0; kind < CP_N_ENTRY_KINDS; kind++) {
        cp_retrieve_query query = own_query("warfarin fall bill INR knee atrial", p);
        query.kinds = CP_KIND_BIT(kind);
        cp_retrieved found = ask(retriever, &query);
        assert_true(found.n > 0);
        for (size_t i = 0; i < found.n; i++)
            assert_int_equal(found.passages[i].doc->kind, kind);
        free(found.passages);
    }
    for (size_t k = 0; k <= 3; k++) {
        cp_retrieve_query query = own_query("warfarin", p);
        query.k = k;
        cp_retrieved found = ask(retriever, &query);
        assert_int_equal(found.n, k);
        free(found.passages);
    }
    cp_retrieve_query nothing = own_query("", p);
    cp_retrieved found = ask(retriever, &nothing);
    assert_int_equal(found.n, 0);
    free(found.passages);
}

static void no_document_takes_more_than_two_places(void **state) {
    const cp_retrieve_query query = {
        .text = "warfarin antibiotic INR", .kinds = CP_ALL_KINDS, .k = 50};
    (void)state;
    cp_retrieved found = ask(retriever, &query);
    size_t most = 0;
    for (size_t i = 0; i < found.n; i++) {
        size_t n = 0;
        for (size_t j = 0; j < found.n; j++)
            n += found.passages[j].doc == found.passages[i].doc;
        most = n > most ? n : most;
    }
    assert_int_equal(most, 2);
    free(found.passages);
}

/* ---- vectors ------------------------------------------------------------------------------- */

static void vectors_add_what_words_miss(void **state) {
    const cp_source_doc *doc = cp_knowledge_find(set.knowledge, "KB-lithium");
    cp_vector_match matches[2] = {{.kind = CP_ENTRY_KNOWLEDGE, .hash = doc->hash, .n = 100},
                                  {.kind = CP_ENTRY_KNOWLEDGE, .hash = doc->hash, .n = 100}};
    cp_retrieve_query query = {.text = "penicillin rash",
                               .kinds = CP_ALL_KINDS,
                               .k = 10,
                               .nearest = matches,
                               .n_nearest = 2};
    (void)state;
    snprintf(matches[0].id, sizeof matches[0].id, "KB-lithium");
    snprintf(matches[1].id, sizeof matches[1].id, "KB-lithium");
    matches[1].hash.bytes[0] ^= 1; /* of an older text */
    cp_retrieved found = ask(retriever, &query);
    const size_t rank = rank_of(&found, "KB-lithium");
    assert_in_range(rank, 1, 10);
    assert_int_equal(found.passages[rank - 1].vector_rank, 1);
    assert_int_equal(found.passages[rank - 1].lexical_rank, 0);
    assert_int_equal(found.n_stale, 1);
    free(found.passages);
    /* One that is outside of its document, whatever its hash. */
    matches[0].begin = (uint32_t)doc->text.n;
    found = ask(retriever, &query);
    assert_int_equal(rank_of(&found, "KB-lithium"), 0);
    assert_int_equal(found.n_stale, 2);
    free(found.passages);
}

/* ---- the promise --------------------------------------------------------------------------- */

static void recall_is_what_is_promised(void **state) {
    const cp_retrieval_plan plan = {.data = "data", .n_threads = 1, .n_repeat = 1};
    static cp_retrieval_report report;
    cp_error err;
    (void)state;
    report.plan = &plan;
    assert_cp_ok(cp_retrieval_measure(&set, &report, &err));
    const cp_retrieval_result *r = &report.modes[CP_RETRIEVE_LEXICAL];
    assert_int_equal(r->groups[CP_GROUP_ALL].n, set.n_questions);
    assert_int_equal(r->groups[CP_GROUP_TRAIN].n + r->groups[CP_GROUP_HELD].n, set.n_questions);
    print_message("recall@5 %.3f, held apart %.3f\n", r->groups[CP_GROUP_ALL].recall_5,
                  r->groups[CP_GROUP_HELD].recall_5);
    assert_true(r->groups[CP_GROUP_ALL].recall_5 >= 0.9);
    assert_true(r->groups[CP_GROUP_HELD].recall_5 >= 0.85);
    assert_int_equal(r->n_foreign, 0);
    assert_int_equal(r->n_never, 0);
    assert_false(report.modes[CP_RETRIEVE_VECTOR].measured);
}

/* Any thread may ask at any time, and all get the same. */
static void *ask_in_thread(void *user) {
    size_t *n_wrong = user;
    for (size_t i = 0; i < 60; i++) {
        const cp_set_question *q = &set.questions[i * 7 % set.n_questions];
        const cp_retrieve_query query = cp_retrieval_query(q, 5);
        cp_retrieved a, b;
        cp_error err;
        bool good = cp_retrieve(retriever, &query, &a, &err) == CP_OK;
        good = cp_retrieve(retriever, &query, &b, &err) == CP_OK && good && a.n == b.n;
        for (size_t j = 0; good && j < a.n; j++)
            good = a.passages[j].doc == b.passages[j].doc &&
                   a.passages[j].best_begin == b.passages[j].best_begin;
        *n_wrong += !good;
        free(a.passages);
        free(b.passages);
    }
    return NULL;
}

static void threads_ask_together(void **state) {
    pthread_t threads[4];
    size_t n_wrong[4] = {0};
    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_in_thread, &n_wrong[i]), 0);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(n_wrong[i], 0);
    }
}

static void every_allocation_may_fail(void **state) {
    const cp_set_patient *p = &set.patients[1];
    cp_source_doc changed = p->record.docs[0];
    cp_error err;
    (void)state;
    changed.text = CP_STR("Another text of a fall. And another sentence.");
    assert_cp_ok(cp_source_doc_seal(&changed, &err));
    const cp_retrieve_query query = {.text = "a fal with my blood thinner",
                                     .mrn = p->mrn,
                                     .docs = &changed,
                                     .n_docs = 1,
                                     .medicines = p->medicines,
                                     .n_medicines = p->n_medicines,
                                     .kinds = CP_ALL_KINDS,
                                     .k = 3};
    for (long i = 1;; i++) {
        cp_retrieved found;
        test_alloc_fail_at(i, 0);
        cp_status status = cp_retrieve(retriever, &query, &found, &err);
        test_alloc_fail_at(0, 0);
        if (status == CP_OK) {
            assert_int_equal(found.n, 3);
            free(found.passages);
            assert_true(i > 20);
            return;
        }
        assert_int_equal(status, CP_ERR_NO_MEMORY);
        assert_null(found.passages);
    }
}

#define TEST(name) cmocka_unit_test_setup(name, open_all)
static const struct CMUnitTest tests[] = {
    TEST(everyday_names_are_understood),
    TEST(one_misspelling_is_forgiven),
    TEST(nobody_elses_words_mend_a_question),
    TEST(the_best_sentence_is_shown),
    TEST(wrong_word_lists_are_refused),
    TEST(ten_thousand_questions_bring_nobody_elses),
    TEST(what_the_index_says_is_not_believed),
    TEST(a_list_with_anothers_document_does_not_show_it),
    TEST(what_is_not_indexed_is_found_all_the_same),
    TEST(a_changed_document_is_found_by_its_new_text),
    TEST(kinds_and_numbers_are_kept),
    TEST(no_document_takes_more_than_two_places),
    TEST(vectors_add_what_words_miss),
    TEST(recall_is_what_is_promised),
    TEST(threads_ask_together),
    TEST(every_allocation_may_fail),
};
CP_TEST_GROUP(retriever, tests)
