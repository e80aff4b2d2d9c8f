"""What a network is: sizes, activations, output, loss; and where each parameter lies in theta.

theta = W1 row-major (n_1, n_0), b1 (n_1,) where the layer has a bias, W2, b2, ...
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fastnn._checks import as_bool, as_int, as_name, as_real
from fastnn.kernels._cpu import ACTIVATIONS, LOSSES, OUTPUTS

DTYPES = ("float32", "float64")
DEFAULT_LOSS = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}
# cross_entropy and binary_cross_entropy are losses of a distribution; each has one output.
ONLY_OUTPUT = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}


@dataclass(frozen=True)
class LayerSpec:
    """Layer k = 1..K: h = g(h_prev W^T + b)."""

    k: int
    n_in: int
    n_out: int
    activation: str
    bias: bool
    start: int  # of W in theta; b follows W

    @property
    def W(self) -> slice:
        return slice(self.start, self.start + self.n_in * self.n_out)

    @property
    def b(self) -> slice:
        return slice(self.W.stop, self.W.stop + self.n_out * self.bias)


@dataclass(frozen=True)
class NetworkSpec:
    """A checked network; made by `as_network`."""

    sizes: tuple[int, ...]
    activations: tuple[str, ...]  # one per hidden layer
    output: str
    loss: str
    bias: tuple[bool, ...]  # one per layer
    dtype: str
    input_scale: float = 1.0  # integers among the features are multiplied by it

    @property
    def n_in(self) -> int:
        return self.sizes[0]

    @property
    def n_out(self) -> int:
        return self.sizes[-1]

    @cached_property
    def layers(self) -> tuple[LayerSpec, ...]:
        layers, start = [], 0
        names = (*self.activations, self.output)
        shapes = zip(self.sizes, self.sizes[1:], names, self.bias, strict=False)
        for k, (n_in, n_out, name, bias) in enumerate(shapes, 1):
            layers.append(LayerSpec(k, n_in, n_out, name, bias, start))
            start = layers[-1].b.stop
        return tuple(layers)

    @property
    def n_parameters(self) -> int:
        return self.layers[-1].b.stop


def as_network(
    sizes: Any,
    activation: Any,
    output: Any,
    loss: Any,
    bias: Any,
    dtype: Any,
    input_scale: Any = 1.0,
) -> NetworkSpec:
    """Check a user's description of a network and write out what it leaves open."""
    sizes = _sizes(sizes)
    K = len(sizes) - 1
    names = [activation] * (K - 1) if isinstance(activation, str) else activation
    names = _per_layer("activation", names, K - 1, "hidden layer")
    if isinstance(activation, str):  # checked also where there is no hidden layer
        as_name("activation", activation, ACTIVATIONS)
    activations = tuple(as_name("activation", name, ACTIVATIONS) for name in names)
    output = as_name("output", output, OUTPUTS)
    loss = DEFAULT_LOSS.get(output, "squared_error") if loss is None else loss
    loss = as_name("loss", loss, LOSSES)
    if ONLY_OUTPUT.get(loss, output) != output:
        allowed = [name for name in LOSSES if ONLY_OUTPUT.get(name, output) == output]
        raise ValueError(f"loss of {output} outputs must be {' or '.join(allowed)}, got {loss!r}")
    if isinstance(bias, (bool, np.bool_)):
        bias = [bias] * K
    biases = tuple(as_bool("bias", one) for one in _per_layer("bias", bias, K, "layer"))
    scale = as_real("input_scale", input_scale)
    if scale == 0:
        raise ValueError("input_scale must be above 0, got 0.0")
    return NetworkSpec(sizes, activations, output, loss, biases, _dtype(dtype), scale)


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
        name = np.dtype(dtype).name if dtype is not None else None
    except TypeError:
        name = None
    if name not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    return name
