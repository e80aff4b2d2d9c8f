"""The engine's gradient against central differences of its loss, in float64.

    dL/dt = (8 [L(t + s) - L(t - s)] - [L(t + 2s) - L(t - 2s)]) / (12 s) + O(s^4)

(Abramowitz & Stegun, 25.3.6.) With s = 1e-4 truncation and rounding are both some 1e-12.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.checks import as_real, name_of
from fastnn.explain.passes import forward_passes
from fastnn.network.activations import plain
from fastnn.network.arrays import as_dense, as_pair
from fastnn.network.losses import settings_of
from fastnn.network.parameters import new_engine
from fastnn.network.spec import NetworkSpec
from fastnn.random import GRADIENT_CHECK, permutation
from fastnn.training.weights import as_weights

STEP = 1e-4
# Parameters checked: each needs four passes, so fewer of a very big network.
CHECKED_MAX, CHECKED_MIN = 1000, 50
OPERATIONS = 2e8  # parameters checked times parameters in all, about
# Differences see a gradient down to some 1e-12 of the loss. Where all of a W's or b's gradient is
# below this share of the loss (as at a minimum), the error is relative to this share: 1e-7.
NEGLIGIBLE = 1e-5
OFFSETS = (-2, -1, 1, 2)
# Activations made of pieces: on which one a lies.
PIECE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **dict.fromkeys(("relu", "leaky_relu", "elu", "selu"), lambda a: a > 0),
    "hard_tanh": lambda a: abs(a) < 1,
}
IN_PIECES = ("absolute_error", "quantile", "huber", "hinge")  # losses


def gradient_check(
    network: NetworkSpec,
    theta: np.ndarray,
    X: Any,
    y: Any,
    eps: float | None,
    seed: int,
    sample_weight: Any = None,
    statistics: np.ndarray | None = None,
) -> float:
    """Largest |g - d| over the parameters of a W, b, gamma, alpha, s or embedded column's part /
    the largest |g| of these."""
    eps = STEP if eps is None else as_real("eps", eps)
    if eps == 0:
        raise ValueError("eps must be above 0, got 0.0")
    network = replace(network, dtype="float64", bfloat16=False)
    X, y = as_pair(X, y, network)
    X = as_dense(X, network)
    weights = as_weights(sample_weight, len(X))
    theta = theta.astype(np.float64)
    statistics = np.array([] if statistics is None else statistics, np.float64)
    engine = new_engine(network)
    out, unused = np.empty((len(X), network.n_out)), np.empty_like(theta)

    def loss() -> float:
        engine.load(theta, statistics=statistics)
        if (
            network.batch_normalised
        ):  # of the rows as one mini-batch, which prediction does not know
            return engine.gradient(X, y, unused, 1, weights)
        return engine.loss(X, y, out, 1, weights)

    def active() -> np.ndarray:
        return _active(network, theta, statistics, X, y)

    g = np.empty_like(theta)
    engine.load(theta, statistics=statistics)
    floor = NEGLIGIBLE * max(1.0, engine.gradient(X, y, g, 1, weights))
    kinks = active()
    worst, checked = 0.0, 0
    layers = network.layers
    parts = [span for of in network.phi for part in of for span, _ in part.values()]
    parts += [network.s]
    parts += [part for one in layers for part in (one.W, one.b, one.gamma, one.alpha)]
    spans = [span for span in parts if g[span].size]
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
                crossed = crossed or not np.array_equal(kinks, active())
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
    network: NetworkSpec, theta: np.ndarray, statistics: np.ndarray, X: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """The piece on which each unit and the loss lie, for every row: differences hold while it stays
    so."""
    names = [name_of(plain(layer.activation)) for layer in network.layers]
    if name_of(network.loss) not in IN_PIECES and not PIECE.keys() & set(names):
        return np.empty(0, bool)
    passes = forward_passes(network, theta, statistics, X)
    pieces = [
        PIECE[name](of.a).ravel() for name, of in zip(names, passes, strict=True) if name in PIECE
    ]
    return np.concatenate([_sides(network, y, passes[-1].h), *pieces])


def _sides(network: NetworkSpec, y: np.ndarray, f: np.ndarray) -> np.ndarray:
    """On which piece of a loss that is made of pieces f lies."""
    name = name_of(network.loss)
    if name in ("absolute_error", "quantile"):
        above: np.ndarray = (f > y).ravel()
        return above
    if name == "huber":
        far: np.ndarray = (abs(f - y) > settings_of(network.loss)["delta"]).ravel()
        return far
    if name != "hinge":
        return np.empty(0, bool)
    others, own = f.copy(), f[np.arange(len(y)), y]
    others[np.arange(len(y)), y] = -np.inf
    return np.where(1 + others.max(1) > own, others.argmax(1), -1)
