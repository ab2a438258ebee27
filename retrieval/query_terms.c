#include "retrieval/query_terms.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define SPELLING_WEIGHT 0.8f
#define SAME_WEIGHT     0.9f
#define MEANT_WEIGHT    0.8f
/* Of a record that is read for its spelling. */
#define MOST_RECORD_BYTES ((size_t)64 << 10)

typedef struct maker {
    const cp_query_words *with;
    cp_query_terms *out;
    cp_asked_word *asked; /* [n] */
    size_t n;
    cp_known_words record; /* made when a word is unknown */
    bool has_record, failed;
    size_t match_at; /* where the phrase begins that is being expanded */
} maker;

/* Adds a term or raises its weight. */
static bool put(cp_query_terms *out, uint64_t hash, float weight, uint32_t group) {
    for (size_t i = 0; i < out->n; i++)
        if (out->items[i].hash == hash) {
            if (out->items[i].weight < weight)
                out->items[i].weight = weight;
            return true;
        }
    if (!cp_grow((void **)&out->items, &out->cap, out->n + 1, sizeof *out->items))
        return false;
    out->items[out->n++] = (cp_query_term){hash, weight, group};
    if (group >= out->n_groups)
        out->n_groups = group + 1;
    return true;
}

bool cp_query_terms_add(cp_query_terms *terms, uint64_t hash, float weight) {
    return put(terms, hash, weight, terms->n_groups);
}

void cp_query_terms_deinit(cp_query_terms *terms) {
    free(terms->items);
    *terms = (cp_query_terms){0};
}

/* ---- spelling ------------------------------------------------------------------------------ */

static cp_status read_text(maker *m, cp_str text, cp_error *err) {
    cp_words words;
    cp_status status = cp_words_split(text, &words, err);
    if (status == CP_OK)
        status = cp_known_words_add(&m->record, &words, err);
    cp_words_deinit(&words);
    return status;
}

/* From the end: of each kind the newest come last. */
static cp_status read_record(maker *m, cp_error *err) {
    size_t left = MOST_RECORD_BYTES;
    cp_status status = CP_OK;
    m->has_record = true;
    for (size_t i = m->with->n_docs; i > 0 && status == CP_OK; i--) {
        const cp_source_doc *doc = &m->with->docs[i - 1];
        const cp_str title = {doc->title, strlen(doc->title)};
        if (title.n > left || doc->text.n > left - title.n)
            continue; /* one long text keeps no other out */
        left -= title.n + doc->text.n;
        status = read_text(m, title, err);
        if (status == CP_OK)
            status = read_text(m, doc->text, err);
    }
    return status;
}

static void add_spellings(cp_asked_word *word, const cp_known_words *from, cp_str folded,
                          cp_str stem, uint64_t salt) {
    cp_str near[CP_MAX_SPELLINGS];
    const size_t n = cp_known_words_near(from, folded, stem, near, CP_MAX_SPELLINGS - word->n);
    for (size_t i = 0; i < n; i++)
        word->terms[word->n++] = cp_term_hash(near[i], salt);
}

static cp_status ask_word(maker *m, const cp_words *words, size_t i, cp_error *err) {
    const cp_str folded = cp_word_folded(words, i), stem = cp_word_stem(words, i);
    cp_asked_word *word = &m->asked[i];
    *word = (cp_asked_word){
        .terms = {cp_term_hash(stem, m->with->salt)}, .n = 1, .stop = words->items[i].stop};
    if (word->stop || folded.n < 4 || cp_known_words_has(m->with->known, folded, stem))
        return CP_OK;
    cp_status status = m->has_record ? CP_OK : read_record(m, err);
    if (status != CP_OK || cp_known_words_has(&m->record, folded, stem))
        return status;
    add_spellings(word, m->with->known, folded, stem, m->with->salt);
    add_spellings(word, &m->record, folded, stem, m->with->salt);
    return CP_OK;
}

/* ---- meanings ------------------------------------------------------------------------------ */

/* The group of the i-th word that means something of the phrase being expanded; `otherwise` where
 * it has fewer. */
static uint32_t group_of(const maker *m, size_t n_words, size_t i, uint32_t otherwise) {
    for (size_t at = m->match_at; at < m->match_at + n_words; at++)
        if (!m->asked[at].stop && i-- == 0)
            return (uint32_t)at;
    return otherwise;
}

static void expand(void *user, size_t n_words, cp_meaning meaning) {
    maker *m = user;
    const float weight = meaning.same ? SAME_WEIGHT : MEANT_WEIGHT;
    uint32_t more = m->out->n_groups; /* groups for what has no word to stand for */
    for (size_t p = 0; p < meaning.n; p++) {
        const cp_phrase *phrase = &meaning.phrases[p];
        size_t place = 0;
        for (size_t i = 0; i < phrase->n; i++) {
            if (phrase->stop[i])
                continue;
            const uint32_t group = group_of(m, n_words, place, more + (uint32_t)place);
            m->failed = m->failed || !put(m->out, phrase->terms[i], weight, group);
            place++;
        }
    }
}

static cp_status make(maker *m, const cp_words *words, cp_error *err) {
    for (size_t i = 0; i < m->n; i++) {
        cp_status status = ask_word(m, words, i, err);
        if (status != CP_OK)
            return status;
    }
    m->out->n_groups = (uint32_t)m->n;
    for (size_t i = 0; i < m->n; i++)
        for (size_t s = 0; s < m->asked[i].n && !m->asked[i].stop; s++)
            m->failed = m->failed || !put(m->out, m->asked[i].terms[s],
                                          s == 0 ? 1 : SPELLING_WEIGHT, (uint32_t)i);
    for (size_t i = 0; i < m->n && m->with->list;) {
        m->match_at = i;
        size_t n = cp_everyday_names_match(m->with->list, m->asked + i, m->n - i, expand, m);
        i += n > 1 ? n : 1;
    }
    return m->failed ? cp_error_no_memory(err, "terms of a question") : CP_OK;
}

static int by_group(const void *a, const void *b) {
    const uint32_t x = ((const cp_query_term *)a)->group, y = ((const cp_query_term *)b)->group;
    return x < y ? -1 : x > y;
}

cp_status cp_query_terms_make(const cp_query_words *with, cp_str question, cp_query_terms *out,
                              cp_error *err) {
    maker m = {.with = with, .out = out};
    cp_words words;
    *out = (cp_query_terms){0};
    cp_known_words_init(&m.record);
    cp_status status = cp_words_split(question, &words, err);
    m.n = words.n < CP_MAX_QUERY_WORDS ? words.n : CP_MAX_QUERY_WORDS;
    m.asked = calloc(m.n + 1, sizeof *m.asked);
    if (status == CP_OK)
        status = m.asked ? make(&m, &words, err) : cp_error_no_memory(err, "terms of a question");
    if (status != CP_OK)
        cp_query_terms_deinit(out);
    else if (out->n > 0)
        qsort(out->items, out->n, sizeof *out->items, by_group);
    free(m.asked);
    cp_known_words_deinit(&m.record);
    cp_words_deinit(&words);
    return status;
}
