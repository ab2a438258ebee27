#include "tests/mongo_stream.h"

#include "tests/test.h"

#include <mongoc/mongoc.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_EVENTS      64
#define MAX_MESSAGE     (1 << 20)
#define MAX_CONNECTIONS 32
#define OP_REPLY        1
#define OP_QUERY        2004
#define OP_MSG          2013

static struct {
    bool has_streams;
    int listener, port;
    char uri[128];
    pthread_t acceptor, threads[MAX_CONNECTIONS];
    int fds[MAX_CONNECTIONS];
    size_t n_connections;
    pthread_mutex_t lock; /* of what follows */
    struct {
        const char *operation, *mrn;
    } events[MAX_EVENTS];
    size_t n_events, forgotten; /* events before `forgotten` cannot be resumed */
    size_t at;                  /* of the one stream: which comes next */
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- answers ---------------------------------------------------------------------------- */

static void append_hello(bson_t *out) {
    bson_t hosts;
    char host[64];
    BSON_APPEND_BOOL(out, "ismaster", true);
    BSON_APPEND_BOOL(out, "isWritablePrimary", true);
    BSON_APPEND_BOOL(out, "helloOk", true);
    BSON_APPEND_INT32(out, "maxBsonObjectSize", 16777216);
    BSON_APPEND_INT32(out, "maxMessageSizeBytes", 48000000);
    BSON_APPEND_INT32(out, "maxWriteBatchSize", 100000);
    BSON_APPEND_INT32(out, "minWireVersion", 0);
    BSON_APPEND_INT32(out, "maxWireVersion", 21);
    if (!server.has_streams)
        return;
    snprintf(host, sizeof host, "127.0.0.1:%d", server.port);
    BSON_APPEND_UTF8(out, "setName", "rs0");
    BSON_APPEND_UTF8(out, "primary", host);
    BSON_APPEND_UTF8(out, "me", host);
    BSON_APPEND_ARRAY_BEGIN(out, "hosts", &hosts);
    BSON_APPEND_UTF8(&hosts, "0", host);
    bson_append_array_end(out, &hosts);
}

static void append_token(bson_t *out, const char *key, size_t behind) {
    bson_t token;
    char data[16];
    snprintf(data, sizeof data, "%06zu", behind);
    BSON_APPEND_DOCUMENT_BEGIN(out, key, &token);
    BSON_APPEND_UTF8(&token, "_data", data);
    bson_append_document_end(out, &token);
}

static void append_error(bson_t *out, int code, const char *label) {
    BSON_APPEND_DOUBLE(out, "ok", 0);
    BSON_APPEND_INT32(out, "code", code);
    BSON_APPEND_UTF8(out, "errmsg", label);
}

/* {"cursor": {"id", "ns", BATCH: events from `at` on, "postBatchResumeToken"}, "ok": 1} */
static void append_batch(bson_t *out, const char *batch, bool empty) {
    bson_t cursor, list, event, full;
    char place[16];
    BSON_APPEND_DOCUMENT_BEGIN(out, "cursor", &cursor);
    BSON_APPEND_INT64(&cursor, "id", 77);
    BSON_APPEND_UTF8(&cursor, "ns", "clinic.$cmd.aggregate");
    BSON_APPEND_ARRAY_BEGIN(&cursor, batch, &list);
    for (int i = 0; !empty && server.at < server.n_events; i++, server.at++) {
        snprintf(place, sizeof place, "%d", i);
        BSON_APPEND_DOCUMENT_BEGIN(&list, place, &event);
        append_token(&event, "_id", server.at + 1);
        BSON_APPEND_UTF8(&event, "operationType", server.events[server.at].operation);
        if (server.events[server.at].mrn) {
            BSON_APPEND_DOCUMENT_BEGIN(&event, "fullDocument", &full);
            BSON_APPEND_UTF8(&full, "mrn", server.events[server.at].mrn);
            bson_append_document_end(&event, &full);
        }
        bson_append_document_end(&list, &event);
    }
    bson_append_array_end(&cursor, &list);
    append_token(&cursor, "postBatchResumeToken", server.at);
    bson_append_document_end(out, &cursor);
    BSON_APPEND_DOUBLE(out, "ok", 1);
}

/* The event behind which the stream is to begin; the end, where the command names none. */
static size_t resume_point(const bson_t *command) {
    bson_iter_t at, token;
    if (bson_iter_init(&at, command) &&
        bson_iter_find_descendant(&at, "pipeline.0.$changeStream.resumeAfter._data", &token))
        return strtoul(bson_iter_utf8(&token, NULL), NULL, 10);
    return server.n_events;
}

/* The pipeline watches the five collections and asks for the MRN alone. */
static bool is_our_pipeline(const bson_t *command) {
    bson_iter_t at, found;
    return bson_iter_init(&at, command) &&
           bson_iter_find_descendant(&at, "pipeline.0.$changeStream.fullDocument", &found) &&
           strcmp(bson_iter_utf8(&found, NULL), "updateLookup") == 0 &&
           bson_iter_init(&at, command) &&
           bson_iter_find_descendant(&at, "pipeline.1.$match", &found) &&
           bson_iter_init(&at, command) &&
           bson_iter_find_descendant(&at, "pipeline.2.$project.operationType", &found);
}

static void aggregate(const bson_t *command, bson_t *out) {
    size_t from = resume_point(command);
    if (!server.has_streams)
        append_error(out, 40573, "The $changeStream stage is only supported on replica sets");
    else if (!is_our_pipeline(command))
        append_error(out, 9, "another pipeline than was expected");
    else if (from < server.forgotten)
        append_error(out, 286, "the resume point may no longer be in the oplog");
    else {
        server.at = from;
        append_batch(out, "firstBatch", true);
    }
}

static void answer(const bson_t *command, bson_t *out) {
    bson_iter_t at;
    const char *name =
        bson_iter_init(&at, command) && bson_iter_next(&at) ? bson_iter_key(&at) : "";
    if (strcasecmp(name, "hello") == 0 || strcasecmp(name, "ismaster") == 0)
        append_hello(out);
    else if (strcmp(name, "aggregate") == 0) {
        aggregate(command, out);
        return;
    } else if (strcmp(name, "getMore") == 0) {
        append_batch(out, "nextBatch", false);
        return;
    }
    BSON_APPEND_DOUBLE(out, "ok", 1);
}

/* ---- the wire --------------------------------------------------------------------------- */

static bool read_all(int fd, void *out, size_t n) {
    for (char *at = out; n > 0;) {
        ssize_t got = recv(fd, at, n, 0);
        if (got <= 0)
            return false;
        at += got;
        n -= (size_t)got;
    }
    return true;
}

static int32_t int_at(const uint8_t *bytes) {
    int32_t value;
    memcpy(&value, bytes, 4);
    return value;
}

static bool send_answer(int fd, int32_t to, bool is_query, const bson_t *document) {
    uint8_t head[36] = {0};
    const size_t n_head = is_query ? 36 : 21;
    const int32_t n = (int32_t)(n_head + document->len), opcode = is_query ? OP_REPLY : OP_MSG;
    const int32_t flags = 8, one = 1;
    memcpy(head, &n, 4);
    memcpy(head + 8, &to, 4);
    memcpy(head + 12, &opcode, 4);
    if (is_query) {
        memcpy(head + 16, &flags, 4);
        memcpy(head + 32, &one, 4);
    }
    return send(fd, head, n_head, MSG_NOSIGNAL) == (ssize_t)n_head &&
           send(fd, bson_get_data(document), document->len, MSG_NOSIGNAL) == (ssize_t)document->len;
}

static bool serve_one(int fd, uint8_t *message) {
    bson_t command, out = BSON_INITIALIZER;
    if (!read_all(fd, message, 16) || int_at(message) < 21 || int_at(message) > MAX_MESSAGE ||
        !read_all(fd, message + 16, (size_t)int_at(message) - 16))
        return false;
    bool is_query = int_at(message + 12) == OP_QUERY;
    size_t from = is_query ? 20 + strlen((char *)message + 20) + 1 + 8 : 21;
    if (!bson_init_static(&command, message + from, (size_t)int_at(message + from)))
        return false;
    pthread_mutex_lock(&server.lock);
    answer(&command, &out);
    pthread_mutex_unlock(&server.lock);
    bool sent = send_answer(fd, int_at(message + 4), is_query, &out);
    bson_destroy(&out);
    return sent;
}

static void *serve(void *arg) {
    int fd = *(int *)arg;
    uint8_t *message = malloc(MAX_MESSAGE);
    while (message && serve_one(fd, message))
        continue;
    shutdown(fd, SHUT_RDWR);
    free(message);
    return NULL;
}

static void *accept_all(void *arg) {
    (void)arg;
    int fd;
    while ((fd = accept4(server.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        size_t i = server.n_connections;
        if (i == MAX_CONNECTIONS) {
            close(fd);
            continue;
        }
        server.fds[i] = fd;
        if (pthread_create(&server.threads[i], NULL, serve, &server.fds[i]) == 0)
            server.n_connections++;
        else
            close(fd);
    }
    return NULL;
}

/* ---- for tests -------------------------------------------------------------------------- */

void test_mongo_stream_start(bool has_streams) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof address;
    server.has_streams = has_streams;
    server.n_events = server.forgotten = server.at = server.n_connections = 0;
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server.listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server.listener, 64), 0);
    assert_int_equal(getsockname(server.listener, (struct sockaddr *)&address, &n), 0);
    server.port = ntohs(address.sin_port);
    snprintf(server.uri, sizeof server.uri, "mongodb://127.0.0.1:%d/%s", server.port,
             has_streams ? "?replicaSet=rs0" : "");
    assert_int_equal(pthread_create(&server.acceptor, NULL, accept_all, NULL), 0);
}

void test_mongo_stream_stop(void) {
    shutdown(server.listener, SHUT_RDWR);
    pthread_join(server.acceptor, NULL);
    close(server.listener);
    for (size_t i = 0; i < server.n_connections; i++)
        shutdown(server.fds[i], SHUT_RDWR);
    for (size_t i = 0; i < server.n_connections; i++) {
        pthread_join(server.threads[i], NULL);
        close(server.fds[i]);
    }
}

const char *test_mongo_stream_uri(void) {
    return server.uri;
}

void test_mongo_stream_add(const char *operation, const char *mrn) {
    pthread_mutex_lock(&server.lock);
    assert_true(server.n_events < MAX_EVENTS);
    server.events[server.n_events].operation = operation;
    server.events[server.n_events++].mrn = mrn;
    pthread_mutex_unlock(&server.lock);
}

void test_mongo_stream_forget(void) {
    pthread_mutex_lock(&server.lock);
    server.forgotten = server.n_events;
    pthread_mutex_unlock(&server.lock);
}
