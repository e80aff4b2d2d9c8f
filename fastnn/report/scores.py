"""How good predictions are, as numbers that JSON holds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.training import metrics as measures

TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "r2",
}


def classification(
    labels: np.ndarray, f: np.ndarray, classes: list[str], probabilities: bool = True
) -> dict[str, Any]:
    """Accuracy; AUC, log loss, Brier score and calibration error where f are probabilities; of each
    class precision, recall, F1 and support (rows); confusion matrix (rows: true class). What is
    not defined, such as a ratio whose denominator is 0, is None."""
    decided = f.argmax(1)
    confusion = measures.confusion_matrix(labels, decided, len(classes))
    support = confusion.sum(1)
    ratios = measures.ratios(np.diag(confusion), confusion.sum(0), support)
    report = {}
    for i, name in enumerate(classes):
        scores = {ratio: _defined(values[i]) for ratio, values in ratios.items()}
        report[name] = {**scores, "support": int(support[i])}
    names = ["accuracy", "balanced_accuracy"]
    if probabilities:
        names += ["auc", "log_loss", "brier", "ece"]
    return {
        "rows": len(labels),
        **{name: _defined(measures.CLASSES[name](labels, f, exclusive=True)) for name in names},
        "classes": report,
        "confusion_matrix": confusion.tolist(),
    }


def regression(y: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """RMSE and MAE in the target's unit; r2, None where all targets are equal."""
    return {
        "rows": len(y),
        "rmse": measures.rmse(y, predicted),
        "mae": measures.mae(y, predicted),
        "r2": measures.r2(y, predicted) if y.min() < y.max() else None,
    }


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def told(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Titles and texts of the scores that a result has."""
    return [(title, _score(name, result[name])) for name, title in TITLES.items() if name in result]


def alike(values: np.ndarray, sign: str = "") -> list[str]:
    """Numbers with as many digits after the point as show three of the largest. sign: "+" shows
    that of numbers above 0, too."""
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    digits = min(max(2 - math.floor(math.log10(largest)), 0), 12)
    return [f"{round(value, digits) + 0.0:{sign},.{digits}f}" for value in values.tolist()]


def share_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _score(name: str, value: float | None) -> str:
    if value is None:
        return "undefined (all targets are equal)" if name == "r2" else "undefined (one class)"
    return f"{value:.6g}" if name in ("rmse", "mae") else f"{value:.4f}"
