"""A file of several networks: safetensors, as a model file is, with a number before each tensor.

tensors         0.W1, 0.b1, ... of member 0, 1.W1, ...; and arrays by name
__metadata__    format "fastnn-ensemble", version, and two JSON texts:
                networks   what NetworkSpec holds, of each distinct network; which each member is
                about      what the arrays do not tell: the estimator's own
"""

from __future__ import annotations

from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from fastnn.errors import ModelFileError
from fastnn.files.foreign import opened
from fastnn.files.model import (
    ENSEMBLE,
    as_saved_network,
    check_loaded,
    json_text,
    read_tensor,
    tensors_of,
    write_atomically,
)
from fastnn.files.safetensors import Tensor, encode, loads, read_header
from fastnn.network.parameters import Parameters
from fastnn.network.spec import NetworkSpec

VERSION = 1
TEXTS = {"format", "version", "networks", "about"}


class Saved(NamedTuple):
    """What such a file holds: an ensemble, or a stream's learner, as about["estimator"] says."""

    members: list[Parameters]
    arrays: dict[str, np.ndarray]
    about: dict[str, Any]


def save(path: str | PathLike[str], saved: Saved) -> None:
    """Write the file; what stood at `path` stays until the new one is whole and on disk."""
    networks: list[NetworkSpec] = []
    for member in saved.members:
        if member.network not in networks:
            networks.append(member.network)
    texts = {
        "format": ENSEMBLE,
        "version": str(VERSION),
        "networks": json_text(
            {
                "networks": [network.architecture for network in networks],
                "members": [networks.index(member.network) for member in saved.members],
            }
        ),
        "about": json_text(saved.about),
    }
    tensors: dict[str, np.ndarray] = {}
    for i, member in enumerate(saved.members):
        tensors |= {f"{i}.{name}": array for name, array in tensors_of(member).items()}
    write_atomically(path, encode(tensors | saved.arrays, texts))


def estimator_of(path: str | PathLike[str]) -> Any:
    """What the file says that it is; None where it is none of these."""
    with opened(path) as (file, size):
        texts = read_header(file, size)[1]
        if texts.get("format") != ENSEMBLE:
            return None
        return loads(texts.get("about", "{}"), "about").get("estimator", "")


def load(path: str | PathLike[str]) -> Saved:
    """The content of an ensemble's file. Raises ModelFileError."""
    with opened(path) as (file, size):
        tensors, texts = read_header(file, size)
        specs, about = _check(texts, len(tensors))
        members = []
        for i, spec in enumerate(specs):
            if spec.n_parameters * np.dtype(spec.dtype).itemsize > size:
                raise ModelFileError(f"must hold the tensors of member {i}, is too small for them")
            member = Parameters(spec, np.empty(spec.n_parameters, spec.dtype))
            for name, target in tensors_of(member).items():
                _read(file, tensors, f"{i}.{name}", target)
            check_loaded(member, f"{i}.")
            members.append(member)
        arrays = {}
        for name in list(tensors):
            one = tensors[name]
            arrays[name] = np.empty(one.shape, one.dtype.newbyteorder("="))
            _read(file, tensors, name, arrays[name])
    if odd := [name for name in arrays if name.partition(".")[0].isdigit()]:
        raise ModelFileError(f"must hold tensors of its members alone, got {odd[0]!r:.50} too")
    return Saved(members, arrays, about)


def _check(texts: dict[str, str], n_tensors: int) -> tuple[list[NetworkSpec], dict[str, Any]]:
    """The network of each member, and what is said about all."""
    if set(texts) != TEXTS or texts["format"] != ENSEMBLE:
        raise ModelFileError("must be an ensemble saved by fastnn")
    if texts["version"] != str(VERSION):
        raise ModelFileError(
            f"version must be {VERSION}, got {texts['version']!r:.50}: another fastnn wrote it"
        )
    known = loads(texts["networks"], "networks")
    described, chosen = known.get("networks"), known.get("members")
    if not isinstance(described, list) or not all(isinstance(one, dict) for one in described):
        raise ModelFileError("networks must be a list of objects")
    networks = [as_saved_network(one, n_tensors) for one in described]
    n = len(networks)
    if not isinstance(chosen, list) or not 0 < len(chosen) <= n_tensors:
        raise ModelFileError("members must be a list with a number for each")
    if not all(type(i) is int and 0 <= i < n for i in chosen):
        raise ModelFileError(f"members must be numbers of the {n} networks")
    return [networks[i] for i in chosen], loads(texts["about"], "about")


def _read(file: Any, tensors: dict[str, Tensor], name: str, target: np.ndarray) -> None:
    """Fill `target` with a tensor of its shape and dtype, which is then no longer among those to be
    read."""
    tensor = tensors.pop(name, None)
    if tensor is None:
        raise ModelFileError(f"must hold the tensor {name!r:.50}")
    if tensor.shape != target.shape or tensor.dtype.newbyteorder("=") != target.dtype:
        raise ModelFileError(
            f"tensor {name!r:.50} must be {target.dtype.name} of shape {target.shape}, "
            f"got {tensor.dtype.name} of shape {tensor.shape}"
        )
    read_tensor(file, tensor, target, name)
