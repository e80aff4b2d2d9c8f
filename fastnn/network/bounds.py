"""Between which numbers the derivatives of a network lie, for all inputs.

    da^(K)/dx = W^(K) D^(K-1) W^(K-1) ... D^(1) W^(1) s dphi/dx,   D^(k) = g'(a^(k)) of each unit

with each g' anywhere in its range: interval arithmetic from the output to the inputs.
"""

from __future__ import annotations

import numpy as np

from fastnn.network.activations import slopes
from fastnn.network.embeddings import Categories, Periodic, in_order
from fastnn.network.parameters import alphas, embedded, views
from fastnn.network.spec import NetworkSpec

Interval = tuple[np.ndarray, np.ndarray]  # lower and upper ends


def derivative_bounds(network: NetworkSpec, theta: np.ndarray) -> Interval:
    """Lower and upper bounds of da^(K)_i/dx_j, (n_out, n_in) each, float64.

    Infinite of columns of codes. ValueError of a normalised network.
    """
    if any(network.norm):
        raise ValueError("derivative_bounds must have a network without normalisation")
    theta = theta.astype(np.float64)
    W, _ = views(network, theta)
    alpha = alphas(network, theta)
    low = high = W[len(W) - 1]
    for k in range(len(W) - 2, -1, -1):
        least, most = slopes(network.activations[k])
        ends: tuple[np.ndarray | float, np.ndarray | float] = least, most
        if (own := alpha[k]) is not None:  # parametric: h = a + alpha (g(a) - a)
            two = 1 + own * (least - 1), 1 + own * (most - 1)
            ends = np.minimum(*two), np.maximum(*two)
        low, high = _product((low, high), ends)
        up, down = np.maximum(W[k], 0), np.minimum(W[k], 0)
        low, high = low @ up + high @ down, high @ up + low @ down
    if network.feature_scale:
        s = theta[network.s]
        low, high = _product((low, high), (s, s))
    return _of_columns(network, theta, (low, high))


def _product(a: Interval, b: tuple[np.ndarray | float, np.ndarray | float]) -> Interval:
    ends = np.stack([x * y for x in a for y in b])
    return ends.min(0), ends.max(0)


def _of_columns(network: NetworkSpec, theta: np.ndarray, bounds: Interval) -> Interval:
    """From bounds by features those by columns of X."""
    low, high = (np.zeros((network.n_out, network.n_in)) for _ in range(2))
    own = (part for of in embedded(network, theta) for part in of)
    at = 0
    for one, _, column, width, n, edges, _ in in_order(network.embeddings, network.n_in):
        here = bounds[0][:, at : at + width], bounds[1][:, at : at + width]
        at += width
        p = {} if one is None else next(own)
        if one is None:
            low[:, column : column + width], high[:, column : column + width] = here
            continue
        if isinstance(one, Categories):
            low[:, column], high[:, column] = -np.inf, np.inf
            continue
        if isinstance(one, Periodic):
            swing = np.abs(p["V"]) @ np.abs(2 * np.pi * p["w"])
            least, most = np.concatenate([[1], -swing]), np.concatenate([[1], swing])
        else:
            assert edges is not None
            rises = edges[1][:, None] * (p["T"] if "T" in p else np.eye(n))  # one bin at a time
            least, most = rises.min(0), rises.max(0)
        least, most = _product(here, (least, most))
        low[:, column], high[:, column] = least.sum(1), most.sum(1)
    return low, high
