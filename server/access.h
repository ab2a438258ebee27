/* Who may ask: API keys from a file, their scopes, rates and daily quotas.
 *
 * Without a file (NULL) everybody may ask everything; the rules at start then allow loopback only.
 * The file is looked at again at most once a second (cp_access_tick) and read when it has changed;
 * one that cannot be read or has a fault is logged and the keys stay as they were. Rates and quotas
 * are kept by key id over such changes, in memory only: a restart forgets them. Any thread; one
 * lock, held for a look at the keys, never while a file is read. Secrets are in no log and no
 * error; ids are. */
#ifndef CP_SERVER_ACCESS_H
#define CP_SERVER_ACCESS_H

#include "server/access_keys.h"

typedef struct cp_access cp_access;

/* What the time is: the machine's, or a test's. */
typedef struct cp_access_clock {
    uint64_t (*monotonic_ns)(void *user); /* rates, and when to look at the file */
    int64_t (*unix_s)(void *user);        /* not_after, and the days of quotas (UTC) */
    void *user;
} cp_access_clock;

/* `clock` NULL: the machine's. Fails when the file cannot be read. */
cp_status cp_access_open(const char *path, const cp_access_clock *clock, cp_access **out,
                         cp_error *err) CP_MUST_CHECK;
void cp_access_close(cp_access *access); /* NULL is allowed */

typedef enum cp_access_verdict {
    CP_ACCESS_GRANTED,
    CP_ACCESS_NO_KEY,    /* no "Bearer" credentials */
    CP_ACCESS_WRONG_KEY, /* malformed, unknown id or wrong secret: not told apart */
    CP_ACCESS_EXPIRED,   /* right, but past not_after */
    CP_ACCESS_NO_SCOPE,
    CP_ACCESS_RATE,
    CP_ACCESS_QUOTA,
    CP_ACCESS_N_VERDICTS,
} cp_access_verdict;

typedef struct cp_access_answer {
    cp_access_verdict verdict;
    char id[CP_KEY_ID_CAP]; /* of the key, once its secret was right; "" before, and without keys */
    unsigned scopes;        /* of that key; CP_SCOPES_ALL without keys */
    int retry_after_s;      /* of RATE and QUOTA */
} cp_access_answer;

/* `authorization` is the header's value, "" when absent; `scope` what the request needs. A granted
 * request counts against the key's rate, a refused one does not. */
void cp_access_check(cp_access *access, const char *authorization, unsigned scope,
                     cp_access_answer *out);
/* The tokens that a request took, after its answer: they count against today's quota, which is
 * therefore overrun by the requests under way. An id that is no more is ignored. */
void cp_access_count(cp_access *access, const char *id, int64_t tokens);
/* To be called often, from a thread that may read a file. */
void cp_access_tick(cp_access *access);

size_t cp_access_n_keys(cp_access *access);
/* Changed files that could not be taken over since the start. */
uint64_t cp_access_n_bad_reloads(cp_access *access);

#endif
