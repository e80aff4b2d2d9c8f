"""River's classifiers and regressors: a Learner each, for its pipelines, metrics and evaluation.

River (online-ml/river) knows what a model is by its base class; nothing else is added here.
"""

from __future__ import annotations

from typing import Any

from fastnn.errors import optional
from fastnn.online.learner import Learner

__all__ = ["Classifier", "Regressor"]

base: Any = optional("river.base", "fastnn.online.river", "river")


class Classifier(Learner, base.Classifier):
    """A `fastnn.online.Learner` of classes for River.

    Parameters
    ----------
    hidden, learning_rate, n_inputs, seed
        As of `fastnn.online.Learner`.

    Examples
    --------
    >>> from river import datasets, evaluate, metrics
    >>> from fastnn.online.river import Classifier
    >>> model = Classifier(seed=0)
    >>> metric = evaluate.progressive_val_score(datasets.Phishing(), model, metrics.Accuracy())
    >>> metric.get() > 0.85
    True
    """

    settings = Learner.settings[1:]

    def __init__(
        self,
        hidden: int | tuple[int, ...] = 32,
        learning_rate: float = 0.03,
        n_inputs: int = 1024,
        seed: int | None = None,
    ) -> None:
        super().__init__("classification", hidden, learning_rate, n_inputs, seed)

    @property
    def _multiclass(self) -> bool:
        return True


class Regressor(Learner, base.Regressor):
    """A `fastnn.online.Learner` of amounts for River.

    Parameters
    ----------
    hidden, learning_rate, n_inputs, seed
        As of `fastnn.online.Learner`.

    Examples
    --------
    >>> from river import datasets, evaluate, metrics
    >>> from fastnn.online.river import Regressor
    >>> model = Regressor(seed=0)
    >>> metric = evaluate.progressive_val_score(datasets.TrumpApproval(), model, metrics.MAE())
    >>> metric.get() < 1.0
    True
    """

    settings = Learner.settings[1:]

    def __init__(
        self,
        hidden: int | tuple[int, ...] = 32,
        learning_rate: float = 0.03,
        n_inputs: int = 1024,
        seed: int | None = None,
    ) -> None:
        super().__init__("regression", hidden, learning_rate, n_inputs, seed)
