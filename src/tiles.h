/* Tiles: m rows x nv vectors of sums in registers. Each sum is one chain of multiply-adds, in order of its index.
 *
 *   product    C (+)= A B, and then g(C + b), or C g'(a)         rows of C: samples
 *   gradient   G (+)= A^T B, and then W -= rate G                rows of G: inputs
 *
 * One function for each m and nv, so that the sums have fixed registers.
 */
#ifndef FNN_TILES_H
#define FNN_TILES_H

#include "activate.h"

/* Or gcc spills sums of the 6 x 2 tile (seen with gcc 12). */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("ira-region=all")
#endif

#define ALL(r, v) UNROLL for (int r = 0; r < m; r++) UNROLL for (int v = 0; v < nv; v++)

/* Steps of the sums between two jumps back. Beside the sums of a large tile of wide vectors a jump takes no time: one step is a
 * third of the code (measured; on AVX2 it is 2% slower). */
#define STEPS (FNN_VECTOR_BYTES == 64 && m > 6 ? 1 : 4)
#define SOME_STEPS { STEP(0) if (STEPS > 1) { STEP(1) STEP(2) STEP(3) } }

/* Rows of A that lie anywhere share a pointer, so many of them: with one register for each offset gcc reads offsets from the stack. */
#define ROWS_FROM 3

/* C[m, nv] (+)= A[m, K] B[K, nv]. A: panels, `stride` apart, their rows `row` apart; B: rows of NR. With spans, K of them, only those
 * columns of A, and rows of B. Each element of C is one sum, in order of k. */
INLINE void product_tile(const int m, const int nv, idx K, const real *A, idx row, idx stride, const real *B, const fnn_span *spans,
                         real *C, int first, int finish, const real *X, fnn_activation g) {
    V acc[MR][NV];
    if (first) { ALL(r, v) acc[r][v] = (V){0}; }
    else { ALL(r, v) acc[r][v] = load(C + r * NR + v * VL); }
#define STEP(u)                                                                \
    {                                                                          \
        V b[NV];                                                               \
        UNROLL for (int v = 0; v < nv; v++) b[v] = load(b_from + (u) * NR + v * VL); \
        UNROLL for (int r = 0; r < m; r++) {                                   \
            V a = splat((from[r / ROWS_FROM] + r % ROWS_FROM * row)[u]);       \
            UNROLL for (int v = 0; v < nv; v++) acc[r][v] = fma_v(a, b[v], acc[r][v]); \
        }                                                                      \
    }
#define ON(n) { UNROLL for (int i = 0; i < m; i += ROWS_FROM) from[i / ROWS_FROM] += (n); b_from += (n) * NR; }
    const real *a_from = A, *b_from = B;
    NO_UNROLL while (K > 0) { /* a panel of A: NR steps; or a span of it */
        idx n = K < NR ? K : NR;
        const real *from[(MR + ROWS_FROM - 1) / ROWS_FROM];
        idx k = 0;
        if (spans) {
            const size_t column = (size_t)spans->column;
            a_from = A + column / NR * (size_t)stride + column % NR;
            b_from = B + column * NR;
            n = spans++->n;
        }
        if (row != NR) NO_UNROLL for (int r = 0; r < m; r++) { prefetch(a_from + r * row + NR); prefetch(a_from + r * row + NR + VL); }
        UNROLL for (int i = 0; i < m; i += ROWS_FROM) from[i / ROWS_FROM] = a_from + i * row;
        NO_UNROLL for (; k + STEPS <= n; k += STEPS) { SOME_STEPS ON(STEPS) }
        for (; STEPS > 1 && k < n; k++) { STEP(0) ON(1) }
        a_from += stride;
        K -= spans ? 1 : n;
    }
#undef ON
#undef STEP
    if (finish == FNN_FORWARD) {
        V b[NV];
        UNROLL for (int v = 0; v < nv; v++) b[v] = load(X + v * VL);
        if (g.id == fnn_relu) { ALL(r, v) { V d; store(C + r * NR + v * VL, activate(acc[r][v] + b[v], relu, &d)); } return; }
        ALL(r, v) store(C + r * NR + v * VL, acc[r][v] + b[v]);
        if (g.id != fnn_identity) activate_rows(m, nv, C, g, NULL);
    } else if (finish == FNN_BACKWARD && g.id == fnn_relu) {
        ALL(r, v) store(C + r * NR + v * VL, acc[r][v] * derivative(load(X + r * NR + v * VL), relu));
    } else {
        ALL(r, v) store(C + r * NR + v * VL, acc[r][v]);
        if (finish == FNN_BACKWARD && g.id != fnn_identity) differentiate_rows(m, nv, C, X, g);
    }
}

/* G[m, nv] (+)= A^T[m, K] B[K, nv]: A and B rows of NR, one for each sample, summed in order; with W, the SGD step on it instead
 * of the last store to G. */
INLINE void gradient_tile(const int m, const int nv, idx K, const real *A, const real *B, real *G, int first, real *W, real rate) {
    V acc[MR][NV];
    if (first) { ALL(r, v) acc[r][v] = (V){0}; }
    else { ALL(r, v) acc[r][v] = load(G + r * NR + v * VL); }
    if (W) UNROLL for (int r = 0; r < m; r++) { /* W comes in while the sums are made */
        prefetch_write(W + r * NR);
        if (nv * VL * sizeof(real) > LINE) prefetch_write(W + r * NR + VL);
    }
#define STEP(u)                                                                \
    {                                                                          \
        V b[NV];                                                               \
        UNROLL for (int v = 0; v < nv; v++) b[v] = load(B + (u) * NR + v * VL); \
        UNROLL for (int r = 0; r < m; r++) {                                   \
            V a = splat(A[r + (u) * NR]);                                      \
            UNROLL for (int v = 0; v < nv; v++) acc[r][v] = fma_v(a, b[v], acc[r][v]); \
        }                                                                      \
    }
    NO_UNROLL for (; K >= STEPS; K -= STEPS, A += STEPS * NR, B += STEPS * NR) SOME_STEPS
    for (; STEPS > 1 && K > 0; K--, A += NR, B += NR) STEP(0)
#undef STEP
    if (W) { const V step = splat(-rate); ALL(r, v) store(W + r * NR + v * VL, fma_v(step, acc[r][v], load(W + r * NR + v * VL))); }
    else { ALL(r, v) store(G + r * NR + v * VL, acc[r][v]); }
}

typedef void product_tile_fn(idx, const real *, idx, idx, const real *, const fnn_span *, real *, int, int, const real *, fnn_activation);
typedef void gradient_tile_fn(idx, const real *, const real *, real *, int, real *, real);

#define TILE(m, nv)                                                                                                      \
    NOINLINE void product_tile_##m##x##nv(idx K, const real *A, idx row, idx stride, const real *B, const fnn_span *spans, \
                                          real *C, int first, int finish, const real *X, fnn_activation g) {               \
        (void)row;                                                                                                       \
        product_tile(m, nv, K, A, NR, stride, B, spans, C, first, finish, X, g);                                \
    }                                                                                                                    \
    NOINLINE void rows_tile_##m##x##nv(idx K, const real *A, idx row, idx stride, const real *B, const fnn_span *spans,  \
                                       real *C, int first, int finish, const real *X, fnn_activation g) {                  \
        (void)stride;                                                                                                    \
        (void)spans;                                                                                                     \
        product_tile(m, nv, K, A, row, NR, B, NULL, C, first, finish, X, g);                                    \
    }                                                                                                                    \
    NOINLINE void gradient_tile_##m##x##nv(idx K, const real *A, const real *B, real *G, int first, real *W, real rate) { \
        gradient_tile(m, nv, K, A, B, G, first, W, rate);                                                              \
    }
#define TILES_4(F) F(1) F(2) F(3) F(4)
#define TILES_6(F) TILES_4(F) F(5) F(6)
#define TILES_12(F) TILES_6(F) F(7) F(8) F(9) F(10) F(11) F(12)
#define TILES_14(F) TILES_12(F) F(13) F(14)
#define TILES__(n, F) TILES_##n(F)
#define TILES_(n, F) TILES__(n, F)
#define F(m) TILE(m, 1) TILE(m, 2)
TILES_(FNN_MR, F)
#undef F
#define F(m) {product_tile_##m##x1, product_tile_##m##x2},
static product_tile_fn *const product_tiles[MR][NV] = {TILES_(FNN_MR, F)};
#undef F
#define F(m) {rows_tile_##m##x1, rows_tile_##m##x2},
static product_tile_fn *const rows_tiles[MR][NV] = {TILES_(FNN_MR, F)};
#undef F
#define F(m) {gradient_tile_##m##x1, gradient_tile_##m##x2},
static gradient_tile_fn *const gradient_tiles[MR][NV] = {TILES_(FNN_MR, F)};
#undef F

/* Rows of the next tile, when `rows` are left for `tiles` tiles: as even as can be (128 rows = ten tiles of 12 or 13). */
INLINE idx tile_rows(idx rows, idx tiles) { return (rows + tiles - 1) / tiles; }
INLINE idx tiles_of(idx rows) { return (rows + MR - 1) / MR; }

/* Chains of x = x / 2 + 1, each step waiting for the one before it alone. There are more chains than an FMA's latency times the FMAs
 * that start in a cycle (4 x 2 on x86-64, 4 x 4 on arm64), and they stay in registers with the two constants. */
static double multiply_adds(idx rounds, void *x_) {
    enum { m = MR < 12 ? 6 : 12, nv = 2 };
    real *x = x_;
    V acc[m][nv];
    ALL(r, v) acc[r][v] = load(x) + splat(r * nv + v); /* all different, or the compiler would make them one */
    NO_UNROLL for (idx i = 0; i < rounds; i++) ALL(r, v) acc[r][v] = fma_v(acc[r][v], splat((real)0.5), splat(1));
    V sum = {0};
    ALL(r, v) sum += acc[r][v];
    store(x, sum);
    return 2.0 * m * nv * VL * (double)rounds;
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

#endif
