#include "server/body_reader.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool cp_body_parse(cp_str body, cJSON **out, cp_body_fault *fault) {
    cp_error err;
    cp_status status = cp_json_parse("the body", body.data, body.n, out, &err);
    if (status == CP_ERR_NO_MEMORY) {
        fault->error = (cp_api_error){503, "no_memory", "the server is short of memory", NULL, 1};
        return false;
    }
    if (status != CP_OK) { /* the strict reader's sentences hold places, not contents */
        snprintf(fault->sentence, sizeof fault->sentence, "%s", err.message);
        fault->error = (cp_api_error){400, "bad_json", fault->sentence, NULL, 0};
        return false;
    }
    if (cJSON_IsObject(*out))
        return true;
    cJSON_Delete(*out);
    *out = NULL;
    fault->error = (cp_api_error){400, "bad_json", "the body must be a JSON object", NULL, 0};
    return false;
}

bool cp_body_refuse(cp_body_reader *r, int status, const char *key, const char *code,
                    const char *fmt, ...) {
    cp_body_fault *fault = r->fault;
    va_list args;
    va_start(args, fmt);
    vsnprintf(fault->sentence, sizeof fault->sentence, fmt, args);
    va_end(args);
    if (key)
        snprintf(fault->param, sizeof fault->param, "%s%s", r->path, key);
    fault->error = (cp_api_error){
        .status = status,
        .code = code,
        .message = fault->sentence,
        .param = key ? fault->param : NULL,
    };
    return false;
}

static bool wrong_type(cp_body_reader *r, const char *key, const char *expected) {
    return cp_body_refuse(r, 422, key, "wrong_type", "%s%s must be %s", r->path, key, expected);
}

static bool read_number(cp_body_reader *r, const char *key, double lo, double hi, bool whole,
                        bool *has, double *out) {
    const cJSON *member = cp_json_member(r->object, key);
    const char *kind = whole ? "an integer" : "a number";
    if (has)
        *has = member != NULL;
    if (!member)
        return true;
    if (!cJSON_IsNumber(member))
        return wrong_type(r, key, kind);
    double value = member->valuedouble;
    if (!(value >= lo && value <= hi) || (whole && value != floor(value)))
        return cp_body_refuse(r, 422, key, "out_of_range", "%s%s must be %s from %.17g to %.17g",
                              r->path, key, kind, lo, hi);
    *out = value;
    return true;
}

bool cp_body_number(cp_body_reader *r, const char *key, double lo, double hi, bool *has,
                    double *out) {
    return read_number(r, key, lo, hi, false, has, out);
}

bool cp_body_integer(cp_body_reader *r, const char *key, int64_t lo, int64_t hi, bool *has,
                     int64_t *out) {
    double value = 0;
    bool given = false;
    if (!read_number(r, key, (double)lo, (double)hi, true, &given, &value))
        return false;
    if (has)
        *has = given;
    if (given)
        *out = (int64_t)value;
    return true;
}

bool cp_body_bool(cp_body_reader *r, const char *key, bool *has, bool *out) {
    const cJSON *member = cp_json_member(r->object, key);
    if (has)
        *has = member != NULL;
    if (member && !cJSON_IsBool(member))
        return wrong_type(r, key, "true or false");
    if (member)
        *out = cJSON_IsTrue(member);
    return true;
}

bool cp_body_string(cp_body_reader *r, const char *key, bool required, const char **out) {
    const cJSON *member = cp_json_member(r->object, key);
    *out = NULL;
    if (!member && required)
        return cp_body_refuse(r, 422, key, "missing", "%s%s is required", r->path, key);
    if (member && !cJSON_IsString(member))
        return wrong_type(r, key, "a string");
    *out = member ? member->valuestring : NULL;
    return true;
}

bool cp_body_object(cp_body_reader *r, const char *key, const cJSON **out) {
    *out = cp_json_member(r->object, key);
    return !*out || cJSON_IsObject(*out) || wrong_type(r, key, "an object");
}

void cp_body_keep(cJSON *object, const char *const *names, bool no_arrays) {
    for (cJSON *member = object->child, *next; member; member = next) {
        bool listed = false;
        next = member->next;
        for (const char *const *name = names; *name; name++)
            listed |= strcmp(*name, member->string) == 0;
        if (!listed || (no_arrays && cJSON_IsArray(member)))
            cJSON_Delete(cJSON_DetachItemViaPointer(object, member));
    }
}
