"""Categories of a column as a network takes them.

one-hot     a feature for each category, 1 in its rows
codes       one feature: where it stands among the categories, -1 where nowhere; for a network that
            looks codes up (`fastnn.Categories`). Where there are two: -1 and 1, of others 0
ordered     one feature: its standardised place in an order that is known
missing     a category of its own, where training rows had it
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastnn.checks import counted, listed
from fastnn.errors import TableError
from fastnn.tables.cells import Rule
from fastnn.tables.numbers import REFUSED, Numeric, without_defaults
from fastnn.tables.table import Column, Table, TableWarning, number_name, number_or_none

ENCODINGS = ("one_hot", "codes")
MAX_CATEGORIES = 1000  # more distinct words than this are no categories: names, dates, free text


@dataclass
class Categorical:
    """A category: one feature each, or as codes one in all."""

    name: str
    categories: list[str]  # '' is the category of missing cells
    codes: bool = False

    kind: ClassVar[str] = "categorical"

    def __str__(self) -> str:
        return f"{self.name}: {listed((name or '(missing)' for name in self.categories), 6)}"

    @property
    def width(self) -> int:
        return 1 if self.codes else len(self.categories)

    @property
    def signs(self) -> bool:
        """Whether its feature is -1 or 1."""
        return self.codes and len(self.categories) == 2

    @classmethod
    def fit(
        cls, table: Table, name: str, rows: np.ndarray, missing: str, codes: bool = False
    ) -> Categorical:
        """From the training rows."""
        column = table.column(name)
        n_words = len(column.coded()[1])
        if n_words > MAX_CATEGORIES + 1:
            raise TableError(
                f"{table.named(name)}: {n_words:,} different values are too many for "
                f"categories (limit {MAX_CATEGORIES:,})"
            )
        present = names_of(words_of(column, rows))
        if missing == "refuse":  # encode refuses them, with their row
            present = [word for word in present if word]
        return cls(name, sorted(present, key=word_order), codes)

    def encode(self, table: Table, out: np.ndarray, missing: str, warn_unknown: bool) -> None:
        """The rows' features into out (n, width), which holds zeros."""
        found = located(self, table, missing, warn_unknown)
        if self.signs:
            out[:, 0] = np.array([-1, 1, 0])[found]  # unknown is -1: the last
        elif self.codes:
            out[:, 0] = found
        else:
            known = np.flatnonzero(found >= 0)
            out[known, found[known]] = 1

    def rule(self, start: int) -> Rule:
        """For single rows, its features being those from `start` on."""
        kind = "sign" if self.signs else "code" if self.codes else "one_hot"
        return Rule(self.name, kind, start, _index(self.categories))

    def to_dict(self) -> dict:
        return {"type": self.kind} | without_defaults(self)

    @classmethod
    def from_dict(cls, saved: dict) -> Categorical:
        return cls(**saved)


@dataclass
class Ordered:
    """Categories in an order: the place of each, as a number."""

    place: Numeric
    categories: list[str]

    kind: ClassVar[str] = "ordered"

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def width(self) -> int:
        return self.place.width

    def __str__(self) -> str:
        return f"{self.name}: {' < '.join(self.categories)}"

    @classmethod
    def fit(
        cls, table: Table, name: str, rows: np.ndarray, order: list[str], scaling: str, missing: str
    ) -> Ordered:
        """From the training rows."""
        ordered = cls(Numeric(name), order)
        if len(set(order)) < len(order) or "" in order:
            raise TableError(
                f"{table.named(name)}: an order must name each category once, got {listed(order)}"
            )
        codes, words = table.column(name).coded()
        strange = [word for word in words if word and places([word], order)[0] < 0]
        if strange:
            raise TableError(
                f"{table.named(name)}: its order must name every category, {listed(order)} "
                f"lacks {listed(strange, 3)}"
            )
        at = places(words, order)[codes[rows]]
        how = scaling if scaling in ("none", "robust") else "standard"
        filled = "impute" if missing == "refuse" else missing  # unknown ones become the median
        ordered.place.fit(np.where(at < 0, np.nan, at), how, filled)
        return ordered

    def encode(self, table: Table, out: np.ndarray, missing: str, warn_unknown: bool) -> None:
        """The rows' features into out (n, width); what is unknown counts as missing."""
        found = located(self, table, missing, warn_unknown)
        places = np.where(found < 0, np.nan, found.astype(np.float64))
        if missing == "refuse":
            missing = "impute"  # `located` has refused what is missing; the rest is unknown
        self.place.take(out, places, missing, lambda row: table.where(row, self.name))

    def rule(self, start: int) -> Rule:
        """For single rows, its features being those from `start` on."""
        return Rule(self.name, "ordered", start, _index(self.categories), **self.place.scaled())

    def to_dict(self) -> dict:
        return {"type": self.kind, "categories": self.categories} | without_defaults(self.place)

    @classmethod
    def from_dict(cls, saved: dict) -> Ordered:
        categories = saved.pop("categories")
        return cls(Numeric(**saved), categories)


def _index(names: list[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}


def words_of(column: Column, rows: np.ndarray) -> list[str]:
    """The distinct words that some of the rows hold."""
    codes, words = column.coded()
    return [words[code] for code in np.unique(codes[rows])]


def located(
    c: Categorical | Ordered, table: Table, missing: str, warn_unknown: bool
) -> np.ndarray:
    """(n,) where each row's word stands among the categories; -1 where nowhere, which is warned of
    unless the cell is missing and the categories are ordered."""
    word_codes, words = table.column(c.name).coded()
    if missing == "refuse" and "" in words:
        row = int(np.argmax(word_codes == words.index("")))
        raise TableError(f"{table.where(row, c.name)}: {REFUSED}")
    at = places(words, c.categories)
    found = at[word_codes]
    if warn_unknown and (at < 0).any():
        strange = at < 0
        if isinstance(c, Ordered) and "" in words:
            strange[words.index("")] = False
        unknown = np.flatnonzero(strange[word_codes])
        if len(unknown):
            row = int(unknown[0])
            word = words[word_codes[row]] or "(missing)"
            warnings.warn(
                f'{table.where(row, c.name)}: "{word}" is unknown to the model; '
                f"{counted(len(unknown), 'row')} of {len(found):,} with unknown categories here, "
                "taken as none of the known",
                TableWarning,
                stacklevel=2,
            )
    return found


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
    place = _index(names)
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


def word_order(word: str) -> tuple[bool, float, str]:
    value = number_or_none(word) if word else -np.inf
    return (True, 0.0, word) if value is None else (False, value, word)
