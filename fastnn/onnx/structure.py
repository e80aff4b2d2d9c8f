"""An ONNX graph -> the steps of a sequential network.

Node by node, each name gets its value (values.py): constants are computed, data gain steps, and
what a sequential network has not becomes Unknown, an error where an output needs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastnn.errors import ModelFileError
from fastnn.interop.steps import Apply, Linear, Normalize, Scale, Step
from fastnn.network.norms import BatchNorm, LayerNorm
from fastnn.onnx import constants, functions
from fastnn.onnx.constants import at_least
from fastnn.onnx.file import SHORT, as_array, onnx_package, place_of
from fastnn.onnx.functions import ACTIVATIONS, OF_INTEGERS, decimal, same, single
from fastnn.onnx.values import (
    BATCH,
    FLOAT,
    Composite,
    Labels,
    Named,
    Node,
    Pair,
    Refused,
    Rows,
    Unknown,
)

WIDTH_MAX = 2**24  # of a row of inputs
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
        values[tensor.name] = as_array(tensor, what)
        if values[tensor.name].dtype == np.int64 and BATCH in values[tensor.name]:
            raise ModelFileError(f"{what} must not hold {BATCH}")
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
    own = {(one.domain.replace("ai.onnx", ""), one.name) for one in model.functions}
    # Constants that nodes make, and weights, which many nodes may share: about what is in the file.
    limit = max(2**28, 2 * sum(v.nbytes for v in values.values() if isinstance(v, np.ndarray)))
    for node in graph.node:
        if begin is None or begin not in node.output:
            if any(name in values for name in node.output if name):
                raise ModelFileError(f"{place_of(node)}: must give names that are not there yet")
            if (node.domain.replace("ai.onnx", ""), node.op_type) in own:
                result: Any = Unknown(f"{place_of(node)}: is a function of the file's own")
            else:
                result = _result(node, values, version, no_logarithm)
            limit -= _bytes_made(result)
            for i, name in enumerate(node.output):
                if name:
                    other = Unknown(f"{place_of(node)}: its output {name!r:.100} is not taken")
                    values[name] = result if i == 0 else other
        if limit < 0:
            raise ModelFileError("must not make many times the weights that it holds")
    return _chosen([end] if end is not None else [one.name for one in graph.output], values)


def _input(data: Any) -> Rows | Unknown:
    kind = data.type.tensor_type
    what = f"input {data.name!r:.100}"
    if not data.type.HasField("tensor_type"):
        return Unknown(f"{what} must be a tensor")
    dtype = dtype_of(kind.elem_type, narrow=True)
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


def dtype_of(kind: int, *, narrow: bool = False) -> np.dtype | None:
    """Of a TensorProto.DataType, float32 for float16 and bfloat16; None of what is no number.

    narrow: float32 also for numbers of less than 16 bits.
    """
    try:
        dtype = np.dtype(onnx_package().helper.tensor_dtype_to_np_dtype(kind))
    except (KeyError, TypeError, ValueError):
        return None
    if dtype.name in SHORT or (narrow and dtype.kind == "V"):
        return FLOAT
    return dtype if dtype.kind in "buif" else None


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
    for labels in decided:
        if not same(labels.rows.steps, steps) and not (
            same(labels.rows.steps, steps[:-1])
            and isinstance(steps[-1], Apply)
            and steps[-1].activation in ("softmax", "sigmoid")
        ):
            raise ModelFileError("must decide on labels by its output, got others")
        classes = labels.classes or classes
    width = next((s.W.shape[1] for s in steps if isinstance(s, Linear)), found[0].width)
    plain = not any(isinstance(s, Linear) for s in steps) and found[0].dtype == np.float64
    n_out = 2 if found[0].width == 1 else found[0].width
    named = classes is not None and len(classes) == n_out
    if not named or not all(isinstance(one, (str, int)) for one in classes or ()):
        classes = None
    return Network(steps, width, "float64" if plain else None, classes)


# --- nodes


def _result(node: Any, values: dict[str, Any], version: int, no_logarithm: bool) -> Any:
    """What a node gives."""
    where = place_of(node)
    for name in node.input:
        if name and name not in values:
            return Unknown(f"{where}: its input {name!r:.100} is no value")
        if name and isinstance(values[name], Unknown):
            return values[name]
    try:
        inputs = [values[name] if name else None for name in node.input]
        result = _value(Node(node, where, inputs, version), no_logarithm)
    except Refused as reason:
        return Unknown(f"{where}: {reason}")
    except (ValueError, TypeError, IndexError, KeyError, ArithmeticError) as error:
        text = str(error)
        return Unknown(text if text.startswith(where) else f"{where}: {text}")
    steps = result.steps[-1:] if isinstance(result, Rows) else ()
    for step in steps:
        numbers: tuple[Any, ...] = ()
        if isinstance(step, Linear):
            numbers = step.W, step.b
        elif isinstance(step, Scale):
            numbers = step.factor, step.shift
        elif isinstance(step, Normalize):
            numbers = step.gamma, step.beta
        if not all(one is None or np.isfinite(one).all() for one in numbers):
            return Unknown(f"{where}: must have finite constants")
    return result


def _bytes_made(result: Any) -> int:
    if isinstance(result, Rows) and result.steps and isinstance(result.steps[-1], Linear):
        return result.steps[-1].W.nbytes
    return result.nbytes if isinstance(result, np.ndarray) else 0


def _value(node: Node, no_logarithm: bool) -> Any:
    if node.domain == ML:
        return _machine_learning(node)
    if node.domain not in ("", "ai.onnx"):
        raise Refused(f"operators of {node.domain!r:.50} are not known")
    if node.op == "Constant":
        return constants.constant(node)
    if not any(node.op in table for table in KNOWN):
        raise Refused("fastnn has no such operator")
    if node.op in constants.ENTRYWISE:
        given = [value for value in node.inputs if value is not None]
        n_inputs = constants.N_INPUTS.get(node.op, len(node.inputs))
        if len(given) != n_inputs or len(node.inputs) != n_inputs:
            raise Refused(f"must have {n_inputs} inputs, got {len(given)}")
    first = node.input(0)
    if all(value is None or isinstance(value, np.ndarray) for value in node.inputs):
        if first is None:
            raise Refused("must have inputs")
        return constants.folded(node)
    for value in node.inputs:
        if isinstance(value, Named):
            raise Refused("columns with names must be an output")
    if node.op == "Gather" and isinstance(node.input(1), Labels):
        return _named_labels(first, node.input(1), node.attribute("axis", 0))
    if isinstance(first, Labels):
        if node.op in ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"):
            return first
        raise Refused("labels must be an output")
    if isinstance(first, Pair):
        if node.op == "Identity":
            return first
        if node.op == "ArgMax":
            return _decided(node, first.rows, 2)
        raise Refused("the two probabilities of a sigmoid must be an output")
    if node.op == "CastLike" and isinstance(first, np.ndarray):
        return constants.cast(first, _cast_to(node))
    if node.op in functions.OPERATORS or node.op in ACTIVATIONS:
        return _entries(node)
    if isinstance(first, Composite) and node.op in ("Identity", "Cast", "CastLike"):
        return first if node.op == "Identity" else _cast_composite(node, first)
    for value in node.inputs:
        if isinstance(value, Composite):
            return Unknown(value.why)
    if not isinstance(first, Rows) and node.op not in ("MatMul", "Gemm"):
        raise Refused("its first input must be data")
    if node.op == "LogSoftmax" and not no_logarithm:
        raise Refused(
            "fastnn has no logarithm of a softmax; to have the probabilities instead, load with "
            "output='softmax'"
        )
    if node.op not in STRUCTURE:
        raise Refused("must have constants for its inputs")
    return STRUCTURE[node.op](node, first)


def _entries(node: Node) -> Rows | Composite:
    """Sums, products and functions of single entries."""
    data = [value for value in node.inputs if isinstance(value, (Rows, Composite))]
    if len(data) + sum(v is None or isinstance(v, np.ndarray) for v in node.inputs) < len(
        node.inputs
    ):
        raise Refused("must have numbers and constants for its inputs")
    for value in data:
        dtype = functions.rows_of(value).dtype
        if dtype.kind != "f" and node.op not in OF_INTEGERS:
            raise Refused(f"its data are {dtype}, they must be cast to FLOAT first")
    first = node.input(0)
    if node.op in ACTIVATIONS and not isinstance(first, (Rows, Composite)):
        raise Refused("its first input must be data")
    if node.op in ACTIVATIONS and isinstance(first, Rows) and len(data) == 1:
        return first.then(*ACTIVATIONS[node.op](node))
    if len(data) == 1 and isinstance(data[0], Rows) and node.op in SCALES:
        at = next(i for i, value in enumerate(node.inputs) if value is data[0])
        if node.op == "Neg":
            return data[0].then(Scale(-1.0, 0.0))
        if node.op != "Div" or at == 0:
            value, rows = _for_each_row(node.constant(1 - at), data[0])
            if node.op == "Div" and not np.all(value):
                raise Refused("must divide by numbers other than 0")
            return rows.then(SCALES[node.op](value, at == 0))
    return functions.composed(node)


SCALES: dict[str, Callable[[Any, bool], Scale]] = {
    "Add": lambda c, _: Scale(1.0, c),
    "Sub": lambda c, first: Scale(1.0, -c) if first else Scale(-1.0, c),
    "Mul": lambda c, _: Scale(c, 0.0),
    "Div": lambda c, _: Scale(1 / c, 0.0),
    "Neg": lambda _, __: Scale(-1.0, 0.0),
}


def _for_each_row(constant: np.ndarray, rows: Rows) -> tuple[Any, Rows]:
    """A constant that meets rows, as a number or (width,) float64."""
    if constant.dtype.kind not in "buif":
        raise Refused(f"must have numbers for constants, got {constant.dtype}")
    shape = constant.shape
    if len(shape) > rows.rank:
        raise Refused(f"must have a constant of at most {rows.rank} dimensions, got shape {shape}")
    constant = constant.astype(np.float64)
    if constant.size == 1:
        return float(constant.reshape(())), rows
    constant = constant.reshape((1,) * (rows.rank - len(shape)) + shape)
    if rows.columns:
        constant = constant.T
    if rows.batch:
        if len(constant) != 1:
            raise Refused(f"must have a constant that is the same for each row, got shape {shape}")
        constant = constant[0]
    rows = _known(rows, constant.shape[-1])
    if None in rows.tail:
        raise Refused("the widths of its input must be known")
    if any(n not in (1, m) for n, m in zip(constant.shape, rows.tail, strict=True)):
        raise Refused(f"must have a constant that fits its data {rows}, got shape {shape}")
    tail = tuple(n for n in rows.tail if n is not None)
    return np.broadcast_to(constant, tail).reshape(-1), rows


def _known(rows: Rows, width: int) -> Rows:
    """The same where it is known now that it has one dimension of this width."""
    return replace(rows, tail=(width,)) if rows.tail == (None,) else rows


def _cast_composite(node: Node, value: Composite) -> Composite | Labels | Rows:
    dtype = _cast_to(node)
    one, root = value.function, replace(value.root, dtype=dtype)
    if one.values.dtype == bool and dtype.kind != "f":
        return _decided_at_half(value)
    if dtype.kind != "f":
        raise Refused(f"must cast to FLOAT, DOUBLE, FLOAT16 or BFLOAT16, got {dtype.name.upper()}")
    if one.values.dtype == bool:
        one = functions.function(functions.OPERATORS["Where"], one, 1.0, 0.0)
    return functions.recognized(root, one, node.where)


# --- operators on the data as a whole


def _same(node: Node, rows: Rows) -> Rows:
    return rows


def _cast_to(node: Node) -> np.dtype:
    if node.op == "CastLike":
        like = node.input(1)
        if isinstance(like, (Rows, Composite)):
            return functions.rows_of(like).dtype
        if not isinstance(like, np.ndarray):
            raise Refused("must cast to the type of data or constants")
        return like.dtype
    to = node.attribute("to", kind=int)
    dtype = dtype_of(to)
    if dtype is None:
        raise Refused(f"must cast to numbers, got {_type_name(to)}")
    return dtype


def _type_name(kind: int) -> str:
    types = onnx_package().TensorProto.DataType
    return types.Name(kind) if kind in types.values() else str(kind)


def _cast(node: Node, rows: Rows) -> Rows:
    dtype = _cast_to(node)
    if dtype.kind != "f" and not np.can_cast(rows.dtype, dtype, "safe"):
        raise Refused(f"must cast to FLOAT, DOUBLE, FLOAT16 or BFLOAT16, got {dtype.name.upper()}")
    return replace(rows, dtype=dtype)


def _dropout(node: Node, rows: Rows) -> Rows:
    training = node.input(2)
    if training is not None and (not isinstance(training, np.ndarray) or training.any()):
        raise Refused("must not be in training mode")
    return rows


def _axis(axis: int, rank: int) -> int:
    """Counted from the front."""
    if not -rank <= axis < max(rank, 1):
        raise Refused(f"must have an axis from {-rank} to {rank - 1}, got {axis}")
    return axis + rank if axis < 0 else axis


def _flatten(node: Node, rows: Rows) -> Rows:
    axis = node.attribute("axis", 1)
    last = axis == rows.rank == 1  # (n,) -> (n, 1)
    if not rows.batch or rows.columns or not (last or _axis(axis, rows.rank) == 1):
        raise Refused(f"must flatten rows, axis 1, got axis {axis} of {rows}")
    return rows.shaped(rows.width)


def _shape(node: Node, rows: Rows) -> np.ndarray:
    dims = [BATCH, *rows.tail] if rows.batch else list(rows.tail)
    if None in dims or rows.columns:
        raise Refused("the widths of its input must be known")
    return np.array(dims, np.int64)[node.attribute("start", 0) : node.attribute("end", kind=int)]


def _reshape(node: Node, rows: Rows) -> Rows:
    target = node.integers(1)
    zero_copies = not node.attribute("allowzero", 0)
    whole = rows.batch and not rows.columns and target
    if not whole or not (
        target[0] in (BATCH, rows.first or BATCH)
        or (target[0] == 0 and zero_copies)
        or (target[0] == -1 and -1 not in target[1:])
    ):
        raise Refused(f"must keep each row's entries in its row, got shape {_shown(target)}")
    tail: list[Any] = list(target[1:])
    for i, n in enumerate(tail):
        if n == 0 and zero_copies and i < len(rows.tail):
            tail[i] = rows.tail[i]
    at_least([n for n in tail if n is not None], -1)
    width = rows.width
    if tail.count(-1) == 1:
        others = math.prod(n for n in tail if n != -1) if None not in tail else 0
        if width is not None and others > 0 and width % others == 0:
            tail[tail.index(-1)] = width // others
        elif width is None and len(tail) == 1:
            tail = [None]
    if width is not None and None not in tail:
        if any(n < 1 for n in tail) or math.prod(tail) != width:
            raise Refused(
                f"must keep each row's {width} entries in its row, got shape {_shown(target)}"
            )
    elif len(tail) != 1 or tail[0] == -1:
        raise Refused("the widths of its input must be known")
    return rows.shaped(*tail)


def _shown(shape: list[int]) -> str:
    return "[" + ", ".join("batch" if n == BATCH else str(n) for n in shape) + "]"


def _squeeze(node: Node, rows: Rows) -> Rows:
    axes = node.axes()
    if axes is None or not rows.batch or rows.columns:
        raise Refused("must name the axes to squeeze")
    gone = {_axis(axis, rows.rank) for axis in axes}
    if 0 in gone or any(rows.tail[axis - 1] != 1 for axis in gone):
        raise Refused(f"must squeeze axes of length 1 after the first, got {axes}")
    return rows.shaped(*(n for i, n in enumerate(rows.tail, 1) if i not in gone))


def _unsqueeze(node: Node, rows: Rows) -> Rows:
    axes = node.axes() or []
    rank = rows.rank + len(axes)
    new = {_axis(axis, rank) for axis in axes}
    if 0 in new or len(new) < len(axes) or not rows.batch or rows.columns:
        raise Refused(f"must add axes after the first, got {axes}")
    old = iter(rows.tail)
    return rows.shaped(*(1 if i in new else next(old) for i in range(1, rank)))


def _transpose(node: Node, rows: Rows) -> Rows:
    perm = node.attribute("perm", list(range(rows.rank))[::-1])
    if perm == list(range(rows.rank)):
        return rows
    if perm != [1, 0] or rows.rank != 2 or not rows.batch:
        raise Refused(f"must exchange rows and columns, got perm {perm}")
    return replace(rows, columns=not rows.columns)


def _decided(node: Node, rows: Rows, n: int | None = None) -> Labels:
    """The greatest entry of each row."""
    axis = node.attribute("axis", 0)
    if (_axis(axis, rows.rank), len(rows.tail), rows.batch, rows.columns) != (1, 1, True, False):
        raise Refused(f"must be over the {n or rows.width} entries of each row, got axis {axis}")
    return Labels(rows)


def _decided_at_half(value: Composite) -> Labels:
    last = value.root.steps[-1:]
    sigmoid = bool(last) and isinstance(last[0], Apply) and last[0].activation == "sigmoid"
    if not sigmoid or not functions.decides_at_half(value.function):
        raise Refused("must be a sigmoid's probability above 1/2")
    return Labels(value.root)


def _concat(node: Node, rows: Rows) -> Pair:
    """1 - p and p, as scikit-learn's two classes come from one sigmoid."""
    others = node.inputs[1:]
    beside = node.attribute("axis", kind=int) in (1, -1) and rows.tail == (1,) and rows.batch
    if beside and len(others) == 1 and isinstance(others[0], Rows):
        p = others[0]
        if p.steps and same(rows.steps[:-1], p.steps) and p.layout == rows.layout:
            flip, g = rows.steps[-1], p.steps[-1]
            flips = (
                isinstance(flip, Scale) and np.all(flip.factor == -1) and np.all(flip.shift == 1)
            )
            if flips and isinstance(g, Apply) and g.activation == "sigmoid" and not rows.columns:
                return Pair(p)
    raise Refused("joins branches: a sequential network has none")


def _of_floats(rows: Rows) -> None:
    if rows.dtype.kind != "f":
        raise Refused(f"its data are {rows.dtype}, they must be cast to FLOAT first")


def _batch_norm(node: Node, rows: Rows) -> Rows:
    _of_floats(rows)
    if node.attribute("training_mode", 0):
        raise Refused("must not be in training mode")
    if rows.columns or not rows.batch:
        raise Refused(f"must be over rows, got {rows}")
    parts = [node.constant(i) for i in range(1, 5)]
    if any(v.ndim != 1 or v.shape != parts[0].shape or v.dtype.kind != "f" for v in parts):
        shapes = [v.shape for v in parts]
        raise Refused(f"must have vectors for scale, bias, mean and variance, got {shapes}")
    gamma, beta, mean, variance = (v.astype(np.float64) for v in parts)
    norm = BatchNorm(epsilon=node.attribute("epsilon", 1e-5))
    if not (variance + norm.epsilon > 0).all():
        raise Refused("must have variances above 0")
    scale = Normalize(norm, gamma, beta, mean, variance, node.where).scale
    rows = _known(rows, len(gamma))
    if not rows.tail or rows.tail[0] != len(gamma):
        raise Refused(f"must have data of {len(gamma)} channels, got {rows}")
    if rows.width is None:
        raise Refused("the widths of its input must be known")
    each = rows.width // len(gamma)
    return rows.then(Scale(np.repeat(scale.factor, each), np.repeat(scale.shift, each)))


def _layer_norm(node: Node, rows: Rows) -> Rows:
    _of_floats(rows)
    axis = _axis(node.attribute("axis", -1), rows.rank)
    if len(rows.tail) != 1 or rows.columns or axis != rows.rank - 1:
        raise Refused(f"must be over the {rows.width} entries of each row")
    gamma = node.constant(1)
    beta = None if node.input(2) is None else node.constant(2)
    if any(v is not None and v.shape != (rows.width,) for v in (gamma, beta)):
        raise Refused(f"must have {rows.width} entries for scale and bias")
    norm = LayerNorm(decimal(node.attribute("epsilon", 1e-5)))
    return rows.then(Normalize(norm, gamma, beta, None, None, node.where))


def _softmax(node: Node, rows: Rows) -> Rows:
    _of_floats(rows)
    axis = node.attribute("axis", -1 if node.version >= 13 else 1)
    last = 0 if rows.columns or not rows.batch else 1
    if len(rows.tail) != 1 or _axis(axis, rows.rank) != last:
        raise Refused(f"must be over the {rows.width} entries of each row, got axis {axis}")
    return rows.then(Apply("softmax", node.where))


def _product(node: Node, _: Any) -> Rows:
    left, right = node.input(0), node.input(1)
    gemm = node.op == "Gemm"
    turn = [bool(node.attribute(name, 0)) for name in ("transA", "transB")] if gemm else [0, 0]
    data = left if isinstance(left, Rows) else right
    if not isinstance(data, Rows) or (isinstance(left, Rows) and isinstance(right, Rows)):
        raise Refused("must multiply data by a constant")
    _of_floats(data)
    on_left = data is left
    W = node.constant(1 if on_left else 0)
    if W.ndim != 2 or W.dtype.kind != "f":
        raise Refused(f"must have a matrix of floats for W, got {W.dtype} of shape {W.shape}")
    if len(data.tail) != 1 or not data.batch:
        raise Refused(f"its data must have shape (batch, n), got {data}")
    W = W.T if turn[1 if on_left else 0] else W  # as it is multiplied
    W = W.T if on_left else W  # (n_out, n_in)
    # A = (rows) W^T, or W (columns).
    data = _laid_out(data, columns=not on_left, turned=bool(turn[0 if on_left else 1]))
    if data.width not in (None, W.shape[1]):
        raise Refused(f"must have {data.width} inputs, its W has {W.shape[1]}")
    b = None
    if gemm:
        alpha, beta = (float(node.attribute(name, 1.0)) for name in ("alpha", "beta"))
        W = W if alpha == 1 else W * np.asarray(alpha, W.dtype)
        if node.input(2) is not None and beta:
            b = _per_output(node.constant(2), len(W), data)
            b = b if beta == 1 else b * np.asarray(beta, b.dtype)
    return data.then(Linear(W, b, node.where)).shaped(len(W))


def _laid_out(data: Rows, *, columns: bool, turned: bool) -> Rows:
    """The data as a sample a row, or a column. At the network's beginning nobody knows yet which
    it is: the product tells."""
    if data.columns ^ turned == columns:
        return replace(data, columns=columns)
    if not data.either or not all(single(step) for step in data.steps):
        raise Refused("must sum over each sample's entries, not over samples")
    return replace(data, tail=(data.first,), first=data.tail[0], columns=columns)


def _per_output(C: np.ndarray, n_out: int, data: Rows) -> np.ndarray:
    """C of a Gemm as b (n_out,)."""
    shape = (1, 1, *C.shape)[-2:]  # as it meets the product, (batch, n_out) or (n_out, batch)
    n, rows = shape[::-1] if not data.columns else shape
    if C.ndim > 2 or rows != 1 or n not in (1, n_out) or C.dtype.kind != "f":
        raise Refused(f"its C must be the same for each row, got shape {C.shape}")
    return np.broadcast_to(C.reshape(n), (n_out,))


STRUCTURE: dict[str, Callable[[Node, Rows], Any]] = {
    "Identity": _same,
    "Cast": _cast,
    "CastLike": _cast,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Shape": _shape,
    "ArgMax": _decided,
    "Concat": _concat,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "MatMul": _product,
    "Gemm": _product,
}
# Names of operators that are there for constants, for data, or for both.
KNOWN = (STRUCTURE, ACTIVATIONS, functions.OPERATORS, constants.OPERATORS)


# --- classes, and operators of ai.onnx.ml


def _named_labels(names: Any, labels: Labels, axis: int = 0) -> Labels:
    if not isinstance(names, np.ndarray) or names.squeeze().ndim > 1 or axis not in (0, -1):
        raise Refused("must pick from a vector of names")
    return Labels(labels.rows, tuple(_texts(names.reshape(-1))))


def _machine_learning(node: Node) -> Any:
    first = node.input(0)
    if node.op == "ZipMap" and isinstance(first, (Rows, Pair)):
        texts, numbers = (
            node.attribute(f"classlabels_{kind}", kind=list) for kind in ("strings", "int64s")
        )
        return Named(first, tuple(_texts(texts or numbers or ())))
    if node.op == "ArrayFeatureExtractor" and isinstance(node.input(1), Labels):
        return _named_labels(first, node.input(1))
    if node.op == "Binarizer" and isinstance(first, Rows):
        if node.attribute("threshold", 0.0) != 0.5:
            raise Refused("must decide at 1/2")
        return Labels(first)
    if node.op == "Scaler" and isinstance(first, Rows):
        first = replace(first, dtype=FLOAT)
        offset, scale = (
            np.array(node.attribute(name, [default], list))
            for name, default in (("offset", 0.0), ("scale", 1.0))
        )
        offset, rows = _for_each_row(offset, first)
        scale, rows = _for_each_row(scale, rows)
        return rows.then(Scale(scale, -offset * scale))
    raise Refused("fastnn has no such operator")


def _texts(values: Any) -> list[Any]:
    """Names of classes as text or int."""
    values = values.tolist() if isinstance(values, np.ndarray) else values
    return [one.decode(errors="replace") if isinstance(one, bytes) else one for one in values]
