/* HTTP requests to other servers: one at a time here, many at a time in http_multi.h.
 *
 * Over libcurl, which http_transfer.c, http_client.c and http_multi.c alone know. Only http and
 * https (peer and host verified), HTTP/1.1, no redirects followed, no signals, no cookies, no proxy
 * unless the call asks. Every call has limits of time and size. A client keeps its connection open
 * from one request to the next; it belongs to one thread at a time. Errors name the server's
 * scheme, host and port, never path, fields or body: those may hold a patient's data or a key. */
#ifndef CP_BASE_HTTP_CLIENT_H
#define CP_BASE_HTTP_CLIENT_H

#include "base/strbuf.h"

#include <stdint.h>

/* What became of a request. */
typedef enum cp_http_end {
    CP_HTTP_WHOLE,         /* an answer came to its end, whatever its status says */
    CP_HTTP_NO_CONNECTION, /* no such host, refused, unreachable */
    CP_HTTP_TIMED_OUT,     /* a limit of the call passed */
    CP_HTTP_CUT,           /* the connection ended or broke before the answer was whole */
    CP_HTTP_TOO_LARGE,     /* head over CP_HTTP_MAX_HEAD, or body over the call's maximum */
    CP_HTTP_STOPPED,       /* on_body asked for it */
    CP_HTTP_INSECURE,      /* TLS found nobody to trust */
    CP_HTTP_BROKEN,        /* not HTTP, out of memory, ... */
} cp_http_end;
/* "connect", "timeout", "cut", "too_large", "stopped", "tls", "broken"; "whole" else. */
const char *cp_http_end_name(cp_http_end end);

typedef struct cp_http_field {
    const char *name, *value;
} cp_http_field;

#define CP_HTTP_MAX_HEAD ((size_t)64 << 10)

/* A request. All is borrowed; the body and on_body's user until the request has ended. */
typedef struct cp_http_call {
    const char *method; /* "GET", "HEAD", "POST", "PUT", "DELETE" */
    const char *url;    /* http:// or https://, without user name and password */
    const cp_http_field *fields;
    size_t n_fields;
    const char *bearer;        /* sent as "Authorization: Bearer ..."; NULL for none */
    cp_str body;               /* POST and PUT only */
    double connect_s, total_s; /* limits in seconds; 0 for none */
    unsigned stall_s;          /* so long without a byte; 0 for no limit */
    size_t max_bytes;          /* of the answer's body */
    bool use_proxy;            /* http_proxy and its kin of the environment; else none */
    /* Takes the body as it comes instead of answer.body; false ends the request. */
    bool (*on_body)(void *user, int status, cp_str bytes);
    void *user;
} cp_http_call;

typedef struct cp_http_answer {
    cp_http_end end;
    int status;     /* 0 when no status line came */
    cp_strbuf head; /* status line and fields as they came */
    cp_strbuf body; /* empty where on_body took it */
} cp_http_answer;
void cp_http_answer_deinit(cp_http_answer *answer);
/* The first field of this name (any case), without blanks around it; false when there is none. */
bool cp_http_answer_field(const cp_http_answer *answer, const char *name, cp_str *value);
/* Seconds of a Retry-After that is a number; -1 else (a date, nonsense, none). */
double cp_http_answer_retry_after_s(const cp_http_answer *answer);

typedef struct cp_http_client cp_http_client;
cp_status cp_http_client_create(cp_http_client **out, cp_error *err) CP_MUST_CHECK;
void cp_http_client_free(cp_http_client *client);

/* CP_OK when an answer came whole, whatever its status. Else answer->end says how it ended, and the
 * status is CP_ERR_IO (connection, TLS), CP_ERR_CANCELLED (a limit of time, on_body), CP_ERR_LIMIT,
 * CP_ERR_FORMAT, CP_ERR_NO_MEMORY, or CP_ERR_USAGE (a wrong call). *answer is initialised here and
 * released by the caller, also after failure. */
cp_status cp_http_client_send(cp_http_client *client, const cp_http_call *call,
                              cp_http_answer *answer, cp_error *err) CP_MUST_CHECK;

/* The parts of an http or https URL; `what` names it in errors ("--url"). */
typedef struct cp_http_url {
    bool tls;
    char host[256];   /* an IPv6 address stands in brackets */
    char port[6];     /* never empty */
    char origin[280]; /* "http://host:port" */
    char path[1024];  /* begins with "/"; as it was given, without query */
} cp_http_url;
cp_status cp_http_url_parse(const char *what, const char *url, cp_http_url *out,
                            cp_error *err) CP_MUST_CHECK;
/* Where `location`, absolute or relative, leads from the http or https `url`; `out` is cleared
 * first. What is no such URL, or has a user name, is CP_ERR_FORMAT. */
cp_status cp_http_url_follow(const char *url, cp_str location, cp_strbuf *out,
                             cp_error *err) CP_MUST_CHECK;

#endif
