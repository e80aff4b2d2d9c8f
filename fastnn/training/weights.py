"""Weights of samples: what must hold, and class weights as weights of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn.checks import as_int, as_real
from fastnn.network.arrays import as_finite, as_numbers
from fastnn.network.spec import NetworkSpec


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
        raise ValueError(f"sample_weight must have a finite sum above 0, got {total}")
    return weights


def training_weights(
    sample_weight: Any,
    class_weight: Any,
    y: np.ndarray,
    network: NetworkSpec,
    batch_size: int,
    rows: np.ndarray | slice = slice(None),
) -> np.ndarray | None:
    """Each row's sample_weight times the class_weight of its class; None where neither is given.

    rows: those trained on, which "balanced" counts.
    """
    weights = as_weights(sample_weight, len(y))
    if class_weight is not None:
        each = _of_classes(class_weight, y, network, rows)
        weights = as_weights(each if weights is None else weights * each, len(y))
    if weights is not None and batch_size == 1:
        above = weights[rows][weights[rows] > 0]
        if len(above) and above.min() != above.max():
            raise ValueError(
                "batch_size must be above 1 where sample_weight or class_weight differ: a "
                "mini-batch divides by the sum of its weights, so of one sample's only 0 counts"
            )
    return weights


def _of_classes(
    class_weight: Any, y: np.ndarray, network: NetworkSpec, rows: np.ndarray | slice
) -> np.ndarray:
    """The weight of each row's class."""
    labels = _labels(y, network)
    n_classes = network.n_out if y.ndim == 1 else 2
    if isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.bincount(labels[rows], minlength=n_classes)
        by_class = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    elif isinstance(class_weight, Mapping):
        by_class = np.ones(n_classes)
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
    return by_class[labels]


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
