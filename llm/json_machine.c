#include "llm/json_machine.h"

#include "llm/json_schema.h"
#include "llm/json_string.h"

typedef enum frame_kind {
    FRAME_VALUE,   /* the first byte of a value comes next */
    FRAME_LITERAL, /* a: the trie node reached */
    FRAME_STRING,  /* phase: cp_string_phase; a: characters begun */
    FRAME_NUMBER,
    FRAME_ARRAY,  /* a: elements begun */
    FRAME_OBJECT, /* a: first property that may still come; b: the name so far */
    FRAME_FREE,   /* an object with any members */
} frame_kind;

/* Of arrays and objects. */
typedef enum container_phase {
    OPENED,
    IN_KEY,
    BEFORE_COLON,
    AFTER_MEMBER,
    AFTER_COMMA
} container_phase;

/* frame.b of an object: the first property that has the bytes of the name so far, and their
 * number. */
static uint32_t pack_key(uint32_t property, uint32_t n) {
    return property << 16 | n;
}

static cp_json_frame *top(cp_json_place *p) {
    return &p->frames[p->n_frames - 1];
}

static bool push(cp_json_place *p, cp_json_frame frame) {
    if (p->n_frames == CP_JSON_MAX_FRAMES)
        return false;
    p->frames[p->n_frames++] = frame;
    return true;
}

static bool push_value(cp_json_place *p, uint16_t node) {
    return push(p, (cp_json_frame){.node = node, .kind = FRAME_VALUE});
}

void cp_json_begin(const cp_schema *s, cp_json_place *p) {
    p->n_frames = 0;
    p->number = (cp_number_place){0};
    (void)push_value(p, s->root);
}

/* ---- scalars ----------------------------------------------------------------------------------
 */

static bool take_literal(const cp_schema *s, cp_json_place *p, cp_json_frame *f,
                         unsigned char byte) {
    uint32_t c = s->literals[f->a].child;
    while (c && s->literals[c].byte != byte)
        c = s->literals[c].sibling;
    if (!c)
        return false;
    f->a = c;
    if (!s->literals[c].child)
        p->n_frames--; /* nothing can follow in it */
    return true;
}

static bool take_string(const cp_schema *s, cp_json_place *p, cp_json_frame *f,
                        unsigned char byte) {
    const cp_schema_node *node = &s->nodes[f->node];
    bool between = f->phase == CP_STRING_PLAIN;
    cp_string_phase next = cp_string_step(f->phase, byte);
    if (next == CP_STRING_BAD)
        return false;
    if (next == CP_STRING_END) {
        p->n_frames--;
        return f->a >= node->min_chars;
    }
    if (between && f->a >= node->max_chars)
        return false;
    if (between && f->a < UINT32_MAX - 1)
        f->a++;
    f->phase = (uint8_t)next;
    return true;
}

/* ---- containers -------------------------------------------------------------------------------
 */

static bool take_array(const cp_schema *s, cp_json_place *p, cp_json_frame *f, unsigned char byte) {
    const cp_schema_node *node = &s->nodes[f->node];
    bool first = f->phase == OPENED;
    if (byte == ']' && f->a >= node->min_items) {
        p->n_frames--;
        return true;
    }
    if (f->a >= node->max_items || (!first && byte != ','))
        return false;
    f->a += f->a < UINT32_MAX - 1;
    f->phase = AFTER_MEMBER;
    return push_value(p, node->items) && (!first || cp_json_step(s, p, byte));
}

/* From the property `from` on, those that may come next end at its `last`. */
static uint32_t last_candidate(const cp_schema *s, const cp_schema_node *node, uint32_t from) {
    return s->properties[node->first_property + from].last - node->first_property;
}

static bool may_close(const cp_schema *s, const cp_schema_node *node, uint32_t from) {
    return from >= node->n_properties || s->properties[node->first_property + from].rest_bytes == 0;
}

static const char *key_chars(const cp_schema *s, const cp_schema_node *node, uint32_t i,
                             uint32_t *n) {
    cp_schema_text key = s->properties[node->first_property + i].key;
    *n = key.n;
    return cp_schema_chars(s, key);
}

/* One more byte of a member's name: the first candidate with the bytes so far and this one. */
static bool take_key(const cp_schema *s, cp_json_place *p, cp_json_frame *f, unsigned char byte) {
    const cp_schema_node *node = &s->nodes[f->node];
    uint32_t so_far = f->b >> 16, n = f->b & 0xffff, n_key;
    const char *prefix = key_chars(s, node, so_far, &n_key);
    for (uint32_t i = so_far, last = last_candidate(s, node, f->a); i <= last; i++) {
        const char *key = key_chars(s, node, i, &n_key);
        if (n >= n_key || (unsigned char)key[n] != byte || memcmp(key, prefix, n) != 0)
            continue;
        f->b = pack_key(i, n + 1);
        if (n + 1 < n_key)
            return true;
        f->a = i + 1; /* no name with its quotes and colon is the beginning of another */
        f->b = 0;
        f->phase = AFTER_MEMBER;
        return push_value(p, s->properties[node->first_property + i].node);
    }
    return false;
}

static bool take_object(const cp_schema *s, cp_json_place *p, cp_json_frame *f,
                        unsigned char byte) {
    const cp_schema_node *node = &s->nodes[f->node];
    if (f->phase == IN_KEY)
        return take_key(s, p, f, byte);
    if (byte == '}' && f->phase != AFTER_COMMA && may_close(s, node, f->a)) {
        p->n_frames--;
        return true;
    }
    if (f->a >= node->n_properties)
        return false;
    if (f->phase == AFTER_MEMBER && byte == ',') {
        f->phase = AFTER_COMMA;
        return true;
    }
    if (f->phase == AFTER_MEMBER || byte != '"')
        return false;
    f->phase = IN_KEY;
    f->b = pack_key(f->a, 1);
    return true;
}

static bool take_free(cp_json_place *p, cp_json_frame *f, unsigned char byte) {
    if (byte == '}' && (f->phase == OPENED || f->phase == AFTER_MEMBER)) {
        p->n_frames--;
        return true;
    }
    if (byte == '"' && (f->phase == OPENED || f->phase == AFTER_COMMA)) {
        f->phase = BEFORE_COLON;
        return push(p, (cp_json_frame){.node = CP_NODE_ANY, .kind = FRAME_STRING});
    }
    if (byte == ',' && f->phase == AFTER_MEMBER) {
        f->phase = AFTER_COMMA;
        return true;
    }
    if (byte != ':' || f->phase != BEFORE_COLON)
        return false;
    f->phase = AFTER_MEMBER;
    return push_value(p, CP_NODE_ANY);
}

/* ---- one byte ---------------------------------------------------------------------------------
 */

static bool open_container(const cp_json_place *p, cp_json_frame *f, frame_kind kind) {
    *f = (cp_json_frame){.node = f->node, .kind = (uint8_t)kind, .phase = OPENED};
    return p->n_frames < CP_JSON_MAX_FRAMES; /* what is in it must find room */
}

static bool open_value(const cp_schema *s, cp_json_place *p, cp_json_frame *f, unsigned char byte) {
    const cp_schema_node *node = &s->nodes[f->node];
    if (byte == '{' && (node->kinds & CP_KIND_OBJECT))
        return open_container(p, f, node->free ? FRAME_FREE : FRAME_OBJECT);
    if (byte == '[' && (node->kinds & CP_KIND_ARRAY))
        return open_container(p, f, FRAME_ARRAY);
    if (byte == '"' && (node->kinds & CP_KIND_STRING)) {
        *f = (cp_json_frame){.node = f->node, .kind = FRAME_STRING, .phase = CP_STRING_PLAIN};
        return true;
    }
    if (node->kinds & CP_KIND_NUMBER) {
        p->number = (cp_number_place){0};
        if (cp_number_step(&node->range, &p->number, byte)) {
            f->kind = FRAME_NUMBER;
            return true;
        }
    }
    if (!node->literals)
        return false;
    *f = (cp_json_frame){.node = f->node, .kind = FRAME_LITERAL, .a = node->literals};
    return take_literal(s, p, f, byte);
}

bool cp_json_step(const cp_schema *s, cp_json_place *p, unsigned char byte) {
    while (p->n_frames > 0) {
        cp_json_frame *f = top(p);
        switch ((frame_kind)f->kind) {
        case FRAME_VALUE:
            return open_value(s, p, f, byte);
        case FRAME_STRING:
            return take_string(s, p, f, byte);
        case FRAME_ARRAY:
            return take_array(s, p, f, byte);
        case FRAME_OBJECT:
            return take_object(s, p, f, byte);
        case FRAME_FREE:
            return take_free(p, f, byte);
        case FRAME_LITERAL: /* "1" may end where "12" is allowed, too: seen at the next byte */
            if (take_literal(s, p, f, byte))
                return true;
            if (!s->literals[f->a].is_end)
                return false;
            break;
        case FRAME_NUMBER:
            if (cp_number_step(&s->nodes[f->node].range, &p->number, byte))
                return true;
            if (!cp_number_is_final(&s->nodes[f->node].range, &p->number))
                return false;
            break;
        }
        p->n_frames--; /* the value ended before this byte */
    }
    return false;
}

bool cp_json_take(const cp_schema *s, cp_json_place *p, cp_str text) {
    for (size_t i = 0; i < text.n; i++)
        if (!cp_json_step(s, p, (unsigned char)text.data[i]))
            return false;
    return true;
}

bool cp_json_may_end(const cp_schema *s, const cp_json_place *p) {
    const cp_json_frame *f = &p->frames[0];
    if (p->n_frames != 1)
        return p->n_frames == 0;
    if (f->kind == FRAME_LITERAL)
        return s->literals[f->a].is_end;
    return f->kind == FRAME_NUMBER && cp_number_is_final(&s->nodes[f->node].range, &p->number);
}

static uint32_t left(uint32_t bound, uint32_t count) {
    return bound > count ? bound - count : 0;
}

bool cp_json_in_text(const cp_schema *s, const cp_json_place *p, uint32_t *least, uint32_t *most) {
    if (p->n_frames == 0)
        return false;
    const cp_json_frame *f = &p->frames[p->n_frames - 1];
    if (f->kind != FRAME_STRING || f->phase != CP_STRING_PLAIN)
        return false;
    *least = left(s->nodes[f->node].min_chars, f->a);
    *most = left(s->nodes[f->node].max_chars, f->a);
    return true;
}

/* ---- closing ----------------------------------------------------------------------------------
 */

static void close_string(const cp_schema *s, const cp_json_frame *f, cp_strbuf *out) {
    cp_strbuf_puts(out, cp_string_completion(f->phase));
    for (uint32_t n = left(s->nodes[f->node].min_chars, f->a); n > 0; n--)
        cp_strbuf_putc(out, ' ');
    cp_strbuf_putc(out, '"');
}

static void close_array(const cp_schema *s, const cp_json_frame *f, cp_strbuf *out) {
    const cp_schema_node *node = &s->nodes[f->node];
    for (uint32_t i = f->a; i < node->min_items; i++) {
        if (i > 0)
            cp_strbuf_putc(out, ',');
        cp_schema_append_text(s, s->nodes[node->items].shortest, out);
    }
    cp_strbuf_putc(out, ']');
}

/* The candidate that completes the name so far (n bytes of property `so_far`'s) in the fewest
 * bytes, its value and the members after it included. */
static uint32_t best_candidate(const cp_schema *s, const cp_schema_node *node, uint32_t from,
                               uint32_t so_far, uint32_t n) {
    uint32_t best = so_far, best_bytes = UINT32_MAX, n_key;
    const char *prefix = key_chars(s, node, so_far, &n_key);
    for (uint32_t i = so_far, last = last_candidate(s, node, from); i <= last; i++) {
        const cp_schema_property *property = &s->properties[node->first_property + i];
        uint32_t rest = i + 1 < node->n_properties ? property[1].rest_bytes : 0;
        uint32_t bytes = property->key.n + s->nodes[property->node].shortest.n + rest;
        if (n > property->key.n || memcmp(cp_schema_chars(s, property->key), prefix, n) != 0 ||
            bytes >= best_bytes)
            continue;
        best = i;
        best_bytes = bytes;
    }
    return best;
}

static void close_object(const cp_schema *s, const cp_json_frame *f, cp_strbuf *out) {
    const cp_schema_node *node = &s->nodes[f->node];
    uint32_t from = f->a;
    bool comma = f->phase == AFTER_MEMBER;
    if (f->phase == IN_KEY || f->phase == AFTER_COMMA) {
        uint32_t n = f->phase == IN_KEY ? f->b & 0xffff : 0;
        uint32_t i = best_candidate(s, node, from, n ? f->b >> 16 : from, n);
        const cp_schema_property *property = &s->properties[node->first_property + i];
        cp_strbuf_append(out, cp_schema_chars(s, property->key) + n, property->key.n - n);
        cp_schema_append_text(s, s->nodes[property->node].shortest, out);
        from = i + 1;
        comma = true;
    }
    for (uint32_t i = from; i < node->n_properties; i++) {
        const cp_schema_property *property = &s->properties[node->first_property + i];
        if (!property->required)
            continue;
        if (comma)
            cp_strbuf_putc(out, ',');
        cp_schema_append_text(s, property->key, out);
        cp_schema_append_text(s, s->nodes[property->node].shortest, out);
        comma = true;
    }
    cp_strbuf_putc(out, '}');
}

static void close_free(const cp_schema *s, const cp_json_frame *f, cp_strbuf *out) {
    if (f->phase == AFTER_COMMA)
        cp_strbuf_puts(out, "\"\"");
    if (f->phase == AFTER_COMMA || f->phase == BEFORE_COLON) {
        cp_strbuf_putc(out, ':');
        cp_schema_append_text(s, s->nodes[CP_NODE_ANY].shortest, out);
    }
    cp_strbuf_putc(out, '}');
}

void cp_json_close(const cp_schema *s, const cp_json_place *p, cp_strbuf *out) {
    for (uint32_t i = p->n_frames; i-- > 0;) {
        const cp_json_frame *f = &p->frames[i];
        switch ((frame_kind)f->kind) {
        case FRAME_VALUE:
            cp_schema_append_text(s, s->nodes[f->node].shortest, out);
            break;
        case FRAME_LITERAL:
            cp_schema_append_literal(s, f->a, out);
            break;
        case FRAME_STRING:
            close_string(s, f, out);
            break;
        case FRAME_NUMBER:
            cp_number_close(&s->nodes[f->node].range, p->number, out);
            break;
        case FRAME_ARRAY:
            close_array(s, f, out);
            break;
        case FRAME_OBJECT:
            close_object(s, f, out);
            break;
        case FRAME_FREE:
            close_free(s, f, out);
            break;
        }
    }
}

/* ---- no choice --------------------------------------------------------------------------------
 */

/* The only byte that can come next, or -1: there are several, or the text may end. */
static int only_byte(const cp_schema *s, const cp_json_place *p) {
    int only = -1;
    cp_json_place next;
    if (cp_json_may_end(s, p))
        return -1;
    for (int byte = 0x20; byte < 0x100; byte++) { /* no other byte occurs in compact JSON */
        cp_json_place_copy(&next, p);
        if (!cp_json_step(s, &next, (unsigned char)byte))
            continue;
        if (only >= 0)
            return -1;
        only = byte;
    }
    return only;
}

void cp_json_force(const cp_schema *s, cp_json_place *p, cp_strbuf *out) {
    for (int byte; out->failed == CP_OK && (byte = only_byte(s, p)) >= 0;) {
        cp_strbuf_putc(out, (char)byte);
        if (!cp_json_step(s, p, (unsigned char)byte))
            return; /* cannot be: it was just tried */
    }
}

/* ---- keys of places ---------------------------------------------------------------------------
 */

static size_t put_bytes(unsigned char *key, size_t n, const void *value, size_t size) {
    memcpy(key + n, value, size);
    return n + size;
}

static uint32_t at_most(uint32_t value, uint32_t limit) {
    return value < limit ? value : limit;
}

size_t cp_json_place_key(const cp_schema *s, const cp_json_place *p, uint32_t chars,
                         uint32_t elements, unsigned char key[CP_JSON_KEY_BYTES]) {
    size_t n = 0;
    for (uint32_t i = 0; i < p->n_frames; i++) {
        cp_json_frame f = p->frames[i];
        const cp_schema_node *node = &s->nodes[f.node];
        if (f.kind == FRAME_STRING) {
            f.b = at_most(left(node->min_chars, f.a), chars + 1);
            f.a = at_most(left(node->max_chars, f.a), chars + 1);
        } else if (f.kind == FRAME_ARRAY) {
            f.b = at_most(left(node->min_items, f.a), elements + 2);
            f.a = at_most(left(node->max_items, f.a), elements + 2);
        }
        n = put_bytes(key, n, &f, sizeof f);
    }
    if (p->n_frames > 0 && p->frames[p->n_frames - 1].kind == FRAME_NUMBER) {
        n = put_bytes(key, n, &p->number.whole, sizeof p->number.whole);
        n = put_bytes(key, n, &p->number.fraction, sizeof p->number.fraction);
        unsigned char rest[4] = {p->number.phase, p->number.n_whole, p->number.n_fraction,
                                 p->number.negative};
        n = put_bytes(key, n, rest, sizeof rest);
    }
    return n;
}
