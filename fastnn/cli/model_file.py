"""A model file and what it says about its data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.cli.messages import BadUse
from fastnn.tables.columns import VERSION, Data
from fastnn.tables.read import Arrays, ReadOptions, Table, read

if TYPE_CHECKING:
    from fastnn import Model


def load(path: str) -> Model:
    import fastnn

    if not Path(path).exists():
        raise BadUse(f"{path}: no such file")
    if Path(path).is_dir():
        raise BadUse(f"{path}: is a folder, not a model file")
    if path.lower().endswith(".onnx"):
        return load_onnx(path)
    return _read(path, fastnn.load)


def load_onnx(path: str, **options: Any) -> Model:
    import fastnn.onnx

    return _read(path, lambda path: fastnn.onnx.load(path, **options))


def _read(path: str, load: Callable[[str], Model]) -> Model:
    import fastnn

    try:
        return load(path)
    except FileNotFoundError:
        raise BadUse(f"{path}: no such file") from None
    except PermissionError:
        raise BadUse(f"{path}: no permission to read it") from None
    except fastnn.ModelFileError as error:
        text = str(error)
        raise BadUse(text if path in text else f"{path}: {text}") from None


def load_with_data(path: str) -> tuple[Model, Data]:
    model = load(path)
    saved = model.metadata.get("data")
    if saved is None:
        return model, Data.undescribed(model)
    try:
        if saved["version"] > VERSION:
            raise BadUse(
                f"{path}: describes its data in version {saved['version']}, "
                f"this fastnn knows up to {VERSION}"
            )
        return model, Data.from_dict(saved)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadUse(f"{path}: its description of the data is damaged ({error!r})") from None


def read_like_training(path: str, data: Data, options: ReadOptions) -> Table | Arrays:
    if not data.header:
        options.header = False
    return read(path, options)


def outputs(model: Model, data: Data, X: np.ndarray, n_threads: int | None) -> np.ndarray:
    """(n, n_outputs): probabilities, scores of a hinge, or float64 values in the targets' units."""
    model.n_threads = n_threads
    f = model.forward(X)
    if data.classes is not None and f.shape[1] == 1:  # of two classes from one sigmoid
        return np.hstack([1 - f, f])
    return data.decode(f) if data.amounts else f
