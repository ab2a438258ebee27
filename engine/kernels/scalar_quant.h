/* The scalar kernels on quantized weights, for the tables (kernels.h says what they compute). */
#ifndef CP_ENGINE_KERNELS_SCALAR_QUANT_H
#define CP_ENGINE_KERNELS_SCALAR_QUANT_H

#include "engine/kernels/kernels.h"

void cp_scalar_quantize(const float *x, size_t n, const cp_activations *out);
void cp_scalar_product_int8(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                            float *out, size_t stride);
void cp_scalar_product_int5(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                            float *out, size_t stride);
void cp_scalar_product_int4(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                            float *out, size_t stride);

#endif
