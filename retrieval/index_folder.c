#include "retrieval/index_folder.h"

#include "retrieval/index_tail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define CURRENT_CAP 128

static const char *const stems[] = {"segment-", "tail-"};

static cp_status failed_to(const char *path, const char *doing, cp_error *err) {
    return cp_error_set(err, CP_ERR_IO, "%s: cannot %s: %s", path, doing, strerror(errno));
}

cp_status cp_index_folder_sync(const char *dir, cp_error *err) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failed_to(dir, "open", err);
    cp_status status = fsync(fd) == 0 ? CP_OK : failed_to(dir, "sync", err);
    close(fd);
    return status;
}

/* The folder and its place in the one above. */
static cp_status make_folder(const char *dir, cp_error *err) {
    char above[CP_PATH_CAP];
    if (mkdir(dir, 0700) != 0)
        return errno == EEXIST ? CP_OK : failed_to(dir, "make this folder for the index", err);
    cp_status status = cp_path_join(dir, "..", above, sizeof above, err);
    return status == CP_OK ? cp_index_folder_sync(above, err) : status;
}

cp_status cp_index_folder_lock(const char *dir, int *fd, cp_error *err) {
    char path[CP_PATH_CAP];
    *fd = -1;
    cp_status status = make_folder(dir, err);
    if (status == CP_OK)
        status = cp_path_join(dir, "lock", path, sizeof path, err);
    if (status != CP_OK)
        return status;
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0)
        return failed_to(path, "open", err);
    if (flock(lock, LOCK_EX | LOCK_NB) == 0) {
        *fd = lock;
        return CP_OK;
    }
    status = errno == EWOULDBLOCK
                 ? cp_error_set(err, CP_ERR_BUSY, "%s: another process writes this index", dir)
                 : failed_to(path, "lock", err);
    close(lock);
    return status;
}

cp_status cp_index_folder_path(const char *dir, cp_index_file file, uint64_t number,
                               char path[CP_PATH_CAP], cp_error *err) {
    char name[64];
    snprintf(name, sizeof name, "%s%" PRIu64, stems[file], number);
    return cp_path_join(dir, name, path, CP_PATH_CAP, err);
}

cp_status cp_index_folder_create(const char *path, int *fd, cp_error *err) {
    (void)unlink(path); /* of a writer that was killed; readers may still have it mapped */
    *fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return *fd >= 0 ? CP_OK : failed_to(path, "create", err);
}

/* ---- which pair counts ------------------------------------------------------------------------
 */

static void current_text(uint64_t number, char out[CURRENT_CAP]) {
    int n = snprintf(out, CURRENT_CAP, "carepath-index 1 %" PRIu64, number);
    snprintf(out + n, CURRENT_CAP - (size_t)n, " %016llx\n",
             (unsigned long long)XXH3_64bits(out, (size_t)n));
}

cp_status cp_index_current_read(const char *dir, uint64_t *number, cp_error *err) {
    char path[CP_PATH_CAP], expected[CURRENT_CAP];
    cp_strbuf text;
    *number = 0;
    cp_status status = cp_path_join(dir, "current", path, sizeof path, err);
    if (status != CP_OK)
        return status;
    status = cp_file_read(path, CURRENT_CAP, &text, err);
    if (status == CP_OK) {
        if (sscanf(cp_strbuf_text(&text), "carepath-index 1 %" SCNu64, number) == 1)
            current_text(*number, expected);
        if (*number == 0 || !cp_str_is(cp_strbuf_str(&text), expected))
            status = cp_error_set(err, CP_ERR_FORMAT,
                                  "%s: damaged, or of another version; ingest anew", path);
    }
    cp_strbuf_deinit(&text);
    return status;
}

cp_status cp_index_current_write(const char *dir, uint64_t number, cp_error *err) {
    char path[CP_PATH_CAP], text[CURRENT_CAP];
    current_text(number, text);
    cp_status status = cp_path_join(dir, "current", path, sizeof path, err);
    if (status == CP_OK)
        status = cp_file_write_private(path, (cp_str){text, strlen(text)}, err);
    return status;
}

/* ---- what else lies there ---------------------------------------------------------------------
 */

/* N of "segment-N" or "tail-N", 0 for other names. */
static uint64_t number_of(const char *name, cp_index_file file) {
    size_t n = strlen(stems[file]);
    char *end;
    if (strncmp(name, stems[file], n) != 0 || name[n] < '1' || name[n] > '9')
        return 0;
    uint64_t number = strtoull(name + n, &end, 10);
    return *end == '\0' ? number : 0;
}

/* Holds what a commit wrote, or a segment that a compaction made. */
static bool holds_something(int dir_fd, const char *name) {
    struct stat info;
    uint64_t tail = number_of(name, CP_INDEX_TAIL);
    if (number_of(name, CP_INDEX_SEGMENT) > 1 || tail > 1)
        return true;
    return tail == 1 && fstatat(dir_fd, name, &info, 0) == 0 &&
           (uint64_t)info.st_size > CP_TAIL_HEAD_BYTES;
}

cp_status cp_index_folder_check_unborn(const char *dir, cp_error *err) {
    cp_status status = CP_OK;
    DIR *list = opendir(dir);
    if (!list)
        return failed_to(dir, "list", err);
    for (struct dirent *entry; status == CP_OK && (entry = readdir(list));)
        if (holds_something(dirfd(list), entry->d_name))
            status = cp_error_set(err, CP_ERR_FORMAT,
                                  "%s: \"current\" is missing, but there is %s; remove the folder "
                                  "and ingest anew",
                                  dir, entry->d_name);
    closedir(list);
    return status;
}

static bool is_left_over(const char *name, uint64_t number) {
    uint64_t segment = number_of(name, CP_INDEX_SEGMENT), tail = number_of(name, CP_INDEX_TAIL);
    size_t n = strlen(name);
    return (segment != 0 && segment != number) || (tail != 0 && tail != number) ||
           (strncmp(name, "current.", 8) == 0 && n > 12 && strcmp(name + n - 4, ".tmp") == 0);
}

void cp_index_folder_clean(const char *dir, uint64_t number) {
    DIR *list = opendir(dir);
    if (!list)
        return;
    for (struct dirent *entry; (entry = readdir(list));)
        if (is_left_over(entry->d_name, number))
            (void)unlinkat(dirfd(list), entry->d_name, 0);
    closedir(list);
}
