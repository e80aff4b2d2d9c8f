"""Loss and metrics of a network on many rows; with weights, every mean is a weighted one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastnn.checks import name_of
from fastnn.kernels.engine import Engine
from fastnn.kernels.predict import Frozen
from fastnn.network.arrays import Features
from fastnn.network.losses import for_kernel
from fastnn.network.spec import NetworkSpec
from fastnn.training.metrics import Metric, is_log_loss, measure

OWN_LOSS = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}  # of an output


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
    metrics: Mapping[str, Metric],
    weights: np.ndarray | None = None,
    of_metrics: bool = True,
    rows: np.ndarray | None = None,
) -> dict[str, float]:
    """{"loss": mean loss, ...: each metric}, from one pass over the rows.

    log_loss is what the output's own cross-entropy is: from a, as f rounds to 0 and 1; of a network
    with another loss it takes a second pass. of_metrics: whether the weights are theirs, too. rows:
    those of X that are measured on, all by default; y and weights are of these alone.
    """
    f = np.empty((len(y), network.n_out), network.dtype)
    loss = engine.loss(X, y, f, n_threads, weights, None, rows)
    others = weights if of_metrics else None
    values = measure(metrics, y, f, others)
    if is_log_loss(metrics.get("log_loss")):
        own = OWN_LOSS[name_of(network.output)]
        if network.loss == own and others is weights:
            values["log_loss"] = loss
        else:
            of = for_kernel(own, network.n_out)
            values["log_loss"] = engine.loss(X, y, f, n_threads, others, of, rows)
    return {"loss": loss, **values}
