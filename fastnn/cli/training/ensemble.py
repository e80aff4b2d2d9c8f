"""An ensemble of networks, calibrated: what ``fastnn train`` learns where nothing else is asked."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastnn
from fastnn.checks import counted, listed
from fastnn.cli.common import arguments, metrics
from fastnn.cli.common.messages import BadUse, Failure
from fastnn.cli.info import ensemble_content
from fastnn.cli.training.source import (
    Source,
    check_files,
    data_lines,
    of_columns,
    partial,
    print_lines,
    read_source,
    source_content,
    tell_leaks,
)
from fastnn.report.scores import TITLES
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
    begin, stopped = time.perf_counter(), ""
    ensemble = model = new_estimator(args, source)
    data = source.X, source.y, source.weights
    trained_whole = False
    try:
        ensemble.fit(*data)
        trained_whole = True
        if args.compress:
            model = ensemble.compress(*data)
    except fastnn.DivergenceError as error:
        raise Failure(f"training diverged: {error}") from None
    except KeyboardInterrupt:
        if not ensemble.__sklearn_is_fitted__():
            raise KeyboardInterrupt(
                "stopped while training, before there was an ensemble; nothing was written to "
                f"{args.output}"
            ) from None
        if trained_whole:
            model = ensemble
            stopped = f"stopped before it was compressed; {args.output} is the ensemble"
        elif "trials_" in vars(ensemble):
            stopped = (
                f"stopped after {counted(len(ensemble.trials_), 'trial')}; {args.output} is what "
                "they found, and the same command goes on"
            )
        else:
            networks = counted(len(ensemble.histories_), "network")
            path = partial(args.output)
            stopped = (
                f"stopped after {networks}; the ensemble of these is in {path}, nothing was "
                f"written to {args.output}"
            )
            args.output = str(path)
    tell_leaks(source, args.drop, *folds(source.X.n_rows, 5, args.seed)[0])
    model.columns_.header = not args.no_header
    model.set_params(n_threads=None, verbose=False)  # of this run, not of the model
    model.save(args.output)
    model.set_params(n_threads=args.threads)
    seconds = time.perf_counter() - begin
    report = Report(model, *data, held_out=True)
    if args.report:
        report.write(args.report)
    trained = Trained(source, ensemble, model, report, seconds)
    if args.json:
        json.dump(content(args, trained), sys.stdout, indent=2, ensure_ascii=False)
        print()
    elif not args.quiet:
        print_summary(args, trained)
    if stopped:
        raise KeyboardInterrupt(stopped)
    return 0


@dataclass
class Trained:
    """What has come of it."""

    source: Source
    ensemble: Any
    model: Any  # that is kept: the ensemble, or the network that it was compressed into
    report: Report
    seconds: float


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
        monotone=args.monotone,
        random_state=args.seed,
        n_threads=args.threads,
        verbose=not args.quiet,
        **of_columns(args),
    )


def content(args: argparse.Namespace, trained: Trained) -> dict[str, Any]:
    """What the summary says, for programs."""
    model, matter = trained.model, trained.report.importance
    told = {
        **source_content(args, trained.source, model.columns_),
        "seconds": round(trained.seconds, 3),
        **ensemble_content(model),
        **_trials_content(trained.ensemble),
        "held_out": trained.report.scores,
        "importance": dict(zip(matter.names, matter.mean.tolist(), strict=True)),
    }
    if model is not trained.ensemble:
        told["compressed_from"] = ensemble_content(trained.ensemble)
    return told


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


def print_summary(args: argparse.Namespace, trained: Trained) -> None:
    from fastnn.tabular.search.space import in_words

    model, ensemble, report = trained.model, trained.ensemble, trained.report
    columns = model.columns_
    lines = data_lines(trained.source, columns)
    lines.append(("networks", dict(ensemble._lines())["networks"]))
    lines += model._monotone_lines()
    if "trials_" in vars(ensemble):
        best = min(ensemble.trials_, key=lambda trial: trial.score)
        lines.append(("trials", f"{len(ensemble.trials_)}, in {ensemble.recipe.journal}"))
        lines.append(("", f"the best of them: {in_words(best.recipe)}"))
    if model is not ensemble:
        lines.append(("compressed", f"to {dict(model._lines())['networks']}"))
        lines.append(("", f"of the ensemble on held-out rows: {_scores(ensemble)}"))
        lines.append(("", f"of the one network: {_scores(model)}"))
    lines.append(("trained", f"in {trained.seconds:.1f} s"))
    size = Path(args.output).stat().st_size
    lines.append(("model", f"{args.output} ({size / 1000:,.0f} kB)"))
    if args.report:
        lines.append(("report", args.report))
    print_lines(lines)
    once = "" if trained.source.weights is None else ", and counted once, whatever its weight"
    print(f"\non held-out rows, each predicted by networks that have not seen it{once}:")
    print(metrics.scores_text(report.scores))
    loss = "the RMSE" if columns.amounts else "the log loss"
    print(f"\ncolumns that matter: what shuffling one adds to {loss} there")
    print(metrics.importance_text(report.importance))
    new = {"table": "new.csv", "arrays": "new.npz"}[columns.inputs.kind]
    print(f"\nnext: fastnn predict {shlex.quote(args.output)} {new} -o predictions.csv")


def _scores(model: Any) -> str:
    return ", ".join(f"{TITLES[name]} {value:.4g}" for name, value in model.scores_.items())
