#include "base/certificate.h"

#include <limits.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

static BIO *reader(cp_str pem) {
    return pem.n > 0 && pem.n <= INT_MAX ? BIO_new_mem_buf(pem.data, (int)pem.n) : NULL;
}

/* A password would be asked for on the terminal: there is none. */
static int no_password(char *out, int cap, int writing, void *user) {
    (void)out, (void)cap, (void)writing, (void)user;
    return -1;
}

static X509 *read_certificate(cp_str pem) {
    BIO *in = reader(pem);
    X509 *certificate = in ? PEM_read_bio_X509(in, NULL, no_password, NULL) : NULL;
    BIO_free(in);
    return certificate;
}

static EVP_PKEY *read_key(cp_str pem) {
    BIO *in = reader(pem);
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, no_password, NULL) : NULL;
    BIO_free(in);
    return key;
}

static cp_status check(const char *cert_source, const X509 *certificate, const char *key_source,
                       const EVP_PKEY *key, cp_error *err) {
    if (!certificate)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: no certificate in PEM form", cert_source);
    if (!key)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: no private key in PEM form without password",
                            key_source);
    if (X509_check_private_key(certificate, key) != 1)
        return cp_error_set(err, CP_ERR_FORMAT, "%s is not the key of the certificate in %s",
                            key_source, cert_source);
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: the certificate has expired", cert_source);
    return CP_OK;
}

cp_status cp_certificate_check(const char *cert_source, cp_str cert_pem, const char *key_source,
                               cp_str key_pem, cp_error *err) {
    X509 *certificate = read_certificate(cert_pem);
    EVP_PKEY *key = read_key(key_pem);
    cp_status status = check(cert_source, certificate, key_source, key, err);
    ERR_clear_error();
    EVP_PKEY_free(key);
    X509_free(certificate);
    return status;
}
