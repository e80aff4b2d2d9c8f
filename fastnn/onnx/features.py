"""Columns as people have them -> numbers, as fastnn.tables makes them; and amounts back.

number      float64, missing where NaN
text        string, missing where "" or another word for it
date, time  int64, microseconds since 1970, missing where the least int64: NumPy's datetime64[us]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.onnx.graph import Graph
from fastnn.tables.categories import Categorical, Ordered
from fastnn.tables.dates import DAY, HOUR, Dates
from fastnn.tables.inputs import ArrayInputs, PlainInputs, TableInputs
from fastnn.tables.numbers import Numeric
from fastnn.tables.targets import Amount
from fastnn.tables.words import MISSING, number_or_none

NEVER = np.iinfo(np.int64).min  # NaT
# Words for what is missing, as they are usually spelled.
SPELLED = dict.fromkeys(
    spelled
    for word in sorted(MISSING)
    for spelled in (word, word.upper(), word.capitalize())
) | dict.fromkeys(["NaN", "NaT"])


def features(graph: Graph, inputs: ArrayInputs | PlainInputs | TableInputs, arrays: str) -> str:
    """The graph's inputs, and what the network takes. arrays: dtype of an input that is an array.

    Columns of numbers alone are one input X.
    """
    assert not isinstance(inputs, PlainInputs)
    fill = inputs.missing != "refuse"
    if isinstance(inputs, ArrayInputs):
        x = graph.input("X", inputs.shape, arrays)
        if len(inputs.shape) > 1:
            x = graph.node("Flatten", x, axis=1)
        return _numbers(graph, x, _scaling_of(inputs), fill, arrays)
    words = inputs.missing_values
    numeric = [column for column in inputs.columns if isinstance(column, Numeric)]
    if len(numeric) == len(inputs.columns):
        x = _known(graph, graph.input("X", (len(numeric),), "float64"), words)
        scaling, order = _scaling_of_all(numeric)
        x = _numbers(graph, x, scaling, fill, "float64")
        if order == list(range(len(order))):
            return x
        return graph.node("Gather", x, graph.number("order", order, "int64"), axis=1)
    # Inputs before anything else: they have the columns' names.
    kinds = {Numeric: "float64", Dates: "int64"}
    came = [graph.input(c.name, (1,), kinds.get(type(c), "string")) for c in inputs.columns]
    parts = []
    for column, x in zip(inputs.columns, came, strict=True):
        if isinstance(column, Numeric):
            scaling, _ = _scaling_of_all([column])
            parts.append(_numbers(graph, _known(graph, x, words), scaling, fill, "float64"))
        elif isinstance(column, Dates):
            parts.append(_dates(graph, x, column))
        else:
            parts.append(CATEGORIES[type(column)](graph, x, column, words))
    return graph.node("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]


# --- numbers


@dataclass
class _Scaling:
    """Of columns side by side."""

    shift: Any
    scale: Any
    median: Any
    smooth: bool
    indicated: list[int]  # columns with a feature where they are missing
    floor: np.ndarray  # of those whose logarithms are scaled; others NaN


def _scaling_of(inputs: ArrayInputs) -> _Scaling:
    floor = np.full(len(inputs.scale), np.nan)
    floor[inputs.logged] = inputs.floors
    of = (inputs.shift, inputs.scale, inputs.median, inputs.smooth, inputs.indicated, floor)
    return _Scaling(*of)


def _scaling_of_all(columns: list[Numeric]) -> tuple[_Scaling, list[int]]:
    """And where each feature is among these columns' numbers and then their indicators."""
    shift, scale, median = (
        [getattr(c, name) for c in columns] for name in ("shift", "scale", "median")
    )
    indicated = [i for i, c in enumerate(columns) if c.indicator]
    order = []
    for i in range(len(columns)):
        order += [i, len(columns) + indicated.index(i)] if i in indicated else [i]
    floor = np.array([c.floor for c in columns], np.float64)  # None is NaN
    return _Scaling(shift, scale, median, columns[0].smooth, indicated, floor), order


def _known(graph: Graph, x: str, words: Sequence[str]) -> str:
    """x, NaN where it is a number that means missing."""
    for word in words:
        value = number_or_none(word)
        if value is not None:
            meant = graph.node("Equal", x, graph.number("missing", value, "float64"))
            x = graph.node("Where", meant, graph.number("nan", math.nan, "float64"), x)
    return x


def _numbers(graph: Graph, x: str, column: _Scaling, fill: bool, dtype: str) -> str:
    """As fastnn.tables.numbers makes them: (x - shift) / scale, missing numbers filled, in `dtype`;
    then of the model's; indicators last."""
    absent = median = ""
    if fill:
        median = graph.number("median", column.median, dtype)
        absent = graph.node("IsNaN", x)
    if not np.isnan(column.floor).all():
        of = ~np.isnan(column.floor)
        floor = graph.number("floor", np.where(of, column.floor, 1.0), dtype)
        logs = graph.node("Log", graph.node("Max", x, floor))
        x = graph.node("Where", graph.number("logged", of, "bool"), logs, x)
    if fill:
        x = graph.node("Where", absent, median, x)
    if np.any(column.shift):
        x = graph.node("Sub", x, graph.number("shift", column.shift, dtype))
    x = graph.node("Div", x, graph.number("scale", column.scale, dtype))
    if column.smooth:  # z / sqrt(1 + (z / 3)^2)
        x = graph.node("Clip", x, *(graph.number("far", far, dtype) for far in (-1e9, 1e9)))
        third = graph.node("Div", x, graph.number("three", 3.0, dtype))
        square = graph.node("Mul", third, third)
        size = graph.node("Add", square, graph.number("one", 1.0, dtype))
        x = graph.node("Div", x, graph.node("Sqrt", size))
    x = x if dtype == graph.dtype else graph.cast(x, graph.dtype)
    if not column.indicated:
        return x
    which = graph.number("indicated", column.indicated, "int64")
    flags = graph.cast(graph.node("Gather", absent, which, axis=1), graph.dtype)
    return graph.node("Concat", x, flags, axis=1)


# --- categories


def _categories(graph: Graph, x: str, column: Categorical, words: Sequence[str]) -> str:
    n, names = len(column.categories), column.categories
    if not column.codes:
        known: dict[str, Any] = {"cats_strings": names, "zeros": 1}
        if "" in names:  # which other words mean as well
            at = [*map(float, range(n))]
            codes = graph.number("codes", np.arange(n))
            x = _looked_up(graph, x, names, at, -1.0, graph.dtype, words)
            return graph.cast(graph.node("Equal", x, codes), graph.dtype)
        x = graph.node("OneHotEncoder", x, domain="ai.onnx.ml", **known)
        x = graph.node("Flatten", x, axis=1)
        return x if graph.dtype == "float32" else graph.cast(x, graph.dtype)
    values = [-1.0, 1.0] if column.signs else [*map(float, range(n))]
    other = 0.0 if column.signs else -1.0
    return _looked_up(graph, x, names, values, other, graph.dtype, words)


def _ordered(graph: Graph, x: str, column: Ordered, words: Sequence[str]) -> str:
    at = [*map(float, range(len(column.categories)))]
    x = _looked_up(graph, x, column.categories, at, math.nan, "float64")
    return _numbers(graph, x, _scaling_of_all([column.place])[0], True, "float64")


def _looked_up(
    graph: Graph,
    x: str,
    names: list[str],
    values: list[float],
    other: float,
    dtype: str,
    words: Sequence[str] = (),
) -> str:
    """The value of each name; words, and those that mean so anyway, are that of missing cells, if
    there is one."""
    if "" in names:
        more = [word for word in {**dict.fromkeys(words), **SPELLED} if word not in names]
        names, values = names + more, values + [values[names.index("")]] * len(more)
    table: dict[str, Any] = {"keys_strings": names, "values_floats": values}
    table["default_float"] = other
    x = graph.node("LabelEncoder", x, domain="ai.onnx.ml", **table)
    return x if dtype == "float32" else graph.cast(x, dtype)


CATEGORIES: dict[type, Callable[[Graph, str, Any, Sequence[str]], str]] = {
    Categorical: _categories,
    Ordered: _ordered,
}


# --- dates


def _dates(graph: Graph, t: str, column: Dates) -> str:
    """The parts of a date, and maybe whether it is missing."""
    absent = graph.node("Equal", t, graph.number("never", NEVER, "int64"))
    t = graph.node("Where", absent, graph.number("zero", 0, "int64"), t)
    moment = _Moment(graph, t)
    nan, parts = graph.number("nan", math.nan, "float64"), []
    for part in column.parts:
        x = graph.node("Where", absent, nan, moment.part(part.name))
        parts.append(_numbers(graph, x, _scaling_of_all([part])[0], True, "float64"))
    if column.indicator:
        parts.append(graph.cast(absent, graph.dtype))
    return graph.node("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]


class _Moment:
    """Parts of microseconds since 1970, as float64 (n, 1).

    Days become a date in integers, years beginning in March, so that the leap day is the last one.

    References
    ----------
    Hinnant (2013), "chrono-compatible low-level date algorithms", civil_from_days.
    """

    def __init__(self, graph: Graph, t: str) -> None:
        self._graph, self._t = graph, t
        self._days = self._whole(t, DAY)
        self._date: dict[str, str] = {}

    def part(self, name: str) -> str:
        graph = self._graph
        if name == "weekday":  # 1970 began on a Thursday
            return graph.cast(self._rest(self._with("Add", self._days, 3), 7), "float64")
        if name == "hour":
            hour = graph.cast(self._rest(self._t, DAY), "float64")
            return graph.node("Div", hour, graph.number("hour", HOUR, "float64"))
        if name == "elapsed":
            t = graph.cast(self._t, "float64")
            return graph.node("Div", t, graph.number("day", DAY, "float64"))
        self._date = self._date or self._civil()
        return graph.cast(self._date[name], "float64")

    def _civil(self) -> dict[str, str]:
        node, by = self._graph.node, self._with
        days = by("Add", self._days, 719_468)  # since the 1st of March of the year 0
        era, in_era = self._whole(days, 146_097), self._rest(days, 146_097)  # of 400 years
        leaps = node("Sub", by("Div", in_era, 36_524), by("Div", in_era, 1_460))
        leaps = node("Sub", leaps, by("Div", in_era, 146_096))
        year = by("Div", node("Add", in_era, leaps), 365)  # of the era, 0 to 399
        before = node("Add", by("Mul", year, 365), by("Div", year, 4))
        before = node("Sub", before, by("Div", year, 100))
        day = node("Sub", in_era, before)  # of the year, 0 to 365
        month = by("Div", by("Add", by("Mul", day, 5), 2), 153)  # 0 is March
        begins = by("Div", by("Add", by("Mul", month, 153), 2), 5)
        late = by("Less", month, 10)
        year = node("Add", year, by("Mul", era, 400))
        return {
            "day": by("Add", node("Sub", day, begins), 1),
            "month": node("Where", late, by("Add", month, 3), by("Add", month, -9)),
            "year": node("Where", late, year, by("Add", year, 1)),
        }

    def _with(self, op: str, x: str, n: int) -> str:
        """x op n; Div leaves the fraction out, toward 0."""
        return self._graph.node(op, x, self._graph.number("n", n, "int64"))

    def _rest(self, x: str, n: int) -> str:
        """x less the greatest multiple of n that is no greater."""
        return self._with("Mod", x, n)

    def _whole(self, x: str, n: int) -> str:
        return self._with("Div", self._graph.node("Sub", x, self._rest(x, n)), n)


# --- targets


def in_units(graph: Graph, f: str, amounts: Sequence[Amount], came: str, wanted: str) -> str:
    """What the network puts out as amounts in their units. came, wanted: dtypes."""
    if all((one.shift, one.scale, one.low, one.log) == (0, 1, None, False) for one in amounts):
        return f if came == wanted else graph.cast(f, wanted)
    scale, shift = ([getattr(one, n) for one in amounts] for n in ("scale", "shift"))
    f = f if came == "float64" else graph.cast(f, "float64")
    f = graph.node("Mul", f, graph.number("target_scale", scale, "float64"))
    f = graph.node("Add", f, graph.number("target_shift", shift, "float64"))
    if any(one.log for one in amounts):  # of estimators, which have one target
        smear = graph.number("smear", [one.smear for one in amounts], "float64")
        f = graph.node("Mul", graph.node("Exp", f), smear)
    if any(one.low is not None for one in amounts):
        low, high = ([getattr(one, n) for one in amounts] for n in ("low", "high"))
        f = graph.node("Max", f, graph.number("least", low, "float64"))
        f = graph.node("Min", f, graph.number("most", high, "float64"))
    return f if wanted == "float64" else graph.cast(f, wanted)
