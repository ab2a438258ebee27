/* Random numbers that a seed repeats: splitmix64 (Vigna 2015). */
#ifndef CP_BENCH_RANDOM_H
#define CP_BENCH_RANDOM_H

#include <stdint.h>

/* The next one; *state begins as the seed. */
static inline uint64_t cp_random_next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* In [0, 1), 53 bits of it. */
static inline double cp_random_unit(uint64_t *state) {
    return (double)(cp_random_next(state) >> 11) * 0x1p-53;
}

#endif
