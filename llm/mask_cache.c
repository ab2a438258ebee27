#include "llm/mask_cache.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MIN_SLOTS 8
#define MAX_SLOTS (1u << 20)

static size_t slot_bytes(size_t n_words) {
    return sizeof(cp_mask_slot) + n_words * sizeof(uint64_t);
}

cp_status cp_mask_cache_init(cp_mask_cache *c, size_t n_words, size_t max_bytes, cp_error *err) {
    size_t n = max_bytes / slot_bytes(n_words);
    n = n < MIN_SLOTS ? MIN_SLOTS : n > MAX_SLOTS ? MAX_SLOTS : n;
    *c = (cp_mask_cache){.n_words = n_words,
                         .n_slots = (uint32_t)n,
                         .newest = CP_MASK_NO_SLOT,
                         .oldest = CP_MASK_NO_SLOT};
    for (c->n_buckets = 16; c->n_buckets < 2 * n;)
        c->n_buckets *= 2;
    c->buckets = malloc(c->n_buckets * sizeof *c->buckets);
    c->slots = cp_pages_alloc(n * sizeof *c->slots);
    c->masks = cp_pages_alloc(n * n_words * sizeof *c->masks);
    if (!c->buckets || !c->slots || !c->masks) {
        cp_mask_cache_deinit(c);
        return cp_error_no_memory(err, "token masks");
    }
    memset(c->buckets, 0xff, c->n_buckets * sizeof *c->buckets);
    return CP_OK;
}

void cp_mask_cache_deinit(cp_mask_cache *c) {
    free(c->buckets);
    if (c->slots)
        cp_pages_free(c->slots, c->n_slots * sizeof *c->slots);
    if (c->masks)
        cp_pages_free(c->masks, c->n_slots * c->n_words * sizeof *c->masks);
    *c = (cp_mask_cache){0};
}

/* FNV-1a; a chain is compared key by key, so a bad hash costs time only. */
static uint32_t hash_key(const unsigned char *key, size_t n) {
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ key[i]) * 16777619u;
    return hash ^ hash >> 15;
}

static void unlink_use(cp_mask_cache *c, uint32_t slot) {
    cp_mask_slot *s = &c->slots[slot];
    if (s->newer == CP_MASK_NO_SLOT)
        c->newest = s->older;
    else
        c->slots[s->newer].older = s->older;
    if (s->older == CP_MASK_NO_SLOT)
        c->oldest = s->newer;
    else
        c->slots[s->older].newer = s->newer;
}

static void make_newest(cp_mask_cache *c, uint32_t slot) {
    cp_mask_slot *s = &c->slots[slot];
    s->newer = CP_MASK_NO_SLOT;
    s->older = c->newest;
    if (c->newest == CP_MASK_NO_SLOT)
        c->oldest = slot;
    else
        c->slots[c->newest].newer = slot;
    c->newest = slot;
}

static void unlink_chain(cp_mask_cache *c, uint32_t slot) {
    uint32_t *at = &c->buckets[c->slots[slot].hash & (c->n_buckets - 1)];
    while (*at != slot)
        at = &c->slots[*at].chain;
    *at = c->slots[slot].chain;
}

/* A slot without a key, out of all lists. */
static uint32_t free_slot(cp_mask_cache *c) {
    if (c->n_used < c->n_slots)
        return c->n_used++;
    uint32_t slot = c->oldest;
    unlink_use(c, slot);
    unlink_chain(c, slot);
    return slot;
}

uint32_t cp_mask_cache_slot(cp_mask_cache *c, const unsigned char *key, size_t n_key, bool *found) {
    assert(n_key <= CP_MASK_KEY_BYTES);
    uint32_t hash = hash_key(key, n_key), *bucket = &c->buckets[hash & (c->n_buckets - 1)];
    for (uint32_t i = *bucket; i != CP_MASK_NO_SLOT; i = c->slots[i].chain) {
        const cp_mask_slot *s = &c->slots[i];
        if (s->hash != hash || s->n_key != n_key || memcmp(s->key, key, n_key) != 0)
            continue;
        unlink_use(c, i);
        make_newest(c, i);
        *found = true;
        return i;
    }
    uint32_t slot = free_slot(c);
    cp_mask_slot *s = &c->slots[slot];
    s->hash = hash;
    s->n_key = (uint32_t)n_key;
    memcpy(s->key, key, n_key);
    s->chain = *bucket; /* after free_slot, which may have changed the bucket */
    *bucket = slot;
    make_newest(c, slot);
    *found = false;
    return slot;
}

size_t cp_mask_cache_bytes(const cp_mask_cache *c) {
    return c->n_slots * slot_bytes(c->n_words) + c->n_buckets * sizeof *c->buckets;
}
