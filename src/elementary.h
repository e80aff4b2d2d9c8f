/* exp, log, log1p, tanh, sin, cos, the normal distribution of vectors: polynomials of our own, so that every machine gets the same bits.
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

/* x <= EXP_HIGH */
INLINE V exp_below(V x) {
    V scale, p = expm1_reduced(at_least(x, splat(EXP_LOW)), &scale);
    return select_v(x < splat(EXP_LOW), splat(0), (p + splat(1)) * scale);
}
INLINE V exp_v(V x) { return exp_below(at_most(x, splat(EXP_HIGH))); }

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

/* e^x - 1, x <= 0 (a larger x is taken as 0). */
INLINE V expm1_v(V x) {
    V scale, p = expm1_reduced(at_most(at_least(x, splat(EXP_LOW)), splat(0)), &scale);
    return fma_v(scale, p, scale - splat(1));
}

/* s = 1 / (1 + e^-x), and 1 - s, which has all its digits too. */
INLINE V logistic_v(V x, V *rest) {
    const V e = exp_v(-magnitude(x)), larger = splat(1) / (splat(1) + e), smaller = e * larger;
    *rest = select_v(x < splat(0), larger, smaller);
    return select_v(x < splat(0), smaller, larger);
}

/* sin and cos of pi t / 2, |t| <= 4, t exact: of the distance to the nearest whole t by their Taylor series up to
 * x^11 and x^10 (float: remainder 7e-12) or x^19 and x^18 (double: 3e-21). */
INLINE void sin_cos(V t, V *sine, V *cosine) {
    const int n = FNN_REAL_BITS == 32 ? 5 : 9;
    const V shifted = t + splat(ROUND);
    const VI q = (VI)shifted;
    const V x = (t - (shifted - splat(ROUND))) * splat((real)1.5707963267948966192), z = x * x;
    V s = splat(1), c = splat(1);
    UNROLL for (int i = n; i > 0; i--) {
        s = fma_v(z * splat((real)(-1.0 / ((2 * i) * (2 * i + 1)))), s, splat(1));
        c = fma_v(z * splat((real)(-1.0 / ((2 * i - 1) * (2 * i)))), c, splat(1));
    }
    s = s * x;
    const VI swap = (q & 1) != 0;
    const V a = select_v(swap, c, s), b = select_v(swap, s, c);
    *sine = select_v((q & 2) != 0, -a, a);
    *cosine = select_v(((q + 1) & 2) != 0, -b, b);
}

/* sin and cos of 2 pi t: |t| less the nearest whole number is exact. */
INLINE void sin_cos_turns(V t, V *sine, V *cosine) {
    const V size = magnitude(t), whole = splat((real)((real_int)1 << FNN_MANTISSA)); /* from there on all numbers are */
    const V part = select_v(size >= whole, size - size, size - ((size + whole) - whole));
    sin_cos(splat(4) * (V)((VI)part ^ ((VI)t & (VI)splat((real)-0.0))), sine, cosine);
}

/* Activations whose derivative h does not tell: each returns h = g(a) and leaves d = g'(a). */

/* g = a s, g' = s + a s (1 - s). */
INLINE V silu_v(V a, V *d) {
    V rest, s = logistic_v(a, &rest), h = a * s;
    *d = fma_v(h, rest, s);
    return h;
}

/* g = a s(u), u = 2 sqrt(2 / pi) (a + 0.044715 a^3), g' = s + a s (1 - s) u'. Beyond +-22 s is 0 or 1. */
INLINE V gelu_tanh_v(V a, V *d) {
    const real by = (real)1.5957691216057307118, cubic = (real)0.044715;
    const V t = at_most(at_least(a, splat(-22)), splat(22)), square = t * t;
    V rest, s = logistic_v(splat(by) * fma_v(splat(cubic) * square, t, t), &rest);
    *d = fma_v(t * (s * rest), splat(by) * fma_v(splat(3 * cubic), square, splat(1)), s);
    return a * s;
}

/* With e = e^a and n = e (e + 2), tanh(ln(1 + e)) = n / (n + 2) = w; g = a w, g' = w + 4 a e (1 + e) / (n + 2)^2.
 * Beyond 30 w is 1. */
INLINE V mish_v(V a, V *d) {
    const V e = exp_v(at_most(a, splat(30))), n = fma_v(e, e, e + e), q = splat(1) / (n + splat(2)), w = n * q;
    *d = fma_v(a * (splat(4) * (e * q)), (splat(1) + e) * q, w);
    return a * w;
}

/* g = a Phi(a), g' = Phi(a) + a phi(a), with the normal distribution's Phi and its density phi.
 * Phi(-t) = e^(-t^2/2) F(t) for t >= 0, and (t + K) F(t) is a polynomial in s = (t - K) / (t + K), as in Shepherd & Laframboise
 * 1981, Mathematics of Computation 36(153): interpolated at Chebyshev's points, off by 1.2e-9 (float) or 7.5e-18 (double) of itself.
 * e^(-t^2/2) takes up the rounding of t^2. Beyond NORMAL_HIGH it is 0. */
#if FNN_REAL_BITS == 32
#define NORMAL_HIGH 14
#define NORMAL_K ((real)3)
static const real normal_tail[] = {5.5174623938e-5f, 1.3282590865e-4f, -2.4448394209e-4f, -1.0338913481e-3f, 1.0241576682e-3f,
                                   6.9696895432e-3f, -1.0462311158e-2f, -4.7262727689e-2f, 2.3001767971e-1f, -5.0933199024e-1f,
                                   7.2908369067e-1f};
#else
#define NORMAL_HIGH 39
#define NORMAL_K ((real)5.5)
static const real normal_tail[] = {
    -2.606774740968198992e-9, -5.73910418618140302e-9, 2.29216086337358783e-8, 5.045535636850466216e-8, -1.774331453557289688e-7,
    -2.679659862617942295e-7, 1.48363739162762658e-6, 4.464370634092104613e-7, -1.211874250226164908e-5, 1.631996538411102554e-5,
    7.141478894513676585e-5, -3.245226531331884503e-4, 2.696040156145406772e-4, 2.442982675730465154e-3, -1.392351056774359549e-2,
    4.509758081468490839e-2, -1.097030899585598684e-1, 2.178724328579739556e-1, -3.670490652936254e-1, 5.35596489062494326e-1,
    -6.851834205743380535e-1, 7.737696342764067687e-1};
#endif
INLINE V gelu_v(V a, V *d) {
    const V t = at_most(magnitude(a), splat(NORMAL_HIGH)), square = t * t, lost = fma_v(t, t, -square);
    const V w = splat(1) / (t + splat(NORMAL_K)), s = fma_v(splat(-2 * NORMAL_K), w, splat(1));
    V e = exp_v(splat((real)-0.5) * square), p = splat(normal_tail[0]);
    e = fma_v(splat((real)-0.5) * lost, e, e);
    UNROLL for (size_t i = 1; i < sizeof(normal_tail) / sizeof(real); i++) p = fma_v(p, s, splat(normal_tail[i]));
    const V tail = e * (p * w), Phi = select_v(a < splat(0), tail, splat(1) - tail);
    *d = fma_v(a * e, splat((real)0.39894228040143267794), Phi);
    return a * Phi;
}

#endif
