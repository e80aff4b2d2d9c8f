cdef struct Pace:
    # How many threads run the steps of an engine fastest, by trial. Zeros at first.
    int most                   # threads allowed; another number starts all over
    int threads                # in use, ...
    int tried                  # ... or on trial (0: none)
    bint upwards               # the next trial is of more threads, not of fewer
    bint slow                  # the last stretch was
    bint warm                  # the threads in use have run for a stretch: from here on time counts
    double stretch             # seconds that a stretch lasts, at least
    Py_ssize_t steps           # of the stretch being timed ...
    double seconds             # ... and their time so far
    double cost, best          # seconds a step: the last stretch with `threads`, and the least since the last change
    double clock               # seconds of training so far: what lies between two calls does not count
    double due, pause          # when the next trial is due, and how long after it the one after that

cdef Py_ssize_t next_stretch(Pace *pace, int most, Py_ssize_t steps, int *threads) noexcept nogil
cdef void took(Pace *pace, Py_ssize_t steps, double seconds) noexcept nogil
