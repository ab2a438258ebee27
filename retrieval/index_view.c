#include "retrieval/index_view.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the dead ---------------------------------------------------------------------------------
 */

static cp_dead *new_dead(uint32_t n_docs, const cp_dead *old) {
    size_t n_bits = ((size_t)n_docs + 63) / 64;
    cp_dead *dead = calloc(1, sizeof *dead + n_bits * sizeof dead->bits[0]);
    if (!dead)
        return NULL;
    if (old) {
        dead->n_docs = old->n_docs;
        dead->n_chunks = old->n_chunks;
        dead->n_vectors = old->n_vectors;
        memcpy(dead->bits, old->bits, n_bits * sizeof dead->bits[0]);
    }
    atomic_init(&dead->refs, 1);
    return dead;
}

static cp_dead *hold_dead(cp_dead *dead) {
    if (dead)
        atomic_fetch_add(&dead->refs, 1);
    return dead;
}

static void release_dead(cp_dead *dead) {
    if (dead && atomic_fetch_sub(&dead->refs, 1) == 1)
        free(dead);
}

/* ---- making views -----------------------------------------------------------------------------
 */

static cp_index_view *new_view(size_t n_parts) {
    cp_index_view *view = calloc(1, sizeof *view + n_parts * sizeof view->parts[0]);
    if (view)
        atomic_init(&view->refs, 1);
    return view;
}

/* Bases and sums, once the parts stand. */
static cp_status settle(cp_index_view *view, cp_error *err) {
    uint64_t n_entries = 0;
    view->n_words = 0;
    for (size_t i = 0; i < view->n_parts; i++) {
        const cp_segment_header *head = cp_segment_head(view->parts[i].segment);
        view->parts[i].base = (uint32_t)n_entries;
        n_entries += head->n_chunks;
        view->n_words += head->n_words;
    }
    if (n_entries > CP_SEGMENT_MAX_CHUNKS)
        return cp_error_set(err, CP_ERR_LIMIT, "the index has %llu entries, at most %u are kept",
                            (unsigned long long)n_entries, CP_SEGMENT_MAX_CHUNKS);
    view->n_entries = (uint32_t)n_entries;
    return CP_OK;
}

cp_status cp_index_view_first(cp_segment *segment, cp_index_view **out, cp_error *err) {
    cp_index_view *view = *out = new_view(1);
    if (!view)
        return cp_error_no_memory(err, "an index view");
    view->generation = cp_segment_head(segment)->generation;
    view->n_parts = 1;
    view->parts[0].segment = cp_segment_hold(segment);
    return settle(view, err); /* one segment is never too large */
}

cp_index_view *cp_index_view_hold(cp_index_view *view) {
    atomic_fetch_add(&view->refs, 1);
    return view;
}

void cp_index_view_release(cp_index_view *view) {
    if (!view || atomic_fetch_sub(&view->refs, 1) != 1)
        return;
    for (size_t i = 0; i < view->n_parts; i++) {
        cp_segment_release(view->parts[i].segment);
        release_dead(view->parts[i].dead);
    }
    free(view);
}

static uint32_t vectors_of(const cp_segment *segment, const cp_segment_doc_view *doc) {
    uint32_t n = 0;
    for (uint32_t c = 0; c < doc->n_chunks; c++)
        n += cp_segment_chunk_at(segment, doc->first + c).vector.values != NULL;
    return n;
}

/* Part and document of a living (MRN, id). */
static bool find(const cp_index_view *view, const char *mrn, const char *id, size_t *part,
                 uint32_t *doc) {
    for (size_t i = view->n_parts; i-- > 0;) {
        const cp_view_part *p = &view->parts[i];
        *doc = cp_segment_find(p->segment, mrn, id);
        *part = i;
        if (*doc < cp_segment_head(p->segment)->n_docs && !cp_dead_has(p->dead, *doc))
            return true;
    }
    return false;
}

/* In a view that nobody else sees; `old` is the one before: what it holds is copied first. */
static cp_status kill(cp_index_view *view, const cp_index_view *old, const char *mrn,
                      const char *id, cp_error *err) {
    size_t i;
    uint32_t doc;
    if (!find(view, mrn, id, &i, &doc))
        return CP_OK;
    cp_view_part *part = &view->parts[i];
    if (!part->dead || part->dead == old->parts[i].dead) {
        cp_dead *copy = new_dead(cp_segment_head(part->segment)->n_docs, part->dead);
        if (!copy)
            return cp_error_no_memory(err, "an index view");
        release_dead(part->dead);
        part->dead = copy;
    }
    cp_segment_doc_view about = cp_segment_doc_at(part->segment, doc);
    part->dead->bits[doc / 64] |= 1ull << doc % 64;
    part->dead->n_docs++;
    part->dead->n_chunks += about.n_chunks;
    part->dead->n_vectors += vectors_of(part->segment, &about);
    return CP_OK;
}

static cp_status kill_all(cp_index_view *view, const cp_index_view *old, const cp_segment *added,
                          cp_str removed, cp_error *err) {
    cp_status status = CP_OK;
    uint32_t n = added ? cp_segment_head(added)->n_docs : 0;
    for (uint32_t i = 0; i < n && status == CP_OK; i++) {
        cp_segment_doc_view doc = cp_segment_doc_at(added, i);
        status = kill(view, old, doc.mrn, doc.id, err);
    }
    for (const char *at = removed.data, *end = at + removed.n; at < end && status == CP_OK;) {
        const char *id = at + strlen(at) + 1;
        status = kill(view, old, at, id, err);
        at = id + strlen(id) + 1;
    }
    return status;
}

static size_t living(const cp_view_part *part) {
    return cp_segment_head(part->segment)->n_chunks - (part->dead ? part->dead->n_chunks : 0);
}

/* The last two parts in one. */
static cp_status merge_last(cp_index_view *view, cp_error *err) {
    cp_view_part *parts = &view->parts[view->n_parts - 2];
    const cp_segment_header *head = cp_segment_head(parts[1].segment);
    cp_segment_about about = {.salt = head->salt,
                              .width = head->width,
                              .model = head->model,
                              .generation = head->generation};
    cp_segment_writer *writer;
    cp_segment *merged = NULL;
    unsigned char *image = NULL;
    size_t n_image = 0;
    cp_status status = cp_segment_writer_create(&about, -1, "index", &writer, err);
    if (status == CP_OK)
        status = cp_segments_merge(parts, 2, writer, err);
    if (status == CP_OK)
        status = cp_segment_writer_finish(writer, &image, &n_image, err);
    cp_segment_writer_free(writer);
    if (status == CP_OK)
        status = cp_segment_open_image(image, n_image, "index", &merged, err);
    if (status != CP_OK)
        return status;
    for (size_t i = 0; i < 2; i++) {
        cp_segment_release(parts[i].segment);
        release_dead(parts[i].dead);
    }
    parts[0] = (cp_view_part){.segment = merged};
    parts[1] = (cp_view_part){.segment = NULL};
    view->n_parts--;
    return CP_OK;
}

cp_status cp_index_view_next(const cp_index_view *old, cp_segment *added, cp_str removed,
                             cp_index_view **out, cp_error *err) {
    *out = NULL;
    cp_index_view *view = new_view(old->n_parts + 1);
    if (!view)
        return cp_error_no_memory(err, "an index view");
    view->generation = old->generation + 1;
    view->tail_bytes = old->tail_bytes;
    view->n_parts = old->n_parts;
    for (size_t i = 0; i < old->n_parts; i++)
        view->parts[i] = (cp_view_part){.segment = cp_segment_hold(old->parts[i].segment),
                                        .dead = hold_dead(old->parts[i].dead)};
    cp_status status = kill_all(view, old, added, removed, err);
    if (status == CP_OK && added)
        view->parts[view->n_parts++].segment = cp_segment_hold(added);
    while (status == CP_OK && view->n_parts > 2 &&
           living(&view->parts[view->n_parts - 2]) <= 2 * living(&view->parts[view->n_parts - 1]))
        status = merge_last(view, err);
    if (status == CP_OK)
        status = settle(view, err);
    if (status == CP_OK)
        *out = view;
    else
        cp_index_view_release(view);
    return status;
}

/* ---- what a view tells ------------------------------------------------------------------------
 */

cp_index_stats cp_index_view_stats(const cp_index_view *view) {
    cp_index_stats stats = {.generation = view->generation, .tail_bytes = view->tail_bytes};
    for (size_t i = 0; i < view->n_parts; i++) {
        const cp_segment_header *head = cp_segment_head(view->parts[i].segment);
        const cp_dead *dead = view->parts[i].dead;
        stats.n_docs += head->n_docs - (dead ? dead->n_docs : 0);
        stats.n_chunks += head->n_chunks - (dead ? dead->n_chunks : 0);
        stats.n_vectors += head->n_vectors - (dead ? dead->n_vectors : 0);
        stats.n_dead += dead ? dead->n_chunks : 0;
        stats.n_terms += head->n_terms;
        stats.n_postings += head->n_postings;
    }
    stats.segment_bytes = cp_segment_head(view->parts[0].segment)->n_bytes;
    return stats;
}

cp_index_item cp_index_view_item(const cp_index_view *view, uint32_t number) {
    size_t i = view->n_parts - 1;
    while (i > 0 && number < view->parts[i].base)
        i--;
    const cp_view_part *part = &view->parts[i];
    uint32_t place = number - part->base;
    cp_segment_chunk_view chunk = cp_segment_chunk_at(part->segment, place);
    cp_segment_doc_view doc = cp_segment_doc_at(part->segment, chunk.doc);
    return (cp_index_item){.mrn = doc.mrn,
                           .id = doc.id,
                           .kind = doc.kind,
                           .hash = doc.hash,
                           .chunk = place - doc.first,
                           .begin = chunk.begin,
                           .n = chunk.n,
                           .n_words = chunk.n_words,
                           .vector = chunk.vector};
}

float cp_index_view_idf(const cp_index_view *view, uint64_t hash) {
    double df = 0, n = view->n_entries;
    for (size_t i = 0; i < view->n_parts; i++)
        df += cp_segment_df(view->parts[i].segment, hash);
    return (float)log(1 + (n - df + 0.5) / (df + 0.5));
}

float cp_index_view_mean_words(const cp_index_view *view) {
    if (view->n_words == 0)
        return 1;
    return (float)((double)view->n_words / view->n_entries);
}

cp_indexed cp_index_view_has(const cp_index_view *view, const char *mrn, const char *id,
                             const cp_content_hash *hash) {
    size_t part;
    uint32_t doc;
    if (!find(view, mrn, id, &part, &doc))
        return CP_INDEXED_NOT;
    cp_segment_doc_view there = cp_segment_doc_at(view->parts[part].segment, doc);
    return memcmp(&there.hash, hash, sizeof *hash) == 0 ? CP_INDEXED_FRESH : CP_INDEXED_STALE;
}

void cp_index_view_each(const cp_index_view *view, const char *mrn,
                        bool (*visit)(void *user, const cp_indexed_doc *doc), void *user) {
    for (size_t i = 0; i < view->n_parts; i++) {
        const cp_view_part *part = &view->parts[i];
        cp_run docs = {0, cp_segment_head(part->segment)->n_docs};
        if (mrn)
            docs = cp_segment_docs_of(part->segment, mrn);
        for (uint32_t d = docs.begin; d < docs.end; d++) {
            if (cp_dead_has(part->dead, d))
                continue;
            cp_segment_doc_view doc = cp_segment_doc_at(part->segment, d);
            cp_indexed_doc about = {.mrn = doc.mrn,
                                    .id = doc.id,
                                    .kind = doc.kind,
                                    .hash = doc.hash,
                                    .n_chunks = doc.n_chunks,
                                    .has_vectors = vectors_of(part->segment, &doc) == doc.n_chunks};
            if (!visit(user, &about))
                return;
        }
    }
}
