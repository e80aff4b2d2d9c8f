"""Text files of rows and cells -> Table.

Cells stay what the file holds. Rows count as editors and spreadsheets show them: the header is
row 1. Large files of nothing unusual are read by pyarrow where it is installed, to the same cells.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import re
import sys
import warnings
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np

from fastnn.errors import TableError
from fastnn.tables.table import Column, Numbers, Table, TableWarning, Words
from fastnn.tables.words import MISSING, number_name, number_or_none

BLOCK_CELLS = 1 << 18  # cells held as Python strings at a time: some 15 megabytes
# Tables of so many columns are mostly numbers (pixels, spectra), which NumPy reads three to five
# times as fast as the csv module.
WIDE = 64
# A column with more distinct words than this, all of them numbers, drops its strings and goes on
# as numbers: 8 bytes a cell where the strings took about 150.
DISTINCT_WORDS = 10_000
ARROW_BYTES = 1 << 20  # files from this size on are worth pyarrow's import
HEAD = 50  # lines among which the header is sought
QUOTED = re.compile('"[^"]*"')  # in which delimiters are text
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass
class Options:
    """How a file is to be read."""

    delimiter: str | None = None
    header: bool = True
    encoding: str | None = None
    words: Collection[str] = ()  # columns whose cells are names, so that 01 is not 1


def read_csv(path: str, options: Options) -> Table:
    source = _Source(path)
    try:
        encoding = options.encoding or source.encoding()
        try:
            return _read(source, encoding, options)
        except UnicodeDecodeError as error:
            if options.encoding or encoding != "utf-8-sig" or not source.lasts:
                where, name = source.row(encoding), encoding.removesuffix("-sig")
                raise TableError(
                    f"{where}: must be {name} text ({error.reason}); encoding= (--encoding) names "
                    "another"
                ) from None
        warnings.warn(
            f"{source.row('utf-8')}: not UTF-8; the file is read as Windows-1252 (Latin-1), "
            "encoding= (--encoding) names another",
            TableWarning,
            stacklevel=2,
        )
        try:
            return _read(source, "cp1252", options)
        except UnicodeDecodeError:  # five of its bytes have no meaning
            return _read(source, "latin-1", options)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TableError(f"{source.name}: not a whole gzip file ({error})") from None


class _Source:
    """A file, all of standard input, or a pipe with a name."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = "standard input" if path == "-" else path
        self._data = sys.stdin.buffer.read() if path == "-" else b""

    @property
    def lasts(self) -> bool:
        """Whether it can be read more than once, which a pipe cannot."""
        return self.path == "-" or os.path.isfile(self.path)

    @property
    def is_plain(self) -> bool:
        """Whether it is a file as it lies on the disk."""
        return not self.path.lower().endswith(".gz") and os.path.isfile(self.path)

    def open(self) -> Any:
        if self.path == "-":
            return io.BytesIO(self._data)
        gzipped = self.path.lower().endswith(".gz")
        return gzip.open(self.path) if gzipped else open(self.path, "rb")

    def lines(self, encoding: str) -> io.TextIOBase:
        return io.TextIOWrapper(self.open(), encoding=encoding, newline="")

    def encoding(self) -> str:
        """As the first bytes tell."""
        if not self.lasts:
            return "utf-8-sig"
        with self.open() as stream:
            head = stream.read(4096)
        for mark, encoding in _BOMS:
            if head.startswith(mark):
                return encoding
        for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
            if zeros and zeros.count(0) > 0.9 * len(zeros):
                return encoding
        if b"\0" in head:
            what = "an Excel or other zip file" if head.startswith(b"PK") else "no text"
            raise TableError(f"{self.name}: must be text, delimited cells; it is {what}")
        return "utf-8-sig"

    def row(self, encoding: str) -> str:
        """The file and, where it can be read once more, the row that is not of the encoding."""
        if not self.lasts:
            return self.name
        with self.open() as stream:
            for row, line in enumerate(stream, 1):
                try:
                    line.decode(encoding)
                except UnicodeDecodeError:
                    return f"{self.name}, row {row}"
        return self.name


@dataclass
class _Head:
    """Where a file begins, and how."""

    skipped: int  # lines before the header, or before the first row
    lines: list[str]  # read so far, from there on
    delimiter: str


def _read(source: _Source, encoding: str, options: Options) -> Table:
    with source.lines(encoding) as stream:
        head = _head(source.name, stream, options)
        reader = _Reader(chain(head.lines, stream), head)
        try:
            first = next(reader)
            names = _column_names(source.name, first, options.header)
            if source.is_plain and encoding == "utf-8-sig" and head.delimiter != " ":
                table = _read_fast(source.path, head, names, reader.line, options)
                if table is not None:
                    return table
            return _parse(source.name, reader, first, names, options)
        except csv.Error as error:
            raise TableError(f"{source.name}, row {reader.line}: {error}") from None


def _head(path: str, stream: io.TextIOBase, options: Options) -> _Head:
    lines = list(islice(stream, HEAD))
    at = next((i for i, line in enumerate(lines) if line.strip()), None)
    if at is None:
        raise TableError(f"{path}: the first line must name the columns, it is empty")
    delimiter = options.delimiter
    if found := re.fullmatch(r'"?sep=(.)"?\s*', lines[at]):  # Excel's
        at, delimiter = at + 1, delimiter or found[1]
    first = at
    while at < len(lines) - 1 and (lines[at].startswith("#") or not lines[at].strip()):
        at += 1
    if at > first and options.header:
        above, row = lines[at - 1].lstrip("# "), lines[at]
        delimiter = delimiter or _delimiter(lines[at:])
        cells, titles = row.split(delimiter), above.split(delimiter)
        data = any(number_or_none(cell.strip()) is not None for cell in cells)
        if data and len(titles) == len(cells) and above.strip():  # the header is a comment
            at -= 1
            lines[at] = above
    if at >= len(lines):
        raise TableError(f"{path}: the first line must name the columns, there is none")
    return _Head(at, lines[at:], delimiter or _delimiter(lines[at:]))


def _delimiter(lines: list[str]) -> str:
    """The commonest in the first line; blanks where there is none, or tabs beside blanks that align
    the cells, and every line has as many cells between blanks."""
    first = QUOTED.sub("", lines[0])
    best = max(",;\t|", key=first.count)
    aligned = best == "\t" and all("  " in line for line in lines if line.strip())
    if best in first and not aligned:
        return best
    widths = {len(QUOTED.sub("q", line).split()) for line in lines if line.strip()}
    return " " if len(widths) == 1 and widths.pop() > 1 and len(lines) > 1 else best


class _Reader:
    """Rows of cells, and the line of the file that the last one ends in."""

    def __init__(self, lines: Iterator[str], head: _Head) -> None:
        if head.delimiter == " ":
            lines = (f"{line.strip()}\n".replace("\t", " ") for line in lines)
        self._reader = csv.reader(
            lines, delimiter=head.delimiter, skipinitialspace=True, strict=True
        )
        self._skipped = head.skipped

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        return next(self._reader)

    @property
    def line(self) -> int:
        return self._reader.line_num + self._skipped


def _column_names(path: str, row: list[str], header: bool) -> list[str]:
    if not header:
        return [f"column_{i}" for i in range(1, len(row) + 1)]
    names = [cell.strip() or f"column_{i}" for i, cell in enumerate(row, 1)]
    numbers = [name for name in names if number_or_none(name) is not None]
    told = f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"
    if len(numbers) == len(names):
        raise TableError(
            f"{path}: the first line must name the columns, it holds numbers: {told}; "
            "or header=False (--no-header)"
        )
    for i, name in enumerate(names):
        if name in names[:i]:
            hint = "" if name not in numbers else "; or header=False (--no-header)"
            raise TableError(f'{path}: two columns are called "{name}"{hint}')
    if len(numbers) > len(names) / 2:
        warnings.warn(
            f"{path}: the first line, {told}, looks like data; if it is: header=False "
            "(--no-header)",
            TableWarning,
            stacklevel=2,
        )
    return names


def _parse(
    path: str, reader: _Reader, first: list[str], names: list[str], options: Options
) -> Table:
    lines: list[int] = []
    rows = _whole_rows(path, reader, len(names), lines)
    if not options.header:
        lines.append(reader.line)
        rows = chain([first], rows)
    columns = [_CsvColumn(name) for name in names]
    while block := list(islice(rows, max(1, BLOCK_CELLS // len(names)))):
        for column, cells in zip(columns, zip(*block, strict=True), strict=True):
            column.extend(cells)
    if not lines:
        raise TableError(f"{path}: no rows after the header")
    return Table(path, {c.name: c.finish() for c in columns}, np.array(lines))


def _whole_rows(
    path: str, reader: _Reader, width: int, lines: list[int]
) -> Iterator[list[str]]:
    """The rows that are not blank, and their lines; ragged ones are refused. Rows of delimiters
    alone, as spreadsheets leave them at the end, are no rows there."""
    held: list[tuple[int, list[str]]] = []  # rows of delimiters alone
    for row in reader:
        blank = not (row and row[0].strip()) and not any(cell.strip() for cell in row)
        if len(row) != width:
            if blank and len(row) <= 1:
                continue
            raise TableError(
                f"{path}, row {reader.line}: must have {width} cells like the first line, "
                f"got {len(row)}"
            )
        if blank and width > 1:
            held.append((reader.line, row))
            continue
        if held:
            for line, one in held:
                lines.append(line)
                yield one
            held.clear()
        lines.append(reader.line)
        yield row


class _CsvColumn:
    """One column, block by block: codes of distinct words, or numbers once they are many."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.index: defaultdict[str, int] = defaultdict(int)  # word -> code
        self.index.default_factory = self.index.__len__  # a new word gets the next code
        self.blocks: list[np.ndarray] = []
        self.numeric = False
        self.texts: dict[int, str] = {}  # of a column of numbers, by row
        self.limit = DISTINCT_WORDS
        self.n_rows = 0

    def extend(self, cells: tuple[str, ...]) -> None:
        if self.numeric:
            values, texts = _numbers(cells)
            self.texts |= {self.n_rows + row: text for row, text in texts.items()}
            self.blocks.append(values)
        else:
            codes = map(self.index.__getitem__, cells)
            self.blocks.append(np.fromiter(codes, np.int32, len(cells)))
            if len(self.index) > self.limit:
                self._drop_words()
        self.n_rows += len(cells)

    def _drop_words(self) -> None:
        values, texts = _numbers(tuple(self.index))
        if texts:
            self.limit = sys.maxsize  # text it is
            return
        self.blocks = [values[block] for block in self.blocks]
        self.index.clear()
        self.numeric = True

    def finish(self) -> Column:
        cells = np.concatenate(self.blocks)
        if not self.numeric:
            return Words.clean(cells, list(self.index))
        if not self.texts:
            return Numbers(cells)
        distinct, codes = np.unique(cells, return_inverse=True)
        words = ["" if np.isnan(value) else number_name(value) for value in distinct]
        codes[[*self.texts]] = np.arange(len(self.texts)) + len(words)
        return Words.clean(codes.astype(np.int32), [*words, *self.texts.values()])


def _numbers(cells: tuple[str, ...]) -> tuple[np.ndarray, dict[int, str]]:
    """(n,) numbers, NaN where missing; and the cells that are neither, by their place."""
    values, texts = np.full(len(cells), np.nan), {}
    for i, cell in enumerate(cells):
        try:
            values[i] = float(cell)
        except ValueError:
            if cell.strip().lower() not in MISSING:
                texts[i] = cell
        else:
            if "_" in cell:  # float() reads 1_000
                values[i], texts[i] = np.nan, cell
    return values, texts


# --- Large and wide files


def _read_fast(
    path: str, head: _Head, names: list[str], line: int, options: Options
) -> Table | None:
    """The table by a faster reader, where it gives the same cells; line: where the header ends."""
    start = line if options.header else line - 1  # lines before the first row
    if len(names) >= WIDE:
        table = _read_wide_numbers(path, head.delimiter, names, start, options)
        if table is not None:
            return table
    if os.path.getsize(path) < ARROW_BYTES or start > head.skipped + 1:
        return None  # a header of several lines is the careful reader's
    return _read_by_arrow(path, head.delimiter, names, start, options)


def _read_wide_numbers(
    path: str, delimiter: str, names: list[str], start: int, options: Options
) -> Table | None:
    """A table of nothing but numbers, by NumPy's reader; None where it holds anything else."""
    how: dict[str, Any] = {"delimiter": delimiter, "skiprows": start, "comments": None}
    how |= {"quotechar": '"', "encoding": "utf-8-sig", "ndmin": 2}
    try:
        block = np.loadtxt(path, **how)
    except ValueError:  # text, a missing cell, a ragged row: the careful reader will tell
        return None
    if block.shape[1] != len(names) or not len(block):
        return None
    columns = np.ascontiguousarray(block.T)
    lines = range(start + 1, start + 1 + len(block))
    table: dict[str, Column] = {n: Numbers(c) for n, c in zip(names, columns, strict=True)}
    for name in options.words:
        if name in table:  # once more, as text
            cells = np.loadtxt(path, **how, usecols=names.index(name), dtype=str)
            table[name] = Words.of(cells[:, 0].tolist())
    return Table(path, table, lines)


def _read_by_arrow(
    path: str, delimiter: str, names: list[str], start: int, options: Options
) -> Table | None:
    """By pyarrow's reader, piece by piece; None where it is not installed, or might read a cell in
    another way. Numbers are numbers, everything else words."""
    if len(names) == 1:
        return None  # an empty line is an empty cell to it
    try:
        from pyarrow import ArrowException
    except ImportError:
        return None
    with open(path, "rb") as stream:
        for _ in range(start):
            stream.readline()
        try:
            reader = _Arrow(stream, delimiter, names, options)
            columns = reader.read()
        except ArrowException:  # ragged, no UTF-8, ...: the careful reader will tell
            return None
    n = reader.n_rows
    if columns is None or not n:
        return None
    if all(column.take(np.array([n - 1])).missing().all() for column in columns.values()):
        return None  # a row of delimiters alone
    return Table(path, columns, range(start + 1, start + 1 + n))


class _Arrow:
    """Reads a file in pieces of whole lines."""

    PIECE, BLOCK, SAMPLE = 1 << 23, 1 << 21, 1 << 18  # bytes; a piece's blocks are read in parallel

    def __init__(
        self, stream: Any, delimiter: str, names: list[str], options: Options
    ) -> None:
        import pyarrow
        from pyarrow import csv as arrow

        self._arrow, self._csv = pyarrow, arrow
        self._stream, self._begin, self._names = stream, stream.tell(), names
        self._size = os.fstat(stream.fileno()).st_size - self._begin
        self._reading = arrow.ReadOptions(column_names=names, block_size=self.BLOCK)
        self._parsing = arrow.ParseOptions(delimiter=delimiter)
        self._how = {
            "null_values": sorted({form(word) for word in MISSING for form in _CASES}),
            "strings_can_be_null": False,
            "true_values": [],
            "false_values": [],
        }
        self._text = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
        self._types = {name: self._text for name in names if name in options.words}
        self.n_rows = 0
        sample = self._parse(b"".join(map(self._lines_at, (0, self._size // 2, self._size))))
        for field in sample.schema:  # numbers in hexadecimal are none to a float64
            number = pyarrow.types.is_integer(field.type) or pyarrow.types.is_floating(field.type)
            self._types[field.name] = pyarrow.float64() if number else self._text

    def _lines_at(self, offset: int) -> bytes:
        self._stream.seek(self._begin + max(0, min(offset, self._size - self.SAMPLE)))
        if self._stream.tell() > self._begin:
            self._stream.readline()
        return b"".join(self._stream.readlines(self.SAMPLE)).rstrip(b"\r\n") + b"\n"

    def _parse(self, lines: bytes) -> Any:
        options = self._csv.ConvertOptions(column_types=self._types, **self._how)
        buffer = self._arrow.BufferReader(lines)
        return self._csv.read_csv(buffer, self._reading, self._parsing, options)

    def read(self) -> dict[str, Column] | None:
        """All columns; None where lines are empty, cells go over several, or a word may be
        quoted."""
        while True:
            try:
                return self._read()
            except self._arrow.ArrowException as error:  # text where the samples had none
                if not self._take_for_text(str(error)):
                    raise

    def _take_for_text(self, error: str) -> bool:
        """Whether an error tells of a column of numbers with text, which is words from now on."""
        found = re.match(r"In CSV column #(\d+): CSV conversion error", error)
        if found is None or self._types[self._names[int(found[1])]] == self._text:
            return False
        self._types[self._names[int(found[1])]] = self._text
        return True

    def _read(self) -> dict[str, Column] | None:
        self._stream.seek(self._begin)
        filling: list[_Words | _Floats] = []
        for name in self._names:
            filling.append(_Words() if self._types[name] == self._text else _Floats())
        self.n_rows = 0
        while piece := self._stream.read(self.PIECE):
            piece += self._stream.readline()
            if self._stream.tell() == self._begin + self._size:
                piece = piece.rstrip(b"\r\n") + b"\n"
                if len(piece) == 1:
                    break
            table = self._parse(piece)
            if table.num_rows != piece.count(b"\n"):
                return None
            if not self.n_rows:
                capacity = int(1.02 * table.num_rows * self._size / len(piece)) + 100
                for one in filling:
                    one.reserve(capacity)
            for one, column in zip(filling, table.columns, strict=True):
                for chunk in column.chunks:
                    one.add(chunk)
            self.n_rows += table.num_rows
        self._arrow.default_memory_pool().release_unused()
        made = [one.finish() for one in filling]
        if any(column is None for column in made):
            return None
        return dict(zip(self._names, made, strict=True))  # type: ignore[arg-type]


_CASES = (str, str.upper, str.title, str.capitalize, lambda word: "NaN" if word == "nan" else word)


class _Growing:
    """A column that is filled."""

    dtype: Any

    def reserve(self, n: int) -> None:
        self.n, self.values = 0, np.empty(n, self.dtype)  # memory is taken as it is written

    def put(self, values: np.ndarray) -> None:
        end = self.n + len(values)
        if end > len(self.values):
            more = np.empty(max(end, len(self.values) * 5 // 4), self.dtype)
            more[: self.n] = self.values[: self.n]
            self.values = more
        self.values[self.n : end] = values
        self.n = end


def _values(chunk: Any, dtype: Any) -> np.ndarray:
    """An array of pyarrow, which would import pandas to give it."""
    return np.frombuffer(chunk.buffers()[1], dtype)[chunk.offset : chunk.offset + len(chunk)]


class _Floats(_Growing):
    dtype = np.float64

    def add(self, chunk: Any) -> None:
        self.put(_values(chunk, np.float64))
        if chunk.null_count:
            bits = np.unpackbits(np.frombuffer(chunk.buffers()[0], np.uint8), bitorder="little")
            valid = bits[chunk.offset : chunk.offset + len(chunk)]
            self.values[self.n - len(chunk) : self.n][valid == 0] = np.nan

    def finish(self) -> Column:
        return Numbers(self.values[: self.n])


class _Words(_Growing):
    dtype = np.int32

    def __init__(self) -> None:
        self.index: defaultdict[str, int] = defaultdict(int)  # word -> code
        self.index.default_factory = self.index.__len__

    def add(self, chunk: Any) -> None:
        words = chunk.dictionary.to_pylist()
        codes = np.fromiter(map(self.index.__getitem__, words), np.int32, len(words))
        self.put(codes[_values(chunk.indices, np.int32)])

    def finish(self) -> Column | None:
        if any('"' in word for word in self.index):
            return None
        return Words.clean(self.values[: self.n], list(self.index))
