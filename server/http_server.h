/* HTTP: requests in, answers out. libmicrohttpd is known in http_server, http_stream and http_guard
 * only.
 *
 * One thread of the library reads, checks and routes requests and calls the route's handler, which
 * must return at once: it either fills request->reply, or calls cp_http_defer and later, from any
 * thread, fills the reply and calls cp_http_finish exactly once, or answers as a stream: begins
 * once, writes any number of times, ends once. In between the connection is suspended and the
 * request stays valid whatever its client does; after finish or end it belongs to this module
 * again. A request is made with its first line and released only when the library says it is over
 * and nobody owes it an answer. Bodies are complete before the handler is called. It knows routes,
 * no application. */
#ifndef CP_SERVER_HTTP_SERVER_H
#define CP_SERVER_HTTP_SERVER_H

#include "server/http_cors.h"
#include "server/http_ids.h"
#include "server/http_proxy.h"
#include "server/http_reply.h"
#include "server/trace.h"

#include <stdint.h>

#define CP_HTTP_MAX_BODY_BYTES    ((size_t)65536)  /* where a route says nothing else */
#define CP_HTTP_STREAM_BACKLOG    ((size_t)262144) /* bytes written that the client has not taken */
#define CP_HTTP_MAX_PARAMS        2
#define CP_HTTP_PARAM_CAP         129
#define CP_HTTP_QUERY_CAP         128
#define CP_HTTP_AUTHORIZATION_CAP 512
#define CP_HTTP_OWNER_CAP         33
#define CP_HTTP_ACCEPT_CAP        256

typedef struct cp_http_server cp_http_server;
typedef struct cp_http_route cp_http_route;

typedef struct cp_http_request {
    const cp_http_route *route; /* NULL when none matches */
    char method[16];
    cp_trace trace;
    char trace_id[CP_TRACE_ID_CAP], request_id[CP_REQUEST_ID_CAP]; /* trace_id: the trace's */
    uint64_t received_ns;                                          /* its headers were complete */
    /* What stands in the path where the route's has {}: decoded, UTF-8, no control characters, no
     * '/', neither "." nor "..", not empty. A patient may be named here: never logged. */
    char params[CP_HTTP_MAX_PARAMS][CP_HTTP_PARAM_CAP];
    char query[CP_HTTP_QUERY_CAP]; /* behind the path's '?', as it came; cut where it is longer */
    char authorization[CP_HTTP_AUTHORIZATION_CAP]; /* the header's value, "" when absent; wiped */
    char accept[CP_HTTP_ACCEPT_CAP];               /* the beginning of Accept; "" when absent */
    int64_t deadline_ms;                           /* X-Deadline-Ms; -1 when absent */
    cp_address client;  /* behind trusted proxies. It may name a patient: never logged */
    bool is_local_name; /* Host names this machine by loopback, or is absent (HTTP/1.0) */
    bool is_https;      /* the client's side of the connection is encrypted */
    /* Set by `admit`: who asks ("" for nobody in particular) and what for (the application's). */
    char owner[CP_HTTP_OWNER_CAP];
    unsigned scopes;
    cp_strbuf body;
    cp_http_reply reply;
    /* For the access line; set by handlers. */
    int64_t prompt_tokens, completion_tokens;
} cp_http_request;

struct cp_http_route {
    /* "/health", or with up to CP_HTTP_MAX_PARAMS segments "{}" that stand for any:
     * "/patients/{}/summary". A path without wins over one with. */
    const char *path;
    bool is_post; /* else GET and HEAD */
    void (*handle)(void *app, cp_http_request *request);
    size_t max_body_bytes; /* 0: CP_HTTP_MAX_BODY_BYTES */
    unsigned scope;        /* what `admit` asks for; the application's */
};

typedef struct cp_http_config {
    const char *host;
    int port; /* 0: any */
    size_t max_connections;
    int64_t header_timeout_s, body_timeout_s, idle_timeout_s;
    int64_t ping_interval_s; /* silence in an event stream before a comment is sent; 0: none */
    const char *tls_cert_file, *tls_key_file; /* "" or NULL: plain HTTP */
    const cp_origins *origins;                /* web pages that may ask; NULL: none */
    const cp_networks *proxies;               /* whose X-Forwarded-* count; NULL: nobody's */
    cp_tracer *tracer;                        /* who takes the requests' spans; NULL: nobody */
    const cp_http_route *routes;
    size_t n_routes;
    void *app;
    /* A request's headers are right and its route is known; its body is not read yet. Refuses it by
     * cp_http_fail. From the library's thread; may be NULL. */
    void (*admit)(void *app, cp_http_request *request);
    /* A request is over; reply.status is what was sent, CP_HTTP_CLIENT_GONE when nobody was left
     * before its end. From the library's thread, or the one that ends a stream. */
    void (*on_done)(void *app, const cp_http_request *request, double ms);
    void (*on_tick)(void *app); /* ten times a second, from a thread of its own */
} cp_http_config;

/* Listens and answers from here on. CP_ERR_IO names host and port. */
cp_status cp_http_server_start(const cp_http_config *config, cp_http_server **out,
                               cp_error *err) CP_MUST_CHECK;
/* "127.0.0.1:8002", the real port. */
const char *cp_http_server_address(const cp_http_server *server);
/* From now on every answer ends its connection. */
void cp_http_server_drain(cp_http_server *server);
/* Waits a moment for answers that are being sent, then closes everything. No deferred request may
 * be left, and no stream that has not ended. NULL is allowed. */
void cp_http_server_stop(cp_http_server *server);

/* From a handler only: the answer comes later. */
void cp_http_defer(cp_http_request *request);
void cp_http_finish(cp_http_request *request);
/* Between the two, or until a stream's end: has the client closed its side? Any thread. */
bool cp_http_client_gone(const cp_http_request *request);
/* When the answer must be there: most_s after the headers, or sooner where the client says so: by
 * the body's wish_ms (0 or less: none), else by X-Deadline-Ms. */
uint64_t cp_http_deadline_ns(const cp_http_request *request, int64_t most_s, int64_t wish_ms);
/* Answers with an error. */
void cp_http_fail(cp_http_request *request, const cp_api_error *error);

/* ---- answers in pieces: after cp_http_defer, instead of cp_http_finish; one thread at a time ----
 */

/* A 200 whose body comes in pieces; its headers are sent at once. `content_type` outlives the
 * request; from here on the reply's status and headers are the server's. In a "text/event-stream"
 * the comment ": ping" is sent between two writes when nothing was written for ping_interval_s, so
 * each write there is one or more whole events. */
void cp_http_stream_begin(cp_http_request *request, const char *content_type);
/* Copies the bytes and never blocks. False when nobody takes them: the client has left, the method
 * is HEAD, or the backlog would exceed CP_HTTP_STREAM_BACKLOG; they are dropped, as is everything
 * later, and the caller ends the stream. */
bool cp_http_stream_write(cp_http_request *request, const char *bytes, size_t n);
/* Writes the error as the event "data: {"error":...}". The caller then ends the stream. */
void cp_http_stream_fail(cp_http_request *request, const cp_api_error *error);
/* Exactly once. The backlog is still sent, within the time that sending may take; where bytes were
 * dropped the connection is then cut, so that the client does not take a part for the whole. */
void cp_http_stream_end(cp_http_request *request);

#endif
