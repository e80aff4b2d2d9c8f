"""Weights of an ensemble's members: greedy selection on rows that none of them has seen.

    chosen <- the best members, as many of them in a row as make the mean of predictions best
    repeat: chosen <- chosen + the member that makes the mean best, which may be in it already

and the best mean met on the way counts; a member's weight is how often it was chosen. Of equals the
first is taken.

Caruana, Niculescu-Mizil, Crew & Ksikes (2004), "Ensemble selection from libraries of models", ICML:
selection with replacement (2.1), sorted initialisation (2.2).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

ROUNDS = 40  # choices at most: weights are multiples of one in so many

Loss = Callable[[np.ndarray], float]  # of the mean of predictions


def greedy(predictions: np.ndarray, loss: Loss, rounds: int = ROUNDS) -> np.ndarray:
    """Weights of members whose weighted mean has a small loss.

    Parameters
    ----------
    predictions : array, (n_members, n, n_out)
        Of rows held out; their mean must be a prediction, too.
    loss : function of an array (n, n_out)
        What is to be small; NaN counts as infinite.
    rounds : int

    Returns
    -------
    array, (n_members,)
        At least 0, of sum 1.
    """

    def of(total: np.ndarray, n: int) -> float:
        value = loss(total / n)
        return value if value == value else np.inf

    single = [of(one, 1) for one in predictions]
    ranking = np.argsort(single, kind="stable")
    counts = np.zeros(len(predictions), np.intp)
    total = np.zeros(predictions.shape[1:])
    best, best_counts, best_total = np.inf, counts, total
    for n, member in enumerate(ranking, 1):  # sorted initialisation
        total = total + predictions[member]
        counts[member] += 1
        value = of(total, n)
        if value < best:
            best, best_counts, best_total = value, counts.copy(), total
    if best == np.inf:
        raise ValueError("predictions must have a finite loss, those of no member have")
    counts, total = best_counts.copy(), best_total
    for n in range(int(counts.sum()) + 1, rounds + 1):
        values = [of(total + one, n) for one in predictions]
        member = int(np.argmin(values))
        total = total + predictions[member]
        counts[member] += 1
        if values[member] < best:
            best, best_counts = values[member], counts.copy()
    weights: np.ndarray = best_counts / best_counts.sum()
    return weights
