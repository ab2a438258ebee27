/* An HTTP answer before it is sent, and the one way to write an error.
 *
 * An error's sentence is ours and fixed: it names fields and limits, never a value from the
 * request, so that it can be shown and logged anywhere. Owned by the request that carries it. */
#ifndef CP_SERVER_HTTP_REPLY_H
#define CP_SERVER_HTTP_REPLY_H

#include "base/json_writer.h"

#include <stdbool.h>

#define CP_HTTP_CLIENT_GONE 499 /* for logs and metrics; nobody is there to read it */

typedef struct cp_http_reply {
    int status; /* 0: not answered yet */
    const char *content_type;
    cp_strbuf body;
    const char *code;  /* of an error, for the log; NULL otherwise */
    int retry_after_s; /* 0: no Retry-After */
    const char *allow; /* of a 405; NULL otherwise */
    bool close;        /* the connection ends with this answer */
} cp_http_reply;

void cp_http_reply_init(cp_http_reply *reply);
void cp_http_reply_deinit(cp_http_reply *reply);

typedef struct cp_api_error {
    int status;
    const char *code;    /* "queue_full" */
    const char *message; /* fixed text, or a buffer that outlives the call */
    const char *param;   /* the field at fault, or NULL */
    int retry_after_s;
} cp_api_error;

/* What several parts answer, in one wording. */
extern const cp_api_error cp_api_no_memory, cp_api_draining, cp_api_loading, cp_api_client_left;

/* Replaces what the reply held. Without memory the body is empty and the status stands. */
void cp_http_reply_error(cp_http_reply *reply, const cp_api_error *error, const char *trace_id,
                         const char *request_id);
/* The member "error" of an object that is being written. */
void cp_api_error_put(cp_json_writer *w, const cp_api_error *error, const char *request_id);
/* The body alone. */
void cp_api_error_append(cp_strbuf *out, const cp_api_error *error, const char *trace_id,
                         const char *request_id);
/* What every answer carries, however it is written: nobody sniffs, stores, frames or embeds it. */
typedef struct cp_http_header {
    const char *name, *value;
} cp_http_header;
const cp_http_header *cp_http_fixed_headers(size_t *n);
/* "Not Found"; used where an answer is written by hand. */
const char *cp_http_reason(int status);

#endif
