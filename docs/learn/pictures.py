"""The pictures of docs/learn: curves, and what a network makes of the plane.

SVG whose colours follow light and dark. A notebook shows the picture that a cell ends with.
"""

from __future__ import annotations

import numpy as np

from fastnn.drawing.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Range, Series
from fastnn.drawing.picture import picture

CELLS = 40  # of the plane, across and down
SHADES = 6  # of a colour: the surer, the darker


class Picture:
    def __init__(self, svg: str) -> None:
        self.svg = svg

    def _repr_html_(self) -> str:
        return f'<div style="max-width:36rem">{self.svg}</div>'


def curves(
    lines: dict[str, np.ndarray], title: str, x_title: str, y_title: str, most: float = np.inf
) -> Picture:
    """Each of lines over 1, 2, 3, ...; values beyond most, and NaN, at most."""
    series = []
    for color, (name, values) in enumerate(lines.items(), 1):
        values = np.nan_to_num(np.asarray(values, float), nan=most, posinf=most)
        x = np.arange(1.0, len(values) + 1)
        series.append(Series(x, np.minimum(values, most), name, color))
    told = "; ".join(lines)
    return Picture(picture(series, title=title, told=told, x_title=x_title, y_title=y_title))


def plane(f, X: np.ndarray, y: np.ndarray, title: str, names=("x_0", "x_1")) -> Picture:
    """The rows of X (n, 2), coloured by class y, over what f makes of the plane.

    f takes points (m, 2) and gives probabilities (m, n_classes), or (m, 1) of class 1.
    """
    x_axis, y_axis = (Range.of(np.append(X[:, i], [X[:, i].min() - 0.5, X[:, i].max() + 0.5]))
                      for i in (0, 1))  # fmt: skip
    across, down = (WIDTH - RIGHT - LEFT) / CELLS, (HEIGHT - BOTTOM - TOP) / CELLS
    middles = (np.arange(CELLS) + 0.5) / CELLS
    px = x_axis.low + middles * (x_axis.high - x_axis.low)
    py = y_axis.high - middles * (y_axis.high - y_axis.low)
    p = np.asarray(f(np.column_stack([np.tile(px, CELLS), np.repeat(py, CELLS)])))
    p = np.hstack([1 - p, p]) if p.shape[1] == 1 else p
    best, least = p.argmax(1), 1 / p.shape[1]
    shade = np.rint((p.max(1) - least) / (1 - least) * SHADES).astype(int)
    parts = []
    for color, level in sorted(set(zip(best.tolist(), shade.tolist(), strict=True))):
        path = ""
        for r, row in enumerate(((best == color) & (shade == level)).reshape(CELLS, CELLS)):
            ends = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
            for start, stop in ends.reshape(-1, 2).tolist():
                left, width = LEFT + start * across, (stop - start) * across
                path += f"M{left:.1f} {TOP + r * down:.1f}h{width:.1f}v{down:.1f}h-{width:.1f}z"
        opacity = 0.06 + 0.34 * level / SHADES
        parts.append(f'<path class="plane s{color + 1}" opacity="{opacity:.2f}" d="{path}"/>')
    dots = [
        Series(*X[y == c].T, f"y = {c}", c + 1, line=False, dots=True) for c in range(p.shape[1])
    ]
    told = "points of each class over the plane, coloured by the class that is found"
    axes = {"x_title": names[0], "y_title": names[1], "x": x_axis, "y": y_axis}
    return Picture(picture(dots, title=title, told=told, **axes, behind="".join(parts)))
