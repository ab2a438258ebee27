/* One request as a libcurl easy handle: what http_client.c and http_multi.c share. Not for others.
 */
#ifndef CP_BASE_HTTP_TRANSFER_H
#define CP_BASE_HTTP_TRANSFER_H

#include "base/http_client.h"

#include <curl/curl.h>

typedef struct cp_http_transfer {
    CURL *easy;
    struct curl_slist *fields;
    cp_http_call call;
    cp_http_answer *answer;
    char origin[sizeof((cp_http_url *)0)->origin];
    char message[CURL_ERROR_SIZE];
    bool too_large, stopped, no_memory;
} cp_http_transfer;

/* Makes the handle; once for the process, libcurl's globals. */
cp_status cp_http_transfer_create(cp_http_transfer *t, cp_error *err) CP_MUST_CHECK;
void cp_http_transfer_destroy(cp_http_transfer *t);

/* Sets the handle up for the call; the answer is initialised here. */
cp_status cp_http_transfer_begin(cp_http_transfer *t, const cp_http_call *call,
                                 cp_http_answer *answer, cp_error *err) CP_MUST_CHECK;
/* After libcurl has ended it with `code`: fills in the answer (answer->end tells the same as the
 * status) and says what went wrong. */
cp_status cp_http_transfer_end(cp_http_transfer *t, CURLcode code, cp_error *err);

#endif
