#include "server/access_keys.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "server/rate_limit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_VERSION   1
#define MAX_FILE_BYTES ((size_t)1 << 20)

#define PREFIX     "cpk_"
#define SOURCE_CAP 256

static const char *const scope_names[] = {"triage", "chat",    "patients:read",
                                          "admin",  "metrics", "patients:write"};

const char *cp_scope_name(unsigned scope) {
    for (size_t i = 0; i < CP_COUNT_OF(scope_names); i++)
        if (scope == 1u << i)
            return scope_names[i];
    return NULL;
}

/* Adds the scope of this name to the set. */
static cp_status add_scope(cp_str name, unsigned *set, cp_error *err) {
    for (size_t i = 0; i < CP_COUNT_OF(scope_names); i++) {
        if (!cp_str_is(name, scope_names[i]))
            continue;
        if (*set & 1u << i)
            return cp_error_set(err, CP_ERR_FORMAT, "scopes names %s twice", scope_names[i]);
        *set |= 1u << i;
        return CP_OK;
    }
    return cp_error_set(err, CP_ERR_FORMAT,
                        "scopes has \"%.*s\", expected triage, chat, patients:read, "
                        "patients:write, admin or metrics",
                        (int)(name.n < 40 ? name.n : 40), name.data);
}

cp_status cp_scopes_parse(cp_str text, unsigned *out, cp_error *err) {
    *out = 0;
    for (size_t at = 0; at <= text.n;) {
        const char *comma = at < text.n ? memchr(text.data + at, ',', text.n - at) : NULL;
        size_t end = comma ? (size_t)(comma - text.data) : text.n;
        cp_status status = add_scope((cp_str){text.data + at, end - at}, out, err);
        if (status != CP_OK)
            return status;
        at = end + 1;
    }
    return CP_OK;
}

/* ---- one key --------------------------------------------------------------------------------- */

bool cp_key_id_is_valid(const char *id) {
    size_t n = strlen(id);
    return n > 0 && n < CP_KEY_ID_CAP && strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

static cp_status hash_secret(const unsigned char salt[CP_KEY_SALT_BYTES],
                             const unsigned char secret[CP_KEY_SECRET_BYTES], cp_sha256 *out,
                             cp_error *err) {
    const cp_str parts[] = {{(const char *)salt, CP_KEY_SALT_BYTES},
                            {(const char *)secret, CP_KEY_SECRET_BYTES}};
    return cp_sha256_of_parts(parts, CP_COUNT_OF(parts), out, err);
}

cp_status cp_key_make(const char *id, cp_access_key *key, char text[CP_KEY_TEXT_CAP],
                      cp_error *err) {
    unsigned char secret[CP_KEY_SECRET_BYTES];
    if (!cp_key_id_is_valid(id))
        return cp_error_set(err, CP_ERR_USAGE,
                            "the id \"%.40s\" is no name of 1 to 32 letters a-z, digits and '-'",
                            id);
    snprintf(key->id, sizeof key->id, "%s", id);
    cp_status status = cp_random_bytes(key->salt, sizeof key->salt, err);
    if (status == CP_OK)
        status = cp_random_bytes(secret, sizeof secret, err);
    if (status == CP_OK)
        status = hash_secret(key->salt, secret, &key->hash, err);
    if (status == CP_OK) {
        int n = snprintf(text, CP_KEY_TEXT_CAP, PREFIX "%s_", id);
        cp_hex(secret, sizeof secret, text + n);
    }
    cp_wipe(secret, sizeof secret);
    return status;
}

bool cp_key_parse(const char *text, char id[CP_KEY_ID_CAP],
                  unsigned char secret[CP_KEY_SECRET_BYTES]) {
    size_t prefix = sizeof PREFIX - 1;
    if (strncmp(text, PREFIX, prefix) != 0)
        return false;
    text += prefix;
    size_t n = strcspn(text, "_");
    if (text[n] != '_' || n == 0 || n >= CP_KEY_ID_CAP)
        return false;
    memcpy(id, text, n);
    id[n] = '\0';
    text += n + 1;
    return cp_key_id_is_valid(id) &&
           cp_unhex((cp_str){text, strlen(text)}, secret, CP_KEY_SECRET_BYTES);
}

void cp_key_until(const cp_access_key *key, char out[CP_CLOCK_UTC_CAP]) {
    out[0] = '\0';
    if (key->not_after != INT64_MAX)
        cp_clock_format_utc(key->not_after, out);
}

const cp_access_key *cp_keys_find(const cp_access_keys *keys, const char *id) {
    const cp_access_key *found = NULL;
    for (size_t i = 0; i < keys->n; i++)
        if (strcmp(keys->keys[i].id, id) == 0)
            found = &keys->keys[i];
    return found;
}

bool cp_key_matches(const cp_access_key *key, const unsigned char secret[CP_KEY_SECRET_BYTES]) {
    static const cp_access_key nobody; /* a hash of zeros, which no secret has */
    const cp_access_key *looked_at = key ? key : &nobody;
    cp_sha256 hash;
    bool ok = hash_secret(looked_at->salt, secret, &hash, NULL) == CP_OK;
    ok = cp_equal_secret(hash.bytes, looked_at->hash.bytes, sizeof hash.bytes) && ok;
    cp_wipe(&hash, sizeof hash);
    return ok && key;
}

/* ---- reading --------------------------------------------------------------------------------- */

static cp_status check_members(const cJSON *object, const char *const *known, size_t n_known,
                               const char *source, cp_error *err) {
    for (const cJSON *member = object->child; member; member = member->next) {
        size_t i = 0;
        while (i < n_known && strcmp(known[i], member->string) != 0)
            i++;
        if (i == n_known)
            return cp_error_set(err, CP_ERR_FORMAT, "%s: unknown field \"%.40s\"", source,
                                member->string);
    }
    return CP_OK;
}

static cp_status read_hex(const cJSON *object, const char *source, const char *field, void *out,
                          size_t n, cp_error *err) {
    const char *text;
    cp_status status = cp_json_get_string(object, source, field, &text, err);
    if (status == CP_OK && !cp_unhex((cp_str){text, strlen(text)}, out, n))
        status = cp_error_set(err, CP_ERR_FORMAT, "%s: %s is not %zu lower-case hexadecimal digits",
                              source, field, 2 * n);
    return status;
}

static cp_status read_scopes(const cJSON *object, const char *source, unsigned *out,
                             cp_error *err) {
    const cJSON *list = cp_json_member(object, "scopes"), *name;
    *out = 0;
    if (!cJSON_IsArray(list) || !list->child)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: scopes is no list of one scope or more",
                            source);
    cJSON_ArrayForEach(name, list) {
        const char *text = cJSON_IsString(name) ? name->valuestring : "";
        if (add_scope((cp_str){text, strlen(text)}, out, err) != CP_OK)
            return cp_error_prefix(err, "%s", source);
    }
    return CP_OK;
}

static cp_status read_not_after(const cJSON *object, const char *source, int64_t *out,
                                cp_error *err) {
    const char *text;
    cp_status status = cp_json_get_string(object, source, "not_after", &text, err);
    *out = INT64_MAX;
    if (status == CP_OK && !cp_clock_parse_utc(text, out))
        status = cp_error_set(err, CP_ERR_FORMAT,
                              "%s: not_after is no time such as 2027-06-30T00:00:00Z", source);
    return cp_json_optional(status);
}

static cp_status read_limits(const cJSON *object, const char *source, cp_access_key *key,
                             cp_error *err) {
    cp_status status = cp_json_get_int(object, source, "rate_per_minute", 0, CP_RATE_MAX,
                                       &key->rate_per_minute, err);
    if (status == CP_OK)
        status = cp_json_get_int(object, source, "burst", 1, CP_RATE_MAX, &key->burst, err);
    if (status == CP_OK)
        status = cp_json_get_int(object, source, "daily_quota_tokens", 0, CP_KEY_MAX_QUOTA,
                                 &key->daily_quota_tokens, err);
    return status;
}

/* The id first: what follows names the key by it. */
static cp_status read_id(const cJSON *object, const char *file, size_t place, cp_access_key *key,
                         char source[SOURCE_CAP], cp_error *err) {
    const char *id;
    snprintf(source, SOURCE_CAP, "%s: keys[%zu]", file, place);
    if (!cJSON_IsObject(object))
        return cp_error_set(err, CP_ERR_FORMAT, "%s is not an object", source);
    cp_status status = cp_json_get_string(object, source, "id", &id, err);
    if (status != CP_OK)
        return status;
    if (!cp_key_id_is_valid(id))
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: id \"%.40s\" is no name of 1 to 32 letters a-z, digits and '-'",
                            source, id);
    snprintf(key->id, sizeof key->id, "%s", id);
    snprintf(source, SOURCE_CAP, "%.200s: key %s", file, id);
    return CP_OK;
}

static cp_status read_key(const cJSON *object, const char *file, size_t place, cp_access_key *key,
                          cp_error *err) {
    static const char *const known[] = {
        "id",       "salt", "hash", "scopes", "rate_per_minute", "burst", "daily_quota_tokens",
        "not_after"};
    char source[SOURCE_CAP];
    cp_status status = read_id(object, file, place, key, source, err);
    if (status == CP_OK)
        status = check_members(object, known, CP_COUNT_OF(known), source, err);
    if (status == CP_OK)
        status = read_hex(object, source, "salt", key->salt, sizeof key->salt, err);
    if (status == CP_OK)
        status = read_hex(object, source, "hash", key->hash.bytes, sizeof key->hash.bytes, err);
    if (status == CP_OK)
        status = read_scopes(object, source, &key->scopes, err);
    if (status == CP_OK)
        status = read_limits(object, source, key, err);
    return status == CP_OK ? read_not_after(object, source, &key->not_after, err) : status;
}

static cp_status read_list(const cJSON *tree, const char *file, cp_access_keys *out,
                           cp_error *err) {
    static const char *const known[] = {"version", "keys"};
    int64_t version;
    const cJSON *list, *object;
    cp_status status = check_members(tree, known, CP_COUNT_OF(known), file, err);
    if (status == CP_OK)
        status = cp_json_get_int(tree, file, "version", FILE_VERSION, FILE_VERSION, &version, err);
    if (status != CP_OK)
        return status;
    list = cp_json_member(tree, "keys");
    if (!cJSON_IsArray(list))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: keys is no list", file);
    cJSON_ArrayForEach(object, list) {
        cp_access_key key = {0};
        status = read_key(object, file, out->n, &key, err);
        if (status != CP_OK)
            return status;
        if (cp_keys_find(out, key.id))
            return cp_error_set(err, CP_ERR_FORMAT, "%s: key %s: id stands there twice", file,
                                key.id);
        status = cp_keys_add(out, &key, err);
        if (status != CP_OK)
            return cp_error_prefix(err, "%s", file);
    }
    return CP_OK;
}

cp_status cp_keys_parse(const char *source, cp_str text, cp_access_keys *out, cp_error *err) {
    cJSON *tree;
    *out = (cp_access_keys){0};
    cp_status status = cp_json_parse(source, text.n ? text.data : "", text.n, &tree, err);
    if (status == CP_OK && !cJSON_IsObject(tree))
        status = cp_error_set(err, CP_ERR_FORMAT, "%s: the top level is not an object", source);
    if (status == CP_OK)
        status = read_list(tree, source, out, err);
    cJSON_Delete(tree);
    /* An absent member is a fault of the file; "not found" is for the file itself. */
    return status == CP_ERR_NOT_FOUND ? CP_ERR_FORMAT : status;
}

cp_status cp_keys_read(const char *path, cp_access_keys *out, cp_error *err) {
    cp_strbuf text;
    *out = (cp_access_keys){0};
    cp_status status = cp_file_check_private(path, err);
    if (status != CP_OK)
        return status;
    status = cp_file_read(path, MAX_FILE_BYTES, &text, err);
    if (status == CP_OK)
        status = cp_keys_parse(path, cp_strbuf_str(&text), out, err);
    cp_strbuf_deinit(&text);
    return status;
}

/* ---- writing --------------------------------------------------------------------------------- */

void cp_key_append(cp_json_writer *w, const cp_access_key *key, bool with_hash) {
    char hex[2 * CP_SHA256_BYTES + 1], until[CP_CLOCK_UTC_CAP];
    cp_json_open_object(w);
    cp_json_member_text(w, "id", key->id);
    if (with_hash) {
        cp_hex(key->salt, sizeof key->salt, hex);
        cp_json_member_text(w, "salt", hex);
        cp_hex(key->hash.bytes, sizeof key->hash.bytes, hex);
        cp_json_member_text(w, "hash", hex);
    }
    cp_json_key(w, "scopes");
    cp_json_open_array(w);
    for (unsigned scope = 1; scope < CP_SCOPES_ALL; scope <<= 1)
        if (key->scopes & scope)
            cp_json_put_text(w, cp_scope_name(scope));
    cp_json_close_array(w);
    cp_json_member_int(w, "rate_per_minute", key->rate_per_minute);
    cp_json_member_int(w, "burst", key->burst);
    cp_json_member_int(w, "daily_quota_tokens", key->daily_quota_tokens);
    cp_key_until(key, until);
    cp_json_member_text(w, "not_after", *until ? until : NULL);
    cp_json_close_object(w);
}

cp_status cp_keys_write(const char *path, const cp_access_keys *keys, cp_error *err) {
    cp_strbuf text;
    cp_json_writer w;
    cp_strbuf_init(&text, MAX_FILE_BYTES);
    cp_json_writer_init(&w, &text);
    cp_json_open_object(&w);
    cp_json_member_int(&w, "version", FILE_VERSION);
    cp_json_key(&w, "keys");
    cp_json_open_array(&w);
    for (size_t i = 0; i < keys->n; i++)
        cp_key_append(&w, &keys->keys[i], true);
    cp_json_close_array(&w);
    cp_json_close_object(&w);
    cp_strbuf_putc(&text, '\n');
    cp_status status = cp_strbuf_check(&text, path, err);
    if (status == CP_OK)
        status = cp_file_write_private(path, cp_strbuf_str(&text), err);
    cp_strbuf_deinit(&text);
    return status;
}

cp_status cp_keys_add(cp_access_keys *keys, const cp_access_key *key, cp_error *err) {
    if (keys->n == CP_KEYS_MAX)
        return cp_error_set(err, CP_ERR_LIMIT, "more than %d keys", CP_KEYS_MAX);
    if (!cp_grow((void **)&keys->keys, &keys->cap, keys->n + 1, sizeof *keys->keys))
        return cp_error_no_memory(err, "the keys");
    keys->keys[keys->n++] = *key;
    return CP_OK;
}

void cp_keys_deinit(cp_access_keys *keys) {
    free(keys->keys);
    *keys = (cp_access_keys){0};
}
