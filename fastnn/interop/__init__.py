"""Networks of PyTorch, Keras, JAX and scikit-learn, in and out; and files of their weights.

A network comes in as its steps, which chain.py folds into a Model. Each function imports only
the library it is about. docs/from_pytorch.md and docs/from_keras.md say what maps to what.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.checks import name_of
from fastnn.errors import MissingExtraError, ModelFileError
from fastnn.files import safetensors
from fastnn.interop import steps as chain
from fastnn.interop.steps import Apply, Dropout, Linear, Normalize, Scale, Step
from fastnn.kernels._cpu import PARAMETERS
from fastnn.network.activations import ELU, Activation, LeakyReLU
from fastnn.network.losses import Loss
from fastnn.network.norms import BatchNorm, LayerNorm
from fastnn.network.spec import LayerSpec

if TYPE_CHECKING:
    from fastnn import Model

__all__ = [
    "from_jax",
    "from_keras",
    "from_sklearn",
    "from_state_dict",
    "from_torch",
    "to_keras",
    "to_sklearn",
    "to_torch",
]

Output = str | Activation | None


# --- PyTorch


def from_torch(module: Any, *, output: Output = None, loss: str | Loss | None = None) -> Model:
    """The network of a ``torch.nn.Sequential``, as it predicts in ``eval()``.

    Parameters
    ----------
    module : torch.nn.Sequential
        Of Linear, activations, Softmax or LogSoftmax at the end, BatchNorm1d and LayerNorm, Dropout
        (kept for training), Flatten, Identity and Sequential. Weights are copied.
    output : str or object, optional
        The output of `Model`, where the module ends in a Linear because its loss has the
        activation: "softmax" for CrossEntropyLoss, "sigmoid" for BCEWithLogitsLoss. By default
        "identity" there. LogSoftmax becomes softmax: f(x) are probabilities.
    loss : str or object, optional
        As of `Model`.

    Returns
    -------
    Model
        float64 where the weights are, otherwise float32.

    Raises
    ------
    MissingExtraError
        PyTorch is not installed.
    TypeError
        `module` is no torch.nn.Module.
    ValueError
        A module that a sequential network of fastnn has not; the error names it.
    """
    torch = _torch()
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    with torch.no_grad():
        steps = list(_torch_steps(torch.nn, module, ""))
    return chain.as_model(steps, output=output, loss=loss)


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise MissingExtraError("this needs PyTorch: pip install torch") from None
    return torch


def _torch_steps(nn: Any, module: Any, name: str) -> Iterator[Step]:
    where = f"module {name or '(itself)'} ({type(module).__name__})"
    kind = next((kind for kind in TORCH if type(module) is getattr(nn, kind, None)), None)
    if type(module) is nn.Sequential:
        for key, child in module.named_children():
            yield from _torch_steps(nn, child, f"{name}.{key}" if name else key)
    elif kind is None:
        raise ValueError(
            f"{where}: fastnn has no such module; it knows Sequential, {', '.join(TORCH)}"
        )
    else:
        yield from TORCH[kind](module, where)


def _array(tensor: Any) -> np.ndarray:
    """A tensor of any device and float type; narrow ones become float32."""
    tensor = tensor.detach().cpu()
    return (tensor if tensor.element_size() >= 4 else tensor.float()).numpy()


def _torch_linear(m: Any, where: str) -> list[Step]:
    return [Linear(_array(m.weight), None if m.bias is None else _array(m.bias), where)]


def _torch_batch_norm(m: Any, where: str) -> list[Step]:
    if m.running_mean is None:
        raise ValueError(f"{where}: must track running statistics")
    norm = BatchNorm(0.1 if m.momentum is None else m.momentum, m.eps)
    gamma, beta = (None if p is None else _array(p) for p in (m.weight, m.bias))
    return [Normalize(norm, gamma, beta, _array(m.running_mean), _array(m.running_var), where)]


def _torch_layer_norm(m: Any, where: str) -> list[Step]:
    if len(m.normalized_shape) != 1:
        raise ValueError(f"{where}: must be over one dimension, got {tuple(m.normalized_shape)}")
    gamma, beta = (None if p is None else _array(p) for p in (m.weight, m.bias))
    return [Normalize(LayerNorm(m.eps), gamma, beta, None, None, where)]


def _torch_softmax(m: Any, where: str) -> list[Step]:
    if m.dim not in (-1, 1):
        raise ValueError(f"{where}: must have dim=1 or -1, the outputs of a row, got {m.dim}")
    return [Apply("softmax", where)]


def _torch_prelu(m: Any, where: str) -> list[Step]:
    slopes = _array(m.weight)
    if len(slopes) != 1:
        raise ValueError(f"{where}: must have one slope for all units, got {len(slopes)}")
    return [Apply(LeakyReLU(float(slopes[0])), where)]


def _torch_flatten(m: Any, where: str) -> list[Step]:
    if m.start_dim != 1 or m.end_dim != -1:
        raise ValueError(f"{where}: must keep the rows, start_dim=1 and end_dim=-1")
    return []


def _applies(activation: str) -> Callable[[Any, str], list[Step]]:
    return lambda m, where: [Apply(activation, where)]


TORCH: dict[str, Callable[[Any, str], list[Step]]] = {
    "Linear": _torch_linear,
    "BatchNorm1d": _torch_batch_norm,
    "LayerNorm": _torch_layer_norm,
    "Dropout": lambda m, where: [Dropout(rate=m.p)],
    "Flatten": _torch_flatten,
    "Identity": lambda m, where: [],
    "ReLU": _applies("relu"),
    "LeakyReLU": lambda m, where: [Apply(LeakyReLU(m.negative_slope), where)],
    "PReLU": _torch_prelu,
    "ELU": lambda m, where: [Apply(ELU(m.alpha), where)],
    "CELU": lambda m, where: chain.stretched("elu", 1 / m.alpha, where),
    "SELU": _applies("selu"),
    "Sigmoid": _applies("sigmoid"),
    "Tanh": _applies("tanh"),
    "Softplus": lambda m, where: chain.stretched("softplus", m.beta, where),
    "GELU": lambda m, where: [Apply("gelu" if m.approximate == "none" else "gelu_tanh", where)],
    "SiLU": _applies("silu"),
    "Mish": _applies("mish"),
    "Hardtanh": lambda m, where: chain.clipped(m.min_val, m.max_val, where),
    "ReLU6": lambda m, where: chain.clipped(0.0, 6.0, where),
    "Hardsigmoid": lambda m, where: chain.hard_sigmoid(1 / 6, 0.5, where),
    "Softmax": _torch_softmax,
    "LogSoftmax": _torch_softmax,
}


def to_torch(model: Model, *, logits: bool = False) -> Any:
    """A ``torch.nn.Sequential`` that computes what the model does.

    Parameters
    ----------
    model : fastnn.Model
    logits : bool, default False
        Leave out the activation of the output, as CrossEntropyLoss and BCEWithLogitsLoss want it.

    Returns
    -------
    torch.nn.Sequential
        Of the model's dtype, weights copied, in ``eval()``; dropout as Dropout.

    Raises
    ------
    MissingExtraError
        PyTorch is not installed.
    ValueError
        The output is exp, which no module is (with ``logits=True`` it is not needed), or the model
        has noise on its layers.
    """
    torch = _torch()
    nn = torch.nn
    if any(model.noise):
        raise ValueError(
            f"model must have no noise, PyTorch has no module for it; got {model.noise}"
        )
    makers = {
        "identity": None,
        "relu": nn.ReLU,
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "leaky_relu": nn.LeakyReLU,
        "elu": nn.ELU,
        "selu": nn.SELU,
        "softplus": nn.Softplus,
        "hard_tanh": nn.Hardtanh,
        "gelu": nn.GELU,
        "gelu_tanh": lambda: nn.GELU("tanh"),
        "silu": nn.SiLU,
        "mish": nn.Mish,
        "softmax": lambda: nn.Softmax(1),
    }
    modules = [nn.Dropout(model.dropout[0])] if model.dropout[0] else []
    dtype = getattr(torch, model.dtype)
    for layer in model._network.layers:
        bias = layer.bias and layer.norm is None
        linear = nn.Linear(layer.n_in, layer.n_out, bias=bias, dtype=dtype)
        norm = _torch_norm(nn, layer, dtype)
        with torch.no_grad():
            for target, values in (
                (linear.weight, model.W),
                (None if norm is None else norm.weight, model.gamma),
                ((linear if norm is None else norm).bias, model.b),
                (getattr(norm, "running_mean", None), model.running_mean),
                (getattr(norm, "running_var", None), model.running_variance),
            ):
                if target is not None and values[layer.k - 1] is not None:
                    target.copy_(torch.tensor(values[layer.k - 1]))
        modules += [linear] if norm is None else [linear, norm]
        last = layer.k == len(model.W)
        name = "identity" if last and logits else name_of(layer.activation)
        if name not in makers:
            raise ValueError(f"PyTorch has no module for {name}; pass logits=True to leave it out")
        if makers[name] is not None:
            modules.append(makers[name](*_parameters(name, layer.activation)))
        if not last and model.dropout[layer.k]:
            modules.append(nn.Dropout(model.dropout[layer.k]))
    return nn.Sequential(*modules).eval()


def _torch_norm(nn: Any, layer: LayerSpec, dtype: Any) -> Any:
    """The module of a layer's normalisation; its bias is the layer's, 0 where it has none."""
    if layer.norm is None:
        return None
    if isinstance(layer.norm, BatchNorm):
        return nn.BatchNorm1d(layer.n_out, layer.norm.epsilon, layer.norm.momentum, dtype=dtype)
    return nn.LayerNorm(layer.n_out, layer.norm.epsilon, bias=layer.bias, dtype=dtype)


def _parameters(name: str, activation: str | Activation) -> list[float]:
    return [activation.parameter] if isinstance(activation, Activation) else []


# --- Keras


def from_keras(model: Any, *, output: Output = None, loss: str | Loss | None = None) -> Model:
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
        A layer that a sequential network of fastnn has not; the error names it.
    """
    if not hasattr(model, "layers") or not hasattr(model, "get_config"):
        raise TypeError(f"model must be a Keras model, got {type(model).__name__}")
    steps = list(_keras_steps(model))
    return chain.as_model(steps, output=output, loss=loss)


def _keras_steps(model: Any) -> Iterator[Step]:
    if not model.built:
        raise ValueError(f"model {model.name!r} must be built: give it an Input, or call it once")
    if type(model).__name__ != "Sequential":
        _check_sequential(model)
    for layer in model.layers:
        kind = type(layer).__name__
        where = f"layer {layer.name!r} ({kind})"
        if kind in ("Sequential", "Functional"):
            yield from _keras_steps(layer)
        elif kind not in KERAS:
            raise ValueError(f"{where}: fastnn has no such layer; it knows {', '.join(KERAS)}")
        else:
            yield from KERAS[kind](layer, layer.get_config(), where)


def _check_sequential(model: Any) -> None:
    """Each layer of a functional model must take what the one before it gives."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"model {model.name!r} must have one input and one output, got {len(model.inputs)} and "
            f"{len(model.outputs)}"
        )
    for before, layer in zip(model.layers, model.layers[1:], strict=False):
        if len(layer._inbound_nodes) != 1 or layer.input is not before.output:
            raise ValueError(
                f"layer {layer.name!r} must follow {before.name!r}, and nothing else: a network "
                "with branches is not sequential"
            )
    if model.outputs[0] is not model.layers[-1].output:
        raise ValueError(f"model {model.name!r} must end in its last layer")


def _keras_activation(function: Any, where: str) -> list[Step]:
    name = getattr(function, "__name__", type(function).__name__)
    if name in KERAS_ACTIVATIONS:
        return KERAS_ACTIVATIONS[name](where)
    raise ValueError(
        f"{where}: fastnn has no activation {name!r}; it knows {', '.join(KERAS_ACTIVATIONS)}"
    )


def _named(activation: str | Activation) -> Callable[[str], list[Step]]:
    return lambda where: [Apply(activation, where)]


KERAS_ACTIVATIONS: dict[str, Callable[[str], list[Step]]] = {
    "linear": _named("identity"),
    "relu": _named("relu"),
    "sigmoid": _named("sigmoid"),
    "tanh": _named("tanh"),
    "leaky_relu": _named(LeakyReLU(0.2)),
    "elu": _named("elu"),
    "selu": _named("selu"),
    "softplus": _named("softplus"),
    "hard_tanh": _named("hard_tanh"),
    "gelu": _named("gelu"),
    "gelu_tanh": _named("gelu_tanh"),  # of `to_keras`
    "silu": _named("silu"),
    "mish": _named("mish"),
    "exponential": _named("exp"),
    "softmax": _named("softmax"),
    "log_softmax": _named("softmax"),
    "relu6": lambda where: chain.clipped(0.0, 6.0, where),
    "hard_sigmoid": lambda where: chain.hard_sigmoid(1 / 6, 0.5, where),
    "celu": _named("elu"),
}


def _keras_dense(layer: Any, config: dict[str, Any], where: str) -> list[Step]:
    if len(layer.input.shape) != 2:
        raise ValueError(f"{where}: must take rows, after Flatten; got shape {layer.input.shape}")
    weights = [np.asarray(w) for w in layer.get_weights()]
    if getattr(layer, "lora_enabled", False) or len(weights) != 1 + bool(config["use_bias"]):
        raise ValueError(f"{where}: must have kernel and bias alone")
    linear = Linear(weights[0].T, weights[1] if config["use_bias"] else None, where)
    return [linear, *_keras_activation(layer.activation, where)]


def _keras_batch_norm(layer: Any, config: dict[str, Any], where: str) -> list[Step]:
    parts = [np.asarray(w) for w in layer.get_weights()]
    gamma = parts.pop(0) if config["scale"] else None
    beta = parts.pop(0) if config["center"] else None
    mean, variance = parts
    norm = BatchNorm(round(1 - config["momentum"], 12), config["epsilon"])
    return [Normalize(norm, gamma, beta, mean, variance, where)]


def _keras_layer_norm(layer: Any, config: dict[str, Any], where: str) -> list[Step]:
    if config["axis"] not in (-1, 1, [-1], [1]):
        raise ValueError(f"{where}: must be over axis -1, got {config['axis']}")
    parts = [np.asarray(w) for w in layer.get_weights()]
    gamma = parts.pop(0) if config["scale"] else None
    beta = parts.pop(0) if config["center"] else None
    return [Normalize(LayerNorm(config["epsilon"]), gamma, beta, None, None, where)]


def _keras_normalization(layer: Any, config: dict[str, Any], where: str) -> list[Step]:
    if config.get("invert"):
        raise ValueError(f"{where}: must not be inverted")
    mean, deviation = (np.asarray(v, np.float64) for v in (layer.mean, np.sqrt(layer.variance)))
    factor = 1 / np.maximum(deviation, 1e-7)  # keras.config.epsilon()
    return [Scale(factor.reshape(-1), -(mean * factor).reshape(-1))]


def _keras_relu(layer: Any, config: dict[str, Any], where: str) -> list[Step]:
    top, slope, threshold = (config[n] for n in ("max_value", "negative_slope", "threshold"))
    if threshold or (top is not None and slope):
        raise ValueError(f"{where}: must have no threshold, and max_value or negative_slope alone")
    if top is not None:
        return chain.clipped(0.0, float(top), where)
    return [Apply(LeakyReLU(float(slope)) if slope else "relu", where)]


def _keras_softmax(layer: Any, config: dict[str, Any], where: str) -> list[Step]:
    if config.get("axis", -1) not in (-1, 1):
        raise ValueError(f"{where}: must be over axis -1, got {config['axis']}")
    return [Apply("softmax", where)]


KERAS: dict[str, Callable[[Any, dict[str, Any], str], list[Step]]] = {
    "InputLayer": lambda layer, config, where: [],
    "Dense": _keras_dense,
    "Activation": lambda layer, config, where: _keras_activation(layer.activation, where),
    "BatchNormalization": _keras_batch_norm,
    "LayerNormalization": _keras_layer_norm,
    "Normalization": _keras_normalization,
    "Rescaling": lambda layer, config, where: [Scale(config["scale"], config["offset"])],
    "Dropout": lambda layer, config, where: [Dropout(rate=config["rate"])],
    "GaussianNoise": lambda layer, config, where: [Dropout(noise=config["stddev"])],
    "Flatten": lambda layer, config, where: [],
    "ReLU": _keras_relu,
    "LeakyReLU": lambda layer, config, where: [
        Apply(LeakyReLU(float(config["negative_slope"])), where)
    ],
    "ELU": lambda layer, config, where: [Apply(ELU(float(config["alpha"])), where)],
    "Softmax": _keras_softmax,
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
        Not compiled; of the model's dtype, weights copied; dropout and noise as layers.

    Raises
    ------
    MissingExtraError
        Keras is not installed.
    """
    try:
        import keras
    except ImportError:
        raise MissingExtraError("this needs Keras: pip install keras, and a backend") from None
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
        name = "identity" if last and logits else name_of(layer.activation)
        parameters = _parameters(name, layer.activation)
        W, b = model.W[layer.k - 1].T, model.b[layer.k - 1]
        bias = [b] if layer.bias else []
        if layer.norm is None:
            parts.append(layers.Dense(layer.n_out, use_bias=layer.bias, dtype=dtype))
            weights.append([W, *bias])
        else:
            parts.append(layers.Dense(layer.n_out, use_bias=False, dtype=dtype))
            parts.append(_keras_norm(layers, layer, dtype))
            running = model.running_mean[layer.k - 1], model.running_variance[layer.k - 1]
            statistics = [v for v in running if v is not None]
            weights += [[W], [model.gamma[layer.k - 1], *bias, *statistics]]
        if name in ("leaky_relu", "elu"):
            kind = {"leaky_relu": layers.LeakyReLU, "elu": layers.ELU}[name]
            parts.append(kind(*(parameters or [PARAMETERS[name]]), dtype=dtype))
        elif name == "gelu_tanh":
            parts.append(layers.Activation(_gelu_tanh(keras), dtype=dtype))
        elif name != "identity":
            parts.append(layers.Activation(KERAS_NAMES.get(name, name), dtype=dtype))
        if not last:
            drop(layer.k)
    made = keras.Sequential(parts)
    kinds = (layers.Dense, layers.BatchNormalization, layers.LayerNormalization)
    for part, values in zip((p for p in made.layers if isinstance(p, kinds)), weights, strict=True):
        part.set_weights(values)
    return made


def _keras_norm(layers: Any, layer: LayerSpec, dtype: str) -> Any:
    norm = layer.norm
    assert norm is not None
    settings = {"epsilon": norm.epsilon, "center": layer.bias, "dtype": dtype}
    if isinstance(norm, BatchNorm):
        return layers.BatchNormalization(momentum=1 - norm.momentum, **settings)
    return layers.LayerNormalization(**settings)


KERAS_NAMES = {"exp": "exponential"}


def _gelu_tanh(keras: Any) -> Callable[[Any], Any]:
    """gelu's approximation, under a name that keras.saving knows while fastnn is imported."""

    def gelu_tanh(x: Any) -> Any:
        return keras.activations.gelu(x, approximate=True)

    return keras.saving.register_keras_serializable("fastnn", "gelu_tanh")(gelu_tanh)


# --- scikit-learn


def from_sklearn(estimator: Any) -> Model:
    """The network of scikit-learn's fitted MLPClassifier or MLPRegressor.

    Of two classes the model has one sigmoid output, as the estimator; several labels at once are
    sigmoids, several classes a softmax. Their names become ``metadata["classes"]``; labels to train
    on are their indices.

    Parameters
    ----------
    estimator : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted; weights are copied.

    Returns
    -------
    Model
        Of the weights' dtype, which is that of the data it was fitted on.

    Raises
    ------
    TypeError
        Another kind of estimator.
    ValueError
        The estimator is not fitted.
    """
    kind = type(estimator).__name__
    if not {"MLPClassifier", "MLPRegressor"} & {one.__name__ for one in type(estimator).__mro__}:
        raise TypeError(f"estimator must be an MLPClassifier or MLPRegressor, got {kind}")
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"estimator must be fitted, this {kind} is not")
    hidden, out = estimator.activation, estimator.out_activation_
    steps: list[Step] = []
    for k, (W, b) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True), 1):
        where = f"layer {k}"
        name = hidden if k < len(estimator.coefs_) else out
        steps += [Linear(W.T, b, where), Apply(SKLEARN.get(name, name), where)]
    metadata = {}
    classes = getattr(estimator, "classes_", None)
    if classes is not None:
        names = np.asarray(classes).tolist()
        metadata["classes"] = [one if isinstance(one, (str, int)) else str(one) for one in names]
    return chain.as_model(steps, metadata=metadata)


SKLEARN = {"logistic": "sigmoid"}  # the other names are ours


def to_sklearn(model: Model) -> Any:
    """scikit-learn's MLPClassifier or MLPRegressor with the model's weights.

    It predicts, and fits on with ``warm_start`` or partial_fit. Missing biases become zeros; a
    softmax of two classes becomes the one sigmoid that scikit-learn has there.

    Parameters
    ----------
    model : fastnn.Model
        All hidden layers with the same activation: identity, sigmoid, tanh or relu; output softmax
        or sigmoid (a classifier), identity or exp (a regressor). Names of classes are
        ``metadata["classes"]``, by default 0, 1, ...

    Returns
    -------
    sklearn.neural_network.MLPClassifier or MLPRegressor

    Raises
    ------
    MissingExtraError
        scikit-learn is not installed.
    ValueError
        What scikit-learn has not.
    """
    try:
        from sklearn.neural_network import MLPClassifier, MLPRegressor
        from sklearn.preprocessing import LabelBinarizer
    except ImportError:
        raise MissingExtraError("this needs scikit-learn: pip install scikit-learn") from None
    names = {ours: theirs for theirs, ours in SKLEARN.items()}
    hidden = {name_of(one) for one in model.activations} or {"relu"}
    if len(hidden) > 1 or not hidden <= {"identity", "sigmoid", "tanh", "relu"}:
        raise ValueError(
            "all hidden layers must have one activation of identity, sigmoid, tanh, relu; "
            f"got {', '.join(sorted(hidden))}"
        )
    output = name_of(model.output)
    if output not in ("softmax", "sigmoid", "identity", "exp") or model.loss == "hinge":
        raise ValueError(f"output must be softmax, sigmoid, identity or exp, got {output}")
    (activation,) = hidden
    layers = chain.plain(model)
    if any(layer.gamma is not None for layer in layers):
        raise ValueError('norm must not be "layer", scikit-learn has none')
    W = [layer.W.T.copy() for layer in layers]
    b = [np.zeros(len(one.W), one.W.dtype) if one.b is None else one.b.copy() for one in layers]
    if output == "softmax" and model.sizes[-1] == 2:  # sigmoid of the difference
        W[-1], b[-1], output = W[-1][:, 1:] - W[-1][:, :1], b[-1][1:] - b[-1][:1], "sigmoid"
    settings = {
        "hidden_layer_sizes": tuple(model.sizes[1:-1]),
        "activation": names.get(activation, activation),
    }
    made: Any
    if output in ("softmax", "sigmoid"):
        made = MLPClassifier(**settings)
        n_out = W[-1].shape[1]
        n_classes = 2 if n_out == 1 else n_out
        classes = model.metadata.get("classes", list(range(n_classes)))
        if len(classes) != n_classes or len(set(classes)) != n_classes:
            raise ValueError(f'metadata["classes"] must name {n_classes} classes, got {classes}')
        if classes != sorted(classes):
            raise ValueError(f'metadata["classes"] must be sorted for scikit-learn, got {classes}')
        binarizer = LabelBinarizer()
        if output == "sigmoid" and n_out > 1:  # several labels at once
            binarizer.fit([[0] * n_out, [1] * n_out])
        else:
            binarizer.fit(classes)
        made._label_binarizer, made.classes_ = binarizer, binarizer.classes_
    else:
        losses = {"exp": {"loss": "poisson"}}
        made = MLPRegressor(**settings, **losses.get(output, {}))
    made.coefs_, made.intercepts_ = W, b
    made.n_layers_, made.n_outputs_ = len(W) + 1, W[-1].shape[1]
    made.n_features_in_, made.out_activation_ = model.sizes[0], names.get(output, output)
    made.n_iter_, made.t_, made.loss_curve_ = 0, 0, []
    made.loss_, made.best_loss_, made._no_improvement_count = np.inf, np.inf, 0
    return made


# --- JAX, and files of weights


def from_jax(
    params: Any,
    *,
    activation: Any,
    output: str | Activation,
    loss: str | Loss | None = None,
) -> Model:
    """A network from a pytree of arrays, of JAX or any library whose arrays NumPy reads.

    Parameters
    ----------
    params : list of (W, b), or dict
        A pair for each layer, W (n_in, n_out) as in ``x @ W + b``, b (n_out,) or None; or a nested
        dict with "kernel" (n_in, n_out) and "bias" for each layer, as Flax's ``params`` (Dense_0,
        Dense_1, ...), in the order of the layers' names, numbers as numbers. Copied.
    activation : str, object or list of them
        Of the hidden layers, as of `Model`.
    output, loss : str or object
        As of `Model`.

    Returns
    -------
    Model
        float64 where a W is, otherwise float32. The way back is
        ``[(W.T, b) for W, b in zip(model.W, model.b)]``.

    Raises
    ------
    TypeError, ValueError
        Pairs or shapes that do not fit.
    """
    if isinstance(params, Mapping):
        weights = {".".join(key): value for key, value in _leaves(params)}
        return _from_weights(weights, _natural, "kernel", activation, output, loss)
    if not isinstance(params, (list, tuple)):
        raise TypeError(f"params must be a list of (W, b) or a dict, got {type(params).__name__}")
    layers = []
    for k, pair in enumerate(params, 1):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            if isinstance(pair, (list, tuple)) and not len(pair):
                continue  # stax has an empty pair for an activation
            raise TypeError(f"params must hold a pair (W, b) for each layer, entry {k} is none")
        layers.append((f"layer {k}", np.asarray(pair[0]).T, pair[1]))
    return _built(layers, activation, output, loss)


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, str(key)))
        else:
            yield (*path, str(key)), value


def from_state_dict(
    source: str | PathLike[str] | Mapping[str, Any],
    *,
    activation: Any,
    output: str | Activation,
    loss: str | Loss | None = None,
    layers: Iterable[str] | None = None,
) -> Model:
    """A network from the weights of PyTorch's Linear layers: NAME.weight and NAME.bias.

    Parameters
    ----------
    source : path or mapping
        A safetensors file, or a ``state_dict()``. W (n_out, n_in); float16 and bfloat16 become
        float32. Copied.
    activation : str, object or list of them
        Of the hidden layers, as of `Model`; weights alone do not tell.
    output, loss : str or object
        As of `Model`.
    layers : list of str, optional
        The NAMEs in the order of the network. By default all there are: of a mapping in its order,
        of a file, which keeps none, by name, numbers as numbers.

    Returns
    -------
    Model

    Raises
    ------
    ModelFileError
        The file is damaged.
    ValueError
        Tensors of other layers, such as BatchNorm's, or shapes that do not follow one another.
    """
    if isinstance(source, Mapping):
        weights, order = dict(source), None
    else:
        weights, order = _tensors_of(source), _natural
    if layers is not None:
        names = list(layers)
        absent = [name for name in names if f"{name}.weight" not in weights]
        if absent:
            raise ValueError(f"layers must be there, {absent[0]!r} has no {absent[0]}.weight")
        weights = {
            f"{name}.{part}": weights[f"{name}.{part}"]
            for name in names
            for part in ("weight", "bias")
            if f"{name}.{part}" in weights
        }
        order = None
    return _from_weights(weights, order, "weight", activation, output, loss)


def _natural(name: str) -> list[Any]:
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)|\.", name) if p]


def _from_weights(
    weights: dict[str, Any],
    order: Callable[[str], Any] | None,
    weight: str,
    activation: Any,
    output: Any,
    loss: Any,
) -> Model:
    """Layers by the names of their tensors, "kernel" ones transposed."""
    layers, used = [], set()
    names = sorted(weights, key=order) if order else list(weights)
    for name in names:
        prefix, _, last = name.rpartition(".")
        if last != weight:
            continue
        bias = f"{prefix}.bias" if prefix else "bias"
        W = _numbers(weights[name])
        if W.ndim != 2:
            raise ValueError(f"{name} must be a matrix of a linear layer, got shape {W.shape}")
        layers.append((prefix or name, W.T if weight == "kernel" else W, weights.get(bias)))
        used |= {name, bias}
    other = [name for name in names if name not in used]
    if other or not layers:
        came = ", ".join(other) or "none"
        raise ValueError(
            f"must hold the {weight} and bias of linear layers alone, got {came:.200}; name those "
            "to take with layers=[...], or build the module and use from_torch"
            if weight == "weight"
            else f"must hold the kernel and bias of dense layers alone, got {came:.200}"
        )
    return _built(layers, activation, output, loss)


def _numbers(value: Any) -> np.ndarray:
    return _array(value) if hasattr(value, "detach") else np.asarray(value)


def _built(layers: list[tuple[str, Any, Any]], activation: Any, output: Any, loss: Any) -> Model:
    """(name, W (n_out, n_in), b) of each layer -> Model."""
    if not layers:
        raise ValueError("must have at least one layer, got none")
    if isinstance(activation, (str, Activation)):
        activation = [activation] * (len(layers) - 1)
    if len(activation) != len(layers) - 1:
        raise ValueError(
            f"activation must have one entry per hidden layer ({len(layers) - 1}), "
            f"got {len(activation)}"
        )
    steps: list[Step] = []
    width = None
    for (name, W, b), g in zip(layers, [*activation, output], strict=True):
        b = None if b is None else _numbers(b)
        if W.ndim != 2 or (b is not None and b.shape != W.shape[:1]):
            shapes = W.shape, None if b is None else b.shape
            raise ValueError(f"{name}: must have a matrix W and b (n_out,), got shapes {shapes}")
        if width not in (None, W.shape[1]):
            raise ValueError(
                f"{name} must take the {width} values of the layer before it, its W takes "
                f"{W.shape[1]}; the order was {', '.join(one[0] for one in layers)}"
            )
        width = len(W)
        steps += [Linear(W, b, name), Apply(g, name)]
    return chain.as_model(steps, loss=loss)


def _tensors_of(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file; those of integers, which count batches, are left out."""
    tensors = {}
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelFileError("must be a regular file")
            found, _ = safetensors.read_header(file, status.st_size, safetensors.FOREIGN)
            for name, tensor in found.items():
                file.seek(tensor.start)
                n = int(np.prod(tensor.shape, dtype=np.int64))
                data = safetensors.read_exactly(file, n * tensor.dtype.itemsize)
                array = np.frombuffer(data, tensor.dtype).reshape(tensor.shape)
                if tensor.dtype.kind == "u":  # bfloat16: the upper half of a float32
                    array = (array.astype(np.uint32) << 16).view(np.float32)
                if tensor.dtype.kind != "i":
                    tensors[name] = array.astype(np.float32 if array.itemsize < 8 else np.float64)
    except ModelFileError as error:
        raise ModelFileError(f"{os.fspath(path)!s}: {error}") from None
    return tensors
