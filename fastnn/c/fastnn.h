/* fastnn's predictor, for C, C++ and whatever calls C: a network that Model.save wrote, without Python.
 *
 *     char error[200];
 *     fastnn_predictor *f = fastnn_load("model.safetensors", error, sizeof error);
 *     if (!f) puts(error);
 *     void *scratch = malloc(fastnn_scratch_bytes(f, rows));
 *     int status = fastnn_predict(f, x, rows, y, scratch);     (no allocation, no lock, no system call)
 *     fastnn_free(f);
 *
 * A predictor does not change: any number of threads may use one at the same time, each with a scratch of its own. A call runs on
 * the thread that makes it. The bits are those of fastnn.Predictor. The instruction set is the CPU's best, or what the environment
 * variable FASTNN_ISA names when a file is loaded.
 *
 * This header and the library, libfastnn, belong together. What stands here is kept: functions are added, not changed.
 */
#ifndef FASTNN_H
#define FASTNN_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#ifdef FASTNN_BUILDS
#define FASTNN_API __declspec(dllexport)
#else
#define FASTNN_API __declspec(dllimport)
#endif
#else
#define FASTNN_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What calls return. */
enum {
    FASTNN_OK = 0,
    FASTNN_NOT_FINITE = 1, /* a number of x is NaN or infinite, or a row that is to have a class overflows: an output of it is NaN;
                              y may be written in part */
    FASTNN_OTHER_TYPE = 2, /* the network's numbers are of the other type: nothing was done */
    FASTNN_NO_CLASS = 3    /* the network does not decide for one class: nothing was done */
};

typedef struct fastnn_predictor fastnn_predictor;

/* A file that Model.save wrote, of a network without embeddings, feature_scale and columns. NULL where it cannot be read, or
 * memory is short: then `error`, unless NULL, is the reason, a text that ends within error_size characters. */
FASTNN_API fastnn_predictor *fastnn_load(const char *path, char *error, size_t error_size);

/* The same of a file's `size` bytes, wherever they come from; they are not needed afterwards. */
FASTNN_API fastnn_predictor *fastnn_read(const void *bytes, size_t size, char *error, size_t error_size);

/* NULL is allowed. */
FASTNN_API void fastnn_free(fastnn_predictor *f);

FASTNN_API size_t fastnn_n_in(const fastnn_predictor *f);      /* numbers in a row of x */
FASTNN_API size_t fastnn_n_out(const fastnn_predictor *f);     /* numbers in a row of y */
FASTNN_API size_t fastnn_n_classes(const fastnn_predictor *f); /* that exclude each other; 0: it does not decide for one */
FASTNN_API int fastnn_is_double(const fastnn_predictor *f);    /* 1: x and y are double, float64; 0: float, float32 */

/* Bytes that a call with at most so many rows needs. It grows up to 128 rows, and stays there. */
FASTNN_API size_t fastnn_scratch_bytes(const fastnn_predictor *f, size_t rows);

/* y (rows, n_out) <- h^(K) of x (rows, n_in), as Model.forward gives it: probabilities, where the output is softmax or sigmoid.
 * Row after row without gaps; x and y do not overlap. scratch: memory of any alignment, whose content does not matter. */
FASTNN_API int fastnn_predict(const fastnn_predictor *f, const float *x, size_t rows, float *y, void *scratch);
FASTNN_API int fastnn_predict_double(const fastnn_predictor *f, const double *x, size_t rows, double *y, void *scratch);

/* classes (rows,) <- the number of each row's class, as Model.predict gives it: 0 .. n_classes - 1. */
FASTNN_API int fastnn_classify(const fastnn_predictor *f, const float *x, size_t rows, int32_t *classes, void *scratch);
FASTNN_API int fastnn_classify_double(const fastnn_predictor *f, const double *x, size_t rows, int32_t *classes, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
