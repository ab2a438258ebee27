#include "engine/kv_pool.h"

#include "base/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAX_BLOCKS ((size_t)1 << 24)
#define N_OWNERS   256
#define MAX_LOOKS  4096 /* blocks that one call of expire looks at */
#define MAX_CLEARS 64   /* and clears: some 5 MB each with a large model */
#define NONE       CP_KV_NO_BLOCK

typedef struct block {
    uint32_t n_holders;
    uint32_t next;         /* in its bucket, or of the free ones */
    uint32_t newer, older; /* among those that nobody holds */
    uint32_t n_ids;        /* 0: not published */
    bool is_used;          /* something may stand in its memory */
    uint64_t dropped_s;    /* when its last holder dropped it */
    int32_t ids[CP_KV_BLOCK];
    uint64_t parent;  /* the serial of the place it stands behind */
    cp_kv_link place; /* behind it */
    uint64_t bucket_key;
} block;

typedef struct owner {
    char name[CP_KV_OWNER_BYTES + 1];
    cp_kv_link root;
    uint64_t used;
} owner;

struct cp_kv_pool {
    unsigned char *memory;
    size_t block_bytes, n_blocks, n_buckets; /* a power of two */
    block *blocks;
    uint32_t *buckets; /* by the key of the place behind which blocks stand */
    uint32_t free, newest, oldest;
    size_t n_held, n_cached, n_left;
    uint64_t n_evicted, n_expired, last_serial, clock;
    uint64_t now_s;
    size_t next_look;
    owner owners[N_OWNERS];
};

cp_status cp_kv_pool_create(size_t block_bytes, size_t n_blocks, cp_kv_pool **out, cp_error *err) {
    size_t bytes;
    *out = NULL;
    if (n_blocks == 0 || n_blocks > MAX_BLOCKS || !cp_size_mul(block_bytes, n_blocks, &bytes))
        return cp_error_set(err, CP_ERR_LIMIT,
                            "a KV cache of %zu blocks of %zu bytes, expected 1 to %zu blocks that "
                            "fit in memory",
                            n_blocks, block_bytes, MAX_BLOCKS);
    cp_kv_pool *p = calloc(1, sizeof *p);
    if (!p)
        return cp_error_no_memory(err, "KV cache");
    p->block_bytes = block_bytes;
    p->n_blocks = n_blocks;
    p->n_buckets = 16;
    while (p->n_buckets < 2 * n_blocks)
        p->n_buckets *= 2;
    p->memory = cp_pages_alloc(bytes);
    p->blocks = calloc(n_blocks, sizeof *p->blocks);
    p->buckets = malloc(p->n_buckets * sizeof *p->buckets);
    if (!p->memory || !p->blocks || !p->buckets) {
        cp_kv_pool_free(p);
        return cp_error_no_memory(err, "KV cache");
    }
    cp_pages_want_large(p->memory, bytes);
    memset(p->buckets, 0xff, p->n_buckets * sizeof *p->buckets);
    p->newest = p->oldest = p->free = NONE;
    for (size_t i = n_blocks; i-- > 0; p->free = (uint32_t)i)
        p->blocks[i].next = p->free;
    *out = p;
    return CP_OK;
}

void cp_kv_pool_free(cp_kv_pool *p) {
    if (!p)
        return;
    cp_pages_free(p->memory, p->block_bytes * p->n_blocks);
    free(p->blocks);
    free(p->buckets);
    free(p);
}

unsigned char *cp_kv_pool_memory(const cp_kv_pool *p, cp_kv_block_id id) {
    return p->memory + (size_t)id * p->block_bytes;
}

/* ---- the kept ones, in the order in which they were dropped ---------------------------------- */

static void keep(cp_kv_pool *p, uint32_t id) {
    block *b = &p->blocks[id];
    b->older = p->newest;
    b->newer = NONE;
    *(p->newest == NONE ? &p->oldest : &p->blocks[p->newest].newer) = id;
    p->newest = id;
    p->n_cached++;
}

static void unkeep(cp_kv_pool *p, uint32_t id) {
    block *b = &p->blocks[id];
    *(b->older == NONE ? &p->oldest : &p->blocks[b->older].newer) = b->newer;
    *(b->newer == NONE ? &p->newest : &p->blocks[b->newer].older) = b->older;
    p->n_cached--;
}

/* ---- holding --------------------------------------------------------------------------------- */

static uint32_t *bucket_of(const cp_kv_pool *p, uint64_t key) {
    return &p->buckets[key & (p->n_buckets - 1)];
}

/* The block cannot be found any more. */
static void unpublish(cp_kv_pool *p, uint32_t id) {
    block *b = &p->blocks[id];
    uint32_t *at = bucket_of(p, b->bucket_key);
    while (*at != id)
        at = &p->blocks[*at].next;
    *at = b->next;
    b->n_ids = 0;
}

cp_kv_block_id cp_kv_pool_take(cp_kv_pool *p) {
    uint32_t id = p->free;
    if (id != NONE) {
        p->free = p->blocks[id].next;
    } else if (p->oldest != NONE) {
        id = p->oldest;
        unkeep(p, id);
        unpublish(p, id);
        p->n_evicted++;
    } else {
        return NONE;
    }
    block *b = &p->blocks[id];
    p->n_left -= b->is_used;
    b->is_used = true;
    b->n_holders = 1;
    p->n_held++;
    return id;
}

void cp_kv_pool_hold(cp_kv_pool *p, cp_kv_block_id id) {
    if (p->blocks[id].n_holders++ > 0)
        return;
    unkeep(p, id);
    p->n_left--;
    p->n_held++;
}

static void set_free(cp_kv_pool *p, uint32_t id) {
    p->blocks[id].next = p->free;
    p->free = id;
}

void cp_kv_pool_drop(cp_kv_pool *p, cp_kv_block_id id) {
    block *b = &p->blocks[id];
    if (--b->n_holders > 0)
        return;
    p->n_held--;
    p->n_left++;
    b->dropped_s = p->now_s;
    if (b->n_ids > 0)
        keep(p, id);
    else
        set_free(p, id);
}

/* Nothing of it is left. */
static void forget(cp_kv_pool *p, uint32_t id) {
    if (p->blocks[id].n_ids > 0) {
        unkeep(p, id);
        unpublish(p, id);
        set_free(p, id);
        p->n_expired++;
    }
    memset(p->blocks[id].ids, 0, sizeof p->blocks[id].ids);
    cp_pages_clear(cp_kv_pool_memory(p, id), p->block_bytes);
    p->blocks[id].is_used = false;
    p->n_left--;
}

void cp_kv_pool_expire(cp_kv_pool *p, uint64_t now_s, uint64_t ttl_s) {
    size_t n_looks = p->n_blocks < MAX_LOOKS ? p->n_blocks : MAX_LOOKS, n_clears = MAX_CLEARS;
    p->now_s = now_s;
    for (; n_looks > 0 && n_clears > 0 && p->n_left > 0; n_looks--) {
        uint32_t id = (uint32_t)p->next_look;
        const block *b = &p->blocks[id];
        p->next_look = (p->next_look + 1) % p->n_blocks;
        if (b->n_holders > 0 || !b->is_used || now_s - b->dropped_s < ttl_s)
            continue;
        forget(p, id);
        n_clears--;
    }
}

int cp_kv_pool_is_private(const cp_kv_pool *p, cp_kv_block_id id) {
    return p->blocks[id].n_holders == 1 && p->blocks[id].n_ids == 0;
}

/* ---- chains ---------------------------------------------------------------------------------- */

static cp_kv_link new_place(cp_kv_pool *p, uint64_t key) {
    return (cp_kv_link){++p->last_serial, key};
}

/* The owner's entry, which may take the place of the one that was not used for longest: what hung
 * on that root is not found again. */
cp_kv_link cp_kv_pool_root(cp_kv_pool *p, const char *name) {
    size_t n = strlen(name);
    if (n > CP_KV_OWNER_BYTES)
        return new_place(p, 0);
    owner *least = &p->owners[0];
    for (owner *o = p->owners; o < p->owners + N_OWNERS; o++) {
        if (o->root.serial && strcmp(o->name, name) == 0) {
            o->used = ++p->clock;
            return o->root;
        }
        if (o->used < least->used)
            least = o;
    }
    memcpy(least->name, name, n + 1);
    least->root = new_place(p, XXH3_64bits(name, n));
    least->used = ++p->clock;
    return least->root;
}

cp_kv_link cp_kv_pool_publish(cp_kv_pool *p, cp_kv_link at, const int32_t *ids, size_t n,
                              cp_kv_block_id id) {
    size_t same;
    cp_kv_link next;
    cp_kv_block_id known = cp_kv_pool_find(p, at, ids, n, &same, &next);
    if (known != NONE && same == n && (n < CP_KV_BLOCK || p->blocks[known].n_ids == n))
        return next; /* found as well there */
    block *b = &p->blocks[id];
    uint32_t *bucket = bucket_of(p, at.key);
    memcpy(b->ids, ids, n * sizeof *ids);
    b->n_ids = (uint32_t)n;
    b->parent = at.serial;
    b->bucket_key = at.key;
    b->place = new_place(p, XXH3_64bits_withSeed(ids, n * sizeof *ids, at.key));
    b->next = *bucket;
    *bucket = id;
    return b->place;
}

static size_t common(const block *b, const int32_t *ids, size_t n) {
    size_t same = 0;
    while (same < n && same < b->n_ids && b->ids[same] == ids[same])
        same++;
    return same;
}

cp_kv_block_id cp_kv_pool_find(cp_kv_pool *p, cp_kv_link at, const int32_t *ids, size_t n,
                               size_t *n_same, cp_kv_link *next) {
    uint32_t best = NONE;
    *n_same = 0;
    *next = (cp_kv_link){0};
    for (uint32_t id = *bucket_of(p, at.key); id != NONE; id = p->blocks[id].next) {
        const block *b = &p->blocks[id];
        size_t same = b->parent == at.serial ? common(b, ids, n) : 0;
        if (same > *n_same || (same > 0 && same == *n_same && same == n && b->n_ids == n)) {
            best = id;
            *n_same = same;
            *next = b->place;
        }
    }
    return best;
}

cp_kv_pool_stats cp_kv_pool_get_stats(const cp_kv_pool *p) {
    return (cp_kv_pool_stats){
        .block_bytes = p->block_bytes,
        .n_blocks = p->n_blocks,
        .n_held = p->n_held,
        .n_cached = p->n_cached,
        .n_left = p->n_left,
        .n_evicted = p->n_evicted,
        .n_expired = p->n_expired,
    };
}
