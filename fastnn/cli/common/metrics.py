"""What `fastnn train` and `evaluate` tell about predictions, as text."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.checks import counted
from fastnn.explain.importance import Importance
from fastnn.report.scores import alike, share_text, told

WIDEST_MATRIX = 25  # classes; a wider confusion matrix is left to --json
MOST_COLUMNS = 10  # that are told to matter


def scores_text(result: dict[str, Any]) -> str:
    """Of `fastnn.report.scores`: a line for each score, and of classes one for each class."""
    lines = [("rows", f"{result['rows']:,}"), *told(result)]
    width = max(len(title) for title, _ in lines)
    text = [f"{title:{width}}  {value}" for title, value in lines]
    if "classes" in result:
        rows = [["class", "precision", "recall", "F1", "support"]]
        for name, scores in result["classes"].items():
            shares = [share_text(scores[ratio]) for ratio in ("precision", "recall", "f1")]
            rows.append([name, *shares, f"{scores['support']:,}"])
        text += ["", *aligned(rows)]
    return "\n".join(text)


def confusion_text(result: dict[str, Any]) -> str:
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
    mean = importance.mean
    order = np.argsort(-mean, kind="stable")
    few = order[:MOST_COLUMNS]
    rows = [[importance.names[j], text] for j, text in zip(few, alike(mean[few], "+"), strict=True)]
    more = len(order) - len(rows)
    return "\n".join([*aligned(rows), *([f"... and {counted(more, 'column')}"] if more else [])])


def several_text(result: dict[str, Any]) -> str:
    """A line for each of several targets; of two classes the ratios of the second."""
    head: list[str] = []
    rows = []
    for name, one in result["targets"].items():
        if "classes" in one:
            positive, scores = list(one["classes"].items())[1]
            head = ["target", "class", "accuracy", "log loss", "precision", "recall", "F1"]
            shares = [share_text(scores[s]) for s in ("precision", "recall", "f1")]
            cells = [positive, f"{one['accuracy']:.4f}", f"{one['log_loss']:.4f}", *shares]
        else:
            head = ["target", "RMSE", "MAE", "r2"]
            cells = [f"{one['rmse']:.6g}", f"{one['mae']:.6g}", share_text(one["r2"])]
        rows.append([name, *cells])
    return "\n".join([f"rows  {result['rows']:,}", "", *aligned([head, *rows])])


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
