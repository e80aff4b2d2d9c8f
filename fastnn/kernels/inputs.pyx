"""h^(0) = s phi(x): the input layer between a row of X and layer 1, and the gradient of its parameters; in prediction, what
layer 1 looks up of it.

In the forward pass threads own rows. In the gradient they own columns of X, whose parameters stand together, and panels of s;
each sums over the samples in order. The formulas of a column stand in src/inputs.h.
"""
from cython cimport floating
from libc.string cimport memcpy, memset

from fastnn.kernels._cpu cimport (
    FNN_CATEGORIES, FNN_MAX_STATES, FNN_OF_embedding, FNN_OF_scale, FNN_OF_table, FNN_PERIODIC, FNN_PIECEWISE, FNN_PLAIN,
    Memory, fnn_column, fnn_kernels, fp_enter, fp_leave,
)
from fastnn.kernels.panels cimport Layer, at, columns, make_layer, pack, panels, real_at, set_real, unpack, vectors
from fastnn.kernels.update cimport Step

# What numbers a description (`make_phi`) has for a kind of column: by the names of fastnn/network/embeddings.py.
KINDS = {"plain": FNN_PLAIN, "periodic": FNN_PERIODIC, "piecewise": FNN_PIECEWISE, "categories": FNN_CATEGORIES}


cdef int make_phi(const fnn_kernels *k, Memory memory, Py_ssize_t n_0, description, Phi *phi) except -1:
    """Room for the parameters. description: None for phi(x) = x, or (columns, scaled): of each column in the order of features
    (kind of `KINDS`, column, width, n, size, edges), edges being an array (4, n) of the network's dtype or None."""
    cdef Py_ssize_t i, first = 0
    cdef fnn_column *c
    memset(phi, 0, sizeof(Phi))
    phi.n_0 = phi.n_features = phi.taken = n_0
    if description is None:
        return 0
    of_columns, scaled = description
    phi.used, phi.n_columns = True, len(of_columns)
    phi.columns = <fnn_column *> memory.take(phi.n_columns, sizeof(fnn_column))
    for i in range(phi.n_columns):
        c = &phi.columns[i]
        c.kind, c.column, c.width, c.n, c.size, edges = of_columns[i]
        c.first, c.start = first, phi.n_parameters
        first += c.width
        phi.n_parameters += c.size
        phi.work += (c.width + 20. * c.n) if c.kind == FNN_PERIODIC else c.n + c.width
        if edges is not None:
            c.edges = copied(k, memory, edges.tobytes())
    if phi.n_columns:
        phi.n_features = phi.taken = first
    phi.E = memory.take(phi.n_parameters, k.item)
    if scaled:
        phi.s = vector_of(k, memory, phi)
    phi.trained = phi.n_parameters > 0 or scaled
    return 0


cdef char *copied(const fnn_kernels *k, Memory memory, bytes edges) except NULL:
    cdef char *to = memory.take(len(edges), 1)
    memcpy(to, <const char *> edges, len(edges))
    return to


cdef char *vector_of(const fnn_kernels *k, Memory memory, const Phi *phi) except NULL:
    """Zeros, one for each feature, in panels."""
    return memory.take(panels(k, phi.n_features), k.nr, k.item)


cdef int prepare_phi(const fnn_kernels *k, Memory memory, int n_states, Phi *phi) except -1:
    """Room for the gradient, and for so many vectors of state, zeros at first."""
    cdef int i
    if not phi.trained:
        return 0
    if phi.G == NULL:  # last: it says that all are there
        phi.squares = <double *> memory.take(phi.n_columns + panels(k, phi.n_features) * k.nr, sizeof(double))
        phi.Gs = vector_of(k, memory, phi)
        phi.G = memory.take(phi.n_parameters, k.item)
    for i in range(n_states):
        if phi.states[i] == NULL:
            phi.states_s[i] = vector_of(k, memory, phi)
            phi.states[i] = memory.take(phi.n_parameters, k.item)
    return 0


cdef char *copy_phi(const fnn_kernels *k, const Phi *phi, char *E, char *s, char *vector, bint store) noexcept nogil:
    """The beginning of a vector laid out like theta <- E and s, or what is laid out like them (store), or the other way.
    Returns where the vector goes on."""
    if not phi.trained:
        return vector
    vector = copy_bytes(phi.n_parameters * k.item, E, vector, store)
    return copy_bytes(phi.n_features * k.item if phi.s != NULL else 0, s, vector, store)


cdef char *copy_bytes(size_t n, char *part, char *vector, bint store) noexcept nogil:
    if n:  # where there are none, part may be NULL
        memcpy(vector if store else part, part if store else vector, n)
    return vector + n


cdef bint looked_up(const fnn_column *c) noexcept nogil:
    return c.kind == FNN_PIECEWISE or (c.kind == FNN_CATEGORIES and c.size == 0)


cdef int fold_inputs(const fnn_kernels *k, Memory memory, Phi *phi, Layer *layer) except -1:
    """phi, layer <- what prediction takes in their place: columns of one-hot codes and of bins are looked up in layer 1.

    W s phi(x) is a sum over columns. Of a column of codes it is a row of s W^T, all others being multiplied by 0; the sum without
    these keeps its bits. Of a column x of bins it is linear between two edges, so two rows are taken: with T (n, width) and c
    (width,), or 1 and 0 where the bins themselves are the features,

        row 2 i      sum_d (c_d + T_0d + ... + T_(i-1)d) s_d W_d     the value where bin i begins
        row 2 i + 1  sum_d T_id s_d W_d                              times how far x is through bin i

    Features that are multiplied come first, then the rows of these columns, all in their order. Where that is layer 1 as it is,
    it stays; otherwise it becomes a copy.
    """
    cdef Py_ssize_t i, n_dense = 0, n_rows = 0
    cdef bint as_it_is = not layer.turned
    cdef const fnn_column *c
    for i in range(phi.n_columns):
        c = &phi.columns[i]
        as_it_is = as_it_is and c.kind != FNN_PIECEWISE and (looked_up(c) or phi.n_looked == 0)
        if looked_up(c):
            phi.n_looked += 1
            phi.entries += 1 if c.kind == FNN_CATEGORIES else 2
        else:
            n_dense += c.width
        n_rows += rows_of(c)
    if phi.n_looked == 0:
        return 0
    if not as_it_is:
        set_out(k, memory, phi, layer, n_rows)
    phi.n_columns -= phi.n_looked
    phi.looked, phi.n_features, phi.taken = phi.columns + phi.n_columns, n_dense, n_dense + phi.entries
    return 0


cdef Py_ssize_t rows_of(const fnn_column *c) noexcept nogil:
    """Of layer 1's weights, in prediction."""
    return 2 * c.n if c.kind == FNN_PIECEWISE else c.width


cdef int set_out(const fnn_kernels *k, Memory memory, Phi *phi, Layer *layer, Py_ssize_t n_rows) except -1:
    """Columns, s and layer 1's weights in the order of `fold_inputs`, as copies."""
    cdef Py_ssize_t n = layer.n_in, n_out = layer.n_out, i, o, j = 0, row = 0
    cdef const char *s = phi.s
    cdef const fnn_column *of = phi.columns
    cdef fnn_column *c
    cdef bint looked
    cdef Memory own = Memory()
    cdef char *W = own.take(n_out, n, k.item)
    cdef char *to = own.take(n_out, n_rows, k.item)
    cdef char *b = layer.b
    cdef unsigned long long mode
    unpack(k, layer, layer.Wp, NULL, W, NULL)
    phi.columns = <fnn_column *> memory.take(phi.n_columns, sizeof(fnn_column))
    if s != NULL:
        phi.s = memory.take(panels(k, n_rows), k.nr, k.item)
    for looked in (False, True):
        for i in range(phi.n_columns):
            if looked_up(&of[i]) != looked:
                continue
            c, j = &phi.columns[j], j + 1
            c[0], c.first = of[i], row
            if c.kind == FNN_PIECEWISE:
                mode = fp_enter()
                fold_bins(k, c, at(k, phi.E, c.start), of[i].first, s, W, n, n_out, to, n_rows)
                fp_leave(mode)
            else:
                for o in range(n_out):
                    memcpy(at(k, to, o * n_rows + row), at(k, W, o * n + of[i].first), c.width * k.item)
                if s != NULL:
                    memcpy(at(k, phi.s, row), at(k, s, of[i].first), c.width * k.item)
            row += rows_of(c)
    make_layer(k, memory, n_rows, n_out, layer.has_bias, False, layer)
    layer.b = b
    pack(k, layer, to, NULL, layer.Wp, NULL)
    return 0


cdef void fold_bins(const fnn_kernels *k, const fnn_column *c, const char *E, Py_ssize_t first, const char *s, const char *W,
                    Py_ssize_t n, Py_ssize_t n_out, char *to, Py_ssize_t n_rows) noexcept nogil:
    """Rows of a column of bins, summed in double, from the weights W (n_out, n) of its features, `first` and on."""
    cdef Py_ssize_t o, i, d
    cdef double begin, whole
    for o in range(n_out):
        begin = 0
        for d in range(c.width if c.size else 0):
            begin += real_at(k, E, c.n * c.width + d) * scaled(k, W, o * n, s, first + d)
        for i in range(c.n):
            whole = 0 if c.size else scaled(k, W, o * n, s, first + i)
            for d in range(c.width if c.size else 0):
                whole += real_at(k, E, i * c.width + d) * scaled(k, W, o * n, s, first + d)
            set_real(k, to, o * n_rows + c.first + 2 * i, begin)
            set_real(k, to, o * n_rows + c.first + 2 * i + 1, whole)
            begin += whole


cdef inline double scaled(const fnn_kernels *k, const char *W, Py_ssize_t row, const char *s, Py_ssize_t j) noexcept nogil:
    """s_j W_j of a row of W."""
    return real_at(k, W, row + j) * (real_at(k, s, j) if s != NULL else 1)


cdef bint phi_finite(const fnn_kernels *k, const Phi *phi) noexcept nogil:
    """Whether all parameters are finite."""
    return not phi.trained or (k.all_finite(phi.n_parameters, phi.E) and (phi.s == NULL or k.all_finite(phi.n_features, phi.s)))


cdef void features_part(
    const fnn_kernels *k,
    const Phi *phi,
    const char *x,                  # (batch, n_0) in panels         in
    Py_ssize_t x_stride,            # elements from one panel of x to the next
    char *plain,                    # (batch, n_features) in panels  out: phi(x); NULL: x is phi(x)
    char *h,                        # (batch, n_features) in panels  out: s phi(x); may be plain
    Py_ssize_t stride,              # elements from one panel of these to the next
    Py_ssize_t r0, Py_ssize_t r1,   # rows that are written
) noexcept nogil:
    """h = s phi(x), of rows r0..r1."""
    cdef Py_ssize_t i, p, to
    if r0 == r1:
        return
    for i in range(phi.n_columns):
        k.features(r1 - r0, &phi.columns[i], phi.E, at(k, x, r0 * k.nr), x_stride, at(k, plain, r0 * k.nr), stride)
    if phi.s == NULL:
        return
    for p in range(panels(k, phi.n_features)):
        to = p * stride + r0 * k.nr
        k.scale_features(r1 - r0, vectors(k, phi.n_features, p), at(k, phi.s, p * k.nr),
                         at(k, plain, to) if phi.n_columns else at(k, x, p * x_stride + r0 * k.nr), at(k, h, to))


cdef void features_gradient_part(
    const fnn_kernels *k,
    const Phi *phi,                 # G, Gs                          out
    bint first,                     # of several calls that sum up
    const char *x,                  # (batch, n_0) in panels         in
    Py_ssize_t x_stride,
    const char *plain,              # (batch, n_features) in panels  in: phi(x), where there is s
    const char *delta,              # (batch, n_features) in panels  in: dL/dh^(0)
    Py_ssize_t stride,
    Py_ssize_t batch,
    int t, int threads,             # my share
) noexcept nogil:
    """The gradient of my columns' parameters, and of my panels of s. It always stands in G and Gs as a whole."""
    cdef Py_ssize_t i, p
    for i in range(my_first(phi.n_columns, t, threads), my_first(phi.n_columns, t + 1, threads)):
        if phi.columns[i].size:
            k.features_gradient(batch, &phi.columns[i], phi.E, x, x_stride, delta, phi.s, stride, phi.G, first)
    for p in range(my_first(of_s(k, phi), t, threads), my_first(of_s(k, phi), t + 1, threads)):
        k.scale_gradient(batch, at(k, delta, p * stride), at(k, plain, p * stride), at(k, phi.Gs, p * k.nr), first)


cdef void features_update_part(const fnn_kernels *k, const Phi *phi, const Step *step, int t, int threads) noexcept nogil:
    """The step on my columns' parameters and my panels of s, from G and Gs. Penalties take them for weights.

    Where there are both, all threads must have met since `features_gradient_part`, in which columns need s of others.
    """
    cdef Py_ssize_t i, p
    for i in range(my_first(phi.n_columns, t, threads), my_first(phi.n_columns, t + 1, threads)):
        update_run(k, step, FNN_OF_table if phi.columns[i].kind == FNN_CATEGORIES else FNN_OF_embedding, phi.columns[i].start,
                   phi.columns[i].size, phi.G, phi.E, phi.states)
    for p in range(my_first(of_s(k, phi), t, threads), my_first(of_s(k, phi), t + 1, threads)):
        update_run(k, step, FNN_OF_scale, p * k.nr, columns(k, phi.n_features, p), phi.Gs, phi.s, phi.states_s)


cdef void update_run(const fnn_kernels *k, const Step *step, int group, Py_ssize_t start, Py_ssize_t n, const char *g, char *w,
                     char *const *states) noexcept nogil:
    """The step on parameters start .. start + n, all of one group."""
    cdef void *state[FNN_MAX_STATES]
    cdef int i
    for i in range(step.n_states):
        state[i] = at(k, states[i], start)
    if n:
        k.update(step.optimizer, 1, n, n, at(k, g, start), at(k, w, start), state, &step.of[group])


cdef void orient_scale_part(const fnn_kernels *k, const Phi *phi, const char *directions, int t, int threads) noexcept nogil:
    """s of features that have a direction: at least 0; my panels."""
    cdef Py_ssize_t p0 = my_first(of_s(k, phi), t, threads) * k.nr, p1 = my_first(of_s(k, phi), t + 1, threads) * k.nr, i
    for i in range(p0, min(p1, phi.n_features)):
        if k.item == 4:
            orient_one[float](<const float *> directions + i, <float *> phi.s + i)
        else:
            orient_one[double](<const double *> directions + i, <double *> phi.s + i)


cdef inline void orient_one(const floating *direction, floating *s) noexcept nogil:
    if direction[0] != 0 and s[0] < 0:
        s[0] = 0


cdef void features_squares_part(const fnn_kernels *k, const Phi *phi, int t, int threads) noexcept nogil:
    """phi.squares <- sums of the gradient's squares: of each of my columns' parameters, and of each of my panels' s."""
    cdef Py_ssize_t i, p
    for i in range(my_first(phi.n_columns, t, threads), my_first(phi.n_columns, t + 1, threads)):
        phi.squares[i] = squares(k, at(k, phi.G, phi.columns[i].start), phi.columns[i].size)
    for p in range(my_first(of_s(k, phi), t, threads), my_first(of_s(k, phi), t + 1, threads)):
        for i in range(p * k.nr, min((p + 1) * k.nr, phi.n_features)):
            phi.squares[phi.n_columns + i] = squares(k, at(k, phi.Gs, i), 1)


cdef double features_squares(const Phi *phi) noexcept nogil:
    """The sum of phi.squares in their order, which is the same for any width of panels."""
    cdef double total = 0
    cdef Py_ssize_t i
    for i in range(phi.n_columns + (phi.n_features if phi.s != NULL else 0) if phi.trained else 0):
        total += phi.squares[i]
    return total


cdef double squares(const fnn_kernels *k, const char *v, Py_ssize_t n) noexcept nogil:
    """The sum of v_i^2 in double, in order."""
    cdef double total = 0, x
    cdef Py_ssize_t i
    for i in range(n):
        x = (<const float *> v)[i] if k.item == 4 else (<const double *> v)[i]
        total += x * x
    return total


cdef inline Py_ssize_t my_first(Py_ssize_t n, int t, int threads) noexcept nogil:
    """Where thread t's share of n begins."""
    return n * t // threads


cdef inline Py_ssize_t of_s(const fnn_kernels *k, const Phi *phi) noexcept nogil:
    """Panels of s."""
    return panels(k, phi.n_features) if phi.s != NULL else 0
