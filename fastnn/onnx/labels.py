"""Classes: what was decided from the data, the two of one sigmoid, and their names."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.interop.steps import Apply, Scale, Step
from fastnn.onnx import functions
from fastnn.onnx.functions import Composite
from fastnn.onnx.operators import from_front
from fastnn.onnx.values import Labels, Named, Node, Pair, Refused, Rows, same


def of_labels(node: Node, labels: Labels) -> Labels:
    """What may become of labels."""
    if node.op in ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"):
        return labels
    raise Refused("labels must be an output")


def of_pair(node: Node, pair: Pair) -> Pair | Labels:
    """What may become of a sigmoid's two probabilities."""
    if node.op == "Identity":
        return pair
    if node.op == "ArgMax":
        return greatest(node, pair.rows)
    raise Refused("the two probabilities of a sigmoid must be an output")


def greatest(node: Node, rows: Rows) -> Labels:
    """ArgMax of each row."""
    axis = node.attribute("axis", 0)
    if rows.columns or not rows.batch or len(rows.tail) != 1 or from_front(axis, 2) != 1:
        raise Refused(f"must be over the entries of each row {rows}, got axis {axis}")
    return Labels(rows)


def likely(value: Composite) -> Labels:
    """A probability, cast from whether it is above 1/2."""
    if not _ends_in_sigmoid(value.root.steps) or not functions.decides_at_half(value.function):
        raise Refused("must be a sigmoid's probability above 1/2")
    return Labels(value.root)


def pair(node: Node, rows: Rows) -> Pair:
    """Concat of 1 - p and p, as scikit-learn's two classes come from one sigmoid."""
    if len(node.inputs) == 2 and node.attribute("axis", kind=int) in (1, -1):
        p = node.input(1)
        one_column = rows.tail == (1,) and rows.batch and not rows.columns
        if isinstance(p, Rows) and one_column and p.layout == rows.layout:
            flip = rows.steps[-1] if same(rows.steps[:-1], p.steps) and rows.steps else None
            if isinstance(flip, Scale) and (flip.factor, flip.shift) == (-1, 1):
                if _ends_in_sigmoid(p.steps):
                    return Pair(p)
    raise Refused("joins branches: a sequential network has none")


def _ends_in_sigmoid(steps: tuple[Step, ...]) -> bool:
    return bool(steps) and isinstance(steps[-1], Apply) and steps[-1].activation == "sigmoid"


def named(names: Any, labels: Labels, axis: int = 0) -> Labels:
    """What picks names by labels: Gather, ArrayFeatureExtractor."""
    if not isinstance(names, np.ndarray) or names.size != max(names.shape) or axis not in (0, -1):
        raise Refused("must pick from a vector of names")
    return Labels(labels.rows, _texts(names.reshape(-1).tolist()))


def with_names(node: Node, value: Rows | Pair) -> Named:
    """ZipMap."""
    texts, numbers = (
        node.attribute(f"classlabels_{kind}", [], list) for kind in ("strings", "int64s")
    )
    return Named(value, _texts(texts or numbers))


def binarized(node: Node, rows: Rows) -> Labels:
    """Binarizer: each of several labels."""
    if node.attribute("threshold", 0.0) != 0.5:
        raise Refused("must decide at 1/2")
    return Labels(rows)


def _texts(values: list[Any]) -> tuple[Any, ...]:
    """Names of classes as text or int."""
    return tuple(v.decode(errors="replace") if isinstance(v, bytes) else v for v in values)
