"""`fastnn.load`: whatever fastnn has saved, as what it was."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from fastnn import model
from fastnn.errors import ModelFileError

if TYPE_CHECKING:
    from fastnn.tables.columns import Columns


def load(path: str | PathLike[str]) -> Any:
    """Load what `save` of a Model, a tabular estimator, a Learner or an Int8Predictor wrote.

    Parameters
    ----------
    path : path

    Returns
    -------
    Model, TabularClassifier, TabularRegressor, online.Learner or Int8Predictor
        It predicts the same bits, and `fit` of a Model, `learn_one` of a Learner, goes on as the
        saved one's would.

    Raises
    ------
    ModelFileError
        The file is none of fastnn's, is damaged, or is of a newer version.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> model.save("net.safetensors")
    >>> bool((fastnn.load("net.safetensors").theta == model.theta).all())
    True
    """
    from fastnn.files.ensemble import estimator_of  # here: json makes an import slower
    from fastnn.files.model import INT8, format_of

    if format_of(path) == INT8:
        from fastnn.quantized import file
        from fastnn.quantized.predictor import Int8Predictor

        return Int8Predictor(*file.load(path))
    estimator = estimator_of(path)
    if estimator == "Learner":
        from fastnn.online import learner

        return learner.load(path)
    if estimator is not None:
        from fastnn.tabular import files
        from fastnn.tabular.estimators import ESTIMATORS

        return files.load(path, ESTIMATORS)
    return model.load(path)


def columns_of(loaded: Any) -> Columns:
    """What a Model or a tabular estimator knows of its columns; of a plain model what can be told
    from its network."""
    if isinstance(loaded, model.Model):
        return loaded._described()
    if not hasattr(loaded, "columns_"):
        raise ModelFileError(f"must be a model of columns, this is a {type(loaded).__name__}")
    known: Columns = loaded.columns_
    return known
