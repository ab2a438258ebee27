#include "server/audit_keys.h"

#include <string.h>

static cp_str key_of(const unsigned char key[CP_SHA256_BYTES]) {
    return (cp_str){(const char *)key, CP_SHA256_BYTES};
}

/* HMAC(SECRET_KEY, purpose): one block of HKDF's expansion, with a key that is long and random. */
static cp_status derive(cp_str secret, const char *purpose, unsigned char out[CP_SHA256_BYTES],
                        cp_error *err) {
    cp_sha256 key;
    cp_status status = cp_hmac_sha256(secret, (cp_str){purpose, strlen(purpose)}, &key, err);
    if (status == CP_OK)
        memcpy(out, key.bytes, sizeof key.bytes);
    cp_wipe(&key, sizeof key);
    return status;
}

cp_status cp_audit_keys_derive(const char *secret, cp_audit_keys *out, cp_error *err) {
    unsigned char id[CP_SHA256_BYTES];
    *out = (cp_audit_keys){.secret = secret && *secret};
    if (!out->secret)
        return CP_OK;
    cp_str from = {secret, strlen(secret)};
    cp_status status = derive(from, "carepath audit seal 1", out->seal, err);
    if (status == CP_OK)
        status = derive(from, "carepath audit chain 1", out->chain, err);
    if (status == CP_OK)
        status = derive(from, "carepath audit patient 1", out->patient, err);
    if (status == CP_OK)
        status = derive(from, "carepath audit text 1", out->text, err);
    if (status == CP_OK)
        status = derive(from, "carepath audit key id 1", id, err);
    if (status == CP_OK)
        cp_hex(id, sizeof out->id / 2, out->id);
    else
        cp_audit_keys_wipe(out);
    return status;
}

void cp_audit_keys_wipe(cp_audit_keys *keys) {
    cp_wipe(keys, sizeof *keys);
}

static cp_status hmac_hex(const unsigned char key[CP_SHA256_BYTES], cp_str text,
                          char out[CP_AUDIT_HEX_CAP], cp_error *err) {
    cp_sha256 mark;
    out[0] = '\0';
    cp_status status = cp_hmac_sha256(key_of(key), text, &mark, err);
    if (status == CP_OK)
        cp_hex(mark.bytes, sizeof mark.bytes, out);
    return status;
}

cp_status cp_audit_sha256(cp_str text, char out[CP_AUDIT_HEX_CAP], cp_error *err) {
    cp_sha256 hash;
    out[0] = '\0';
    cp_status status = cp_sha256_of(text, &hash, err);
    if (status == CP_OK)
        cp_hex(hash.bytes, sizeof hash.bytes, out);
    return status;
}

cp_status cp_audit_patient_hash(const cp_audit_keys *keys, const char *mrn,
                                char out[CP_AUDIT_HEX_CAP], cp_error *err) {
    out[0] = '\0';
    if (!keys->secret || !mrn)
        return CP_OK;
    return hmac_hex(keys->patient, (cp_str){mrn, strlen(mrn)}, out, err);
}

cp_status cp_audit_text_hash(const cp_audit_keys *keys, cp_str text, char out[CP_AUDIT_HEX_CAP],
                             cp_error *err) {
    return keys->secret ? hmac_hex(keys->text, text, out, err) : cp_audit_sha256(text, out, err);
}

cp_status cp_audit_chain_mark(const cp_audit_keys *keys, cp_str text, char out[CP_AUDIT_HEX_CAP],
                              cp_error *err) {
    return keys->secret ? hmac_hex(keys->chain, text, out, err) : cp_audit_sha256(text, out, err);
}

const char *cp_audit_mark_name(const cp_audit_keys *keys) {
    return keys->secret ? "hmac" : "sha256";
}
