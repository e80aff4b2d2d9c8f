"""Model files and data files: what is absent or cannot be read is bad use, told in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.cli.common.messages import BadUse
from fastnn.network.arrays import refuse_nan
from fastnn.saved import columns_of
from fastnn.tables.columns import Columns
from fastnn.tables.reading import read as read_file
from fastnn.tables.table import Arrays, Table

if TYPE_CHECKING:
    from fastnn import Model


@contextmanager
def reading(path: str, kind: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BadUse(f"{error.filename or path}: no such file") from None
    except IsADirectoryError:
        raise BadUse(f"{path}: is a folder, not a {kind} file") from None
    except PermissionError as error:
        raise BadUse(f"{error.filename or path}: no permission to read it") from None


def read(path: str, options: dict[str, Any]) -> Table | Arrays:
    with reading(path, "data"):
        return read_file(path, **options)


def load(path: str, **options: Any) -> Any:
    """A Model or a tabular estimator from a model file; a Model, by its name's end, from an ONNX
    file, which the options are for."""
    import fastnn

    with reading(path, "model"):
        if path.lower().endswith(".onnx") or options:
            import fastnn.onnx

            return fastnn.onnx.load(path, **options)
        try:
            loaded = fastnn.load(path)
        except fastnn.ModelFileError as error:
            text = str(error)
            raise BadUse(text if path in text else f"{path}: {text}") from None
    if not (isinstance(loaded, fastnn.Model) or hasattr(loaded, "columns_")):
        raise BadUse(f"{path}: holds a {type(loaded).__name__}, which fastnn.load is for")
    return loaded


def is_ensemble(model: Any) -> bool:
    """Whether it is a tabular estimator, no Model."""
    import fastnn

    return not isinstance(model, fastnn.Model)


def load_model(path: str, what: str = "") -> Model:
    """A model file of one network. what: the command that needs it to be one."""
    model = load(path)
    if is_ensemble(model):
        raise BadUse(f"{path}: {what} needs one network, this file holds a {type(model).__name__}")
    network: Model = model
    return network


def load_with_columns(path: str) -> tuple[Any, Columns]:
    """A model or tabular estimator, and what it knows of its columns; of a plain model what can be
    told."""
    model = load(path)
    return model, columns_of(model)


def read_like_training(path: str, columns: Columns, options: dict[str, Any]) -> Table | Arrays:
    return read(path, options | {"header": options["header"] and columns.header})


def outputs(model: Any, columns: Columns, rows: Any, n_threads: int | None) -> np.ndarray:
    """(n, n_outputs): probabilities, scores of a hinge, or float64 values in the targets' units."""
    model.n_threads = n_threads
    if is_ensemble(model):
        answers: np.ndarray = (
            model.predict(rows)[:, None] if columns.amounts else model.predict_proba(rows)
        )
        return answers
    described = model.columns is not None and not model.columns.plain
    f = model.forward(rows if described else columns.encode(rows, model.dtype))
    if not columns.amounts:
        refuse_nan(f)
    if columns.class_names is not None and f.shape[1] == 1:  # of two classes from one sigmoid
        return np.hstack([1 - f, f])
    return columns.decode(f)


def gives_probabilities(model: Any) -> bool:
    """Whether `outputs` of classes are probabilities."""
    return getattr(model, "output", "softmax") in ("softmax", "sigmoid")
