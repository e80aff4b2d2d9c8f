"""A Model as an ONNX graph.

    inputs -> how columns become numbers -> begin -> Gemm, activation, ... -> end -> f, label

What stands between begin and end is the network; their names and what a graph has no place for
(loss, dropout, seed, metadata) are kept as JSON under the property "fastnn".
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from fastnn.checks import listed, name_of
from fastnn.config import __version__
from fastnn.errors import ModelFileError
from fastnn.files import model as storage
from fastnn.files.safetensors import loads
from fastnn.interop import steps as chain
from fastnn.model import Model
from fastnn.network.activations import TABLE, Activation, parameter_of
from fastnn.network.activations import plain as plain_activation
from fastnn.network.parameters import Parameters
from fastnn.network.spec import NetworkSpec
from fastnn.onnx.file import BYTES_MAX, onnx_package
from fastnn.tables.categories import Categorical, Ordered
from fastnn.tables.columns import Columns
from fastnn.tables.dates import Dates
from fastnn.tables.inputs import ArrayInputs, PlainInputs, TableInputs
from fastnn.tables.numbers import Numeric
from fastnn.tables.targets import Amount

OPSET, OPSET_ML, IR = 17, 3, 8  # of 2022: ONNX 1.12, ONNX Runtime 1.12
PROPERTY, VERSION = "fastnn", 1


def write(model: Model, path: str | PathLike[str], *, probabilities: bool = False) -> None:
    """probabilities: of a classifier as scikit-learn gives them, a column for each class."""
    onnx = onnx_package()
    if model.theta.nbytes > BYTES_MAX - 2**24:
        raise ValueError(f"an ONNX file must be below 2 GiB, got {model.theta.nbytes} of weights")
    proto = as_proto(model, probabilities)
    onnx.checker.check_model(proto, full_check=True)
    storage.write_atomically(path, [proto.SerializeToString(deterministic=True)])


def properties(proto: Any) -> dict[str, Any]:
    """What `as_proto` kept beside the graph; of other files nothing."""
    for entry in proto.metadata_props:
        if entry.key != PROPERTY:
            continue
        content = loads(entry.value, f"property {PROPERTY}")
        keys = {"version", "begin", "end", "architecture", "seed", "metadata"}
        version = content.get("version")
        if type(version) is not int or not 0 < version <= VERSION:
            raise ModelFileError(f"property {PROPERTY}: version must be {VERSION}, got {version!r}")
        if set(content) != keys or not all(
            isinstance(content[name], kind)
            for name, kind in (
                ("begin", str),
                ("end", str),
                ("metadata", dict),
                ("architecture", dict),
            )
        ):
            raise ModelFileError(f"property {PROPERTY} must have {', '.join(sorted(keys))}")
        return content
    return {}


def as_it_was(model: Model, ours: dict[str, Any]) -> Model:
    """The model with what the graph does not tell: loss, dropout, seed, and float64 parameters of
    activations; unless the graph is another one by now."""
    if not ours:
        return model
    saved = storage.as_saved_network(ours["architecture"])
    if as_layers(saved) != as_layers(model._network):
        return model
    parameters = Parameters(saved, model.theta)
    whole = Model.__new__(Model)
    whole._assemble(parameters, storage.as_saved_seed(ours["seed"]), model.metadata, None)
    return whole


def as_layers(network: NetworkSpec) -> list[Any]:
    """What a graph tells of it: numbers as the float32 that attributes are."""
    functions = [
        (name_of(one), np.float32(parameter_of(one)))
        for one in (*network.activations, network.output)
    ]
    norms = [norm and (norm.name, np.float32(norm.epsilon)) for norm in network.norm]
    return [network.dtype, network.sizes, network.bias, functions, norms]


def as_proto(model: Model, probabilities: bool = False) -> Any:
    """The ModelProto."""
    helper = onnx_package().helper
    model._must_begin_with_layer_1("an ONNX file")
    graph = _Graph(model.dtype)
    data = _data(model)
    begin = (
        graph.input("X", (model.sizes[0],), model.dtype) if data is None else _features(graph, data)
    )
    end = _network(graph, model, begin)
    _results(graph, model, end, data, probabilities)
    opsets = [helper.make_opsetid("", OPSET)]
    if any(node.domain for node in graph.nodes):
        opsets.append(helper.make_opsetid("ai.onnx.ml", OPSET_ML))
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "fastnn", graph.inputs, graph.outputs, graph.initializers),
        opset_imports=opsets,
        ir_version=IR,
        producer_name="fastnn",
        producer_version=__version__,
    )
    kept = {
        "version": VERSION,
        "begin": begin,
        "end": end,
        "architecture": model._network.architecture,
        "seed": model.seed,
        "metadata": storage.as_metadata(model.metadata),
    }
    helper.set_model_props(proto, {PROPERTY: json.dumps(kept, allow_nan=False)})
    return proto


class _Graph:
    """A graph under construction; every name occurs once."""

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


# --- the network


def _network(graph: _Graph, model: Model, h: str) -> str:
    for k, layer in enumerate(chain.plain(model), 1):
        inputs = [h, graph.number(f"W{k}", layer.W)]
        b = [] if layer.b is None else [graph.number(f"b{k}", layer.b)]
        name = graph.name(f"a{k}")
        if layer.gamma is None:
            a = graph.node("Gemm", *inputs, *b, transB=1, result=name)
        else:
            u = graph.node("Gemm", *inputs, transB=1)
            parts = [u, graph.number(f"gamma{k}", layer.gamma), *b]
            epsilon = layer.epsilon
            a = graph.node("LayerNormalization", *parts, epsilon=epsilon, result=name)
        h = _activation(graph, a, plain_activation(layer.activation))
        if layer.alpha is not None:  # a + alpha (g(a) - a)
            by = graph.node("Mul", graph.node("Sub", h, a), graph.number(f"alpha{k}", layer.alpha))
            h = graph.node("Add", a, by)
    return h


def _activation(graph: _Graph, a: str, activation: str | Activation) -> str:
    name = name_of(activation)
    return ACTIVATIONS[name](graph, a, parameter_of(activation))


def _leaky_relu(graph: _Graph, a: str, slope: float) -> str:
    if graph.dtype == "float32":
        return graph.node("LeakyRelu", a, alpha=slope)
    below = graph.node("Mul", a, graph.number("slope", slope))  # an attribute is a float32
    return graph.node("Where", graph.node("Greater", a, graph.number("zero", 0.0)), a, below)


def _elu(graph: _Graph, a: str, alpha: float) -> str:
    if graph.dtype == "float32":
        return graph.node("Elu", a, alpha=alpha)
    return _rising(graph, a, 1.0, alpha)


def _selu(graph: _Graph, a: str, _: float) -> str:
    if graph.dtype == "float32":
        return graph.node("Selu", a)
    return _rising(graph, a, 1.0507009873554804934, 1.6732632423543772848)


def _rising(graph: _Graph, a: str, factor: float, alpha: float) -> str:
    """factor a where a > 0, factor alpha (e^a - 1) elsewhere; ONNX Runtime has none in double."""
    zero = graph.number("zero", 0.0)
    below = graph.node("Exp", graph.node("Min", a, zero))
    below = graph.node("Sub", below, graph.number("one", 1.0))
    below = graph.node("Mul", below, graph.number("alpha", factor * alpha))
    above = a if factor == 1 else graph.node("Mul", a, graph.number("factor", factor))
    return graph.node("Where", graph.node("Greater", a, zero), above, below)


def _softplus(graph: _Graph, a: str, _: float = 0.0) -> str:
    """ln(1 + e^a) = max(a, 0) + ln(1 + e^-|a|)."""
    if graph.dtype == "float32":
        return graph.node("Softplus", a)
    small = graph.node("Exp", graph.node("Neg", graph.node("Abs", a)))
    small = graph.node("Log", graph.node("Add", small, graph.number("one", 1.0)))
    return graph.node("Add", graph.node("Relu", a), small)


def _gelu(graph: _Graph, a: str, _: float) -> str:
    """a (1 + erf(a / sqrt(2))) / 2; erf in float32, ONNX Runtime has none in double."""
    z = graph.node("Mul", a, graph.number("sqrt_half", math.sqrt(0.5)))
    if graph.dtype == "float32":
        z = graph.node("Erf", z)
    else:
        z = graph.cast(graph.node("Erf", graph.cast(z, "float32")), "float64")
    return _half(graph, a, z)


def _gelu_tanh(graph: _Graph, a: str, _: float) -> str:
    """a (1 + tanh(sqrt(2 / pi) (a + 0.044715 a^3))) / 2."""
    cube = graph.node("Mul", graph.node("Mul", a, a), a)
    cube = graph.node("Mul", cube, graph.number("cubic", 0.044715))
    z = graph.node("Mul", graph.node("Add", a, cube), graph.number("k", math.sqrt(2 / math.pi)))
    return _half(graph, a, graph.node("Tanh", z))


def _half(graph: _Graph, a: str, z: str) -> str:
    """a (1 + z) / 2."""
    z = graph.node("Mul", graph.node("Add", z, graph.number("one", 1.0)), graph.number("half", 0.5))
    return graph.node("Mul", a, z)


def _hard_tanh(graph: _Graph, a: str, _: float) -> str:
    return graph.node("Clip", a, graph.number("low", -1.0), graph.number("high", 1.0))


def _op(name: str, **attributes: Any) -> Callable[[_Graph, str, float], str]:
    return lambda graph, a, _: graph.node(name, a, **attributes)


# Those with an operator of their own; and how the others, and those with attributes, are made.
ACTIVATIONS: dict[str, Callable[[_Graph, str, float], str]] = {
    name: _op(known.onnx) for name, known in TABLE.items() if known.onnx
} | {
    "identity": lambda graph, a, _: a,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": _selu,
    "softplus": _softplus,
    "hard_tanh": _hard_tanh,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": lambda graph, a, _: graph.node("Mul", a, graph.node("Sigmoid", a)),
    "mish": lambda graph, a, _: graph.node("Mul", a, graph.node("Tanh", _softplus(graph, a))),
    "softmax": _op("Softmax", axis=1),
}


# --- what stands before and after it


def _data(model: Model) -> Columns | None:
    """How rows become numbers; None where arrays are taken as they are."""
    columns = model.columns
    return None if columns is None or columns.plain else columns


def _features(graph: _Graph, data: Columns) -> str:
    """Columns of a data file -> numbers, as fastnn.tables.inputs makes them."""
    inputs = data.inputs
    assert not isinstance(inputs, PlainInputs)
    if isinstance(inputs, TableInputs):
        _check_columns(inputs)
    fill = inputs.missing != "refuse"
    if isinstance(inputs, ArrayInputs):
        x = graph.input("X", inputs.shape, graph.dtype)
        if len(inputs.shape) > 1:
            x = graph.node("Flatten", x, axis=1)
        return _numbers(graph, x, _scaling_of(inputs), fill, graph.dtype)
    numeric = [column for column in inputs.columns if isinstance(column, Numeric)]
    if len(numeric) == len(inputs.columns):
        x = graph.input("X", (len(numeric),), "float64")
        scaling, order = _scaling_of_all(numeric)
        x = _numbers(graph, x, scaling, fill, "float64")
        if order == list(range(len(order))):
            return x
        return graph.node("Gather", x, graph.number("order", order, "int64"), axis=1)
    parts = []
    for column in inputs.columns:
        if isinstance(column, Numeric):
            x = graph.input(column.name, (1,), "float64")
            parts.append(_numbers(graph, x, _scaling_of_all([column])[0], fill, "float64"))
        else:
            x = graph.input(column.name, (1,), "string")
            parts.append(CATEGORIES[type(column)](graph, x, column))
    return graph.node("Concat", *parts, axis=1)


def _check_columns(inputs: TableInputs) -> None:
    """Refuse what the graph's operators do not express."""
    for column in inputs.columns:
        if isinstance(column, Dates):
            raise ValueError(
                f'columns of an ONNX graph must be numbers or text, "{column.name}" is of dates; '
                f'learn(..., drop=["{column.name}"]) leaves it out, or export '
                "model.network_only(), which takes what model.columns.encode(rows) gives"
            )
    if inputs.missing_values:
        raise ValueError(
            "cells of an ONNX graph are missing where they are NaN or empty, the model also knows "
            f"{listed(inputs.missing_values)}; export model.network_only(), which takes what "
            "model.columns.encode(rows) gives"
        )


@dataclass
class _Scaling:
    """Of columns side by side."""

    shift: Any
    scale: Any
    median: Any
    smooth: bool
    indicated: list[int]  # columns with a feature where they are missing


def _scaling_of(inputs: ArrayInputs) -> _Scaling:
    of = (inputs.shift, inputs.scale, inputs.median, inputs.smooth, inputs.indicated)
    return _Scaling(*of)


def _scaling_of_all(columns: list[Numeric]) -> tuple[_Scaling, list[int]]:
    """And where each feature is among these columns' numbers and then their indicators."""
    shift, scale, median = (
        [getattr(c, name) for c in columns] for name in ("shift", "scale", "median")
    )
    indicated = [i for i, c in enumerate(columns) if c.indicator]
    order = []
    for i in range(len(columns)):
        order += [i, len(columns) + indicated.index(i)] if i in indicated else [i]
    return _Scaling(shift, scale, median, columns[0].smooth, indicated), order


def _numbers(graph: _Graph, x: str, column: _Scaling, fill: bool, dtype: str) -> str:
    """As fastnn.tables.numbers makes them: (x - shift) / scale, missing numbers filled, in `dtype`;
    then of the model's; indicators last."""
    absent = ""
    if fill:
        median = graph.number("median", column.median, dtype)
        absent = graph.node("IsNaN", x)
        x = graph.node("Where", absent, median, x)
    if np.any(column.shift):
        x = graph.node("Sub", x, graph.number("shift", column.shift, dtype))
    x = graph.node("Div", x, graph.number("scale", column.scale, dtype))
    if column.smooth:  # z / sqrt(1 + (z / 3)^2)
        x = graph.node("Clip", x, *(graph.number("far", far, dtype) for far in (-1e9, 1e9)))
        third = graph.node("Div", x, graph.number("three", 3.0, dtype))
        square = graph.node("Mul", third, third)
        size = graph.node("Add", square, graph.number("one", 1.0, dtype))
        x = graph.node("Div", x, graph.node("Sqrt", size))
    x = x if dtype == graph.dtype else graph.cast(x, graph.dtype)
    if not column.indicated:
        return x
    which = graph.number("indicated", column.indicated, "int64")
    flags = graph.cast(graph.node("Gather", absent, which, axis=1), graph.dtype)
    return graph.node("Concat", x, flags, axis=1)


def _categories(graph: _Graph, x: str, column: Categorical) -> str:
    n = len(column.categories)
    if column.codes:
        values = [-1.0, 1.0] if column.signs else [*map(float, range(n))]
        other = 0.0 if column.signs else -1.0
        return _looked_up(graph, x, column.categories, values, other, graph.dtype)
    known: dict[str, Any] = {"cats_strings": column.categories, "zeros": 1}
    x = graph.node("Flatten", graph.node("OneHotEncoder", x, domain="ai.onnx.ml", **known), axis=1)
    return x if graph.dtype == "float32" else graph.cast(x, graph.dtype)


def _ordered(graph: _Graph, x: str, column: Ordered) -> str:
    at = [*map(float, range(len(column.categories)))]
    x = _looked_up(graph, x, column.categories, at, math.nan, "float64")
    return _numbers(graph, x, _scaling_of_all([column.place])[0], True, "float64")


def _looked_up(
    graph: _Graph, x: str, words: list[str], values: list[float], other: float, dtype: str
) -> str:
    table: dict[str, Any] = {"keys_strings": words, "values_floats": values}
    table["default_float"] = other
    x = graph.node("LabelEncoder", x, domain="ai.onnx.ml", **table)
    return x if dtype == "float32" else graph.cast(x, dtype)


CATEGORIES: dict[type, Callable[[_Graph, str, Any], str]] = {
    Categorical: _categories,
    Ordered: _ordered,
}


def type_name(classes: np.ndarray) -> str:
    return {"b": "bool", "i": "int64", "u": "int64", "f": "float64"}.get(
        classes.dtype.kind, "string"
    )


def _results(
    graph: _Graph, model: Model, end: str, data: Columns | None, probabilities: bool
) -> None:
    """f in the user's unit, and label."""
    network, n_out, f = model._network, model.sizes[-1], end
    classes = _classes(model, data)
    if data is not None:
        amounts = [target for target in data.targets if isinstance(target, Amount)]
        if any((one.shift, one.scale, one.low) != (0, 1, None) for one in amounts):
            scale, shift = ([getattr(one, n) for one in amounts] for n in ("scale", "shift"))
            f = f if graph.dtype == "float64" else graph.cast(f, "float64")
            f = graph.node("Mul", f, graph.number("target_scale", scale, "float64"))
            f = graph.node("Add", f, graph.number("target_shift", shift, "float64"))
            if any(one.low is not None for one in amounts):
                low, high = ([getattr(one, n) for one in amounts] for n in ("low", "high"))
                f = graph.node("Max", f, graph.number("least", low, "float64"))
                f = graph.node("Min", f, graph.number("most", high, "float64"))
            f = f if graph.dtype == "float64" else graph.cast(f, graph.dtype)
    two = network.output == "sigmoid" and n_out == 1 and classes is not None and len(classes) == 2
    n, name = n_out, "f"
    if probabilities:
        name = "probabilities"
        if two:
            others = graph.node("Sub", graph.number("one", 1.0), f)
            n, f = 2, graph.node("Concat", others, f, axis=1)
    result = graph.output(name, (n,), graph.dtype)
    graph.node("Identity", f, result=result)
    if not network.decides or classes is None:
        return
    if network.one_of_many and len(classes) == n_out:
        best = graph.node("ArgMax", result, axis=1, keepdims=0)
    elif two:
        likely = graph.node("Greater", end, graph.number("half", 0.5))
        best = graph.node(
            "Squeeze", graph.cast(likely, "int64"), graph.number("axis", [1], "int64")
        )
    elif probabilities:  # of several labels each, 0 or 1
        likely = graph.node("Greater", result, graph.number("half", 0.5))
        to = onnx_package().TensorProto.INT64
        graph.node("Cast", likely, to=to, result=graph.output("label", (n_out,), "int64"))
        return
    else:
        return
    names = graph.names_of_classes("classes", classes)
    label = graph.output("label", (), type_name(classes))
    graph.node("Gather", names, best, result=label)


def _classes(model: Model, data: Columns | None) -> np.ndarray | None:
    """What the outputs stand for, as `Model.predict` and the user name it."""
    if data is not None:
        return data.classes
    classes = model.metadata.get("classes")
    known = isinstance(classes, list) and any(
        classes and all(type(one) is kind for one in classes) for kind in (str, int)
    )
    return np.array(classes) if known else None
