"""Rows and targets as people have them -> `Table` or `Arrays`, with scikit-learn's words for what
is wrong with them."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np

from fastnn.checks import counted
from fastnn.network.arrays import is_rows, is_table
from fastnn.tables.frames import all_names, as_arrays, as_column, as_matrix, as_table
from fastnn.tables.table import Arrays, Numbers, Table
from fastnn.tables.words import is_missing


def as_data(
    X: Any, names: list[str] | None = None, width: int = 0, who: str = ""
) -> Table | Arrays:
    """X as a Table where its columns have names or hold text, otherwise as Arrays.

    names, width: of the columns of a fit that X is to be read like: of an array they are the names
    of its columns. Names that are None: X becomes Arrays. who: the estimator, in messages.
    """
    if isinstance(X, (Table, Arrays)):
        return X
    if is_table(X):
        if names is not None or not width:
            return as_table(X)
        X = as_matrix(X)
    array = _matrix(X)
    if width and array.shape[1] != width:
        raise ValueError(
            f"X has {array.shape[1]} features, but {who} is expecting {width} features as input"
        )
    if names is None and array.dtype.kind in "buif":
        return as_arrays(array)
    known = names or place_names(array.shape[1])
    columns = {
        name: as_column(f'X, column "{name}"', one)
        for name, one in zip(known, array.T, strict=True)
    }
    if names is None and all(isinstance(one, Numbers) for one in columns.values()):
        return as_arrays(np.stack([one.numbers() for one in columns.values()], 1))
    return Table("X", columns, range(len(array)))


def _matrix(X: Any) -> np.ndarray:
    """An array (n, n_columns) of whatever dtype, neither of which is 0."""
    if X is None or isinstance(X, (str, bytes)):
        raise TypeError(f"X must be a table or an array, got {X!r:.50}")
    if hasattr(X, "toarray"):
        raise TypeError(
            "Sparse data was passed, but dense data is required: X must be a table or a dense "
            f"array, got {type(X).__name__}; X.toarray() makes it one"
        )
    if hasattr(X, "filled"):
        raise TypeError("X must not be a masked array; make its gaps NaN: X.filled(np.nan)")
    array = np.asarray(X)
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: X must be numbers or text, got {array!r}")
    if array.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {array.ndim}D array instead: X must have shape (n, "
            f"n_columns), got {array.shape}. Reshape your data using X.reshape(-1, 1) if it has a "
            "single column or X.reshape(1, -1) if it is a single row."
        )
    for axis, what in enumerate(("sample(s)", "feature(s)")):
        if not array.shape[axis]:
            raise ValueError(
                f"Found array with 0 {what} (shape={array.shape}) while a minimum of 1 is required."
            )
    return array


def place_names(n: int) -> list[str]:
    """What columns without names are called."""
    return [f"x{j}" for j in range(n)]


def as_target(y: Any) -> np.ndarray | Table:
    """y as an array (n,) of its cells as they are; a Table of one column stays one."""
    if y is None:
        raise ValueError(
            "requires y to be passed, but the target y is None: y must hold a class or value for "
            "each row"
        )
    if is_table(y):
        names = all_names(y)
        if len(names) != 1:
            raise ValueError(f"y must be one column, got {counted(len(names), 'column')}")
        if isinstance(y, Table):
            return y
        y = y.iloc[:, 0] if hasattr(y, "iloc") else as_cells(y, names[0])
    array = np.asarray(y)
    first: Any = array.flat[0] if array.size else None
    if array.dtype.kind == "S" or isinstance(first, bytes):
        raise TypeError(f"y must hold numbers or texts, got {bytes(first)!r:.50}; decode them")
    if array.ndim == 2 and array.shape[1] == 1:
        _warn_of_column(array.shape)
        array = array[:, 0]
    if array.ndim != 1 or not len(array):
        raise ValueError(f"y must have shape (n,), a class or value a row, got {array.shape}")
    return array


def as_cells(X: Any, name: Any) -> Any:
    """A column of a table."""
    return [row.get(name) for row in X] if is_rows(X) else X[name]


def as_amounts(y: np.ndarray) -> np.ndarray:
    """y (n,) as finite float64."""
    try:
        if y.dtype.kind not in "biufO":
            raise TypeError
        values = y.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"y must be numbers, got such as {y.tolist()[0]!r:.50}") from None
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise ValueError(f"y must be finite in each row, got {y[row]} in y[{row}]")
    return values


def as_classes(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct cells of y (n,) in ascending order, and which of them each row holds."""
    if y.dtype.kind == "O":
        cells = y.tolist()
        for row, cell in enumerate(cells):
            if is_missing(cell):
                raise ValueError(f"y must hold a class in each row, got {cell!r} in y[{row}]")
        try:
            distinct = sorted(set(cells))
        except TypeError:
            kinds = sorted({type(cell).__name__ for cell in cells})
            raise ValueError(
                f"Unknown label type: classes must be of one kind, numbers or texts, got {kinds}"
            ) from None
        place = {cell: i for i, cell in enumerate(distinct)}
        codes = np.fromiter((place[cell] for cell in cells), np.intp, len(cells))
        classes = np.empty(len(distinct), object)
        classes[:] = distinct
        return classes, codes
    if y.dtype.kind == "f":
        if not np.isfinite(y).all():
            row = int(np.argmin(np.isfinite(y)))
            raise ValueError(f"y must hold a class in each row, got {y[row]} in y[{row}]")
        if (y != np.round(y)).any():
            raise ValueError(
                "Unknown label type: continuous. y must hold classes, got numbers with fractions; "
                "TabularRegressor learns amounts"
            )
    elif y.dtype.kind not in "biuSU":
        raise ValueError(f"Unknown label type: y must hold numbers or texts, got {y.dtype}")
    return np.unique(y, return_inverse=True)


def _warn_of_column(shape: tuple[int, ...]) -> None:
    """In scikit-learn's class where it is there to be asked for."""
    exceptions: Any = sys.modules.get("sklearn.exceptions")
    warnings.warn(
        f"A column-vector y was passed when a 1d array was expected: y has shape {shape}, and "
        "y.ravel() is what is learned",
        UserWarning if exceptions is None else exceptions.DataConversionWarning,
        stacklevel=4,
    )
