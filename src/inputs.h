/* phi(x): what layer 1 gets of a user's row x, column by column (docs/maths.md, section 6), and the gradient of its parameters.
 *
 * A kernel takes one column, x being panels of X, h and delta panels of features. Parameters of a column stand together:
 *   FNN_PERIODIC   w (n,), b (n,), V (width - 1, n), c (width - 1,)
 *   FNN_PIECEWISE  T (n, width), c (width,); none where the bins themselves are the features
 *   FNN_CATEGORIES T (n, width); none where the codes themselves are
 * Sums over samples are in their order, sums over frequencies and bins in theirs.
 */
#ifndef FNN_INPUTS_H
#define FNN_INPUTS_H

#include <assert.h>

#include "elementary.h"
#include "kernels.h"

#define BY_2_PI ((real)0.15915494309189533577)
#define TWO_PI ((real)6.2831853071795864769)

/* Where feature j of a block's first row lies; of the next row NR further. */
INLINE real *feature(const void *h, idx stride, idx j) { return (real *)h + j / NR * stride + j % NR; }

/* Features j, j + 1, ... of a row, n of them or VL; h: the row. They may go on in the next panel. */
INLINE V load_features(const real *h, idx stride, idx j, idx n) {
    real part[VL] = {0};
    if (n >= VL && j % NR + VL <= NR) return load(feature(h, stride, j));
    for (idx e = 0; e < (n < VL ? n : VL); e++) part[e] = *feature(h, stride, j + e);
    return load(part);
}

INLINE void store_features(real *h, idx stride, idx j, V v, idx n) {
    if (n >= VL && j % NR + VL <= NR) { store(feature(h, stride, j), v); return; }
    for (idx e = 0; e < (n < VL ? n : VL); e++) *feature(h, stride, j + e) = v[e];
}

/* Its place in the table, or -1 where x is none of 0..n-1. */
INLINE idx code_of(real x, idx n) {
    if (!(x >= 0 && x < (real)n)) return -1;
    return (real)(idx)x == x ? (idx)x : -1;
}

/* Of bins i.. how far x is through them: (x - edge) / width, within 0..1, but below the first bin and above the last on and on. */
INLINE V through_bins(const fnn_column *c, real x, idx i) {
    const real *edges = (const real *)c->edges + i;
    const idx n = c->n, left = n - i;
    const V p = (splat(x) - load_first(edges, left)) * load_first(edges + n, left);
    return at_most(at_least(p, load_first(edges + 2 * n, left)), load_first(edges + 3 * n, left));
}

/* x itself, and V cos(2 pi w x + b) + c: lanes are samples, four of the sums over frequencies at a time. */
NOINLINE void periodic(idx rows, const fnn_column *c, const real *E, const real *x, real *h, idx stride) {
    enum { AT_A_TIME = 4 };
    const idx n = c->n, width = c->width - 1;
    const real *w = E, *b = w + n, *weights = b + n, *shift = weights + width * n;
    for (idx r = 0; r < rows; r += VL) {
        const idx m = rows - r < VL ? rows - r : VL;
        real part[VL] = {0};
        for (idx e = 0; e < m; e++) part[e] = feature(h, stride, c->first)[(r + e) * NR] = x[(r + e) * NR];
        for (idx d0 = 0; d0 < width; d0 += AT_A_TIME) {
            const idx wide = width - d0 < AT_A_TIME ? width - d0 : AT_A_TIME;
            V sum[AT_A_TIME];
            UNROLL for (int d = 0; d < AT_A_TIME; d++) if (d < wide) sum[d] = splat(shift[d0 + d]);
            for (idx f = 0; f < n; f++) {
                V sine, cosine;
                sin_cos_turns(fma_v(splat(w[f]), load(part), splat(b[f] * BY_2_PI)), &sine, &cosine);
                UNROLL for (int d = 0; d < AT_A_TIME; d++)
                    if (d < wide) sum[d] = fma_v(splat(weights[(d0 + d) * n + f]), cosine, sum[d]);
            }
            UNROLL for (int d = 0; d < AT_A_TIME; d++) if (d < wide) {
                real *to = feature(h, stride, c->first + 1 + d0 + d) + r * NR;
                for (idx e = 0; e < m; e++) to[e * NR] = sum[d][e];
            }
        }
    }
}

/* p, or p T + c: lanes are bins, or features. */
NOINLINE void piecewise(idx rows, const fnn_column *c, const real *E, const real *x, real *h, idx stride) {
    const idx n = c->n, width = c->width;
    for (idx r = 0; r < rows; r++, h += NR, x += NR) {
        if (!c->size) for (idx i = 0; i < n; i += VL) store_features(h, stride, c->first + i, through_bins(c, *x, i), n - i);
        else for (idx d = 0; d < width; d += VL) {
            V sum = load_first(E + n * width + d, width - d);
            for (idx i = 0; i < n; i += VL) {
                const V p = through_bins(c, *x, i);
                if (i && p[0] == 0) break; /* and so are all others */
                for (idx e = 0; e < VL && i + e < n; e++) sum = fma_v(splat(p[e]), load_first(E + (i + e) * width + d, width - d), sum);
            }
            store_features(h, stride, c->first + d, sum, width - d);
        }
    }
}

/* A row of T, or of the identity; zeros for other codes. */
NOINLINE void categories(idx rows, const fnn_column *c, const real *E, const real *x, real *h, idx stride) {
    const idx width = c->width;
    for (idx r = 0; r < rows; r++, h += NR) {
        const idx code = code_of(x[r * NR], c->n);
        for (idx d = 0; d < width; d += VL) {
            const int from_table = c->size && code >= 0;
            store_features(h, stride, c->first + d, from_table ? load_first(E + code * width + d, width - d) : splat(0), width - d);
        }
        if (!c->size && code >= 0) *feature(h, stride, c->first + code) = 1;
    }
}

static void features(idx rows, const fnn_column *c, const void *E_, const void *x_, idx x_stride, void *h, idx stride) {
    const real *E = (const real *)E_ + c->start, *x = feature(x_, x_stride, c->column);
    switch (c->kind) {
    case FNN_PLAIN:
        for (idx j = 0; j < c->width; j++) {
            real *to = feature(h, stride, c->first + j);
            x = feature(x_, x_stride, c->column + j);
            for (idx r = 0; r < rows; r++) to[r * NR] = x[r * NR];
        }
        return;
    case FNN_PERIODIC: periodic(rows, c, E, x, h, stride); return;
    case FNN_PIECEWISE: piecewise(rows, c, E, x, h, stride); return;
    case FNN_CATEGORIES: categories(rows, c, E, x, h, stride); return;
    default: assert(!"a kind of column");
    }
}

/* The bin of x: the first or last one where x lies outside all. */
INLINE idx bin_of(const real *edges, idx n, real x) {
    idx low = 0, high = n;
    while (high - low > 1) {
        const idx middle = (low + high) / 2;
        if (edges[middle] <= x) low = middle; else high = middle;
    }
    return low;
}

/* One-hot: the row of the code. By bins: rows 2 i, the value where bin i begins, and 2 i + 1, what the whole bin adds. */
static void entries(idx rows, const fnn_column *c, const void *s_, const void *x_, idx x_stride, idx room, int32_t *counts,
                    int32_t *inputs, void *values_) {
    const real *s = s_, *x = feature(x_, x_stride, c->column), *edges = c->edges;
    for (idx r = 0; r < rows; r++, inputs += room) {
        int32_t *input = inputs + counts[r];
        real *value = (real *)values_ + r * room + counts[r];
        if (c->kind == FNN_CATEGORIES) {
            const idx code = code_of(x[r * NR], c->n);
            if (code < 0) continue;
            *input = (int32_t)(c->first + code);
            *value = s ? s[*input] : 1;
            counts[r]++;
        } else {
            const idx i = bin_of(edges, c->n, x[r * NR]);
            input[0] = (int32_t)(c->first + 2 * i);
            input[1] = input[0] + 1;
            value[0] = 1;
            value[1] = through_bins(c, x[r * NR], i)[0];
            counts[r] += 2;
        }
    }
}

/* dL/dV = sum over rows of delta cos^T, dL/dc = sum of delta; with e = -(V^T delta) sin, dL/db = sum of e, dL/dw = sum of 2 pi x e.
 * Lanes are frequencies. */
NOINLINE void periodic_gradient(idx rows, const fnn_column *c, const real *E, const real *x, const real *delta, const real *s,
                                idx stride, real *g) {
    const idx n = c->n, width = c->width - 1, first = c->first + 1;
    const real *w = E, *b = w + n, *weights = b + n;
    for (idx d = 0; d < width; d++) {
        const real by = s ? s[first + d] : 1;
        real *to = g + 2 * n + width * n + d, sum = *to;
        for (idx r = 0; r < rows; r++) sum += feature(delta, stride, first + d)[r * NR] * by;
        *to = sum;
    }
    for (idx f = 0; f < n; f += VL) {
        const idx left = n - f;
        const V frequency = load_first(w + f, left), phase = load_first(b + f, left) * splat(BY_2_PI);
        V of_w = load_first(g + f, left), of_b = load_first(g + n + f, left);
        for (idx r = 0; r < rows; r++) {
            V sine, cosine, e = {0};
            sin_cos_turns(fma_v(frequency, splat(x[r * NR]), phase), &sine, &cosine);
            for (idx d = 0; d < width; d++) {
                const V by = splat(feature(delta, stride, first + d)[r * NR] * (s ? s[first + d] : 1));
                real *to = g + 2 * n + d * n + f;
                e = fma_v(by, load_first(weights + d * n + f, left), e);
                store_first(to, fma_v(by, cosine, load_first(to, left)), left);
            }
            e = -e * sine;
            of_b += e;
            of_w = fma_v(splat(TWO_PI * x[r * NR]), e, of_w);
        }
        store_first(g + f, of_w, left);
        store_first(g + n + f, of_b, left);
    }
}

/* dL/dT = sum over rows of p^T delta, dL/dc = sum of delta. Lanes are features. */
NOINLINE void piecewise_gradient(idx rows, const fnn_column *c, const real *x, const real *delta, const real *s, idx stride, real *g) {
    const idx n = c->n, width = c->width;
    for (idx d = 0; d < width; d += VL) {
        const idx left = width - d;
        const V by = s ? load_first(s + c->first + d, left) : splat(1);
        for (idx r = 0; r < rows; r++) {
            const V of_row = load_features(delta + r * NR, stride, c->first + d, left) * by;
            real *to = g + n * width + d;
            store_first(to, load_first(to, left) + of_row, left);
            for (idx i = 0; i < n; i += VL) {
                const V p = through_bins(c, x[r * NR], i);
                if (i && p[0] == 0) break;
                for (idx e = 0; e < VL && i + e < n; e++) {
                    to = g + (i + e) * width + d;
                    store_first(to, fma_v(splat(p[e]), of_row, load_first(to, left)), left);
                }
            }
        }
    }
}

/* dL/dT: each row's delta goes to the row of T that it has used. */
NOINLINE void categories_gradient(idx rows, const fnn_column *c, const real *x, const real *delta, const real *s, idx stride, real *g) {
    const idx width = c->width;
    for (idx r = 0; r < rows; r++) {
        const idx code = code_of(x[r * NR], c->n);
        if (code >= 0) for (idx d = 0; d < width; d += VL) {
            const idx left = width - d;
            const V by = s ? load_first(s + c->first + d, left) : splat(1);
            real *to = g + code * width + d;
            store_first(to, fma_v(load_features(delta + r * NR, stride, c->first + d, left), by, load_first(to, left)), left);
        }
    }
}

static void features_gradient(idx rows, const fnn_column *c, const void *E_, const void *x_, idx x_stride, const void *delta,
                              const void *s, idx stride, void *g_, int first) {
    const real *E = (const real *)E_ + c->start, *x = feature(x_, x_stride, c->column);
    real *g = (real *)g_ + c->start;
    if (first) memset(g, 0, (size_t)c->size * sizeof(real));
    switch (c->kind) {
    case FNN_PERIODIC: periodic_gradient(rows, c, E, x, delta, s, stride, g); return;
    case FNN_PIECEWISE: piecewise_gradient(rows, c, x, delta, s, stride, g); return;
    case FNN_CATEGORIES: categories_gradient(rows, c, x, delta, s, stride, g); return;
    default: assert(!"a kind of column with parameters");
    }
}

/* h = s phi, of one panel; h may be phi. */
static void scale_features(idx rows, int vectors, const void *s, const void *phi, void *h) {
    for (int v = 0; v < vectors; v++) {
        const V by = load((const real *)s + v * VL);
        for (idx r = 0; r < rows; r++) store((real *)h + r * NR + v * VL, load((const real *)phi + r * NR + v * VL) * by);
    }
}

#endif
