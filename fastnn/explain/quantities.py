"""Every number of one forward and one backward pass: what `Trace` shows."""

from __future__ import annotations

from typing import Any, Self, cast

import numpy as np

from fastnn.checks import as_real, name_of
from fastnn.explain.passes import forward_passes, input_pass
from fastnn.kernels._cpu import KEEPING, NORMS, OPTIMIZERS, OUTPUTS
from fastnn.kernels.layer import (
    features_gradient,
    gradient,
    hidden_delta,
    normalise_delta,
    output_delta,
    parametric_delta,
    slope,
    update,
)
from fastnn.network.activations import kernel
from fastnn.network.arrays import as_dense, as_numbers, as_pair
from fastnn.network.losses import for_kernel
from fastnn.network.parameters import alphas, embedded, gammas, inputs_of, statistics_of, views
from fastnn.network.spec import LayerSpec, NetworkSpec


class Quantities:
    """The numbers; attributes as of `fastnn.explain.trace.Trace`."""

    x: np.ndarray
    y: np.ndarray
    W: list[np.ndarray]
    b: list[np.ndarray | None]
    u: list[Any]  # as xhat and du: None without a norm
    xhat: list[Any]
    gamma: list[np.ndarray | None]
    alpha: list[np.ndarray | None]
    a: list[np.ndarray]
    h: list[np.ndarray]
    dh: list[Any]  # None unless the activation is parametric
    delta: list[np.ndarray]
    du: list[Any]
    grad_W: list[np.ndarray]
    grad_b: list[np.ndarray | None]
    grad_gamma: list[np.ndarray | None]
    grad_alpha: list[np.ndarray | None]
    features: Any  # as h_0 and delta_0: None without an input layer
    h_0: Any
    delta_0: Any
    phi: list[list[dict[str, np.ndarray]]]
    grad_phi: list[list[dict[str, np.ndarray]]]
    s: np.ndarray | None
    grad_s: np.ndarray | None
    loss: float
    after: Self | None

    def __init__(
        self,
        network: NetworkSpec,
        theta: np.ndarray,
        x: Any,
        y: Any,
        learning_rate: float | None = None,
        statistics: np.ndarray | None = None,
    ) -> None:
        if learning_rate is not None:
            learning_rate = as_real("learning_rate", learning_rate)
        self._network, self._theta = network, theta
        self._statistics = np.empty(0) if statistics is None else statistics
        self._single, X, Y = _as_rows(network, x, y)
        n, layers = len(X), network.layers
        W, b = views(network, theta)
        features, h_0 = input_pass(network, theta, X)
        passes = forward_passes(network, theta, self._statistics, X)
        a, h = [of.a for of in passes], [of.h for of in passes]
        u, xhat = [of.u for of in passes], [of.xhat for of in passes]
        delta = [np.empty_like(one) for one in a]
        du: list[np.ndarray | None] = [None] * len(layers)
        dh: list[np.ndarray | None] = [None] * len(layers)
        grad = np.zeros_like(theta)
        grad_W, grad_b = views(network, grad)
        gamma, grad_gamma = gammas(network, theta), gammas(network, grad)
        alpha, grad_alpha = alphas(network, theta), alphas(network, grad)
        losses = np.empty(n)
        ids = kernel(network.output), for_kernel(network.loss, network.n_out)
        output_delta(a[-1], Y, h[-1], delta[-1], losses, *ids, 1)
        own = delta[-1]
        for k in range(len(layers) - 1, -1, -1):
            h_prev = h[k - 1] if k else h_0
            gradient(delta[k], h_prev, grad_W[k], grad_b[k], 1)
            own = delta[k]  # dL/d(h_prev W^T)
            if (norm := layers[k].norm) is not None:
                du[k] = own = np.empty_like(own)
                of, scale, grad_scale = passes[k], gamma[k], grad_gamma[k]
                assert of.xhat is not None and of.inv is not None
                assert scale is not None and grad_scale is not None
                given = delta[k], of.xhat, scale, of.inv
                normalise_delta(*given, own, grad_scale, NORMS[norm.name])
                gradient(own, h_prev, grad_W[k], None, 1)
            if k:
                g, d = layers[k - 1].activation, h_prev
                if (own_alpha := grad_alpha[k - 1]) is not None:
                    below = passes[k - 1]
                    assert below.d is not None and below.e is not None
                    dh[k - 1] = of_h = np.empty_like(d)
                    hidden_delta(own, W[k], d, of_h, OUTPUTS["identity"], 1)
                    parametric_delta(of_h, below.d, below.e, delta[k - 1], own_alpha)
                    continue
                if name_of(g) in KEEPING:
                    slope(a[k - 1], d := np.empty_like(d), kernel(g))
                hidden_delta(own, W[k], d, delta[k - 1], kernel(g), 1)
        delta_0 = None
        if network.s.stop:
            delta_0 = np.empty_like(h_0)
            hidden_delta(own, W[0], h_0, delta_0, OUTPUTS["identity"], 1)
            description = inputs_of(network)
            assert description is not None
            features_gradient(X, theta, features, delta_0, grad, description)
        grad /= n

        if Y.ndim == 2:  # as given: with several quantiles a target stands in several columns
            Y = Y[:, :: network.n_out // network.n_targets]
        self.x, self.y = self._plain(X), self._plain(Y)
        self.a, self.h, self.delta = ([self._plain(one) for one in many] for many in (a, h, delta))
        self.u, self.xhat, self.du = ([self._plain(one) for one in m] for m in (u, xhat, du))
        self.W, self.b, self.grad_W, self.grad_b = list(W), list(b), list(grad_W), list(grad_b)
        self.gamma, self.grad_gamma = list(gamma), list(grad_gamma)
        self.alpha, self.grad_alpha = list(alpha), list(grad_alpha)
        has = network.has_inputs
        self.features, self.h_0 = (self._plain(one) if has else None for one in (features, h_0))
        self.delta_0 = self._plain(delta_0)
        self.phi, self.grad_phi = embedded(network, theta), embedded(network, grad)
        scaled = network.feature_scale
        self.s, self.grad_s = (v[network.s] if scaled else None for v in (theta, grad))
        self.dh = [self._plain(one) for one in dh]
        self.loss, self._losses = float(losses.mean()), losses
        self._grad = grad
        self._learning_rate = learning_rate
        self.after = None if learning_rate is None else cast("Self", self.step(learning_rate))

    def step(self, learning_rate: float) -> Self:
        """The same pass after theta <- theta - learning_rate dL/dtheta. Changes no model.

        Parameters
        ----------
        learning_rate : float

        Returns
        -------
        Trace
            Its W, b, h and loss are those after the step.
        """
        learning_rate = as_real("learning_rate", learning_rate)
        theta = self._theta.copy()
        none = np.empty((0, theta.size), theta.dtype)
        rates = {"learning_rate": learning_rate}
        update(theta, self._grad, none, OPTIMIZERS["sgd"], rates, 1, 1)
        return type(self)(self._network, theta, self.x, self.y, statistics=self._statistics)

    @property
    def _labels(self) -> bool:
        """Whether y are labels, not distributions."""
        return self._network.one_of_many and np.ndim(self.y) == (0 if self._single else 1)

    @property
    def _target(self) -> str:
        """What stands in the formulas: y, e(y) of a label, or either smoothed."""
        y = "e(y)" if self._labels else "y"
        if not (smoothing := getattr(self._network.loss, "label_smoothing", 0.0)):
            return y
        classes = 2 if self._network.output == "sigmoid" else self._network.n_out
        return f"({1 - smoothing:g} {y} + {smoothing:g} / {classes})"

    def _plain(self, rows: Any) -> Any:
        return rows[0] if self._single and rows is not None else rows

    def _of_norm(self, what: str, layer: LayerSpec) -> str:
        """The mean, or the like, that normalises u."""
        assert layer.norm is not None
        if layer.norm.name == "layer":
            return f"{what} over units"
        return f"running {what}" if self._single or len(self.x) == 1 else f"{what} over rows"

    def _moments(self, layer: LayerSpec) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance that normalise u, alike in shape."""
        assert layer.norm is not None
        u = np.atleast_2d(self.u[layer.k - 1])
        if (of := self._of_norm("", layer)).startswith("running"):
            pair = statistics_of(self._network, self._statistics)[layer.k - 1]
            assert pair is not None
            moments = pair
        else:
            axis = 1 if of == " over units" else 0
            moments = u.mean(axis, keepdims=True), u.var(axis, keepdims=True)
        mean, variance = (np.broadcast_to(one, u.shape) for one in moments)
        return mean, variance


def _as_rows(network: NetworkSpec, x: Any, y: Any) -> tuple[bool, np.ndarray, np.ndarray]:
    """Whether x is one sample; x and y as rows."""
    x, y = as_numbers("x", x), as_numbers("y", y)
    single = x.ndim == 1
    if not single:
        x, y = as_pair(x, y, network)
        return False, as_dense(x, network), y
    if y.size == 1 and network.one_of_many and network.n_out > 1:
        y = y.reshape(())  # a label
    x, y = as_pair(x[None], y[None], network)
    return True, as_dense(x, network), y
