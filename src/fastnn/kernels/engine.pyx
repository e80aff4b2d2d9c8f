"""Passes over a whole network: mini-batches one after another in one nogil call.

Built from forward, output_delta, backward and update.

A step on several threads, all inside one parallel region: each thread owns output panels in the forward pass and the same
panels in the gradient, so its part of W stays in its own L2; where panels are too few it owns rows instead. The output layer
is row-owned, without barriers between its forward pass, the loss and its delta. Who owns what changes no sum's order, so
it changes no bit.
"""
from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport int32_t
from libc.string cimport memset

from fastnn.kernels._cpu cimport (
    FNN_SOFTMAX, Memory, bring_near, fnn_barrier, fnn_identity, fnn_kernels, fnn_prefetch, fnn_relu, fnn_sgd, fnn_targets,
    fnn_team_size, fp_enter, fp_leave, kernels_for, wait, worth,
)
from fastnn.kernels.backward cimport gradient_part, hidden_delta_part
from fastnn.kernels.forward cimport forward_part
from fastnn.kernels.output_delta cimport mean, scratch_bytes
from fastnn.kernels.panels cimport (
    Layer, at, bias_panels, make_layer, pack, panels, prepare_transpose, transpose, unpack, weight_panels,
)
from fastnn.kernels.update cimport Slots, Step, as_rates, correct

from fastnn.kernels._cpu import STATES

cdef Py_ssize_t CHUNK = 128    # rows of a forward pass outside training that one thread takes through all layers
cdef Py_ssize_t KEEP = 256     # rows of a mini-batch when the gradient itself is asked for
cdef Py_ssize_t SAMPLE = 64    # rows whose zeros are counted before an online run


cdef struct Net:
    const fnn_kernels *k
    Py_ssize_t n_layers
    Layer *layers              # [n_layers]
    Slots *slots               # [n_layers]
    int *activations           # [n_layers], the last identity: output_delta applies the output's
    int output, loss


cdef struct Buffers:
    # What a run of mini-batches needs beside the weights. h[k] and delta[k] are panels of `capacity` rows.
    Py_ssize_t capacity, stride
    char *h0[2]                # the batch in use and the one being gathered
    char **h                   # [n_layers + 1]; h[0] is not used
    char **delta               # [n_layers + 1]; delta[0] is not used
    double *losses             # [capacity]
    int32_t **list             # [n_layers]: numbers of a layer's inputs that are worth visiting (single rows) ...
    Py_ssize_t *n_list         # [n_layers]: ... and how many


cdef struct Run:
    const char *X
    const Py_ssize_t *order    # NULL: rows 0..n-1
    fnn_targets y
    Py_ssize_t n, batch
    Step step
    long long taken            # steps before this run
    double *losses             # mean loss of each mini-batch
    fnn_barrier barrier
    char *scratch              # a thread's: scratch_size bytes from thread * scratch_size
    Py_ssize_t scratch_size
    int *finite                # [threads]: this thread's losses of this step were finite
    Py_ssize_t done            # steps taken


cdef inline bint owns_panels(Py_ssize_t n_panels, int threads) noexcept nogil:
    """Whether threads share a layer by panels: even shares, or so many that uneven ones cost little."""
    return n_panels >= 2 * threads or n_panels % threads == 0


cdef void train_thread(const Net *net, const Buffers *buffers, Run *run, int t, int threads) noexcept nogil:
    """Thread t's part of every step."""
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t stride = buffers.stride, K = net.n_layers, n_0 = net.layers[0].n_in, n_K = net.layers[K - 1].n_out
    cdef Py_ssize_t s, l, p, first, b, r0, r1, next_first, next_b, units, total_units = 0
    cdef Py_ssize_t steps = (run.n + run.batch - 1) // run.batch
    cdef char *scratch = run.scratch + t * run.scratch_size
    cdef const char *h_prev
    cdef const Layer *layer
    cdef bint rows_owned, met  # what I read next: my own rows; written before the last barrier
    cdef fnn_prefetch coming
    cdef double scale
    cdef Step step = run.step

    for l in range(K):
        total_units += net.layers[l].in_panels * net.layers[l].out_panels
    b = min(run.batch, run.n)
    gather_rows(net, run, buffers.h0[0], stride, 0, b * t // threads, b * (t + 1) // threads)
    wait(&run.barrier, threads)

    for s in range(steps):
        first = s * run.batch
        b = min(run.batch, run.n - first)
        r0, r1 = b * t // threads, b * (t + 1) // threads
        rows_owned, met = True, True

        # Forward: h[l + 1] = g(h[l] W^T + b).
        for l in range(K):
            layer = &net.layers[l]
            h_prev = buffers.h0[s & 1] if l == 0 else buffers.h[l]
            if owns_panels(layer.out_panels, threads):
                if not met:
                    wait(&run.barrier, threads)
                forward_part(k, layer, h_prev, buffers.h[l + 1], stride, net.activations[l],
                             layer.out_panels * t // threads, layer.out_panels * (t + 1) // threads, 0, b)
                rows_owned, met = False, False
            else:
                if not (met or rows_owned):
                    wait(&run.barrier, threads)
                forward_part(k, layer, h_prev, buffers.h[l + 1], stride, net.activations[l], 0, layer.out_panels, r0, r1)
                rows_owned, met = True, False

        # Output: L and delta[K], my rows.
        if not (met or rows_owned):
            wait(&run.barrier, threads)
        rows_owned, met = True, False
        scale = 1.0 / (run.n if step.keep else b)  # the mean over the batch goes into delta
        run.finite[t] = r1 == r0 or k.output_delta(
            r1 - r0, n_K, at(k, buffers.h[K], r0 * k.nr), stride, NULL, at(k, buffers.delta[K], r0 * k.nr), &run.y,
            first + r0, net.output, net.loss, scale, buffers.losses + r0, scratch)

        # Backward: delta[l] = (delta[l + 1] W) * g'(a[l]).
        for l in range(K - 1, 0, -1):
            layer = &net.layers[l]
            if owns_panels(layer.in_panels, threads) and not (rows_owned and layer.out_panels <= 2 and threads > 1):
                if not met:
                    wait(&run.barrier, threads)
                hidden_delta_part(k, layer, buffers.delta[l + 1], buffers.h[l], buffers.delta[l], stride,
                                  net.activations[l - 1], layer.in_panels * t // threads,
                                  layer.in_panels * (t + 1) // threads, 0, b)
                rows_owned, met = False, False
            else:
                if not (met or rows_owned):
                    wait(&run.barrier, threads)
                hidden_delta_part(k, layer, buffers.delta[l + 1], buffers.h[l], buffers.delta[l], stride,
                                  net.activations[l - 1], 0, layer.in_panels, r0, r1)
                rows_owned, met = True, False
        wait(&run.barrier, threads)

        # The loss is known before theta moves: stop here if it is no number.
        if t == 0:
            run.losses[s] = mean(buffers.losses, b)
        for p in range(threads):
            if not run.finite[p]:
                return
        if t == 0:
            run.done = s + 1

        # Gradient and update, my panels; the rows of the next mini-batch come near meanwhile.
        next_first = first + b
        next_b = min(run.batch, run.n - next_first)
        r0, r1 = next_b * t // threads, next_b * (t + 1) // threads
        coming.X = NULL
        if r1 > r0 and run.order != NULL:
            coming.X, coming.order, coming.row_bytes, coming.next = run.X, run.order + next_first + r0, n_0 * k.item, 0
            coming.last = (r1 - r0) * ((coming.row_bytes + 63) // 64 + 1)
            coming.lines_a_tile = coming.last * threads // (total_units * ((k.nr + k.mr - 1) // k.mr)) + 1
        step.first = s == 0
        correct(&step.rates, run.taken + s + 1)
        for l in range(K):
            layer = &net.layers[l]
            units = layer.in_panels * layer.out_panels
            h_prev = buffers.h0[s & 1] if l == 0 else buffers.h[l]
            gradient_part(k, layer, &net.slots[l], &step, buffers.delta[l + 1], h_prev, stride, b,
                          units * t // threads, units * (t + 1) // threads, scratch, &coming)
        if r1 > r0:
            gather_rows(net, run, buffers.h0[(s + 1) & 1], stride, next_first, r0, r1)
        wait(&run.barrier, threads)


cdef void gather_rows(const Net *net, const Run *run, char *h0, Py_ssize_t stride, Py_ssize_t first, Py_ssize_t r0,
                      Py_ssize_t r1) noexcept nogil:
    """h[0], rows r0..r1 of the mini-batch that starts at `first`."""
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t n = net.layers[0].n_in
    if run.order == NULL:
        k.gather(r1 - r0, n, at(k, run.X, (first + r0) * n), NULL, at(k, h0, r0 * k.nr), stride)
    else:
        k.gather(r1 - r0, n, run.X, run.order + first + r0, at(k, h0, r0 * k.nr), stride)


cdef void train_online(const Net *net, const Buffers *buffers, Run *run) noexcept nogil:
    """Mini-batches of one, plain SGD, one thread: no tile has anything to reuse, so weights are passed over by rows.

    The update of layer 1 with sample t and its forward pass with sample t + 1 are one pass over W1, which visits only inputs
    that are not 0 in one of them; rows of later layers that belong to a dead ReLU are not visited.
    """
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t K = net.n_layers, n_0 = net.layers[0].n_in, t, l
    cdef Py_ssize_t *n = buffers.n_list
    cdef const Layer *layer
    cdef const char *x = row_of(net, run, 0)
    cdef const char *x_next
    cdef char *h
    cdef bint sparse = mostly_zeros(net, run, buffers.list[0])
    cdef double minus_rate = -run.step.rates.learning_rate

    for l in range(1, K):  # from here on every update keeps Wt in step
        transpose(k, &net.layers[l])
    layer = &net.layers[0]
    memset(buffers.h[1], 0, layer.out_panels * k.nr * k.item)
    k.row_product(n_0, NULL, x, layer.Wp, n_0 * k.nr, layer.out_panels, buffers.h[1])
    for t in range(run.n):
        if t + 2 < run.n:
            bring_near(row_of(net, run, t + 2), n_0 * k.item)
        # Forward from a[1], which is there already but for its bias.
        for l in range(K):
            layer, h = &net.layers[l], buffers.h[l + 1]
            if l > 0:
                n[l] = layer.n_in
                if net.activations[l - 1] == fnn_relu:
                    n[l] = k.nonzeros(layer.n_in, buffers.h[l], NULL, buffers.list[l])
                memset(h, 0, layer.out_panels * k.nr * k.item)
                k.row_product(n[l], listed(net, buffers, l), buffers.h[l], layer.Wp, layer.n_in * k.nr, layer.out_panels, h)
            k.row_activate(layer.n_out, h, layer.b, net.activations[l])
        if not k.output_delta(1, layer.n_out, h, k.nr, NULL, buffers.delta[K], &run.y, t, net.output, net.loss, 1.0,
                              run.losses + t, run.scratch):
            return

        # Backward: all deltas before any weight moves.
        for l in range(K - 1, 0, -1):
            layer = &net.layers[l]
            memset(buffers.delta[l], 0, layer.in_panels * k.nr * k.item)
            k.row_product(layer.n_out, NULL, buffers.delta[l + 1], layer.Wt, layer.out_panels * k.nr * k.nr,
                          layer.in_panels, buffers.delta[l])
            k.row_derivative(layer.n_in, buffers.delta[l], buffers.h[l], net.activations[l - 1])

        # Update: W -= alpha delta h_prev^T, with -alpha delta made first.
        for l in range(K - 1, -1, -1):
            layer = &net.layers[l]
            k.row_scale(layer.out_panels * k.nr, minus_rate, buffers.delta[l + 1], buffers.delta[l + 1])
            if layer.has_bias:
                k.row_add(layer.out_panels * k.nr, buffers.delta[l + 1], layer.b)
            if l > 0:
                k.row_update(n[l], listed(net, buffers, l), buffers.h[l], buffers.delta[l + 1], layer.Wp,
                             layer.n_in * k.nr, layer.out_panels)
                k.row_update(layer.n_out, NULL, buffers.delta[l + 1], buffers.h[l], layer.Wt,
                             layer.out_panels * k.nr * k.nr, layer.in_panels)
        run.done = t + 1
        if t + 1 == run.n:
            k.row_update(n_0, NULL, x, buffers.delta[1], layer.Wp, n_0 * k.nr, layer.out_panels)
            return
        x_next = row_of(net, run, t + 1)
        n[0] = k.nonzeros(n_0, x, x_next, buffers.list[0]) if sparse else n_0
        memset(buffers.h[1], 0, layer.out_panels * k.nr * k.item)
        k.row_update_product(n[0], buffers.list[0] if sparse else NULL, x, buffers.delta[1], x_next, layer.Wp, n_0 * k.nr,
                             layer.out_panels, buffers.h[1])
        x = x_next


cdef inline const int32_t *listed(const Net *net, const Buffers *buffers, Py_ssize_t l) noexcept nogil:
    """Which units of hidden layer l are worth visiting: those of a ReLU that are not dead; NULL: all."""
    return buffers.list[l] if net.activations[l - 1] == fnn_relu else NULL


cdef const char *row_of(const Net *net, const Run *run, Py_ssize_t i) noexcept nogil:
    return at(net.k, run.X, (i if run.order == NULL else run.order[i]) * net.layers[0].n_in)


cdef bint mostly_zeros(const Net *net, const Run *run, int32_t *room) noexcept nogil:
    """Whether lists of the inputs that are not 0 pay: two samples together leave out at least a third."""
    cdef Py_ssize_t n_0 = net.layers[0].n_in, rows = min(run.n, SAMPLE), some = 0, i
    for i in range(rows - 1):
        some += net.k.nonzeros(n_0, row_of(net, run, i), row_of(net, run, i + 1), room)
    return rows > 1 and some < (rows - 1) * n_0 * 2 // 3


cdef double flops(const Net *net, Py_ssize_t batch, int passes) noexcept nogil:
    """Work of a step (passes = 3) or a forward pass (1), in float32 operations; double takes twice as long."""
    cdef double total = 0
    cdef Py_ssize_t l
    for l in range(net.n_layers):
        total += <double> net.layers[l].n_in * net.layers[l].n_out * (passes if l or passes == 1 else passes - 1)
    return 2 * total * batch * net.k.item / 4


cdef class Engine:
    """A network's weights in panels, and passes over it. Trusts its caller: Python checks and converts all arguments before.

    Parameters
    ----------
    sizes : tuple of int
        Widths n_0..n_K.
    activations : tuple of int
        Ids of ``_cpu.ACTIVATIONS``, one for each hidden layer.
    output, loss, optimizer : int
        Ids of ``_cpu.OUTPUTS``, ``LOSSES``, ``OPTIMIZERS``.
    bias : tuple of bool
        One for each layer.
    dtype : {"float32", "float64"}
    batch : int
        The most rows of a mini-batch that `train` will see.
    """

    cdef Net net
    cdef Buffers buffers       # of mini-batches
    cdef Buffers row           # of single samples, for the batch-1 path
    cdef Memory memory
    cdef Py_ssize_t batch
    cdef int optimizer
    cdef readonly int n_states

    def __init__(self, sizes, activations, int output, int loss, bias, dtype, Py_ssize_t batch=1, int optimizer=0):
        cdef Py_ssize_t K = len(sizes) - 1, l
        cdef const fnn_kernels *k = kernels_for(4 if dtype == "float32" else 8)
        self.memory = Memory()
        self.batch, self.optimizer, self.n_states = batch, optimizer, STATES[optimizer]
        self.net.k, self.net.n_layers, self.net.output, self.net.loss = k, K, output, loss
        self.net.layers = <Layer *> self.memory.take(K * sizeof(Layer))
        self.net.slots = <Slots *> self.memory.take(K * sizeof(Slots))
        self.net.activations = <int *> self.memory.take(K * sizeof(int))
        for l in range(K):
            self.net.activations[l] = activations[l] if l < K - 1 else fnn_identity
            make_layer(k, self.memory, sizes[l], sizes[l + 1], bias[l], &self.net.layers[l])

    cdef int prepare(self, Buffers *b, Py_ssize_t capacity) except -1:
        """Room in b for mini-batches of `capacity` rows, at least."""
        cdef const fnn_kernels *k = self.net.k
        cdef Py_ssize_t K = self.net.n_layers, l, s
        if b.capacity >= capacity:
            return 0
        cdef Py_ssize_t stride = capacity * k.nr
        for s in range(2):
            b.h0[s] = self.memory.take(panels(k, self.net.layers[0].n_in) * stride * k.item)
        b.h = <char **> self.memory.take((K + 1) * sizeof(char *))
        b.delta = <char **> self.memory.take((K + 1) * sizeof(char *))
        for l in range(1, K + 1):
            b.h[l] = self.memory.take(self.net.layers[l - 1].out_panels * stride * k.item)
            b.delta[l] = self.memory.take(self.net.layers[l - 1].out_panels * stride * k.item)
        b.losses = <double *> self.memory.take(capacity * sizeof(double))
        b.list = <int32_t **> self.memory.take(K * sizeof(int32_t *))
        b.n_list = <Py_ssize_t *> self.memory.take(K * sizeof(Py_ssize_t))
        for l in range(K):
            b.list[l] = <int32_t *> self.memory.take((self.net.layers[l].n_in + 16) * sizeof(int32_t))
        b.stride = stride
        b.capacity = capacity
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
        return 0

    cdef int prepare_gradients(self) except -1:
        """Panels for the gradient."""
        cdef Py_ssize_t l
        if self.net.slots[0].G != NULL:
            return 0
        for l in range(self.net.n_layers):
            self.net.slots[l].Gb = bias_panels(self.net.k, self.memory, &self.net.layers[l])
        for l in range(self.net.n_layers - 1, -1, -1):  # layer 0 last: its G says that all are there
            self.net.slots[l].G = weight_panels(self.net.k, self.memory, &self.net.layers[l])
        return 0

    def load(self, theta, state=None):
        """Copy theta (n_parameters,), and the optimizer's state (n_states, n_parameters), into panels."""
        cdef const char *p = address(theta)
        cdef const char *v
        cdef Py_ssize_t n = len(theta), s, l, offset
        cdef Layer *layer
        for s in range(-1, self.n_states if state is not None else 0):
            if s >= 0:
                self.prepare_states()
            v = p if s < 0 else address(state) + s * n * self.net.k.item
            with nogil:
                offset = 0
                for l in range(self.net.n_layers):
                    layer = &self.net.layers[l]
                    pack(self.net.k, layer, at(self.net.k, v, offset),
                         at(self.net.k, v, offset + layer.n_in * layer.n_out) if layer.has_bias else NULL,
                         layer.Wp if s < 0 else self.net.slots[l].state_W[s],
                         layer.b if s < 0 else self.net.slots[l].state_b[s])
                    offset += layer.n_out * (layer.n_in + layer.has_bias)

    def store(self, theta, state=None):
        """Copy theta, and the optimizer's state, back."""
        self._store(address(theta), -1)
        for s in range(self.n_states if state is not None else 0):
            self.prepare_states()
            self._store(address(state[s]), s)

    cdef int _store(self, char *v, Py_ssize_t s) except -1:
        cdef Py_ssize_t l, offset = 0
        cdef Layer *layer
        with nogil:
            for l in range(self.net.n_layers):
                layer = &self.net.layers[l]
                unpack(self.net.k, layer,
                       layer.Wp if s == -1 else self.net.slots[l].G if s == -2 else self.net.slots[l].state_W[s],
                       layer.b if s == -1 else self.net.slots[l].Gb if s == -2 else self.net.slots[l].state_b[s],
                       at(self.net.k, v, offset),
                       at(self.net.k, v, offset + layer.n_in * layer.n_out) if layer.has_bias else NULL)
                offset += layer.n_out * (layer.n_in + layer.has_bias)
        return 0

    cdef int _run(self, Run *run, X, y, Py_ssize_t n, int n_threads) except -1:
        """The mini-batches of `run` on as many threads as the work is worth."""
        cdef Net *net = &self.net
        cdef const fnn_kernels *k = net.k
        cdef bint online = run.batch == 1 and run.step.optimizer == fnn_sgd and not run.step.keep
        cdef int nt = 1 if online else worth(n_threads, flops(net, min(run.batch, n), 3))
        cdef unsigned long long mode = 0
        cdef Memory own = Memory()
        cdef Py_ssize_t l
        run.X = address(X)
        set_targets(&run.y, y)
        run.y.order = run.order
        run.n, run.done = n, 0
        run.scratch_size = max(scratch_bytes(k, net.layers[net.n_layers - 1].n_out), k.nr * k.nr * k.item)
        run.scratch = own.take(nt * run.scratch_size)
        run.finite = <int *> own.take(nt * sizeof(int))
        memset(&run.barrier, 0, sizeof(fnn_barrier))
        if online:
            self.prepare(&self.row, 1)
            for l in range(1, net.n_layers):
                prepare_transpose(k, self.memory, &net.layers[l])
            with nogil:
                mode = fp_enter()
                train_online(net, &self.row, run)
                fp_leave(mode)
            return 0
        self.prepare(&self.buffers, max(self.batch, min(run.batch, n)))
        with nogil, parallel(num_threads=nt):
            mode = fp_enter()
            train_thread(net, &self.buffers, run, threadid(), fnn_team_size())
            fp_leave(mode)
        return 0

    def train(self, X, y, const Py_ssize_t[::1] order, Py_ssize_t batch, dict rates, long long taken,
              double[::1] losses, int n_threads):
        """One mini-batch after another over the rows X[order], a step after each.

        Parameters
        ----------
        X : (n, n_0) array of the engine's dtype, C-contiguous
        y : (n,) int32 labels, or (n, n_K) array of the engine's dtype
        order : (m,) intp
        batch : int
            Rows of a mini-batch; the last one may be smaller, and each step divides by its own size.
        rates : dict
            Of the optimizer: learning_rate, and momentum or beta1, beta2, epsilon.
        taken : int
            Steps of the optimizer before these.
        losses : (ceil(m / batch),) float64
            Out: mean loss of each mini-batch, before its step.

        Returns
        -------
        int
            Steps taken: fewer than ``len(losses)`` if a mini-batch's loss was not finite; that step was not taken.
        """
        cdef Run run
        if order.shape[0] == 0:
            return 0
        self.prepare_states()
        run.step.keep, run.step.first, run.step.optimizer, run.step.n_states = False, True, self.optimizer, self.n_states
        run.step.rates, run.taken = as_rates(rates), taken
        run.order, run.batch, run.losses = &order[0], batch, &losses[0]
        self._run(&run, X, y, order.shape[0], n_threads)
        return run.done

    def gradient(self, X, y, grad, int n_threads):
        """Mean loss over all rows; grad (n_parameters,) <- its gradient, laid out like theta."""
        cdef Py_ssize_t n = len(X), steps = (n + KEEP - 1) // KEEP, s
        cdef Memory own = Memory()
        cdef Run run
        cdef double total = 0
        self.prepare_gradients()
        run.step.keep, run.step.first, run.step.optimizer, run.step.n_states = True, True, fnn_sgd, 0
        run.step.rates, run.taken = as_rates({"learning_rate": 0}), 0
        run.order, run.batch, run.losses = NULL, KEEP, <double *> own.take(steps * sizeof(double))
        self._run(&run, X, y, n, n_threads)
        for s in range(steps):
            total += run.losses[s] * min(KEEP, n - s * KEEP)
        if run.done == steps:
            self._store(address(grad), -2)
        else:
            grad[:] = float("nan")
        return total / n

    def forward(self, X, out, int n_threads):
        """out (n, n_K) <- h^(K). Safe to call from several threads at once, between load and train."""
        self._forward(address(X), address(out), NULL, NULL, len(X), n_threads)

    def loss(self, X, y, out, int n_threads):
        """Mean loss over all rows; out (n, n_K) <- h^(K)."""
        cdef Memory own = Memory()
        cdef double *losses = <double *> own.take(len(X) * sizeof(double))
        cdef fnn_targets targets
        set_targets(&targets, y)
        targets.order = NULL
        self._forward(address(X), address(out), &targets, losses, len(X), n_threads)
        return mean(losses, len(X))

    cdef int _forward(self, const char *X, char *out, const fnn_targets *y, double *losses, Py_ssize_t n,
                      int n_threads) except -1:
        """Threads own chunks of rows, and take each through all layers."""
        cdef const Net *net = &self.net
        cdef const fnn_kernels *k = net.k
        cdef int nt = worth(n_threads, flops(net, n, 1))
        cdef Py_ssize_t chunk = min(CHUNK, (n + nt - 1) // nt), n_chunks = (n + chunk - 1) // chunk, c, widest = 0, l
        cdef Py_ssize_t K = net.n_layers, size, scratch_size
        cdef Memory own = Memory()
        cdef unsigned long long mode = 0
        for l in range(K):
            widest = max(widest, net.layers[l].in_panels, net.layers[l].out_panels)
        size = widest * chunk * k.nr * k.item
        scratch_size = scratch_bytes(k, net.layers[K - 1].n_out)
        cdef char *room = own.take(nt * (2 * size + scratch_size))
        with nogil, parallel(num_threads=nt):
            mode = fp_enter()
            for c in prange(n_chunks, schedule="static"):
                forward_chunk(net, at(k, X, c * chunk * net.layers[0].n_in), at(k, out, c * chunk * net.layers[K - 1].n_out),
                              min(chunk, n - c * chunk), c * chunk, y, losses, size,
                              room + threadid() * (2 * size + scratch_size))
            fp_leave(mode)
        return 0


cdef void forward_chunk(const Net *net, const char *X, char *out, Py_ssize_t rows, Py_ssize_t first, const fnn_targets *y,
                        double *losses, Py_ssize_t size, char *room) noexcept nogil:
    """out <- h^(K) of some rows, and their losses where y is given. room: two buffers of `size`, and scratch."""
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t stride = rows * k.nr, K = net.n_layers, n_K = net.layers[K - 1].n_out, l
    cdef char *h_prev = room
    cdef char *h = room + size
    cdef char *scratch = room + 2 * size
    cdef int activation
    k.gather(rows, net.layers[0].n_in, X, NULL, h_prev, stride)
    for l in range(K):
        activation = net.activations[l]
        if l == K - 1 and y == NULL and net.output != FNN_SOFTMAX:
            activation = net.output
        if rows == 1:  # no tile has anything to reuse
            memset(h, 0, net.layers[l].out_panels * k.nr * k.item)
            k.row_product(net.layers[l].n_in, NULL, h_prev, net.layers[l].Wp, net.layers[l].n_in * k.nr,
                          net.layers[l].out_panels, h)
            k.row_activate(net.layers[l].n_out, h, net.layers[l].b, activation)
        else:
            forward_part(k, &net.layers[l], h_prev, h, stride, activation, 0, net.layers[l].out_panels, 0, rows)
        h_prev, h = h, h_prev
    if y != NULL:
        k.output_delta(rows, n_K, h_prev, stride, h_prev, NULL, y, first, net.output, net.loss, 1.0, losses + first, scratch)
    elif net.output == FNN_SOFTMAX:
        k.softmax(rows, n_K, h_prev, stride, scratch)
    k.scatter(rows, n_K, h_prev, stride, out)


cdef char *address(array) except NULL:
    """Where the elements of a C-contiguous array begin (read-only ones too)."""
    cdef const unsigned char[::1] bytes
    if not array.size:
        return <char *> 64  # never read
    bytes = array.reshape(-1).view("u1")
    return <char *> &bytes[0]


cdef int set_targets(fnn_targets *targets, y) except -1:
    targets.labels = <const int32_t *> address(y) if y.ndim == 1 else NULL
    targets.values = NULL if y.ndim == 1 else <const void *> address(y)
    return 0
