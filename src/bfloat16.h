/* Operands of products in bfloat16 (docs/maths.md, section 13): the upper half of a float's bits, kept in a float, whose tiles
 * then sum up exact products, so every ISA has the same bits. Of float alone. */
#ifndef FNN_BFLOAT16_H
#define FNN_BFLOAT16_H

#include "simd.h"

#if FNN_REAL_BITS == 32
static void round_bfloat16(idx n, const void *x_, void *y_) {
    const real *x = x_;
    real *y = y_;
    for (idx i = 0; i < n; i += VL) {
        const V v = load(x + i);
        const VI nan = v != v, bits = (VI)v & ~nan, odd = bits >> 16 & 1;
        store(y + i, (V)(((bits + 0x7fff + odd) & ~0xffff) | (nan & 0x7fc00000)));
    }
}
#endif

#endif
