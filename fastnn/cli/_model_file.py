"""A model file and what it says about its data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ._messages import BadUse
from .preprocess import VERSION, Data
from .tables import Arrays, ReadOptions, Table, read

if TYPE_CHECKING:
    from fastnn import Model


def load(path: str) -> Model:
    import fastnn

    if not Path(path).exists():
        raise BadUse(f"{path}: no such file")
    if Path(path).is_dir():
        raise BadUse(f"{path}: is a folder, not a model file")
    try:
        return fastnn.load(path)
    except PermissionError:
        raise BadUse(f"{path}: no permission to read it") from None
    except fastnn.ModelFileError as error:
        text = str(error)
        raise BadUse(text if path in text else f"{path}: {text}") from None


def load_with_data(path: str) -> tuple[Model, Data]:
    model = load(path)
    saved = model.metadata.get("data")
    if saved is None:
        raise BadUse(
            f"{path}: says nothing about its data, so it was not written by fastnn train; "
            "use it from Python: fastnn.load"
        )
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
    return data.decode(f) if data.amounts else f
