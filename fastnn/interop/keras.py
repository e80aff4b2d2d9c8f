"""Networks of Keras: models whose layers follow one another, in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastnn.checks import name_of
from fastnn.errors import optional
from fastnn.interop import steps as chain
from fastnn.interop.steps import Apply, Dropout, Linear, Normalize, Scale, Step
from fastnn.model import Model
from fastnn.network.activations import (
    ELU,
    TABLE,
    Activation,
    LeakyReLU,
    is_parametric,
    parameter_of,
)
from fastnn.network.losses import Loss
from fastnn.network.norms import BatchNorm, LayerNorm
from fastnn.network.spec import LayerSpec


def from_keras(
    model: Any, *, output: str | Activation | None = None, loss: str | Loss | None = None
) -> Model:
    """The network of a Keras model whose layers follow one another, as it predicts.

    Parameters
    ----------
    model : keras.Sequential or keras.Model
        Of Dense, activations, BatchNormalization and LayerNormalization, Normalization and
        Rescaling (folded into their neighbours), Dropout and GaussianNoise (kept for training),
        Flatten. Built; weights are copied.
    output, loss : optional
        As of `from_torch`: "softmax" where the model was compiled with from_logits=True.

    Returns
    -------
    Model

    Raises
    ------
    TypeError
        `model` is no Keras model.
    ValueError
        A layer that a sequential network of fastnn has not, or a class or function that is not
        Keras's own; the error names it.

    Examples
    --------
    >>> import keras
    >>> import fastnn
    >>> layers = [keras.Input((4,)), keras.layers.Dense(8, "gelu"), keras.layers.Dense(3)]
    >>> fastnn.interop.from_keras(keras.Sequential(layers)).sizes
    [4, 8, 3]
    """
    if not hasattr(model, "layers") or not hasattr(model, "get_config"):
        raise TypeError(f"model must be a Keras model, got {type(model).__name__}")
    steps = list(_steps(model))
    return chain.as_model(steps, output=output, loss=loss)


def _steps(model: Any) -> Iterator[Step]:
    if not _of_keras(type(model)):
        raise ValueError(
            f"model {model.name!r} ({type(model).__name__}) must be Keras's own Sequential or "
            "functional Model, a class derived from it may compute anything"
        )
    if not model.built:
        raise ValueError(f"model {model.name!r} must be built: give it an Input, or call it once")
    if type(model).__name__ != "Sequential":
        _check_sequential(model)
    for layer in model.layers:
        kind = type(layer).__name__
        where = f"layer {layer.name!r} ({kind})"
        if kind in ("Sequential", "Functional"):
            yield from _steps(layer)
        elif kind not in LAYERS or not _of_keras(type(layer)):
            raise ValueError(f"{where}: fastnn has no such layer; it knows {', '.join(LAYERS)}")
        else:
            yield from chain.named(where, LAYERS[kind], layer, layer.get_config(), where)


def _of_keras(thing: Any) -> bool:
    """Whether a class or function is Keras's own, not one that bears the same name."""
    return thing.__module__.partition(".")[0] in ("keras", "tf_keras", "tensorflow")


def _check_sequential(model: Any) -> None:
    """Each layer of a functional model must take what the one before it gives."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"model {model.name!r} must have one input and one output, got {len(model.inputs)} and "
            f"{len(model.outputs)}"
        )
    for before, layer in zip(model.layers, model.layers[1:], strict=False):
        gives, takes = _tensor(before, "output"), _tensor(layer, "input")
        if len(layer._inbound_nodes) != 1 or takes is not gives:
            raise ValueError(
                f"layer {layer.name!r} must follow {before.name!r}, and nothing else: a network "
                "with branches is not sequential"
            )
    if model.outputs[0] is not _tensor(model.layers[-1], "output"):
        raise ValueError(f"model {model.name!r} must end in its last layer")


def _tensor(layer: Any, end: str) -> Any:
    """What a layer takes or gives where it stands; a model among the layers has others of its own.
    Of several they are all in one list, which is no layer's."""
    tensors = getattr(layer._inbound_nodes[0], f"{end}_tensors")
    alone = isinstance(tensors, (list, tuple)) and len(tensors) == 1
    return tensors[0] if alone else tensors


def _activation(function: Any, where: str) -> list[Step]:
    name = getattr(function, "__name__", type(function).__name__)
    own = getattr(function, "__module__", None) == __name__  # of `to_keras`
    if name in FUNCTIONS and (own or _of_keras(function)):
        return FUNCTIONS[name](where)
    raise ValueError(f"{where}: fastnn has no activation {name!r}; it knows {', '.join(FUNCTIONS)}")


def _named(activation: str | Activation) -> Callable[[str], list[Step]]:
    return lambda where: [Apply(activation, where)]


FUNCTIONS: dict[str, Callable[[str], list[Step]]] = {
    known.keras: _named(name) for name, known in TABLE.items() if known.keras
} | {
    "leaky_relu": _named(LeakyReLU(0.2)),
    "gelu_tanh": _named("gelu_tanh"),  # of `to_keras`
    "log_softmax": _named("softmax"),
    "relu6": lambda where: chain.clipped(0.0, 6.0, where),
    "hard_sigmoid": lambda where: chain.hard_sigmoid(1 / 6, 0.5, where),
    "celu": _named("elu"),
}


def _check_rows(layer: Any, where: str) -> None:
    if len(layer.input.shape) != 2:
        raise ValueError(f"{where}: must take rows, after Flatten; got shape {layer.input.shape}")


def _applied(layer: Any, config: dict[str, Any], where: str) -> list[Step]:
    steps = _activation(layer.activation, where)
    if any(isinstance(step, Apply) and step.activation == "softmax" for step in steps):
        _check_rows(layer, where)
    return steps


def _dense(layer: Any, config: dict[str, Any], where: str) -> list[Step]:
    _check_rows(layer, where)
    weights = [np.asarray(w) for w in layer.get_weights()]
    if getattr(layer, "lora_enabled", False) or len(weights) != 1 + bool(config["use_bias"]):
        raise ValueError(f"{where}: must have kernel and bias alone")
    linear = Linear(weights[0].T, weights[1] if config["use_bias"] else None, where)
    return [linear, *_activation(layer.activation, where)]


def _batch_norm(layer: Any, config: dict[str, Any], where: str) -> list[Step]:
    parts = [np.asarray(w) for w in layer.get_weights()]
    gamma = parts.pop(0) if config["scale"] else None
    beta = parts.pop(0) if config["center"] else None
    mean, variance = parts
    norm = BatchNorm(round(1 - config["momentum"], 12), config["epsilon"])
    return [Normalize(norm, gamma, beta, mean, variance, where)]


def _layer_norm(layer: Any, config: dict[str, Any], where: str) -> list[Step]:
    if config["axis"] not in (-1, 1, [-1], [1]):
        raise ValueError(f"{where}: must be over axis -1, got {config['axis']}")
    if config.get("rms_scaling"):
        raise ValueError(f"{where}: must subtract the mean, got rms_scaling=True")
    parts = [np.asarray(w) for w in layer.get_weights()]
    gamma = parts.pop(0) if config["scale"] else None
    beta = parts.pop(0) if config["center"] else None
    return [Normalize(LayerNorm(config["epsilon"]), gamma, beta, None, None, where)]


def _normalization(layer: Any, config: dict[str, Any], where: str) -> list[Step]:
    if config.get("invert"):
        raise ValueError(f"{where}: must not be inverted")
    mean, variance = (np.asarray(v, np.float64) for v in (layer.mean, layer.variance))
    factor = 1 / np.maximum(np.sqrt(variance), 1e-7)  # keras.config.epsilon()
    return [_each(factor, -mean * factor)]


def _rescaling(layer: Any, config: dict[str, Any], where: str) -> list[Step]:
    return [_each(np.asarray(config["scale"]), np.asarray(config["offset"]))]


def _each(*parts: np.ndarray) -> Scale:
    """Of each input, or one number for all."""
    return Scale(*(part.reshape(-1) if part.size > 1 else part.reshape(()) for part in parts))


def _relu(layer: Any, config: dict[str, Any], where: str) -> list[Step]:
    top, slope, threshold = (config[n] for n in ("max_value", "negative_slope", "threshold"))
    if threshold or (top is not None and slope):
        raise ValueError(f"{where}: must have no threshold, and max_value or negative_slope alone")
    if top is not None:
        return chain.clipped(0.0, float(top), where)
    return [Apply(LeakyReLU(float(slope)) if slope else "relu", where)]


def _softmax(layer: Any, config: dict[str, Any], where: str) -> list[Step]:
    if config.get("axis", -1) not in (-1, 1):
        raise ValueError(f"{where}: must be over axis -1, got {config['axis']}")
    _check_rows(layer, where)
    return [Apply("softmax", where)]


LAYERS: dict[str, Callable[[Any, dict[str, Any], str], list[Step]]] = {
    "InputLayer": lambda layer, config, where: [],
    "Dense": _dense,
    "Activation": _applied,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Normalization": _normalization,
    "Rescaling": _rescaling,
    "Dropout": lambda layer, config, where: [Dropout(rate=config["rate"])],
    "GaussianNoise": lambda layer, config, where: [Dropout(noise=config["stddev"])],
    "Flatten": lambda layer, config, where: [],
    "ReLU": _relu,
    "LeakyReLU": lambda layer, config, where: [
        Apply(LeakyReLU(float(config["negative_slope"])), where)
    ],
    "ELU": lambda layer, config, where: [Apply(ELU(float(config["alpha"])), where)],
    "Softmax": _softmax,
}


def to_keras(model: Model, *, logits: bool = False) -> Any:
    """A ``keras.Sequential`` that computes what the model does.

    Parameters
    ----------
    model : fastnn.Model
    logits : bool, default False
        Leave out the activation of the output, for losses with from_logits=True.

    Returns
    -------
    keras.Sequential
        Not compiled; of the model's dtype, weights copied; dropout and noise as layers. float64 is
        computed by TensorFlow; on JAX its weights become float32 without JAX_ENABLE_X64=1.

    Raises
    ------
    MissingExtraError
        Keras is not installed.
    ValueError
        The model has parametric activations, or columns that it encodes.

    Examples
    --------
    >>> import keras
    >>> import fastnn
    >>> fastnn.interop.to_keras(fastnn.Model([4, 8, 3], seed=0)).output_shape
    (None, 3)
    """
    keras = optional("keras", "to_keras")
    model._must_take_arrays("to_keras")
    model._must_begin_with_layer_1("to_keras")
    layers, dtype = keras.layers, model.dtype
    parts = [keras.Input((model.sizes[0],), dtype=dtype)]

    def drop(k: int) -> None:
        if model.noise[k]:
            parts.append(layers.GaussianNoise(model.noise[k], dtype=dtype))
        if model.dropout[k]:
            parts.append(layers.Dropout(model.dropout[k], dtype=dtype))

    weights: list[list[Any]] = []
    drop(0)
    for layer in model._network.layers:
        last = layer.k == len(model.W)
        if is_parametric(layer.activation):
            raise ValueError(
                f"model must have no parametric activation for to_keras, got {layer.activation}"
            )
        name = "identity" if last and logits else name_of(layer.activation)
        W, b = model.W[layer.k - 1].T, model.b[layer.k - 1]
        bias = [b] if layer.bias else []
        if layer.norm is None:
            parts.append(layers.Dense(layer.n_out, use_bias=layer.bias, dtype=dtype))
            weights.append([W, *bias])
        else:
            parts.append(layers.Dense(layer.n_out, use_bias=False, dtype=dtype))
            parts.append(_norm(layers, layer, dtype))
            running = model.running_mean[layer.k - 1], model.running_variance[layer.k - 1]
            statistics = [v for v in running if v is not None]
            weights += [[W], [model.gamma[layer.k - 1], *bias, *statistics]]
        if name in ("leaky_relu", "elu"):
            kind = {"leaky_relu": layers.LeakyReLU, "elu": layers.ELU}[name]
            parts.append(kind(parameter_of(layer.activation), dtype=dtype))
        elif name == "gelu_tanh":
            parts.append(layers.Activation(_gelu_tanh(keras), dtype=dtype))
        elif name != "identity":
            parts.append(layers.Activation(TABLE[name].keras, dtype=dtype))
        if not last:
            drop(layer.k)
    made = keras.Sequential(parts)
    kinds = (layers.Dense, layers.BatchNormalization, layers.LayerNormalization)
    for part, values in zip((p for p in made.layers if isinstance(p, kinds)), weights, strict=True):
        part.set_weights(values)
    return made


def _norm(layers: Any, layer: LayerSpec, dtype: str) -> Any:
    norm = layer.norm
    assert norm is not None
    settings = {"epsilon": norm.epsilon, "center": layer.bias, "dtype": dtype}
    if isinstance(norm, BatchNorm):
        return layers.BatchNormalization(momentum=1 - norm.momentum, **settings)
    return layers.LayerNormalization(**settings)


def _gelu_tanh(keras: Any) -> Callable[[Any], Any]:
    """gelu's approximation, under a name that keras.saving knows while fastnn is imported."""

    def gelu_tanh(x: Any) -> Any:
        return keras.activations.gelu(x, approximate=True)

    kept: Callable[[Any], Any] = keras.saving.register_keras_serializable("fastnn", "gelu_tanh")(
        gelu_tanh
    )
    return kept
