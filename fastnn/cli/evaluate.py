"""``fastnn evaluate``: how well a model file predicts rows whose target is known."""

from __future__ import annotations

import argparse
import json
import sys

from . import _arguments, metrics
from .preprocess import Classes, Data, check_target
from .tables import Arrays, Column, Table

HELP = "measure a model on rows whose target is known"
DESCRIPTION = """Measure a model on rows whose target is known: accuracy, confusion matrix and
precision, recall and F1 of each class; or RMSE, MAE and r2."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="file written by fastnn train")
    parser.add_argument(
        "data", help="CSV, Parquet, NPZ or NPY as trained on; - reads a CSV from a pipe"
    )
    parser.add_argument(
        "-t",
        "--target",
        metavar="NAME",
        help="column, or array of an NPZ, with the target (default: its name in training)",
    )
    parser.add_argument("--json", action="store_true", help="write JSON, for programs")
    _arguments.add_threads(parser)
    _arguments.add_reading(parser, target=True)


def run(args: argparse.Namespace) -> int:
    from ._model_file import load_with_data, outputs, read_like_training

    model, data = load_with_data(args.model)
    name = args.target or data.target.name
    rows = read_like_training(args.data, data, _arguments.reading(args, y_name=name))
    X = data.inputs.transform(rows, model.dtype)
    column = target_column(rows, name)
    data.target.name = name
    check_target(rows, name, column)
    y, measure, text = measuring(data, rows, column)
    result = measure(y, outputs(model, data, X, args.threads))
    if args.json:
        json.dump(result, sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        print(text(result))
    return 0


def measuring(data: Data, rows: Table | Arrays, column: Column):
    """The target as what the metrics compare, the function that does, and the one that prints."""
    target = data.target
    if isinstance(target, Classes):
        y = target.encode(rows, column)
        return (
            y,
            lambda y, f: metrics.classification(y, f, target.classes),
            metrics.classification_text,
        )
    return target.values(rows, column), metrics.regression, metrics.regression_text


def target_column(rows: Table | Arrays, name: str) -> Column:
    """The column called `name`, or the y that was read with the arrays."""
    from ._messages import BadUse

    if isinstance(rows, Table):
        return rows.column(name)
    if rows.y is None:
        raise BadUse(
            f'{rows.path}: no target: an NPZ needs an array "{name}" (--target names another), '
            "an NPY needs --target-file"
        )
    return rows.y
