/* Products of bfloat16 (bfloat16.h) by an instruction for them, on vectors of AVX-512: numbers in pairs, of 32 bits.
 *
 *   by dots    AVX512-BF16: vdpbf16ps adds the product of the upper halves, then that of the lower ones
 *   by tiles   AMX: TDPBF16PS sums a block of 16 rows x 16 columns, the lower halves' products in E, the upper ones' in O
 */
#ifndef FNN_PAIRS_H
#define FNN_PAIRS_H

/* Pair i of a block holds these two of its numbers, in its upper half and in its lower one. */
#define UPPER(tiles, i) ((tiles) ? 2 * (i) + 1 : (i) / 2 * 4 + (i) % 2)
#define LOWER(tiles, i) ((tiles) ? 2 * (i) : UPPER(0, i) + 2)

INLINE void store_bits(real *to, VI v) { store(to, (V)v); }

/* Pairs of n rows of NR numbers, which are rounded first where `round`. They may lie where the numbers do. */
INLINE void pair_rows(const int tiles, const int round, idx n, const real *x, real *pairs) {
    for (; n > 0; n -= FNN_BLOCK, x += FNN_BLOCK * NR, pairs += PAIRS_OF_BLOCK * NR) {
        const idx end = pairs_of(tiles, n < FNN_BLOCK ? n : FNN_BLOCK);
        NO_UNROLL for (idx i = 0; i < end; i++) UNROLL for (int v = 0; v < NR; v += VL) {
            const idx upper = UPPER(tiles, i), lower = LOWER(tiles, i);
            V a = upper < n ? load(x + upper * NR + v) : (V){0}, b = lower < n ? load(x + lower * NR + v) : (V){0};
            if (round) { a = to_bfloat16(a); b = to_bfloat16(b); }
            store_bits(pairs + i * NR + v, (VI)a | (VI)((VU)b >> 16));
        }
    }
}

/* Pairs of m rows of n numbers, in panels (NR is a block); ROOM of them from one row to the next. */
#define ROOM (KB / 2)
typedef uint16_t V16 __attribute__((vector_size(FNN_VECTOR_BYTES)));
#define HALF(tiles, w) (2 * ((w) % 2 ? UPPER(tiles, (w) / 2) : LOWER(tiles, (w) / 2)) + 1) /* which of 64 halves stands at place w */
#define FOUR(tiles, w) HALF(tiles, w), HALF(tiles, (w) + 1), HALF(tiles, (w) + 2), HALF(tiles, (w) + 3)
#define HALVES(tiles) FOUR(tiles, 0), FOUR(tiles, 4), FOUR(tiles, 8), FOUR(tiles, 12), FOUR(tiles, 16), FOUR(tiles, 20), \
                      FOUR(tiles, 24), FOUR(tiles, 28)
NOINLINE void pair_columns(int tiles, idx m, idx n, const real *A, idx stride, real *pairs) {
    for (; n > 0; n -= FNN_BLOCK, A += stride, pairs += PAIRS_OF_BLOCK)
        for (idx r = 0; r < m; r++) {
            real whole[NR] = {0};
            const real *x = A + r * NR;
            if (n < NR) x = memcpy(whole, x, (size_t)n * sizeof(real));
            const V16 a = (V16)load(x), b = (V16)load(x + VL);
            store_bits(pairs + r * ROOM,
                       (VI)(tiles ? __builtin_shufflevector(a, b, HALVES(1)) : __builtin_shufflevector(a, b, HALVES(0))));
        }
}

/* A block of pairs, W (rows, n), transposed: its n columns' pairs. Number c of a column stands at half HALF_OF of its pairs. */
#define HALF_OF(tiles, c) ((tiles) ? (c) : ((c) / 4 * 2 + (c) % 2) * 2 + ((c) % 4 < 2))
#define TWO(tiles, c) HALF_OF(tiles, c), 32 + HALF_OF(tiles, c)
#define EIGHT(tiles, c) TWO(tiles, c), TWO(tiles, (c) + 1), TWO(tiles, (c) + 2), TWO(tiles, (c) + 3)
#define SIXTEEN(tiles, c) EIGHT(tiles, c), EIGHT(tiles, (c) + 4), EIGHT(tiles, (c) + 8), EIGHT(tiles, (c) + 12)
#define TURN_PAIRS(name, tiles)                                                                                             \
    NOINLINE void name(idx rows, idx n, const real *W, real *pairs) {                                                       \
        real columns[NR * NR] __attribute__((aligned(64)));                                                                 \
        const idx end = pairs_of(tiles, n);                                                                                 \
        transpose_block(pairs_of(tiles, rows), n > VL ? 2 : 1, W, columns);                                                 \
        for (idx i = 0; i < end; i++, pairs += NR) {                                                                        \
            const idx upper = UPPER(tiles, i), lower = LOWER(tiles, i);                                                     \
            const V16 a = upper < n ? (V16)load(columns + upper * NR) : (V16){0};                                           \
            const V16 b = lower < n ? (V16)load(columns + lower * NR) : (V16){0};                                           \
            store_bits(pairs, (VI)__builtin_shufflevector(b, a, SIXTEEN(tiles, 0)));                                        \
            store_bits(pairs + VL, (VI)__builtin_shufflevector(b, a, SIXTEEN(tiles, 16)));                                  \
        }                                                                                                                   \
    }

NOINLINE void pair_for_dots(idx n, const real *x, real *pairs) { pair_rows(0, 0, n, x, pairs); }
NOINLINE void round_for_dots(idx n, const real *x, real *pairs) { pair_rows(0, 1, n, x, pairs); }
TURN_PAIRS(turn_for_dots, 0)
SUMS(dots_of_row, 1, 1) SUMS(dots, SR, 1)

static void products_by_dots(idx rows, idx n, const real *A, idx row, idx step, idx stride, const real *B, int nv, real *C) {
    real of_A[ROOM * NR] __attribute__((aligned(64)));
    if (step != 1) pair_for_dots(n, A, of_A);
    for (idx m, r = 0; r < rows; r += m) {
        m = rows - r < SR ? 1 : SR;
        if (step == 1) pair_columns(0, m, n, A + r * row, stride, of_A);
        (m == 1 ? dots_of_row : dots)(n, step == 1 ? of_A : of_A + r, step == 1 ? ROOM : 1, step == 1 ? 1 : NR, 0, B, nv, C + r * NR);
    }
}
WAY(by_dots, 1, products_by_dots, pair_for_dots, turn_for_dots, round_for_dots)

#define SIDE 16                  /* rows of a tile, and 32-bit columns */
#define TILE_ROWS (2 * SIDE)     /* four tiles of sums: rows x a panel */

#ifndef FNN_PLAYED
#define tile_load(t, p, step) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"(p), "r"((idx)(step) * (idx)sizeof(real)) : "memory")
#define tile_store(t, p, step) \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"(p), "r"((idx)(step) * (idx)sizeof(real)) : "memory")
#define tile_dot(t, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #t : : : "memory")
#endif

NOINLINE void pair_for_tiles(idx n, const real *x, real *pairs) { pair_rows(1, 0, n, x, pairs); }
NOINLINE void round_for_tiles(idx n, const real *x, real *pairs) { pair_rows(1, 1, n, x, pairs); }
TURN_PAIRS(turn_for_tiles, 1)

NOINLINE void copy_sums(idx rows, int nv, const real *from, real *to) {
    for (idx r = 0; r < rows; r++) for (int v = 0; v < nv; v++) store(to + r * NR + v * VL, load(from + r * NR + v * VL));
}

/* Tiles 0 to 3: sums, two by two. 4 and 5: of A, its rows; 6 and 7: of B, its columns. Rows and columns beyond the last may hold
 * anything. */
static void products_by_tiles(idx rows, idx n, const real *A, idx row, idx step, idx stride, const real *B, int nv, real *C) {
    real of_A[ROOM * NR] __attribute__((aligned(64))), last[PAIRS_OF_BLOCK * NR] __attribute__((aligned(64)));
    real part[TILE_ROWS * NR] __attribute__((aligned(64)));
    const idx a_row = step == 1 ? ROOM : NR, rest = n % FNN_BLOCK;
    memset(last, 0, sizeof last);
    memcpy(last, B + (n - rest) / 2 * NR, (size_t)(pairs_of(1, rest) * NR) * sizeof(real));
    fnn_use_tiles();
    for (idx r = 0; r < rows; r += TILE_ROWS, C += TILE_ROWS * NR) {
        const idx m = rows - r < TILE_ROWS ? rows - r : TILE_ROWS;
        real *to = m < TILE_ROWS || nv < NV ? part : C;
        if (step == 1) pair_columns(1, m, n, A + r * row, stride, of_A);
        else for (idx k = 0; k < n; k += 2 * FNN_BLOCK) { /* A's columns are the rows: two blocks are turned at once */
            const idx some = n - k < 2 * FNN_BLOCK ? n - k : 2 * FNN_BLOCK;
            pair_for_tiles(some, A + k * NR, part);
            transpose_block(pairs_of(1, some), NV, part, of_A + k / 2 * NR);
        }
        if (to == part) copy_sums(m, nv, C, part);
        tile_load(0, to, NR);
        tile_load(1, to + SIDE, NR);
        tile_load(2, to + SIDE * NR, NR);
        tile_load(3, to + SIDE * NR + SIDE, NR);
        for (idx k = 0; k < n; k += FNN_BLOCK) {
            const real *a = of_A + (step == 1 ? k / 2 : k / (2 * FNN_BLOCK) * NR * NR + k % (2 * FNN_BLOCK) / 2);
            const real *b = n - k < FNN_BLOCK ? last : B + k / 2 * NR;
            tile_load(4, a, a_row);
            tile_load(6, b, NR);
            tile_dot(0, 4, 6);
            tile_load(7, b + SIDE, NR);
            tile_dot(1, 4, 7);
            tile_load(5, a + SIDE * a_row, a_row);
            tile_dot(2, 5, 6);
            tile_dot(3, 5, 7);
        }
        tile_store(0, to, NR);
        tile_store(1, to + SIDE, NR);
        tile_store(2, to + SIDE * NR, NR);
        tile_store(3, to + SIDE * NR + SIDE, NR);
        if (to == part) copy_sums(m, nv, part, C);
    }
}

WAY(by_tiles, 1, products_by_tiles, pair_for_tiles, turn_for_tiles, round_for_tiles)

static void (*const take_ways[])(fnn_kernels *) = {take_by_fma, take_by_dots, take_by_tiles};

/* Whether this CPU's instruction sums as by fma, bit for bit: numbers from 2^-15 to 2 with any sign. */
static int agrees(int way) {
    enum { n = 4 * FNN_BLOCK, size = n * NR };
    real A[size], W[size], B[size], C[2][NR * NR];
    uint32_t x = 2654435769u;
    fnn_kernels k;
    for (int round = 0; round < 16; round++) {
        for (int i = 0; i < 2 * size; i++) {
            x ^= x << 13; x ^= x >> 17; x ^= x << 5;
            const uint32_t bits = (x & 0xbfff0000u) | 0x38000000u;
            memcpy((i < size ? A : W) + i % size, &bits, sizeof bits);
        }
        for (int i = 0; i < 2; i++) {
            take_ways[i ? way : FNN_BY_FMA](&k);
            k.round_weights(n, W, B);
            k.product_panel(NR, n, A, NR, NR * NR, B, NULL, 0, NV, FNN_PARTIAL, NULL, (fnn_activation){fnn_identity, 0}, C[i]);
        }
        if (memcmp(C[0], C[1], sizeof C[0])) return 0;
    }
    return 1;
}

/* The best of `ways`, bits 1 << FNN_BY_FMA and so on, which this CPU has. */
static int best_way(int ways) {
    static int known[3]; /* 1: it agrees, -1: it does not */
    int way = FNN_BY_TILES;
    for (; way > FNN_BY_FMA; way--) {
        int agreed = __atomic_load_n(&known[way], __ATOMIC_RELAXED);
        if (!(ways & 1 << way)) continue;
        if (!agreed) __atomic_store_n(&known[way], agreed = agrees(way) ? 1 : -1, __ATOMIC_RELAXED);
        if (agreed > 0) break;
    }
    return way;
}

#endif
