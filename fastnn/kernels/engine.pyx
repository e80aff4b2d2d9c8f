"""Passes over a whole network: mini-batches one after another in one nogil call.

Built from forward, output_delta, backward and update.

A step on several threads, all inside one parallel region: each thread owns output panels in the forward pass and the same
panels in the gradient, so its part of W stays in its own L2; where panels are too few it owns rows instead. The output layer
is row-owned, without barriers between its forward pass, the loss and its delta. Who owns what changes no sum's order, so
it changes no bit.
"""
from cython.parallel cimport parallel, threadid
from libc.math cimport sqrt
from libc.stdint cimport int32_t
from libc.string cimport memset

from fastnn.kernels._cpu cimport (
    FNN_BATCH_NORM, FNN_LAYER_NORM, FNN_MAX_STATES, Memory, all_share, fnn_activation, fnn_barrier, fnn_entry, fnn_features,
    fnn_identity, fnn_kernels, fnn_norm, fnn_prefetch, fnn_sgd, fnn_targets, fnn_team_size, fp_enter, fp_leave, keeps, plain,
    seconds, wait, worth,
)
from fastnn.kernels.backward cimport Entries, delta_and_gradient_part, gradient_part, gradient_sparse_part, hidden_delta_part
from fastnn.kernels.forward cimport forward_part, forward_sparse_part, perturb_part
from fastnn.kernels.net cimport (
    Buffers, Net, Run, address, as_they_lie, folded, kept, load_net, load_statistics, make_net, set_features, set_targets,
    slope_of, store_net, store_statistics, work,
)
from fastnn.kernels.normalise cimport (
    normalise_delta_part, normalise_gradient_part, normalise_part, normalise_update_part,
)
from fastnn.kernels.online cimport train_online
from fastnn.kernels.output_delta cimport mean, scratch_bytes, weight_of
from fastnn.kernels.pace cimport Pace, next_stretch, took
from fastnn.kernels.panels cimport (
    L2_BYTES, Layer, at, bias_panels, pack, panels, prepare_transpose, row_room, unpack, weight_panels,
)
from fastnn.kernels.predict cimport forward_rows, free_room
from fastnn.kernels.update cimport Slots, Step, as_rates, correct, limit_part, squares_part, unit_squares, update_part

from fastnn.kernels._cpu import STATES

cdef Py_ssize_t KEEP = 256     # rows at a time when the gradient itself is asked for
cdef Py_ssize_t CHUNK = 128    # rows at a time in training, at least
cdef Py_ssize_t SHORT = 32     # rows of a mini-batch whose time goes into reading weights
cdef double IDLE = 0.01        # seconds after which caches and threads are cold
cdef double RUN = 16           # how much more threads are worth in a run of steps than in a pass alone


cdef inline bint owns_panels(Py_ssize_t n_panels, int threads) noexcept nogil:
    """Whether threads share a layer by panels: even shares, or so many that uneven ones cost little."""
    return n_panels >= 2 * threads or n_panels % threads == 0


cdef inline Py_ssize_t chunk_at(const Run *run, Py_ssize_t first) noexcept nogil:
    """Rows that pass through the network together from row `first` on: an even share of its mini-batch."""
    cdef Py_ssize_t start = first // run.batch * run.batch, b = min(run.batch, run.n - start)
    cdef Py_ssize_t n_chunks = (b + run.chunk - 1) // run.chunk
    return min((b + n_chunks - 1) // n_chunks, start + b - first) if first < run.n else 0


cdef inline bint all_finite(const Run *run, int threads) noexcept nogil:
    cdef int t
    for t in range(threads):
        if not run.finite[t]:
            return False
    return True


cdef void train_thread(const Net *net, const Buffers *buffers, Run *run, int t, int threads) noexcept nogil:
    """Thread t's part of every step."""
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t stride = buffers.stride, K = net.n_layers, n_K = net.layers[K - 1].n_out
    cdef Py_ssize_t s, l, first, start, b, rows, r0, r1, next_rows, units, total_units = 0
    cdef char *scratch = run.scratch + t * run.scratch_size
    cdef const char *h_prev
    cdef const char *h0
    cdef const char *slope
    cdef fnn_activation g
    cdef char *d
    cdef char *d_part  # what the product's last lines write of d
    cdef char *h0_next
    cdef const Layer *layer
    cdef const fnn_norm *norm
    cdef Py_ssize_t p0, p1, a0, a1, s0, s1  # my panels; panels and rows of what I do
    cdef bint rows_owned, met  # what I read next: my own rows; written before the last barrier
    cdef bint last, wanted = run.step.apply, clipped = wanted and run.step.rates.clip_norm > 0, sparse = run.X.indptr != NULL
    cdef fnn_prefetch coming
    cdef Entries entries
    cdef double weight = 0, scale
    cdef Step step = run.step

    entries.ends = <Py_ssize_t *> (scratch + run.scratch_size - entries_bytes(net, run))
    entries.entries = <fnn_entry *> (entries.ends + net.layers[0].in_panels)
    entries.values = <char *> (entries.entries + run.n_entries)
    for l in range(K):
        total_units += net.layers[l].in_panels * net.layers[l].out_panels
    first, rows, h0, h0_next = 0, chunk_at(run, 0), buffers.h0[0], buffers.h0[1]
    gather_rows(net, run, buffers.h0[0], stride, 0, rows * t // threads, rows * (t + 1) // threads)
    wait(&run.barrier, threads)

    while rows:
        s = first // run.batch
        start = s * run.batch
        b = min(run.batch, run.n - start)
        last = first + rows == start + b
        if run.squares != NULL and first == start:
            weight_squares_part(net, t, threads)
        r0, r1 = rows * t // threads, rows * (t + 1) // threads
        rows_owned, met = True, True

        # Forward: h[l + 1] = g(h[l] W^T + b), or normalised in between.
        for l in range(K):
            layer, norm = &net.layers[l], &net.norms[l]
            h_prev = h0 if l == 0 else buffers.h[l]
            d = kept(net, buffers, run, l + 1) if l + 1 < K else NULL
            p0, p1 = layer.out_panels * t // threads, layer.out_panels * (t + 1) // threads
            g = plain(fnn_identity) if norm.kind else net.activations[l]
            if l == 0 and sparse:
                rows_owned, a0, a1, s0, s1 = True, 0, layer.out_panels, r0, r1
            elif owns_panels(layer.out_panels, threads):
                if not met:
                    wait(&run.barrier, threads)
                rows_owned, a0, a1, s0, s1 = False, p0, p1, 0, rows
            else:
                if not (met or rows_owned):
                    wait(&run.barrier, threads)
                rows_owned, a0, a1, s0, s1 = True, 0, layer.out_panels, r0, r1
            met = False
            d_part = NULL if norm.kind else d
            if l == 0 and sparse:
                forward_sparse_part(k, layer, &run.X, run.order, first + r0, at(k, buffers.h[1], r0 * k.nr),
                                    NULL if d_part == NULL else at(k, d_part, r0 * k.nr), stride, g, r1 - r0)
            else:
                forward_part(k, layer, h_prev, buffers.h[l + 1], d_part, stride, g, a0, a1, s0, s1)
            if norm.kind:
                if rows_owned and norm.kind == FNN_BATCH_NORM:
                    wait(&run.barrier, threads)
                    rows_owned, a0, a1, s0, s1 = False, p0, p1, 0, rows
                elif not rows_owned and norm.kind == FNN_LAYER_NORM:
                    wait(&run.barrier, threads)
                    rows_owned, a0, a1, s0, s1 = True, 0, layer.out_panels, r0, r1
                normalise_part(k, norm, layer.n_out, wanted, buffers.h[l + 1], buffers.xhat[l + 1], buffers.inv[l + 1], d, stride,
                               net.activations[l], a0, a1, s0, s1)
            if run.perturbs and l + 1 < K:
                perturb_part(k, layer.n_out, buffers.h[l + 1], d, stride, &net.draws[l + 1], run.number + s, first - start,
                             a0, a1, s0, s1)

        # Output: L and delta[K], my rows.
        if not (met or rows_owned):
            wait(&run.barrier, threads)
        rows_owned, met = True, False
        if first == start:
            weight = weight_of(&run.y, start, b)
            step.rates.l2 = run.step.rates.l2 + (run.step.rates.ridge / weight if weight > 0 else 0)
        scale = 1.0 / weight if weight > 0 else 0  # the mean over the batch goes into delta
        run.finite[t] = (r1 == r0 or k.output_delta(
            r1 - r0, n_K, at(k, buffers.h[K], r0 * k.nr), stride, NULL, at(k, buffers.delta[K], r0 * k.nr), &run.y,
            first + r0, net.output, &net.loss, scale, buffers.losses + first - start + r0, scratch)
        ) and (first == start or run.finite[t])

        # Backward: delta[l] = (du[l + 1] W) * g'(a[l]), du = delta but where normalised.
        step.summed = clipped or not (wanted and first == start and last)
        step.first, step.apply = first == start, wanted and last and not clipped
        if run.learning_rates != NULL:
            step.rates.learning_rate = run.learning_rates[s]
        correct(&step.rates, run.taken + s + 1)
        for l in range(K - 1, 0, -1):
            layer = &net.layers[l]
            slope = slope_of(net, buffers, run, l, &g)
            if step_at_once(layer, &step, rows):
                if not met:
                    wait(&run.barrier, threads)
                if not all_finite(run, threads):  # known before theta moves: all threads stop here
                    break
                delta_and_gradient_part(k, layer, &net.slots[l], &step, buffers.du[l + 1], buffers.h[l], slope,
                                        buffers.delta[l], stride, g, rows,
                                        layer.in_panels * t // threads, layer.in_panels * (t + 1) // threads, scratch)
                rows_owned, met = False, False
            elif owns_panels(layer.in_panels, threads) and not (rows_owned and layer.out_panels <= 2 and threads > 1):
                if not met:
                    wait(&run.barrier, threads)
                hidden_delta_part(k, layer, buffers.du[l + 1], slope, buffers.delta[l], stride,
                                  g, layer.in_panels * t // threads, layer.in_panels * (t + 1) // threads, 0, rows)
                rows_owned, met = False, False
            else:
                if not (met or rows_owned):
                    wait(&run.barrier, threads)
                hidden_delta_part(k, layer, buffers.du[l + 1], slope, buffers.delta[l], stride,
                                  g, 0, layer.in_panels, r0, r1)
                rows_owned, met = True, False
            norm = &net.norms[l - 1]
            if norm.kind:
                if rows_owned != (norm.kind == FNN_LAYER_NORM):
                    wait(&run.barrier, threads)
                    rows_owned = not rows_owned
                normalise_delta_part(k, norm, layer.n_in, buffers.delta[l], buffers.xhat[l], buffers.inv[l], buffers.du[l],
                                     stride, layer.in_panels * t // threads, layer.in_panels * (t + 1) // threads,
                                     r0 if rows_owned else 0, r1 if rows_owned else rows)
        wait(&run.barrier, threads)

        if last:
            if t == 0:
                run.losses[s] = mean(buffers.losses, b, weight)
                if run.squares != NULL:
                    run.squares[s] = total_squares(net)
            if not all_finite(run, threads):
                return
            if t == 0:
                run.done = s + 1

        # Gradient and update, my panels; the rows that follow come near meanwhile.
        next_rows = chunk_at(run, first + rows)
        r0, r1 = next_rows * t // threads, next_rows * (t + 1) // threads
        coming.X = NULL
        if r1 > r0 and run.order != NULL and run.row_bytes:
            coming.X, coming.order, coming.row, coming.next = run.X.data, run.order + first + rows + r0, run.X.row, 0
            coming.row_bytes = run.row_bytes
            coming.last = (r1 - r0) * ((coming.row_bytes + 63) // 64 + 1)
            coming.lines_a_tile = coming.last * threads // (total_units * ((k.nr + k.mr - 1) // k.mr)) + 1
        for l in range(K):
            layer, norm = &net.layers[l], &net.norms[l]
            if norm.kind:
                normalise_gradient_part(k, norm, &net.slots[l], &step, buffers.delta[l + 1], buffers.xhat[l + 1], stride, rows,
                                        layer.out_panels * t // threads, layer.out_panels * (t + 1) // threads, scratch)
            if l and step_at_once(layer, &step, rows):
                continue
            if l == 0 and sparse:
                gradient_sparse_part(k, layer, &net.slots[0], &step, buffers.du[1], &run.X, run.order, first, stride, rows,
                                     layer.in_panels * t // threads, layer.in_panels * (t + 1) // threads, scratch, &entries)
                continue
            units = layer.in_panels * layer.out_panels
            gradient_part(k, layer, &net.slots[l], &step, buffers.du[l + 1], buffers.h[l] if l else h0, stride, rows,
                          units * t // threads, units * (t + 1) // threads, scratch, &coming)
        if last and clipped:  # the whole gradient before any weight moves
            wait(&run.barrier, threads)
            for l in range(K):
                layer = &net.layers[l]
                squares_part(k, layer, &net.norms[l], &net.slots[l], layer.out_panels * t // threads,
                             layer.out_panels * (t + 1) // threads)
            wait(&run.barrier, threads)
            step.rates.clip = clip(net, step.rates.clip_norm)
            for l in range(K):
                layer = &net.layers[l]
                units = layer.in_panels * layer.out_panels
                update_part(k, layer, &net.slots[l], &step, units * t // threads, units * (t + 1) // threads)
                if net.norms[l].kind:
                    normalise_update_part(k, &net.norms[l], &net.slots[l], &step, layer.out_panels * t // threads,
                                          layer.out_panels * (t + 1) // threads)
        if last and wanted and step.rates.max_norm > 0:
            wait(&run.barrier, threads)
            for l in range(K):
                layer = &net.layers[l]
                limit_part(k, layer, step.rates.max_norm, layer.out_panels * t // threads, layer.out_panels * (t + 1) // threads)
        first += rows
        if r1 > r0:
            gather_rows(net, run, h0_next, stride, first, r0, r1)
        rows, h0, h0_next = next_rows, h0_next, <char *> h0
        wait(&run.barrier, threads)


cdef void weight_squares_part(const Net *net, int t, int threads) noexcept nogil:
    """slots.squares <- of each unit, the sum of its incoming weights' squares; my panels."""
    cdef Py_ssize_t l, p
    cdef const Layer *layer
    for l in range(net.n_layers):
        layer = &net.layers[l]
        for p in range(layer.out_panels * t // threads, layer.out_panels * (t + 1) // threads):
            unit_squares(net.k, layer, layer.Wp, p, net.slots[l].squares + p * net.k.nr)


cdef double total_squares(const Net *net) noexcept nogil:
    """The sum of slots.squares over layers and units in their order."""
    cdef Py_ssize_t l, i
    cdef double total = 0
    for l in range(net.n_layers):
        for i in range(net.layers[l].n_out):
            total += net.slots[l].squares[i]
    return total


cdef double clip(const Net *net, double most) noexcept nogil:
    """What the gradient, whose squares stand in slots.squares, is multiplied with so that its norm is at most `most`."""
    cdef double by = most / (sqrt(total_squares(net)) + 1e-6)
    return by if by < 1 else 1  # one that is not a number stops at the loss that follows


cdef inline bint step_at_once(const Layer *layer, const Step *step, Py_ssize_t rows) noexcept nogil:
    """Whether the backward pass of a layer and the step on its weights go through them together: where few rows make
    that the larger part of the time."""
    return layer.far and step.apply and rows <= SHORT


cdef void gather_rows(const Net *net, const Run *run, char *h0, Py_ssize_t stride, Py_ssize_t first, Py_ssize_t r0,
                      Py_ssize_t r1) noexcept nogil:
    """h[0], rows r0..r1 of the mini-batch that starts at `first`. CSR rows are used as they lie."""
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t n = net.layers[0].n_in
    if run.X.indptr != NULL:
        return
    if not as_they_lie(k, &run.X) or run.X.row != n * k.item:
        k.gather_features(r1 - r0, n, &run.X, run.order, first + r0, at(k, h0, r0 * k.nr), stride)
    elif run.order == NULL:
        k.gather(r1 - r0, n, at(k, run.X.data, (first + r0) * n), NULL, at(k, h0, r0 * k.nr), stride)
    else:
        k.gather(r1 - r0, n, run.X.data, run.order + first + r0, at(k, h0, r0 * k.nr), stride)
    if run.perturbs:
        perturb_part(k, n, h0, NULL, stride, &net.draws[0], run.number + first // run.batch, first % run.batch, 0,
                     net.layers[0].in_panels, r0, r1)


cdef inline bint plain_sgd(const Net *net, const Run *run) noexcept nogil:
    """Whether a step is theta -= alpha g alone, of h = g(h_prev W^T + b) as they are."""
    return (run.step.apply and run.step.optimizer == fnn_sgd and not run.step.rates.regular and run.step.rates.max_norm == 0
            and not run.perturbs and not net.normalised and run.squares == NULL)


cdef inline Py_ssize_t entries_bytes(const Net *net, const Run *run) noexcept nogil:
    """What a thread needs to sort the entries of CSR rows."""
    if run.X.indptr == NULL:
        return 0
    return (net.layers[0].in_panels * sizeof(Py_ssize_t) + run.n_entries * (sizeof(fnn_entry) + net.k.item) + 63) // 64 * 64


cdef Py_ssize_t most_entries(const Run *run) noexcept nogil:
    """The most entries of CSR rows that pass through the network together."""
    cdef Py_ssize_t most = 0, first = 0, rows = chunk_at(run, 0), r, row, n
    while rows:
        n = 0
        for r in range(first, first + rows):
            row = r if run.order == NULL else run.order[r]
            n += run.X.indptr[row + 1] - run.X.indptr[row]
        most = max(most, n)
        first += rows
        rows = chunk_at(run, first)
    return most


cdef class Engine:
    """A network's weights in panels, and passes over it. Trusts its caller: Python checks and converts all arguments before.

    Parameters
    ----------
    sizes : tuple of int
        Widths n_0..n_K.
    activations : tuple of int or (int, float)
        Ids of ``_cpu.ACTIVATIONS``, or ids and parameters, one for each hidden layer.
    output : int or (int, float)
        Of ``_cpu.OUTPUTS``.
    loss : (int, dict)
        Id of ``_cpu.LOSSES``, and the loss's settings.
    optimizer : int
        Id of ``_cpu.OPTIMIZERS``.
    bias : tuple of bool
        One for each layer.
    dtype : {"float32", "float64"}
    batch : int
        The most rows of a mini-batch that `train` will see.
    dropout, noise : tuple of float
        For the inputs and for each hidden layer; empty: none. CSR rows take none at the inputs.
    norms : tuple of (int, float, float) or None
        For each hidden layer: id of ``_cpu.NORMS``, epsilon, and batch normalisation's momentum; empty: none.
    input_scale : float
        Integers among the features are multiplied by it.
    """

    cdef Net net
    cdef Buffers buffers       # of mini-batches
    cdef Buffers row           # of single samples, for the batch-1 path
    cdef Memory memory
    cdef void *idle            # of forward passes
    cdef Py_ssize_t batch
    cdef int optimizer
    cdef readonly int n_states
    cdef Pace pace
    cdef double ended          # when the last stretch of training did

    def __init__(self, sizes, activations, output, loss, bias, dtype, Py_ssize_t batch=1, int optimizer=0, dropout=(),
                 noise=(), norms=(), double input_scale=1):
        cdef Py_ssize_t l
        self.memory = Memory()
        self.batch, self.optimizer, self.n_states = batch, optimizer, STATES[optimizer]
        make_net(&self.net, self.memory, sizes, activations, output, loss, bias, dtype, batch > 1, norms, input_scale)
        for l in range(len(dropout)):
            self.net.draws[l].dropout, self.net.draws[l].noise = dropout[l], noise[l]
        self.net.perturbed = any(dropout) or any(noise)

    def __dealloc__(self):
        free_room(&self.idle)

    cdef int describe(self, fnn_features *features, X) except -1:
        """How X lies. CSR visits the first layer's weights by input: where they lay turned, they do no more."""
        cdef Layer *layer = &self.net.layers[0]
        cdef Slots *slots = &self.net.slots[0]
        cdef char **turned[2 + FNN_MAX_STATES]
        cdef char *W
        cdef Py_ssize_t i
        cdef Memory own
        set_features(&self.net, features, X)
        if features.indptr == NULL or not layer.turned:
            return 0
        own = Memory()
        W = own.take(layer.n_in * layer.n_out * self.net.k.item)
        turned[0], turned[1] = &layer.Wp, &slots.G
        for i in range(FNN_MAX_STATES):
            turned[2 + i] = &slots.state_W[i]
        for i in range(2 + FNN_MAX_STATES):
            if turned[i][0] != NULL:
                layer.turned = True
                unpack(self.net.k, layer, turned[i][0], NULL, W, NULL)
                layer.turned = False
                turned[i][0] = weight_panels(self.net.k, self.memory, layer)
                pack(self.net.k, layer, W, NULL, turned[i][0], NULL)
        return 0

    cdef int prepare(self, Buffers *b, Py_ssize_t capacity, Py_ssize_t batch, bint dense) except -1:
        """Room in b for mini-batches of `batch` rows, `capacity` at a time, at least; dense: with their inputs."""
        cdef const fnn_kernels *k = self.net.k
        cdef Py_ssize_t K = self.net.n_layers, l, s
        if b.batch < batch:
            b.losses = <double *> self.memory.take(batch * sizeof(double))
            b.batch = batch
        cdef Py_ssize_t stride = row_room(max(b.capacity, capacity)) * k.nr
        if b.capacity < capacity:
            b.h0[0] = NULL
        if dense and b.h0[0] == NULL:
            for s in range(2):
                b.h0[s] = self.memory.take(panels(k, self.net.layers[0].n_in) * stride * k.item)
        if b.capacity >= capacity:
            return 0
        b.h = <char **> self.memory.take((K + 1) * sizeof(char *))
        b.d = <char **> self.memory.take((K + 1) * sizeof(char *))
        b.delta = <char **> self.memory.take((K + 1) * sizeof(char *))
        b.du = <char **> self.memory.take((K + 1) * sizeof(char *))
        b.xhat = <char **> self.memory.take((K + 1) * sizeof(char *))
        b.inv = <char **> self.memory.take((K + 1) * sizeof(char *))
        for l in range(1, K + 1):
            b.h[l] = self.memory.take(self.net.layers[l - 1].out_panels * stride * k.item)
            if l < K and (keeps(self.net.activations[l - 1]) or self.net.draws[l].noise or self.net.draws[l].dropout):
                b.d[l] = self.memory.take(self.net.layers[l - 1].out_panels * stride * k.item)
            b.delta[l] = self.memory.take(self.net.layers[l - 1].out_panels * stride * k.item)
            b.du[l] = b.delta[l]
            if self.net.norms[l - 1].kind:
                b.xhat[l] = self.memory.take(self.net.layers[l - 1].out_panels * stride * k.item)
                b.du[l] = self.memory.take(self.net.layers[l - 1].out_panels * stride * k.item)
                b.inv[l] = self.memory.take(max(self.net.layers[l - 1].out_panels * k.nr, capacity) * k.item)
        b.list = <int32_t **> self.memory.take(K * sizeof(int32_t *))
        b.n_list = <Py_ssize_t *> self.memory.take(K * sizeof(Py_ssize_t))
        for l in range(K):
            b.list[l] = <int32_t *> self.memory.take((self.net.layers[l].n_in + 16) * sizeof(int32_t))
        b.stride = stride
        b.capacity = capacity
        return 0

    cdef Py_ssize_t chunk(self):
        """Rows that pass through the network at a time: so many that their activations stay in L2, but outweigh theta.

        For fewer rows than that, reading and writing weights and their gradient once more would cost more. Batch normalisation
        needs the whole mini-batch.
        """
        cdef Py_ssize_t l, row = 0, weights = 0
        if self.net.batch_normalised:
            return self.batch
        for l in range(self.net.n_layers):
            row += (self.net.layers[l].in_panels + self.net.layers[l].out_panels) * self.net.k.nr * self.net.k.item
            weights += self.net.layers[l].n_in * self.net.layers[l].n_out * self.net.k.item
        return max(CHUNK, max(L2_BYTES, weights) // row)

    cdef int set_keys(self, const unsigned long long[:, ::1] keys) except -1:
        cdef Py_ssize_t l
        for l in range(self.net.n_layers):
            self.net.draws[l].dropout_key[0] = keys[0, l] & 0xffffffff
            self.net.draws[l].dropout_key[1] = keys[0, l] >> 32
            self.net.draws[l].noise_key[0] = keys[1, l] & 0xffffffff
            self.net.draws[l].noise_key[1] = keys[1, l] >> 32
        return 0

    cdef int prepare_states(self) except -1:
        """Panels for the optimizer's state, zeros at first."""
        cdef Py_ssize_t l, s
        if self.n_states == 0 or self.net.slots[0].state_W[0] != NULL:
            return 0
        for l in range(self.net.n_layers):
            for s in range(self.n_states):
                self.net.slots[l].state_W[s] = weight_panels(self.net.k, self.memory, &self.net.layers[l])
                self.net.slots[l].state_b[s] = bias_panels(self.net.k, self.memory, &self.net.layers[l])
                if self.net.norms[l].kind:
                    self.net.slots[l].state_g[s] = bias_panels(self.net.k, self.memory, &self.net.layers[l])
        return 0

    cdef int prepare_squares(self) except -1:
        """Room for each unit's sum of squares."""
        cdef Py_ssize_t l
        for l in range(self.net.n_layers):
            if self.net.slots[l].squares == NULL:
                self.net.slots[l].squares = <double *> self.memory.take(
                    self.net.layers[l].out_panels * self.net.k.nr * sizeof(double))
        return 0

    cdef int prepare_gradients(self) except -1:
        """Panels for the gradient."""
        cdef Py_ssize_t l
        if self.net.slots[0].G != NULL:
            return 0
        for l in range(self.net.n_layers):
            self.net.slots[l].Gb = bias_panels(self.net.k, self.memory, &self.net.layers[l])
            if self.net.norms[l].kind:
                self.net.slots[l].Gg = bias_panels(self.net.k, self.memory, &self.net.layers[l])
        for l in range(self.net.n_layers - 1, -1, -1):  # layer 0 last: its G says that all are there
            self.net.slots[l].G = weight_panels(self.net.k, self.memory, &self.net.layers[l])
        return 0

    def load(self, theta, state=None, statistics=None):
        """Copy theta (n_parameters,), and the optimizer's state (n_states, n_parameters), into panels; and batch normalisation's
        running statistics: of each such layer mean and variance, (n_k,) each, one after another."""
        load_net(&self.net, address(theta), -1)
        for s in range(self.n_states if state is not None else 0):
            self.prepare_states()
            load_net(&self.net, address(state[s]), s)
        if statistics is not None:
            load_statistics(&self.net, statistics)

    def store(self, theta, state=None, statistics=None):
        """Copy theta, the optimizer's state and the running statistics back."""
        store_net(&self.net, address(theta), -1)
        for s in range(self.n_states if state is not None else 0):
            self.prepare_states()
            store_net(&self.net, address(state[s]), s)
        if statistics is not None:
            store_statistics(&self.net, statistics)

    cdef int _run(self, Run *run, y, weights, Py_ssize_t n, int nt) except -1:
        """The mini-batches of `run`, n rows, on nt threads."""
        cdef Net *net = &self.net
        cdef const fnn_kernels *k = net.k
        cdef bint online = run.batch == 1 and self.batch == 1 and plain_sgd(net, run) and weights is None
        cdef unsigned long long mode = 0
        cdef Memory own = Memory()
        cdef Py_ssize_t l
        cdef bint dense = run.X.indptr == NULL
        set_targets(&run.y, y, weights)
        run.y.order = run.order
        run.n, run.done = n, 0
        run.row_bytes, run.n_entries = 0, 0
        if dense and 0 < run.X.column <= 8:
            run.row_bytes = run.X.column * net.layers[0].n_in
        if not dense:
            run.chunk = run.batch if run.step.apply else run.chunk
            run.n_entries = most_entries(run)
        run.scratch_size = max(scratch_bytes(k, net.layers[net.n_layers - 1].n_out), k.nr * k.nr * k.item)
        run.scratch_size = (run.scratch_size + 63) // 64 * 64 + entries_bytes(net, run)
        run.scratch = own.take(nt * run.scratch_size)
        run.finite = <int *> own.take(nt * sizeof(int))
        memset(&run.barrier, 0, sizeof(fnn_barrier))
        if online:
            self.prepare(&self.row, 1, 1, True)
            for l in range(1, net.n_layers):
                if not net.layers[l].far:
                    prepare_transpose(k, self.memory, &net.layers[l])
            with nogil:
                mode = fp_enter()
                train_online(net, &self.row, run)
                fp_leave(mode)
            return 0
        if run.chunk < run.batch or not run.step.apply or run.step.rates.clip_norm > 0:
            self.prepare_gradients()
        if run.squares != NULL or run.step.rates.clip_norm > 0:
            self.prepare_squares()
        self.prepare(&self.buffers, min(run.chunk, max(self.batch, min(run.batch, n))), max(self.batch, min(run.batch, n)), dense)
        with nogil, parallel(num_threads=nt):
            mode = fp_enter()
            train_thread(net, &self.buffers, run, threadid(), fnn_team_size())
            fp_leave(mode)
        return 0

    def train(self, X, y, const Py_ssize_t[::1] order, Py_ssize_t batch, dict rates, long long taken,
              double[::1] losses, int n_threads, double[::1] learning_rates=None, weights=None, keys=None,
              long long number=0, double[::1] squares=None):
        """One mini-batch after another over the rows X[order], a step after each.

        Parameters
        ----------
        X : (n, n_0) array of one of `_cpu.KINDS` with any strides, or CSR (`_arrays.CSR`)
        y : (n,) int32 labels, or (n, n_K) array of the engine's dtype
        order : (m,) intp
        batch : int
            Rows of a mini-batch; the last one may be smaller, and each step divides by its own size.
        rates : dict
            Of the optimizer: names of ``update.RATES``.
        taken : int
            Steps of the optimizer before these.
        losses : (ceil(m / batch),) float64
            Out: mean loss of each mini-batch, before its step.
        learning_rates : (ceil(m / batch),) float64, optional
            Of each step, in place of the one in `rates`.
        weights : (n,) float64 array, optional
            Of the samples: losses and gradients are sums of w_i L_i over the sum of w_i, and 0 where that is 0.
        keys : (2, K) uint64
            Where the engine has dropout or noise: the generators' keys, of dropout and of noise, for inputs and hidden layers.
        number : int
            Steps of all optimizers before these: what dropout and noise are drawn by.
        squares : (ceil(m / batch),) float64, optional
            Out: the sum of the squares of all weights (not biases) before each step, in double and a fixed order.

        Returns
        -------
        int
            Steps taken: fewer than ``len(losses)`` if a mini-batch's loss was not finite; that step was not taken.
        """
        cdef Run run
        cdef Py_ssize_t n = order.shape[0], steps = (n + batch - 1) // batch, done = 0, stretch
        cdef int most, nt
        cdef double start
        if n == 0:
            return 0
        self.prepare_states()
        self.describe(&run.X, X)
        run.step.apply, run.step.optimizer, run.step.n_states = True, self.optimizer, self.n_states
        run.step.rates, run.batch, run.chunk = as_rates(rates), batch, self.chunk()
        run.perturbs, run.squares = self.net.perturbed, NULL if squares is None else &squares[0]
        if run.perturbs:
            self.set_keys(keys)
        correct(&run.step.rates, taken + 1)  # threads go on from there
        # A run of steps pays for its threads once: far less work than a pass alone is worth a trial of more.
        most = worth(n_threads, RUN * work(&self.net, &run.X, len(X), min(batch, n), 3))
        if batch == 1 and plain_sgd(&self.net, &run):
            most = 1
        if seconds() - self.ended > IDLE:
            self.pace.warm = False
        while done < steps:
            stretch = steps - done
            nt = most
            if not all_share():
                stretch = next_stretch(&self.pace, most, stretch, &nt)
            run.order, run.losses, run.taken = &order[done * batch], &losses[done], taken + done
            run.learning_rates = NULL if learning_rates is None else &learning_rates[done]
            run.squares = NULL if squares is None else &squares[done]
            run.number = number + done
            start = seconds()
            self._run(&run, y, weights, min(stretch * batch, n - done * batch), nt)
            self.ended = seconds()
            took(&self.pace, run.done, self.ended - start)
            done += run.done
            if run.done < stretch:
                break
        return done

    def gradient(self, X, y, grad, int n_threads, weights=None):
        """Mean loss over all rows, weighted; grad (n_parameters,) <- its gradient, laid out like theta."""
        cdef Py_ssize_t n = len(X)
        cdef Run run
        cdef double loss
        run.step.apply, run.step.optimizer, run.step.n_states = False, fnn_sgd, 0
        run.step.rates, run.taken, run.learning_rates = as_rates({"learning_rate": 0}), 0, NULL
        run.number, run.perturbs, run.squares = 0, False, NULL
        run.order, run.batch, run.chunk, run.losses = NULL, n, n if self.net.batch_normalised else KEEP, &loss
        self.describe(&run.X, X)
        self._run(&run, y, weights, n, worth(n_threads, work(&self.net, &run.X, n, min(KEEP, n), 3)))
        if run.done:
            store_net(&self.net, address(grad), -2)
        else:
            grad[:] = float("nan")
        return loss

    def forward(self, X, out, int n_threads):
        """out (n, n_K) <- h^(K). Safe to call from several threads at once, between load and train."""
        cdef Memory own = Memory()
        cdef fnn_features features
        cdef Net net
        self.describe(&features, X)
        folded(&self.net, &net, own)
        forward_rows(&net, &self.idle, &features, address(out), NULL, NULL, len(X), n_threads)

    def loss(self, X, y, out, int n_threads, weights=None):
        """Mean loss over all rows, weighted; out (n, n_K) <- h^(K)."""
        cdef Memory own = Memory()
        cdef double *losses = <double *> own.take(len(X) * sizeof(double))
        cdef fnn_targets targets
        cdef fnn_features features
        cdef Net net
        self.describe(&features, X)
        folded(&self.net, &net, own)
        set_targets(&targets, y, weights)
        targets.order = NULL
        forward_rows(&net, &self.idle, &features, address(out), &targets, losses, len(X), n_threads)
        return mean(losses, len(X), weight_of(&targets, 0, len(X)))
