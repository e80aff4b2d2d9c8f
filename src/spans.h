/* Columns of a mini-batch that are 0 in all of its rows: they add nothing to a product, and their weights' gradient is 0. */
#ifndef FNN_SPANS_H
#define FNN_SPANS_H

#include "kernels.h"
#include "simd.h"

#define GAP 3      /* columns cost as much as one more span does */
#define WORTH 0.12 /* the part of all columns that must be 0: less costs about what it saves */

static void used_columns(idx rows, idx n, const void *h_, idx stride, void *used_) {
    for (idx j = 0; j < n; j += NR) {
        const real *h = (const real *)h_ + j / NR * stride;
        VI used[NV] = {{0}};
        for (idx r = 0, stop = 2; r < rows; stop = 2 * r) { /* most are used soon, or hardly ever */
            if (stop > rows) stop = rows;
            for (; r < stop; r++) UNROLL for (int v = 0; v < NV; v++) used[v] |= (VI)load(h + r * NR + v * VL);
            int unused = 0;
            UNROLL for (int v = 0; v < NV; v++) unused |= any(used[v] == 0);
            if (!unused) break;
        }
        UNROLL for (int v = 0; v < NV; v++) store((real *)used_ + j + v * VL, (V)used[v]);
    }
}

static ptrdiff_t find_spans(idx n, idx parts, const void *used_, fnn_spans *spans) {
    const idx width = (n + NR - 1) / NR * NR;
    const real_int *used = used_;
    VI unused = {0};
    for (idx j = 0; j < n; j += VL) {
        VI some = (VI)load((const real *)used_ + j);
        for (idx t = 1; t < parts; t++) some |= (VI)load((const real *)used_ + t * width + j);
        unused -= some == 0;
    }
    idx zeros = n - width;
    for (int e = 0; e < VL; e++) zeros += (idx)unused[e];
    spans->n = 0;
    if (zeros < WORTH * n) return 0;
    idx held = 0;
    for (idx q = 0; q < width; q += NR) {
        fnn_span *last = NULL;
        for (idx j = q; j < n && j < q + NR; j++) {
            real_int some = 0;
            for (idx t = 0; t < parts; t++) some |= used[t * width + j];
            if (!some) continue;
            if (!last || j - last->column - last->n > GAP) {
                last = spans->list + spans->n++;
                last->column = (int32_t)j;
                last->n = 0;
            }
            held += j + 1 - last->column - last->n;
            last->n = (int32_t)(j + 1 - last->column);
        }
        spans->ends[q / NR] = (int32_t)spans->n;
    }
    return n - held + GAP * (width / NR - spans->n) < WORTH * n ? 0 : held;
}

#endif
