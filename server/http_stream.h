/* A streamed answer's bytes on their way from the thread that writes them to the library's, which
 * sends them: a backlog with a maximum, and the connection suspended while it is empty.
 *
 * Two hold a stream: its writer from begin to end, and the library until it says that the request
 * is over. Whoever leaves last is told so, and releases it. While the library waits for us there is
 * no deadline; while a client takes what was written each block has the time that sending may take,
 * and after the end all that is left together. The library drops a resume that comes before its
 * suspend, so both happen under the table's lock, which is never held while calling the server or
 * the application. Used by http_server alone; its header says what writers may expect. */
#ifndef CP_SERVER_HTTP_STREAM_H
#define CP_SERVER_HTTP_STREAM_H

#include "base/strbuf.h"
#include "server/http_connections.h"

#include <pthread.h>
#include <stdatomic.h>

struct MHD_Connection;
struct MHD_Response;

typedef struct cp_stream cp_stream;
typedef struct cp_streams cp_streams;

/* Where a stream's bytes go. */
typedef struct cp_stream_target {
    struct MHD_Connection *mhd; /* suspended */
    cp_connections *connections;
    cp_connection *connection;
    int fd;
    bool is_events; /* gets pings */
    bool is_head;   /* has no body */
} cp_stream_target;

/* Zeroed before begin. */
struct cp_stream {
    atomic_bool begun; /* all else is set and under the lock */
    cp_streams *table;
    cp_stream *prev, *next; /* from begin to the request's end */
    cp_stream_target target;
    cp_strbuf backlog;
    uint64_t written_ns; /* the last write, or begin */
    bool suspended;      /* by us, for want of bytes */
    bool gone;           /* the client closed its side before the end */
    bool dropped;        /* bytes were refused: the answer is not whole */
    bool ended;          /* by the writer */
    bool over;           /* for the library: the target is no more */
};

struct cp_streams {
    pthread_mutex_t lock;
    uint64_t ping_ns; /* 0: none */
    cp_stream head;   /* ring */
};

void cp_streams_init(cp_streams *table, uint64_t ping_ns);
void cp_streams_deinit(cp_streams *table);
/* To be called often: pings silent streams, notes whose client has left. */
void cp_streams_tick(cp_streams *table);

/* ---- the writer's side ---- */

/* Resumes the connection, for the response to be queued. The other calls come after it. */
void cp_stream_begin(cp_streams *table, cp_stream *stream, const cp_stream_target *target);
bool cp_stream_write(cp_stream *stream, const char *bytes, size_t n);
bool cp_stream_client_gone(cp_stream *stream);
/* True when the library is done with it: the caller releases it. */
bool cp_stream_end(cp_stream *stream) CP_MUST_CHECK;

/* ---- the library's side ---- */

/* A response that takes the backlog; NULL without memory. */
struct MHD_Response *cp_stream_response(cp_stream *stream);
/* The request is over. True when the writer has ended: the caller releases it. */
bool cp_stream_over(cp_stream *stream) CP_MUST_CHECK;
/* After both. */
void cp_stream_deinit(cp_stream *stream);

#endif
