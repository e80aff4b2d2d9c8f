from libc.stdint cimport int32_t

from fastnn.kernels._cpu cimport (
    FNN_FACTOR, Memory, Parts, fnn_activation, fnn_barrier, fnn_codes, fnn_draw, fnn_features, fnn_identity, fnn_int8,
    fnn_int8_product, fnn_kernels, fnn_kind_float32, fnn_kind_float64, fnn_loss, fnn_norm, fnn_relu, fnn_spans, fnn_targets,
    keeps, plain,
)
from fastnn.kernels.backward cimport Entries
from fastnn.kernels.inputs cimport Phi
from fastnn.kernels.panels cimport Layer
from fastnn.kernels.update cimport Slots, Step

cdef struct Int8:
    # A layer's weights in 8 bits.
    fnn_int8 *panels           # [out panel]
    fnn_codes codes            # of its inputs; inverse 0: each row has its own

cdef struct Net:
    const fnn_kernels *k
    Py_ssize_t n_layers
    Layer *layers              # [n_layers]
    Layer *products            # [n_layers]: as products read them: the layers, or these with W in bfloat16
    bint bfloat16              # products are of numbers in bfloat16 (docs/maths.md, section 13)
    Slots *slots               # [n_layers]
    fnn_activation *activations  # [n_layers], the last identity: output_delta applies the output's
    fnn_activation output
    fnn_loss loss
    fnn_draw *draws            # [n_layers]: noise and dropout of the inputs and the hidden layers; keys are a run's
    bint perturbed             # any of them is not 0
    fnn_norm *norms            # [n_layers]: of the hidden layers; where kind is not 0, the layer has no bias, but beta
    bint normalised, batch_normalised  # any of them is, by its mini-batch
    char **alpha               # [n_layers]: of parametric activations, panels like a bias; elsewhere NULL
    bint parametric            # any of them is
    char **directions          # [n_layers + 1]: of features and units, panels like a row of h[l]; NULL: weights have any sign
    double input_scale         # integers among the features are multiplied by it
    Phi phi                    # the input layer: layer 1's inputs are s phi(x)
    Int8 *int8                 # [n_layers]: the weights, of a net for prediction in 8 bits; elsewhere NULL
    fnn_int8_product int8_product

cdef struct Buffers:
    # What a run of mini-batches needs beside the weights. h[k] and delta[k] are panels of `capacity` rows.
    Py_ssize_t capacity, stride, batch
    char *h0[2]                # the rows in use and those being gathered
    char *last                 # single rows: the row whose step layer 1 still lacks, -alpha delta[1] last^T ...
    bint behind                # ... if it does (online.pyx)
    char **h                   # [n_layers + 1]; h[0]: s phi(x), where that is not x
    char **d                   # [n_layers + 1]; d[k] = dh[k]/da[k] where h[k] does not tell it, otherwise NULL
    char **delta               # [n_layers + 1]; delta[0]: where phi is trained
    char **dh                  # [n_layers + 1], where layer k's activation is parametric: dL/dh[k]; elsewhere delta[k]
    char **e                   # [n_layers + 1], there: dh[k]/dalpha; elsewhere NULL
    char **xhat                # [n_layers + 1], where layer k is normalised: u[k], normalised; xhat[0]: phi(x) without s,
    char **inv                 # ... 1 / sqrt(variance + epsilon), of columns or rows,
    char **du                  # ... and dL/du[k]; elsewhere delta[k]
    double *losses             # [batch]
    int32_t **list             # [n_layers]: numbers of a layer's inputs that are worth visiting (single rows) ...
    Py_ssize_t *n_list         # [n_layers]: ... and how many

cdef struct Run:
    fnn_features X
    const Py_ssize_t *order    # NULL: rows 0..n-1
    fnn_targets y
    Py_ssize_t n, batch, chunk  # rows, of a mini-batch, and how many pass through the network at a time
    double least               # weight a row that a mini-batch is divided by, at least
    Step step
    const double *learning_rates     # of each step of this run; NULL: the one in step.rates
    const double *weight_decays      # ... and weight decay
    const double *dropout_factors    # ... of the network's dropout; NULL: 1
    long long taken            # steps before this run
    bint perturbs              # with noise and dropout
    long long number           # of the first step, among all of the model's
    double *losses             # mean loss of each mini-batch
    double *squares            # sum of all W_ij^2 before each step; NULL: not wanted
    fnn_barrier barrier
    Parts *parts               # of its threads; NULL: even ones
    char *scratch              # a thread's: scratch_size bytes from thread * scratch_size
    Py_ssize_t scratch_size
    Py_ssize_t row_bytes       # of X, whose rows can be brought near in time; 0: they cannot
    Entries *entries           # [threads]: of CSR rows; NULL: dense ones
    char *used                 # [threads][n_in, padded]: bits, 0 where a thread's rows of layer 1's inputs are; NULL: no matter
    fnn_spans *spans           # [threads]: room for those of a chunk
    int *finite                # [threads]: this thread's losses of this step were finite
    Py_ssize_t done            # steps taken
    double began               # when it did
    int own                    # threads that had a core of their own all the while
    Py_ssize_t block           # rows between two barriers where threads can leave, at most
    double row_work            # operations of one row, by `flops`
    bint interrupted[2]        # a signal handler raised, as threads learn at barriers in turn (step.pyx)
    double looked              # when thread 0 last looked for signals
    char *statistics           # running statistics of the last whole step, where a step can be left midway; NULL otherwise
    bint sure                  # single rows: no step that might leave a weight that is not finite
    bint transposed            # single rows: Wt is Wp's transpose as they begin

cdef inline fnn_draw draw_of(const Net *net, const Run *run, Py_ssize_t l, Py_ssize_t s) noexcept nogil:
    """What step s of the run adds to h[l] and leaves out of it."""
    cdef fnn_draw draw = net.draws[l]
    if run.dropout_factors != NULL:
        draw.dropout *= run.dropout_factors[s]
    return draw

cdef inline bint as_they_lie(const fnn_kernels *k, const fnn_features *X) noexcept nogil:
    """Whether rows are runs of the network's own kind of real."""
    return (X.indptr == NULL and X.kind == (fnn_kind_float32 if k.item == 4 else fnn_kind_float64) and X.column == k.item
            and X.row % k.item == 0)

cdef int make_net(Net *net, Memory memory, sizes, activations, output, loss, bias, str dtype, bint may_turn,
                  norms, double input_scale, phi, bint weights=*, bint bfloat16=*) except -1
cdef enum:  # beside the numbers of the optimizer's states: vectors laid out like theta
    THETA = -1
    GRADIENT = -2

cdef void load_net(const Net *net, const char *vector, Py_ssize_t which) noexcept nogil
cdef void store_net(const Net *net, char *vector, Py_ssize_t which) noexcept nogil
cdef void load_statistics(const Net *net, const char *vector) noexcept nogil
cdef size_t statistics_bytes(const Net *net) noexcept nogil
cdef void store_statistics(const Net *net, char *vector) noexcept nogil
cdef int prepare_products(Net *net, Memory memory) except -1
cdef void round_weights(const Net *net, int t, int threads) noexcept nogil
cdef int fold(Net *net, Memory memory) except -1
cdef int folded(const Net *net, Net *to, Memory memory) except -1
cdef double flops(const Net *net, Py_ssize_t batch, int passes) noexcept nogil
cdef double work(const Net *net, const fnn_features *X, Py_ssize_t n, Py_ssize_t batch, int passes) noexcept nogil
cdef const char *address(array) except NULL
cdef char *writable_address(str name, array) except NULL
cdef int set_features(const Net *net, fnn_features *features, X) except -1
cdef int set_targets(fnn_targets *targets, y, weights) except -1

cdef inline bint hides_slope(const Net *net, Py_ssize_t l) noexcept nogil:
    """Whether h[l] does not tell dh[l]/da[l], as it lacks a or is rounded."""
    return keeps(net.activations[l - 1]) or net.alpha[l - 1] != NULL or net.bfloat16 and net.activations[l - 1].id != fnn_relu

cdef inline char *kept(const Net *net, const Buffers *buffers, const Run *run, Py_ssize_t l) noexcept nogil:
    """Where dh[l]/da[l] goes in this run; NULL where h[l] tells it."""
    return buffers.d[l] if run.perturbs or hides_slope(net, l) else NULL

cdef inline const char *slope_of(const Net *net, const Buffers *buffers, const Run *run, Py_ssize_t l,
                                 fnn_activation *g) noexcept nogil:
    """What dh[l]/da[l] is made from, and by which rule; where it is parametric: 1, as a pass of its own multiplies."""
    cdef const char *d = kept(net, buffers, run, l)
    g[0] = net.activations[l - 1]
    if net.alpha[l - 1] != NULL:
        g[0] = plain(fnn_identity)
        return d
    if d != NULL:
        g[0] = plain(FNN_FACTOR)
        return d
    return buffers.h[l]
