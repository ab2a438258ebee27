#include "retrieval/index_tail.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define TAIL_MAGIC   0x316c696174786469ull /* "idxtail1" */
#define FRAME_MAGIC  0x656d617266786469ull /* "idxframe" */
#define TAIL_VERSION 1u
#define ALIGN        64u

typedef struct tail_head {
    uint64_t magic;
    uint32_t version, reserved;
    uint64_t salt, number, unused[3];
    uint64_t check; /* of all before it */
} tail_head;

typedef struct frame_head {
    uint64_t magic, salt, number;
    uint64_t at; /* its place in the file */
    uint64_t n_removed, n_image;
    uint64_t body_check;
    uint64_t check; /* of all before it */
} frame_head;

_Static_assert(sizeof(tail_head) == CP_TAIL_HEAD_BYTES, "no padding");
_Static_assert(sizeof(frame_head) == CP_TAIL_HEAD_BYTES, "no padding");

static cp_status failed_to(const cp_index_tail *tail, const char *doing, cp_error *err) {
    return cp_error_set(err, CP_ERR_IO, "%s: cannot %s: %s", tail->path, doing, strerror(errno));
}

static uint64_t padded(uint64_t n) {
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* ---- bytes ------------------------------------------------------------------------------------
 */

/* Exactly n bytes; false at the end of the file, or with errno set. */
static bool read_at(int fd, void *out, size_t n, uint64_t at) {
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(fd, (char *)out + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

static bool write_at(int fd, const void *bytes, size_t n, uint64_t at) {
    for (size_t done = 0; done < n;) {
        ssize_t put = pwrite(fd, (const char *)bytes + done, n - done, (off_t)(at + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        done += (size_t)put;
    }
    return true;
}

static uint64_t file_bytes(const cp_index_tail *tail) {
    struct stat info;
    return fstat(tail->fd, &info) == 0 && info.st_size > 0 ? (uint64_t)info.st_size : 0;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static cp_status init(cp_index_tail *tail, int fd, const char *path, uint64_t salt, uint64_t number,
                      cp_error *err) {
    *tail = (cp_index_tail){.fd = fd, .salt = salt, .number = number, .end = CP_TAIL_HEAD_BYTES};
    tail->path = cp_copy_bytes(path, strlen(path));
    return tail->path ? CP_OK : cp_error_no_memory(err, "an index tail");
}

cp_status cp_index_tail_begin(int fd, const char *path, uint64_t salt, uint64_t number,
                              cp_index_tail *tail, cp_error *err) {
    tail_head head = {.magic = TAIL_MAGIC, .version = TAIL_VERSION, .salt = salt, .number = number};
    head.check = XXH3_64bits(&head, offsetof(tail_head, check));
    cp_status status = init(tail, fd, path, salt, number, err);
    if (status == CP_OK && (!write_at(fd, &head, sizeof head, 0) || fsync(fd) != 0))
        status = failed_to(tail, "write", err);
    if (status != CP_OK)
        cp_index_tail_close(tail);
    return status;
}

static cp_status check_head(const cp_index_tail *tail, cp_error *err) {
    tail_head head;
    if (!read_at(tail->fd, &head, sizeof head, 0) || head.magic != TAIL_MAGIC ||
        head.check != XXH3_64bits(&head, offsetof(tail_head, check)))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: damaged: its head", tail->path);
    if (head.version != TAIL_VERSION)
        return cp_error_set(err, CP_ERR_UNSUPPORTED,
                            "%s: an index of version %u, expected %u; ingest anew", tail->path,
                            head.version, TAIL_VERSION);
    if (head.salt != tail->salt || head.number != tail->number)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: belongs to another index", tail->path);
    return CP_OK;
}

cp_status cp_index_tail_open(const char *path, uint64_t salt, uint64_t number, bool write,
                             cp_index_tail *tail, cp_error *err) {
    *tail = (cp_index_tail){.fd = -1};
    int fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return cp_error_set(err, errno == ENOENT ? CP_ERR_NOT_FOUND : CP_ERR_IO,
                            "%s: cannot open: %s", path, strerror(errno));
    cp_status status = init(tail, fd, path, salt, number, err);
    if (status == CP_OK)
        status = check_head(tail, err);
    if (status != CP_OK)
        cp_index_tail_close(tail);
    return status;
}

void cp_index_tail_close(cp_index_tail *tail) {
    if (tail->fd >= 0)
        close(tail->fd);
    free(tail->path);
    *tail = (cp_index_tail){.fd = -1};
}

/* ---- reading ----------------------------------------------------------------------------------
 */

/* A head that is whole, of this tail, and whose body lies within the file. */
static bool read_head(const cp_index_tail *tail, uint64_t at, uint64_t n_file, frame_head *head) {
    if (at > n_file || n_file - at < sizeof *head || !read_at(tail->fd, head, sizeof *head, at) ||
        head->magic != FRAME_MAGIC || head->check != XXH3_64bits(head, offsetof(frame_head, check)))
        return false;
    uint64_t left = n_file - at - sizeof *head;
    return head->salt == tail->salt && head->number == tail->number && head->at == at &&
           head->n_removed <= CP_TAIL_MAX_REMOVED && padded(head->n_removed) <= left &&
           head->n_image <= left - padded(head->n_removed) && head->n_image % ALIGN == 0;
}

static uint64_t frame_end(const frame_head *head) {
    return head->at + sizeof *head + padded(head->n_removed) + head->n_image;
}

/* Pairs of texts that end within their bytes. */
static bool removed_is_right(const char *bytes, size_t n) {
    size_t n_ends = 0;
    for (size_t i = 0; i < n; i++)
        n_ends += bytes[i] == '\0';
    return n == 0 || (bytes[n - 1] == '\0' && n_ends % 2 == 0);
}

/* *whole false: the body is not what its head says. */
static cp_status read_body(const cp_index_tail *tail, const frame_head *head, bool *whole,
                           unsigned char **image, char **removed, cp_error *err) {
    size_t n_removed = (size_t)padded(head->n_removed), n_image = (size_t)head->n_image;
    uint64_t at = head->at + sizeof *head;
    *whole = false;
    *image = n_image ? aligned_alloc(ALIGN, n_image) : NULL;
    *removed = malloc(n_removed + 1);
    if (!*removed || (n_image && !*image))
        return cp_error_no_memory(err, "an index frame");
    if (!read_at(tail->fd, *removed, n_removed, at) ||
        (n_image && !read_at(tail->fd, *image, n_image, at + n_removed)))
        return CP_OK;
    uint64_t check = XXH3_64bits_withSeed(*image, n_image, XXH3_64bits(*removed, n_removed));
    *whole = check == head->body_check && removed_is_right(*removed, head->n_removed);
    return CP_OK;
}

cp_status cp_index_tail_read(cp_index_tail *tail, bool *more, unsigned char **image,
                             size_t *n_image, cp_strbuf *removed, cp_error *err) {
    frame_head head;
    char *names = NULL;
    *more = false;
    *image = NULL;
    *n_image = 0;
    cp_strbuf_clear(removed);
    if (!read_head(tail, tail->end, file_bytes(tail), &head))
        return CP_OK;
    cp_status status = read_body(tail, &head, more, image, &names, err);
    if (status == CP_OK && *more) {
        cp_strbuf_append(removed, names, head.n_removed);
        status = cp_strbuf_check(removed, "an index frame", err);
    }
    if (status == CP_OK && *more) {
        *n_image = (size_t)head.n_image;
        tail->end = frame_end(&head);
        tail->last = head.at;
        tail->last_check = head.check;
    } else {
        *more = false;
        free(*image);
        *image = NULL;
    }
    free(names);
    return status;
}

bool cp_index_tail_has_grown(const cp_index_tail *tail) {
    return file_bytes(tail) != tail->end;
}

bool cp_index_tail_is_replaced(const cp_index_tail *tail) {
    struct stat ours, named;
    return fstat(tail->fd, &ours) == 0 && stat(tail->path, &named) == 0 &&
           (ours.st_dev != named.st_dev || ours.st_ino != named.st_ino);
}

bool cp_index_tail_is_same(const cp_index_tail *tail) {
    frame_head head;
    return tail->last == 0 ||
           (read_head(tail, tail->last, file_bytes(tail), &head) && head.check == tail->last_check);
}

/* ---- mending ----------------------------------------------------------------------------------
 */

static cp_status is_whole(const cp_index_tail *tail, const frame_head *head, bool *whole,
                          cp_error *err) {
    unsigned char *image;
    char *removed;
    cp_status status = read_body(tail, head, whole, &image, &removed, err);
    free(image);
    free(removed);
    return status;
}

/* A whole frame anywhere behind the last one that was read: *at, or 0. Frames begin at multiples of
 * 64 bytes. */
static cp_status find_frame(const cp_index_tail *tail, uint64_t *at, cp_error *err) {
    uint64_t n_file = file_bytes(tail);
    cp_status status = CP_OK;
    *at = 0;
    for (uint64_t place = tail->end; status == CP_OK && place < n_file; place += ALIGN) {
        frame_head head;
        bool whole = false;
        if (read_head(tail, place, n_file, &head))
            status = is_whole(tail, &head, &whole, err);
        if (whole) {
            *at = place;
            break;
        }
    }
    return status;
}

cp_status cp_index_tail_mend(cp_index_tail *tail, bool write, cp_error *err) {
    uint64_t n_file = file_bytes(tail), next;
    if (n_file == tail->end)
        return CP_OK;
    cp_status status = find_frame(tail, &next, err);
    if (status != CP_OK)
        return status;
    if (next > tail->end)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: damaged at byte %llu: what was committed there cannot be read; "
                            "remove the folder and ingest anew",
                            tail->path, (unsigned long long)tail->end);
    if (!write || next == tail->end) /* it came while we looked */
        return CP_OK;
    if (ftruncate(tail->fd, (off_t)tail->end) != 0 || fdatasync(tail->fd) != 0)
        return failed_to(tail, "cut off an unfinished commit", err);
    cp_log(CP_LOG_WARN, "index: an unfinished commit was cut off",
           CP_LOG_I("bytes", n_file - tail->end));
    return CP_OK;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static bool write_frame(const cp_index_tail *tail, const frame_head *head, cp_str removed,
                        const unsigned char *image) {
    uint64_t at = head->at + sizeof *head;
    return write_at(tail->fd, head, sizeof *head, head->at) &&
           write_at(tail->fd, removed.data, removed.n, at) &&
           write_at(tail->fd, image, (size_t)head->n_image, at + removed.n) &&
           fdatasync(tail->fd) == 0;
}

cp_status cp_index_tail_append(cp_index_tail *tail, cp_str removed, const unsigned char *image,
                               size_t n_image, cp_error *err) {
    static const char zeros[ALIGN];
    cp_strbuf names;
    if (tail->broken)
        return cp_error_set(err, CP_ERR_IO,
                            "%s: an earlier commit failed half-way; open the index again",
                            tail->path);
    cp_strbuf_init(&names, CP_TAIL_MAX_REMOVED + ALIGN);
    cp_strbuf_append(&names, removed.data, removed.n);
    cp_strbuf_append(&names, zeros, (size_t)(padded(removed.n) - removed.n));
    cp_status status = cp_strbuf_check(&names, "an index commit's removed documents", err);
    frame_head head = {.magic = FRAME_MAGIC,
                       .salt = tail->salt,
                       .number = tail->number,
                       .at = tail->end,
                       .n_removed = removed.n,
                       .n_image = n_image,
                       .body_check =
                           XXH3_64bits_withSeed(image, n_image, XXH3_64bits(names.data, names.n))};
    head.check = XXH3_64bits(&head, offsetof(frame_head, check));
    if (status == CP_OK && !write_frame(tail, &head, cp_strbuf_str(&names), image)) {
        status = failed_to(tail, "write", err);
        tail->broken = ftruncate(tail->fd, (off_t)tail->end) != 0;
    }
    cp_strbuf_deinit(&names);
    if (status == CP_OK) {
        tail->end = frame_end(&head);
        tail->last = head.at;
        tail->last_check = head.check;
    }
    return status;
}
