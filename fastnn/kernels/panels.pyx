"""Weights between the user's layout, W (n_out, n_in) row-major, and panels (kernels.h)."""
from libc.string cimport memcpy


cdef Py_ssize_t FAR_BYTES = 2 << 20  # of weights, with an L2 of 1 MiB: for less, bringing them near costs more than waiting


cdef int make_layer(const fnn_kernels *k, Memory memory, Py_ssize_t n_in, Py_ssize_t n_out, bint has_bias, bint may_turn,
                    Layer *layer, bint weights=True) except -1:
    """Sizes, and room for the weights, or for b alone. may_turn: single rows, which need Wp by panels of outputs, do not come."""
    layer.n_in, layer.n_out, layer.has_bias = n_in, n_out, has_bias
    layer.in_panels, layer.out_panels = panels(k, n_in), panels(k, n_out)
    layer.turned = may_turn and n_out <= k.vl and n_out < n_in
    layer.far = n_in * n_out * k.item > FAR_BYTES
    layer.Wp = weight_panels(k, memory, layer) if weights else NULL
    layer.b = bias_panels(k, memory, layer)
    layer.Wt = NULL
    return 0


cdef int prepare_transpose(const fnn_kernels *k, Memory memory, Layer *layer) except -1:
    """Room for Wt."""
    if layer.Wt == NULL:
        layer.Wt = memory.take(layer.in_panels, layer.out_panels, k.nr * k.nr * k.item)
    return 0


cdef size_t weight_bytes(const fnn_kernels *k, const Layer *layer) noexcept nogil:
    cdef Py_ssize_t rows = layer.in_panels * layer.n_out if layer.turned else layer.out_panels * layer.n_in
    return <size_t> rows * k.nr * k.item


cdef char *weight_panels(const fnn_kernels *k, Memory memory, const Layer *layer) except NULL:
    if layer.turned:
        return memory.take(layer.in_panels, layer.n_out, k.nr * k.item)
    return memory.take(layer.out_panels, layer.n_in, k.nr * k.item)


cdef char *bias_panels(const fnn_kernels *k, Memory memory, const Layer *layer) except NULL:
    return memory.take(layer.out_panels, k.nr, k.item)


cdef void pack(const fnn_kernels *k, const Layer *layer, const void *W, const void *b, void *Wp, void *bp) noexcept nogil:
    """Wp, bp <- W, b (b NULL: no bias)."""
    cdef Py_ssize_t p
    if layer.turned:
        k.gather(layer.n_out, layer.n_in, W, NULL, Wp, layer.n_out * k.nr)
    for p in range(0 if layer.turned else layer.out_panels):
        k.pack_panel(layer.n_in, columns(k, layer.n_out, p), at(k, W, p * k.nr * layer.n_in),
                     at(k, Wp, block(k, layer, p, 0)))
    if b != NULL:
        memcpy(bp, b, layer.n_out * k.item)


cdef void unpack(const fnn_kernels *k, const Layer *layer, const void *Wp, const void *bp, void *W, void *b) noexcept nogil:
    """W, b <- Wp, bp."""
    cdef Py_ssize_t p
    if layer.turned:
        k.scatter(layer.n_out, layer.n_in, Wp, layer.n_out * k.nr, W)
    for p in range(0 if layer.turned else layer.out_panels):
        k.unpack_panel(layer.n_in, columns(k, layer.n_out, p), at(k, Wp, block(k, layer, p, 0)),
                       at(k, W, p * k.nr * layer.n_in))
    if b != NULL:
        memcpy(b, bp, layer.n_out * k.item)


cdef void transpose(const fnn_kernels *k, const Layer *layer) noexcept nogil:
    """Wt <- Wp."""
    cdef Py_ssize_t p, q
    for p in range(layer.out_panels):
        for q in range(layer.in_panels):
            k.transpose_block(columns(k, layer.n_in, q), vectors(k, layer.n_out, p),
                              at(k, layer.Wp, block(k, layer, p, q)), at(k, layer.Wt, block_t(k, layer, p, q)))


cdef void round_part(const fnn_kernels *k, char *h, Py_ssize_t stride, Py_ssize_t p0, Py_ssize_t p1, Py_ssize_t r0,
                     Py_ssize_t r1) noexcept nogil:
    """Rows r0..r1 of panels p0..p1 of h, in place, to bfloat16."""
    cdef Py_ssize_t p
    cdef char *rows
    for p in range(p0, p1):
        rows = at(k, h, p * stride + r0 * k.nr)
        k.round_bfloat16((r1 - r0) * k.nr, rows, rows)
