"""Streams of training data from files, for `Model.fit`."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.checks import as_int
from fastnn.errors import optional

__all__ = ["ArrowStream"]

FORMATS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".feather": "feather"}


class ArrowStream:
    """Rows of a Parquet, CSV or Feather file, or of a folder of them, in blocks (X, y).

    Each pass reads the files again, in the order of their names and rows, a block at a time.

    Parameters
    ----------
    path : path
        A file, or a folder, whose files are of one kind.
    target : str
        The column that is y.
    columns : list of str, optional
        Those that are X; by default all but the target, in the files' order. Text among them is for
        a `Model` with ``columns=``, as `fastnn.tables.learn` learns them from some rows.
    batch_rows : int, default 65536
        Rows of a block at most; where a file or a row group ends, a block ends too.
    format : {"parquet", "csv", "feather"}, optional
        By default what the file's, or the folder's first file's, name ends in.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.

    Examples
    --------
    >>> import pyarrow
    >>> from pathlib import Path
    >>> import fastnn
    >>> _ = Path("rows.csv").write_text("a,b,y\\n0.5,1.5,0\\n1.5,0.5,1\\n")
    >>> stream = fastnn.data.ArrowStream("rows.csv", target="y")
    >>> len(fastnn.Model([2, 4, 2], seed=0).fit(stream, epochs=5).loss)
    5
    """

    def __init__(
        self,
        path: str | PathLike[str],
        target: str,
        *,
        columns: list[str] | None = None,
        batch_rows: int = 65536,
        format: str | None = None,
    ) -> None:
        datasets = optional("pyarrow.dataset", "ArrowStream")
        self.batch_rows: int = as_int("batch_rows", batch_rows, 1)
        self.target = target
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(f"{path} must be a file or a folder")
        kind = format or _format(path)
        self._dataset: Any = datasets.dataset(path, format=kind)
        names = self._dataset.schema.names
        others: list[str] = [name for name in names if name != target]
        self.columns: list[str] = others if columns is None else list(columns)
        missing = [name for name in (*self.columns, target) if name not in names]
        if missing:
            raise ValueError(
                f"{path} must have the column {missing[0]!r}, got {', '.join(map(repr, names))}"
            )
        if not self.columns:
            raise ValueError(f"{path} must have a column beside {target!r}")

    def __iter__(self) -> Iterator[tuple[Any, np.ndarray]]:
        wanted = [*self.columns, self.target]
        for batch in self._dataset.to_batches(columns=wanted, batch_size=self.batch_rows):
            if batch.num_rows:
                X = batch.select(self.columns)
                yield X, np.asarray(batch.column(batch.schema.get_field_index(self.target)))


def _format(path: Path) -> str:
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        if not file.name.startswith((".", "_")):
            if file.suffix.lower() in FORMATS:
                return FORMATS[file.suffix.lower()]
            break
    raise ValueError(
        f"{path}: the format must be given where names end in none of {', '.join(FORMATS)}"
    )
