/* Spans as OTLP/HTTP JSON: the body of an ExportTraceServiceRequest, protobuf's JSON mapping with
 * ids in hex. https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding */
#ifndef CP_SERVER_TRACE_OTLP_H
#define CP_SERVER_TRACE_OTLP_H

#include "server/trace.h"
#include "server/trace_options.h"

#define CP_OTLP_SPAN_BYTES ((size_t)4096) /* more than a span takes */
#define CP_OTLP_HEAD_BYTES ((size_t)65536)

/* What made the spans, the same for all. */
typedef struct cp_otlp_resource {
    const cp_trace_options *options;
    const char *instance; /* a random name of this process */
} cp_otlp_resource;

/* `unix_offset_ns` turns cp_clock_ns into nanoseconds since 1970. */
void cp_otlp_append(const cp_otlp_resource *resource, const cp_trace_span *spans, size_t n,
                    uint64_t unix_offset_ns, cp_strbuf *out);
/* Of the receiver's answer: how many spans it says that it has refused. 0 when it does not say. */
size_t cp_otlp_n_rejected(cp_str answer);

#endif
