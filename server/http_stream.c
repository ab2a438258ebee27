#include "server/http_stream.h"

#include "base/clock.h"
#include "server/http_server.h"

#include <microhttpd.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)16384) /* taken at once; each has a deadline of its own */
#define PING        CP_STR(": ping\n\n")

void cp_streams_init(cp_streams *table, uint64_t ping_ns) {
    *table = (cp_streams){.ping_ns = ping_ns};
    table->head.prev = table->head.next = &table->head;
    pthread_mutex_init(&table->lock, NULL);
}

void cp_streams_deinit(cp_streams *table) {
    pthread_mutex_destroy(&table->lock);
}

/* ---- under the lock -------------------------------------------------------------------------- */

static void enter(const cp_stream *stream, cp_phase phase) {
    /* A connection that was given up is shut down; the library notices by itself. */
    (void)cp_connections_enter(stream->target.connections, stream->target.connection, phase);
}

static void wake(cp_stream *stream) {
    if (!stream->suspended)
        return;
    stream->suspended = false;
    MHD_resume_connection(stream->target.mhd);
}

/* The descriptor is ours to look at until the request is over. */
static bool is_gone(cp_stream *stream) {
    if (!stream->gone && !stream->over)
        stream->gone = cp_socket_peer_gone(stream->target.fd);
    return stream->gone || stream->over;
}

static bool append(cp_stream *stream, const char *bytes, size_t n) {
    if (stream->gone || stream->over || stream->dropped)
        return false;
    cp_strbuf_append(&stream->backlog, bytes, n);
    stream->written_ns = cp_clock_ns();
    stream->dropped = stream->backlog.failed != CP_OK;
    if (!stream->dropped && n > 0)
        wake(stream);
    return !stream->dropped;
}

static void ping(cp_stream *stream, uint64_t now) {
    uint64_t every = stream->table->ping_ns;
    if (every > 0 && stream->target.is_events && stream->backlog.n == 0 &&
        now >= stream->written_ns + every)
        (void)append(stream, PING.data, PING.n);
}

static size_t take(cp_stream *stream, char *out, size_t max) {
    size_t n = stream->backlog.n;
    if (n > max)
        n = max;
    if (n > BLOCK_BYTES)
        n = BLOCK_BYTES;
    memcpy(out, stream->backlog.data, n);
    cp_strbuf_consume(&stream->backlog, n);
    if (!stream->ended)
        enter(stream, CP_PHASE_SENDING);
    return n;
}

/* What the library gets when it asks for more: it has sent all that it had. */
static ssize_t give(cp_stream *stream, char *out, size_t max) {
    if (stream->gone)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (stream->backlog.n > 0)
        return (ssize_t)take(stream, out, max);
    if (stream->ended)
        return stream->dropped ? MHD_CONTENT_READER_END_WITH_ERROR
                               : MHD_CONTENT_READER_END_OF_STREAM;
    enter(stream, CP_PHASE_HANDLING);
    MHD_suspend_connection(stream->target.mhd);
    stream->suspended = true;
    return 0;
}

/* ---- for the table --------------------------------------------------------------------------- */

void cp_streams_tick(cp_streams *table) {
    uint64_t now = cp_clock_ns();
    pthread_mutex_lock(&table->lock);
    for (cp_stream *s = table->head.next; s != &table->head; s = s->next)
        if (!s->ended && !is_gone(s))
            ping(s, now);
    pthread_mutex_unlock(&table->lock);
}

/* ---- the writer ------------------------------------------------------------------------------ */

void cp_stream_begin(cp_streams *table, cp_stream *stream, const cp_stream_target *target) {
    pthread_mutex_lock(&table->lock);
    stream->table = table;
    stream->target = *target;
    cp_strbuf_init(&stream->backlog, CP_HTTP_STREAM_BACKLOG);
    stream->written_ns = cp_clock_ns();
    stream->prev = table->head.prev;
    stream->next = &table->head;
    stream->prev->next = stream->next->prev = stream;
    atomic_store(&stream->begun, true);
    stream->suspended = true;
    wake(stream);
    pthread_mutex_unlock(&table->lock);
}

bool cp_stream_write(cp_stream *stream, const char *bytes, size_t n) {
    pthread_mutex_lock(&stream->table->lock);
    bool taken = append(stream, bytes, n);
    pthread_mutex_unlock(&stream->table->lock);
    return taken;
}

bool cp_stream_client_gone(cp_stream *stream) {
    pthread_mutex_lock(&stream->table->lock);
    bool gone = is_gone(stream);
    pthread_mutex_unlock(&stream->table->lock);
    return gone;
}

/* A client that left before now did not get its answer, even where the kernel still takes the last
 * bytes for it. */
bool cp_stream_end(cp_stream *stream) {
    pthread_mutex_lock(&stream->table->lock);
    (void)is_gone(stream);
    bool over = stream->over;
    stream->ended = true;
    if (!over) {
        enter(stream, CP_PHASE_SENDING);
        wake(stream);
    }
    pthread_mutex_unlock(&stream->table->lock);
    return over;
}

/* ---- the library ----------------------------------------------------------------------------- */

static ssize_t read_backlog(void *cls, uint64_t position, char *out, size_t max) {
    cp_stream *stream = cls;
    (void)position;
    pthread_mutex_lock(&stream->table->lock);
    ssize_t n = give(stream, out, max);
    pthread_mutex_unlock(&stream->table->lock);
    return n;
}

struct MHD_Response *cp_stream_response(cp_stream *stream) {
    struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES,
                                                                      read_backlog, stream, NULL);
    /* Library versions before 1.0 send a last chunk after a HEAD's headers; without chunks the
     * connection's end is the body's. */
    if (response && stream->target.is_head &&
        MHD_set_response_options(response, MHD_RF_HTTP_VERSION_1_0_ONLY, MHD_RO_END) != MHD_YES) {
        MHD_destroy_response(response);
        return NULL;
    }
    return response;
}

bool cp_stream_over(cp_stream *stream) {
    pthread_mutex_lock(&stream->table->lock);
    stream->over = true;
    stream->prev->next = stream->next;
    stream->next->prev = stream->prev;
    bool ended = stream->ended;
    pthread_mutex_unlock(&stream->table->lock);
    return ended;
}

void cp_stream_deinit(cp_stream *stream) {
    cp_strbuf_deinit(&stream->backlog);
}
