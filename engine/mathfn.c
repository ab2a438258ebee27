#include "engine/mathfn.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* 2^n for -1022 <= n <= 1023, from its bits. */
static double pow2(int n) {
    uint64_t bits = (uint64_t)(n + 1023) << 52;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

double cp_exp(double x) {
    if (x != x)
        return x;
    if (x > 709.0)
        return INFINITY;
    if (x < -708.0)
        return 0.0;
    /* x = n ln 2 + r, |r| <= ln 2 / 2; e^r by its Taylor series to r^13 (remainder below 1e-17). */
    const double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
    double n = floor(x * 1.44269504088896338700 + 0.5);
    double r = (x - n * ln2_high) - n * ln2_low;
    double sum = 1.0;
    for (int k = 13; k > 0; k--)
        sum = 1.0 + r * sum / k;
    return sum * pow2((int)n);
}

double cp_log(double x) {
    /* x = m 2^e with m in [sqrt(1/2), sqrt(2)); log m = 2 artanh((m-1)/(m+1)). */
    int e;
    double m = frexp(x, &e);
    if (m < 0.70710678118654752440) {
        m *= 2;
        e--;
    }
    double s = (m - 1) / (m + 1), s2 = s * s, sum = 0;
    for (int k = 23; k > 0; k -= 2)
        sum = 1.0 / k + s2 * sum;
    return 2 * s * sum + e * 6.93147180559945286227e-01;
}

void cp_sincos(double x, double *sine, double *cosine) {
    /* x = q pi/2 + r, |r| <= pi/4, pi/2 in three parts of 33 bits (fdlibm's): q times each is
     * exact. */
    const double part1 = 1.57079632673412561417e+00, part2 = 6.07710050630396597660e-11,
                 part3 = 2.02226624879595063154e-21;
    double q = floor(x * 6.36619772367581382433e-01 + 0.5);
    double r = ((x - q * part1) - q * part2) - q * part3;
    double r2 = r * r, s = 1.0, c = 1.0;
    for (int k = 17; k > 1; k -= 2) /* Taylor, by Horner from the smallest term */
        s = 1.0 - r2 / (k * (k - 1)) * s;
    for (int k = 18; k > 1; k -= 2)
        c = 1.0 - r2 / (k * (k - 1)) * c;
    s *= r;
    switch ((int64_t)q & 3) {
    case 0:
        *sine = s, *cosine = c;
        break;
    case 1:
        *sine = c, *cosine = -s;
        break;
    case 2:
        *sine = -s, *cosine = -c;
        break;
    default:
        *sine = -c, *cosine = s;
        break;
    }
}
