#include "tests/index_twin.h"

#include "base/mem.h"
#include "tests/test.h"

#include <math.h>
#include <xxhash.h>

/* One is the beginning of another, one sorts before digits, one is not ASCII. */
const char *const twin_mrns[TWIN_PATIENTS] = {"",      "A",     "AB",         "MRN-1", "MRN-10",
                                              "MRN-2", "mrn-1", "\xc3\xa9-1", "-"};

uint64_t twin_word(size_t i) {
    uint64_t word = i;
    return XXH3_64bits(&word, sizeof word);
}

/* ---- documents --------------------------------------------------------------------------------
 */

static int by_hash(const void *a, const void *b) {
    const cp_term *x = a, *y = b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

static void make_chunk(twin_chunk *chunk, uint64_t *random) {
    uint64_t taken = 0;
    size_t wanted = test_random(random) % TWIN_MAX_TERMS;
    *chunk = (twin_chunk){.begin = (uint32_t)(test_random(random) % 5000),
                          .n = (uint32_t)(test_random(random) % 900)};
    for (size_t i = 0; i < wanted; i++) {
        size_t word = test_random(random) % TWIN_WORDS * (test_random(random) % TWIN_WORDS) /
                      TWIN_WORDS; /* low ones are frequent */
        if (taken >> word & 1)
            continue;
        taken |= 1ull << word;
        uint64_t dice = test_random(random) % 100;
        uint32_t count = dice < 80 ? 1 : dice < 97 ? (uint32_t)dice : dice < 99 ? 300 : 70000;
        chunk->terms[chunk->n_terms++] = (cp_term){twin_word(word), count};
        chunk->n_words += count;
    }
    qsort(chunk->terms, chunk->n_terms, sizeof chunk->terms[0], by_hash);
    for (size_t i = 0; i < TWIN_WIDTH; i++)
        chunk->values[i] = (int8_t)(test_random(random) % 255 - 127);
    if (test_random(random) % 8 > 0)
        chunk->scale = (float)(1 + test_random(random) % 1000) / 1e5f;
}

void twin_make_doc(twin_doc *doc, size_t patient, size_t id, uint64_t *random) {
    memset(doc, 0, sizeof *doc);
    doc->lives = true;
    snprintf(doc->mrn, sizeof doc->mrn, "%s", twin_mrns[patient]);
    snprintf(doc->id, sizeof doc->id, "doc-%zu", id);
    doc->kind = patient == 0 ? CP_ENTRY_KNOWLEDGE
                             : (cp_entry_kind)(1 + test_random(random) % (CP_N_ENTRY_KINDS - 1));
    for (size_t i = 0; i < CP_CONTENT_HASH; i++)
        doc->hash.bytes[i] = (unsigned char)test_random(random);
    doc->n_chunks = 1 + test_random(random) % TWIN_MAX_CHUNKS;
    for (size_t i = 0; i < doc->n_chunks; i++)
        make_chunk(&doc->chunks[i], random);
}

cp_index_doc twin_index_doc(const twin_doc *doc, cp_chunk *chunks) {
    for (size_t i = 0; i < doc->n_chunks; i++) {
        const twin_chunk *from = &doc->chunks[i];
        chunks[i] = (cp_chunk){.begin = from->begin,
                               .n = from->n,
                               .n_words = from->n_words,
                               .terms = from->terms,
                               .n_terms = from->n_terms};
        if (from->scale > 0)
            chunks[i].vector = (cp_vector){from->values, from->scale};
    }
    return (cp_index_doc){doc->mrn, doc->id, doc->kind, doc->hash, chunks, doc->n_chunks};
}

void twin_put(cp_index *index, const twin_doc *doc) {
    cp_error err;
    cp_chunk chunks[TWIN_MAX_CHUNKS];
    cp_index_doc put = twin_index_doc(doc, chunks);
    assert_cp_ok(cp_index_put(index, &put, &err));
}

/* ---- queries ----------------------------------------------------------------------------------
 */

twin_query twin_make_query(uint64_t *random) {
    twin_query q = {.k = test_random(random) % 12};
    size_t who = test_random(random) % (TWIN_PATIENTS + 2);
    q.filter.mrn = who == 0                   ? NULL
                   : who < TWIN_PATIENTS      ? twin_mrns[who]
                   : who == TWIN_PATIENTS + 1 ? CP_ANY_MRN
                                              : "MRN-none";
    q.filter.knowledge = test_random(random) % 2;
    q.filter.kinds =
        test_random(random) % 2 ? CP_ALL_KINDS : (unsigned)test_random(random) % (CP_ALL_KINDS + 1);
    q.n_terms = test_random(random) % CP_COUNT_OF(q.terms);
    for (size_t i = 0; i < q.n_terms; i++)
        q.terms[i] = (cp_query_term){.hash = twin_word(test_random(random) % (TWIN_WORDS + 5)),
                                     .weight = test_random(random) % 3 ? 1 : 0.5f,
                                     .group = (uint32_t)(test_random(random) % 4)};
    if (test_random(random) % 10 == 0)
        q.k = 1000;
    for (size_t i = 0; i < TWIN_WIDTH; i++)
        q.values[i] = (int8_t)(test_random(random) % 255 - 127);
    return q;
}

static uint32_t count_of(const twin_chunk *chunk, uint64_t hash) {
    for (size_t i = 0; i < chunk->n_terms; i++)
        if (chunk->terms[i].hash == hash)
            return chunk->terms[i].count;
    return 0;
}

/* The sum over groups, ascending, of each group's best. */
static float lexical_score(const cp_index_view *view, const twin_query *q,
                           const twin_chunk *chunk) {
    float sum = 0, mean = cp_index_view_mean_words(view);
    for (uint32_t group = 0; group < 4; group++) {
        float best = 0;
        for (size_t i = 0; i < q->n_terms; i++) {
            uint32_t count = count_of(chunk, q->terms[i].hash);
            if (q->terms[i].group != group || count == 0)
                continue;
            float idf = cp_index_view_idf(view, q->terms[i].hash);
            float score =
                q->terms[i].weight * cp_bm25(idf, (float)count, (float)chunk->n_words, mean);
            best = score > best ? score : best;
        }
        sum += best;
    }
    return sum;
}

static float vector_score(const twin_query *q, const twin_chunk *chunk) {
    int32_t sum = 0;
    for (size_t i = 0; i < TWIN_WIDTH; i++)
        sum += q->values[i] * chunk->values[i];
    return (float)sum * (chunk->scale * 0.01f);
}

static bool lets_through(const cp_entry_filter *f, const twin_doc *doc) {
    if (!doc->lives || !(f->kinds & CP_KIND_BIT(doc->kind)))
        return false;
    if (doc->mrn[0] == '\0')
        return f->knowledge;
    return f->mrn && (strcmp(f->mrn, CP_ANY_MRN) == 0 || strcmp(f->mrn, doc->mrn) == 0);
}

static int descending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* All scores that the filter lets through, best first. */
static size_t all_scores(const twin *all, const cp_index_view *view, const twin_query *q,
                         bool lexical, float *scores) {
    size_t n = 0;
    const twin_doc *docs = &all->docs[0][0];
    for (size_t d = 0; d < TWIN_PATIENTS * TWIN_IDS; d++)
        for (size_t c = 0; lets_through(&q->filter, &docs[d]) && c < docs[d].n_chunks; c++) {
            const twin_chunk *chunk = &docs[d].chunks[c];
            float score = lexical ? lexical_score(view, q, chunk) : vector_score(q, chunk);
            if (lexical ? score > 0 : chunk->scale > 0)
                scores[n++] = score;
        }
    qsort(scores, n, sizeof *scores, descending);
    return n;
}

static const twin_doc *find(const twin *all, const char *mrn, const char *id) {
    const twin_doc *docs = &all->docs[0][0];
    for (size_t d = 0; d < TWIN_PATIENTS * TWIN_IDS; d++)
        if (docs[d].lives && strcmp(docs[d].mrn, mrn) == 0 && strcmp(docs[d].id, id) == 0)
            return &docs[d];
    return NULL;
}

/* What the view says of an entry is what was put. */
static const twin_chunk *check_item(const twin_doc *doc, const cp_index_item *item) {
    assert_non_null(doc);
    assert_true(item->chunk < doc->n_chunks);
    const twin_chunk *chunk = &doc->chunks[item->chunk];
    assert_int_equal(item->kind, doc->kind);
    assert_memory_equal(&item->hash, &doc->hash, sizeof doc->hash);
    assert_int_equal(item->begin, chunk->begin);
    assert_int_equal(item->n, chunk->n);
    assert_int_equal(item->n_words, chunk->n_words);
    if (chunk->scale > 0) {
        assert_memory_equal(item->vector.values, chunk->values, TWIN_WIDTH);
        assert_true(item->vector.scale == chunk->scale);
    } else {
        assert_null(item->vector.values);
    }
    return chunk;
}

#define MOST (TWIN_PATIENTS * TWIN_IDS * TWIN_MAX_CHUNKS)

static void compare_hits(const twin *all, const cp_index_view *view, const twin_query *q,
                         bool lexical, const cp_hit *hits, size_t n) {
    static float scores[MOST];
    size_t there = all_scores(all, view, q, lexical, scores);
    assert_int_equal(n, there < q->k ? there : q->k);
    for (size_t i = 0; i < n; i++) {
        cp_index_item item = cp_index_view_item(view, hits[i].number);
        const twin_doc *doc = find(all, item.mrn, item.id);
        const twin_chunk *chunk = check_item(doc, &item);
        assert_true(lets_through(&q->filter, doc));
        float score = lexical ? lexical_score(view, q, chunk) : vector_score(q, chunk);
        if (hits[i].score != scores[i] || score != scores[i])
            fail_msg("hit %zu: %.9g, its entry has %.9g, expected %.9g", i, (double)hits[i].score,
                     (double)score, (double)scores[i]);
        if (i > 0 && hits[i].score == hits[i - 1].score)
            assert_true(hits[i].number > hits[i - 1].number);
        for (size_t j = 0; j < i; j++)
            assert_true(hits[j].number != hits[i].number);
    }
}

size_t twin_compare(const twin *all, const cp_index_view *view, const twin_query *q) {
    cp_error err;
    static cp_hit hits[1000];
    size_t n_lexical, n_nearest;
    assert_cp_ok(cp_index_view_lexical(view, &q->filter, q->terms, q->n_terms, q->k, hits,
                                       &n_lexical, &err));
    compare_hits(all, view, q, true, hits, n_lexical);
    assert_cp_ok(cp_index_view_nearest(view, &q->filter, (cp_vector){q->values, 0.01f}, 2, q->k,
                                       hits, &n_nearest, &err));
    compare_hits(all, view, q, false, hits, n_nearest);
    return n_lexical + n_nearest;
}

/* ---- documents of a view ----------------------------------------------------------------------
 */

typedef struct visit_state {
    const twin *all;
    const char *mrn;
    size_t n;
    uint64_t digest;
} visit_state;

static bool check_doc(void *user, const cp_indexed_doc *doc) {
    visit_state *v = user;
    const twin_doc *expected = find(v->all, doc->mrn, doc->id);
    assert_non_null(expected);
    if (v->mrn)
        assert_string_equal(doc->mrn, v->mrn);
    bool has_vectors = true;
    for (size_t i = 0; i < expected->n_chunks; i++)
        has_vectors = has_vectors && expected->chunks[i].scale > 0;
    assert_int_equal(doc->kind, expected->kind);
    assert_memory_equal(&doc->hash, &expected->hash, sizeof doc->hash);
    assert_int_equal(doc->n_chunks, expected->n_chunks);
    assert_int_equal(doc->has_vectors, has_vectors);
    v->n++;
    return true;
}

void twin_compare_docs(const twin *all, const cp_index_view *view) {
    size_t n_docs = 0, n_chunks = 0, n_vectors = 0;
    for (size_t p = 0; p < TWIN_PATIENTS; p++) {
        visit_state v = {all, twin_mrns[p], 0, 0};
        size_t n = 0;
        cp_index_view_each(view, twin_mrns[p], check_doc, &v);
        for (size_t i = 0; i < TWIN_IDS; i++) {
            const twin_doc *doc = &all->docs[p][i];
            char id[32];
            cp_content_hash other = doc->hash;
            snprintf(id, sizeof id, "doc-%zu", i);
            assert_int_equal(cp_index_view_has(view, twin_mrns[p], id, &doc->hash),
                             doc->lives ? CP_INDEXED_FRESH : CP_INDEXED_NOT);
            other.bytes[CP_CONTENT_HASH - 1] ^= 1;
            assert_int_equal(cp_index_view_has(view, twin_mrns[p], id, &other),
                             doc->lives ? CP_INDEXED_STALE : CP_INDEXED_NOT);
            n += doc->lives;
            n_chunks += doc->lives ? doc->n_chunks : 0;
            for (size_t c = 0; doc->lives && c < doc->n_chunks; c++)
                n_vectors += doc->chunks[c].scale > 0;
        }
        assert_int_equal(v.n, n);
        n_docs += n;
    }
    visit_state every = {all, NULL, 0, 0};
    cp_index_view_each(view, NULL, check_doc, &every);
    cp_index_stats stats = cp_index_view_stats(view);
    assert_int_equal(every.n, n_docs);
    assert_int_equal(stats.n_docs, n_docs);
    assert_int_equal(stats.n_chunks, n_chunks);
    assert_int_equal(stats.n_vectors, n_vectors);
}

static bool add_to_digest(void *user, const cp_indexed_doc *doc) {
    visit_state *v = user;
    uint64_t seed = XXH3_64bits(doc->mrn, strlen(doc->mrn) + 1);
    seed = XXH3_64bits_withSeed(doc->id, strlen(doc->id) + 1, seed);
    seed = XXH3_64bits_withSeed(&doc->hash, sizeof doc->hash, seed);
    v->digest += XXH3_64bits_withSeed(&doc->n_chunks, sizeof doc->n_chunks, seed);
    return true;
}

uint64_t twin_digest(const cp_index_view *view) {
    visit_state v = {.mrn = NULL};
    cp_error err;
    static cp_hit hits[MOST];
    cp_entry_filter all = {CP_ANY_MRN, true, CP_ALL_KINDS};
    size_t n;
    cp_index_view_each(view, NULL, add_to_digest, &v);
    for (size_t word = 0; word < TWIN_WORDS; word++) {
        cp_query_term term = {twin_word(word), 1, 0};
        assert_cp_ok(cp_index_view_lexical(view, &all, &term, 1, MOST, hits, &n, &err));
        for (size_t i = 0; i < n; i++) {
            cp_index_item item = cp_index_view_item(view, hits[i].number);
            uint64_t seed = XXH3_64bits_withSeed(&item.hash, sizeof item.hash, word);
            uint32_t about[] = {item.chunk, item.begin, item.n, item.n_words};
            seed = XXH3_64bits_withSeed(about, sizeof about, seed);
            v.digest +=
                XXH3_64bits_withSeed(item.vector.values, item.vector.values ? TWIN_WIDTH : 0, seed);
        }
    }
    return v.digest;
}
