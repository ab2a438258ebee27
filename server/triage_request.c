#include "server/triage_request.h"

#include "base/mem.h"
#include "server/patient_store.h"

#include <string.h>

#define MAX_SEED        ((int64_t)1 << 53)
#define BLANKS          " \t\n\r"
#define SESSION_ALLOWED "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

static const char *const known_fields[] = {
    "patient_mrn",     "query",      "max_new_tokens", "temperature", "seed",
    "enable_thinking", "session_id", "stream",         "deadline_ms", "thinking_budget_tokens"};

static bool check_known(cp_body_reader *r) {
    const cJSON *member;
    cJSON_ArrayForEach(member, r->object) {
        bool known = false;
        for (size_t i = 0; i < CP_COUNT_OF(known_fields); i++)
            known |= strcmp(member->string, known_fields[i]) == 0;
        if (!known)
            return cp_body_refuse(
                r, 422, NULL, "unknown_field",
                "the body has a field that is not known; known are patient_mrn, query, "
                "max_new_tokens, temperature, seed, enable_thinking, thinking_budget_tokens, "
                "deadline_ms, stream, session_id");
    }
    return true;
}

static bool read_texts(cp_body_reader *r, cp_triage_request *out) {
    if (!cp_body_string(r, "patient_mrn", true, &out->mrn) ||
        !cp_body_string(r, "query", true, &out->query) ||
        !cp_body_string(r, "session_id", false, &out->session_id))
        return false;
    if (!cp_mrn_is_valid(out->mrn))
        return cp_body_refuse(r, 422, "patient_mrn", "invalid", "patient_mrn must be " CP_MRN_RULE);
    if (strspn(out->query, BLANKS) == strlen(out->query))
        return cp_body_refuse(r, 422, "query", "invalid", "query must not be empty");
    if (strlen(out->query) > CP_TRIAGE_MAX_QUERY_BYTES)
        return cp_body_refuse(r, 422, "query", "too_long", "query must be at most %d bytes",
                              CP_TRIAGE_MAX_QUERY_BYTES);
    if (out->session_id) {
        size_t n = strlen(out->session_id);
        if (n == 0 || n >= CP_TRIAGE_SESSION_CAP || strspn(out->session_id, SESSION_ALLOWED) != n)
            return cp_body_refuse(r, 422, "session_id", "invalid",
                                  "session_id must be 1 to 64 letters, digits, '-' or '_'");
    }
    return true;
}

static bool read_fields(cp_body_reader *r, int64_t max_new_tokens, cp_triage_request *out) {
    out->max_new_tokens = max_new_tokens;
    return check_known(r) && read_texts(r, out) &&
           cp_body_integer(r, "max_new_tokens", 1, max_new_tokens, NULL, &out->max_new_tokens) &&
           cp_body_number(r, "temperature", 0, 2, &out->has_temperature, &out->temperature) &&
           cp_body_integer(r, "seed", 0, MAX_SEED, &out->has_seed, &out->seed) &&
           cp_body_bool(r, "enable_thinking", &out->has_thinking, &out->enable_thinking) &&
           cp_body_bool(r, "stream", NULL, &out->stream) &&
           cp_body_integer(r, "deadline_ms", 1, CP_TRIAGE_MAX_DEADLINE_MS, &out->has_deadline,
                           &out->deadline_ms) &&
           cp_body_integer(r, "thinking_budget_tokens", 0, CP_TRIAGE_MAX_THINKING,
                           &out->has_thinking_budget, &out->thinking_budget);
}

bool cp_triage_request_parse(cp_str body, int64_t max_new_tokens, cp_triage_request *out,
                             cp_body_fault *fault) {
    *out = (cp_triage_request){0};
    if (!cp_body_parse(body, &out->tree, fault))
        return false;
    cp_body_reader r = {.object = out->tree, .path = "", .fault = fault};
    return read_fields(&r, max_new_tokens, out);
}

void cp_triage_request_deinit(cp_triage_request *request) {
    cJSON_Delete(request->tree);
    *request = (cp_triage_request){0};
}
