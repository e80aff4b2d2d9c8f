"""The epochs of a fit as a card in a notebook: learning curves, drawn, and a table."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from fastnn.checks import counted
from fastnn.drawing import page
from fastnn.drawing.card import card, folded
from fastnn.drawing.charts import Range, Series, legend, plot

POINTS = 200  # of a curve; of more epochs some are left out
DOTTED = 40  # epochs, at most, whose points are dots, too
ROWS = 50  # of the table
COLORS = 6  # that can be told apart in a drawing

Columns = Mapping[str, list[float]]


def history_card(columns: Columns, panels: Mapping[str, Mapping[str, str]]) -> str:
    """columns: of the history. panels: a title, and which columns are drawn, by what they are
    called there."""
    epochs = columns.get("epoch", [])
    if not epochs:
        return card("History of no epochs", "")
    best = lowest(columns.get("val_loss", []))
    told = [f"{sum(columns['seconds']):.3g} s"] if "seconds" in columns else []
    if best is not None:
        loss = columns["val_loss"][best]
        told.append(f"val_loss is lowest after epoch {epochs[best]}: {loss:.4g}")
    drawn = [
        _chart(title, epochs, {label: columns[name] for label, name in names.items()}, best)
        for title, names in panels.items()
    ]
    parts = page.figures(drawn), _table(columns, len(epochs), best)
    return card(f"History of {counted(len(epochs), 'epoch')}", "; ".join(told), *parts)


def lowest(losses: list[float]) -> int | None:
    """Where the lowest of them is; None where none is finite."""
    known = [(loss, i) for i, loss in enumerate(losses) if math.isfinite(loss)]
    return min(known)[1] if known else None


def _chart(title: str, epochs: list[float], curves: Columns, best: int | None) -> str:
    rows = _spread(len(epochs), POINTS, best)
    labels = [list(curves)[i] for i in _spread(len(curves), COLORS)]
    x = np.asarray(epochs, np.float64)
    values = {label: np.asarray(curves[label], np.float64) for label in labels}
    series = [
        Series(x[rows], y[rows], label, color, dots=len(epochs) <= DOTTED)
        for color, (label, y) in _colored(values)
    ]
    told = [_told(epochs, label, y) for label, y in values.items()]
    validation = values.get(f"val_{title}")
    if best is not None and validation is not None and math.isfinite(validation[best]):
        name = f"epoch {epochs[best]}, lowest val_loss"
        at = x[[best]], validation[[best]]
        series.append(Series(*at, name, 3, line=False, dots=True, sizes=np.array([5.0])))
        told.append(f"{validation[best]:.4g} after {name}")
    title = title.replace("_", " ")
    drawing = plot(
        series,
        title=title,
        told="; ".join(told),
        x_title="epoch",
        y_title=title,
        x=Range.of(x, whole=True),
        y=Range.of(np.concatenate(list(values.values())), skewed=True),
    )
    return page.figure(drawing, "", "", legend(series))


def _colored(values: Mapping[str, np.ndarray]) -> list[tuple[int, tuple[str, np.ndarray]]]:
    """Training has one colour, validation another; layers each their own."""
    pair = len(values) <= 2
    return [
        ((2 if label.startswith("val_") else 1) if pair else i, (label, y))
        for i, (label, y) in enumerate(values.items(), 1)
    ]


def _told(epochs: list[float], label: str, y: np.ndarray) -> str:
    """What a curve shows, for those who do not see it."""
    known = np.flatnonzero(np.isfinite(y))
    if not len(known):
        return f"{label} has no finite value"
    first, last = known[0], known[-1]
    start = f"{label} {y[first]:.4g} after epoch {epochs[first]}"
    return start if first == last else f"{start}, {y[last]:.4g} after epoch {epochs[last]}"


def _table(columns: Columns, n: int, best: int | None) -> str:
    rows = _spread(n, ROWS, best)
    cells = [[_text(values[i]) for i in rows] for values in columns.values()]
    some = f", {len(rows)} of {n:,}" if len(rows) < n else ""
    table = page.table(list(columns), zip(*cells, strict=True), f"Epochs{some}")
    return folded("As a table", table)


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else "–" if math.isnan(value) else f"{value:.6g}"


def _spread(n: int, most: int, wanted: int | None = None) -> list[int]:
    """At most so many of n rows, the first and the last among them; and a wanted one."""
    rows = set(np.round(np.linspace(0, n - 1, min(n, most))).astype(int).tolist())
    return sorted(rows if wanted is None else rows | {wanted})
