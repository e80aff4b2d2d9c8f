from fastnn.kernels._cpu cimport fnn_features, fnn_kernels
from fastnn.kernels.panels cimport Layer

cdef void forward_part(const fnn_kernels *k, const Layer *layer, const char *h_prev, char *h, Py_ssize_t stride,
                       int activation, Py_ssize_t p0, Py_ssize_t p1, Py_ssize_t r0, Py_ssize_t r1) noexcept nogil
cdef void forward_sparse_part(const fnn_kernels *k, const Layer *layer, const fnn_features *X, const Py_ssize_t *order,
                              Py_ssize_t first, char *h, Py_ssize_t stride, int activation, Py_ssize_t rows) noexcept nogil
