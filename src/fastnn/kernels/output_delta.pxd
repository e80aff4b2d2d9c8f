from fastnn.kernels._cpu cimport fnn_kernels

cdef Py_ssize_t scratch_bytes(const fnn_kernels *k, Py_ssize_t n_out) noexcept nogil
cdef double mean(const double *losses, Py_ssize_t n) noexcept nogil
