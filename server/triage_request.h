/* The body of POST /triage, checked as a whole before anything of it is used.
 *
 * Every field has a type and a range, and an unknown field is refused rather than ignored.
 * Sentences name fields and limits and never repeat what the client sent. Texts are borrowed from
 * the JSON tree that the request owns. */
#ifndef CP_SERVER_TRIAGE_REQUEST_H
#define CP_SERVER_TRIAGE_REQUEST_H

#include "server/body_reader.h"

#define CP_TRIAGE_MAX_QUERY_BYTES 32768
#define CP_TRIAGE_SESSION_CAP     65
#define CP_TRIAGE_MAX_DEADLINE_MS 3600000
#define CP_TRIAGE_MAX_THINKING    131072

typedef struct cp_triage_request {
    cJSON *tree;
    const char *mrn, *query;
    const char *session_id; /* NULL when absent */
    int64_t max_new_tokens; /* the setting's value when absent */
    bool has_temperature, has_seed, has_thinking;
    double temperature;
    int64_t seed;
    bool enable_thinking, stream;
    bool has_thinking_budget, has_deadline;
    int64_t thinking_budget, deadline_ms;
} cp_triage_request;

/* False: `fault` says what to answer. The request is released with deinit in either case. */
bool cp_triage_request_parse(cp_str body, int64_t max_new_tokens, cp_triage_request *out,
                             cp_body_fault *fault) CP_MUST_CHECK;
void cp_triage_request_deinit(cp_triage_request *request);

#endif
