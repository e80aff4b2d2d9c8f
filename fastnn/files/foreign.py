"""Files that are not ours: opened with care, and called by their name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import BinaryIO

from fastnn.errors import ModelFileError


@contextmanager
def opened(path: str | PathLike[str]) -> Iterator[tuple[BinaryIO, int]]:
    """An open regular file and its size in bytes; a ModelFileError raised inside names the file."""
    where = os.fspath(path)
    # A pipe would be waited for until somebody writes into it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        status = os.fstat(file.fileno())
        try:
            if not stat.S_ISREG(status.st_mode):
                raise ModelFileError("must be a regular file")
            yield file, status.st_size
        except ModelFileError as error:
            raise ModelFileError(f"{where!s}: {error}") from None


def recognised(head: bytes) -> str:
    """What a file that begins like this is, and what reads it; "" of what is not known."""
    for begin, what in SIGNATURES.items():
        if head.startswith(begin):
            return what
    if head.startswith(b"PK\3\4"):
        return next((what for name, what in ZIPS.items() if name in head), "a zip archive")
    if len(head) > 2 and head[0] == 8 and head[1] < 32 and head[2] in b"\x12\x1a\x22\x3a\x42":
        return "an ONNX file: fastnn.onnx.load, or `fastnn import`, reads it"
    if head[:2] in (b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5"):
        return f"a pickle, which only its library can load ({_INTEROP})"
    if b"\n" in head and not any(c < 32 and c not in b"\t\n\r\f" for c in head):
        return "a text file; data such as CSV goes to `fastnn train` or `fastnn.tables`"
    return ""


_INTEROP = "then fastnn.interop takes what it made"
SIGNATURES = {
    b"\x89HDF\r\n\x1a\n": f"an HDF5 file, as Keras writes: keras.models.load_model, {_INTEROP}",
    b"\x93NUMPY": "an array of NumPy: numpy.load reads it",
    b"\x1f\x8b": "compressed by gzip: unpack it",
    b"PAR1": "a Parquet file: data for `fastnn train`",
    b"GGUF": "a GGUF file of a language model",
}
ZIPS = {  # a name that stands near the beginning of the archive
    b"/data.pkl": f"a file of PyTorch: torch.load, {_INTEROP}",
    b".format_version": f"a file of PyTorch: torch.load, {_INTEROP}",
    b".npy": "arrays of NumPy (.npz): numpy.load reads it",
    b"metadata.json": f"a model of Keras (.keras): keras.models.load_model, {_INTEROP}",
}
