/* Features of any kind of number and with any strides -> panels of reals, times their scale. And whether numbers are finite. */
#ifndef FNN_GATHER_H
#define FNN_GATHER_H

#include <assert.h>
#include <math.h>

#include "kernels.h"
#include "simd.h"

/* A half's value, exactly. No subnormal float on the way, which would be taken as 0: 0.5 + m 2^-24 - 0.5 = m 2^-24. */
INLINE float from_half(uint16_t h) {
    union { uint32_t bits; float value; } normal = {((uint32_t)(h & 0x7fff) << 13) + (112u << 23)},
                                          tiny = {0x3f000000u + (h & 0x3ff)};
    tiny.value -= 0.5f;
    normal.bits = h & 0x7c00 ? normal.bits : tiny.bits;
    normal.bits |= (uint32_t)(h & 0x8000) << 16;
    return normal.value;
}

#define REAL_OF(name, x) (fnn_kind_##name == fnn_kind_float16 ? (real)from_half((uint16_t)(x)) : (real)(x))
#define X(name, type)                                                                                                       \
    NOINLINE void gather_##name(idx rows, idx n, const fnn_features *X, const ptrdiff_t *order, idx first, real *restrict to, idx stride) { \
        const real scale = fnn_kind_##name < fnn_kind_float16 ? (real)X->scale : 1;                                         \
        if (X->column == (idx)sizeof(type)) for (idx r = 0; r < rows; r++) {                                                \
            const type *x = (const type *)(X->data + (order ? order[first + r] : first + r) * X->row);                      \
            real *h = to + r * NR;                                                                                          \
            idx j = 0;                                                                                                      \
            for (; j + NR <= n; j += NR, h += stride) for (int e = 0; e < NR; e++) h[e] = REAL_OF(name, x[j + e]) * scale;  \
            for (idx e = j; e < n; e++) h[e - j] = REAL_OF(name, x[e]) * scale;                                             \
        }                                                                                                                   \
        else for (idx j = 0; j < n; j++) { /* a column at a time: in Fortran's order it is what lies together */            \
            const char *x = X->data + j * X->column;                                                                        \
            real *h = to + j / NR * stride + j % NR;                                                                        \
            for (idx r = 0; r < rows; r++) {                                                                                \
                const type *at = (const type *)(x + (order ? order[first + r] : first + r) * X->row);                       \
                h[r * NR] = REAL_OF(name, *at) * scale;                                                                     \
            }                                                                                                               \
        }                                                                                                                   \
    }
FNN_KINDS(X)
#undef X

static void gather_features(idx rows, idx n, const fnn_features *X, const ptrdiff_t *order, idx first, void *to, idx stride) {
    switch (X->kind) {
#define X(name, type) case fnn_kind_##name: gather_##name(rows, n, X, order, first, to, stride); return;
        FNN_KINDS(X)
#undef X
    default: assert(!"a kind");
    }
}

static int all_finite(idx n, const void *x_) {
    const real *x = x_;
    VI bad = {0};
    idx i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) UNROLL for (int v = 0; v < 4; v++) bad |= not_finite(load(x + i + v * VL));
    for (; i + VL <= n; i += VL) bad |= not_finite(load(x + i));
    for (; i < n; i++) bad[0] |= !isfinite(x[i]);
    return !any(bad);
}

#endif
