"""First weights from a seed; biases 0.

    W ~ U(-l, l), of variance l^2 / 3:
    relu and alike        l = sqrt(6 / n_in)                     He et al. 2015, arXiv 1502.01852
    leaky_relu            l = sqrt(6 / (1 + slope^2) / n_in)     the same, equation 15
    selu                  l = sqrt(3 / n_in)                     Klambauer et al. 2017, NeurIPS
    other layers          l = sqrt(6 / (n_in + n_out))           Glorot & Bengio 2010, AISTATS

Computed in float64 by IEEE-exact operations alone, then rounded to the network's dtype: every
machine gets the same bits.
"""

from __future__ import annotations

import math

import numpy as np

from fastnn._activations import LeakyReLU, name_of
from fastnn._network import LayerSpec, NetworkSpec
from fastnn._random import WEIGHTS, uniform

# Zero, or nearly, for very negative a: such units pass about half of it.
LIKE_RELU = {"relu", "leaky_relu", "elu", "softplus", "gelu", "gelu_tanh", "silu", "mish"}


def limit(layer: LayerSpec) -> float:
    """l of the layer's U(-l, l)."""
    name = name_of(layer.activation)
    if name == "leaky_relu":
        leaky = LeakyReLU() if isinstance(layer.activation, str) else layer.activation
        return math.sqrt(6 / (1 + leaky.parameter**2) / layer.n_in)
    if name == "selu":
        return math.sqrt(3 / layer.n_in)
    return math.sqrt(6 / (layer.n_in if name in LIKE_RELU else layer.n_in + layer.n_out))


def initial_theta(network: NetworkSpec, seed: int) -> np.ndarray:
    """theta of an untrained network. Layer k has a stream of its own."""
    theta = np.zeros(network.n_parameters, network.dtype)
    for layer in network.layers:
        u = uniform(seed, WEIGHTS, layer.k, layer.n_in * layer.n_out)
        theta[layer.W] = (2 * u - 1) * limit(layer)
    return theta
