/* The AVX2 kernels on quantized weights, for the table (kernels.h says what they compute). */
#ifndef CP_ENGINE_KERNELS_AVX2_QUANT_H
#define CP_ENGINE_KERNELS_AVX2_QUANT_H

#include "engine/kernels/kernels.h"

void cp_avx2_quantize(const float *x, size_t n, const cp_activations *out);
void cp_avx2_product_int8(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                          float *out, size_t stride);
void cp_avx2_product_int5(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                          float *out, size_t stride);
void cp_avx2_product_int4(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                          float *out, size_t stride);

#endif
