/* Normalisation, forward and backward (docs/maths.md, section 6): xhat = (u - mean) inv, a = gamma xhat + beta.
 * Batch: over the rows of one panel. Layer: over the columns of each row. */
#ifndef FNN_NORMALISE_H
#define FNN_NORMALISE_H

#include "kernels.h"
#include "simd.h"

/* Columns of a panel: sums in order of the rows. */
static void batch_norm(idx rows, const fnn_norm *norm, idx column, int learn, void *u_, void *xhat_, void *inv_) {
    real *u = u_, *xhat = xhat_, *running = (real *)norm->mean + column, *running_variance = (real *)norm->variance + column;
    const V m = splat((real)rows);
    V mean[NV], inv[NV], gamma[NV], beta[NV];
    UNROLL for (int v = 0; v < NV; v++) {
        gamma[v] = load((const real *)norm->gamma + column + v * VL);
        beta[v] = load((const real *)norm->beta + column + v * VL);
    }
    if (rows == 1) {
        UNROLL for (int v = 0; v < NV; v++) {
            mean[v] = load(running + v * VL);
            inv[v] = splat(1) / root_v(load(running_variance + v * VL) + splat((real)norm->epsilon));
        }
    } else {
        V variance[NV] = {{0}};
        UNROLL for (int v = 0; v < NV; v++) mean[v] = (V){0};
        for (idx r = 0; r < rows; r++) UNROLL for (int v = 0; v < NV; v++) mean[v] += load(u + r * NR + v * VL);
        UNROLL for (int v = 0; v < NV; v++) mean[v] = mean[v] / m;
        for (idx r = 0; r < rows; r++) UNROLL for (int v = 0; v < NV; v++) {
            const V e = load(u + r * NR + v * VL) - mean[v];
            variance[v] = fma_v(e, e, variance[v]);
        }
        UNROLL for (int v = 0; v < NV; v++) {
            if (learn) { /* the unbiased variance */
                const V to = splat((real)norm->momentum), keep = splat((real)(1 - norm->momentum));
                store(running + v * VL, fma_v(to, mean[v], keep * load(running + v * VL)));
                store(running_variance + v * VL, fma_v(to, variance[v] / (m - splat(1)), keep * load(running_variance + v * VL)));
            }
            inv[v] = splat(1) / root_v(variance[v] / m + splat((real)norm->epsilon));
        }
    }
    UNROLL for (int v = 0; v < NV; v++) store((real *)inv_ + v * VL, inv[v]);
    for (idx r = 0; r < rows; r++) UNROLL for (int v = 0; v < NV; v++) {
        const V x = (load(u + r * NR + v * VL) - mean[v]) * inv[v];
        store(xhat + r * NR + v * VL, x);
        store(u + r * NR + v * VL, fma_v(gamma[v], x, beta[v]));
    }
}

/* du = gamma inv (delta - mean of delta - xhat mean of delta xhat), means over rows; a row alone: gamma inv delta. */
static void batch_norm_delta(idx rows, const void *gamma, const void *delta_, const void *xhat_, const void *inv, void *du) {
    const real *delta = delta_, *xhat = xhat_;
    V sum[NV] = {{0}}, product[NV] = {{0}}, by[NV];
    if (rows > 1) for (idx r = 0; r < rows; r++) UNROLL for (int v = 0; v < NV; v++) {
        const V d = load(delta + r * NR + v * VL);
        sum[v] += d;
        product[v] = fma_v(d, load(xhat + r * NR + v * VL), product[v]);
    }
    UNROLL for (int v = 0; v < NV; v++) {
        sum[v] = sum[v] / splat((real)rows);
        product[v] = product[v] / splat((real)rows);
        by[v] = load((const real *)gamma + v * VL) * load((const real *)inv + v * VL);
    }
    for (idx r = 0; r < rows; r++) UNROLL for (int v = 0; v < NV; v++) {
        const idx at = r * NR + v * VL;
        store((real *)du + at, by[v] * fma_v(-load(xhat + at), product[v], load(delta + at) - sum[v]));
    }
}

static void scale_gradient(idx batch, const void *delta, const void *xhat, void *g, int first) {
    V sum[NV];
    UNROLL for (int v = 0; v < NV; v++) sum[v] = first ? (V){0} : load((real *)g + v * VL);
    for (idx r = 0; r < batch; r++) UNROLL for (int v = 0; v < NV; v++)
        sum[v] = fma_v(load((const real *)delta + r * NR + v * VL), load((const real *)xhat + r * NR + v * VL), sum[v]);
    UNROLL for (int v = 0; v < NV; v++) store((real *)g + v * VL, sum[v]);
}

/* A row's sum over its columns j: 16 sums, of every 16th column in order of j, then of these halves to halves; so they lie in the
 * lanes of one vector or of several, and a row alone has the same bits as among others. */
enum { SUMS = 16, PARTS = SUMS / VL };

INLINE real fold(const V part[PARTS]) {
    real sum[SUMS];
    UNROLL for (int s = 0; s < PARTS; s++) store(sum + s * VL, part[s]);
    UNROLL for (int half = SUMS / 2; half > 0; half /= 2) UNROLL for (int e = 0; e < half; e++) sum[e] += sum[e + half];
    return sum[0];
}

/* 1 in the columns of the last vector that hold anything. */
INLINE V last_columns(idx n) {
    static const real ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    return n % VL ? load_part(ones, n % VL) : splat(1);
}

#define PLACE(j) ((j) / NR * stride + (j) % NR)
#define COLUMNS(j, s) for (idx i = 0; i < n; i += SUMS) UNROLL for (int s = 0; s < PARTS; s++) for (idx j = i + s * VL; j < n; j = n)

static void layer_norm(idx rows, idx n, const fnn_norm *norm, void *u_, idx stride, void *xhat_, void *inv_) {
    const real *gamma = norm->gamma, *beta = norm->beta;
    const V last = last_columns(n);
    for (idx r = 0; r < rows; r++) {
        real *u = (real *)u_ + r * NR, *xhat = xhat_ ? (real *)xhat_ + r * NR : NULL;
        V sum[PARTS] = {{0}}, squares[PARTS] = {{0}};
        COLUMNS(j, s) sum[s] += load(u + PLACE(j)) * (n - j < VL ? last : splat(1));
        const V mean = splat(fold(sum) / (real)n);
        COLUMNS(j, s) {
            const V e = (load(u + PLACE(j)) - mean) * (n - j < VL ? last : splat(1));
            squares[s] = fma_v(e, e, squares[s]);
        }
        const V inv = splat(1) / root_v(splat(fold(squares) / (real)n + (real)norm->epsilon));
        if (inv_) ((real *)inv_)[r] = inv[0];
        for (idx j = 0; j < n; j += VL) {
            const V x = (load(u + PLACE(j)) - mean) * inv;
            if (xhat) store(xhat + PLACE(j), x);
            store(u + PLACE(j), fma_v(load(gamma + j), x, load(beta + j)));
        }
    }
}

/* du = inv (c - mean of c - xhat mean of c xhat), c = gamma delta, means over columns. Columns past n: 0, as gamma is there. */
static void layer_norm_delta(idx rows, idx n, const void *gamma_, const void *delta_, const void *xhat_, idx stride,
                             const void *inv, void *du_) {
    const real *gamma = gamma_;
    const V last = last_columns(n);
    for (idx r = 0; r < rows; r++) {
        const real *delta = (const real *)delta_ + r * NR, *xhat = (const real *)xhat_ + r * NR;
        real *du = (real *)du_ + r * NR;
        V sum[PARTS] = {{0}}, product[PARTS] = {{0}};
        COLUMNS(j, s) {
            const V c = load(gamma + j) * load(delta + PLACE(j));
            sum[s] += c;
            product[s] = fma_v(c, load(xhat + PLACE(j)), product[s]);
        }
        const V mean = splat(fold(sum) / (real)n), of_xhat = splat(fold(product) / (real)n), by = splat(((const real *)inv)[r]);
        for (idx j = 0; j < n; j += VL) {
            const V c = load(gamma + j) * load(delta + PLACE(j));
            const V d = by * fma_v(-load(xhat + PLACE(j)), of_xhat, c - mean);
            store(du + PLACE(j), n - j < VL ? d * last : d);
        }
    }
}

#endif
