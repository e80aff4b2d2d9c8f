"""Prediction in 8 bits: `Model.quantize`, its predictor, and what it costs in accuracy."""

from __future__ import annotations

from os import PathLike
from typing import Any, NoReturn

import numpy as np

from fastnn.checks import as_name
from fastnn.explain.passes import forward_passes
from fastnn.kernels.predict import Frozen
from fastnn.network.activations import hidden_kernel, kernel
from fastnn.network.arrays import as_dense, as_features
from fastnn.network.losses import for_kernel
from fastnn.network.norms import kernel as norm_kernel
from fastnn.network.spec import NetworkSpec
from fastnn.predictor import Predictor
from fastnn.quantized.weights import (
    INPUTS_MAX,
    Codes,
    Folded,
    Int8Layer,
    codes_of,
    folded,
    plain_spec,
    weights_in_8_bits,
)
from fastnn.values import Value

ACTIVATIONS = ("calibrated", "dynamic")
BLOCK = 1024  # rows that calibration takes at a time


class Int8Predictor(Predictor):
    """f(x) = h^(K) with weights and activations of 8 bits; made by `Model.quantize`.

    It is called as a `Predictor` is, from any number of threads, and takes what that takes. Its
    products are sums of integers and so exact: the same bits on every instruction set, for any
    number of threads, and for a row alone or among others.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> model = fastnn.Model([8, 16, 2], seed=0)
    >>> predict, report = model.quantize(X)
    >>> predict
    Int8Predictor([8, 16, 2], output='softmax')
    >>> predict.save("small.safetensors")
    >>> bool((fastnn.load("small.safetensors")(X) == predict(X)).all())
    True
    """

    def __init__(
        self,
        network: NetworkSpec,
        layers: list[Int8Layer],
        n_threads: int | None = None,
        max_batch: int | None = None,
    ) -> None:
        """network: as of `plain_spec`; layers: kept, and not to be written into any more."""
        hidden = tuple(hidden_kernel(one) for one in network.activations)
        output, loss = kernel(network.output), for_kernel(network.loss, network.n_out)
        Frozen.__init__(
            self,
            *(network.sizes, hidden, output, loss, network.bias, network.dtype, None),
            *(tuple(norm_kernel(one) for one in network.norm), None, network.input_scale),
            max_batch=max_batch or 0,
            int8=layers,
        )
        self._network = network
        self._n_threads = n_threads
        self.max_batch = max_batch
        self._layers = layers

    @property
    def activations(self) -> str:
        """Where the scales of activations come from: "calibrated" or "dynamic"."""
        return ACTIVATIONS[self._layers[0].codes is None]

    def __repr__(self) -> str:
        dynamic = ", activations='dynamic'" if self.activations == "dynamic" else ""
        return f"Int8Predictor({self.sizes}, output={self.output!r}{dynamic})"

    def _pass(self, X: Any, out: np.ndarray) -> None:
        super()._pass(X if isinstance(X, np.ndarray) else as_dense(X, self._network), out)

    def save(self, path: str | PathLike[str]) -> None:
        """Write a safetensors file, which `fastnn.load` reads; what stood at `path` stays until it
        is whole."""
        from fastnn.quantized import file  # here: json makes an import slower

        file.save(path, self._network, self._layers)

    def like(self, n_threads: int | None, max_batch: int | None) -> Int8Predictor:
        """One of the same weights."""
        return Int8Predictor(self._network, self._layers, n_threads, max_batch)

    def parameters(self) -> NoReturn:
        raise TypeError("weights in 8 bits are no parameters of a model")

    def __reduce__(self) -> tuple[Any, ...]:
        own = self._network, self._layers, self._n_threads, self.max_batch
        return Int8Predictor, own


class Int8Report(Value):
    """What `Model.quantize` kept of a model's accuracy, on the rows that it was given.

    Attributes
    ----------
    rows : int
    agreement : float or None
        Share of rows, of several sigmoid outputs share of outputs, with the decision that float32
        takes; None of outputs that decide for nothing.
    largest, mean : float
        Of the differences of f(x) from float32's, without their signs.
    ranges : list of (float, float) or None
        Of each layer's inputs: from where to where they are told apart; None where each row has
        a range of its own.
    errors : list of float
        Of each layer's weights: the difference's norm, as a share of the weights' norm.
    weight_bytes, float_bytes : int
        Of all W, in 8 bits and in the model's dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> _, report = fastnn.Model([8, 16, 2], seed=0).quantize(X)
    >>> report.rows, report.weight_bytes, report.float_bytes
    (500, 160, 640)
    """

    rows: int
    agreement: float | None
    largest: float
    mean: float
    ranges: list[tuple[float, float] | None]
    errors: list[float]
    weight_bytes: int
    float_bytes: int

    def __str__(self) -> str:
        lines = [f"int8 beside float32, on {self.rows:,} rows:"]
        if self.agreement is not None:
            lines.append(f"the same decision      {self.agreement:.2%}")
        differs = f"{self.mean:.2g} on average, {self.largest:.2g} at most"
        lines.append(f"f(x) differs by        {differs}")
        lines.append(f"bytes of weights       {self.weight_bytes:,}, before {self.float_bytes:,}")
        lines.append("layer  inputs from .. to      weights are off by")
        for k, (span, error) in enumerate(zip(self.ranges, self.errors, strict=True), 1):
            inputs = "of each row" if span is None else f"{span[0]:.4g} .. {span[1]:.4g}"
            lines.append(f"{k:<6} {inputs:<22} {error:.2%}")
        return "\n".join(lines)


def quantized(
    predictor: Predictor, X: Any, activations: str, n_threads: int | None
) -> tuple[Int8Predictor, Int8Report]:
    """As of `Model.quantize`, of the model's float predictor."""
    as_name("activations", activations, ACTIVATIONS)
    spec = predictor._network
    if max(spec.sizes[:-1]) > INPUTS_MAX:
        raise ValueError(
            f"layers must have at most {INPUTS_MAX:,} inputs, got {max(spec.sizes[:-1]):,}"
        )
    X = as_features(X, spec)
    network = plain_spec(spec)
    with np.errstate(over="ignore"):  # said below
        layers = folded(spec, predictor._theta, predictor._statistics)
    if not all(np.isfinite(v).all() for layer in layers for v in layer if v is not None):
        raise ValueError("weights must be finite in float32")
    codes: list[Codes | None] = [None] * len(layers)
    if activations == "calibrated":
        codes = [codes_of(*span) for span in _spans(predictor, X)]
    made = [_in_8_bits(*pair) for pair in zip(layers, codes, strict=True)]
    result = Int8Predictor(network, made, n_threads)
    return result, _report(predictor, layers, result, X)


def _blocks(X: Any) -> Any:
    return (X[np.arange(i, min(i + BLOCK, len(X)))] for i in range(0, len(X), BLOCK))


def _spans(predictor: Predictor, X: Any) -> np.ndarray:
    """The least and the largest of each layer's inputs, (layers, 2)."""
    network = predictor._network
    spans = np.zeros((len(network.layers), 2))
    for block in _blocks(X):
        x = as_dense(block, network)
        passes = forward_passes(network, predictor._theta, predictor._statistics, x)
        for span, h in zip(spans, [x, *(of.h for of in passes)], strict=False):
            span[:] = min(span[0], h.min()), max(span[1], h.max())
    return spans


def _in_8_bits(layer: Folded, codes: Codes | None) -> Int8Layer:
    w, scale = weights_in_8_bits(layer.W)
    return Int8Layer(w, scale, layer.b, layer.gamma, layer.alpha, codes)


def _report(
    predictor: Predictor, layers: list[Folded], result: Int8Predictor, X: Any
) -> Int8Report:
    f = np.concatenate([predictor.rows(block) for block in _blocks(X)]).astype(np.float64)
    ours = np.concatenate([result.rows(block) for block in _blocks(X)])
    difference = np.abs(f - ours)
    spec, agreement = predictor._network, None
    if spec.one_of_many:
        agreement = float((f.argmax(1) == ours.argmax(1)).mean())
    elif spec.decides:
        agreement = float(((f > 0.5) == (ours > 0.5)).mean())
    errors: list[float] = []
    ranges: list[tuple[float, float] | None] = []
    for layer, own in zip(layers, result._layers, strict=True):
        size = float(np.linalg.norm(layer.W)) or 1.0
        errors.append(float(np.linalg.norm(layer.W - own.w * own.scale[:, None])) / size)
        if own.codes is None:
            ranges.append(None)
        else:
            scale, _, zero = own.codes
            ranges.append((-zero * scale, (255 - zero) * scale))
    n = sum(layer.W.size for layer in layers)
    return Int8Report(
        *(len(f), agreement, float(difference.max()), float(difference.mean()), ranges, errors),
        *(n, n * np.dtype(spec.dtype).itemsize),
    )
