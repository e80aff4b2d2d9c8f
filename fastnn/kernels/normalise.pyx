"""a = gamma xhat + beta,  xhat = (u - mean) / sqrt(variance + epsilon): between a layer's u = W h and its activation.

Batch normalisation: mean and variance of each unit over the mini-batch, whose rows the owner of its panel sums in order.
Layer normalisation: of each row over the units, by the owner of the row. beta is the layer's b; Slots holds its gradient
and state where those of a bias would be.
"""
from fastnn.kernels._cpu cimport (
    FNN_BATCH_NORM, FNN_LAYER_NORM, FNN_OF_b, FNN_OF_gamma, fnn_activation, fnn_identity, fnn_kernels, fnn_norm,
)
from fastnn.kernels.panels cimport at, vectors
from fastnn.kernels.update cimport Slots, Step, update_vector


cdef void normalise_part(
    const fnn_kernels *k,
    const fnn_norm *norm,           # gamma, beta, running mean and variance (n,)
    Py_ssize_t n,
    bint learn,                     # the running statistics move
    char *u,                        # (batch, n) in panels  in; out: h = g(a)
    char *xhat,                     # (batch, n) in panels  out; layer normalisation: NULL: not wanted
    char *inv,                      # (n,) of batch, (batch,) of layer normalisation  out: 1 / sqrt(variance + epsilon)
    char *d,                        # (batch, n) in panels  out: g'(a); NULL: not wanted
    Py_ssize_t stride,              # elements from one panel to the next
    fnn_activation g,
    Py_ssize_t p0, Py_ssize_t p1,   # panels ...
    Py_ssize_t r0, Py_ssize_t r1,   # ... and rows that are written: batch: all rows; layer: all panels
) noexcept nogil:
    """a = gamma xhat + beta, h = g(a)."""
    cdef Py_ssize_t p, to
    if r0 == r1:
        return
    if norm.kind == FNN_LAYER_NORM:
        k.layer_norm(r1 - r0, n, norm, at(k, u, r0 * k.nr), stride, NULL if xhat == NULL else at(k, xhat, r0 * k.nr),
                     NULL if inv == NULL else at(k, inv, r0))
    for p in range(p0, p1):
        to = p * stride + r0 * k.nr
        if norm.kind == FNN_BATCH_NORM:
            k.batch_norm(r1, norm, p * k.nr, learn, at(k, u, to), at(k, xhat, to), at(k, inv, p * k.nr))
        if g.id != fnn_identity or d != NULL:
            k.activate_panel(r1 - r0, vectors(k, n, p), at(k, u, to), g, NULL if d == NULL else at(k, d, to))


cdef void normalise_delta_part(
    const fnn_kernels *k,
    const fnn_norm *norm,           # gamma (n,)
    Py_ssize_t n,
    const char *delta,              # (batch, n) in panels  in: dL/da
    const char *xhat,               # (batch, n) in panels  in
    const char *inv,                # (n,) of batch, (batch,) of layer normalisation  in
    char *du,                       # (batch, n) in panels  out: dL/du
    Py_ssize_t stride,              # elements from one panel to the next
    Py_ssize_t p0, Py_ssize_t p1,   # panels ...
    Py_ssize_t r0, Py_ssize_t r1,   # ... and rows that are written: batch: all rows; layer: all panels
) noexcept nogil:
    """du = dL/du from delta = dL/da."""
    cdef Py_ssize_t p
    if r0 == r1:
        return
    if norm.kind == FNN_LAYER_NORM:
        k.layer_norm_delta(r1 - r0, n, norm.gamma, at(k, delta, r0 * k.nr), at(k, xhat, r0 * k.nr), stride, at(k, inv, r0),
                           at(k, du, r0 * k.nr))
        return
    for p in range(p0, p1):
        k.batch_norm_delta(r1, at(k, norm.gamma, p * k.nr), at(k, delta, p * stride), at(k, xhat, p * stride),
                           at(k, inv, p * k.nr), at(k, du, p * stride))


cdef void normalise_gradient_part(
    const fnn_kernels *k,
    const fnn_norm *norm,           # gamma, beta (n,)          in and out: where step.apply
    const Slots *slots,             # Gg, Gb like them          out: where step.summed; states  in and out
    const Step *step,               # what becomes of the gradient
    const char *delta,              # (batch, n) in panels      in: dL/da
    const char *xhat,               # (batch, n) in panels      in
    Py_ssize_t stride,              # elements from one panel of delta and xhat to the next
    Py_ssize_t batch,
    Py_ssize_t p0, Py_ssize_t p1,   # panels that are written
    char *scratch,                  # (NR,)
) noexcept nogil:
    """dL/dgamma = the sum of delta xhat, dL/dbeta = the sum of delta, and the step on them."""
    cdef bint first = step.first or not step.summed
    cdef Py_ssize_t p
    cdef char *g
    for p in range(p0, p1):
        g = at(k, slots.Gg, p * k.nr) if step.summed else scratch
        k.scale_gradient(batch, at(k, delta, p * stride), at(k, xhat, p * stride), g, first)
        if step.apply:
            update_vector(k, norm.gamma, slots.state_g, step, FNN_OF_gamma, p, g)
        if norm.has_beta:
            g = at(k, slots.Gb, p * k.nr) if step.summed else scratch
            k.bias_gradient(batch, at(k, delta, p * stride), g, first)
            if step.apply:
                update_vector(k, norm.beta, slots.state_b, step, FNN_OF_b, p, g)


cdef void normalise_update_part(const fnn_kernels *k, const fnn_norm *norm, const Slots *slots, const Step *step, Py_ssize_t p0,
                                Py_ssize_t p1) noexcept nogil:
    """The step on gamma and beta from the gradient in Gg and Gb."""
    cdef Py_ssize_t p
    for p in range(p0, p1):
        update_vector(k, norm.gamma, slots.state_g, step, FNN_OF_gamma, p, at(k, slots.Gg, p * k.nr))
        if norm.has_beta:
            update_vector(k, norm.beta, slots.state_b, step, FNN_OF_b, p, at(k, slots.Gb, p * k.nr))
