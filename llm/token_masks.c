#include "llm/token_masks.h"

#include "base/mem.h"
#include "llm/json_schema.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FORCED_BYTES                                                                           \
    ((size_t)1 << 20) /* of a shortest completion; limits of schemas keep it far                   \
                         below */

/* ---- one object -------------------------------------------------------------------------------
 */

bool cp_masks_is_stop(const cp_masks *m, int32_t id) {
    for (size_t i = 0; i < m->n_stop_ids; i++)
        if (m->stop_ids[i] == id)
            return true;
    return false;
}

/* Inside a thought everything may come but a stop token, because </think> must end the thought
 * first, and a second <think>. */
static void fill_thought(cp_masks *m) {
    size_t n = cp_tokenizer_n_ids(m->tok);
    for (size_t id = 0; id < n && id < m->vocab_size; id++)
        if (cp_tokenizer_id_bytes(m->tok, (int32_t)id).n > 0 && (int32_t)id != m->think_open &&
            !cp_masks_is_stop(m, (int32_t)id))
            cp_bit_set(m->thought, (int32_t)id);
}

static cp_status fill(cp_masks *m, const int32_t *stop_ids, size_t n_stop_ids, size_t cache_bytes,
                      cp_error *err) {
    cp_status status = cp_token_trie_build(m->tok, m->vocab_size, &m->trie, err);
    if (status == CP_OK)
        status = cp_mask_cache_init(&m->cache, m->trie.n_words,
                                    cache_bytes ? cache_bytes : CP_MASKS_CACHE_BYTES, err);
    if (status != CP_OK)
        return status;
    m->thought = calloc(m->trie.n_words, sizeof *m->thought);
    m->stop_ids = calloc(n_stop_ids ? n_stop_ids : 1, sizeof *m->stop_ids);
    if (!m->thought || !m->stop_ids)
        return cp_error_no_memory(err, "token masks");
    for (size_t i = 0; i < n_stop_ids; i++)
        if (stop_ids[i] >= 0 && (size_t)stop_ids[i] < m->vocab_size)
            m->stop_ids[m->n_stop_ids++] = stop_ids[i];
    fill_thought(m);
    return CP_OK;
}

cp_status cp_masks_create(const cp_tokenizer *tok, size_t vocab_size, const int32_t *stop_ids,
                          size_t n_stop_ids, size_t cache_bytes, cp_masks **out, cp_error *err) {
    cp_masks *m = calloc(1, sizeof *m);
    *out = NULL;
    if (!m)
        return cp_error_no_memory(err, "token masks");
    m->tok = tok;
    m->vocab_size = vocab_size;
    m->think_open = cp_tokenizer_added_id(tok, "<think>");
    m->think_close = cp_tokenizer_added_id(tok, "</think>");
    cp_strbuf_init(&m->bytes, MAX_FORCED_BYTES);
    cp_status status = fill(m, stop_ids, n_stop_ids, cache_bytes, err);
    if (status == CP_OK)
        *out = m;
    else
        cp_masks_free(m);
    return status;
}

void cp_masks_free(cp_masks *m) {
    if (!m)
        return;
    for (size_t i = 0; i < m->n_known; i++)
        free(m->known[i].identity);
    cp_token_trie_deinit(&m->trie);
    cp_mask_cache_deinit(&m->cache);
    free(m->thought);
    free(m->stop_ids);
    cp_strbuf_deinit(&m->bytes);
    cp_ids_deinit(&m->ids);
    free(m);
}

cp_masks_stats cp_masks_take_stats(cp_masks *m) {
    cp_masks_stats stats = m->stats;
    const cp_token_trie *t = &m->trie;
    stats.bytes = sizeof *m + cp_mask_cache_bytes(&m->cache) +
                  (t->all.n + t->edge.n) * sizeof(cp_trie_node) +
                  (CP_TRIE_TEXT_SETS + 2) * t->n_words * sizeof(uint64_t) +
                  t->n_long_texts * sizeof(cp_token_text);
    m->stats = (cp_masks_stats){0};
    return stats;
}

/* ---- schemas ----------------------------------------------------------------------------------
 */

static cp_known_schema *find_known(cp_masks *m, const cp_schema *schema) {
    for (size_t i = 0; i < m->n_known; i++)
        if (m->known[i].n == schema->n_identity &&
            memcmp(m->known[i].identity, schema->identity, schema->n_identity) == 0)
            return &m->known[i];
    return NULL;
}

/* Room for one more: the one that was used longest ago goes, when there is none. */
static cp_known_schema *room(cp_masks *m) {
    if (m->n_known < CP_MASKS_MAX_SCHEMAS)
        return &m->known[m->n_known++];
    cp_known_schema *oldest = &m->known[0];
    for (size_t i = 1; i < m->n_known; i++)
        if (m->known[i].last_use < oldest->last_use)
            oldest = &m->known[i];
    free(oldest->identity);
    return oldest;
}

cp_status cp_masks_serial(cp_masks *m, const cp_schema *schema, uint32_t *serial, cp_error *err) {
    cp_known_schema *known = find_known(m, schema);
    if (!known) {
        char *identity = cp_copy_bytes(schema->identity, schema->n_identity);
        if (!identity)
            return cp_error_no_memory(err, "token masks");
        known = room(m);
        *known = (cp_known_schema){identity, schema->n_identity, ++m->next_serial, 0};
    }
    known->last_use = ++m->clock;
    *serial = known->serial;
    return CP_OK;
}

/* ---- walks ------------------------------------------------------------------------------------
 */

/* Sets the bits of the tokens of `trie` that are legal at m->walk[0]. */
static void walk(cp_masks *m, const cp_schema *schema, const cp_trie *trie, uint64_t *bits) {
    const cp_trie_node *nodes = trie->nodes;
    for (size_t i = 0; i < trie->n;) {
        const cp_trie_node *node = &nodes[i];
        cp_json_place *place = &m->walk[node->depth];
        cp_json_place_copy(place, &m->walk[node->depth - 1]);
        if (!cp_json_step(schema, place, node->byte)) {
            i = node->skip;
            continue;
        }
        if (node->id >= 0)
            cp_bit_set(bits, node->id);
        i++;
    }
}

bool cp_masks_goes_on(cp_masks *m, const cp_schema *schema, const cp_json_place *after,
                      uint32_t at) {
    const cp_trie_node *nodes = m->trie.all.nodes;
    unsigned depth = nodes[at].depth;
    cp_json_place_copy(&m->walk[depth], after);
    for (uint32_t i = at + 1; i < nodes[at].skip;) {
        cp_json_place *place = &m->walk[nodes[i].depth];
        cp_json_place_copy(place, &m->walk[nodes[i].depth - 1]);
        if (!cp_json_step(schema, place, nodes[i].byte)) {
            i = nodes[i].skip;
            continue;
        }
        if (nodes[i].id >= 0)
            return true;
        i++;
    }
    return false;
}

static bool is_empty(const uint64_t *bits, size_t n_words) {
    uint64_t any = 0;
    for (size_t i = 0; i < n_words; i++)
        any |= bits[i];
    return any == 0;
}

static void build(cp_masks *m, const cp_constraint *c, uint64_t *bits) {
    uint32_t least, most;
    bool in_text = cp_json_in_text(c->schema, &c->place, &least, &most);
    if (in_text)
        cp_token_trie_texts(&m->trie, most, bits);
    else
        memset(bits, 0, m->trie.n_words * sizeof *bits);
    cp_json_place_copy(&m->walk[0], &c->place);
    walk(m, c->schema, in_text ? &m->trie.edge : &m->trie.all, bits);
    if (cp_json_may_end(c->schema, &c->place))
        for (size_t i = 0; i < m->n_stop_ids; i++)
            cp_bit_set(bits, m->stop_ids[i]);
}

const uint64_t *cp_masks_find(cp_masks *m, const cp_constraint *c) {
    unsigned char key[sizeof c->serial + CP_JSON_KEY_BYTES];
    _Static_assert(sizeof key <= CP_MASK_KEY_BYTES, "a key fits its slot");
    bool found;
    memcpy(key, &c->serial, sizeof c->serial);
    size_t n = sizeof c->serial + cp_json_place_key(c->schema, &c->place, m->trie.max_chars,
                                                    m->trie.max_elements, key + sizeof c->serial);
    uint32_t slot = cp_mask_cache_slot(&m->cache, key, n, &found);
    uint64_t *bits = cp_mask_cache_mask(&m->cache, slot);
    if (!found) {
        build(m, c, bits);
        m->cache.slots[slot].is_empty = is_empty(bits, m->trie.n_words);
    }
    m->stats.hits += found;
    m->stats.misses += !found;
    return m->cache.slots[slot].is_empty ? NULL : bits;
}
