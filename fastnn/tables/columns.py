"""Columns -> numbers a network learns well from, and its outputs -> classes or values.

Everything here is fitted on the training rows alone and is kept in the model file as JSON
(``model.metadata["data"]``), so that new data needs the model file and nothing else.

numeric column      (x - shift) / scale; missing: the median
categorical column  one-hot; missing: a category of its own; unknown later: all zeros
class target        0..C-1; of several, which have two classes each, columns of 0 and 1
numeric target      (y - shift) / scale, undone on the output
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.cli.messages import BadUse, counted, listed, warn
from fastnn.tables.read import Arrays, Column, Table, Words, number, number_name

if TYPE_CHECKING:
    from fastnn import Model

VERSION = 1

# A standardised column spans at most this many deviations. A pixel lit in one row of 60,000 has a
# deviation near 0, and would come out 245 deviations high and push everything else aside.
WIDEST = 20.0
MAX_CATEGORIES = 1000  # more distinct words than this are no categories: names, dates, free text
PIXELS = 64  # fewest columns that are asked whether they share one unit, as pixels do
# Whole numbers without a gap from 0 or 1 up to this many are taken for classes, not for amounts.
MAX_INFERRED_CLASSES = 50


# --- inputs


@dataclass
class Numeric:
    name: str
    shift: float = 0.0
    scale: float = 1.0
    median: float = 0.0

    width = 1


@dataclass
class Categorical:
    name: str
    categories: list[str]  # '' is the category of missing cells

    @property
    def width(self) -> int:
        return len(self.categories)


@dataclass
class TableInputs:
    """Named columns -> (n, width) numbers."""

    columns: list[Numeric | Categorical]
    missing: str = "refuse"  # or "impute"

    kind = "table"

    @property
    def width(self) -> int:
        return sum(column.width for column in self.columns)

    @classmethod
    def fit(
        cls,
        table: Table,
        names: list[str],
        rows: np.ndarray,
        *,
        missing: str = "refuse",
        scaling: str = "auto",
        categorical: tuple[str, ...] = (),
    ) -> TableInputs:
        columns: list[Numeric | Categorical] = []
        for name in names:
            column = table.column(name)
            if _all_missing(column, rows):
                raise BadUse(
                    f'{table.path}, column "{name}": no training row has a value (--drop "{name}")'
                )
            if name in categorical or _is_categorical(table, name, column):
                columns.append(_fit_categories(table, name, column, rows, missing))
            else:
                columns.append(Numeric(name))
        numeric = [column for column in columns if isinstance(column, Numeric)]
        if numeric:
            block = np.stack([table.column(c.name).numbers()[rows] for c in numeric]).T
            shift, scale, median = _fit_scaling(block, scaling, missing)
            for c, values in zip(numeric, zip(shift, scale, median, strict=True), strict=True):
                c.shift, c.scale, c.median = map(float, values)
        return cls(columns, missing)

    def transform(
        self, data: Table | Arrays, dtype: str = "float32", warn_unknown: bool = True
    ) -> np.ndarray:
        if not isinstance(data, Table):
            raise BadUse(
                f"{data.path}: the model reads a table with the columns "
                f"{listed(c.name for c in self.columns)}, this file holds arrays"
            )
        absent = [c.name for c in self.columns if c.name not in data.columns]
        if absent:
            raise BadUse(
                f"{data.path}: must have {listed(absent)}, "
                f"which the model reads; it has {listed(data.columns)}"
            )
        X = np.zeros((data.n_rows, self.width), dtype)
        start = 0
        for c in self.columns:
            out = X[:, start : start + c.width]
            if isinstance(c, Numeric):
                self._numeric(data, c, out)
            else:
                self._categorical(data, c, out, warn_unknown)
            start += c.width
        return X

    def _numeric(self, table: Table, c: Numeric, out: np.ndarray) -> None:
        column = table.column(c.name)
        if text := column.first_text():
            raise BadUse(f'{table.where(text[0], c.name)}: must be a number, got "{text[1]}"')
        values = _filled(
            column.numbers(), c.median, self.missing, lambda row: table.where(row, c.name)
        )
        out[:, 0] = (values - c.shift) / c.scale

    def _categorical(
        self, table: Table, c: Categorical, out: np.ndarray, warn_unknown: bool
    ) -> None:
        word_codes, words = table.column(c.name).coded()
        if self.missing == "refuse" and "" in words:
            row = int(np.argmax(word_codes == words.index("")))
            raise BadUse(f"{table.where(row, c.name)}: {_MISSING}")
        place = {word: i for i, word in enumerate(c.categories)}
        lookup = np.array([place.get(word, -1) for word in words])
        codes = lookup[word_codes]
        known = codes >= 0
        out[np.flatnonzero(known), codes[known]] = 1
        unknown = np.flatnonzero(~known)
        if len(unknown) and warn_unknown:
            row = int(unknown[0])
            word = words[word_codes[row]] or "(missing)"
            warn(
                f'{table.where(row, c.name)}: "{word}" is unknown to the model; '
                f"{counted(len(unknown), 'row')} of {len(codes):,} with unknown categories here, "
                "taken as none of the known"
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
    """X of an NPZ or NPY -> (n, width) numbers."""

    shape: tuple[int, ...]
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
        shift, scale, median = _fit_scaling(X, scaling, missing)
        return cls(data.shape, shift, scale, median, missing)

    def transform(
        self, data: Table | Arrays, dtype: str = "float32", warn_unknown: bool = True
    ) -> np.ndarray:
        if not isinstance(data, Arrays):
            raise BadUse(
                f"{data.path}: the model reads arrays (NPZ or NPY) of shape "
                f"{('n', *self.shape)}, this file is a table".replace("'n'", "n")
            )
        if data.X.shape[1] != self.width:
            raise BadUse(
                f"{data.path}: {data.x_name} must have {self.width} features a row "
                f"{self.shape}, got {data.shape}"
            )
        X = data.X.astype(dtype)  # a copy: filled and scaled in place
        if data.X.dtype.kind == "f":
            for row, j in np.argwhere(~np.isfinite(X)):
                if self.missing == "refuse" or np.isinf(X[row, j]):
                    came = _MISSING if np.isnan(X[row, j]) else f"must be finite, got {X[row, j]}"
                    raise BadUse(f"{data.where(row, j)}: {came}")
                X[row, j] = self.median[j]
        if self.shift.any():
            X -= self.shift.astype(dtype)
        X /= self.scale.astype(dtype)
        return X

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
class UndescribedInputs(ArrayInputs):
    """Numbers as they are, also of a table, its columns in their order: of a model that was not
    trained by fastnn train."""

    besides: tuple[str, ...] = ()  # columns that are no inputs

    def transform(
        self, data: Table | Arrays, dtype: str = "float32", warn_unknown: bool = True
    ) -> np.ndarray:
        if isinstance(data, Arrays):
            return super().transform(data, dtype)
        names = [name for name in data.columns if name not in self.besides]
        if len(names) != self.width:
            raise BadUse(
                f"{data.path}: the model file names no columns, so there must be its {self.width} "
                f"inputs in their order and nothing else; it has {listed(names)}"
            )
        return TableInputs([Numeric(name) for name in names]).transform(data, dtype)


_MISSING = "missing value (train with --missing impute to fill such cells)"


def _filled(
    values: np.ndarray, median: float, missing: str, where: Callable[[int], str]
) -> np.ndarray:
    """Missing values replaced by the median or refused; infinite ones refused."""
    if np.isfinite(values).all():
        return values
    if np.isinf(values).any():
        row = int(np.argmax(np.isinf(values)))
        raise BadUse(f"{where(row)}: must be finite, got {values[row]}")
    if missing == "refuse":
        raise BadUse(f"{where(int(np.argmax(np.isnan(values))))}: {_MISSING}")
    return np.where(np.isnan(values), median, values)


def _all_missing(column: Column, rows: np.ndarray) -> bool:
    return bool(column.missing()[rows].all())


def _is_categorical(table: Table, name: str, column: Column) -> bool:
    """Whether a column is text; refuses numbers with a slip among them, and free text."""
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
        remedy = f'correct it, or --categorical "{name}", or --drop "{name}"'
    else:
        problem = f'holds text such as "{word}", {n_words:,} different (limit {MAX_CATEGORIES:,})'
        remedy = f'--drop "{name}"'
    raise BadUse(f"{table.where(row, name)}: {problem}; {remedy}")


def _fit_categories(
    table: Table, name: str, column: Column, rows: np.ndarray, missing: str
) -> Categorical:
    codes, words = column.coded()
    if len(words) > MAX_CATEGORIES + 1:
        raise BadUse(
            f'{table.path}, column "{name}": {len(words):,} different values are too many for '
            f"categories (limit {MAX_CATEGORIES:,})"
        )
    present = {words[code] for code in np.unique(codes[rows])}
    if missing == "refuse":
        present.discard("")  # refused by transform, with its row
    return Categorical(name, sorted(present, key=_word_order))


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


def _word_order(word: str) -> tuple[bool, float, str]:
    try:
        return (False, number(word) if word else -np.inf, word)
    except ValueError:
        return (True, 0.0, word)


# --- target


@dataclass
class Classes:
    """A target of classes 0..C-1 and their names."""

    name: str
    classes: list[str]

    task = "classification"

    @classmethod
    def fit(cls, data: Table | Arrays, name: str, column: Column) -> Classes:
        words = column.coded()[1]
        numbers = [_number_or_none(word) for word in words]
        values = {value for value in numbers if value is not None}
        if None not in numbers and len(values) < len(words):  # "1" and "1.0" are one class
            words = [number_name(value) for value in values]
        if len(words) < 2:
            raise BadUse(
                f'{_column_of(data, name)}: every row holds "{words[0]}"; nothing to learn'
            )
        if len(words) > len(column) // 2 and len(words) > 10:
            raise BadUse(
                f"{_column_of(data, name)}: {len(words):,} different values in {len(column):,} "
                "rows are too many for classes"
            )
        return cls(name, sorted(words, key=_word_order))

    def encode(self, data: Table | Arrays, column: Column) -> np.ndarray:
        """(n,) int32 in 0..C-1. A label that is equal as a number, or but for a full stop at its
        end, is taken for the class (and the latter is said on standard error)."""
        codes, words = column.coded()
        place = {word: i for i, word in enumerate(self.classes)}
        by_number = {
            value: i
            for i, word in enumerate(self.classes)
            if (value := _number_or_none(word)) is not None
        }
        lookup = np.full(len(words), -1, np.int32)
        for i, word in enumerate(words):
            if word in place:
                lookup[i] = place[word]
            elif (value := _number_or_none(word)) in by_number:
                lookup[i] = by_number[value]
            elif word.rstrip(".") in place:
                lookup[i] = place[word.rstrip(".")]
                warn(
                    f'{_column_of(data, self.name)}: "{word}" taken for "{self.classes[lookup[i]]}"'
                )
        labels = lookup[codes]
        if (labels < 0).any():
            row = int(np.argmax(labels < 0))
            word = words[codes[row]]
            raise BadUse(
                f'{data.where(row, self.name)}: must be one of {listed(self.classes)}, got "{word}"'
            )
        return labels

    def to_dict(self) -> dict:
        return {"task": self.task, **asdict(self)}


@dataclass
class Amount:
    """A numeric target; the network learns (y - shift) / scale."""

    name: str
    shift: float = 0.0
    scale: float = 1.0

    task = "regression"

    @classmethod
    def fit(
        cls,
        data: Table | Arrays,
        name: str,
        column: Column,
        rows: np.ndarray,
        standardize: bool,
        counts: bool = False,
    ) -> Amount:
        """counts: what stays a count is divided by its mean alone."""
        target = cls(name)
        values = target.values(data, column)
        if counts and values.min() < 0:
            row = int(np.argmin(values))
            came = f"got {values[row]:g}"
            raise BadUse(f"{data.where(row, name)}: must be at least 0 for --loss poisson, {came}")
        values = values[rows]
        if values.min() == values.max():
            raise BadUse(
                f"{_column_of(data, name)}: every row holds {values[0]:g}; nothing to learn"
            )
        if standardize and counts:
            target.scale = float(values.mean())
        elif standardize:
            target.shift, target.scale = float(values.mean()), float(values.std())
        return target

    def values(self, data: Table | Arrays, column: Column) -> np.ndarray:
        """(n,) float64 in the user's unit."""
        if text := column.first_text():
            raise BadUse(f'{data.where(text[0], self.name)}: must be a number, got "{text[1]}"')
        values = column.numbers()
        if not np.isfinite(values).all():
            row = int(np.argmax(~np.isfinite(values)))
            raise BadUse(f"{data.where(row, self.name)}: must be finite, got {values[row]}")
        return values

    def encode(self, data: Table | Arrays, column: Column) -> np.ndarray:
        return (self.values(data, column) - self.shift) / self.scale

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """(n,) outputs of the network -> values in the user's unit, float64."""
        return outputs.astype(np.float64) * self.scale + self.shift

    def to_dict(self) -> dict:
        return {"task": self.task, **asdict(self)}


def infer_task(column: Column) -> tuple[str, str]:
    """("classification" or "regression", why)."""
    if column.first_text():
        return "classification", "it holds text"
    distinct = np.unique(column.numbers())
    n = len(distinct)
    if n <= 2:
        return "classification", "it holds two values"
    whole = (distinct == np.round(distinct)).all()
    if whole and distinct[0] in (0, 1) and np.ptp(distinct) == n - 1 and n <= MAX_INFERRED_CLASSES:
        return (
            "classification",
            f"it holds the whole numbers {distinct[0]:g} to {distinct[-1]:g} without a gap",
        )
    return "regression", "it holds numbers"


def check_target(data: Table | Arrays, name: str, column: Column) -> None:
    """Every row that is learnt from or measured needs a target."""
    missing = column.missing()
    if missing.any():
        row = int(np.argmax(missing))
        raise BadUse(
            f"{data.where(row, name)}: the target is missing "
            f"(in {counted(int(missing.sum()), 'row')})"
        )


def _column_of(data: Table | Arrays, name: str) -> str:
    return f'{data.path}, column "{name}"' if isinstance(data, Table) else f"{data.path}, {name}"


def _number_or_none(word: str) -> float | None:
    try:
        return number(word)
    except ValueError:
        return None


# --- both, as the model file keeps them


@dataclass
class Data:
    """Inputs and targets: what stands between a data file and a network."""

    inputs: TableInputs | ArrayInputs
    targets: Sequence[Classes | Amount]  # of one kind; several Classes have two classes each
    header: bool = True  # of the CSV trained on; new ones are read the same way

    @property
    def classes(self) -> list[str] | None:
        """Names of the classes, one of which each row has; None of several targets and amounts."""
        first = self.targets[0]
        return first.classes if isinstance(first, Classes) and len(self.targets) == 1 else None

    @property
    def amounts(self) -> bool:
        """Whether the targets are numbers, not classes."""
        return isinstance(self.targets[0], Amount)

    @property
    def names(self) -> list[str]:
        """Of the targets."""
        return [target.name for target in self.targets]

    @property
    def n_outputs(self) -> int:
        return len(self.targets if self.classes is None else self.classes)

    def encode(self, data: Table | Arrays, columns: list[Column]) -> np.ndarray:
        """What the network learns: labels (n,), or (n, n_targets)."""
        pairs = zip(self.targets, columns, strict=True)
        encoded = [target.encode(data, column) for target, column in pairs]
        return encoded[0] if self.classes is not None else np.stack(encoded, 1)

    def decode(self, f: np.ndarray) -> np.ndarray:
        """Amounts as encoded or put out, (n, n_targets) -> in the users' units, float64."""
        amounts = [target for target in self.targets if isinstance(target, Amount)]
        return np.stack([t.decode(one) for t, one in zip(amounts, f.T, strict=True)], 1)

    def to_dict(self) -> dict:
        targets = [target.to_dict() for target in self.targets]
        return {
            "version": VERSION,
            "inputs": self.inputs.to_dict(),
            "target": targets if len(targets) > 1 else targets[0],
            "header": self.header,
        }

    @classmethod
    def undescribed(cls, model: Model) -> Data:
        """Of a model whose file says nothing of data but perhaps the names of classes."""
        n_out, names = model.sizes[-1], model.metadata.get("classes")
        names = [str(name) for name in names] if isinstance(names, list) else []
        one_of_many = model.output == "softmax" or model.loss == "hinge"
        n_in = model.sizes[0]
        nothing = np.zeros(n_in)
        inputs = UndescribedInputs((n_in,), nothing, np.ones(n_in), nothing)
        if one_of_many or (model.output == "sigmoid" and n_out == 1):
            n = max(n_out, 2)
            return cls(inputs, [Classes("y", names if len(names) == n else [*map(str, range(n))])])
        if len(names) != n_out:
            names = [f"y{k}" for k in range(1, n_out + 1)] if n_out > 1 else ["y"]
        if model.output == "sigmoid":
            return cls(inputs, [Classes(name, ["0", "1"]) for name in names])
        return cls(inputs, [Amount(name) for name in names])

    @classmethod
    def from_dict(cls, saved: dict) -> Data:
        kinds: dict[str, Any] = {"table": TableInputs, "arrays": ArrayInputs}
        inputs = kinds[saved["inputs"]["kind"]]
        tasks: dict[str, Any] = {"classification": Classes, "regression": Amount}
        targets = saved["target"]
        targets = [dict(one) for one in (targets if isinstance(targets, list) else [targets])]
        return cls(
            inputs.from_dict(saved["inputs"]),
            [tasks[one.pop("task")](**one) for one in targets],
            saved["header"],
        )
