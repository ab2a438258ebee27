/* Which web pages' scripts may ask, by the Origin header that browsers send (CORS).
 *
 * A list of exact origins; there is no "*". Without a list nothing is allowed and no header is
 * sent, which keeps browsers closed. Borrows its texts from the settings. */
#ifndef CP_SERVER_HTTP_CORS_H
#define CP_SERVER_HTTP_CORS_H

#include "base/strbuf.h"

#define CP_ORIGINS_MAX 32
#define CP_ORIGIN_CAP  128

typedef struct cp_origins {
    cp_str origins[CP_ORIGINS_MAX];
    size_t n;
} cp_origins;

/* "https://app.example, http://localhost:3000". An error names `source` and the entry. */
cp_status cp_origins_parse(const char *text, const char *source, cp_origins *out,
                           cp_error *err) CP_MUST_CHECK;
/* `origin` as the browser sent it; NULL is not allowed. */
bool cp_origins_allow(const cp_origins *origins, const char *origin);

#endif
