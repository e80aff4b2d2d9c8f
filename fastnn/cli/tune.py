"""``fastnn tune``: a data file -> a model file, by a search."""

from __future__ import annotations

import argparse
from pathlib import Path

from fastnn.cli import train
from fastnn.cli.common import arguments
from fastnn.cli.training import ensemble, source

HELP = "search for the networks that learn a data file best"
DESCRIPTION = """Learn one column of a data file from the others, as train does, for longer: try one
random recipe of networks after another on the same folds, and make an ensemble of the best. Each
trial is written down beside MODEL as it ends, so that the same command goes on where it was ended,
and with a longer --time where it has finished. At Ctrl-C MODEL is what was found so far."""
TIME = 600.0  # seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "fastnn tune DATA --target NAME [-o MODEL] [options]"
    source.add_arguments(parser)
    train.add_output(parser)
    group = parser.add_argument_group("what is searched")
    group.add_argument(
        "--time",
        dest="time_limit",
        type=arguments.seconds,
        metavar="TIME",
        help="about how long all trials may take, such as 90s, 10m or 1h (default: 10m, with "
        "--trials none)",
    )
    group.add_argument(
        "--trials",
        type=arguments.positive_int,
        metavar="N",
        help="how many, at most; without --time the same command writes the same bytes",
    )
    group.add_argument(
        "--journal",
        metavar="FOLDER",
        help="where trials are written down (default: MODEL with .trials for its ending)",
    )
    ensemble.add_seed_and_threads(group)


def run(args: argparse.Namespace) -> int:
    from fastnn.tabular.recipes import Search

    train.set_output(args)
    if args.time_limit is None and args.trials is None:
        args.time_limit = TIME
    journal = args.journal or Path(args.output).with_suffix(".trials")
    args.recipe = Search(args.trials, journal)
    return ensemble.run(args)
