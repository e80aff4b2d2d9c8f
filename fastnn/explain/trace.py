"""One forward and one backward pass with everything in them, and the formula of each line."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.checks import as_real, name_of
from fastnn.explain.lines import (
    input_backward_lines,
    input_forward_lines,
    input_parameters,
    line,
)
from fastnn.explain.passes import forward_passes, input_pass
from fastnn.kernels._cpu import KEEPING, NORMS, OPTIMIZERS, OUTPUTS
from fastnn.kernels.backward import gradient, hidden_delta, parametric_delta
from fastnn.kernels.forward import slope
from fastnn.kernels.inputs import features_gradient
from fastnn.kernels.normalise import normalise_delta
from fastnn.kernels.output_delta import output_delta
from fastnn.kernels.update import update
from fastnn.network.activations import (
    TABLE,
    Activation,
    is_parametric,
    kernel,
    parameter_of,
    plain,
)
from fastnn.network.arrays import as_dense, as_numbers, as_pair
from fastnn.network.losses import for_kernel
from fastnn.network.parameters import alphas, embedded, gammas, inputs_of, views
from fastnn.network.spec import LayerSpec, NetworkSpec

# {y}: the target, e(y) where it is a label
LOSS_FORMULAS = {
    "squared_error": "1/2 sum (h - {y})^2",
    "binary_cross_entropy": "-sum [{y} ln h + (1 - {y}) ln(1 - h)]",
    "cross_entropy": "-sum {y} ln h",
    "absolute_error": "sum |h - {y}|",
    "huber": "sum c (|e| - c / 2), e = h - {y}, c = min(|e|, delta)",
    "quantile": "sum (1 - q) e where e > 0, -q e elsewhere, e = h - {y}",
    "poisson": "sum h - {y} ln h",
    "focal": "-sum {y} (1 - h)^gamma ln h",
    "hinge": "max(0, 1 + max_(j != y) h_j - h_y)",
}
# dL/dh, where delta = dL/dh g'(a); or delta itself where dL/dh does not help
SLOPES = {
    "squared_error": "h - {y}",
    "absolute_error": "sign(h - {y})",
    "huber": "max(-delta, min(h - {y}, delta))",
    "quantile": "(1 - q where h > {y}, -q elsewhere)",
}
DELTAS = {
    "focal softmax": "c - h sum c, c = -{y} (1 - h)^gamma (1 - gamma h ln h / (1 - h))",
    "focal sigmoid": "(1 - {y}) h^gamma (h - gamma (1 - h) ln(1 - h))"
    " - {y} (1 - h)^gamma (1 - h - gamma h ln h)",
    "hinge identity": "e(the largest other) - e(y) where L > 0, else 0",
    "squared_error softmax": "h * (e - sum e h), e = h - {y}",
}


class Trace:
    """All quantities of a pass; printing it shows the derivation. Made by `Model.trace`.

    Attributes
    ----------
    x, y : array
        As given: (n_in,), or (n, n_in) where there are several rows.
    features, h_0, delta_0 : array or None
        phi(x), h^(0) = s phi(x) and dL/dh^(0), where an input layer lies before layer 1:
        (n_features,), or (n, n_features). delta_0 is None where that has no parameters.
    a, h, delta : list of array
        Of each layer, a[0] being layer 1's a^(1); (n_k,), or (n, n_k).
    u, xhat, du : list of array
        Of normalised layers u = h_prev W^T, the same normalised, and dL/du; elsewhere None.
    dh : list of array
        Of layers whose activation is parametric dL/dh; elsewhere None.
    grad_W, grad_b, grad_gamma, grad_alpha : list of array
        dL/dW, dL/db, dL/dgamma and dL/dalpha of each layer, means over the rows; grad_b[k] is None
        without a bias, grad_gamma[k] without normalisation, grad_alpha[k] of an activation that is
        not parametric.
    W, b, gamma, alpha : list of array
        The parameters.
    phi, grad_phi : list of list of dict
        Parameters of the embeddings as `Model.phi` has them, and their gradients.
    s, grad_s : array (n_features,) or None
        The features' scales, and dL/ds.
    loss : float
        Mean over the rows.
    after : Trace or None
        The same pass after the step, where a learning rate was given.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Model([2, 2, 1], output="sigmoid", loss="squared_error", seed=0)
    >>> trace = model.trace([1.0, 0.0], [1.0])
    >>> trace.delta[1].shape, trace.grad_W[0].shape
    ((1,), (2, 2))
    """

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
        self.W, self.b, self.grad_W, self.grad_b = (list(v) for v in (W, b, grad_W, grad_b))
        self.gamma, self.grad_gamma = list(gamma), list(grad_gamma)
        self.alpha, self.grad_alpha = list(alpha), list(grad_alpha)
        has = network.has_inputs
        self.features, self.h_0 = (self._plain(one) if has else None for one in (features, h_0))
        self.delta_0 = self._plain(delta_0)
        self.phi, self.grad_phi = embedded(network, theta), embedded(network, grad)
        scaled = network.feature_scale
        self.s, self.grad_s = (v[network.s] if scaled else None for v in (theta, grad))
        self.dh = [self._plain(one) for one in dh]
        self.loss = float(losses.mean())
        self._grad = grad
        self._learning_rate = learning_rate
        self.after = None if learning_rate is None else self.step(learning_rate)

    def step(self, learning_rate: float) -> Trace:
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
        return Trace(self._network, theta, self.x, self.y, statistics=self._statistics)

    def __repr__(self) -> str:
        layers = self._network.layers
        network = self._network
        out, name = ("", "x") if network.has_inputs else (self._left_out(0), "x = h^(0)")
        lines = [f"data{out}", line(name, self.x), line("y", self.y)]
        if self._labels:
            lines.append(line("e(y)", np.eye(network.n_out)[self.y]))
        if network.has_inputs:
            assert self.features is not None and self.h_0 is not None
            given = network, self.x, self.phi, self.features, self.s, self.h_0
            n, of_n = network.n_in, network.n_features
            lines += ["", f"input layer: {n} -> {of_n}{self._left_out(0)}"]
            lines += input_forward_lines(*given)
        for layer in layers:
            lines += ["", *self._forward_lines(layer)]
        L = _loss_formula(network).replace("{y}", self._target)
        L += " = -ln h_y" if L == "-sum e(y) ln h" else ""
        L = L if self._single else f"mean over rows of {L}"
        lines += ["", f"loss ({_loss_name(network)})", line(f"L = {L}", self.loss)]
        for layer in reversed(layers):
            lines += ["", *self._backward_lines(layer)]
        if self.delta_0 is not None:
            above = "delta^(1)" if self.du[0] is None else "dL/du^(1)"
            own = self.phi, self.grad_phi, self.s, self.grad_s, self.delta_0
            lines += ["", "back through the input layer"]
            lines += input_backward_lines(network, self.x, *own, above)
        if self.after is not None:
            lines += ["", *self._step_lines(self.after)]
        return "\n".join(lines)

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

    def _left_out(self, k: int) -> str:
        """What training does to h^(k), and this pass does not."""
        if k == len(self._network.layers):
            return ""
        did = {"noise": self._network.noise[k], "dropout": self._network.dropout[k]}
        shown = ", ".join(f"{name} {value:g}" for name, value in did.items() if value)
        return f" ({shown}: in training alone)" if shown else ""

    def _forward_lines(self, layer: LayerSpec) -> list[str]:
        k, name = layer.k, name_of(plain(layer.activation))
        parametric = is_parametric(layer.activation)
        bias = f" + b^({k})" if layer.bias else ""
        norm = f"{layer.norm.name} norm, " if layer.norm else ""
        lines = [
            f"layer {k}: {layer.n_in} -> {layer.n_out}, {norm}{'parametric ' * parametric}{name}"
            f"{self._left_out(k)}",
            line(f"W^({k})", self.W[k - 1]),
        ]
        if layer.bias:
            lines.append(line(f"b^({k})", self.b[k - 1]))
        product = f"h^({k - 1}) W^({k})T"
        if layer.norm:
            mean = self._of_norm("mean", layer)
            by = f"sqrt({self._of_norm('variance', layer)} + {layer.norm.epsilon:g})"
            lines += [
                line(f"gamma^({k})", self.gamma[k - 1]),
                line(f"u^({k}) = {product}", self.u[k - 1]),
                line(f"xhat^({k}) = (u^({k}) - {mean}) / {by}", self.xhat[k - 1]),
            ]
            product = f"gamma^({k}) * xhat^({k})"
        lines.append(line(f"a^({k}) = {product}{bias}", self.a[k - 1]))
        formula = f"{name}(a^({k})) = {_formulas(layer.activation)[0]}"
        if parametric:
            lines.append(line(f"alpha^({k})", self.alpha[k - 1]))
            g = _formulas(layer.activation)[0]
            formula = f"a^({k}) + alpha^({k}) (g(a^({k})) - a^({k})), g = {name}: {g}"
        return [*lines, line(f"h^({k}) = {formula}", self.h[k - 1])]

    def _of_norm(self, what: str, layer: LayerSpec) -> str:
        """The mean, or the like, that normalises u."""
        assert layer.norm is not None
        if layer.norm.name == "layer":
            return f"{what} over units"
        return f"running {what}" if self._single or len(self.x) == 1 else f"{what} over rows"

    def _backward_lines(self, layer: LayerSpec) -> list[str]:
        k, mean = layer.k, "" if self._single else f" / {len(self.x)}"
        if k == len(self._network.layers):
            title, g, above = "output", "", ""
            formula = _output_formula(self._network).replace("{y}", self._target)
        else:
            title, g = "hidden", _formulas(layer.activation)[1]
            above = f"dL/du^({k + 1})" if self.du[k] is not None else f"delta^({k + 1})"
            formula = f"({above} W^({k + 1})) * g'(a^({k})), g' = {g}"
        lines = [f"back through layer {k} ({title})"]
        if self.grad_alpha[k - 1] is not None:
            rows = "" if self._single else "sum over rows of "
            lines += [
                line(f"dL/dh^({k}) = {above} W^({k + 1})", self.dh[k - 1]),
                line(
                    f"dL/dalpha^({k}) = {rows}dL/dh^({k}) * (g(a^({k})) - a^({k})){mean}",
                    self.grad_alpha[k - 1],
                ),
            ]
            g = g if name_of(plain(layer.activation)) in KEEPING else f"{g} (h of g)"
            formula = f"dL/dh^({k}) * (1 + alpha^({k}) (g'(a^({k})) - 1)), g' = {g}"
        lines.append(line(f"delta^({k}) = dL/da^({k}) = {formula}", self.delta[k - 1]))
        own = f"delta^({k})"
        if layer.norm:
            own = f"dL/du^({k})"
            lines += [
                line(
                    f"dL/dgamma^({k}) = {'' if self._single else 'sum over rows of '}"
                    f"delta^({k}) * xhat^({k}){mean}",
                    self.grad_gamma[k - 1],
                ),
                line(f"{own} = {self._du_formula(layer)}", self.du[k - 1]),
            ]
        lines.append(line(f"dL/dW^({k}) = {own}T h^({k - 1}){mean}", self.grad_W[k - 1]))
        if layer.bias:
            rows = "" if self._single else "sum over rows of "
            lines.append(line(f"dL/db^({k}) = {rows}delta^({k}){mean}", self.grad_b[k - 1]))
        return lines

    def _du_formula(self, layer: LayerSpec) -> str:
        assert layer.norm is not None
        k, by = layer.k, f"sqrt({self._of_norm('variance', layer)} + {layer.norm.epsilon:g})"
        c = f"c / {by}, c = gamma^({k}) * delta^({k})"
        if self._of_norm("mean", layer).startswith("running"):
            return c
        over = self._of_norm("", layer).strip()
        return f"(c - mean of c - xhat * mean of c xhat, {over}) / {by}, {c.partition(', ')[2]}"

    def _step_lines(self, after: Trace) -> list[str]:
        rate = self._learning_rate
        lines = [f"step: theta <- theta - {rate} dL/dtheta"]
        new = input_parameters(self._network, after.phi, after.s)
        for name, old in input_parameters(self._network, self.phi, self.s).items():
            lines.append(f"{name} <- {name} - {rate} dL/d{name}")
            lines += [line("  before", old), line("  after", new[name])]
        for k in range(1, len(self.W) + 1):
            for name, before, now in (
                ("W", self.W[k - 1], after.W[k - 1]),
                ("b", self.b[k - 1], after.b[k - 1]),
                ("gamma", self.gamma[k - 1], after.gamma[k - 1]),
                ("alpha", self.alpha[k - 1], after.alpha[k - 1]),
            ):
                if before is not None:
                    lines.append(f"{name}^({k}) <- {name}^({k}) - {rate} dL/d{name}^({k})")
                    lines += [line("  before", before), line("  after", now)]
        lines += [f"output h^({len(self.W)})"]
        lines += [line("  before", self.h[-1]), line("  after", after.h[-1])]
        return [*lines, "loss L", line("  before", self.loss), line("  after", after.loss)]


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


def _output_formula(network: NetworkSpec) -> str:
    loss = name_of(network.loss)
    if f"{loss} {network.output}" in DELTAS:
        return DELTAS[f"{loss} {network.output}"]
    if loss not in SLOPES:
        return "h - {y}"
    if network.output == "identity":
        return SLOPES[loss]
    slope = SLOPES[loss] if loss != "squared_error" else "(h - {y})"
    return f"{slope} * g'(a), g' = {_formulas(network.output)[1]}"


def _loss_formula(network: NetworkSpec) -> str:
    loss = name_of(network.loss)
    if loss == "focal" and network.output == "sigmoid":
        return "-sum [{y} (1 - h)^gamma ln h + (1 - {y}) h^gamma ln(1 - h)]"
    return LOSS_FORMULAS[loss]


def _loss_name(network: NetworkSpec) -> str:
    """With its settings, where they are not the defaults' name alone."""
    return network.loss if isinstance(network.loss, str) else repr(network.loss)


def _formulas(activation: str | Activation) -> tuple[str, str]:
    """g(a) and g'(a), with the parameter's number."""
    known, p = TABLE[name_of(plain(activation))], f"{parameter_of(activation):g}"
    return known.g.replace("{p}", p), known.slope.replace("{p}", p)
