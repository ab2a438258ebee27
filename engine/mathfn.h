/* exp, log, sine and cosine in fixed operations.
 *
 * libm's differ between platforms in the last bit; these are the same wherever IEEE 754 doubles are
 * and the compiler does not contract (-ffp-contract=off). Pure functions. */
#ifndef CP_ENGINE_MATHFN_H
#define CP_ENGINE_MATHFN_H

/* e^x, relative error below 1e-15; 0 and infinity beyond the range of double. */
double cp_exp(double x);
/* Natural logarithm of a positive, normal x, relative error below 1e-14. */
double cp_log(double x);
/* Sine and cosine for |x| < 2^26, absolute error below 1e-14. */
void cp_sincos(double x, double *sine, double *cosine);

#endif
