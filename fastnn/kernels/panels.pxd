from fastnn.kernels._cpu cimport Memory, fnn_kernels

cdef struct Layer:
    # One layer in panels (kernels.h). Pointers are to reals of k.item bytes.
    Py_ssize_t n_in, n_out, in_panels, out_panels
    bint has_bias
    bint turned           # few outputs, which would be mostly padding: Wp by its other side
    bint far              # weights that do not stay in L2 from one pass to the next
    char *Wp              # [out panel][n_in][NR]; turned: [in panel][n_out][NR]
    char *Wt              # [in panel][n_out, padded to NR][NR]; NULL but in training with single rows
    char *b               # [out panel][NR]; zeros without bias

cdef enum:
    MOST_COLUMNS = 32     # of a panel: 64 bytes of float, twice
    L2_BYTES = 768 << 10  # what is larger than about this does not stay in a core's L2 from one pass to the next

cdef inline Py_ssize_t panels(const fnn_kernels *k, Py_ssize_t n) noexcept nogil:
    return (n + k.nr - 1) // k.nr

cdef inline Py_ssize_t columns(const fnn_kernels *k, Py_ssize_t n, Py_ssize_t p) noexcept nogil:
    """Columns of panel p that hold anything, of a width of n."""
    return k.nr if n - p * k.nr > k.nr else n - p * k.nr

cdef inline int vectors(const fnn_kernels *k, Py_ssize_t n, Py_ssize_t p) noexcept nogil:
    return 2 if n - p * k.nr > k.vl else 1

cdef inline Py_ssize_t row_room(Py_ssize_t rows) noexcept nogil:
    """Rows to leave room for in a panel: an odd number, so that panels do not start at the same place in a page of memory.

    A row passes through all panels, and addresses that agree in their last 12 bits get in each other's way in L1.
    """
    return rows | 1

cdef inline char *at(const fnn_kernels *k, const void *base, Py_ssize_t element) noexcept nogil:
    return <char *> base + element * k.item

cdef inline Py_ssize_t block(const fnn_kernels *k, const Layer *layer, Py_ssize_t p, Py_ssize_t q) noexcept nogil:
    """Where in Wp the weights from input panel q to output panel p start."""
    return (q * layer.n_out + p * k.nr if layer.turned else p * layer.n_in + q * k.nr) * k.nr

cdef inline Py_ssize_t block_t(const fnn_kernels *k, const Layer *layer, Py_ssize_t p, Py_ssize_t q) noexcept nogil:
    """Where in Wt the same weights start."""
    return (q * layer.out_panels + p) * k.nr * k.nr

cdef inline double real_at(const fnn_kernels *k, const void *v, Py_ssize_t i) noexcept nogil:
    return (<const float *> v)[i] if k.item == 4 else (<const double *> v)[i]

cdef inline void set_real(const fnn_kernels *k, void *v, Py_ssize_t i, double x) noexcept nogil:
    if k.item == 4:
        (<float *> v)[i] = <float> x
    else:
        (<double *> v)[i] = x

cdef int make_layer(const fnn_kernels *k, Memory memory, Py_ssize_t n_in, Py_ssize_t n_out, bint has_bias, bint may_turn,
                    Layer *layer, bint weights=*) except -1
cdef int prepare_transpose(const fnn_kernels *k, Memory memory, Layer *layer) except -1
cdef size_t weight_bytes(const fnn_kernels *k, const Layer *layer) noexcept nogil
cdef char *weight_panels(const fnn_kernels *k, Memory memory, const Layer *layer) except NULL
cdef char *bias_panels(const fnn_kernels *k, Memory memory, const Layer *layer) except NULL
cdef void pack(const fnn_kernels *k, const Layer *layer, const void *W, const void *b, void *Wp, void *bp) noexcept nogil
cdef void unpack(const fnn_kernels *k, const Layer *layer, const void *Wp, const void *bp, void *W, void *b) noexcept nogil
cdef void transpose(const fnn_kernels *k, const Layer *layer) noexcept nogil
cdef void round_part(const fnn_kernels *k, char *h, Py_ssize_t stride, Py_ssize_t p0, Py_ssize_t p1, Py_ssize_t r0,
                     Py_ssize_t r1) noexcept nogil
