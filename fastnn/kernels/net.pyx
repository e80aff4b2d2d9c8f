"""A whole network in panels, and what passes over it need."""
cimport numpy as np
from libc.math cimport sqrt
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from fastnn.kernels._cpu cimport (
    FNN_BATCH_NORM, FNN_BLOCK, FNN_LAYER_NORM, Memory, as_activation, bfloat16_kernels, fnn_activation, fnn_draw, fnn_identity,
    fnn_kernels, fnn_norm, fnn_targets, kernels_for, plain,
)
from fastnn.kernels.inputs cimport Phi, copy_phi, fold_inputs, make_phi
from fastnn.kernels.output_delta cimport set_loss
from fastnn.kernels.panels cimport (
    MOST_COLUMNS, Layer, at, bias_panels, block, columns, make_layer, pack, real_at, set_real, unpack, weight_bytes,
    weight_panels,
)
from fastnn.kernels.update cimport Slots

import numpy

from fastnn.kernels._cpu import KINDS

cdef dict kinds = {numpy.dtype(name): kind for name, kind in (*KINDS.items(), ("bool", KINDS["uint8"]))}

np.import_array()

cdef const char *NEVER_USED = <const char *> 64  # where no element lies


cdef int make_net(Net *net, Memory memory, sizes, activations, output, loss, bias, str dtype, bint may_turn,
                  norms, double input_scale, phi, bint weights=True, bint bfloat16=False) except -1:
    """Room for the weights, but for W where not `weights`; bfloat16: what products are of. sizes: n_0..n_K; activations: of
    hidden layers (`_cpu.as_activation`); bias: of each layer; loss: as `set_loss` takes it; norms: of hidden layers, (kind,
    epsilon, momentum) or None; empty: none; phi: the input layer, as `make_phi` takes it."""
    cdef Py_ssize_t K = len(sizes) - 1, l
    cdef fnn_norm *norm
    cdef fnn_kernels *own
    net.k = kernels_for(4 if dtype == "float32" else 8)
    if bfloat16:
        own = <fnn_kernels *> memory.take(1, sizeof(fnn_kernels))
        bfloat16_kernels(own)
        net.k = own
    net.n_layers, net.output = K, as_activation(output)
    net.input_scale = input_scale
    set_loss(&net.loss, memory, loss, net.k)
    make_phi(net.k, memory, sizes[0], phi, &net.phi)
    net.layers = net.products = <Layer *> memory.take(K, sizeof(Layer))
    net.bfloat16 = bfloat16
    net.slots = <Slots *> memory.take(K, sizeof(Slots))
    net.draws = <fnn_draw *> memory.take(K, sizeof(fnn_draw))
    net.norms = <fnn_norm *> memory.take(K, sizeof(fnn_norm))
    net.activations = <fnn_activation *> memory.take(K, sizeof(fnn_activation))
    net.alpha = <char **> memory.take(K, sizeof(char *))
    net.normalised, net.batch_normalised, net.parametric, net.directions, net.int8 = False, False, False, NULL, NULL
    for l in range(K):
        norm = &net.norms[l]
        if l < len(norms) and norms[l] is not None:
            norm.kind, norm.epsilon, norm.momentum = norms[l]
            norm.has_beta = bias[l]
            net.normalised = True
            net.batch_normalised = net.batch_normalised or norm.kind == FNN_BATCH_NORM
        net.activations[l] = as_activation(activations[l] if l < K - 1 else fnn_identity)
        make_layer(net.k, memory, sizes[l] if l else net.phi.n_features, sizes[l + 1], bias[l] and norm.kind == 0, may_turn,
                   &net.layers[l], weights)
        if l < K - 1 and isinstance(activations[l], tuple) and len(activations[l]) == 3:
            net.alpha[l], net.parametric = bias_panels(net.k, memory, &net.layers[l]), True
        if norm.kind:
            norm.gamma = bias_panels(net.k, memory, &net.layers[l])
            norm.beta = bias_panels(net.k, memory, &net.layers[l])
            norm.mean = bias_panels(net.k, memory, &net.layers[l])
            norm.variance = bias_panels(net.k, memory, &net.layers[l])
    return 0


cdef int prepare_products(Net *net, Memory memory) except -1:
    """Room for W in bfloat16, where products are of that: for `round_weights`."""
    cdef Py_ssize_t l
    if net.bfloat16:
        net.products = <Layer *> memory.take(net.n_layers, sizeof(Layer))
        for l in range(net.n_layers):
            net.products[l] = net.layers[l]
            net.products[l].Wp = weight_panels(net.k, memory, &net.layers[l])
    return 0


cdef void round_weights(const Net *net, int t, int threads) noexcept nogil:
    """products <- layers: thread t's part of W in bfloat16."""
    cdef const fnn_kernels *k = net.k
    cdef const Layer *layer
    cdef Py_ssize_t l, i, n, n_panels, blocks, start, first
    for l in range(net.n_layers):
        layer = &net.layers[l]
        n_panels = layer.in_panels if layer.turned else layer.out_panels
        n = layer.n_out if layer.turned else layer.n_in
        blocks = (n + FNN_BLOCK - 1) // FNN_BLOCK
        for i in range(n_panels * blocks * t // threads, n_panels * blocks * (t + 1) // threads):
            start, first = i // blocks * n * k.nr, i % blocks * FNN_BLOCK
            k.round_weights(min(n - first, FNN_BLOCK), at(k, layer.Wp, start + first * k.nr),
                            at(k, net.products[l].Wp, start + (first * k.nr >> k.paired)))


cdef struct Panels:
    # One layer's share of a vector laid out like theta.
    char *W
    char *b                # NULL: none, as gamma and alpha
    char *gamma
    char *alpha


cdef Panels panels_of(const Net *net, Py_ssize_t l, Py_ssize_t which) noexcept nogil:
    """Layer l's parameters (THETA), their gradient (GRADIENT), or the optimizer's state of that number."""
    cdef const Slots *slots = &net.slots[l]
    cdef const fnn_norm *norm = &net.norms[l]
    cdef Panels of
    of.W = net.layers[l].Wp if which == THETA else slots.G if which == GRADIENT else slots.state_W[which]
    if which == THETA:
        of.b = <char *> norm.beta if norm.kind else net.layers[l].b
    else:
        of.b = slots.Gb if which == GRADIENT else slots.state_b[which]
    of.gamma = <char *> norm.gamma if which == THETA else slots.Gg if which == GRADIENT else slots.state_g[which]
    of.alpha = net.alpha[l] if which == THETA else slots.Ga if which == GRADIENT else slots.state_a[which]
    if not (net.layers[l].has_bias or norm.has_beta):
        of.b = NULL
    if not norm.kind:
        of.gamma = NULL
    if net.alpha[l] == NULL:
        of.alpha = NULL
    return of


cdef void load_net(const Net *net, const char *vector, Py_ssize_t which) noexcept nogil:
    """Panels <- a vector laid out like theta: phi's parameters, W (n_k, n_k-1), b (n_k,), gamma (n_k,), alpha (n_k,) of each
    layer, but W where it has them. which: as of `panels_of`."""
    copy_net(net, <char *> vector, which, False)


cdef void store_net(const Net *net, char *vector, Py_ssize_t which) noexcept nogil:
    """A vector as of `load_net` <- panels."""
    copy_net(net, vector, which, True)


cdef void copy_net(const Net *net, char *vector, Py_ssize_t which, bint store) noexcept nogil:
    cdef const fnn_kernels *k = net.k
    cdef const Layer *layer
    cdef const Phi *phi = &net.phi
    cdef Py_ssize_t l
    cdef Panels of
    if which == THETA:
        vector = copy_phi(k, phi, phi.E, phi.s, vector, store)
    elif which == GRADIENT:
        vector = copy_phi(k, phi, phi.G, phi.Gs, vector, store)
    else:
        vector = copy_phi(k, phi, phi.states[which], phi.states_s[which], vector, store)
    for l in range(net.n_layers):
        layer, of = &net.layers[l], panels_of(net, l, which)
        if store:
            unpack(k, layer, of.W, NULL, vector, NULL)
        else:
            pack(k, layer, vector, NULL, of.W, NULL)
        vector += layer.n_out * layer.n_in * k.item
        vector = copy_part(k, layer, of.b, vector, store)
        vector = copy_part(k, layer, of.gamma, vector, store)
        vector = copy_part(k, layer, of.alpha, vector, store)


cdef void load_statistics(const Net *net, const char *vector) noexcept nogil:
    """Running statistics <- a vector of each batch-normalised layer's mean (n_k,) and variance (n_k,), one after another."""
    copy_statistics(net, <char *> vector, False)


cdef void store_statistics(const Net *net, char *vector) noexcept nogil:
    """A vector as of `load_statistics` <- running statistics."""
    copy_statistics(net, vector, True)


cdef size_t statistics_bytes(const Net *net) noexcept nogil:
    """Of a vector as of `load_statistics`."""
    cdef Py_ssize_t l, n = 0
    for l in range(net.n_layers):
        if net.norms[l].kind == FNN_BATCH_NORM:
            n += 2 * net.layers[l].n_out
    return n * net.k.item


cdef void copy_statistics(const Net *net, char *vector, bint store) noexcept nogil:
    cdef Py_ssize_t l
    for l in range(net.n_layers):
        if net.norms[l].kind == FNN_BATCH_NORM:
            vector = copy_part(net.k, &net.layers[l], <char *> net.norms[l].mean, vector, store)
            vector = copy_part(net.k, &net.layers[l], <char *> net.norms[l].variance, vector, store)


cdef char *copy_part(const fnn_kernels *k, const Layer *layer, char *part, char *vector, bint store) noexcept nogil:
    """The next n_out numbers of a vector <- part (store), or the other way, with zeros after them (a step that diverged leaves
    others there); part NULL: nothing. Returns where the vector goes on."""
    cdef size_t bytes = layer.n_out * k.item
    if part == NULL:
        return vector
    if store:
        memcpy(vector, part, bytes)
    else:
        memset(part, 0, layer.out_panels * k.nr * k.item)
        memcpy(part, vector, bytes)
    return vector + bytes


cdef int folded(const Net *net, Net *to, Memory memory) except -1:
    """to <- net as prediction needs it (`fold`), which shares what stays as it is."""
    cdef Py_ssize_t K = net.n_layers, l
    cdef Layer *layer
    to[0] = net[0]
    to.layers = to.products = <Layer *> memory.take(K, sizeof(Layer))
    memcpy(to.layers, net.layers, K * sizeof(Layer))
    to.norms = <fnn_norm *> memory.take(K, sizeof(fnn_norm))
    to.activations = <fnn_activation *> memory.take(K, sizeof(fnn_activation))
    for l in range(K):
        layer = &to.layers[l]
        to.norms[l], to.activations[l] = net.norms[l], net.activations[l]
        if net.bfloat16 or net.norms[l].kind == FNN_BATCH_NORM:
            layer.Wp = weight_panels(net.k, memory, layer)
            memcpy(layer.Wp, net.layers[l].Wp, weight_bytes(net.k, layer))
        if net.norms[l].kind == FNN_BATCH_NORM:
            layer.b = bias_panels(net.k, memory, layer)
    return fold(to, memory)


cdef int fold(Net *net, Memory memory) except -1:
    """For prediction: batch normalisation goes into weights and biases, by the running statistics: W <- s W, b = beta - s mean,
    s = gamma / sqrt(variance + epsilon). A layer that is normalised by rows has its activation after that. Layer 1 takes in what
    it looks up of the input layer (`fold_inputs`). In bfloat16 the weights become that here, and nothing is looked up."""
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t l, p, q, i, j
    cdef double by[MOST_COLUMNS]
    cdef const Layer *layer
    cdef fnn_norm *norm
    net.normalised = False
    for l in range(net.n_layers):
        layer, norm = &net.layers[l], &net.norms[l]
        if norm.kind == FNN_LAYER_NORM:
            net.normalised, norm.g = True, plain(fnn_identity)
            if net.alpha[l] == NULL:
                norm.g, net.activations[l] = net.activations[l], norm.g
        if norm.kind != FNN_BATCH_NORM:
            continue
        norm.kind = 0
        for p in range(layer.out_panels):
            for i in range(k.nr):
                j = p * k.nr + i
                by[i] = real_at(k, norm.gamma, j) / sqrt(real_at(k, norm.variance, j) + norm.epsilon)
                set_real(k, layer.b, j, real_at(k, norm.beta, j) - by[i] * real_at(k, norm.mean, j))
            if layer.turned:
                for q in range(layer.in_panels):
                    k.scale_rows(columns(k, layer.n_out, p), by, at(k, layer.Wp, block(k, layer, p, q)))
            else:
                k.scale_columns(layer.n_in, by, at(k, layer.Wp, block(k, layer, p, 0)))
    if net.bfloat16:
        round_weights(net, 0, 1)
        return 0
    return fold_inputs(k, memory, &net.phi, &net.layers[0])


cdef double flops(const Net *net, Py_ssize_t batch, int passes) noexcept nogil:
    """Work of a step (passes = 3) or a forward pass (1), in float32 operations; double takes twice as long."""
    cdef double total = 0
    cdef Py_ssize_t l
    for l in range(net.n_layers):
        total += <double> (net.layers[l].n_in if l else net.phi.taken) * net.layers[l].n_out * (
            passes if l or passes == 1 or net.phi.trained else passes - 1)
    return (2 * total + net.phi.work * passes) * batch * net.k.item / 4


cdef double work(const Net *net, const fnn_features *X, Py_ssize_t n, Py_ssize_t batch, int passes) noexcept nogil:
    """`flops`, of n rows X in all, where zeros of CSR cost nothing."""
    cdef double skipped = 0
    if X.indptr != NULL:
        skipped = (net.layers[0].n_in - <double> (X.indptr[n] - X.indptr[0]) / max(n, 1)) * net.layers[0].n_out
    return flops(net, batch, passes) - 2 * skipped * batch * (passes if passes == 1 else passes - 1) * net.k.item / 4


cdef int set_features(const Net *net, fnn_features *features, X) except -1:
    """X: an array of one of `_cpu.KINDS`, aligned, with any strides; or CSR: indptr (int64), indices (int32), data (reals)."""
    cdef const int64_t[::1] indptr
    features.scale, features.indptr, features.indices = net.input_scale, NULL, NULL
    if hasattr(X, "indptr"):
        indptr = X.indptr
        features.indptr, features.indices = &indptr[0], <const int32_t *> address(X.indices)
        features.data, features.row, features.column = address(X.data), 0, 0
        features.kind = fnn_kind_float32 if net.k.item == 4 else fnn_kind_float64
        return 0
    features.data = <const char *> np.PyArray_DATA(X)
    features.kind = kinds[X.dtype]
    features.row, features.column = X.strides
    if X.shape[1] == 1:
        features.column = X.itemsize
    return 0


cdef const char *address(array) except NULL:
    """Where the elements of a C-contiguous array begin, for reading."""
    if not np.PyArray_IS_C_CONTIGUOUS(array):
        raise ValueError("an array must be C-contiguous")
    return <const char *> np.PyArray_DATA(array) if np.PyArray_SIZE(array) else NEVER_USED


cdef char *writable_address(str name, array) except NULL:
    """Where the elements of a C-contiguous array begin, for writing."""
    if not np.PyArray_ISWRITEABLE(array):
        raise ValueError(f"{name} must be a writable array, got a read-only one")
    return <char *> address(array)


cdef int set_targets(fnn_targets *targets, y, weights) except -1:
    """y: int32 labels (n,) or values (n, n_K); weights: (n,) float64 or None."""
    targets.labels = <const int32_t *> address(y) if y.ndim == 1 else NULL
    targets.values = NULL if y.ndim == 1 else <const void *> address(y)
    targets.weights = NULL if weights is None else <const double *> address(weights)
    return 0
