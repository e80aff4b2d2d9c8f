"""Interventional Shapley values: what each column contributes to a model's answer for a row.

A game of the columns: the value of a set S of them is the mean answer where the columns of S are
the row's, and all others those of the rows of a background,

    v(S) = mean over b of f(x_S, b_rest)

and column j gets its mean contribution over all orders in which columns may join:

    phi_j = sum over S without j of [1 / (g C(g - 1, |S|))] (v(S + j) - v(S))

of g columns. v(none) + sum_j phi_j = f(x). The mean over b may as well be taken last: in the game
of one b, columns in which x and b agree contribute nothing, and sets of the others are enough.

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
from fastnn.names import Doubles
from fastnn.random import EXPLAIN, as_seed, permutation, raw
from fastnn.values import Value

BACKGROUND = 100  # rows
MOST_EXACT = 2**15 * BACKGROUND  # rows predicted for one that is explained
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
    values: Doubles
    base: Doubles
    error: Doubles


def shapley_values(
    predict: Callable[[Any], Any],
    X: Any,
    rows: Sequence[int] | np.ndarray,
    *,
    background: Sequence[int] | np.ndarray | None = None,
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
        so many random orders are sampled. By default a row's values are exact where that takes
        2^15 * 100 predictions at most, 2^(number of groups) for each row of the background (of
        arrays: of groups in which it is another than the row); otherwise 2000 orders are sampled.
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

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X = np.array([[0.0, 0.0], [1.0, 2.0]])
    >>> found = fastnn.shapley_values(lambda X: X.sum(axis=1), X, [1], background=[0])
    >>> found.values
    array([[1., 2.]])
    """
    mixer, seed = Mixer(X), as_seed(seed)
    places, n = mixer.groups(groups), mixer.n_rows
    explained = _as_rows("rows", rows, n)
    others = some_rows(n, seed) if background is None else _as_rows("background", background, n)
    orders = None if orders is None else as_int("orders", orders, 1)
    game = _Game(predict, mixer, places, others)
    found = [game.play(row, orders, seed) for row in explained]
    values, base, error = map(np.stack, zip(*found, strict=True))
    return Shapley(list(places), values, base, error)


def some_rows(n: int, seed: int) -> np.ndarray:
    """A background of n rows: 100 of them, or all if there are fewer."""
    return np.sort(permutation(seed, EXPLAIN, 0, n)[:BACKGROUND])


def _as_rows(name: str, rows: Any, n: int) -> np.ndarray:
    found = np.asarray(rows)
    if found.ndim != 1 or found.dtype.kind not in "iu" or not len(found):
        raise TypeError(f"{name} must be a list of rows' numbers, got {rows!r:.80}")
    if found.min() < 0 or found.max() >= n:
        raise ValueError(f"{name} must be from 0 to {n - 1}, got {found.min()} to {found.max()}")
    return found.astype(np.intp)


Played = tuple[np.ndarray, np.ndarray, np.ndarray]  # values (n, ...), base (...), error (n, ...)


class _Game:
    """Contributions to one row's answer, of n groups of columns."""

    def __init__(self, predict: Any, mixer: Mixer, places: Groups, others: np.ndarray) -> None:
        self.predict, self.mixer, self.others = predict, mixer, others
        self.places = list(places.values())
        self.group = [-1] * len(mixer.names)  # of each column
        for k, columns in enumerate(self.places):
            for j in columns:
                self.group[j] = k
        self.n = len(places)

    def play(self, row: int, orders: int | None, seed: int) -> Played:
        if orders is not None:
            return self.sampled(row, orders, seed)
        differ = self.mixer.differ(row, self.others)
        differ = np.stack([differ[:, columns].any(1) for columns in self.places], 1)
        if np.exp2(differ.sum(1)).sum() > MOST_EXACT:
            return self.sampled(row, ORDERS, seed)
        return self.exact(row, differ)

    def _answers(self, row: int, joined: np.ndarray, others: np.ndarray) -> np.ndarray:
        """(m,) or (m, n_outputs); joined : (m, n) bool, which groups are the row's; others : (m,),
        whose the rest are."""
        own = np.full(len(others), row)
        rows = [own if k < 0 else np.where(joined[:, k], row, others) for k in self.group]
        return answers(self.predict, self.mixer(rows), len(others))

    def exact(self, row: int, differ: np.ndarray) -> Played:
        """differ : (n_others, n) bool, in which groups the others are not the row."""
        values: Any = 0.0
        base: Any = 0.0
        for some in _batches(np.exp2(differ.sum(1))):
            sets = [_subsets(differ[i]) for i in some]
            lengths = [len(joined) for joined in sets]
            found = self._answers(
                row, np.concatenate(sets), np.repeat(self.others[some], lengths)
            )
            for i, v in zip(some, np.split(found, np.cumsum(lengths)[:-1]), strict=True):
                own = np.zeros((self.n, *v.shape[1:]))
                own[differ[i]] = _contributions(v)
                values, base = values + own, base + v[0]
        values = values / len(differ)
        return values, base / len(differ), np.zeros_like(values)

    def sampled(self, row: int, orders: int, seed: int) -> Played:
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
            others = np.repeat(self.others[some % n_others], 2 * (self.n + 1))
            answer = self._answers(row, joined.reshape(-1, self.n), others)
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


def _subsets(of: np.ndarray) -> np.ndarray:
    """All subsets of a set (n,) bool, (2^k, n) bool: bit j of a subset's number is its j-th one."""
    places = np.flatnonzero(of)
    joined = np.zeros((1 << len(places), len(of)), bool)
    joined[:, places] = np.arange(len(joined))[:, None] >> np.arange(len(places)) & 1
    return joined


def _contributions(v: np.ndarray) -> np.ndarray:
    """(k, ...) of k players, from the values (2^k, ...) of sets numbered as by `_subsets`."""
    sets = np.arange(len(v))
    k = len(v).bit_length() - 1
    sizes = (sets[:, None] >> np.arange(k) & 1).sum(1)
    weight = np.array([1 / (k * comb(k - 1, size)) for size in range(k)])
    found = np.empty((k, *v.shape[1:]))
    for j in range(k):
        without = sets[sets >> j & 1 == 0]
        found[j] = np.tensordot(weight[sizes[without]], v[without | 1 << j] - v[without], 1)
    return found


def _batches(sizes: np.ndarray) -> Iterator[np.ndarray]:
    """Neighbours whose sizes sum up to about AT_ONCE."""
    number = (np.cumsum(sizes) - sizes) // AT_ONCE
    for one in np.unique(number):
        yield np.flatnonzero(number == one)


def _pieces(items: np.ndarray, size: int) -> Iterator[np.ndarray]:
    size = max(1, size)
    for start in range(0, len(items), size):
        yield items[start : start + size]
