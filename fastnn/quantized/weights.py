"""A network in 8 bits: weights and activations as integers, each with a scale.

    W_ij = scale_i w_ij          w in -127..127, a scale for each unit
    h_j  = scale (u_j - zero)    u in 0..255, a scale and a zero for all inputs of a layer

The formulas: docs/maths.md, section 12; what the integers are limited by: src/int8.h.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastnn.kernels._cpu import SUMMED, WEIGHT_SUM
from fastnn.network.parameters import alphas, gammas, statistics_of, views
from fastnn.network.spec import NetworkSpec

MOST = 127  # of a weight
INPUTS_MAX = 2**17  # of a layer: their products' sum stays within 32 bits
SMALLEST = float(np.finfo(np.float32).tiny)


class Codes(NamedTuple):
    """How the inputs of a layer become codes."""

    scale: float  # these two are of float32
    inverse: float
    zero: int


class Int8Layer(NamedTuple):
    """A layer's weights; all but w are float32, (n_out,)."""

    w: np.ndarray  # (n_out, n_in) int8
    scale: np.ndarray
    b: np.ndarray | None
    gamma: np.ndarray | None  # of layer normalisation
    alpha: np.ndarray | None
    codes: Codes | None  # None: found for each row, in all layers


class Folded(NamedTuple):
    """A layer of float32, with batch normalisation in its weights."""

    W: np.ndarray
    b: np.ndarray | None
    gamma: np.ndarray | None
    alpha: np.ndarray | None


def plain_spec(network: NetworkSpec) -> NetworkSpec:
    """The network that `folded` gives the weights of."""
    batch = [norm is not None and norm.name == "batch" for norm in network.norm]
    none = (0.0,) * len(network.bias)
    return replace(
        network,
        dtype="float32",
        bias=tuple(b or of for b, of in zip(network.bias, (*batch, False), strict=True)),
        norm=tuple(None if of else n for n, of in zip(network.norm, batch, strict=True)),
        dropout=none,
        noise=none,
        bfloat16=False,
    )


def folded(network: NetworkSpec, theta: np.ndarray, statistics: np.ndarray) -> list[Folded]:
    """Its layers in float32: W <- s W, b <- b - s mean, s = gamma / sqrt(variance + epsilon) of
    batch normalisation."""
    layers = []
    W, b = views(network, theta)
    gamma, alpha, running = (
        gammas(network, theta),
        alphas(network, theta),
        statistics_of(network, statistics),
    )
    for k, layer in enumerate(network.layers):
        of = Folded(W[k], b[k], gamma[k], alpha[k])
        if (own := running[k]) is not None and layer.norm is not None:
            mean, variance = own[0].astype(np.float64), own[1].astype(np.float64)
            s = of.gamma / np.sqrt(variance + layer.norm.epsilon)
            shift = -s * mean if of.b is None else of.b - s * mean
            of = Folded(of.W * s[:, None], shift, None, of.alpha)
        rest = (None if v is None else v.astype(np.float32) for v in of[1:])
        layers.append(Folded(of.W.astype(np.float32), *rest))
    return layers


def codes_of(low: float, high: float) -> Codes:
    """Those that hold all from low to high, and 0 exactly: as `code_range` in src/int8.h."""
    ends = np.array([min(low, 0), max(high, 0)], np.float32)
    left, right = ends / np.float32(255)
    scale = right - left if right - left >= SMALLEST else np.float32(1)
    inverse = np.float32(1) / scale
    return Codes(float(scale), float(inverse), int(np.rint(-ends[0] * inverse)))


def weights_in_8_bits(W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """w and scale (n_out,) of W (n_out, n_in): the smallest scale that keeps |w| to MOST, and sums
    of a few weights of one sign to WEIGHT_SUM. What rounding would carry beyond is cut."""
    W = W.astype(np.float64)
    sums = sums_of_signs(W)
    largest = np.maximum(np.abs(W).max(1) / MOST, sums.max((1, 2)) / WEIGHT_SUM)
    scale = np.where(largest >= SMALLEST, largest, 1).astype(np.float32)
    scale = np.where(scale < largest, np.nextafter(scale, np.float32(np.inf)), scale)
    exact = W / scale[:, None]
    w = np.rint(exact)
    over = sums_of_signs(w) > WEIGHT_SUM
    n, n_in = W.shape
    cut = np.repeat(over.any(2).reshape(n, -1, 2), 2, 2)  # [unit][group][of a four]
    cut = np.tile(cut, SUMMED).reshape(n, -1)[:, :n_in]
    return np.where(cut, np.trunc(exact), w).astype(np.int8), scale


def sums_of_signs(w: np.ndarray) -> np.ndarray:
    """Of the weights that meet in one sum of 16 bits, those above 0, and those below, summed up:
    (n_out, sums, 2). Inputs come in groups of 4 SUMMED; halves of all fours of a group meet."""
    n, n_in = w.shape
    padded = np.zeros((n, -(-n_in // (4 * SUMMED)) * 4 * SUMMED), np.result_type(w, np.int32))
    padded[:, :n_in] = w
    groups = padded.reshape(n, -1, SUMMED, 2, 2)  # [unit][group][four][half][weight]
    signs = [np.maximum(sign * groups, 0).sum((2, 4)).reshape(n, -1) for sign in (1, -1)]
    return np.stack(signs, 2)
