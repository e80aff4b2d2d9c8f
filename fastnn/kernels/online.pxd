from fastnn.kernels.net cimport Buffers, Net, Run

cdef void catch_up(const Net *net, Buffers *buffers) noexcept nogil
cdef void train_online(const Net *net, Buffers *buffers, Run *run) noexcept nogil
