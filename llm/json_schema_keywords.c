#include "llm/json_schema_keywords.h"

#include "base/mem.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *const cp_keyword_names[CP_N_KEYWORDS] = {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "enum",
    "const",
    "anyOf",
    "oneOf",
    "$ref",
};

/* Notes to readers, which allow and forbid nothing. $defs and definitions are looked at only where
 * a $ref leads there. */
static const char *const notes[] = {"title",    "description", "$schema",     "default",
                                    "examples", "$comment",    "definitions", "$defs"};

/* ---- errors -----------------------------------------------------------------------------------
 */

static void put_pointer(const cp_pointer *at, cp_strbuf *out) {
    if (!at)
        return;
    put_pointer(at->up, out);
    cp_strbuf_putc(out, '/');
    if (!at->name) {
        cp_strbuf_printf(out, "%d", at->index);
        return;
    }
    for (const char *c = at->name; *c; c++)
        if (*c == '~' || *c == '/')
            cp_strbuf_puts(out, *c == '~' ? "~0" : "~1");
        else
            cp_strbuf_putc(out, *c);
}

cp_status cp_schema_refuse(cp_error *err, cp_status status, const cp_pointer *at, const char *fmt,
                           ...) {
    char message[256];
    cp_strbuf pointer;
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    cp_strbuf_init(&pointer, (size_t)16 << 10);
    put_pointer(at, &pointer);
    (void)cp_error_set(err, status, "schema: %s, at \"%s\"", message, cp_strbuf_text(&pointer));
    cp_strbuf_deinit(&pointer);
    return status;
}

cp_status cp_schema_refuse_key(cp_error *err, cp_status status, const cp_subschema *sub,
                               cp_keyword key, const char *why) {
    cp_pointer at = {sub->at, cp_keyword_names[key], 0};
    return cp_schema_refuse(err, status, &at, "\"%s\" %s", cp_keyword_names[key], why);
}

/* ---- one subschema's keywords -----------------------------------------------------------------
 */

static bool is_note(const char *name) {
    for (size_t i = 0; i < CP_COUNT_OF(notes); i++)
        if (strcmp(notes[i], name) == 0)
            return true;
    return false;
}

cp_status cp_subschema_read(const cJSON *schema, cp_subschema *sub, cp_error *err) {
    const cJSON *member;
    cJSON_ArrayForEach(member, schema) {
        size_t key = 0;
        while (key < CP_N_KEYWORDS && strcmp(cp_keyword_names[key], member->string) != 0)
            key++;
        if (key < CP_N_KEYWORDS)
            sub->keys[key] = member;
        else if (!is_note(member->string)) {
            cp_pointer at = {sub->at, member->string, 0};
            return cp_schema_refuse(err, CP_ERR_UNSUPPORTED, &at,
                                    "the keyword \"%.60s\" is not supported", member->string);
        }
    }
    return CP_OK;
}

cp_status cp_subschema_count(const cp_subschema *sub, cp_keyword key, uint32_t otherwise,
                             uint32_t *out, cp_error *err) {
    *out = otherwise;
    if (!cp_subschema_has(sub, key))
        return CP_OK;
    double value = sub->keys[key]->valuedouble;
    if (!cJSON_IsNumber(sub->keys[key]) || !(value >= 0) || value != floor(value))
        return cp_schema_refuse_key(err, CP_ERR_FORMAT, sub, key,
                                    "is not a whole number from 0 on");
    if (value > CP_SCHEMA_MAX_COUNT)
        return cp_schema_refuse_key(err, CP_ERR_LIMIT, sub, key, "is over 1000000000");
    *out = (uint32_t)value;
    return CP_OK;
}

cp_status cp_subschema_bound(const cp_subschema *sub, cp_keyword key, double *out, cp_error *err) {
    if (!cp_subschema_has(sub, key))
        return CP_OK;
    *out = sub->keys[key]->valuedouble;
    if (!cJSON_IsNumber(sub->keys[key]) || !isfinite(*out))
        return cp_schema_refuse_key(err, CP_ERR_FORMAT, sub, key, "is not a finite number");
    return CP_OK;
}

static int type_bit(const char *name) {
    static const char *const names[] = {"string",  "number",  "object", "array",
                                        "integer", "boolean", "null"};
    for (size_t i = 0; i < CP_COUNT_OF(names); i++)
        if (strcmp(names[i], name) == 0)
            return 1 << i;
    return 0;
}

static int implied_types(const cp_subschema *sub) {
    int types = 0;
    if (cp_subschema_has(sub, CP_KEY_PROPERTIES) || cp_subschema_has(sub, CP_KEY_REQUIRED) ||
        cp_subschema_has(sub, CP_KEY_ADDITIONAL))
        types |= CP_KIND_OBJECT;
    if (cp_subschema_has(sub, CP_KEY_ITEMS) || cp_subschema_has(sub, CP_KEY_MIN_ITEMS) ||
        cp_subschema_has(sub, CP_KEY_MAX_ITEMS))
        types |= CP_KIND_ARRAY;
    if (cp_subschema_has(sub, CP_KEY_MIN_LENGTH) || cp_subschema_has(sub, CP_KEY_MAX_LENGTH))
        types |= CP_KIND_STRING;
    for (cp_keyword key = CP_KEY_MINIMUM; key <= CP_KEY_EXCLUSIVE_MAXIMUM; key++)
        if (cp_subschema_has(sub, key))
            types |= CP_KIND_NUMBER;
    return types ? types : CP_TYPE_ALL;
}

cp_status cp_subschema_types(const cp_subschema *sub, int *types, cp_error *err) {
    const cJSON *type = sub->keys[CP_KEY_TYPE], *one;
    *types = type ? 0 : implied_types(sub);
    if (cJSON_IsString(type))
        *types = type_bit(type->valuestring);
    else if (cJSON_IsArray(type))
        cJSON_ArrayForEach(one, type) {
            int bit = cJSON_IsString(one) ? type_bit(one->valuestring) : 0;
            if (!bit)
                return cp_schema_refuse_key(err, CP_ERR_FORMAT, sub, CP_KEY_TYPE,
                                            "names an unknown type");
            *types |= bit;
        }
    if (!*types)
        return cp_schema_refuse_key(err, CP_ERR_FORMAT, sub, CP_KEY_TYPE, "names no known type");
    if (*types & CP_KIND_NUMBER)
        *types &= ~CP_TYPE_INTEGER;
    return CP_OK;
}

bool cp_schema_is_anything(const cJSON *schema) {
    const cJSON *member;
    if (cJSON_IsTrue(schema))
        return true;
    if (!cJSON_IsObject(schema))
        return false;
    cJSON_ArrayForEach(member, schema) if (!is_note(member->string)) return false;
    return true;
}
