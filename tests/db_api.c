#include "tests/db_api.h"

#include "tests/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 256
#define MAX_SCRIPT      64
#define MAX_HEAD        8192

struct test_db_api {
    cp_patient_store *behind;
    int listener, port;
    pthread_t acceptor, threads[MAX_CONNECTIONS];
    int fds[MAX_CONNECTIONS];
    atomic_bool stopping;
    pthread_mutex_t lock; /* of what follows */
    size_t n_connections, n_requests;
    test_api_act script[MAX_SCRIPT];
    size_t n_script, at;
};

typedef struct connection {
    test_db_api *api;
    int fd;
    char head[MAX_HEAD];
    cp_strbuf body;
} connection;

/* ---- sending ---------------------------------------------------------------------------- */

static bool send_all(int fd, const char *bytes, size_t n) {
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool answer(int fd, int status, const char *type, cp_str body) {
    char head[256];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d X\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", status,
                     type, body.n);
    return send_all(fd, head, (size_t)n) && send_all(fd, body.data, body.n);
}

static bool answer_json(int fd, int status, const char *text) {
    return answer(fd, status, "application/json", (cp_str){text, strlen(text)});
}

static void rest_ms(int ms) {
    const struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&wait, NULL);
}

/* ---- behaving --------------------------------------------------------------------------- */

static bool serve_get(connection *c, const char *mrn) {
    cp_error err;
    cp_patient_record *record = NULL;
    cp_strbuf body;
    cp_status status = c->api->behind->get(c->api->behind, mrn, &record, &err);
    if (status != CP_OK)
        return answer_json(c->fd, status == CP_ERR_NOT_FOUND ? 404 : 500, "{\"detail\":\"no\"}");
    cp_strbuf_init(&body, CP_RECORD_MAX_BYTES);
    status = cp_patient_record_append(record, &body, &err);
    bool sent = status == CP_OK &&
                answer(c->fd, 200, "application/json; charset=utf-8", cp_strbuf_str(&body));
    cp_strbuf_deinit(&body);
    cp_patient_record_free(record);
    return sent;
}

static bool serve_import(connection *c, const char *mrn) {
    cp_error err;
    cJSON *tree = NULL;
    cp_status status = cp_json_parse("body", cp_strbuf_text(&c->body), c->body.n, &tree, &err);
    const cp_patient_change change = {.mrn = mrn,
                                      .patient = cp_json_member(tree, "patient"),
                                      .documents = cp_json_member(tree, "documents")};
    if (status == CP_OK)
        status = c->api->behind->put(c->api->behind, &change, &err);
    cJSON_Delete(tree);
    return answer_json(c->fd, status == CP_OK ? 200 : 422, "{}");
}

static bool behave(connection *c) {
    char method[8], path[256];
    bool readable = sscanf(c->head, "%7s %255s", method, path) == 2;
    if (!strstr(c->head, "\r\nAuthorization: Bearer db-key\r\n"))
        return answer_json(c->fd, 401, "{}");
    if (!readable || strncmp(path, "/patients/", 10) != 0)
        return answer_json(c->fd, 404, "{}");
    char *mrn = path + 10, *tail = strchr(mrn, '/');
    if (strcmp(method, "GET") == 0 && !tail)
        return serve_get(c, mrn);
    if (strcmp(method, "POST") != 0 || !tail || strcmp(tail, "/import") != 0)
        return answer_json(c->fd, 405, "{}");
    *tail = '\0';
    return serve_import(c, mrn);
}

/* ---- misbehaving ------------------------------------------------------------------------ */

static bool trickle(connection *c) {
    bool sent = send_all(c->fd, "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", 41);
    while (sent && !atomic_load(&c->api->stopping)) {
        sent = send_all(c->fd, " ", 1);
        rest_ms(50);
    }
    return false;
}

static bool send_without_end(connection *c) {
    static const char blanks[65536] = {' '};
    bool sent = send_all(c->fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", 51);
    while (sent && !atomic_load(&c->api->stopping))
        sent = send_all(c->fd, blanks, sizeof blanks);
    return false;
}

static bool reset(connection *c) {
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    return false;
}

static bool be_silent(connection *c) {
    while (!atomic_load(&c->api->stopping))
        rest_ms(10);
    return false;
}

/* False: the connection ends. */
static bool act(connection *c, test_api_act what) {
    char text[200];
    switch (what) {
    case API_SERVE:
        return behave(c);
    case API_500:
        return answer_json(c->fd, 500, "{}");
    case API_503:
        return answer_json(c->fd, 503, "{}");
    case API_401:
        return answer_json(c->fd, 401, "{}");
    case API_DROP:
        return false;
    case API_RESET:
        return reset(c);
    case API_CUT:
        send_all(c->fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"patient\":", 51);
        return false;
    case API_SILENT:
        return be_silent(c);
    case API_TRICKLE:
        return trickle(c);
    case API_HUGE:
        return send_without_end(c);
    case API_NO_JSON:
        return answer(c->fd, 200, "text/html", CP_STR("<html>MRN-001 SECRET</html>"));
    case API_OTHER_SHAPE:
        return answer_json(c->fd, 200, "{\"patients\":[\"SECRET\"]}");
    case API_OTHER_PATIENT:
        return answer_json(c->fd, 200, "{\"patient\":{\"mrn\":\"SECRET-2\"}}");
    case API_FOREIGN_ROW:
        return answer_json(c->fd, 200,
                           "{\"patient\":{\"mrn\":\"MRN-001\"},\"encounters\":[{\"mrn\":"
                           "\"SECRET-2\",\"date\":\"2026-01-01\"}]}");
    case API_REDIRECT:
        snprintf(text, sizeof text,
                 "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/patients/MRN-001\r\n"
                 "Content-Length: 0\r\n\r\n",
                 c->api->port);
        return send_all(c->fd, text, strlen(text));
    case API_PAGE_404:
        return answer(c->fd, 404, "text/html", CP_STR("<html>nothing here</html>"));
    case API_GIBBERISH:
        send_all(c->fd, "220 mail.example ESMTP\r\n", 24);
        return false;
    }
    return false;
}

/* ---- the server ------------------------------------------------------------------------- */

/* One request's head and body; false at the connection's end. */
static bool read_request(connection *c) {
    size_t n = 0;
    char *end = NULL;
    cp_strbuf_clear(&c->body);
    while (!end) {
        ssize_t got = n < MAX_HEAD - 1 ? recv(c->fd, c->head + n, MAX_HEAD - 1 - n, 0) : 0;
        if (got <= 0)
            return false;
        n += (size_t)got;
        c->head[n] = '\0';
        end = strstr(c->head, "\r\n\r\n");
    }
    const char *length = strstr(c->head, "Content-Length: ");
    size_t wanted = length ? strtoul(length + 16, NULL, 10) : 0;
    cp_strbuf_append(&c->body, end + 4, n - (size_t)(end + 4 - c->head));
    end[2] = '\0';
    while (c->body.n < wanted) {
        char more[65536];
        ssize_t got = recv(c->fd, more, sizeof more, 0);
        if (got <= 0)
            return false;
        cp_strbuf_append(&c->body, more, (size_t)got);
    }
    return true;
}

static test_api_act next_act(test_db_api *api) {
    pthread_mutex_lock(&api->lock);
    test_api_act what = api->at < api->n_script ? api->script[api->at++] : API_SERVE;
    api->n_requests++;
    pthread_mutex_unlock(&api->lock);
    return what;
}

/* The descriptor is closed by stop, so that its number is not used again before. */
static void *serve_connection(void *arg) {
    connection *c = arg;
    while (read_request(c) && act(c, next_act(c->api)))
        ;
    cp_strbuf_deinit(&c->body);
    const struct linger zero = {0};
    struct linger set = zero;
    socklen_t n = sizeof set;
    getsockopt(c->fd, SOL_SOCKET, SO_LINGER, &set, &n);
    if (set.l_onoff) { /* a reset: only close sends it */
        int fd = c->fd, null = socket(AF_INET, SOCK_STREAM, 0);
        dup2(null, fd);
        close(null);
    } else {
        shutdown(c->fd, SHUT_RDWR);
    }
    free(c);
    return NULL;
}

static void *accept_connections(void *arg) {
    test_db_api *api = arg;
    for (;;) {
        int fd = accept(api->listener, NULL, NULL), one = 1;
        if (fd < 0 || atomic_load(&api->stopping)) {
            if (fd >= 0)
                close(fd);
            return NULL;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        connection *c = calloc(1, sizeof *c);
        *c = (connection){.api = api, .fd = fd};
        cp_strbuf_init(&c->body, (size_t)64 << 20);
        pthread_mutex_lock(&api->lock);
        size_t i = api->n_connections++;
        api->fds[i] = fd;
        pthread_mutex_unlock(&api->lock);
        if (i + 1 >= MAX_CONNECTIONS ||
            pthread_create(&api->threads[i], NULL, serve_connection, c) != 0)
            abort();
    }
}

test_db_api *test_db_api_start(cp_patient_store *behind) {
    test_db_api *api = calloc(1, sizeof *api);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    api->behind = behind;
    api->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_mutex_init(&api->lock, NULL);
    assert_int_equal(bind(api->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(api->listener, 64), 0);
    assert_int_equal(getsockname(api->listener, (struct sockaddr *)&at, &n), 0);
    api->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&api->acceptor, NULL, accept_connections, api), 0);
    return api;
}

void test_db_api_stop(test_db_api *api) {
    atomic_store(&api->stopping, true);
    shutdown(api->listener, SHUT_RDWR);
    pthread_join(api->acceptor, NULL);
    for (size_t i = 0; i < api->n_connections; i++)
        shutdown(api->fds[i], SHUT_RDWR);
    for (size_t i = 0; i < api->n_connections; i++) {
        pthread_join(api->threads[i], NULL);
        close(api->fds[i]);
    }
    close(api->listener);
    pthread_mutex_destroy(&api->lock);
    free(api);
}

int test_db_api_port(const test_db_api *api) {
    return api->port;
}

void test_db_api_script(test_db_api *api, const test_api_act *acts, size_t n) {
    assert_true(n <= MAX_SCRIPT);
    pthread_mutex_lock(&api->lock);
    for (size_t i = 0; i < n; i++)
        api->script[i] = acts[i];
    api->n_script = n;
    api->at = 0;
    pthread_mutex_unlock(&api->lock);
}

size_t test_db_api_n_requests(test_db_api *api) {
    pthread_mutex_lock(&api->lock);
    size_t n = api->n_requests;
    pthread_mutex_unlock(&api->lock);
    return n;
}

size_t test_db_api_n_connections(test_db_api *api) {
    pthread_mutex_lock(&api->lock);
    size_t n = api->n_connections;
    pthread_mutex_unlock(&api->lock);
    return n;
}
