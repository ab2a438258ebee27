/* VECTOR_MODE=local: the index beside us. */
#include "retrieval/vector_store.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

typedef struct local_store {
    cp_vector_store store; /* first: callers have a pointer to it */
    cp_index *index;
    size_t n_threads;
} local_store;

static local_store *local(cp_vector_store *store) {
    return (local_store *)(void *)store;
}

static cp_status put(cp_vector_store *store, const cp_index_doc *docs, size_t n, cp_error *err) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < n && status == CP_OK; i++)
        status = cp_index_put(local(store)->index, &docs[i], err);
    return status == CP_OK ? cp_index_commit(local(store)->index, err) : status;
}

static cp_status remove_docs(cp_vector_store *store, const char *mrn, const char *const *ids,
                             size_t n, cp_error *err) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < n && status == CP_OK; i++)
        status = cp_index_remove(local(store)->index, mrn, ids[i], err);
    return status == CP_OK ? cp_index_commit(local(store)->index, err) : status;
}

static cp_vector_match match_of(const cp_index_item *item, float score) {
    cp_vector_match match = {.kind = item->kind,
                             .hash = item->hash,
                             .chunk = item->chunk,
                             .begin = item->begin,
                             .n = item->n,
                             .score = score};
    memcpy(match.mrn, item->mrn, strnlen(item->mrn, sizeof match.mrn - 1));
    memcpy(match.id, item->id, strnlen(item->id, sizeof match.id - 1));
    return match;
}

static cp_status nearest(cp_vector_store *store, const cp_entry_filter *filter, cp_vector query,
                         size_t k, cp_vector_match *out, size_t *n, size_t *n_foreign,
                         cp_error *err) {
    cp_hit *hits = calloc(k + 1, sizeof *hits);
    size_t n_hits = 0;
    *n = *n_foreign = 0;
    if (!hits)
        return cp_error_no_memory(err, "a search");
    cp_index_view *view = cp_index_view_take(local(store)->index);
    cp_status status =
        cp_index_view_nearest(view, filter, query, local(store)->n_threads, k, hits, &n_hits, err);
    for (size_t i = 0; i < n_hits; i++) {
        cp_index_item item = cp_index_view_item(view, hits[i].number);
        if (cp_entry_filter_allows(filter, item.mrn, item.kind))
            out[(*n)++] = match_of(&item, hits[i].score);
        else
            ++*n_foreign;
    }
    cp_index_view_release(view);
    free(hits);
    return status;
}

static cp_status each(cp_vector_store *store, const char *mrn,
                      bool (*visit)(void *user, const cp_indexed_doc *doc), void *user,
                      cp_error *err) {
    (void)err;
    cp_index_view *view = cp_index_view_take(local(store)->index);
    cp_index_view_each(view, mrn, visit, user);
    cp_index_view_release(view);
    return CP_OK;
}

static void close_store(cp_vector_store *store) {
    free(local(store));
}

cp_status cp_vector_store_open_local(cp_index *index, size_t n_threads, cp_vector_store **out,
                                     cp_error *err) {
    *out = NULL;
    if (cp_index_width(index) == 0)
        return cp_error_set(err, CP_ERR_USAGE,
                            "the index has no vectors; run \"carepath ingest\" with an embedding "
                            "model");
    local_store *l = calloc(1, sizeof *l);
    if (!l)
        return cp_error_no_memory(err, "a vector store");
    l->store = (cp_vector_store){.name = "local",
                                 .width = cp_index_width(index),
                                 .put = put,
                                 .remove = remove_docs,
                                 .nearest = nearest,
                                 .each = each,
                                 .close = close_store};
    l->index = index;
    l->n_threads = n_threads > 0 ? n_threads : 1;
    *out = &l->store;
    return CP_OK;
}
