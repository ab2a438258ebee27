#include "server/access.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/rate_limit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define LOOK_NS  1000000000u
#define DAY_S    86400
#define N_STAMPS 6

/* What changes when a file is replaced or written to; zeros when there is none. */
typedef struct file_stamp {
    int64_t of[N_STAMPS];
} file_stamp;

/* What a key has used. */
typedef struct usage {
    cp_rate_limit rate;
    int64_t day, tokens; /* of that day, counted from 1970 */
} usage;

struct cp_access {
    char *path;
    cp_access_clock clock;
    pthread_mutex_t lock;
    cp_access_keys keys;
    usage *usages; /* [keys.n] */
    uint64_t n_bad_reloads;
    /* Of the one thread that ticks. */
    file_stamp seen;
    uint64_t looked_ns;
};

static uint64_t machine_ns(void *user) {
    (void)user;
    return cp_clock_ns();
}

static int64_t machine_unix_s(void *user) {
    (void)user;
    return cp_clock_unix_s();
}

/* ---- the file -------------------------------------------------------------------------------- */

static file_stamp stamp_of(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0)
        return (file_stamp){{0}};
    return (file_stamp){{(int64_t)info.st_ino, info.st_size, info.st_mtim.tv_sec,
                         info.st_mtim.tv_nsec, info.st_ctim.tv_sec, info.st_ctim.tv_nsec}};
}

/* Usage for new keys: that of the key with the same id, or a fresh one. */
static usage *carry_over(const cp_access *access, const cp_access_keys *keys, uint64_t now_ns) {
    usage *usages = calloc(keys->n ? keys->n : 1, sizeof *usages);
    for (size_t i = 0; usages && i < keys->n; i++) {
        const cp_access_key *old = cp_keys_find(&access->keys, keys->keys[i].id);
        usages[i].rate = cp_rate_limit_start((uint64_t)keys->keys[i].burst, now_ns);
        if (old)
            usages[i] = access->usages[old - access->keys.keys];
    }
    return usages;
}

/* Reads the file and puts its keys in the place of the old ones, or leaves those. */
static cp_status take_over(cp_access *access, cp_error *err) {
    cp_access_keys keys;
    cp_status status = cp_keys_read(access->path, &keys, err);
    if (status == CP_OK) {
        pthread_mutex_lock(&access->lock);
        usage *usages = carry_over(access, &keys, access->clock.monotonic_ns(access->clock.user));
        if (usages) {
            const cp_access_keys old = access->keys;
            usage *old_usages = access->usages;
            access->keys = keys;
            access->usages = usages;
            keys = old;
            usages = old_usages;
        } else {
            status = cp_error_no_memory(err, "the keys' usage");
        }
        pthread_mutex_unlock(&access->lock);
        free(usages);
    }
    cp_keys_deinit(&keys);
    return status;
}

cp_status cp_access_open(const char *path, const cp_access_clock *clock, cp_access **out,
                         cp_error *err) {
    *out = NULL;
    cp_access *access = calloc(1, sizeof *access);
    char *copy = strdup(path);
    if (!access || !copy) {
        free(access);
        free(copy);
        return cp_error_no_memory(err, "the access table");
    }
    access->path = copy;
    access->clock =
        clock ? *clock : (cp_access_clock){.monotonic_ns = machine_ns, .unix_s = machine_unix_s};
    pthread_mutex_init(&access->lock, NULL);
    access->seen = stamp_of(path); /* before it is read: a change in between is seen later */
    access->looked_ns = access->clock.monotonic_ns(access->clock.user);
    cp_status status = take_over(access, err);
    if (status == CP_OK)
        *out = access;
    else
        cp_access_close(access);
    return status;
}

void cp_access_close(cp_access *access) {
    if (!access)
        return;
    cp_keys_deinit(&access->keys);
    free(access->usages);
    pthread_mutex_destroy(&access->lock);
    free(access->path);
    free(access);
}

void cp_access_tick(cp_access *access) {
    if (!access)
        return;
    uint64_t now_ns = access->clock.monotonic_ns(access->clock.user);
    if (now_ns - access->looked_ns < LOOK_NS)
        return;
    access->looked_ns = now_ns;
    file_stamp stamp = stamp_of(access->path);
    if (memcmp(&stamp, &access->seen, sizeof stamp) == 0)
        return;
    access->seen = stamp;
    cp_error err;
    if (take_over(access, &err) == CP_OK) {
        cp_log(CP_LOG_INFO, "API keys were read again", CP_LOG_I("keys", cp_access_n_keys(access)));
        return;
    }
    pthread_mutex_lock(&access->lock);
    access->n_bad_reloads++;
    pthread_mutex_unlock(&access->lock);
    cp_log(CP_LOG_ERROR, "the changed API keys cannot be read, the old ones stay in force",
           CP_LOG_S("reason", err.message));
}

/* ---- a request ------------------------------------------------------------------------------- */

/* What stands behind "Bearer ", in any case; NULL for another scheme. */
static const char *bearer(const char *authorization) {
    size_t scheme = strcspn(authorization, " ");
    if (scheme != 6 || strncasecmp(authorization, "Bearer", 6) != 0)
        return NULL;
    return authorization + 6 + strspn(authorization + 6, " ");
}

/* 0 when there is some of today's quota left, else the seconds until tomorrow. */
static int quota_wait_s(const cp_access_key *key, const usage *used, int64_t now_s) {
    bool spent = key->daily_quota_tokens > 0 && used->day == now_s / DAY_S &&
                 used->tokens >= key->daily_quota_tokens;
    return spent ? (int)(DAY_S - now_s % DAY_S) : 0;
}

static bool take_rate(const cp_access *access, const cp_access_key *key, usage *used,
                      int *retry_after_s) {
    if (key->rate_per_minute == 0)
        return true;
    return cp_rate_limit_take(&used->rate, (uint64_t)key->rate_per_minute, (uint64_t)key->burst,
                              access->clock.monotonic_ns(access->clock.user), retry_after_s);
}

/* The key's holder has shown its secret: what is still in the way? */
static cp_access_verdict weigh(cp_access *access, const cp_access_key *key, unsigned scope,
                               int *retry_after_s) {
    usage *used = &access->usages[key - access->keys.keys];
    int64_t now_s = access->clock.unix_s(access->clock.user);
    if (now_s > key->not_after)
        return CP_ACCESS_EXPIRED;
    if ((key->scopes & scope) != scope)
        return CP_ACCESS_NO_SCOPE;
    *retry_after_s = quota_wait_s(key, used, now_s);
    if (*retry_after_s > 0)
        return CP_ACCESS_QUOTA;
    return take_rate(access, key, used, retry_after_s) ? CP_ACCESS_GRANTED : CP_ACCESS_RATE;
}

void cp_access_check(cp_access *access, const char *authorization, unsigned scope,
                     cp_access_answer *out) {
    unsigned char secret[CP_KEY_SECRET_BYTES] = {0};
    char id[CP_KEY_ID_CAP] = "";
    *out = (cp_access_answer){.verdict = CP_ACCESS_GRANTED};
    if (!access) {
        out->scopes = CP_SCOPES_ALL;
        return;
    }
    const char *text = bearer(authorization);
    if (!text || !cp_key_parse(text, id, secret)) {
        out->verdict = text ? CP_ACCESS_WRONG_KEY : CP_ACCESS_NO_KEY;
        cp_wipe(secret, sizeof secret);
        return;
    }
    pthread_mutex_lock(&access->lock);
    const cp_access_key *key = cp_keys_find(&access->keys, id);
    if (cp_key_matches(key, secret)) {
        memcpy(out->id, key->id, sizeof out->id);
        out->scopes = key->scopes;
        out->verdict = weigh(access, key, scope, &out->retry_after_s);
    } else {
        out->verdict = CP_ACCESS_WRONG_KEY;
    }
    pthread_mutex_unlock(&access->lock);
    cp_wipe(secret, sizeof secret);
}

void cp_access_count(cp_access *access, const char *id, int64_t tokens) {
    if (!access || !*id || tokens <= 0)
        return;
    pthread_mutex_lock(&access->lock);
    const cp_access_key *key = cp_keys_find(&access->keys, id);
    if (key) {
        usage *used = &access->usages[key - access->keys.keys];
        int64_t day = access->clock.unix_s(access->clock.user) / DAY_S;
        if (used->day != day)
            *used = (usage){.rate = used->rate, .day = day};
        used->tokens += tokens < INT64_MAX - used->tokens ? tokens : INT64_MAX - used->tokens;
    }
    pthread_mutex_unlock(&access->lock);
}

size_t cp_access_n_keys(cp_access *access) {
    if (!access)
        return 0;
    pthread_mutex_lock(&access->lock);
    size_t n = access->keys.n;
    pthread_mutex_unlock(&access->lock);
    return n;
}

uint64_t cp_access_n_bad_reloads(cp_access *access) {
    if (!access)
        return 0;
    pthread_mutex_lock(&access->lock);
    uint64_t n = access->n_bad_reloads;
    pthread_mutex_unlock(&access->lock);
    return n;
}
