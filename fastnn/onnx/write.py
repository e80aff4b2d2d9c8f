"""A Model as an ONNX graph.

    inputs -> how columns become numbers -> begin -> Gemm, activation, ... -> end -> f, label

What stands between begin and end is the network; their names and what a graph has no place for
(loss, dropout, seed, metadata) are kept as JSON under the property "fastnn".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np

from fastnn.checks import name_of
from fastnn.files import model as storage
from fastnn.interop import steps as chain
from fastnn.model import Model
from fastnn.network.activations import TABLE, Activation, parameter_of
from fastnn.network.activations import plain as plain_activation
from fastnn.network.embeddings import Periodic, in_order
from fastnn.network.spec import check_float
from fastnn.onnx.features import features, in_units
from fastnn.onnx.file import BYTES_MAX, onnx_package
from fastnn.onnx.graph import Graph
from fastnn.onnx.kept import told_by_the_graph
from fastnn.tables.columns import Columns
from fastnn.tables.targets import Amount


def write(proto: Any, path: str | PathLike[str]) -> None:
    """The file, whole or not at all, once the checker has passed it."""
    onnx_package().checker.check_model(proto, full_check=True)
    storage.write_atomically(path, [proto.SerializeToString(deterministic=True)])


def check_size(n_bytes: int) -> None:
    """Refuse more weights than a file holds."""
    if n_bytes > BYTES_MAX - 2**24:
        raise ValueError(f"an ONNX file must be below 2 GiB, got {n_bytes} of weights")


def as_proto(model: Model, probabilities: bool = False) -> Any:
    """The ModelProto. probabilities: of a classifier as scikit-learn gives them, a column for each
    class."""
    onnx_package()
    check_float(model._network, "an ONNX file")
    check_size(model.theta.nbytes)
    graph = Graph(model.dtype)
    data = _data(model)
    if data is None:
        begin = graph.input("X", (model.sizes[0],), model.dtype)
    else:
        begin = features(graph, data.inputs, graph.dtype)
    end = network(graph, model, begin)
    _results(graph, model, end, data, probabilities)
    kept = {
        "begin": begin,
        "end": end,
        "architecture": model._network.architecture,
        "seed": model.seed,
        "metadata": storage.as_metadata(model.metadata),
    }
    return graph.proto(kept, sealed=not told_by_the_graph(model._network))


# --- the network


def network(graph: Graph, model: Model, x: str) -> str:
    """h^(K) of rows x."""
    return _layers(graph, model, _inputs(graph, model, x))


def _inputs(graph: Graph, model: Model, x: str) -> str:
    """h^(0) = s phi(x), column by column."""
    network = model._network
    if not network.has_inputs:
        return x
    own = (part for of in model.phi for part in of)
    parts = []
    for one, _, column, width, n, edges, _ in in_order(network.embeddings, network.n_in):
        span = [column + i for i in range(width if one is None else 1)]
        xi = graph.node("Gather", x, graph.number("columns", span, "int64"), axis=1)
        p = {} if one is None else next(own)
        if isinstance(one, Periodic):
            parts.append(xi)
            turns = graph.node("Mul", xi, graph.weight("w", p["w"]))
            angle = graph.node("Mul", turns, graph.number("turn", 2 * np.pi))
            angle = graph.node("Add", angle, graph.weight("b", p["b"]))
            given = graph.weight("V", p["V"]), graph.weight("c", p["c"])
            xi = graph.node("Gemm", graph.node("Cos", angle), *given, transB=1)
        elif edges is not None:
            left, by, least, most = (graph.number("edges", row) for row in edges)
            xi = graph.node("Mul", graph.node("Sub", xi, left), by)
            xi = graph.node("Min", graph.node("Max", xi, least), most)
        elif one is not None:
            codes = graph.number("codes", np.arange(n))
            xi = graph.cast(graph.node("Equal", xi, codes), graph.dtype)
        if "T" in p:
            T = graph.weight("T", p["T"])
            c = [graph.weight("c", p["c"])] if "c" in p else []
            xi = graph.node("Gemm", xi, T, *c)
        parts.append(xi)
    x = graph.node("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    return x if model.s is None else graph.node("Mul", x, graph.weight("s", model.s))


def _layers(graph: Graph, model: Model, h: str) -> str:
    for k, of in enumerate(chain.plain(model), 1):
        W = graph.weight(f"W{k}", of.W)
        b = None if of.b is None else graph.weight(f"b{k}", of.b)
        h = layer(graph, k, h, W, b, of)
    return h


def layer(
    graph: Graph, k: int, h: str, W: str, b: str | None, of: chain.Plain, apart: bool = False
) -> str:
    """h^(k) of h = h^(k-1); W and b by name, the rest `of`'s. apart: b is added by a node of its
    own."""
    name, last = graph.name(f"a{k}"), [] if b is None else [b]
    if apart:
        a = graph.node("Add", graph.node("Gemm", h, W, transB=1), *last, result=name)
    elif of.gamma is None:
        a = graph.node("Gemm", h, W, *last, transB=1, result=name)
    else:
        u = graph.node("Gemm", h, W, transB=1)
        parts = [u, graph.weight(f"gamma{k}", of.gamma), *last]
        a = graph.node("LayerNormalization", *parts, epsilon=of.epsilon, result=name)
    h = _activation(graph, a, plain_activation(of.activation))
    if of.alpha is None:
        return h
    # a + alpha (g(a) - a)
    by = graph.node("Mul", graph.node("Sub", h, a), graph.weight(f"alpha{k}", of.alpha))
    return graph.node("Add", a, by)


def _activation(graph: Graph, a: str, activation: str | Activation) -> str:
    name = name_of(activation)
    return ACTIVATIONS[name](graph, a, parameter_of(activation))


def _leaky_relu(graph: Graph, a: str, slope: float) -> str:
    if graph.dtype == "float32":
        return graph.node("LeakyRelu", a, alpha=slope)
    below = graph.node("Mul", a, graph.number("slope", slope))  # an attribute is a float32
    return graph.node("Where", graph.node("Greater", a, graph.number("zero", 0.0)), a, below)


def _elu(graph: Graph, a: str, alpha: float) -> str:
    if graph.dtype == "float32":
        return graph.node("Elu", a, alpha=alpha)
    return _rising(graph, a, 1.0, alpha)


def _selu(graph: Graph, a: str, _: float) -> str:
    if graph.dtype == "float32":
        return graph.node("Selu", a)
    return _rising(graph, a, 1.0507009873554804934, 1.6732632423543772848)


def _rising(graph: Graph, a: str, factor: float, alpha: float) -> str:
    """factor a where a > 0, factor alpha (e^a - 1) elsewhere; ONNX Runtime has none in double."""
    zero = graph.number("zero", 0.0)
    below = graph.node("Exp", graph.node("Min", a, zero))
    below = graph.node("Sub", below, graph.number("one", 1.0))
    below = graph.node("Mul", below, graph.number("alpha", factor * alpha))
    above = a if factor == 1 else graph.node("Mul", a, graph.number("factor", factor))
    return graph.node("Where", graph.node("Greater", a, zero), above, below)


def _softplus(graph: Graph, a: str, _: float = 0.0) -> str:
    """ln(1 + e^a) = max(a, 0) + ln(1 + e^-|a|)."""
    if graph.dtype == "float32":
        return graph.node("Softplus", a)
    small = graph.node("Exp", graph.node("Neg", graph.node("Abs", a)))
    small = graph.node("Log", graph.node("Add", small, graph.number("one", 1.0)))
    return graph.node("Add", graph.node("Relu", a), small)


def _gelu(graph: Graph, a: str, _: float) -> str:
    """a (1 + erf(a / sqrt(2))) / 2; erf in float32, ONNX Runtime has none in double."""
    z = graph.node("Mul", a, graph.number("sqrt_half", math.sqrt(0.5)))
    if graph.dtype == "float32":
        z = graph.node("Erf", z)
    else:
        z = graph.cast(graph.node("Erf", graph.cast(z, "float32")), "float64")
    return _half(graph, a, z)


def _gelu_tanh(graph: Graph, a: str, _: float) -> str:
    """a (1 + tanh(sqrt(2 / pi) (a + 0.044715 a^3))) / 2."""
    cube = graph.node("Mul", graph.node("Mul", a, a), a)
    cube = graph.node("Mul", cube, graph.number("cubic", 0.044715))
    z = graph.node("Mul", graph.node("Add", a, cube), graph.number("k", math.sqrt(2 / math.pi)))
    return _half(graph, a, graph.node("Tanh", z))


def _half(graph: Graph, a: str, z: str) -> str:
    """a (1 + z) / 2."""
    z = graph.node("Mul", graph.node("Add", z, graph.number("one", 1.0)), graph.number("half", 0.5))
    return graph.node("Mul", a, z)


def _hard_tanh(graph: Graph, a: str, _: float) -> str:
    return graph.node("Clip", a, graph.number("low", -1.0), graph.number("high", 1.0))


def _op(name: str, **attributes: Any) -> Callable[[Graph, str, float], str]:
    return lambda graph, a, _: graph.node(name, a, **attributes)


# Those with an operator of their own; and how the others, and those with attributes, are made.
ACTIVATIONS: dict[str, Callable[[Graph, str, float], str]] = {
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


def _results(
    graph: Graph, model: Model, end: str, data: Columns | None, probabilities: bool
) -> None:
    """f in the user's unit, and label."""
    spec, n_out, f = model._network, model.sizes[-1], end
    classes = _classes(model, data)
    if data is not None:
        amounts = [target for target in data.targets if isinstance(target, Amount)]
        f = in_units(graph, f, amounts, graph.dtype, graph.dtype)
    two = spec.output == "sigmoid" and n_out == 1 and classes is not None and len(classes) == 2
    n, name = n_out, "f"
    if probabilities:
        name = "probabilities"
        if two:
            others = graph.node("Sub", graph.number("one", 1.0), f)
            n, f = 2, graph.node("Concat", others, f, axis=1)
    result = graph.output(name, (n,), graph.dtype)
    graph.node("Identity", f, result=result)
    if not spec.decides or classes is None:
        return
    if spec.one_of_many and len(classes) == n_out:
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
    graph.label(best, classes)


def _classes(model: Model, data: Columns | None) -> np.ndarray | None:
    """What the outputs stand for, as `Model.predict` and the user name it."""
    if data is not None:
        return data.classes
    classes = model.metadata.get("classes")
    known = isinstance(classes, list) and any(
        classes and all(type(one) is kind for one in classes) for kind in (str, int)
    )
    return np.array(classes) if known else None
