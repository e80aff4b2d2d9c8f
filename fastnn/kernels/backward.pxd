from fastnn.kernels._cpu cimport fnn_activation, fnn_entry, fnn_features, fnn_kernels, fnn_prefetch, fnn_spans
from fastnn.kernels.panels cimport Layer
from fastnn.kernels.update cimport Slots, Step

cdef void hidden_delta_part(const fnn_kernels *k, const Layer *layer, const char *delta, const char *slope,
                            char *delta_prev, Py_ssize_t stride, fnn_activation g, Py_ssize_t q0, Py_ssize_t q1,
                            Py_ssize_t r0, Py_ssize_t r1) noexcept nogil
cdef void gradient_part(const fnn_kernels *k, const Layer *layer, const Slots *slots, const Step *step,
                        const char *delta, const char *h_prev, const fnn_spans *spans, Py_ssize_t stride, Py_ssize_t batch,
                        Py_ssize_t u0, Py_ssize_t u1, char *scratch, fnn_prefetch *rows) noexcept nogil
cdef void delta_and_gradient_part(const fnn_kernels *k, const Layer *layer, const Slots *slots, const Step *step,
                                  const char *delta, const char *h_prev, const char *slope, char *delta_prev,
                                  Py_ssize_t stride, fnn_activation g, Py_ssize_t batch, Py_ssize_t q0, Py_ssize_t q1,
                                  char *scratch) noexcept nogil

cdef struct Entries:
    # Room for what one thread needs of a mini-batch's CSR rows: [in_panels], [n_entries], [n_entries] reals.
    Py_ssize_t *ends
    fnn_entry *entries
    char *values

cdef void gradient_sparse_part(const fnn_kernels *k, const Layer *layer, const Slots *slots, const Step *step,
                               const char *delta, const fnn_features *X, const Py_ssize_t *order, Py_ssize_t first,
                               Py_ssize_t stride, Py_ssize_t batch, Py_ssize_t q0, Py_ssize_t q1, char *scratch,
                               Entries *room) noexcept nogil
cdef void parametric_delta_part(const fnn_kernels *k, Py_ssize_t n, const char *dh, const char *d, char *delta, Py_ssize_t stride,
                                Py_ssize_t p0, Py_ssize_t p1, Py_ssize_t r0, Py_ssize_t r1) noexcept nogil
cdef void parametric_gradient_part(const fnn_kernels *k, char *alpha, const Slots *slots, const Step *step, const char *dh,
                                   const char *e, Py_ssize_t stride, Py_ssize_t batch, Py_ssize_t p0, Py_ssize_t p1,
                                   char *scratch) noexcept nogil
cdef void parametric_update_part(const fnn_kernels *k, char *alpha, const Slots *slots, const Step *step, Py_ssize_t p0,
                                 Py_ssize_t p1) noexcept nogil
