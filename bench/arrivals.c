#include "bench/arrivals.h"

#include "bench/random.h"

#include <math.h>

void cp_arrivals_init(cp_arrivals *a, double rate, bool poisson, uint64_t seed) {
    *a = (cp_arrivals){.rate = rate, .poisson = poisson, .random = seed};
}

double cp_arrivals_next(cp_arrivals *a) {
    if (a->poisson)
        a->last_s -= log1p(-cp_random_unit(&a->random)) / a->rate;
    else
        a->last_s = (double)a->n / a->rate;
    a->n++;
    return a->last_s;
}
