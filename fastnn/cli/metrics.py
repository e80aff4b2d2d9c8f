"""What `fastnn evaluate` tells about predictions, as numbers (for --json) and as text."""

from __future__ import annotations

import numpy as np

from fastnn.training import metrics as measures

WIDEST_MATRIX = 25  # classes; a wider confusion matrix is left to --json


def classification(
    labels: np.ndarray, f: np.ndarray, classes: list[str], probabilities: bool = True
) -> dict:
    """Accuracy, log loss, Brier score and calibration error (where f are probabilities), confusion
    matrix (rows: true class), and precision, recall, F1 and support (rows) of each class. A ratio
    whose denominator is 0 is None."""
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
        names += ["log_loss", "brier", "ece"]
    return {
        "rows": len(labels),
        **{name: measures.CLASSES[name](labels, f, exclusive=True) for name in names},
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


def classification_text(result: dict) -> str:
    names = list(result["classes"])
    titles = {
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "log_loss": "log loss",
        "brier": "Brier score",
        "ece": "calibration error",
    }
    scores = [(title, f"{result[name]:.4f}") for name, title in titles.items() if name in result]
    lines = [f"{name:17}  {value}" for name, value in [("rows", f"{result['rows']:,}"), *scores]]
    lines.append("")
    rows = [["class", "precision", "recall", "F1", "support"]]
    for name, scores in result["classes"].items():
        rows.append(
            [
                name,
                *(_share(scores[s]) for s in ("precision", "recall", "f1")),
                f"{scores['support']:,}",
            ]
        )
    lines += aligned(rows)
    lines.append("")
    if len(names) > WIDEST_MATRIX:
        lines.append(f"confusion matrix: {len(names)} classes are too wide, --json holds it")
    else:
        lines.append("confusion matrix (rows: true class, columns: predicted)")
        matrix = [["", *names]]
        for name, counts in zip(names, result["confusion_matrix"], strict=True):
            matrix.append([name, *(str(count) for count in counts)])
        lines += aligned(matrix)
    return "\n".join(lines)


def regression_text(result: dict) -> str:
    r2 = "undefined (all targets are equal)" if result["r2"] is None else f"{result['r2']:.4f}"
    return "\n".join(
        [
            f"rows  {result['rows']:,}",
            f"RMSE  {result['rmse']:.6g}",
            f"MAE   {result['mae']:.6g}",
            f"r2    {r2}",
        ]
    )


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
