/* A step on a block of parameters: w, and the states that its optimizer keeps, from the gradient g. The formulas: optimizers.h.
 *
 * With `regular` (kernels.h: fnn_rates) g and w are first scaled, clipped and penalised: a second copy of each loop, so that plain
 * steps pay nothing for it. Beside it: the sums of squares and the scaling that max-norm asks for.
 */
#ifndef FNN_UPDATE_H
#define FNN_UPDATE_H

#include <assert.h>

#include "elementary.h"
#include "kernels.h"

INLINE void shape(V *g, V *w, const fnn_rates *rates) {
    const V limit = splat((real)rates->clip_value);
    *g = *g * splat((real)rates->clip);
    if (rates->clip_value > 0) *g = at_most(at_least(*g, -limit), limit);
    *g = fma_v(splat((real)rates->l2), *w, *g);
    *g = fma_v(splat((real)rates->l1), sign_v(*w), *g);
    *w = *w * splat((real)rates->keep);
}

/* The optimizers' formulas, on rows of whole vectors; with regular, g and w are shaped first. */
#define X(name, id, states, step)                                                                                      \
    INLINE void step_##name(const int regular, idx rows, idx cols, idx ld, const real *g_, real *w_, void *const *state, \
                            const fnn_rates *of_step) {                                                                \
        const fnn_rates rates = *of_step; /* a copy of our own: no store can change it */                              \
        real *s_ = states > 0 ? state[0] : NULL, *t_ = states > 1 ? state[1] : NULL, *u_ = states > 2 ? state[2] : NULL; \
        const V alpha = splat((real)rates.learning_rate), mu = splat((real)rates.momentum),                            \
                beta1 = splat((real)rates.beta1), rest1 = splat((real)(1 - rates.beta1)),                              \
                beta2 = splat((real)rates.beta2), rest2 = splat((real)(1 - rates.beta2)),                              \
                epsilon = splat((real)rates.epsilon), alpha1 = splat((real)rates.alpha1),                              \
                root2 = splat((real)rates.root2), damped = splat((real)rates.damped),                                  \
                alpha_g = splat((real)rates.alpha_g), alpha_m = splat((real)rates.alpha_m),                            \
                shrink = splat((real)rates.shrink), grow = splat((real)rates.grow),                                    \
                least = splat((real)rates.least), most = splat((real)rates.most);                                      \
        (void)alpha, (void)mu, (void)beta1, (void)rest1, (void)beta2, (void)rest2, (void)epsilon, (void)alpha1, (void)root2; \
        (void)damped, (void)alpha_g, (void)alpha_m, (void)shrink, (void)grow, (void)least, (void)most;                 \
        for (idx r = 0; r < rows; r++) for (idx i = r * ld; i < r * ld + cols; i += VL) {                              \
            V g = load(g_ + i), w = load(w_ + i);                                                                      \
            V s = states > 0 ? load(s_ + i) : w, t = states > 1 ? load(t_ + i) : w, u = states > 2 ? load(u_ + i) : w; \
            if (regular) shape(&g, &w, &rates);                                                                        \
            step;                                                                                                      \
            store(w_ + i, w);                                                                                          \
            if (states > 0) store(s_ + i, s);                                                                          \
            if (states > 1) store(t_ + i, t);                                                                          \
            if (states > 2) store(u_ + i, u);                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    NOINLINE void update_##name(idx rows, idx cols, idx ld, const real *g, real *w, void *const *state, const fnn_rates *rates) { \
        if (rates->regular) step_##name(1, rows, cols, ld, g, w, state, rates);                                        \
        else step_##name(0, rows, cols, ld, g, w, state, rates);                                                       \
    }
FNN_OPTIMIZERS(X)
#undef X

NOINLINE void update_vectors(int optimizer, idx rows, idx cols, idx ld, const real *g, real *w, void *const *state,
                             const fnn_rates *rates) {
    switch (optimizer) {
#define X(name, id, states, step) case id: update_##name(rows, cols, ld, g, w, state, rates); return;
        FNN_OPTIMIZERS(X)
#undef X
    default: assert(!"an optimizer");
    }
}

/* The elements of each row from `first` on, fewer than a vector, through a buffer. */
NOINLINE void update_rest(int optimizer, idx rows, idx first, idx cols, idx ld, const real *g, real *w, void *const *state,
                          const fnn_rates *rates) {
#define X(name, id, states, step) states,
    static const int states[] = {FNN_OPTIMIZERS(X)};
#undef X
    const int n = states[optimizer];
    const size_t bytes = (size_t)(cols - first) * sizeof(real);
    for (idx i = first; i < rows * ld; i += ld) {
        real g_part[VL] = {0}, w_part[VL] = {0}, part[FNN_MAX_STATES][VL] = {{0}};
        void *parts[FNN_MAX_STATES];
        memcpy(g_part, g + i, bytes);
        memcpy(w_part, w + i, bytes);
        for (int s = 0; s < n; s++) memcpy(parts[s] = part[s], (real *)state[s] + i, bytes);
        update_vectors(optimizer, 1, VL, VL, g_part, w_part, parts, rates);
        memcpy(w + i, w_part, bytes);
        for (int s = 0; s < n; s++) memcpy((real *)state[s] + i, part[s], bytes);
    }
}

static void update(int optimizer, idx rows, idx cols, idx ld, const void *g, void *w, void *const *state, const fnn_rates *rates) {
    const idx whole = cols - cols % VL;
    if (whole) update_vectors(optimizer, rows, whole, ld, g, w, state, rates);
    if (whole < cols) update_rest(optimizer, rows, whole, cols, ld, g, w, state, rates);
}

/* Norms: squares in double, which for float are exact; an element's sum is in the order of its index on every ISA. */

static void column_squares(idx n, const void *W_, double *sums) {
    const real *W = W_;
    double sum[NR] = {0};
    for (idx i = 0; i < n; i++)
        for (int j = 0; j < NR; j++) sum[j] += (double)W[i * NR + j] * (double)W[i * NR + j];
    memcpy(sums, sum, sizeof(sum));
}

static void row_squares(idx n, idx columns, const void *W_, double *sums) {
    const real *W = W_;
    for (idx j = 0; j < columns; j++)
        for (idx i = 0; i < n; i++) sums[i] += (double)W[i * NR + j] * (double)W[i * NR + j];
}

static void scale_columns(idx n, const double *factors, void *W_) {
    real *W = W_, by[NR];
    for (int j = 0; j < NR; j++) by[j] = (real)factors[j];
    for (idx i = 0; i < n; i++) for (int j = 0; j < NR; j++) W[i * NR + j] *= by[j];
}

static void scale_rows(idx n, const double *factors, void *W_) {
    real *W = W_;
    for (idx i = 0; i < n; i++) for (int j = 0; j < NR; j++) W[i * NR + j] *= (real)factors[i];
}

static void orient(idx n, const void *rows_, const void *columns_, int turned, void *W_) {
    const real *rows = rows_, *columns = columns_;
    real *W = W_;
    for (idx i = 0; i < n; i++, W += NR) {
        if (!turned && rows[i] == 0) continue;
        for (int j = 0; j < NR; j += VL) {
            const V w = load(W + j), c = load(columns + j);
            const V kept = select_v(w * splat(rows[i]) * c <= splat(0), splat(0), w); /* NaN stays */
            store(W + j, turned ? select_v(c == splat(0), w, kept) : kept);
        }
    }
}

#endif
