"""What a target means to a network: classes 0..C-1, or an amount.

class target    0..C-1; of several, which have two classes each, columns of 0 and 1
numeric target  (y - shift) / scale, undone on the output; or that of ln y, where predictions, which
                are medians then, are multiplied by what makes them means
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fastnn.checks import counted, listed
from fastnn.errors import TableError
from fastnn.tables.categories import counted_names
from fastnn.tables.cells import powers
from fastnn.tables.described import made
from fastnn.tables.kinds import decimal_of
from fastnn.tables.numbers import LARGEST, SMALLEST, floor_of, logged
from fastnn.tables.table import Column, Table, TableWarning, Words
from fastnn.tables.words import number_name, number_or_none, places, word_order

# Whole numbers without a gap from 0 or 1 up are taken for classes where they are at most so many
# and come back; others are amounts.
MAX_INFERRED_CLASSES = 20


@dataclass
class Classes:
    """A target of classes 0..C-1 and their names."""

    name: str
    classes: list[str]
    text: bool = False  # names that look like numbers or booleans are text all the same

    task = "classification"

    def __str__(self) -> str:
        return f"{self.name}: {listed(self.classes)}"

    @classmethod
    def fit(cls, table: Table, name: str) -> Classes:
        column = table.column(name)
        words = [*counted_names(column, np.arange(len(column)))]
        if len(words) < 2:
            raise TableError(f'{table.named(name)}: every row holds "{words[0]}"; nothing to learn')
        if len(words) > len(column) // 2 and len(words) > 10:
            raise TableError(
                f"{table.named(name)}: {len(words):,} different values in {len(column):,} "
                "rows are too many for classes"
            )
        target = cls(name, sorted(words, key=word_order))
        typed = isinstance(column, Words) and column.typed
        return replace(target, text=typed and target.values.dtype.kind != "U")

    @cached_property
    def values(self) -> np.ndarray:
        """(C,) the classes as users have them: integers, floats, booleans or text."""
        if not self.text and self.classes == ["False", "True"]:
            return np.array([False, True])
        numbers = [n for word in self.classes if (n := number_or_none(word)) is not None]
        if self.text or [*map(number_name, numbers)] != self.classes:
            return np.array(self.classes)
        values = np.array(numbers)
        whole = values == np.round(values)
        return values.astype(np.int64) if whole.all() and abs(values).max() < 2**53 else values

    def encode(self, table: Table, name: str) -> np.ndarray:
        """(n,) int32 in 0..C-1. A label that is equal as a number, or but for a full stop at its
        end, is taken for the class (and the latter is warned of)."""
        codes, words = table.column(name).coded()
        lookup = places(words, self.classes)
        for i in np.flatnonzero(lookup < 0):
            if words[i].rstrip(".") in self.classes:
                lookup[i] = self.classes.index(words[i].rstrip("."))
                warnings.warn(
                    f'{table.named(name)}: "{words[i]}" taken for "{self.classes[lookup[i]]}"',
                    TableWarning,
                    stacklevel=2,
                )
        labels = lookup[codes]
        if (labels < 0).any():
            row = int(np.argmax(labels < 0))
            raise TableError(
                f"{table.where(row, name)}: must be one of {listed(self.classes)}, "
                f'got "{words[codes[row]]}"'
            )
        ids: np.ndarray = labels.astype(np.int32)
        return ids

    def to_dict(self) -> dict[str, Any]:
        saved = {"task": self.task, **asdict(self)}
        if not self.text:
            del saved["text"]
        return saved

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Classes:
        target = made(cls, saved)
        if len(target.classes) < 2 or len(set(target.classes)) < len(target.classes):
            raise ValueError("classes must be two at least, and distinct")
        return target


@dataclass
class Amount:
    """A numeric target; the network learns (y - shift) / scale."""

    name: str
    shift: float = 0.0
    scale: float = 1.0
    decimal: str = "."  # before the fraction, in text
    log: bool = False  # ln y is learned, y > 0
    smear: float = 1.0  # of a mean over exp(f): Duan (1983), "Smearing estimate", JASA 78(383)
    low: float | None = None  # what is predicted is clamped to the range of the training rows
    high: float | None = None

    task = "regression"

    def __str__(self) -> str:
        text = f"{self.shift:.6g} + {self.scale:.6g} f(x)"
        text = f"{self.smear:.4g} exp({text})" if self.log else text
        text = f"{self.name}: {text}"
        return text if self.low is None else f"{text}, within {self.low:.6g} to {self.high:.6g}"

    @classmethod
    def fit(
        cls,
        table: Table,
        name: str,
        rows: np.ndarray,
        standardize: bool,
        counts: bool = False,
        clamp: bool = False,
        comma: bool = False,
    ) -> Amount:
        """From the training rows. counts: what stays a count is divided by its mean alone. comma:
        1,013 is 1.013."""
        target = cls(name, decimal=decimal_of(table.column(name), comma))
        values = target.values(table, name)
        if counts and values.min() < 0:
            row = int(np.argmin(values))
            raise TableError(
                f"{table.where(row, name)}: must be at least 0 for the loss poisson, "
                f"got {values[row]:g}"
            )
        large = np.abs(values) > LARGEST
        if large.any():
            row = int(np.argmax(large))
            raise TableError(
                f"{table.where(row, name)}: must be at most {LARGEST:g} in size, "
                f"got {values[row]:g}"
            )
        values = values[rows]
        if values.max() - values.min() <= SMALLEST:
            raise TableError(
                f"{table.named(name)}: every row holds {values[0]:g}; nothing to learn"
            )
        if standardize and counts:
            target.scale = float(values.mean())
        elif standardize:
            target.shift, target.scale = float(values.mean()), float(values.std())
        if clamp:
            target.low, target.high = float(values.min()), float(values.max())
        return target

    def values(self, table: Table, name: str) -> np.ndarray:
        """(n,) float64 in the user's unit."""
        column = table.column(name)
        if text := column.first_text(self.decimal):
            raise TableError(f'{table.where(text[0], name)}: must be a number, got "{text[1]}"')
        values = column.numbers(self.decimal)
        if not np.isfinite(values).all():
            row = int(np.argmax(~np.isfinite(values)))
            raise TableError(f"{table.where(row, name)}: must be finite, got {values[row]}")
        return values

    def encode(self, table: Table, name: str) -> np.ndarray:
        values = self.values(table, name)
        if self.log and not (values > 0).all():
            row = int(np.argmin(values > 0))
            raise TableError(
                f"{table.where(row, name)}: must be above 0, for its logarithm is learned, "
                f"got {values[row]:g}"
            )
        return self.scaled(values)

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """(n,) as learned."""
        values = logged(values, 0.0) if self.log else values
        return (values - self.shift) / self.scale

    def unscaled(self, f: np.ndarray) -> np.ndarray:
        """f (n,), as learned -> in the user's unit."""
        values = f * self.scale + self.shift
        if self.log:
            powers(values)
        return values

    def logged(self, values: np.ndarray) -> Amount | None:
        """This target, of which ln y is learned; None where the training rows' values (n,) are not
        all above 0 with a long tail."""
        if floor_of(values) is None or values.min() <= 0:
            return None
        logs = logged(values, 0.0)
        return replace(self, log=True, shift=float(logs.mean()), scale=float(logs.std()))

    def to_dict(self) -> dict[str, Any]:
        saved = {"task": self.task, **asdict(self)}
        usual = {"decimal": ".", "low": None, "high": None, "log": False, "smear": 1.0}
        return {name: value for name, value in saved.items() if value != usual.get(name, ...)}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Amount:
        target = made(cls, saved)
        if not (target.scale > 0 and target.smear > 0 and target.decimal in (".", ",")):
            raise ValueError("scale and smear must be above 0, decimal a point or a comma")
        if (target.low is None) != (target.high is None):
            raise ValueError("low and high must be two numbers, or none")
        return target


def infer_task(column: Column) -> tuple[str, str]:
    """("classification" or "regression", why)."""
    if column.declared:
        return "classification", "it is of a type of categories"
    if not column.decimals:
        return "classification", "it holds text"
    if isinstance(column, Words) and column.padded:
        return "classification", f'it holds codes such as "{min(column.present)}"'
    if isinstance(column, Words) and column.spelled:
        return "regression", f'it holds numbers such as "{column.spelled}"'
    values = column.numbers()
    distinct = np.unique(values[~np.isnan(values)])
    n = len(distinct)
    if n <= 2:
        return "classification", "it holds two values"
    whole = (distinct == np.round(distinct)).all()
    if not whole:
        return "regression", "it holds numbers"
    gapless = distinct[0] in (0, 1) and np.ptp(distinct) == n - 1
    if gapless and n <= MAX_INFERRED_CLASSES and (len(column) >= 2 * n or n == 3):
        return (
            "classification",
            f"it holds the whole numbers {distinct[0]:g} to {distinct[-1]:g} without a gap; "
            'task="regression" (--task regression) takes them for amounts',
        )
    return (
        "regression",
        f"it holds {n:,} different whole numbers; "
        'task="classification" (--task classification) takes them for classes',
    )


def check_target(table: Table, name: str) -> None:
    """Every row that is learnt from or measured needs a target."""
    missing = table.column(name).missing()
    if missing.any():
        row = int(np.argmax(missing))
        raise TableError(
            f"{table.where(row, name)}: the target is missing "
            f"(in {counted(int(missing.sum()), 'row')})"
        )
