"""Users' arrays, checked before anything changes, as the engine takes them.

Features stay as they lie in memory where the engine can read them so: arrays of the kinds of
number in `KINDS`, with any strides (`np.ndarray` describes both), and CSR matrices (`CSR`). Rows
become the network's reals when a mini-batch is gathered; integers are then multiplied by its
input_scale.
Targets become C-contiguous arrays of the network's dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from fastnn.checks import name_of
from fastnn.kernels._cpu import KINDS, all_finite
from fastnn.network.spec import NetworkSpec
from fastnn.values import Value

SUM_TOLERANCE = 1e-4  # of a target distribution: float32 rows of a thousand classes keep to it
CHUNK = 1 << 18  # numbers looked at together
FEW = 1 << 12  # so many are looked at sooner without sparing a temporary
LARGEST = {dtype: float(np.finfo(dtype).max) for dtype in ("float32", "float64")}
READ_AS_THEY_LIE = {np.dtype(name) for name in (*KINDS, "bool")}  # byte order included
# Where text is taken.
LEARNED = {
    "X": "; Model([None, ..., None]) learns columns of text and categories in its fit",
    "y": "; Model([None, ..., None]) learns names of classes in its fit",
}


class CSR(Value, eq=False):
    """A matrix of few nonzeros, as the engine takes it: a row's columns ascend, each once."""

    indptr: np.ndarray  # (n + 1,) int64: row i has the entries indptr[i] to indptr[i + 1] - 1
    indices: np.ndarray  # (n_entries,) int32: their columns
    data: np.ndarray  # (n_entries,) of the network's dtype: their values
    shape: tuple[int, int]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> CSR:
        """Some rows, copied."""
        lengths = np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        at = np.arange(indptr[-1]) + np.repeat(self.indptr[:-1][rows] - indptr[:-1], lengths)
        return CSR(indptr, self.indices[at], self.data[at], (len(lengths), self.shape[1]))

    def toarray(self) -> np.ndarray:
        dense = np.zeros(self.shape, self.data.dtype)
        dense[np.repeat(np.arange(len(self)), np.diff(self.indptr)), self.indices] = self.data
        return dense


Features = np.ndarray | CSR


Made = TypeVar("Made")


class Once:
    """Makes each thing once: who asks again, with the same function, objects and traits, gets what
    was made for the first who asked."""

    def __init__(self) -> None:
        self._made: dict[Any, tuple[Any, Any]] = {}

    def __call__(
        self, make: Callable[..., Made], given: tuple[Any, ...], traits: Any, *others: Any
    ) -> Made:
        """make(*given, *others); given: told apart by identity, traits: what others come to."""
        key = make, tuple(map(id, given)), traits
        if key not in self._made:
            self._made[key] = make(*given, *others), given  # alive, and their ids with them
        made: Made = self._made[key][0]
        return made


def as_pair(
    X: Any, y: Any, network: NetworkSpec, to_train: bool = False, once: Once | None = None
) -> tuple[Features, np.ndarray]:
    """X (n, n_in) and y: int32 labels (n,) of classes that exclude each other, or (n, n_out).

    to_train: what the network cannot be trained on is refused. once: of networks that are given the
    same X and y, those that take them alike share what is made of them.
    """
    if once is None:
        X = as_features(X, network)
        y = as_targets(y, network)
    else:
        traits = (
            *(network.n_in, network.n_out, network.dtype, network.input_scale),
            *(network.bfloat16, network.has_inputs),
        )
        X = once(as_features, (X,), traits, network)
        y = once(as_targets, (y,), (traits, network.output, network.loss), network)
    if len(X) != len(y):
        raise ValueError(f"X and y must have as many rows as each other, got {len(X)} and {len(y)}")
    if to_train and isinstance(X, CSR) and (network.dropout[0] or network.noise[0]):
        raise ValueError(
            "X must be dense where the inputs have dropout or noise, got a sparse matrix; give "
            "them to hidden layers alone: dropout=[0, ...], noise=[0, ...]"
        )
    return X, y


def as_features(X: Any, network: NetworkSpec, looked_at: bool = False) -> Features:
    """X (n, n_in), n > 0, finite: as it lies where the engine can read it so.

    looked_at: what follows looks itself at rows of the network's own reals that lie together.
    """
    dense = network.has_inputs or network.bfloat16
    if dense and (hasattr(X, "tocsr") or hasattr(X, "indptr")):
        has = "computes in bfloat16" if network.bfloat16 else "has embeddings or feature_scale"
        raise ValueError(
            f"X must be dense where the network {has}, got a sparse matrix: X.toarray()"
        )
    if hasattr(X, "tocsr"):
        return _as_csr(X.tocsr(), network)
    if hasattr(X, "indptr") and hasattr(X, "indices"):
        return _as_csr(X, network)
    values = as_numbers("X", X)
    _check_shape(values.shape, network)
    if not len(values):
        raise ValueError(f"X must have at least one row, got shape {values.shape}")
    (row, column), item = values.strides, values.itemsize
    aligned = values.flags.aligned and row % item == column % item == 0
    if values.dtype not in READ_AS_THEY_LIE or not aligned:
        return as_finite("X", values, network.dtype)
    own = values.dtype == network.dtype and column == item
    if values.dtype.kind == "f" and not (looked_at and own):
        _check_finite("X", values, network.dtype)
    return values


def as_dense(X: Features, network: NetworkSpec) -> np.ndarray:
    """Features as the network sees them, C-contiguous: what the engine makes of a mini-batch."""
    if isinstance(X, CSR):
        return X.toarray()
    dense = np.asarray(X, network.dtype, order="C")
    return dense if X.dtype.kind == "f" else dense * dense.dtype.type(network.input_scale)


def _check_shape(shape: tuple[int, ...], network: NetworkSpec) -> None:
    if len(shape) != 2 or shape[1] != network.n_in:
        hint = "; for one sample pass X[None, :]" if shape == (network.n_in,) else ""
        if len(shape) > 2:  # images
            hint = f"; X.reshape(len(X), -1) has {math.prod(shape[1:])} columns"
        raise ValueError(f"X must have shape (n, {network.n_in}), got {shape}{hint}")


def _as_csr(X: Any, network: NetworkSpec) -> CSR:
    """A matrix in SciPy's CSR format, by its attributes; sorted and added up if need be."""
    shape = tuple(int(n) for n in X.shape)
    _check_shape(shape, network)
    n, n_in = shape
    if n == 0:
        raise ValueError(f"X must have at least one row, got shape {shape}")
    # Copies: compiled code reads where they point, and what is checked must stay so.
    indptr, indices, data = np.array(X.indptr), np.array(X.indices), np.asarray(X.data)
    if indptr.dtype.kind not in "iu" or indices.dtype.kind not in "iu":
        raise TypeError(
            f"X.indptr and X.indices must be integers, got {indptr.dtype} and {indices.dtype}"
        )
    if data.dtype.kind not in "buif":
        raise TypeError(f"X must be real numbers, got dtype {data.dtype}")
    indptr = np.ascontiguousarray(indptr, np.int64)
    stored = min(indices.size, data.size)
    if indptr.shape != (n + 1,) or indices.ndim != 1 or data.ndim != 1:
        raise ValueError(
            f"X.indptr must have shape ({n + 1},) and X.indices and X.data one dimension, "
            f"got {indptr.shape}, {indices.shape} and {data.shape}"
        )
    lengths = np.diff(indptr)
    if indptr[0] < 0 or lengths.min() < 0 or indptr[-1] > stored:
        raise ValueError(
            f"X.indptr must rise from at least 0 to at most {stored}, the number of entries stored"
        )
    used = slice(int(indptr[0]), int(indptr[-1]))
    inside = indices[used]
    if inside.size and (inside.min() < 0 or inside.max() >= n_in):
        bad = int(np.argmax((inside < 0) | (inside >= n_in)))
        row = int(np.searchsorted(indptr, used.start + bad, "right")) - 1
        raise ValueError(
            f"X.indices must be columns 0 to {n_in - 1}, got {inside[bad]} in row {row}"
        )
    if data.dtype.kind == "f":
        values = _finite_entries(indptr, indices, data, used, network.dtype)
    else:
        values = np.ascontiguousarray(data, network.dtype)
        values = values * values.dtype.type(network.input_scale)
    indices = np.ascontiguousarray(indices, np.int32)
    inside = indices[used]
    starts = np.zeros(inside.size + 1, bool)
    starts[indptr[:-1] - used.start] = True
    if ((inside[1:] > inside[:-1]) | starts[1 : inside.size]).all():
        return CSR(indptr, indices, values, (n, n_in))
    # As toarray would have it: by column, entries of the same place added up in their order.
    rows = np.repeat(np.arange(n), lengths)
    order = np.lexsort((inside, rows))
    rows, columns = rows[order], inside[order]
    first = np.ones(len(order), bool)
    first[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    values = np.add.reduceat(values[used][order], np.flatnonzero(first))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[first], minlength=n))])
    return CSR(indptr, columns[first], values, (n, n_in))


def _finite_entries(
    indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, used: slice, dtype: str
) -> np.ndarray:
    with np.errstate(all="ignore"):
        values = _together(data, dtype)
        finite = np.isfinite(values[used].sum()) or np.isfinite(values[used])
    if np.all(finite):
        return values
    bad = used.start + int(np.argmin(finite))
    row = int(np.searchsorted(indptr, bad, "right")) - 1
    kind = f"finite in {dtype}" if np.isfinite(data[bad]) else "finite"
    raise ValueError(f"X must be {kind}, got {data[bad]} in row {row}, column {indices[bad]}")


def as_targets(y: Any, network: NetworkSpec) -> np.ndarray:
    """y: labels 0..C-1, or rows of a distribution, for classes that exclude each other; otherwise
    values (n, n_targets), which become (n, n_out): with several quantiles each target repeated."""
    values = as_numbers("y", y)
    n, labels, loss = network.n_targets, network.one_of_many, name_of(network.loss)
    if values.ndim == 1 and (labels or n == 1):
        if not len(values):
            raise ValueError("y must have at least one row, got shape (0,)")
        if labels:
            return _labels(values, n)
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] != n or loss == "hinge":
        want = f"(n, {n})"
        if labels:
            want = f"(n,), labels 0 to {n - 1}" + ("" if loss == "hinge" else f", or {want}")
        elif n == 1:
            want = f"(n,) or {want}"
        raise ValueError(f"y must have shape {want}, got {values.shape}")
    if not len(values):
        raise ValueError(f"y must have at least one row, got shape {values.shape}")
    rows = as_finite("y", values, network.dtype)
    if loss in ("cross_entropy", "focal") and labels:
        _check_distributions(rows)
    elif loss in ("binary_cross_entropy", "focal"):
        _check_range(rows, 0, 1, f"y must lie in [0, 1] for {loss}")
    elif loss == "poisson":
        _check_range(rows, 0, np.inf, "y must not be below 0 for poisson")
    return rows if n == network.n_out else np.repeat(rows, network.n_out // n, axis=1)


def is_table(X: Any) -> bool:
    """Whether X has named columns: a table of pandas, polars or pyarrow, a dict of columns, or a
    list of row dicts."""
    return hasattr(X, "columns") or isinstance(X, Mapping) or is_rows(X)


def is_rows(X: Any) -> bool:
    """Whether X is a list of row dicts."""
    return isinstance(X, (list, tuple)) and len(X) > 0 and isinstance(X[0], Mapping)


def as_numbers(name: str, values: Any) -> np.ndarray:
    """`values`, or a table, as an array of bool, int or float, of any shape."""
    if type(values) is np.ndarray and values.dtype.kind in "buif":
        return values
    if hasattr(values, "filled"):
        raise TypeError(f"{name} must not be a masked array; fill or drop what is masked")
    if hasattr(values, "toarray"):
        raise TypeError(f"{name} must be dense, got a sparse array; pass {name}.toarray()")
    try:
        if hasattr(values, "columns"):
            array = _table(name, values)
        elif hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
            array = np.from_dlpack(values)
        else:
            array = np.asarray(values)
    except BufferError as error:  # not in the CPU's memory
        raise TypeError(f"{name} must be an array that NumPy can read: {error}") from None
    except ValueError as error:  # ragged lists
        raise ValueError(f"{name} must be an array of numbers: {error}") from None
    if array.dtype.kind not in "buif":
        raise TypeError(
            f"{name} must be real numbers, got dtype {array.dtype}{LEARNED.get(name, '')}"
        )
    return array


def _table(name: str, table: Any) -> np.ndarray:
    """A table of pandas, polars or pyarrow as an array: a view where it is one inside."""
    names = list(getattr(table, "column_names", table.columns))
    if hasattr(table, "to_numpy"):
        array: np.ndarray = table.to_numpy()
        if array.dtype.kind in "buif":
            return array
    columns = []
    for i, label in enumerate(names):
        column = table.iloc[:, i] if hasattr(table, "iloc") else table[label]
        values = np.asarray(column)
        if values.dtype.kind == "O" and hasattr(getattr(column, "dtype", None), "numpy_dtype"):
            values = column.to_numpy(np.float64, na_value=np.nan)  # pandas' with missing values
        if values.dtype.kind not in "buif":
            kind = getattr(column, "type", getattr(column, "dtype", values.dtype))
            raise TypeError(
                f"{name} must be real numbers, got {kind} in column {label!r}"
                f"{LEARNED.get(name, '')}"
            )
        columns.append(values)
    return np.stack(columns, axis=1)


def as_finite(name: str, values: np.ndarray, dtype: str) -> np.ndarray:
    """`values` as an aligned C-contiguous array of `dtype` with neither NaN nor infinity."""
    with np.errstate(all="ignore"):
        array = _together(values, dtype)
    _check_finite(name, array, dtype, values)
    return array


def refuse_nan(f: np.ndarray) -> None:
    """Outputs (n, n_out) that classes are to be chosen by: of NaN the first class would win."""
    if np.isnan(f).any():
        row = int(np.argmax(np.isnan(f).any(1)))
        raise ValueError(
            f"the outputs of all rows must be numbers, got NaN in row {row}: its features are too "
            f"large, or the weights are, and sums overflow {f.dtype}"
        )


def _check_finite(name: str, array: np.ndarray, dtype: str, came: np.ndarray | None = None) -> None:
    """`array` must be finite, in `dtype` too. came: what the user gave, if another array."""
    if array.size <= FEW:
        most = LARGEST[dtype]
        if array.dtype == dtype and array.flags.c_contiguous:
            finite = all_finite(array, array.itemsize)
        else:
            known = array.dtype in (dtype, "float64")
            finite = known and array.min() >= -most and array.max() <= most
        if finite:
            return
    came = array if came is None else came
    # Along what lies together, a chunk after the other: no copy of the whole is made.
    turned = array.ndim == 2 and abs(array.strides[0]) < abs(array.strides[1])
    lines = array.T if turned else array
    step = max(1, CHUNK // max(1, lines[:1].size))
    for start in range(0, len(lines), step):
        with np.errstate(all="ignore"):
            # One pass without a temporary; only a sum that is not finite needs a closer look.
            part = np.asarray(lines[start : start + step], dtype)
            good = np.isfinite(part.sum()) or np.isfinite(part)
        if np.all(good):
            continue
        where = list(np.unravel_index(int(np.argmin(good)), part.shape))
        where[0] += start
        bad = came[tuple(reversed(where) if turned else where)]
        kind = f"finite in {dtype}" if np.isfinite(bad) else "finite"
        row, *column = reversed(where) if turned else where
        place = f"row {row}" + "".join(f", column {j}" for j in column)
        raise ValueError(f"{name} must be {kind}, got {bad} in {place}")


def _place(array: np.ndarray, index: int) -> str:
    """Where entry `index`, counted row by row, stands."""
    if array.ndim == 1:
        return f"row {index}"
    row, column = divmod(index, array.shape[1])
    return f"row {row}, column {column}"


def _labels(y: np.ndarray, n_classes: int) -> np.ndarray:
    """(n,) integers 0..n_classes - 1, as int32; floats that are whole numbers will do."""
    if y.dtype.kind == "f":
        whole = y == np.floor(y)  # false for NaN; infinities fall out of range below
        if not whole.all():
            row = int(np.argmin(whole))
            raise ValueError(
                f"y must hold whole numbers as labels, got {y[row]} in row {row}; for values the "
                'model needs output="identity"'
            )
    _check_range(y, 0, n_classes - 1, f"y must hold labels 0 to {n_classes - 1}")
    return _together(y, np.int32)


def _together(values: np.ndarray, dtype: str | type[np.int32]) -> np.ndarray:
    """As a C-contiguous array whose numbers begin at multiples of their size."""
    array = np.asarray(values, dtype, order="C")
    return array if array.flags.aligned else array.copy()


def _check_range(y: np.ndarray, low: float, high: float, must: str) -> None:
    if y.dtype == bool:
        y = y.view(np.uint8)
    least, most = (y.item(), y.item()) if y.size == 1 else (y.min(), y.max())
    if least >= low and most <= high:
        return
    bad = int(np.argmax((y < low) | (y > high)))
    raise ValueError(f"{must}, got {y.flat[bad]} in {_place(y, bad)}")


def _check_distributions(y: np.ndarray) -> None:
    if y.min() < 0:
        bad = int(np.argmax(y < 0))
        raise ValueError(f"rows of y must be distributions, got {y.flat[bad]} in {_place(y, bad)}")
    total = y.sum(1)
    error = abs(total - 1)
    if error.max() > SUM_TOLERANCE:
        row = int(np.argmax(error))
        raise ValueError(
            f"rows of y must sum to 1 (they are distributions), got {total[row]} in row {row}"
        )
