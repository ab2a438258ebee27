#include "server/audit_model.h"

#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_FILES   1024
#define MAX_LIST    ((size_t)1 << 20)
#define CACHE_FORM  "%s %s %s\n" /* what the files looked like, the hash, the mark of both */
#define CACHE_BYTES (3 * (CP_AUDIT_HEX + 1))

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

/* Also the index of shards and chat templates; not READMEs and pictures. */
static int counts(const struct dirent *entry) {
    const char *name = entry->d_name;
    return ends_with(name, ".safetensors") || ends_with(name, ".json") || ends_with(name, ".jinja");
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static cp_status look(const char *path, const char *name, cp_strbuf *list, cp_error *err) {
    struct stat info;
    if (stat(path, &info) != 0)
        return cp_error_set(err, CP_ERR_IO, "%s: cannot stat: %s", path, strerror(errno));
    cp_strbuf_printf(list, "%s %ju %jd.%ld %jd.%ld %ju %ju\n", name, (uintmax_t)info.st_size,
                     (intmax_t)info.st_mtim.tv_sec, info.st_mtim.tv_nsec,
                     (intmax_t)info.st_ctim.tv_sec, info.st_ctim.tv_nsec, (uintmax_t)info.st_ino,
                     (uintmax_t)info.st_dev);
    return CP_OK;
}

static cp_status read_whole(const char *path, const char *name, cp_strbuf *list, cp_error *err) {
    cp_mapping file;
    char hash[CP_AUDIT_HEX_CAP];
    cp_status status = cp_file_map(path, &file, err);
    if (status != CP_OK)
        return status;
    status = cp_audit_sha256((cp_str){(const char *)file.data, file.n_bytes}, hash, err);
    cp_strbuf_printf(list, "%s %zu %s\n", name, file.n_bytes, hash);
    status = cp_file_check_whole(&file, path, status, err);
    cp_file_unmap(&file);
    return status;
}

/* The SHA-256 of what `describe` says about each file. */
static cp_status hash_list(const char *dir,
                           cp_status (*describe)(const char *path, const char *name,
                                                 cp_strbuf *list, cp_error *err),
                           char out[CP_AUDIT_HEX_CAP], cp_error *err) {
    struct dirent **names;
    cp_strbuf list;
    int n = scandir(dir, &names, counts, by_name);
    if (n < 0)
        return cp_error_set(err, CP_ERR_IO, "%s: cannot read: %s", dir, strerror(errno));
    cp_strbuf_init(&list, MAX_LIST);
    cp_status status = n <= MAX_FILES ? CP_OK
                                      : cp_error_set(err, CP_ERR_LIMIT, "%s: %d files, at most %d",
                                                     dir, n, MAX_FILES);
    for (int i = 0; i < n; i++) {
        char path[CP_PATH_CAP];
        if (status == CP_OK)
            status = cp_path_join(dir, names[i]->d_name, path, sizeof path, err);
        if (status == CP_OK)
            status = describe(path, names[i]->d_name, &list, err);
        free(names[i]);
    }
    free(names);
    if (status == CP_OK)
        status = cp_strbuf_check(&list, "list of model files", err);
    if (status == CP_OK)
        status = cp_audit_sha256(cp_strbuf_str(&list), out, err);
    cp_strbuf_deinit(&list);
    return status;
}

static cp_status mark_of(const cp_audit_keys *keys, const char *looks, const char *hash,
                         char mark[CP_AUDIT_HEX_CAP], cp_error *err) {
    char text[2 * CP_AUDIT_HEX_CAP + 16];
    int n = snprintf(text, sizeof text, "model %s %s", looks, hash);
    return cp_audit_chain_mark(keys, (cp_str){text, (size_t)n}, mark, err);
}

static bool remembered(const char *path, const cp_audit_keys *keys, const char *looks,
                       char out[CP_AUDIT_HEX_CAP]) {
    cp_strbuf text;
    char mark[CP_AUDIT_HEX_CAP], want[CACHE_BYTES + 1], hash[CP_AUDIT_HEX_CAP];
    bool found = false;
    if (cp_file_read(path, CACHE_BYTES, &text, NULL) == CP_OK &&
        sscanf(cp_strbuf_text(&text), "%*64[0-9a-f] %64[0-9a-f]", hash) == 1 &&
        mark_of(keys, looks, hash, mark, NULL) == CP_OK) {
        snprintf(want, sizeof want, CACHE_FORM, looks, hash, mark);
        found = cp_str_is(cp_strbuf_str(&text), want);
    }
    cp_strbuf_deinit(&text);
    if (found)
        memcpy(out, hash, sizeof hash);
    return found;
}

cp_status cp_audit_model_hash(const char *dir, const char *cache_path, const cp_audit_keys *keys,
                              char out[CP_AUDIT_HEX_CAP], cp_error *err) {
    char looks[CP_AUDIT_HEX_CAP], mark[CP_AUDIT_HEX_CAP], line[CACHE_BYTES + 1];
    out[0] = '\0';
    cp_status status = hash_list(dir, look, looks, err);
    if (status != CP_OK || (cache_path && remembered(cache_path, keys, looks, out)))
        return status;
    status = hash_list(dir, read_whole, out, err);
    if (status == CP_OK && cache_path && mark_of(keys, looks, out, mark, NULL) == CP_OK) {
        int n = snprintf(line, sizeof line, CACHE_FORM, looks, out, mark);
        /* Only a shortcut: where it cannot be written, the next start computes again. */
        cp_status kept = cp_file_write(cache_path, (cp_str){line, (size_t)n}, NULL);
        (void)kept;
    }
    return status;
}
