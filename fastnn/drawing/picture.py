"""A chart as a file of its own, whose colours follow light and dark wherever it is shown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fastnn.drawing.charts import HEIGHT, LEFT, WIDTH, Range, Series, plot
from fastnn.drawing.palette import colors_within

STYLE = f"<style>{colors_within('svg.drawn')}" + """svg.drawn{background:var(--paper)}
.drawn text{fill:var(--soft);font:12px system-ui,sans-serif}.drawn .grid{stroke:var(--rule)}
.drawn .axis{stroke:var(--soft);fill:none}
.drawn .s1{--c:var(--s1)}.drawn .s2{--c:var(--s2)}.drawn .s3{--c:var(--s3)}
.drawn .line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round}
.drawn .line.s2{stroke-dasharray:7 3}.drawn .line.s3{stroke-dasharray:2 3}
.drawn .dots{fill:var(--c);stroke:var(--paper)}.drawn .plane{fill:var(--c)}
</style>"""


def picture(
    series: Sequence[Series],
    *,
    title: str,
    told: str,
    x_title: str,
    y_title: str,
    x: Range | None = None,
    y: Range | None = None,
    behind: str = "",
) -> str:
    """What `plot` draws, with the names of the series below it. behind: SVG, under the series."""
    svg = plot(series, title=title, told=told, x_title=x_title, y_title=y_title, x=x, y=y)
    found = re.match(r"<svg (.*?)>(.*)</svg>", svg, re.DOTALL)
    assert found is not None
    head = found[1].replace(f"{WIDTH} {HEIGHT}", f"{WIDTH} {HEIGHT + 18}")
    keys, at = "", LEFT
    for one in series:
        kind = f'class="{"line" if one.line else "dots"} s{one.color}"'
        sign = f'<path {kind} d="M{at} {HEIGHT + 6}h24"/>'
        if one.dots:
            sign = f'<circle {kind} cx="{at + 18}" cy="{HEIGHT + 6}" r="4"/>'
        keys += f'{sign}<text x="{at + 30}" y="{HEIGHT + 10}">{one.name}</text>'
        at += 44 + 7 * len(one.name)
    head = f'<svg class="drawn picture" xmlns="http://www.w3.org/2000/svg" {head}>'
    return f"{head}{STYLE}{behind}{found[2]}{keys}</svg>\n"
