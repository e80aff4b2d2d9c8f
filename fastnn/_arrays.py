"""Users' arrays -> C-contiguous arrays of the network's dtype, checked before anything changes.

An array that is right already is used as it is, not copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._checks import name_of
from fastnn._network import NetworkSpec

SUM_TOLERANCE = 1e-4  # of a target distribution: float32 rows of a thousand classes keep to it


def as_pair(X: Any, y: Any, network: NetworkSpec) -> tuple[np.ndarray, np.ndarray]:
    """X (n, n_in) and y: int32 labels (n,) of classes that exclude each other, or (n, n_out)."""
    X = as_features(X, network)
    y = as_targets(y, network)
    if len(X) != len(y):
        raise ValueError(f"X and y must have as many rows as each other, got {len(X)} and {len(y)}")
    return X, y


def as_features(X: Any, network: NetworkSpec) -> np.ndarray:
    """X (n, n_in), n > 0, finite."""
    values = as_numbers("X", X)
    if values.ndim != 2 or values.shape[1] != network.n_in:
        hint = "; for one sample pass X[None, :]" if values.shape == (network.n_in,) else ""
        raise ValueError(f"X must have shape (n, {network.n_in}), got {values.shape}{hint}")
    if not len(values):
        raise ValueError(f"X must have at least one row, got shape {values.shape}")
    return as_finite("X", values, network.dtype)


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


def as_numbers(name: str, values: Any) -> np.ndarray:
    """`values` as an array of bool, int or float, of any shape."""
    if hasattr(values, "filled"):
        raise TypeError(f"{name} must not be a masked array; fill or drop what is masked")
    if hasattr(values, "toarray"):
        raise TypeError(f"{name} must be dense, got a sparse array; pass {name}.toarray()")
    try:
        array = np.asarray(values)
    except ValueError as error:  # ragged lists
        raise ValueError(f"{name} must be an array of numbers: {error}") from None
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}")
    return array


def as_finite(name: str, values: np.ndarray, dtype: str) -> np.ndarray:
    """`values` as an aligned C-contiguous array of `dtype` with neither NaN nor infinity."""
    with np.errstate(all="ignore"):
        array = np.asarray(values, dtype, order="C")
        if not array.flags.aligned:
            array = array.copy()
        # One pass without a temporary; only a sum that is not finite needs a closer look.
        if np.isfinite(array.sum()):
            return array
    finite = np.isfinite(array)
    if finite.all():
        return array
    bad = int(np.argmin(finite))
    came = values[np.unravel_index(bad, array.shape)]
    kind = f"finite in {dtype}" if np.isfinite(came) else "finite"
    raise ValueError(f"{name} must be {kind}, got {came} in {_place(array, bad)}")


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
            raise ValueError(f"y must hold whole numbers as labels, got {y[row]} in row {row}")
    hint = ""
    if n_classes == 1:
        hint = '; for two classes and one output, use output="sigmoid"'
    _check_range(y, 0, n_classes - 1, f"y must hold labels 0 to {n_classes - 1}", hint)
    return np.ascontiguousarray(y, np.int32)


def _check_range(y: np.ndarray, low: float, high: float, must: str, hint: str = "") -> None:
    if y.dtype == bool:
        y = y.view(np.uint8)
    if y.min() >= low and y.max() <= high:
        return
    bad = int(np.argmax((y < low) | (y > high)))
    raise ValueError(f"{must}, got {y.flat[bad]} in {_place(y, bad)}{hint}")


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
