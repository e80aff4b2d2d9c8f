/* A loss is one line here, its body in output.h, and its twin in tests/reference.py. Its settings are fields of fnn_loss (kernels.h).
 *
 *   name                  id   L for one sample, e = h - y                   outputs it goes with */
#define FNN_LOSSES(X)                                                           \
    X(squared_error,        0) /* sum_j e_j^2 / 2                               any                */ \
    X(binary_cross_entropy, 1) /* -sum_j y_j ln h_j + (1 - y_j) ln(1 - h_j)     sigmoid            */ \
    X(cross_entropy,        2) /* -sum_j y_j ln h_j                             softmax            */ \
    X(absolute_error,       3) /* sum_j |e_j|                                   any but softmax    */ \
    X(huber,                4) /* sum_j c (|e_j| - c / 2), c = min(|e_j|, d)    any but softmax    */ \
    X(quantile,             5) /* sum_j (1 - q_j) e_j if e_j > 0, else -q_j e_j any but softmax    */ \
    X(poisson,              6) /* sum_j h_j - y_j ln h_j                        exp                */ \
    X(focal,                7) /* -sum_j y_j (1 - h_j)^g ln h_j                 softmax; sigmoid: and of 1 - y, 1 - h */ \
    X(hinge,                8) /* max(0, 1 + max_(j != y) h_j - h_y)            identity           */
/* Ids are stored in saved models: append, never renumber. */
