"""Loss and score of a network on many rows; with weights, every mean is a weighted one.

accuracy   share of right classes: the largest f(x)_j of softmax outputs and of hinge, and of
           sigmoid outputs each for 1 where f(x)_j > 1/2
r2         1 - sum (f - y)^2 / sum (y - mean y)^2, mean over the outputs
d2         the same share of the quantile loss of the best constant, y's own quantile: for
           quantiles other than the median, which no r2 measures
"""

from __future__ import annotations

import numpy as np

from fastnn._losses import quantiles_of
from fastnn._network import NetworkSpec
from fastnn.kernels.engine import Engine


def forward(engine: Engine, network: NetworkSpec, X: np.ndarray, n_threads: int) -> np.ndarray:
    """f(x) = h^(K) of each row, (n, n_out)."""
    out = np.empty((len(X), network.n_out), network.dtype)
    engine.forward(X, out, n_threads)
    return out


def evaluate(
    engine: Engine,
    network: NetworkSpec,
    X: np.ndarray,
    y: np.ndarray,
    n_threads: int,
    weights: np.ndarray | None = None,
) -> dict[str, float]:
    """{"loss": mean loss, "accuracy", "r2" or "d2": score}."""
    f = np.empty((len(X), network.n_out), network.dtype)
    loss = engine.loss(X, y, f, n_threads, weights)
    name = score_name(network)
    if name == "accuracy":
        right = classes(f, network) == (y if y.ndim == 1 else classes(y, network))
        score = float(np.average(right, 0, weights).mean())
    elif name == "r2":
        mean = np.average(y.astype(np.float64), 0, weights)
        score = _saved((f - y.astype(np.float64)) ** 2, (y - mean) ** 2, weights)
    else:
        q = np.tile(quantiles_of(network.loss), network.n_targets)
        best = _quantiles(y.astype(np.float64), q, weights)
        score = _saved(_pinball(f - y.astype(np.float64), q), _pinball(best - y, q), weights)
    return {"loss": loss, name: score}


def score_name(network: NetworkSpec) -> str:
    if network.decides:
        return "accuracy"
    return "r2" if set(quantiles_of(network.loss)) <= {0.5} else "d2"


def classes(f: np.ndarray, network: NetworkSpec) -> np.ndarray:
    """What classes that exclude each other (n,), and sigmoid outputs (n, n_out), decide."""
    return f.argmax(1) if network.one_of_many else (f > 0.5).astype(np.intp)


def _saved(loss: np.ndarray, constant: np.ndarray, weights: np.ndarray | None) -> float:
    """1 - sum loss / sum of the best constant's, mean over the outputs."""
    own, best = np.average(loss, 0, weights), np.average(constant, 0, weights)
    # Where y does not vary: 1 if it is met exactly, otherwise 0.
    varies = best > 0
    return float(np.where(varies, 1 - own / np.where(varies, best, 1), own == 0).mean())


def _pinball(e: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.where(e > 0, (1 - q) * e, -q * e)


def _quantiles(y: np.ndarray, q: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """For each column the smallest y below or at which a share q of the weights lies."""
    weights = np.ones(len(y)) if weights is None else weights
    order = y.argsort(0)
    below = weights[order].cumsum(0)
    places = (below < q * below[-1]).sum(0)
    return np.take_along_axis(y, np.take_along_axis(order, places[None], 0), 0)[0]
