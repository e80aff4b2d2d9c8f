/* A loss is one line here, its body in kernels.c, and its twin in tests/reference.py.
 *
 *   name                  id   L for one sample                              outputs it goes with */
#define FNN_LOSSES(X)                                                           \
    X(squared_error,        0) /* sum_j (h_j - y_j)^2 / 2                       any                */ \
    X(binary_cross_entropy, 1) /* -sum_j y_j ln h_j + (1 - y_j) ln(1 - h_j)     sigmoid            */ \
    X(cross_entropy,        2) /* -sum_j y_j ln h_j                             softmax            */
