#include "tests/hub_api.h"

#include "tests/load_server.h"

#include "base/crypto.h"
#include "base/file.h"

#include <dirent.h>
#include <strings.h>
#include <sys/socket.h>

#define MAX_FILES   32
#define LARGE_BYTES ((size_t)64 << 10)
#define PIECE       ((size_t)16 << 10)

typedef struct hub_file {
    char name[256], hash[CP_DIGEST_HEX_CAP];
    cp_strbuf bytes;
} hub_file;

test_hub_orders test_hub;
static load_server hub, store;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what follows */
static hub_file files[MAX_FILES];
static size_t n_files, n_requests, n_gets, bytes_sent;
static int n_asked; /* requests since the start */
static char fault[128];

static void complain(const char *what) {
    if (!fault[0])
        snprintf(fault, sizeof fault, "%s", what);
}

/* ---- what a request says --------------------------------------------------------------------- */

static bool field_of(const char *head, const char *name, char *out, size_t cap) {
    size_t n = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, n) == 0 && line[2 + n] == ':') {
            const char *value = line + 3 + n;
            value += strspn(value, " ");
            snprintf(out, cap, "%.*s", (int)strcspn(value, "\r"), value);
            return true;
        }
    return false;
}

static const char *repo(void) {
    return test_hub.repo ? test_hub.repo : TEST_HUB_REPO;
}

static const hub_file *find_file(const char *name) {
    for (size_t i = 0; i < n_files; i++)
        if (strcmp(files[i].name, name) == 0)
            return &files[i];
    return NULL;
}

/* The part behind the last slash, without a query. */
static void last_part(const char *path, char *out, size_t cap) {
    const char *slash = strrchr(path, '/');
    snprintf(out, cap, "%.*s", (int)strcspn(slash + 1, "?"), slash + 1);
}

static cp_str content_of(const hub_file *file) {
    if (test_hub.index && strcmp(file->name, "model.safetensors.index.json") == 0)
        return (cp_str){test_hub.index, strlen(test_hub.index)};
    return cp_strbuf_str(&file->bytes);
}

/* A SHA-256 for large files, git's hash for others. */
static void hash_of(const hub_file *file, char out[CP_DIGEST_HEX_CAP]) {
    cp_error err;
    cp_digest *digest;
    cp_str bytes = content_of(file);
    bool large = bytes.n > LARGE_BYTES;
    char head[32];
    int n = snprintf(head, sizeof head, "blob %zu", bytes.n);
    assert_cp_ok(cp_digest_begin(large ? CP_DIGEST_SHA256 : CP_DIGEST_SHA1, &digest, &err));
    if (!large)
        assert_cp_ok(cp_digest_add(digest, (cp_str){head, (size_t)n + 1}, &err));
    assert_cp_ok(cp_digest_add(digest, bytes, &err));
    assert_cp_ok(cp_digest_end(digest, out, &err));
    cp_digest_free(digest);
}

/* ---- what it gets ---------------------------------------------------------------------------- */

static bool send_bytes(const load_exchange *x, const char *bytes, size_t n) {
    while (n > 0) {
        size_t some = n < PIECE ? n : PIECE;
        ssize_t put = send(x->fd, bytes, some, MSG_NOSIGNAL);
        if (put <= 0)
            return false;
        bytes += put;
        n -= (size_t)put;
        pthread_mutex_lock(&lock);
        bytes_sent += (size_t)put;
        pthread_mutex_unlock(&lock);
        if (test_hub.sleep_ms)
            load_sleep_ms(test_hub.sleep_ms);
    }
    return true;
}

/* How many of n bytes are sent before the connection drops; n: all. */
static size_t where_to_drop(size_t n, bool *drops) {
    pthread_mutex_lock(&lock);
    *drops = test_hub.n_drops > 0 && n > 0;
    if (*drops)
        test_hub.n_drops--;
    size_t at = !*drops ? n : test_hub.drops_at_once ? 0 : 1 + test_random(&test_hub.seed) % n;
    pthread_mutex_unlock(&lock);
    return at;
}

/* The file or the part of it that was asked for. */
static bool send_content(const load_exchange *x, const hub_file *file, const char *fields) {
    char range[64] = "", head[1024];
    cp_str all = content_of(file);
    size_t from = 0;
    bool drops, part = field_of(x->head, "Range", range, sizeof range) && !test_hub.no_ranges;
    if (part)
        sscanf(range, "bytes=%zu-", &from);
    if (part && from >= all.n)
        return load_answer(x, 416, "", "");
    if (part && test_hub.other_part)
        from = from > 1 ? from - 1 : from + 1;
    size_t n = all.n - from, announced = (size_t)((long long)n + test_hub.size_lie);
    int used = snprintf(head, sizeof head, "HTTP/1.1 %d OK\r\n%sContent-Length: %zu\r\n",
                        part ? 206 : 200, fields, announced);
    if (part)
        used += snprintf(head + used, sizeof head - (size_t)used,
                         "Content-Range: bytes %zu-%zu/%zu\r\n", from, all.n - 1, all.n);
    snprintf(head + used, sizeof head - (size_t)used, "\r\n");
    pthread_mutex_lock(&lock);
    n_gets++;
    pthread_mutex_unlock(&lock);
    if (!load_send(x, head))
        return false;
    char *bytes = malloc(n + 4096);
    assert_non_null(bytes);
    memcpy(bytes, all.data + from, n);
    memset(bytes + n, 'x', 4096);
    if (test_hub.wrong_bytes && all.n > LARGE_BYTES)
        bytes[n - 1] ^= 1;
    size_t whole = announced < n ? announced : n;
    size_t end = where_to_drop(whole, &drops);
    bool sent = send_bytes(x, bytes, end);
    if (sent && !drops && announced > n && announced - n <= 4096)
        sent = send_bytes(x, bytes + n, announced - n);
    free(bytes);
    return sent && !drops && announced <= n + 4096;
}

/* The second server: signed URLs, no tokens, ETags of its own. */
static bool on_store(const load_exchange *x) {
    char path[512] = "", name[128], token[64];
    sscanf(x->head, "%*s %511s", path);
    last_part(path, name, sizeof name);
    pthread_mutex_lock(&lock);
    n_requests++;
    const hub_file *file = find_file(name);
    if (field_of(x->head, "Authorization", token, sizeof token))
        complain("the token arrived at another server");
    bool expired = test_hub.expire > 0 && test_hub.expire--;
    pthread_mutex_unlock(&lock);
    if (expired)
        return load_answer(x, 403, "", "expired");
    if (!file || !strstr(path, "?signature="))
        return load_answer(x, 404, "", "none");
    return send_content(x, file, "ETag: \"0123456789abcdef-2\"\r\n");
}

static bool refuse(const load_exchange *x, int status, const char *code) {
    char fields[256];
    int n = snprintf(fields, sizeof fields, "X-Error-Code: %s\r\n", code);
    if (test_hub.retry_after)
        snprintf(fields + n, sizeof fields - (size_t)n, "Retry-After: %s\r\n",
                 test_hub.retry_after);
    bool is_head = strncmp(x->head, "HEAD ", 5) == 0;
    if (!is_head)
        return load_answer(x, status, fields, "{\"error\":\"as ordered\"}");
    char head[512];
    snprintf(head, sizeof head, "HTTP/1.1 %d No\r\n%sContent-Length: 22\r\n\r\n", status, fields);
    return load_send(x, head);
}

/* Whoever may not: an answer was sent. */
static bool refuses(const load_exchange *x, bool *stays) {
    char token[128] = "", want[128];
    bool has = field_of(x->head, "Authorization", token, sizeof token);
    snprintf(want, sizeof want, "Bearer %s", test_hub.token ? test_hub.token : "");
    pthread_mutex_lock(&lock);
    bool busy = test_hub.n_refusals > 0 && test_hub.n_refusals--;
    pthread_mutex_unlock(&lock);
    if (busy)
        *stays = refuse(x, test_hub.refusal, "Busy");
    else if (test_hub.token && (!has || strcmp(token, want) != 0))
        *stays = refuse(x, 401, test_hub.gated ? "GatedRepo" : "RepoNotFound");
    else if (test_hub.gated)
        *stays = refuse(x, has ? 403 : 401, "GatedRepo");
    else
        return false;
    return true;
}

static bool redirect(const load_exchange *x, int status, const char *fields, const char *to) {
    char head[2048];
    snprintf(head, sizeof head,
             "HTTP/1.1 %d Moved\r\n%sLocation: %s\r\nContent-Length: %d\r\n\r\n%s", status, fields,
             to, 5, strncmp(x->head, "HEAD ", 5) == 0 ? "" : "moved");
    return load_send(x, head);
}

/* The fields that say what a file is. */
static void describe(const hub_file *file, bool is_head, char *out, size_t cap) {
    char hash[CP_DIGEST_HEX_CAP];
    cp_str bytes = content_of(file);
    bool large = bytes.n > LARGE_BYTES;
    hash_of(file, hash);
    bool changed = test_hub.change_after && n_asked >= test_hub.change_after;
    if (changed || (test_hub.change_silently && !is_head))
        hash[0] = hash[0] == '0' ? '1' : '0';
    int n = 0;
    if (!test_hub.no_commit)
        n = snprintf(out, cap, "X-Repo-Commit: %s\r\n", changed ? TEST_HUB_OLD : TEST_HUB_COMMIT);
    if (test_hub.no_hash)
        snprintf(out + n, cap - (size_t)n, "ETag: \"of no use\"\r\n");
    else if (large)
        snprintf(out + n, cap - (size_t)n, "X-Linked-Etag: \"%s\"\r\nX-Linked-Size: %llu\r\n", hash,
                 test_hub.size ? test_hub.size : (unsigned long long)bytes.n);
    else
        snprintf(out + n, cap - (size_t)n, "ETag: \"%s\"\r\n", hash);
}

static bool serve_file(const load_exchange *x, const char *path, const hub_file *file) {
    char fields[512], to[512];
    bool is_head = strncmp(x->head, "HEAD ", 5) == 0, resolved = strstr(path, "/resolve-cache/");
    cp_str bytes = content_of(file);
    describe(file, is_head, fields, sizeof fields);
    if (test_hub.ring)
        return redirect(x, 302, fields, path);
    if (test_hub.location && (!is_head || bytes.n <= LARGE_BYTES))
        return redirect(x, 302, fields, test_hub.location);
    if (bytes.n > LARGE_BYTES) {
        snprintf(to, sizeof to, "%s/bucket/%s?signature=abc%%3D", store.url, file->name);
        return redirect(x, 302, fields, to);
    }
    if (!resolved) {
        snprintf(to, sizeof to, "/api/resolve-cache/models/%s/x/%s", repo(), file->name);
        return redirect(x, 307, fields, to);
    }
    if (!is_head)
        return send_content(x, file, fields);
    char head[1024];
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\n%sContent-Length: %zu\r\n\r\n", fields,
             bytes.n);
    return load_send(x, head);
}

static bool known_revision(const char *path) {
    static const char *const known[] = {"/resolve/main/", "/resolve/" TEST_HUB_COMMIT "/",
                                        "/resolve/refs%2Fpr%2F1/", "/resolve-cache/"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strstr(path, known[i]))
            return true;
    return false;
}

static bool on_hub(const load_exchange *x) {
    char path[512] = "", name[128];
    bool stays = true;
    sscanf(x->head, "%*s %511s", path);
    last_part(path, name, sizeof name);
    pthread_mutex_lock(&lock);
    n_requests++;
    n_asked++;
    const hub_file *file = find_file(name);
    pthread_mutex_unlock(&lock);
    if (refuses(x, &stays))
        return stays;
    if (!strstr(path, repo()))
        return refuse(x, 404, "RepoNotFound");
    if (!known_revision(path))
        return refuse(x, 404, "RevisionNotFound");
    return file ? serve_file(x, path, file) : refuse(x, 404, "EntryNotFound");
}

/* ---- life ------------------------------------------------------------------------------------ */

static void read_folder(const char *folder) {
    cp_error err;
    const struct dirent *entry;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        assert_true(n_files < MAX_FILES);
        hub_file *file = &files[n_files++];
        snprintf(file->name, sizeof file->name, "%s", entry->d_name);
        assert_cp_ok(cp_file_read(test_path(folder, file->name), 1 << 26, &file->bytes, &err));
    }
    closedir(dir);
}

void test_hub_start(const char *folder) {
    test_hub = (test_hub_orders){.seed = 1};
    n_files = n_requests = n_gets = bytes_sent = 0;
    n_asked = 0;
    fault[0] = '\0';
    read_folder(folder);
    load_server_start(&store, on_store);
    load_server_start(&hub, on_hub);
}

void test_hub_stop(void) {
    load_server_stop(&hub);
    load_server_stop(&store);
    for (size_t i = 0; i < n_files; i++)
        cp_strbuf_deinit(&files[i].bytes);
    n_files = 0;
    if (fault[0])
        fail_msg("%s", fault);
}

const char *test_hub_url(void) {
    return hub.url;
}

static size_t take(size_t *count, bool resets) {
    pthread_mutex_lock(&lock);
    size_t n = *count;
    if (resets)
        *count = 0;
    pthread_mutex_unlock(&lock);
    return n;
}

size_t test_hub_n_requests(void) {
    return take(&n_requests, true);
}

size_t test_hub_n_gets(void) {
    return take(&n_gets, false);
}

size_t test_hub_bytes_sent(void) {
    return take(&bytes_sent, false);
}
