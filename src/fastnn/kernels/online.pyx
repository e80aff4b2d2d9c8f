"""Online learning: mini-batches of one sample, plain SGD, one thread."""
from libc.stdint cimport int32_t
from libc.string cimport memset

from fastnn.kernels._cpu cimport bring_near, fnn_activation, fnn_kernels, fnn_relu
from fastnn.kernels.backward cimport delta_and_gradient_part
from fastnn.kernels.net cimport Buffers, Net, Run, kept, slope_of
from fastnn.kernels.panels cimport Layer, at, transpose
from fastnn.kernels.update cimport Step

cdef Py_ssize_t SAMPLE = 64    # rows whose zeros are counted before a run


cdef void train_online(const Net *net, const Buffers *buffers, Run *run) noexcept nogil:
    """Mini-batches of one, plain SGD, one thread: no tile has anything to reuse, so weights are passed over by rows.

    The update of layer 1 with sample t and its forward pass with sample t + 1 are one pass over W1, which visits only inputs
    that are not 0 in one of them; rows of later layers that belong to a dead ReLU are not visited. Where a later layer's weights
    come from afar, its backward pass and its step go through them together, and there is no transposed copy to keep in step.
    """
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t K = net.n_layers, n_0 = net.layers[0].n_in, t, l
    cdef Py_ssize_t *n = buffers.n_list
    cdef const Layer *layer
    cdef const char *x = row_of(net, run, 0)
    cdef const char *x_next
    cdef const char *slope
    cdef fnn_activation g
    cdef char *h
    cdef bint sparse = mostly_zeros(net, run, buffers.list[0])
    cdef Step step = run.step

    step.summed = False
    for l in range(1, K):  # from here on every update keeps Wt in step
        if not net.layers[l].far:
            transpose(k, &net.layers[l])
    layer = &net.layers[0]
    memset(buffers.h[1], 0, layer.out_panels * k.nr * k.item)
    k.row_product(n_0, NULL, x, layer.Wp, n_0 * k.nr, layer.out_panels, buffers.h[1])
    for t in range(run.n):
        if t + 2 < run.n:
            bring_near(row_of(net, run, t + 2), n_0 * k.item)
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
            k.row_update(n_0, NULL, x, buffers.delta[1], layer.Wp, n_0 * k.nr, layer.out_panels)
            return
        x_next = row_of(net, run, t + 1)
        n[0] = k.nonzeros(n_0, x, x_next, buffers.list[0]) if sparse else n_0
        memset(buffers.h[1], 0, layer.out_panels * k.nr * k.item)
        k.row_update_product(n[0], buffers.list[0] if sparse else NULL, x, buffers.delta[1], x_next, layer.Wp, n_0 * k.nr,
                             layer.out_panels, buffers.h[1])
        x = x_next


cdef inline const int32_t *listed(const Net *net, const Buffers *buffers, Py_ssize_t l) noexcept nogil:
    """Which units of hidden layer l are worth visiting: those of a ReLU that are not dead; NULL: all."""
    return buffers.list[l] if net.activations[l - 1].id == fnn_relu else NULL


cdef const char *row_of(const Net *net, const Run *run, Py_ssize_t i) noexcept nogil:
    return at(net.k, run.X, (i if run.order == NULL else run.order[i]) * net.layers[0].n_in)


cdef bint mostly_zeros(const Net *net, const Run *run, int32_t *room) noexcept nogil:
    """Whether lists of the inputs that are not 0 pay: two samples together leave out at least a third."""
    cdef Py_ssize_t n_0 = net.layers[0].n_in, rows = min(run.n, SAMPLE), some = 0, i
    for i in range(rows - 1):
        some += net.k.nonzeros(n_0, row_of(net, run, i), row_of(net, run, i + 1), room)
    return rows > 1 and some < (rows - 1) * n_0 * 2 // 3
