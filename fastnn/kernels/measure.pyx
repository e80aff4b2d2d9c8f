"""Clocks around the kernels: the arithmetic a machine can do at most, and the passes over one layer. For ``fastnn bench``."""
from cython.parallel cimport prange
from libc.string cimport memset

from fastnn.kernels._cpu cimport Memory, fnn_kernels, fnn_relu, fp_enter, fp_leave, kernels_for, plain, seconds
from fastnn.kernels.backward cimport gradient_part, hidden_delta_part
from fastnn.kernels.forward cimport forward_part
from fastnn.kernels.net cimport address
from fastnn.kernels.panels cimport Layer, bias_panels, make_layer, pack, weight_panels
from fastnn.kernels.update cimport Slots, Step, as_rates, share_rates

from fastnn.kernels._cpu import STATES


def multiply_adds(str dtype, Py_ssize_t rounds, int n_threads):
    """Fused multiply-adds in registers alone, on all threads at once.

    Returns
    -------
    flops, taken : float
        Floating-point operations of all threads together, and the seconds until the last of them was done.
    """
    cdef const fnn_kernels *k = kernels_for(4 if dtype == "float32" else 8)
    cdef double flops = 0, start
    cdef int _t
    with nogil:
        start = seconds()
        for _t in prange(n_threads, num_threads=n_threads, schedule="static"):
            flops += _multiply_adds(k, rounds)
        start = seconds() - start
    return flops, start


cdef double _multiply_adds(const fnn_kernels *k, Py_ssize_t rounds) noexcept nogil:
    cdef char x[64]  # the widest vector
    memset(x, 0, sizeof(x))
    return k.multiply_adds(rounds, x)


cdef class LayerPasses:
    """The passes of a training step over one layer of ReLUs, on one thread and panels of its own.

    Parameters
    ----------
    h_prev : (batch, n_in) array of float32 or float64, C-contiguous
    W : (n_out, n_in) array of the same dtype
    delta : (batch, n_out) array of the same dtype
    optimizer : int
        Id of ``_cpu.OPTIMIZERS``.
    rates : dict
        Of the optimizer: learning_rate, and momentum or beta1, beta2, epsilon.
    """

    cdef const fnn_kernels *k
    cdef Memory memory
    cdef Layer layer
    cdef Slots slots
    cdef Step step
    cdef Py_ssize_t batch, stride
    cdef char *h_prev
    cdef char *h
    cdef char *delta
    cdef char *delta_prev
    cdef char *scratch

    def __init__(self, h_prev, W, delta, int optimizer, dict rates):
        cdef Py_ssize_t n_in = W.shape[1], n_out = W.shape[0], s
        cdef const fnn_kernels *k = kernels_for(W.itemsize)
        cdef Layer *layer = &self.layer
        cdef Memory memory = Memory()
        self.k, self.memory = k, memory
        self.batch, self.stride = len(h_prev), len(h_prev) * k.nr
        make_layer(k, memory, n_in, n_out, True, True, layer)
        pack(k, layer, address(W), NULL, layer.Wp, NULL)
        self.h_prev = memory.take(layer.in_panels, self.stride, k.item)
        self.delta_prev = memory.take(layer.in_panels, self.stride, k.item)
        self.h = memory.take(layer.out_panels, self.stride, k.item)
        self.delta = memory.take(layer.out_panels, self.stride, k.item)
        self.scratch = memory.take(k.nr * k.nr, k.item)
        k.gather(self.batch, n_in, address(h_prev), NULL, self.h_prev, self.stride)
        k.gather(self.batch, n_out, address(delta), NULL, self.delta, self.stride)
        self.step.summed, self.step.first, self.step.apply = False, True, True
        self.step.optimizer, self.step.n_states = optimizer, STATES[optimizer]
        self.step.rates, self.step.n_groups = as_rates(rates), 2
        share_rates(&self.step)
        for s in range(self.step.n_states):
            self.slots.state_W[s] = weight_panels(k, memory, layer)
            self.slots.state_b[s] = bias_panels(k, memory, layer)

    def forward(self, Py_ssize_t times):
        """Seconds for `times` passes h = g(h_prev W^T + b)."""
        cdef unsigned long long mode = fp_enter()
        cdef double start = seconds()
        cdef Py_ssize_t _i
        with nogil:
            for _i in range(times):
                forward_part(self.k, &self.layer, self.h_prev, NULL, self.h, NULL, self.stride, plain(fnn_relu), 0,
                             self.layer.out_panels, 0, self.batch)
        start = seconds() - start
        fp_leave(mode)
        return start

    def hidden_delta(self, Py_ssize_t times):
        """Seconds for `times` passes delta_prev = (delta W) * g'(a_prev)."""
        cdef unsigned long long mode = fp_enter()
        cdef double start = seconds()
        cdef Py_ssize_t _i
        with nogil:
            for _i in range(times):
                hidden_delta_part(self.k, &self.layer, self.delta, self.h_prev, self.delta_prev, self.stride, plain(fnn_relu), 0,
                                  self.layer.in_panels, 0, self.batch)
        start = seconds() - start
        fp_leave(mode)
        return start

    def gradient(self, Py_ssize_t times):
        """Seconds for `times` gradients delta^T h_prev, each with the optimizer's step on W and b."""
        cdef unsigned long long mode = fp_enter()
        cdef double start = seconds()
        cdef Py_ssize_t _i
        with nogil:
            for _i in range(times):
                gradient_part(self.k, &self.layer, &self.slots, &self.step, self.delta, self.h_prev, NULL, self.stride, self.batch,
                              0, self.layer.in_panels * self.layer.out_panels, self.scratch, NULL)
        start = seconds() - start
        fp_leave(mode)
        return start
