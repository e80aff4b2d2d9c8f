"""Dates and times of a column as a network takes them: of the parts below those that vary in the
training rows, each scaled like a number.

year, month (1..12), day (1..31), weekday (Monday 0), hour (with its fraction)
elapsed     days since 1970, with their fraction
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import numpy as np

from fastnn.errors import TableError
from fastnn.tables.cells import Rule
from fastnn.tables.described import made
from fastnn.tables.numbers import REFUSED, Numeric
from fastnn.tables.table import Column, Moments, Numbers, Table, Words
from fastnn.tables.words import moment_of, moments, number_name

HOUR, DAY = 3_600_000_000, 86_400_000_000  # microseconds


def _calendar(unit: str, of: str) -> Callable[[np.ndarray], np.ndarray]:
    """How many of a unit (M8 code) have gone by in a longer one."""
    return lambda t: (t.astype(f"M8[{unit}]") - t.astype(f"M8[{of}]")).astype(np.int64)


PARTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "year": lambda t: t.astype("M8[Y]").astype(np.int64) + 1970,
    "month": lambda t: _calendar("M", "Y")(t) + 1,
    "day": lambda t: _calendar("D", "M")(t) + 1,
    "weekday": lambda t: (t.astype("M8[D]").astype(np.int64) + 3) % 7,  # 1970 began on a Thursday
    "hour": lambda t: t.astype(np.int64) % DAY / HOUR,
    "elapsed": lambda t: t.astype(np.int64) / DAY,
}


@dataclass
class Dates:
    """Dates, times, or both: a feature for each part, and maybe one that says where it is
    missing."""

    name: str
    parts: list[Numeric]  # their names are those of PARTS
    day_first: bool = True  # in 1/2/2020
    indicator: bool = False

    kind: ClassVar[str] = "dates"

    def __str__(self) -> str:
        parts = ", ".join(part.name for part in self.parts)
        return f"{self.name}: {parts}{', (missing)' if self.indicator else ''}"

    @property
    def width(self) -> int:
        return len(self.parts) + self.indicator

    @classmethod
    def fit(
        cls, table: Table, name: str, rows: np.ndarray, scaling: str, missing: str
    ) -> Dates:
        """From the training rows."""
        values, day_first = _moments(table, name, None)
        values = values[rows]
        absent = np.isnat(values)
        how = scaling if scaling in ("none", "robust") else "standard"
        made = cls(name, [], day_first, missing == "indicate" and bool(absent.any()))
        known = values[~absent]
        for part, take in PARTS.items():
            numbers = take(known).astype(np.float64)
            if np.ptp(numbers) == 0:
                continue
            if part == "elapsed" and [one.name for one in made.parts] == ["hour"]:
                continue  # all on one day: the same once more
            numeric = Numeric(part)
            numeric.fit(numbers, how, "impute")
            made.parts.append(numeric)
        return made

    def encode(self, table: Table, out: np.ndarray, missing: str, warn_unknown: bool) -> None:
        """The rows' features into out (n, width)."""
        values, _ = _moments(table, self.name, self.day_first)
        absent = np.isnat(values)
        if missing == "refuse" and absent.any():
            raise TableError(f"{table.where(int(np.argmax(absent)), self.name)}: {REFUSED}")
        values = np.where(absent, np.datetime64(0, "us"), values)
        for j, part in enumerate(self.parts):
            numbers = np.where(absent, np.nan, PARTS[part.name](values))
            part.take(out[:, j : j + 1], numbers, "impute", str)
        if self.indicator:
            out[:, -1] = absent

    def numbers(self, table: Table) -> np.ndarray:
        """(n,) where a cell stands in time, NaN where missing: of times alone the hour, otherwise
        the year, 2020.5 in the middle of 2020."""
        values, _ = _moments(table, self.name, self.day_first)
        absent = np.isnat(values)
        at = np.where(absent, np.datetime64(0, "us"), values)
        hours = [part.name for part in self.parts] == ["hour"]
        told = PARTS["hour"](at) if hours else 1970 + PARTS["elapsed"](at) / 365.2425
        return np.where(absent, np.nan, told)

    def rule(self, start: int, missing: str) -> Rule:
        """For single rows, its features being those from `start` on."""
        parts = [part.rule(start + j, missing) for j, part in enumerate(self.parts)]
        how: dict[str, Any] = {"parts": parts, "indicator": self.indicator}
        return Rule(self.name, "date", start, None, self._read, **how)

    def _read(self, cell: Any) -> datetime | None:
        return moment_of(cell, self.day_first)

    def to_dict(self) -> dict[str, Any]:
        saved = {
            "type": self.kind,
            "name": self.name,
            "parts": [part.to_dict() for part in self.parts],
            "day_first": self.day_first,
        }
        return saved | ({"indicator": True} if self.indicator else {})

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Dates:
        parts = [
            Numeric.from_dict({k: v for k, v in part.items() if k != "type"})
            for part in saved.pop("parts")
        ]
        if any(part.name not in PARTS or part.width > 1 for part in parts):
            raise ValueError(f"parts must be of {', '.join(PARTS)}, and plain")
        return made(cls, saved, parts=parts)


def _moments(table: Table, name: str, day_first: bool | None) -> tuple[np.ndarray, bool]:
    """(n,) datetime64[us] of a column, and whether days come before months, as given or found.
    Numbers are dates as in 20200131."""
    column = table.column(name)
    try:
        return _moments_of(column, day_first)
    except ValueError:
        row, word = _first_other(column, day_first)
        where = table.where(row, name)
        raise TableError(f'{where}: must be a date or time, got "{word}"') from None


def _moments_of(column: Column, day_first: bool | None) -> tuple[np.ndarray, bool]:
    if isinstance(column, Moments):
        return column.values, bool(day_first)
    if isinstance(column, Words) and column.moments and day_first in (None, column.moments[1]):
        return column.moments[0][column.codes], column.moments[1]
    if isinstance(column, Numbers):
        values, codes = np.unique(column.values, return_inverse=True)
        words = ["" if np.isnan(value) else number_name(value) for value in values]
    else:
        codes, words = column.coded()
    found, day_first = moments(words, day_first)
    return found[codes], day_first


def _first_other(column: Column, day_first: bool | None) -> tuple[int, str]:
    """The first row whose cell is no moment, and the cell."""
    codes, words = column.coded()
    bad = np.zeros(len(words), bool)
    for i, word in enumerate(words):
        try:
            moments([word], day_first)
        except ValueError:
            bad[i] = True
    row = int(np.argmax(bad[codes]))
    return row, words[codes[row]]
