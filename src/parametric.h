/* Parametric activations, one alpha for each unit: h = a + alpha (g(a) - a). */
#ifndef FNN_PARAMETRIC_H
#define FNN_PARAMETRIC_H

#include "activate.h"

/* The choice of g stands outside the loop over elements. */
#define X(name, id, initial, keeps, formula, dg)                                                                        \
    NOINLINE void parametric_panel_##name(const idx rows, const int nv, real *h, double p, const real *alpha_, real *d, real *e) { \
        const fnn_activation g = {id, p};                                                                                \
        for (int v = 0; v < nv; v++) {                                                                                   \
            const V alpha = load(alpha_ + v * VL);                                                                       \
            for (idx at = v * VL; at < rows * NR; at += NR) {                                                            \
                V slope;                                                                                                 \
                const V a = load(h + at), by = activate(a, g, &slope) - a;                                               \
                store(h + at, fma_v(alpha, by, a));                                                                      \
                if (d) store(d + at, fma_v(alpha, slope - splat(1), splat(1)));                                          \
                if (e) store(e + at, by);                                                                                \
            }                                                                                                            \
        }                                                                                                                \
    }
FNN_ACTIVATIONS(X)
#undef X

/* From a panel of a, in its place: h; and unless NULL d = dh/da = 1 + alpha (g'(a) - 1) and e = dh/dalpha = g(a) - a. */
static void parametric_panel(idx rows, int vectors, void *h, fnn_activation g, const void *alpha, void *d, void *e) {
    switch (g.id) {
#define X(name, id, ...) case id: parametric_panel_##name(rows, vectors, h, g.parameter, alpha, d, e); return;
        FNN_ACTIVATIONS(X)
#undef X
    default: return;
    }
}

/* delta = dL/da = dL/dh dh/da. */
static void parametric_delta(idx rows, int vectors, const void *dh, const void *d, void *delta) {
    for (idx r = 0; r < rows; r++) for (int v = 0; v < vectors; v++) {
        const idx at = r * NR + v * VL;
        store((real *)delta + at, load((const real *)dh + at) * load((const real *)d + at));
    }
}

#endif
