/* Pinecone as a vector store.
 *
 * A vector's id is made of hashes, because ids of fetch and list stand in URLs, which proxies log:
 *
 *     MRN . (MRN, document id) . content hash # chunk        the first 16 bytes each, hexadecimal
 *
 * So a patient's vectors have one beginning and a document's a longer one; a listing alone tells
 * which versions of a document are there and how many chunks of each. A new version has new ids: it
 * is written first, then what the listing had before is deleted. Hashes of MRNs can be guessed by
 * who knows the MRNs: they are names that nobody reads by accident, not a protection. */
#include "retrieval/pinecone.h"

#include "base/crypto.h"
#include "base/mem.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART     32                       /* hexadecimal digits of a hash in an id */
#define DOC_KEY  ((size_t)(2 * PART + 1)) /* "MRN.DOCUMENT" */
#define VERSION  ((size_t)(3 * PART + 2)) /* "MRN.DOCUMENT.CONTENT" */
#define PENDING  40                       /* documents that are asked for together */
#define MAX_LEFT ((size_t)1 << 24)        /* ids to delete of one patient */
#define METRIC   "cosine"

typedef struct pinecone_store {
    cp_vector_store base; /* first: the interface is the store */
    cp_pinecone *pinecone;
    char model[CP_PINECONE_MODEL_CAP];
    atomic_bool is_checked; /* the index has our width and metric */
} pinecone_store;

/* ---- ids -------------------------------------------------------------------------------- */

static cp_status put_hash(const cp_str *parts, size_t n, char out[PART + 1], cp_error *err) {
    cp_sha256 hash;
    cp_status status = cp_sha256_of_parts(parts, n, &hash, err);
    if (status == CP_OK)
        cp_hex(hash.bytes, PART / 2, out);
    return status;
}

/* "MRN." */
static cp_status patient_key(const char *mrn, char out[PART + 2], cp_error *err) {
    const cp_str parts[] = {CP_STR("carepath mrn\0"), {mrn, strlen(mrn)}};
    cp_status status = put_hash(parts, 2, out, err);
    memcpy(out + PART, ".", 2);
    return status;
}

/* "MRN.DOCUMENT." */
static cp_status doc_key(const char *mrn, const char *id, char out[DOC_KEY + 2], cp_error *err) {
    /* Neither holds a NUL, so it parts them. */
    const cp_str parts[] = {
        CP_STR("carepath document\0"), {mrn, strlen(mrn)}, CP_STR("\0"), {id, strlen(id)}};
    cp_status status = patient_key(mrn, out, err);
    if (status == CP_OK)
        status = put_hash(parts, 4, out + PART + 1, err);
    memcpy(out + DOC_KEY, ".", 2);
    return status;
}

static cp_status vector_id(const char *mrn, const char *id, const cp_content_hash *hash,
                           uint32_t chunk, char out[CP_PINECONE_ID_CAP], cp_error *err) {
    char key[DOC_KEY + 2], content[2 * CP_CONTENT_HASH + 1];
    cp_status status = doc_key(mrn, id, key, err);
    cp_hex(hash->bytes, CP_CONTENT_HASH, content);
    if (status == CP_OK)
        snprintf(out, CP_PINECONE_ID_CAP, "%s%s#%u", key, content, chunk);
    return status;
}

/* The chunk of an id of ours; false for somebody else's. */
static bool parse_id(const char *id, uint32_t *chunk) {
    for (size_t i = 0; i < VERSION; i++) {
        bool is_dot = i == PART || i == DOC_KEY;
        if (is_dot ? id[i] != '.'
                   : !((id[i] >= '0' && id[i] <= '9') || (id[i] >= 'a' && id[i] <= 'f')))
            return false;
    }
    const char *digits = id + VERSION + 1;
    size_t n = id[VERSION] == '#' ? strspn(digits, "0123456789") : 0;
    if (n == 0 || n > 9 || digits[n] || (n > 1 && *digits == '0'))
        return false;
    *chunk = (uint32_t)strtoul(digits, NULL, 10);
    return true;
}

/* ---- what is there and should not be ---------------------------------------------------- */

/* Ids of documents that are put or removed, and are not among what is put. */
typedef struct leftovers {
    const cp_index_doc *docs;  /* [n]; without chunks: removed */
    char (*keys)[DOC_KEY + 2]; /* [n] */
    size_t n;
    char **ids; /* [n_ids] */
    size_t n_ids, cap;
} leftovers;

static bool is_wanted(const cp_index_doc *doc, const char *id, uint32_t chunk) {
    char content[2 * CP_CONTENT_HASH + 1];
    cp_hex(doc->hash.bytes, CP_CONTENT_HASH, content);
    return chunk < doc->n_chunks && strncmp(id + DOC_KEY + 1, content, PART) == 0;
}

static cp_status see_leftover(void *user, const char *id, cp_error *err) {
    leftovers *l = user;
    uint32_t chunk;
    size_t i = 0;
    if (!parse_id(id, &chunk))
        return CP_OK;
    while (i < l->n && strncmp(id, l->keys[i], DOC_KEY + 1) != 0)
        i++;
    if (i == l->n || is_wanted(&l->docs[i], id, chunk))
        return CP_OK;
    if (l->n_ids == MAX_LEFT)
        return cp_error_set(err, CP_ERR_LIMIT, "Pinecone: more than %zu vectors to remove",
                            MAX_LEFT);
    if (!cp_grow((void **)&l->ids, &l->cap, l->n_ids + 1, sizeof *l->ids) ||
        !(l->ids[l->n_ids] = strdup(id)))
        return cp_error_no_memory(err, "ids at Pinecone");
    l->n_ids++;
    return CP_OK;
}

static void leftovers_deinit(leftovers *l) {
    for (size_t i = 0; i < l->n_ids; i++)
        free(l->ids[i]);
    free(l->ids);
    free(l->keys);
}

/* All docs are one patient's. */
static cp_status find_leftovers(pinecone_store *store, const cp_index_doc *docs, size_t n,
                                leftovers *out, cp_error *err) {
    char patient[PART + 2];
    cp_status status = CP_OK;
    *out = (leftovers){.docs = docs, .n = n};
    out->keys = calloc(n, sizeof *out->keys);
    if (!out->keys)
        return cp_error_no_memory(err, "ids at Pinecone");
    for (size_t i = 0; i < n && status == CP_OK; i++)
        status = doc_key(docs[i].mrn, docs[i].id, out->keys[i], err);
    if (status == CP_OK)
        status = patient_key(docs[0].mrn, patient, err);
    if (status == CP_OK)
        status = cp_pinecone_list(store->pinecone, n == 1 ? out->keys[0] : patient, see_leftover,
                                  out, err);
    return status;
}

/* ---- put and remove --------------------------------------------------------------------- */

static cp_status check_index(pinecone_store *store, cp_error *err) {
    cp_pinecone_stats stats;
    if (atomic_load(&store->is_checked))
        return CP_OK;
    cp_status status = cp_pinecone_describe(store->pinecone, &stats, err);
    if (status != CP_OK)
        return status;
    if (stats.width != 0 && stats.width != (int64_t)store->base.width)
        return cp_error_set(err, CP_ERR_USAGE,
                            "Pinecone's index has %lld dimensions, the embedding model %zu: make "
                            "an index with as many",
                            (long long)stats.width, store->base.width);
    if (stats.metric[0] && strcmp(stats.metric, METRIC) != 0)
        return cp_error_set(err, CP_ERR_USAGE, "Pinecone's index compares by %s, expected " METRIC,
                            stats.metric);
    atomic_store(&store->is_checked, true);
    return CP_OK;
}

static cp_status fill(const pinecone_store *store, const cp_index_doc *doc, uint32_t chunk,
                      cp_pinecone_vector *out, cp_error *err) {
    const cp_chunk *c = &doc->chunks[chunk];
    if (!c->vector.values)
        return cp_error_set(err, CP_ERR_USAGE, "Pinecone: a document has a chunk without a vector");
    if (strlen(doc->mrn) >= sizeof out->meta.mrn || strlen(doc->id) >= sizeof out->meta.doc)
        return cp_error_set(err, CP_ERR_LIMIT,
                            "Pinecone: a document's MRN or id has more bytes than are kept");
    *out = (cp_pinecone_vector){.vector = c->vector,
                                .meta = {.kind = doc->kind,
                                         .hash = doc->hash,
                                         .chunk = chunk,
                                         .n_chunks = (uint32_t)doc->n_chunks,
                                         .begin = c->begin,
                                         .n = c->n}};
    memcpy(out->meta.mrn, doc->mrn, strlen(doc->mrn) + 1);
    memcpy(out->meta.doc, doc->id, strlen(doc->id) + 1);
    memcpy(out->meta.model, store->model, sizeof store->model);
    return vector_id(doc->mrn, doc->id, &doc->hash, chunk, out->id, err);
}

static cp_status upsert_docs(pinecone_store *store, const cp_index_doc *docs, size_t n,
                             cp_error *err) {
    size_t n_vectors = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        if (!cp_size_add(n_vectors, docs[i].n_chunks, &n_vectors))
            return cp_error_no_memory(err, "vectors for Pinecone");
    cp_pinecone_vector *vectors = calloc(n_vectors, sizeof *vectors);
    if (!vectors)
        return cp_error_no_memory(err, "vectors for Pinecone");
    cp_status status = CP_OK;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < docs[i].n_chunks && status == CP_OK; k++)
            status = fill(store, &docs[i], (uint32_t)k, &vectors[at++], err);
    if (status == CP_OK)
        status = cp_pinecone_upsert(store->pinecone, vectors, n_vectors, err);
    free(vectors);
    return status;
}

/* Of one patient. New vectors first: whatever happens between, the old ones are only stale, and
 * doing it again removes them. */
static cp_status put_run(pinecone_store *store, const cp_index_doc *docs, size_t n, cp_error *err) {
    leftovers left;
    cp_status status = find_leftovers(store, docs, n, &left, err);
    if (status == CP_OK)
        status = upsert_docs(store, docs, n, err);
    if (status == CP_OK && left.n_ids > 0)
        status =
            cp_pinecone_delete(store->pinecone, (const char *const *)left.ids, left.n_ids, err);
    leftovers_deinit(&left);
    return status;
}

static cp_status pinecone_put(cp_vector_store *base, const cp_index_doc *docs, size_t n,
                              cp_error *err) {
    pinecone_store *store = (pinecone_store *)base;
    cp_status status = n > 0 ? check_index(store, err) : CP_OK;
    for (size_t at = 0, end; at < n && status == CP_OK; at = end) {
        for (end = at + 1; end < n && strcmp(docs[end].mrn, docs[at].mrn) == 0; end++)
            continue;
        status = put_run(store, docs + at, end - at, err);
    }
    return status;
}

static cp_status pinecone_remove(cp_vector_store *base, const char *mrn, const char *const *ids,
                                 size_t n, cp_error *err) {
    pinecone_store *store = (pinecone_store *)base;
    leftovers left;
    if (n == 0)
        return CP_OK;
    cp_index_doc *docs = calloc(n, sizeof *docs);
    if (!docs)
        return cp_error_no_memory(err, "documents to remove");
    for (size_t i = 0; i < n; i++)
        docs[i] = (cp_index_doc){.mrn = mrn, .id = ids[i]};
    cp_status status = find_leftovers(store, docs, n, &left, err);
    if (status == CP_OK && left.n_ids > 0)
        status =
            cp_pinecone_delete(store->pinecone, (const char *const *)left.ids, left.n_ids, err);
    leftovers_deinit(&left);
    free(docs);
    return status;
}

/* ---- nearest ---------------------------------------------------------------------------- */

/* Ours, whole, and what was asked for: its id is that of its metadata. */
static bool belongs(const pinecone_store *store, const cp_entry_filter *filter,
                    const cp_pinecone_match *match) {
    char id[CP_PINECONE_ID_CAP];
    const cp_pinecone_meta *meta = &match->meta;
    cp_error ignored;
    return cp_entry_filter_allows(filter, meta->mrn, meta->kind) &&
           strcmp(meta->model, store->model) == 0 &&
           vector_id(meta->mrn, meta->doc, &meta->hash, meta->chunk, id, &ignored) == CP_OK &&
           strcmp(id, match->id) == 0;
}

/* Into its place among the best so far. */
static void add_match(const cp_pinecone_match *match, cp_vector_match *out, size_t *n) {
    size_t at = (*n)++;
    for (; at > 0 && out[at - 1].score < match->score; at--)
        out[at] = out[at - 1];
    out[at] = (cp_vector_match){.kind = match->meta.kind,
                                .hash = match->meta.hash,
                                .chunk = match->meta.chunk,
                                .begin = match->meta.begin,
                                .n = match->meta.n,
                                .score = match->score};
    memcpy(out[at].mrn, match->meta.mrn, sizeof out[at].mrn);
    memcpy(out[at].id, match->meta.doc, sizeof out[at].id);
}

static cp_status pinecone_nearest(cp_vector_store *base, const cp_entry_filter *filter,
                                  cp_vector query, size_t k, cp_vector_match *out, size_t *n,
                                  size_t *n_foreign, cp_error *err) {
    pinecone_store *store = (pinecone_store *)base;
    size_t n_matches = 0;
    *n = *n_foreign = 0;
    if (k == 0 || !(filter->kinds & CP_ALL_KINDS) || (!filter->mrn && !filter->knowledge))
        return CP_OK;
    cp_pinecone_match *matches = calloc(k, sizeof *matches);
    if (!matches)
        return cp_error_no_memory(err, "Pinecone's matches");
    cp_status status =
        cp_pinecone_query(store->pinecone, filter, query, k, matches, &n_matches, err);
    for (size_t i = 0; i < n_matches; i++)
        if (belongs(store, filter, &matches[i]))
            add_match(&matches[i], out, n);
        else
            (*n_foreign)++;
    free(matches);
    return status;
}

/* ---- each ------------------------------------------------------------------------------- */

typedef struct listed_doc {
    char first[CP_PINECONE_ID_CAP]; /* the id of a vector of it */
    size_t n;                       /* its vectors */
    bool one_version;
} listed_doc;

typedef struct walk {
    pinecone_store *store;
    bool (*visit)(void *user, const cp_indexed_doc *doc);
    void *user;
    bool stopped, mismatch;
    listed_doc docs[PENDING]; /* the last one may grow */
    size_t n, at;             /* at: which of them fetch tells of next */
} walk;

/* A version that is not alone has the content hash of nothing: it is stale. */
static void tell(walk *w, const listed_doc *listed, const cp_pinecone_meta *meta) {
    const cp_indexed_doc doc = {.mrn = meta->mrn,
                                .id = meta->doc,
                                .kind = meta->kind,
                                .hash = listed->one_version ? meta->hash : (cp_content_hash){{0}},
                                .n_chunks = listed->n,
                                .has_vectors = listed->one_version && listed->n == meta->n_chunks &&
                                               strcmp(meta->model, w->store->model) == 0};
    w->stopped |= !w->visit(w->user, &doc);
}

static void see_fetched(void *user, const char *id, const cp_pinecone_meta *meta) {
    walk *w = user;
    char own[CP_PINECONE_ID_CAP];
    cp_error ignored;
    while (w->at < w->n && strcmp(w->docs[w->at].first, id) != 0)
        w->at++; /* deleted since it was listed */
    if (w->at == w->n || w->stopped)
        return;
    w->mismatch |=
        vector_id(meta->mrn, meta->doc, &meta->hash, meta->chunk, own, &ignored) != CP_OK ||
        strcmp(own, id) != 0;
    if (!w->mismatch)
        tell(w, &w->docs[w->at++], meta);
}

static cp_status tell_pending(walk *w, cp_error *err) {
    const char *ids[PENDING];
    for (size_t i = 0; i < w->n; i++)
        ids[i] = w->docs[i].first;
    w->at = 0;
    cp_status status = cp_pinecone_fetch(w->store->pinecone, ids, w->n, see_fetched, w, err);
    w->n = 0;
    if (status == CP_OK && w->mismatch)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "Pinecone at %s: a vector has another document's metadata",
                            cp_pinecone_origin(w->store->pinecone));
    if (status == CP_OK && w->stopped)
        return cp_error_set(err, CP_ERR_CANCELLED, "listing was ended");
    return status;
}

static cp_status see_id(void *user, const char *id, cp_error *err) {
    walk *w = user;
    listed_doc *last = w->n > 0 ? &w->docs[w->n - 1] : NULL;
    uint32_t chunk;
    if (!parse_id(id, &chunk))
        return CP_OK;
    if (last && strncmp(last->first, id, DOC_KEY) == 0) {
        last->one_version &= strncmp(last->first, id, VERSION) == 0;
        last->n++;
        return CP_OK;
    }
    cp_status status = w->n == PENDING ? tell_pending(w, err) : CP_OK;
    if (status == CP_OK) {
        w->docs[w->n] = (listed_doc){.n = 1, .one_version = true};
        memcpy(w->docs[w->n++].first, id, strlen(id) + 1);
    }
    return status;
}

static cp_status pinecone_each(cp_vector_store *base, const char *mrn,
                               bool (*visit)(void *user, const cp_indexed_doc *doc), void *user,
                               cp_error *err) {
    char prefix[PART + 2] = "";
    walk *w = calloc(1, sizeof *w);
    if (!w)
        return cp_error_no_memory(err, "Pinecone's documents");
    w->store = (pinecone_store *)base;
    w->visit = visit;
    w->user = user;
    cp_status status = mrn ? patient_key(mrn, prefix, err) : CP_OK;
    if (status == CP_OK)
        status = cp_pinecone_list(w->store->pinecone, prefix, see_id, w, err);
    if (status == CP_OK)
        status = tell_pending(w, err);
    if (w->stopped)
        status = CP_OK;
    free(w);
    return status;
}

/* ---- opening ---------------------------------------------------------------------------- */

static void pinecone_close(cp_vector_store *base) {
    pinecone_store *store = (pinecone_store *)base;
    cp_pinecone_close(store->pinecone);
    free(store);
}

cp_status cp_vector_store_open_pinecone(const cp_pinecone_config *config, cp_vector_store **out,
                                        cp_error *err) {
    *out = NULL;
    pinecone_store *store = calloc(1, sizeof *store);
    if (!store)
        return cp_error_no_memory(err, "vector store");
    store->base = (cp_vector_store){.name = "pinecone",
                                    .is_remote = true,
                                    .width = config->width,
                                    .put = pinecone_put,
                                    .remove = pinecone_remove,
                                    .nearest = pinecone_nearest,
                                    .each = pinecone_each,
                                    .close = pinecone_close};
    cp_status status = cp_pinecone_open(config, &store->pinecone, err);
    if (status != CP_OK) {
        pinecone_close(&store->base);
        return status;
    }
    if (config->model)
        memcpy(store->model, config->model, strlen(config->model) + 1);
    *out = &store->base;
    return CP_OK;
}
