/* The memory of keys and values: a fixed number of blocks, counted by who holds them, and found
 * again by the tokens they were computed from.
 *
 * A block that its last holder drops is kept for sequences that begin alike, if it was published,
 * until its memory is needed (the one that was dropped longest ago goes first) or it has been left
 * alone too long (cp_kv_pool_expire; the caller tells the time). Published blocks
 * form chains: a block continues exactly one other, or an owner's root. They are looked up by a
 * chained xxHash (of the tokens before a block) and then compared: the chain by serial numbers that
 * are never used twice, the tokens one by one. So a hit is never a coincidence, and nothing is
 * found from another owner's root. One thread uses a pool. */
#ifndef CP_ENGINE_KV_POOL_H
#define CP_ENGINE_KV_POOL_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define CP_KV_BLOCK 32 /* positions of a block; whole tiles of quant.h */

static inline size_t cp_kv_blocks(size_t n_tokens) {
    return n_tokens / CP_KV_BLOCK + (n_tokens % CP_KV_BLOCK != 0);
}

typedef struct cp_kv_pool cp_kv_pool;
typedef uint32_t cp_kv_block_id;
#define CP_KV_NO_BLOCK UINT32_MAX

#define CP_KV_OWNER_BYTES 64 /* longest owner's name; longer ones share nothing */

/* Pages that no token has reached yet cost no memory. Blocks hold at most 2^32 - 2 bytes' worth of
 * numbers; n_blocks is 1 to 2^24. */
cp_status cp_kv_pool_create(size_t block_bytes, size_t n_blocks, cp_kv_pool **out,
                            cp_error *err) CP_MUST_CHECK;
void cp_kv_pool_free(cp_kv_pool *pool);

unsigned char *cp_kv_pool_memory(const cp_kv_pool *pool, cp_kv_block_id block);
/* A block for the caller alone (contents are whatever they were); CP_KV_NO_BLOCK when every block
 * is held. */
cp_kv_block_id cp_kv_pool_take(cp_kv_pool *pool) CP_MUST_CHECK;
void cp_kv_pool_hold(cp_kv_pool *pool, cp_kv_block_id block);
void cp_kv_pool_drop(cp_kv_pool *pool, cp_kv_block_id block);
/* What nobody has held for `ttl_s` seconds is forgotten: not found any more, and its memory is zero
 * and back with the kernel. `now_s` counts from the pool's making and never goes back; what is
 * dropped counts as dropped at the last call's time. Each call looks at a part of a large pool and
 * clears a bounded number of blocks: to be called about once a second. */
void cp_kv_pool_expire(cp_kv_pool *pool, uint64_t now_s, uint64_t ttl_s);
/* Nobody else holds or can find this block: its holder may write into it. */
int cp_kv_pool_is_private(const cp_kv_pool *pool, cp_kv_block_id block);

/* A place in a chain: behind a published block, or at a root. */
typedef struct cp_kv_link {
    uint64_t serial, key;
} cp_kv_link;

/* Where the owner's sequences begin. */
cp_kv_link cp_kv_pool_root(cp_kv_pool *pool, const char *owner);
/* `block` holds the n tokens (1 to CP_KV_BLOCK) that follow `at`. Returns the place behind it; when
 * the same tokens are already there, the place behind that block, and this one stays private. */
cp_kv_link cp_kv_pool_publish(cp_kv_pool *pool, cp_kv_link at, const int32_t *ids, size_t n,
                              cp_kv_block_id block);
/* The block behind `at` that begins with the most of ids [n], and how many; CP_KV_NO_BLOCK and 0
 * when none begins with the first. Behind a full match, *next is the place after it. */
cp_kv_block_id cp_kv_pool_find(cp_kv_pool *pool, cp_kv_link at, const int32_t *ids, size_t n,
                               size_t *n_same, cp_kv_link *next);

typedef struct cp_kv_pool_stats {
    size_t block_bytes, n_blocks;
    size_t n_held;   /* by sequences */
    size_t n_cached; /* kept for later, free to be taken */
    size_t n_left;   /* held by nobody and not cleared: the cached ones, and what was never found */
    uint64_t n_evicted, n_expired; /* cached ones that went: for their memory, or for their age */
} cp_kv_pool_stats;
cp_kv_pool_stats cp_kv_pool_get_stats(const cp_kv_pool *pool);

#endif
