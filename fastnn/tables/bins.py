"""Where a number's bins lie: a regression tree of one column, grown leaf by leaf.

    gain of a cut = |S_l|^2 / n_l + |S_r|^2 / n_r - |S|^2 / n      S: sum of targets of n rows

The leaf whose best cut gains most is cut next, until there are as many leaves as bins. So edges
stand where the target changes, also within a few rows of a column that is nearly constant
elsewhere. Of classes the targets are indicators, and the gain is that of Gini's impurity.

Gorishniy, Rubachev & Babenko (2022), "On embeddings for numerical features in tabular deep
learning", NeurIPS (arXiv:2203.05556), section 3.2.2; Breiman, Friedman, Olshen & Stone (1984),
"Classification and regression trees".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ROWS = 50_000  # that are looked at, at most
LEAST = 5  # rows of a bin, or one in so many of all:
SHARE = 1000


class Leaf(NamedTuple):
    first: int  # of the distinct values
    stop: int
    gain: float  # of its best cut; 0: there is none
    cut: int  # the first value right of it


def tree_edges(x: np.ndarray, y: np.ndarray, n_bins: int) -> list[float]:
    """Edges of at most n_bins bins of x, rising, at least two.

    Parameters
    ----------
    x : array, (n,)
        Finite numbers.
    y : array, (n,) of int or (n, n_out)
        Labels 0, 1, ..., or amounts or probabilities.
    n_bins : int
    """
    step = -(-len(x) // ROWS)
    x, y = x[::step], y[::step]
    values, group = np.unique(x, return_inverse=True)
    if len(values) == 1:
        return [float(values[0]), float(values[0]) + 1.0]
    n, sums = _summed(group, y, len(values))
    least = max(LEAST, len(x) // SHARE)
    leaves = [_leaf(n, sums, 0, len(values), least)]
    while len(leaves) < n_bins:
        leaf = max(leaves, key=lambda one: one.gain)
        if leaf.gain <= 0:
            break
        leaves.remove(leaf)
        for first, stop in ((leaf.first, leaf.cut), (leaf.cut, leaf.stop)):
            leaves.append(_leaf(n, sums, first, stop, least))
    cuts = np.sort([leaf.first for leaf in leaves])[1:]
    middle = (values[cuts - 1].astype(np.float64) + values[cuts]) / 2
    edges = np.array([values[0], *middle, values[-1]], x.dtype)
    distinct: list[float] = np.unique(edges).tolist()  # a middle may be rounded to a neighbour
    return distinct


def _summed(
    group: np.ndarray, y: np.ndarray, n_values: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Before each distinct value, and behind the last: how many rows, and each target's sum."""

    def below(weights: np.ndarray | None) -> np.ndarray:
        return np.append(0.0, np.cumsum(np.bincount(group, weights, n_values)))

    labels = y.ndim == 1
    targets = [y == c for c in range(int(y.max()) + 1)] if labels else y.astype(np.float64).T
    return below(None), [below(np.asarray(one, np.float64)) for one in targets]


def _leaf(n: np.ndarray, sums: list[np.ndarray], first: int, stop: int, least: int) -> Leaf:
    """The values first:stop, and their best cut that leaves enough rows on both sides."""
    cuts = np.arange(first + 1, stop)
    left, right = n[cuts] - n[first], n[stop] - n[cuts]
    may = (left >= least) & (right >= least)
    if not may.any():
        return Leaf(first, stop, 0.0, first)
    cuts, left, right = cuts[may], left[may], right[may]
    gain = np.zeros(len(cuts))
    for one in sums:  # one after another: the same bits however NumPy adds
        gain += (one[cuts] - one[first]) ** 2 / left + (one[stop] - one[cuts]) ** 2 / right
        gain -= (one[stop] - one[first]) ** 2 / (n[stop] - n[first])
    best = int(gain.argmax())
    return Leaf(first, stop, float(gain[best]), int(cuts[best]))
