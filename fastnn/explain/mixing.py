"""Tables whose columns come from different rows of another: what explanations ask a model about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.network.arrays import is_rows, is_table
from fastnn.tables.frames import all_names
from fastnn.tables.table import Arrays, Table

Groups = dict[str, list[int]]  # places of columns that go together


class Mixer:
    """A table as the source of mixed ones, of the same kind and with the same columns.

    Parameters
    ----------
    X : array (n, n_columns); table of pandas, polars or pyarrow; dict of columns
    """

    def __init__(self, X: Any) -> None:
        if not isinstance(X, Arrays) and (is_rows(X) or not is_table(X)):
            X = np.asarray(X)
            if X.ndim != 2:
                raise TypeError(
                    "X must be an array (n, n_columns), a table of pandas, polars or pyarrow, or a "
                    f"dict of columns, got shape {X.shape}"
                )
        self.X = X
        if isinstance(X, (np.ndarray, Arrays)):
            matrix = X if isinstance(X, np.ndarray) else X.X
            self.names, self.n_rows = list(range(matrix.shape[1])), len(matrix)
        else:
            self.names = all_names(X)
            self.n_rows = len(X[self.names[0]]) if isinstance(X, Mapping) else _rows_of(X)

    def __call__(self, rows: Sequence[np.ndarray]) -> Any:
        """A table of m rows: column j has the cells of rows[j], (m,) indices of X's rows."""
        return _mixed(self.X, rows)

    def differ(self, row: int, others: np.ndarray) -> np.ndarray:
        """(n_others, n_columns) bool: False where another row's cell is certainly `row`'s, which is
        looked at in arrays alone."""
        X = self.X.X if isinstance(self.X, Arrays) else self.X
        if not isinstance(X, np.ndarray):
            return np.ones((len(others), len(self.names)), bool)
        differ: np.ndarray = X[others] != X[row]
        return differ

    def groups(self, groups: Mapping[str, Sequence[Any]] | None) -> Groups:
        """`groups` by the places of their columns; by default each column is one."""
        shown = [str(name) for name in self.names]
        if len(set(shown)) < len(shown):
            twice = next(name for name in shown if shown.count(name) > 1)
            raise ValueError(f'X must have columns of different names, two are called "{twice}"')
        place = {name: j for j, name in enumerate(self.names)}
        if groups is None:
            return {str(name): [j] for name, j in place.items()}
        found: Groups = {}
        for group, columns in groups.items():
            if isinstance(columns, str):
                raise TypeError(f"groups[{group!r}] must be a list of columns, got {columns!r}")
            if unknown := [column for column in columns if column not in place]:
                raise ValueError(f"groups[{group!r}] has {unknown[0]!r}, which is no column of X")
            found[group] = [place[column] for column in columns]
        places = [j for columns in found.values() for j in columns]
        if not found or len(set(places)) < len(places) or not all(found.values()):
            raise ValueError(
                "groups must hold columns, each group some and each column one group at most, "
                f"got {groups!r:.80}"
            )
        return found


def _rows_of(X: Any) -> int:
    return X.n_rows if isinstance(X, Table) else len(X)


def _mixed(X: Any, rows: Sequence[np.ndarray]) -> Any:
    if isinstance(X, np.ndarray):
        mixed = np.empty((len(rows[0]), len(rows)), X.dtype)
        for j, r in enumerate(rows):
            mixed[:, j] = X[r, j]
        return mixed
    if isinstance(X, Arrays):
        return replace(X, X=_mixed(X.X, rows), y=None)
    if isinstance(X, Table):
        taken = [one.take(r) for one, r in zip(X.columns.values(), rows, strict=True)]
        return replace(X, columns=dict(zip(X.columns, taken, strict=True)), lines=None)
    if isinstance(X, Mapping):
        return {name: _cells(X[name], r) for name, r in zip(X, rows, strict=True)}
    if hasattr(X, "iloc"):
        made = type(X)({j: X.iloc[:, j].array.take(r) for j, r in enumerate(rows)})
        made.columns = X.columns
        return made
    if hasattr(X, "schema") and hasattr(X, "from_arrays"):
        return type(X).from_arrays(
            [X.column(j).take(r) for j, r in enumerate(rows)], schema=X.schema
        )
    return type(X)([X.to_series(j).gather(r) for j, r in enumerate(rows)])


def _cells(column: Any, rows: np.ndarray) -> Any:
    if isinstance(column, np.ndarray):
        return column[rows]
    cells = list(column)
    return [cells[row] for row in rows]


def answers(predict: Any, X: Any, n: int) -> np.ndarray:
    """predict(X) as float64, (n,) or (n, n_outputs)."""
    found = np.asarray(predict(X))
    if found.dtype.kind not in "buif":
        raise TypeError(
            f"predict must return numbers (of classes: their probabilities), got {found.dtype}"
        )
    if found.ndim not in (1, 2) or len(found) != n:
        raise ValueError(
            f"predict must return an array ({n},) or ({n}, n_outputs), got {found.shape}"
        )
    return found.astype(np.float64)
