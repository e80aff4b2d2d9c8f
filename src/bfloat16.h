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

INLINE V to_bfloat16(V v) {
    const VI nan = v != v, bits = (VI)v & ~nan, odd = bits >> 16 & 1;
    return (V)(((bits + 0x7fff + odd) & ~0xffff) | (nan & 0x7fc00000));
}

static void round_bfloat16(idx n, const void *x_, void *y_) {
    const real *x = x_;
    real *y = y_;
    for (idx i = 0; i < n; i += VL) store(y + i, to_bfloat16(load(x + i)));
}

#define KB 256               /* steps of a product before it moves on: those of B stay near for all rows */
#define SR (MR < 12 ? 3 : 4) /* rows of a tile: their sums E and O stay in registers */
#define PAIRS_OF_BLOCK (FNN_BLOCK / 2)

/* A way to make products. Where paired, B has half as many rows, of pairs: two numbers of a column side by side. */
typedef struct {
    int paired;
    /* C += A B over n <= KB numbers. A: number k of row r at k / NR stride + k % NR step + r row; B: nv vectors of each row. */
    void (*products)(idx rows, idx n, const real *A, idx row, idx step, idx stride, const real *B, int nv, real *C);
    void (*pair)(idx n, const real *x, real *B);           /* B <- n rows of numbers */
    void (*turn)(idx rows, idx n, const real *W, real *B); /* B <- the transpose of a block W, `rows` x n, that is such a B itself */
} products_way;

/* How many pairs a block's n numbers make (pairs.h). */
INLINE idx pairs_of(int tiles, idx n) { return tiles ? (n + 1) / 2 : n / 4 * 2 + (n % 4 < 2 ? n % 4 : 2); }

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

/* m rows. dots: of pairs, E's and O's in turn; A: pair k of row r at k step + r row. */
INLINE void sums_tile(const int m, const int dots, idx n, const real *A, idx row, idx step, idx stride, const real *B, int stored,
                      real *C) {
    const int nv = NV;
    NO_UNROLL for (; n > 0; n -= FNN_BLOCK) {
        V even[SR][NV], odd[SR][NV];
        const idx numbers = n < FNN_BLOCK ? n : FNN_BLOCK, in_block = dots ? pairs_of(0, numbers) : numbers;
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
        ALL(r, v) if (v < stored) store(C + r * NR + v * VL, load(C + r * NR + v * VL) + (even[r][v] + odd[r][v]));
        A += dots ? PAIRS_OF_BLOCK * step : FNN_BLOCK / NR * stride;
        B += (dots ? PAIRS_OF_BLOCK : FNN_BLOCK) * NR;
    }
}

#define SUMS(name, m, dots)                                                                                                 \
    NOINLINE void name(idx n, const real *A, idx row, idx step, idx stride, const real *B, int nv, real *C) {              \
        sums_tile(m, dots, n, A, row, step, stride, B, nv, C);                                                             \
    }
SUMS(fmas_of_row, 1, 0) SUMS(fmas, SR, 0)

static void products_by_fma(idx rows, idx n, const real *A, idx row, idx step, idx stride, const real *B, int nv, real *C) {
    for (idx m; rows > 0; rows -= m, A += m * row, C += m * NR) {
        m = rows < SR ? 1 : SR;
        (rows < SR ? fmas_of_row : fmas)(n, A, row, step, stride, B, nv, C);
    }
}

static void turn_numbers(idx rows, idx n, const real *W, real *B) { transpose_block(rows, n > VL ? 2 : 1, W, B); }

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
 * and of what comes next only a gradient's blocks are brought near. */
INLINE void sum_product(const products_way *by, idx rows, idx n, const real *A, idx stride, const real *B, idx panel, idx columns,
                        int nv, int finish, const real *X, fnn_activation g, real *C) {
    real turned[KB * NR] __attribute__((aligned(64)));
    assert(rows > 0 && n > 0 && columns <= NR);
    clear(rows, nv, C);
    for (idx k = 0; k < n; k += KB) {
        const idx steps = n - k < KB ? n - k : KB;
        for (idx j = 0; columns && j < steps; j += NR)
            by->turn(columns, steps - j < NR ? steps - j : NR, B + (k + j) / NR * panel, turned + (j * NR >> by->paired));
        by->products(rows, steps, A + k / NR * stride, NR, 1, stride, columns ? turned : B + (k * NR >> by->paired), nv, C);
    }
    finish_products(rows, nv, finish, X, g, C);
}

INLINE void sum_gradient(const products_way *by, idx batch, idx m_rows, const real *A, const real *B, int nv, real *G, int first,
                         real *W, const fnn_rates *rates, void *const near[FNN_NEAR], fnn_prefetch *rows) {
    real paired[KB * NR / 2] __attribute__((aligned(64)));
    assert(batch > 0 && m_rows > 0 && m_rows <= NR);
    if (first) clear(m_rows, nv, G);
    for (int b = 0; near && b < FNN_NEAR && near[b]; b++)
        for (idx i = 0; i < NR * NR; i += LINE / (idx)sizeof(real)) prefetch_write((const real *)near[b] + i);
    for (idx k = 0; k < batch; k += KB) {
        const idx steps = batch - k < KB ? batch - k : KB;
        bring_rows(rows);
        if (by->paired) by->pair(steps, B + k * NR, paired);
        by->products(m_rows, steps, A + k * NR, 1, NR, NR * NR, by->paired ? paired : B + k * NR, nv, G);
    }
    for (idx i = 0; W && i < m_rows * NR; i += VL)
        if (i % NR < nv * VL) store(W + i, fma_v(splat(-(real)rates->learning_rate), load(G + i), load(W + i)));
}

/* The way `by`, and take_by, which puts it into a table; round: B <- n rows of W, rounded. */
#define WAY(by, paired_, products, pair, turn, round)                                                                            \
    static const products_way by = {paired_, products, pair, turn};                                                              \
    static void by##_panel(idx rows, idx n, const void *A, idx row, idx stride, const void *B, const fnn_spans *spans, int far,  \
                           int nv, int finish, const void *X, fnn_activation g, void *C) {                                      \
        (void)row, (void)spans, (void)far;                                                                                      \
        assert(row == NR);                                                                                                      \
        sum_product(&by, rows, n, A, stride, B, 0, 0, nv, finish, X, g, C);                                                     \
    }                                                                                                                           \
    static void by##_turned(idx rows, idx n, const void *A, idx stride, const void *W, idx panel, int far, idx columns,          \
                            int finish, const void *X, fnn_activation g, void *C) {                                             \
        (void)far;                                                                                                              \
        sum_product(&by, rows, n, A, stride, W, panel, columns, columns > VL ? 2 : 1, finish, X, g, C);                         \
    }                                                                                                                           \
    static void by##_gradient(idx batch, idx m_rows, const void *A, const void *B, int nv, void *G, int first, void *W,          \
                              const fnn_rates *rates, void *const near[FNN_NEAR], fnn_prefetch *rows) {                         \
        sum_gradient(&by, batch, m_rows, A, B, nv, G, first, W, rates, near, rows);                                             \
    }                                                                                                                           \
    static void by##_round(idx n, const void *W, void *B) { round(n, W, B); }                                                    \
    static void take_##by(fnn_kernels *k) {                                                                                     \
        k->product_panel = by##_panel;                                                                                          \
        k->product_turned = by##_turned;                                                                                        \
        k->gradient_block = by##_gradient;                                                                                      \
        k->round_weights = by##_round;                                                                                          \
        k->paired = by.paired;                                                                                                  \
    }

INLINE void round_rows(idx n, const real *W, real *B) { round_bfloat16(n * NR, W, B); }
WAY(by_fma, 0, products_by_fma, NULL, turn_numbers, round_rows)

static idx no_spans(idx n, idx parts, const void *used, fnn_spans *spans) {
    (void)n, (void)parts, (void)used, (void)spans;
    return 0;
}

#if FNN_VECTOR_BYTES == 64
#include "pairs.h"
#endif

static int take_bfloat16(fnn_kernels *k, int ways) {
    k->find_spans = no_spans;
#if FNN_VECTOR_BYTES == 64
    const int way = best_way(ways);
    take_ways[way](k);
#else
    const int way = FNN_BY_FMA;
    (void)ways;
    take_by_fma(k);
#endif
    return way;
}

#endif

#endif
