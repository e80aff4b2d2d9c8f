"""Activations: a name, or an object that sets the parameter of one that has any, or trains one.

`TABLE` says what each is called in other libraries. Formulas stand in src/activations.h and
docs/maths.md, section 3.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fastnn.checks import as_name, as_real, name_of
from fastnn.kernels._cpu import ACTIVATIONS, OUTPUTS, PARAMETERS
from fastnn.values import Value


class Known(NamedTuple):
    """A line of `TABLE`: an activation's formulas, and its name in each library that has it."""

    g: str  # h = g(a); {p} stands for the parameter
    slope: str  # g'(a), in terms of h where h tells it
    torch: str | None  # a class of torch.nn
    keras: str | None  # a function of keras.activations
    sklearn: str | None  # of sklearn.neural_network, in activation or out_activation_
    onnx: str | None  # an operator of opset 17 that is this function and no more


# Every activation that compiled code knows, and what others call it.
TABLE = {
    "identity": Known("a", "1", "Identity", "linear", "identity", "Identity"),
    "relu": Known("max(a, 0)", "1 where h > 0, else 0", "ReLU", "relu", "relu", "Relu"),
    "sigmoid": Known("1 / (1 + e^-a)", "h (1 - h)", "Sigmoid", "sigmoid", "logistic", "Sigmoid"),
    "tanh": Known("tanh(a)", "1 - h^2", "Tanh", "tanh", "tanh", "Tanh"),
    "leaky_relu": Known(
        "a where a > 0, else {p} a", "1 where h > 0, else {p}",
        "LeakyReLU", "leaky_relu", None, "LeakyRelu",
    ),
    "elu": Known(
        "a where a > 0, else {p} (e^a - 1)", "1 where h > 0, else h + {p}",
        "ELU", "elu", None, "Elu",
    ),
    "selu": Known(
        "1.0507 a where a > 0, else 1.7581 (e^a - 1)", "1.0507 where h > 0, else h + 1.7581",
        "SELU", "selu", None, "Selu",
    ),
    "softplus": Known("ln(1 + e^a)", "1 - e^-h", "Softplus", "softplus", None, "Softplus"),
    "hard_tanh": Known(
        "min(max(a, -1), 1)", "1 where -1 < h < 1, else 0",
        "Hardtanh", "hard_tanh", None, None,
    ),
    "gelu": Known("a Phi(a)", "Phi(a) + a phi(a)", "GELU", "gelu", None, None),
    "gelu_tanh": Known(
        "a s(u), u = 1.5958 (a + 0.044715 a^3), s the sigmoid",
        "s(u) + 1.5958 (a + 0.134145 a^3) s(u) (1 - s(u)), u = 1.5958 (a + 0.044715 a^3)",
        "GELU", None, None, None,
    ),
    "silu": Known(
        "a s(a), s the sigmoid", "s(a) + a s(a) (1 - s(a))", "SiLU", "silu", None, None
    ),
    "mish": Known(
        "a tanh(ln(1 + e^a))", "t + a (1 - t^2) s(a), t = tanh(ln(1 + e^a)), s the sigmoid",
        "Mish", "mish", None, None,
    ),
    "exp": Known("e^a", "h", None, "exponential", "exp", "Exp"),
    "softmax": Known("e^a / sum e^a", "", "Softmax", "softmax", "softmax", "Softmax"),
}  # fmt: skip


class Activation(Value):
    """What every activation with a parameter has: its kernel's name and that parameter."""

    name: ClassVar[str]

    @property
    def parameter(self) -> float:
        """The number its kernel takes."""
        (value,) = asdict(self).values()
        return float(value)


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

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([2, 3, 2], activation=fastnn.LeakyReLU(0.2)).activations
    [LeakyReLU(slope=0.2)]
    """

    name: ClassVar[str] = "leaky_relu"
    slope: float = PARAMETERS["leaky_relu"]

    def __post_init__(self) -> None:
        self._keep(slope=as_real("slope", self.slope))


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

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([2, 3, 2], activation=fastnn.ELU(0.5)).activations
    [ELU(alpha=0.5)]
    """

    name: ClassVar[str] = "elu"
    alpha: float = PARAMETERS["elu"]

    def __post_init__(self) -> None:
        self._keep(alpha=as_real("alpha", self.alpha))


class Parametric(Activation):
    """h = a + alpha (g(a) - a), with an alpha for each unit of the layer, trained, 1 at first.

    So it begins as g, and alpha = 0 would be the identity. alpha stands in theta after the layer's
    gamma; its learning rate has the factor "alpha" of an optimizer's ``rate_factors``. For hidden
    layers.

    Parameters
    ----------
    activation : str, fastnn.LeakyReLU or fastnn.ELU
        g.

    References
    ----------
    Holzmüller, Grinsztajn & Steinwart (2024), "Better by default: strong pre-tuned MLPs and boosted
    trees on tabular data", NeurIPS, appendix A (their selu and mish).

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Model([2, 3, 2], activation=fastnn.Parametric("selu"))
    >>> model.alpha[0]
    array([1., 1., 1.], dtype=float32)
    """

    name: ClassVar[str] = "parametric"
    activation: str | Activation

    def __post_init__(self) -> None:
        if isinstance(self.activation, Parametric):
            raise ValueError("activation must not be parametric itself")
        self._keep(activation=as_activation("activation", self.activation))

    @property
    def parameter(self) -> float:
        return parameter_of(self.activation)


CLASSES: dict[str, type[Activation]] = {one.name: one for one in (LeakyReLU, ELU, Parametric)}


def as_activation(what: str, value: Any, known: Any = ACTIVATIONS) -> str | Activation:
    """`value`, a known name or an object; one that has the default parameter becomes its name."""
    if isinstance(value, Parametric):
        if known is not ACTIVATIONS:
            raise ValueError(f"{what} must not be parametric, which hidden layers alone are")
        return value
    if isinstance(value, Activation):
        return value.name if value == CLASSES[value.name]() else value
    return as_name(what, value, known)


def plain(activation: str | Activation) -> str | Activation:
    """It, or g of a parametric one."""
    return activation.activation if isinstance(activation, Parametric) else activation


def is_parametric(activation: str | Activation) -> bool:
    return isinstance(activation, Parametric)


def parameter_of(activation: str | Activation) -> float:
    """Its parameter, the default where it is a name alone; 0 where it has none."""
    if isinstance(activation, Activation):
        return activation.parameter
    return PARAMETERS.get(activation, 0.0)


# Between which g'(a) lies, of those that have no parameter.
SLOPES = {
    "identity": (1.0, 1.0), "relu": (0.0, 1.0), "sigmoid": (0.0, 0.25), "tanh": (0.0, 1.0),
    "selu": (0.0, 1.7580994), "softplus": (0.0, 1.0), "hard_tanh": (0.0, 1.0),
    "gelu": (-0.1289045, 1.1289045), "gelu_tanh": (-0.12913, 1.12913),
    "silu": (-0.0998396, 1.0998396), "mish": (-0.1128810, 1.0885005), "exp": (0.0, np.inf),
}  # fmt: skip


def slopes(activation: str | Activation) -> tuple[float, float]:
    """Between which g'(a) lies, of a parametric one for g."""
    g = plain(activation)
    name = name_of(g)
    if name == "leaky_relu":
        return min(parameter_of(g), 1.0), max(parameter_of(g), 1.0)
    return (0.0, max(parameter_of(g), 1.0)) if name == "elu" else SLOPES[name]


def falls(activation: str | Activation) -> bool:
    """Whether it falls somewhere, or may come to."""
    return is_parametric(activation) or slopes(activation)[0] < 0


def kernel(activation: str | Activation) -> int | tuple[int, float]:
    """What compiled code takes for it, of a parametric one for g: the id, or id and parameter."""
    if isinstance(activation, str):
        return OUTPUTS[activation]
    return OUTPUTS[name_of(plain(activation))], activation.parameter


def hidden_kernel(
    activation: str | Activation,
) -> int | tuple[int, float] | tuple[int, float, bool]:
    """What an engine takes for a hidden layer's: as `kernel`, of a parametric one with True."""
    if isinstance(activation, Parametric):
        return OUTPUTS[name_of(activation.activation)], activation.parameter, True
    return kernel(activation)


def described(activation: str | Activation) -> str | dict[str, Any]:
    """As JSON holds it: the name, or {"name": ..., "slope": ...}."""
    if isinstance(activation, str):
        return activation
    if isinstance(activation, Parametric):
        return {"name": activation.name, "activation": described(activation.activation)}
    return {"name": activation.name, **asdict(activation)}


def restored(value: Any) -> Any:
    """The activation that `described` described; what is no dict is left to `as_activation`."""
    if not isinstance(value, dict):
        return value
    parameters = {key: one for key, one in value.items() if key != "name"}
    name = value.get("name")
    if not isinstance(name, str) or name not in CLASSES:
        raise ValueError(f"name must be one of {', '.join(CLASSES)}, got {name!r:.50}")
    if name == Parametric.name and "activation" in parameters:
        parameters["activation"] = restored(parameters["activation"])
    return CLASSES[name](**parameters)  # TypeError: an unknown parameter
