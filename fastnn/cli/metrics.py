"""How well predictions meet targets, as numbers (for --json) and as text."""

from __future__ import annotations

import numpy as np

WIDEST_MATRIX = 25  # classes; a wider confusion matrix is left to --json


def classification(labels: np.ndarray, probabilities: np.ndarray, classes: list[str]) -> dict:
    """Accuracy, log loss, confusion matrix (rows: true class), and precision = TP / (TP + FP),
    recall = TP / (TP + FN), F1 = their harmonic mean, support = TP + FN of each class. A ratio
    whose denominator is 0 is None."""
    n = len(classes)
    predicted = probabilities.argmax(1)
    confusion = np.bincount(labels * n + predicted, minlength=n * n).reshape(n, n)
    hit = np.diag(confusion)
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    with np.errstate(divide="ignore"):
        log_loss = float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())
    report = {}
    for i, name in enumerate(classes):
        precision = _ratio(hit[i], confusion[:, i].sum())
        recall = _ratio(hit[i], confusion[i].sum())
        f1 = _ratio(2 * hit[i], confusion[:, i].sum() + confusion[i].sum())
        report[name] = {
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "support": int(confusion[i].sum()),
        }
    return {
        "rows": len(labels),
        "accuracy": float(hit.sum() / len(labels)),
        "log_loss": log_loss,
        "classes": report,
        "confusion_matrix": confusion.tolist(),
    }


def regression(y: np.ndarray, predicted: np.ndarray) -> dict:
    """RMSE and MAE in the target's unit; r2 = 1 - sum (y - f)^2 / sum (y - mean y)^2, None where
    all targets are equal."""
    error = predicted - y
    spread = float(((y - y.mean()) ** 2).sum())
    return {
        "rows": len(y),
        "rmse": float(np.sqrt((error**2).mean())),
        "mae": float(np.abs(error).mean()),
        "r2": 1 - float((error**2).sum()) / spread if spread > 0 else None,
    }


def _ratio(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def classification_text(result: dict) -> str:
    names = list(result["classes"])
    lines = [
        f"rows      {result['rows']:,}",
        f"accuracy  {result['accuracy']:.4f}",
        f"log loss  {result['log_loss']:.4f}",
        "",
    ]
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
