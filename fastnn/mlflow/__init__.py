"""MLflow: models as its `python_function`, without a pickle.

What MLflow keeps is the file that `save` writes, and the name of this module, which loads it there
(`_load_pyfunc`). Needs the extra mlflow (mlflow-skinny and pandas; mlflow itself will do).
docs/services.md.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np

from fastnn.checks import as_bool
from fastnn.config import __version__
from fastnn.errors import DISTRIBUTION, optional
from fastnn.model import Model
from fastnn.quantized.predictor import Int8Predictor
from fastnn.saved import load
from fastnn.tabular.estimators import Tabular

__all__ = ["log_model", "save_model"]

FILE = "model.safetensors"


def save_model(
    model: Model | Tabular | Int8Predictor,
    path: str | PathLike[str],
    *,
    probabilities: bool = False,
    **options: Any,
) -> None:
    """Write a folder that `mlflow.pyfunc.load_model`, `mlflow models serve` and registries take.

    Parameters
    ----------
    model : Model, TabularClassifier, TabularRegressor or Int8Predictor
        Its file becomes part of the folder.
    path : path
        Such as "flowers"; it must not exist yet.
    probabilities : bool
        Whether its predict gives `predict_proba`'s numbers in place of classes. Whoever loads it
        may choose again: ``load_model(path, model_config={"probabilities": True})``. An
        Int8Predictor gives f(x) either way.
    **options
        As of `mlflow.pyfunc.save_model`: signature, input_example, metadata, pip_requirements (by
        default this fastnn), ...

    Raises
    ------
    MissingExtraError
        mlflow is not installed.
    TypeError
        `model` is none of these.

    Examples
    --------
    >>> import mlflow
    >>> import numpy as np
    >>> import fastnn.mlflow
    >>> fastnn.mlflow.save_model(fastnn.Model([2, 3], seed=0), "net")
    >>> mlflow.pyfunc.load_model("net").predict(np.ones((1, 2))).shape
    (1,)
    """
    with _given(model, probabilities, options) as given:
        _pyfunc().save_model(path, **given)


def log_model(
    model: Model | Tabular | Int8Predictor,
    name: str,
    *,
    probabilities: bool = False,
    **options: Any,
) -> Any:
    """Log a model to MLflow's active run, and register it with ``registered_model_name``.

    Parameters
    ----------
    model, probabilities
        As of `save_model`.
    name : str
        What MLflow is to call it.
    **options
        As of `mlflow.pyfunc.log_model`.

    Returns
    -------
    mlflow.models.model.ModelInfo

    Examples
    --------
    >>> import mlflow
    >>> import fastnn.mlflow
    >>> with mlflow.start_run():  # doctest: +SKIP
    ...     fastnn.mlflow.log_model(fastnn.Model([2, 3], seed=0), "net")
    """
    with _given(model, probabilities, options) as given:
        return _pyfunc().log_model(name=name, **given)


def _pyfunc() -> Any:
    optional("mlflow", "fastnn.mlflow")
    return optional("mlflow.pyfunc", "fastnn.mlflow")


@contextmanager
def _given(model: Any, probabilities: bool, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What mlflow.pyfunc is told, while the model's file is there."""
    as_bool("probabilities", probabilities)
    if not isinstance(model, Model | Tabular | Int8Predictor):
        raise TypeError(
            "model must be a Model, TabularClassifier, TabularRegressor or Int8Predictor, "
            f"got {model!r:.100}"
        )
    if "pip_requirements" not in options and "conda_env" not in options:
        options = {"pip_requirements": [f"{DISTRIBUTION}=={__version__}"], **options}
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, FILE)
        model.save(file)
        yield {
            "loader_module": __name__,
            "data_path": file,
            "model_config": {"probabilities": probabilities},
            **options,
        }


class _Served:
    """What mlflow.pyfunc calls."""

    def __init__(self, model: Any, probabilities: bool) -> None:
        if isinstance(model, Int8Predictor):
            self._predict: Any = lambda X: model(np.asarray(X, np.float32))
        else:
            self._predict = model.predict_proba if probabilities else model.predict

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        return self._predict(model_input)


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> _Served:
    """What MLflow calls with the file, and save_model's choice or the loader's."""
    return _Served(load(path), bool((model_config or {}).get("probabilities")))
