#include "convert/output_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PARTIAL ".partial"

static cp_status os_error(cp_error *err, const char *path, const char *doing) {
    return cp_error_set(err, CP_ERR_IO, "%s: cannot %s: %s", path, doing, strerror(errno));
}

/* ---- what is in a folder -----------------------------------------------------------------------
 */

typedef struct contents {
    size_t n_files, n_others; /* others: folders, links, devices */
    bool has_config;
} contents;

typedef bool (*entry_fn)(int dir_fd, const char *name, void *user);

/* Calls fn for every entry but "." and ".."; false stops it with errno. */
static bool each_entry(const char *path, entry_fn fn, void *user) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool good = true;
    const struct dirent *entry;
    while (good && (errno = 0, entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            good = fn(fd, entry->d_name, user);
    good = good && errno == 0;
    int why = errno;
    closedir(dir);
    errno = why;
    return good;
}

static bool count_entry(int dir_fd, const char *name, void *user) {
    contents *c = user;
    struct stat info;
    if (fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    c->n_files += S_ISREG(info.st_mode);
    c->n_others += !S_ISREG(info.st_mode);
    c->has_config |= strcmp(name, "config.json") == 0;
    return true;
}

static bool unlink_entry(int dir_fd, const char *name, void *user) {
    (void)user;
    return unlinkat(dir_fd, name, 0) == 0;
}

static bool remove_files(const char *path) {
    return each_entry(path, unlink_entry, NULL);
}

/* ---- opening ------------------------------------------------------------------------------------
 */

/* `dst` without slashes at its end. */
static cp_status set_paths(const char *dst, cp_output_folder *out, cp_error *err) {
    size_t n = strlen(dst);
    while (n > 1 && dst[n - 1] == '/')
        n--;
    const char *last = dst + n;
    while (last > dst && last[-1] != '/')
        last--;
    size_t last_n = (size_t)(dst + n - last);
    if (last_n == 0 || strncmp(last, ".", last_n) == 0 || strncmp(last, "..", last_n) == 0)
        return cp_error_set(err, CP_ERR_USAGE, "\"%.128s\" names no folder that could be made",
                            dst);
    if (n + sizeof PARTIAL + sizeof ".old" > sizeof out->final)
        return cp_error_set(err, CP_ERR_LIMIT, "%.128s...: path is too long", dst);
    snprintf(out->final, sizeof out->final, "%.*s", (int)n, dst);
    snprintf(out->partial, sizeof out->partial, "%.*s" PARTIAL, (int)n, dst);
    return CP_OK;
}

static cp_status check_final(cp_output_folder *f, bool force, cp_error *err) {
    struct stat info;
    contents found = {0};
    if (lstat(f->final, &info) != 0)
        return errno == ENOENT ? CP_OK : os_error(err, f->final, "look at it");
    if (!S_ISDIR(info.st_mode))
        return cp_error_set(err, CP_ERR_USAGE, "%s exists and is not a folder", f->final);
    if (!each_entry(f->final, count_entry, &found))
        return os_error(err, f->final, "list");
    if (found.n_files + found.n_others == 0)
        return CP_OK;
    if (!force)
        return cp_error_set(err, CP_ERR_USAGE,
                            "%s exists already; choose another folder, or --force to replace it",
                            f->final);
    if (!found.has_config || found.n_others > 0)
        return cp_error_set(err, CP_ERR_USAGE,
                            "%s is not replaced: it is not a plain model folder (%s)", f->final,
                            found.has_config ? "it has folders or links in it" : "no config.json");
    f->replaces = true;
    return CP_OK;
}

/* Creates and locks DST.partial. A run that has just finished may have renamed the folder between
 * our open and our lock: then another try. */
static cp_status lock_partial(cp_output_folder *f, cp_error *err) {
    for (int attempt = 0; attempt < 8; attempt++) {
        struct stat ours, there;
        if (mkdir(f->partial, 0755) != 0 && errno != EEXIST)
            return os_error(err, f->partial, "create the folder");
        f->fd = open(f->partial, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (f->fd < 0 && errno != ENOENT)
            return os_error(err, f->partial, "open the folder");
        if (f->fd < 0)
            continue;
        if (flock(f->fd, LOCK_EX | LOCK_NB) != 0) {
            cp_status status = errno == EWOULDBLOCK
                                   ? cp_error_set(err, CP_ERR_BUSY,
                                                  "%s: another convert is writing it", f->partial)
                                   : os_error(err, f->partial, "lock");
            close(f->fd);
            f->fd = -1;
            return status;
        }
        if (fstat(f->fd, &ours) == 0 && lstat(f->partial, &there) == 0 &&
            ours.st_ino == there.st_ino && ours.st_dev == there.st_dev)
            return CP_OK;
        close(f->fd);
        f->fd = -1;
    }
    return cp_error_set(err, CP_ERR_BUSY, "%s: another convert is writing it", f->partial);
}

cp_status cp_output_folder_open(const char *dst, bool force, cp_output_folder *out, cp_error *err) {
    *out = (cp_output_folder){.fd = -1};
    cp_status status = set_paths(dst, out, err);
    if (status == CP_OK)
        status = check_final(out, force, err);
    if (status == CP_OK)
        status = lock_partial(out, err);
    if (status == CP_OK && !remove_files(out->partial)) {
        status = os_error(err, out->partial, "remove what an earlier run left");
        close(out->fd);
        out->fd = -1;
    }
    return status;
}

cp_status cp_output_folder_need(const cp_output_folder *f, uint64_t bytes, cp_error *err) {
    struct statvfs disk;
    if (fstatvfs(f->fd, &disk) != 0)
        return os_error(err, f->partial, "ask for the free space");
    uint64_t unit = disk.f_frsize ? disk.f_frsize : 1;
    if (bytes / unit < disk.f_bavail)
        return CP_OK;
    return cp_error_set(err, CP_ERR_LIMIT, "%s: needs %.1f GB of disk, %.1f GB are free", f->final,
                        (double)bytes / 1e9, (double)disk.f_bavail * (double)unit / 1e9);
}

/* ---- closing ------------------------------------------------------------------------------------
 */

static void drop(const char *path) {
    if (remove_files(path))
        rmdir(path);
}

/* For file systems that cannot exchange: DST is absent for a moment, but never half. */
static bool replace_in_steps(const cp_output_folder *f) {
    char old[CP_PATH_CAP + 8];
    snprintf(old, sizeof old, "%s.old", f->final);
    if (rename(f->final, old) != 0)
        return false;
    if (rename(f->partial, f->final) != 0) {
        int why = errno;
        if (rename(old, f->final) != 0)
            return false;
        errno = why;
        return false;
    }
    drop(old);
    return true;
}

static bool move_into_place(const cp_output_folder *f) {
    if (!f->replaces)
        return rename(f->partial, f->final) == 0; /* an empty folder there is replaced */
    if (renameat2(AT_FDCWD, f->partial, AT_FDCWD, f->final, RENAME_EXCHANGE) == 0) {
        drop(f->partial); /* now the old one */
        return true;
    }
    return (errno == EINVAL || errno == ENOSYS) && replace_in_steps(f);
}

static void sync_parent(const char *path) {
    char parent[CP_PATH_CAP];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash)
        slash[slash == parent] = '\0';
    int fd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return; /* the rename has happened; only a power cut could undo it */
    (void)fsync(fd);
    close(fd);
}

cp_status cp_output_folder_commit(cp_output_folder *f, cp_error *err) {
    if (fsync(f->fd) != 0)
        return os_error(err, f->partial, "sync");
    if (!move_into_place(f))
        return os_error(err, f->final, "rename the finished folder into place");
    sync_parent(f->final);
    close(f->fd);
    f->fd = -1;
    return CP_OK;
}

void cp_output_folder_close(cp_output_folder *f) {
    if (f->fd < 0)
        return;
    drop(f->partial);
    close(f->fd);
    f->fd = -1;
}
