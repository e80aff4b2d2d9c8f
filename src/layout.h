/* Between the user's layout, row-major, and panels (kernels.h). Copies: no arithmetic. */
#ifndef FNN_LAYOUT_H
#define FNN_LAYOUT_H

#include "kernels.h"
#include "simd.h"

/* Wt <- Wp^T; of `next`, another block, come near the lines that Wp has here. */
INLINE void turn(idx rows, int vectors, const real *Wp, real *Wt, const real *next) {
    for (idx i = 0; i < rows; i += VL)
        for (idx j = 0; j < vectors * VL; j += VL) {
            V v[VL];
            if (next) UNROLL for (int e = 0; e < VL; e++) prefetch(next + (i + e) * NR + j);
            if (i + VL <= rows) { UNROLL for (int e = 0; e < VL; e++) v[e] = load(Wp + (i + e) * NR + j); }
            else { for (int e = 0; e < VL; e++) v[e] = i + e < rows ? load(Wp + (i + e) * NR + j) : (V){0}; }
            transpose(v);
            UNROLL for (int e = 0; e < VL; e++) store(Wt + (j + e) * NR + i, v[e]);
        }
}

static void transpose_block(idx rows, int vectors, const void *Wp, void *Wt) { turn(rows, vectors, Wp, Wt, NULL); }

static void pack_panel(idx n_in, idx cols, const void *W_, void *Wp_) {
    const real *W = W_;
    real *Wp = Wp_;
    for (idx j = 0; j < NR; j += VL) {
        idx i = 0;
        if (j + VL <= cols) for (; i + VL <= n_in; i += VL) {
            V v[VL];
            UNROLL for (int e = 0; e < VL; e++) v[e] = load(W + (j + e) * n_in + i);
            transpose(v);
            UNROLL for (int e = 0; e < VL; e++) store(Wp + (i + e) * NR + j, v[e]);
        }
        for (; i < n_in; i++)
            for (idx e = j; e < j + VL; e++) Wp[i * NR + e] = e < cols ? W[e * n_in + i] : 0;
    }
}

static void unpack_panel(idx n_in, idx cols, const void *Wp_, void *W_) {
    const real *Wp = Wp_;
    real *W = W_;
    for (idx j = 0; j < cols; j += VL) {
        idx i = 0;
        if (j + VL <= cols) for (; i + VL <= n_in; i += VL) {
            V v[VL];
            UNROLL for (int e = 0; e < VL; e++) v[e] = load(Wp + (i + e) * NR + j);
            transpose(v);
            UNROLL for (int e = 0; e < VL; e++) store(W + (j + e) * n_in + i, v[e]);
        }
        const idx end = j + VL < cols ? j + VL : cols;
        for (; i < n_in; i++)
            for (idx e = j; e < end; e++) W[e * n_in + i] = Wp[i * NR + e];
    }
}

static void gather(idx rows, idx n, const void *X, const ptrdiff_t *order, void *to, idx stride) {
    const idx part = n % NR;
    for (idx r = 0; r < rows; r++) {
        const real *x = (const real *)X + (order ? order[r] : r) * n;
        real *h = (real *)to + r * NR;
        idx j = 0;
        for (; j + NR <= n; j += NR, h += stride) UNROLL for (int v = 0; v < NV; v++) store(h + v * VL, load(x + j + v * VL));
        if (part >= VL) store(h, load(x + j));
        if (part % VL) store(h + part / VL * VL, load_part(x + j + part / VL * VL, part % VL));
    }
}

static void scatter(idx rows, idx n, const void *h_, idx stride, void *X_) {
    const idx part = n % NR;
    for (idx r = 0; r < rows; r++) {
        const real *h = (const real *)h_ + r * NR;
        real *x = (real *)X_ + r * n;
        idx j = 0;
        for (; j + NR <= n; j += NR, h += stride) UNROLL for (int v = 0; v < NV; v++) store(x + j + v * VL, load(h + v * VL));
        if (part >= VL) store(x + j, load(h));
        if (part % VL) store_part(x + j + part / VL * VL, load(h + part / VL * VL), part % VL);
    }
}

#endif
