"""Lines of a trace: a formula and its value, within the page; and those of the input layer."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import Any

import numpy as np

from fastnn.explain.quantities import Quantities
from fastnn.network.embeddings import Embedding, Periodic, PiecewiseLinear, in_order
from fastnn.network.spec import NetworkSpec

FEW = 64  # numbers printed in full; longer arrays are shortened
WIDTH = 96  # characters of a line
DEFAULTS = {"precision": 8, "floatmode": "maxprec", "linewidth": 75, "threshold": 1000}  # NumPy's


def line(formula: str, value: Any) -> str:
    """`formula = value` on a line, the value below it where it has several rows or is long.

    What a user set by np.set_printoptions or np.printoptions holds.
    """
    value = np.asarray(value)
    options: dict[str, Any] = {**np.get_printoptions()}
    chosen = {name: options[name] for name in DEFAULTS if options[name] != DEFAULTS[name]}
    width = chosen.pop("linewidth", WIDTH)
    few = value.size <= FEW
    shape = "" if few else f"  {value.shape}"
    settings: dict[str, Any] = {"max_line_width": width - 6 - len(shape)}
    if not chosen.keys() & {"precision", "floatmode"}:
        settings["floatmode"] = "unique"
    if not few and "threshold" not in chosen:
        settings |= {"threshold": 0, "edgeitems": 2}
        settings |= {} if "precision" in chosen else {"precision": 6, "floatmode": "maxprec"}
    text = np.array2string(value, **settings) + shape
    head = f"  {formula} ="
    if "\n" not in text and len(head) + 1 + len(text) <= width:
        return f"{head} {text}"
    lines = wrap(head, width, subsequent_indent="      ", break_long_words=False)
    return "\n      ".join(["\n".join(lines), *text.split("\n")])


# The input layer, docs/maths.md, section 6. x_j is column j of x, and phi(x_j) what becomes of it.

Parameters = list[list[dict[str, np.ndarray]]]  # as `Model.phi`


def _columns(network: NetworkSpec) -> Iterator[tuple[Embedding, int, int, slice]]:
    """Of each column in an embedding: that, its number in it, its own, and where its features are
    in phi(x)."""
    start = 0
    for one, i, column, width, *_ in in_order(network.embeddings, network.n_in):
        if one is not None:
            yield one, i, column, slice(start, start + width)
        start += width


def _named(network: NetworkSpec, phi: Parameters) -> dict[str, np.ndarray]:
    """The parameters of embeddings by their names in formulas: w_3 is w of column 3."""
    parts = iter(part for of in phi for part in of)
    columns = _columns(network)
    named: dict[str, np.ndarray] = {}
    for (_, _, j, _), part in zip(columns, parts, strict=True):
        named |= {f"{name}_{j}": value for name, value in part.items()}
    return named


def _through_bins(one: PiecewiseLinear, i: int, x: np.ndarray) -> np.ndarray:
    """p of the column, (n_bins,) or (n, n_bins): shown alone; what is computed has its features."""
    _, _, edges = one.features(i)
    assert edges is not None
    left, by, least, most = edges.astype(x.dtype)
    p: np.ndarray = np.clip((x[..., None] - left) * by, least, most)
    return p


def input_forward_lines(of: Quantities) -> list[str]:
    network, x, features, s = of._network, of.x, of.features, of.s
    assert features is not None and of.h_0 is not None
    lines, named = [], _named(network, of.phi)
    for one, i, j, at in _columns(network):
        own = [name for name in named if name.endswith(f"_{j}")]
        if isinstance(one, Periodic):
            formula = f"[x_{j}, V_{j} cos(2 pi w_{j} x_{j} + b_{j}) + c_{j}]"
        elif isinstance(one, PiecewiseLinear):
            lines.append(line(f"edges_{j}", one.edges[i]))
            formula = "(x - left) / (right - left) of each bin, within 0..1"
            if own:
                lines.append(line(f"p(x_{j}) = {formula}", _through_bins(one, i, x[..., j])))
                formula = f"p(x_{j}) T_{j} + c_{j}"
        else:
            formula = f"e(x_{j}) T_{j}" if own else f"e(x_{j})"
        lines += [line(name, named[name]) for name in own]
        lines.append(line(f"phi(x_{j}) = {formula}", features[..., at]))
    whole = "h^(0) = phi(x)" if s is None else "phi(x)"
    if network.embeddings:
        lines.append(line(f"{whole} = [columns in no embedding, phi(x_j), ...]", features))
    if s is not None:
        by = "phi(x)" if network.embeddings else "x"
        lines += [line("s", s), line(f"h^(0) = s * {by}", of.h_0)]
    return lines


def input_backward_lines(of: Quantities) -> list[str]:
    network, x, s, delta_0 = of._network, of.x, of.s, of.delta_0
    above = "delta^(1)" if of.du[0] is None else "dL/du^(1)"
    named, grads = _named(network, of.phi), _named(network, of.grad_phi)
    rows, mean = ("", "") if x.ndim == 1 else ("sum over rows of ", f" / {len(x)}")
    lines = [line(f"delta^(0) = dL/dh^(0) = {above} W^(1)", delta_0)]
    d, of_phi = delta_0, "delta^(0)"
    if s is not None:
        by = "phi(x)" if network.embeddings else "x"
        lines.append(line(f"dL/ds = {rows}delta^(0) * {by}{mean}", of.grad_s))
        d, of_phi = s * d, "s * delta^(0)"
    for one, _, j, at in _columns(network):
        own = [name for name in grads if name.endswith(f"_{j}")]
        if not own:
            continue
        formulas = {"T": f"d_{j}", "c": f"{rows}d_{j}"}
        part = d[..., at]
        if isinstance(one, Periodic):
            part, t = part[..., 1:], f"(2 pi w_{j} x_{j} + b_{j})"
            lines.append(line(f"d_{j} = {of_phi} of V_{j} cos{t} + c_{j}", part))
            x_j = x[..., j, None]
            sin = np.sin(2 * np.pi * named[f"w_{j}"] * x_j + named[f"b_{j}"])
            lines.append(
                line(f"e_{j} = -(d_{j} V_{j}) * sin{t}", -(part @ named[f"V_{j}"]) * sin)
            )
            formulas |= {"V": f"d_{j}T cos{t}", "b": f"{rows}e_{j}"}
            formulas["w"] = f"{rows}2 pi x_{j} e_{j}"
        else:
            lines.append(line(f"d_{j} = {of_phi} of phi(x_{j})", part))
            q = "p" if isinstance(one, PiecewiseLinear) else "e"
            formulas["T"] = f"{q}(x_{j})T d_{j}"
        for name in own:
            lines.append(line(f"dL/d{name} = {formulas[name[0]]}{mean}", grads[name]))
    return lines


def input_step_lines(of: Quantities, after: Quantities) -> list[str]:
    """What a step of of's learning rate makes of the input layer's parameters."""
    lines, rate, new = [], of._learning_rate, _parameters(after)
    for name, old in _parameters(of).items():
        lines.append(f"{name} <- {name} - {rate} dL/d{name}")
        lines += [line("  before", old), line("  after", new[name])]
    return lines


def _parameters(of: Quantities) -> dict[str, Any]:
    """Of the input layer, by their names in formulas."""
    return _named(of._network, of.phi) | ({} if of.s is None else {"s": of.s})
