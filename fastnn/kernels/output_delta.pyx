"""h = f(a),  L(h, y)  and  delta = dL/da: where the forward pass turns into the backward pass.

Rows (samples) are independent: each thread owns some. The formulas stand in src/losses.h and output.h.
"""
from fastnn.kernels._cpu cimport Memory, fnn_kernels, fnn_loss


cdef Py_ssize_t scratch_bytes(const fnn_kernels *k, Py_ssize_t n_out) noexcept nogil:
    """What a thread needs beside it (kernels.h), rounded so that the next thread's starts on a line of its own."""
    return (3 * n_out * k.vl * k.item + 127) // 64 * 64


cdef int set_loss(fnn_loss *to, Memory memory, loss, const fnn_kernels *k) except -1:
    """loss: an id of `_cpu.LOSSES` and a dict of its settings (fields of fnn_loss; q: one for each output)."""
    cdef Py_ssize_t j
    number, settings = loss
    q = settings.get("q", ())
    to.id, to.smoothing, to.delta = number, settings.get("label_smoothing", 0.0), settings.get("delta", 0.0)
    to.gamma, to.q = settings.get("gamma", 0.0), NULL
    if len(q):
        to.q = memory.take(len(q), k.item)
        for j in range(len(q)):
            if k.item == 4:
                (<float *> to.q)[j] = q[j]
            else:
                (<double *> to.q)[j] = q[j]
    return 0


cdef double weight_of(const fnn_targets *y, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
    """The sum of the weights of n samples from row `first` on, in their order."""
    cdef double total = 0
    cdef Py_ssize_t r
    if y.weights == NULL:
        return n
    for r in range(first, first + n):
        total += y.weights[r if y.order == NULL else y.order[r]]
    return total


cdef double mean(const double *losses, Py_ssize_t n, double weight) noexcept nogil:
    """The sum of n weighted losses over the samples' `weight`; 0 where that is 0.

    In a fixed order: four sums, of every fourth loss, then ((0 + 1) + (2 + 3)).
    """
    cdef double s0 = 0, s1 = 0, s2 = 0, s3 = 0
    cdef Py_ssize_t i, n4 = n - n % 4
    for i from 0 <= i < n4 by 4:
        s0 += losses[i]
        s1 += losses[i + 1]
        s2 += losses[i + 2]
        s3 += losses[i + 3]
    for i in range(n4, n):
        s0 += losses[i]
    return ((s0 + s1) + (s2 + s3)) / weight if weight > 0 else 0
