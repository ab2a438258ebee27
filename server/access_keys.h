/* API keys and the file that holds them.
 *
 * A key is "cpk_<id>_<secret>": an id that may be shown and logged, and 256 random bits as 64
 * hexadecimal digits that are shown once. The file holds a hash of the secret only: SHA-256 with a
 * salt of its own, which is enough for secrets that nobody can guess. The file:
 *
 *     {"version": 1, "keys": [{"id": "ward-3", "salt": "<32 hex>", "hash": "<64 hex>",
 *       "scopes": ["triage", "chat"], "rate_per_minute": 60, "burst": 20,
 *       "daily_quota_tokens": 0, "not_after": "2027-06-30T00:00:00Z"}]}
 *
 * Every member but not_after is required, null there means for ever, a quota or rate of 0 none. A
 * file with one fault is refused as a whole. A list is a plain value of its owner. */
#ifndef CP_SERVER_ACCESS_KEYS_H
#define CP_SERVER_ACCESS_KEYS_H

#include "base/clock.h"
#include "base/crypto.h"
#include "base/json_writer.h"

#include <stdint.h>

#define CP_KEY_ID_CAP       33 /* 1 to 32 of a-z 0-9 - */
#define CP_KEY_SECRET_BYTES 32
#define CP_KEY_SALT_BYTES   16
#define CP_KEY_TEXT_CAP     (4 + CP_KEY_ID_CAP + 2 * CP_KEY_SECRET_BYTES + 1)
#define CP_KEYS_MAX         1024
#define CP_KEY_MAX_QUOTA    1000000000000

/* What a key may ask for; a set of bits. */
typedef enum cp_scope {
    CP_SCOPE_TRIAGE = 1,
    CP_SCOPE_CHAT = 2,
    CP_SCOPE_PATIENTS_READ = 4,
    CP_SCOPE_ADMIN = 8,
    CP_SCOPE_METRICS = 16,
    CP_SCOPE_PATIENTS_WRITE = 32,
    CP_SCOPE_OPEN = 64, /* of a route: no key is needed. No key has it */
} cp_scope;
#define CP_SCOPES_ALL 63u

/* "patients:read"; NULL for what is no single scope. */
const char *cp_scope_name(unsigned scope);
/* "triage,chat", at least one and none twice. */
cp_status cp_scopes_parse(cp_str text, unsigned *out, cp_error *err) CP_MUST_CHECK;

typedef struct cp_access_key {
    char id[CP_KEY_ID_CAP];
    unsigned char salt[CP_KEY_SALT_BYTES];
    cp_sha256 hash;             /* of salt and secret */
    unsigned scopes;            /* cp_scope */
    int64_t rate_per_minute;    /* 0: none */
    int64_t burst;              /* 1 or more */
    int64_t daily_quota_tokens; /* 0: none */
    int64_t not_after;          /* Unix seconds; INT64_MAX: for ever */
} cp_access_key;

typedef struct cp_access_keys {
    cp_access_key *keys;
    size_t n, cap;
} cp_access_keys;

bool cp_key_id_is_valid(const char *id);
/* Fills id, salt and hash of `key` and writes the text that its holder gets. */
cp_status cp_key_make(const char *id, cp_access_key *key, char text[CP_KEY_TEXT_CAP],
                      cp_error *err) CP_MUST_CHECK;
/* Takes "cpk_<id>_<secret>" apart; false when it is none. */
bool cp_key_parse(const char *text, char id[CP_KEY_ID_CAP],
                  unsigned char secret[CP_KEY_SECRET_BYTES]) CP_MUST_CHECK;
/* not_after as text, "" for ever. */
void cp_key_until(const cp_access_key *key, char out[CP_CLOCK_UTC_CAP]);
/* As an object: all that the file holds, or what may be shown. */
void cp_key_append(cp_json_writer *w, const cp_access_key *key, bool with_hash);
/* The key with this id, or NULL. Looks at every one. */
const cp_access_key *cp_keys_find(const cp_access_keys *keys, const char *id);
/* Whether `secret` is the key's. As long for a NULL key, which has none. */
bool cp_key_matches(const cp_access_key *key, const unsigned char secret[CP_KEY_SECRET_BYTES]);

/* Reads the file, whose permissions must be those of cp_file_check_private. Errors name the file,
 * the key and the field. cp_keys_deinit when done, also after failure. CP_ERR_NOT_FOUND when there
 * is no such file. */
cp_status cp_keys_read(const char *path, cp_access_keys *out, cp_error *err) CP_MUST_CHECK;
cp_status cp_keys_parse(const char *source, cp_str text, cp_access_keys *out,
                        cp_error *err) CP_MUST_CHECK;
cp_status cp_keys_write(const char *path, const cp_access_keys *keys, cp_error *err) CP_MUST_CHECK;
/* At the end; CP_ERR_LIMIT when there are CP_KEYS_MAX. */
cp_status cp_keys_add(cp_access_keys *keys, const cp_access_key *key, cp_error *err) CP_MUST_CHECK;
void cp_keys_deinit(cp_access_keys *keys);

#endif
