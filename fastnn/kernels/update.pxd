from fastnn.kernels._cpu cimport FNN_GROUPS, FNN_MAX_STATES, fnn_kernels, fnn_norm, fnn_rates
from fastnn.kernels.panels cimport Layer

cdef struct Step:
    # What becomes of a gradient.
    bint summed                   # in G and Gb, over several calls
    bint first                    # ... of which this is the first
    bint apply                    # the step follows: by this rule,
    int optimizer, n_states       # ... with so many vectors of state
    fnn_rates rates               # ... and these rates,
    fnn_rates of[FNN_GROUPS]      # ... or what follows from them for a group (`share_rates`, `enter_layer`),
    int n_groups                  # ... as far as the network has it

cdef struct Slots:
    # Panels like Wp and b, for one layer: the gradient, and the optimizer's states.
    char *G
    char *Gb
    char *state_W[FNN_MAX_STATES]
    char *state_b[FNN_MAX_STATES]
    char *Gg                      # of gamma, where the layer is normalised
    char *state_g[FNN_MAX_STATES]
    char *Ga                      # of alpha, where the activation is parametric
    char *state_a[FNN_MAX_STATES]
    double *squares               # [out_panels * NR]: of each unit's gradient

cdef fnn_rates as_rates(dict rates)
cdef void correct(fnn_rates *rates, long long n) noexcept nogil
cdef void share_rates(Step *step) noexcept nogil
cdef void scale_weights_rates(Step *step, Py_ssize_t n_in) noexcept nogil

cdef inline void enter_layer(Step *step, const Layer *layer) noexcept nogil:
    """The weights' rates are those of this layer from here on."""
    if step.rates.ntk:
        scale_weights_rates(step, layer.n_in)

cdef void update_block(const fnn_kernels *k, const Layer *layer, const Slots *slots, const Step *step, Py_ssize_t p,
                       Py_ssize_t q, const char *G) noexcept nogil
cdef void update_vector(const fnn_kernels *k, void *w, char *const *states, const Step *step, int group, Py_ssize_t p,
                        const char *g) noexcept nogil
cdef void update_part(const fnn_kernels *k, const Layer *layer, const Slots *slots, const Step *step, Py_ssize_t u0,
                      Py_ssize_t u1) noexcept nogil
cdef void clear_padding(const fnn_kernels *k, const Layer *layer, Py_ssize_t p, Py_ssize_t q) noexcept nogil
cdef void unit_squares(const fnn_kernels *k, const Layer *layer, const char *Wp, Py_ssize_t p, double *sums) noexcept nogil
cdef void squares_part(const fnn_kernels *k, const Layer *layer, const fnn_norm *norm, bint has_alpha, const Slots *slots,
                       Py_ssize_t p0, Py_ssize_t p1) noexcept nogil
cdef void orient_part(const fnn_kernels *k, const Layer *layer, const char *inputs, const char *outputs, Py_ssize_t p0,
                      Py_ssize_t p1) noexcept nogil
cdef void limit_part(const fnn_kernels *k, const Layer *layer, double most, Py_ssize_t p0, Py_ssize_t p1) noexcept nogil
