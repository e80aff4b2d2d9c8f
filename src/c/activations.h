/* An activation is one line here, and its twin in tests/reference.py.
 *
 *   name      id  h = g(a)                            g'(a), from h
 */
#define FNN_ACTIVATIONS(X)                                                      \
    X(identity,  0, a,                                  splat(1))               \
    X(relu,      1, at_least(a, splat(0)),              select_v(h > splat(0), splat(1), splat(0))) \
    X(sigmoid,   2, sigmoid_v(a),                       h * (splat(1) - h))     \
    X(tanh,      3, tanh_v(a),                          splat(1) - h * h)
/* Ids are stored in saved models: append, never renumber. */

/* With those of the output layer alone. */
#define FNN_OUTPUTS(X)                                                          \
    FNN_ACTIVATIONS(X)                                                          \
    X(exp,     101, exp_v(a),                           h)

/* Of a whole row, for the output layer alone: softmax, h_j = e^(a_j) / sum_i e^(a_i). */
#define FNN_SOFTMAX 100
