#include "retrieval/index.h"

#include "base/crypto.h"
#include "base/mem.h"
#include "retrieval/index_draft.h"
#include "retrieval/index_view.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MIN_TAIL_BYTES    ((size_t)16 << 20)
#define MAX_REMOVED_BYTES ((size_t)1 << 30)

struct cp_index {
    uint64_t salt;
    size_t width, tail_limit; /* 0: see cp_index_options */
    char model[CP_SEGMENT_MODEL_CAP];
    cp_index_draft *draft;
    pthread_mutex_t lock; /* of `view` */
    cp_index_view *view;
};

static cp_segment_about about(const cp_index *index, uint64_t generation) {
    return (cp_segment_about){.salt = index->salt,
                              .generation = generation,
                              .width = (uint32_t)index->width,
                              .model = index->model};
}

/* Takes over a view. */
static void publish(cp_index *index, cp_index_view *view) {
    pthread_mutex_lock(&index->lock);
    cp_index_view *old = index->view;
    index->view = view;
    pthread_mutex_unlock(&index->lock);
    cp_index_view_release(old);
}

/* A segment of the living documents of `parts`, in memory. */
static cp_status merge_in_memory(const cp_index *index, const cp_view_part *parts, size_t n,
                                 uint64_t generation, cp_segment **out, cp_error *err) {
    cp_segment_about what = about(index, generation);
    cp_segment_writer *writer;
    unsigned char *image = NULL;
    size_t n_image = 0;
    *out = NULL;
    cp_status status = cp_segment_writer_create(&what, -1, "index", &writer, err);
    if (status == CP_OK && n > 0)
        status = cp_segments_merge(parts, n, writer, err);
    if (status == CP_OK)
        status = cp_segment_writer_finish(writer, &image, &n_image, err);
    cp_segment_writer_free(writer);
    return status == CP_OK ? cp_segment_open_image(image, n_image, "index", out, err) : status;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static cp_status check_options(const cp_index_options *options, cp_error *err) {
    const char *model = options->model ? options->model : "";
    if (options->width > CP_MAX_VECTOR_WIDTH)
        return cp_error_set(err, CP_ERR_USAGE, "index: vectors of %zu values, expected at most %d",
                            options->width, CP_MAX_VECTOR_WIDTH);
    if (strlen(model) >= CP_SEGMENT_MODEL_CAP)
        return cp_error_set(err, CP_ERR_USAGE, "index: the model's name is longer than %d bytes",
                            CP_SEGMENT_MODEL_CAP - 1);
    return CP_OK;
}

static cp_status begin_in_memory(cp_index *index, cp_error *err) {
    cp_segment *segment = NULL;
    cp_status status = cp_random_bytes(&index->salt, sizeof index->salt, err);
    if (status == CP_OK)
        status = merge_in_memory(index, NULL, 0, 0, &segment, err);
    if (status == CP_OK)
        status = cp_index_view_first(segment, &index->view, err);
    cp_segment_release(segment);
    return status;
}

cp_status cp_index_open(const cp_index_options *options, cp_index **out, cp_error *err) {
    *out = NULL;
    cp_status status = check_options(options, err);
    if (status == CP_OK && options->dir)
        status = cp_error_set(err, CP_ERR_UNSUPPORTED, "%s: an index in files", options->dir);
    if (status != CP_OK)
        return status;
    cp_index *index = calloc(1, sizeof *index);
    if (!index)
        return cp_error_no_memory(err, "an index");
    pthread_mutex_init(&index->lock, NULL);
    index->width = options->width;
    index->tail_limit = options->tail_bytes;
    if (options->model)
        memcpy(index->model, options->model, strlen(options->model));
    status = cp_index_draft_create(index->width, &index->draft, err);
    if (status == CP_OK)
        status = begin_in_memory(index, err);
    if (status == CP_OK)
        *out = index;
    else
        cp_index_close(index);
    return status;
}

void cp_index_close(cp_index *index) {
    if (!index)
        return;
    cp_index_view_release(index->view);
    cp_index_draft_free(index->draft);
    pthread_mutex_destroy(&index->lock);
    free(index);
}

uint64_t cp_index_salt(const cp_index *index) {
    return index->salt;
}

size_t cp_index_width(const cp_index *index) {
    return index->width;
}

const char *cp_index_model(const cp_index *index) {
    return index->model;
}

cp_index_view *cp_index_view_take(cp_index *index) {
    pthread_mutex_lock(&index->lock);
    cp_index_view *view = cp_index_view_hold(index->view);
    pthread_mutex_unlock(&index->lock);
    return view;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

cp_status cp_index_put(cp_index *index, const cp_index_doc *doc, cp_error *err) {
    return cp_index_draft_put(index->draft, doc, err);
}

cp_status cp_index_remove(cp_index *index, const char *mrn, const char *id, cp_error *err) {
    return cp_index_draft_remove(index->draft, mrn, id, err);
}

cp_status cp_index_compact(cp_index *index, cp_error *err) {
    cp_segment *segment = NULL;
    cp_index_view *view = NULL;
    cp_status status = merge_in_memory(index, index->view->parts, index->view->n_parts,
                                       index->view->generation + 1, &segment, err);
    if (status == CP_OK)
        status = cp_index_view_first(segment, &view, err);
    if (status == CP_OK)
        publish(index, view);
    cp_segment_release(segment);
    return status;
}

static bool tail_is_large(const cp_index *index) {
    cp_index_stats stats = cp_index_view_stats(index->view);
    size_t limit = index->tail_limit ? index->tail_limit : stats.segment_bytes / 4;
    if (!index->tail_limit && limit < MIN_TAIL_BYTES)
        limit = MIN_TAIL_BYTES;
    return stats.tail_bytes > limit;
}

cp_status cp_index_commit(cp_index *index, cp_error *err) {
    if (cp_index_draft_is_empty(index->draft))
        return CP_OK;
    cp_segment_about what = about(index, index->view->generation + 1);
    unsigned char *image;
    size_t n_image;
    cp_segment *added = NULL;
    cp_index_view *view = NULL;
    cp_strbuf removed;
    cp_strbuf_init(&removed, MAX_REMOVED_BYTES);
    cp_status status = cp_index_draft_make(index->draft, &what, &image, &n_image, &removed, err);
    if (status == CP_OK && image)
        status = cp_segment_open_image(image, n_image, "index", &added, err);
    if (status == CP_OK)
        status = cp_index_view_next(index->view, added, cp_strbuf_str(&removed), &view, err);
    if (status == CP_OK) {
        view->tail_bytes += n_image + removed.n;
        publish(index, view);
        cp_index_draft_clear(index->draft);
    }
    cp_segment_release(added);
    cp_strbuf_deinit(&removed);
    if (status == CP_OK && tail_is_large(index))
        status = cp_index_compact(index, err);
    return status;
}

cp_status cp_index_refresh(cp_index *index, cp_error *err) {
    (void)index;
    (void)err;
    return CP_OK;
}
