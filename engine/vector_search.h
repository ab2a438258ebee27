/* Stored int8 vectors, and the nearest of them to one that is looked for.
 *
 * Exact: every row's product with the query is an integer, the same on every instruction set, and
 * hits do not depend on the number of threads. A search keeps no state: any thread may search at
 * any time; where there is enough to read it starts threads of its own, which are gone when it
 * returns. Memory is read once, in order, asked for ahead: the machine's read bandwidth is the
 * limit. */
#ifndef CP_ENGINE_VECTOR_SEARCH_H
#define CP_ENGINE_VECTOR_SEARCH_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CP_VECTOR_MAX_WIDTH 4096
#define CP_VECTOR_MAX_HITS  65536

/* Rows [begin, end) of stored vectors; row r is values[r * width ...] * scales[r]. */
typedef struct cp_vector_scan {
    const int8_t *values; /* at any alignment; whole cache lines are fastest */
    const float *scales;
    size_t width; /* 1 to CP_VECTOR_MAX_WIDTH */
    size_t begin, end;
    /* True: this row is not compared. Asked by several threads at once; NULL: all are compared. */
    bool (*is_left_out)(const void *user, size_t row);
    const void *user;
} cp_vector_scan;

typedef struct cp_vector_hit {
    size_t row;
    float score; /* (float)product * (the row's scale * the query's) */
} cp_vector_hit;

/* The k rows of the highest scores into hits [k], best first, ties by row; *n_hits: how many there
 * are. A score that is no number is passed over. n_threads at least 1; small scans use fewer.
 * CP_ERR_USAGE: a width or a k beyond the limits, or CAREPATH_ISA is wrong (as for an engine). */
cp_status cp_vector_search(const cp_vector_scan *scan, const int8_t *query, float query_scale,
                           size_t n_threads, size_t k, cp_vector_hit *hits, size_t *n_hits,
                           cp_error *err) CP_MUST_CHECK;

/* v [width] as out[i] * *scale: scale = max|v| / 127, rounded to nearest even. All zeros with scale
 * 0 where v has nothing to scale by (zeros) or is not finite. */
void cp_vector_quantize(const float *v, size_t width, int8_t *out, float *scale);

/* v cut to its first n values, which are made length 1 again, in place: for models whose vectors
 * may be shortened (Kusupati et al. 2022), and with their whole width to normalise. What has no
 * length, or none that is finite, becomes zeros. */
void cp_vector_truncate(float *v, size_t n);

#endif
