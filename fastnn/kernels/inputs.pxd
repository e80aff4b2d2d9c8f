from fastnn.kernels._cpu cimport FNN_MAX_STATES, Memory, fnn_column, fnn_kernels
from fastnn.kernels.panels cimport Layer
from fastnn.kernels.update cimport Step

cdef struct Phi:
    # What lies between a row of X, n_0 columns, and layer 1.
    bint used                  # otherwise phi(x) is x, and all below is 0
    bint trained               # it has parameters
    Py_ssize_t n_0, n_features
    Py_ssize_t n_columns       # 0: features are the columns of X
    fnn_column *columns        # [n_columns], in order of their features
    Py_ssize_t n_parameters    # of all columns, one vector as in theta:
    Py_ssize_t taken           # rows of layer 1's weights that a sample takes, at most
    double work                # operations of a row, about
    # In prediction (fold_inputs), what does not count as columns and features any more:
    Py_ssize_t n_looked
    fnn_column *looked         # [n_looked], each with its first row of layer 1's weights ...
    Py_ssize_t entries         # ... of which a sample takes so many, at most
    char *E                    # ... the parameters, their gradient, the optimizer's states
    char *G
    char *states[FNN_MAX_STATES]
    char *s                    # panels like a row of features, or NULL; their gradient, states
    char *Gs
    char *states_s[FNN_MAX_STATES]
    double *squares            # [n_columns + panels * NR]: of the gradient's parts

cdef int make_phi(const fnn_kernels *k, Memory memory, Py_ssize_t n_0, description, Phi *phi) except -1
cdef int prepare_phi(const fnn_kernels *k, Memory memory, int n_states, Phi *phi) except -1
cdef char *copy_phi(const fnn_kernels *k, const Phi *phi, char *E, char *s, char *vector, bint store) noexcept nogil
cdef int fold_inputs(const fnn_kernels *k, Memory memory, Phi *phi, Layer *layer) except -1
cdef bint phi_finite(const fnn_kernels *k, const Phi *phi) noexcept nogil
cdef void features_part(const fnn_kernels *k, const Phi *phi, const char *x, Py_ssize_t x_stride, char *plain, char *h,
                        Py_ssize_t stride, Py_ssize_t r0, Py_ssize_t r1) noexcept nogil
cdef void features_gradient_part(const fnn_kernels *k, const Phi *phi, bint first, const char *x, Py_ssize_t x_stride,
                                 const char *plain, const char *delta, Py_ssize_t stride, Py_ssize_t batch, int t,
                                 int threads) noexcept nogil
cdef void features_update_part(const fnn_kernels *k, const Phi *phi, const Step *step, int t, int threads) noexcept nogil
cdef void features_squares_part(const fnn_kernels *k, const Phi *phi, int t, int threads) noexcept nogil
cdef void orient_scale_part(const fnn_kernels *k, const Phi *phi, const char *directions, int t, int threads) noexcept nogil
cdef double features_squares(const Phi *phi) noexcept nogil
