/* Traces: what happened to a request, as spans of one trace (docs/observability.md).
 *
 * A request has a cp_trace from its headers on: its ids, which the log and other servers see
 * whether or not spans are recorded, and the tracer when they are. A span is made when it is over,
 * from the moment it began, on the stack of whoever knows: nothing is allocated, nothing waits; the
 * tracer (server/trace_export.h) takes a copy or counts that it had no room.
 *
 * Spans never hold what came from a client, a record or a model: names and keys are literals, a
 * value is a number or a word of ours that lives as long as the process. */
#ifndef CP_SERVER_TRACE_H
#define CP_SERVER_TRACE_H

#include "base/trace_context.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cp_tracer cp_tracer; /* NULL: tracing is off */

/* Of one request; one thread at a time. */
typedef struct cp_trace {
    cp_tracer *tracer;                      /* NULL: nothing is recorded (off, or not sampled) */
    cp_trace_context context;               /* trace id, the id of the request's own span, flags */
    unsigned char parent[CP_SPAN_ID_BYTES]; /* the caller's span; zeros: none */
    char state[CP_TRACE_STATE_CAP];         /* tracestate, to be passed on; "" */
} cp_trace;

/* From the headers (`traceparent` NULL, `tracestate` "": none), or new ids. */
void cp_trace_begin(cp_trace *trace, cp_tracer *tracer, const char *traceparent,
                    const char *tracestate);
/* What calls for this request carry, as made by the span `id` (NULL: by the request's own). Borrows
 * `trace`. */
cp_trace_carrier cp_trace_carrier_of(const cp_trace *trace, const unsigned char *id);
/* Not all zeros. */
void cp_trace_new_span_id(unsigned char out[CP_SPAN_ID_BYTES]);

typedef enum cp_trace_span_kind {
    CP_SPAN_INTERNAL = 1, /* the protocol's numbers */
    CP_SPAN_SERVER = 2,
    CP_SPAN_CLIENT = 3,
} cp_trace_span_kind;

typedef struct cp_trace_span_attribute {
    const char *key;
    enum { CP_SPAN_TEXT, CP_SPAN_WORDS, CP_SPAN_INT } kind; /* WORDS: a list of one word */
    union {
        const char *text;
        int64_t number;
    };
} cp_trace_span_attribute;

#define CP_SPAN_MAX_ATTRIBUTES 12

typedef struct cp_trace_span {
    cp_tracer *tracer; /* NULL: recorded by nobody */
    unsigned char trace_id[CP_TRACE_ID_BYTES], id[CP_SPAN_ID_BYTES], parent[CP_SPAN_ID_BYTES];
    unsigned flags;
    bool has_remote_parent, failed;
    cp_trace_span_kind kind;
    const char *name, *subject;  /* called "name subject"; subject may be NULL */
    uint64_t begun_ns, ended_ns; /* of cp_clock_ns */
    size_t n_attributes;
    cp_trace_span_attribute attributes[CP_SPAN_MAX_ATTRIBUTES];
} cp_trace_span;

/* A part of the request that began then. False, and nothing to do, when spans are not recorded;
 * else attributes may follow, and cp_trace_span_end. */
bool cp_trace_span_begin(cp_trace_span *span, const cp_trace *trace, const char *name,
                         uint64_t begun_ns);
/* The request's own span. */
bool cp_trace_span_begin_request(cp_trace_span *span, const cp_trace *trace, const char *name,
                                 uint64_t begun_ns);
/* A part of a part. */
bool cp_trace_span_begin_in(cp_trace_span *span, const cp_trace_span *whole, const char *name,
                            uint64_t begun_ns);
void cp_trace_span_text(cp_trace_span *span, const char *key,
                        const char *text); /* NULL: left out */
void cp_trace_span_words(cp_trace_span *span, const char *key, const char *word);
void cp_trace_span_number(cp_trace_span *span, const char *key, int64_t number);
/* The part failed; `type` is a word of ours (error.type). */
void cp_trace_span_fail(cp_trace_span *span, const char *type);
void cp_trace_span_end(cp_trace_span *span, uint64_t ended_ns);

/* A part with parts of its own, as a trace: what begins in *part is inside. Its own span is
 * recorded by cp_trace_span_begin_part when it is over. */
void cp_trace_enter(const cp_trace *whole, cp_trace *part);
bool cp_trace_span_begin_part(cp_trace_span *span, const cp_trace *part, const char *name,
                              uint64_t begun_ns);

/* A part without attributes, from *since_ns until now, which *since_ns becomes. */
void cp_trace_stage(const cp_trace *trace, const char *name, uint64_t *since_ns);

/* The trace id for an exemplar of a metric: NULL when nobody will find the trace (not sampled,
 * while others are). */
const unsigned char *cp_trace_exemplar(const cp_trace *trace, const cp_tracer *tracer);

#endif
