"""Which numbers are learned as their logarithms: the inputs with long tails, the target, both or
none of them, as small networks predict rows that they have not seen.

A target's prediction is not exp(f), the median, but its mean: exp(f) times what makes the
predictions of held-out rows right in sum, as of Duan (1983), "Smearing estimate: a nonparametric
retransformation method", JASA 78(383).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from fastnn.random import SCALES, permutation
from fastnn.tables.columns import Columns
from fastnn.tables.inputs import PlainInputs
from fastnn.tables.table import Arrays, Table
from fastnn.tables.targets import Amount
from fastnn.tabular.folds import folds
from fastnn.tabular.members import Lesson, train
from fastnn.tabular.recipes import FEWEST, Recipe

FEWEST_ROWS, MOST_ROWS = 200, 6000  # of fewer nothing is told, of more these are looked at
N_FOLDS, HIDDEN = 3, (64, 64)
STEPS, MOST_EPOCHS = 600, 60
BETTER, ERRORS = 0.01, 1.5  # by more than this share of the loss, and so many standard errors


def choose(
    columns: Columns,
    data: Table | Arrays,
    y: np.ndarray,
    lesson: Lesson,
    rows: np.ndarray,
    recipe: Recipe,
    seed: int,
    n_threads: int | None,
) -> bool:
    """Let `columns` take logarithms where that predicts better; whether any are.

    y: encoded targets. lesson: what is learned so far. rows: those trained on. recipe: what kind of
    networks.
    """
    inputs = columns.inputs
    assert not isinstance(inputs, PlainInputs)
    if len(rows) < FEWEST_ROWS:
        return False
    logged = inputs.logged_where_long(data, rows)
    target = columns.targets[0]
    amount = target if isinstance(target, Amount) else None
    wanted, values = None, np.empty(0)
    if amount is not None:
        values = columns.in_units(y)[:, 0]
        positive = np.min(columns.in_units(lesson.y)) > 0  # a teacher's, maybe
        wanted = amount.logged(values[rows]) if positive else None
    if logged is None and wanted is None:
        return False
    some = rows
    if len(rows) > MOST_ROWS:
        some = np.sort(rows[permutation(seed, SCALES, 0, len(rows))[:MOST_ROWS]])
    weights = None if lesson.weights is None else lesson.weights[some]
    trained = len(some) * (N_FOLDS - 1) // N_FOLDS
    epochs = min(max(STEPS * recipe.batch_size // trained, FEWEST), MOST_EPOCHS)
    recipe = replace(recipe, hidden=HIDDEN, epochs=epochs)
    labels = None if amount is not None else y[some]
    split = folds(len(some), N_FOLDS, seed, labels)
    X = {False: lesson.X[some]}
    if logged is not None:
        X[True] = logged.transform(data.take(some), warn_unknown=False)
    of_targets = [False] if wanted is None else [False, True]
    lost = {}
    for of_inputs, of_target in product(X, of_targets):
        one = wanted if of_target else amount
        learned = y[some]
        if one is not None:
            learned = one.scaled(values[some])[:, None]
        trial = replace(lesson, X=X[of_inputs], y=learned, weights=weights)
        (bag,) = train(trial, [recipe], [split], seed, n_threads)
        f = bag.unseen.astype(np.float64)
        if one is None:
            lost[of_inputs, of_target] = _log_losses(f, y[some])
        else:
            lost[of_inputs, of_target] = _squares(one, f[:, 0], values[some], weights)
    best = min(lost, key=lambda which: np.average(lost[which], weights=weights))
    if best == (False, False) or not _is_better(lost[best], lost[False, False], weights):
        return False
    if best[0]:
        assert logged is not None
        columns.inputs = logged
    if best[1]:
        columns.targets = [wanted]  # type: ignore[list-item]
    return True


def _squares(
    amount: Amount, f: np.ndarray, values: np.ndarray, weights: np.ndarray | None
) -> np.ndarray:
    """(f - y)^2 of each row, in the target's unit."""
    predicted = amount.unscaled(f)
    if amount.log:
        predicted = predicted * smear_of(predicted, values, weights)
    squares: np.ndarray = (np.clip(predicted, values.min(), values.max()) - values) ** 2
    return squares


def _log_losses(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of each row."""
    own = np.clip(p[np.arange(len(p)), labels], 1e-7, 1)
    losses: np.ndarray = -np.log(own)
    return losses


def smear_of(predicted: np.ndarray, values: np.ndarray, weights: np.ndarray | None) -> float:
    """What predictions of medians are multiplied by, so that they are right in sum."""
    return float(
        np.average(values, weights=weights) / np.average(predicted, weights=weights)
    )


def _is_better(a: np.ndarray, b: np.ndarray, weights: np.ndarray | None) -> bool:
    """Whether losses a are below b by more than a share, and than chance."""
    gain = np.average(b - a, weights=weights)
    share = np.ones(len(a)) if weights is None else weights
    error = np.sqrt((share**2 * (b - a - gain) ** 2).sum()) / share.sum()
    return bool(gain > max(BETTER * np.average(b, weights=weights), ERRORS * error))
