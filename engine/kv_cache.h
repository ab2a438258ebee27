/* One sequence's keys and values, for all layers, and the attention scores they give.
 *
 * Kept as float32 or half precision, positions in order (a key is a row of head_dim values), or as
 * int8 with a scale for each group of 32 values: keys then lie in the tiles of quant.h, where a row
 * is a position, so that scores are a quantized product; values lie in order. What a position holds
 * depends on its token alone, never on how tokens were grouped into steps. Memory is pages, taken
 * as positions are reached. */
#ifndef CP_ENGINE_KV_CACHE_H
#define CP_ENGINE_KV_CACHE_H

#include "engine/config.h"
#include "engine/engine.h"
#include "engine/kernels/kernels.h"
#include "engine/kernels/mix_kernels.h"

typedef struct cp_kv_cache {
    cp_kv kind; /* F32, F16 or INT8 */
    size_t n_layers, n_kv_heads, head_dim, max_tokens;
    size_t key_bytes, value_bytes; /* of one kv head of one layer, all positions */
    unsigned char *memory;
    size_t memory_bytes;
} cp_kv_cache;

/* Bytes for max_tokens positions; an error when that does not fit in size_t. */
cp_status cp_kv_cache_bytes(const cp_model_config *config, cp_kv kind, size_t max_tokens,
                            size_t *bytes, cp_error *err) CP_MUST_CHECK;
cp_status cp_kv_cache_create(const cp_model_config *config, cp_kv kind, size_t max_tokens,
                             cp_kv_cache *out, cp_error *err) CP_MUST_CHECK;
void cp_kv_cache_free(cp_kv_cache *cache);

/* Puts the key and value [head_dim] of one position and kv head into their place. */
void cp_kv_cache_store(cp_kv_cache *cache, const cp_kernels *kernels, const cp_mix_kernels *mix,
                       size_t layer, size_t head, size_t position, const float *key,
                       const float *value);

/* Scratch of one attention item: its queries quantized (int8 cache), and their scores. */
typedef struct cp_attention_scratch {
    cp_activations queries; /* [CP_ATTENTION_ROWS * group] of head_dim */
    float *scores;          /* [CP_ATTENTION_ROWS * group, stride] */
    size_t stride;          /* at least the positions */
} cp_attention_scratch;

/* Neighbouring tokens that one item takes together, so that keys and values are read once for them.
 */
#define CP_ATTENTION_ROWS 4

/* Attention of n_rows neighbouring tokens, `group` queries [head_dim] each that share a kv head;
 * token r sees positions 0..first_n + r. q and out are [n_rows, group, head_dim]. For each query
 * out = softmax(q K / sqrt(head_dim)) V; its bits do not depend on what it was computed with. */
void cp_kv_cache_attend(const cp_kv_cache *cache, const cp_kernels *kernels,
                        const cp_mix_kernels *mix, size_t layer, size_t head, size_t first_n,
                        size_t n_rows, size_t group, const float *q,
                        const cp_attention_scratch *scratch, float *out);

#endif
