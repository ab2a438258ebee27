/* A model's weights by their place in the network, checked against the config.
 *
 * Matrices stay where they are in the mapped files, as stored; the small norm vectors are copied to
 * float32. Borrowed by every session; immutable after open. */
#ifndef CP_ENGINE_WEIGHTS_H
#define CP_ENGINE_WEIGHTS_H

#include "engine/checkpoint.h"
#include "engine/config.h"
#include "engine/kernels/kernels.h"

/* y = W x. Row-major in a float type, or in the tiles of quant.h when dtype is U8. */
typedef struct cp_matrix {
    const void *data; /* borrowed, any alignment */
    cp_dtype dtype;
    cp_quant quant; /* when dtype is U8 */
    size_t rows, cols;
} cp_matrix;

/* Row `row` to float32, out [cols]: embedding lookups. */
void cp_matrix_widen_row(const cp_matrix *w, const cp_kernels *kernels, size_t row, float *out);

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

/* Maps DIR's weights; a missing tensor, a wrong shape or type names the tensor.
 */
cp_status cp_weights_open(const char *dir, const cp_model_config *config, cp_weights *out,
                          cp_error *err) CP_MUST_CHECK;
/* "bf16", "int8", "int4-mixed", ...: what the layers' matrices and the embedding are stored as. */
const char *cp_weights_level(const cp_weights *weights, size_t n_layers);
void cp_weights_close(cp_weights *weights);

#endif
