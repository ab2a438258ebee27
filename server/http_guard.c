#include "server/http_guard.h"

#include "server/http_server.h"

#include <microhttpd.h>
#include <string.h>
#include <strings.h>

typedef struct walk {
    cp_http_framing *found;
    unsigned n_headers, n_hosts, n_lengths, n_codings, n_types, n_authorizations, n_deadlines,
        n_traceparents;
    size_t n_bytes;
} walk;

/* The first fault is the one that is told. */
static void refuse(cp_http_framing *found, int status, const char *code, const char *message) {
    if (found->status)
        return;
    found->status = status;
    found->code = code;
    found->message = message;
}

static void refuse_header(cp_http_framing *found, int status, const char *code, const char *message,
                          const char *name) {
    if (!found->status)
        found->param = name;
    refuse(found, status, code, message);
}

static bool is_token(const char *name, size_t n) {
    static const char marks[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && (c == '\0' || !strchr(marks, c)))
            return false;
    }
    return n > 0;
}

static bool has_control(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
            return true;
    return false;
}

bool cp_http_parse_length(const char *text, uint64_t *out) {
    size_t n = strlen(text);
    if (n == 0 || n > 15 || strspn(text, "0123456789") != n)
        return false;
    *out = 0;
    for (; *text; text++)
        *out = *out * 10 + (uint64_t)(*text - '0');
    return true;
}

bool cp_http_is_json(const char *content_type) {
    size_t n = strcspn(content_type, "; \t");
    return (n == 16 && strncasecmp(content_type, "application/json", n) == 0) ||
           (n == 21 && strncasecmp(content_type, "application/fhir+json", n) == 0);
}

static void read_length(walk *w, const char *value) {
    w->n_lengths++;
    if (!cp_http_parse_length(value, &w->found->content_length))
        refuse(w->found, 400, "bad_framing", "Content-Length is not a number");
    else if (w->found->content_length > 0)
        w->found->has_body = true;
}

static void read_coding(walk *w, const char *value) {
    w->n_codings++;
    w->found->has_body = w->found->chunked = true;
    if (strcasecmp(value, "chunked") != 0)
        refuse(w->found, 501, "transfer_coding", "the only transfer coding here is chunked");
}

static void read_authorization(walk *w, const char *value) {
    w->n_authorizations++;
    w->found->authorization = value;
    if (strlen(value) >= CP_HTTP_AUTHORIZATION_CAP)
        refuse_header(w->found, 431, "headers_too_large", "Authorization is longer than 511 bytes",
                      "Authorization");
}

static void read_deadline(walk *w, const char *value) {
    uint64_t ms = 0;
    w->n_deadlines++;
    if (!cp_http_parse_length(value, &ms) || ms < 1 || ms > CP_HTTP_MAX_DEADLINE_MS)
        refuse_header(w->found, 422, "invalid", "X-Deadline-Ms is a number from 1 to 3600000",
                      "X-Deadline-Ms");
    w->found->deadline_ms = (int64_t)ms;
}

static void read_header(walk *w, const char *name, const char *value) {
    if (strcasecmp(name, "Content-Length") == 0) {
        read_length(w, value);
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        read_coding(w, value);
    } else if (strcasecmp(name, "Host") == 0) {
        w->n_hosts++;
        w->found->host = value;
    } else if (strcasecmp(name, "Content-Type") == 0) {
        w->n_types++;
        w->found->is_json = cp_http_is_json(value);
    } else if (strcasecmp(name, "Expect") == 0) {
        if (strcasecmp(value, "100-continue") != 0)
            refuse(w->found, 417, "expectation", "the only expectation here is 100-continue");
    } else if (strcasecmp(name, "X-Request-Id") == 0) {
        w->found->request_id = value;
    } else if (strcasecmp(name, "traceparent") == 0) {
        w->found->traceparent = w->n_traceparents++ == 0 ? value : NULL;
    } else if (strcasecmp(name, "tracestate") == 0) {
        cp_trace_state_add(&w->found->tracestate, value);
    } else if (strcasecmp(name, "Authorization") == 0) {
        read_authorization(w, value);
    } else if (strcasecmp(name, "X-Deadline-Ms") == 0) {
        read_deadline(w, value);
    } else if (strcasecmp(name, "Accept") == 0) {
        w->found->accept = value;
    } else if (strcasecmp(name, "Origin") == 0) {
        w->found->origin = value;
    } else if (strcasecmp(name, "Access-Control-Request-Method") == 0) {
        w->found->preflight_method = value;
    } else if (strcasecmp(name, "X-Forwarded-For") == 0) {
        cp_forwarded_add(w->found->forwarded_for, value);
    } else if (strcasecmp(name, "X-Forwarded-Proto") == 0) {
        cp_forwarded_add(w->found->forwarded_proto, value);
    }
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                 size_t n_name, const char *value, size_t n_value) {
    walk *w = cls;
    (void)kind;
    w->n_headers++;
    w->n_bytes += n_name + n_value + 4; /* ": " and the line's end */
    if (!is_token(name, n_name))
        refuse(w->found, 400, "bad_framing", "a header's name is not a token");
    if (value && (strlen(value) != n_value || has_control(value, n_value)))
        refuse(w->found, 400, "bad_framing", "a header holds a control character");
    read_header(w, name, value ? value : "");
    return MHD_YES;
}

static void check_counts(const walk *w, const char *uri, const char *version) {
    cp_http_framing *found = w->found;
    bool is_11 = strcmp(version, "HTTP/1.1") == 0;
    if (!is_11 && strcmp(version, "HTTP/1.0") != 0)
        refuse(found, 505, "http_version", "the protocol here is HTTP/1.1 or HTTP/1.0");
    if (w->n_lengths && w->n_codings)
        refuse(found, 400, "bad_framing",
               "Content-Length and Transfer-Encoding exclude each other");
    if (w->n_lengths > 1 || w->n_codings > 1)
        refuse(found, 400, "bad_framing", "the body's length is given twice");
    if (w->n_codings && !is_11)
        refuse(found, 400, "bad_framing", "HTTP/1.0 has no transfer codings");
    if ((is_11 && w->n_hosts == 0) || w->n_hosts > 1)
        refuse(found, 400, "bad_framing", "a request has exactly one Host");
    if (w->n_types > 1)
        refuse(found, 400, "bad_framing", "Content-Type is given twice");
    if (w->n_authorizations > 1)
        refuse_header(found, 400, "duplicate_header", "Authorization is given twice",
                      "Authorization");
    if (w->n_deadlines > 1)
        refuse_header(found, 400, "duplicate_header", "X-Deadline-Ms is given twice",
                      "X-Deadline-Ms");
    if (strlen(uri) > CP_HTTP_MAX_URI_BYTES)
        refuse(found, 414, "uri_too_long", "the request target is longer than 4096 bytes");
    if (w->n_headers > CP_HTTP_MAX_HEADERS || w->n_bytes > CP_HTTP_MAX_HEADER_BYTES)
        refuse(found, 431, "headers_too_large", "more than 64 headers or 16384 bytes of them");
}

void cp_http_guard_check(struct MHD_Connection *connection, const char *uri, const char *version,
                         cp_http_framing *out) {
    *out = (cp_http_framing){.deadline_ms = -1};
    walk w = {.found = out};
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, on_header, &w);
    check_counts(&w, uri, version);
}
