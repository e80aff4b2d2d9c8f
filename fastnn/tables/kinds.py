"""What each column is, as its cells tell or the user says, and a line for all that is not plain.

numbers      also with currency, percent, thousands or a decimal comma; text in few rows is a slip,
             which is refused
dates        dates and times in the usual spellings
categories   text that comes back; codes such as 00731; yes and no however they are spelled
left out     columns of one value, numbers of rows and identifiers, text that hardly comes back
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastnn.checks import counted, listed
from fastnn.errors import TableError
from fastnn.tables.categories import most_categories
from fastnn.tables.numbers import PIXELS, ranges_of, resolved
from fastnn.tables.table import Column, Moments, Table, TableWarning, Words, codes_of
from fastnn.tables.words import (
    are_booleans,
    are_padded,
    as_word,
    number,
    number_name,
    number_or_none,
)

FEW_ROWS = 20  # fewer prove no identifier, and no slip
FEW_WORDS = 20  # so many different words are categories however rarely each comes
SLIPS = 0.05  # share of rows with text up to which a column is numbers
# Cells of such a number far from all others usually mean that there was none.
SENTINELS = {sign * float("9" * n) for sign in (-1, 1) for n in range(1, 7)}
_ID = re.compile(
    r"(unnamed: ?\d+|index|idx|key|uuid|guid|row|no\.?|nr\.?|#"
    r"|(.*[\W_])?(id|ids|idx|uuid|guid|rownum|row_?(id|no|nr|number)))$",
    re.I,
)
_CAMEL_ID = re.compile(r".*[a-z0-9](Id|ID)$")  # PassengerId


@dataclass
class Asked:
    """What the user says of columns."""

    numeric: Sequence[str] = ()
    categorical: Sequence[str] = ()
    dates: Sequence[str] = ()
    ordered: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    codes: bool = False  # of categories

    @property
    def names(self) -> list[str]:
        return [*self.numeric, *self.categorical, *self.dates, *self.ordered]


@dataclass
class Found:
    """What a column is: "numeric", "categorical", "dates", "ordered", or "" where it is left
    out."""

    kind: str
    note: str = ""  # what was found, what was done, how to change it
    decimal: str = "."
    order: list[str] = field(default_factory=list)


def find(table: Table, rows: np.ndarray, asked: Asked) -> tuple[dict[str, Found], list[str]]:
    """What each column is, and the notes. rows: those trained on."""
    every = {name: _Column(table, name, column, rows) for name, column in table.columns.items()}
    comma = _has_decimal_commas(every.values())
    pixels = _are_pixels(table, rows)
    found = {}
    for name, one in every.items():
        one.comma, one.pixel, one.codes = comma, pixels, asked.codes
        found[name] = one.asked(asked) or one.found()
    same = [name for name, one in found.items() if one.note == SAME]
    notes = []
    if same:
        text = f"{listed(same, 6)}{f' ({len(same)} in all)' if len(same) > 6 else ''}"
        notes = [f"{text}: the same in all training rows; left out"]
    return found, notes + [one.note for one in found.values() if one.note not in ("", SAME)]


SAME = "the same in all training rows"


def _has_decimal_commas(columns: Any) -> bool:
    """Whether a number that may be 1013 or 1.013 is the latter: other columns have decimal commas
    for certain, and none has a decimal point."""
    certain = {one.column.decimals for one in columns if isinstance(one.column, Words)}
    points = any(
        one.column.decimals == (".",) and any("." in word for word in one.column.words)
        for one in columns
        if isinstance(one.column, Words)
    )
    return (",",) in certain and not points


def _are_pixels(table: Table, rows: np.ndarray) -> bool:
    """Many columns of numbers that share a unit."""
    numbers = [c for c in table.columns.values() if c.decimals and not c.declared]
    if len(numbers) < PIXELS:
        return False
    ranges = [ranges_of(column.numbers()[rows][:, None]) for column in numbers]
    return resolved("auto", *map(np.concatenate, zip(*ranges, strict=True)))[0] == "maximum"


@dataclass
class _Column:
    """A column that is looked at."""

    table: Table
    name: str
    column: Column
    rows: np.ndarray
    comma: bool = False
    pixel: bool = False
    codes: bool = False

    def _way(self, setting: str) -> str:
        """How to say that the column is something else."""
        return f'{setting}=["{self.name}"] (--{setting} "{self.name}")'

    def asked(self, asked: Asked) -> Found | None:
        name, column = self.name, self.column
        if name not in asked.names:
            return None
        if column.missing()[self.rows].all():
            self._refuse("no training row has a value")
        if name in asked.ordered:
            return Found("ordered", order=[*map(as_word, asked.ordered[name])])
        if name in asked.categorical:
            return self._categories()
        if name in asked.dates:
            return Found("dates")
        if np.isnan(column.numbers(self._decimal())[self.rows]).all():
            self._refuse("no training row has a number")
        note = ""
        if isinstance(column, Words) and not column.decimals:
            texts = column.texts(self._decimal())[column.codes]
            row = int(np.argmax(texts))
            note = (
                f"{name}: {counted(int(texts.sum()), 'cell')} of text such as "
                f'"{column.words[column.codes[row]]}" taken for missing, as numeric= says'
            )
        return Found("numeric", note, self._decimal())

    def _refuse(self, why: str) -> None:
        raise TableError(f"{self.table.named(self.name)}: {why}; {self._way('drop')}")

    def found(self) -> Found:
        name, column = self.name, self.column
        missing = column.missing()[self.rows]
        if missing.all():
            return Found("", f"{name}: no training row has a value; left out")
        if not self.pixel and self._constant(bool(missing.any())):
            return Found("", SAME)
        if column.order:
            return Found("ordered", order=column.order)
        if column.declared:
            return self._categories()
        if isinstance(column, Moments):
            return Found("dates")
        if isinstance(column, Words) and column.padded:
            return self._codes(column)
        if not isinstance(column, Words) or column.decimals:
            return self._numbers()
        if column.moments:
            text = f'dates or times such as "{column.present[0]}"; '
            text += f"{self._way('categorical')} takes each for a category"
            return Found("dates", f"{name}: {text}")
        if are_booleans(column.present):
            return self._categories()
        self._refuse_slips(column)
        return self._text(column)

    def _constant(self, some_missing: bool) -> bool:
        column = self.column
        if some_missing:
            return False
        if isinstance(column, Words):
            codes = column.codes[self.rows]
            return bool((codes == codes[0]).all())
        values = column.values[self.rows]
        return bool((values == values[0]).all())

    # Numbers

    def _decimal(self) -> str:
        return decimal_of(self.column, self.comma)

    def _numbers(self) -> Found:
        column, decimal = self.column, self._decimal()
        if self.pixel:
            return Found("numeric")
        values = column.numbers(decimal)
        if left_out := self._identifiers(values):
            return left_out
        note = self._sentinel(values)
        if not note and isinstance(column, Words):
            note = self._spelling(column, decimal)
        return Found("numeric", note, decimal)

    def _identifiers(self, values: np.ndarray) -> Found | None:
        """A number of each row's own, by a name that says so."""
        n = len(values)
        named = is_identifier(self.name)
        first = self.name == "column_1" and next(iter(self.table.columns)) == self.name
        counts = bool(np.all(np.diff(values) == 1)) if first or named else False
        if n <= FEW_ROWS or not (named or (first and counts)):
            return None
        if not counts:
            whole = np.isfinite(values).all() and (values == np.floor(values)).all()
            large = whole and np.abs(values).max() > 2**53  # neighbours are one as float64
            if not whole or (len(np.unique(values)) < n and not large):
                return None
        what = "counts the rows" if counts else "an identifier, a number of each row's own"
        return Found("", f"{self.name}: {what}; left out, {self._way('numeric')} keeps it")

    def _sentinel(self, values: np.ndarray) -> str:
        known = values[np.isfinite(values)]
        if len(known) <= FEW_ROWS:
            return ""
        for value in (float(known.min()), float(known.max())):
            if value not in SENTINELS:
                continue
            others = known[known != value]
            n = len(known) - len(others)
            if not len(others) or (n < 2 and abs(value) < 999):
                continue
            low, high = float(others.min()), float(others.max())
            if max(low - value, value - high) > high - low:
                word = number_name(value)
                text = (
                    f"{word} in {counted(n, 'row')}, far from the others, {low:g} to {high:g}, is "
                    f'a number; if it means missing: missing_values=["{word}"] '
                    f"(--missing-values={word})"
                )
                if value < 0:  # a greatest number may be where counting ended
                    where = self.table.named(self.name)
                    warnings.warn(f"{where}: {text}", TableWarning, stacklevel=2)
                return f"{self.name}: {text}"
        return ""

    def _spelling(self, column: Words, decimal: str) -> str:
        """Of numbers that are not spelled as programs do."""
        word = column.spelled
        if not word and decimal == ",":  # 1.013 beside columns of decimal commas
            word = next((one for one in column.present if "." in one), "")
        if not word:
            return ""
        text = f'{self.name}: numbers such as "{word}", read as {number(word, decimal):g}'
        if len(column.decimals) > 1:
            text += "; a comma may also be " + (
                "between thousands" if decimal == "," else "before the fraction"
            )
        return text

    # Text

    def _refuse_slips(self, column: Words) -> None:
        """Text in few rows among numbers."""
        if slip := slips(column):
            row, word = slip
            raise TableError(
                f'{self.table.where(row, self.name)}: "{word}" is not a number, and nearly all of '
                f'the column is; correct it, or missing_values=["{word}"] '
                f'(--missing-values "{word}"), or {self._way("numeric")}, which takes text for '
                f"missing, or {self._way('categorical')}"
            )

    def _text(self, column: Words) -> Found:
        known = np.flatnonzero(~column.missing())
        n, n_words = len(known), len(column.present)
        if n_words <= FEW_WORDS or 2 * n_words <= n:
            return self._categories()
        word = column.words[column.codes[known[0]]]
        word = word if len(word) <= 40 else f"{word[:37]}..."
        text = f'{self.name}: text such as "{word}", {n_words:,} different in {n:,} rows'
        text += f"; left out, {self._way('categorical')} keeps it"
        n_texts = int(column.texts().sum())
        if 0 < n_texts < n_words / 2:
            text += f", {self._way('numeric')} its numbers"
        return Found("", text)

    def _codes(self, column: Words) -> Found:
        """Digits with zeros in front: names, not amounts."""
        found = self._text(column)
        note = found.note.replace(": text such as", ": codes such as", 1)
        if not note:
            word = next(word for word in column.present if word[0] == "0")
            note = f'{self.name}: codes such as "{word}" are categories'
        return replace(found, note=f"{note}; {self._way('numeric')} takes them for numbers")

    def _categories(self) -> Found:
        n, most = codes_of(self.column)[1], most_categories(len(self.rows), self.codes)
        if n <= most:
            return Found("categorical")
        text = f"{self.name}: {n:,} categories; the {most:,} commonest are known, others count as "
        return Found("categorical", f"{text}none of them; {self._way('drop')} leaves it out")


def is_identifier(name: str) -> bool:
    """Whether a column is called like one of numbers of rows, or of names of things."""
    return bool(_ID.match(name) or _CAMEL_ID.match(name))


def decimal_of(column: Column, comma: bool) -> str:
    """The sign before the fraction of a column's numbers; comma: of what may be either."""
    known = column.decimals
    return "," if "," in known and (comma or "." not in known) else "."


def slips(column: Column) -> tuple[int, str] | None:
    """The first row with text, and the text, of a column of numbers but for few rows."""
    if not isinstance(column, Words) or column.declared or column.decimals:
        return None
    words = column.words
    if len(words) > 10_000:  # of so many a part tells whether they are numbers at all
        part = Words(np.arange(1000), words[:: len(words) // 1000][:1000])
        if part.texts().mean() > 0.5:
            return None
    texts = column.texts()
    if are_padded([word for word, text in zip(words, texts, strict=True) if not text]):
        return None
    counts = np.bincount(column.codes, minlength=len(words))
    n_text = int(counts[texts].sum())
    numbers = [i for i, word in enumerate(words) if number_or_none(word) is not None]
    n = n_text + int(counts[numbers].sum())
    few = n > FEW_ROWS and 0 < n_text <= SLIPS * n
    if not few or (len(numbers) <= FEW_WORDS and counts[texts].max() > 2):
        return None
    row = int(np.argmax(texts[column.codes]))
    return row, words[column.codes[row]]
