#include "retrieval/candidates.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Weights, tuned on the questions of split "train" (data/retrieval/README.md). */
#define RANK_K         60 /* of reciprocal rank fusion */
#define LEXICAL_WEIGHT 1.0f
#define VECTOR_WEIGHT  1.0f
#define OWN_WEIGHT     2.0f /* of the record's documents, beside those of the knowledge base */
#define KNOWN_WEIGHT   0.2f /* more for each of the patient's names that a document is about */
#define MOST_KNOWN     3    /* of them */
#define SHARED_PART    0.0f /* of what a document's other chunks found */

/* ---- names --------------------------------------------------------------------------------- */

static bool add_name(cp_names *to, const cp_words *words, uint64_t salt) {
    for (size_t i = 0; i < words->n; i++) {
        if (words->items[i].stop)
            continue;
        if (!cp_grow((void **)&to->terms, &to->cap, to->n + 1, sizeof *to->terms))
            return false;
        to->terms[to->n++] = cp_term_hash(cp_word_stem(words, i), salt);
    }
    const size_t before = to->n_names > 0 ? to->ends[to->n_names - 1] : 0;
    if (to->n == before)
        return true;
    if (!cp_grow((void **)&to->ends, &to->cap_names, to->n_names + 1, sizeof *to->ends))
        return false;
    to->ends[to->n_names++] = to->n;
    return true;
}

cp_status cp_names_add(cp_names *to, const char *const *names, size_t n, uint64_t salt,
                       cp_error *err) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < n && names && names[i] && status == CP_OK; i++) {
        cp_words words;
        status = cp_words_split((cp_str){names[i], strlen(names[i])}, &words, err);
        if (status == CP_OK && !add_name(to, &words, salt))
            status = cp_error_no_memory(err, "names of a record");
        cp_words_deinit(&words);
    }
    return status;
}

void cp_names_deinit(cp_names *names) {
    free(names->terms);
    free(names->ends);
    *names = (cp_names){0};
}

/* Name i of `a` has all words of name j of `b`, or the other way round. */
static bool is_same_name(const cp_names *a, size_t i, const cp_names *b, size_t j) {
    const size_t a0 = i > 0 ? a->ends[i - 1] : 0, b0 = j > 0 ? b->ends[j - 1] : 0;
    const size_t n_a = a->ends[i] - a0, n_b = b->ends[j] - b0;
    size_t n = 0;
    for (size_t x = a0; x < a->ends[i]; x++)
        for (size_t y = b0; y < b->ends[j]; y++)
            n += a->terms[x] == b->terms[y];
    return n >= (n_a < n_b ? n_a : n_b);
}

size_t cp_names_shared(const cp_names *a, const cp_names *b) {
    size_t n = 0;
    for (size_t i = 0; i < a->n_names; i++)
        for (size_t j = 0; j < b->n_names; j++)
            if (is_same_name(a, i, b, j)) {
                n++;
                break;
            }
    return n;
}

/* ---- the query's documents ----------------------------------------------------------------- */

static const cp_source_doc *doc_at(const cp_candidates *c, size_t number) {
    return number < c->query->n_docs ? &c->query->docs[number]
                                     : cp_knowledge_doc(c->knowledge, number - c->query->n_docs);
}

static uint32_t *slot_of(const cp_candidates *c, const char *id) {
    const size_t mask = c->n_slots - 1;
    for (size_t at = XXH3_64bits(id, strlen(id)) & mask;; at = (at + 1) & mask)
        if (c->slots[at] == 0 || strcmp(c->query->docs[c->slots[at] - 1].id, id) == 0)
            return &c->slots[at];
}

cp_status cp_candidates_init(cp_candidates *c, const cp_knowledge *knowledge,
                             const cp_retrieve_query *query, cp_error *err) {
    *c = (cp_candidates){.knowledge = knowledge, .query = query, .n_slots = 4};
    while (c->n_slots < 2 * query->n_docs)
        c->n_slots *= 2;
    c->slots = calloc(c->n_slots, sizeof *c->slots);
    if (!c->slots)
        return cp_error_no_memory(err, "candidates");
    for (size_t i = 0; i < query->n_docs; i++)
        *slot_of(c, query->docs[i].id) = (uint32_t)i + 1;
    return CP_OK;
}

void cp_candidates_deinit(cp_candidates *c) {
    free(c->items);
    free(c->slots);
    *c = (cp_candidates){0};
}

/* ---- taking -------------------------------------------------------------------------------- */

bool cp_candidates_add(cp_candidates *c, const cp_source_doc *doc, uint32_t begin, uint32_t n,
                       float lexical, unsigned vector_rank) {
    const bool own = doc >= c->query->docs && doc < c->query->docs + c->query->n_docs;
    const size_t number =
        own ? (size_t)(doc - c->query->docs)
            : c->query->n_docs + (size_t)(doc - cp_knowledge_doc(c->knowledge, 0));
    for (size_t i = 0; i < c->n && vector_rank > 0; i++) {
        cp_candidate *item = &c->items[i];
        if (item->doc == number && item->begin == begin && item->n == n) {
            item->vector_rank = vector_rank;
            return true;
        }
    }
    if (!cp_grow((void **)&c->items, &c->cap, c->n + 1, sizeof *c->items))
        return false;
    c->items[c->n++] = (cp_candidate){
        .doc = number, .begin = begin, .n = n, .lexical = lexical, .vector_rank = vector_rank};
    return true;
}

/* The document that a hit names, if it is this question's to see; *stale where there is none of
 * that name. */
static const cp_source_doc *find_doc(const cp_candidates *c, const cp_claimed_hit *hit) {
    if (!*hit->mrn)
        return cp_knowledge_find(c->knowledge, hit->id);
    const uint32_t slot = *slot_of(c, hit->id);
    return slot > 0 ? &c->query->docs[slot - 1] : NULL;
}

bool cp_candidates_add_hit(cp_candidates *c, const cp_claimed_hit *hit, float lexical,
                           unsigned vector_rank) {
    if (*hit->mrn && (!c->query->mrn || strcmp(hit->mrn, c->query->mrn) != 0)) {
        c->n_foreign++;
        return true;
    }
    const cp_source_doc *doc = find_doc(c, hit);
    if (!doc || doc->kind != hit->kind ||
        memcmp(doc->hash.bytes, hit->hash->bytes, sizeof doc->hash.bytes) != 0 ||
        hit->begin > doc->text.n || hit->n > doc->text.n - hit->begin) {
        c->n_stale++;
        return true;
    }
    if (strcmp(doc->mrn, hit->mrn) != 0) { /* the caller's list has somebody else's */
        c->n_foreign++;
        return true;
    }
    return cp_candidates_add(c, doc, hit->begin, hit->n, lexical, vector_rank);
}

/* ---- weighing ------------------------------------------------------------------------------ */

static int by_lexical(const void *a, const void *b) {
    const cp_candidate *x = a, *y = b;
    if (x->lexical != y->lexical)
        return x->lexical > y->lexical ? -1 : 1;
    if (x->doc != y->doc)
        return x->doc < y->doc ? -1 : 1;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static int by_score(const void *a, const void *b) {
    const cp_candidate *x = a, *y = b;
    return x->score != y->score ? (x->score > y->score ? -1 : 1) : by_lexical(a, b);
}

static int by_doc(const void *a, const void *b) {
    const cp_candidate *x = a, *y = b;
    return x->doc != y->doc ? (x->doc < y->doc ? -1 : 1) : by_lexical(a, b);
}

/* Chunks of a document share what the others found. */
static void share_in_documents(cp_candidates *c) {
    qsort(c->items, c->n, sizeof *c->items, by_doc);
    for (size_t i = 0, end; i < c->n; i = end) {
        float sum = 0;
        for (end = i; end < c->n && c->items[end].doc == c->items[i].doc; end++)
            sum += c->items[end].lexical;
        for (size_t j = i; j < end; j++)
            c->items[j].lexical += SHARED_PART * (sum - c->items[j].lexical);
    }
}

static void lift(cp_candidates *c, const cp_names *patient, const cp_names *about) {
    for (size_t i = 0; i < c->n; i++) {
        cp_candidate *item = &c->items[i];
        if (item->doc < c->query->n_docs) {
            item->lexical *= OWN_WEIGHT;
        } else if (patient->n_names > 0) {
            size_t n = cp_names_shared(patient, &about[item->doc - c->query->n_docs]);
            item->lexical *= 1 + KNOWN_WEIGHT * (float)(n > MOST_KNOWN ? MOST_KNOWN : n);
        }
    }
}

void cp_candidates_weigh(cp_candidates *c, const cp_names *patient, const cp_names *about) {
    if (c->n == 0)
        return;
    share_in_documents(c);
    lift(c, patient, about);
    qsort(c->items, c->n, sizeof *c->items, by_lexical);
    for (size_t i = 0; i < c->n; i++) {
        cp_candidate *item = &c->items[i];
        if (item->lexical > 0)
            item->lexical_rank = (unsigned)i + 1;
        item->score =
            (item->lexical_rank ? LEXICAL_WEIGHT / (float)(RANK_K + item->lexical_rank) : 0) +
            (item->vector_rank ? VECTOR_WEIGHT / (float)(RANK_K + item->vector_rank) : 0);
    }
    qsort(c->items, c->n, sizeof *c->items, by_score);
}

size_t cp_candidates_pick(const cp_candidates *c, unsigned most, cp_passage *out, size_t k) {
    size_t n = 0;
    for (size_t i = 0; i < c->n && n < k; i++) {
        const cp_candidate *item = &c->items[i];
        const cp_source_doc *doc = doc_at(c, item->doc);
        unsigned have = 0;
        for (size_t j = 0; j < n; j++)
            have += out[j].doc == doc;
        if (have < most)
            out[n++] = (cp_passage){.doc = doc,
                                    .begin = item->begin,
                                    .n = item->n,
                                    .best_begin = item->begin,
                                    .best_n = item->n,
                                    .score = item->score,
                                    .lexical_rank = item->lexical_rank,
                                    .vector_rank = item->vector_rank};
    }
    return n;
}

/* ---- scores -------------------------------------------------------------------------------- */

static int by_hash(const void *key, const void *item) {
    const uint64_t hash = *(const uint64_t *)key, other = ((const cp_term *)item)->hash;
    return hash < other ? -1 : hash > other;
}

float cp_score_chunk(const cp_index_view *view, const cp_query_terms *terms,
                     const cp_chunk *chunk) {
    const float mean = cp_index_view_mean_words(view);
    float sum = 0, best = 0;
    if (chunk->n_terms == 0)
        return 0;
    for (size_t i = 0; i < terms->n; i++) {
        const cp_query_term *term = &terms->items[i];
        const cp_term *found =
            bsearch(&term->hash, chunk->terms, chunk->n_terms, sizeof *chunk->terms, by_hash);
        const float score =
            found ? term->weight * cp_bm25(cp_index_view_idf(view, term->hash), (float)found->count,
                                           (float)chunk->n_words, mean)
                  : 0;
        best = score > best ? score : best;
        if (i + 1 == terms->n || terms->items[i + 1].group != term->group) {
            sum += best;
            best = 0;
        }
    }
    return sum;
}

cp_status cp_score_text(const cp_index_view *view, const cp_query_terms *terms, uint64_t salt,
                        cp_str text, float *out, cp_error *err) {
    cp_words words;
    cp_status status = cp_words_split(text, &words, err);
    *out = 0;
    for (size_t i = 0; i < terms->n && status == CP_OK; i++)
        for (size_t j = 0; j < words.n; j++)
            if (cp_term_hash(cp_word_stem(&words, j), salt) == terms->items[i].hash) {
                *out += terms->items[i].weight * cp_index_view_idf(view, terms->items[i].hash);
                break;
            }
    cp_words_deinit(&words);
    return status;
}
