/* The JSON body of a request, read field by field.
 *
 * Every reader checks a member's type and range. What is wrong goes into one cp_body_fault: status,
 * code, the field's path as `param`, and a sentence that names fields and limits and never repeats
 * what was sent. A member that is absent or null is no fault unless it is required. Borrows the
 * tree; texts that it hands out live as long as that. */
#ifndef CP_SERVER_BODY_READER_H
#define CP_SERVER_BODY_READER_H

#include "base/json.h"
#include "server/http_reply.h"

typedef struct cp_body_fault {
    cp_api_error error; /* points into the two below; not to be copied apart */
    char sentence[sizeof(((cp_error *)0)->message)];
    char param[96];
} cp_body_fault;

typedef struct cp_body_reader {
    const cJSON *object; /* whose members are read */
    const char *path;    /* of that object: "" or "messages[3]." */
    cp_body_fault *fault;
} cp_body_reader;

/* The body as a tree whose top level is an object; released with cJSON_Delete, NULL on failure. */
bool cp_body_parse(cp_str body, cJSON **out, cp_body_fault *fault) CP_MUST_CHECK;

/* Sets the fault and returns false. `key` NULL: no single field is at fault. */
bool cp_body_refuse(cp_body_reader *r, int status, const char *key, const char *code,
                    const char *fmt, ...) CP_PRINTF(5, 6);

/* *out changes only when the member is there; *has (may be NULL) says whether it is. */
bool cp_body_number(cp_body_reader *r, const char *key, double lo, double hi, bool *has,
                    double *out) CP_MUST_CHECK;
/* Limits within +-2^53. */
bool cp_body_integer(cp_body_reader *r, const char *key, int64_t lo, int64_t hi, bool *has,
                     int64_t *out) CP_MUST_CHECK;
bool cp_body_bool(cp_body_reader *r, const char *key, bool *has, bool *out) CP_MUST_CHECK;
/* *out is NULL when absent. */
bool cp_body_string(cp_body_reader *r, const char *key, bool required,
                    const char **out) CP_MUST_CHECK;
/* The same for an object. */
bool cp_body_object(cp_body_reader *r, const char *key, const cJSON **out) CP_MUST_CHECK;

/* Deletes the members of `object` that are not listed (NULL-terminated), and with `no_arrays` those
 * that are lists: a tree takes many times its text, so what waits keeps only what it needs. */
void cp_body_keep(cJSON *object, const char *const *names, bool no_arrays);

#endif
