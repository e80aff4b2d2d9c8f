"""`python -m bench report`: the results as Markdown tables in README and docs, and as charts.

The latest file of each command, CPU and instruction set counts. Text goes between the pages'
markers, <!-- bench:NAME --> and <!-- bench:end -->; what stands there before is replaced.
"""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from bench import charts
from bench.entrants import ENTRANTS
from bench.machine import ROOT
from bench.markdown import number, table
from bench.results import RESULTS, Result, counts, measured, numbers_of_threads, threads
from bench.tables import records
from bench.tables.report import section as tables_section
from bench.tables.report import standings, tabulated
from bench.threads import PERCENTILES
from bench.workloads import Workload

CHART = "benchmarks.svg"  # in docs
SHAPES_CHART = "benchmarks_shapes.svg"
TABLES_CHART = "benchmarks_tables.svg"
N_WORST = 10


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of JSON files")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of README.md and docs/")


def main(options: Namespace) -> None:
    results = latest(options.results)
    kinds = "run sweep threads estimators many int8 zeros linear imports serve".split()
    runs, sweeps, beside, estimators, many, int8, zeros, linear, imports, serve = (
        [one for one in results if one["kind"] == kind] for kind in kinds
    )
    fits = records.read(options.results / "tables")
    standing = standings(tabulated(fits))
    texts = {
        "summary": summary(results),
        "run": "\n\n".join(
            [side_by_side(runs), *(run_section(one, one is runs[0]) for one in runs)]
        ),
        "sweep": "\n\n".join(sweep_section(one, one is sweeps[0]) for one in sweeps),
        "threads": "\n\n".join(map(threads_section, beside)),
        "estimators": "\n\n".join(map(estimators_section, estimators)),
        "many": "\n\n".join(map(many_section, many)),
        "int8": "\n\n".join(map(int8_section, int8)),
        "zeros": "\n\n".join(map(zeros_section, zeros)),
        "linear": "\n\n".join(map(linear_section, linear)),
        "imports": "\n\n".join(map(imports_section, imports)),
        "serve": "\n\n".join(map(serve_section, serve)),
        "tables": tables_section(fits),
    }
    drawn: dict[str, str] = {}
    if runs:
        drawn[CHART] = charts.times(runs[0])
    if sweeps:
        drawn[SHAPES_CHART] = charts.shapes(sweeps[0])
    if standing:
        drawn[TABLES_CHART] = charts.tables(standing)
        texts["tables"] = f"![{charts.TABLES}]({TABLES_CHART})\n\n{texts['tables']}"
    for page in ("README.md", "docs/benchmarks.md"):
        path = options.root / page
        path.write_text(fill(path.read_text(), texts))
        print("wrote", path)
    for name, svg in drawn.items():
        path = options.root / "docs" / name
        path.write_text(svg, encoding="utf-8")
        print("wrote", path)


def latest(folder: Path) -> list[Result]:
    """Of each command, CPU and limit the newest result. Those without a limit come first, and of
    these the ones of the widest vectors."""
    found: dict[tuple[str, ...], Result] = {}
    for path in sorted(folder.glob("*.json")):  # names begin with the date
        result = json.loads(path.read_text())
        found[result["kind"], cpu(result), result["isa_limited_to"] or ""] = result
    if not found:
        raise SystemExit(f"no results in {folder}; python -m bench run --write makes them")

    def order(result: Result) -> tuple[str | bool, ...]:
        isa = result["machine"]["isa"]
        return result["isa_limited_to"] or "", "avx512" not in isa, isa, cpu(result), result["kind"]

    return sorted(found.values(), key=order)


def cpu(result: Result) -> str:
    """Its name, and the numbers that tell it from others of the name."""
    info = result["machine"]
    numbers = [f"{name} {info[name]}" for name in ("family", "model") if info.get(name)]
    return f"{info['cpu']} ({', '.join(numbers)})" if numbers else info["cpu"]


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
    text = f"{cpu(result)}, {info['isa']}, {info['compiler']}, Python {info['python']}"
    text += f", NumPy {info['numpy']}{'; ' * bool(versions)}{', '.join(versions)}."
    if result.get("mkl_as_intel"):
        text += " PyTorch's MKL is told that the CPU is Intel's."
    if "peak" in info:
        text += f" A core's peak: {info['peak']:.0f} GFLOP/s of float32 multiply-adds."
    return f"{text} fastnn {info['fastnn']}, commit {', '.join(commits)}; {result['date']}."


# Training and prediction


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
    peak = result["machine"].get("peak")
    for n in all_threads:
        head += [f"{threads(n)}: fastnn", *["of peak"][: bool(peak)], "best peer", "ratio"]
    for name in names:
        title, cells = "", []
        for found in by_threads.values():
            one = found.get(name)
            if one is None:
                cells += [""] * (len(head) // len(all_threads))
                continue
            title = Workload.from_dict(one["workload"]).title
            cells.append(amount(kind, one["entrants"]["fastnn"]))
            if peak:
                cells.append(share_of_peak(result, one))
            peer = one["best_peer"]
            if peer is None:
                cells += ["", ""]
                continue
            theirs = one["entrants"][peer]
            cells.append(f"{amount(kind, theirs)} {ENTRANTS[peer].title}")
            cells.append(f"**{theirs['ratio']:.2f}**")
        rows.append([title, *cells])
    return table(head, rows)


def share_of_peak(result: Result, one: Result) -> str:
    """fastnn's operations in a second, of those that its cores' multiply-adds could be; "" where no
    peak is on record."""
    peak = result["machine"].get("peak")
    if not peak:
        return ""
    flops = Workload.from_dict(one["workload"]).flops / one["entrants"]["fastnn"]["median_us"] / 1e3
    return f"{flops / (peak * one['threads']):.0%}"


def side_by_side(runs: list[Result]) -> str:
    """The ratios to the best peer on all CPUs, and what fastnn reaches of their peak."""
    if len(runs) < 2:
        return ""
    head, columns, titles = ["network"], [], {}
    for result in runs:
        limit = ", limited" if result["isa_limited_to"] else ""
        for n in numbers_of_threads(result):
            found = measured(result, "train", n) | measured(result, "predict", n)
            for name, one in found.items():
                workload = Workload.from_dict(one["workload"])
                titles[name] = f"{workload.kind} {workload.title}"
            head.append(f"{cpu(result)}, {result['machine']['isa']}{limit}, {threads(n)}")
            columns.append({name: _ratio_and_share(result, one) for name, one in found.items()})
    rows = [
        [title, *(column.get(name, "") for column in columns)] for name, title in titles.items()
    ]
    said = (
        "The best peer's time / fastnn's, and what fastnn reaches of the cores' peak where that is"
    )
    return f"### All CPUs\n\n{said} on record:\n\n{table(head, rows)}"


def _ratio_and_share(result: Result, one: Result) -> str:
    ratio = one["entrants"][one["best_peer"]]["ratio"] if one["best_peer"] else np.nan
    share = share_of_peak(result, one)
    return (f"**{ratio:.2f}**" if np.isfinite(ratio) else "") + (f" {share}" if share else "")


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
    return "" if run is None else f"![{charts.TIMES}](docs/{CHART})\n\n{where(run)}"


def run_section(result: Result, drawn: bool = True) -> str:
    """The tables of a run; drawn: it is the chart's."""
    limit, isa = result["isa_limited_to"], result["machine"]["isa"]
    parts = [f"### {cpu(result)}, {f'limited to {limit}' if limit else isa}", where(result)]
    if drawn:
        parts.append(f"![{charts.TIMES}]({CHART})")
    for kind, unit in UNITS.items():
        if not any(measured(result, kind, n) for n in numbers_of_threads(result)):
            continue
        parts += [f"{unit}:", against_best(result, kind)]
        for n in numbers_of_threads(result):
            parts += [f"Every entrant, {threads(n)}:", every_entrant(result, kind, n)]
    took_part = {name for one in result["measurements"] for name in one.get("entrants", {})}
    absent = [entrant.title for name, entrant in ENTRANTS.items() if name not in took_part]
    if absent:
        parts.append(f"Did not take part: {', '.join(absent)}.")
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


def sweep_section(result: Result, drawn: bool = True) -> str:
    """The distribution of ratios and the worst shapes; drawn: it is the chart's."""
    limit = result["isa_limited_to"]
    title = f"### Random shapes, {cpu(result)}{f', limited to {limit}' if limit else ''}"
    parts = [title, where(result)]
    if drawn:
        parts.append(f"![{charts.SHAPES}]({SHAPES_CHART})")
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
    parts = [f"### Estimators, {cpu(result)}", where(result), table(head, rows)]
    calls = [(one, call) for one in result["measurements"] for call in one.get("calls", ())]
    if calls:
        head = ["data", "call", "rows", "scikit-learn, us", "fastnn, us", "ratio"]
        rows = [
            [
                *(one["workload"]["name"], call["method"], str(call["rows"])),
                *(number(call["us"][library]) for library in ("scikit-learn", "fastnn")),
                f"**{call['ratio']:.2f}**",
            ]
            for one, call in calls
        ]
        parts += ["Predictions of fitted estimators:", table(head, rows)]
    return "\n\n".join(parts)


def many_section(result: Result) -> str:
    head, parts = ["", "seconds", "times fit_many's"], ["### Many networks", where(result)]
    for one in result["measurements"]:
        ways = sorted(one["ways"].items(), key=lambda way: way[1]["median_s"])
        rows = [[name, number(way["median_s"]), f"**{way['ratio']:.2f}**"] for name, way in ways]
        parts += [f"{one['workload']['name']}, {threads(one['threads'])}:", table(head, rows)]
    return "\n\n".join(parts)


def int8_section(result: Result) -> str:
    head = ["", "ms", "times fastnn int8's", "float32's class", "right on the test rows"]
    parts = [f"### 8 bits, {cpu(result)}", where(result)]
    for one in result["measurements"]:
        ways = sorted(one["ways"].items(), key=lambda way: way[1]["median_s"])
        rows = [
            [
                *(name, number(1000 * way["median_s"]), f"**{way['ratio']:.2f}**"),
                f"{way['agreement']:.2%}" + ", not counted" * ("wrong" in way),
                f"{way['accuracy']:.2%}" if "accuracy" in way else "",
            ]
            for name, way in ways
        ]
        title = f"{one['workload']['name']} of {one['workload']['data']}"
        parts += [f"{title}, {threads(one['threads'])}:", table(head, rows)]
    return "\n\n".join(parts)


def zeros_section(result: Result) -> str:
    head = ["", "dense, us a step", "MNIST, us a step", "columns used", "ratio"]
    rows = [
        [
            one["workload"]["name"],
            *(number(one["ways"][data]["median_us"]) for data in ("dense", "MNIST")),
            f"{one['ways']['MNIST']['columns_used']:.0%}",
            f"**{one['ratio']:.2f}**",
        ]
        for one in result["measurements"]
    ]
    return "\n\n".join(["### Columns at 0", where(result), table(head, rows)])


def linear_section(result: Result) -> str:
    head, rows = ["", "", "ms", "iterations", "objective", "right"], []
    for one in result["measurements"]:
        rows += [
            [
                *(one["workload"]["name"], name, number(1000 * way["median_s"])),
                *(str(way["n_iter"]), f"{way['objective']:.4f}", f"{way['score']:.2%}"),
            ]
            for name, way in one["ways"].items()
        ]
    return "\n\n".join(["### Linear models", where(result), table(head, rows)])


def imports_section(result: Result) -> str:
    (one,) = result["measurements"]
    head = ["", "ms of the process", "beyond Python's own, times NumPy's"]
    rows = []
    for name, way in one["ways"].items():
        title, ratio = (f"`import {name}`", f"{way['ratio']:.2f}") if way["ratio"] else (name, "")
        rows.append([title, number(1000 * way["median_s"]), ratio])
    return "\n\n".join(["### Import", where(result), table(head, rows)])


def serve_section(result: Result) -> str:
    head = ["", "requests/s", "p50, us", "p99, us", "p99.9, us"]
    parts = [f"### HTTP, {cpu(result)}", where(result)]
    for one in result["measurements"]:
        rows = [
            [name, f"{way['requests_s']:.0f}", *(f"{way[p]:.0f}" for p in PERCENTILES)]
            for name, way in one["ways"].items()
        ]
        parts += [f"{one['workload']['name']}:", table(head, rows)]
    return "\n\n".join(parts)
