/* Base64 (RFC 4648, section 4), written. */
#ifndef CP_BASE_BASE64_H
#define CP_BASE_BASE64_H

#include "base/strbuf.h"

/* Appends the text of n bytes, padded. */
void cp_base64_append(cp_strbuf *out, const void *bytes, size_t n);

#endif
