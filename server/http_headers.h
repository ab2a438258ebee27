/* The headers of an answer: what every answer carries, what its request asks for, and what lets a
 * web page of an allowed origin read it (CORS). Stateless; used by http_server alone. */
#ifndef CP_SERVER_HTTP_HEADERS_H
#define CP_SERVER_HTTP_HEADERS_H

#include "server/http_server.h"

struct MHD_Response;

typedef struct cp_http_headers {
    const cp_http_request *request;
    const char *origin; /* of the web page that asked and may; "" when there is none */
    bool varies;        /* other origins get other answers */
    bool close;         /* the connection ends with this answer */
    const char
        *preflight; /* the methods of the path, where a browser asks before it asks; or NULL */
} cp_http_headers;

/* False without memory. */
bool cp_http_headers_add(const cp_http_headers *headers, struct MHD_Response *response);

bool cp_http_is_event_stream(const char *content_type);

#endif
