"""Mini-batches one after another, on several threads: forward, output, backward and the step on the weights.

Built from forward, output_delta, backward and update.

A step on several threads, all inside one parallel region: each thread owns output panels in the forward pass and the same
panels in the gradient, so its part of W stays in its own L2; where panels are too few it owns rows instead. The output layer
is row-owned, without barriers between its forward pass, the loss and its delta. Who owns what changes no sum's order, so
it changes no bit.
"""
from libc.math cimport sqrt

from fastnn.kernels._cpu cimport (
    FNN_BATCH_NORM, FNN_LAYER_NORM, Memory, fnn_activation, fnn_entry, fnn_identity, fnn_kernels, fnn_norm, fnn_prefetch, fnn_sgd,
    plain, wait,
)
from fastnn.kernels.backward cimport Entries, delta_and_gradient_part, gradient_part, gradient_sparse_part, hidden_delta_part
from fastnn.kernels.forward cimport forward_part, forward_sparse_part, perturb_part
from fastnn.kernels.net cimport Buffers, Net, Run, as_they_lie, kept, slope_of
from fastnn.kernels.normalise cimport (
    normalise_delta_part, normalise_gradient_part, normalise_part, normalise_update_part,
)
from fastnn.kernels.output_delta cimport mean, weight_of
from fastnn.kernels.panels cimport Layer, at
from fastnn.kernels.update cimport Step, correct, limit_part, squares_part, unit_squares, update_part

cdef Py_ssize_t SHORT = 32     # rows of a mini-batch whose time goes into reading weights


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
    cdef double weight = 0, scale
    cdef Step step = run.step

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
        scale = 1.0 / max(weight, run.least * b) if weight > 0 else 0  # the mean over the batch goes into delta
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
                                     layer.in_panels * t // threads, layer.in_panels * (t + 1) // threads, scratch,
                                     &run.entries[t])
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


cdef bint plain_sgd(const Net *net, const Run *run) noexcept nogil:
    """Whether a step is theta -= alpha g alone, of h = g(h_prev W^T + b) as they are."""
    return (run.step.apply and run.step.optimizer == fnn_sgd and not run.step.rates.regular and run.step.rates.max_norm == 0
            and not run.perturbs and not net.normalised and run.squares == NULL)


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
