"""``fastnn evaluate``: how well a model file predicts rows whose target is known."""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np

from fastnn.cli import arguments, metrics
from fastnn.cli.messages import BadUse, listed
from fastnn.tables.columns import Classes, Data, UndescribedInputs, check_target
from fastnn.tables.read import Arrays, Column, Table

HELP = "measure a model on rows whose target is known"
DESCRIPTION = """Measure a model on rows whose target is known: accuracy, confusion matrix and
precision, recall and F1 of each class; or RMSE, MAE and r2. Of several targets, of each."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="model file, or an ONNX file")
    parser.add_argument(
        "data", help="CSV, Parquet, NPZ or NPY as trained on; - reads a CSV from a pipe"
    )
    parser.add_argument(
        "-t",
        "--target",
        metavar="A,B",
        help="columns, or array of an NPZ, with the targets (default: their names in training)",
    )
    parser.add_argument("--json", action="store_true", help="write JSON, for programs")
    arguments.add_threads(parser)
    arguments.add_reading(parser, target=True)


def run(args: argparse.Namespace) -> int:
    from fastnn.cli.model_file import load_with_data, outputs, read_like_training

    model, data = load_with_data(args.model)
    named = args.target or data.names[0]  # of arrays
    rows = read_like_training(args.data, data, arguments.reading(args, y_name=named))
    names = target_names(rows, args.target) if args.target else data.names
    if len(names) != len(data.targets):
        raise BadUse(f"--target must name {len(data.targets)} columns, got {listed(names)}")
    if isinstance(data.inputs, UndescribedInputs):
        data.inputs.besides = tuple(names)
    X = data.inputs.transform(rows, model.dtype)
    columns = target_columns(rows, names)
    for target, name in zip(data.targets, names, strict=True):
        target.name = name
    result = measured(data, rows, columns, outputs(model, data, X, args.threads), model.output)
    if args.json:
        json.dump(result, sys.stdout, indent=2, ensure_ascii=False)
        print()
    elif "targets" in result:
        print(metrics.several_text(result))
    else:
        print((metrics.regression_text if data.amounts else metrics.classification_text)(result))
    return 0


def measured(
    data: Data, rows: Table | Arrays, columns: list[Column], f: np.ndarray, output: object
) -> dict:
    """What the metrics say of outputs f; of several targets, of each."""
    if data.classes is not None:
        y = data.encode(rows, columns)
        return metrics.classification(y, f, data.classes, probabilities=output == "softmax")
    results = {}
    for target, column, one in zip(data.targets, columns, f.T, strict=True):
        if isinstance(target, Classes):
            y, P = target.encode(rows, column), np.stack([1 - one, one], 1)
            results[target.name] = metrics.classification(y, P, target.classes)
        else:
            results[target.name] = metrics.regression(target.values(rows, column), one)
    if len(results) > 1:
        return {"rows": len(f), "targets": results}
    return results.popitem()[1]


def target_names(rows: Table | Arrays, text: str) -> list[str]:
    """'a,b' -> ["a", "b"], unless there is a column of that very name."""
    if isinstance(rows, Arrays) or text in rows.columns:
        return [text]
    return list(arguments.names(text))


def target_columns(rows: Table | Arrays, names: list[str]) -> list[Column]:
    """The columns of these names, or the y that was read with the arrays, without a gap."""
    if isinstance(rows, Table):
        columns = [rows.column(name) for name in names]
    elif rows.y is None:
        raise BadUse(
            f'{rows.path}: no target: an NPZ needs an array "{names[0]}" (--target names another), '
            "an NPY needs --target-file"
        )
    else:
        columns = [rows.y]
    for name, column in zip(names, columns, strict=True):
        check_target(rows, name, column)
    return columns
