"""First weights from a seed, or from a seed and data; biases 0 unless asked for.

    glorot_uniform  U(-l, l), l = sqrt(6 / (n_in + n_out))         Glorot & Bengio 2010, AISTATS
    glorot_normal   N(0, s^2), s = sqrt(2 / (n_in + n_out))
    he_uniform      U(-l, l), l = sqrt(6 / n_in)                   He et al. 2015, arXiv 1502.01852
    he_normal       N(0, s^2), s = sqrt(2 / n_in)
    lecun_uniform   U(-l, l), l = sqrt(3 / n_in)                   LeCun et al. 1998, Efficient
    lecun_normal    N(0, s^2), s = sqrt(1 / n_in)                  BackProp, section 4.6
    orthogonal      rows (or columns, the fewer) orthonormal       Saxe et al. 2014, arXiv 1312.6120
    zeros

Unless told otherwise, a layer takes (the variance of U(-l, l) is l^2 / 3)

    relu and alike  he_uniform
    leaky_relu      U(-l, l), l = sqrt(6 / (1 + slope^2) / n_in)   He et al. 2015, equation 15
    selu            lecun_uniform                                  Klambauer et al. 2017, NeurIPS
    others          glorot_uniform

`on_data` scales each unit's normal weights so that its pre-activations on data have variance 1, and
puts its hyperplane through the data.

Computed in float64 by IEEE-exact operations on single elements alone (no libm, no BLAS, sums by
halving), then rounded to the network's dtype: every machine gets the same bits. So it does from the
engine's forward passes over data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.checks import as_name, as_real, name_of
from fastnn.kernels.layer import forward
from fastnn.network.activations import Activation, kernel, parameter_of, plain
from fastnn.network.arrays import as_finite, as_numbers
from fastnn.network.spec import LayerSpec, NetworkSpec
from fastnn.random import BIASES, ROWS, WEIGHTS, log, normal, permutation, uniform
from fastnn.values import Value


class Init(Value):
    """A rule for first weights."""

    def weights(self, layer: LayerSpec, seed: int) -> np.ndarray:
        """W of the layer, (n_out, n_in) float64. Layer k has a random stream of its own."""
        raise NotImplementedError

    def biases(self, layer: LayerSpec, seed: int) -> np.ndarray:
        """b of the layer, (n_out,) float64, from another stream."""
        raise ValueError(f"init: b of layer {layer.k} must come from Uniform or Normal, got {self}")


class Uniform(Init):
    """First weights from U(-limit, limit).

    Parameters
    ----------
    limit : float, default 0.05
        At least 0.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Model([100, 50, 2], init=fastnn.Uniform(0.1), seed=0)
    >>> bool(abs(model.W[0]).max() <= 0.1)
    True
    """

    limit: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit", as_real("limit", self.limit))

    def weights(self, layer: LayerSpec, seed: int) -> np.ndarray:
        u = uniform(seed, WEIGHTS, layer.k, layer.n_in * layer.n_out)
        return ((2 * u - 1) * self.limit).reshape(layer.n_out, layer.n_in)

    def biases(self, layer: LayerSpec, seed: int) -> np.ndarray:
        return (2 * uniform(seed, BIASES, layer.k, layer.n_out) - 1) * self.limit


class Normal(Init):
    """First weights from N(0, std^2).

    Parameters
    ----------
    std : float, default 0.05
        At least 0.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Model([100, 50, 2], init=fastnn.Normal(0.1), seed=0)
    >>> print(f"{model.W[0].std():.2f}")
    0.10
    """

    std: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "std", as_real("std", self.std))

    def weights(self, layer: LayerSpec, seed: int) -> np.ndarray:
        z = normal(seed, WEIGHTS, layer.k, layer.n_in * layer.n_out)
        return (z * self.std).reshape(layer.n_out, layer.n_in)

    def biases(self, layer: LayerSpec, seed: int) -> np.ndarray:
        return normal(seed, BIASES, layer.k, layer.n_out) * self.std


class Orthogonal(Init):
    """First weights gain Q with orthonormal rows (n_out <= n_in) or columns, uniform among such Q.

    Gram and Schmidt's method on normal numbers, twice over: about 4 n_in n_out min(n_in, n_out)
    operations in NumPy, a second for 784 x 512.

    Parameters
    ----------
    gain : float, default 1.0
        At least 0. sqrt(2) keeps the scale through relu layers.

    References
    ----------
    Saxe, McClelland & Ganguli (2014), "Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks", ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> model = fastnn.Model([4, 4, 2], init=fastnn.Orthogonal(), seed=0)
    >>> W = model.W[0]
    >>> np.allclose(W @ W.T, np.eye(4), atol=1e-6)
    True
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", as_real("gain", self.gain))

    def weights(self, layer: LayerSpec, seed: int) -> np.ndarray:
        few, many = sorted((layer.n_in, layer.n_out))
        Q = normal(seed, WEIGHTS, layer.k, few * many).reshape(few, many)
        for _ in range(2):  # once leaves an error of the matrix's condition times u
            _orthonormalize(Q)
        return self.gain * (Q if layer.n_out == few else np.ascontiguousarray(Q.T))


def _orthonormalize(Q: np.ndarray) -> None:
    """Rows of Q (few, many) <- orthonormal rows of the same spans (modified Gram-Schmidt)."""
    for j in range(len(Q)):
        q = Q[j]
        q /= np.sqrt(_sum(q * q))
        below = Q[j + 1 :]
        below -= _sum(below * q)[:, None] * q


def _sum(terms: np.ndarray) -> np.ndarray:
    """Sums along the last axis, which it overwrites: halves added to halves, in this order."""
    n = terms.shape[-1]
    while n > 1:
        half = n // 2
        terms[..., :half] += terms[..., n - half : n]
        n -= half
    return terms[..., 0]


# Rules by name: what they are for a layer.
RULES: dict[str, Callable[[LayerSpec], Init]] = {
    "glorot_uniform": lambda layer: Uniform(math.sqrt(6 / (layer.n_in + layer.n_out))),
    "glorot_normal": lambda layer: Normal(math.sqrt(2 / (layer.n_in + layer.n_out))),
    "he_uniform": lambda layer: Uniform(math.sqrt(6 / layer.n_in)),
    "he_normal": lambda layer: Normal(math.sqrt(2 / layer.n_in)),
    "lecun_uniform": lambda layer: Uniform(math.sqrt(3 / layer.n_in)),
    "lecun_normal": lambda layer: Normal(math.sqrt(1 / layer.n_in)),
    "uniform": lambda layer: Uniform(),
    "normal": lambda layer: Normal(),
    "orthogonal": lambda layer: Orthogonal(),
    "zeros": lambda layer: Uniform(0.0),
}


# Zero, or nearly, for very negative a: such units pass about half of it.
LIKE_RELU = {"relu", "leaky_relu", "elu", "softplus", "gelu", "gelu_tanh", "silu", "mish"}


def default_rule(layer: LayerSpec) -> str | Init:
    g = plain(layer.activation)
    name = name_of(g)
    if name == "leaky_relu":
        return Uniform(math.sqrt(6 / (1 + parameter_of(g) ** 2) / layer.n_in))
    if name == "selu":
        return "lecun_uniform"
    return "he_uniform" if name in LIKE_RELU else "glorot_uniform"


def initial_theta(network: NetworkSpec, seed: int, init: Any = None) -> np.ndarray:
    """theta of an untrained network; `init` is a rule for all layers, or a list of one for each.

    A rule is a name, an Init, an array W, or a tuple (W, b), each of which may be a rule, too.
    """
    if init is None:
        init = [default_rule(layer) for layer in network.layers]
    K = len(network.layers)
    of_all = isinstance(init, tuple) and all(isinstance(one, (str, Init)) for one in init)
    if isinstance(init, (str, Init)) or of_all:
        init = [init] * K
    if not isinstance(init, list):
        raise TypeError(
            "init must be a name, a fastnn.Uniform, Normal or Orthogonal, a tuple of one for W and "
            f"one for b, or a list of one rule or array per layer, got {init!r:.100}"
        )
    if len(init) != K:
        raise ValueError(f"init must have one entry per layer ({K}), got {len(init)}")
    theta = np.zeros(network.n_parameters, network.dtype)
    for index, (one, parts) in enumerate(zip(network.embeddings, network.phi, strict=True)):
        for part, values in zip(parts, one.initial(seed, index), strict=True):
            for (span, _), value in zip(part.values(), values, strict=True):
                theta[span] = value.ravel()
    theta[network.s] = 1
    for layer, rule in zip(network.layers, init, strict=True):
        W, b = _parts(layer, rule, seed)
        drawn = isinstance(rule[0] if isinstance(rule, tuple) else rule, (str, Init))
        name, shape = f"W of layer {layer.k}", (layer.n_out, layer.n_in)
        W = _fitting(name, W, shape, network).reshape(shape)
        signed = reflected(network, layer, W)
        if not drawn and (signed != W).any():
            raise ValueError(f"init: {name} must have the signs that monotone asks for")
        theta[layer.W] = signed.reshape(-1)
        if b is not None:
            if not layer.bias:
                raise ValueError(f"init: b of layer {layer.k} must be None, it has no bias")
            theta[layer.b] = _fitting(f"b of layer {layer.k}", b, (layer.n_out,), network)
        theta[layer.gamma] = 1
        theta[layer.alpha] = 1
    return theta


def reflected(network: NetworkSpec, layer: LayerSpec, W: np.ndarray) -> np.ndarray:
    """W (n_out, n_in) with the signs that directions ask for, 0 where no weight may be."""
    if network.directions is None:
        return W
    inputs, ends = network.directions[layer.k - 1 : layer.k + 1]
    return np.where(inputs == 0, W, np.abs(W) * ends[:, None] * inputs)


def _parts(layer: LayerSpec, rule: Any, seed: int) -> tuple[Any, Any]:
    """W and b, or None for zeros."""
    if isinstance(rule, tuple) and len(rule) != 2:
        raise ValueError(f"init: a tuple must be (W, b), got {len(rule)} entries")
    W, b = (_as_rule(one, layer) for one in (rule if isinstance(rule, tuple) else (rule, None)))
    if isinstance(b, Init):
        b = b.biases(layer, seed) if layer.bias else None
    return W.weights(layer, seed) if isinstance(W, Init) else W, b


def _as_rule(rule: Any, layer: LayerSpec) -> Any:
    """What a name stands for in this layer; anything else as it is."""
    if not isinstance(rule, str):
        return rule
    rule = RULES[as_name("init", rule, RULES)](layer)
    return _as_rule(rule, layer)


# Of data, at most: their pre-activations are held.
MOST_ROWS = 1 << 14
UNITS = 16  # of which they are held at a time
VERTICES = 5  # rows whose convex combination a unit's hyperplane goes through


def drawn_rows(n: int, seed: int) -> np.ndarray:
    """MOST_ROWS of n rows, or all, ascending: on which `Model.initialize` looks."""
    rows: np.ndarray = np.sort(permutation(seed, ROWS, 0, n)[:MOST_ROWS])
    return rows


def on_data(network: NetworkSpec, theta: np.ndarray, h: np.ndarray, seed: int) -> np.ndarray:
    """theta with W and b of all layers from the rows h (n, n_0) that layer 1 sees, in turn:

        W_i = z_i / (standard deviation of h z_i over the rows),   z_i of N(0, 1)
        b_i = -sum of 5 weights times a_i of 5 rows,   weights uniform among those that sum to 1

    The modes "std" and "he+5" of Holzmüller et al. (2024), whose b is He et al.'s idea of
    hyperplanes that go through the data. Where the deviation is 0 it counts as sqrt(n_in).
    """
    theta = theta.copy()
    for layer in network.layers:
        W, b = theta[layer.W].reshape(layer.n_out, layer.n_in), theta[layer.b]
        z = normal(seed, WEIGHTS, layer.k, layer.n_in * layer.n_out).reshape(W.shape)
        z = reflected(network, layer, z)
        W[:] = z
        deviation, through = np.empty((2, layer.n_out))
        rows, weights = _vertices(layer, len(h), seed)
        for start in range(0, layer.n_out, UNITS):
            at = slice(start, start + UNITS)
            u = np.ascontiguousarray(_passed(h, W[at], None, "identity").T, np.float64)
            through[at] = _sum(np.take_along_axis(u, rows[at], 1) * weights[at])
            mean = _sum(u.copy()) / len(h)
            deviation[at] = np.sqrt(_sum((u - mean[:, None]) ** 2) / len(h))
        deviation[deviation == 0] = math.sqrt(layer.n_in)
        W[:] = z / deviation[:, None]
        if layer.bias:
            b[:] = -(through / _sum(weights)) / deviation
        if layer.k < len(network.layers):
            h = _passed(h, W, b if layer.bias else None, plain(layer.activation))
    return theta


def _passed(
    h: np.ndarray, W: np.ndarray, b: np.ndarray | None, g: str | Activation
) -> np.ndarray:
    """g(h W^T + b), (n, n_out)."""
    out = np.empty((len(h), len(W)), W.dtype)
    forward(h, W, b, out, kernel(g), 1)
    return out


def _vertices(layer: LayerSpec, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """For each unit some of n rows, and weights of theirs, not yet of sum 1: (n_out, VERTICES)."""
    of_rows, of_weights = uniform(seed, BIASES, layer.k, 2 * layer.n_out * VERTICES).reshape(
        2, layer.n_out, VERTICES
    )
    weights = -log((1 - of_weights).ravel()).reshape(of_weights.shape)  # exponential
    return (of_rows * n).astype(np.intp), weights


def _fitting(name: str, values: Any, shape: tuple[int, ...], network: NetworkSpec) -> np.ndarray:
    """`values`, which must have that shape, flat and of the network's dtype."""
    array = as_numbers(f"init: {name}", values)
    if array.shape != shape:
        raise ValueError(f"init: {name} must have shape {shape}, got {array.shape}")
    return as_finite(f"init: {name}", array, network.dtype).reshape(-1)
