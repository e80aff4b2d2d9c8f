/* h = g(a) and dL/da = dL/dh g'(a), on vectors, and in place on rows of a panel. The formulas: activations.h. */
#ifndef FNN_ACTIVATE_H
#define FNN_ACTIVATE_H

#include "elementary.h"
#include "kernels.h"

/* h = g(a), and *slope = g'(a). */
INLINE V activate(V a, fnn_activation g, V *slope) {
    const V p = splat((real)g.parameter);
    V h = a, d = splat(1);
    (void)p;
    switch (g.id) {
#define X(name, id, initial, keeps, formula, dg) case id: h = formula; if (!keeps) d = dg; break;
        FNN_OUTPUTS(X)
#undef X
    default: break; /* softmax needs the whole row: the output pass applies it */
    }
    *slope = d;
    return h;
}

/* g'(a) from h, or from what is kept. */
INLINE V derivative(V h, fnn_activation g) {
    const V p = splat((real)g.parameter);
    (void)p;
    switch (g.id) {
#define X(name, id, initial, keeps, formula, dg) case id: return dg;
        FNN_ACTIVATIONS(X)
#undef X
    case FNN_FACTOR: return h;
    default: return splat(1);
    }
}

static const fnn_activation relu = {fnn_relu, 0};

/* The choice of formula stands outside the loop over elements. */
#define X(name, id, initial, keeps, formula, dg)                                                   \
    NOINLINE void activate_rows_##name(const int m, const int nv, real *h, double p, real *d) {      \
        const fnn_activation g = {id, p};                                                            \
        V slope;                                                                                     \
        if (d) for (int r = 0; r < m; r++) for (int v = 0; v < nv; v++) {                            \
            store(h + r * NR + v * VL, activate(load(h + r * NR + v * VL), g, &slope));              \
            store(d + r * NR + v * VL, slope);                                                       \
        }                                                                                            \
        else for (int r = 0; r < m; r++) for (int v = 0; v < nv; v++)                                \
            store(h + r * NR + v * VL, activate(load(h + r * NR + v * VL), g, &slope));              \
    }
FNN_OUTPUTS(X)
#undef X

#define X(name, id, ...)                                                                             \
    NOINLINE void differentiate_rows_##name(const int m, const int nv, real *delta, const real *h, double p) { \
        const fnn_activation g = {id, p};                                                            \
        for (int r = 0; r < m; r++) for (int v = 0; v < nv; v++) {                                   \
            real *d = delta + r * NR + v * VL;                                                       \
            store(d, load(d) * derivative(load(h + r * NR + v * VL), g));                            \
        }                                                                                            \
    }
FNN_ACTIVATIONS(X) X(factor, FNN_FACTOR)
#undef X

/* h = g(h) in place, and unless NULL d = g'. */
static void activate_rows(int m, int nv, real *h, fnn_activation g, real *d) {
    switch (g.id) {
#define X(name, id, ...) case id: activate_rows_##name(m, nv, h, g.parameter, d); return;
        FNN_OUTPUTS(X)
#undef X
    default: return;
    }
}

static void differentiate_rows(int m, int nv, real *delta, const real *h, fnn_activation g) {
    switch (g.id) {
#define X(name, id, ...) case id: differentiate_rows_##name(m, nv, delta, h, g.parameter); return;
        FNN_ACTIVATIONS(X) X(factor, FNN_FACTOR)
#undef X
    default: return;
    }
}
static void activate_panel(idx rows, int vectors, void *h, fnn_activation g, void *d) { activate_rows((int)rows, vectors, h, g, d); }

/* C = g(C), rows of a panel; 0 if an element before was not finite. */
static int activate_finite(idx rows, int vectors, void *C_, fnn_activation g) {
    real *C = C_;
    VI bad = {0};
    for (idx r = 0; r < rows; r++) for (int v = 0; v < vectors; v++) bad |= not_finite(load(C + r * NR + v * VL));
    activate_rows((int)rows, vectors, C, g, NULL);
    return !any(bad);
}

#endif
