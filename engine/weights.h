/* A model's weights by their place in the network, checked against the config.
 *
 * Matrices stay where they are in the mapped files, as stored; the small norm vectors are copied to
 * float32. Borrowed by every session; immutable after open. */
#ifndef CP_ENGINE_WEIGHTS_H
#define CP_ENGINE_WEIGHTS_H

#include "engine/checkpoint.h"
#include "engine/config.h"

/* y = W x, row-major: row r holds the weights of output r. */
typedef struct cp_matrix {
    const void *data; /* borrowed, any alignment */
    cp_dtype dtype;
    size_t rows, cols;
} cp_matrix;

typedef struct cp_layer_weights {
    float *attn_norm, *mlp_norm;             /* [hidden_size] */
    float *q_norm, *k_norm;                  /* [head_dim]; NULL without qk_norm */
    cp_matrix q_proj, k_proj, v_proj;        /* [q_dim | kv_dim, hidden_size] */
    cp_matrix o_proj;                        /* [hidden_size, q_dim] */
    cp_matrix gate_proj, up_proj, down_proj; /* [ffn, hidden], [ffn, hidden], [hidden, ffn] */
} cp_layer_weights;

typedef struct cp_weights {
    cp_checkpoint checkpoint;
    cp_layer_weights *layers; /* [n_layers] */
    cp_matrix embedding;      /* [vocab_size, hidden_size] */
    cp_matrix head;           /* the same matrix when tied */
    float *final_norm;        /* [hidden_size] */
    float *norms;             /* owns all the vectors above */
} cp_weights;

/* Maps DIR's weights; a missing tensor, a wrong shape or a type that is no float names the tensor.
 */
cp_status cp_weights_open(const char *dir, const cp_model_config *config, cp_weights *out,
                          cp_error *err) CP_MUST_CHECK;
void cp_weights_close(cp_weights *weights);

#endif
