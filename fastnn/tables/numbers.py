"""Numbers of a column as a network takes them.

standard    (x - mean) / deviation
maximum     x / the greatest of all columns, as suits pixels
robust      z = (x - median) / (q75 - q25), then z / sqrt(1 + (z / 3)^2), between -3 and 3
logarithm   ln max(x, floor) first, of amounts with a long tail
missing     the median, or that and a feature more: 1 where the number is missing, 0 elsewhere
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastnn.errors import TableError
from fastnn.tables.cells import Rule, logarithms
from fastnn.tables.described import made
from fastnn.tables.table import Table
from fastnn.tables.words import number, word_of

SCALINGS = ("auto", "standard", "maximum", "robust", "none")
MISSING = ("refuse", "impute", "indicate")
# A standardised column spans at most this many deviations. A pixel lit in one row of 60,000 has a
# deviation near 0, and would come out 245 deviations high and push everything else aside.
WIDEST = 20.0
# A tail is long where the 99th percentile is so many quartiles' widths above the median: 1.7 of
# normal numbers, 3.6 of exponential ones.
LONG = 3.0
FEW_VALUES = 20  # of which no tail is made
PIXELS = 64  # fewest columns that are asked whether they share one unit, as pixels do
LARGEST = 1e150  # in size: the squares of larger numbers are beyond float64
CONSTANT = 1e30  # scale of a column that is to be 0, in float32, too
SMALLEST = 1e-150  # range of a column, or it counts as constant: squares vanish in float64
REFUSED = 'missing value; missing="impute" (--missing impute) in training fills such cells'


@dataclass
class Numeric:
    """A number: one feature, and maybe one that says where it is missing."""

    name: str
    shift: float = 0.0
    scale: float = 1.0
    median: float = 0.0
    smooth: bool = False  # clipped smoothly
    indicator: bool = False
    decimal: str = "."  # before the fraction, in text
    loose: bool = False  # text counts as missing
    floor: float | None = None  # of max(x, floor), whose logarithm is what is scaled

    kind: ClassVar[str] = "numeric"

    def __str__(self) -> str:
        x = "x" if self.floor is None else f"ln max(x, {self.floor:.3g})"
        text = f"({x} - {self.shift:.6g}) / {self.scale:.6g}"
        text = f"clip({text})" if self.smooth else text
        return f"{self.name}: {text}{', (missing)' if self.indicator else ''}"

    @property
    def width(self) -> int:
        return 1 + self.indicator

    def fit(self, values: np.ndarray, scaling: str, missing: str, peak: float = 1.0) -> None:
        """From the training rows' numbers (n,), NaN where missing."""
        self.indicator = missing == "indicate" and bool(np.isnan(values).any())
        values = self._logged(values)
        fitted = fit_scaling(values[:, None], scaling, missing, peak)
        self.shift, self.scale, self.median = (float(one[0]) for one in fitted)
        self.smooth = scaling == "robust"

    def encode(self, table: Table, out: np.ndarray, missing: str, warn_unknown: bool) -> None:
        """The rows' features into out (n, width)."""
        column = table.column(self.name)
        text = None if self.loose else column.first_text(self.decimal)
        if text:
            where = table.where(text[0], self.name)
            raise TableError(f'{where}: must be a number, got "{text[1]}"')
        came = self._logged(column.numbers(self.decimal))
        self.take(out, came, missing, lambda row: table.where(row, self.name))

    def _logged(self, values: np.ndarray) -> np.ndarray:
        return values if self.floor is None else logged(values, self.floor)

    def take(
        self, out: np.ndarray, came: np.ndarray, missing: str, where: Callable[[int], str]
    ) -> None:
        absent = None if np.isfinite(came).all() else np.isnan(came)
        values = came if absent is None else _filled(came, absent, self.median, missing, where)
        with np.errstate(over="ignore"):
            scaled = (values - self.shift) / self.scale
            out[:, 0] = clip(scaled) if self.smooth else scaled
        if not np.isfinite(out[:, 0]).all():
            row = int(np.argmin(np.isfinite(out[:, 0])))
            raise TableError(
                f"{where(row)}: must be finite in {out.dtype} once it is scaled, got {came[row]}"
            )
        if self.indicator:
            out[:, 1] = 0 if absent is None else absent

    def rule(self, start: int, missing: str) -> Rule:
        """For single rows, its features being those from `start` on."""
        return Rule(self.name, "number", start, None, self._read, **self.scaled())

    def _read(self, cell: Any) -> float:
        """The number that a cell alone is, NaN where it is missing; ValueError of text."""
        word = word_of(cell)
        try:
            return number(word, self.decimal)
        except ValueError:
            if not self.loose:
                raise
            return np.nan

    def scaled(self) -> dict[str, Any]:
        names = ("shift", "scale", "median", "smooth", "indicator", "floor", "decimal")
        return {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.kind} | without_defaults(self)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Numeric:
        number = made(cls, saved)
        if number.scale <= 0 or number.decimal not in (".", ","):
            raise ValueError("scale must be above 0, decimal a point or a comma")
        return number


def clip(z: np.ndarray) -> np.ndarray:
    """z / sqrt(1 + (z / 3)^2) in place, and z: RealMLP's smooth clipping.

    References
    ----------
    Holzmüller, Grinsztajn, Steinwart (2024), Better by Default, arXiv 2407.04491.
    """
    np.clip(z, -1e9, 1e9, out=z)  # where it is 3 to the last bit, and the square is no infinity
    z /= np.sqrt(1 + np.square(z / 3))
    return z


def logged(values: np.ndarray, floor: float) -> np.ndarray:
    """ln max(x, floor) of numbers (n,), float64; what is not finite stays."""
    values = np.array(values, np.float64)
    logarithms(values, floor)
    return values


def floor_of(values: np.ndarray) -> float | None:
    """Half the least positive one of numbers (n,) that have a long tail upwards and none below 0;
    None of others."""
    known = values[np.isfinite(values)]
    if len(known) <= FEW_VALUES or known.min() < 0 or known.max() <= SMALLEST:
        return None
    if len(np.unique(known)) <= FEW_VALUES:
        return None
    low, middle, high, far = np.quantile(known, [0.25, 0.5, 0.75, 0.99])
    if far - middle <= LONG * (high - low):
        return None
    return float(known[known > 0].min()) / 2


def without_defaults(kind: Any) -> dict[str, Any]:
    """Its fields, but for settings that are off."""
    usual = {"smooth": False, "indicator": False, "decimal": ".", "loose": False}
    usual |= {"codes": False, "some": False, "floor": None}
    return {name: value for name, value in vars(kind).items() if value != usual.get(name, ...)}


def _filled(
    values: np.ndarray,
    absent: np.ndarray,
    median: float,
    missing: str,
    where: Callable[[int], str],
) -> np.ndarray:
    """Missing values replaced by the median or refused; infinite ones refused."""
    if np.isinf(values).any():
        row = int(np.argmax(np.isinf(values)))
        raise TableError(f"{where(row)}: must be finite, got {values[row]}")
    if missing == "refuse":
        raise TableError(f"{where(int(np.argmax(absent)))}: {REFUSED}")
    return np.where(absent, median, values)


def fit_numeric(
    columns: list[Numeric], table: Table, rows: np.ndarray, scaling: str, missing: str
) -> None:
    """Their scales from the training rows, one column's numbers in memory at a time."""
    ranges = [ranges_of(_training_numbers(table, c, rows)[:, None]) for c in columns]
    least, most = map(np.concatenate, zip(*ranges, strict=True))
    how, peak = resolved(scaling, least, most)
    for c in columns:
        c.fit(_training_numbers(table, c, rows), how, missing, peak)


def resolved(scaling: str, least: np.ndarray, most: np.ndarray) -> tuple[str, float]:
    """Which scaling "auto" is for columns of these ranges, and what "maximum" divides by."""
    if scaling == "auto":
        scaling = "maximum" if _share_a_unit(least, most) else "standard"
    return scaling, max(float(np.abs(least).max()), float(np.abs(most).max())) or 1.0


def _share_a_unit(least: np.ndarray, most: np.ndarray) -> bool:
    """Many columns from 0 up, of which half reach the same greatest value, as pixels do."""
    return bool(
        len(least) >= PIXELS
        and least.min() >= 0
        and most.max() > 0
        and np.median(most) >= 0.9 * most.max()
    )


def fit_scaling(
    X: np.ndarray, scaling: str, missing: str, peak: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """shift, scale and (where missing cells are filled) median of each column; NaN is left out,
    infinities are refused later."""
    n_columns = X.shape[1]
    shift, scale, median = np.zeros(n_columns), np.ones(n_columns), np.zeros(n_columns)
    gaps = X.dtype.kind == "f" and not np.isfinite(X).all()
    if gaps:
        X = np.where(np.isfinite(X), X, np.nan)
        X[:, np.isnan(X).all(axis=0)] = 0  # a constant, like any other
    if missing != "refuse" or scaling == "robust":
        median = _float((np.nanmedian if gaps else np.median)(X, axis=0))
    if scaling == "maximum":
        scale[:] = peak
    if scaling not in ("standard", "robust"):
        return shift, scale, median
    least, most = ranges_of(X)
    if scaling == "standard":
        shift = _float((np.nanmean if gaps else np.mean)(X, axis=0, dtype=np.float64))
        spread = _float((np.nanstd if gaps else np.std)(X, axis=0, dtype=np.float64))
        spread = np.maximum(spread, (most - least) / WIDEST)
    else:
        quarter = (np.nanquantile if gaps else np.quantile)(X, [0.25, 0.75], axis=0)
        shift, spread = median, _float(quarter[1] - quarter[0])
        spread = np.where(spread > 0, spread, (most - least) / 2)
    # A constant column becomes 0 (rounding may leave a deviation that is not quite 0); by RealMLP's
    # rule, "robust", whatever else comes there on new rows, of which nothing has been learned.
    varies = most - least > SMALLEST
    scale = np.where(varies, spread, CONSTANT if scaling == "robust" else 1.0)
    shift = np.where(varies, shift, least)
    return shift, scale, median


def ranges_of(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest finite value of each column; 0 where there is none."""
    if X.dtype.kind != "f":
        return _float(X.min(axis=0)), _float(X.max(axis=0))
    finite = X if np.isfinite(X).all() else np.where(np.isfinite(X), X, np.nan)
    return _float(np.fmin.reduce(finite, axis=0)), _float(np.fmax.reduce(finite, axis=0))


def _float(values: Any) -> np.ndarray:
    return np.nan_to_num(np.asarray(values, np.float64))


def _training_numbers(table: Table, c: Numeric, rows: np.ndarray) -> np.ndarray:
    values: np.ndarray = table.column(c.name).numbers(c.decimal)[rows]
    check_size(values, rows, lambda row, _: table.where(row, c.name))
    return values


def check_size(values: np.ndarray, rows: np.ndarray, where: Callable[[int, int], str]) -> None:
    """No value beyond LARGEST; NaN and infinities are looked at elsewhere."""
    if values.dtype.kind != "f":
        return
    if max(np.fmax.reduce(values, axis=None), -np.fmin.reduce(values, axis=None)) <= LARGEST:
        return  # no temporary: values may be large
    large = np.isfinite(values) & (np.abs(values) > LARGEST)
    if large.any():
        at = np.unravel_index(int(np.argmax(large)), values.shape)
        column = int(at[1]) if values.ndim > 1 else 0
        raise TableError(
            f"{where(int(rows[at[0]]), column)}: must be at most {LARGEST:g} in size, "
            f"got {values[at]}"
        )
