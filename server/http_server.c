#include "server/http_server.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "server/http_connections.h"
#include "server/http_guard.h"
#include "server/http_headers.h"
#include "server/http_listen.h"
#include "server/http_routes.h"
#include "server/http_stream.h"
#include "server/http_tls.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* From 1.0 on the library can refuse what is against RFC 9112 (bare LF, blanks in the request
 * line); before, its strict mode adds nothing that the guard does not see. */
#if MHD_VERSION >= 0x00097701
#define STRICTNESS MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1,
#else
#define STRICTNESS
#endif

#define POOL_BYTES        ((size_t)48 << 10) /* a connection's headers and buffers */
#define MAX_DISCARD_BYTES ((size_t)1 << 20)  /* of a body that is refused anyway */
#define LAST_ANSWERS_MS   2000
#define MAX_ERROR_BYTES   ((size_t)4096)

struct cp_http_server {
    cp_http_config config;
    struct MHD_Daemon *daemon;
    cp_connections *connections;
    cp_streams streams;
    cp_http_tls tls;
    bool is_tls;
    char address[CP_HTTP_ADDRESS_CAP];
    atomic_bool draining;
    atomic_int n_active; /* requests whose headers are complete */
};

/* A request with what the library needs for it. */
typedef struct exchange {
    cp_http_request request; /* first: handlers hold a pointer to it */
    cp_http_server *server;
    struct MHD_Connection *mhd;
    cp_connection *connection;
    int fd;
    char uri[CP_HTTP_MAX_URI_BYTES + 2]; /* one more than the longest, to see that it is longer */
    size_t n_discarded;
    char origin[CP_ORIGIN_CAP]; /* of the web page that asks, when it may */
    const char *preflight;      /* the path's methods, for a browser that asks first */
    bool begun;                 /* headers checked */
    bool handled;               /* the handler was called, or nothing is left to handle */
    bool deferred;              /* the answer comes by cp_http_finish, or in pieces */
    bool answered;              /* queued with the library */
    bool too_large;             /* the body, found while it came in */
    cp_stream stream;           /* begun when the answer comes in pieces */
} exchange;

static exchange *exchange_of(const cp_http_request *request) {
    return (exchange *)(uintptr_t)request;
}

static cp_connection *connection_of(struct MHD_Connection *mhd) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static int socket_of(struct MHD_Connection *mhd) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

/* ---- refusing -------------------------------------------------------------------------------- */

#define SENTENCE_CAP 64

static size_t max_body_bytes(const cp_http_request *request) {
    size_t bytes = request->route ? request->route->max_body_bytes : 0;
    return bytes ? bytes : CP_HTTP_MAX_BODY_BYTES;
}

static cp_api_error too_large(const cp_http_request *request, char sentence[SENTENCE_CAP]) {
    snprintf(sentence, SENTENCE_CAP, "the body is larger than %zu bytes", max_body_bytes(request));
    return (cp_api_error){413, "body_too_large", sentence, NULL, 0};
}

/* What can be refused from the headers alone; false when there is nothing. */
static bool refuse_early(exchange *x, const cp_http_framing *framing) {
    const cp_http_config *config = &x->server->config;
    cp_http_request *request = &x->request;
    cp_api_error error = {0};
    char sentence[SENTENCE_CAP];
    bool found = cp_http_route_find(config->routes, config->n_routes, x->uri, request, &error);
    if (framing->status) {
        error = (cp_api_error){framing->status, framing->code, framing->message, framing->param, 0};
        request->reply.allow = NULL;
    } else if (found && framing->content_length > max_body_bytes(request)) {
        error = too_large(request, sentence);
    } else if (found && request->route->is_post && !framing->is_json) {
        error = (cp_api_error){415, "media_type", "Content-Type must be application/json", NULL, 0};
    }
    if (error.status)
        cp_http_fail(request, &error);
    return error.status != 0;
}

/* ---- answering ------------------------------------------------------------------------------- */

static struct MHD_Response *make_response(exchange *x) {
    if (atomic_load(&x->stream.begun)) {
        struct MHD_Response *response = cp_stream_response(&x->stream);
        if (response)
            return response;
        cp_http_fail(&x->request, &cp_api_no_memory); /* nothing was sent yet */
    }
    if (x->preflight)
        return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    size_t n = x->request.reply.body.n;
    char *data = cp_strbuf_take(&x->request.reply.body);
    if (!data)
        return NULL;
    struct MHD_Response *response = MHD_create_response_from_buffer(n, data, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(data);
    return response;
}

static bool add_headers(const exchange *x, struct MHD_Response *response) {
    const cp_http_server *server = x->server;
    const cp_http_headers headers = {
        .request = &x->request,
        .origin = x->origin,
        .varies = server->config.origins && server->config.origins->n > 0,
        .close = x->request.reply.close || atomic_load(&server->draining),
        .preflight = x->preflight,
    };
    return cp_http_headers_add(&headers, response);
}

static enum MHD_Result answer(exchange *x) {
    struct MHD_Response *response = make_response(x);
    if (!response)
        return MHD_NO;
    enum MHD_Result result = MHD_NO;
    if (add_headers(x, response) &&
        cp_connections_enter(x->server->connections, x->connection, CP_PHASE_SENDING))
        result = MHD_queue_response(x->mhd, (unsigned)x->request.reply.status, response);
    MHD_destroy_response(response);
    x->answered = result == MHD_YES;
    return result;
}

/* An answer before the body has come: the connection cannot be used again, since nobody knows where
 * the next request would begin. */
static enum MHD_Result answer_early(exchange *x) {
    x->request.reply.close = true;
    x->handled = true;
    cp_connections_drain_later(x->server->connections, x->connection);
    return answer(x);
}

/* ---- a request's life ------------------------------------------------------------------------ */

/* `framing` NULL: nothing is known of it yet. */
static void name_request(cp_http_request *request, cp_tracer *tracer,
                         const cp_http_framing *framing) {
    cp_trace_begin(&request->trace, tracer, framing ? framing->traceparent : NULL,
                   framing ? framing->tracestate.text : "");
    cp_hex(request->trace.context.trace_id, CP_TRACE_ID_BYTES, request->trace_id);
    cp_http_id_request(framing ? framing->request_id : NULL, request->trace_id,
                       request->request_id);
}

/* The request line is there. What is returned becomes the library's pointer for this request. */
static void *on_request_line(void *cls, const char *uri, struct MHD_Connection *mhd) {
    cp_http_server *server = cls;
    cp_connection *connection = connection_of(mhd);
    exchange *x = connection ? calloc(1, sizeof *x) : NULL;
    if (!x)
        return NULL;
    x->server = server;
    x->mhd = mhd;
    x->connection = connection;
    x->fd = socket_of(mhd);
    x->request.received_ns = cp_clock_ns();
    memcpy(x->uri, uri, strnlen(uri, sizeof x->uri - 1));
    x->request.deadline_ms = -1;
    cp_http_reply_init(&x->request.reply);
    name_request(&x->request, NULL, NULL);
    (void)cp_connections_enter(server->connections, connection, CP_PHASE_HEADERS);
    return x;
}

/* Who asks, from where. */
static void note_peer(exchange *x, const cp_http_framing *framing) {
    static const cp_networks none;
    const cp_http_config *config = &x->server->config;
    const cp_networks *proxies = config->proxies ? config->proxies : &none;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    cp_address peer = cp_address_of(info ? info->client_addr : NULL);
    x->request.client = cp_forwarded_client(proxies, &peer, framing->forwarded_for);
    x->request.is_local_name = !framing->host || cp_host_is_loopback(framing->host);
    x->request.is_https =
        x->server->is_tls || cp_forwarded_https(proxies, &peer, framing->forwarded_proto);
    if (config->origins && cp_origins_allow(config->origins, framing->origin))
        snprintf(x->origin, sizeof x->origin, "%s", framing->origin);
}

/* A browser asks whether a page of an allowed origin may ask; any other OPTIONS is a method that
 * the path has not. */
static bool is_preflight(const exchange *x, const cp_http_framing *framing) {
    return !framing->status && x->request.route && *x->origin && framing->preflight_method &&
           strcmp(x->request.method, "OPTIONS") == 0;
}

static void answer_preflight(exchange *x) {
    cp_http_reply *reply = &x->request.reply;
    x->preflight = reply->allow;
    cp_strbuf_clear(&reply->body);
    reply->status = 204;
    reply->code = NULL;
    reply->allow = NULL;
}

static void note_headers(cp_http_request *request, const cp_http_framing *framing) {
    const char *authorization = framing->authorization ? framing->authorization : "";
    snprintf(request->authorization, sizeof request->authorization, "%s", authorization);
    snprintf(request->accept, sizeof request->accept, "%s", framing->accept ? framing->accept : "");
    request->deadline_ms = framing->deadline_ms;
}

static enum MHD_Result on_headers(exchange *x, const char *method, const char *version) {
    const cp_http_config *config = &x->server->config;
    cp_http_framing framing;
    x->begun = true;
    atomic_fetch_add(&x->server->n_active, 1);
    snprintf(x->request.method, sizeof x->request.method, "%s", method);
    cp_http_guard_check(x->mhd, x->uri, version, &framing);
    name_request(&x->request, config->tracer, &framing);
    x->request.received_ns = cp_clock_ns();
    if (!cp_connections_enter(x->server->connections, x->connection, CP_PHASE_BODY))
        return MHD_NO;
    note_peer(x, &framing);
    if (!refuse_early(x, &framing)) {
        note_headers(&x->request, &framing);
        if (config->admit)
            config->admit(config->app, &x->request);
    } else if (is_preflight(x, &framing)) {
        answer_preflight(x);
    }
    if (x->request.reply.status == 0) {
        cp_strbuf_init(&x->request.body, max_body_bytes(&x->request));
        return MHD_YES;
    }
    x->handled = true;
    /* Without a body the library calls again at once, and the connection lives on. */
    return framing.has_body || framing.status ? answer_early(x) : MHD_YES;
}

/* Too much: the library takes no answer in the middle of a body, so the rest of a moderate excess
 * is read and thrown away; beyond that the answer is written by hand. */
static enum MHD_Result on_body(exchange *x, const char *data, size_t n) {
    char sentence[SENTENCE_CAP];
    if (!x->too_large && x->request.body.n + n <= max_body_bytes(&x->request)) {
        cp_strbuf_append(&x->request.body, data, n);
        return MHD_YES;
    }
    x->too_large = true;
    x->n_discarded += n;
    if (x->n_discarded <= MAX_DISCARD_BYTES)
        return MHD_YES;
    const cp_api_error error = too_large(&x->request, sentence);
    if (!x->server->is_tls) /* plain words mean nothing there */
        cp_socket_send_error(x->fd, error.status, error.code, error.message);
    cp_connections_drain_later(x->server->connections, x->connection);
    x->request.reply.status = error.status;
    x->answered = true;
    return MHD_NO;
}

static enum MHD_Result on_complete(exchange *x) {
    const cp_http_config *config = &x->server->config;
    if (!cp_connections_enter(x->server->connections, x->connection, CP_PHASE_HANDLING))
        return MHD_NO;
    x->handled = true;
    if (x->too_large) {
        char sentence[SENTENCE_CAP];
        const cp_api_error error = too_large(&x->request, sentence);
        cp_http_fail(&x->request, &error);
    } else if (x->request.body.failed != CP_OK) {
        cp_http_fail(&x->request, &cp_api_no_memory);
    } else {
        x->request.route->handle(config->app, &x->request);
    }
    return x->deferred ? MHD_YES : answer(x);
}

/* Called with the headers, then for each part of the body, then once more; and again when resumed.
 */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *n_data, void **request_state) {
    exchange *x = *request_state;
    (void)cls, (void)mhd, (void)url;
    if (!x)
        return MHD_NO;
    if (!x->begun)
        return on_headers(x, method, version);
    if (*n_data > 0) {
        size_t n = *n_data;
        *n_data = 0;
        return on_body(x, data, n);
    }
    return x->handled ? answer(x) : on_complete(x);
}

/* The status to be told: ours, the library's own (400 for a malformed line), 408 when the reaper
 * ended it, or 499. */
static int final_status(const exchange *x, bool given_up, bool completed) {
    if (x->answered)
        return completed || x->too_large ? x->request.reply.status : CP_HTTP_CLIENT_GONE;
    if (given_up)
        return 408;
#if MHD_VERSION >= 0x00097200
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->mhd, MHD_CONNECTION_INFO_HTTP_STATUS);
    if (info && info->http_status)
        return (int)info->http_status;
#endif
    return CP_HTTP_CLIENT_GONE;
}

/* Tells and frees a request that is over and that nobody else holds. */
static void release(exchange *x) {
    cp_http_server *server = x->server;
    if (server->config.on_done)
        server->config.on_done(server->config.app, &x->request,
                               cp_clock_ms_since(x->request.received_ns));
    explicit_bzero(x->request.authorization, sizeof x->request.authorization);
    cp_strbuf_deinit(&x->request.body);
    cp_http_reply_deinit(&x->request.reply);
    cp_stream_deinit(&x->stream);
    bool begun = x->begun;
    free(x);
    if (begun)
        atomic_fetch_sub(&server->n_active, 1);
}

static void on_over(void *cls, struct MHD_Connection *mhd, void **request_state,
                    enum MHD_RequestTerminationCode why) {
    cp_http_server *server = cls;
    exchange *x = *request_state;
    (void)mhd;
    *request_state = NULL;
    if (!x)
        return;
    bool alive = cp_connections_enter(server->connections, x->connection, CP_PHASE_IDLE);
    x->request.reply.status = final_status(x, !alive, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    if (!atomic_load(&x->stream.begun) || cp_stream_over(&x->stream))
        release(x);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode what) {
    cp_http_server *server = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = cp_connections_add(server->connections, socket_of(mhd));
    } else if (*context) {
        cp_connections_remove(server->connections, *context);
        *context = NULL;
    }
}

/* ---- for handlers ---------------------------------------------------------------------------- */

void cp_http_fail(cp_http_request *request, const cp_api_error *error) {
    cp_http_reply_error(&request->reply, error, request->trace_id, request->request_id);
}

uint64_t cp_http_deadline_ns(const cp_http_request *request, int64_t most_s, int64_t wish_ms) {
    int64_t ms = most_s * 1000, wish = wish_ms > 0 ? wish_ms : request->deadline_ms;
    if (wish > 0 && wish < ms)
        ms = wish;
    return request->received_ns + (uint64_t)ms * 1000000u;
}

void cp_http_defer(cp_http_request *request) {
    exchange *x = exchange_of(request);
    x->deferred = true;
    MHD_suspend_connection(x->mhd);
}

void cp_http_finish(cp_http_request *request) {
    MHD_resume_connection(exchange_of(request)->mhd);
}

bool cp_http_client_gone(const cp_http_request *request) {
    exchange *x = exchange_of(request);
    if (atomic_load(&x->stream.begun))
        return cp_stream_client_gone(&x->stream);
    return cp_socket_peer_gone(x->fd);
}

void cp_http_stream_begin(cp_http_request *request, const char *content_type) {
    exchange *x = exchange_of(request);
    const cp_stream_target target = {
        .mhd = x->mhd,
        .connections = x->server->connections,
        .connection = x->connection,
        .fd = x->fd,
        .is_events = cp_http_is_event_stream(content_type),
        .is_head = strcmp(request->method, "HEAD") == 0,
    };
    cp_strbuf_clear(&request->reply.body);
    request->reply.status = 200;
    request->reply.content_type = content_type;
    cp_stream_begin(&x->server->streams, &x->stream, &target);
}

bool cp_http_stream_write(cp_http_request *request, const char *bytes, size_t n) {
    return cp_stream_write(&exchange_of(request)->stream, bytes, n);
}

void cp_http_stream_fail(cp_http_request *request, const cp_api_error *error) {
    cp_strbuf event;
    cp_strbuf_init(&event, MAX_ERROR_BYTES);
    cp_strbuf_puts(&event, "data: ");
    cp_api_error_append(&event, error, request->trace_id, request->request_id);
    cp_strbuf_putc(&event, '\n'); /* the error ends its own line */
    if (event.failed == CP_OK)    /* a client that does not take it is gone or cut off */
        (void)cp_http_stream_write(request, cp_strbuf_text(&event), event.n);
    cp_strbuf_deinit(&event);
}

void cp_http_stream_end(cp_http_request *request) {
    exchange *x = exchange_of(request);
    if (cp_stream_end(&x->stream))
        release(x);
}

/* ---- the server ------------------------------------------------------------------------------ */

static void on_reaper_tick(void *user) {
    cp_http_server *server = user;
    cp_streams_tick(&server->streams);
    if (server->config.on_tick)
        server->config.on_tick(server->config.app);
}

static struct MHD_Daemon *start_daemon(cp_http_server *server, int fd) {
    /* Time limits are the reaper's; the library writes no log, which could quote a request. */
    unsigned flags = MHD_USE_AUTO_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC;
    const cp_http_tls *tls = &server->tls;
    struct MHD_OptionItem tls_options[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)cp_strbuf_text(&tls->certificate)},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)cp_strbuf_text(&tls->key)},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)CP_TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL},
    };
    if (server->is_tls)
        flags |= MHD_USE_TLS;
    else
        tls_options[0] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_NOTIFY_COMPLETED, on_over, server, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
        server, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, server, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)server->config.max_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL_BYTES,
        MHD_OPTION_ARRAY, tls_options, STRICTNESS MHD_OPTION_END);
}

cp_status cp_http_server_start(const cp_http_config *config, cp_http_server **out, cp_error *err) {
    int fd = -1;
    *out = NULL;
    cp_http_server *server = calloc(1, sizeof *server);
    if (!server)
        return cp_error_no_memory(err, "the HTTP server");
    server->config = *config;
    cp_streams_init(&server->streams, (uint64_t)config->ping_interval_s * 1000000000u);
    server->is_tls = config->tls_cert_file && *config->tls_cert_file;
    cp_status status = CP_OK;
    if (server->is_tls)
        status = cp_http_tls_load(config->tls_cert_file, config->tls_key_file, &server->tls, err);
    if (status == CP_OK)
        status = cp_http_listen(config->host, config->port, &fd, server->address, err);
    const cp_connections_config limits = {
        .max_connections = config->max_connections,
        .header_ns = (uint64_t)config->header_timeout_s * 1000000000u,
        .body_ns = (uint64_t)config->body_timeout_s * 1000000000u,
        .idle_ns = (uint64_t)config->idle_timeout_s * 1000000000u,
        .is_tls = server->is_tls,
        .on_tick = on_reaper_tick,
        .user = server,
    };
    if (status == CP_OK)
        status = cp_connections_create(&limits, &server->connections, err);
    if (status == CP_OK) {
        server->daemon = start_daemon(server, fd);
        if (!server->daemon)
            status = cp_error_set(err, CP_ERR_IO, "the HTTP library cannot start");
    }
    if (status == CP_OK) {
        *out = server;
        return CP_OK;
    }
    if (fd >= 0)
        close(fd);
    cp_connections_free(server->connections);
    cp_streams_deinit(&server->streams);
    cp_http_tls_deinit(&server->tls);
    free(server);
    return status;
}

const char *cp_http_server_address(const cp_http_server *server) {
    return server->address;
}

void cp_http_server_drain(cp_http_server *server) {
    atomic_store(&server->draining, true);
}

void cp_http_server_stop(cp_http_server *server) {
    if (!server)
        return;
    uint64_t start = cp_clock_ns();
    while (atomic_load(&server->n_active) > 0 && cp_clock_ms_since(start) < LAST_ANSWERS_MS)
        usleep(5000);
    MHD_stop_daemon(server->daemon);
    cp_connections_free(server->connections);
    cp_streams_deinit(&server->streams);
    cp_http_tls_deinit(&server->tls);
    free(server);
}
