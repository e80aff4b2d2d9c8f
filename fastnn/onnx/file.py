"""The bytes of an ONNX file -> its protobuf message, checked, with the data of its tensors in it.

Whatever stands in the file is checked before anything is allocated for it.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np

from fastnn.errors import ModelFileError, optional
from fastnn.files.foreign import opened, recognised

BYTES_MAX = 2**31 - 1  # of a protobuf message
NODES_MAX = 10_000
SHORT = ("float16", "bfloat16")  # kept as float32
FLOAT = np.dtype(np.float32)


def onnx_package() -> Any:
    """The package onnx."""
    return optional("onnx", "fastnn.onnx")


def read(path: str | PathLike[str]) -> Any:
    """The ModelProto in a file, its tensors' data in it. Raises ModelFileError, OSError."""
    onnx_package()
    with opened(path) as (file, size):
        if size > BYTES_MAX:
            raise ModelFileError(f"must be at most {BYTES_MAX} bytes, got {size}")
        return _checked(file.read(size), os.path.dirname(os.path.abspath(path)))


def _checked(content: bytes, folder: str) -> Any:
    onnx = onnx_package()
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
        problem = "" if model.HasField("graph") and model.opset_import else "it has no graph"
    except DecodeError as error:
        problem = str(error)
    graph = model.graph
    if not problem and not graph.output:
        problem = "it has no output"
    if problem:
        kind = recognised(content[:512])
        problem = f"this is {kind}" if kind and "ONNX" not in kind else problem
        raise ModelFileError(f"must be an ONNX model, and whole: {problem}")
    if len(graph.node) > NODES_MAX:
        raise ModelFileError(f"must have at most {NODES_MAX} nodes, got {len(graph.node)}")
    if graph.sparse_initializer:
        raise ModelFileError("must have no sparse tensors")
    if not all(isinstance(name, str) for name in _names(model)):
        raise ModelFileError("must be an ONNX model, and whole: a name is not UTF-8")
    beside = _Folder(folder)
    for tensor, what in _tensors(graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            beside.bring_in(tensor, what)
    return model


def _names(model: Any) -> Iterator[Any]:
    """What should be text; protobuf gives bytes where it is none."""
    graph = model.graph
    for one in (*graph.initializer, *graph.input, *graph.output):
        yield one.name
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for tensor, _ in _tensors(graph):  # named by the names above
        for entry in tensor.external_data:
            yield from (entry.key, entry.value)
    for function in (*model.functions, *model.opset_import):
        yield function.domain
    for entry in model.metadata_props:
        yield from (entry.key, entry.value)


def _tensors(graph: Any) -> Iterator[tuple[Any, str]]:
    """All tensors that are looked at, and what they are: none of graphs within nodes, which are
    refused."""
    for tensor in graph.initializer:
        yield tensor, f"tensor {tensor.name!r:.100}"
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t, f"{place_of(node)}: attribute {attribute.name!r:.100}"


def place_of(node: Any) -> str:
    """A node as errors name it."""
    name = node.name or (node.output[0] if node.output else "?")
    return f"node {name!r:.100} ({node.op_type:.100})"


class _Folder:
    """Data that stand in other files beside the model's, whole, and no links."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._read: dict[str, int] = {}  # bytes: many tensors may name the same ones

    def bring_in(self, tensor: Any, what: str) -> None:
        what += ": its external data"
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name = entries.get("location", "")
        if not name or os.path.basename(name) != name or name in (".", "..") or "\\" in name:
            raise ModelFileError(f"{what} must be in a file beside the model's, got {name!r:.100}")
        path = os.path.join(self._path, name)
        try:
            status = os.lstat(path)
        except (OSError, ValueError):
            problem = f"{what} must be in {name!r:.100}, there is no such file"
            raise ModelFileError(problem) from None
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError(f"{what} must be in a regular file, {name!r:.100} is none")
        start, size = entries.get("offset", "0"), _bytes_of(tensor, what)
        if (
            not (start.isascii() and start.isdecimal())
            or len(start) > 18
            or entries.get("length", str(size)) != str(size)
        ):
            raise ModelFileError(f"{what} must be {size} bytes from an offset, got {entries}"[:300])
        there = max(0, min(size, status.st_size - int(start)))
        if there != size:
            raise ModelFileError(f"{what} must be {size} bytes of {name!r:.100}, got {there}")
        self._read[name] = self._read.get(name, 0) + size
        if self._read[name] > status.st_size + 2**28:
            raise ModelFileError(f"{what} must not be many times what is in {name!r:.100}")
        with open(path, "rb", opener=_open_no_link) as file:
            file.seek(int(start))
            tensor.raw_data = file.read(size)
        tensor.data_location = onnx_package().TensorProto.DEFAULT
        del tensor.external_data[:]


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


def dtype_of(kind: int) -> np.dtype | None:
    """NumPy's dtype of a TensorProto.DataType; None of one that is not known."""
    try:
        dtype: np.dtype = onnx_package().helper.tensor_dtype_to_np_dtype(kind)
        return dtype
    except (KeyError, TypeError, ValueError):
        return None


def number_type(kind: int, *, narrow: bool = False) -> np.dtype | None:
    """Of a TensorProto.DataType what its numbers are kept as; None of what is no number.

    float32 for float16 and bfloat16; narrow: and for numbers of less than 16 bits.
    """
    dtype = dtype_of(kind)
    if dtype is not None and (dtype.name in SHORT or (narrow and dtype.kind == "V")):
        return FLOAT
    return dtype if dtype is not None and dtype.kind in "buif" else None


def _bytes_of(tensor: Any, what: str) -> int:
    if any(n < 0 for n in tensor.dims):
        raise ModelFileError(f"{what} must have dimensions from 0, got {list(tensor.dims)!s:.100}")
    if (dtype := dtype_of(tensor.data_type)) is None:
        raise ModelFileError(f"{what} must be numbers, got type {tensor.data_type}")
    size: int = math.prod(tensor.dims) * dtype.itemsize
    return size


def as_array(tensor: Any, what: str) -> np.ndarray:
    """A TensorProto's values; float16 and bfloat16 become float32."""
    if any(n < 0 for n in tensor.dims):
        raise ModelFileError(f"{what} must have dimensions from 0, got {list(tensor.dims)!s:.100}")
    if tensor.data_location == onnx_package().TensorProto.EXTERNAL:
        raise ModelFileError(f"{what} must not have external data here")
    try:
        array: np.ndarray = onnx_package().numpy_helper.to_array(tensor)
    except Exception as error:  # of whatever kind the package's are
        raise ModelFileError(f"{what} must be a whole tensor: {error!s:.200}") from None
    if array.dtype.name in SHORT or array.dtype.kind == "V":  # of less than 16 bits
        return array.astype(FLOAT)
    if array.dtype.kind not in "buifSUO":
        raise ModelFileError(f"{what} must be numbers or text, got {array.dtype}")
    return array


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
