"""Interventional Shapley values: what each column contributes to a model's answer for a row.

A game of the columns: the value of a set S of them is the mean answer where the columns of S are
the row's, and all others those of the rows of a background,

    v(S) = mean over b of f(x_S, b_rest)

and column j gets its mean contribution over all orders in which columns may join:

    phi_j = sum over S without j of [1 / (g C(g - 1, |S|))] (v(S + j) - v(S))

of g columns. v(none) + sum_j phi_j = f(x).

Strumbelj, Kononenko (2014), "Explaining prediction models and individual predictions with feature
contributions", Knowledge and Information Systems 41 (the samples); Lundberg, Lee (2017), "A unified
approach to interpreting model predictions", NIPS (this game); Janzing, Minorics, Blöbaum (2020),
"Feature relevance quantification in explainable AI: a causal problem", AISTATS (why the background
is not conditioned on the row).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import comb
from typing import Any

import numpy as np

from fastnn.checks import as_int
from fastnn.explain.mixing import Groups, Mixer, answers
from fastnn.random import EXPLAIN, as_seed, permutation, raw
from fastnn.values import Value

MOST_EXACT = 15  # columns: 2^15 sets
BACKGROUND = 100  # rows
ORDERS = 2000  # at least, where not all are taken
AT_ONCE = 1 << 16  # rows that predict gets in one call, about


class Shapley(Value, eq=False):
    """Contributions to answers; those of a row and its base sum up to the answer.

    Attributes
    ----------
    names : list of str
        Of the columns, or groups of columns.
    values : array, (n_rows, n_names) or (n_rows, n_names, n_outputs)
    base : array, (n_rows,) or (n_rows, n_outputs)
        The mean answer over the background: the same for all rows, unless some columns are in no
        group.
    error : array like values
        Standard error of the sampling; 0 where values are exact.
    """

    names: list[str]
    values: np.ndarray
    base: np.ndarray
    error: np.ndarray


def shapley_values(
    predict: Callable[[Any], Any],
    X: Any,
    rows: Sequence[int],
    *,
    background: Sequence[int] | None = None,
    groups: Mapping[str, Sequence[Any]] | None = None,
    orders: int | None = None,
    seed: int | None = 0,
) -> Shapley:
    """Shapley values of some rows of a table, against others of it.

    Parameters
    ----------
    predict : function
        Of a table like X, to an array (n,) or (n, n_outputs) of numbers: amounts, probabilities,
        better their logarithms.
    X : array (n, n_columns); table of pandas, polars or pyarrow; dict of columns
        Holds the rows that are explained, and those of the background. Not changed.
    rows : sequence of int
        Those that are explained.
    background : sequence of int, optional
        Rows that stand for what a column might have been; by default 100 of X's, or all if there
        are fewer.
    groups : dict {name: columns}, optional
        Columns, by name or place, that join together; columns in no group are always the row's own.
        By default each column is a group.
    orders : int, optional
        Rounded up, so that all rows of the background count the same, each order and its reverse:
        so many random orders are sampled. By default the values are exact for at most 15 groups
        (2^15 times the background's rows are predicted), of more 2000 orders are sampled.
    seed : int, optional
        Of the background and the orders; None: others each time.

    Returns
    -------
    Shapley

    Raises
    ------
    TypeError, ValueError
        If X is no table, a group names no column of it, a row is not there, or `predict` returns
        something else.
    """
    mixer, seed = Mixer(X), as_seed(seed)
    places, n = mixer.groups(groups), mixer.n_rows
    explained = _as_rows("rows", rows, n)
    if background is None:
        others = np.sort(permutation(seed, EXPLAIN, 0, n)[:BACKGROUND])
    else:
        others = _as_rows("background", background, n)
    if orders is not None:
        orders = as_int("orders", orders, 1)
    elif len(places) > MOST_EXACT:
        orders = ORDERS
    game = _Game(predict, mixer, places, others)
    if orders is None:
        found = [game.exact(row) for row in explained]
    else:
        found = [game.sampled(row, orders, seed) for row in explained]
    values, base, error = map(np.stack, zip(*found, strict=True))
    return Shapley(list(places), values, base, error)


def _as_rows(name: str, rows: Sequence[int], n: int) -> np.ndarray:
    found = np.asarray(rows)
    if found.ndim != 1 or found.dtype.kind not in "iu" or not len(found):
        raise TypeError(f"{name} must be a list of rows' numbers, got {rows!r:.80}")
    if found.min() < 0 or found.max() >= n:
        raise ValueError(f"{name} must be from 0 to {n - 1}, got {found.min()} to {found.max()}")
    return found.astype(np.intp)


class _Game:
    """v of sets of columns; answers are (..., n_outputs), or without that axis."""

    def __init__(self, predict: Any, mixer: Mixer, places: Groups, others: np.ndarray) -> None:
        self.predict, self.mixer, self.others = predict, mixer, others
        self.group = [-1] * len(mixer.names)  # of each column
        for k, columns in enumerate(places.values()):
            for j in columns:
                self.group[j] = k
        self.n = len(places)

    def _answers(self, row: int, joined: np.ndarray, others: np.ndarray) -> np.ndarray:
        """joined : (..., n) bool, which groups are the row's; others : (...) of the rest's rows."""
        joined, others = joined.reshape(-1, self.n), others.ravel()
        own = np.full(len(others), row)
        rows = [own if k < 0 else np.where(joined[:, k], row, others) for k in self.group]
        return answers(self.predict, self.mixer(rows), len(others))

    def exact(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        sets, n_others = np.arange(1 << self.n), len(self.others)
        parts = []
        for some in _pieces(sets, AT_ONCE // n_others):
            joined = (some[:, None, None] >> np.arange(self.n)) & 1 == 1
            shape = len(some), n_others
            found = self._answers(
                *(row, np.broadcast_to(joined, (*shape, self.n))),
                np.broadcast_to(self.others, shape),
            )
            parts.append(found.reshape(*shape, *found.shape[1:]).mean(1))
        v = np.concatenate(parts)
        sizes = (sets[:, None] >> np.arange(self.n) & 1).sum(1)
        weight = np.array([1 / (self.n * comb(self.n - 1, size)) for size in range(self.n)])
        values = np.empty((self.n, *v.shape[1:]))
        for k in range(self.n):
            without = sets[sets >> k & 1 == 0]
            values[k] = np.tensordot(weight[sizes[without]], v[without | 1 << k] - v[without], 1)
        return values, v[0], np.zeros_like(values)

    def sampled(
        self, row: int, orders: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of an order and its reverse, which are exact where columns interact by twos alone;
        each with a row of the background in turn."""
        n_others = len(self.others)
        pairs = np.arange(-(-orders // (2 * n_others)) * n_others)
        drawn = raw(seed, EXPLAIN, 1, len(pairs) * self.n).reshape(-1, self.n)
        found, bases = [], []
        for some in _pieces(pairs, AT_ONCE // (2 * (self.n + 1))):
            forward = drawn[some].argsort(1, kind="stable")
            order = np.stack([forward, forward[:, ::-1]], 1)  # (pairs, 2, n)
            place = order.argsort(-1)
            joined = place[:, :, None, :] < np.arange(self.n + 1)[:, None]  # after each step
            others = self.others[some % n_others][:, None, None]
            answer = self._answers(row, joined, np.broadcast_to(others, joined.shape[:-1]))
            answer = answer.reshape(*joined.shape[:-1], *answer.shape[1:])
            gains = np.diff(answer, axis=2)  # of the column that joins at each step
            gains = np.take_along_axis(
                gains, place.reshape(*place.shape, *(1,) * (gains.ndim - 3)), axis=2
            )
            found.append(gains.mean(1))
            bases.append(answer[:, 0, 0])
        gains, base = np.concatenate(found), np.concatenate(bases).mean(0)
        error = gains.std(0, ddof=1) / len(gains) ** 0.5 if len(gains) > 1 else np.nan
        return gains.mean(0), base, np.broadcast_to(error, gains.shape[1:])


def _pieces(items: np.ndarray, size: int) -> Iterator[np.ndarray]:
    size = max(1, size)
    for start in range(0, len(items), size):
        yield items[start : start + size]
