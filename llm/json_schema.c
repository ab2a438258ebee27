#include "llm/json_schema.h"

#include "base/mem.h"
#include "llm/constraint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of names and shortest texts. */
#define MAX_TEXT_BYTES ((size_t)1 << 20)

/* ---- building ---------------------------------------------------------------------------------
 */

cp_status cp_schema_add_node(cp_schema *s, uint16_t *node, cp_error *err) {
    if (s->n_nodes == CP_SCHEMA_MAX_NODES)
        return cp_error_set(err, CP_ERR_LIMIT, "schema: more than %d subschemas",
                            CP_SCHEMA_MAX_NODES);
    if (!cp_grow((void **)&s->nodes, &s->cap_nodes, s->n_nodes + 1, sizeof *s->nodes))
        return cp_error_no_memory(err, "schema");
    *node = (uint16_t)s->n_nodes++;
    s->nodes[*node] = (cp_schema_node){.max_chars = UINT32_MAX, .max_items = UINT32_MAX};
    return CP_OK;
}

cp_status cp_schema_add_properties(cp_schema *s, size_t n, uint32_t *first, cp_error *err) {
    if (!cp_grow((void **)&s->properties, &s->cap_properties, s->n_properties + n,
                 sizeof *s->properties))
        return cp_error_no_memory(err, "schema");
    *first = (uint32_t)s->n_properties;
    if (n > 0)
        memset(s->properties + s->n_properties, 0, n * sizeof *s->properties);
    s->n_properties += n;
    return CP_OK;
}

cp_status cp_schema_add_text(cp_schema *s, cp_str text, cp_schema_text *out, cp_error *err) {
    *out = (cp_schema_text){(uint32_t)s->text.n, (uint32_t)text.n};
    cp_strbuf_append(&s->text, text.data, text.n);
    return cp_strbuf_check(&s->text, "schema", err);
}

static cp_status add_trie_node(cp_schema *s, unsigned char byte, uint32_t *out, cp_error *err) {
    if (s->n_literals == CP_SCHEMA_MAX_LITERALS)
        return cp_error_set(err, CP_ERR_LIMIT, "schema: more than %d bytes of enum values",
                            CP_SCHEMA_MAX_LITERALS);
    if (!cp_grow((void **)&s->literals, &s->cap_literals, s->n_literals + 1, sizeof *s->literals))
        return cp_error_no_memory(err, "schema");
    s->literals[s->n_literals] = (cp_literal){.byte = byte};
    *out = (uint32_t)s->n_literals++;
    return CP_OK;
}

/* *at becomes its child for a byte, made if there is none. */
static cp_status descend(cp_schema *s, uint32_t *at, unsigned char byte, cp_error *err) {
    uint32_t parent = *at, made = 0;
    for (uint32_t c = s->literals[parent].child; c; c = s->literals[c].sibling)
        if (s->literals[c].byte == byte) {
            *at = c;
            return CP_OK;
        }
    cp_status status = add_trie_node(s, byte, &made, err);
    if (status != CP_OK)
        return status;
    s->literals[made].sibling = s->literals[parent].child;
    s->literals[parent].child = made;
    *at = made;
    return CP_OK;
}

cp_status cp_schema_add_literal(cp_schema *s, uint16_t node, cp_str text, cp_error *err) {
    cp_status status = CP_OK;
    uint32_t at = s->nodes[node].literals;
    if (!at) {
        status = add_trie_node(s, 0, &at, err);
        s->nodes[node].literals = at;
    }
    for (size_t i = 0; i < text.n && status == CP_OK; i++)
        status = descend(s, &at, (unsigned char)text.data[i], err);
    if (status == CP_OK)
        s->literals[at].is_end = true;
    return status;
}

/* Any JSON value, its elements and members again. */
static cp_status fill_any(cp_schema *s, cp_error *err) {
    cp_schema_node *any = &s->nodes[CP_NODE_ANY];
    any->kinds = CP_KIND_STRING | CP_KIND_NUMBER | CP_KIND_OBJECT | CP_KIND_ARRAY;
    any->free = true;
    any->items = CP_NODE_ANY;
    (void)cp_number_range_set(&any->range, false, -INFINITY, false, INFINITY, false);
    cp_status status = cp_schema_add_literal(s, CP_NODE_ANY, CP_STR("null"), err);
    if (status == CP_OK)
        status = cp_schema_add_literal(s, CP_NODE_ANY, CP_STR("true"), err);
    if (status == CP_OK)
        status = cp_schema_add_literal(s, CP_NODE_ANY, CP_STR("false"), err);
    return status;
}

cp_status cp_schema_new(cp_schema **out, cp_error *err) {
    uint16_t any;
    uint32_t nobody;
    *out = NULL;
    cp_schema *s = calloc(1, sizeof *s);
    if (!s)
        return cp_error_no_memory(err, "schema");
    cp_strbuf_init(&s->text, MAX_TEXT_BYTES);
    cp_status status = add_trie_node(s, 0, &nobody, err);
    if (status == CP_OK)
        status = cp_schema_add_node(s, &any, err);
    if (status == CP_OK)
        status = fill_any(s, err);
    if (status == CP_OK)
        *out = s;
    else
        cp_schema_free(s);
    return status;
}

void cp_schema_free(cp_schema *s) {
    if (!s)
        return;
    free(s->nodes);
    free(s->properties);
    free(s->literals);
    free(s->identity);
    cp_strbuf_deinit(&s->text);
    free(s);
}

/* ---- what is derived --------------------------------------------------------------------------
 */

/* Children come after their parents, so one pass from the end knows them first. */
static void find_distances(cp_schema *s) {
    for (size_t i = s->n_literals; i-- > 0;) {
        cp_literal *at = &s->literals[i];
        at->distance = at->is_end ? 0 : UINT32_MAX;
        for (uint32_t c = at->child; c && !at->is_end; c = s->literals[c].sibling)
            if (s->literals[c].distance < at->distance - 1)
                at->distance = s->literals[c].distance + 1;
    }
}

static bool has_literal(const cp_schema *s, uint32_t at, const char *text) {
    for (; at && *text; text++) {
        uint32_t c = s->literals[at].child;
        while (c && s->literals[c].byte != (unsigned char)*text)
            c = s->literals[c].sibling;
        at = c;
    }
    return at && s->literals[at].is_end;
}

void cp_schema_append_literal(const cp_schema *s, uint32_t at, cp_strbuf *out) {
    while (!s->literals[at].is_end) {
        uint32_t best = s->literals[at].child;
        for (uint32_t c = best; c; c = s->literals[c].sibling)
            if (s->literals[c].distance < s->literals[best].distance)
                best = c;
        cp_strbuf_putc(out, (char)s->literals[best].byte);
        at = best;
    }
}

void cp_schema_append_text(const cp_schema *s, cp_schema_text text, cp_strbuf *out) {
    cp_strbuf_append(out, cp_schema_chars(s, text), text.n);
}

static cp_status find_shortest(cp_schema *s, uint16_t node, cp_error *err);

static cp_status put_object(cp_schema *s, uint16_t node, cp_strbuf *out, cp_error *err) {
    uint32_t first = s->nodes[node].first_property, n = s->nodes[node].n_properties, rest = 0;
    bool comma = false;
    cp_status status = CP_OK;
    for (uint32_t i = first; i < first + n && status == CP_OK; i++)
        status = find_shortest(s, s->properties[i].node, err);
    if (status != CP_OK)
        return status;
    uint32_t last = first + n - 1;
    for (uint32_t i = first + n; i-- > first;) {
        cp_schema_property *p = &s->properties[i];
        if (p->required) {
            last = i;
            rest += 1 + p->key.n + s->nodes[p->node].shortest.n;
        }
        p->last = last;
        p->rest_bytes = rest;
    }
    cp_strbuf_putc(out, '{');
    for (uint32_t i = first; i < first + n; i++) {
        if (!s->properties[i].required)
            continue;
        if (comma)
            cp_strbuf_putc(out, ',');
        cp_schema_append_text(s, s->properties[i].key, out);
        cp_schema_append_text(s, s->nodes[s->properties[i].node].shortest, out);
        comma = true;
    }
    cp_strbuf_putc(out, '}');
    return CP_OK;
}

static cp_status put_array(cp_schema *s, uint16_t node, cp_strbuf *out, cp_error *err) {
    uint16_t items = s->nodes[node].items;
    cp_status status = items == node ? CP_OK : find_shortest(s, items, err);
    cp_strbuf_putc(out, '[');
    for (uint32_t i = 0; i < s->nodes[node].min_items && out->failed == CP_OK && status == CP_OK;
         i++) {
        if (i > 0)
            cp_strbuf_putc(out, ',');
        cp_schema_append_text(s, s->nodes[items].shortest, out);
    }
    cp_strbuf_putc(out, ']');
    return status;
}

static void put_string(const cp_schema *s, uint16_t node, cp_strbuf *out) {
    cp_strbuf_putc(out, '"');
    for (uint32_t i = 0; i < s->nodes[node].min_chars && out->failed == CP_OK; i++)
        cp_strbuf_putc(out, ' ');
    cp_strbuf_putc(out, '"');
}

/* Writes one kind of value into `candidate`, and keeps it in `best` if it is the first or shorter.
 */
static cp_status try_kind(cp_schema *s, uint16_t node, int kind, cp_strbuf *candidate,
                          cp_strbuf *best, cp_error *err) {
    cp_status status = CP_OK;
    cp_strbuf_clear(candidate);
    if (kind == CP_KIND_STRING)
        put_string(s, node, candidate);
    else if (kind == CP_KIND_NUMBER)
        cp_number_close(&s->nodes[node].range, (cp_number_place){0}, candidate);
    else if (kind == CP_KIND_OBJECT)
        status = put_object(s, node, candidate, err);
    else if (kind == CP_KIND_ARRAY)
        status = put_array(s, node, candidate, err);
    else
        cp_schema_append_literal(s, s->nodes[node].literals, candidate);
    if (status == CP_OK && candidate->failed == CP_ERR_NO_MEMORY)
        return cp_error_no_memory(err, "schema");
    if (status == CP_OK && candidate->failed == CP_OK && (best->n == 0 || candidate->n < best->n)) {
        cp_strbuf_clear(best);
        cp_strbuf_append(best, cp_strbuf_text(candidate), candidate->n);
        status = cp_strbuf_check(best, "schema", err);
    }
    return status;
}

static cp_status choose_shortest(cp_schema *s, uint16_t node, cp_strbuf *candidate, cp_strbuf *best,
                                 cp_error *err) {
    cp_status status = CP_OK;
    for (int kind = CP_KIND_STRING; kind <= CP_KIND_ARRAY && status == CP_OK; kind *= 2)
        if (s->nodes[node].kinds & kind)
            status = try_kind(s, node, kind, candidate, best, err);
    if (s->nodes[node].literals && status == CP_OK)
        status = try_kind(s, node, 0, candidate, best, err);
    if (has_literal(s, s->nodes[node].literals, "null")) {
        cp_strbuf_clear(best);
        cp_strbuf_puts(best, "null");
    }
    if (status == CP_OK && best->n == 0 && best->failed == CP_OK)
        status =
            cp_error_set(err, CP_ERR_LIMIT, "schema: its shortest document is longer than %d bytes",
                         CP_SCHEMA_MAX_SHORTEST);
    return status == CP_OK ? cp_strbuf_check(best, "schema", err) : status;
}

/* Sets the node's shortest text and that of all below it; each node once. */
static cp_status find_shortest(cp_schema *s, uint16_t node, cp_error *err) {
    if (s->nodes[node].shortest.n > 0)
        return CP_OK;
    cp_strbuf candidate, best;
    cp_strbuf_init(&candidate, CP_SCHEMA_MAX_SHORTEST);
    cp_strbuf_init(&best, CP_SCHEMA_MAX_SHORTEST);
    cp_status status = choose_shortest(s, node, &candidate, &best, err);
    if (status == CP_OK)
        status = cp_schema_add_text(s, cp_strbuf_str(&best), &s->nodes[node].shortest, err);
    cp_strbuf_deinit(&candidate);
    cp_strbuf_deinit(&best);
    return status;
}

cp_status cp_schema_finish(cp_schema *s, cp_error *err) {
    find_distances(s);
    cp_status status = find_shortest(s, CP_NODE_ANY, err);
    if (status == CP_OK)
        status = find_shortest(s, s->root, err);
    return status;
}
