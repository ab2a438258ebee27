/* TLS: certificate and key from two files, checked before anything listens.
 *
 * The HTTP library's own TLS (GnuTLS) does the work; it says nothing about what is wrong with a
 * file, so that is found out here. TLS 1.2 and 1.3 only. A new certificate needs a restart. */
#ifndef CP_SERVER_HTTP_TLS_H
#define CP_SERVER_HTTP_TLS_H

#include "base/strbuf.h"

/* In the words of GnuTLS: forward secrecy and authenticated ciphers, nothing below TLS 1.2. */
#define CP_TLS_PRIORITIES                                                                          \
    "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-DHE-RSA:-AES-128-CBC:-AES-256-CBC:"       \
    "-SHA1:-SHA256:-SHA384:%SERVER_PRECEDENCE"

typedef struct cp_http_tls {
    cp_strbuf certificate, key; /* PEM; both empty without TLS */
} cp_http_tls;

/* Reads both files; the key's must be private (cp_file_check_private). The errors name the file and
 * say which of the two does not fit. cp_http_tls_deinit when done, also after failure. */
cp_status cp_http_tls_load(const char *cert_file, const char *key_file, cp_http_tls *out,
                           cp_error *err) CP_MUST_CHECK;
void cp_http_tls_deinit(cp_http_tls *tls);

#endif
