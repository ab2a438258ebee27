/* Keys and values of a sequence, in blocks of CP_KV_BLOCK positions, and the attention they give.
 *
 * A block holds its positions' keys and values for all layers and heads. They are kept as float32
 * or half precision, positions in order (a key is a row of head_dim values), or as int8 with a
 * scale for each group of 32 values: keys then lie in the tiles of quant.h, where a row is a
 * position, so that scores are a quantized product; values lie in order. What a position holds
 * depends on the tokens up to it alone, never on how they were grouped into steps: so a block can
 * be shared by sequences that begin alike. Who owns a block is kv_pool.h's matter. */
#ifndef CP_ENGINE_KV_CACHE_H
#define CP_ENGINE_KV_CACHE_H

#include "engine/config.h"
#include "engine/engine.h"
#include "engine/kernels/kernels.h"
#include "engine/kernels/mix_kernels.h"
#include "engine/kv_pool.h"

typedef struct cp_kv_layout {
    cp_kv kind; /* F32, F16 or INT8 */
    size_t n_layers, n_kv_heads, head_dim;
    size_t key_bytes, value_bytes; /* of one kv head of one layer of a block */
    size_t block_bytes;
} cp_kv_layout;

void cp_kv_layout_make(const cp_model_config *config, cp_kv kind, cp_kv_layout *out);

/* Puts the key and value [head_dim] of one kv head into place `slot` (0..CP_KV_BLOCK) of a block.
 */
void cp_kv_store(const cp_kv_layout *layout, const cp_kernels *kernels, const cp_mix_kernels *mix,
                 unsigned char *block, size_t layer, size_t head, size_t slot, const float *key,
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
 * token r sees positions 0..first_n + r, which lie in `blocks` in order. q and out are [n_rows,
 * group, head_dim]. For each query out = softmax(q K / sqrt(head_dim)) V; its bits do not depend on
 * what it was computed with. (Paged: Kwon et al. 2023) */
void cp_kv_attend(const cp_kv_layout *layout, const cp_kernels *kernels, const cp_mix_kernels *mix,
                  unsigned char *const *blocks, size_t layer, size_t head, size_t first_n,
                  size_t n_rows, size_t group, const float *q, const cp_attention_scratch *scratch,
                  float *out);

#endif
