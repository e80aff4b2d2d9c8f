"""delta_prev = (delta W) * g'(a_prev),  dL/dW = delta^T h_prev,  dL/db = sum of delta: the backward pass of one layer."""
from libc.string cimport memset

from fastnn.kernels._cpu cimport (
    FNN_BACKWARD, FNN_NEAR, FNN_OF_alpha, FNN_OF_b, FNN_OF_W, bring_near, fnn_activation, fnn_features, fnn_kernels,
    fnn_prefetch, fnn_rates, fnn_sgd, fnn_span, fnn_spans,
)
from fastnn.kernels.panels cimport (
    L2_BYTES, Layer, at, block, columns, vectors,
)
from fastnn.kernels.update cimport Slots, Step, clear_padding, update_block, update_vector

cdef Py_ssize_t ROW_BYTES = 1 << 21   # as in forward.pyx, of delta
cdef Py_ssize_t H_BYTES = 800_000     # panels of h_prev whose gradients are made together: they stay in L2


cdef void hidden_delta_part(
    const fnn_kernels *k,
    const Layer *layer,             # Wp (n_out, n_in)
    const char *delta,              # (batch, n_out) in panels  in
    const char *slope,              # (batch, n_in) in panels   in: h_prev = g(a_prev), or g'(a_prev) where g keeps it
    char *delta_prev,               # (batch, n_in) in panels   out
    Py_ssize_t stride,              # elements from one panel to the next
    fnn_activation g,               # of the layer below
    Py_ssize_t q0, Py_ssize_t q1,   # input panels ...
    Py_ssize_t r0, Py_ssize_t r1,   # ... and rows that are written
) noexcept nogil:
    """delta_prev = (delta W) * g'(a_prev)."""
    cdef Py_ssize_t rows = r1 - r0, n_blocks = (rows * layer.n_out * k.item + ROW_BYTES - 1) // ROW_BYTES
    cdef Py_ssize_t i, q, start, stop
    cdef const char *d
    cdef const char *h
    cdef const char *W
    cdef char *out
    for i in range(n_blocks):
        start, stop = r0 + rows * i // n_blocks, r0 + rows * (i + 1) // n_blocks
        if start == stop:
            continue
        for q in range(q0, q1):
            d, h = at(k, delta, start * k.nr), at(k, slope, q * stride + start * k.nr)
            out = at(k, delta_prev, q * stride + start * k.nr)
            W = at(k, layer.Wp, block(k, layer, 0, q) >> (0 if layer.turned else k.paired))
            if layer.turned:
                k.product_panel(stop - start, layer.n_out, d, k.nr, stride, W, NULL, layer.far, vectors(k, layer.n_in, q),
                                FNN_BACKWARD, h, g, out)
            else:
                k.product_turned(stop - start, layer.n_out, d, stride, W, layer.n_in * k.nr, layer.far,
                                 columns(k, layer.n_in, q), FNN_BACKWARD, h, g, out)


cdef void gradient_part(
    const fnn_kernels *k,
    const Layer *layer,             # Wp (n_out, n_in), b (n_out,)  in and out: where step.apply
    const Slots *slots,             # G, Gb like them               out: where step.summed; states  in and out
    const Step *step,               # what becomes of the gradient
    const char *delta,              # (batch, n_out) in panels      in: du where normalised
    const char *h_prev,             # (batch, n_in) in panels       in
    const fnn_spans *spans,         # its columns that are not 0; NULL: any may be
    Py_ssize_t stride,              # elements from one panel of delta and h_prev to the next
    Py_ssize_t batch,
    Py_ssize_t u0, Py_ssize_t u1,   # blocks that are written
    char *scratch,                  # (NR, NR)
    fnn_prefetch *rows,             # to be brought near meanwhile; NULL: none
) noexcept nogil:
    """grad_W = delta^T h_prev, grad_b = the sum of delta, and the step on them.

    Block p * in_panels + q holds the weights from input panel q to output panel p. No element of the gradient has two writers:
    each sums the samples in order, so the result does not depend on the number of threads.
    """
    cdef Py_ssize_t Q = layer.in_panels, n_groups = (Q * batch * k.nr * k.item + H_BYTES - 1) // H_BYTES, g, p
    cdef bint near = layer.n_in * layer.n_out * k.item * (1 + step.n_states) > L2_BYTES and not layer.turned
    if n_groups > 1 and u0 % Q == 0 and u1 % Q == 0:  # whole panels: go through h_prev in groups that stay in L2
        for g in range(n_groups):
            for p in range(u0 // Q, u1 // Q):
                _blocks(k, layer, slots, step, delta, h_prev, spans, stride, batch, p, Q * g // n_groups, Q * (g + 1) // n_groups,
                        near, scratch, rows)
        return
    while u0 < u1:
        p = u0 // Q
        g = min(u1, (p + 1) * Q)
        _blocks(k, layer, slots, step, delta, h_prev, spans, stride, batch, p, u0 - p * Q, g - p * Q, near, scratch, rows)
        u0 = g


cdef void delta_and_gradient_part(
    const fnn_kernels *k,
    const Layer *layer,             # as of `gradient_part`, which always applies here
    const Slots *slots,
    const Step *step,
    const char *delta,              # (batch, n_out) in panels  in
    const char *h_prev,             # (batch, n_in) in panels   in
    const char *slope,              # (batch, n_in) in panels   in: as of `hidden_delta_part`
    char *delta_prev,               # (batch, n_in) in panels   out
    Py_ssize_t stride,              # elements from one panel to the next
    fnn_activation g,               # of the layer below
    Py_ssize_t batch,
    Py_ssize_t q0, Py_ssize_t q1,   # input panels, of delta_prev and of W, that are written
    char *scratch,                  # (NR, NR)
) noexcept nogil:
    """The hidden delta of input panels q0..q1, and at once the step on their weights, which are still near."""
    cdef Py_ssize_t p, q
    for q in range(q0, q1):
        hidden_delta_part(k, layer, delta, slope, delta_prev, stride, g, q, q + 1, 0, batch)
        for p in range(layer.out_panels):
            _blocks(k, layer, slots, step, delta, h_prev, NULL, stride, batch, p, q, q + 1, step.n_states > 0, scratch, NULL)


cdef void gradient_sparse_part(
    const fnn_kernels *k,
    const Layer *layer,             # as of `gradient_part`; (n_1, n_0), not turned
    const Slots *slots,
    const Step *step,
    const char *delta,              # (batch, n_1) in panels  in: du where normalised
    const fnn_features *X,          # CSR (n, n_0)            in
    const Py_ssize_t *order,        # (n,): numbers of rows; NULL: 0, 1, ...
    Py_ssize_t first,               # in order
    Py_ssize_t stride,              # elements from one panel of delta to the next
    Py_ssize_t batch,
    Py_ssize_t q0, Py_ssize_t q1,   # input panels of W that are written
    char *scratch,                  # (NR, NR)
    Entries *room,
) noexcept nogil:
    """Input panels q0..q1 of the first layer, from CSR rows order[first].. (order NULL: first ..).

    An element's sum runs over the samples in order, as from dense rows. Plain SGD touches only the weights of inputs that
    the mini-batch has; other rules take their step on all, since their states move without a gradient, too.
    """
    cdef bint begin = step.first or not step.summed, sgd = step.apply and step.optimizer == fnn_sgd and not step.rates.regular
    cdef Py_ssize_t p, q, i, s, start, n, block_bytes = k.nr * k.nr * k.item
    cdef const char *d
    cdef char *g
    if q0 == q1:
        return
    k.sparse_sort(batch, X, order, first, q0, q1, room.ends, room.entries, room.values)
    for p in range(layer.out_panels):
        d = at(k, delta, p * stride)
        if q0 == 0:
            _bias(k, layer, slots, step, d, batch, p, scratch)
        for q in range(q0, q1):
            start = room.ends[q - q0 - 1] if q > q0 else 0
            n, i = room.ends[q - q0] - start, block(k, layer, p, q)
            if step.apply and not sgd and q + 1 < layer.in_panels:  # the next block's weights and states
                bring_near(at(k, layer.Wp, i) + block_bytes, columns(k, layer.n_in, q + 1) * k.nr * k.item)
                for s in range(step.n_states):
                    bring_near(at(k, slots.state_W[s], i) + block_bytes, columns(k, layer.n_in, q + 1) * k.nr * k.item)
            if n == 0 and (sgd or not begin):
                continue
            g = at(k, slots.G, i) if step.summed else scratch
            k.sparse_gradient(n, room.entries + start, at(k, room.values, start), columns(k, layer.n_in, q), d,
                              vectors(k, layer.n_out, p), g, begin, at(k, layer.Wp, i) if sgd else NULL, &step.of[FNN_OF_W])
            if step.apply and not sgd:
                update_block(k, layer, slots, step, p, q, g)


cdef void parametric_delta_part(
    const fnn_kernels *k,
    Py_ssize_t n,
    const char *dh,                 # (batch, n) in panels  in: dL/dh
    const char *d,                  # (batch, n) in panels  in: dh/da
    char *delta,                    # (batch, n) in panels  out: dL/da
    Py_ssize_t stride,              # elements from one panel to the next
    Py_ssize_t p0, Py_ssize_t p1,   # panels ...
    Py_ssize_t r0, Py_ssize_t r1,   # ... and rows that are written
) noexcept nogil:
    """delta = dL/dh dh/da."""
    cdef Py_ssize_t p, to
    for p in range(p0, p1):
        to = p * stride + r0 * k.nr
        k.parametric_delta(r1 - r0, vectors(k, n, p), at(k, dh, to), at(k, d, to), at(k, delta, to))


cdef void parametric_gradient_part(
    const fnn_kernels *k,
    char *alpha,                    # (n,)                      in and out: where step.apply
    const Slots *slots,             # Ga like it                out: where step.summed; states  in and out
    const Step *step,               # what becomes of the gradient
    const char *dh,                 # (batch, n) in panels      in: dL/dh
    const char *e,                  # (batch, n) in panels      in: dh/dalpha
    Py_ssize_t stride,              # elements from one panel to the next
    Py_ssize_t batch,
    Py_ssize_t p0, Py_ssize_t p1,   # panels that are written
    char *scratch,                  # (NR,)
) noexcept nogil:
    """dL/dalpha = the sum of dL/dh dh/dalpha, and the step on it."""
    cdef Py_ssize_t p
    cdef char *g
    for p in range(p0, p1):
        g = at(k, slots.Ga, p * k.nr) if step.summed else scratch
        k.scale_gradient(batch, at(k, dh, p * stride), at(k, e, p * stride), g, step.first or not step.summed)
        if step.apply:
            update_vector(k, alpha, slots.state_a, step, FNN_OF_alpha, p, g)


cdef void parametric_update_part(const fnn_kernels *k, char *alpha, const Slots *slots, const Step *step, Py_ssize_t p0,
                                 Py_ssize_t p1) noexcept nogil:
    """The step on alpha from the gradient in Ga."""
    cdef Py_ssize_t p
    for p in range(p0, p1):
        update_vector(k, alpha, slots.state_a, step, FNN_OF_alpha, p, at(k, slots.Ga, p * k.nr))


cdef void _bias(const fnn_kernels *k, const Layer *layer, const Slots *slots, const Step *step, const char *delta,
                Py_ssize_t batch, Py_ssize_t p, char *scratch) noexcept nogil:
    """The biases of output panel p; delta: of that panel."""
    cdef char *g = at(k, slots.Gb, p * k.nr) if step.summed else scratch
    if not layer.has_bias:
        return
    k.bias_gradient(batch, delta, g, step.first or not step.summed)
    if step.apply:
        update_vector(k, layer.b, slots.state_b, step, FNN_OF_b, p, g)


cdef void _blocks(const fnn_kernels *k, const Layer *layer, const Slots *slots, const Step *step, const char *delta,
                  const char *h_prev, const fnn_spans *spans, Py_ssize_t stride, Py_ssize_t batch, Py_ssize_t p, Py_ssize_t q0,
                  Py_ssize_t q1, bint bring, char *scratch, fnn_prefetch *rows) noexcept nogil:
    """Output panel p, input panels q0..q1; with q = 0 goes the bias. bring: what is written comes near first.

    spans are of use where a sum begins: to one that goes on, a product with 0 may turn -0 into +0.
    """
    cdef const char *d = at(k, delta, p * stride)
    cdef const char *h
    cdef char *g
    cdef char *W
    cdef bint first = step.first or not step.summed, sgd = step.apply and step.optimizer == fnn_sgd and not step.rates.regular
    cdef Py_ssize_t q, i, s, n_in, n_out = columns(k, layer.n_out, p)
    cdef void *blocks[FNN_NEAR]
    cdef void **near = blocks if bring else NULL
    cdef const fnn_rates *of = &step.of[FNN_OF_W]
    for s in range(1, FNN_NEAR):
        blocks[s] = NULL
    if q0 == 0:
        _bias(k, layer, slots, step, d, batch, p, scratch)
    for q in range(q0, q1):
        i, n_in, h = block(k, layer, p, q), columns(k, layer.n_in, q), at(k, h_prev, q * stride)
        g, W = at(k, slots.G, i) if step.summed else scratch, at(k, layer.Wp, i)
        if step.apply and not sgd:
            blocks[0] = W
            for s in range(step.n_states):
                blocks[1 + s] = at(k, slots.state_W[s], i)
        else:
            blocks[0] = at(k, W if sgd else g, k.nr * k.nr)
        if layer.turned:
            k.gradient_block(batch, n_out, d, h, vectors(k, layer.n_in, q), g, first, W if sgd else NULL, of, near, rows)
        elif spans != NULL and first:
            _spans(k, layer, spans, d, h, batch, p, q, g, W if sgd else NULL, of, near, rows)
        else:
            k.gradient_block(batch, n_in, h, d, vectors(k, layer.n_out, p), g, first, W if sgd else NULL, of, near, rows)
        if step.apply and not sgd:
            update_block(k, layer, slots, step, p, q, g)
        if step.apply and layer.turned:  # h has numbers in its padding
            clear_padding(k, layer, p, q)


cdef void _spans(const fnn_kernels *k, const Layer *layer, const fnn_spans *spans, const char *d, const char *h,
                 Py_ssize_t batch, Py_ssize_t p, Py_ssize_t q, char *g, char *W, const fnn_rates *of, void **near,
                 fnn_prefetch *rows) noexcept nogil:
    """`gradient_block` of block (p, q), where only columns within the spans are not 0. W NULL: the others' gradient is 0."""
    cdef Py_ssize_t i, to
    cdef const fnn_span *span
    if W == NULL:
        memset(g, 0, columns(k, layer.n_in, q) * k.nr * k.item)
    for i in range(spans.ends[q - 1] if q else 0, spans.ends[q]):
        span = &spans.list[i]
        to = span.column - q * k.nr
        k.gradient_block(batch, span.n, at(k, h, to), d, vectors(k, layer.n_out, p), at(k, g, to * k.nr), True,
                         NULL if W == NULL else at(k, W, to * k.nr), of, near, rows)
        near = NULL
