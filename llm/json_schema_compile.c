/* From a schema's JSON to the tables of json_schema.h. Whatever is not understood is refused. */
#include "llm/json_schema.h"

#include "base/json.h"
#include "base/json_writer.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "llm/constraint.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One step of a JSON pointer; the steps are a list on the stack. */
typedef struct place {
    const struct place *up;
    const char *name; /* NULL: the index */
    int index;
} place;

typedef enum keyword {
    KEY_TYPE,
    KEY_PROPERTIES,
    KEY_REQUIRED,
    KEY_ADDITIONAL,
    KEY_ITEMS,
    KEY_MIN_ITEMS,
    KEY_MAX_ITEMS,
    KEY_MIN_LENGTH,
    KEY_MAX_LENGTH,
    KEY_MINIMUM,
    KEY_MAXIMUM,
    KEY_EXCLUSIVE_MINIMUM,
    KEY_EXCLUSIVE_MAXIMUM,
    KEY_ENUM,
    KEY_CONST,
    KEY_ANY_OF,
    KEY_ONE_OF,
    KEY_REF,
    N_KEYWORDS,
} keyword;

static const char *const keyword_names[N_KEYWORDS] = {
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

/* The JSON types of `type`, beside the CP_KIND_ bits. */
enum { TYPE_INTEGER = 16, TYPE_BOOLEAN = 32, TYPE_NULL = 64, TYPE_ALL = 127 };
#define MAX_REFS 32 /* $ref inside each other */

typedef struct compiler {
    cp_schema *schema;
    const cJSON *root;
    const cJSON *open_refs[MAX_REFS]; /* targets that are being compiled */
    size_t n_open_refs, n_visits;
    cp_error *err;
} compiler;

/* The keywords of one subschema; NULL where absent. */
typedef struct subschema {
    const cJSON *keys[N_KEYWORDS];
    const place *at;
    unsigned depth;
} subschema;

/* ---- errors -----------------------------------------------------------------------------------
 */

static void put_pointer(const place *at, cp_strbuf *out) {
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

static CP_PRINTF(4, 5) cp_status
    refuse(compiler *c, cp_status status, const place *at, const char *fmt, ...) {
    char message[256];
    cp_strbuf pointer;
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    cp_strbuf_init(&pointer, (size_t)16 << 10);
    put_pointer(at, &pointer);
    (void)cp_error_set(c->err, status, "schema: %s, at \"%s\"", message, cp_strbuf_text(&pointer));
    cp_strbuf_deinit(&pointer);
    return status;
}

static cp_status refuse_key(compiler *c, cp_status status, const subschema *sub, keyword key,
                            const char *why) {
    place at = {sub->at, keyword_names[key], 0};
    return refuse(c, status, &at, "\"%s\" %s", keyword_names[key], why);
}

/* ---- one subschema's keywords -----------------------------------------------------------------
 */

static bool is_note(const char *name) {
    for (size_t i = 0; i < CP_COUNT_OF(notes); i++)
        if (strcmp(notes[i], name) == 0)
            return true;
    return false;
}

static cp_status sort_keywords(compiler *c, const cJSON *schema, subschema *sub) {
    const cJSON *member;
    cJSON_ArrayForEach(member, schema) {
        size_t key = 0;
        while (key < N_KEYWORDS && strcmp(keyword_names[key], member->string) != 0)
            key++;
        if (key < N_KEYWORDS)
            sub->keys[key] = member;
        else if (!is_note(member->string)) {
            place at = {sub->at, member->string, 0};
            return refuse(c, CP_ERR_UNSUPPORTED, &at, "the keyword \"%.60s\" is not supported",
                          member->string);
        }
    }
    return CP_OK;
}

static bool has(const subschema *sub, keyword key) {
    return sub->keys[key] != NULL;
}

/* A count in 0..CP_SCHEMA_MAX_COUNT, `otherwise` when absent. */
static cp_status read_count(compiler *c, const subschema *sub, keyword key, uint32_t otherwise,
                            uint32_t *out) {
    *out = otherwise;
    if (!has(sub, key))
        return CP_OK;
    double value = sub->keys[key]->valuedouble;
    if (!cJSON_IsNumber(sub->keys[key]) || !(value >= 0) || value != floor(value))
        return refuse_key(c, CP_ERR_FORMAT, sub, key, "is not a whole number from 0 on");
    if (value > CP_SCHEMA_MAX_COUNT)
        return refuse_key(c, CP_ERR_LIMIT, sub, key, "is over 1000000000");
    *out = (uint32_t)value;
    return CP_OK;
}

static cp_status read_bound(compiler *c, const subschema *sub, keyword key, double *out) {
    if (!has(sub, key))
        return CP_OK;
    *out = sub->keys[key]->valuedouble;
    if (!cJSON_IsNumber(sub->keys[key]) || !isfinite(*out))
        return refuse_key(c, CP_ERR_FORMAT, sub, key, "is not a finite number");
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

/* The types that the other keywords speak of; none of them: all. */
static int implied_types(const subschema *sub) {
    int types = 0;
    if (has(sub, KEY_PROPERTIES) || has(sub, KEY_REQUIRED) || has(sub, KEY_ADDITIONAL))
        types |= CP_KIND_OBJECT;
    if (has(sub, KEY_ITEMS) || has(sub, KEY_MIN_ITEMS) || has(sub, KEY_MAX_ITEMS))
        types |= CP_KIND_ARRAY;
    if (has(sub, KEY_MIN_LENGTH) || has(sub, KEY_MAX_LENGTH))
        types |= CP_KIND_STRING;
    for (keyword key = KEY_MINIMUM; key <= KEY_EXCLUSIVE_MAXIMUM; key++)
        if (has(sub, key))
            types |= CP_KIND_NUMBER;
    return types ? types : TYPE_ALL;
}

static cp_status read_types(compiler *c, const subschema *sub, int *types) {
    const cJSON *type = sub->keys[KEY_TYPE], *one;
    *types = type ? 0 : implied_types(sub);
    if (cJSON_IsString(type))
        *types = type_bit(type->valuestring);
    else if (cJSON_IsArray(type))
        cJSON_ArrayForEach(one, type) {
            int bit = cJSON_IsString(one) ? type_bit(one->valuestring) : 0;
            if (!bit)
                return refuse_key(c, CP_ERR_FORMAT, sub, KEY_TYPE, "names an unknown type");
            *types |= bit;
        }
    if (!*types)
        return refuse_key(c, CP_ERR_FORMAT, sub, KEY_TYPE, "names no known type");
    if (*types & CP_KIND_NUMBER)
        *types &= ~TYPE_INTEGER;
    return CP_OK;
}

/* ---- kinds of values --------------------------------------------------------------------------
 */

/* Takes a kind for a node. Two alternatives of one kind would need a look ahead. */
static cp_status claim(compiler *c, const subschema *sub, uint16_t node, int kind) {
    static const char *const names[] = {[CP_KIND_STRING] = "strings",
                                        [CP_KIND_NUMBER] = "numbers",
                                        [CP_KIND_OBJECT] = "objects",
                                        [CP_KIND_ARRAY] = "arrays"};
    cp_schema_node *n = &c->schema->nodes[node];
    if (n->kinds & kind)
        return refuse(c, CP_ERR_UNSUPPORTED, sub->at,
                      "\"anyOf\" with two alternatives that are %s is not supported", names[kind]);
    n->kinds |= (uint8_t)kind;
    return CP_OK;
}

static cp_status compile_string(compiler *c, const subschema *sub, uint16_t node) {
    uint32_t least, most;
    cp_status status = claim(c, sub, node, CP_KIND_STRING);
    if (status == CP_OK)
        status = read_count(c, sub, KEY_MIN_LENGTH, 0, &least);
    if (status == CP_OK)
        status = read_count(c, sub, KEY_MAX_LENGTH, UINT32_MAX, &most);
    if (status != CP_OK)
        return status;
    if (least > most)
        return refuse_key(c, CP_ERR_FORMAT, sub, KEY_MIN_LENGTH, "is over \"maxLength\"");
    c->schema->nodes[node].min_chars = least;
    c->schema->nodes[node].max_chars = most;
    return CP_OK;
}

/* The tighter of an inclusive and an exclusive lower bound (with sign -1: upper ones). */
static cp_status read_bounds(compiler *c, const subschema *sub, double sign, keyword inclusive,
                             keyword exclusive, double *bound, bool *is_exclusive) {
    double outer = -INFINITY * sign;
    *bound = outer;
    cp_status status = read_bound(c, sub, inclusive, bound);
    if (status == CP_OK)
        status = read_bound(c, sub, exclusive, &outer);
    *is_exclusive = has(sub, exclusive) && outer * sign >= *bound * sign;
    if (*is_exclusive)
        *bound = outer;
    return status;
}

static cp_status compile_number(compiler *c, const subschema *sub, uint16_t node, bool integer) {
    double lo, hi;
    bool lo_exclusive, hi_exclusive;
    cp_status status = claim(c, sub, node, CP_KIND_NUMBER);
    if (status == CP_OK)
        status = read_bounds(c, sub, 1, KEY_MINIMUM, KEY_EXCLUSIVE_MINIMUM, &lo, &lo_exclusive);
    if (status == CP_OK)
        status = read_bounds(c, sub, -1, KEY_MAXIMUM, KEY_EXCLUSIVE_MAXIMUM, &hi, &hi_exclusive);
    if (status == CP_OK && !cp_number_range_set(&c->schema->nodes[node].range, integer, lo,
                                                lo_exclusive, hi, hi_exclusive))
        status = refuse(c, CP_ERR_UNSUPPORTED, sub->at,
                        "no %s that we write (%s) is between \"minimum\" and \"maximum\"",
                        integer ? "integer" : "number",
                        integer ? "up to 2^53 - 1" : "below 10^15, 15 decimals");
    return status;
}

static cp_status compile_value(compiler *c, const cJSON *schema, const place *at, unsigned depth,
                               uint16_t *node);

static cp_status enter(compiler *c, const subschema *sub) {
    return sub->depth < CP_SCHEMA_MAX_DEPTH
               ? CP_OK
               : refuse(c, CP_ERR_LIMIT, sub->at, "objects and arrays more than %d deep",
                        CP_SCHEMA_MAX_DEPTH);
}

static cp_status compile_array(compiler *c, const subschema *sub, uint16_t node) {
    uint32_t least, most;
    uint16_t items = CP_NODE_ANY;
    cp_status status = claim(c, sub, node, CP_KIND_ARRAY);
    if (status == CP_OK)
        status = enter(c, sub);
    if (status == CP_OK)
        status = read_count(c, sub, KEY_MIN_ITEMS, 0, &least);
    if (status == CP_OK)
        status = read_count(c, sub, KEY_MAX_ITEMS, UINT32_MAX, &most);
    if (status == CP_OK && least > most)
        return refuse_key(c, CP_ERR_FORMAT, sub, KEY_MIN_ITEMS, "is over \"maxItems\"");
    if (status == CP_OK && cJSON_IsArray(sub->keys[KEY_ITEMS]))
        return refuse_key(c, CP_ERR_UNSUPPORTED, sub, KEY_ITEMS, "as a list is not supported");
    if (status == CP_OK && has(sub, KEY_ITEMS)) {
        place at = {sub->at, "items", 0};
        status = compile_value(c, sub->keys[KEY_ITEMS], &at, sub->depth + 1, &items);
    }
    if (status != CP_OK)
        return status;
    cp_schema_node *n = &c->schema->nodes[node];
    n->items = items;
    n->min_items = least;
    n->max_items = most;
    return CP_OK;
}

/* ---- objects ----------------------------------------------------------------------------------
 */

/* Marks the properties that `required` names. */
static cp_status mark_required(compiler *c, const subschema *sub, uint32_t first) {
    const cJSON *required = sub->keys[KEY_REQUIRED], *name, *property;
    if (!required)
        return CP_OK;
    if (!cJSON_IsArray(required))
        return refuse_key(c, CP_ERR_FORMAT, sub, KEY_REQUIRED, "is not a list of names");
    cJSON_ArrayForEach(name, required) {
        uint32_t i = first;
        bool found = false;
        if (!cJSON_IsString(name))
            return refuse_key(c, CP_ERR_FORMAT, sub, KEY_REQUIRED, "is not a list of names");
        cJSON_ArrayForEach(property, sub->keys[KEY_PROPERTIES]) {
            if (strcmp(property->string, name->valuestring) == 0) {
                c->schema->properties[i].required = true;
                found = true;
            }
            i++;
        }
        if (!found)
            return refuse_key(c, CP_ERR_UNSUPPORTED, sub, KEY_REQUIRED,
                              "names a member that \"properties\" does not have");
    }
    return CP_OK;
}

/* Keeps `"name":` for a property. */
static cp_status add_key(compiler *c, const char *name, const place *at, cp_schema_text *out) {
    cp_strbuf text;
    cp_json_writer writer;
    cp_strbuf_init(&text, CP_SCHEMA_MAX_NAME);
    cp_json_writer_init(&writer, &text);
    cp_json_put_text(&writer, name);
    cp_strbuf_putc(&text, ':');
    cp_status status =
        text.failed == CP_ERR_LIMIT
            ? refuse(c, CP_ERR_LIMIT, at, "the name is longer than %d bytes", CP_SCHEMA_MAX_NAME)
            : cp_strbuf_check(&text, "schema", c->err);
    if (status == CP_OK)
        status = cp_schema_add_text(c->schema, cp_strbuf_str(&text), out, c->err);
    cp_strbuf_deinit(&text);
    return status;
}

static cp_status compile_properties(compiler *c, const subschema *sub, uint32_t first) {
    const cJSON *properties = sub->keys[KEY_PROPERTIES], *property;
    place list = {sub->at, "properties", 0};
    cp_status status = CP_OK;
    uint32_t i = first;
    cJSON_ArrayForEach(property, properties) {
        place at = {&list, property->string, 0};
        cp_schema_text key;
        uint16_t value;
        status = add_key(c, property->string, &at, &key);
        if (status == CP_OK)
            status = compile_value(c, property, &at, sub->depth + 1, &value);
        if (status != CP_OK)
            return status;
        c->schema->properties[i].key = key;
        c->schema->properties[i++].node = value;
    }
    return CP_OK;
}

static cp_status compile_object(compiler *c, const subschema *sub, uint16_t node) {
    const cJSON *properties = sub->keys[KEY_PROPERTIES], *more = sub->keys[KEY_ADDITIONAL];
    uint32_t first;
    cp_status status = claim(c, sub, node, CP_KIND_OBJECT);
    if (status == CP_OK)
        status = enter(c, sub);
    if (status != CP_OK)
        return status;
    if (more && !cJSON_IsFalse(more))
        return refuse_key(c, CP_ERR_UNSUPPORTED, sub, KEY_ADDITIONAL,
                          "other than false is not supported");
    if (properties && !cJSON_IsObject(properties))
        return refuse_key(c, CP_ERR_FORMAT, sub, KEY_PROPERTIES, "is not an object");
    size_t n = properties ? (size_t)cJSON_GetArraySize(properties) : 0;
    if (n > CP_SCHEMA_MAX_MEMBERS)
        return refuse_key(c, CP_ERR_LIMIT, sub, KEY_PROPERTIES, "has more than 256 members");
    status = cp_schema_add_properties(c->schema, n, &first, c->err);
    if (status == CP_OK)
        status = compile_properties(c, sub, first);
    if (status == CP_OK)
        status = mark_required(c, sub, first);
    if (status != CP_OK)
        return status;
    c->schema->nodes[node].first_property = first;
    c->schema->nodes[node].n_properties = (uint32_t)n;
    return CP_OK;
}

/* ---- enum and const ---------------------------------------------------------------------------
 */

static uint32_t count_chars(const char *text) {
    uint32_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* The value keeps the subschema's other keywords. Bounds are read anew; they were found good. */
static bool fits(const subschema *sub, const cJSON *value, int types) {
    if (cJSON_IsString(value)) {
        uint32_t n = count_chars(value->valuestring);
        return (types & CP_KIND_STRING) &&
               !(has(sub, KEY_MIN_LENGTH) && n < sub->keys[KEY_MIN_LENGTH]->valuedouble) &&
               !(has(sub, KEY_MAX_LENGTH) && n > sub->keys[KEY_MAX_LENGTH]->valuedouble);
    }
    if (!cJSON_IsNumber(value))
        return types & (cJSON_IsNull(value) ? TYPE_NULL : TYPE_BOOLEAN);
    double x = value->valuedouble;
    if (!(types & CP_KIND_NUMBER) && !((types & TYPE_INTEGER) && x == floor(x)))
        return false;
    return !(has(sub, KEY_MINIMUM) && x < sub->keys[KEY_MINIMUM]->valuedouble) &&
           !(has(sub, KEY_MAXIMUM) && x > sub->keys[KEY_MAXIMUM]->valuedouble) &&
           !(has(sub, KEY_EXCLUSIVE_MINIMUM) &&
             x <= sub->keys[KEY_EXCLUSIVE_MINIMUM]->valuedouble) &&
           !(has(sub, KEY_EXCLUSIVE_MAXIMUM) && x >= sub->keys[KEY_EXCLUSIVE_MAXIMUM]->valuedouble);
}

static cp_status put_scalar(compiler *c, const cJSON *value, const place *at, cp_strbuf *out) {
    cp_json_writer writer;
    cp_json_writer_init(&writer, out);
    if (cJSON_IsString(value)) {
        cp_json_put_text(&writer, value->valuestring);
    } else if (cJSON_IsNumber(value)) {
        double x = value->valuedouble;
        if (!(fabs(x) <= 9007199254740991.0))
            return refuse(c, CP_ERR_UNSUPPORTED, at, "a number beyond 2^53 - 1");
        char text[40];
        int digits = 15;
        do
            snprintf(text, sizeof text, "%.*g", digits, x + 0.0);
        while (digits++ < 17 && strtod(text, NULL) != x);
        cp_strbuf_puts(out, text);
    } else if (cJSON_IsBool(value) || cJSON_IsNull(value)) {
        cp_strbuf_puts(out, cJSON_IsNull(value) ? "null" : cJSON_IsTrue(value) ? "true" : "false");
    } else {
        return refuse(c, CP_ERR_UNSUPPORTED, at,
                      "an object or array as a value of \"enum\" or \"const\" is not supported");
    }
    return CP_OK;
}

/* One value of an enum becomes a literal. */
static cp_status add_value(compiler *c, const subschema *sub, const cJSON *value, const place *at,
                           int types, uint16_t node, size_t *n_added) {
    cp_strbuf text;
    cp_strbuf_init(&text, CP_SCHEMA_MAX_BYTES);
    cp_status status = put_scalar(c, value, at, &text);
    if (status == CP_OK)
        status = cp_strbuf_check(&text, "schema", c->err);
    if (status == CP_OK && fits(sub, value, types)) {
        (*n_added)++;
        status = cp_schema_add_literal(c->schema, node, cp_strbuf_str(&text), c->err);
    }
    cp_strbuf_deinit(&text);
    return status;
}

static cp_status compile_enum(compiler *c, const subschema *sub, uint16_t node, int types) {
    keyword key = has(sub, KEY_ENUM) ? KEY_ENUM : KEY_CONST;
    const cJSON *values = sub->keys[key], *value;
    place list = {sub->at, keyword_names[key], 0};
    size_t n_added = 0;
    double ignored;
    uint32_t ignored_count;
    cp_status status = CP_OK;
    if (has(sub, KEY_ENUM) && has(sub, KEY_CONST))
        return refuse_key(c, CP_ERR_UNSUPPORTED, sub, KEY_CONST,
                          "beside \"enum\" is not supported");
    for (keyword k = KEY_MIN_LENGTH; k <= KEY_MAX_LENGTH && status == CP_OK; k++)
        status = read_count(c, sub, k, 0, &ignored_count);
    for (keyword k = KEY_MINIMUM; k <= KEY_EXCLUSIVE_MAXIMUM && status == CP_OK; k++)
        status = read_bound(c, sub, k, &ignored);
    if (status != CP_OK)
        return status;
    if (key == KEY_CONST)
        status = add_value(c, sub, values, &list, types, node, &n_added);
    else if (!cJSON_IsArray(values))
        return refuse_key(c, CP_ERR_FORMAT, sub, KEY_ENUM, "is not a list");
    else if (cJSON_GetArraySize(values) > CP_SCHEMA_MAX_ENUM)
        return refuse_key(c, CP_ERR_LIMIT, sub, KEY_ENUM, "has more than 1024 values");
    else {
        place at = {&list, NULL, 0};
        cJSON_ArrayForEach(value, values) {
            status = add_value(c, sub, value, &at, types, node, &n_added);
            if (status != CP_OK)
                return status;
            at.index++;
        }
    }
    if (status == CP_OK && n_added == 0)
        return refuse_key(c, CP_ERR_UNSUPPORTED, sub, key,
                          "has no value that fits the keywords beside it");
    return status;
}

/* ---- subschemas -------------------------------------------------------------------------------
 */

static cp_status compile_into(compiler *c, const cJSON *schema, const place *at, unsigned depth,
                              uint16_t node);

/* Refuses keywords beside one that says everything by itself. */
static cp_status alone(compiler *c, const subschema *sub, keyword key) {
    for (keyword other = 0; other < N_KEYWORDS; other++)
        if (other != key && has(sub, other))
            return refuse(c, CP_ERR_UNSUPPORTED, sub->at, "\"%s\" beside \"%s\" is not supported",
                          keyword_names[other], keyword_names[key]);
    return CP_OK;
}

static cp_status compile_alternatives(compiler *c, const subschema *sub, keyword key,
                                      uint16_t node) {
    const cJSON *list = sub->keys[key], *one;
    place at_list = {sub->at, keyword_names[key], 0};
    place at = {&at_list, NULL, 0};
    cp_status status = alone(c, sub, key);
    if (status != CP_OK)
        return status;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) == 0)
        return refuse_key(c, CP_ERR_FORMAT, sub, key, "is not a list of schemas");
    cJSON_ArrayForEach(one, list) {
        status = compile_into(c, one, &at, sub->depth, node);
        if (status != CP_OK)
            return status;
        at.index++;
    }
    return CP_OK;
}

/* The schema that "#/$defs/NAME" or "#/definitions/NAME" means. */
static cp_status find_target(compiler *c, const subschema *sub, const cJSON **target) {
    const char *ref = cJSON_IsString(sub->keys[KEY_REF]) ? sub->keys[KEY_REF]->valuestring : "";
    static const char *const folders[] = {"$defs", "definitions"};
    *target = NULL;
    for (size_t i = 0; i < CP_COUNT_OF(folders); i++) {
        size_t n = strlen(folders[i]);
        if (strncmp(ref, "#/", 2) != 0 || strncmp(ref + 2, folders[i], n) != 0 || ref[2 + n] != '/')
            continue;
        const char *name = ref + 3 + n;
        const cJSON *folder = cJSON_GetObjectItemCaseSensitive(c->root, folders[i]);
        if (!strpbrk(name, "/~%") && cJSON_IsObject(folder))
            *target = cJSON_GetObjectItemCaseSensitive(folder, name);
    }
    if (!*target)
        return refuse_key(c, CP_ERR_UNSUPPORTED, sub, KEY_REF,
                          "leads to no schema of \"#/$defs/NAME\"");
    for (size_t i = 0; i < c->n_open_refs; i++)
        if (c->open_refs[i] == *target)
            return refuse_key(c, CP_ERR_UNSUPPORTED, sub, KEY_REF,
                              "to a schema that it is part of (recursion) is not supported");
    if (c->n_open_refs == MAX_REFS)
        return refuse_key(c, CP_ERR_LIMIT, sub, KEY_REF, "more than 32 deep");
    return CP_OK;
}

static cp_status compile_ref(compiler *c, const subschema *sub, uint16_t node) {
    const cJSON *target;
    cp_status status = alone(c, sub, KEY_REF);
    if (status == CP_OK)
        status = find_target(c, sub, &target);
    if (status != CP_OK)
        return status;
    place at = {NULL, "$defs", 0}, named = {&at, target->string, 0};
    c->open_refs[c->n_open_refs++] = target;
    status = compile_into(c, target, &named, sub->depth, node);
    c->n_open_refs--;
    return status;
}

/* The values of the types, when neither enum nor anyOf names them. */
static cp_status compile_types(compiler *c, const subschema *sub, uint16_t node, int types) {
    static const struct {
        int type;
        const char *text;
    } words[] = {{TYPE_BOOLEAN, "true"}, {TYPE_BOOLEAN, "false"}, {TYPE_NULL, "null"}};
    cp_status status = CP_OK;
    for (size_t i = 0; i < CP_COUNT_OF(words) && status == CP_OK; i++)
        if (types & words[i].type)
            status = cp_schema_add_literal(c->schema, node,
                                           (cp_str){words[i].text, strlen(words[i].text)}, c->err);
    if (status == CP_OK && (types & CP_KIND_STRING))
        status = compile_string(c, sub, node);
    if (status == CP_OK && (types & (CP_KIND_NUMBER | TYPE_INTEGER)))
        status = compile_number(c, sub, node, !(types & CP_KIND_NUMBER));
    if (status == CP_OK && (types & CP_KIND_ARRAY))
        status = compile_array(c, sub, node);
    if (status == CP_OK && (types & CP_KIND_OBJECT))
        status = compile_object(c, sub, node);
    return status;
}

/* Adds what `schema` allows to the node. */
static cp_status compile_into(compiler *c, const cJSON *schema, const place *at, unsigned depth,
                              uint16_t node) {
    subschema sub = {.at = at, .depth = depth};
    int types;
    if (++c->n_visits > CP_SCHEMA_MAX_VISITS)
        return refuse(c, CP_ERR_LIMIT, at, "more than %d subschemas, references counted",
                      CP_SCHEMA_MAX_VISITS);
    if (!cJSON_IsObject(schema))
        return refuse(c, CP_ERR_UNSUPPORTED, at, "a schema that is not an object");
    cp_status status = sort_keywords(c, schema, &sub);
    if (status != CP_OK)
        return status;
    if (has(&sub, KEY_REF))
        return compile_ref(c, &sub, node);
    if (has(&sub, KEY_ANY_OF) || has(&sub, KEY_ONE_OF))
        return compile_alternatives(c, &sub, has(&sub, KEY_ANY_OF) ? KEY_ANY_OF : KEY_ONE_OF, node);
    status = read_types(c, &sub, &types);
    if (status != CP_OK)
        return status;
    if (has(&sub, KEY_ENUM) || has(&sub, KEY_CONST))
        return compile_enum(c, &sub, node, has(&sub, KEY_TYPE) ? types : TYPE_ALL);
    return compile_types(c, &sub, node, types);
}

/* A literal that begins as a value of the node's kinds does is not told from one. */
static cp_status check_apart(compiler *c, uint16_t node, const place *at) {
    const cp_schema *s = c->schema;
    int kinds = s->nodes[node].kinds;
    for (uint32_t i = s->nodes[node].literals ? s->literals[s->nodes[node].literals].child : 0; i;
         i = s->literals[i].sibling) {
        unsigned char byte = s->literals[i].byte;
        bool number = byte == '-' || (byte >= '0' && byte <= '9');
        if ((byte == '"' && (kinds & CP_KIND_STRING)) || (number && (kinds & CP_KIND_NUMBER)))
            return refuse(c, CP_ERR_UNSUPPORTED, at,
                          "\"anyOf\" with a fixed value beside a %s is not supported",
                          number ? "number" : "string");
    }
    return CP_OK;
}

/* True for {}, true, and what has notes only: any value. */
static bool is_anything(const cJSON *schema) {
    const cJSON *member;
    if (cJSON_IsTrue(schema))
        return true;
    if (!cJSON_IsObject(schema))
        return false;
    cJSON_ArrayForEach(member, schema) if (!is_note(member->string)) return false;
    return true;
}

static cp_status compile_value(compiler *c, const cJSON *schema, const place *at, unsigned depth,
                               uint16_t *node) {
    *node = CP_NODE_ANY;
    if (is_anything(schema))
        return CP_OK;
    cp_status status = cp_schema_add_node(c->schema, node, c->err);
    if (status == CP_OK)
        status = compile_into(c, schema, at, depth, *node);
    return status == CP_OK ? check_apart(c, *node, at) : status;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static cp_status set_identity(cp_schema *s, const char *text, cp_error *err) {
    s->n_identity = strlen(text);
    s->identity = cp_copy_bytes(text, s->n_identity);
    return s->identity ? CP_OK : cp_error_no_memory(err, "schema");
}

static cp_status identify(cp_schema *s, const cJSON *tree, cp_error *err) {
    char *text = cJSON_PrintUnformatted(tree);
    if (!text)
        return cp_error_no_memory(err, "schema");
    cp_status status =
        strlen(text) > CP_SCHEMA_MAX_BYTES
            ? cp_error_set(err, CP_ERR_LIMIT, "schema: larger than %zu bytes", CP_SCHEMA_MAX_BYTES)
            : set_identity(s, text, err);
    cJSON_free(text);
    return status;
}

cp_status cp_schema_compile(const cJSON *tree, cp_schema **out, cp_error *err) {
    cp_schema *s;
    *out = NULL;
    cp_status status = cp_schema_new(&s, err);
    if (status != CP_OK)
        return status;
    status = identify(s, tree, err);
    if (status == CP_OK) {
        compiler c = {.schema = s, .root = tree, .err = err};
        status = compile_value(&c, tree, NULL, 0, &s->root);
    }
    if (status == CP_OK)
        status = cp_schema_finish(s, err);
    if (status == CP_OK)
        *out = s;
    else
        cp_schema_free(s);
    return status;
}

cp_status cp_schema_compile_text(const char *source, const char *text, size_t n, cp_schema **out,
                                 cp_error *err) {
    cJSON *tree;
    *out = NULL;
    cp_status status = cp_json_parse(source, text, n, &tree, err);
    if (status != CP_OK)
        return status;
    status = cp_schema_compile(tree, out, err);
    cJSON_Delete(tree);
    return status;
}

cp_status cp_schema_json_object(cp_schema **out, cp_error *err) {
    cp_schema *s;
    *out = NULL;
    cp_status status = cp_schema_new(&s, err);
    if (status != CP_OK)
        return status;
    status = set_identity(s, "json_object", err);
    if (status == CP_OK)
        status = cp_schema_add_node(s, &s->root, err);
    if (status == CP_OK) {
        s->nodes[s->root].kinds = CP_KIND_OBJECT;
        s->nodes[s->root].free = true;
        status = cp_schema_finish(s, err);
    }
    if (status == CP_OK)
        *out = s;
    else
        cp_schema_free(s);
    return status;
}
