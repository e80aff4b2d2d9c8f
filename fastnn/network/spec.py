"""What a network is: sizes, activations, output, loss; and where each parameter lies in theta.

theta = the embeddings' parameters, s (n_features,) where features are scaled, W1 row-major
(n_1, n_features), b1 (n_1,) where the layer has a bias, gamma1 (n_1,) where it is normalised,
alpha1 (n_1,) where its activation is parametric, W2, b2, ...
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from fastnn.checks import as_bool, as_int, as_real, name_of
from fastnn.kernels._cpu import OUTPUTS
from fastnn.network.activations import (
    Activation,
    as_activation,
    described,
    falls,
    is_parametric,
)
from fastnn.network.embeddings import (
    Embedding,
    PiecewiseLinear,
    as_embeddings,
    in_order,
    plain_runs,
)
from fastnn.network.embeddings import described as embedding_to_json
from fastnn.network.losses import Loss, as_loss, quantiles_of, to_json
from fastnn.network.norms import Norm, as_norm
from fastnn.network.norms import described as norm_to_json
from fastnn.values import Value

DTYPES = ("float32", "float64")
COMPUTE_DTYPES = (*DTYPES, "bfloat16")
UNITS = 1, 0, -1, 0  # directions of a hidden layer's units, over and over
DEFAULT_LOSS = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy", "exp": "poisson"}
# The outputs that a loss goes with. Of a sigmoid's two classes a quantile would say nothing.
LOSS_OUTPUTS = {
    "cross_entropy": ("softmax",),
    "binary_cross_entropy": ("sigmoid",),
    "focal": ("softmax", "sigmoid"),
    "hinge": ("identity",),
    "poisson": ("exp",),
    "squared_error": tuple(OUTPUTS),
    "absolute_error": tuple(name for name in OUTPUTS if name != "softmax"),
    "huber": tuple(name for name in OUTPUTS if name != "softmax"),
    "quantile": tuple(name for name in OUTPUTS if name not in ("softmax", "sigmoid")),
}


# Of one column's parameters: where each lies in theta, and its shape.
Part = dict[str, tuple[slice, tuple[int, ...]]]


class LayerSpec(Value):
    """Layer k = 1..K: h = g(h_prev W^T + b), or with a norm, g(gamma xhat + b)."""

    k: int
    n_in: int
    n_out: int
    activation: str | Activation
    bias: bool
    start: int  # of W in theta; b follows W, gamma b, alpha gamma
    norm: Norm | None = None

    @property
    def W(self) -> slice:
        return slice(self.start, self.start + self.n_in * self.n_out)

    @property
    def b(self) -> slice:
        return slice(self.W.stop, self.W.stop + self.n_out * self.bias)

    @property
    def gamma(self) -> slice:
        return slice(self.b.stop, self.b.stop + self.n_out * (self.norm is not None))

    @property
    def alpha(self) -> slice:
        return slice(self.gamma.stop, self.gamma.stop + self.n_out * is_parametric(self.activation))

    @property
    def stop(self) -> int:
        stop: int = self.alpha.stop
        return stop


class NetworkSpec(Value):
    """A checked network; made by `as_network`."""

    sizes: tuple[int, ...]
    activations: tuple[str | Activation, ...]  # one per hidden layer
    output: str | Activation
    loss: str | Loss
    bias: tuple[bool, ...]  # one per layer
    dtype: str
    dropout: tuple[float, ...]  # of the inputs and of each hidden layer
    noise: tuple[float, ...]
    norm: tuple[Norm | None, ...]  # of each hidden layer
    input_scale: float  # integers among the features are multiplied by it
    embeddings: tuple[Embedding, ...] = ()
    feature_scale: bool = False
    monotone: tuple[int, ...] = ()  # a sign for each column of X, 0 where free; (): all are
    bfloat16: bool = False  # operands of the layers' products are rounded to it

    @property
    def compute_dtype(self) -> str:
        return "bfloat16" if self.bfloat16 else self.dtype

    @property
    def n_in(self) -> int:
        return self.sizes[0]

    @property
    def n_out(self) -> int:
        return self.sizes[-1]

    @cached_property
    def n_targets(self) -> int:
        """Columns of y: with several quantiles, fewer than outputs."""
        return self.n_out // max(len(quantiles_of(self.loss)), 1)

    @property
    def one_of_many(self) -> bool:
        """Whether outputs are classes that exclude each other: y may be labels (n,)."""
        return self.output == "softmax" or self.loss == "hinge"

    @property
    def decides(self) -> bool:
        """Whether the outputs decide for classes."""
        return self.one_of_many or self.output == "sigmoid"

    @cached_property
    def n_features(self) -> int:
        """Inputs of layer 1."""
        return sum(width for _, _, _, width, *_ in in_order(self.embeddings, self.n_in))

    @property
    def plain_columns(self) -> list[int]:
        """Columns of X in no embedding: the first features."""
        return [column for run in plain_runs(self.embeddings, self.n_in) for column in run]

    @property
    def has_inputs(self) -> bool:
        """Whether an input layer lies between rows and layer 1."""
        return bool(self.embeddings) or self.feature_scale

    @cached_property
    def phi(self) -> tuple[tuple[Part, ...], ...]:
        """Where the parameters of each embedding's columns lie in theta: [embedding][column]."""
        parts: list[list[Part]] = [[] for _ in self.embeddings]
        numbers, start = {id(one): i for i, one in enumerate(self.embeddings)}, 0
        for one, *_, shapes in in_order(self.embeddings, self.n_in):
            if one is None:
                continue
            part: Part = {}
            for name, shape in shapes:
                stop = start + math.prod(shape)
                part[name], start = (slice(start, stop), shape), stop
            parts[numbers[id(one)]].append(part)
        return tuple(map(tuple, parts))

    @property
    def embedding_spans(self) -> tuple[slice, ...]:
        """Where the parameters of each embedding lie in theta, all together."""
        spans, start = [], 0
        for parts in self.phi:
            stop = max((of.stop for part in parts for of, _ in part.values()), default=start)
            spans.append(slice(start, stop))
            start = stop
        return tuple(spans)

    @cached_property
    def s(self) -> slice:
        """Where the features' scales lie in theta."""
        start = self.embedding_spans[-1].stop if self.embeddings else 0
        return slice(start, start + self.n_features * self.feature_scale)

    @cached_property
    def layers(self) -> tuple[LayerSpec, ...]:
        layers, start = [], self.s.stop
        names, norms = (*self.activations, self.output), (*self.norm, None)
        widths = (self.n_features, *self.sizes[1:])
        shapes = zip(widths, widths[1:], names, self.bias, norms, strict=False)
        for k, (n_in, n_out, name, bias, norm) in enumerate(shapes, 1):
            layers.append(LayerSpec(k, n_in, n_out, name, bias, start, norm))
            start = layers[-1].stop
        return tuple(layers)

    @cached_property
    def directions(self) -> tuple[np.ndarray, ...] | None:
        """Of the features and of each layer's units whether h rises (1) or falls (-1) with what
        outputs rise with, or hears nothing of it (0); None where all is free.

        W_ij from an input j that has one is 0, or has the sign of direction_i direction_j. Half of
        the hidden units hear nothing of constrained columns, so that others act as freely as they
        may, and of the rest as many rise as fall.
        """
        if not self.monotone:
            return None
        features: list[int] = []
        for one, _, column, width, *_ in in_order(self.embeddings, self.n_in):
            signs = self.monotone[column : column + width] if one is None else ()
            features += signs or width * [self.monotone[column]]
        pattern = UNITS if 0 in features else UNITS[::2]
        outputs = [-1, 1] if self.one_of_many else [1] * self.n_out
        hidden = [np.resize(pattern, n) for n in self.sizes[1:-1]]
        return tuple(np.array(one, self.dtype) for one in (features, *hidden, outputs))

    @cached_property
    def batch_normalised(self) -> bool:
        return any(norm is not None and norm.name == "batch" for norm in self.norm)

    @cached_property
    def n_parameters(self) -> int:
        return self.layers[-1].stop

    @property
    def architecture(self) -> dict[str, Any]:
        """What JSON can hold of it."""
        inputs: dict[str, Any] = {"compute_dtype": "bfloat16"} if self.bfloat16 else {}
        if self.embeddings:
            inputs["embeddings"] = [embedding_to_json(one) for one in self.embeddings]
        if self.feature_scale:
            inputs["feature_scale"] = True
        if self.monotone:
            inputs["monotone"] = self.monotone
        return {
            "sizes": self.sizes,
            "activations": [described(one) for one in self.activations],
            "output": described(self.output),
            "loss": to_json(self.loss),
            "bias": self.bias,
            "dtype": self.dtype,
            "dropout": self.dropout,
            "noise": self.noise,
            "norm": [norm_to_json(one) for one in self.norm],
            "input_scale": self.input_scale,
            **inputs,
        }


def as_network(
    sizes: Any,
    activation: Any,
    output: Any,
    loss: Any,
    bias: Any,
    dtype: Any,
    dropout: Any = 0.0,
    noise: Any = 0.0,
    norm: Any = None,
    input_scale: Any = 1.0,
    embeddings: Any = None,
    feature_scale: Any = False,
    monotone: Any = None,
    compute_dtype: Any = None,
) -> NetworkSpec:
    """Check a user's description of a network and write out what it leaves open."""
    sizes = _sizes(sizes)
    K = len(sizes) - 1
    if isinstance(activation, (str, Activation)):
        activation = [as_activation("activation", activation)] * (K - 1)
    hidden = _per_layer("activation", activation, K - 1, "hidden layer")
    activations = tuple(as_activation("activation", one) for one in hidden)
    output = as_activation("output", output, OUTPUTS)
    f = name_of(output)
    if f == "softmax" and sizes[-1] == 1:
        raise ValueError(
            "softmax must have an output for each class, two at least, got 1 output: for two "
            'classes use output="sigmoid", for values output="identity"'
        )
    loss = as_loss(DEFAULT_LOSS.get(f, "squared_error") if loss is None else loss)
    if f not in LOSS_OUTPUTS[name_of(loss)]:
        allowed = [name for name, outputs in LOSS_OUTPUTS.items() if f in outputs]
        raise ValueError(f"loss of {f} outputs must be {' or '.join(allowed)}, got {loss!r}")
    if loss == "hinge" and sizes[-1] == 1:
        raise ValueError("hinge must have an output for each class, two at least, got 1 output")
    q = quantiles_of(loss)
    if q and sizes[-1] % len(q):
        raise ValueError(
            f"{len(q)} quantiles must have as many outputs for each target, got {sizes[-1]} outputs"
        )
    if isinstance(bias, (bool, np.bool_)):
        bias = [bias] * K
    biases = tuple(as_bool("bias", one) for one in _per_layer("bias", bias, K, "layer"))
    dropout = _inside("dropout", dropout, K, below=1.0)
    noise = _inside("noise", noise, K)
    if norm is None or isinstance(norm, (str, Norm)):
        norm = [as_norm(norm)] * (K - 1)
    norms = tuple(as_norm(one) for one in _per_layer("norm", norm, K - 1, "hidden layer"))
    dtype = _dtype(dtype)
    scale = as_real("input_scale", input_scale)
    least, most = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    if not least <= scale <= most:
        raise ValueError(
            f"input_scale must be a normal number of {dtype}, {least:.2g} to {most:.2g}, "
            f"got {scale:g}"
        )
    network = NetworkSpec(
        *(sizes, activations, output, loss, biases, dtype, dropout, noise, norms, scale),
        as_embeddings(embeddings, sizes[0], dtype, scale),
        as_bool("feature_scale", feature_scale),
        _as_signs(monotone, sizes[0]),
        is_bfloat16(compute_dtype, dtype),
    )
    if network.monotone:
        _check_monotone(network)
    return network


def _as_signs(monotone: Any, n_in: int) -> tuple[int, ...]:
    """A sign for each column of X; () where none has one."""
    if monotone is None:
        return ()
    if not isinstance(monotone, Mapping):
        if not isinstance(monotone, (list, tuple, np.ndarray)) or len(monotone) not in (0, n_in):
            raise TypeError(
                "monotone must be a dict of column: 1 or -1, or a list of one sign for each of the "
                f"{n_in} columns, got {monotone!r:.100}"
            )
        monotone = dict(enumerate(monotone))
    signs = [0] * n_in
    for column, sign in monotone.items():
        column = as_int("columns of monotone", column, 0)
        if column >= n_in:
            raise ValueError(f"monotone must be of columns 0 to {n_in - 1}, got {column}")
        signs[column] = as_sign(f"monotone of column {column}", sign)
    return tuple(signs) if any(signs) else ()


def as_sign(what: str, value: Any) -> int:
    """1, -1 or 0."""
    if isinstance(value, (bool, np.bool_)) or value not in (-1, 0, 1):
        raise ValueError(f"{what} must be 1 (rises), -1 (falls) or 0, got {value!r:.50}")
    return int(value)


def _check_monotone(network: NetworkSpec) -> None:
    """Refuse what no signs of weights make monotone."""
    for activation in (*network.activations, network.output):
        if activation != "softmax" and falls(activation):
            raise ValueError(
                "monotone must come with activations that never fall, such as selu or tanh, "
                f"got {activation}"
            )
    if network.one_of_many and network.n_out != 2:
        raise ValueError(
            f"monotone must come with two classes at most, got {network.n_out}: of the second the "
            "probability rises"
        )
    if any(network.norm):
        raise ValueError("monotone must come without normalisation")
    for one in network.embeddings:
        free = isinstance(one, PiecewiseLinear) and one.width is None
        column = next((column for column in one.of if network.monotone[column]), None)
        if column is not None and not free:
            raise ValueError(
                "columns of monotone must be in no embedding but a PiecewiseLinear without width, "
                f"got column {column} in {one!r:.100}"
            )


def is_open(sizes: Any) -> bool:
    """Whether sizes leave the inputs or the outputs open, for data to tell."""
    return isinstance(sizes, (list, tuple)) and len(sizes) > 1 and None in (sizes[0], sizes[-1])


def _inside(name: str, value: Any, K: int, **limits: float) -> tuple[float, ...]:
    """Of the inputs and of each hidden layer; one number is that of all hidden layers."""
    if not isinstance(value, (list, tuple, np.ndarray)):
        value = [0.0] + [as_real(name, value, **limits)] * (K - 1)
    values = _per_layer(name, value, K, "layer below the output (inputs, then hidden layers)")
    return tuple(as_real(f"each of {name}", one, **limits) for one in values)


def _sizes(sizes: Any) -> tuple[int, ...]:
    if isinstance(sizes, (str, bytes)) or not hasattr(sizes, "__iter__"):
        raise TypeError(f"sizes must be a list of integers [n_in, ..., n_out], got {sizes!r}")
    result = tuple(as_int("each of sizes", size, 1) for size in sizes)
    if len(result) < 2:
        raise ValueError(f"sizes must hold at least n_in and n_out, got {list(result)}")
    return result


def _per_layer(name: str, values: Any, n: int, layer: str) -> Sequence[Any]:
    if not isinstance(values, (list, tuple, np.ndarray)):
        raise TypeError(f"{name} must be one value or a list of one per {layer}, got {values!r}")
    if operator.length_hint(values) != n:
        raise ValueError(f"{name} must have one entry per {layer} ({n}), got {list(values)}")
    return values  # type: ignore[return-value]


def _dtype(dtype: Any) -> str:
    try:
        name: str = np.dtype(dtype).name if dtype is not None else ""
    except (TypeError, SyntaxError):  # NumPy parses texts such as ",float32"
        name = ""
    if name not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    return name


def is_bfloat16(compute_dtype: Any, dtype: str) -> bool:
    """Whether products are of bfloat16; None stands for dtype."""
    if compute_dtype is None or str(compute_dtype) == dtype:
        return False
    if str(compute_dtype) != "bfloat16":
        raise ValueError(
            f"compute_dtype must be {dtype}, as dtype, or bfloat16, got {compute_dtype!r}"
        )
    if dtype != "float32":
        raise ValueError(f"compute_dtype bfloat16 must come with dtype float32, got {dtype}")
    return True


def check_float(network: NetworkSpec, what: str) -> None:
    """Refuse bfloat16, which `what` does not know."""
    if network.bfloat16:
        raise ValueError(
            f"{what} computes in {network.dtype}, this network in bfloat16: set "
            f"model.compute_dtype = {network.dtype!r} first, which leaves the weights as they are"
        )
