"""Cells of text: which are missing, and which number, truth or moment a word tells.

number      1013, -0.5, 1e6; with a sign of currency or percent, thousands apart, a decimal comma:
            $1,013.00   12,5 %   1 013   1'013   (5.00)   5.00-   −3
sense       yes, Y, true, T, on, 1 and no, n, false, F, off, 0
moment      2020-01-31, 2020-01-31T13:45:10Z, 31.01.2020, 1/31/20 1:45 pm, 31 Jan 2020, 13:45
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np

#: Words that mean "missing" wherever they stand, whatever their case: nothing is called so.
NEVER = frozenset(
    {
        *("", "?", "nan", "-nan", "n/a", "#n/a", "#na", "n.a.", "null", "(null)", "<na>", "nat"),
        *("\\n", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!"),
        *("1.#qnan", "-1.#qnan", "1.#ind", "-1.#ind"),
    }
)
#: Words that mean so among numbers and dates. Text may be called so (Namibia's code is NA): there
#: they are categories like any other, but for NA beside words that are no codes of two letters.
PERHAPS = frozenset(
    {
        *("na", "none", "nil", "-", "--", "---", ".", "..", "...", "*", "missing", "unknown"),
        *("not available", "no data", "n.d.", "nd", "unk"),
    }
)
MISSING = NEVER | PERHAPS
TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
FALSE = frozenset({"false", "f", "no", "n", "off", "0"})
ALONE = (str, bool, np.bool_, int, float, np.integer, np.floating, Decimal)

_SYMBOLS = "$¢£¤¥€" + "".join(map(chr, range(0x20A0, 0x20C1)))
_CODES = "AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|INR|JPY|KRW|MXN|NOK|NZD|PLN|RUB|SEK|TRY|USD"
_UNIT = rf"(?:(?:R|US|A|C|HK|NZ)?[{_SYMBOLS}]|(?:{_CODES}|kr|zł|Fr)\.?)"
_BLANKS = " \u00a0\u2007\u2009\u202f"
_MINUS = "\u2212\u2013"  # as typesetters write it


def _pattern(decimal: str, thousands: str) -> Callable[[str], re.Match[str] | None]:
    grouped = rf"[1-9]\d{{0,2}}(?P<gap>[{thousands}{_BLANKS}'\u2019])\d{{3}}(?:(?P=gap)\d{{3}})*"
    digits = rf"(?:(?:{grouped}|\d+)(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?"
    around = rf"[{_BLANKS}]*"
    return re.compile(
        rf"(?P<below>\()?{around}(?P<sign>[+\-{_MINUS}])?{around}(?:{_UNIT}{around}"
        rf"(?P<late>[+\-{_MINUS}])?)?(?P<digits>{digits}){around}(?:%|{_UNIT})?{around}"
        rf"(?(below)\)|(?(sign)|(?P<last>-)?))"
    ).fullmatch


_NUMBERS = {".": _pattern(r"\.", ","), ",": _pattern(",", ".")}
_NO_DIGITS = re.compile(r"[^0-9eE.+\-]")


def number(word: str, decimal: str = ".") -> float:
    """The number a cell holds, NaN where it is missing; ValueError where it is text.

    decimal: the sign before a number's fraction, "." or ","; where it is a comma, what no comma can
    explain may have a point.
    """
    try:
        return _number(word, decimal)
    except ValueError:
        if decimal == ".":
            raise
        return _number(word, ".")


def _number(word: str, decimal: str) -> float:
    if decimal == "." or "." not in word:
        try:
            value = float(word)
        except ValueError:
            pass
        else:
            if "_" not in word:  # float() reads 1_000
                return value
    if word.lower() in MISSING:
        return np.nan
    found = _NUMBERS[decimal](word)
    if found is None:
        raise ValueError(word)
    digits = found["digits"].replace("." if decimal == "," else ",", "").replace(decimal, ".")
    value = float(_NO_DIGITS.sub("", digits))
    sign = found["sign"] or found["late"] or found["last"] or "+"
    below = bool(found["below"]) ^ (sign != "+")
    return -value if below else value


def number_or_none(word: str, decimal: str = ".") -> float | None:
    """None where a cell is text or missing."""
    try:
        value = number(word, decimal)
    except ValueError:
        return None
    return None if value != value else value


def is_plain(word: str) -> bool:
    """Whether a number is spelled as programs do."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def are_padded(words: Collection[str]) -> bool:
    """Whether words, those aside that mean that a cell is missing, are codes such as 00731: digits,
    as many in each, three at least, and some begin with 0."""
    known = [word for word in words if word.lower() not in MISSING]
    n = len(known[0]) if known else 0
    if n < 3 or not all(len(word) == n and word.isdecimal() for word in known):
        return False
    return any(word[0] == "0" for word in known)


def numbers_of(words: Sequence[str], decimal: str) -> np.ndarray | None:
    """(n,) numbers, NaN where missing; None where a word is text. Where the decimal sign is a comma
    a point is between thousands."""
    if decimal == ".":
        try:
            values = np.fromiter(map(float, words), np.float64, len(words))
        except ValueError:
            pass
        else:
            if not any("_" in word for word in words):
                return values
    try:
        return np.fromiter((_number(word, decimal) for word in words), np.float64, len(words))
    except ValueError:
        return None


def number_name(value: float) -> str:
    """3.0 -> '3', 0.5 -> '0.5': how a number is called when it is a class or a category."""
    value = float(value)
    return str(int(value)) if value.is_integer() else repr(value)


def sense(word: str) -> bool | None:
    """Whether a word says yes or no; None where neither."""
    word = word.casefold()
    if word in TRUE or word in FALSE:
        return word in TRUE
    value = number_or_none(word)
    return bool(value) if value in (0, 1) else None


def are_booleans(words: Collection[str]) -> bool:
    """Whether the words, '' aside, say yes and no, and some in another way than 0 and 1."""
    if len(words) > 4 * len(TRUE | FALSE):
        return False
    senses = {sense(word) for word in words if word}
    return senses == {True, False} and any(number_or_none(word) is None for word in words if word)


def is_missing(cell: Any) -> bool:
    """Of a cell that is a Python object."""
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or bool(cell != cell)


def as_word(cell: Any) -> str:
    """The word of a cell that is a Python object."""
    if is_missing(cell):
        return ""
    if isinstance(cell, (str, bool, np.bool_)) or not hasattr(cell, "__float__"):
        return str(cell)
    return number_name(cell)


def tidy(word: str) -> str:
    """A word without what is around it; '' where it can only mean that the cell is missing."""
    word = word.strip()
    if word[:2] == '="' and word[-1] == '"':  # as spreadsheets keep text that is digits
        word = word[2:-1]
    if len(word) > 1 and word[0] == word[-1] == "'":
        word = word[1:-1].strip()
    return "" if len(word) < 9 and word.lower() in NEVER else word


def word_of(cell: Any) -> str:
    """The word that a cell alone is in a table, '' where it is missing; ValueError of kinds of
    cells that a whole column must tell."""
    if cell is not None and (not isinstance(cell, ALONE) or isinstance(cell, np.timedelta64)):
        raise ValueError(f"{cell!r:.50}")
    return tidy(as_word(cell))


# --- names of categories and classes


def names_of(words: Iterable[str]) -> list[str]:
    """Distinct words as names of classes or categories: where all are numbers, "1" and "1.0" are
    one."""
    words = list(words)
    numbers = [number_or_none(word) for word in words if word]
    values = {value for value in numbers if value is not None}
    if None in numbers or len(values) == len(numbers):
        return words
    return [number_name(value) for value in values] + [""] * ("" in words)


class Places:
    """Where a word stands among names, which it equals as text, as a number, but for capital
    letters, or in saying yes or no; a word for what is missing also where '' stands; -1 where
    nowhere."""

    def __init__(self, names: Collection[str]) -> None:
        self.exact = {name: i for i, name in enumerate(names)}

    @cached_property
    def _alike(self) -> tuple[dict[float | None, int], dict[str, int], dict[bool | None, int]]:
        by_number: dict[float | None, int] = {}
        folded: dict[str, int] = {}
        for name, i in self.exact.items():
            value = number_or_none(name)
            if value is not None and (value not in by_number or name == number_name(value)):
                by_number[value] = i
            folded[name.casefold()] = -1 if name.casefold() in folded else i
        senses = {}
        if are_booleans(self.exact):
            senses = {sense(name): i for name, i in self.exact.items() if name}
        return by_number, folded, senses

    def __call__(self, word: str) -> int:
        i = self.exact.get(word, -1)
        if i >= 0 or not word:
            return i
        by_number, folded, senses = self._alike
        i = by_number.get(number_or_none(word), -1)
        i = folded.get(word.casefold(), -1) if i < 0 else i
        i = senses.get(sense(word), -1) if i < 0 else i
        return self.exact.get("", -1) if i < 0 and word.lower() in MISSING else i


def places(words: Collection[str], names: Collection[str]) -> np.ndarray:
    """`Places` of each word."""
    find = Places(names)
    found = np.array([find.exact.get(word, -1) for word in words], np.intp)
    if (found >= 0).all():
        return found
    return np.array([find(word) for word in words], np.intp)


def word_order(word: str) -> tuple[bool, float, str]:
    value = number_or_none(word) if word else -np.inf
    return (True, 0.0, word) if value is None else (False, value, word)


# --- moments

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            *("jan january", "feb february", "mar march", "apr april", "may", "jun june"),
            *("jul july", "aug august", "sep sept september", "oct october", "nov november"),
            "dec december",
        ),
        1,
    )
    for name in names.split()
}
_YEAR = r"(?P<y>\d{4}|\d\d)"
_MONTH = r"(?P<month>[a-z]{3,9})\.?"
_DATES = [
    re.compile(pattern, re.I).fullmatch
    for pattern in (
        r"(?P<y>\d{4})(?P<gap>[-/.])(?P<m>\d{1,2})(?:(?P=gap)(?P<d>\d{1,2}))?",
        r"(?P<y>(?:19|20)\d\d)(?P<m>\d\d)(?P<d>\d\d)",
        rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[-\s.]*{_MONTH}[-\s,]*{_YEAR}",
        rf"{_MONTH}\s*(?:(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?\s+)?-?(?P<y>\d{{4}})",
    )
]
_EITHER = re.compile(rf"(?P<a>\d{{1,2}})(?P<gap>[-/.])(?P<b>\d{{1,2}})(?P=gap){_YEAR}").fullmatch
_WEEKDAY = re.compile(r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+", re.I)
_CLOCK = re.compile(
    r"(?:^|(?<=\d)T|[\s,]+)(?P<H>\d{1,2}):(?P<M>\d\d)(?::(?P<S>\d\d)(?:[.,](?P<f>\d{1,9}))?)?"
    r"\s*(?:(?P<half>[ap])\.?m\.?)?\s*(?P<zone>z|utc|gmt|[+-]\d\d:?\d\d)?$",
    re.I,
)
is_iso = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?").fullmatch


def moments(words: Sequence[str], day_first: bool | None = None) -> tuple[np.ndarray, bool]:
    """(n,) datetime64[us] of words, UTC, NaT where missing; and whether the day comes first in
    1/2/2020, as given or as the words tell. ValueError where a word is no moment.

    A time without a date is one of 1970-01-01.
    """
    known = [word for word in words if word.lower() not in MISSING]
    if day_first is None:
        day_first = _day_first(known)
    if all(map(is_iso, known)):
        told: Any = np.array(known, "M8[us]")
    else:
        told = [_moment(word, day_first) for word in known]
    result = np.full(len(words), np.datetime64("NaT", "us"))
    result[[word.lower() not in MISSING for word in words]] = told
    return result, day_first


def _day_first(words: Sequence[str]) -> bool:
    if not words or is_iso(words[0]):
        return True
    found = [one for word in words if (one := _EITHER(_CLOCK.sub("", word).strip()))]
    if any(int(one["a"]) > 12 for one in found):
        return True
    return not any(int(one["b"]) > 12 or one["gap"] == "/" for one in found)


def _moment(word: str, day_first: bool) -> datetime:
    clock = _CLOCK.search(word)
    date = word[: clock.start()].strip() if clock else word.strip()
    day = _date(date, day_first) if date else datetime(1970, 1, 1)
    if clock is None:
        return day
    hour = int(clock["H"])
    if clock["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(word)
        hour = hour % 12 + 12 * (clock["half"].lower() == "p")
    micro = int(f"{clock['f'] or '0':0<6}"[:6])
    moment = day.replace(hour=hour, minute=int(clock["M"]), second=int(clock["S"] or 0))
    zone, ahead = clock["zone"] or "", timedelta()
    if zone[:1] in ("+", "-"):
        ahead = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
        ahead = -ahead if zone[0] == "-" else ahead
    return moment.replace(microsecond=micro) - ahead


def moment_of(cell: Any, day_first: bool) -> datetime | None:
    """The moment that a cell alone is in a table, None where it is missing; ValueError of other
    cells, and of those that a whole column must tell."""
    if isinstance(cell, date):
        if is_missing(cell):
            return None
        if not isinstance(cell, datetime):
            return datetime(cell.year, cell.month, cell.day)
        return cell if cell.tzinfo is None else cell.astimezone(UTC).replace(tzinfo=None)
    if isinstance(cell, time) and cell.tzinfo is None:
        return datetime.combine(date(1970, 1, 1), cell)
    word = word_of(cell)
    if word.lower() in MISSING:
        return None
    return datetime.fromisoformat(word) if is_iso(word) else _moment(word, day_first)


def _date(word: str, day_first: bool) -> datetime:
    word = _WEEKDAY.sub("", word, count=1)
    if found := _EITHER(word):
        if found["gap"] == "." and len(found["y"]) == 2:  # 1.2.10: a version, a section
            raise ValueError(word)
        day, month = (found["a"], found["b"]) if day_first else (found["b"], found["a"])
        return datetime(_year(found["y"]), int(month), int(day))
    for pattern in _DATES:
        if found := pattern(word):
            parts = found.groupdict()
            name = parts.get("month")
            month = parts["m"] if name is None else _MONTHS.get(name.lower(), 0)
            return datetime(_year(parts["y"]), int(month), int(parts["d"] or 1))
    raise ValueError(word)


def _year(digits: str) -> int:
    """Of two digits 69 to 99 are of the last century, as in POSIX."""
    year = int(digits)
    return year if len(digits) == 4 else year + (1900 if year >= 69 else 2000)
