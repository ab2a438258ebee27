/* The names of a request: trace_id (32 hex digits, of its server/trace.h) and request id (the
 * client's X-Request-Id where it is harmless, else ours). Random bytes come from the kernel. */
#ifndef CP_SERVER_HTTP_IDS_H
#define CP_SERVER_HTTP_IDS_H

#include <stdbool.h>
#include <stdint.h>

#define CP_TRACE_ID_CAP      33
#define CP_REQUEST_ID_CAP    65
#define CP_HTTP_ID_MAX_BYTES 32

/* For ids, at most 256 of them: never fails, and so is for nothing that must stay unknown. */
void cp_http_random_bytes(unsigned char *out, unsigned n);
/* 2 * n_bytes lower-case hex digits and a NUL; at most CP_HTTP_ID_MAX_BYTES of them. */
void cp_http_id_random(char *out, unsigned n_bytes);
/* A number below 2^53, so that JSON can carry it. */
uint64_t cp_http_random_seed(void);

/* `theirs` (may be NULL) if it is 1 to 64 of [A-Za-z0-9-], else the trace id. */
void cp_http_id_request(const char *theirs, const char *trace_id, char out[CP_REQUEST_ID_CAP]);

#endif
