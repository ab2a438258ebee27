/* The buffers of one step: everything between token ids and logits, for up to CP_STEP_MAX_TOKENS
 * rows.
 *
 * A row is one token of one sequence at one position; a step may hold rows of several. The engine
 * has one workspace, allocated when it is opened and shared by all its sessions, which take turns.
 * Buffers whose lives do not overlap within a layer share memory: what is in one is gone when the
 * other has been written. */
#ifndef CP_ENGINE_WORKSPACE_H
#define CP_ENGINE_WORKSPACE_H

#include "engine/config.h"
#include "engine/engine.h"
#include "engine/kv_cache.h"

/* Logits are computed for this many rows at a time. */
#define CP_LOGITS_BLOCK 16

typedef struct cp_row {
    cp_session *session;
    size_t position;
    int32_t id;
} cp_row;

typedef struct cp_workspace {
    cp_row *rows; /* [T] of this step; T is CP_STEP_MAX_TOKENS */
    size_t n_rows;

    float *x;             /* [T, hidden]: the residual stream */
    float *normed;        /* [T, hidden]: a block's input */
    float *projected;     /* [T, hidden]: a block's output; the same memory as `normed` */
    float *cosine, *sine; /* [T, head_dim / 2] */

    /* Attention's block; the same memory as the MLP's. */
    float *q;     /* [T, n_heads, head_dim] */
    float *k, *v; /* [T, n_kv_heads, head_dim] */
    float *heads; /* [T, n_heads, head_dim]: attention's output */

    float *gate, *up; /* [T, ffn]: the MLP's block */

    float *final;  /* [CP_LOGITS_BLOCK, hidden] after the final norm */
    float *logits; /* [CP_LOGITS_BLOCK, vocab] */

    int8_t *values; /* [T, widest input]: a product's input, quantized */
    float *scales;  /* [T, widest / 32] */
    int32_t *sums;  /* [T, widest / 32] */

    void *memory; /* all of the above; a long step touches all of it, one token a row of each */
    size_t memory_bytes;
} cp_workspace;

cp_status cp_workspace_create(const cp_model_config *config, cp_workspace *out,
                              cp_error *err) CP_MUST_CHECK;
void cp_workspace_free(cp_workspace *workspace);

#endif
