#include "bench/slow_clients.h"

#include "base/clock.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REQUEST_MAX    ((size_t)4 << 20)
#define RECEIVE_BUFFER 4096 /* bytes; the kernel doubles it */
#define SECOND_NS      1000000000u

static cp_status resolve(cp_slow_clients *s, const cp_http_url *url, cp_error *err) {
    char host[sizeof url->host];
    size_t n = strlen(url->host);
    bool brackets = url->host[0] == '[' && n > 2;
    memcpy(host, url->host + brackets, n - 2 * brackets + 1);
    host[n - 2 * brackets] = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int failed = getaddrinfo(host, url->port, &hints, &found);
    if (failed)
        return cp_error_set(err, CP_ERR_IO, "%s: %s", url->origin, gai_strerror(failed));
    memcpy(&s->address, found->ai_addr, found->ai_addrlen);
    s->address_n = found->ai_addrlen;
    freeaddrinfo(found);
    return CP_OK;
}

static cp_status make_request(cp_slow_clients *s, const cp_http_url *url, const cp_http_call *call,
                              cp_error *err) {
    cp_strbuf *out = &s->request;
    cp_strbuf_printf(out, "%s %s HTTP/1.1\r\nHost: %s:%s\r\n", call->method, url->path, url->host,
                     url->port);
    if (call->bearer)
        cp_strbuf_printf(out, "Authorization: Bearer %s\r\n", call->bearer);
    if (call->body.n > 0)
        cp_strbuf_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                         call->body.n);
    cp_strbuf_append(out, "\r\n", 2);
    cp_strbuf_append(out, call->body.data, call->body.n);
    return cp_strbuf_check(out, "request", err);
}

static const char *const KINDS[CP_SLOW_N_KINDS] = {"unread", "silent", "drip"};

cp_slow_kind cp_slow_kind_of(const char *name) {
    cp_slow_kind kind = 0;
    while (kind < CP_SLOW_N_KINDS && strcmp(KINDS[kind], name) != 0)
        kind++;
    return kind;
}

const char *cp_slow_kind_name(cp_slow_kind kind) {
    return KINDS[kind];
}

/* Every client gets the plan's next kind, from the first on again after the last. */
static void deal_kinds(cp_slow_clients *s, const cp_slow_plan *plan) {
    cp_slow_kind kind = CP_SLOW_N_KINDS - 1;
    for (size_t i = 0; i < s->n; i++) {
        do
            kind = (kind + 1) % CP_SLOW_N_KINDS;
        while (!plan->kinds[kind]);
        s->clients[i] = (cp_slow_client){.fd = -1, .kind = kind};
    }
}

cp_status cp_slow_clients_init(cp_slow_clients *s, const cp_slow_plan *plan, const cp_http_url *url,
                               const cp_http_call *call, cp_error *err) {
    *s = (cp_slow_clients){.n = 0};
    cp_strbuf_init(&s->request, REQUEST_MAX);
    if (plan->n == 0)
        return CP_OK;
    if (url->tls)
        return cp_error_set(err, CP_ERR_USAGE, "--slow-clients: works with http only");
    s->clients = calloc(plan->n, sizeof *s->clients);
    if (!s->clients)
        return cp_error_no_memory(err, "slow clients");
    s->n = plan->n;
    deal_kinds(s, plan);
    cp_status status = resolve(s, url, err);
    return status == CP_OK ? make_request(s, url, call, err) : status;
}

void cp_slow_clients_deinit(cp_slow_clients *s) {
    for (size_t i = 0; i < s->n; i++)
        if (s->clients[i].fd >= 0)
            close(s->clients[i].fd);
    free(s->clients);
    cp_strbuf_deinit(&s->request);
    *s = (cp_slow_clients){.n = 0};
}

/* Takes the connection away, if there is one; another is opened later. */
static void drop(cp_slow_client *c) {
    if (c->fd >= 0)
        close(c->fd);
    *c = (cp_slow_client){.fd = -1, .kind = c->kind, .next_ns = cp_clock_ns() + SECOND_NS};
}

static void open_one(cp_slow_clients *s, cp_slow_client *c) {
    int small = RECEIVE_BUFFER;
    c->fd = socket(s->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd >= 0)
        (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (c->fd < 0 || (connect(c->fd, (const struct sockaddr *)&s->address, s->address_n) != 0 &&
                      errno != EINPROGRESS)) {
        drop(c);
        s->n_refused++;
    }
}

/* Sends what the kind sends now of what the socket takes. */
static void send_more(const cp_slow_clients *s, cp_slow_client *c, uint64_t now) {
    size_t left = s->request.n - c->n_sent;
    if (c->kind == CP_SLOW_SILENT || left == 0 || now < c->next_ns)
        return;
    bool drips = c->kind == CP_SLOW_DRIP;
    ssize_t put = send(c->fd, s->request.data + c->n_sent, drips ? 1 : left, MSG_NOSIGNAL);
    if (put <= 0)
        return;
    c->n_sent += (size_t)put;
    c->next_ns = drips ? now + SECOND_NS : now;
}

static void tend(cp_slow_clients *s, cp_slow_client *c, uint64_t now) {
    if (c->fd < 0 && now >= c->next_ns)
        open_one(s, c);
    struct pollfd state = {.fd = c->fd, .events = POLLOUT | POLLRDHUP};
    if (c->fd < 0 || poll(&state, 1, 0) <= 0)
        return;
    if (state.revents & (POLLERR | POLLHUP | POLLRDHUP | POLLNVAL)) {
        if (c->stands)
            s->n_closed++;
        else
            s->n_refused++;
        drop(c);
    } else if (state.revents & POLLOUT) {
        s->n_opened += !c->stands;
        c->stands = true;
        send_more(s, c, now);
    }
}

void cp_slow_clients_tend(cp_slow_clients *s) {
    uint64_t now = cp_clock_ns();
    for (size_t i = 0; i < s->n; i++)
        tend(s, &s->clients[i], now);
}
