/* Operands of products in bfloat16 (docs/maths.md, section 13): the upper half of a float's bits, kept in a float, whose tiles
 * then sum up exact products, so every ISA has the same bits. Of float alone.
 *
 * Where the CPU has AVX512-BF16, vdpbf16ps adds two such products at once, that of the upper halves of 32 bits first, each rounded
 * as an fma rounds it: numbers k and k + 1 of a sum go into a pair, the first one up, and the sum has its order and its bits.
 */
#ifndef FNN_BFLOAT16_H
#define FNN_BFLOAT16_H

#include "panels.h"

#if FNN_REAL_BITS == 32

typedef uint32_t VU __attribute__((vector_size(FNN_VECTOR_BYTES)));

static void round_bfloat16(idx n, const void *x_, void *y_) {
    const real *x = x_;
    real *y = y_;
    for (idx i = 0; i < n; i += VL) {
        const V v = load(x + i);
        const VI nan = v != v, bits = (VI)v & ~nan, odd = bits >> 16 & 1;
        store(y + i, (V)(((bits + 0x7fff + odd) & ~0xffff) | (nan & 0x7fc00000)));
    }
}

/* acc + the two products of pairs a and b, the upper one first. */
INLINE V dot_by_fma(V acc, VI a, VI b) {
    return fma_v((V)(a << 16), (V)(b << 16), fma_v((V)(a & ~0xffff), (V)(b & ~0xffff), acc));
}

#if FNN_VECTOR_BYTES == 64
#define FNN_DOTS __attribute__((target("avx512bf16")))
INLINE FNN_DOTS V dot(V acc, VI a, VI b) { return (V)_mm512_dpbf16_ps((__m512)acc, (__m512bh)a, (__m512bh)b); }
#elif defined(FNN_DOTS_BY_FMA) /* for tests, of machines without the instruction */
#define FNN_DOTS
INLINE V dot(V acc, VI a, VI b) { return dot_by_fma(acc, a, b); }
#endif

#ifdef FNN_DOTS

INLINE VI bits_at(const real *x) { return (VI)load(x); }
INLINE void store_bits(real *to, VI v) { store(to, (V)v); }

/* Pairs of numbers of bfloat16, row k over row k + 1 of n rows; beyond the last a row of zeros. */
static void pair_rows(idx n, const real *x, real *pairs) {
    for (idx k = 0; k < n; k += 2, x += 2 * NR, pairs += NR)
        for (int v = 0; v < NR; v += VL)
            store_bits(pairs + v, bits_at(x + v) | (k + 1 < n ? (VI)((VU)bits_at(x + NR + v) >> 16) : (VI){0}));
}

/* Pairs of neighbours, within a row of a panel: where the first lies, with what follows each number in its lower half. */
INLINE void pair_columns(const real *x, real *pairs) {
    for (int v = 0; v < NR; v += VL) {
        typedef uint64_t V64 __attribute__((vector_size(FNN_VECTOR_BYTES)));
        const V64 both = (V64)bits_at(x + v); /* the first is the lower half of 64 bits */
        store_bits(pairs + v, (VI)((both & 0xffffffff) | both >> 48));
    }
}

#define DOT_ROWS 12 /* x 2 sums, 2 vectors of pairs and a broadcast: 27 of AVX-512's registers */

/* C[m, nv] (+)= A B over K pairs. A: pair k of row r is at r row + k step; B: rows of NR. */
INLINE FNN_DOTS void dot_tile(const int m, const int nv, idx K, const real *A, idx row, idx step, const real *B, real *C, int first) {
    V acc[DOT_ROWS][NV];
    UNROLL for (int r = 0; r < m; r++) UNROLL for (int v = 0; v < nv; v++) acc[r][v] = first ? (V){0} : load(C + r * NR + v * VL);
    NO_UNROLL for (; K > 0; K--, A += step, B += NR) {
        VI b[NV];
        UNROLL for (int v = 0; v < nv; v++) b[v] = bits_at(B + v * VL);
        UNROLL for (int r = 0; r < m; r++) {
            int32_t pair;
            memcpy(&pair, A + r * row, sizeof pair);
            UNROLL for (int v = 0; v < nv; v++) acc[r][v] = dot(acc[r][v], (VI){0} + pair, b[v]);
        }
    }
    UNROLL for (int r = 0; r < m; r++) UNROLL for (int v = 0; v < nv; v++) store(C + r * NR + v * VL, acc[r][v]);
}

#define F(m, nv)                                                                                                             \
    NOINLINE FNN_DOTS void dot_tile_##m##x##nv(idx K, const real *A, idx row, idx step, const real *B, real *C, int first) { \
        dot_tile(m, nv, K, A, row, step, B, C, first);                                                                       \
    }
F(1, 1) F(4, 1) F(12, 1) F(1, 2) F(4, 2) F(12, 2)
#undef F

/* The same of any number of rows. */
static void dot_rows(idx rows, int nv, idx K, const real *A, idx row, idx step, const real *B, real *C, int first) {
    for (idx m; rows > 0; rows -= m, A += m * row, C += m * NR) {
        m = rows >= DOT_ROWS ? DOT_ROWS : rows >= 4 ? 4 : 1;
        (nv == 1 ? m == 1 ? dot_tile_1x1 : m == 4 ? dot_tile_4x1 : dot_tile_12x1
                 : m == 1 ? dot_tile_1x2 : m == 4 ? dot_tile_4x2 : dot_tile_12x2)(K, A, row, step, B, C, first);
    }
}

/* C (+)= A B over n <= KC columns of A's panels. */
static void product_dots(idx rows, int nv, idx n, const real *A, idx stride, const real *B, real *C, int first) {
    real pairs[DOT_ROWS * KC] __attribute__((aligned(64))), of_B[KC / 2 * NR] __attribute__((aligned(64)));
    pair_rows(n, B, of_B);
    for (idx r = 0, m; r < rows; r += m) {
        m = rows - r < DOT_ROWS ? rows - r : DOT_ROWS;
        for (idx i = 0; i < m; i++)
            for (idx k = 0; k < n; k += NR) pair_columns(A + k / NR * stride + (r + i) * NR, pairs + i * KC + k);
        dot_rows(m, nv, (n + 1) / 2, pairs, KC, 2, of_B, C + r * NR, first);
    }
}

static void finish_dots(idx rows, int nv, int finish, const real *X, fnn_activation g, real *C) {
    if (finish == FNN_FORWARD) {
        for (idx r = 0; r < rows; r++)
            for (int v = 0; v < nv; v++) store(C + r * NR + v * VL, load(C + r * NR + v * VL) + load(X + v * VL));
        activate_rows((int)rows, nv, C, g, NULL);
    } else if (finish == FNN_BACKWARD && g.id != fnn_identity) {
        differentiate_rows((int)rows, nv, C, X, g);
    }
}

/* product_panel, product_turned and gradient_block (kernels.h) of numbers of bfloat16. Columns of zeros are not left out, and what
 * comes next is not brought near. */
static void product_panel_dots(idx rows, idx n, const void *A_, idx row, idx stride, const void *B_, const fnn_spans *spans, int far,
                               int nv, int finish, const void *X, fnn_activation g, void *C) {
    (void)row, (void)spans, (void)far;
    assert(rows > 0 && n > 0 && row == NR);
    const real *A = A_, *B = B_;
    for (idx k = 0; k < n; k += KC)
        product_dots(rows, nv, n - k < KC ? n - k : KC, A + k / NR * stride, stride, B + k * NR, C, k == 0);
    finish_dots(rows, nv, finish, X, g, C);
}

static void product_turned_dots(idx rows, idx n, const void *A_, idx stride, const void *W_, idx panel, int far, idx columns,
                                int finish, const void *X, fnn_activation g, void *C) {
    (void)far;
    assert(rows > 0 && n > 0 && columns > 0 && columns <= NR);
    const real *A = A_, *W = W_;
    const int nv = columns > VL ? 2 : 1;
    real B[KC * NR] __attribute__((aligned(64)));
    for (idx k = 0; k < n; k += KC) {
        const idx steps = n - k < KC ? n - k : KC;
        for (idx j = 0; j < steps; j += NR) turn(columns, steps - j > VL ? 2 : 1, W + (k + j) / NR * panel, B + j * NR, NULL);
        product_dots(rows, nv, steps, A + k / NR * stride, stride, B, C, k == 0);
    }
    finish_dots(rows, nv, finish, X, g, C);
}

static void gradient_block_dots(idx batch, idx m_rows, const void *A_, const void *B_, int nv, void *G_, int first, void *W_,
                                const fnn_rates *rates, void *const near[FNN_NEAR], fnn_prefetch *rows) {
    (void)near;
    assert(batch > 0 && m_rows > 0 && m_rows <= NR);
    const real *A = A_, *B = B_;
    real *G = G_, *W = W_, of_A[KG / 2 * NR] __attribute__((aligned(64))), of_B[KG / 2 * NR] __attribute__((aligned(64)));
    for (idx k = 0; k < batch; k += KG) {
        const idx n = batch - k < KG ? batch - k : KG;
        bring_rows(rows);
        pair_rows(n, A + k * NR, of_A);
        pair_rows(n, B + k * NR, of_B);
        dot_rows(m_rows, nv, (n + 1) / 2, of_A, 1, NR, of_B, G, first && k == 0);
    }
    for (idx i = 0; W && i < m_rows * NR; i += VL)
        if (i % NR < nv * VL) store(W + i, fma_v(splat(-(real)rates->learning_rate), load(G + i), load(W + i)));
}

/* Whether this CPU's dot is that of two fmas, bit for bit: of numbers from 2^-15 to 2 with any sign, in sums that go on. */
static FNN_DOTS int dots_agree(void) {
    VU a, b = (VU){0} + 0x3abcdef1u;
    V by_dot = {0}, by_fma = {0};
    VI differ = {0};
    for (unsigned e = 0; e < VL; e++) a[e] = 2654435769u * (e + 1);
    for (int i = 0; i < 4096; i++) { /* xorshift */
        a ^= a << 13; a ^= a >> 17; a ^= a << 5;
        b ^= a; b ^= b << 13; b ^= b >> 17; b ^= b << 5;
        const VI x = (VI)((a & ~0x40004000u) | 0x38003800u), y = (VI)((b & ~0x40004000u) | 0x38003800u);
        by_dot = dot(by_dot, x, y);
        by_fma = dot_by_fma(by_fma, x, y);
        differ |= (VI)by_dot ^ (VI)by_fma;
    }
    return !any(differ);
}

static idx no_spans(idx n, idx parts, const void *used, fnn_spans *spans) {
    (void)n, (void)parts, (void)used, (void)spans;
    return 0;
}

static int take_dots(fnn_kernels *k) {
    if (!dots_agree()) return 0;
    k->product_panel = product_panel_dots;
    k->product_turned = product_turned_dots;
    k->gradient_block = gradient_block_dots;
    k->find_spans = no_spans;
    return 1;
}

#endif
#endif

#endif
