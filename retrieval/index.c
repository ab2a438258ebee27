#include "retrieval/index.h"

#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "retrieval/index_draft.h"
#include "retrieval/index_pair.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIN_TAIL_BYTES ((size_t)16 << 20)
#define MIN_DEAD       1024
#define OPEN_TRIES     100 /* of a reader, while a writer compacts */

struct cp_index {
    char *dir; /* NULL: in memory */
    bool write;
    int lock_fd; /* -1: none */
    uint64_t salt;
    size_t width;
    char model[CP_SEGMENT_MODEL_CAP];
    size_t tail_limit;    /* 0: see cp_index_options */
    size_t compact_after; /* a failed compaction is not tried before the tail is larger */
    cp_index_draft *draft;
    pthread_mutex_t lock; /* of pair.view, for those who take it */
    cp_index_pair pair;   /* without a tail in memory */
};

static cp_segment_about about(const cp_index *index, uint64_t number, uint64_t generation) {
    return (cp_segment_about){.salt = index->salt,
                              .number = number,
                              .generation = generation,
                              .width = (uint32_t)index->width,
                              .model = index->model};
}

/* Takes over a view. */
static void publish(cp_index *index, cp_index_view *view) {
    pthread_mutex_lock(&index->lock);
    cp_index_view *old = index->pair.view;
    index->pair.view = view;
    pthread_mutex_unlock(&index->lock);
    cp_index_view_release(old);
}

/* Takes over a pair; its view is seen from now on. */
static void publish_pair(cp_index *index, cp_index_pair *pair) {
    cp_index_tail_close(&index->pair.tail);
    index->pair.number = pair->number;
    index->pair.tail = pair->tail;
    publish(index, pair->view);
}

cp_index_view *cp_index_view_take(cp_index *index) {
    pthread_mutex_lock(&index->lock);
    cp_index_view *view = cp_index_view_hold(index->pair.view);
    pthread_mutex_unlock(&index->lock);
    return view;
}

/* ---- opening: what is there -------------------------------------------------------------------
 */

/* The newest pair. A reader may be overtaken by a compaction, which removes the pair that it is
 * opening: then there is a newer one. */
static cp_status open_current(const cp_index *index, cp_index_pair *out, cp_error *err) {
    uint64_t number;
    cp_status status;
    for (uint64_t try = 0, last = 0;; try++) {
        *out = (cp_index_pair){.tail = {.fd = -1}};
        status = cp_index_current_read(index->dir, &number, err);
        if (status != CP_OK)
            return status;
        if (number == last || try == OPEN_TRIES)
            return cp_error_set(err, CP_ERR_FORMAT,
                                "%s: segment-%llu or tail-%llu is missing; remove the folder and "
                                "ingest anew",
                                index->dir, (unsigned long long)number, (unsigned long long)number);
        last = number;
        status = cp_index_pair_open(index->dir, number, index->write, out, err);
        if (status != CP_ERR_NOT_FOUND)
            return status;
    }
}

/* The index's model and width are those that were asked for; a reader that names none takes them.
 */
static cp_status adopt(cp_index *index, const cp_index_options *options, cp_error *err) {
    const cp_segment_header *head = cp_segment_head(index->pair.view->parts[0].segment);
    const char *model = options->model ? options->model : "";
    bool any = !options->write && options->width == 0 && model[0] == '\0';
    if (!any && (head->width != options->width || strcmp(head->model, model) != 0))
        return cp_error_set(err, CP_ERR_UNSUPPORTED,
                            "%s: this index has vectors of width %u by \"%s\", expected width %zu "
                            "by \"%s\"; remove the folder and ingest anew",
                            options->dir, head->width, head->model, options->width, model);
    index->salt = head->salt;
    index->width = head->width;
    memcpy(index->model, head->model, sizeof index->model);
    return CP_OK;
}

/* ---- opening: something new -------------------------------------------------------------------
 */

/* A segment of the living documents of `parts`, in memory. */
static cp_status merge_in_memory(const cp_index *index, const cp_view_part *parts, size_t n,
                                 uint64_t generation, cp_index_view **out, cp_error *err) {
    cp_segment_about what = about(index, 0, generation);
    cp_segment_writer *writer;
    cp_segment *segment = NULL;
    unsigned char *image = NULL;
    size_t n_image = 0;
    cp_status status = cp_segment_writer_create(&what, -1, "index", &writer, err);
    if (status == CP_OK && n > 0)
        status = cp_segments_merge(parts, n, writer, err);
    if (status == CP_OK)
        status = cp_segment_writer_finish(writer, &image, &n_image, err);
    cp_segment_writer_free(writer);
    if (status == CP_OK)
        status = cp_segment_open_image(image, n_image, "index", &segment, err);
    if (status == CP_OK)
        status = cp_index_view_first(segment, out, err);
    cp_segment_release(segment);
    return status;
}

static cp_status begin(cp_index *index, const cp_index_options *options, cp_error *err) {
    index->width = options->width;
    if (options->model)
        memcpy(index->model, options->model, strlen(options->model));
    cp_status status = cp_random_bytes(&index->salt, sizeof index->salt, err);
    if (status != CP_OK || !index->dir)
        return status != CP_OK ? status
                               : merge_in_memory(index, NULL, 0, 0, &index->pair.view, err);
    cp_segment_about what = about(index, 1, 0);
    status = cp_index_folder_check_unborn(index->dir, err);
    if (status == CP_OK)
        status = cp_index_pair_write(index->dir, &what, NULL, 0, &index->pair, err);
    if (status == CP_OK)
        status = cp_index_current_write(index->dir, 1, err);
    return status == CP_OK ? cp_index_folder_sync(index->dir, err) : status;
}

static cp_status open_folder(cp_index *index, const cp_index_options *options, cp_error *err) {
    cp_status status = CP_OK;
    if (index->write)
        status = cp_index_folder_lock(index->dir, &index->lock_fd, err);
    if (status == CP_OK)
        status = open_current(index, &index->pair, err);
    if (status == CP_OK)
        status = adopt(index, options, err);
    else if (status == CP_ERR_NOT_FOUND && index->write)
        status = begin(index, options, err);
    else if (status == CP_ERR_NOT_FOUND)
        status =
            cp_error_set(err, status, "%s: there is no index; run \"carepath ingest\"", index->dir);
    if (status == CP_OK && index->write)
        cp_index_folder_clean(index->dir, index->pair.number);
    return status;
}

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

cp_status cp_index_open(const cp_index_options *options, cp_index **out, cp_error *err) {
    *out = NULL;
    cp_status status = check_options(options, err);
    if (status != CP_OK)
        return status;
    cp_index *index = calloc(1, sizeof *index);
    if (!index)
        return cp_error_no_memory(err, "an index");
    pthread_mutex_init(&index->lock, NULL);
    index->lock_fd = index->pair.tail.fd = -1;
    index->write = options->write || !options->dir;
    index->tail_limit = options->tail_bytes;
    index->dir = options->dir ? cp_copy_bytes(options->dir, strlen(options->dir)) : NULL;
    if (options->dir && !index->dir)
        status = cp_error_no_memory(err, "an index");
    else
        status = index->dir ? open_folder(index, options, err) : begin(index, options, err);
    if (status == CP_OK)
        status = cp_index_draft_create(index->width, &index->draft, err);
    if (status == CP_OK)
        *out = index;
    else
        cp_index_close(index);
    return status;
}

void cp_index_close(cp_index *index) {
    if (!index)
        return;
    cp_index_pair_close(&index->pair);
    cp_index_draft_free(index->draft);
    pthread_mutex_destroy(&index->lock);
    if (index->lock_fd >= 0)
        close(index->lock_fd);
    free(index->dir);
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

/* ---- writing ----------------------------------------------------------------------------------
 */

static cp_status check_writes(const cp_index *index, cp_error *err) {
    if (index->write)
        return CP_OK;
    return cp_error_set(err, CP_ERR_USAGE, "%s: the index is open for reading", index->dir);
}

cp_status cp_index_put(cp_index *index, const cp_index_doc *doc, cp_error *err) {
    cp_status status = check_writes(index, err);
    return status == CP_OK ? cp_index_draft_put(index->draft, doc, err) : status;
}

cp_status cp_index_remove(cp_index *index, const char *mrn, const char *id, cp_error *err) {
    cp_status status = check_writes(index, err);
    return status == CP_OK ? cp_index_draft_remove(index->draft, mrn, id, err) : status;
}

/* Once `current` names the new pair there is no way back: where the folder cannot be synced then,
 * nothing more is written to a pair that may not be found after a power failure. */
static cp_status compact_files(cp_index *index, cp_error *err) {
    const cp_index_view *view = index->pair.view;
    uint64_t number = index->pair.number + 1;
    cp_segment_about what = about(index, number, view->generation + 1);
    cp_index_pair pair;
    cp_status status =
        cp_index_pair_write(index->dir, &what, view->parts, view->n_parts, &pair, err);
    if (status != CP_OK)
        return status;
    status = cp_index_current_write(index->dir, number, err);
    if (status != CP_OK) {
        cp_index_pair_close(&pair);
        cp_index_folder_clean(index->dir, index->pair.number);
        return status;
    }
    publish_pair(index, &pair);
    status = cp_index_folder_sync(index->dir, err);
    if (status == CP_OK)
        cp_index_folder_clean(index->dir, number);
    else
        index->pair.tail.broken = true;
    return status;
}

cp_status cp_index_compact(cp_index *index, cp_error *err) {
    const cp_index_view *view = index->pair.view;
    cp_index_view *merged;
    cp_status status = check_writes(index, err);
    if (status == CP_OK && index->dir)
        return compact_files(index, err);
    if (status == CP_OK)
        status =
            merge_in_memory(index, view->parts, view->n_parts, view->generation + 1, &merged, err);
    if (status == CP_OK)
        publish(index, merged);
    return status;
}

static bool wants_compaction(const cp_index *index) {
    cp_index_stats stats = cp_index_view_stats(index->pair.view);
    size_t limit = index->tail_limit ? index->tail_limit : stats.segment_bytes / 4;
    if (!index->tail_limit && limit < MIN_TAIL_BYTES)
        limit = MIN_TAIL_BYTES;
    if (stats.tail_bytes <= index->compact_after)
        return false;
    return stats.tail_bytes > limit || stats.n_dead > stats.n_chunks / 2 + MIN_DEAD;
}

/* What was committed stands, whether or not it can be compacted now. */
static void compact_if_large(cp_index *index) {
    cp_error err;
    if (!wants_compaction(index))
        return;
    index->compact_after = 0;
    if (cp_index_compact(index, &err) == CP_OK)
        return;
    index->compact_after = 2 * index->pair.view->tail_bytes;
    cp_log(CP_LOG_WARN, "index: cannot be compacted", CP_LOG_S("reason", err.message));
}

/* The state after the draft, on the disk before anybody sees it. */
static cp_status commit(cp_index *index, cp_segment *added, const unsigned char *image,
                        size_t n_image, cp_str removed, cp_error *err) {
    cp_index_view *view;
    cp_status status = cp_index_view_next(index->pair.view, added, removed, &view, err);
    if (status != CP_OK)
        return status;
    view->tail_bytes += n_image + removed.n;
    if (index->dir) {
        status = cp_index_tail_append(&index->pair.tail, removed, image, n_image, err);
        view->tail_bytes = index->pair.tail.end;
    }
    if (status == CP_OK)
        publish(index, view);
    else
        cp_index_view_release(view);
    return status;
}

cp_status cp_index_commit(cp_index *index, cp_error *err) {
    unsigned char *image;
    size_t n_image;
    cp_segment *added = NULL;
    cp_strbuf removed;
    cp_status status = check_writes(index, err);
    if (status != CP_OK || cp_index_draft_is_empty(index->draft))
        return status;
    cp_segment_about what = about(index, 0, index->pair.view->generation + 1);
    cp_strbuf_init(&removed, CP_TAIL_MAX_REMOVED);
    status = cp_index_draft_make(index->draft, &what, &image, &n_image, &removed, err);
    if (status == CP_OK && image)
        status = cp_segment_open_image(image, n_image, "index", &added, err);
    if (status == CP_OK)
        status = commit(index, added, image, n_image, cp_strbuf_str(&removed), err);
    cp_segment_release(added);
    cp_strbuf_deinit(&removed);
    if (status != CP_OK)
        return status;
    cp_index_draft_clear(index->draft);
    compact_if_large(index);
    return CP_OK;
}

/* ---- reading what others write ----------------------------------------------------------------
 */

static cp_status reopen(cp_index *index, cp_error *err) {
    cp_index_pair pair;
    cp_status status = open_current(index, &pair, err);
    if (status != CP_OK)
        return status;
    const cp_segment_header *head = cp_segment_head(pair.view->parts[0].segment);
    if (head->salt != index->salt || head->width != index->width ||
        strcmp(head->model, index->model) != 0) {
        cp_index_pair_close(&pair);
        return cp_error_set(err, CP_ERR_UNSUPPORTED,
                            "%s: another index has taken its place; it is "
                            "taken in at the next start",
                            index->dir);
    }
    publish_pair(index, &pair);
    return CP_OK;
}

cp_status cp_index_refresh(cp_index *index, cp_error *err) {
    uint64_t number;
    if (!index->dir || index->write)
        return CP_OK;
    cp_status status = cp_index_current_read(index->dir, &number, err);
    if (status != CP_OK)
        return status;
    if (number != index->pair.number || cp_index_tail_is_replaced(&index->pair.tail))
        return reopen(index, err);
    if (!cp_index_tail_has_grown(&index->pair.tail))
        return CP_OK;
    if (!cp_index_tail_is_same(&index->pair.tail))
        return reopen(index, err);
    cp_index_pair next = {
        .number = number, .tail = index->pair.tail, .view = cp_index_view_hold(index->pair.view)};
    status = cp_index_pair_take_in(&next, err);
    if (status != CP_OK) {
        cp_index_view_release(next.view);
        return status;
    }
    index->pair.tail = next.tail;
    publish(index, next.view);
    return CP_OK;
}
