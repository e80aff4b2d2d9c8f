from fastnn.kernels.net cimport Buffers, Net, Run

cdef void train_thread(const Net *net, const Buffers *buffers, Run *run, int t, int threads) noexcept nogil
cdef bint plain_sgd(const Net *net, const Run *run) noexcept nogil
cdef Py_ssize_t entries_bytes(const Net *net, const Run *run) noexcept nogil
cdef Py_ssize_t most_entries(const Run *run) noexcept nogil
