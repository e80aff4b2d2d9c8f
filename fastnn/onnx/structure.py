"""An ONNX graph -> the steps of a sequential network.

Node by node, each name gets its value (values.py): constants are computed, data gain steps, and
what a sequential network has not becomes Unknown, an error where an output needs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.errors import ModelFileError
from fastnn.interop.steps import Apply, Linear, Normalize, Scale, Step
from fastnn.onnx import constants, functions, labels, operators
from fastnn.onnx.file import as_array, number_type, place_of
from fastnn.onnx.functions import Composite
from fastnn.onnx.values import (
    BATCH,
    Labels,
    Named,
    Node,
    Pair,
    Refused,
    Rows,
    Unknown,
    domain_of,
    same,
)

WIDTH_MAX = 2**22  # of a row of inputs
OPSET_MIN = 7
ML = "ai.onnx.ml"


@dataclass(frozen=True)
class Network:
    """What a graph is as a sequential network."""

    steps: tuple[Step, ...]
    width: int | None
    dtype: str | None  # None: its weights'
    classes: tuple[Any, ...] | None


def sequential(
    model: Any, begin: str | None = None, end: str | None = None, *, no_logarithm: bool = False
) -> Network:
    """The network from the tensor `begin` to `end`; by default from the input to the output.

    no_logarithm: of LogSoftmax, the softmax is taken.
    """
    graph = model.graph
    versions = {entry.domain: entry.version for entry in model.opset_import}
    version = versions.get("", versions.get("ai.onnx", OPSET_MIN))
    if version < OPSET_MIN:
        raise ModelFileError(f"must be of opset {OPSET_MIN} at least, got {version}")
    values: dict[str, Any] = {}
    for tensor in graph.initializer:
        what = f"tensor {tensor.name!r:.100}"
        if tensor.name in values:
            raise ModelFileError(f"{what} must be there once")
        values[tensor.name] = _without_batch(as_array(tensor, what), what)
    inputs = [one for one in graph.input if one.name not in values]
    if begin is not None:
        for one in inputs:
            values[one.name] = Unknown(f"{one.name!r} stands before {begin!r}")
        values[begin] = Rows(either=True)
    elif len(inputs) != 1:
        names = ", ".join(one.name for one in inputs)
        raise ModelFileError(f"must have one input, got {len(inputs)}: {names:.200}")
    else:
        (data,) = inputs
        values[data.name] = _input(data)
    own = {(domain_of(one), one.name) for one in model.functions}
    # Constants that nodes make, and weights, which many nodes may share: about what is in the file.
    limit = max(2**28, 2 * sum(v.nbytes for v in values.values() if isinstance(v, np.ndarray)))
    for node in graph.node:
        if begin is None or begin not in node.output:
            if any(name in values for name in node.output if name):
                raise ModelFileError(f"{place_of(node)}: must give names that are not there yet")
            result: Any = Unknown(f"{place_of(node)}: is a function of the file's own")
            if (domain_of(node), node.op_type) not in own:
                result, n_bytes = _result(node, values, version, no_logarithm)
                limit -= n_bytes
            for i, name in enumerate(node.output):
                if name:
                    other = Unknown(f"{place_of(node)}: its output {name!r:.100} is not taken")
                    values[name] = result if i == 0 else other
        if limit < 0:
            raise ModelFileError("must not make many times the weights that it holds")
    return _chosen([end] if end is not None else [one.name for one in graph.output], values)


def _without_batch(array: np.ndarray, what: str) -> np.ndarray:
    if array.dtype == np.int64 and BATCH in array:
        raise ModelFileError(f"{what} must not hold {BATCH}")
    return array


def _input(data: Any) -> Rows | Unknown:
    kind = data.type.tensor_type
    what = f"input {data.name!r:.100}"
    if not data.type.HasField("tensor_type"):
        return Unknown(f"{what} must be a tensor")
    dtype = number_type(kind.elem_type, narrow=True)
    if dtype is None:
        return Unknown(f"{what} must be numbers")
    if not kind.HasField("shape"):
        return Rows(either=True, dtype=dtype)
    dims = [one.dim_value if one.HasField("dim_value") else None for one in kind.shape.dim]
    if not dims or any(one is not None and one < 1 for one in dims[1:]):
        return Unknown(f"{what} must have rows of numbers, got shape {dims}")
    if math.prod(one for one in dims[len(dims) > 1 :] if one is not None) > WIDTH_MAX:
        return Unknown(f"{what} must have at most {WIDTH_MAX} numbers a row")
    if len(dims) > 1:
        return Rows((), tuple(dims[1:]), dims[0] or None, either=len(dims) == 2, dtype=dtype)
    if not dims[0]:
        return Unknown(f"{what} must have two dimensions, got {dims}")
    return Rows((), (dims[0],), batch=False, dtype=dtype)  # one row alone


def _chosen(outputs: Iterable[str], values: dict[str, Any]) -> Network:
    found: list[Rows] = []
    decided: list[Labels] = []
    classes: tuple[Any, ...] | None = None
    for name in outputs:
        value = values.get(name, Unknown(f"output {name!r} is no node's"))
        if isinstance(value, Named):
            classes = value.classes
            value = value.value
        if isinstance(value, Pair):
            value = value.rows
        if isinstance(value, Rows):
            found.append(value)
        elif isinstance(value, Labels):
            decided.append(value)
        elif isinstance(value, (Unknown, Composite)):
            raise ModelFileError(value.why)
        else:
            raise ModelFileError(f"output {name!r} must be numbers for each row of the input")
    if not found:
        raise ModelFileError("must have an output of numbers")
    steps = found[0].steps
    if not all(same(one.steps, steps) for one in found):
        raise ModelFileError(f"must have one output, got {len(found)} different ones")
    last = steps[-1] if steps else None
    rising = isinstance(last, Apply) and last.activation in ("softmax", "sigmoid")
    for one in decided:
        by = one.rows.steps
        if not same(by, steps) and not (rising and same(by, steps[:-1])):
            raise ModelFileError("must decide on labels by its output, got others")
        classes = one.classes or classes
    width = next((s.W.shape[1] for s in steps if isinstance(s, Linear)), found[0].width)
    plain = not any(isinstance(s, Linear) for s in steps) and found[0].dtype == np.float64
    n_out = 2 if found[0].width == 1 else found[0].width
    named = classes is not None and len(classes) == n_out
    if not named or not all(isinstance(one, (str, int)) for one in classes or ()):
        classes = None
    return Network(steps, width, "float64" if plain else None, classes)


# --- nodes


def _result(
    node: Any, values: dict[str, Any], version: int, no_logarithm: bool
) -> tuple[Any, int]:
    """What a node gives, and how many bytes of constants it made or used."""
    where = place_of(node)
    for name in node.input:
        if name and name not in values:
            return Unknown(f"{where}: its input {name!r:.100} is no value"), 0
        if name and isinstance(values[name], Unknown):
            return values[name], 0
    inputs = [values[name] if name else None for name in node.input]
    try:
        result = _value(Node(node, where, inputs, version), no_logarithm)
    except Refused as reason:
        return Unknown(f"{where}: {reason}"), 0
    except (ValueError, TypeError, IndexError, KeyError, ArithmeticError) as error:
        text = str(error)
        return Unknown(text if text.startswith(where) else f"{where}: {text}"), 0
    if isinstance(result, np.ndarray):
        return result, result.nbytes
    numbers = _gained(result, inputs)
    if not all(np.isfinite(one).all() for one in numbers):
        return Unknown(f"{where}: must have finite constants"), 0
    return result, sum(one.nbytes for one in numbers)


def _gained(result: Any, inputs: list[Any]) -> list[np.ndarray]:
    """The numbers of the steps that a node added."""
    old = [step for rows in inputs if isinstance(rows, Rows) for step in rows.steps[-8:]]
    numbers: list[Any] = []
    for step in result.steps[-4:] if isinstance(result, Rows) else ():
        if any(step is one for one in old):
            continue
        if isinstance(step, Linear):
            numbers += [step.W, step.b]
        elif isinstance(step, Scale):
            numbers += [step.factor, step.shift]
        elif isinstance(step, Normalize):
            numbers += [step.gamma, step.beta]
    return [np.asarray(one) for one in numbers if one is not None]


def _value(node: Node, no_logarithm: bool) -> Any:
    """What its operator gives: by the kind of its inputs."""
    if node.domain not in ("", ML):
        raise Refused(f"operators of {node.domain!r:.50} are not known")
    if node.domain == "" and node.op == "Constant":
        return _without_batch(constants.constant(node), "its value")
    if not any(node.op in table for table in KNOWN[node.domain]):
        raise Refused("fastnn has no such operator")
    first, kinds = node.input(0), {type(value) for value in node.inputs}
    if kinds <= {np.ndarray, type(None)} and node.domain == "":
        return constants.folded(node)
    if Named in kinds:
        raise Refused("columns with names must be an output")
    if Labels in kinds and node.op in ("Gather", "ArrayFeatureExtractor"):
        return labels.named(first, node.labels(1), node.attribute("axis", 0))
    if isinstance(first, Labels):
        return labels.of_labels(node, first)
    if isinstance(first, Pair) and node.domain == "":
        return labels.of_pair(node, first)
    if not kinds <= {Rows, Composite, np.ndarray, type(None)} and node.op != "ZipMap":
        raise Refused("must have data and constants for its inputs")
    if node.domain == "" and (node.op in functions.OPERATORS or node.op in functions.ACTIVATIONS):
        return operators.entries(node)
    if node.op == "CastLike" and isinstance(first, np.ndarray):
        return constants.cast(first, operators.cast_to(node))
    if isinstance(first, Composite) and node.op in ("Identity", "Cast", "CastLike"):
        if node.op == "Identity":
            return first
        decides = first.function.values.dtype == bool and operators.cast_to(node).kind != "f"
        return labels.likely(first) if decides else operators.cast_composite(node, first)
    for value in node.inputs:
        if isinstance(value, Composite):
            return Unknown(value.why)
    if not isinstance(first, Rows) and node.op not in ("MatMul", "Gemm", "ZipMap"):
        raise Refused("its first input must be data")
    if node.op == "LogSoftmax" and not no_logarithm:
        raise Refused(
            "fastnn has no logarithm of a softmax; to have the probabilities instead, load with "
            "output='softmax'"
        )
    operator = (MACHINE_LEARNING if node.domain == ML else STRUCTURE).get(node.op)
    if operator is None:
        raise Refused("must have constants for its inputs")
    return operator(node, first)


STRUCTURE: dict[str, Callable[[Node, Any], Any]] = {
    **operators.OPERATORS,
    "ArgMax": labels.greatest,
    "Concat": labels.pair,
}
MACHINE_LEARNING: dict[str, Callable[[Node, Any], Any]] = {
    "ZipMap": labels.with_names,
    "Binarizer": labels.binarized,
    "Scaler": operators.scaler,
}
# Names of the operators of each domain, for constants or for data.
KNOWN: dict[str, tuple[Any, ...]] = {
    "": (STRUCTURE, functions.ACTIVATIONS, functions.OPERATORS, constants.OPERATORS),
    ML: (MACHINE_LEARNING, ("ArrayFeatureExtractor",)),
}
