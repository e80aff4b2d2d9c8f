"""Operators on constants alone, which exporters leave in a graph: computed as ONNX does, integers
as integers."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.onnx.file import FLOAT, SHORT, dtype_of
from fastnn.onnx.values import BATCH, Node, Refused

SHAPE_MAX = 64  # entries of constants that are joined or picked from: shapes


def _div(a: Any, b: Any) -> Any:
    """Of integers the quotient without its fraction: -7 / 2 is -3."""
    if np.result_type(a, b).kind == "f":
        return np.divide(a, b)
    if (np.asarray(b) == 0).any():
        raise Refused("must divide by numbers other than 0")
    whole = np.floor_divide(a, b)
    return whole + ((whole < 0) & (whole * b != a))


# Functions of single entries, for constants here and for data in functions.py.
ENTRYWISE: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _div,
    "Pow": np.power,
    "Min": lambda *values: functools.reduce(np.minimum, values),
    "Max": lambda *values: functools.reduce(np.maximum, values),
    "Neg": np.negative,
    "Abs": np.abs,
    "Sqrt": np.sqrt,
    "Reciprocal": np.reciprocal,
    "Exp": np.exp,
    "Log": np.log,
    "Erf": np.vectorize(math.erf, otypes=[float]),
    "Erfc": np.vectorize(math.erfc, otypes=[float]),  # no operator of ONNX, but tf2onnx's
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Where": np.where,
}
N_INPUTS = {"Div": 2, "Erf": 1, "Erfc": 1, "Where": 3} | {
    name: g.nin for name, g in ENTRYWISE.items() if isinstance(g, np.ufunc)
}  # of Min and Max any number
OF_FLOATS = {"Pow", "Sqrt", "Reciprocal", "Exp", "Log", "Erf", "Erfc"}
OF_ANY = {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Where"}  # not of their input's type


def constant(node: Node) -> np.ndarray:
    """What a node Constant holds."""
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if (value := node.attribute(name)) is not None:
            return np.asarray(value, np.float32) if "float" in name else np.asarray(value)
    for name in ("value_string", "value_strings"):
        if (value := node.attribute(name)) is not None:
            return np.asarray(value, object)
    raise Refused("its value must be a tensor or numbers")


def folded(node: Node) -> np.ndarray:
    """What a node gives, of constants alone."""
    operator = OPERATORS.get(node.op)
    if operator is None and node.op not in ENTRYWISE:
        raise Refused(f"fastnn does not compute {node.op} of constants")
    if node.input(0) is None:
        raise Refused("must have an input")
    arrays = [value for value in node.inputs if value is not None]
    if node.op not in MOVES and any(BATCH in v for v in arrays if v.dtype == np.int64):
        raise Refused("must not compute with the number of rows")
    try:
        return np.asarray(operator(node, arrays[0]) if operator else _entrywise(node, arrays))
    except (ValueError, TypeError, IndexError, ArithmeticError):
        shapes = ", ".join(str(value.shape) for value in arrays)
        raise Refused(f"cannot be computed of constants of shapes {shapes}") from None


def _entrywise(node: Node, arrays: list[np.ndarray]) -> np.ndarray:
    x = arrays[0]
    check_inputs(node)
    if any(value.dtype.kind not in "buif" for value in arrays):
        raise Refused("must have numbers for constants")
    if node.op in OF_FLOATS and x.dtype.kind != "f":
        raise Refused(f"must have floats for constants, got {x.dtype}")
    shapes = [value.shape for value in arrays]
    shape = np.broadcast_shapes(*shapes)
    if shape not in shapes and math.prod(shape) > SHAPE_MAX:
        raise Refused(f"constants of shapes {shapes} must not grow together")
    result = np.asarray(ENTRYWISE[node.op](*arrays))
    return result if node.op in OF_ANY else result.astype(x.dtype, copy=False)


def check_inputs(node: Node) -> None:
    """As many as a function of single entries takes."""
    given = sum(value is not None for value in node.inputs)
    n = N_INPUTS.get(node.op, given)
    if len(node.inputs) != n or given != n:
        raise Refused(f"must have {n} inputs, got {given}")


def _cast(node: Node, x: np.ndarray) -> np.ndarray:
    to = node.attribute("to", kind=int)
    target = dtype_of(to)
    if target is None or (target.kind not in "buif" and target.name not in SHORT):
        raise Refused(f"must cast to numbers, got type {to}")
    return cast(x, target)


def cast(x: np.ndarray, to: np.dtype) -> np.ndarray:
    """Rounded as `to` rounds; float16 and bfloat16 are then kept as float32."""
    if x.dtype.kind not in "buif":
        raise Refused("must cast numbers to numbers")
    if x.dtype == to:
        return x
    if x.dtype == np.int64 and BATCH in x:
        raise Refused("must not compute with the number of rows")
    if to.name in SHORT:
        return x.astype(to).astype(FLOAT)
    if to.kind in "iu":
        whole = np.trunc(x)
        least, most = np.iinfo(to).min, np.iinfo(to).max
        if not ((whole >= least) & (whole < most + 1)).all():
            raise Refused(f"must cast numbers that {to} has")
    return x.astype(to)


def _cast_like(node: Node, x: np.ndarray) -> np.ndarray:
    return cast(x, node.constant(1).dtype)


def _reshape(node: Node, x: np.ndarray) -> np.ndarray:
    zero_copies = not node.attribute("allowzero", 0)
    shape = [x.shape[i] if n == 0 and zero_copies else n for i, n in enumerate(node.integers(1))]
    return x.reshape(at_least(shape, -1))


def at_least(shape: list[int], least: int) -> list[int]:
    if any(n < least for n in shape):
        raise Refused(f"must have a shape of numbers from {least}, got {shape}")
    return shape


def _squeeze(node: Node, x: np.ndarray) -> np.ndarray:
    axes = node.axes()
    return np.squeeze(x, None if axes is None else tuple(axes))


def _small(x: np.ndarray) -> np.ndarray:
    if x.size > SHAPE_MAX:
        raise Refused("its constants are too large for a shape")
    return x


def _concat(node: Node, _: np.ndarray) -> np.ndarray:
    arrays = [_small(node.constant(i)) for i in range(len(node.inputs))]
    return np.concatenate(arrays, node.attribute("axis", kind=int))


def _gather(node: Node, x: np.ndarray) -> np.ndarray:
    return np.take(_small(x), _small(node.constant(1)), node.attribute("axis", 0))


def _slice(node: Node, x: np.ndarray) -> np.ndarray:
    if node.version < 10:
        starts, ends = (node.attribute(name, [], list) for name in ("starts", "ends"))
        axes, steps = node.attribute("axes", kind=list), None
    else:
        starts, ends = node.integers(1), node.integers(2)
        axes, steps = (None if node.input(i) is None else node.integers(i) for i in (3, 4))
    axes = list(range(len(starts))) if axes is None else axes
    steps = steps or [1] * len(starts)
    picked = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        picked[axis] = slice(start, end, step)
    return _small(x)[tuple(picked)]


def _shape(node: Node, x: np.ndarray) -> np.ndarray:
    return np.array(x.shape, np.int64)[node.attribute("start", 0) : node.attribute("end")]


OPERATORS: dict[str, Callable[[Node, np.ndarray], np.ndarray]] = {
    "Identity": lambda node, x: x,
    "Dropout": lambda node, x: x,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Transpose": lambda node, x: np.transpose(x, node.attribute("perm", kind=list)),
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": lambda node, x: np.expand_dims(x, tuple(node.axes() or ())),
    "Concat": _concat,
    "Gather": _gather,
    "Slice": _slice,
    "Shape": _shape,
}
MOVES = OPERATORS.keys()  # what leaves each number as it is
