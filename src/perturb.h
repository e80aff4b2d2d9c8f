/* What training adds to h and leaves out of it: h <- (h + noise z) m / (1 - dropout). z and m are drawn by position (random.h). */
#ifndef FNN_PERTURB_H
#define FNN_PERTURB_H

#include "kernels.h"
#include "random.h"

/* Rows are drawn for in fours. */
static void perturb_panel(idx rows, int vectors, void *h_, void *d_, void *e_, const fnn_draw *draw, int64_t step, idx first_row,
                          idx column) {
    real *h = (real *)h_ - first_row * NR; /* counted like the mini-batch's rows */
    real *d = d_ ? (real *)d_ - first_row * NR : NULL, *e = e_ ? (real *)e_ - first_row * NR : NULL;
    const idx end = first_row + rows;
    if (draw->noise > 0) for (idx quad = first_row / 4; 4 * quad < end; quad++) for (int v = 0; v < vectors; v++) {
        VI words[4];
        V z[4];
        draw_words(draw->noise_key, step, (uint32_t)quad, (uint32_t)(column + v * VL), words);
        normal_pair(words[0], words[1], z, z + 1);
        normal_pair(words[2], words[3], z + 2, z + 3);
        UNROLL for (int i = 0; i < 4; i++) if (4 * quad + i >= first_row && 4 * quad + i < end) {
            real *to = h + (4 * quad + i) * NR + v * VL;
            store(to, fma_v(splat((real)draw->noise), z[i], load(to)));
        }
    }
    if (draw->dropout > 0) for (idx quad = first_row / 4; 4 * quad < end; quad++) for (int v = 0; v < vectors; v++) {
        const uint32_t dropped = (uint32_t)(draw->dropout * 4294967296.0);
        const V scale = splat((real)(1 / (1 - draw->dropout)));
        VI words[4];
        draw_words(draw->dropout_key, step, (uint32_t)quad, (uint32_t)(column + v * VL), words);
        UNROLL for (int i = 0; i < 4; i++) if (4 * quad + i >= first_row && 4 * quad + i < end) {
            const V factor = select_v(word_at_least(words[i], dropped), scale, splat(0));
            const idx at = (4 * quad + i) * NR + v * VL;
            store(h + at, load(h + at) * factor);
            if (d) store(d + at, load(d + at) * factor);
            if (e) store(e + at, load(e + at) * factor);
        }
    }
}

#endif
