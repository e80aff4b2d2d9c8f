"""First weights from a seed; biases 0.

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

Computed in float64 by IEEE-exact operations on single elements alone (no libm, no BLAS, sums by
halving), then rounded to the network's dtype: every machine gets the same bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.checks import as_name, as_real, name_of
from fastnn.network.activations import parameter_of, plain
from fastnn.network.arrays import as_finite, as_numbers
from fastnn.network.spec import LayerSpec, NetworkSpec
from fastnn.random import WEIGHTS, normal, uniform
from fastnn.values import Value


class Init(Value):
    """A rule for first weights."""

    def weights(self, layer: LayerSpec, seed: int) -> np.ndarray:
        """W of the layer, (n_out, n_in) float64. Layer k has a random stream of its own."""
        raise NotImplementedError


class Uniform(Init):
    """First weights from U(-limit, limit).

    Parameters
    ----------
    limit : float, default 0.05
        At least 0.
    """

    limit: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit", as_real("limit", self.limit))

    def weights(self, layer: LayerSpec, seed: int) -> np.ndarray:
        u = uniform(seed, WEIGHTS, layer.k, layer.n_in * layer.n_out)
        return ((2 * u - 1) * self.limit).reshape(layer.n_out, layer.n_in)


class Normal(Init):
    """First weights from N(0, std^2).

    Parameters
    ----------
    std : float, default 0.05
        At least 0.
    """

    std: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "std", as_real("std", self.std))

    def weights(self, layer: LayerSpec, seed: int) -> np.ndarray:
        z = normal(seed, WEIGHTS, layer.k, layer.n_in * layer.n_out)
        return (z * self.std).reshape(layer.n_out, layer.n_in)


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
RULES = {
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

    A rule is a name, an Init, an array W, or a tuple (W, b).
    """
    if init is None:
        init = [default_rule(layer) for layer in network.layers]
    K = len(network.layers)
    if isinstance(init, (str, Init)):
        init = [init] * K
    if not isinstance(init, list):
        raise TypeError(
            "init must be a name, a fastnn.Uniform, Normal or Orthogonal, or a list of one rule "
            f"or array per layer, got {init!r:.100}"
        )
    if len(init) != K:
        raise ValueError(f"init must have one entry per layer ({K}), got {len(init)}")
    theta = np.zeros(network.n_parameters, network.dtype)
    for layer, rule in zip(network.layers, init, strict=True):
        W, b = _parts(layer, rule, seed)
        theta[layer.W] = _fitting(f"W of layer {layer.k}", W, (layer.n_out, layer.n_in), network)
        if b is not None:
            if not layer.bias:
                raise ValueError(f"init: b of layer {layer.k} must be None, it has no bias")
            theta[layer.b] = _fitting(f"b of layer {layer.k}", b, (layer.n_out,), network)
        theta[layer.gamma] = 1
        theta[layer.alpha] = 1
    return theta


def _parts(layer: LayerSpec, rule: Any, seed: int) -> tuple[Any, Any]:
    """W and b, or None for zeros."""
    if isinstance(rule, str):
        rule = RULES[as_name("init", rule, RULES)](layer)
    if isinstance(rule, Init):
        return rule.weights(layer, seed), None
    if isinstance(rule, tuple):
        if len(rule) != 2:
            raise ValueError(f"init: a tuple must be (W, b), got {len(rule)} entries")
        return rule
    return rule, None


def _fitting(name: str, values: Any, shape: tuple[int, ...], network: NetworkSpec) -> np.ndarray:
    """`values`, which must have that shape, flat and of the network's dtype."""
    array = as_numbers(f"init: {name}", values)
    if array.shape != shape:
        raise ValueError(f"init: {name} must have shape {shape}, got {array.shape}")
    return as_finite(f"init: {name}", array, network.dtype).reshape(-1)
