/* exp, log, log1p, tanh of vectors: polynomials of our own, so that every machine gets the same bits.
 *
 * exp: x = n ln2 + r, |r| <= ln2 / 2; e^r by its Taylor series up to r^7 (float: remainder 5e-9) or r^13 (double: 4e-18).
 * log: x = 2^n m, m in [sqrt(1/2), sqrt(2)); log m = 2 artanh(s), s = (m - 1) / (m + 1), by its series in s^2.
 * ln2 is split in two parts, the first with trailing zeros, so that n * LN2_HIGH is exact
 * (Cody & Waite, Software Manual for the Elementary Functions, 1980, ch. 6).
 */
#ifndef FNN_ELEMENTARY_H
#define FNN_ELEMENTARY_H

#include "simd.h"

#define LOG2_E ((real)1.4426950408889634074)
#if FNN_REAL_BITS == 32
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440054690583e-4f
#define EXP_LOW -87.33f                 /* e^x is smaller than the smallest normal number below it: 0 */
#define EXP_HIGH 88.37f                 /* larger x is taken as this: n stays 127 */
#define ROUND ((real)12582912.0)        /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
#else
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define EXP_LOW -708.39
#define EXP_HIGH 709.4
#define ROUND 6755399441055744.0
#endif

/* x = n ln2 + r; *scale = 2^n; returns e^r - 1. */
INLINE V expm1_reduced(V x, V *scale) {
    V shifted = fma_v(x, splat(LOG2_E), splat(ROUND + FNN_BIAS));
    V n = shifted - splat(ROUND + FNN_BIAS);
    *scale = (V)((VI)shifted << FNN_MANTISSA); /* the low bits are n + bias: the exponent of 2^n */
    V r = fma_v(n, splat(-LN2_HIGH), x);
    r = fma_v(n, splat(-LN2_LOW), r);
#if FNN_REAL_BITS == 32
    V p = splat((real)(1.0 / 5040));
#else
    V p = splat(1.0 / 6227020800.0);
    p = fma_v(p, r, splat(1.0 / 479001600.0));
    p = fma_v(p, r, splat(1.0 / 39916800.0));
    p = fma_v(p, r, splat(1.0 / 3628800.0));
    p = fma_v(p, r, splat(1.0 / 362880.0));
    p = fma_v(p, r, splat(1.0 / 40320.0));
    p = fma_v(p, r, splat(1.0 / 5040.0));
#endif
    p = fma_v(p, r, splat((real)(1.0 / 720)));
    p = fma_v(p, r, splat((real)(1.0 / 120)));
    p = fma_v(p, r, splat((real)(1.0 / 24)));
    p = fma_v(p, r, splat((real)(1.0 / 6)));
    p = fma_v(p, r, splat((real)0.5));
    return fma_v(p, r * r, r);
}

INLINE V exp_v(V x) {
    V scale, p = expm1_reduced(at_most(at_least(x, splat(EXP_LOW)), splat(EXP_HIGH)), &scale);
    return select_v(x < splat(EXP_LOW), splat(0), (p + splat(1)) * scale);
}

/* (e^2|x| - 1) / (e^2|x| + 1): e^t - 1 keeps its digits where x is small. */
INLINE V tanh_v(V x) {
    V t = at_most(magnitude(x), splat(20)); /* tanh 20 = 1 in both types */
    V scale, p = expm1_reduced(t + t, &scale);
    V e = fma_v(scale, p, scale - splat(1)); /* e^t - 1 */
    return with_sign_of(e / (e + splat(2)), x);
}

/* 1 / (1 + e^-x): the denominator in one rounding. */
INLINE V sigmoid_v(V x) {
    V scale, p = expm1_reduced(at_most(at_least(-x, splat(EXP_LOW)), splat(EXP_HIGH)), &scale);
    return splat(1) / fma_v(scale, p, scale + splat(1));
}

/* 2 artanh(s) = 2 s (1 + s^2/3 + s^4/5 + ...), |s| <= 1/3: `terms` of the series. */
INLINE V twice_artanh(V s, const int terms) {
    V z = s * s, p = splat((real)(1.0 / (2 * terms + 1)));
    UNROLL for (int i = terms - 1; i > 0; i--) p = fma_v(p, z, splat((real)(1.0 / (2 * i + 1))));
    return fma_v(p * z, s + s, s + s);
}

/* log x, x > 0 and normal. s^2 <= 0.0295: five terms leave 1e-10, eleven 1e-20. */
INLINE V log_v(V x) {
    const real_int one = (real_int)FNN_BIAS << FNN_MANTISSA;
    const real_int half_octave = one - ((real_int)(FNN_REAL_BITS == 32 ? 0x3f3504f3 : 0x3fe6a09e667f3bcdLL)); /* to sqrt(1/2) */
    VI bits = (VI)x + half_octave;
    VI n = (bits >> FNN_MANTISSA) - FNN_BIAS;
    V m = (V)((VI)x - (n << FNN_MANTISSA));
    V s = (m - splat(1)) / (m + splat(1));
    V k = (V)(n + (VI)splat(ROUND)) - splat(ROUND); /* n as a real */
    V low = fma_v(k, splat(LN2_LOW), twice_artanh(s, FNN_REAL_BITS == 32 ? 5 : 11));
    return fma_v(k, splat(LN2_HIGH), low);
}

/* log(1 + e), 0 <= e <= 1: s = e / (2 + e) <= 1/3. */
INLINE V log1p_v(V e) { return twice_artanh(e / (e + splat(2)), FNN_REAL_BITS == 32 ? 8 : 17); }

#endif
