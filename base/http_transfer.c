#include "base/http_transfer.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static CURLcode globals = CURLE_FAILED_INIT;

static void init_globals(void) {
    globals = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- URLs ------------------------------------------------------------------------------------ */

/* One part of the URL into out[cap]; absent is "". */
static bool url_part(CURLU *parts, CURLUPart part, unsigned flags, char *out, size_t cap) {
    char *text = NULL;
    out[0] = '\0';
    if (curl_url_get(parts, part, &text, flags) != CURLUE_OK)
        return true;
    bool fits = strlen(text) < cap;
    if (fits)
        memcpy(out, text, strlen(text) + 1);
    curl_free(text);
    return fits;
}

static bool has_part(CURLU *parts, CURLUPart part) {
    char *text = NULL;
    bool has = curl_url_get(parts, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

static cp_status read_parts(CURLU *parts, const char *what, const char *url, cp_http_url *out,
                            cp_error *err) {
    char scheme[16];
    if (curl_url_set(parts, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
        return cp_error_set(err, CP_ERR_USAGE, "%s: not a URL, expected http://host:port", what);
    if (!url_part(parts, CURLUPART_SCHEME, 0, scheme, sizeof scheme))
        scheme[0] = '\0';
    out->tls = strcmp(scheme, "https") == 0;
    if (!out->tls && strcmp(scheme, "http") != 0)
        return cp_error_set(err, CP_ERR_USAGE, "%s: the scheme is \"%s\", expected http or https",
                            what, scheme);
    if (has_part(parts, CURLUPART_USER) || has_part(parts, CURLUPART_PASSWORD))
        return cp_error_set(err, CP_ERR_USAGE,
                            "%s: has a user name or password, which URLs here must not", what);
    if (!url_part(parts, CURLUPART_HOST, 0, out->host, sizeof out->host) || !out->host[0] ||
        !url_part(parts, CURLUPART_PORT, CURLU_DEFAULT_PORT, out->port, sizeof out->port) ||
        !url_part(parts, CURLUPART_PATH, 0, out->path, sizeof out->path))
        return cp_error_set(err, CP_ERR_USAGE, "%s: host, port or path is missing or too long",
                            what);
    snprintf(out->origin, sizeof out->origin, "%s://%s:%s", scheme, out->host, out->port);
    return CP_OK;
}

cp_status cp_http_url_parse(const char *what, const char *url, cp_http_url *out, cp_error *err) {
    CURLU *parts = curl_url();
    *out = (cp_http_url){.tls = false};
    if (!parts)
        return cp_error_no_memory(err, what);
    cp_status status = read_parts(parts, what, url, out, err);
    curl_url_cleanup(parts);
    return status;
}

/* The new URL of `parts`, which hold the one that the answer came from. */
static bool follow(CURLU *parts, const char *location, cp_strbuf *out) {
    char *text = NULL;
    if (curl_url_set(parts, CURLUPART_URL, location, 0) != CURLUE_OK ||
        curl_url_set(parts, CURLUPART_FRAGMENT, NULL, 0) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_URL, &text, 0) != CURLUE_OK)
        return false;
    cp_strbuf_puts(out, text);
    curl_free(text);
    return true;
}

cp_status cp_http_url_follow(const char *url, cp_str location, cp_strbuf *out, cp_error *err) {
    cp_http_url from, to;
    cp_strbuf_clear(out);
    cp_status status = cp_http_url_parse("redirect", url, &from, err);
    if (status != CP_OK)
        return status;
    char *text = cp_copy_bytes(location.data, location.n);
    CURLU *parts = curl_url();
    if (!text || !parts)
        status = cp_error_no_memory(err, "redirect");
    else if (strlen(text) != location.n ||
             curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK || !follow(parts, text, out) ||
             cp_http_url_parse("redirect", cp_strbuf_text(out), &to, NULL) != CP_OK)
        status = cp_error_set(err, CP_ERR_FORMAT, "%s: redirects to what is no http or https URL",
                              from.origin);
    curl_url_cleanup(parts);
    free(text);
    return status == CP_OK ? cp_strbuf_check(out, "redirect", err) : status;
}

/* ---- what comes ------------------------------------------------------------------------------ */

static size_t on_head(char *bytes, size_t size, size_t n, void *user) {
    cp_http_transfer *t = user;
    cp_strbuf *head = &t->answer->head;
    if (n >= 5 && memcmp(bytes, "HTTP/", 5) == 0)
        cp_strbuf_clear(head); /* a final answer after an interim one */
    cp_strbuf_append(head, bytes, size * n);
    t->too_large |= head->failed == CP_ERR_LIMIT;
    t->no_memory |= head->failed == CP_ERR_NO_MEMORY;
    return head->failed == CP_OK ? size * n : 0;
}

static bool take(cp_http_transfer *t, cp_str bytes) {
    cp_strbuf *body = &t->answer->body;
    long status = 0;
    if (!t->call.on_body) {
        cp_strbuf_append(body, bytes.data, bytes.n);
        t->too_large |= body->failed == CP_ERR_LIMIT;
        t->no_memory |= body->failed == CP_ERR_NO_MEMORY;
        return body->failed == CP_OK;
    }
    /* body.max_bytes counts down what may still come. */
    if (bytes.n > body->max_bytes) {
        t->too_large = true;
        return false;
    }
    body->max_bytes -= bytes.n;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->stopped = !t->call.on_body(t->call.user, (int)status, bytes);
    return !t->stopped;
}

static size_t on_bytes(char *bytes, size_t size, size_t n, void *user) {
    return take(user, (cp_str){bytes, size * n}) ? size * n : 0;
}

/* ---- what goes ------------------------------------------------------------------------------- */

/* A name is a token; a value has no control characters: neither can begin a second field. */
static bool is_field(const cp_http_field *field) {
    if (!field->name[0] || field->name[strcspn(field->name, " \t\r\n:;,\"(){}[]<>@\\/?=")])
        return false;
    for (const char *at = field->value; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 127)
            return false;
    return true;
}

static bool add_line(cp_http_transfer *t, const char *line) {
    struct curl_slist *more = curl_slist_append(t->fields, line);
    if (more)
        t->fields = more;
    return more != NULL;
}

static cp_status add_field(cp_http_transfer *t, const cp_http_field *field, cp_error *err) {
    cp_strbuf line;
    if (!is_field(field))
        return cp_error_set(err, CP_ERR_USAGE,
                            "%s: a request's field \"%.64s\" has a wrong name, or control "
                            "characters in its value",
                            t->origin, field->name);
    cp_strbuf_init(&line, CP_HTTP_MAX_HEAD);
    /* libcurl takes "Name;" for a field without a value. */
    cp_strbuf_printf(&line, field->value[0] ? "%s: %s" : "%s;", field->name, field->value);
    cp_status status = cp_strbuf_check(&line, "request field", err);
    if (status == CP_OK && !add_line(t, cp_strbuf_text(&line)))
        status = cp_error_no_memory(err, "request field");
    cp_strbuf_deinit(&line);
    return status;
}

static cp_status add_fields(cp_http_transfer *t, cp_error *err) {
    const cp_http_call *call = &t->call;
    cp_status status = add_line(t, "Expect:") ? CP_OK : cp_error_no_memory(err, "request field");
    for (size_t i = 0; i < call->n_fields && status == CP_OK; i++)
        status = add_field(t, &call->fields[i], err);
    if (status == CP_OK && call->bearer) {
        cp_strbuf value;
        cp_strbuf_init(&value, CP_HTTP_MAX_HEAD);
        cp_strbuf_printf(&value, "Bearer %s", call->bearer);
        status = cp_strbuf_check(&value, "key", err);
        if (status == CP_OK)
            status = add_field(t, &(cp_http_field){"Authorization", cp_strbuf_text(&value)}, err);
        cp_strbuf_deinit(&value);
    }
    return status;
}

static CURLcode set_method(CURL *easy, const cp_http_call *call) {
    bool sends = strcmp(call->method, "POST") == 0 || strcmp(call->method, "PUT") == 0;
    CURLcode code = CURLE_OK;
    if (sends) {
        code = curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.n);
        if (code == CURLE_OK)
            code = curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body.n ? call->body.data : "");
    }
    if (code == CURLE_OK && strcmp(call->method, "HEAD") == 0)
        return curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    return code == CURLE_OK ? curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method) : code;
}

static long milliseconds(double seconds) {
    return seconds <= 0 ? 0 : seconds < 0.001 ? 1 : (long)(seconds * 1e3);
}

static CURLcode set_options(cp_http_transfer *t) {
    const cp_http_call *call = &t->call;
    CURL *easy = t->easy;
    CURLcode code = CURLE_OK;
    /* The first refusal counts; options after it change nothing. */
#define SET(option, value)                                                                         \
    code = code == CURLE_OK ? curl_easy_setopt(easy, CURLOPT_##option, value) : code
    SET(URL, call->url);
    SET(PROTOCOLS_STR, "http,https");
    SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(FOLLOWLOCATION, 0L);
    SET(NOSIGNAL, 1L);
    SET(SSL_VERIFYPEER, 1L);
    SET(SSL_VERIFYHOST, 2L);
    SET(USERAGENT, "carepath/" CP_VERSION);
    SET(HTTPHEADER, t->fields);
    SET(CONNECTTIMEOUT_MS, milliseconds(call->connect_s));
    SET(TIMEOUT_MS, milliseconds(call->total_s));
    SET(LOW_SPEED_LIMIT, call->stall_s ? 1L : 0L);
    SET(LOW_SPEED_TIME, (long)call->stall_s);
    if (!call->use_proxy)
        SET(PROXY, "");
    SET(ERRORBUFFER, t->message);
    SET(HEADERFUNCTION, on_head);
    SET(HEADERDATA, (void *)t);
    SET(WRITEFUNCTION, on_bytes);
    SET(WRITEDATA, (void *)t);
    SET(PRIVATE, (void *)t);
#undef SET
    return code == CURLE_OK ? set_method(easy, call) : code;
}

cp_status cp_http_transfer_create(cp_http_transfer *t, cp_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    *t = (cp_http_transfer){.easy = NULL};
    pthread_once(&once, init_globals);
    if (globals == CURLE_OK)
        t->easy = curl_easy_init();
    return t->easy ? CP_OK : cp_error_no_memory(err, "HTTP client");
}

void cp_http_transfer_destroy(cp_http_transfer *t) {
    if (t->easy)
        curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->fields);
    *t = (cp_http_transfer){.easy = NULL};
}

static bool is_method(const char *method) {
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "DELETE"};
    for (size_t i = 0; i < CP_COUNT_OF(known); i++)
        if (strcmp(method, known[i]) == 0)
            return true;
    return false;
}

cp_status cp_http_transfer_begin(cp_http_transfer *t, const cp_http_call *call,
                                 cp_http_answer *answer, cp_error *err) {
    cp_http_url url;
    *answer = (cp_http_answer){.end = CP_HTTP_BROKEN};
    cp_strbuf_init(&answer->head, CP_HTTP_MAX_HEAD);
    cp_strbuf_init(&answer->body, call->max_bytes);
    cp_status status = cp_http_url_parse("request", call->url, &url, err);
    if (status != CP_OK)
        return status;
    if (!is_method(call->method))
        return cp_error_set(err, CP_ERR_USAGE, "request: %.16s is not a method that is sent",
                            call->method);
    curl_easy_reset(t->easy); /* keeps the connection */
    curl_slist_free_all(t->fields);
    t->fields = NULL;
    t->call = *call;
    t->answer = answer;
    t->too_large = t->stopped = t->no_memory = false;
    t->message[0] = '\0';
    memcpy(t->origin, url.origin, sizeof t->origin);
    status = add_fields(t, err);
    CURLcode code = status == CP_OK ? set_options(t) : CURLE_OK;
    return code == CURLE_OK ? status : cp_http_transfer_end(t, code, err);
}

/* ---- how it ended ---------------------------------------------------------------------------- */

static cp_http_end end_of(const cp_http_transfer *t, CURLcode code) {
    if (t->too_large)
        return CP_HTTP_TOO_LARGE;
    if (t->stopped)
        return CP_HTTP_STOPPED;
    switch (code) {
    case CURLE_OK:
        return CP_HTTP_WHOLE;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        return CP_HTTP_NO_CONNECTION;
    case CURLE_OPERATION_TIMEDOUT:
        return CP_HTTP_TIMED_OUT;
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return CP_HTTP_CUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return CP_HTTP_INSECURE;
    default:
        return CP_HTTP_BROKEN;
    }
}

const char *cp_http_end_name(cp_http_end end) {
    static const char *const names[] = {"whole",     "connect", "timeout", "cut",
                                        "too_large", "stopped", "tls",     "broken"};
    return names[end];
}

/* libcurl's own sentence; it may name the host, never the path. */
static const char *sentence(const cp_http_transfer *t, CURLcode code) {
    return t->message[0] ? t->message : curl_easy_strerror(code);
}

cp_status cp_http_transfer_end(cp_http_transfer *t, CURLcode code, cp_error *err) {
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->answer->status = (int)status;
    t->answer->end = end_of(t, code);
    if (t->no_memory || code == CURLE_OUT_OF_MEMORY)
        return cp_error_no_memory(err, "HTTP request");
    switch (t->answer->end) {
    case CP_HTTP_WHOLE:
        return CP_OK;
    case CP_HTTP_TOO_LARGE:
        return cp_error_set(err, CP_ERR_LIMIT,
                            "%s: the answer is larger than %zu bytes (head: %zu)", t->origin,
                            t->call.max_bytes, CP_HTTP_MAX_HEAD);
    case CP_HTTP_STOPPED:
        return cp_error_set(err, CP_ERR_CANCELLED, "%s: the answer was given up", t->origin);
    case CP_HTTP_TIMED_OUT:
        return cp_error_set(err, CP_ERR_CANCELLED, "%s: %s", t->origin, sentence(t, code));
    case CP_HTTP_BROKEN:
        return cp_error_set(err, CP_ERR_FORMAT, "%s: %s", t->origin, sentence(t, code));
    default:
        return cp_error_set(err, CP_ERR_IO, "%s: %s", t->origin, sentence(t, code));
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

void cp_http_answer_deinit(cp_http_answer *answer) {
    cp_strbuf_deinit(&answer->head);
    cp_strbuf_deinit(&answer->body);
}

bool cp_http_answer_field(const cp_http_answer *answer, const char *name, cp_str *value) {
    size_t n = strlen(name);
    const char *line = cp_strbuf_text(&answer->head), *end;
    while ((end = strchr(line, '\n'))) {
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            const char *from = line + n + 1;
            while (from < end && (*from == ' ' || *from == '\t'))
                from++;
            while (end > from && strchr(" \t\r", end[-1]))
                end--;
            *value = (cp_str){from, (size_t)(end - from)};
            return true;
        }
        line = end + 1;
    }
    return false;
}

double cp_http_answer_retry_after_s(const cp_http_answer *answer) {
    cp_str value;
    double seconds = 0;
    if (!cp_http_answer_field(answer, "Retry-After", &value) || value.n == 0 || value.n > 6)
        return -1;
    for (size_t i = 0; i < value.n; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return -1;
        seconds = seconds * 10 + (value.data[i] - '0');
    }
    return seconds;
}
