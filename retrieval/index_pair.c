#include "retrieval/index_pair.h"

#include "base/mem.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void cp_index_pair_close(cp_index_pair *pair) {
    cp_index_tail_close(&pair->tail);
    cp_index_view_release(pair->view);
    *pair = (cp_index_pair){.tail = {.fd = -1}};
}

/* ---- reading ----------------------------------------------------------------------------------
 */

/* A frame's segment is of the same index as the pair's. */
static bool fits(const cp_index_view *view, const cp_segment *added) {
    const cp_segment_header *ours = cp_segment_head(view->parts[0].segment),
                            *head = cp_segment_head(added);
    return head->salt == ours->salt && head->width == ours->width &&
           strcmp(head->model, ours->model) == 0;
}

static cp_status take_in_frame(const cp_index_tail *tail, cp_index_view **view,
                               unsigned char *image, size_t n_image, cp_str removed,
                               cp_error *err) {
    cp_segment *added = NULL;
    cp_index_view *next;
    cp_status status = CP_OK;
    if (image)
        status = cp_segment_open_image(image, n_image, tail->path, &added, err);
    if (status == CP_OK && added && !fits(*view, added))
        status =
            cp_error_set(err, CP_ERR_FORMAT, "%s: damaged: a commit of another index", tail->path);
    if (status == CP_OK)
        status = cp_index_view_next(*view, added, removed, &next, err);
    if (status == CP_OK) {
        next->tail_bytes = tail->end;
        cp_index_view_release(*view);
        *view = next;
    }
    cp_segment_release(added);
    return status;
}

cp_status cp_index_pair_take_in(cp_index_pair *pair, cp_error *err) {
    cp_index_view *view = cp_index_view_hold(pair->view);
    cp_index_tail before = pair->tail;
    cp_strbuf removed;
    bool more = true;
    cp_status status = CP_OK;
    cp_strbuf_init(&removed, CP_TAIL_MAX_REMOVED);
    while (status == CP_OK && more) {
        unsigned char *image;
        size_t n_image;
        status = cp_index_tail_read(&pair->tail, &more, &image, &n_image, &removed, err);
        if (status == CP_OK && more)
            status =
                take_in_frame(&pair->tail, &view, image, n_image, cp_strbuf_str(&removed), err);
    }
    cp_strbuf_deinit(&removed);
    if (status != CP_OK) {
        pair->tail = before;
        cp_index_view_release(view);
        return status;
    }
    cp_index_view_release(pair->view);
    pair->view = view;
    return CP_OK;
}

static cp_status open_segment(const char *dir, uint64_t number, cp_segment **out, cp_error *err) {
    char path[CP_PATH_CAP];
    *out = NULL;
    cp_status status = cp_index_folder_path(dir, CP_INDEX_SEGMENT, number, path, err);
    if (status == CP_OK)
        status = cp_segment_open_file(path, out, err);
    if (status == CP_OK && cp_segment_head(*out)->number != number) {
        cp_segment_release(*out);
        *out = NULL;
        status = cp_error_set(err, CP_ERR_FORMAT, "%s: is segment %llu of an index", path,
                              (unsigned long long)number);
    }
    return status;
}

cp_status cp_index_pair_open(const char *dir, uint64_t number, bool write, cp_index_pair *out,
                             cp_error *err) {
    char path[CP_PATH_CAP];
    cp_segment *segment;
    *out = (cp_index_pair){.number = number, .tail = {.fd = -1}};
    cp_status status = open_segment(dir, number, &segment, err);
    if (status == CP_OK)
        status = cp_index_view_first(segment, &out->view, err);
    if (status == CP_OK)
        status = cp_index_folder_path(dir, CP_INDEX_TAIL, number, path, err);
    if (status == CP_OK)
        status = cp_index_tail_open(path, cp_segment_head(segment)->salt, number, write, &out->tail,
                                    err);
    if (status == CP_OK)
        status = cp_index_pair_take_in(out, err);
    if (status == CP_OK)
        status = cp_index_tail_mend(&out->tail, write, err);
    cp_segment_release(segment);
    if (status != CP_OK)
        cp_index_pair_close(out);
    return status;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static cp_status write_segment(int fd, const char *path, const cp_segment_about *about,
                               const cp_view_part *parts, size_t n, cp_error *err) {
    cp_segment_writer *writer;
    cp_status status = cp_segment_writer_create(about, fd, path, &writer, err);
    if (status == CP_OK && n > 0)
        status = cp_segments_merge(parts, n, writer, err);
    if (status == CP_OK)
        status = cp_segment_writer_finish(writer, NULL, NULL, err);
    cp_segment_writer_free(writer);
    if (status == CP_OK && fsync(fd) != 0)
        status = cp_error_set(err, CP_ERR_IO, "%s: cannot sync: %s", path, strerror(errno));
    return status;
}

static cp_status write_files(const char *segment_path, const char *tail_path,
                             const cp_segment_about *about, const cp_view_part *parts, size_t n,
                             cp_index_tail *tail, cp_error *err) {
    int fd;
    cp_status status = cp_index_folder_create(segment_path, &fd, err);
    if (status != CP_OK)
        return status;
    status = write_segment(fd, segment_path, about, parts, n, err);
    close(fd);
    if (status == CP_OK)
        status = cp_index_folder_create(tail_path, &fd, err);
    if (status == CP_OK)
        status = cp_index_tail_begin(fd, tail_path, about->salt, about->number, tail, err);
    return status;
}

cp_status cp_index_pair_write(const char *dir, const cp_segment_about *about,
                              const cp_view_part *parts, size_t n, cp_index_pair *out,
                              cp_error *err) {
    char segment_path[CP_PATH_CAP], tail_path[CP_PATH_CAP];
    cp_segment *segment = NULL;
    *out = (cp_index_pair){.number = about->number, .tail = {.fd = -1}};
    cp_status status =
        cp_index_folder_path(dir, CP_INDEX_SEGMENT, about->number, segment_path, err);
    if (status == CP_OK)
        status = cp_index_folder_path(dir, CP_INDEX_TAIL, about->number, tail_path, err);
    if (status != CP_OK)
        return status;
    status = write_files(segment_path, tail_path, about, parts, n, &out->tail, err);
    if (status == CP_OK)
        status = cp_index_folder_sync(dir, err);
    if (status == CP_OK)
        status = open_segment(dir, about->number, &segment, err);
    if (status == CP_OK)
        status = cp_index_view_first(segment, &out->view, err);
    cp_segment_release(segment);
    if (status != CP_OK) {
        (void)unlink(segment_path);
        (void)unlink(tail_path);
        cp_index_pair_close(out);
        return status;
    }
    out->view->tail_bytes = out->tail.end;
    return CP_OK;
}
