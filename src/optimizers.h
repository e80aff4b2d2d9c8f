/* An optimizer is one line here, and its twin in tests/reference.py.
 *
 * g: gradient, w: parameter, s, t and u: states 0, 1 and 2, as long as theta, zeros at first. Rates are fields of fnn_rates
 * (kernels.h): alpha learning rate, mu momentum, beta1 and beta2 the decays of averages, rest = 1 - beta.
 *   name      id  states  step
 *   momentum, nesterov    Sutskever et al. 2013, in the form v = mu v + g; damped = 1 - dampening from the second step on
 *   adam                  Kingma & Ba 2015, algorithm 1: alpha1 = alpha / (1 - beta1^n), root2 = 1 / sqrt(1 - beta2^n) in step n
 *   amsgrad               Reddi, Kale & Kumar 2018: the largest average of squares so far
 *   nadam                 Dozat 2016: alpha_g and alpha_m, the rates of the gradient and of its average (update.pyx: correct)
 *   rmsprop               Tieleman & Hinton 2012; centered: Graves 2013
 *   adagrad               Duchi, Hazan & Singer 2011
 *   lion                  Chen et al. 2023
 *   rprop                 Riedmiller & Braun 1993, without going back (iRprop-: Igel & Huesken 2000); t: the steps' sizes
 */
#define FNN_OPTIMIZERS(X)                                                                     \
    X(sgd,       0, 0, w = fma_v(-alpha, g, w))                                               \
    X(momentum,  1, 1, s = fma_v(mu, s, damped * g); w = fma_v(-alpha, s, w))                 \
    X(nesterov,  2, 1, s = fma_v(mu, s, g); w = fma_v(-alpha, fma_v(mu, s, g), w))            \
    X(adam,      3, 2, s = fma_v(beta1, s, rest1 * g); t = fma_v(beta2, t, rest2 * (g * g));  \
                       w = fma_v(-alpha1, s / fma_v(root_v(t), root2, epsilon), w))           \
    X(amsgrad,   4, 3, s = fma_v(beta1, s, rest1 * g); t = fma_v(beta2, t, rest2 * (g * g)); u = at_least(u, t); \
                       w = fma_v(-alpha1, s / fma_v(root_v(u), root2, epsilon), w))           \
    X(nadam,     5, 2, s = fma_v(beta1, s, rest1 * g); t = fma_v(beta2, t, rest2 * (g * g));  \
                       w = w - fma_v(alpha_m, s, alpha_g * g) / fma_v(root_v(t), root2, epsilon)) \
    X(rmsprop,   6, 1, s = fma_v(beta2, s, rest2 * (g * g)); w = fma_v(-alpha, g / (root_v(s) + epsilon), w)) \
    X(rmsprop_momentum, 7, 2, s = fma_v(beta2, s, rest2 * (g * g)); t = fma_v(mu, t, g / (root_v(s) + epsilon)); \
                       w = fma_v(-alpha, t, w))                                               \
    X(rmsprop_centered, 8, 2, s = fma_v(beta2, s, rest2 * (g * g)); t = fma_v(beta2, t, rest2 * g); \
                       w = fma_v(-alpha, g / (root_v(at_least(fma_v(-t, t, s), splat(0))) + epsilon), w)) \
    X(rmsprop_centered_momentum, 9, 3, s = fma_v(beta2, s, rest2 * (g * g)); t = fma_v(beta2, t, rest2 * g); \
                       u = fma_v(mu, u, g / (root_v(at_least(fma_v(-t, t, s), splat(0))) + epsilon)); \
                       w = fma_v(-alpha, u, w))                                               \
    X(adagrad,  10, 1, s = fma_v(g, g, s); w = fma_v(-alpha, g / (root_v(s) + epsilon), w))   \
    X(lion,     11, 1, w = fma_v(-alpha, sign_v(fma_v(beta1, s, rest1 * g)), w); s = fma_v(beta2, s, rest2 * g)) \
    X(rprop,    12, 2, V same = sign_v(g) * sign_v(s); t = select_v(t == splat(0), alpha, t); \
                       t = at_most(at_least(t * select_v(same > splat(0), grow, select_v(same < splat(0), shrink, splat(1))), least), most); \
                       s = select_v(same < splat(0), splat(0), g); w = fma_v(-t, sign_v(s), w))
/* Ids are stored in saved models: append, never renumber. */

/* The most states that an optimizer above keeps. */
#define FNN_MAX_STATES 3
