/* On a CPU by itself, which boot.S prepares: products of bfloat16 by every way (src/bfloat16.h) must have the bits of fma's. What is
 * found goes to the serial line. */
#include <cpuid.h>
#include <stddef.h>
#include <stdint.h>

/* What a C library would have; compilers call it. */
#define PLAIN __attribute__((optimize("no-tree-loop-distribute-patterns")))
PLAIN void *memcpy(void *to, const void *from, size_t n) {
    for (size_t i = 0; i < n; i++) ((char *)to)[i] = ((const char *)from)[i];
    return to;
}
PLAIN void *memset(void *to, int c, size_t n) {
    for (size_t i = 0; i < n; i++) ((char *)to)[i] = (char)c;
    return to;
}
PLAIN int memcmp(const void *a, const void *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (((const char *)a)[i] != ((const char *)b)[i]) return 1;
    return 0;
}

#include "bfloat16.h"

#include "use_tiles.h" /* by `run`, from src/platform.c: fnn_use_tiles, leave_tiles */

enum { LINE_1 = 0x3f8, STATE = LINE_1 + 5, SHUTDOWN = 0x8900 };
static void out(uint16_t port, int byte) { __asm__ volatile("outb %b0, %1" : : "a"(byte), "Nd"(port)); }
static int in(uint16_t port) {
    uint8_t byte;
    __asm__ volatile("inb %1, %0" : "=a"(byte) : "Nd"(port));
    return byte;
}
static void say(const char *text) {
    for (; *text; text++) {
        while (!(in(STATE) & 0x20)) {}
        out(LINE_1, *text);
    }
}
static void count(const char *text, long n) {
    char digits[20], *d = digits + 19;
    *d = 0;
    do *--d = (char)('0' + n % 10); while (n /= 10);
    say(text);
    say(d);
}

enum { ROWS = 67, N = 600, PANELS = (N + NR - 1) / NR };
static real A[N * ROWS * NR], B[N * NR], W[PANELS * (NR + 1) * NR], ready[PANELS * (NR + 1) * NR], X[ROWS * NR], C[3][ROWS * NR], moved[3][NR * NR];
static long cases, wrong[3];

static uint32_t random_bits(void) {
    static uint32_t x = 2463534242u;
    x ^= x << 13; x ^= x >> 17; x ^= x << 5;
    return x;
}

/* Numbers of bfloat16 of many sizes, about 2^exponent. */
static void fill(real *x, idx n, int exponent) {
    for (idx i = 0; i < n; i++) {
        const uint32_t bits = (random_bits() & 0x807f0000u) | (uint32_t)(127 + exponent - 9 + (int)(random_bits() % 18)) << 23;
        memcpy(x + i, &bits, sizeof bits);
    }
}

static void compare(const real *c, idx size, idx rows, idx columns) {
    cases++;
    for (int way = 1; way < 3; way++)
        for (idx r = 0, differs = 0; r < rows && !differs; r++)
            wrong[way] += differs = memcmp(c + way * size + r * NR, c + r * NR, (size_t)columns * sizeof(real));
}

static void products(idx n, idx rows, int nv, int exponent) {
    const idx stride = rows * NR, columns = nv == 2 ? NR - 3 : VL - 1;
    fill(A, (n + NR - 1) / NR * stride, exponent);
    fill(B, n * NR, exponent);
    fill(W, sizeof W / sizeof *W, exponent);
    fill(X, rows * NR, 0);
    for (int way = 0; way < 3; way++) {
        fnn_kernels k;
        take_ways[way](&k);
        k.round_weights(n, B, ready);
        k.product_panel(rows, n, A, NR, stride, ready, NULL, 0, nv, FNN_FORWARD, X, (fnn_activation){fnn_relu, 0}, C[way]);
    }
    compare(C[0], ROWS * NR, rows, nv * VL);
    for (int way = 0; way < 3; way++) {
        fnn_kernels k;
        take_ways[way](&k);
        for (idx i = 0; i < PANELS * (NR + 1) * NR; i += (NR + 1) * NR) k.round_weights(columns, W + i, ready + i);
        k.product_turned(rows, n, A, stride, ready, (NR + 1) * NR, 0, columns, FNN_PARTIAL, NULL, (fnn_activation){0, 0}, C[way]);
    }
    compare(C[0], ROWS * NR, rows, columns);
}

static void gradients(idx batch, idx rows, int nv, int first, int exponent) {
    const fnn_rates rates = {.learning_rate = 0.125};
    fill(A, batch * NR, exponent);
    fill(B, batch * NR, exponent);
    fill(C[0], NR * NR, exponent);
    fill(moved[0], NR * NR, 0);
    for (int way = 1; way < 3; way++) {
        memcpy(C[way], C[0], NR * NR * sizeof(real));
        memcpy(moved[way], moved[0], sizeof moved[0]);
    }
    for (int way = 0; way < 3; way++) {
        fnn_kernels k;
        take_ways[way](&k);
        k.gradient_block(batch, rows, A, B, nv, C[way], first, moved[way], &rates, NULL, NULL);
    }
    compare(C[0], ROWS * NR, rows, nv * VL);
    compare(moved[0], NR * NR, rows, nv * VL);
}

static void try_all(void) {
    static const int sizes[] = {1, 2, 31, 32, 33, 64, 255, 257, 600}, rows[] = {4, 5, 15, 16, 17, 31, 32, 33, 67};
    unsigned a, b, c, d;
    out(LINE_1 + 3, 0x83), out(LINE_1, 1), out(LINE_1 + 1, 0), out(LINE_1 + 3, 3); /* 8 bits, no parity */
    _mm_setcsr(0x9fc0);
    __cpuid_count(7, 0, a, b, c, d);
    count("AMX-TILE ", d >> 24 & 1);
    count(", AMX-BF16 ", d >> 22 & 1);
    __cpuid_count(7, 1, a, b, c, d);
    count(", AVX512-BF16 ", a >> 5 & 1);
    count("; agree: dots ", agrees(FNN_BY_DOTS));
    count(", tiles ", agrees(FNN_BY_TILES));
    for (int exponent = 0; exponent >= -62; exponent -= 62) /* products of the latter become 0 */
        for (int i = 0; i < 9; i++) {
            for (int j = 0; j < 9; j++)
                for (int nv = 1; nv < 3; nv++) {
                    products(sizes[i], rows[j], nv, exponent);
                    if (rows[j] <= NR) for (int first = 0; first < 2; first++) gradients(sizes[i], rows[j], nv, first, exponent);
                }
            count("\nsums of ", sizes[i]);
            count(" numbers about 2^-", -exponent);
            count(": so far ", cases);
            count(" cases, other bits: dots ", wrong[1]);
            count(", tiles ", wrong[2]);
        }
    leave_tiles();
    say(cases && !wrong[1] && !wrong[2] ? "\nthe same bits\n" : "\nOTHER BITS\n");
    while (!(in(STATE) & 0x40)) {}
    for (volatile int i = 0; i < 3000000; i++) {} /* until the line's last byte is out */
    for (const char *text = "Shutdown"; *text; text++) out(SHUTDOWN, *text);
    for (;;) __asm__ volatile("hlt");
}

extern char bss_start[], bss_end[];
void begin(void) {
    memset(bss_start, 0, (size_t)(bss_end - bss_start));
    try_all();
}
__attribute__((section(".start"), naked)) void start(void) { __asm__("call begin"); }
