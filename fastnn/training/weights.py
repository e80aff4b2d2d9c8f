"""Weights of samples: what must hold, and class weights as weights of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn.checks import as_int, as_real
from fastnn.network.arrays import as_finite, as_numbers
from fastnn.network.spec import NetworkSpec

# The share of the mean weight of all rows that a row of a mini-batch counts for, at least, where
# the gradient is divided by the mini-batch's weight. Without, rows of hardly any weight that are
# among themselves would take a full step; with 1, all steps would be as long as their weight is.
LEAST_SHARE = 1 / 4


def as_weights(sample_weight: Any, n: int) -> np.ndarray | None:
    """(n,) float64, none below 0 and not all 0; None for None."""
    if sample_weight is None:
        return None
    values = as_numbers("sample_weight", sample_weight)
    if values.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},) like y, got {values.shape}")
    weights = as_finite("sample_weight", values, "float64")
    if weights.min() < 0:
        row = int(np.argmin(weights))
        raise ValueError(f"sample_weight must not be below 0, got {weights[row]} in row {row}")
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not 0 < total < np.inf:
        raise ValueError(f"sample_weight must have a finite sum above zero, got {total}")
    return weights


class Weights:
    """Each row's sample_weight times the class_weight of its class; None where neither is given.

    Parameters
    ----------
    class_weight
        As of `Model.fit`.
    y : array
        Targets.
    network : NetworkSpec
    rows : array of int
        Those of y that are trained on, which "balanced" counts; a class without any has weight 1.
    """

    def __init__(
        self, class_weight: Any, y: np.ndarray, network: NetworkSpec, rows: np.ndarray
    ) -> None:
        self.network = network
        self.by_class = None
        if class_weight is not None:
            self.by_class = _by_class(class_weight, y, network, rows)

    def __call__(self, sample_weight: Any, y: np.ndarray) -> np.ndarray | None:
        """(n,) float64 of rows with targets y."""
        weights = as_weights(sample_weight, len(y))
        if self.by_class is None:
            return weights
        each = self.by_class[_labels(y, self.network)]
        return as_weights(each if weights is None else weights * each, len(y))


def check_mini_batches(weights: np.ndarray | None, rows: np.ndarray, batch_size: int) -> None:
    """Rows alone in their mini-batches must not differ in weight."""
    if weights is not None and batch_size == 1:
        above = weights[rows][weights[rows] > 0]
        if len(above) and above.min() != above.max():
            raise ValueError(
                "batch_size must be above 1 where sample_weight or class_weight differ: a "
                "mini-batch divides by the sum of its weights, so of one sample's only 0 counts"
            )


def _by_class(
    class_weight: Any, y: np.ndarray, network: NetworkSpec, rows: np.ndarray
) -> np.ndarray:
    """The weight of each class."""
    labels = _labels(y, network)
    n_classes = network.n_out if y.ndim == 1 else 2
    by_class = np.ones(n_classes)
    if isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.bincount(labels[rows], minlength=n_classes)
        each = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
        by_class = np.where(counts > 0, each, by_class)
    elif isinstance(class_weight, Mapping):
        for label, weight in class_weight.items():
            label = as_int("each class of class_weight", label, 0)
            if label >= n_classes:
                raise ValueError(
                    f"classes of class_weight must be 0 to {n_classes - 1}, got {label}"
                )
            by_class[label] = as_real(f"class_weight[{label}]", weight)
    else:
        raise TypeError(
            f"class_weight must be 'balanced' or a dict {{class: weight}}, got {class_weight!r}"
        )
    return by_class


def _labels(y: np.ndarray, network: NetworkSpec) -> np.ndarray:
    if y.ndim == 1:
        return y
    if network.output != "sigmoid" or network.n_out > 1:
        raise ValueError(
            "class_weight needs one label a sample (softmax outputs or hinge with labels, or one "
            f"sigmoid output), got {network.output} outputs with y of shape {y.shape}; "
            "see sample_weight"
        )
    if not np.isin(y, (0, 1)).all():
        raise ValueError("class_weight needs labels 0 and 1 in y, got values between them")
    return y[:, 0].astype(np.intp)
