/* From a schema's JSON to the tables of json_schema.h. Whatever is not understood is refused. */
#include "llm/json_schema_keywords.h"

#include "base/json.h"
#include "base/json_writer.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "llm/constraint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_REFS 32 /* $ref inside each other */

typedef struct compiler {
    cp_schema *schema;
    const cJSON *root;
    const cJSON *open_refs[MAX_REFS]; /* targets that are being compiled */
    size_t n_open_refs, n_visits;
    cp_error *err;
} compiler;

/* ---- kinds of values --------------------------------------------------------------------------
 */

/* Takes a kind for a node. Two alternatives of one kind would need a look ahead. */
static cp_status claim(compiler *c, const cp_subschema *sub, uint16_t node, int kind) {
    static const char *const names[] = {[CP_KIND_STRING] = "strings",
                                        [CP_KIND_NUMBER] = "numbers",
                                        [CP_KIND_OBJECT] = "objects",
                                        [CP_KIND_ARRAY] = "arrays"};
    cp_schema_node *n = &c->schema->nodes[node];
    if (n->kinds & kind)
        return cp_schema_refuse(c->err, CP_ERR_UNSUPPORTED, sub->at,
                                "\"anyOf\" with two alternatives that are %s is not supported",
                                names[kind]);
    n->kinds |= (uint8_t)kind;
    return CP_OK;
}

static cp_status compile_string(compiler *c, const cp_subschema *sub, uint16_t node) {
    uint32_t least = 0, most = UINT32_MAX;
    cp_status status = claim(c, sub, node, CP_KIND_STRING);
    if (status == CP_OK)
        status = cp_subschema_count(sub, CP_KEY_MIN_LENGTH, 0, &least, c->err);
    if (status == CP_OK)
        status = cp_subschema_count(sub, CP_KEY_MAX_LENGTH, UINT32_MAX, &most, c->err);
    if (status != CP_OK)
        return status;
    if (least > most)
        return cp_schema_refuse_key(c->err, CP_ERR_FORMAT, sub, CP_KEY_MIN_LENGTH,
                                    "is over \"maxLength\"");
    c->schema->nodes[node].min_chars = least;
    c->schema->nodes[node].max_chars = most;
    return CP_OK;
}

/* The tighter of an inclusive and an exclusive lower bound (with sign -1: upper ones). */
static cp_status read_bounds(compiler *c, const cp_subschema *sub, double sign,
                             cp_keyword inclusive, cp_keyword exclusive, double *bound,
                             bool *is_exclusive) {
    double outer = -INFINITY * sign;
    *bound = outer;
    cp_status status = cp_subschema_bound(sub, inclusive, bound, c->err);
    if (status == CP_OK)
        status = cp_subschema_bound(sub, exclusive, &outer, c->err);
    *is_exclusive = cp_subschema_has(sub, exclusive) && outer * sign >= *bound * sign;
    if (*is_exclusive)
        *bound = outer;
    return status;
}

static cp_status compile_number(compiler *c, const cp_subschema *sub, uint16_t node, bool integer) {
    double lo = 0, hi = 0;
    bool lo_exclusive = false, hi_exclusive = false;
    cp_status status = claim(c, sub, node, CP_KIND_NUMBER);
    if (status == CP_OK)
        status =
            read_bounds(c, sub, 1, CP_KEY_MINIMUM, CP_KEY_EXCLUSIVE_MINIMUM, &lo, &lo_exclusive);
    if (status == CP_OK)
        status =
            read_bounds(c, sub, -1, CP_KEY_MAXIMUM, CP_KEY_EXCLUSIVE_MAXIMUM, &hi, &hi_exclusive);
    if (status == CP_OK && !cp_number_range_set(&c->schema->nodes[node].range, integer, lo,
                                                lo_exclusive, hi, hi_exclusive))
        status = cp_schema_refuse(c->err, CP_ERR_UNSUPPORTED, sub->at,
                                  "no %s that we write (%s) is between \"minimum\" and \"maximum\"",
                                  integer ? "integer" : "number",
                                  integer ? "up to 2^53 - 1" : "below 10^15, 15 decimals");
    return status;
}

static cp_status compile_value(compiler *c, const cJSON *schema, const cp_pointer *at,
                               unsigned depth, uint16_t *node);

static cp_status enter(compiler *c, const cp_subschema *sub) {
    return sub->depth < CP_SCHEMA_MAX_DEPTH
               ? CP_OK
               : cp_schema_refuse(c->err, CP_ERR_LIMIT, sub->at,
                                  "objects and arrays more than %d deep", CP_SCHEMA_MAX_DEPTH);
}

static cp_status compile_array(compiler *c, const cp_subschema *sub, uint16_t node) {
    uint32_t least = 0, most = UINT32_MAX;
    uint16_t items = CP_NODE_ANY;
    cp_status status = claim(c, sub, node, CP_KIND_ARRAY);
    if (status == CP_OK)
        status = enter(c, sub);
    if (status == CP_OK)
        status = cp_subschema_count(sub, CP_KEY_MIN_ITEMS, 0, &least, c->err);
    if (status == CP_OK)
        status = cp_subschema_count(sub, CP_KEY_MAX_ITEMS, UINT32_MAX, &most, c->err);
    if (status == CP_OK && least > most)
        return cp_schema_refuse_key(c->err, CP_ERR_FORMAT, sub, CP_KEY_MIN_ITEMS,
                                    "is over \"maxItems\"");
    if (status == CP_OK && cJSON_IsArray(sub->keys[CP_KEY_ITEMS]))
        return cp_schema_refuse_key(c->err, CP_ERR_UNSUPPORTED, sub, CP_KEY_ITEMS,
                                    "as a list is not supported");
    if (status == CP_OK && cp_subschema_has(sub, CP_KEY_ITEMS)) {
        cp_pointer at = {sub->at, "items", 0};
        status = compile_value(c, sub->keys[CP_KEY_ITEMS], &at, sub->depth + 1, &items);
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
static cp_status mark_required(compiler *c, const cp_subschema *sub, uint32_t first) {
    const cJSON *required = sub->keys[CP_KEY_REQUIRED], *name, *property;
    if (!required)
        return CP_OK;
    if (!cJSON_IsArray(required))
        return cp_schema_refuse_key(c->err, CP_ERR_FORMAT, sub, CP_KEY_REQUIRED,
                                    "is not a list of names");
    cJSON_ArrayForEach(name, required) {
        uint32_t i = first;
        bool found = false;
        if (!cJSON_IsString(name))
            return cp_schema_refuse_key(c->err, CP_ERR_FORMAT, sub, CP_KEY_REQUIRED,
                                        "is not a list of names");
        cJSON_ArrayForEach(property, sub->keys[CP_KEY_PROPERTIES]) {
            if (strcmp(property->string, name->valuestring) == 0) {
                c->schema->properties[i].required = true;
                found = true;
            }
            i++;
        }
        if (!found)
            return cp_schema_refuse_key(c->err, CP_ERR_UNSUPPORTED, sub, CP_KEY_REQUIRED,
                                        "names a member that \"properties\" does not have");
    }
    return CP_OK;
}

/* Keeps `"name":` for a property. */
static cp_status add_key(compiler *c, const char *name, const cp_pointer *at, cp_schema_text *out) {
    cp_strbuf text;
    cp_json_writer writer;
    cp_strbuf_init(&text, CP_SCHEMA_MAX_NAME);
    cp_json_writer_init(&writer, &text);
    cp_json_put_text(&writer, name);
    cp_strbuf_putc(&text, ':');
    cp_status status =
        text.failed == CP_ERR_LIMIT
            ? cp_schema_refuse(c->err, CP_ERR_LIMIT, at, "the name is longer than %d bytes",
                               CP_SCHEMA_MAX_NAME)
            : cp_strbuf_check(&text, "schema", c->err);
    if (status == CP_OK)
        status = cp_schema_add_text(c->schema, cp_strbuf_str(&text), out, c->err);
    cp_strbuf_deinit(&text);
    return status;
}

static cp_status compile_properties(compiler *c, const cp_subschema *sub, uint32_t first) {
    const cJSON *properties = sub->keys[CP_KEY_PROPERTIES], *property;
    cp_pointer list = {sub->at, "properties", 0};
    cp_status status = CP_OK;
    uint32_t i = first;
    cJSON_ArrayForEach(property, properties) {
        cp_pointer at = {&list, property->string, 0};
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

static cp_status compile_object(compiler *c, const cp_subschema *sub, uint16_t node) {
    const cJSON *properties = sub->keys[CP_KEY_PROPERTIES], *more = sub->keys[CP_KEY_ADDITIONAL];
    uint32_t first;
    cp_status status = claim(c, sub, node, CP_KIND_OBJECT);
    if (status == CP_OK)
        status = enter(c, sub);
    if (status != CP_OK)
        return status;
    if (more && !cJSON_IsFalse(more))
        return cp_schema_refuse_key(c->err, CP_ERR_UNSUPPORTED, sub, CP_KEY_ADDITIONAL,
                                    "other than false is not supported");
    if (properties && !cJSON_IsObject(properties))
        return cp_schema_refuse_key(c->err, CP_ERR_FORMAT, sub, CP_KEY_PROPERTIES,
                                    "is not an object");
    size_t n = properties ? (size_t)cJSON_GetArraySize(properties) : 0;
    if (n > CP_SCHEMA_MAX_MEMBERS)
        return cp_schema_refuse_key(c->err, CP_ERR_LIMIT, sub, CP_KEY_PROPERTIES,
                                    "has more than 256 members");
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
static bool fits(const cp_subschema *sub, const cJSON *value, int types) {
    if (cJSON_IsString(value)) {
        uint32_t n = count_chars(value->valuestring);
        return (types & CP_KIND_STRING) &&
               !(cp_subschema_has(sub, CP_KEY_MIN_LENGTH) &&
                 n < sub->keys[CP_KEY_MIN_LENGTH]->valuedouble) &&
               !(cp_subschema_has(sub, CP_KEY_MAX_LENGTH) &&
                 n > sub->keys[CP_KEY_MAX_LENGTH]->valuedouble);
    }
    if (!cJSON_IsNumber(value))
        return types & (cJSON_IsNull(value) ? CP_TYPE_NULL : CP_TYPE_BOOLEAN);
    double x = value->valuedouble;
    if (!(types & CP_KIND_NUMBER) && !((types & CP_TYPE_INTEGER) && x == floor(x)))
        return false;
    return !(cp_subschema_has(sub, CP_KEY_MINIMUM) && x < sub->keys[CP_KEY_MINIMUM]->valuedouble) &&
           !(cp_subschema_has(sub, CP_KEY_MAXIMUM) && x > sub->keys[CP_KEY_MAXIMUM]->valuedouble) &&
           !(cp_subschema_has(sub, CP_KEY_EXCLUSIVE_MINIMUM) &&
             x <= sub->keys[CP_KEY_EXCLUSIVE_MINIMUM]->valuedouble) &&
           !(cp_subschema_has(sub, CP_KEY_EXCLUSIVE_MAXIMUM) &&
             x >= sub->keys[CP_KEY_EXCLUSIVE_MAXIMUM]->valuedouble);
}

static cp_status put_scalar(compiler *c, const cJSON *value, const cp_pointer *at, cp_strbuf *out) {
    cp_json_writer writer;
    cp_json_writer_init(&writer, out);
    if (cJSON_IsString(value)) {
        cp_json_put_text(&writer, value->valuestring);
    } else if (cJSON_IsNumber(value)) {
        double x = value->valuedouble;
        if (!(fabs(x) <= 9007199254740991.0))
            return cp_schema_refuse(c->err, CP_ERR_UNSUPPORTED, at, "a number beyond 2^53 - 1");
        char text[40];
        int digits = 15;
        do
            snprintf(text, sizeof text, "%.*g", digits, x + 0.0);
        while (digits++ < 17 && strtod(text, NULL) != x);
        cp_strbuf_puts(out, text);
    } else if (cJSON_IsBool(value) || cJSON_IsNull(value)) {
        cp_strbuf_puts(out, cJSON_IsNull(value) ? "null" : cJSON_IsTrue(value) ? "true" : "false");
    } else {
        return cp_schema_refuse(
            c->err, CP_ERR_UNSUPPORTED, at,
            "an object or array as a value of \"enum\" or \"const\" is not supported");
    }
    return CP_OK;
}

/* One value of an enum becomes a literal. */
static cp_status add_value(compiler *c, const cp_subschema *sub, const cJSON *value,
                           const cp_pointer *at, int types, uint16_t node, size_t *n_added) {
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

static cp_status compile_enum(compiler *c, const cp_subschema *sub, uint16_t node, int types) {
    cp_keyword key = cp_subschema_has(sub, CP_KEY_ENUM) ? CP_KEY_ENUM : CP_KEY_CONST;
    const cJSON *values = sub->keys[key], *value;
    cp_pointer list = {sub->at, cp_keyword_names[key], 0};
    size_t n_added = 0;
    double ignored;
    uint32_t ignored_count;
    cp_status status = CP_OK;
    if (cp_subschema_has(sub, CP_KEY_ENUM) && cp_subschema_has(sub, CP_KEY_CONST))
        return cp_schema_refuse_key(c->err, CP_ERR_UNSUPPORTED, sub, CP_KEY_CONST,
                                    "beside \"enum\" is not supported");
    for (cp_keyword k = CP_KEY_MIN_LENGTH; k <= CP_KEY_MAX_LENGTH && status == CP_OK; k++)
        status = cp_subschema_count(sub, k, 0, &ignored_count, c->err);
    for (cp_keyword k = CP_KEY_MINIMUM; k <= CP_KEY_EXCLUSIVE_MAXIMUM && status == CP_OK; k++)
        status = cp_subschema_bound(sub, k, &ignored, c->err);
    if (status != CP_OK)
        return status;
    if (key == CP_KEY_CONST)
        status = add_value(c, sub, values, &list, types, node, &n_added);
    else if (!cJSON_IsArray(values))
        return cp_schema_refuse_key(c->err, CP_ERR_FORMAT, sub, CP_KEY_ENUM, "is not a list");
    else if (cJSON_GetArraySize(values) > CP_SCHEMA_MAX_ENUM)
        return cp_schema_refuse_key(c->err, CP_ERR_LIMIT, sub, CP_KEY_ENUM,
                                    "has more than 1024 values");
    else {
        cp_pointer at = {&list, NULL, 0};
        cJSON_ArrayForEach(value, values) {
            status = add_value(c, sub, value, &at, types, node, &n_added);
            if (status != CP_OK)
                return status;
            at.index++;
        }
    }
    if (status == CP_OK && n_added == 0)
        return cp_schema_refuse_key(c->err, CP_ERR_UNSUPPORTED, sub, key,
                                    "has no value that fits the keywords beside it");
    return status;
}

/* ---- subschemas -------------------------------------------------------------------------------
 */

static cp_status compile_into(compiler *c, const cJSON *schema, const cp_pointer *at,
                              unsigned depth, uint16_t node);

/* Refuses keywords beside one that says everything by itself. */
static cp_status alone(compiler *c, const cp_subschema *sub, cp_keyword key) {
    for (cp_keyword other = 0; other < CP_N_KEYWORDS; other++)
        if (other != key && cp_subschema_has(sub, other))
            return cp_schema_refuse(c->err, CP_ERR_UNSUPPORTED, sub->at,
                                    "\"%s\" beside \"%s\" is not supported",
                                    cp_keyword_names[other], cp_keyword_names[key]);
    return CP_OK;
}

static cp_status compile_alternatives(compiler *c, const cp_subschema *sub, cp_keyword key,
                                      uint16_t node) {
    const cJSON *list = sub->keys[key], *one;
    cp_pointer at_list = {sub->at, cp_keyword_names[key], 0};
    cp_pointer at = {&at_list, NULL, 0};
    cp_status status = alone(c, sub, key);
    if (status != CP_OK)
        return status;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) == 0)
        return cp_schema_refuse_key(c->err, CP_ERR_FORMAT, sub, key, "is not a list of schemas");
    cJSON_ArrayForEach(one, list) {
        status = compile_into(c, one, &at, sub->depth, node);
        if (status != CP_OK)
            return status;
        at.index++;
    }
    return CP_OK;
}

/* The schema that "#/$defs/NAME" or "#/definitions/NAME" means. */
static cp_status find_target(compiler *c, const cp_subschema *sub, const cJSON **target) {
    const char *ref =
        cJSON_IsString(sub->keys[CP_KEY_REF]) ? sub->keys[CP_KEY_REF]->valuestring : "";
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
        return cp_schema_refuse_key(c->err, CP_ERR_UNSUPPORTED, sub, CP_KEY_REF,
                                    "leads to no schema of \"#/$defs/NAME\"");
    for (size_t i = 0; i < c->n_open_refs; i++)
        if (c->open_refs[i] == *target)
            return cp_schema_refuse_key(
                c->err, CP_ERR_UNSUPPORTED, sub, CP_KEY_REF,
                "to a schema that it is part of (recursion) is not supported");
    if (c->n_open_refs == MAX_REFS)
        return cp_schema_refuse_key(c->err, CP_ERR_LIMIT, sub, CP_KEY_REF, "more than 32 deep");
    return CP_OK;
}

static cp_status compile_ref(compiler *c, const cp_subschema *sub, uint16_t node) {
    const cJSON *target;
    cp_status status = alone(c, sub, CP_KEY_REF);
    if (status == CP_OK)
        status = find_target(c, sub, &target);
    if (status != CP_OK)
        return status;
    cp_pointer at = {NULL, "$defs", 0}, named = {&at, target->string, 0};
    c->open_refs[c->n_open_refs++] = target;
    status = compile_into(c, target, &named, sub->depth, node);
    c->n_open_refs--;
    return status;
}

/* The values of the types, when neither enum nor anyOf names them. */
static cp_status compile_types(compiler *c, const cp_subschema *sub, uint16_t node, int types) {
    static const struct {
        int type;
        const char *text;
    } words[] = {{CP_TYPE_BOOLEAN, "true"}, {CP_TYPE_BOOLEAN, "false"}, {CP_TYPE_NULL, "null"}};
    cp_status status = CP_OK;
    for (size_t i = 0; i < CP_COUNT_OF(words) && status == CP_OK; i++)
        if (types & words[i].type)
            status = cp_schema_add_literal(c->schema, node,
                                           (cp_str){words[i].text, strlen(words[i].text)}, c->err);
    if (status == CP_OK && (types & CP_KIND_STRING))
        status = compile_string(c, sub, node);
    if (status == CP_OK && (types & (CP_KIND_NUMBER | CP_TYPE_INTEGER)))
        status = compile_number(c, sub, node, !(types & CP_KIND_NUMBER));
    if (status == CP_OK && (types & CP_KIND_ARRAY))
        status = compile_array(c, sub, node);
    if (status == CP_OK && (types & CP_KIND_OBJECT))
        status = compile_object(c, sub, node);
    return status;
}

/* Adds what `schema` allows to the node. */
static cp_status compile_into(compiler *c, const cJSON *schema, const cp_pointer *at,
                              unsigned depth, uint16_t node) {
    cp_subschema sub = {.at = at, .depth = depth};
    int types;
    if (++c->n_visits > CP_SCHEMA_MAX_VISITS)
        return cp_schema_refuse(c->err, CP_ERR_LIMIT, at,
                                "more than %d subschemas, references counted",
                                CP_SCHEMA_MAX_VISITS);
    if (!cJSON_IsObject(schema))
        return cp_schema_refuse(c->err, CP_ERR_UNSUPPORTED, at, "a schema that is not an object");
    cp_status status = cp_subschema_read(schema, &sub, c->err);
    if (status != CP_OK)
        return status;
    if (cp_subschema_has(&sub, CP_KEY_REF))
        return compile_ref(c, &sub, node);
    if (cp_subschema_has(&sub, CP_KEY_ANY_OF) || cp_subschema_has(&sub, CP_KEY_ONE_OF))
        return compile_alternatives(
            c, &sub, cp_subschema_has(&sub, CP_KEY_ANY_OF) ? CP_KEY_ANY_OF : CP_KEY_ONE_OF, node);
    status = cp_subschema_types(&sub, &types, c->err);
    if (status != CP_OK)
        return status;
    if (cp_subschema_has(&sub, CP_KEY_ENUM) || cp_subschema_has(&sub, CP_KEY_CONST))
        return compile_enum(c, &sub, node,
                            cp_subschema_has(&sub, CP_KEY_TYPE) ? types : CP_TYPE_ALL);
    return compile_types(c, &sub, node, types);
}

/* A literal that begins as a value of the node's kinds does is not told from one. */
static cp_status check_apart(compiler *c, uint16_t node, const cp_pointer *at) {
    const cp_schema *s = c->schema;
    int kinds = s->nodes[node].kinds;
    for (uint32_t i = s->nodes[node].literals ? s->literals[s->nodes[node].literals].child : 0; i;
         i = s->literals[i].sibling) {
        unsigned char byte = s->literals[i].byte;
        bool number = byte == '-' || (byte >= '0' && byte <= '9');
        if ((byte == '"' && (kinds & CP_KIND_STRING)) || (number && (kinds & CP_KIND_NUMBER)))
            return cp_schema_refuse(c->err, CP_ERR_UNSUPPORTED, at,
                                    "\"anyOf\" with a fixed value beside a %s is not supported",
                                    number ? "number" : "string");
    }
    return CP_OK;
}

static cp_status compile_value(compiler *c, const cJSON *schema, const cp_pointer *at,
                               unsigned depth, uint16_t *node) {
    *node = CP_NODE_ANY;
    if (cp_schema_is_anything(schema))
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
