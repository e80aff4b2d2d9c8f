"""What reads files of others: of any bytes it makes what they say, or says in one line why not.

    model ensemble    fastnn.load, and predictions of what loads
    csv npz npy parquet    fastnn.tables.read, and what is learned of it
    onnx    fastnn.onnx.load
    library    fastnn.h's reader

Everything else is a finding: another exception, a crash, a hang, memory beyond the limit. run.py
looks for inputs that bring it about; tests/test_fuzz.py tries those that are kept in corpus/.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
import fastnn.online
import fastnn.onnx

CORPUS = Path(__file__).parent / "corpus"
REFUSALS = fastnn.FastnnError, ValueError, TypeError  # of arguments that do not go with a file
SMALL = 4096  # inputs or parameters of what is tried


@contextlib.contextmanager
def refused_in_a_line(*kinds: type[Exception]) -> Any:
    """Errors of these kinds, in one line, are answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except kinds as error:
            assert str(error) and len(str(error).splitlines()) == 1, error


def model(path: Path) -> None:
    with refused_in_a_line(fastnn.ModelFileError):
        loaded = fastnn.load(path)
        predictions(loaded)


ensemble = model


def predictions(loaded: Any) -> None:
    """Of rows of each sort that it may take: what it learned, or a matrix."""
    with refused_in_a_line(*REFUSALS):
        repr(loaded)
    if isinstance(loaded, fastnn.online.Learner):
        with refused_in_a_line(*REFUSALS):
            loaded.predict_one({"a": 0.5, "b": "u"})
        return
    single = isinstance(loaded, fastnn.Model)
    width = loaded.sizes[0] if single else loaded.n_features_in_
    columns = loaded.columns if single else loaded.columns_
    if width > SMALL or (single and loaded.n_parameters > SMALL):
        return
    with refused_in_a_line(*REFUSALS):
        loaded.predict(np.zeros((3, width), np.float32))
    names = columns and getattr(columns.inputs, "names", None)
    for cell in (0.5, "a", "2020-02-03", None):
        with refused_in_a_line(*REFUSALS):
            loaded.predict([dict.fromkeys(names or ["a"], cell)])


def table(path: Path) -> None:
    with refused_in_a_line(fastnn.TableError):
        data = fastnn.tables.read(path)
        if isinstance(data, fastnn.tables.Table) and data.n_rows < SMALL:
            fastnn.tables.learn(data, np.arange(data.n_rows) % 2).encode(data)


csv = npz = npy = parquet = table


def onnx(path: Path) -> None:
    with refused_in_a_line(fastnn.ModelFileError):
        predictions(fastnn.onnx.load(path))


def library(path: Path) -> None:
    """As library.c does it, by the library that is built."""
    import ctypes

    found, error = ctypes.CDLL(fastnn.get_library()), ctypes.create_string_buffer(200)
    found.fastnn_load.restype = ctypes.c_void_p
    at = found.fastnn_load(str(path).encode(), error, len(error))
    assert (at is None) == (error.value != b"") and b"\n" not in error.value, error.value
    found.fastnn_free(ctypes.c_void_p(at))


TARGETS: dict[str, Callable[[Path], None]] = {
    "model": model,
    "ensemble": ensemble,
    "csv": csv,
    "npz": npz,
    "npy": npy,
    "parquet": parquet,
    "onnx": onnx,
    "library": library,
}
ENDS = dict.fromkeys(["model", "ensemble", "library"], "safetensors")


def tried(name: str, data: bytes, folder: Path) -> None:
    """Give these bytes to a target, as a file in `folder`."""
    path = folder / f"t.{ENDS.get(name, name)}"
    path.write_bytes(data)
    TARGETS[name](path)
