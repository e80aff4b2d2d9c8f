"""Data files -> Table (columns by name: CSV, Parquet) or Arrays (X and y: NPZ, NPY).

Cells stay what the file holds; preprocess.py decides what they mean. Every complaint names the
file, the row and the column. Rows of a CSV count as editors and spreadsheets show them: the header
is row 1.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.cli.messages import BadUse, listed

#: Cells that mean "missing", whatever their case.
MISSING = frozenset({"", "?", "na", "n/a", "#n/a", "nan", "null", "none"})

BLOCK_CELLS = 1 << 18  # cells of a CSV held as Python strings at a time: some 15 megabytes
# Tables of so many columns are mostly numbers (pixels, spectra), which NumPy reads three to five
# times as fast as the csv module. (A class called 01 is called 1 there.)
WIDE = 64
# A column with more distinct words than this, all of them numbers, drops its strings and goes on
# as numbers: 8 bytes a cell where the strings took about 150.
DISTINCT_WORDS = 10_000


def number(word: str) -> float:
    """The number a cell holds, NaN where it is missing; ValueError where it is text."""
    if word.lower() in MISSING:
        return np.nan
    if "_" in word:  # float() reads 1_000
        raise ValueError(word)
    return float(word)


def number_name(value: float) -> str:
    """3.0 -> '3', 0.5 -> '0.5': how a number is called when it is a class or a category."""
    value = float(value)
    return str(int(value)) if value.is_integer() else repr(value)


@dataclass
class Numbers:
    """A column of numbers."""

    values: np.ndarray  # (n,) float64, NaN where missing

    def __len__(self) -> int:
        return len(self.values)

    def missing(self) -> np.ndarray:
        """(n,) bool."""
        return np.isnan(self.values)

    def first_text(self) -> tuple[int, str] | None:
        return None

    def numbers(self) -> np.ndarray:
        """(n,) float64, NaN where missing."""
        return self.values

    def coded(self) -> tuple[np.ndarray, list[str]]:
        """Codes (n,) into distinct words, and these ('' for missing)."""
        distinct, codes = np.unique(self.values, return_inverse=True)  # NaN last, once
        return codes, ["" if np.isnan(v) else number_name(v) for v in distinct]


@dataclass
class Words:
    """A column of words, be they numbers or not."""

    codes: np.ndarray  # (n,) int32, indices into words
    words: list[str]  # distinct; '' for missing

    @classmethod
    def clean(cls, codes: np.ndarray, raw: list[str]) -> Words:
        """Blanks and single quotes around a word are dropped; what then is the same is one word."""
        index: dict[str, int] = {}
        lookup = np.empty(len(raw), np.int32)
        for i, word in enumerate(raw):
            word = word.strip()
            if len(word) > 1 and word[0] == word[-1] == "'":
                word = word[1:-1].strip()
            if word.lower() in MISSING:
                word = ""
            lookup[i] = index.setdefault(word, len(index))
        return cls(lookup[codes], list(index))

    @classmethod
    def of(cls, cells: list[str]) -> Words:
        index: dict[str, int] = {}
        codes = [index.setdefault(cell, len(index)) for cell in cells]
        return cls.clean(np.array(codes, np.int32), list(index))

    def __len__(self) -> int:
        return len(self.codes)

    def missing(self) -> np.ndarray:
        """(n,) bool."""
        absent = self.words.index("") if "" in self.words else -1
        return np.equal(self.codes, absent)

    def texts(self) -> list[str]:
        """The distinct words that are no numbers."""
        return [word for word in self.words if not _is_number(word)]

    def first_text(self) -> tuple[int, str] | None:
        """The first row whose cell is no number, and the cell; None where all are."""
        is_text = np.array([not _is_number(word) for word in self.words])[self.codes]
        if not is_text.any():
            return None
        row = int(np.argmax(is_text))
        return row, self.words[self.codes[row]]

    def numbers(self) -> np.ndarray:
        """(n,) float64, NaN where missing; only where first_text() is None."""
        return np.array([number(word) for word in self.words], np.float64)[self.codes]

    def coded(self) -> tuple[np.ndarray, list[str]]:
        """Codes (n,) into distinct words, and these ('' for missing)."""
        return self.codes, self.words


Column = Numbers | Words


def _is_number(word: str) -> bool:
    try:
        number(word)
    except ValueError:
        return False
    return True


@dataclass
class Table:
    """Rows with named columns."""

    path: str
    columns: dict[str, Column]
    lines: np.ndarray | None = None  # (n,) line of each row in its file; None: rows from 1

    @property
    def n_rows(self) -> int:
        return len(next(iter(self.columns.values())))

    def where(self, row: int, name: str) -> str:
        line = row + 1 if self.lines is None else self.lines[row]
        return f'{self.path}, row {line}, column "{name}"'

    def column(self, name: str) -> Column:
        if name not in self.columns:
            raise BadUse(f'{self.path}: no column "{name}"; it has {listed(self.columns)}')
        return self.columns[name]


@dataclass
class Arrays:
    """X, samples as rows, and where there is one the target."""

    path: str
    X: np.ndarray  # (n, n_features), the dtype of the file
    shape: tuple[int, ...]  # of one sample in the file, such as (28, 28)
    y: Column | None = None
    x_name: str = "X"

    @property
    def n_rows(self) -> int:
        return len(self.X)

    def where(self, row: int, column: int | str) -> str:
        if isinstance(column, str):
            return f"{self.path}, {column}[{row}]"
        index = np.unravel_index(column, self.shape)
        return f"{self.path}, {self.x_name}[{', '.join(map(str, (row, *index)))}]"


@dataclass
class ReadOptions:
    """What the arguments say about how a file is to be read."""

    delimiter: str | None = None  # None: the commonest of , ; tab | in the first line
    header: bool = True
    x_name: str | None = None  # array of an NPZ; None: X, or the only one there is
    y_name: str | None = None  # None: the target is not wanted
    target_file: str | None = None  # y beside an NPY of X


def read(path: str, options: ReadOptions | None = None) -> Table | Arrays:
    """Read a data file; its name's end tells the format, and anything unknown is taken for CSV."""
    options = options or ReadOptions()
    suffix = Path(path).suffix.lower()
    try:
        if suffix in (".npz", ".npy"):
            return _read_arrays(path, suffix, options)
        if suffix in (".parquet", ".pq"):
            return _read_parquet(path)
        return _read_csv(path, options)
    except FileNotFoundError as error:
        raise BadUse(f"{error.filename or path}: no such file") from None
    except IsADirectoryError:
        raise BadUse(f"{path}: is a folder, not a data file") from None
    except PermissionError as error:
        raise BadUse(f"{error.filename or path}: no permission to read it") from None


# --- CSV


def _open_text(path: str) -> io.TextIOBase:
    stream = sys.stdin.buffer if path == "-" else _open_binary(path)
    return io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")


def _open_binary(path: str) -> Any:
    return gzip.open(path) if path.lower().endswith(".gz") else open(path, "rb")


def _read_csv(path: str, options: ReadOptions) -> Table:
    name = "standard input" if path == "-" else path
    with _open_text(path) as stream:
        try:
            return _parse_csv(name, stream, options)
        except UnicodeDecodeError as error:
            raise BadUse(f"{_not_utf8(name)}: must be UTF-8 text ({error.reason})") from None
        except (gzip.BadGzipFile, EOFError) as error:
            raise BadUse(f"{name}: not a whole gzip file ({error})") from None


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


def _parse_csv(path: str, stream: io.TextIOBase, options: ReadOptions) -> Table:
    first = stream.readline()
    if not first.strip():
        raise BadUse(f"{path}: the first line must name the columns, it is empty")
    delimiter = options.delimiter or max(",;\t|", key=first.count)
    reader = csv.reader(
        chain([first], stream), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    try:
        row = next(reader)
        names = _column_names(path, row, options.header)
        if len(names) >= WIDE and Path(path).is_file():
            table = _read_wide_numbers(path, names, delimiter, options.header)
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
                    raise BadUse(
                        f'{path}, row {lines[start + error.row]}, column "{column.name}": '
                        f'"{error.word}" is not a number, and all {start:,} rows before are'
                    ) from None
    except csv.Error as error:
        raise BadUse(f"{path}, row {reader.line_num}: {error}") from None
    if not lines:
        raise BadUse(f"{path}: no rows after the header")
    return Table(path, {c.name: c.finish() for c in columns}, np.array(lines))


def _read_wide_numbers(path: str, names: list[str], delimiter: str, header: bool) -> Table | None:
    """A CSV of nothing but numbers, by NumPy's reader; None where it holds anything else."""
    try:
        block = np.loadtxt(
            path,
            delimiter=delimiter,
            skiprows=int(header),
            comments=None,
            quotechar='"',
            encoding="utf-8-sig",
            ndmin=2,
        )
    except ValueError:  # text, a missing cell, a ragged row: the careful reader will tell
        return None
    if block.shape[1] != len(names) or not len(block):
        return None
    columns = np.ascontiguousarray(block.T)
    lines = np.arange(len(block)) + 1 + header
    return Table(path, {n: Numbers(c) for n, c in zip(names, columns, strict=True)}, lines)


def _column_names(path: str, row: list[str], header: bool) -> list[str]:
    if not header:
        return [f"column_{i}" for i in range(1, len(row) + 1)]
    names = [cell.strip() or f"column_{i}" for i, cell in enumerate(row, 1)]
    if all(_is_number(name) for name in names):
        raise BadUse(
            f"{path}: the first line must name the columns, it holds numbers: "
            f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''} (or give --no-header)"
        )
    for i, name in enumerate(names):
        if name in names[:i]:
            raise BadUse(f'{path}: two columns are called "{name}"')
    return names


def _whole_rows(path: str, reader, width: int, lines: list[int]) -> Iterator[list[str]]:
    """The rows that are not blank, and their lines; ragged ones are refused."""
    for row in reader:
        if len(row) != width:
            if not any(cell.strip() for cell in row) and len(row) <= 1:
                continue
            raise BadUse(
                f"{path}, row {reader.line_num}: must have {width} cells like the first line, "
                f"got {len(row)}"
            )
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
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise BadUse(f"{path}: Parquet needs pyarrow: pip install 'fastnn[parquet]'") from None
    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise BadUse(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None
    if not table.num_rows or not table.num_columns:
        raise BadUse(f"{path}: no rows")
    if len(set(table.column_names)) < table.num_columns:
        raise BadUse(f"{path}: two columns have the same name")
    return Table(
        path,
        {
            name: _parquet_column(f'{path}, column "{name}"', column)
            for name, column in zip(table.column_names, table.columns, strict=True)
        },
    )


def _parquet_column(where: str, column) -> Column:
    import pyarrow

    types = pyarrow.types
    kind = column.type
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        values = column.cast(pyarrow.float64(), safe=False).to_numpy()
        return Numbers(np.asarray(values, np.float64))
    if types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind):
        words = ["" if cell is None else str(cell) for cell in column.to_pylist()]
        return Words.of(words)
    raise BadUse(f"{where}: must hold numbers, text or booleans, it holds {kind}")


# --- NPZ and NPY


def _read_arrays(path: str, suffix: str, options: ReadOptions) -> Arrays:
    y = None
    if suffix == ".npy":
        x_name, X = options.x_name or "X", _load_npy(path)
        if options.target_file:
            y = _load_npy(options.target_file)
    else:
        x_name, X, y = _read_npz(path, options)
    if X.dtype.kind not in "buif":
        raise BadUse(f"{path}: {x_name} must hold real numbers, its dtype is {X.dtype}")
    if X.ndim < 2 or not X.size:
        raise BadUse(
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
        raise BadUse(
            f"{name} must have shape ({n_rows},), one target for each row of X, got {y.shape}"
        )
    if y.dtype.kind in "buif":
        return Numbers(y.astype(np.float64))
    if y.dtype.kind == "U":
        return Words.of(y.tolist())
    raise BadUse(f"{name} must hold numbers or text, its dtype is {y.dtype}")


_UNREADABLE = (ValueError, EOFError, zipfile.BadZipFile, KeyError)


def _unreadable(path: str, kind: str, error: Exception) -> BadUse:
    if "allow_pickle" in str(error):  # NumPy keeps objects as pickles, which may run code
        return BadUse(
            f"{path}: arrays must hold numbers or text, got Python objects; save them after "
            ".astype(float) or .astype(str)"
        )
    return BadUse(f"{path}: not a readable {kind} file ({error})")


def _load_npy(path: str) -> np.ndarray:
    try:
        with open(path, "rb") as stream:  # np.load leaves a broken file of its own open
            array = np.load(stream, allow_pickle=False)
    except _UNREADABLE as error:
        raise _unreadable(path, "NPY", error) from None
    if not isinstance(array, np.ndarray):
        raise BadUse(f"{path}: an NPZ file by content; name it .npz")
    return array


def _read_npz(path: str, options: ReadOptions) -> tuple[str, np.ndarray, np.ndarray | None]:
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
    raise BadUse(f'{path}: no array "{x_name}"; it has {listed(found)} (--x-name names another)')
