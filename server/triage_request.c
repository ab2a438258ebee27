#include "server/triage_request.h"

#include "base/mem.h"
#include "server/patient_store.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_SEED        ((int64_t)1 << 53)
#define BLANKS          " \t\n\r"
#define SESSION_ALLOWED "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

static const char *const known_fields[] = {"patient_mrn", "query", "max_new_tokens",
                                           "temperature", "seed",  "enable_thinking",
                                           "session_id"};

/* Where a field's fault is written. */
typedef struct reader {
    const cJSON *tree;
    cp_api_error *error;
    char *sentence; /* [CP_TRIAGE_SENTENCE_CAP] */
} reader;

static bool refuse(reader *r, const char *param, const char *code, const char *fmt, ...)
    CP_PRINTF(4, 5);
static bool refuse(reader *r, const char *param, const char *code, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(r->sentence, CP_TRIAGE_SENTENCE_CAP, fmt, args);
    va_end(args);
    *r->error = (cp_api_error){.status = 422, .code = code, .message = r->sentence, .param = param};
    return false;
}

/* Absent is fine; *has says. JSON null counts as absent. */
static bool read_number(reader *r, const char *key, double lo, double hi, bool whole, bool *has,
                        double *out) {
    const cJSON *member = cp_json_member(r->tree, key);
    const char *kind = whole ? "an integer" : "a number";
    *has = member != NULL;
    if (!member)
        return true;
    if (!cJSON_IsNumber(member))
        return refuse(r, key, "wrong_type", "%s must be %s", key, kind);
    double value = member->valuedouble;
    if (!(value >= lo && value <= hi) || (whole && value != floor(value)))
        return refuse(r, key, "out_of_range", "%s must be %s from %.17g to %.17g", key, kind, lo,
                      hi);
    *out = value;
    return true;
}

static bool read_integer(reader *r, const char *key, int64_t lo, int64_t hi, bool *has,
                         int64_t *out) {
    double value = 0;
    if (!read_number(r, key, (double)lo, (double)hi, true, has, &value))
        return false;
    if (*has)
        *out = (int64_t)value;
    return true;
}

static bool read_bool(reader *r, const char *key, bool *has, bool *out) {
    const cJSON *member = cp_json_member(r->tree, key);
    *has = member != NULL;
    if (member && !cJSON_IsBool(member))
        return refuse(r, key, "wrong_type", "%s must be true or false", key);
    *out = member && cJSON_IsTrue(member);
    return true;
}

/* *out is NULL when absent. */
static bool read_string(reader *r, const char *key, bool required, const char **out) {
    const cJSON *member = cp_json_member(r->tree, key);
    *out = NULL;
    if (!member)
        return !required || refuse(r, key, "missing", "%s is required", key);
    if (!cJSON_IsString(member))
        return refuse(r, key, "wrong_type", "%s must be a string", key);
    *out = member->valuestring;
    return true;
}

static bool check_known(reader *r) {
    const cJSON *member;
    cJSON_ArrayForEach(member, r->tree) {
        bool known = false;
        for (size_t i = 0; i < CP_COUNT_OF(known_fields); i++)
            known |= strcmp(member->string, known_fields[i]) == 0;
        if (!known)
            return refuse(r, NULL, "unknown_field",
                          "the body has a field that is not known; known are patient_mrn, query, "
                          "max_new_tokens, temperature, seed, enable_thinking, session_id");
    }
    return true;
}

static bool read_texts(reader *r, cp_triage_request *out) {
    if (!read_string(r, "patient_mrn", true, &out->mrn) ||
        !read_string(r, "query", true, &out->query) ||
        !read_string(r, "session_id", false, &out->session_id))
        return false;
    if (!cp_mrn_is_valid(out->mrn))
        return refuse(r, "patient_mrn", "invalid",
                      "patient_mrn must be 1 to 32 letters, digits, '.', '_' or '-', starting with "
                      "a letter or digit");
    if (strspn(out->query, BLANKS) == strlen(out->query))
        return refuse(r, "query", "invalid", "query must not be empty");
    if (strlen(out->query) > CP_TRIAGE_MAX_QUERY_BYTES)
        return refuse(r, "query", "too_long", "query must be at most %d bytes",
                      CP_TRIAGE_MAX_QUERY_BYTES);
    if (out->session_id) {
        size_t n = strlen(out->session_id);
        if (n == 0 || n >= CP_TRIAGE_SESSION_CAP || strspn(out->session_id, SESSION_ALLOWED) != n)
            return refuse(r, "session_id", "invalid",
                          "session_id must be 1 to 64 letters, digits, '-' or '_'");
    }
    return true;
}

static bool read_fields(reader *r, int64_t max_new_tokens, cp_triage_request *out) {
    bool has_max = false;
    out->max_new_tokens = max_new_tokens;
    return check_known(r) && read_texts(r, out) &&
           read_integer(r, "max_new_tokens", 1, max_new_tokens, &has_max, &out->max_new_tokens) &&
           read_number(r, "temperature", 0, 2, false, &out->has_temperature, &out->temperature) &&
           read_integer(r, "seed", 0, MAX_SEED, &out->has_seed, &out->seed) &&
           read_bool(r, "enable_thinking", &out->has_thinking, &out->enable_thinking);
}

bool cp_triage_request_parse(cp_str body, int64_t max_new_tokens, cp_triage_request *out,
                             cp_api_error *error, char sentence[CP_TRIAGE_SENTENCE_CAP]) {
    cp_error err;
    *out = (cp_triage_request){0};
    cp_status status = cp_json_parse("the body", body.data, body.n, &out->tree, &err);
    if (status == CP_ERR_NO_MEMORY) {
        *error = (cp_api_error){503, "no_memory", "the server is short of memory", NULL, 1};
        return false;
    }
    if (status != CP_OK) { /* the strict reader's sentences hold places, not contents */
        snprintf(sentence, CP_TRIAGE_SENTENCE_CAP, "%s", err.message);
        *error = (cp_api_error){400, "bad_json", sentence, NULL, 0};
        return false;
    }
    if (!cJSON_IsObject(out->tree)) {
        *error = (cp_api_error){400, "bad_json", "the body must be a JSON object", NULL, 0};
        return false;
    }
    reader r = {.tree = out->tree, .error = error, .sentence = sentence};
    return read_fields(&r, max_new_tokens, out);
}

void cp_triage_request_deinit(cp_triage_request *request) {
    cJSON_Delete(request->tree);
    *request = (cp_triage_request){0};
}
