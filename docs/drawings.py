"""The drawings of architecture.md: `python docs/drawings.py` writes them.

SVG whose colours follow light and dark, also where a page holds it as a picture.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from fastnn.drawing.palette import colors_within  # noqa: E402

STYLE = f"""<style>
{colors_within("svg.drawn")}.drawn text{{fill:var(--soft);font:12px system-ui,sans-serif}}
.drawn .head{{fill:var(--ink);font-weight:600}}.drawn .ink{{fill:var(--ink)}}
.drawn .code{{fill:var(--ink);font-family:ui-monospace,monospace}}
.drawn rect,.drawn path{{fill:none;stroke:var(--rule)}}
.drawn .s1{{stroke:var(--s1)}}.drawn .s2{{stroke:var(--s2)}}.drawn .s3{{stroke:var(--s3)}}
.drawn .f1{{stroke:none;fill:var(--s1);opacity:.14}}
.drawn .f2{{stroke:none;fill:var(--s2);opacity:.16}}.drawn .band{{fill:var(--band)}}
.drawn .road{{stroke:var(--soft)}}.drawn .wall{{stroke:var(--ink);stroke-width:2.5}}
.drawn .tip{{fill:var(--soft);stroke:none}}
</style>"""
LINE = 15


def drawing(width: int, height: int, told: str, parts: Iterator[str]) -> str:
    """told: what is seen, for those who do not see it."""
    head = (
        f'<svg class="drawn" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(told)}">'
    )
    return "\n".join([head, STYLE, *parts, "</svg>\n"])


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Lines below each other."""
    shown = f' class="{kind}"' if kind else ""
    return "".join(
        f'<text x="{x:g}" y="{y + i * LINE:g}" text-anchor="{anchor}"{shown}>{escape(one)}</text>'
        for i, one in enumerate(words.split("\n"))
    )


def box(x: float, y: float, width: float, height: float, kind: str = "", round: int = 0) -> str:
    rx = f' rx="{round}"' if round else ""
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"{rx}/>'


def arrow(*points: tuple[float, float]) -> str:
    """A road with a tip at its end; its last part is straight across or straight down."""
    (x0, y0), (x, y) = points[-2:]
    sign = 1 if (x, y) > (x0, y0) else -1
    road = "M" + "L".join(f"{a:g} {b:g}" for a, b in points)
    tip = (
        f"M{x:g} {y:g}l{-7 * sign} -4v8z" if y == y0 else f"M{x:g} {y:g}l-4 {-7 * sign}h8z"
    )
    return f'<path class="road" d="{road}"/><path class="tip" d="{tip}"/>'


def cell(x: float, y: float, words: str, kind: str, size: int = 28) -> str:
    middle = text(x + size / 2 + 1, y + size / 2 + 5, words, anchor="middle")
    return box(x + 1, y + 1, size, size, kind) + middle


def panels() -> Iterator[str]:
    n_out, n_in, nr, side = 6, 3, 4, 30

    def kind(i: int) -> str:
        return "s1" if i < nr else "s2"

    yield text(20, 20, "theta: W row by row", "head") + text(20, 38, "an output a row")
    for i in range(n_out):
        for j in range(n_in):
            yield cell(20 + j * side, 50 + i * side, f"{i + 1},{j + 1}", kind(i))
    for p in range(2):
        x = 200 + p * 210
        yield text(x, 20, f"panel {p + 1} of Wp", "head")
        yield text(x, 38, "an input a row, an output a lane")
        for j in range(n_in):
            for c in range(nr):
                i = p * nr + c
                name, of = (f"{i + 1},{j + 1}", kind(i)) if i < n_out else ("0", "")
                yield cell(x + c * side, 50 + j * side, name, of)
    yield arrow((200, 152), (200 + nr * side, 152))
    yield text(200, 172, "NR columns: two vectors") + text(410, 172, "padding stays zero")
    yield text(200, 204, "a of NR outputs at a time: sums over the rows of a panel, in order")


def step() -> Iterator[str]:
    """A step of 784-128-10 on two threads, by what kernels/step.pyx says of barriers."""
    left, tops, tall = 86, (70, 150), 64
    columns = (  # width, what each thread does, of which kind
        (178, "forward, layer 1:\nh[1] = g(h[0] W1ᵀ + b1)",
         ("the first panels of W1", "the other panels"), "1"),
        (250, "forward, layer 2; output; backward:\nh[2], L, delta[2], delta[1]",
         ("the first half of the rows", "the second half"), "1"),
        (200, "gradient and step:\nW -= rate deltaᵀ h, all layers",
         ("its blocks of W1 and W2", "its blocks"), "2"),
        (120, "gather:\nthe next h[0]", ("its rows", "its rows"), ""),
    )  # fmt: skip
    for thread, y in enumerate(tops):
        yield text(10, y + 36, f"thread {thread}", "ink")
    x, bottom = left, tops[1] + tall
    phases = (
        ("1. all read the weights, nobody writes them", 0, 2),
        ("2. each steps the weights it owns", 2, 4),
    )
    widths = [one[0] for one in columns]
    for title, first, last in phases:
        begin = left + sum(widths[:first])
        yield text(begin + 8, 20, title, "head")
        yield f'<path class="road" d="M{begin + 4:g} 30H{left + sum(widths[:last]) - 4:g}"/>'
    for width, told, parts, color in columns:
        yield text(x + 8, 48, told, "ink")
        for part, y in zip(parts, tops, strict=True):
            yield box(x + 4, y + 10, width - 8, tall - 14, f"f{color}" if color else "band", 6)
            yield box(x + 4, y + 10, width - 8, tall - 14, f"s{color}" if color else "", 6)
            yield text(x + 14, y + 41, part)
        x += width
    ends = [left, left + widths[0], left + sum(widths[:2]), left + sum(widths)]
    barriers = (
        "",
        "barrier: layer 2 reads\nall panels of h[1]",
        "barrier: every delta is known; where a\nloss is not finite, all leave before theta moves",
        "barrier: the\nstep is whole",
    )
    for at, told in zip(ends, barriers, strict=True):
        yield f'<path class="wall" d="M{at:g} 62V{bottom + 8:g}"/>'
        yield text(at, bottom + 26, told, anchor="end" if at == ends[-1] else "middle")


def tile() -> Iterator[str]:
    """The product tile of src/tiles.h, drawn with 4 rows of 2 vectors of 4 lanes."""
    rows, lanes, side, x0, y0 = 4, 8, 26, 300, 128
    yield text(20, 20, "A: h_prev, a sample a row", "head")
    yield text(20, 38, "one number of each row, copied\ninto all lanes (broadcast)")
    for r in range(rows):
        y = y0 + r * side
        for k in range(6):
            yield cell(90 + k * side, y, "a" if k == 2 else "", "s1" if k == 2 else "", side - 2)
        yield text(78, y + 18, f"sample {r + 1}", anchor="end")
    yield text(90 + 2.5 * side, y0 - 8, "k", "code", "middle")
    yield text(x0, 20, "B: a panel of Wp, an input a row", "head")
    yield text(x0, 38, "row k: two vectors, loaded")
    for lane in range(lanes):
        kind = "s2" if lane < 4 else "s3"
        yield cell(x0 + lane * side, 56, "b", kind, side - 2)
    yield arrow((x0 + 4 * side, 86), (x0 + 4 * side, 118))
    yield arrow((90 + 6 * side + 6, y0 + 2 * side), (x0 - 8, y0 + 2 * side))
    for r in range(rows):
        for lane in range(lanes):
            yield cell(x0 + lane * side, y0 + r * side, "", "s2" if lane < 4 else "s3", side - 2)
    yield box(x0 - 4, y0 - 4, lanes * side + 8, rows * side + 8, "road", 4)
    below = y0 + rows * side
    yield text(x0, below + 24, "C: the sums, in registers for all k", "head")
    yield text(x0, below + 42, "sum[r][v] += a[r] * b[v]", "code")
    yield text(
        20, below + 24,
        "then k + 1, in order: each sum is one\n"
        "chain of multiply-adds (fma)",
    )
    x = x0 + lanes * side + 50
    yield arrow((x0 + lanes * side + 8, y0 + 2 * side), (x - 6, y0 + 2 * side))
    yield text(x, 20, "The last lines, before it is stored", "head")
    for i, (what, formula) in enumerate((
        ("forward", "h = g(sum + b)"),
        ("hidden delta", "delta = sum * g'(a)"),
        ("gradient: rows are inputs, k samples", "W = W - rate * sum"),
        ("more of k to come", "sum, taken up again as it was"),
    )):  # fmt: skip
        y = 56 + i * 46
        yield text(x, y, what) + text(x, y + 17, formula, "code" if i < 3 else "ink")
    yield text(
        x, below + 24,
        "the largest tile, rows x vectors: AVX-512\n"
        "14 x 2, NEON 12 x 2, AVX2 6 x 2",
    )


def owners() -> Iterator[str]:
    def holder(x: int, y: int, height: int, kind: str, title: str, *lines: str) -> str:
        below = text(x + 14, y + 42, "\n".join(lines))
        return box(x, y, 260, height, kind, 8) + text(x + 14, y + 22, title, "head") + below

    yield holder(
        *(10, 10, 74, "band", "Model"),
        "arguments, metadata, columns; what",
        "training changes is in Parameters",
    )
    yield holder(
        *(10, 134, 160, "s1", "Parameters"),
        "theta, the optimizer's state, running",
        "statistics: NumPy vectors of its own",
        "memory, never moved",
        "version: a number of each change",
        "locks: turn, held by whoever trains;",
        "guard, for a slice of steps or a copy",
        "counts of epochs and steps",
    )
    yield holder(
        *(10, 350, 74, "", "Views: model.theta, model.W, ..."),
        "no memory of their own: whoever",
        "holds one may write at any time",
    )
    yield holder(
        *(440, 10, 88, "s3", "Predictor"),
        "a copy of theta, and panels of its own,",
        "normalisation folded in: nobody writes,",
        "and any thread may call it",
    )
    yield holder(
        *(440, 134, 160, "s2", "Engine: one, kept warm"),
        "panels Wp, and the optimizer's state in",
        "panels: what training computes on",
    )
    yield box(454, 200, 232, 84, "band", 6) + text(466, 220, "workspace", "ink")
    yield text(
        *(466, 238),
        "h and delta of a chunk, in panels;\n"
        "replaced where a call needs more,\n"
        "given back where it was large",
    )
    yield holder(
        *(440, 350, 74, "", "Files, checkpoints, pickles"),
        "copies of one moment: network, theta,",
        "state, statistics, counts, metadata",
    )
    yield arrow((60, 84), (60, 134)) + text(70, 113, "owns")
    yield arrow((60, 350), (60, 294)) + text(70, 334, "point into the vectors")
    yield arrow((270, 50), (440, 50))
    yield text(355, 26, "keeps one until\nthe version moves", anchor="middle")
    yield arrow((270, 176), (440, 176))
    yield text(355, 152, "load: where the vectors\nare of a later version", anchor="middle")
    yield arrow((440, 236), (270, 236))
    yield text(355, 254, "sync: where panels are\nahead and somebody looks", anchor="middle")
    yield arrow((180, 294), (180, 314), (570, 314), (570, 350))


TOLD = {
    "panels": (
        "W of 6 outputs and 3 inputs in theta, row by row, and in two panels of 4 columns, the "
        "last two of zeros"
    ),
    "step": (
        "One training step of a 784-128-10 network on two threads. Phase 1, in which the "
        "weights are only read: the first layer by panels, a barrier, then the second layer, "
        "the loss and both deltas by rows; a barrier. Phase 2: each thread sums the gradient of "
        "its own blocks of weights and steps them, gathers its rows of the next mini-batch; a "
        "barrier"
    ),
    "tile": (
        "A tile: a number of each of four rows of A is broadcast and multiplied with two "
        "vectors of a row of B; the products are added to sums that stay in registers; its last "
        "lines are bias and activation, or the derivative, or the step on the weights"
    ),
    "owners": (
        "A model owns Parameters, which own theta, the optimizer's state and statistics as "
        "vectors; views point into them; one engine has the same numbers in panels, with a "
        "workspace; load and sync copy between the two; a predictor has copies of its own, and "
        "so have files"
    ),
}
SIZES = {"panels": (640, 240), "step": (846, 262), "tile": (840, 300), "owners": (710, 434)}
DRAWINGS = {"panels": panels, "step": step, "tile": tile, "owners": owners}


def svg(name: str) -> str:
    return drawing(*SIZES[name], TOLD[name], DRAWINGS[name]())


if __name__ == "__main__":
    for name in DRAWINGS:
        (DOCS / f"{name}.svg").write_text(svg(name), encoding="utf-8")
