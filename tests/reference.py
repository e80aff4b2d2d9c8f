"""fastnn's mathematics in plain NumPy: slow, short, and the same text as docs/maths.md.

Samples are rows. Layer k = 1..K, h[0] = x; W[k] is (n_k, n_{k-1}); g[k] is layer k's activation.

    a[k]       = h[k-1] W[k]^T + b[k],   h[k] = g[k](a[k])
    delta[K]   = dL/da[K]                                    by output and loss: LOSSES below
    delta[k-1] = (delta[k] W[k]) * g'[k-1](a[k-1])
    dL/dW[k]   = delta[k]^T h[k-1],      dL/db[k] = sum of delta[k] over the rows

    parametric: h[k] = a[k] + alpha[k] (g[k](a[k]) - a[k])
    normalised: a[k] = gamma[k] xhat[k] + b[k], xhat[k] from u[k] = h[k-1] W[k]^T, and dL/du[k] in
    place of delta[k] but in dL/db[k]

    an input layer: h[0] = s * phi(x), and below it delta[0] = dL/dh[0] = delta[1] W[1]

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


def softplus(a):
    """ln(1 + exp(a)), with an exponential that cannot overflow."""
    return np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))


def normal(a):
    """Phi(a), the normal distribution, and phi(a), its density.

    Phi(a) = 1/2 + phi(a) (a + a^3/3 + a^5/(3 5) + ...), and for a < -3
    Phi(a) = phi(a) / (t + 1/(t + 2/(t + 3/...))), t = -a  [Abramowitz & Stegun, 26.2.11, 26.2.14]
    """
    a = np.asarray(a)
    phi = np.exp(-a * a / 2) / np.sqrt(8 * np.arctan(a.dtype.type(1)))
    near = np.clip(a, -3, 3)
    term = total = near
    for n in range(3, 161, 2):
        term = term * near * near / n
        total = total + term
    t = np.maximum(np.abs(a), 3)
    fraction = t
    for n in range(200, 0, -1):
        fraction = t + n / fraction
    tail = phi / fraction
    return np.where(np.abs(a) <= 3, 0.5 + phi * total, np.where(a < 0, tail, 1 - tail)), phi


def gelu_tanh_argument(a):
    """u = 2 sqrt(2 / pi) (a + 0.044715 a^3), and du/da."""
    by, cubic = np.sqrt(2 / np.arctan(a.dtype.type(1))), a.dtype.type("0.044715")
    return by * (a + cubic * a**3), by * (1 + 3 * cubic * a**2)


SELU, SELU_ALPHA = np.longdouble("1.0507009873554804934"), np.longdouble("1.6732632423543772848")


def selu(a):
    scale, alpha = a.dtype.type(SELU), a.dtype.type(SELU_ALPHA)
    return scale * np.where(a > 0, a, alpha * np.expm1(np.minimum(a, 0)))


def selu_slope(a):
    scale, alpha = a.dtype.type(SELU), a.dtype.type(SELU_ALPHA)
    return scale * np.where(a > 0, 1, alpha * np.exp(np.minimum(a, 0)))


def gelu_tanh_slope(a):
    u, du = gelu_tanh_argument(a)
    return sigmoid(u) + a * sigmoid(u) * sigmoid(-u) * du


def mish_slope(a):
    t = np.tanh(softplus(a))
    return t + a * (1 - t**2) * sigmoid(a)


G = {  # p: the parameter, of those that have one
    "identity": lambda a: a,
    "relu": lambda a: np.maximum(a, 0),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "leaky_relu": lambda a, p=0.01: np.where(a > 0, a, a.dtype.type(p) * a),
    "elu": lambda a, p=1.0: np.where(a > 0, a, a.dtype.type(p) * np.expm1(np.minimum(a, 0))),
    "selu": selu,
    "softplus": softplus,
    "hard_tanh": lambda a: np.clip(a, -1, 1),
    "gelu": lambda a: a * normal(a)[0],
    "gelu_tanh": lambda a: a * sigmoid(gelu_tanh_argument(a)[0]),
    "silu": lambda a: a * sigmoid(a),
    "mish": lambda a: a * np.tanh(softplus(a)),
}
DG = {  # g'(a); where pieces meet, that of the left one (hard_tanh: 0)
    "identity": lambda a: np.ones_like(a),
    "relu": lambda a: (a > 0).astype(a.dtype),
    "sigmoid": lambda a: sigmoid(a) * (1 - sigmoid(a)),
    "tanh": lambda a: 1 - np.tanh(a) ** 2,
    "leaky_relu": lambda a, p=0.01: np.where(a > 0, 1, a.dtype.type(p)),
    "elu": lambda a, p=1.0: np.where(a > 0, 1, a.dtype.type(p) * np.exp(np.minimum(a, 0))),
    "selu": selu_slope,
    "softplus": sigmoid,
    "hard_tanh": lambda a: (np.abs(a) < 1).astype(a.dtype),
    "gelu": lambda a: normal(a)[0] + a * normal(a)[1],
    "gelu_tanh": gelu_tanh_slope,
    "silu": lambda a: sigmoid(a) + a * sigmoid(a) * sigmoid(-a),
    "mish": mish_slope,
}
DG_OF_H = {  # the same derivative written in h = g(a), as the kernels compute it where h tells it
    "identity": lambda h: np.ones_like(h),
    "relu": lambda h: (h > 0).astype(h.dtype),
    "sigmoid": lambda h: h * (1 - h),
    "tanh": lambda h: 1 - h**2,
    "leaky_relu": lambda h, p=0.01: np.where(h > 0, 1, h.dtype.type(p)),
    "elu": lambda h, p=1.0: np.where(h > 0, 1, h + h.dtype.type(p)),
    "selu": lambda h: np.where(h > 0, h.dtype.type(SELU), h + h.dtype.type(SELU * SELU_ALPHA)),
    "softplus": lambda h: -np.expm1(-h),
    "hard_tanh": lambda h: (np.abs(h) < 1).astype(h.dtype),
}
OUTPUTS = {**G, "exp": np.exp, "softmax": softmax}
DG_OUTPUT = {**DG, "exp": np.exp}


def apply(table, g, a, alpha=None):
    """Of table G, DG, ...: g is a name, or a name and its parameter; or ("parametric", such a one):
    of G, a + alpha (g(a) - a), of DG its derivative in a."""
    name, *parameter = (g,) if isinstance(g, str) else g
    if name == "parametric":
        plain = np.ones_like(a) if table is DG else a
        return plain + alpha * (apply(table, *parameter, a) - plain)
    return table[name](a, *parameter)


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
    f = apply(OUTPUTS, output, a)
    e = f - y
    if output == "softmax":  # df_i/da_j = f_i ([i = j] - f_j)
        delta = f * (e - (e * f).sum(1, keepdims=True))
    else:
        delta = e * apply(DG_OUTPUT, output, a)
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
    value, slope = l(apply(OUTPUTS, output, a) - y)
    return value.sum(1), slope * apply(DG_OUTPUT, output, a)


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


# --- Normalisation --------------------------------------------------------------------------------


def normalised(norm, u, running=None):
    """xhat = (u - mean) inv, and inv = 1 / sqrt(variance + epsilon), of columns or rows; mean and
    variance (n,) of the rows, too, unless they are `running`, which a row alone takes as well.

    norm: ("batch" or "layer", momentum, epsilon).
    """
    axis = 0 if norm[0] == "batch" else 1
    mean, variance = u.mean(axis, keepdims=True), u.var(axis, keepdims=True)
    if running is not None:
        mean, variance = (np.asarray(one, u.dtype)[None] for one in running)
    inv = 1 / np.sqrt(variance + u.dtype.type(norm[2]))
    return (u - mean) * inv, inv, mean.ravel(), variance.ravel()


def normalised_delta(norm, delta, xhat, gamma, inv, fixed):
    """dL/du from delta = dL/d(gamma xhat + b); fixed: mean and variance do not follow u."""
    c = gamma * delta
    if fixed:
        return inv * c
    axis = 0 if norm[0] == "batch" else 1
    return inv * (c - c.mean(axis, keepdims=True) - xhat * (c * xhat).mean(axis, keepdims=True))


def new_running(net, dtype):
    """running[k], a list of mean and variance for a batch-normalised layer k; otherwise None."""
    return [
        [np.zeros(n, dtype), np.ones(n, dtype)] if norm and norm[0] == "batch" else None
        for n, norm in zip(net.sizes, net.norms, strict=True)
    ]


# --- Dropout and noise ----------------------------------------------------------------------------


def philox(counter, key):
    """Philox 4x32-10 (Salmon et al. 2011, section 3.3): four words for each counter of four."""
    low = np.uint64(0xFFFFFFFF)
    x = [np.asarray(word, np.uint64) & low for word in counter]
    k0, k1 = int(key) & 0xFFFFFFFF, int(key) >> 32
    for _ in range(10):
        p, q = x[0] * np.uint64(0xD2511F53), x[2] * np.uint64(0xCD9E8D57)
        x = [
            (q >> np.uint64(32)) ^ x[1] ^ np.uint64(k0),
            q & low,
            (p >> np.uint64(32)) ^ x[3] ^ np.uint64(k1),
            p & low,
        ]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return x


def words(key, step, batch, n):
    """For rows r and columns c (batch, n): word r mod 4 of counter (c, r / 4, step); and of its
    pair, words 0 and 1 or 2 and 3, the first and the second."""
    r, c = np.arange(batch)[:, None], np.arange(n)[None, :]
    four = philox((c, r // 4, step & 0xFFFFFFFF, step >> 32), key)
    four = np.array([np.broadcast_to(word, (batch, n)) for word in four])
    own = np.choose(r % 4, four)
    return own, np.choose(r % 4 // 2 * 2, four), np.choose(r % 4 // 2 * 2 + 1, four)


def drawn(key_dropout, key_noise, dropout, noise, step, batch, n, dtype):
    """sigma z, and m / (1 - p): what a step adds to h (batch, n), and multiplies it by."""
    _, first, second = words(key_noise, step, batch, n)
    u, v = ((word >> np.uint64(9)).astype(dtype) * dtype.type(2.0**-23) for word in (first, second))
    r, angle = np.sqrt(-2 * np.log(1 - u)), 8 * np.arctan(dtype.type(1)) * v  # Box & Muller 1958
    z = r * np.where(np.arange(batch)[:, None] % 2 == 0, np.cos(angle), np.sin(angle))
    kept = words(key_dropout, step, batch, n)[0] >= np.uint64(int(dropout * 2.0**32))
    return dtype.type(noise) * z, kept / (1 - dtype.type(dropout))


@dataclass(frozen=True)
class Net:
    """sizes: n_0..n_K; activation: one name, or one per hidden layer; bias likewise (per layer).

    An activation with a parameter is a pair (name, parameter), one with an alpha for each unit
    ("parametric", activation). loss None follows the output.
    """

    sizes: tuple
    activation: str | tuple = "relu"
    output: str = "softmax"
    loss: str | None = None
    bias: bool | tuple = True
    settings: tuple = ()  # of the loss: (("delta", 2.0), ...)
    dropout: tuple | None = None  # K numbers, of h[0]..h[K-1]; noise likewise
    noise: tuple | None = None
    norm: tuple | None = None  # of each hidden layer: None or as `normalised` takes it
    embeddings: tuple = ()  # as `features` takes them
    feature_scale: bool = False
    directions: tuple | None = None  # of the features and of each layer's units: -1, 0, 1
    bfloat16: bool = False  # operands of the layers' products are rounded to it

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
    def norms(self):
        """norms[k], k = 1..K - 1; norms[0] and norms[K] are None."""
        return [None, *(self.norm or (None,) * (self.K - 1)), None]

    @property
    def parametric(self):
        """parametric[k], k = 1..K: whether layer k has alpha[k]."""
        return [g is not None and g[0] == "parametric" for g in self.g]

    @property
    def loss_name(self):
        return self.loss or DEFAULT_LOSS.get(self.output, "squared_error")

    @property
    def has_bias(self):
        """has_bias[k], k = 1..K; has_bias[0] is None."""
        bias = (self.bias,) * self.K if isinstance(self.bias, bool) else tuple(self.bias)
        return [None, *bias]

    @property
    def widths(self):
        """n_features, n_1..n_K: what layers take and give."""
        return (len(self.plain) + sum(self.embedded), *self.sizes[1:])

    @property
    def plain(self):
        """Columns in no embedding."""
        taken = {column for _, columns, *_ in self.embeddings for column in columns}
        return [column for column in range(self.sizes[0]) if column not in taken]

    @property
    def embedded(self):
        """Features of each embedded column."""
        return [
            width_of(embedding, i)
            for embedding in self.embeddings
            for i in range(len(embedding[1]))
        ]

    @property
    def n_inputs(self):
        """Parameters of the input layer."""
        shapes = [part for embedding in self.embeddings for part in shapes_of(embedding)]
        n = sum(int(np.prod(shape)) for part in shapes for shape in part.values())
        return n + self.widths[0] * self.feature_scale

    @property
    def n_parameters(self):
        n, has_bias = self.widths, self.has_bias
        vectors = [
            0 if k == 0 else has_bias[k] + bool(self.norms[k]) + self.parametric[k]
            for k in range(self.K + 1)
        ]
        return self.n_inputs + sum(n[k] * (n[k - 1] + vectors[k]) for k in range(1, self.K + 1))


# --- The input layer: h[0] = s * phi(x) -----------------------------------------------------------


def width_of(embedding, i):
    """Features of the i-th column of an embedding.

    An embedding is ("periodic", columns, frequencies, width), ("piecewise", columns, edges of each,
    width or None) or ("categories", (column,), n, width or None).
    """
    kind, _, n, width = embedding
    if kind == "periodic":
        return 1 + width
    return width or (len(n[i]) - 1 if kind == "piecewise" else n)


def shapes_of(embedding):
    """For each column of an embedding the shapes of its parameters, as they lie in theta."""
    kind, columns, n, width = embedding
    if kind == "periodic":
        return [{"w": (n,), "b": (n,), "V": (width, n), "c": (width,)} for _ in columns]
    if width is None:
        return [{} for _ in columns]
    if kind == "piecewise":
        return [{"T": (len(edges) - 1, width), "c": (width,)} for edges in n]
    return [{"T": (n, width)}]


def unpack_inputs(net, theta):
    """theta -> the parameters of each embedding's columns, [embedding][column][name], and s or
    None. They stand before W[1], in this order."""
    phi, at = [], 0
    for embedding in net.embeddings:
        phi.append([])
        for shapes in shapes_of(embedding):
            part = {}
            for name, shape in shapes.items():
                stop = at + int(np.prod(shape))
                part[name], at = theta[at:stop].reshape(shape), stop
            phi[-1].append(part)
    return phi, theta[at : at + net.widths[0]] if net.feature_scale else None


def periodic_parts(x, p):
    """cos and sin of the angles 2 pi w x + b, (batch, frequencies)."""
    angle = 8 * np.arctan(x.dtype.type(1)) * p["w"] * x[:, None] + p["b"]
    return np.cos(angle), np.sin(angle)


def through_bins(x, edges):
    """(x - left) / (right - left) of each bin, within 0..1, but below the first and above the last
    on and on: (batch, bins)."""
    edges = np.asarray(edges, x.dtype)
    p = (x[:, None] - edges[:-1]) / (edges[1:] - edges[:-1])
    p[:, 1:] = np.maximum(p[:, 1:], 0)
    p[:, :-1] = np.minimum(p[:, :-1], 1)
    return p


def one_hot(x, n):
    """1 at the code, 0 elsewhere and for other numbers: (batch, n)."""
    return (x[:, None] == np.arange(n)).astype(x.dtype)


def features(net, phi, x):
    """phi(x) (batch, n_features) from x (batch, n_0): columns in no embedding, then each
    embedding's: [x, V cos + c], p or p T + c, e(code) or e(code) T."""
    parts = [x[:, net.plain]]
    for (kind, columns, n, width), of in zip(net.embeddings, phi, strict=True):
        for i, (column, p) in enumerate(zip(columns, of, strict=True)):
            xi = x[:, column]
            if kind == "periodic":
                parts += [xi[:, None], periodic_parts(xi, p)[0] @ p["V"].T + p["c"]]
                continue
            q = through_bins(xi, n[i]) if kind == "piecewise" else one_hot(xi, n)
            parts.append(q if width is None else q @ p["T"] + p.get("c", 0))
    return np.concatenate(parts, 1)


def features_gradient(net, phi, x, delta):
    """The gradient of phi's parameters, as they lie in theta, from delta = dL/dphi(x)."""
    grad, at = [], len(net.plain)
    for embedding, of in zip(net.embeddings, phi, strict=True):
        kind, columns, n, width = embedding
        for i, (column, p) in enumerate(zip(columns, of, strict=True)):
            own, at = delta[:, at : at + width_of(embedding, i)], at + width_of(embedding, i)
            xi = x[:, column]
            if kind == "periodic":
                own = own[:, 1:]
                cos, sin = periodic_parts(xi, p)
                e = -(own @ p["V"]) * sin  # dL/d(angle)
                of_w = 8 * np.arctan(x.dtype.type(1)) * (e * xi[:, None]).sum(0)
                grad += [of_w, e.sum(0), own.T @ cos, own.sum(0)]
            elif width is not None:
                q = through_bins(xi, n[i]) if kind == "piecewise" else one_hot(xi, n)
                grad += [q.T @ own] + ([own.sum(0)] if "c" in p else [])
    return grad


def inputs(net, theta, x):
    """phi(x), s (1 where features are not scaled), and h[0] = s * phi(x)."""
    phi, s = unpack_inputs(net, theta)
    x = np.asarray(x, theta.dtype)
    plain = features(net, phi, x)
    s = np.ones(net.widths[0], theta.dtype) if s is None else s
    return plain, s, s * plain


def inputs_gradient(net, theta, x, delta):
    """The gradient of the input layer's parameters, a list of arrays, from delta[0] = dL/dh[0]."""
    plain, s, _ = inputs(net, theta, x)
    phi, x = unpack_inputs(net, theta)[0], np.asarray(x, theta.dtype)
    grad = features_gradient(net, phi, x, s * delta)
    return grad + [(delta * plain).sum(0)] * net.feature_scale


def unpack(net, theta):
    """theta -> W, b, gamma, alpha. theta is what `unpack_inputs` takes, W[1] row by row, b[1] where
    layer 1 has a bias, gamma[1] where it is normalised, alpha[1] where its activation is
    parametric, W[2], ..."""
    W, b, gamma, alpha, at = [None], [None], [None], [None], net.n_inputs
    for k in range(1, net.K + 1):
        n_out, n_in = net.widths[k], net.widths[k - 1]
        W.append(theta[at : at + n_out * n_in].reshape(n_out, n_in))
        at += n_out * n_in
        b.append(theta[at : at + n_out] if net.has_bias[k] else None)
        at += n_out if net.has_bias[k] else 0
        gamma.append(theta[at : at + n_out] if net.norms[k] else None)
        at += n_out if net.norms[k] else 0
        alpha.append(theta[at : at + n_out] if net.parametric[k] else None)
        at += n_out if net.parametric[k] else 0
    assert at == len(theta), f"theta must have {at} elements, got {len(theta)}"
    return W, b, gamma, alpha


def pack(W, b, gamma=None, alpha=None, of_inputs=()):
    """W, b, gamma, alpha -> theta; what a layer does not have is None, or all of them are.
    of_inputs: the arrays before them."""
    none = [None] * len(W)
    layers = zip(W[1:], b[1:], (gamma or none)[1:], (alpha or none)[1:], strict=True)
    parts = [*of_inputs, *(p for layer in layers for p in layer if p is not None)]
    return np.concatenate([part.ravel() for part in parts])


def rounded(net, x):
    """What a product of a layer takes in x's place: in bfloat16 the nearest one, of two equally
    near ones the even one."""
    if not net.bfloat16:
        return x
    bits = np.asarray(x, np.float32).view(np.uint32)
    nearest = bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000
    return nearest.astype(np.uint32).view(np.float32).astype(np.asarray(x).dtype)


def product(net, A, B):
    """A B; in bfloat16 by blocks of 32 numbers k of a sum: the products of even k are summed from
    0, in order, and so are those of odd k, and what both come to is added."""
    if not net.bfloat16:
        return A @ B
    total = np.zeros((len(A), B.shape[1]), np.result_type(A, B))
    for start in range(0, A.shape[1], 32):
        sums = [np.zeros_like(total), np.zeros_like(total)]
        for k in range(start, min(start + 32, A.shape[1])):
            sums[k % 2] += np.outer(A[:, k], B[k])
        total += sums[0] + sums[1]
    return total


def forward(net, theta, x, draws=None, running=None):
    """a[k] and h[k] of every layer for the rows of x (batch, n_0); h[0] = x, or s * phi(x).

    draws[k], k < K: what is added to h[k], and what it is then multiplied by.
    running: statistics as of `new_running`, for prediction.
    """
    return passes(net, theta, x, draws, running, predicts=True)[:2]


def passes(net, theta, x, draws=None, running=None, predicts=False, learn=False):
    """a, h, xhat and inv of every layer; unless it predicts, batch normalisation takes the rows'
    own statistics, of several; learn: the running ones move, in place."""
    W, b, gamma, alpha = unpack(net, theta)
    a, h = [None], [inputs(net, theta, x)[2]]
    xhat, inv = [None] * (net.K + 1), [None] * (net.K + 1)
    for k in range(net.K + 1):
        if k > 0:
            u = product(net, h[k - 1], rounded(net, W[k]).T)
            if norm := net.norms[k]:
                fixed = norm[0] == "batch" and (predicts or len(u) == 1)
                xhat[k], inv[k], mean, variance = normalised(norm, u, running[k] if fixed else None)
                u = gamma[k] * xhat[k]
                if learn and norm[0] == "batch" and not fixed:
                    to, old = theta.dtype.type(norm[1]), running[k]
                    unbiased = variance * len(u) / (len(u) - 1)
                    running[k][:] = (1 - to) * old[0] + to * mean, (1 - to) * old[1] + to * unbiased
            a.append(u + (0 if b[k] is None else b[k]))
            h.append(apply(OUTPUTS, net.g[k], a[k], alpha[k]))
        if draws is not None and k < net.K:
            h[k] = (h[k] + draws[k][0]) * draws[k][1]
        if k < net.K:
            h[k] = rounded(net, h[k])
    return a, h, xhat, inv


def backward(net, theta, x, y, weights=None, draws=None, running=None, learn=False, by=1):
    """losses (batch,), delta[k] (batch, n_k), and grad_W[k], grad_b[k], grad_gamma[k],
    grad_alpha[k] and the input layer's gradient summed over the rows, all times the rows' weights
    (batch,) where given, and but for the losses divided by `by`."""
    W, b, gamma, alpha = unpack(net, theta)
    a, h, xhat, inv = passes(net, theta, x, draws, running, learn=learn)
    K = net.K
    delta, grad_W, grad_b, grad_gamma, grad_alpha = ([None] * (K + 1) for _ in range(5))
    losses, delta[K] = losses_and_delta(a[K], y, net.output, net.loss_name, **dict(net.settings))
    if weights is not None:  # sum_i w_i L_i
        losses, delta[K] = weights * losses, weights[:, None] * delta[K]
    delta[K] = delta[K] / theta.dtype.type(by)
    for k in range(K, 0, -1):
        du = delta[k]
        if norm := net.norms[k]:
            grad_gamma[k] = (delta[k] * xhat[k]).sum(0)  # dL/dgamma[k]
            fixed = norm[0] == "batch" and len(x) == 1
            du = normalised_delta(norm, delta[k], xhat[k], gamma[k], inv[k], fixed)
        du = rounded(net, du)
        grad_W[k] = product(net, du.T, h[k - 1])  # dL/dW[k]
        if b[k] is not None:
            grad_b[k] = (delta[k] if norm else du).sum(0)  # dL/db[k]
        dh = product(net, du, rounded(net, W[k]))  # dL/dh[k-1]
        if draws is not None:
            dh = dh * draws[k - 1][1]
        if k == 1:
            delta[0] = dh
            continue
        delta[k - 1] = dh * apply(DG, net.g[k - 1], a[k - 1], alpha[k - 1])  # dL/da[k-1]
        if net.parametric[k - 1]:  # dL/dalpha[k-1]
            e = apply(G, net.g[k - 1][1], a[k - 1]) - a[k - 1]
            grad_alpha[k - 1] = (dh * e).sum(0)
    of_inputs = inputs_gradient(net, theta, x, delta[0])
    return losses, delta, grad_W, grad_b, grad_gamma, grad_alpha, of_inputs


def loss(net, theta, x, y, weights=None, running=None, predicts=True):
    """Mean loss over the rows, sum_i w_i L_i / sum_i w_i."""
    a = passes(net, theta, x, None, running, predicts)[0]
    losses = losses_and_delta(a[net.K], y, net.output, net.loss_name, **dict(net.settings))[0]
    return losses.mean() if weights is None else (weights * losses).sum() / weights.sum()


def loss_and_gradient(
    net, theta, x, y, weights=None, draws=None, running=None, learn=False, least=0
):
    """Mean loss over the rows, and its gradient laid out like theta; 0 where all weights are.
    least: weight a row, at least, that the gradient is divided by."""
    total = len(x) if weights is None else weights.sum()
    by = max(total, least * len(x)) if total else 1
    losses, _, *grads = backward(net, theta, x, y, weights, draws, running, learn, by)
    if total == 0:
        return 0 * losses.sum(), 0 * pack(*grads)
    return losses.sum() / total, pack(*grads)


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

    alpha: learning_rate, one or one for each parameter, mu: momentum; state: what the rule keeps,
    zeros before step 1. What shapes grad and theta before it: `shaped`.

    sgd:       theta <- theta - alpha grad
    momentum:  v <- mu v + (1 - dampening) grad,  theta <- theta - alpha v;  step 1: v <- grad
    nesterov:  v <- mu v + grad,  theta <- theta - alpha (grad + mu v)
    adam:      m <- beta1 m + (1 - beta1) grad,  v <- beta2 v + (1 - beta2) grad^2,
               theta <- theta - alpha (m / (1 - beta1^n)) / (sqrt(v / (1 - beta2^n)) + epsilon),
               with epsilon_hat: ... / ((sqrt(v) + epsilon_hat) / sqrt(1 - beta2^n))
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
    alpha = np.asarray(rates["learning_rate"], theta.dtype)
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
        if rates.get("epsilon_hat"):
            epsilon = kind(rates["epsilon_hat"]) / np.sqrt(1 - beta2**n)
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


def of_groups(net, theta, rates):
    """For each parameter: the factor of its group's learning rate, and sqrt(n_in) of weights with
    ntk, otherwise 1."""
    factor, size = np.ones_like(theta), np.ones_like(theta)
    for group, parts in zip(("W", "b", "gamma", "alpha"), unpack(net, factor), strict=True):
        for part in parts[1:]:
            if part is not None:
                part[:] = rates.get("factors", {}).get(group, 1)
    phi, s = unpack_inputs(net, factor)
    for (kind, *_), of in zip(net.embeddings, phi, strict=True):
        for part in (one for column in of for one in column.values()):
            group = "table" if kind == "categories" else "embedding"
            part[:] = rates.get("factors", {}).get(group, 1)
    if s is not None:
        s[:] = rates.get("factors", {}).get("scale", 1)
    if rates.get("ntk"):
        for W in unpack(net, size)[0][1:]:
            W[:] = np.sqrt(theta.dtype.type(W.shape[1]))
    return factor, size


def shaped(net, theta, grad, rates, weight):
    """What the rule gets in place of theta and grad; rates 0 or left out: none.

    grad <- min(1, clip_norm / (||grad|| + 1e-6)) grad,  within -clip_value..clip_value,
    + l2 theta + l1 sign(theta);  theta <- (1 - alpha weight_decay) theta

    ridge / weight is a further l2, of weights alone; weight: of the mini-batch's samples.
    """
    kind = theta.dtype.type
    decayed = np.ones_like(theta)  # 0 for biases, and gamma, that are exempt
    if not rates.get("decay_bias", True):
        _, b, gamma, _ = unpack(net, decayed)
        for vector in (*b, *gamma):
            if vector is not None:
                vector[:] = 0
    if rates.get("clip_norm"):
        grad = grad * min(kind(1), kind(rates["clip_norm"]) / (np.sqrt((grad**2).sum()) + 1e-6))
    if rates.get("clip_value"):
        grad = np.clip(grad, -rates["clip_value"], rates["clip_value"])
    l1, l2 = kind(rates.get("l1", 0)), kind(rates.get("l2", 0))
    grad = grad + decayed * (l2 * theta + l1 * np.sign(theta))
    if rates.get("ridge") and weight > 0:
        of_weights = np.zeros_like(theta)
        for W in unpack(net, of_weights)[0][1:]:
            W[:] = 1
        grad = grad + kind(rates["ridge"]) / kind(weight) * of_weights * theta
    decay = np.asarray(rates["learning_rate"], theta.dtype) * kind(rates.get("weight_decay", 0))
    return theta - decay * decayed * theta, grad


def limited(net, theta, rates):
    """theta with each unit's incoming weights scaled back to the norm max_norm."""
    theta = theta.copy()
    for W in unpack(net, theta)[0][1:] if rates.get("max_norm") else ():
        norms = np.sqrt((W**2).sum(1, keepdims=True))
        W *= rates["max_norm"] / np.maximum(norms, rates["max_norm"])
    return theta


def oriented(net, theta):
    """theta with 0 for each weight from an input that has a direction, unless the weight has the
    sign of its two ends' directions' product; s of such features at least 0."""
    theta = theta.copy()
    if net.directions is None:
        return theta
    W, *_ = unpack(net, theta)
    for k in range(1, net.K + 1):
        ends, inputs = (np.array(net.directions[i]) for i in (k, k - 1))
        W[k][(inputs != 0) & (W[k] * ends[:, None] * inputs <= 0)] = 0
    if net.feature_scale:
        s = unpack_inputs(net, theta)[1]
        s[(np.array(net.directions[0]) != 0) & (s < 0)] = 0
    return theta


def train(
    net,
    theta,
    X,
    y,
    order,
    batch,
    optimizer,
    rates,
    state=None,
    taken=0,
    alphas=None,
    weights=None,
    keys=None,
    running=None,
    least=0,
    decays=None,
    dropouts=None,
):
    """Mini-batches over rows X[order], in order; the last one may be smaller. taken: steps before;
    alphas: the learning rate of each step, in place of the one in rates, decays: its weight decay,
    dropouts: by what net.dropout is multiplied; keys (2, K): of dropout
    and noise, where the net has them; running: as of `new_running`, moved in place; least: as of
    `loss_and_gradient`.

    Returns theta, the optimizer's state, and the mean loss of each mini-batch before its step.
    """
    state = np.zeros((STATES[optimizer], len(theta)), theta.dtype) if state is None else state
    losses = []
    for i, start in enumerate(range(0, len(order), batch)):
        rows = order[start : start + batch]
        w = None if weights is None else weights[rows]
        draws = None
        if keys is not None:
            dropout = np.array(net.dropout) * (1 if dropouts is None else dropouts[i])
            draws = [
                drawn(*settings, taken + i, len(rows), n, theta.dtype)
                for *settings, n in zip(*keys, dropout, net.noise, net.widths, strict=False)
            ]
        mean_loss, grad = loss_and_gradient(
            net, theta, X[rows], y[rows], w, draws, running, True, least
        )
        if alphas is not None:
            rates = {**rates, "learning_rate": alphas[i]}
        if decays is not None:
            rates = {**rates, "weight_decay": decays[i]}
        weight = len(rows) if w is None else w.sum()
        factor, size = of_groups(net, theta, rates)
        own = {**rates, "learning_rate": factor * theta.dtype.type(rates["learning_rate"])}
        theta, grad = shaped(net, theta, grad, own, weight)
        # with ntk the rule is V's: a = V h / sqrt(n_in) + b, so dL/dV = dL/dW / sqrt(n_in)
        V, state = step(size * theta, grad / size, state, taken + i + 1, optimizer, own)
        theta = limited(net, oriented(net, V / size), rates)
        losses.append(mean_loss)
    return theta, state, np.array(losses)


# --- In 8 bits ------------------------------------------------------------------------------------


def codes_of(low, high):
    """scale, its inverse and the zero of codes 0..255 that hold low..high and 0: float32."""
    low, high = np.float32(min(low, 0)), np.float32(max(high, 0))
    scale = high / np.float32(255) - low / np.float32(255)
    if scale < np.finfo(np.float32).tiny:
        scale = np.float32(1)
    inverse = 1 / scale
    return scale, inverse, int(np.rint(-low * inverse))


def layer_in_8_bits(h, w, scales, b, codes):
    """a = scale scale_i sum_j (u_j - zero) w_ij + b_i of the rows h (batch, n_in), float32; codes:
    as of `codes_of`, None: of each row its own."""
    rows = [codes_of(row.min(), row.max()) if codes is None else codes for row in h]
    a = np.empty((len(h), len(w)), np.float32)
    for r, (scale, inverse, zero) in enumerate(rows):
        u = np.clip(np.rint(h[r] * inverse).astype(np.int64) + zero, 0, 255)
        total = w.astype(np.int64) @ (u - zero)
        a[r] = total.astype(np.float32) * (scale * scales) + (0 if b is None else b)
    return a


def largest_sums(w, together):
    """Of each unit the largest sum of weights of one sign that meet in 16 bits: the inputs come in
    groups of 4 `together`, in which the first, and the second, halves of all fours meet."""
    largest = np.zeros(len(w))
    for i, unit in enumerate(w.astype(np.float64)):
        for start in range(0, len(unit), 4 * together):
            for half in (0, 2):
                fours = range(start + half, start + 4 * together, 4)
                meeting = np.concatenate([unit[j : j + 2] for j in fours])
                sums = meeting[meeting > 0].sum(), -meeting[meeting < 0].sum()
                largest[i] = max(largest[i], *sums)
    return largest


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


def features_bound(net, phi, x, u):
    """For phi(x). Of an angle in turns, w x + b / (2 pi), each part is rounded; of p, x - edge, the
    bin's inverse and their product."""
    bounds = [np.zeros_like(x[:, net.plain])]
    for (kind, columns, n, width), of in zip(net.embeddings, phi, strict=True):
        for i, (column, p) in enumerate(zip(columns, of, strict=True)):
            xi = x[:, column]
            if kind == "periodic":
                q, of_q = np.abs(p["V"]), cosine_bound(xi, p, u)
                terms = np.ones_like(of_q) @ q.T + np.abs(p["c"])
                bounds += [0 * xi[:, None], gamma(n + 2, u) * terms + of_q @ q.T]
                continue
            q = np.abs(through_bins(xi, n[i]) if kind == "piecewise" else one_hot(xi, n))
            of_q = 6 * u * q * (kind == "piecewise")
            if width is None:
                bounds.append(of_q)
            else:
                terms = q @ np.abs(p["T"]) + np.abs(p.get("c", 0))
                bounds.append(gamma(q.shape[1] + 2, u) * terms + of_q @ np.abs(p["T"]))
    return np.concatenate(bounds, 1) * 1.01


def cosine_bound(x, p, u):
    """For cos and sin of periodic columns."""
    turns = np.abs(p["w"] * x[:, None]) + np.abs(p["b"])
    return 8 * u * (1 + 2 * np.pi * turns)


def features_gradient_bound(net, phi, x, delta, u):
    """For `features_gradient`, arrays like its; delta as that has it, off by 2 u of it."""
    bounds, at = [], len(net.plain)
    n_rows = gamma(len(x) + 6, u)
    for embedding, of in zip(net.embeddings, phi, strict=True):
        kind, columns, n, width = embedding
        for i, (column, p) in enumerate(zip(columns, of, strict=True)):
            own = np.abs(delta[:, at : at + width_of(embedding, i)])
            at += width_of(embedding, i)
            xi = x[:, column]
            if kind == "periodic":
                own, off = own[:, 1:], cosine_bound(xi, p, u)
                e, of_e = own @ np.abs(p["V"]), (own @ np.abs(p["V"])) * off
                of_e = gamma(width + 4, u) * e + of_e
                of_b = n_rows * e.sum(0) + of_e.sum(0)
                of_w = (n_rows * e + of_e) * np.abs(xi)[:, None] * 2 * np.pi
                V = n_rows * own.sum(0)[:, None] + own.T @ off
                bounds += [of_w.sum(0), of_b, V, n_rows * own.sum(0)]
            elif width is not None:
                q = through_bins(xi, n[i]) if kind == "piecewise" else one_hot(xi, n)
                bounds += [2 * n_rows * (np.abs(q).T @ own)]
                bounds += [n_rows * own.sum(0)] if "c" in p else []
    return [1.01 * bound + smallest(u) for bound in bounds]


LIPSCHITZ = {
    **{"identity": 1.0, "relu": 1.0, "sigmoid": 0.25, "tanh": 1.0, "leaky_relu": 1.0, "elu": 1.0},
    **{"selu": 1.7582, "softplus": 1.0, "hard_tanh": 1.0, "gelu": 1.13, "gelu_tanh": 1.13},
    **{"silu": 1.1, "mish": 1.09},
}


def activation_bound(a, a_bound, activation, u, ulps=4):
    """For h = g(a) where a is off by a_bound and g is computed to `ulps` units of roundoff."""
    if activation == "softmax":
        return softmax_bound(a, a_bound, u, ulps)
    if activation == "exp":  # e^(a + d) = e^a e^d; the exponent's own rounding is u |a|
        relative = np.expm1(a_bound + u * np.abs(a)) + ulps * u
        return np.exp(a) * relative * 1.01 + smallest(u)
    own = 0 if activation in ("identity", "relu", "hard_tanh") else ulps * u
    size = np.abs(G[activation](a))
    if activation not in DG_OF_H:  # a times a function of a, whose argument has roundings too
        own *= 2
        size = size + np.abs(a * DG[activation](a)) + np.abs(a) * smallest(u) / u
    return LIPSCHITZ[activation] * a_bound + own * size + 2 * smallest(u)


def slope_bound(u, ulps=6):
    """For g'(a): a sum of terms of at most about 1 (selu: 1.76)."""
    return ulps * u + smallest(u)


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
    """For delta_prev = (delta W) * g'(a_prev), with g' from h_prev, or kept and in its place."""
    dg = np.abs(DG_OF_H[activation](h_prev) if activation in DG_OF_H else h_prev)
    terms = np.abs(delta) @ np.abs(W)
    dg_bound = {  # roundings, and those of constants
        **{"sigmoid": 2 * u * dg, "tanh": 2 * u + 0 * dg, "leaky_relu": u * dg, "elu": u * dg},
        **{"selu": 2 * u * (1.76 + np.abs(h_prev)), "softplus": 4 * u * dg},
    }.get(activation, 0 * dg)
    return gamma(W.shape[0] + 2, u) * terms * dg + 1.01 * terms * dg_bound + smallest(u)


def gradient_bounds(delta, h_prev, u):
    """For grad_W = delta^T h_prev and grad_b = the sum of delta over rows."""
    n = gamma(len(delta) + 1, u)
    return n * (np.abs(delta).T @ np.abs(h_prev)), n * np.abs(delta).sum(0)


def normalised_bound(norm, u, scale, b, roundoff):
    """For xhat and a = scale xhat + b from u, by the rows' own statistics; and for inv, relative.

    The mean is off by gamma_n mean |u|, each u - mean by that and its own rounding, the variance by
    the roundings of its sum and the square of the mean's error.
    """
    axis, epsilon = (0 if norm[0] == "batch" else 1), norm[2]
    n = u.shape[axis] + 4
    mean = u.mean(axis, keepdims=True)
    of_mean = gamma(n, roundoff) * np.abs(u).mean(axis, keepdims=True)
    variance = u.var(axis, keepdims=True)
    relative = (gamma(n, roundoff) * variance + of_mean**2) / (variance + epsilon) + 8 * roundoff
    xhat = (u - mean) / np.sqrt(variance + epsilon)
    bound = of_mean / np.sqrt(variance + epsilon) + (relative + 3 * roundoff) * np.abs(xhat)
    size = np.abs(scale * xhat) + np.abs(b)
    return 1.01 * bound, 1.01 * np.abs(scale) * bound + 3 * roundoff * size, 1.01 * relative


def normalised_delta_bound(norm, delta, xhat, scale, inv, u):
    """For du from delta, given xhat and inv."""
    axis = 0 if norm[0] == "batch" else 1
    n, c = gamma(delta.shape[axis] + 4, u), np.abs(scale * delta)
    means = c.mean(axis, keepdims=True), (c * np.abs(xhat)).mean(axis, keepdims=True)
    return 1.01 * inv * (n + 8 * u) * (c + means[0] + np.abs(xhat) * means[1]) + smallest(u)


def smallest(u):
    """The smallest normal number of the format with unit roundoff u: what underflow may cost."""
    for dtype in (np.float32, np.float64):
        if u == unit_roundoff(dtype):
            return float(np.finfo(dtype).tiny)
    return 0.0
