/* Float32 rows to tiles of quantized weights (engine/quant.h), scales by least squared error.
 *
 * For every group of 32 weights w the scale s is sought that makes sum c (w - s q)^2 least, where q
 * is w / s rounded and clamped and c = root mean square of the group + |w|: large weights count
 * more, which was better for the model's output than counting all alike. A set of integers q fixes
 * the best scale, <w, q> / <q, q>, and what is left of <w, w> then is <w, q>^2 / <q, q> smaller (c
 * in every product); so a few dozen scales around "the largest weight is the largest integer" are
 * tried for that number, and the winner is settled with its scale rounded to half precision, as it
 * will be used. int5 and int4 reach one further below zero than above: scales of both signs are
 * tried. The result is within 0.1% (int4, int5) and 1% (int8) of the least error there is, and
 * never worse than the plain scale's.
 *
 * Pure functions, any thread, the same bits on every machine. */
#ifndef CP_CONVERT_QUANTIZE_H
#define CP_CONVERT_QUANTIZE_H

#include "engine/quant.h"

#include <stddef.h>
#include <stdint.h>

typedef struct cp_quantized_tile {
    double error, energy; /* sum (w - s q)^2, sum w^2, all counting alike */
    /* The first row with a weight that has no quantized form: not finite, or beyond what a half
     * precision scale reaches. n_rows when all is well. */
    size_t bad_row;
} cp_quantized_tile;

/* One tile: rows[n_rows, cols] (n_rows at most 16) into cp_quant_tile_bytes(quant, cols) at `out`.
 */
cp_quantized_tile cp_quantize_tile(cp_quant quant, const float *rows, size_t n_rows, size_t cols,
                                   void *out);
/* The same without the machine's wider vectors, for tests. */
cp_quantized_tile cp_quantize_tile_baseline(cp_quant quant, const float *rows, size_t n_rows,
                                            size_t cols, void *out);

/* Nearest even; overflow becomes infinity. */
uint16_t cp_half_of_float(float value);
float cp_float_of_half(uint16_t half);
uint16_t cp_bfloat_of_float(float value);

#endif
