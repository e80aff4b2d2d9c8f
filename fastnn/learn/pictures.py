"""Drawings of runs, as SVG in the colours of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

import numpy as np

from fastnn.checks import counted
from fastnn.drawing import charts, page
from fastnn.drawing.charts import Range, Series
from fastnn.drawing.formula import Numbers, parse, value
from fastnn.explain.formulas import activation_formulas
from fastnn.learn.experiments import EARLY, GRID, Frame, Run, box, early_norms, number, percent
from fastnn.learn.problems import Problem

LEVELS = 8  # shades, of class 0 the lower ones
MOST_LINES = 16  # of hidden units
SEEN = 4.0  # how far from 0 pre-activations are drawn
BINS = 33

STYLE = """
svg.plane{border:1px solid var(--rule);border-radius:4px}
.cells{fill:none;stroke-width:1.03}
.l0,.l1,.l2,.l3{stroke:color-mix(in srgb,var(--s1) var(--t),var(--paper))}
.l4,.l5,.l6,.l7{stroke:color-mix(in srgb,var(--s2) var(--t),var(--paper))}
.l0,.l7{--t:52%}.l1,.l6{--t:38%}.l2,.l5{--t:24%}.l3,.l4{--t:10%}
.unit{stroke:var(--ink);stroke-width:.13;opacity:.75}
.under,.over{fill:none;stroke-linecap:round}
.square{stroke-linecap:square}
.under{stroke:var(--paper);stroke-width:1}.under.square{stroke-width:.9}
.over{stroke-width:.62}.over.square{stroke-width:.52}
.zero{stroke:var(--s1)}.one{stroke:var(--s2)}
.key .under,.key .over{stroke-width:9}.key .unit{stroke-width:2}
svg.digits text{font-size:.6px}
svg.digits .s1 .cells{stroke-width:.94}
.amount path{stroke:color-mix(in srgb,var(--c) var(--t),var(--band))}.ink{--c:var(--ink)}
.amount .l0{--t:0%}.amount .l1{--t:14%}.amount .l2{--t:28%}.amount .l3{--t:42%}
.amount .l4{--t:57%}.amount .l5{--t:71%}.amount .l6{--t:85%}.amount .l7{--t:100%}
"""


def shades(f: np.ndarray) -> str:
    """Cells (rows, columns) of numbers from 0 to 1: a path of each shade, cells of size 1."""
    level = np.clip((np.nan_to_num(f, nan=0.5) * LEVELS).astype(int), 0, LEVELS - 1)
    paths = [""] * LEVELS
    for row, of_row in enumerate(level):
        begins = [0, *(np.flatnonzero(np.diff(of_row)) + 1).tolist()]
        for begin, end in zip(begins, [*begins[1:], len(of_row)], strict=True):
            paths[of_row[begin]] += f"M{begin} {row}h{end - begin}"
    drawn = "".join(f'<path class="l{k}" d="{d}"/>' for k, d in enumerate(paths) if d)
    return f'<g class="cells" transform="translate(0 .5)">{drawn}</g>'


def shared(problem: Problem, name: str) -> str:
    """What is drawn once for many pictures, which take it by its name: the points to learn from, or
    a digit of each class."""
    drawn = _points(problem, name) if problem.plane else _examples(problem, name)
    return f'<svg width="0" height="0" aria-hidden="true" style="position:absolute">{drawn}</svg>'


def _examples(problem: Problem, name: str) -> str:
    drawn = ""
    for label in range(problem.n_classes):
        ink = problem.X_test[np.argmax(problem.y_test == label)].reshape(8, 8)
        drawn += f'<g id="{name}-{label}" class="amount ink">{shades(ink)}</g>'
    return drawn


def _points(problem: Problem, name: str) -> str:
    x, y = _in_cells(problem, problem.X.T)
    paths = []
    for label, kind in ((0, "zero"), (1, "one square")):
        of = problem.y == label
        d = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x[of], y[of], strict=True))
        paths += [f'<path class="under {kind}" d="{d}"/>', f'<path class="over {kind}" d="{d}"/>']
    return f'<g id="{name}">{"".join(paths)}</g>'


def plane(run: Run, frame: Frame, name: str, title: str) -> str:
    """What the network says of each point of the plane, and where its hidden units' lines are."""
    assert frame.f is not None
    found = list(lines(run.problem, frame))
    told = f"{title}: accuracy {percent(frame.accuracy)}"
    if _with_lines(run):
        told += f", {len(found)} lines of hidden units cross the picture"
    else:
        found = []
    units = f'<path class="unit" d="{"".join(found)}"/>' if found else ""
    return (
        f'<svg class="plane" viewBox="0 0 {GRID} {GRID}" role="img" aria-label="{escape(told)}">'
        f"{shades(frame.f)}{units}"
        f'<use href="#{name}"/></svg>'
    )


def _with_lines(run: Run) -> bool:
    """Whether layer 1 is hidden, and has few enough units for their lines to be told apart."""
    return bool(run.settings.hidden) and run.settings.hidden[0] <= MOST_LINES


def lines(problem: Problem, frame: Frame) -> Iterator[str]:
    """For each unit of layer 1 the line a = 0, where it crosses the picture; several that fall
    together are one."""
    found = set()
    for w, b in zip(frame.W.astype(float), frame.b.astype(float), strict=True):
        (left, right), (bottom, top) = box(problem)
        ends = [(x, -(b + w[0] * x) / w[1]) for x in (left, right) if w[1]]
        ends += [(-(b + w[1] * y) / w[0], y) for y in (bottom, top) if w[0]]
        near = 1e-9 * (right - left + top - bottom)
        ends = [(x, y) for x, y in ends if left - near <= x <= right + near
                and bottom - near <= y <= top + near]  # fmt: skip
        if len(ends) >= 2:
            first = min(ends)
            last = max(ends, key=lambda end: abs(end[0] - first[0]) + abs(end[1] - first[1]))
            x, y = _in_cells(problem, np.array([first, last]).T)
            found.add(f"M{x[0]:.1f} {y[0]:.1f}L{x[1]:.1f} {y[1]:.1f}")
    yield from sorted(found)


def _in_cells(problem: Problem, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    (left, right), (bottom, top) = box(problem)
    x, y = at.astype(float)
    return GRID * (x - left) / (right - left), GRID * (top - y) / (top - bottom)


def digits(run: Run, frame: Frame, name: str, title: str) -> str:
    """The mean f(x) of the digits of each class: rows are classes, columns outputs."""
    assert frame.f is not None
    n = run.problem.n_classes
    heads = "".join(
        f'<text x="{k + 1.5}" y="0.75" text-anchor="middle">{k}</text>'
        f'<use href="#{name}-{k}" transform="translate(.08 {k + 1.08}) scale(.105)"/>'
        for k in range(n)
    )
    told = f"{title}: accuracy {percent(frame.accuracy)}"
    return (
        f'<svg class="digits" viewBox="0 0 {n + 1} {n + 1}" role="img" aria-label="{escape(told)}">'
        f'{heads}<g class="amount s1" transform="translate(1 1)">{shades(frame.f)}</g></svg>'
    )


def legend(run: Run) -> str:
    if not run.problem.plane:
        return page.text(
            "Rows: the digits of a class, one of them drawn. Columns: f(x), the mean over digits "
            "not learned from. When all is learned, each row is e(y)."
        )
    keys = [
        f'<li><svg class="key" viewBox="0 0 28 10" aria-hidden="true"><path class="over {kind}" '
        f'd="M14 5h0"/></svg>{text}</li>'
        for kind, text in (("zero", "class 0"), ("one square", "class 1"))
    ]
    if _with_lines(run):
        keys.append(
            '<li><svg class="key" viewBox="0 0 28 10" aria-hidden="true"><path class="unit" '
            'd="M1 5H27"/></svg>a = 0 of a hidden unit of layer 1</li>'
        )
    return f'<ul class="legend">{"".join(keys)}</ul>'


# --- curves


def epochs_of(run: Run) -> Range:
    return Range.of(np.array([0.0, run.settings.epochs]), whole=True)


def losses(runs: dict[str, Run], title: str) -> str:
    """Of each run, over the epochs; where one grows beyond measure, on a logarithmic axis."""
    series = [
        Series(run.column("epoch"), run.column("loss"), name, color=1 + n % 6)
        for n, (name, run) in enumerate(runs.items())
    ]
    values = np.concatenate([one.y for one in series])
    most = float(np.nanmax(values[np.isfinite(values)], initial=1.0))
    y = Range.logarithmic(values) if most > 20 else Range.of(np.append(values, 0.0))
    last = {name: run.last for name, run in runs.items()}
    told = "; ".join(f"{name} {number(one.loss)} after {one.epoch}" for name, one in last.items())
    x = epochs_of(max(runs.values(), key=lambda run: run.settings.epochs))
    return _figure(series, title, told, "loss L", x=x, y=y)


def norms(run: Run, title: str) -> str:
    """The norm of each layer's dL/dW over the epochs."""
    values = run.column("norms")
    series = [
        Series(run.column("epoch"), of_layer, f"layer {k}", color=1 + (k - 1) % 6)
        for k, of_layer in enumerate(values.T, 1)
    ]
    y = Range.logarithmic(values)
    return _figure(series, title, _from_to(series), "length of dL/dW", x=epochs_of(run), y=y)


def shares(run: Run, title: str) -> str:
    """Accuracy and the mean length of delta over the epochs."""
    epoch = run.column("epoch")
    series = [
        Series(epoch, run.column("accuracy"), "accuracy", color=1),
        Series(epoch, run.column("delta"), "length of f(x) - e(y)", color=2),
    ]
    y = Range.of(np.append(series[1].y, [0.0, 1.0]))
    return _figure(series, title, _from_to(series), "", x=epochs_of(run), y=y)


def _from_to(series: list[Series]) -> str:
    """What curves show, for those who do not see them."""
    return "; ".join(f"{s.name} from {number(s.y[0], 2)} to {number(s.y[-1], 2)}" for s in series)


def _figure(
    series: list[Series],
    title: str,
    told: str,
    y_title: str,
    caption: str = "",
    x_title: str = "epoch",
    **axes: Range,
) -> str:
    drawing = charts.plot(series, title=title, told=told, x_title=x_title, y_title=y_title, **axes)
    return page.figure(drawing, caption, title, charts.legend(series))


# --- what gives a trouble away: drawings of the run that has it and of the one with the remedy

ILL, WELL = "trouble", "remedy"


def _each(ill: Run, well: Run, drawn: Callable[[Run, str], str]) -> list[str]:
    return [drawn(ill, "The trouble"), drawn(well, "The remedy")]


def _weights(ill: Run, well: Run) -> list[str]:
    def drawn(run: Run, title: str) -> str:
        W = run.column("W")[:, :, 0]
        series = [Series(run.column("epoch"), of_unit) for of_unit in W.T]
        apart = len(np.unique(W[-1].round(6)))
        told = f"{counted(apart, 'value')} of W_i0 in {W.shape[1]} units after the last epoch"
        return _figure(series, title, told, "weights W_i0 of layer 1", f"{told}.")

    return _each(ill, well, drawn)


def _slopes(ill: Run, well: Run) -> list[str]:
    def drawn(run: Run, title: str) -> str:
        g = parse(activation_formulas(run.settings.activation)[0])
        at = np.linspace(-SEEN, SEEN, BINS)
        h = np.array([value(g, Numbers({"a": float(a)})) for a in at])
        frame = run.last
        near = np.rint((np.clip(frame.a, -SEEN, SEEN) + SEEN) / (2 * SEEN) * (BINS - 1)).astype(int)
        share = np.bincount(near.ravel(), minlength=BINS) / near.size
        some = share > 0
        dots = Series(at[some], h[some], "", 2, False, True, sizes=1 + 16 * np.sqrt(share[some]))
        told = f"{percent(frame.flat[0])} of the slopes are nearly 0"
        caption = f"{told}. Dots: where a lies, of all units and points; at the edge those beyond."
        return _figure([Series(at, h), dots], title, told, "h = g(a)", caption, "a of layer 1")

    return _each(ill, well, drawn)


def _loss(ill: Run, well: Run) -> list[str]:
    return [losses({ILL: ill, WELL: well}, "The loss of both")]


def _columns(ill: Run, well: Run) -> list[str]:
    values = np.concatenate([run.column("columns").ravel() for run in (ill, well)])
    y = Range.logarithmic(values)

    def drawn(run: Run, title: str) -> str:
        columns = run.column("columns")
        series = [Series(run.column("epoch"), columns[:, j], f"x_{j}", 1 + j) for j in (0, 1)]
        ratio = columns[0, 1] / columns[0, 0]
        told = f"at first the column of x_1 is {number(ratio, 2)} times as long as that of x_0"
        return _figure(series, title, told, "length of a column of dL/dW", y=y)

    return _each(ill, well, drawn)


def _layers(ill: Run, well: Run) -> list[str]:
    series = []
    for color, (name, run) in enumerate(((WELL, well), (ILL, ill)), 1):
        values = early_norms(run)
        series.append(Series(np.arange(1.0, len(values) + 1), values, name, color, dots=True))
    title = f"How much gradient arrives, mean of the first {EARLY - 1} epochs"
    y = Range.logarithmic(np.concatenate([one.y for one in series]))
    of_layers = _figure(series, title, _from_to(series), "length of dL/dW", x_title="layer", y=y)
    return [of_layers, norms(ill, "The trouble")]


SIGNS: dict[str, Callable[[Run, Run], list[str]]] = {
    "weights": _weights,
    "slopes": _slopes,
    "loss": _loss,
    "columns": _columns,
    "layers": _layers,
}


def images(run: Run) -> str:
    """The weights of each hidden unit of layer 1, as images: where ink is for it, and where
    against."""
    side = round(run.problem.n_in**0.5)
    drawn = []
    for i, w in enumerate(run.last.W):
        shade = 0.5 + 0.5 * (w / np.abs(w).max()).reshape(side, side)
        drawn.append(
            f'<svg class="plane" viewBox="0 0 {side} {side}" role="img" aria-label="Weights of '
            f'unit {i}">{shades(shade)}</svg>'
        )
    told = "Weights W_ij of each unit of layer 1, pixel by pixel: orange above 0, blue below."
    return f'<div class="units">{"".join(drawn)}</div>{page.text(told)}'
