"""theta <- theta - alpha dL/dtheta and its relatives, in place. The rules stand in src/c/optimizers.h."""
from cython cimport floating
from cython.parallel cimport parallel, prange
from libc.math cimport sqrt

from fastnn.kernels._cpu cimport FNN_MAX_STATES, fnn_kernels, fnn_rates, fp_enter, fp_leave, kernels_for, worth
from fastnn.kernels.panels cimport Layer, at, block, columns, vectors

from fastnn.kernels._cpu import STATES


cdef fnn_rates as_rates(dict rates):
    """An optimizer's rates by name; what it does not use is 0."""
    cdef fnn_rates r
    unknown = set(rates) - {"learning_rate", "momentum", "beta1", "beta2", "epsilon"}
    if unknown:
        raise ValueError(f"rates: unknown {unknown}")
    r.learning_rate, r.momentum = rates["learning_rate"], rates.get("momentum", 0)
    r.beta1, r.beta2, r.epsilon = rates.get("beta1", 0), rates.get("beta2", 0), rates.get("epsilon", 0)
    correct(&r, 1)
    return r


cdef void correct(fnn_rates *rates, long long n) noexcept nogil:
    """What follows from the number of the step, from 1: averages that began at 0 are divided by 1 - beta^n."""
    rates.alpha1 = rates.learning_rate / (1 - power(rates.beta1, n))
    rates.root2 = 1 / sqrt(1 - power(rates.beta2, n))


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
                 state, &step.rates)
    else:
        k.update(step.optimizer, columns(k, layer.n_in, q), vectors(k, layer.n_out, p) * k.vl, k.nr, G, at(k, layer.Wp, i),
                 state, &step.rates)


cdef void update_bias(const fnn_kernels *k, const Layer *layer, const Slots *slots, const Step *step, Py_ssize_t p,
                      const char *g) noexcept nogil:
    """The biases of output panel p, whose gradient is g."""
    cdef Py_ssize_t s
    cdef void *state[FNN_MAX_STATES]
    for s in range(step.n_states):
        state[s] = at(k, slots.state_b[s], p * k.nr)
    k.update(step.optimizer, 1, k.nr, k.nr, g, at(k, layer.b, p * k.nr), state, &step.rates)


def update(
    floating[::1] theta,        # (n,)  in and out
    const floating[::1] grad,   # (n,)  in
    floating[:, ::1] state,     # (n_states, n)  in and out
    int optimizer,              # id of OPTIMIZERS
    dict rates,
    long long n_step,           # from 1
    int n_threads,
):
    """One step, in place. Elements are independent: each thread owns a run of them."""
    cdef const fnn_kernels *k = kernels_for(sizeof(floating))
    cdef Py_ssize_t n = theta.shape[0], i, s
    cdef fnn_rates r = as_rates(rates)
    cdef int n_states = STATES[optimizer], nt = worth(n_threads, 10. * n)
    cdef char *first[FNN_MAX_STATES]
    cdef unsigned long long mode = 0
    if n == 0:
        return
    correct(&r, n_step)
    for s in range(n_states):
        first[s] = <char *> &state[s, 0]
    with nogil, parallel(num_threads=nt):
        mode = fp_enter()
        for i in prange(nt, schedule="static"):
            _run(k, optimizer, n * i // nt, n * (i + 1) // nt, <const char *> &grad[0], <char *> &theta[0], first, n_states, &r)
        fp_leave(mode)


cdef void _run(const fnn_kernels *k, int optimizer, Py_ssize_t start, Py_ssize_t stop, const char *grad, char *theta,
               char **first, int n_states, const fnn_rates *rates) noexcept nogil:
    cdef void *state[FNN_MAX_STATES]
    cdef int s
    for s in range(n_states):
        state[s] = at(k, first[s], start)
    k.update(optimizer, 1, stop - start, stop - start, at(k, grad, start), at(k, theta, start), state, rates)
