"""The passes of one layer over arrays: each kernel by itself, and a clock around three of them.

What shows every number of a step, and what tests compare with NumPy; training goes through engine.pyx. All arrays of a call are
C-contiguous and of one dtype, which chooses the kernels.
"""
from cython.parallel cimport parallel, prange
from libc.stdint cimport int32_t

from fastnn.kernels._cpu cimport (
    FNN_MAX_STATES, FNN_SOFTMAX, Memory, as_activation, fnn_activation, fnn_identity, fnn_kernels, fnn_loss, fnn_norm, fnn_rates,
    fnn_relu, fnn_targets, fp_enter, fp_leave, kernels_for, plain, seconds, worth,
)
from fastnn.kernels.backward cimport gradient_part, hidden_delta_part, parametric_delta_part
from fastnn.kernels.forward cimport forward_part, parametric_part
from fastnn.kernels.inputs cimport Phi, copy_phi, features_gradient_part, features_part, make_phi, prepare_phi
from fastnn.kernels.net cimport address, writable_address
from fastnn.kernels.normalise cimport normalise_delta_part, normalise_part
from fastnn.kernels.output_delta cimport scratch_bytes, set_loss
from fastnn.kernels.panels cimport Layer, at, bias_panels, make_layer, pack, panels, unpack, vectors, weight_panels
from fastnn.kernels.update cimport Slots, Step, as_rates, correct, share_rates

from fastnn.kernels._cpu import STATES


cdef const char *reals(const fnn_kernels *k, array) except NULL:
    """Where an array of the kernels' reals begins."""
    if array.dtype.kind != "f" or array.itemsize != k.item:
        raise ValueError(f"arrays must all be of float{8 * k.item}, got {array.dtype}")
    return address(array)


cdef char *writable(const fnn_kernels *k, array) except NULL:
    """... of one that is to be written."""
    reals(k, array)
    return writable_address("out", array)


cdef char *room(const fnn_kernels *k, Memory memory, Py_ssize_t rows, Py_ssize_t n) except NULL:
    """Panels of (rows, n), zero."""
    return memory.take(panels(k, n), rows * k.nr, k.item)


cdef char *lifted(const fnn_kernels *k, Memory memory, array) except NULL:
    """The panels of an array (rows, n), or of a row (n,)."""
    cdef Py_ssize_t n = array.shape[array.ndim - 1], rows = array.shape[0] if array.ndim == 2 else 1
    cdef char *to = room(k, memory, rows, n)
    k.gather(rows, n, reals(k, array), NULL, to, rows * k.nr)
    return to


cdef int lower(const fnn_kernels *k, const char *h, array) except -1:
    """Panels back to the array (rows, n), or (n,), that was to be written."""
    cdef Py_ssize_t n = array.shape[array.ndim - 1], rows = array.shape[0] if array.ndim == 2 else 1
    k.scatter(rows, n, h, rows * k.nr, writable(k, array))
    return 0


def features(
    X,              # (batch, n_0)         in
    theta,          # its beginning: E, and s if scaled  in
    phi_of_x,       # (batch, n_features)  out: phi(x)
    h,              # (batch, n_features)  out: s phi(x)
    description,    # as of `make_phi`
):
    """h = s phi(x). One thread."""
    cdef Py_ssize_t batch = X.shape[0]
    cdef const fnn_kernels *k = kernels_for(X.itemsize)
    cdef Memory memory = Memory()
    cdef Phi phi
    cdef Py_ssize_t stride = batch * k.nr
    make_phi(k, memory, X.shape[1], description, &phi)
    copy_phi(k, &phi, phi.E, phi.s, <char *> reals(k, theta), False)
    cdef char *x = lifted(k, memory, X)
    cdef char *of_x = room(k, memory, batch, phi.n_features) if phi.n_columns else x
    cdef char *out = room(k, memory, batch, phi.n_features) if phi.s != NULL else of_x
    cdef unsigned long long mode = fp_enter()
    features_part(k, &phi, x, stride, of_x, out, stride, 0, batch)
    fp_leave(mode)
    lower(k, of_x, phi_of_x)
    lower(k, out, h)


def features_gradient(
    X,              # (batch, n_0)         in
    theta,          # as of `features`     in
    phi_of_x,       # (batch, n_features)  in: phi(x)
    delta,          # (batch, n_features)  in: dL/dh^(0)
    grad,           # its beginning, like theta  out
    description,
):
    """The gradient of E, and of s. One thread."""
    cdef Py_ssize_t batch = X.shape[0]
    cdef const fnn_kernels *k = kernels_for(X.itemsize)
    cdef Memory memory = Memory()
    cdef Phi phi
    cdef Py_ssize_t stride = batch * k.nr
    make_phi(k, memory, X.shape[1], description, &phi)
    prepare_phi(k, memory, 0, &phi)
    copy_phi(k, &phi, phi.E, phi.s, <char *> reals(k, theta), False)
    cdef char *x = lifted(k, memory, X)
    cdef char *of_x = lifted(k, memory, phi_of_x)
    cdef char *d = lifted(k, memory, delta)
    cdef char *to = writable(k, grad)
    cdef unsigned long long mode = fp_enter()
    features_gradient_part(k, &phi, True, x, stride, of_x, d, stride, batch, 0, 1)
    fp_leave(mode)
    copy_phi(k, &phi, phi.G, phi.Gs, to, True)


def forward(
    h_prev,         # (batch, n_in)   in
    W,              # (n_out, n_in)   in
    b,              # (n_out,) or None  in
    h,              # (batch, n_out)  out
    activation,     # of OUTPUTS: an id, or (id, parameter)
    int n_threads,
):
    """h = g(h_prev W^T + b), with softmax too. One thread owns a panel of outputs, and later rows of the softmax."""
    cdef Py_ssize_t batch = h_prev.shape[0], n_out = W.shape[0], n_in = W.shape[1], p, i
    cdef const fnn_kernels *k = kernels_for(W.itemsize)
    cdef Memory memory = Memory()
    cdef Layer layer
    if batch == 0:
        return
    make_layer(k, memory, n_in, n_out, b is not None, False, &layer)
    pack(k, &layer, reals(k, W), NULL if b is None else reals(k, b), layer.Wp, layer.b)
    cdef Py_ssize_t stride = batch * k.nr
    cdef char *x = lifted(k, memory, h_prev)
    cdef char *out = room(k, memory, batch, n_out)
    cdef Py_ssize_t scratch_size = scratch_bytes(k, n_out)
    cdef int nt = worth(n_threads, 2. * batch * n_in * n_out)
    cdef char *scratch = memory.take(nt, scratch_size)
    cdef fnn_activation g = as_activation(activation)
    cdef unsigned long long mode = 0
    with nogil, parallel(num_threads=nt):
        mode = fp_enter()
        for p in prange(layer.out_panels, schedule="static"):
            forward_part(k, &layer, x, NULL, out, NULL, stride, g, p, p + 1, 0, batch)
        if g.id == FNN_SOFTMAX:
            for i in prange(nt, schedule="static"):
                k.softmax(batch * (i + 1) // nt - batch * i // nt, n_out, at(k, out, batch * i // nt * k.nr), stride,
                          scratch + i * scratch_size)
        fp_leave(mode)
    lower(k, out, h)


def slope(
    a,              # (batch, n)  in
    d,              # (batch, n)  out
    activation,     # of ACTIVATIONS: an id, or (id, parameter)
):
    """d = g'(a)."""
    cdef Py_ssize_t batch = a.shape[0], n = a.shape[1], p
    cdef const fnn_kernels *k = kernels_for(a.itemsize)
    cdef Memory memory = Memory()
    cdef fnn_activation g = as_activation(activation)
    cdef Py_ssize_t stride = batch * k.nr
    cdef char *h = lifted(k, memory, a)
    cdef char *out = room(k, memory, batch, n)
    cdef unsigned long long mode = fp_enter()
    for p in range(panels(k, n)):
        k.activate_panel(batch, vectors(k, n, p), at(k, h, p * stride), g, at(k, out, p * stride))
    fp_leave(mode)
    lower(k, out, d)


def parametric(
    a,              # (batch, n)  in
    alpha,          # (n,)  in
    h,              # (batch, n)  out
    d,              # (batch, n)  out: dh/da
    e,              # (batch, n)  out: dh/dalpha
    activation,     # of ACTIVATIONS: an id, or (id, parameter)
):
    """h = a + alpha (g(a) - a). One thread."""
    cdef Py_ssize_t batch = a.shape[0], n = a.shape[1]
    cdef const fnn_kernels *k = kernels_for(a.itemsize)
    cdef Memory memory = Memory()
    cdef char *x = lifted(k, memory, a)
    cdef char *w = lifted(k, memory, alpha)
    cdef char *slope = room(k, memory, batch, n)
    cdef char *by = room(k, memory, batch, n)
    cdef fnn_activation g = as_activation(activation)
    cdef unsigned long long mode = fp_enter()
    parametric_part(k, n, g, w, x, slope, by, batch * k.nr, 0, panels(k, n), 0, batch)
    fp_leave(mode)
    lower(k, x, h)
    lower(k, slope, d)
    lower(k, by, e)


def normalise(
    u,              # (batch, n)  in
    gamma,          # (n,)  in
    beta,           # (n,) or None  in
    mean,           # (n,)  in: running, of batch normalisation; otherwise None
    variance,       # (n,)  in: running, of batch normalisation; otherwise None
    xhat,           # (batch, n)  out
    a,              # (batch, n)  out
    h,              # (batch, n)  out
    inv,            # (n,) of batch, (batch,) of layer normalisation  out
    int kind,       # of _cpu.NORMS
    double epsilon,
    activation,     # of ACTIVATIONS: an id, or (id, parameter)
):
    """a = gamma xhat + beta, h = g(a), inv = 1 / sqrt(variance + epsilon). One thread.

    Batch normalisation takes a single row by the running statistics.
    """
    cdef Py_ssize_t batch = u.shape[0], n = u.shape[1], p
    cdef const fnn_kernels *k = kernels_for(u.itemsize)
    cdef Memory memory = Memory()
    cdef fnn_norm norm
    cdef Py_ssize_t stride = batch * k.nr
    cdef char *x = lifted(k, memory, u)
    cdef char *out = room(k, memory, batch, n)
    cdef char *by = room(k, memory, 1, max(n, batch))
    norm.kind, norm.epsilon, norm.momentum, norm.has_beta = kind, epsilon, 0, beta is not None
    norm.gamma = lifted(k, memory, gamma)
    norm.beta = room(k, memory, 1, n) if beta is None else lifted(k, memory, beta)
    norm.mean = room(k, memory, 1, n) if mean is None else lifted(k, memory, mean)
    norm.variance = room(k, memory, 1, n) if variance is None else lifted(k, memory, variance)
    cdef fnn_activation g = as_activation(activation)
    cdef unsigned long long mode = fp_enter()
    normalise_part(k, &norm, n, False, x, out, by, NULL, stride, plain(fnn_identity), 0, panels(k, n), 0, batch)
    fp_leave(mode)
    lower(k, x, a)
    mode = fp_enter()
    for p in range(panels(k, n)):
        k.activate_panel(batch, vectors(k, n, p), at(k, x, p * stride), g, NULL)
    fp_leave(mode)
    lower(k, x, h)
    lower(k, out, xhat)
    lower(k, by, inv)


def normalise_delta(
    delta,          # (batch, n)  in
    xhat,           # (batch, n)  in
    gamma,          # (n,)  in
    inv,            # as of `normalise`  in
    du,             # (batch, n)  out
    grad_gamma,     # (n,)  out
    int kind,
):
    """du = dL/du from delta = dL/da, and dL/dgamma."""
    cdef Py_ssize_t batch = delta.shape[0], n = delta.shape[1]
    cdef const fnn_kernels *k = kernels_for(delta.itemsize)
    cdef Memory memory = Memory()
    cdef fnn_norm norm
    cdef char *d = lifted(k, memory, delta)
    cdef char *x = lifted(k, memory, xhat)
    cdef char *by = lifted(k, memory, inv)
    cdef char *out = room(k, memory, batch, n)
    cdef char *grad = room(k, memory, 1, n)
    norm.kind, norm.gamma = kind, lifted(k, memory, gamma)
    cdef unsigned long long mode = fp_enter()
    normalise_delta_part(k, &norm, n, d, x, by, out, batch * k.nr, 0, panels(k, n), 0, batch)
    sum_products(k, batch, n, d, x, grad)
    fp_leave(mode)
    lower(k, out, du)
    lower(k, grad, grad_gamma)


cdef void sum_products(const fnn_kernels *k, Py_ssize_t batch, Py_ssize_t n, const char *d, const char *e, char *grad) noexcept:
    """grad_j = the sum of d_ij e_ij over the rows: of a gamma, and of an alpha."""
    cdef Py_ssize_t p
    for p in range(panels(k, n)):
        k.scale_gradient(batch, at(k, d, p * batch * k.nr), at(k, e, p * batch * k.nr), at(k, grad, p * k.nr), True)


def output_delta(
    a,              # (batch, n_out)  in
    y,              # int32 (batch,) labels, or (batch, n_out) of a's dtype  in
    h,              # (batch, n_out)  out
    delta,          # (batch, n_out)  out, not divided by the batch
    double[::1] losses,  # (batch,)  out
    output,         # of OUTPUTS: an id, or (id, parameter)
    loss,           # (id of LOSSES, dict of its settings)
    int n_threads,
):
    """h = f(a), delta = dL/da, losses = L, for every row."""
    cdef Py_ssize_t batch = a.shape[0], n_out = a.shape[1], i, start, stop
    cdef const fnn_kernels *k = kernels_for(a.itemsize)
    cdef Memory memory = Memory()
    cdef const int32_t[::1] labels
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
        targets.values = reals(k, y)
    cdef Py_ssize_t stride = batch * k.nr
    cdef char *ap = lifted(k, memory, a)
    cdef char *dp = room(k, memory, batch, n_out)
    cdef Py_ssize_t scratch_size = scratch_bytes(k, n_out)
    cdef int nt = worth(n_threads, 100. * batch * n_out)  # an exponential and its company: about a hundred operations
    cdef char *scratch = memory.take(nt, scratch_size)
    cdef unsigned long long mode = 0
    with nogil, parallel(num_threads=nt):
        mode = fp_enter()
        for i in prange(nt, schedule="static"):
            start, stop = batch * i // nt, batch * (i + 1) // nt
            k.output_delta(stop - start, n_out, at(k, ap, start * k.nr), stride, at(k, ap, start * k.nr),
                           at(k, dp, start * k.nr), &targets, start, f, &of, 1.0, &losses[start],
                           scratch + i * scratch_size)
        fp_leave(mode)
    lower(k, ap, h)
    lower(k, dp, delta)


def hidden_delta(
    delta,          # (batch, n_out)  in
    W,              # (n_out, n_in)   in
    slope,          # (batch, n_in)   in: h_prev = g(a_prev), or for activations of KEEPING g'(a_prev)
    delta_prev,     # (batch, n_in)   out
    activation,     # of the layer below: an id, or (id, parameter)
    int n_threads,
):
    """delta_prev = (delta W) * g'(a_prev). One thread owns a panel of inputs."""
    cdef Py_ssize_t batch = delta.shape[0], n_out = W.shape[0], n_in = W.shape[1], q
    cdef const fnn_kernels *k = kernels_for(W.itemsize)
    cdef Memory memory = Memory()
    cdef Layer layer
    cdef fnn_activation g = as_activation(activation)
    if batch == 0:
        return
    make_layer(k, memory, n_in, n_out, False, False, &layer)
    pack(k, &layer, reals(k, W), NULL, layer.Wp, NULL)
    cdef Py_ssize_t stride = batch * k.nr
    cdef char *d = lifted(k, memory, delta)
    cdef char *h = lifted(k, memory, slope)
    cdef char *out = room(k, memory, batch, n_in)
    cdef int nt = worth(n_threads, 2. * batch * n_in * n_out)
    cdef unsigned long long mode = 0
    with nogil, parallel(num_threads=nt):
        mode = fp_enter()
        for q in prange(layer.in_panels, schedule="static"):
            hidden_delta_part(k, &layer, d, h, out, stride, g, q, q + 1, 0, batch)
        fp_leave(mode)
    lower(k, out, delta_prev)


def gradient(
    delta,          # (batch, n_out)  in
    h_prev,         # (batch, n_in)   in
    grad_W,         # (n_out, n_in)   out
    grad_b,         # (n_out,) or None  out
    int n_threads,
):
    """grad_W = delta^T h_prev, an outer product for one sample; grad_b = the sum of delta. One thread owns a block."""
    cdef Py_ssize_t batch = delta.shape[0], n_out = delta.shape[1], n_in = h_prev.shape[1], u
    cdef const fnn_kernels *k = kernels_for(delta.itemsize)
    cdef Memory memory = Memory()
    cdef Layer layer
    cdef Slots slots
    cdef Step step
    cdef unsigned long long mode = 0
    make_layer(k, memory, n_in, n_out, grad_b is not None, False, &layer)
    slots.G, slots.Gb = weight_panels(k, memory, &layer), bias_panels(k, memory, &layer)
    step.summed, step.first, step.apply, step.n_states = True, True, False, 0
    cdef char *d = lifted(k, memory, delta)
    cdef char *h = lifted(k, memory, h_prev)
    cdef char *to_W = writable(k, grad_W)
    cdef char *to_b = NULL if grad_b is None else writable(k, grad_b)
    cdef int nt = worth(n_threads, 2. * batch * n_in * n_out)
    if batch:
        with nogil, parallel(num_threads=nt):
            mode = fp_enter()
            for u in prange(layer.in_panels * layer.out_panels, schedule="static"):
                gradient_part(k, &layer, &slots, &step, d, h, NULL, batch * k.nr, batch, u, u + 1, NULL, NULL)
            fp_leave(mode)
    unpack(k, &layer, slots.G, slots.Gb, to_W, to_b)


def parametric_delta(
    dh,             # (batch, n)  in: dL/dh
    d,              # (batch, n)  in: dh/da
    e,              # (batch, n)  in: dh/dalpha
    delta,          # (batch, n)  out: dL/da
    grad_alpha,     # (n,)  out: dL/dalpha
):
    """delta = dL/dh dh/da, grad_alpha = the sum of dL/dh dh/dalpha. One thread."""
    cdef Py_ssize_t batch = dh.shape[0], n = dh.shape[1]
    cdef const fnn_kernels *k = kernels_for(dh.itemsize)
    cdef Memory memory = Memory()
    cdef char *x = lifted(k, memory, dh)
    cdef char *slope = lifted(k, memory, d)
    cdef char *by = lifted(k, memory, e)
    cdef char *out = room(k, memory, batch, n)
    cdef char *grad = room(k, memory, 1, n)
    cdef unsigned long long mode = fp_enter()
    parametric_delta_part(k, n, x, slope, out, batch * k.nr, 0, panels(k, n), 0, batch)
    sum_products(k, batch, n, x, by, grad)
    fp_leave(mode)
    lower(k, out, delta)
    lower(k, grad, grad_alpha)


def update(
    theta,          # (n,)  in and out
    grad,           # (n,)  in
    state,          # (n_states, n)  in and out
    int optimizer,  # id of OPTIMIZERS
    dict rates,
    long long n_step,  # from 1
    int n_threads,
):
    """One step, in place. Elements are independent: each thread owns a run of them."""
    cdef const fnn_kernels *k = kernels_for(theta.itemsize)
    cdef Py_ssize_t n = theta.shape[0], i
    cdef fnn_rates r = as_rates(rates)
    cdef int n_states = STATES[optimizer], nt = worth(n_threads, 10. * n)
    cdef char *to = writable(k, theta)
    cdef char *states = writable(k, state) if n_states else NULL
    cdef const char *of = reals(k, grad)
    cdef unsigned long long mode = 0
    correct(&r, n_step)
    with nogil, parallel(num_threads=nt):
        mode = fp_enter()
        for i in prange(nt, schedule="static"):
            update_run(k, optimizer, n * i // nt, n * (i + 1) // nt, of, to, states, n, n_states, &r)
        fp_leave(mode)


cdef void update_run(const fnn_kernels *k, int optimizer, Py_ssize_t start, Py_ssize_t stop, const char *grad, char *theta,
                     char *states, Py_ssize_t n, int n_states, const fnn_rates *rates) noexcept nogil:
    cdef void *state[FNN_MAX_STATES]
    cdef int s
    for s in range(n_states):
        state[s] = at(k, states, s * n + start)
    k.update(optimizer, 1, stop - start, stop - start, at(k, grad, start), at(k, theta, start), state, rates)


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
                gradient_part(self.k, &self.layer, &self.slots, &self.step, self.delta, self.h_prev, NULL, self.stride,
                              self.batch, 0, self.layer.in_panels * self.layer.out_panels, self.scratch, NULL)
        start = seconds() - start
        fp_leave(mode)
        return start
