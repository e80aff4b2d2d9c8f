"""Runs, comparisons and troubles as one HTML page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files

import numpy as np

from fastnn.drawing import charts, page, walk
from fastnn.drawing.formula import math_ml, parse, show
from fastnn.learn import pictures, words
from fastnn.learn.experiments import Comparison, Frame, Run, early_norms, number, percent
from fastnn.learn.problems import Problem
from fastnn.learn.troubles import Case

BUTTONS = {"first": "First", "back": "← Back", "play": "Play", "next": "Next →", "last": "Last"}


class _Shared:
    """What is drawn once, for all pictures of a problem."""

    def __init__(self) -> None:
        self.drawn: list[str] = []
        self.names: dict[int, str] = {}

    def of(self, problem: Problem) -> str:
        if id(problem) not in self.names:
            self.names[id(problem)] = f"drawn-{len(self.names)}"
            self.drawn.append(pictures.shared(problem, self.names[id(problem)]))
        return self.names[id(problem)]


def learn_page(
    run: Run | None,
    comparisons: Mapping[str, tuple[Comparison, dict[str, Run]]],
    cases: Mapping[str, Case],
) -> str:
    """Of one of these, or of several."""
    shared = _Shared()
    parts: list[str] = []
    told = "Seeds of trouble, each with the picture that gives it away and the remedy."
    title = "When a network does not learn"
    if comparisons:
        title, told = "What the settings do", "Runs that differ in one setting each."
    if run is not None:
        title = f"A network learns {run.problem.title}"
        told = f"{words.network(run)}; {words.training(run)}."
        parts += _of_run(run, shared)
    parts += [_comparison(name, *of, shared) for name, of in comparisons.items()]
    parts += [_case(name, case, shared) for name, case in cases.items()]
    titles = {name: comparison.title for name, (comparison, _) in comparisons.items()}
    titles |= {name: case.trouble.title for name, case in cases.items()}
    contents = _contents(titles) if len(titles) > 1 else ""
    script = _text("learn.js") if run is not None else ""
    style = walk.STYLE + pictures.STYLE + _text("learn.css")
    return page.page(title, told, [*shared.drawn, contents, *parts], style, script)


def _text(name: str) -> str:
    return files("fastnn.learn").joinpath(name).read_text(encoding="utf-8")


def _contents(titles: Mapping[str, str]) -> str:
    links = (f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title in titles.items())
    return f'<nav aria-label="Sections"><ul class="contents">{"".join(links)}</ul></nav>'


def _section(name: str, title: str, *parts: str) -> str:
    return page.section(title, *parts).replace("<section>", f'<section id="{name}">', 1)


# --- one run


def _of_run(run: Run, shared: _Shared) -> Iterator[str]:
    yield page.text(run.problem.told)
    pictured = (_picture(run, frame, shared, _told(frame)) for frame in run.shown)
    frames = "".join(f'<div class="frame">{one}</div>' for one in pictured)
    drawn = pictures.legend(run)
    curves = (
        pictures.losses({"": run}, "The loss"),
        pictures.shares(run, "Accuracy, and how far f(x) is from e(y)"),
        pictures.norms(run, "The gradient of each layer"),
    )
    at = charts.across(pictures.epochs_of(run), np.array([one.epoch for one in run.shown]))
    data = json.dumps([round(float(x), 1) for x in at])
    yield _section(
        "epochs",
        "Epoch by epoch",
        walk.controls(BUTTONS, "Epoch"),
        f'<div class="watch"><div class="now"><div class="frames">{frames}</div>{drawn}</div>'
        f'<div class="timed">{"".join(curves)}</div></div>',
        f'<script type="application/json" id="data">{data}</script>',
    )
    if not run.problem.plane and run.settings.hidden:
        yield _section("units", "What the hidden units look for", pictures.images(run))
    lesson = "".join(f"<li>{escape(one)}</li>" for one in words.lesson(run))
    yield _section("lesson", "What is to be seen", f"<ul>{lesson}</ul>")
    yield _section("steps", "What a step does", _steps())
    yield f"<details><summary>Every number, as a table</summary>{_numbers(run)}</details>"


def _steps() -> str:
    steps = (
        f"<li><b>{escape(title)}.</b> {escape(told)}{_formulas(title, formulas)}</li>"
        for title, told, formulas in words.STEPS
    )
    return f'<ol class="how">{"".join(steps)}</ol>'


def _formulas(title: str, formulas: Sequence[str]) -> str:
    return walk.formulas(title, (math_ml(show(parse(one)), block=True) for one in formulas))


def _told(frame: Frame) -> str:
    epoch = f"Epoch {frame.epoch}" if frame.epoch else "Before the first step"
    return f"{epoch}: loss {number(frame.loss)}, accuracy {percent(frame.accuracy)}"


def _picture(run: Run, frame: Frame, shared: _Shared, title: str, caption: str = "") -> str:
    draw = pictures.plane if run.problem.plane else pictures.digits
    drawing = draw(run, frame, shared.of(run.problem), title)
    return page.figure(drawing, caption or f"{title}.")


def _numbers(run: Run) -> str:
    layers = range(1, len(run.last.norms) + 1)
    head = ["epoch", "loss L", "accuracy", "f(x) - e(y)", *(f"dL/dW^({k})" for k in layers)]
    rows = (
        [str(one.epoch), *map(number, (one.loss, one.accuracy, one.delta, *one.norms))]
        for one in run.shown
    )
    caption = (
        "After each epoch: the loss of rows learned from, accuracy on others, the mean length of "
        "f(x) - e(y), the length of each layer's gradient"
    )
    return page.table(head, rows, caption)


# --- several


def _ends(runs: Mapping[str, Run], shared: _Shared, kind: str = "") -> str:
    """The last picture of each run."""
    panels = (
        _picture(
            *(run, run.shown[-1], shared, title),
            f"{title}: {words.ended(run)}, loss {number(run.last.loss, 2)}",
        )
        for title, run in runs.items()
    )
    return f'<div class="panels{kind}">{"".join(panels)}</div>'


def _comparison(name: str, comparison: Comparison, runs: dict[str, Run], shared: _Shared) -> str:
    rows = (
        [label, words.ended(run), *map(number, (run.last.loss, *early_norms(run)[[0, -1]])),
         *(percent(one[0]) if one else "" for one in (run.frames[0].flat, run.last.dead))]
        for label, run in runs.items()
    )  # fmt: skip
    head = (
        *(comparison.title.lower(), "in the end", "loss"),
        *("dL/dW^(1) at first", "last layer's", "flat at first", "dead in the end"),
    )
    caption = (
        f"{comparison.title}: length of the gradients in the first ten epochs; share of layer 1's "
        "slopes g'(a) that are nearly 0 at first, and of its units where they are so for every row "
        "in the end"
    )
    return _section(
        name,
        comparison.title,
        page.text(comparison.told),
        _ends(runs, shared),
        page.figures([pictures.losses(runs, "The loss")]),
        page.table(head, rows, caption, texts=2),
    )


def _case(name: str, case: Case, shared: _Shared) -> str:
    trouble, runs = case.trouble, {"The trouble": case.ill, "The remedy": case.well}
    ill, well = (dict(words.settings(run.settings)) for run in (case.ill, case.well))
    differ = [(name, f"{ill[name]} → {well[name]}") for name in ill if ill[name] != well[name]]
    if not differ:
        differ = [("inputs", "as they come → of mean 0 and deviation 1")]
    return _section(
        name,
        trouble.title,
        page.facts([("What is seen", case.seen), ("Why", trouble.why)]),
        _formulas(trouble.title, trouble.formulas),
        page.facts([("Remedy", trouble.remedy), *differ]),
        _ends(runs, shared, " two"),
        pictures.legend(case.ill),
        page.figures(pictures.SIGNS[trouble.sign](case.ill, case.well)),
    )
