"""Online learning: mini-batches of one sample, plain SGD, one thread."""
from libc.math cimport fabs
from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

from fastnn.kernels._cpu cimport FNN_OF_b, FNN_OF_W, bring_near, fnn_activation, fnn_kernels, fnn_relu
from fastnn.kernels.backward cimport delta_and_gradient_part
from fastnn.kernels.net cimport Buffers, Net, Run, as_they_lie, kept, slope_of
from fastnn.kernels.panels cimport Layer, at, transpose
from fastnn.kernels.update cimport Step

cdef Py_ssize_t SAMPLE = 64    # rows whose zeros are counted before a run, and the last one before them


cdef void catch_up(const Net *net, Buffers *buffers) noexcept nogil:
    """W1 <- W1 - alpha delta[1] last^T, where that step is still to come."""
    cdef const Layer *layer = &net.layers[0]
    if buffers.behind:
        net.k.row_update(layer.n_in, NULL, buffers.last, buffers.delta[1], layer.Wp, layer.n_in * net.k.nr, layer.out_panels)
        buffers.behind = False


cdef void train_online(const Net *net, Buffers *buffers, Run *run) noexcept nogil:
    """Mini-batches of one, plain SGD, one thread: no tile has anything to reuse, so weights are passed over by rows.

    The update of layer 1 with sample t and its forward pass with sample t + 1 are one pass over W1, which visits only inputs
    that are not 0 in one of them; rows of later layers that belong to a dead ReLU are not visited. Where a later layer's weights
    come from afar, its backward pass and its step go through them together, and there is no transposed copy to keep in step.

    After a sure step the update of layer 1 waits for the next sample, or for `catch_up`: samples that come in calls of their own
    are one pass over W1 each, too. CSR rows, which visit few inputs, leave nothing behind.
    """
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t K = net.n_layers, n_0 = net.layers[0].n_in, t, l
    cdef Py_ssize_t *n = buffers.n_list
    cdef const Layer *layer
    cdef const char *x
    cdef const char *x_next
    cdef const char *slope
    cdef fnn_activation g
    cdef char *h
    cdef bint csr = run.X.indptr != NULL
    cdef bint sparse = csr or mostly_zeros(net, run, buffers)
    cdef Step step = run.step

    step.summed = False
    if csr:
        catch_up(net, buffers)
        for t in range(min(run.n, 2)):
            memset(buffers.h0[t], 0, n_0 * k.item)
    x = row_of(net, run, buffers, 0)
    for l in range(1, K):  # from here on every update keeps Wt in step
        if not (net.layers[l].far or run.transposed):
            transpose(k, &net.layers[l])
    layer = &net.layers[0]
    memset(buffers.h[1], 0, layer.out_panels * k.nr * k.item)
    if buffers.behind:
        n[0] = k.nonzeros(n_0, buffers.last, x, buffers.list[0]) if sparse else n_0
        k.row_update_product(n[0], buffers.list[0] if sparse else NULL, buffers.last, buffers.delta[1], x, layer.Wp,
                             n_0 * k.nr, layer.out_panels, buffers.h[1])
        buffers.behind = False
    else:
        k.row_product(entries(run, 0) if csr else n_0, inputs(run, 0), x, layer.Wp, n_0 * k.nr, layer.out_panels, buffers.h[1])
    for t in range(run.n):
        if t + 2 < run.n and run.row_bytes:
            bring_near(run.X.data + row_number(run, t + 2) * run.X.row, run.row_bytes)
        # Forward from a[1], which is there already but for its bias.
        for l in range(K):
            layer, h = &net.layers[l], buffers.h[l + 1]
            if l > 0:
                n[l] = layer.n_in
                if net.activations[l - 1].id == fnn_relu:
                    n[l] = k.nonzeros(layer.n_in, buffers.h[l], NULL, buffers.list[l])
                memset(h, 0, layer.out_panels * k.nr * k.item)
                k.row_product(n[l], listed(net, buffers, l), buffers.h[l], layer.Wp, layer.n_in * k.nr, layer.out_panels, h)
            k.row_activate(layer.n_out, h, layer.b, net.activations[l], kept(net, buffers, run, l + 1))
        if not k.output_delta(1, layer.n_out, h, k.nr, NULL, buffers.delta[K], &run.y, t, net.output, &net.loss, 1.0,
                              run.losses + t, run.scratch):
            return

        if run.learning_rates != NULL:
            step.rates.learning_rate = run.learning_rates[t]
            step.of[FNN_OF_W].learning_rate = step.of[FNN_OF_b].learning_rate = run.learning_rates[t]

        # Backward: all deltas before any weight moves that they need.
        for l in range(K - 1, 0, -1):
            layer, slope = &net.layers[l], slope_of(net, buffers, run, l, &g)
            if layer.far:
                delta_and_gradient_part(k, layer, &net.slots[l], &step, buffers.delta[l + 1], buffers.h[l], slope,
                                        buffers.delta[l], k.nr, g, 1, 0, layer.in_panels, run.scratch)
                continue
            memset(buffers.delta[l], 0, layer.in_panels * k.nr * k.item)
            k.row_product(layer.n_out, NULL, buffers.delta[l + 1], layer.Wt, layer.out_panels * k.nr * k.nr,
                          layer.in_panels, buffers.delta[l])
            k.row_derivative(layer.n_in, buffers.delta[l], slope, g)

        if run.sure and not is_small(net, buffers, values(net, run, t) if csr else x, entries(run, t) if csr else n_0,
                                     step.rates.learning_rate):
            return

        # Update: W -= alpha delta h_prev^T, with -alpha delta made first.
        for l in range(K - 1, -1, -1):
            layer = &net.layers[l]
            if l > 0 and layer.far:
                continue
            k.row_scale(layer.out_panels * k.nr, -step.rates.learning_rate, buffers.delta[l + 1], buffers.delta[l + 1])
            if layer.has_bias:
                k.row_add(layer.out_panels * k.nr, buffers.delta[l + 1], layer.b)
            if l > 0:
                k.row_update(n[l], listed(net, buffers, l), buffers.h[l], buffers.delta[l + 1], layer.Wp,
                             layer.n_in * k.nr, layer.out_panels)
                k.row_update(layer.n_out, NULL, buffers.delta[l + 1], buffers.h[l], layer.Wt,
                             layer.out_panels * k.nr * k.nr, layer.in_panels)
        run.done = t + 1
        if t + 1 == run.n:
            if run.sure and not csr:
                memcpy(buffers.last, x, n_0 * k.item)
                buffers.behind = True
            else:
                k.row_update(entries(run, t) if csr else n_0, inputs(run, t), x, buffers.delta[1], layer.Wp, n_0 * k.nr,
                             layer.out_panels)
            return
        x_next = row_of(net, run, buffers, t + 1)
        if csr:
            n[0] = merged(run, t, buffers.list[0])
        else:
            n[0] = k.nonzeros(n_0, x, x_next, buffers.list[0]) if sparse else n_0
        memset(buffers.h[1], 0, layer.out_panels * k.nr * k.item)
        k.row_update_product(n[0], buffers.list[0] if sparse else NULL, x, buffers.delta[1], x_next, layer.Wp, n_0 * k.nr,
                             layer.out_panels, buffers.h[1])
        if csr:
            clear(net, run, buffers, t)
        x = x_next


cdef bint is_small(const Net *net, const Buffers *buffers, const char *x, Py_ssize_t n, double alpha) noexcept nogil:
    """x: the n inputs that may not be 0. Whether no finite weight can leave the range of its kind: no |alpha delta_i h_j| comes
    near the distance between the largest number and infinity, half a unit in its last place: 2^103 (float), 2^970 (double)."""
    cdef double most = 2.**100 if net.k.item == 4 else 2.**960, steepest
    cdef Py_ssize_t l
    for l in range(net.n_layers):
        steepest = alpha * largest(net.k, buffers.delta[l + 1], net.layers[l].n_out)
        if not (steepest < most and steepest * largest(net.k, buffers.h[l] if l else x, net.layers[l].n_in if l else n) < most):
            return False
    return True


cdef double largest(const fnn_kernels *k, const char *v, Py_ssize_t n) noexcept nogil:
    """max |v_i|, or NaN where there is one."""
    cdef double most = 0, one
    cdef Py_ssize_t i
    for i in range(n):
        one = fabs((<const float *> v)[i] if k.item == 4 else (<const double *> v)[i])
        if not one <= most:
            if one != one:
                return one
            most = one
    return most


cdef inline const int32_t *listed(const Net *net, const Buffers *buffers, Py_ssize_t l) noexcept nogil:
    """Which units of hidden layer l are worth visiting: those of a ReLU that are not dead; NULL: all."""
    return buffers.list[l] if net.activations[l - 1].id == fnn_relu else NULL


cdef inline Py_ssize_t row_number(const Run *run, Py_ssize_t t) noexcept nogil:
    return t if run.order == NULL else run.order[t]


cdef const char *row_of(const Net *net, const Run *run, const Buffers *buffers, Py_ssize_t t) noexcept nogil:
    """Row t as reals one after another: as it lies, or converted into the buffer of its parity. CSR rows expect zeros there."""
    cdef const fnn_kernels *k = net.k
    cdef char *x = buffers.h0[t & 1]
    cdef Py_ssize_t e, start
    if run.X.indptr != NULL:
        start = run.X.indptr[row_number(run, t)]
        for e in range(entries(run, t)):
            memcpy(at(k, x, run.X.indices[start + e]), at(k, run.X.data, start + e), k.item)
        return x
    if as_they_lie(k, &run.X):
        return run.X.data + row_number(run, t) * run.X.row
    k.gather_features(1, net.layers[0].n_in, &run.X, run.order, t, x, k.nr)
    return x


cdef inline Py_ssize_t entries(const Run *run, Py_ssize_t t) noexcept nogil:
    """How many entries row t of CSR has."""
    cdef Py_ssize_t row = row_number(run, t)
    return run.X.indptr[row + 1] - run.X.indptr[row]


cdef inline const char *values(const Net *net, const Run *run, Py_ssize_t t) noexcept nogil:
    """The entries of row t of CSR."""
    return at(net.k, run.X.data, run.X.indptr[row_number(run, t)])


cdef inline const int32_t *inputs(const Run *run, Py_ssize_t t) noexcept nogil:
    """Their inputs; NULL of dense rows: all."""
    return NULL if run.X.indptr == NULL else run.X.indices + run.X.indptr[row_number(run, t)]


cdef Py_ssize_t merged(const Run *run, Py_ssize_t t, int32_t *list) noexcept nogil:
    """The inputs of rows t and t + 1 of CSR, in order; returns how many."""
    cdef const int32_t *a = inputs(run, t)
    cdef const int32_t *b = inputs(run, t + 1)
    cdef Py_ssize_t n_a = entries(run, t), n_b = entries(run, t + 1), i = 0, j = 0, count = 0
    while i < n_a or j < n_b:
        if j == n_b or i < n_a and a[i] <= b[j]:
            j += j < n_b and a[i] == b[j]
            list[count] = a[i]
            i += 1
        else:
            list[count] = b[j]
            j += 1
        count += 1
    return count


cdef void clear(const Net *net, const Run *run, const Buffers *buffers, Py_ssize_t t) noexcept nogil:
    """The buffer of CSR row t <- 0."""
    cdef const int32_t *list = inputs(run, t)
    cdef Py_ssize_t e
    for e in range(entries(run, t)):
        memset(at(net.k, buffers.h0[t & 1], list[e]), 0, net.k.item)


cdef bint mostly_zeros(const Net *net, const Run *run, const Buffers *buffers) noexcept nogil:
    """Whether lists of the inputs that are not 0 pay: two samples together leave out at least a third."""
    cdef Py_ssize_t n_0 = net.layers[0].n_in, pairs = min(run.n, SAMPLE) - 1, some = 0, i
    for i in range(pairs):
        some += net.k.nonzeros(n_0, row_of(net, run, buffers, i), row_of(net, run, buffers, i + 1), buffers.list[0])
    if buffers.behind:
        some += net.k.nonzeros(n_0, buffers.last, row_of(net, run, buffers, 0), buffers.list[0])
        pairs += 1
    return pairs > 0 and some < pairs * n_0 * 2 // 3
