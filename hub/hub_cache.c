#include "hub/hub_cache.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_PAUSE_NS 50000000L
#define BLOB_LINK     "../../blobs/"

static cp_status os_error(cp_error *err, const char *path, const char *doing) {
    return cp_error_set(err, CP_ERR_IO, "%s: cannot %s: %s", path, doing, strerror(errno));
}

static cp_status __attribute__((format(printf, 3, 4))) make_path(char path[CP_PATH_CAP],
                                                                 cp_error *err, const char *fmt,
                                                                 ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(path, CP_PATH_CAP, fmt, args);
    va_end(args);
    if (n < 0 || n >= CP_PATH_CAP)
        return cp_error_set(err, CP_ERR_LIMIT, "%.64s...: path is too long", path);
    return CP_OK;
}

/* Creates a folder and those above it. */
static cp_status make_folders(const char *path, cp_error *err) {
    char part[CP_PATH_CAP];
    cp_status status = make_path(part, err, "%s", path);
    for (char *at = part + 1; status == CP_OK; at++) {
        if (*at && *at != '/')
            continue;
        char end = *at;
        *at = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            status = os_error(err, part, "create the folder");
        if (!end)
            break;
        *at = end;
    }
    return status;
}

cp_status cp_hub_cache_open(const char *root, const char *repo, cp_hub_cache *out, cp_error *err) {
    const char *slash = strchr(repo, '/');
    int n = slash ? (int)(slash - repo) : 0;
    char name[CP_HUB_REPO_MAX + 16];
    snprintf(name, sizeof name, "models--%.*s%s%s", n, repo, slash ? "--" : "",
             slash ? slash + 1 : repo);
    cp_status status = make_path(out->dir, err, "%s/%s", root, name);
    return status == CP_OK ? make_path(out->locks, err, "%s/.locks/%s", root, name) : status;
}

cp_status cp_hub_cache_make(const cp_hub_cache *cache, cp_error *err) {
    static const char *const folders[] = {"blobs", "refs", "snapshots"};
    char path[CP_PATH_CAP];
    cp_status status = make_folders(cache->locks, err);
    for (size_t i = 0; i < CP_COUNT_OF(folders) && status == CP_OK; i++) {
        status = make_path(path, err, "%s/%s", cache->dir, folders[i]);
        if (status == CP_OK)
            status = make_folders(path, err);
    }
    return status;
}

/* ---- revisions ------------------------------------------------------------------------------- */

bool cp_hub_cache_commit(const cp_hub_cache *cache, const char *revision,
                         char commit[CP_HUB_COMMIT_CAP]) {
    char path[CP_PATH_CAP];
    cp_strbuf text;
    commit[0] = '\0';
    if (cp_hub_is_commit((cp_str){revision, strlen(revision)})) {
        memcpy(commit, revision, CP_HUB_COMMIT_CAP);
        return true;
    }
    if (make_path(path, NULL, "%s/refs/%s", cache->dir, revision) != CP_OK)
        return false;
    cp_status status = cp_file_read(path, CP_HUB_COMMIT_CAP + 1, &text, NULL);
    const char *words = cp_strbuf_text(&text);
    cp_str found = {words, strcspn(words, " \r\n")};
    bool good = status == CP_OK && cp_hub_is_commit(found);
    if (good) {
        memcpy(commit, found.data, found.n);
        commit[found.n] = '\0';
    }
    cp_strbuf_deinit(&text);
    return good;
}

cp_status cp_hub_cache_set_commit(const cp_hub_cache *cache, const char *revision,
                                  const char *commit, cp_error *err) {
    static const atomic_bool never = false;
    char path[CP_PATH_CAP], before[CP_HUB_COMMIT_CAP];
    int lock;
    if (cp_hub_cache_commit(cache, revision, before) && strcmp(before, commit) == 0)
        return CP_OK;
    cp_status status = make_path(path, err, "%s/refs/%s", cache->dir, revision);
    if (status != CP_OK)
        return status;
    char *last = strrchr(path, '/');
    *last = '\0';
    status = make_folders(path, err);
    *last = '/';
    /* Process ids, which temporary files are told apart by, are the same in many containers. */
    if (status == CP_OK)
        status = cp_hub_cache_lock(cache, "refs", &never, &lock, err);
    if (status != CP_OK)
        return status;
    status = cp_file_write(path, (cp_str){commit, strlen(commit)}, err);
    close(lock);
    return status;
}

/* ---- snapshots ------------------------------------------------------------------------------- */

cp_status cp_hub_cache_snapshot(const cp_hub_cache *cache, const char *commit,
                                char dir[CP_PATH_CAP], cp_error *err) {
    return make_path(dir, err, "%s/snapshots/%s", cache->dir, commit);
}

bool cp_hub_cache_has(const cp_hub_cache *cache, const char *commit, const char *file,
                      uint64_t *bytes, char hash[CP_HUB_HASH_CAP]) {
    char path[CP_PATH_CAP], target[CP_HUB_HASH_CAP + sizeof BLOB_LINK];
    struct stat info;
    if (make_path(path, NULL, "%s/snapshots/%s/%s", cache->dir, commit, file) != CP_OK ||
        stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return false;
    if (bytes)
        *bytes = (uint64_t)info.st_size;
    if (!hash)
        return true;
    ssize_t n = readlink(path, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    const char *slash = strrchr(target, '/'), *name = slash ? slash + 1 : target;
    bool is_blob = cp_hub_is_hash((cp_str){name, strlen(name)});
    snprintf(hash, CP_HUB_HASH_CAP, "%.*s", CP_HUB_HASH_CAP - 1, is_blob ? name : "");
    return true;
}

/* A link takes the place of what stood there (a link to nowhere, another blob) in one step. */
static cp_status place_link(const char *target, const char *path, cp_error *err) {
    char temporary[CP_PATH_CAP];
    if (symlink(target, path) == 0)
        return CP_OK;
    if (errno != EEXIST)
        return os_error(err, path, "create the link");
    cp_status status = make_path(temporary, err, "%s.%ld.tmp", path, (long)getpid());
    if (status != CP_OK)
        return status;
    unlink(temporary); /* of a process that was killed */
    if (symlink(target, temporary) == 0 && rename(temporary, path) == 0)
        return CP_OK;
    status = os_error(err, path, "create the link");
    unlink(temporary);
    return status;
}

cp_status cp_hub_cache_link(const cp_hub_cache *cache, const char *commit, const char *file,
                            const char *hash, cp_error *err) {
    char path[CP_PATH_CAP], target[CP_HUB_HASH_CAP + sizeof BLOB_LINK];
    snprintf(target, sizeof target, BLOB_LINK "%s", hash);
    cp_status status = cp_hub_cache_snapshot(cache, commit, path, err);
    if (status == CP_OK)
        status = make_folders(path, err);
    if (status == CP_OK)
        status = make_path(path, err, "%s/snapshots/%s/%s", cache->dir, commit, file);
    return status == CP_OK ? place_link(target, path, err) : status;
}

/* ---- blobs ----------------------------------------------------------------------------------- */

cp_status cp_hub_cache_blob(const cp_hub_cache *cache, const char *hash, const char *behind,
                            char path[CP_PATH_CAP], cp_error *err) {
    return make_path(path, err, "%s/blobs/%s%s", cache->dir, hash, behind);
}

static cp_status open_lock(const cp_hub_cache *cache, const char *hash, int *fd, cp_error *err) {
    char path[CP_PATH_CAP];
    *fd = -1;
    cp_status status = make_path(path, err, "%s/%s.lock", cache->locks, hash);
    if (status != CP_OK)
        return status;
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    return *fd >= 0 ? CP_OK : os_error(err, path, "open the lock");
}

/* 1: ours; 0: somebody else's; -1: refused, errno. */
static int try_lock(int fd) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 1;
    return errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
}

cp_status cp_hub_cache_lock(const cp_hub_cache *cache, const char *hash, const atomic_bool *stop,
                            int *fd, cp_error *err) {
    const struct timespec pause = {0, LOCK_PAUSE_NS};
    int taken = 0;
    cp_status status = open_lock(cache, hash, fd, err);
    while (status == CP_OK && (taken = try_lock(*fd)) == 0) {
        if (atomic_load(stop))
            status = cp_error_set(err, CP_ERR_CANCELLED, "the pull was stopped");
        else
            nanosleep(&pause, NULL);
    }
    if (taken < 0)
        status = os_error(err, cache->locks, "lock a file in it");
    if (status != CP_OK && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    return status;
}

static void sweep_one(const cp_hub_cache *cache, const char *name, size_t hash_n) {
    char hash[CP_HUB_HASH_CAP], path[CP_PATH_CAP];
    int fd;
    snprintf(hash, sizeof hash, "%.*s", (int)hash_n, name);
    if (open_lock(cache, hash, &fd, NULL) != CP_OK)
        return;
    if (try_lock(fd) == 1 && cp_hub_cache_blob(cache, hash, CP_HUB_INCOMPLETE, path, NULL) == CP_OK)
        unlink(path);
    close(fd);
}

void cp_hub_cache_sweep(const cp_hub_cache *cache) {
    char path[CP_PATH_CAP];
    const struct dirent *entry;
    if (cp_path_join(cache->dir, "blobs", path, sizeof path, NULL) != CP_OK)
        return;
    DIR *dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        size_t n = strcspn(entry->d_name, ".");
        if (strcmp(entry->d_name + n, CP_HUB_INCOMPLETE) == 0 &&
            cp_hub_is_hash((cp_str){entry->d_name, n}))
            sweep_one(cache, entry->d_name, n);
    }
    if (dir)
        closedir(dir);
}
