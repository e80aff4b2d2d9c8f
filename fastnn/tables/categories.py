"""Categories of a column as a network takes them.

one-hot     a feature for each category, 1 in its rows
codes       one feature: where it stands among the categories, -1 where nowhere; for a network that
            looks codes up (`fastnn.Categories`). Where there are two: -1 and 1, of others 0
ordered     one feature: its standardised place in an order that is known
missing     a category of its own, where training rows had it
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastnn.checks import counted, listed
from fastnn.errors import TableError
from fastnn.tables.cells import Rule
from fastnn.tables.described import made
from fastnn.tables.numbers import REFUSED, Numeric, without_defaults
from fastnn.tables.table import Column, Table, TableWarning, Words
from fastnn.tables.words import (
    MISSING,
    Places,
    are_booleans,
    names_of,
    places,
    sense,
    tidy,
    word_of,
    word_order,
)

ENCODINGS = ("one_hot", "codes")
MAX_CATEGORIES = 1000  # of a column; of more the commonest are known
# One-hot features of a column in all training rows: 256 MB of float32. Codes take one each.
MAX_CELLS = 1 << 26
FEW = 64  # so many categories are known however many rows there are


@dataclass
class Categorical:
    """A category: one feature each, or as codes one in all."""

    name: str
    categories: list[str]  # '' is the category of missing cells
    codes: bool = False
    some: bool = False  # of those in the training rows, the commonest

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
        counts = counted_names(table.column(name), rows)
        if missing == "refuse":  # encode refuses them, with their row
            counts.pop("", None)
        names, most = [*counts], most_categories(len(rows), codes)
        some = len(names) > most
        if some:
            names.sort(key=lambda word: (-counts[word], word_order(word)))
            del names[most:]
        return cls(name, sorted(names, key=word_order), codes, some)

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

    def rule(self, start: int, missing: str) -> Rule:
        """For single rows, its features being those from `start` on."""
        kind = "sign" if self.signs else "code" if self.codes else "one_hot"
        n = len(self.categories)
        return Rule(self.name, kind, start, *_places(self.categories, missing), n=n)

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.kind} | without_defaults(self)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Categorical:
        return made(cls, saved)


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

    @property
    def indicator(self) -> bool:
        return self.place.indicator

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
        strange = [
            word
            for word, at in zip(words, places(words, order), strict=True)
            if at < 0 and word.lower() not in MISSING
        ]
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

    def rule(self, start: int, missing: str) -> Rule:
        """For single rows, its features being those from `start` on."""
        how = _places(self.categories, missing)
        return Rule(self.name, "ordered", start, *how, **self.place.scaled())

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.kind, "categories": self.categories} | without_defaults(self.place)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Ordered:
        names = {"categories": saved.pop("categories")}
        return made(cls, names, place=Numeric.from_dict(saved))


def most_categories(n_rows: int, codes: bool) -> int:
    """How many categories of a column are known at most."""
    return MAX_CATEGORIES if codes else min(MAX_CATEGORIES, max(FEW, MAX_CELLS // n_rows))


def _places(names: list[str], missing: str) -> tuple[dict[str, int], Callable[[Any], int]]:
    """Where plain words stand among the names, which most are; and where the word of a cell alone
    does, as `located` says: -1 where nowhere, ValueError where it is missing and refused."""
    find = Places(names)

    def read(cell: Any) -> int:
        word = word_of(cell)
        if missing == "refuse" and word not in find.exact and word.lower() in MISSING:
            raise ValueError(REFUSED)
        return find(word)

    plain = {word: at for word, at in find.exact.items() if tidy(word) == word}
    return plain, read


def counted_names(column: Column, rows: np.ndarray) -> dict[str, int]:
    """The names of the categories in some of the rows, '' of missing cells, and how many rows each
    has. What says yes in several ways is one, as most rows say it; likewise no."""
    codes, words = column.coded()
    counts = np.bincount(codes[rows], minlength=len(words)).tolist()
    absent = column.absent if isinstance(column, Words) else [not word for word in words]
    total: Counter[str] = Counter()
    for word, count, nothing in zip(words, counts, absent, strict=True):
        if count:
            total["" if nothing else word] += count
    if are_booleans(total):
        for says in (True, False):
            alike = [word for word in total if word and sense(word) is says]
            best = min(alike, key=lambda word: (-total[word], word))
            total[best] = sum(total.pop(word) for word in alike)
    names = names_of(total)
    if len(names) < len(total):  # 1 and 1.0
        at = places(total, names)
        each = np.bincount(at, weights=[*total.values()], minlength=len(names))
        return dict(zip(names, map(int, each), strict=True))
    return total


def located(
    c: Categorical | Ordered, table: Table, missing: str, warn_unknown: bool
) -> np.ndarray:
    """(n,) where each row's word stands among the categories; -1 where nowhere, which is warned of
    unless the cell is missing and the categories are ordered."""
    word_codes, words = table.column(c.name).coded()
    at = places(words, c.categories)
    found: np.ndarray = at[word_codes]
    strange = at < 0
    if not strange.any() and missing != "refuse":
        return found
    absent = np.array([word not in c.categories and word.lower() in MISSING for word in words])
    if missing == "refuse" and absent.any():
        row = int(np.argmax(absent[word_codes]))
        raise TableError(f"{table.where(row, c.name)}: {REFUSED}")
    if isinstance(c, Ordered):
        strange &= ~absent
    if warn_unknown and strange.any() and not (isinstance(c, Categorical) and c.some):
        unknown = np.flatnonzero(strange[word_codes])  # each word is in some row
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
