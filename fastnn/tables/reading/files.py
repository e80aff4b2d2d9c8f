"""Data files -> Table (columns by name: CSV, Parquet) or Arrays (X and y: NPZ, NPY).

Cells stay what the file holds; kinds.py and targets.py decide what they mean. Every complaint
names the file, the row and the column.
"""

from __future__ import annotations

import errno
import math
import os
import re
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np

from fastnn.checks import listed
from fastnn.errors import TableError, optional
from fastnn.tables.frames import as_table
from fastnn.tables.reading.delimited import PIECE, Options, read_csv
from fastnn.tables.reading.limits import check_unpacked
from fastnn.tables.table import Arrays, Column, Numbers, Table, Words


def read(
    path: str | PathLike[str],
    *,
    delimiter: str | None = None,
    header: bool = True,
    encoding: str | None = None,
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
        Between the cells of a CSV; by default the commonest of , ; tab | in the first line, or
        blanks, any number of which " " stands for.
    header : bool, default True
        Whether the first line of a CSV, blank ones and comments (#) aside, names the columns;
        otherwise column_1, column_2, ...
    encoding : str, optional
        Of a CSV, by Python's names; by default UTF-8, or UTF-16 where it looks so, or, with a
        `TableWarning`, Windows-1252 (Latin-1) where it is no UTF-8.
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

    Examples
    --------
    >>> from pathlib import Path
    >>> import fastnn
    >>> _ = Path("people.csv").write_text("age,town\\n31,Rome\\n47,Oslo\\n")
    >>> table = fastnn.tables.read("people.csv")
    >>> list(table.columns)
    ['age', 'town']
    """
    path = os.fspath(path)
    suffix = Path(path).suffix.lower()
    if suffix in (".npz", ".npy"):
        return _read_arrays(path, suffix, x_name, y_name, target_file)
    if suffix in (".parquet", ".pq"):
        return _read_parquet(path)
    return read_csv(path, Options(delimiter, header, encoding, words))


# --- Parquet


def _read_parquet(path: str) -> Table:
    pyarrow = optional("pyarrow", f"{path}: Parquet")
    parquet = optional("pyarrow.parquet", f"{path}: Parquet")
    if Path(path).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    with open(path, "rb") as stream:  # of a path alone pyarrow would also ask the network
        try:
            file = parquet.ParquetFile(stream)
            about = file.metadata
            n, groups = about.num_rows, range(about.num_row_groups)
            rows = [about.row_group(i).num_rows for i in groups]
            if sum(rows) != n or any(one < 0 for one in rows):  # memory is taken by their groups
                raise TableError(f"{path}: must have {n} rows, its groups have {sum(rows)}")
            check_unpacked(path, 8 * n * about.num_columns)
            arrow = file.read()
            arrow.validate(full=True)  # texts are UTF-8
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:  # of content, too
            raise TableError(f"{path}: not a Parquet file ({_line(error)})") from None
    if not arrow.num_rows or not arrow.num_columns:
        raise TableError(f"{path}: no rows")
    table = as_table(arrow, path)
    table.lines = None
    return table


# --- NPZ and NPY

HEADER_MAX = 10_000  # bytes: NumPy's limit
HEADER = re.compile(  # of keys in any order
    r"\{(?=.*'descr': *'([<>|=]?)(\w{1,10})')(?=.*'fortran_order': *(True|False))"
    r"(?=.*'shape': *\(([\d, ]*)\))[^{}]*\}\s*",
    re.ASCII,
)
DTYPES = {np.dtype(code).str[1:]: np.dtype(code) for code in "?bhilqBHILQefdgFDG"}


def _read_arrays(
    path: str, suffix: str, x_name: str | None, y_name: str | None, target_file: str | None
) -> Arrays:
    y = None
    if suffix == ".npy":
        x_name, X = x_name or "X", _load_npy(path)
        if target_file:
            y = _load_npy(target_file)
    else:
        x_name, X, y = _read_npz(path, x_name, y_name)
    if X.dtype.kind not in "buif":
        raise TableError(f"{path}: {x_name} must hold real numbers, its dtype is {X.dtype}")
    if X.ndim < 2 or not X.size:
        raise TableError(
            f"{path}: {x_name} must have shape (rows, features) or (rows, height, width, ...) "
            f"and not be empty, got {X.shape}"
        )
    arrays = Arrays(path, X.reshape(len(X), -1), X.shape[1:], x_name=x_name)
    if y is not None:
        name = target_file or f"{path}: {y_name}"
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


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


@contextmanager
def _whole(path: str, kind: str) -> Iterator[None]:
    """What is raised within, of whatever sort zipfile's, zlib's and NumPy's errors are, says that
    the file is not readable."""
    try:
        yield
    except TableError:
        raise
    except Exception as error:
        raise TableError(f"{path}: not a readable {kind} file ({_line(error)})") from None


def _array(stream: IO[bytes], size: int, path: str) -> np.ndarray:
    """The array in NPY's layout of `size` bytes; nothing is allocated or unpacked before they are
    known to be its own."""
    check_unpacked(path, size)
    dtype, by_columns, shape = _header(stream, path)
    n_bytes, there = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if n_bytes != there:
        raise TableError(f"{path}: an array of {n_bytes} bytes must be whole, got {there}")
    data = np.empty(n_bytes, np.uint8)
    begin = 0
    while piece := stream.read(min(PIECE, n_bytes - begin)):
        data[begin : begin + len(piece)] = np.frombuffer(piece, np.uint8)
        begin += len(piece)
    if begin != n_bytes:
        raise TableError(f"{path}: an array of {n_bytes} bytes must be whole, got {begin}")
    return data.view(dtype).reshape(shape, order="F" if by_columns else "C")


def _header(stream: IO[bytes], path: str) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    """dtype, whether columns come first, shape: a dict in Python, which is not parsed as Python."""
    begin = stream.read(8)
    if begin[:6] != b"\x93NUMPY":
        raise ValueError("no array of NumPy")
    n = int.from_bytes(stream.read(2 if begin[6] == 1 else 4), "little")
    found = HEADER.fullmatch(stream.read(min(n, HEADER_MAX)).decode("latin-1"))
    if not found:
        raise TableError(f"{path}: arrays must hold numbers or text, and their header say so")
    order, kind, by_columns, shape = found.groups()
    if kind == "O":  # which NumPy keeps as pickles, which may run code
        raise TableError(
            f"{path}: arrays must hold numbers or text, got Python objects; save them after "
            ".astype(float) or .astype(str)"
        )
    dtype = np.dtype((str, int(kind[1:]))) if kind[0] == "U" else DTYPES.get(kind)
    if dtype is None:
        raise TableError(f"{path}: arrays must hold numbers or text, their dtype is {kind}")
    sizes = tuple(int(size) for size in shape.split(",") if size.strip())
    if order == ">":
        dtype = dtype.newbyteorder(">")
    return dtype, by_columns == "True", sizes


def _load_npy(path: str) -> np.ndarray:
    with open(path, "rb") as stream, _whole(path, "NPY"):
        if zipfile.is_zipfile(stream):
            raise TableError(f"{path}: an NPZ file by content; name it .npz")
        stream.seek(0)
        return _array(stream, os.fstat(stream.fileno()).st_size, path)


def _read_npz(
    path: str, named: str | None, y_name: str | None
) -> tuple[str, np.ndarray, np.ndarray | None]:
    with open(path, "rb") as stream, _whole(path, "NPZ"), zipfile.ZipFile(stream) as file:
        names = {one.filename.removesuffix(".npy"): one for one in file.infolist()}

        def member(name: str) -> np.ndarray:
            with file.open(names[name]) as one:
                return _array(one, names[name].file_size, f"{path}: {name}")

        x_name = named or "X"
        if named is None and x_name not in names and len(names) == 1:
            x_name = next(iter(names))
        if x_name in names:
            y = None if y_name is None or y_name not in names else member(y_name)
            return x_name, member(x_name), y
        found = list(names)
    raise TableError(
        f'{path}: no array "{x_name}"; it has {listed(found)}; x_name= (--x-name) names another'
    )
