"""Networks of PyTorch: a torch.nn.Sequential in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fastnn.checks import name_of
from fastnn.errors import optional
from fastnn.interop import steps as chain
from fastnn.interop.arrays import of_tensor
from fastnn.interop.steps import Apply, Dropout, Linear, Normalize, Step
from fastnn.model import Model
from fastnn.network.activations import ELU, TABLE, Activation, LeakyReLU, is_parametric
from fastnn.network.losses import Loss
from fastnn.network.norms import BatchNorm, LayerNorm
from fastnn.network.spec import LayerSpec


def from_torch(
    module: Any, *, output: str | Activation | None = None, loss: str | Loss | None = None
) -> Model:
    """The network of a ``torch.nn.Sequential``, as it predicts in ``eval()``.

    Parameters
    ----------
    module : torch.nn.Sequential
        Of Linear, activations, Softmax or LogSoftmax at the end, BatchNorm1d and LayerNorm, Dropout
        (kept for training), Flatten, Identity and Sequential. Weights are copied; a module that
        stands in several places becomes a layer of its own at each.
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
        A module that a sequential network of fastnn has not, or one with a hook, a
        parametrization or a forward of its own, which may compute anything; the error names it.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> import fastnn
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> fastnn.interop.from_torch(net).sizes
    [4, 8, 3]
    """
    torch = optional("torch", "from_torch")
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    with torch.no_grad():
        steps = list(_steps(torch, module, ""))
    return chain.as_model(steps, output=output, loss=loss)


def _steps(torch: Any, module: Any, name: str) -> Iterator[Step]:
    where = f"module {name or '(itself)'} ({type(module).__name__})"
    kind = next((kind for kind in MODULES if type(module) is getattr(torch.nn, kind, None)), None)
    if kind is not None or type(module) is torch.nn.Sequential:
        _check_plain(torch, module, where)
    if type(module) is torch.nn.Sequential:
        for key, child in module._modules.items():  # named_children() leaves out what comes again
            yield from _steps(torch, child, f"{name}.{key}" if name else key)
    elif kind is None:
        _check_parametrized(torch, module, where)
        raise ValueError(
            f"{where}: fastnn has no such module; it knows Sequential, {', '.join(MODULES)}. Of a "
            "forward in Python, build the Sequential it stands for, or torch.onnx.export it for "
            "fastnn.onnx.load"
        )
    else:
        yield from chain.named(where, MODULES[kind], module, where)


def _check_plain(torch: Any, module: Any, where: str) -> None:
    """Refuse what computes something else than a module of its class would."""
    for kind in ("_forward_pre_hooks", "_forward_hooks"):
        hooks = [*getattr(module, kind).values(), *_global_hooks(torch, kind)]
        for hook in hooks:
            called = getattr(hook, "__name__", type(hook).__name__)
            raise ValueError(
                f"{where}: must have no forward hooks, which may change what it computes; got "
                f"{called} (weight_norm, spectral_norm and prune are removed by "
                "remove_weight_norm, remove_spectral_norm, prune.remove)"
            )
    if "forward" in vars(module):
        raise ValueError(f"{where}: must have the forward of its class, got one of its own")


def _check_parametrized(torch: Any, module: Any, where: str) -> None:
    """Say how to bake in what gave the module a class of its own."""
    if torch.nn.utils.parametrize.is_parametrized(module):
        (name, *_) = module.parametrizations
        raise ValueError(
            f"{where}: must have plain weights, its {name} has a parametrization; bake it in with "
            f"torch.nn.utils.parametrize.remove_parametrizations(module, {name!r})"
        )


def _global_hooks(torch: Any, kind: str) -> list[Any]:
    return list(getattr(torch.nn.modules.module, f"_global{kind}", {}).values())


def _linear(m: Any, where: str) -> list[Step]:
    return [Linear(of_tensor(m.weight), None if m.bias is None else of_tensor(m.bias), where)]


def _batch_norm(m: Any, where: str) -> list[Step]:
    if m.running_mean is None:
        raise ValueError(f"{where}: must track running statistics")
    norm = BatchNorm(0.1 if m.momentum is None else m.momentum, m.eps)
    gamma, beta = (None if p is None else of_tensor(p) for p in (m.weight, m.bias))
    statistics = of_tensor(m.running_mean), of_tensor(m.running_var)
    return [Normalize(norm, gamma, beta, *statistics, where)]


def _layer_norm(m: Any, where: str) -> list[Step]:
    if len(m.normalized_shape) != 1:
        raise ValueError(f"{where}: must be over one dimension, got {tuple(m.normalized_shape)}")
    gamma, beta = (None if p is None else of_tensor(p) for p in (m.weight, m.bias))
    return [Normalize(LayerNorm(m.eps), gamma, beta, None, None, where)]


def _softmax(m: Any, where: str) -> list[Step]:
    if m.dim not in (-1, 1):
        raise ValueError(f"{where}: must have dim=1 or -1, the outputs of a row, got {m.dim}")
    return [Apply("softmax", where)]


def _prelu(m: Any, where: str) -> list[Step]:
    slopes = of_tensor(m.weight)
    if len(slopes) != 1:
        raise ValueError(f"{where}: must have one slope for all units, got {len(slopes)}")
    return [Apply(LeakyReLU(float(slopes[0])), where)]


def _softplus(m: Any, where: str) -> list[Step]:
    if m.threshold < 15:  # beyond it PyTorch's is a line: there e^-15 = 3e-7 is left out
        raise ValueError(f"{where}: must have a threshold of at least 15, got {m.threshold:g}")
    return chain.stretched("softplus", m.beta, where)


def _flatten(m: Any, where: str) -> list[Step]:
    if m.start_dim != 1 or m.end_dim != -1:
        raise ValueError(f"{where}: must keep the rows, start_dim=1 and end_dim=-1")
    return []


def _applies(activation: str) -> Callable[[Any, str], list[Step]]:
    return lambda m, where: [Apply(activation, where)]


MODULES: dict[str, Callable[[Any, str], list[Step]]] = {
    known.torch: _applies(name) for name, known in TABLE.items() if known.torch
} | {
    "Linear": _linear,
    "BatchNorm1d": _batch_norm,
    "LayerNorm": _layer_norm,
    "Dropout": lambda m, where: [Dropout(rate=m.p)],
    "Flatten": _flatten,
    "LeakyReLU": lambda m, where: [Apply(LeakyReLU(m.negative_slope), where)],
    "PReLU": _prelu,
    "ELU": lambda m, where: [Apply(ELU(m.alpha), where)],
    "CELU": lambda m, where: chain.stretched("elu", 1 / m.alpha, where),
    "Softplus": _softplus,
    "GELU": lambda m, where: [Apply("gelu" if m.approximate == "none" else "gelu_tanh", where)],
    "Hardtanh": lambda m, where: chain.clipped(m.min_val, m.max_val, where),
    "ReLU6": lambda m, where: chain.clipped(0.0, 6.0, where),
    "Hardsigmoid": lambda m, where: chain.hard_sigmoid(1 / 6, 0.5, where),
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
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
        has noise on its layers, parametric activations, or columns that it encodes.

    Examples
    --------
    >>> import torch
    >>> import fastnn
    >>> net = fastnn.interop.to_torch(fastnn.Model([4, 8, 3], seed=0))
    >>> net(torch.zeros(1, 4)).shape
    torch.Size([1, 3])
    """
    torch = optional("torch", "to_torch")
    nn = torch.nn
    model._must_take_arrays("to_torch")
    model._must_begin_with_layer_1("to_torch")
    if any(model.noise):
        raise ValueError(
            f"model must have no noise, PyTorch has no module for it; got {model.noise}"
        )
    modules = [nn.Dropout(model.dropout[0])] if model.dropout[0] else []
    dtype = getattr(torch, model.dtype)
    for layer in model._network.layers:
        bias = layer.bias and layer.norm is None
        linear = nn.Linear(layer.n_in, layer.n_out, bias=bias, dtype=dtype)
        norm = _norm_module(nn, layer, dtype)
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
        if not (last and logits):
            modules += _activation_modules(nn, layer.activation)
        if not last and model.dropout[layer.k]:
            modules.append(nn.Dropout(model.dropout[layer.k]))
    return nn.Sequential(*modules).eval()


ARGUMENTS = {"gelu_tanh": ("tanh",), "softmax": (1,)}  # of the module, where it needs any


def _activation_modules(nn: Any, activation: str | Activation) -> list[Any]:
    """The module, none for identity."""
    name = name_of(activation)
    if name == "identity":
        return []
    if is_parametric(activation):
        raise ValueError(f"model must have no parametric activation for to_torch, got {activation}")
    kind = TABLE[name].torch
    if kind is None:
        raise ValueError(f"PyTorch has no module for {name}; pass logits=True to leave it out")
    own = (activation.parameter,) if isinstance(activation, Activation) else ARGUMENTS.get(name, ())
    return [getattr(nn, kind)(*own)]


def _norm_module(nn: Any, layer: LayerSpec, dtype: Any) -> Any:
    """The module of a layer's normalisation; its bias is the layer's, 0 where it has none."""
    if layer.norm is None:
        return None
    if isinstance(layer.norm, BatchNorm):
        return nn.BatchNorm1d(layer.n_out, layer.norm.epsilon, layer.norm.momentum, dtype=dtype)
    return nn.LayerNorm(layer.n_out, layer.norm.epsilon, bias=layer.bias, dtype=dtype)
