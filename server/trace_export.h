/* The tracer: takes finished spans and sends them to an OTLP receiver from a thread of its own.
 *
 *     any thread:      take: a copy into a list of fixed size, or dropped and counted
 *     tracer's thread: all that waits -> batches -> POST; tries again where that may help
 *
 * Taking holds a lock for the copy of one span and never waits for the network. A receiver that is
 * slow, silent or hostile costs spans, nothing else: answers are small and bounded in time, a batch
 * is given up after a minute, and closing takes CP_TRACER_FLUSH_S at most. Memory is taken once,
 * when the tracer is opened. */
#ifndef CP_SERVER_TRACE_EXPORT_H
#define CP_SERVER_TRACE_EXPORT_H

#include "server/trace.h"
#include "server/trace_options.h"

#define CP_TRACER_FLUSH_S 3.0

/* Takes over what is in *options, also after failure. *out is NULL when tracing is off. */
cp_status cp_tracer_open(cp_trace_options *options, cp_tracer **out, cp_error *err) CP_MUST_CHECK;
/* Sends what waits, as long as CP_TRACER_FLUSH_S; no spans may come any more. NULL is allowed. */
void cp_tracer_close(cp_tracer *tracer);

/* Whether a request's spans are recorded; no for NULL. */
bool cp_tracer_samples(const cp_tracer *tracer, const cp_trace_context *context, bool has_parent);
void cp_tracer_take(cp_tracer *tracer, const cp_trace_span *span);

typedef struct cp_tracer_stats {
    uint64_t exported; /* spans that the receiver took */
    uint64_t dropped;  /* for which there was no room */
    uint64_t failed;   /* that it refused, or that could not be sent */
    uint64_t requests; /* to the receiver, tries included */
    uint64_t waiting;  /* spans, now */
} cp_tracer_stats;
/* All 0 for NULL. */
cp_tracer_stats cp_tracer_get_stats(cp_tracer *tracer);

#endif
