/* Vectors: the only file that knows an ISA's intrinsics.
 *
 * A stub in isa/ defines FNN_ISA_NAME, FNN_VECTOR_BYTES and FNN_MR; the build defines FNN_REAL_BITS (32 or 64).
 * Everything below is then written once, for `real` (float or double) and V, a vector of VL of them.
 *
 * Bit identity: FMA is one rounding on every ISA but the baseline (which has none); division and square root are
 * IEEE-exact; the build forbids contraction, so a * b + c stays two roundings everywhere.
 */
#ifndef FNN_SIMD_H
#define FNN_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#elif defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>
#endif

#if FNN_REAL_BITS == 32
typedef float real;
typedef int32_t real_int;
#define FNN_MANTISSA 23
#define FNN_BIAS 127
#else
typedef double real;
typedef int64_t real_int;
#define FNN_MANTISSA 52
#define FNN_BIAS 1023
#endif

#define VL (FNN_VECTOR_BYTES / (FNN_REAL_BITS / 8)) /* reals in a vector */
#define NV 2                                        /* vectors in a panel row */
#define NR (NV * VL)                                /* outputs in a panel */
#define MR FNN_MR                                   /* rows of the largest tile */

typedef real V __attribute__((vector_size(FNN_VECTOR_BYTES)));
typedef real_int VI __attribute__((vector_size(FNN_VECTOR_BYTES)));
typedef real V_unaligned __attribute__((vector_size(FNN_VECTOR_BYTES), aligned(FNN_REAL_BITS / 8), may_alias));
typedef ptrdiff_t idx;

#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#define NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#define NO_UNROLL /* gcc does not, unless told to */
#endif

INLINE V load(const real *p) { return *(const V_unaligned *)p; }
INLINE void store(real *p, V v) { *(V_unaligned *)p = v; }
INLINE V splat(real x) { return x - (V){0}; }
INLINE V select_v(VI mask, V yes, V no) { return (V)((mask & (VI)yes) | (~mask & (VI)no)); }
/* x < low ? low : x and x > high ? high : x. NaN passes through: both comparisons with it are false, and x is the operand that
 * x86's instructions then give, as between 0 and -0. */
#if FNN_VECTOR_BYTES == 64 && FNN_REAL_BITS == 32
INLINE V at_least(V x, V low) { return (V)_mm512_max_ps((__m512)low, (__m512)x); }
INLINE V at_most(V x, V high) { return (V)_mm512_min_ps((__m512)high, (__m512)x); }
#elif FNN_VECTOR_BYTES == 64
INLINE V at_least(V x, V low) { return (V)_mm512_max_pd((__m512d)low, (__m512d)x); }
INLINE V at_most(V x, V high) { return (V)_mm512_min_pd((__m512d)high, (__m512d)x); }
#elif FNN_VECTOR_BYTES == 32 && FNN_REAL_BITS == 32
INLINE V at_least(V x, V low) { return (V)_mm256_max_ps((__m256)low, (__m256)x); }
INLINE V at_most(V x, V high) { return (V)_mm256_min_ps((__m256)high, (__m256)x); }
#elif FNN_VECTOR_BYTES == 32
INLINE V at_least(V x, V low) { return (V)_mm256_max_pd((__m256d)low, (__m256d)x); }
INLINE V at_most(V x, V high) { return (V)_mm256_min_pd((__m256d)high, (__m256d)x); }
#else
INLINE V at_least(V x, V low) { return select_v(x < low, low, x); }
INLINE V at_most(V x, V high) { return select_v(x > high, high, x); }
#endif
INLINE V magnitude(V x) { return (V)((VI)x & ~(VI)splat((real)-0.0)); }
INLINE V sign_v(V x) { return select_v(x > splat(0), splat(1), select_v(x < splat(0), splat(-1), x)); } /* 0 and NaN stay */
INLINE V with_sign_of(V x, V sign) { return (V)((VI)x | ((VI)sign & (VI)splat((real)-0.0))); }

/* The first n < VL elements alone; the others are read as 0. */
#if FNN_VECTOR_BYTES == 64 && FNN_REAL_BITS == 32
INLINE V load_part(const real *p, idx n) { return (V)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
INLINE void store_part(real *p, V v, idx n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v); }
#elif FNN_VECTOR_BYTES == 64
INLINE V load_part(const real *p, idx n) { return (V)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p); }
INLINE void store_part(real *p, V v, idx n) { _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v); }
#elif FNN_VECTOR_BYTES == 32 && FNN_REAL_BITS == 32
#define FIRST(n) _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
INLINE V load_part(const real *p, idx n) { return (V)_mm256_maskload_ps(p, FIRST(n)); }
INLINE void store_part(real *p, V v, idx n) { _mm256_maskstore_ps(p, FIRST(n), (__m256)v); }
#elif FNN_VECTOR_BYTES == 32
#define FIRST(n) _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3))
INLINE V load_part(const real *p, idx n) { return (V)_mm256_maskload_pd(p, FIRST(n)); }
INLINE void store_part(real *p, V v, idx n) { _mm256_maskstore_pd(p, FIRST(n), (__m256d)v); }
#else
INLINE V load_part(const real *p, idx n) {
    V v = {0};
    for (int e = 0; e < VL; e++) if (e < n) v[e] = p[e];
    return v;
}
INLINE void store_part(real *p, V v, idx n) { for (int e = 0; e < VL; e++) if (e < n) p[e] = v[e]; }
#endif
/* n numbers, or VL of more. */
INLINE V load_first(const real *p, idx n) { return n < VL ? load_part(p, n) : load(p); }
INLINE void store_first(real *p, V v, idx n) { if (n < VL) store_part(p, v, n); else store(p, v); }

/* fma(a, b, c) = a * b + c, rounded once. */
#if FNN_VECTOR_BYTES == 64
#if FNN_REAL_BITS == 32
INLINE V fma_v(V a, V b, V c) { return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
#else
INLINE V fma_v(V a, V b, V c) { return (V)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
#endif
#elif FNN_VECTOR_BYTES == 32
#if FNN_REAL_BITS == 32
INLINE V fma_v(V a, V b, V c) { return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
#else
INLINE V fma_v(V a, V b, V c) { return (V)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
#endif
#elif defined(__aarch64__) || defined(_M_ARM64)
#if FNN_REAL_BITS == 32
INLINE V fma_v(V a, V b, V c) { return (V)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
#else
INLINE V fma_v(V a, V b, V c) { return (V)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
#endif
#else /* the baseline: two roundings, outside the promise of bit identity */
INLINE V fma_v(V a, V b, V c) { return a * b + c; }
#endif

INLINE real fma_1(real a, real b, real c) { return fma_v(splat(a), splat(b), splat(c))[0]; }

/* Square root, rounded once (IEEE 754) on every ISA. */
#if FNN_VECTOR_BYTES == 64
#if FNN_REAL_BITS == 32
INLINE V root_v(V x) { return (V)_mm512_sqrt_ps((__m512)x); }
#else
INLINE V root_v(V x) { return (V)_mm512_sqrt_pd((__m512d)x); }
#endif
#elif FNN_VECTOR_BYTES == 32
#if FNN_REAL_BITS == 32
INLINE V root_v(V x) { return (V)_mm256_sqrt_ps((__m256)x); }
#else
INLINE V root_v(V x) { return (V)_mm256_sqrt_pd((__m256d)x); }
#endif
#elif defined(__aarch64__) || defined(_M_ARM64)
#if FNN_REAL_BITS == 32
INLINE V root_v(V x) { return (V)vsqrtq_f32((float32x4_t)x); }
#else
INLINE V root_v(V x) { return (V)vsqrtq_f64((float64x2_t)x); }
#endif
#else
INLINE V root_v(V x) {
    for (int e = 0; e < VL; e++) x[e] = FNN_REAL_BITS == 32 ? (real)__builtin_sqrtf((float)x[e]) : (real)__builtin_sqrt((double)x[e]);
    return x;
}
#endif

/* Whether a comparison held in any element. */
#if FNN_VECTOR_BYTES == 64
INLINE int any(VI mask) { return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0; }
#elif FNN_VECTOR_BYTES == 32
INLINE int any(VI mask) { return !_mm256_testz_si256((__m256i)mask, (__m256i)mask); }
#elif defined(__aarch64__) || defined(_M_ARM64)
INLINE int any(VI mask) { return vmaxvq_u32((uint32x4_t)mask) != 0; }
#else
INLINE int any(VI mask) {
    real_int some = 0;
    for (int e = 0; e < VL; e++) some |= mask[e];
    return some != 0;
}
#endif

/* Elements of v that are infinite or NaN: all exponent bits are set. */
INLINE VI not_finite(V v) {
    const VI exponent = (VI){0} + (((real_int)2 * FNN_BIAS + 1) << FNN_MANTISSA);
    return ((VI)v & exponent) == exponent;
}

INLINE void prefetch(const void *p) { __builtin_prefetch(p, 0, 2); }
INLINE void prefetch_write(const void *p) { __builtin_prefetch(p, 1, 2); }
#define LINE 64 /* bytes of a cache line on every machine we know (128 on some arm64: then every other one is spare) */

/* Transpose of VL vectors in registers: first within lanes of 128 bits, which hold PER elements, then of whole lanes. */
#define PER (FNN_REAL_BITS == 32 ? 4 : 2)
#define SINGLES(e, s) ((e) / PER * PER + (e) % PER / 2 + (s) + (e) % 2 * VL)
#define PAIRS(e, s) ((e) / 4 * 4 + (e) % 2 + (s) + (e) % 4 / 2 * VL)
#define EVERY_OTHER_LANE(e, s) ((e) / PER * 2 * PER % VL + (e) % PER + (s) + (e) / PER * 2 * PER / VL * VL)
#if VL == 16
#define LANES(F, s) F(0, s), F(1, s), F(2, s), F(3, s), F(4, s), F(5, s), F(6, s), F(7, s), F(8, s), F(9, s), \
                    F(10, s), F(11, s), F(12, s), F(13, s), F(14, s), F(15, s)
#elif VL == 8
#define LANES(F, s) F(0, s), F(1, s), F(2, s), F(3, s), F(4, s), F(5, s), F(6, s), F(7, s)
#elif VL == 4
#define LANES(F, s) F(0, s), F(1, s), F(2, s), F(3, s)
#else
#define LANES(F, s) F(0, s), F(1, s)
#endif
#define SHUFFLE(F, s, apart)                                                        \
    UNROLL for (int i = 0; i < VL; i++) if (!(i & (apart))) {                     \
        V first = __builtin_shufflevector(v[i], v[i + (apart)], LANES(F, 0));     \
        v[i + (apart)] = __builtin_shufflevector(v[i], v[i + (apart)], LANES(F, s)); \
        v[i] = first;                                                             \
    }
INLINE void transpose(V v[VL]) {
    SHUFFLE(SINGLES, PER / 2, 1)
#if FNN_REAL_BITS == 32
    SHUFFLE(PAIRS, 2, 2)
    UNROLL for (int i = 0; i < VL; i += 4) {
        V second = v[i + 2];
        v[i + 2] = v[i + 1];
        v[i + 1] = second;
    }
#endif
#if FNN_VECTOR_BYTES > 16
    SHUFFLE(EVERY_OTHER_LANE, PER, PER)
#endif
#if FNN_VECTOR_BYTES > 32
    SHUFFLE(EVERY_OTHER_LANE, PER, 2 * PER)
#endif
}

#endif
