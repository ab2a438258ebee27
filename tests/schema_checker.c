#include "tests/schema_checker.h"

#include <math.h>

static const cJSON *get(const cJSON *object, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static bool has_type(const cJSON *value, const char *type) {
    if (strcmp(type, "integer") == 0)
        return cJSON_IsNumber(value) && value->valuedouble == floor(value->valuedouble);
    return (strcmp(type, "string") == 0 && cJSON_IsString(value)) ||
           (strcmp(type, "number") == 0 && cJSON_IsNumber(value)) ||
           (strcmp(type, "object") == 0 && cJSON_IsObject(value)) ||
           (strcmp(type, "array") == 0 && cJSON_IsArray(value)) ||
           (strcmp(type, "boolean") == 0 && cJSON_IsBool(value)) ||
           (strcmp(type, "null") == 0 && cJSON_IsNull(value));
}

static bool type_fits(const cJSON *type, const cJSON *value) {
    const cJSON *one;
    if (cJSON_IsString(type))
        return has_type(value, type->valuestring);
    cJSON_ArrayForEach(one, type) if (has_type(value, one->valuestring)) return true;
    return false;
}

static bool below(const cJSON *schema, const char *key, double value) {
    const cJSON *bound = get(schema, key);
    return bound && value < bound->valuedouble;
}

static bool above(const cJSON *schema, const char *key, double value) {
    const cJSON *bound = get(schema, key);
    return bound && value > bound->valuedouble;
}

static double code_points(const char *text) {
    double n = 0;
    for (; *text; text++)
        n += (*text & 0xc0) != 0x80;
    return n;
}

static const char *number_fault(const cJSON *schema, double x) {
    const cJSON *lo = get(schema, "exclusiveMinimum"), *hi = get(schema, "exclusiveMaximum");
    if (below(schema, "minimum", x) || (lo && x <= lo->valuedouble))
        return "number too small";
    if (above(schema, "maximum", x) || (hi && x >= hi->valuedouble))
        return "number too large";
    return NULL;
}

static const char *object_fault(const cJSON *root, const cJSON *schema, const cJSON *document) {
    const cJSON *properties = get(schema, "properties"), *member, *name;
    cJSON_ArrayForEach(
        name,
        get(schema, "required")) if (!get(document,
                                          name->valuestring)) return "a required member is missing";
    cJSON_ArrayForEach(member, document) {
        const cJSON *property = get(properties, member->string);
        if (!property)
            property = get(schema, "additionalProperties");
        const char *fault = cJSON_IsObject(property) ? schema_fault(root, property, member)
                                                     : "a member that is not in the schema";
        if (fault)
            return fault;
    }
    return NULL;
}

static const char *array_fault(const cJSON *root, const cJSON *schema, const cJSON *document) {
    const cJSON *element;
    int n = cJSON_GetArraySize(document);
    if (below(schema, "minItems", n) || above(schema, "maxItems", n))
        return "wrong number of elements";
    cJSON_ArrayForEach(element, document) {
        const char *fault =
            get(schema, "items") ? schema_fault(root, get(schema, "items"), element) : NULL;
        if (fault)
            return fault;
    }
    return NULL;
}

static bool some_fits(const cJSON *root, const cJSON *list, const cJSON *document) {
    const cJSON *one;
    cJSON_ArrayForEach(one, list) if (!schema_fault(root, one, document)) return true;
    return false;
}

static bool is_listed(const cJSON *list, const cJSON *document) {
    const cJSON *one;
    cJSON_ArrayForEach(one, list) if (cJSON_Compare(one, document, true)) return true;
    return false;
}

const char *schema_fault(const cJSON *root, const cJSON *schema, const cJSON *document) {
    const cJSON *ref = get(schema, "$ref"), *type = get(schema, "type");
    if (ref)
        return schema_fault(root, get(get(root, "$defs"), strrchr(ref->valuestring, '/') + 1),
                            document);
    if (type && !type_fits(type, document))
        return "wrong type";
    if (get(schema, "anyOf") && !some_fits(root, get(schema, "anyOf"), document))
        return "no alternative fits";
    if (get(schema, "enum") && !is_listed(get(schema, "enum"), document))
        return "not in the enum";
    if (get(schema, "const") && !cJSON_Compare(get(schema, "const"), document, true))
        return "not the constant";
    if (cJSON_IsString(document)) {
        double n = code_points(document->valuestring);
        return below(schema, "minLength", n) || above(schema, "maxLength", n) ? "wrong length"
                                                                              : NULL;
    }
    if (cJSON_IsNumber(document))
        return number_fault(schema, document->valuedouble);
    if (cJSON_IsObject(document) && (get(schema, "properties") || type))
        return object_fault(root, schema, document);
    return cJSON_IsArray(document) ? array_fault(root, schema, document) : NULL;
}

/* ---- schemas at random ------------------------------------------------------------------------
 */

static unsigned pick(uint64_t *seed, unsigned n) {
    return (unsigned)(test_random(seed) >> 33) % n;
}

static void put_string(uint64_t *seed, cp_strbuf *out) {
    unsigned least = pick(seed, 2) ? pick(seed, 12) : 0;
    cp_strbuf_puts(out, "{\"type\":\"string\"");
    if (pick(seed, 2))
        cp_strbuf_printf(out, ",\"minLength\":%u", least);
    if (pick(seed, 3))
        cp_strbuf_printf(out, ",\"maxLength\":%u", least + pick(seed, 3) * pick(seed, 30));
    cp_strbuf_puts(out, ",\"description\":\"x\"}");
}

static void put_number(uint64_t *seed, cp_strbuf *out) {
    bool integer = pick(seed, 2);
    static const double sizes[] = {1, 7, 1e3, 0.001, 123456, 1e12, 1e17};
    double lo = (pick(seed, 2) ? 1 : -1) * (double)pick(seed, 1000) * sizes[pick(seed, 7)];
    double span = (3 + pick(seed, 500)) * (integer ? 1 : 0.01);
    span = fabs(lo) > 1e15 ? fabs(lo) : span;
    cp_strbuf_printf(out, "{\"type\":\"%s\"", integer ? "integer" : "number");
    bool upper_only = lo > 8e15, lower_only = lo < -8e15;
    if (pick(seed, 3) && !upper_only)
        cp_strbuf_printf(out, ",\"%s\":%.17g", pick(seed, 2) ? "minimum" : "exclusiveMinimum", lo);
    if (pick(seed, 3) && !lower_only)
        cp_strbuf_printf(out, ",\"%s\":%.17g", pick(seed, 2) ? "maximum" : "exclusiveMaximum",
                         lo + span);
    cp_strbuf_putc(out, '}');
}

static void put_enum(uint64_t *seed, cp_strbuf *out) {
    static const char *const values[] = {
        "\"cat\"", "\"category\"", "\"c\"",         "1",
        "12",      "-1",           "1.5",           "true",
        "false",   "null",         "\"h\xc3\xa9\"", "\"\"",
        "1.25",    "1e20",         "\"a\\\"b\\n\"", "\"\xc3\xa8\""};
    bool constant = pick(seed, 5) == 0;
    cp_strbuf_puts(out, constant ? "{\"const\":" : "{\"enum\":[");
    for (unsigned i = 0, n = constant ? 1 : 1 + pick(seed, 6); i < n; i++) {
        const char *value = values[pick(seed, 16)];
        cp_strbuf_printf(out, "%s%s", i ? "," : "", strcmp(value, "1e20") == 0 ? "1e15" : value);
    }
    cp_strbuf_puts(out, constant ? "}" : "]}");
}

static void put_schema(uint64_t *seed, unsigned depth, bool may_ref, cp_strbuf *out);

static void put_object(uint64_t *seed, unsigned depth, bool may_ref, cp_strbuf *out) {
    static const char *const names[] = {"a",           "ab",  "abc",    "acuity", "name",
                                        "n\xc3\xa4me", "x y", "a\\\"b", "",       "reason"};
    unsigned first = pick(seed, 10), n = pick(seed, 6), n_required = 0;
    cp_strbuf_puts(out, "{\"type\":\"object\",\"properties\":{");
    for (unsigned i = 0; i < n; i++) {
        cp_strbuf_printf(out, "%s\"%s\":", i ? "," : "", names[(first + i) % 10]);
        put_schema(seed, depth + 1, may_ref, out);
    }
    cp_strbuf_puts(out, "},\"required\":[");
    for (unsigned i = 0; i < n; i++)
        if (pick(seed, 3))
            cp_strbuf_printf(out, "%s\"%s\"", n_required++ ? "," : "", names[(first + i) % 10]);
    cp_strbuf_puts(out, "],\"additionalProperties\":false}");
}

static void put_array(uint64_t *seed, unsigned depth, bool may_ref, cp_strbuf *out) {
    unsigned least = pick(seed, 3);
    cp_strbuf_puts(out, "{\"type\":\"array\",\"items\":");
    put_schema(seed, depth + 1, may_ref, out);
    if (pick(seed, 2))
        cp_strbuf_printf(out, ",\"minItems\":%u", least);
    if (pick(seed, 3))
        cp_strbuf_printf(out, ",\"maxItems\":%u", least + pick(seed, 5));
    cp_strbuf_putc(out, '}');
}

static void put_mixed(uint64_t *seed, cp_strbuf *out) {
    static const char *const mixed[] = {
        "{\"type\":[\"string\",\"null\"],\"maxLength\":9}",
        "{\"type\":[\"integer\",\"boolean\",\"null\"],\"minimum\":3}",
        "{\"anyOf\":[{\"type\":\"integer\",\"maximum\":9},{\"type\":\"string\"},{\"type\":\"null\"}"
        "]}",
        "{\"anyOf\":[{\"const\":\"auto\"},{\"type\":\"number\",\"minimum\":0},{\"enum\":[null,true]"
        "}]}",
        "{\"anyOf\":[{\"type\":\"array\",\"items\":{\"type\":\"boolean\"}},{\"type\":\"object\","
        "\"properties\":{\"k\":{\"type\":\"string\"}},\"required\":[\"k\"]}]}",
        "{\"type\":\"boolean\"}",
        "{\"type\":\"null\"}",
        "{}",
    };
    cp_strbuf_puts(out, mixed[pick(seed, 8)]);
}

static void put_schema(uint64_t *seed, unsigned depth, bool may_ref, cp_strbuf *out) {
    unsigned kind = pick(seed, depth > 3 ? 5 : 10);
    if (kind == 4 && may_ref)
        cp_strbuf_puts(out, "{\"$ref\":\"#/$defs/shared\"}");
    else if (kind <= 1 || kind == 4)
        put_string(seed, out);
    else if (kind == 2)
        put_number(seed, out);
    else if (kind == 3)
        pick(seed, 2) ? put_enum(seed, out) : put_mixed(seed, out);
    else if (kind <= 7)
        put_object(seed, depth, may_ref, out);
    else
        put_array(seed, depth, may_ref, out);
}

void schema_random(uint64_t *seed, cp_strbuf *out) {
    cp_strbuf body;
    cp_strbuf_init(&body, 1 << 20);
    put_schema(seed, 0, true, &body);
    cp_strbuf_append(out, body.data, body.n - 1);
    cp_strbuf_puts(out, body.n > 2 ? ",\"$defs\":{\"shared\":" : "\"$defs\":{\"shared\":");
    put_schema(seed, 3, false, out);
    cp_strbuf_puts(out, "}}");
    cp_strbuf_deinit(&body);
}
