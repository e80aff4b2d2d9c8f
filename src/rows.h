/* One row: z += W^T x and W += x d^T, alone or in one pass over W; g, g' and scaling of a row; which of its numbers are not 0.
 * Up to FNN_ROW_PANELS panels lie side by side, so that their sums hide each other's latency. */
#ifndef FNN_ROWS_H
#define FNN_ROWS_H

#include "activate.h"

enum { PRODUCT = 1, UPDATE = 2 };

/* z += W^T x_next and W += x d^T, together or alone, over np panels. */
INLINE void row_tile(const int what, const int np, idx n, const int32_t *order, const real *x, const real *d,
                     const real *x_next, real *W, idx stride, real *z) {
    V acc[FNN_ROW_PANELS * NV], step[FNN_ROW_PANELS * NV];
    UNROLL for (int v = 0; v < np * NV; v++) {
        if (what & PRODUCT) acc[v] = load(z + v * VL);
        if (what & UPDATE) step[v] = load(d + v * VL);
    }
    NO_UNROLL for (idx t = 0; t < n; t++) {
        const idx i = order ? order[t] : t;
        real *w = W + i * NR;
        const V from = what & UPDATE ? splat(x[i]) : (V){0}, to = what & PRODUCT ? splat(x_next[i]) : (V){0};
        UNROLL for (int v = 0; v < np * NV; v++) {
            real *p = w + v / NV * stride + v % NV * VL;
            V u = load(p);
            if (what & UPDATE) store(p, u = fma_v(from, step[v], u));
            if (what & PRODUCT) acc[v] = fma_v(to, u, acc[v]);
        }
    }
    if (what & PRODUCT) UNROLL for (int v = 0; v < np * NV; v++) store(z + v * VL, acc[v]);
}

#define ROW_TILE(name, what)                                                                                          \
    NOINLINE void name##_tile(idx np, idx n, const int32_t *order, const real *x, const real *d, const real *x_next, real *W, \
                              idx stride, real *z) {                                                                  \
        switch (np) {                                                                                                 \
        case 1: order ? row_tile(what, 1, n, order, x, d, x_next, W, stride, z) : row_tile(what, 1, n, NULL, x, d, x_next, W, stride, z); return; \
        case 2: row_tile(what, 2, n, order, x, d, x_next, W, stride, z); return;                                      \
        case 3: row_tile(what, 3, n, order, x, d, x_next, W, stride, z); return;                                      \
        default: row_tile(what, FNN_ROW_PANELS, n, order, x, d, x_next, W, stride, z);                                \
        }                                                                                                             \
    }                                                                                                                 \
    static void name##_panels(idx n, const int32_t *order, const real *x, const real *d, const real *x_next, real *W, \
                              idx stride, idx panels, real *z) {                                                      \
        for (idx p = 0; p < panels; p += FNN_ROW_PANELS)                                                              \
            name##_tile(panels - p < FNN_ROW_PANELS ? panels - p : FNN_ROW_PANELS, n, order, x, d ? d + p * NR : NULL, \
                        x_next, W + p * stride, stride, z ? z + p * NR : NULL);                                       \
    }
ROW_TILE(row_product, PRODUCT)
ROW_TILE(row_update, UPDATE)
ROW_TILE(row_update_product, PRODUCT | UPDATE)

static void row_product(idx n, const int32_t *order, const void *x, const void *W, idx stride, idx panels, void *z) {
    row_product_panels(n, order, NULL, NULL, x, (real *)W, stride, panels, z);
}
static void row_update(idx n, const int32_t *order, const void *x, const void *d, void *W, idx stride, idx panels) {
    row_update_panels(n, order, x, d, NULL, W, stride, panels, NULL);
}
static void row_update_product(idx n, const int32_t *order, const void *x, const void *d, const void *x_next, void *W,
                               idx stride, idx panels, void *z) {
    row_update_product_panels(n, order, x, d, x_next, W, stride, panels, z);
}

static void row_activate(idx n, void *z, const void *b, fnn_activation g, void *d) {
    real *h = z;
    for (idx i = 0; i < n; i += NR) {
        for (int v = 0; v < NV; v++) store(h + i + v * VL, load(h + i + v * VL) + load((const real *)b + i + v * VL));
        activate_rows(1, NV, h + i, g, d ? (real *)d + i : NULL);
    }
    for (idx i = n; i % NR; i++) h[i] = 0;
}

static void row_derivative(idx n, void *delta, const void *h, fnn_activation g) {
    if (g.id == fnn_identity) return;
    for (idx i = 0; i < n; i += NR) differentiate_rows(1, NV, (real *)delta + i, (const real *)h + i, g);
}

static void row_scale(idx n, double scale, const void *x, void *y) {
    for (idx i = 0; i < n; i += VL) store((real *)y + i, splat((real)scale) * load((const real *)x + i));
}

static void row_add(idx n, const void *x, void *y) {
    for (idx i = 0; i < n; i += VL) store((real *)y + i, load((const real *)y + i) + load((const real *)x + i));
}

static ptrdiff_t nonzeros(idx n, const void *x_, const void *y_, int32_t *list) {
    const real *x = x_, *y = y_;
    ptrdiff_t count = 0;
    idx i = 0;
#if FNN_VECTOR_BYTES == 64 && FNN_REAL_BITS == 32
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (; i + VL <= n; i += VL) {
        __mmask16 some = _mm512_cmp_ps_mask((__m512)load(x + i), _mm512_setzero_ps(), _CMP_NEQ_UQ);
        if (y) some |= _mm512_cmp_ps_mask((__m512)load(y + i), _mm512_setzero_ps(), _CMP_NEQ_UQ);
        const __m512i numbers = _mm512_add_epi32(lane, _mm512_set1_epi32((int)i));
        _mm512_storeu_si512(list + count, _mm512_maskz_compress_epi32(some, numbers)); /* to memory itself it is slow on some CPUs */
        count += __builtin_popcount(some);
    }
#endif
    while (i < n) {
        if (i + VL <= n && !any((load(x + i) != 0) | (load((y ? y : x) + i) != 0))) {
            i += VL;
            continue;
        }
        for (const idx end = i + VL < n ? i + VL : n; i < end; i++) {
            list[count] = (int32_t)i;
            count += (x[i] != 0) | (y && y[i] != 0); /* no branch: the next number overwrites */
        }
    }
    return count;
}

#endif
