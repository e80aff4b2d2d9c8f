"""Optimizers: how a step moves theta along the gradient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from fastnn._checks import as_bool, as_real


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, plain, with momentum, or with Nesterov's momentum.

        plain      theta <- theta - learning_rate g
        momentum   v <- momentum v + g,   theta <- theta - learning_rate v
        nesterov   v <- momentum v + g,   theta <- theta - learning_rate (g + momentum v)

    Parameters
    ----------
    learning_rate : float, default 0.1
        At least 0.
    momentum : float, default 0.0
        At least 0 and below 1; 0 is plain SGD.
    nesterov : bool, default False
        Needs momentum above 0.

    References
    ----------
    Sutskever, Martens, Dahl & Hinton (2013), "On the importance of initialization and momentum in
    deep learning", ICML.
    """

    learning_rate: float = 0.1
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # the way a frozen dataclass keeps checked values
        set_field(self, "learning_rate", as_real("learning_rate", self.learning_rate))
        set_field(self, "momentum", as_real("momentum", self.momentum, below=1.0))
        set_field(self, "nesterov", as_bool("nesterov", self.nesterov))
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov must come with a momentum above 0, got momentum=0")

    @property
    def kind(self) -> str:
        """The kernel's name for it."""
        if not self.momentum:
            return "sgd"
        return "nesterov" if self.nesterov else "momentum"


def as_optimizer(optimizer: Any, learning_rate: Any) -> SGD:
    """`optimizer`, a name or an SGD, with `learning_rate` in place of its own unless None."""
    if optimizer == "sgd":
        optimizer = SGD()
    if isinstance(optimizer, str):
        raise ValueError(f"optimizer must be 'sgd' or a fastnn.SGD(...), got {optimizer!r}")
    if not isinstance(optimizer, SGD):
        raise TypeError(f"optimizer must be 'sgd' or a fastnn.SGD(...), got {optimizer!r}")
    if learning_rate is None:
        return optimizer
    return replace(optimizer, learning_rate=learning_rate)
