/* Products of numbers of bfloat16 (docs/maths.md, section 13): the upper half of a float's bits, kept in a float. Of float alone.
 *
 *   C = C + (E + O)   for each block of FNN_BLOCK numbers k of a sum
 *   E, O              from 0, the products of even k and those of odd k, in order; each is exact, and added with one rounding
 *
 * So AMX's TDPBF16PS sums; AVX512-BF16's vdpbf16ps, which adds two products one after the other, does for pairs k and k + 2; and
 * floats' fma does on every CPU. All have the same bits. Behind a sum's last number a block has zeros.
 */
#ifndef FNN_BFLOAT16_H
#define FNN_BFLOAT16_H

#include "panels.h"
#include "platform.h"

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

/* C += A B over n <= KB numbers. A: number k of row r at k / NR stride + k % NR step + r row; B: rows of NR, nv vectors of each. */
typedef void products_fn(idx rows, idx n, const real *A, idx row, idx step, idx stride, const real *B, int nv, real *C);

#define KB 256       /* steps of a product before it moves on: those of B stay near for all rows */
#define SR (MR < 12 ? 3 : 4) /* rows of a tile: their sums E and O stay in registers */
#define FEW_ROWS 4   /* to bring numbers into pairs takes longer than so many rows' products */
#define PAIRS_OF_BLOCK (FNN_BLOCK / 2)

INLINE V splat_bits(const real *x) {
    real_int bits;
    memcpy(&bits, x, sizeof bits);
    return (V)((VI){0} + bits);
}

/* acc + the two products of pairs a and b, that of the upper halves first. */
INLINE V dot(V acc, VI a, VI b) {
#if FNN_VECTOR_BYTES == 64 && !defined(FNN_PLAYED) /* tests play instructions of CPUs that have them */
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    return acc;
#else
    return fma_v((V)(a << 16), (V)(b << 16), fma_v((V)(a & ~0xffff), (V)(b & ~0xffff), acc));
#endif
}

/* m rows, of which C has the first `rows`. dots: of pairs, E's and O's in turn; A: pair k of row r at k step + r row. */
INLINE void sums_tile(const int m, const int dots, idx rows, idx n, const real *A, idx row, idx step, idx stride, const real *B,
                      int stored, real *C) {
    const int nv = NV;
    NO_UNROLL for (; n > 0; n -= FNN_BLOCK) {
        V even[SR][NV], odd[SR][NV];
        const idx in_block = dots ? PAIRS_OF_BLOCK : n < FNN_BLOCK ? n : FNN_BLOCK;
        ALL(r, v) even[r][v] = odd[r][v] = (V){0};
#define STEP(acc, u)                                                                                                        \
    {                                                                                                                      \
        V b[NV];                                                                                                           \
        UNROLL for (int v = 0; v < nv; v++) b[v] = load(b_from + (u) * NR + v * VL);                                       \
        UNROLL for (int r = 0; r < m; r++) {                                                                               \
            const real *x = from[r / ROWS_FROM] + r % ROWS_FROM * row + (u) * step;                                        \
            const V a = dots ? splat_bits(x) : splat(*x);                                                                  \
            UNROLL for (int v = 0; v < nv; v++) acc[r][v] = dots ? dot(acc[r][v], (VI)a, (VI)b[v]) : fma_v(a, b[v], acc[r][v]); \
        }                                                                                                                  \
    }
        NO_UNROLL for (idx j = 0; j < in_block; j += NR) {
            const real *from[(SR + ROWS_FROM - 1) / ROWS_FROM], *b_from = B + j * NR;
            idx k = in_block - j < NR ? in_block - j : NR;
            UNROLL for (int i = 0; i < m; i += ROWS_FROM) from[i / ROWS_FROM] = A + j / NR * stride + i * row;
            NO_UNROLL for (; k > 1; k -= 2) {
                STEP(even, 0)
                STEP(odd, 1)
                UNROLL for (int i = 0; i < m; i += ROWS_FROM) from[i / ROWS_FROM] += 2 * step;
                b_from += 2 * NR;
            }
            if (k) STEP(even, 0)
        }
#undef STEP
        if (n < FNN_BLOCK) ALL(r, v) { even[r][v] += splat(0); odd[r][v] += splat(0); } /* the zeros: -0 becomes 0 */
        UNROLL for (int r = 0; r < m; r++) if (r < rows)
            UNROLL for (int v = 0; v < nv; v++) if (v < stored)
                store(C + r * NR + v * VL, load(C + r * NR + v * VL) + (even[r][v] + odd[r][v]));
        A += dots ? PAIRS_OF_BLOCK * step : FNN_BLOCK / NR * stride;
        B += (dots ? PAIRS_OF_BLOCK : FNN_BLOCK) * NR;
    }
}

#define SUMS(name, m, dots)                                                                                                 \
    NOINLINE void name(idx rows, idx n, const real *A, idx row, idx step, idx stride, const real *B, int nv, real *C) {    \
        sums_tile(m, dots, rows, n, A, row, step, stride, B, nv, C);                                                       \
    }
SUMS(fmas_of_row, 1, 0) SUMS(fmas, SR, 0)

static void products_by_fma(idx rows, idx n, const real *A, idx row, idx step, idx stride, const real *B, int nv, real *C) {
    for (idx m; rows > 0; rows -= m, A += m * row, C += m * NR) {
        m = rows < SR ? 1 : SR;
        (rows < SR ? fmas_of_row : fmas)(m, n, A, row, step, stride, B, nv, C);
    }
}

static products_fn *products_by = products_by_fma; /* as all have the same bits, it may change at any time */

INLINE void add_products(idx rows, idx n, const real *A, idx row, idx step, idx stride, const real *B, int nv, real *C) {
    products_fn *const by = rows < FEW_ROWS ? products_by_fma : __atomic_load_n(&products_by, __ATOMIC_RELAXED);
    by(rows, n, A, row, step, stride, B, nv, C);
}

NOINLINE void clear(idx rows, int nv, real *C) {
    for (idx r = 0; r < rows; r++) for (int v = 0; v < nv; v++) store(C + r * NR + v * VL, (V){0});
}

INLINE void finish_products(idx rows, int nv, int finish, const real *X, fnn_activation g, real *C) {
    if (finish == FNN_FORWARD) {
        for (idx r = 0; r < rows; r++)
            for (int v = 0; v < nv; v++) store(C + r * NR + v * VL, load(C + r * NR + v * VL) + load(X + v * VL));
        activate_rows((int)rows, nv, C, g, NULL);
    } else if (finish == FNN_BACKWARD && g.id != fnn_identity) {
        differentiate_rows((int)rows, nv, C, X, g);
    }
}

/* product_panel (columns 0), product_turned and gradient_block (kernels.h) of numbers of bfloat16. Columns of zeros are not left out,
 * and what comes next is not brought near. */
NOINLINE void sum_product(idx rows, idx n, const real *A, idx stride, const real *B, idx panel, idx columns, int nv, int finish,
                          const real *X, fnn_activation g, real *C) {
    real turned[KB * NR] __attribute__((aligned(64)));
    assert(rows > 0 && n > 0);
    clear(rows, nv, C);
    for (idx k = 0; k < n; k += KB) {
        const idx steps = n - k < KB ? n - k : KB;
        for (idx j = 0; columns && j < steps; j += NR)
            transpose_block(columns, steps - j > VL ? 2 : 1, B + (k + j) / NR * panel, turned + j * NR);
        add_products(rows, steps, A + k / NR * stride, NR, 1, stride, columns ? turned : B + k * NR, nv, C);
    }
    finish_products(rows, nv, finish, X, g, C);
}

static void product_panel_bfloat16(idx rows, idx n, const void *A, idx row, idx stride, const void *B, const fnn_spans *spans, int far,
                                   int nv, int finish, const void *X, fnn_activation g, void *C) {
    (void)row, (void)spans, (void)far;
    assert(row == NR);
    sum_product(rows, n, A, stride, B, 0, 0, nv, finish, X, g, C);
}

static void product_turned_bfloat16(idx rows, idx n, const void *A, idx stride, const void *W, idx panel, int far, idx columns,
                                    int finish, const void *X, fnn_activation g, void *C) {
    (void)far;
    assert(columns > 0 && columns <= NR);
    sum_product(rows, n, A, stride, W, panel, columns, columns > VL ? 2 : 1, finish, X, g, C);
}

static void gradient_block_bfloat16(idx batch, idx m_rows, const void *A_, const void *B_, int nv, void *G_, int first, void *W_,
                                    const fnn_rates *rates, void *const near[FNN_NEAR], fnn_prefetch *rows) {
    (void)near;
    assert(batch > 0 && m_rows > 0 && m_rows <= NR);
    const real *A = A_, *B = B_;
    real *G = G_, *W = W_;
    if (first) clear(m_rows, nv, G);
    for (idx k = 0; k < batch; k += KB) {
        bring_rows(rows);
        add_products(m_rows, batch - k < KB ? batch - k : KB, A + k * NR, 1, NR, NR * NR, B + k * NR, nv, G);
    }
    for (idx i = 0; W && i < m_rows * NR; i += VL)
        if (i % NR < nv * VL) store(W + i, fma_v(splat(-(real)rates->learning_rate), load(G + i), load(W + i)));
}

static idx no_spans(idx n, idx parts, const void *used, fnn_spans *spans) {
    (void)n, (void)parts, (void)used, (void)spans;
    return 0;
}

#if FNN_VECTOR_BYTES == 64
#include "pairs.h"
#endif

static int take_bfloat16(fnn_kernels *k, int ways) {
    int way = FNN_BY_FMA;
    k->product_panel = product_panel_bfloat16;
    k->product_turned = product_turned_bfloat16;
    k->gradient_block = gradient_block_bfloat16;
    k->find_spans = no_spans;
#if FNN_VECTOR_BYTES == 64
    way = best_way(ways);
#else
    (void)ways;
#endif
    return way;
}

#endif

#endif
