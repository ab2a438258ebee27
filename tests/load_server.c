#include "tests/load_server.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_MAX ((size_t)4 << 20)

bool load_send(const load_exchange *x, const char *bytes) {
    size_t left = strlen(bytes);
    while (left > 0) {
        ssize_t put = send(x->fd, bytes, left, MSG_NOSIGNAL);
        if (put <= 0)
            return false;
        bytes += put;
        left -= (size_t)put;
    }
    return true;
}

bool load_answer(const load_exchange *x, int status, const char *fields, const char *body) {
    char head[1024];
    snprintf(
        head, sizeof head,
        "HTTP/1.1 %d Reason\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n",
        status, fields, strlen(body));
    return load_send(x, head) && load_send(x, body);
}

void load_sleep_ms(long ms) {
    const struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

bool load_wait_for_requests(const load_exchange *x, size_t n) {
    load_server *s = x->server;
    pthread_mutex_lock(&s->mutex);
    while (s->n_requests < n && !s->stopping)
        pthread_cond_wait(&s->changed, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
    return !s->stopping;
}

void load_wait_for_leaving(const load_exchange *x) {
    char bytes[256];
    while (recv(x->fd, bytes, sizeof bytes, 0) > 0)
        continue;
    if (!x->server->stopping)
        x->server->n_seen_leaving++;
}

/* One request with its body; false when the client has gone. */
static bool read_request(int fd, cp_strbuf *in, cp_strbuf *head, cp_strbuf *body) {
    char bytes[16384];
    const char *end, *length;
    size_t need = 0, at = 0;
    for (;;) {
        end = strstr(cp_strbuf_text(in), "\r\n\r\n");
        if (end) {
            at = (size_t)(end - in->data) + 4;
            length = strstr(in->data, "Content-Length: ");
            need = length && length < end ? strtoul(length + 16, NULL, 10) : 0;
        }
        if (end && in->n >= at + need)
            break;
        ssize_t got = recv(fd, bytes, sizeof bytes, 0);
        if (got <= 0)
            return false;
        cp_strbuf_append(in, bytes, (size_t)got);
    }
    cp_strbuf_clear(head);
    cp_strbuf_clear(body);
    cp_strbuf_append(head, in->data, at);
    cp_strbuf_append(body, in->data + at, need);
    cp_strbuf_consume(in, at + need);
    return true;
}

typedef struct connection {
    load_server *server;
    int fd;
} connection;

static void *serve(void *arg) {
    connection c = *(connection *)arg;
    cp_strbuf in, head, body;
    free(arg);
    cp_strbuf_init(&in, REQUEST_MAX);
    cp_strbuf_init(&head, REQUEST_MAX);
    cp_strbuf_init(&body, REQUEST_MAX);
    for (bool stays = true; stays && read_request(c.fd, &in, &head, &body);) {
        pthread_mutex_lock(&c.server->mutex);
        size_t k = c.server->n_requests++;
        pthread_cond_broadcast(&c.server->changed);
        pthread_mutex_unlock(&c.server->mutex);
        stays = c.server->handle(&(load_exchange){.server = c.server,
                                                  .fd = c.fd,
                                                  .k = k,
                                                  .head = cp_strbuf_text(&head),
                                                  .body = cp_strbuf_text(&body)});
    }
    shutdown(c.fd, SHUT_RDWR); /* closed in load_server_stop, so that its number stays ours */
    cp_strbuf_deinit(&in);
    cp_strbuf_deinit(&head);
    cp_strbuf_deinit(&body);
    return NULL;
}

static void *accept_all(void *arg) {
    load_server *s = arg;
    int fd;
    while ((fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        connection *c = malloc(sizeof *c);
        s->n_connections++;
        if (!c || s->n_threads == LOAD_SERVER_CONNECTIONS) {
            free(c);
            close(fd);
            continue;
        }
        *c = (connection){s, fd};
        s->fds[s->n_threads] = fd;
        if (pthread_create(&s->threads[s->n_threads], NULL, serve, c) == 0) {
            s->n_threads++;
        } else {
            free(c);
            close(fd);
        }
    }
    return NULL;
}

void load_server_start(load_server *s, bool (*handle)(const load_exchange *x)) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof address;
    *s = (load_server){.handle = handle};
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->listener, 256), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &n), 0);
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&s->acceptor, NULL, accept_all, s), 0);
}

void load_server_stop(load_server *s) {
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    shutdown(s->listener, SHUT_RDWR); /* ends accept4 */
    pthread_join(s->acceptor, NULL);
    close(s->listener);
    for (size_t i = 0; i < s->n_threads; i++)
        shutdown(s->fds[i], SHUT_RDWR);
    for (size_t i = 0; i < s->n_threads; i++) {
        pthread_join(s->threads[i], NULL);
        close(s->fds[i]);
    }
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->mutex);
}
