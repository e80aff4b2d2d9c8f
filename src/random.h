/* Random numbers by position: what is drawn for row r and column c of a layer in a step depends on nothing else.
 *
 * Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), keyed by seed, purpose and layer; its counter is
 * (c, r / 4, step, step >> 32), and word r % 4 of what it gives is (r, c)'s.
 */
#ifndef FNN_RANDOM_H
#define FNN_RANDOM_H

#include "elementary.h"

/* Words lie in the low halves of 64-bit lanes; what is above them does not matter. */
typedef uint64_t VW __attribute__((vector_size(FNN_VECTOR_BYTES)));
#define WORDS (FNN_VECTOR_BYTES / 8)

/* The product of the low halves. */
INLINE VW multiply_low(VW a, VW b) {
#if FNN_VECTOR_BYTES == 64
    return (VW)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif FNN_VECTOR_BYTES == 32
    return (VW)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__aarch64__) || defined(_M_ARM64)
    return (VW)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#else
    return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

INLINE VW splat_w(uint64_t x) { return (VW){0} + x; }

INLINE void philox(VW x[4], uint32_t key0, uint32_t key1) {
    UNROLL for (int round = 0; round < 10; round++) {
        const VW p = multiply_low(x[0], splat_w(0xD2511F53u)), q = multiply_low(x[2], splat_w(0xCD9E8D57u));
        x[0] = (q >> 32) ^ x[1] ^ splat_w(key0);
        x[1] = q;
        x[2] = (p >> 32) ^ x[3] ^ splat_w(key1);
        x[3] = p;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

/* words[e]: of rows 4 quad + e, columns `column` to column + VL - 1. In double a word is the low half of its lane. */
INLINE void draw_words(const uint32_t key[2], int64_t step, uint32_t quad, uint32_t column, VI words[4]) {
    VW lane = {0}, x[4], y[4];
    for (int e = 0; e < WORDS; e++) lane[e] = (uint64_t)(e * (VL / WORDS));
    lane += column;
    x[0] = lane;
    x[1] = y[1] = splat_w(quad);
    x[2] = y[2] = splat_w((uint32_t)step);
    x[3] = y[3] = splat_w((uint32_t)(step >> 32));
    philox(x, key[0], key[1]);
    if (VL == WORDS) {
        UNROLL for (int e = 0; e < 4; e++) words[e] = (VI)(x[e] & 0xffffffffu);
        return;
    }
    y[0] = lane + 1; /* odd columns */
    philox(y, key[0], key[1]);
    UNROLL for (int e = 0; e < 4; e++) words[e] = (VI)((x[e] & 0xffffffffu) | (y[e] << 32));
}

/* Whether a word is at least `low`: all bits or none. */
INLINE VI word_at_least(VI word, uint32_t low) {
#if FNN_REAL_BITS == 32
    return (word ^ INT32_MIN) >= (VI){0} + (int32_t)(low ^ 0x80000000u);
#else
    return word >= (VI){0} + (int64_t)low;
#endif
}

/* The upper 23 bits of a word as a number of [0, 1): exact in both types. */
INLINE V unit(VI word) {
    const VI one = (VI)splat(1);
#if FNN_REAL_BITS == 32
    return (V)((VI)((uint32_t __attribute__((vector_size(FNN_VECTOR_BYTES))))word >> 9) | one) - splat(1);
#else
    return (V)(word >> 9 << 29 | one) - splat(1);
#endif
}

/* Two independent numbers of the normal distribution from two words (Box & Muller 1958): sqrt(-2 ln(1 - u)) times cos and sin of
 * 2 pi v. The largest is 5.65. */
INLINE void normal_pair(VI first, VI second, V *z0, V *z1) {
    V sine, cosine;
    const V r = root_v(splat(-2) * log_v(splat(1) - unit(first)));
    sin_cos(splat(4) * unit(second), &sine, &cosine);
    *z0 = r * cosine;
    *z1 = r * sine;
}

#endif
