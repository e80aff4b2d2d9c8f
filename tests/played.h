/* Instructions that a test's machine may lack, played by C: those of AVX-512 that vectors of 64 bytes take (src/simd.h); vdpbf16ps,
 * by two fmas (src/bfloat16.h); AMX's tiles, as Intel's manual says (Software Developer's Manual, volume 2, TDPBF16PS). */
#define FNN_PLAYED

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#else
typedef float __m512 __attribute__((vector_size(64)));
typedef long long __m512i __attribute__((vector_size(64)));
typedef uint16_t __mmask16;
#endif

static inline __m512 played_fma(__m512 a, __m512 b, __m512 c) {
    for (int e = 0; e < 16; e++) c[e] = __builtin_fmaf(a[e], b[e], c[e]);
    return c;
}
static inline __m512 played_root(__m512 x) {
    for (int e = 0; e < 16; e++) x[e] = __builtin_sqrtf(x[e]);
    return x;
}
static inline __m512 played_max(__m512 a, __m512 b) {
    for (int e = 0; e < 16; e++) b[e] = a[e] > b[e] ? a[e] : b[e];
    return b;
}
static inline __m512 played_min(__m512 a, __m512 b) {
    for (int e = 0; e < 16; e++) b[e] = a[e] < b[e] ? a[e] : b[e];
    return b;
}
static inline __m512 played_load(__mmask16 some, const void *p) {
    __m512 v = {0};
    for (int e = 0; e < 16; e++) if (some >> e & 1) v[e] = ((const float *)p)[e];
    return v;
}
static inline void played_store(void *p, __mmask16 some, __m512 v) {
    for (int e = 0; e < 16; e++) if (some >> e & 1) ((float *)p)[e] = v[e];
}
static inline __mmask16 played_test(__m512i a, __m512i b) {
    typedef int32_t I __attribute__((vector_size(64)));
    const I both = (I)(a & b);
    __mmask16 some = 0;
    for (int e = 0; e < 16; e++) some |= (__mmask16)((both[e] != 0) << e);
    return some;
}
#define _mm512_fmadd_ps played_fma
#define _mm512_sqrt_ps played_root
#define _mm512_max_ps played_max
#define _mm512_min_ps played_min
#define _mm512_maskz_loadu_ps played_load
#define _mm512_mask_storeu_ps played_store
#define _mm512_test_epi32_mask played_test

static _Thread_local uint32_t played_tiles[8][16][16];
static _Thread_local int tiles_used; /* configured, as fnn_use_tiles does; a tile that is not would end the program */
static int order_of_index;           /* a fault: both halves' products in one sum */
void fnn_use_tiles(void) { tiles_used = 1; }

static inline float lower_half(uint32_t pair) {
    float x;
    pair <<= 16;
    memcpy(&x, &pair, sizeof x);
    return x;
}
static inline float upper_half(uint32_t pair) { return lower_half(pair >> 16); }

static inline void tile_load_of(int t, const void *p, ptrdiff_t step) {
    if (!tiles_used) __builtin_trap();
    for (int r = 0; r < 16; r++) memcpy(played_tiles[t][r], (const char *)p + r * step * 4, 64);
}
static inline void tile_store_of(int t, void *p, ptrdiff_t step) {
    for (int r = 0; r < 16; r++) memcpy((char *)p + r * step * 4, played_tiles[t][r], 64);
}
static inline void tile_dot_of(uint32_t (*c)[16], const uint32_t (*a)[16], const uint32_t (*b)[16]) {
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float even = 0, odd = 0, sum;
            for (int k = 0; k < 16; k++) {
                float *second = order_of_index ? &even : &odd;
                even = __builtin_fmaf(lower_half(a[m][k]), lower_half(b[k][n]), even);
                *second = __builtin_fmaf(upper_half(a[m][k]), upper_half(b[k][n]), *second);
            }
            memcpy(&sum, &c[m][n], sizeof sum);
            sum += even + odd;
            memcpy(&c[m][n], &sum, sizeof sum);
        }
}
#define tile_load(t, p, step) tile_load_of(t, p, step)
#define tile_store(t, p, step) tile_store_of(t, p, step)
#define tile_dot(t, a, b) tile_dot_of(played_tiles[t], (const uint32_t(*)[16])played_tiles[a], (const uint32_t(*)[16])played_tiles[b])
