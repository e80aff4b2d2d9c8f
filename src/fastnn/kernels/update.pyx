"""theta <- theta - alpha dL/dtheta and its relatives, in place. The rules stand in src/c/optimizers.h."""
from cython cimport floating
from cython.parallel cimport parallel, prange

from fastnn.kernels._cpu cimport fnn_kernels, fnn_rates, fnn_sgd, fp_enter, fp_leave, kernels_for, worth
from fastnn.kernels.panels cimport Layer, at, block, columns, vectors

from fastnn.kernels._cpu import OPTIMIZERS


cdef void update_block(const fnn_kernels *k, const Layer *layer, const Slots *slots, const Step *step, Py_ssize_t p,
                       Py_ssize_t q, const char *G) noexcept nogil:
    """The weights from input panel q to output panel p, whose gradient is G."""
    cdef Py_ssize_t i = block(k, layer, p, q), s
    cdef void *state[MAX_STATES]
    for s in range(MAX_STATES):
        state[s] = at(k, slots.state_W[s], i)
    k.update(step.optimizer, columns(k, layer.n_in, q), vectors(k, layer.n_out, p) * k.vl, k.nr, G,
             at(k, layer.Wp, i), state, &step.rates)


cdef void update_bias(const fnn_kernels *k, const Layer *layer, const Slots *slots, const Step *step, Py_ssize_t p,
                      const char *g) noexcept nogil:
    """The biases of output panel p, whose gradient is g."""
    cdef Py_ssize_t s
    cdef void *state[MAX_STATES]
    for s in range(MAX_STATES):
        state[s] = at(k, slots.state_b[s], p * k.nr)
    k.update(step.optimizer, 1, k.nr, k.nr, g, at(k, layer.b, p * k.nr), state, &step.rates)


cdef void _flat(int item, int optimizer, fnn_rates rates, Py_ssize_t n, const char *grad, char *theta, char *velocity,
                int n_threads) noexcept nogil:
    # Elements are independent: each thread owns a run of them.
    cdef const fnn_kernels *k = kernels_for(item)
    cdef int nt = worth(n_threads, 10. * n)
    cdef Py_ssize_t i, start, stop
    cdef void *state
    cdef unsigned long long mode = 0
    with parallel(num_threads=nt):
        mode = fp_enter()
        for i in prange(nt, schedule="static"):
            start, stop = n * i // nt, n * (i + 1) // nt
            state = NULL if velocity == NULL else velocity + start * item
            _run(k, optimizer, stop - start, grad + start * item, theta + start * item, state, &rates)
        fp_leave(mode)


cdef void _run(const fnn_kernels *k, int optimizer, Py_ssize_t n, const char *grad, char *theta, void *state,
               const fnn_rates *rates) noexcept nogil:
    k.update(optimizer, 1, n, n, grad, theta, &state, rates)


def sgd(
    floating[::1] theta,        # (n,)  in and out
    const floating[::1] grad,   # (n,)  in
    double learning_rate,
    int n_threads,
):
    """theta -= learning_rate * grad, in place."""
    cdef fnn_rates rates
    rates.learning_rate, rates.momentum = learning_rate, 0
    if theta.shape[0]:
        _flat(sizeof(floating), fnn_sgd, rates, theta.shape[0], <const char *> &grad[0], <char *> &theta[0], NULL, n_threads)


def momentum(
    floating[::1] theta,        # (n,)  in and out
    const floating[::1] grad,   # (n,)  in
    floating[::1] velocity,     # (n,)  in and out
    double learning_rate,
    double momentum,
    bint nesterov,
    int n_threads,
):
    """v = momentum v + grad; theta -= learning_rate * v (Nesterov: learning_rate * (grad + momentum v)), in place."""
    cdef fnn_rates rates
    rates.learning_rate, rates.momentum = learning_rate, momentum
    if theta.shape[0]:
        _flat(sizeof(floating), OPTIMIZERS["nesterov" if nesterov else "momentum"], rates, theta.shape[0],
              <const char *> &grad[0], <char *> &theta[0], <char *> &velocity[0], n_threads)
