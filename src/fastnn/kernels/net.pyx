"""A whole network in panels, and what passes over it need."""
from libc.stdint cimport int32_t, int64_t

from fastnn.kernels._cpu cimport (
    Memory, as_activation, fnn_activation, fnn_draw, fnn_identity, fnn_kernels, fnn_targets, kernels_for,
)
from fastnn.kernels.output_delta cimport set_loss
from fastnn.kernels.panels cimport Layer, at, make_layer, pack

from fastnn.kernels._cpu import KINDS

cdef int make_net(Net *net, Memory memory, sizes, activations, output, loss, bias, str dtype, bint may_turn,
                  double input_scale) except -1:
    """Room for the weights. sizes: n_0..n_K; activations: of hidden layers (`_cpu.as_activation`); bias: of each layer;
    loss: as `set_loss` takes it."""
    cdef Py_ssize_t K = len(sizes) - 1, l
    net.k, net.n_layers, net.output = kernels_for(4 if dtype == "float32" else 8), K, as_activation(output)
    net.input_scale = input_scale
    set_loss(&net.loss, memory, loss, net.k)
    net.layers = <Layer *> memory.take(K * sizeof(Layer))
    net.slots = <Slots *> memory.take(K * sizeof(Slots))
    net.draws = <fnn_draw *> memory.take(K * sizeof(fnn_draw))
    net.activations = <fnn_activation *> memory.take(K * sizeof(fnn_activation))
    for l in range(K):
        net.activations[l] = as_activation(activations[l] if l < K - 1 else fnn_identity)
        make_layer(net.k, memory, sizes[l], sizes[l + 1], bias[l], may_turn, &net.layers[l])
    return 0


cdef int load_net(const Net *net, const char *vector, Py_ssize_t state) except -1:
    """Panels <- a vector laid out like theta: the weights and biases (state = -1), or the optimizer's state of that number."""
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t l, offset = 0
    cdef Layer *layer
    with nogil:
        for l in range(net.n_layers):
            layer = &net.layers[l]
            pack(k, layer, at(k, vector, offset),
                 at(k, vector, offset + layer.n_in * layer.n_out) if layer.has_bias else NULL,
                 layer.Wp if state < 0 else net.slots[l].state_W[state], layer.b if state < 0 else net.slots[l].state_b[state])
            offset += layer.n_out * (layer.n_in + layer.has_bias)
    return 0


cdef double flops(const Net *net, Py_ssize_t batch, int passes) noexcept nogil:
    """Work of a step (passes = 3) or a forward pass (1), in float32 operations; double takes twice as long."""
    cdef double total = 0
    cdef Py_ssize_t l
    for l in range(net.n_layers):
        total += <double> net.layers[l].n_in * net.layers[l].n_out * (passes if l or passes == 1 else passes - 1)
    return 2 * total * batch * net.k.item / 4


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
    features.data = <const char *> <size_t> X.__array_interface__["data"][0]
    features.kind = KINDS["uint8" if X.dtype == bool else X.dtype.name]
    features.row, features.column = X.strides
    if X.shape[1] == 1:
        features.column = X.itemsize
    return 0


cdef char *address(array) except NULL:
    """Where the elements of a C-contiguous array begin (read-only ones too)."""
    cdef const unsigned char[::1] bytes
    if not array.size:
        return <char *> 64  # never read
    bytes = array.reshape(-1).view("u1")
    return <char *> &bytes[0]


cdef int set_targets(fnn_targets *targets, y, weights) except -1:
    """y: int32 labels (n,) or values (n, n_K); weights: (n,) float64 or None."""
    targets.labels = <const int32_t *> address(y) if y.ndim == 1 else NULL
    targets.values = NULL if y.ndim == 1 else <const void *> address(y)
    targets.weights = NULL if weights is None else <const double *> address(weights)
    return 0
