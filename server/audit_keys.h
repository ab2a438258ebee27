/* The keys of the audit log, each made from SECRET_KEY for one purpose, and the hashes made with
 * them.
 *
 * Without SECRET_KEY (development) nothing is sealed and hashes have no key: then no prompt, answer
 * or patient goes into the log in any form that could be guessed back. Plain values; any thread. */
#ifndef CP_SERVER_AUDIT_KEYS_H
#define CP_SERVER_AUDIT_KEYS_H

#include "base/crypto.h"

#define CP_AUDIT_HEX_CAP (2 * CP_SHA256_BYTES + 1)
#define CP_AUDIT_HEX     (2 * CP_SHA256_BYTES)

typedef struct cp_audit_keys {
    bool secret; /* false: made without SECRET_KEY */
    unsigned char seal[CP_SHA256_BYTES], chain[CP_SHA256_BYTES], patient[CP_SHA256_BYTES],
        text[CP_SHA256_BYTES];
    char id[17]; /* of the key, not secret: tells "another key" from "altered"; "" without */
} cp_audit_keys;

/* `secret` may be NULL or empty. cp_audit_keys_wipe when done. */
cp_status cp_audit_keys_derive(const char *secret, cp_audit_keys *out, cp_error *err) CP_MUST_CHECK;
void cp_audit_keys_wipe(cp_audit_keys *keys);

/* Of a patient's number and of prompts and answers: HMAC, and without a secret nothing ("") for the
 * patient, whose few possible numbers could be tried, and SHA-256 for texts. */
cp_status cp_audit_patient_hash(const cp_audit_keys *keys, const char *mrn,
                                char out[CP_AUDIT_HEX_CAP], cp_error *err) CP_MUST_CHECK;
cp_status cp_audit_text_hash(const cp_audit_keys *keys, cp_str text, char out[CP_AUDIT_HEX_CAP],
                             cp_error *err) CP_MUST_CHECK;
/* What closes a line of the log: HMAC, or SHA-256 without a secret. */
cp_status cp_audit_chain_mark(const cp_audit_keys *keys, cp_str text, char out[CP_AUDIT_HEX_CAP],
                              cp_error *err) CP_MUST_CHECK;
/* "hmac" or "sha256": what the mark is called in the log. */
const char *cp_audit_mark_name(const cp_audit_keys *keys);
/* SHA-256 in hexadecimal. */
cp_status cp_audit_sha256(cp_str text, char out[CP_AUDIT_HEX_CAP], cp_error *err) CP_MUST_CHECK;

#endif
