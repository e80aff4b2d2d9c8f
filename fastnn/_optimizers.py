"""Optimizers: how a step moves theta along the gradient."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from fastnn._checks import as_bool, as_real


class Optimizer:
    """What every optimizer has: a learning rate, the name of its kernel and that one's rates."""

    learning_rate: float

    @property
    def kind(self) -> str:
        """The kernel's name for it (``_cpu.OPTIMIZERS``)."""
        raise NotImplementedError

    @property
    def rates(self) -> dict[str, float]:
        """The numbers its kernel takes."""
        raise NotImplementedError

    def _keep(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)  # how a frozen dataclass keeps checked values


@dataclass(frozen=True)
class SGD(Optimizer):
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
        self._keep(
            learning_rate=as_real("learning_rate", self.learning_rate),
            momentum=as_real("momentum", self.momentum, below=1.0),
            nesterov=as_bool("nesterov", self.nesterov),
        )
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov must come with a momentum above 0, got momentum=0")

    @property
    def kind(self) -> str:
        if not self.momentum:
            return "sgd"
        return "nesterov" if self.nesterov else "momentum"

    @property
    def rates(self) -> dict[str, float]:
        return {"learning_rate": self.learning_rate, "momentum": self.momentum}


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: steps in units of the gradient's running average over its running root mean square.

        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g^2
        theta <- theta - learning_rate (m / (1 - beta1^n)) / (sqrt(v / (1 - beta2^n)) + epsilon)

    in step n = 1, 2, ...; m and v begin at 0, and the divisions by 1 - beta^n correct for that.

    Parameters
    ----------
    learning_rate : float, default 0.001
        At least 0.
    beta1, beta2 : float, default 0.9 and 0.999
        At least 0 and below 1.
    epsilon : float, default 1e-8
        At least 1e-30.

    References
    ----------
    Kingma & Ba (2015), "Adam: A method for stochastic optimization", ICLR, algorithm 1.
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        self._keep(
            learning_rate=as_real("learning_rate", self.learning_rate),
            beta1=as_real("beta1", self.beta1, below=1.0),
            beta2=as_real("beta2", self.beta2, below=1.0),
            epsilon=as_real("epsilon", self.epsilon, 1e-30),  # 0 in float32 would divide 0 by 0
        )

    @property
    def kind(self) -> str:
        return "adam"

    @property
    def rates(self) -> dict[str, float]:
        return asdict(self)


NAMES = {"sgd": SGD, "adam": Adam}


def as_optimizer(optimizer: Any, learning_rate: Any) -> Optimizer:
    """`optimizer`, a name or an object, with `learning_rate` in place of its own unless None."""
    wanted = "optimizer must be 'sgd', 'adam', a fastnn.SGD(...) or a fastnn.Adam(...)"
    if isinstance(optimizer, str):
        if optimizer not in NAMES:
            raise ValueError(f"{wanted}, got {optimizer!r}")
        optimizer = NAMES[optimizer]()
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{wanted}, got {optimizer!r}")
    if learning_rate is None:
        return optimizer
    return replace(optimizer, learning_rate=learning_rate)  # type: ignore[type-var]
