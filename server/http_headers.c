#include "server/http_headers.h"

#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

bool cp_http_is_event_stream(const char *content_type) {
    static const char events[] = "text/event-stream";
    return strncmp(content_type, events, strlen(events)) == 0;
}

/* A NULL value is no header. */
static bool add(struct MHD_Response *response, const char *name, const char *value) {
    return !value || MHD_add_response_header(response, name, value) == MHD_YES;
}

static bool add_fixed(struct MHD_Response *response) {
    size_t n;
    const cp_http_header *fixed = cp_http_fixed_headers(&n);
    bool ok = true;
    for (size_t i = 0; i < n; i++)
        ok = ok && add(response, fixed[i].name, fixed[i].value);
    return ok;
}

static bool add_own(const cp_http_headers *h, struct MHD_Response *response) {
    const cp_http_request *request = h->request;
    const cp_http_reply *reply = &request->reply;
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%d", reply->retry_after_s);
    bool is_events = !h->preflight && cp_http_is_event_stream(reply->content_type);
    return add(response, "Content-Type", h->preflight ? NULL : reply->content_type) &&
           add(response, "X-Request-Id", request->request_id) &&
           add(response, "X-Trace-Id", request->trace_id) &&
           add(response, "X-Accel-Buffering", is_events ? "no" : NULL) &&
           add(response, "Allow", reply->allow) &&
           add(response, "Retry-After", reply->retry_after_s ? seconds : NULL) &&
           add(response, "WWW-Authenticate", reply->status == 401 ? "Bearer" : NULL) &&
           add(response, "Strict-Transport-Security",
               request->is_https ? "max-age=31536000" : NULL) &&
           add(response, "Connection", h->close ? "close" : NULL);
}

static bool add_cors(const cp_http_headers *h, struct MHD_Response *response) {
    if (h->varies && !add(response, "Vary", "Origin"))
        return false;
    if (!*h->origin)
        return true;
    if (!add(response, "Access-Control-Allow-Origin", h->origin))
        return false;
    if (!h->preflight)
        return add(response, "Access-Control-Expose-Headers",
                   "X-Request-Id, X-Trace-Id, Retry-After");
    return add(response, "Access-Control-Allow-Methods", h->preflight) &&
           add(response, "Access-Control-Allow-Headers",
               "Authorization, Content-Type, X-Request-Id, X-Deadline-Ms, traceparent, "
               "tracestate") &&
           add(response, "Access-Control-Max-Age", "600");
}

bool cp_http_headers_add(const cp_http_headers *headers, struct MHD_Response *response) {
    return add_fixed(response) && add_own(headers, response) && add_cors(headers, response);
}
