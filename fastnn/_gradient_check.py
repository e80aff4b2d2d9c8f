"""The engine's gradient against central differences of its loss, in float64.

    dL/dt = (8 [L(t + s) - L(t - s)] - [L(t + 2s) - L(t - 2s)]) / (12 s) + O(s^4)

(Abramowitz & Stegun, 25.3.6.) With s = 1e-4 truncation and rounding are both some 1e-12.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn._activations import kernel
from fastnn._arrays import as_dense, as_pair
from fastnn._checks import as_real, name_of
from fastnn._losses import settings_of
from fastnn._network import NetworkSpec
from fastnn._parameters import new_engine, views
from fastnn._random import GRADIENT_CHECK, permutation
from fastnn._weights import as_weights
from fastnn.kernels.forward import forward

STEP = 1e-4
# Parameters checked: each needs four passes, so fewer of a very big network.
CHECKED_MAX, CHECKED_MIN = 1000, 50
OPERATIONS = 2e8  # parameters checked times parameters in all, about
# Differences see a gradient down to some 1e-12 of the loss. Where all of a W's or b's gradient is
# below this share of the loss (as at a minimum), the error is relative to this share: 1e-7.
NEGLIGIBLE = 1e-5
OFFSETS = (-2, -1, 1, 2)
# Activations made of pieces: on which one h lies.
PIECE = dict.fromkeys(("relu", "leaky_relu", "elu", "selu"), lambda h: h > 0)
PIECE["hard_tanh"] = lambda h: abs(h) < 1


def gradient_check(
    network: NetworkSpec,
    theta: np.ndarray,
    X: Any,
    y: Any,
    eps: float | None,
    seed: int,
    sample_weight: Any = None,
) -> float:
    """Largest |g - d| over the parameters of a W or b / the largest |g| of that W or b."""
    eps = STEP if eps is None else as_real("eps", eps)
    if eps == 0:
        raise ValueError("eps must be above 0, got 0.0")
    network = replace(network, dtype="float64")
    X, y = as_pair(X, y, network)
    X = as_dense(X, network)
    weights = as_weights(sample_weight, len(X))
    theta = theta.astype(np.float64)
    engine = new_engine(network)
    out = np.empty((len(X), network.n_out))

    def loss() -> float:
        engine.load(theta)
        return engine.loss(X, y, out, 1, weights)

    g = np.empty_like(theta)
    engine.load(theta)
    floor = NEGLIGIBLE * max(1.0, engine.gradient(X, y, g, 1, weights))
    loss()
    kinks = _active(network, theta, X, y, out)
    worst, checked = 0.0, 0
    spans = [span for layer in network.layers for span in (layer.W, layer.b) if g[span].size]
    share = int(np.clip(OPERATIONS // theta.size, CHECKED_MIN, CHECKED_MAX)) // len(spans)
    for index, span in enumerate(spans):
        largest = max(abs(g[span]).max(), floor)
        chosen = permutation(seed, GRADIENT_CHECK, index, g[span].size)
        for i in span.start + chosen[: max(share, 1)]:
            centre = theta[i]
            step = eps * max(1.0, abs(centre))
            values, crossed = [], False
            for offset in OFFSETS:
                theta[i] = centre + offset * step
                values.append(loss())
                crossed = crossed or not np.array_equal(kinks, _active(network, theta, X, y, out))
            theta[i] = centre
            if crossed:
                continue
            d = (8 * (values[2] - values[1]) - (values[3] - values[0])) / (12 * step)
            error = abs(g[i] - d) / largest
            worst = max(worst, error if math.isfinite(error) else math.inf)
            checked += 1
    if not checked:
        raise ValueError(
            "every parameter's step carries a unit or the loss across a kink; use other rows"
        )
    return float(worst)


def _active(
    network: NetworkSpec, theta: np.ndarray, X: np.ndarray, y: np.ndarray, f: np.ndarray
) -> np.ndarray:
    """The piece on which each unit and the loss lie, for every row: differences hold while it stays
    so."""
    sides = _sides(network, y, f)
    if not any(name_of(layer.activation) in PIECE for layer in network.layers):
        return sides
    W, b = views(network, theta)
    h, active = X, [sides]
    for layer in network.layers:
        h_prev, h = h, np.empty((len(X), layer.n_out))
        forward(h_prev, W[layer.k - 1], b[layer.k - 1], h, kernel(layer.activation), 1)
        name = name_of(layer.activation)
        if name in PIECE:
            active.append(PIECE[name](h).ravel())
    return np.concatenate(active)


def _sides(network: NetworkSpec, y: np.ndarray, f: np.ndarray) -> np.ndarray:
    """On which piece of a loss that is made of pieces f lies."""
    name = name_of(network.loss)
    if name in ("absolute_error", "quantile"):
        return (f > y).ravel()
    if name == "huber":
        return (abs(f - y) > settings_of(network.loss)["delta"]).ravel()
    if name != "hinge":
        return np.empty(0, bool)
    others, own = f.copy(), f[np.arange(len(y)), y]
    others[np.arange(len(y)), y] = -np.inf
    return np.where(1 + others.max(1) > own, others.argmax(1), -1)
