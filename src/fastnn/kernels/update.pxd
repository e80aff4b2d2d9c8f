from fastnn.kernels._cpu cimport fnn_kernels, fnn_rates
from fastnn.kernels.panels cimport Layer

cdef enum:
    MAX_STATES = 1  # the most vectors of state that an optimizer of optimizers.h keeps

cdef struct Step:
    # What becomes of a gradient.
    bint keep                     # it is wanted itself: summed into G and Gb
    bint first                    # ... starting from zero
    int optimizer                 # otherwise: the rule, and its rates
    fnn_rates rates

cdef struct Slots:
    # Panels like Wp and b, for one layer: the gradient, and the optimizer's states.
    char *G
    char *Gb
    char *state_W[MAX_STATES]
    char *state_b[MAX_STATES]

cdef void update_block(const fnn_kernels *k, const Layer *layer, const Slots *slots, const Step *step, Py_ssize_t p,
                       Py_ssize_t q, const char *G) noexcept nogil
cdef void update_bias(const fnn_kernels *k, const Layer *layer, const Slots *slots, const Step *step, Py_ssize_t p,
                      const char *g) noexcept nogil
