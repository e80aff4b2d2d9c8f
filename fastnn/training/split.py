"""Which rows are held out of training, the same for the same seed on every machine."""

from __future__ import annotations

import numpy as np

from fastnn.random import HELD_OUT, permutation


def split(
    n_rows: int, fraction: float, seed: int, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Training and held-out rows, both in ascending order.

    With labels, each class gives its share, rounded, and keeps at least one row for training.
    """
    order = permutation(seed, HELD_OUT, 0, n_rows)
    held_out = np.zeros(n_rows, bool)
    groups = (
        [order]
        if labels is None
        else [order[labels[order] == label] for label in np.unique(labels)]
    )
    for group in groups:
        n_held_out = min(round(fraction * len(group)), len(group) - 1)
        held_out[group[:n_held_out]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
