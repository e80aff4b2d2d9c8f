"""`python -m bench report`: the results as Markdown tables in README and docs, and as charts.

The latest file of each command and instruction set counts. Text goes between the pages' markers,
<!-- bench:NAME --> and <!-- bench:end -->; what stands there before is replaced.
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
    runs, sweeps, beside, estimators = (
        [one for one in results if one["kind"] == kind]
        for kind in ("run", "sweep", "threads", "estimators")
    )
    fits = records.read(options.results / "tables")
    standing = standings(tabulated(fits))
    texts = {
        "summary": summary(results),
        "run": "\n\n".join(map(run_section, runs)),
        "sweep": "\n\n".join(map(sweep_section, sweeps)),
        "threads": "\n\n".join(map(threads_section, beside)),
        "estimators": "\n\n".join(map(estimators_section, estimators)),
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
    return "" if run is None else f"![{charts.TIMES}](docs/{CHART})\n\n{where(run)}"


def run_section(result: Result) -> str:
    limit = result["isa_limited_to"]
    parts = [f"### {f'Limited to {limit}' if limit else 'All workloads'}", where(result)]
    if not limit:
        parts.append(f"![{charts.TIMES}]({CHART})")
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
    if not limit:
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
    return "\n\n".join(["### Estimators", where(result), table(head, rows)])
