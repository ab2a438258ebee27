#include "retrieval/candidates.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Weights, tuned on the questions of split "train" (data/retrieval/README.md). */
#define RANK_K         60 /* of reciprocal rank fusion */
#define LEXICAL_WEIGHT 1.0f
#define VECTOR_WEIGHT  0.4f /* measured with a small model of another kind */
#define OWN_WEIGHT     2.5f /* of the record's documents, beside those of the knowledge base */
#define KNOWN_WEIGHT   0.3f /* more for each of the patient's names that a document is about */
#define MOST_KNOWN     3    /* of them */
/* Of a record's medicines or conditions, and words of one: every chunk is held against them. */
#define MOST_NAMES      256
#define MOST_NAME_WORDS 12
#define SECOND_PART     0.5f /* of the score of a document's further chunks */
#define NO_DOC          SIZE_MAX
#define FIRST_PLACES    5 /* that record and knowledge base share, where both have something */
#define MOST_OWN        4
#define MOST_NOBODYS    3

/* ---- names --------------------------------------------------------------------------------- */

static bool add_name(cp_names *to, const cp_words *words, uint64_t salt) {
    for (size_t i = 0; i < words->n && i < MOST_NAME_WORDS; i++) {
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
    for (size_t i = 0; i < n && i < MOST_NAMES && names && names[i] && status == CP_OK; i++) {
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

size_t cp_names_shared(const cp_names *a, const cp_names *b, size_t most) {
    size_t n = 0;
    for (size_t i = 0; i < a->n_names && n < most; i++)
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
    const uint64_t seed =
        (uint64_t)(uintptr_t)c->slots; /* ids cannot be chosen to meet in a slot */
    for (size_t at = XXH3_64bits_withSeed(id, strlen(id), seed) & mask;; at = (at + 1) & mask)
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
    for (size_t i = 0; i < query->n_docs; i++) {
        uint32_t *slot = slot_of(c, query->docs[i].id);
        *slot = *slot ? *slot : (uint32_t)i + 1; /* the first of a name, as everywhere */
    }
    return CP_OK;
}

void cp_candidates_deinit(cp_candidates *c) {
    free(c->items);
    free(c->slots);
    *c = (cp_candidates){0};
}

/* ---- taking -------------------------------------------------------------------------------- */

bool cp_candidates_add(cp_candidates *c, size_t number, uint32_t begin, uint32_t n, float lexical,
                       unsigned vector_rank) {
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

/* The number of the document that a hit names; NO_DOC where there is none of that name. */
static size_t find_doc(const cp_candidates *c, const cp_claimed_hit *hit) {
    if (*hit->mrn) {
        const uint32_t slot = *slot_of(c, hit->id);
        return slot > 0 ? slot - 1 : NO_DOC;
    }
    const cp_source_doc *doc = cp_knowledge_find(c->knowledge, hit->id);
    return doc ? c->query->n_docs + (size_t)(doc - cp_knowledge_doc(c->knowledge, 0)) : NO_DOC;
}

static bool is_current(const cp_source_doc *doc, const cp_claimed_hit *hit) {
    return doc->kind == hit->kind &&
           memcmp(doc->hash.bytes, hit->hash->bytes, sizeof doc->hash.bytes) == 0 &&
           hit->begin <= doc->text.n && hit->n <= doc->text.n - hit->begin;
}

bool cp_candidates_add_hit(cp_candidates *c, const cp_claimed_hit *hit, float lexical,
                           unsigned vector_rank) {
    if (*hit->mrn && (!c->query->mrn || strcmp(hit->mrn, c->query->mrn) != 0)) {
        c->n_foreign++;
        return true;
    }
    const size_t number = find_doc(c, hit);
    if (number == NO_DOC || !is_current(doc_at(c, number), hit)) {
        c->n_stale++;
        return true;
    }
    if (strcmp(doc_at(c, number)->mrn, hit->mrn) != 0) { /* the caller's list has another's */
        c->n_foreign++;
        return true;
    }
    return cp_candidates_add(c, number, hit->begin, hit->n, lexical, vector_rank);
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

/* A second chunk of a document says less that is new than the first one of another. */
static void demote_seconds(cp_candidates *c) {
    qsort(c->items, c->n, sizeof *c->items, by_doc);
    for (size_t i = 1; i < c->n; i++)
        if (c->items[i].doc == c->items[i - 1].doc)
            c->items[i].lexical *= SECOND_PART;
}

static void lift(cp_candidates *c, const cp_names *patient, const cp_names *about) {
    for (size_t i = 0; i < c->n; i++) {
        cp_candidate *item = &c->items[i];
        if (item->doc < c->query->n_docs) {
            item->lexical *= OWN_WEIGHT;
        } else if (patient->n_names > 0) {
            size_t n = cp_names_shared(patient, &about[item->doc - c->query->n_docs], MOST_KNOWN);
            item->lexical *= 1 + KNOWN_WEIGHT * (float)n;
        }
    }
}

void cp_candidates_weigh(cp_candidates *c, const cp_names *patient, const cp_names *about) {
    if (c->n == 0)
        return;
    demote_seconds(c);
    lift(c, patient, about);
    qsort(c->items, c->n, sizeof *c->items, by_lexical);
    /* The share of the best one's score: a list whose tail says little gives way to the vectors. */
    const float best = c->items[0].lexical > 0 ? c->items[0].lexical : 1;
    for (size_t i = 0; i < c->n; i++) {
        cp_candidate *item = &c->items[i];
        if (item->lexical > 0)
            item->lexical_rank = (unsigned)i + 1;
        item->score = (item->lexical_rank ? LEXICAL_WEIGHT * item->lexical / best /
                                                (float)(RANK_K + item->lexical_rank)
                                          : 0) +
                      (item->vector_rank ? VECTOR_WEIGHT / (float)(RANK_K + item->vector_rank) : 0);
    }
    qsort(c->items, c->n, sizeof *c->items, by_score);
}

static bool is_taken(const cp_candidates *c, const cp_candidate *item, unsigned most,
                     const cp_passage *out, size_t n) {
    const cp_source_doc *doc = doc_at(c, item->doc);
    unsigned have = 0;
    for (size_t i = 0; i < n; i++) {
        have += out[i].doc == doc;
        if (out[i].doc == doc && out[i].begin == item->begin && out[i].n == item->n)
            return true;
    }
    return have >= most;
}

/* Neither the record nor the knowledge base takes all of the first places from the other. */
static bool has_place(const cp_candidates *c, const cp_candidate *item, const cp_passage *out,
                      size_t n) {
    const bool own = item->doc < c->query->n_docs;
    size_t n_like_it = 0;
    for (size_t i = 0; i < n; i++)
        n_like_it += (*out[i].doc->mrn != 0) == own;
    return n >= FIRST_PLACES || n_like_it < (own ? MOST_OWN : MOST_NOBODYS);
}

/* The next passage, or NULL. */
static const cp_candidate *next_passage(const cp_candidates *c, unsigned most,
                                        const cp_passage *out, size_t n) {
    const cp_candidate *otherwise = NULL;
    for (size_t i = 0; i < c->n; i++) {
        const cp_candidate *item = &c->items[i];
        if (is_taken(c, item, most, out, n))
            continue;
        if (has_place(c, item, out, n))
            return item;
        otherwise = otherwise ? otherwise : item;
    }
    return otherwise;
}

size_t cp_candidates_pick(const cp_candidates *c, unsigned most, cp_passage *out, size_t k) {
    const cp_candidate *item;
    size_t n = 0;
    for (; n < k && (item = next_passage(c, most, out, n)); n++)
        out[n] = (cp_passage){.doc = doc_at(c, item->doc),
                              .begin = item->begin,
                              .n = item->n,
                              .best_begin = item->begin,
                              .best_n = item->n,
                              .score = item->score,
                              .lexical_rank = item->lexical_rank,
                              .vector_rank = item->vector_rank};
    return n;
}
