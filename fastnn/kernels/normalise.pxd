from fastnn.kernels._cpu cimport fnn_activation, fnn_kernels, fnn_norm
from fastnn.kernels.update cimport Slots, Step

cdef void normalise_part(const fnn_kernels *k, const fnn_norm *norm, Py_ssize_t n, bint learn, char *u, char *xhat, char *inv,
                         char *d, Py_ssize_t stride, fnn_activation g, Py_ssize_t p0, Py_ssize_t p1, Py_ssize_t r0,
                         Py_ssize_t r1) noexcept nogil
cdef void normalise_delta_part(const fnn_kernels *k, const fnn_norm *norm, Py_ssize_t n, const char *delta, const char *xhat,
                               const char *inv, char *du, Py_ssize_t stride, Py_ssize_t p0, Py_ssize_t p1, Py_ssize_t r0,
                               Py_ssize_t r1) noexcept nogil
cdef void normalise_gradient_part(const fnn_kernels *k, const fnn_norm *norm, const Slots *slots, const Step *step,
                                  const char *delta, const char *xhat, Py_ssize_t stride, Py_ssize_t batch, Py_ssize_t p0,
                                  Py_ssize_t p1, char *scratch) noexcept nogil
cdef void normalise_update_part(const fnn_kernels *k, const fnn_norm *norm, const Slots *slots, const Step *step, Py_ssize_t p0,
                                Py_ssize_t p1) noexcept nogil
