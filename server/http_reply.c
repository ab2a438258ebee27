#include "server/http_reply.h"

#include "base/json_writer.h"
#include "base/mem.h"

#define MAX_REPLY_BYTES ((size_t)8 << 20)

const cp_api_error cp_api_no_memory = {503, "no_memory", "the server is short of memory", NULL, 1};
const cp_api_error cp_api_draining = {503, "draining", "the server is shutting down", NULL, 10};
const cp_api_error cp_api_loading = {503, "loading", "the model is being loaded", NULL, 5};
const cp_api_error cp_api_client_left = {CP_HTTP_CLIENT_GONE, "client_gone", "the client left",
                                         NULL, 0};

void cp_http_reply_init(cp_http_reply *reply) {
    *reply = (cp_http_reply){.content_type = "application/json"};
    cp_strbuf_init(&reply->body, MAX_REPLY_BYTES);
}

void cp_http_reply_deinit(cp_http_reply *reply) {
    cp_strbuf_deinit(&reply->body);
}

static const char *error_type(int status) {
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 429:
        return "rate_limit_error";
    case 503:
        return "unavailable_error";
    case 504:
        return "timeout_error";
    default:
        return status < 500 ? "invalid_request_error" : "server_error";
    }
}

const cp_http_header *cp_http_fixed_headers(size_t *n) {
    static const cp_http_header headers[] = {
        {"X-Content-Type-Options", "nosniff"},
        {"Cache-Control", "no-store"},
        {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
    };
    *n = CP_COUNT_OF(headers);
    return headers;
}

const char *cp_http_reason(int status) {
    switch (status) {
    case 408:
        return "Request Timeout";
    case 413:
        return "Content Too Large";
    default:
        return "Error";
    }
}

void cp_api_error_put(cp_json_writer *w, const cp_api_error *error, const char *request_id) {
    cp_json_key(w, "error");
    cp_json_open_object(w);
    cp_json_member_text(w, "type", error_type(error->status));
    cp_json_member_text(w, "code", error->code);
    cp_json_member_text(w, "message", error->message);
    cp_json_member_text(w, "param", error->param);
    cp_json_member_text(w, "request_id", request_id);
    cp_json_close_object(w);
}

void cp_api_error_append(cp_strbuf *out, const cp_api_error *error, const char *trace_id,
                         const char *request_id) {
    cp_json_writer w;
    cp_json_writer_init(&w, out);
    cp_json_open_object(&w);
    cp_api_error_put(&w, error, request_id);
    cp_json_member_text(&w, "trace_id", trace_id);
    cp_json_close_object(&w);
    cp_strbuf_putc(out, '\n');
}

void cp_http_reply_error(cp_http_reply *reply, const cp_api_error *error, const char *trace_id,
                         const char *request_id) {
    cp_strbuf_clear(&reply->body);
    reply->status = error->status;
    reply->content_type = "application/json";
    reply->code = error->code;
    reply->retry_after_s = error->retry_after_s;
    cp_api_error_append(&reply->body, error, trace_id, request_id);
    if (reply->body.failed != CP_OK)
        cp_strbuf_clear(&reply->body);
}
