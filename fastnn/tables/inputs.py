"""What the columns of X mean to a network: a kind of column for each, fitted on the training rows.

    TableInputs     columns by name, each a Numeric, Categorical, Ordered or Dates
    ArrayInputs     arrays of numbers, such as images
    PlainInputs     numbers as they are
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from fastnn.checks import as_name, counted, listed
from fastnn.errors import TableError
from fastnn.network.arrays import is_table
from fastnn.tables.categories import Categorical, Ordered
from fastnn.tables.cells import Cells
from fastnn.tables.dates import Dates
from fastnn.tables.described import HOLDS, made
from fastnn.tables.frames import all_names, as_arrays, as_table, column_names, picked
from fastnn.tables.kinds import Asked, find
from fastnn.tables.numbers import (
    MISSING,
    REFUSED,
    Numeric,
    check_size,
    clip,
    fit_numeric,
    fit_scaling,
    floor_of,
    logged,
    ranges_of,
    resolved,
)
from fastnn.tables.table import Arrays, Table, named_by

ROWS = 8192  # of an array, encoded at a time
# Columns whose mean is so many deviations off 0, or whose deviation is so small, lose in float32
# what tells their numbers apart.
FAR, NEAR = 1e3, 1e-30

Kind = Numeric | Categorical | Ordered | Dates
KINDS: dict[str, Any] = {one.kind: one for one in (Numeric, Categorical, Ordered, Dates)}


@dataclass
class TableInputs:
    """Named columns -> (n, width) numbers."""

    columns: list[Kind]
    missing: str = "refuse"  # or "impute", or "indicate"
    missing_values: list[str] = field(default_factory=list)  # words and numbers that mean so
    notes: list[str] = field(default_factory=list, compare=False)  # on what was found, as learned

    kind = "table"

    @property
    def width(self) -> int:
        return sum(column.width for column in self.columns)

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def features(self) -> Iterator[tuple[Kind, slice]]:
        """Each column, and its features among all."""
        start = 0
        for column in self.columns:
            yield column, slice(start, start + column.width)
            start += column.width

    @property
    def numbers(self) -> list[int]:
        """The features that are numbers of many values: of numeric and ordered columns, and parts
        of dates."""
        found: list[int] = []
        for c, at in self.features():
            n = 0 if isinstance(c, Categorical) else c.width - c.indicator
            found += range(at.start, at.start + n)
        return found

    @property
    def codes(self) -> dict[int, int]:
        """The features that are codes of categories, and how many categories: codes are 0 to that
        less 1, -1 where the category is unknown."""
        return {
            at.start: len(c.categories)
            for c, at in self.features()
            if isinstance(c, Categorical) and c.codes and not c.signs
        }

    @classmethod
    def fit(
        cls,
        table: Table,
        rows: np.ndarray,
        *,
        missing: str = "indicate",
        scaling: str = "auto",
        numeric: Sequence[str] = (),
        categorical: Sequence[str] = (),
        categories: str = "one_hot",
        ordered: Mapping[str, Sequence[Any]] | None = None,
        dates: Sequence[str] = (),
        missing_values: Sequence[str] = (),
    ) -> TableInputs:
        """From the training rows of all columns of the table."""
        table = table.without(missing_values)
        codes = categories == "codes"
        asked = Asked(numeric, categorical, dates, ordered or {}, codes)
        found, notes = find(table, rows, asked)
        columns: list[Kind] = []
        for name, one in found.items():
            if one.kind == "numeric":
                columns.append(Numeric(name, decimal=one.decimal, loose=name in numeric))
            elif one.kind == "categorical":
                columns.append(Categorical.fit(table, name, rows, missing, codes))
            elif one.kind == "ordered":
                columns.append(Ordered.fit(table, name, rows, one.order, scaling, missing))
            elif one.kind == "dates":
                columns.append(Dates.fit(table, name, rows, scaling, missing))
        if not columns:
            raise TableError(f"{table.path}: no column to learn from: {'; '.join(notes)}")
        if numbers := [column for column in columns if isinstance(column, Numeric)]:
            fit_numeric(numbers, table, rows, scaling, missing)
        notes += _missing_notes(table, columns, missing)
        return cls(columns, missing, [*map(str, missing_values)], notes)

    def logged_where_long(self, data: Any, rows: np.ndarray) -> TableInputs | None:
        """These, with logarithms of numbers that have a long tail in training rows, scaled as
        "robust"; None where no column has one."""
        table = data.without(self.missing_values)
        columns: list[Kind] = []
        names = []
        for column in self.columns:
            made: Kind = column
            if isinstance(column, Numeric):
                values = table.column(column.name).numbers(column.decimal)[rows]
                floor = floor_of(values)
                if floor is not None:
                    made = replace(column, floor=floor)
                    made.fit(values, "robust", self.missing)
                    names.append(column.name)
            columns.append(made)
        if not names:
            return None
        note = f"{listed(names, 6)}: long tails; logarithms predict held-out rows better"
        return replace(self, columns=columns, notes=[*self.notes, note])

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
        table = as_table(X, wanted=set(self.names)).without(self.missing_values)
        encoded = np.zeros((table.n_rows, self.width), dtype)
        for column, at in self.features():
            column.encode(table, encoded[:, at], self.missing, warn_unknown)
        return encoded

    def cells(self, dtype: str) -> Cells:
        """What makes features of single rows, as `transform` does of tables of each alone."""
        rules = [column.rule(at.start, self.missing) for column, at in self.features()]
        absent = named_by(self.missing_values) if self.missing_values else None
        return Cells(rules, self.width, dtype, self.missing != "refuse", absent)

    def to_dict(self) -> dict[str, Any]:
        columns = [column.to_dict() for column in self.columns]
        saved = {"kind": self.kind, "missing": self.missing, "columns": columns}
        more = {"missing_values": self.missing_values, "notes": self.notes}
        return saved | {name: value for name, value in more.items() if value}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> TableInputs:
        columns = []
        for column in saved["columns"]:
            column = dict(column)
            columns.append(KINDS[column.pop("type")].from_dict(column))
        names = ("missing", "missing_values", "notes")
        known = {name: saved[name] for name in names if name in saved}
        as_name("missing", saved["missing"], MISSING)
        return made(cls, known, columns=columns)


def _missing_notes(table: Table, columns: list[Kind], missing: str) -> list[str]:
    """A line on the columns with missing cells."""
    if missing == "refuse":
        return []
    counts = {c.name: int(table.column(c.name).missing().sum()) for c in columns}
    gaps = [f"{name} {counted(n, 'row')}" for name, n in counts.items() if n]
    if not gaps:
        return []
    told = ", ".join(gaps[:6]) + (f", ... ({len(gaps)} columns in all)" if len(gaps) > 6 else "")
    kinds = {isinstance(c, Categorical) for c in columns if counts[c.name]}
    how = " and a feature that says so" if missing == "indicate" else ""
    done = [f"numbers become the median{how}"] if False in kinds else []
    done += ["text a category of its own"] if True in kinds else []
    return [f"missing cells: {told}; {', '.join(done)}"]


@dataclass
class ArrayInputs:
    """Arrays of numbers, such as images -> (n, width) numbers."""

    shape: tuple[int, ...]  # of one sample
    shift: np.ndarray = field(repr=False)
    scale: np.ndarray = field(repr=False)
    median: np.ndarray = field(repr=False)
    missing: str = "refuse"
    smooth: bool = False  # clipped smoothly
    indicated: list[int] = field(default_factory=list)  # numbers with a feature where missing
    # Numbers whose logarithms are scaled, of max(x, floor), and the floors.
    logged: list[int] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)

    kind = "arrays"
    codes: ClassVar[dict[int, int]] = {}

    @property
    def width(self) -> int:
        return len(self.scale) + len(self.indicated)

    @property
    def numbers(self) -> list[int]:
        return list(range(len(self.scale)))

    @classmethod
    def fit(
        cls, data: Arrays, rows: np.ndarray, *, missing: str = "indicate", scaling: str = "auto"
    ) -> ArrayInputs:
        X = data.X if len(rows) == len(data.X) else data.X[rows]
        X = X.view(np.uint8) if X.dtype == bool else X
        check_size(X, rows, data.where)
        how, peak = resolved(scaling, *ranges_of(X))
        fitted = fit_scaling(X, how, missing, peak)
        absent: list[int] = []
        if missing == "indicate" and X.dtype.kind == "f":
            gaps = np.isnan(X)
            absent = np.flatnonzero(gaps.any(axis=0) & ~gaps.all(axis=0)).tolist()
        return cls(data.shape, *fitted, missing, how == "robust", absent)

    def logged_where_long(self, data: Any, rows: np.ndarray) -> ArrayInputs | None:
        """As of `TableInputs`."""
        found: dict[int, float] = {}
        made = replace(self, shift=self.shift.copy(), scale=self.scale.copy())
        made.median = self.median.copy()
        for j in range(len(self.scale)):
            values = data.X[rows, j].astype(np.float64)
            floor = floor_of(values)
            if floor is not None:
                found[j] = floor
                fitted = fit_scaling(logged(values, floor)[:, None], "robust", self.missing, 1.0)
                made.shift[j], made.scale[j], made.median[j] = (one[0] for one in fitted)
        made.logged, made.floors = [*found], [*found.values()]
        return made if found else None

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
        n = len(self.scale)
        if data.X.shape[1] != n:
            where = f"{data.path}: " if data.path else ""
            raise TableError(
                f"{where}{data.x_name} must have {n} features a row "
                f"{self.shape}, got {data.shape}"
            )
        encoded = np.empty((len(data.X), self.width), dtype)
        far = (np.abs(self.shift) > FAR * self.scale) | (self.scale < NEAR)
        wide = np.dtype("float64" if self.smooth or far.any() or self.logged else dtype)
        for start in range(0, len(data.X), ROWS):
            X, out = data.X[start : start + ROWS], encoded[start : start + ROWS]
            numbers = X.astype(wide)
            out[:, n:] = np.isnan(numbers[:, self.indicated])
            for j, floor in zip(self.logged, self.floors, strict=True):
                numbers[:, j] = logged(numbers[:, j], floor)
            if X.dtype.kind == "f":
                self._fill(numbers, data, start)
            if self.shift.any():
                numbers -= self.shift.astype(wide)
            with np.errstate(over="ignore"):
                numbers /= self.scale.astype(wide)
            out[:, :n] = clip(numbers) if self.smooth else numbers
        return encoded

    def _fill(self, numbers: np.ndarray, data: Arrays, start: int) -> None:
        """Missing numbers replaced by the medians, or refused; infinite ones refused. numbers: of
        the rows from `start` on."""
        strange = ~np.isfinite(numbers)
        if not strange.any():
            return
        bad = strange if self.missing == "refuse" else np.isinf(numbers)
        if bad.any():
            row, j = map(int, np.unravel_index(int(np.argmax(bad)), bad.shape))
            row += start
            came = data.X[row, j]
            told = REFUSED if np.isnan(came) else f"must be finite, got {came}"
            raise TableError(f"{data.where(row, j)}: {told}")
        np.copyto(numbers, self.median, where=strange, casting="same_kind")

    def to_dict(self) -> dict[str, Any]:
        saved: dict[str, Any] = {"kind": self.kind, "missing": self.missing}
        saved["shape"] = list(self.shape)
        for name in ("shift", "scale", "median"):
            values = getattr(self, name)
            same = (values == values[0]).all()  # as for pixels: one number will do
            saved[name] = float(values[0]) if same else values.tolist()
        if self.smooth:
            saved["smooth"] = True
        for name in ("indicated", "logged", "floors"):
            if getattr(self, name):
                saved[name] = getattr(self, name)
        return saved

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> ArrayInputs:
        names = ("shape", "missing", "smooth", "indicated", "logged", "floors")
        known = {name: saved[name] for name in names if name in saved}
        as_name("missing", saved["missing"], MISSING)
        vectors = {name: saved[name] for name in ("shift", "scale", "median")}
        for name, one in vectors.items():
            if not (HOLDS["float"](one) or HOLDS["list[float]"](one)):
                raise ValueError(f"{name} must be a number, or one for each of shape")
        nothing = np.zeros(0)
        inputs = made(cls, known, shift=nothing, scale=nothing, median=nothing)
        inputs.shape = tuple(inputs.shape)
        n = math.prod(inputs.shape)
        inputs.shift, inputs.scale, inputs.median = (
            np.broadcast_to(np.asarray(one, np.float64), (n,)) for one in vectors.values()
        )
        if not all(j < n for j in (*inputs.indicated, *inputs.logged)):
            raise ValueError(f"indicated and logged must be of the {n} numbers")
        if len(inputs.logged) != len(inputs.floors):
            raise ValueError("floors must be one for each of logged")
        if not np.all(np.asarray(vectors["scale"]) > 0):
            raise ValueError("scale must be above 0")
        return inputs


@dataclass
class PlainInputs:
    """Numbers as they are: of a network that was trained on a matrix. Of what has named columns
    those that the network was trained on, where these are known, otherwise all in their order."""

    width: int
    names: list[str] | None = None

    kind = "plain"
    codes: ClassVar[dict[int, int]] = {}

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

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"kind": self.kind}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> PlainInputs:
        return made(cls, {"width": saved["width"], "names": saved["names"]})


Inputs = TableInputs | ArrayInputs | PlainInputs
