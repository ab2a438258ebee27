/* Small JSON documents as cJSON trees, behind a strict check.
 *
 * cJSON alone accepts malformed text, cuts strings at U+0000 and ignores the case of keys; so every
 * document passes json_reader's grammar first (strings with U+0000 refused), duplicate keys are
 * refused, and members are looked up with their exact case. The getters check type and range and
 * name `source` and the key in their error. For configuration files and requests; large files use
 * json_reader.h. */
#ifndef CP_BASE_JSON_H
#define CP_BASE_JSON_H

#include "base/error.h"
#include "base/strbuf.h"

#include <cJSON.h>
#include <stdint.h>

/* Parses text[0..n); *out is released with cJSON_Delete, NULL on failure. */
cp_status cp_json_parse(const char *source, const char *text, size_t n, cJSON **out,
                        cp_error *err) CP_MUST_CHECK;
/* The file at `path`, at most max_bytes, whose top level must be an object. */
cp_status cp_json_parse_file(const char *path, size_t max_bytes, cJSON **out,
                             cp_error *err) CP_MUST_CHECK;

/* The member with exactly this name, or NULL; JSON null counts as absent. */
const cJSON *cp_json_member(const cJSON *object, const char *key);

/* The text of a member that may be there, borrowed; `otherwise` where it is absent or no string. */
const char *cp_json_text(const cJSON *object, const char *key, const char *otherwise);

/* Getters. An absent key leaves *out alone and is CP_ERR_NOT_FOUND, with a sentence, so that a
 * caller decides whether it is required; a wrong type or range is CP_ERR_FORMAT. */
cp_status cp_json_get_int(const cJSON *object, const char *source, const char *key, int64_t lo,
                          int64_t hi, int64_t *out, cp_error *err) CP_MUST_CHECK;
cp_status cp_json_get_number(const cJSON *object, const char *source, const char *key, double lo,
                             double hi, double *out, cp_error *err) CP_MUST_CHECK;
cp_status cp_json_get_bool(const cJSON *object, const char *source, const char *key, bool *out,
                           cp_error *err) CP_MUST_CHECK;
/* Borrowed from the tree. */
cp_status cp_json_get_string(const cJSON *object, const char *source, const char *key,
                             const char **out, cp_error *err) CP_MUST_CHECK;
/* CP_OK for CP_ERR_NOT_FOUND, else the status: cp_json_optional(cp_json_get_int(...)). */
static inline cp_status cp_json_optional(cp_status status) {
    return status == CP_ERR_NOT_FOUND ? CP_OK : status;
}

#endif
