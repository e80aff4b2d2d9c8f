"""What makes a measured score better than the truth: columns that tell the target, and held-out
rows that training rows give away."""

from __future__ import annotations

import numpy as np

from fastnn.checks import counted
from fastnn.tables.kinds import FEW_ROWS, is_identifier
from fastnn.tables.table import Column, Numbers, Table, codes_of

SAMPLE = 10_000  # rows that are looked at first
FINE = 100  # different values of a column by which rows are told from each other
SAME = 1 - 1e-9  # correlation from which a number is another in other units


def tell_the_target(X: Table, y: Table) -> list[str]:
    """The columns each of which determines a target one to one, in rows enough to prove it."""
    if X.n_rows <= FEW_ROWS:
        return []
    rows = np.arange(0, X.n_rows, max(1, X.n_rows // SAMPLE))
    found = []
    for name, column in X.columns.items():
        for target in y.columns.values():
            few = column.take(rows), target.take(rows)
            if _one_to_one(*few) and _one_to_one(column, target):
                found.append(name)
                break
    return found


def _one_to_one(a: Column, b: Column) -> bool:
    if a.decimals and b.decimals and not (a.declared or b.declared):
        x, y = a.numbers(a.decimals[0]), b.numbers(b.decimals[0])
        known = np.isfinite(x) & np.isfinite(y)
        if known.all() and np.ptp(x) > 0 and np.ptp(y) > 0:
            x, y = x - x.mean(), y - y.mean()
            with np.errstate(over="ignore", invalid="ignore"):
                if abs(x @ y) >= SAME * np.sqrt((x @ x) * (y @ y)) > 0:
                    return True
    (codes, n), (labels, n_labels) = codes_of(a), codes_of(b)
    if n != n_labels or not 1 < n <= len(codes) / 2:
        return False
    return len(np.unique(codes.astype(np.int64) * n_labels + labels)) == n


def repeated_rows(X: Table, rows: np.ndarray, held_out: np.ndarray) -> int:
    """How many of the held-out rows equal a training row in every column."""
    mixed = np.zeros(X.n_rows, np.uint64)
    for i, column in enumerate(X.columns.values()):
        mixed = _mix(mixed ^ _hashes(column) ^ np.uint64(i))
    return int(np.isin(mixed[held_out], mixed[rows]).sum())


def _hashes(column: Column) -> np.ndarray:
    """(n,) uint64: equal cells alike."""
    if isinstance(column, Numbers):
        values = column.numbers() + 0.0  # -0.0 is 0.0
        return np.where(np.isnan(values), 0.5, values).view(np.uint64)
    return codes_of(column)[0].astype(np.uint64)


def _mix(x: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed


def _is_fine(column: Column) -> bool:
    """Whether a column's values are so many that rows rarely agree by chance."""
    return codes_of(column.take(np.arange(min(len(column), SAMPLE))))[1] > FINE


def shared_groups(X: Table, rows: np.ndarray, held_out: np.ndarray) -> list[str]:
    """Columns that name groups of rows (patients, customers), some on both sides of the split."""
    found = []
    for name, column in X.columns.items():
        if not is_identifier(name) or X.n_rows <= FEW_ROWS:
            continue
        codes, n = codes_of(column)
        if 2 * n > X.n_rows or n <= FEW_ROWS:
            continue  # one row each, or a kind of row rather than a group
        if np.isin(codes[held_out], codes[rows]).any():
            found.append(name)
    return found


def leak_notes(X: Table, rows: np.ndarray, held_out: np.ndarray) -> list[str]:
    """A line for each way in which training rows give held-out ones away."""
    if not len(held_out):
        return []
    notes = []
    n = repeated_rows(X, rows, held_out)
    if n > 0.01 * len(held_out) and n > 4 and any(_is_fine(c) for c in X.columns.values()):
        notes.append(
            f"{n:,} of {counted(len(held_out), 'held-out row')} equal a training row in every "
            "column: what is measured on them is too good"
        )
    for name in shared_groups(X, rows, held_out):
        notes.append(
            f"{name}: held-out rows share it with training rows: for rows of a new {name} the "
            "score will be lower; measure on a file of others"
        )
    return notes
