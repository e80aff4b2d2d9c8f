/* What libFuzzer gives to libfastnn's reader (run.py builds it): bytes are refused in one line, or predict. */
#include <assert.h>
#include <fastnn.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 5
#define SMALL 4096 /* inputs or outputs of what is tried */

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

/* Three times of four the header alone is changed, and its length told anew: else most changes would move the data. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
    uint64_t n = 0;
    if (size >= 8) memcpy(&n, data, 8);
    if (size < 8 || n > size - 8 || seed % 4 == 0) return LLVMFuzzerMutate(data, size, max);
    const size_t rest = size - 8 - n;
    uint8_t *body = malloc(rest + 1);
    memcpy(body, data + 8 + n, rest);
    n = LLVMFuzzerMutate(data + 8, n, max - 8 - rest);
    memcpy(data, &n, 8);
    memcpy(data + 8 + n, body, rest);
    free(body);
    return 8 + n + rest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char error[200] = "";
    fastnn_predictor *f = fastnn_read(data, size, error, sizeof error);
    assert(!f == (error[0] != 0) && !strchr(error, '\n'));
    if (f && fastnn_n_in(f) < SMALL && fastnn_n_out(f) < SMALL) {
        const int wide = fastnn_is_double(f);
        const size_t item = wide ? sizeof(double) : sizeof(float);
        void *x = calloc(ROWS * fastnn_n_in(f), item), *y = malloc(ROWS * fastnn_n_out(f) * item);
        void *scratch = malloc(fastnn_scratch_bytes(f, ROWS));
        int32_t classes[ROWS];
        for (size_t rows = 1; rows <= ROWS; rows += ROWS - 1) {
            const int done = wide ? fastnn_predict_double(f, x, rows, y, scratch) : fastnn_predict(f, x, rows, y, scratch);
            const int named = wide ? fastnn_classify_double(f, x, rows, classes, scratch) : fastnn_classify(f, x, rows, classes, scratch);
            assert(done == FASTNN_OK && named == (fastnn_n_classes(f) ? FASTNN_OK : FASTNN_NO_CLASS));
            for (size_t i = 0; named == FASTNN_OK && i < rows; i++) assert(classes[i] >= 0 && (size_t)classes[i] < fastnn_n_classes(f));
        }
        free(x);
        free(y);
        free(scratch);
    }
    fastnn_free(f);
    return 0;
}
