"""The model file: safetensors with the architecture in its metadata, replaced in one piece.

tensors         embedding1, embedding2, ... where they have parameters: these as they lie in theta;
                s where features are scaled; W1, b1, W2, ... in their shapes, of parametric
                activations alpha1, of normalised layers gamma1, of those by batches running_mean1,
                running_variance1; and the optimizer's vectors (n_parameters,); of a checkpoint also
                arrays of callbacks: callback0.NAME, ...
__metadata__    format "fastnn", version, and three JSON texts, or four:
                architecture   what NetworkSpec holds
                training       seed, epochs begun, whose the optimizer's vectors are and its steps,
                               steps of every optimizer, version of the bits that trained last
                metadata       the user's own
                fit            of a checkpoint: what the FitState below holds
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from fastnn.errors import ModelFileError
from fastnn.files.atomic import replacing
from fastnn.files.foreign import opened
from fastnn.files.safetensors import (
    CODES,
    DTYPES,
    WITH_INT8,
    Tensor,
    check_many,
    encode,
    loads,
    read_header,
)
from fastnn.network.activations import is_parametric
from fastnn.network.activations import restored as activation_restored
from fastnn.network.arrays import as_finite
from fastnn.network.embeddings import restored as embedding_restored
from fastnn.network.losses import from_json
from fastnn.network.norms import restored as norm_restored
from fastnn.network.parameters import Parameters, alphas, gammas, statistics_of, views
from fastnn.network.spec import NetworkSpec, as_network
from fastnn.random import as_seed

FORMAT, VERSION = "fastnn", 1
MOST = 2**53  # steps or epochs: what the readers of JSON and a float64 hold exactly
ENSEMBLE = "fastnn-ensemble"  # the format of files/ensemble.py
INT8 = "fastnn-int8"  # the format of quantized/file.py
# An optimizer's vectors: names of tensors, in the order of the rows of its state.
STATES = {
    "sgd": (),
    "momentum": ("velocity",),
    "nesterov": ("velocity",),
    "adam": ("first_moment", "second_moment"),
    "amsgrad": ("first_moment", "second_moment", "largest_second_moment"),
    "nadam": ("first_moment", "second_moment"),
    "rmsprop": ("mean_square",),
    "rmsprop_momentum": ("mean_square", "velocity"),
    "rmsprop_centered": ("mean_square", "mean"),
    "rmsprop_centered_momentum": ("mean_square", "mean", "velocity"),
    "adagrad": ("sum_of_squares",),
    "lion": ("first_moment",),
    "rprop": ("last_gradient", "step_size"),
}
KEYS = {
    "metadata": {"format", "version", "architecture", "training", "metadata"},
    "architecture": {
        *("sizes", "activations", "output", "loss", "bias", "dtype", "dropout", "noise", "norm"),
        "input_scale",
    },
    "training": {"seed", "epoch", "optimizer", "steps", "all_steps", "bits_version"},
    "fit": {"settings", "stopped", "schedule", "history", "callbacks"},
    "callback": {"name", "values", "arrays"},
}


@dataclass(frozen=True)
class FitState:
    """What a fit needs besides the model to go on exactly. Rows of the history count its epochs."""

    settings: dict[str, Any]  # of fit, by name: batch_size, optimizer, ...
    stopped: bool  # by a callback
    schedule: Any  # the learning rate's state(), or None
    history: dict[str, list[Any]]
    callbacks: list[tuple[str, dict[str, Any] | None]]  # class name and state() of the stateful


@dataclass(frozen=True)
class Loaded:
    """A model file's content; checkpoint is None where it was written by Model.save."""

    parameters: Parameters
    seed: int
    metadata: dict[str, Any]
    checkpoint: FitState | None


def save(
    path: str | PathLike[str],
    parameters: Parameters,
    seed: int,
    metadata: dict[str, Any],
    checkpoint: FitState | None = None,
) -> None:
    """Write a model file; what stood at `path` stays until the new file is whole and on disk.

    Raises ValueError, before anything is written, where a weight is not finite.
    """
    parameters = parameters.copy()  # another thread may be training
    check_weights(parameters)
    training = {
        "seed": seed,
        "epoch": parameters.epoch,
        "optimizer": parameters.optimizer,
        "steps": parameters.steps,
        "all_steps": parameters.all_steps,
        "bits_version": parameters.bits_version,
    }
    texts = {
        "format": FORMAT,
        "version": str(VERSION),
        "architecture": json_text(parameters.network.architecture),
        "training": json_text(training),
        "metadata": json_text(as_metadata(metadata)),
    }
    tensors = tensors_of(parameters)
    tensors.update(zip(STATES[parameters.optimizer], parameters.state, strict=True))
    if checkpoint is not None:
        texts["fit"], arrays = _checkpoint_text(checkpoint)
        tensors.update(arrays)
    write_atomically(path, encode(tensors, texts))


def load(path: str | PathLike[str]) -> Loaded:
    """The content of a model file. Raises ModelFileError."""
    with opened(path) as (file, size):
        tensors, texts = read_header(file, size)
        network, training, metadata = _check_metadata(texts, len(tensors))
        fit = _check_fit(texts["fit"]) if "fit" in texts else None
        arrays = _array_names(fit) if fit else []
        names = _check_tensors(network, STATES[training["optimizer"]], arrays, tensors)
        parameters = Parameters(network, np.empty(network.n_parameters, network.dtype))
        parameters.use(training["optimizer"])
        parameters.steps, parameters.epoch = training["steps"], training["epoch"]
        parameters.all_steps = training["all_steps"]
        parameters.bits_version = training["bits_version"]
        targets = tensors_of(parameters)
        targets.update(zip(STATES[training["optimizer"]], parameters.state, strict=True))
        for name in arrays:
            targets[name] = np.empty(tensors[name].shape, tensors[name].dtype.newbyteorder("="))
        for name in names:
            read_tensor(file, tensors[name], targets[name], name)
        check_loaded(parameters)
    checkpoint = _checkpoint(fit, targets) if fit else None
    return Loaded(parameters, training["seed"], metadata, checkpoint)


def format_of(path: str | PathLike[str]) -> str:
    """What the file says that it is; "" where it says nothing, and whoever reads it tells why."""
    with opened(path) as (file, size):
        try:
            return read_header(file, size, WITH_INT8)[1].get("format", "")
        except ModelFileError:
            return ""


def write_atomically(path: str | PathLike[str], buffers: Iterable[Any]) -> None:
    """Write beside `path`, then put the file in its place; on failure the old file stays."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise ModelFileError(f"{os.fspath(path)!s}: must be a regular file, or none yet")
    with replacing(path) as file:
        for buffer in buffers:
            file.write(buffer)


def as_metadata(metadata: Any) -> dict[str, Any]:
    """`metadata`, which must be a dict that JSON can hold."""
    if not isinstance(metadata, dict):
        raise TypeError(f"metadata must be a dict, got {type(metadata).__name__}")
    try:
        check_many(json_text(metadata))
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"metadata must hold what JSON can hold: {error}") from None
    return metadata


def json_text(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def tensors_of(parameters: Parameters) -> dict[str, np.ndarray]:
    """Embeddings, W1, b1, W2, ...: views of theta and of the running statistics."""
    network, theta = parameters.network, parameters.theta
    W, b = views(network, theta)
    gamma, statistics = gammas(network, theta), statistics_of(network, parameters.statistics)
    tensors = {name: theta[span] for name, span in _input_spans(network).items()}
    alpha = alphas(network, theta)
    for k in range(len(W)):
        tensors[f"W{k + 1}"] = W[k]
        for name, part in (("b", b[k]), ("gamma", gamma[k]), ("alpha", alpha[k])):
            if part is not None:
                tensors[f"{name}{k + 1}"] = part
        if (running := statistics[k]) is not None:
            tensors[f"running_mean{k + 1}"], tensors[f"running_variance{k + 1}"] = running
    return tensors


def check_weights(parameters: Parameters, of: str = "") -> None:
    """Weights must be finite; variances and the optimizer's vectors may have overflowed."""
    for name, tensor in tensors_of(parameters).items():
        if not name.startswith("running_"):
            as_finite(of + name, tensor, parameters.network.dtype)


def check_loaded(parameters: Parameters, of: str = "") -> None:
    """The same of weights from a file. Raises ModelFileError."""
    try:
        check_weights(parameters, of)
    except ValueError as error:
        raise ModelFileError(str(error)) from None


def _input_spans(network: NetworkSpec) -> dict[str, slice]:
    """Where in theta the tensors of the input layer lie."""
    spans = {f"embedding{i}": span for i, span in enumerate(network.embedding_spans, 1)} | {
        "s": network.s
    }
    return {name: span for name, span in spans.items() if span.stop > span.start}


def _check_metadata(
    texts: dict[str, str], n_tensors: int
) -> tuple[NetworkSpec, dict[str, Any], dict[str, Any]]:
    if texts.get("format") == ENSEMBLE:
        raise ModelFileError("must be of one network; this is an ensemble, which fastnn.load reads")
    if texts.get("format") != FORMAT:
        raise ModelFileError(
            "must be a model saved by fastnn; this is another safetensors file, whose linear "
            "layers fastnn.interop.from_state_dict takes"
        )
    version = texts.get("version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10 and int(version) > 0):
        raise ModelFileError(f"version must be a number from 1, got {version!r:.50}")
    if int(version) > VERSION:
        raise ModelFileError(
            f"version must be at most {VERSION}, got {version}: a newer fastnn wrote it, and "
            "reading it needs one"
        )
    _check_keys("metadata", texts, optional={"fit"})
    network = as_saved_network(loads(texts["architecture"], "architecture"), n_tensors)
    training = loads(texts["training"], "training")
    training.setdefault("all_steps", training.get("steps"))  # files from before these were
    training.setdefault("bits_version", 1)
    _check_keys("training", training)
    if training["optimizer"] not in list(STATES):
        raise ModelFileError(f"training: optimizer must be one of {', '.join(STATES)}")
    for name in ("epoch", "steps", "all_steps"):
        if type(training[name]) is not int or not 0 <= training[name] <= MOST:
            raise ModelFileError(f"training: {name} must be a count up to 2**53")
    training["bits_version"] = as_saved_bits_version(training["bits_version"])
    as_saved_seed(training["seed"])
    return network, training, loads(texts["metadata"], "metadata")


def as_saved_network(architecture: dict[str, Any], n_tensors: int | None = None) -> NetworkSpec:
    """The network that `NetworkSpec.architecture` described, checked; n_tensors: in the file."""
    # Older files lack what came later.
    if not {"dropout", "noise"} & set(architecture):
        architecture |= {"dropout": 0.0, "noise": 0.0}
    architecture.setdefault("norm", None)
    architecture.setdefault("input_scale", 1.0)
    optional = {"embeddings", "feature_scale", "monotone", "compute_dtype"}
    _check_keys("architecture", architecture, optional=optional)
    sizes, activations, norm = (architecture[name] for name in ("sizes", "activations", "norm"))
    if isinstance(sizes, list) and n_tensors is not None and len(sizes) > n_tensors + 1:
        raise ModelFileError(
            f"architecture: sizes must have a layer for a tensor at most, got {len(sizes) - 1} "
            f"layers and {n_tensors} tensors"
        )
    if not (isinstance(activations, list) and isinstance(architecture["bias"], list)):
        raise ModelFileError("architecture: activations and bias must be lists")
    if architecture.get("compute_dtype", "bfloat16") != "bfloat16":
        raise ModelFileError("architecture: compute_dtype must be bfloat16, or left out")
    if architecture["dtype"] not in list(CODES):
        raise ModelFileError(f"architecture: dtype must be one of {', '.join(CODES)}")
    embeddings = architecture.get("embeddings", [])
    if not isinstance(embeddings, list):
        raise ModelFileError("architecture: embeddings must be a list")
    try:
        return as_network(
            sizes,
            [activation_restored(one) for one in activations],
            activation_restored(architecture["output"]),
            from_json(architecture["loss"]),
            architecture["bias"],
            architecture["dtype"],
            architecture["dropout"],
            architecture["noise"],
            norm and [norm_restored(one) for one in norm],
            architecture["input_scale"],
            [embedding_restored(one) for one in embeddings],
            architecture.get("feature_scale", False),
            architecture.get("monotone"),
            architecture.get("compute_dtype"),
        )
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"architecture: {error!s:.300}") from None


def as_saved_bits_version(version: Any) -> int:
    if type(version) is not int or not 1 <= version < 2**31:
        raise ModelFileError(f"bits_version must be a number from 1, got {version!r:.50}")
    return version


def as_saved_seed(seed: Any) -> int:
    try:
        if type(seed) is not int:
            raise TypeError("seed must be an integer")
        return as_seed(seed)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"training: {error}") from None


def _checkpoint_text(checkpoint: FitState) -> tuple[str, dict[str, np.ndarray]]:
    """A checkpoint as JSON, and the arrays in it as tensors by name."""
    tensors, callbacks = {}, []
    for i, (name, state) in enumerate(checkpoint.callbacks):
        arrays = {k: v for k, v in (state or {}).items() if isinstance(v, np.ndarray)}
        tensors.update({f"callback{i}.{key}": array for key, array in arrays.items()})
        values = state and {key: value for key, value in state.items() if key not in arrays}
        callbacks.append({"name": name, "values": values, "arrays": list(arrays)})
    content = {
        "settings": checkpoint.settings,
        "stopped": checkpoint.stopped,
        "schedule": checkpoint.schedule,
        "history": {
            # JSON has neither NaN nor infinities: these go as texts.
            name: [value if math.isfinite(value) else str(value) for value in values]
            for name, values in checkpoint.history.items()
        },
        "callbacks": callbacks,
    }
    try:
        return json_text(content), tensors
    except (TypeError, ValueError) as error:
        raise TypeError(f"a checkpoint must hold what JSON can hold: {error}") from None


def _check_fit(text: str) -> dict[str, Any]:
    fit = loads(text, "fit")
    _check_keys("fit", fit)
    settings, columns, callbacks = fit["settings"], fit["history"], fit["callbacks"]
    if not isinstance(settings, dict) or type(fit["stopped"]) is not bool:
        raise ModelFileError("fit: settings must be an object, stopped true or false")
    if not isinstance(columns, dict) or not all(isinstance(v, list) for v in columns.values()):
        raise ModelFileError("fit: history must map names to lists")
    for name, values in columns.items():
        if len(values) != len(columns.get("epoch", ())):
            raise ModelFileError(f"fit: history's columns must be of one length, {name!r} is not")
        columns[name] = [_number(value) for value in values]
    if not isinstance(callbacks, list):
        raise ModelFileError("fit: callbacks must be a list")
    for callback in callbacks:
        if not isinstance(callback, dict):
            raise ModelFileError("fit: each of callbacks must be an object")
        _check_keys("callback", callback)
        values, arrays = callback["values"], callback["arrays"]
        whole = isinstance(callback["name"], str) and isinstance(arrays, list)
        whole = whole and (isinstance(values, dict) or (values is None and not arrays))
        if not whole or not all(isinstance(key, str) for key in arrays):
            raise ModelFileError("fit: a callback must have a name, values and names of arrays")
    return fit


def _number(value: Any) -> float:
    if value in ("nan", "inf", "-inf"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ModelFileError(f"fit: history must hold numbers, got {value!r:.50}")
    return value


def _array_names(fit: dict[str, Any]) -> list[str]:
    return [f"callback{i}.{key}" for i, c in enumerate(fit["callbacks"]) for key in c["arrays"]]


def _checkpoint(fit: dict[str, Any], tensors: dict[str, np.ndarray]) -> FitState:
    states = []
    for i, callback in enumerate(fit.pop("callbacks")):
        state = callback["values"]
        for key in callback["arrays"]:
            state[key] = tensors[f"callback{i}.{key}"]
        states.append((callback["name"], state))
    return FitState(**fit, callbacks=states)


def _check_keys(what: str, came: dict[str, Any], optional: Collection[str] = ()) -> None:
    if set(came).difference(optional) != KEYS[what]:
        raise ModelFileError(
            f"{what} must have the keys {', '.join(sorted(KEYS[what]))}, "
            f"got {', '.join(sorted(came)):.200}"
        )


def _check_tensors(
    network: NetworkSpec, states: tuple[str, ...], arrays: list[str], tensors: dict[str, Tensor]
) -> list[str]:
    """Names of the tensors, which must be exactly the network's, each in its shape and dtype, and
    `arrays`, of any."""
    want: dict[str, tuple[int, ...]] = {
        name: (span.stop - span.start,) for name, span in _input_spans(network).items()
    }
    for layer in network.layers:
        want[f"W{layer.k}"] = (layer.n_out, layer.n_in)
        if layer.bias:
            want[f"b{layer.k}"] = (layer.n_out,)
        if layer.norm:
            want[f"gamma{layer.k}"] = (layer.n_out,)
        if is_parametric(layer.activation):
            want[f"alpha{layer.k}"] = (layer.n_out,)
        if layer.norm and layer.norm.name == "batch":
            want |= {f"running_{what}{layer.k}": (layer.n_out,) for what in ("mean", "variance")}
    want.update(dict.fromkeys(states, (network.n_parameters,)))
    names = [*want, *arrays]
    if set(names) != set(tensors) or len(set(names)) != len(names):
        raise ModelFileError(
            f"must hold the tensors {', '.join(names):.200}, got {', '.join(tensors):.200}"
        )
    dtype = DTYPES[CODES[network.dtype]]
    for name, shape in want.items():
        got = tensors[name]
        if got.shape != shape or got.dtype != dtype:
            raise ModelFileError(
                f"tensor {name!r} must be {network.dtype} of shape {shape}, "
                f"got {got.dtype.name} of shape {got.shape}"
            )
    return names


def read_tensor(file: Any, tensor: Tensor, target: np.ndarray, name: str) -> None:
    """Fill `target`, C-contiguous and of the machine's byte order, from the file."""
    file.seek(tensor.start)
    got = file.readinto(target.reshape(-1).view(np.uint8))
    if got != target.nbytes:
        raise ModelFileError(f"tensor {name!r} must have {target.nbytes} bytes, got {got}")
    if not tensor.dtype.isnative:
        target.byteswap(inplace=True)
