"""Data files -> Table (columns by name: CSV, Parquet) or Arrays (X and y: NPZ, NPY).

Cells stay what the file holds; inputs.py and targets.py decide what they mean. Every complaint
names the file, the row and the column. Rows of a CSV count as editors and spreadsheets show them:
the header is row 1.
"""

from __future__ import annotations

import csv
import errno
import gzip
import io
import os
import re
import sys
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.checks import listed
from fastnn.errors import TableError, optional
from fastnn.tables.frames import as_table
from fastnn.tables.table import Arrays, Column, Numbers, Table, Words, number, number_or_none

BLOCK_CELLS = 1 << 18  # cells of a CSV held as Python strings at a time: some 15 megabytes
# Tables of so many columns are mostly numbers (pixels, spectra), which NumPy reads three to five
# times as fast as the csv module.
WIDE = 64
# A column with more distinct words than this, all of them numbers, drops its strings and goes on
# as numbers: 8 bytes a cell where the strings took about 150.
DISTINCT_WORDS = 10_000
QUOTED = re.compile('"[^"]*"')  # in which delimiters are text


@dataclass
class Options:
    """How a file is to be read: what `read` was told."""

    delimiter: str | None
    header: bool
    x_name: str | None
    y_name: str | None
    target_file: str | None
    words: Collection[str]


def read(
    path: str | PathLike[str],
    *,
    delimiter: str | None = None,
    header: bool = True,
    x_name: str | None = None,
    y_name: str | None = None,
    target_file: str | None = None,
    words: Collection[str] = (),
) -> Table | Arrays:
    """Read a data file; its name's end tells the format, and anything unknown is taken for CSV.

    Parameters
    ----------
    path : path
        .csv (also .csv.gz, and "-" for standard input), .parquet, .npz or .npy.
    delimiter : str, optional
        Between the cells of a CSV; by default the commonest of , ; tab | in the first line.
    header : bool, default True
        Whether the first line of a CSV names the columns; otherwise column_1, column_2, ...
    x_name, y_name : str, optional
        Arrays of an NPZ: the inputs, by default X or the only one there is, and the target.
    target_file : path, optional
        An NPY with the target, where the inputs are an NPY.
    words : collection of str, default ()
        Columns whose cells are names, so that 01 is not 1.

    Returns
    -------
    Table or Arrays
        For `learn`, and for all methods of `fastnn.Model`.

    Raises
    ------
    TableError
        The file holds what no table can: its row and column.
    MissingExtraError
        pyarrow is not installed, which reads Parquet.
    OSError
        The file cannot be opened.
    """
    path = os.fspath(path)
    options = Options(delimiter, header, x_name, y_name, target_file, words)
    suffix = Path(path).suffix.lower()
    if suffix in (".npz", ".npy"):
        return _read_arrays(path, suffix, options)
    if suffix in (".parquet", ".pq"):
        return _read_parquet(path)
    return _read_csv(path, options)


# --- CSV


def _open_text(path: str) -> io.TextIOBase:
    stream = sys.stdin.buffer if path == "-" else _open_binary(path)
    return io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")


def _open_binary(path: str) -> Any:
    return gzip.open(path) if path.lower().endswith(".gz") else open(path, "rb")


def _read_csv(path: str, options: Options) -> Table:
    name = "standard input" if path == "-" else path
    with _open_text(path) as stream:
        try:
            return _parse_csv(name, stream, options)
        except UnicodeDecodeError as error:
            raise TableError(f"{_not_utf8(name)}: must be UTF-8 text ({error.reason})") from None
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise TableError(f"{name}: not a whole gzip file ({error})") from None


def _not_utf8(path: str) -> str:
    """The file and, where it can be read once more, the row that is no UTF-8."""
    if not Path(path).is_file():
        return path
    with _open_binary(path) as stream:
        for row, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return f"{path}, row {row}"
    return path


def _parse_csv(path: str, stream: io.TextIOBase, options: Options) -> Table:
    first = stream.readline()
    if not first.strip():
        raise TableError(f"{path}: the first line must name the columns, it is empty")
    delimiter = options.delimiter or max(",;\t|", key=QUOTED.sub("", first).count)
    reader = csv.reader(
        chain([first], stream), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    try:
        row = next(reader)
        names = _column_names(path, row, options.header)
        if len(names) >= WIDE and Path(path).is_file():
            table = _read_wide_numbers(path, names, delimiter, options)
            if table is not None:
                return table
        lines: list[int] = []
        rows = _whole_rows(path, reader, len(names), lines)
        if not options.header:
            lines.append(1)
            rows = chain([row], rows)
        columns = [_CsvColumn(name) for name in names]
        while block := list(islice(rows, max(1, BLOCK_CELLS // len(names)))):
            for column, cells in zip(columns, zip(*block, strict=True), strict=True):
                try:
                    column.extend(cells)
                except _NotANumber as error:
                    start = len(lines) - len(block)
                    raise TableError(
                        f'{path}, row {lines[start + error.row]}, column "{column.name}": '
                        f'"{error.word}" is not a number, and all {start:,} rows before are'
                    ) from None
    except csv.Error as error:
        raise TableError(f"{path}, row {reader.line_num}: {error}") from None
    if not lines:
        raise TableError(f"{path}: no rows after the header")
    return Table(path, {c.name: c.finish() for c in columns}, np.array(lines))


def _read_wide_numbers(
    path: str, names: list[str], delimiter: str, options: Options
) -> Table | None:
    """A CSV of nothing but numbers, by NumPy's reader; None where it holds anything else."""
    header = int(options.header)
    how: dict[str, Any] = {"delimiter": delimiter, "skiprows": header, "comments": None}
    how |= {"quotechar": '"', "encoding": "utf-8-sig", "ndmin": 2}
    try:
        block = np.loadtxt(path, **how)
    except ValueError:  # text, a missing cell, a ragged row: the careful reader will tell
        return None
    if block.shape[1] != len(names) or not len(block):
        return None
    columns = np.ascontiguousarray(block.T)
    lines = np.arange(len(block)) + 1 + header
    table: dict[str, Column] = {n: Numbers(c) for n, c in zip(names, columns, strict=True)}
    for name in options.words:
        if name in table:  # once more, as text
            cells = np.loadtxt(path, **how, usecols=names.index(name), dtype=str)
            table[name] = Words.of(cells[:, 0].tolist())
    return Table(path, table, lines)


def _column_names(path: str, row: list[str], header: bool) -> list[str]:
    if not header:
        return [f"column_{i}" for i in range(1, len(row) + 1)]
    names = [cell.strip() or f"column_{i}" for i, cell in enumerate(row, 1)]
    if all(number_or_none(name) is not None for name in names):
        raise TableError(
            f"{path}: the first line must name the columns, it holds numbers: "
            f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''}; "
            "or header=False (--no-header)"
        )
    for i, name in enumerate(names):
        if name in names[:i]:
            hint = "" if number_or_none(name) is None else "; or header=False (--no-header)"
            raise TableError(f'{path}: two columns are called "{name}"{hint}')
    return names


def _whole_rows(path: str, reader, width: int, lines: list[int]) -> Iterator[list[str]]:
    """The rows that are not blank, and their lines; ragged ones are refused. Rows of delimiters
    alone, as spreadsheets leave them at the end, are no rows there."""
    held: list[tuple[int, list[str]]] = []  # rows of delimiters alone
    for row in reader:
        blank = not (row and row[0].strip()) and not any(cell.strip() for cell in row)
        if len(row) != width:
            if blank and len(row) <= 1:
                continue
            raise TableError(
                f"{path}, row {reader.line_num}: must have {width} cells like the first line, "
                f"got {len(row)}"
            )
        if blank and width > 1:
            held.append((reader.line_num, row))
            continue
        if held:
            for line, one in held:
                lines.append(line)
                yield one
            held.clear()
        lines.append(reader.line_num)
        yield row


class _NotANumber(Exception):
    def __init__(self, row: int, word: str) -> None:
        self.row, self.word = row, word


class _CsvColumn:
    """One column, block by block: codes of distinct words, or numbers once they are many."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.index: defaultdict[str, int] = defaultdict(int)  # word -> code
        self.index.default_factory = self.index.__len__  # a new word gets the next code
        self.blocks: list[np.ndarray] = []
        self.numeric = False
        self.limit = DISTINCT_WORDS

    def extend(self, cells: tuple[str, ...]) -> None:
        if self.numeric:
            self.blocks.append(_numbers(cells))
            return
        codes = map(self.index.__getitem__, cells)
        self.blocks.append(np.fromiter(codes, np.int32, len(cells)))
        if len(self.index) > self.limit:
            try:
                table = _numbers(tuple(self.index))
            except _NotANumber:
                self.limit = sys.maxsize  # text it is
            else:
                self.blocks = [table[block] for block in self.blocks]
                self.index.clear()
                self.numeric = True

    def finish(self) -> Column:
        cells = np.concatenate(self.blocks)
        return Numbers(cells) if self.numeric else Words.clean(cells, list(self.index))


def _numbers(cells: tuple[str, ...]) -> np.ndarray:
    values = np.empty(len(cells))
    for i, cell in enumerate(cells):
        try:
            values[i] = number(cell.strip())
        except ValueError:
            raise _NotANumber(i, cell.strip()) from None
    return values


# --- Parquet


def _read_parquet(path: str) -> Table:
    pyarrow = optional("pyarrow", f"{path}: Parquet")
    parquet = optional("pyarrow.parquet", f"{path}: Parquet")
    if Path(path).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    try:
        arrow = parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise TableError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None
    if not arrow.num_rows or not arrow.num_columns:
        raise TableError(f"{path}: no rows")
    table = as_table(arrow, path)
    table.lines = None
    return table


# --- NPZ and NPY


def _read_arrays(path: str, suffix: str, options: Options) -> Arrays:
    y = None
    if suffix == ".npy":
        x_name, X = options.x_name or "X", _load_npy(path)
        if options.target_file:
            y = _load_npy(options.target_file)
    else:
        x_name, X, y = _read_npz(path, options)
    if X.dtype.kind not in "buif":
        raise TableError(f"{path}: {x_name} must hold real numbers, its dtype is {X.dtype}")
    if X.ndim < 2 or not X.size:
        raise TableError(
            f"{path}: {x_name} must have shape (rows, features) or (rows, height, width, ...) "
            f"and not be empty, got {X.shape}"
        )
    arrays = Arrays(path, X.reshape(len(X), -1), X.shape[1:], x_name=x_name)
    if y is not None:
        name = options.target_file or f"{path}: {options.y_name}"
        arrays.y = _target_column(name, y, len(X))
    return arrays


def _target_column(name: str, y: np.ndarray, n_rows: int) -> Column:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or len(y) != n_rows:
        raise TableError(
            f"{name} must have shape ({n_rows},), one target for each row of X, got {y.shape}"
        )
    if y.dtype.kind in "buif":
        return Numbers(y.astype(np.float64))
    if y.dtype.kind == "U":
        return Words.of(y.tolist())
    raise TableError(f"{name} must hold numbers or text, its dtype is {y.dtype}")


_UNREADABLE = (ValueError, EOFError, zipfile.BadZipFile, KeyError)


def _unreadable(path: str, kind: str, error: Exception) -> TableError:
    if "allow_pickle" in str(error):  # NumPy keeps objects as pickles, which may run code
        return TableError(
            f"{path}: arrays must hold numbers or text, got Python objects; save them after "
            ".astype(float) or .astype(str)"
        )
    return TableError(f"{path}: not a readable {kind} file ({error})")


def _load_npy(path: str) -> np.ndarray:
    try:
        with open(path, "rb") as stream:  # np.load leaves a broken file of its own open
            array = np.load(stream, allow_pickle=False)
    except _UNREADABLE as error:
        raise _unreadable(path, "NPY", error) from None
    if not isinstance(array, np.ndarray):
        raise TableError(f"{path}: an NPZ file by content; name it .npz")
    return array


def _read_npz(path: str, options: Options) -> tuple[str, np.ndarray, np.ndarray | None]:
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            x_name = options.x_name or "X"
            if options.x_name is None and x_name not in file.files and len(file.files) == 1:
                x_name = file.files[0]
            if x_name in file.files:
                y_name = options.y_name
                return x_name, file[x_name], file[y_name] if y_name in file.files else None
            found = file.files
    except (*_UNREADABLE, AttributeError, TypeError) as error:  # a lone array is no archive
        raise _unreadable(path, "NPZ", error) from None
    raise TableError(
        f'{path}: no array "{x_name}"; it has {listed(found)}; x_name= (--x-name) names another'
    )
