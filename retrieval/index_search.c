/* Queries on a view: BM25 over postings, and the nearest vectors.
 *
 * BM25 goes through the numbers in windows that fit the nearest cache: the postings of each term
 * that fall into a window are added up in an array, whose best leave for the heap. Terms of a group
 * go to a second array first, which keeps the largest. A filter names at most two runs of numbers
 * in a part (nobody's and a patient's), and only their blocks of postings are read. */
#include "retrieval/index_view.h"

#include "base/mem.h"
#include "engine/vector_search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 8192u

/* ---- the best k -------------------------------------------------------------------------------
 */

typedef struct best {
    cp_hit *hits; /* a heap, the worst first */
    size_t n, k;
} best;

static bool is_better(cp_hit a, cp_hit b) {
    return a.score != b.score ? a.score > b.score : a.number < b.number;
}

static void sink(best *b, cp_hit hit) {
    size_t at = 0;
    for (size_t child = 1; child < b->n; child = 2 * at + 1) {
        if (child + 1 < b->n && is_better(b->hits[child], b->hits[child + 1]))
            child++;
        if (!is_better(hit, b->hits[child]))
            break;
        b->hits[at] = b->hits[child];
        at = child;
    }
    b->hits[at] = hit;
}

static void offer(best *b, cp_hit hit) {
    if (b->n == b->k) {
        if (b->k > 0 && is_better(hit, b->hits[0]))
            sink(b, hit);
        return;
    }
    size_t at = b->n++;
    for (; at > 0 && is_better(b->hits[(at - 1) / 2], hit); at = (at - 1) / 2)
        b->hits[at] = b->hits[(at - 1) / 2];
    b->hits[at] = hit;
}

static int best_first(const void *a, const void *b) {
    const cp_hit *x = a, *y = b;
    return is_better(*x, *y) ? -1 : is_better(*y, *x) ? 1 : 0;
}

static void finish(const best *b, size_t *n_hits) {
    qsort(b->hits, b->n, sizeof *b->hits, best_first);
    *n_hits = b->n;
}

/* ---- filters ----------------------------------------------------------------------------------
 */

/* The runs of a part's numbers that a filter lets through, kinds and the dead apart. */
static size_t runs_of(const cp_segment *segment, const cp_entry_filter *filter, cp_run runs[2]) {
    size_t n = 0;
    cp_run nobody = cp_segment_chunks_of(segment, cp_segment_docs_of(segment, ""));
    if (filter->knowledge && nobody.begin < nobody.end)
        runs[n++] = nobody;
    if (!filter->mrn || filter->mrn[0] == '\0')
        return n;
    cp_run whose = {nobody.end, cp_segment_head(segment)->n_chunks};
    if (strcmp(filter->mrn, CP_ANY_MRN) != 0)
        whose = cp_segment_chunks_of(segment, cp_segment_docs_of(segment, filter->mrn));
    if (whose.begin < whose.end)
        runs[n++] = whose;
    return n;
}

/* What runs cannot say. */
typedef struct part_filter {
    const cp_view_part *part;
    unsigned kinds;
} part_filter;

static bool lets_through(const part_filter *s, uint32_t number) {
    cp_segment_chunk_view chunk = cp_segment_chunk_at(s->part->segment, number);
    return !cp_dead_has(s->part->dead, chunk.doc) &&
           (s->kinds & CP_KIND_BIT(cp_segment_doc_at(s->part->segment, chunk.doc).kind));
}

static bool keeps_all(const part_filter *s) {
    return !s->part->dead && (s->kinds & CP_ALL_KINDS) == CP_ALL_KINDS;
}

/* ---- BM25: one term in one part ---------------------------------------------------------------
 */

typedef struct query_term {
    uint32_t group;
    uint64_t hash;
    float weight, idf;
    cp_postings postings;
    uint32_t block; /* next to read */
    uint64_t next;  /* no number of it is below */
    size_t at, n;   /* of the block that was read */
    uint32_t numbers[CP_POSTINGS_BLOCK];
    float scores[CP_POSTINGS_BLOCK];
} query_term;

typedef struct search {
    const cp_index_view *view;
    query_term *terms; /* [n], by group */
    size_t n;
    float mean_words;
    float *sums, *largest; /* [WINDOW] each: of all groups; of one, zeros between groups */
    best best;
} search;

/* Reads the next block and scores it; n is 0 at the end. */
static cp_status next_block(const search *s, query_term *t, const uint32_t *words, cp_error *err) {
    uint32_t counts[CP_POSTINGS_BLOCK];
    t->at = t->n = 0;
    if (t->block >= t->postings.n_blocks)
        return CP_OK;
    size_t n = cp_postings_block(&t->postings, t->block++, t->numbers, counts);
    if (n == 0 || t->numbers[0] < t->next)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "the index is damaged: a word's postings; ingest anew");
    t->next = (uint64_t)t->numbers[n - 1] + 1;
    for (size_t i = 0; i < n; i++)
        t->scores[i] = (float)words[t->numbers[i]];
    for (size_t i = 0; i < n; i++)
        t->scores[i] = t->weight * cp_bm25(t->idf, (float)counts[i], t->scores[i], s->mean_words);
    t->n = n;
    return CP_OK;
}

/* To the first posting at or behind `number`. */
static cp_status seek(const search *s, query_term *t, const uint32_t *words, uint32_t number,
                      cp_error *err) {
    t->block = t->postings.df > 0 ? cp_postings_seek(&t->postings, number) : 0;
    t->next = 0;
    cp_status status = next_block(s, t, words, err);
    while (status == CP_OK && t->n > 0 && t->numbers[t->at] < number)
        if (++t->at == t->n)
            status = next_block(s, t, words, err);
    return status;
}

/* Adds the term's scores in [begin, end) to sums [end - begin]; or keeps the larger. */
static cp_status add_window(const search *s, query_term *t, const uint32_t *words, uint32_t begin,
                            uint32_t end, bool keep_larger, cp_error *err) {
    float *sums = keep_larger ? s->largest : s->sums;
    while (t->n > 0 && t->numbers[t->at] < end) {
        for (; t->at < t->n && t->numbers[t->at] < end; t->at++) {
            uint32_t place = t->numbers[t->at] - begin;
            float score = t->scores[t->at];
            sums[place] =
                keep_larger ? (score > sums[place] ? score : sums[place]) : sums[place] + score;
        }
        cp_status status = t->at < t->n ? CP_OK : next_block(s, t, words, err);
        if (status != CP_OK)
            return status;
    }
    return CP_OK;
}

/* ---- BM25: one run ----------------------------------------------------------------------------
 */

/* All groups' scores in a window of at most WINDOW numbers. */
static cp_status score_window(const search *s, const uint32_t *words, uint32_t begin, uint32_t end,
                              cp_error *err) {
    cp_status status = CP_OK;
    memset(s->sums, 0, (end - begin) * sizeof *s->sums);
    for (size_t i = 0, next; i < s->n && status == CP_OK; i = next) {
        for (next = i + 1; next < s->n && s->terms[next].group == s->terms[i].group; next++)
            continue;
        bool alone = next == i + 1;
        for (size_t t = i; t < next && status == CP_OK; t++)
            status = add_window(s, &s->terms[t], words, begin, end, !alone, err);
        for (uint32_t n = 0; !alone && n < end - begin; n++) {
            s->sums[n] += s->largest[n];
            s->largest[n] = 0;
        }
    }
    return status;
}

/* The least number that a term has a posting of, at most `end`. */
static uint32_t next_number(const search *s, uint32_t end) {
    for (size_t i = 0; i < s->n; i++) {
        const query_term *t = &s->terms[i];
        if (t->n > 0 && t->numbers[t->at] < end)
            end = t->numbers[t->at];
    }
    return end;
}

static void offer_window(search *s, const part_filter *only, uint32_t begin, uint32_t end) {
    best *b = &s->best;
    float least = b->n == b->k ? b->hits[0].score : 0;
    bool all = keeps_all(only);
    for (uint32_t n = 0; n < end - begin; n++) {
        if (s->sums[n] <= least) /* an equal one has a higher number */
            continue;
        if (!all && !lets_through(only, begin + n))
            continue;
        offer(b, (cp_hit){only->part->base + begin + n, s->sums[n]});
        least = b->n == b->k ? b->hits[0].score : 0;
    }
}

static cp_status search_run(search *s, const part_filter *only, cp_run run, cp_error *err) {
    const cp_segment *segment = only->part->segment;
    cp_status status = CP_OK;
    for (size_t i = 0; i < s->n && status == CP_OK; i++)
        status = seek(s, &s->terms[i], cp_segment_words(segment), run.begin, err);
    for (uint32_t at = run.begin, end; status == CP_OK; at = end) {
        at = next_number(s, run.end);
        if (at >= run.end)
            break;
        end = run.end - at > WINDOW ? at + WINDOW : run.end;
        status = score_window(s, cp_segment_words(segment), at, end, err);
        if (status == CP_OK)
            offer_window(s, only, at, end);
    }
    return status;
}

static cp_status search_part(search *s, const cp_view_part *part, const cp_entry_filter *filter,
                             cp_error *err) {
    part_filter only = {part, filter->kinds};
    cp_run runs[2];
    size_t n_runs = runs_of(part->segment, filter, runs);
    cp_status status = CP_OK;
    for (size_t i = 0; i < s->n && n_runs > 0 && status == CP_OK; i++)
        status = cp_segment_postings(part->segment, s->terms[i].hash, &s->terms[i].postings, err);
    for (size_t i = 0; i < n_runs && status == CP_OK; i++)
        status = search_run(s, &only, runs[i], err);
    return status == CP_OK ? cp_segment_check_whole(part->segment, err) : status;
}

static bool is_usable(const cp_query_term *term) {
    return isfinite(term->weight) && term->weight > 0;
}

/* The query's terms by group, those of one group in the order they came. */
static void sort_terms(search *s, const cp_query_term *terms, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!is_usable(&terms[i]))
            continue;
        size_t at = s->n++;
        for (; at > 0 && s->terms[at - 1].group > terms[i].group; at--) {
            s->terms[at].group = s->terms[at - 1].group;
            s->terms[at].hash = s->terms[at - 1].hash;
            s->terms[at].weight = s->terms[at - 1].weight;
        }
        s->terms[at].group = terms[i].group;
        s->terms[at].hash = terms[i].hash;
        s->terms[at].weight = terms[i].weight;
    }
    for (size_t i = 0; i < s->n; i++)
        s->terms[i].idf = cp_index_view_idf(s->view, s->terms[i].hash);
}

cp_status cp_index_view_lexical(const cp_index_view *view, const cp_entry_filter *filter,
                                const cp_query_term *terms, size_t n_terms, size_t k, cp_hit *hits,
                                size_t *n_hits, cp_error *err) {
    search s = {
        .view = view, .mean_words = cp_index_view_mean_words(view), .best = {.hits = hits, .k = k}};
    cp_status status = CP_OK;
    *n_hits = 0;
    if (k == 0 || n_terms == 0)
        return CP_OK;
    s.terms = calloc(n_terms, sizeof *s.terms);
    s.sums = calloc(2 * WINDOW, sizeof *s.sums);
    if (s.terms && s.sums) {
        s.largest = s.sums + WINDOW;
        sort_terms(&s, terms, n_terms);
        for (size_t i = 0; i < view->n_parts && status == CP_OK; i++)
            status = search_part(&s, &view->parts[i], filter, err);
    } else {
        status = cp_error_no_memory(err, "a search");
    }
    if (status == CP_OK)
        finish(&s.best, n_hits);
    free(s.terms);
    free(s.sums);
    return status;
}

/* ---- nearest ----------------------------------------------------------------------------------
 */

static bool is_left_out(const void *user, size_t row) {
    const part_filter *s = user;
    return cp_segment_scales(s->part->segment)[row] <= 0 || !lets_through(s, (uint32_t)row);
}

typedef struct nearest {
    cp_vector query;
    size_t n_threads;
    cp_vector_hit *found; /* [best.k] of one run */
    best best;
} nearest;

static cp_status nearest_in(nearest *n, const cp_view_part *part, unsigned kinds, cp_run run,
                            cp_error *err) {
    const cp_segment_header *head = cp_segment_head(part->segment);
    part_filter only = {part, kinds};
    bool all = keeps_all(&only) && head->n_vectors == head->n_chunks;
    cp_vector_scan scan = {.values = cp_segment_vectors(part->segment),
                           .scales = cp_segment_scales(part->segment),
                           .width = head->width,
                           .begin = run.begin,
                           .end = run.end,
                           .is_left_out = all ? NULL : is_left_out,
                           .user = &only};
    size_t n_found;
    cp_status status = cp_segment_check_vectors(part->segment, run, err);
    if (status == CP_OK)
        status = cp_vector_search(&scan, n->query.values, n->query.scale, n->n_threads, n->best.k,
                                  n->found, &n_found, err);
    for (size_t i = 0; status == CP_OK && i < n_found; i++)
        offer(&n->best, (cp_hit){part->base + (uint32_t)n->found[i].row, n->found[i].score});
    return status;
}

cp_status cp_index_view_nearest(const cp_index_view *view, const cp_entry_filter *filter,
                                cp_vector query, size_t n_threads, size_t k, cp_hit *hits,
                                size_t *n_hits, cp_error *err) {
    cp_status status = CP_OK;
    *n_hits = 0;
    k = k < view->n_entries ? k : view->n_entries;
    if (cp_segment_head(view->parts[0].segment)->width == 0 || !query.values || k == 0)
        return CP_OK;
    nearest n = {.query = query,
                 .n_threads = n_threads,
                 .found = malloc(k * sizeof *n.found),
                 .best = {.hits = hits, .k = k}};
    if (!n.found)
        return cp_error_no_memory(err, "a search");
    for (size_t i = 0; i < view->n_parts && status == CP_OK; i++) {
        cp_run runs[2];
        size_t n_runs = runs_of(view->parts[i].segment, filter, runs);
        for (size_t r = 0; r < n_runs && status == CP_OK; r++)
            status = nearest_in(&n, &view->parts[i], filter->kinds, runs[r], err);
        if (status == CP_OK)
            status = cp_segment_check_whole(view->parts[i].segment, err);
    }
    if (status == CP_OK)
        finish(&n.best, n_hits);
    free(n.found);
    return status;
}
