"""Loss and metrics of a network on many rows; with weights, every mean is a weighted one."""

from __future__ import annotations

import numpy as np

from fastnn.kernels.engine import Engine
from fastnn.kernels.predict import Frozen
from fastnn.network.arrays import Features
from fastnn.network.spec import NetworkSpec
from fastnn.training.metrics import Metric, measure


def forward(engine: Engine, network: NetworkSpec, X: Features, n_threads: int) -> np.ndarray:
    """f(x) = h^(K) of each row, (n, n_out)."""
    out = np.empty((len(X), network.n_out), network.dtype)
    engine.forward(X, out, n_threads)
    return out


def evaluate(
    engine: Engine | Frozen,
    network: NetworkSpec,
    X: Features,
    y: np.ndarray,
    n_threads: int,
    metrics: dict[str, Metric],
    weights: np.ndarray | None = None,
) -> dict[str, float]:
    """{"loss": mean loss, ...: each metric}, from one pass over the rows."""
    f = np.empty((len(X), network.n_out), network.dtype)
    loss = engine.loss(X, y, f, n_threads, weights)
    return {"loss": loss, **measure(metrics, y, f, weights)}
