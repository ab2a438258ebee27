/* Whether a certificate and a private key can serve TLS. Beside base/crypto the only place that
 * knows OpenSSL's headers. Stateless; any thread. */
#ifndef CP_BASE_CERTIFICATE_H
#define CP_BASE_CERTIFICATE_H

#include "base/strbuf.h"

/* Both are PEM; the first certificate is the server's own. CP_ERR_FORMAT when one cannot be read,
 * they do not belong together, or the certificate has expired; the sentence names the file, never
 * what is in it. */
cp_status cp_certificate_check(const char *cert_source, cp_str cert_pem, const char *key_source,
                               cp_str key_pem, cp_error *err) CP_MUST_CHECK;

#endif
