"""Networks from arrays alone: parameters of JAX, a state_dict, a safetensors file of weights."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from typing import Any

import numpy as np

from fastnn.files import safetensors
from fastnn.interop import steps as chain
from fastnn.interop.steps import Apply, Linear, Step
from fastnn.model import Model
from fastnn.network.activations import Activation
from fastnn.network.losses import Loss

TRIES = 10_000  # partial orders of layers looked at, far more than a plain network has


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
        dict with "kernel" (n_in, n_out) and "bias" for each layer, as Flax's ``params``: in the
        order of the numbers in their names (Dense_0, Dense_1, ...), or else the only one in which
        their shapes follow one another. Copied.
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
        Pairs or shapes that do not fit, or names that do not tell the order of the layers.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layers = [(np.zeros((4, 8)), np.zeros(8)), (np.zeros((8, 3)), np.zeros(3))]
    >>> fastnn.interop.from_jax(layers, activation="relu", output="softmax").sizes
    [4, 8, 3]
    """
    if isinstance(params, Mapping):
        weights = {".".join(key): value for key, value in _leaves(params)}
        layers, other = _layers_in(weights, "kernel")
        if other or not layers:
            raise ValueError(
                f"must hold the kernel and bias of dense layers alone, got {_listed(other)}"
            )
        layers = [(name, W.T, b) for name, W, b in layers]
        return _built(
            _in_order(layers, "pass a list of (W, b), a pair for each"), activation, output, loss
        )
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
        The NAMEs in the order of the network. By default all there are: of a ``state_dict()`` in
        its order; of a file and of a dict sorted like one, which tell none, in the order of the
        numbers in their names, or else the only one in which their shapes follow one another.

    Returns
    -------
    Model

    Raises
    ------
    ModelFileError
        The file is damaged.
    ValueError
        Tensors of other layers, such as BatchNorm's, shapes that do not follow one another, or
        names that do not tell the order.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> weights = {"0.weight": np.zeros((8, 4)), "2.weight": np.zeros((3, 8))}
    >>> fastnn.interop.from_state_dict(weights, activation="relu", output="softmax").sizes
    [4, 8, 3]
    """
    if isinstance(source, Mapping):
        weights = dict(source)
    else:
        weights = safetensors.read_foreign(source)
    if layers is not None:
        chosen = []
        for name in layers:
            if f"{name}.weight" not in weights:
                raise ValueError(f"layers must be there, {name!r} has no {name}.weight")
            parts = {f"{name}.{part}" for part in ("weight", "bias")}
            one, _ = _layers_in({k: weights[k] for k in weights if k in parts}, "weight")
            chosen += one
        return _built(chosen, activation, output, loss)
    found, other = _layers_in(weights, "weight")
    if other or not found:
        raise ValueError(
            f"must hold the weight and bias of linear layers alone, got {_listed(other)}; name "
            "those to take with layers=[...], or build the module and use from_torch"
        )
    names = [name for name, _, _ in found]
    if not isinstance(source, OrderedDict) and names == sorted(names):  # the alphabet's, of a file
        found = _in_order(found, "name them in order with layers=[...]")
    return _built(found, activation, output, loss)


NamedLayer = tuple[str, np.ndarray, Any]  # name, W, b


def _layers_in(weights: Mapping[str, Any], weight: str) -> tuple[list[NamedLayer], list[str]]:
    """(name, W as it is, b) of each NAME.`weight` and its bias, and the names left over."""
    layers, used = [], set()
    for name in weights:
        prefix, _, last = name.rpartition(".")
        if last != weight:
            continue
        bias = f"{prefix}.bias" if prefix else "bias"
        W = as_array(weights[name])
        if W.ndim != 2:
            raise ValueError(f"{name} must be a matrix of a linear layer, got shape {W.shape}")
        layers.append((prefix or name, W, weights.get(bias)))
        used |= {name, bias}
    return layers, [name for name in weights if name not in used]


def _listed(names: list[str]) -> str:
    return f"{', '.join(names) or 'none'!s:.200}"


def _in_order(layers: list[NamedLayer], otherwise: str) -> list[NamedLayer]:
    """Layers by the numbers in their names, where these tell; else in the one order that fits.

    The alphabet tells nothing: encoder, decoder.
    """
    layers = sorted(layers, key=lambda one: _natural(one[0]))
    keys = [_natural(name) for name, _, _ in layers]
    n = len(layers)
    before = [{j for j in range(i) if _by_number(keys[j], keys[i])} for i in range(n)]
    if all(len(before[i]) == i for i in range(n)):
        return layers
    orders = _orders([W.shape[::-1] for _, W, _ in layers], before)
    if len(orders) > 1:
        raise ValueError(
            f"the names of the layers must tell their order, {_listed([one[0] for one in layers])} "
            f"do not; {otherwise}"
        )
    return [layers[i] for i in orders[0]] if orders else layers


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Numbers as numbers, and before words."""
    parts = [part for part in re.split(r"(\d+)|\.", name) if part]
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]


def _by_number(first: list[tuple[int, int, str]], second: list[tuple[int, int, str]]) -> bool:
    """Whether two names differ first in a number."""
    pairs = (pair for pair in zip(first, second, strict=False) if pair[0] != pair[1])
    a, b = next(pairs, ((1,), (1,)))
    return a[0] == b[0] == 0


def _orders(sizes: list[tuple[int, int]], before: list[set[int]]) -> list[list[int]]:
    """Up to two orders in which each layer (n_in, n_out) takes what the one before it gives, and
    follows those it must; two also where there are too many to look at."""
    found: list[list[int]] = []
    open_: list[list[int]] = [[]]
    for _ in range(TRIES):
        if not open_ or len(found) == 2:
            return found
        order = open_.pop()
        if len(order) == len(sizes):
            found.append(order)
            continue
        for i, (n_in, _) in enumerate(sizes):
            fits = not order or sizes[order[-1]][1] == n_in
            if fits and i not in order and before[i] <= set(order):
                open_.append([*order, i])
    return [[], []]


def of_tensor(tensor: Any) -> np.ndarray:
    """A tensor of PyTorch, of any device and float type; narrow ones become float32."""
    tensor = tensor.detach().cpu()
    array: np.ndarray = (tensor if tensor.element_size() >= 4 else tensor.float()).numpy()
    return array


def as_array(value: Any) -> np.ndarray:
    return of_tensor(value) if hasattr(value, "detach") else np.asarray(value)


def _built(layers: list[NamedLayer], activation: Any, output: Any, loss: Any) -> Model:
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
        b = None if b is None else as_array(b)
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
