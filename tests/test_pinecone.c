/* Pinecone as a vector store: the requests' form, what answers are believed, faults, and that
 * nothing readable stands in a URL. */
#include "tests/pinecone_api.h"

#include "base/mem.h"
#include "retrieval/pinecone.h"

#define WIDTH 8

typedef struct fixture {
    cp_vector_store *store;
} fixture;

static cp_vector_store *open_store(size_t width, const char *ns, int64_t timeout_ms) {
    cp_error err;
    cp_vector_store *store;
    const cp_pinecone_config config = {.host = test_pinecone_url(),
                                       .api_key = TEST_PINECONE_KEY,
                                       .namespace_ = ns,
                                       .model = "model-a",
                                       .width = width,
                                       .timeout_ms = timeout_ms};
    assert_cp_ok(cp_vector_store_open_pinecone(&config, &store, &err));
    return store;
}

static fixture f;

static int set_up(void **state) {
    (void)state;
    test_pinecone_start(WIDTH, 3); /* pages of three: every listing has several */
    f.store = open_store(WIDTH, "", 20000);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    f.store->close(f.store);
    test_pinecone_stop();
    return 0;
}

/* ---- documents -------------------------------------------------------------------------- */

/* Chunks of a made-up document; their vectors point to where `angle` says. */
typedef struct made_doc {
    cp_chunk chunks[300];
    int8_t values[300][WIDTH];
    cp_index_doc doc;
} made_doc;

static cp_index_doc make_doc(made_doc *m, const char *mrn, const char *id, unsigned version,
                             size_t n_chunks, int angle) {
    memset(m, 0, sizeof *m);
    for (size_t i = 0; i < n_chunks; i++) {
        m->values[i][0] = (int8_t)(100 - angle);
        m->values[i][1] = (int8_t)angle;
        m->values[i][2] = (int8_t)i;
        m->chunks[i] = (cp_chunk){.begin = (uint32_t)(100 * i),
                                  .n = 90,
                                  .vector = {.values = m->values[i], .scale = 0.01f}};
    }
    m->doc = (cp_index_doc){.mrn = mrn,
                            .id = id,
                            .kind = *mrn ? CP_ENTRY_DOCUMENT : CP_ENTRY_KNOWLEDGE,
                            .hash = {{(unsigned char)version, 0xab}},
                            .chunks = m->chunks,
                            .n_chunks = n_chunks};
    return m->doc;
}

static cp_status put(const char *mrn, const char *id, unsigned version, size_t n_chunks, int angle,
                     cp_error *err) {
    made_doc *m = malloc(sizeof *m);
    cp_index_doc doc = make_doc(m, mrn, id, version, n_chunks, angle);
    cp_status status = f.store->put(f.store, &doc, 1, err);
    free(m);
    return status;
}

static cp_status nearest(const cp_entry_filter *filter, int angle, size_t k, cp_vector_match *out,
                         size_t *n, size_t *n_foreign, cp_error *err) {
    const int8_t values[WIDTH] = {(int8_t)(100 - angle), (int8_t)angle};
    return f.store->nearest(f.store, filter, (cp_vector){values, 0.01f}, k, out, n, n_foreign, err);
}

typedef struct seen_docs {
    struct {
        char mrn[64], id[129];
        size_t n_chunks;
        unsigned version;
        bool has_vectors;
    } docs[64];
    size_t n, stop_at;
} seen_docs;

static bool see_doc(void *user, const cp_indexed_doc *doc) {
    seen_docs *seen = user;
    assert_true(seen->n < 64);
    snprintf(seen->docs[seen->n].mrn, 64, "%s", doc->mrn);
    snprintf(seen->docs[seen->n].id, 129, "%s", doc->id);
    seen->docs[seen->n].n_chunks = doc->n_chunks;
    seen->docs[seen->n].version = doc->hash.bytes[0];
    seen->docs[seen->n++].has_vectors = doc->has_vectors;
    return seen->n != seen->stop_at;
}

static seen_docs each(const char *mrn) {
    seen_docs seen = {.n = 0};
    cp_error err;
    assert_cp_ok(f.store->each(f.store, mrn, see_doc, &seen, &err));
    return seen;
}

/* ---- putting, finding, removing --------------------------------------------------------- */

static void what_is_put_is_found_with_its_place(void **state) {
    (void)state;
    cp_error err;
    cp_vector_match found[4];
    size_t n, n_foreign;
    assert_cp_ok(put("MRN-001", "DOC-1", 1, 2, 10, &err));
    assert_cp_ok(put("MRN-001", "DOC-2", 1, 1, 90, &err));
    assert_cp_ok(put("MRN-002", "DOC-3", 1, 1, 11, &err));
    assert_cp_ok(put("", "fever", 7, 1, 60, &err));
    const cp_entry_filter mine = {.mrn = "MRN-001", .knowledge = true, .kinds = CP_ALL_KINDS};
    assert_cp_ok(nearest(&mine, 10, 4, found, &n, &n_foreign, &err));
    assert_int_equal(n, 4);
    assert_int_equal(n_foreign, 0);
    assert_string_equal(found[0].mrn, "MRN-001");
    assert_string_equal(found[0].id, "DOC-1");
    assert_int_equal(found[0].chunk, 0);
    assert_int_equal(found[1].chunk, 1);
    assert_int_equal(found[1].begin, 100);
    assert_int_equal(found[1].n, 90);
    assert_int_equal(found[1].hash.bytes[1], 0xab);
    assert_string_equal(found[2].id, "fever");
    assert_int_equal(found[2].kind, CP_ENTRY_KNOWLEDGE);
    assert_string_equal(found[2].mrn, "");
    assert_true(found[0].score > 0.99f && found[0].score >= found[1].score);
    assert_string_equal(found[3].id, "DOC-2");
}

static void filters_are_asked_for_and_obeyed(void **state) {
    (void)state;
    cp_error err;
    cp_vector_match found[8];
    size_t n, n_foreign;
    assert_cp_ok(put("MRN-001", "DOC-1", 1, 1, 10, &err));
    assert_cp_ok(put("MRN-002", "DOC-2", 1, 1, 10, &err));
    assert_cp_ok(put("", "fever", 1, 1, 10, &err));
    static const struct {
        cp_entry_filter filter;
        size_t n;
    } cases[] = {
        {{.mrn = "MRN-001", .knowledge = false, .kinds = CP_ALL_KINDS}, 1},
        {{.mrn = "MRN-001", .knowledge = true, .kinds = CP_ALL_KINDS}, 2},
        {{.mrn = "MRN-003", .knowledge = false, .kinds = CP_ALL_KINDS}, 0},
        {{.mrn = NULL, .knowledge = true, .kinds = CP_ALL_KINDS}, 1},
        {{.mrn = NULL, .knowledge = false, .kinds = CP_ALL_KINDS}, 0},
        {{.mrn = CP_ANY_MRN, .knowledge = true, .kinds = CP_ALL_KINDS}, 3},
        {{.mrn = CP_ANY_MRN, .knowledge = false, .kinds = CP_ALL_KINDS}, 2},
        {{.mrn = CP_ANY_MRN, .knowledge = true, .kinds = CP_KIND_BIT(CP_ENTRY_KNOWLEDGE)}, 1},
        {{.mrn = CP_ANY_MRN, .knowledge = true, .kinds = CP_KIND_BIT(CP_ENTRY_CLAIM)}, 0},
        {{.mrn = CP_ANY_MRN, .knowledge = true, .kinds = 0}, 0},
    };
    for (int hostile = 0; hostile < 2; hostile++) {
        test_pinecone_filters(!hostile);
        for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
            assert_cp_ok(nearest(&cases[i].filter, 10, 8, found, &n, &n_foreign, &err));
            if (n != cases[i].n)
                fail_msg("case %zu, hostile %d: %zu found", i, hostile, n);
            bool asked =
                cases[i].filter.kinds && (cases[i].filter.mrn || cases[i].filter.knowledge);
            assert_int_equal(n_foreign, hostile && asked ? 3 - n : 0);
        }
    }
}

static void a_shorter_version_leaves_nothing_of_the_longer(void **state) {
    (void)state;
    cp_error err;
    assert_cp_ok(put("MRN-001", "DOC-1", 1, 12, 10, &err));
    assert_cp_ok(put("MRN-001", "DOC-2", 1, 2, 10, &err));
    assert_int_equal(test_pinecone_n_records(), 14);
    assert_cp_ok(put("MRN-001", "DOC-1", 2, 3, 10, &err));
    assert_int_equal(test_pinecone_n_records(), 5);
    assert_cp_ok(put("MRN-001", "DOC-1", 2, 3, 10, &err)); /* again: the same */
    assert_cp_ok(put("MRN-001", "DOC-1", 2, 1, 10, &err)); /* cut differently */
    assert_int_equal(test_pinecone_n_records(), 3);
}

static void documents_of_many_patients_go_in_one_call(void **state) {
    (void)state;
    static const char *const mrns[] = {"A-1", "A-1", "A-1", "B-1", ""};
    static const char *const ids[] = {"1", "2", "3", "1", "k"};
    made_doc *made = calloc(5, sizeof *made);
    cp_index_doc docs[5];
    cp_error err;
    for (int version = 1; version < 3; version++) {
        for (size_t i = 0; i < 5; i++)
            docs[i] =
                make_doc(&made[i], mrns[i], ids[i], (unsigned)version, 3 - (size_t)version, 5);
        assert_cp_ok(f.store->put(f.store, docs, 5, &err));
        assert_int_equal(test_pinecone_n_records(), version == 1 ? 10 : 5);
    }
    free(made);
}

static void removing_takes_all_chunks_and_nothing_else(void **state) {
    (void)state;
    cp_error err;
    assert_cp_ok(put("MRN-001", "DOC-1", 1, 7, 10, &err));
    assert_cp_ok(put("MRN-001", "DOC-10", 1, 2, 10, &err));
    assert_cp_ok(put("MRN-002", "DOC-1", 1, 2, 10, &err));
    assert_cp_ok(f.store->remove(f.store, "MRN-001", (const char *const[]){"DOC-1"}, 1, &err));
    assert_int_equal(test_pinecone_n_records(), 4);
    assert_cp_ok(f.store->remove(f.store, "MRN-001", (const char *const[]){"DOC-1", "no", "DOC-10"},
                                 3, &err));
    assert_int_equal(test_pinecone_n_records(), 2);
    assert_cp_ok(f.store->remove(f.store, "NOBODY", NULL, 0, &err));
}

/* 250 vectors of width 8 are three requests by number; of width 4,096 forty make 2 MB. */
static void large_documents_go_in_several_requests(void **state) {
    (void)state;
    enum { WIDE = 4096, N = 45 };
    cp_error err;
    assert_cp_ok(put("MRN-001", "DOC-1", 1, 250, 10, &err));
    assert_int_equal(test_pinecone_n_requests("/vectors/upsert"), 3);
    tear_down(NULL);
    test_pinecone_start(WIDE, 100);
    f.store = open_store(WIDE, "", 60000);
    int8_t *values = malloc(WIDE);
    cp_chunk chunks[N];
    memset(values, -127, WIDE);
    for (size_t i = 0; i < N; i++)
        chunks[i] = (cp_chunk){.begin = (uint32_t)i, .n = 1, .vector = {values, 0.000123456f}};
    const cp_index_doc doc = {
        .mrn = "M", .id = "D", .kind = CP_ENTRY_CHAT, .chunks = chunks, .n_chunks = N};
    assert_cp_ok(f.store->put(f.store, &doc, 1, &err));
    free(values);
    assert_int_equal(test_pinecone_n_records(), N);
    assert_int_equal(test_pinecone_n_requests("/vectors/upsert"), 2);
}

static void namespaces_are_apart(void **state) {
    (void)state;
    cp_error err;
    cp_vector_store *first = f.store, *ward = open_store(WIDTH, "ward 3&x=y", 20000);
    assert_cp_ok(put("MRN-001", "DOC-1", 1, 2, 10, &err));
    f.store = ward;
    assert_int_equal(each(NULL).n, 0);
    assert_cp_ok(put("MRN-001", "DOC-1", 2, 4, 10, &err));
    assert_int_equal(each(NULL).docs[0].version, 2);
    assert_cp_ok(ward->remove(ward, "MRN-001", (const char *const[]){"DOC-1"}, 1, &err));
    assert_int_equal(test_pinecone_n_records(), 2);
    f.store = first;
    assert_int_equal(each(NULL).docs[0].n_chunks, 2);
    ward->close(ward);
}

static void see_namespace(void *user, const char *name, int64_t n) {
    cp_strbuf_printf(user, "%s=%lld;", name, (long long)n);
}

static void the_index_describes_itself(void **state) {
    (void)state;
    cp_error err;
    cp_strbuf out;
    cp_pinecone *p;
    cp_pinecone_stats stats;
    const cp_pinecone_config config = {.host = test_pinecone_url(),
                                       .api_key = TEST_PINECONE_KEY,
                                       .width = WIDTH,
                                       .timeout_ms = 5000};
    assert_cp_ok(put("MRN-001", "DOC-1", 1, 2, 10, &err));
    cp_strbuf_init(&out, 1 << 10);
    assert_cp_ok(cp_pinecone_open(&config, &p, &err));
    assert_cp_ok(cp_pinecone_describe(p, &stats, &err));
    assert_int_equal(stats.width, WIDTH);
    assert_string_equal(stats.metric, "cosine");
    assert_int_equal(stats.n, 2);
    assert_int_equal(stats.n_records, 2);
    assert_cp_ok(cp_pinecone_namespaces(p, see_namespace, &out, &err));
    assert_string_equal(cp_strbuf_text(&out), "__default__=12;ward=-1;");
    cp_strbuf_deinit(&out);
    cp_pinecone_close(p);
}

/* ---- comparing -------------------------------------------------------------------------- */

static void each_tells_documents_once_and_what_is_wrong_with_them(void **state) {
    (void)state;
    cp_error err;
    char id[16];
    for (int i = 0; i < 45; i++) { /* more than are fetched together */
        snprintf(id, sizeof id, "DOC-%d", i);
        assert_cp_ok(put("MRN-001", id, 1, 2, 10, &err));
    }
    assert_cp_ok(put("", "fever", 3, 1, 10, &err));
    seen_docs seen = each(NULL);
    assert_int_equal(seen.n, 46);
    for (size_t i = 0; i < seen.n; i++) {
        assert_true(seen.docs[i].has_vectors);
        assert_int_equal(seen.docs[i].n_chunks, *seen.docs[i].mrn ? 2 : 1);
        for (size_t k = 0; k < i; k++)
            assert_true(strcmp(seen.docs[i].id, seen.docs[k].id) != 0);
    }
    assert_int_equal(each("MRN-001").n, 45);
    assert_int_equal(each("MRN-00").n, 0);
    seen = each("");
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.docs[0].version, 3);
    seen = (seen_docs){.stop_at = 3};
    assert_cp_ok(f.store->each(f.store, NULL, see_doc, &seen, &err));
    assert_int_equal(seen.n, 3);
}

static void a_lost_chunk_or_another_model_is_no_whole_document(void **state) {
    (void)state;
    cp_error err;
    assert_cp_ok(put("MRN-001", "DOC-1", 1, 3, 10, &err));
    test_pinecone_drop(0);
    assert_false(each(NULL).docs[0].has_vectors);
    assert_int_equal(each(NULL).docs[0].n_chunks, 2);
    assert_cp_ok(put("MRN-001", "DOC-1", 1, 3, 10, &err)); /* put again, it is whole */
    assert_true(each(NULL).docs[0].has_vectors);
    test_pinecone_spoil(0, "model", "model-b");
    assert_false(each(NULL).docs[0].has_vectors);
    cp_vector_match found[4];
    size_t n, n_foreign;
    const cp_entry_filter mine = {.mrn = "MRN-001", .kinds = CP_ALL_KINDS};
    assert_cp_ok(nearest(&mine, 10, 4, found, &n, &n_foreign, &err));
    assert_int_equal(n, 2); /* vectors of another model are not compared with ours */
}

/* The metadata of somebody else's vector under this id: it is not believed. */
static void metadata_that_is_not_the_ids_is_refused(void **state) {
    (void)state;
    cp_error err;
    cp_vector_match found[4];
    size_t n, n_foreign;
    const cp_entry_filter other = {.mrn = "MRN-666", .kinds = CP_ALL_KINDS};
    assert_cp_ok(put("MRN-001", "DOC-1", 1, 1, 10, &err));
    test_pinecone_spoil(0, "mrn", "MRN-666");
    assert_cp_ok(nearest(&other, 10, 4, found, &n, &n_foreign, &err));
    assert_int_equal(n, 0);
    assert_int_equal(n_foreign, 1);
    seen_docs seen = {.n = 0};
    assert_int_equal(f.store->each(f.store, NULL, see_doc, &seen, &err), CP_ERR_FORMAT);
    assert_int_equal(seen.n, 0);
}

/* ---- faults ----------------------------------------------------------------------------- */

static void passing_faults_are_tried_again(void **state) {
    (void)state;
    static const test_pinecone_act acts[] = {PINECONE_503, PINECONE_429_AT_ONCE, PINECONE_CUT,
                                             PINECONE_500};
    cp_error err;
    test_pinecone_script(acts, 4);
    assert_cp_ok(put("MRN-001", "DOC-1", 1, 1, 10, &err));
    assert_int_equal(test_pinecone_n_records(), 1);
    assert_int_equal(test_pinecone_n_requests("/describe_index_stats"), 5);
}

static void lasting_faults_are_told_without_secrets(void **state) {
    (void)state;
    static const struct {
        test_pinecone_act act;
        size_t times;
        cp_status status;
        const char *told;
    } cases[] = {
        {PINECONE_401, 1, CP_ERR_IO, "PINECONE_API_KEY"},
        {PINECONE_404_PAGE, 1, CP_ERR_IO, "PINECONE_HOST"},
        {PINECONE_429_LATER, 1, CP_ERR_BUSY, "429"}, /* an hour is more than there is */
        {PINECONE_503, 6, CP_ERR_IO, "503"},
        {PINECONE_CUT, 6, CP_ERR_IO, "Pinecone"},
        {PINECONE_NO_JSON, 1, CP_ERR_FORMAT, "JSON"},
    };
    cp_error err;
    cp_vector_match found[2];
    size_t n, n_foreign;
    const cp_entry_filter mine = {.mrn = "MRN-SECRET", .kinds = CP_ALL_KINDS};
    for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
        test_pinecone_act acts[8];
        for (size_t k = 0; k < 8; k++)
            acts[k] = cases[i].act;
        size_t before = test_pinecone_n_requests("/query");
        test_pinecone_script(acts, 8);
        cp_status status = nearest(&mine, 10, 2, found, &n, &n_foreign, &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].told))
            fail_msg("case %zu: status %d, %s", i, status, err.message);
        assert_null(strstr(err.message, "SECRET"));
        assert_int_equal(n, 0);
        assert_int_equal(test_pinecone_n_requests("/query") - before, cases[i].times);
        test_pinecone_script(NULL, 0);
    }
}

static void an_index_of_another_kind_is_refused_before_anything_is_sent(void **state) {
    (void)state;
    cp_error err;
    test_pinecone_metric("dotproduct");
    assert_int_equal(put("MRN-001", "DOC-1", 1, 1, 10, &err), CP_ERR_USAGE);
    assert_non_null(strstr(err.message, "dotproduct"));
    f.store->close(f.store);
    f.store = open_store(WIDTH / 2, "", 5000);
    assert_int_equal(put("MRN-001", "DOC-1", 1, 1, 10, &err), CP_ERR_USAGE);
    assert_non_null(strstr(err.message, "8 dimensions"));
    assert_int_equal(test_pinecone_n_requests("/vectors/upsert"), 0);
}

#define META                                                                                       \
    "\"mrn\":\"M\",\"doc\":\"D\",\"kind\":\"chat\","                                               \
    "\"hash\":\"000102030405060708090a0b0c0d0e0f\",\"model\":\"model-a\","                         \
    "\"chunk\":0,\"chunks\":1,\"begin\":0,\"n\":5"
#define MATCH(score, meta)                                                                         \
    "{\"id\":\"x\",\"score\":" score ",\"values\":[],\"metadata\":{" meta "}}"
#define ANSWER(matches) "{\"matches\":[" matches "],\"namespace\":\"\"}"

static void hostile_matches_are_refused(void **state) {
    (void)state;
    static const char *const answers[] = {
        "[]",
        "{\"matches\":{}}",
        "{\"matches\":[7]}",
        "{\"matches\":[{\"score\":0.5}]}",
        ANSWER(MATCH("\"0.5\"", META)),
        ANSWER(MATCH("1e999", META)),
        ANSWER(MATCH("1.5", META)),
        ANSWER(MATCH("null", META)),
        ANSWER("{\"id\":\"x\",\"score\":0.5}"),
        ANSWER(MATCH("0.5", "\"mrn\":\"M\"")),
        ANSWER(MATCH("0.5", "\"mrn\":7,\"doc\":\"D\"")),
        ANSWER(MATCH("0.5", META ",\"n\":6")), /* a member twice */
        ANSWER(MATCH("0.1", META) "," MATCH("0.1", META) "," MATCH("0.1", META)),
    };
    cp_error err;
    cp_vector_match found[2];
    size_t n, n_foreign;
    const test_pinecone_act acts[] = {PINECONE_TEXT};
    const cp_entry_filter any = {.mrn = CP_ANY_MRN, .kinds = CP_ALL_KINDS};
    for (size_t i = 0; i < CP_COUNT_OF(answers); i++) {
        test_pinecone_text(answers[i]);
        test_pinecone_script(acts, 1);
        if (nearest(&any, 10, 2, found, &n, &n_foreign, &err) != CP_ERR_FORMAT)
            fail_msg("answer %zu was taken", i);
        assert_int_equal(n, 0);
    }
    /* In form, and under an id that is not that document's: foreign. */
    test_pinecone_text(ANSWER(MATCH("0.5", META)));
    test_pinecone_script(acts, 1);
    assert_cp_ok(nearest(&any, 10, 2, found, &n, &n_foreign, &err));
    assert_int_equal(n, 0);
    assert_int_equal(n_foreign, 1);
}

#define HEX32         "00000000000000000000000000000000"
#define SOME_ID(last) HEX32 "." HEX32 "." HEX32 "#" last

static void hostile_listings_end(void **state) {
    (void)state;
    static const struct {
        const char *first, *said;
    } cases[] = {
        {"{\"vectors\":7}", "vectors"},
        {"{\"vectors\":[7]}", "id"},
        {"{\"vectors\":[{\"id\":\"b\"},{\"id\":\"a\"}]}", "order"},
        {"{\"vectors\":[{\"id\":\"a\"},{\"id\":\"a\"}]}", "order"},
        {"{\"vectors\":[],\"pagination\":{\"next\":7}}", "token"},
        {"{\"vectors\":[{\"id\":\"\"}]}", "id"},
    };
    cp_error err;
    seen_docs seen = {.n = 0};
    const test_pinecone_act twice[] = {PINECONE_TEXT, PINECONE_TEXT};
    for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
        test_pinecone_text(cases[i].first);
        test_pinecone_script(twice, 1);
        if (f.store->each(f.store, NULL, see_doc, &seen, &err) != CP_ERR_FORMAT ||
            !strstr(err.message, cases[i].said))
            fail_msg("case %zu: %s", i, err.message);
    }
    /* The same page for ever. */
    test_pinecone_text(
        "{\"vectors\":[{\"id\":\"" SOME_ID("0") "\"}],\"pagination\":{\"next\":\"t\"}}");
    test_pinecone_script(twice, 2);
    assert_int_equal(f.store->each(f.store, NULL, see_doc, &seen, &err), CP_ERR_FORMAT);
    /* What others keep in the namespace is not ours to tell. */
    test_pinecone_text("{\"vectors\":[{\"id\":\"a\"},{\"id\":\"doc1#chunk1\"}]}");
    test_pinecone_script(twice, 1);
    assert_cp_ok(f.store->each(f.store, NULL, see_doc, &seen, &err));
    assert_int_equal(seen.n, 0);
}

static void a_namespace_that_is_not_there_is_empty(void **state) {
    (void)state;
    cp_error err;
    cp_vector_match found[2];
    size_t n, n_foreign;
    const cp_entry_filter mine = {.mrn = "M", .kinds = CP_ALL_KINDS};
    const test_pinecone_act acts[] = {PINECONE_404, PINECONE_404, PINECONE_404};
    test_pinecone_script(acts, 3);
    assert_int_equal(each(NULL).n, 0);
    assert_cp_ok(f.store->remove(f.store, "M", (const char *const[]){"D"}, 1, &err));
    assert_cp_ok(nearest(&mine, 1, 2, found, &n, &n_foreign, &err));
    assert_int_equal(n, 0);
}

static void a_document_without_vectors_is_refused(void **state) {
    (void)state;
    cp_error err;
    const cp_chunk chunk = {.n = 1};
    const cp_index_doc doc = {.mrn = "M", .id = "D", .chunks = &chunk, .n_chunks = 1};
    assert_int_equal(f.store->put(f.store, &doc, 1, &err), CP_ERR_USAGE);
    assert_int_equal(test_pinecone_n_records(), 0);
}

static void nothing_readable_stands_in_urls_and_fields(void **state) {
    (void)state;
    cp_error err;
    assert_cp_ok(put("MRN-CANARY", "DOC-CANARY", 1, 5, 10, &err));
    assert_cp_ok(put("MRN-CANARY", "DOC-CANARY", 2, 2, 10, &err));
    assert_int_equal(each("MRN-CANARY").n, 1);
    assert_cp_ok(
        f.store->remove(f.store, "MRN-CANARY", (const char *const[]){"DOC-CANARY"}, 1, &err));
    assert_int_equal(test_pinecone_n_records(), 0);
    assert_true(test_pinecone_n_requests("/vectors/fetch") > 0);
    assert_null(strstr(test_pinecone_heads(), "CANARY"));
}

static void wrong_configurations_are_refused_at_the_start(void **state) {
    (void)state;
    static const struct {
        cp_pinecone_config config;
        const char *told;
    } cases[] = {
        {{.host = "", .api_key = "SECRET", .width = 8}, "PINECONE_HOST is not set"},
        {{.host = "http://index.example", .api_key = "SECRET", .width = 8}, "https://"},
        {{.host = "http://127.0.0.1.example", .api_key = "SECRET", .width = 8}, "https://"},
        {{.host = "ftp://127.0.0.1", .api_key = "SECRET", .width = 8}, "scheme"},
        {{.host = "https://x.example/path", .api_key = "SECRET", .width = 8}, "path"},
        {{.host = "https://x.example?a=b", .api_key = "SECRET", .width = 8}, "path"},
        {{.host = "https://u:SECRET@x.example", .api_key = "SECRET", .width = 8}, "password"},
        {{.host = "https://x.example", .api_key = "", .width = 8}, "PINECONE_API_KEY"},
        {{.host = "https://x.example", .api_key = NULL, .width = 8}, "PINECONE_API_KEY"},
        {{.host = "https://x.example", .api_key = "SECRET", .width = 0}, "EMBEDDING_MODEL"},
        {{.host = "https://x.example", .api_key = "SECRET", .width = 5000}, "width"},
    };
    for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
        cp_error err;
        cp_vector_store *store;
        assert_int_equal(cp_vector_store_open_pinecone(&cases[i].config, &store, &err),
                         CP_ERR_USAGE);
        assert_null(store);
        if (!strstr(err.message, cases[i].told) || strstr(err.message, "SECRET"))
            fail_msg("case %zu: %s", i, err.message);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
static const struct CMUnitTest tests[] = {
    TEST(what_is_put_is_found_with_its_place),
    TEST(filters_are_asked_for_and_obeyed),
    TEST(a_shorter_version_leaves_nothing_of_the_longer),
    TEST(documents_of_many_patients_go_in_one_call),
    TEST(removing_takes_all_chunks_and_nothing_else),
    TEST(large_documents_go_in_several_requests),
    TEST(namespaces_are_apart),
    TEST(the_index_describes_itself),
    TEST(each_tells_documents_once_and_what_is_wrong_with_them),
    TEST(a_lost_chunk_or_another_model_is_no_whole_document),
    TEST(metadata_that_is_not_the_ids_is_refused),
    TEST(passing_faults_are_tried_again),
    TEST(lasting_faults_are_told_without_secrets),
    TEST(an_index_of_another_kind_is_refused_before_anything_is_sent),
    TEST(hostile_matches_are_refused),
    TEST(hostile_listings_end),
    TEST(a_namespace_that_is_not_there_is_empty),
    TEST(a_document_without_vectors_is_refused),
    TEST(nothing_readable_stands_in_urls_and_fields),
    cmocka_unit_test(wrong_configurations_are_refused_at_the_start),
};
CP_TEST_GROUP(pinecone, tests)
