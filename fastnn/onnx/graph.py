"""A graph under construction, and the file around it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from fastnn.config import __version__
from fastnn.onnx.file import onnx_package

OPSET, OPSET_ML, IR = 17, 3, 8  # of 2022: ONNX 1.12, ONNX Runtime 1.12
PROPERTY, VERSION = "fastnn", 1


class Graph:
    """Nodes, inputs, outputs and constants; every name occurs once."""

    def __init__(self, dtype: str) -> None:
        onnx = onnx_package()
        self._helper, types = onnx.helper, onnx.TensorProto
        self._types = {
            "float32": types.FLOAT,
            "float64": types.DOUBLE,
            "int64": types.INT64,
            "bool": types.BOOL,
            "string": types.STRING,
        }
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.initializers: list[Any] = []
        self.weights: list[str] = []  # the constants that are theta, in its order
        self._names: set[str] = set()

    def name(self, hint: str) -> str:
        name, i = hint, 1
        while name in self._names:
            name, i = f"{hint}_{i}", i + 1
        self._names.add(name)
        return name

    def input(self, name: str, shape: tuple[int, ...], dtype: str) -> str:
        name = self.name(name)
        kind = self._types[dtype]
        self.inputs.append(self._helper.make_tensor_value_info(name, kind, ["n", *shape]))
        return name

    def output(self, name: str, shape: tuple[int, ...], dtype: str) -> str:
        name = self.name(name)
        kind = self._types[dtype]
        self.outputs.append(self._helper.make_tensor_value_info(name, kind, ["n", *shape]))
        return name

    def number(self, hint: str, values: Any, dtype: str | None = None) -> str:
        """A constant of numbers, by default in the model's dtype."""
        name = self.name(hint)
        array = np.array(values, dtype or self.dtype, order="C")
        self.initializers.append(onnx_package().numpy_helper.from_array(array, name))
        return name

    def weight(self, hint: str, values: np.ndarray) -> str:
        """A constant that is the next part of theta."""
        self.weights.append(self.number(hint, values))
        return self.weights[-1]

    def names_of_classes(self, hint: str, classes: np.ndarray) -> str:
        name = self.name(hint)
        values = [v.encode() if isinstance(v, str) else v for v in classes.tolist()]
        kind = self._types[type_name(classes)]
        self.initializers.append(self._helper.make_tensor(name, kind, [len(values)], values))
        return name

    def node(self, op: str, *inputs: str, result: str | None = None, **attributes: Any) -> str:
        """Adds a node; the name of what it gives, `result` or one of its own."""
        result = result or self.name(op.lower())
        attributes.setdefault("name", f"{op}:{result}")
        self.nodes.append(self._helper.make_node(op, inputs, [result], **attributes))
        return result

    def cast(self, x: str, dtype: str) -> str:
        return self.node("Cast", x, to=self._types[dtype])

    def label(self, best: str, classes: np.ndarray) -> None:
        """The output of names: those of the places `best`."""
        names = self.names_of_classes("classes", classes)
        label = self.output("label", (), type_name(classes))
        self.node("Gather", names, best, result=label)

    def proto(self, kept: dict[str, Any], sealed: bool = False) -> Any:
        """The ModelProto. kept: what a graph has no place for; sealed: with what tells theta in the
        graph and whether this is as it was."""
        helper = self._helper
        opsets = [helper.make_opsetid("", OPSET)]
        if any(node.domain for node in self.nodes):
            opsets.append(helper.make_opsetid("ai.onnx.ml", OPSET_ML))
        graph = helper.make_graph(
            self.nodes, "fastnn", self.inputs, self.outputs, self.initializers
        )
        if sealed:
            kept |= {"theta": self.weights, "sha256": digest(graph)}
        proto = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=IR,
            producer_name="fastnn",
            producer_version=__version__,
        )
        content = json.dumps({"version": VERSION, **kept}, allow_nan=False)
        helper.set_model_props(proto, {PROPERTY: content})
        return proto


def digest(graph: Any) -> str:
    """Of a GraphProto: another one has another."""
    return hashlib.sha256(graph.SerializeToString(deterministic=True)).hexdigest()


def type_name(classes: np.ndarray) -> str:
    return {"b": "bool", "i": "int64", "u": "int64", "f": "float64"}.get(
        classes.dtype.kind, "string"
    )
