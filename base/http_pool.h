/* Requests to one server that are tried again: connections that stay open, used by any thread.
 *
 * A request is sent again when another try would help: status 429 or 5xx, refused or broken
 * connections; what is sent must do no harm twice. Between tries there is a pause, as long as the
 * server's Retry-After says, else a random part of one that doubles; all of it within the one limit
 * of time. A slow answer gets all the time there is. A request carries the trace that its thread
 * works for (base/trace_context.h). Calls wait: not for the HTTP thread. */
#ifndef CP_BASE_HTTP_POOL_H
#define CP_BASE_HTTP_POOL_H

#include "base/http_client.h"

typedef struct cp_http_pool cp_http_pool;
typedef struct cp_http_pool_options {
    size_t max_idle;    /* connections that are kept */
    int64_t timeout_ms; /* of a request with all its tries and pauses */
    unsigned max_tries;
    int64_t pause_ms, max_pause_ms; /* longest pause before the second try; doubles up to max */
} cp_http_pool_options;

cp_status cp_http_pool_create(const cp_http_pool_options *options, cp_http_pool **out,
                              cp_error *err) CP_MUST_CHECK;
void cp_http_pool_free(cp_http_pool *pool); /* NULL is allowed; nobody may be sending */

/* The last try's answer, as cp_http_client_send gives it; released by the caller, also after
 * failure. The call's own limits of time are not used. */
cp_status cp_http_pool_send(cp_http_pool *pool, const cp_http_call *call, cp_http_answer *answer,
                            cp_error *err) CP_MUST_CHECK;

#endif
