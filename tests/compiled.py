"""The compiled twin of a reference network, for tests."""

from __future__ import annotations

import numpy as np
import reference as ref

import fastnn
from fastnn.kernels import _cpu
from fastnn.kernels.engine import Engine
from fastnn.network.activations import hidden_kernel, kernel
from fastnn.network.embeddings import kernel as phi_kernel
from fastnn.network.norms import CLASSES

# The instruction sets that give the same bits: those with FMA; of a CPU without, its own.
ALIKE = [isa for isa in _cpu.isas() if isa != "baseline"] or ["baseline"]


def kernel_settings(net):
    """The loss's settings, with a q for each output."""
    settings = {**ref.SETTINGS.get(net.loss_name, {}), **dict(net.settings)}
    if "q" in settings:
        settings["q"] = tuple(np.broadcast_to(settings["q"], net.sizes[-1]).tolist())
    return settings


def activation(g):
    """fastnn's own for an activation of the reference: a name, or a name and its parameter."""
    if isinstance(g, str):
        return g
    if g[0] == "parametric":
        return fastnn.Parametric(activation(g[1]))
    return {"leaky_relu": fastnn.LeakyReLU, "elu": fastnn.ELU}[g[0]](g[1])


def norm_of(norm):
    """fastnn's own for a normalisation of the reference."""
    if norm is None:
        return None
    kind, momentum, epsilon = norm
    momentum = {"momentum": momentum} if kind == "batch" else {}
    return CLASSES[kind](epsilon=epsilon, **momentum)


def embedding(one):
    """fastnn's own for an embedding of the reference."""
    kind, columns, *settings = one
    if kind == "categories":
        return fastnn.Categories(*columns, *settings)
    return {"periodic": fastnn.Periodic, "piecewise": fastnn.PiecewiseLinear}[kind](
        columns, *settings
    )


def inputs_of(net, dtype):
    """The input layer of a reference.Net, for kernels."""
    own = [embedding(one) for one in net.embeddings]
    return phi_kernel(own, net.feature_scale, net.sizes[0], dtype)


def counted(taken=0, number=None):
    """Steps of the optimizer and of all optimizers, as `Engine.train` counts them on."""
    return np.array([taken, taken if number is None else number])


def engine_of(net, dtype, batch=1, optimizer="sgd"):
    """An Engine for a reference.Net; batch: the most rows of a mini-batch."""
    return Engine(
        net.sizes,
        [hidden_kernel(activation(g)) for g in net.g[1:-1]],
        kernel(activation(net.output)),
        (_cpu.LOSSES[net.loss_name], kernel_settings(net)),
        net.has_bias[1:],
        dtype,
        batch,
        _cpu.OPTIMIZERS[optimizer],
        net.dropout or (),
        net.noise or (),
        [norm and (_cpu.NORMS[norm[0]], norm[2], norm[1]) for norm in net.norms[1:-1]],
        phi=inputs_of(net, dtype),
        directions=net.directions and [np.array(one, dtype) for one in net.directions],
        bfloat16=net.bfloat16,
    )
