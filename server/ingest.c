#include "server/ingest.h"

#include "base/mem.h"
#include "engine/vector_search.h"
#include "retrieval/retriever.h"

#include <stdlib.h>
#include <string.h>

#define RUN_DOCS       32 /* documents that are chunked, embedded and put together */
#define RUN_TEXTS      32 /* chunks that are embedded together */
#define MAX_TEXT_BYTES ((size_t)1 << 20)

/* ---- vectors ---------------------------------------------------------------------------- */

static cp_status embed_with(void *user, const char *const *texts, size_t n, float *out,
                            cp_error *err) {
    return cp_embedder_run(user, texts, n, out, err);
}

cp_ingest_vectors cp_ingest_embedder(cp_embedder *embedder) {
    return (cp_ingest_vectors){
        .width = cp_embedder_width(embedder), .embed = embed_with, .user = embedder};
}

/* Documents on their way: their chunks, and the vectors of all in one piece. */
typedef struct run {
    const cp_ingest_target *target;
    cp_chunked chunked[RUN_DOCS];
    cp_index_doc docs[RUN_DOCS];
    size_t n, n_chunks;
    int8_t *values; /* [n_chunks, width] */
} run;

static bool needs_vectors(const cp_ingest_target *target) {
    return target->remote || cp_index_width(target->index) > 0;
}

static cp_status check_target(const cp_ingest_target *target, cp_error *err) {
    size_t width = cp_index_width(target->index);
    if (!needs_vectors(target))
        return CP_OK;
    if (!target->vectors)
        return cp_error_set(err, CP_ERR_USAGE,
                            "the index has vectors, and there is no EMBEDDING_MODEL to make more");
    if ((width > 0 && target->vectors->width != width) ||
        (target->remote && target->vectors->width != target->remote->width))
        return cp_error_set(err, CP_ERR_USAGE,
                            "the embedding model makes vectors of %zu values, the index has "
                            "others: ingest anew",
                            target->vectors->width);
    return CP_OK;
}

/* texts [n] to the chunks that they are of. */
static cp_status embed_texts(run *r, cp_strbuf *texts, cp_chunk *const *chunks, size_t n,
                             int8_t *values, float *floats, cp_error *err) {
    const cp_ingest_vectors *vectors = r->target->vectors;
    const char *pointers[RUN_TEXTS];
    for (size_t i = 0; i < n; i++) {
        cp_status status = cp_strbuf_check(&texts[i], "a chunk", err);
        if (status != CP_OK)
            return status;
        pointers[i] = cp_strbuf_text(&texts[i]);
    }
    cp_status status = vectors->embed(vectors->user, pointers, n, floats, err);
    for (size_t i = 0; i < n && status == CP_OK; i++) {
        int8_t *at = values + i * vectors->width;
        cp_vector_quantize(floats + i * vectors->width, vectors->width, at,
                           &chunks[i]->vector.scale);
        chunks[i]->vector.values = at;
        if (!(chunks[i]->vector.scale > 0))
            status = cp_error_set(err, CP_ERR_FORMAT, "the embedding model made a vector of zeros");
    }
    return status;
}

static cp_status embed_run(run *r, const cp_source_doc *const *docs, cp_error *err) {
    size_t width = r->target->vectors->width, n = 0, done = 0, size;
    cp_strbuf texts[RUN_TEXTS];
    cp_chunk *chunks[RUN_TEXTS];
    if (!cp_size_mul(r->n_chunks, width, &size))
        return cp_error_no_memory(err, "vectors");
    float *floats = calloc(RUN_TEXTS * width, sizeof *floats);
    r->values = calloc(size, 1);
    if (!floats || !r->values) {
        free(floats);
        return cp_error_no_memory(err, "vectors");
    }
    for (size_t i = 0; i < RUN_TEXTS; i++)
        cp_strbuf_init(&texts[i], MAX_TEXT_BYTES);
    cp_status status = CP_OK;
    for (size_t i = 0; i < r->n && status == CP_OK; i++)
        for (size_t k = 0; k < r->chunked[i].n && status == CP_OK; k++) {
            cp_strbuf_clear(&texts[n]);
            cp_chunk_embedding_text(docs[i], &r->chunked[i].chunks[k], &texts[n]);
            chunks[n++] = &r->chunked[i].chunks[k];
            if (n < RUN_TEXTS && done + n < r->n_chunks)
                continue;
            status = embed_texts(r, texts, chunks, n, r->values + done * width, floats, err);
            done += n;
            n = 0;
        }
    for (size_t i = 0; i < RUN_TEXTS; i++)
        cp_strbuf_deinit(&texts[i]);
    free(floats);
    return status;
}

/* ---- putting ---------------------------------------------------------------------------- */

static cp_status chunk_run(run *r, const cp_source_doc *const *docs, size_t n, cp_error *err) {
    uint64_t salt = cp_index_salt(r->target->index);
    for (; r->n < n; r->n++) {
        const cp_source_doc *doc = docs[r->n];
        cp_chunked *chunked = &r->chunked[r->n];
        cp_status status = cp_chunk_document(doc, salt, chunked, err);
        if (status != CP_OK)
            return status;
        r->docs[r->n] = (cp_index_doc){.mrn = doc->mrn,
                                       .id = doc->id,
                                       .kind = doc->kind,
                                       .hash = doc->hash,
                                       .chunks = chunked->chunks,
                                       .n_chunks = chunked->n};
        r->n_chunks += chunked->n;
    }
    return CP_OK;
}

/* Vectors that the index does not keep are not given to it. */
static void forget_vectors(run *r) {
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < r->chunked[i].n; k++)
            r->chunked[i].chunks[k].vector = (cp_vector){.values = NULL};
}

static cp_status write_run(run *r, cp_error *err) {
    const cp_ingest_target *target = r->target;
    cp_status status = CP_OK;
    if (target->remote)
        status = target->remote->put(target->remote, r->docs, r->n, err);
    if (cp_index_width(target->index) == 0)
        forget_vectors(r);
    for (size_t i = 0; i < r->n && status == CP_OK; i++)
        status = cp_index_put(target->index, &r->docs[i], err);
    return status;
}

cp_status cp_ingest_put(const cp_ingest_target *target, const cp_source_doc *const *docs, size_t n,
                        cp_ingest_counts *counts, cp_error *err) {
    cp_status status = check_target(target, err);
    for (size_t at = 0; at < n && status == CP_OK; at += RUN_DOCS) {
        run *r = calloc(1, sizeof *r);
        if (!r)
            return cp_error_no_memory(err, "documents to ingest");
        r->target = target;
        status = chunk_run(r, docs + at, n - at < RUN_DOCS ? n - at : RUN_DOCS, err);
        if (status == CP_OK && needs_vectors(target))
            status = embed_run(r, docs + at, err);
        if (status == CP_OK)
            status = write_run(r, err);
        if (status == CP_OK)
            counts->chunks += r->n_chunks;
        for (size_t i = 0; i < r->n; i++)
            cp_chunked_deinit(&r->chunked[i]);
        free(r->values);
        free(r);
    }
    return status;
}

cp_status cp_ingest_remove(const cp_ingest_target *target, const char *mrn, const char *const *ids,
                           size_t n, cp_ingest_counts *counts, cp_error *err) {
    cp_status status = CP_OK;
    if (target->remote && n > 0)
        status = target->remote->remove(target->remote, mrn, ids, n, err);
    for (size_t i = 0; i < n && status == CP_OK; i++)
        status = cp_index_remove(target->index, mrn, ids[i], err);
    if (status == CP_OK)
        counts->removed += n;
    return status;
}

/* ---- comparing -------------------------------------------------------------------------- */

/* What the index has of one patient, borrowed from the view. */
typedef struct known_doc {
    const char *id;
    cp_content_hash hash;
    bool has_vectors, is_mentioned;
} known_doc;

typedef struct comparing {
    const cp_ingest_target *target;
    known_doc *known; /* [n_known], sorted by id */
    size_t n_known, known_cap;
    bool no_memory;
    const cp_source_doc **due; /* [n_due]: new or changed */
    const char **gone;         /* [n_gone] */
    size_t n_due, n_gone;
} comparing;

static bool see_known(void *user, const cp_indexed_doc *doc) {
    comparing *c = user;
    c->no_memory = !cp_grow((void **)&c->known, &c->known_cap, c->n_known + 1, sizeof *c->known);
    if (!c->no_memory)
        c->known[c->n_known++] =
            (known_doc){.id = doc->id, .hash = doc->hash, .has_vectors = doc->has_vectors};
    return !c->no_memory;
}

static int compare_known(const void *a, const void *b) {
    return strcmp(((const known_doc *)a)->id, ((const known_doc *)b)->id);
}

static known_doc *find_known(const comparing *c, const char *id) {
    const known_doc key = {.id = id};
    return c->n_known ? bsearch(&key, c->known, c->n_known, sizeof key, compare_known) : NULL;
}

static int compare_docs(const void *a, const void *b) {
    return strcmp((*(const cp_source_doc *const *)a)->id, (*(const cp_source_doc *const *)b)->id);
}

size_t cp_ingest_unique(const cp_source_doc *docs, size_t n, const cp_source_doc **out) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        out[i] = &docs[i];
    if (n > 1)
        qsort(out, n, sizeof *out, compare_docs);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || strcmp(out[kept - 1]->id, out[i]->id) != 0)
            out[kept++] = out[i];
        else if (out[i] < out[kept - 1])
            out[kept - 1] = out[i];
    return kept;
}

/* Sorts the documents into due and unchanged. */
static void find_due(comparing *c, size_t n, cp_ingest_counts *counts) {
    bool vectors = cp_index_width(c->target->index) > 0;
    for (size_t i = 0; i < n; i++) {
        const cp_source_doc *doc = c->due[i];
        known_doc *known = find_known(c, doc->id);
        bool same = known && memcmp(&known->hash, &doc->hash, sizeof doc->hash) == 0 &&
                    (!vectors || known->has_vectors);
        if (known)
            known->is_mentioned = true;
        counts->unchanged += same;
        counts->replaced += known && !same;
        counts->added += !known;
        if (!same)
            c->due[c->n_due++] = doc;
    }
}

static cp_status compare(comparing *c, const cp_index_view *view, const char *mrn,
                         const cp_source_doc *docs, size_t n, cp_ingest_counts *counts,
                         cp_error *err) {
    cp_index_view_each(view, mrn, see_known, c);
    c->due = calloc(n + 1, sizeof *c->due);
    c->gone = calloc(c->n_known + 1, sizeof *c->gone);
    if (c->no_memory || !c->due || !c->gone)
        return cp_error_no_memory(err, "documents to ingest");
    if (c->n_known > 1)
        qsort(c->known, c->n_known, sizeof *c->known, compare_known);
    size_t kept = cp_ingest_unique(docs, n, c->due);
    counts->seen += n;
    counts->left_out += n - kept;
    find_due(c, kept, counts);
    for (size_t i = 0; i < c->n_known; i++)
        if (!c->known[i].is_mentioned)
            c->gone[c->n_gone++] = c->known[i].id;
    return CP_OK;
}

cp_status cp_ingest_docs(const cp_ingest_target *target, const char *mrn, const cp_source_doc *docs,
                         size_t n, cp_ingest_counts *counts, cp_error *err) {
    comparing c = {.target = target};
    cp_index_view *view = cp_index_view_take(target->index);
    cp_status status = compare(&c, view, mrn, docs, n, counts, err);
    if (status == CP_OK)
        status = cp_ingest_put(target, c.due, c.n_due, counts, err);
    if (status == CP_OK)
        status = cp_ingest_remove(target, mrn, c.gone, c.n_gone, counts, err);
    cp_index_view_release(view);
    free(c.known);
    free(c.due);
    free(c.gone);
    return status;
}

/* ---- records and knowledge -------------------------------------------------------------- */

cp_status cp_ingest_patient(const cp_ingest_target *target, const char *mrn,
                            const cp_patient_record *record, cp_ingest_counts *counts,
                            cp_error *err) {
    cp_record_docs docs = {.n = 0};
    if (!record)
        return cp_ingest_docs(target, mrn, NULL, 0, counts, err);
    cp_status status = cp_record_docs_make(mrn, record->documents, record->encounters,
                                           record->claims, record->chat_logs, &docs, err);
    if (status != CP_OK)
        return status;
    counts->seen += docs.n_left_out;
    counts->left_out += docs.n_left_out;
    status = cp_ingest_docs(target, mrn, docs.docs, docs.n, counts, err);
    cp_record_docs_deinit(&docs);
    return status;
}

cp_status cp_ingest_knowledge(const cp_ingest_target *target, const cp_knowledge *knowledge,
                              cp_ingest_counts *counts, cp_error *err) {
    size_t n = cp_knowledge_n(knowledge);
    cp_source_doc *docs = calloc(n + 1, sizeof *docs);
    if (!docs)
        return cp_error_no_memory(err, "the knowledge base");
    for (size_t i = 0; i < n; i++)
        docs[i] = *cp_knowledge_doc(knowledge, i);
    cp_status status = cp_ingest_docs(target, "", docs, n, counts, err);
    free(docs);
    return status;
}
