"""The safetensors layout, read strictly and written plainly.

    8 bytes    length N of the header, unsigned, little-endian
    N bytes    JSON: {"__metadata__": {name: text}, name: {"dtype", "shape", "data_offsets"}, ...}
    the rest   the tensors' bytes, little-endian, row-major, without gaps or overlaps

Everything the header says is checked against the file's size before anything is allocated for it.
"""

from __future__ import annotations

import json
import math
from os import PathLike
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from fastnn.errors import ModelFileError
from fastnn.files.foreign import opened, recognised

HEADER_MAX = 25_000_000  # bytes: a character may be 1 there, and 4 in memory, twice
# Commas, lists and objects in a JSON text: what each stands for is 2 bytes there, in memory 100.
VALUES_MAX = 1_000_000
HEAD = 512  # bytes at the beginning by which a file of another kind is recognised
DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
# Also in files of others; bfloat16 by its bits.
FOREIGN = DTYPES | {"F16": np.dtype("<f2"), "BF16": np.dtype("<u2"), "I64": np.dtype("<i8")}
CODES = {"float32": "F32", "float64": "F64"}
# Also in files of predictors in 8 bits.
WITH_INT8 = DTYPES | {"I8": np.dtype("i1")}
INT8_CODES = CODES | {"int8": "I8"}


class Tensor(NamedTuple):
    """A tensor's entry in the header, checked; `start` counts from the beginning of the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int


def encode(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> list[Any]:
    """The file as a list of byte buffers."""
    entries: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    buffers: list[Any] = []
    for name, array in tensors.items():
        code = INT8_CODES[array.dtype.name]
        begin, end = end, end + array.nbytes
        entries[name] = {
            "dtype": code,
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
        buffers.append(np.ascontiguousarray(array, WITH_INT8[code]).reshape(-1).view(np.uint8).data)
    text = json.dumps(entries, separators=(",", ":"))
    text += " " * (-len(text) % 8)  # so that the tensors are aligned
    check_many(text)  # or nobody could load it
    header = text.encode()
    return [len(header).to_bytes(8, "little"), header, *buffers]


def read_header(
    file: BinaryIO, size: int, dtypes: dict[str, np.dtype[Any]] = DTYPES
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of an open file of `size` bytes. Raises ModelFileError."""
    head = file.read(HEAD)
    n, most = int.from_bytes(head[:8], "little"), min(size - 8, HEADER_MAX)
    if size < 8 or n > most or head[8:9] != b"{":
        if what := recognised(head):
            raise ModelFileError(f"must be a safetensors file; this is {what}")
        if size < 8:
            raise ModelFileError(f"must hold at least 8 bytes, got {size}")
        if head[8:9] != b"{":
            raise ModelFileError("must have a JSON object as its header: no safetensors file")
        raise ModelFileError(f"must hold a header of {n} bytes, can hold {most}: truncated")
    file.seek(8)
    entries = loads(read_exactly(file, n), "header")
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ModelFileError("header: __metadata__ must map names to texts")
    tensors = {}
    spans = []
    for name, entry in entries.items():
        tensors[name], begin, end = _tensor(name, entry, 8 + n, dtypes)
        spans.append((begin, end, name))
    position = 0
    for begin, end, name in sorted(spans):
        if begin != position:
            raise ModelFileError(
                f"tensor {name!r} must begin at byte {position} of the data, got {begin}"
            )
        position = end
    if position != size - 8 - n:
        raise ModelFileError(
            f"must hold {position} bytes of tensors, got {size - 8 - n}"
            + (": truncated" if position > size - 8 - n else "")
        )
    return tensors, metadata


def read_foreign(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of another library's file, in float32 or float64; those of integers, which count
    batches, are left out. Raises ModelFileError."""
    tensors = {}
    with opened(path) as (file, size):
        found, _ = read_header(file, size, FOREIGN)
        for name, tensor in found.items():
            file.seek(tensor.start)
            data = read_exactly(file, math.prod(tensor.shape) * tensor.dtype.itemsize)
            array = np.frombuffer(data, tensor.dtype).reshape(tensor.shape)
            if tensor.dtype.kind == "u":  # bfloat16: the upper half of a float32
                array = (array.astype(np.uint32) << 16).view(np.float32)
            if tensor.dtype.kind != "i":
                tensors[name] = array.astype(np.float32 if array.itemsize < 8 else np.float64)
    return tensors


def loads(text: str | bytes, what: str) -> dict[str, Any]:
    """A JSON object, without duplicate names, NaN or infinities."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        check_many(text)
        value = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{what} must be JSON: {error}") from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{what} must be a JSON object, got {type(value).__name__}")
    return value


def check_many(text: str) -> None:
    """Refuse what would take many times its length in memory; ValueError."""
    if len(text) > HEADER_MAX:
        raise ValueError(f"at most {HEADER_MAX:,} characters, got {len(text):,}")
    n = sum(map(text.count, ",[{"))
    if n > VALUES_MAX:
        raise ValueError(f"at most {VALUES_MAX:,} values, got {n:,}")


def read_exactly(file: BinaryIO, n: int) -> bytes:
    data = file.read(n)
    if len(data) != n:
        raise ModelFileError(f"must hold {n} more bytes, got {len(data)}: truncated")
    return data


def _tensor(
    name: str, entry: Any, data_start: int, dtypes: dict[str, np.dtype[Any]]
) -> tuple[Tensor, int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ModelFileError(f"tensor {name!r} must have dtype, shape and data_offsets alone")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in dtypes:
        known = " or ".join(dtypes)
        raise ModelFileError(f"tensor {name!r} must have dtype {known}, got {code!r:.50}")
    if not _counts(shape):
        raise ModelFileError(f"tensor {name!r} must have a shape of counts, got {shape!r:.50}")
    if not _counts(offsets) or len(offsets) != 2:
        raise ModelFileError(f"tensor {name!r} must have two data_offsets, got {offsets!r:.50}")
    n_bytes = math.prod(shape) * dtypes[code].itemsize
    begin, end = offsets
    if end - begin != n_bytes:
        raise ModelFileError(
            f"tensor {name!r} must have {n_bytes} bytes for its shape {shape}, got {end - begin}"
        )
    return Tensor(dtypes[code], tuple(shape), data_start + begin), begin, end


def _counts(values: Any) -> bool:
    """Whether values is a short list of integers from 0 to 2^63."""
    return (
        isinstance(values, list)
        and len(values) <= 32
        and all(type(v) is int and 0 <= v < 2**63 for v in values)
    )


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise ValueError(f"{name!r:.200} occurs twice")
        result[name] = value
    return result


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
