"""h^(K) of many rows, or of one: the forward pass outside training; and means of it over several networks.

Threads own chunks of rows and take each through all layers, so that its activations stay near. A single row has nothing that
a tile could reuse: it passes over each layer's weights once. Both sum in the same order.
"""
cimport numpy as np
from cython.parallel cimport parallel, prange, threadid
from libc.math cimport NAN
from libc.stdint cimport int8_t, int32_t, uint8_t
from libc.string cimport memcpy, memset

from fastnn.kernels._cpu cimport (
    FNN_FORWARD, FNN_PARTIAL, FNN_SOFTMAX, FNN_SUMMED, Memory, allocate, begin_row, end_row, fnn_activation, fnn_codes,
    fnn_features, fnn_identity, fnn_int8, fnn_kernels, fnn_kind_float32, fnn_kind_float64, fnn_targets, fp_enter, fp_leave,
    has_dots, helped_row_product, helper_wanted, kernels_for, leave_helper, limited_to_one, plain, raise_signals, release,
    start_helper, worth,
)
from fastnn.kernels.forward cimport forward_part, forward_sparse_part, parametric_part
from fastnn.kernels.inputs cimport features_part
from fastnn.kernels.net cimport (
    THETA, Int8, Net, address, as_they_lie, flops, fold, load_net, load_statistics, make_net, set_features, set_targets, work,
    writable_address,
)
from fastnn.kernels.normalise cimport normalise_part
from fastnn.kernels.output_delta cimport mean, scratch_bytes, set_loss, weight_of
from fastnn.kernels.panels cimport Layer, at, block, columns, panels, round_part, row_room, vectors

np.import_array()

cdef extern from "platform.h" nogil:
    void *fnn_exchange(void **place, void *p)
    enum:
        FNN_CROWDED, FNN_HELPED

cdef double BLOCK = 1e9         # operations between two looks at signals: 5 to 50 ms ...
cdef double A_ROW = 200         # ... where a row costs so many beside its products
# A pass alone wakes its threads, and between two passes they spin for a while: beside another process that costs both.
# Below 30 million operations, some 150 us on one thread, it does not pay.
cdef double ALONE = 1. / 3
cdef double QUICK = 1e6         # operations, some 10 us, for which neither giving the GIL away nor a second core for a row pays
cdef Py_ssize_t BLOCK_ROWS = 8192  # that all networks of a mean have taken before any takes more: they stay in the cache

cdef enum:
    CHUNK = 128                 # rows that one thread takes through all layers
    PAGE = 4096
    ON_STACK = 1 << 14          # bytes of activations of one row that lie on the stack


cdef struct Room:
    # Where a pass keeps its activations: `bytes` of them follow.
    size_t bytes


cdef void *take_room(void **idle, size_t bytes) noexcept nogil:
    """The room of the pass before, or a new one; NULL if there is no memory. idle: shared by all threads."""
    cdef Room *room = <Room *> fnn_exchange(idle, NULL)
    if room != NULL and room.bytes >= bytes:
        return room
    release(room)
    room = <Room *> allocate(bytes + 64)
    if room != NULL:
        room.bytes = bytes
    return room


cdef void give_room(void **idle, void *room) noexcept nogil:
    release(fnn_exchange(idle, room))


cdef void free_room(void **idle) noexcept:
    release(fnn_exchange(idle, NULL))


cdef int forward_rows(const Net *net, void **idle, const fnn_features *X, const Py_ssize_t *order, char *out,
                      const fnn_targets *y, double *losses, Py_ssize_t n, int n_threads, bint helped=False) except -1:
    """out (n, n_K) <- h^(K) of the rows X[order], NULL: 0..n-1; with y, losses (n,) <- L too. Returns 0 if X is not finite (then
    out is not complete).

    Safe to call from several threads at once. idle: where it leaves its buffers for the next pass, NULL at first.
    """
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t K = net.n_layers, n_K = net.layers[K - 1].n_out
    cdef double row_work = work(net, X, n, 1, 1)
    cdef int nt = worth(n_threads, ALONE * n * row_work)
    cdef Py_ssize_t per_thread = CHUNK * nt, span, n_chunks, chunk, widest = widest_panels(net, X)
    cdef Py_ssize_t start, stop, rows, c, l
    cdef size_t size, scratch_size, part
    cdef unsigned long long mode = 0
    cdef int finite = 1
    cdef char *rooms
    cdef void *room
    span = max(per_thread, <Py_ssize_t> (BLOCK / (row_work + A_ROW)) // per_thread * per_thread)
    rows = min(n, span)
    n_chunks = ((rows + CHUNK - 1) // CHUNK + nt - 1) // nt * nt
    chunk = (rows + n_chunks - 1) // n_chunks
    size = widest * row_room(chunk) * k.nr * k.item
    scratch_size = scratch_bytes(k, n_K)
    part = 2 * size + scratch_size + entries_bytes(net, chunk)
    room = take_room(idle, nt * part)
    if room == NULL:
        raise MemoryError(f"{nt * part} bytes for the buffers of a pass")
    rooms = <char *> room + 64
    try:
        for start in range(0, n, span):
            stop = min(n, start + span)
            n_chunks = (stop - start + chunk - 1) // chunk
            with nogil, parallel(num_threads=nt):
                mode = fp_enter()
                for c in prange(n_chunks, schedule="dynamic"):
                    l = start + c * chunk
                    if not forward_chunk(net, X, order, at(k, out, l * n_K), min(chunk, stop - l), l, y, losses,
                                         size, rooms + threadid() * part, helped):
                        finite = 0
                fp_leave(mode)
            if stop < n:
                raise_signals()
    finally:
        give_room(idle, room)
    return finite


cdef Py_ssize_t widest_panels(const Net *net, const fnn_features *X) noexcept nogil:
    """Of what passes through the network, rows X and h of each layer."""
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t l, widest = panels(k, max(net.phi.n_0, net.phi.n_features))
    if X != NULL and X.indptr != NULL:  # CSR rows stay where they are
        widest = 0
    for l in range(net.n_layers):
        widest = max(widest, net.layers[l].out_panels)
    return widest


cdef int forward_chunk(const Net *net, const fnn_features *X, const Py_ssize_t *order, char *out, Py_ssize_t rows,
                       Py_ssize_t first, const fnn_targets *y, double *losses, size_t size, char *room,
                       bint helped=False) noexcept nogil:
    """out <- h^(K) of the rows X[order[first..]], and their losses where y is given; 0 if X is not finite.

    room: two buffers of `size` bytes, the output layer's scratch, and entries. helped: whether a second core may help with a row.
    """
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t stride = row_room(rows) * k.nr, n_K = net.layers[net.n_layers - 1].n_out
    cdef char *scratch = room + 2 * size
    cdef const char *h
    cdef int how
    if net.int8 != NULL:
        h = layers_in_8_bits(net, X, order, first, rows, y == NULL, size, room)
    else:
        how = begin_row() if helped else FNN_CROWDED
        h = layers(net, X, order, first, rows, y == NULL, size, room, how == FNN_HELPED)
        end_row(how)
    if h == NULL:
        return 0
    if y != NULL:
        k.output_delta(rows, n_K, h, stride, <void *> h, NULL, y, first, net.output, &net.loss, 1.0, losses + first, scratch)
    elif net.output.id == FNN_SOFTMAX:
        k.softmax(rows, n_K, <void *> h, stride, scratch)
    k.scatter(rows, n_K, h, stride, out)
    return 1


cdef inline fnn_activation activation_of(const Net *net, Py_ssize_t l, bint to_output) noexcept nogil:
    """What layer l's product ends with. to_output: the last layer's with the network's output, but for softmax."""
    if l == net.n_layers - 1 and to_output and net.output.id != FNN_SOFTMAX:
        return net.output
    return plain(fnn_identity) if net.alpha[l] != NULL else net.activations[l]


cdef const char *layers(const Net *net, const fnn_features *X, const Py_ssize_t *order, Py_ssize_t first, Py_ssize_t rows,
                        bint to_output, size_t size, char *room, bint helped) noexcept nogil:
    """h^(K), or where its output is left to do a^(K), in panels of `forward_chunk`'s room; NULL if X is not finite."""
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t stride = row_room(rows) * k.nr, K = net.n_layers, n_K = net.layers[K - 1].n_out, l
    cdef const char *h_prev = X.data + row_number(order, first) * X.row
    cdef char *h = room
    cdef char *other = room + size
    cdef const Layer *layer
    cdef fnn_activation g
    cdef bint alone = rows == 1 and not net.bfloat16  # a row by itself, whose sums run on from panel to panel
    cdef Entries entries = entries_in(net, room + 2 * size + scratch_bytes(k, n_K), rows)
    if net.phi.used:
        if not inputs(net, X, order, first, other, h, stride, rows, &entries):
            return NULL
        if net.bfloat16:
            round_part(k, h, stride, 0, net.layers[0].in_panels, 0, rows)
        h_prev, h, other = h, other, h
    elif alone and X.indptr == NULL and not (net.layers[0].turned or as_they_lie(k, X)):
        k.gather_features(1, net.layers[0].n_in, X, order, first, other, k.nr)
        h_prev = other
    for l in range(K):
        layer, g = &net.layers[l], activation_of(net, l, to_output)
        if l == 0 and net.phi.n_looked:
            looking_layer(net, h_prev, h, stride, g, rows, &entries)
        elif l == 0 and X.indptr != NULL:
            forward_sparse_part(k, layer, X, order, first, h, NULL, stride, g, rows)
        elif alone and not layer.turned:
            memset(h, 0, layer.out_panels * k.nr * k.item)
            if helped:
                helped_row_product(k, net.layers, layer.n_in, h_prev, layer.Wp, layer.n_in * k.nr, layer.out_panels, h)
            else:
                k.row_product(layer.n_in, NULL, h_prev, layer.Wp, layer.n_in * k.nr, layer.out_panels, h)
            if l == 0 and not net.phi.used and not (
                    k.all_finite(layer.n_out, h) or rows_finite(k, layer.n_in, X, order, first, 1)):
                return NULL
            k.row_activate(layer.n_out, h, layer.b, g, NULL)
        elif l == 0 and not net.phi.used:
            if not first_layer(net, X, order, first, other, h, stride, g, rows):
                return NULL
        else:
            forward_part(k, layer, h_prev, NULL, h, NULL, stride, g, 0, layer.out_panels, 0, rows)
        after_product(net, l, h, stride, rows)
        if net.bfloat16 and l + 1 < K:
            round_part(k, h, stride, 0, layer.out_panels, 0, rows)
        h_prev, h, other = h, other, h
    return h_prev


cdef inline void after_product(const Net *net, Py_ssize_t l, char *h, Py_ssize_t stride, Py_ssize_t rows) noexcept nogil:
    """Normalisation by layers and parametric activations: that by batches is in the weights (net.pyx: fold)."""
    cdef const fnn_kernels *k = net.k
    cdef const Layer *layer = &net.layers[l]
    if net.normalised and net.norms[l].kind:
        normalise_part(k, &net.norms[l], layer.n_out, False, h, NULL, NULL, NULL, stride, net.norms[l].g, 0,
                       layer.out_panels, 0, rows)
    if net.alpha[l] != NULL:
        parametric_part(k, layer.n_out, net.activations[l], net.alpha[l], h, NULL, NULL, stride, 0, layer.out_panels, 0, rows)


cdef const char *layers_in_8_bits(const Net *net, const fnn_features *X, const Py_ssize_t *order, Py_ssize_t first,
                                  Py_ssize_t rows, bint to_output, size_t size, char *room) noexcept nogil:
    """As `layers`, from codes (src/int8.h): the first buffer has h, the second the codes of a layer's inputs."""
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t stride = row_room(rows) * k.nr, K = net.n_layers, l, p
    cdef Py_ssize_t row = X.row // k.item, x_stride = k.nr, each = net.int8[0].codes.inverse == 0
    cdef const char *x = X.data + first * X.row
    cdef char *h = room
    cdef uint8_t *U = <uint8_t *> room + size
    cdef const Layer *layer
    cdef fnn_codes of_rows[CHUNK]
    cdef const fnn_codes *codes
    if order != NULL or not as_they_lie(k, X):
        k.gather_features(rows, net.layers[0].n_in, X, order, first, h, stride)
        x, row, x_stride = h, k.nr, stride
    for l in range(K):
        layer, codes = &net.layers[l], &net.int8[l].codes
        if each:
            k.code_range(rows, layer.n_in, x, row, x_stride, of_rows)
            codes = of_rows
        if not k.encode(rows, layer.n_in, x, row, x_stride, codes, each, U, layer.in_panels * k.nr) and l == 0:
            return NULL
        for p in range(layer.out_panels):
            net.int8_product(rows, layer.n_in, U, layer.in_panels * k.nr, &net.int8[l].panels[p], codes, each,
                             activation_of(net, l, to_output), at(k, h, p * stride))
        after_product(net, l, h, stride, rows)
        x, row, x_stride = h, k.nr, stride
    return h


cdef struct Entries:
    # What rows take of layer 1's weights where it looks columns up.
    char *values           # [rows][phi.entries]
    int32_t *inputs        # likewise
    int32_t *counts        # [rows]


cdef inline Entries entries_in(const Net *net, char *room, Py_ssize_t rows) noexcept nogil:
    cdef Entries entries
    entries.values = room
    entries.inputs = <int32_t *> (room + rows * net.phi.entries * net.k.item)
    entries.counts = entries.inputs + rows * net.phi.entries
    return entries


cdef inline size_t entries_bytes(const Net *net, Py_ssize_t rows) noexcept nogil:
    return rows * (net.phi.entries * (sizeof(int32_t) + net.k.item) + sizeof(int32_t)) // 64 * 64 + 64


cdef void looking_layer(const Net *net, const char *h_prev, char *h, Py_ssize_t stride, fnn_activation g, Py_ssize_t rows,
                        const Entries *entries) noexcept nogil:
    """h = g(W h^(0) + b) of layer 1, where h_prev has the features that are multiplied, and entries what is looked up."""
    cdef const fnn_kernels *k = net.k
    cdef const Layer *layer = &net.layers[0]
    cdef Py_ssize_t n = net.phi.n_features, panel = layer.n_in * k.nr, p
    if rows == 1 or n == 0:
        for p in range(layer.out_panels):
            memset(at(k, h, p * stride), 0, rows * k.nr * k.item)
    if rows == 1:
        k.row_product(n, NULL, h_prev, layer.Wp, panel, layer.out_panels, h)
    elif n:
        for p in range(layer.out_panels):
            k.product_panel(rows, n, h_prev, k.nr, stride, at(k, layer.Wp, p * panel), NULL, layer.far,
                            vectors(k, layer.n_out, p), FNN_PARTIAL, NULL, g, at(k, h, p * stride))
    k.entries_product(rows, net.phi.entries, entries.counts, entries.inputs, entries.values, layer.Wp, panel, layer.out_panels,
                      layer.b, h, stride)
    for p in range(layer.out_panels):
        k.activate_panel(rows, vectors(k, layer.n_out, p), at(k, h, p * stride), g, NULL)


cdef inline Py_ssize_t row_number(const Py_ssize_t *order, Py_ssize_t r) noexcept nogil:
    return r if order == NULL else order[r]


cdef int first_layer(const Net *net, const fnn_features *X, const Py_ssize_t *order, Py_ssize_t first, char *h0, char *h,
                     Py_ssize_t stride, fnn_activation g, Py_ssize_t rows) noexcept nogil:
    """h = g(X W^T + b) from the user's rows order[first..]; 0 if X is not finite. h0: room for X in panels.

    The tile reads rows of X as they lie, unless they are picked, are of another kind or to be rounded, or start at the same place
    in every page of memory and so would push each other out of L1. A number that is not finite makes every sum of its row so: the
    first panel is looked at before g hides it.
    """
    cdef const fnn_kernels *k = net.k
    cdef const Layer *layer = &net.layers[0]
    cdef Py_ssize_t p, row = X.row // k.item, x_stride = k.nr
    cdef const char *x = X.data + (first * X.row if order == NULL else 0)
    cdef int finite = 1
    if layer.turned or net.bfloat16 or order != NULL or not as_they_lie(k, X) or X.row % PAGE == 0:
        if as_they_lie(k, X) and row == layer.n_in:
            k.gather(rows, layer.n_in, x, NULL if order == NULL else order + first, h0, stride)
        else:
            k.gather_features(rows, layer.n_in, X, order, first, h0, stride)
        if net.bfloat16:
            round_part(k, h0, stride, 0, layer.in_panels, 0, rows)
        x, row, x_stride = h0, k.nr, stride
    for p in range(layer.out_panels):
        if layer.turned:
            forward_part(k, layer, x, NULL, h, NULL, stride, plain(fnn_identity), p, p + 1, 0, rows)
        else:
            k.product_panel(rows, layer.n_in, x, row, x_stride, at(k, layer.Wp, block(k, layer, p, 0)), NULL, layer.far,
                            vectors(k, layer.n_out, p), FNN_FORWARD, at(k, layer.b, p * k.nr),
                            g if p else plain(fnn_identity), at(k, h, p * stride))
        if p == 0:
            finite = (k.activate_finite(rows, vectors(k, layer.n_out, 0), h, g)
                      or rows_finite(k, layer.n_in, X, order, first, rows))
    return finite


cdef int inputs(const Net *net, const fnn_features *X, const Py_ssize_t *order, Py_ssize_t first, char *x, char *h,
                Py_ssize_t stride, Py_ssize_t rows, const Entries *entries) noexcept nogil:
    """h = s phi(X) of the user's rows order[first..], and entries of what is looked up; 0 if X is not finite. x: room for X in
    panels."""
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t n = net.phi.n_0, p, r, i
    k.gather_features(rows, n, X, order, first, x, stride)
    for p in range(panels(k, n)):
        for r in range(rows):
            if not k.all_finite(columns(k, n, p), at(k, x, p * stride + r * k.nr)):
                return 0
    if net.phi.n_features:
        features_part(k, &net.phi, x, stride, h, h, stride, 0, rows)
    if net.phi.n_looked:
        memset(entries.counts, 0, rows * sizeof(int32_t))
    for i in range(net.phi.n_looked):
        k.entries(rows, &net.phi.looked[i], net.phi.s, x, stride, net.phi.entries, entries.counts, entries.inputs, entries.values)
    return 1


cdef int rows_finite(const fnn_kernels *k, Py_ssize_t n, const fnn_features *X, const Py_ssize_t *order, Py_ssize_t first,
                     Py_ssize_t rows) noexcept nogil:
    """Whether rows order[first..] are; those of another kind have been looked at as arrays."""
    cdef Py_ssize_t r
    if as_they_lie(k, X):
        for r in range(first, first + rows):
            if not k.all_finite(n, X.data + row_number(order, r) * X.row):
                return 0
    return 1


cdef int load_int8(Net *net, Memory memory, layers) except -1:
    """The weights in 8 bits, as `Frozen` takes them."""
    cdef const fnn_kernels *k = net.k
    cdef const Layer *layer
    cdef Int8 *to
    cdef Py_ssize_t l, p, n_fours, i, j, nr = k.nr
    cdef const int8_t[:, ::1] w
    cdef int8_t *W
    cdef int32_t *sums
    cdef char *scales
    net.int8 = <Int8 *> memory.take(net.n_layers, sizeof(Int8))
    net.int8_product = k.int8_product_vnni if k.int8_product_vnni != NULL and has_dots() else k.int8_product
    for l in range(net.n_layers):
        layer, to = &net.layers[l], &net.int8[l]
        w, scale, b, gamma, alpha, codes = layers[l]
        n_fours = (layer.n_in + 4 * FNN_SUMMED - 1) // (4 * FNN_SUMMED) * FNN_SUMMED
        W = <int8_t *> memory.take(layer.out_panels, n_fours * nr * 4)
        sums, scales = <int32_t *> memory.take(layer.out_panels, nr * 4), memory.take(layer.out_panels, nr * 4)
        for i in range(layer.n_out):
            for j in range(layer.n_in):
                W[((i // nr * n_fours + j // 4) * nr + i % nr) * 4 + j % 4] = w[i, j]
                sums[i] += w[i, j]
        memcpy(scales, address(scale), layer.n_out * 4)
        load_vector(layer.n_out, b, <char *> net.norms[l].beta if net.norms[l].kind else layer.b)
        load_vector(layer.n_out, gamma, <char *> net.norms[l].gamma)
        load_vector(layer.n_out, alpha, net.alpha[l])
        to.panels = <fnn_int8 *> memory.take(layer.out_panels, sizeof(fnn_int8))
        for p in range(layer.out_panels):
            to.panels[p] = fnn_int8(W + p * n_fours * nr * 4, sums + p * nr, <float *> scales + p * nr,
                                    <float *> layer.b + p * nr)
        if codes is not None:
            to.codes.scale, to.codes.inverse, to.codes.zero = codes
    return 0


cdef int load_vector(Py_ssize_t n, vector, char *to) except -1:
    if vector is not None:
        memcpy(to, address(vector), n * 4)
    return 0


cdef class Frozen:
    """A network's weights in panels, for prediction alone. Trusts its caller but for the arguments of a call.

    Parameters
    ----------
    sizes, activations, output, loss, bias, dtype, input_scale
        As of `engine.Engine`.
    theta : (n_parameters,) array of dtype
    norms, statistics, phi
        As of `engine.Engine`, and of its `load`.
    int8 : list of tuples, optional
        In place of theta and statistics, of each layer w (n_out, n_in) int8, its scale (n_out,), b, gamma and alpha, (n_out,) or
        None, all float32; (scale, inverse, zero) of its inputs' codes, or in all layers None: each row has its own.
    bfloat16 : bool
        As of `engine.Engine`.
    max_batch : int
        The most rows of a call; 0: any number.
    alone : bool
        Whether a single row is to keep to one core.
    """

    cdef Net net
    cdef Memory memory
    cdef void *idle                  # buffers of the last pass
    cdef int type_number, kind       # of the weights, as NumPy and as kernels.h count them
    cdef Py_ssize_t n_in, n_out, most
    cdef double row_flops
    cdef bint alone                  # no other core may help with a row
    cdef size_t row_bytes            # of one buffer of a single row

    def __init__(self, sizes, activations, output, loss, bias, str dtype, theta, norms, statistics, double input_scale=1,
                 phi=None, Py_ssize_t max_batch=0, int8=None, bint bfloat16=False, bint alone=False):
        memory = Memory()
        make_net(&self.net, memory, sizes, activations, output, loss, bias, dtype, False, norms, input_scale, phi, int8 is None,
                 bfloat16)
        if int8 is None:
            load_net(&self.net, address(theta), THETA)
            load_statistics(&self.net, address(statistics))
        else:
            load_int8(&self.net, memory, int8)
        fold(&self.net, memory)
        self.type_number = np.NPY_FLOAT32 if dtype == "float32" else np.NPY_FLOAT64
        self.kind = fnn_kind_float32 if dtype == "float32" else fnn_kind_float64
        self.n_in, self.n_out, self.most = sizes[0], sizes[len(sizes) - 1], max_batch
        self.alone = alone or int8 is not None or bfloat16
        self.row_flops = flops(&self.net, 1, 1)
        self.row_bytes = (widest_panels(&self.net, NULL) * self.net.k.nr * self.net.k.item + 63) // 64 * 64
        self.memory = memory  # last: from here on it can be called

    def __dealloc__(self):
        free_room(&self.idle)
        leave_helper(self.net.layers)

    cdef int check_made(self) except -1:
        if self.memory is None:
            raise TypeError("a predictor must be made by Model.predictor: this one has no weights")
        return 0

    def threads(self):
        """The most threads that a call may use."""
        return 1

    def convert(self, x, out):
        """The call for arguments that are not arrays of the right kind: convert and call again, or raise."""
        raise TypeError(f"x must be an array of shape ({self.n_in},) or (n, {self.n_in})")

    def __call__(self, x, out=None):
        """h^(K) of one sample or of many.

        Parameters
        ----------
        x : array, (n_in,) or (n, n_in)
            Used as it is if it is C-contiguous and of the model's dtype, converted otherwise. No rows give no rows.
        out : array, (n_out,) or (n, n_out), optional
            Where to write the result: C-contiguous, writable, of the model's dtype.

        Returns
        -------
        array, (n_out,) or (n, n_out)
            `out` where given.

        Raises
        ------
        ValueError, TypeError
            Wrong shapes or kinds, more rows than `max_batch`, or numbers that are not finite (then `out` may be written in part).
        """
        cdef np.npy_intp shape[2]
        cdef np.npy_intp *came
        cdef fnn_features features
        cdef int dims
        self.check_made()
        if not (np.PyArray_CheckExact(x) and np.PyArray_TYPE(x) == self.type_number and np.PyArray_ISCARRAY_RO(x)):
            return self.convert(x, out)
        dims, came = np.PyArray_NDIM(x), np.PyArray_DIMS(x)
        if not (1 <= dims <= 2 and came[dims - 1] == self.n_in and came[0] > 0):
            return self.convert(x, out)
        if self.most and dims == 2 and came[0] > self.most:
            return self.convert(x, out)
        shape[0], shape[1] = self.n_out, self.n_out
        if dims == 2:
            shape[0] = came[0]
        if out is None:
            out = np.PyArray_SimpleNew(dims, shape, self.type_number)
        elif not self.fits(x, out, dims, shape):
            return self.convert(x, out)
        features.data, features.kind, features.scale = <const char *> np.PyArray_DATA(x), self.kind, 1
        features.indptr, features.indices = NULL, NULL
        features.column, features.row = self.net.k.item, self.n_in * self.net.k.item
        if not self.run(&features, <char *> np.PyArray_DATA(out), 1 if dims == 1 else shape[0]):
            return self.convert(x, out)
        return out

    cdef bint fits(self, x, out, int dims, const np.npy_intp *shape):
        """Whether the result can be written into `out`, and x lies elsewhere."""
        if not (np.PyArray_CheckExact(out) and np.PyArray_TYPE(out) == self.type_number and np.PyArray_ISCARRAY(out)):
            return False
        if np.PyArray_NDIM(out) != dims or np.PyArray_DIMS(out)[0] != shape[0] or np.PyArray_DIMS(out)[dims - 1] != self.n_out:
            return False
        a, b = <size_t> np.PyArray_DATA(x), <size_t> np.PyArray_DATA(out)
        return a + <size_t> np.PyArray_NBYTES(x) <= b or b + <size_t> np.PyArray_NBYTES(out) <= a

    def forward(self, X, out):
        """out (n, n_out) <- h^(K) of features as of `engine.Engine.train`; False if X is not finite."""
        cdef fnn_features features
        self.check_made()
        set_features(&self.net, &features, X)
        return self.run(&features, writable_address("out", out), len(X))

    def loss(self, X, y, out, int n_threads, weights=None, loss=None, const Py_ssize_t[::1] order=None):
        """As of `engine.Engine.loss`."""
        cdef Memory own = Memory()
        cdef Py_ssize_t n = len(X) if order is None else order.shape[0]
        cdef double *losses = <double *> own.take(n, sizeof(double))
        cdef fnn_targets targets
        cdef fnn_features features
        cdef Net net
        self.check_made()
        net = self.net
        if loss is not None:
            set_loss(&net.loss, own, loss, net.k)
        set_features(&net, &features, X)
        set_targets(&targets, y, weights)
        targets.order = NULL
        if not forward_rows(&net, &self.idle, &features, NULL if order is None else &order[0], writable_address("out", out),
                            &targets, losses, n, n_threads):
            return NAN
        return mean(losses, n, weight_of(&targets, 0, n))

    cdef int run(self, const fnn_features *X, char *out, Py_ssize_t n) except -1:
        """out <- h^(K) of n rows; 0 if X is not finite."""
        cdef size_t scratch_size = scratch_bytes(self.net.k, self.n_out)
        cdef bint helped
        if n > 1:
            return forward_rows(&self.net, &self.idle, X, NULL, out, NULL, NULL, n,
                                1 if n * self.row_flops < QUICK else self.threads())
        helped = self.row_flops >= QUICK and not self.alone and not limited_to_one()
        if helped and helper_wanted():
            start_helper(self.threads() > 1)
        if not as_they_lie(self.net.k, X) or 2 * self.row_bytes + scratch_size + entries_bytes(&self.net, 1) > ON_STACK:
            return forward_rows(&self.net, &self.idle, X, NULL, out, NULL, NULL, 1, 1, helped)
        if self.row_flops < QUICK:
            return forward_row(&self.net, X, out, self.row_bytes, False)
        with nogil:
            return forward_row(&self.net, X, out, self.row_bytes, helped)


cdef class Mean:
    """sum_m w_m f_m(x) of several networks f_m that take the same rows, in double and in order of m.

    The networks take a block of rows in turns: first to last, then last to first, so that the weights that one block has left in
    L2 serve the next. For single rows, whose time goes into reading weights, each call is a block.

    Parameters
    ----------
    members : list of Frozen
        Of the same n_in, n_out and dtype.
    """

    cdef list members
    cdef bint back           # the next block goes from the last to the first

    def __init__(self, list members):
        cdef Frozen first = members[0], member
        for member in members:
            member.check_made()
            if (member.n_in, member.n_out, member.kind) != (first.n_in, first.n_out, first.kind):
                raise ValueError("members must take and give the same numbers")
        self.members = members

    def __reduce__(self):
        return Mean, (self.members,)

    def __call__(self, X, const double[:, ::1] weights):
        """Means of rows X (n, n_in), an array as a member takes it, for each row of weights (n_means, n_members):
        (n_means, n, n_out) float64. ValueError if X is not finite."""
        cdef Py_ssize_t M = len(self.members), start, rows, turn, m
        cdef np.npy_intp shape[3]
        cdef Frozen member = self.members[0]
        cdef fnn_features features
        cdef char *f
        cdef bint back
        if not (np.PyArray_CheckExact(X) and np.PyArray_TYPE(X) == member.type_number and np.PyArray_ISCARRAY_RO(X)
                and np.PyArray_NDIM(X) == 2 and np.PyArray_DIMS(X)[1] == member.n_in and weights.shape[1] == M):
            raise ValueError(f"X must be an array of shape (n, {member.n_in}) of the members' dtype, weights of shape (n, {M})")
        features.kind, features.scale, features.indptr, features.indices = member.kind, 1, NULL, NULL
        features.column, features.row = member.net.k.item, member.n_in * member.net.k.item
        shape[0], shape[1], shape[2] = weights.shape[0], np.PyArray_DIMS(X)[0], member.n_out
        means = np.PyArray_ZEROS(3, shape, np.NPY_FLOAT64, 0)
        shape[0], shape[1] = M, min(shape[1], BLOCK_ROWS)
        each = np.PyArray_SimpleNew(3, shape, member.type_number)
        for start in range(0, np.PyArray_DIMS(X)[0], BLOCK_ROWS):
            rows = min(BLOCK_ROWS, np.PyArray_DIMS(X)[0] - start)
            features.data = <const char *> np.PyArray_DATA(X) + start * features.row
            back = self.back  # of this block to its end: other threads call, too
            for turn in range(M):
                m = M - 1 - turn if back else turn
                if not takes_part(weights, m):
                    continue
                member = self.members[m]
                f = <char *> np.PyArray_DATA(each) + m * rows * member.n_out * member.net.k.item
                if not member.run(&features, f, rows):
                    return member.convert(X, None)  # says where
            self.back = not back
            add_means(&weights[0, 0], weights.shape[0], M, np.PyArray_DATA(each), member.kind, rows * member.n_out,
                      <double *> np.PyArray_DATA(means) + start * member.n_out, np.PyArray_DIMS(X)[0] * member.n_out)
        return means


cdef bint takes_part(const double[:, ::1] weights, Py_ssize_t m) noexcept:
    """Whether some mean has a share of member m."""
    cdef Py_ssize_t i
    for i in range(weights.shape[0]):
        if weights[i, m] != 0:
            return True
    return False


cdef void add_means(const double *weights, Py_ssize_t n_means, Py_ssize_t M, const void *f, int kind, Py_ssize_t n, double *means,
                    Py_ssize_t stride) noexcept nogil:
    """means[i] += sum_m weights[i][m] f[m], of n numbers each; stride: from one mean to the next."""
    cdef Py_ssize_t i, m, j
    cdef double w
    for i in range(n_means):
        for m in range(M):
            w = weights[i * M + m]
            if w == 0:
                continue
            for j in range(n):
                if kind == fnn_kind_float32:
                    means[i * stride + j] += w * (<const float *> f)[m * n + j]
                else:
                    means[i * stride + j] += w * (<const double *> f)[m * n + j]


def calibrate(
    double[:, ::1] p,   # (n, n_classes)  in and out
    double smoothing, double temperature, double least,
):
    """p <- softmax(ln(q) / temperature), q = (p - smoothing / n_classes) / (1 - smoothing), `least` at least. One thread."""
    cdef const fnn_kernels *k = kernels_for(sizeof(double))
    cdef Memory memory
    cdef unsigned long long mode
    if p.shape[0] == 0:
        return
    memory = Memory()
    mode = fp_enter()
    k.calibrate(p.shape[0], p.shape[1], smoothing, temperature, least, &p[0, 0], memory.take(1, scratch_bytes(k, p.shape[1])))
    fp_leave(mode)


cdef int forward_row(const Net *net, const fnn_features *x, char *out, size_t size, bint helped) noexcept nogil:
    """forward_chunk of one row, with its buffers on the stack."""
    cdef char stack[ON_STACK + 64]
    cdef char *room = stack + 64 - <size_t> stack % 64
    cdef unsigned long long mode = fp_enter()
    cdef int finite = forward_chunk(net, x, NULL, out, 1, 0, NULL, NULL, size, room, helped)
    fp_leave(mode)
    return finite
