#include "base/crypto.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

static const unsigned char *bytes_of(cp_str text) {
    return text.n > 0 ? (const unsigned char *)text.data : (const unsigned char *)"";
}

/* libcrypto fails for lack of memory only, as long as it is called rightly. */
static cp_status failed(cp_error *err, const char *doing) {
    return cp_error_set(err, CP_ERR_NO_MEMORY, "libcrypto cannot %s", doing);
}

cp_status cp_sha256_of_parts(const cp_str *parts, size_t n, cp_sha256 *out, cp_error *err) {
    *out = (cp_sha256){{0}};
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; i < n && ok; i++)
        ok = EVP_DigestUpdate(context, bytes_of(parts[i]), parts[i].n) == 1;
    ok = ok && EVP_DigestFinal_ex(context, out->bytes, NULL) == 1;
    EVP_MD_CTX_free(context);
    return ok ? CP_OK : failed(err, "compute a SHA-256");
}

cp_status cp_sha256_of(cp_str text, cp_sha256 *out, cp_error *err) {
    return cp_sha256_of_parts(&text, 1, out, err);
}

struct cp_digest {
    EVP_MD_CTX *context;
};

cp_status cp_digest_begin(cp_digest_kind kind, cp_digest **out, cp_error *err) {
    cp_digest *digest = calloc(1, sizeof *digest);
    *out = NULL;
    if (!digest)
        return cp_error_no_memory(err, "digest");
    digest->context = EVP_MD_CTX_new();
    const EVP_MD *form = kind == CP_DIGEST_SHA1 ? EVP_sha1() : EVP_sha256();
    if (!digest->context || EVP_DigestInit_ex(digest->context, form, NULL) != 1) {
        cp_digest_free(digest);
        return failed(err, "begin a digest");
    }
    *out = digest;
    return CP_OK;
}

cp_status cp_digest_add(cp_digest *digest, cp_str bytes, cp_error *err) {
    bool ok = EVP_DigestUpdate(digest->context, bytes_of(bytes), bytes.n) == 1;
    return ok ? CP_OK : failed(err, "go on with a digest");
}

cp_status cp_digest_end(cp_digest *digest, char hex[CP_DIGEST_HEX_CAP], cp_error *err) {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    hex[0] = '\0';
    if (EVP_DigestFinal_ex(digest->context, bytes, &n) != 1 || n > CP_SHA256_BYTES)
        return failed(err, "end a digest");
    cp_hex(bytes, n, hex);
    return CP_OK;
}

void cp_digest_free(cp_digest *digest) {
    if (!digest)
        return;
    EVP_MD_CTX_free(digest->context);
    free(digest);
}

cp_status cp_hmac_sha256(cp_str key, cp_str text, cp_sha256 *out, cp_error *err) {
    *out = (cp_sha256){{0}};
    if (key.n > INT_MAX)
        return cp_error_set(err, CP_ERR_LIMIT, "a key of %zu bytes, at most %d", key.n, INT_MAX);
    if (!HMAC(EVP_sha256(), bytes_of(key), (int)key.n, bytes_of(text), text.n, out->bytes, NULL))
        return failed(err, "compute an HMAC");
    return CP_OK;
}

/* ---- sealing --------------------------------------------------------------------------------- */

static cp_status check_sealable(cp_str about, cp_str text, cp_error *err) {
    if (about.n <= INT_MAX && text.n <= INT_MAX - CP_SEAL_MORE_BYTES)
        return CP_OK;
    return cp_error_set(err, CP_ERR_LIMIT, "a text of %zu bytes is too long to be sealed", text.n);
}

/* GCM's ciphertext is as long as its text and padding plays no part, so nothing is left for the
 * final call to write. */
static bool encrypt(EVP_CIPHER_CTX *context, const unsigned char *key, cp_str about, cp_str text,
                    unsigned char *sealed) {
    unsigned char *nonce = sealed, *body = sealed + CP_SEAL_NONCE, *tag = body + text.n, none[16];
    int n;
    return EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
           EVP_EncryptUpdate(context, NULL, &n, bytes_of(about), (int)about.n) == 1 &&
           EVP_EncryptUpdate(context, body, &n, bytes_of(text), (int)text.n) == 1 &&
           EVP_EncryptFinal_ex(context, none, &n) == 1 &&
           EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, CP_SEAL_TAG, tag) == 1;
}

static bool decrypt(EVP_CIPHER_CTX *context, const unsigned char *key, cp_str about,
                    const unsigned char *sealed, size_t text_n, unsigned char *text) {
    const unsigned char *body = sealed + CP_SEAL_NONCE;
    unsigned char tag[CP_SEAL_TAG], none[16];
    int n;
    memcpy(tag, body + text_n, sizeof tag);
    return EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, sealed) == 1 &&
           EVP_DecryptUpdate(context, NULL, &n, bytes_of(about), (int)about.n) == 1 &&
           EVP_DecryptUpdate(context, text, &n, body, (int)text_n) == 1 &&
           EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, CP_SEAL_TAG, tag) == 1 &&
           EVP_DecryptFinal_ex(context, none, &n) == 1;
}

cp_status cp_seal(const unsigned char key[CP_SEAL_KEY_BYTES], cp_str about, cp_str text,
                  unsigned char *sealed, cp_error *err) {
    cp_status status = check_sealable(about, text, err);
    if (status == CP_OK)
        status = cp_random_bytes(sealed, CP_SEAL_NONCE, err);
    if (status != CP_OK)
        return status;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool ok = context && encrypt(context, key, about, text, sealed);
    EVP_CIPHER_CTX_free(context);
    return ok ? CP_OK : failed(err, "encrypt");
}

cp_status cp_seal_open(const unsigned char key[CP_SEAL_KEY_BYTES], cp_str about, cp_str sealed,
                       unsigned char *text, cp_error *err) {
    if (sealed.n < CP_SEAL_MORE_BYTES)
        return cp_error_set(err, CP_ERR_FORMAT, "a sealed text of %zu bytes, expected %d or more",
                            sealed.n, CP_SEAL_MORE_BYTES);
    size_t text_n = sealed.n - CP_SEAL_MORE_BYTES;
    cp_status status = check_sealable(about, (cp_str){NULL, text_n}, err);
    if (status != CP_OK)
        return status;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (!context)
        return failed(err, "decrypt");
    bool ok = decrypt(context, key, about, bytes_of(sealed), text_n, text);
    EVP_CIPHER_CTX_free(context);
    if (ok)
        return CP_OK;
    cp_wipe(text, text_n);
    return cp_error_set(err, CP_ERR_FORMAT,
                        "a sealed text does not open: it was changed, or the key is another");
}

/* ---- the rest -------------------------------------------------------------------------------- */

cp_status cp_random_bytes(void *out, size_t n, cp_error *err) {
    if (n > INT_MAX)
        return cp_error_set(err, CP_ERR_LIMIT, "%zu random bytes, at most %d", n, INT_MAX);
    if (RAND_bytes(out, (int)n) != 1)
        return cp_error_set(err, CP_ERR_IO, "the system gives no random bytes");
    return CP_OK;
}

bool cp_equal_secret(const void *a, const void *b, size_t n) {
    return CRYPTO_memcmp(a, b, n) == 0;
}

void cp_wipe(void *bytes, size_t n) {
    if (n > 0)
        OPENSSL_cleanse(bytes, n);
}

void cp_hex(const void *bytes, size_t n, char *out) {
    static const char digits[] = "0123456789abcdef";
    const unsigned char *in = bytes;
    for (size_t i = 0; i < n; i++) {
        *out++ = digits[in[i] >> 4];
        *out++ = digits[in[i] & 15];
    }
    *out = '\0';
}

static int digit_of(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool cp_unhex(cp_str text, void *out, size_t n) {
    unsigned char *to = out;
    if (text.n != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = digit_of(text.data[2 * i]), low = digit_of(text.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        to[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}
