/* Which route a request is for, and what stands in its path.
 *
 * The target is compared as it was sent; only the parameter segments of a pattern are decoded, and
 * strictly, so an escaped NUL, slash or line end reaches no handler. Stateless. */
#ifndef CP_SERVER_HTTP_ROUTES_H
#define CP_SERVER_HTTP_ROUTES_H

#include "server/http_server.h"

/* Sets request->route, params and query from the target. `uri` is the request target as it came.
 * False with the error when no route matches, the route has another method (then reply.allow is set
 * too) or a parameter cannot be one. */
bool cp_http_route_find(const cp_http_route *routes, size_t n_routes, const char *uri,
                        cp_http_request *request, cp_api_error *error);

/* The number that `name` has in a query ("start=10&end=20"): CP_ERR_NOT_FOUND where it is not
 * there, CP_ERR_FORMAT where it is no number of digits alone that fits. */
cp_status cp_http_query_size(const char *query, const char *name, size_t *out) CP_MUST_CHECK;

#endif
