"""The forward pass with everything in it, layer by layer: for the trace and the gradient check."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.kernels._cpu import NORMS, OUTPUTS
from fastnn.kernels.layer import features, forward, normalise, parametric
from fastnn.network.activations import kernel
from fastnn.network.parameters import alphas, gammas, inputs_of, statistics_of, views
from fastnn.network.spec import NetworkSpec


class Pass(NamedTuple):
    """Of one layer and all rows: a and h, (n, n_k). Where it is normalised also u and xhat, alike,
    and inv = 1 / sqrt(variance + epsilon), (n_k,) of batch, (n,) of layer normalisation. Where its
    activation is parametric d = dh/da and e = dh/dalpha, (n, n_k)."""

    a: np.ndarray
    h: np.ndarray
    u: np.ndarray | None = None
    xhat: np.ndarray | None = None
    inv: np.ndarray | None = None
    d: np.ndarray | None = None
    e: np.ndarray | None = None


def input_pass(
    network: NetworkSpec, theta: np.ndarray, X: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """phi(X), and h^(0) = s phi(X): what layer 1 sees, (n, n_features)."""
    if (description := inputs_of(network)) is None:
        return X, X
    phi, h = (np.empty((len(X), network.n_features), network.dtype) for _ in range(2))
    features(X, theta, phi, h, description)
    return phi, h


def forward_passes(
    network: NetworkSpec, theta: np.ndarray, statistics: np.ndarray, X: np.ndarray
) -> list[Pass]:
    """As a training step sees the rows of X, without dropout and noise."""
    passes: list[Pass] = []
    W, b = views(network, theta)
    gamma, running = gammas(network, theta), statistics_of(network, statistics)
    alpha = alphas(network, theta)
    inputs = input_pass(network, theta, X)[1]
    for k, layer in enumerate(network.layers):
        h_prev, g = passes[-1].h if k else inputs, kernel(layer.activation)
        a, h, u, xhat = (np.empty((len(X), layer.n_out), network.dtype) for _ in range(4))
        norm = layer.norm
        if norm is None:
            forward(h_prev, W[k], b[k], a, OUTPUTS["identity"], 1)
            forward(h_prev, W[k], b[k], h, g, 1)
            passes.append(Pass(a, h))
            if (own := alpha[k]) is not None:
                passes[k] = _parametric(passes[k], own, g)
            continue
        forward(h_prev, W[k], None, u, OUTPUTS["identity"], 1)
        inv = np.empty(layer.n_out if norm.name == "batch" else len(X), network.dtype)
        mean, variance = running[k] or (None, None)
        out, scale = (xhat, a, h, inv), gamma[k]
        assert scale is not None
        normalise(u, scale, b[k], mean, variance, *out, NORMS[norm.name], norm.epsilon, g)
        passes.append(Pass(a, h, u, xhat, inv))
        if (own := alpha[k]) is not None:
            passes[k] = _parametric(passes[k], own, g)
    return passes


def _parametric(of: Pass, alpha: np.ndarray, g: Any) -> Pass:
    """It with h of a parametric activation."""
    h, d, e = (np.empty_like(of.a) for _ in range(3))
    parametric(of.a, alpha, h, d, e, g)
    return of._replace(h=h, d=d, e=e)
