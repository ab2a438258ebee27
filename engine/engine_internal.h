/* What the engine's own files know of each other: the insides of an engine and a session.
 *
 * Only engine.c, session.c, step.c, forward.c and attention.c include this. */
#ifndef CP_ENGINE_ENGINE_INTERNAL_H
#define CP_ENGINE_ENGINE_INTERNAL_H

#include "engine/engine.h"
#include "engine/kv_cache.h"
#include "engine/kv_pool.h"
#include "engine/product.h"
#include "engine/workspace.h"

/* Attention's scratch, for each thread: the queries of one item and their scores. */
typedef struct cp_attention_buffers {
    float *gathered;      /* [threads, 2, CP_ATTENTION_ROWS, group, head_dim]: queries, outputs */
    int8_t *query_values; /* [threads, CP_ATTENTION_ROWS * group, head_dim padded] */
    float *query_scales;  /* [threads, CP_ATTENTION_ROWS * group, groups] */
    int32_t *query_sums;
    float *scores;     /* [threads, CP_ATTENTION_ROWS * group, max_tokens] */
    size_t max_tokens; /* of the longest session so far */
} cp_attention_buffers;

struct cp_engine {
    cp_model_config config;
    cp_sampling sampling; /* generation_config.json over our defaults */
    cp_weights weights;
    const cp_kernels *kernels;
    const cp_mix_kernels *mix;
    cp_kv_layout kv; /* its kind is never AUTO */
    cp_threads *threads;
    cp_workspace workspace;
    cp_attention_buffers attention;
    float *tiles; /* [threads, CP_PRODUCT_TILE_FLOATS]; NULL when all matrices are quantized */
    double *frequencies; /* [head_dim / 2]: RoPE's angle per position */
};

struct cp_session {
    cp_engine *engine;
    size_t max_tokens, n_tokens;
    cp_kv_pool *pool;
    bool owns_pool;
    size_t n_blocks;        /* held; at least those of n_tokens */
    cp_kv_block_id *blocks; /* [blocks of max_tokens] */
    unsigned char **memory; /* of each */
    cp_kv_link *places;     /* [blocks + 1]: behind the first i of them; in a shared pool */
    size_t n_published;     /* the first of them that are known to the pool */
    int32_t *ids;           /* [max_tokens], in a shared pool */
    float *logits, *hidden; /* [vocab], [hidden] of the last token; with an own pool */
};

/* Blocks for the session's next n tokens, the first of which nobody else may hold. False, with the
 * sequence unchanged, when the pool has none. */
bool cp_session_make_room(cp_session *session, size_t n);
/* Scratch for sessions of this length. */
cp_status cp_attention_reserve(cp_engine *engine, size_t max_tokens, cp_error *err) CP_MUST_CHECK;
size_t cp_attention_bytes(const cp_engine *engine, size_t max_tokens);
void cp_attention_free(cp_engine *engine);

/* Runs the workspace's rows through the layers: leaves x, and the caches with the rows in them. */
void cp_forward_step(cp_engine *engine, const cp_eval_hooks *hooks);
/* Final norm alone, of n <= CP_LOGITS_BLOCK rows of x, into final. */
void cp_forward_norm(cp_engine *engine, const size_t *rows, size_t n);
/* Final norm and head for the given rows of x, n <= CP_LOGITS_BLOCK, into final and logits. */
void cp_forward_head(cp_engine *engine, const size_t *rows, size_t n, const cp_eval_hooks *hooks);

/* Causal attention of each row's queries over its own session's cache: heads from q. (Vaswani et
 * al. 2017; grouped queries: Ainslie et al. 2023) */
void cp_attention_run(cp_engine *engine, size_t layer);

#endif
