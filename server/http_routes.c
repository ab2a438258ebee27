#include "server/http_routes.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <string.h>
#include <strings.h>

#define PARAM "{}"

static const cp_api_error not_found = {404, "not_found", "there is nothing at this path", NULL, 0};
static const cp_api_error bad_path = {
    400, "bad_path", "the path holds a bad escape, a control character or no UTF-8", NULL, 0};

/* The path of "/a?b" and of "http://host/a", from the request line as it came: nothing is decoded
 * (the library's own decoded copy is not used), so an escaped NUL or line end matches no route. */
static cp_str path_of(const char *uri) {
    if (strncasecmp(uri, "http://", 7) == 0)
        uri += 7 + strcspn(uri + 7, "/");
    return (cp_str){uri, strcspn(uri, "?")};
}

static size_t segment_length(cp_str path) {
    const char *slash = memchr(path.data, '/', path.n);
    return slash ? (size_t)(slash - path.data) : path.n;
}

/* Compares a path with a pattern; `raw` gets the segments where the pattern has {}. */
static bool match(const char *pattern, cp_str path, cp_str raw[CP_HTTP_MAX_PARAMS]) {
    size_t n_params = 0;
    memset(raw, 0, CP_HTTP_MAX_PARAMS * sizeof *raw);
    while (*pattern) {
        size_t n = 1, n_pattern = 1;
        if (n_params < CP_HTTP_MAX_PARAMS && strncmp(pattern, PARAM, strlen(PARAM)) == 0) {
            n = segment_length(path);
            n_pattern = strlen(PARAM);
            raw[n_params++] = (cp_str){path.data, n};
        } else if (path.n == 0 || *path.data != *pattern) {
            return false;
        }
        if (n == 0)
            return false;
        path = (cp_str){path.data + n, path.n - n};
        pattern += n_pattern;
    }
    return path.n == 0;
}

static const cp_http_route *find(const cp_http_route *routes, size_t n_routes, cp_str path,
                                 cp_str raw[CP_HTTP_MAX_PARAMS]) {
    for (size_t i = 0; i < n_routes; i++)
        if (!strstr(routes[i].path, PARAM) && cp_str_is(path, routes[i].path))
            return &routes[i];
    for (size_t i = 0; i < n_routes; i++)
        if (strstr(routes[i].path, PARAM) && match(routes[i].path, path, raw))
            return &routes[i];
    return NULL;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of a segment, which is moved past it; -1 for a bad escape. */
static int decode_byte(cp_str *raw) {
    int value = (unsigned char)*raw->data;
    size_t n = 1;
    if (value == '%') {
        int high = raw->n >= 3 ? hex_value(raw->data[1]) : -1;
        int low = raw->n >= 3 ? hex_value(raw->data[2]) : -1;
        if (high < 0 || low < 0)
            return -1;
        value = high << 4 | low;
        n = 3;
    }
    *raw = (cp_str){raw->data + n, raw->n - n};
    return value;
}

/* NULL, or what is wrong. Names that go on to other paths and stores: no separators, no dots. */
static const cp_api_error *decode(cp_str raw, char out[CP_HTTP_PARAM_CAP]) {
    size_t n = 0;
    while (raw.n > 0) {
        int byte = decode_byte(&raw);
        if (byte < 0x20 || byte == 0x7f)
            return &bad_path;
        if (byte == '/' || n == CP_HTTP_PARAM_CAP - 1)
            return &not_found;
        out[n++] = (char)byte;
    }
    out[n] = '\0';
    if (!cp_utf8_is_valid(out, n))
        return &bad_path;
    return strcmp(out, ".") == 0 || strcmp(out, "..") == 0 ? &not_found : NULL;
}

static bool method_fits(const cp_http_route *route, const char *method) {
    if (route->is_post)
        return strcmp(method, "POST") == 0;
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

static void keep_query(const char *uri, char out[CP_HTTP_QUERY_CAP]) {
    const char *mark = strchr(uri, '?');
    size_t n = mark ? strnlen(mark + 1, CP_HTTP_QUERY_CAP - 1) : 0;
    if (n > 0)
        memcpy(out, mark + 1, n);
    out[n] = '\0';
}

cp_status cp_http_query_size(const char *query, const char *name, size_t *out) {
    size_t n_name = strlen(name), value = 0;
    while (strncmp(query, name, n_name) != 0 || query[n_name] != '=') {
        query += strcspn(query, "&");
        if (!*query++)
            return CP_ERR_NOT_FOUND;
    }
    const char *digit = query + n_name + 1;
    if (!*digit || *digit == '&')
        return CP_ERR_FORMAT;
    for (; *digit && *digit != '&'; digit++)
        if (*digit < '0' || *digit > '9' || !cp_size_mul(value, 10, &value) ||
            !cp_size_add(value, (size_t)(*digit - '0'), &value))
            return CP_ERR_FORMAT;
    *out = value;
    return CP_OK;
}

bool cp_http_route_find(const cp_http_route *routes, size_t n_routes, const char *uri,
                        cp_http_request *request, cp_api_error *error) {
    cp_str raw[CP_HTTP_MAX_PARAMS] = {{0}};
    keep_query(uri, request->query);
    request->route = find(routes, n_routes, path_of(uri), raw);
    if (!request->route) {
        *error = not_found;
        return false;
    }
    if (!method_fits(request->route, request->method)) {
        *error = (cp_api_error){405, "method_not_allowed", "this path has other methods", NULL, 0};
        request->reply.allow = request->route->is_post ? "POST" : "GET, HEAD";
        return false;
    }
    for (size_t i = 0; i < CP_HTTP_MAX_PARAMS; i++) {
        const cp_api_error *wrong = raw[i].n ? decode(raw[i], request->params[i]) : NULL;
        if (wrong) {
            *error = *wrong;
            return false;
        }
    }
    return true;
}
