"""A card: how an object shows itself in a notebook, beside whatever else stands there.

It has no ids and no script, so that it may be there twice, and its colours are those of the
notebook's theme.
"""

from __future__ import annotations

from html import escape

from fastnn.drawing import page
from fastnn.drawing.palette import colors_within

# Thrice the class: notebooks have rules of their own for tables, which are to give way.
STYLE = (
    colors_within(".fastnn")
    + """.fastnn.fastnn.fastnn{background:var(--paper);color:var(--ink);padding:.75rem 1rem;
border:1px solid var(--rule);border-radius:8px;max-width:60rem;box-sizing:border-box;
font:14px/1.5 system-ui,sans-serif;
p{margin:0 0 .25rem;max-width:none;overflow-wrap:anywhere}p:first-of-type{font-weight:600}
table{display:table;table-layout:auto;border:0;margin:.5rem 0;font-size:inherit;width:auto}
caption{caption-side:top}
tr,th,td{background:none;color:inherit}
th,td{border:0;max-width:none;white-space:normal}
thead{border:0}dl,ul{font-size:inherit}dt,dd{float:none;width:auto;font-weight:400;padding:0}
summary{cursor:pointer;color:var(--soft)}"""
    + page.PARTS
    + "th:first-child{min-width:3rem}td:not(.text){white-space:nowrap}}"
)


def card(name: str, told: str, *parts: str) -> str:
    """name: of the object, in a line. told: what it is, text. parts: of page and charts."""
    lines = [f"<p>{escape(name)}</p>"]
    if told:
        lines.append(f'<p class="soft">{escape(told)}</p>')
    inner = "".join([*lines, *filter(None, parts)])
    return f'<div class="fastnn"><style>{STYLE}</style>{inner}</div>'


def folded(title: str, *parts: str) -> str:
    """Shown by a click, or a key."""
    return f"<details><summary>{escape(title)}</summary>{''.join(parts)}</details>"
