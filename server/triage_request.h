/* The body of POST /triage, checked as a whole before anything of it is used.
 *
 * Every field has a type and a range, and an unknown field is refused rather than ignored.
 * Sentences name fields and limits and never repeat what the client sent. Texts are borrowed from
 * the JSON tree that the request owns. */
#ifndef CP_SERVER_TRIAGE_REQUEST_H
#define CP_SERVER_TRIAGE_REQUEST_H

#include "base/json.h"
#include "server/http_reply.h"

#define CP_TRIAGE_MAX_QUERY_BYTES 32768
#define CP_TRIAGE_SESSION_CAP     65

typedef struct cp_triage_request {
    cJSON *tree;
    const char *mrn, *query;
    const char *session_id; /* NULL when absent */
    int64_t max_new_tokens; /* the setting's value when absent */
    bool has_temperature, has_seed, has_thinking;
    double temperature;
    int64_t seed;
    bool enable_thinking;
} cp_triage_request;

/* False: `error` says what to answer; its sentence lies in sentence[cap] or is a literal. The
 * request is released with deinit in either case. */
#define CP_TRIAGE_SENTENCE_CAP sizeof(((cp_error *)0)->message)
bool cp_triage_request_parse(cp_str body, int64_t max_new_tokens, cp_triage_request *out,
                             cp_api_error *error,
                             char sentence[CP_TRIAGE_SENTENCE_CAP]) CP_MUST_CHECK;
void cp_triage_request_deinit(cp_triage_request *request);

#endif
