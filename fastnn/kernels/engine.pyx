"""A network's weights in panels, and passes over it: step (training), online (one row at a time) and predict (forward)."""
from libc.math cimport NAN, isfinite
from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

from fastnn.kernels._cpu cimport (
    FNN_BATCH_NORM, FNN_BLOCK, FNN_GROUPS, FNN_MAX_STATES, FNN_OF_b, FNN_OF_W, Choice, Memory, Shares, all_share, choice_of,
    dismiss, fnn_features, fnn_kernels, fnn_norm, fnn_sgd, fnn_targets, fp_enter, fp_leave, free_cores, learn, next_stretch,
    raise_cancel, seconds, took, worth,
)
from fastnn.kernels.inputs cimport phi_finite, prepare_phi
from fastnn.kernels.net cimport (
    GRADIENT, THETA, Buffers, Net, Run, address, folded, hides_slope, load_net, load_statistics, make_net, prepare_products,
    set_features, set_targets, store_net, store_statistics, work, writable_address,
)
from fastnn.kernels.online cimport catch_up, train_online
from fastnn.kernels.output_delta cimport mean, scratch_bytes, set_loss, weight_of
from fastnn.kernels.panels cimport (
    L2_BYTES, Layer, bias_panels, pack, panels, prepare_transpose, row_room, unpack, weight_bytes,
    weight_panels,
)
from fastnn.kernels.predict cimport forward_chunk, forward_rows, free_room, widest_panels
from fastnn.kernels.step cimport make_entries, make_spans, plain_sgd, run_steps, sums_gradient
from fastnn.kernels.update cimport Slots, as_rates, correct, share_rates

from fastnn.kernels._cpu import STATES

cdef Py_ssize_t KEEP = 256     # rows at a time when the gradient itself is asked for
cdef Py_ssize_t CHUNK = 128    # rows at a time in training, at least
cdef size_t KEPT_BYTES = 16 << 20  # of a workspace, between calls
cdef double IDLE = 0.01        # seconds after which caches and threads are cold
cdef double RUN = 16           # how much more threads are worth in a run of steps than in a pass alone


cdef class Workspace:
    """What mini-batches need beside the weights: replaced where more is needed, and given back where it is large."""

    def __cinit__(self):
        self.memory = Memory()

    cdef void empty(self):
        memset(&self.b, 0, sizeof(Buffers))
        self.memory, self.dense = Memory(), False

    cdef int make(self, const Net *net, Py_ssize_t capacity, Py_ssize_t batch, bint dense) except -1:
        """Room for mini-batches of `batch` rows, `capacity` at a time, at least; dense: with their inputs."""
        cdef const fnn_kernels *k = net.k
        cdef Py_ssize_t K = net.n_layers, l, s, n, rows, row = k.nr * k.item
        cdef Buffers *b = &self.b
        cdef Memory memory
        if b.capacity >= capacity and b.batch >= batch and (self.dense or not dense):
            return 0
        capacity, batch, dense = max(b.capacity, capacity), max(b.batch, batch), dense or self.dense
        self.empty()  # first, so that there are never two
        memory, rows = self.memory, row_room(capacity)
        b.losses = <double *> memory.take(batch, sizeof(double))
        for s in range(2 if dense else 0):
            b.h0[s] = memory.take(panels(k, net.phi.n_0), row, rows)
        b.last = memory.take(net.layers[0].n_in, k.item)
        b.h = <char **> memory.take(K + 1, sizeof(char *))
        b.d = <char **> memory.take(K + 1, sizeof(char *))
        b.delta = <char **> memory.take(K + 1, sizeof(char *))
        b.dh = <char **> memory.take(K + 1, sizeof(char *))
        b.e = <char **> memory.take(K + 1, sizeof(char *))
        b.du = <char **> memory.take(K + 1, sizeof(char *))
        b.xhat = <char **> memory.take(K + 1, sizeof(char *))
        b.inv = <char **> memory.take(K + 1, sizeof(char *))
        if net.phi.used:
            self.make_inputs(net, rows)
        for l in range(1, K + 1):
            n = net.layers[l - 1].out_panels
            b.h[l] = memory.take(n, row, rows)
            if l < K and (hides_slope(net, l) or net.draws[l].noise or net.draws[l].dropout):
                b.d[l] = memory.take(n, row, rows)
            if net.alpha[l - 1] != NULL:  # dL/da takes the place of dh/da
                b.dh[l], b.e[l], b.delta[l] = memory.take(n, row, rows), memory.take(n, row, rows), b.d[l]
            else:
                b.dh[l] = b.delta[l] = memory.take(n, row, rows)
            b.du[l] = b.delta[l]
            if net.norms[l - 1].kind:
                b.xhat[l] = memory.take(n, row, rows)
                b.du[l] = memory.take(n, row, rows)
                b.inv[l] = memory.take(max(n * k.nr, capacity), k.item)
        b.list = <int32_t **> memory.take(K, sizeof(int32_t *))
        b.n_list = <Py_ssize_t *> memory.take(K, sizeof(Py_ssize_t))
        for l in range(K):
            b.list[l] = <int32_t *> memory.take(net.layers[l].n_in + 16, sizeof(int32_t))
        b.stride, b.batch, b.capacity, self.dense = rows * k.nr, batch, capacity, dense  # last: all are there
        return 0

    cdef int make_inputs(self, const Net *net, Py_ssize_t rows) except -1:
        """Room for the input layer's h, delta and the like."""
        cdef Py_ssize_t n = net.layers[0].in_panels, row = net.k.nr * net.k.item
        cdef Buffers *b = &self.b
        b.h[0] = self.memory.take(n, row, rows)
        if net.phi.trained:
            b.delta[0] = self.memory.take(n, row, rows)
        if net.phi.s != NULL and net.phi.n_columns:
            b.xhat[0] = self.memory.take(n, row, rows)
        if net.phi.trained and (net.draws[0].noise or net.draws[0].dropout):
            b.d[0] = self.memory.take(n, row, rows)
        return 0


cdef class Engine:
    """A network's weights in panels, and passes over it. Trusts its caller: Python checks and converts all arguments before.

    Parameters
    ----------
    sizes : tuple of int
        Widths n_0..n_K.
    activations : tuple of int, (int, float) or (int, float, True)
        Ids of ``_cpu.ACTIVATIONS``, or ids and parameters, one for each hidden layer; of parametric ones with True.
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
        1: mini-batches will be of one row each.
    dropout, noise : tuple of float
        For the inputs and for each hidden layer; empty: none. CSR rows take none at the inputs.
    norms : tuple of (int, float, float) or None
        For each hidden layer: id of ``_cpu.NORMS``, epsilon, and batch normalisation's momentum; empty: none.
    input_scale : float
        Integers among the features are multiplied by it.
    phi : tuple, optional
        The input layer, as `inputs.make_phi` takes it.
    directions : list of array, optional
        Of the features and of the units of each layer, (n_l,) of the network's dtype: -1, 0 or 1. After a step a weight from an
        input that has one is 0 unless it has the sign of the product of its two ends' (docs/maths.md, section 7).
    bfloat16 : bool
        Whether the operands of the layers' products are rounded to that; of float32 alone, and not of CSR rows.
    """

    def __init__(self, sizes, activations, output, loss, bias, dtype, Py_ssize_t batch=1, int optimizer=0, dropout=(),
                 noise=(), norms=(), double input_scale=1, phi=None, directions=None, bint bfloat16=False):
        cdef Py_ssize_t l, n
        self.memory, self.mini_batches, self.row, self.shares = Memory(), Workspace(), Workspace(), Shares()
        self.single, self.optimizer, self.n_states = batch == 1, optimizer, STATES[optimizer]
        make_net(&self.net, self.memory, sizes, activations, output, loss, bias, dtype, batch > 1, norms, input_scale, phi, True,
                 bfloat16)
        prepare_products(&self.net, self.memory)
        for l in range(len(dropout)):
            self.net.draws[l].dropout, self.net.draws[l].noise = dropout[l], noise[l]
        self.net.perturbed = any(dropout) or any(noise)
        if directions is not None:
            self.net.directions = <char **> self.memory.take(self.net.n_layers + 1, sizeof(char *))
            for l in range(self.net.n_layers + 1):
                n = self.net.layers[l - 1].n_out if l else self.net.layers[0].n_in
                self.net.directions[l] = self.memory.take(panels(self.net.k, n), self.net.k.nr, self.net.k.item)
                memcpy(self.net.directions[l], address(directions[l]), n * self.net.k.item)
        self.plain = as_rates({})
        self.one.step.apply, self.one.step.optimizer, self.one.step.n_groups = True, optimizer, 2
        self.one.step.rates = self.plain
        share_rates(&self.one.step)
        self.one.n = self.one.batch = self.one.chunk = 1
        self.one.sure, self.one.perturbs = True, self.net.perturbed

    def __dealloc__(self):
        free_room(&self.idle)
        dismiss(&self.pace)

    cdef int lie_by_input(self) except -1:
        """CSR visits the first layer's weights by input: where they lay turned, they do no more."""
        cdef Layer *layer = &self.net.layers[0]
        cdef Slots *slots = &self.net.slots[0]
        cdef char **turned[2 + FNN_MAX_STATES]
        cdef char *W
        cdef Py_ssize_t i
        cdef Memory own
        if not layer.turned:
            return 0
        own = Memory()
        W = own.take(layer.n_in, layer.n_out, self.net.k.item)
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

    cdef Py_ssize_t chunk(self, Py_ssize_t batch):
        """Rows that pass through the network at a time: so many that their activations stay in L2, but outweigh theta.

        For fewer rows than that, reading and writing weights and their gradient once more would cost more. Batch normalisation
        needs the whole mini-batch. Of blocks of sums, none is cut.
        """
        cdef Py_ssize_t l, row = 0, weights = 0
        if self.net.batch_normalised:
            return batch
        for l in range(self.net.n_layers):
            row += (self.net.layers[l].in_panels + self.net.layers[l].out_panels) * self.net.k.nr * self.net.k.item
            weights += self.net.layers[l].n_in * self.net.layers[l].n_out * self.net.k.item
        return max(CHUNK, max(L2_BYTES, weights) // row // FNN_BLOCK * FNN_BLOCK)

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
        prepare_phi(self.net.k, self.memory, self.n_states, &self.net.phi)
        if self.n_states == 0 or self.net.slots[0].state_W[0] != NULL:
            return 0
        for l in range(self.net.n_layers):
            for s in range(self.n_states):
                self.net.slots[l].state_b[s] = bias_panels(self.net.k, self.memory, &self.net.layers[l])
                if self.net.norms[l].kind:
                    self.net.slots[l].state_g[s] = bias_panels(self.net.k, self.memory, &self.net.layers[l])
                if self.net.alpha[l] != NULL:
                    self.net.slots[l].state_a[s] = bias_panels(self.net.k, self.memory, &self.net.layers[l])
        for l in range(self.net.n_layers - 1, -1, -1):  # the first of layer 0 last: it says that all are there
            for s in range(self.n_states - 1, -1, -1):
                self.net.slots[l].state_W[s] = weight_panels(self.net.k, self.memory, &self.net.layers[l])
        return 0

    cdef int prepare_squares(self) except -1:
        """Room for each unit's sum of squares."""
        cdef Py_ssize_t l
        for l in range(self.net.n_layers):
            if self.net.slots[l].squares == NULL:
                self.net.slots[l].squares = <double *> self.memory.take(
                    self.net.layers[l].out_panels, sizeof(double), self.net.k.nr)
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
            if self.net.alpha[l] != NULL:
                self.net.slots[l].Ga = bias_panels(self.net.k, self.memory, &self.net.layers[l])
        for l in range(self.net.n_layers - 1, -1, -1):  # layer 0 last: its G says that all are there
            self.net.slots[l].G = weight_panels(self.net.k, self.memory, &self.net.layers[l])
        return 0

    def load(self, theta, state=None, statistics=None):
        """Copy theta (n_parameters,), and the optimizer's state (n_states, n_parameters), into panels; and batch normalisation's
        running statistics: of each such layer mean and variance, (n_k,) each, one after another."""
        load_net(&self.net, address(theta), THETA)
        for s in range(self.n_states if state is not None else 0):
            self.prepare_states()
            load_net(&self.net, address(state[s]), s)
        if statistics is not None:
            load_statistics(&self.net, address(statistics))
        self.finite = self.transposed = self.row.b.behind = False

    cdef void settle(self):
        """Whatever reads the weights, but for steps of single rows, does this first. Only `sure_step` leaves something to do."""
        cdef unsigned long long mode
        if self.row.b.behind:
            mode = fp_enter()
            catch_up(&self.net, &self.row.b)
            fp_leave(mode)

    def all_finite(self):
        """Whether all weights and running statistics are finite."""
        cdef const fnn_kernels *k = self.net.k
        cdef const Layer *layer
        cdef const fnn_norm *norm
        cdef Py_ssize_t l, n
        self.settle()
        self.finite = False
        if not phi_finite(k, &self.net.phi):
            return False
        for l in range(self.net.n_layers):
            layer, norm = &self.net.layers[l], &self.net.norms[l]
            n = layer.out_panels * k.nr
            if not (k.all_finite(weight_bytes(k, layer) // k.item, layer.Wp) and k.all_finite(n, layer.b)):
                return False
            if self.net.alpha[l] != NULL and not k.all_finite(n, self.net.alpha[l]):
                return False
            if norm.kind and not (k.all_finite(n, norm.gamma) and k.all_finite(n, norm.beta)):
                return False
            if norm.kind == FNN_BATCH_NORM and not (k.all_finite(n, norm.mean) and k.all_finite(n, norm.variance)):
                return False
        self.finite = True
        return True

    @property
    def bytes(self):
        """Memory that it holds."""
        return self.memory.bytes + self.mini_batches.memory.bytes + self.row.memory.bytes

    def trim(self):
        """Give back what only large mini-batches need."""
        if self.mini_batches.memory.bytes > KEPT_BYTES:
            self.mini_batches.empty()

    def store(self, theta, state=None, statistics=None):
        """Copy theta, the optimizer's state and the running statistics back."""
        cdef char *to = writable_address("theta", theta)
        self.settle()
        store_net(&self.net, to, THETA)
        for s in range(self.n_states if state is not None else 0):
            self.prepare_states()
            store_net(&self.net, writable_address("state", state[s]), s)
        if statistics is not None:
            store_statistics(&self.net, writable_address("statistics", statistics))

    cdef bint online(self, const Run *run, weights):
        """Whether the steps are those of online.pyx."""
        return run.batch == 1 and self.single and not self.net.bfloat16 and plain_sgd(&self.net, run) and weights is None

    cdef bint can_be_sure(self):
        """Whether a step of online.pyx can be known beforehand to leave all weights finite."""
        cdef Py_ssize_t l
        for l in range(1, self.net.n_layers):
            if self.net.layers[l].far:  # steps while the delta is still on its way
                return False
        return self.finite

    cdef int _run(self, Run *run, y, weights, Py_ssize_t n, int nt) except -1:
        """The mini-batches of `run`, n rows, on nt threads."""
        cdef Net *net = &self.net
        cdef const fnn_kernels *k = net.k
        cdef bint online = self.online(run, weights)
        cdef unsigned long long mode = 0
        cdef Memory own = Memory()
        cdef Py_ssize_t l
        cdef bint dense = run.X.indptr == NULL
        cdef Buffers *buffers
        raise_cancel()
        set_targets(&run.y, y, weights)
        run.y.order = run.order
        run.n, run.done = n, 0
        run.row_bytes, run.entries, run.used = 0, NULL, NULL
        if dense and 0 < run.X.column <= 8:
            run.row_bytes = run.X.column * net.phi.n_0
        if not dense:
            run.chunk = run.batch if run.step.apply else run.chunk
            run.entries = make_entries(net, run, own, nt)
        run.scratch_size = max(scratch_bytes(k, net.layers[net.n_layers - 1].n_out), k.nr * k.nr * k.item)
        run.scratch_size = (run.scratch_size + 63) // 64 * 64
        run.scratch = own.take(nt, run.scratch_size)
        run.finite = <int *> own.take(nt, sizeof(int))
        if online:
            self.row.make(net, 1, 1, True)
            buffers = &self.row.b
            for l in range(1, net.n_layers):
                if not net.layers[l].far:
                    prepare_transpose(k, self.memory, &net.layers[l])
            run.transposed, self.finite = self.transposed, self.finite and run.sure
            self.transposed = True
            with nogil:
                mode = fp_enter()
                train_online(net, buffers, run)
                fp_leave(mode)
            return 0
        self.settle()
        if run.step.apply:
            self.finite = self.transposed = False
        if sums_gradient(net, run, nt):
            self.prepare_gradients()
        if run.squares != NULL or run.step.rates.clip_norm > 0:
            self.prepare_squares()
        if dense and not net.layers[0].turned:
            make_spans(net, run, own, nt)
        self.mini_batches.make(net, min(run.chunk, run.batch), run.batch, dense)
        return run_steps(net, &self.mini_batches.b, run, nt)

    def train(self, X, y, const Py_ssize_t[::1] order, Py_ssize_t batch, dict rates, long long[::1] counts,
              double[::1] losses, int n_threads, const double[::1] learning_rates=None, weights=None, keys=None,
              double[::1] squares=None, double least=0, const double[::1] weight_decays=None,
              const double[::1] dropout_factors=None):
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
        counts : (2,) int64
            In and out: steps of the optimizer, and of all optimizers (dropout and noise are drawn by it), which go up with each
            step taken, whatever ends the call.
        losses : (ceil(m / batch),) float64
            Out: mean loss of each mini-batch, before its step.
        learning_rates : (ceil(m / batch),) float64, optional
            Of each step, in place of the one in `rates`.
        weight_decays : (ceil(m / batch),) float64, optional
            Decoupled weight decay of each step, in place of the one in `rates`.
        dropout_factors : (ceil(m / batch),) float64, optional
            By what each step multiplies the engine's dropout; at most 1.
        weights : (n,) float64 array, optional
            Of the samples: losses and gradients are sums of w_i L_i over the sum of w_i, and 0 where that is 0.
        least : float
            Weight a row, at least, that gradients are divided by.
        keys : (2, K) uint64
            Where the engine has dropout or noise: the generators' keys, of dropout and of noise, for inputs and hidden layers.
        squares : (ceil(m / batch),) float64, optional
            Out: the sum of the squares of all weights (not biases) before each step, in double and a fixed order.

        Returns
        -------
        int
            Steps taken: fewer than ``len(losses)`` if a mini-batch's loss was not finite; that step was not taken.
        """
        cdef Run run
        cdef Py_ssize_t n = order.shape[0], steps, done = 0, stretch
        cdef int most, nt
        cdef double start
        cdef Choice *choice
        if n == 0:
            return 0
        batch = min(batch, n)
        steps = (n + batch - 1) // batch
        self.prepare_states()
        set_features(&self.net, &run.X, X)
        if run.X.indptr != NULL:
            self.lie_by_input()
        run.step.apply, run.step.optimizer, run.step.n_states = True, self.optimizer, self.n_states
        run.step.rates, run.batch, run.chunk, run.sure = as_rates(rates), batch, self.chunk(batch), False
        run.perturbs, run.squares = self.net.perturbed, NULL if squares is None else &squares[0]
        run.least = least
        run.step.rates.regular = run.step.rates.regular or weight_decays is not None
        if run.perturbs:
            self.set_keys(keys)
        run.step.n_groups = 4 if self.net.parametric else 3 if self.net.normalised else 2  # W, b, gamma, alpha
        if self.net.phi.trained:
            run.step.n_groups = FNN_GROUPS
        correct(&run.step.rates, counts[0] + 1)  # threads go on from there
        share_rates(&run.step)
        # A run of steps pays for its threads once: far less work than a pass alone is worth a trial of more.
        most = worth(n_threads, RUN * work(&self.net, &run.X, len(X), min(batch, n), 3))
        if batch == 1 and plain_sgd(&self.net, &run):
            most = 1
        choice = choice_of(&self.pace, batch)
        if seconds() - self.ended > IDLE:
            choice.warm = False
        while done < steps:
            stretch = steps - done
            nt = most
            if not all_share():
                stretch = next_stretch(choice, most, stretch, batch, &nt)
            run.order, run.losses, run.taken, run.number = &order[done * batch], &losses[done], counts[0], counts[1]
            run.learning_rates = NULL if learning_rates is None else &learning_rates[done]
            run.weight_decays = NULL if weight_decays is None else &weight_decays[done]
            run.dropout_factors = NULL if dropout_factors is None else &dropout_factors[done]
            run.squares = NULL if squares is None else &squares[done]
            run.done, run.own, start = 0, nt, seconds()
            run.parts = self.shares.among(nt)
            try:
                self._run(&run, y, weights, min(stretch * batch, n - done * batch), nt)
            finally:  # no exception can come between the steps and their counts
                counts[0] += run.done
                counts[1] += run.done
            self.ended = seconds()
            learn(run.parts)
            if not all_share():
                took(&self.pace, choice, run.done * batch, self.ended - start, run.own, free_cores(choice))
            done += run.done
            if run.done < stretch:
                break
        return done

    def sure_step(self, X, y, double learning_rate, long long[::1] counts):
        """A step of plain SGD on one row, if all weights are known to be finite afterwards without a look at them.

        X, y and counts are as of `train`. Returns the row's loss before the step, which was not taken if that is not finite;
        None: there is no being sure, and nothing was done.
        """
        cdef fnn_features features
        cdef fnn_targets targets
        cdef double loss = 0
        cdef int done
        if not (self.online(&self.one, None) and self.can_be_sure()):
            return None
        raise_cancel()
        self.prepare_row()
        set_features(&self.net, &features, X)
        set_targets(&targets, y, None)
        done = self.row_step(&features, &targets, learning_rate, &loss)
        counts[0] += done  # no exception can come between the step and its count
        counts[1] += done
        return None if isfinite(loss) and not done else loss

    cdef int prepare_row(self) except -1:
        """Room for `row_step` and `row_forward`."""
        cdef const fnn_kernels *k = self.net.k
        cdef Py_ssize_t l, n_K = self.net.layers[self.net.n_layers - 1].n_out
        if self.one.scratch != NULL:
            return 0
        self.row.make(&self.net, 1, 1, True)
        for l in range(1, self.net.n_layers):
            if not self.net.layers[l].far:
                prepare_transpose(k, self.memory, &self.net.layers[l])
        self.room_size = (widest_panels(&self.net, NULL) * k.nr * k.item + 63) // 64 * 64
        self.room = self.memory.take(2 * self.room_size + scratch_bytes(k, n_K), 1)
        self.one.scratch = self.memory.take(max(scratch_bytes(k, n_K), k.nr * k.nr * k.item), 1)  # last: all is there
        return 0

    cdef int row_step(self, const fnn_features *X, const fnn_targets *y, double learning_rate, double *loss) noexcept nogil:
        """`sure_step` on the row X, once it is known that there can be one and there is room. Touches no Python object.

        Returns 1: taken; 0: nothing was done, as the loss is not finite or there is no being sure.
        """
        cdef Run *run = &self.one
        cdef unsigned long long mode
        run.X, run.y, run.losses, run.done = X[0], y[0], loss, 0
        run.y.order = NULL
        run.step.rates.learning_rate = learning_rate
        run.step.of[FNN_OF_W].learning_rate = run.step.of[FNN_OF_b].learning_rate = learning_rate
        run.transposed, self.transposed = self.transposed, True
        mode = fp_enter()
        train_online(&self.net, &self.row.b, run)
        fp_leave(mode)
        return run.done

    cdef void row_forward(self, const fnn_features *X, char *out) noexcept nogil:
        """out (n_K,) <- h^(K) of the finite row X of a plain network (`plain_sgd`), once there is room. No Python object."""
        cdef unsigned long long mode = fp_enter()
        catch_up(&self.net, &self.row.b)
        forward_chunk(&self.net, X, NULL, out, 1, 0, NULL, NULL, self.room_size, self.room)
        fp_leave(mode)

    def gradient(self, X, y, grad, int n_threads, weights=None, const Py_ssize_t[::1] order=None):
        """Mean loss over the rows X[order], by default all, weighted; grad (n_parameters,) <- its gradient, in theta's order."""
        cdef Py_ssize_t n = len(X) if order is None else order.shape[0]
        cdef Run run
        cdef double loss
        cdef char *to = writable_address("grad", grad)
        run.step.apply, run.step.optimizer, run.step.n_states = False, fnn_sgd, 0
        run.step.rates, run.taken, run.learning_rates = as_rates({"learning_rate": 0}), 0, NULL
        run.weight_decays, run.dropout_factors = NULL, NULL
        run.number, run.perturbs, run.squares, run.least, run.sure, run.step.n_groups = 0, False, NULL, 0, False, 0
        run.order, run.parts = NULL if order is None else &order[0], NULL
        run.batch, run.chunk, run.losses = n, n if self.net.batch_normalised else KEEP, &loss
        prepare_phi(self.net.k, self.memory, 0, &self.net.phi)
        set_features(&self.net, &run.X, X)
        if run.X.indptr != NULL:
            self.lie_by_input()
        self._run(&run, y, weights, n, worth(n_threads, work(&self.net, &run.X, n, min(KEEP, n), 3)))
        if run.done:
            store_net(&self.net, to, GRADIENT)
        else:
            grad[:] = float("nan")
        return loss

    def forward(self, X, out, int n_threads):
        """out (n, n_K) <- h^(K). Safe to call from several threads at once, between load and train."""
        cdef Memory own = Memory()
        cdef fnn_features features
        cdef Net net
        self.settle()
        set_features(&self.net, &features, X)
        if features.indptr != NULL:
            self.lie_by_input()
        folded(&self.net, &net, own)
        forward_rows(&net, &self.idle, &features, NULL, writable_address("out", out), NULL, NULL, len(X), n_threads)

    def loss(self, X, y, out, int n_threads, weights=None, loss=None, const Py_ssize_t[::1] order=None):
        """Mean loss over all rows, weighted; out (n, n_K) <- h^(K). NaN if X is not finite.

        loss: another than the engine's, given as to it. order (n,): the rows are X[order]; y and weights are theirs already.
        """
        cdef Memory own = Memory()
        cdef Py_ssize_t n = len(X) if order is None else order.shape[0]
        cdef double *losses = <double *> own.take(n, sizeof(double))
        cdef fnn_targets targets
        cdef fnn_features features
        cdef Net net
        self.settle()
        set_features(&self.net, &features, X)
        if features.indptr != NULL:
            self.lie_by_input()
        folded(&self.net, &net, own)
        if loss is not None:
            set_loss(&net.loss, own, loss, net.k)
        set_targets(&targets, y, weights)
        targets.order = NULL
        if not forward_rows(&net, &self.idle, &features, NULL if order is None else &order[0], writable_address("out", out),
                            &targets, losses, n, n_threads):
            return NAN
        return mean(losses, n, weight_of(&targets, 0, n))
