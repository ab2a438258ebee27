/* Server-sent events, read as they come in: the event stream format of the HTML standard (section
 * 9.2.6, "Interpreting an event stream").
 *
 * Lines end with CR LF, LF or CR, wherever the bytes are cut; a byte order mark in front is passed
 * over; an event without data is none; one that the stream's end cuts off is dropped. "id" and
 * "retry" are for reconnecting and ignored. Bytes are passed on as they are: who needs UTF-8 checks
 * it. Bounded: a line or an event over the maximum is an error. After an error it is fed no more.
 */
#ifndef CP_BASE_SSE_READER_H
#define CP_BASE_SSE_READER_H

#include "base/strbuf.h"

typedef struct cp_sse_event {
    cp_str name; /* "message" where the stream says none */
    cp_str data; /* its lines joined by LF */
} cp_sse_event;

typedef struct cp_sse_reader {
    cp_strbuf line, name, data;
    size_t n_events, n_comments;
    bool skip_lf;  /* the last byte was a CR */
    bool begun;    /* past a possible byte order mark */
    bool has_data; /* a data field came since the last event */
    bool (*on_event)(void *user, const cp_sse_event *event); /* false ends the reading */
    void *user;
} cp_sse_reader;

/* max_bytes: of a line, and of an event's data. */
void cp_sse_reader_init(cp_sse_reader *r, size_t max_bytes,
                        bool (*on_event)(void *user, const cp_sse_event *event), void *user);
/* Forgets everything read; for the next stream. */
void cp_sse_reader_begin(cp_sse_reader *r);
void cp_sse_reader_deinit(cp_sse_reader *r);
/* CP_ERR_LIMIT, CP_ERR_NO_MEMORY, or CP_ERR_CANCELLED when on_event returned false. */
cp_status cp_sse_reader_feed(cp_sse_reader *r, cp_str bytes, cp_error *err) CP_MUST_CHECK;

#endif
