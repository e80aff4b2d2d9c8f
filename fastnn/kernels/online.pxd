from fastnn.kernels.net cimport Buffers, Net, Run

cdef void train_online(const Net *net, const Buffers *buffers, Run *run) noexcept nogil
