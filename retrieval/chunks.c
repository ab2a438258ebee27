#include "retrieval/retriever.h"

#include "base/mem.h"
#include "retrieval/sentences.h"
#include "retrieval/terms.h"

#include <stdlib.h>
#include <string.h>

#define MOST_TITLE     200  /* bytes of a title before each chunk: records set no limit */
#define HEAD_COUNT     2    /* a word of the title or of `also` counts like this many in the text */
#define MOST_HEAD      192  /* words of title and `also` that are looked at */
#define MOST_HEAD_TEXT 4096 /* their bytes, each */

/* ---- borders ------------------------------------------------------------------------------- */

typedef struct span {
    size_t begin, end;
} span;

/* The sentence at *at; false at the end. */
static bool next_sentence(cp_str text, size_t *at, span *out) {
    size_t n;
    if (!cp_sentence_next(text, at, CP_CHUNK_BYTES, &out->begin, &n))
        return false;
    out->end = out->begin + n;
    return true;
}

static bool add_span(span **spans, size_t *n, size_t *cap, span chunk) {
    if (!cp_grow((void **)spans, cap, *n + 1, sizeof **spans))
        return false;
    (*spans)[(*n)++] = chunk;
    return true;
}

/* The chunks of a text; false without memory. */
static bool find_spans(cp_str text, span **spans, size_t *n) {
    size_t at = 0, cap = 0;
    span sentence, last = {0}, chunk = {0};
    bool good = true;
    for (bool first = true; good && next_sentence(text, &at, &sentence); first = false) {
        if (first) {
            chunk = sentence;
        } else if (sentence.end - chunk.begin <= CP_CHUNK_BYTES) {
            chunk.end = sentence.end;
        } else {
            /* The last sentence goes along into the next chunk, where both fit. */
            const bool both = sentence.end - last.begin <= CP_CHUNK_BYTES;
            good = add_span(spans, n, &cap, chunk);
            chunk = (span){both && last.begin > chunk.begin ? last.begin : sentence.begin,
                           sentence.end};
        }
        last = sentence;
    }
    /* White space alone: an empty chunk all the same, for its title. */
    return good && add_span(spans, n, &cap, chunk);
}

/* ---- terms --------------------------------------------------------------------------------- */

typedef struct term_list {
    cp_term *items;
    size_t n, cap;
} term_list;

static int by_hash(const void *a, const void *b) {
    const uint64_t x = ((const cp_term *)a)->hash, y = ((const cp_term *)b)->hash;
    return x < y ? -1 : x > y;
}

static bool add_term(term_list *list, uint64_t hash, uint32_t count) {
    if (!cp_grow((void **)&list->items, &list->cap, list->n + 1, sizeof *list->items))
        return false;
    list->items[list->n++] = (cp_term){hash, count};
    return true;
}

static bool add_words(term_list *list, const cp_words *words, size_t from, size_t to, uint64_t salt,
                      uint32_t count) {
    for (size_t i = from; i < to; i++)
        if (!words->items[i].stop &&
            !add_term(list, cp_term_hash(cp_word_stem(words, i), salt), count))
            return false;
    return true;
}

/* Sorts what was added from `from` on and puts equal terms together. Returns the sum of counts. */
static uint32_t settle(term_list *list, size_t from) {
    uint32_t sum = 0;
    size_t n = from;
    if (list->n > from)
        qsort(list->items + from, list->n - from, sizeof *list->items, by_hash);
    for (size_t i = from; i < list->n; i++) {
        sum += list->items[i].count;
        if (n > from && list->items[n - 1].hash == list->items[i].hash)
            list->items[n - 1].count += list->items[i].count;
        else
            list->items[n++] = list->items[i];
    }
    list->n = n;
    return sum;
}

/* The first word that begins at or behind `byte`. */
static size_t word_at(const cp_words *words, size_t byte) {
    size_t lo = 0, hi = words->n;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (words->items[middle].begin < byte)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

static cp_str head_part(const char *text, size_t n) {
    return (cp_str){text, n < MOST_HEAD_TEXT ? n : MOST_HEAD_TEXT};
}

static size_t head_words(const cp_words *words) {
    return words->n < MOST_HEAD ? words->n : MOST_HEAD;
}

/* What a document is cut from. */
typedef struct doc_words {
    cp_words title, also, text;
} doc_words;

static cp_status split_doc(const cp_source_doc *doc, doc_words *out, cp_error *err) {
    cp_status status = cp_words_split(head_part(doc->title, strlen(doc->title)), &out->title, err);
    if (status == CP_OK)
        status = cp_words_split(head_part(doc->also.data, doc->also.n), &out->also, err);
    if (status == CP_OK)
        status = cp_words_split(doc->text, &out->text, err);
    return status;
}

static void doc_words_deinit(doc_words *words) {
    cp_words_deinit(&words->title);
    cp_words_deinit(&words->also);
    cp_words_deinit(&words->text);
}

/* Terms are found by number until the list stands still: `first` of each chunk. */
static bool fill_chunk(cp_chunk *chunk, span where, const doc_words *words, uint64_t salt,
                       term_list *terms) {
    const size_t first = terms->n;
    if (!add_words(terms, &words->title, 0, head_words(&words->title), salt, HEAD_COUNT) ||
        !add_words(terms, &words->also, 0, head_words(&words->also), salt, HEAD_COUNT) ||
        !add_words(terms, &words->text, word_at(&words->text, where.begin),
                   word_at(&words->text, where.end), salt, 1))
        return false;
    uint32_t n_words = settle(terms, first);
    *chunk = (cp_chunk){.begin = (uint32_t)where.begin,
                        .n = (uint32_t)(where.end - where.begin),
                        .n_words = n_words,
                        .n_terms = terms->n - first};
    return true;
}

static bool fill_chunks(const span *spans, size_t n, const doc_words *words, uint64_t salt,
                        cp_chunked *out) {
    term_list terms = {0};
    out->chunks = calloc(n, sizeof *out->chunks);
    bool good = out->chunks != NULL;
    for (size_t i = 0; i < n && good; i++)
        good = fill_chunk(&out->chunks[i], spans[i], words, salt, &terms);
    out->n = n;
    out->terms = terms.items;
    const cp_term *next = terms.items;
    for (size_t i = 0; i < n && good; i++) {
        out->chunks[i].terms = next;
        next = out->chunks[i].n_terms > 0 ? next + out->chunks[i].n_terms : next;
    }
    return good;
}

cp_status cp_chunk_document(const cp_source_doc *doc, uint64_t salt, cp_chunked *out,
                            cp_error *err) {
    span *spans = NULL;
    size_t n = 0;
    doc_words words = {0};
    *out = (cp_chunked){0};
    cp_status status = split_doc(doc, &words, err);
    if (status == CP_OK &&
        (!find_spans(doc->text, &spans, &n) || !fill_chunks(spans, n, &words, salt, out)))
        status = cp_error_no_memory(err, "chunks of a document");
    if (status != CP_OK)
        cp_chunked_deinit(out);
    doc_words_deinit(&words);
    free(spans);
    return status;
}

void cp_chunked_deinit(cp_chunked *chunked) {
    free(chunked->chunks);
    free(chunked->terms);
    *chunked = (cp_chunked){0};
}

void cp_chunk_embedding_text(const cp_source_doc *doc, const cp_chunk *chunk, cp_strbuf *out) {
    size_t n = strnlen(doc->title, MOST_TITLE + 1);
    if (n > MOST_TITLE)
        for (n = MOST_TITLE; n > 0 && ((unsigned char)doc->title[n] & 0xc0) == 0x80; n--)
            ;
    cp_strbuf_append(out, doc->title, n);
    cp_strbuf_puts(out, "\n");
    cp_strbuf_append(out, doc->text.data + chunk->begin, chunk->n);
}
