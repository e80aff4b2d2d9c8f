"""What a file of `export` keeps beside its graph, and a model that is as it was.

A sequential network is read from its graph, which may have been edited since; what that does not
tell comes from the property. Of a network that is none (embeddings, parametric activations) the
property says which constants are theta, and by a digest that the graph is as it was written.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.checks import name_of
from fastnn.errors import ModelFileError
from fastnn.files import model as storage
from fastnn.files.safetensors import loads
from fastnn.model import Model
from fastnn.network.activations import is_parametric, parameter_of
from fastnn.network.norms import BatchNorm
from fastnn.network.parameters import Parameters
from fastnn.network.spec import NetworkSpec, as_network
from fastnn.onnx.file import as_array
from fastnn.onnx.graph import PROPERTY, VERSION, digest

KEYS = {"version", "begin", "end", "architecture", "seed", "metadata"}
SEAL = {"theta", "sha256"}
KINDS = {"begin": str, "end": str, "metadata": dict, "architecture": dict}


def properties(proto: Any) -> dict[str, Any]:
    """What is kept beside the graph; of other files nothing."""
    for entry in proto.metadata_props:
        if entry.key != PROPERTY:
            continue
        content = loads(entry.value, f"property {PROPERTY}")
        version = content.get("version")
        if type(version) is not int or not 0 < version <= VERSION:
            raise ModelFileError(f"property {PROPERTY}: version must be {VERSION}, got {version!r}")
        if "estimator" in content:
            raise ModelFileError(
                f"must be of one network, this is a {content['estimator']!s:.50}: load the file "
                "that its save wrote"
            )
        if set(content) - SEAL != KEYS or not all(
            isinstance(content[name], kind) for name, kind in KINDS.items()
        ):
            raise ModelFileError(f"property {PROPERTY} must have {', '.join(sorted(KEYS))}")
        return content
    return {}


def told_by_the_graph(network: NetworkSpec) -> bool:
    """Whether it is a sequence of layers that a graph's nodes tell."""
    return not network.has_inputs and not any(map(is_parametric, network.activations))


def as_written(proto: Any, ours: dict[str, Any], output: Any, loss: Any) -> Model | None:
    """The model, a batch's normalisation folded, where `ours` alone tells; None where its graph
    does. output, loss: as of `load`."""
    saved = storage.as_saved_network(ours["architecture"]) if ours else None
    if saved is None or told_by_the_graph(saved):
        return None
    if ours.get("sha256") != digest(proto.graph):
        raise ModelFileError(
            "must be as fastnn wrote it, since a graph with embeddings, feature_scale or "
            "parametric activations is not read node by node: load the file that Model.save wrote"
        )
    if output is not None and saved.output not in ("identity", output):
        raise ValueError(f"output must be left out, the network ends in {name_of(saved.output)}")
    batch = [isinstance(one, BatchNorm) for one in (*saved.norm, None)]
    network = as_network(
        *(saved.sizes, saved.activations, output or saved.output, loss or saved.loss),
        [bias or folded for bias, folded in zip(saved.bias, batch, strict=True)],
        *(saved.dtype, saved.dropout, saved.noise),
        [None if folded else one for one, folded in zip(saved.norm, batch, strict=False)],
        *(saved.input_scale, saved.embeddings, saved.feature_scale, saved.monotone),
    )
    return _assembled(network, _theta(proto, ours, network), ours["seed"], ours["metadata"])


def _theta(proto: Any, ours: dict[str, Any], network: NetworkSpec) -> np.ndarray:
    there = {one.name: one for one in proto.graph.initializer}
    names = ours.get("theta")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelFileError(f"property {PROPERTY}: theta must be a list of names")
    if absent := [name for name in names if name not in there]:
        raise ModelFileError(f"property {PROPERTY}: theta must be tensors, got {absent[0]!r:.50}")
    parts = [as_array(there[name], f"tensor {name!r:.100}").reshape(-1) for name in names]
    n, dtype = sum(map(len, parts)), network.dtype
    if n != network.n_parameters or any(part.dtype != dtype for part in parts):
        raise ModelFileError(
            f"property {PROPERTY}: theta must be {network.n_parameters} numbers of {dtype}, got {n}"
        )
    return np.concatenate(parts)


def as_it_was(model: Model, ours: dict[str, Any]) -> Model:
    """The model with what the graph does not tell: loss, dropout, seed, and float64 parameters of
    activations; unless the graph is another one by now."""
    if not ours:
        return model
    saved = storage.as_saved_network(ours["architecture"])
    if as_layers(saved) != as_layers(model._network):
        return model
    return _assembled(saved, model.theta, ours["seed"], model.metadata)


def _assembled(
    network: NetworkSpec, theta: np.ndarray, seed: Any, metadata: dict[str, Any]
) -> Model:
    whole = Model.__new__(Model)
    whole._assemble(Parameters(network, theta), storage.as_saved_seed(seed), metadata, None)
    return whole


def as_layers(network: NetworkSpec) -> list[Any]:
    """What a graph tells of it: numbers as the float32 that attributes are."""
    functions = [
        (name_of(one), np.float32(parameter_of(one)))
        for one in (*network.activations, network.output)
    ]
    norms = [norm and (norm.name, np.float32(norm.epsilon)) for norm in network.norm]
    return [network.dtype, network.sizes, network.bias, functions, norms]
