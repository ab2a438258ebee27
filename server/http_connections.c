#include "server/http_connections.h"

#include "base/clock.h"
#include "server/http_ids.h"
#include "server/http_reply.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_MS         100
#define MAX_DRAINING    64
#define DRAIN_NS        1500000000u
#define MAX_DRAIN_BYTES ((size_t)4 << 20)
#define NEVER           UINT64_MAX

struct cp_connection {
    cp_connection *prev, *next;
    int fd;
    cp_phase phase;
    uint64_t since_ns, deadline_ns;
    bool given_up; /* shut down by us; the HTTP thread has not closed it yet */
    bool drain;    /* after removal */
};

typedef struct draining {
    int fd;
    uint64_t deadline_ns;
    size_t n_bytes;
} draining;

struct cp_connections {
    cp_connections_config config;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t reaper;
    bool stopping;
    cp_connection head; /* ring; oldest first */
    size_t n;
    draining draining[MAX_DRAINING];
    size_t n_draining;
};

bool cp_socket_peer_gone(int fd) {
    struct pollfd look = {.fd = fd, .events = POLLRDHUP};
    return poll(&look, 1, 0) > 0 && (look.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

void cp_socket_send_error(int fd, int status, const char *code, const char *message) {
    char trace_id[CP_TRACE_ID_CAP];
    size_t n_fixed;
    const cp_http_header *fixed = cp_http_fixed_headers(&n_fixed);
    cp_strbuf body, text;
    cp_strbuf_init(&body, 1024);
    cp_strbuf_init(&text, 2048);
    cp_http_id_random(trace_id, 16);
    const cp_api_error error = {.status = status, .code = code, .message = message};
    cp_api_error_append(&body, &error, trace_id, trace_id);
    cp_strbuf_printf(&text,
                     "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                     "X-Request-Id: %s\r\nX-Trace-Id: %s\r\n",
                     status, cp_http_reason(status), body.n, trace_id, trace_id);
    for (size_t i = 0; i < n_fixed; i++)
        cp_strbuf_printf(&text, "%s: %s\r\n", fixed[i].name, fixed[i].value);
    cp_strbuf_puts(&text, "Connection: close\r\n\r\n");
    cp_strbuf_append(&text, cp_strbuf_text(&body), body.n);
    ssize_t ignored = send(fd, cp_strbuf_text(&text), text.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)ignored; /* a client that does not read has lost its answer */
    cp_strbuf_deinit(&body);
    cp_strbuf_deinit(&text);
}

/* Ends a connection: with 408 where a request has begun and nothing of an answer was sent. */
static void give_up(const cp_connections *table, cp_connection *connection) {
    bool speak = !table->config.is_tls; /* plain words mean nothing there */
    if (speak && connection->phase == CP_PHASE_HEADERS)
        cp_socket_send_error(connection->fd, 408, "slow_headers",
                             "the request's headers did not arrive in time");
    if (speak && connection->phase == CP_PHASE_BODY)
        cp_socket_send_error(connection->fd, 408, "slow_body",
                             "the request's body did not arrive in time");
    connection->given_up = true;
    connection->deadline_ns = NEVER;
    shutdown(connection->fd, SHUT_RDWR);
}

static void reap(cp_connections *table, uint64_t now) {
    for (cp_connection *c = table->head.next; c != &table->head; c = c->next)
        if (c->deadline_ns <= now)
            give_up(table, c);
}

/* True when there is nothing more to wait for. */
static bool drain_some(draining *d, uint64_t now) {
    char discard[16384];
    for (;;) {
        ssize_t got = recv(d->fd, discard, sizeof discard, MSG_DONTWAIT);
        if (got == 0)
            return true;
        if (got < 0)
            return now >= d->deadline_ns;
        d->n_bytes += (size_t)got;
        if (d->n_bytes > MAX_DRAIN_BYTES)
            return true;
    }
}

static void drain_all(cp_connections *table, uint64_t now) {
    for (size_t i = 0; i < table->n_draining;) {
        if (!drain_some(&table->draining[i], now)) {
            i++;
            continue;
        }
        close(table->draining[i].fd);
        table->draining[i] = table->draining[--table->n_draining];
    }
}

static void *reaper_main(void *arg) {
    cp_connections *table = arg;
    pthread_mutex_lock(&table->lock);
    while (!table->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += TICK_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&table->wake, &table->lock, &until);
        uint64_t now = cp_clock_ns();
        reap(table, now);
        drain_all(table, now);
        if (table->config.on_tick) {
            pthread_mutex_unlock(&table->lock);
            table->config.on_tick(table->config.user);
            pthread_mutex_lock(&table->lock);
        }
    }
    pthread_mutex_unlock(&table->lock);
    return NULL;
}

cp_status cp_connections_create(const cp_connections_config *config, cp_connections **out,
                                cp_error *err) {
    *out = NULL;
    cp_connections *table = calloc(1, sizeof *table);
    if (!table)
        return cp_error_no_memory(err, "the table of connections");
    table->config = *config;
    table->head.prev = table->head.next = &table->head;
    pthread_mutex_init(&table->lock, NULL);
    pthread_cond_init(&table->wake, NULL);
    int failed = pthread_create(&table->reaper, NULL, reaper_main, table);
    if (failed) {
        pthread_cond_destroy(&table->wake);
        pthread_mutex_destroy(&table->lock);
        free(table);
        return cp_error_set(err, CP_ERR_IO, "cannot start a thread: %s", strerror(failed));
    }
    *out = table;
    return CP_OK;
}

void cp_connections_free(cp_connections *table) {
    if (!table)
        return;
    pthread_mutex_lock(&table->lock);
    table->stopping = true;
    pthread_cond_signal(&table->wake);
    pthread_mutex_unlock(&table->lock);
    pthread_join(table->reaper, NULL);
    for (size_t i = 0; i < table->n_draining; i++)
        close(table->draining[i].fd);
    pthread_cond_destroy(&table->wake);
    pthread_mutex_destroy(&table->lock);
    free(table);
}

static uint64_t deadline_of(const cp_connections_config *config, cp_phase phase, uint64_t now) {
    switch (phase) {
    case CP_PHASE_IDLE:
        return now + config->idle_ns;
    case CP_PHASE_HEADERS:
        return now + config->header_ns;
    case CP_PHASE_BODY:
    case CP_PHASE_SENDING:
        return now + config->body_ns;
    case CP_PHASE_HANDLING:
        break;
    }
    return NEVER;
}

/* Over nine tenths of the limit: the one that has waited longest for a request goes. */
static void make_room(cp_connections *table) {
    if (table->n * 10 < table->config.max_connections * 9)
        return;
    cp_connection *oldest = NULL;
    for (cp_connection *c = table->head.next; c != &table->head; c = c->next)
        if (!c->given_up && c->phase <= CP_PHASE_BODY &&
            (!oldest || c->since_ns < oldest->since_ns))
            oldest = c;
    if (oldest)
        give_up(table, oldest);
}

cp_connection *cp_connections_add(cp_connections *table, int fd) {
    cp_connection *connection = calloc(1, sizeof *connection);
    if (!connection)
        return NULL;
    uint64_t now = cp_clock_ns();
    connection->fd = fd;
    connection->phase = CP_PHASE_HEADERS;
    connection->since_ns = now;
    connection->deadline_ns = deadline_of(&table->config, CP_PHASE_HEADERS, now);
    pthread_mutex_lock(&table->lock);
    make_room(table);
    connection->prev = table->head.prev;
    connection->next = &table->head;
    connection->prev->next = connection->next->prev = connection;
    table->n++;
    pthread_mutex_unlock(&table->lock);
    return connection;
}

void cp_connections_drain_later(cp_connections *table, cp_connection *connection) {
    pthread_mutex_lock(&table->lock);
    connection->drain = true;
    pthread_mutex_unlock(&table->lock);
}

void cp_connections_remove(cp_connections *table, cp_connection *connection) {
    pthread_mutex_lock(&table->lock);
    connection->prev->next = connection->next;
    connection->next->prev = connection->prev;
    table->n--;
    int copy = -1;
    if (connection->drain && !connection->given_up && table->n_draining < MAX_DRAINING)
        copy = fcntl(connection->fd, F_DUPFD_CLOEXEC, 0);
    if (copy >= 0) {
        shutdown(copy, SHUT_WR);
        table->draining[table->n_draining++] =
            (draining){.fd = copy, .deadline_ns = cp_clock_ns() + DRAIN_NS};
    }
    pthread_mutex_unlock(&table->lock);
    free(connection);
}

bool cp_connections_enter(cp_connections *table, cp_connection *connection, cp_phase phase) {
    pthread_mutex_lock(&table->lock);
    bool alive = !connection->given_up;
    if (alive) {
        uint64_t now = cp_clock_ns();
        connection->phase = phase;
        connection->since_ns = now;
        connection->deadline_ns = deadline_of(&table->config, phase, now);
    }
    pthread_mutex_unlock(&table->lock);
    return alive;
}
