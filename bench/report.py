"""`python -m bench report`: the results as Markdown tables in README and docs, and as a chart.

The latest file of each command and instruction set counts. Text goes between the pages' markers,
<!-- bench:NAME --> and <!-- bench:end -->; what stands there before is replaced.
"""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser, Namespace
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

Result = dict[str, Any]
CHART = Path("docs/benchmarks.png")
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
    """README's tables."""
    run = next((one for one in results if one["kind"] == "run"), None)
    if run is None:
        return ""
    parts = [f"![{CAPTION}]({CHART})"]
    parts += [f"{unit}:\n\n{against_best(run, kind)}" for kind, unit in UNITS.items()]
    return "\n\n".join([*parts, where(run)])


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

GREY = "#808080"  # readable on white and on black
OURS, BEST = "#2e86de", "#e67e22"


def draw(result: Result, path: Path) -> None:
    """Times of the peers / fastnn's: a bar to the best peer, a dot for every other."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    all_threads = numbers_of_threads(result)
    names = list(dict.fromkeys(one["workload"]["name"] for one in result["measurements"]))
    found = {
        n: {**measured(result, "train", n), **measured(result, "predict", n)} for n in all_threads
    }
    names = [name for name in names if any(name in of for of in found.values())]
    size = (2 + 4.2 * len(all_threads), 0.3 * len(names) + 1.2)
    with plt.rc_context({"font.size": 9, "text.color": GREY, "axes.labelcolor": GREY}):
        figure, axes = plt.subplots(
            1,
            len(all_threads),
            figsize=size,
            sharey=True,
            sharex=True,
            squeeze=False,
            layout="constrained",
        )
        for axis, n in zip(axes[0], all_threads, strict=True):
            for row, name in enumerate(names):
                one = found[n].get(name)
                if one is not None:
                    _draw_row(axis, row, one)
            axis.set_xscale("log")
            axis.margins(y=0.01)
            axis.axvline(1, color=OURS, lw=2)
            axis.set_title(threads(n), color=GREY, fontweight="bold")
            axis.set_xlabel("times as long as fastnn")
            axis.xaxis.set_major_locator(FixedLocator([0.5, 1, 2, 5, 10, 20, 50, 100]))
            axis.xaxis.set_minor_locator(NullLocator())
            axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            axis.grid(axis="x", color=GREY, alpha=0.25)
            axis.tick_params(colors=GREY, length=0)
            axis.spines[:].set_visible(False)
        titles = {
            one["workload"]["name"]: _label(one) for of in found.values() for one in of.values()
        }
        axes[0][0].set_yticks(range(len(names)), [titles[name] for name in names])
        axes[0][0].invert_yaxis()
        figure.legend(*_legend(), loc="outside upper center", ncols=3, frameon=False)
        figure.savefig(path, dpi=160, transparent=True)
        plt.close(figure)


def _label(one: Result) -> str:
    workload = Workload.from_dict(one["workload"])
    return f"{workload.kind} {workload.title}"


def _draw_row(axis, row: int, one: Result) -> None:
    best = one["best_peer"]
    for name, result in one["entrants"].items():
        if name not in ("fastnn", best) and counts(result):
            axis.plot(result["ratio"], row, "o", ms=4, color=GREY, alpha=0.5, mew=0)
    if best is not None:
        ratio = one["entrants"][best]["ratio"]
        axis.barh(row, ratio - 1, left=1, height=0.5, color=OURS if ratio >= 1 else BEST)
        text = f"{ratio:.2f}  {ENTRANTS[best].title}"
        axis.text(1.02, row, text, va="center", transform=axis.get_yaxis_transform())


def _legend():
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Patch(color=OURS, label="best peer, slower than fastnn"),
        Patch(color=BEST, label="best peer, faster"),
        Line2D([], [], marker="o", ls="", ms=4, color=GREY, alpha=0.5, label="other peers"),
    ]
    return handles, [handle.get_label() for handle in handles]
