#include "server/trace.h"

#include "base/clock.h"
#include "server/http_ids.h"
#include "server/trace_export.h"

#include <string.h>

static bool is_zero(const unsigned char *id, size_t n) {
    unsigned char any = 0;
    for (size_t i = 0; i < n; i++)
        any |= id[i];
    return any == 0;
}

static void new_id(unsigned char *out, size_t n) {
    do
        cp_http_random_bytes(out, (unsigned)n);
    while (is_zero(out, n));
}

void cp_trace_new_span_id(unsigned char out[CP_SPAN_ID_BYTES]) {
    new_id(out, CP_SPAN_ID_BYTES);
}

void cp_trace_begin(cp_trace *trace, cp_tracer *tracer, const char *traceparent,
                    const char *tracestate) {
    cp_trace_context *context = &trace->context;
    bool has_parent = cp_trace_parse(traceparent, context);
    trace->state[0] = '\0';
    if (has_parent && cp_trace_state_is_valid(tracestate))
        memcpy(trace->state, tracestate, strlen(tracestate) + 1);
    memcpy(trace->parent, context->span_id, CP_SPAN_ID_BYTES);
    if (!has_parent) {
        new_id(context->trace_id, CP_TRACE_ID_BYTES);
        context->flags = CP_TRACE_RANDOM;
    }
    trace->tracer = NULL;
    if (tracer || !has_parent) /* else what came is passed on as it is: there is no span of ours */
        cp_trace_new_span_id(context->span_id);
    if (!tracer)
        return;
    bool sampled = cp_tracer_samples(tracer, context, has_parent);
    context->flags = (context->flags & CP_TRACE_RANDOM) | (sampled ? CP_TRACE_SAMPLED : 0);
    trace->tracer = sampled ? tracer : NULL;
}

cp_trace_carrier cp_trace_carrier_of(const cp_trace *trace, const unsigned char *id) {
    cp_trace_carrier carrier = {.tracestate = trace->state};
    cp_trace_context context = trace->context;
    if (id)
        memcpy(context.span_id, id, CP_SPAN_ID_BYTES);
    cp_trace_format(&context, carrier.traceparent);
    return carrier;
}

const unsigned char *cp_trace_exemplar(const cp_trace *trace, const cp_tracer *tracer) {
    return trace->tracer || !tracer ? trace->context.trace_id : NULL;
}

/* ---- spans ----------------------------------------------------------------------------------- */

/* All but ids and parent. */
static void set_up(cp_trace_span *span, cp_tracer *tracer, unsigned flags, const char *name,
                   uint64_t begun_ns) {
    span->tracer = tracer;
    span->flags = flags;
    span->has_remote_parent = span->failed = false;
    span->kind = CP_SPAN_INTERNAL;
    span->name = name;
    span->subject = NULL;
    span->begun_ns = span->ended_ns = begun_ns;
    span->n_attributes = 0;
}

bool cp_trace_span_begin(cp_trace_span *span, const cp_trace *trace, const char *name,
                         uint64_t begun_ns) {
    span->tracer = NULL;
    if (!trace->tracer)
        return false;
    set_up(span, trace->tracer, trace->context.flags, name, begun_ns);
    memcpy(span->trace_id, trace->context.trace_id, CP_TRACE_ID_BYTES);
    memcpy(span->parent, trace->context.span_id, CP_SPAN_ID_BYTES);
    cp_trace_new_span_id(span->id);
    return true;
}

void cp_trace_enter(const cp_trace *whole, cp_trace *part) {
    *part = *whole;
    if (!whole->tracer)
        return;
    memcpy(part->parent, whole->context.span_id, CP_SPAN_ID_BYTES);
    cp_trace_new_span_id(part->context.span_id);
}

bool cp_trace_span_begin_part(cp_trace_span *span, const cp_trace *part, const char *name,
                              uint64_t begun_ns) {
    span->tracer = NULL;
    if (!part->tracer)
        return false;
    set_up(span, part->tracer, part->context.flags, name, begun_ns);
    memcpy(span->trace_id, part->context.trace_id, CP_TRACE_ID_BYTES);
    memcpy(span->parent, part->parent, CP_SPAN_ID_BYTES);
    memcpy(span->id, part->context.span_id, CP_SPAN_ID_BYTES);
    return true;
}

bool cp_trace_span_begin_request(cp_trace_span *span, const cp_trace *trace, const char *name,
                                 uint64_t begun_ns) {
    if (!cp_trace_span_begin_part(span, trace, name, begun_ns))
        return false;
    span->kind = CP_SPAN_SERVER;
    span->has_remote_parent = !is_zero(trace->parent, CP_SPAN_ID_BYTES);
    return true;
}

bool cp_trace_span_begin_in(cp_trace_span *span, const cp_trace_span *whole, const char *name,
                            uint64_t begun_ns) {
    span->tracer = NULL;
    if (!whole->tracer)
        return false;
    set_up(span, whole->tracer, whole->flags, name, begun_ns);
    memcpy(span->trace_id, whole->trace_id, CP_TRACE_ID_BYTES);
    memcpy(span->parent, whole->id, CP_SPAN_ID_BYTES);
    cp_trace_new_span_id(span->id);
    return true;
}

static void add(cp_trace_span *span, cp_trace_span_attribute attribute) {
    if (span->tracer && span->n_attributes < CP_SPAN_MAX_ATTRIBUTES)
        span->attributes[span->n_attributes++] = attribute;
}

void cp_trace_span_text(cp_trace_span *span, const char *key, const char *text) {
    if (text)
        add(span, (cp_trace_span_attribute){.key = key, .kind = CP_SPAN_TEXT, .text = text});
}

void cp_trace_span_words(cp_trace_span *span, const char *key, const char *word) {
    add(span, (cp_trace_span_attribute){.key = key, .kind = CP_SPAN_WORDS, .text = word});
}

void cp_trace_span_number(cp_trace_span *span, const char *key, int64_t number) {
    add(span, (cp_trace_span_attribute){.key = key, .kind = CP_SPAN_INT, .number = number});
}

void cp_trace_span_fail(cp_trace_span *span, const char *type) {
    if (!span->tracer)
        return;
    span->failed = true;
    cp_trace_span_text(span, "error.type", type);
}

void cp_trace_span_end(cp_trace_span *span, uint64_t ended_ns) {
    if (!span->tracer)
        return;
    if (ended_ns > span->begun_ns)
        span->ended_ns = ended_ns;
    cp_tracer_take(span->tracer, span);
}

void cp_trace_stage(const cp_trace *trace, const char *name, uint64_t *since_ns) {
    cp_trace_span span;
    if (!trace->tracer)
        return;
    uint64_t now = cp_clock_ns();
    if (cp_trace_span_begin(&span, trace, name, *since_ns))
        cp_trace_span_end(&span, now);
    *since_ns = now;
}
