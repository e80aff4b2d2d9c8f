/* An optimizer is one line here, and its twin in tests/reference.py.
 *
 * g: gradient, w: parameter, v: velocity (state 0); alpha: learning rate, mu: momentum.
 *   name      id  states  step (Sutskever et al. 2013, in the form v = mu v + g)
 */
#define FNN_OPTIMIZERS(X)                                                                     \
    X(sgd,       0, 0, w = fma_v(-alpha, g, w))                                               \
    X(momentum,  1, 1, v = fma_v(mu, v, g); w = fma_v(-alpha, v, w))                          \
    X(nesterov,  2, 1, v = fma_v(mu, v, g); w = fma_v(-alpha, fma_v(mu, v, g), w))
