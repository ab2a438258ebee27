/* Framing checks that libmicrohttpd leaves out, made before anything of a request is believed.
 *
 * Two parties that disagree on where a request ends can be played against each other (request
 * smuggling), so whatever is ambiguous is refused and the connection closed: Content-Length beside
 * Transfer-Encoding, either of them twice, names that are no tokens ("Content-Length "), a missing
 * or second Host, control characters. Also the caps on number and size of headers, and the few
 * headers that handlers are given. Stateless. */
#ifndef CP_SERVER_HTTP_GUARD_H
#define CP_SERVER_HTTP_GUARD_H

#include "base/trace_context.h"
#include "server/http_proxy.h"

#include <stdint.h>

#define CP_HTTP_MAX_HEADERS      64
#define CP_HTTP_MAX_HEADER_BYTES 16384
#define CP_HTTP_MAX_URI_BYTES    4096
#define CP_HTTP_MAX_DEADLINE_MS  3600000

struct MHD_Connection;

typedef struct cp_http_framing {
    /* What is wrong: 0, or the status with a code and a sentence. */
    int status;
    const char *code, *message, *param;
    /* What was found. */
    bool has_body; /* a length above 0, or chunked */
    bool chunked;
    uint64_t content_length;
    bool is_json;                 /* Content-Type is application/json */
    const char *request_id;       /* borrowed from the connection; NULL when absent */
    const char *traceparent;      /* likewise; NULL also when it comes twice */
    cp_trace_state tracestate;    /* not checked yet */
    const char *authorization;    /* likewise; shorter than CP_HTTP_AUTHORIZATION_CAP */
    int64_t deadline_ms;          /* -1 when absent */
    const char *accept;           /* borrowed; NULL when absent */
    const char *host;             /* likewise */
    const char *origin;           /* borrowed; NULL when absent */
    const char *preflight_method; /* Access-Control-Request-Method, likewise */
    char forwarded_for[CP_FORWARDED_CAP], forwarded_proto[CP_FORWARDED_CAP]; /* "" when absent */
} cp_http_framing;

/* `uri` is the request target as it came. */
void cp_http_guard_check(struct MHD_Connection *connection, const char *uri, const char *version,
                         cp_http_framing *out);

/* "application/json", parameters allowed; any case. */
bool cp_http_is_json(const char *content_type);
/* Digits only, at most 15. */
bool cp_http_parse_length(const char *text, uint64_t *out);

#endif
