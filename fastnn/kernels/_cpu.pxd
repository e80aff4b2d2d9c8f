from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t

cdef extern from "kernels.h" nogil:
    ctypedef struct fnn_activation:
        int id
        double parameter

    ctypedef struct fnn_draw:
        double noise, dropout
        uint32_t noise_key[2]
        uint32_t dropout_key[2]

    ctypedef struct fnn_norm:
        int kind, has_beta
        double epsilon, momentum
        fnn_activation g
        void *gamma
        void *beta
        void *mean
        void *variance

    ctypedef struct fnn_rates:
        double learning_rate, momentum, dampening, beta1, beta2, psi
        double epsilon, epsilon_hat
        double shrink, grow, least, most
        double l1, l2, ridge, weight_decay, clip_value, clip_norm, max_norm
        double factors[7]  # [FNN_GROUPS]
        bint ntk, decay_bias, regular
        double bias_l2, alpha1, root2, damped, alpha_g, alpha_m, product, keep, clip
        long long n

    ctypedef struct fnn_prefetch:
        const char *X
        const Py_ssize_t *order
        Py_ssize_t row, row_bytes, next, last, lines_a_tile

    ctypedef struct fnn_features:
        const char *data
        int kind
        Py_ssize_t row, column
        double scale
        const int64_t *indptr
        const int32_t *indices

    ctypedef struct fnn_span:
        int32_t column, n

    ctypedef struct fnn_spans:
        Py_ssize_t n
        fnn_span *list
        int32_t *ends

    ctypedef struct fnn_column:
        int kind
        Py_ssize_t column, first, width, n, start, size
        const void *edges

    ctypedef struct fnn_entry:
        pass

    ctypedef struct fnn_loss:
        int id
        double smoothing, delta, gamma
        const void *q

    ctypedef struct fnn_targets:
        const int32_t *labels
        const void *values
        const double *weights
        const Py_ssize_t *order

    ctypedef struct fnn_codes:
        float scale, inverse
        int32_t zero

    ctypedef struct fnn_int8:
        const int8_t *W
        const int32_t *sums
        const float *scale
        const float *b

    ctypedef void (*fnn_int8_product)(Py_ssize_t rows, Py_ssize_t n, const uint8_t *U, Py_ssize_t ld, const fnn_int8 *layer,
                                      const fnn_codes *codes, Py_ssize_t each, fnn_activation g, void *C) noexcept nogil

    # The contracts stand in kernels.h.
    ctypedef struct fnn_kernels:
        const char *isa
        int item, nr, vl, mr, paired
        void (*pack_panel)(Py_ssize_t n_in, Py_ssize_t cols, const void *W, void *Wp) noexcept nogil
        void (*unpack_panel)(Py_ssize_t n_in, Py_ssize_t cols, const void *Wp, void *W) noexcept nogil
        void (*transpose_block)(Py_ssize_t rows, int vectors, const void *Wp, void *Wt) noexcept nogil
        void (*gather)(Py_ssize_t rows, Py_ssize_t n, const void *X, const Py_ssize_t *order, void *h,
                       Py_ssize_t stride) noexcept nogil
        void (*scatter)(Py_ssize_t rows, Py_ssize_t n, const void *h, Py_ssize_t stride, void *X) noexcept nogil
        void (*gather_features)(Py_ssize_t rows, Py_ssize_t n, const fnn_features *X, const Py_ssize_t *order, Py_ssize_t first,
                                void *h, Py_ssize_t stride) noexcept nogil
        void (*used_columns)(Py_ssize_t rows, Py_ssize_t n, const void *h, Py_ssize_t stride, void *used) noexcept nogil
        Py_ssize_t (*find_spans)(Py_ssize_t n, Py_ssize_t parts, const void *used, fnn_spans *spans) noexcept nogil
        void (*product_panel)(Py_ssize_t rows, Py_ssize_t n, const void *A, Py_ssize_t row, Py_ssize_t stride, const void *B,
                              const fnn_spans *spans, int far, int vectors, int finish, const void *X, fnn_activation g,
                              void *C) noexcept nogil
        void (*product_turned)(Py_ssize_t rows, Py_ssize_t n, const void *A, Py_ssize_t stride, const void *W,
                               Py_ssize_t panel, int far, Py_ssize_t columns, int finish, const void *X, fnn_activation g,
                               void *C) noexcept nogil
        void (*gradient_block)(Py_ssize_t batch, Py_ssize_t m_rows, const void *A, const void *B, int vectors, void *G,
                               int first, void *W, const fnn_rates *rates, void **near,
                               fnn_prefetch *rows) noexcept nogil
        void (*bias_gradient)(Py_ssize_t batch, const void *delta, void *g, int first) noexcept nogil
        void (*sparse_product)(Py_ssize_t rows, const fnn_features *X, const Py_ssize_t *order, Py_ssize_t first, const void *W,
                               Py_ssize_t panel, Py_ssize_t panels, const void *b, void *a, Py_ssize_t stride) noexcept nogil
        void (*sparse_sort)(Py_ssize_t rows, const fnn_features *X, const Py_ssize_t *order, Py_ssize_t first, Py_ssize_t q0,
                            Py_ssize_t q1, Py_ssize_t *ends, fnn_entry *entries, void *values) noexcept nogil
        void (*sparse_gradient)(Py_ssize_t n, const fnn_entry *entries, const void *values, Py_ssize_t m_rows, const void *B,
                                int vectors, void *G, int first, void *W, const fnn_rates *rates) noexcept nogil
        void (*update)(int optimizer, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t ld, const void *g, void *w,
                       void **state, const fnn_rates *rates) noexcept nogil
        void (*column_squares)(Py_ssize_t n, const void *W, double *sums) noexcept nogil
        void (*row_squares)(Py_ssize_t n, Py_ssize_t columns, const void *W, double *sums) noexcept nogil
        void (*scale_columns)(Py_ssize_t n, const double *factors, void *W) noexcept nogil
        void (*scale_rows)(Py_ssize_t n, const double *factors, void *W) noexcept nogil
        void (*orient)(Py_ssize_t n, const void *rows, const void *columns, int turned, void *W) noexcept nogil
        void (*activate_panel)(Py_ssize_t rows, int vectors, void *h, fnn_activation g, void *d) noexcept nogil
        void (*perturb_panel)(Py_ssize_t rows, int vectors, void *h, void *d, void *e, const fnn_draw *draw, int64_t step,
                              Py_ssize_t first_row, Py_ssize_t column) noexcept nogil
        void (*parametric_panel)(Py_ssize_t rows, int vectors, void *h, fnn_activation g, const void *alpha, void *d,
                                 void *e) noexcept nogil
        void (*parametric_delta)(Py_ssize_t rows, int vectors, const void *dh, const void *d, void *delta) noexcept nogil
        void (*batch_norm)(Py_ssize_t rows, const fnn_norm *norm, Py_ssize_t column, int learn, void *u, void *xhat,
                           void *inv) noexcept nogil
        void (*layer_norm)(Py_ssize_t rows, Py_ssize_t n, const fnn_norm *norm, void *u, Py_ssize_t stride, void *xhat,
                           void *inv) noexcept nogil
        void (*batch_norm_delta)(Py_ssize_t rows, const void *gamma, const void *delta, const void *xhat, const void *inv,
                                 void *du) noexcept nogil
        void (*layer_norm_delta)(Py_ssize_t rows, Py_ssize_t n, const void *gamma, const void *delta, const void *xhat,
                                 Py_ssize_t stride, const void *inv, void *du) noexcept nogil
        void (*scale_gradient)(Py_ssize_t batch, const void *delta, const void *xhat, void *g, int first) noexcept nogil
        void (*features)(Py_ssize_t rows, const fnn_column *c, const void *E, const void *x, Py_ssize_t x_stride, void *h,
                         Py_ssize_t stride) noexcept nogil
        void (*features_gradient)(Py_ssize_t rows, const fnn_column *c, const void *E, const void *x, Py_ssize_t x_stride,
                                  const void *delta, const void *s, Py_ssize_t stride, void *g, int first) noexcept nogil
        void (*entries)(Py_ssize_t rows, const fnn_column *c, const void *s, const void *x, Py_ssize_t x_stride, Py_ssize_t room,
                        int32_t *counts, int32_t *inputs, void *values) noexcept nogil
        void (*entries_product)(Py_ssize_t rows, Py_ssize_t room, const int32_t *counts, const int32_t *inputs,
                                const void *values, const void *W, Py_ssize_t panel, Py_ssize_t panels, const void *b, void *a,
                                Py_ssize_t stride) noexcept nogil
        void (*scale_features)(Py_ssize_t rows, int vectors, const void *s, const void *phi, void *h) noexcept nogil
        void (*softmax)(Py_ssize_t rows, Py_ssize_t n_out, void *a, Py_ssize_t stride, void *scratch) noexcept nogil
        void (*calibrate)(Py_ssize_t rows, Py_ssize_t n, double smoothing, double temperature, double least, void *p,
                          void *scratch) noexcept nogil
        int (*output_delta)(Py_ssize_t rows, Py_ssize_t n_out, const void *a, Py_ssize_t stride, void *h, void *delta,
                            const fnn_targets *y, Py_ssize_t first_row, fnn_activation output, const fnn_loss *loss,
                            double scale, double *losses, void *scratch) noexcept nogil
        void (*row_product)(Py_ssize_t n, const int32_t *order, const void *x, const void *W, Py_ssize_t stride,
                            Py_ssize_t panels, void *z) noexcept nogil
        void (*row_update)(Py_ssize_t n, const int32_t *order, const void *x, const void *d, void *W,
                           Py_ssize_t stride, Py_ssize_t panels) noexcept nogil
        void (*row_update_product)(Py_ssize_t n, const int32_t *order, const void *x, const void *d,
                                   const void *x_next, void *W, Py_ssize_t stride, Py_ssize_t panels,
                                   void *z) noexcept nogil
        void (*row_activate)(Py_ssize_t n, void *z, const void *b, fnn_activation g, void *d) noexcept nogil
        void (*row_derivative)(Py_ssize_t n, void *delta, const void *h, fnn_activation g) noexcept nogil
        void (*row_scale)(Py_ssize_t n, double scale, const void *x, void *y) noexcept nogil
        void (*row_add)(Py_ssize_t n, const void *x, void *y) noexcept nogil
        Py_ssize_t (*nonzeros)(Py_ssize_t n, const void *x, const void *y, int32_t *list) noexcept nogil
        int (*all_finite)(Py_ssize_t n, const void *x) noexcept nogil
        int (*activate_finite)(Py_ssize_t rows, int vectors, void *C, fnn_activation g) noexcept nogil
        void (*round_bfloat16)(Py_ssize_t n, const void *x, void *y) noexcept nogil
        void (*round_weights)(Py_ssize_t n, const void *W, void *B) noexcept nogil
        int (*encode)(Py_ssize_t rows, Py_ssize_t n, const void *x, Py_ssize_t row, Py_ssize_t stride, const fnn_codes *codes,
                      Py_ssize_t each, uint8_t *U, Py_ssize_t ld) noexcept nogil
        void (*code_range)(Py_ssize_t rows, Py_ssize_t n, const void *x, Py_ssize_t row, Py_ssize_t stride,
                           fnn_codes *codes) noexcept nogil
        fnn_int8_product int8_product, int8_product_vnni
        double (*multiply_adds)(Py_ssize_t rounds, void *x) noexcept nogil

    enum:
        FNN_FORWARD
        FNN_BACKWARD
        FNN_PARTIAL

    enum:
        FNN_BLOCK
        FNN_BY_FMA
        FNN_BY_DOTS
        FNN_BY_TILES

    enum:
        FNN_BATCH_NORM
        FNN_LAYER_NORM

    enum:
        FNN_PLAIN
        FNN_PERIODIC
        FNN_PIECEWISE
        FNN_CATEGORIES

    enum:
        fnn_identity
        fnn_relu
        fnn_sgd
        fnn_momentum
        fnn_nesterov
        FNN_SOFTMAX
        FNN_FACTOR
        FNN_MAX_STATES
        FNN_NEAR
        FNN_SUMMED
        FNN_WEIGHT_SUM

    enum:
        FNN_OF_W
        FNN_OF_b
        FNN_OF_gamma
        FNN_OF_alpha
        FNN_OF_scale
        FNN_OF_embedding
        FNN_OF_table
        FNN_GROUPS

    enum:
        fnn_kind_float32
        fnn_kind_float64

cdef extern from "platform.h" nogil:
    ctypedef struct fnn_barrier:
        pass
    int fnn_team_size()
    void fnn_count(int *n)
    ctypedef struct fnn_scouts:
        pass
    void bring_near "fnn_bring_near" (const void *p, Py_ssize_t bytes)

cdef class Memory:
    """Owns zeroed, aligned blocks; frees them with itself."""
    cdef void **blocks
    cdef int n_blocks, room
    cdef readonly size_t bytes
    cdef char *take(self, size_t n, size_t item, size_t times=*) except NULL

cdef fnn_activation as_activation(g) except *
cdef inline fnn_activation plain(int id) noexcept nogil:
    """An activation without a parameter."""
    cdef fnn_activation g
    g.id, g.parameter = id, 0
    return g
cdef bint keeps(fnn_activation g) noexcept nogil
cdef void *allocate(size_t bytes) noexcept nogil
cdef void release(void *p) noexcept nogil
cdef const fnn_kernels *kernels_for(int item) noexcept nogil
cdef int bfloat16_kernels(fnn_kernels *room) noexcept nogil
cdef bint has_dots() noexcept nogil
cdef int worth(int n_threads, double flops) except -1
cdef bint limited_to_one() except -1
cdef bint helper_wanted() noexcept nogil
cdef void start_helper(bint allowed) noexcept nogil
cdef int begin_row() noexcept nogil
cdef void end_row(int how) noexcept nogil
cdef void helped_row_product(const fnn_kernels *k, const void *owner, Py_ssize_t n, const void *x, const void *W,
                             Py_ssize_t stride, Py_ssize_t panels, void *z) noexcept nogil
cdef void leave_helper(const void *owner) noexcept nogil
cdef int startable(int threads) noexcept nogil
cdef bint all_share() noexcept nogil
cdef int check_signals() noexcept
cdef int raise_signals() except -1
cdef int raise_cancel() except -1
cdef double seconds() noexcept nogil
cdef double thread_seconds() noexcept nogil
cdef void wait(fnn_barrier *barrier, int threads) noexcept nogil
cdef unsigned long long fp_enter() noexcept nogil
cdef void fp_leave(unsigned long long mode) noexcept nogil

cdef enum:
    SIZES = 24

cdef struct Choice:
    # How many threads run steps of about one size fastest, by trial. Zeros at first.
    int most                   # threads allowed; another number starts all over
    int threads                # in use, ...
    int tried                  # ... or on trial (0: none)
    bint upwards               # the next trial is of more threads, not of fewer
    bint warm                  # the threads in use have run for a stretch: from here on time counts
    bint returning             # from a trial of fewer threads
    Py_ssize_t rows            # of the stretch being timed, ...
    double seconds             # ... their time so far ...
    double own                 # ... and the sum over threads of what each had a core of its own for
    double cost, best          # seconds a row: the last stretch with `threads`, and the least since the last trial
    double due                 # when the next trial is
    double spent               # seconds since a trial began, or ended
    double saved               # that trials may lose
    int scouts                 # wanted, to see whether there are cores for more threads; those that are out:
    fnn_scouts *out

cdef struct Pace:
    # Of an engine.
    double clock               # seconds of training so far: what lies between two calls does not count
    Choice choices[SIZES]      # for mini-batches of 1, 2 to 3, 4 to 7, ... rows

cdef struct Parts:
    # Which part of a step is each thread's, of panels, rows or blocks. Zeros at first.
    int threads                # of so many
    double *ends               # [threads + 1]: thread t's part lies between ends[t] and ends[t + 1], of 0 to 1
    double *blocks             # [threads]: of weights, of whose gradient it has summed a row since the last look, ...
    double *seconds            # [threads]: ... in so many
    double *speed              # [threads]: blocks a second, over some looks
    int leans                  # in tests: which way

cdef class Shares:
    """Parts by how fast each thread was."""
    cdef Parts parts
    cdef Memory memory
    cdef Parts *among(self, int threads) except? NULL

cdef void learn(Parts *parts) noexcept nogil

cdef bint had_core(double seconds, double ran) noexcept nogil
cdef Choice *choice_of(Pace *pace, Py_ssize_t batch) noexcept nogil
cdef Py_ssize_t next_stretch(Choice *c, int most, Py_ssize_t steps, Py_ssize_t batch, int *threads) noexcept nogil
cdef void took(Pace *pace, Choice *c, Py_ssize_t rows, double seconds, int own, int free) noexcept nogil
cdef int free_cores(Choice *c) noexcept nogil
cdef void dismiss(Pace *pace) noexcept nogil
