from fastnn.kernels._cpu cimport Memory, fnn_kernels, fnn_loss, fnn_targets

cdef Py_ssize_t scratch_bytes(const fnn_kernels *k, Py_ssize_t n_out) noexcept nogil
cdef int set_loss(fnn_loss *to, Memory memory, loss, const fnn_kernels *k) except -1
cdef double weight_of(const fnn_targets *y, Py_ssize_t first, Py_ssize_t n) noexcept nogil
cdef double mean(const double *losses, Py_ssize_t n, double weight) noexcept nogil
