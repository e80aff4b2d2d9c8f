"""The steps of a trace in the lectures' order, each with its formula and this network's numbers.

    forward, layer by layer; loss; delta of the outputs; of hidden layers, downwards; outer
    products; biases; where there is a learning rate the update, and forward again
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from fastnn.checks import name_of
from fastnn.drawing.formula import Node, Numbers, letter, math_ml, number, parse, show, value
from fastnn.explain.formulas import activation_formulas, loss_formula, output_formulas
from fastnn.explain.lines import input_backward_lines, input_forward_lines, input_step_lines
from fastnn.explain.quantities import Quantities
from fastnn.kernels._cpu import KEEPING
from fastnn.network.activations import is_parametric, plain
from fastnn.network.losses import settings_of
from fastnn.network.spec import LayerSpec


class State(NamedTuple):
    """What a drawing of the network shows at a step. Layers count from 0, the inputs."""

    a: int  # the last layer whose a is known
    h: int
    d: int  # the first layer whose delta is known
    on: tuple[int, ...]  # layers that the step is about
    edges: str  # of those layers: W, G (dL/dW) or N (W after the update)
    loss: bool = False
    new: int = -1  # the last layer whose a and h are those after the update


class Step(NamedTuple):
    """rows: HTML with the numbers, of each row shown; all: of all rows together."""

    title: str
    told: str
    formulas: list[str]  # MathML
    rows: list[str]
    all: str
    state: State


class Steps:
    """Of a trace, for so many of its first rows."""

    def __init__(self, trace: Quantities, n_rows: int) -> None:
        self.trace, self.network = trace, trace._network
        self.n_rows, self.K = n_rows, len(self.network.layers)
        self.n = 1 if trace._single else len(trace.x)

    def __iter__(self) -> Iterator[Step]:
        trace, K = self.trace, self.K
        none = K + 1
        yield self._step(
            "The data",
            "A row of inputs x, and the target y that the outputs should have."
            if self.n == 1
            else f"{self.n} rows of inputs x, and the target y of each.",
            [] if self.network.has_inputs else ["x = h^(0)"],
            State(0, 0, none, (), "W"),
            self._data,
        )
        if self.network.has_inputs:
            state = State(0, 0, none, (), "W")
            yield self._text("The input layer", input_forward_lines(trace), state)
        for k in range(1, K + 1):
            yield from self._forward(k)
        yield self._loss()
        yield self._output_delta()
        for k in range(K - 1, 0, -1):
            yield self._hidden_delta(k)
        if trace.delta_0 is not None:
            yield self._text(
                "Back through the input layer",
                input_backward_lines(trace),
                State(K, K, 0, (1,), "W", True),
            )
        for k in range(K, 0, -1):
            yield self._outer_product(k)
        if any(layer.bias or layer.norm for layer in self.network.layers) or any(
            one is not None for one in trace.grad_alpha
        ):
            yield self._biases()
        if trace.after is not None:
            yield self._update()
            for k in range(1, K + 1):
                yield self._again(k)
            yield self._loss_again()

    # --- what steps are made of

    def _step(
        self,
        title: str,
        told: str,
        formulas: Sequence[str],
        state: State,
        rows: Callable[[int], str] | None = None,
        all: str = "",
    ) -> Step:
        shown = [] if rows is None else [rows(r) for r in range(self.n_rows)]
        general = [math_ml(show(parse(one)), block=True) for one in formulas]
        return Step(title, told, general, shown, all, state)

    def _text(self, title: str, lines: list[str], state: State) -> Step:
        text = escape("\n".join(lines))
        told = "As print(trace) shows it."
        return Step(title, told, [], [], f'<pre tabindex="0">{text}</pre>', state)

    def _data(self, r: int) -> str:
        trace = self.trace
        x = row_vector(np.atleast_2d(trace.x)[r])
        y = np.atleast_1d(trace.y)
        target = row_vector(np.atleast_1d(y if trace._single else y[r]))
        lines = [line("", math_ml("<mi>x</mi><mo>=</mo>", x))]
        if trace._labels:
            hot = row_vector(self._target_values(r))
            named = math_ml(f"<mo>,</mo>{letter('e(y)')}<mo>=</mo>", hot)
            label = np.ravel(y)[r]
            lines.append(line("", math_ml(f"<mi>y</mi><mo>=</mo><mn>{label}</mn>"), named))
        else:
            lines.append(line("", math_ml("<mi>y</mi><mo>=</mo>", target)))
        return "".join(lines)

    def _forward(self, k: int) -> Iterator[Step]:
        layer, none = self.network.layers[k - 1], self.K + 1
        bias = f" + b_i^({k})" if layer.bias else ""
        state = State(k, k - 1, none, (k,), "W")
        words = "Each unit weighs what the units below it send and adds that up"
        added = f"sum_j W_ij^({k}) h_j^({k - 1})"
        if layer.norm is None:
            yield self._step(
                f"Layer {k}: weighted sums",
                f"{words}, with its bias." if layer.bias else f"{words}.",
                [f"a_i^({k}) = {added}{bias}"],
                state,
                lambda r: self._sums(self.trace, k, r),
            )
        else:
            over = self.trace._of_norm("", layer).strip()
            by = f"sqrt(v_i + {layer.norm.epsilon:.9f}".rstrip("0") + ")"
            yield self._step(
                f"Layer {k}: weighted sums",
                f"{words}.",
                [f"u_i^({k}) = {added}"],
                state._replace(a=k - 1),
                lambda r: self._sums(self.trace, k, r),
            )
            yield self._step(
                f"Layer {k}: {layer.norm.name} normalisation",
                f"The sums are normalised by mean m and variance v ({over}), then scaled and moved "
                "by gamma and the bias."
                if layer.bias
                else f"The sums are normalised by mean m and variance v ({over}), then scaled.",
                [
                    f"xhat_i^({k}) = (u_i^({k}) - m_i) / {by}",
                    f"a_i^({k}) = gamma_i^({k}) xhat_i^({k}){bias}",
                ],
                state,
                lambda r: self._normalised(self.trace, k, r),
            )
        name = name_of(plain(layer.activation))
        g = activation_formulas(layer.activation)[0]
        formulas = [f"h_i^({k}) = g(a_i^({k}))", f"g(a) = {g}"]
        words = f"Each unit's sum goes through the activation, {name}."
        if is_parametric(layer.activation):
            formulas[0] = f"h_i^({k}) = a_i^({k}) + alpha_i^({k}) (g(a_i^({k})) - a_i^({k}))"
            words = f"Each unit's sum goes through the activation, {name}, with the unit's alpha."
        if name == "softmax":
            words = "Softmax makes probabilities: positive, and 1 in all."
        yield self._step(
            f"Layer {k}: activation",
            words,
            formulas,
            state._replace(h=k),
            lambda r: self._activated(self.trace, k, r),
        )

    def _sums(self, trace: Quantities, k: int, r: int) -> str:
        layer = self.network.layers[k - 1]
        below, W, b = self._inputs(trace, k)[r], np.asarray(trace.W[k - 1]), biases(trace, k)
        name, results = ("a", trace.a) if layer.norm is None else ("u", trace.u)
        result = rows_of(results[k - 1])[r]
        lines = []
        for i in range(layer.n_out):
            terms = [
                f"{number(W[i, j], j > 0)}<mo>·</mo>{number(below[j], True)}"
                for j in range(layer.n_in)
            ]
            if layer.bias and layer.norm is None:
                terms.append(number(b[i], True))
            lines.append(equation(unit(name, k, i), terms, result[i], f"{k}.{i}"))
        return "".join(lines)

    def _normalised(self, trace: Quantities, k: int, r: int) -> str:
        layer = self.network.layers[k - 1]
        assert layer.norm is not None
        u, xhat, a = (rows_of(of[k - 1])[r] for of in (trace.u, trace.xhat, trace.a))
        mean, variance = (of[r] for of in trace._moments(layer))
        gamma, b, lines = np.asarray(trace.gamma[k - 1]), biases(trace, k), []
        for i in range(layer.n_out):
            above = f"<mrow>{number(u[i])}<mo>−</mo>{number(mean[i], True)}</mrow>"
            below = f"{number(variance[i])}<mo>+</mo>{number(layer.norm.epsilon)}"
            fraction = f"<mfrac>{above}<msqrt>{below}</msqrt></mfrac>"
            lines.append(equation(unit("xhat", k, i), [fraction], xhat[i], f"{k}.{i}"))
        for i in range(layer.n_out):
            terms = [f"{number(gamma[i])}<mo>·</mo>{number(xhat[i], True)}"]
            terms += [number(b[i], True)] if layer.bias else []
            lines.append(equation(unit("a", k, i), terms, a[i], f"{k}.{i}"))
        return "".join(lines)

    def _activated(self, trace: Quantities, k: int, r: int) -> str:
        layer = self.network.layers[k - 1]
        a, h = (rows_of(of[k - 1])[r] for of in (trace.a, trace.h))
        g = parse(activation_formulas(layer.activation)[0])
        each = [{"a": float(one)} for one in a]
        lines = []
        for i in range(layer.n_out):
            shown = show(g, Numbers(each[i], each))
            if (alpha := trace.alpha[k - 1]) is not None:
                shown = (
                    f"{number(a[i])}<mo>+</mo>{number(alpha[i], True)}<mo>·</mo><mrow><mo>(</mo>"
                    f"{shown}<mo>−</mo>{number(a[i], True)}<mo>)</mo></mrow>"
                )
            lines.append(equation(unit("h", k, i), [shown], h[i], f"{k}.{i}"))
        return "".join(lines)

    def _loss(self) -> Step:
        K = self.K
        formula = self._loss_formula()
        words = "How far the outputs are from the target, as one number."
        if self.n > 1:
            words += f" The loss is the mean over the {self.n} rows."
        return self._step(
            f"Loss: {name_of(self.network.loss).replace('_', ' ')}",
            words,
            [f"L = {formula}"],
            State(K, K, K + 1, (K,), "W", True),
            lambda r: self._loss_line(self.trace, r),
            self._mean_loss(self.trace),
        )

    def _loss_line(self, trace: Quantities, r: int) -> str:
        name = "<mi>L</mi>" if self.n == 1 else f"<msub><mi>L</mi><mn>{r}</mn></msub>"
        shown = show(parse(self._loss_formula()), self._outputs(trace, r))
        return equation(name, [shown], trace._losses[r])

    def _mean_loss(self, trace: Quantities) -> str:
        if self.n == 1:
            return ""
        if self.n > self.n_rows:
            return equation("<mi>L</mi>", [], trace.loss)
        terms = [number(one, r > 0) for r, one in enumerate(trace._losses)]
        whole = f"<mfrac><mrow>{'<mo>+</mo>'.join(terms)}</mrow><mn>{self.n}</mn></mfrac>"
        return equation("<mi>L</mi>", [whole], trace.loss)

    def _outputs(self, trace: Quantities, r: int) -> Numbers:
        """What letters of loss and last delta stand for, each output's own in `each`."""
        h, target = rows_of(trace.h[-1])[r], self._target_values(r)
        settings = {
            name: of for name, of in settings_of(self.network.loss).items() if np.ndim(of) == 0
        }
        q = settings_of(self.network.loss).get("q")
        each = []
        for i, (one, y) in enumerate(zip(h.tolist(), target.tolist(), strict=True)):
            own = {"h": one, "y": y, "e(y)": y, "a": float(rows_of(trace.a[-1])[r][i])}
            if q is not None:
                own["q"] = float(np.ravel(q)[i % np.size(q)])
            each.append(own)
        values = {**settings, "L": float(trace._losses[r])}
        if name_of(self.network.loss) == "hinge":
            own_class = int(target.argmax())
            others = h.astype(float).copy()
            others[own_class] = -np.inf
            rival = int(others.argmax())
            values |= {"h_y": float(h[own_class]), "h_r": float(h[rival])}
            for i, one in enumerate(each):
                one["e(r)"] = float(i == rival)
        return Numbers(values, each)

    def _target_values(self, r: int) -> np.ndarray:
        """What each output should be, (n_K,)."""
        trace, n_out = self.trace, self.network.n_out
        y = np.asarray(trace.y)
        y = y if trace._single else y[r]
        if trace._labels:
            hot: np.ndarray = np.eye(n_out)[int(y)]
            return hot
        each: np.ndarray = np.repeat(np.ravel(y).astype(float), n_out // self.network.n_targets)
        return each

    def _output_delta(self) -> Step:
        K = self.K
        formula, slope = output_formulas(self.network)
        formula = formula.replace("{y}", self.trace._target)
        words = "How the loss changes with each output's sum a."
        if slope:
            words += " By the chain rule: with h, times how h changes with a."
            formulas = [f"delta_i^({K}) = {formula} g'(a_i^({K}))", f"g'(a) = {slope}"]
        else:
            formulas = [f"delta_i^({K}) = dL/da_i^({K}) = {formula}"]
            if formula.startswith("h - "):
                words += " The activation's slope has cancelled."
        return self._step(
            "Delta of the outputs",
            words,
            formulas,
            State(K, K, K, (K,), "W", True),
            lambda r: self._output_deltas(formula, slope, r),
        )

    def _output_deltas(self, formula: str, slope: str, r: int) -> str:
        numbers, lines = self._outputs(self.trace, r), []
        for i, delta in enumerate(rows_of(self.trace.delta[-1])[r]):
            own = Numbers({**numbers.values, **numbers.each[i]}, numbers.each)
            shown = show(parse(formula), own)
            if slope:
                shown += f"<mo>·</mo>{bracketed(parse(slope), own)}"
            lines.append(equation(unit("delta", self.K, i), [shown], delta, f"{self.K}.{i}"))
        return "".join(lines)

    def _hidden_delta(self, k: int) -> Step:
        layer, above = self.network.layers[k - 1], self.network.layers[k]
        own = f"dL/du_i^({k + 1})" if above.norm else f"delta_i^({k + 1})"
        g = activation_formulas(layer.activation)[1]
        slope = f"g'(a_j^({k}))"
        words = (
            f"Each unit hears from layer {k + 1} what its output did, over the same weights, "
            "times how its output changes with its sum."
        )
        formulas = [f"delta_j^({k}) = (sum_i {own} W_ij^({k + 1})) {slope}", f"g'(a) = {g}"]
        if is_parametric(layer.activation):
            formulas[0] = formulas[0].replace(slope, f"(1 + alpha_j^({k}) ({slope} - 1))")
            if name_of(plain(layer.activation)) not in KEEPING:
                formulas[1] += ", h = g(a)"
        if layer.norm:
            formulas += [f"dL/du_j^({k}) = {self._du_formula(layer)}, c_j = gamma_j delta_j"]
            words += " Then back through the normalisation, to the sums u before it."
        return self._step(
            f"Delta of layer {k}",
            words,
            formulas,
            State(self.K, self.K, k, (k + 1,), "W", True),
            lambda r: self._hidden_deltas(k, r),
        )

    def _hidden_deltas(self, k: int, r: int) -> str:
        trace, layer = self.trace, self.network.layers[k - 1]
        above = rows_of(trace.delta[k] if trace.du[k] is None else trace.du[k])[r]
        W, delta = np.asarray(trace.W[k]), rows_of(trace.delta[k - 1])[r]
        a, h = (rows_of(of[k - 1])[r] for of in (trace.a, trace.h))
        slope, lines = parse(activation_formulas(layer.activation)[1]), []
        for j in range(layer.n_out):
            values = {"a": float(a[j]), "h": float(h[j])}
            if (alpha := trace.alpha[k - 1]) is not None:
                g = parse(activation_formulas(layer.activation)[0])
                values["h"] = value(g, Numbers(values))
            terms = [
                f"{number(above[i], i > 0)}<mo>·</mo>{number(W[i, j], True)}"
                for i in range(len(above))
            ]
            terms[0] = f"<mo>(</mo>{terms[0]}"
            terms[-1] += "<mo>)</mo>"
            times = bracketed(slope, Numbers(values))
            if alpha is not None:
                times = (
                    f"<mrow><mo>(</mo><mn>1</mn><mo>+</mo>{number(alpha[j], True)}<mo>·</mo>"
                    f"<mrow><mo>(</mo>{times}<mo>−</mo><mn>1</mn><mo>)</mo></mrow>"
                    "<mo>)</mo></mrow>"
                )
            lines.append(
                equation(unit("delta", k, j), terms, delta[j], f"{k}.{j}", f"<mo>·</mo>{times}")
            )
        if layer.norm:
            lines += self._du_lines(k, r)
        return "".join(lines)

    def _du_formula(self, layer: LayerSpec) -> str:
        assert layer.norm is not None
        by = f"sqrt(v_j + {layer.norm.epsilon:.9f}".rstrip("0") + ")"
        if self.trace._of_norm("mean", layer).startswith("running"):
            return f"c_j / {by}"
        return f"(c_j - mean(c) - xhat_j mean(c xhat)) / {by}"

    def _du_lines(self, k: int, r: int) -> list[str]:
        trace, layer = self.trace, self.network.layers[k - 1]
        assert layer.norm is not None
        delta, xhat = rows_of(trace.delta[k - 1]), rows_of(trace.xhat[k - 1])
        c = delta * np.asarray(trace.gamma[k - 1])
        du, lines = rows_of(trace.du[k - 1])[r], []
        variance = trace._moments(layer)[1][r]
        axis = 0 if layer.norm.name == "batch" else 1
        running = trace._of_norm("mean", layer).startswith("running")
        shape = c.shape
        means = [np.broadcast_to(m.mean(axis, keepdims=True), shape)[r] for m in (c, c * xhat)]
        for j in range(layer.n_out):
            above = number(c[r, j])
            if not running:
                through_v = f"{number(xhat[r, j], True)}<mo>·</mo>{number(means[1][j], True)}"
                above += f"<mo>−</mo>{number(means[0][j], True)}<mo>−</mo>{through_v}"
            below = f"{number(variance[j])}<mo>+</mo>{number(layer.norm.epsilon)}"
            fraction = f"<mfrac><mrow>{above}</mrow><msqrt>{below}</msqrt></mfrac>"
            lines.append(equation(slope_of("u", k, j), [fraction], du[j], f"{k}.{j}"))
        return lines

    def _outer_product(self, k: int) -> Step:
        trace, K = self.trace, self.K
        own, name = trace.delta[k - 1], f"delta_i^({k})"
        if trace.du[k - 1] is not None:
            own, name = trace.du[k - 1], f"dL/du_i^({k})"
        own, below = rows_of(own), self._inputs(trace, k)
        words = f"A weight of layer {k} changes the loss as the delta above it times the h below."
        formula = f"dL/dW_ij^({k}) = {name} h_j^({k - 1})"
        if self.n > 1:
            words += f" Mean over the {self.n} rows: columns on the left, rows on the right."
            formula = f"dL/dW_ij^({k}) = 1/{self.n} sum_row {name} h_j^({k - 1})"
        parts, equals = [], ""
        if self.n <= self.n_rows:
            mean = f"<mfrac><mn>1</mn><mn>{self.n}</mn></mfrac>" if self.n > 1 else ""
            parts = [math_ml(mean, matrix(own.T)), math_ml(matrix(below))]
            equals = "<mo>=</mo>"
        parts.append(math_ml(equals, matrix(np.asarray(trace.grad_W[k - 1]))))
        left = math_ml(slope_of("W", k), "<mo>=</mo>")
        state = State(K, K, 1 if trace.delta_0 is None else 0, (k,), "G", True)
        all = line("", left, *parts)
        return self._step(f"Outer product: weights of layer {k}", words, [formula], state, all=all)

    def _biases(self) -> Step:
        trace, K, lines, formulas = self.trace, self.K, [], []
        mean = "" if self.n == 1 else f"1/{self.n} sum_row "
        if any(layer.bias for layer in self.network.layers):
            formulas.append(f"dL/db_i = {mean}delta_i")
        if any(layer.norm for layer in self.network.layers):
            formulas.append(f"dL/dgamma_i = {mean}delta_i xhat_i")
        if any(one is not None for one in trace.grad_alpha):
            formulas.append(f"dL/dalpha_i = {mean}dL/dh_i (g(a_i) - a_i)")
        for k in range(K, 0, -1):
            for name, gradient in (
                ("b", trace.grad_b[k - 1]),
                ("gamma", trace.grad_gamma[k - 1]),
                ("alpha", trace.grad_alpha[k - 1]),
            ):
                if gradient is not None:
                    left = math_ml(slope_of(name, k), "<mo>=</mo>")
                    lines.append(line("", left, math_ml(row_vector(gradient))))
        names = {"b": "Biases", "g": "scales of normalisation", "a": "alphas"}
        told = [names[formula[4]] for formula in formulas]
        return self._step(
            " and ".join(told)[:1].upper() + " and ".join(told)[1:],
            "A bias is a weight whose input is always 1: its slope is the unit's delta"
            + ("." if self.n == 1 else ", mean over the rows."),
            formulas,
            State(K, K, 1 if trace.delta_0 is None else 0, (), "W", True),
            all="".join(lines),
        )

    def _update(self) -> Step:
        trace, after, K = self.trace, self.trace.after, self.K
        assert after is not None and trace._learning_rate is not None
        rate = number(trace._learning_rate)
        lines = []
        for k in range(1, K + 1):
            for name in ("W", "b", "gamma", "alpha"):
                old, new = getattr(trace, name)[k - 1], getattr(after, name)[k - 1]
                if old is None:
                    continue
                gradient = getattr(trace, f"grad_{name}")[k - 1]
                of = matrix if name == "W" else row_vector
                left = f"{power(name, k)}<mo>←</mo>"
                lines.append(
                    line(
                        "",
                        math_ml(left, of(old)),
                        math_ml("<mo>−</mo>", rate, "<mo>·</mo>", of(gradient)),
                        math_ml("<mo>=</mo>", of(new)),
                    )
                )
        text = input_step_lines(trace, after)
        lines += [f'<pre tabindex="0">{escape(chr(10).join(text))}</pre>'] if text else []
        return self._step(
            "Update",
            "Every parameter moves a little against its slope: so much as the learning rate "
            f"{trace._learning_rate:g} says.",
            ["theta <- theta - eta dL/dtheta"],
            State(K, K, 1, tuple(range(1, K + 1)), "N", True),
            all="".join(lines),
        )

    def _again(self, k: int) -> Step:
        after, layer = self.trace.after, self.network.layers[k - 1]
        assert after is not None
        bias = f" + b_i^({k})" if layer.bias else ""

        def lines(r: int) -> str:
            normalised = self._normalised(after, k, r) if layer.norm else ""
            return self._sums(after, k, r) + normalised + self._activated(after, k, r)

        name = "a" if layer.norm is None else "u"
        bias = bias if layer.norm is None else ""
        return self._step(
            f"Forward again: layer {k}",
            "The same row, with the new weights." if self.n == 1 else "The same rows, with the new "
            "weights.",
            [
                f"{name}_i^({k}) = sum_j W_ij^({k}) h_j^({k - 1}){bias}",
                f"h_i^({k}) = g(a_i^({k}))",
            ],
            State(self.K, self.K, 1, (k,), "N", True, k),
            lines,
        )

    def _loss_again(self) -> Step:
        trace, after, K = self.trace, self.trace.after, self.K
        assert after is not None
        moved = "fallen" if after.loss < trace.loss else "risen" if after.loss > trace.loss else ""
        words = f"It has {moved}." if moved else "It is the same."
        if moved == "risen":
            words += " The step was too long: the slopes hold near the old weights alone."
        change = line(
            "",
            math_ml(
                "<mi>L</mi><mo>:</mo>", number(trace.loss), "<mo>→</mo>", number(after.loss)
            ),
        )
        return self._step(
            "The loss after the step",
            words,
            [f"L = {self._loss_formula()}"],
            State(K, K, 1, (K,), "N", True, K),
            lambda r: self._loss_line(after, r),
            self._mean_loss(after) + change,
        )

    # --- what they show

    def _loss_formula(self) -> str:
        return loss_formula(self.network).replace("{y}", self.trace._target)

    def _inputs(self, trace: Quantities, k: int) -> np.ndarray:
        """h^(k-1), (n, n_(k-1))."""
        if k > 1:
            return rows_of(trace.h[k - 2])
        return rows_of(trace.x if trace.h_0 is None else trace.h_0)


def biases(trace: Quantities, k: int) -> np.ndarray:
    """b^(k), 0 where there is none."""
    b = trace.b[k - 1]
    return np.zeros(len(np.asarray(trace.W[k - 1]))) if b is None else b


def rows_of(values: Any) -> np.ndarray:
    """(n, n_k), also of a single row."""
    return np.atleast_2d(values)


def equation(left: str, terms: list[str], result: float, at: str = "", last: str = "") -> str:
    """A line of pieces between which it may break. at: the layer and unit it is of."""
    pieces = [math_ml(left, "<mo>=</mo>")]
    pieces += [math_ml("<mo>+</mo>" if i else "", term) for i, term in enumerate(terms)]
    pieces += [math_ml(last)] if last else []
    equals = "<mo>=</mo>" if terms else ""
    return line(at, *pieces, math_ml(equals, number(result)))


def line(at: str, *pieces: str) -> str:
    unit = f' data-at="{at}"' if at else ""
    return f'<p class="line"{unit}>{" ".join(pieces)}</p>'


def bracketed(node: Node, numbers: Numbers) -> str:
    """In brackets, where it is more than a number."""
    inner, shown = node[1][0], show(node, numbers, True)
    return shown if inner[0] in ("number", "name") else f"<mrow><mo>(</mo>{shown}<mo>)</mo></mrow>"


def power(name: str, k: int) -> str:
    return letter(f"{name}^({k})")


def unit(name: str, k: int, i: int) -> str:
    """name_i^(k), i its number."""
    return letter(f"{name}_{i}^({k})")


def slope_of(name: str, k: int, i: int | None = None) -> str:
    """dL/d of a parameter or unit."""
    return letter(f"dL/d{name}{'' if i is None else f'_{i}'}^({k})")


def row_vector(values: np.ndarray) -> str:
    return matrix(np.atleast_2d(values))


def matrix(values: np.ndarray) -> str:
    rows = (
        f"<mtr>{''.join(f'<mtd>{number(one)}</mtd>' for one in row)}</mtr>"
        for row in values.tolist()
    )
    return f'<mtable class="matrix">{"".join(rows)}</mtable>'
