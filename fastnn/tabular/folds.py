"""Folds: which rows a member is measured on and not trained on; the same for the same seed."""

from __future__ import annotations

import numpy as np

from fastnn.random import FOLDS, permutation

Fold = tuple[np.ndarray, np.ndarray]  # rows trained on and rows held out, both ascending


def folds(
    n_rows: int, n_folds: int, seed: int, labels: np.ndarray | None = None, repeat: int = 0
) -> list[Fold]:
    """Split rows into `n_folds` parts, each held out once.

    Parameters
    ----------
    n_rows : int
    n_folds : int
        At least 2; at most n_rows are made.
    seed : int
    labels : array of int, (n_rows,), optional
        Classes: each is spread over the folds as evenly as can be, and so are the rows of all.
    repeat : int, default 0
        Another number, other folds.

    Returns
    -------
    list of (rows, held_out)
        Sizes of the held-out parts differ by 1 at most.
    """
    fold = fold_of(n_rows, n_folds, seed, labels, repeat)
    return [
        (np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(fold.max() + 1)
    ]


def fold_of(
    n_rows: int, n_folds: int, seed: int, labels: np.ndarray | None = None, repeat: int = 0
) -> np.ndarray:
    """The fold that each row is held out in, (n_rows,); arguments are those of `folds`."""
    order = permutation(seed, FOLDS, repeat, n_rows)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(n_rows, np.intp)
    # Dealt out like cards: neighbours, which are of one class, lie in different folds.
    fold[order] = np.arange(n_rows) % min(n_folds, n_rows)
    return fold


def splits(
    n_rows: int, n_folds: int, repeats: int, seed: int, labels: np.ndarray | None = None
) -> list[list[Fold]]:
    """The folds of each repeat; of one fold the same fifth of the rows held out each time."""
    if n_folds == 1:
        return [folds(n_rows, 5, seed, labels)[:1]] * repeats
    return [folds(n_rows, n_folds, seed, labels, repeat) for repeat in range(repeats)]


def evenly(n: int, most: int) -> np.ndarray:
    """At most so many of n rows, spread evenly over them."""
    return np.arange(n) if n <= most else np.arange(most) * n // most
