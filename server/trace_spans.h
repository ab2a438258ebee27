/* The spans of a request that more than one file makes: the request itself, the lookup of a record,
 * the model's part. Their names and attributes are listed in docs/observability.md. */
#ifndef CP_SERVER_TRACE_SPANS_H
#define CP_SERVER_TRACE_SPANS_H

#include "llm/llm.h"
#include "server/http_server.h"
#include "server/patients.h"

/* Probes and scrapes make no span. */
bool cp_trace_is_probe(const cp_http_request *request);
/* A request is over. */
void cp_trace_request_over(const cp_http_request *request);

/* A store has answered, or was not asked. */
void cp_trace_lookup_over(const cp_patient_lookup *lookup, const cp_lookup_times *times,
                          cp_status status);

typedef struct cp_trace_generation {
    const char *operation; /* "chat", "text_completion" */
    const char *model;     /* its folder's name */
    uint64_t submitted_ns; /* to the queue */
    size_t max_new_tokens;
    cp_status status;
    const cp_llm_result *result; /* NULL: none */
} cp_trace_generation;
/* The model is done: a span with queue, prefill and decode inside. */
void cp_trace_generation_over(const cp_trace *trace, const cp_trace_generation *generation);

#endif
