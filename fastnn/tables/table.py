"""Columns, and tables of them, wherever they come from; cells stay what they are.

inputs.py and targets.py decide what a column means to a network.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastnn.checks import listed
from fastnn.errors import TableError

#: Cells that mean "missing", whatever their case.
MISSING = frozenset({"", "?", "na", "n/a", "#n/a", "nan", "null", "none"})


class TableWarning(UserWarning):
    """Cells that were not as in training, and what they were taken for."""


def number(word: str) -> float:
    """The number a cell holds, NaN where it is missing; ValueError where it is text."""
    if word.lower() in MISSING:
        return np.nan
    if "_" in word:  # float() reads 1_000
        raise ValueError(word)
    return float(word)


def number_or_none(word: str) -> float | None:
    try:
        return number(word)
    except ValueError:
        return None


def number_name(value: float) -> str:
    """3.0 -> '3', 0.5 -> '0.5': how a number is called when it is a class or a category."""
    value = float(value)
    return str(int(value)) if value.is_integer() else repr(value)


def is_missing(cell: Any) -> bool:
    """Of a cell that is a Python object."""
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or bool(cell != cell)


def as_word(cell: Any) -> str:
    """The word of a cell that is a Python object."""
    if is_missing(cell):
        return ""
    if isinstance(cell, (str, bool, np.bool_)):
        return str(cell)
    return number_name(cell)


@dataclass
class Numbers:
    """A column of numbers."""

    values: np.ndarray  # (n,) integers or floats, NaN where missing

    declared = False
    order = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> Numbers:
        return Numbers(self.values[rows])

    def missing(self) -> np.ndarray:
        """(n,) bool."""
        return np.isnan(self.values)

    def first_text(self) -> tuple[int, str] | None:
        return None

    def numbers(self) -> np.ndarray:
        """(n,) float64, NaN where missing."""
        return np.asarray(self.values, np.float64)

    def coded(self) -> tuple[np.ndarray, list[str]]:
        """Codes (n,) into distinct words, and these ('' for missing)."""
        distinct, codes = np.unique(self.values, return_inverse=True)  # NaN last, once
        return codes, ["" if np.isnan(v) else number_name(v) for v in distinct]


@dataclass
class Words:
    """A column of words, be they numbers or not."""

    codes: np.ndarray  # (n,) int32, indices into words
    words: list[str]  # distinct, each in some row; '' for missing
    declared: bool = False  # categories, even where all are numbers: of a type that says so
    typed: bool = False  # text by its type, not cells of a file, which may be numbers
    order: list[str] | None = None  # of categories that have one, from the least up

    @classmethod
    def clean(cls, codes: np.ndarray, raw: list[str], **known: Any) -> Words:
        """Blanks and single quotes around a word are dropped; what then is the same is one word."""
        index: dict[str, int] = {}
        lookup = np.empty(len(raw), np.int32)
        for i, word in enumerate(raw):
            word = word.strip()
            if len(word) > 1 and word[0] == word[-1] == "'":
                word = word[1:-1].strip()
            if word.lower() in MISSING:
                word = ""
            lookup[i] = index.setdefault(word, len(index))
        return cls(lookup[codes], list(index), **known)

    @classmethod
    def of(cls, cells: Sequence[Any], **known: Any) -> Words:
        """Of Python objects: texts, numbers, booleans, and what is missing."""
        index: defaultdict[Any, int] = defaultdict(int)  # cell -> code
        index.default_factory = index.__len__  # a new cell gets the next code
        codes = np.fromiter(map(index.__getitem__, cells), np.int32, len(cells))
        return cls.clean(codes, [as_word(cell) for cell in index], **known)

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: np.ndarray) -> Words:
        used, codes = np.unique(self.codes[rows], return_inverse=True)
        return replace(self, codes=codes, words=[self.words[code] for code in used])

    def missing(self) -> np.ndarray:
        """(n,) bool."""
        absent = self.words.index("") if "" in self.words else -1
        return np.equal(self.codes, absent)

    def texts(self) -> list[str]:
        """The distinct words that are no numbers."""
        return [word for word in self.words if number_or_none(word) is None]

    def first_text(self) -> tuple[int, str] | None:
        """The first row whose cell is no number, and the cell; None where all are."""
        is_text = np.array([number_or_none(word) is None for word in self.words])[self.codes]
        if not is_text.any():
            return None
        row = int(np.argmax(is_text))
        return row, self.words[self.codes[row]]

    def numbers(self) -> np.ndarray:
        """(n,) float64, NaN where missing; only where first_text() is None."""
        return np.array([number(word) for word in self.words], np.float64)[self.codes]

    def coded(self) -> tuple[np.ndarray, list[str]]:
        """Codes (n,) into distinct words, and these ('' for missing)."""
        return self.codes, self.words


Column = Numbers | Words


@dataclass
class Table:
    """Rows with named columns."""

    path: str  # of the file, or what the user calls it
    columns: dict[str, Column]
    lines: Sequence[int] | np.ndarray | None = None  # (n,) of each row in its file; None: from 1
    indexed: bool = False  # a cell is told as name[row], as of arrays

    @property
    def n_rows(self) -> int:
        return len(next(iter(self.columns.values())))

    def where(self, row: int, name: str) -> str:
        if self.indexed:
            return ", ".join([*filter(None, [self.path]), f"{name}[{row}]"])
        line = row + 1 if self.lines is None else self.lines[row]
        return f'{self.path}, row {line}, column "{name}"'

    def named(self, name: str) -> str:
        """The column in a message."""
        if self.indexed:
            return ", ".join(filter(None, [self.path, name]))
        return f'{self.path}, column "{name}"'

    def column(self, name: str) -> Column:
        if name not in self.columns:
            has = listed(self.columns)
            if any(number_or_none(other) is not None for other in self.columns):
                has += "; if its first line is data: header=False (--no-header)"
            raise TableError(f'{self.path}: no column "{name}"; it has {has}')
        return self.columns[name]

    def select(self, names: Iterable[str]) -> Table:
        """These columns of the same rows."""
        return replace(self, columns={name: self.column(name) for name in names})

    def take(self, rows: np.ndarray) -> Table:
        """Some of the rows."""
        lines = np.arange(1, self.n_rows + 1) if self.lines is None else np.asarray(self.lines)
        columns = {name: column.take(rows) for name, column in self.columns.items()}
        return replace(self, columns=columns, lines=lines[rows])


@dataclass
class Arrays:
    """X, samples as rows."""

    path: str
    X: np.ndarray  # (n, n_features), the dtype of the file
    shape: tuple[int, ...]  # of one sample in the file, such as (28, 28)
    y: Column | None = None  # the target that came with it
    x_name: str = "X"

    @property
    def n_rows(self) -> int:
        return len(self.X)

    def take(self, rows: np.ndarray) -> Arrays:
        """Some of the rows."""
        return replace(self, X=self.X[rows], y=None)

    def where(self, row: int, column: int) -> str:
        index = np.unravel_index(column, self.shape)
        cell = f"{self.x_name}[{', '.join(map(str, (row, *index)))}]"
        return ", ".join(filter(None, [self.path, cell]))
