"""First weights from a seed; biases 0.

    relu layers     W ~ U(-l, l), l = sqrt(6 / n_in)             He et al. 2015, arXiv 1502.01852
    other layers    W ~ U(-l, l), l = sqrt(6 / (n_in + n_out))   Glorot & Bengio 2010, AISTATS

Computed in float64 by IEEE-exact operations alone, then rounded to the network's dtype: every
machine gets the same bits.
"""

from __future__ import annotations

import math

import numpy as np

from fastnn._network import LayerSpec, NetworkSpec
from fastnn._random import WEIGHTS, uniform


def limit(layer: LayerSpec) -> float:
    """l of the layer's U(-l, l)."""
    fan = layer.n_in if layer.activation == "relu" else layer.n_in + layer.n_out
    return math.sqrt(6 / fan)


def initial_theta(network: NetworkSpec, seed: int) -> np.ndarray:
    """theta of an untrained network. Layer k has a stream of its own."""
    theta = np.zeros(network.n_parameters, network.dtype)
    for layer in network.layers:
        u = uniform(seed, WEIGHTS, layer.k, layer.n_in * layer.n_out)
        theta[layer.W] = (2 * u - 1) * limit(layer)
    return theta
