#include "llm/constraint.h"

#include "base/clock.h"
#include "llm/json_schema.h"
#include "llm/token_masks.h"

/* A blank line stands between a thought and its answer, as the models write it. */
#define BLANK CP_STR("\n\n")
/* More ids than the text has bytes: two markers and the blank line. */
#define MAX_EXTRA_IDS 4

typedef enum phase {
    PHASE_OPEN,    /* <think> is to come */
    PHASE_THOUGHT, /* in it */
    PHASE_BLANK,   /* the blank line is to come */
    PHASE_JSON,
    PHASE_DONE, /* a stop token was taken */
} phase;

cp_status cp_constraint_start(cp_constraint *c, cp_masks *m, const cp_schema *schema, cp_arm arm,
                              cp_error *err) {
    bool thinks = m->think_open >= 0 && m->think_close >= 0;
    phase first = arm == CP_ARM_OPEN_THOUGHT    ? PHASE_OPEN
                  : arm == CP_ARM_AFTER_THOUGHT ? PHASE_THOUGHT
                                                : PHASE_JSON;
    memset(c, 0, sizeof *c);
    c->schema = schema;
    c->phase = thinks ? first : PHASE_JSON;
    cp_json_begin(schema, &c->place);
    return cp_masks_serial(m, schema, &c->serial, err);
}

bool cp_constraint_is_armed(const cp_constraint *c) {
    return c->phase >= PHASE_JSON;
}

bool cp_constraint_is_complete(const cp_constraint *c) {
    return c->phase == PHASE_DONE || (c->phase == PHASE_JSON && c->place.n_frames == 0);
}

void cp_constraint_close(const cp_constraint *c, cp_strbuf *out) {
    if (c->phase != PHASE_DONE)
        cp_json_close(c->schema, &c->place, out);
}

/* ---- texts as ids -----------------------------------------------------------------------------
 */

/* Appends the longest tokens that spell text[0..n), one after the other; a single byte is nearly
 * always one. */
static cp_status push_spelled(cp_masks *m, cp_str text, cp_error *err) {
    for (size_t done = 0; done < text.n;) {
        uint32_t node = UINT32_MAX;
        size_t n = 0;
        int32_t id = -1;
        for (size_t i = done; i < text.n; i++) {
            node = cp_trie_child(&m->trie.all, node, (unsigned char)text.data[i]);
            if (node == UINT32_MAX)
                break;
            if (m->trie.all.nodes[node].id >= 0) {
                id = m->trie.all.nodes[node].id;
                n = i + 1 - done;
            }
        }
        if (id < 0)
            return cp_error_set(err, CP_ERR_UNSUPPORTED,
                                "the tokenizer has no token for the byte 0x%02x",
                                (unsigned)(unsigned char)text.data[done]);
        cp_status status = cp_ids_push(&m->ids, id, err);
        if (status != CP_OK)
            return status;
        done += n;
    }
    return CP_OK;
}

/* The ids from `first` on spell the text. */
static bool spells(const cp_masks *m, size_t first, cp_str text) {
    size_t done = 0;
    for (size_t i = first; i < m->ids.n; i++) {
        cp_str bytes = cp_tokenizer_id_bytes(m->tok, m->ids.ids[i]);
        if (bytes.n > text.n - done || memcmp(bytes.data, text.data + done, bytes.n) != 0)
            return false;
        done += bytes.n;
    }
    return done == text.n;
}

/* Appends the ids of a text as the tokenizer would read it. Bytes that complete a character whose
 * beginning lies before the text go byte by byte, and so does a text that the tokenizer would
 * change (it composes Unicode). */
static cp_status push_text(cp_masks *m, cp_str text, cp_error *err) {
    size_t n_tail = 0;
    while (n_tail < text.n && ((unsigned char)text.data[n_tail] & 0xc0) == 0x80)
        n_tail++;
    cp_status status = push_spelled(m, (cp_str){text.data, n_tail}, err);
    cp_str rest = {text.data + n_tail, text.n - n_tail};
    size_t first = m->ids.n;
    if (status != CP_OK || rest.n == 0)
        return status;
    status = cp_tokenizer_encode(m->tok, rest.data, rest.n, &(cp_encode_options){0}, &m->ids, err);
    if (status != CP_OK || spells(m, first, rest))
        return status;
    m->ids.n = first;
    return push_spelled(m, rest, err);
}

/* m->ids becomes what is left until the end: the thought's close where it is open, and a shortest
 * completion of the document. */
static cp_status spell_closing(cp_masks *m, const cp_constraint *c, cp_error *err) {
    cp_status status = CP_OK;
    m->ids.n = 0;
    if (c->phase == PHASE_OPEN)
        status = cp_ids_push(&m->ids, m->think_open, err);
    if (status == CP_OK && c->phase <= PHASE_THOUGHT)
        status = cp_ids_push(&m->ids, m->think_close, err);
    if (status == CP_OK && c->phase <= PHASE_BLANK)
        status = push_text(m, BLANK, err);
    cp_strbuf_clear(&m->bytes);
    cp_constraint_close(c, &m->bytes);
    if (status == CP_OK)
        status = cp_strbuf_check(&m->bytes, "shortest completion", err);
    return status == CP_OK ? push_text(m, cp_strbuf_str(&m->bytes), err) : status;
}

/* How many ids the shortest completion takes; an upper bound where that is below `budget`, which is
 * all that anyone asks. */
static cp_status closing_cost(cp_masks *m, const cp_constraint *c, size_t budget, size_t *cost,
                              cp_error *err) {
    cp_strbuf_clear(&m->bytes);
    cp_constraint_close(c, &m->bytes);
    cp_status status = cp_strbuf_check(&m->bytes, "shortest completion", err);
    *cost = m->bytes.n + (c->phase < PHASE_JSON ? MAX_EXTRA_IDS : 0);
    if (status != CP_OK || *cost < budget)
        return status;
    status = spell_closing(m, c, err);
    *cost = m->ids.n;
    return status;
}

/* ---- turns ------------------------------------------------------------------------------------
 */

static cp_status close_all(cp_constraint *c, cp_masks *m, cp_turn *turn, cp_error *err) {
    cp_status status = spell_closing(m, c, err);
    *turn = (cp_turn){.kind = CP_TURN_CLOSE, .ids = m->ids.ids, .n = m->ids.n};
    c->phase = PHASE_DONE;
    c->place.n_frames = 0;
    return status;
}

/* The document's first byte inside a string that was just opened: what follows is free text. */
static bool opens_text(const cp_schema *schema, const cp_json_place *place) {
    uint32_t least, most;
    return cp_json_in_text(schema, place, &least, &most) &&
           place->frames[place->n_frames - 1].a == 0;
}

/* The trie node of text[0..n), UINT32_MAX when no token begins so. */
static uint32_t find_path(const cp_masks *m, cp_str text) {
    uint32_t node = UINT32_MAX;
    for (size_t i = 0; i < text.n; i++) {
        node = cp_trie_child(&m->trie.all, node, (unsigned char)text.data[i]);
        if (node == UINT32_MAX)
            break;
    }
    return node;
}

/* How many of the ids that spell the forced bytes stand whatever comes next. An id is given back,
 * with those after it, when a legal token begins where it begins and goes on beyond the forced
 * bytes: then there is a choice after all. Behind the quote that opens a free text none is given
 * back: letters never merge with it, and the few marks that would begin their own token. */
static size_t settled_ids(cp_masks *m, const cp_constraint *c, const cp_json_place *after,
                          cp_str forced) {
    size_t at = 0;
    if (after->n_frames == 0 || opens_text(c->schema, after))
        return m->ids.n;
    for (size_t i = 0; i < m->ids.n; i++) {
        uint32_t node = find_path(m, (cp_str){forced.data + at, forced.n - at});
        if (node != UINT32_MAX && cp_masks_goes_on(m, c->schema, after, node))
            return i;
        at += cp_tokenizer_id_bytes(m->tok, m->ids.ids[i]).n;
    }
    return m->ids.n;
}

/* Moves past the first n of m->ids. */
static void pass(cp_constraint *c, const cp_masks *m, size_t n) {
    for (size_t i = 0; i < n; i++)
        (void)cp_json_take(c->schema, &c->place, cp_tokenizer_id_bytes(m->tok, m->ids.ids[i]));
}

/* What the schema leaves no choice about, as ids that stand; *n is 0 when there is a choice. */
static cp_status force(const cp_constraint *c, cp_masks *m, bool *finishes, size_t *n,
                       cp_error *err) {
    cp_json_place after = c->place;
    cp_strbuf_clear(&m->bytes);
    cp_json_force(c->schema, &after, &m->bytes);
    cp_status status = cp_strbuf_check(&m->bytes, "forced text", err);
    *finishes = after.n_frames == 0;
    *n = m->ids.n = 0;
    if (status != CP_OK || m->bytes.n == 0)
        return status;
    status = push_text(m, cp_strbuf_str(&m->bytes), err);
    if (status == CP_ERR_UNSUPPORTED) { /* not in this vocabulary's bytes */
        m->ids.n = 0;
        return CP_OK;
    }
    if (status == CP_OK)
        *n = settled_ids(m, c, &after, cp_strbuf_str(&m->bytes));
    return status;
}

static cp_status json_turn(cp_constraint *c, cp_masks *m, size_t budget, cp_turn *turn,
                           cp_error *err) {
    bool finishes = false;
    size_t cost, n = 0;
    cp_status status = closing_cost(m, c, budget, &cost, err);
    if (status == CP_OK)
        status = force(c, m, &finishes, &n, err);
    if (status != CP_OK)
        return status;
    bool ends = n > 0 && finishes; /* the end itself is no choice: nothing is cut */
    if (cost >= budget && !ends)
        return close_all(c, m, turn, err);
    if (n > 0 && (n < budget || ends)) {
        pass(c, m, n);
        *turn = (cp_turn){.kind = CP_TURN_APPEND, .ids = m->ids.ids, .n = n};
        return CP_OK;
    }
    const uint64_t *mask = cp_masks_find(m, c);
    *turn = (cp_turn){.kind = CP_TURN_DRAW, .mask = mask};
    return mask ? CP_OK : close_all(c, m, turn, err);
}

static cp_status thought_turn(cp_constraint *c, cp_masks *m, size_t budget, cp_turn *turn,
                              cp_error *err) {
    size_t cost;
    cp_status status = closing_cost(m, c, budget, &cost, err);
    if (status != CP_OK)
        return status;
    if (cost >= budget)
        return close_all(c, m, turn, err);
    if (c->phase == PHASE_THOUGHT) {
        *turn = (cp_turn){.kind = CP_TURN_DRAW, .mask = m->thought};
        return CP_OK;
    }
    m->ids.n = 0;
    status = c->phase == PHASE_OPEN ? cp_ids_push(&m->ids, m->think_open, err)
                                    : push_text(m, BLANK, err);
    c->phase++;
    *turn = (cp_turn){.kind = CP_TURN_APPEND, .ids = m->ids.ids, .n = m->ids.n};
    return status;
}

static void count_time(cp_masks *m, uint64_t start) {
    double ms = cp_clock_ms_since(start);
    m->stats.total_ms += ms;
    m->stats.worst_ms = ms > m->stats.worst_ms ? ms : m->stats.worst_ms;
}

cp_status cp_constraint_turn(cp_constraint *c, cp_masks *m, size_t budget, cp_turn *turn,
                             cp_error *err) {
    uint64_t start = cp_clock_ns();
    cp_status status = CP_OK;
    *turn = (cp_turn){.kind = CP_TURN_END};
    if (c->phase < PHASE_JSON)
        status = thought_turn(c, m, budget, turn, err);
    else if (!cp_constraint_is_complete(c))
        status = json_turn(c, m, budget, turn, err);
    count_time(m, start);
    return status;
}

/* ---- tokens that were drawn -------------------------------------------------------------------
 */

/* The token's bytes are text, not a control token's name. */
static bool is_ordinary(const cp_masks *m, int32_t id, cp_str bytes) {
    uint32_t node = bytes.n > 0 ? find_path(m, bytes) : UINT32_MAX;
    return node != UINT32_MAX && m->trie.all.nodes[node].id == id;
}

static cp_status accept_json(cp_constraint *c, cp_masks *m, int32_t id, size_t budget,
                             cp_accept *result, cp_error *err) {
    cp_constraint next = *c;
    cp_str bytes = cp_tokenizer_id_bytes(m->tok, id);
    size_t cost;
    if (cp_masks_is_stop(m, id)) {
        *result = cp_json_may_end(c->schema, &c->place) ? CP_ACCEPT_OK : CP_ACCEPT_ILLEGAL;
        if (*result == CP_ACCEPT_OK)
            c->phase = PHASE_DONE;
        return CP_OK;
    }
    *result = CP_ACCEPT_ILLEGAL;
    if (!is_ordinary(m, id, bytes) || !cp_json_take(c->schema, &next.place, bytes))
        return CP_OK;
    cp_status status = closing_cost(m, &next, budget + 1, &cost, err);
    if (status != CP_OK)
        return status;
    *result = cost > budget ? CP_ACCEPT_TOO_LONG : CP_ACCEPT_OK;
    if (*result == CP_ACCEPT_OK)
        *c = next;
    return CP_OK;
}

cp_status cp_constraint_accept(cp_constraint *c, cp_masks *m, int32_t id, size_t budget,
                               cp_accept *result, cp_error *err) {
    uint64_t start = cp_clock_ns();
    cp_status status = CP_OK;
    *result = CP_ACCEPT_ILLEGAL;
    if (c->phase == PHASE_THOUGHT && id >= 0 && (size_t)id < m->vocab_size &&
        cp_bit_get(m->thought, id)) {
        *result = CP_ACCEPT_OK;
        if (id == m->think_close)
            c->phase = PHASE_BLANK;
    } else if (c->phase == PHASE_JSON) {
        status = accept_json(c, m, id, budget, result, err);
    }
    count_time(m, start);
    return status;
}
