#include "retrieval/retriever.h"

#include "base/mem.h"
#include "retrieval/candidates.h"
#include "retrieval/knowledge.h"
#include "retrieval/query_terms.h"
#include "retrieval/term_values.h"

#include <stdlib.h>
#include <string.h>

#define MAX_PASSAGES     64
#define MOST_OF_DOCUMENT 2   /* passages */
#define LEAST_HITS       256 /* of the index, before they are weighed */

struct cp_retriever {
    cp_index *index;
    const cp_knowledge *knowledge;
    cp_known_words vocabulary; /* of the knowledge base and the everyday names */
    cp_everyday_names *list;   /* or NULL */
    cp_chunked *chunked;       /* [cp_knowledge_n] for what the index does not have */
    cp_names *names;           /* [cp_knowledge_n] conditions and medicines in terms */
};

/* ---- once ---------------------------------------------------------------------------------- */

static cp_status learn_text(cp_retriever *r, cp_str text, cp_error *err) {
    cp_words words;
    cp_status status = cp_words_split(text, &words, err);
    if (status == CP_OK)
        status = cp_known_words_add(&r->vocabulary, &words, err);
    cp_words_deinit(&words);
    return status;
}

static cp_status learn_texts(cp_retriever *r, const char *const *texts, cp_error *err) {
    cp_status status = CP_OK;
    for (; *texts && status == CP_OK; texts++)
        status = learn_text(r, (cp_str){*texts, strlen(*texts)}, err);
    return status;
}

static cp_status learn_document(cp_retriever *r, size_t i, cp_error *err) {
    const cp_source_doc *doc = cp_knowledge_doc(r->knowledge, i);
    const cp_knowledge_about about = cp_knowledge_about_doc(r->knowledge, i);
    const uint64_t salt = cp_index_salt(r->index);
    cp_status status = learn_text(r, doc->text, err);
    if (status == CP_OK)
        status = learn_text(r, (cp_str){doc->title, strlen(doc->title)}, err);
    if (status == CP_OK)
        status = learn_text(r, doc->also, err);
    if (status == CP_OK)
        status = learn_texts(r, about.conditions, err);
    if (status == CP_OK)
        status = learn_texts(r, about.medicines, err);
    if (status == CP_OK)
        status = cp_names_add(&r->names[i], about.conditions, SIZE_MAX, salt, err);
    if (status == CP_OK)
        status = cp_names_add(&r->names[i], about.medicines, SIZE_MAX, salt, err);
    return status == CP_OK ? cp_chunk_document(doc, salt, &r->chunked[i], err) : status;
}

static cp_status fill(cp_retriever *r, const char *words_path, cp_error *err) {
    const size_t n = cp_knowledge_n(r->knowledge);
    r->chunked = calloc(n + 1, sizeof *r->chunked);
    r->names = calloc(n + 1, sizeof *r->names);
    if (!r->chunked || !r->names)
        return cp_error_no_memory(err, "retriever");
    cp_status status = CP_OK;
    for (size_t i = 0; i < n && status == CP_OK; i++)
        status = learn_document(r, i, err);
    if (status == CP_OK && words_path)
        status = cp_everyday_names_open(words_path, cp_index_salt(r->index), &r->vocabulary,
                                        &r->list, err);
    return status;
}

cp_status cp_retriever_create(const cp_retriever_options *options, cp_retriever **out,
                              cp_error *err) {
    *out = NULL;
    cp_retriever *r = calloc(1, sizeof *r);
    if (!r)
        return cp_error_no_memory(err, "retriever");
    r->index = options->index;
    r->knowledge = options->knowledge;
    cp_known_words_init(&r->vocabulary);
    cp_status status = fill(r, options->words_path, err);
    if (status == CP_OK)
        *out = r;
    else
        cp_retriever_free(r);
    return status;
}

void cp_retriever_free(cp_retriever *r) {
    if (!r)
        return;
    for (size_t i = 0; i < cp_knowledge_n(r->knowledge); i++) {
        if (r->chunked)
            cp_chunked_deinit(&r->chunked[i]);
        if (r->names)
            cp_names_deinit(&r->names[i]);
    }
    free(r->chunked);
    free(r->names);
    cp_everyday_names_close(r->list);
    cp_known_words_deinit(&r->vocabulary);
    free(r);
}

/* ---- a question ---------------------------------------------------------------------------- */

typedef struct search {
    cp_retriever *r;
    const cp_retrieve_query *query;
    cp_index_view *view;
    cp_query_terms terms;
    cp_term_values values;
    cp_candidates found;
    cp_retrieved *out;
    cp_error *err;
} search;

/* Hits that the index has for this patient and for nobody. */
static cp_status take_indexed(search *s) {
    const cp_retrieve_query *q = s->query;
    const size_t k = 16 * q->k > LEAST_HITS ? 16 * q->k : LEAST_HITS;
    const cp_entry_filter filter = {.mrn = q->mrn, .knowledge = true, .kinds = q->kinds};
    size_t n = 0;
    cp_hit *hits = calloc(k, sizeof *hits);
    if (!hits)
        return cp_error_no_memory(s->err, "hits");
    cp_status status =
        cp_index_view_lexical(s->view, &filter, s->terms.items, s->terms.n, k, hits, &n, s->err);
    if (status == CP_ERR_FORMAT || status == CP_ERR_IO) {
        s->out->index_failed = true;
        status = CP_OK;
        n = 0;
    }
    for (size_t i = 0; i < n && status == CP_OK; i++) {
        const cp_index_item item = cp_index_view_item(s->view, hits[i].number);
        const cp_claimed_hit hit = {item.mrn, item.id, item.kind, &item.hash, item.begin, item.n};
        if (!cp_candidates_add_hit(&s->found, &hit, hits[i].score, 0))
            status = cp_error_no_memory(s->err, "hits");
    }
    free(hits);
    return status;
}

/* `doc`: its number among the candidates. */
static cp_status take_chunked(search *s, size_t doc, const cp_chunked *chunked) {
    for (size_t i = 0; i < chunked->n; i++) {
        const cp_chunk *chunk = &chunked->chunks[i];
        const float score = cp_score_chunk(&s->values, chunk);
        if (score > 0 && !cp_candidates_add(&s->found, doc, chunk->begin, chunk->n, score, 0))
            return cp_error_no_memory(s->err, "hits");
    }
    return CP_OK;
}

static bool is_wanted(const search *s, const cp_source_doc *doc) {
    if ((s->query->kinds & CP_KIND_BIT(doc->kind)) == 0)
        return false;
    return s->out->index_failed ||
           cp_index_view_has(s->view, doc->mrn, doc->id, &doc->hash) != CP_INDEXED_FRESH;
}

/* Documents that the index does not have as they are now. */
static cp_status take_unindexed(search *s) {
    const cp_retrieve_query *q = s->query;
    cp_status status = CP_OK;
    for (size_t i = 0; i < cp_knowledge_n(s->r->knowledge) && status == CP_OK; i++) {
        const cp_source_doc *doc = cp_knowledge_doc(s->r->knowledge, i);
        if (is_wanted(s, doc))
            status = take_chunked(s, q->n_docs + i, &s->r->chunked[i]);
    }
    for (size_t i = 0; i < q->n_docs && q->mrn && status == CP_OK; i++) {
        cp_chunked chunked;
        if (strcmp(q->docs[i].mrn, q->mrn) != 0 || !is_wanted(s, &q->docs[i]))
            continue;
        s->out->n_unindexed++;
        status = cp_chunk_document(&q->docs[i], cp_index_salt(s->r->index), &chunked, s->err);
        if (status == CP_OK)
            status = take_chunked(s, i, &chunked);
        cp_chunked_deinit(&chunked);
    }
    return status;
}

static cp_status take_nearest(search *s) {
    const cp_retrieve_query *q = s->query;
    unsigned rank = 0;
    for (size_t i = 0; i < q->n_nearest; i++) {
        const cp_vector_match *match = &q->nearest[i];
        const cp_claimed_hit hit = {match->mrn,   match->id,    match->kind,
                                    &match->hash, match->begin, match->n};
        if ((q->kinds & CP_KIND_BIT(match->kind)) != 0 &&
            !cp_candidates_add_hit(&s->found, &hit, 0, ++rank))
            return cp_error_no_memory(s->err, "hits");
    }
    return CP_OK;
}

static cp_status weigh(search *s) {
    const cp_retrieve_query *q = s->query;
    cp_names names = {0};
    cp_status status =
        cp_names_add(&names, q->medicines, q->n_medicines, cp_index_salt(s->r->index), s->err);
    if (status == CP_OK)
        status = cp_names_add(&names, q->conditions, q->n_conditions, cp_index_salt(s->r->index),
                              s->err);
    if (status == CP_OK)
        cp_candidates_weigh(&s->found, &names, s->r->names);
    cp_names_deinit(&names);
    return status;
}

static cp_status give(search *s) {
    const size_t k = s->query->k < MAX_PASSAGES ? s->query->k : MAX_PASSAGES;
    cp_status status = CP_OK;
    s->out->passages = calloc(k + 1, sizeof *s->out->passages);
    if (!s->out->passages)
        return cp_error_no_memory(s->err, "passages");
    s->out->n = cp_candidates_pick(&s->found, MOST_OF_DOCUMENT, s->out->passages, k);
    s->out->n_stale = s->found.n_stale;
    s->out->n_foreign = s->found.n_foreign;
    for (size_t i = 0; i < s->out->n && status == CP_OK; i++)
        status = cp_best_sentence(&s->values, &s->out->passages[i], s->err);
    return status;
}

static cp_status run(search *s) {
    const cp_retrieve_query *q = s->query;
    const cp_query_words with = {.salt = cp_index_salt(s->r->index),
                                 .known = &s->r->vocabulary,
                                 .list = s->r->list,
                                 .docs = q->docs,
                                 .n_docs = q->n_docs};
    cp_status status =
        cp_query_terms_make(&with, (cp_str){q->text, strlen(q->text)}, &s->terms, s->err);
    if (status == CP_OK)
        status = cp_candidates_init(&s->found, s->r->knowledge, q, s->err);
    if (status == CP_OK)
        status = cp_term_values_make(s->view, &s->terms, cp_index_salt(s->r->index), s->r->chunked,
                                     cp_knowledge_n(s->r->knowledge), &s->values, s->err);
    if (status == CP_OK)
        status = take_indexed(s);
    if (status == CP_OK)
        status = take_unindexed(s);
    if (status == CP_OK)
        status = take_nearest(s);
    if (status == CP_OK)
        status = weigh(s);
    return status == CP_OK ? give(s) : status;
}

cp_status cp_retrieve(cp_retriever *r, const cp_retrieve_query *query, cp_retrieved *out,
                      cp_error *err) {
    search s = {.r = r, .query = query, .out = out, .err = err};
    *out = (cp_retrieved){0};
    s.view = cp_index_view_take(r->index);
    cp_status status = run(&s);
    cp_index_view_release(s.view);
    cp_query_terms_deinit(&s.terms);
    cp_term_values_deinit(&s.values);
    cp_candidates_deinit(&s.found);
    if (status != CP_OK) {
        free(out->passages);
        *out = (cp_retrieved){0};
    }
    return status;
}
