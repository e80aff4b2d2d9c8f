"""One HTML page that needs nothing else, and may load nothing, in light and dark, on any screen."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape

from fastnn.drawing.palette import colors

FRAME = colors(":root") + """*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:66rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.5rem 0 .5rem;padding-top:.75rem;border-top:1px solid var(--rule)}
"""
# What stands on it, here or in a card of a notebook.
PARTS = """
h3{font-size:1rem;margin:0 0 .25rem;overflow-wrap:anywhere}
p{margin:.25rem 0 .75rem;max-width:48rem}
.soft,figcaption,dt{color:var(--soft)}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.5rem 0}
caption{text-align:left;color:var(--soft);padding-bottom:.25rem}
th,td{padding:.25rem .75rem .25rem 0;text-align:right;font-weight:400;vertical-align:baseline}
thead th{color:var(--soft)}
tbody tr{border-top:1px solid var(--rule)}
th:first-child,.text{text-align:left;overflow-wrap:anywhere;min-width:6rem}
.matrix td{background:rgba(var(--heat),var(--t))}
.matrix td,.matrix thead th:not(:first-child){padding:.25rem .6rem;text-align:center}
.bars{width:100%;max-width:46rem}
.bars th:first-child{min-width:9rem}.matrix th:first-child{min-width:6.5rem}
.bars td:last-child{width:60%;padding-right:0}
.bar{height:.8rem;background:var(--s1);border-radius:0 2px 2px 0;min-width:1px}
.scores{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.5rem,1fr));gap:.75rem;margin:0}
.scores div{background:var(--band);border-radius:6px;padding:.5rem .75rem}
.scores dd{margin:0;font-size:1.35rem;font-variant-numeric:tabular-nums}
.facts{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.15rem 1rem;margin:0}
.facts dd{margin:0;overflow-wrap:anywhere}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr));
gap:1.25rem 2rem;align-items:start}
figure{margin:0;max-width:36rem}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}
.grid{stroke:var(--rule);stroke-width:1}
.axis{stroke:var(--soft);fill:none}
.line{fill:none;stroke-width:2;stroke-linejoin:round}
.faint{opacity:.6}.line.faint{stroke-width:1.2}
.s0{--c:var(--s0)}.s1{--c:var(--s1)}.s2{--c:var(--s2)}.s3{--c:var(--s3)}.s4{--c:var(--s4)}
.s5{--c:var(--s5)}.s6{--c:var(--s6)}
.line{stroke:var(--c)}.dots{fill:var(--c)}
.line.s0{stroke-dasharray:4 4}.line.s2{stroke-dasharray:7 3}.line.s3{stroke-dasharray:2 3}
.line.s4{stroke-dasharray:9 3 2 3}.line.s5{stroke-dasharray:12 4}.line.s6{stroke-dasharray:1 4}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1rem;margin:.25rem 0 0;padding:0;
color:var(--soft);font-size:.9rem}
.legend svg{display:inline-block;width:1.75rem;height:.65rem;margin-right:.4rem}
@media(max-width:30rem){.facts{grid-template-columns:1fr;gap:0}.facts dd{margin-bottom:.4rem}
th,td{padding-right:.4rem}table:not(.matrix,.bars) th:first-child{min-width:4.5rem}
.bars td:last-child{width:40%}}
"""


def page(
    title: str, told: str, sections: Iterable[str], style: str = "", script: str = ""
) -> str:
    """The whole file. told: a line below the title, text. style, script: the page's own, beside
    what all have; its policy lets no other script run and nothing be loaded."""
    runs = "'none'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        runs = f"'sha256-{digest}'"
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src {runs}"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            f"<title>{escape(title)}</title>",
            f"<style>{FRAME}{PARTS}{style}</style></head>",
            "<body><main>",
            f"<h1>{escape(title)}</h1>",
            f'<p class="soft">{escape(told)}</p>',
            *filter(None, sections),
            f"</main>{f'<script>{script}</script>' if script else ''}</body></html>",
            "",
        ]
    )


def section(title: str, *parts: str) -> str:
    """A section with what is in it; none where there is nothing but text."""
    return f"<section><h2>{escape(title)}</h2>\n{chr(10).join(filter(None, parts))}</section>"


def text(words: str) -> str:
    return f"<p>{escape(words)}</p>"


def figure(drawing: str, caption: str, title: str = "", legend: str = "") -> str:
    """A drawing with a heading above it and its legend and caption below."""
    heading = f"<h3>{escape(title)}</h3>" if title else ""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{heading}{drawing}{legend}{below}</figure>"


def figures(each: Iterable[str]) -> str:
    """Several beside each other, where there is room."""
    return f'<div class="figures">{"".join(each)}</div>'


def scores(pairs: Iterable[tuple[str, str]]) -> str:
    """Numbers to be seen first."""
    told = (f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in pairs)
    return f'<dl class="scores">{"".join(told)}</dl>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Titles and texts; one without a title goes on with the one before."""
    told = (f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs)
    return f'<dl class="facts">{"".join(told)}</dl>'


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], caption: str, texts: int = 1
) -> str:
    """The first cell of each row says what the row is of. texts: columns of words, from the left;
    the others are of numbers, which end below each other."""
    body = _body(_cells(row, texts) for row in rows)
    return _scrolling(caption, f"<table>{_head(caption, head, texts)}{body}</table>")


def bars(head: Sequence[str], rows: Sequence[tuple[str, float, str]], caption: str) -> str:
    """Names, lengths and what is written for them; lengths below 0 count as 0."""
    longest = max([length for _, length, _ in rows] + [0.0]) or 1.0
    cells = (
        f'{_cells([name, told])}<td><div class="bar" '
        f'style="width:{100 * max(length, 0) / longest:.1f}%"></div></td>'
        for name, length, told in rows
    )
    columns = f"{_head(caption, head)[: -len('</tr></thead>')]}<td></td></tr></thead>"
    return f'<table class="bars">{columns}{_body(cells)}</table>'


def matrix(
    corner: str,
    columns: Sequence[str],
    rows: Iterable[tuple[str, Sequence[tuple[str, float]]]],
    caption: str,
) -> str:
    """Cells of text and shade, from 0 to 1."""
    shaded = (
        _cells([name])
        + "".join(
            f'<td style="--t:{0.55 * shade:.2f}">{escape(told)}</td>'
            for told, shade in cells
        )
        for name, cells in rows
    )
    head = _head(caption, [corner, *columns])
    return _scrolling(caption, f'<table class="matrix">{head}{_body(shaded)}</table>')


def _scrolling(caption: str, inner: str) -> str:
    """What may be wider than the screen, for keyboards, too."""
    label = escape(caption, quote=True)
    return f'<div class="wide" tabindex="0" role="group" aria-label="{label}">{inner}</div>'


def _head(caption: str, names: Sequence[str], texts: int = 1) -> str:
    cells = "".join(
        f'<th scope="col"{_kind(0 < i < texts)}>{escape(name)}</th>' for i, name in enumerate(names)
    )
    return f"<caption>{escape(caption)}</caption><thead><tr>{cells}</tr></thead>"


def _cells(row: Sequence[str], texts: int = 1) -> str:
    first, *rest = row
    return f'<th scope="row">{escape(first)}</th>' + "".join(
        f"<td{_kind(i < texts)}>{escape(cell)}</td>" for i, cell in enumerate(rest, 1)
    )


def _kind(words: bool) -> str:
    return ' class="text"' if words else ""


def _body(rows: Iterable[str]) -> str:
    return f"<tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody>"
