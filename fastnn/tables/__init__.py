"""Tables: what a file or a frame holds, and what its columns mean to a network.

    read            a CSV, Parquet, NPZ or NPY file -> Table or Arrays
    learn           X and y of training rows -> Columns
    Columns         encode: rows -> numbers; decide: outputs -> classes or values

`fastnn.Model` with sizes left open, ``Model([None, 64, None])``, learns its columns in `fit`.
"""

from fastnn.errors import TableError
from fastnn.tables.columns import Columns, learn
from fastnn.tables.reading import read
from fastnn.tables.table import Arrays, Table, TableWarning

__all__ = [
    "Arrays",
    "Columns",
    "Table",
    "TableError",
    "TableWarning",
    "learn",
    "read",
]
