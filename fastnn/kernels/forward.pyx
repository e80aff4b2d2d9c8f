"""a = h_prev W^T + b,  h = g(a): the forward pass of one layer.

A parametric activation, h = a + alpha (g(a) - a) with an alpha of each unit, is a pass of its own over a.
"""
from fastnn.kernels._cpu cimport (
    FNN_FORWARD, fnn_activation, fnn_draw, fnn_features, fnn_identity, fnn_kernels, fnn_spans, plain,
)
from fastnn.kernels.panels cimport Layer, at, block, columns, vectors

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
