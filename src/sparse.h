/* The first layer from CSR rows, where zeros cost nothing: a = X W^T + b, and grad_W = X^T delta or the SGD step with it.
 * Each sum is over the entries that there are, in order, as the dense one is over all. */
#ifndef FNN_SPARSE_H
#define FNN_SPARSE_H

#include <assert.h>

#include "kernels.h"
#include "simd.h"

#define AHEAD 12 /* entries whose rows of W are brought near before their turn: they lie anywhere */

/* a[r] = sum over the entries of the row, in order, x W[input], + b; np panels side by side. Not `first`: the sum goes on in a[r]. */
INLINE void sparse_tile(const int np, const int first, idx n, const int32_t *inputs, const real *x, const real *W, idx panel, const real *b, real *a,
                        idx stride) {
    V acc[FNN_ROW_PANELS * NV];
    UNROLL for (int v = 0; v < np * NV; v++) acc[v] = first ? (V){0} : load(a + v / NV * stride + v % NV * VL);
    NO_UNROLL for (idx t = 0; t < n; t++) {
        const real *w = W + (idx)inputs[t] * NR;
        if (t + AHEAD < n) UNROLL for (int v = 0; v < np * NV; v++)
            prefetch(W + (idx)inputs[t + AHEAD] * NR + v / NV * panel + v % NV * VL);
        const V by = splat(x[t]);
        UNROLL for (int v = 0; v < np * NV; v++) acc[v] = fma_v(by, load(w + v / NV * panel + v % NV * VL), acc[v]);
    }
    UNROLL for (int v = 0; v < np * NV; v++)
        store(a + v / NV * stride + v % NV * VL, acc[v] + load(b + v * VL));
}

static void sparse_product(idx rows, const fnn_features *X, const ptrdiff_t *order, idx first, const void *W_, idx panel, idx panels,
                           const void *b_, void *a_, idx stride) {
    const real *W = W_, *b = b_;
    for (idx r = 0; r < rows; r++) {
        const idx row = order ? order[first + r] : first + r, start = X->indptr[row], n = X->indptr[row + 1] - start;
        const int32_t *inputs = X->indices + start;
        const real *x = (const real *)X->data + start;
        for (idx p = 0; p < panels; p += FNN_ROW_PANELS) {
            const real *w = W + p * panel;
            real *a = (real *)a_ + p * stride + r * NR;
            switch (panels - p) {
            case 1: sparse_tile(1, 1, n, inputs, x, w, panel, b + p * NR, a, stride); break;
            case 2: sparse_tile(2, 1, n, inputs, x, w, panel, b + p * NR, a, stride); break;
            case 3: sparse_tile(3, 1, n, inputs, x, w, panel, b + p * NR, a, stride); break;
            default: sparse_tile(FNN_ROW_PANELS, 1, n, inputs, x, w, panel, b + p * NR, a, stride);
            }
        }
    }
}

static void entries_product(idx rows, idx room, const int32_t *counts, const int32_t *inputs, const void *values, const void *W_,
                            idx panel, idx panels, const void *b_, void *a_, idx stride) {
    const real *W = W_, *b = b_;
    for (idx p = 0; p < panels; p += FNN_ROW_PANELS) { /* panels of weights that stay near for all rows */
        for (idx r = 0; r < rows; r++) {
            const int32_t *input = inputs + r * room;
            const real *x = (const real *)values + r * room, *w = W + p * panel;
            real *a = (real *)a_ + p * stride + r * NR;
            switch (panels - p) {
            case 1: sparse_tile(1, 0, counts[r], input, x, w, panel, b + p * NR, a, stride); break;
            case 2: sparse_tile(2, 0, counts[r], input, x, w, panel, b + p * NR, a, stride); break;
            case 3: sparse_tile(3, 0, counts[r], input, x, w, panel, b + p * NR, a, stride); break;
            default: sparse_tile(FNN_ROW_PANELS, 0, counts[r], input, x, w, panel, b + p * NR, a, stride);
            }
        }
    }
}

/* The first of entries e..end - 1 whose column is not below i. */
INLINE idx entry_from(const int32_t *indices, idx e, idx end, idx i) {
    while (e < end) {
        const idx middle = e + (end - e) / 2;
        if (indices[middle] < i) e = middle + 1; else end = middle;
    }
    return e;
}

static void sparse_sort(idx rows, const fnn_features *X, const ptrdiff_t *order, idx first, idx q0, idx q1, ptrdiff_t *ends,
                        fnn_entry *entries, void *values_) {
    real *values = values_;
    memset(ends, 0, (size_t)(q1 - q0) * sizeof(*ends));
    for (int pass = 0; pass < 2; pass++) { /* counts; then, from where each block starts, entries */
        for (idx r = 0; r < rows; r++) {
            const idx row = order ? order[first + r] : first + r;
            idx e = entry_from(X->indices, X->indptr[row], X->indptr[row + 1], q0 * NR);
            const idx end = entry_from(X->indices, e, X->indptr[row + 1], q1 * NR);
            if (pass == 0) for (; e < end; e++) ends[X->indices[e] / (unsigned)NR - q0]++;
            else for (; e < end; e++) {
                const idx to = ends[X->indices[e] / (unsigned)NR - q0]++;
                entries[to] = (fnn_entry){(int32_t)(X->indices[e] % (unsigned)NR), (int32_t)r};
                values[to] = ((const real *)X->data)[e];
            }
        }
        idx before = 0;
        if (pass == 0) for (idx q = 0; q < q1 - q0; q++) {
            const idx n = ends[q];
            ends[q] = before;
            before += n;
        }
    }
}

INLINE void sparse_gradient_tile(const int nv, idx n, const fnn_entry *entries, const real *x, idx m, const real *B, real *G, int first,
                                 real *W, real rate) {
    const V step = splat(-rate);
    uint64_t met = 0;
    for (idx t = 0; t < n; t++) {
        real *g = G + entries[t].input * NR;
        const real *b = B + (idx)entries[t].sample * NR;
        const uint64_t bit = (uint64_t)1 << entries[t].input;
        const V a = splat(x[t]);
        const int begin = first && !(met & bit);
        if (W && !(met & bit)) UNROLL for (int v = 0; v < nv; v++) prefetch_write(W + entries[t].input * NR + v * VL);
        UNROLL for (int v = 0; v < nv; v++)
            store(g + v * VL, fma_v(a, load(b + v * VL), begin ? (V){0} : load(g + v * VL)));
        met |= bit;
    }
    for (idx i = 0; i < m; i++) {
        const int was_met = (int)(met >> i & 1);
        UNROLL for (int v = 0; v < nv; v++) {
            real *w = W + i * NR + v * VL, *g = G + i * NR + v * VL;
            if (W && was_met) store(w, fma_v(step, load(g), load(w)));
            else if (!W && first && !was_met) store(g, (V){0});
        }
    }
}

static void sparse_gradient(idx n, const fnn_entry *entries, const void *values, idx m, const void *B, int nv, void *G, int first,
                            void *W, const fnn_rates *rates) {
    assert(m > 0 && m <= NR && NR <= 64);
    const real rate = W ? (real)rates->learning_rate : 0;
    if (nv == 1) sparse_gradient_tile(1, n, entries, values, m, B, G, first, W, rate);
    else sparse_gradient_tile(2, n, entries, values, m, B, G, first, W, rate);
}

#endif
