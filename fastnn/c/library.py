"""Where a compiler finds the header of the predictor for C, and a linker its library."""

from __future__ import annotations

import sys
from pathlib import Path

import fastnn.kernels

LIBRARY = {"darwin": "lib/libfastnn.dylib", "win32": "fastnn.dll"}.get(
    sys.platform, "lib/libfastnn.so"
)


def get_include() -> str:
    """The folder with ``fastnn.h``: predictions of saved networks for C, C++ and Cython.

    Returns
    -------
    str

    Examples
    --------
    >>> import os
    >>> import fastnn
    >>> os.listdir(fastnn.get_include()).count("fastnn.h")
    1
    """
    return str(Path(__file__).parent)


def get_library() -> str:
    """The shared library whose functions ``fastnn.h`` declares. It needs neither Python nor NumPy.

    Returns
    -------
    str
        Its path. The folder is what a compiler's ``-L`` takes; the library's name is fastnn.

    Raises
    ------
    FileNotFoundError
        This build has none: WebAssembly's.

    Examples
    --------
    >>> import ctypes
    >>> import fastnn
    >>> library = ctypes.CDLL(fastnn.get_library())
    >>> library.fastnn_load(b"no such file", None, 0)
    0
    """
    path = Path(fastnn.kernels.__file__).parent / LIBRARY
    if not path.exists():
        raise FileNotFoundError(f"this build of fastnn has no library for C: {path}")
    return str(path)
