#include "hub/hub_file.h"

#include "base/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE ((size_t)1 << 16)

typedef struct fetch {
    const cp_hub_client *client;
    cp_hub_place place;
    cp_hub_file *file;
    char blob[CP_PATH_CAP], partial[CP_PATH_CAP];
    int fd; /* of `partial` */
    cp_digest *digest;
    uint64_t at;      /* bytes that are written and in the digest */
    bool was_resumed; /* some are an earlier run's */
    cp_status failed; /* of a callback; `why` says it */
    cp_error why;
} fetch;

static cp_status os_error(cp_error *err, const char *path, const char *doing) {
    if (errno == ENOSPC || errno == EDQUOT)
        return cp_error_set(
            err, CP_ERR_LIMIT,
            "%s: the disk is full; make room, or set HF_HOME to a folder on another "
            "disk, then pull again: what is here is kept",
            path);
    return cp_error_set(err, CP_ERR_IO, "%s: cannot %s: %s", path, doing, strerror(errno));
}

/* ---- the digest ------------------------------------------------------------------------------ */

/* git hashes "blob SIZE" and a NUL before the bytes. */
static cp_status begin_digest(fetch *f, cp_error *err) {
    char head[32];
    bool is_git = strlen(f->file->hash) != CP_HUB_HASH_CAP - 1;
    cp_digest_free(f->digest);
    cp_status status = cp_digest_begin(is_git ? CP_DIGEST_SHA1 : CP_DIGEST_SHA256, &f->digest, err);
    int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)f->file->size);
    if (status == CP_OK && is_git)
        status = cp_digest_add(f->digest, (cp_str){head, (size_t)n + 1}, err);
    return status;
}

static void tell(fetch *f) {
    atomic_store(&f->file->done, f->at);
}

/* Drops what is there. */
static cp_status begin_again(fetch *f, cp_error *err) {
    if (ftruncate(f->fd, 0) != 0)
        return os_error(err, f->partial, "empty it");
    f->at = 0;
    f->was_resumed = false;
    tell(f);
    return begin_digest(f, err);
}

/* Takes over what an earlier run left, as far as it can be this file. */
static cp_status take_over(fetch *f, cp_error *err) {
    char piece[PIECE];
    struct stat info;
    if (fstat(f->fd, &info) != 0)
        return os_error(err, f->partial, "stat");
    if ((uint64_t)info.st_size > f->file->size)
        return begin_again(f, err);
    cp_status status = begin_digest(f, err);
    while (status == CP_OK && f->at < (uint64_t)info.st_size) {
        ssize_t n = pread(f->fd, piece, sizeof piece, (off_t)f->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? os_error(err, f->partial, "read") : begin_again(f, err);
        status = cp_digest_add(f->digest, (cp_str){piece, (size_t)n}, err);
        f->at += (uint64_t)n;
        f->was_resumed = true;
        tell(f);
    }
    return status;
}

/* ---- what comes ------------------------------------------------------------------------------ */

static bool give_up(fetch *f, cp_status status) {
    f->failed = status;
    return false;
}

static cp_status changed(fetch *f, const char *what) {
    return cp_error_set(
        &f->why, CP_ERR_FORMAT,
        "%s of %s changed on the hub while it was fetched (%s); pull again, or give "
        "a commit as --revision",
        f->place.file, f->place.repo, what);
}

/* The answer is about the same file, and its body begins where ours ends. */
static bool on_head(void *user, const cp_hub_answer *answer) {
    fetch *f = user;
    uint64_t first, total;
    const cp_hub_fields *now = &answer->fields;
    if (now->commit[0] && strcmp(now->commit, f->place.revision) != 0)
        return give_up(f, changed(f, "another commit"));
    /* What a server behind the hub calls its copy is not the hub's word. */
    if ((now->linked || !answer->elsewhere) && now->has_etag &&
        strcmp(now->hash, f->file->hash) != 0)
        return give_up(f, changed(f, "another hash"));
    if (answer->http.status == 200) {
        if (f->at == 0)
            return true;
        cp_status status = begin_again(f, &f->why); /* all of it comes, although a part was asked */
        return status == CP_OK || give_up(f, status);
    }
    if (!cp_hub_content_range(&answer->http, &first, &total) || first != f->at)
        return give_up(f, cp_error_set(&f->why, CP_ERR_FORMAT,
                                       "%s of %s: the server sends another part than was asked for "
                                       "(from byte %llu); pull again",
                                       f->place.file, f->place.repo, (unsigned long long)f->at));
    if (total != f->file->size)
        return give_up(f, changed(f, "another size"));
    return true;
}

static bool on_body(void *user, cp_str bytes) {
    fetch *f = user;
    if (atomic_load(f->client->stop))
        return give_up(f, cp_error_set(&f->why, CP_ERR_CANCELLED, "the pull was stopped"));
    if (bytes.n > f->file->size - f->at)
        return give_up(f, changed(f, "more bytes than it has"));
    cp_status status = cp_digest_add(f->digest, bytes, &f->why);
    while (status == CP_OK && bytes.n > 0) {
        ssize_t n = pwrite(f->fd, bytes.data, bytes.n, (off_t)f->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            status = os_error(&f->why, f->partial, "write");
            break;
        }
        bytes = (cp_str){bytes.data + n, bytes.n - (size_t)n};
        f->at += (uint64_t)n;
    }
    tell(f);
    return status == CP_OK || give_up(f, status);
}

/* ---- fetching -------------------------------------------------------------------------------- */

/* One request; *goes_on when another may bring more. */
static cp_status fetch_some(fetch *f, unsigned *n_idle, bool *goes_on, cp_error *err) {
    cp_hub_answer answer;
    uint64_t before = f->at;
    const cp_hub_call call = {.from = f->at,
                              .max_bytes = f->file->size,
                              .on_head = on_head,
                              .on_body = on_body,
                              .user = f};
    f->failed = CP_OK;
    *goes_on = false;
    cp_status status = cp_hub_send(f->client, &f->place, &call, &answer, err);
    if (f->failed != CP_OK) {
        status = f->failed;
        if (err)
            *err = f->why;
    } else if (status == CP_OK && answer.http.status / 100 == 2 && f->at > before) {
        *goes_on = true; /* a part came in order */
        *n_idle = 0;
    } else if (status == CP_OK && answer.http.status / 100 == 2) {
        status = cp_error_set(err, CP_ERR_FORMAT,
                              "%s of %s: the server sends nothing more after %llu of %llu bytes; "
                              "pull again later, what is here is kept",
                              f->place.file, f->place.repo, (unsigned long long)f->at,
                              (unsigned long long)f->file->size);
    } else {
        *n_idle = f->at > before ? 1 : *n_idle + 1;
        *goes_on = cp_hub_may_retry(status, &answer) && cp_hub_pause(f->client, &answer, *n_idle);
        status = *goes_on ? CP_OK : cp_hub_refuse(f->client, &f->place, &answer, status, err);
    }
    cp_hub_answer_deinit(&answer);
    return status;
}

static cp_status fetch_all(fetch *f, cp_error *err) {
    cp_status status = CP_OK;
    unsigned n_idle = 0;
    for (bool goes_on = true; status == CP_OK && goes_on && f->at < f->file->size;)
        status = fetch_some(f, &n_idle, &goes_on, err);
    return status;
}

/* *right: the bytes have the hub's hash. */
static cp_status check(fetch *f, bool *right, char hex[CP_DIGEST_HEX_CAP], cp_error *err) {
    cp_status status = cp_digest_end(f->digest, hex, err);
    *right = status == CP_OK && strcmp(hex, f->file->hash) == 0;
    return status;
}

static cp_status wrong_hash(const fetch *f, const char *hex, cp_error *err) {
    return cp_error_set(err, CP_ERR_FORMAT,
                        "%s of %s is not what the hub announced: it has the hash %.16s..., not "
                        "%.16s...; it was damaged or replaced on its way and was thrown away: pull "
                        "again, without a proxy if there is one",
                        f->place.file, f->place.repo, hex, f->file->hash);
}

/* All bytes, checked. What an earlier run left may be the fault: then once more from the beginning.
 */
static cp_status fetch_checked(fetch *f, cp_error *err) {
    char hex[CP_DIGEST_HEX_CAP];
    bool right = false;
    cp_status status = take_over(f, err);
    if (status == CP_OK)
        status = fetch_all(f, err);
    if (status == CP_OK)
        status = check(f, &right, hex, err);
    if (status == CP_OK && !right && f->was_resumed) {
        status = begin_again(f, err);
        if (status == CP_OK)
            status = fetch_all(f, err);
        if (status == CP_OK)
            status = check(f, &right, hex, err);
    }
    if (status != CP_OK || right)
        return status;
    unlink(f->partial);
    return wrong_hash(f, hex, err);
}

static cp_status make_blob(fetch *f, cp_error *err) {
    f->fd = open(f->partial, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (f->fd < 0)
        return os_error(err, f->partial, "create");
    cp_status status = fetch_checked(f, err);
    if (status == CP_OK && (fsync(f->fd) != 0 || rename(f->partial, f->blob) != 0))
        status = os_error(err, f->partial, "put into place");
    close(f->fd);
    return status;
}

static uint64_t size_of(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) ? (uint64_t)info.st_size : UINT64_MAX;
}

static bool find_paths(const cp_hub_cache *cache, const cp_hub_file *file, char blob[CP_PATH_CAP],
                       char partial[CP_PATH_CAP], cp_error *err) {
    return cp_hub_cache_blob(cache, file->hash, "", blob, err) == CP_OK &&
           cp_hub_cache_blob(cache, file->hash, CP_HUB_INCOMPLETE, partial, err) == CP_OK;
}

uint64_t cp_hub_file_present(const cp_hub_cache *cache, const cp_hub_file *file) {
    char blob[CP_PATH_CAP], partial[CP_PATH_CAP];
    if (!find_paths(cache, file, blob, partial, NULL))
        return 0;
    if (size_of(blob) == file->size)
        return file->size;
    uint64_t some = size_of(partial);
    return some <= file->size ? some : 0;
}

cp_status cp_hub_file_fetch(const cp_hub_client *client, const cp_hub_cache *cache,
                            const char *repo, const char *commit, cp_hub_file *file,
                            cp_error *err) {
    int lock;
    fetch f = {.client = client, .place = {repo, commit, file->name}, .file = file};
    if (!find_paths(cache, file, f.blob, f.partial, err))
        return CP_ERR_LIMIT;
    cp_status status = cp_hub_cache_lock(cache, file->hash, client->stop, &lock, err);
    if (status != CP_OK)
        return status;
    file->was_there = size_of(f.blob) == file->size;
    if (!file->was_there)
        status = make_blob(&f, err);
    if (status == CP_OK) {
        atomic_store(&file->done, file->size);
        status = cp_hub_cache_link(cache, commit, file->name, file->hash, err);
    }
    cp_digest_free(f.digest);
    close(lock);
    return status;
}
