/* NEON's kernels on quantized weights, for the tables in neon.c (kernels.h says what they compute).
 * The products exist twice: for every 64-bit ARM, and with the dot product extension (ARMv8.2, most
 * processors since 2018), which neon.c looks for at run time. */
#ifndef CP_ENGINE_KERNELS_NEON_H
#define CP_ENGINE_KERNELS_NEON_H

#include "engine/kernels/kernels.h"

void cp_neon_quantize(const float *x, size_t n, const cp_activations *out);

void cp_neon_product_int8(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                          float *out, size_t stride);
void cp_neon_product_int5(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                          float *out, size_t stride);
void cp_neon_product_int4(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                          float *out, size_t stride);

void cp_neon_dot_int8(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                      float *out, size_t stride);
void cp_neon_dot_int5(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                      float *out, size_t stride);
void cp_neon_dot_int4(const void *w, size_t rows, const cp_activations *x, size_t n_tokens,
                      float *out, size_t stride);

#endif
