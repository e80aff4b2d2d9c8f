"""An ensemble of networks, calibrated: what ``fastnn train`` learns where nothing else is asked."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastnn
from fastnn.checks import counted, listed
from fastnn.cli import arguments, metrics
from fastnn.cli.info import ensemble_content
from fastnn.cli.messages import BadUse, Failure
from fastnn.cli.training.source import (
    Source,
    check_files,
    data_lines,
    of_columns,
    print_lines,
    read_source,
    source_content,
    tell_leaks,
)
from fastnn.tables.table import Arrays

if TYPE_CHECKING:
    from fastnn.tabular.report import Report


def add_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--time-limit",
        type=arguments.seconds,
        metavar="TIME",
        help="about how long the training may take, such as 60, 90s, 10m or 1h (default: by the "
        "numbers of rows and columns, some 20 s for 10,000 x 20 on two cores)",
    )
    group.add_argument(
        "--recipe",
        choices=("auto", "td", "td-s"),
        help="auto, an ensemble; or td, td-s: RealMLP-TD, RealMLP-TD-S (default: auto)",
    )
    group.add_argument(
        "--network",
        action="store_true",
        help="one plain network, shaped by the options below: for images, several targets, other "
        "losses, checkpoints",
    )
    add_seed_and_threads(group)


def add_seed_and_threads(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--seed",
        type=arguments.seed,
        default=0,
        metavar="N",
        help="same seed, same model, bit for bit (default: 0)",
    )
    arguments.add_threads(group)


def run(args: argparse.Namespace) -> int:
    from fastnn.tabular.folds import folds
    from fastnn.tabular.report import Report

    check_files(
        {"-o": args.output, "--report": args.report},
        {"": args.data, "--target-file": args.target_file},
    )
    source = read_source(args)
    check(source)
    begin, stopped = time.perf_counter(), False
    model = new_estimator(args, source)
    try:
        model.fit(source.X, source.y, source.weights)
    except fastnn.DivergenceError as error:
        raise Failure(f"training diverged: {error}") from None
    except KeyboardInterrupt:
        stopped = model.__sklearn_is_fitted__()  # of a search, from what it has found so far
        if not stopped:
            raise KeyboardInterrupt(
                f"stopped while training; nothing was written to {args.output}"
            ) from None
    tell_leaks(source, args.drop, *folds(source.X.n_rows, 5, args.seed)[0])
    model.columns_.header = not args.no_header
    model.save(args.output)
    seconds = time.perf_counter() - begin
    report = Report(model, source.X, source.y, source.weights, held_out=True)
    if args.report:
        report.write(args.report)
    if args.json:
        told = content(args, model, source, report, seconds)
        json.dump(told, sys.stdout, indent=2, ensure_ascii=False)
        print()
    elif not args.quiet:
        print_summary(args, model, source, report, seconds)
    if stopped:
        raise KeyboardInterrupt(
            f"stopped after {counted(len(model.trials_), 'trial')}; {args.output} is what they "
            "found, and the same command goes on"
        )
    return 0


def check(source: Source) -> None:
    """Refuse what is no table of one target."""
    if len(source.y.columns) > 1:
        raise BadUse(
            f"--target must name one column, got {listed(source.y.columns)}; --network learns "
            "several"
        )
    X = source.X
    if isinstance(X, Arrays) and len(X.shape) > 1:
        raise BadUse(
            f"{X.path}: {X.x_name} must have shape (n, n_columns), got "
            f"({', '.join(map(str, (X.n_rows, *X.shape)))}); --network learns from images"
        )


def new_estimator(args: argparse.Namespace, source: Source) -> Any:
    kinds = {
        "classification": fastnn.TabularClassifier,
        "regression": fastnn.TabularRegressor,
    }
    return kinds[source.task](
        recipe=args.recipe or "auto",
        time_limit=args.time_limit,
        random_state=args.seed,
        n_threads=args.threads,
        verbose=not args.quiet,
        **of_columns(args),
    )


def content(
    args: argparse.Namespace, model: Any, source: Source, report: Report, seconds: float
) -> dict[str, Any]:
    """What the summary says, for programs."""
    matter = report.importance
    return {
        **source_content(args, source, model.columns_),
        "seconds": round(seconds, 3),
        **ensemble_content(model),
        **_trials_content(model),
        "held_out": report.scores,
        "importance": dict(zip(matter.names, matter.mean.tolist(), strict=True)),
    }


def _trials_content(model: Any) -> dict[str, Any]:
    """What a search has tried."""
    if "trials_" not in vars(model):
        return {}
    from fastnn.tabular.search.space import in_words

    trials = [
        {
            "recipe": in_words(trial.recipe),
            "score": trial.score if math.isfinite(trial.score) else None,
            "seconds": round(trial.seconds, 3),
        }
        for trial in model.trials_
    ]
    return {"journal": model.recipe.journal, "trials": trials}


def print_summary(
    args: argparse.Namespace, model: Any, source: Source, report: Report, seconds: float
) -> None:
    from fastnn.tabular.search.space import in_words

    columns = model.columns_
    lines = data_lines(source, columns)
    lines.append(("networks", dict(model._lines())["networks"]))
    if "trials_" in vars(model):
        best = min(model.trials_, key=lambda trial: trial.score)
        lines.append(("trials", f"{len(model.trials_)}, in {model.recipe.journal}"))
        lines.append(("", f"the best of them: {in_words(best.recipe)}"))
    lines.append(("trained", f"in {seconds:.1f} s"))
    size = Path(args.output).stat().st_size
    lines.append(("model", f"{args.output} ({size / 1000:,.0f} kB)"))
    if args.report:
        lines.append(("report", args.report))
    print_lines(lines)
    print("\non held-out rows, each predicted by networks that have not seen it:")
    print(metrics.scores_text(report.scores))
    loss = "the RMSE" if columns.amounts else "the log loss"
    print(f"\ncolumns that matter: what shuffling one adds to {loss} there")
    print(metrics.importance_text(report.importance))
    new = {"table": "new.csv", "arrays": "new.npz"}[columns.inputs.kind]
    print(f"\nnext: fastnn predict {shlex.quote(args.output)} {new} -o predictions.csv")
