/* A segment that was damaged behind the checks at opening: a question is answered all the same,
 * from the documents in hand. */
#include "tests/test.h"

#include "base/file.h"
#include "retrieval/knowledge.h"
#include "retrieval/retriever.h"

static const char *segment_of(const char *dir) {
    for (int i = 1; i < 10; i++) {
        char name[32];
        snprintf(name, sizeof name, "segment-%d", i);
        const char *path = test_path(dir, name);
        cp_strbuf bytes;
        cp_error err;
        cp_strbuf_init(&bytes, (size_t)64 << 20);
        cp_status status = cp_file_read(path, bytes.max_bytes, &bytes, &err);
        bool is_full = status == CP_OK && bytes.n > 4096;
        cp_strbuf_deinit(&bytes);
        if (is_full)
            return path;
    }
    fail_msg("there is no segment");
    return NULL;
}

static void make_index(const char *dir, const cp_knowledge *knowledge) {
    const cp_index_options options = {.dir = dir, .write = true};
    cp_index *index;
    cp_error err;
    assert_cp_ok(cp_index_open(&options, &index, &err));
    for (size_t i = 0; i < cp_knowledge_n(knowledge); i++) {
        const cp_source_doc *doc = cp_knowledge_doc(knowledge, i);
        cp_chunked chunked;
        assert_cp_ok(cp_chunk_document(doc, cp_index_salt(index), &chunked, &err));
        const cp_index_doc put = {.mrn = "",
                                  .id = doc->id,
                                  .kind = doc->kind,
                                  .hash = doc->hash,
                                  .chunks = chunked.chunks,
                                  .n_chunks = chunked.n};
        assert_cp_ok(cp_index_put(index, &put, &err));
        cp_chunked_deinit(&chunked);
    }
    assert_cp_ok(cp_index_commit(index, &err));
    assert_cp_ok(cp_index_compact(index, &err));
    cp_index_close(index);
}

/* Whether the index could be opened; then the question's answer is there, *failed or not. */
static bool ask(const char *dir, const cp_knowledge *knowledge, bool *failed) {
    const cp_index_options options = {.dir = dir};
    cp_index *index;
    cp_retriever *retriever;
    cp_retrieved found;
    cp_error err;
    if (cp_index_open(&options, &index, &err) != CP_OK)
        return false;
    const cp_retriever_options with = {.index = index, .knowledge = knowledge};
    const cp_retrieve_query query = {
        .text = "chest pain at rest with sweating", .kinds = CP_ALL_KINDS, .k = 5};
    assert_cp_ok(cp_retriever_create(&with, &retriever, &err));
    assert_cp_ok(cp_retrieve(retriever, &query, &found, &err));
    bool is_there = false;
    for (size_t i = 0; i < found.n; i++)
        is_there |= strcmp(found.passages[i].doc->id, "KB-chest-pain") == 0;
    *failed = found.index_failed;
    if (*failed && !is_there)
        fail_msg("with a damaged index the answer is lost");
    free(found.passages);
    cp_retriever_free(retriever);
    cp_index_close(index);
    return true;
}

static void a_damaged_index_takes_no_answer_away(void **state) {
    (void)state;
    const char *dir = test_path(test_tmp_dir(), "index");
    cp_knowledge *knowledge;
    cp_strbuf good, bad;
    cp_error err;
    size_t n_failed = 0;
    bool failed = true;
    assert_cp_ok(cp_knowledge_open("data/knowledge", &knowledge, &err));
    make_index(dir, knowledge);
    assert_true(ask(dir, knowledge, &failed));
    assert_false(failed);
    const char *segment = segment_of(dir);
    cp_strbuf_init(&good, (size_t)64 << 20);
    cp_strbuf_init(&bad, (size_t)64 << 20);
    assert_cp_ok(cp_file_read(segment, good.max_bytes, &good, &err));
    for (size_t part = 0; part < 64; part++) {
        size_t begin = good.n * part / 64, end = good.n * (part + 1) / 64;
        cp_strbuf_clear(&bad);
        cp_strbuf_append(&bad, good.data, good.n);
        memset(bad.data + begin, 0xff, end - begin);
        test_write_file(segment, bad.data, bad.n);
        if (ask(dir, knowledge, &failed))
            n_failed += failed;
    }
    assert_true(n_failed > 0);
    cp_strbuf_deinit(&good);
    cp_strbuf_deinit(&bad);
    cp_knowledge_close(knowledge);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_damaged_index_takes_no_answer_away),
};
CP_TEST_GROUP(index_damage, tests)
