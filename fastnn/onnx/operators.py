"""Operators on the data: Rows in, Rows out, with a step more or laid out otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.interop.steps import Apply, Linear, Normalize, Scale
from fastnn.network.norms import BatchNorm, LayerNorm
from fastnn.onnx import functions
from fastnn.onnx.constants import at_least, check_inputs
from fastnn.onnx.file import FLOAT, number_type, onnx_package
from fastnn.onnx.functions import ACTIVATIONS, OF_INTEGERS, Composite, decimal, single
from fastnn.onnx.values import BATCH, Node, Refused, Rows

# --- single entries


def entries(node: Node) -> Rows | Composite:
    """Sums, products and functions of single entries."""
    data = [value for value in node.inputs if isinstance(value, (Rows, Composite))]
    if node.op not in ACTIVATIONS:
        check_inputs(node)
    for value in data:
        dtype = functions.rows_of(value).dtype
        if dtype.kind != "f" and node.op not in OF_INTEGERS:
            raise Refused(f"its data are {dtype}, they must be cast to FLOAT first")
    first = node.input(0)
    if node.op in ACTIVATIONS and not isinstance(first, (Rows, Composite)):
        raise Refused("its first input must be data")
    if node.op in ACTIVATIONS and isinstance(first, Rows) and len(data) == 1:
        return first.then(*ACTIVATIONS[node.op](node))
    if node.op == "Neg" and isinstance(first, Rows):
        return first.then(Scale(-1.0, 0.0))
    if len(data) == 1 and isinstance(data[0], Rows) and node.op in SCALES:
        at = next(i for i, value in enumerate(node.inputs) if value is data[0])
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


def cast_composite(node: Node, value: Composite) -> Composite | Rows:
    dtype = cast_to(node)
    one, root = value.function, replace(value.root, dtype=dtype)
    if dtype.kind != "f":
        raise Refused(f"must cast to FLOAT, DOUBLE, FLOAT16 or BFLOAT16, got {dtype.name.upper()}")
    if one.values.dtype == bool:
        one = functions.function(functions.OPERATORS["Where"], one, 1.0, 0.0)
    return functions.recognized(root, one, node.where)


def scaler(node: Node, rows: Rows) -> Rows:
    """ai.onnx.ml's (x - offset) * scale."""
    offset, scale = (
        np.array(node.attribute(name, [default], list))
        for name, default in (("offset", 0.0), ("scale", 1.0))
    )
    offset, rows = _for_each_row(offset, replace(rows, dtype=FLOAT))
    scale, rows = _for_each_row(scale, rows)
    return rows.then(Scale(scale, -offset * scale))


# --- rows as a whole


def _same(node: Node, rows: Rows) -> Rows:
    return rows


def cast_to(node: Node) -> np.dtype:
    if node.op == "CastLike":
        like = node.input(1)
        if isinstance(like, (Rows, Composite)):
            return functions.rows_of(like).dtype
        if not isinstance(like, np.ndarray):
            raise Refused("must cast to the type of data or constants")
        return np.dtype(like.dtype)
    to = node.attribute("to", kind=int)
    dtype = number_type(to)
    if dtype is None:
        raise Refused(f"must cast to numbers, got {_type_name(to)}")
    return dtype


def _type_name(kind: int) -> str:
    types = onnx_package().TensorProto.DataType
    return types.Name(kind) if kind in types.values() else str(kind)


def _cast(node: Node, rows: Rows) -> Rows:
    dtype = cast_to(node)
    if dtype.kind != "f" and not np.can_cast(rows.dtype, dtype, "safe"):
        raise Refused(f"must cast to FLOAT, DOUBLE, FLOAT16 or BFLOAT16, got {dtype.name.upper()}")
    return replace(rows, dtype=dtype)


def _dropout(node: Node, rows: Rows) -> Rows:
    training = node.input(2)
    if training is not None and (not isinstance(training, np.ndarray) or training.any()):
        raise Refused("must not be in training mode")
    return rows


def from_front(axis: int, rank: int) -> int:
    """Counted from the front."""
    if not -rank <= axis < max(rank, 1):
        raise Refused(f"must have an axis from {-rank} to {rank - 1}, got {axis}")
    return axis + rank if axis < 0 else axis


def _flatten(node: Node, rows: Rows) -> Rows:
    axis = node.attribute("axis", 1)
    last = axis == rows.rank == 1  # (n,) -> (n, 1)
    if not rows.batch or rows.columns or not (last or from_front(axis, rows.rank) == 1):
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
    gone = {from_front(axis, rows.rank) for axis in axes}
    if 0 in gone or any(rows.tail[axis - 1] != 1 for axis in gone):
        raise Refused(f"must squeeze axes of length 1 after the first, got {axes}")
    return rows.shaped(*(n for i, n in enumerate(rows.tail, 1) if i not in gone))


def _unsqueeze(node: Node, rows: Rows) -> Rows:
    axes = node.axes() or []
    rank = rows.rank + len(axes)
    new = {from_front(axis, rank) for axis in axes}
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
    axis = from_front(node.attribute("axis", -1), rows.rank)
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
    if len(rows.tail) != 1 or from_front(axis, rows.rank) != last:
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


OPERATORS: dict[str, Callable[[Node, Rows], Any]] = {
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
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "MatMul": _product,
    "Gemm": _product,
}
