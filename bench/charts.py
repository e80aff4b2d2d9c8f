"""The charts of README and docs/benchmarks.md: SVG whose colours follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

import numpy as np

from bench.entrants import ENTRANTS
from bench.markdown import number
from bench.results import Result, counts, measured, numbers_of_threads, threads
from bench.tables.entrants import ENTRANTS as TABLE_ENTRANTS
from bench.tables.report import KINDS, Standing
from bench.workloads import Workload
from fastnn.drawing.charts import Range, Series
from fastnn.drawing.palette import colors_within
from fastnn.drawing.picture import picture

TIMES = "Time of the best peer and of the others, divided by fastnn's"
SHAPES = "Random shapes: time of the best peer, divided by fastnn's"
TABLES = "Mean rank over tables by each score, and how long fits take"
ROW, TOP, LABELS, PANEL, VALUES = 20, 58, 260, 210, 150  # of the drawing, in its own units
TICKS = [0.5, 1, 2, 5, 10, 20, 50]  # times as long as fastnn; what lies beyond is at the end
TIMES_AS_LONG = Range(
    math.log10(TICKS[0]), math.log10(TICKS[-1]), TICKS, [f"{tick:g}" for tick in TICKS], log=True
)
RANK_LABELS, RANK_PANEL, RANK_VALUES = 236, 130, 46
STYLE = f"""<style>{colors_within("svg.drawn")}
.drawn text{{fill:var(--soft);font:12px system-ui,sans-serif}}
.drawn .head{{fill:var(--ink);font-weight:600}}
.drawn .grid{{stroke:var(--rule)}}.drawn .even{{stroke:var(--s1);stroke-width:2}}
.drawn .slower,.drawn .ours{{fill:var(--s1)}}.drawn .faster{{fill:var(--s2)}}
.drawn .other{{fill:var(--s0)}}.drawn .peer{{fill:var(--soft);opacity:.5}}</style>"""


def times(result: Result) -> str:
    """Times of the peers / fastnn's: a bar to the best peer, a dot for every other."""
    all_threads = numbers_of_threads(result)
    found = {
        n: {**measured(result, "train", n), **measured(result, "predict", n)} for n in all_threads
    }
    names = dict.fromkeys(one["workload"]["name"] for one in result["measurements"])
    names = [name for name in names if any(name in of for of in found.values())]
    width, height = LABELS + len(all_threads) * (PANEL + VALUES), TOP + ROW * len(names) + 40
    parts = _key()
    for row, name in enumerate(names):
        one = next(of[name] for of in found.values() if name in of)
        workload = Workload.from_dict(one["workload"])
        label = f"{workload.kind} {workload.title}"
        parts.append(_text(LABELS - 8, TOP + ROW * (row + 0.7), label, "end"))
    for panel, n in enumerate(all_threads):
        left = LABELS + panel * (PANEL + VALUES)
        parts += _panel(left, PANEL, threads(n), height - 36, TIMES_AS_LONG, at=1)
        parts.append(_text(left + PANEL / 2, height - 6, "times as long as fastnn", "middle"))
        for row, name in enumerate(names):
            if name in found[n]:
                parts += _row(left, TOP + ROW * row, found[n][name])
    return _drawing(width, height, TIMES, parts)


def _key() -> list[str]:
    bar = '<rect class="{0}" x="{1}" y="6" width="18" height="10"/>'
    return [
        bar.format("slower", 8),
        _text(32, 16, "best peer, slower than fastnn"),
        bar.format("faster", 238),
        _text(262, 16, "best peer, faster"),
        '<circle class="peer" cx="410" cy="11" r="3.5"/>',
        _text(422, 16, "other peers"),
    ]


def _row(left: float, top: float, one: Result) -> list[str]:
    parts, best = [], one["best_peer"]
    for name, result in one["entrants"].items():
        if name not in ("fastnn", best) and counts(result) and math.isfinite(result["ratio"]):
            x = left + _across(TIMES_AS_LONG, PANEL, result["ratio"])
            parts.append(f'<circle class="peer" cx="{x:.1f}" cy="{top + ROW / 2}" r="3"/>')
    if best is not None:
        ratio = one["entrants"][best]["ratio"]
        low, high = sorted(_across(TIMES_AS_LONG, PANEL, at) for at in (1, ratio))
        kind = "slower" if ratio >= 1 else "faster"
        parts.append(_bar(kind, left + low, top, high - low))
        text = f"{ratio:.2f}  {ENTRANTS[best].title}"
        parts.append(_text(left + PANEL + 6, top + 0.7 * ROW, text))
    return parts


def shapes(result: Result) -> str:
    """The best peer's time / fastnn's of each random shape, over fastnn's."""
    series, told = [], []
    for color, n in enumerate(numbers_of_threads(result), 1):
        found = [one for one in result["measurements"] if one["threads"] == n and one["ratio"]]
        ours = np.array([one["entrants"]["fastnn"]["median_us"] for one in found])
        ratios = np.array([one["ratio"] for one in found])
        series.append(Series(ours, ratios, threads(n), color, line=False, dots=True))
        told.append(f"{threads(n)}: {np.sum(ratios >= 1)} of {len(ratios)} at 1 or above")
    x = Range.logarithmic(np.concatenate([one.x for one in series]))
    y = Range.logarithmic(np.append(1.0, np.concatenate([one.y for one in series])))
    series.append(Series(x.ends, np.ones(2), "as fast as fastnn", 3))
    return picture(
        series,
        title=SHAPES,
        told="; ".join(told),
        x_title="fastnn, microseconds a step",
        y_title="the best peer's time / fastnn's",
        x=x,
        y=y,
    )


def tables(found: dict[str, Standing]) -> str:
    """Mean ranks by kind of score, and times as long as the fastest to fit: a bar each."""
    kinds = [kind for kind in KINDS if any(kind in one.rank for one in found.values())]
    columns: dict[str, dict[str, float | None]] = {
        kind: {name: one.rank.get(kind) for name, one in found.items()} for kind in kinds
    }
    columns["seconds to fit"] = {name: one.slower for name, one in found.items()}
    width = RANK_LABELS + len(columns) * (RANK_PANEL + RANK_VALUES)
    height = TOP + ROW * len(found) + 26
    most = max(one.tables for one in found.values())
    parts = [_text(8, 16, f"{TABLES}, the fastest of each table being 1. Shorter is better.")]
    for row, (name, one) in enumerate(found.items()):
        some = f" ({one.tables} of {most} tables)" if one.tables < most else ""
        label = TABLE_ENTRANTS[name].title + some
        parts.append(_text(RANK_LABELS - 8, TOP + ROW * (row + 0.7), label, "end"))
    for panel, (title, values) in enumerate(columns.items()):
        left = RANK_LABELS + panel * (RANK_PANEL + RANK_VALUES)
        known = np.array([value for value in values.values() if value is not None])
        ranks = panel < len(kinds)
        axis = _from_zero(len(found)) if ranks else Range.logarithmic(np.append(1.0, known))
        parts += _panel(left, RANK_PANEL, title, height - 22, axis)
        for row, (name, value) in enumerate(values.items()):
            if value is not None:
                kind = "ours" if name.startswith("fastnn") else "other"
                long, top = _across(axis, RANK_PANEL, value), TOP + ROW * row
                parts.append(_bar(kind, left, top, long))
                told = f"{value:.2f}" if ranks else number(value)
                parts.append(_text(left + long + 5, top + 0.7 * ROW, told))
    return _drawing(width, height, TABLES, parts)


def _from_zero(most: int) -> Range:
    ticks = [float(tick) for tick in range(0, most + 1, 3 if most > 4 else 1)]
    return Range(0, most, ticks, [f"{tick:g}" for tick in ticks])


def _drawing(width: float, height: float, told: str, parts: Iterable[str]) -> str:
    head = (
        f'<svg class="drawn" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(told)}">'
    )
    return "\n".join([head, STYLE, *parts, "</svg>\n"])


def _panel(
    left: float, width: float, title: str, bottom: float, axis: Range, at: float | None = None
) -> list[str]:
    """at: where a line is stronger."""
    parts = [_text(left, TOP - 12, title, more='class="head"')]
    for tick, written in zip(axis.ticks, axis.texts, strict=True):
        kind, x = "even" if tick == at else "grid", left + _across(axis, width, tick)
        parts.append(f'<path class="{kind}" d="M{x:.1f} {TOP}V{bottom}"/>')
        parts.append(_text(x, bottom + 14, written, "middle"))
    return parts


def _bar(kind: str, left: float, top: float, width: float) -> str:
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{top + 5}" width="{width:.1f}" '
        f'height="{ROW - 10}"/>'
    )


def _across(axis: Range, width: float, value: float) -> float:
    return width * float(axis.place(np.array([value]))[0])


def _text(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'
