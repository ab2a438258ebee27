#include "bench/statistics.h"

#include <math.h>
#include <stdlib.h>

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void cp_stats_sort(double *values, size_t n) {
    if (n > 1)
        qsort(values, n, sizeof *values, compare);
}

cp_spread cp_stats_spread(double *values, size_t n) {
    if (n == 0)
        return (cp_spread){0, 0, 0};
    cp_stats_sort(values, n);
    return (cp_spread){cp_stats_percentile(values, n, 0.5), values[0], values[n - 1]};
}

double cp_stats_percentile(const double *sorted, size_t n, double fraction) {
    double place = fraction * (double)(n - 1);
    if (place <= 0)
        return sorted[0];
    size_t below = (size_t)place;
    if (below >= n - 1)
        return sorted[n - 1];
    double part = place - (double)below;
    return (1 - part) * sorted[below] + part * sorted[below + 1];
}

double cp_stats_slope(const double *x, const double *y, size_t n) {
    double mean_x = 0, mean_y = 0, over = 0, under = 0;
    for (size_t i = 0; i < n; i++) {
        mean_x += x[i];
        mean_y += y[i];
    }
    mean_x /= (double)(n ? n : 1);
    mean_y /= (double)(n ? n : 1);
    for (size_t i = 0; i < n; i++) {
        over += (x[i] - mean_x) * (y[i] - mean_y);
        under += (x[i] - mean_x) * (x[i] - mean_x);
    }
    return under > 0 ? over / under : 0;
}

void cp_running_add(cp_running *r, double value) {
    double before = value - r->mean;
    r->n++;
    r->mean += before / (double)r->n;
    r->sum_sq += before * (value - r->mean);
}

double cp_running_error(const cp_running *r) {
    if (r->n < 2)
        return 0;
    return sqrt(r->sum_sq / (double)(r->n - 1) / (double)r->n);
}
