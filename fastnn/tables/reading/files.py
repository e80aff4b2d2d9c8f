"""Data files -> Table (columns by name: CSV, Parquet) or Arrays (X and y: NPZ, NPY).

Cells stay what the file holds; kinds.py and targets.py decide what they mean. Every complaint
names the file, the row and the column.
"""

from __future__ import annotations

import errno
import os
import zipfile
from collections.abc import Collection
from os import PathLike
from pathlib import Path

import numpy as np

from fastnn.checks import listed
from fastnn.errors import TableError, optional
from fastnn.tables.frames import as_table
from fastnn.tables.reading.delimited import Options, read_csv
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


def _read_npz(
    path: str, named: str | None, y_name: str | None
) -> tuple[str, np.ndarray, np.ndarray | None]:
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            x_name = named or "X"
            if named is None and x_name not in file.files and len(file.files) == 1:
                x_name = file.files[0]
            if x_name in file.files:
                return x_name, file[x_name], file[y_name] if y_name in file.files else None
            found = file.files
    except (*_UNREADABLE, AttributeError, TypeError) as error:  # a lone array is no archive
        raise _unreadable(path, "NPZ", error) from None
    raise TableError(
        f'{path}: no array "{x_name}"; it has {listed(found)}; x_name= (--x-name) names another'
    )
