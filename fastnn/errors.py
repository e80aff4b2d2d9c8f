"""fastnn's own exceptions. Bad arguments raise ValueError (values) or TypeError (kinds)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

DISTRIBUTION = "fastnn-cpu"  # what pip calls fastnn, as in pyproject.toml


class FastnnError(Exception):
    """Base class of fastnn's own exceptions."""


class DivergenceError(FastnnError, ArithmeticError):
    """Training met a loss or a weight that is not finite. The model is as before the call."""


class ModelFileError(FastnnError, ValueError):
    """A file is no model that this fastnn can read, or no place where it may write one."""


class MissingExtraError(FastnnError, ImportError):
    """An optional package is not installed; the message says how to install it."""


class TableError(FastnnError, ValueError):
    """A table is not what it must be; the message names the file, the row and the column."""


def optional(module: str, needs_it: str, install: str = "") -> Any:
    """The optional `module`, imported; MissingExtraError says who needs it and what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        install = install or library
        absent = (error.name or "").partition(".")[0] == library
        why = "" if absent and isinstance(error, ModuleNotFoundError) else f" ({error})"
        raise MissingExtraError(f"{needs_it} needs {install}: pip install {install}{why}") from None
