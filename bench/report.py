"""`python -m bench report`: the results as Markdown tables in README and docs, and as a chart.

The latest file of each command and instruction set counts. Text goes between the pages' markers,
<!-- bench:NAME --> and <!-- bench:end -->; what stands there before is replaced.
"""

from __future__ import annotations

import json
import math
import re
from argparse import ArgumentParser, Namespace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from bench.entrants import ENTRANTS
from bench.machine import ROOT
from bench.markdown import number, table
from bench.results import RESULTS, counts, threads
from bench.tables import records
from bench.tables.report import section as tables_section
from bench.threads import PERCENTILES
from bench.workloads import Workload
from fastnn.drawing.palette import colors_within

Result = dict[str, Any]
CHART = Path("docs/benchmarks.svg")
CAPTION = "Time of the best peer and of the others, divided by fastnn's"
N_WORST = 10


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of JSON files")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of README.md and docs/")


def main(options: Namespace) -> None:
    results = latest(options.results)
    texts = {
        "summary": summary(results),
        "run": "\n\n".join(run_section(one) for one in results if one["kind"] == "run"),
        "sweep": "\n\n".join(sweep_section(one) for one in results if one["kind"] == "sweep"),
        "threads": "\n\n".join(threads_section(one) for one in results if one["kind"] == "threads"),
        "estimators": "\n\n".join(
            estimators_section(one) for one in results if one["kind"] == "estimators"
        ),
        "tables": tables_section(records.read(options.results / "tables")),
    }
    for page in ("README.md", "docs/benchmarks.md"):
        path = options.root / page
        path.write_text(fill(path.read_text(), texts))
        print("wrote", path)
    runs = [one for one in results if one["kind"] == "run"]
    if runs:
        draw(runs[0], options.root / CHART)
        print("wrote", options.root / CHART)


def latest(folder: Path) -> list[Result]:
    """Of each command and instruction set the newest result; results without a limit come first."""
    found: dict[tuple[str, str], Result] = {}
    for path in sorted(folder.glob("*.json")):  # names begin with the date
        result = json.loads(path.read_text())
        found[result["kind"], result["isa_limited_to"] or ""] = result
    if not found:
        raise SystemExit(f"no results in {folder}; python -m bench run --write makes them")
    return [found[key] for key in sorted(found, key=lambda key: (key[1], key[0]))]


def fill(page: str, texts: dict[str, str]) -> str:
    """The page with new text between its markers."""

    def new(match: re.Match) -> str:
        return f"{match[1]}\n\n{texts[match[2]]}\n\n{match[3]}"

    pattern = r"(<!-- bench:(\w+) -->).*?(<!-- bench:end -->)"
    return re.sub(pattern, new, page, flags=re.DOTALL)


def where(result: Result) -> str:
    """The machine, the software and the date in a sentence."""
    info = result["machine"]
    versions = [f"{name} {version}" for name, version in sorted(result["packages"].items())]
    commits = sorted({one["commit"] for one in result["measurements"]})
    text = f"{info['cpu']}, {info['isa']}, {info['compiler']}, Python {info['python']}"
    text += f", NumPy {info['numpy']}; {', '.join(versions)}."
    if result.get("mkl_as_intel"):
        text += " PyTorch's MKL is told that the CPU is Intel's."
    return f"{text} fastnn {info['fastnn']}, commit {', '.join(commits)}; {result['date']}."


# Training and prediction


def measured(result: Result, kind: str, n_threads: int) -> dict[str, Result]:
    """Measurements that hold a time of fastnn's, by workload."""
    return {
        one["workload"]["name"]: one
        for one in result["measurements"]
        if one["workload"]["kind"] == kind
        and one["threads"] == n_threads
        and counts(one.get("entrants", {}).get("fastnn", {}))
    }


def numbers_of_threads(result: Result) -> list[int]:
    return sorted({one["threads"] for one in result["measurements"]})


def amount(kind: str, result: Result | None) -> str:
    """Thousand samples a second of training, microseconds of a prediction."""
    if result is None or not counts(result):
        return ""
    return number(result["thousand_samples_s" if kind == "train" else "median_us"])


UNITS = {
    "train": "Training, thousand samples a second",
    "predict": "Prediction, microseconds a call",
}


def against_best(result: Result, kind: str) -> str:
    """fastnn, the best peer and the ratio, for every number of threads side by side."""
    all_threads = numbers_of_threads(result)
    by_threads = {n: measured(result, kind, n) for n in all_threads}
    names = dict.fromkeys(name for found in by_threads.values() for name in found)
    head, rows = ["network"], []
    for n in all_threads:
        head += [f"{threads(n)}: fastnn", "best peer", "ratio"]
    for name in names:
        title, cells = "", []
        for found in by_threads.values():
            one = found.get(name)
            if one is None:
                cells += ["", "", ""]
                continue
            title = Workload.from_dict(one["workload"]).title
            cells.append(amount(kind, one["entrants"]["fastnn"]))
            peer = one["best_peer"]
            if peer is None:
                cells += ["", ""]
                continue
            theirs = one["entrants"][peer]
            cells.append(f"{amount(kind, theirs)} {ENTRANTS[peer].title}")
            cells.append(f"**{theirs['ratio']:.2f}**")
        rows.append([title, *cells])
    return table(head, rows)


def every_entrant(result: Result, kind: str, n_threads: int) -> str:
    found = measured(result, kind, n_threads).values()
    names = [name for name in ENTRANTS if any(name in one["entrants"] for one in found)]
    rows = [
        [
            Workload.from_dict(one["workload"]).title,
            *(amount(kind, one["entrants"].get(name)) for name in names),
        ]
        for one in found
    ]
    return table(["network", *(ENTRANTS[name].title for name in names)], rows)


def summary(results: list[Result]) -> str:
    """README's chart; the tables stand in docs/benchmarks.md."""
    run = next((one for one in results if one["kind"] == "run"), None)
    return "" if run is None else f"![{CAPTION}]({CHART})\n\n{where(run)}"


def run_section(result: Result) -> str:
    limit = result["isa_limited_to"]
    parts = [f"### {f'Limited to {limit}' if limit else 'All workloads'}", where(result)]
    if not limit:
        parts.append(f"![{CAPTION}]({CHART.name})")
    for kind, unit in UNITS.items():
        if not any(measured(result, kind, n) for n in numbers_of_threads(result)):
            continue
        parts += [f"{unit}:", against_best(result, kind)]
        for n in numbers_of_threads(result):
            parts += [f"Every entrant, {threads(n)}:", every_entrant(result, kind, n)]
    notes = [
        f"- {Workload.from_dict(one['workload']).title}, {threads(one['threads'])}: {text}"
        for one in result["measurements"]
        for text in _notes(one)
    ]
    if notes:
        parts += ["Not measured, or not counted:", "\n".join(notes)]
    return "\n\n".join(parts)


def _notes(one: Result) -> list[str]:
    if "skipped" in one:
        return [f"skipped, {one['skipped']}"]
    return [
        f"{ENTRANTS[name].title}: {result.get('wrong') or result['failed']}".splitlines()[0]
        for name, result in one["entrants"].items()
        if not counts(result)
    ]


# Random shapes


def sweep_section(result: Result) -> str:
    limit = result["isa_limited_to"]
    parts = [f"### Random shapes{f', limited to {limit}' if limit else ''}", where(result)]
    head = ["the best peer's time / fastnn's", "shapes", "median", "lowest tenth", "worst"]
    rows, worst = [], []
    for n in numbers_of_threads(result):
        found = [one for one in result["measurements"] if one["threads"] == n and one["ratio"]]
        rows.append([threads(n), *distribution([one["ratio"] for one in found])])
        alone = [one["ratio_to_one_thread"] for one in found if one["ratio_to_one_thread"]]
        if alone:
            rows.append([f"fastnn with 1 thread / with {n}", *distribution(alone)])
        worst += sorted(found, key=lambda one: one["ratio"])[:N_WORST]
    parts += [table(head, rows), "The worst:"]
    head = ["network", "batch", "threads", "fastnn, us a step", "best peer", "ratio"]
    parts.append(table(head, [_worst_row(one) for one in worst]))
    return "\n\n".join(parts)


def distribution(ratios: list[float]) -> list[str]:
    low, middle = np.quantile(ratios, [0.1, 0.5])
    return [str(len(ratios)), *(f"{ratio:.2f}" for ratio in (middle, low, min(ratios)))]


def _worst_row(one: Result) -> list[str]:
    workload, peer = Workload.from_dict(one["workload"]), one["best_peer"]
    theirs = f"{number(one['entrants'][peer]['median_us'])} {ENTRANTS[peer].title}"
    ours = number(one["entrants"]["fastnn"]["median_us"])
    counted = str(workload.batch), str(one["threads"])
    return [workload.network, *counted, ours, theirs, f"{one['ratio']:.2f}"]


# Threads


def threads_section(result: Result) -> str:
    parts = ["### Threads", where(result)]
    for one in result["measurements"]:
        title = Workload.from_dict(one["workload"]).title
        fine = {name: r for name, r in one["entrants"].items() if "failed" not in r}
        if one["workload"]["kind"] == "train":
            parts.append(f"Training beside a busy process, {title}, two threads on two cores:")
            head = ["", "quiet, us a step", "beside it, us a step", "against fair sharing"]
            rows = [
                [ENTRANTS[name].title, *(number(r[k]) for k in ("quiet_us", "busy_us", "loss"))]
                for name, r in fine.items()
            ]
        else:
            parts.append(
                f"Two processes of two threads on two cores, {title}; microseconds a call,"
                " one process alone on one core / both at once:"
            )
            head = ["", *(p.removesuffix("_us") for p in PERCENTILES), "p99.9 ratio"]
            rows = [
                [
                    ENTRANTS[name].title,
                    *(f"{number(r['alone'][p])} / {number(r['together'][p])}" for p in PERCENTILES),
                    number(r["ratios"]["p99.9_us"]),
                ]
                for name, r in fine.items()
            ]
        parts.append(table(head, rows))
    return "\n\n".join(parts)


def estimators_section(result: Result) -> str:
    head = ["data", "scikit-learn, ms", "fastnn, ms", "ratio", "epochs", "mean score of each"]
    rows = []
    for one in result["measurements"]:
        theirs, ours = one["scikit-learn"], one["fastnn"]
        times = (number(1000 * each["median_s"]) for each in (theirs, ours))
        epochs = "the same" if one["same_n_iter"] else "differ"
        scores = f"{theirs['mean_score']:.4f}, {ours['mean_score']:.4f}"
        rows.append([one["workload"]["name"], *times, f"**{one['ratio']:.2f}**", epochs, scores])
    return "\n\n".join(["### Estimators", where(result), table(head, rows)])


# The chart

ROW, TOP, LABELS, PANEL, VALUES = 20, 58, 260, 210, 150  # of the drawing, in its own units
TICKS = [0.5, 1, 2, 5, 10, 20, 50]  # times as long as fastnn; what lies beyond is at the end
STYLE = f"""<style>{colors_within("svg.drawn")}
.drawn text{{fill:var(--soft);font:12px system-ui,sans-serif}}
.drawn .head{{fill:var(--ink);font-weight:600}}
.drawn .grid{{stroke:var(--rule)}}.drawn .ours{{stroke:var(--s1);stroke-width:2}}
.drawn .slower{{fill:var(--s1)}}.drawn .faster{{fill:var(--s2)}}
.drawn circle{{fill:var(--soft);opacity:.5}}</style>"""


def draw(result: Result, path: Path) -> None:
    """Times of the peers / fastnn's: a bar to the best peer, a dot for every other."""
    all_threads = numbers_of_threads(result)
    found = {
        n: {**measured(result, "train", n), **measured(result, "predict", n)} for n in all_threads
    }
    names = dict.fromkeys(one["workload"]["name"] for one in result["measurements"])
    names = [name for name in names if any(name in of for of in found.values())]
    width, height = LABELS + len(all_threads) * (PANEL + VALUES), TOP + ROW * len(names) + 40
    parts = [
        f'<svg class="drawn" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(CAPTION)}">',
        STYLE,
        *_key(),
    ]
    for row, name in enumerate(names):
        one = next(of[name] for of in found.values() if name in of)
        workload = Workload.from_dict(one["workload"])
        label = f"{workload.kind} {workload.title}"
        parts.append(_text(LABELS - 8, TOP + ROW * (row + 0.7), label, "end"))
    for panel, n in enumerate(all_threads):
        left = LABELS + panel * (PANEL + VALUES)
        parts += _panel(left, threads(n), height - 36)
        for row, name in enumerate(names):
            if name in found[n]:
                parts += _row(left, TOP + ROW * row, found[n][name])
    path.write_text("\n".join([*parts, "</svg>\n"]), encoding="utf-8")


def _key() -> list[str]:
    bar = '<rect class="{0}" x="{1}" y="6" width="18" height="10"/>'
    return [
        bar.format("slower", 8),
        _text(32, 16, "best peer, slower than fastnn"),
        bar.format("faster", 238),
        _text(262, 16, "best peer, faster"),
        '<circle cx="410" cy="11" r="3.5"/>',
        _text(422, 16, "other peers"),
    ]


def _panel(left: float, title: str, bottom: float) -> list[str]:
    parts = [_text(left, TOP - 12, title, more='class="head"')]
    for tick in TICKS:
        kind, x = "ours" if tick == 1 else "grid", left + _across(tick)
        parts.append(f'<path class="{kind}" d="M{x:.1f} {TOP}V{bottom}"/>')
        parts.append(_text(x, bottom + 14, f"{tick:g}", "middle"))
    return [*parts, _text(left + PANEL / 2, bottom + 30, "times as long as fastnn", "middle")]


def _row(left: float, top: float, one: Result) -> list[str]:
    parts, best = [], one["best_peer"]
    for name, result in one["entrants"].items():
        if name not in ("fastnn", best) and counts(result) and math.isfinite(result["ratio"]):
            x = left + _across(result["ratio"])
            parts.append(f'<circle cx="{x:.1f}" cy="{top + ROW / 2}" r="3"/>')
    if best is not None:
        ratio = one["entrants"][best]["ratio"]
        low, high = sorted((_across(1), _across(ratio)))
        kind = "slower" if ratio >= 1 else "faster"
        parts.append(
            f'<rect class="{kind}" x="{left + low:.1f}" y="{top + 5}" width="{high - low:.1f}" '
            f'height="{ROW - 10}"/>'
        )
        text = f"{ratio:.2f}  {ENTRANTS[best].title}"
        parts.append(_text(left + PANEL + 6, top + 0.7 * ROW, text))
    return parts


def _across(ratio: float) -> float:
    low, high = math.log(TICKS[0]), math.log(TICKS[-1])
    return PANEL * min(max((math.log(ratio) - low) / (high - low), 0), 1)


def _text(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'
