/* W3C trace context: what `traceparent` and `tracestate` say, read strictly and written.
 *
 *     traceparent: 00-<trace id, 32 hex>-<parent's span id, 16 hex>-<flags, 2 hex>
 *     tracestate:  vendor=value,other=value
 *
 * Plain values; any thread. What is malformed is as good as absent: nothing of it is kept. */
#ifndef CP_BASE_TRACE_CONTEXT_H
#define CP_BASE_TRACE_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>

#define CP_TRACE_ID_BYTES   16
#define CP_SPAN_ID_BYTES    8
#define CP_TRACE_PARENT_CAP 56  /* of the text, NUL included */
#define CP_TRACE_STATE_CAP  513 /* longer lists are dropped, as the recommendation allows */

#define CP_TRACE_SAMPLED 0x01u
#define CP_TRACE_RANDOM  0x02u /* the trace id is random, at least its right half */

typedef struct cp_trace_context {
    unsigned char trace_id[CP_TRACE_ID_BYTES], span_id[CP_SPAN_ID_BYTES];
    unsigned flags; /* of the two that are known; others are not passed on */
} cp_trace_context;

/* Lower case, ids not all zero, version 00 exactly or a later one with more behind a dash. NULL is
 * allowed and false. */
bool cp_trace_parse(const char *traceparent, cp_trace_context *out);
void cp_trace_format(const cp_trace_context *context, char out[CP_TRACE_PARENT_CAP]);

/* Adds a tracestate header to those before it, which a list may come in; begins with "". A list
 * that becomes too long is dropped whole: "" for good. */
typedef struct cp_trace_state {
    char text[CP_TRACE_STATE_CAP];
    bool dropped;
} cp_trace_state;
void cp_trace_state_add(cp_trace_state *state, const char *header);
/* 1 to 32 members, their keys and values of the allowed characters, no key twice. */
bool cp_trace_state_is_valid(const char *text);

/* What the HTTP calls of this thread carry (base/http_pool); NULL: nothing. Borrowed; who sets it
 * takes it back. */
typedef struct cp_trace_carrier {
    char traceparent[CP_TRACE_PARENT_CAP];
    const char *tracestate; /* "": none */
} cp_trace_carrier;
void cp_trace_carry(const cp_trace_carrier *carrier);
const cp_trace_carrier *cp_trace_carried(void);

#endif
