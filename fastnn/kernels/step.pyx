"""Mini-batches one after another on several threads, all inside one parallel region.

Letters are those of docs/maths.md; l counts layers from 0, so layer l goes from h[l] (rows, n_l) to h[l + 1]; u is a product
that is normalised before it becomes a. `rows` of a mini-batch, a chunk, pass through all phases together:

    phase     computes                                      each thread owns, of what it writes     barriers
    gather    h[0] (rows, n_0) = X[order]                   its rows                                the chunk begins with one
    features  h[0] = s phi(X[order]), where that is not X   its rows                                none
    forward   h[l + 1] = g(h[l] W^T + b)  (rows, n_l+1)     output panels; its rows, where panels   before a layer reads what
                                                            are too few, or X is CSR                others own
              xhat, h of a normalised layer                 batch: output panels; layer: its rows   where that is another owner
              h, dh/da, dh/dalpha of a parametric one       what it owned                           none
    output    L (rows,), delta[K] (rows, n_K)               its rows                                if h[K] came by panels
    backward  delta[l] = (du[l + 1] W) * g'(a[l])           input panels; its rows, where panels    as in forward; at the end
                (rows, n_l); du[l] from delta[l];           are too few                             one for all
                delta[0] where phi is trained
    gradient  dL/dW = du^T h[l]  (n_l+1, n_l), dL/db,       blocks of W, the same from step to      none: nobody reads what
              and with the last chunk the step on them      step; of CSR: input panels              others write
              that of phi, and the step on it               columns of X; panels of s               before the step
    clip      the gradient's norm; the step                 output panels; blocks of W              before each of the two
    limit     signs of W, s; max-norm: rows of W            output panels; panels of s              before
    round     W in bfloat16, where products are of that     an even part                            before
    gather    the next chunk's h[0], in a second buffer     its rows                                the chunk ends with one

A thread owns the same panels in the forward pass and in the gradient, so its part of W stays in its own L2. No element has two
writers and each sum runs in its one order, so who owns what changes no bit.

The bodies (`*_part`) are those of the passes of forward, output_delta, backward, normalise and update.pyx. There a `prange`
shares each pass; here all passes lie in one region, since a fork and join for each would cost more than small steps take.

A long chunk goes through its phases in blocks of rows, and between two blocks threads can leave: thread 0 looks for signals by
the clock, and the others learn of it at a barrier. Nobody leaves once theta moves, so a run ends after a whole step.
"""
from cython.parallel cimport parallel, threadid
from libc.math cimport sqrt
from libc.stdint cimport int32_t
from libc.string cimport memset

from fastnn.kernels._cpu cimport (
    FNN_BATCH_NORM, FNN_BLOCK, FNN_FACTOR, FNN_LAYER_NORM, FNN_OF_b, FNN_OF_W, Memory, check_signals, fnn_activation,
    fnn_barrier, fnn_count, fnn_draw, fnn_entry, fnn_identity, fnn_kernels, fnn_norm, fnn_prefetch, fnn_rates, fnn_sgd,
    fnn_span, fnn_spans, fnn_team_size, fp_enter, fp_leave, had_core, plain, seconds, startable, thread_seconds, wait,
)
from fastnn.kernels.backward cimport (
    Entries, delta_and_gradient_part, gradient_part, gradient_sparse_part, hidden_delta_part, parametric_delta_part,
    parametric_gradient_part, parametric_update_part,
)
from fastnn.kernels.forward cimport forward_part, forward_sparse_part, parametric_part, perturb_part
from fastnn.kernels.inputs cimport (
    features_gradient_part, features_part, features_squares, features_squares_part, features_update_part, orient_scale_part,
)
from fastnn.kernels.net cimport (
    Buffers, Net, Run, as_they_lie, draw_of, flops, kept, load_statistics, round_weights, slope_of, statistics_bytes,
    store_statistics,
)
from fastnn.kernels.normalise cimport (
    normalise_delta_part, normalise_gradient_part, normalise_part, normalise_update_part,
)
from fastnn.kernels.output_delta cimport mean, weight_of
from fastnn.kernels.panels cimport Layer, at, round_part
from fastnn.kernels.update cimport (
    Step, correct, enter_layer, limit_part, orient_part, share_rates, squares_part, unit_squares, update_part,
)

cdef Py_ssize_t SHORT = 32      # rows of a mini-batch whose time goes into reading weights
cdef double BLOCK_WORK = 2e9    # a thread's operations in a layer between two barriers where it can leave: 20 to 50 ms ...
cdef Py_ssize_t BLOCK = 64      # ... but so many rows at least, against which reading the weights again costs little,
cdef Py_ssize_t GRADIENT_BLOCK = 512  # ... and of a gradient, which is read and written again, more
cdef double CLOCK_WORK = 1e6    # operations between two looks at the clock: a microsecond would notice them
cdef double LOOK = 0.04         # seconds between two looks for signals
cdef Py_ssize_t WHOLE = 16      # panels a thread from which on a gradient's blocks go by whole panels: the parts are even enough
cdef Py_ssize_t TIMED = 4       # steps, of which one is timed: two looks at the clock would be seen in the shortest
cdef Py_ssize_t MOST_SPANS = 8  # of a panel of at most 32 columns: they are more than 3 apart
cdef int MOST_UNSEEN = 31       # chunks that pass before columns are looked at again

cdef extern from *:
    """
    static int fnn_raised(void) { return PyErr_Occurred() ? -1 : 0; }
    """
    int raised "fnn_raised"() except -1


cdef struct Thread:
    # What one thread knows while it takes its part of a run.
    int t, threads             # its number, of so many
    double begins, ends        # its part of what they share, between 0 and 1
    double summed, took        # blocks of weights, of whose gradient it has summed a row, and the seconds that took
    unsigned long long mode    # floating-point mode of its caller
    char *scratch              # its own: run.scratch_size bytes
    Step step                  # the run's, as it stands for this chunk
    # The chunk: rows first .. first + rows of the run.
    Py_ssize_t s, start, b     # number of its step; first row of its mini-batch, and how many
    Py_ssize_t first, rows
    Py_ssize_t next_rows       # of the chunk that follows; 0: the run ends
    Py_ssize_t blocks          # it goes through forward and backward in so many; more than 1: it is long
    bint last                  # of its mini-batch: the step follows
    double weight              # of all samples of the mini-batch
    char *h0                   # its rows h[0], in panels
    char *h0_next              # ... and those of the next
    const fnn_spans *spans     # of layer 1's inputs, the columns that the chunk's rows use; NULL: all
    int pause, unseen          # nobody looks for them in so many chunks; ... that are yet to come
    # Ownership: who wrote what comes to be read next.
    Py_ssize_t r0, r1          # rows of the chunk that are mine where rows are owned
    bint rows_owned            # I read what I wrote, if I read my rows; otherwise panels were owned
    bint met                   # it was written before the last barrier
    # Leaving.
    bint moved                 # theta has begun to move: this step is not to be left
    int looks                  # parity of the number of barriers at which threads can leave, so far
    double work                # operations since the last look at the clock


cdef struct Part:
    # What I do of an operation: rows r0..r1 of panels p0..p1.
    Py_ssize_t p0, p1, r0, r1


cdef int run_steps(Net *net, const Buffers *buffers, Run *run, int n_threads) except -1:
    """The mini-batches of `run` on so many threads. Where a signal handler raises, the exception follows the last whole step.

    run.scratch, entries and finite are for n_threads; buffers has room for run.chunk rows; where `sums_gradient`, slots for G.
    """
    cdef Memory own = Memory()
    n_threads = startable(n_threads)
    run.block, run.row_work, run.statistics = block_rows(net, n_threads), flops(net, 1, 3), NULL
    if net.batch_normalised and run.step.apply and min(run.chunk, run.n) > run.block:
        run.statistics = own.take(statistics_bytes(net), 1)
        store_statistics(net, run.statistics)
    memset(&run.barrier, 0, sizeof(fnn_barrier))
    run.interrupted[0], run.interrupted[1] = False, False
    run.own, run.began = n_threads == 1, seconds()
    run.looked = run.began
    with nogil, parallel(num_threads=n_threads):
        train_thread(net, buffers, run, threadid(), fnn_team_size())
    if run.interrupted[0] or run.interrupted[1]:
        if run.statistics != NULL:
            load_statistics(net, run.statistics)
        raised()
    return 0


cdef bint sums_gradient(const Net *net, const Run *run, int threads) noexcept nogil:
    """Whether the gradient stands in panels as a whole: it is asked for, comes in several parts, or moves nothing yet."""
    cdef Py_ssize_t rows = min(run.batch, run.n)
    return (not run.step.apply or run.step.rates.clip_norm > 0
            or rows > min(run.chunk, max(block_rows(net, threads), GRADIENT_BLOCK)))


cdef Py_ssize_t block_rows(const Net *net, int threads) noexcept nogil:
    """Rows that go through a layer between two barriers where threads can leave, at most."""
    cdef Py_ssize_t l, widest = 1
    for l in range(net.n_layers):
        widest = max(widest, net.layers[l].n_in * net.layers[l].n_out)
    return max(BLOCK, <Py_ssize_t> (threads * BLOCK_WORK / 2 / widest))


cdef void train_thread(const Net *net, const Buffers *buffers, Run *run, int t, int threads) noexcept nogil:
    """Thread t's part of all steps."""
    cdef Thread my
    cdef double ran = thread_seconds() if threads > 1 else 0
    memset(&my, 0, sizeof(Thread))
    my.t, my.threads, my.mode = t, threads, fp_enter()
    my.begins, my.ends = <double> t / threads, <double> (t + 1) / threads
    if run.parts != NULL and run.parts.threads == threads:
        my.begins, my.ends = run.parts.ends[t], run.parts.ends[t + 1]
    my.scratch, my.step = run.scratch + t * run.scratch_size, run.step
    my.h0, my.h0_next = buffers.h0[0], buffers.h0[1]
    my.rows = chunk_at(run, 0)
    gather_rows(net, run, &my, my.h0, buffers.stride, 0, begin(&my, my.rows), end(&my, my.rows))
    if net.bfloat16:
        round_weights(net, t, threads)
    wait(&run.barrier, threads)
    while my.rows:
        enter_chunk(net, run, &my)
        if not forward(net, buffers, run, &my):
            break
        output(net, buffers, run, &my)
        if not backward(net, buffers, run, &my) or not gradient(net, buffers, run, &my):
            break
        if my.last and my.step.rates.clip_norm > 0 and run.step.apply:
            clip(net, run, &my)
        if my.last and (my.step.rates.max_norm > 0 or net.directions != NULL) and run.step.apply:
            limit(net, run, &my)
        if my.last and net.bfloat16 and run.step.apply:
            wait(&run.barrier, threads)  # all blocks have moved
            round_weights(net, t, threads)
        if not leave_chunk(net, buffers, run, &my):
            break
    fp_leave(my.mode)
    if run.parts != NULL:
        run.parts.blocks[t] += my.summed
        run.parts.seconds[t] += my.took
    if threads > 1 and had_core(seconds() - run.began, thread_seconds() - ran):
        fnn_count(&run.own)


cdef inline Py_ssize_t begin(const Thread *my, Py_ssize_t n) noexcept nogil:
    """Where my part of n begins ..."""
    return <Py_ssize_t> (n * my.begins + 0.5)


cdef inline Py_ssize_t end(const Thread *my, Py_ssize_t n) noexcept nogil:
    """... and where it ends."""
    return <Py_ssize_t> (n * my.ends + 0.5)


cdef inline void take_rows(Run *run, Thread *my) noexcept nogil:
    """From here on my rows are mine: what I read must be my own, or written before a barrier."""
    if not (my.met or my.rows_owned):
        wait(&run.barrier, my.threads)
    my.rows_owned, my.met = True, False


cdef inline void take_panels(Run *run, Thread *my) noexcept nogil:
    """From here on my panels are mine: I read all panels, of all rows, so others must be done with them."""
    if not my.met:
        wait(&run.barrier, my.threads)
    my.rows_owned, my.met = False, False


cdef inline void take_normalised(Run *run, Thread *my, const fnn_norm *norm) noexcept nogil:
    """What normalisation sums over is mine: all rows of my panels for batches, all panels of my rows for layers."""
    if norm.kind == FNN_BATCH_NORM and my.rows_owned:
        take_panels(run, my)
    elif norm.kind == FNN_LAYER_NORM and not my.rows_owned:
        take_rows(run, my)


cdef inline bint owns_panels(Py_ssize_t n_panels, int threads) noexcept nogil:
    """Whether threads share a layer by panels: even shares, or so many that uneven ones cost little."""
    return n_panels >= 2 * threads or n_panels % threads == 0


cdef inline Part part_of(const Thread *my, Py_ssize_t n_panels) noexcept nogil:
    """My part of the chunk's rows of n_panels."""
    cdef Part part
    if my.rows_owned:
        part.p0, part.p1, part.r0, part.r1 = 0, n_panels, my.r0, my.r1
    else:
        part.p0, part.p1, part.r0, part.r1 = begin(my, n_panels), end(my, n_panels), 0, my.rows
    return part


cdef inline Part block_of(const Thread *my, const Part *part, Py_ssize_t i) noexcept nogil:
    """Its rows of the chunk's block i."""
    cdef Part block = part[0]
    cdef Py_ssize_t rows = part.r1 - part.r0
    if my.blocks > 1:
        block.r0, block.r1 = part.r0 + rows * i // my.blocks, part.r0 + rows * (i + 1) // my.blocks
    return block


cdef inline Py_ssize_t in_blocks(Py_ssize_t rows, Py_ssize_t i, Py_ssize_t n) noexcept nogil:
    """Where part i of n of the rows begins, so that sums over them are cut between their blocks (src/bfloat16.h) alone."""
    return rows * i // n // FNN_BLOCK * FNN_BLOCK


cdef inline Py_ssize_t chunk_at(const Run *run, Py_ssize_t first) noexcept nogil:
    """Rows that pass through the network together from row `first` on: an even share of its mini-batch, whole blocks of sums."""
    cdef Py_ssize_t start, b, n_chunks, share
    if first >= run.n:
        return 0
    start = first // run.batch * run.batch
    b = min(run.batch, run.n - start)
    n_chunks = (b + run.chunk - 1) // run.chunk
    share = (b + n_chunks - 1) // n_chunks
    return min((share + FNN_BLOCK - 1) // FNN_BLOCK * FNN_BLOCK, start + b - first)


cdef inline bint all_finite(const Run *run, int threads) noexcept nogil:
    """Whether the losses of this mini-batch are, as far as threads have met."""
    cdef int t
    for t in range(threads):
        if not run.finite[t]:
            return False
    return True


cdef inline bint leaves(Run *run, Thread *my, Py_ssize_t rows) noexcept nogil:
    """A barrier after the work of `rows` rows. True: all threads leave the run here, and an exception is set.

    What thread 0 says lies in two places in turn: it can be at the next such barrier before others have read the last one's.
    """
    my.looks ^= 1
    if my.t == 0:
        my.work += rows * run.row_work
        if my.work > CLOCK_WORK:
            my.work = 0
            look_for_signals(run, my)
    wait(&run.barrier, my.threads)
    return run.interrupted[my.looks]


cdef void look_for_signals(Run *run, const Thread *my) noexcept nogil:
    """Python's signal handlers run, if it is time and this is its main thread; another learns whether it is cancelled."""
    cdef double now = seconds()
    if now - run.looked < LOOK:
        return
    run.looked = now
    fp_leave(my.mode)
    with gil:
        run.interrupted[my.looks] = check_signals() != 0
    fp_enter()


cdef inline void enter_chunk(const Net *net, Run *run, Thread *my) noexcept nogil:
    """Where this chunk stands in its mini-batch. All have met: h[0] is there."""
    my.s = my.first // run.batch
    my.start = my.s * run.batch
    my.b = min(run.batch, run.n - my.start)
    my.last = my.first + my.rows == my.start + my.b
    my.blocks = (my.rows + run.block - 1) // run.block
    my.r0, my.r1 = begin(my, my.rows), end(my, my.rows)
    my.rows_owned, my.met, my.moved = True, True, False
    if run.squares != NULL and my.first == my.start:
        weight_squares_part(net, my.t, my.threads)


cdef bint forward(const Net *net, const Buffers *buffers, Run *run, Thread *my) noexcept nogil:
    """h[l + 1] = g(h[l] W^T + b), or normalised in between, of all layers. False: threads leave.

    When it ends, rows_owned says whose h[K] (rows, n_K) is: my rows of it, or my panels.
    """
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t stride = buffers.stride, l, i, p, q
    cdef bint sparse, near  # what follows the product is done panel by panel, while that is near
    cdef char *h
    cdef char *d
    cdef char *d_part  # what the product's last lines write of d
    cdef const Layer *layer
    cdef const fnn_norm *norm
    cdef fnn_activation g
    cdef Part part, of
    if net.phi.used and not inputs(net, buffers, run, my):
        return False
    for l in range(net.n_layers):
        layer, norm, h, sparse = &net.layers[l], &net.norms[l], buffers.h[l + 1], l == 0 and run.X.indptr != NULL
        d = kept(net, buffers, run, l + 1) if l + 1 < net.n_layers else NULL
        g = plain(fnn_identity) if norm.kind or net.alpha[l] != NULL else net.activations[l]
        d_part = NULL if norm.kind or net.alpha[l] != NULL else d
        if not sparse and owns_panels(layer.out_panels, my.threads):
            take_panels(run, my)
        else:
            take_rows(run, my)
        if l == 0:
            my.spans = spans_of(net, run, my)
        part = part_of(my, layer.out_panels)
        near = not (sparse or norm.kind) and (net.alpha[l] != NULL or run.perturbs)
        for i in range(my.blocks):
            of = block_of(my, &part, i)
            if sparse:
                forward_sparse_part(k, layer, &run.X, run.order, my.first + of.r0, at(k, h, of.r0 * k.nr),
                                    NULL if d_part == NULL else at(k, d_part, of.r0 * k.nr), stride, g, of.r1 - of.r0)
            else:
                p = of.p0
                while p < of.p1:
                    q = p + 1 if near else of.p1
                    forward_part(k, &net.products[l], below(net, buffers, my, l), NULL if l else my.spans, h, d_part, stride,
                                 g, p, q, of.r0, of.r1)
                    if near:
                        finish_part(net, buffers, run, my, l, d, p, q, of.r0, of.r1)
                    p = q
            if my.blocks > 1 and leaves(run, my, my.rows // my.blocks):
                return False
        if norm.kind:
            take_normalised(run, my, norm)
            part = part_of(my, layer.out_panels)
            g = plain(fnn_identity) if net.alpha[l] != NULL else net.activations[l]
            normalise_part(k, norm, layer.n_out, run.step.apply, h, buffers.xhat[l + 1], buffers.inv[l + 1],
                           NULL if net.alpha[l] != NULL else d, stride, g, part.p0, part.p1, part.r0, part.r1)
        if not near:
            finish_part(net, buffers, run, my, l, d, part.p0, part.p1, part.r0, part.r1)
        if net.bfloat16 and l + 1 < net.n_layers:
            round_part(k, h, stride, part.p0, part.p1, part.r0, part.r1)
    return True


cdef bint inputs(const Net *net, const Buffers *buffers, Run *run, Thread *my) noexcept nogil:
    """h[0] = s phi(x), with its noise and dropout; my rows. False: threads leave."""
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t i
    cdef char *phi = buffers.xhat[0] if buffers.xhat[0] != NULL else buffers.h[0]
    cdef Part part, of
    take_rows(run, my)
    part = part_of(my, net.layers[0].in_panels)
    for i in range(my.blocks):
        of = block_of(my, &part, i)
        features_part(k, &net.phi, my.h0, buffers.stride, phi, buffers.h[0], buffers.stride, of.r0, of.r1)
        if my.blocks > 1 and leaves(run, my, my.rows // my.blocks):
            return False
    if run.perturbs:
        perturb_inputs(net, run, buffers.h[0], buffers.d[0], buffers.stride, my.first, part.r0, part.r1)
    if net.bfloat16:
        round_part(k, buffers.h[0], buffers.stride, part.p0, part.p1, part.r0, part.r1)
    look_at_columns(net, run, my, buffers.h[0], buffers.stride, part.r0, part.r1)
    return True


cdef void look_at_columns(const Net *net, const Run *run, const Thread *my, const char *h, Py_ssize_t stride, Py_ssize_t r0,
                          Py_ssize_t r1) noexcept nogil:
    """run.used: which columns of layer 1's inputs h my rows r0..r1 use, unless they are not to be asked for."""
    cdef const fnn_kernels *k = net.k
    cdef const Layer *layer = &net.layers[0]
    if run.used != NULL and my.unseen == 0:
        k.used_columns(r1 - r0, layer.n_in, at(k, h, r0 * k.nr), stride, at(k, run.used, my.t * layer.in_panels * k.nr))


cdef const fnn_spans *spans_of(const Net *net, const Run *run, Thread *my) noexcept nogil:
    """The spans of this chunk, where all threads have met since they looked; NULL: all columns matter.

    After a chunk whose columns all matter nobody looks for a while, which becomes longer: all threads see the same.
    """
    cdef fnn_spans *spans
    if run.used == NULL or net.phi.used and my.rows_owned:
        return NULL
    if my.unseen:
        my.unseen -= 1
        return NULL
    spans = &run.spans[my.t]
    if net.k.find_spans(net.layers[0].n_in, my.threads, run.used, spans):
        my.pause = 0
        return spans
    my.pause = my.unseen = min(2 * my.pause + 1, MOST_UNSEEN)
    return NULL


cdef inline char *below(const Net *net, const Buffers *buffers, const Thread *my, Py_ssize_t l) noexcept nogil:
    """h[l] of this chunk, what layer l reads."""
    return my.h0 if l == 0 and not net.phi.used else buffers.h[l]


cdef void finish_part(const Net *net, const Buffers *buffers, const Run *run, const Thread *my, Py_ssize_t l, char *d,
                      Py_ssize_t p0, Py_ssize_t p1, Py_ssize_t r0, Py_ssize_t r1) noexcept nogil:
    """What is left to do on h[l + 1] once it is a, or h: a parametric activation, noise and dropout."""
    cdef const Layer *layer = &net.layers[l]
    cdef char *h = buffers.h[l + 1]
    cdef char *e = buffers.e[l + 1]
    cdef fnn_draw draw
    if net.alpha[l] != NULL:
        parametric_part(net.k, layer.n_out, net.activations[l], net.alpha[l], h, d, e, buffers.stride, p0, p1, r0, r1)
    if run.perturbs and l + 1 < net.n_layers:
        draw = draw_of(net, run, l + 1, my.s)
        perturb_part(net.k, layer.n_out, h, d, e, buffers.stride, &draw, run.number + my.s, my.first - my.start, p0, p1, r0, r1)


cdef void output(const Net *net, const Buffers *buffers, Run *run, Thread *my) noexcept nogil:
    """L and delta[K] (rows, n_K): my rows, of both, are mine when it ends. run.finite[t] says what I know of L.

    The mean over the mini-batch goes into delta.
    """
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t K = net.n_layers, n = my.r1 - my.r0
    cdef bint begins = my.first == my.start
    take_rows(run, my)
    if begins:
        my.weight = weight_of(&run.y, my.start, my.b)
        my.step.rates.l2 = run.step.rates.l2 + (run.step.rates.ridge / my.weight if my.weight > 0 else 0)
    run.finite[my.t] = (n == 0 or k.output_delta(
        n, net.layers[K - 1].n_out, at(k, buffers.h[K], my.r0 * k.nr), buffers.stride, NULL,
        at(k, buffers.delta[K], my.r0 * k.nr), &run.y, my.first + my.r0, net.output, &net.loss,
        1.0 / max(my.weight, run.least * my.b) if my.weight > 0 else 0, buffers.losses + my.first - my.start + my.r0, my.scratch)
    ) and (begins or run.finite[my.t])
    if net.bfloat16:
        round_part(k, buffers.delta[K], buffers.stride, 0, net.layers[K - 1].out_panels, my.r0, my.r1)


cdef bint backward(const Net *net, const Buffers *buffers, Run *run, Thread *my) noexcept nogil:
    """delta[l] = (du[l + 1] W) * g'(a[l]), du = delta but where normalised, down to layer 1. False: threads leave.

    When it ends all have met: deltas (rows, n_l) are everybody's to read. Where `step_at_once`, a layer's weights move here.
    """
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t stride = buffers.stride, l, i, p, q
    cdef const Layer *layer
    cdef const fnn_norm *norm
    cdef const char *slope
    cdef fnn_activation g
    cdef Part part, of
    cdef bint clipped = run.step.apply and run.step.rates.clip_norm > 0
    my.step.first, my.step.apply = my.first == my.start, run.step.apply and my.last and not clipped
    my.step.summed = clipped or not (my.step.first and my.step.apply)
    if run.learning_rates != NULL:
        my.step.rates.learning_rate = run.learning_rates[my.s]
    if run.weight_decays != NULL:
        my.step.rates.weight_decay = run.weight_decays[my.s]
    correct(&my.step.rates, run.taken + my.s + 1)
    share_rates(&my.step)
    for l in range(net.n_layers - 1, 0, -1):
        layer, norm, slope = &net.layers[l], &net.norms[l - 1], slope_of(net, buffers, run, l, &g)
        if step_at_once(net, layer, &my.step, my.rows):
            take_panels(run, my)
            if not all_finite(run, my.threads):  # known before theta moves: all threads stop here
                break
            my.moved = True
            part = part_of(my, layer.in_panels)
            enter_layer(&my.step, layer)
            delta_and_gradient_part(k, layer, &net.slots[l], &my.step, buffers.du[l + 1], buffers.h[l], slope,
                                    buffers.dh[l], stride, g, my.rows, part.p0, part.p1, my.scratch)
            if net.alpha[l - 1] != NULL:
                parametric_delta_part(k, layer.n_in, buffers.dh[l], buffers.d[l], buffers.delta[l], stride, part.p0, part.p1,
                                      part.r0, part.r1)
        else:
            if owns_panels(layer.in_panels, my.threads) and not (my.rows_owned and layer.out_panels <= 2 and my.threads > 1):
                take_panels(run, my)
            else:
                take_rows(run, my)
            part = part_of(my, layer.in_panels)
            for i in range(my.blocks):
                of = block_of(my, &part, i)
                p = of.p0
                while p < of.p1:
                    q = p + 1 if net.alpha[l - 1] != NULL else of.p1
                    hidden_delta_part(k, &net.products[l], buffers.du[l + 1], slope, buffers.dh[l], stride, g, p, q, of.r0,
                                      of.r1)
                    if net.alpha[l - 1] != NULL:  # while the panel is near
                        parametric_delta_part(k, layer.n_in, buffers.dh[l], buffers.d[l], buffers.delta[l], stride, p, q, of.r0,
                                              of.r1)
                    p = q
                if my.blocks > 1 and not my.moved and leaves(run, my, my.rows // my.blocks):
                    return False
        if norm.kind:
            take_normalised(run, my, norm)
            part = part_of(my, layer.in_panels)
            normalise_delta_part(k, norm, layer.n_in, buffers.delta[l], buffers.xhat[l], buffers.inv[l], buffers.du[l],
                                 stride, part.p0, part.p1, part.r0, part.r1)
        if net.bfloat16:
            round_part(k, buffers.du[l], stride, part.p0, part.p1, part.r0, part.r1)
    if net.phi.trained and not delta_of_inputs(net, buffers, run, my):
        return False
    wait(&run.barrier, my.threads)
    if my.last and my.t == 0:
        run.losses[my.s] = mean(buffers.losses, my.b, my.weight)
        if run.squares != NULL:
            run.squares[my.s] = total_squares(net)
    return not my.last or all_finite(run, my.threads)


cdef bint delta_of_inputs(const Net *net, const Buffers *buffers, Run *run, Thread *my) noexcept nogil:
    """delta[0] = du[1] W^(1), times what dropout has left. False: threads leave."""
    cdef const fnn_kernels *k = net.k
    cdef const Layer *layer = &net.layers[0]
    cdef bint perturbed = run.perturbs and buffers.d[0] != NULL
    cdef fnn_activation g = plain(FNN_FACTOR if perturbed else fnn_identity)
    cdef Py_ssize_t i
    cdef Part part, of
    if owns_panels(layer.in_panels, my.threads):
        take_panels(run, my)
    else:
        take_rows(run, my)
    part = part_of(my, layer.in_panels)
    for i in range(my.blocks):
        of = block_of(my, &part, i)
        hidden_delta_part(k, &net.products[0], buffers.du[1], buffers.d[0] if perturbed else buffers.h[0], buffers.delta[0],
                          buffers.stride, g, of.p0, of.p1, of.r0, of.r1)
        if my.blocks > 1 and not my.moved and leaves(run, my, my.rows // my.blocks):
            return False
    return True


cdef bint gradient(const Net *net, const Buffers *buffers, Run *run, Thread *my) noexcept nogil:
    """dL/dW = du[l + 1]^T h[l] (n_l+1, n_l) and dL/db, and with the last chunk the step on them. False: threads leave.

    Blocks of W, and their gradient, are mine: nobody meets here. The rows of the next chunk come near meanwhile.
    """
    cdef Py_ssize_t n_blocks = (my.rows + GRADIENT_BLOCK - 1) // GRADIENT_BLOCK if my.rows > run.block else 1, i, stop
    cdef bint apply = my.step.apply
    cdef fnn_prefetch coming
    my.next_rows = chunk_at(run, my.first + my.rows)
    coming = next_rows_near(net, run, my)
    if n_blocks == 1:
        gradient_rows(net, buffers, run, my, 0, my.rows, &coming)
        step_of_inputs(net, run, my)
        return True
    my.step.summed = True
    for i in range(n_blocks):
        my.step.apply = apply and i == n_blocks - 1
        stop = in_blocks(my.rows, i + 1, n_blocks) if i < n_blocks - 1 else my.rows
        gradient_rows(net, buffers, run, my, in_blocks(my.rows, i, n_blocks), stop, &coming)
        my.step.first = False
        if i < n_blocks - 1 and leaves(run, my, my.rows // n_blocks):
            return False
    step_of_inputs(net, run, my)
    return True


cdef inline void step_of_inputs(const Net *net, Run *run, Thread *my) noexcept nogil:
    """The step on phi's parameters, where the layers have just taken theirs: my columns and panels of s."""
    if net.phi.trained and my.step.apply:
        if net.phi.s != NULL and net.phi.n_parameters:
            wait(&run.barrier, my.threads)  # others' columns need my s
        features_update_part(net.k, &net.phi, &my.step, my.t, my.threads)


cdef void gradient_rows(const Net *net, const Buffers *buffers, Run *run, Thread *my, Py_ssize_t r0, Py_ssize_t r1,
                        fnn_prefetch *coming) noexcept nogil:
    """What rows r0..r1 of the chunk add to the gradient, of all layers; my blocks."""
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t l, units, whole, u0, u1, at_row = r0 * k.nr, stride = buffers.stride
    cdef bint timed = run.parts != NULL and my.s % TIMED == 0
    cdef double start
    cdef const Layer *layer
    cdef const char *du
    if net.phi.trained:
        features_gradient_part(k, &net.phi, my.step.first or not my.step.summed, at(k, my.h0, at_row), stride,
                               at(k, buffers.xhat[0] if buffers.xhat[0] != NULL else my.h0, at_row),
                               at(k, buffers.delta[0], at_row), stride, r1 - r0, my.t, my.threads)
    start = seconds() if timed else 0
    for l in range(net.n_layers):
        layer, du = &net.layers[l], at(k, buffers.du[l + 1], at_row)
        enter_layer(&my.step, layer)
        if net.norms[l].kind:
            normalise_gradient_part(k, &net.norms[l], &net.slots[l], &my.step, at(k, buffers.delta[l + 1], at_row),
                                    at(k, buffers.xhat[l + 1], at_row), stride, r1 - r0, begin(my, layer.out_panels),
                                    end(my, layer.out_panels), my.scratch)
        if net.alpha[l] != NULL:
            parametric_gradient_part(k, net.alpha[l], &net.slots[l], &my.step, at(k, buffers.dh[l + 1], at_row),
                                     at(k, buffers.e[l + 1], at_row), stride, r1 - r0, begin(my, layer.out_panels),
                                     end(my, layer.out_panels), my.scratch)
        if l and step_at_once(net, layer, &my.step, my.rows):
            continue
        if l == 0 and run.X.indptr != NULL:
            gradient_sparse_part(k, layer, &net.slots[0], &my.step, du, &run.X, run.order, my.first + r0, stride, r1 - r0,
                                 begin(my, layer.in_panels), end(my, layer.in_panels), my.scratch, &run.entries[my.t])
            start = seconds() if timed else 0  # entries lie thick and thin: their time says nothing of a core
            continue
        whole = layer.in_panels if layer.out_panels >= WHOLE * my.threads else 1
        units = layer.in_panels * layer.out_panels // whole
        u0, u1 = begin(my, units) * whole, end(my, units) * whole
        gradient_part(k, layer, &net.slots[l], &my.step, du, at(k, below(net, buffers, my, l), at_row),
                      NULL if l else my.spans, stride, r1 - r0, u0, u1, my.scratch, coming)
        my.summed += <double> (u1 - u0) * (r1 - r0) if timed else 0
    my.took += seconds() - start if timed else 0


cdef fnn_prefetch next_rows_near(const Net *net, const Run *run, const Thread *my) noexcept nogil:
    """My rows of the next chunk, to be brought near by the gradient's tiles, a few lines of memory each."""
    cdef Py_ssize_t l, blocks = 0, r0 = begin(my, my.next_rows), r1 = end(my, my.next_rows)
    cdef fnn_prefetch coming
    coming.X = NULL
    if r1 > r0 and run.order != NULL and run.row_bytes:
        for l in range(net.n_layers):
            blocks += net.layers[l].in_panels * net.layers[l].out_panels
        coming.X, coming.order, coming.row = run.X.data, run.order + my.first + my.rows + r0, run.X.row
        coming.row_bytes, coming.next = run.row_bytes, 0
        coming.last = (r1 - r0) * ((coming.row_bytes + 63) // 64 + 1)
        coming.lines_a_tile = coming.last * my.threads // (blocks * ((net.k.nr + net.k.mr - 1) // net.k.mr)) + 1
    return coming


cdef void clip(const Net *net, Run *run, Thread *my) noexcept nogil:
    """The step, of a gradient that is scaled to a norm of at most clip_norm. No weight moves before all of it is known."""
    cdef const fnn_kernels *k = net.k
    cdef const Layer *layer
    cdef Py_ssize_t l, units
    wait(&run.barrier, my.threads)  # G is whole
    if net.phi.trained:
        features_squares_part(k, &net.phi, my.t, my.threads)
    for l in range(net.n_layers):
        layer = &net.layers[l]
        squares_part(k, layer, &net.norms[l], net.alpha[l] != NULL, &net.slots[l], begin(my, layer.out_panels),
                     end(my, layer.out_panels))
    wait(&run.barrier, my.threads)  # slots.squares are, too
    my.step.rates.clip = clip_factor(net, my.step.rates.clip_norm)
    share_rates(&my.step)
    if net.phi.trained:
        features_update_part(k, &net.phi, &my.step, my.t, my.threads)
    for l in range(net.n_layers):
        layer = &net.layers[l]
        enter_layer(&my.step, layer)
        units = layer.in_panels * layer.out_panels
        update_part(k, layer, &net.slots[l], &my.step, begin(my, units), end(my, units))
        if net.norms[l].kind:
            normalise_update_part(k, &net.norms[l], &net.slots[l], &my.step, begin(my, layer.out_panels),
                                  end(my, layer.out_panels))
        if net.alpha[l] != NULL:
            parametric_update_part(k, net.alpha[l], &net.slots[l], &my.step, begin(my, layer.out_panels),
                                   end(my, layer.out_panels))


cdef void limit(const Net *net, Run *run, Thread *my) noexcept nogil:
    """Rows of W, by output panels, back to a norm of at most max_norm; weights to the signs that they must have."""
    cdef Py_ssize_t l, p0, p1
    wait(&run.barrier, my.threads)  # all blocks have moved
    for l in range(net.n_layers):
        p0, p1 = begin(my, net.layers[l].out_panels), end(my, net.layers[l].out_panels)
        if net.directions != NULL:
            orient_part(net.k, &net.layers[l], net.directions[l], net.directions[l + 1], p0, p1)
        if my.step.rates.max_norm > 0:
            limit_part(net.k, &net.layers[l], my.step.rates.max_norm, p0, p1)
    if net.directions != NULL and net.phi.s != NULL:
        orient_scale_part(net.k, &net.phi, net.directions[0], my.t, my.threads)


cdef inline bint leave_chunk(const Net *net, const Buffers *buffers, Run *run, Thread *my) noexcept nogil:
    """On to the next chunk: its h[0], my rows; then all meet. False: threads leave."""
    cdef Py_ssize_t rows = my.rows
    cdef char *h0 = my.h0
    if my.last and my.t == 0:
        run.done = my.s + 1
        if run.statistics != NULL:
            store_statistics(net, run.statistics)
    my.first += rows
    if my.next_rows:
        gather_rows(net, run, my, my.h0_next, buffers.stride, my.first, begin(my, my.next_rows), end(my, my.next_rows))
    my.rows, my.h0, my.h0_next = my.next_rows, my.h0_next, h0
    return not leaves(run, my, rows)


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


cdef double clip_factor(const Net *net, double most) noexcept nogil:
    """What the gradient, whose squares stand in slots.squares, is multiplied with so that its norm is at most `most`."""
    cdef double by = most / (sqrt(features_squares(&net.phi) + total_squares(net)) + 1e-6)
    return by if by < 1 else 1  # one that is not a number stops at the loss that follows


cdef inline bint step_at_once(const Net *net, const Layer *layer, const Step *step, Py_ssize_t rows) noexcept nogil:
    """Whether the backward pass of a layer and the step on its weights go through them together: where few rows make
    that the larger part of the time."""
    return layer.far and step.apply and rows <= SHORT and not net.bfloat16


cdef void gather_rows(const Net *net, const Run *run, const Thread *my, char *h0, Py_ssize_t stride, Py_ssize_t first,
                      Py_ssize_t r0, Py_ssize_t r1) noexcept nogil:
    """h[0], my rows r0..r1 of the mini-batch that starts at `first`. CSR rows are used as they lie."""
    cdef const fnn_kernels *k = net.k
    cdef Py_ssize_t n = net.phi.n_0
    if run.X.indptr != NULL:
        return
    if r0 == r1:
        pass
    elif not as_they_lie(k, &run.X) or run.X.row != n * k.item:
        k.gather_features(r1 - r0, n, &run.X, run.order, first + r0, at(k, h0, r0 * k.nr), stride)
    elif run.order == NULL:
        k.gather(r1 - r0, n, at(k, run.X.data, (first + r0) * n), NULL, at(k, h0, r0 * k.nr), stride)
    else:
        k.gather(r1 - r0, n, run.X.data, run.order + first + r0, at(k, h0, r0 * k.nr), stride)
    if not net.phi.used:
        if run.perturbs:
            perturb_inputs(net, run, h0, NULL, stride, first, r0, r1)
        if net.bfloat16:
            round_part(k, h0, stride, 0, net.layers[0].in_panels, r0, r1)
        look_at_columns(net, run, my, h0, stride, r0, r1)


cdef void perturb_inputs(const Net *net, const Run *run, char *h0, char *d, Py_ssize_t stride, Py_ssize_t first, Py_ssize_t r0,
                         Py_ssize_t r1) noexcept nogil:
    """Noise and dropout of layer 1's inputs, rows r0..r1 of those that start at `first`; d: dh/dphi, or NULL."""
    cdef const Layer *layer = &net.layers[0]
    cdef fnn_draw draw = draw_of(net, run, 0, first // run.batch)
    cdef Py_ssize_t p
    for p in range(layer.in_panels if d != NULL else 0):
        net.k.activate_panel(r1 - r0, 2, at(net.k, h0, p * stride + r0 * net.k.nr), plain(fnn_identity),
                             at(net.k, d, p * stride + r0 * net.k.nr))
    perturb_part(net.k, layer.n_in, h0, d, NULL, stride, &draw, run.number + first // run.batch, first % run.batch, 0,
                 layer.in_panels, r0, r1)


cdef bint plain_sgd(const Net *net, const Run *run) noexcept nogil:
    """Whether a step is theta -= alpha g alone, of h = g(h_prev W^T + b) as they are."""
    cdef const fnn_rates *rates = &run.step.rates
    return (run.step.apply and run.step.optimizer == fnn_sgd and not rates.regular and rates.max_norm == 0 and not rates.ntk
            and rates.factors[FNN_OF_W] == 1 and rates.factors[FNN_OF_b] == 1 and not run.perturbs and not net.normalised
            and not net.parametric and not net.phi.used and net.directions == NULL and run.squares == NULL)


cdef int make_spans(const Net *net, Run *run, Memory memory, int threads) except -1:
    """Room for what threads say of columns, and for each thread's spans."""
    cdef Py_ssize_t n = net.layers[0].in_panels
    cdef int t
    run.used = memory.take(threads, n * net.k.nr * net.k.item)
    run.spans = <fnn_spans *> memory.take(threads, sizeof(fnn_spans))
    for t in range(threads):
        run.spans[t].list = <fnn_span *> memory.take(n * MOST_SPANS, sizeof(fnn_span))
        run.spans[t].ends = <int32_t *> memory.take(n, sizeof(int32_t))
    return 0


cdef Entries *make_entries(const Net *net, const Run *run, Memory memory, int threads) except NULL:
    """Room for each thread to sort the entries of the CSR rows that pass through the network together."""
    cdef Entries *entries = <Entries *> memory.take(threads, sizeof(Entries))
    cdef Py_ssize_t n = most_entries(run)
    cdef int t
    for t in range(threads):
        entries[t].ends = <Py_ssize_t *> memory.take(net.layers[0].in_panels, sizeof(Py_ssize_t))
        entries[t].entries = <fnn_entry *> memory.take(n, sizeof(fnn_entry))
        entries[t].values = memory.take(n, net.k.item)
    return entries


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
