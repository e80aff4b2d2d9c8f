"""A network as a drawing: units are boxes with a, h and delta, weights lines between them.

Of lines and boxes the page's script changes what is shown; without it they show the pass, with W on
the lines.
"""

from __future__ import annotations

import math
from html import escape

import numpy as np

from fastnn.drawing.formula import written
from fastnn.explain.quantities import Quantities

DIGITS = 4  # significant, in the drawing
BOX, GAP = 98, 94  # widths of a unit's box and of the space between layers, at least
LINE = 15  # height of a line of text
LABELLED = 4  # units of a layer, at most, between which weights are written on their lines
LABEL = 64, 14  # room for such a number
NEAR = 0.27  # where on a line its number stands, at most: as lines part behind their unit
TARGET = 74  # width of what stands beside the outputs


def told(value: float) -> str:
    return written(value, DIGITS)


def rows_of(values: np.ndarray | None) -> np.ndarray:
    """(n, n_k), also of a single row."""
    return np.atleast_2d(np.asarray(values))


def levels(trace: Quantities) -> list[np.ndarray]:
    """h^(0), h^(1), ..., (n, n_k) each."""
    first = trace.x if trace.h_0 is None else trace.h_0
    return [rows_of(one) for one in (first, *trace.h)]


def drawing(trace: Quantities, targets: list[str]) -> str:
    """SVG of the first row. targets: what is written beside each output."""
    sizes = [len(one[0]) for one in levels(trace)]
    labelled = max(sizes) <= LABELLED
    space = {1: 64, 2: 64, 3: 44, 4: 30}.get(max(sizes), 12)
    heights = [2 * LINE + 4, *(3 * LINE + 12 for _ in sizes[1:])]
    pitches = [height + space for height in heights]
    # Few inputs stand as far apart as the units beside them.
    pitches[0] = max(pitches[0], pitches[1]) if labelled else pitches[0]
    tall = max(n * pitch for n, pitch in zip(sizes, pitches, strict=True)) + 26
    # The numbers on a unit's lines end before those on its neighbour's begin, and behind its box.
    near = min(NEAR, *(_near(n, pitches[1]) for n in sizes[1:])) if labelled else NEAR
    gap = max(GAP, math.ceil(LABEL[0] / 2 / near))
    wide = len(sizes) * BOX + (len(sizes) - 1) * gap + TARGET + 8

    def place(k: int, i: int) -> tuple[float, float]:
        """The left end of a unit's box, and its middle."""
        middle = 26 + (tall - 26) / 2 + (i - (sizes[k] - 1) / 2) * pitches[k]
        return 4 + k * (BOX + gap), middle

    parts = [
        f'<svg class="net" viewBox="0 0 {wide} {tall:.0f}" role="group" id="net" '
        f'style="width:{wide}px;min-width:{0.72 * wide:.0f}px" '
        'aria-label="The network; up and down arrow keys go from unit to unit, Enter selects one">'
    ]
    for k in range(len(sizes)):
        name = "inputs" if k == 0 else "outputs" if k == len(sizes) - 1 else f"layer {k}"
        name = "features" if k == 0 and trace.h_0 is not None else name
        parts.append(
            f'<text class="head" x="{place(k, 0)[0] + BOX / 2:.0f}" y="14" '
            f'text-anchor="middle">{name}</text>'
        )
    labels = []
    for k in range(1, len(sizes)):
        W = np.asarray(trace.W[k - 1])
        largest = float(abs(W).max()) or 1.0
        for i in range(sizes[k]):
            for j in range(sizes[k - 1]):
                (x1, y1), (x2, y2) = place(k - 1, j), place(k, i)
                x1 += BOX
                size = abs(float(W[i, j])) / largest
                sign = "neg" if W[i, j] < 0 else "pos"
                parts.append(
                    f'<path class="edge {sign}" data-e="{k}.{i}.{j}" stroke-width="'
                    f'{0.6 + 4 * size:.1f}" d="M{x1:.0f} {y1:.0f}L{x2:.0f} {y2:.0f}"/>'
                )
                if labelled:
                    labels.append(
                        f'<text class="w" data-w="{k}.{i}.{j}" x="{x1 + near * (x2 - x1):.0f}" '
                        f'y="{y1 + near * (y2 - y1) + 4:.0f}" text-anchor="middle">'
                        f"{told(W[i, j])}</text>"
                    )
    parts += labels
    for k, n in enumerate(sizes):
        for i in range(n):
            parts.append(_unit(trace, k, i, *place(k, i), heights[k]))
    x = place(len(sizes) - 1, 0)[0] + BOX
    for i, text in enumerate(targets):
        parts.append(
            f'<text class="y" x="{x + 8}" y="{place(len(sizes) - 1, i)[1] + 4:.0f}">'
            f"{escape(text)}</text>"
        )
    parts.append("</svg>")
    return "".join(parts)


def _near(n: int, pitch: float) -> float:
    """Where n lines of units so far apart hold their numbers, one below the other: n steps of this
    part of the pitch, and the last number's height, make a pitch."""
    return (pitch - LABEL[1]) / (n * pitch)


def _unit(trace: Quantities, k: int, i: int, x: float, y: float, height: int) -> str:
    values = {"h": levels(trace)[k][0][i]}
    if k:
        values = {"a": rows_of(trace.a[k - 1])[0][i], **values}
        values["δ"] = rows_of(trace.delta[k - 1])[0][i]
    elif trace.delta_0 is not None:
        values["δ"] = rows_of(trace.delta_0)[0][i]
    top = y - height / 2
    first = y - (len(values) - 1) * LINE / 2 + 4.5
    lines = "".join(
        f'<text x="{x + 7:.0f}" y="{first + n * LINE:.1f}" class="q">{name}</text>'
        f'<text x="{x + BOX - 6:.0f}" y="{first + n * LINE:.1f}" text-anchor="end" '
        f'data-u="{name}">{told(value)}</text>'
        for n, (name, value) in enumerate(values.items())
    )
    numbers = ", ".join(f"{name} {told(value)}" for name, value in values.items())
    return (
        f'<g class="unit" data-unit="{k}.{i}" role="button" tabindex="-1" aria-pressed="false" '
        f'aria-label="Unit {i} of layer {k}: {numbers}">'
        f'<rect x="{x:.0f}" y="{top:.1f}" width="{BOX}" height="{height}" rx="7"/>{lines}</g>'
    )
