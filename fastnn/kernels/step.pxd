from fastnn.kernels._cpu cimport Memory
from fastnn.kernels.backward cimport Entries
from fastnn.kernels.net cimport Buffers, Net, Run

cdef int run_steps(Net *net, const Buffers *buffers, Run *run, int n_threads) except -1
cdef bint sums_gradient(const Net *net, const Run *run, int threads) noexcept nogil
cdef bint plain_sgd(const Net *net, const Run *run) noexcept nogil
cdef int make_spans(const Net *net, Run *run, Memory memory, int threads) except -1
cdef Entries *make_entries(const Net *net, const Run *run, Memory memory, int threads) except NULL
