/* Many HTTP requests at a time on one thread: for tools that make load.
 *
 * The rules of http_client.h hold for each. Connections are kept open and used again. Waiting is
 * precise to microseconds (epoll and a timer of the kernel's), so that a caller can keep a schedule
 * between answers. Everything happens inside cp_http_multi_wait; on_done may begin and cancel
 * requests, on_body must not. */
#ifndef CP_BASE_HTTP_MULTI_H
#define CP_BASE_HTTP_MULTI_H

#include "base/http_client.h"

typedef struct cp_http_multi cp_http_multi;
typedef struct cp_http_flight cp_http_flight; /* a request under way */

/* At most max_flights requests at a time. */
cp_status cp_http_multi_create(size_t max_flights, cp_http_multi **out,
                               cp_error *err) CP_MUST_CHECK;
/* Drops what is under way; nobody is called. */
void cp_http_multi_free(cp_http_multi *multi);

/* Called once when the request has ended; the answer lives until it returns. */
typedef void (*cp_http_on_done)(void *user, const cp_http_answer *answer);
/* CP_ERR_BUSY when max_flights are under way. */
cp_status cp_http_multi_start(cp_http_multi *multi, const cp_http_call *call,
                              cp_http_on_done on_done, void *user, cp_http_flight **out,
                              cp_error *err) CP_MUST_CHECK;
/* Ends a request and closes its connection; on_done is not called. */
void cp_http_multi_cancel(cp_http_multi *multi, cp_http_flight *flight);
size_t cp_http_multi_n_flights(const cp_http_multi *multi);

/* Works until cp_clock_ns() is until_ns, or something happened on a connection: then once. */
cp_status cp_http_multi_wait(cp_http_multi *multi, uint64_t until_ns, cp_error *err) CP_MUST_CHECK;

#endif
