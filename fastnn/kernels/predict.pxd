from fastnn.kernels._cpu cimport fnn_features, fnn_targets
from fastnn.kernels.net cimport Net

cdef int forward_rows(const Net *net, void **idle, const fnn_features *X, const Py_ssize_t *order, char *out,
                      const fnn_targets *y, double *losses, Py_ssize_t n, int n_threads, bint helped=*) except -1
cdef void free_room(void **idle) noexcept
cdef Py_ssize_t widest_panels(const Net *net, const fnn_features *X) noexcept nogil
cdef int forward_chunk(const Net *net, const fnn_features *X, const Py_ssize_t *order, char *out, Py_ssize_t rows,
                       Py_ssize_t first, const fnn_targets *y, double *losses, size_t size, char *room,
                       bint helped=*) noexcept nogil
