#include "server/http_tls.h"

#include "base/certificate.h"
#include "base/crypto.h"
#include "base/file.h"

#include <microhttpd.h>

#define MAX_PEM_BYTES ((size_t)256 << 10)

static cp_status read_files(const char *cert_file, const char *key_file, cp_http_tls *out,
                            cp_error *err) {
    cp_status status = cp_file_read(cert_file, MAX_PEM_BYTES, &out->certificate, err);
    if (status != CP_OK) {
        cp_error_prefix(err, "TLS_CERT_FILE");
        return status;
    }
    status = cp_file_check_private(key_file, err);
    if (status == CP_OK)
        status = cp_file_read(key_file, MAX_PEM_BYTES, &out->key, err);
    if (status != CP_OK)
        cp_error_prefix(err, "TLS_KEY_FILE");
    return status;
}

cp_status cp_http_tls_load(const char *cert_file, const char *key_file, cp_http_tls *out,
                           cp_error *err) {
    cp_strbuf_init(&out->certificate, MAX_PEM_BYTES);
    cp_strbuf_init(&out->key, MAX_PEM_BYTES);
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
        return cp_error_set(err, CP_ERR_UNSUPPORTED,
                            "TLS_CERT_FILE is set, but this libmicrohttpd was built without TLS");
    cp_status status = read_files(cert_file, key_file, out, err);
    if (status != CP_OK)
        return status;
    return cp_certificate_check(cert_file, cp_strbuf_str(&out->certificate), key_file,
                                cp_strbuf_str(&out->key), err);
}

void cp_http_tls_deinit(cp_http_tls *tls) {
    if (tls->key.data)
        cp_wipe(tls->key.data, tls->key.n);
    cp_strbuf_deinit(&tls->key);
    cp_strbuf_deinit(&tls->certificate);
}
