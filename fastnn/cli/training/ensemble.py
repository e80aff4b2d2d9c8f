"""An ensemble of networks, calibrated: what ``fastnn train`` learns where nothing else is asked."""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path
from typing import Any

import fastnn
from fastnn.checks import listed
from fastnn.cli import arguments
from fastnn.cli.messages import BadUse, Failure
from fastnn.cli.training.source import (
    Source,
    check_files,
    data_lines,
    of_columns,
    print_lines,
    read_source,
    tell_leaks,
)
from fastnn.tables.table import Arrays
from fastnn.tabular.folds import folds


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
    group.add_argument(
        "--seed",
        type=arguments.seed,
        default=0,
        metavar="N",
        help="same seed, same model, bit for bit (default: 0)",
    )
    arguments.add_threads(group)


def run(args: argparse.Namespace) -> int:
    check_files({"-o": args.output}, {"": args.data, "--target-file": args.target_file})
    source = read_source(args)
    check(source)
    begin = time.perf_counter()
    model = new_estimator(args, source)
    try:
        model.fit(source.X, source.y, source.weights)
    except fastnn.DivergenceError as error:
        raise Failure(f"training diverged: {error}") from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped while training; nothing was written to {args.output}"
        ) from None
    tell_leaks(source, args.drop, *folds(source.X.n_rows, 5, args.seed)[0])
    model.columns_.header = not args.no_header
    model.save(args.output)
    if not args.quiet:
        print_summary(args, model, source, time.perf_counter() - begin)
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


def print_summary(args: argparse.Namespace, model: Any, source: Source, seconds: float) -> None:
    lines = data_lines(source, model.columns_)
    lines.append(("networks", dict(model._lines())["networks"]))
    lines.append(("trained", f"in {seconds:.1f} s"))
    size = Path(args.output).stat().st_size
    lines.append(("model", f"{args.output} ({size / 1000:,.0f} kB)"))
    lines += [(name, f"{value:.4g}") for name, value in model.scores_.items()]
    print_lines(lines)
    new = {"table": "new.csv", "arrays": "new.npz"}[model.columns_.inputs.kind]
    print(f"\nnext: fastnn predict {shlex.quote(args.output)} {new} -o predictions.csv")
