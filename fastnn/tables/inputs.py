"""What the columns of X mean to a network: numbers and categories, fitted on the training rows.

numeric column      (x - shift) / scale; missing: the median
categorical column  one-hot; missing: a category of its own; unknown later: all zeros
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fastnn.checks import counted, listed
from fastnn.errors import TableError
from fastnn.network.arrays import is_table
from fastnn.tables.frames import all_names, as_arrays, as_table, column_names, picked
from fastnn.tables.table import (
    Arrays,
    Column,
    Table,
    TableWarning,
    Words,
    number_name,
    number_or_none,
)

# A standardised column spans at most this many deviations. A pixel lit in one row of 60,000 has a
# deviation near 0, and would come out 245 deviations high and push everything else aside.
WIDEST = 20.0
MAX_CATEGORIES = 1000  # more distinct words than this are no categories: names, dates, free text
PIXELS = 64  # fewest columns that are asked whether they share one unit, as pixels do
LARGEST = 1e150  # in size: the squares of larger numbers are beyond float64


@dataclass
class Numeric:
    name: str
    shift: float = 0.0
    scale: float = 1.0
    median: float = 0.0

    width = 1

    def __str__(self) -> str:
        return f"{self.name}: (x - {self.shift:.6g}) / {self.scale:.6g}"


@dataclass
class Categorical:
    name: str
    categories: list[str]  # '' is the category of missing cells

    @property
    def width(self) -> int:
        return len(self.categories)

    def __str__(self) -> str:
        return f"{self.name}: {listed((name or '(missing)' for name in self.categories), 6)}"


@dataclass
class TableInputs:
    """Named columns -> (n, width) numbers."""

    columns: list[Numeric | Categorical]
    missing: str = "refuse"  # or "impute"

    kind = "table"

    @property
    def width(self) -> int:
        return sum(column.width for column in self.columns)

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @classmethod
    def fit(
        cls,
        table: Table,
        rows: np.ndarray,
        *,
        missing: str = "refuse",
        scaling: str = "auto",
        categorical: Sequence[str] = (),
    ) -> TableInputs:
        """From the training rows of all columns of the table."""
        columns: list[Numeric | Categorical] = []
        for name, column in table.columns.items():
            if column.missing()[rows].all():
                raise TableError(
                    f"{table.named(name)}: no training row has a value; "
                    f'drop=["{name}"] (--drop "{name}")'
                )
            if name in categorical or _is_categorical(table, name, column):
                columns.append(_fit_categories(table, name, column, rows, missing))
            else:
                columns.append(Numeric(name))
        numeric = [column for column in columns if isinstance(column, Numeric)]
        if numeric:
            block = np.stack([_training_numbers(table, c.name, rows) for c in numeric]).T
            shift, scale, median = _fit_scaling(block, scaling, missing)
            for c, values in zip(numeric, zip(shift, scale, median, strict=True), strict=True):
                c.shift, c.scale, c.median = map(float, values)
        return cls(columns, missing)

    def transform(self, X: Any, dtype: str = "float32", warn_unknown: bool = True) -> np.ndarray:
        """X (n, width) of `dtype`, from what has named columns; others are passed over."""
        if isinstance(X, Arrays) or not is_table(X):
            names = listed(self.names)
            if isinstance(X, Arrays):
                raise TableError(
                    f"{X.path}: the model reads a table with the columns {names}, "
                    "this file holds arrays"
                )
            raise TableError(
                f"X must be a table, dict of columns or list of row dicts with {names}, which the "
                f"model reads by name, got {type(X).__name__}; of rows that are encoded already, "
                "model.network_only() is the model"
            )
        came = [*map(str, all_names(X))]
        absent = [name for name in self.names if name not in came]
        if absent:
            raise TableError(
                f"{X.path if isinstance(X, Table) else 'X'}: must have {listed(absent)}, "
                f"which the model reads; it has {listed(came)}"
            )
        table = as_table(X, wanted=set(self.names))
        encoded = np.zeros((table.n_rows, self.width), dtype)
        start = 0
        for c in self.columns:
            out = encoded[:, start : start + c.width]
            if isinstance(c, Numeric):
                self._numeric(table, c, out)
            else:
                self._categorical(table, c, out, warn_unknown)
            start += c.width
        return encoded

    def _numeric(self, table: Table, c: Numeric, out: np.ndarray) -> None:
        column = table.column(c.name)
        if text := column.first_text():
            raise TableError(f'{table.where(text[0], c.name)}: must be a number, got "{text[1]}"')
        came = column.numbers()
        values = _filled(came, c.median, self.missing, lambda row: table.where(row, c.name))
        with np.errstate(over="ignore"):
            out[:, 0] = (values - c.shift) / c.scale
        if not np.isfinite(out).all():
            row = int(np.argmin(np.isfinite(out[:, 0])))
            raise TableError(
                f"{table.where(row, c.name)}: must be finite in {out.dtype} once it is scaled, "
                f"got {came[row]}"
            )

    def _categorical(
        self, table: Table, c: Categorical, out: np.ndarray, warn_unknown: bool
    ) -> None:
        word_codes, words = table.column(c.name).coded()
        if self.missing == "refuse" and "" in words:
            row = int(np.argmax(word_codes == words.index("")))
            raise TableError(f"{table.where(row, c.name)}: {_MISSING}")
        codes = places(words, c.categories)[word_codes]
        known = codes >= 0
        out[np.flatnonzero(known), codes[known]] = 1
        unknown = np.flatnonzero(~known)
        if len(unknown) and warn_unknown:
            row = int(unknown[0])
            word = words[word_codes[row]] or "(missing)"
            warnings.warn(
                f'{table.where(row, c.name)}: "{word}" is unknown to the model; '
                f"{counted(len(unknown), 'row')} of {len(codes):,} with unknown categories here, "
                "taken as none of the known",
                TableWarning,
                stacklevel=2,
            )

    def to_dict(self) -> dict:
        return {
            "kind": self.kind,
            "missing": self.missing,
            "columns": [
                {"type": type(column).__name__.lower(), **asdict(column)} for column in self.columns
            ],
        }

    @classmethod
    def from_dict(cls, saved: dict) -> TableInputs:
        types: dict[str, Any] = {"numeric": Numeric, "categorical": Categorical}
        columns = []
        for column in saved["columns"]:
            column = dict(column)
            columns.append(types[column.pop("type")](**column))
        return cls(columns, saved["missing"])


@dataclass
class ArrayInputs:
    """Arrays of numbers, such as images -> (n, width) numbers."""

    shape: tuple[int, ...]  # of one sample
    shift: np.ndarray = field(repr=False)
    scale: np.ndarray = field(repr=False)
    median: np.ndarray = field(repr=False)
    missing: str = "refuse"

    kind = "arrays"

    @property
    def width(self) -> int:
        return len(self.scale)

    @classmethod
    def fit(
        cls, data: Arrays, rows: np.ndarray, *, missing: str = "refuse", scaling: str = "auto"
    ) -> ArrayInputs:
        X = data.X if len(rows) == len(data.X) else data.X[rows]
        _check_size(X, rows, data.where)
        shift, scale, median = _fit_scaling(X, scaling, missing)
        return cls(data.shape, shift, scale, median, missing)

    def transform(self, X: Any, dtype: str = "float32", warn_unknown: bool = True) -> np.ndarray:
        """X (n, width) of `dtype`, from an array (n, ...) of numbers."""
        if is_table(X) and not isinstance(X, Arrays):
            shape = f"(n, {', '.join(map(str, self.shape))})"
            if isinstance(X, Table):
                raise TableError(
                    f"{X.path}: the model reads arrays (NPZ or NPY) of shape {shape}, "
                    "this file is a table"
                )
            raise TableError(f"X must be an array of shape {shape}, got a table")
        data = X if isinstance(X, Arrays) else as_arrays(X)
        if data.X.shape[1] != self.width:
            where = f"{data.path}: " if data.path else ""
            raise TableError(
                f"{where}{data.x_name} must have {self.width} features a row "
                f"{self.shape}, got {data.shape}"
            )
        encoded = data.X.astype(dtype)  # a copy: filled and scaled in place
        if data.X.dtype.kind == "f":
            for row, j in np.argwhere(~np.isfinite(encoded)):
                came = encoded[row, j]
                if self.missing == "refuse" or np.isinf(came):
                    told = _MISSING if np.isnan(came) else f"must be finite, got {data.X[row, j]}"
                    raise TableError(f"{data.where(row, j)}: {told}")
                encoded[row, j] = self.median[j]
        if self.shift.any():
            encoded -= self.shift.astype(dtype)
        encoded /= self.scale.astype(dtype)
        return encoded

    def to_dict(self) -> dict:
        saved: dict[str, Any] = {"kind": self.kind, "missing": self.missing}
        saved["shape"] = list(self.shape)
        for name in ("shift", "scale", "median"):
            values = getattr(self, name)
            same = (values == values[0]).all()  # as for pixels: one number will do
            saved[name] = float(values[0]) if same else values.tolist()
        return saved

    @classmethod
    def from_dict(cls, saved: dict) -> ArrayInputs:
        shape = tuple(saved["shape"])
        width = int(np.prod(shape))
        shift, scale, median = (
            np.broadcast_to(np.asarray(saved[name], np.float64), (width,))
            for name in ("shift", "scale", "median")
        )
        return cls(shape, shift, scale, median, saved["missing"])


@dataclass
class PlainInputs:
    """Numbers as they are: of a network that was trained on a matrix. Of what has named columns
    those that the network was trained on, where these are known, otherwise all in their order."""

    width: int
    names: list[str] | None = None

    kind = "plain"

    def select(self, X: Any) -> Any:
        """X, its columns as in training; itself where they stand so."""
        names, came = self.names, column_names(X)
        if names is None or came is None or came == names:
            return X
        absent = [name for name in names if name not in came]
        if absent:
            raise TableError(
                f"X must have {listed(absent)}, which the model was trained on; "
                f"it has {listed(came)}"
            )
        return picked(X, names)

    def transform(self, X: Any, dtype: str = "float32", warn_unknown: bool = True) -> np.ndarray:
        """X (n, width) of `dtype`."""
        if isinstance(X, Arrays) or not is_table(X):
            nothing = np.zeros(self.width)
            inputs = ArrayInputs((self.width,), nothing, nothing + 1, nothing)
            return inputs.transform(X, dtype)
        table = as_table(X)
        names = self.names or list(table.columns)
        if len(names) != self.width:
            raise TableError(
                f"{table.path}: the model knows no columns by name, so there must be its "
                f"{self.width} inputs in their order and nothing else; it has {listed(names)}"
            )
        return TableInputs([Numeric(name) for name in names]).transform(table, dtype)

    def to_dict(self) -> dict:
        return asdict(self) | {"kind": self.kind}

    @classmethod
    def from_dict(cls, saved: dict) -> PlainInputs:
        return cls(saved["width"], saved["names"])


Inputs = TableInputs | ArrayInputs | PlainInputs


_MISSING = 'missing value; missing="impute" (--missing impute) in training fills such cells'


def _filled(
    values: np.ndarray, median: float, missing: str, where: Callable[[int], str]
) -> np.ndarray:
    """Missing values replaced by the median or refused; infinite ones refused."""
    if np.isfinite(values).all():
        return values
    if np.isinf(values).any():
        row = int(np.argmax(np.isinf(values)))
        raise TableError(f"{where(row)}: must be finite, got {values[row]}")
    if missing == "refuse":
        raise TableError(f"{where(int(np.argmax(np.isnan(values))))}: {_MISSING}")
    return np.where(np.isnan(values), median, values)


def _training_numbers(table: Table, name: str, rows: np.ndarray) -> np.ndarray:
    values = table.column(name).numbers()[rows]
    _check_size(values, rows, lambda row, _: table.where(row, name))
    return values


def _check_size(values: np.ndarray, rows: np.ndarray, where: Callable[[int, int], str]) -> None:
    """No value beyond LARGEST; NaN and infinities are looked at elsewhere."""
    if values.dtype.kind != "f":
        return
    if max(np.fmax.reduce(values, axis=None), -np.fmin.reduce(values, axis=None)) <= LARGEST:
        return  # no temporary: values may be large
    large = np.isfinite(values) & (np.abs(values) > LARGEST)
    if large.any():
        at = np.unravel_index(int(np.argmax(large)), values.shape)
        column = int(at[1]) if len(at) > 1 else 0
        raise TableError(
            f"{where(int(rows[at[0]]), column)}: must be at most {LARGEST:g} in size, "
            f"got {values[at]}"
        )


def _is_categorical(table: Table, name: str, column: Column) -> bool:
    """Whether a column is text, or of a type of categories; refuses numbers with a slip among
    them, and free text."""
    if column.declared:
        return True
    first = column.first_text()
    if first is None or not isinstance(column, Words):
        return False
    n_words = len(column.words) - ("" in column.words)
    slips = len(column.texts()) <= 0.1 * n_words and n_words > 20
    if not slips and n_words <= MAX_CATEGORIES:
        return True
    row, word = first
    if slips:
        problem = f'"{word}" is not a number, and nearly all of the column is'
        remedy = f'correct it, or categorical=["{name}"] (--categorical "{name}")'
    else:
        problem = f'holds text such as "{word}", {n_words:,} different (limit {MAX_CATEGORIES:,})'
        remedy = f'drop=["{name}"] (--drop "{name}")'
    raise TableError(f"{table.where(row, name)}: {problem}; {remedy}")


def _fit_categories(
    table: Table, name: str, column: Column, rows: np.ndarray, missing: str
) -> Categorical:
    codes, words = column.coded()
    if len(words) > MAX_CATEGORIES + 1:
        raise TableError(
            f"{table.named(name)}: {len(words):,} different values are too many for "
            f"categories (limit {MAX_CATEGORIES:,})"
        )
    present = [words[code] for code in np.unique(codes[rows])]
    if missing == "refuse":  # transform refuses them, with their row
        present = [word for word in present if word]
    return Categorical(name, sorted(names_of(present), key=word_order))


def names_of(words: Iterable[str]) -> list[str]:
    """Distinct words as names of classes or categories: where all are numbers, "1" and "1.0" are
    one."""
    words = list(words)
    numbers = [number_or_none(word) for word in words if word]
    values = {value for value in numbers if value is not None}
    if None in numbers or len(values) == len(numbers):
        return words
    return [number_name(value) for value in values] + [""] * ("" in words)


def places(words: list[str], names: list[str]) -> np.ndarray:
    """Where each word stands among the names, which it equals as text or as a number; -1 where
    nowhere."""
    place = {name: i for i, name in enumerate(names)}
    by_number: dict[float, int] = {}
    for name, i in place.items():
        value = number_or_none(name) if name else None
        if value is not None and (value not in by_number or name == number_name(value)):
            by_number[value] = i
    found = np.full(len(words), -1, np.intp)
    for i, word in enumerate(words):
        value = number_or_none(word) if word and word not in place else None
        found[i] = place.get(word, -1 if value is None else by_number.get(value, -1))
    return found


def _fit_scaling(
    X: np.ndarray, scaling: str, missing: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """shift, scale and (where missing cells are imputed) median of each column; NaN is left out,
    infinities are refused later."""
    n_columns = X.shape[1]
    gaps = X.dtype.kind == "f" and not np.isfinite(X).all()
    if gaps:
        X = np.where(np.isfinite(X), X, np.nan)
    low, high = (np.nanmin, np.nanmax) if gaps else (np.min, np.max)
    least, most = _float(low(X, axis=0)), _float(high(X, axis=0))
    shift, scale, median = np.zeros(n_columns), np.ones(n_columns), np.zeros(n_columns)
    if missing == "impute":
        median = _float((np.nanmedian if gaps else np.median)(X, axis=0))
    if scaling == "auto":
        scaling = "maximum" if _share_a_unit(least, most) else "standard"
    if scaling == "maximum":
        peak = max(float(np.max(np.abs(least))), float(np.max(np.abs(most))))
        scale[:] = peak or 1.0
    elif scaling == "standard":
        shift = _float((np.nanmean if gaps else np.mean)(X, axis=0, dtype=np.float64))
        deviation = _float((np.nanstd if gaps else np.std)(X, axis=0, dtype=np.float64))
        deviation = np.maximum(deviation, (most - least) / WIDEST)
        # A constant column becomes 0 (rounding may leave a deviation that is not quite 0).
        scale = np.where(most > least, deviation, 1.0)
        shift = np.where(most > least, shift, least)
    return shift, scale, median


def _float(values: Any) -> np.ndarray:
    return np.nan_to_num(np.asarray(values, np.float64))


def _share_a_unit(least: np.ndarray, most: np.ndarray) -> bool:
    """Many columns from 0 up, of which half reach the same greatest value, as pixels do."""
    return bool(
        len(least) >= PIXELS
        and least.min() >= 0
        and most.max() > 0
        and np.median(most) >= 0.9 * most.max()
    )


def word_order(word: str) -> tuple[bool, float, str]:
    value = number_or_none(word) if word else -np.inf
    return (True, 0.0, word) if value is None else (False, value, word)
