"""Networks from elsewhere: a sequence of steps, folded into the layers of a Model.

    Linear     a = W h + b
    Scale      factor * h + shift, each entry on its own: normalisation, parts of activations
    Normalize  by batch or layer: stays one between a hidden layer's product and its activation
    Apply      h = g(a)
    Dropout    of the h so far, in training

A Scale, and a batch's normalisation elsewhere, is folded into the Linear before it, or else into
the one after it. Where there is none, and where nothing stands between two activations, a layer
with a diagonal W takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastnn.checks import as_real, name_of
from fastnn.model import Model
from fastnn.network.activations import ELU, Activation
from fastnn.network.norms import BatchNorm, LayerNorm, Norm

DIAGONAL_MAX = 4096  # widest layer with a diagonal W: such a W is square
LAST = ("softmax", "exp")  # activations of the output layer alone
FAR = 1e3  # a scale or shift before a layer that leaves float32 4 of its 7 digits


@dataclass(frozen=True, eq=False)
class Linear:
    """a = W h + b; where: its place at its origin, for errors."""

    W: np.ndarray  # (n_out, n_in)
    b: np.ndarray | None  # (n_out,)
    where: str


@dataclass(frozen=True, eq=False)
class Scale:
    """factor * h + shift, of numbers or arrays (n,)."""

    factor: Any
    shift: Any

    def after(self, first: Scale) -> Scale:
        return Scale(self.factor * first.factor, self.factor * first.shift + self.shift)

    @property
    def nothing(self) -> bool:
        return bool(np.all(self.factor == 1) and np.all(self.shift == 0))


@dataclass(frozen=True, eq=False)
class Normalize:
    """gamma (h - mean) / sqrt(variance + epsilon) + beta, of a layer its own mean and variance."""

    norm: Norm
    gamma: np.ndarray | None
    beta: np.ndarray | None
    mean: Any
    variance: Any
    where: str

    @property
    def scale(self) -> Scale:
        """Of a batch: what it does in prediction."""
        with np.errstate(all="ignore"):
            factor = 1 / np.sqrt(np.asarray(self.variance, np.float64) + self.norm.epsilon)
            factor = factor if self.gamma is None else factor * self.gamma
            return Scale(factor, -self.mean * factor + (0.0 if self.beta is None else self.beta))


@dataclass(frozen=True)
class Apply:
    """h = g(a)."""

    activation: str | Activation
    where: str


@dataclass(frozen=True)
class Dropout:
    """In training: dropout with this rate, or noise of this standard deviation."""

    rate: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        as_real("dropout", self.rate, below=1.0)

    def then(self, second: Dropout) -> Dropout:
        rate = self.rate + second.rate - self.rate * second.rate
        return Dropout(rate, math.hypot(self.noise, second.noise))


Step = Linear | Scale | Normalize | Apply | Dropout


def named(where: str, make: Callable[..., list[Step]], *args: Any) -> list[Step]:
    """What `make` gives; an error of a value that fastnn has not names the place."""
    try:
        return make(*args)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(where) else f"{where}: {text}") from None


def hard_sigmoid(alpha: float, beta: float, where: str) -> list[Step]:
    """max(0, min(1, alpha a + beta))."""
    return clipped(0.0, 1.0, where, alpha, beta)


def clipped(
    low: float, high: float, where: str, factor: float = 1.0, shift: float = 0.0
) -> list[Step]:
    """max(low, min(high, factor a + shift)): hard_tanh between two Scales; of one limit, relu."""
    if not low < high:
        raise ValueError(
            f"{where}: must clip between a low and a high number, got {low:g}, {high:g}"
        )
    if np.isinf(low) and np.isinf(high):
        return [Scale(factor, shift)]
    if np.isinf(high):
        return [Scale(factor, shift - low), Apply("relu", where), Scale(1.0, low)]
    if np.isinf(low):
        return [Scale(-factor, high - shift), Apply("relu", where), Scale(-1.0, high)]
    middle, half = (low + high) / 2, (high - low) / 2
    return [
        Scale(factor / half, (shift - middle) / half),
        Apply("hard_tanh", where),
        Scale(half, middle),
    ]


def selu(alpha: float, gamma: float, where: str) -> list[Step]:
    """gamma a where a > 0, gamma alpha (e^a - 1) elsewhere."""
    if abs(alpha - 1.6732632423543772) < 1e-6 and abs(gamma - 1.0507009873554805) < 1e-6:
        return [Apply("selu", where)]
    return [Apply(ELU(alpha), where), Scale(gamma, 0.0)]


def stretched(activation: str | Activation, factor: float, where: str) -> list[Step]:
    """g(factor a) / factor: PyTorch's beta of softplus, alpha of CELU (as 1 / factor) and swish."""
    if factor == 0:
        raise ValueError(f"{where}: its factor must not be 0")
    return [Scale(factor, 0.0), Apply(activation, where), Scale(1 / factor, 0.0)]


@dataclass
class Layer:
    W: np.ndarray
    b: np.ndarray | None
    where: str
    norm: Normalize | None = None
    activation: str | Activation | None = None  # None: not yet known
    dropout: Dropout = Dropout()  # of its h


@dataclass
class _Folding:
    width: int | None
    layers: list[Layer] = field(default_factory=list)
    scale: Scale = Scale(1.0, 0.0)  # of the last h, not yet in a layer
    before: Dropout = Dropout()  # of the inputs
    far: bool = False  # whether a layer has taken a scale that float32 would lose digits by

    @property
    def open(self) -> Layer | None:
        """The last layer, if its activation is still to come."""
        return self.layers[-1] if self.layers and self.layers[-1].activation is None else None

    def take(self, step: Step) -> None:
        if isinstance(step, Linear):
            _check_finite(step.where, W=step.W, b=step.b)
            self.linear(step)
        elif isinstance(step, Scale):
            self.scaled(step)
        elif isinstance(step, Normalize):
            parts = {name: getattr(step, name) for name in ("gamma", "beta", "mean", "variance")}
            _check_finite(step.where, **parts)
            if step.variance is not None and np.min(step.variance) < 0:
                raise ValueError(f"{step.where}: variance must be at least 0")
            for name, value in parts.items():
                if np.ndim(value) and self.width not in (None, np.size(value)):
                    raise ValueError(
                        f"{step.where}: {name} must have {self.width} entries, as the layer before "
                        f"it gives, got {np.size(value)}"
                    )
            self.normalized(step)
        elif isinstance(step, Apply):
            self.applied(step)
        elif self.layers:
            self.layers[-1].dropout = self.layers[-1].dropout.then(step)
        else:
            self.before = self.before.then(step)

    def linear(self, step: Linear) -> None:
        n_out, n_in = step.W.shape
        if self.width not in (None, n_in):
            raise ValueError(f"{step.where}: must take {self.width} inputs, its W has {n_in}")
        if n_out < 1 or n_in < 1:
            raise ValueError(f"{step.where}: W must not be empty, got shape {step.W.shape}")
        if self.open:
            self.open.activation = "identity"
        W, b = step.W, step.b
        if not self.scale.nothing:
            factor, shift = (_spread(v, n_in, step.where) for v in self.scale_parts())
            self.far |= bool(max(abs(factor).max(), abs(shift).max()) > FAR)
            b = _sum(b, W.astype(np.float64) @ shift if shift.any() else None)
            W = W * factor
        self.scale, self.width = Scale(1.0, 0.0), n_out
        self.layers.append(Layer(W, b, step.where))

    def scaled(self, step: Scale) -> None:
        layer = self.open
        if step.nothing:
            return
        if layer is None:
            self.scale = step.after(self.scale)
            return
        if layer.norm is not None:
            norm = layer.norm
            gamma = step.factor if norm.gamma is None else norm.gamma * step.factor
            beta = 0.0 if norm.beta is None else norm.beta * step.factor
            n = len(layer.W)
            gamma, beta = (_spread(v, n, layer.where) for v in (gamma, beta + step.shift))
            layer.norm = replace(norm, gamma=gamma, beta=beta)
            return
        factor, shift = (_spread(v, len(layer.W), layer.where) for v in (step.factor, step.shift))
        layer.W = layer.W * factor[:, None]
        b = None if layer.b is None else layer.b * factor
        layer.b = _sum(b, shift if shift.any() else None)

    def normalized(self, step: Normalize) -> None:
        layer = self.open
        here = layer is not None and layer.norm is None
        if isinstance(step.norm, LayerNorm):
            if layer is None or not here or not (layer.b is None or np.ptp(layer.b) == 0):
                raise ValueError(
                    f"{step.where}: must follow a linear layer without a bias, which fastnn adds "
                    "after it"
                )
            layer.b, layer.norm = None, step  # the same b everywhere leaves with the mean
        elif layer is not None and here:
            layer.norm = step
        else:
            self.scaled(step.scale)

    def applied(self, step: Apply) -> None:
        if step.activation == "identity":
            return
        if self.open is None:
            self.diagonal(step.where)
        assert self.open is not None
        self.open.where = step.where
        self.open.activation = step.activation

    def diagonal(self, where: str) -> None:
        """A layer whose W is diagonal: what has been scaled, or just the h before it."""
        n = self.width or max(map(np.size, self.scale_parts()))
        if self.width is None and n == 1:
            raise ValueError(
                f"{where}: the number of inputs must be known, or a linear layer first"
            )
        if n > DIAGONAL_MAX:
            raise ValueError(
                f"{where}: must follow a linear layer; to put one between, n must be at most "
                f"{DIAGONAL_MAX}, got {n}"
            )
        factor, shift = (_spread(v, n, where) for v in self.scale_parts())
        self.far |= bool(max(abs(factor).max(), abs(shift).max()) > FAR)
        self.layers.append(Layer(np.diag(factor), shift if shift.any() else None, where))
        self.scale, self.width = Scale(1.0, 0.0), n

    def scale_parts(self) -> tuple[Any, Any]:
        return self.scale.factor, self.scale.shift


def _normalized(model: Model, k: int, layer: Layer) -> None:
    """Set the parameters of a normalised layer."""
    norm = layer.norm
    assert norm is not None
    if norm.gamma is not None:
        model.gamma[k] = norm.gamma
    if norm.beta is not None:
        model.b[k] = norm.beta
    if isinstance(norm.norm, BatchNorm):  # of W h, where theirs is of W h + b
        mean, variance = model.running_mean[k], model.running_variance[k]
        assert mean is not None and variance is not None
        mean[:] = norm.mean - (0.0 if layer.b is None else layer.b)
        variance[:] = norm.variance


def _check_finite(where: str, **parts: Any) -> None:
    for name, values in parts.items():
        if values is not None and not np.isfinite(values).all():
            raise ValueError(f"{where}: {name} must be finite numbers")


def _spread(value: Any, n: int, where: str) -> np.ndarray:
    """A number or (n,) as (n,) float64."""
    value = np.asarray(value, np.float64)
    if value.ndim and value.shape != (n,):
        raise ValueError(f"{where}: must have {n} entries to scale, got shape {value.shape}")
    return np.broadcast_to(value, (n,))


def _sum(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    return b if a is None else a if b is None else a + b


def as_model(
    steps: Sequence[Step],
    width: int | None = None,
    *,
    output: Any = None,
    loss: Any = None,
    dtype: Any = None,
    metadata: dict[str, Any] | None = None,
) -> Model:
    """The network as a Model.

    width: n_in, where known before the first Linear. output: stands for the activation that the
    origin leaves to its loss. dtype: by default float64 where a Linear is, and where a mean is far
    from 0 in its deviations (FAR); float32 otherwise.
    """
    folding = _Folding(width)
    for step in steps:
        folding.take(step)
    if not folding.layers or not folding.scale.nothing:
        folding.diagonal("the end of the network")
    layers = folding.layers
    if (norm := layers[-1].norm) is not None:
        layers[-1].norm = None
        if isinstance(norm.norm, LayerNorm):
            raise ValueError(f"{norm.where}: must be in a hidden layer, not at the output")
        end, layers[-1].activation = layers[-1].activation, None
        folding.scaled(norm.scale)
        layers[-1].activation = end
    if layers[-1].activation is None:
        layers[-1].activation = "identity" if output is None else output
    elif output is not None and output != layers[-1].activation:
        raise ValueError(
            f"output must be left out, the network ends in {name_of(layers[-1].activation)}; "
            f"got {output!r}"
        )
    for layer in layers[:-1]:
        if name_of(layer.activation) in LAST:
            raise ValueError(
                f"{layer.where}: {layer.activation} must be the network's output, in fastnn no "
                "hidden layer has it"
            )
    if dtype is None:
        wide = any(s.W.dtype == np.float64 for s in steps if isinstance(s, Linear))
        dtype = "float64" if wide or folding.far else "float32"
    activations: list[Any] = [layer.activation for layer in layers]
    norms: list[Any] = [layer.norm and layer.norm.norm for layer in layers[:-1]]
    drops = [folding.before, *(layer.dropout for layer in layers[:-1])]
    model = Model(
        [layers[0].W.shape[1], *(len(layer.W) for layer in layers)],
        activations[:-1],
        activations[-1],
        loss,
        [(layer.norm.beta if layer.norm else layer.b) is not None for layer in layers],
        dtype,
        seed=0,
        init=[layer.W if layer.b is None or layer.norm else (layer.W, layer.b) for layer in layers],
        dropout=[one.rate for one in drops],
        noise=[one.noise for one in drops],
        norm=norms,
    )
    for k, layer in enumerate(layers):
        if layer.norm is not None:
            _normalized(model, k, layer)
    if not np.isfinite(model.theta).all():
        raise ValueError("the network must be of finite numbers, folded they are not")
    model.metadata = metadata or {}
    return model


@dataclass(frozen=True)
class Plain:
    """A layer of a Model as it predicts: a batch's normalisation folded, a layer's kept."""

    W: np.ndarray
    b: np.ndarray | None
    activation: str | Activation
    gamma: np.ndarray | None  # of a layer's normalisation
    epsilon: float
    alpha: np.ndarray | None  # of a parametric activation


def plain(model: Model) -> list[Plain]:
    layers = []
    for k, layer in enumerate(model._network.layers):
        W, b, gamma, epsilon = model.W[k], model.b[k], None, 0.0
        if isinstance(layer.norm, BatchNorm):
            statistics = model.running_mean[k], model.running_variance[k]
            scale = Normalize(layer.norm, model.gamma[k], b, *statistics, "").scale
            W, b = (W * scale.factor[:, None]).astype(W.dtype), scale.shift.astype(W.dtype)
        elif layer.norm is not None:
            gamma, epsilon = model.gamma[k], layer.norm.epsilon
        layers.append(Plain(W, b, layer.activation, gamma, epsilon, model.alpha[k]))
    return layers
