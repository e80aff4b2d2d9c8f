"""How good predictions are, as numbers that JSON holds."""

from __future__ import annotations

import numpy as np

from fastnn.training import metrics as measures


def classification(
    labels: np.ndarray, f: np.ndarray, classes: list[str], probabilities: bool = True
) -> dict:
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


def regression(y: np.ndarray, predicted: np.ndarray) -> dict:
    """RMSE and MAE in the target's unit; r2, None where all targets are equal."""
    return {
        "rows": len(y),
        "rmse": measures.rmse(y, predicted),
        "mae": measures.mae(y, predicted),
        "r2": measures.r2(y, predicted) if y.min() < y.max() else None,
    }


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
