"""``fastnn train``: a data file -> a model file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fastnn.cli.common import arguments
from fastnn.cli.common.messages import BadUse
from fastnn.cli.training import ensemble, network, options, source

HELP = "learn from a data file"
DESCRIPTION = """Learn one column of a data file from the others, and write what was learned to a
model file, with all it needs to read new data. What each column is (numbers, categories, dates) is
found in its cells, and said where it is not plain; columns that cannot help are left out; missing
cells, also such as NA, n/a, null or -, are filled in. What learns is an ensemble of small networks,
which needs no setting: fastnn.TabularClassifier or TabularRegressor. With --network it is one
network, shaped by the options of the last groups."""

OF_ENSEMBLES = ("recipe", "time_limit", "report", "compress", "monotone")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "fastnn train DATA --target NAME [-o MODEL] [options]"
    source.add_arguments(parser)
    add_output(parser)
    ensemble.add_arguments(parser.add_argument_group("what is trained"))
    parser.set_defaults(of_network=options.add_arguments(parser))


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        metavar="MODEL",
        help="model file (default: DATA's name, with .safetensors for its ending)",
    )
    parser.add_argument(
        "--compress",
        action="store_true",
        help="keep one network that has learned what the ensemble says; the summary tells what "
        "that costs",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no summary")
    parser.add_argument(
        "--report",
        metavar="FILE.html",
        help="write a page on how good it is: scores, columns that matter, calibration, errors, "
        "learning curves",
    )
    parser.add_argument("--json", action="store_true", help="the summary as JSON, for programs")


def set_output(args: argparse.Namespace) -> None:
    """Where the model is written if nothing is said: here, under the name of the data."""
    if args.output is None:
        name = "model" if args.data == "-" else Path(args.data.removesuffix(".gz")).stem
        args.output = f"{name}.safetensors"


def run(args: argparse.Namespace) -> int:
    set_output(args)
    defaults: dict[str, Any] = args.of_network
    given = [name for name in defaults if hasattr(args, name)]
    if args.network:
        for name in OF_ENSEMBLES:
            if getattr(args, name):
                raise BadUse(f"{arguments.option(name)} is of the ensemble, not of --network")
        vars(args).update({n: value for n, value in defaults.items() if not hasattr(args, n)})
        return network.run(args)
    if given:
        raise BadUse(
            f"{arguments.option(given[0])} shapes one plain network: add --network; without, an "
            "ensemble is trained, which needs no such setting"
        )
    return ensemble.run(args)
