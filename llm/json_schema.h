/* A compiled JSON schema: what json_machine walks.
 *
 * Compiled once from hostile text, immutable afterwards, shared by any number of threads and
 * sequences; all references are indices into its own tables. A node is a set of alternatives that
 * differ in their first byte: literals (enum, const, true, false, null) in a byte trie, and at most
 * one string, number, object and array. The names and the shortest texts are kept as the JSON text
 * that is written. What the public calls mean is in constraint.h. */
#ifndef CP_LLM_JSON_SCHEMA_H
#define CP_LLM_JSON_SCHEMA_H

#include "llm/json_number.h"

#include <stdint.h>

#define CP_SCHEMA_MAX_BYTES    ((size_t)64 << 10) /* of the schema as compact JSON */
#define CP_SCHEMA_MAX_DEPTH    24                 /* objects and arrays inside each other */
#define CP_SCHEMA_MAX_NODES    2048
#define CP_SCHEMA_MAX_VISITS   8192  /* subschemas looked at, through references too */
#define CP_SCHEMA_MAX_MEMBERS  256   /* properties of one object */
#define CP_SCHEMA_MAX_NAME     256   /* bytes of a property's name as JSON text */
#define CP_SCHEMA_MAX_ENUM     1024  /* values of one enum */
#define CP_SCHEMA_MAX_LITERALS 65536 /* bytes of all enums */
#define CP_SCHEMA_MAX_SHORTEST 4096  /* bytes of the shortest document */
#define CP_SCHEMA_MAX_COUNT    1000000000

enum { CP_KIND_STRING = 1, CP_KIND_NUMBER = 2, CP_KIND_OBJECT = 4, CP_KIND_ARRAY = 8 };

typedef struct cp_schema_text {
    uint32_t at, n; /* in cp_schema.text */
} cp_schema_text;

typedef struct cp_schema_node {
    uint8_t kinds;                 /* CP_KIND_ bits; literals apart */
    bool free;                     /* an object with any members */
    uint16_t items;                /* arrays: the node of an element */
    uint32_t literals;             /* root of its trie; 0: none */
    uint32_t min_chars, max_chars; /* strings, in code points */
    uint32_t min_items, max_items;
    uint32_t first_property, n_properties;
    cp_number_range range;
    cp_schema_text shortest; /* null where that is allowed, else a shortest value */
} cp_schema_node;

typedef struct cp_schema_property {
    cp_schema_text key; /* "name": with quotes and colon */
    uint16_t node;
    bool required;
    uint32_t last;       /* of those that may come where this one may: the next required one, or the
                            object's last */
    uint32_t rest_bytes; /* of this and the later required members with their shortest values, each
                            after a comma */
} cp_schema_property;

/* A node of a literal trie; children are a list. */
typedef struct cp_literal {
    uint32_t child, sibling;
    uint32_t distance; /* bytes to the nearest end */
    unsigned char byte;
    bool is_end;
} cp_literal;

typedef struct cp_schema {
    cp_schema_node *nodes; /* [n_nodes]; 0 is any JSON value */
    cp_schema_property *properties;
    cp_literal *literals; /* 0 is nobody's */
    size_t n_nodes, cap_nodes, n_properties, cap_properties, n_literals, cap_literals;
    cp_strbuf text;
    uint16_t root;
    char *identity; /* schemas with equal text are equal */
    size_t n_identity;
} cp_schema;

#define CP_NODE_ANY 0

static inline const char *cp_schema_chars(const cp_schema *s, cp_schema_text text) {
    return s->text.data + text.at;
}

void cp_schema_append_text(const cp_schema *s, cp_schema_text text, cp_strbuf *out);
/* The bytes from place `at` in a trie of literals to the end of the nearest one. */
void cp_schema_append_literal(const cp_schema *s, uint32_t at, cp_strbuf *out);

/* ---- for json_schema_compile.c: building (json_schema.c) ---------------------------------------
 */

cp_status cp_schema_add_node(cp_schema *s, uint16_t *node, cp_error *err) CP_MUST_CHECK;
cp_status cp_schema_add_properties(cp_schema *s, size_t n, uint32_t *first,
                                   cp_error *err) CP_MUST_CHECK;
/* Adds one JSON text to the node's literals; one that is there already is no error. */
cp_status cp_schema_add_literal(cp_schema *s, uint16_t node, cp_str text,
                                cp_error *err) CP_MUST_CHECK;
cp_status cp_schema_add_text(cp_schema *s, cp_str text, cp_schema_text *out,
                             cp_error *err) CP_MUST_CHECK;
/* Fills in what is derived: distances, property runs, shortest texts. Refuses a schema whose
 * shortest document is too long. */
cp_status cp_schema_finish(cp_schema *s, cp_error *err) CP_MUST_CHECK;
/* An empty schema with the node for any value. */
cp_status cp_schema_new(cp_schema **out, cp_error *err) CP_MUST_CHECK;

#endif
