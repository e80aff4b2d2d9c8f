"""Columns, and tables of them, wherever they come from; cells stay what they are.

inputs.py and targets.py decide what a column means to a network.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fastnn.checks import listed
from fastnn.errors import TableError, in_a_line
from fastnn.tables.words import (
    ALONE,
    MISSING,
    NEVER,
    Places,
    are_padded,
    as_word,
    is_plain,
    moments,
    number,
    number_name,
    number_or_none,
    numbers_of,
    places,
    tidy,
    word_of,
)


class TableWarning(UserWarning):
    """Cells that were not as in training, and what they were taken for.

    Examples
    --------
    >>> import fastnn
    >>> issubclass(fastnn.tables.TableWarning, UserWarning)
    True
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(in_a_line(text))


@dataclass
class Numbers:
    """A column of numbers."""

    values: np.ndarray  # (n,) integers or floats, NaN where missing

    declared = typed = False
    order = None
    decimals: tuple[str, ...] = (".",)

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> Numbers:
        return Numbers(self.values[rows])

    def without(self, words: Collection[str]) -> Numbers:
        """What these words name is missing."""
        named = [value for word in words if (value := number_or_none(word)) is not None]
        absent = np.isin(self.values, named)
        return Numbers(np.where(absent, np.nan, self.values)) if absent.any() else self

    def missing(self) -> np.ndarray:
        """(n,) bool."""
        missing: np.ndarray = np.isnan(self.values)
        return missing

    def first_text(self, decimal: str = ".") -> tuple[int, str] | None:
        return None

    def numbers(self, decimal: str = ".") -> np.ndarray:
        """(n,) float64, NaN where missing."""
        return np.asarray(self.values, np.float64)

    def coded(self) -> tuple[np.ndarray, list[str]]:
        """Codes (n,) into distinct words, and these ('' for missing)."""
        distinct, codes = np.unique(self.values, return_inverse=True)  # NaN last, once
        return codes, ["" if np.isnan(v) else number_name(v) for v in distinct]


@dataclass
class Moments:
    """A column of dates and times."""

    values: np.ndarray  # (n,) datetime64[us], NaT where missing

    declared = typed = False
    order = None
    decimals: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> Moments:
        return Moments(self.values[rows])

    def without(self, words: Collection[str]) -> Moments:
        return self

    def missing(self) -> np.ndarray:
        """(n,) bool."""
        missing: np.ndarray = np.isnat(self.values)
        return missing

    def first_text(self, decimal: str = ".") -> tuple[int, str] | None:
        known = ~self.missing()
        row = int(np.argmax(known))
        return (row, str(self.values[row])) if known.any() else None

    def numbers(self, decimal: str = ".") -> np.ndarray:
        return np.full(len(self), np.nan)  # only where first_text() is None

    def coded(self) -> tuple[np.ndarray, list[str]]:
        """Codes (n,) into distinct words, and these ('' for missing)."""
        distinct, codes = np.unique(self.values, return_inverse=True)
        return codes, ["" if np.isnat(one) else str(one) for one in distinct]


NAMED = NEVER - {""}  # what can only mean that a cell is missing, spelled out


@dataclass
class Words:
    """A column of words, be they numbers or not."""

    codes: np.ndarray  # (n,) int32, indices into words
    words: list[str]  # distinct, each in some row; '' for missing
    declared: bool = False  # categories, even where all are numbers: of a type that says so
    typed: bool = False  # text by its type, not cells of a file, which may be numbers
    order: list[str] | None = None  # of categories that have one, from the least up

    @classmethod
    def clean(
        cls, codes: np.ndarray, raw: list[str], distinct: bool = False, **known: Any
    ) -> Words:
        """Blanks and single quotes around a word are dropped; what then is the same is one word,
        and what can only mean so is missing. distinct: whether all of raw are."""
        words = [*map(str.strip, raw)]
        first = {word[:1] for word in words}
        if "'" in first or "=" in first or not NAMED.isdisjoint(map(str.lower, words)):
            words = [*map(tidy, words)]
        if distinct and words == raw:
            return cls(codes, words, **known)
        index = dict.fromkeys(words)
        if len(index) == len(raw):  # each its own
            return cls(codes, words, **known)
        place = {word: i for i, word in enumerate(index)}
        lookup = np.fromiter(map(place.__getitem__, words), np.int32, len(words))
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

    def without(self, words: Collection[str]) -> Words:
        """What these words name is missing."""
        named = places(self.words, words)
        if (named < 0).all():
            return self
        kept = [w if at < 0 else "" for w, at in zip(self.words, named, strict=True)]
        how: dict[str, Any] = {"declared": self.declared, "typed": self.typed, "order": self.order}
        return Words.clean(self.codes, kept, **how)

    @cached_property
    def _numbers(self) -> dict[str, np.ndarray]:
        """The words as numbers, by the sign before the fraction with which all are."""
        read = {decimal: numbers_of(self.words, decimal) for decimal in ".,"}
        found = {decimal: values for decimal, values in read.items() if values is not None}
        if len(found) == 2 and not any("," in word or "." in word for word in self.words):
            del found[","]
        return found

    @property
    def decimals(self) -> tuple[str, ...]:
        """The signs before the fraction with which all words are numbers or missing, "." first;
        none of text. Both where nothing tells: 1,013 is 1013 or 1.013."""
        return tuple(self._numbers)

    @cached_property
    def padded(self) -> bool:
        """Whether the words are codes such as 00731, not numbers."""
        return are_padded(self.words)

    @property
    def spelled(self) -> str:
        """Of numbers the first that is not spelled as programs do, '' if none."""
        return next((word for word in self.present if not is_plain(word)), "")

    @cached_property
    def moments(self) -> tuple[np.ndarray, bool] | None:
        """The words as dates and times (n_words,), and whether days come before months; None where
        they are none."""
        known = [word for word in self.words if word.lower() not in MISSING]
        try:
            moments(known[:20])  # of text that is none the first ones tell
            return moments(self.words) if known else None
        except ValueError:
            return None

    @cached_property
    def absent(self) -> np.ndarray:
        """(n_words,) bool: which words mean that the cell is missing, here among the others."""
        marks = [word.lower() in MISSING for word in self.words]
        if self.decimals or self.moments:
            return np.array(marks)
        others = [word for word, mark in zip(self.words, marks, strict=True) if not mark]
        codes = bool(others) and all(len(w) == 2 and w.isalpha() and w.isupper() for w in others)
        return np.array(
            [not word or (word.lower() == "na" and not codes) for word in self.words]
        )

    @property
    def present(self) -> list[str]:
        """The words that do not mean that the cell is missing."""
        return [word for word, absent in zip(self.words, self.absent, strict=True) if not absent]

    def missing(self) -> np.ndarray:
        """(n,) bool."""
        missing: np.ndarray = self.absent[self.codes]
        return missing

    def first_text(self, decimal: str = ".") -> tuple[int, str] | None:
        """The first row whose cell is no number, and the cell; None where all are."""
        if decimal in self._numbers:
            return None
        texts = self.texts(decimal)
        if not texts.any():
            return None
        row = int(np.argmax(texts[self.codes]))
        return row, self.words[self.codes[row]]

    def texts(self, decimal: str = ".") -> np.ndarray:
        """(n_words,) bool: which words are no numbers."""
        texts = np.zeros(len(self.words), bool)
        for i, word in enumerate(self.words):
            try:
                number(word, decimal)
            except ValueError:
                texts[i] = True
        return texts

    def numbers(self, decimal: str = ".") -> np.ndarray:
        """(n,) float64, NaN where missing, or text."""
        values = self._numbers.get(decimal)
        if values is None:
            told = [number_or_none(word, decimal) for word in self.words]
            values = np.array(told, np.float64)  # None is NaN
        numbers: np.ndarray = values[self.codes]
        return numbers

    def coded(self) -> tuple[np.ndarray, list[str]]:
        """Codes (n,) into distinct words, and these ('' for missing)."""
        return self.codes, self.words


Column = Numbers | Moments | Words


def named_by(words: Collection[str]) -> Callable[[Any], bool]:
    """Whether these words name a cell, as `without` of a column of this cell alone finds."""
    numbers = {value for word in words if (value := number_or_none(word)) is not None}
    find = Places(words)

    def named(cell: Any) -> bool:
        if isinstance(cell, ALONE) and not isinstance(cell, (str, bool, np.bool_, np.timedelta64)):
            return float(cell) in numbers
        return isinstance(cell, (str, bool, np.bool_)) and find(word_of(cell)) >= 0

    return named


def codes_of(column: Column) -> tuple[np.ndarray, int]:
    """Codes (n,) of the distinct cells, and how many these are, without making words of them."""
    if isinstance(column, Words):
        return column.codes, len(column.words)
    distinct, codes = np.unique(column.values, return_inverse=True)  # NaN last, once
    return codes, len(distinct)


@dataclass
class Table:
    """Rows with named columns.

    Examples
    --------
    >>> from pathlib import Path
    >>> import fastnn
    >>> _ = Path("people.csv").write_text("age,town\\n31,Rome\\n47,Oslo\\n")
    >>> fastnn.tables.read("people.csv").n_rows
    2
    """

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

    def without(self, words: Collection[str]) -> Table:
        """Cells that these words name are missing."""
        if not words:
            return self
        columns = {name: column.without(words) for name, column in self.columns.items()}
        return replace(self, columns=columns)

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
    """X, samples as rows.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> np.save("rows.npy", np.eye(3))
    >>> fastnn.tables.read("rows.npy").X.shape
    (3, 3)
    """

    path: str
    X: np.ndarray  # (n, n_features), the dtype of the file
    shape: tuple[int, ...]  # of one sample in the file, such as (28, 28)
    y: Column | None = None  # the target that came with it
    x_name: str = "X"

    @property
    def n_rows(self) -> int:
        return len(self.X)

    def without(self, words: Collection[str]) -> Arrays:
        """Of arrays no value means that it is missing but NaN."""
        return self

    def take(self, rows: np.ndarray) -> Arrays:
        """Some of the rows."""
        return replace(self, X=self.X[rows], y=None if self.y is None else self.y.take(rows))

    def where(self, row: int, column: int) -> str:
        index = np.unravel_index(column, self.shape)
        cell = f"{self.x_name}[{', '.join(map(str, (row, *index)))}]"
        return ", ".join(filter(None, [self.path, cell]))
