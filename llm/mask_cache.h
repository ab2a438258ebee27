/* The masks found so far, by the place they belong to: a fixed number of slots, least recently used
 * first out.
 *
 * A key is a short run of bytes, compared whole. All memory is reserved when the cache is made and
 * touched as it fills. One thread. */
#ifndef CP_LLM_MASK_CACHE_H
#define CP_LLM_MASK_CACHE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CP_MASK_KEY_BYTES 448
#define CP_MASK_NO_SLOT   UINT32_MAX

typedef struct cp_mask_slot {
    uint32_t hash, n_key;
    uint32_t chain;        /* the next slot of its bucket */
    uint32_t newer, older; /* in the order of use */
    bool is_empty;         /* a mask without any token */
    unsigned char key[CP_MASK_KEY_BYTES];
} cp_mask_slot;

typedef struct cp_mask_cache {
    size_t n_words; /* of a mask */
    uint32_t n_slots, n_used, n_buckets;
    uint32_t newest, oldest;
    uint32_t *buckets;   /* first slot, or CP_MASK_NO_SLOT */
    cp_mask_slot *slots; /* [n_slots], pages */
    uint64_t *masks;     /* [n_slots][n_words], pages */
} cp_mask_cache;

/* At least 8 slots, whatever max_bytes says. */
cp_status cp_mask_cache_init(cp_mask_cache *cache, size_t n_words, size_t max_bytes,
                             cp_error *err) CP_MUST_CHECK;
void cp_mask_cache_deinit(cp_mask_cache *cache);

/* The slot of the key, now the newest. When *found is false it is a fresh one, whose mask (not
 * zeroed) and is_empty the caller fills. */
uint32_t cp_mask_cache_slot(cp_mask_cache *cache, const unsigned char *key, size_t n_key,
                            bool *found);
static inline uint64_t *cp_mask_cache_mask(cp_mask_cache *cache, uint32_t slot) {
    return cache->masks + slot * cache->n_words;
}
size_t cp_mask_cache_bytes(const cp_mask_cache *cache);

#endif
