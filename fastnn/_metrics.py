"""How well outputs f(x) meet their targets: measures by name, and the user's own.

Classes: softmax outputs decide for argmax f(x), sigmoid outputs each for 1 where f(x)_j > 1/2.
For class c: TP rows of c taken for c, FP others taken for c, FN rows of c taken for others.

accuracy    share of right decisions
precision   TP / (TP + FP)
recall      TP / (TP + FN)
f1          2 TP / (2 TP + FP + FN)
auc         P(f(x)_c > f(x')_c) for x of class c and x' of another, ties count half
top_k       share of rows whose class is among the k largest f(x)_j
log_loss    mean of -sum_j y_j ln f_j, and of -sum_j [y_j ln f_j + (1 - y_j) ln(1 - f_j)]

precision, recall, f1 and auc of two classes (one sigmoid output, or a softmax of two) are class
1's. Of more they are the mean over the classes ("macro", one against the rest), of sigmoid outputs
over the outputs; a ratio 0 / 0 counts as 0, and softmax classes that neither occur nor are decided
for are left out. A class without rows, or with all, has no auc and is left out.

Values, each the mean over the outputs:

rmse        sqrt(mean (f - y)^2)
mae         mean |f - y|
r2          1 - sum (f - y)^2 / sum (y - mean y)^2; where y does not vary 1 if met, else 0
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fastnn._checks import as_int

Metric = Callable[[np.ndarray, np.ndarray], float]  # of targets y and outputs f, rows as samples


@dataclass(frozen=True)
class TopK:
    """Top-k accuracy, a metric of softmax outputs: is the class among the k likeliest?

    Of equal outputs the one with the smaller index counts as likelier.

    Parameters
    ----------
    k : int, default 5
        At least 1.
    """

    k: int = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", as_int("k", self.k, 1))

    def __call__(self, y_true: np.ndarray, y_pred: np.ndarray) -> float:
        labels = np.asarray(y_true) if np.ndim(y_true) == 1 else np.argmax(y_true, 1)
        f = np.asarray(y_pred)
        own = f[np.arange(len(f)), labels][:, None]
        earlier = np.arange(f.shape[1]) < labels[:, None]
        likelier = (f > own) | ((f == own) & earlier)
        return float((likelier.sum(1) < self.k).mean())


# --- names


def default_metric(output: str) -> str:
    """What is measured unless something else is asked for."""
    return "accuracy" if decides(output) else "r2"


def decides(output: str) -> bool:
    """Whether the outputs are probabilities of classes."""
    return output in ("softmax", "sigmoid")


def as_metrics(metrics: Any, output: str) -> dict[str, Metric]:
    """Functions f(y, f(x)) by name, from a list of names, TopK objects and functions."""
    if metrics is None:
        metrics = [default_metric(output)]
    if isinstance(metrics, (str, bytes)) or not isinstance(metrics, Iterable):
        raise TypeError(f"metrics must be a list of names or functions, got {metrics!r}")
    chosen: dict[str, Metric] = {}
    for metric in metrics:
        name, function = _as_metric(metric, output)
        if name in chosen or name == "loss":
            raise ValueError(f"metrics must have different names, none of them loss, got {name!r}")
        chosen[name] = function
    return chosen


def _as_metric(metric: Any, output: str) -> tuple[str, Metric]:
    known = CLASSES if decides(output) else VALUES
    if isinstance(metric, TopK):
        if output != "softmax":
            raise ValueError(f"TopK needs softmax outputs, got {output}")
        return f"top_{metric.k}", metric
    if callable(metric):
        name = getattr(metric, "__name__", "")
        if not name.isidentifier():
            raise ValueError(f"a function among metrics must have a name (def), got {metric!r}")
        return name, metric
    if not isinstance(metric, str):
        raise TypeError(f"each of metrics must be a name or a function, got {metric!r}")
    if metric not in known:
        raise ValueError(
            f"metrics of {output} outputs must be among {', '.join(known)} or functions, "
            f"got {metric!r}"
        )
    function = known[metric]
    return metric, partial(function, output=output) if known is CLASSES else function


def measure(metrics: dict[str, Metric], y: np.ndarray, f: np.ndarray) -> dict[str, float]:
    """The value of each metric."""
    values = {}
    for name, function in metrics.items():
        value = function(y, f)
        try:
            values[name] = float(value)
        except (TypeError, ValueError):
            raise TypeError(f"metric {name!r} must return a number, got {value!r:.50}") from None
    return values


def better_is(name: str) -> str | None:
    """ "max" or "min" for the columns of a history whose sense is known, otherwise None."""
    name = name.removeprefix("val_")
    if name in ("accuracy", "precision", "recall", "f1", "auc", "r2") or (
        name.startswith("top_") and name[4:].isdigit()
    ):
        return "max"
    return "min" if name in ("loss", "log_loss", "rmse", "mae") else None


# --- classes


def classes(f: np.ndarray, output: str) -> np.ndarray:
    """What softmax (n,) and sigmoid (n, n_out) outputs decide; of targets, what they say."""
    return f.argmax(1) if output == "softmax" else (f > 0.5).astype(np.intp)


def _labels(y: np.ndarray, output: str) -> np.ndarray:
    return y if y.ndim == 1 else classes(y, output)


def accuracy(y: np.ndarray, f: np.ndarray, output: str) -> float:
    return float((classes(f, output) == _labels(y, output)).mean())


def confusion_matrix(labels: np.ndarray, decided: np.ndarray, n_classes: int) -> np.ndarray:
    """Counts of rows, (n_classes, n_classes): [class, decision]."""
    pairs = labels.astype(np.intp) * n_classes + decided
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def ratios(tp: np.ndarray, decided: np.ndarray, actual: np.ndarray) -> dict[str, np.ndarray]:
    """precision, recall and f1 of each class, from counts TP, TP + FP, TP + FN; 0 / 0 is NaN."""
    with np.errstate(invalid="ignore"):
        return {
            "precision": tp / decided,
            "recall": tp / actual,
            "f1": 2 * tp / (decided + actual),
        }


def _ratio(name: str, y: np.ndarray, f: np.ndarray, output: str) -> float:
    labels, decided = _labels(y, output), classes(f, output)
    if output == "softmax":
        n = f.shape[1]
        tp = np.bincount(labels[labels == decided], minlength=n)
        counts = tp, np.bincount(decided, minlength=n), np.bincount(labels, minlength=n)
        occurs = counts[1] + counts[2] > 0
        if n == 2:
            occurs = np.array([False, True])
    else:
        counts = (labels & decided).sum(0), decided.sum(0), labels.sum(0)
        occurs = np.ones(f.shape[1], bool)
    return float(np.nan_to_num(ratios(*counts)[name][occurs]).mean())


def auc(y: np.ndarray, f: np.ndarray, output: str) -> float:
    """NaN where no class has both rows of its own and others."""
    labels = _labels(y, output)
    if output == "softmax":
        chosen = [1] if f.shape[1] == 2 else range(f.shape[1])
        areas = [_area(labels == c, f[:, c]) for c in chosen]
    else:
        areas = [_area(labels[:, j] == 1, f[:, j]) for j in range(f.shape[1])]
    areas = [area for area in areas if not math.isnan(area)]
    return float(np.mean(areas)) if areas else math.nan


def _area(positive: np.ndarray, score: np.ndarray) -> float:
    """(sum of the ranks of the positive rows - n1 (n1 + 1) / 2) / (n1 n0), ranks of ties averaged.

    Hanley & McNeil (1982), "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve", Radiology 143(1).
    """
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2
    n1 = int(positive.sum())
    n0 = len(positive) - n1
    if not n1 or not n0:
        return math.nan
    return float((rank[place.reshape(-1)[positive]].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def log_loss(y: np.ndarray, f: np.ndarray, output: str) -> float:
    """From rounded probabilities: those that are 0 count as the smallest number above."""
    f = f.astype(np.float64)
    if output == "softmax":
        if y.ndim == 1:
            return float(-_log(f[np.arange(len(y)), y]).mean())
        return float(-(y * _log(f)).sum(1).mean())
    return float(-(y * _log(f) + (1 - y) * _log(1 - f)).sum(1).mean())


def _log(p: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(p, np.finfo(np.float64).tiny))


# --- values


def rmse(y: np.ndarray, f: np.ndarray) -> float:
    return float(np.sqrt((_error(y, f) ** 2).mean(0)).mean())


def mae(y: np.ndarray, f: np.ndarray) -> float:
    return float(np.abs(_error(y, f)).mean())


def r2(y: np.ndarray, f: np.ndarray) -> float:
    y = y.astype(np.float64)
    residual = ((f - y) ** 2).sum(0)
    total = ((y - y.mean(0)) ** 2).sum(0)
    varies = total > 0
    score = np.where(varies, 1 - residual / np.where(varies, total, 1), residual == 0)
    return float(score.mean())


def _error(y: np.ndarray, f: np.ndarray) -> np.ndarray:
    return f - y.astype(np.float64)


CLASSES: dict[str, Callable[..., float]] = {
    "accuracy": accuracy,
    "precision": partial(_ratio, "precision"),
    "recall": partial(_ratio, "recall"),
    "f1": partial(_ratio, "f1"),
    "auc": auc,
    "log_loss": log_loss,
}
VALUES: dict[str, Callable[..., float]] = {"rmse": rmse, "mae": mae, "r2": r2}
