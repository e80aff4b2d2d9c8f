"""Runs, comparisons and troubles as text, for a terminal or a pipe."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from textwrap import wrap

import numpy as np

from fastnn.learn import words
from fastnn.learn.experiments import (
    Comparison,
    Frame,
    Run,
    box,
    early_norms,
    number,
    percent,
    spaced,
)
from fastnn.learn.problems import Problem
from fastnn.learn.troubles import Case
from fastnn.values import Value

PANEL = 24, 12  # columns and lines of a picture of the plane
GAP = 2
CURVE = 24  # columns
MOST_POINTS = 60  # in a picture: the first
TITLE = 18  # columns
# Of 256 colours, from "certainly class 0" to "certainly class 1".
SHADES = (74, 110, 153, 195, 230, 223, 216, 209)
SHARES = (255, 153, 117, 75, 33)  # of a probability, from 0 to 1


class Screen(Value):
    """What may be written: so many columns, with colours or without, all characters or ASCII."""

    columns: int
    colours: bool
    unicode: bool

    @property
    def bars(self) -> str:
        return "▁▂▃▄▅▆▇█" if self.unicode else "_.-=+*%#"

    @property
    def fills(self) -> str:
        """From class 0 to class 1, and from nothing to all."""
        return " ·░▒" if self.unicode else " .:%"

    def text(self, words: str, indent: int = 0) -> list[str]:
        width = min(self.columns, 96) - indent
        return [" " * indent + line for line in wrap(words, max(width, 20))]

    def bold(self, words: str) -> str:
        return f"\x1b[1m{words}\x1b[0m" if self.colours else words


# --- one run


def run_text(run: Run, screen: Screen) -> Iterator[str]:
    problem = run.problem
    yield screen.bold(f"A network learns {problem.title}")
    yield from screen.text(problem.told)
    yield ""
    yield from screen.text(f"network   {words.network(run)}")
    yield from screen.text(f"training  {words.training(run)}")
    yield ""
    yield from _strip(run, screen)
    yield ""
    yield from _curves(run, screen)
    yield ""
    for one in words.lesson(run):
        first, *rest = screen.text(one, 2)
        yield f"- {first[2:]}"
        yield from rest
    yield ""
    yield "What each step does, with a few rows x whose classes y are known:"
    for n, (title, told, formulas) in enumerate(words.STEPS, 1):
        yield f"{n}. {title:21} {',  '.join(formulas)}"
        yield from screen.text(told, 25)


def _strip(run: Run, screen: Screen) -> Iterator[str]:
    """Pictures of some epochs beside each other."""
    most = max(1, min(4, (screen.columns + GAP) // (PANEL[0] + GAP)))
    chosen = _moments(run.shown, most)
    heads = [f"epoch {frame.epoch}" if frame.epoch else "before training" for frame in chosen]
    below = [f"accuracy {percent(frame.accuracy)}" for frame in chosen]
    yield from _beside([_picture(run, frame, screen) for frame in chosen], heads, below, screen)
    yield from screen.text(_key(run.problem, screen))


def _moments(frames: list[Frame], most: int) -> list[Frame]:
    """The first, the last, and those between where the loss has gone a part of its way."""
    if most == 1:
        return frames[-1:]
    way = [frame.loss - frames[-1].loss for frame in frames]
    parts = [way[0] * (1 - k / (most - 1)) for k in range(1, most - 1)]
    between = {min(range(len(way)), key=lambda n: abs(way[n] - part)) for part in parts}
    return [frames[k] for k in sorted({0, len(frames) - 1} | between)]


def _key(problem: Problem, screen: Screen) -> str:
    if not problem.plane:
        return (
            "Lines are the digit that is shown, columns what f(x) says of it, on average over "
            "digits not learned from: the darker, the surer. Learned, each line is e(y)."
        )
    if screen.colours:
        return (
            "o x: points of class 0 and 1. f(x) says class 0 where it is blue, 1 where it is "
            "orange; the stronger the surer."
        )
    fills = screen.fills
    return (
        f"o x: points of class 0 and 1. f(x) says class 1 where {fills[2]} and {fills[3]} are, the "
        "second surer, and class 0 elsewhere."
    )


def _beside(
    pictures: Sequence[list[str]], heads: Sequence[str], below: Sequence[str], screen: Screen
) -> Iterator[str]:
    """Pictures with a line above and one below each, as many in a row as there is room for."""
    width = PANEL[0]
    many = max(1, (screen.columns + GAP) // (width + GAP))
    for begin in range(0, len(pictures), many):
        if begin:
            yield ""
        part = slice(begin, begin + many)
        yield (" " * GAP).join(f"{head[:width]:{width}}" for head in heads[part]).rstrip()
        for lines in zip(*pictures[part], strict=True):
            yield (" " * GAP).join(lines).rstrip()
        yield (" " * GAP).join(f"{text[:width]:{width}}" for text in below[part]).rstrip()


def _picture(run: Run, frame: Frame, screen: Screen) -> list[str]:
    return _plane(run, frame, screen) if run.problem.plane else _shares(frame, screen)


def _plane(run: Run, frame: Frame, screen: Screen) -> list[str]:
    assert frame.f is not None
    columns, lines = PANEL
    f = np.nan_to_num(frame.f, nan=0.5)
    across, down = ((np.arange(n) * len(f) + len(f) // 2) // n for n in (columns, 2 * lines))
    f = f[down][:, across]
    marks = _marks(run.problem)
    text = []
    for line in range(lines):
        upper, lower = f[2 * line], f[2 * line + 1]
        cells = [
            _cell(marks.get((line, k), ""), float(upper[k]), float(lower[k]), screen)
            for k in range(columns)
        ]
        text.append("".join(cells) + ("\x1b[0m" if screen.colours else ""))
    return text


def _cell(mark: str, upper: float, lower: float, screen: Screen) -> str:
    if screen.colours:
        above, below = (SHADES[min(int(p * len(SHADES)), len(SHADES) - 1)] for p in (upper, lower))
        if mark:
            return f"\x1b[1;38;5;16;48;5;{above}m{mark}\x1b[22m"
        if screen.unicode and above != below:
            return f"\x1b[38;5;{above};48;5;{below}m▀"
        return f"\x1b[48;5;{above}m "
    p = (upper + lower) / 2
    return mark or screen.fills[0 if p < 0.1 else 1 if p < 0.5 else 2 if p < 0.9 else 3]


def _marks(problem: Problem) -> dict[tuple[int, int], str]:
    """The points: lines and columns, and o or x."""
    (left, right), (bottom, top) = box(problem)
    found: dict[tuple[int, int], str] = {}
    for (x, y), label in zip(problem.X[:MOST_POINTS], problem.y, strict=False):
        line, column = (top - y) / (top - bottom), (x - left) / (right - left)
        found.setdefault((int(line * PANEL[1]), int(column * PANEL[0])), "ox"[label])
    return found


def _shares(frame: Frame, screen: Screen) -> list[str]:
    assert frame.f is not None
    fills = " ░▒▓█" if screen.unicode else " .:%#"
    text = ["   " + "".join(f"{k} " for k in range(len(frame.f)))]
    for k, row in enumerate(frame.f):
        levels = [round(float(p) * (len(fills) - 1)) for p in row]
        if screen.colours:
            cells = "".join(f"\x1b[48;5;{SHARES[level]}m  " for level in levels) + "\x1b[0m"
        else:
            cells = "".join(2 * fills[level] for level in levels)
        text.append(f"{k}  {cells} ")
    return text


# --- curves of one line


def _curves(run: Run, screen: Screen) -> Iterator[str]:
    yield _curve("loss L", run.column("loss"), screen)
    accuracy = run.column("accuracy")
    yield _curve("accuracy", accuracy, screen, f"{percent(accuracy[0])} -> {percent(accuracy[-1])}")
    yield _curve("|f(x) - e(y)|", run.column("delta"), screen)
    norms = run.column("norms")
    ends = _ends(norms, True)
    for k in range(norms.shape[1], 0, -1):
        yield _curve(f"|dL/dW^({k})|", norms[:, k - 1], screen, ends=ends)
    yield from screen.text(
        f"(epochs 0 to {run.last.epoch}, more of the first ones; the gradients on one logarithmic "
        "scale)"
    )


def _curve(
    title: str,
    values: np.ndarray,
    screen: Screen,
    told: str = "",
    ends: tuple[float, float] | None = None,
) -> str:
    """With ends: on a logarithmic scale between them, which others share."""
    told = told or f"{number(values[0])} -> {number(values[-1])}"
    bars = sparkline(values, screen, ends)
    return f"{title:{TITLE}}{bars:{CURVE}}  {told}"


def sparkline(
    values: np.ndarray, screen: Screen, ends: tuple[float, float] | None = None
) -> str:
    """A bar for each value, of at most CURVE of them; nothing where one is no number."""
    at = [k for k in spaced(len(values) - 1, CURVE) if k < len(values)]
    log = ends is not None
    low, high = ends if ends is not None else _ends(values, False)
    drawn = ""
    for value in values[at].tolist():
        if not math.isfinite(value) or (log and value <= 0):
            drawn += " "
            continue
        place = math.log10(value) if log else value
        share = (place - low) / (high - low) if high > low else 0.0
        drawn += screen.bars[min(int(max(share, 0.0) * len(screen.bars)), len(screen.bars) - 1)]
    return drawn


def _ends(values: np.ndarray, log: bool) -> tuple[float, float]:
    known = values[np.isfinite(values) & ((values > 0) | (not log))]
    if not len(known):
        return 0.0, 1.0
    ends = float(known.min()), float(known.max())
    return (math.log10(ends[0]), math.log10(ends[1])) if log else ends


# --- several


def comparison_text(
    comparison: Comparison, runs: dict[str, Run], screen: Screen
) -> Iterator[str]:
    yield screen.bold(comparison.title)
    yield from screen.text(comparison.told)
    yield ""
    pictures = [_picture(run, run.shown[-1], screen) for run in runs.values()]
    below = [words.ended(run) for run in runs.values()]
    yield from _beside(pictures, list(runs), below, screen)
    yield ""
    many = np.concatenate([run.column("loss") for run in runs.values()])
    ends = _ends(many, True)
    for name, run in runs.items():
        yield _curve(f"loss, {name}", run.column("loss"), screen, ends=ends)
    yield ""
    for name, run in runs.items():
        norms = early_norms(run)
        told = ", ".join(number(norm, 2) for norm in norms)
        yield f"{f'|dL/dW|, {name}':{TITLE + 6}}{told}"
    yield "(of each layer, from the first to the last; mean of the first ten epochs)"


def case_text(case: Case, screen: Screen) -> Iterator[str]:
    trouble, runs = case.trouble, (case.ill, case.well)
    yield screen.bold(trouble.title)
    yield from _told("seen", case.seen, screen)
    yield from _told("why", trouble.why, screen)
    for formula in trouble.formulas:
        yield f"{'':10}{formula}"
    yield from _told("remedy", trouble.remedy, screen)
    yield ""
    heads = "the trouble", "the remedy"
    below = [words.ended(run) for run in runs]
    yield from _beside([_picture(run, run.shown[-1], screen) for run in runs], heads, below, screen)
    yield ""
    yield from SIGNS[trouble.sign](case, screen)


def _told(title: str, told: str, screen: Screen) -> Iterator[str]:
    first, *rest = screen.text(told, 10)
    yield f"{title:10}{first[10:]}"
    yield from rest


def _weights(case: Case, screen: Screen) -> Iterator[str]:
    for name, run in (("the trouble", case.ill), ("the remedy", case.well)):
        yield f"{name:13}{''.join(f'{w:7.2f}' for w in run.last.W[:, 0].tolist())}"
    yield "(weights W_i0 of layer 1, of each unit i)"


def _slopes(case: Case, screen: Screen) -> Iterator[str]:
    edges = np.linspace(-4, 4, CURVE + 1)
    for name, run in (("the trouble", case.ill), ("the remedy", case.well)):
        share = np.histogram(np.clip(run.last.a, -4, 4), edges)[0] / run.last.a.size
        bars = "".join(" " if not one else screen.bars[min(int(one * 16), 7)] for one in share)
        flat = percent(run.last.flat[0])
        yield f"{name:13}a = -4 |{bars}| 4   {flat} where g is flat"
    yield "(how many of layer 1's a lie where; beyond 4 at the edge)"


def _loss(case: Case, screen: Screen) -> Iterator[str]:
    ends = _ends(np.concatenate([run.column("loss") for run in (case.ill, case.well)]), True)
    for name, run in (("the trouble", case.ill), ("the remedy", case.well)):
        yield _curve(f"loss, {name}", run.column("loss"), screen, ends=ends)


def _columns(case: Case, screen: Screen) -> Iterator[str]:
    many = np.concatenate([run.column("columns").ravel() for run in (case.ill, case.well)])
    ends = _ends(many, True)
    for name, run in (("trouble", case.ill), ("remedy", case.well)):
        for j in (0, 1):
            title = f"x_{j}, the {name}"
            yield _curve(title, run.column("columns")[:, j], screen, ends=ends)
    yield "(length of each input's column of dL/dW^(1) over the epochs)"


def _layers(case: Case, screen: Screen) -> Iterator[str]:
    ill, well = early_norms(case.ill), early_norms(case.well)
    low, high = _ends(np.concatenate([ill, well]), True)
    for name, norms in (("the trouble", ill), ("the remedy", well)):
        for k, norm in enumerate(norms.tolist(), 1):
            length = 1 + round((math.log10(norm) - low) / (high - low) * (CURVE - 1))
            title = f"{name if k == 1 else '':13}layer {k}"
            yield f"{title:22}{screen.bars[-1] * length:{CURVE}}  {number(norm, 2)}"
    yield "(length of dL/dW, mean of the first ten epochs, on a logarithmic scale)"


SIGNS = {
    "weights": _weights,
    "slopes": _slopes,
    "loss": _loss,
    "columns": _columns,
    "layers": _layers,
}
