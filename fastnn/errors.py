"""fastnn's own exceptions. Bad arguments raise ValueError (values) or TypeError (kinds)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

DISTRIBUTION = "fastnn-cpu"  # what pip calls fastnn, as in pyproject.toml
EXTRAS = {  # which of its extras brings a library
    "matplotlib": "plot",
    "mlflow": "mlflow",
    "msgspec": "serve",
    "onnx": "onnx",
    "prometheus_client": "serve",
    "pyarrow": "parquet",
    "scikit-learn": "sklearn",
    "scipy": "lbfgs",
    "starlette": "serve",
    "tensorboardX": "tensorboard",
    "tqdm": "progress",
    "uvicorn": "serve",
}


class FastnnError(Exception):
    """Base class of fastnn's own exceptions.

    Examples
    --------
    >>> import fastnn
    >>> issubclass(fastnn.ModelFileError, fastnn.FastnnError)
    True
    """


class DivergenceError(FastnnError, ArithmeticError):
    """Training met a loss or a weight that is not finite. The model is as before the call.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> try:
    ...     model.fit(X, y, epochs=50, learning_rate=1e30)
    ... except fastnn.DivergenceError:
    ...     print("the model is as it was")
    the model is as it was
    """


class ModelFileError(FastnnError, ValueError):
    """A file is no model that this fastnn can read, or no place where it may write one.

    Examples
    --------
    >>> from pathlib import Path
    >>> import fastnn
    >>> _ = Path("notes.txt").write_text("no model")
    >>> try:
    ...     fastnn.load("notes.txt")
    ... except fastnn.ModelFileError:
    ...     print("not a model file")
    not a model file
    """


class MissingExtraError(FastnnError, ImportError):
    """An optional package is not installed; the message says how to install it.

    Examples
    --------
    >>> import fastnn
    >>> issubclass(fastnn.MissingExtraError, ImportError)
    True
    """


class TableError(FastnnError, ValueError):
    """A table is not what it must be; the message names the file, the row and the column.

    Examples
    --------
    >>> from pathlib import Path
    >>> import fastnn
    >>> _ = Path("people.csv").write_text("age,town\\n31,Rome\\n")
    >>> try:
    ...     fastnn.tables.read("people.csv").column("income")
    ... except fastnn.TableError as error:
    ...     print(error)
    people.csv: no column "income"; it has "age", "town"
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(in_a_line(text))


def in_a_line(text: str) -> str:
    """With escapes in the place of what is not printable, so that cells that it quotes neither
    break lines nor command a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def pip_install(extra: str) -> str:
    """The command that installs an extra."""
    return f'pip install "{DISTRIBUTION}[{extra}]"'


def optional(module: str, needs_it: str, install: str = "") -> Any:
    """The optional `module`, imported; MissingExtraError says who needs it and what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        install = install or library
        absent = (error.name or "").partition(".")[0] == library
        why = "" if absent and isinstance(error, ModuleNotFoundError) else f" ({error})"
        how = pip_install(EXTRAS[install]) if install in EXTRAS else f'pip install "{install}"'
        raise MissingExtraError(f"{needs_it} needs {install}: {how}{why}") from None
