/* Prediction in 8 bits: activations as codes u = 0..255, h = scale (u - zero), weights as w = -127..127, W_ij = scale_i w_ij.
 *
 *   a_i = (sum_j (u_j - zero) w_ij) (scale scale_i) + b_i        the sum exact, the rest rounded operation by operation
 *
 * so every ISA has the same bits, the baseline too. Weights lie in panels as kernels.h says, four inputs of an output side by side,
 * which AVX2 multiplies and adds in 16 bits: FNN_SUMMED such fours are added there before they go into 32. No such sum leaves 16
 * bits, because in none of them the weights of one sign sum up to more than FNN_WEIGHT_SUM (quantized/weights.py sees to it).
 * Of float alone.
 */
#ifndef FNN_INT8_H
#define FNN_INT8_H

#include "tiles.h"

#if FNN_REAL_BITS == 32

typedef int16_t VS __attribute__((vector_size(FNN_VECTOR_BYTES)));
_Static_assert(255 * FNN_WEIGHT_SUM <= INT16_MAX, "a sum in 16 bits");

/* Four codes for all outputs, four weights of some outputs, and their products, in pairs or one by one; sums of these in 32 bits. */
#if FNN_VECTOR_BYTES > 16
#if FNN_VECTOR_BYTES == 64
#define INT(operation) _mm512_##operation
typedef __m512i bytes;
#else
#define INT(operation) _mm256_##operation
typedef __m256i bytes;
#endif
#define OF_SUMS NV /* vectors of sums of a panel */
typedef VI fours;
typedef int32_t unaligned_32 __attribute__((aligned(1), may_alias));
INLINE fours codes_at(const uint8_t *u) { return (VI){0} + *(const unaligned_32 *)u; }
INLINE fours weights_at(const int8_t *w) { return *(const VI *)w; }
INLINE VS products(fours u, fours w) { return (VS)INT(maddubs_epi16)((bytes)u, (bytes)w); }
INLINE VI in_32(VS s) { return (VI)INT(madd_epi16)((bytes)s, INT(set1_epi16)(1)); }
#else
#define OF_SUMS (2 * NV) /* half the sum of an output beside the other */
typedef VS fours;
typedef int8_t bytes_8 __attribute__((vector_size(8), may_alias));
INLINE fours codes_at(const uint8_t *u) { return (VS){u[0], u[1], u[2], u[3], u[0], u[1], u[2], u[3]}; }
INLINE fours weights_at(const int8_t *w) { return __builtin_convertvector(*(const bytes_8 *)w, VS); }
INLINE VS products(fours u, fours w) { return u * w; }
INLINE VI in_32(VS s) { return ((VI)s << 16 >> 16) + ((VI)s >> 16); }
#endif

/* C[m, NR] = g(a) from the sums. */
NOINLINE void decode(int m, VI acc[][OF_SUMS], const fnn_int8 *layer, const fnn_codes *codes, idx each, fnn_activation g, real *C) {
    NO_UNROLL for (int r = 0; r < m; r++) {
        const VI zero = (VI){0} + codes[r * each].zero;
        const V scale = splat(codes[r * each].scale);
        UNROLL for (int v = 0; v < NV; v++) {
#if FNN_VECTOR_BYTES > 16
            const VI sum = acc[r][v];
#else
            const VI sum = __builtin_shufflevector(acc[r][2 * v], acc[r][2 * v + 1], 0, 2, 4, 6)
                         + __builtin_shufflevector(acc[r][2 * v], acc[r][2 * v + 1], 1, 3, 5, 7);
#endif
            const VI of_zero = *(const VI *)(layer->sums + v * VL);
            const V by = scale * load(layer->scale + v * VL);
            V a = __builtin_convertvector(sum - zero * of_zero, V) * by + load(layer->b + v * VL), d;
            store(C + r * NR + v * VL, g.id == fnn_relu ? activate(a, relu, &d) : a);
        }
    }
    if (g.id != fnn_relu && g.id != fnn_identity) activate_rows(m, NV, C, g, NULL);
}

INLINE void int8_tile(const int m, idx groups, const uint8_t *U, idx ld, const fnn_int8 *layer, const fnn_codes *codes, idx each,
                      fnn_activation g, real *C) {
    const int8_t *W = layer->W;
    VI acc[MR][OF_SUMS];
    UNROLL for (int r = 0; r < m; r++) UNROLL for (int p = 0; p < OF_SUMS; p++) acc[r][p] = (VI){0};
    NO_UNROLL for (; groups > 0; groups--, U += 4 * FNN_SUMMED, W += 4 * FNN_SUMMED * NR) {
        UNROLL for (int r = 0; r < m; r++) {
            VS s[OF_SUMS];
            UNROLL for (int t = 0; t < FNN_SUMMED; t++) {
                const fours u = codes_at(U + r * ld + 4 * t);
                UNROLL for (int p = 0; p < OF_SUMS; p++) {
                    const VS now = products(u, weights_at(W + (t * OF_SUMS + p) * (4 * NR / OF_SUMS)));
                    s[p] = t ? s[p] + now : now;
                }
            }
            UNROLL for (int p = 0; p < OF_SUMS; p++) acc[r][p] += in_32(s[p]);
        }
    }
    decode(m, acc, layer, codes, each, g, C);
}

typedef void int8_tile_fn(idx, const uint8_t *, idx, const fnn_int8 *, const fnn_codes *, idx, fnn_activation, real *);

#if FNN_VECTOR_BYTES == 64
#define INT8_ROWS 6
#define INT8_TILES(F) TILES_6(F)
#elif FNN_VECTOR_BYTES == 16
#define INT8_ROWS 2
#define INT8_TILES(F) F(1) F(2)
#else
#define INT8_ROWS 4
#define INT8_TILES(F) TILES_4(F)
#endif
#define F(m)                                                                                                        \
    NOINLINE void int8_tile_##m(idx groups, const uint8_t *U, idx ld, const fnn_int8 *layer, const fnn_codes *codes, \
                                idx each, fnn_activation g, real *C) {                                              \
        int8_tile(m, groups, U, ld, layer, codes, each, g, C);                                                      \
    }
INT8_TILES(F)
#undef F

INLINE void int8_rows(int8_tile_fn *const tiles[INT8_ROWS], idx rows, idx n, const uint8_t *U, idx ld, const fnn_int8 *layer,
                      const fnn_codes *codes, idx each, fnn_activation g, real *C) {
    const idx groups = (n + 4 * FNN_SUMMED - 1) / (4 * FNN_SUMMED);
    for (idx r = 0, m; r < rows; r += m) {
        m = rows - r < INT8_ROWS ? rows - r : INT8_ROWS;
        tiles[m - 1](groups, U + r * ld, ld, layer, codes + r * each, each, g, C + r * NR);
    }
}

static void int8_product(idx rows, idx n, const uint8_t *U, idx ld, const fnn_int8 *layer, const fnn_codes *codes, idx each,
                         fnn_activation g, void *C) {
#define F(m) int8_tile_##m,
    static int8_tile_fn *const tiles[] = {INT8_TILES(F)};
#undef F
    int8_rows(tiles, rows, n, U, ld, layer, codes, each, g, C);
}

/* The same by vpdpbusd, which adds four products in 32 bits at once: where the CPU has AVX512-VNNI (platform.c). */
#if FNN_VECTOR_BYTES == 64
#define F(m)                                                                                                                  \
    NOINLINE __attribute__((target("avx512vnni"))) void dots_tile_##m(idx groups, const uint8_t *U, idx ld,                   \
            const fnn_int8 *layer, const fnn_codes *codes, idx each, fnn_activation g, real *C) {                             \
        const int8_t *W = layer->W;                                                                                           \
        VI acc[MR][OF_SUMS];                                                                                                    \
        UNROLL for (int r = 0; r < m; r++) UNROLL for (int p = 0; p < OF_SUMS; p++) acc[r][p] = (VI){0};                         \
        NO_UNROLL for (idx k = groups * FNN_SUMMED; k > 0; k--, U += 4, W += 4 * NR)                                          \
            UNROLL for (int r = 0; r < m; r++) UNROLL for (int p = 0; p < OF_SUMS; p++)                                          \
                acc[r][p] = (VI)_mm512_dpbusd_epi32((bytes)acc[r][p], (bytes)codes_at(U + r * ld),                            \
                                                    (bytes)weights_at(W + p * (4 * NR / OF_SUMS)));                             \
        decode(m, acc, layer, codes, each, g, C);                                                                             \
    }
INT8_TILES(F)
#undef F

static void int8_product_vnni(idx rows, idx n, const uint8_t *U, idx ld, const fnn_int8 *layer, const fnn_codes *codes, idx each,
                              fnn_activation g, void *C) {
#define F(m) dots_tile_##m,
    static int8_tile_fn *const tiles[] = {INT8_TILES(F)};
#undef F
    int8_rows(tiles, rows, n, U, ld, layer, codes, each, g, C);
}
#endif

/* Codes of NR numbers: x / scale rounded to even, + zero, within 0..255. */
INLINE void encode_panel(const V x[NV], V inverse, VI zero, uint8_t *u) {
#if FNN_VECTOR_BYTES == 64
    UNROLL for (int v = 0; v < NV; v++) {
        const bytes code = _mm512_cvtps_epi32((__m512)at_most(x[v] * inverse, splat(512)));
        _mm_storeu_si128((__m128i *)(u + v * VL), _mm512_cvtusepi32_epi8(_mm512_max_epi32((bytes)((VI)code + zero), _mm512_setzero_si512())));
    }
#elif FNN_VECTOR_BYTES == 32
    bytes code[NV];
    UNROLL for (int v = 0; v < NV; v++)
        code[v] = (bytes)((VI)_mm256_cvtps_epi32(_mm256_min_ps((__m256)(x[v] * inverse), (__m256)splat(512))) + zero);
    const bytes words = _mm256_permute4x64_epi64(_mm256_packs_epi32(code[0], code[1]), 0xd8);
    _mm_storeu_si128((__m128i *)u, _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
#else
    UNROLL for (int v = 0; v < NV; v++) {
        const V near = at_most(at_least(x[v] * inverse, splat(-512)), splat(512));
        const VI code = (VI)(near + splat(ROUND)) - (VI)splat(ROUND) + zero, most = (VI){0} + 255;
        const VI low = code & ~(code < 0), in = (low & ~(low > most)) | (most & (low > most));
        UNROLL for (int e = 0; e < VL; e++) u[v * VL + e] = (uint8_t)in[e];
    }
#endif
}

/* The rows of x as encode and code_range walk them: NR numbers of row r from column i on, zeros after the last. */
INLINE void numbers_at(const real *x, idx row, idx stride, idx n, idx r, idx i, V v[NV]) {
    const real *from = x + r * row + i / NR * stride;
    UNROLL for (int e = 0; e < NV; e++) {
        const idx left = n - i - e * VL;
        v[e] = left > 0 ? load_first(from + e * VL, left) : (V){0};
    }
}

static int encode(idx rows, idx n, const void *x, idx row, idx stride, const fnn_codes *codes, idx each, uint8_t *U, idx ld) {
    VI bad = {0};
    for (idx r = 0; r < rows; r++) {
        const V inverse = splat(codes[r * each].inverse);
        const VI zero = (VI){0} + codes[r * each].zero;
        for (idx i = 0; i < n; i += NR) {
            V v[NV];
            numbers_at(x, row, stride, n, r, i, v);
            UNROLL for (int e = 0; e < NV; e++) bad |= not_finite(v[e]);
            encode_panel(v, inverse, zero, U + r * ld + i);
        }
    }
    return !any(bad);
}

/* As quantized/weights.py finds a layer's from calibration. */
static void code_range(idx rows, idx n, const void *x, idx row, idx stride, fnn_codes *codes) {
    for (idx r = 0; r < rows; r++) {
        V low = {0}, high = {0};
        for (idx i = 0; i < n; i += NR) {
            V v[NV];
            numbers_at(x, row, stride, n, r, i, v);
            UNROLL for (int e = 0; e < NV; e++) {
                low = at_most(low, v[e]);
                high = at_least(high, v[e]);
            }
        }
        for (int e = 1; e < VL; e++) {
            if (low[e] < low[0]) low[0] = low[e];
            if (high[e] > high[0]) high[0] = high[e];
        }
        const real step = high[0] / 255 - low[0] / 255;
        codes[r].scale = step > 0 ? step : 1;
        codes[r].inverse = 1 / codes[r].scale;
        codes[r].zero = (int32_t)((-low[0] * codes[r].inverse + ROUND) - ROUND);
    }
}

#endif

#endif
