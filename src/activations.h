/* An activation is one line here, and its twin in tests/reference.py.
 *
 * p: its parameter, here the default. Where h does not tell g'(a), g leaves it in d, which `keeps`: training stores d beside h, and
 * the backward pass is given d in place of h.
 *
 *   name       id  p     keeps  h = g(a)                                    g'(a), from h
 */
#define FNN_ACTIVATIONS(X)                                                                                               \
    X(identity,   0, 0,    0, a,                                             splat(1))                                   \
    X(relu,       1, 0,    0, at_least(a, splat(0)),                         select_v(h > splat(0), splat(1), splat(0))) \
    X(sigmoid,    2, 0,    0, sigmoid_v(a),                                  h * (splat(1) - h))                         \
    X(tanh,       3, 0,    0, tanh_v(a),                                     splat(1) - h * h)                           \
    X(leaky_relu, 4, 0.01, 0, select_v(a > splat(0), a, p * a),              select_v(h > splat(0), splat(1), p))        \
    X(elu,        5, 1,    0, select_v(a > splat(0), a, p * expm1_v(a)),     select_v(h > splat(0), splat(1), h + p))    \
    X(selu,       6, 0,    0, splat(SELU) * select_v(a > splat(0), a, splat(SELU_ALPHA) * expm1_v(a)),                   \
                                        select_v(h > splat(0), splat(SELU), h + splat(SELU * SELU_ALPHA)))               \
    X(softplus,   7, 0,    0, at_least(a, splat(0)) + log1p_v(exp_v(-magnitude(a))), -expm1_v(-h))                       \
    X(hard_tanh,  8, 0,    0, at_most(at_least(a, splat(-1)), splat(1)),                                                 \
                                        select_v((h > splat(-1)) & (h < splat(1)), splat(1), splat(0)))                  \
    X(gelu,       9, 0,    1, gelu_v(a, &d),                                 h)                                          \
    X(gelu_tanh, 10, 0,    1, gelu_tanh_v(a, &d),                            h)                                          \
    X(silu,      11, 0,    1, silu_v(a, &d),                                 h)                                          \
    X(mish,      12, 0,    1, mish_v(a, &d),                                 h)
/* Ids are stored in saved models: append, never renumber. */

/* With those of the output layer alone. */
#define FNN_OUTPUTS(X)                                                                                                   \
    FNN_ACTIVATIONS(X)                                                                                                   \
    X(exp,      101, 0,    0, exp_v(a),                                      h)

/* Klambauer et al. 2017, equation 14. */
#define SELU ((real)1.0507009873554804934)
#define SELU_ALPHA ((real)1.6732632423543772848)

/* Of a whole row, for the output layer alone: softmax, h_j = e^(a_j) / sum_i e^(a_i). */
#define FNN_SOFTMAX 100
/* In a backward pass alone: what stands in h's place is dh/da itself. */
#define FNN_FACTOR -1
