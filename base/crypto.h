/* Cryptography, all of it OpenSSL's libcrypto: SHA-256 (and SHA-1), HMAC-SHA-256, AES-256-GCM,
 * random bytes and the comparison that takes the same time wherever two values differ. Only
 * base/certificate includes its headers, too.
 *
 * Every function may be called by any thread. Inputs may be empty; an output may not overlap an
 * input unless a comment says so. An error never tells a key or a text. */
#ifndef CP_BASE_CRYPTO_H
#define CP_BASE_CRYPTO_H

#include "base/strbuf.h"

#define CP_SHA256_BYTES    32
#define CP_SEAL_KEY_BYTES  32
#define CP_SEAL_NONCE      12
#define CP_SEAL_TAG        16
#define CP_SEAL_MORE_BYTES (CP_SEAL_NONCE + CP_SEAL_TAG) /* a sealed text is longer by this */

typedef struct cp_sha256 {
    unsigned char bytes[CP_SHA256_BYTES];
} cp_sha256;

cp_status cp_sha256_of(cp_str text, cp_sha256 *out, cp_error *err) CP_MUST_CHECK;

/* The hash of a text that comes in `n` parts, as if they stood behind each other: parts whose
 * lengths are not fixed need a separator of their own. */
cp_status cp_sha256_of_parts(const cp_str *parts, size_t n, cp_sha256 *out,
                             cp_error *err) CP_MUST_CHECK;

/* The hash of bytes that come in pieces. SHA-1 only where a protocol has nothing else (git's names
 * of files). */
typedef enum cp_digest_kind { CP_DIGEST_SHA1, CP_DIGEST_SHA256 } cp_digest_kind;
typedef struct cp_digest cp_digest;
#define CP_DIGEST_HEX_CAP (2 * CP_SHA256_BYTES + 1)
cp_status cp_digest_begin(cp_digest_kind kind, cp_digest **out, cp_error *err) CP_MUST_CHECK;
cp_status cp_digest_add(cp_digest *digest, cp_str bytes, cp_error *err) CP_MUST_CHECK;
/* Lower-case hexadecimal; nothing can be added afterwards. */
cp_status cp_digest_end(cp_digest *digest, char hex[CP_DIGEST_HEX_CAP],
                        cp_error *err) CP_MUST_CHECK;
void cp_digest_free(cp_digest *digest); /* NULL is allowed */

/* RFC 2104. */
cp_status cp_hmac_sha256(cp_str key, cp_str text, cp_sha256 *out, cp_error *err) CP_MUST_CHECK;

/* AES-256-GCM: `sealed` becomes nonce (random, 12 bytes), ciphertext, tag (16 bytes): text.n +
 * CP_SEAL_MORE_BYTES bytes. `about` is not stored but must be the same to open: what the text
 * belongs to, so that a sealed text cannot be put elsewhere. With random nonces a key is good for
 * 2^32 texts. */
cp_status cp_seal(const unsigned char key[CP_SEAL_KEY_BYTES], cp_str about, cp_str text,
                  unsigned char *sealed, cp_error *err) CP_MUST_CHECK;

/* The text, sealed.n - CP_SEAL_MORE_BYTES bytes. CP_ERR_FORMAT, with the output zeroed, when the
 * key, `about` or a single bit is another. */
cp_status cp_seal_open(const unsigned char key[CP_SEAL_KEY_BYTES], cp_str about, cp_str sealed,
                       unsigned char *text, cp_error *err) CP_MUST_CHECK;

/* Unpredictable bytes from the system's generator. */
cp_status cp_random_bytes(void *out, size_t n, cp_error *err) CP_MUST_CHECK;

/* Whether n bytes are equal, in a time that does not depend on what they are. */
bool cp_equal_secret(const void *a, const void *b, size_t n);

/* Overwrites n bytes; the compiler cannot leave it out. */
void cp_wipe(void *bytes, size_t n);

/* Lower-case hexadecimal. `out` has room for 2 * n + 1 characters. */
void cp_hex(const void *bytes, size_t n, char *out);

/* `n` bytes from exactly 2 * n lower-case digits; false for anything else. */
bool cp_unhex(cp_str text, void *out, size_t n) CP_MUST_CHECK;

#endif
