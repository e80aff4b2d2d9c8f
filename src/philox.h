/* Random words: Philox 4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). */
#ifndef FNN_PHILOX_H
#define FNN_PHILOX_H

#include <stddef.h>
#include <stdint.h>

/* words (n,) <- those of counters (1, 0, purpose, index), (2, 0, purpose, index), ..., four of each: as NumPy's generator counts. */
static inline void fnn_random_words(uint64_t key0, uint64_t key1, uint64_t purpose, uint64_t index, ptrdiff_t n, uint64_t *words) {
    for (ptrdiff_t i = 0; i < n; i += 4) {
        uint64_t x[4] = {(uint64_t)i / 4 + 1, 0, purpose, index}, k0 = key0, k1 = key1;
#ifdef __clang__
#pragma clang loop unroll(full)
#else
#pragma GCC unroll 10
#endif
        for (int round = 0; round < 10; round++) {
            const unsigned __int128 p = (unsigned __int128)x[0] * 0xD2E7470EE14C6C93u, q = (unsigned __int128)x[2] * 0xCA5A826395121157u;
            x[0] = (uint64_t)(q >> 64) ^ x[1] ^ k0;
            x[1] = (uint64_t)q;
            x[2] = (uint64_t)(p >> 64) ^ x[3] ^ k1;
            x[3] = (uint64_t)p;
            k0 += 0x9E3779B97F4A7C15u;
            k1 += 0xBB67AE8584CAA73Bu;
        }
        for (ptrdiff_t j = i; j < n && j < i + 4; j++) words[j] = x[j - i];
    }
}

#endif
