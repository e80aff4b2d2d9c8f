from fastnn.kernels._cpu cimport Memory, Pace, Shares, fnn_features, fnn_rates, fnn_targets
from fastnn.kernels.net cimport Buffers, Net, Run

cdef class Workspace:
    cdef Buffers b
    cdef Memory memory
    cdef bint dense            # with inputs in panels, which CSR rows do not need
    cdef void empty(self)
    cdef int make(self, const Net *net, Py_ssize_t capacity, Py_ssize_t batch, bint dense) except -1
    cdef int make_inputs(self, const Net *net, Py_ssize_t rows) except -1

cdef class Engine:
    cdef Net net
    cdef Workspace mini_batches
    cdef Workspace row         # of single samples, for the batch-1 path
    cdef Memory memory         # of what is as large as theta
    cdef void *idle            # of forward passes
    cdef bint single           # for mini-batches of one row
    cdef bint finite           # all weights are known to be
    cdef bint transposed       # what single rows need of the weights' transposes is there
    cdef int optimizer
    cdef readonly int n_states
    cdef fnn_rates plain       # of plain SGD
    cdef Pace pace
    cdef Shares shares
    cdef double ended          # when the last stretch of training did
    cdef Run one               # of a sure step, but for its row and its rate; with it the row's scratch
    cdef char *room            # for one row's activations in a forward pass: two buffers of room_size bytes, and scratch
    cdef size_t room_size

    cdef int lie_by_input(self) except -1
    cdef Py_ssize_t chunk(self, Py_ssize_t batch)
    cdef int set_keys(self, const unsigned long long[:, ::1] keys) except -1
    cdef int prepare_states(self) except -1
    cdef int prepare_squares(self) except -1
    cdef int prepare_gradients(self) except -1
    cdef void settle(self)
    cdef bint online(self, const Run *run, weights)
    cdef bint can_be_sure(self)
    cdef int _run(self, Run *run, y, weights, Py_ssize_t n, int nt) except -1
    cdef int prepare_row(self) except -1
    cdef int row_step(self, const fnn_features *X, const fnn_targets *y, double learning_rate, double *loss) noexcept nogil
    cdef void row_forward(self, const fnn_features *X, char *out) noexcept nogil
