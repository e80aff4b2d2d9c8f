"""Tables of pandas, polars and pyarrow, dicts of columns, lists of row dicts, arrays -> Table or
Arrays. Numbers are views of theirs where NumPy can look into them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np

from fastnn.checks import counted
from fastnn.errors import TableError
from fastnn.network.arrays import is_rows, is_table
from fastnn.tables.table import Arrays, Column, Moments, Numbers, Table, Words
from fastnn.tables.words import as_word, is_missing

NUMBERS = (int, float, np.number, Decimal)
NOTHING = ("NoneType", "NAType", "NaTType")  # types of missing cells


def all_names(X: Any) -> list[Any]:
    """The names of X's columns, whatever they are."""
    if hasattr(X, "collect") and not hasattr(X, "__len__"):
        raise TypeError(f"X must be a table that is there, X.collect(), got {type(X).__name__}")
    if is_rows(X):
        return list(dict.fromkeys(key for row in X if isinstance(row, Mapping) for key in row))
    if isinstance(X, Mapping):
        return list(X)
    return list(getattr(X, "column_names", X.columns))


def column_names(X: Any) -> list[str] | None:
    """The names of X's columns; None where it has none, or they are no text."""
    names = all_names(X) if is_table(X) else []
    return names if names and all(isinstance(name, str) for name in names) else None


def picked(X: Any, names: list[str]) -> Any:
    """These columns of X, in this order: of a library's table as one of the same kind."""
    if hasattr(X, "iloc"):
        return X[names]
    return X.select(names) if hasattr(X, "select") else as_table(X).select(names)


def as_matrix(X: Any) -> np.ndarray:
    """What has named columns, all of them numbers, as an array (n, n_columns)."""
    table = as_table(X)
    for name, column in table.columns.items():
        if text := column.first_text():
            raise TableError(f'{table.where(text[0], name)}: must be a number, got "{text[1]}"')
    return np.stack([column.numbers() for column in table.columns.values()], axis=1)


def as_table(X: Any, name: str = "X", wanted: Collection[str] | None = None) -> Table:
    """X, which has named columns, as a Table of all of them, or of those wanted that are there.

    name: what messages call it.
    """
    names = all_names(X)
    kept = [key for key in names if wanted is None or str(key) in wanted]
    if isinstance(X, Table):
        return X.select(kept)
    if len({str(key) for key in kept}) < len(kept):
        twice = next(key for key in kept if [*map(str, kept)].count(str(key)) > 1)
        raise TableError(f'{name}: two columns are called "{twice}"')
    cells: dict[Any, Any]
    if is_rows(X):
        for i, row in enumerate(X):
            if not isinstance(row, Mapping):
                raise TypeError(f"{name}[{i}] must be a dict like the first row, got {row!r:.50}")
        cells = {key: [row.get(key) for row in X] for key in kept}
    elif hasattr(X, "iloc"):
        place = {key: i for i, key in enumerate(names)}
        cells = {key: X.iloc[:, place[key]] for key in kept}
    else:
        cells = {key: X[key] for key in kept}
    if isinstance(X, Mapping):
        if any(isinstance(one, str) or not hasattr(one, "__len__") for one in cells.values()):
            raise TypeError(f"{name} must be a dict of columns; a single row goes into a list")
    columns = {str(key): as_column(f'{name}, column "{key}"', v) for key, v in cells.items()}
    if not columns:
        raise TableError(f"{name} must have columns, it has none")
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        told = ", ".join(f'"{key}" {len(column)}' for key, column in columns.items())
        raise TableError(f"{name}: columns must have as many rows as each other, got {told:.200}")
    if lengths == {0}:
        raise TableError(f"{name} must have at least one row, it has none")
    return Table(name, columns, range(lengths.pop()))


def as_targets(y: Any, names: list[str] | None = None) -> Table:
    """y as a Table: of a single column, of the columns of a table, or of an array (n, n_targets).

    names: what they are called, where y does not tell.
    """
    if isinstance(y, Table):
        return y
    if is_table(y):
        table = as_table(y, "y")
        table.path, table.indexed = "", True
        return table
    if getattr(y, "ndim", 1) == 2:
        columns = list(np.asarray(y).T)
        known = names or [f"y{k}" for k in range(1, len(columns) + 1)]
        if len(columns) == 1 and names is None:
            known = ["y"]
    else:
        columns, known = [y], names or [str(getattr(y, "name", None) or "y")]
    if len(columns) != len(known):
        raise TableError(
            f"y must have {counted(len(known), 'column')}, {', '.join(known)}, got {len(columns)}"
        )
    made = {n: as_column(n, one) for n, one in zip(known, columns, strict=True)}
    if not len(next(iter(made.values()))):
        raise TableError("y must have at least one row, it has none")
    return Table("", made, indexed=True)


def as_arrays(X: Any) -> Arrays:
    """An array (n, ...) of numbers, of which a row is a sample."""
    if hasattr(X, "toarray"):
        raise TypeError(f"X must be dense where its columns are learned, got {type(X).__name__}")
    if hasattr(X, "filled"):
        raise TypeError("X must not be a masked array; make its gaps NaN: X.filled(np.nan)")
    array = np.asarray(X)
    if array.dtype.kind not in "buif":
        raise TypeError(f"X must be real numbers, got dtype {array.dtype}")
    if array.ndim < 2 or not array.size:
        raise ValueError(f"X must have shape (n, features, ...), n > 0, got {array.shape}")
    return Arrays("", array.reshape(len(array), -1), array.shape[1:])


def as_column(where: str, values: Any) -> Column:
    """One column, by the library it comes from."""
    if isinstance(values, Column):
        return values
    library = type(values).__module__.partition(".")[0]
    made = {"pandas": _pandas, "polars": _polars, "pyarrow": _arrow}.get(library, _cells)
    try:
        column = made(values)
    except OverflowError as error:
        raise TableError(f"{where}: {error}") from None
    if column is None:
        kind = getattr(values, "type", getattr(values, "dtype", type(values).__name__))
        raise TableError(f"{where}: must hold numbers, text, booleans or dates, it holds {kind}")
    return column


def _cells(values: Any) -> Column | None:
    """An array, or a list of Python's own."""
    if not hasattr(values, "__array__"):
        if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
            return None
        return _objects(list(values))
    if hasattr(values, "filled"):
        return _objects(values.tolist())  # None where masked
    array = np.asarray(values)
    if array.ndim != 1:
        return None
    if array.dtype.kind in "iuf":
        return Numbers(array)
    if array.dtype.kind == "b":
        return _booleans(array)
    if array.dtype.kind in "mM":
        return _moments(array)
    if array.dtype.kind in "US":
        array = array.astype(str)
    elif array.dtype.kind != "O":
        return None
    return _objects(array.tolist())


def _real(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:  # an integer beyond all floats
        return float("inf") if number > 0 else -float("inf")


def _objects(cells: list[Any], **known: Any) -> Column | None:
    """Python objects: all numbers, or words."""
    kinds = {kind for kind in map(type, cells) if kind.__name__ not in NOTHING}
    reals = {kind for kind in kinds if issubclass(kind, NUMBERS) and kind is not bool}
    if kinds == reals and not known.get("declared"):
        return Numbers(np.array([np.nan if is_missing(c) else _real(c) for c in cells]))
    if kinds and all(issubclass(kind, (date, np.datetime64)) for kind in kinds):
        return Moments(np.array([_utc(cell) for cell in cells], "M8[us]"))
    if kinds == {time}:
        return Moments(np.array([_at(cell) for cell in cells], "M8[us]"))
    if not all(issubclass(kind, (str, np.bool_, *NUMBERS)) for kind in kinds):
        return None
    if reals and kinds != reals:  # True is not 1
        cells = [as_word(cell) for cell in cells]
    known.setdefault("typed", any(issubclass(kind, str) for kind in kinds))
    return Words.of(cells, **known)


def _utc(cell: Any) -> Any:
    if is_missing(cell):
        return np.datetime64("NaT", "us")
    if isinstance(cell, datetime) and cell.tzinfo is not None:
        return np.datetime64(cell.astimezone(UTC).replace(tzinfo=None), "us")
    return cell


def _at(cell: Any) -> Any:
    """A time of 1970-01-01."""
    if is_missing(cell):
        return np.datetime64("NaT", "us")
    return datetime.combine(date(1970, 1, 1), cell)


def _moments(values: np.ndarray) -> Column:
    """Dates and times, to the microsecond; durations as numbers of seconds."""
    kind, missing = values.dtype.kind, np.isnat(values)
    micro = values.astype(f"{kind}8[us]")
    second = f"{kind}8[s]"
    beyond = (micro.astype(second) != values.astype(second)) & ~missing
    if beyond.any():
        row, of = int(np.argmax(beyond)), " of 1970" if kind == "M" else ""
        raise OverflowError(f"must be within 290,000 years{of}, got {values[row]} in row {row}")
    if kind == "M":
        return Moments(micro)
    return Numbers(np.where(missing, np.nan, micro.astype(np.int64) / 1e6))


def _booleans(values: np.ndarray) -> Words:
    distinct, codes = np.unique(values, return_inverse=True)
    return Words(codes.astype(np.int32), [str(bool(value)) for value in distinct])


def _pandas(values: Any) -> Column | None:
    kind = values.dtype
    if kind.name == "category":
        codes = values.cat.codes if hasattr(values, "cat") else values.codes
        used, codes = np.unique(np.asarray(codes), return_inverse=True)
        categories = [None if code < 0 else values.dtype.categories[code] for code in used]
        words = [as_word(category) for category in categories]
        text = any(isinstance(category, str) for category in categories)
        order = [*map(as_word, values.dtype.categories)] if values.dtype.ordered else None
        how: dict[str, Any] = {"declared": True, "typed": text, "order": order}
        return Words.clean(codes.astype(np.int32), words, **how)
    if kind.kind in "iuf":  # of masked and Arrow-backed types, too
        if isinstance(kind, np.dtype):
            return Numbers(np.asarray(values))
        return Numbers(values.to_numpy(np.float64, na_value=np.nan))
    if kind.kind == "b" and not values.hasnans:
        return _booleans(values.to_numpy(bool))
    if kind.kind in "mM":
        aware = getattr(kind, "tz", None) is not None
        if kind.kind == "M" and not aware and not isinstance(kind, np.dtype):  # of pyarrow
            return _objects(values.to_numpy(object).tolist())
        values = values.dt.tz_convert(None) if aware and hasattr(values, "dt") else values
        return _moments(values.to_numpy())
    if kind.kind == "c":
        return None
    if kind.name.startswith("period"):  # when it began
        return _moments(values.dt.to_timestamp().to_numpy())
    return _objects(values.to_numpy(object).tolist())


def _polars(values: Any) -> Column | None:
    kind = values.dtype
    if kind.is_numeric():
        return Numbers((values.cast(float) if kind.is_decimal() else values).to_numpy())
    name = str(kind).partition("(")[0]
    if name in ("Date", "Datetime", "Duration"):
        return _moments(values.to_numpy())
    if name in ("String", "Boolean", "Null", "Object", "Categorical", "Enum", "Time"):
        order = list(kind.categories) if name == "Enum" else None
        declared = name in ("Categorical", "Enum")
        return _objects(values.to_list(), declared=declared, order=order)
    return None


def _arrow(values: Any) -> Column | None:
    import pyarrow

    types, kind = pyarrow.types, values.type
    declared, order = types.is_dictionary(kind), None
    if declared:
        if kind.ordered:
            parts = values.unify_dictionaries().chunks if hasattr(values, "chunks") else [values]
            order = [*map(as_word, parts[0].dictionary.to_pylist())] if parts else None
        values = values.cast(kind.value_type)
        kind = values.type
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        if values.null_count or types.is_decimal(kind):
            values = values.cast(pyarrow.float64(), safe=False)
        numbers = np.asarray(values)
        if declared:
            return _objects(numbers.tolist(), declared=True, order=order)
        return Numbers(numbers)
    if types.is_date(kind) or types.is_timestamp(kind) or types.is_duration(kind):
        return _moments(np.asarray(values))
    plain = ("string", "large_string", "string_view", "bool", "null")
    if types.is_time(kind) or str(kind) in plain:
        return _objects(values.to_pylist(), declared=declared, order=order)
    return None
