#include "server/phi_guard.h"

#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/phi_scrub.h"

#include <pthread.h>
#include <string.h>

#define MAX_NAMES                                                                                  \
    ((size_t)1 << 20) /* no more are learned: patterns and the embedded store stay                 \
                       */

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER; /* of the next two */
static cp_phi *phi;
static cp_phi_names *names;
static unsigned char session_key[32]; /* random, of this process; set before the filter is */

void cp_phi_guard_append(cp_str text, cp_strbuf *out) {
    pthread_rwlock_rdlock(&lock);
    if (phi) {
        cp_status status = cp_phi_scrub(phi, NULL, names, text, out);
        (void)status; /* then it has masked the whole */
    } else {
        cp_strbuf_puts(out, "[TEXT]");
    }
    pthread_rwlock_unlock(&lock);
}

void cp_phi_guard_learn(const cJSON *patient) {
    cp_error err;
    pthread_rwlock_wrlock(&lock);
    bool failed = names && cp_phi_names_n(names) < MAX_NAMES &&
                  cp_phi_names_add_patient(names, patient, &err) != CP_OK;
    pthread_rwlock_unlock(&lock);
    if (failed)
        cp_log(CP_LOG_WARN, "names could not be learned");
}

static void learn_one(void *user, const cJSON *patient) {
    (void)user;
    cp_phi_guard_learn(patient);
}

/* Fields whose values are ours or have passed a check that leaves no room for words. */
static bool is_ours(const char *key) {
    static const char *const keys[] = {
        "trace_id", "route", "code",   "key",  "source", "degraded", "finish_reason",
        "model",    "store", "sha256", "last", "isa",    "kv",       "state",
    };
    for (size_t i = 0; i < CP_COUNT_OF(keys); i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

/* 32 hex digits, alone (a trace id) or parted by hyphens (a UUID): no room for words. */
static bool is_machine_made(cp_str text) {
    size_t n_digits = 0;
    for (size_t i = 0; i < text.n; i++) {
        bool is_digit = strchr("0123456789abcdefABCDEF", text.data[i]) && text.data[i];
        if (!is_digit && text.data[i] != '-')
            return false;
        n_digits += is_digit;
    }
    return n_digits == 32;
}

/* A client chose it and may have put a name into it: lines of one session, or of one request, can
 * be told by a hash that means nothing outside this process. */
static void append_chosen(cp_str text, cp_strbuf *out) {
    cp_sha256 hash;
    char hex[17];
    if (cp_hmac_sha256((cp_str){(const char *)session_key, sizeof session_key}, text, &hash,
                       NULL) != CP_OK)
        return;
    cp_hex(hash.bytes, sizeof hex / 2, hex);
    cp_strbuf_puts(out, hex);
}

static void filter(const char *key, cp_str text, cp_strbuf *out) {
    bool is_request = strcmp(key, "request_id") == 0;
    if (strcmp(key, "session_id") == 0 || (is_request && !is_machine_made(text)))
        append_chosen(text, out);
    else if (is_request || is_ours(key))
        cp_strbuf_append(out, text.data, text.n);
    else
        cp_phi_guard_append(text, out);
}

cp_status cp_phi_guard_start(cp_patient_store *store, cp_error *err) {
    cp_phi *made;
    cp_phi_names *list;
    cp_status status = cp_random_bytes(session_key, sizeof session_key, err);
    if (status == CP_OK)
        status = cp_phi_create(&made, err);
    if (status != CP_OK)
        return status;
    status = cp_phi_names_create(false, &list, err);
    if (status != CP_OK) {
        cp_phi_free(made);
        return status;
    }
    pthread_rwlock_wrlock(&lock);
    phi = made;
    names = list;
    pthread_rwlock_unlock(&lock);
    if (store->each)
        store->each(store, learn_one, NULL);
    cp_log_set_filter(filter);
    return CP_OK;
}

void cp_phi_guard_stop(void) {
    cp_log_set_filter(NULL);
    pthread_rwlock_wrlock(&lock);
    cp_phi_free(phi);
    cp_phi_names_free(names);
    phi = NULL;
    names = NULL;
    pthread_rwlock_unlock(&lock);
}
