/* What is read of an HTTP request before anything of it is believed: framing, target, addresses,
 * ids. The first line is the target, the second the version, the others are headers, as the library
 * would hand them over. */
#include "tests/fuzz/fuzz.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "server/http_cors.h"
#include "server/http_guard.h"
#include "server/http_routes.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINES 80

static cp_str lines[MAX_LINES];
static size_t n_lines;

/* Instead of the library's. Names and values end with a NUL, as its own do. */
int MHD_get_connection_values_n(struct MHD_Connection *connection, enum MHD_ValueKind kind,
                                MHD_KeyValueIteratorN on_header, void *user) {
    (void)connection;
    for (size_t i = 2; i < n_lines; i++) {
        char *line = fuzz_text((const uint8_t *)lines[i].data, lines[i].n);
        char *colon = memchr(line, ':', lines[i].n), *value = colon ? colon + 1 : NULL;
        size_t n_name = colon ? (size_t)(colon - line) : lines[i].n;
        size_t n_value = colon ? lines[i].n - n_name - 1 : 0;
        if (colon)
            *colon = '\0';
        on_header(user, kind, line, n_name, value, n_value);
        free(line);
    }
    return (int)n_lines;
}

static void split(const uint8_t *data, size_t n) {
    const char *at = (const char *)data, *end = at + n;
    for (n_lines = 0; n_lines < MAX_LINES && at < end; n_lines++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        lines[n_lines] = (cp_str){at, (size_t)((line_end ? line_end : end) - at)};
        at = line_end ? line_end + 1 : end;
    }
}

static void handle(void *app, cp_http_request *request) {
    (void)app, (void)request;
}

static void check_route(const char *uri) {
    static const cp_http_route routes[] = {{"/health", false, handle, 0, 0},
                                           {"/triage", true, handle, 0, 0},
                                           {"/patients/{}/summary", false, handle, 0, 0},
                                           {"/patients/$import", true, handle, 0, 0},
                                           {"/a/{}/b/{}", false, handle, 0, 0}};
    static const char *const methods[] = {"GET", "HEAD", "POST"};
    for (size_t i = 0; i < CP_COUNT_OF(methods); i++) {
        cp_http_request request = {.route = NULL};
        cp_api_error error;
        strcpy(request.method, methods[i]);
        if (!cp_http_route_find(routes, CP_COUNT_OF(routes), uri, &request, &error)) {
            fuzz_expect(error.status == 400 || error.status == 404 || error.status == 405);
            continue;
        }
        for (size_t p = 0; p < CP_HTTP_MAX_PARAMS; p++) {
            const char *param = request.params[p];
            fuzz_expect(cp_utf8_is_valid(param, strlen(param)));
            fuzz_expect(!strpbrk(param, "/\r\n") && strcmp(param, "..") != 0);
        }
    }
}

static void check_address(cp_str text) {
    cp_address address, again;
    char written[CP_ADDRESS_CAP];
    if (!cp_address_parse(text, &address))
        return;
    cp_address_text(&address, written);
    fuzz_expect(cp_address_parse((cp_str){written, strlen(written)}, &again));
    fuzz_expect(memcmp(&address, &again, sizeof address) == 0);
}

static void check_values(const char *text) {
    static const cp_address peer = {.bytes = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1}};
    static cp_networks networks; /* large */
    static cp_origins origins;
    cp_error err;
    static const char trace[] = "0af7651916cd43dd8448eb211c80319c";
    char id[CP_REQUEST_ID_CAP];
    cp_trace_context context;
    char parent[CP_TRACE_PARENT_CAP];
    uint64_t length;
    check_address((cp_str){text, strlen(text)});
    if (!fuzz_ok(cp_networks_parse(text, "TRUSTED_PROXIES", &networks, &err), &err))
        fuzz_expect(cp_networks_parse("10.0.0.0/8", "TRUSTED_PROXIES", &networks, &err) == CP_OK);
    (void)cp_forwarded_client(&networks, &peer, text);
    (void)cp_forwarded_https(&networks, &peer, text);
    if (fuzz_ok(cp_origins_parse(text, "CORS_ORIGINS", &origins, &err), &err))
        (void)cp_origins_allow(&origins, text);
    (void)cp_host_is_loopback(text);
    (void)cp_http_is_json(text);
    if (cp_http_parse_length(text, &length))
        fuzz_expect(length < 1000000000000000);
    cp_http_id_request(text, trace, id);
    fuzz_expect(strlen(id) > 0 && !strpbrk(id, "\r\n"));
    if (cp_trace_parse(text, &context)) {
        cp_trace_format(&context, parent);
        fuzz_expect(strncmp(parent + 2, text + 2, 51) == 0);
    }
    if (cp_trace_state_is_valid(text))
        fuzz_expect(strchr(text, '=') != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    cp_http_framing found;
    split(data, n);
    char *uri = fuzz_text((const uint8_t *)lines[0].data, n_lines > 0 ? lines[0].n : 0);
    char *version = fuzz_text((const uint8_t *)lines[1].data, n_lines > 1 ? lines[1].n : 0);
    cp_http_guard_check(NULL, uri, version, &found);
    fuzz_expect(found.status == 0 ||
                (found.status >= 400 && found.status < 600 && found.code && found.message));
    fuzz_expect(strlen(found.forwarded_for) < sizeof found.forwarded_for);
    check_route(uri);
    check_values(uri);
    check_values(found.forwarded_for);
    free(uri);
    free(version);
    return 0;
}
