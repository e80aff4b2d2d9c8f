/* The portable bodies of the kernels (contracts: kernels.h), compiled once for each ISA and type of real. */
#include <assert.h>
#include <math.h>

#include "elementary.h"
#include "kernels.h"
#include "random.h"
#include "simd.h"

#define ALL(r, v) UNROLL for (int r = 0; r < m; r++) UNROLL for (int v = 0; v < nv; v++)

/* Activations ------------------------------------------------------------------------------------------------- */

/* h = g(a), and *slope = g'(a). */
INLINE V activate(V a, fnn_activation g, V *slope) {
    const V p = splat((real)g.parameter);
    V h = a, d = splat(1);
    (void)p;
    switch (g.id) {
#define X(name, id, initial, keeps, formula, dg) case id: h = formula; if (!keeps) d = dg; break;
        FNN_OUTPUTS(X)
#undef X
    default: break; /* softmax needs the whole row: the output pass applies it */
    }
    *slope = d;
    return h;
}

/* g'(a) from h, or from what is kept. */
INLINE V derivative(V h, fnn_activation g) {
    const V p = splat((real)g.parameter);
    (void)p;
    switch (g.id) {
#define X(name, id, initial, keeps, formula, dg) case id: return dg;
        FNN_ACTIVATIONS(X)
#undef X
    case FNN_FACTOR: return h;
    default: return splat(1);
    }
}

static const fnn_activation relu = {fnn_relu, 0};

/* The choice of formula stands outside the loop over elements. */
#define X(name, id, initial, keeps, formula, dg)                                                   \
    NOINLINE void activate_rows_##name(const int m, const int nv, real *h, double p, real *d) {      \
        const fnn_activation g = {id, p};                                                            \
        V slope;                                                                                     \
        if (d) for (int r = 0; r < m; r++) for (int v = 0; v < nv; v++) {                            \
            store(h + r * NR + v * VL, activate(load(h + r * NR + v * VL), g, &slope));              \
            store(d + r * NR + v * VL, slope);                                                       \
        }                                                                                            \
        else for (int r = 0; r < m; r++) for (int v = 0; v < nv; v++)                                \
            store(h + r * NR + v * VL, activate(load(h + r * NR + v * VL), g, &slope));              \
    }
FNN_OUTPUTS(X)
#undef X

#define X(name, id, ...)                                                                             \
    NOINLINE void differentiate_rows_##name(const int m, const int nv, real *delta, const real *h, double p) { \
        const fnn_activation g = {id, p};                                                            \
        for (int r = 0; r < m; r++) for (int v = 0; v < nv; v++) {                                   \
            real *d = delta + r * NR + v * VL;                                                       \
            store(d, load(d) * derivative(load(h + r * NR + v * VL), g));                            \
        }                                                                                            \
    }
FNN_ACTIVATIONS(X) X(factor, FNN_FACTOR)
#undef X

/* h = g(h) in place, and unless NULL d = g'. */
static void activate_rows(int m, int nv, real *h, fnn_activation g, real *d) {
    switch (g.id) {
#define X(name, id, ...) case id: activate_rows_##name(m, nv, h, g.parameter, d); return;
        FNN_OUTPUTS(X)
#undef X
    default: return;
    }
}

static void differentiate_rows(int m, int nv, real *delta, const real *h, fnn_activation g) {
    switch (g.id) {
#define X(name, id, ...) case id: differentiate_rows_##name(m, nv, delta, h, g.parameter); return;
        FNN_ACTIVATIONS(X) X(factor, FNN_FACTOR)
#undef X
    default: return;
    }
}

/* Tiles: m rows x nv vectors of sums in registers ------------------------------------------------------------------ */

enum { PARTIAL = FNN_BACKWARD + 1 }; /* more of the sum follows */

/* C[m, nv] (+)= A[m, K] B[K, nv]. A: panels, `stride` apart, their rows `row` apart; B: rows of NR. Each element of C is one sum, in
 * order of k. */
INLINE void product_tile(const int m, const int nv, idx K, const real *A, idx row, idx stride, const real *B, real *C, int first,
                         int finish, const real *X, fnn_activation g) {
    V acc[MR][NV];
    if (first) { ALL(r, v) acc[r][v] = (V){0}; }
    else { ALL(r, v) acc[r][v] = load(C + r * NR + v * VL); }
#define STEP(u)                                                                \
    {                                                                          \
        V b[NV];                                                               \
        UNROLL for (int v = 0; v < nv; v++) b[v] = load(B + (u) * NR + v * VL); \
        UNROLL for (int r = 0; r < m; r++) {                                   \
            V a = splat(A[r * row + (u)]);                                     \
            UNROLL for (int v = 0; v < nv; v++) acc[r][v] = fma_v(a, b[v], acc[r][v]); \
        }                                                                      \
    }
    NO_UNROLL while (K > 0) { /* a panel of A: NR steps */
        const idx n = K < NR ? K : NR;
        const real *panel = A;
        idx k = 0;
        if (row != NR) UNROLL for (int r = 0; r < m; r++) { prefetch(A + r * row + NR); prefetch(A + r * row + NR + VL); }
        NO_UNROLL for (; k + 4 <= n; k += 4, A += 4, B += 4 * NR) { STEP(0) STEP(1) STEP(2) STEP(3) }
        NO_UNROLL for (; k < n; k++, A++, B += NR) STEP(0)
        A = panel + stride;
        K -= n;
    }
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
    NO_UNROLL for (; K >= 4; K -= 4, A += 4 * NR, B += 4 * NR) { STEP(0) STEP(1) STEP(2) STEP(3) }
    NO_UNROLL for (; K > 0; K--, A += NR, B += NR) STEP(0)
#undef STEP
    if (W) { const V step = splat(-rate); ALL(r, v) store(W + r * NR + v * VL, fma_v(step, acc[r][v], load(W + r * NR + v * VL))); }
    else { ALL(r, v) store(G + r * NR + v * VL, acc[r][v]); }
}

typedef void product_tile_fn(idx, const real *, idx, idx, const real *, real *, int, int, const real *, fnn_activation);
typedef void gradient_tile_fn(idx, const real *, const real *, real *, int, real *, real);

#define TILE(m, nv)                                                                                                      \
    NOINLINE void product_tile_##m##x##nv(idx K, const real *A, idx row, idx stride, const real *B, real *C, int first,  \
                                          int finish, const real *X, fnn_activation g) {                                   \
        (void)row;                                                                                                       \
        product_tile(m, nv, K, A, NR, stride, B, C, first, finish, X, g);                                       \
    }                                                                                                                    \
    NOINLINE void rows_tile_##m##x##nv(idx K, const real *A, idx row, idx stride, const real *B, real *C, int first,     \
                                       int finish, const real *X, fnn_activation g) {                                      \
        (void)stride;                                                                                                    \
        product_tile(m, nv, K, A, row, NR, B, C, first, finish, X, g);                                          \
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

/* Panels ---------------------------------------------------------------------------------------------------------- */

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

#define KC 128       /* steps of a product before it moves on: KC rows of weights (16 KiB on AVX-512) stay in L1 for all tiles */
#define KX 1024     /* ... where the user's rows are read as they lie: rather few runs of theirs than L1 for all of the weights */
#define FEW (2 * MR) /* rows that leave little time to bring anything near: the hardware does better where it can */

/* What a pass needs next: `lines` cache lines, in runs of `run` lines that start `gap` bytes apart. */
typedef struct {
    const char *from;
    idx lines, run, gap;
} coming;

/* All rows of a panel of C over n steps of the sum. A: from its column k on; B: the n rows of weights. What comes next is
 * brought near in lines spread over the tiles. */
INLINE void product_rows(idx rows, idx n, const real *A, idx row, idx stride, const real *B, real *C, int nv, int first,
                         int finish, const real *X, fnn_activation g, coming next) {
    product_tile_fn *const (*tile)[NV] = row == NR ? product_tiles : rows_tiles;
    const idx tiles = tiles_of(rows);
    idx done = 0, in_run = 0;
    for (idx t = 0, r = 0; t < tiles; t++) {
        const idx m = tile_rows(rows - r, tiles - t);
        for (; done < next.lines * (t + 1) / tiles; done++) {
            prefetch(next.from + in_run * LINE);
            if (++in_run == next.run) { next.from += next.gap; in_run = 0; }
        }
        tile[m - 1][nv - 1](n, A + r * row, row, stride, B, C + r * NR, first, finish, finish == FNN_BACKWARD ? X + r * NR : X, g);
        r += m;
    }
}

static void product_panel(idx rows, idx n, const void *A_, idx row, idx stride, const void *B_, int far, int vectors, int finish,
                          const void *X, fnn_activation g, void *C) {
    assert(rows > 0 && n > 0 && (vectors == 1 || vectors == 2) && (row == NR || stride == NR));
    const real *A = A_, *B = B_;
    const idx most = rows <= FEW ? n : row != NR ? KX : KC;
    for (idx k = 0; k < n; k += most) {
        const idx steps = n - k < most ? n - k : most, left = n - k - steps; /* none left: the next panel's first rows come */
        const idx lines = far && rows > FEW ? (left > 0 && left < KC ? left : KC) * NR * (idx)sizeof(real) / LINE : 0;
        product_rows(rows, steps, A + (k / NR) * stride, row, stride, B + k * NR, C, vectors, k == 0, left ? PARTIAL : finish, X,
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
        product_rows(rows, steps, A + (k / NR) * stride, NR, stride, B, C, columns > VL ? 2 : 1, k == 0, left ? PARTIAL : finish, X,
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

/* The optimizers' formulas on vectors, and on the last few elements through a buffer; with regular, g and w are shaped first. */
#define X(name, id, states, step)                                                                                      \
    INLINE void step_##name(const int regular, const real *g_, real *w_, real *s_, real *t_, real *u_, const fnn_rates *rates) { \
        const V alpha = splat((real)rates->learning_rate), mu = splat((real)rates->momentum),                          \
                beta1 = splat((real)rates->beta1), rest1 = splat((real)(1 - rates->beta1)),                            \
                beta2 = splat((real)rates->beta2), rest2 = splat((real)(1 - rates->beta2)),                            \
                epsilon = splat((real)rates->epsilon), alpha1 = splat((real)rates->alpha1),                            \
                root2 = splat((real)rates->root2), damped = splat((real)rates->damped),                                \
                alpha_g = splat((real)rates->alpha_g), alpha_m = splat((real)rates->alpha_m),                          \
                shrink = splat((real)rates->shrink), grow = splat((real)rates->grow),                                  \
                least = splat((real)rates->least), most = splat((real)rates->most);                                    \
        (void)alpha, (void)mu, (void)beta1, (void)rest1, (void)beta2, (void)rest2, (void)epsilon, (void)alpha1, (void)root2; \
        (void)damped, (void)alpha_g, (void)alpha_m, (void)shrink, (void)grow, (void)least, (void)most;                 \
        V g = load(g_), w = load(w_);                                                                                  \
        V s = states > 0 ? load(s_) : w, t = states > 1 ? load(t_) : w, u = states > 2 ? load(u_) : w;                 \
        if (regular) shape(&g, &w, rates);                                                                             \
        step;                                                                                                          \
        store(w_, w);                                                                                                  \
        if (states > 0) store(s_, s);                                                                                  \
        if (states > 1) store(t_, t);                                                                                  \
        if (states > 2) store(u_, u);                                                                                  \
    }                                                                                                                  \
    INLINE void update_block_##name(const int regular, idx rows, idx cols, idx ld, const real *g, real *w,             \
                                    void *const *state, const fnn_rates *of_step) {                                    \
        const fnn_rates rates = *of_step; /* a copy of our own: no store can change it */                              \
        real *s = states > 0 ? state[0] : NULL, *t = states > 1 ? state[1] : NULL, *u = states > 2 ? state[2] : NULL;  \
        for (idx r = 0; r < rows; r++) {                                                                               \
            idx i = r * ld;                                                                                            \
            const idx end = i + cols;                                                                                  \
            for (; i + VL <= end; i += VL)                                                                             \
                step_##name(regular, g + i, w + i, states > 0 ? s + i : NULL, states > 1 ? t + i : NULL,               \
                            states > 2 ? u + i : NULL, &rates);                                                        \
            if (i < end) {                                                                                             \
                real part[5][VL] = {{0}};                                                                              \
                real *from[5] = {(real *)g + i, w + i, states > 0 ? s + i : NULL, states > 1 ? t + i : NULL,           \
                                 states > 2 ? u + i : NULL};                                                           \
                const size_t bytes = (size_t)(end - i) * sizeof(real);                                                 \
                for (int a = 0; a < 2 + states; a++) memcpy(part[a], from[a], bytes);                                  \
                step_##name(regular, part[0], part[1], part[2], part[3], part[4], &rates);                             \
                for (int a = 1; a < 2 + states; a++) memcpy(from[a], part[a], bytes);                                  \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    NOINLINE void update_##name(idx rows, idx cols, idx ld, const real *g, real *w, void *const *state, const fnn_rates *rates) { \
        if (rates->regular) update_block_##name(1, rows, cols, ld, g, w, state, rates);                                \
        else update_block_##name(0, rows, cols, ld, g, w, state, rates);                                               \
    }
INLINE void shape(V *g, V *w, const fnn_rates *rates) {
    const V limit = splat((real)rates->clip_value);
    *g = *g * splat((real)rates->clip);
    if (rates->clip_value > 0) *g = at_most(at_least(*g, -limit), limit);
    *g = fma_v(splat((real)rates->l2), *w, *g);
    *g = fma_v(splat((real)rates->l1), sign_v(*w), *g);
    *w = *w * splat((real)rates->keep);
}
FNN_OPTIMIZERS(X)
#undef X

static void update(int optimizer, idx rows, idx cols, idx ld, const void *g, void *w, void *const *state, const fnn_rates *rates) {
    switch (optimizer) {
#define X(name, id, states, step) case id: update_##name(rows, cols, ld, g, w, state, rates); return;
        FNN_OPTIMIZERS(X)
#undef X
    default: assert(!"an optimizer");
    }
}

/* Norms: squares in double, which for float are exact; an element's sum is in the order of its index on every ISA. */

static void column_squares(idx n, const void *W_, double *sums) {
    const real *W = W_;
    double sum[NR] = {0};
    for (idx i = 0; i < n; i++)
        for (int j = 0; j < NR; j++) sum[j] += (double)W[i * NR + j] * (double)W[i * NR + j];
    memcpy(sums, sum, sizeof(sum));
}

static void row_squares(idx n, idx columns, const void *W_, double *sums) {
    const real *W = W_;
    for (idx j = 0; j < columns; j++)
        for (idx i = 0; i < n; i++) sums[i] += (double)W[i * NR + j] * (double)W[i * NR + j];
}

static void scale_columns(idx n, const double *factors, void *W_) {
    real *W = W_, by[NR];
    for (int j = 0; j < NR; j++) by[j] = (real)factors[j];
    for (idx i = 0; i < n; i++) for (int j = 0; j < NR; j++) W[i * NR + j] *= by[j];
}

static void scale_rows(idx n, const double *factors, void *W_) {
    real *W = W_;
    for (idx i = 0; i < n; i++) for (int j = 0; j < NR; j++) W[i * NR + j] *= (real)factors[i];
}

/* Layouts --------------------------------------------------------------------------------------------------------- */

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

/* Elements of v that are infinite or NaN: all exponent bits are set. */
INLINE VI not_finite(V v) {
    const VI exponent = (VI){0} + (((real_int)2 * FNN_BIAS + 1) << FNN_MANTISSA);
    return ((VI)v & exponent) == exponent;
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

/* Features of any kind ------------------------------------------------------------------------------------------------ */

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
    NOINLINE void gather_##name(idx rows, idx n, const fnn_features *X, const ptrdiff_t *order, idx first, real *to, idx stride) { \
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

/* CSR ----------------------------------------------------------------------------------------------------------------- */

#define AHEAD 12 /* entries whose rows of W are brought near before their turn: they lie anywhere */

/* a[r] = sum over the entries of the row, in order, x W[input], + b; np panels side by side. */
INLINE void sparse_tile(const int np, idx n, const int32_t *inputs, const real *x, const real *W, idx panel, const real *b, real *a,
                        idx stride) {
    V acc[FNN_ROW_PANELS * NV];
    UNROLL for (int v = 0; v < np * NV; v++) acc[v] = (V){0};
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
            case 1: sparse_tile(1, n, inputs, x, w, panel, b + p * NR, a, stride); break;
            case 2: sparse_tile(2, n, inputs, x, w, panel, b + p * NR, a, stride); break;
            case 3: sparse_tile(3, n, inputs, x, w, panel, b + p * NR, a, stride); break;
            default: sparse_tile(FNN_ROW_PANELS, n, inputs, x, w, panel, b + p * NR, a, stride);
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

/* Normalisation (docs/maths.md, section 6) ------------------------------------------------------------------------ */

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

/* Output layer. A sum over outputs runs in order of j, whether many samples lie in lanes or one sample's outputs do. ---- */

#define LANES_PAY(rows) (4 * (rows) > VL) /* below, most lanes would be copies */

/* VL samples at a time, one in each lane. */

/* t[j] (VL samples) <- panels, for samples r..r+VL-1; samples past the last are copies of it. */
INLINE void lanes_in(idx rows, idx r, idx n, const real *h, idx stride, V *t) {
    for (idx j = 0; j < n; j += VL) {
        const real *column = h + (j / NR) * stride + j % NR;
        V v[VL];
        UNROLL for (int e = 0; e < VL; e++) v[e] = load(column + (r + e < rows ? r + e : rows - 1) * NR);
        transpose(v);
        for (int e = 0; e < VL && j + e < n; e++) t[j + e] = v[e];
    }
}

/* panels <- t; columns past n, up to a whole vector, become 0. */
INLINE void lanes_out(idx rows, idx r, idx n, const V *t, real *h, idx stride) {
    for (idx j = 0; j < n; j += VL) {
        real *column = h + (j / NR) * stride + j % NR;
        V v[VL];
        for (int e = 0; e < VL; e++) v[e] = j + e < n ? t[j + e] : (V){0};
        transpose(v);
        UNROLL for (int e = 0; e < VL; e++) if (r + e < rows) store(column + (r + e) * NR, v[e]);
    }
}

INLINE V peak_of(idx n, const V *a) {
    V peak = a[0];
    for (idx j = 1; j < n; j++) peak = at_least(a[j], peak);
    return peak;
}

/* a -> h = softmax(a), in place; returns total = sum_j e^(a_j - peak).
 * softmax(a)_j = e^(a_j - peak) / total, log sum exp a = log(total) + peak: no overflow, no underflow of total
 * (Blanchard, Higham & Higham 2021, IMA J. Numer. Anal. 41(4)). */
INLINE V softmax_lanes(idx n, V *a, V peak) {
    V total = {0};
    for (idx j = 0; j < n; j++) {
        a[j] = exp_v(a[j] - peak);
        total += a[j];
    }
    for (idx j = 0; j < n; j++) a[j] = a[j] / total;
    return total;
}

/* One sample, outputs side by side: a[n], with room up to a whole vector. */

INLINE void row_in(idx n, const real *h, idx stride, real *a) {
    for (idx j = 0; j < n; j += VL) store(a + j, load(h + (j / NR) * stride + j % NR));
    for (idx j = n; j % VL; j++) a[j] = a[0];
}

/* Columns past n, up to a whole vector, become 0. */
INLINE void row_out(idx n, real *a, real scale, real *h, idx stride) {
    for (idx j = n; j % VL; j++) a[j] = 0;
    for (idx j = 0; j < n; j += VL) store(h + (j / NR) * stride + j % NR, load(a + j) * splat(scale));
}

INLINE real peak_of_row(idx n, const real *a) {
    V peaks = load(a);
    for (idx j = VL; j < n; j += VL) peaks = at_least(load(a + j), peaks);
    real peak = peaks[0];
    UNROLL for (int e = 1; e < VL; e++) peak = peaks[e] < peak ? peak : peaks[e];
    return peak;
}

INLINE real softmax_row(idx n, real *a, real peak) {
    real total = 0;
    for (idx j = 0; j < n; j += VL) {
        store(a + j, exp_v(load(a + j) - splat(peak)));
        const idx end = n - j < VL ? n : j + VL;
        for (idx e = j; e < end; e++) total += a[e];
    }
    for (idx j = 0; j < n; j += VL) store(a + j, load(a + j) / splat(total));
    return total;
}

static void softmax(idx rows, idx n, void *a, idx stride, void *scratch) {
    V *t = scratch;
    if (!LANES_PAY(rows)) for (idx r = 0; r < rows; r++) {
        real *row = scratch, *h = (real *)a + r * NR;
        row_in(n, h, stride, row);
        softmax_row(n, row, peak_of_row(n, row));
        row_out(n, row, 1, h, stride);
    }
    else for (idx r = 0; r < rows; r += VL) {
        lanes_in(rows, r, n, a, stride, t);
        softmax_lanes(n, t, peak_of(n, t));
        lanes_out(rows, r, n, t, a, stride);
    }
}

/* The targets of VL samples: e(y)_j from labels, or y_j from values; cross-entropies may smooth them. */
typedef struct {
    int one_hot;
    VI label;
    const V *y;
    V on, off; /* of a one-hot row: 1 and 0, smoothed */
} lane_targets;

INLINE V target(const lane_targets *y, idx j) {
    return y->one_hot ? select_v(y->label == (VI){0} + (real_int)j, y->on, y->off) : y->y[j];
}

/* y <- keep y + spread: towards all classes alike (Szegedy et al. 2016). A sigmoid's two classes are 0 and 1. */
typedef struct {
    real keep, spread;
} smoothing;

INLINE smoothing smoothing_of(const fnn_loss *loss, idx n) {
    if (loss->smoothing == 0) return (smoothing){1, 0};
    const double classes = loss->id == fnn_cross_entropy ? (double)n : 2;
    return (smoothing){(real)(1 - loss->smoothing), (real)(loss->smoothing / classes)};
}

INLINE V smooth(V y, smoothing s) { return fma_v(splat(s.keep), y, splat(s.spread)); }

INLINE idx sample_of(const fnn_targets *y, idx row) { return y->order ? y->order[row] : row; }

INLINE double weight_of(const fnn_targets *y, idx row) { return y->weights ? y->weights[sample_of(y, row)] : 1; }

INLINE lane_targets targets_in(idx rows, idx r, idx n, const fnn_targets *y, idx first_row, const fnn_loss *loss, V *values) {
    const smoothing s = smoothing_of(loss, n);
    lane_targets t = {y->labels != NULL, {0}, values, smooth(splat(1), s), smooth(splat(0), s)};
    for (int e = 0; e < VL; e++) {
        const idx i = sample_of(y, first_row + (r + e < rows ? r + e : rows - 1));
        if (y->labels) t.label[e] = y->labels[i];
        else for (idx j = 0; j < n; j++) ((real *)(values + j))[e] = ((const real *)y->values)[i * n + j];
    }
    if (!y->labels && s.spread > 0) for (idx j = 0; j < n; j++) values[j] = smooth(values[j], s);
    return t;
}

/* Each loss: from a[n], of VL samples or of one, in place: h = f(a); delta = dL/da; returns L. */

/* -sum_j y_j ln h_j = sum_j y_j (log total + (peak - a_j)); delta = h - y. (weight: sum of y, 1 but for rounding.) */
INLINE V cross_entropy_lanes(idx n, V *a, V *delta, const lane_targets *y) {
    const V peak = peak_of(n, a);
    V below = {0}, weight = {0};
    for (idx j = 0; j < n; j++) {
        const V y_j = target(y, j);
        below = fma_v(y_j, peak - a[j], below);
        weight += y_j;
    }
    const V total = softmax_lanes(n, a, peak);
    for (idx j = 0; j < n; j++) delta[j] = a[j] * weight - target(y, j);
    return fma_v(weight, log_v(total), below);
}

/* sum (h - y)^2 / 2; delta = (h - y) g'(a); softmax couples the outputs: delta_j = h_j ((h - y)_j - sum_i (h - y)_i h_i). */
INLINE V squared_error_lanes(idx n, V *a, V *delta, const lane_targets *y, fnn_activation output) {
    V L = {0}, mean = {0};
    const int coupled = output.id == FNN_SOFTMAX;
    if (coupled) softmax_lanes(n, a, peak_of(n, a));
    for (idx j = 0; j < n; j++) {
        V slope;
        const V h = activate(a[j], output, &slope), error = h - target(y, j);
        L = fma_v(error, error, L);
        mean = fma_v(error, h, mean);
        a[j] = h;
        delta[j] = error * slope;
    }
    if (coupled) for (idx j = 0; j < n; j++) delta[j] = a[j] * (delta[j] - mean);
    return splat((real)0.5) * L;
}

/* (1 - h)^g (-ln h) of a softmax output h = e^x / total, x = a - peak; *c = h times its derivative in h:
 *     c = -(1 - h)^g (g h r + 1),  r = -ln h / (1 - h), which goes to 1 where h does
 * and delta_j = y_j c_j - h_j sum_i y_i c_i. For h > 1/2, -ln h comes from 1 - h, so that both vanish together. */
INLINE V focal_term(V x, V h, V log_total, real g, V *c) {
    const V rest = splat(1) - h, near = twice_artanh(rest / (splat(2) - rest), FNN_REAL_BITS == 32 ? 8 : 17);
    const V minus_log = select_v(rest > splat((real)0.5), log_total - x, near);
    const V ratio = select_v(rest > splat(0), minus_log / rest, splat(1));
    const V power = select_v(rest > splat(0), exp_v(splat(g) * log_v(at_least(rest, splat((real)1e-30)))), splat(g == 0));
    *c = -power * fma_v(splat(g) * h, ratio, splat(1));
    return power * minus_log;
}

NOINLINE V focal_lanes(idx n, V *a, V *delta, const lane_targets *y, real g) {
    const V peak = peak_of(n, a);
    V total = {0}, L = {0}, sum = {0}, c;
    for (idx j = 0; j < n; j++) total += exp_v(a[j] - peak);
    const V log_total = log_v(total);
    for (idx j = 0; j < n; j++) {
        const V x = a[j] - peak, y_j = target(y, j);
        a[j] = exp_v(x) / total;
        L = fma_v(y_j, focal_term(x, a[j], log_total, g, &c), L);
        delta[j] = y_j * c;
        sum += delta[j];
    }
    for (idx j = 0; j < n; j++) delta[j] = fma_v(-a[j], sum, delta[j]);
    return L;
}

/* max(0, 1 + max_(j != y) a_j - a_y); above 0, delta = e(rival) - e(y), the rival being the first of the largest a_j
 * (Crammer & Singer 2001). nothing: NaN where an a_j is not finite. */
NOINLINE V hinge_lanes(idx n, const V *a, V *delta, const lane_targets *y) {
    V own = {0}, best = splat(-(real)INFINITY), nothing = {0};
    VI rival = {0};
    for (idx j = 0; j < n; j++) {
        const VI number = (VI){0} + (real_int)j, mine = y->label == number, better = ~mine & (VI)(a[j] > best);
        own = select_v(mine, a[j], own);
        best = select_v(better, a[j], best);
        rival = (rival & ~better) | (number & better);
        nothing = fma_v(a[j], splat(0), nothing);
    }
    const V L = at_least(splat(1) + best - own, splat(0));
    for (idx j = 0; j < n; j++) {
        const VI number = (VI){0} + (real_int)j;
        const V one = select_v(rival == number, splat(1), select_v(y->label == number, splat(-1), splat(0)));
        delta[j] = select_v(L > splat(0), one, splat(0));
    }
    return L + nothing;
}

/* Losses that are sums over outputs: one term of L, from a_j and y_j; h = f(a), delta = dL/da. q: of a quantile. */
INLINE V term(const int id, const fnn_loss *loss, fnn_activation output, V a, V y, V q, V *h, V *delta) {
    if (id == fnn_binary_cross_entropy) { /* -y ln h - (1 - y) ln(1 - h) */
        *h = sigmoid_v(a);
        *delta = *h - y;
        return at_least(a, splat(0)) - a * y + log1p_v(exp_v(-magnitude(a)));
    }
    if (id == fnn_poisson) { /* h = e^a: h - y ln h */
        *h = exp_v(a);
        *delta = *h - y;
        return fma_v(-y, a, *h);
    }
    if (id == fnn_focal) { /* sigmoid: -y (1 - h)^g ln h - (1 - y) h^g ln(1 - h), with low = -ln h, high = -ln(1 - h) */
        const V g = splat((real)loss->gamma), one = splat(1), rest = sigmoid_v(-a);
        const V log1p = log1p_v(exp_v(-magnitude(a)));
        const V low = log1p + at_least(-a, splat(0)), high = log1p + at_least(a, splat(0));
        const V yes = y * exp_v(-g * high), no = (one - y) * exp_v(-g * low);
        *h = sigmoid_v(a);
        *delta = no * fma_v(g * rest, high, *h) - yes * fma_v(g * *h, low, rest);
        return fma_v(no, high, yes * low);
    }
    V g_slope, slope, L;
    *h = activate(a, output, &g_slope);
    const V e = *h - y, size = magnitude(e);
    if (id == fnn_absolute_error) {
        slope = select_v(e == splat(0), splat(0), with_sign_of(splat(1), e));
        L = size;
    } else if (id == fnn_huber) { /* e^2 / 2, from |e| = d on a line of slope d (Huber 1964) */
        const V c = at_most(size, splat((real)loss->delta));
        slope = with_sign_of(c, e);
        L = c * fma_v(splat((real)-0.5), c, size);
    } else { /* quantile (Koenker & Bassett 1978) */
        slope = select_v(e > splat(0), splat(1) - q, select_v(e == splat(0), splat(0), -q));
        L = e * slope;
    }
    *delta = slope * g_slope;
    return L;
}

INLINE V terms_lanes(const int id, const fnn_loss *loss, fnn_activation output, idx n, V *a, V *delta, const lane_targets *y) {
    V L = {0};
    for (idx j = 0; j < n; j++) {
        const V q = splat(id == fnn_quantile ? ((const real *)loss->q)[j] : 0);
        L += term(id, loss, output, a[j], target(y, j), q, a + j, delta + j);
    }
    return L;
}

INLINE V losses_lanes(const fnn_loss *loss, fnn_activation output, idx n, V *a, V *delta, const lane_targets *y) {
    switch (loss->id) {
    case fnn_cross_entropy: return cross_entropy_lanes(n, a, delta, y);
    case fnn_binary_cross_entropy: return terms_lanes(fnn_binary_cross_entropy, loss, output, n, a, delta, y);
    case fnn_absolute_error: return terms_lanes(fnn_absolute_error, loss, output, n, a, delta, y);
    case fnn_huber: return terms_lanes(fnn_huber, loss, output, n, a, delta, y);
    case fnn_quantile: return terms_lanes(fnn_quantile, loss, output, n, a, delta, y);
    case fnn_poisson: return terms_lanes(fnn_poisson, loss, output, n, a, delta, y);
    case fnn_focal:
        if (output.id == FNN_SOFTMAX) return focal_lanes(n, a, delta, y, (real)loss->gamma);
        return terms_lanes(fnn_focal, loss, output, n, a, delta, y);
    case fnn_hinge: return hinge_lanes(n, a, delta, y);
    default: return squared_error_lanes(n, a, delta, y, output);
    }
}

/* One sample's targets: a label (y NULL) or values. */
typedef struct {
    const real *y;
    idx label;
    smoothing s;
} row_targets;

/* Of a[n] or the like, outputs j..j+VL-1: those past n are 0. */
INLINE V row_part(idx n, idx j, const real *x) {
    V t = {0};
    if (j + VL <= n) t = load(x + j);
    else for (int e = 0; j + e < n; e++) t[e] = x[j + e];
    return t;
}

/* e(y), or y, for outputs j..j+VL-1 of one sample. */
INLINE V row_target(idx n, idx j, const row_targets *y) {
    V t = {0};
    if (y->y) t = row_part(n, j, y->y);
    else if (y->label >= j && y->label < j + VL) t[y->label - j] = 1;
    return smooth(t, y->s);
}

static real cross_entropy_row(idx n, real *a, real *delta, const row_targets *y) {
    const real peak = peak_of_row(n, a);
    real below = 0, weight = 1;
    V nothing = {0}; /* NaN where an a_j is not finite */
    for (idx j = 0; j < n; j += VL) nothing = fma_v(splat(peak) - load(a + j), splat(0), nothing);
    if (y->y || y->s.spread > 0) {
        weight = 0;
        for (idx j = 0; j < n; j++) {
            const real y_j = fma_1(y->s.keep, y->y ? y->y[j] : (real)(j == y->label), y->s.spread);
            below = fma_1(y_j, peak - a[j], below);
            weight += y_j;
        }
    } else {
        below = peak - a[y->label];
    }
    UNROLL for (int e = 0; e < VL; e++) below += nothing[e];
    const real total = softmax_row(n, a, peak);
    for (idx j = 0; j < n; j += VL) store(delta + j, load(a + j) * splat(weight) - row_target(n, j, y));
    return fma_1(weight, log_v(splat(total))[0], below);
}

static real squared_error_row(idx n, real *a, real *delta, const row_targets *y, fnn_activation output) {
    real L = 0, mean = 0;
    const int coupled = output.id == FNN_SOFTMAX;
    if (coupled) softmax_row(n, a, peak_of_row(n, a));
    for (idx j = 0; j < n; j += VL) {
        V slope;
        const V h = activate(load(a + j), output, &slope), error = h - row_target(n, j, y);
        for (int e = 0; e < VL && j + e < n; e++) {
            L = fma_1(error[e], error[e], L);
            mean = fma_1(error[e], h[e], mean);
        }
        store(a + j, h);
        store(delta + j, error * slope);
    }
    if (coupled) for (idx j = 0; j < n; j += VL) store(delta + j, load(a + j) * (load(delta + j) - splat(mean)));
    return (real)0.5 * L;
}

static real focal_row(idx n, real *a, real *delta, const row_targets *y, real g) {
    const V peak = splat(peak_of_row(n, a));
    real total = 0, L = 0, sum = 0;
    for (idx j = 0; j < n; j += VL) {
        const V e_x = exp_v(load(a + j) - peak);
        for (int e = 0; e < VL && j + e < n; e++) total += e_x[e];
    }
    const V log_total = log_v(splat(total));
    for (idx j = 0; j < n; j += VL) {
        const V x = load(a + j) - peak, y_j = row_target(n, j, y), h = exp_v(x) / splat(total);
        V c, t = focal_term(x, h, log_total, g, &c);
        c = y_j * c;
        for (int e = 0; e < VL && j + e < n; e++) {
            L = fma_1(y_j[e], t[e], L);
            sum += c[e];
        }
        store(a + j, h);
        store(delta + j, c);
    }
    for (idx j = 0; j < n; j += VL) store(delta + j, fma_v(-load(a + j), splat(sum), load(delta + j)));
    return L;
}

static real hinge_row(idx n, const real *a, real *delta, idx label) {
    idx rival = label == 0;
    real nothing = 0;
    for (idx j = 0; j < n; j++) {
        if (j != label && a[j] > a[rival]) rival = j;
        nothing += a[j] * 0;
        delta[j] = 0;
    }
    real L = 1 + a[rival] - a[label];
    if (L < 0) L = 0;
    if (L > 0) delta[rival] = 1, delta[label] = -1;
    return L + nothing;
}

INLINE real terms_row(const int id, const fnn_loss *loss, fnn_activation output, idx n, real *a, real *delta, const row_targets *y) {
    real L = 0;
    for (idx j = 0; j < n; j += VL) {
        V h, d;
        const V q = id == fnn_quantile ? row_part(n, j, loss->q) : splat(0);
        const V terms = term(id, loss, output, load(a + j), row_target(n, j, y), q, &h, &d);
        for (int e = 0; e < VL && j + e < n; e++) L += terms[e];
        store(a + j, h);
        store(delta + j, d);
    }
    return L;
}

INLINE real losses_row(const fnn_loss *loss, fnn_activation output, idx n, real *a, real *delta, const row_targets *y) {
    switch (loss->id) {
    case fnn_cross_entropy: return cross_entropy_row(n, a, delta, y);
    case fnn_binary_cross_entropy: return terms_row(fnn_binary_cross_entropy, loss, output, n, a, delta, y);
    case fnn_absolute_error: return terms_row(fnn_absolute_error, loss, output, n, a, delta, y);
    case fnn_huber: return terms_row(fnn_huber, loss, output, n, a, delta, y);
    case fnn_quantile: return terms_row(fnn_quantile, loss, output, n, a, delta, y);
    case fnn_poisson: return terms_row(fnn_poisson, loss, output, n, a, delta, y);
    case fnn_focal:
        if (output.id == FNN_SOFTMAX) return focal_row(n, a, delta, y, (real)loss->gamma);
        return terms_row(fnn_focal, loss, output, n, a, delta, y);
    case fnn_hinge: return hinge_row(n, a, delta, y->label);
    default: return squared_error_row(n, a, delta, y, output);
    }
}

/* output_delta where lanes of samples do not pay. */
static int output_delta_row(idx n, const real *from, idx stride, real *h, real *delta_to, const fnn_targets *y, idx row,
                            fnn_activation output, const fnn_loss *loss, double scale, double *L_to, real *a) {
    real *delta = a + (n + VL - 1) / VL * VL;
    const idx i = sample_of(y, row);
    const double weight = weight_of(y, row);
    const row_targets t = {y->labels ? NULL : (const real *)y->values + i * n, y->labels ? y->labels[i] : 0, smoothing_of(loss, n)};
    row_in(n, from, stride, a);
    const real L = losses_row(loss, output, n, a, delta, &t);
    *L_to = weight * (double)L;
    if (h) row_out(n, a, 1, h, stride);
    if (delta_to) row_out(n, delta, (real)(weight * scale), delta_to, stride);
    return L - L == 0;
}

static int output_delta(idx rows, idx n, const void *a_, idx stride, void *h_, void *delta_, const fnn_targets *y,
                        idx first_row, fnn_activation output, const fnn_loss *loss, double scale, double *losses, void *scratch) {
    V *a = scratch, *delta = a + n; /* the targets' values share delta's place: y_j is read before delta_j is written */
    V by = splat((real)scale);
    int finite = 1;
    if (!LANES_PAY(rows)) {
        for (idx r = 0; r < rows; r++)
            finite &= output_delta_row(n, (const real *)a_ + r * NR, stride, h_ ? (real *)h_ + r * NR : NULL,
                                       delta_ ? (real *)delta_ + r * NR : NULL, y, first_row + r, output, loss, scale,
                                       losses + r, scratch);
        return finite;
    }
    for (idx r = 0; r < rows; r += VL) {
        lanes_in(rows, r, n, a_, stride, a);
        const lane_targets t = targets_in(rows, r, n, y, first_row, loss, delta);
        const V L = losses_lanes(loss, output, n, a, delta, &t);
        for (int e = 0; e < VL && r + e < rows; e++) {
            losses[r + e] = (double)L[e];
            finite &= (L[e] - L[e] == 0);
        }
        if (y->weights) for (int e = 0; e < VL && r + e < rows; e++) {
            const double weight = weight_of(y, first_row + r + e);
            losses[r + e] = weight * losses[r + e];
            by[e] = (real)(weight * scale);
        }
        if (h_) lanes_out(rows, r, n, a, h_, stride);
        if (!delta_) continue;
        for (idx j = 0; j < n; j++) delta[j] = delta[j] * by;
        lanes_out(rows, r, n, delta, delta_, stride);
    }
    return finite;
}

/* One row: up to FNN_ROW_PANELS panels side by side, so that their sums hide each other's latency ---------------------- */

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

/* C = g(C), rows of a panel; 0 if an element before was not finite. */
static int activate_finite(idx rows, int vectors, void *C_, fnn_activation g) {
    real *C = C_;
    VI bad = {0};
    for (idx r = 0; r < rows; r++) for (int v = 0; v < vectors; v++) bad |= not_finite(load(C + r * NR + v * VL));
    activate_rows((int)rows, vectors, C, g, NULL);
    return !any(bad);
}

static void activate_panel(idx rows, int vectors, void *h, fnn_activation g, void *d) { activate_rows((int)rows, vectors, h, g, d); }

/* Rows are drawn for in fours. */
static void perturb_panel(idx rows, int vectors, void *h_, void *d_, const fnn_draw *draw, int64_t step, idx first_row, idx column) {
    real *h = (real *)h_ - first_row * NR, *d = d_ ? (real *)d_ - first_row * NR : NULL; /* counted like the mini-batch's rows */
    const idx end = first_row + rows;
    if (draw->noise > 0) for (idx quad = first_row / 4; 4 * quad < end; quad++) for (int v = 0; v < vectors; v++) {
        VI words[4];
        V z[4];
        draw_words(draw->noise_key, step, (uint32_t)quad, (uint32_t)(column + v * VL), words);
        normal_pair(words[0], words[1], z, z + 1);
        normal_pair(words[2], words[3], z + 2, z + 3);
        UNROLL for (int e = 0; e < 4; e++) if (4 * quad + e >= first_row && 4 * quad + e < end) {
            real *to = h + (4 * quad + e) * NR + v * VL;
            store(to, fma_v(splat((real)draw->noise), z[e], load(to)));
        }
    }
    if (draw->dropout > 0) for (idx quad = first_row / 4; 4 * quad < end; quad++) for (int v = 0; v < vectors; v++) {
        const uint32_t dropped = (uint32_t)(draw->dropout * 4294967296.0);
        const V scale = splat((real)(1 / (1 - draw->dropout)));
        VI words[4];
        draw_words(draw->dropout_key, step, (uint32_t)quad, (uint32_t)(column + v * VL), words);
        UNROLL for (int e = 0; e < 4; e++) if (4 * quad + e >= first_row && 4 * quad + e < end) {
            const V factor = select_v(word_at_least(words[e], dropped), scale, splat(0));
            const idx at = (4 * quad + e) * NR + v * VL;
            store(h + at, load(h + at) * factor);
            if (d) store(d + at, load(d + at) * factor);
        }
    }
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

#define TABLE__(isa, bits) fnn_kernels_##isa##_##bits
#define TABLE_(isa, bits) TABLE__(isa, bits)
#define STRING_(x) #x
#define STRING(x) STRING_(x)
const fnn_kernels TABLE_(FNN_ISA_NAME, FNN_REAL_BITS) = {
    STRING(FNN_ISA_NAME), sizeof(real), NR, VL, MR,
    pack_panel, unpack_panel, transpose_block, gather, scatter, gather_features,
    product_panel, product_turned, gradient_block, bias_gradient, sparse_product, sparse_sort, sparse_gradient, update,
    column_squares, row_squares, scale_columns, scale_rows,
    activate_panel, perturb_panel, batch_norm, layer_norm, batch_norm_delta, layer_norm_delta, scale_gradient, softmax, output_delta,
    row_product, row_update, row_update_product, row_activate, row_derivative, row_scale, row_add, nonzeros, all_finite, activate_finite,
    multiply_adds,
};
