"""Which columns matter: how much worse predictions are where a column's cells are shuffled.

Breiman (2001), "Random forests", Machine Learning 45(1), section 10; for any model as Fisher, Rudin
& Dominici (2019), "All models are wrong, but many are useful", JMLR 20(177).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from fastnn.random import SHUFFLED, permutation
from fastnn.tables.columns import Columns
from fastnn.tables.inputs import ArrayInputs, TableInputs
from fastnn.tabular.data import place_names


def features_of(columns: Columns) -> Iterator[tuple[str, list[int]]]:
    """Each column that the networks see, by name, and its features."""
    inputs = columns.inputs
    if isinstance(inputs, TableInputs):
        for column, at in inputs.features():
            yield column.name, list(range(at.start, at.stop))
    elif isinstance(inputs, ArrayInputs):
        n = len(inputs.scale)
        for j, name in enumerate(place_names(n)):
            yield name, [j, *(n + k for k, i in enumerate(inputs.indicated) if i == j)]


def importances(
    X: np.ndarray,
    features: Iterator[tuple[str, list[int]]],
    loss: Callable[[np.ndarray], float],
    n_repeats: int,
    seed: int,
) -> dict[str, float]:
    """Mean rise of the loss of encoded rows X where a column's features are shuffled, the largest
    first. X comes back as it was."""
    before = loss(X)
    rises = {}
    for number, (name, at) in enumerate(features):
        own = X[:, at].copy()
        losses = []
        for repeat in range(n_repeats):
            order = permutation(seed, SHUFFLED, number + (repeat << 32), len(X))
            X[:, at] = own[order]
            losses.append(loss(X))
        X[:, at] = own
        rises[name] = float(np.mean(losses)) - before
    return dict(sorted(rises.items(), key=lambda item: -item[1]))
