"""What `fastnn train` and `evaluate` tell about predictions, as text."""

from __future__ import annotations

import numpy as np

from fastnn.checks import counted
from fastnn.explain.importance import Importance

WIDEST_MATRIX = 25  # classes; a wider confusion matrix is left to --json
MOST_COLUMNS = 10  # that are told to matter


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


def scores_text(result: dict) -> str:
    """Of `fastnn.report.scores`: a line for each score, and of classes one for each class."""
    lines = [("rows", f"{result['rows']:,}")]
    known = [name for name in TITLES if name in result]
    lines += [(TITLES[name], _score(name, result[name])) for name in known]
    width = max(len(title) for title, _ in lines)
    told = [f"{title:{width}}  {value}" for title, value in lines]
    if "classes" in result:
        rows = [["class", "precision", "recall", "F1", "support"]]
        for name, scores in result["classes"].items():
            shares = [_share(scores[ratio]) for ratio in ("precision", "recall", "f1")]
            rows.append([name, *shares, f"{scores['support']:,}"])
        told += ["", *aligned(rows)]
    return "\n".join(told)


def confusion_text(result: dict) -> str:
    names = list(result["classes"])
    if len(names) > WIDEST_MATRIX:
        return f"confusion matrix: {len(names)} classes are too wide, --json holds it"
    matrix = [["", *names]]
    for name, counts in zip(names, result["confusion_matrix"], strict=True):
        matrix.append([name, *(str(count) for count in counts)])
    title = "confusion matrix (rows: true class, columns: predicted)"
    return "\n".join([title, *aligned(matrix)])


def importance_text(importance: Importance) -> str:
    """The columns that matter most, and by how much the loss rises without what they say."""
    order = np.argsort(-importance.mean, kind="stable")
    rows = [
        [importance.names[j], f"{importance.mean[j]:+.4g}"] for j in order[:MOST_COLUMNS].tolist()
    ]
    more = len(order) - len(rows)
    return "\n".join([*aligned(rows), *([f"... and {counted(more, 'column')}"] if more else [])])


def _score(name: str, value: float | None) -> str:
    if value is None:
        return "undefined (all targets are equal)" if name == "r2" else "undefined (one class)"
    return f"{value:.6g}" if name in ("rmse", "mae") else f"{value:.4f}"


def several_text(result: dict) -> str:
    """A line for each of several targets; of two classes the ratios of the second."""
    rows = []
    for name, one in result["targets"].items():
        if "classes" in one:
            positive, scores = list(one["classes"].items())[1]
            head = ["target", "class", "accuracy", "log loss", "precision", "recall", "F1"]
            shares = [_share(scores[s]) for s in ("precision", "recall", "f1")]
            cells = [positive, f"{one['accuracy']:.4f}", f"{one['log_loss']:.4f}", *shares]
        else:
            head = ["target", "RMSE", "MAE", "r2"]
            cells = [f"{one['rmse']:.6g}", f"{one['mae']:.6g}", _share(one["r2"])]
        rows.append([name, *cells])
    return "\n".join([f"rows  {result['rows']:,}", "", *aligned([head, *rows])])


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def aligned(rows: list[list[str]]) -> list[str]:
    """The first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
