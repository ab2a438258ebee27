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
#define PAUSE_NS       1000000000u

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

static cp_status make_request(cp_slow_clients *s, const cp_http_url *url, const char *method,
                              const char *path, const char *bearer, const char *body,
                              cp_error *err) {
    cp_strbuf *out = &s->request;
    cp_strbuf_printf(out, "%s %s HTTP/1.1\r\nHost: %s:%s\r\n", method, path, url->host, url->port);
    if (bearer)
        cp_strbuf_printf(out, "Authorization: Bearer %s\r\n", bearer);
    if (body[0])
        cp_strbuf_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                         strlen(body));
    cp_strbuf_printf(out, "\r\n%s", body);
    return cp_strbuf_check(out, "request", err);
}

cp_status cp_slow_clients_init(cp_slow_clients *s, size_t n, const cp_http_url *url,
                               const char *method, const char *path, const char *bearer,
                               const char *body, cp_error *err) {
    *s = (cp_slow_clients){.n = 0};
    cp_strbuf_init(&s->request, REQUEST_MAX);
    if (n == 0)
        return CP_OK;
    if (url->tls)
        return cp_error_set(err, CP_ERR_USAGE, "--slow-clients: works with http only");
    s->clients = calloc(n, sizeof *s->clients);
    if (!s->clients)
        return cp_error_no_memory(err, "slow clients");
    s->n = n;
    for (size_t i = 0; i < n; i++)
        s->clients[i].fd = -1;
    cp_status status = resolve(s, url, err);
    return status == CP_OK ? make_request(s, url, method, path, bearer, body, err) : status;
}

void cp_slow_clients_deinit(cp_slow_clients *s) {
    for (size_t i = 0; i < s->n; i++)
        if (s->clients[i].fd >= 0)
            close(s->clients[i].fd);
    free(s->clients);
    cp_strbuf_deinit(&s->request);
    *s = (cp_slow_clients){.n = 0};
}

static void drop(cp_slow_client *c) {
    close(c->fd);
    *c = (cp_slow_client){.fd = -1, .retry_ns = cp_clock_ns() + PAUSE_NS};
}

static void open_one(cp_slow_clients *s, cp_slow_client *c) {
    int small = RECEIVE_BUFFER;
    *c = (cp_slow_client){
        .fd = socket(s->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (c->fd < 0) {
        c->retry_ns = cp_clock_ns() + PAUSE_NS;
        s->n_refused++;
        return;
    }
    (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (connect(c->fd, (const struct sockaddr *)&s->address, s->address_n) != 0 &&
        errno != EINPROGRESS) {
        drop(c);
        s->n_refused++;
    }
}

/* Sends what the socket takes; the first byte shows that the connection stands. */
static void send_more(cp_slow_clients *s, cp_slow_client *c) {
    ssize_t put = send(c->fd, s->request.data + c->n_sent, s->request.n - c->n_sent, MSG_NOSIGNAL);
    if (put <= 0)
        return;
    s->n_opened += c->n_sent == 0;
    c->n_sent += (size_t)put;
}

void cp_slow_clients_tend(cp_slow_clients *s) {
    uint64_t now = cp_clock_ns();
    for (size_t i = 0; i < s->n; i++) {
        cp_slow_client *c = &s->clients[i];
        if (c->fd < 0 && now >= c->retry_ns)
            open_one(s, c);
        if (c->fd < 0)
            continue;
        struct pollfd state = {.fd = c->fd, .events = POLLOUT | POLLRDHUP};
        if (poll(&state, 1, 0) <= 0)
            continue;
        if (state.revents & (POLLERR | POLLHUP | POLLRDHUP | POLLNVAL)) {
            if (c->n_sent > 0)
                s->n_closed++;
            else
                s->n_refused++;
            drop(c);
        } else if ((state.revents & POLLOUT) && c->n_sent < s->request.n) {
            send_more(s, c);
        }
    }
}
