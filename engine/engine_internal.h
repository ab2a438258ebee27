/* What the engine's own files know of each other: the insides of an engine and a session.
 *
 * Only engine.c, session.c, step.c, forward.c and attention.c include this. */
#ifndef CP_ENGINE_ENGINE_INTERNAL_H
#define CP_ENGINE_ENGINE_INTERNAL_H

#include "engine/engine.h"
#include "engine/kv_cache.h"
#include "engine/product.h"
#include "engine/workspace.h"

struct cp_engine {
    cp_model_config config;
    cp_sampling sampling; /* generation_config.json over our defaults */
    cp_weights weights;
    const cp_kernels *kernels;
    const cp_mix_kernels *mix;
    cp_kv kv; /* never AUTO */
    cp_threads *threads;
    cp_workspace workspace;
    float *tiles; /* [threads, CP_PRODUCT_TILE_FLOATS]; NULL when all matrices are quantized */
    double *frequencies; /* [head_dim / 2]: RoPE's angle per position */
};

struct cp_session {
    cp_engine *engine;
    size_t max_tokens, n_tokens;
    cp_kv_cache cache;
    float *logits; /* [vocab] of the last token */
    float *hidden; /* [hidden] of the last token after the final norm */

    /* Attention's scratch, for each thread: the queries of one item and their scores. */
    float *gathered;      /* [threads, 2, CP_ATTENTION_ROWS, group, head_dim]: queries, outputs */
    int8_t *query_values; /* [threads, CP_ATTENTION_ROWS * group, head_dim padded] */
    float *query_scales;  /* [threads, CP_ATTENTION_ROWS * group, groups] */
    int32_t *query_sums;
    float *scores; /* [threads, CP_ATTENTION_ROWS * group, max_tokens] */
};

/* Runs the workspace's rows through the layers: leaves x, and the caches with the rows in them. */
void cp_forward_step(cp_engine *engine, const cp_eval_hooks *hooks);
/* Final norm and head for rows [row, row + n) of x, n <= CP_LOGITS_BLOCK, into final and logits. */
void cp_forward_head(cp_engine *engine, size_t row, size_t n, const cp_eval_hooks *hooks);

/* Causal attention of each row's queries over its own session's cache: heads from q. (Vaswani et
 * al. 2017; grouped queries: Ainslie et al. 2023) */
void cp_attention_run(cp_engine *engine, size_t layer);

#endif
