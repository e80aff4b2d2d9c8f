/* An optimizer is one line here, and its twin in tests/reference.py.
 *
 * g: gradient, w: parameter, s and t: states 0 and 1, as long as theta, zeros at first. Rates are fields of fnn_rates
 * (kernels.h): alpha learning rate, mu momentum, beta1 and beta2 the decays of averages, rest = 1 - beta.
 *   name      id  states  step
 *   momentum, nesterov    Sutskever et al. 2013, in the form v = mu v + g
 *   adam                  Kingma & Ba 2015, algorithm 1: alpha1 = alpha / (1 - beta1^n), root2 = 1 / sqrt(1 - beta2^n) in step n
 */
#define FNN_OPTIMIZERS(X)                                                                     \
    X(sgd,       0, 0, w = fma_v(-alpha, g, w))                                               \
    X(momentum,  1, 1, s = fma_v(mu, s, g); w = fma_v(-alpha, s, w))                          \
    X(nesterov,  2, 1, s = fma_v(mu, s, g); w = fma_v(-alpha, fma_v(mu, s, g), w))            \
    X(adam,      3, 2, s = fma_v(beta1, s, rest1 * g); t = fma_v(beta2, t, rest2 * (g * g));  \
                       w = fma_v(-alpha1, s / fma_v(root_v(t), root2, epsilon), w))

/* The most states that an optimizer above keeps. */
#define FNN_MAX_STATES 2
