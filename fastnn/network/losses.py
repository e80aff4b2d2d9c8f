"""Losses: names, and objects that carry their settings. Formulas: docs/maths.md, section 4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np

from fastnn.checks import as_name, as_real, name_of
from fastnn.kernels._cpu import LOSSES
from fastnn.values import Value


class Loss(Value):
    """What every loss with settings has: the name of its kernel."""

    name: ClassVar[str]


class CrossEntropy(Loss):
    """Cross-entropy of softmax outputs, L = -sum_j y_j ln f_j.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        At least 0 and below 1: the target y becomes (1 - s) y + s / n_classes.

    References
    ----------
    Szegedy, Vanhoucke, Ioffe, Shlens & Wojna (2016), "Rethinking the Inception architecture for
    computer vision", CVPR, section 7.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([2, 3, 2], loss=fastnn.CrossEntropy(label_smoothing=0.1)).loss
    CrossEntropy(label_smoothing=0.1)
    """

    name: ClassVar[str] = "cross_entropy"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        self._keep(label_smoothing=as_real("label_smoothing", self.label_smoothing, below=1.0))


class BinaryCrossEntropy(Loss):
    """Cross-entropy of sigmoid outputs, each a question of its own (multi-label).

    L = -sum_j [y_j ln f_j + (1 - y_j) ln(1 - f_j)]

    Parameters
    ----------
    label_smoothing : float, default 0.0
        At least 0 and below 1: the target y becomes (1 - s) y + s / 2.

    Examples
    --------
    >>> import fastnn
    >>> loss = fastnn.BinaryCrossEntropy(label_smoothing=0.1)
    >>> fastnn.Model([2, 3, 1], output="sigmoid", loss=loss).loss
    BinaryCrossEntropy(label_smoothing=0.1)
    """

    name: ClassVar[str] = "binary_cross_entropy"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        self._keep(label_smoothing=as_real("label_smoothing", self.label_smoothing, below=1.0))


class Focal(Loss):
    """Focal loss: a cross-entropy in which what is right already counts less.

        softmax   L = -sum_j y_j (1 - f_j)^gamma ln f_j
        sigmoid   L = -sum_j [y_j (1 - f_j)^gamma ln f_j + (1 - y_j) f_j^gamma ln(1 - f_j)]

    Weights of classes (the paper's alpha) are ``class_weight`` of `Model.fit`.

    Parameters
    ----------
    gamma : float, default 2.0
        At least 0, which is the cross-entropy.

    References
    ----------
    Lin, Goyal, Girshick, He & Dollár (2017), "Focal loss for dense object detection", ICCV.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([2, 3, 2], loss=fastnn.Focal(gamma=1.5)).loss
    Focal(gamma=1.5)
    """

    name: ClassVar[str] = "focal"
    gamma: float = 2.0

    def __post_init__(self) -> None:
        self._keep(gamma=as_real("gamma", self.gamma))


class Huber(Loss):
    """Half the squared error up to delta, from there on a line: outliers pull with a bounded force.

    With e = f - y, L is the sum over outputs of e^2 / 2 where |e| <= delta, and of
    delta (|e| - delta / 2) elsewhere.

    Parameters
    ----------
    delta : float, default 1.0
        Above 0.

    References
    ----------
    Huber (1964), "Robust estimation of a location parameter", Annals of Mathematical Statistics
    35(1).

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([2, 3, 1], output="identity", loss=fastnn.Huber(delta=0.5)).loss
    Huber(delta=0.5)
    """

    name: ClassVar[str] = "huber"
    delta: float = 1.0

    def __post_init__(self) -> None:
        delta = as_real("delta", self.delta)
        if not delta:
            raise ValueError("delta must be above 0, got 0.0")
        self._keep(delta=delta)


class Quantile(Loss):
    """Quantile regression: f(x) becomes the q-quantile of y given x, its median for q = 1/2.

    With e = f - y, L is the sum over outputs of (1 - q) e where e > 0 and of -q e elsewhere.

    Parameters
    ----------
    q : float or list of float, default 0.5
        Above 0 and below 1. With several, the network needs an output for each target and q, and
        the q of one target stand side by side: with q = [0.1, 0.5, 0.9] and two targets f(x) has
        six columns, three for the first target. y has a column for each target. Nothing forbids
        the curves of different q to cross.

    References
    ----------
    Koenker & Bassett (1978), "Regression quantiles", Econometrica 46(1).

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Model([2, 3, 3], output="identity", loss=fastnn.Quantile((0.1, 0.5, 0.9)))
    >>> model.loss
    Quantile(q=(0.1, 0.5, 0.9))
    """

    name: ClassVar[str] = "quantile"
    q: float | tuple[float, ...] = 0.5

    def __post_init__(self) -> None:
        if isinstance(self.q, (Sequence, np.ndarray)) and not isinstance(self.q, (str, bytes)):
            if not len(self.q):
                raise ValueError("q must hold at least one number, got none")
            self._keep(q=tuple(_as_share("each q", q) for q in self.q))
        else:
            self._keep(q=_as_share("q", self.q))

    @property
    def each(self) -> tuple[float, ...]:
        return self.q if isinstance(self.q, tuple) else (self.q,)


def _as_share(name: str, value: Any) -> float:
    number = as_real(name, value, below=1.0)
    if not number:
        raise ValueError(f"{name} must be above 0 and below 1, got 0.0")
    return number


CLASSES: dict[str, type[Loss]] = {
    one.name: one for one in (CrossEntropy, BinaryCrossEntropy, Focal, Huber, Quantile)
}


def as_loss(loss: Any) -> str | Loss:
    """`loss`, a name or an object."""
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        objects = ", ".join(f"fastnn.{one.__name__}" for one in CLASSES.values())
        raise TypeError(f"loss must be a name ({', '.join(LOSSES)}) or {objects}, got {loss!r}")
    return as_name("loss", loss, LOSSES)


def settings_of(loss: str | Loss) -> dict[str, Any]:
    """Its settings, the defaults where it is a name alone."""
    if isinstance(loss, str):
        if loss not in CLASSES:
            return {}
        loss = CLASSES[loss]()
    return asdict(loss)


def quantiles_of(loss: str | Loss) -> tuple[float, ...]:
    """The q of each output of a target; of no quantile loss: none."""
    if name_of(loss) != "quantile":
        return ()
    return loss.each if isinstance(loss, Quantile) else Quantile().each


def for_kernel(loss: str | Loss, n_out: int) -> tuple[int, dict[str, Any]]:
    """Id and settings as the kernels take them: one q for each output."""
    settings = settings_of(loss)
    if "q" in settings:
        q = quantiles_of(loss)
        settings["q"] = q * (n_out // len(q))
    return LOSSES[name_of(loss)], settings


def to_json(loss: str | Loss) -> Any:
    """A name, or {"name": ..., settings}."""
    return loss if isinstance(loss, str) else {"name": loss.name, **settings_of(loss)}


def from_json(value: Any) -> Any:
    """What `to_json` wrote; anything else is left for `as_loss` to refuse."""
    if not isinstance(value, dict) or value.get("name") not in list(CLASSES):
        return value
    return CLASSES[value["name"]](**{k: v for k, v in value.items() if k != "name"})
