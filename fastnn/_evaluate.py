"""Loss and score of a network on many rows.

accuracy   share of right classes: argmax f(x) for softmax, f(x)_j > 1/2 for sigmoid outputs
r2         1 - sum (f - y)^2 / sum (y - mean y)^2, mean over the outputs
"""

from __future__ import annotations

import numpy as np

from fastnn._arrays import Features
from fastnn._network import NetworkSpec
from fastnn.kernels.engine import Engine


def forward(engine: Engine, network: NetworkSpec, X: Features, n_threads: int) -> np.ndarray:
    """f(x) = h^(K) of each row, (n, n_out)."""
    out = np.empty((len(X), network.n_out), network.dtype)
    engine.forward(X, out, n_threads)
    return out


def evaluate(
    engine: Engine, network: NetworkSpec, X: Features, y: np.ndarray, n_threads: int
) -> dict[str, float]:
    """{"loss": mean loss, "accuracy" or "r2": score}."""
    f = np.empty((len(X), network.n_out), network.dtype)
    loss = engine.loss(X, y, f, n_threads)
    name = score_name(network)
    score = _accuracy(f, y, network.output) if name == "accuracy" else _r2(f, y)
    return {"loss": loss, name: score}


def score_name(network: NetworkSpec) -> str:
    return "accuracy" if network.output in ("softmax", "sigmoid") else "r2"


def classes(f: np.ndarray, output: str) -> np.ndarray:
    """What softmax (n,) and sigmoid (n, n_out) outputs decide."""
    return f.argmax(1) if output == "softmax" else (f > 0.5).astype(np.intp)


def _accuracy(f: np.ndarray, y: np.ndarray, output: str) -> float:
    right = classes(f, output) == (y if y.ndim == 1 else classes(y, output))
    return float(right.mean())


def _r2(f: np.ndarray, y: np.ndarray) -> float:
    y = y.astype(np.float64)
    residual = ((f - y) ** 2).sum(0)
    total = ((y - y.mean(0)) ** 2).sum(0)
    # Where y does not vary: 1 if it is met exactly, otherwise 0.
    varies = total > 0
    score = np.where(varies, 1 - residual / np.where(varies, total, 1), residual == 0)
    return float(score.mean())
