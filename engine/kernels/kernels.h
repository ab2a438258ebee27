/* The kernels: one table of function pointers for each instruction set.
 *
 * scalar.c is the definition; an instruction set's file starts from the table below it and replaces
 * what it does faster, with the same bits: a test compares every entry with scalar. A table is held
 * by the engine, never global, so a test can hold two. Kernels allocate nothing, know no threads
 * and read their inputs at any alignment.
 *
 * Order of a sum over n values (dot, rms_norm, softmax): 16 partial sums, value i going to sum i
 * mod 16 in ascending order with one fused multiply-add each, then the tree s[i] += s[i + 8], 4,
 * 2, 1. */
#ifndef CP_ENGINE_KERNELS_KERNELS_H
#define CP_ENGINE_KERNELS_KERNELS_H

#include "base/error.h"
#include "engine/quant.h"
#include "engine/safetensors.h"

#include <stddef.h>

typedef struct cp_kernels {
    const char *name; /* "scalar", "avx2", "avx512", "neon" */

    /* Sum of a[i] * b[i]. */
    float (*dot)(const float *a, const float *b, size_t n);
    /* y[i] = fma(a, x[i], y[i]). */
    void (*axpy)(float a, const float *x, float *y, size_t n);

    /* out[r] = dot of row r of w [rows, cols] with x [cols]; by the type of w. */
    void (*gemv[CP_N_FLOAT_DTYPES])(const void *w, size_t rows, size_t cols, const float *x,
                                    float *out);
    /* n stored values to float32, exactly. */
    void (*widen[CP_N_FLOAT_DTYPES])(const void *from, size_t n, float *out);

    /* out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i]; out may be x. (Zhang & Sennrich 2019) */
    void (*rms_norm)(const float *x, const float *weight, float eps, size_t n, float *out);
    /* Rotates the pairs (x[i], x[i + half]) by the angle of (cosine[i], sine[i]); x is [2 * half].
     */
    void (*rope)(float *x, const float *cosine, const float *sine, size_t half);
    /* x[i] = exp(x[i] - max) / sum, in place. */
    void (*softmax)(float *x, size_t n);
    /* out[i] = gate[i] / (1 + exp(-gate[i])) * up[i]; out may be gate. */
    void (*swiglu)(const float *gate, const float *up, size_t n, float *out);

    /* One token's n inputs to int8 by groups of 32, into the superblocks of `out` at its token 0
     * (the caller advances the pointers); inputs past n, up to the last superblock's end, count as
     * zero. scale = max|x| / 127, value = x * (127 / max|x|) rounded to nearest even. A group whose
     * max|x| is below 2^-100 is all zero with scale zero; one with an infinity or a NaN has values
     * zero and scale NaN, so that the fault reaches the logits instead of becoming a number. */
    void (*quantize)(const float *x, size_t n, const cp_activations *out);

    /* out[t * stride + r] for r in 0..rows and t in 0..n_tokens: row r of the tiles at w (whole
     * tiles, 16-row tile after tile, cp_quant_supers superblocks each) times token t. For each
     * output, groups in ascending order: acc = fma((float)isum, w_scale * x_scale, acc) from acc =
     * 0, isum the exact integer sum of the group, w_scale widened from half precision. Writes
     * nothing but those outputs. */
    void (*quant_product[CP_N_QUANTS])(const void *w, size_t rows, const cp_activations *x,
                                       size_t n_tokens, float *out, size_t stride);

    /* out[r] = sum of rows[r * width + i] * query[i], exactly, for r in 0..n: stored vectors with
     * one that is looked for. All of -128..127; width at most 32768, so that the sum fits. */
    void (*int8_dots)(const int8_t *rows, size_t n, size_t width, const int8_t *query,
                      int32_t *out);
} cp_kernels;

/* Row r of tiles at w, n inputs, to float32: integer x scale. (Embedding lookups; not in the table
 * because a row is little work.) */
void cp_quant_widen_row(cp_quant quant, const void *w, size_t row, size_t n, float *out);

const cp_kernels *cp_kernels_scalar(void);
#if defined(__x86_64__)
const cp_kernels *cp_kernels_avx2(void);
const cp_kernels *cp_kernels_avx512(void); /* with VNNI */
#elif defined(__aarch64__)
const cp_kernels *cp_kernels_neon(void); /* with the dot product extension where there is one */
#endif

/* The fastest table this machine runs, or the one that CAREPATH_ISA names (passed as `forced`, NULL
 * for none). A name that is unknown, or that this machine lacks, is an error: never a silent
 * fallback. */
cp_status cp_kernels_choose(const char *forced, const cp_kernels **out,
                            cp_error *err) CP_MUST_CHECK;

#endif
