"""Data files -> Table or Arrays.

    files        what the end of a name says: CSV, Parquet, NPZ, NPY
    delimited    text: its encoding, head, and rows, one after another by Python's csv module
    scan         the same of plain files, compiled
"""

from fastnn.tables.reading.files import read

__all__ = ["read"]
