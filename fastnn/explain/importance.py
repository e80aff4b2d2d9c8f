"""How much a model's loss on rows depends on each column: it is measured once more with the
column's cells shuffled among the rows.

Breiman (2001), "Random forests", Machine Learning 45: section 10; for any model Fisher, Rudin,
Dominici (2019), "All models are wrong, but many are useful", JMLR 20(177).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastnn.checks import as_int
from fastnn.explain.mixing import Mixer, answers
from fastnn.names import Doubles
from fastnn.random import EXPLAIN, as_seed, permutation
from fastnn.values import Value


class Importance(Value, eq=False):
    """What shuffling a column costs.

    Attributes
    ----------
    names : list of str
        Of the columns, or groups of columns.
    loss : float
        Of the rows as they are.
    increases : array, (n_names, repeats)
        By how much the loss is higher with the column shuffled.
    """

    names: list[str]
    loss: float
    increases: Doubles

    @property
    def mean(self) -> Doubles:
        """(n_names,) increase."""
        mean: Doubles = self.increases.mean(1)
        return mean

    @property
    def error(self) -> Doubles:
        """(n_names,) standard error of `mean` over the shuffles; NaN of a single one."""
        repeats = self.increases.shape[1]
        if repeats == 1:
            return np.full(len(self.names), np.nan)
        error: Doubles = self.increases.std(1, ddof=1) / repeats**0.5
        return error


def permutation_importance(
    predict: Callable[[Any], Any],
    X: Any,
    y: Any,
    loss: Callable[[Any, np.ndarray], float],
    *,
    groups: Mapping[str, Sequence[Any]] | None = None,
    repeats: int = 5,
    seed: int | None = 0,
) -> Importance:
    """The increase of `loss` where a column's cells are shuffled among the rows.

    It tells what the model uses, not what the target depends on: of two columns that say the same,
    each may seem unimportant, so that such columns better form a group. Rows that the model has not
    been trained on tell what helps it there.

    Parameters
    ----------
    predict : function
        Of a table like X, to an array (n,) or (n, n_outputs) of numbers.
    X : array (n, n_columns); table of pandas, polars or pyarrow; dict of columns
        Not changed.
    y : array or column, (n,)
        As `loss` takes it.
    loss : function (y, predicted) -> float
        The lower the better.
    groups : dict {name: columns}, optional
        Columns, by name or place, that are shuffled together, by the same rows; columns in no group
        are left alone. By default each column is a group.
    repeats : int, default 5
        Shuffles of each, at least 1; the same ones for every column.
    seed : int, optional
        The same seed gives the same shuffles on every machine; None: others each time.

    Returns
    -------
    Importance

    Raises
    ------
    TypeError, ValueError
        If X is no table, a group names no column of it, or `predict` returns something else.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X = np.arange(20.0).reshape(10, 2)
    >>> def predict(X):
    ...     return X[:, 0]
    >>> def error(y, predicted):
    ...     return abs(y - predicted).mean()
    >>> found = fastnn.permutation_importance(predict, X, X[:, 0], error)
    >>> (found.mean > 0).tolist()
    [True, False]
    """
    mixer, repeats, seed = Mixer(X), as_int("repeats", repeats, 1), as_seed(seed)
    places, n = mixer.groups(groups), mixer.n_rows
    before = float(loss(y, answers(predict, mixer.X, n)))
    own = np.arange(n)
    increases = np.empty((len(places), repeats))
    for repeat in range(repeats):
        shuffled = permutation(seed, EXPLAIN, repeat, n)
        for k, columns in enumerate(places.values()):
            rows = [shuffled if j in columns else own for j in range(len(mixer.names))]
            increases[k, repeat] = loss(y, answers(predict, mixer(rows), n)) - before
    return Importance(list(places), before, increases)
