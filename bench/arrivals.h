/* When the requests of an open loop are due: a fixed rate, evenly or as a Poisson process. Nothing
 * that happens to the requests moves the schedule. The same seed gives the same one. */
#ifndef CP_BENCH_ARRIVALS_H
#define CP_BENCH_ARRIVALS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct cp_arrivals {
    double rate; /* a second, above 0 */
    bool poisson;
    uint64_t random, n;
    double last_s;
} cp_arrivals;

void cp_arrivals_init(cp_arrivals *a, double rate, bool poisson, uint64_t seed);
/* Seconds from the schedule's start to the next arrival; ascending. Evenly, the k-th (from 0) is
 * due at k / rate; a Poisson process has exponential gaps, one before the first too. */
double cp_arrivals_next(cp_arrivals *a);

#endif
