/* What is said of repeated measurements: median and range, percentiles, mean with standard error.
 * Plain arithmetic in double; no allocation. */
#ifndef CP_BENCH_STATISTICS_H
#define CP_BENCH_STATISTICS_H

#include <stddef.h>

typedef struct cp_spread {
    double median, min, max;
} cp_spread;

/* Sorts the values ascending. */
void cp_stats_sort(double *values, size_t n);
/* Sorts values[n] in place; n 0 gives zeros. An even number's median is the mean of the middle
 * two. */
cp_spread cp_stats_spread(double *values, size_t n);
/* The value below which `fraction` of them lie, between neighbours by straight line; values[n]
 * ascending, n at least 1. */
double cp_stats_percentile(const double *sorted, size_t n, double fraction);

/* The slope of the straight line of least squares through (x, y)[n]; 0 for fewer than two x. */
double cp_stats_slope(const double *x, const double *y, size_t n);

/* Mean and variance as values arrive (Welford 1962); starts zeroed. */
typedef struct cp_running {
    size_t n;
    double mean, sum_sq; /* sum_sq: of differences from the mean */
} cp_running;
void cp_running_add(cp_running *r, double value);
/* Of the mean: sqrt(variance / n), the variance with n - 1; 0 for less than two values. */
double cp_running_error(const cp_running *r);

#endif
