/* Matrix products over stored weights, shared among the threads.
 *
 * Matrices with the same input (q, k and v; gate and up) are computed as one job. Few tokens are
 * products with a vector, which read each weight once; many tokens widen the weights to float32, a
 * tile that stays in the cache at a time, and multiply through OpenBLAS (one thread of it for each
 * of ours). Quantized matrices go to the kernels as they are, any number of tokens. */
#ifndef CP_ENGINE_PRODUCT_H
#define CP_ENGINE_PRODUCT_H

#include "engine/kernels/kernels.h"
#include "engine/threads.h"
#include "engine/weights.h"

/* out[t * stride + r] = row r of w times token t's input. */
typedef struct cp_product {
    const cp_matrix *w;
    float *out;
    size_t stride;
} cp_product;

#define CP_PRODUCTS_MAX 3
/* Floats of scratch for each thread. */
#define CP_PRODUCT_TILE_FLOATS ((size_t)256 << 10)

/* What products need beside their operands. */
typedef struct cp_product_context {
    cp_threads *threads;
    const cp_kernels *kernels;
    float *tiles; /* [threads, CP_PRODUCT_TILE_FLOATS], for matrices that are not quantized */
    cp_activations
        quantized; /* room for the tokens, for those that are; n_super is set by the product */
} cp_product_context;

/* x is [n_tokens, cols], cols the same for all n products, at most CP_PRODUCT_TILE_FLOATS
 * (cp_config_read bounds them). Quantized matrices see x quantized: a token's outputs depend on
 * that token alone. */
void cp_products_run(const cp_product_context *context, const cp_product *products, size_t n,
                     const float *x, size_t n_tokens);

/* Keeps OpenBLAS from starting threads of its own; called once before the first product. */
void cp_product_init(void);

#endif
