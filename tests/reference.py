"""fastnn's mathematics in plain NumPy: slow, short, and the same text as docs/maths.md.

Samples are rows. Layer k = 1..K, h[0] = x; W[k] is (n_k, n_{k-1}); g[k] is layer k's activation.

    a[k]       = h[k-1] W[k]^T + b[k],   h[k] = g[k](a[k])
    delta[K]   = dL/da[K]                                    by output and loss: LOSSES below
    delta[k-1] = (delta[k] W[k]) * g'[k-1](a[k-1])
    dL/dW[k]   = delta[k]^T h[k-1],      dL/db[k] = sum of delta[k] over the rows

Lists count layers as the formulas do, so W[0], b[0], a[0] and delta[0] are None. The results have
the dtype of theta: float32, float64 and longdouble all work. Imports nothing but NumPy.
Finite differences prove it in test_reference.py; the compiled kernels are then held against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# --- Activations: h = g(a), and g'(a) -------------------------------------------------------------


def sigmoid(a):
    """1 / (1 + exp(-a)), with an exponential that cannot overflow."""
    e = np.exp(-np.abs(a))
    return np.where(a >= 0, 1 / (1 + e), e / (1 + e))


def softmax(a):
    """exp(a_j) / sum_i exp(a_i) in each row; taking the row's peak off first changes nothing."""
    e = np.exp(a - a.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


G = {
    "identity": lambda a: a,
    "relu": lambda a: np.maximum(a, 0),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
}
DG = {  # g'(a); the derivative of relu at 0 is taken as 0
    "identity": lambda a: np.ones_like(a),
    "relu": lambda a: (a > 0).astype(a.dtype),
    "sigmoid": lambda a: sigmoid(a) * (1 - sigmoid(a)),
    "tanh": lambda a: 1 - np.tanh(a) ** 2,
}
DG_OF_H = {  # the same derivative written in h = g(a), as the kernels compute it
    "identity": lambda h: np.ones_like(h),
    "relu": lambda h: (h > 0).astype(h.dtype),
    "sigmoid": lambda h: h * (1 - h),
    "tanh": lambda h: 1 - h**2,
}
OUTPUTS = {**G, "exp": np.exp, "softmax": softmax}
DG_OUTPUT = {**DG, "exp": np.exp}

# --- Losses of each row, and delta = dL/da of that row --------------------------------------------


def cross_entropy(a, y):
    """Softmax outputs. L = -sum_j y_j ln f_j,  delta = f sum_j y_j - y, which is f - y."""
    peak = a.max(1, keepdims=True)
    log_sum = np.log(np.exp(a - peak).sum(1, keepdims=True))  # -ln f_j = log_sum + peak - a_j
    losses = (y * (log_sum + (peak - a))).sum(1)
    return losses, softmax(a) * y.sum(1, keepdims=True) - y


def binary_cross_entropy(a, y):
    """Sigmoid outputs. L = -sum_j [y_j ln f_j + (1 - y_j) ln(1 - f_j)],  delta = f - y."""
    losses = (np.maximum(a, 0) - a * y + np.log1p(np.exp(-np.abs(a)))).sum(1)
    return losses, sigmoid(a) - y


def squared_error(a, y, output):
    """Any output. L = 1/2 sum_j (f_j - y_j)^2,  delta = (f - y) times the Jacobian df/da."""
    f = OUTPUTS[output](a)
    e = f - y
    if output == "softmax":  # df_i/da_j = f_i ([i = j] - f_j)
        delta = f * (e - (e * f).sum(1, keepdims=True))
    else:
        delta = e * DG_OUTPUT[output](a)
    return (e**2).sum(1) / 2, delta


def absolute_error(e):
    """l(e) = |e| and l'(e); 0 is taken at the kink."""
    return np.abs(e), np.sign(e)


def huber(e, delta):
    """l(e) = e^2 / 2 where |e| <= delta, delta (|e| - delta / 2) elsewhere."""
    inside = np.abs(e) <= delta
    return (
        np.where(inside, e**2 / 2, delta * (np.abs(e) - delta / 2)),
        np.where(inside, e, delta * np.sign(e)),
    )


def quantile(e, q):
    """l(e) = (1 - q) e where e > 0, -q e elsewhere. q: one for each output."""
    return np.maximum((1 - q) * e, -q * e), np.where(e > 0, 1 - q, -q) * (e != 0)


def of_residual(l, a, y, output):
    """L = sum_j l(e_j), e = f - y,  delta = l'(e) g'(a)."""
    value, slope = l(OUTPUTS[output](a) - y)
    return value.sum(1), slope * DG_OUTPUT[output](a)


def poisson(a, y):
    """Exp outputs. L = sum_j f_j - y_j ln f_j = sum_j e^a_j - y_j a_j,  delta = f - y."""
    return (np.exp(a) - y * a).sum(1), np.exp(a) - y


def focal_softmax(a, y, gamma):
    """L = -sum_j y_j (1 - f_j)^gamma ln f_j,  delta = c - f sum_j c_j,  c_j = f_j dL/df_j."""
    f = softmax(a)
    x = a - a.max(1, keepdims=True)
    minus_log = np.log(np.exp(x).sum(1, keepdims=True)) - x
    rest = np.where(f == 1, 1, 1 - f)  # where f = 1, 1 - f and -ln f go to 0 together
    ratio = np.where(f == 1, 1, minus_log / rest)
    c = -y * (1 - f) ** gamma * (1 + gamma * f * ratio)
    return (y * (1 - f) ** gamma * minus_log).sum(1), c - f * c.sum(1, keepdims=True)


def focal_sigmoid(a, y, gamma):
    """L = -sum_j [y_j (1 - f_j)^gamma ln f_j + (1 - y_j) f_j^gamma ln(1 - f_j)]."""
    f, rest = sigmoid(a), sigmoid(-a)
    low, high = np.logaddexp(0, -a), np.logaddexp(0, a)  # -ln f, -ln(1 - f)
    yes, no = y * rest**gamma, (1 - y) * f**gamma
    delta = no * (gamma * rest * high + f) - yes * (gamma * f * low + rest)
    return (yes * low + no * high).sum(1), delta


def hinge(a, y):
    """L = max(0, 1 + max_(j != y) a_j - a_y),  delta = e(that j) - e(y) where L > 0. y: one-hot."""
    others = np.where(y == 1, -np.inf, a)
    rival = np.eye(a.shape[1], dtype=a.dtype)[others.argmax(1)]
    L = np.maximum(0, 1 + (a * rival).sum(1) - (a * y).sum(1))
    return L, (rival - y) * (L > 0)[:, None]


LOSSES = {  # loss: the outputs it goes with
    "cross_entropy": ("softmax",),
    "binary_cross_entropy": ("sigmoid",),
    "squared_error": tuple(OUTPUTS),
    "absolute_error": (*G, "exp"),
    "huber": (*G, "exp"),
    "quantile": tuple(name for name in (*G, "exp") if name != "sigmoid"),
    "poisson": ("exp",),
    "focal": ("softmax", "sigmoid"),
    "hinge": ("identity",),
}
DEFAULT_LOSS = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy", "exp": "poisson"}
SETTINGS = {  # of each loss, with their defaults; q: one, or one for each output
    "cross_entropy": {"label_smoothing": 0.0},
    "binary_cross_entropy": {"label_smoothing": 0.0},
    "huber": {"delta": 1.0},
    "quantile": {"q": 0.5},
    "focal": {"gamma": 2.0},
}


def losses_and_delta(a, y, output, loss, **settings):
    """Loss of each row (batch,), and delta = dL/da (batch, n_out).

    a: (batch, n_out). y: labels (batch,) for softmax and hinge; values or distributions
    (batch, n_out).
    """
    y = target_rows(y, output, a.shape[1], a.dtype, loss)
    s = {**SETTINGS.get(loss, {}), **settings}
    if loss in ("cross_entropy", "binary_cross_entropy"):
        classes = a.shape[1] if loss == "cross_entropy" else 2
        y = (1 - s["label_smoothing"]) * y + a.dtype.type(s["label_smoothing"]) / classes
        return cross_entropy(a, y) if loss == "cross_entropy" else binary_cross_entropy(a, y)
    if loss == "squared_error":
        return squared_error(a, y, output)
    if loss == "focal":
        return (focal_softmax if output == "softmax" else focal_sigmoid)(a, y, s["gamma"])
    if loss == "absolute_error":
        return of_residual(absolute_error, a, y, output)
    if loss == "huber":
        return of_residual(lambda e: huber(e, s["delta"]), a, y, output)
    if loss == "quantile":
        return of_residual(lambda e: quantile(e, np.asarray(s["q"], a.dtype)), a, y, output)
    return poisson(a, y) if loss == "poisson" else hinge(a, y)


def target_rows(y, output, n_out, dtype, loss=None):
    """y as (batch, n_out): labels become one-hot rows e(y); a vector of values becomes a column."""
    y = np.asarray(y)
    if y.ndim == 2:
        return y.astype(dtype)
    if output == "softmax" or loss == "hinge":
        return np.eye(n_out, dtype=dtype)[y.astype(int)]
    return y.astype(dtype)[:, None]


# --- The network ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Net:
    """sizes: n_0..n_K; activation: one name, or one per hidden layer; bias likewise (per layer).

    loss None follows the output.
    """

    sizes: tuple
    activation: str | tuple = "relu"
    output: str = "softmax"
    loss: str | None = None
    bias: bool | tuple = True
    settings: tuple = ()  # of the loss: (("delta", 2.0), ...)

    @property
    def K(self):
        return len(self.sizes) - 1

    @property
    def g(self):
        """g[k] is the name of layer k's activation, k = 1..K; g[0] is None."""
        hidden = self.activation
        if isinstance(hidden, str):
            hidden = (hidden,) * (self.K - 1)
        return [None, *hidden, self.output]

    @property
    def loss_name(self):
        return self.loss or DEFAULT_LOSS.get(self.output, "squared_error")

    @property
    def has_bias(self):
        """has_bias[k], k = 1..K; has_bias[0] is None."""
        bias = (self.bias,) * self.K if isinstance(self.bias, bool) else tuple(self.bias)
        return [None, *bias]

    @property
    def n_parameters(self):
        n, has_bias = self.sizes, self.has_bias
        return sum(n[k] * n[k - 1] + has_bias[k] * n[k] for k in range(1, self.K + 1))


def unpack(net, theta):
    """theta -> W, b. theta is W[1] row by row, b[1] where layer 1 has a bias, W[2], b[2], ..."""
    W, b, at = [None], [None], 0
    for k in range(1, net.K + 1):
        n_out, n_in = net.sizes[k], net.sizes[k - 1]
        W.append(theta[at : at + n_out * n_in].reshape(n_out, n_in))
        at += n_out * n_in
        b.append(theta[at : at + n_out] if net.has_bias[k] else None)
        at += n_out if net.has_bias[k] else 0
    assert at == len(theta), f"theta must have {at} elements, got {len(theta)}"
    return W, b


def pack(W, b):
    """W, b -> theta; b[k] is None for a layer without bias."""
    layers = zip(W[1:], b[1:], strict=True)
    return np.concatenate([p.ravel() for layer in layers for p in layer if p is not None])


def forward(net, theta, x):
    """a[k] and h[k] of every layer for the rows of x (batch, n_0); h[0] = x."""
    W, b = unpack(net, theta)
    a, h = [None], [np.asarray(x, theta.dtype)]
    for k in range(1, net.K + 1):
        a.append(h[k - 1] @ W[k].T + (0 if b[k] is None else b[k]))
        h.append(OUTPUTS[net.g[k]](a[k]))
    return a, h


def backward(net, theta, x, y, weights=None):
    """losses (batch,), delta[k] (batch, n_k), and grad_W[k], grad_b[k] summed over the rows, all
    times the rows' weights (batch,) where given."""
    W, b = unpack(net, theta)
    a, h = forward(net, theta, x)
    K = net.K
    delta, grad_W, grad_b = [None] * (K + 1), [None] * (K + 1), [None] * (K + 1)
    losses, delta[K] = losses_and_delta(a[K], y, net.output, net.loss_name, **dict(net.settings))
    if weights is not None:  # sum_i w_i L_i
        losses, delta[K] = weights * losses, weights[:, None] * delta[K]
    for k in range(K, 0, -1):
        grad_W[k] = delta[k].T @ h[k - 1]  # dL/dW[k]
        if b[k] is not None:
            grad_b[k] = delta[k].sum(0)  # dL/db[k]
        if k > 1:
            delta[k - 1] = (delta[k] @ W[k]) * DG[net.g[k - 1]](a[k - 1])  # dL/da[k-1]
    return losses, delta, grad_W, grad_b


def loss(net, theta, x, y, weights=None):
    """Mean loss over the rows, sum_i w_i L_i / sum_i w_i."""
    a, _ = forward(net, theta, x)
    losses = losses_and_delta(a[net.K], y, net.output, net.loss_name, **dict(net.settings))[0]
    return losses.mean() if weights is None else (weights * losses).sum() / weights.sum()


def loss_and_gradient(net, theta, x, y, weights=None):
    """Mean loss over the rows, and its gradient laid out like theta; 0 where all weights are."""
    losses, _, grad_W, grad_b = backward(net, theta, x, y, weights)
    total = len(losses) if weights is None else weights.sum()
    if total == 0:
        return 0 * losses.sum(), 0 * pack(grad_W, grad_b)
    return losses.sum() / total, pack(grad_W, grad_b) / total


# --- Optimizers and training ----------------------------------------------------------------------


STATES = {  # vectors kept between steps
    "sgd": 0,
    "momentum": 1,
    "nesterov": 1,
    "adam": 2,
    "amsgrad": 3,
    "nadam": 2,
    "rmsprop": 1,
    "rmsprop_momentum": 2,
    "rmsprop_centered": 2,
    "rmsprop_centered_momentum": 3,
    "adagrad": 1,
    "lion": 1,
    "rprop": 2,
}
OPTIMIZERS = tuple(STATES)


def step(theta, grad, state, n, optimizer, rates):
    """Step n = 1, 2, ...; returns the new theta and the new state.

    alpha: learning_rate, mu: momentum; state: what the rule keeps, zeros before step 1. What shapes
    grad and theta before it: `shaped`.

    sgd:       theta <- theta - alpha grad
    momentum:  v <- mu v + (1 - dampening) grad,  theta <- theta - alpha v;  step 1: v <- grad
    nesterov:  v <- mu v + grad,  theta <- theta - alpha (grad + mu v)
    adam:      m <- beta1 m + (1 - beta1) grad,  v <- beta2 v + (1 - beta2) grad^2,
               theta <- theta - alpha (m / (1 - beta1^n)) / (sqrt(v / (1 - beta2^n)) + epsilon)
    amsgrad:   ... with max(u, v) -> u in place of v in the last line
    nadam:     theta <- theta - alpha ((1 - mu_n) / (1 - Pi_n) grad + mu_n+1 / (1 - Pi_n+1) m)
                       / (sqrt(v / (1 - beta2^n)) + epsilon),
               mu_n = beta1 (1 - psi^n / 2),  Pi_n = mu_1 ... mu_n
    rmsprop:   v <- beta2 v + (1 - beta2) grad^2,  s = grad / (sqrt(v) + epsilon),
               centered:  c <- beta2 c + (1 - beta2) grad,  v - c^2 in place of v
               momentum:  u <- mu u + s in place of s
               theta <- theta - alpha s
    adagrad:   v <- v + grad^2,  theta <- theta - alpha grad / (sqrt(v) + epsilon)
    lion:      theta <- theta - alpha sign(beta1 m + (1 - beta1) grad),
               m <- beta2 m + (1 - beta2) grad
    rprop:     step sizes d, alpha at first, times grow (sign of grad as before), shrink (turned:
               then grad <- 0) or 1, within least..most;  theta <- theta - d sign(grad)
    """
    kind = theta.dtype.type
    alpha = kind(rates["learning_rate"])
    names = ("momentum", "beta1", "beta2", "epsilon")
    mu, beta1, beta2, epsilon = (kind(rates.get(name, 0)) for name in names)
    if optimizer == "sgd":
        return theta - alpha * grad, state
    if optimizer == "momentum":
        undamped = 1 if n == 1 else kind(1 - rates.get("dampening", 0))
        v = mu * state[0] + undamped * grad
        return theta - alpha * v, np.array([v])
    if optimizer == "nesterov":
        v = mu * state[0] + grad
        return theta - alpha * (grad + mu * v), np.array([v])
    if optimizer in ("adam", "amsgrad", "nadam"):
        m = beta1 * state[0] + (1 - beta1) * grad
        v = beta2 * state[1] + (1 - beta2) * grad**2
        largest, state = state[-1], [m, v]
        if optimizer == "amsgrad":
            v = np.maximum(largest, v)
            state = [m, state[1], v]
        mean = m / (1 - beta1**n)
        if optimizer == "nadam":
            psi = kind(rates["psi"])
            mus = [beta1 * (1 - psi**i / 2) for i in range(1, n + 2)]
            product = np.prod(mus[:n], dtype=kind)
            mean = (1 - mus[n - 1]) / (1 - product) * grad + mus[n] / (1 - product * mus[n]) * m
        return theta - alpha * mean / (np.sqrt(v / (1 - beta2**n)) + epsilon), np.array(state)
    if optimizer.startswith("rmsprop"):
        v = beta2 * state[0] + (1 - beta2) * grad**2
        square, state = v, [v, *state[1:]]
        if "centered" in optimizer:
            state[1] = beta2 * state[1] + (1 - beta2) * grad
            square = np.maximum(v - state[1] ** 2, 0)
        s = grad / (np.sqrt(square) + epsilon)
        if "momentum" in optimizer:
            s = state[-1] = mu * state[-1] + s
        return theta - alpha * s, np.array(state)
    if optimizer == "adagrad":
        v = state[0] + grad**2
        return theta - alpha * grad / (np.sqrt(v) + epsilon), np.array([v])
    if optimizer == "lion":
        u = np.sign(beta1 * state[0] + (1 - beta1) * grad)
        return theta - alpha * u, np.array([beta2 * state[0] + (1 - beta2) * grad])
    if optimizer == "rprop":
        shrink, grow, least, most = (kind(rates[k]) for k in ("shrink", "grow", "least", "most"))
        same = np.sign(grad) * np.sign(state[0])
        d = np.where(state[1] == 0, alpha, state[1])
        d = np.clip(d * np.where(same > 0, grow, np.where(same < 0, shrink, 1)), least, most)
        grad = np.where(same < 0, 0, grad)
        return theta - d * np.sign(grad), np.array([grad, d])
    raise ValueError(f"optimizer must be one of {OPTIMIZERS}, got {optimizer!r}")


def shaped(net, theta, grad, rates):
    """What the rule gets in place of theta and grad; rates 0 or left out: none.

    grad <- min(1, clip_norm / (||grad|| + 1e-6)) grad,  within -clip_value..clip_value,
    + l2 theta + l1 sign(theta);  theta <- (1 - alpha weight_decay) theta
    """
    kind = theta.dtype.type
    decayed = np.ones_like(theta)  # 0 for biases that are exempt
    if not rates.get("decay_bias", True):
        for b in unpack(net, decayed)[1][1:]:
            if b is not None:
                b[:] = 0
    if rates.get("clip_norm"):
        grad = grad * min(kind(1), kind(rates["clip_norm"]) / (np.sqrt((grad**2).sum()) + 1e-6))
    if rates.get("clip_value"):
        grad = np.clip(grad, -rates["clip_value"], rates["clip_value"])
    l1, l2 = kind(rates.get("l1", 0)), kind(rates.get("l2", 0))
    grad = grad + decayed * (l2 * theta + l1 * np.sign(theta))
    decay = kind(rates["learning_rate"]) * kind(rates.get("weight_decay", 0))
    return theta - decay * decayed * theta, grad


def limited(net, theta, rates):
    """theta with each unit's incoming weights scaled back to the norm max_norm."""
    theta = theta.copy()
    for W in unpack(net, theta)[0][1:] if rates.get("max_norm") else ():
        norms = np.sqrt((W**2).sum(1, keepdims=True))
        W *= np.where(norms > rates["max_norm"], rates["max_norm"] / norms, 1)
    return theta


def train(
    net, theta, X, y, order, batch, optimizer, rates, state=None, taken=0, alphas=None, weights=None
):
    """Mini-batches over rows X[order], in order; the last one may be smaller. taken: steps before;
    alphas: the learning rate of each step, in place of the one in rates.

    Returns theta, the optimizer's state, and the mean loss of each mini-batch before its step.
    """
    state = np.zeros((STATES[optimizer], len(theta)), theta.dtype) if state is None else state
    losses = []
    for i, start in enumerate(range(0, len(order), batch)):
        rows = order[start : start + batch]
        w = None if weights is None else weights[rows]
        mean_loss, grad = loss_and_gradient(net, theta, X[rows], y[rows], w)
        if alphas is not None:
            rates = {**rates, "learning_rate": alphas[i]}
        theta, grad = shaped(net, theta, grad, rates)
        theta, state = step(theta, grad, state, taken + i + 1, optimizer, rates)
        theta = limited(net, theta, rates)
        losses.append(mean_loss)
    return theta, state, np.array(losses)


# --- Finite differences ---------------------------------------------------------------------------


def central_differences(f, theta, eps):
    """df/dtheta by central differences of fourth order; the error is about eps^4 + u / eps."""
    grad = np.empty_like(theta)
    for i in range(len(theta)):

        def at(steps, i=i):
            moved = theta.copy()
            moved[i] += steps * eps
            return f(moved)

        grad[i] = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * eps)
    return grad


# --- Error bounds for tests -----------------------------------------------------------------------
#
# |computed - exact| <= bound for one layer at a time, given the same inputs, in arithmetic with
# unit roundoff u; any order of summation, FMA or not. An inner product of n terms is off by at most
# gamma_n sum |x_i y_i| (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section
# 3.1). Compute the exact value and the bound in a wider dtype than the one under test.


def unit_roundoff(dtype):
    """u: half the distance from 1 to the next number (2^-24 for float32, 2^-53 for float64)."""
    return float(np.finfo(dtype).eps) / 2


def gamma(n, u):
    """gamma_n = n u / (1 - n u), the relative error that n roundings can pile up."""
    return n * u / (1 - n * u)


def affine_bound(h_prev, W, b, u):
    """For a = h_prev W^T + b."""
    terms = np.abs(h_prev) @ np.abs(W).T + (0 if b is None else np.abs(b))
    return gamma(W.shape[1] + 2, u) * terms


LIPSCHITZ = {"identity": 1.0, "relu": 1.0, "sigmoid": 0.25, "tanh": 1.0}


def activation_bound(a, a_bound, activation, u, ulps=4):
    """For h = g(a) where a is off by a_bound and g is computed to `ulps` units of roundoff."""
    if activation == "softmax":
        return softmax_bound(a, a_bound, u, ulps)
    if activation == "exp":  # e^(a + d) = e^a e^d; the exponent's own rounding is u |a|
        relative = np.expm1(a_bound + u * np.abs(a)) + ulps * u
        return np.exp(a) * relative * 1.01 + smallest(u)
    own = 0 if activation in ("identity", "relu") else ulps * u
    return LIPSCHITZ[activation] * a_bound + own * np.abs(G[activation](a)) + smallest(u)


def softmax_bound(a, a_bound, u, ulps=4):
    """For f = softmax(a): relative errors of numerator and denominator, added.

    Each exponent a_j - peak is off by its own rounding and twice the largest error of a.
    """
    spread = a.max(1, keepdims=True) - a
    in_exponent = u * spread + 2 * np.max(a_bound + 0 * a, 1, keepdims=True)
    relative = np.expm1(in_exponent) + ulps * u
    f = softmax(a)
    of_sum = (f * relative).sum(1, keepdims=True)
    return f * (relative + of_sum + gamma(a.shape[1] + 2, u)) * 1.01 + smallest(u)


def hidden_delta_bound(delta, W, h_prev, activation, u):
    """For delta_prev = (delta W) * g'(a_prev), with g' from h_prev."""
    dg = np.abs(DG_OF_H[activation](h_prev))
    terms = np.abs(delta) @ np.abs(W)
    dg_bound = {"identity": 0 * dg, "relu": 0 * dg, "sigmoid": 2 * u * dg, "tanh": 2 * u + 0 * dg}
    return gamma(W.shape[0] + 2, u) * terms * dg + 1.01 * terms * dg_bound[activation] + smallest(u)


def gradient_bounds(delta, h_prev, u):
    """For grad_W = delta^T h_prev and grad_b = the sum of delta over rows."""
    n = gamma(len(delta) + 1, u)
    return n * (np.abs(delta).T @ np.abs(h_prev)), n * np.abs(delta).sum(0)


def smallest(u):
    """The smallest normal number of the format with unit roundoff u: what underflow may cost."""
    for dtype in (np.float32, np.float64):
        if u == unit_roundoff(dtype):
            return float(np.finfo(dtype).tiny)
    return 0.0
