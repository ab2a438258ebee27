/* Many segments into one: documents by name, then each word's postings with their new numbers. */
#include "retrieval/index_view.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define GONE UINT32_MAX

/* Where one part is read. */
typedef struct reader {
    const cp_view_part *part;
    const cp_segment_header *head;
    uint32_t doc, term; /* next */
    uint32_t *numbers;  /* [n_chunks] in the new segment, or GONE */
} reader;

typedef struct merge {
    reader *readers;
    size_t n;
    cp_segment_writer *writer;
    uint32_t n_chunks;            /* written */
    cp_posting *postings, *spare; /* of one word */
    size_t postings_cap, spare_cap;
} merge;

static cp_status out_of_memory(cp_error *err) {
    return cp_error_no_memory(err, "merging index segments");
}

/* ---- documents --------------------------------------------------------------------------------
 */

static void skip_dead(reader *r) {
    while (r->doc < r->head->n_docs && cp_dead_has(r->part->dead, r->doc))
        r->doc++;
}

static int compare(const cp_segment_doc_view *a, const cp_segment_doc_view *b) {
    int order = strcmp(a->mrn, b->mrn);
    return order != 0 ? order : strcmp(a->id, b->id);
}

/* The reader whose next document is first by name; NULL at the end. Of two of one name, which no
 * view has, the later part's is taken and the other passed over. */
static reader *first_doc(merge *m, cp_segment_doc_view *out) {
    reader *first = NULL;
    for (size_t i = 0; i < m->n; i++) {
        reader *r = &m->readers[i];
        if (r->doc >= r->head->n_docs)
            continue;
        cp_segment_doc_view doc = cp_segment_doc_at(r->part->segment, r->doc);
        int order = first ? compare(&doc, out) : -1;
        if (order == 0) {
            first->doc++;
            skip_dead(first);
        }
        if (order <= 0) {
            *out = doc;
            first = r;
        }
    }
    return first;
}

static cp_status write_doc(merge *m, reader *r, const cp_segment_doc_view *doc, cp_error *err) {
    cp_run run = {doc->first, doc->first + doc->n_chunks};
    cp_status status = cp_segment_check_vectors(r->part->segment, run, err);
    cp_segment_writer_doc(m->writer, doc->mrn, doc->id, doc->kind, &doc->hash);
    for (uint32_t c = run.begin; c < run.end; c++) {
        cp_segment_chunk_view chunk = cp_segment_chunk_at(r->part->segment, c);
        cp_segment_writer_chunk(m->writer, chunk.begin, chunk.n, chunk.n_words, chunk.vector);
        r->numbers[c] = m->n_chunks++;
    }
    return status;
}

static cp_status write_docs(merge *m, cp_error *err) {
    cp_segment_doc_view doc = {.mrn = NULL};
    cp_status status = CP_OK;
    for (size_t i = 0; i < m->n; i++)
        skip_dead(&m->readers[i]);
    for (reader *r; status == CP_OK && (r = first_doc(m, &doc));) {
        status = write_doc(m, r, &doc, err);
        r->doc++;
        skip_dead(r);
    }
    return status;
}

/* ---- words ------------------------------------------------------------------------------------
 */

/* One part's postings of a word, renumbered, to `out`, which has room; false: damaged. */
static bool renumber(const reader *r, const cp_postings *from, cp_posting *out, size_t *n) {
    uint32_t numbers[CP_POSTINGS_BLOCK], counts[CP_POSTINGS_BLOCK];
    *n = 0;
    for (uint32_t b = 0; b < from->n_blocks; b++) {
        size_t in_block = cp_postings_block(from, b, numbers, counts);
        if (in_block == 0)
            return false;
        for (size_t i = 0; i < in_block; i++) {
            uint32_t number = r->numbers[numbers[i]];
            if (number == GONE)
                continue;
            if (*n > 0 && number <= out[*n - 1].number)
                return false;
            out[(*n)++] = (cp_posting){number, counts[i]};
        }
    }
    return true;
}

/* Two ascending runs, `a` in m->postings and `b` in m->spare, into m->postings, from the end. */
static void weave(merge *m, size_t n_a, size_t n_b) {
    for (size_t to = n_a + n_b; n_b > 0; to--) {
        bool from_a = n_a > 0 && m->postings[n_a - 1].number > m->spare[n_b - 1].number;
        m->postings[to - 1] = from_a ? m->postings[--n_a] : m->spare[--n_b];
    }
}

/* All parts' postings of one word, smallest parts first. */
static cp_status write_term(merge *m, uint64_t hash, cp_error *err) {
    size_t n = 0;
    for (size_t i = m->n; i-- > 0;) {
        reader *r = &m->readers[i];
        cp_postings from;
        size_t n_more;
        if (r->term >= r->head->n_terms || cp_segment_hash_at(r->part->segment, r->term) != hash)
            continue;
        cp_status status = cp_segment_postings_at(r->part->segment, r->term++, &from, err);
        if (status != CP_OK)
            return status;
        if (!cp_grow((void **)&m->spare, &m->spare_cap, from.df, sizeof *m->spare) ||
            !cp_grow((void **)&m->postings, &m->postings_cap, n + from.df, sizeof *m->postings))
            return out_of_memory(err);
        if (!renumber(r, &from, m->spare, &n_more))
            return cp_error_set(err, CP_ERR_FORMAT,
                                "an index segment is damaged: a word's postings");
        weave(m, n, n_more);
        n += n_more;
    }
    if (n > 0)
        cp_segment_writer_term(m->writer, hash, m->postings, n);
    return CP_OK;
}

static bool next_hash(const merge *m, uint64_t *hash) {
    bool any = false;
    for (size_t i = 0; i < m->n; i++) {
        const reader *r = &m->readers[i];
        if (r->term >= r->head->n_terms)
            continue;
        uint64_t next = cp_segment_hash_at(r->part->segment, r->term);
        *hash = any && *hash < next ? *hash : next;
        any = true;
    }
    return any;
}

static cp_status write_terms(merge *m, cp_error *err) {
    cp_status status = CP_OK;
    for (uint64_t hash = 0; status == CP_OK && next_hash(m, &hash);)
        status = write_term(m, hash, err);
    return status;
}

static cp_status open_readers(merge *m, const cp_view_part *parts, cp_error *err) {
    for (size_t i = 0; i < m->n; i++) {
        reader *r = &m->readers[i];
        r->part = &parts[i];
        r->head = cp_segment_head(parts[i].segment);
        size_t bytes = ((size_t)r->head->n_chunks + 1) * sizeof *r->numbers;
        r->numbers = malloc(bytes);
        if (!r->numbers)
            return out_of_memory(err);
        memset(r->numbers, 0xff, bytes); /* GONE */
    }
    return CP_OK;
}

cp_status cp_segments_merge(const cp_view_part *parts, size_t n_parts, cp_segment_writer *writer,
                            cp_error *err) {
    merge m = {.n = n_parts, .writer = writer};
    m.readers = calloc(n_parts, sizeof *m.readers);
    if (!m.readers)
        return out_of_memory(err);
    cp_status status = open_readers(&m, parts, err);
    if (status == CP_OK)
        status = write_docs(&m, err);
    if (status == CP_OK)
        status = write_terms(&m, err);
    for (size_t i = 0; i < n_parts && status == CP_OK; i++)
        status = cp_segment_check_whole(parts[i].segment, err);
    for (size_t i = 0; i < n_parts; i++)
        free(m.readers[i].numbers);
    free(m.readers);
    free(m.postings);
    free(m.spare);
    return status;
}
