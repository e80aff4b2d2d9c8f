"""Text files of rows and cells -> Table.

Cells stay what the file holds. Rows count as editors and spreadsheets show them: the header is
row 1. What is nothing unusual is read by compiled code, to the same cells.
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

from fastnn.checks import counted
from fastnn.errors import TableError
from fastnn.tables.reading.limits import Unpacking
from fastnn.tables.reading.scan import Scan
from fastnn.tables.table import Column, Moments, Numbers, Table, TableWarning, Words
from fastnn.tables.words import (
    MISSING,
    are_padded,
    is_iso,
    moments,
    number_name,
    number_or_none,
)

BLOCK_CELLS = 1 << 18  # cells held as Python strings at a time: some 15 megabytes
# A column with more distinct words than this, all of them numbers, drops its strings and goes on
# as numbers: 8 bytes a cell where the strings took about 150.
DISTINCT_WORDS = 10_000
PIECE, SLACK = 1 << 20, 8  # bytes that are scanned at a time, and what must lie behind them
HEAD = 50  # lines among which the header is sought
MARKUP = {
    "JSON": re.compile(r'\s*(\[\s*)?\{\s*("[^"]*"\s*:|$)'),
    "HTML or XML": re.compile(r"\s*<(\?xml|!doctype|html|table)\b", re.I),
    "ARFF": re.compile(r"\s*@relation\b", re.I),
}
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
    def is_gzipped(self) -> bool:
        return self.path.lower().endswith(".gz")

    @property
    def size(self) -> int:
        """Bytes, 0 where they cannot be told."""
        if self.path == "-":
            return len(self._data)
        return 0 if self.is_gzipped else os.path.getsize(self.path)

    def open(self) -> Any:
        if self.path == "-":
            return io.BytesIO(self._data)
        if self.is_gzipped:
            return io.BufferedReader(Unpacking(self.path), PIECE)
        return open(self.path, "rb")

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
        decoder, row = codecs.getincrementaldecoder(encoding)(), 1
        with self.open() as stream:
            try:
                for line in stream:  # which in UTF-16 ends within a character
                    row += decoder.decode(line).count("\n")
            except UnicodeDecodeError as error:
                row += error.object[: error.start].decode(error.encoding).count("\n")
        return f"{self.name}, row {row}"


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
            if encoding == "utf-8-sig":
                table = _scanned(source, head, names, reader.line, options)
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
    for kind, begins in MARKUP.items():
        if begins.match(lines[at]):
            raise TableError(f"{path}: must be text, delimited cells; it is {kind}")
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
    columns = [_Column(name in options.words) for name in names]
    while block := list(islice(rows, max(1, BLOCK_CELLS // len(names)))):
        for column, cells in zip(columns, zip(*block, strict=True), strict=True):
            column.extend(cells)
    if not lines:
        raise TableError(f"{path}: no rows after the header")
    made = {name: one.finish() for name, one in zip(names, columns, strict=True)}
    return Table(path, made, np.array(lines))


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
            hint = "; is that a title above the header?" if width == 1 else ""
            raise TableError(
                f"{path}, row {reader.line}: must have {counted(width, 'cell')} like the first "
                f"line, got {len(row)}{hint}"
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


class _Column:
    """One column, block by block: codes of distinct words, or numbers once they are many."""

    def __init__(self, named: bool) -> None:
        self.index: defaultdict[str, int] = defaultdict(int)  # word -> code
        self.index.default_factory = self.index.__len__  # a new word gets the next code
        self.blocks: list[np.ndarray] = []
        self.numeric = False
        self.texts: dict[int, str] = {}  # of a column of numbers, by row
        self.limit = _most_words(named)
        self.n_rows = 0

    def extend(self, cells: tuple[str, ...]) -> None:
        if self.numeric:
            numbers = [_number(cell) for cell in cells]
            texts = {i: cells[i] for i, value in enumerate(numbers) if value is None}
            self.texts |= {self.n_rows + row: text for row, text in texts.items()}
            self.blocks.append(np.array(numbers, np.float64))  # None is NaN
        else:
            codes = map(self.index.__getitem__, cells)
            self.blocks.append(np.fromiter(codes, np.int32, len(cells)))
            if len(self.index) > self.limit:
                self._drop_words()
        self.n_rows += len(cells)

    def _drop_words(self) -> None:
        values = _numbers([*self.index])
        if values is None:
            self.limit = sys.maxsize  # text it is
            return
        self.blocks = [values[block] for block in self.blocks]
        self.index.clear()
        self.numeric = True

    def finish(self) -> Column:
        words = None if self.numeric else [*self.index]
        return _column(np.concatenate(self.blocks), words, self.texts)


def _most_words(named: bool) -> int:
    """How many words a column may have before it is asked whether all are numbers."""
    return sys.maxsize if named else DISTINCT_WORDS


def _number(cell: str) -> float | None:
    """A cell as programs write numbers, NaN where it is missing; None of text."""
    try:
        value = float(cell)
    except ValueError:
        return np.nan if cell.strip().lower() in MISSING else None
    return None if "_" in cell else value  # float() reads 1_000


def _numbers(words: list[str]) -> np.ndarray | None:
    """(n,) numbers, NaN where missing; None where a word is text, or all are codes as 00731."""
    values = [_number(word) for word in words]
    if None in values or are_padded(words):
        return None
    return np.array(values, np.float64)


def _numbers_or_moments(words: list[str]) -> np.ndarray | None:
    values = _numbers(words)
    if values is None and is_iso(words[0]):
        try:
            return moments([word.strip() for word in words])[0]
        except ValueError:
            return None
    return values


def _column(cells: np.ndarray, words: list[str] | None, texts: dict[int, str]) -> Column:
    """Of codes of words, or of moments, or of numbers with some texts among them, by row."""
    if words is not None:
        return Words.clean(cells, words, distinct=True)
    if cells.dtype.kind == "M":
        return Moments(cells)
    if not texts:
        return Numbers(cells)
    others = np.delete(np.arange(len(cells)), [*texts])
    distinct, found = np.unique(cells[others], return_inverse=True)
    words = ["" if np.isnan(value) else number_name(value) for value in distinct]
    codes = np.empty(len(cells), np.int32)
    codes[others], codes[[*texts]] = found, np.arange(len(texts)) + len(words)
    return Words.clean(codes, [*words, *texts.values()])


def _scanned(
    source: _Source, head: _Head, names: list[str], line: int, options: Options
) -> Table | None:
    """The table by compiled code; None where something is unusual. line: where the header ends."""
    delimiter = head.delimiter.encode()
    if not source.lasts or len(delimiter) > 1 or delimiter in b' \r\n"\0':
        return None
    start = line if options.header else line - 1  # lines before the first row
    if start > head.skipped + 1:
        return None  # a header, or a first row, of several lines
    limits = [_most_words(name in options.words) for name in names]
    scan = Scan(delimiter, limits, source.size, _numbers_or_moments, _number)
    buffer = bytearray(PIECE + SLACK)
    kept = 0
    with source.open() as stream:
        for _ in range(start):
            stream.readline()
        if not start and stream.read(3) != codecs.BOM_UTF8:
            stream.seek(0)
        try:
            while n := stream.readinto(memoryview(buffer)[kept:PIECE]):
                end = buffer.rfind(b"\n", 0, kept + n) + 1
                if not scan.feed(buffer, end):
                    return None
                kept += n - end
                buffer[:kept] = buffer[end : end + kept]
                if kept == PIECE:
                    return None  # a line, or a cell of many
            buffer[kept : kept + 1] = b"\n"
            if kept and not scan.feed(buffer, kept + 1):
                return None
            found = scan.finish()
        except UnicodeDecodeError:
            return None
    if not scan.n_rows:
        return None
    columns = {name: _column(*one) for name, one in zip(names, found, strict=True)}
    last = np.array([scan.n_rows - 1])
    if len(names) > 1 and all(column.take(last).missing().all() for column in columns.values()):
        return None  # a row of delimiters alone, maybe
    return Table(source.name, columns, range(start + 1, start + 1 + scan.n_rows))
