"""``fastnn train``: a data file -> a model file."""

from __future__ import annotations

import argparse
from typing import Any

from fastnn.cli import arguments
from fastnn.cli.messages import BadUse
from fastnn.cli.training import ensemble, network, options, source

HELP = "learn from a data file"
DESCRIPTION = """Learn one column of a data file from the others, and write what was learned to a
model file, with all it needs to read new data. What each column is (numbers, categories, dates) is
found in its cells, and said where it is not plain; columns that cannot help are left out; missing
cells, also such as NA, n/a, null or -, are filled in. What learns is an ensemble of small networks,
which needs no setting: fastnn.TabularClassifier or TabularRegressor. With --network it is one
network, shaped by the options of the last groups."""

_defaults: dict[str, Any] = {}  # of the options of one network
OF_ENSEMBLES = ("recipe", "time_limit", "report")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "fastnn train DATA --target NAME -o MODEL [options]"
    source.add_arguments(parser)
    add_output(parser)
    ensemble.add_arguments(parser.add_argument_group("what is trained"))
    _defaults.update(options.add_arguments(parser))


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="MODEL",
        help="model file, such as model.safetensors",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no summary")
    parser.add_argument(
        "--report",
        metavar="FILE.html",
        help="write a page on how good it is: scores, columns that matter, calibration, errors, "
        "learning curves",
    )
    parser.add_argument("--json", action="store_true", help="the summary as JSON, for programs")


def run(args: argparse.Namespace) -> int:
    given = [name for name in _defaults if hasattr(args, name)]
    if args.network:
        for name in OF_ENSEMBLES:
            if getattr(args, name) is not None:
                raise BadUse(f"{arguments.option(name)} is of the ensemble, not of --network")
        vars(args).update({n: value for n, value in _defaults.items() if not hasattr(args, n)})
        return network.run(args)
    if given:
        raise BadUse(
            f"{arguments.option(given[0])} shapes one plain network: add --network; without, an "
            "ensemble is trained, which needs no such setting"
        )
    return ensemble.run(args)
