"""Normalisation between a layer's product and its activation: h = g(gamma xhat + b).

    xhat = (u - mean) / sqrt(variance + epsilon),   u = h_prev W^T

Formulas: docs/maths.md, section 6; src/normalise.h.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

from fastnn.checks import as_name, as_real
from fastnn.kernels._cpu import NORMS
from fastnn.values import Value


class Norm:
    """What every normalisation has: a name, and what is added to the variance."""

    name: ClassVar[str]
    epsilon: float


class BatchNorm(Norm, Value):
    """Mean and variance of each unit over the rows of a mini-batch.

    Prediction (also on validation data) uses running averages of both instead, which the steps of
    `Model.fit` and `Model.partial_fit` move:

        running <- (1 - momentum) running + momentum (that of the mini-batch; variance unbiased)

    They are folded into weights and biases, so it costs prediction nothing. A mini-batch of a
    single row, such as what an epoch may leave over, has no variance: it is normalised by the
    running averages and leaves them as they are. batch_size=1 is refused.

    Parameters
    ----------
    momentum : float, default 0.1
        0 to 1, as PyTorch counts it (Keras: 1 - momentum).
    epsilon : float, default 1e-5
        Above 0.

    References
    ----------
    Ioffe & Szegedy (2015), "Batch normalization: Accelerating deep network training by reducing
    internal covariate shift", ICML.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Model([2, 3, 2], norm=fastnn.BatchNorm(momentum=0.2))
    >>> model.running_mean[0]
    array([0., 0., 0.], dtype=float32)
    """

    name: ClassVar[str] = "batch"
    momentum: float = 0.1
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        momentum = as_real("momentum", self.momentum)
        if momentum > 1:
            raise ValueError(f"momentum must be at most 1, got {momentum:g}")
        self._keep(momentum=momentum, epsilon=_above_0(self.epsilon))


class LayerNorm(Norm, Value):
    """Mean and variance of each row over the units of the layer, in training and prediction alike.

    Parameters
    ----------
    epsilon : float, default 1e-5
        Above 0.

    References
    ----------
    Ba, Kiros & Hinton (2016), "Layer normalization", arXiv:1607.06450.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Model([2, 3, 2], norm=fastnn.LayerNorm())
    >>> model.gamma[0]
    array([1., 1., 1.], dtype=float32)
    """

    name: ClassVar[str] = "layer"
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        self._keep(epsilon=_above_0(self.epsilon))


def _above_0(epsilon: Any) -> float:
    if (number := as_real("epsilon", epsilon)) < 1e-30:  # of float32, whose smallest is 1e-38
        raise ValueError(f"epsilon must be above 0 (1e-30 at least), got {number:g}")
    return number


CLASSES: dict[str, type[Norm]] = {one.name: one for one in (BatchNorm, LayerNorm)}


def as_norm(value: Any) -> Norm | None:
    """`value`, a name, an object or None."""
    if value is None or isinstance(value, Norm):
        return value
    return CLASSES[as_name("norm", value, CLASSES)]()


def kernel(norm: Norm | None) -> tuple[int, float, float] | None:
    """What compiled code takes for it: id, epsilon, momentum."""
    if norm is None:
        return None
    return NORMS[norm.name], norm.epsilon, getattr(norm, "momentum", 0.0)


def described(norm: Norm | None) -> dict[str, Any] | None:
    """As JSON holds it."""
    return None if norm is None else {"name": norm.name, **asdict(norm)}  # type: ignore[call-overload]


def restored(value: Any) -> Norm | None:
    """The normalisation that `described` described."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError(f"each of norm must be an object or null, got {value!r:.50}")
    parameters = {key: one for key, one in value.items() if key != "name"}
    return CLASSES[as_name("norm", value.get("name"), CLASSES)](**parameters)
