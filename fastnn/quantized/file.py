"""The file of a predictor in 8 bits: safetensors, as a model file is.

tensors         w1 (n_1, n_0) int8, scale1 (n_1,), and (n_1,) where the layer has them b1, gamma1,
                alpha1; w2, ...: all but w float32
__metadata__    format "fastnn-int8", version, and two JSON texts:
                architecture   what NetworkSpec holds
                codes          of the inputs of each layer scale and zero, or null in all
"""

from __future__ import annotations

import math
from os import PathLike
from typing import Any

import numpy as np

from fastnn.errors import ModelFileError
from fastnn.files.foreign import opened
from fastnn.files.model import INT8, as_saved_network, json_text, read_tensor, write_atomically
from fastnn.files.safetensors import WITH_INT8, Tensor, encode, loads, read_header
from fastnn.kernels._cpu import WEIGHT_SUM
from fastnn.network.activations import is_parametric
from fastnn.network.spec import LayerSpec, NetworkSpec
from fastnn.quantized.weights import (
    INPUTS_MAX,
    SMALLEST,
    Codes,
    Int8Layer,
    sums_of_signs,
)

VERSION = 1


def save(path: str | PathLike[str], network: NetworkSpec, layers: list[Int8Layer]) -> None:
    """Write the file; what stood at `path` stays until the new one is whole and on disk."""
    codes = [None if of.codes is None else [of.codes.scale, of.codes.zero] for of in layers]
    texts = {
        "format": INT8,
        "version": str(VERSION),
        "architecture": json_text(network.architecture),
        "codes": json_text({"inputs": codes}),
    }
    tensors = {
        f"{name}{k}": array
        for k, layer in enumerate(layers, 1)
        for name, array in layer._asdict().items()
        if isinstance(array, np.ndarray)
    }
    write_atomically(path, encode(tensors, texts))


def load(path: str | PathLike[str]) -> tuple[NetworkSpec, list[Int8Layer]]:
    """The content of such a file. Raises ModelFileError."""
    with opened(path) as (file, size):
        tensors, texts = read_header(file, size, WITH_INT8)
        network, codes = _check(texts, len(tensors))
        wanted = [_wanted(layer) for layer in network.layers]
        names = {f"{name}{k}" for k, of in enumerate(wanted, 1) for name in of}
        if names != set(tensors):
            raise ModelFileError(
                f"must hold the tensors {', '.join(sorted(names)):.200}, "
                f"got {', '.join(sorted(tensors)):.200}"
            )
        layers = []
        for k, (of, own) in enumerate(zip(wanted, codes, strict=True), 1):
            arrays = {
                name: _read(file, f"{name}{k}", tensors[f"{name}{k}"], *of[name]) for name in of
            }
            b, gamma, alpha = (arrays.get(name) for name in ("b", "gamma", "alpha"))
            layers.append(Int8Layer(arrays["w"], arrays["scale"], b, gamma, alpha, own))
            if sums_of_signs(layers[-1].w).max() > WEIGHT_SUM:
                raise ModelFileError(f"weights w{k} must sum up to {WEIGHT_SUM} at most in a group")
    return network, layers


def _wanted(layer: LayerSpec) -> dict[str, tuple[str, tuple[int, ...]]]:
    """dtype and shape of a layer's tensors."""
    of = {"w": ("int8", (layer.n_out, layer.n_in)), "scale": ("float32", (layer.n_out,))}
    there = {
        "b": layer.bias,
        "gamma": layer.norm is not None,
        "alpha": is_parametric(layer.activation),
    }
    return of | {name: of["scale"] for name, has in there.items() if has}


def _check(texts: dict[str, str], n_tensors: int) -> tuple[NetworkSpec, list[Codes] | list[None]]:
    if set(texts) != {"format", "version", "architecture", "codes"} or texts["format"] != INT8:
        raise ModelFileError("must be a predictor in 8 bits saved by fastnn")
    if texts["version"] != str(VERSION):
        raise ModelFileError(
            f"version must be {VERSION}, got {texts['version']!r:.50}: another fastnn wrote it"
        )
    network = as_saved_network(loads(texts["architecture"], "architecture"), n_tensors)
    batch = any(norm is not None and norm.name == "batch" for norm in network.norm)
    if network.compute_dtype != "float32" or network.has_inputs or batch:
        raise ModelFileError(
            "architecture: must be of float32, without embeddings, feature_scale and batch "
            "normalisation"
        )
    if max(network.sizes[:-1]) > INPUTS_MAX:
        raise ModelFileError(f"architecture: layers must have at most {INPUTS_MAX:,} inputs")
    codes = loads(texts["codes"], "codes").get("inputs")
    if not isinstance(codes, list) or len(codes) != len(network.layers):
        raise ModelFileError("codes must have an entry for each layer")
    if all(one is None for one in codes):
        return network, [None] * len(codes)
    return network, [_as_codes(one) for one in codes]


def _as_codes(value: Any) -> Codes:
    if not isinstance(value, list) or len(value) != 2:
        raise ModelFileError(f"codes must be pairs of scale and zero, got {value!r:.50}")
    scale, zero = value
    if not isinstance(scale, float) or not SMALLEST <= scale <= 1 / SMALLEST:
        raise ModelFileError(f"codes: a scale must be a positive float32, got {scale!r:.50}")
    if type(zero) is not int or not 0 <= zero <= 255:
        raise ModelFileError(f"codes: a zero must be one of 0 to 255, got {zero!r:.50}")
    rounded = np.float32(scale)
    return Codes(float(rounded), float(np.float32(1) / rounded), zero)


def _read(file: Any, name: str, tensor: Tensor, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if tensor.shape != shape or tensor.dtype.newbyteorder("=") != dtype:
        raise ModelFileError(
            f"tensor {name!r} must be {dtype} of shape {shape}, "
            f"got {tensor.dtype.name} of shape {tensor.shape}"
        )
    array = np.empty(math.prod(shape), dtype).reshape(shape)
    read_tensor(file, tensor, array, name)
    if not np.isfinite(array).all() or (name.startswith("scale") and (array <= 0).any()):
        raise ModelFileError(f"tensor {name!r} must be finite, and a scale above 0")
    return array
