# fastnn.h for Cython: `from fastnn.c cimport fastnn_predict`. Importing this loads nothing: a module that cimports it is linked
# to libfastnn (docs/services.md), and calls it without Python and without the GIL.
from libc.stdint cimport int32_t

cdef extern from "fastnn.h" nogil:
    enum:
        FASTNN_OK
        FASTNN_NOT_FINITE
        FASTNN_OTHER_TYPE
        FASTNN_NO_CLASS

    ctypedef struct fastnn_predictor:
        pass

    # What each does stands in fastnn.h. All but the first three allocate nothing.
    fastnn_predictor *fastnn_load(const char *path, char *error, size_t error_size) noexcept
    fastnn_predictor *fastnn_read(const void *bytes, size_t size, char *error, size_t error_size) noexcept
    void fastnn_free(fastnn_predictor *f) noexcept
    size_t fastnn_n_in(const fastnn_predictor *f) noexcept
    size_t fastnn_n_out(const fastnn_predictor *f) noexcept
    size_t fastnn_n_classes(const fastnn_predictor *f) noexcept
    int fastnn_is_double(const fastnn_predictor *f) noexcept
    size_t fastnn_scratch_bytes(const fastnn_predictor *f, size_t rows) noexcept
    int fastnn_predict(const fastnn_predictor *f, const float *x, size_t rows, float *y, void *scratch) noexcept
    int fastnn_predict_double(const fastnn_predictor *f, const double *x, size_t rows, double *y, void *scratch) noexcept
    int fastnn_classify(const fastnn_predictor *f, const float *x, size_t rows, int32_t *classes, void *scratch) noexcept
    int fastnn_classify_double(const fastnn_predictor *f, const double *x, size_t rows, int32_t *classes, void *scratch) noexcept
