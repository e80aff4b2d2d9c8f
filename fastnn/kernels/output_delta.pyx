"""h = f(a),  L(h, y)  and  delta = dL/da: where the forward pass turns into the backward pass.

Rows (samples) are independent: each thread owns some. The formulas stand in src/losses.h and output.h.
"""
from cython cimport floating
from cython.parallel cimport parallel, prange
from libc.stdint cimport int32_t

from fastnn.kernels._cpu cimport (
    Memory, as_activation, fnn_activation, fnn_kernels, fnn_loss, fnn_targets, fp_enter, fp_leave, kernels_for, worth,
)
from fastnn.kernels.panels cimport at, panels


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


def output_delta(
    const floating[:, ::1] a,      # (batch, n_out)  in
    y,                             # int32 (batch,) labels, or (batch, n_out) of a's dtype  in
    floating[:, ::1] h,            # (batch, n_out)  out
    floating[:, ::1] delta,        # (batch, n_out)  out, not divided by the batch
    double[::1] losses,            # (batch,)  out
    output,                        # of OUTPUTS: an id, or (id, parameter)
    loss,                          # (id of LOSSES, dict of its settings)
    int n_threads,
):
    """h = f(a), delta = dL/da, losses = L, for every row."""
    cdef Py_ssize_t batch = a.shape[0], n_out = a.shape[1], i, start, stop
    cdef const fnn_kernels *k = kernels_for(sizeof(floating))
    cdef Memory memory = Memory()
    cdef const int32_t[::1] labels
    cdef const floating[:, ::1] values
    cdef fnn_targets targets
    cdef fnn_activation f = as_activation(output)
    cdef fnn_loss of
    if batch == 0:
        return
    set_loss(&of, memory, loss, k)
    targets.labels, targets.values, targets.weights, targets.order = NULL, NULL, NULL, NULL
    if y.ndim == 1:
        labels = y
        targets.labels = &labels[0]
    else:
        values = y
        targets.values = &values[0, 0]
    cdef Py_ssize_t stride = batch * k.nr
    cdef char *ap = memory.take(panels(k, n_out), stride, k.item)
    cdef char *dp = memory.take(panels(k, n_out), stride, k.item)
    cdef Py_ssize_t scratch_size = scratch_bytes(k, n_out)
    cdef int nt = worth(n_threads, 100. * batch * n_out)  # an exponential and its company: about a hundred operations
    cdef char *scratch = memory.take(nt, scratch_size)
    cdef unsigned long long mode = 0
    k.gather(batch, n_out, &a[0, 0], NULL, ap, stride)
    with nogil, parallel(num_threads=nt):
        mode = fp_enter()
        for i in prange(nt, schedule="static"):
            start, stop = batch * i // nt, batch * (i + 1) // nt
            k.output_delta(stop - start, n_out, at(k, ap, start * k.nr), stride, at(k, ap, start * k.nr),
                           at(k, dp, start * k.nr), &targets, start, f, &of, 1.0, &losses[start],
                           scratch + i * scratch_size)
        fp_leave(mode)
    k.scatter(batch, n_out, ap, stride, &h[0, 0])
    k.scatter(batch, n_out, dp, stride, &delta[0, 0])
