"""Predictions in a loop of compiled code: no Python object, no GIL, no allocation for a row."""
import os

from fastnn.c cimport (
    FASTNN_OK, fastnn_free, fastnn_load, fastnn_n_in, fastnn_n_out, fastnn_predict, fastnn_predictor, fastnn_scratch_bytes,
)
from libc.stdlib cimport free, malloc


cdef class Scores:
    """f(x) of a model file of float32."""

    cdef fastnn_predictor *f
    cdef void *scratch

    def __cinit__(self, path):
        cdef char error[300]
        self.f = fastnn_load(os.fsencode(path), error, sizeof(error))
        if self.f == NULL:
            raise ValueError(error.decode())
        self.scratch = malloc(fastnn_scratch_bytes(self.f, 1))
        if self.scratch == NULL:
            raise MemoryError

    def __dealloc__(self):
        fastnn_free(self.f)
        free(self.scratch)

    cdef int one(self, const float *x, float *y) noexcept nogil:
        """y <- f(x) of one row: what other compiled code calls, one thread at a time."""
        return fastnn_predict(self.f, x, 1, y, self.scratch)

    def walk(self, const float[::1] start, const float[:, ::1] steps, float[:, ::1] out):
        """out (n, n_out) <- f of where each of `steps` leads: rows that are known one after the other."""
        cdef Py_ssize_t n = steps.shape[0], n_in = fastnn_n_in(self.f), i, j
        cdef int status = FASTNN_OK
        cdef float *x
        if not (start.shape[0] == steps.shape[1] == n_in and out.shape[0] == n and out.shape[1] == <Py_ssize_t> fastnn_n_out(self.f)):
            raise ValueError("start, steps and out must have the network's sizes")
        x = <float *> malloc(n_in * sizeof(float))
        if x == NULL:
            raise MemoryError
        with nogil:
            for j in range(n_in):
                x[j] = start[j]
            for i in range(n):
                for j in range(n_in):
                    x[j] = x[j] + steps[i, j]
                status = self.one(x, &out[i, 0])
                if status != FASTNN_OK:
                    break
        free(x)
        if status != FASTNN_OK:
            raise ValueError("a network of float32, and finite numbers")
