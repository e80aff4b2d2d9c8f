/* Products with the weights of one panel, and the gradient of one block: blocks that stay in L1, tile after tile, and what comes
 * next brought near meanwhile.
 *
 *   product_panel    C = finish(A B)          h = g(h_prev W^T + b); delta_prev = (delta W) g'(a)
 *   product_turned   the same, B stored by its columns
 *   gradient_block   G = A^T B                grad_W = h_prev^T delta, or the SGD step with it
 *   bias_gradient    g = column sums          grad_b
 */
#ifndef FNN_PANELS_H
#define FNN_PANELS_H

#include <assert.h>

#include "layout.h"
#include "tiles.h"

#define KC 128       /* steps of a product before it moves on: KC rows of weights (16 KiB on AVX-512) stay in L1 for all tiles */
#define KX 1024     /* ... where the user's rows are read as they lie: rather few runs of theirs than L1 for all of the weights */
#define FEW (2 * MR) /* rows that leave little time to bring anything near: the hardware does better where it can */

/* What a pass needs next: `lines` cache lines, in runs of `run` lines that start `gap` bytes apart. */
typedef struct {
    const char *from;
    idx lines, run, gap;
} coming;

/* All rows of a panel of C over n steps of the sum, or over n spans. A: from its column k on; B: the n rows of weights. What comes
 * next is brought near in lines spread over the tiles. */
INLINE void product_rows(idx rows, idx n, const real *A, idx row, idx stride, const real *B, const fnn_span *spans, real *C, int nv,
                         int first, int finish, const real *X, fnn_activation g, coming next) {
    product_tile_fn *const (*tile)[NV] = row == NR ? product_tiles : rows_tiles;
    const idx tiles = tiles_of(rows);
    idx done = 0, in_run = 0;
    for (idx t = 0, r = 0; t < tiles; t++) {
        const idx m = tile_rows(rows - r, tiles - t);
        for (; done < next.lines * (t + 1) / tiles; done++) {
            prefetch(next.from + in_run * LINE);
            if (++in_run == next.run) { next.from += next.gap; in_run = 0; }
        }
        tile[m - 1][nv - 1](n, A + r * row, row, stride, B, spans, C + r * NR, first, finish, finish == FNN_BACKWARD ? X + r * NR : X, g);
        r += m;
    }
}

/* product_panel of spans, about KC columns at a time. */
static void product_spans(idx rows, const real *A, idx stride, const real *B, const fnn_spans *spans, int far, int vectors,
                          int finish, const real *X, fnn_activation g, real *C) {
    const idx lines = far && rows > FEW ? KC * NR * (idx)sizeof(real) / LINE : 0;
    idx i = 0;
    do {
        idx end = i, steps = 0;
        while (end < spans->n && steps + spans->list[end].n <= KC) steps += spans->list[end++].n;
        const idx left = spans->n - end, column = left ? spans->list[end].column : 0;
        product_rows(rows, end - i, A, NR, stride, B, spans->list + i, C, vectors, i == 0, left ? FNN_PARTIAL : finish, X, g,
                     (coming){(const char *)(B + column * NR), left ? lines : 0, lines, 0});
        i = end;
    } while (i < spans->n);
}

static void product_panel(idx rows, idx n, const void *A_, idx row, idx stride, const void *B_, const fnn_spans *spans, int far,
                          int vectors, int finish, const void *X, fnn_activation g, void *C) {
    assert(rows > 0 && n > 0 && (vectors == 1 || vectors == 2) && (row == NR || stride == NR) && (row == NR || !spans));
    const real *A = A_, *B = B_;
    const idx most = rows <= FEW ? n : row != NR ? KX : KC;
    if (spans) { product_spans(rows, A, stride, B, spans, far, vectors, finish, X, g, C); return; }
    for (idx k = 0; k < n; k += most) {
        const idx steps = n - k < most ? n - k : most, left = n - k - steps; /* none left: the next panel's first rows come */
        const idx lines = far && rows > FEW ? (left > 0 && left < KC ? left : KC) * NR * (idx)sizeof(real) / LINE : 0;
        product_rows(rows, steps, A + (k / NR) * stride, row, stride, B + k * NR, NULL, C, vectors, k == 0, left ? FNN_PARTIAL : finish, X,
                     g, (coming){(const char *)(B + (k + steps) * NR), lines, lines, 0});
    }
}

static void product_turned(idx rows, idx n, const void *A_, idx stride, const void *W_, idx panel, int far, idx columns,
                           int finish, const void *X, fnn_activation g, void *C) {
    assert(rows > 0 && n > 0 && columns > 0 && columns <= NR);
    const real *A = A_, *W = W_;
    const idx run = columns * NR * (idx)sizeof(real) / LINE, most = rows <= FEW ? NR : KC;
    real B[KC * NR] __attribute__((aligned(64)));
    for (idx k = 0; k < n; k += most) {
        const idx steps = n - k < most ? n - k : most, left = n - k - steps; /* none left: the next panel of columns comes */
        const real *next = left ? W + (k + most) / NR * panel : W + NR * NR;
        const idx lines = far && rows > FEW ? (left > 0 && left < KC ? left : steps) / NR * run : 0;
        for (idx j = 0; j < steps; j += NR)
            turn(columns, steps - j > VL ? 2 : 1, W + (k + j) / NR * panel, B + j * NR, far && rows <= FEW ? next : NULL);
        product_rows(rows, steps, A + (k / NR) * stride, NR, stride, B, NULL, C, columns > VL ? 2 : 1, k == 0, left ? FNN_PARTIAL : finish, X,
                     g, (coming){(const char *)next, lines, run, panel * (idx)sizeof(real)});
    }
}

INLINE void bring_rows(fnn_prefetch *p) {
    if (!p || !p->X) return;
    const idx lines_a_row = (p->row_bytes + LINE - 1) / LINE + 1; /* a row may start inside a line */
    idx until = p->next + p->lines_a_tile;
    if (until > p->last) until = p->last;
    for (; p->next < until; p->next++)
        prefetch(p->X + p->order[p->next / lines_a_row] * p->row + p->next % lines_a_row * LINE);
}

#define KG 128 /* samples of a gradient before it moves on: their panels of A and B (2 x 16 KiB on AVX-512) stay in L1 */

#define SUMMED_BY_ROW 4 /* so few samples that a row of the block is loaded, summed, stepped and stored at once */

/* gradient_block of K samples, whose rows of B stay in registers. */
INLINE void gradient_by_row(const int K, const int nv, idx m, const real *A, const real *B, real *G, int first, real *W,
                            real rate, void *const near[FNN_NEAR]) {
    V b[SUMMED_BY_ROW][NV];
    const V step = splat(-rate);
    UNROLL for (int s = 0; s < K; s++) UNROLL for (int v = 0; v < nv; v++) b[s][v] = load(B + s * NR + v * VL);
    NO_UNROLL for (idx i = 0; i < m; i++) {
        V g[NV];
        if (near) for (int n = 0; n < FNN_NEAR && near[n]; n++)
            UNROLL for (int v = 0; v < nv; v++) prefetch_write((real *)near[n] + i * NR + v * VL);
        UNROLL for (int v = 0; v < nv; v++) g[v] = first ? (V){0} : load(G + i * NR + v * VL);
        UNROLL for (int s = 0; s < K; s++) {
            const V a = splat(A[s * NR + i]);
            UNROLL for (int v = 0; v < nv; v++) g[v] = fma_v(a, b[s][v], g[v]);
        }
        UNROLL for (int v = 0; v < nv; v++) {
            if (W) store(W + i * NR + v * VL, fma_v(step, g[v], load(W + i * NR + v * VL)));
            else store(G + i * NR + v * VL, g[v]);
        }
    }
}
#define BY_ROW(K, nv)                                                                                                       \
    NOINLINE void gradient_by_row_##K##x##nv(idx m, const real *A, const real *B, real *G, int first, real *W, real rate,   \
                                             void *const near[FNN_NEAR]) {                                                  \
        gradient_by_row(K, nv, m, A, B, G, first, W, rate, near);                                                           \
    }
#define F(K) BY_ROW(K, 1) BY_ROW(K, 2)
TILES_4(F)
#undef F
#define F(K) {gradient_by_row_##K##x1, gradient_by_row_##K##x2},
static void (*const gradients_by_row[SUMMED_BY_ROW][NV])(idx, const real *, const real *, real *, int, real *, real,
                                                         void *const[FNN_NEAR]) = {TILES_4(F)};
#undef F

static void gradient_block(idx batch, idx m_rows, const void *A_, const void *B_, int nv, void *G_, int first, void *W_,
                           const fnn_rates *rates, void *const near[FNN_NEAR], fnn_prefetch *rows) {
    assert(batch > 0 && m_rows > 0 && m_rows <= NR);
    const real *A = A_, *B = B_;
    real *G = G_, *W = W_;
    const real rate = W ? (real)rates->learning_rate : 0;
    const idx tiles = tiles_of(m_rows), visits = tiles * ((batch + KG - 1) / KG);
    const idx block_lines = NR * NR * (idx)sizeof(real) / LINE, A_lines = near ? batch * NR * (idx)sizeof(real) / LINE : 0;
    idx blocks = 0;
    while (near && blocks < FNN_NEAR && near[blocks]) blocks++;
    const idx lines = blocks * block_lines;
    const char *A_next = (const char *)(A + batch * NR);
    idx visit = 0, done = 0, A_done = 0;
    if (batch <= SUMMED_BY_ROW) {
        bring_rows(rows);
        gradients_by_row[batch - 1][nv - 1](m_rows, A, B, G, first, W, rate, near);
        return;
    }
    for (idx k = 0; k < batch; k += KG) {
        const idx n = batch - k < KG ? batch - k : KG;
        for (idx t = 0, r = 0; t < tiles; t++) {
            const idx m = tile_rows(m_rows - r, tiles - t);
            visit++;
            bring_rows(rows);
            for (; done < lines * visit / visits; done++)
                prefetch_write((const char *)near[done / block_lines] + done % block_lines * LINE);
            for (; A_done < A_lines * visit / visits; A_done++) prefetch(A_next + A_done * LINE);
            gradient_tiles[m - 1][nv - 1](n, A + k * NR + r, B + k * NR, G + r * NR, first && k == 0,
                                          W && k + n == batch ? W + r * NR : NULL, rate);
            r += m;
        }
    }
}

static void bias_gradient(idx batch, const void *delta, void *g_, int first) {
    const real *d = delta;
    real *g = g_;
    V sum[NV];
    for (int v = 0; v < NV; v++) sum[v] = first ? (V){0} : load(g + v * VL);
    for (idx r = 0; r < batch; r++)
        for (int v = 0; v < NV; v++) sum[v] += load(d + r * NR + v * VL);
    for (int v = 0; v < NV; v++) store(g + v * VL, sum[v]);
}

#endif
