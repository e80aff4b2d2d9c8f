"""How well outputs f(x) meet their targets: measures by name, and the user's own.

Classes: outputs of classes that exclude each other (softmax; hinge) decide for argmax f(x), sigmoid
outputs each for 1 where f(x)_j > 1/2.
For class c: TP rows of c taken for c, FP others taken for c, FN rows of c taken for others.

accuracy            share of right decisions
precision           TP / (TP + FP)
recall              TP / (TP + FN)
f1                  2 TP / (2 TP + FP + FN)
auc                 P(f(x)_c > f(x')_c) for x of class c and x' of another, ties count half
top_k               share of rows whose class is among the k largest f(x)_j
log_loss            mean of -sum_j y_j ln f_j, and of -sum_j [y_j ln f_j + (1 - y_j) ln(1 - f_j)]
balanced_accuracy   mean over the classes that occur of their recall
brier               mean of sum_j (f_j - y_j)^2, and of (f_j - y_j)^2
ece                 sum over bins of the greater probability, (share of rows) |accuracy - its mean|

precision, recall, f1, auc and brier of two classes (one sigmoid output, or a softmax of two) are
class 1's. Of more, precision, recall, f1 and auc are the mean over the classes ("macro", one
against the rest); all but log_loss are, of several sigmoid outputs, the mean over the outputs. A
ratio 0 / 0 counts as 0, and softmax classes that neither occur nor are decided for are left out. A
class without rows, or with all, has no auc and is left out.

Values, each the mean over the outputs:

rmse        sqrt(mean (f - y)^2)
mae         mean |f - y|
r2          1 - sum (f - y)^2 / sum (y - mean y)^2; where y does not vary 1 if met, else 0
d2          the same share of the quantile loss of the best constant, y's own quantile
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, cast

import numpy as np

from fastnn.checks import as_int, name_of
from fastnn.network.losses import quantiles_of
from fastnn.network.spec import NetworkSpec
from fastnn.values import Value

Metric = Callable[..., float]  # of targets y and outputs f, rows as samples (and weights)
Decode = Callable[[np.ndarray], np.ndarray]

N_BINS = 15  # of ece


class TopK(Value):
    """Top-k accuracy, a metric of softmax outputs: is the class among the k likeliest?

    Of equal outputs the one with the smaller index counts as likelier.

    Parameters
    ----------
    k : int, default 5
        At least 1.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> model = fastnn.Model([2, 3, 4], seed=0)
    >>> scores = model.evaluate(np.eye(2), np.array([0, 3]), metrics=[fastnn.TopK(4)])
    >>> scores["top_4"]
    1.0
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


def default_metric(network: NetworkSpec) -> str:
    """What is measured unless something else is asked for."""
    if network.decides:
        return "accuracy"
    return "r2" if set(quantiles_of(network.loss)) <= {0.5} else "d2"


def as_metrics(metrics: Any, network: NetworkSpec, weighted: bool = False) -> dict[str, Metric]:
    """Functions f(y, f(x)) by name, from a list of names, TopK objects and functions.

    weighted: all must have a weighted form, f(y, f(x), weights).
    """
    if metrics is None:
        metrics = [default_metric(network)]
    if isinstance(metrics, (str, bytes)) or not isinstance(metrics, Iterable):
        raise TypeError(f"metrics must be a list of names or functions, got {metrics!r}")
    chosen: dict[str, Metric] = {}
    for metric in metrics:
        name, function = _as_metric(metric, network)
        if name in chosen or name == "loss":
            raise ValueError(f"metrics must have different names, none of them loss, got {name!r}")
        if weighted and metric not in WEIGHTED and not isinstance(metric, InUnits):
            raise ValueError(
                f"metrics with sample_weight must be among {', '.join(WEIGHTED)}, got {name!r}"
            )
        chosen[name] = function
    return chosen


class InUnits:
    """A metric of values that sees y and f(x) in the units of the users' columns."""

    def __init__(self, name: str, metric: Metric, units: Decode, decode: Decode) -> None:
        self.__name__ = name
        self._metric = metric
        self._units, self._decode = units, decode

    def __call__(self, y: np.ndarray, f: np.ndarray, **weights: np.ndarray) -> float:
        return self._metric(self._units(y), self._decode(f), **weights)


def in_units(
    metrics: Any, network: NetworkSpec, units: Decode, decode: Decode, weighted: bool
) -> list[InUnits]:
    """`metrics` as of `as_metrics`, each of them in the users' units: of y by `units`, of f(x) by
    `decode`."""
    chosen = as_metrics(metrics, network, weighted)
    return [InUnits(name, metric, units, decode) for name, metric in chosen.items()]


def _as_metric(metric: Any, network: NetworkSpec) -> tuple[str, Metric]:
    known = known_metrics(network)
    if isinstance(metric, TopK):
        if not network.one_of_many:
            raise ValueError(
                "TopK needs outputs of classes that exclude each other (softmax, hinge), "
                f"got {network.output}"
            )
        return f"top_{metric.k}", metric
    if callable(metric):
        name = getattr(metric, "__name__", "")
        if not name.isidentifier():
            raise ValueError(f"a function among metrics must have a name (def), got {metric!r}")
        return name, cast(Metric, metric)
    if not isinstance(metric, str):
        raise TypeError(f"each of metrics must be a name or a function, got {metric!r}")
    if metric not in known:
        raise ValueError(
            f"metrics of {network.output} outputs must be among {', '.join(known)} or functions, "
            f"got {metric!r}"
        )
    return metric, known[metric]


def known_metrics(network: NetworkSpec) -> dict[str, Metric]:
    """What can be measured of a network, by name."""
    if network.decides:
        hinge = network.loss == "hinge"  # outputs that are no probabilities
        names = [name for name in CLASSES if not (hinge and name in OF_PROBABILITIES)]
        return {name: partial(CLASSES[name], exclusive=network.one_of_many) for name in names}
    if name_of(network.loss) != "quantile":
        return VALUES
    q = np.tile(quantiles_of(network.loss), network.n_targets)
    return {**VALUES, "d2": partial(d2, q=q)}


def measure(
    metrics: Mapping[str, Metric], y: np.ndarray, f: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, float]:
    """The value of each metric."""
    values = {}
    for name, function in metrics.items():
        value = function(y, f) if weights is None else function(y, f, weights=weights)
        try:
            values[name] = float(value)
        except (TypeError, ValueError):
            raise TypeError(f"metric {name!r} must return a number, got {value!r:.50}") from None
    return values


def better_is(name: str) -> str | None:
    """ "max" or "min" for the columns of a history whose sense is known, otherwise None."""
    name = name.removeprefix("val_")
    if name in BETTER_HIGH or (name.startswith("top_") and name[4:].isdigit()):
        return "max"
    return "min" if name in ("loss", *BETTER_LOW) else None


# --- classes


def classes(f: np.ndarray, exclusive: bool) -> np.ndarray:
    """What outputs decide, (n,) if they exclude each other and otherwise (n, n_out); of targets,
    what they say."""
    return f.argmax(1) if exclusive else (f > 0.5).astype(np.intp)


def _labels(y: np.ndarray, exclusive: bool) -> np.ndarray:
    return y if y.ndim == 1 else classes(y, exclusive)


def accuracy(
    y: np.ndarray, f: np.ndarray, exclusive: bool, weights: np.ndarray | None = None
) -> float:
    right = classes(f, exclusive) == _labels(y, exclusive)
    if weights is None and right.ndim == 1:  # sooner, and the same
        return float(np.count_nonzero(right) / len(right))
    return float(np.average(right, 0, weights).mean())


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


def _ratio(name: str, y: np.ndarray, f: np.ndarray, exclusive: bool) -> float:
    labels, decided = _labels(y, exclusive), classes(f, exclusive)
    if exclusive:
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


def auc(y: np.ndarray, f: np.ndarray, exclusive: bool) -> float:
    """NaN where no class has both rows of its own and others."""
    labels = _labels(y, exclusive)
    if exclusive:
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


def log_loss(
    y: np.ndarray, f: np.ndarray, exclusive: bool, weights: np.ndarray | None = None
) -> float:
    """From probabilities that are rounded: 0 counts as the smallest number above, and 1 - f of an f
    that is 1 as half of what rounds away. `evaluate` has better, where it has the network."""
    half = np.finfo(f.dtype).eps / 4
    f = f.astype(np.float64)
    if not exclusive:
        losses = -(y * _log(f) + (1 - y) * _log(np.maximum(1 - f, half))).sum(1)
    elif y.ndim == 1:
        losses = -_log(f[np.arange(len(y)), y])
    else:
        losses = -(y * _log(f)).sum(1)
    return float(np.average(losses, weights=weights))


def balanced_accuracy(
    y: np.ndarray, f: np.ndarray, exclusive: bool, weights: np.ndarray | None = None
) -> float:
    labels, right = _decisions(y, f, exclusive)
    recalls = []
    for own, hit in zip(labels.T, right.T, strict=True):
        rows = np.bincount(own, weights)
        hits = np.bincount(own, hit if weights is None else hit * weights)
        recalls.append(np.mean(hits[rows > 0] / rows[rows > 0]))
    return float(np.mean(recalls))


def brier(
    y: np.ndarray, f: np.ndarray, exclusive: bool, weights: np.ndarray | None = None
) -> float:
    """Brier (1950), "Verification of forecasts expressed in terms of probability", Monthly Weather
    Review 78(1); of two classes half of it, as scikit-learn has it."""
    n_out = f.shape[1]
    truth = np.arange(n_out) == y[:, None] if y.ndim == 1 else y
    squares = (f.astype(np.float64) - truth) ** 2
    each = squares.sum(1) / (2 if n_out == 2 else 1) if exclusive else squares.mean(1)
    return float(np.average(each, weights=weights))


def ece(y: np.ndarray, f: np.ndarray, exclusive: bool, weights: np.ndarray | None = None) -> float:
    """Expected calibration error over `N_BINS` bins of equal width, each without its lower end.

    Guo, Pleiss, Sun, Weinberger (2017), "On calibration of modern neural networks", ICML:
    equation 3.
    """
    _, right = _decisions(y, f, exclusive)
    f = f.astype(np.float64)
    top = f.max(1, keepdims=True) if exclusive else np.maximum(f, 1 - f)
    bins = np.clip(np.ceil(top * N_BINS) - 1, 0, N_BINS - 1).astype(np.intp)
    weights = np.ones(len(f)) if weights is None else weights
    gaps = weights[:, None] * (right - top)
    sums = [np.abs(np.bincount(*column)).sum() for column in zip(bins.T, gaps.T, strict=True)]
    return float(np.mean(sums) / weights.sum())


def _decisions(y: np.ndarray, f: np.ndarray, exclusive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Labels and whether they are decided for, (n, 1) or of each sigmoid output."""
    labels, decided = _labels(y, exclusive), classes(f, exclusive)
    shape = len(f), -1
    return labels.reshape(shape), (labels == decided).reshape(shape)


def is_log_loss(metric: Metric | None) -> bool:
    """Whether it is ours, and not a function of that name."""
    return getattr(metric, "func", None) is log_loss


def _log(p: np.ndarray) -> np.ndarray:
    logarithm: np.ndarray = np.log(np.maximum(p, np.finfo(np.float64).tiny))
    return logarithm


# --- values


def rmse(y: np.ndarray, f: np.ndarray, weights: np.ndarray | None = None) -> float:
    return float(np.sqrt(np.average(_error(y, f) ** 2, 0, weights)).mean())


def mae(y: np.ndarray, f: np.ndarray, weights: np.ndarray | None = None) -> float:
    return float(np.average(np.abs(_error(y, f)), 0, weights).mean())


def r2(y: np.ndarray, f: np.ndarray, weights: np.ndarray | None = None) -> float:
    y = y.astype(np.float64)
    return _saved((f - y) ** 2, (y - np.average(y, 0, weights)) ** 2, weights)


def d2(y: np.ndarray, f: np.ndarray, q: np.ndarray, weights: np.ndarray | None = None) -> float:
    """q: of each output. Koenker & Machado (1999), JASA 94(448)."""
    y = y.astype(np.float64)
    best = _quantiles(y, q, weights)
    return _saved(_pinball(f - y, q), _pinball(best - y, q), weights)


def _saved(loss: np.ndarray, constant: np.ndarray, weights: np.ndarray | None) -> float:
    """1 - sum loss / sum of the best constant's, mean over the outputs; where y does not vary, 1 if
    it is met exactly, otherwise 0."""
    own, best = np.average(loss, 0, weights), np.average(constant, 0, weights)
    varies = best > 0
    return float(np.where(varies, 1 - own / np.where(varies, best, 1), own == 0).mean())


def _pinball(e: np.ndarray, q: np.ndarray) -> np.ndarray:
    losses: np.ndarray = np.where(e > 0, (1 - q) * e, -q * e)
    return losses


def _quantiles(y: np.ndarray, q: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """For each column the smallest y below or at which a share q of the weights lies."""
    weights = np.ones(len(y)) if weights is None else weights
    order = y.argsort(0)
    below = weights[order].cumsum(0)
    places = (below < q * below[-1]).sum(0)
    quantiles: np.ndarray = np.take_along_axis(y, np.take_along_axis(order, places[None], 0), 0)[0]
    return quantiles


def _error(y: np.ndarray, f: np.ndarray) -> np.ndarray:
    return f - y.astype(np.float64)


CLASSES: dict[str, Callable[..., float]] = {
    "accuracy": accuracy,
    "precision": partial(_ratio, "precision"),
    "recall": partial(_ratio, "recall"),
    "f1": partial(_ratio, "f1"),
    "auc": auc,
    "log_loss": log_loss,
    "balanced_accuracy": balanced_accuracy,
    "brier": brier,
    "ece": ece,
}
OF_PROBABILITIES = ("auc", "log_loss", "brier", "ece")
VALUES: dict[str, Callable[..., float]] = {"rmse": rmse, "mae": mae, "r2": r2}
WEIGHTED = (
    *("accuracy", "log_loss", "balanced_accuracy", "brier", "ece"),
    *("rmse", "mae", "r2", "d2"),
)
BETTER_LOW = ("log_loss", "brier", "ece", "rmse", "mae")
BETTER_HIGH = tuple(name for name in (*CLASSES, "r2", "d2") if name not in BETTER_LOW)
