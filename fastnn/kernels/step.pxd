from fastnn.kernels._cpu cimport Memory
from fastnn.kernels.backward cimport Entries
from fastnn.kernels.net cimport Buffers, Net, Run

cdef void train_thread(const Net *net, const Buffers *buffers, Run *run, int t, int threads) noexcept nogil
cdef bint plain_sgd(const Net *net, const Run *run) noexcept nogil
cdef Entries *make_entries(const Net *net, const Run *run, Memory memory, int threads) except NULL
