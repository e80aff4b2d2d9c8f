"""What pages that are walked through step by step have in common: buttons and a slider, which their
scripts bring to life, and boxes of formulas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

STYLE = """
.controls{position:sticky;top:0;z-index:2;background:var(--paper);padding:.5rem 0;display:flex;
flex-wrap:wrap;gap:.5rem;align-items:center;border-bottom:1px solid var(--rule)}
.controls input{flex:1 1 12rem;min-width:8rem;accent-color:var(--s1)}
.controls button,.controls select{font:inherit;color:inherit;background:var(--band);border:1px solid
var(--edge);border-radius:6px;padding:.3rem .8rem;min-height:2.25rem}
.controls button:hover:enabled{border-color:var(--ink)}
.controls button:disabled{opacity:.5}
:focus-visible{outline:3px solid var(--s1);outline-offset:2px}
[hidden]{display:none!important}
.where{margin:0;color:var(--soft);font-variant-numeric:tabular-nums}
.formula{overflow-x:auto;background:var(--band);border-radius:8px;padding:.35rem 1rem;
margin:.5rem 0 1rem}
.formula math{margin:.45rem 0;text-align:left;font-size:1.15rem}
mtable.cases mtd{text-align:left;padding:.1em .5em .1em 0}
@media(max-width:30rem){.controls{gap:.4rem}.controls button{padding:.3rem .55rem}
.formula{padding:.35rem .5rem}.formula math{font-size:1.05rem}}
@media print{.controls{display:none}}
"""


def controls(buttons: Mapping[str, str], what: str, more: str = "") -> str:
    """Hidden until a script shows them, and a line that says where one is.

    buttons: texts by id. what: the slider (id slider) moves through, such as steps. more: HTML
    beside it.
    """
    each = (
        f'<button type="button" id="{name}">{text}</button>' for name, text in buttons.items()
    )
    slider = f'<input type="range" id="slider" min="0" max="1" value="0" aria-label="{what}">'
    return (
        f'<div class="controls" hidden>{"".join(each)}{slider}{more}</div>'
        '<p class="where" id="where" role="status" aria-live="polite"></p>'
    )


def formulas(title: str, each: Iterable[str]) -> str:
    """A box of MathML. title: of what they are, no other box having the same."""
    label = f'tabindex="0" role="group" aria-label="Formula: {escape(title)}"'
    return f'<div class="formula" {label}>{"".join(each)}</div>'
