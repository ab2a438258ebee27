#include "server/trace_spans.h"

#include "base/clock.h"
#include "base/mem.h"
#include "server/access.h"

#include <string.h>

/* ---- the request ----------------------------------------------------------------------------- */

/* A method's name that lives on; others are one, so that no client chooses names. */
static const char *method_of(const cp_http_request *request) {
    static const char *const known[] = {"GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH"};
    for (size_t i = 0; i < CP_COUNT_OF(known); i++)
        if (strcmp(request->method, known[i]) == 0)
            return known[i];
    return NULL;
}

bool cp_trace_is_probe(const cp_http_request *request) {
    return request->route &&
           (request->route->scope == CP_SCOPE_OPEN || request->route->scope == CP_SCOPE_METRICS);
}

void cp_trace_request_over(const cp_http_request *request) {
    const char *method = method_of(request);
    cp_trace_span span;
    if (cp_trace_is_probe(request) ||
        !cp_trace_span_begin_request(&span, &request->trace, method ? method : "HTTP",
                                     request->received_ns))
        return;
    int status = request->reply.status;
    span.subject = request->route ? request->route->path : NULL;
    cp_trace_span_text(&span, "http.request.method", method ? method : "_OTHER");
    cp_trace_span_text(&span, "http.route", span.subject);
    cp_trace_span_number(&span, "http.response.status_code", status);
    cp_trace_span_text(&span, "url.scheme", request->is_https ? "https" : "http");
    if (status >= 500)
        cp_trace_span_fail(&span, request->reply.code ? request->reply.code : "error");
    else if (status >= 400)
        cp_trace_span_text(&span, "error.type", request->reply.code);
    cp_trace_span_end(&span, cp_clock_ns());
}

/* ---- a record -------------------------------------------------------------------------------- */

static const char *system_of(const cp_patient_store *store) {
    return strcmp(store->kind, "mongo") == 0 ? "mongodb" : NULL;
}

void cp_trace_lookup_over(const cp_patient_lookup *lookup, const cp_lookup_times *times,
                          cp_status status) {
    const cp_patient_store *store = cp_patients_store(lookup->patients);
    cp_trace_span span;
    if (!lookup->trace ||
        !cp_trace_span_begin(&span, lookup->trace, "store lookup", times->begun_ns))
        return;
    memcpy(span.id, lookup->span_id, CP_SPAN_ID_BYTES); /* the store was told it */
    if (store->is_remote)
        span.kind = CP_SPAN_CLIENT;
    cp_trace_span_text(&span, "carepath.store", store->kind);
    cp_trace_span_text(&span, "db.system.name", system_of(store));
    cp_trace_span_text(&span, "carepath.outcome",
                       cp_lookup_outcome_name(cp_lookup_outcome_of(status)));
    if (times->asked_ns)
        cp_trace_span_number(&span, "carepath.wait_us",
                             (int64_t)((times->asked_ns - times->begun_ns) / 1000));
    if (status != CP_OK && status != CP_ERR_NOT_FOUND)
        cp_trace_span_fail(&span, cp_lookup_outcome_name(cp_lookup_outcome_of(status)));
    cp_trace_span_end(&span, times->ended_ns);
}

/* ---- the model ------------------------------------------------------------------------------- */

static uint64_t ns_of(double ms) {
    return ms > 0 ? (uint64_t)(ms * 1e6) : 0;
}

/* A phase of `ms`; where the next begins. */
static uint64_t put_phase(const cp_trace_span *whole, const char *name, uint64_t begun_ns,
                          double ms) {
    cp_trace_span span;
    uint64_t ended = begun_ns + ns_of(ms);
    if (cp_trace_span_begin_in(&span, whole, name, begun_ns))
        cp_trace_span_end(&span, ended);
    return ended;
}

static void put_phases(const cp_trace_span *whole, const cp_llm_result *r) {
    uint64_t at = put_phase(whole, "queue", whole->begun_ns, r->queue_ms);
    if (r->prompt_ms > 0)
        at = put_phase(whole, "prefill", at, r->prompt_ms);
    if (r->sampled_tokens > 0)
        put_phase(whole, "decode", at, r->generate_ms);
}

static const char *error_of(cp_status status) {
    switch (status) {
    case CP_ERR_BUSY:
        return "queue_full";
    case CP_ERR_LIMIT:
        return "too_long";
    case CP_ERR_CANCELLED:
        return "cancelled";
    case CP_ERR_NO_MEMORY:
        return "no_memory";
    default:
        return "broken";
    }
}

void cp_trace_generation_over(const cp_trace *trace, const cp_trace_generation *g) {
    const cp_llm_result *r = g->result;
    cp_trace_span span;
    if (!cp_trace_span_begin(&span, trace, g->operation, g->submitted_ns))
        return;
    span.subject = g->model;
    cp_trace_span_text(&span, "gen_ai.operation.name", g->operation);
    cp_trace_span_text(&span, "gen_ai.provider.name", "carepath");
    cp_trace_span_text(&span, "gen_ai.request.model", g->model);
    cp_trace_span_number(&span, "gen_ai.request.max_tokens", (int64_t)g->max_new_tokens);
    if (r) {
        put_phases(&span, r);
        cp_trace_span_words(&span, "gen_ai.response.finish_reasons", cp_finish_name(r->finish));
        cp_trace_span_number(&span, "gen_ai.usage.input_tokens", (int64_t)r->prompt_tokens);
        cp_trace_span_number(&span, "gen_ai.usage.output_tokens", (int64_t)r->sampled_tokens);
        cp_trace_span_number(&span, "carepath.cached_tokens", (int64_t)r->cached_tokens);
        cp_trace_span_number(&span, "carepath.thinking_tokens", (int64_t)r->thinking_tokens);
        cp_trace_span_number(&span, "carepath.first_token_ms",
                             (int64_t)(r->queue_ms + r->first_token_ms));
    }
    if (g->status != CP_OK)
        cp_trace_span_fail(&span, error_of(g->status));
    cp_trace_span_end(&span, cp_clock_ns());
}
