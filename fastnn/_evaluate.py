"""Loss and score of a network on many rows, a block of rows at a time.

accuracy   share of right classes: argmax f(x) for softmax, f(x)_j > 1/2 for sigmoid outputs
r2         1 - sum (f - y)^2 / sum (y - mean y)^2, mean over the outputs
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastnn._network import NetworkSpec
from fastnn.kernels.engine import Engine

# A call of the engine cannot be interrupted: some 2^28 multiplications and additions take 5 to
# 50 ms. The blocks depend on the network alone, so results do not depend on time or threads.
BLOCK_OPERATIONS = 2**28
BLOCK_ROWS_MIN = 128  # fewer would read the weights of a big network too often


def blocks(network: NetworkSpec, n: int) -> Iterator[slice]:
    """0..n in blocks of rows."""
    rows = max(BLOCK_ROWS_MIN, BLOCK_OPERATIONS // network.n_parameters)
    for start in range(0, n, rows):
        yield slice(start, min(start + rows, n))


def forward(engine: Engine, network: NetworkSpec, X: np.ndarray, n_threads: int) -> np.ndarray:
    """f(x) = h^(K) of each row, (n, n_out)."""
    out = np.empty((len(X), network.n_out), network.dtype)
    for rows in blocks(network, len(X)):
        engine.forward(X[rows], out[rows], n_threads)
    return out


def evaluate(
    engine: Engine, network: NetworkSpec, X: np.ndarray, y: np.ndarray, n_threads: int
) -> dict[str, float]:
    """{"loss": mean loss, "accuracy" or "r2": score}."""
    f = np.empty((len(X), network.n_out), network.dtype)
    loss = 0.0
    for rows in blocks(network, len(X)):
        loss += engine.loss(X[rows], y[rows], f[rows], n_threads) * (rows.stop - rows.start)
    name = score_name(network)
    score = _accuracy(f, y, network.output) if name == "accuracy" else _r2(f, y)
    return {"loss": loss / len(X), name: score}


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
