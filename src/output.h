/* The output layer: h = f(a), the loss L and delta = dL/da, for rows of panels (docs/maths.md, section 4).
 *
 * A sum over outputs must not depend on the width of vectors, so it runs in order of j. Vectors lie across it:
 *   SAMPLES   vector t holds output t of VL samples, one in each lane
 *   OUTPUTS   vector t holds outputs t VL, t VL + 1, ... of one sample: where samples are too few to fill lanes
 * Each loss is one text for both, which differ in what `add` and its like do, and give the same bits.
 */
#ifndef FNN_OUTPUT_H
#define FNN_OUTPUT_H

#include <assert.h>
#include <math.h>

#include "activate.h"

enum { SAMPLES, OUTPUTS };                /* `lanes`: a constant in each copy of what follows */
#define LANES_PAY(rows) (4 * (rows) > VL) /* SAMPLES: below, most lanes would be copies */

/* Vectors of outputs ---------------------------------------------------------------------------------------------------- */

/* How many vectors n outputs take. */
INLINE idx vectors_of(const int lanes, idx n) { return lanes == SAMPLES ? n : (n + VL - 1) / VL; }

/* The samples of these vectors. */
INLINE idx samples_of(const int lanes) { return lanes == SAMPLES ? VL : 1; }

/* The outputs j of vector t. */
INLINE VI numbers(const int lanes, idx t) {
#define OWN(e, s) (e)
    const VI lane = {LANES(OWN, 0)};
#undef OWN
    return lanes == SAMPLES ? (VI){0} + (real_int)t : lane + (real_int)(t * VL);
}

/* How many outputs of vector t there are. */
INLINE idx outputs_in(idx n, idx t) { return n - t * VL < VL ? n - t * VL : VL; }

/* Of vector t, x where there are outputs, other past n. */
INLINE V inside(const int lanes, idx n, idx t, V x, V other) {
    return lanes == SAMPLES ? x : select_v(numbers(lanes, t) < (VI){0} + (real_int)n, x, other);
}

/* Numbers of one sample, or of all, for the outputs of vector t; 0 past n. */
INLINE V row_part(const int lanes, idx n, idx t, const real *x) {
    if (lanes == SAMPLES) return splat(x[t]);
    return outputs_in(n, t) < VL ? load_part(x + t * VL, outputs_in(n, t)) : load(x + t * VL);
}

/* A sum over outputs, in order of j: of each sample, in its lane, or of one. */
typedef struct {
    V each;
    real one;
} ordered_sum;

/* x in memory, for adds that load one number after another: shuffles would take the adder's port. */
INLINE void spill(V x, real part[VL]) {
    store(part, x);
    __asm__("" : "+m"(*(real(*)[VL])part));
}

/* sum += x, and sum += x y by multiply-adds, for the outputs of vector t; lanes past n count for nothing. */
INLINE void add(const int lanes, idx n, idx t, ordered_sum *to, V x) {
    real part[VL];
    if (lanes == SAMPLES) { to->each += x; return; }
    spill(x, part);
    if (outputs_in(n, t) == VL) { UNROLL for (int e = 0; e < VL; e++) to->one += part[e]; }
    else { NO_UNROLL for (idx e = 0; e < outputs_in(n, t); e++) to->one += part[e]; }
}

INLINE void add_product(const int lanes, idx n, idx t, ordered_sum *to, V x, V y) {
    real xs[VL], ys[VL];
    if (lanes == SAMPLES) { to->each = fma_v(x, y, to->each); return; }
    spill(x, xs);
    spill(y, ys);
    NO_UNROLL for (idx e = 0; e < outputs_in(n, t); e++) to->one = fma_1(xs[e], ys[e], to->one);
}

INLINE V value(const int lanes, ordered_sum s) { return lanes == SAMPLES ? s.each : splat(s.one); }

/* The sum of a vector that holds one number and zeros, or a NaN: in any order. */
INLINE V in_any_order(const int lanes, V x) {
    real s = x[0];
    if (lanes == SAMPLES) return x;
    UNROLL for (int e = 1; e < VL; e++) s += x[e];
    return splat(s);
}

/* The largest a_j. Lanes past n are copies of a_0. */
INLINE V peak_of(const int lanes, idx n, const V *a) {
    V peaks = a[0];
    for (idx t = 1; t < vectors_of(lanes, n); t++) peaks = at_least(a[t], peaks);
    if (lanes == SAMPLES) return peaks;
    real peak = peaks[0];
    UNROLL for (int e = 1; e < VL; e++) peak = peaks[e] < peak ? peak : peaks[e];
    return splat(peak);
}

/* a <- panels, of samples r..; samples past the last are copies of it, outputs past n of output 0. */
INLINE void from_panels(const int lanes, idx rows, idx r, idx n, const real *h, idx stride, V *a) {
    if (lanes == OUTPUTS) {
        for (idx j = 0; j < n; j += VL) a[j / VL] = load(h + r * NR + j / NR * stride + j % NR);
        if (n % VL) a[n / VL] = inside(lanes, n, n / VL, a[n / VL], splat(a[0][0]));
    } else for (idx j = 0; j < n; j += VL) {
        const real *column = h + j / NR * stride + j % NR;
        V v[VL];
        UNROLL for (int e = 0; e < VL; e++) v[e] = load(column + (r + e < rows ? r + e : rows - 1) * NR);
        transpose(v);
        for (int e = 0; e < VL && j + e < n; e++) a[j + e] = v[e];
    }
}

/* panels <- a; columns past n, up to a whole vector, become 0. */
INLINE void to_panels(const int lanes, idx rows, idx r, idx n, V *a, real *h, idx stride) {
    if (lanes == OUTPUTS) {
        if (n % VL) a[n / VL] = inside(lanes, n, n / VL, a[n / VL], splat(0));
        for (idx j = 0; j < n; j += VL) store(h + r * NR + j / NR * stride + j % NR, a[j / VL]);
    } else for (idx j = 0; j < n; j += VL) {
        real *column = h + j / NR * stride + j % NR;
        V v[VL];
        for (int e = 0; e < VL; e++) v[e] = j + e < n ? a[j + e] : (V){0};
        transpose(v);
        UNROLL for (int e = 0; e < VL; e++) if (r + e < rows) store(column + (r + e) * NR, v[e]);
    }
}

/* Softmax ----------------------------------------------------------------------------------------------------------------- */

/* a <- softmax(a), softmax(a)_j = e^(a_j - peak) / total. log sum exp a = log(total) + peak: no overflow, no underflow of total
 * (Blanchard, Higham & Higham 2021, IMA J. Numer. Anal. 41(4)). */
INLINE void softmax_of(const int lanes, idx n, V *a) {
    const V peak = peak_of(lanes, n, a);
    ordered_sum total = {0};
    for (idx t = 0; t < vectors_of(lanes, n); t++) {
        a[t] = exp_below(a[t] - peak);
        add(lanes, n, t, &total, a[t]);
    }
    for (idx t = 0; t < vectors_of(lanes, n); t++) a[t] = a[t] / value(lanes, total);
}

INLINE void softmax_rows(const int lanes, idx rows, idx n, real *h, idx stride, V *a) {
    for (idx r = 0; r < rows; r += samples_of(lanes)) {
        from_panels(lanes, rows, r, n, h, stride, a);
        softmax_of(lanes, n, a);
        to_panels(lanes, rows, r, n, a, h, stride);
    }
}

/* Many outputs are worked on where they lie, VL samples at a time: e^x is transposed in registers alone, for sums in order of j. */
#define WHERE_THEY_LIE(n) ((n) > 6 * VL)

/* Of VL samples' panels: to <- e^(a - peak), may be a; *total, its sums; *peak and *least, each sample's largest and smallest a_j. */
NOINLINE void exponentials(idx n, const real *a, idx stride, real *to, V *total, V *peak, V *least) {
    V high[VL], low[VL], part[VL];
    real peaks[VL];
    const idx last = (n - 1) / VL;
    for (int e = 0; e < VL; e++) {
        const real *row = a + e * NR;
        const V end = inside(OUTPUTS, n, last, load(row + last / NV * stride + last % NV * VL), splat(row[0]));
        V most = end, fewest = end;
        for (idx t = 0; t < last; t++) {
            const V x = load(row + t / NV * stride + t % NV * VL);
            most = at_least(x, most);
            fewest = at_most(x, fewest);
        }
        high[e] = most;
        low[e] = fewest;
    }
    transpose(high);
    transpose(low);
    *peak = high[0], *least = low[0];
    for (int e = 1; e < VL; e++) {
        *peak = at_least(high[e], *peak);
        *least = at_most(low[e], *least);
    }
    store(peaks, *peak);
    V sum = splat(0);
    for (idx t = 0; t <= last; t++) {
        const idx at = t / NV * stride + t % NV * VL;
        for (int e = 0; e < VL; e++) {
            part[e] = exp_below(load(a + at + e * NR) - splat(peaks[e]));
            if (t == last) part[e] = inside(OUTPUTS, n, t, part[e], splat(0));
            store(to + at + e * NR, part[e]);
        }
        transpose(part);
        if (t < last) { UNROLL for (int e = 0; e < VL; e++) sum += part[e]; }
        else for (idx e = 0; e < outputs_in(n, t); e++) sum += part[e];
    }
    *total = sum;
}

static void softmax(idx rows, idx n, void *a_, idx stride, void *scratch) {
    real *a = a_;
    for (; WHERE_THEY_LIE(n) && rows >= VL; rows -= VL, a += VL * NR) {
        V total, peak, least;
        exponentials(n, a, stride, a, &total, &peak, &least);
        for (int e = 0; e < VL; e++) for (idx j = 0; j < n; j += VL) {
            real *h = a + e * NR + j / NR * stride + j % NR;
            store(h, load(h) / splat(total[e]));
        }
    }
    if (LANES_PAY(rows)) softmax_rows(SAMPLES, rows, n, a, stride, scratch);
    else softmax_rows(OUTPUTS, rows, n, a, stride, scratch);
}

static void calibrate(idx rows, idx n, double smoothing, double temperature, double least, void *p_, void *scratch) {
    V *a = scratch;
    const V share = splat((real)(smoothing / (double)n)), rest = splat((real)(1 - smoothing));
    for (idx r = 0; r < rows; r++) {
        real *p = (real *)p_ + r * n;
        for (idx t = 0; t < vectors_of(OUTPUTS, n); t++) {
            const V q = at_least((load_first(p + t * VL, n - t * VL) - share) / rest, splat((real)least));
            a[t] = log_v(q) / splat((real)temperature);
        }
        softmax_of(OUTPUTS, n, a);
        for (idx t = 0; t < vectors_of(OUTPUTS, n); t++) store_first(p + t * VL, a[t], n - t * VL);
    }
}

/* Targets ----------------------------------------------------------------------------------------------------------------- */

/* y_j of these samples: e(label)_j, or values. Cross-entropies smooth either. */
typedef struct {
    int one_hot;
    VI label;
    V on, off;   /* of a one-hot row: 1 and 0, smoothed */
    const V *y;  /* values, smoothed */
} targets;

INLINE V target(const int lanes, const targets *y, idx t) {
    return y->one_hot ? select_v(y->label == numbers(lanes, t), y->on, y->off) : y->y[t];
}

/* y <- keep y + spread: towards all classes alike (Szegedy et al. 2016). A sigmoid's two classes are 0 and 1. */
typedef struct {
    real keep, spread;
} smoothing;

INLINE smoothing smoothing_of(const fnn_loss *loss, idx n) {
    if (loss->smoothing == 0) return (smoothing){1, 0};
    const double classes = loss->id == fnn_cross_entropy ? (double)n : 2;
    return (smoothing){(real)(1 - loss->smoothing), (real)(loss->smoothing / classes)};
}

INLINE V smooth(V y, smoothing s) { return fma_v(splat(s.keep), y, splat(s.spread)); }

INLINE idx sample_of(const fnn_targets *y, idx row) { return y->order ? y->order[row] : row; }

INLINE double weight_of(const fnn_targets *y, idx row) { return y->weights ? y->weights[sample_of(y, row)] : 1; }

/* Of rows row..; those past the last, `end` - 1, are copies of it. values: room for n outputs, 0 past n. */
INLINE targets targets_of(const int lanes, idx row, idx end, idx n, const fnn_targets *y, const fnn_loss *loss, V *values) {
    const smoothing s = smoothing_of(loss, n);
    targets to = {y->labels != NULL, {0}, smooth(splat(1), s), smooth(splat(0), s), values};
    for (int e = 0; e < samples_of(lanes); e++) {
        const idx i = sample_of(y, row + e < end ? row + e : end - 1);
        if (to.one_hot) to.label[e] = y->labels[i];
        else if (lanes == OUTPUTS) for (idx t = 0; t < vectors_of(lanes, n); t++)
            values[t] = row_part(lanes, n, t, (const real *)y->values + i * n);
        else for (idx j = 0; j < n; j++) values[j][e] = ((const real *)y->values)[i * n + j];
    }
    if (lanes == OUTPUTS) to.label = (VI){0} + to.label[0];
    if (!to.one_hot && s.spread > 0) for (idx t = 0; t < vectors_of(lanes, n); t++) values[t] = smooth(values[t], s);
    return to;
}

/* Losses ------------------------------------------------------------------------------------------------------------------ */

/* What a loss works on. Its body is a function of its name: from a, in place, h = f(a); delta = dL/da; returns L. */
typedef struct {
    idx n;                 /* outputs */
    V *a, *slope, *delta;  /* y's values lie where delta will: y_j is read before delta_j is written */
    targets y;
    const fnn_loss *loss;
    fnn_activation output; /* f */
} output_layer;

/* a <- h = f(a), slope = f'(a). */
INLINE void activate_outputs(const int lanes, const output_layer *o) {
    const idx vectors = vectors_of(lanes, o->n), last = vectors / NV * NV;
    activate_rows((int)(vectors / NV), NV, (real *)o->a, o->output, (real *)o->slope);
    if (last < vectors) activate_rows(1, 1, (real *)(o->a + last), o->output, (real *)(o->slope + last));
}

#define EACH(t) for (idx t = 0; t < vectors_of(lanes, o->n); t++)

/* -sum_j y_j ln h_j = sum_j y_j (log total - x_j), x = a - peak; delta = h - y. (weight: sum of y, 1 but for rounding.) */
INLINE V cross_entropy(const int lanes, const output_layer *o) {
    const V peak = peak_of(lanes, o->n, o->a);
    const int hard = o->y.one_hot && o->y.off[0] == 0; /* one y_j is 1, the others are 0 */
    ordered_sum total = {0}, below = {0}, weight = {0};
    V at_label = {0};
    EACH(t) {
        const V x = o->a[t] - peak, y = target(lanes, &o->y, t);
        if (hard) at_label = fma_v(y, -x, at_label);
        else {
            add_product(lanes, o->n, t, &below, y, -x);
            add(lanes, o->n, t, &weight, y);
        }
        o->a[t] = exp_below(x);
        add(lanes, o->n, t, &total, o->a[t]);
    }
    const V all = value(lanes, total), w = hard ? splat(1) : value(lanes, weight);
    EACH(t) {
        o->a[t] = o->a[t] / all;
        o->delta[t] = o->a[t] * w - target(lanes, &o->y, t);
    }
    return fma_v(w, log_v(all), hard ? in_any_order(lanes, at_label) : value(lanes, below));
}

/* sum_j e_j^2 / 2, e = h - y; delta = e f'(a). Softmax couples the outputs: delta_j = h_j (e_j - sum_i e_i h_i). */
INLINE V squared_error(const int lanes, const output_layer *o) {
    const int coupled = o->output.id == FNN_SOFTMAX;
    ordered_sum L = {0}, mean = {0};
    if (coupled) softmax_of(lanes, o->n, o->a);
    else activate_outputs(lanes, o);
    EACH(t) {
        const V e = o->a[t] - target(lanes, &o->y, t);
        add_product(lanes, o->n, t, &L, e, e);
        if (coupled) add_product(lanes, o->n, t, &mean, e, o->a[t]);
        o->delta[t] = coupled ? e : e * o->slope[t];
    }
    if (coupled) EACH(t) o->delta[t] = o->a[t] * (o->delta[t] - value(lanes, mean));
    return splat((real)0.5) * value(lanes, L);
}

/* (1 - h)^g (-ln h) of a softmax output h = e^x / total, x = a - peak; *c = h times its derivative in h:
 *     c = -(1 - h)^g (g h r + 1),  r = -ln h / (1 - h), which goes to 1 where h does.
 * For h > 1/2, -ln h comes from 1 - h, so that both vanish together. */
INLINE V focal_of_softmax(V x, V h, V log_total, real g, V *c) {
    const V rest = splat(1) - h, near = twice_artanh(rest / (splat(2) - rest), FNN_REAL_BITS == 32 ? 8 : 17);
    const V minus_log = select_v(rest > splat((real)0.5), log_total - x, near);
    const V ratio = select_v(rest > splat(0), minus_log / rest, splat(1));
    const V power = select_v(rest > splat(0), exp_v(splat(g) * log_v(at_least(rest, splat((real)1e-30)))), splat(g == 0));
    *c = -power * fma_v(splat(g) * h, ratio, splat(1));
    return power * minus_log;
}

/* sum_j y_j (1 - h_j)^g (-ln h_j); delta_j = y_j c_j - h_j sum_i y_i c_i. */
INLINE V focal_softmax(const int lanes, const output_layer *o) {
    const V peak = peak_of(lanes, o->n, o->a);
    ordered_sum total = {0}, L = {0}, sum = {0};
    EACH(t) add(lanes, o->n, t, &total, exp_v(o->a[t] - peak));
    const V log_total = log_v(value(lanes, total));
    EACH(t) {
        const V x = o->a[t] - peak, h = exp_v(x) / value(lanes, total), y = target(lanes, &o->y, t);
        V c;
        add_product(lanes, o->n, t, &L, y, focal_of_softmax(x, h, log_total, (real)o->loss->gamma, &c));
        o->a[t] = h;
        o->delta[t] = y * c;
        add(lanes, o->n, t, &sum, o->delta[t]);
    }
    EACH(t) o->delta[t] = fma_v(-o->a[t], value(lanes, sum), o->delta[t]);
    return value(lanes, L);
}

/* -sum_j y_j ln h_j + (1 - y_j) ln(1 - h_j) = sum_j max(a_j, 0) - a_j y_j + ln(1 + e^-|a_j|); delta = h - y. */
INLINE V binary_cross_entropy(const int lanes, const output_layer *o) {
    ordered_sum L = {0};
    EACH(t) {
        const V a = o->a[t], y = target(lanes, &o->y, t);
        add(lanes, o->n, t, &L, at_least(a, splat(0)) - a * y + log1p_v(exp_v(-magnitude(a))));
        o->a[t] = sigmoid_v(a);
        o->delta[t] = o->a[t] - y;
    }
    return value(lanes, L);
}

/* sum_j h_j - y_j ln h_j, h = e^a; delta = h - y. */
INLINE V poisson(const int lanes, const output_layer *o) {
    ordered_sum L = {0};
    EACH(t) {
        const V a = o->a[t], y = target(lanes, &o->y, t), h = exp_v(a);
        add(lanes, o->n, t, &L, fma_v(-y, a, h));
        o->a[t] = h;
        o->delta[t] = h - y;
    }
    return value(lanes, L);
}

/* sum_j |e_j|, e = h - y; delta = sign(e) f'(a). */
INLINE V absolute_error(const int lanes, const output_layer *o) {
    ordered_sum L = {0};
    activate_outputs(lanes, o);
    EACH(t) {
        const V e = o->a[t] - target(lanes, &o->y, t);
        add(lanes, o->n, t, &L, magnitude(e));
        o->delta[t] = select_v(e == splat(0), splat(0), with_sign_of(splat(1), e)) * o->slope[t];
    }
    return value(lanes, L);
}

/* sum_j e_j^2 / 2, from |e_j| = d on a line of slope d (Huber 1964): c (|e_j| - c / 2) with c = min(|e_j|, d); delta = +-c f'(a). */
INLINE V huber(const int lanes, const output_layer *o) {
    ordered_sum L = {0};
    activate_outputs(lanes, o);
    EACH(t) {
        const V e = o->a[t] - target(lanes, &o->y, t), size = magnitude(e), c = at_most(size, splat((real)o->loss->delta));
        add(lanes, o->n, t, &L, c * fma_v(splat((real)-0.5), c, size));
        o->delta[t] = with_sign_of(c, e) * o->slope[t];
    }
    return value(lanes, L);
}

/* sum_j e_j s_j, s = 1 - q where e > 0, -q where e < 0 (Koenker & Bassett 1978); delta = s f'(a). */
INLINE V quantile(const int lanes, const output_layer *o) {
    ordered_sum L = {0};
    activate_outputs(lanes, o);
    EACH(t) {
        const V e = o->a[t] - target(lanes, &o->y, t), q = row_part(lanes, o->n, t, o->loss->q);
        const V s = select_v(e > splat(0), splat(1) - q, select_v(e == splat(0), splat(0), -q));
        add(lanes, o->n, t, &L, e * s);
        o->delta[t] = s * o->slope[t];
    }
    return value(lanes, L);
}

/* max(0, 1 + max_(j != y) a_j - a_y); above 0, delta = e(rival) - e(y), the rival being the first of the largest a_j
 * (Crammer & Singer 2001). nothing: NaN where an a_j is not finite. */
INLINE V hinge(const int lanes, const output_layer *o) {
    V own = {0}, best = splat(-(real)INFINITY), nothing = {0};
    VI rival = {0};
    EACH(t) {
        const VI j = numbers(lanes, t), mine = j == o->y.label;
        const VI better = ~mine & (inside(lanes, o->n, t, o->a[t], splat(-(real)INFINITY)) > best);
        own = select_v(mine, o->a[t], own);
        best = select_v(better, o->a[t], best);
        rival = (rival & ~better) | (j & better);
        nothing = fma_v(o->a[t], splat(0), nothing);
    }
    if (lanes == OUTPUTS) { /* the first of the largest of all lanes */
        real top = best[0];
        real_int first = rival[0];
        UNROLL for (int e = 1; e < VL; e++) {
            const int ahead = best[e] > top || (best[e] == top && rival[e] < first);
            top = ahead ? best[e] : top;
            first = ahead ? rival[e] : first;
        }
        best = splat(top);
        rival = (VI){0} + first;
    }
    const V L = at_least(splat(1) + best - in_any_order(lanes, own), splat(0));
    EACH(t) {
        const VI j = numbers(lanes, t);
        const V e = select_v(j == rival, splat(1), select_v(j == o->y.label, splat(-1), splat(0)));
        o->delta[t] = select_v(L > splat(0), e, splat(0));
    }
    return L + in_any_order(lanes, nothing);
}

/* -sum_j y_j (1 - h_j)^g ln h_j + (1 - y_j) h_j^g ln(1 - h_j), with low = -ln h, high = -ln(1 - h), rest = 1 - h */
INLINE V focal_sigmoid(const int lanes, const output_layer *o) {
    const V g = splat((real)o->loss->gamma);
    ordered_sum L = {0};
    EACH(t) {
        const V a = o->a[t], y = target(lanes, &o->y, t), h = sigmoid_v(a), rest = sigmoid_v(-a);
        const V log1p = log1p_v(exp_v(-magnitude(a)));
        const V low = log1p + at_least(-a, splat(0)), high = log1p + at_least(a, splat(0));
        const V yes = y * exp_v(-g * high), no = (splat(1) - y) * exp_v(-g * low);
        add(lanes, o->n, t, &L, fma_v(no, high, yes * low));
        o->a[t] = h;
        o->delta[t] = no * fma_v(g * rest, high, h) - yes * fma_v(g * h, low, rest);
    }
    return value(lanes, L);
}

INLINE V focal(const int lanes, const output_layer *o) {
    return o->output.id == FNN_SOFTMAX ? focal_softmax(lanes, o) : focal_sigmoid(lanes, o);
}

#define X(name, id)                                                                  \
    NOINLINE V name##_of_samples(const output_layer *o) { return name(SAMPLES, o); }      \
    NOINLINE V name##_of_outputs(const output_layer *o) { return name(OUTPUTS, o); }
FNN_LOSSES(X)
#undef X

INLINE V loss_of(const int lanes, const output_layer *o) {
    switch (o->loss->id) {
#define X(name, id) case id: return lanes == SAMPLES ? name##_of_samples(o) : name##_of_outputs(o);
    FNN_LOSSES(X)
#undef X
    default: assert(!"a loss"); return splat(0);
    }
}

INLINE int output_delta_rows(const int lanes, idx rows, idx n, const real *from, idx stride, real *h, real *delta_to,
                             const fnn_targets *y, idx first_row, fnn_activation output, const fnn_loss *loss, double scale,
                             double *losses, V *a) {
    V *slope = a + vectors_of(lanes, n), *delta = slope + vectors_of(lanes, n), by = splat((real)scale);
    int finite = 1;
    for (idx r = 0; r < rows; r += samples_of(lanes)) {
        from_panels(lanes, rows, r, n, from, stride, a);
        const output_layer o = {n, a, slope, delta, targets_of(lanes, first_row + r, first_row + rows, n, y, loss, delta), loss, output};
        const V L = loss_of(lanes, &o);
        for (int e = 0; e < samples_of(lanes) && r + e < rows; e++) {
            const double weight = weight_of(y, first_row + r + e);
            losses[r + e] = weight * (double)L[e];
            finite &= L[e] - L[e] == 0;
            if (!y->weights) continue;
            if (lanes == SAMPLES) by[e] = (real)(weight * scale);
            else by = splat((real)(weight * scale));
        }
        if (h) to_panels(lanes, rows, r, n, a, h, stride);
        if (!delta_to) continue;
        for (idx t = 0; t < vectors_of(lanes, n); t++) delta[t] = delta[t] * by;
        to_panels(lanes, rows, r, n, delta, delta_to, stride);
    }
    return finite;
}

/* Cross-entropy of softmax and labels, of VL samples where they lie: `cross_entropy` without its terms that are 0. */
NOINLINE int output_delta_block(idx n, const real *from, idx stride, real *h, real *delta, const fnn_targets *y, idx row,
                                double scale, double *losses) {
    real *to = h ? h : delta;
    V total, peak, least, own = {0}, by = {0};
    int finite = 1;
    for (int e = 0; e < VL; e++) {
        const idx j = y->labels[sample_of(y, row + e)];
        own[e] = from[e * NR + j / NR * stride + j % NR];
        by[e] = (real)(weight_of(y, row + e) * scale);
    }
    exponentials(n, from, stride, to, &total, &peak, &least);
    own = own - peak;
    const VI bad = not_finite(total) | not_finite(least); /* NaN or infinity, and -infinity, whose e^x is 0 */
    const V L = log_v(total) + select_v(bad, splat((real)NAN), splat(0) - own);
    own = (exp_below(own) / total - splat(1)) * by;
    for (int e = 0; e < VL; e++) {
        losses[e] = weight_of(y, row + e) * (double)L[e];
        finite &= L[e] - L[e] == 0;
        for (idx j = 0; j < n; j += VL) {
            const idx at = e * NR + j / NR * stride + j % NR;
            const V p = load(to + at) / splat(total[e]);
            if (h) store(h + at, p);
            if (delta) store(delta + at, p * splat(by[e]));
        }
        const idx j = y->labels[sample_of(y, row + e)];
        if (delta) delta[e * NR + j / NR * stride + j % NR] = own[e];
    }
    return finite;
}

static int output_delta(idx rows, idx n, const void *a_, idx stride, void *h_, void *delta_, const fnn_targets *y, idx first_row,
                        fnn_activation output, const fnn_loss *loss, double scale, double *losses, void *scratch) {
    const real *a = a_;
    real *h = h_, *delta = delta_;
    int finite = 1;
    if (WHERE_THEY_LIE(n) && loss->id == fnn_cross_entropy && y->labels && loss->smoothing == 0 && (h || delta))
        for (; rows >= VL; rows -= VL, first_row += VL, losses += VL, a += VL * NR) {
            finite &= output_delta_block(n, a, stride, h, delta, y, first_row, scale, losses);
            if (h) h += VL * NR;
            if (delta) delta += VL * NR;
        }
    if (LANES_PAY(rows))
        finite &= output_delta_rows(SAMPLES, rows, n, a, stride, h, delta, y, first_row, output, loss, scale, losses, scratch);
    else finite &= output_delta_rows(OUTPUTS, rows, n, a, stride, h, delta, y, first_row, output, loss, scale, losses, scratch);
    return finite;
}

#endif
