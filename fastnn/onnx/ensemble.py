"""A tabular estimator as an ONNX graph.

    inputs -> how columns become numbers -> each member -> weighted mean, float64
        -> of classes calibrated: probabilities, label;  of amounts in their unit: f
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.model import Model
from fastnn.onnx import write
from fastnn.onnx.features import features, in_units
from fastnn.onnx.file import onnx_package
from fastnn.onnx.graph import Graph
from fastnn.predictor import Predictor
from fastnn.tables.targets import Amount
from fastnn.tabular.ensemble import Ensemble
from fastnn.tabular.estimators import Tabular
from fastnn.tabular.unseen.calibration import FLOOR, LEAST, Calibration

WIDE = "float64"  # of inputs that are numbers, and from the mean on


def as_proto(estimator: Tabular) -> Any:
    """The ModelProto of a fitted one."""
    onnx_package()
    estimator._check_fitted()
    ensemble = estimator._ensemble
    write.check_size(sum(member._theta.nbytes for member in ensemble.members))
    graph = Graph("float32")
    mean = _mean(graph, ensemble, features(graph, ensemble.columns.inputs, WIDE))
    if ensemble.columns.amounts:
        amounts = [one for one in ensemble.columns.targets if isinstance(one, Amount)]
        f = in_units(graph, mean, amounts, WIDE, WIDE)
        graph.node("Identity", f, result=graph.output("f", (1,), WIDE))
    else:
        assert estimator.classes_ is not None
        classes = _plain(estimator.classes_)
        p = _calibrated(graph, mean, ensemble.calibration, len(classes))
        result = graph.output("probabilities", (len(classes),), WIDE)
        graph.node("Identity", p, result=result)
        graph.label(graph.node("ArgMax", result, axis=1, keepdims=0), classes)
    return graph.proto({"estimator": type(estimator).__name__})


def _mean(graph: Graph, ensemble: Ensemble, x: str) -> str:
    """sum_m w_m f_m(x)."""
    parts = []
    for member, weight in zip(ensemble.members, ensemble.weights.tolist(), strict=True):
        f = graph.cast(write.network(graph, _model(member), x), WIDE)
        parts.append(graph.node("Mul", f, graph.number("share", weight, WIDE)))
    return graph.node("Sum", *parts)


def _model(member: Predictor) -> Model:
    model = Model.__new__(Model)
    model._assemble(member.parameters(), 0, {}, None)
    return model


def _calibrated(graph: Graph, p: str, calibration: Calibration, n_classes: int) -> str:
    """Smoothing taken back, and heated."""
    smoothing, temperature = calibration
    if smoothing:
        share = graph.number("smoothing", smoothing / n_classes, WIDE)
        p = graph.node("Sub", p, share)
        p = graph.node("Div", p, graph.number("rest", 1 - smoothing, WIDE))
        p = graph.node("Max", p, graph.number("floor", FLOOR, WIDE))
        total = graph.node("ReduceSum", p, graph.number("axis", [1], "int64"), keepdims=1)
        p = graph.node("Div", p, total)
    z = graph.node("Log", graph.node("Max", p, graph.number("least", LEAST, WIDE)))
    z = graph.node("Div", z, graph.number("temperature", temperature, WIDE))
    return graph.node("Softmax", z, axis=1)


def _plain(classes: np.ndarray) -> np.ndarray:
    """Classes as an array of numbers, booleans or text."""
    plain = np.array(classes.tolist())
    if plain.dtype.kind not in "biufU" or plain.tolist() != classes.tolist():
        raise ValueError(
            "classes of an ONNX graph must be text, whole numbers, numbers or booleans, "
            f"got {classes.tolist()!r:.100}"
        )
    return plain
