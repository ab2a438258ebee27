#include "base/file.h"

#include "base/file_guard.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static cp_status os_error(cp_error *err, const char *path, const char *doing) {
    cp_status status = errno == ENOENT || errno == ENOTDIR ? CP_ERR_NOT_FOUND : CP_ERR_IO;
    return cp_error_set(err, status, "%s: cannot %s: %s", path, doing, strerror(errno));
}

/* Opens a regular file for reading and tells its size. */
static cp_status open_regular(const char *path, int *fd, size_t *n_bytes, cp_error *err) {
    struct stat info;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang the open */
    if (*fd < 0)
        return os_error(err, path, "open");
    cp_status status = CP_OK;
    if (fstat(*fd, &info) != 0)
        status = os_error(err, path, "stat");
    else if (!S_ISREG(info.st_mode))
        status = cp_error_set(err, CP_ERR_IO, "%s: not a regular file", path);
    if (status != CP_OK) {
        close(*fd);
        return status;
    }
    *n_bytes = (size_t)info.st_size;
    return CP_OK;
}

cp_status cp_file_map(const char *path, cp_mapping *out, cp_error *err) {
    *out = (cp_mapping){.data = NULL};
    int fd;
    size_t n_bytes;
    cp_status status = open_regular(path, &fd, &n_bytes, err);
    if (status != CP_OK)
        return status;
    if (n_bytes > 0) {
        void *data = mmap(NULL, n_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = os_error(err, path, "map");
        else
            *out = (cp_mapping){data, n_bytes, cp_file_guard_add(data, n_bytes)};
    }
    if (out->data && out->guard == 0) {
        cp_file_unmap(out);
        status = cp_error_set(err, CP_ERR_LIMIT, "%s: too many files are mapped", path);
    }
    if (out->data)
        /* A wish for large pages, which weights are read faster through (docs/performance.md). */
        (void)madvise((void *)out->data, n_bytes, MADV_HUGEPAGE);
    close(fd);
    return status;
}

void cp_file_unmap(cp_mapping *mapping) {
    cp_file_guard_remove(mapping->guard);
    if (mapping->data)
        munmap((void *)mapping->data, mapping->n_bytes);
    *mapping = (cp_mapping){.data = NULL};
}

cp_status cp_file_check_whole(const cp_mapping *mapping, const char *path, cp_status status,
                              cp_error *err) {
    if (cp_file_guard_is_cut(mapping->guard))
        return cp_error_set(err, CP_ERR_IO, "%s: was cut while it was read", path);
    return status;
}

void cp_file_trust(cp_mapping *mapping) {
    cp_file_guard_remove(mapping->guard);
    mapping->guard = 0;
}

cp_status cp_file_read(const char *path, size_t max_bytes, cp_strbuf *out, cp_error *err) {
    cp_strbuf_init(out, max_bytes);
    int fd;
    size_t n_bytes;
    cp_status status = open_regular(path, &fd, &n_bytes, err);
    if (status != CP_OK)
        return status;
    if (n_bytes > max_bytes) {
        close(fd);
        return cp_error_set(err, CP_ERR_LIMIT, "%s: %zu bytes, at most %zu are read", path, n_bytes,
                            max_bytes);
    }
    char chunk[16384];
    ssize_t got;
    while ((got = read(fd, chunk, sizeof chunk)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            status = os_error(err, path, "read");
            break;
        }
        cp_strbuf_append(out, chunk, (size_t)got);
    }
    close(fd);
    return status != CP_OK ? status : cp_strbuf_check(out, path, err);
}

static cp_status write_all(int fd, cp_str bytes, const char *path, cp_error *err) {
    while (bytes.n > 0) {
        ssize_t put = write(fd, bytes.data, bytes.n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return os_error(err, path, "write");
        bytes.data += put;
        bytes.n -= (size_t)put;
    }
    return fsync(fd) == 0 ? CP_OK : os_error(err, path, "sync");
}

/* Beside `path`, so that the rename stays in one file system. */
static cp_status temporary_name(const char *path, char out[CP_PATH_CAP], cp_error *err) {
    int n = snprintf(out, CP_PATH_CAP, "%s.%ld.tmp", path, (long)getpid());
    if (n < 0 || n >= CP_PATH_CAP)
        return cp_error_set(err, CP_ERR_LIMIT, "%s: path is too long", path);
    return CP_OK;
}

/* Takes over the open temporary file. */
static cp_status put_in_place(int fd, const char *temporary, const char *path, cp_str bytes,
                              cp_error *err) {
    cp_status status = write_all(fd, bytes, temporary, err);
    close(fd);
    if (status == CP_OK && rename(temporary, path) != 0)
        status = os_error(err, path, "rename into place");
    if (status != CP_OK)
        unlink(temporary);
    return status;
}

cp_status cp_file_write(const char *path, cp_str bytes, cp_error *err) {
    char temporary[CP_PATH_CAP];
    cp_status status = temporary_name(path, temporary, err);
    if (status != CP_OK)
        return status;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return os_error(err, temporary, "create");
    return put_in_place(fd, temporary, path, bytes, err);
}

cp_status cp_file_write_private(const char *path, cp_str bytes, cp_error *err) {
    char temporary[CP_PATH_CAP];
    struct stat old;
    cp_status status = temporary_name(path, temporary, err);
    if (status != CP_OK)
        return status;
    bool replaces = stat(path, &old) == 0;
    unlink(temporary); /* of a process that was killed */
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return os_error(err, temporary, "create");
    if (replaces && (fchown(fd, old.st_uid, old.st_gid) != 0 ||
                     fchmod(fd, 0600 | (old.st_mode & S_IRGRP)) != 0)) {
        status = os_error(err, path, "keep its owner");
        close(fd);
        unlink(temporary);
        return status;
    }
    return put_in_place(fd, temporary, path, bytes, err);
}

cp_status cp_file_check_private(const char *path, cp_error *err) {
    struct stat info;
    if (stat(path, &info) != 0)
        return os_error(err, path, "stat");
    if (geteuid() != 0 && info.st_uid != 0 && info.st_uid != geteuid())
        return cp_error_set(err, CP_ERR_IO,
                            "%s belongs to another user (id %lu), expected this one or root", path,
                            (unsigned long)info.st_uid);
    if (info.st_mode & (S_IWGRP | S_IRWXO))
        return cp_error_set(err, CP_ERR_IO,
                            "%s has the permissions %04o, expected 0600 (chmod 600 %s)", path,
                            (unsigned)info.st_mode & 07777, path);
    return CP_OK;
}

bool cp_file_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

bool cp_file_is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

cp_status cp_path_join(const char *dir, const char *name, char *out, size_t cap, cp_error *err) {
    size_t n = strlen(dir);
    const char *slash = n > 0 && dir[n - 1] == '/' ? "" : "/";
    int used = snprintf(out, cap, "%s%s%s", dir, slash, name);
    if (used < 0 || (size_t)used >= cap)
        return cp_error_set(err, CP_ERR_LIMIT, "%s/%s: path is longer than %zu bytes", dir, name,
                            cap);
    return CP_OK;
}

cp_str cp_path_last(const char *path) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    return (cp_str){path + begin, end - begin};
}

cp_status cp_file_next_line(FILE *in, cp_strbuf *line, bool *more, cp_error *err) {
    cp_strbuf_clear(line);
    int c;
    while ((c = getc_unlocked(in)) != EOF && c != '\n')
        cp_strbuf_putc(line, (char)c);
    if (c == EOF && ferror(in))
        return cp_error_set(err, CP_ERR_IO, "input: cannot read: %s", strerror(errno));
    *more = c != EOF || line->n > 0;
    return cp_strbuf_check(line, "input line", err);
}
