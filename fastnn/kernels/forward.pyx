"""a = h_prev W^T + b,  h = g(a): the forward pass of one layer.

A parametric activation, h = a + alpha (g(a) - a) with an alpha of each unit, is a pass of its own over a.
"""
from cython cimport floating
from cython.parallel cimport parallel, prange

from fastnn.kernels._cpu cimport (
    FNN_FORWARD, FNN_SOFTMAX, Memory, as_activation, fnn_activation, fnn_draw, fnn_features, fnn_identity, fnn_kernels, fnn_spans,
    fp_enter, fp_leave, kernels_for, plain, worth,
)
from fastnn.kernels.output_delta cimport scratch_bytes
from fastnn.kernels.panels cimport Layer, at, block, columns, make_layer, pack, panels, vectors

# Rows whose h_prev is used together, panel after panel of weights: 2 MiB of it comes from L2 and L3, and rereading weights for
# fewer rows costs more (measured with 1 MiB of L2).
cdef Py_ssize_t ROW_BYTES = 1 << 21


cdef void forward_part(
    const fnn_kernels *k,
    const Layer *layer,             # Wp (n_out, n_in), b (n_out,)
    const char *h_prev,             # (batch, n_in) in panels   in
    const fnn_spans *spans,         # its columns that are not 0; NULL: any may be
    char *h,                        # (batch, n_out) in panels  out: g(h_prev W^T + b)
    char *d,                        # (batch, n_out) in panels  out: g'(a); NULL: not wanted
    Py_ssize_t stride,              # elements from one panel of h_prev, h and d to the next
    fnn_activation g,
    Py_ssize_t p0, Py_ssize_t p1,   # output panels ...
    Py_ssize_t r0, Py_ssize_t r1,   # ... and rows that are written
) noexcept nogil:
    """h = g(h_prev W^T + b) of rows r0..r1 of output panels p0..p1."""
    cdef Py_ssize_t rows = r1 - r0, n_blocks = (rows * layer.n_in * k.item + ROW_BYTES - 1) // ROW_BYTES
    cdef Py_ssize_t i, p, start, stop, to
    cdef fnn_activation first = g if d == NULL else plain(fnn_identity)
    for i in range(n_blocks):
        start, stop = r0 + rows * i // n_blocks, r0 + rows * (i + 1) // n_blocks
        if start == stop:
            continue
        for p in range(p0, p1):
            to = p * stride + start * k.nr
            if layer.turned:
                k.product_turned(stop - start, layer.n_in, at(k, h_prev, start * k.nr), stride,
                                 at(k, layer.Wp, block(k, layer, p, 0)), layer.n_out * k.nr, layer.far,
                                 columns(k, layer.n_out, p), FNN_FORWARD, at(k, layer.b, p * k.nr), first, at(k, h, to))
            else:
                k.product_panel(stop - start, layer.n_in, at(k, h_prev, start * k.nr), k.nr, stride,
                                at(k, layer.Wp, block(k, layer, p, 0)), spans, layer.far,
                                vectors(k, layer.n_out, p), FNN_FORWARD, at(k, layer.b, p * k.nr), first, at(k, h, to))
            if d != NULL:
                k.activate_panel(stop - start, vectors(k, layer.n_out, p), at(k, h, to), g, at(k, d, to))


cdef void parametric_part(
    const fnn_kernels *k,
    Py_ssize_t n,
    fnn_activation g,
    const char *alpha,              # (n,)
    char *h,                        # (batch, n) in panels  in: a; out: h
    char *d,                        # (batch, n) in panels  out: dh/da; NULL: not wanted
    char *e,                        # (batch, n) in panels  out: dh/dalpha; NULL: not wanted
    Py_ssize_t stride,              # elements from one panel to the next
    Py_ssize_t p0, Py_ssize_t p1,   # panels ...
    Py_ssize_t r0, Py_ssize_t r1,   # ... and rows that are written
) noexcept nogil:
    """h = a + alpha (g(a) - a)."""
    cdef Py_ssize_t p, to
    for p in range(p0, p1):
        to = p * stride + r0 * k.nr
        k.parametric_panel(r1 - r0, vectors(k, n, p), at(k, h, to), g, at(k, alpha, p * k.nr),
                           NULL if d == NULL else at(k, d, to), NULL if e == NULL else at(k, e, to))


cdef void perturb_part(
    const fnn_kernels *k,
    Py_ssize_t n,
    char *h,                        # (batch, n) in panels  in and out
    char *d,                        # (batch, n) in panels  in and out: dh/da; NULL: not kept
    char *e,                        # (batch, n) in panels  in and out: dh/dalpha; NULL: not kept
    Py_ssize_t stride,              # elements from one panel to the next
    const fnn_draw *draw,
    long long step,
    Py_ssize_t first_row,           # number of row 0 in its mini-batch
    Py_ssize_t p0, Py_ssize_t p1,   # panels ...
    Py_ssize_t r0, Py_ssize_t r1,   # ... and rows that are written
) noexcept nogil:
    """Noise and dropout, drawn by step, row and column."""
    cdef Py_ssize_t p, to
    if r1 == r0 or (draw.noise == 0 and draw.dropout == 0):
        return
    for p in range(p0, p1):
        to = p * stride + r0 * k.nr
        k.perturb_panel(r1 - r0, vectors(k, n, p), at(k, h, to), NULL if d == NULL else at(k, d, to),
                        NULL if e == NULL else at(k, e, to), draw, step, first_row + r0, p * k.nr)


cdef void forward_sparse_part(
    const fnn_kernels *k,
    const Layer *layer,             # Wp (n_1, n_0), not turned; b (n_1,)
    const fnn_features *X,          # CSR (n, n_0)              in
    const Py_ssize_t *order,        # (n,): numbers of rows; NULL: 0, 1, ...
    Py_ssize_t first,               # in order
    char *h,                        # (rows, n_1) in panels     out: g(X W^T + b)
    char *d,                        # (rows, n_1) in panels     out: g'(a); NULL: not wanted
    Py_ssize_t stride,              # elements from one panel of h and d to the next
    fnn_activation g,
    Py_ssize_t rows,
) noexcept nogil:
    """The first layer from rows order[first..first + rows] of CSR."""
    cdef Py_ssize_t p
    if rows == 0:
        return
    k.sparse_product(rows, X, order, first, layer.Wp, layer.n_in * k.nr, layer.out_panels, layer.b, h, stride)
    for p in range(layer.out_panels):
        k.activate_panel(rows, vectors(k, layer.n_out, p), at(k, h, p * stride), g, NULL if d == NULL else at(k, d, p * stride))


def forward(
    const floating[:, ::1] h_prev,  # (batch, n_in)   in
    const floating[:, ::1] W,       # (n_out, n_in)   in
    const floating[::1] b,          # (n_out,) or None  in
    floating[:, ::1] h,             # (batch, n_out)  out
    activation,                     # of OUTPUTS: an id, or (id, parameter)
    int n_threads,
):
    """h = g(h_prev W^T + b), with softmax too. One thread owns a panel of outputs, and later rows of the softmax."""
    cdef Py_ssize_t batch = h_prev.shape[0], n_in = h_prev.shape[1], n_out = W.shape[0], p, i
    cdef const fnn_kernels *k = kernels_for(sizeof(floating))
    cdef Memory memory = Memory()
    cdef Layer layer
    if batch == 0:
        return
    make_layer(k, memory, n_in, n_out, b is not None, False, &layer)
    cdef Py_ssize_t stride = batch * k.nr
    cdef char *x = memory.take(panels(k, n_in), stride, k.item)
    cdef char *out = memory.take(panels(k, n_out), stride, k.item)
    cdef Py_ssize_t scratch_size = scratch_bytes(k, n_out)
    cdef int nt = worth(n_threads, 2. * batch * n_in * n_out)
    cdef char *scratch = memory.take(nt, scratch_size)
    cdef fnn_activation g = as_activation(activation)
    cdef unsigned long long mode = 0
    pack(k, &layer, &W[0, 0], NULL if b is None else &b[0], layer.Wp, layer.b)
    k.gather(batch, n_in, &h_prev[0, 0], NULL, x, stride)
    with nogil, parallel(num_threads=nt):
        mode = fp_enter()
        for p in prange(layer.out_panels, schedule="static"):
            forward_part(k, &layer, x, NULL, out, NULL, stride, g, p, p + 1, 0, batch)
        if g.id == FNN_SOFTMAX:
            for i in prange(nt, schedule="static"):
                k.softmax(batch * (i + 1) // nt - batch * i // nt, n_out, at(k, out, batch * i // nt * k.nr), stride,
                          scratch + i * scratch_size)
        fp_leave(mode)
    k.scatter(batch, n_out, out, stride, &h[0, 0])


def slope(
    const floating[:, ::1] a,       # (batch, n)  in
    floating[:, ::1] d,             # (batch, n)  out
    activation,                     # of ACTIVATIONS: an id, or (id, parameter)
):
    """d = g'(a)."""
    cdef Py_ssize_t batch = a.shape[0], n = a.shape[1], p
    cdef const fnn_kernels *k = kernels_for(sizeof(floating))
    cdef Memory memory = Memory()
    cdef fnn_activation g = as_activation(activation)
    if batch == 0:
        return
    cdef Py_ssize_t stride = batch * k.nr
    cdef char *h = memory.take(panels(k, n), stride, k.item)
    cdef char *out = memory.take(panels(k, n), stride, k.item)
    cdef unsigned long long mode = fp_enter()
    k.gather(batch, n, &a[0, 0], NULL, h, stride)
    for p in range(panels(k, n)):
        k.activate_panel(batch, vectors(k, n, p), at(k, h, p * stride), g, at(k, out, p * stride))
    fp_leave(mode)
    k.scatter(batch, n, out, stride, &d[0, 0])


def parametric(
    const floating[:, ::1] a,        # (batch, n)  in
    const floating[::1] alpha,       # (n,)  in
    floating[:, ::1] h,              # (batch, n)  out
    floating[:, ::1] d,              # (batch, n)  out: dh/da
    floating[:, ::1] e,              # (batch, n)  out: dh/dalpha
    activation,                      # of ACTIVATIONS: an id, or (id, parameter)
):
    """h = a + alpha (g(a) - a). One thread."""
    cdef Py_ssize_t batch = a.shape[0], n = a.shape[1]
    cdef const fnn_kernels *k = kernels_for(sizeof(floating))
    cdef Memory memory = Memory()
    cdef Py_ssize_t stride = batch * k.nr, width = panels(k, n)
    cdef char *x = memory.take(width, stride, k.item)
    cdef char *slope = memory.take(width, stride, k.item)
    cdef char *by = memory.take(width, stride, k.item)
    cdef char *w = memory.take(width, k.nr, k.item)
    cdef unsigned long long mode = fp_enter()
    k.gather(1, n, &alpha[0], NULL, w, k.nr)
    k.gather(batch, n, &a[0, 0], NULL, x, stride)
    parametric_part(k, n, as_activation(activation), w, x, slope, by, stride, 0, width, 0, batch)
    fp_leave(mode)
    k.scatter(batch, n, x, stride, &h[0, 0])
    k.scatter(batch, n, slope, stride, &d[0, 0])
    k.scatter(batch, n, by, stride, &e[0, 0])
