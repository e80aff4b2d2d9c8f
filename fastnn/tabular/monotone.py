"""Columns that answers rise or fall with: which they are, and the proof that networks obey.

What holds them is the sign of weights: `fastnn.Model(monotone=...)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastnn.checks import as_int, listed
from fastnn.network.bounds import derivative_bounds
from fastnn.network.spec import as_sign
from fastnn.predictor import Predictor
from fastnn.tables.categories import Ordered
from fastnn.tables.columns import Columns
from fastnn.tables.inputs import ArrayInputs, TableInputs
from fastnn.tables.numbers import Numeric
from fastnn.tables.table import Arrays, Table
from fastnn.tabular.data import place_names


def signs_of(monotone: Any, data: Table | Arrays, n_classes: int) -> dict[str, int]:
    """Columns by name, and 1 or -1, checked."""
    if monotone is None:
        return {}
    if not isinstance(monotone, Mapping):
        raise TypeError(f"monotone must be a dict of column: 1 or -1, got {monotone!r:.50}")
    names = place_names(data.X.shape[1]) if isinstance(data, Arrays) else list(data.columns)
    signs: dict[str, int] = {}
    for name, sign in monotone.items():
        if isinstance(data, Arrays) and not isinstance(name, str):
            name = f"x{as_int('columns of monotone', name, 0)}"
        if name not in names:
            raise ValueError(f"monotone must be of columns of X, {listed(names)}, got {name!r:.50}")
        signs[name] = as_sign(f'monotone of "{name}"', sign)
    signs = {name: sign for name, sign in signs.items() if sign}
    if signs and n_classes > 2:
        raise ValueError(
            f"monotone must come with amounts or two classes, of which the second rises: got "
            f"{n_classes} classes"
        )
    return signs


def held_features(columns: Columns, signs: dict[str, int]) -> dict[int, int]:
    """The features that are these columns' numbers, and their signs. The answer does not hang on
    columns that were left out."""
    inputs = columns.inputs
    if isinstance(inputs, ArrayInputs):
        return {int(name[1:]): sign for name, sign in signs.items()}
    assert isinstance(inputs, TableInputs)
    held: dict[int, int] = {}
    for column, at in inputs.features():
        if column.name not in signs:
            continue
        if not isinstance(column, (Numeric, Ordered)):
            raise ValueError(
                "columns of monotone must be numbers or ordered categories "
                f'(ordered={{"{column.name}": [...]}}, --ordered "{column.name}=..."), '
                f"got {column!s:.100}"
            )
        held[at.start] = signs[column.name]
    return held


def prove(members: list[Predictor], held: dict[int, int]) -> None:
    """The last output less the first of two, or the only one, changes as it must, everywhere."""
    for member in members if held else ():
        low, high = derivative_bounds(member._network, member._theta)
        if len(low) == 2:
            low, high = low[1:] - high[:1], high[1:] - low[:1]
        for feature, sign in held.items():
            if (low[0, feature] if sign > 0 else -high[0, feature]) < 0:
                raise RuntimeError(f"feature {feature} is not monotone: this is a bug of fastnn")
