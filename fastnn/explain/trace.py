"""One forward and one backward pass with everything in them, and the formula of each line."""

from __future__ import annotations

from os import PathLike

import numpy as np

from fastnn.checks import name_of
from fastnn.explain.formulas import activation_formulas, loss_formula, loss_name, output_formulas
from fastnn.explain.lines import (
    input_backward_lines,
    input_forward_lines,
    input_step_lines,
    line,
)
from fastnn.explain.quantities import Quantities
from fastnn.kernels._cpu import KEEPING
from fastnn.network.activations import is_parametric, plain
from fastnn.network.spec import LayerSpec


class Trace(Quantities):
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

    def __repr__(self) -> str:
        layers = self._network.layers
        network = self._network
        out, name = ("", "x") if network.has_inputs else (self._left_out(0), "x = h^(0)")
        lines = [f"data{out}", line(name, self.x), line("y", self.y)]
        if self._labels:
            lines.append(line("e(y)", np.eye(network.n_out)[self.y]))
        if network.has_inputs:
            n, of_n = network.n_in, network.n_features
            lines += ["", f"input layer: {n} -> {of_n}{self._left_out(0)}"]
            lines += input_forward_lines(self)
        for layer in layers:
            lines += ["", *self._forward_lines(layer)]
        L = loss_formula(network).replace("{y}", self._target)
        L += " = -ln h_y" if L == "-sum e(y) ln h" else ""
        L = L if self._single else f"mean over rows of {L}"
        lines += ["", f"loss ({loss_name(network)})", line(f"L = {L}", self.loss)]
        for layer in reversed(layers):
            lines += ["", *self._backward_lines(layer)]
        if self.delta_0 is not None:
            lines += ["", "back through the input layer", *input_backward_lines(self)]
        if self.after is not None:
            lines += ["", *self._step_lines(self.after)]
        return "\n".join(lines)

    def to_html(
        self, path: str | PathLike[str], *, learning_rate: float | None = None
    ) -> None:
        """Write the trace as a page to walk through in a browser.

        The network drawn with every number, and the steps in the order of docs/maths.md: each
        with its formula, and the letters replaced by this network's numbers. One file that loads
        nothing. A network too large to be drawn is told as text.

        Parameters
        ----------
        path : path
            Such as "step.html"; what stood there is replaced.
        learning_rate : float, optional
            Of the update and the pass after it; by default the trace's own. Without either the
            page ends before the update.

        Examples
        --------
        >>> import fastnn
        >>> model = fastnn.Model([2, 2, 1], output="sigmoid", seed=0)
        >>> model.trace([1.0, 0.0], [1.0], learning_rate=0.5).to_html("step.html")
        """
        from fastnn.files.atomic import replacing

        html = self._page(learning_rate)
        with replacing(path) as file:
            file.write(html.encode())

    def _repr_html_(self) -> str:
        from fastnn.explain.web import notebook

        return notebook(self._page())

    def _page(self, learning_rate: float | None = None) -> str:
        from fastnn.explain.web import trace_page  # here: a trace that is printed needs no page

        shown = self
        if learning_rate is not None:
            given = self._network, self._theta, self.x, self.y, learning_rate, self._statistics
            shown = Trace(*given)
        return trace_page(shown, repr(shown))

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
        formula = f"{name}(a^({k})) = {activation_formulas(layer.activation)[0]}"
        if parametric:
            lines.append(line(f"alpha^({k})", self.alpha[k - 1]))
            g = activation_formulas(layer.activation)[0]
            formula = f"a^({k}) + alpha^({k}) (g(a^({k})) - a^({k})), g = {name}: {g}"
        return [*lines, line(f"h^({k}) = {formula}", self.h[k - 1])]

    def _backward_lines(self, layer: LayerSpec) -> list[str]:
        k, mean = layer.k, "" if self._single else f" / {len(self.x)}"
        if k == len(self._network.layers):
            title, above = "output", ""
            formula, g = output_formulas(self._network)
            formula += f" * g'(a), g' = {g}" if g else ""
            formula = formula.replace("{y}", self._target)
        else:
            title, g = "hidden", activation_formulas(layer.activation)[1]
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

    def _step_lines(self, after: Quantities) -> list[str]:
        rate = self._learning_rate
        lines = [f"step: theta <- theta - {rate} dL/dtheta"]
        lines += input_step_lines(self, after)
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
