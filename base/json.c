#include "base/json.h"

#include "base/file.h"
#include "base/json_reader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare_keys(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Refuses an object that names a key twice, at any level. Depth is bounded by the strict check. */
static cp_status check_duplicates(const cJSON *node, const char *source, cp_error *err) {
    size_t n = 0;
    const cJSON *child;
    cJSON_ArrayForEach(child, node) {
        cp_status status = check_duplicates(child, source, err);
        if (status != CP_OK)
            return status;
        n++;
    }
    if (!cJSON_IsObject(node) || n < 2)
        return CP_OK;
    const char **keys = calloc(n, sizeof *keys);
    if (!keys)
        return cp_error_no_memory(err, source);
    size_t i = 0;
    cJSON_ArrayForEach(child, node) keys[i++] = child->string;
    qsort(keys, n, sizeof *keys, compare_keys);
    cp_status status = CP_OK;
    for (i = 1; i < n && status == CP_OK; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            status =
                cp_error_set(err, CP_ERR_FORMAT, "%s: an object has the same key twice", source);
    free(keys);
    return status;
}

cp_status cp_json_parse(const char *source, const char *text, size_t n, cJSON **out,
                        cp_error *err) {
    *out = NULL;
    cp_json_reader reader;
    cp_json_reader_init(&reader, source, text, n);
    reader.refuse_nul = true;
    cp_status status = cp_json_skip(&reader, err);
    if (status == CP_OK)
        status = cp_json_finish(&reader, err);
    cp_json_reader_deinit(&reader);
    if (status != CP_OK)
        return status;
    cJSON *tree = cJSON_ParseWithLength(text, n);
    if (!tree) /* the grammar was right, so only memory can be missing */
        return cp_error_no_memory(err, source);
    status = check_duplicates(tree, source, err);
    if (status == CP_OK)
        *out = tree;
    else
        cJSON_Delete(tree);
    return status;
}

cp_status cp_json_parse_file(const char *path, size_t max_bytes, cJSON **out, cp_error *err) {
    cp_strbuf text;
    *out = NULL;
    cp_status status = cp_file_read(path, max_bytes, &text, err);
    if (status == CP_OK)
        status = cp_json_parse(path, cp_strbuf_text(&text), text.n, out, err);
    cp_strbuf_deinit(&text);
    if (status == CP_OK && !cJSON_IsObject(*out)) {
        cJSON_Delete(*out);
        *out = NULL;
        status = cp_error_set(err, CP_ERR_FORMAT, "%s: the top level is not an object", path);
    }
    return status;
}

const cJSON *cp_json_member(const cJSON *object, const char *key) {
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, key);
    return member && !cJSON_IsNull(member) ? member : NULL;
}

const char *cp_json_text(const cJSON *object, const char *key, const char *otherwise) {
    const cJSON *member = cp_json_member(object, key);
    return cJSON_IsString(member) ? member->valuestring : otherwise;
}

/* The member, or NULL with the sentence for its absence. */
static const cJSON *need(const cJSON *object, const char *source, const char *key, cp_error *err) {
    const cJSON *member = cp_json_member(object, key);
    if (!member)
        (void)cp_error_set(err, CP_ERR_NOT_FOUND, "%s: %s is missing", source, key);
    return member;
}

static cp_status wrong_type(const char *source, const char *key, const char *expected,
                            cp_error *err) {
    return cp_error_set(err, CP_ERR_FORMAT, "%s: %s has the wrong type, expected %s", source, key,
                        expected);
}

cp_status cp_json_get_int(const cJSON *object, const char *source, const char *key, int64_t lo,
                          int64_t hi, int64_t *out, cp_error *err) {
    const cJSON *member = need(object, source, key, err);
    if (!member)
        return CP_ERR_NOT_FOUND;
    if (!cJSON_IsNumber(member))
        return wrong_type(source, key, "an integer", err);
    double value = member->valuedouble; /* exact up to 2^53, and every range in use is smaller */
    if (!(value >= (double)lo && value <= (double)hi) || value != floor(value))
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: %s is %.17g, expected an integer from %lld to %lld", source, key,
                            value, (long long)lo, (long long)hi);
    *out = (int64_t)value;
    return CP_OK;
}

cp_status cp_json_get_number(const cJSON *object, const char *source, const char *key, double lo,
                             double hi, double *out, cp_error *err) {
    const cJSON *member = need(object, source, key, err);
    if (!member)
        return CP_ERR_NOT_FOUND;
    if (!cJSON_IsNumber(member))
        return wrong_type(source, key, "a number", err);
    if (!(member->valuedouble >= lo && member->valuedouble <= hi))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: %s is %.9g, expected %.9g to %.9g", source,
                            key, member->valuedouble, lo, hi);
    *out = member->valuedouble;
    return CP_OK;
}

cp_status cp_json_get_bool(const cJSON *object, const char *source, const char *key, bool *out,
                           cp_error *err) {
    const cJSON *member = need(object, source, key, err);
    if (!member)
        return CP_ERR_NOT_FOUND;
    if (!cJSON_IsBool(member))
        return wrong_type(source, key, "true or false", err);
    *out = cJSON_IsTrue(member);
    return CP_OK;
}

cp_status cp_json_get_string(const cJSON *object, const char *source, const char *key,
                             const char **out, cp_error *err) {
    const cJSON *member = need(object, source, key, err);
    if (!member)
        return CP_ERR_NOT_FOUND;
    if (!cJSON_IsString(member))
        return wrong_type(source, key, "a string", err);
    *out = member->valuestring;
    return CP_OK;
}
