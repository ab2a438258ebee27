/* What the engine's own files know of each other: the insides of an engine and a session.
 *
 * Only engine.c, session.c, forward.c and attention.c include this. */
#ifndef CP_ENGINE_ENGINE_INTERNAL_H
#define CP_ENGINE_ENGINE_INTERNAL_H

#include "engine/engine.h"
#include "engine/product.h"

struct cp_engine {
    cp_model_config config;
    cp_sampling sampling; /* generation_config.json over our defaults */
    cp_weights weights;
    const cp_kernels *kernels;
    cp_threads *threads;
    float *tiles;        /* [threads, CP_PRODUCT_TILE_FLOATS] */
    double *frequencies; /* [head_dim / 2]: RoPE's angle per position */
};

/* Logits are computed for this many positions at a time when all are asked for. */
#define CP_LOGITS_BLOCK 16

struct cp_session {
    cp_engine *engine;
    size_t max_tokens, n_tokens;
    size_t step_cap; /* most tokens a step: CP_STEP_MAX_TOKENS, or max_tokens if fewer */
    float *k, *v;    /* [n_layers, n_kv_heads, max_tokens, head_dim] */

    /* A step's values; T is step_cap. */
    float *x;             /* [T, hidden]: the residual stream */
    float *normed;        /* [T, hidden] */
    float *q;             /* [T, n_heads, head_dim] */
    float *k_new, *v_new; /* [T, n_kv_heads, head_dim] */
    float *heads;         /* [T, n_heads, head_dim]: attention's output */
    float *projected;     /* [T, hidden] */
    float *gate, *up;     /* [T, ffn] */
    float *cosine, *sine; /* [T, head_dim / 2] */
    float *scores;        /* [threads, heads a kv head, max_tokens] */
    float *final;         /* [CP_LOGITS_BLOCK, hidden] after the final norm */
    float *logits;        /* [CP_LOGITS_BLOCK, vocab] */
    size_t last_row;      /* of the last token in `final` and `logits` */

    void *memory; /* all of the above */
    size_t memory_bytes;
};

/* Runs n <= step_cap tokens through the layers: leaves x, and the cache with them in it. */
void cp_forward_step(cp_session *s, const int32_t *ids, size_t n, const cp_eval_hooks *hooks);
/* Final norm and head for rows [row, row + n) of x, n <= CP_LOGITS_BLOCK, into final and logits. */
void cp_forward_head(cp_session *s, size_t row, size_t n, const cp_eval_hooks *hooks);

/* Causal attention of the step's queries over the layer's cache: heads from q. (Vaswani et al.
 * 2017; grouped queries: Ainslie et al. 2023) */
void cp_attention_run(cp_session *s, size_t layer, size_t n);

#endif
