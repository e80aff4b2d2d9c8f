from fastnn.kernels._cpu cimport fnn_activation, fnn_draw, fnn_features, fnn_kernels, fnn_spans
from fastnn.kernels.panels cimport Layer

cdef void forward_part(const fnn_kernels *k, const Layer *layer, const char *h_prev, const fnn_spans *spans, char *h,
                       char *d, Py_ssize_t stride, fnn_activation g, Py_ssize_t p0, Py_ssize_t p1, Py_ssize_t r0,
                       Py_ssize_t r1) noexcept nogil
cdef void forward_sparse_part(const fnn_kernels *k, const Layer *layer, const fnn_features *X, const Py_ssize_t *order,
                              Py_ssize_t first, char *h, char *d, Py_ssize_t stride, fnn_activation g,
                              Py_ssize_t rows) noexcept nogil
cdef void perturb_part(const fnn_kernels *k, Py_ssize_t n, char *h, char *d, char *e, Py_ssize_t stride,
                       const fnn_draw *draw, long long step, Py_ssize_t first_row, Py_ssize_t p0, Py_ssize_t p1, Py_ssize_t r0,
                       Py_ssize_t r1) noexcept nogil
cdef void parametric_part(const fnn_kernels *k, Py_ssize_t n, fnn_activation g, const char *alpha, char *h, char *d, char *e,
                          Py_ssize_t stride, Py_ssize_t p0, Py_ssize_t p1, Py_ssize_t r0, Py_ssize_t r1) noexcept nogil
