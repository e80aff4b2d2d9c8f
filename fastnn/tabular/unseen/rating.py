"""How good bags and their mean are on rows held out, and what each bag is worth in it."""

from __future__ import annotations

import numpy as np

from fastnn.tables.columns import Columns
from fastnn.tabular.recipes import Recipe
from fastnn.tabular.unseen import weighting
from fastnn.tabular.unseen.calibration import calibration_of
from fastnn.training.metrics import accuracy, ece, log_loss, mae, r2, rmse


def sum_of(shares: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """sum_b shares_b parts_b in this order: the same bits whatever BLAS makes of threads."""
    total = np.zeros(parts.shape[1:])
    for share, part in zip(shares.tolist(), parts, strict=True):
        total += share * part
    return total


def weigh_classes(
    unseen: np.ndarray, y: np.ndarray, weights: np.ndarray | None, smoothing: list[float]
) -> np.ndarray:
    """Weights of bags, (n_bags,), from f(x) of held-out rows, (n_bags, n, n_classes).

    Each is calibrated before, or the surest would seem the best: how sure networks are of held-out
    rows differs from recipe to recipe, and the mean is calibrated in the end."""
    rows, first = np.arange(len(y)), np.zeros(len(y), np.intp)
    own = np.empty((len(unseen), len(y), 1))  # p of each row's class: all that the log loss reads
    for p, one, s in zip(own, unseen, smoothing, strict=True):
        p[:, 0] = calibration_of(one, y, weights, s)(one)[rows, y]
    return weighting.greedy(own, lambda p: log_loss(first, p, True, weights))


def weigh_amounts(unseen: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    def loss(f: np.ndarray) -> float:
        return float(np.average((f - y)[:, 0] ** 2, weights=weights))

    return weighting.greedy(unseen, loss)


def rated(
    columns: Columns, f: np.ndarray, recipe: Recipe, y: np.ndarray, weights: np.ndarray | None
) -> float:
    """How good one bag is, alone, on held-out rows: RMSE, or log loss once calibrated."""
    f = f.astype(np.float64)
    if columns.amounts:
        return scores_of_amounts(columns, f, y, weights)["rmse"]
    p = calibration_of(f, y, weights, recipe.label_smoothing)(f)
    return float(log_loss(y, p, True, weights))


def scores_of_classes(
    p: np.ndarray, y: np.ndarray, weights: np.ndarray | None
) -> dict[str, float]:
    measures = {"accuracy": accuracy, "log_loss": log_loss, "ece": ece}
    return {name: float(of(y, p, True, weights)) for name, of in measures.items()}


def scores_of_amounts(
    columns: Columns, f: np.ndarray, y: np.ndarray, weights: np.ndarray | None
) -> dict[str, float]:
    f, y = columns.decode(f), columns.in_units(y)
    return {"rmse": rmse(y, f, weights), "mae": mae(y, f, weights), "r2": r2(y, f, weights)}
