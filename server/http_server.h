/* HTTP: requests in, answers out. libmicrohttpd is known here and in http_guard only.
 *
 * One thread of the library reads, checks and routes requests and calls the route's handler, which
 * must return at once: it either fills request->reply, or calls cp_http_defer and later, from any
 * thread, fills the reply and calls cp_http_finish exactly once. In between the connection is
 * suspended and the request stays valid whatever its client does; after finish it belongs to this
 * module again. A request is made with its first line and released only when the library says it is
 * over. Bodies are at most CP_HTTP_MAX_BODY_BYTES, complete before the handler is called. It knows
 * routes, no application. */
#ifndef CP_SERVER_HTTP_SERVER_H
#define CP_SERVER_HTTP_SERVER_H

#include "server/http_ids.h"
#include "server/http_reply.h"

#include <stdint.h>

#define CP_HTTP_MAX_BODY_BYTES ((size_t)65536)

typedef struct cp_http_server cp_http_server;
typedef struct cp_http_route cp_http_route;

typedef struct cp_http_request {
    const cp_http_route *route; /* NULL when none matches */
    char method[16];
    char trace_id[CP_TRACE_ID_CAP], request_id[CP_REQUEST_ID_CAP];
    uint64_t received_ns; /* its headers were complete */
    cp_strbuf body;
    cp_http_reply reply;
    /* For the access line; set by handlers. */
    int64_t prompt_tokens, completion_tokens;
} cp_http_request;

struct cp_http_route {
    const char *path;
    bool is_post; /* else GET and HEAD */
    void (*handle)(void *app, cp_http_request *request);
};

typedef struct cp_http_config {
    const char *host;
    int port; /* 0: any */
    size_t max_connections;
    int64_t header_timeout_s, body_timeout_s, idle_timeout_s;
    const cp_http_route *routes;
    size_t n_routes;
    void *app;
    /* A request is over; reply.status is what was sent, CP_HTTP_CLIENT_GONE when nobody was left.
     */
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
 * be left. NULL is allowed. */
void cp_http_server_stop(cp_http_server *server);

/* From a handler only: the answer comes later. */
void cp_http_defer(cp_http_request *request);
void cp_http_finish(cp_http_request *request);
/* Between the two: has the client closed its side? Any thread. */
bool cp_http_client_gone(const cp_http_request *request);
/* Answers with an error. */
void cp_http_fail(cp_http_request *request, const cp_api_error *error);

#endif
