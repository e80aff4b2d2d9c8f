"""Activations: a name, or an object that sets the parameter of one that has any.

Formulas stand in src/activations.h and docs/maths.md, section 3.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from fastnn.checks import as_name, as_real
from fastnn.kernels._cpu import ACTIVATIONS, OUTPUTS, PARAMETERS


class Activation:
    """What every activation with a parameter has: its kernel's name and that parameter."""

    name: ClassVar[str]

    @property
    def parameter(self) -> float:
        """The number its kernel takes."""
        (value,) = asdict(self).values()  # type: ignore[call-overload]
        return float(value)


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """h = a where a > 0, slope a elsewhere.

    Parameters
    ----------
    slope : float, default 0.01
        At least 0.

    References
    ----------
    Maas, Hannun & Ng (2013), "Rectifier nonlinearities improve neural network acoustic models",
    ICML.
    """

    name: ClassVar[str] = "leaky_relu"
    slope: float = PARAMETERS["leaky_relu"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "slope", as_real("slope", self.slope))


@dataclass(frozen=True)
class ELU(Activation):
    """h = a where a > 0, alpha (e^a - 1) elsewhere.

    Parameters
    ----------
    alpha : float, default 1.0
        At least 0.

    References
    ----------
    Clevert, Unterthiner & Hochreiter (2016), "Fast and accurate deep network learning by
    exponential linear units (ELUs)", ICLR.
    """

    name: ClassVar[str] = "elu"
    alpha: float = PARAMETERS["elu"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", as_real("alpha", self.alpha))


CLASSES: dict[str, type[Activation]] = {one.name: one for one in (LeakyReLU, ELU)}


def as_activation(what: str, value: Any, known: Any = ACTIVATIONS) -> str | Activation:
    """`value`, a known name or an object; one that has the default parameter becomes its name."""
    if isinstance(value, Activation):
        return value.name if value == CLASSES[value.name]() else value
    return as_name(what, value, known)


def kernel(activation: str | Activation) -> int | tuple[int, float]:
    """What compiled code takes for it: the id, or id and parameter."""
    if isinstance(activation, str):
        return OUTPUTS[activation]
    return OUTPUTS[activation.name], activation.parameter


def described(activation: str | Activation) -> str | dict[str, Any]:
    """As JSON holds it: the name, or {"name": ..., "slope": ...}."""
    if isinstance(activation, str):
        return activation
    return {"name": activation.name, **asdict(activation)}  # type: ignore[call-overload]


def restored(value: Any) -> Any:
    """The activation that `described` described; what is no dict is left to `as_activation`."""
    if not isinstance(value, dict):
        return value
    parameters = {key: one for key, one in value.items() if key != "name"}
    name = value.get("name")
    if not isinstance(name, str) or name not in CLASSES:
        raise ValueError(f"name must be one of {', '.join(CLASSES)}, got {name!r:.50}")
    return CLASSES[name](**parameters)  # TypeError: an unknown parameter
