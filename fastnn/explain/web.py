"""A trace as one HTML page: the network drawn, and its steps to walk through."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from fastnn.drawing import page, walk
from fastnn.drawing.formula import written
from fastnn.explain.graph import drawing, levels, rows_of, told
from fastnn.explain.quantities import Quantities
from fastnn.explain.steps import Step, Steps

MOST_UNITS = 12  # of a layer that is drawn
MOST_LAYERS = 6
MOST_ROWS = 8  # to choose from
MOST_TERMS = 300  # weights times rows whose every product is written out
HEIGHT = 900  # pixels, in a notebook


def trace_page(trace: Quantities, derivation: str) -> str:
    """derivation: what printing the trace shows."""
    network = trace._network
    sizes = "-".join(map(str, (network.n_features, *network.sizes[1:])))
    title = f"One training step of a {sizes} network"
    if (why := _too_large(trace)) is not None:
        pre = f'<pre tabindex="0">{escape(derivation)}</pre>'
        parts = [page.text(why), pre]
        return page.page(title, repr_line(trace), [page.section("The derivation", *parts)], _css())
    sections = _sections(trace, derivation)
    return page.page(title, repr_line(trace), sections, _css(), _text("trace.js"))


def notebook(html: str) -> str:
    """The page within a notebook's output, apart from the notebook's own styles."""
    quoted = html.replace("&", "&amp;").replace("'", "&#39;")  # it is full of double quotes
    return (
        f"<iframe srcdoc='{quoted}' "
        'title="The trace, step by step" sandbox="allow-scripts" '
        f'style="width:100%;height:{HEIGHT}px;border:0"></iframe>'
    )


def repr_line(trace: Quantities) -> str:
    """What the network is, in a line."""
    network = trace._network
    hidden = list(dict.fromkeys(map(str, network.activations)))
    parts = [f"hidden units {', '.join(hidden)}"] if hidden else []
    parts += [f"outputs {network.output}", f"loss {network.loss}", network.dtype]
    rows = "one row" if trace._single else f"{len(trace.x)} rows"
    rate = "" if trace.after is None else f", learning rate {trace._learning_rate:g}"
    return "; ".join([*parts, rows]) + rate


def _css() -> str:
    return walk.STYLE + _text("trace.css")


def _text(name: str) -> str:
    return files("fastnn.explain").joinpath(name).read_text(encoding="utf-8")


def _too_large(trace: Quantities) -> str | None:
    network = trace._network
    widths = network.n_features, *network.sizes[1:]
    weights = sum(one.n_in * one.n_out for one in network.layers)
    if max(widths) <= MOST_UNITS and len(widths) <= MOST_LAYERS + 1 and weights <= MOST_TERMS:
        return None
    return (
        f"A network is drawn where it has at most {MOST_LAYERS} layers of at most {MOST_UNITS} "
        f"units and {MOST_TERMS} weights in all; this one has {max(widths)} units in its widest "
        f"layer, {len(network.layers)} layers and {weights:,} weights. Here is the same derivation "
        "as text, as print(trace) shows it; the middles of long arrays are left out."
    )


def _sections(trace: Quantities, derivation: str) -> Iterator[str]:
    weights = sum(one.n_in * one.n_out for one in trace._network.layers)
    n = 1 if trace._single else len(trace.x)
    n_rows = max(1, min(n, MOST_ROWS, MOST_TERMS // weights))
    steps = list(Steps(trace, n_rows))
    if n > n_rows:
        kind = "row" if n_rows == 1 else f"{n_rows} rows"
        yield page.text(f"Of {n} rows the first {kind} can be looked at; slopes are of all.")
    yield _controls(len(steps), n_rows)
    picture = (
        f'<div class="picture"><div class="wide" tabindex="0" role="region" '
        f'aria-label="Drawing of the network">{drawing(trace, _targets(trace))}</div>'
        f"{_legend()}"
        '<div class="card" id="card" role="status"></div></div>'
    )
    told = f'<h2>The derivation</h2><pre tabindex="0">{escape(derivation)}</pre>'
    yield f'<div class="walk">{picture}<div class="steps" id="steps">{told}</div></div>'
    if trace.after is None:
        yield page.text(
            "The update and the pass after it are shown where the trace knows a learning rate: "
            "model.trace(x, y, learning_rate=0.1), or to_html(path, learning_rate=0.1)."
        )
    yield page.section("Every number", *_tables(trace, n_rows))
    data = {**_data(trace, steps, n_rows), "html": "".join(map(_section, steps))}
    yield f'<script type="text/plain" id="data">{_packed(data)}</script>'


def _packed(data: dict[str, Any]) -> str:
    """JSON, deflated, in base64: formulas repeat themselves so much that a tenth is left. Where no
    script unpacks it the derivation stands in place of the steps, as print(trace) shows it."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _controls(n_steps: int, n_rows: int) -> str:
    buttons = {"first": "First", "back": "← Back", "next": "Next →", "last": "Last"}
    rows = ""
    if n_rows > 1:
        options = "".join(f'<option value="{r}">row {r}</option>' for r in range(n_rows))
        rows = f'<label>Numbers of <select id="row">{options}</select></label>'
    return (
        walk.controls(buttons, "Step", rows)
        + '<p class="soft keys" hidden>Left and right arrow keys go back and on. Select a unit '
        "of the drawing to see its weights alone.</p>"
    )


def _legend() -> str:
    kinds = "".join(
        f'<li><svg viewBox="0 0 28 10" aria-hidden="true"><path class="edge {kind}" d="M1 5H27"/>'
        f"</svg>{text}</li>"
        for kind, text in (("pos", "above 0"), ("neg", "below 0"))
    )
    return (
        f'<ul class="legend"><li>Lines: <span id="lines-are">weights W</span>, the wider the '
        f'larger</li>{kinds}<li id="loss"></li></ul>'
    )


def _section(step: Step) -> str:
    formulas = walk.formulas(step.title, step.formulas) if step.formulas else ""
    rows = "".join(
        f'<div data-row="{r}">{f"<h3 class=alone>Row {r}</h3>" if len(step.rows) > 1 else ""}'
        f"{lines}</div>"
        for r, lines in enumerate(step.rows)
    )
    label = f'tabindex="0" role="region" aria-label="Numbers: {escape(step.title)}"'
    return (
        f'<section class="step"><h2>{escape(step.title)}</h2>{page.text(step.told)}{formulas}'
        f'<div class="lines" {label}>{rows}{step.all}</div></section>'
    )


def _targets(trace: Quantities) -> list[str]:
    n_out = trace._network.n_out
    y = np.atleast_1d(trace.y if trace._single else trace.y[0])
    if trace._labels:
        return ["y" if i == int(y[0]) else "" for i in range(n_out)]
    y = np.repeat(y, n_out // trace._network.n_targets)
    return [f"y {told(one)}" for one in y]


def _tables(trace: Quantities, n_rows: int) -> Iterator[str]:
    """All of it as tables, before the update: for whoever does not see the drawing, too."""
    for r in range(n_rows):
        of = "" if n_rows == 1 else f" of row {r}"
        lines = []
        for k, h in enumerate(levels(trace)):
            for i, value in enumerate(h[r]):
                lines.append([f"layer {k}, unit {i}", *_unit_cells(trace, k, i, r, float(value))])
        table = page.table(["unit", "a", "h", "delta"], lines, f"Units{of}")
        yield f'<div data-row="{r}">{table}</div>'
    for layer in trace._network.layers:
        k = layer.k
        for name, values in ((f"W^({k})", trace.W[k - 1]), (f"dL/dW^({k})", trace.grad_W[k - 1])):
            values = np.asarray(values)
            most = float(abs(values).max()) or 1.0
            shaded = [
                (f"to unit {i}", [(written(v), abs(v) / most) for v in row])
                for i, row in enumerate(values.tolist())
            ]
            below = [f"from {j}" for j in range(layer.n_in)]
            yield page.matrix("unit", below, shaded, name)
        own: dict[str, Any] = {}
        for name in ("b", "gamma", "alpha"):
            if getattr(trace, name)[k - 1] is not None:
                own[name] = getattr(trace, name)[k - 1]
                own[f"dL/d{name}"] = getattr(trace, f"grad_{name}")[k - 1]
        if own:
            cells = [
                [f"{i}", *(written(float(values[i])) for values in own.values())]
                for i in range(layer.n_out)
            ]
            yield page.table(["unit", *own], cells, f"Other parameters of layer {k}")


def _unit_cells(trace: Quantities, k: int, i: int, r: int, h: float) -> list[str]:
    if not k:
        none = trace.delta_0 is None
        return ["", written(h), "" if none else written(float(rows_of(trace.delta_0)[r][i]))]
    a, delta = (float(rows_of(of[k - 1])[r][i]) for of in (trace.a, trace.delta))
    return [written(a), written(h), written(delta)]


def _data(trace: Quantities, steps: Sequence[Step], n_rows: int) -> dict[str, Any]:
    """What the script shows, by layer; a and delta begin with layer 0, which may have none."""
    after = trace.after
    grads = [np.asarray(one) for one in trace.grad_W]
    data: dict[str, Any] = {
        "rows": [_row(trace, r) for r in range(n_rows)],
        "W": [_texts(one) for one in trace.W],
        "G": [_texts(one) for one in grads],
        "loss": [told(trace.loss)],
        "steps": [],
    }
    if after is not None:
        data["after"] = [_row(after, r) for r in range(n_rows)]
        data["N"] = [_texts(W) for W in after.W]
        data["loss"].append(told(after.loss))
    slopes = again = False
    for step in steps:
        slopes = slopes or step.state.edges == "G"
        again = again or (step.state.new == len(trace.W) and step.title.startswith("The loss"))
        data["steps"].append({**step.state._asdict(), "slopes": slopes, "again": again})
    return data


def _row(trace: Quantities, r: int) -> dict[str, Any]:
    none = [""] * len(levels(trace)[0][0])
    first = none if trace.delta_0 is None else _texts(rows_of(trace.delta_0)[r])
    return {
        "h": [_texts(one[r]) for one in levels(trace)],
        "a": [none, *(_texts(rows_of(one)[r]) for one in trace.a)],
        "d": [first, *(_texts(rows_of(one)[r]) for one in trace.delta)],
    }


def _texts(values: Any) -> list[Any]:
    return [_texts(one) if np.ndim(one) else told(float(one)) for one in values]
