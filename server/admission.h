/* The one place where a request is let in or refused: what its route asks for against what its key
 * may, in the words of HTTP. Called by the HTTP server before a body is read, for every route. */
#ifndef CP_SERVER_ADMISSION_H
#define CP_SERVER_ADMISSION_H

#include "server/access.h"
#include "server/address_limit.h"
#include "server/http_server.h"
#include "server/metrics.h"

typedef struct cp_admission {
    cp_access *access; /* NULL: no keys */
    cp_metrics *metrics;
    cp_address_limit *addresses; /* NULL: no limits by address */
    /* A minute, of one address; 0: no limit. */
    uint64_t refusals_per_minute; /* requests that are refused for want of a valid key */
    uint64_t keyless_per_minute;  /* requests where there are no keys */
} cp_admission;

/* Lets the request in, with its owner and scopes set, or answers 401, 403 or 429. Without keys only
 * clients on this machine are let in, by a loopback Host. A route with CP_SCOPE_OPEN is open to
 * all, one without scope to CP_SCOPE_ADMIN. A valid key is let in whatever others at its address
 * do. */
void cp_admission_check(const cp_admission *admission, cp_http_request *request);

/* The id of the key that asks: whose turn it is, and whose cached answers these are. "" where there
 * are no keys. Valid as long as the request. */
static inline const char *cp_access_owner(const cp_http_request *request) {
    return request->owner;
}

/* Whether the one who asks may do this too: for a route that does more for those who may. */
static inline bool cp_access_allows(const cp_http_request *request, cp_scope scope) {
    return (request->scopes & scope) == scope;
}

#endif
