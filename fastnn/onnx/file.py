"""An ONNX graph -> the steps of a sequential network.

Each value of the graph is one of

    array       a constant; of what `Shape` gives, the number of rows is BATCH
    Rows        the data on its way: the steps so far
    Composite   a function of single entries that is none of fastnn's activations yet, by its values
                on GRID: exporters write silu as x * sigmoid(x) and gelu as a dozen operators
    Pair        of one sigmoid p: the columns 1 - p, p
    Labels      what was decided from Rows
    Unknown     nothing that a sequential network has, and why: an error if the output needs it

Whatever stands in the file is checked before anything is allocated for it.
"""

from __future__ import annotations

import functools
import math
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from fastnn.errors import MissingExtraError, ModelFileError
from fastnn.interop import steps as chain
from fastnn.interop.steps import Apply, Linear, Normalize, Scale, Step
from fastnn.network.activations import ELU, LeakyReLU
from fastnn.network.norms import BatchNorm, LayerNorm

BYTES_MAX = 2**31 - 1  # of a protobuf message
NODES_MAX = 10_000
WIDTH_MAX = 2**24  # of a row of inputs
SHAPE_MAX = 64  # entries of constants that are joined or picked from: shapes
OPSET_MIN = 7
BATCH = -(2**62)  # the number of rows, in shapes
ML = "ai.onnx.ml"

# Where Composites are compared: everywhere that activations bend, and far out.
_FAR = np.geomspace(9, 1e5, 60)
GRID = np.concatenate([-_FAR[::-1], np.linspace(-8.03, 8.03, 401), _FAR])
TOLERANCE = 1e-6
SHAPES = ("relu", "sigmoid", "tanh", "softplus", "gelu", "gelu_tanh", "silu", "mish", "elu", "selu")


class Refused(Exception):
    """Why a node cannot be taken."""


@dataclass(frozen=True)
class Rows:
    """The data, (first, *tail), of which fastnn sees rows of flat tails; None where unknown."""

    steps: tuple[Step, ...] = ()
    tail: tuple[int | None, ...] = (None,)
    first: int | None = None  # how many rows
    batch: bool = True  # or one row alone, without that axis
    columns: bool = False  # a sample a column: (*tail, first)

    @property
    def rank(self) -> int:
        return len(self.tail) + self.batch

    @property
    def width(self) -> int | None:
        return None if None in self.tail else math.prod(self.tail)  # type: ignore[arg-type]

    def then(self, *steps: Step) -> Rows:
        return replace(self, steps=self.steps + steps)


@dataclass(frozen=True)
class Composite:
    root: Rows
    values: np.ndarray  # of GRID
    where: str

    @property
    def why(self) -> str:
        return f"{self.where}: what it computes is none of fastnn's activations"


@dataclass(frozen=True)
class Pair:
    rows: Rows


@dataclass(frozen=True)
class Labels:
    classes: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Unknown:
    why: str


def onnx_package() -> Any:
    """The package onnx."""
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("fastnn.onnx needs onnx: pip install 'fastnn[onnx]'") from None
    return onnx


def read(path: str | PathLike[str]) -> Any:
    """The ModelProto in a file, its tensors' data in it. Raises ModelFileError, OSError."""
    onnx = onnx_package()
    from google.protobuf.message import DecodeError

    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError("must be a regular file")
        if status.st_size > BYTES_MAX:
            raise ModelFileError(f"must be at most {BYTES_MAX} bytes, got {status.st_size}")
        content = file.read()
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise ModelFileError(f"must be an ONNX model, and whole: {error}") from None
    if not model.HasField("graph") or not model.opset_import or not model.graph.output:
        raise ModelFileError("must be an ONNX model, and whole: it has no graph")
    if len(model.graph.node) > NODES_MAX:
        raise ModelFileError(f"must have at most {NODES_MAX} nodes, got {len(model.graph.node)}")
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _bring_in(tensor, os.path.dirname(os.path.abspath(path)))
    return model


def _bring_in(tensor: Any, folder: str) -> None:
    """Data that stands in another file: one beside the model's, whole, and no link."""
    onnx = onnx_package()
    entries = {entry.key: entry.value for entry in tensor.external_data}
    name, what = entries.get("location", ""), f"tensor {tensor.name!r:.100}: its external data"
    if not name or os.path.basename(name) != name or name in (".", "..") or "\\" in name:
        raise ModelFileError(f"{what} must be in a file beside the model's, got {name!r:.100}")
    path = os.path.join(folder, name)
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        raise ModelFileError(f"{what} must be in {name!r:.100}, there is no such file") from None
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError(f"{what} must be in a regular file, {name!r:.100} is none")
    start, size = entries.get("offset", "0"), _bytes_of(tensor, what)
    if not start.isdecimal() or len(start) > 18 or entries.get("length", str(size)) != str(size):
        raise ModelFileError(f"{what} must be {size} bytes from an offset, got {entries}"[:300])
    with open(path, "rb") as file:
        file.seek(int(start))
        data = file.read(min(size, status.st_size))
    if len(data) != size:
        raise ModelFileError(f"{what} must be {size} bytes of {name!r:.100}, got {len(data)}")
    tensor.raw_data = data
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def _bytes_of(tensor: Any, what: str) -> int:
    helper = onnx_package().helper
    try:
        size = int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, TypeError, ValueError):
        raise ModelFileError(f"{what} must be numbers, got type {tensor.data_type}") from None
    return math.prod(tensor.dims) * size


def as_array(tensor: Any, what: str) -> np.ndarray:
    """A TensorProto's values; float16 and bfloat16 become float32."""
    try:
        array = onnx_package().numpy_helper.to_array(tensor)
    except Exception as error:  # of whatever kind the package's are
        raise ModelFileError(f"{what} must be a whole tensor: {error!s:.200}") from None
    if array.dtype.kind not in "buifSUO":  # bfloat16 and the like
        array = array.astype(np.float32)
    return array.astype(np.float32) if array.dtype == np.float16 else array


Entry = tuple[str, str, list[Any]]  # name, dtype, shape


def interface(path: str | PathLike[str]) -> tuple[list[Entry], list[Entry]]:
    """Inputs and outputs of an ONNX file; names in a shape stand for any number."""
    onnx = onnx_package()
    graph = read(path).graph

    def entries(values: Any) -> list[Entry]:
        found = []
        for one in values:
            kind = one.type.tensor_type
            dims = [d.dim_param or d.dim_value for d in kind.shape.dim]
            name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
            found.append(
                (one.name, {"float": "float32", "double": "float64"}.get(name, name), dims)
            )
        return found

    return entries(graph.input), entries(graph.output)


@dataclass(frozen=True)
class Network:
    """What a graph is as a sequential network."""

    steps: tuple[Step, ...]
    width: int | None
    dtype: str | None  # None: its weights'
    classes: tuple[Any, ...] | None


def sequential(model: Any, begin: str | None = None, end: str | None = None) -> Network:
    """The network from the tensor `begin` to `end`; by default from the input to the output."""
    onnx = onnx_package()
    graph = model.graph
    versions = {entry.domain: entry.version for entry in model.opset_import}
    version = versions.get("", versions.get("ai.onnx", OPSET_MIN))
    if version < OPSET_MIN:
        raise ModelFileError(f"must be of opset {OPSET_MIN} at least, got {version}")
    if graph.sparse_initializer:
        raise ModelFileError("must have no sparse tensors")
    values: dict[str, Any] = {}
    for tensor in graph.initializer:
        values[tensor.name] = as_array(tensor, f"tensor {tensor.name!r:.100}")
    inputs = [one for one in graph.input if one.name not in values]
    dtype = None
    if begin is not None:
        for one in inputs:
            values[one.name] = Unknown(f"{one.name!r} stands before {begin!r}")
        values[begin] = Rows()
    elif len(inputs) != 1:
        names = ", ".join(one.name for one in inputs)
        raise ModelFileError(f"must have one input, got {len(inputs)}: {names:.200}")
    else:
        (data,) = inputs
        values[data.name] = _input(data)
        if data.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE:
            dtype = "float64"
    # Constants that nodes make, and weights, which many nodes may share: about what is in the file.
    limit = max(2**28, 2 * sum(v.nbytes for v in values.values() if isinstance(v, np.ndarray)))
    for node in graph.node:
        if begin is None or begin not in node.output:
            limit -= _take(node, values, version)
        if limit < 0:
            raise ModelFileError("must not make many times the weights that it holds")
    outputs = [end] if end is not None else [one.name for one in graph.output]
    return _chosen(outputs, values, dtype)


def _input(data: Any) -> Rows | Unknown:
    kind = data.type.tensor_type
    if not data.type.HasField("tensor_type"):
        return Unknown(f"input {data.name!r} must be a tensor")
    if not kind.HasField("shape"):
        return Rows()
    dims = [one.dim_value if one.HasField("dim_value") else None for one in kind.shape.dim]
    if not dims or any(one is not None and one < 1 for one in dims[1:]):
        return Unknown(f"input {data.name!r} must have rows of numbers, got shape {dims}")
    if math.prod(one for one in dims[len(dims) > 1 :] if one is not None) > WIDTH_MAX:
        return Unknown(f"input {data.name!r} must have at most {WIDTH_MAX} numbers a row")
    if len(dims) > 1:
        return Rows(tail=tuple(dims[1:]), first=dims[0])
    if not dims[0]:
        return Unknown(f"input {data.name!r} must have two dimensions, got {dims}")
    return Rows(tail=(dims[0],), batch=False)  # one row alone


def _chosen(outputs: Iterable[str], values: dict[str, Any], dtype: str | None) -> Network:
    found: list[Rows] = []
    classes, reasons = None, []
    for name in outputs:
        value = values.get(name, Unknown(f"output {name!r} is no node's"))
        if isinstance(value, Labels):
            classes = classes or value.classes
            continue
        if isinstance(value, tuple):  # ZipMap
            value, classes = value
        if isinstance(value, Pair):
            value = value.rows
        if isinstance(value, Rows):
            found.append(value)
        elif isinstance(value, (Unknown, Composite)):
            reasons.append(value.why)
        else:
            reasons.append(f"output {name!r} must be numbers for each row of the input")
    if not found:
        raise ModelFileError(reasons[0] if reasons else "must have an output of numbers")
    if not all(same(one.steps, found[0].steps) for one in found):
        raise ModelFileError(f"must have one output, got {len(found)} different ones")
    steps = found[0].steps
    width = next((s.W.shape[1] for s in steps if isinstance(s, Linear)), found[0].width)
    wide = any(s.W.dtype == np.float64 for s in steps if isinstance(s, Linear))
    if any(isinstance(s, Linear) for s in steps):
        dtype = "float64" if wide else "float32"
    if classes is not None and not all(isinstance(one, (str, int)) for one in classes):
        classes = None
    return Network(steps, width, dtype, classes)


# --- nodes


def _take(node: Any, values: dict[str, Any], version: int) -> int:
    """Set what a node gives; how many bytes of constants it made or used."""
    result: Any
    where = f"node {node.name or node.output[0] if node.output else '?'!r:.100} ({node.op_type})"
    came = [values.get(name, Unknown(f"{name!r} is no value")) for name in node.input if name]
    unknown = next((value for value in came if isinstance(value, Unknown)), None)
    try:
        if unknown is not None:
            result = unknown
        else:
            inputs = [values[name] if name else None for name in node.input]
            result = _value(_Node(node, where, inputs, version))
    except Refused as reason:
        result = Unknown(f"{where}: {reason}")
    except ModelFileError as error:
        result = Unknown(f"{where}: {error}")
    except (ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
        text = str(error)
        result = Unknown(text if text.startswith(where) else f"{where}: {text}")
    for i, name in enumerate(node.output):
        if name:
            values[name] = (
                result if i == 0 else Unknown(f"{where}: its output {name!r} is not taken")
            )
    if isinstance(result, Rows) and result.steps and isinstance(result.steps[-1], Linear):
        return result.steps[-1].W.nbytes
    return result.nbytes if isinstance(result, np.ndarray) else 0


class _Node:
    """A node with its inputs' values."""

    def __init__(self, node: Any, where: str, inputs: list[Any], version: int) -> None:
        self.op, self.domain, self.where = node.op_type, node.domain, where
        self.inputs, self.version = inputs, version
        self._attributes = {one.name: one for one in node.attribute}

    def attribute(self, name: str, default: Any = None) -> Any:
        if name not in self._attributes:
            return default
        attribute = self._attributes[name]
        if attribute.type == attribute.TENSOR:
            return as_array(attribute.t, f"attribute {name}")
        value = onnx_package().helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return value

    def input(self, i: int) -> Any:
        return self.inputs[i] if i < len(self.inputs) else None

    def axes(self, i: int = 1) -> list[int] | None:
        """Axes, an attribute of old and an input of new opsets."""
        axes = self.attribute("axes")
        if axes is None and self.input(i) is not None:
            axes = np.atleast_1d(self.constant(i)).tolist()
        return axes

    def constant(self, i: int) -> np.ndarray:
        value = self.input(i)
        if not isinstance(value, np.ndarray):
            raise Refused(f"its input {i + 1} must be a constant")
        return value

    def number(self, i: int, default: float) -> float:
        """A constant of one entry."""
        if self.input(i) is None:
            return default
        value = self.constant(i)
        if value.size != 1:
            raise Refused(f"its input {i + 1} must be one number, got shape {value.shape}")
        return float(value.reshape(()))


def _value(node: _Node) -> Any:
    if node.domain == ML:
        return _machine_learning(node)
    if node.domain not in ("", "ai.onnx"):
        raise Refused(f"operators of {node.domain!r:.50} are not known")
    if node.op == "Constant":
        return _constant(node)
    first = node.input(0)
    if node.inputs and all(v is None or isinstance(v, np.ndarray) for v in node.inputs):
        return _folded(node)
    if isinstance(first, Labels):
        if node.op in ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"):
            return first
        raise Refused("labels must be an output")
    if isinstance(first, Pair):
        if node.op == "Identity":
            return first
        if node.op == "ArgMax":
            return Labels()
        raise Refused("the two probabilities of a sigmoid must be an output")
    if node.op == "CastLike" and isinstance(first, np.ndarray):
        return first
    if isinstance(first, Composite) and node.op in ("Identity", "Cast", "CastLike"):
        return Labels() if first.values.dtype == bool and node.op == "Cast" else first
    if node.op in ACTIVATIONS and isinstance(first, Rows):
        return first.then(*ACTIVATIONS[node.op](node))
    if node.op in FUNCTIONS or (node.op in ACTIVATIONS and isinstance(first, Composite)):
        return _entries(node)
    for value in node.inputs:
        if isinstance(value, Composite):
            return Unknown(value.why)
    if node.op in STRUCTURE:
        if not isinstance(first, Rows):
            raise Refused("its first input must be data")
        return STRUCTURE[node.op](node, first)
    if node.op in ("MatMul", "Gemm"):
        return _product(node)
    if node.op in ("Softmax", "LogSoftmax") and isinstance(first, Rows):
        return _softmax(node, first)
    if node.op == "Gather" and isinstance(node.input(1), Labels):
        return Labels(tuple(_texts(node.constant(0))))
    raise Refused("fastnn has no such operator")


def _constant(node: _Node) -> np.ndarray:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        value = node.attribute(name)
        if value is not None:
            value = np.asarray(value)
            return value.astype(np.float32) if name.startswith("value_f") else value
    for name in ("value_string", "value_strings"):
        if (value := node.attribute(name)) is not None:
            return np.asarray(value, object)
    raise Refused("its value must be a tensor or numbers")


# --- operators on constants: what exporters leave unfolded


def _folded(node: _Node) -> np.ndarray:
    x = node.inputs[0]
    if node.op in ("Identity", "CastLike", "Dropout"):
        return x
    if node.op == "Cast":
        to = np.dtype(onnx_package().helper.tensor_dtype_to_np_dtype(node.attribute("to")))
        return x.astype(np.float32 if to.kind not in "buif" or to == np.float16 else to)
    if node.op == "Transpose":
        return np.transpose(x, node.attribute("perm"))
    if node.op == "Reshape":
        target = node.constant(1).tolist()
        return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(target)])
    if node.op == "Squeeze":
        axes = node.axes()
        return np.squeeze(x, None if axes is None else tuple(axes))
    if node.op == "Unsqueeze":
        return np.expand_dims(x, tuple(node.axes() or ()))
    if node.op in ("Concat", "Gather", "Slice") and max(v.size for v in node.inputs) > SHAPE_MAX:
        raise Refused("its constants are too large for a shape")
    if node.op == "Concat":
        return np.concatenate(node.inputs, node.attribute("axis", 0))
    if node.op == "Gather":
        return np.take(x, node.constant(1), node.attribute("axis", 0))
    if node.op == "Slice" and x.ndim == 1 and (node.input(4) is None or node.number(4, 1) == 1):
        return x[int(node.constant(1)[0]) : int(node.constant(2)[0])]
    if node.op in FUNCTIONS and x.dtype.kind == "f":
        shapes = [v.shape for v in node.inputs]
        if np.broadcast_shapes(*shapes) not in shapes:
            raise Refused(f"constants of shapes {shapes} must not grow together")
        with np.errstate(all="ignore"):
            return np.asarray(FUNCTIONS[node.op](*node.inputs))
    raise Refused("must have an input that is data")


# --- operators on the data as a whole


def _same(node: _Node, rows: Rows) -> Rows:
    return rows


def _cast(node: _Node, rows: Rows) -> Rows:
    proto = onnx_package().TensorProto
    to = node.attribute("to")
    if to not in (proto.FLOAT, proto.DOUBLE):
        name = proto.DataType.Name(to) if to in proto.DataType.values() else to
        raise Refused(f"must cast to FLOAT or DOUBLE, got {name}")
    return rows


def _dropout(node: _Node, rows: Rows) -> Rows:
    training = node.input(2)
    if training is not None and (not isinstance(training, np.ndarray) or training.any()):
        raise Refused("must not be in training mode")
    return rows


def _flatten(node: _Node, rows: Rows) -> Rows:
    axis = node.attribute("axis", 1)
    if not rows.batch or rows.columns or axis % rows.rank != 1 % rows.rank:
        raise Refused(f"must flatten rows, axis 1, got axis {axis}")
    return replace(rows, tail=(rows.width,))


def _shape(node: _Node, rows: Rows) -> np.ndarray:
    dims = [BATCH, *rows.tail] if rows.batch else list(rows.tail)
    if None in dims or rows.columns:
        raise Refused("the widths of its input must be known")
    return np.array(dims, np.int64)[node.attribute("start", 0) : node.attribute("end")]


def _reshape(node: _Node, rows: Rows) -> Rows:
    target = [int(n) for n in node.constant(1)]
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
    width = rows.width
    if tail.count(-1) == 1:
        others = math.prod(n for n in tail if n != -1)
        if width is not None and others > 0 and width % others == 0:
            tail[tail.index(-1)] = width // others
        elif width is None and len(tail) == 1:
            tail = [None]
    if width is not None and None not in tail:
        if any(n < 1 for n in tail) or math.prod(tail) != width:
            raise Refused(
                f"must keep each row's {width} entries in its row, got shape {_shown(target)}"
            )
    elif len(tail) != 1:
        raise Refused("the widths of its input must be known")
    return replace(rows, tail=tuple(tail))


def _shown(shape: list[int]) -> str:
    return "[" + ", ".join("batch" if n == BATCH else str(n) for n in shape) + "]"


def _squeeze(node: _Node, rows: Rows) -> Rows:
    axes = node.axes()
    if axes is None or not rows.batch or rows.columns:
        raise Refused("must name the axes to squeeze")
    gone = {axis % rows.rank for axis in axes}
    if 0 in gone or any(rows.tail[axis - 1] != 1 for axis in gone):
        raise Refused(f"must squeeze axes of length 1 after the first, got {axes}")
    return replace(rows, tail=tuple(n for i, n in enumerate(rows.tail, 1) if i not in gone))


def _transpose(node: _Node, rows: Rows) -> Rows:
    perm = node.attribute("perm", list(range(rows.rank))[::-1])
    if list(perm) == list(range(rows.rank)):
        return rows
    if rows.rank != 2 or not rows.batch:
        raise Refused(f"must exchange rows and columns, got perm {list(perm)}")
    return replace(rows, columns=not rows.columns)


def _labels(node: _Node, rows: Rows) -> Labels:
    return Labels()


def _concat(node: _Node, rows: Rows) -> Pair:
    """1 - p and p, as scikit-learn's two classes come from one sigmoid."""
    others = node.inputs[1:]
    beside = node.attribute("axis") in (1, -1) and len(rows.tail) == 1 and rows.batch
    if beside and len(others) == 1 and isinstance(others[0], Rows):
        p = others[0]
        if p.steps and same(rows.steps[:-1], p.steps):
            flip, g = rows.steps[-1], p.steps[-1]
            flips = (
                isinstance(flip, Scale) and np.all(flip.factor == -1) and np.all(flip.shift == 1)
            )
            if flips and isinstance(g, Apply) and g.activation == "sigmoid":
                return Pair(p)
    raise Refused("joins branches: a sequential network has none")


def _batch_norm(node: _Node, rows: Rows) -> Rows:
    if node.attribute("training_mode", 0):
        raise Refused("must not be in training mode")
    gamma, beta, mean, variance = (node.constant(i).astype(np.float64) for i in range(1, 5))
    norm = BatchNorm(epsilon=node.attribute("epsilon", 1e-5))
    scale = Normalize(norm, gamma, beta, mean, variance, node.where).scale
    factor, shift = scale.factor, scale.shift
    if factor.ndim != 1 or shift.shape != factor.shape:
        raise Refused(f"must have vectors for scale, bias, mean and variance, got {factor.shape}")
    rows = _known(rows, len(factor))
    if rows.tail[0] != len(factor):
        raise Refused(f"must have {len(factor)} channels, got {rows.tail[0]}")
    each = rows.width // len(factor) if rows.width else 1
    return rows.then(Scale(np.repeat(factor, each), np.repeat(shift, each)))


def _layer_norm(node: _Node, rows: Rows) -> Rows:
    if len(rows.tail) != 1 or rows.columns or node.attribute("axis", -1) % rows.rank != 1:
        raise Refused(f"must be over the {rows.width} entries of each row")
    gamma = node.constant(1)
    beta = None if node.input(2) is None else node.constant(2)
    if any(v is not None and v.shape != (rows.width,) for v in (gamma, beta)):
        raise Refused(f"must have {rows.width} entries for scale and bias")
    norm = LayerNorm(_decimal(node.attribute("epsilon", 1e-5)))
    return rows.then(Normalize(norm, gamma, beta, None, None, node.where))


def _known(rows: Rows, width: int) -> Rows:
    """The same where it is known now that it has one dimension of this width."""
    return replace(rows, tail=(width,)) if rows.tail == (None,) else rows


def _softmax(node: _Node, rows: Rows) -> Rows:
    axis = node.attribute("axis", -1 if node.version >= 13 else 1)
    last = 0 if rows.columns or not rows.batch else 1
    if len(rows.tail) != 1 or axis % rows.rank != last:
        raise Refused(f"must be over the {rows.width} entries of each row, got axis {axis}")
    return rows.then(Apply("softmax", node.where))


STRUCTURE: dict[str, Callable[[_Node, Rows], Any]] = {
    "Identity": _same,
    "Cast": _cast,
    "CastLike": _same,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Shape": _shape,
    "ArgMax": _labels,
    "Concat": _concat,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
}


def _machine_learning(node: _Node) -> Any:
    first = node.input(0)
    if node.op == "ZipMap" and isinstance(first, (Rows, Pair)):
        texts, numbers = (node.attribute(f"classlabels_{kind}") for kind in ("strings", "int64s"))
        return first, tuple(_texts(texts or numbers or ()))
    if node.op == "ArrayFeatureExtractor" and isinstance(node.input(1), Labels):
        return Labels(tuple(_texts(node.constant(0))))
    if node.op == "Binarizer" and isinstance(first, Rows):
        return Labels()
    if node.op == "Scaler" and isinstance(first, Rows):
        scale, rows = _for_each_row(np.atleast_1d(node.attribute("scale", 1.0)), first)
        offset, rows = _for_each_row(np.atleast_1d(node.attribute("offset", 0.0)), rows)
        return rows.then(Scale(scale, -offset * scale))
    raise Refused("fastnn has no such operator")


def _texts(values: Any) -> list[Any]:
    """Names of classes as text or int."""
    values = values.tolist() if isinstance(values, np.ndarray) else values
    values = values if isinstance(values, (list, tuple)) else [values]
    return [one.decode(errors="replace") if isinstance(one, bytes) else one for one in values]


# --- products


def _product(node: _Node) -> Rows:
    left, right = node.input(0), node.input(1)
    gemm = node.op == "Gemm"
    turn = [bool(node.attribute(name, 0)) for name in ("transA", "transB")] if gemm else [0, 0]
    data = left if isinstance(left, Rows) else right
    if not isinstance(data, Rows) or (isinstance(left, Rows) and isinstance(right, Rows)):
        raise Refused("must multiply data by a constant")
    on_left = data is left
    W = node.constant(1 if on_left else 0)
    if W.ndim != 2 or W.dtype.kind != "f":
        raise Refused(f"must have a matrix of floats for W, got {W.dtype} of shape {W.shape}")
    if len(data.tail) != 1 or not data.batch:
        raise Refused(f"its data must have shape (batch, n), got {_shown_rows(data)}")
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
    return replace(data.then(Linear(W, b, node.where)), tail=(len(W),))


def _laid_out(data: Rows, *, columns: bool, turned: bool) -> Rows:
    """The data as a sample a row, or a column. At the network's beginning nobody knows yet which
    it is: the product tells."""
    if data.columns ^ turned == columns:
        return replace(data, columns=columns)
    if not all(_single(step) for step in data.steps):
        raise Refused("must sum over each sample's entries, not over samples")
    return replace(data, tail=(data.first,), first=data.tail[0], columns=columns)


def _per_output(C: np.ndarray, n_out: int, data: Rows) -> np.ndarray:
    """C of a Gemm as b (n_out,)."""
    shape = (1, 1, *C.shape)[-2:]  # as it meets the product, (batch, n_out) or (n_out, batch)
    n, rows = shape[::-1] if not data.columns else shape
    if C.ndim > 2 or rows != 1 or n not in (1, n_out):
        raise Refused(f"its C must be the same for each row, got shape {C.shape}")
    return np.broadcast_to(C.reshape(n), (n_out,))


def _shown_rows(data: Rows) -> str:
    dims = ["batch"] * data.batch + ["?" if n is None else str(n) for n in data.tail]
    return f"({', '.join(dims)})"


# --- functions of single entries


def _applied(name: str) -> Callable[[_Node], list[Step]]:
    return lambda node: [Apply(name, node.where)]


def _leaky(slope: float, where: str) -> list[Step]:
    return [Apply(LeakyReLU(_decimal(slope)), where)]


def _decimal(value: float) -> float:
    """The shortest decimal number that is this float32: 0.2, not 0.20000000298."""
    return float(str(np.float32(value)))


def _gelu(node: _Node) -> list[Step]:
    approximate = node.attribute("approximate", "none")
    return [Apply("gelu_tanh" if approximate == "tanh" else "gelu", node.where)]


def _clip(node: _Node) -> list[Step]:
    low, high = (
        node.number(i, node.attribute(name, limit))
        for i, name, limit in ((1, "min", -math.inf), (2, "max", math.inf))
    )
    return chain.clipped(low, high, node.where)


def _prelu(node: _Node) -> list[Step]:
    slope = np.unique(node.constant(1))
    if len(slope) != 1:
        raise Refused("must have one slope for all entries")
    return _leaky(float(slope[0]), node.where)


ACTIVATIONS: dict[str, Callable[[_Node], list[Step]]] = {
    "Relu": _applied("relu"),
    "Sigmoid": _applied("sigmoid"),
    "Tanh": _applied("tanh"),
    "Softplus": _applied("softplus"),
    "Mish": _applied("mish"),
    "Exp": _applied("exp"),
    "LeakyRelu": lambda n: _leaky(n.attribute("alpha", 0.01), n.where),
    "PRelu": _prelu,
    "Elu": lambda n: [Apply(ELU(_decimal(n.attribute("alpha", 1.0))), n.where)],
    "Selu": lambda n: chain.selu(
        n.attribute("alpha", 1.6732632), n.attribute("gamma", 1.0507010), n.where
    ),
    "Celu": lambda n: chain.stretched("elu", 1 / n.attribute("alpha", 1.0), n.where),
    "Gelu": _gelu,
    "Swish": lambda n: chain.stretched("silu", n.attribute("alpha", 1.0), n.where),
    "HardSigmoid": lambda n: chain.hard_sigmoid(
        n.attribute("alpha", 0.2), n.attribute("beta", 0.5), n.where
    ),
    "Clip": _clip,
}

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
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


def _entries(node: _Node) -> Rows | Composite:
    """Sums, products and functions of single entries."""
    data = [v for v in node.inputs if isinstance(v, (Rows, Composite))]
    if len(data) == 1 and isinstance(data[0], Rows) and node.op in SCALES:
        (constant,) = [v for v in node.inputs if v is not data[0]] or [None]
        first = node.inputs[0] is data[0]
        if node.op != "Div" or first:
            value, rows = _for_each_row(constant, data[0])
            with np.errstate(all="ignore"):
                return rows.then(SCALES[node.op](value, first))
    root = _root(data[0])
    values: list[np.ndarray] = []
    for value in node.inputs:
        if isinstance(value, (Rows, Composite)) and not same(_root(value).steps, root.steps):
            raise Refused("joins branches: a sequential network has none")
        if isinstance(value, Composite):
            values.append(value.values)
        elif isinstance(value, Rows):
            values.append(_along(value.steps[len(root.steps) :], GRID))
        elif value is None or value.size != 1:
            raise Refused("must have single numbers for its constants")
        else:
            values.append(value.reshape(()))
    with np.errstate(all="ignore"):
        if node.op in ACTIVATIONS:
            result = _along(ACTIVATIONS[node.op](node), values[0])
        else:
            result = FUNCTIONS[node.op](*values)
    shape = data[0].root if isinstance(data[0], Composite) else data[0]
    return _recognized(replace(shape, steps=root.steps), result, node.where)


SCALES: dict[str, Callable[[Any, bool], Scale]] = {
    "Add": lambda c, _: Scale(1.0, c),
    "Sub": lambda c, first: Scale(1.0, -c) if first else Scale(-1.0, c),
    "Mul": lambda c, _: Scale(c, 0.0),
    "Div": lambda c, _: Scale(1 / c, 0.0),
    "Neg": lambda _, __: Scale(-1.0, 0.0),
}


def _for_each_row(constant: np.ndarray | None, rows: Rows) -> tuple[Any, Rows]:
    """A constant that meets rows, as a number or (width,) float64."""
    if constant is None:
        return None, rows
    if constant.dtype.kind not in "buif":
        raise Refused(f"must have numbers for constants, got {constant.dtype}")
    constant = constant.astype(np.float64)
    if not constant.ndim or (constant.size == 1 and rows.width != 1):
        return float(constant.reshape(())), rows
    shape = constant.shape
    if rows.columns:
        shape = (1,) * (2 - len(shape)) + shape
        shape = shape[::-1]
        constant = constant.reshape(shape)
    if rows.batch and len(shape) == rows.rank and shape[0] == 1:
        constant = constant[0]
    rows = _known(rows, constant.shape[-1])
    if constant.ndim > len(rows.tail):
        raise Refused(f"must have a constant that is the same for each row, got shape {shape}")
    if None in rows.tail:
        raise Refused("the widths of its input must be known")
    tail = tuple(n for n in rows.tail if n is not None)
    return np.broadcast_to(constant, tail).reshape(-1), rows


def same(a: tuple[Step, ...], b: tuple[Step, ...]) -> bool:
    return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))


def _root(value: Rows | Composite) -> Rows:
    """The data before the functions of single entries that made it."""
    if isinstance(value, Composite):
        return value.root
    n = len(value.steps)
    while n and _single(value.steps[n - 1]):
        n -= 1
    return replace(value, steps=value.steps[:n])


def _single(step: Step) -> bool:
    if isinstance(step, Scale):
        return np.ndim(step.factor) == 0 and np.ndim(step.shift) == 0
    return isinstance(step, Apply) and step.activation != "softmax"


def _along(steps: Iterable[Step], x: np.ndarray) -> np.ndarray:
    for step in steps:
        if isinstance(step, Scale):
            x = step.factor * x + step.shift
        elif isinstance(step, Apply):
            x = _function(step.activation, x)
    return x


def _function(activation: Any, x: np.ndarray) -> np.ndarray:
    """g(x), by a network of one unit."""
    if activation == "exp":
        return np.exp(x)
    from fastnn import Model

    unit = Model([1, 1], output=activation, dtype="float64", seed=0, init=[np.ones((1, 1))])
    return unit.forward(x[:, None])[:, 0]


@functools.cache
def _shape_of(name: str) -> np.ndarray:
    return _function(name, GRID)


def _recognized(root: Rows, values: np.ndarray, where: str) -> Rows | Composite:
    """The activation, or what is in its place."""
    if values.dtype.kind != "f" or not np.isfinite(values).all():
        return Composite(root, values, where)
    for name in SHAPES:
        g = _shape_of(name)
        peak = int(np.argmax(abs(g)))
        c = values[peak] / g[peak]
        if c and _close(values, c * g):
            factor = Scale(1.0 if abs(c - 1) < TOLERANCE else float(c), 0.0)
            return root.then(Apply(name, where), *([] if factor.nothing else [factor]))
    slope, low, high = values[0] / GRID[0], values.min(), values.max()
    if slope >= 0 and _close(values, np.where(GRID > 0, GRID, slope * GRID)):
        return root.then(*_leaky(slope, where))
    if low > GRID[0] and high < GRID[-1] and _close(values, np.clip(GRID, low, high)):
        return root.then(*chain.clipped(low, high, where))
    if low < 0 and _close(values, np.where(GRID > 0, GRID, -low * np.expm1(np.minimum(GRID, 0)))):
        return root.then(Apply(ELU(_decimal(-low)), where))
    return Composite(root, values, where)


def _close(values: np.ndarray, g: np.ndarray) -> bool:
    """As near as float32 constants let it be."""
    return bool((abs(values - g) <= TOLERANCE * np.maximum(1, abs(g))).all())
