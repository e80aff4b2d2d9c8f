"""The model file: safetensors with the architecture in its metadata, replaced in one piece.

tensors         W1, b1, W2, ... in their shapes, and the optimizer's vectors (n_parameters,)
__metadata__    format "fastnn", version, and three JSON texts:
                architecture   what NetworkSpec holds
                training       seed, epochs begun, whose the optimizer's vectors are and its steps
                metadata       the user's own
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from dataclasses import asdict
from os import PathLike
from typing import Any

import numpy as np

from fastnn._errors import ModelFileError
from fastnn._files import replacing
from fastnn._network import NetworkSpec, as_network
from fastnn._parameters import Parameters, views
from fastnn._random import as_seed
from fastnn._safetensors import CODES, DTYPES, Tensor, encode, loads, read_header

FORMAT, VERSION = "fastnn", 1
# An optimizer's vectors: names of tensors, in the order of the rows of its state.
STATES = {
    "sgd": (),
    "momentum": ("velocity",),
    "nesterov": ("velocity",),
    "adam": ("first_moment", "second_moment"),
}
KEYS = {
    "metadata": {"format", "version", "architecture", "training", "metadata"},
    "architecture": {"sizes", "activations", "output", "loss", "bias", "dtype", "input_scale"},
    "training": {"seed", "epoch", "optimizer", "steps"},
}


def save(
    path: str | PathLike[str], parameters: Parameters, seed: int, metadata: dict[str, Any]
) -> None:
    """Write a model file; what stood at `path` stays until the new file is whole and on disk."""
    parameters = parameters.copy()  # another thread may be training
    training = {
        "seed": seed,
        "epoch": parameters.epoch,
        "optimizer": parameters.optimizer,
        "steps": parameters.steps,
    }
    texts = {
        "format": FORMAT,
        "version": str(VERSION),
        "architecture": _json(_architecture(parameters.network)),
        "training": _json(training),
        "metadata": _json(as_metadata(metadata)),
    }
    tensors = _tensors(parameters.network, parameters.theta)
    tensors.update(zip(STATES[parameters.optimizer], parameters.state, strict=True))
    write_atomically(path, encode(tensors, texts))


def load(path: str | PathLike[str]) -> tuple[Parameters, int, dict[str, Any]]:
    """Parameters, seed and the user's metadata of a model file. Raises ModelFileError."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelFileError("must be a regular file")
            tensors, texts = read_header(file, status.st_size)
            network, training, metadata = _check_metadata(texts)
            names = _check_tensors(network, STATES[training["optimizer"]], tensors)
            parameters = Parameters(network, np.empty(network.n_parameters, network.dtype))
            parameters.use(training["optimizer"], len(STATES[training["optimizer"]]))
            parameters.steps, parameters.epoch = training["steps"], training["epoch"]
            targets = _tensors(network, parameters.theta)
            targets.update(zip(STATES[training["optimizer"]], parameters.state, strict=True))
            for name in names:
                _read(file, tensors[name], targets[name], name)
    except ModelFileError as error:
        raise ModelFileError(f"{os.fspath(path)!s}: {error}") from None
    return parameters, training["seed"], metadata


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
        _json(metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"metadata must hold what JSON can hold: {error}") from None
    return metadata


def _architecture(network: NetworkSpec) -> dict[str, Any]:
    """What the file says of a network; input_scale where it is not 1, as older files mean."""
    architecture = asdict(network)
    if network.input_scale == 1:
        del architecture["input_scale"]
    return architecture


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _tensors(network: NetworkSpec, theta: np.ndarray) -> dict[str, np.ndarray]:
    """W1, b1, W2, ...: views of theta."""
    W, b = views(network, theta)
    tensors = {}
    for k in range(len(W)):
        tensors[f"W{k + 1}"] = W[k]
        if b[k] is not None:
            tensors[f"b{k + 1}"] = b[k]
    return tensors


def _check_metadata(texts: dict[str, str]) -> tuple[NetworkSpec, dict[str, Any], dict[str, Any]]:
    if texts.get("format") != FORMAT:
        raise ModelFileError("must be a model saved by fastnn; this is another safetensors file")
    version = texts.get("version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10 and int(version) > 0):
        raise ModelFileError(f"version must be a number from 1, got {version!r:.50}")
    if int(version) > VERSION:
        raise ModelFileError(
            f"version must be at most {VERSION}, got {version}: a newer fastnn wrote it, and "
            "reading it needs one"
        )
    _check_keys("metadata", texts)
    architecture = loads(texts["architecture"], "architecture")
    architecture.setdefault("input_scale", 1.0)
    _check_keys("architecture", architecture)
    architecture["activation"] = architecture.pop("activations")
    try:
        if not isinstance(architecture["activation"], list) or len(architecture["bias"]) == 0:
            raise ValueError("activations and bias must be lists")
        network = as_network(**architecture)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"architecture: {error}") from None
    training = loads(texts["training"], "training")
    _check_keys("training", training)
    if training["optimizer"] not in list(STATES):
        raise ModelFileError(f"training: optimizer must be one of {', '.join(STATES)}")
    for name in ("epoch", "steps"):
        if type(training[name]) is not int or not 0 <= training[name] < 2**62:
            raise ModelFileError(f"training: {name} must be a count")
    try:
        if type(training["seed"]) is not int:
            raise TypeError("seed must be an integer")
        as_seed(training["seed"])
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"training: {error}") from None
    return network, training, loads(texts["metadata"], "metadata")


def _check_keys(what: str, came: dict[str, Any]) -> None:
    if set(came) != KEYS[what]:
        raise ModelFileError(
            f"{what} must have the keys {', '.join(sorted(KEYS[what]))}, "
            f"got {', '.join(sorted(came)):.200}"
        )


def _check_tensors(
    network: NetworkSpec, states: tuple[str, ...], tensors: dict[str, Tensor]
) -> list[str]:
    """Names of the tensors, which must be exactly the network's, each in its shape and dtype."""
    want: dict[str, tuple[int, ...]] = {}
    for layer in network.layers:
        want[f"W{layer.k}"] = (layer.n_out, layer.n_in)
        if layer.bias:
            want[f"b{layer.k}"] = (layer.n_out,)
    want.update(dict.fromkeys(states, (network.n_parameters,)))
    if set(want) != set(tensors):
        raise ModelFileError(
            f"must hold the tensors {', '.join(want):.200}, got {', '.join(tensors):.200}"
        )
    dtype = DTYPES[CODES[network.dtype]]
    for name, shape in want.items():
        got = tensors[name]
        if got.shape != shape or got.dtype != dtype:
            raise ModelFileError(
                f"tensor {name!r} must be {network.dtype} of shape {shape}, "
                f"got {got.dtype.name} of shape {got.shape}"
            )
    return list(want)


def _read(file: Any, tensor: Tensor, target: np.ndarray, name: str) -> None:
    """Fill `target`, C-contiguous and of the machine's byte order, from the file."""
    file.seek(tensor.start)
    got = file.readinto(target.reshape(-1).view(np.uint8))
    if got != target.nbytes:
        raise ModelFileError(f"tensor {name!r} must have {target.nbytes} bytes, got {got}")
    if not tensor.dtype.isnative:
        target.byteswap(inplace=True)
