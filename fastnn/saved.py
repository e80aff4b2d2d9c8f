"""`fastnn.load`: whatever fastnn has saved, as what it was."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from fastnn import model

if TYPE_CHECKING:
    from fastnn.tables.columns import Columns


def load(path: str | PathLike[str]) -> Any:
    """Load what `Model.save`, or `save` of a tabular estimator, wrote.

    Parameters
    ----------
    path : path

    Returns
    -------
    Model, TabularClassifier or TabularRegressor
        It predicts the same bits, and `fit` of a Model goes on as the saved one's would.

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
    from fastnn.files.ensemble import is_ensemble  # here: json makes an import slower

    if is_ensemble(path):
        from fastnn.tabular import files
        from fastnn.tabular.estimators import ESTIMATORS

        return files.load(path, ESTIMATORS)
    return model.load(path)


def columns_of(loaded: Any) -> Columns:
    """What a Model or a tabular estimator knows of its columns; of a plain model what can be told
    from its network."""
    known: Columns = loaded._described() if isinstance(loaded, model.Model) else loaded.columns_
    return known
