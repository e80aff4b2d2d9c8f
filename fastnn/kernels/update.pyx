"""theta <- theta - alpha dL/dtheta and its relatives, in place. The rules stand in src/optimizers.h."""
from libc.math cimport sqrt
from libc.string cimport memset

from fastnn.kernels._cpu cimport (
    FNN_MAX_STATES, FNN_OF_b, FNN_OF_gamma, FNN_OF_W, fnn_kernels, fnn_momentum, fnn_nesterov, fnn_norm, fnn_rates, fnn_sgd,
)
from fastnn.kernels.panels cimport MOST_COLUMNS, Layer, at, block, columns, vectors

from fastnn.kernels._cpu import GROUPS

RATES = {  # what fnn_rates takes, and what it is where not given
    "learning_rate": 0, "momentum": 0, "dampening": 0, "beta1": 0, "beta2": 0, "epsilon": 0, "epsilon_hat": 0, "psi": 0,
    "shrink": 1, "grow": 1, "least": 0, "most": 0, "l1": 0, "l2": 0, "ridge": 0, "weight_decay": 0, "clip_value": 0,
    "clip_norm": 0, "max_norm": 0, "decay_bias": True, "ntk": False, "factors": {},
}


cdef fnn_rates as_rates(dict rates):
    """An optimizer's rates by name; factors: of learning rates, by group, 1 where left out."""
    cdef fnn_rates r
    factors = rates.get("factors", {})
    unknown = set(rates) - set(RATES) | set(factors) - set(GROUPS)
    if unknown:
        raise ValueError(f"rates: unknown {unknown}")
    memset(&r, 0, sizeof(r))
    r.damped = r.product = r.keep = r.clip = 1
    for group in GROUPS:
        r.factors[<int> GROUPS[group]] = factors.get(group, 1)
    of = {**RATES, **rates}
    r.learning_rate, r.momentum, r.dampening, r.psi = of["learning_rate"], of["momentum"], of["dampening"], of["psi"]
    r.beta1, r.beta2, r.epsilon, r.epsilon_hat = of["beta1"], of["beta2"], of["epsilon"], of["epsilon_hat"]
    r.shrink, r.grow, r.least, r.most = of["shrink"], of["grow"], of["least"], of["most"]
    r.l1, r.l2, r.bias_l2, r.ridge, r.weight_decay = of["l1"], of["l2"], of["l2"], of["ridge"], of["weight_decay"]
    r.clip_value, r.clip_norm, r.max_norm = of["clip_value"], of["clip_norm"], of["max_norm"]
    r.decay_bias, r.ntk = of["decay_bias"], of["ntk"]
    r.regular = r.l1 != 0 or r.l2 != 0 or r.ridge != 0 or r.weight_decay != 0 or r.clip_value != 0 or r.clip_norm != 0
    correct(&r, 1)
    return r


cdef void correct(fnn_rates *rates, long long n) noexcept nogil:
    """What follows from the number of the step, from 1, and the learning rate."""
    cdef double mu, mu_next
    # Averages that began at 0 are divided by 1 - beta^n.
    rates.alpha1 = rates.learning_rate / (1 - power(rates.beta1, n))
    rates.root2 = 1 / sqrt(1 - power(rates.beta2, n))
    if rates.epsilon_hat != 0:  # sqrt(t) + epsilon_hat, all divided by sqrt(1 - beta2^n)
        rates.epsilon = rates.epsilon_hat * rates.root2
    rates.damped = 1 if n == 1 else 1 - rates.dampening
    rates.keep = 1 - rates.learning_rate * rates.weight_decay
    if rates.psi == 0:
        return
    # nadam's momenta mu_i = beta1 (1 - 0.96^(i psi) / 2), and their product up to n, which counts as 0 where 1 less it is 1.
    if n < rates.n:
        rates.n, rates.product = 0, 1
    while rates.n < n:
        rates.n += 1
        if rates.product > 0:
            rates.product *= nadam_momentum(rates, rates.n)
            if rates.product < 1e-20:
                rates.product = 0
        else:
            rates.n = n
    mu, mu_next = nadam_momentum(rates, n), nadam_momentum(rates, n + 1)
    rates.alpha_g = rates.learning_rate * (1 - mu) / (1 - rates.product)
    rates.alpha_m = rates.learning_rate * mu_next / (1 - rates.product * mu_next)


cdef void share_rates(Step *step) noexcept nogil:
    """Each group's rates from the rule's, as they stand in this step."""
    cdef int group
    cdef fnn_rates *of
    for group in range(step.n_groups):
        of = &step.of[group]
        of[0] = step.rates
        scale_rate(of, of.factors[group])
        if group == FNN_OF_W:
            continue
        of.l2 = of.bias_l2
        if not of.decay_bias and (group == FNN_OF_b or group == FNN_OF_gamma):
            of.l1, of.l2, of.keep = 0, 0, 1


cdef inline void scale_rate(fnn_rates *of, double by) noexcept nogil:
    of.learning_rate *= by
    of.alpha1 *= by
    of.alpha_g *= by
    of.alpha_m *= by
    of.keep = 1 - of.learning_rate * of.weight_decay


cdef void scale_weights_rates(Step *step, Py_ssize_t n_in) noexcept nogil:
    """W's rates, so that it moves as V / sqrt(n_in) where V is trained by the rule (docs/maths.md, section 7).

    Gradients are sqrt(n_in) times smaller in V, its steps as many times smaller in W. Rules in units of the gradient pay once,
    and their epsilon is compared with a gradient that is not smaller; the others twice. Weight decay is a share of W or V alike.
    """
    cdef fnn_rates *of = &step.of[FNN_OF_W]
    cdef double root = sqrt(<double> n_in), keep
    cdef bint linear = step.optimizer == fnn_sgd or step.optimizer == fnn_momentum or step.optimizer == fnn_nesterov
    of[0] = step.rates
    scale_rate(of, of.factors[FNN_OF_W])
    keep = of.keep
    scale_rate(of, 1. / n_in if linear else 1 / root)
    of.keep = keep
    of.epsilon *= root
    of.least /= root
    of.most /= root


cdef inline double nadam_momentum(const fnn_rates *rates, long long n) noexcept nogil:
    return rates.beta1 * (1 - power(rates.psi, n) / 2)


cdef double power(double x, long long n) noexcept nogil:
    """x^n by squaring: the same bits everywhere, which pow is not."""
    cdef double result = 1
    while n > 0:
        if n & 1:
            result *= x
        x *= x
        n >>= 1
    return result


cdef void update_block(const fnn_kernels *k, const Layer *layer, const Slots *slots, const Step *step, Py_ssize_t p,
                       Py_ssize_t q, const char *G) noexcept nogil:
    """The weights from input panel q to output panel p, whose gradient is G."""
    cdef Py_ssize_t i = block(k, layer, p, q), s
    cdef void *state[FNN_MAX_STATES]
    for s in range(step.n_states):
        state[s] = at(k, slots.state_W[s], i)
    if layer.turned:
        k.update(step.optimizer, columns(k, layer.n_out, p), vectors(k, layer.n_in, q) * k.vl, k.nr, G, at(k, layer.Wp, i),
                 state, &step.of[FNN_OF_W])
    else:
        k.update(step.optimizer, columns(k, layer.n_in, q), vectors(k, layer.n_out, p) * k.vl, k.nr, G, at(k, layer.Wp, i),
                 state, &step.of[FNN_OF_W])


cdef void update_vector(const fnn_kernels *k, void *w, char *const *states, const Step *step, int group, Py_ssize_t p,
                        const char *g) noexcept nogil:
    """Panel p of a vector of this group (b, gamma, alpha), whose gradient is g."""
    cdef Py_ssize_t s
    cdef void *state[FNN_MAX_STATES]
    for s in range(step.n_states):
        state[s] = at(k, states[s], p * k.nr)
    k.update(step.optimizer, 1, k.nr, k.nr, g, at(k, w, p * k.nr), state, &step.of[group])


cdef void update_part(const fnn_kernels *k, const Layer *layer, const Slots *slots, const Step *step, Py_ssize_t u0,
                      Py_ssize_t u1) noexcept nogil:
    """Blocks u0..u1 (backward.pyx: gradient_part) from the gradient in G and Gb."""
    cdef Py_ssize_t Q = layer.in_panels, u, p, q
    for u in range(u0, u1):
        p, q = u // Q, u % Q
        if q == 0 and layer.has_bias:
            update_vector(k, layer.b, slots.state_b, step, FNN_OF_b, p, at(k, slots.Gb, p * k.nr))
        update_block(k, layer, slots, step, p, q, at(k, slots.G, block(k, layer, p, q)))
        if layer.turned:
            clear_padding(k, layer, p, q)


cdef void clear_padding(const fnn_kernels *k, const Layer *layer, Py_ssize_t p, Py_ssize_t q) noexcept nogil:
    """Zeros in what a turned layer's panel q has beyond its inputs: the gradient there is that of padding in h."""
    cdef Py_ssize_t n_in = columns(k, layer.n_in, q), j
    if n_in < k.nr:
        for j in range(columns(k, layer.n_out, p)):
            memset(at(k, layer.Wp, block(k, layer, p, q) + j * k.nr + n_in), 0, (k.nr - n_in) * k.item)


cdef void unit_squares(const fnn_kernels *k, const Layer *layer, const char *Wp, Py_ssize_t p, double *sums) noexcept nogil:
    """sums (NR,) <- sum_j W_ij^2, in order of j, of the units i of output panel p. Wp: panels like the layer's."""
    cdef Py_ssize_t q
    if layer.turned:
        memset(sums, 0, k.nr * sizeof(double))
        for q in range(layer.in_panels):
            k.row_squares(columns(k, layer.n_out, p), columns(k, layer.n_in, q), at(k, Wp, block(k, layer, p, q)), sums)
    else:
        k.column_squares(layer.n_in, at(k, Wp, block(k, layer, p, 0)), sums)


cdef void squares_part(const fnn_kernels *k, const Layer *layer, const fnn_norm *norm, bint has_alpha, const Slots *slots,
                       Py_ssize_t p0, Py_ssize_t p1) noexcept nogil:
    """slots.squares <- of each unit of output panels p0..p1, its gradient's sum of squares, b's, gamma's and alpha's last."""
    cdef Py_ssize_t p
    for p in range(p0, p1):
        unit_squares(k, layer, slots.G, p, slots.squares + p * k.nr)
        if layer.has_bias or norm.has_beta:
            add_squares(k, at(k, slots.Gb, p * k.nr), slots.squares + p * k.nr)
        if norm.kind:
            add_squares(k, at(k, slots.Gg, p * k.nr), slots.squares + p * k.nr)
        if has_alpha:
            add_squares(k, at(k, slots.Ga, p * k.nr), slots.squares + p * k.nr)


cdef void add_squares(const fnn_kernels *k, const char *v, double *sums) noexcept nogil:
    """sums (NR,) += v^2."""
    cdef double squares[MOST_COLUMNS]
    cdef Py_ssize_t i
    k.column_squares(1, v, squares)
    for i in range(k.nr):
        sums[i] += squares[i]


cdef void limit_part(const fnn_kernels *k, const Layer *layer, double most, Py_ssize_t p0, Py_ssize_t p1) noexcept nogil:
    """Units of output panels p0..p1 whose incoming weights have a norm above `most`: scaled back to it."""
    cdef Py_ssize_t p, q, i
    cdef double by[MOST_COLUMNS]
    cdef bint some
    for p in range(p0, p1):
        unit_squares(k, layer, layer.Wp, p, by)
        some = False
        for i in range(k.nr):
            by[i] = sqrt(by[i])
            some = some or by[i] > most
            by[i] = most / by[i] if by[i] > most else 1
        if not some:
            continue
        if layer.turned:
            for q in range(layer.in_panels):
                k.scale_rows(columns(k, layer.n_out, p), by, at(k, layer.Wp, block(k, layer, p, q)))
        else:
            k.scale_columns(layer.n_in, by, at(k, layer.Wp, block(k, layer, p, 0)))


cdef void orient_part(const fnn_kernels *k, const Layer *layer, const char *inputs, const char *outputs, Py_ssize_t p0,
                      Py_ssize_t p1) noexcept nogil:
    """Weights of output panels p0..p1 that have not the sign they must have: 0 (docs/maths.md, section 7). inputs, outputs:
    panels of the units' directions."""
    cdef Py_ssize_t p, q
    for p in range(p0, p1):
        if layer.turned:
            for q in range(layer.in_panels):
                k.orient(columns(k, layer.n_out, p), at(k, outputs, p * k.nr), at(k, inputs, q * k.nr), True,
                         at(k, layer.Wp, block(k, layer, p, q)))
        else:
            k.orient(layer.n_in, inputs, at(k, outputs, p * k.nr), False, at(k, layer.Wp, block(k, layer, p, 0)))
